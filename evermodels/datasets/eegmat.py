"""EEGMAT: 36 people at rest and during mental arithmetic (PhysioNet), in the publisher's layout."""

from __future__ import annotations

import csv
import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evermodels import montage
from evermodels.core.errors import ConfigError, DataError, did_you_mean
from evermodels.core.specs import EEGSpec
from evermodels.datasets.folders import existing_folder
from evermodels.signals.eeg import EEG, Reader
from evermodels.signals.eeg.whitening import SHORTEST, Whitening, log_power

STATES = ("rest", "arithmetic")
"""Names of the states, in the order of the publisher's file numbers 1 and 2."""

BASELINE = "rest"
"""The state whose beginning can serve as a person's baseline."""

_FILE = re.compile(r"^Subject(\d{2})_([12])\.edf$", re.IGNORECASE)
_LATEST = 4  # filters that are kept: four matched items of the quadrant pairs share two


class Stretch(NamedTuple):
    """A part of a person's rest that serves as baseline.

    Args:
        start: Its begin in whole seconds.
        seconds: Its length in whole seconds.
    """

    start: int
    seconds: int


class EEGMAT:
    """EEG at rest and during serial subtraction, windowed by person and state.

    Zyma et al., *Electroencephalograms during Mental Arithmetic Task Performance*, Data 4(1):14, 2019; PhysioNet
    ``eegmat``, ODC-By 1.0. A folder holds ``SubjectNN_1.edf`` (rest), ``SubjectNN_2.edf`` (arithmetic) and
    ``subject-info.csv``. Both the published 500 Hz files with 21 signals and versions resampled or without the ECG are
    read; channels are found by name. Each recording is decoded once and kept in memory as float32.

    A label is a whole recording and rest always comes first, so state, time and recording are confounded; the lengths
    differ by state, so a length must never become a feature.

    Args:
        root: The folder.
        task: Which states to read; each chosen state must be there for each person.
        ch_names: Channels in the wanted order, any spelling (default: the 19 on the scalp).
        sfreq: Sampling rate in Hz that recordings are brought to.
        window_seconds: Length of a window in seconds.
        overlap: Part of a window that it shares with the next one, in 0..1.
        l_freq: Lower edge of a band-pass in Hz, or ``None`` (the publisher has cut below 0.5 Hz and above 45 Hz).
        h_freq: Upper edge of a band-pass in Hz, or ``None``.
        notch: Mains frequency to remove in Hz, or ``None``.
        reference: ``"as recorded"``, or ``"average"`` to subtract the mean over the chosen channels.
        whiten: Whether each channel's spectrum is divided by the person's own, see
            :class:`evermodels.signals.Whitening`.
        baseline: Where that spectrum is taken from: ``"rest"`` for the first ``baseline_seconds`` of the person's rest,
            ``""`` for all recordings of the person that ``task`` names, each counting alike. The latter sees the whole
            of a test person's recordings and knows where the states begin, so its results are transductive.
        baseline_seconds: Length of everybody's baseline, at the beginning of the rest. No window is cut there, whether
            the baseline is used or not, so that results with and without it are of the same windows.
        subjects: Ids that must be there (default: everybody in the folder).

    Raises:
        DataError: If the folder is not in this layout, or files are missing; they are named.
        ConfigError: If a number is impossible.

    Example:
        >>> EEGMAT("nowhere")
        Traceback (most recent call last):
            ...
        evermodels.core.errors.DataError: EEGMAT: 'nowhere' is not a folder. ...
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        task: Sequence[str] = STATES,
        ch_names: Sequence[str] | None = None,
        sfreq: float = 200.0,
        window_seconds: float = 5.0,
        overlap: float = 0.0,
        l_freq: float | None = None,
        h_freq: float | None = None,
        notch: float | None = None,
        reference: Literal["as recorded", "average"] = "as recorded",
        whiten: bool = False,
        baseline: str = "",
        baseline_seconds: float = 0.0,
        subjects: Sequence[str] | None = None,
    ) -> None:
        self.root = existing_folder(root, "EEGMAT")
        self.task = (task,) if isinstance(task, str) else tuple(task)
        if not self.task or any(state not in STATES for state in self.task):
            raise ConfigError(f"task: expected some of {', '.join(STATES)}, got {task!r}.")
        if not sfreq > 0 or not window_seconds > 0:
            raise ConfigError(f"sfreq, window_seconds: expected positive numbers, got {sfreq} and {window_seconds}.")
        if not 0 <= overlap < 1:
            raise ConfigError(f"overlap: expected a part of the window in [0, 1), got {overlap}.")
        if reference not in ("as recorded", "average"):
            raise ConfigError(f"reference: expected 'as recorded' or 'average', got {reference!r}.")
        _check_baseline(whiten, baseline, baseline_seconds, self.task)
        self.baseline, self.baseline_seconds = baseline, float(baseline_seconds)
        self.ch_names = montage.canonical_all(montage.preset("eegmat") if ch_names is None else ch_names)
        self.sfreq, self.window_seconds, self.overlap = float(sfreq), float(window_seconds), float(overlap)
        self.whiten = whiten
        # The way of a model's own preprocessing: same filters, same order.
        spec = EEGSpec(self.ch_names, self.sfreq, l_freq=l_freq, h_freq=h_freq, notch=notch, reference=reference)
        self._reader = Reader(spec, self.window_seconds)
        self.window_samples = round(self.window_seconds * self.sfreq)
        self.step_samples = max(1, round(self.window_samples * (1 - self.overlap)))
        self._files = self._index(subjects)
        self._recordings: dict[tuple[str, str], NDArray[np.float32]] = {}
        self._centred: dict[tuple[str, str], NDArray[np.float32]] = {}
        self._log_power: dict[str, NDArray[np.float32]] = {}
        self._latest: dict[tuple[str, int, int], Whitening] = {}

    def __repr__(self) -> str:
        return (
            f"EEGMAT({len(self.subjects)} people, {len(self.ch_names)} channels, {self.sfreq:g} Hz, "
            f"windows of {self.window_seconds:g} s)"
        )

    def _index(self, subjects: Sequence[str] | None) -> dict[tuple[str, str], Path]:
        files: dict[tuple[str, str], Path] = {}
        for path in sorted(self.root.iterdir()):
            match = _FILE.match(path.name)
            if match and path.is_file():
                files[match[1], STATES[int(match[2]) - 1]] = path
        people = tuple(subjects) if subjects is not None else tuple(sorted({person for person, _ in files}))
        if not people:
            raise DataError(
                f"EEGMAT: {str(self.root)!r} holds no SubjectNN_1.edf or SubjectNN_2.edf. Give the folder into which "
                f"the files of PhysioNet's 'eegmat' were put."
            )
        missing = [
            f"Subject{person}_{STATES.index(state) + 1}.edf"
            for person in people
            for state in self.task
            if (person, state) not in files
        ]
        if missing:
            raise DataError(
                f"EEGMAT: {str(self.root)!r} lacks {', '.join(missing)}. Complete the download, or choose people and "
                f"states that are there with subjects=… and task=…."
            )
        empty = [files[key].name for key in files if key[0] in people and key[1] in self.task and not _size(files[key])]
        if empty:
            raise DataError(f"EEGMAT: {', '.join(empty)} in {str(self.root)!r} is empty. Download it again.")
        self.subjects = people
        return files

    @property
    def info(self) -> dict[str, dict[str, str]]:
        """The publisher's table ``subject-info.csv``: its columns by person, as text.

        Raises:
            DataError: If the table is missing, or lacks somebody.
        """
        path = self.root / "subject-info.csv"
        if not path.is_file():
            raise DataError(f"EEGMAT: {str(self.root)!r} lacks subject-info.csv. Complete the download.")
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = {row.get("Subject", "").removeprefix("Subject"): row for row in csv.DictReader(file)}
        missing = [person for person in self.subjects if person not in rows]
        if missing:
            raise DataError(f"EEGMAT: subject-info.csv has no line for {', '.join(missing)}. Download it again.")
        return {person: rows[person] for person in self.subjects}

    def path(self, subject: str, state: str) -> Path:
        """Return the file of one recording.

        Args:
            subject: Id, such as ``"07"``.
            state: ``"rest"`` or ``"arithmetic"``.

        Raises:
            DataError: If there is no such person or state.
        """
        if state not in self.task:
            raise DataError(
                f"state: expected one of {', '.join(self.task)}, got {state!r}.{did_you_mean(state, STATES)}"
            )
        if subject not in self.subjects:
            raise DataError(
                f"subject: {subject!r} is not there.{did_you_mean(subject, self.subjects)} "
                f"Ids go from {self.subjects[0]!r} to {self.subjects[-1]!r}."
            )
        return self._files[subject, state]

    def recording(self, subject: str, state: str) -> NDArray[np.float32]:
        """Return one whole recording, ``(channels, time)`` in µV, read-only.

        Args:
            subject: Id, such as ``"07"``.
            state: ``"rest"`` or ``"arithmetic"``.

        Raises:
            DataError: If there is no such person or state, or the recording is shorter than a window.
            SignalError: If the file is cut short or lacks a channel.
        """
        self.path(subject, state)  # refuses who and what is not there
        if (subject, state) not in self._recordings:
            self._read(subject, [state] if not self.whiten else self.task)
        return self._recordings[subject, state]

    def _read(self, subject: str, states: Sequence[str]) -> None:
        recordings = {state: self._filtered(self.path(subject, state)) for state in states}
        if self.whiten:
            whitening = self._whitening(subject, recordings)
            recordings = {state: whitening(recording) for state, recording in recordings.items()}
        for state, recording in recordings.items():
            data = np.array(recording.data, dtype=np.float32)
            data.flags.writeable = False
            self._recordings[subject, state] = data

    def _whitening(self, subject: str, recordings: Mapping[str, EEG]) -> Whitening:
        if not self.baseline:
            return Whitening.fit(list(recordings.values()))
        whole = recordings[self.baseline]
        seconds = self.baseline_seconds
        if whole.duration < seconds + self.window_seconds:
            raise DataError(
                f"EEGMAT: the rest of {subject} lasts {whole.duration:.1f} s, less than a baseline of {seconds:g} s "
                f"and a window of {self.window_seconds:g} s. Choose a shorter baseline_seconds or other people."
            )
        for state, recording in recordings.items():
            centred = recording.data - recording.data.mean(axis=1, keepdims=True)
            self._centred[subject, state] = centred
        self._log_power[subject] = log_power(whole).astype(np.float32)
        return Whitening.fit(whole.changed(data=whole.data[:, : round(seconds * self.sfreq)], segments=(), onsets=()))

    def rest_seconds(self, subject: str) -> int:
        """Return the length of a person's rest in whole seconds, of which a :class:`Stretch` can be a baseline."""
        return int(self.num_samples(subject, BASELINE) / self.sfreq)

    def window(self, subject: str, state: str, start: int, *, baseline: Stretch | None = None) -> NDArray[np.float32]:
        """Return one window, ``(channels, time)`` in µV, read-only unless another baseline is given.

        Args:
            subject: Id, such as ``"07"``.
            state: ``"rest"`` or ``"arithmetic"``.
            start: Its first sample, anywhere in the recording.
            baseline: Another part of the person's rest to whiten by, as training draws it; only with
                ``baseline="rest"``.

        Raises:
            ConfigError: If a baseline is given and the data set is not whitened by one.
            DataError: If there is no such person or state.
        """
        stop = start + self.window_samples
        if baseline is None:
            return self.recording(subject, state)[:, start:stop]
        if not self.baseline:
            raise ConfigError('baseline: expected None, as the data set has no baseline="rest"; leave it out.')
        self.recording(subject, state)  # reads what is used here
        filters = self._filters(subject, baseline)
        return filters.filter(self._centred[subject, state], start, stop).astype(np.float32)

    def _filters(self, subject: str, baseline: Stretch) -> Whitening:
        key = (subject, *baseline)
        if key not in self._latest:
            # A stretch of log_power begins every second and lasts two.
            rows = self._log_power[subject][baseline.start : baseline.start + baseline.seconds - 1]
            mean = rows.mean(axis=0, dtype=np.float64)
            if len(self._latest) == _LATEST:
                self._latest.pop(next(iter(self._latest)))
            self._latest[key] = Whitening.of(mean, self.ch_names, self.sfreq, float(baseline.seconds))
        return self._latest[key]

    def _filtered(self, path: Path) -> EEG:
        recording = self._reader.prepare(self._reader.open(path))
        if recording.data.shape[1] < self.window_samples:
            raise DataError(
                f"EEGMAT: {path.name} lasts {recording.duration:.1f} s, less than a window of "
                f"{self.window_seconds:g} s. Download it again, or choose a shorter window_seconds."
            )
        return recording

    def num_samples(self, subject: str, state: str) -> int:
        """Return the length of one recording in samples at :attr:`sfreq`."""
        return int(self.recording(subject, state).shape[1])

    def window_starts(self, subject: str, state: str) -> NDArray[np.int64]:
        """Return the first sample of each whole window of one recording, after the baseline."""
        last = self.num_samples(subject, state) - self.window_samples
        first = round(self.baseline_seconds * self.sfreq) if state == BASELINE else 0
        return np.arange(first, last + 1, self.step_samples)

    def windows(self, subject: str, state: str) -> NDArray[np.float32]:
        """Return the whole windows of one recording in order, ``(windows, channels, time)`` in µV.

        Args:
            subject: Id, such as ``"07"``.
            state: ``"rest"`` or ``"arithmetic"``.
        """
        starts = self.window_starts(subject, state).tolist()
        return np.stack([self.window(subject, state, start) for start in starts])

    def preload(self) -> EEGMAT:
        """Decode every recording now, for example before data-loading workers are forked; returns itself."""
        for subject in self.subjects:
            for state in self.task:
                self.recording(subject, state)
        return self


def _check_baseline(whiten: bool, baseline: str, seconds: float, task: Sequence[str]) -> None:
    if not (math.isfinite(seconds) and seconds >= 0):
        raise ConfigError(f"baseline_seconds: expected 0 or more, got {seconds!r}.")
    if baseline not in ("", BASELINE):
        raise ConfigError(f"baseline: expected {BASELINE!r} or '', got {baseline!r}.")
    if baseline and not whiten:
        raise ConfigError("baseline: it is what whitening goes by; give whiten=True, or leave it out.")
    if baseline and BASELINE not in task:
        raise ConfigError(f"task: expected {BASELINE!r} among it, which is the baseline, got {', '.join(task)}.")
    if baseline and seconds < SHORTEST:
        raise ConfigError(f"baseline_seconds: expected at least {SHORTEST:g}, got {seconds:g}. 60 is a minute.")


def _size(path: Path) -> int:
    return path.stat().st_size
