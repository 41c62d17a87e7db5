"""What cannot be EEG: rates, magnitudes and values that only a mistake makes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from evermodels.core.errors import ShapeError, SignalError
from evermodels.signals.room import warn

TO_MICROVOLT = {"V": 1e6, "mV": 1e3, "uV": 1.0, "µV": 1.0, "μV": 1.0, "nV": 1e-3}
"""Factor to µV by the unit's name; µ as the sign and as the Greek letter."""

LEAST_RATE, MOST_RATE = 20.0, 50_000.0
"""Sampling rates in Hz beyond which a recording is refused: below, nothing of the alpha rhythm is left; above, no EEG
amplifier samples."""

LEAST_SPREAD, MOST_SPREAD = 1.0, 1500.0
"""Typical spread in µV beyond which the unit is more likely wrong than the head. The 349 real recordings that these
were chosen by (caps, headbands with loose contact, 8 to 21 channels) lie at 4.6 to 439, so that each of them is
noticed where it is 1000 times too large or too small."""

MOST_VALUE = 1e7
"""µV. No EEG amplifier delivers 10 V."""

LEAST_OFFSET = 100.0
"""µV of a channel's mean from which an offset is spoken of, where it is also ten times the channel's spread."""

_BLOCKS = 240
_LADDER = ("nV", "uV", "mV", "V")


def note(notes: list[str], text: str) -> None:
    """Warn, and keep the sentence for the result.

    Args:
        notes: Where it is kept.
        text: Whole sentences.
    """
    if text not in notes:
        notes.append(text)
        warn(text)


def to_microvolt(unit: str) -> float:
    """Return the factor from a unit to µV.

    Args:
        unit: ``"V"``, ``"mV"``, ``"uV"`` or ``"nV"``.

    Raises:
        SignalError: If it is none of these.
    """
    if unit not in TO_MICROVOLT:
        raise SignalError(f"unit: expected one of 'V', 'mV', 'uV', 'nV', got {str(unit)[:40]!r}.")
    return TO_MICROVOLT[unit]


def check_shape(data: np.ndarray) -> None:
    """Raise unless an array is ``(channels, time)`` and not empty.

    Args:
        data: The array.
    """
    if data.ndim != 2:
        way_out = "One channel is array[None, :]." if data.ndim == 1 else ""
        raise ShapeError(
            f"eeg: expected (channels, time), got {data.ndim} axes of shape {data.shape}. {way_out}".strip()
        )
    if 0 in data.shape:
        raise SignalError(f"eeg: the recording is empty: {data.shape[0]} channels, {data.shape[1]} samples.")


def check_plausible_rate(sfreq: float, what: str) -> None:
    """Raise if nothing that samples so is EEG.

    Args:
        sfreq: Rate in Hz.
        what: What has it, for the message.
    """
    if LEAST_RATE <= sfreq <= MOST_RATE:
        return
    why = (
        f"at that rate nothing above {sfreq / 2:.3g} Hz is left of an EEG. Is it the time between samples, or a rate "
        "in kHz?"
        if sfreq < LEAST_RATE
        else "no EEG amplifier samples so fast. Is it a rate in mHz, or a number of samples?"
    )
    raise SignalError(
        f"sfreq: {what} has {sfreq:.6g} Hz, and EEG is sampled at {LEAST_RATE:g} to {MOST_RATE:,.0f} Hz; {why} "
        "Give the true rate; if it is true, bring the signal to a usual one in MNE first (raw.resample)."
    )


def check_finite(data: np.ndarray, ch_names: Sequence[str], sfreq: float) -> None:
    """Raise if there is NaN or infinity, and say where.

    Args:
        data: ``(channels, time)``.
        ch_names: Names of the channels.
        sfreq: Rate in Hz.
    """
    _refuse(data, ch_names, sfreq, lambda row: ~np.isfinite(row), "NaN or infinity")


def check_reach(data: np.ndarray, ch_names: Sequence[str], sfreq: float) -> None:
    """Raise if a value is beyond what any amplifier delivers, and say where.

    Args:
        data: ``(channels, time)`` in µV.
        ch_names: Names of the channels.
        sfreq: Rate in Hz.
    """
    far = f"values beyond {MOST_VALUE / 1e6:g} V, which no EEG amplifier delivers (a wrong unit or damage),"
    _refuse(data, ch_names, sfreq, lambda row: np.abs(row) > MOST_VALUE, far)


def _refuse(data: np.ndarray, ch_names: Sequence[str], sfreq: float, wrong: Any, what: str) -> None:
    parts = []
    count = 0
    for name, row in zip(ch_names, data, strict=True):  # by row: a mask of the whole would cost a quarter of the data
        mask = wrong(row)
        if mask.any():
            count += 1
            if count <= 5:
                at = np.flatnonzero(mask)
                parts.append(f"{name} ({at.size} samples, {at[0] / sfreq:.3f} to {at[-1] / sfreq:.3f} s)")
    if parts:
        more = f" and {count - 5} more channels" if count > 5 else ""
        raise SignalError(
            f"eeg: {what} in {', '.join(parts)}{more}. Cut these stretches out, interpolate them, or leave the "
            "channels out."
        )


def spread_and_offset(
    data: np.ndarray, sfreq: float, segments: Sequence[tuple[int, int]]
) -> tuple[np.ndarray, np.ndarray]:
    """Return how much each channel moves within a second, and where its middle lies.

    The spread is the median, over at most 240 seconds spread over the recording, of the standard deviation within a
    second: an offset, slow drift and rare artefacts do not hide it. The offset is the median of these seconds' means.

    Args:
        data: ``(channels, time)`` in µV.
        sfreq: Rate in Hz.
        segments: Uninterrupted stretches.

    Returns:
        Spread and offset, each ``(channels,)`` float64.

    Example:
        >>> wave = 1000 + 10 * np.sin(np.arange(5000) / 5)[None]
        >>> [value.round().tolist() for value in spread_and_offset(wave, 250.0, [(0, 5000)])]
        [[7.0], [1000.0]]
    """
    length = max(1, min(round(sfreq), max(stop - start for start, stop in segments)))
    starts = np.concatenate([np.arange(a, b - length + 1, length) for a, b in segments])
    if len(starts) > _BLOCKS:
        starts = starts[np.linspace(0, len(starts) - 1, _BLOCKS).round().astype(int)]
    index = starts[:, None] + np.arange(length)
    ramp = np.arange(length) - (length - 1) / 2
    ramp /= np.linalg.norm(ramp) or 1.0
    spread, offset = np.empty(len(data)), np.empty(len(data))
    for row, values in enumerate(data):
        blocks = values[index].astype(np.float64)
        means = blocks.mean(axis=1, keepdims=True)
        blocks -= means
        if length > 2:
            blocks -= (blocks @ ramp)[:, None] * ramp
        spread[row] = np.median(blocks.std(axis=1))
        offset[row] = np.median(means)
    return spread, offset


def unit_note(spread: np.ndarray, what: str, unit: str | None) -> str | None:
    """Return a sentence if the magnitude says that the unit is wrong, else ``None``.

    Args:
        spread: Spread of each channel in µV.
        what: What was read, for the message.
        unit: The unit that was given for an array; ``None`` for a file.
    """
    spread = spread[np.isfinite(spread) & (spread > 0)]
    if spread.size == 0:
        return None
    typical = float(np.median(spread))
    if LEAST_SPREAD <= typical <= MOST_SPREAD:
        return None
    steps = round(math.log(typical / 20.0, 1000))
    likely = f"about {1000 ** abs(steps):,} times too {'large' if steps > 0 else 'small'}" if steps else "off"
    way_out = "Its header may lack or misstate the unit: set it right in MNE and give the MNE object."
    if unit is not None:
        place = _LADDER.index({"µV": "uV", "μV": "uV"}.get(unit, unit)) - steps
        right = f"{_LADDER[place]} taken for {unit}" if 0 <= place < len(_LADDER) and steps else "another scale"
        way_out = f"Probably {right}: give the right unit=. A standardised signal has none; give it in its own unit."
    return (
        f"unit: {what} moves by {typical:.3g} µV (standard deviation within a second, median over channels), where "
        f"scalp EEG has 2 to 200 µV: it is {likely}, and results mean nothing unless the unit is right. {way_out}"
    )


def offset_channels(spread: np.ndarray, offset: np.ndarray, ch_names: Sequence[str]) -> dict[str, float]:
    """Return the channels whose mean lies far from 0, with that mean in µV.

    Args:
        spread: Spread of each channel in µV.
        offset: Offset of each channel in µV.
        ch_names: Their names.
    """
    far = (np.abs(offset) > LEAST_OFFSET) & (np.abs(offset) > 10 * spread)
    return {name: float(value) for name, value, yes in zip(ch_names, offset, far, strict=True) if yes}
