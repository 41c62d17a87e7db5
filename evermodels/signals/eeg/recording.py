"""The EEG recording as an object: signals in µV, names, rate, and the uninterrupted stretches that they consist of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np

from evermodels.core.errors import ConfigError, ShapeError, SignalError
from evermodels.montage import canonical_all
from evermodels.signals.eeg.checks import check_finite, check_shape
from evermodels.signals.room import check_rate, check_start


class MissingChannelsError(SignalError):
    """A recording lacks channels that were asked for.

    Args:
        message: What is missing, and the way out.
        present: The channels that it has, canonical names.
    """

    def __init__(self, message: str, present: Sequence[str]) -> None:
        super().__init__(message)
        self.present = tuple(present)


@dataclass(frozen=True, eq=False, repr=False, init=False)
class EEG:
    """One EEG recording: signals in µV, channel names, rate, and when it began.

    Attributes: ``data`` ``(channels, time)`` float32 in µV, finite; ``ch_names``, canonical; ``sfreq`` in Hz;
    ``segments``, its uninterrupted stretches as ``(first sample, sample after the last)``, one for a continuous
    recording, one an epoch for epochs and trials, several where it was paused or marked bad (filters and windows never
    cross their borders); ``dropped``, names in the source that were left out; ``onsets``, when each segment begins in
    seconds after ``start``; ``events``, what each segment is; ``notes``, what reading it showed, in whole sentences;
    ``start`` in seconds on the clock that all recordings of a session share.

    Args:
        source: As in :func:`~evermodels.signals.read_eeg`.
        ch_names: As in :func:`~evermodels.signals.read_eeg`.
        sfreq: Sampling rate of an array in Hz.
        unit: Unit of an array (it is never guessed), or of a file whose header names none.
        start: When it begins, in seconds on the shared clock (default: 0, or that of the recording which is given).
        events: What each trial of an array is.

    Raises:
        FileNotFoundError: As :func:`~evermodels.signals.read_eeg`.
        SignalError: As :func:`~evermodels.signals.read_eeg`.
        ShapeError: As :func:`~evermodels.signals.read_eeg`.
        UnknownNameError: As :func:`~evermodels.signals.read_eeg`.
        ConfigError: If ``start`` is no finite number.

    Example:
        >>> volts = 2e-5 * np.random.default_rng(0).standard_normal((2, 500))
        >>> recording = EEG(volts, ch_names=["Fz", "EEG T3"], sfreq=250, unit="V", start=3.0)
        >>> recording
        EEG(2 channels Fz, T7, 250 Hz, 2.0 s from 3.0 s on)
        >>> recording.coverage, recording.pick(["T3"]).ch_names
        (((3.0, 5.0),), ('T7',))
    """

    modality: ClassVar[str] = "eeg"

    data: np.ndarray
    ch_names: tuple[str, ...]
    sfreq: float
    segments: tuple[tuple[int, int], ...]
    dropped: tuple[str, ...]
    onsets: tuple[float, ...]
    events: tuple[str, ...]
    notes: tuple[str, ...]
    start: float

    def __init__(
        self,
        source: Any,
        *,
        ch_names: Sequence[str] | None = None,
        sfreq: float | None = None,
        unit: str | None = None,
        start: float | None = None,
        events: Sequence[Any] | None = None,
    ) -> None:
        from evermodels.signals.eeg.read import read_eeg

        made = read_eeg(source, ch_names=ch_names, sfreq=sfreq, unit=unit, start=start, events=events)
        vars(self).update(vars(made))

    @classmethod
    def from_microvolts(
        cls,
        data: np.ndarray,
        ch_names: Sequence[str],
        sfreq: float,
        segments: Sequence[tuple[int, int]] = (),
        *,
        dropped: Sequence[str] = (),
        onsets: Sequence[float] = (),
        events: Sequence[str] = (),
        notes: Sequence[str] = (),
        start: float = 0.0,
    ) -> EEG:
        """Make a recording of an array in µV, whatever its magnitude.

        Args:
            data: Signals in µV, ``(channels, time)``.
            ch_names: Channel names, one a row.
            sfreq: Sampling rate in Hz.
            segments: Uninterrupted stretches as ``(first sample, sample after the last)`` in order (default: one).
            dropped: Names in the source that were left out.
            onsets: When each segment begins, in seconds after ``start`` (default: as if the samples stood one after the
                other, so a gap needs it).
            events: What each segment is, such as the condition of a trial.
            notes: What reading it showed and a result cannot know, in whole sentences for people.
            start: When it begins, in seconds on the shared clock.

        Raises:
            ShapeError: If ``data`` is not ``(channels, time)`` or does not fit ``ch_names``.
            SignalError: If it is empty or holds NaN or infinities, or ``segments``, ``onsets`` and ``events`` do not
                fit.

        Example:
            >>> EEG.from_microvolts(np.ones((2, 500)), ("Fz", "Cz"), 250.0)
            EEG(2 channels Fz, Cz, 250 Hz, 2.0 s)
        """
        made = object.__new__(cls)
        vars(made).update(
            data=data,
            ch_names=tuple(ch_names),
            sfreq=sfreq,
            segments=tuple(segments),
            dropped=tuple(dropped),
            onsets=tuple(onsets),
            events=tuple(events),
            notes=tuple(notes),
            start=start,
        )
        made._check()
        return made

    def changed(self, **values: Any) -> EEG:
        """Return the recording with other values of some attributes.

        Args:
            **values: By attribute.

        Raises:
            ShapeError: As :meth:`from_microvolts`.
            SignalError: As :meth:`from_microvolts`.
        """
        return EEG.from_microvolts(**{**vars(self), **values})

    def _check(self) -> None:
        check_shape(self.data)
        set_ = vars(self).update
        set_(data=np.ascontiguousarray(self.data, dtype=np.float32), ch_names=canonical_all(self.ch_names))
        check_names(len(self.ch_names), self.data.shape)
        set_(sfreq=check_rate(self.sfreq), start=check_start(self.start))
        self._check_segments()
        check_finite(self.data, self.ch_names, self.sfreq)

    def _check_segments(self) -> None:
        length = self.data.shape[1]
        if not self.segments:
            vars(self).update(segments=((0, length),))
        last = 0
        for start, stop in self.segments:
            if not last <= start < stop <= length:
                raise SignalError(
                    f"segments: expected (first sample, sample after the last) in order and within 0..{length}, got "
                    f"({start}, {stop})."
                )
            last = stop
        if not self.onsets:
            vars(self).update(onsets=tuple(start / self.sfreq for start, _ in self.segments))
        for key in ("onsets", "events"):
            count = len(getattr(self, key))
            if count != len(self.segments) and (count or key == "onsets"):
                raise SignalError(f"{key}: expected one for each of the {len(self.segments)} segments, got {count}.")

    @property
    def duration(self) -> float:
        """Length of the signal in seconds; gaps do not count."""
        return self.data.shape[1] / self.sfreq

    def pick(self, ch_names: Sequence[str]) -> EEG:
        """Return the recording with these channels in this order.

        Args:
            ch_names: Names in any spelling, or a montage's name such as ``"epoc"``.

        Raises:
            SignalError: If the recording lacks some, which are named.
            UnknownNameError: If a name is no electrode's.
        """
        wanted = canonical_all(ch_names)
        missing = [name for name in wanted if name not in self.ch_names]
        if not wanted:
            raise SignalError("ch_names: expected at least one channel, got none.")
        if missing:
            lacks = f"ch_names: the recording has no {', '.join(missing)}; it has {', '.join(self.ch_names)}."
            raise MissingChannelsError(lacks, self.ch_names)
        if wanted == self.ch_names:
            return self
        rows = [self.ch_names.index(name) for name in wanted]
        rest = tuple(name for name in self.ch_names if name not in wanted)
        return self.changed(data=self.data[rows], ch_names=wanted, dropped=self.dropped + rest)

    @property
    def stop(self) -> float:
        """When the last sample ends, in seconds on the shared clock, pauses counted."""
        return self.coverage[-1][1]

    @property
    def coverage(self) -> tuple[tuple[float, float], ...]:
        """Its uninterrupted stretches, ``(start, stop)`` in seconds on the shared clock."""
        begins = [self.start + onset for onset in self.onsets]
        return tuple((begin, begin + (b - a) / self.sfreq) for begin, (a, b) in zip(begins, self.segments, strict=True))

    @property
    def interval(self) -> float:
        """Time between two samples in seconds."""
        return 1 / self.sfreq

    def between(self, start: float, stop: float) -> EEG:
        """Return what lies between two times of the shared clock.

        Args:
            start: Begin in seconds.
            stop: End in seconds.

        Raises:
            ConfigError: If they are not finite, or the end is not after the begin.
            SignalError: If nothing was recorded between them.

        Example:
            >>> data = np.ones((1, 500))
            >>> recording = EEG.from_microvolts(data, ("Cz",), 100.0, ((0, 300), (300, 500)), onsets=(0.0, 10.0))
            >>> part = recording.between(2.0, 11.0)
            >>> part.segments, part.coverage, recording.stop
            (((0, 100), (100, 200)), ((2.0, 3.0), (10.0, 11.0)), 12.0)
        """
        if not check_start(start) < check_start(stop, "stop"):
            raise ConfigError(f"start, stop: expected start < stop in seconds, got {start!r} and {stop!r}.")
        places, kept = [], []
        for number, ((a, b), onset) in enumerate(zip(self.segments, self.onsets, strict=True)):
            first = a + max(0, round((start - self.start - onset) * self.sfreq))
            last = min(b, a + round((stop - self.start - onset) * self.sfreq))
            if first < last:
                places.append((first, last, onset + (first - a) / self.sfreq))
                kept.append(number)
        if not places:
            raise SignalError(
                f"eeg: nothing was recorded from {start:g} to {stop:g} s; the recording goes from {self.start:.1f} to "
                f"{self.stop:.1f} s."
            )
        ends = np.cumsum([0, *(b - a for a, b, _ in places)]).tolist()
        return self.changed(
            data=np.concatenate([self.data[:, a:b] for a, b, _ in places], axis=1),
            segments=tuple(pairwise(ends)),
            onsets=tuple(onset for _, _, onset in places),
            events=tuple(self.events[k] for k in kept) if self.events else (),
        )

    def __repr__(self) -> str:
        names = ", ".join(self.ch_names[:4]) + (" …" if len(self.ch_names) > 4 else "")
        pieces = f" in {len(self.segments)} segments" if len(self.segments) > 1 else ""
        begins = f" from {self.start:.1f} s on" if self.start else ""
        length = f"{self.duration:.1f} s{pieces}{begins}"
        return f"EEG({len(self.ch_names)} channels {names}, {self.sfreq:g} Hz, {length})"


def check_names(count: int, shape: tuple[int, ...]) -> None:
    """Raise unless there are as many names as channels of an array, the last but one of its axes.

    Args:
        count: Names.
        shape: Shape of the array.
    """
    channels = shape[-2]
    if count == channels:
        return
    way_out = (
        "It seems to be (time, channels): transpose it."
        if count == shape[-1]
        else "Name each channel of the array, in its order, or leave out the rows that have no name."
    )
    raise ShapeError(
        f"ch_names: expected one name for each of the {channels} channels of shape {tuple(shape)}, got {count}. "
        f"{way_out}"
    )
