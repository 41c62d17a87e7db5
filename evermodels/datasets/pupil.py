"""Pupil and openness of the eyes in virtual reality, with and without mental arithmetic (Gebraad, 2023)."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from evermodels.core.errors import ConfigError, DataError, did_you_mean
from evermodels.core.specs import EyeSpec
from evermodels.datasets.folders import existing_folder
from evermodels.signals.eye import Eye, Reader
from evermodels.signals.eye.reader import LEAST_SHARE
from evermodels.signals.room import covers, grid

CONDITIONS = ("control", "arithmetic", "npc", "noise", "combined")
"""What a person did: nothing, mental arithmetic, being watched by a figure, hearing noise, all of it."""

COLUMNS = {
    "time": "seconds",
    "openness_left": "openness_left",
    "openness_right": "openness_right",
    "pupil_left": "pupil_left_mm",
    "pupil_right": "pupil_right_mm",
}
"""The tables' columns by the names of :mod:`evermodels.signals.eye`."""

UNIT = {"time": "s", "pupil": "mm"}

_FILE = re.compile(r"P(\d+)_([a-z]+)\.csv(?:\.gz)?", re.IGNORECASE)


class Pupil:
    """Eye openness and pupil diameter of 24 people in virtual reality, in five conditions.

    S. Gebraad, *Eye-tracking data analysis*, 2023, MIT. A folder holds a table for each person and condition,
    ``P1_control.csv`` or ``.csv.gz``: seconds, openness of each eye (0..1), pupil of each eye in mm (-1: closed), about
    88 times a second, irregular, with holes of a second.

    What tells the conditions apart is in blinks and openness; the absolute size of the pupil is at chance across
    people. How long a recording is gives the condition away, and must never become a feature.

    Args:
        root: The folder.
        conditions: Which conditions to read; each must be there for each person.
        people: Ids that must be there (default: everybody in the folder).

    Attributes:
        people: Ids, such as ``"P1"``, in the order of their numbers.

    Raises:
        DataError: If the folder is not in this layout, or tables are missing; they are named.
        ConfigError: If a condition is unknown.

    Example:
        >>> Pupil("nowhere")
        Traceback (most recent call last):
            ...
        evermodels.core.errors.DataError: Pupil: 'nowhere' is not a folder. ...
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        conditions: Sequence[str] = ("control", "arithmetic"),
        people: Sequence[str] | None = None,
    ) -> None:
        self.root = existing_folder(root, "Pupil")
        self.conditions = (conditions,) if isinstance(conditions, str) else tuple(conditions)
        for condition in self.conditions:
            if condition not in CONDITIONS:
                raise ConfigError(
                    f"conditions: expected some of {', '.join(CONDITIONS)}, got {conditions!r}."
                    f"{did_you_mean(str(condition), CONDITIONS)}"
                )
        found: dict[tuple[str, str], Path] = {}
        for path in sorted(self.root.iterdir()):
            match = _FILE.fullmatch(path.name)
            if match and path.is_file():
                found.setdefault((f"P{int(match[1])}", match[2].lower()), path)
        there = sorted({person for person, _ in found}, key=lambda person: int(person[1:]))
        self.people = tuple(there) if people is None else tuple(people)
        if not self.people or not found:
            raise DataError(
                f"Pupil: {str(self.root)!r} holds no P1_control.csv or P1_control.csv.gz. Give the folder with a table "
                "for each person and condition."
            )
        missing = [f"{p}_{c}.csv" for p in self.people for c in self.conditions if (p, c) not in found]
        if missing:
            raise DataError(
                f"Pupil: {str(self.root)!r} lacks {', '.join(missing)}. Complete the folder, or choose people and "
                "conditions that are there with people=… and conditions=…."
            )
        self._files = found

    def __repr__(self) -> str:
        return f"Pupil({len(self.people)} people, {', '.join(self.conditions)})"

    def path(self, person: str, condition: str) -> Path:
        """Return the table of one recording.

        Args:
            person: Id, such as ``"P1"``.
            condition: Such as ``"control"``.

        Raises:
            DataError: If there is no such person or condition.
        """
        if condition not in self.conditions:
            raise DataError(f"condition: expected one of {', '.join(self.conditions)}, got {condition!r}.")
        if person not in self.people:
            raise DataError(f"person: {person!r} is not there.{did_you_mean(person, self.people)}")
        return self._files[person, condition]

    def recording(self, person: str, condition: str) -> Eye:
        """Return one recording.

        Args:
            person: Id, such as ``"P1"``.
            condition: Such as ``"control"``.

        Raises:
            DataError: If there is no such person or condition.
            SignalError: If the table is damaged, empty, or holds values of another unit.
        """
        return Eye(self.path(person, condition), columns=COLUMNS, unit=UNIT)


class EyeWindows:
    """The windows of a person's recordings as a model takes them, each read and kept once.

    Windows of which less than half was measured are left out, as everywhere.

    Args:
        pupil: The recordings.
        spec: What the model takes.
        seconds: Length of a window.
        overlap: Part of a window that it shares with the next one.
        least_share: Part of a window that must be measured.

    Raises:
        ConfigError: If the spec asks for what such recordings do not have.
    """

    def __init__(
        self,
        pupil: Pupil,
        spec: EyeSpec,
        seconds: float | None,
        *,
        overlap: float = 0.0,
        least_share: float = LEAST_SHARE,
    ) -> None:
        self.pupil, self.spec, self.seconds, self.overlap = pupil, spec, spec.needed(seconds), overlap
        self._reader = Reader(spec, self.seconds, eye_table={"columns": COLUMNS, "unit": UNIT}, least_share=least_share)
        self._kept: dict[tuple[str, str], tuple[tuple[float, ...], Tensor]] = {}

    def starts(self, person: str, condition: str) -> tuple[float, ...]:
        """Return where the usable windows of one recording begin, in seconds.

        Args:
            person: Id.
            condition: The condition.

        Raises:
            DataError: If there is no such recording, or it has no usable window.
        """
        return self._read(person, condition)[0]

    def window(self, person: str, condition: str, start: float) -> Tensor:
        """Return one window as the spec says.

        Args:
            person: Id.
            condition: The condition.
            start: Where it begins, one of :meth:`starts`.
        """
        starts, windows = self._read(person, condition)
        return windows[starts.index(start)]

    def _read(self, person: str, condition: str) -> tuple[tuple[float, ...], Tensor]:
        if (person, condition) not in self._kept:
            recording = self._reader.prepare(self.pupil.recording(person, condition))
            starts = grid(recording, self.seconds, self.overlap)
            starts = starts[covers(recording, starts, self.seconds)]
            windows = list(self._reader.windows(recording, starts.tolist(), self.seconds))
            usable = [(float(s), w.tensor) for s, w in zip(starts, windows, strict=True) if w.usable]
            if not usable:
                raise DataError(
                    f"Pupil: {person}, {condition}: no window of {self.seconds:g} s was measured for at least half of "
                    "its time. Leave the person out, or take shorter windows."
                )
            self._kept[person, condition] = tuple(s for s, _ in usable), torch.stack([t for _, t in usable])
        return self._kept[person, condition]
