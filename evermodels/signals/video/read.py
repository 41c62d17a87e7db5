"""Frames of a face video, spread uniformly over a window of time by their time stamps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from evermodels.core.errors import ConfigError, ShapeError, SignalError
from evermodels.signals.video.face_track import Seen, cut_face, look, no_face
from evermodels.signals.video.faces import FaceFinder
from evermodels.signals.video.opened import File, Pictures, check_rate, is_number, open_video
from evermodels.signals.video.pictures import (
    resize,
)
from evermodels.signals.video.recording import Video

_MOST = 100_000  # frames of a clip


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
    opened = _opened(source, fps)
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
            uint8. Grey of 16 bits becomes 8 by its range, transparent pixels are laid on white. Or a
            :class:`~evermodels.signals.Video`.
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
    opened = _opened(source, fps)
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
    opened = _opened(source, fps)
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


def _opened(source: Any, fps: float | None) -> File | Pictures:
    if isinstance(source, Video):
        if fps is not None:
            raise ConfigError(f"fps: {fps!r} was given, but the Video has a rate of its own. Leave it out.")
        return source.opened
    return open_video(source, fps)


def _check_windows(windows: Sequence[tuple[float, float]], opened: File | Pictures) -> None:
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
