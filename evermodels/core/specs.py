"""What a model eats: channel names, rates, units, window lengths, picture sizes. Saved with every checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from evermodels.core.config import Config
from evermodels.core.text import LABEL_RULE, doubled, is_label

_LONGEST = 10_000_000  # samples of a window; more is a mistake that would ask for all memory


@dataclass(frozen=True)
class EEGSpec(Config):
    """How EEG must look when it enters a model.

    Args:
        ch_names: Channel names in the model's order, canonical spelling.
        sfreq: Sampling rate in Hz.
        window_seconds: Length of one window in seconds.
        unit: Unit of the values; always ``"uV"``.
        l_freq: Lower edge of the band-pass in Hz, or ``None``.
        h_freq: Upper edge of the band-pass in Hz, or ``None``.
        notch: Mains frequency to remove in Hz, or ``None``.
        reference: ``"as recorded"`` or ``"average"`` (common average over the model's channels).
        scale: ``"none"`` or ``"zscore"`` (each channel of a window to mean 0 and standard deviation 1).
        whiten: Whether the spectrum of each channel is divided by the person's own before windows are cut, see
            :class:`evermodels.signals.Whitening`.
        baseline: Where the person's own spectrum is taken from: the name of the state in which a baseline is recorded
            first, such as ``"rest"``, or ``""`` for recordings of all states together (transductive).
    """

    ch_names: tuple[str, ...]
    sfreq: float
    window_seconds: float
    unit: Literal["uV"] = "uV"
    l_freq: float | None = None
    h_freq: float | None = None
    notch: float | None = None
    reference: Literal["as recorded", "average"] = "as recorded"
    scale: Literal["none", "zscore"] = "none"
    whiten: bool = False
    baseline: str = ""

    def check(self) -> None:
        """Refuse empty or doubled channels and impossible rates."""
        if self.baseline and not self.whiten:
            raise self.refuse("baseline", 'the state of a baseline with whiten=True, else ""')
        if self.baseline and not is_label(self.baseline):
            raise self.refuse("baseline", LABEL_RULE)
        if not self.ch_names or doubled(self.ch_names):
            raise self.refuse("ch_names", "at least one channel name, each once")
        if not all(map(is_label, self.ch_names)):
            raise self.refuse("ch_names", f"for each channel {LABEL_RULE}")
        if self.sfreq <= 0:
            raise self.refuse("sfreq", "a positive rate in Hz")
        if self.window_seconds <= 0:
            raise self.refuse("window_seconds", "a positive length in seconds")
        if not 1 <= self.window_seconds * self.sfreq <= _LONGEST:
            raise self.refuse("window_seconds", f"1 to {_LONGEST:,} samples at {self.sfreq:g} Hz")
        nyquist = self.sfreq / 2
        for key in ("l_freq", "h_freq", "notch"):
            value = getattr(self, key)
            if value is not None and not 0 < value < nyquist:
                raise self.refuse(key, f"a frequency in Hz between 0 and half of sfreq ({nyquist:g})")
        if self.l_freq is not None and self.h_freq is not None and self.l_freq >= self.h_freq:
            raise self.refuse("l_freq", f"less than h_freq ({self.h_freq:g})")

    @property
    def num_samples(self) -> int:
        """Samples in one window."""
        return round(self.window_seconds * self.sfreq)


@dataclass(frozen=True)
class VideoSpec(Config):
    """How face video must look when it enters a model.

    Args:
        num_frames: Frames per clip, taken uniformly over the window by time stamp.
        size: Height and width in pixels.
        mean: Mean of each colour (RGB, values in 0..1) that is subtracted.
        std: Standard deviation of each colour that is divided by.
        face_crop: Whether the face is cut out of each frame first.
        margin: Extra border around the face box, as a part of its side.
    """

    num_frames: int
    size: tuple[int, int]
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    face_crop: bool = True
    margin: float = 0.1

    def check(self) -> None:
        """Refuse empty clips and pictures."""
        if self.num_frames < 1:
            raise self.refuse("num_frames", "at least 1")
        if min(self.size) < 1:
            raise self.refuse("size", "a positive height and width")
        if min(self.std) <= 0:
            raise self.refuse("std", "positive values")
        if not 0 <= self.margin <= 1:
            raise self.refuse("margin", "a number in 0..1")


@dataclass(frozen=True)
class InputSpec(Config):
    """The inputs of one model, by modality; ``None`` for a modality that it does not take.

    Example:
        >>> spec = InputSpec(eeg=EEGSpec(ch_names=("Fz", "Cz"), sfreq=200.0, window_seconds=5.0))
        >>> spec.modalities
        ('eeg',)
        >>> spec.eeg.num_samples
        1000
    """

    eeg: EEGSpec | None = None
    video: VideoSpec | None = None

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the modalities that the model takes."""
        return tuple(name for name in ("eeg", "video") if getattr(self, name) is not None)
