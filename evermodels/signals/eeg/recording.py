"""The EEG recording as an object: signals in µV, names, rate, and the uninterrupted stretches that they consist of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from evermodels.core.errors import ShapeError, SignalError
from evermodels.montage import canonical_all
from evermodels.signals.eeg.checks import check_finite, check_shape
from evermodels.signals.room import check_rate


class MissingChannelsError(SignalError):
    """A recording lacks channels that were asked for.

    Args:
        message: What is missing, and the way out.
        present: The channels that it has, canonical names.
    """

    def __init__(self, message: str, present: Sequence[str]) -> None:
        super().__init__(message)
        self.present = tuple(present)


@dataclass(frozen=True, eq=False, repr=False)
class EEGRecording:
    """One EEG recording.

    Args:
        data: Signals in µV, ``(channels, time)`` float32, finite.
        ch_names: Canonical channel names, one a row.
        sfreq: Sampling rate in Hz.
        segments: Uninterrupted stretches as ``(first sample, sample after the last)`` in order; one for a continuous
            recording (the default), one an epoch for epochs and trials, several where a recording was paused or marked
            bad. Filters and windows never cross their borders.
        dropped: Names in the source that were left out because they are not EEG electrodes.
        onsets: When each segment begins, in seconds of the recording's own clock (default: as if the samples stood one
            after the other, so a gap needs it).
        events: What each segment is, such as the condition of a trial; empty where nothing is known.
        notes: What reading it showed and a result cannot know, in whole sentences for people.

    Raises:
        ShapeError: If ``data`` is not ``(channels, time)`` or does not fit ``ch_names``.
        SignalError: If it is empty or holds NaN or infinities, or ``segments``, ``onsets`` and ``events`` do not fit.

    Example:
        >>> recording = EEGRecording(np.ones((2, 500), dtype="float32"), ("Fz", "Cz"), 250.0)
        >>> recording
        EEGRecording(2 channels Fz, Cz, 250 Hz, 2.0 s)
        >>> recording.duration, recording.pick(["CZ"]).ch_names
        (2.0, ('Cz',))
    """

    data: np.ndarray
    ch_names: tuple[str, ...]
    sfreq: float
    segments: tuple[tuple[int, int], ...] = ()
    dropped: tuple[str, ...] = field(default=())
    onsets: tuple[float, ...] = field(default=())
    events: tuple[str, ...] = field(default=())
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        """Check shape, names, rate and values."""
        check_shape(self.data)
        object.__setattr__(self, "data", np.ascontiguousarray(self.data, dtype=np.float32))
        object.__setattr__(self, "ch_names", canonical_all(self.ch_names))
        check_names(len(self.ch_names), self.data.shape)
        object.__setattr__(self, "sfreq", check_rate(self.sfreq))
        self._check_segments()
        check_finite(self.data, self.ch_names, self.sfreq)

    def _check_segments(self) -> None:
        length = self.data.shape[1]
        if not self.segments:
            object.__setattr__(self, "segments", ((0, length),))
        last = 0
        for start, stop in self.segments:
            if not last <= start < stop <= length:
                raise SignalError(
                    f"segments: expected (first sample, sample after the last) in order and within 0..{length}, got "
                    f"({start}, {stop})."
                )
            last = stop
        if not self.onsets:
            object.__setattr__(self, "onsets", tuple(start / self.sfreq for start, _ in self.segments))
        for key in ("onsets", "events"):
            count = len(getattr(self, key))
            if count != len(self.segments) and (count or key == "onsets"):
                raise SignalError(f"{key}: expected one for each of the {len(self.segments)} segments, got {count}.")

    @property
    def duration(self) -> float:
        """Length of the signal in seconds; gaps do not count."""
        return self.data.shape[1] / self.sfreq

    def pick(self, ch_names: Sequence[str]) -> EEGRecording:
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
        return replace(self, data=self.data[rows], ch_names=wanted, dropped=self.dropped + rest)

    @property
    def end(self) -> float:
        """When the last sample ends, in seconds of the recording's own clock, pauses counted."""
        start, stop = self.segments[-1]
        return self.onsets[-1] + (stop - start) / self.sfreq

    def between(self, start: float, stop: float) -> EEGRecording:
        """Return what lies between two times of the recording's own clock.

        Args:
            start: Begin in seconds.
            stop: End in seconds.

        Raises:
            SignalError: If nothing was recorded between them.

        Example:
            >>> recording = EEGRecording(np.ones((1, 500)), ("Cz",), 100.0, ((0, 300), (300, 500)), onsets=(0.0, 10.0))
            >>> part = recording.between(2.0, 11.0)
            >>> part.segments, part.onsets, recording.end
            (((0, 100), (100, 200)), (2.0, 10.0), 12.0)
        """
        places, kept = [], []
        for number, ((a, b), onset) in enumerate(zip(self.segments, self.onsets, strict=True)):
            first = a + max(0, round((start - onset) * self.sfreq))
            last = min(b, a + round((stop - onset) * self.sfreq))
            if first < last:
                places.append((first, last, onset + (first - a) / self.sfreq))
                kept.append(number)
        if not places:
            raise SignalError(
                f"eeg: nothing was recorded from {start:g} to {stop:g} s; the recording ends at {self.end:.1f} s."
            )
        ends = np.cumsum([0, *(b - a for a, b, _ in places)]).tolist()
        return replace(
            self,
            data=np.concatenate([self.data[:, a:b] for a, b, _ in places], axis=1),
            segments=tuple(pairwise(ends)),
            onsets=tuple(onset for _, _, onset in places),
            events=tuple(self.events[k] for k in kept) if self.events else (),
        )

    def __repr__(self) -> str:
        names = ", ".join(self.ch_names[:4]) + (" …" if len(self.ch_names) > 4 else "")
        pieces = f" in {len(self.segments)} segments" if len(self.segments) > 1 else ""
        return f"EEGRecording({len(self.ch_names)} channels {names}, {self.sfreq:g} Hz, {self.duration:.1f} s{pieces})"


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
