"""Blinks, fixations and saccades of a recording; none of them reaches across a hole or what was not measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from evermodels.signals.eye.clock import Clock

CLOSED = 0.2
"""Openness below which an eye is closed: the 80 % of PERCLOS P80 (Wierwille and others, 1994)."""

LEAST_BLINK, MOST_BLINK = 0.05, 0.5
"""Seconds of a blink; shorter is a sample or two that were lost, longer is a closed eye or a face out of sight."""

FAST = 30.0
"""Degrees a second above which the eye moves in a saccade (I-VT; 30 is the default of Olsen, *The Tobii I-VT Fixation
Filter*, 2012, since Salvucci and Goldberg leave it open)."""

LEAST_FIXATION = 0.06
"""Seconds of the shortest fixation (as there)."""


@dataclass(frozen=True, eq=False)
class Events:
    """Events of one kind in order of time.

    Args:
        start: Begin of each in seconds, ``(events,)`` float64.
        stop: End of each.
        values: More numbers for each by name, such as ``"amplitude"``; NaN where there is none.

    Example:
        >>> events = Events(np.array([0.0, 2.0]), np.array([0.2, 2.3]))
        >>> len(events), events.duration.round(2).tolist(), len(events.between(1.0, 3.0))
        (2, [0.2, 0.3], 1)
    """

    start: np.ndarray
    stop: np.ndarray
    values: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.start)

    @property
    def duration(self) -> np.ndarray:
        """Seconds of each."""
        return self.stop - self.start

    def between(self, start: float, stop: float) -> Events:
        """Return the events that begin in a stretch, whole.

        Args:
            start: Its begin in seconds.
            stop: Its end; an event that begins there is the next stretch's.
        """
        a, b = np.searchsorted(self.start, [start, stop], side="left")
        return Events(self.start[a:b], self.stop[a:b], {name: value[a:b] for name, value in self.values.items()})

    def shifted(self, seconds: float) -> Events:
        """Return the events at later times.

        Args:
            seconds: By how much later.
        """
        return Events(self.start + seconds, self.stop + seconds, self.values)


def closed_eyes(columns: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """Return at which samples every eye of the table is closed or not seen, or ``None`` where no column tells it.

    An eye is closed where its openness is below :data:`CLOSED`, or its pupil or openness was not measured; gaze tells
    it only where nothing else does.

    Args:
        columns: Measured columns by name, NaN where nothing was measured.

    Example:
        >>> closed_eyes({"pupil_left": np.array([3.0, np.nan, np.nan]), "pupil_right": np.array([3.0, 3.1, np.nan])})
        array([False, False,  True])
    """
    groups = (("pupil_left", "openness_left"), ("pupil_right", "openness_right"))
    eyes = [[name for name in group if name in columns] for group in groups]
    if not any(eyes):
        one = [name for name in ("pupil", "pupil_x", "pupil_y", "openness") if name in columns]
        eyes = [one or [name for name in ("x", "y") if name in columns]]
    masks = []
    for names in filter(None, eyes):
        mask = np.zeros(len(columns[names[0]]), dtype=bool)
        for name in names:
            mask |= np.isnan(columns[name])
            if name.startswith("openness"):
                mask |= columns[name] < CLOSED
        masks.append(mask)
    return np.logical_and.reduce(masks) if masks else None


def find_blinks(clock: Clock, closed: np.ndarray) -> Events:
    """Return the blinks: runs of closed eyes of 0.05 to 0.5 s that were seen from begin to end.

    Args:
        clock: When the samples were taken.
        closed: Whether the eyes were closed, ``(samples,)``.
    """
    first, last = _runs(closed, clock.holes)
    start, stop = clock.times[first], clock.times[last] + clock.spans[last]
    # A run beside a hole, or the recording's end, began or ended unseen.
    whole = (first > 0) & ~clock.holes[np.maximum(first - 1, 0)] & ~clock.holes[last]
    keep = whole & (stop - start >= LEAST_BLINK - 1e-9) & (stop - start <= MOST_BLINK + 1e-9)
    return Events(start[keep], stop[keep])


def marked_blinks(clock: Clock, marks: np.ndarray) -> Events:
    """Return the blinks that a tracker has marked, of any length.

    Args:
        clock: When the samples were taken.
        marks: 0 where there is none, ``(samples,)``.
    """
    first, last = _groups(marks, clock.holes)
    return Events(clock.times[first], clock.times[last] + clock.spans[last])


def find_movements(clock: Clock, x: np.ndarray, y: np.ndarray) -> tuple[Events, Events]:
    """Return fixations and saccades by velocity (I-VT; Salvucci and Goldberg, ETRA 2000, section 3.1).

    The velocity between two samples is their distance over their time; where it is above :data:`FAST` the eye is in a
    saccade, elsewhere in a fixation. A fixation lasts from its first to its last sample, at least
    :data:`LEAST_FIXATION`. A saccade lies between two slow intervals; one that touches a hole, a blink or lost samples
    is left out, since its begin or end was not seen. A step of more than 180 degrees is a turn past the back.

    Args:
        clock: When the samples were taken.
        x: Horizontal direction in degrees, ``(samples,)``, NaN where it was not measured.
        y: Vertical direction in degrees.

    Returns:
        Fixations with ``dispersion_x`` and ``dispersion_y`` (range in degrees) and their middle ``x``, ``y``; saccades
        with ``amplitude`` (degrees from begin to end) and ``latency`` (seconds since the saccade before it; NaN where
        that is unknown).
    """
    seen = np.isfinite(x) & np.isfinite(y)
    broken = clock.holes[:-1] | ~seen[:-1] | ~seen[1:]
    steps_x, steps_y = _wrapped(np.diff(x)), np.diff(y)
    with np.errstate(invalid="ignore"):
        fast = ~broken & (np.hypot(steps_x, steps_y) > FAST * np.diff(clock.times))
    slow = ~broken & ~fast
    fixations = _fixations(clock, x, y, *_interval_runs(slow))
    first, last = _interval_runs(fast)
    flanked = np.r_[False, slow][first] & np.r_[slow, False][last]
    return fixations, _saccades(clock, x, y, (first[flanked], last[flanked]), broken)


def marked_movements(
    clock: Clock, marks: np.ndarray, x: np.ndarray | None, y: np.ndarray | None
) -> tuple[Events, Events]:
    """Return the fixations that a tracker has marked, and as saccades what lies between two of them.

    Args:
        clock: When the samples were taken.
        marks: 0 where there is none, another number for each fixation, or 1, ``(samples,)``.
        x: Horizontal direction in degrees, or ``None`` without gaze: then there are no saccades.
        y: Vertical direction in degrees.

    Returns:
        As :func:`find_movements`.
    """
    first, last = _groups(marks, clock.holes)
    if x is None or y is None:
        return Events(clock.times[first], clock.times[last]), Events(np.zeros(0), np.zeros(0))
    broken = clock.holes[:-1] | ~np.isfinite(x + y)[:-1] | ~np.isfinite(x + y)[1:]
    before = np.r_[0, np.cumsum(broken)]
    begin, end = last[:-1], first[1:]
    whole = before[begin] == before[end]
    return (
        _fixations(clock, x, y, first, last, least=0.0),
        _saccades(clock, x, y, (begin[whole], end[whole]), broken),
    )


def _fixations(
    clock: Clock, x: np.ndarray, y: np.ndarray, first: np.ndarray, last: np.ndarray, *, least: float = LEAST_FIXATION
) -> Events:
    keep = clock.times[last] - clock.times[first] >= least - 1e-9
    first, last = first[keep], last[keep]
    spread = [(_spread(x[a : b + 1], turns=True), _spread(y[a : b + 1])) for a, b in zip(first, last, strict=True)]
    ranges = np.array(spread, dtype=np.float64).reshape(-1, 2)
    spots = np.array(
        [(_middle(x[a : b + 1], turns=True), _middle(y[a : b + 1])) for a, b in zip(first, last, strict=True)]
    )
    spots = spots.reshape(-1, 2)
    values = {"dispersion_x": ranges[:, 0], "dispersion_y": ranges[:, 1], "x": spots[:, 0], "y": spots[:, 1]}
    return Events(clock.times[first], clock.times[last], values)


def _saccades(
    clock: Clock, x: np.ndarray, y: np.ndarray, samples: tuple[np.ndarray, np.ndarray], broken: np.ndarray
) -> Events:
    first, last = samples
    start, stop = clock.times[first], clock.times[last]
    latency = np.full(len(start), np.nan)
    if len(start) > 1:
        before = np.r_[0, np.cumsum(broken)]
        unbroken = before[last[:-1]] == before[first[1:]]
        latency[1:] = np.where(unbroken, start[1:] - stop[:-1], np.nan)
    amplitude = np.hypot(_wrapped(x[last] - x[first]), y[last] - y[first])
    return Events(start, stop, {"amplitude": amplitude, "latency": latency})


def _spread(values: np.ndarray, turns: bool = False) -> float:
    values = values[np.isfinite(values)]
    return float(np.ptp(np.unwrap(values, period=360.0) if turns else values)) if values.size else np.nan


def _middle(values: np.ndarray, turns: bool = False) -> float:
    values = values[np.isfinite(values)]
    return float((np.unwrap(values, period=360.0) if turns else values).mean()) if values.size else np.nan


def _wrapped(steps: np.ndarray) -> np.ndarray:
    return (steps + 180.0) % 360.0 - 180.0


def _runs(mask: np.ndarray, holes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first and last sample of each run of true values; a hole ends one."""
    return _groups(mask.astype(np.float64), holes)


def _groups(marks: np.ndarray, holes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first and last sample of each run of one mark other than 0; a hole ends one."""
    if not marks.size:
        return np.zeros(0, dtype=int), np.zeros(0, dtype=int)
    border = (marks[1:] != marks[:-1]) | holes[:-1]
    first, last = np.r_[0, np.flatnonzero(border) + 1], np.r_[np.flatnonzero(border), marks.size - 1]
    some = marks[first] != 0
    return first[some], last[some]


def _interval_runs(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first and last sample of each run of true intervals, where interval k lies between k and k + 1."""
    edges = np.flatnonzero(np.diff(np.r_[False, mask, False].astype(np.int8)))
    return edges[::2], edges[1::2]
