"""Frames of a face video, spread uniformly over a window of time by their time stamps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from evermodels.core.errors import ConfigError, ShapeError, SignalError, require
from evermodels.signals.faces import FaceFinder, crop_faces, resize

_PICTURES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}
_SEEK_FROM = 3.0  # seconds; nearer than this, decoding from the beginning is as quick
_SLACK = 0.25  # seconds that a container's stated length may exceed its last frame


def video_duration(source: Any, *, fps: float | None = None) -> float:
    """Return the length of a video in seconds.

    Args:
        source: A video file, or a picture sequence as in :func:`read_video`.
        fps: Pictures per second of a sequence.

    Raises:
        SignalError: If the file is no video, is cut short so that it cannot be opened, or has no frame.
        FileNotFoundError: If there is no such file.

    Example:
        >>> video_duration(np.zeros((10, 8, 8, 3), dtype="uint8"), fps=5)
        2.0
    """
    return _open(source, fps).duration


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
        source: A video file that FFmpeg reads (through PyAV), a folder of pictures (in order of their names), a list
            of picture paths, PIL images or arrays, or an array ``(frames, height, width, 3)`` uint8.
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
    opened = _open(source, fps)
    if isinstance(opened, _Pictures) and fps is None and (start != 0.0 or stop is not None):
        raise ConfigError("fps: a window of a picture sequence needs fps (pictures per second); none was given.")
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
    if isinstance(num_frames, bool) or num_frames != int(num_frames) or num_frames < 1:
        raise ConfigError(f"num_frames: expected a whole number of at least 1, got {num_frames!r}.")
    opened = source if isinstance(source, (_File, _Pictures)) else _open(source, fps)
    _check_windows(windows, opened)
    middle = (np.arange(num_frames) + 0.5) / num_frames
    wanted = [a + middle * (b - a) for a, b in windows]
    # Every wanted time of every window, in order; a picture that two windows share is decoded and converted once.
    order = sorted((float(t), k) for k, row in enumerate(wanted) for t in row)
    clips: list[list[np.ndarray]] = [[] for _ in windows]
    next_out = 0
    for (_, k), picture in zip(order, opened.at([t for t, _ in order], until=max(b for _, b in windows)), strict=True):
        clips[k].append(picture)
        while next_out < len(clips) and len(clips[next_out]) == num_frames:
            yield _finish(clips[next_out], size, face)
            clips[next_out] = []
            next_out += 1


def _finish(frames: list[np.ndarray], size: tuple[int, int] | None, face: FaceFinder | None) -> np.ndarray:
    if face is not None:
        return np.stack(crop_faces(frames, face, size=size))
    if size is not None:
        return np.stack([resize(frame, size) for frame in frames])
    if len({frame.shape for frame in frames}) > 1:
        raise ShapeError("video: its pictures have several sizes. Give size=(height, width).")
    return np.stack(frames)


def _check_windows(windows: Sequence[tuple[float, float]], opened: _File | _Pictures) -> None:
    if len(windows) == 0:
        raise ConfigError("windows: expected at least one (start, stop), got none.")
    last = -np.inf
    for start, stop in windows:
        if not (np.isfinite(start) and np.isfinite(stop) and 0 <= start < stop):
            raise ConfigError(f"window: expected 0 <= start < stop in seconds, got ({start!r}, {stop!r}).")
        if start < last:
            raise ConfigError(f"windows: expected them in order of time, got {start:g} s after {last:g} s.")
        last = start
        if stop > opened.duration + opened.interval:
            raise SignalError(
                f"{opened.name}: the window {start:.3f} to {stop:.3f} s goes past the end of the video, which is "
                f"{opened.duration:.3f} s long. Give an earlier window."
            )


def _open(source: Any, fps: float | None) -> _File | _Pictures:
    if isinstance(source, (str, Path)) and not Path(source).is_dir():
        if fps is not None:
            raise ConfigError(f"fps: {fps!r} was given, but a video file has time stamps of its own. Leave it out.")
        return _File(Path(source))
    if fps is not None and not (np.isfinite(fps) and fps > 0):
        raise ConfigError(f"fps: expected a positive number of pictures per second, got {fps!r}.")
    if isinstance(source, (str, Path)):
        folder = Path(source)
        paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in _PICTURES)
        if not paths:
            raise SignalError(f"{folder.name}: the folder has no picture ({', '.join(sorted(_PICTURES))}).")
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
        if len(pictures) == 0:
            raise SignalError(f"{name}: the sequence is without a frame.")
        if isinstance(pictures, np.ndarray):
            _check_picture(pictures[0], f"{name} of shape {pictures.shape}")
        self.pictures, self.fps, self.name = pictures, fps or 1.0, name
        self.interval = 1 / self.fps
        self.duration = len(pictures) / self.fps

    def at(self, times: Sequence[float], until: float) -> Iterator[np.ndarray]:
        last, picture = -1, None
        for time in times:
            index = min(int(time * self.fps + 1e-6), len(self.pictures) - 1)
            if index != last or picture is None:
                last, picture = index, self._load(index)
            yield picture

    def _load(self, index: int) -> np.ndarray:
        picture = self.pictures[index]
        if isinstance(picture, (str, Path)):
            image = require("PIL.Image", extra="video", purpose="read pictures")
            try:
                with image.open(picture) as opened:
                    picture = _upright(opened)
            except FileNotFoundError:
                raise FileNotFoundError(f"video: there is no picture {picture}.") from None
            except OSError as error:
                raise SignalError(f"{Path(picture).name}: the picture is damaged or cut short ({error}).") from error
        elif hasattr(picture, "convert"):
            picture = _upright(picture)
        picture = np.asarray(picture)
        _check_picture(picture, f"{self.name}, frame {index}")
        return picture


def _upright(image: Any) -> np.ndarray:
    ops = require("PIL.ImageOps", extra="video", purpose="read pictures")
    return np.asarray(ops.exif_transpose(image).convert("RGB"))


def _check_picture(picture: np.ndarray, what: str) -> None:
    if picture.ndim != 3 or picture.shape[-1] != 3 or picture.dtype != np.uint8 or 0 in picture.shape:
        raise ShapeError(
            f"{what}: expected pictures (height, width, 3) of uint8, got {picture.shape} of {picture.dtype}. "
            "Move the colours to the last axis and scale to 0..255."
        )


class _File:
    """A video file, read through PyAV."""

    def __init__(self, path: Path) -> None:
        self.av = require("av", extra="video", purpose="read videos")
        self.path, self.name = path, path.name
        if not path.exists():
            raise FileNotFoundError(f"video: there is no file {path}.")
        if path.stat().st_size == 0:
            raise SignalError(f"{self.name}: the file is empty (0 bytes). Copy it again.")
        with self._container() as container:
            stream = container.streams.video[0]
            rate = stream.average_rate or stream.guessed_rate
            self.interval = float(1 / rate) if rate else 1 / 25
            base = stream.time_base
            self.origin = float(stream.start_time * base) if stream.start_time is not None and base else None
            stated = float(stream.duration * base) if stream.duration and base else _tag(stream)
        if stated is None or self.origin is None:  # a container that does not say: look at every frame
            times = [time for time, _ in self._decode(0.0, origin=0.0)]
            if not times:
                raise self._frameless()
            self.origin = times[0]
            stated = times[-1] - times[0] + self.interval
        self.duration = stated

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
    picture = frame.to_ndarray(format="rgb24")
    turns = round(getattr(frame, "rotation", 0) / 90) % 4  # a phone held upright writes turned pictures
    return np.ascontiguousarray(np.rot90(picture, turns)) if turns else picture
