"""From a recording of eye movement to a model's windows: rows of features, or a series on a regular grid."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from evermodels.core.errors import ConfigError, SignalError, did_you_mean, quoted
from evermodels.core.specs import EyeSpec
from evermodels.signals import room
from evermodels.signals.eye.columns import COLUMNS
from evermodels.signals.eye.features import FEATURES, Stretch
from evermodels.signals.eye.recording import Eye

LEAST_SHARE = 0.5
"""Part of a window's time that must be measured for it to be read."""

SLOW = 30.0
"""Samples a second below which blinks (0.05 s and more) and saccades (0.02 s and more) are hardly seen."""

MEASURED = "measured"
"""Channel of a series that is 1 where all its other channels were measured and 0 where they are filled with 0."""

_CONVERTED = {"um": "mm", "rad": "deg"}
_SPELLED = {"deg": "degrees", "au": "arbitrary units (au)", "normalized": "parts of the screen (normalized)"}
_TO_DEGREES = (
    "Divide x and y by the screen's pixels (or parts) in a degree, which is about 1 cm at 57 cm, and say "
    'unit={"gaze": "deg"}.'
)
_WAY_OUT = {("px", "deg"): _TO_DEGREES, ("normalized", "deg"): _TO_DEGREES}


def _pairs(text: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in text.split(",")]
    if not all(name.strip() and value.strip() for name, _, value in pairs):
        raise ArgumentTypeError(f"expected NAME=VALUE, separated by commas, got {text!r}")
    return {name.strip(): value.strip() for name, _, value in pairs}


_SERIES = tuple(name for name, what in COLUMNS.items() if what != "time")


class Reader(room.Reader[Eye]):
    """Makes a model's windows of recordings of eye movement and pupil.

    With ``form="features"`` a window is ``(stretches, features)``: a row for each stretch of ``spec.seconds``, a column
    for each name of ``spec.features``. A feature of which a stretch holds nothing (no saccade, no blink, no measured
    sample) is 0 there, which ``empty_features`` of the quality counts; a frequency without events is a true 0.

    With ``form="series"`` it is ``(time, channels)`` at ``spec.sfreq``: each value is that of the last sample, as long
    as that one stands (to the next, at most three sampling intervals). Where nothing was measured it is 0, and the
    channel ``"measured"``, if the spec asks for it, says so; nothing is bridged. ``"blink"`` and ``"fixation"`` are 1
    during one.

    Quality by window: ``eye_share``, the part of its time in which all that is needed was measured (for blinks alone:
    in which anything was recorded); ``eye_gap_seconds``, in which no sample was taken; ``blinks``, where the recording
    shows them; ``empty_features``.

    Args:
        spec: The modality's part of the model's input spec.
        window_seconds: Length of the model's windows in seconds.
        eye_table: How a path or a data frame becomes a recording: arguments of :class:`Eye` (``columns``, ``unit``,
            ``sfreq``, ``where``, ``delimiter``).
        least_share: Part of a window's time that must be measured for it to be read, 0..1.

    Raises:
        ConfigError: If a feature or channel is unknown, or needs a column that ``eye_table["columns"]`` does not name.

    Example:
        >>> spec = EyeSpec(features=("pupil_mean", "blink_frequency"), seconds=1.0)
        >>> reader = Reader(spec, 2.0)
        >>> eye = Eye({"pupil": np.full(400, 3.5)}, unit={"pupil": "mm"}, sfreq=100.0)
        >>> window = next(reader.windows(reader.prepare(eye), [0.0], 2.0))
        >>> window.tensor.tolist(), window.quality["eye_share"]
        ([[3.5, 0.0], [3.5, 0.0]], 1.0)
    """

    recording: ClassVar[type[Eye]] = Eye
    example: ClassVar[str] = 'Eye({"time": …, "pupil": …}, unit={"time": "s", "pupil": "mm"})'
    files: ClassVar[str] = "a table of eye movement and pupil (.csv, .tsv, also .gz)"
    options: ClassVar[tuple[room.Option, ...]] = (
        room.Option(
            "columns", _pairs, "OURS=THEIRS,…", "columns of the eye table, such as time=seconds,pupil=diameter"
        ),
        room.Option("unit", _pairs, "WHAT=UNIT,…", "units of the eye table, such as time=s,pupil=mm,gaze=deg"),
        room.Option("sfreq", float, "HZ", "samples a second of an eye table without time stamps"),
        room.Option("where", _pairs, "COLUMN=VALUE,…", "rows of the eye table that are read, such as trial=3"),
        room.Option("delimiter", str, "C", "what separates the values of an eye table that is no .csv or .tsv"),
    )
    settings: ClassVar[tuple[room.Option, ...]] = (
        room.Option(
            "least_share", float, "PART", f"part of a window's time that eye data must cover ({LEAST_SHARE:g})"
        ),
    )

    def __init__(
        self,
        spec: EyeSpec,
        window_seconds: float | None,
        *,
        eye_table: Mapping[str, Any] | None = None,
        least_share: float = LEAST_SHARE,
    ) -> None:
        super().__init__(spec, window_seconds)
        spec.check_window(window_seconds)
        if not isinstance(least_share, int | float) or isinstance(least_share, bool) or not 0 <= least_share <= 1:
            raise ConfigError(f"least_share: expected a part of a window, 0 to 1, got {quoted(least_share)}.")
        self.least_share = float(least_share)
        self.eye_table = _options(eye_table)
        self._series = spec.form == "series"
        names = spec.channels if self._series else spec.features
        known = (*_SERIES, MEASURED) if self._series else tuple(FEATURES)
        for name in names:
            if name not in known:
                raise ConfigError(
                    f"{'channels' if self._series else 'features'}: {quoted(name)} is no "
                    f"{'channel' if self._series else 'feature'} of eye movement.{did_you_mean(name, known)} Known: "
                    f"{', '.join(known)}."
                )
        if self._series and not [name for name in names if name != MEASURED]:
            raise ConfigError(f"channels: {MEASURED} alone is of nothing. Name the channels that it is of.")
        self._needs = {name: _needs(name) if self._series else FEATURES[name].needs for name in names}
        if self.eye_table.get("columns") is not None:
            self._check_columns(_derived(self.eye_table["columns"]), "columns")

    @classmethod
    def reads(cls, path: Path) -> bool:
        """Return whether a path has the ending of a table.

        Args:
            path: The path.
        """
        return path.name.lower().removesuffix(".gz").endswith((".csv", ".tsv"))

    def open(self, source: Any, **form: Any) -> Eye:
        """Return a source as a recording.

        Args:
            source: An :class:`Eye`, or what it is made of; an array is made a recording first.
            **form: Arguments of :class:`Eye`, such as ``start``; what they leave open is as ``eye_table`` says.

        Raises:
            SignalError: If it cannot be read.
            ConfigError: If nothing says its columns or units.
        """
        if isinstance(source, Eye):
            return Eye(source, **form) if form else source
        if isinstance(source, np.ndarray | torch.Tensor) or isinstance(getattr(source, "modality", None), str):
            return super().open(source)  # which refuses them
        return Eye(source, **{**self.eye_table, **form})

    def prepare(self, recording: Eye) -> Eye:
        """Return the recording, after a look at its columns.

        Args:
            recording: As :meth:`open` gave it.

        Raises:
            SignalError: If it lacks a column that a feature or the series needs, which is named with it.
        """
        held = dict.fromkeys(recording.columns)
        if not recording.times.size:
            held = {"fixation": None}  # listed fixations; their places are no samples of gaze
        self._check_columns(held, "recording")
        self._check_units(recording.unit, held)
        slow = [name for name, needs in self._needs.items() if recording.sfreq < SLOW and _found(needs, held)]
        if slow:
            recording = recording.noted(
                f"Eye: at {recording.sfreq:.3g} samples a second a blink or saccade is one sample or none; "
                f"{', '.join(slow)} say little."
            )
        return recording

    def windows(self, recording: Eye, starts: Sequence[float], seconds: float) -> Iterator[room.Window]:
        """Yield one window after the other.

        Args:
            recording: As :meth:`prepare` gave it.
            starts: Where they begin, in seconds on the shared clock, in order of time.
            seconds: Their length.
        """
        for start in starts:
            yield self._window(recording, float(start), seconds)

    def notes(self, starts: Sequence[float], windows: Sequence[room.Window], otherwise: str) -> tuple[str, ...]:
        """Return what is to be said of the windows, in whole sentences.

        Args:
            starts: Where they begin.
            windows: What :meth:`windows` gave.
            otherwise: What becomes of windows that are not usable.
        """
        chosen = [not window.usable for window in windows]
        if not any(chosen):
            return ()
        least = min(window.quality["eye_share"] for window in windows)
        which = room.which(starts, chosen)
        return (
            f"Eye:{which} less than {100 * self.least_share:.3g} % of the time was measured (down to "
            f"{100 * least:.3g} %): blinks, a closed eye, or nothing recorded; {otherwise}.",
        )

    def dropped(self, recording: Eye) -> tuple[str, ...]:
        """Return the columns that the model does not take.

        Args:
            recording: As :meth:`prepare` gave it.
        """
        used = {word for needs in self._needs.values() for wanted in needs for word in wanted.split(" | ")}
        return (*(name for name in recording.columns if name not in used), *recording.dropped)

    def _check_columns(self, held: Mapping[str, Any], what: str) -> None:
        for name, needs in self._needs.items():
            for wanted in needs:
                if not any(word in held for word in wanted.split(" | ")):
                    error = ConfigError if what == "columns" else SignalError
                    kind = "channel" if self._series else "feature"
                    raise error(
                        f"eye: the {kind} {name} needs the column {wanted.replace(' | ', ' or ')}, and the {what} "
                        f"{'name' if what == 'columns' else 'has'} {', '.join(held) or 'none'}. Name it in columns, or "
                        "take a model without it."
                    )

    def _check_units(self, unit: Mapping[str, str], held: Mapping[str, Any]) -> None:
        """Refuse what the model was not trained on; what can be converted was converted when it was read."""
        wanted = {"pupil": self.spec.pupil_unit, "gaze": self.spec.gaze_unit}
        for name, needs in self._needs.items():
            for what in sorted({COLUMNS[word] for word in _watched(needs, held)} & wanted.keys()):
                found = _CONVERTED.get(unit[what], unit[what])
                if found != wanted[what]:
                    raise SignalError(
                        f"unit: {name} needs {what} in {_SPELLED.get(wanted[what], wanted[what])}, and it is in "
                        f"{found}. {_WAY_OUT.get((found, wanted[what]), 'Take a model that was trained on it.')}"
                    )

    def _window(self, recording: Eye, start: float, seconds: float) -> room.Window:
        times = recording.times
        a, b = np.searchsorted(times, [start - 1e-6, start + seconds - 1e-6])
        inside = np.minimum(recording.spans[a:b], start + seconds - times[a:b])
        if times.size:
            recorded = float(inside.sum())
            measured = np.ones(b - a, dtype=bool)
            for name in {word for needs in self._needs.values() for word in _watched(needs, recording.columns)}:
                measured &= np.isfinite(recording.columns[name][a:b])
            share = float(inside[measured].sum()) / seconds
        else:
            first, last = recording.coverage[0]
            recorded = max(0.0, min(last, start + seconds) - max(first, start))
            share = recorded / seconds
        share, gap = min(1.0, share), max(0.0, seconds - recorded)
        tensor, empty = self._grid(recording, start, seconds) if self._series else self._rows(recording, start, seconds)
        quality = {"eye_share": share, "eye_gap_seconds": gap if gap > 1e-6 else 0.0}
        if recording.blinks is not None:
            quality["blinks"] = float(len(recording.blinks.between(start - 1e-6, start + seconds - 1e-6)))
        if not self._series:
            quality["empty_features"] = float(empty)
        usable = share >= self.least_share - 1e-9
        why = (
            ""
            if usable
            else f"only {100 * share:.3g} % of it was measured (at least {100 * self.least_share:.3g} % are needed)"
        )
        return room.Window(tensor, usable, quality, why)

    def _rows(self, recording: Eye, start: float, seconds: float) -> tuple[torch.Tensor, int]:
        count = int(seconds / self.spec.seconds + 1e-9)
        rows = np.zeros((count, len(self.spec.features)))
        for k in range(count):
            stretch = make_stretch(recording, start + k * self.spec.seconds, self.spec.seconds)
            rows[k] = [FEATURES[name].function(stretch) for name in self.spec.features]
        empty = ~np.isfinite(rows)
        rows[empty] = 0.0
        return torch.from_numpy(rows).float(), int(empty.sum())

    def _grid(self, recording: Eye, start: float, seconds: float) -> tuple[torch.Tensor, int]:
        points = start + np.arange(round(seconds * self.spec.sfreq)) / self.spec.sfreq
        at = np.searchsorted(recording.times, points + 1e-6, side="right") - 1
        held = at >= 0
        at = np.maximum(at, 0)
        held &= points < recording.times[at] + recording.spans[at] - 1e-6
        series = np.zeros((len(points), len(self.spec.channels)))
        seen = held.copy()
        for k, name in enumerate(self.spec.channels):
            if name == MEASURED:
                continue
            values = self._column(recording, name, at, points)
            seen &= np.isfinite(values)
            series[:, k] = np.where(held & np.isfinite(values), values, 0.0)
        if MEASURED in self.spec.channels:
            series[:, self.spec.channels.index(MEASURED)] = seen
        return torch.from_numpy(series).float(), 0

    def _column(self, recording: Eye, name: str, at: np.ndarray, points: np.ndarray) -> np.ndarray:
        if COLUMNS[name] != "mark":
            return recording.columns[name][at]
        events = recording.blinks if name == "blink" else recording.fixations
        assert events is not None  # prepare has seen that there are columns for it
        k = np.searchsorted(events.start, points + 1e-6, side="right") - 1
        during = np.zeros(len(points))
        some = k >= 0
        during[some] = points[some] < events.stop[k[some]] - 1e-6
        return during


def make_stretch(recording: Eye, start: float, seconds: float) -> Stretch:
    """Return a stretch of a recording, as features take it.

    Args:
        recording: The recording.
        start: Its begin in seconds on the shared clock.
        seconds: Its length.
    """
    stop = start + seconds
    a, b = np.searchsorted(recording.times, [start - 1e-6, stop - 1e-6])
    times, spans = recording.times[a:b], recording.spans[a:b]
    if recording.times.size:
        recorded = float(np.minimum(spans, stop - times).sum())
    else:
        first, last = recording.coverage[0]
        recorded = max(0.0, min(last, stop) - max(first, start))
    found = (recording.blinks, recording.fixations, recording.saccades)
    blinks, fixations, saccades = (None if e is None else e.between(start - 1e-6, stop - 1e-6) for e in found)
    columns = {name: column[a:b] for name, column in recording.columns.items()}
    return Stretch(recorded, times, spans, columns, blinks, fixations, saccades)


def _watched(needs: Sequence[str], held: Mapping[str, Any]) -> list[str]:
    """Return the columns that must be measured for a feature; a blink shows where they are not, a mark always is."""
    chosen = [next(word for word in wanted.split(" | ") if word in held) for wanted in needs]
    return [
        word for word, wanted in zip(chosen, needs, strict=True) if COLUMNS[word] != "mark" and " | pupil" not in wanted
    ]


def _found(needs: Sequence[str], held: Mapping[str, Any]) -> bool:
    """Return whether events are looked for in the samples, since nobody has marked them."""
    chosen = [next(word for word in wanted.split(" | ") if word in held) for wanted in needs]
    return any(" | " in wanted and COLUMNS[word] != "mark" for wanted, word in zip(needs, chosen, strict=True)) or (
        set(needs) == {"x", "y"} and "fixation" not in held
    )


def _needs(channel: str) -> tuple[str, ...]:
    if channel == MEASURED:
        return ()
    if channel == "blink":
        return FEATURES["blink_frequency"].needs
    return FEATURES["fixation_frequency"].needs if channel == "fixation" else (channel,)


def _derived(columns: Any) -> dict[str, None]:
    """Return the columns that a recording of a mapping has, with the means of both eyes."""
    held = dict.fromkeys(columns)
    for name in ("pupil", "openness"):
        if f"{name}_left" in held and f"{name}_right" in held:
            held[name] = None
    return held


def _options(given: Any) -> dict[str, Any]:
    known = ("columns", "unit", "sfreq", "where", "delimiter")
    if given is None:
        return {}
    if not isinstance(given, Mapping) or any(name not in known for name in given):
        raise ConfigError(f"eye_table: expected arguments of Eye ({', '.join(known)}) by name, got {quoted(given)}.")
    return dict(given)
