"""One modality, one encoder, one linear layer: any backbone as a classifier that trains, loads and reads recordings."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from evermodels import montage
from evermodels.backbones.base import Backbone
from evermodels.core.errors import ConfigError, quoted
from evermodels.core.outputs import EmotionOutput
from evermodels.core.presence import zero_absent
from evermodels.core.specs import AudioSpec, EEGFeatures, EEGSpec, EyeSpec, InputSpec, VideoSpec
from evermodels.layers import DifferentialEntropy, FeatureNorm, SpectrogramFrontEnd
from evermodels.models.system import System
from evermodels.models.system_config import EncoderConfig, LossConfig, SystemConfig

_MOST_MEMBERS = 100  # more is a mistake that would be built for hours
_LEAST_VARIANCE = 1e-5  # where all steps are equal, the slope of the root stays finite


@dataclass(frozen=True)
class SingleEncoderConfig(SystemConfig):
    """Configuration of a :class:`SingleEncoder`.

    Args:
        num_classes: Classes; 0 for the embedding.
        input_spec: The one modality, and how its recordings must look.
        encoders: The encoder of that modality, any registered backbone that takes its recordings or what is made of
            them here.
        source_ch_names: EEG channels of the recordings, where they are others than the model's (default: its own).
        drop_rate: Dropout on the embedding before the linear layer.
        modality_drop_rate: Without effect, as there is no other modality to answer in its place.
        n_fft: STFT window in samples, where the encoder takes spectrograms of EEG (default: about one second).
        hop_length: STFT hop in samples (default: ``n_fft // 4``).
        spectrogram_size: Frequency × time to which those spectrograms are resized.
        readout: ``"embedding"``, the encoder's own, padding and all; ``"valid"``, its own of the valid frames, where it
            can leave out others and ``masks`` come; or ``"statistics"``: mean and standard deviation of its steps over
            time, of the valid ones where it knows which frames a step holds.
        spectrogram_norm: ``"scalar"`` (as they are) or ``"channel_frequency"``: standardised by the statistics of the
            training people (:meth:`System.fit_statistics`), a log-mel each band by itself, of valid frames where the
            model takes masks.
        made_features: Features that are computed of raw EEG, where the encoder takes features.
        embedding_norm: ``"none"``, or ``"batch"``: batch normalisation without weights of its own between embedding and
            linear layer (He et al., *Masked Autoencoders Are Scalable Vision Learners*, 2022, appendix A.1), which
            brings an encoder that was pre-trained without labels, whose embeddings may differ by little, to the scale
            that the linear layer learns at. In training a batch then has at least two samples.
        members: Encoders of this kind that answer together, each from random weights of its own, see
            :class:`SingleEncoder`.

    Raises:
        ConfigError: For an unknown key, a wrong type or an impossible value.
        UnknownNameError: If a channel name is unknown or stands twice.

    Example:
        >>> SingleEncoderConfig(2, InputSpec(), {}).modalities
        Traceback (most recent call last):
            ...
        evermodels.core.errors.ConfigError: ...input_spec...expected exactly one modality...
    """

    n_fft: int | None = None
    hop_length: int | None = None
    spectrogram_size: tuple[int, int] = (64, 64)
    readout: Literal["embedding", "valid", "statistics"] = "embedding"
    spectrogram_norm: Literal["scalar", "channel_frequency"] = "scalar"
    made_features: EEGFeatures = field(default_factory=EEGFeatures)
    embedding_norm: Literal["none", "batch"] = "none"
    members: int = 1

    def check(self) -> None:
        """Refuse several modalities and impossible sizes."""
        if len(self.modalities) != 1:
            raise ConfigError(
                f"{type(self).__name__}.input_spec: expected exactly one modality, got "
                f"{quoted(', '.join(self.modalities) or 'none')}."
            )
        super().check()
        if min(self.spectrogram_size) < 1:
            raise self.refuse("spectrogram_size", "a positive frequency and time size")
        if self.n_fft is not None and self.n_fft < 2:
            raise self.refuse("n_fft", "at least 2 samples, or None")
        if not 1 <= self.members <= _MOST_MEMBERS:
            raise self.refuse("members", f"1 to {_MOST_MEMBERS}")
        if self.members > 1 and self.embedding_norm != "none":
            raise self.refuse("embedding_norm", "'none' for several members, of which a training sample has one alone")

    @property
    def modality(self) -> str:
        """The one modality."""
        return self.modalities[0]


@dataclass(frozen=True)
class SingleEncoderLossConfig(LossConfig):
    """Loss of a :class:`SingleEncoder`: class-balanced cross-entropy.

    Args:
        w_ce: Weight of the cross-entropy.
        w_focal: Weight of the focal loss.
        gamma: Exponent γ of the focal loss.
        beta: β of the effective number of samples (Cui et al., 2019) that the classes are weighed by.
        label_smoothing: Part of the target that is spread over all classes.
    """


class SingleEncoder(System):
    r"""One encoder and a linear layer.

    .. math:: z = f(x), \quad \text{logits} = W \, \mathrm{dropout}(\mathrm{norm}(z)) + b

    with the identity as norm unless ``embedding_norm`` says otherwise.

    K ``members`` are a deep ensemble in one model (Lakshminarayanan et al., *Simple and Scalable Predictive Uncertainty
    Estimation using Deep Ensembles*, 2017), with the mean of the logits in place of that of the probabilities, so that
    it is still an embedding and a linear layer. In training each sample is given to one member, drawn at random, as if
    each learned alone; a batch and the epochs have to be K times as large for as many steps of as many samples each:

    .. math:: z_{train} = [0, \ldots, f_k(x), \ldots, 0], \quad z = \tfrac1K [f_1(x), \ldots, f_K(x)]

    Any registered backbone becomes a classifier that trains by a recipe, takes recordings, is carried to another
    headset, is saved and loaded. The encoder gets the recordings as the input spec says, or what is made of them here:
    of raw EEG spectrograms (EVER, eq. 2-3) or features by band (:class:`~evermodels.layers.DifferentialEntropy`), of a
    log-mel its picture with one channel. Features of EEG and eye movement are standardised by the statistics of the
    training people, as they have units of their own. There is a subclass for each modality, :class:`SingleEEG` and so
    on.

    Args:
        config: A :class:`SingleEncoderConfig`.

    Raises:
        ConfigError: If the encoder does not fit the modality.

    Example:
        >>> import torch
        >>> import evermodels as em
        >>> model = em.create_model("single_video", num_classes=3).eval()
        >>> model(video=torch.zeros(2, 16, 3, 64, 64)).logits.shape
        torch.Size([2, 3])
    """

    config_class = SingleEncoderConfig
    loss_config_class: ClassVar[type[LossConfig]] = SingleEncoderLossConfig
    modality: ClassVar[str]

    def __init__(self, config: SingleEncoderConfig) -> None:
        if config.modality != self.modality:
            raise ConfigError(
                f"{type(config).__name__}.input_spec: {type(self).__name__} takes {self.modality}, got "
                f"{config.modality!r}."
            )
        super().__init__(config)
        self.build_encoders(None)
        if config.members > 1:
            others = (self.build_encoder(self.modality) for _ in range(config.members - 1))
            self.add_module(f"{self.modality}_encoder", nn.ModuleList([self.encoder(self.modality), *others]))
        self.masked = (self.modality,) if self._leaves_out(config.readout) else ()
        self.front_end = self._front_end(config, self.encoder(self.modality).input)
        batch = config.embedding_norm == "batch"
        self.norm = nn.BatchNorm1d(self.embed_dim, affine=False) if batch else nn.Identity()
        self.drop = nn.Dropout(config.drop_rate)
        self.head = self.make_head()

    def _leaves_out(self, readout: str) -> bool:
        """Whether frames can be left out."""
        encoder = self.encoder(self.modality)
        if readout == "statistics":
            return type(encoder).step_mask is not Backbone.step_mask
        return readout == "valid" and encoder.reads_masks

    def _front_end(self, config: SingleEncoderConfig, kind: str) -> nn.Module | None:
        """What makes the encoder's kind of tensor of the recordings, where they are another, or one scale of them."""
        spec = config.input_spec
        if self.modality == "eye":
            return FeatureNorm(spec.shape("eye")[1:])
        if self.modality == "eeg" and kind == "features":
            return self._features(spec.of("eeg"), config.made_features)
        if config.spectrogram_norm != "scalar" and spec.of(self.modality).kind == "log_mel":
            return FeatureNorm(spec.shape(self.modality)[1:])
        if self.modality != "eeg" or kind == spec.of("eeg").kind:
            return None
        assert spec.eeg is not None
        return SpectrogramFrontEnd(
            len(config.ch_names),
            self._window_length(spec.eeg),
            config.hop_length,
            config.spectrogram_size,
            norm=config.spectrogram_norm,
        )

    @staticmethod
    def _features(spec: Any, made: EEGFeatures) -> FeatureNorm:
        """Features by band on one scale, made here where raw EEG comes."""
        if spec.features is not None:
            return FeatureNorm((len(spec.features.bands), len(spec.ch_names)))
        source = DifferentialEntropy(spec.sfreq, made.bands, made.seconds, method=made.method, kind=made.kind)
        return FeatureNorm((len(made.bands), len(spec.ch_names)), source)

    def _window_length(self, spec: EEGSpec) -> int:
        n_fft: int | None = self.config.n_fft
        return round(spec.sfreq) if n_fft is None else n_fft

    def encoder_shape(self, modality: str, kind: str) -> tuple[int, ...] | None:
        """Return the shape of one sample as the encoder gets it, also of what is made here.

        Args:
            modality: Its name.
            kind: What the encoder takes.
        """
        config: SingleEncoderConfig = self.config
        spec = config.input_spec
        own = spec.of(modality).kind
        if own == "eeg" and kind == "spectrogram":
            return (len(config.ch_names), *config.spectrogram_size)
        if own == "eeg" and kind == "features":
            assert spec.eeg is not None
            return spec.eeg.replace(features=config.made_features).shape(spec.window_seconds)
        if own == "log_mel" and kind == "spectrogram":
            frames, mels = spec.shape(modality)
            return (1, mels, frames)
        return super().encoder_shape(modality, kind)

    def front_ends(self) -> dict[str, Any]:
        """Return the spectrogram where it has statistics, or what standardises features of EEG or eye movement."""
        front_end = self.front_end
        needs = isinstance(front_end, FeatureNorm)
        needs |= isinstance(front_end, SpectrogramFrontEnd) and front_end.needs_statistics
        return {self.modality: front_end} if needs else {}

    @property
    def embed_dim(self) -> int:
        """Width of the embedding."""
        encoder = self.encoder(self.modality)
        own = 2 * encoder.step_dim if self.config.readout == "statistics" else encoder.embed_dim
        return own * self.config.members

    def load_encoder(self, modality: str, source: str | os.PathLike[str]) -> int:
        """Copy one whole encoder from a checkpoint, into every member; see :meth:`System.load_encoder`.

        Args:
            modality: Whose encoder is overwritten.
            source: Folder, name or repository of the checkpoint; of its members the first is taken.

        Returns:
            How many tensors were copied.
        """
        copied = super().load_encoder(modality, source)
        for member in self.members[1:]:
            member.load_state_dict(self.members[0].state_dict())
        return copied

    def encoder(self, modality: str) -> Backbone:
        """Return the encoder, of several members the first.

        Args:
            modality: The model's own.

        Raises:
            ConfigError: If it is another.
        """
        found: Any = super().encoder(modality)
        several = isinstance(found, nn.ModuleList)
        first: Backbone = found[0] if several else found
        return first

    @property
    def members(self) -> list[Backbone]:
        """All encoders that answer together."""
        found: Any = super().encoder(self.modality)
        return [*found] if isinstance(found, nn.ModuleList) else [found]

    def as_backbone(self) -> Backbone:
        """Return a copy of the encoder that has the linear layer as its own head, and so the same logits.

        Returns:
            A backbone in eval mode, with the classes of this model; it is saved under the encoder's own name.

        Raises:
            ConfigError: If the linear layer stands on statistics or several members, the encoder takes what is made
                here of recordings, or its own head is another.

        Example:
            >>> import torch
            >>> import evermodels as em
            >>> model, x = em.create_model("single_eeg").eval(), torch.randn(2, 19, 1000)
            >>> torch.equal(model.as_backbone()(x), model(eeg=x).logits)
            True
        """
        if self.config.readout == "statistics":
            raise ConfigError(
                "readout: expected 'embedding' or 'valid', got 'statistics', for which a backbone's own head has no "
                "place. Save the model itself."
            )
        if len(self.members) > 1:
            raise ConfigError(
                f"members: expected 1, as one backbone cannot hold several, got {len(self.members)}. Save the model "
                "itself."
            )
        encoder = copy.deepcopy(self.encoder(self.modality))
        made = self.front_end is not None or self.config.input_spec.of(self.modality).kind != encoder.input
        if made or self.montage_adapter is not None:
            raise ConfigError(
                f"{self.modality}: the encoder takes {encoder.input!r}, which this model makes of recordings. Save the "
                "model itself."
            )
        encoder.reset_classifier(self.config.num_classes)
        if self.head is not None:
            if not isinstance(encoder.head, nn.Linear):
                raise ConfigError(
                    f"{type(encoder).__name__}: its own head is more than a linear layer, so it has no place for this "
                    "one. Save the model itself."
                )
            encoder.head.load_state_dict(self.head.state_dict())
            if isinstance(self.norm, nn.BatchNorm1d):
                self._fold(self.norm, encoder.head)
        encoder.classes, encoder.factors, encoder.provenance = self.classes, self.factors, self.provenance
        return encoder.eval()

    @staticmethod
    @torch.no_grad()
    def _fold(norm: nn.BatchNorm1d, head: nn.Linear) -> None:
        """Let a linear layer do what the normalisation before it does in eval mode."""
        assert norm.running_mean is not None and norm.running_var is not None
        scale = (norm.running_var + norm.eps).rsqrt()
        head.weight.mul_(scale)
        head.bias.sub_(head.weight @ norm.running_mean)

    def classify(
        self, x: Tensor | None, present: Mapping[str, Tensor] | None, masks: Mapping[str, Tensor] | None
    ) -> EmotionOutput:
        """Classify a batch; each subclass's ``forward`` calls it with its modality.

        Args:
            x: The batch, as ``input_spec`` says.
            present: Which samples have it, ``(batch,)`` bool by modality; all must (default: all).
            masks: Valid frames, ``(batch, frames)`` bool by modality, if the model takes them (:attr:`System.masked`).

        Returns:
            Logits, ``(batch, num_classes)``; the embedding, ``(batch, dim)``, fused and by modality alike.

        Raises:
            ShapeError: If a shape is wrong or a sample has nothing.
            SignalError: If a value is not finite (checked in eager mode only).
        """
        given = self.given({self.modality: x}, present, masks)
        z = self._together(self._made(given.inputs[self.modality]), given.masks.get(self.modality))
        z = zero_absent(z, given.here(self.modality))
        return EmotionOutput(self.classified(self.drop(self.norm(z))), z, {self.modality: z})

    def _together(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """The embeddings of all members side by side, ``(batch, embed_dim)``; in training of one for each sample."""
        members = self.members
        if len(members) == 1:
            return self._read(members[0], x, mask)
        if not self.training:
            return torch.cat([self._read(member, x, mask) for member in members], dim=1) / len(members)
        parts = torch.randperm(x.shape[0], device=x.device).chunk(len(members))
        read = [self._read(members[k], x[part], None if mask is None else mask[part]) for k, part in enumerate(parts)]
        z = read[0].new_zeros(x.shape[0], len(members), read[0].shape[1])
        for k, part in enumerate(parts):
            z[part, k] = read[k]
        return z.flatten(1)

    def _read(self, encoder: Backbone, x: Tensor, mask: Tensor | None) -> Tensor:
        if self.config.readout == "statistics":
            return self._statistics(encoder, x, mask)
        return encoder(x) if mask is None or not encoder.reads_masks else encoder.forward_valid(x, mask)

    def _statistics(self, encoder: Backbone, x: Tensor, mask: Tensor | None) -> Tensor:
        """Mean and standard deviation over the valid steps, ``(batch, 2 · step_dim)``."""
        valid = None if mask is None else encoder.step_mask(mask)
        if mask is not None and valid is not None:
            # An edge to silence would tell how long a recording is that ends before the window does.
            some = mask | ~mask.any(dim=1, keepdim=True)
            x = torch.where(some.view(*some.shape, *[1] * (x.ndim - 2)), x, 0)
        steps = encoder.forward_steps(x)
        valid = torch.ones(steps.shape[:2], dtype=torch.bool, device=steps.device) if valid is None else valid
        weight = (valid | ~valid.any(dim=1, keepdim=True)).to(steps.dtype)[..., None]
        weight = weight / weight.sum(dim=1, keepdim=True)
        mean = (steps * weight).sum(dim=1)
        variance = ((steps - mean[:, None]).square() * weight).sum(dim=1)
        return torch.cat([mean, (variance + _LEAST_VARIANCE).sqrt()], dim=1)

    def _made(self, x: Tensor) -> Tensor:
        """Return what the encoder takes."""
        if self.front_end is not None:
            x = self.front_end(x.double() if self.dtype == torch.float64 else x.float())
        if self.config.input_spec.of(self.modality).kind == "log_mel" != self.encoder(self.modality).input:
            x = x.transpose(1, 2)[:, None]
        return x.to(self.dtype)


def _preset(encoder: str, config: Mapping[str, Any] | None = None, /, **spec: Any) -> SingleEncoderConfig:
    (modality,) = spec
    recordings = InputSpec(window_seconds=5.0, **spec)
    return SingleEncoderConfig(2, recordings, {modality: EncoderConfig(encoder, config or {})}, readout="valid")


class SingleEEG(SingleEncoder):
    """EEG through one encoder and a linear layer, see :class:`SingleEncoder`.

    Args:
        config: A :class:`SingleEncoderConfig` whose modality is EEG.

    Example:
        >>> import torch
        >>> model = SingleEEG.from_preset("single_eeg", ch_names=("AF7", "AF8"), num_classes=2).eval()
        >>> model(eeg=torch.zeros(3, 2, 1000)).logits.shape
        torch.Size([3, 2])
    """

    modality = "eeg"
    presets: ClassVar[Mapping[str, SingleEncoderConfig]] = {
        "single_eeg": _preset("mbsm_tiny", eeg=EEGSpec(ch_names=montage.MONTAGES["eegmat"], sfreq=200.0))
    }

    def forward(
        self,
        eeg: Tensor | None = None,
        *,
        present: Mapping[str, Tensor] | None = None,
        masks: Mapping[str, Tensor] | None = None,
    ) -> EmotionOutput:
        """Classify EEG; see :meth:`SingleEncoder.classify`.

        Args:
            eeg: EEG in µV, ``(batch, channels, time)``, or features where the input spec says so.
            present: Which samples have it (default: all, and all must).
            masks: As :meth:`SingleEncoder.classify` takes them.
        """
        return self.classify(eeg, present, masks)


class SingleVideo(SingleEncoder):
    """Face video through one encoder and a linear layer, see :class:`SingleEncoder`.

    Args:
        config: A :class:`SingleEncoderConfig` whose modality is video.
    """

    modality = "video"
    presets: ClassVar[Mapping[str, SingleEncoderConfig]] = {
        "single_video": _preset("videomae_nano", video=VideoSpec(num_frames=16, size=(64, 64)))
    }

    def forward(
        self,
        video: Tensor | None = None,
        *,
        present: Mapping[str, Tensor] | None = None,
        masks: Mapping[str, Tensor] | None = None,
    ) -> EmotionOutput:
        """Classify clips; see :meth:`SingleEncoder.classify`.

        Args:
            video: Normalised frames, ``(batch, frames, 3, height, width)``.
            present: Which samples have it (default: all, and all must).
            masks: As :meth:`SingleEncoder.classify` takes them.
        """
        return self.classify(video, present, masks)


class SingleAudio(SingleEncoder):
    """Sound through one encoder and a linear layer, see :class:`SingleEncoder`.

    Args:
        config: A :class:`SingleEncoderConfig` whose modality is audio.
    """

    modality = "audio"
    presets: ClassVar[Mapping[str, SingleEncoderConfig]] = {
        "single_audio": _preset("audio_mamba_nano", {"patch_size": (16, 16)}, audio=AudioSpec(n_mels=64))
    }

    def forward(
        self,
        audio: Tensor | None = None,
        *,
        present: Mapping[str, Tensor] | None = None,
        masks: Mapping[str, Tensor] | None = None,
    ) -> EmotionOutput:
        """Classify sound; see :meth:`SingleEncoder.classify`.

        Args:
            audio: What the input spec says, log-mel ``(batch, frames, mels)`` or waveform ``(batch, time)``.
            present: Which samples have it (default: all, and all must).
            masks: As :meth:`SingleEncoder.classify` takes them.
        """
        return self.classify(audio, present, masks)


class SingleEye(SingleEncoder):
    """Eye movement through one encoder and a linear layer, see :class:`SingleEncoder`.

    Args:
        config: A :class:`SingleEncoderConfig` whose modality is eye movement.
    """

    modality = "eye"
    presets: ClassVar[Mapping[str, SingleEncoderConfig]] = {
        "single_eye": _preset(
            "eye_transformer_nano",
            eye=EyeSpec(
                features=("pupil_mean", "pupil_std", "openness_mean", "openness_std", "blink_frequency"), seconds=1.0
            ),
        )
    }

    def forward(
        self,
        eye: Tensor | None = None,
        *,
        present: Mapping[str, Tensor] | None = None,
        masks: Mapping[str, Tensor] | None = None,
    ) -> EmotionOutput:
        """Classify eye movement; see :meth:`SingleEncoder.classify`.

        Args:
            eye: Features, ``(batch, windows, features)``, or the series, ``(batch, time, channels)``.
            present: Which samples have it (default: all, and all must).
            masks: As :meth:`SingleEncoder.classify` takes them.
        """
        return self.classify(eye, present, masks)
