"""Mood Reader: EEG through a pre-trained encoder and through its differential entropy, with eye movement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from evermodels import montage
from evermodels.backbones.base import Backbone
from evermodels.core.errors import ConfigError, ShapeError, quoted
from evermodels.core.outputs import EmotionOutput
from evermodels.core.presence import zero_absent
from evermodels.core.specs import EEGFeatures, EEGSpec, EyeSpec, InputSpec
from evermodels.functional._precision import at_least_float32
from evermodels.layers import (
    DifferentialEntropy,
    FeatureNorm,
    FlattenProjection,
    InterlinkedSpatioTemporalAttention,
    MultiLevelScoreFusion,
)
from evermodels.models.system import Given, System
from evermodels.models.system_config import EncoderConfig, LossConfig, SystemConfig
from evermodels.signals.eye import SEED_FEATURES

_SEED = InputSpec(
    window_seconds=16.0,
    eeg=EEGSpec(ch_names=montage.MONTAGES["seed"], sfreq=200.0, l_freq=0.1, h_freq=70.0, notch=50.0),
    eye=EyeSpec(features=SEED_FEATURES, seconds=4.0),
)


_ENTROPY = EEGFeatures(seconds=4.0)


def _encoders() -> dict[str, EncoderConfig]:
    return {"eeg": EncoderConfig("mbsm_base"), "eye": EncoderConfig("eye_transformer_base")}


@dataclass(frozen=True)
class MoodReaderConfig(SystemConfig):
    """Configuration of :class:`~evermodels.models.MoodReader`; the defaults are SEED with the paper's items of 16 s.

    The six ablations of section 4.4 are ``interlink``, ``use_encoder``, ``fusion`` and the input spec's modalities.

    Args:
        num_classes: Classes; 0 for the fused embedding.
        input_spec: EEG and eye movement, or one of them. EEG comes as signals, of which differential entropy is made
            here, or with ``input_spec.eeg.features`` as features that are ready, such as SEED's published ones.
        encoders: For EEG the pre-trained encoder of raw signals, or one that takes features; for eye movement the
            temporal blocks.
        source_ch_names: Channels of the recordings, where they are others than the model's (default: its own).
        drop_rate: Dropout on each source's vector before the fusion, and in the head.
        modality_drop_rate: Chance per sample, in training, that one of the two modalities is hidden from the fusion.
        use_encoder: Whether there is a pre-trained encoder of EEG beside the attention over its entropy.
        interlink: Whether the spatial and temporal paths are interlinked (STIB); off is STB.
        fusion: ``"multi_level"`` (eq. 5-8) or ``"concatenation"``.
        entropy: The features that are made of EEG signals; windows are cut from the end of an item backwards (section
            4.1), and those of one item stand together in order (SWC). One window long, an item is "w/o SWC".
        feature_norm: ``"train"``, features are standardised by their statistics over the training people
            (:meth:`MoodReader.fit_statistics`), or ``"none"``. The paper is silent, but eye features are in
            milliseconds, millimetres and nats.
        dim: Width D_unified of each source's vector.
        depth: Parallel blocks of each path.
        interlink_depth: Interlink blocks of each path.
        num_heads: Attention heads of these blocks; where they do not divide a path's width, it is projected.
        fusion_heads: Attention heads of eq. 8.
        attention_drop_rate: Dropout of eq. 4.
        eeg_readout: How the pre-trained encoder's tokens become one vector: ``"flatten"``, as the paper, or ``"mean"``,
            its own embedding, with far fewer weights.
        eye_readout: The same of eye movement.
        head_dims: Widths between the head's three linear layers.

    Raises:
        ConfigError: For an unknown key, a wrong type or an impossible value.
        UnknownNameError: If a channel name is unknown or stands twice.

    Example:
        >>> config = MoodReaderConfig()
        >>> config.entropy_shape(), config.levels()  # windows, bands, channels
        ((4, 5, 62), (('spatial', 'temporal'), ('latent', 'eye')))
        >>> config.replace(modalities=("eeg",), use_encoder=False).levels()
        (('spatial', 'temporal'),)
    """

    num_classes: int = 3
    input_spec: InputSpec = _SEED
    encoders: Mapping[str, EncoderConfig] = field(default_factory=_encoders)
    use_encoder: bool = True
    interlink: bool = True
    fusion: Literal["multi_level", "concatenation"] = "multi_level"
    entropy: EEGFeatures = _ENTROPY
    feature_norm: Literal["train", "none"] = "train"
    dim: int = 128
    depth: int = 2
    interlink_depth: int = 1
    num_heads: int = 5
    fusion_heads: int = 4
    attention_drop_rate: float = 0.1
    eeg_readout: Literal["flatten", "mean"] = "flatten"
    eye_readout: Literal["flatten", "mean"] = "flatten"
    head_dims: tuple[int, int] = (128, 64)

    def check(self) -> None:
        """Refuse what cannot work."""
        if not set(self.modalities) <= {"eeg", "eye"}:
            raise ConfigError(
                f"MoodReaderConfig.input_spec: expected eeg, eye or both, got {quoted(', '.join(self.modalities))}."
            )
        super().check()
        self.at_least(1, "dim", "depth", "interlink_depth", "num_heads", "fusion_heads")
        if self.dim % self.fusion_heads:
            raise self.refuse("fusion_heads", f"a divisor of dim ({self.dim})")
        if min(self.head_dims) < 1:
            raise self.refuse("head_dims", "two widths of at least 1")
        self.rates("attention_drop_rate")
        eeg = self.input_spec.eeg
        if eeg is not None and eeg.features is None and self.entropy_shape()[0] < 1:
            raise ConfigError(
                f"MoodReaderConfig.entropy.seconds: expected at most the {self.input_spec.window_seconds:g} s of an "
                f"item, got {self.entropy.seconds:g}. Give shorter windows, or longer items with window_seconds=…."
            )

    @property
    def encoded(self) -> tuple[str, ...]:
        """Modalities that have a registered encoder."""
        return tuple(m for m in self.modalities if m != "eeg" or self.use_encoder)

    def changed(self, /, **changes: Any) -> dict[str, Any]:
        """Return all values after a change; with ``use_encoder=False`` what is said of the EEG encoder is dropped.

        Args:
            **changes: As :meth:`replace` takes them.
        """
        new = super().changed(**changes)
        if new["use_encoder"] is False and isinstance(new["encoders"], Mapping):
            new["encoders"] = {m: encoder for m, encoder in new["encoders"].items() if m != "eeg"}
        return new

    def entropy_shape(self) -> tuple[int, int, int]:
        """Return windows, bands and channels of the differential entropy of one item."""
        eeg = self.input_spec.eeg
        if eeg is None:
            return 0, 0, 0
        if eeg.features is not None:
            windows, bands, channels = self.input_spec.shape("eeg")
            return windows, bands, channels
        length = max(1, round(self.entropy.seconds * eeg.sfreq))
        return self.input_spec.shape("eeg")[1] // length, len(self.entropy.bands), len(eeg.ch_names)

    def levels(self) -> tuple[tuple[str, ...], ...]:
        """Return the sources that are fused, level by level: of the entropy, then of the encoders."""
        paths = ("spatial", "temporal") if "eeg" in self.modalities else ()
        encoded = tuple("latent" if m == "eeg" else m for m in self.encoded)
        return tuple(level for level in (paths, encoded) if level)


@dataclass(frozen=True)
class MoodReaderLossConfig(LossConfig):
    """Mood Reader's loss, eq. 9: cross-entropy.

    Args:
        w_ce: Weight of the cross-entropy.
        w_focal: Weight of the focal loss; 0, as eq. 9.
        gamma: Exponent γ of the focal loss.
        beta: β of the effective number of samples (Cui et al., 2019) that classes are weighed by; 0, as eq. 9, weighs
            all alike.
        label_smoothing: Part of the target that is spread over all classes.
    """

    beta: float = 0.0


_TINY = MoodReaderConfig(
    num_classes=2,
    input_spec=InputSpec(
        window_seconds=5.0,
        eeg=EEGSpec(ch_names=montage.MONTAGES["eegmat"], sfreq=200.0),
        eye=EyeSpec(
            features=("pupil_mean", "pupil_std", "openness_mean", "openness_std", "blink_frequency"), seconds=1.0
        ),
    ),
    encoders={"eeg": EncoderConfig("mbsm_tiny"), "eye": EncoderConfig("eye_transformer_nano")},
    entropy=EEGFeatures(seconds=1.0),
    dim=64,
    eeg_readout="mean",
    head_dims=(64, 32),
)


class MoodReader(System):
    r"""Multi-modal Mood Reader: cross-subject emotion recognition from EEG and eye movement.

    Source: "Multi-modal Mood Reader: Pre-trained Model Empowers Cross-Subject Emotion Recognition", section 3. EEG goes
    two ways. Its differential entropy in windows and bands goes through the interlinked spatial-temporal attention
    (eq. 1-4, Fig. 2), the signals themselves through an encoder pre-trained by masked brain signal modelling; eye
    movement goes through temporal blocks of its own:

    .. math::
        F_{S_T}, F_{T_S} = \mathrm{STIB}(\mathrm{DE}(E)), \quad F_{EEG} = f_e(E), \quad F_{EYE} = f_y(Y)

    Each is normalised, flattened and projected to D_unified. The first level of the fusion joins the two paths, and in
    the same way the encoder's features and eye movement; the last lets the two attend to each other (eq. 5-8):

    .. math::
        F_{ST} = c_s F_{S_T} + c_t F_{T_S}, \quad F_{EE} = c_{eeg} F_{EEG} + c_{eye} F_{EYE}, \quad
        M = \mathrm{Attention}(F_{ST}, F_{EE})

    So the pre-trained features meet the interlinked attention only in eq. 8. The head is batch normalisation and three
    linear layers; ReLU and dropout between them are a choice, as are their widths. Batch normalisation needs two
    samples in training.

    An absent modality has no weight in eq. 6, and a level that lacks everything is a learned token; its content cannot
    matter. A window in which the eyes were closed throughout is one without eye movement
    (:class:`~evermodels.signals.eye.Reader` says so); single features that such a stretch does not have are 0.

    Args:
        config: A :class:`MoodReaderConfig`.

    Raises:
        ConfigError: If an encoder does not fit its modality.

    Example:
        >>> import torch
        >>> import evermodels as em
        >>> model = em.create_model("mood_reader_tiny").eval()
        >>> output = model(eeg=20 * torch.randn(2, 19, 1000), eye=torch.rand(2, 5, 5))
        >>> output.logits.shape, output.attention["channels"].shape
        (torch.Size([2, 2]), torch.Size([2, 19]))
        >>> model(eye=torch.rand(2, 5, 5)).logits.shape  # no EEG at all
        torch.Size([2, 2])
    """

    config_class = MoodReaderConfig
    loss_config_class: ClassVar[type[LossConfig]] = MoodReaderLossConfig
    head_prefixes = ("head.",)
    presets: ClassVar[Mapping[str, MoodReaderConfig]] = {
        "mood_reader_tiny": _TINY,
        "mood_reader_base": MoodReaderConfig(),
    }
    captions: ClassVar[Mapping[str, str]] = {
        "channels": "How much the electrodes attend to each one in the spatial blocks (eq. 3), the mean over blocks, "
        "heads and windows; 1 is an equal share, 2 twice as much. It says where the attention over differential "
        "entropy looked, and nothing on what the pre-trained encoder read.",
        "time": "How much the stretches of each window attend to each one in the temporal blocks (eq. 3), the mean "
        "over blocks and heads; 1 is an equal share, 2 twice as much.",
    }

    def __init__(self, config: MoodReaderConfig) -> None:
        super().__init__(config)
        self.drop = nn.Dropout(config.drop_rate)
        for modality in config.encoded:
            self._add_encoder(modality)
        if "eeg" in self.modalities:
            self._add_paths()
        if "eye" in self.modalities:
            self.eye_norm = FeatureNorm(config.input_spec.shape("eye")[1:])
        sources = [name for level in config.levels() for name in level]
        self.fusion: MultiLevelScoreFusion | None = None
        self.absent = nn.ParameterDict()
        both = len(self.modalities) > 1
        if config.fusion == "multi_level":
            empty = [
                k for k, level in enumerate(config.levels()) if both and len({_modality_of(name) for name in level}) < 2
            ]
            self.fusion = MultiLevelScoreFusion(
                config.dim, config.levels(), num_heads=config.fusion_heads, may_be_empty=empty
            )
        elif both:
            self.absent = nn.ParameterDict({name: nn.Parameter(torch.empty(config.dim)) for name in sources})
        self.head = self.make_head()
        self.reset_parameters()

    def _add_encoder(self, modality: str) -> None:
        config: MoodReaderConfig = self.config
        encoder = self.build_encoder(modality)
        flat = getattr(config, f"{modality}_readout") == "flatten"
        tokens, width = _tokens(encoder) if flat else (1, encoder.embed_dim)
        self.add_module(f"{modality}_encoder", encoder)
        self.add_module(f"{modality}_projection", FlattenProjection(tokens, width, config.dim))

    def _add_paths(self) -> None:
        config: MoodReaderConfig = self.config
        windows, bands, channels = config.entropy_shape()
        eeg, source = config.input_spec.of("eeg"), None
        assert isinstance(eeg, EEGSpec)
        if eeg.features is None:
            made = config.entropy
            source = DifferentialEntropy(
                eeg.sfreq, made.bands, made.seconds, method=made.method, kind=made.kind, anchor="end"
            )
        self.entropy = FeatureNorm((bands, channels), source)
        self.spatio_temporal = InterlinkedSpatioTemporalAttention(
            windows,
            bands,
            channels,
            num_heads=config.num_heads,
            depth=config.depth,
            interlink_depth=config.interlink_depth if config.interlink else 0,
            drop_rate=config.attention_drop_rate,
        )
        self.spatial_projection = FlattenProjection(channels, self.spatio_temporal.spatial_dim, config.dim)
        self.temporal_projection = FlattenProjection(windows, self.spatio_temporal.temporal_dim, config.dim)

    @property
    def embed_dim(self) -> int:
        """Width of the fused embedding."""
        levels = self.config.levels()
        return self.config.dim * (len(levels) if self.config.fusion == "multi_level" else sum(map(len, levels)))

    def make_head(self) -> nn.Module | None:
        """Return a new batch normalisation and three linear layers."""
        config: MoodReaderConfig = self.config
        if config.num_classes == 0:
            return None
        first, second = config.head_dims
        return nn.Sequential(
            nn.BatchNorm1d(self.embed_dim),
            nn.Linear(self.embed_dim, first),
            nn.ReLU(),
            nn.Dropout(config.drop_rate),
            nn.Linear(first, second),
            nn.ReLU(),
            nn.Linear(second, config.num_classes),
        )

    def reset_parameters(self) -> None:
        """Draw the tokens of absent sources of the concatenation; every other part has drawn its own."""
        for token in self.absent.values():
            nn.init.normal_(token, std=0.02)

    def front_ends(self) -> dict[str, Any]:
        """Return what standardises the features, where they are."""
        if self.config.feature_norm == "none":
            return {}
        return {m: self.entropy if m == "eeg" else self.eye_norm for m in self.modalities}

    def encoder(self, modality: str) -> Backbone:
        """Return the encoder of a modality.

        Args:
            modality: Its name.

        Raises:
            ConfigError: If the model does not take it, or reads it without an encoder.
        """
        if modality in self.modalities and modality not in self.config.encoded:
            raise ConfigError(
                f"{modality}: this MoodReader has no pre-trained encoder (use_encoder=False). Build it with one."
            )
        return super().encoder(modality)

    def encoder_shape(self, modality: str, kind: str) -> tuple[int, ...] | None:
        """Return the shape of one sample as an encoder gets it: also the entropy's, for EEG.

        Args:
            modality: Its name.
            kind: What the encoder takes.
        """
        if modality == "eeg" and kind == "features":
            return self.config.entropy_shape()
        return super().encoder_shape(modality, kind)

    def encode(self, modality: str, x: Tensor, given: Given) -> Tensor:
        """Run one encoder and its projection; ``(batch, dim)``, zero where absent.

        Args:
            modality: One that is among ``given.inputs``.
            x: What the encoder takes.
            given: The batch.
        """
        encoder, projection = self.encoder(modality), getattr(self, f"{modality}_projection")
        flat = getattr(self.config, f"{modality}_readout") == "flatten"
        tokens = encoder.forward_features(x) if flat else encoder(x)[:, None]
        return zero_absent(projection(tokens), given.here(modality))

    def forward(
        self,
        eeg: Tensor | None = None,
        eye: Tensor | None = None,
        *,
        present: Mapping[str, Tensor] | None = None,
        masks: Mapping[str, Tensor] | None = None,
    ) -> EmotionOutput:
        """Classify a batch.

        Args:
            eeg: EEG in µV, ``(batch, channels, time)``, channels in the order of ``input_spec.eeg.ch_names``; or
                differential entropy, ``(batch, windows, bands, channels)``, where ``input_spec.eeg.features`` is set.
            eye: Features of eye movement, ``(batch, windows, features)``, or the series, ``(batch, time, channels)``,
                as ``input_spec.eye`` says.
            present: Which samples have a modality, ``(batch,)`` bool by modality (default: all that are given).
            masks: None are taken: a stretch that could not be measured is 0 in its features, and a window that could
                not is absent.

        Returns:
            Logits, ``(batch, num_classes)``. ``embeddings`` by modality: the vectors of its sources side by side,
            ``(batch, 3 * dim)`` for EEG with an encoder, ``(batch, dim)`` for eye movement, zero where absent. With EEG
            among the modalities ``attention``: ``"channels"`` ``(batch, channels)``, how much each electrode was
            attended to in the spatial blocks, and ``"time"`` ``(batch, windows)`` in the temporal ones; each sums to 1,
            and is 0 where a sample has no EEG.

        Raises:
            ShapeError: If a shape is wrong, no modality is present, or a batch in training has one sample only.
            SignalError: If a value is not finite (checked in eager mode only).
            ConfigError: If a modality comes that the model does not take.
        """
        given = self.given({"eeg": eeg, "eye": eye}, present, masks)
        size = next(iter(given.inputs.values())).shape[0]  # len() would fix the size under export
        if self.training and size == 1 and self.head is not None:
            raise ShapeError(
                "batch: expected at least 2 samples in training, as batch normalisation needs them, got 1. Give more, "
                "leave out the last batch, or call eval()."
            )
        sources: dict[str, Tensor] = {}
        attention: dict[str, Tensor] = {}
        if "eeg" in given.inputs:
            sources, attention = self._read_eeg(given)
        elif "eeg" in self.modalities:
            windows, _, channels = self.config.entropy_shape()
            nowhere = at_least_float32(given.inputs["eye"].new_zeros(size, 1, dtype=self.dtype))
            attention = {"channels": nowhere.repeat(1, channels), "time": nowhere.repeat(1, windows)}
        if "eye" in given.inputs:
            sources["eye"] = self.encode("eye", self.eye_norm(given.inputs["eye"]).to(self.dtype), given)
        embeddings = {
            m: torch.cat([z for name, z in sources.items() if _modality_of(name) == m], dim=1) for m in given.inputs
        }
        embedding = self._fused({name: self.drop(z) for name, z in sources.items()}, self.hide(given))
        logits = self.classified(embedding)
        return EmotionOutput(logits, embedding, embeddings, attention)

    def _read_eeg(self, given: Given) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the vectors of all that is read of EEG, and where the attention looked."""
        here, eeg = given.here("eeg"), given.inputs["eeg"]
        entropy = self.entropy(eeg).to(self.dtype)
        seen = self.spatio_temporal(entropy)
        sources = {
            "spatial": zero_absent(self.spatial_projection(seen.spatial), here),
            "temporal": zero_absent(self.temporal_projection(seen.temporal), here),
        }
        if self.config.use_encoder:
            takes = entropy if self.encoder("eeg").input == "features" else eeg.to(self.dtype)
            sources["latent"] = self.encode("eeg", takes, given)
        attention = {"channels": seen.channel_attention, "time": seen.window_attention}
        return sources, {kind: zero_absent(weights, here) for kind, weights in attention.items()}

    def _fused(self, sources: Mapping[str, Tensor], present: Mapping[str, Tensor] | None) -> Tensor:
        """Eq. 5-8, or all sources side by side with learned tokens for those that are absent."""
        flags = {} if present is None else {name: present[_modality_of(name)] for name in sources}
        if self.fusion is not None:
            fused: Tensor = self.fusion(sources, flags).embedding
            return fused
        some, parts = next(iter(sources.values())), []
        for name in (name for level in self.config.levels() for name in level):
            if name in self.absent:
                absent = self.absent[name].to(some.dtype).expand_as(some)
                z = sources.get(name, absent)
                parts.append(torch.where(flags[name][:, None], z, absent) if name in flags else z)
            else:
                parts.append(sources[name])
        return torch.cat(parts, dim=1)


def _modality_of(source: str) -> str:
    return "eye" if source == "eye" else "eeg"


@torch.no_grad()
def _tokens(encoder: Backbone) -> tuple[int, int]:
    """How many tokens an encoder gives for one sample, and their width."""
    some = next(encoder.parameters())
    training = encoder.training
    tokens = encoder.eval().forward_features(some.new_zeros(1, *encoder.sample_shape))
    encoder.train(training)
    return tokens.shape[1], tokens.shape[2]
