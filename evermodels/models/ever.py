"""EVER: EEG and face video through two encoders, fused by a graph over brain regions."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from evermodels import montage
from evermodels.checkpoints.base import PretrainedModel
from evermodels.core.errors import ConfigError, ShapeError
from evermodels.core.outputs import EmotionOutput
from evermodels.functional import class_balanced_weights
from evermodels.layers import BIHGCN, MontageAdapter, SpectrogramNorm, SquaredChange, STFTSpectrogram
from evermodels.losses import EmotionLoss
from evermodels.models._ever_inputs import check_finite, check_inputs, presence_of
from evermodels.models.ever_config import EVERConfig, Modality

_TINY = EVERConfig(
    num_classes=4,
    eeg_encoder="audio_mamba_nano",
    video_encoder="videomae_nano",
    # Tokens are slices of time that see all channels and frequencies: with square patches the encoder alone stays far
    # below band power and logistic regression on new people (see the results page).
    eeg_config={"patch_size": (32, 2), "depth": 2},
    video_config={"tubelet_size": 8},
    dim=64,
    ch_names=montage.MONTAGES["eegmat"],
    sfreq=100.0,
    window_seconds=5.0,
    spectrogram_size=(32, 16),
    spectrogram_norm="channel_frequency",
    num_frames=16,
    img_size=(64, 64),
)
_SMALL = EVERConfig(
    eeg_encoder="audio_mamba_tiny",
    video_encoder="videomae_small",
    dim=384,
    spectrogram_size=(64, 64),
    num_frames=16,
    img_size=(112, 112),
)


class EVER(PretrainedModel):
    r"""EEG-video emotion recognition with brain anatomy guidance.

    Source: "A Unified Framework for EEG-Video Emotion Recognition with Brain Anatomy Guidance" (EVER), section 3.

    .. math::
        z_v = f_v(V), \quad \tilde E = \mathrm{resize}(\log(1 + |\mathrm{STFT}(E)|)), \quad z_e = f_e(\tilde E), \quad
        z_{fused} = \mathrm{BIHGCN}(\tilde E, z_e, z_v)

    (eq. 1, 2-3, 4, 5-14). Each encoder is any registered backbone and gets the input that it declares; the spectrogram
    is computed once, standardised by fixed numbers (``spectrogram_norm``), and shared by the EEG encoder and the
    graph's channel nodes. Where an encoder's width differs from ``dim``, one linear layer projects it (a choice; the
    paper names one d).

    An absent modality is a learned token in the graph and has no weight in eq. 14; its content cannot matter.
    :meth:`adapt_montage` carries the model to the channels of another headset.
    ``modalities`` and ``fusion`` give the ablations of Table 3, ``local_mask`` and ``region_edges`` of Table 4 (the
    latter next to nothing by construction), ``alignment`` of Table 5; ``readout`` and ``global_layers`` are not in the
    paper and let the regions say more.

    Args:
        config: An :class:`EVERConfig`.

    Attributes:
        regions: Channel indices by region name, in the order of ``attention["regions"]``.

    Raises:
        ConfigError: If an encoder does not fit its modality.

    Example:
        >>> import torch
        >>> model = EVER.from_preset("ever_tiny").eval()
        >>> output = model(eeg=torch.randn(2, 19, 1000), video=torch.randn(2, 16, 3, 64, 64))
        >>> output.logits.shape, output.attention["channels"].shape
        (torch.Size([2, 4]), torch.Size([2, 19]))
        >>> dict(zip(model.regions, output.attention["regions"][0].tolist(), strict=True)).keys()
        dict_keys(['frontal', 'temporal', 'central', 'parietal', 'occipital'])
        >>> model(eeg=torch.randn(2, 19, 1000)).logits.shape  # no video at all
        torch.Size([2, 4])
    """

    config_class = EVERConfig
    head_prefixes = ("fusion.region_gcn.", "head.")
    presets: ClassVar[Mapping[str, EVERConfig]] = {
        "ever_tiny": _TINY,
        "ever_small": _SMALL,
        "ever_base": EVERConfig(),
        "ever_paper": EVERConfig(video_config={"depth": 9}),
    }

    def __init__(self, config: EVERConfig) -> None:
        super().__init__(config)
        self.input_spec = config.input_spec()
        self.regions = config.regions()
        self.check_values = True
        self.drop = nn.Dropout(config.drop_rate)
        if config.source_ch_names is not None:
            self.montage_adapter = MontageAdapter(config.source_ch_names, config.ch_names, min_real=0.0)
        self._takes_spectrogram = False
        graph = config.both and config.fusion == "bih_gcn"
        for modality in config.modalities:
            encoder = config.build_encoder(modality)
            width = encoder.embed_dim
            self.add_module(f"{modality}_encoder", encoder)
            self.add_module(f"{modality}_projection", _projection(width, config.dim))
            self._takes_spectrogram |= encoder.input == "spectrogram"
        if config.squared_change and "eeg" in config.modalities and not self._takes_spectrogram:
            raise config.refuse("squared_change", "False, as the EEG encoder takes no spectrogram")
        if "eeg" in config.modalities and (graph or self._takes_spectrogram):
            self.spectrogram = STFTSpectrogram(config.window_length, config.hop_length, config.spectrogram_size)
            if config.spectrogram_norm == "channel_frequency":
                self.spectrogram_norm = SpectrogramNorm(len(config.ch_names), config.spectrogram_size[0])
            if config.squared_change:
                self.squared_change = SquaredChange(len(config.ch_names), config.spectrogram_size[0])
        if graph:
            self.fusion = BIHGCN(
                config.spectrogram_size[0] * config.spectrogram_size[1],
                config.dim,
                config.num_classes,
                self.regions,
                self_loops=config.self_loops,
                local_mask=config.local_mask,
                region_edges=config.region_edges,
                directed=config.directed,
                readout=config.readout,
                global_layers=config.global_layers,
                activation=config.activation,
                in_chans=len(config.ch_names),
            )
        else:
            if config.both:
                self.absent_eeg = nn.Parameter(torch.empty(config.dim))
                self.absent_video = nn.Parameter(torch.empty(config.dim))
            self.head: nn.Module = self._make_head(config.num_classes)
        self.reset_parameters()

    @property
    def embed_dim(self) -> int:
        """Width of the fused embedding that ``num_classes=0`` returns."""
        config: EVERConfig = self.config
        return config.dim * (2 if config.both and config.fusion == "naive" else 1)

    def _make_head(self, num_classes: int) -> nn.Module:
        return nn.Linear(self.embed_dim, num_classes) if num_classes > 0 else nn.Identity()

    def reset_parameters(self) -> None:
        """Draw the tokens of absent modalities of the naive fusion; every other part has drawn its own."""
        for name in ("absent_eeg", "absent_video"):
            if hasattr(self, name):
                nn.init.normal_(getattr(self, name), std=0.02)

    def reset_classifier(self, num_classes: int) -> None:
        """Renew the classifier: stage 2's weight of the graph (eq. 13), or the linear head.

        Args:
            num_classes: Number of classes; 0 for the fused embedding.

        Raises:
            ConfigError: If ``num_classes`` is negative.
        """
        self.config = self.config.replace(num_classes=num_classes)
        self.classes, self.factors = None, ()
        if hasattr(self, "fusion"):
            self.fusion.reset_classifier(num_classes)
        else:
            anchor = next(self.parameters())
            self.head = self._make_head(num_classes).to(device=anchor.device, dtype=anchor.dtype)

    def adapt_montage(self, ch_names: Sequence[str], *, min_real: float = 0.5) -> Mapping[str, str]:
        """Take recordings of another headset from now on: channels by name, missing ones interpolated.

        A :class:`~evermodels.layers.MontageAdapter` comes before the model; no weight changes. ``input_spec`` asks for
        the new channels, so that a :class:`~evermodels.signals.Preprocessor` made afterwards follows, and a saved
        checkpoint keeps them (``config.source_ch_names``). Channels are interpolated in µV: where the config asks for
        an average reference or z-scores, EVER makes them afterwards. A calibration to the person (``whiten``) is
        that of the recorded channels, before. The model's own names undo an earlier call.

        Args:
            ch_names: The recording's channels in its order, any spelling; those that the model lacks are of use for
                the interpolation only.
            min_real: Least part of the model's channels that the recording must have, 0 to 1.

        Returns:
            The interpolated channels, each with the channels that weigh most in it.

        Raises:
            ConfigError: If EVER takes no EEG, fewer than ``min_real`` of its channels are there, or one cannot be
                interpolated.
            UnknownNameError: If a name is unknown, or two mean the same electrode.

        Example:
            >>> model = EVER.from_preset("ever_tiny")
            >>> interpolated = model.adapt_montage(montage.preset("epoc"))
            >>> list(interpolated)
            ['Fp1', 'Fp2', 'C3', 'C4', 'P3', 'P4', 'Fz', 'Cz', 'Pz']
            >>> len(model.input_spec.eeg.ch_names), len(model.config.ch_names)
            (14, 19)
        """
        if "eeg" not in self.config.modalities or self.input_spec is None or self.input_spec.eeg is None:
            raise ConfigError("ch_names: this EVER takes no EEG. Leave it out.")
        adapter = MontageAdapter(ch_names, self.config.ch_names, min_real=min_real)
        self.config = self.config.replace(source_ch_names=adapter.src_ch_names)
        if self.config.source_ch_names is not None:
            self.montage_adapter = adapter.to(next(self.parameters()).device)
        elif hasattr(self, "montage_adapter"):
            del self.montage_adapter
        now = self.config.input_spec().eeg
        eeg = self.input_spec.eeg.replace(ch_names=now.ch_names, reference=now.reference, scale=now.scale)
        self.input_spec = self.input_spec.replace(eeg=eeg)
        if self.load_report is not None:
            self.load_report = self.load_report.with_montage(adapter)
        return adapter.interpolated

    def make_loss(
        self, class_counts: Tensor | Sequence[int] | None = None, *, beta: float = 0.999, **options: Any
    ) -> EmotionLoss:
        """Return EVER's loss (eq. 18-19) with this model's alignment.

        Args:
            class_counts: Training samples per class, ``(num_classes,)``, for the class-balanced weights of the
                cross-entropy (default: no weights).
            beta: Cui's β of the effective number of samples (a choice, the paper gives none).
            **options: Further arguments of :class:`~evermodels.losses.EmotionLoss`.

        Raises:
            ShapeError: If ``class_counts`` has another length than ``num_classes``.
        """
        config: EVERConfig = self.config
        if class_counts is not None:
            counts = torch.as_tensor(class_counts)
            if counts.shape != (config.num_classes,):
                raise ShapeError(f"class_counts: expected ({config.num_classes},), got {tuple(counts.shape)}.")
            options["class_weights"] = class_balanced_weights(counts, beta)
        options.setdefault("alignment", config.alignment if config.both else "none")
        return EmotionLoss(**{"align_weight": config.align_weight, **options})

    @property
    def has_statistics(self) -> bool:
        """Whether :meth:`fit_statistics` has nothing left to do: the numbers are there, or the config asks for none."""
        return all(_fitted(layer) for layer in self._statistics())

    def _statistics(self) -> list[Any]:
        return [getattr(self, name) for name in ("spectrogram_norm", "squared_change") if hasattr(self, name)]

    def fit_statistics(self, batches: Iterable[Mapping[str, Tensor]], *, replace: bool = False) -> None:
        """Take the spectrogram's statistics from training samples; does nothing unless the config asks for them.

        With ``spectrogram_norm="channel_frequency"`` or ``squared_change`` this must be done once before training. The
        numbers are saved with the weights, so that a loaded model needs no call: its weights were trained with the
        numbers that it has.

        Args:
            batches: Batches with ``"eeg"``, ``(batch, channels, time)`` in µV, of training people only.
            replace: Whether numbers that are there already, from a checkpoint or an earlier call, are replaced.

        Raises:
            ShapeError: If there is no batch, or one does not fit.
            ConfigError: If there are numbers already, and ``replace`` is not asked for.
        """
        if self._statistics():
            if any(_fitted(layer) for layer in self._statistics()) and not replace:
                raise ConfigError(
                    "fit_statistics: this model has statistics already, from its checkpoint or an earlier call, and "
                    "its weights were trained with them. Leave the call out, or give replace=True and train them all."
                )
            device = next(self.parameters()).device
            means: list[Tensor] = []

            def spectrograms() -> Iterator[Tensor]:
                for batch in batches:
                    spectrogram = self._scaled(self._adapted(batch["eeg"].to(device)))
                    if hasattr(self, "squared_change"):
                        means.append(self.squared_change.means(spectrogram))
                    yield spectrogram

            with torch.no_grad():
                if hasattr(self, "spectrogram_norm"):
                    self.spectrogram_norm.fit(spectrograms())
                else:
                    collections.deque(spectrograms(), maxlen=0)
                if hasattr(self, "squared_change"):
                    self.squared_change.fit(means)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Return the parameters by ``"video_encoder"``, ``"eeg_encoder"`` and ``"rest"``, for a learning rate each.

        The paper gives rates by kind of network only (A.2): 1e-4 for MAE encoders, 2e-4 for Mamba; 2e-4 for the rest
        is a choice.
        """
        groups: dict[str, list[nn.Parameter]] = {"video_encoder": [], "eeg_encoder": [], "rest": []}
        for name, parameter in self.named_parameters():
            head = name.partition(".")[0]
            groups[head if head in groups else "rest"].append(parameter)
        return groups

    def forward(
        self,
        eeg: Tensor | None = None,
        video: Tensor | None = None,
        audio: Tensor | None = None,
        eye: Tensor | None = None,
        *,
        present: Mapping[str, Tensor] | None = None,
        masks: Mapping[str, Tensor] | None = None,
    ) -> EmotionOutput:
        """Classify a batch.

        Args:
            eeg: EEG in µV, ``(batch, channels, time)``, channels in the order of ``input_spec.eeg.ch_names``; ``None``
                where the whole batch has none.
            video: Normalised frames, ``(batch, frames, 3, height, width)``; ``None`` where the whole batch has none.
            audio: EVER takes none.
            eye: EVER takes none.
            present: Which samples have a modality, ``(batch,)`` bool by modality (default: all that are given).
            masks: EVER takes none.

        Returns:
            Logits, ``(batch, num_classes)``. ``embeddings`` by modality, ``(batch, dim)``, after the projection, zero
            where absent. With the graph, ``attention``: ``"channels"`` ``(batch, channels)``, α of eq. 10, sums to 1
            within each region; ``"region_share"`` ``(batch, K)``, how much of what reaches the logits came through each
            region: with the two global nodes' shares it sums to 1 (see :class:`~evermodels.layers.BIHGCN`; a sample
            without EEG has learned tokens there); ``"regions"`` ``(batch, K)``, the weight of each region in the
            messages that the two global nodes receive, ``ω|Â_e,rk| + (1 - ω)|Â_v,rk|`` scaled to sum to 1 (a choice):
            it ranks the regions among themselves and hides how much they count, so read it beside the share;
            ``"adjacency_local"`` ``(batch, channels, channels)`` and ``"adjacency_region"`` ``(batch, 2+K, 2+K)``,
            both normalised, the latter in the order EEG, video, regions.

        Raises:
            ShapeError: If a shape is wrong or no modality is present.
            SignalError: If a value is not finite (checked in eager mode only).
            ConfigError: If a modality comes that the model does not take.
        """
        others = {"audio": audio, "eye": eye}
        inputs = check_inputs(self.config, eeg, video, others, present=present, masks=masks)
        presence = presence_of(self.config, inputs, present)
        # The alignment compares what the encoders say (eq. 15-17), so dropout touches only what enters the fusion.
        embeddings: dict[str, Tensor] = {}
        dropped: dict[str, Tensor] = {}
        spectrogram: Tensor | None = None
        for modality, given in inputs.items():
            here = None if presence is None else presence[modality]
            # Absent samples may hold anything, NaN too: it must reach neither value nor gradient.
            x = given if here is None else torch.where(here.view(-1, *[1] * (given.ndim - 1)), given, 0)
            if self.check_values:
                check_finite(self.config, modality, x)
            if modality == "eeg":
                x = self._adapted(x)
            if modality == "eeg" and hasattr(self, "spectrogram"):
                maps = self._standardised(x)
                spectrogram = maps[:, : len(self.config.ch_names)]
            encoder = getattr(self, f"{modality}_encoder")
            z = encoder(maps if encoder.input == "spectrogram" else x.to(self._dtype))
            z = getattr(self, f"{modality}_projection")(z)
            embeddings[modality] = z = z if here is None else torch.where(here[:, None], z, 0)
            dropped[modality] = self.drop(z)
        logits, attention = self._fuse(spectrogram, dropped, self._hide(presence, embeddings))
        return EmotionOutput(logits, embeddings, attention)

    def to_torch_geometric(self, output: EmotionOutput, index: int = 0) -> Any:
        """Return one sample's two graphs for torch-geometric; see :meth:`BIHGCN.to_torch_geometric`.

        Args:
            output: What this model returned.
            index: The sample in the batch.

        Raises:
            ConfigError: If the model has no graph.
        """
        if not hasattr(self, "fusion"):
            raise ConfigError('fusion: this EVER has no graph; build it with both modalities and fusion="bih_gcn".')
        return self.fusion.to_torch_geometric(output, index, ch_names=self.config.ch_names)

    @property
    def _dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype

    def _adapted(self, eeg: Tensor) -> Tensor:
        """Bring a recording of another montage to the model's channels."""
        if not hasattr(self, "montage_adapter"):
            return eeg
        eeg = self.montage_adapter(eeg)
        if self.config.reference == "average":
            eeg = eeg - eeg.mean(dim=1, keepdim=True)
        if self.config.scale == "zscore":
            spread = eeg.std(dim=2, correction=0, keepdim=True)
            eeg = (eeg - eeg.mean(dim=2, keepdim=True)) / torch.where(spread > 0, spread, 1)
        return eeg

    def _standardised(self, eeg: Tensor) -> Tensor:
        """Return what the EEG encoder gets; the graph gets the first map of each channel."""
        config: EVERConfig = self.config
        spectrogram = self._scaled(eeg)
        maps = self.spectrogram_norm(spectrogram) if hasattr(self, "spectrogram_norm") else spectrogram
        if hasattr(self, "squared_change"):
            maps = torch.cat([maps, self.squared_change(spectrogram)], dim=1)
        if config.channel_drop_rate > 0:
            maps = nn.functional.dropout2d(maps, config.channel_drop_rate, self.training)
        return maps.to(self._dtype)

    def _scaled(self, eeg: Tensor) -> Tensor:
        config: EVERConfig = self.config
        # A half-precision model still takes its spectrogram in float32.
        spectrogram = self.spectrogram(eeg.double() if self._dtype == torch.float64 else eeg.float())
        return (spectrogram - config.spectrogram_mean) / config.spectrogram_std

    def _fuse(
        self, spectrogram: Tensor | None, z: dict[str, Tensor], presence: dict[Modality, Tensor] | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        config: EVERConfig = self.config
        if not config.both:
            return self.head(z[config.modalities[0]]), {}
        if config.fusion == "naive":
            batch = next(iter(z.values())).shape[0]
            parts = []
            for modality in config.modalities:
                token = getattr(self, f"absent_{modality}").expand(batch, -1)
                if modality not in z:
                    parts.append(token)
                elif presence is None:
                    parts.append(z[modality])
                else:
                    parts.append(torch.where(presence[modality][:, None], z[modality], token.to(z[modality].dtype)))
            return self.head(torch.cat(parts, dim=1)), {}
        graph = self.fusion(spectrogram, z.get("eeg"), z.get("video"), present=presence)
        adjacency = graph.adjacency_region
        omega = self.fusion.omega
        if presence is not None:  # as eq. 14 does: all on the modality that is there
            omega = torch.where(presence["eeg"] & presence["video"], omega, presence["eeg"].to(omega.dtype))[:, None]
        to_regions = adjacency[:, :2, 2:].abs()
        regions = omega * to_regions[:, 0] + (1 - omega) * to_regions[:, 1]
        attention = {
            "channels": graph.channel_attention,
            "regions": regions / regions.sum(1, keepdim=True).clamp_min(1e-12),
            "region_share": graph.node_shares[:, 2:],
            "adjacency_local": graph.adjacency_local,
            "adjacency_region": adjacency,
        }
        return graph.logits, attention

    def _hide(self, presence: dict[Modality, Tensor] | None, z: dict[str, Tensor]) -> dict[Modality, Tensor] | None:
        """Hide one modality of some samples from the fusion, in training."""
        config: EVERConfig = self.config
        if not (self.training and config.modality_drop_rate > 0 and len(z) == 2):
            return presence
        draw = torch.rand(z["eeg"].shape[0], device=z["eeg"].device)
        rate = config.modality_drop_rate
        hide = {"eeg": draw < rate / 2, "video": (draw >= rate / 2) & (draw < rate)}
        every = torch.ones_like(draw, dtype=torch.bool)
        now = {m: every if presence is None else presence[m] for m in config.modalities}
        complete = now["eeg"] & now["video"]
        return {m: now[m] & ~(hide[m] & complete) for m in config.modalities}


def _projection(width: int, dim: int) -> nn.Module:
    return nn.Identity() if width == dim else nn.Linear(width, dim)


def _fitted(layer: Any) -> bool:
    return bool((layer.mean != 0).any() or (layer.std != 1).any())
