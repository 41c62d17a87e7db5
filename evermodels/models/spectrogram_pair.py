"""What EVER's benchmark makes of audio-visual networks: a spectrogram, of EEG in sound's place, and video."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from typing_extensions import Self

from evermodels import montage
from evermodels.backbones.base import Checkpointed
from evermodels.core.errors import ConfigError, quoted
from evermodels.core.specs import AudioSpec, EEGSpec, InputSpec, VideoSpec
from evermodels.layers import SpectrogramFrontEnd
from evermodels.losses import EmotionLoss
from evermodels.models.system import System
from evermodels.models.system_config import EncoderConfig, LossConfig, SystemConfig


def eav(video: VideoSpec) -> InputSpec:
    """Return windows of EAV as EVER has them: 20 s of 30 channels at 200 Hz, and video.

    Args:
        video: How the clips look.
    """
    return InputSpec(window_seconds=20.0, eeg=EEGSpec(ch_names=montage.MONTAGES["eav"], sfreq=200.0), video=video)


def small_eeg(video: VideoSpec) -> InputSpec:
    """Return windows of the tiny presets: 5 s of 19 channels at 100 Hz, and video.

    Args:
        video: How the clips look.
    """
    return InputSpec(window_seconds=5.0, eeg=EEGSpec(ch_names=montage.MONTAGES["eegmat"], sfreq=100.0), video=video)


def sound(window_seconds: float, video: VideoSpec, n_mels: int = 128) -> InputSpec:
    """Return windows of sound and video: log-mel bands standardised as on AudioSet.

    Args:
        window_seconds: Their length.
        video: How the clips look.
        n_mels: Mel bands.
    """
    return InputSpec(
        window_seconds=window_seconds,
        video=video,
        audio=AudioSpec(n_mels=n_mels, mean=-4.2677393, std=2 * 4.5689974),
    )


@dataclass(frozen=True)
class SpectrogramPairConfig(SystemConfig):
    """What the configurations of :class:`SpectrogramPair` share.

    Args:
        num_classes: Classes; 0 for the embedding.
        input_spec: Video, and EEG or sound.
        encoders: Encoder of each.
        source_ch_names: EEG channels of the recordings, where they are others than the model's (default: its own).
        drop_rate: Dropout on what the classifier reads.
        modality_drop_rate: Chance per sample, in training, that one of the two modalities is hidden from the fusion.
        n_fft: STFT window in samples, where there is EEG (default: about one second).
        hop_length: STFT hop in samples (default: ``n_fft // 4``).
        spectrogram_size: Frequency × time to which spectrograms of EEG are resized.
        spectrogram_norm: ``"scalar"`` (as they are) or ``"channel_frequency"``: standardised by the statistics of the
            training people (:meth:`System.fit_statistics`).

    Raises:
        ConfigError: For an unknown key, a wrong type or an impossible value.
        UnknownNameError: If a channel name is unknown or stands twice.
    """

    num_classes: int = 5
    input_spec: InputSpec = field(default_factory=InputSpec)
    encoders: Mapping[str, EncoderConfig] = field(default_factory=dict)
    n_fft: int | None = None
    hop_length: int | None = None
    spectrogram_size: tuple[int, int] = (128, 128)
    spectrogram_norm: Literal["scalar", "channel_frequency"] = "scalar"

    def check(self) -> None:
        """Refuse other modalities and impossible sizes."""
        if self.modalities not in (("eeg", "video"), ("video", "audio")):
            raise ConfigError(
                f"{type(self).__name__}.input_spec: expected video and one of eeg, audio, got "
                f"{quoted(', '.join(self.modalities) or 'nothing')}. For one modality take single_eeg and its like."
            )
        super().check()
        if min(self.spectrogram_size) < 1:
            raise self.refuse("spectrogram_size", "a positive frequency and time size")
        spec = self.input_spec.eeg
        if spec is not None:
            if spec.features is not None:
                raise ConfigError(
                    f"{type(self).__name__}.input_spec.eeg.features: expected None, since it takes EEG signals."
                )
            samples = self.input_spec.shape("eeg")[1]
            if not 2 <= self.window_length <= samples:
                raise ConfigError(
                    f"{type(self).__name__}.n_fft: expected between 2 and the {samples} samples of a window, or None, "
                    f"got {self.window_length}."
                )

    def with_sound(self, spec: InputSpec, **encoder: Any) -> Self:
        """Return the same network for sound and video: what encoded the EEG's spectrogram encodes that of sound.

        Args:
            spec: The recordings.
            **encoder: Values of that encoder which change with it.

        Raises:
            ConfigError: If a value is impossible.
        """
        heard = self.encoders["eeg"]
        return self.replace(input_spec=spec, encoders={"audio": EncoderConfig(heard.name, {**heard.config, **encoder})})

    @property
    def spectral(self) -> str:
        """The modality whose spectrogram it reads, ``"eeg"`` or ``"audio"``."""
        return "eeg" if self.input_spec.eeg is not None else "audio"

    @property
    def window_length(self) -> int:
        """STFT window in samples: ``n_fft``, or about one second."""
        eeg = self.input_spec.eeg
        return round(eeg.sfreq) if self.n_fft is None and eeg is not None else self.n_fft or 0


@dataclass(frozen=True)
class SpectrogramPairLossConfig(LossConfig):
    """EVER's classification loss (eq. 18), which its benchmark trains every network with.

    Args:
        w_ce: Weight of the class-balanced cross-entropy.
        w_focal: Weight of the focal loss.
        gamma: Exponent γ of the focal loss (the paper gives none).
        beta: β of the effective number of samples (Cui et al., 2019; the paper gives none).
        label_smoothing: Part of the cross-entropy's target that is spread over all classes.
    """

    w_ce: float = 0.9
    w_focal: float = 0.1


class SpectrogramPair(Checkpointed, System):
    """A system of video and one spectrogram; :class:`~evermodels.models.HiCMAE` and its neighbour are such.

    The spectrogram of EEG is EVER's (eq. 2-3, :class:`~evermodels.layers.SpectrogramFrontEnd`), its electrodes the
    channels; that of sound is the log-mel of the input spec, one channel. EVER says no more on how it brought EEG into
    the two audio-visual networks than that "audio signals share a similar data format" (a choice).

    Args:
        config: A :class:`SpectrogramPairConfig`.

    Raises:
        ConfigError: If an encoder does not fit its modality.
    """

    loss_config_class = SpectrogramPairLossConfig
    takes: ClassVar[str] = "eeg"
    """Whose spectrogram ``forward`` takes."""

    def __init__(self, config: SpectrogramPairConfig) -> None:
        if config.spectral != self.takes:
            other = {"eeg": f"{type(self).__name__}Audio", "audio": type(self).__name__.removesuffix("Audio")}[
                self.takes
            ]
            raise ConfigError(
                f"{type(config).__name__}.input_spec: {type(self).__name__} takes {self.takes} and video, got "
                f"{config.spectral}. Take {other}."
            )
        super().__init__(config)
        self.spectral = config.spectral
        self.absent = nn.ParameterDict()
        self.spectrogram: SpectrogramFrontEnd | None = None
        self.drop = nn.Dropout(config.drop_rate)

    def build_parts(self, dim: int) -> None:
        """Add both encoders with their projections, the spectrogram, and the tokens of absent modalities.

        Args:
            dim: Width of the tokens.
        """
        config: SpectrogramPairConfig = self.config
        self.build_encoders(None)
        for modality in self.modalities:
            width = self.encoder(modality).step_dim
            self.add_module(f"{modality}_projection", nn.Identity() if width == dim else nn.Linear(width, dim))
            self.absent[modality] = nn.Parameter(torch.empty(dim))
            nn.init.normal_(self.absent[modality], std=0.02)
        if self.spectral == "eeg" and self.encoder("eeg").input == "spectrogram":
            self.spectrogram = SpectrogramFrontEnd(
                len(config.ch_names),
                config.window_length,
                config.hop_length,
                config.spectrogram_size,
                norm=config.spectrogram_norm,
            )

    def encoder_shape(self, modality: str, kind: str) -> tuple[int, ...] | None:
        """Return the shape of one sample as an encoder gets it: a spectrogram too, of EEG or of sound.

        Args:
            modality: Its name.
            kind: What the encoder takes.
        """
        config: SpectrogramPairConfig = self.config
        own = config.input_spec.of(modality).kind
        if own == "eeg" and kind == "spectrogram":
            return (len(config.ch_names), *config.spectrogram_size)
        if own == "log_mel" and kind == "spectrogram":
            frames, mels = config.input_spec.shape(modality)
            return (1, mels, frames)
        return super().encoder_shape(modality, kind)

    def front_ends(self) -> dict[str, Any]:
        """Return the spectrogram, where it has statistics."""
        needs = self.spectrogram is not None and self.spectrogram.needs_statistics
        return {"eeg": self.spectrogram} if needs else {}

    def made(self, modality: str, x: Tensor) -> Tensor:
        """Return what a modality's encoder takes of what was recorded.

        Args:
            modality: Its name.
            x: The batch, as the input spec says.
        """
        if modality == "eeg" and self.spectrogram is not None:
            x = self.spectrogram(x.double() if self.dtype == torch.float64 else x.float())
        elif modality == "audio" and self.encoder(modality).input == "spectrogram":
            x = x.transpose(1, 2)[:, None]
        return x.to(self.dtype)

    def projected(self, modality: str, x: Tensor) -> Tensor:
        """Bring what an encoder gives to the width of the tokens.

        Args:
            modality: Its name.
            x: ``(..., encoder's width)``.
        """
        y: Tensor = getattr(self, f"{modality}_projection")(x)
        return y

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute blocks in the backward pass instead of storing what they gave, those of the encoders too.

        Args:
            enable: Whether to do so.
        """
        super().set_grad_checkpointing(enable)
        for modality in self.modalities:
            if isinstance(encoder := self.encoder(modality), Checkpointed):
                encoder.set_grad_checkpointing(enable)

    def build_loss(self, loss: SpectrogramPairLossConfig, **options: Any) -> EmotionLoss:
        """Return EVER's classification loss (eq. 18), without an alignment.

        Args:
            loss: Its values.
            **options: The ``class_weights``, if there are any.
        """
        return EmotionLoss(**{**{key: value for key, value in loss.to_dict().items() if key != "beta"}, **options})


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Return the modalities with video last, as TVLT's sequence has them.

    Args:
        names: Modalities.

    Example:
        >>> in_order(("video", "audio"))
        ('audio', 'video')
    """
    return tuple(sorted(names, key=lambda name: name == "video"))
