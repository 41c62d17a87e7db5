"""How sound must look when it enters a model: a waveform, or its log-mel spectrogram."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from evermodels.core.errors import ConfigError
from evermodels.core.specs.modality import LONGEST, Reading, SampledSpec

_MOST_MELS = 4096  # more is a mistake that would ask for all memory


@dataclass(frozen=True)
class AudioSpec(SampledSpec):
    """How sound must look when it enters a model.

    The spectrogram is :func:`~evermodels.functional.log_mel_spectrogram`'s, by default the filter bank of AST; its
    standardisation of AudioSet is ``mean=-4.2677393, std=2 * 4.5689974``. :meth:`vggish` is that of VGGish.

    Args:
        sfreq: Sampling rate in Hz.
        form: ``"log_mel"`` (frames by mel bands) or ``"waveform"`` (values in -1..1).
        n_mels: Mel bands of the spectrogram.
        frame_seconds: Length of a spectrogram's frame.
        hop_seconds: Time from one frame to the next.
        f_min: Lower edge of the lowest mel band in Hz.
        f_max: Upper edge of the highest in Hz; ``None`` for half of ``sfreq``.
        window: What a frame is multiplied by, ``"hann"`` or ``"hamming"``.
        periodic: Whether that is periodic instead of symmetric.
        remove_mean: Whether each frame's mean is subtracted first.
        preemphasis: Part of the sample before that is subtracted from each; 0 for none.
        power: 1 for the magnitude of the spectrum, 2 for its power.
        offset: Added before the logarithm.
        mean: Subtracted from every value of the spectrogram, such as the mean over a data set.
        std: Divided by afterwards.

    Example:
        >>> AudioSpec().shape(5.0)  # frames, mels
        (498, 128)
        >>> AudioSpec(form="waveform").shape(5.0)
        (80000,)
    """

    title: ClassVar[str] = "sound"
    readings: ClassVar[Mapping[str, Reading]] = {
        "rms_dbfs": Reading("level (dBFS)"),
        "silent": Reading("silent", percent=True),
        "clipped": Reading("at full scale", percent=True),
        "level_spread": Reading("level changes by (dB)", least=2.0),
    }

    sfreq: float = 16000.0
    form: Literal["log_mel", "waveform"] = "log_mel"
    n_mels: int = 128
    frame_seconds: float = 0.025
    hop_seconds: float = 0.010
    f_min: float = 20.0
    f_max: float | None = None
    window: Literal["hann", "hamming"] = "hann"
    periodic: bool = False
    remove_mean: bool = True
    preemphasis: float = 0.97
    power: Literal[1, 2] = 2
    offset: float = 0.0
    mean: float = 0.0
    std: float = 1.0

    def check(self) -> None:
        """Refuse impossible rates, frames and bands."""
        if self.sfreq <= 0:
            raise self.refuse("sfreq", "a positive rate in Hz")
        if not 1 <= self.n_mels <= _MOST_MELS:
            raise self.refuse("n_mels", f"1 to {_MOST_MELS:,}")
        for key in ("frame_seconds", "hop_seconds"):
            if not 1 <= getattr(self, key) * self.sfreq <= LONGEST:
                raise self.refuse(key, f"at least one sample at {self.sfreq:g} Hz")
        top = self.sfreq / 2 if self.f_max is None else self.f_max
        if not 0 <= self.f_min < top <= self.sfreq / 2:
            raise self.refuse("f_min", f"0 <= f_min < f_max <= {self.sfreq / 2:g} Hz")
        if self.std <= 0:
            raise self.refuse("std", "a positive number")
        if not 0 <= self.preemphasis <= 1:
            raise self.refuse("preemphasis", "a number in [0, 1]")
        if self.offset < 0:
            raise self.refuse("offset", "0 or more")

    @classmethod
    def vggish(cls, **changes: Any) -> AudioSpec:
        """Return the log-mel spectrogram of VGGish (Hershey et al., ICASSP 2017), on which its weights were trained.

        64 bands from 125 to 7500 Hz, 25 ms every 10 ms, periodic Hann window, magnitudes, 0.01 added, sound of 16 kHz.

        Args:
            **changes: Values that differ.

        Example:
            >>> AudioSpec.vggish().n_mels, AudioSpec.vggish(n_mels=20, window="hamming").n_mels
            (64, 20)
        """
        published = {"periodic": True, "remove_mean": False, "preemphasis": 0.0, "power": 1, "offset": 0.01}
        return cls(**{"n_mels": 64, "f_min": 125.0, "f_max": 7500.0, **published, **changes})

    @property
    def kind(self) -> str:
        """``"log_mel"`` or ``"waveform"``."""
        return self.form

    def check_window(self, window_seconds: float | None) -> None:
        """Refuse windows without a length, shorter than a frame, or too long to be meant.

        Args:
            window_seconds: Length of a window, as the :class:`InputSpec` says.

        Raises:
            ConfigError: If it cannot be.
        """
        window_seconds = self.needed(window_seconds)
        least = self.frame_seconds if self.form == "log_mel" else 1 / self.sfreq
        if not least <= window_seconds <= LONGEST / self.sfreq:
            raise ConfigError(
                f"InputSpec.window_seconds: expected {least:g} to {LONGEST / self.sfreq:g} s at {self.sfreq:g} Hz, got "
                f"{window_seconds!r}."
            )

    def shape(self, window_seconds: float | None) -> tuple[int, ...]:
        """Return ``(frames, mels)``, or ``(samples,)`` of a waveform.

        Args:
            window_seconds: Length of a window.
        """
        self.check_window(window_seconds)
        window_seconds = self.needed(window_seconds)
        samples = self.num_samples(window_seconds)
        if self.form == "waveform":
            return (samples,)
        frame, hop = round(self.frame_seconds * self.sfreq), round(self.hop_seconds * self.sfreq)
        return (1 + (samples - frame) // hop, self.n_mels)

    def describe(self) -> tuple[str, ...]:
        """Return what sound must be."""
        what = f"{self.n_mels} mel bands every {1000 * self.hop_seconds:g} ms" if self.form == "log_mel" else "waveform"
        return (f"one channel of sound at {self.sfreq:g} Hz, {what}",)
