"""MERCL: EEG, video and sound through contrastive pre-training and attention between each two of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from evermodels import montage
from evermodels.backbones.base import Backbone
from evermodels.core.errors import ConfigError, quoted
from evermodels.core.outputs import AlignableOutput
from evermodels.core.presence import zero_absent
from evermodels.core.specs import AudioSpec, EEGFeatures, EEGSpec, InputSpec, VideoSpec
from evermodels.layers import CrossModalAttention, DifferentialEntropy, FeatureNorm, ResidualTCN
from evermodels.losses import MERCLLoss
from evermodels.models.system import Given, System
from evermodels.models.system_config import EncoderConfig, LossConfig, SystemConfig

BANDS = ((0.4, 4.0), (4.0, 8.0), (8.0, 13.0), (13.0, 30.0), (30.0, 45.0))
"""Delta, theta, alpha, beta and gamma of section 3.1, in Hz."""

_SOUND = AudioSpec.vggish(n_mels=20, frame_seconds=0.05, window="hamming", f_min=20.0, f_max=None)

_DEAP = InputSpec(
    window_seconds=4.0,
    eeg=EEGSpec(ch_names=montage.MONTAGES["deap"], sfreq=200.0),
    video=VideoSpec(num_frames=16, size=(224, 224)),
    audio=_SOUND,
)


def _encoders() -> dict[str, EncoderConfig]:
    return {
        "eeg": EncoderConfig("band_conformer_base"),
        "video": EncoderConfig("vit_frames_base"),
        "audio": EncoderConfig("vggish_base", {"example_frames": 48, "example_hop": 48}),
    }


@dataclass(frozen=True)
class MERCLConfig(SystemConfig):
    """Configuration of :class:`MERCL`; the defaults are MERCL on DEAP, four levels.

    Args:
        num_classes: Emotion classes; 0 for the fused embedding.
        input_spec: EEG, video and sound, or two of them (Table 7), or one.
        encoders: For EEG a backbone that takes features or raw EEG, for video and sound one that takes it.
        source_ch_names: Channels of the recordings, where they are others than the model's (default: its own).
        drop_rate: Dropout of what enters the classifier.
        modality_drop_rate: Chance per sample, in training, that one of its modalities is hidden from the attention, so
            that the learned tokens of absent modalities are trained.
        dim: Width D of a step behind the temporal convolutions.
        shared_dim: Width of the shared space in which the contrastive losses compare (eq. 2).
        num_heads: Heads of the attention between modalities.
        hidden_dim: Width of the classifier's hidden layer.
        dilations: Dilations of the temporal convolutions.
        kernel_size: Their kernel.
        temporal_drop_rate: Their dropout.
        attention_drop_rate: Dropout of the attention's weights.
        cross_attention: Whether each modality attends to each other one; off is "without cross-modal attention" of
            Table 8, where the modalities' own means over time are concatenated.
        energy_selection: Whether samples with a silent sound (``masks["audio"]``) are left out of SMCL; off is "all
            samples" of Table 9.
        made_features: Features that are computed of raw EEG, where its encoder takes features. The default is the
            differential entropy of the paper's bands in stretches of a second: half the logarithm of their power and a
            constant, so that standardised it is the logarithm of the power spectral density, standardised (that the
            logarithm is taken is a choice).
        standardise: Whether features are standardised by statistics of the training people
            (:meth:`System.fit_statistics`).

    Raises:
        ConfigError: For an unknown key, a wrong type or an impossible value.
        UnknownNameError: If a channel name is unknown or stands twice.

    Example:
        >>> MERCLConfig().replace(modalities=("eeg", "video")).modalities
        ('eeg', 'video')
    """

    num_classes: int = 4
    input_spec: InputSpec = _DEAP
    encoders: Mapping[str, EncoderConfig] = field(default_factory=_encoders)
    dim: int = 256
    shared_dim: int = 128
    num_heads: int = 8
    hidden_dim: int = 256
    dilations: tuple[int, ...] = (1, 2, 4, 8)
    kernel_size: int = 3
    temporal_drop_rate: float = 0.5
    attention_drop_rate: float = 0.0
    cross_attention: bool = True
    energy_selection: bool = True
    made_features: EEGFeatures = field(default_factory=lambda: EEGFeatures(bands=BANDS))
    standardise: bool = True

    def check(self) -> None:
        """Refuse what cannot work."""
        if not set(self.modalities) <= {"eeg", "video", "audio"}:
            raise ConfigError(
                "MERCLConfig.input_spec: expected eeg, video and audio, or some of them, got "
                f"{quoted(', '.join(self.modalities))}."
            )
        super().check()
        self.at_least(1, "dim", "shared_dim", "num_heads", "hidden_dim", "kernel_size")
        if self.dim % self.num_heads:
            raise self.refuse("dim", f"a multiple of num_heads ({self.num_heads})")
        if not self.dilations or min(self.dilations) < 1:
            raise self.refuse("dilations", "one or more numbers of at least 1")
        self.rates("temporal_drop_rate", "attention_drop_rate")


@dataclass(frozen=True)
class MERCLLossConfig(LossConfig):
    """MERCL's loss, eq. 3-7 and Algorithm 1; the paper gives none of the numbers.

    Args:
        w_ce: Weight of the cross-entropy; 0 for the contrastive pre-training, stage 1 of Algorithm 1.
        w_focal: Weight of the focal loss; 0, as the paper.
        gamma: Exponent γ of the focal loss.
        w_intra: λ1, of AMCL; with the next two 0 for stage 2.
        w_inter: λ2, of EMCL.
        w_sample: λ3, of SMCL.
        temperature: τ.
        margin: α.
        positives: ``"sum"`` inside the logarithm, or their ``"mean"`` outside of it.
        beta: β of the effective number of samples (Cui et al., 2019) that the classes are weighed by in the
            cross-entropy; 0 for no weights.
        label_smoothing: Part of the cross-entropy's target that is spread over all classes.
    """

    w_ce: float = 1.0
    w_intra: float = 1.0
    w_inter: float = 1.0
    w_sample: float = 1.0
    temperature: float = 0.07
    margin: float = 1.0
    positives: Literal["sum", "mean"] = "sum"
    beta: float = 0.0
    label_smoothing: float = 0.0

    def check(self) -> None:
        """Refuse negative weights and a β outside [0, 1)."""
        factors = ("w_ce", "w_focal", "w_intra", "w_inter", "w_sample")
        for key in factors:
            if getattr(self, key) < 0:
                raise self.refuse(key, "0 or more")
        if not any(getattr(self, key) for key in factors):
            raise self.refuse("w_ce", f"one of {', '.join(factors)} above 0")
        if self.temperature <= 0:
            raise self.refuse("temperature", "a positive number")
        if not -1 <= self.margin <= 1:
            raise self.refuse("margin", "a cosine in -1..1")
        super().check()


_TINY = MERCLConfig(
    input_spec=InputSpec(
        window_seconds=5.0,
        eeg=EEGSpec(ch_names=montage.MONTAGES["eegmat"], sfreq=200.0),
        video=VideoSpec(num_frames=16, size=(64, 64)),
        audio=_SOUND,
    ),
    encoders={
        "eeg": EncoderConfig("band_conformer_tiny"),
        "video": EncoderConfig("vit_frames_nano"),
        "audio": EncoderConfig("vggish_tiny"),
    },
    dim=48,
    shared_dim=32,
    num_heads=4,
    hidden_dim=64,
)


class _Steps(NamedTuple):
    """A modality's steps behind the temporal convolutions."""

    h: Tensor
    """``(batch, time, dim)``."""
    valid: Tensor
    """``(batch, time)`` bool; of an absent sample all."""

    def mean(self) -> Tensor:
        """Mean over the valid steps, ``(batch, dim)``."""
        weight = self.valid[..., None].to(self.h.dtype)
        return (self.h * weight).sum(1) / weight.sum(1).clamp_min(1)


class MERCL(System):
    r"""Emotion recognition from EEG, video and sound with contrastive learning.

    Source: Lee, Kim and Kim, "Emotion Recognition Using EEG Signals and Audiovisual Features with Contrastive
    Learning", Bioengineering 2024, 11, 997.

    .. math::
        s_m = f_m(x_m), \quad h_m = \mathrm{TCN}_m(s_m), \quad z_m = W_m \bar h_m, \qquad m \in \{v, a, e\}

    .. math::
        r_{n \to m} = \overline{\mathrm{MHA}(h_m, h_n)}, \quad
        \hat y = \mathrm{MLP}([r_{a \to v}, r_{v \to a}, r_{e \to v}, r_{v \to e}, r_{e \to a}, r_{a \to e}])

    (section 3.1 and eq. 2; eq. 8-13). A bar is the mean over the valid steps (a choice; the paper does not say how
    sequences become vectors). :math:`f_e` takes the power of five bands, which is computed here of raw EEG, or features
    that come ready (``input_spec.eeg.features``); :math:`f_v` is any video encoder, frame by frame where it can; each
    encoder gives its steps (:meth:`evermodels.backbones.Backbone.forward_steps`).

    Training is Algorithm 1 by a recipe: one row pre-trains encoders, temporal convolutions and :math:`W_m` by
    :class:`~evermodels.losses.MERCLLoss` with ``w_ce=0``; a second starts from it (``init_from = { model = ... }``),
    freezes them (rate 0) and trains the attention and the classifier by cross-entropy. Rates above 0, or all losses in
    one row, are the end-to-end training that section 3.3 also speaks of.

    An absent modality is a learned token as its only step; it drops out of the contrastive terms, and of
    ``attention["modalities"]``.

    Args:
        config: A :class:`MERCLConfig`.

    Raises:
        ConfigError: If an encoder does not fit its modality.

    Example:
        >>> import torch
        >>> model = MERCL.from_preset("mercl_tiny").eval()
        >>> eeg, video, audio = torch.randn(2, 19, 1000), torch.randn(2, 16, 3, 64, 64), torch.randn(2, 496, 20)
        >>> output = model(eeg=eeg, video=video, audio=audio)
        >>> output.logits.shape, output.embeddings["eeg"].shape, output.attention["modalities"].shape
        (torch.Size([2, 4]), torch.Size([2, 32]), torch.Size([2, 3]))
        >>> model(eeg=eeg, audio=audio).logits.shape  # no video at all
        torch.Size([2, 4])
    """

    config_class = MERCLConfig
    loss_config_class: ClassVar[type[LossConfig]] = MERCLLossConfig
    head_prefixes = ("head.",)
    masked: tuple[str, ...] = ("video", "audio")
    presets: ClassVar[Mapping[str, MERCLConfig]] = {"mercl_tiny": _TINY, "mercl_base": MERCLConfig()}
    captions: ClassVar[Mapping[str, str]] = {
        "modalities": "How much of what reaches the classifier's hidden layer came from each modality: the lengths of "
        "the parts whose values it gave, wherever they were asked for from. One that was absent has none.",
    }

    def __init__(self, config: MERCLConfig) -> None:
        super().__init__(config)
        self.build_encoders(None)
        self.front_end = self._front_end(config) if "eeg" in config.modalities else None
        names = config.modalities
        self.temporal = nn.ModuleDict(
            {
                m: ResidualTCN(
                    self.encoder(m).step_dim,
                    config.dim,
                    config.dilations,
                    config.kernel_size,
                    config.temporal_drop_rate,
                )
                for m in names
            }
        )
        self.shared = nn.ModuleDict({m: nn.Linear(config.dim, config.shared_dim) for m in names})
        several = len(names) > 1
        self.absent = nn.ParameterDict({m: nn.Parameter(torch.empty(config.dim)) for m in names if several})
        self.attention: CrossModalAttention | None = None
        if several and config.cross_attention:
            self.attention = CrossModalAttention(config.dim, config.num_heads, names, config.attention_drop_rate)
        self.sources = [n for m in names for n in names if n != m] if self.attention is not None else list(names)
        knows = {m for m in names if type(self.encoder(m)).step_mask is not Backbone.step_mask}
        self.masked = tuple(m for m in names if m == "audio" or (m == "video" and m in knows))
        self.drop = nn.Dropout(config.drop_rate)
        self.hidden = nn.Linear(len(self.sources) * config.dim, config.hidden_dim)
        self.head = self.make_head()
        self.reset_parameters()

    def _front_end(self, config: MERCLConfig) -> nn.Module | None:
        """What makes features of EEG, and standardises them."""
        spec = config.input_spec.eeg
        assert spec is not None  # it takes EEG
        if self.encoder("eeg").input != "features":
            return None
        made, features = None, spec.features
        if features is None:
            features = config.made_features
            made = DifferentialEntropy(
                spec.sfreq, features.bands, features.seconds, method=features.method, kind=features.kind
            )
        if not config.standardise:
            return made
        return FeatureNorm((len(features.bands), len(config.ch_names)), made)

    def encoder_shape(self, modality: str, kind: str) -> tuple[int, ...] | None:
        """Return the shape of one sample as an encoder gets it: also that of the features that are made of EEG.

        Args:
            modality: Its name.
            kind: What the encoder takes.
        """
        config: MERCLConfig = self.config
        spec = config.input_spec
        if modality == "eeg" and spec.eeg is not None and spec.eeg.features is None and kind == "features":
            return spec.eeg.replace(features=config.made_features).shape(spec.window_seconds)
        return super().encoder_shape(modality, kind)

    def front_ends(self) -> dict[str, Any]:
        """Return what standardises the features of EEG, where there is one."""
        return {"eeg": self.front_end} if isinstance(self.front_end, FeatureNorm) else {}

    @property
    def embed_dim(self) -> int:
        """Width of the fused embedding."""
        return self.config.hidden_dim

    def reset_parameters(self) -> None:
        """Draw the tokens of absent modalities; every other part has drawn its own."""
        for token in self.absent.values():
            nn.init.normal_(token, std=0.02)

    def build_loss(self, loss: MERCLLossConfig, **options: Any) -> MERCLLoss:
        """Return MERCL's loss (eq. 3-7) and the cross-entropy.

        Args:
            loss: Its numbers.
            **options: ``class_weights``.
        """
        return MERCLLoss(**options, **{key: value for key, value in loss.to_dict().items() if key != "beta"})

    def forward(
        self,
        eeg: Tensor | None = None,
        video: Tensor | None = None,
        audio: Tensor | None = None,
        *,
        present: Mapping[str, Tensor] | None = None,
        masks: Mapping[str, Tensor] | None = None,
    ) -> AlignableOutput:
        """Classify a batch.

        Args:
            eeg: EEG in µV, ``(batch, channels, time)``, channels in the order of ``input_spec.eeg.ch_names``, or
                features where the input spec says so; ``None`` where the whole batch has none.
            video: Normalised frames, ``(batch, frames, 3, height, width)``, or ``None``.
            audio: Log-mel spectrogram, ``(batch, frames, mels)``, or ``None``.
            present: Which samples have a modality, ``(batch,)`` bool by modality (default: all that are given).
            masks: ``"video"``: valid frames, ``(batch, frames)`` bool; a sample without any has no video
                (:attr:`System.masked`). ``"audio"``: frames that are not silent; a sample without any is read whole,
                and SMCL leaves it out (``energy_selection``).

        Returns:
            Logits, ``(batch, num_classes)``; ``embedding``, the classifier's hidden layer; ``embeddings`` by modality,
            ``(batch, shared_dim)``, eq. 2, zero where absent; ``attention["modalities"]``, ``(batch, modalities)``, how
            much of what reaches the hidden layer came from each modality's values, sums to 1; ``alignable``,
            ``(batch,)``, which samples SMCL brings together.

        Raises:
            ShapeError: If a shape is wrong or no modality is present.
            SignalError: If a value is not finite (checked in eager mode only).
            ConfigError: If a modality comes that the model does not take.
        """
        given = self.given({"eeg": eeg, "video": video, "audio": audio}, present, masks)
        steps, embeddings = {}, {}
        for m, x in given.inputs.items():
            steps[m] = self._steps(m, x, given)
            embeddings[m] = zero_absent(self.shared[m](steps[m].mean()), given.here(m))
        embedding, shares = self._fuse(steps, self.hide(given))
        logits = self.classified(embedding)
        alignable = torch.ones(embedding.shape[0], dtype=torch.bool, device=embedding.device)
        if self.config.energy_selection and "audio" in given.masks:
            here, sounds = given.here("audio"), given.masks["audio"].any(dim=1)
            alignable = sounds if here is None else sounds | ~here
        return AlignableOutput(logits, embedding, embeddings, {"modalities": shares}, alignable)

    def _steps(self, modality: str, x: Tensor, given: Given) -> _Steps:
        """Run one encoder and its temporal convolutions."""
        encoder, here, frames = self.encoder(modality), given.here(modality), given.masks.get(modality)
        if modality == "eeg" and self.front_end is not None:
            x = self.front_end(x.double() if self.dtype == torch.float64 else x.float())
        steps = encoder.forward_steps(x.to(self.dtype))
        valid = None if frames is None else encoder.step_mask(frames)
        if valid is None:
            valid = torch.ones(steps.shape[:2], dtype=torch.bool, device=steps.device)
        # Silence is heard whole, and what is absent is no step of the statistics.
        valid = valid | ~valid.any(1, keepdim=True)
        counted = valid if here is None else valid & here[:, None]
        return _Steps(self.temporal[modality](steps, counted), valid)

    def _fuse(self, steps: Mapping[str, _Steps], flags: Mapping[str, Tensor] | None) -> tuple[Tensor, Tensor]:
        """Return the hidden layer, and how much of it came from each modality."""
        names, batch = self.modalities, next(iter(steps.values())).h.shape[0]
        whole: dict[str, _Steps] = {}
        for m in names:
            if m not in steps:
                one = next(iter(steps.values())).valid[:, :1]
                whole[m] = _Steps(self.absent[m].expand(batch, 1, -1), torch.ones_like(one))
            elif flags is None:
                whole[m] = steps[m]
            else:
                h, here = steps[m].h, flags[m][:, None]
                token = self.absent[m].to(h.dtype) if m in self.absent else h.new_zeros(())
                whole[m] = _Steps(torch.where(here[..., None], h, token), steps[m].valid | ~here)
        if self.attention is None:
            parts = [whole[m].mean() for m in names]
        else:
            found = self.attention({m: s.h for m, s in whole.items()}, {m: s.valid for m, s in whole.items()})
            parts = [_Steps(x, whole[pair.split("_to_")[1]].valid).mean() for pair, x in found.items()]
        r = self.drop(torch.stack(parts, dim=1))
        weight = self.hidden.weight.view(self.config.hidden_dim, len(parts), self.config.dim)
        reached = torch.einsum("bpd,hpd->bph", r, weight)
        embedding = torch.relu(reached.sum(1) + self.hidden.bias)
        length = reached.detach().float().square().sum(2).sqrt()
        shares = torch.stack(
            [sum((length[:, k] for k, n in enumerate(self.sources) if n == m), length.new_zeros(batch)) for m in names],
            dim=1,
        )
        if flags is not None:
            shares = shares * torch.stack([flags[m] for m in names], dim=1)
        return embedding, shares / shares.sum(1, keepdim=True).clamp_min(1e-12)
