"""A video source that is open: a file through PyAV, or pictures at a fixed rate."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from evermodels.core.errors import ConfigError, SignalError, boundary, require
from evermodels.signals.video.pictures import (
    MOST_PIXELS,
    SUFFIXES,
    check_picture,
    check_size,
    natural_key,
    picture_array,
)

LONGEST = 2 * 24 * 3600.0
"""Seconds; a file that says it is longer is damaged."""

_RATES = (1e-3, 1e4)  # pictures per second of a sequence
_SEEK_FROM = 3.0  # seconds; nearer than this, decoding from the beginning is as quick
_EXACT = 0x2 | 0x2000 | 0x40000  # libswscale: bilinear, every colour sample, rounded; else a level too dark
_SLACK = 0.25  # seconds that a container's stated length may exceed its last frame


def check_rate(opened: File | Pictures, window: float | None = None) -> None:
    """Refuse a picture sequence of which nobody said how fast it is, or that is too slow for a window.

    Args:
        opened: What :func:`open_video` gave.
        window: Length of a window in seconds.

    Raises:
        ConfigError: If it is one.
    """
    if not isinstance(opened, Pictures):
        return
    if opened.fps is None:
        raise ConfigError(
            f"fps: {opened.name} is a sequence of {len(opened.pictures)} pictures, and nothing says how fast they were "
            "taken, so a window of time cannot be cut. Give fps, pictures per second: "
            "evermodels.signals.Video(pictures, fps=25), or --fps on the command line."
        )
    if window is not None and opened.interval > window:
        raise ConfigError(
            f"fps: at {opened.fps!r} a picture comes every {opened.interval:g} s, and a window is {window:g} s long, "
            "so most windows would hold none. Give the right rate, or longer windows."
        )


def is_number(value: Any) -> bool:
    """Return whether a value is a finite real number.

    Args:
        value: Anything.
    """
    return isinstance(value, numbers.Real) and math.isfinite(value)


def _av() -> ModuleType:
    return require("av", extra="video", purpose="read videos")


def open_video(source: Any, fps: float | None = None) -> File | Pictures:
    """Open a source once, for what needs its length and its frames.

    Args:
        source: As in :func:`read_video`.
        fps: As in :func:`read_video`.

    Returns:
        An object with ``name``, ``duration`` and ``interval`` in seconds, which :func:`read_clips` takes as its source.

    Raises:
        SignalError: If it cannot be read.
        ConfigError: If ``fps`` is impossible.
        FileNotFoundError: If there is no such file.
    """
    if isinstance(source, (File, Pictures)):
        return source
    if isinstance(source, (str, Path)) and not Path(source).is_dir():
        if fps is not None:
            raise ConfigError(f"fps: {fps!r} was given, but a video file has time stamps of its own. Leave it out.")
        return File(Path(source))
    if fps is not None and not (is_number(fps) and _RATES[0] <= fps <= _RATES[1]):
        raise ConfigError(
            f"fps: expected a positive number of pictures per second, {_RATES[0]:g} to {_RATES[1]:g}, got {fps!r}."
        )
    if isinstance(source, (str, Path)):
        folder = Path(source)
        with boundary(SignalError, f"{folder.name}: the folder cannot be read", "Look at its permissions."):
            paths = sorted((p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES), key=natural_key)
        if not paths:
            raise SignalError(f"{folder.name or folder}: the folder has no picture ({', '.join(SUFFIXES)}).")
        return Pictures(paths, fps, folder.name)
    if isinstance(source, torch.Tensor):
        source = source.detach().cpu().numpy()
    if isinstance(source, (np.ndarray, list, tuple)):
        return Pictures(source, fps, "video")
    raise SignalError(
        f"video: cannot read a {type(source).__name__}. Give a video file, a folder of pictures, a list of pictures, "
        "or an array (frames, height, width, 3) uint8."
    )


class Pictures:
    """A sequence of pictures at a fixed rate.

    Args:
        pictures: Paths, PIL images or arrays, or one array.
        fps: Pictures per second, or ``None`` if nobody said.
        name: What it is called.
    """

    def __init__(self, pictures: Sequence[Any] | np.ndarray, fps: float | None, name: str) -> None:
        if (isinstance(pictures, np.ndarray) and pictures.ndim == 0) or len(pictures) == 0:
            raise SignalError(f"{name}: the sequence is without a frame.")
        if isinstance(pictures, np.ndarray):
            check_picture(pictures[0], f"{name} of shape {pictures.shape}")
        self.pictures, self.fps, self.name = pictures, fps, name
        rate = fps or 1.0  # without one, only the whole sequence is asked for
        self.interval = 1 / rate
        self.duration = len(pictures) / rate

    def at(self, times: Sequence[float], until: float) -> Iterator[np.ndarray]:
        """Yield the picture on screen at each time.

        Args:
            times: Seconds after the first one, in order.
            until: When the last window ends.
        """
        last, picture = -1, None
        for time in times:
            index = min(int(time / self.interval + 1e-6), len(self.pictures) - 1)
            if index != last or picture is None:
                last, picture = index, picture_array(self.pictures[index], f"{self.name}, frame {index}")
            yield picture


class File:
    """A video file, read through PyAV.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        _av()
        self.path, self.name = path, path.name
        with self._boundary():
            if not path.exists():
                raise FileNotFoundError(f"video: there is no file {path}.")
            if path.stat().st_size == 0:
                raise SignalError(f"{self.name}: the file is empty (0 bytes). Copy it again.")
            self._read_header()

    def _read_header(self) -> None:
        with self._container() as container:
            stream = container.streams.video[0]
            rate = stream.average_rate or stream.guessed_rate
            base = stream.time_base
            self.origin = float(stream.start_time * base) if stream.start_time is not None and base else None
            stated = float(stream.duration * base) if stream.duration and base else _tag(stream)
        self.interval = float(1 / rate) if rate and rate > 0 else 1 / 25
        if stated is None or self.origin is None:  # a container that does not say: look at every frame
            first = last = None
            for last, _ in self._decode(0.0, origin=0.0):
                first = last if first is None else first
            if first is None or last is None:
                raise self._frameless()
            self.origin = first
            stated = last - first + self.interval
        if not 0 < stated <= LONGEST or not abs(self.origin) < 1e9:
            raise SignalError(
                f"{self.name}: its header says that it is {stated:g} s long and begins at {self.origin:g} s, which "
                f"cannot be (at most {LONGEST / 86400:g} days). The header is damaged: copy the file again, or convert "
                "it with ffmpeg."
            )
        self.duration = stated
        self.interval = min(self.interval, stated)

    def _boundary(self) -> Any:
        return boundary(
            SignalError,
            f"{self.name}: it cannot be read as a video",
            "The file is damaged or of a kind that FFmpeg does not read: copy it again, or convert it with ffmpeg.",
            passing=(FileNotFoundError,),
        )

    def _container(self) -> Any:
        try:
            container = _av().open(str(self.path))
        except _av().error.FFmpegError as error:
            raise SignalError(
                f"{self.name}: it cannot be opened as a video ({error}). The file is cut short or no video: "
                "copy it again, or convert it with ffmpeg."
            ) from error
        if not container.streams.video:
            container.close()
            raise SignalError(f"{self.name}: the file has no video stream, so it is a video without a frame.")
        return container

    def _frameless(self) -> SignalError:
        return SignalError(
            f"{self.name}: a video without a frame: none could be decoded. The file is empty, cut short or damaged."
        )

    def _decode(self, begin: float, *, origin: float) -> Iterator[tuple[float, Any]]:
        with self._container() as container:
            stream = container.streams.video[0]
            check_size(stream.codec_context.width, stream.codec_context.height, self.name)
            stream.codec_context.options = {"max_pixels": str(MOST_PIXELS)}  # frames need not be as the header says
            stream.thread_type = "AUTO"
            if begin > 0:
                container.seek(int((begin + origin) / stream.time_base), stream=stream, backward=True)
            try:
                for frame in container.decode(stream):
                    if frame.time is not None:
                        yield frame.time - origin, frame
            except _av().error.FFmpegError:
                return  # the caller sees where the frames end, which says more than the decoder

    def at(self, times: Sequence[float], until: float) -> Iterator[np.ndarray]:
        """Yield the frame on screen at each time, in one pass.

        Args:
            times: Seconds after the first frame, in order.
            until: When the last window ends.

        Raises:
            SignalError: If the video ends before.
        """
        with self._boundary():
            yield from self._at(times, until)

    def _at(self, times: Sequence[float], until: float) -> Iterator[np.ndarray]:
        origin = self.origin or 0.0
        begin = times[0] if times[0] > _SEEK_FROM else 0.0
        frames = self._decode(begin, origin=origin)
        current = next(frames, None)
        if begin and (current is None or current[0] > times[0]):  # some containers cannot seek
            frames = self._decode(0.0, origin=origin)
            current = next(frames, None)
        if current is None:
            raise self._frameless()
        coming = next(frames, None)
        picture: np.ndarray | None = None
        for k, time in enumerate(times):
            while coming is not None and coming[0] <= time + 1e-6:
                current, coming, picture = coming, next(frames, None), None
            if picture is None:
                picture = _to_array(current[1])
            last_seen, end = current[0], time
            if k == len(times) - 1:  # before the last picture goes out, see that the video reaches the window's end
                end = until
                while coming is not None:
                    last_seen, coming = coming[0], next(frames, None) if coming[0] < end else None
            if coming is None and last_seen < end - self.interval - _SLACK:
                raise SignalError(
                    f"{self.name}: the video is cut short: it says that it is {self.duration:.3f} s long, and its last "
                    f"readable frame stands at {last_seen:.3f} s. Copy it again, or give windows that end before."
                )
            yield picture


def _tag(stream: Any) -> float | None:
    """Length of a Matroska stream, which stands in a tag as hours:minutes:seconds."""
    try:
        hours, minutes, seconds = stream.metadata["DURATION"].split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except (KeyError, ValueError):
        return None


def _to_array(frame: Any) -> np.ndarray:
    picture = frame.reformat(format="rgb24", interpolation=_EXACT).to_ndarray()
    turns = round(getattr(frame, "rotation", 0) / 90) % 4  # a phone held upright writes turned pictures
    return np.ascontiguousarray(np.rot90(picture, turns)) if turns else picture
