"""Whitening: filters that divide the spectrum of each channel by the person's own, taken from a baseline."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evermodels.core.errors import ConfigError, SignalError
from evermodels.signals.eeg.filters import by_channel, recording_windows
from evermodels.signals.eeg.read import EEG

LEVEL = 10.0
"""Standard deviation in µV of white noise that has the spectrum which every channel gets."""

SECONDS = 2.0
"""Length of the stretches that are averaged, and of the filters."""

SHORTEST = 10.0
"""The least recording in seconds from which a spectrum is taken."""

_FLOOR = 0.01
_SILENT = 1e-3


@dataclass(frozen=True, eq=False)
class Whitening:
    r"""Filters, one a channel, that make the average spectrum of one person's baseline flat.

    People differ more in the spectrum of their EEG than their states do: the direction of an effect carries over to new
    people, its threshold does not. Divided by a person's own spectrum, what is left of a window is how it differs from
    that spectrum. Where it comes from decides what a window is compared with:

    * a **baseline of known state** (a minute of rest, recorded first): a window is compared with rest. It needs neither
      a label nor a second of what is to be recognised;
    * **recordings of all states**, each counting alike: a window is compared with the midpoint of the states. Nobody
      names the states, but where each begins and that they weigh the same is known, and the recordings that are to be
      recognised have been seen: such a result is transductive.

    A model works with the one that it was trained with (``EEGSpec.baseline``).

    With :math:`S_{ckrt}` the short-time spectrum of channel c, frequency k, recording r and stretch t (2 s, Hann
    window, half overlapping) the average and the filter's gain are

    .. math::
        \log P_{ck} = \tfrac1R \sum_r \tfrac1{T_r} \sum_t \log |S_{ckrt}|^2, \qquad g_{ck} \propto P_{ck}^{-1/2}

    The mean of logarithms is not carried away by artefacts, and each recording counts alike, however long it is, so
    that a length gives nothing away. The filters have zero phase and 2 s of taps. Frequencies at which the recording
    holds next to nothing are not raised to the level of the others (:math:`P` is at least a hundredth of its median
    over k). White noise of 10 µV keeps its size.

    Source: our choice, no paper's; spectral whitening is common in speech and seismology, and standardising features by
    a person's own unlabelled recording in EEG.

    Args:
        ch_names: Channels.
        sfreq: Sampling rate in Hz.
        kernels: Impulse responses, ``(channels, taps)``, an odd number of taps with the middle at time 0.
        seconds: How much was averaged, in seconds.

    Example:
        >>> noise = np.random.default_rng(0).standard_normal((1, 6000))
        >>> pink = noise[:, 1:] + 0.8 * noise[:, :-1]  # neighbours correlate by 0.49
        >>> red = EEG.from_microvolts(pink, ("Cz",), 100.0)
        >>> white = Whitening.fit(red)(red).data[0]
        >>> bool(abs(np.corrcoef(white[1:], white[:-1])[0, 1]) < 0.03), round(float(white.std()))
        (True, 10)
    """

    ch_names: tuple[str, ...]
    sfreq: float
    kernels: np.ndarray
    seconds: float

    @classmethod
    def fit(cls, recordings: EEG | Sequence[EEG]) -> Whitening:
        """Take the average spectrum over one person's recordings.

        Args:
            recordings: One or several of the same channels and rate, already filtered, referenced and resampled.

        Returns:
            The filters, for these and further recordings of the same person.

        Raises:
            ConfigError: If there is none.
            SignalError: If channels or rates differ, a recording is shorter than 10 s or has no uninterrupted 2 s, or a
                channel is flat.
        """
        several = [recordings] if isinstance(recordings, EEG) else list(recordings)
        if not several:
            raise ConfigError("recordings: expected at least one, got none.")
        first = several[0]
        for other in several[1:]:
            if other.ch_names != first.ch_names or other.sfreq != first.sfreq:
                raise SignalError(
                    f"recordings: expected the same channels and rate in all, got {', '.join(first.ch_names)} at "
                    f"{first.sfreq:g} Hz and {', '.join(other.ch_names)} at {other.sfreq:g} Hz. Pick and resample them."
                )
        average = np.mean([log_power(recording).mean(axis=0) for recording in several], axis=0)
        return cls.of(average, first.ch_names, first.sfreq, float(sum(r.duration for r in several)))

    @classmethod
    def of(cls, mean_log_power: np.ndarray, ch_names: tuple[str, ...], sfreq: float, seconds: float) -> Whitening:
        """Make the filters for a mean of :func:`log_power` over stretches that the caller chose.

        Args:
            mean_log_power: Mean over stretches, ``(channels, frequencies)``.
            ch_names: Channels.
            sfreq: Sampling rate in Hz.
            seconds: How much was averaged, in seconds.
        """
        return cls(ch_names, sfreq, _kernels(mean_log_power, _taps(sfreq)), seconds)

    def __call__(self, recording: EEG) -> EEG:
        """Filter a recording.

        Args:
            recording: One of the same person, channels and rate.

        Returns:
            The recording, of the same shape and segments, with each channel's spectrum divided by the usual one.

        Raises:
            SignalError: If its channels or rate are others.
        """
        if recording.ch_names != self.ch_names or recording.sfreq != self.sfreq:
            raise SignalError(
                f"recording: expected the channels {', '.join(self.ch_names)} at {self.sfreq:g} Hz, which the "
                f"whitening was fitted to, got {', '.join(recording.ch_names)} at {recording.sfreq:g} Hz. "
                "Pick and resample it, or fit a whitening to such recordings."
            )

        def function(x: np.ndarray, rows: slice) -> np.ndarray:
            centred = x - x.mean(axis=-1, keepdims=True)
            return np.stack([self.filter(centred[:, k], 0, x.shape[-1], rows=rows) for k in range(x.shape[1])], axis=1)

        return by_channel(recording, function)

    def filter(self, centred: np.ndarray, start: int, stop: int, *, rows: slice = slice(None)) -> np.ndarray:
        """Filter one stretch of an uninterrupted recording, with what stands before and after it.

        Args:
            centred: The recording, ``(channels, time)``, each channel with mean 0.
            start: First sample of the stretch.
            stop: Sample after its last.
            rows: Which of the filters' channels these are.

        Returns:
            ``(channels, stop - start)``; beyond its ends the recording goes on as in a mirror.
        """
        half = self.kernels.shape[1] // 2
        first, last = max(start - half, 0), min(stop + half, centred.shape[1])
        before, after = half - (start - first), half - (last - stop)
        from scipy.signal import oaconvolve  # not before it is used: SciPy's signals take a while

        padded = centred[:, first:last]
        if before or after:
            padded = np.pad(padded, ((0, 0), (before, after)), mode="symmetric")
        return np.asarray(oaconvolve(padded, self.kernels[rows], mode="valid", axes=-1))

    def __repr__(self) -> str:
        return f"Whitening({len(self.ch_names)} channels, {self.sfreq:g} Hz, from {self.seconds:.1f} s)"


@functools.lru_cache(maxsize=8)
def _hann(length: int, *, symmetric: bool = False) -> np.ndarray:
    from scipy.signal.windows import hann

    window = np.asarray(hann(length, sym=symmetric))
    window.flags.writeable = False
    return window


def _taps(sfreq: float) -> int:
    return max(8, 2 * round(SECONDS * sfreq / 2))


def log_power(recording: EEG) -> np.ndarray:
    """Return the logarithm of each channel's power in stretches of 2 s (Hann window) that begin every second.

    Args:
        recording: At least 10 s long, with 2 s uninterrupted.

    Returns:
        ``(stretches, channels, frequencies)`` float64, in order of time; none crosses the border of a segment.

    Raises:
        SignalError: If it is shorter than that, or a channel is flat.

    Example:
        >>> noise = np.random.default_rng(0).standard_normal((1, 1200))
        >>> log_power(EEG.from_microvolts(noise, ("Cz",), 100.0)).shape
        (11, 1, 101)
    """
    if recording.duration < SHORTEST:
        raise SignalError(
            f"eeg: {recording.duration:.1f} s are too short for the person's own spectrum, which the model's input "
            f"spec asks for (whiten); at least {SHORTEST:g} s are needed, a minute is better. Give a longer baseline."
        )
    length = _taps(recording.sfreq)
    window = _hann(length)
    longest = max(stop - start for start, stop in recording.segments)
    if longest < length:
        raise SignalError(
            f"eeg: its longest uninterrupted stretch is {longest / recording.sfreq:.3f} s, and the person's own "
            f"spectrum is taken over stretches of {SECONDS:g} s. Give a continuous baseline of the same person."
        )
    powers, flat = np.empty(0), []
    for row, name in enumerate(recording.ch_names):  # the windows of all would take many times the recording
        windows, _ = recording_windows(recording.pick([name]), length / recording.sfreq, 0.5)
        centred = windows[:, 0].astype(np.float64)
        centred -= centred.mean(axis=-1, keepdims=True)
        if centred.std(-1).max() < _SILENT:
            flat.append(name)
        power = np.abs(np.fft.rfft(centred * window, axis=-1)) ** 2
        # A stretch without any signal (a cable off for seconds) must not pull the mean of logarithms to minus infinity.
        if row == 0:
            powers = np.empty((len(power), len(recording.ch_names), power.shape[1]))
        powers[:, row] = np.log(np.maximum(power, _SILENT**2 * length))
    if flat:
        raise SignalError(
            f"eeg: channel {', '.join(flat)} is flat, so it has no spectrum to be divided by. Leave it out and "
            "carry the model to the others, which interpolates it: evermodels.from_pretrained(name, ch_names=[...])."
        )
    return powers


def _kernels(log_power: np.ndarray, taps: int) -> np.ndarray:
    # The two ends hold half of a bin and what is left of the offset: their neighbours stand for them.
    power = np.exp(np.pad(log_power[:, 1:-1], ((0, 0), (1, 1)), mode="edge"))
    power = np.maximum(power, _FLOOR * np.median(power, axis=-1, keepdims=True))
    # Of white noise with standard deviation s, the mean of log |S|² is log(s² Σw²) less Euler's constant.
    white = LEVEL**2 * (_hann(taps) ** 2).sum() * math.exp(-np.euler_gamma)
    gain = np.sqrt(white / power)
    response = np.fft.fftshift(np.fft.irfft(gain, taps, axis=-1), axes=-1)
    response = np.concatenate([response, response[:, :1]], axis=1)  # symmetric about the middle
    return np.asarray(response * _hann(taps + 1, symmetric=True))
