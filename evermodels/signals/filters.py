"""Resampling, band-pass, notch and windows of a recording; the filters are MNE's."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from types import ModuleType

import numpy as np

from evermodels.core.errors import ConfigError, ShapeError, SignalError, require
from evermodels.signals.eeg import EEGRecording

_MOST_FACTOR = 1000


def resample(recording: EEGRecording, sfreq: float) -> EEGRecording:
    """Return the recording at another rate.

    Polyphase filtering (``mne.filter.resample``) where the two rates have a small common ratio, Fourier otherwise.

    Args:
        recording: The recording.
        sfreq: New rate in Hz.

    Raises:
        ConfigError: If the rate is not positive.

    Warns:
        UserWarning: If the new rate is higher, since nothing above the old half rate can appear.

    Example:
        >>> recording = EEGRecording(np.ones((1, 500), dtype="float32"), ("Cz",), 250.0)
        >>> resample(recording, 200.0).data.shape
        (1, 400)
    """
    if not (np.isfinite(sfreq) and sfreq > 0):
        raise ConfigError(f"sfreq: expected a positive rate in Hz, got {sfreq!r}.")
    if sfreq == recording.sfreq:
        return recording
    if sfreq > recording.sfreq:
        warnings.warn(
            f"sfreq: the recording's {recording.sfreq:g} Hz is raised to {sfreq:g} Hz; it holds nothing above "
            f"{recording.sfreq / 2:g} Hz.",
            stacklevel=2,
        )
    ratio = Fraction(sfreq / recording.sfreq).limit_denominator(_MOST_FACTOR)
    exact = abs(float(ratio) * recording.sfreq / sfreq - 1) < 1e-9 and ratio.numerator <= _MOST_FACTOR

    def function(x: np.ndarray) -> np.ndarray:
        if exact:
            return _filters().resample(
                x, up=ratio.numerator, down=ratio.denominator, method="polyphase", verbose="ERROR"
            )
        return _filters().resample(x, up=sfreq, down=recording.sfreq, method="fft", verbose="ERROR")

    return replace(by_segment(recording, function), sfreq=float(sfreq))


def band_pass(recording: EEGRecording, l_freq: float | None, h_freq: float | None) -> EEGRecording:
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
        >>> recording = EEGRecording(slow_and_fast[None], ("Cz",), 250.0)
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
    return by_segment(recording, lambda x: _filters().filter_data(x, recording.sfreq, l_freq, h_freq, verbose="ERROR"))


def notch(recording: EEGRecording, freq: float) -> EEGRecording:
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
        >>> recording = EEGRecording(np.sin(2 * np.pi * 50 * time)[None], ("Cz",), 250.0)
        >>> bool(notch(recording, 50.0).data[0, 500:2000].std() < 0.01)
        True
    """
    if not (np.isfinite(freq) and freq > 0):
        raise ConfigError(f"notch: expected a positive frequency in Hz, got {freq!r}.")
    # MNE's stop band is freq/200 wide with transitions of 0.5 Hz, and must stay below half the rate.
    freqs = np.arange(freq, recording.sfreq / 2 / 1.01 - 1.0, freq)
    if freqs.size == 0:
        return recording
    return by_segment(recording, lambda x: _filters().notch_filter(x, recording.sfreq, freqs, verbose="ERROR"))


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
        SignalError: If the signal is shorter than one window.

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
    windows = np.lib.stride_tricks.sliding_window_view(data, length, axis=1)[:, ::step]
    starts = np.arange(windows.shape[1]) * step / sfreq
    return np.ascontiguousarray(windows.transpose(1, 0, 2)), starts


def recording_windows(recording: EEGRecording, seconds: float, overlap: float) -> tuple[np.ndarray, np.ndarray]:
    """Cut a recording into windows, none of which crosses the border of a segment.

    Args:
        recording: The recording.
        seconds: Length of a window in seconds.
        overlap: Part of a window that it shares with the next.

    Returns:
        As :func:`sliding_windows`; starts count from the beginning of the recording.

    Raises:
        ConfigError: If ``seconds`` or ``overlap`` is impossible.
        SignalError: If no segment is as long as a window.
    """
    length = round(seconds * recording.sfreq)
    long_enough = [s for s in recording.segments if s[1] - s[0] >= length]
    # With none, the longest one makes the message.
    chosen = long_enough or [max(recording.segments, key=lambda s: s[1] - s[0])]
    parts = [sliding_windows(recording.data[:, a:b], recording.sfreq, seconds, overlap) for a, b in chosen]
    starts = [first / recording.sfreq + times for (first, _), (_, times) in zip(chosen, parts, strict=True)]
    return np.concatenate([windows for windows, _ in parts]), np.concatenate(starts)


def _filters() -> ModuleType:
    return require("mne.filter", extra="eeg", purpose="filter and resample EEG")


def by_segment(recording: EEGRecording, function: Callable[[np.ndarray], np.ndarray]) -> EEGRecording:
    """Apply a function to each uninterrupted stretch of a recording.

    Args:
        recording: The recording.
        function: Takes and returns ``(channels, time)`` float64; may change the length.
    """
    parts = [function(recording.data[:, a:b].astype(np.float64)) for a, b in recording.segments]
    ends = np.cumsum([0, *(part.shape[1] for part in parts)])
    segments = tuple((int(a), int(b)) for a, b in pairwise(ends))
    return replace(recording, data=np.concatenate(parts, axis=1).astype(np.float32), segments=segments)
