"""Time stamps of an eye tracker: their rate, how long each sample stands, and where nothing was recorded."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from evermodels.core.errors import SignalError

LEAST_RATE, MOST_RATE = 4.0, 4000.0
"""Hz beyond which stamps are more likely in another unit than an eye tracker so slow or so fast."""

HOLE = 3.0
"""Sampling intervals without a sample from which nothing was recorded: a hole."""

LONGEST_HOLE = 0.5
"""Seconds of a hole beyond which two stretches stand apart: longer than a blink."""

MOST_SECONDS = 172_800.0
"""Two days; a recording that is longer has stamps in another unit."""


class Clock(NamedTuple):
    """When the samples were taken.

    Args:
        times: Seconds from the first one, ``(samples,)`` float64, rising.
        sfreq: Samples a second: 1 over the median interval.
        spans: How long each sample stands in seconds: to the next one, or one interval before a hole and at the end.
        holes: Whether a hole follows each sample, ``(samples,)`` bool; true at the last one.
    """

    times: np.ndarray
    sfreq: float
    spans: np.ndarray
    holes: np.ndarray

    @property
    def stretches(self) -> tuple[tuple[float, float], ...]:
        """Begin and end in seconds of what lies between holes of more than half a second."""
        apart = np.flatnonzero(self.holes[:-1] & (np.diff(self.times) - self.spans[:-1] > LONGEST_HOLE))
        first, last = np.r_[0, apart + 1], np.r_[apart, self.times.size - 1]
        return tuple(zip(self.times[first].tolist(), (self.times[last] + self.spans[last]).tolist(), strict=True))


def make_clock(stamps: np.ndarray, sfreq: float | None = None) -> Clock:
    """Return the clock of time stamps, which need not be regular.

    Args:
        stamps: Seconds, ``(samples,)``.
        sfreq: The rate that they are said to have, which is compared.

    Raises:
        SignalError: If they are too few, not numbers, not rising, or cannot be in seconds.

    Example:
        >>> clock = make_clock(np.array([10.0, 10.1, 10.2, 12.2, 12.3]))
        >>> round(clock.sfreq, 6), clock.holes.tolist(), len(clock.stretches)
        (10.0, [False, False, True, False, True], 2)
    """
    if stamps.size < 2:
        raise SignalError(f"time: {stamps.size} samples are no recording; at least two are needed to know the rate.")
    if not np.isfinite(stamps).all():
        at = int((~np.isfinite(stamps)).argmax())
        raise SignalError(f"time: sample {at + 1} has no time stamp ({stamps[at]:g}). Leave such rows out.")
    steps = np.diff(stamps)
    if (steps <= 0).any():
        at = int((steps <= 0).argmax())
        what = "has the time stamp of the one before it" if steps[at] == 0 else "comes before the one before it"
        way_out = (
            "Keep one row for each time; round less when the table is written."
            if steps[at] == 0
            else "Where a table holds several recordings, choose one by where={column: value}."
        )
        raise SignalError(f"time: sample {at + 2} ({stamps[at + 1]:.6f} s) {what} ({stamps[at]:.6f} s). {way_out}")
    interval = float(np.median(steps))
    _check_interval(interval, float(stamps[-1] - stamps[0]), sfreq)
    holes = np.r_[steps > HOLE * interval, True]
    return Clock(stamps - stamps[0], 1.0 / interval, np.where(holes, interval, np.r_[steps, interval]), holes)


def _check_interval(interval: float, seconds: float, sfreq: float | None) -> None:
    if not 1 / MOST_RATE <= interval * (1 + 1e-9) <= (1 + 2e-9) / LEAST_RATE:
        likely = "ms" if interval > 1 / LEAST_RATE else "s"
        raise SignalError(
            f"unit: between two samples lie {interval:.6g} s (median), and eye trackers take {LEAST_RATE:g} to "
            f"{MOST_RATE:g} samples a second. The time stamps seem to be in another unit, such as {likely}: say "
            'unit={"time": "ms"} or {"time": "s"}, or bring them to one of these.'
        )
    if seconds > MOST_SECONDS:
        raise SignalError(
            f"time: the recording would be {seconds / 86400:.1f} days long; its time stamps cannot be right."
        )
    if sfreq is not None and not 0.8 <= sfreq * interval <= 1.25:
        raise SignalError(
            f"sfreq: the time stamps come {1 / interval:.4g} times a second (median), got {sfreq:g}. Leave sfreq "
            "out, or the time stamps."
        )


def regular_clock(samples: int, sfreq: float) -> Clock:
    """Return the clock of samples that come at one rate without a hole.

    Args:
        samples: How many there are.
        sfreq: Rate in Hz.

    Raises:
        SignalError: If there are too few, or the rate is no eye tracker's.
    """
    if not LEAST_RATE <= sfreq <= MOST_RATE:
        raise SignalError(f"sfreq: expected {LEAST_RATE:g} to {MOST_RATE:g} samples a second, got {sfreq:g}.")
    return make_clock(np.arange(samples) / sfreq)
