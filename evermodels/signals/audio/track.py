"""The sound track of a video, and sound files that soundfile does not read, through PyAV (FFmpeg)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from evermodels.core.errors import SignalError, boundary, require
from evermodels.signals.audio.sources import LONGEST, SoundSource, Stretch, scaled

_GAP = 0.05  # seconds between two frames from which on they are not one stretch; time stamps are rounded to 1 ms
_ROUNDED = 2e-3  # seconds; the same after something that could not be decoded
_OVERLAP = 1.0  # seconds that time stamps may go back by
_SLACK = 0.25  # seconds that a container's stated length may exceed its last frame


class _Decoded(NamedTuple):
    frame: Any
    broken: bool  # something before it could not be decoded


class Track(SoundSource):
    """The first sound track of a file; its own clock begins with the first picture, where there are pictures.

    Sound is packed in frames of about 1000 samples, so it rarely begins and ends with the pictures. Up to 0.05 s
    between them are silence of the track; more is a part without sound.

    The whole track is decoded once when it is opened, to know what is there (about 2 s for an hour of AAC on one
    core), and once more when it is read, from the beginning: what is read is what was found.

    Args:
        path: The file.

    Raises:
        SignalError: If the file is damaged, cut short, or has no sound track.
        MissingExtraError: If PyAV is not installed.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, path.name
        with self._boundary():
            origin, end, stated = self._header()
            self._scan(stated)
            self._place(origin, end)
        self.check()

    @property
    def av(self) -> ModuleType:
        """The package, not kept, since a module cannot be handed to another process."""
        purpose = f"read the sound of {self.name} (soundfile alone reads WAV, FLAC, Ogg, MP3, AIFF and the like)"
        return require("av", extra="video", purpose=purpose)

    def _boundary(self) -> Any:
        way_out = (
            "The file is damaged or of a kind that FFmpeg does not read: copy it again, or convert it with ffmpeg."
        )
        return boundary(SignalError, f"{self.name}: its sound cannot be read", way_out)

    def _container(self) -> Any:
        try:
            container = self.av.open(str(self.path))
        except self.av.error.FFmpegError as error:
            raise SignalError(
                f"{self.name}: it cannot be opened as sound or video ({error}). The file is cut short or neither: copy "
                "it again, or convert it with ffmpeg."
            ) from error
        if not container.streams.audio:
            kinds = " and ".join(sorted({stream.type for stream in container.streams})) or "nothing"
            container.close()
            raise SignalError(
                f"{self.name}: the file has no sound track, only {kinds}. Leave audio out, or give the sound."
            )
        return container

    def _header(self) -> tuple[float | None, float | None, float | None]:
        """Return when the pictures begin and end, and how long the sound lasts, by what the container says."""
        with self._container() as container:
            track = container.streams.audio[0]
            if len(container.streams.audio) > 1:
                self.notes += (
                    f"{self.name}: it has {len(container.streams.audio)} sound tracks; the first one is read.",
                )
            stated = _seconds(track.duration, track)
            pictures = [s for s in container.streams.video if not s.disposition & type(s.disposition).attached_pic]
            if not pictures:
                return None, None, stated
            length = _seconds(pictures[0].duration, pictures[0])
            if length is None and container.duration is not None:  # of the longer one, in microseconds
                length = container.duration / 1e6
            begin = _seconds(pictures[0].start_time, pictures[0])
            if begin is None:
                begin = next((frame.time for frame in container.decode(pictures[0]) if frame.time is not None), 0.0)
            return begin, None if length is None else begin + length, stated

    def _decode(self) -> Iterator[_Decoded]:
        with self._container() as container:
            track = container.streams.audio[0]
            broken = False
            try:
                for packet in container.demux(track):
                    try:
                        frames = packet.decode()
                    except self.av.error.InvalidDataError:
                        broken = True
                        continue
                    for frame in frames:
                        yield _Decoded(frame, broken)
                        broken = False
            except self.av.error.InvalidDataError:
                return  # the caller sees where the sound ends, which says more than the container

    def _scan(self, stated: float | None) -> None:
        """Decode everything once: the rate, the channels, and which samples follow each other without a gap."""
        found: list[Stretch] = []
        begin, first, total, lost = 0.0, 0, 0, 0
        for frame, broken in self._decode():
            shape = float(frame.sample_rate), int(frame.layout.nb_channels)
            if total == 0:
                self.sfreq, self.channels = shape
                begin = frame.time or 0.0
                self.check_form()
            elif shape != (self.sfreq, self.channels):
                raise self._changes(shape, begin + (total - first) / self.sfreq)
            expected = begin + (total - first) / self.sfreq
            ahead = 0.0 if frame.time is None else frame.time - expected
            lost += broken
            if abs(ahead) > (_ROUNDED if broken else _GAP):
                if ahead < -_OVERLAP:
                    raise SignalError(
                        f"{self.name}: the time stamps of its sound go back by {-ahead:.3f} s at {expected:.3f} s. The "
                        "file is damaged or joined from several: convert it with ffmpeg."
                    )
                found.append(Stretch(begin, first, total - first))
                begin = max(frame.time, expected)
                first = total + max(0, round(-ahead * self.sfreq))  # what was there before is not read twice
            total += frame.samples
            if total > LONGEST * self.sfreq:
                break  # refused by check
        found.append(Stretch(begin, first, total - first))
        found = [stretch for stretch in found if stretch.samples > 0]
        if not found:
            raise SignalError(f"{self.name}: its sound track is empty: no sample could be decoded.")
        end = found[-1].begin + found[-1].samples / self.sfreq
        if stated is not None and end - found[0].begin < stated - _SLACK:
            raise SignalError(
                f"{self.name}: the sound is cut short: the file says that it lasts {stated:.3f} s, and its last "
                f"readable sample stands at {end - found[0].begin:.3f} s. Copy it again, or save what is there with "
                "ffmpeg as a new file."
            )
        self.stretches = tuple(found)
        self._say(lost)

    def _place(self, origin: float | None, end: float | None) -> None:
        """Set the clock to that of the pictures, or to the first sample where there are none."""
        zero = self.stretches[0].begin if origin is None else origin
        self.stretches = tuple(stretch._replace(begin=stretch.begin - zero) for stretch in self.stretches)
        begin, last = self.stretches[0].begin, self.stretches[-1]
        if abs(begin) > _GAP:
            order = "after" if begin > 0 else "before"
            self.notes += (f"{self.name}: its sound begins {abs(begin):.3f} s {order} its first picture.",)
        after = 0.0 if end is None else end - zero - (last.begin + last.samples / self.sfreq)
        self.edges = (begin if 0 < begin <= _GAP else 0.0, after if 0 < after <= _GAP else 0.0)

    def _changes(self, shape: tuple[float, int], seconds: float) -> SignalError:
        return SignalError(
            f"{self.name}: its sound changes from {self.sfreq:g} Hz and {self.channels} channels to {shape[0]:g} Hz "
            f"and {shape[1]} at {seconds:.3f} s. Convert it to one form with ffmpeg."
        )

    def _say(self, lost: int) -> None:
        if lost:
            self.notes += (f"{self.name}: in {lost} places its sound is damaged and cannot be decoded.",)
        if len(self.stretches) > 1:
            self.notes += (
                f"{self.name}: its sound is interrupted {len(self.stretches) - 1} times; no window crosses such a "
                "place.",
            )

    def blocks(self, first: int) -> Iterator[np.ndarray]:
        """Yield the samples, decoded from the beginning.

        Args:
            first: Number of the first one.
        """
        done = 0
        with self._boundary():
            for frame, _ in self._decode():
                if done + frame.samples > first:
                    yield _samples(frame)[:, max(0, first - done) :]
                done += frame.samples


def _seconds(ticks: int | None, stream: Any) -> float | None:
    return None if ticks is None or not stream.time_base else float(ticks * stream.time_base)


def _samples(frame: Any) -> np.ndarray:
    values = scaled(frame.to_ndarray())
    return values if frame.format.is_planar else values.reshape(-1, frame.layout.nb_channels).T
