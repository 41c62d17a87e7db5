"""Muse headband EEG of attention and ERP experiments (eeg-notebooks), as published or as EDF, without labels."""

from __future__ import annotations

import csv
import itertools
import os
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from evermodels import montage
from evermodels.core.errors import ConfigError, DataError, boundary, did_you_mean
from evermodels.core.specs import EEGSpec
from evermodels.datasets.folders import existing_folder
from evermodels.datasets.unlabelled import Cut, UnlabelledWindows, cut
from evermodels.signals.eeg import EEG, Reader

SFREQ = 256.0
LIMIT = 999.0
"""Magnitude in µV at which the headband's 12-bit counts end (0.49 µV each, -1000 to 999.5)."""
GAP = 0.1
"""Seconds between two time stamps from which on there is a gap."""

_EDF = re.compile(r"^([a-z]+)-([A-Za-z0-9_]+?)_(subject\d+)_(session\d+)_\d+\.edf$")


class MuseFile(NamedTuple):
    """One recording.

    Args:
        path: The file.
        modality: ``"visual"`` or ``"auditory"``.
        task: Such as ``"P300"``.
        subject: Folder of the person, such as ``"subject1"``; of two tasks it need not be the same person.
        session: Such as ``"session1"``.
        longest_gap: Longest pause between two samples in seconds, where a table says it.
    """

    path: Path
    modality: str
    task: str
    subject: str
    session: str
    longest_gap: float = 0.0

    @property
    def person(self) -> str:
        """Whose it is: the subject's folder within its task."""
        return f"{self.modality}-{self.task}/{self.subject}"


class Muse:
    """EEG of Muse headbands: TP9, AF7, AF8, TP10 at 256 Hz.

    A. Barachant and NeuroTechX, eeg-notebooks v0.1, BSD 3-Clause. Read are the publisher's folders
    (``visual/P300/subject1/session1/*.csv`` with the columns ``timestamps``, ``TP9``, …), in which pauses show in the
    time stamps, and EDF versions named ``visual-P300_subject1_session1_000.edf`` beside a ``recordings.csv``, whose
    column ``max_gap_s`` says that a recording has a pause, not where: such a one is left out whole.

    Args:
        root: The folder.
        task: Which tasks to read (default: all).
        sfreq: Sampling rate in Hz that recordings are brought to.
        window_seconds: Length of a window.
        l_freq: Lower edge of the band-pass in Hz, or ``None``; without it the headband's offset stays.
        h_freq: Upper edge of the band-pass in Hz, or ``None``.

    Raises:
        DataError: If the folder holds no such files, or has no such task.

    Example:
        >>> Muse("nowhere")
        Traceback (most recent call last):
            ...
        evermodels.core.errors.DataError: Muse: 'nowhere' is not a folder. ...
    """

    ch_names = montage.MONTAGES["muse"]

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        task: Sequence[str] | None = None,
        sfreq: float = 200.0,
        window_seconds: float = 5.0,
        l_freq: float | None = 0.5,
        h_freq: float | None = 45.0,
    ) -> None:
        self.root = existing_folder(root, "Muse")
        self._reader = Reader(EEGSpec(self.ch_names, sfreq, l_freq=l_freq, h_freq=h_freq), window_seconds)
        self._reader.spec.check_window(window_seconds)
        files = self._edf() or self._published()
        if not files:
            raise DataError(
                f"Muse: {str(self.root)!r} holds neither visual-P300_subject1_session1_000.edf and the like nor "
                "visual/P300/subject1/session1/*.csv. Give the folder of eeg-notebooks' data."
            )
        tasks = sorted({file.task for file in files})
        for name in task or ():
            if name not in tasks:
                raise DataError(f"task: {name!r} is not there.{did_you_mean(name, tasks)} It has {', '.join(tasks)}.")
        self.files = tuple(file for file in files if task is None or file.task in task)

    def __repr__(self) -> str:
        return f"Muse({len(self.files)} recordings of {len({file.person for file in self.files})} people's folders)"

    def _edf(self) -> list[MuseFile]:
        gaps: dict[str, float] = {}
        table = self.root / "recordings.csv"
        if table.is_file():
            with (
                boundary(DataError, "Muse: recordings.csv cannot be read", "Download it again."),
                table.open(newline="", encoding="utf-8-sig") as file,
            ):
                gaps = {row["file"]: float(row["max_gap_s"]) for row in csv.DictReader(file)}
        found = []
        for path in sorted(self.root.glob("*.edf")):
            if match := _EDF.match(path.name):
                modality, task, subject, session = match.groups()
                found.append(MuseFile(path, modality, task, subject, session, gaps.get(path.name, 0.0)))
        return found

    def _published(self) -> list[MuseFile]:
        found = []
        for path in sorted(self.root.glob("*/*/subject*/session*/*.csv")):
            modality, task, subject, session = path.parts[-5:-1]
            found.append(MuseFile(path, modality, task, subject, session))
        return found

    def recording(self, file: MuseFile) -> EEG:
        """Return one recording; pauses part it into segments.

        Args:
            file: One of :attr:`files`.

        Raises:
            DataError: If a table lacks a column, or its time stamps do not rise.
            SignalError: If the file cannot be read.
        """
        return self._reader.open(file.path) if file.path.suffix == ".edf" else _read_table(file.path, self.ch_names)

    def windows(self, file: MuseFile) -> Cut:
        """Return the windows of one recording, without those that hold a gap or reach the amplifier's limit.

        Args:
            file: One of :attr:`files`.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # on what is left out, which is counted here
            recording = self.recording(file)
        seconds = self._reader.window_seconds
        if seconds is None or file.longest_gap > GAP:
            count = int(recording.duration / (seconds or recording.duration))
            shape = (0, len(self.ch_names), round((seconds or 0) * self._reader.spec.sfreq))
            return Cut(np.zeros(shape, dtype=np.float32), {"gap": count, "saturated": 0})
        return cut(self._reader, recording, limit=LIMIT)

    def unlabelled(self) -> UnlabelledWindows:
        """Return the windows of all recordings.

        Raises:
            DataError: If none is left.
        """
        return UnlabelledWindows.joined(
            [(file.person, self.windows(file)) for file in self.files], self.ch_names, "Muse"
        )


def _read_table(path: Path, ch_names: Sequence[str]) -> EEG:
    way_out = f"It should have the columns timestamps, {', '.join(ch_names)}; download it again."
    with boundary(DataError, f"Muse: {path.name} cannot be read", way_out):
        with path.open(newline="", encoding="utf-8-sig") as file:
            header = next(csv.reader(file))
            columns = [header.index(name) for name in ("timestamps", *ch_names)]
            values = np.loadtxt(file, delimiter=",", usecols=columns, ndmin=2)
        times, data = values[:, 0], values[:, 1:].T
        steps = np.diff(times)
        if not (steps >= 0).all():
            raise ConfigError("its time stamps do not rise")
    breaks = np.flatnonzero(steps > GAP) + 1
    edges = [0, *breaks.tolist(), len(times)]
    segments = [(a, b) for a, b in itertools.pairwise(edges) if b > a]
    onsets = [float(times[a] - times[0]) for a, _ in segments]
    return EEG.from_microvolts(data, tuple(ch_names), SFREQ, segments, onsets=onsets)
