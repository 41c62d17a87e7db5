"""Frames of a face video, spread uniformly over a window of time by their time stamps."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from evermodels.core.errors import ConfigError, ShapeError, SignalError, boundary, require
from evermodels.signals.video.face_track import Seen, cut_face, look, no_face
from evermodels.signals.video.faces import FaceFinder
from evermodels.signals.video.pictures import (
    MOST_PIXELS,
    SUFFIXES,
    check_picture,
    check_size,
    natural_key,
    picture_array,
    resize,
)

LONGEST = 2 * 24 * 3600.0
"""Seconds; a file that says it is longer is damaged."""

_RATES = (1e-3, 1e4)  # pictures per second of a sequence
_MOST = 100_000  # frames of a clip
_SEEK_FROM = 3.0  # seconds; nearer than this, decoding from the beginning is as quick
_EXACT = 0x2 | 0x2000 | 0x40000  # libswscale: bilinear, every colour sample, rounded; else a level too dark
_SLACK = 0.25  # seconds that a container's stated length may exceed its last frame


def video_duration(source: Any, *, fps: float | None = None) -> float:
    """Return the length of a video in seconds.

    Args:
        source: A video file, or a picture sequence as in :func:`read_video`.
        fps: Pictures per second of a sequence.

    Raises:
        SignalError: If the file is no video, is cut short so that it cannot be opened, or has no frame.
        ConfigError: If a sequence comes without ``fps``, or ``fps`` is impossible.
        FileNotFoundError: If there is no such file.

    Example:
        >>> video_duration(np.zeros((10, 8, 8, 3), dtype="uint8"), fps=5)
        2.0
    """
    opened = open_video(source, fps)
    check_rate(opened)
    return opened.duration


def read_video(
    source: Any,
    num_frames: int,
    *,
    start: float = 0.0,
    stop: float | None = None,
    size: tuple[int, int] | None = None,
    face: FaceFinder | None = None,
    fps: float | None = None,
) -> np.ndarray:
    """Read frames that are spread uniformly over a window of time.

    The window is cut into ``num_frames`` equal parts, and the frame on screen in the middle of each is taken, by time
    stamp: right for a variable frame rate, and each frame once where there are as many frames as asked for.

    Args:
        source: A video file that FFmpeg reads (through PyAV), a folder of pictures (in order of their names, numbers
            as people count), a list of picture paths, PIL images or arrays, or an array ``(frames, height, width, 3)``
            uint8. Grey of 16 bits becomes 8 by its range, transparent pixels are laid on white.
        num_frames: How many frames.
        start: Begin of the window in seconds after the first frame.
        stop: End of the window in seconds; ``None`` for the end of the video.
        size: Height and width of the result; ``None`` keeps the video's. Nothing is stretched: the largest centred
            part of the right proportions is taken.
        face: ``None`` for the whole picture, :class:`~evermodels.signals.HaarFaceCrop`, or any callable that takes a
            picture and gives a box ``(x, y, width, height)``, ``None``, or the cropped picture.
        fps: Pictures per second, for a picture sequence only; needed where a window is given.

    Returns:
        ``(num_frames, height, width, 3)`` uint8, RGB.

    Raises:
        SignalError: If the video is unreadable, has no frame, is cut short, shows no face, or the window is past its
            end.
        ConfigError: If ``num_frames``, the window or ``fps`` is impossible.
        FileNotFoundError: If there is no such file.

    Example:
        >>> clip = np.arange(6, dtype="uint8")[:, None, None, None] * np.ones((1, 4, 4, 3), dtype="uint8")
        >>> read_video(clip, 3, fps=2)[:, 0, 0, 0].tolist()
        [1, 3, 5]
        >>> read_video(clip, 2, fps=2, start=1.0, stop=2.0)[:, 0, 0, 0].tolist()
        [2, 3]
    """
    opened = open_video(source, fps)
    if start != 0.0 or stop is not None:
        check_rate(opened)
    window = (start, opened.duration if stop is None else stop)
    return next(read_clips(opened, [window], num_frames, size=size, face=face))


def read_clips(
    source: Any,
    windows: Sequence[tuple[float, float]],
    num_frames: int,
    *,
    size: tuple[int, int] | None = None,
    face: FaceFinder | None = None,
    fps: float | None = None,
) -> Iterator[np.ndarray]:
    """Read one clip a window in a single pass, each handed out as soon as it is complete.

    Args:
        source: As in :func:`read_video`.
        windows: ``(start, stop)`` in seconds, in order of time; they may overlap.
        num_frames: Frames per clip.
        size: As in :func:`read_video`.
        face: As in :func:`read_video`.
        fps: As in :func:`read_video`.

    Yields:
        ``(num_frames, height, width, 3)`` uint8 for each window, in order.

    Raises:
        SignalError: As :func:`read_video`.
        ConfigError: As :func:`read_video`.
    """
    for frames, seen in read_seen_clips(source, windows, num_frames, size=size, face=face, fps=fps):
        if face is not None and not seen.usable:
            raise no_face(seen.why, int(num_frames), face)
        yield frames


def read_seen_clips(
    source: Any,
    windows: Sequence[tuple[float, float]],
    num_frames: int,
    *,
    size: tuple[int, int] | None = None,
    face: FaceFinder | None = None,
    fps: float | None = None,
) -> Iterator[tuple[np.ndarray, Seen]]:
    """Read as :func:`read_clips`, and say of each clip how well its face was seen.

    Args:
        source: As in :func:`read_video`.
        windows: As in :func:`read_clips`.
        num_frames: Frames per clip.
        size: As in :func:`read_video`.
        face: As in :func:`read_video`; without a finder every clip counts as usable.
        fps: As in :func:`read_video`.

    Yields:
        The clip, without a frame where it is not usable, and how well the face was seen.

    Raises:
        SignalError: As :func:`read_video`, but not for a clip without a face.
        ConfigError: As :func:`read_video`.
    """
    if not isinstance(num_frames, (int, np.integer)) or isinstance(num_frames, bool) or not 1 <= num_frames <= _MOST:
        raise ConfigError(
            f"num_frames: expected a whole number of at least 1 and at most {_MOST:,}, got {num_frames!r}."
        )
    opened = source if isinstance(source, (_File, _Pictures)) else open_video(source, fps)
    _check_windows(windows, opened)
    middle = (np.arange(num_frames) + 0.5) / num_frames
    wanted = [a + middle * (b - a) for a, b in windows]
    # Every wanted time of every window, in order; a picture that two windows share is decoded and searched once.
    order = sorted((float(t), k) for k, row in enumerate(wanted) for t in row)
    clips: list[list[_Frame]] = [[] for _ in windows]
    next_out = 0
    frame = _Frame(np.empty(0))
    for (_, k), picture in zip(order, opened.at([t for t, _ in order], until=max(b for _, b in windows)), strict=True):
        frame = frame if frame.picture is picture else _Frame(picture)
        clips[k].append(frame)
        while next_out < len(clips) and len(clips[next_out]) == num_frames:
            yield _finish(clips[next_out], size, face)
            clips[next_out] = []
            next_out += 1


class _Frame:
    """A picture, and what the finder says of it once it was asked."""

    def __init__(self, picture: np.ndarray) -> None:
        self.picture = picture
        self.found: Any = None

    def look(self, finder: FaceFinder) -> Any:
        if self.found is None:
            self.found = look(self.picture, finder)
        return self.found


def _finish(frames: list[_Frame], size: tuple[int, int] | None, face: FaceFinder | None) -> tuple[np.ndarray, Seen]:
    pictures = [frame.picture for frame in frames]
    if face is not None:
        crops, seen = cut_face(pictures, [frame.look(face) for frame in frames], face, size)
        return np.stack(crops) if crops else np.empty((0, 0, 0, 3), np.uint8), seen
    whole = Seen(float("nan"), 0, float("nan"))
    if size is not None:
        return np.stack([resize(picture, size) for picture in pictures]), whole
    if len({picture.shape for picture in pictures}) > 1:
        raise ShapeError("video: its pictures have several sizes. Give size=(height, width).")
    return np.stack(pictures), whole


def check_rate(opened: _File | _Pictures, window: float | None = None) -> None:
    """Refuse a picture sequence of which nobody said how fast it is, or that is too slow for a window.

    Args:
        opened: What :func:`open_video` gave.
        window: Length of a window in seconds.

    Raises:
        ConfigError: If it is one.
    """
    if not isinstance(opened, _Pictures):
        return
    if opened.fps is None:
        raise ConfigError(
            f"fps: {opened.name} is a sequence of {len(opened.pictures)} pictures, and nothing says how fast they were "
            "taken, so a window of time cannot be cut. Give fps, pictures per second (--fps on the command line)."
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


def _check_windows(windows: Sequence[tuple[float, float]], opened: _File | _Pictures) -> None:
    if len(windows) == 0:
        raise ConfigError("windows: expected at least one (start, stop), got none.")
    last = -np.inf
    for start, stop in windows:
        if not (is_number(start) and is_number(stop) and 0 <= start < stop):
            raise ConfigError(f"window: expected 0 <= start < stop in seconds, got ({start!r}, {stop!r}).")
        if start < last:
            raise ConfigError(f"windows: expected them in order of time, got {start:g} s after {last:g} s.")
        last = start
        if stop > opened.duration + opened.interval:
            raise SignalError(
                f"{opened.name}: the window {start:.3f} to {stop:.3f} s goes past the end of the video, which is "
                f"{opened.duration:.3f} s long. Give an earlier window."
            )


def open_video(source: Any, fps: float | None = None) -> _File | _Pictures:
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
    if isinstance(source, (_File, _Pictures)):
        return source
    if isinstance(source, (str, Path)) and not Path(source).is_dir():
        if fps is not None:
            raise ConfigError(f"fps: {fps!r} was given, but a video file has time stamps of its own. Leave it out.")
        return _File(Path(source))
    if fps is not None and not (is_number(fps) and _RATES[0] <= fps <= _RATES[1]):
        raise ConfigError(
            f"fps: expected a positive number of pictures per second, {_RATES[0]:g} to {_RATES[1]:g}, got {fps!r}."
        )
    if isinstance(source, (str, Path)):
        folder = Path(source)
        with boundary(SignalError, f"{folder.name}: the folder cannot be read", "Look at its permissions."):
            paths = sorted((p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES), key=natural_key)
        if not paths:
            raise SignalError(f"{folder.name}: the folder has no picture ({', '.join(SUFFIXES)}).")
        return _Pictures(paths, fps, folder.name)
    if isinstance(source, torch.Tensor):
        source = source.detach().cpu().numpy()
    if isinstance(source, (np.ndarray, list, tuple)):
        return _Pictures(source, fps, "video")
    raise SignalError(
        f"video: cannot read a {type(source).__name__}. Give a video file, a folder of pictures, a list of pictures, "
        "or an array (frames, height, width, 3) uint8."
    )


class _Pictures:
    """A sequence of pictures at a fixed rate."""

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
        last, picture = -1, None
        for time in times:
            index = min(int(time / self.interval + 1e-6), len(self.pictures) - 1)
            if index != last or picture is None:
                last, picture = index, picture_array(self.pictures[index], f"{self.name}, frame {index}")
            yield picture


class _File:
    """A video file, read through PyAV."""

    def __init__(self, path: Path) -> None:
        self.av = require("av", extra="video", purpose="read videos")
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
            container = self.av.open(str(self.path))
        except self.av.error.FFmpegError as error:
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
            except self.av.error.FFmpegError:
                return  # the caller sees where the frames end, which says more than the decoder

    def at(self, times: Sequence[float], until: float) -> Iterator[np.ndarray]:
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
