"""From face video to a model's windows, as its spec says: the tensor, whether it shows a face, how well."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from evermodels.core.errors import ConfigError, SignalError
from evermodels.core.specs import VideoSpec
from evermodels.signals import room
from evermodels.signals.room import Window, which
from evermodels.signals.video.face_track import LEAST_SHARE, SMALL, no_face
from evermodels.signals.video.faces import FaceFinder, HaarFaceCrop
from evermodels.signals.video.opened import check_rate
from evermodels.signals.video.read import read_seen_clips, read_video, video_duration
from evermodels.signals.video.recording import Video

SUFFIXES = frozenset(".mp4 .m4v .mov .avi .mkv .webm .mpg .mpeg .wmv .flv .3gp .ts .mts .ogv".split())
"""Endings by which a file is taken for a video where nothing else says it."""


class Reader(room.Reader[Video]):
    """Makes a model's windows of face video.

    Frames are spread uniformly over a window by time stamp, the face is cut out where the spec asks for it, and colours
    are normalised.

    Args:
        spec: What the model takes.
        window_seconds: Length of its windows in seconds, or ``None`` where it takes any.
        face: What finds the face: ``"spec"`` (default) uses OpenCV's cascade where the spec asks for a face crop,
            ``None`` takes the whole picture, a callable is used as in :func:`~evermodels.signals.read_video`.

    Raises:
        ConfigError: If ``face`` is something else.

    Example:
        >>> pictures = np.zeros((50, 32, 32, 3), dtype="uint8")
        >>> reader = Reader(VideoSpec(num_frames=4, size=(16, 16)), 1.0, face=None)
        >>> [window.tensor.shape for window in reader.windows(Video(pictures, fps=25), [0.0, 1.0], 1.0)]
        [torch.Size([4, 3, 16, 16]), torch.Size([4, 3, 16, 16])]
    """

    recording = Video
    example = "Video(array, fps=25)"
    files = "a video of a face, or a folder of pictures"
    options = (
        room.Option("fps", float, "N", "pictures per second of a folder of pictures, which has none of its own"),
    )
    switches = (room.Switch("whole-picture", {"face": None}, "do not look for a face: the pictures show nothing else"),)
    keeps_all = False
    spec: VideoSpec

    def __init__(
        self,
        spec: VideoSpec,
        window_seconds: float | None,
        *,
        face: FaceFinder | Literal["spec"] | None = "spec",
    ) -> None:
        super().__init__(spec, window_seconds)
        if isinstance(face, str):
            if face != "spec":
                raise ConfigError(f"face: expected 'spec', None or a callable, got {face!r}.")
            self.face: FaceFinder | None = HaarFaceCrop(spec.margin) if spec.face_crop else None
        else:
            self.face = face

    @classmethod
    def reads(cls, path: Path) -> bool:
        """Return whether a path is a folder, or has the ending of a video.

        Args:
            path: The path.
        """
        return path.is_dir() or path.suffix.lower() in SUFFIXES

    @classmethod
    def describe(cls, source: Any, spec: Any, window_seconds: float | None, **form: Any) -> dict[str, Any]:
        """Say what a recording holds: size of its pictures, length, windows; of a folder without ``fps`` how many.

        Args:
            source: As in :func:`~evermodels.signals.read_video`.
            spec: What a model takes, or ``None``.
            window_seconds: Length of its windows.
            **form: Arguments of :class:`Video`.
        """
        picture = read_video(source, 1, **{key: value for key, value in form.items() if key == "fps"})[0]
        size = f"{picture.shape[1]} by {picture.shape[0]} pixels (the picture in the middle)"
        if isinstance(source, (str, Path)) and Path(source).is_dir() and "fps" not in form:
            count = f"{video_duration(source, fps=1.0):.0f}; how many a second is not known: give --fps"
            return {"kind": f"pictures in {Path(source).name}", "size": size, "pictures": count}
        facts = super().describe(source, spec, window_seconds, **form)
        if "windows" in facts:
            facts["windows"] += f", {spec.num_frames} frames each"
        return {"kind": facts.pop("kind"), "size": size, **facts}

    def prepare(self, recording: Video) -> Video:
        """Return the recording; a video needs nothing as a whole.

        Args:
            recording: The recording.

        Raises:
            ConfigError: If pictures come more seldom than once a window.
        """
        check_rate(recording.opened, self.window_seconds)
        return recording

    def windows(self, recording: Video, starts: Sequence[float], seconds: float) -> Iterator[Window]:
        """Yield one window ``(frames, 3, height, width)`` float32 after the other, in one pass through the video.

        One without a face is not usable; ``mask`` says which frames show it. ``quality`` has ``face_share`` (share of
        the frames that show the face), ``faces`` (largest number in a frame) and ``crop_size`` (median width of the box
        in pixels), where a face is looked for.

        Args:
            recording: The recording.
            starts: Where they begin, in seconds on the shared clock.
            seconds: Their length.

        Raises:
            SignalError: If the video cannot be read, or is cut short.
        """
        opened, spec = recording.opened, self.spec
        begins = [min(max(start - recording.start, 0.0), opened.duration) for start in starts]
        clips = [(begin, min(begin + seconds, opened.duration)) for begin in begins]
        mean, std = self._colours()
        for clip, seen in read_seen_clips(opened, clips, spec.num_frames, size=spec.size, face=self.face):
            tensor = torch.zeros(spec.num_frames, 3, *spec.size)
            if seen.usable:
                tensor = (torch.from_numpy(clip).permute(0, 3, 1, 2).float().div_(255) - mean) / std
            quality = {"face_share": seen.share, "faces": float(seen.faces), "crop_size": seen.side}
            shown = torch.tensor(seen.shown) if seen.usable and seen.shown else None
            yield Window(tensor, seen.usable, {} if self.face is None else quality, seen.why, shown)

    def refuse(self, windows: Sequence[Window]) -> SignalError:
        """Return the error of a video without a face.

        Args:
            windows: What :meth:`windows` gave.
        """
        every = f" in any of {len(windows)} windows" if len(windows) > 1 else ""
        assert self.face is not None  # without a finder every window is usable
        return no_face(f"{windows[0].why}{every}", self.spec.num_frames * len(windows), self.face)

    def keep(self, windows: Tensor) -> np.ndarray:
        """Return the frames back in colours of 8 bits.

        Args:
            windows: ``(windows, frames, 3, height, width)``.
        """
        mean, std = self._colours()
        return ((windows.cpu() * std + mean).clamp(0, 1) * 255).round().to(torch.uint8).numpy()

    def _colours(self) -> tuple[Tensor, Tensor]:
        mean, std = (torch.tensor(v, dtype=torch.float32).view(3, 1, 1) for v in (self.spec.mean, self.spec.std))
        return mean, std

    def notes(self, starts: Sequence[float], windows: Sequence[Window], otherwise: str) -> tuple[str, ...]:
        """Return what is to be said of the faces, in whole sentences.

        Args:
            starts: Where the windows begin.
            windows: What :meth:`windows` gave.
            otherwise: What becomes of windows without a face.
        """
        return () if self.face is None else _notes(windows, starts, self.spec, otherwise)


def _notes(seen: Sequence[Window], starts: Sequence[float], spec: VideoSpec, otherwise: str) -> tuple[str, ...]:
    notes = []
    unusable = [not how.usable for how in seen]
    if any(unusable):
        first = unusable.index(True)
        at = f" (at {starts[first]:g} s)" if sum(unusable) > 1 else ""
        notes.append(f"Video:{which(starts, unusable)} it is not read, since {seen[first].why}{at}; {otherwise}.")
    enough = VideoSpec.readings["face_share"].least or 0.0
    few = [how.usable and how.quality["face_share"] < enough for how in seen]
    if any(few):
        least = min(how.quality["face_share"] for how, one in zip(seen, few, strict=True) if one)
        notes.append(
            f"Video:{which(starts, few)} the face is seen in fewer than {enough:.0%} of the frames (down to "
            f"{least:.0%}; below {LEAST_SHARE:.0%} a window is not read)."
        )
    several = [how.usable and how.quality["faces"] > 1 for how in seen]
    if any(several):
        most = max(how.quality["faces"] for how in seen)
        notes.append(
            f"Video:{which(starts, several)} up to {most:g} faces are seen at once; the one that is largest in most "
            "frames is read, and nothing says that it is always the same person."
        )
    small = [how.usable and how.quality["crop_size"] < SMALL for how in seen]
    if any(small):
        least = min(how.quality["crop_size"] for how, one in zip(seen, small, strict=True) if one)
        notes.append(
            f"Video:{which(starts, small)} the face is only {least:.0f} pixels wide; the model reads {spec.size[1]}, "
            "so what it sees is blurred."
        )
    return tuple(notes)
