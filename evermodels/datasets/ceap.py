"""CEAP-360VR: eight 360° videos in a headset, where 32 people looked and how they felt (Xue et al., 2021)."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from evermodels.core.errors import DataError, boundary, did_you_mean, shorten
from evermodels.core.warning import tell_licence
from evermodels.datasets.folders import existing_folder
from evermodels.signals.eye import Eye

LICENCE = "CC BY-NC 4.0 by name, linked to BY-NC-SA 4.0"

RATE = 30.0
"""Samples a second of the recordings that are made of the published lists: the videos' frames (one has 25)."""

HEAD_SECONDS = 0.2
"""Time between two of the published directions of the head."""

_WAY_OUT = "Get it again from the publisher."
_TABLES = re.compile(r"(P\d+)_fixation\.csv(?:\.gz)?")
_JSON = re.compile(r"(P\d+)_Behavior_FixationData\.json")


class Rating(NamedTuple):
    """How a person felt after a video (SAM).

    Attributes:
        valence: 1 to 9.
        arousal: 1 to 9.
    """

    valence: float
    arousal: float


class CEAP:
    """Fixations, directions of the head and self-reports of 32 people who saw eight one-minute 360° videos.

    Xue, El Ali, Zhang, Ding and Cesar, *CEAP-360VR: A Continuous Physiological and Behavioral Emotion Annotation
    Dataset for 360° Videos*, IEEE Transactions on Multimedia, 2021; for non-commercial use, which a warning says when
    it is read. Two layouts are read: the publisher's (``4_BehaviorData/EM_Fixation/P1_Behavior_FixationData.json``, …)
    and tables (``P1_fixation.csv.gz``, ``P1_head.csv.gz``, ``selfreport.csv``, ``videos.csv``).

    The published lists become a recording of samples, 30 a second: ``x``, ``y`` hold the centre of a fixation while it
    lasts and nothing in between, ``fixation`` its number, ``head_x``, ``head_y`` the head's direction between two
    published points on a straight line. The gaze is that in the world, head and eye together. Between two fixations
    nothing is known of the eye, so blinks are not to be looked for. Places in the person's order, lengths and the
    continuous ratings by joystick are not read.

    The label goes with the video: "others' mean rating of this video" alone reaches 0.90 (valence) and 0.81 (arousal),
    and gaze and head tell which video it is. Eight videos cannot show more; never claim emotion recognition of this.

    Args:
        root: The folder.
        people: Ids that must be there (default: everybody in the folder).

    Attributes:
        people: Ids, such as ``"P1"``, in the order of their numbers.

    Raises:
        DataError: If the folder is in neither layout, or a file is missing or damaged; it is named.

    Example:
        >>> CEAP("nowhere")
        Traceback (most recent call last):
            ...
        evermodels.core.errors.DataError: CEAP: 'nowhere' is not a folder. ...
    """

    def __init__(self, root: str | os.PathLike[str], *, people: Sequence[str] | None = None) -> None:
        self.root = existing_folder(root, "CEAP")
        inner = self.root / "CEAP-360VR"
        self._published = not any(_TABLES.fullmatch(path.name) for path in self.root.iterdir())
        if self._published:
            self.root = inner if inner.is_dir() else self.root
            fixations = self.root / "4_BehaviorData" / "EM_Fixation"
            found = {m[1] for path in fixations.glob("*.json") if (m := _JSON.fullmatch(path.name))}
        else:
            found = {m[1] for path in self.root.iterdir() if (m := _TABLES.fullmatch(path.name))}
        self.people = tuple(sorted(found, key=lambda p: int(p[1:]))) if people is None else tuple(people)
        if not self.people:
            raise DataError(
                f"CEAP: {str(self.root)!r} holds neither 4_BehaviorData/EM_Fixation/P1_Behavior_FixationData.json nor "
                "P1_fixation.csv.gz. Give the publisher's folder CEAP-360VR."
            )
        needed = [path for person in self.people for path in self._files(person)]
        needed += [] if self._published else [self._table("selfreport"), self._table("videos")]
        if missing := [path.name for path in needed if not path.is_file()]:
            raise DataError(
                f"CEAP: {str(self.root)!r} lacks {shorten(', '.join(missing), 400)}. Complete the download, or choose "
                "people that are there with people=…."
            )
        tell_licence("CEAP-360VR", LICENCE)

    def __repr__(self) -> str:
        return f"CEAP({len(self.people)} people, {len(self.videos)} videos)"

    def _table(self, name: str) -> Path:
        """Return a table's path, packed or not."""
        path = self.root / f"{name}.csv"
        return path if path.is_file() else self.root / f"{name}.csv.gz"

    def _files(self, person: str) -> tuple[Path, ...]:
        if not self._published:
            return self._table(f"{person}_fixation"), self._table(f"{person}_head")
        behaviour = self.root / "4_BehaviorData"
        return (
            behaviour / "EM_Fixation" / f"{person}_Behavior_FixationData.json",
            behaviour / "HM_ScanPath" / f"{person}_Behavior_HeadScanPathData.json",
            self.root / "2_QuestionnaireData" / f"{person}_Questionnaire_Data.json",
        )

    @cached_property
    def _rates(self) -> dict[str, float]:
        """Frames a second of each video."""
        if self._published:
            listed = _json(self.root / "1_Stimuli" / "VideoInfo.json", "VideoInfo")
        else:
            listed = list(_rows(self._table("videos")))
        with _readable("VideoInfo"):
            rates = {str(row["VideoID"]): float(row["FrameRate"]) for row in listed}
            if not all(1 <= rate <= 1000 for rate in rates.values()):
                raise ValueError(f"frame rates {rates}")
            return rates

    @cached_property
    def ratings(self) -> dict[tuple[str, str], Rating]:
        """What each person reported after each video, by person and video.

        Raises:
            DataError: If a table is damaged, or a rating is not in 1 to 9.
        """
        found: dict[tuple[str, str], Rating] = {}
        if self._published:
            for person in self.people:
                for answers in _json(self._files(person)[2], "QuestionnaireData"):
                    with _readable(f"{person}_Questionnaire_Data.json"):
                        for one in answers["Video_SAMRating_VideoTime_Data"]:
                            rating = Rating(float(one["ValenceValue"]), float(one["ArousalValue"]))
                            found[person, str(one["VideoID"])] = rating
        else:
            with _readable("selfreport.csv"):
                for row in _rows(self._table("selfreport")):
                    rating = Rating(float(row["valence"]), float(row["arousal"]))
                    found[row["person"], row["video"]] = rating
        found = {key: rating for key, rating in found.items() if key[0] in self.people}
        if odd := [key for key, rating in found.items() if not all(1 <= value <= 9 for value in rating)]:
            raise DataError(f"CEAP: the rating of {odd[0]} is {found[odd[0]]}, and SAM goes from 1 to 9. {_WAY_OUT}")
        if lacking := [person for person in self.people if not any(p == person for p, _ in found)]:
            raise DataError(f"CEAP: nothing was reported by {', '.join(lacking)}. {_WAY_OUT}")
        return found

    @property
    def videos(self) -> tuple[str, ...]:
        """Ids of the rated videos, sorted."""
        return tuple(sorted({video for _, video in self.ratings}))

    def recording(self, person: str, video: str) -> Eye:
        """Return where a person looked during a video.

        Args:
            person: Id, such as ``"P1"``.
            video: Id, such as ``"V1"``.

        Raises:
            DataError: If there is no such person or video, or a file is damaged.
            SignalError: If the numbers cannot be directions in degrees.
        """
        if person not in self.people:
            raise DataError(f"person: {person!r} is not there.{did_you_mean(person, self.people)}")
        if video not in self._rates:
            raise DataError(f"video: expected one of {', '.join(self._rates)}, got {video!r}.")
        fixations, head = self._behaviour(person)
        if video not in fixations or video not in head:
            raise DataError(f"CEAP: there is no recording of {person} with {video}. {_WAY_OUT}")
        return _eye(fixations[video], head[video], self._rates[video])

    def _behaviour(self, person: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Return fixations (first and last frame, pitch, yaw) and the head (pitch, yaw) by video."""
        if person not in self._read:
            fixation, head = self._files(person)[:2]
            if self._published:
                fixed = _of_json(fixation, "Behavior_FixationData", "Video_Behavior_FixationData", "Fixation")
                moved = _of_json(head, "Behavior_HeadScanPath_Data", "Video_Behavior_ScanPath_Data", "ID_Pitch_Yaw")
                keys = ("StartFrame", "EndFrame", "Pitch", "Yaw"), ("ID", "Pitch", "Yaw")
            else:
                fixed, moved = _of_table(fixation), _of_table(head)
                keys = ("start_frame", "end_frame", "pitch", "yaw"), ("id", "pitch", "yaw")
            self._read[person] = _numbers(fixed, keys[0], fixation), _numbers(moved, keys[1], head)
        return self._read[person]

    @cached_property
    def _read(self) -> dict[str, tuple[dict[str, np.ndarray], dict[str, np.ndarray]]]:
        return {}


def _eye(fixations: np.ndarray, head: np.ndarray, rate: float) -> Eye:
    # As many samples as the head has: it is published at an even rate for the whole video.
    count = round(len(head) * HEAD_SECONDS * RATE)
    times = np.arange(count) / RATE
    x, y, marks = np.full(count, np.nan), np.full(count, np.nan), np.zeros(count)
    for number, (first, last, pitch, yaw) in enumerate(fixations):
        # Both frames lie inside; a sample belongs to the frame that is shown when it is taken.
        a, b = np.searchsorted(times, [first / rate - 1e-6, (last + 1) / rate - 1e-6])
        x[a:b], y[a:b], marks[a:b] = yaw, pitch, number + 1
    points = (head[:, 0] - 1) * HEAD_SECONDS
    yaw = np.interp(times, points, np.unwrap(head[:, 2], period=360.0))
    columns = {
        **{"time": times, "x": x, "y": y, "fixation": marks},
        **{"head_x": (yaw + 180) % 360 - 180, "head_y": np.interp(times, points, head[:, 1])},
    }
    return Eye(columns, unit={"time": "s", "gaze": "deg", "head": "deg"})


def _readable(name: str) -> Any:
    return boundary(DataError, f"CEAP: {name} cannot be read", _WAY_OUT)


def _rows(path: Path) -> Iterator[Mapping[str, str]]:
    with _readable(path.name):
        opened = gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")
        with io.TextIOWrapper(opened, encoding="utf-8-sig", newline="") as file:
            yield from csv.DictReader(file)


def _json(path: Path, key: str) -> list[Any]:
    with _readable(path.name):
        listed = json.loads(path.read_text(encoding="utf-8-sig"))[key]
        if not isinstance(listed, list):
            raise TypeError(f"{key} is no list")
        return listed


def _of_json(path: Path, whole: str, videos: str, series: str) -> dict[str, list[Mapping[str, Any]]]:
    with _readable(path.name):
        return {str(one["VideoID"]): one[series] for person in _json(path, whole) for one in person[videos]}


def _of_table(path: Path) -> dict[str, list[Mapping[str, Any]]]:
    by_video: dict[str, list[Mapping[str, Any]]] = {}
    with _readable(path.name):
        for row in _rows(path):
            by_video.setdefault(row["video"], []).append(row)
    return by_video


def _numbers(by_video: Mapping[str, list[Any]], keys: Sequence[str], path: Path) -> dict[str, np.ndarray]:
    with _readable(path.name):
        numbers = {
            video: np.array([[float(row[key]) for key in keys] for row in rows]).reshape(-1, len(keys))
            for video, rows in by_video.items()
        }
        for video, values in numbers.items():
            if not len(values) or not np.isfinite(values).all() or (np.diff(values[:, 0]) <= 0).any():
                raise ValueError(f"{video}: rows are missing, not finite, or not in order of time")
        return numbers
