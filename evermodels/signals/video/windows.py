"""A video's windows as a model takes them: tensors, which of them show a face, how well, and what to say of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from evermodels.core.errors import ConfigError, SignalError
from evermodels.core.memory import physical_memory
from evermodels.core.specs import VideoSpec
from evermodels.signals.video.face_track import FEW, LEAST_SHARE, SMALL, Seen, no_face
from evermodels.signals.video.faces import FaceFinder
from evermodels.signals.video.read import check_rate, is_number, open_video, read_seen_clips

_PART_OF_MEMORY = 0.25
_NAMED = 5  # windows that a sentence names


class Clips(NamedTuple):
    """Clips of a video, one a window.

    Args:
        tensor: ``(windows, frames, 3, height, width)`` float32, normalised; zeros where a window is not usable.
        usable: Which windows show a face, ``(windows,)`` bool; all, where none is looked for.
        quality: ``face_share``, ``faces`` and ``crop_size``, each ``(windows,)`` float32; empty where no face is
            looked for.
        notes: What is to be said of them, in whole sentences.
    """

    tensor: Tensor
    usable: Tensor
    quality: dict[str, Tensor]
    notes: tuple[str, ...]


def read_windows(
    source: Any, windows: Sequence[tuple[float, float]], spec: VideoSpec, face: FaceFinder | None, *, otherwise: str
) -> Clips:
    """Read the clips of some windows, one after the other.

    Args:
        source: As in :func:`~evermodels.signals.read_video`, or what
            :func:`~evermodels.signals.video.read.open_video` gave.
        windows: ``(start, stop)`` of each clip in seconds, in order of time.
        spec: What the model takes.
        face: What finds the face, or ``None`` for the whole picture.
        otherwise: What becomes of windows without a face, for the notes; ``""`` to refuse the first one.

    Raises:
        SignalError: If the video cannot be read, or no window shows a face.
        ConfigError: If the clips do not fit into a quarter of the machine's memory.
    """
    height, width = spec.size
    shape = (len(windows), spec.num_frames, 3, height, width)
    size, most = 4.0 * np.prod(np.array(shape, dtype=np.float64)), _PART_OF_MEMORY * physical_memory()
    if size > most:
        raise ConfigError(
            f"video: {len(windows):,} windows of {spec.num_frames} frames take {size / 2**30:.1f} GB, more than the "
            f"{most / 2**30:.1f} GB (a quarter of the memory) that are allowed. Give a smaller overlap, or a shorter "
            "stretch of the recording."
        )
    mean, std = (torch.tensor(v, dtype=torch.float32).view(3, 1, 1) for v in (spec.mean, spec.std))
    tensor = torch.zeros(shape)
    seen: list[Seen] = []
    for k, (clip, how) in enumerate(read_seen_clips(source, windows, spec.num_frames, size=spec.size, face=face)):
        seen.append(how)
        if face is not None and not how.usable and not otherwise:
            raise no_face(how.why, spec.num_frames, face)
        if how.usable:
            tensor[k] = (torch.from_numpy(clip).permute(0, 3, 1, 2).float().div_(255) - mean) / std
    usable = torch.tensor([how.usable for how in seen])
    if face is None:
        return Clips(tensor, usable, {}, ())
    if not usable.any():
        every = f" in any of {len(seen)} windows" if len(seen) > 1 else ""
        raise no_face(f"{seen[0].why}{every}", spec.num_frames * len(seen), face)
    quality = {
        "face_share": torch.tensor([how.share for how in seen]),
        "faces": torch.tensor([float(how.faces) for how in seen]),
        "crop_size": torch.tensor([how.side for how in seen]),
    }
    return Clips(tensor, usable, quality, _notes(seen, [start for start, _ in windows], spec, otherwise))


def window_starts(source: Any, seconds: float, overlap: float) -> np.ndarray:
    """Return where the windows of a video without EEG begin, ``(windows,)`` float64 in seconds.

    Args:
        source: As in :func:`read_windows`.
        seconds: Length of a window.
        overlap: Part of a window that it shares with the next.

    Raises:
        ConfigError: If a number is impossible, or windows would begin more often than frames come.
        SignalError: If the video is shorter than a window.
    """
    opened = open_video(source)
    if not (is_number(seconds) and seconds > 0):
        raise ConfigError(f"window_seconds: expected a positive length in seconds, got {seconds!r}.")
    if not (is_number(overlap) and 0 <= overlap < 1):
        raise ConfigError(f"overlap: expected a part of a window, 0 <= overlap < 1, got {overlap!r}.")
    if seconds != opened.duration:  # the whole sequence as one clip is no window of time
        check_rate(opened, seconds)
    if opened.duration + 1e-3 < seconds:
        raise SignalError(
            f"video: it is {opened.duration:.3f} s long and one window needs {seconds:g} s. Give a longer video, or "
            "shorter windows with window_seconds (--window-seconds on the command line)."
        )
    if seconds < opened.interval * (1 - 1e-6):
        raise ConfigError(
            f"window_seconds: {seconds!r} is shorter than the time between two pictures ({opened.interval:.3g} s). "
            "Give longer windows."
        )
    step = seconds * (1 - overlap)
    if step < opened.interval * (1 - 1e-6):
        raise ConfigError(
            f"overlap: with {overlap!r} the windows begin every {step:.3g} s, more often than the pictures come (every "
            f"{opened.interval:.3g} s). Give at most {max(0.0, 1 - opened.interval / seconds):.4f}."
        )
    count = int((opened.duration + 1e-3 - seconds) // step) + 1
    return np.arange(count) * step


def _notes(seen: Sequence[Seen], starts: Sequence[float], spec: VideoSpec, otherwise: str) -> tuple[str, ...]:
    def which(chosen: Sequence[bool]) -> str:
        at = [f"{start:g}" for start, one in zip(starts, chosen, strict=True) if one]
        if len(seen) == 1:
            return ""
        more = f" and {len(at) - _NAMED} more" if len(at) > _NAMED else ""
        return f" in {len(at)} of {len(seen)} windows (at {', '.join(at[:_NAMED])} s{more})"

    notes = []
    unusable = [not how.usable for how in seen]
    if any(unusable):
        first = unusable.index(True)
        at = f" (at {starts[first]:g} s)" if sum(unusable) > 1 else ""
        notes.append(f"Video:{which(unusable)} it is not read, since {seen[first].why}{at}; {otherwise}.")
    few = [how.usable and how.share < FEW for how in seen]
    if any(few):
        least = min(how.share for how, one in zip(seen, few, strict=True) if one)
        notes.append(
            f"Video:{which(few)} the face is seen in fewer than {FEW:.0%} of the frames (down to {least:.0%}; below "
            f"{LEAST_SHARE:.0%} a window is not read)."
        )
    several = [how.usable and how.faces > 1 for how in seen]
    if any(several):
        most = max(how.faces for how in seen)
        notes.append(
            f"Video:{which(several)} up to {most} faces are seen at once; the one that is largest in most frames is "
            "read, and nothing says that it is always the same person."
        )
    small = [how.usable and how.side < SMALL for how in seen]
    if any(small):
        least = min(how.side for how, one in zip(seen, small, strict=True) if one)
        notes.append(
            f"Video:{which(small)} the face is only {least:.0f} pixels wide; the model reads {spec.size[1]}, so what "
            "it sees is blurred."
        )
    return tuple(notes)
