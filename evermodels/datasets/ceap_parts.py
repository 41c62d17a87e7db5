"""CEAP-360VR as a recipe names it: self-reported valence or arousal, one person left out (protocol 6)."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from evermodels.core.errors import ConfigError
from evermodels.core.specs import EyeSpec, InputSpec
from evermodels.datasets.ceap import CEAP
from evermodels.datasets.download import data_folder
from evermodels.datasets.listed import Entry, Listed, Standardised, one_left_out
from evermodels.datasets.parts import DataSettings, Parts
from evermodels.signals.eye import Reader

HIGH_ABOVE = 5.0
"""Self-report above which a rating counts as high; 5 itself is low."""

SPDX = "cc-by-nc-sa-4.0"
"""Licence of what is trained on it: the stricter of the two readings that the publisher leaves open."""

_LEAST_STD = 1e-6


class GazeWindows:
    """The middle window of each person's look at each video, as a model takes it, read once.

    All videos give a window of one length, so that how long a recording is says nothing. What lies between two
    fixations is not known, so windows are taken however little of their time was measured.

    Args:
        ceap: The recordings.
        spec: What the model takes: fixations, gaze and head; no blinks, no pupils.
        seconds: Length of the window, at most 59 s.

    Raises:
        ConfigError: If the model looks for blinks, or the window is too long.
    """

    def __init__(self, ceap: CEAP, spec: EyeSpec, seconds: float | None) -> None:
        if blinks := [name for name in (*spec.features, *spec.channels) if name.startswith("blink")]:
            raise ConfigError(f"model: it takes {', '.join(blinks)}, and nothing shows blinks in CEAP-360VR.")
        self.ceap, self.seconds = ceap, spec.needed(seconds)
        self._reader = Reader(spec, self.seconds, least_share=0.0)
        self._kept: dict[tuple[str, str], Tensor] = {}

    def __call__(self, person: str, video: str) -> Tensor:
        """Return one window.

        Args:
            person: Id.
            video: Id.

        Raises:
            DataError: If there is no such recording.
            ConfigError: If the window is longer than the recording.
        """
        if (person, video) not in self._kept:
            recording = self._reader.prepare(self.ceap.recording(person, video))
            room = recording.stop - recording.start - self.seconds
            if room < -recording.interval / 2:
                raise ConfigError(
                    f"model: its windows of {self.seconds:g} s are longer than {video} of {person}, "
                    f"{recording.stop - recording.start:.1f} s. Give a model of shorter ones."
                )
            start = recording.start + max(0.0, room / 2)
            self._kept[person, video] = next(self._reader.windows(recording, [start], self.seconds)).tensor
        return self._kept[person, video]

    def rows(self, key: tuple[str, str]) -> tuple[Tensor, Tensor]:
        """Return one window and which of its rows count: all.

        Args:
            key: Person and video.
        """
        window = self(*key)
        return window, torch.ones(len(window), dtype=torch.bool)


@functools.lru_cache(maxsize=2)
def _windows(folder: Path, spec: EyeSpec, seconds: float | None) -> GazeWindows:
    """Each recording is read once for all folds, rows and seeds of a process."""
    return GazeWindows(CEAP(folder), spec, seconds)


@dataclass(frozen=True)
class CEAPSettings(DataSettings):
    """Settings of CEAP-360VR, one person left out; one item for each person and video.

    Args:
        dataset: ``"ceap"``.
        num_workers: Processes that load training batches; 0 loads in the training process.
        target: ``"valence"`` or ``"arousal"``: high is a person's own rating above 5, low is 1 to 5.
        fold: Which of the people, in the order of their numbers, is tested.
        n_validation: How many of the others choose the epoch; 0 where the last is kept.
        person_statistics: Whether each feature is standardised by the person's own windows of all videos. It needs no
            label, but it sees a test person's other videos: such a result is transductive, and is to be called so.
        video: A video that only the test part holds and no other part, such as ``"V1"``; ``""`` for all in every part.
    """

    dataset: Literal["ceap"] = "ceap"
    target: Literal["valence", "arousal"] = "valence"
    fold: int = 0
    n_validation: int = 4
    person_statistics: bool = False
    video: str = ""

    def check(self) -> None:
        """Refuse impossible values."""
        super().check()
        if self.fold < 0:
            raise self.refuse("fold", "0 or more")
        self.at_least(0, "n_validation")

    def told(self) -> dict[str, Any]:
        """Return who was left out, whether the result is transductive, and the licence of what is trained on it."""
        settings = {"target": self.target, "video": self.video, "licence": SPDX}
        return {"dataset": self.dataset, "fold": self.fold, "transductive": self.person_statistics, **settings}

    def parts(self, spec: InputSpec, *, seed: int = 0, data_root: str | os.PathLike[str] | None = None) -> Parts:
        """Build the parts of one fold.

        Args:
            spec: What the model takes.
            seed: Not needed: nothing is drawn.
            data_root: Folder that holds ``ceap``.

        Raises:
            DataError: If the folder or files are missing.
            ConfigError: If the model takes what this data cannot give, or there is no such fold or video.

        Example:
            >>> spec = InputSpec(window_seconds=30.0, eye=EyeSpec(features=("x_std", "head_speed_mean"), seconds=5.0))
            >>> CEAPSettings().parts(spec, data_root="nowhere")
            Traceback (most recent call last):
                ...
            evermodels.core.errors.DataError: ceap: there is no folder 'nowhere/ceap'. ...
        """
        if spec.modalities != ("eye",) or spec.eye is None:
            raise ConfigError(
                f"model: CEAP-360VR is eye movement alone, and the model takes {', '.join(spec.modalities)}."
            )
        windows = _windows(data_folder("ceap", data_root), spec.eye, spec.window_seconds)
        ceap = windows.ceap
        if self.video and self.video not in ceap.videos:
            raise ConfigError(f"data.video: expected one of {', '.join(ceap.videos)}, or '', got {self.video!r}.")
        split = one_left_out(ceap.people, self.fold, self.n_validation)
        keys = {person: [key for key in ceap.ratings if key[0] == person] for person in ceap.people}
        read = _Read(windows, Standardised(windows.rows, keys, _LEAST_STD) if self.person_statistics else None)

        def part(name: str) -> Listed:
            people = split.part(name)
            entries = [
                Entry((person, video), int(getattr(rating, self.target) > HIGH_ABOVE), person)
                for (person, video), rating in sorted(ceap.ratings.items())
                if person in people and (not self.video or (video == self.video) == (name == "test"))
            ]
            return Listed(entries, read, "person")

        classes = (f"low {self.target}", f"high {self.target}")
        return Parts(part("train"), part("validation"), part("test"), classes)


class _Read:
    """What an item holds of a look at a video."""

    def __init__(self, windows: GazeWindows, standardised: Standardised | None) -> None:
        self.windows, self.standardised = windows, standardised

    def __call__(self, entry: Entry) -> dict[str, Any]:
        eye = self.standardised(entry) if self.standardised else self.windows(*entry.key)
        return {"eye": eye, "video": entry.key[1]}
