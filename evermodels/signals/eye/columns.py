"""The columns that a table of eye movement can have, their units, and values that only a wrong unit makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evermodels.core.errors import ConfigError, SignalError, did_you_mean, quoted, shorten

COLUMNS: dict[str, str] = {
    "time": "time",
    "start": "time",
    "stop": "time",
    "pupil": "pupil",
    "pupil_left": "pupil",
    "pupil_right": "pupil",
    "pupil_x": "pupil",
    "pupil_y": "pupil",
    "openness": "openness",
    "openness_left": "openness",
    "openness_right": "openness",
    "x": "gaze",
    "y": "gaze",
    "head_x": "head",
    "head_y": "head",
    "blink": "mark",
    "fixation": "mark",
}
"""Names of the columns, closed, and what each one measures. ``start`` and ``stop`` make a table of fixations, one a
row; ``head_x`` and ``head_y`` are where the head points (to the side and up), as headsets give it; ``pupil_x`` and
``pupil_y`` are the size of the pupil along both axes, as SMI's glasses give them."""

UNITS: dict[str, dict[str, float]] = {
    "time": {"s": 1.0, "ms": 1e-3, "frames": 1.0},
    "pupil": {"mm": 1.0, "um": 1e-3, "au": 1.0},
    "gaze": {"deg": 1.0, "rad": 180.0 / np.pi, "px": 1.0, "normalized": 1.0},
    "head": {"deg": 1.0, "rad": 180.0 / np.pi},
    "openness": {"ratio": 1.0},
}
"""Units by what is measured, with the factor to s, mm, degrees and a ratio; ``au``, ``px``, ``normalized`` stay."""

LEAST_PUPIL, MOST_PUPIL = 0.5, 15.0
"""mm beyond which nothing is a human pupil, which is 1.5 to 9 mm wide."""

MOST_ARBITRARY = 1e7
"""Arbitrary units, or pixels, beyond which a number is damage."""

_PLAIN = {"time": "s", "pupil": "mm", "gaze": "deg", "head": "deg", "openness": "ratio"}
_LIKELY = {
    "time": ("time", "timestamp", "seconds", "second", "recording_timestamp", "t", "sec", "ms"),
    "pupil_left": ("pupil_left", "pupil_left_mm", "pupil_l", "left_pupil", "pupildiameterleft"),
    "pupil_right": ("pupil_right", "pupil_right_mm", "pupil_r", "right_pupil", "pupildiameterright"),
    "pupil": ("pupil", "pupil_size", "pupil_diameter", "diameter", "pupil_mm"),
    "openness": ("openness", "eye_openness"),
    "x": ("x", "gaze_x", "yaw", "gazex", "norm_pos_x"),
    "y": ("y", "gaze_y", "pitch", "gazey", "norm_pos_y"),
    "blink": ("blink", "blinks"),
    "fixation": ("fixation", "fixation_id"),
    "start": ("start", "onset", "start_frame", "start_time"),
    "stop": ("stop", "end", "end_frame", "end_time"),
}


def resolve(columns: Any, found: Sequence[str]) -> dict[str, str]:
    """Return which of a table's columns is read as which.

    Args:
        columns: The table's name by ours, or ``None`` where the table uses our names.
        found: Names in the table.

    Raises:
        ConfigError: If the mapping is none, or names what is not in :data:`COLUMNS`.
        SignalError: If the table lacks a column of the mapping, or, without a mapping, has one of another name.

    Example:
        >>> resolve({"time": "seconds", "pupil": "mm"}, ["seconds", "mm", "note"])
        {'time': 'seconds', 'pupil': 'mm'}
    """
    if columns is None:
        unknown = [name for name in found if name not in COLUMNS]
        if unknown:
            raise SignalError(
                f"columns: the table has {_listed(unknown)}, and a table without a mapping has our names. Name them, "
                f"such as columns={shorten(str(suggestion(found)), 600)}; what the mapping leaves out is not read. "
                f"Known columns: {', '.join(COLUMNS)}."
            )
        chosen = {name: name for name in found}
    else:
        if not isinstance(columns, Mapping):
            raise ConfigError(
                f"columns: expected a mapping from our name to the table's, got {quoted(columns)}. Known columns: "
                f"{', '.join(COLUMNS)}."
            )
        chosen = dict(columns)
        for name, theirs in chosen.items():
            if name not in COLUMNS:
                raise ConfigError(
                    f"columns: unknown column {quoted(name)}.{did_you_mean(name, COLUMNS)} Known: {', '.join(COLUMNS)}."
                )
            if theirs not in found:
                raise SignalError(
                    f"columns: {name} is to be read from {quoted(theirs)}, which the table does not have."
                    f"{did_you_mean(theirs, found)} It has {_listed(found)}."
                )
        if len(set(chosen.values())) < len(chosen):
            raise ConfigError(f"columns: one column of the table stands for two in {quoted(chosen)}. Name each once.")
    return chosen


def suggestion(found: Sequence[str]) -> dict[str, str]:
    """Return a mapping that may be meant, for a message; nothing is read by it.

    Args:
        found: Names in the table.

    Example:
        >>> suggestion(["seconds", "pupil_left_mm", "yaw", "remark"])
        {'time': 'seconds', 'pupil_left': 'pupil_left_mm', 'x': 'yaw'}
    """
    plain = {name.strip().lower().replace(" ", "_"): name for name in reversed(found)}
    likely = {name: (*_LIKELY.get(name, ()), name) for name in COLUMNS}
    names = {ours: plain[word] for ours, words in likely.items() for word in words[::-1] if word in plain}
    names = {ours: names[ours] for ours in COLUMNS if ours in names}
    return names or {"time": "…", "pupil": "…"}


def check_units(unit: Any, chosen: Mapping[str, str]) -> dict[str, str]:
    """Return the unit of each thing that the columns measure.

    Args:
        unit: Unit by what is measured: ``time``, ``pupil``, ``gaze``, ``head``; ``openness`` is always a ratio.
        chosen: What :func:`resolve` returned.

    Raises:
        ConfigError: If one is missing, unknown, or for nothing that is there.

    Example:
        >>> check_units({"time": "s", "pupil": "mm"}, {"time": "seconds", "pupil_left": "left"})
        {'time': 's', 'pupil': 'mm'}
    """
    needed = dict.fromkeys(COLUMNS[name] for name in chosen if COLUMNS[name] != "mark")
    example = {what: _PLAIN[what] for what in needed if what != "openness"}
    if unit is None:
        unit = {}
    if not isinstance(unit, Mapping):
        raise ConfigError(f"unit: expected a mapping such as unit={example}, got {quoted(unit)}.")
    for what, name in unit.items():
        if what not in UNITS:
            raise ConfigError(f"unit: {quoted(what)} is none of {', '.join(UNITS)}.{did_you_mean(what, UNITS)}")
        if what not in needed:
            raise ConfigError(
                f"unit: it says one for {what}, and no column is {what}. Leave it out, or name the column."
            )
        if name not in UNITS[what]:
            raise ConfigError(f"unit: {what} is in one of {', '.join(UNITS[what])}, got {quoted(name)}.")
    lacking = [what for what in example if what not in unit]
    if lacking:
        names = [name for name in chosen if COLUMNS[name] in lacking]
        raise ConfigError(
            f"unit: nothing says in which unit {' and '.join(lacking)} ({', '.join(names)}) stand. Say it, such as "
            f"unit={example}; known: " + "; ".join(f"{what} {', '.join(UNITS[what])}" for what in lacking) + "."
        )
    return {what: unit.get(what, "ratio") for what in needed}


def convert(name: str, values: np.ndarray, unit: str, notes: list[str]) -> np.ndarray:
    """Return a column in our unit, NaN where nothing was measured.

    Args:
        name: Our name of the column.
        values: The numbers, ``(samples,)``.
        unit: Their unit.
        notes: What is to be said of it, extended.

    Raises:
        SignalError: If the numbers cannot be of that unit.
    """
    if np.isinf(values).any():
        raise SignalError(f"{name}: sample {int(np.isinf(values).argmax()) + 1} is infinite. Leave the cell empty.")
    what = COLUMNS[name]
    if what == "mark":
        return _mark(name, values)
    return {"pupil": _pupil, "gaze": _gaze, "head": _gaze, "openness": _openness}[what](name, values, unit, notes)


def _mark(name: str, values: np.ndarray) -> np.ndarray:
    marks = np.nan_to_num(values, nan=0.0)
    if (marks < 0).any() or (marks % 1 != 0).any():
        raise SignalError(
            f"{name}: expected 0 where there is none and 1, or a number of its own for each {name}, got "
            f"{float(marks[(marks < 0) | (marks % 1 != 0)][0]):g}. Leave other codes empty."
        )
    return marks


def _pupil(name: str, values: np.ndarray, unit: str, notes: list[str]) -> np.ndarray:
    """Nothing above zero is a code for a closed eye, such as 0 or -1."""
    factor = UNITS["pupil"][unit]
    values = np.where(values > 0, values, np.nan) * factor
    seen = values[np.isfinite(values)]
    if not seen.size:
        return values
    if unit == "au":
        if seen.max() > MOST_ARBITRARY:
            raise SignalError(f"{name}: {seen.max():g} is beyond what any tracker calls a pupil ({MOST_ARBITRARY:g}).")
        return values
    middle = float(np.median(seen))
    if not LEAST_PUPIL <= middle <= MOST_PUPIL:
        likely = ""
        if LEAST_PUPIL <= middle / factor <= MOST_PUPIL:
            likely = "It looks like mm. "
        elif 1000 * LEAST_PUPIL <= middle <= 1000 * MOST_PUPIL:
            likely = "It looks like um. "
        raise SignalError(
            f"unit: pupil is said to be in {unit}, and the median of {name} is {middle / factor:g} {unit}; a pupil is "
            f'1.5 to 9 mm wide. {likely}Give its true unit; "au" for pixels, areas and other arbitrary units.'
        )
    far = (values < LEAST_PUPIL) | (values > MOST_PUPIL)
    if far.any():
        notes.append(
            f"Eye: {int(far.sum())} of {seen.size} values of {name} lie outside {LEAST_PUPIL:g} to {MOST_PUPIL:g} mm "
            "and are taken as not measured."
        )
    return np.where(far, np.nan, values)


def _openness(name: str, values: np.ndarray, unit: str, notes: list[str]) -> np.ndarray:
    values = np.where(values >= 0, values, np.nan)
    most = float(np.nanmax(values)) if np.isfinite(values).any() else 0.0
    if most > 1 + 1e-6:
        raise SignalError(
            f"{name}: expected the part of the eye that is open, 0 (closed) to 1, got up to {most:g}. Divide it by "
            "its value for an open eye (100 for percent)."
        )
    return np.minimum(values, 1.0)


def _gaze(name: str, values: np.ndarray, unit: str, notes: list[str]) -> np.ndarray:
    seen = values[np.isfinite(values)]
    if not seen.size:
        return values
    reach = float(np.abs(seen).max())
    beyond = {"deg": 360.0, "rad": 2 * np.pi, "normalized": 10.0, "px": MOST_ARBITRARY}[unit]
    if reach > beyond:
        likely = {"deg": "pixels", "rad": "deg", "normalized": "pixels", "px": "damage"}[unit]
        raise SignalError(
            f"unit: {COLUMNS[name]} is said to be in {unit}, and {name} reaches {reach:g}; it looks like {likely}. "
            'Give its true unit; pixels become degrees by dividing by the screen\'s pixels in a degree, then say "deg".'
        )
    if unit == "px" and reach <= 2:
        raise SignalError(
            f"unit: gaze is said to be in px, and no value of {name} is beyond {reach:g}; it looks like normalized. "
            "Give its true unit."
        )
    if unit == "deg" and seen.size >= 100 and 0 <= seen.min() and reach <= 1 and np.ptp(seen) > 0.1:
        notes.append(
            f"Eye: all values of {name} lie between {seen.min():.2f} and {reach:.2f} degrees; if they are parts of "
            'the screen, say unit={"gaze": "normalized"}.'
        )
    return values * UNITS["gaze"][unit]


def _listed(names: Sequence[str]) -> str:
    return shorten(", ".join(repr(str(name)) for name in names), 400)
