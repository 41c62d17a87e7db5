"""Resampling, band-pass, notch and windows of a recording; the filters are MNE's."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from types import ModuleType

import numpy as np

from evermodels.core.errors import ConfigError, ShapeError, SignalError, require
from evermodels.signals.eeg.formats import passing_warnings
from evermodels.signals.eeg.recording import EEG

SAME_RATE = 1e-6
"""Relative difference of two rates that are equal: 4 ms in an hour, less than two amplifiers' clocks differ by."""

_MOST_FACTOR = 1000
_MOST_RAISED = 16
_BLOCK = 2**18  # samples that are filtered at once, in float64
_MOST_WINDOWS = 2**30  # values of windows beyond which overlap may not multiply the recording


def resample(recording: EEG, sfreq: float) -> EEG:
    """Return the recording at another rate.

    Polyphase filtering (``mne.filter.resample``) where the two rates have a small common ratio, Fourier otherwise.
    Rates that differ by less than a millionth are equal.

    Args:
        recording: The recording.
        sfreq: New rate in Hz.

    Raises:
        ConfigError: If the rate is not positive.
        SignalError: If the new rate is more than 16 times the old one.

    Warns:
        UserWarning: If the new rate is higher, since nothing above the old half rate can appear.

    Example:
        >>> recording = EEG.from_microvolts(np.ones((1, 500), dtype="float32"), ("Cz",), 250.0)
        >>> resample(recording, 200.0).data.shape
        (1, 400)
    """
    if not (np.isfinite(sfreq) and sfreq > 0):
        raise ConfigError(f"sfreq: expected a positive rate in Hz, got {sfreq!r}.")
    if abs(recording.sfreq / sfreq - 1) <= SAME_RATE:
        return recording if sfreq == recording.sfreq else recording.changed(sfreq=float(sfreq))
    if sfreq > _MOST_RAISED * recording.sfreq:
        raise SignalError(
            f"sfreq: the recording has {recording.sfreq:g} Hz and the model needs {sfreq:g} Hz, more than "
            f"{_MOST_RAISED} times as much, which would be nearly all invented. Give a recording of a higher rate, or "
            "the true rate of this one."
        )
    if sfreq > recording.sfreq:
        warnings.warn(
            f"sfreq: the recording's {recording.sfreq:g} Hz is raised to {sfreq:g} Hz; it holds nothing above "
            f"{recording.sfreq / 2:g} Hz.",
            stacklevel=2,
        )
    ratio = Fraction(sfreq / recording.sfreq).limit_denominator(_MOST_FACTOR)
    exact = abs(float(ratio) * recording.sfreq / sfreq - 1) <= SAME_RATE and ratio.numerator <= _MOST_FACTOR
    up, down = (ratio.numerator, ratio.denominator) if exact else (sfreq, recording.sfreq)
    method = "polyphase" if exact else "fft"

    def function(x: np.ndarray, _: slice) -> np.ndarray:
        return _filters().resample(x, up=up, down=down, method=method, verbose="WARNING")

    def length(samples: int) -> int:
        return max(round(up / down * samples), 1)  # as MNE counts

    with passing_warnings("sfreq"):
        return by_channel(recording, function, length=length, sfreq=float(sfreq))


def band_pass(recording: EEG, l_freq: float | None, h_freq: float | None) -> EEG:
    """Return the recording with only the frequencies between two edges.

    MNE's default zero-phase FIR filter (``mne.filter.filter_data``, "firwin" design).

    Args:
        recording: The recording.
        l_freq: Lower edge in Hz, or ``None``.
        h_freq: Upper edge in Hz, or ``None``; one at or above half the rate changes nothing and is left out.

    Raises:
        ConfigError: If an edge is not positive, or the lower one is not below the upper one and half the rate.

    Example:
        >>> time = np.arange(2500) / 250
        >>> slow_and_fast = np.sin(2 * np.pi * 10 * time) + np.sin(2 * np.pi * 50 * time)
        >>> recording = EEG.from_microvolts(slow_and_fast[None], ("Cz",), 250.0)
        >>> round(float(band_pass(recording, 1.0, 30.0).data[0, 500:2000].std()), 2)
        0.71
    """
    half = recording.sfreq / 2
    for key, value in (("l_freq", l_freq), ("h_freq", h_freq)):
        if value is not None and not (np.isfinite(value) and value > 0):
            raise ConfigError(f"{key}: expected a positive frequency in Hz or None, got {value!r}.")
    if h_freq is not None and h_freq >= half:
        h_freq = None
    if l_freq is not None and l_freq >= (half if h_freq is None else h_freq):
        raise ConfigError(
            f"l_freq: expected less than h_freq and half the rate ({half:g} Hz), got {l_freq:g} with h_freq {h_freq}."
        )
    if l_freq is None and h_freq is None:
        return recording

    def function(x: np.ndarray, _: slice) -> np.ndarray:
        return _filters().filter_data(x, recording.sfreq, l_freq, h_freq, verbose="WARNING")

    with passing_warnings("l_freq, h_freq"):
        return by_channel(recording, function)


def notch(recording: EEG, freq: float) -> EEG:
    """Return the recording without a mains frequency and its harmonics.

    MNE's default notch filter (``mne.filter.notch_filter``).

    Args:
        recording: The recording.
        freq: Mains frequency in Hz: 50 or 60; one that is within a hertz or so of half the rate, or above it, changes
            nothing.

    Raises:
        ConfigError: If the frequency is not positive.

    Example:
        >>> time = np.arange(2500) / 250
        >>> recording = EEG.from_microvolts(np.sin(2 * np.pi * 50 * time)[None], ("Cz",), 250.0)
        >>> bool(notch(recording, 50.0).data[0, 500:2000].std() < 0.01)
        True
    """
    if not (np.isfinite(freq) and freq > 0):
        raise ConfigError(f"notch: expected a positive frequency in Hz, got {freq!r}.")
    # MNE's stop band is freq/200 wide with transitions of 0.5 Hz, and must stay below half the rate.
    freqs = np.arange(freq, recording.sfreq / 2 / 1.01 - 1.0, freq)
    if freqs.size == 0:
        return recording

    def function(x: np.ndarray, _: slice) -> np.ndarray:
        return _filters().notch_filter(x, recording.sfreq, freqs, verbose="WARNING")

    with passing_warnings("notch"):
        return by_channel(recording, function)


def sliding_windows(
    data: np.ndarray, sfreq: float, seconds: float, overlap: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Cut a signal into windows of one length.

    Args:
        data: Signals, ``(channels, time)``.
        sfreq: Sampling rate in Hz.
        seconds: Length of a window in seconds.
        overlap: Part of a window that it shares with the next, ``0 <= overlap < 1``.

    Returns:
        Windows ``(windows, channels, samples)``, a copy, and the start of each in seconds, ``(windows,)``. What is
        left at the end and shorter than a window is not used.

    Raises:
        ShapeError: If ``data`` is not ``(channels, time)``.
        ConfigError: If ``seconds`` or ``overlap`` is impossible.
        SignalError: If the signal is shorter than one window, or an overlap makes so many that they take over 4 GB.

    Example:
        >>> windows, starts = sliding_windows(np.arange(10.0)[None], 1.0, 4.0, overlap=0.5)
        >>> windows.shape, starts.tolist()
        ((4, 1, 4), [0.0, 2.0, 4.0, 6.0])
    """
    if data.ndim != 2:
        raise ShapeError(f"data: expected (channels, time), got {data.ndim} axes of shape {data.shape}.")
    if not 0 <= overlap < 1:
        raise ConfigError(
            f"overlap: expected a part of a window, 0 <= overlap < 1, got {overlap!r}. Half a window is 0.5."
        )
    length = round(seconds * sfreq)
    if length < 1:
        raise ConfigError(f"seconds: expected at least one sample ({1 / sfreq:g} s), got {seconds!r}.")
    if data.shape[1] < length:
        raise SignalError(
            f"eeg: the recording is {data.shape[1] / sfreq:.3f} s long ({data.shape[1]} samples) and one window needs "
            f"{seconds:g} s ({length} samples). Give a longer recording, or a model with a shorter window."
        )
    step = max(1, round(length * (1 - overlap)))
    count = (data.shape[1] - length) // step + 1
    values = count * length * data.shape[0]
    if overlap > 0 and values > _MOST_WINDOWS:
        raise SignalError(
            f"overlap: {overlap!r} makes {count:,} windows of {seconds:g} s, {4 * values / 1e9:.1f} GB. Choose a "
            "smaller one, or cut the recording into pieces."
        )
    windows = np.lib.stride_tricks.sliding_window_view(data, length, axis=1)[:, ::step]
    starts = np.arange(windows.shape[1]) * step / sfreq
    return windows.transpose(1, 0, 2).copy(order="C"), starts


def recording_windows(recording: EEG, seconds: float, overlap: float) -> tuple[np.ndarray, np.ndarray]:
    """Cut a recording into windows, none of which crosses the border of a segment.

    Args:
        recording: The recording.
        seconds: Length of a window in seconds.
        overlap: Part of a window that it shares with the next.

    Returns:
        As :func:`sliding_windows`; starts are in seconds on the shared clock, pauses counted.

    Raises:
        ConfigError: If ``seconds`` or ``overlap`` is impossible.
        SignalError: If no segment is as long as a window.
    """
    length = round(seconds * recording.sfreq)
    long_enough = [s for s in recording.segments if s[1] - s[0] >= length]
    # With none, the longest one makes the message.
    chosen = long_enough or [max(recording.segments, key=lambda s: s[1] - s[0])]
    begins = (begin for begin, _ in recording.coverage)
    onsets = dict(zip(recording.segments, begins, strict=True))
    if len(chosen) == 1:
        (a, b) = chosen[0]
        windows, times = sliding_windows(recording.data[:, a:b], recording.sfreq, seconds, overlap)
        return windows, onsets[a, b] + times
    parts = [sliding_windows(recording.data[:, a:b], recording.sfreq, seconds, overlap) for a, b in chosen]
    starts = [onsets[segment] + times for segment, (_, times) in zip(chosen, parts, strict=True)]
    return np.concatenate([windows for windows, _ in parts]), np.concatenate(starts)


def window_events(recording: EEG, starts: np.ndarray) -> tuple[str, ...]:
    """Return the event of the segment in which each window lies; empty where the recording has no events.

    Args:
        recording: The recording.
        starts: Starts of windows in seconds on the shared clock.
    """
    if not recording.events:
        return ()
    segments = np.searchsorted([begin for begin, _ in recording.coverage], starts + 1e-9, side="right") - 1
    return tuple(recording.events[k] for k in segments)


def _filters() -> ModuleType:
    return require("mne.filter", extra="eeg", purpose="filter and resample EEG")


def by_channel(
    recording: EEG,
    function: Callable[[np.ndarray, slice], np.ndarray],
    *,
    length: Callable[[int], int] = lambda samples: samples,
    sfreq: float | None = None,
) -> EEG:
    """Apply a function to each uninterrupted stretch of each channel, a few at a time to save memory.

    Args:
        recording: The recording.
        function: Takes ``(channels, stretches, time)`` float64, stretches of one length, and the rows that these
            channels are; returns the same with ``length(time)`` samples.
        length: How many samples come out of how many.
        sfreq: Rate of what comes out, in Hz (default: as it was).

    Returns:
        The recording with float32 data, its segments one after the other, with the onsets that they had.
    """
    ends = np.cumsum([0, *(length(stop - start) for start, stop in recording.segments)])
    data = np.empty((len(recording.ch_names), int(ends[-1])), dtype=np.float32)
    for first, last in _equal_runs(recording.segments):
        start, samples = recording.segments[first][0], np.diff(recording.segments[first])[0]
        count, new = last - first, int(ends[first + 1] - ends[first])
        rows_at_once = max(1, _BLOCK // (samples * count))
        at_once = max(1, _BLOCK // samples) if rows_at_once == 1 else count
        for row in range(0, len(data), rows_at_once):
            rows = slice(row, min(row + rows_at_once, len(data)))
            for k in range(0, count, at_once):
                n = min(at_once, count - k)
                x = recording.data[rows, start + k * samples : start + (k + n) * samples].astype(np.float64)
                y = function(x.reshape(len(x), n, samples), rows)
                data[rows, ends[first + k] : ends[first + k + n]] = y.reshape(len(x), n * new)
    segments = tuple((int(a), int(b)) for a, b in itertools.pairwise(ends))
    return recording.changed(data=data, segments=segments, sfreq=recording.sfreq if sfreq is None else sfreq)


def _equal_runs(segments: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield which segments, first and one after the last, adjoin and have one length."""
    first = 0
    for k in range(1, len(segments) + 1):
        here = segments[first]
        same = k < len(segments) and (
            segments[k][1] - segments[k][0] == here[1] - here[0] and segments[k][0] == segments[k - 1][1]
        )
        if not same:
            yield first, k
            first = k
