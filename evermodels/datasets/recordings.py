"""A person's own data: recordings with labelled segments, read into a model's windows."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from evermodels.core.errors import ConfigError, DataError, boundary, did_you_mean
from evermodels.core.memory import physical_memory
from evermodels.core.specs import MODALITIES, InputSpec
from evermodels.datasets.parts import Parts
from evermodels.datasets.splits import PARTS, SubjectSplit
from evermodels.signals import Preprocessor
from evermodels.signals.room import covers, reader_class, slack, warn

_PART_OF_MEMORY = 0.25
_NAMED = 3  # segments that a sentence names


class Segment(NamedTuple):
    """A labelled stretch of a session.

    Args:
        start: Its begin in seconds on the session's clock.
        stop: Its end.
        label: What it is.
    """

    start: float
    stop: float
    label: str


class File(NamedTuple):
    """A recording's file, and what it does not say by itself.

    Args:
        path: Where it lies.
        form: Arguments of the recording's class, such as ``start`` or ``unit``.
    """

    path: Path
    form: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Session:
    """Recordings of one person on one clock, and what they are labelled with.

    Args:
        person: Id of the person; nobody is on two sides of a split.
        recordings: By modality: a path, a :class:`File`, a library's object (``mne.io.Raw``, ``mne.Epochs``) or a
            recording, such as ``signals.EEG(trials, ch_names=…, sfreq=…, unit="uV", events=labels)`` of a 3-D array.
        label: What all of it is; or give ``segments`` or ``events``.
        segments: Labelled stretches.
        events: Label by name of what the recording's file calls its stretches: annotations, conditions of epochs,
            ``events`` of trials; other names are left out.
        baseline: For a model that compares a person with a baseline: its recording, or ``(start, stop)`` in seconds on
            the session's clock, where no window is cut.
        name: What errors call it.

    Raises:
        DataError: If it has no recording, an unknown modality, or not exactly one of label, segments and events.

    Example:
        >>> Session("anna", {"eeg": "anna.edf"}, label="calm", segments=[Segment(0, 60, "calm")])
        Traceback (most recent call last):
            ...
        evermodels.core.errors.DataError: anna: it is labelled twice, by label and segments. Give one of them.
    """

    person: str
    recordings: Mapping[str, Any]
    label: str | None = None
    segments: Sequence[Segment] = ()
    events: Mapping[str, str] = field(default_factory=dict)
    baseline: Any = None
    name: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or str(self.person))
        if self.label is not None and (not isinstance(self.label, str) or not self.label):
            raise DataError(f"{self.name}: label: expected the name of a class, got {self.label!r}.")
        given = [key for key in ("label", "segments", "events") if getattr(self, key)]
        if len(given) != 1:
            said = f"labelled twice, by {' and '.join(given)}. Give one of them" if given else "without a label"
            raise DataError(f"{self.name}: it is {said}." + ("" if given else " Give label, segments or events."))
        if not str(self.person) or not self.recordings:
            raise DataError(f"{self.name}: expected a person's id and at least one recording.")
        if _is_span(self.baseline) and not -math.inf < self.baseline[0] < self.baseline[1] < math.inf:
            raise DataError(
                f"{self.name}: baseline: expected (start, stop) in seconds, the start before the stop, got "
                f"{tuple(self.baseline)!r}."
            )
        for modality in self.recordings:
            if modality not in MODALITIES:
                raise DataError(
                    f"{self.name}: {modality!r} is no modality.{did_you_mean(modality, MODALITIES)} "
                    f"There is {', '.join(MODALITIES)}."
                )


class Windows(Dataset[dict[str, Any]]):
    """The windows of some people.

    Args:
        whole: The recordings.
        rows: Which of their windows.
    """

    groups = ("person",)

    def __init__(self, whole: Recordings, rows: np.ndarray) -> None:
        self.whole, self.rows = whole, rows
        self.labels = whole.labels[rows]

    @property
    def people(self) -> dict[str, list[str]]:
        """Ids of the people, by group."""
        return {"person": sorted(set(self.whole.persons[self.rows].tolist()))}

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} of {len(self)} windows")
        return self.whole[int(self.rows[index])]


class Recordings(Dataset[dict[str, Any]]):
    """Windows of labelled recordings, as a model takes them.

    Everything is checked and read once, in the way of :class:`~evermodels.signals.Preprocessor` (same filters, same
    order): windows begin with each segment (and with each uninterrupted stretch of the first modality that a session
    has, in the order of the input spec) and lie within it. Where another modality does not cover a window, or it cannot
    be read (no face), the item says ``present: False`` and holds zeros. All windows are kept in memory,
    since those of video are dear to make; more than a quarter of the machine's is refused before they are read.

    Args:
        sessions: The recordings, each with its person and labels.
        input_spec: What the model takes, ``model.input_spec``.
        classes: Names of the classes in the order of the logits (default: the labels, sorted).
        overlap: Part of a window that it shares with the next one.
        **options: As :class:`~evermodels.signals.Preprocessor` takes them.

    Attributes:
        labels: ``(windows,)`` class of each window.
        persons: ``(windows,)`` id of each window's person.
        starts: ``(windows,)`` begin of each in seconds on its session's clock.

    Raises:
        DataError: If a file is missing, a stretch is labelled twice, a recording is of two people, a segment goes past
            the end or holds no whole window, or a label is no class.
        ConfigError: If the model compares a person with a baseline and there is none, or memory does not suffice.
        SignalError: If a recording is unusable.

    Example:
        >>> from evermodels.core.specs import EEGSpec
        >>> from evermodels.signals import EEG
        >>> trials = 10 * np.random.default_rng(0).standard_normal((4, 1, 500))
        >>> eeg = EEG(trials, ch_names=["Cz"], unit="uV", sfreq=250.0, events=["a", "b", "a", "b"])
        >>> spec = InputSpec(window_seconds=1.0, eeg=EEGSpec(("Cz",), 100.0))
        >>> data = Recordings([Session("anna", {"eeg": eeg}, events={"a": "calm", "b": "joy"})], spec)
        >>> data, data[2]["label"], data[2]["eeg"].shape
        (Recordings(8 windows of 1 person, calm 4, joy 4), 1, torch.Size([1, 100]))
    """

    groups = ("person",)

    def __init__(
        self,
        sessions: Iterable[Session],
        input_spec: InputSpec,
        *,
        classes: Sequence[str] | None = None,
        overlap: float = 0.0,
        **options: Any,
    ) -> None:
        self.prepare = Preprocessor(input_spec, **options)
        self.sessions = list(sessions)
        if not self.sessions:
            raise DataError("sessions: expected at least one, got none.")
        seconds = input_spec.window_seconds
        if seconds is None:
            raise ConfigError("input_spec: the model has no window length; give one that has window_seconds.")
        if not 0 <= overlap < 1:
            raise ConfigError(f"overlap: expected a part of a window, 0 <= overlap < 1, got {overlap!r}.")
        self.seconds, self.step = seconds, seconds * (1 - overlap)
        check_files(self.sessions)
        plans = [self._plan(session) for session in self.sessions]
        _check_once(self.sessions, plans)
        self.classes = _classes([segment.label for plan in plans for segment, _ in plan], classes)
        self._check_memory(sum(len(starts) for plan in plans for _, starts in plan))
        self._baselines: dict[Any, Any] = {}
        rows = [self._read(session, plan) for session, plan in zip(self.sessions, plans, strict=True)]
        self.starts, self.labels = (np.concatenate([row[k] for row in rows]) for k in (0, 1))
        self.persons = np.concatenate([np.full(len(row[0]), row[2]) for row in rows])
        self.tensors = {m: torch.cat([row[3][m] for row in rows]) for m in input_spec.modalities}
        self.present = {m: torch.cat([row[4][m] for row in rows]) for m in input_spec.modalities}

    @property
    def people(self) -> dict[str, list[str]]:
        """Ids of the people, by group."""
        return {"person": sorted(set(self.persons.tolist()))}

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        counts = np.bincount(self.labels, minlength=len(self.classes))
        said = ", ".join(f"{name} {count}" for name, count in zip(self.classes, counts, strict=True))
        people = len(self.people["person"])
        return f"Recordings({len(self)} windows of {people} {'person' if people == 1 else 'people'}, {said})"

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} of {len(self)} windows")
        present = {name: bool(flags[index]) for name, flags in self.present.items()}
        return {
            **{name: tensor[index] for name, tensor in self.tensors.items()},
            **({} if all(present.values()) else {"present": present}),
            "label": int(self.labels[index]),
            "person": str(self.persons[index]),
        }

    def of(self, people: Iterable[str]) -> Windows:
        """Return the windows of some people.

        Args:
            people: Their ids.

        Raises:
            DataError: If somebody is not there.
        """
        wanted, there = [str(person) for person in people], self.people["person"]
        missing = [person for person in wanted if person not in there]
        if missing:
            raise DataError(f"people: {', '.join(missing)} have no window. There are {', '.join(there)}.")
        return Windows(self, np.flatnonzero(np.isin(self.persons, wanted)))

    def parts(self, split: SubjectSplit) -> Parts:
        """Return the parts of a split, as :func:`evermodels.training.fit` takes them.

        Args:
            split: The people of each part.

        Raises:
            DataError: If somebody is not there, or a class has no training window.
        """
        train, validation, test = (self.of(split.part(name)) for name in PARTS)
        parts = Parts(train, validation, test, self.classes, groups=self.groups)
        none = [name for name, count in zip(self.classes, parts.class_counts(), strict=True) if not count]
        if none:
            raise DataError(f"split: no training person has {', '.join(none)}. Train on people who have every label.")
        return parts

    def _plan(self, session: Session) -> list[tuple[Segment, np.ndarray]]:
        """Each segment, and where its windows begin; nothing is read that is not needed for it."""
        own = [name for name in self.prepare.input_spec.modalities if name in session.recordings]
        if not own:
            raise DataError(
                f"{session.name}: the model takes {' and '.join(self.prepare.input_spec.modalities)}, the session has "
                f"{' and '.join(session.recordings)}."
            )
        recording = self._open(session, own[0])
        segments = _segments(session, recording)
        left_out = session.baseline if _is_span(session.baseline) else None
        plan, short = [], []
        for segment in segments:
            starts = _starts(recording, segment, self.seconds, self.step)
            if left_out is not None:
                starts = starts[(starts + self.seconds <= left_out[0]) | (starts >= left_out[1])]
            plan.append((segment, starts))
            if not len(starts):
                short.append(f"{segment.label} {segment.start:g}-{segment.stop:g} s")
        # Of a whole file, and beside a baseline, it is enough that something is left.
        all_count = session.label is None and left_out is None
        if short and (all_count or len(short) == len(plan)):
            more = f" and {len(short) - _NAMED} more" if len(short) > _NAMED else ""
            beside = "" if left_out is None else f" beside the baseline, {left_out[0]:g} to {left_out[1]:g} s"
            where = f"{', '.join(short[:_NAMED])}{more}{beside}"
            raise DataError(
                f"{session.name}: no whole window of {self.seconds:g} s lies in {where}. "
                "Give longer segments, or a model with a shorter window."
            )
        return plan

    def _open(self, session: Session, modality: str) -> Any:
        source = session.recordings[modality]
        reader = self.prepare.readers[modality]
        return reader.open(source.path, **source.form) if isinstance(source, File) else reader.open(source)

    def _check_memory(self, windows: int) -> None:
        spec = self.prepare.input_spec
        size = 4 * windows * sum(math.prod(spec.shape(name)) for name in spec.modalities)
        most = _PART_OF_MEMORY * physical_memory()
        if size > most:
            raise ConfigError(
                f"recordings: {windows:,} windows take {size / 2**30:.1f} GB, more than the {most / 2**30:.1f} GB (a "
                "quarter of the memory) that are allowed. Give a smaller overlap, or fewer recordings."
            )

    def _baseline(self, session: Session, modality: str) -> Any:
        """What one modality of a session is compared with."""
        reader, baseline = self.prepare.readers[modality], session.baseline
        if not reader.compares:
            return None
        state = getattr(reader.spec, "baseline", "")
        if _is_span(baseline):
            return tuple(baseline)
        if state and baseline is None:
            raise ConfigError(
                f"{session.name}: the model compares {modality} with {state} of the same person, and "
                f"{session.person!r} has none. Give baseline: a recording of {state}, or its seconds (start, stop); or "
                "take a model that compares with nothing."
            )
        key = (modality, session.person if not state else _key(baseline))
        if key not in self._baselines:
            several = [baseline] if state else [s for s in self.sessions if s.person == session.person]
            opened = [
                self._open(one, modality)
                if isinstance(one, Session)
                else reader.open(one.path, **one.form)
                if isinstance(one, File)
                else reader.open(one)
                for one in several
                if not isinstance(one, Session) or modality in one.recordings
            ]
            self._baselines[key] = reader.fit_baseline(opened)
        return self._baselines[key]

    def _read(self, session: Session, plan: list[tuple[Segment, np.ndarray]]) -> tuple[Any, ...]:
        starts = np.concatenate([starts for _, starts in plan])
        labels = np.concatenate([np.full(len(s), self.classes.index(segment.label)) for segment, s in plan])
        order = np.argsort(starts, kind="stable")
        starts, labels = starts[order], labels[order]
        spec, tensors, present = self.prepare.input_spec, {}, {}
        for name in spec.modalities:
            tensors[name] = torch.zeros((len(starts), *spec.shape(name)))
            here = np.zeros(len(starts), dtype=bool)
            if name in session.recordings:
                reader = self.prepare.readers[name]
                compared = reader.compare(reader.prepare(self._open(session, name)), self._baseline(session, name))
                rows = np.flatnonzero(covers(compared.recording, starts, self.seconds))
                windows = reader.windows(compared.recording, starts[rows].tolist(), self.seconds)
                for row, window in zip(rows.tolist(), windows, strict=True):
                    if window.usable:
                        tensors[name][row], here[row] = window.tensor, True
            present[name] = torch.from_numpy(here)
        kept = torch.stack(list(present.values())).any(dim=0)
        if not kept.all():
            warn(f"{session.name}: {int((~kept).sum())} of {len(kept)} windows are left out, as nothing can be read.")
        if not kept.any():
            raise DataError(f"{session.name}: no window can be read. Give another recording.")
        rows_kept = kept.numpy()
        cut: dict[str, Tensor] = {name: tensor[kept] for name, tensor in tensors.items()}
        flags = {name: flag[kept] for name, flag in present.items()}
        return starts[rows_kept], labels[rows_kept].astype(np.int64), str(session.person), cut, flags


def _is_span(baseline: Any) -> bool:
    return isinstance(baseline, (list, tuple)) and not isinstance(baseline, File) and len(baseline) == 2


def _key(source: Any) -> Any:
    if isinstance(source, File):
        return str(source.path)
    return str(source) if isinstance(source, (str, Path)) else id(source)


def _path(source: Any) -> Path | None:
    if isinstance(source, File):
        return source.path
    return Path(source) if isinstance(source, (str, Path)) else None


def check_files(sessions: Sequence[Session]) -> None:
    """Refuse files that are missing, and a file of two people.

    Args:
        sessions: The sessions.

    Raises:
        DataError: If there are any; all are named.
    """
    missing: list[str] = []
    whose: dict[tuple[str, Path], str] = {}
    for session in sessions:
        sources = list(session.recordings.items())
        if not _is_span(session.baseline):
            sources.append(("baseline", session.baseline))
        for modality, source in sources:
            path = _path(source)
            if path is None:
                continue
            if not path.exists():
                missing.append(f"{path} ({session.name})")
            owner = whose.setdefault((modality, path.resolve()), str(session.person))
            if owner != str(session.person):
                raise DataError(
                    f"{session.name}: {path.name} is {modality} of {owner!r} and of {str(session.person)!r}. A "
                    "recording is of one person; otherwise somebody is on two sides."
                )
    if missing:
        more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        raise DataError(f"files: there is no {', '.join(missing[:_NAMED])}{more}. Paths are relative to the manifest.")


def _segments(session: Session, recording: Any) -> list[Segment]:
    """The labelled segments of a session on its clock, checked against the recording that sets the windows."""
    room = slack(recording)
    if session.label is not None:
        return [Segment(a, b, session.label) for a, b in recording.coverage]
    if session.events:
        source = session.recordings[recording.modality]
        named = reader_class(recording.modality).annotations(source.path if isinstance(source, File) else source)
        segments = [
            Segment(recording.start + a, recording.start + b, session.events[name])
            for a, b, name in named
            if name in session.events
        ]
        absent = [name for name in session.events if name not in {name for _, _, name in named}]
        if absent:
            there = ", ".join(sorted({name for _, _, name in named})) or "none"
            raise DataError(f"{session.name}: the recording has no event {', '.join(absent)}; it has {there}.")
    else:
        with boundary(
            DataError, f"{session.name}: the segments cannot be read", "Give (start, stop, label), in seconds."
        ):
            segments = [Segment(float(a), float(b), str(label)) for a, b, label in session.segments]
    for segment in segments:
        if not (math.isfinite(segment.start) and segment.start < segment.stop):
            raise DataError(
                f"{session.name}: {segment.label} goes from {segment.start:g} to {segment.stop:g} s. Give a start "
                "before the stop; events without a length need a table of segments."
            )
        if segment.start < recording.start - room or segment.stop > recording.stop + room:
            raise DataError(
                f"{session.name}: {segment.label} {segment.start:g}-{segment.stop:g} s goes past the "
                f"{recording.modality}, which lasts from {recording.start:.3f} to {recording.stop:.3f} s. Segments are "
                "in seconds on the clock that the recordings share."
            )
    return segments


def _starts(recording: Any, segment: Segment, seconds: float, step: float) -> np.ndarray:
    room, starts = slack(recording), []
    for a, b in recording.coverage:
        first, last = max(a, segment.start), min(b, segment.stop)
        count = math.floor((last - first - seconds + room) / step) + 1
        if count > 0:
            starts.append(first + step * np.arange(count))
    return np.concatenate(starts) if starts else np.zeros(0)


def _check_once(sessions: Sequence[Session], plans: Sequence[list[tuple[Segment, np.ndarray]]]) -> None:
    """Refuse a moment of a recording with two labels, or one that would count twice."""
    spans: dict[Any, list[tuple[float, float, str, str]]] = {}
    for session, plan in zip(sessions, plans, strict=True):
        keys = {_key(source) for source in session.recordings.values()}
        own = [(segment.start, segment.stop, segment.label, session.name) for segment, _ in plan]
        for key in keys:
            spans.setdefault(key, []).extend(own)
    for own in spans.values():
        own.sort()
        for (_, stop, label, name), (start, _, other, second) in itertools.pairwise(own):
            if start < stop - 1e-6:
                where = name if name == second else f"{name} and {second}"
                raise DataError(
                    f"{where}: from {start:g} s on a recording is labelled twice, {label} and {other}. Give each "
                    "stretch one label, once."
                )


def _classes(labels: Sequence[str], classes: Sequence[str] | None) -> tuple[str, ...]:
    found = sorted(set(labels))
    if classes is None:
        return tuple(found)
    wanted = [str(name) for name in classes]
    if len(set(wanted)) != len(wanted):
        raise DataError(f"classes: expected each once, got {', '.join(wanted)}.")
    for label in found:
        if label not in wanted:
            raise DataError(f"classes: {label!r} is a label and no class.{did_you_mean(label, wanted)}")
    return tuple(wanted)
