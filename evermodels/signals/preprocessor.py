"""From recordings to exactly what a model takes, as its input spec says."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from evermodels.core.errors import ConfigError, SignalError, did_you_mean
from evermodels.core.memory import physical_memory
from evermodels.core.specs import MODALITIES, InputSpec
from evermodels.signals.inputs import Inputs, join
from evermodels.signals.room import Reader, Recording, Window, check_length, covers, grid, reader_class, warn

_MOST_SPANS = 4
_PART_OF_MEMORY = 0.25


class Preprocessor:
    """Make a model's inputs from recordings of any modality that the model takes.

    Args:
        input_spec: The model's ``input_spec``, which is saved with its checkpoint.
        **options: Options of the modalities' readers, such as ``face``: what finds the face, as in
            :class:`evermodels.signals.video.Reader` (``None`` takes the whole picture).

    Raises:
        ConfigError: If ``input_spec`` is not an :class:`~evermodels.core.specs.InputSpec`, or no reader of the model's
            modalities has such an option.

    Example:
        >>> from evermodels.core.specs import EEGSpec
        >>> from evermodels.signals import EEG
        >>> prepare = Preprocessor(InputSpec(window_seconds=2.0, eeg=EEGSpec(ch_names=("Cz", "T7"), sfreq=100.0)))
        >>> volts = 2e-5 * np.random.default_rng(0).standard_normal((3, 500))
        >>> inputs = prepare(eeg=EEG(volts, ch_names=["EEG T3", "Fz", "CZ"], unit="V", sfreq=100), overlap=0.5)
        >>> inputs.tensors["eeg"].shape, inputs.starts.tolist(), inputs.dropped
        (torch.Size([4, 2, 200]), [0.0, 1.0, 2.0, 3.0], ('Fz',))
    """

    def __init__(self, input_spec: InputSpec, **options: Any) -> None:
        if not isinstance(input_spec, InputSpec):
            raise ConfigError(
                f"input_spec: expected an InputSpec, got {type(input_spec).__name__}. Give model.input_spec; a model "
                "without one takes tensors only."
            )
        self.input_spec = input_spec
        self.readers = _readers(input_spec, options)
        """By modality, in the order of the input spec."""

    def __repr__(self) -> str:
        seconds = self.input_spec.window_seconds
        length = "any length" if seconds is None else f"{seconds:g} s"
        return f"<Preprocessor of {', '.join(self.readers) or 'nothing'}: windows of {length}>"

    def fit_baseline(self, baseline: Any) -> Any:
        """Take what a person is compared with once, for several recordings of this person.

        Args:
            baseline: A recording in the state that the spec's ``baseline`` names; for a model that compares a person
                with all states a list of recordings, one of each state, each counting alike.

        Returns:
            What to give as ``baseline`` with each recording of this person.

        Raises:
            ConfigError: If the model takes recordings as they are, or there is no recording.
            SignalError: If a recording is unusable, shorter than 10 s, or has a flat channel.

        Example:
            >>> from evermodels.core.specs import EEGSpec
            >>> from evermodels.signals import EEG
            >>> eeg = EEGSpec(ch_names=("Cz",), sfreq=100.0, whiten=True, baseline="rest")
            >>> prepare = Preprocessor(InputSpec(window_seconds=2.0, eeg=eeg))
            >>> noise = 10 * np.random.default_rng(0).standard_normal((2, 1, 3000))
            >>> rest, task = (EEG(data, ch_names=["Cz"], unit="uV", sfreq=100.0) for data in noise)
            >>> minute = prepare.fit_baseline(rest)
            >>> minute
            Whitening(1 channels, 100 Hz, from 30.0 s)
            >>> prepare(eeg=task, baseline=minute).tensors["eeg"].shape
            torch.Size([15, 1, 200])
        """
        comparing = [reader for reader in self.readers.values() if reader.compares]
        if not comparing:
            raise ConfigError(
                "baseline: the model's input spec compares a person with nothing (whiten=False), so it takes "
                "recordings as they are. Leave it out."
            )
        return comparing[0].fit_baseline(baseline)

    def stream(
        self,
        *,
        overlap: float = 0.0,
        window_seconds: float | None = None,
        baseline: Any = None,
        batch_size: int = 8,
        **recordings: Any,
    ) -> Stream:
        """Return a model's inputs, a few windows at a time; no more than these lie in memory.

        The first modality that is given, in the order of the input spec, sets the windows: the first begins with each
        of its uninterrupted stretches. Of these, the windows that all others cover are read. Where some modalities of a
        window are unusable (a video without a face), ``present`` says so; a window of which nothing is usable is left
        out.

        Args:
            overlap: Part of a window that it shares with the next, ``0 <= overlap < 1``.
            window_seconds: Another length of a window in seconds than the model's, for recordings that allow it (a
                window of video has as many frames whatever its length). A model without one takes the whole recording
                by default.
            baseline: For a model that compares a person with a baseline (the spec's ``baseline`` names its state, such
                as ``"rest"``): a recording of this person in that state; ``(start, stop)`` in seconds on the shared
                clock that hold it in the recording itself, where no window is then read; or what :meth:`fit_baseline`
                returned. A minute is good, 10 s are the least. For a model that compares a person with all states: a
                list of recordings of them, or what :meth:`fit_baseline` returned.
            batch_size: Windows at a time.
            **recordings: By modality: a recording (:class:`~evermodels.signals.EEG`,
                :class:`~evermodels.signals.Video`, …), a path or a library's object; ``None`` for none. An array does
                not say its rate: make a recording of it.

        Returns:
            The stream, an iterable of :class:`Inputs`; its length is the number of windows that are to be read.

        Raises:
            ConfigError: If nothing is given, the model does not take what is, windows would begin more often than
                samples come, or ``window_seconds`` is not the model's.
            SignalError: If a recording is unusable, two do not overlap or have no window in common, or, at the end,
                one had no usable window.

        Warns:
            UserWarning: If windows are left out or read without a modality, something is wrong with them, or the model
                compares a person with something that is not given: the recording then stands in for it, and what it
                holds decides the answer.
        """
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise ConfigError(f"batch_size: expected a whole number of at least 1, got {batch_size!r}.")
        sources = self._given(recordings)
        readers = {name: self.readers[name] for name in self.input_spec.modalities if name in sources}
        comparing = next((name for name, reader in self.readers.items() if reader.compares), None)
        if baseline is not None and comparing is not None and comparing not in readers:
            raise ConfigError(
                f"baseline: it is for {comparing}, and there is none. Leave it out, or give {comparing}=."
            )
        if baseline is not None and comparing is None:
            self.fit_baseline(baseline)  # says why it cannot be
        opened = {name: reader.open(sources[name]) for name, reader in readers.items()}
        _check_overlap(opened)
        prepared = {name: reader.prepare(opened.pop(name)) for name, reader in readers.items()}
        compared = {
            name: reader.compare(prepared.pop(name), baseline if name == comparing else None)
            for name, reader in readers.items()
        }
        for name, one in compared.items():
            for note in one.notes:
                warn(f"{name}: {note}")
        seconds = self._length(window_seconds, {name: one.recording for name, one in compared.items()})
        left_out = [one.left_out for one in compared.values() if one.left_out is not None]
        ready = {name: one.recording for name, one in compared.items()}
        starts, said = _plan(ready, seconds, overlap, left_out)
        notes = [note for one in compared.values() for note in (*one.recording.notes, *one.notes)]
        against = next((one.against for one in compared.values() if one.against), "")
        return Stream(readers, ready, starts, seconds, batch_size, tuple(dict.fromkeys([*notes, *said])), against)

    def __call__(
        self,
        *,
        overlap: float = 0.0,
        window_seconds: float | None = None,
        baseline: Any = None,
        **recordings: Any,
    ) -> Inputs:
        """Return all inputs of a model: :meth:`stream`, joined.

        Args:
            overlap: As in :meth:`stream`.
            window_seconds: As in :meth:`stream`.
            baseline: As in :meth:`stream`.
            **recordings: As in :meth:`stream`.

        Raises:
            ConfigError: As :meth:`stream`, or if all windows together do not fit into a quarter of the memory.
            SignalError: As :meth:`stream`.

        Warns:
            UserWarning: As :meth:`stream`.
        """
        stream = self.stream(overlap=overlap, window_seconds=window_seconds, baseline=baseline, **recordings)
        parts: list[Inputs] = []
        for inputs in stream:
            if not parts:
                _check_memory(inputs, len(stream))
            parts.append(inputs)
        return join(parts)

    def _given(self, recordings: Mapping[str, Any]) -> dict[str, Any]:
        takes = ", ".join(self.input_spec.modalities) or "nothing"
        for name in recordings:
            if name not in MODALITIES:
                raise ConfigError(
                    f"{name}: no such modality or argument; the model takes {takes}.{did_you_mean(name, MODALITIES)}"
                )
        given = {name: source for name, source in recordings.items() if source is not None}
        for name in given:
            self.input_spec.of(name)  # refuses what the model does not take
        if not given:
            raise ConfigError(f"inputs: give at least one of {takes}; got none.")
        return given

    def _length(self, window_seconds: float | None, recordings: Mapping[str, Recording]) -> float:
        own = self.input_spec.window_seconds
        if window_seconds is not None:
            check_length(window_seconds)
            for name in recordings if own is not None else ():
                if self.input_spec.of(name).shape(window_seconds) != self.input_spec.shape(name):
                    raise ConfigError(
                        f"window_seconds: the model's window of {name} is {own:g} s, got {window_seconds!r}. Leave it "
                        "out."
                    )
            return float(window_seconds)
        if own is not None:
            return own
        first = next(iter(recordings.values()))
        if len(first.coverage) > 1:
            raise ConfigError(
                f"window_seconds: the model takes windows of any length, and the recording of {first.modality} has "
                f"{len(first.coverage)} uninterrupted stretches. Give a length in seconds."
            )
        return first.stop - first.start


@dataclass(frozen=True, eq=False)
class Stream:
    """A model's inputs a few windows at a time, read as they are asked for.

    Args:
        readers: By modality.
        recordings: By modality, prepared.
        starts: Where the windows begin, ``(windows,)`` seconds on the shared clock.
        window_seconds: Length of a window in seconds.
        batch_size: Windows at a time.
        notes: What is to be said of the recordings, in whole sentences.
        against: As in :class:`Inputs`.
    """

    readers: Mapping[str, Reader[Any]]
    recordings: Mapping[str, Any]
    starts: np.ndarray
    window_seconds: float
    batch_size: int
    notes: tuple[str, ...]
    against: str

    def __len__(self) -> int:
        """Return how many windows are to be read."""
        return len(self.starts)

    def __repr__(self) -> str:
        recordings = ", ".join(map(repr, self.recordings.values()))
        return f"<Stream of {len(self)} windows of {self.window_seconds:g} s from {recordings}>"

    def __iter__(self) -> Iterator[Inputs]:
        """Yield the inputs in order of time.

        Raises:
            SignalError: At the end, if a recording had no usable window.

        Warns:
            UserWarning: At the end, of windows that are left out or hard to read.
        """
        starts, seconds = self.starts.tolist(), self.window_seconds
        every = [reader.windows(self.recordings[name], starts, seconds) for name, reader in self.readers.items()]
        seen: dict[str, list[Window]] = {name: [] for name in self.readers}
        pending: list[tuple[float, tuple[Window, ...]]] = []
        notes = self.notes
        for start, row in zip(starts, zip(*every, strict=True), strict=True):
            for name, window in zip(seen, row, strict=True):
                seen[name].append(window.light())
            if any(window.usable for window in row):
                if len(pending) == self.batch_size:  # one more is there, so these are not the last
                    yield self._inputs(pending, notes)
                    pending, notes = [], ()
                pending.append((start, row))
        yield self._inputs(pending, (*notes, *self._judge(seen)))

    def _judge(self, seen: Mapping[str, Sequence[Window]]) -> tuple[str, ...]:
        notes: list[str] = []
        for name, reader in self.readers.items():
            if not any(window.usable for window in seen[name]):
                raise reader.refuse(seen[name])
            others = " and ".join(other for other in self.readers if other != name)
            otherwise = f"there the answer is from {others} alone" if others else "left out"
            notes += reader.notes(self.starts.tolist(), seen[name], otherwise)
        for note in notes:
            warn(note)
        return tuple(notes)

    def _inputs(self, rows: Sequence[tuple[float, tuple[Window, ...]]], notes: tuple[str, ...]) -> Inputs:
        starts = [start for start, _ in rows]
        columns = dict(zip(self.readers, zip(*(windows for _, windows in rows), strict=True), strict=True))
        present = {name: torch.tensor([window.usable for window in column]) for name, column in columns.items()}
        first = next(iter(self.readers))
        return Inputs(
            {name: torch.stack([window.tensor for window in column]) for name, column in columns.items()},
            torch.tensor(starts, dtype=torch.float64),
            self.window_seconds,
            tuple(what for name, reader in self.readers.items() for what in reader.dropped(self.recordings[name])),
            quality={
                name: torch.tensor([window.quality[name] for window in column])
                for column in columns.values()
                for name in column[0].quality
            },
            notes=notes,
            against=self.against,
            events=self.readers[first].events(self.recordings[first], starts),
            present={name: flags for name, flags in present.items() if not flags.all()},
            masks={name: mask for name, column in columns.items() if (mask := _mask(column)) is not None},
        )


def _mask(windows: Sequence[Window]) -> torch.Tensor | None:
    """Return the windows' masks as one, where some frame is left out."""
    known = [window.mask for window in windows if window.mask is not None]
    if all(bool(mask.all()) for mask in known):
        return None
    every = torch.ones_like(known[0])
    return torch.stack([every if window.mask is None else window.mask for window in windows])


def _readers(spec: InputSpec, options: Mapping[str, Any]) -> dict[str, Reader[Any]]:
    classes = {name: reader_class(name) for name in spec.modalities}
    known = {
        name: [p.name for p in inspect.signature(cls).parameters.values() if p.kind is p.KEYWORD_ONLY]
        for name, cls in classes.items()
    }
    for option in options:
        if not any(option in names for names in known.values()):
            those = [name for names in known.values() for name in names]
            raise ConfigError(
                f"{option}: no such option for a model of {', '.join(classes) or 'nothing'}; there is "
                f"{', '.join(those) or 'none'}.{did_you_mean(option, those)}"
            )
    return {
        name: cls(spec.of(name), spec.window_seconds, **{o: options[o] for o in known[name] if o in options})
        for name, cls in classes.items()
    }


def _check_overlap(recordings: Mapping[str, Recording]) -> None:
    """Refuse recordings that have no moment in common."""
    if max(r.start for r in recordings.values()) < min(r.stop for r in recordings.values()):
        return
    raise SignalError(f"recordings: {_spans(recordings)}: they do not overlap. {_way_out(recordings)}")


def _way_out(recordings: Mapping[str, Recording]) -> str:
    name, last = list(recordings.items())[-1]
    return (
        "Say when each began on the clock that they share, such as "
        f"evermodels.signals.{type(last).__name__}(path, start=1.2), or --start {name}=1.2 on the command line."
    )


def _spans(recordings: Mapping[str, Recording]) -> str:
    return " and ".join(f"{name} lasts from {r.start:.3f} to {r.stop:.3f} s" for name, r in recordings.items())


def _covered(recording: Recording) -> str:
    """Return where a recording is, gap by gap: one in its middle leaves windows out too."""
    spans = [f"{begin:.3f} to {end:.3f} s" for begin, end in recording.coverage]
    more = len(spans) - _MOST_SPANS
    return ", ".join(spans[:_MOST_SPANS]) + (f" and {more} further stretches" if more > 0 else "")


def _plan(
    recordings: Mapping[str, Recording], seconds: float, overlap: float, left_out: Sequence[tuple[float, float]]
) -> tuple[np.ndarray, list[str]]:
    """Return where the windows begin that all recordings cover and no baseline holds, and what is to be said of it."""
    (first, own), *others = recordings.items()
    starts = grid(own, seconds, overlap)
    for begin, end in left_out:
        starts = starts[(starts + seconds <= begin + 1e-9) | (starts >= end - 1e-9)]
        if not len(starts):
            raise SignalError(
                f"{first}: nothing is left to read beside the baseline, {begin:g} to {end:g} s of {own.start:.1f} to "
                f"{own.stop:.1f} s; one window needs {seconds:g} s. Give a longer recording or a shorter baseline."
            )
    said, all_covered = [], np.ones(len(starts), dtype=bool)
    for name, other in others:
        covered = covers(other, starts, seconds)
        if not covered.all():
            said.append(
                f"{name}: {int((~covered).sum())} of {len(starts)} windows of {first} are left out, because {name} "
                f"covers only {_covered(other)}."
            )
        all_covered &= covered
    if not all_covered.any():
        raise SignalError(
            f"recordings: {_spans(recordings)}, and they cover none of the {len(starts)} windows of {seconds:g} s "
            f"together. Give longer recordings. {_way_out(recordings)}"
        )
    for note in said:
        warn(note)
    return starts[all_covered], said


def _check_memory(inputs: Inputs, windows: int) -> None:
    size = sum(t.element_size() * t.numel() for t in inputs.tensors.values()) / len(inputs) * windows
    most = _PART_OF_MEMORY * physical_memory()
    if size > most:
        raise ConfigError(
            f"inputs: {windows:,} windows take {size / 2**30:.1f} GB, more than the {most / 2**30:.1f} GB (a quarter "
            "of the memory) that are allowed at once. Read them one after the other with stream(...), give a smaller "
            "overlap, or a shorter stretch of the recording."
        )
