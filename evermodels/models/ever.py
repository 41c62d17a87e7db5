"""EVER: EEG and face video through two encoders, fused by a graph over brain regions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from evermodels import montage
from evermodels.checkpoints.format_1 import check_agreement
from evermodels.core.errors import ConfigError, ShapeError, check_axes, quoted
from evermodels.core.outputs import EmotionOutput
from evermodels.core.specs import EEGSpec, InputSpec, VideoSpec
from evermodels.layers import BIHGCN, SpectrogramFrontEnd
from evermodels.losses import EmotionLoss
from evermodels.models.ever_format_1 import upgraded
from evermodels.models.system import System
from evermodels.models.system_config import EncoderConfig, LossConfig, SystemConfig

_EAV = InputSpec(
    window_seconds=20.0,
    eeg=EEGSpec(ch_names=montage.MONTAGES["eav"], sfreq=200.0),
    video=VideoSpec(num_frames=32, size=(224, 224)),
)


def _encoders() -> dict[str, EncoderConfig]:
    return {"eeg": EncoderConfig("audio_mamba_tiny"), "video": EncoderConfig("adamae_base")}


@dataclass(frozen=True)
class EVERConfig(SystemConfig):
    """Configuration of :class:`~evermodels.models.EVER`; the defaults are EVER on EAV (Table 2).

    Args:
        num_classes: Emotion classes L; 0 for the fused embedding.
        input_spec: EEG and video, or one of them for the single encoder with a linear head (Table 3). Other window
            lengths run too, where the EEG encoder takes spectrograms.
        encoders: For EEG a backbone that takes spectrograms or raw EEG, for video one that takes video.
        source_ch_names: Channels of the recordings, where they are others than the model's (default: its own).
        drop_rate: Dropout on both embeddings before the fusion.
        modality_drop_rate: Chance per sample, in training, that one of the two modalities is hidden from the fusion, so
            that the learned tokens of absent modalities are trained.
        fusion: ``"bih_gcn"`` (eq. 5-14); ``"naive"``, concatenation and one linear layer (Table 3); or ``"mlp"``,
            concatenation and a hidden layer of ``dim``, which is not in the paper: the plainest fusion in which the
            modalities interact.
        dim: Width d of nodes and embeddings; a modality of another width gets a linear projection.
        region_scheme: How channels are grouped into regions.
        n_fft: STFT window in samples (default: about one second).
        hop_length: STFT hop in samples (default: ``n_fft // 4``).
        spectrogram_size: Frequency × time to which spectrograms are resized.
        spectrogram_mean: Subtracted from every spectrogram, as Audio-Mamba does with its data set's mean.
        spectrogram_std: Divided by afterwards.
        spectrogram_norm: ``"scalar"`` (only the two numbers above) or ``"channel_frequency"``: afterwards each channel
            and frequency is standardised by its statistics over the training people (:meth:`EVER.fit_statistics`).
        squared_change: Whether the EEG encoder also gets, as further channels of the spectrogram, how far each rhythm
            lies from its mean, whichever way (:class:`~evermodels.layers.SquaredChange`).
        channel_drop_rate: Chance per channel, in training, that its standardised spectrogram is set to 0.
        self_loops: Whether the graphs of stage 1 and stage 2 have self loops.
        local_mask: Whether stage 1 stays within regions; off is "w/o Stage1 M^local" of Table 4.
        region_edges: Whether stage 2 has edges between regions; off is "w/o Stage2 (z_rk, z_rk')" of Table 4, which
            changes next to nothing by construction (:class:`~evermodels.layers.BIHGCN`).
        directed: Whether stage 2's mask holds only in the direction printed in eq. 12; the literal reading of the
            paper with ``self_loops=(True, False)``.
        readout: ``"global"`` (eq. 14) or ``"with_regions"``, where the regions' logits are read too.
        global_layers: Graph convolutions of stage 2: 1 (eq. 13) or 2.
        activation: Non-linearity of stage 1.
        alignment: Alignment loss between the embeddings (Table 5); :meth:`EVER.make_loss` uses it.
        align_weight: Its weight w_align.

    Raises:
        ConfigError: For an unknown key, a wrong type or an impossible value.
        UnknownNameError: If a channel name is unknown or stands twice.

    Example:
        >>> config = EVERConfig().replace(ch_names=("EEG T3", "Cz"), sfreq=250.0)
        >>> config.ch_names, config.window_length, config.regions()
        (('T7', 'Cz'), 250, {'temporal': [0], 'central': [1]})
        >>> config.replace(modalities=("eeg",)).encoders.keys()
        dict_keys(['eeg'])
    """

    num_classes: int = 5
    input_spec: InputSpec = _EAV
    encoders: Mapping[str, EncoderConfig] = field(default_factory=_encoders)
    fusion: Literal["bih_gcn", "naive", "mlp"] = "bih_gcn"
    dim: int = 768
    region_scheme: str = "lobes"
    n_fft: int | None = None
    hop_length: int | None = None
    spectrogram_size: tuple[int, int] = (128, 128)
    spectrogram_mean: float = 0.0
    spectrogram_std: float = 1.0
    spectrogram_norm: Literal["scalar", "channel_frequency"] = "scalar"
    squared_change: bool = False
    channel_drop_rate: float = 0.0
    self_loops: tuple[bool, bool] = (True, True)
    local_mask: bool = True
    region_edges: bool = True
    directed: bool = False
    readout: Literal["global", "with_regions"] = "global"
    global_layers: Literal[1, 2] = 1
    activation: Literal["relu", "gelu", "elu", "tanh", "identity"] = "relu"
    alignment: Literal["none", "correlation", "coral", "mmd"] = "correlation"
    align_weight: float = 0.5

    def check(self) -> None:
        """Refuse what cannot work."""
        if not set(self.modalities) <= {"eeg", "video"}:
            raise ConfigError(
                f"EVERConfig.input_spec: expected eeg, video or both, got {quoted(', '.join(self.modalities))}."
            )
        super().check()
        self.at_least(1, "dim")
        if self.spectrogram_std <= 0:
            raise self.refuse("spectrogram_std", "a positive number")
        if min(self.spectrogram_size) < 1:
            raise self.refuse("spectrogram_size", "a positive frequency and time size")
        if self.align_weight < 0:
            raise self.refuse("align_weight", "0 or more")
        self.rates("channel_drop_rate")
        if self.input_spec.eeg is None:
            return
        if self.input_spec.eeg.features is not None:
            raise ConfigError("EVERConfig.input_spec.eeg.features: expected None, since EVER takes EEG signals.")
        samples = self.input_spec.shape("eeg")[1]
        if not 2 <= self.window_length <= samples:
            allowed = f"between 2 and the {samples} samples of a window, or None"
            raise ConfigError(f"EVERConfig.n_fft: expected {allowed}, got {self.window_length}.")
        if self.both and self.fusion == "bih_gcn" and not self.regions():
            raise ConfigError(
                "EVERConfig.input_spec.eeg.ch_names: expected at least one channel that lies in a region of the head, "
                f"as BIH-GCN needs, got {quoted(self.ch_names)}."
            )

    @property
    def window_length(self) -> int:
        """STFT window in samples: ``n_fft``, or about one second."""
        eeg = self.input_spec.eeg
        return round(eeg.sfreq) if self.n_fft is None and eeg is not None else self.n_fft or 0

    @property
    def both(self) -> bool:
        """Whether there are two modalities to fuse."""
        return len(self.modalities) == 2

    def regions(self) -> dict[str, list[int]]:
        """Return the indices of the model's channels by region."""
        return montage.regions(self.ch_names, self.region_scheme) if self.ch_names else {}


@dataclass(frozen=True)
class EVERLossConfig(LossConfig):
    """EVER's loss, eq. 18-19 (weights from section 4.1 and Table 7; γ and β are the design's choice).

    Args:
        w_ce: Weight of the class-balanced cross-entropy.
        w_focal: Weight of the focal loss.
        gamma: Exponent γ of the focal loss.
        beta: β of the effective number of samples (Cui et al., 2019); the paper gives none.
        label_smoothing: Part of the cross-entropy's target that is spread over all classes.
        on_small_batch: What a batch gives that is too small to be aligned: ``"error"`` or ``"zero"``.
    """

    w_ce: float = 0.9
    w_focal: float = 0.1
    on_small_batch: Literal["error", "zero"] = "zero"


_BASE = EVERConfig()
_TINY = EVERConfig(
    num_classes=4,
    input_spec=InputSpec(
        window_seconds=5.0,
        eeg=EEGSpec(ch_names=montage.MONTAGES["eegmat"], sfreq=100.0),
        video=VideoSpec(num_frames=16, size=(64, 64)),
    ),
    encoders={
        # Tokens are slices of time that see all channels and frequencies: with square patches the encoder alone stays
        # far below band power and logistic regression on new people (see the results page).
        "eeg": EncoderConfig("audio_mamba_nano", {"patch_size": (32, 2), "depth": 2}),
        "video": EncoderConfig("videomae_nano", {"tubelet_size": 8}),
    },
    dim=64,
    spectrogram_size=(32, 16),
    spectrogram_norm="channel_frequency",
)
_SMALL = _BASE.replace(
    input_spec={"video": {"num_frames": 16, "size": (112, 112)}},
    encoders={"video": {"name": "videomae_small"}},
    dim=384,
    spectrogram_size=(64, 64),
)


class EVER(System):
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
    The input spec's modalities and ``fusion`` give the ablations of Table 3, ``local_mask`` and ``region_edges`` of
    Table 4 (the latter next to nothing by construction), ``alignment`` of Table 5; ``readout`` and ``global_layers``
    are not in the paper and let the regions say more.

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
    loss_config_class: ClassVar[type[LossConfig]] = EVERLossConfig
    loss_options = ("class_weights", "alignment", "align_weight")
    head_prefixes = ("fusion.region_gcn.", "head.")
    renamed: ClassVar[Mapping[str, str]] = {
        "spectrogram_norm.": "spectrogram.norm.",
        "squared_change.": "spectrogram.squared_change.",
    }
    presets: ClassVar[Mapping[str, EVERConfig]] = {
        "ever_tiny": _TINY,
        "ever_small": _SMALL,
        "ever_base": _BASE,
        "ever_paper": _BASE.replace(encoders={"video": {"config": {"depth": 9}}}),
    }
    captions: ClassVar[Mapping[str, str]] = {
        "eeg": "The EEG encoder receives one such spectrogram of each channel.",
        "region_share": "Each region's part of all that reaches the answer, not scaled; the rest came through the "
        "embeddings of EEG and face as a whole. Mean over the windows.",
        "adjacency_region": "The graph of the second stage (eq. 12): each cell says how much one node (column) takes "
        "part in another (row). The first two nodes are the embeddings of EEG, z_e, and face, z_v. Mean over the "
        "windows.",
        "adjacency_local": "The graph of the first stage (eq. 6-7): channels are joined within their region only. Mean "
        "over the windows.",
    }

    def __init__(self, config: EVERConfig) -> None:
        super().__init__(config)
        self.regions = config.regions()
        self.drop = nn.Dropout(config.drop_rate)
        self.build_encoders(config.dim)
        graph = config.both and config.fusion == "bih_gcn"
        encodes = "eeg" in config.modalities and self.encoder("eeg").input == "spectrogram"
        if config.squared_change and "eeg" in config.modalities and not encodes:
            raise config.refuse("squared_change", "False, as the EEG encoder takes no spectrogram")
        self.spectrogram = self._front_end(config) if "eeg" in config.modalities and (graph or encodes) else None
        self.fusion = self._graph(config) if graph else None
        self.absent_eeg: nn.Parameter | None = None
        self.absent_video: nn.Parameter | None = None
        if config.both and not graph:
            self.absent_eeg = nn.Parameter(torch.empty(config.dim))
            self.absent_video = nn.Parameter(torch.empty(config.dim))
        self.head = self.make_head()
        self.reset_parameters()

    @staticmethod
    def _front_end(config: EVERConfig) -> SpectrogramFrontEnd:
        return SpectrogramFrontEnd(
            len(config.ch_names),
            config.window_length,
            config.hop_length,
            config.spectrogram_size,
            mean=config.spectrogram_mean,
            std=config.spectrogram_std,
            norm=config.spectrogram_norm,
            squared_change=config.squared_change,
            drop_rate=config.channel_drop_rate,
        )

    @staticmethod
    def _graph(config: EVERConfig) -> BIHGCN:
        return BIHGCN(
            config.spectrogram_size[0] * config.spectrogram_size[1],
            config.dim,
            config.num_classes,
            config.regions(),
            self_loops=config.self_loops,
            local_mask=config.local_mask,
            region_edges=config.region_edges,
            directed=config.directed,
            readout=config.readout,
            global_layers=config.global_layers,
            activation=config.activation,
            in_chans=len(config.ch_names),
        )

    @classmethod
    def from_format_1(cls, config: Mapping[str, Any], input_spec: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return today's configuration of one of checkpoint format 1.

        Args:
            config: The configuration of the file.
            input_spec: The input spec that stood beside it.
        """
        made = EVERConfig().replace(**upgraded(config, input_spec, cls.config_class.keys()))
        check_agreement(input_spec, made.recorded)
        return made.to_dict()

    @property
    def embed_dim(self) -> int:
        """Width of the fused embedding."""
        config: EVERConfig = self.config
        return config.dim * (2 if config.both and config.fusion != "bih_gcn" else 1)

    def make_head(self) -> nn.Module | None:
        """Return a new linear layer, or the perceptron of ``fusion="mlp"``; ``None`` where the graph classifies."""
        config: EVERConfig = self.config
        if self.fusion is not None:
            return None
        if not config.both or config.fusion != "mlp" or not config.num_classes:
            return super().make_head()
        return nn.Sequential(
            nn.Linear(self.embed_dim, config.dim), nn.GELU(), nn.Linear(config.dim, config.num_classes)
        )

    def reset_parameters(self) -> None:
        """Draw the tokens of absent modalities of the naive fusion; every other part has drawn its own."""
        for token in (self.absent_eeg, self.absent_video):
            if token is not None:
                nn.init.normal_(token, std=0.02)

    def reset_classifier(self, num_classes: int) -> None:
        """Renew the classifier: stage 2's weight of the graph (eq. 13), or the head.

        Args:
            num_classes: Number of classes; 0 for the fused embedding alone.

        Raises:
            ConfigError: If ``num_classes`` is negative.
        """
        super().reset_classifier(num_classes)
        if self.fusion is not None:
            self.fusion.reset_classifier(num_classes)

    def build_loss(self, loss: EVERLossConfig, **options: Any) -> EmotionLoss:
        """Return EVER's loss (eq. 18-19) with this model's alignment.

        Args:
            loss: Its numbers.
            **options: ``class_weights``, ``alignment`` and ``align_weight`` of :class:`~evermodels.losses.EmotionLoss`.
        """
        config: EVERConfig = self.config
        own = {
            "alignment": config.alignment if config.both else "none",
            "align_weight": config.align_weight,
            **{key: value for key, value in loss.to_dict().items() if key != "beta"},
        }
        return EmotionLoss(**{**own, **options})

    def front_ends(self) -> dict[str, Any]:
        """Return the spectrogram, where it has statistics."""
        needs = self.spectrogram is not None and self.spectrogram.needs_statistics
        found: dict[str, Any] = {"eeg": self.spectrogram} if needs else {}
        return found

    def encoder_shape(self, modality: str, kind: str) -> tuple[int, ...] | None:
        """Return the shape of one sample as an encoder gets it: also the spectrogram's, for EEG.

        Args:
            modality: Its name.
            kind: What the encoder takes.
        """
        config: EVERConfig = self.config
        if modality == "eeg" and kind == "spectrogram":
            return (len(config.ch_names) * (2 if config.squared_change else 1), *config.spectrogram_size)
        return super().encoder_shape(modality, kind)

    def check_shape(self, modality: str, x: Tensor) -> None:
        """Refuse a batch of another shape; EEG may be longer or shorter, where its encoder takes spectrograms.

        Args:
            modality: Its name.
            x: The batch.

        Raises:
            ShapeError: If it does not fit.
        """
        if modality != "eeg" or self.spectrogram is None:
            super().check_shape(modality, x)
            return
        self.check_channels(x)
        if x.shape[2] < self.config.window_length:
            raise ShapeError(
                f"eeg: expected at least n_fft={self.config.window_length} samples, got {x.shape[2]}. Give a longer "
                f"window (the model was built for {self.config.input_spec.window_seconds:g} s), or build EVER with a "
                "smaller n_fft."
            )
        if self.encoder("eeg").input != "spectrogram":
            check_axes("eeg", x, "batch channels time", time=self.input_spec.shape("eeg")[1])

    def forward(
        self,
        eeg: Tensor | None = None,
        video: Tensor | None = None,
        *,
        present: Mapping[str, Tensor] | None = None,
        masks: Mapping[str, Tensor] | None = None,
    ) -> EmotionOutput:
        """Classify a batch.

        Args:
            eeg: EEG in µV, ``(batch, channels, time)``, channels in the order of ``input_spec.eeg.ch_names``; ``None``
                where the whole batch has none.
            video: Normalised frames, ``(batch, frames, 3, height, width)``; ``None`` where the whole batch has none.
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
        given = self.given({"eeg": eeg, "video": video}, present, masks)
        maps = None
        if self.spectrogram is not None and "eeg" in given.inputs:
            maps = self.spectrogram(self._wide(given.inputs["eeg"])).to(self.dtype)
        # The alignment compares what the encoders say (eq. 15-17), so dropout touches only what enters the fusion.
        embeddings: dict[str, Tensor] = {}
        dropped: dict[str, Tensor] = {}
        for modality, x in given.inputs.items():
            takes = self.encoder(modality).input
            features = maps if takes == "spectrogram" and maps is not None else x.to(self.dtype)
            embeddings[modality] = z = self.encode(modality, features, given)
            dropped[modality] = self.drop(z)
        channels = None if maps is None else maps[:, : len(self.config.ch_names)]
        if self.fusion is not None:
            return self._fuse_by_graph(self.fusion, channels, dropped, embeddings, self.hide(given))
        embedding = self._concatenated(dropped, self.hide(given))
        logits = self.classified(embedding)
        return EmotionOutput(logits, embedding, embeddings)

    def _wide(self, eeg: Tensor) -> Tensor:
        """A half-precision model still takes its spectrogram in float32."""
        return eeg.double() if self.dtype == torch.float64 else eeg.float()

    def _concatenated(self, z: Mapping[str, Tensor], present: Mapping[str, Tensor] | None) -> Tensor:
        """Return all embeddings side by side, learned tokens for those that are absent."""
        if not self.config.both:
            return next(iter(z.values()))
        batch = next(iter(z.values())).shape[0]
        parts = []
        for modality, token in (("eeg", self.absent_eeg), ("video", self.absent_video)):
            assert token is not None  # made with the naive fusion
            absent = token.expand(batch, -1)
            if modality not in z:
                parts.append(absent)
            elif present is None:
                parts.append(z[modality])
            else:
                parts.append(torch.where(present[modality][:, None], z[modality], absent.to(z[modality].dtype)))
        return torch.cat(parts, dim=1)

    @staticmethod
    def _fuse_by_graph(
        fusion: BIHGCN,
        spectrogram: Tensor | None,
        z: Mapping[str, Tensor],
        embeddings: dict[str, Tensor],
        present: Mapping[str, Tensor] | None,
    ) -> EmotionOutput:
        graph = fusion(spectrogram, z.get("eeg"), z.get("video"), present=present)
        adjacency = graph.adjacency_region
        to_regions = adjacency[:, :2, 2:].abs()
        omega = graph.omega[:, None]
        regions = omega * to_regions[:, 0] + (1 - omega) * to_regions[:, 1]
        attention = {
            "channels": graph.channel_attention,
            "regions": regions / regions.sum(1, keepdim=True).clamp_min(1e-12),
            "region_share": graph.node_shares[:, 2:],
            "adjacency_local": graph.adjacency_local,
            "adjacency_region": adjacency,
        }
        return EmotionOutput(graph.logits, graph.embedding, embeddings, attention)

    def to_torch_geometric(self, output: EmotionOutput, index: int = 0) -> Any:
        """Return one sample's two graphs for torch-geometric; see :meth:`BIHGCN.to_torch_geometric`.

        Args:
            output: What this model returned.
            index: The sample in the batch.

        Raises:
            ConfigError: If the model has no graph.
        """
        if self.fusion is None:
            raise ConfigError('fusion: this EVER has no graph; build it with both modalities and fusion="bih_gcn".')
        return self.fusion.to_torch_geometric(output, index, ch_names=self.config.ch_names)
