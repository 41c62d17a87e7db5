"""The manifest of a person's own data: a TOML file that lists recordings, labels, people and start times."""

from __future__ import annotations

import csv
import hashlib
import inspect
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from evermodels.core.config import Config
from evermodels.core.errors import ConfigError, DataError, boundary, did_you_mean
from evermodels.core.specs import MODALITIES, InputSpec
from evermodels.datasets.parts import DataSettings, Parts
from evermodels.datasets.recordings import File, Recordings, Segment, Session, check_files
from evermodels.datasets.splits import PARTS, SubjectSplit, subject_folds
from evermodels.signals.room import reader_class

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_LARGEST_FILE = 10_000_000
_WAY_OUT = "Write it in UTF-8 as the guide on own data shows."


@dataclass(frozen=True)
class _Segment(Config):
    start: float
    stop: float
    label: str


@dataclass(frozen=True)
class _Entry(Config):
    person: str
    recordings: Mapping[str, Any]
    label: str | None = None
    segments: str | tuple[_Segment, ...] = ()
    events: Mapping[str, str] = field(default_factory=dict)
    baseline: Any = None


@dataclass(frozen=True)
class _Split(Config):
    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]


class Manifest(NamedTuple):
    """What a manifest says.

    Args:
        sessions: The recordings.
        classes: Names of the classes in their order, or ``None`` for the labels, sorted.
        split: The people of each part, or ``None`` for folds.
        sha256: Digest of the file.
    """

    sessions: list[Session]
    classes: tuple[str, ...] | None
    split: SubjectSplit | None
    sha256: str

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.classes or tuple(sorted({label for s in self.sessions for label in _labels(s)}))

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels that all recordings have, of the first modality whose channels have names; reads them.

        Raises:
            DataError: If there are such recordings, and no channel is in all of them.
            SignalError: If a recording cannot be read.
        """
        for modality in MODALITIES:
            reader = reader_class(modality)
            files = [(s.name, s.recordings[modality]) for s in self.sessions if modality in s.recordings]
            every = [reader.channels(file.path, **file.form) for _, file in files]
            if not any(every):
                continue
            common = tuple(name for name in every[0] if all(name in names for names in every))
            if not common:
                raise DataError(
                    f"ch_names: no channel of {files[0][0]} ({', '.join(every[0])}) is in all {len(files)} recordings "
                    f"of {modality}. Name the channels to read."
                )
            return common
        return ()

    @property
    def people(self) -> list[str]:
        """Everybody, sorted."""
        return sorted({str(session.person) for session in self.sessions})


def _labels(session: Session) -> list[str]:
    own = [session.label] if session.label is not None else []
    return [*own, *(str(segment[2]) for segment in session.segments), *session.events.values()]


def read_manifest(path: str | os.PathLike[str]) -> Manifest:
    """Read a manifest and check that its files are there.

    Args:
        path: The TOML file; paths in it are relative to it.

    Raises:
        DataError: If it is missing or no manifest, a key is unknown, a file is missing, a recording is labelled twice,
            or a person is on two sides of the split.

    Example:
        >>> read_manifest("nowhere.toml")
        Traceback (most recent call last):
            ...
        evermodels.core.errors.DataError: manifest: there is no file 'nowhere.toml'.
    """
    file = Path(path)
    if not file.is_file():
        raise DataError(f"manifest: there is no file {str(path)!r}.")
    with boundary(DataError, f"manifest {file.name}: it cannot be read", _WAY_OUT):
        if file.stat().st_size > _LARGEST_FILE:
            raise DataError(f"manifest {file.name}: larger than {_LARGEST_FILE:,} bytes. {_WAY_OUT}")
        content = file.read_bytes()
        plain: dict[str, Any] = tomllib.loads(content.decode("utf-8"))
    known = ("recordings", "classes", "baselines", "split")
    for key in plain:
        if key not in known:
            raise DataError(
                f"manifest {file.name}: unknown key {key!r}.{did_you_mean(key, known)} Allowed: {', '.join(known)}."
            )
    entries = plain.get("recordings")
    if not isinstance(entries, list) or not entries:
        raise DataError(f"manifest {file.name}: it has no [[recordings]]. {_WAY_OUT}")
    baselines = plain.get("baselines", {})
    if not isinstance(baselines, Mapping):
        raise DataError(f"manifest {file.name}: [baselines] is to hold a recording for each person.")
    sessions = [_session(entry, number, file.parent, baselines) for number, entry in enumerate(entries, 1)]
    try:
        split = _Split.from_dict(plain["split"], where="split") if "split" in plain else None
    except ConfigError as error:
        raise DataError(f"manifest {file.name}: {error}") from error
    made = SubjectSplit(*(getattr(split, part) for part in PARTS)) if split is not None else None
    people = {str(session.person) for session in sessions}
    strangers = sorted({*baselines, *(made.subjects if made else ())} - people)
    if strangers:
        raise DataError(
            f"manifest {file.name}: {', '.join(map(repr, strangers))} stands in baselines or split and has no "
            f"recording.{did_you_mean(strangers[0], people)}"
        )
    classes = plain.get("classes")
    if classes is not None and (
        not isinstance(classes, list) or not classes or not all(isinstance(c, str) and c for c in classes)
    ):
        raise DataError(f"manifest {file.name}: classes: expected a list of names, got {classes!r}.")
    check_files(sessions)
    return Manifest(sessions, tuple(classes) if classes else None, made, hashlib.sha256(content).hexdigest())


def _session(entry: Any, number: int, folder: Path, baselines: Mapping[str, Any]) -> Session:
    where = f"recordings[{number}]"
    if not isinstance(entry, Mapping):
        raise DataError(f"{where}: expected a table, got {entry!r}.")
    files = {key: value for key, value in entry.items() if key in MODALITIES}
    rest = {key: value for key, value in entry.items() if key not in MODALITIES}
    for key in rest:
        if key not in (known := ("person", "label", "segments", "events", "baseline", *MODALITIES)):
            raise DataError(f"{where}: unknown key {key!r}.{did_you_mean(key, known)} Allowed: {', '.join(known)}.")
    try:
        made = _Entry.from_dict({**rest, "recordings": files}, where=where)
    except ConfigError as error:  # which says where
        raise DataError(str(error)) from error
    segments = made.segments
    chosen = (
        _table(folder / segments, where)
        if isinstance(segments, str)
        else [Segment(segment.start, segment.stop, segment.label) for segment in segments]
    )
    baseline = made.baseline if made.baseline is not None else baselines.get(made.person)
    if isinstance(baseline, list):
        if len(baseline) != 2 or not all(isinstance(s, (int, float)) and not isinstance(s, bool) for s in baseline):
            raise DataError(f"{where}: baseline: expected a file or [start, stop] in seconds, got {baseline!r}.")
        baseline = (float(baseline[0]), float(baseline[1]))
    elif baseline is not None:
        baseline = _file(baseline, f"{where}: baseline", folder, files)
    recordings = {key: _file(value, f"{where}: {key}", folder, (key,)) for key, value in files.items()}
    names = " ".join(file.path.name for file in recordings.values())
    return Session(
        made.person,
        recordings,
        made.label,
        chosen,
        made.events,
        baseline,
        f"{where} ({made.person}{', ' if names else ''}{names})",
    )


def _file(value: Any, where: str, folder: Path, modalities: Iterable[str]) -> File:
    form = dict(value) if isinstance(value, Mapping) else {"file": value}
    name = form.pop("file", None)
    if not isinstance(name, str) or not name:
        raise DataError(f"{where}: expected a file's name, or {{file = ..., start = ...}}, got {value!r}.")
    if "\0" in name:
        raise DataError(f"{where}: no file's name holds a NUL, got {name!r}.")
    known = {key for modality in modalities for key in inspect.signature(reader_class(modality).recording).parameters}
    for key in form:
        if key == "source" or key not in known:
            allowed = sorted(known - {"source"})
            raise DataError(
                f"{where}: unknown key {key!r}.{did_you_mean(key, allowed)} Beside file there is {', '.join(allowed)}."
            )
    return File(folder / name, form)


def _table(path: Path, where: str) -> list[Segment]:
    """Segments of a table with the columns start, stop and label, separated by commas, semicolons or tabs."""
    if not path.is_file():
        raise DataError(f"{where}: there is no table of segments {str(path)!r}.")
    with boundary(DataError, f"{where}: {path.name} cannot be read", "Give columns start, stop, label; in seconds."):
        text = path.read_text(encoding="utf-8-sig")
        rows = list(csv.DictReader(text.splitlines(), dialect=csv.Sniffer().sniff(text.splitlines()[0], ",;\t")))
        return [Segment(float(row["start"]), float(row["stop"]), row["label"].strip()) for row in rows]


@dataclass(frozen=True)
class RecordingsSettings(DataSettings):
    """Settings of a person's own data, by a manifest.

    Args:
        dataset: ``"recordings"``.
        num_workers: Processes that load training batches; 0 loads in the training process.
        manifest: The TOML file (:func:`read_manifest`).
        sha256: Digest of the manifest, where it must be the same as before.
        overlap: Part of a window that it shares with the next one.
        folds: Folds over the people in the order of their ids, where the manifest has no split.
        fold: Which of them is tested, from 0.
        n_validation: People of each fold who choose the epoch; ``None``: a fifth of those who are not tested; 0 where
            the last epoch is kept.
    """

    dataset: Literal["recordings"] = "recordings"
    manifest: str = ""
    sha256: str | None = None
    overlap: float = 0.0
    folds: int = 5
    fold: int = 0
    n_validation: int | None = None

    def check(self) -> None:
        """Refuse impossible values."""
        super().check()
        if not self.manifest:
            raise self.refuse("manifest", "the path of a manifest")
        if not 0 <= self.overlap < 1:
            raise self.refuse("overlap", "a part of a window in [0, 1)")
        self.at_least(2, "folds")
        if not 0 <= self.fold < self.folds:
            raise self.refuse("fold", f"0 to {self.folds - 1}")

    def told(self) -> dict[str, Any]:
        """Return which manifest and which fold it is."""
        return {"manifest_sha256": self.sha256, "folds": self.folds, "fold": self.fold} if self.sha256 else {}

    def count(self, manifest: Manifest) -> int:
        """Return how many folds there are: no more than people, and one where the manifest has a split.

        Args:
            manifest: What the manifest says.
        """
        return 1 if manifest.split is not None else min(self.folds, len(manifest.people))

    def split(self, manifest: Manifest) -> SubjectSplit:
        """Return the people of each part.

        Args:
            manifest: What the manifest says.

        Raises:
            DataError: If there are too few people.
        """
        if manifest.split is not None:
            return manifest.split
        people = manifest.people
        if len(people) < (2 if self.n_validation == 0 else 3):
            raise DataError(
                f"manifest: it has {', '.join(people)}; at least 3 people are needed, to train, to choose the epoch "
                "and to test, or 2 with n_validation=0 and selection.metric='last', where nobody chooses."
            )
        folds = self.count(manifest)
        if self.fold >= folds:
            raise DataError(f"fold: with {len(people)} people there are {folds}, 0 to {folds - 1}; got {self.fold}.")
        others = len(people) - -(-len(people) // folds)
        chosen = self.n_validation if self.n_validation is not None else min(max(1, round(others / 5)), others - 1)
        return subject_folds(people, folds, n_validation=chosen)[self.fold]

    def parts(self, spec: InputSpec, *, seed: int = 0, data_root: str | os.PathLike[str] | None = None) -> Parts:
        """Read the recordings, and part them by person.

        Args:
            spec: What the model takes.
            seed: Not used; nothing is drawn.
            data_root: Not used; paths are relative to the manifest.

        Raises:
            DataError: If the manifest is another one than before, or cannot be used.
            ConfigError: If the model compares a person with a baseline and there is none.
            SignalError: If a recording is unusable.
        """
        manifest = read_manifest(self.manifest)
        if self.sha256 is not None and manifest.sha256 != self.sha256:
            raise DataError(f"manifest {self.manifest!r}: it has changed since. Give another folder for the run.")
        split = self.split(manifest)
        whole = Recordings(manifest.sessions, spec, classes=manifest.classes, overlap=self.overlap)
        return whole.parts(split)
