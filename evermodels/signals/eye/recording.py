"""A recording of eye movement and pupil: samples, or fixations, with time stamps, names and units."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from evermodels.core.errors import ConfigError, SignalError, quoted
from evermodels.signals.eye.clock import MOST_SECONDS, Clock, make_clock, regular_clock
from evermodels.signals.eye.columns import COLUMNS, check_units, convert, resolve
from evermodels.signals.eye.events import (
    Events,
    closed_eyes,
    find_blinks,
    find_movements,
    marked_blinks,
    marked_movements,
)
from evermodels.signals.eye.table import open_table
from evermodels.signals.room import check_rate, check_start

_MILLISECONDS = 1000.0
_LEAST_FIXATION, _MOST_FIXATION = 0.005, 30.0  # seconds of a table's median fixation


class Eye:
    """One recording of eye movement and pupil.

    A table of samples has ``time`` (or comes at ``sfreq``) and at least one measured column; a table of fixations has
    ``start`` and ``stop`` of each. Nothing is taken from a column's place, no unit is guessed, and what was not
    measured (empty cells, a pupil of 0 or below, which is a code for a closed eye) stays missing.

    Args:
        source: Path of a ``.csv`` or ``.tsv`` file (also ``.gz``), a data frame, a mapping from names to arrays, a
            structured array, or an ``Eye``, which is taken as it is, at another ``start`` where one is given.
        columns: The table's name by ours, such as ``{"time": "seconds", "pupil": "diameter"}``; what it leaves out is
            not read. ``None`` where the table uses our names: :data:`~evermodels.signals.eye.COLUMNS`.
        unit: Unit by what is measured: ``time`` in ``"s"``, ``"ms"`` or (fixations) ``"frames"``; ``pupil`` in
            ``"mm"``, ``"um"`` or ``"au"``; ``gaze`` in ``"deg"``, ``"rad"``, ``"px"`` or ``"normalized"``; ``head``
            in ``"deg"`` or ``"rad"``.
        sfreq: Samples a second of a table without ``time``; frames a second of one in ``"frames"``. Beside time stamps
            it is compared with them.
        where: Which rows are read, a value by column of the table, such as ``{"video": "V1"}``.
        delimiter: What separates a file's values; by its suffix where ``None``.
        start: When the first sample was taken (of fixations: when their clock reads 0), in seconds of the clock that
            all recordings share.

    Attributes:
        start: When it begins, in seconds of the shared clock.
        columns: Measured columns by name, float64 ``(samples,)``: pupil in mm (or ``au``), gaze in degrees (or ``px``,
            ``normalized``), openness 0..1, NaN where nothing was measured (gaze: nor while the eyes are closed); marks
            0 where there is none. ``pupil`` and ``openness`` are the mean of both eyes, where both were measured,
            if the table has only each eye's.
        unit: Unit of the columns by what they measure.
        times: When each sample was taken on the shared clock, ``(samples,)`` float64; empty for a table of fixations.
        sfreq: Samples a second (1 over the median interval); of fixations 1000, or their frames a second.
        dropped: Columns of the table that were not read.
        notes: What reading it showed, in whole sentences.

    Raises:
        FileNotFoundError: If there is no such file.
        ConfigError: If the mapping, a unit or a number is impossible or missing.
        SignalError: If the table cannot be read, holds nothing that was measured, or values of another unit.

    Example:
        >>> table = {"ms": np.arange(0, 2000, 10), "left": np.r_[np.full(80, 3.5), np.full(20, -1), np.full(100, 3.6)]}
        >>> eye = Eye(table, columns={"time": "ms", "pupil": "left"}, unit={"time": "ms", "pupil": "mm"})
        >>> eye
        Eye(pupil, 100 Hz, 2.0 s)
        >>> eye.blinks.start.tolist(), eye.blinks.duration.round(3).tolist(), eye.coverage
        ([0.8], [0.2], ((0.0, 2.0),))
    """

    modality: ClassVar[str] = "eye"

    start: float
    columns: dict[str, np.ndarray]
    unit: dict[str, str]
    sfreq: float
    dropped: tuple[str, ...]
    notes: tuple[str, ...]

    def __init__(
        self,
        source: Any,
        *,
        columns: Mapping[str, str] | None = None,
        unit: Mapping[str, str] | None = None,
        sfreq: float | None = None,
        where: Mapping[str, Any] | None = None,
        delimiter: str | None = None,
        start: float | None = None,
    ) -> None:
        options = {"columns": columns, "unit": unit, "sfreq": sfreq, "where": where, "delimiter": delimiter}
        if start is not None:
            start = check_start(start)
        if sfreq is not None:
            sfreq = check_rate(sfreq)
        if isinstance(source, Eye):
            given = [name for name, value in options.items() if value is not None]
            if given:
                raise ConfigError(f"{given[0]}: the recording is an Eye already and knows it. Leave it out.")
            self.__dict__.update({k: v for k, v in source.__dict__.items() if k not in _CACHED})
            self.start = source.start if start is None else start
            return
        self.start = 0.0 if start is None else start
        table = open_table(source, delimiter)
        chosen = resolve(columns, table.names)
        self.unit = check_units(unit, chosen)
        raw = table.read(list(chosen.values()), _conditions(where, table.names))
        values = {name: raw[theirs] for name, theirs in chosen.items()}
        if not next(iter(values.values())).size:
            only = f" with {quoted(dict(where))}" if where else ""
            raise SignalError(f"{table.label}: the table has no rows{only}.")
        self.dropped = tuple(name for name in table.names if name not in chosen.values())
        notes: list[str] = []
        self._clock, self._listed = _when(values, self.unit, sfreq, notes)
        self.sfreq = (sfreq or _MILLISECONDS) if self._clock is None else self._clock.sfreq
        kinds = ((name, self.unit.get(COLUMNS[name], "")) for name in values if COLUMNS[name] != "time")
        self.columns = {name: convert(name, values[name], kind, notes) for name, kind in kinds}
        _check_measured(self.columns, table.label, listed=self._listed is not None)
        self._add_means()
        self._hide_gaze()
        self.notes = tuple(notes)

    def _add_means(self) -> None:
        for name in ("pupil", "openness"):
            left, right = (self.columns.get(f"{name}_{side}") for side in ("left", "right"))
            if name not in self.columns and left is not None and right is not None:
                self.columns[name] = (left + right) / 2

    def _hide_gaze(self) -> None:
        """What a tracker says of the gaze while the eyes are closed is nothing that was measured."""
        closed = None if self._clock is None else closed_eyes(self._measured())
        if closed is not None:
            gaze = {"x", "y"} & self.columns.keys()
            self.columns |= {name: np.where(closed, np.nan, self.columns[name]) for name in gaze}

    @cached_property
    def times(self) -> np.ndarray:
        """When each sample was taken on the shared clock, ``(samples,)`` float64."""
        return np.zeros(0) if self._clock is None else self._clock.times + self.start

    @property
    def interval(self) -> float:
        """Time between two samples in seconds (median); of fixations the step of their times."""
        return 1.0 / self.sfreq

    @property
    def spans(self) -> np.ndarray:
        """How long each sample stands in seconds, ``(samples,)``; the rest of the time are holes."""
        return np.zeros(0) if self._clock is None else self._clock.spans

    @property
    def stop(self) -> float:
        """When the last sample (or fixation) ends, in seconds of the shared clock."""
        return self.coverage[-1][1]

    @property
    def coverage(self) -> tuple[tuple[float, float], ...]:
        """Stretches without a hole of more than half a second, ``(start, stop)`` each, on the shared clock."""
        if self._listed is not None:
            return ((self.start, self.start + float(self._listed.stop.max())),)
        assert self._clock is not None  # a table without fixations has samples
        return tuple((self.start + a, self.start + b) for a, b in self._clock.stretches)

    @cached_property
    def blinks(self) -> Events | None:
        """Blinks, marked by the tracker or found; ``None`` where no column shows them."""
        if self._clock is None:
            return None
        if "blink" in self.columns:
            return marked_blinks(self._clock, self.columns["blink"]).shifted(self.start)
        closed = closed_eyes(self._measured())
        return None if closed is None else find_blinks(self._clock, closed).shifted(self.start)

    @cached_property
    def fixations(self) -> Events | None:
        """Fixations, listed or marked by the tracker or found in the gaze; ``None`` where no column shows them."""
        return self._movements[0]

    @cached_property
    def saccades(self) -> Events | None:
        """Saccades between them; ``None`` without gaze in degrees."""
        return self._movements[1]

    @cached_property
    def _movements(self) -> tuple[Events | None, Events | None]:
        if self._clock is None:
            return (None if self._listed is None else self._listed.shifted(self.start)), None
        gaze = self.unit.get("gaze") in ("deg", "rad") and {"x", "y"} <= self.columns.keys()
        x, y = (self.columns["x"], self.columns["y"]) if gaze else (None, None)
        if "fixation" in self.columns:
            fixations, saccades = marked_movements(self._clock, self.columns["fixation"], x, y)
        elif x is not None and y is not None:
            fixations, saccades = find_movements(self._clock, x, y)
        else:
            return None, None
        return fixations.shifted(self.start), saccades.shifted(self.start) if gaze else None

    def noted(self, text: str) -> Eye:
        """Return the recording with one more note.

        Args:
            text: Whole sentences.
        """
        same = Eye(self)
        same.notes = tuple(dict.fromkeys((*self.notes, text)))
        return same

    def _measured(self) -> dict[str, np.ndarray]:
        return {name: column for name, column in self.columns.items() if COLUMNS[name] != "mark"}

    def __repr__(self) -> str:
        if self._listed is not None:
            return f"Eye({len(self._listed)} fixations, {self.stop - self.start:.1f} s)"
        pieces = f" in {len(self.coverage)} stretches" if len(self.coverage) > 1 else ""
        return f"Eye({', '.join(self.columns)}, {self.sfreq:.4g} Hz, {self.stop - self.start:.1f} s{pieces})"


_CACHED = ("times", "blinks", "fixations", "saccades", "_movements")


def read_eye(
    source: Any,
    *,
    columns: Mapping[str, str] | None = None,
    unit: Mapping[str, str] | None = None,
    sfreq: float | None = None,
    where: Mapping[str, Any] | None = None,
    delimiter: str | None = None,
    start: float | None = None,
) -> Eye:
    """Read a table of eye movement and pupil.

    Args:
        source: As in :class:`Eye`, as all that follow.
        columns: The table's name by ours.
        unit: Unit by what is measured.
        sfreq: Samples a second of a table without time stamps.
        where: Which rows are read.
        delimiter: What separates a file's values.
        start: When the first sample was taken, in seconds of the shared clock.

    Raises:
        FileNotFoundError: If there is no such file.
        ConfigError: If an argument is impossible or missing.
        SignalError: If the table cannot be read or used.

    Example:
        >>> table = {"x": np.zeros(50), "y": np.zeros(50)}
        >>> read_eye(table, unit={"gaze": "deg"}, sfreq=50.0, start=2.0).coverage
        ((2.0, 3.0),)
    """
    return Eye(source, columns=columns, unit=unit, sfreq=sfreq, where=where, delimiter=delimiter, start=start)


def _when(
    values: Mapping[str, np.ndarray], unit: Mapping[str, str], sfreq: float | None, notes: list[str]
) -> tuple[Clock | None, Events | None]:
    """Return the samples' clock, or the listed fixations."""
    if "start" in values or "stop" in values:
        return None, _listed_fixations(values, unit["time"], sfreq)
    if "time" not in values:
        if sfreq is None:
            raise ConfigError(
                "columns: no column is time, so nothing says how fast the samples were taken. Name it (columns={"
                "'time': …}), or give sfreq, the samples a second."
            )
        return regular_clock(next(iter(values.values())).size, sfreq), None
    if unit["time"] == "frames":
        raise ConfigError('unit: time in "frames" is for tables of fixations. Leave time out and give sfreq.')
    stamps = values["time"] * {"s": 1.0, "ms": 1e-3}[unit["time"]]
    clock = make_clock(stamps, sfreq)
    if abs(stamps[0]) > 1.0:
        notes.append(
            f"Eye: the table's own clock begins at {stamps[0]:.3f} s; its first sample stands at start on the shared "
            "clock."
        )
    return clock, None


def _listed_fixations(values: Mapping[str, np.ndarray], unit: str, sfreq: float | None) -> Events:
    lacking = [name for name in ("start", "stop") if name not in values]
    if lacking or "time" in values:
        what = f"{lacking[0]} is missing" if lacking else "time stands beside them"
        raise ConfigError(f"columns: a table of fixations has start and stop of each, and {what}. Samples have time.")
    extra = [name for name in values if name not in ("start", "stop", "x", "y")]
    if extra:
        raise ConfigError(f"columns: {extra[0]} is a column of samples, and the table lists fixations. Leave it out.")
    start, stop = values["start"], values["stop"]
    if unit == "frames":
        if sfreq is None:
            raise ConfigError("sfreq: say how many frames a second the table counts, such as 25.")
        start, stop = start / sfreq, (stop + 1) / sfreq  # both frames lie inside
    else:
        if sfreq is not None:
            raise ConfigError('sfreq: fixations in s or ms have no rate. Leave it out, or say unit={"time": "frames"}.')
        factor = {"s": 1.0, "ms": 1e-3}[unit]
        start, stop = start * factor, stop * factor
    if not np.isfinite(start + stop).all():
        raise SignalError("start, stop: a fixation has no begin or no end. Leave such rows out.")
    wrong = (stop <= start) | np.r_[False, start[1:] < stop[:-1]] | (start < 0)
    if wrong.any():
        at = int(wrong.argmax())
        raise SignalError(
            f"start, stop: fixation {at + 1} ({start[at]:g} to {stop[at]:g} s) ends before it begins, or begins before "
            "the one before it ends, or before 0. Where a table holds several recordings, choose one by "
            "where={column: value}."
        )
    middle = float(np.median(stop - start))
    if not _LEAST_FIXATION <= middle <= _MOST_FIXATION or stop[-1] > MOST_SECONDS:
        raise SignalError(
            f"unit: the fixations last {middle:g} s (median), which no fixation does; their times seem to be in "
            f'another unit. Say unit={{"time": "{"ms" if middle > 1 else "s"}"}} if they are.'
        )
    return Events(start, stop)


def _conditions(where: Any, names: tuple[str, ...]) -> dict[str, Any]:
    if where is None:
        return {}
    if not isinstance(where, Mapping):
        raise ConfigError(f"where: expected a value by column, such as {{'video': 'V1'}}, got {quoted(where)}.")
    for name in where:
        if name not in names:
            raise SignalError(f"where: the table has no column {quoted(name)}; it has {quoted(list(names), 400)}.")
    return dict(where)


def _check_measured(columns: Mapping[str, np.ndarray], label: str, *, listed: bool) -> None:
    if not columns and not listed:
        measured = ", ".join(name for name, what in COLUMNS.items() if what != "time")
        raise ConfigError(f"columns: beside time no column is read; name at least one of {measured}.")
    for name, column in columns.items():
        if COLUMNS[name] != "mark" and not np.isfinite(column).any():
            raise SignalError(
                f"{label}: nothing of {name} was measured: each of {column.size} values is missing or the code of a "
                "closed eye. Leave the column out, or check that the eye was in sight."
            )
