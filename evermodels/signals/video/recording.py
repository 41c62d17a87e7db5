"""The video recording as an object: an open source, and when it began."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from evermodels.core.errors import ConfigError
from evermodels.signals.room import check_start
from evermodels.signals.video.opened import File, Pictures, check_rate, open_video


@dataclass(frozen=True, eq=False, repr=False, init=False)
class Video:
    """One video: its frames by time stamp, and when it began. No frame is kept.

    Attributes: ``opened``, the source; ``start`` of the first frame in seconds on the clock that all recordings of a
    session share; ``notes``, what reading it showed, in whole sentences.

    Args:
        source: A video file, or a sequence of pictures, as in :func:`~evermodels.signals.read_video`.
        fps: Pictures per second of a sequence (needed: nothing else says it); a file has time stamps of its own.
        start: When the first frame was taken, in seconds on the shared clock (default: 0, or that of the recording
            which is given).

    Raises:
        SignalError: If it cannot be read, or has no frame.
        ConfigError: If a sequence comes without ``fps``, or ``fps`` or ``start`` is impossible.
        FileNotFoundError: If there is no such file.

    Example:
        >>> import numpy as np
        >>> video = Video(np.zeros((50, 8, 8, 3), dtype="uint8"), fps=25, start=1.2)
        >>> video, video.coverage
        (Video('video', 2.0 s from 1.2 s on, 25 frames a second), ((1.2, 3.2),))
    """

    modality: ClassVar[str] = "video"

    opened: File | Pictures
    start: float
    notes: tuple[str, ...]

    def __init__(self, source: Any, *, fps: float | None = None, start: float | None = None) -> None:
        if isinstance(source, Video):
            if fps is not None:
                raise ConfigError(f"fps: {fps!r} was given, but the Video has a rate of its own. Leave it out.")
            opened, start = source.opened, source.start if start is None else start
        else:
            opened = open_video(source, fps)
            check_rate(opened)
        vars(self).update(opened=opened, start=check_start(0.0 if start is None else start), notes=())

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.opened.duration

    @property
    def stop(self) -> float:
        """When the last frame ends, in seconds on the shared clock."""
        return self.start + self.duration

    @property
    def coverage(self) -> tuple[tuple[float, float], ...]:
        """Its one stretch, ``(start, stop)`` in seconds on the shared clock."""
        return ((self.start, self.stop),)

    @property
    def interval(self) -> float:
        """Time between two frames in seconds."""
        return self.opened.interval

    def __repr__(self) -> str:
        begins = f" from {self.start:g} s on" if self.start else ""
        return f"Video({self.opened.name!r}, {self.duration:.1f} s{begins}, {1 / self.interval:g} frames a second)"
