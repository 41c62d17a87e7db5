"""The sound recording as an object: one channel of sound, its rate, and its place on the clock of the session."""

from __future__ import annotations

import numbers
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch

from evermodels.core.errors import ConfigError, SignalError
from evermodels.core.memory import physical_memory
from evermodels.signals.audio.resampling import Ratio, ratio, resample
from evermodels.signals.audio.sources import ArraySource, SoundSource, Stretch, not_finite, open_source
from evermodels.signals.room import check_rate, check_start

Channel = int | Literal["mean"] | None

_SAME_RATE = 1e-6
_MOST_PEAK = 2.0  # decoders of lossy sound overshoot full scale, by less than this
_PART_OF_MEMORY = 0.25


class Audio:
    """One recording of sound, one channel of it.

    Samples stay in the file and are read window by window. Files of soundfile (WAV, FLAC, Ogg, MP3, AIFF, …) need the
    extra ``audio``; sound tracks of videos, AAC and the rest that FFmpeg reads need the extra ``video``. A sound
    track's clock is that of its pictures: ``Audio("clip.mp4")`` and ``Video("clip.mp4")`` belong together as they are.

    Args:
        source: A path, an array or tensor ``(time,)`` or ``(channels, time)`` (floating point in -1..1, or integers of
            8, 16 or 32 bits, which are divided by the full scale of their type), or an :class:`Audio`.
        sfreq: Sampling rate of an array in Hz (needed). A file has its own; where it is given it must agree.
        channel: Which channel of several: its number from 0, or ``"mean"`` for the mean of all. ``None`` (default)
            takes sound of one channel only: which side holds the voice, nobody but you knows.
        start: When its clock begins, in seconds on the clock that the recordings of a session share (default: 0, or
            that of the recording which is given).

    Raises:
        FileNotFoundError: If there is no such file.
        SignalError: If it is empty, damaged, cut short, without a sound track, or longer than two days; if its rate is
            none between 4 and 192 kHz or another one than ``sfreq``; if it has several channels and none is chosen; if
            an array has no rate, holds NaN, or exceeds -1..1.
        ShapeError: If an array has other axes.
        ConfigError: If ``channel`` or ``start`` is impossible.
        MissingExtraError: If the package that reads this kind of file is not installed.

    Example:
        >>> sound = (1000 * np.sin(np.arange(32000))).astype("int16")
        >>> audio = Audio(sound, sfreq=16000, start=1.5)
        >>> audio
        Audio(16000 Hz, 1.500 to 3.500 s)
        >>> audio.read(2.0, 2.001).shape
        (16,)
        >>> Audio(np.zeros((2, 100)), sfreq=16000)
        Traceback (most recent call last):
            ...
        evermodels.core.errors.SignalError: channel: audio has 2 channels. Give channel=0 to 1, or channel='mean' ...
    """

    modality: ClassVar[str] = "audio"

    def __init__(
        self, source: Any, *, sfreq: float | None = None, channel: Channel = None, start: float | None = None
    ) -> None:
        shift = 0.0 if start is None else check_start(start)
        if isinstance(source, Audio):
            self.source: SoundSource = source.source
            shift = source._shift if start is None else shift
            channel = source.channel if channel is None else channel
        elif isinstance(source, (str, PathLike)):
            self.source = open_source(Path(source))
        else:
            self.source = _array(source, sfreq)
        self._shift: float = shift
        self.name = self.source.name
        self.sfreq = self.source.sfreq
        self._check_rate(sfreq)
        self.channel: Channel = self._check_channel(channel)

    def _check_rate(self, sfreq: float | None) -> None:
        if sfreq is not None and abs(check_rate(sfreq) / self.sfreq - 1) > _SAME_RATE:
            raise SignalError(
                f"sfreq: {self.name} says that it has {self.sfreq:g} Hz, and {float(sfreq):g} Hz was given. Leave "
                "sfreq out; if the file is wrong, read its samples and give the array with its true rate."
            )

    def _check_channel(self, channel: Any) -> Channel:
        count = self.source.channels
        number = isinstance(channel, (int, np.integer)) and not isinstance(channel, bool)
        if channel is None and count > 1:
            raise SignalError(
                f"channel: {self.name} has {count} channels. Give channel=0 to {count - 1}, or channel='mean' for the "
                "mean of all, which a voice of opposite sign on two sides does not survive: Audio(…, channel='mean') "
                "(--channel on the command line)."
            )
        if not (channel is None or channel == "mean" or (number and 0 <= channel < count)):
            raise ConfigError(
                f"channel: expected 0 to {count - 1}, 'mean' or None, got {channel!r}; {self.name} has {count} "
                f"channel{'s' if count > 1 else ''}."
            )
        return int(channel) if number else channel

    @property
    def _stretches(self) -> tuple[Stretch, ...]:
        return tuple(s._replace(begin=s.begin + self._shift) for s in self.source.stretches)

    @property
    def coverage(self) -> tuple[tuple[float, float], ...]:
        """Uninterrupted stretches ``(start, stop)`` in seconds on the shared clock."""
        spans = [[s.begin, s.begin + s.samples / self.sfreq] for s in self._stretches]
        spans[0][0] -= self.source.edges[0]
        spans[-1][1] += self.source.edges[1]
        return tuple((begin, end) for begin, end in spans)

    @property
    def start(self) -> float:
        """When its first sample was taken, in seconds on the shared clock."""
        return self.coverage[0][0]

    @property
    def stop(self) -> float:
        """When it ends, in seconds on the shared clock."""
        return self.coverage[-1][1]

    @property
    def interval(self) -> float:
        """Time between two samples in seconds."""
        return 1 / self.sfreq

    @property
    def notes(self) -> tuple[str, ...]:
        """What opening it showed, in whole sentences."""
        return self.source.notes

    def read(self, start: float | None = None, stop: float | None = None, *, sfreq: float | None = None) -> np.ndarray:
        """Return the sound between two times.

        Args:
            start: Seconds on the shared clock (default: the beginning).
            stop: Seconds on the shared clock (default: the end).
            sfreq: Rate of the result in Hz (default: the recording's own).

        Returns:
            ``(time,)`` float32 in -1..1, ``round((stop - start) * sfreq)`` samples.

        Raises:
            SignalError: If there is no uninterrupted sound between them, or it is damaged there.
            ConfigError: If they are impossible, or what lies between them would not fit into a quarter of the memory.

        Example:
            >>> tone = Audio(np.sin(np.arange(44100) / 10).astype("float32"), sfreq=44100)
            >>> tone.read(0.25, 0.75, sfreq=16000).shape
            (8000,)
        """
        begin = self.start if start is None else check_start(start)
        end = self.stop if stop is None else check_start(stop, "stop")
        if not begin < end:
            raise ConfigError(f"start, stop: expected start < stop in seconds, got {begin:g} and {end:g}.")
        return next(self.cut([begin], end - begin, self.sfreq if sfreq is None else check_rate(sfreq)))[1]

    def cut(self, starts: Any, seconds: float, sfreq: float) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield windows one after the other, as they were recorded and at another rate; one at a time is kept.

        A window at another rate depends on nothing but its place in the recording: the filter sees the sound to both
        sides of it, as it would if the whole recording were resampled.

        Args:
            starts: Where they begin, in seconds on the shared clock, in order of time.
            seconds: Their length.
            sfreq: Rate in Hz.

        Yields:
            ``(time,)`` float32 at the recording's rate and at ``sfreq``.

        Raises:
            SignalError: If a window is not covered, or the sound is damaged there.
            ConfigError: If a window does not fit into a quarter of the memory.
        """
        by = ratio(self.sfreq, sfreq)
        length, wanted = max(1, round(seconds * self.sfreq)), max(1, round(seconds * sfreq))
        self._check_memory(seconds, length + 2 * by.margin, wanted)
        cursor = _Cursor(self)
        for start in starts:
            stretch, place = self._place(check_start(start), length)
            begin, end = max(0, place), min(stretch.samples, place + length)
            before, after = min(by.margin, begin), min(by.margin, stretch.samples - end)
            sound = cursor.read(stretch, begin - before, end + after)
            if end - begin < length:  # at the very beginning or end
                sound = np.pad(sound, (begin - place, place + length - end))
            yield sound[before : before + length], _window(sound, before, length, wanted, by)

    def _place(self, start: float, length: int) -> tuple[Stretch, int]:
        """Return the stretch of a window and the sample in it at which the window begins, a few before it at most."""
        stretches = self._stretches
        for number, stretch in enumerate(stretches):
            place = round((start - stretch.begin) * self.sfreq)
            edges = [round(edge * self.sfreq) for edge in self.source.edges]
            first = 1 + edges[0] * (number == 0)  # 1 by rounding
            last = 1 + edges[1] * (number == len(stretches) - 1)
            if -first <= place <= stretch.samples + last - length:
                return stretch, place
        covered = ", ".join(f"{a:.3f} to {b:.3f} s" for a, b in self.coverage[:5])
        raise SignalError(
            f"{self.name}: the window {start:.3f} to {start + length / self.sfreq:.3f} s is not covered; there is "
            f"sound from {covered}{' and further stretches' if len(self.coverage) > 5 else ''}."
        )

    def _check_memory(self, seconds: float, length: int, wanted: int) -> None:
        size, most = 24.0 * (length + wanted), _PART_OF_MEMORY * physical_memory()
        if size > most:
            raise ConfigError(
                f"audio: {seconds:g} s of sound at once take {size / 2**30:.1f} GB, more than the {most / 2**30:.1f} "
                "GB (a quarter of the memory) that are allowed. Read it in windows."
            )

    def __repr__(self) -> str:
        return f"Audio({self.sfreq:g} Hz, {self.start:.3f} to {self.stop:.3f} s)"


def _array(source: Any, sfreq: float | None) -> ArraySource:
    if not isinstance(source, (np.ndarray, torch.Tensor, list, tuple)):
        raise SignalError(
            f"audio: cannot read a {type(source).__name__}. Give a path, or an array with sfreq=, its rate in Hz."
        )
    if isinstance(source, tuple) and len(source) == 2 and isinstance(source[1], numbers.Real):
        if not isinstance(source[0], numbers.Real):
            raise SignalError(f"audio: got (array, {source[1]}). Give Audio(array.T, sfreq={source[1]}).")
    if sfreq is None:
        raise SignalError("sfreq: an array does not say its rate. Give it in Hz: Audio(array, sfreq=16000).")
    return ArraySource(source, check_rate(sfreq))


def _window(sound: np.ndarray, before: int, length: int, wanted: int, by: Ratio) -> np.ndarray:
    if by.up == by.down:
        return _fill(sound[before : before + length], wanted)
    silence = -before % by.down  # before the recording's beginning, so that a new sample stands where the window begins
    first = (silence + before) // by.down * by.up
    return _fill(resample(np.pad(sound, (silence, 0)), by)[first : first + wanted], wanted)


def _fill(sound: np.ndarray, wanted: int) -> np.ndarray:
    """Return exactly so many samples: where rounding left one out at the very end, silence."""
    return sound if len(sound) == wanted else np.pad(sound[:wanted], (0, max(0, wanted - len(sound))))


class _Cursor:
    """Samples of one channel, asked for in order of time: what was read is kept until it is passed."""

    def __init__(self, audio: Audio) -> None:
        self.audio = audio
        self.blocks: Iterator[np.ndarray] | None = None
        self.parts: list[np.ndarray] = []
        self.first = self.end = 0  # numbers of the samples that are kept

    def read(self, stretch: Stretch, begin: int, end: int) -> np.ndarray:
        """Return samples of a stretch; ``begin`` never goes back.

        Args:
            stretch: The stretch.
            begin: First sample, counted from the stretch's first.
            end: Sample after the last.
        """
        begin, end = stretch.first + begin, stretch.first + end
        if self.blocks is None or begin < self.first or begin > self.end:
            self.parts, self.first, self.end = [], begin, begin
            self.blocks = self.audio.source.blocks(begin)
        while self.end < end:
            block = next(self.blocks, None)
            if block is None:
                raise SignalError(
                    f"{self.audio.name}: its sound ends before what it says. Copy the file again, or convert it."
                )
            self._add(block, stretch)
        kept = np.concatenate(self.parts)[begin - self.first :]
        self.parts, self.first = [kept], begin
        return kept[: end - begin]

    def _add(self, block: np.ndarray, stretch: Stretch) -> None:
        channel = self.audio.channel
        sound = block.mean(axis=0) if channel == "mean" else block[0 if channel is None else channel]
        peak = float(np.abs(sound).max(initial=0.0))
        if not peak <= _MOST_PEAK:
            seconds = stretch.begin + (self.end - stretch.first) / self.audio.sfreq
            if not np.isfinite(peak):
                raise not_finite(self.audio.name, seconds + int(np.argmin(np.isfinite(sound))) / self.audio.sfreq)
            raise SignalError(
                f"{self.audio.name}: values reach {peak:.6g} near {seconds:.3f} s, and full scale is 1. The file holds "
                "sound of another scale: read it, divide it by its full scale, and give the array."
            )
        self.parts.append(sound)
        self.end += len(sound)


def read_audio(
    source: Any,
    sfreq: float,
    *,
    start: float | None = None,
    stop: float | None = None,
    channel: Channel = None,
) -> np.ndarray:
    """Read sound at a rate, all of it or a window of time.

    Args:
        source: A path, or an :class:`Audio`. A path's clock begins with its first sample; with a video's, with its
            first picture.
        sfreq: Rate of the result in Hz; ``scipy.signal.resample_poly`` brings it there.
        start: Begin of the window in seconds (default: the beginning of the sound).
        stop: End of the window in seconds (default: the end of the sound).
        channel: As in :class:`Audio`.

    Returns:
        ``(time,)`` float32 in -1..1.

    Raises:
        SignalError: As :class:`Audio` and :meth:`Audio.read`.
        ConfigError: As :meth:`Audio.read`.
        FileNotFoundError: If there is no such file.

    Example:
        >>> tone = Audio(np.sin(np.arange(8000) / 10).astype("float32"), sfreq=8000)
        >>> read_audio(tone, 16000.0, start=0.5).shape
        (8000,)
    """
    if not isinstance(source, (str, PathLike, Audio)):
        raise SignalError(
            f"audio: a {type(source).__name__} does not say its rate. Make a recording of it: Audio(array, sfreq=…)."
        )
    return Audio(source, channel=channel).read(start, stop, sfreq=sfreq)
