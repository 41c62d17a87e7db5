"""The face of a clip: which one is taken, where it is cut, and how well it was seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from evermodels.core.errors import ShapeError, SignalError
from evermodels.signals.video.faces import FaceFinder, HaarFaceCrop
from evermodels.signals.video.pictures import Box, cut, resize

LEAST_SHARE = 0.5
"""Share of a clip's frames that must show the face; below it the clip counts as one without a face."""
SMALL = 40.0
"""Pixels; of a smaller box a result says so."""

_AGREES = 0.25  # of a box's side, and in the logarithm of its size
_LOOKS_FOR_EYES = 4


class Seen(NamedTuple):
    """How well a clip's face was seen.

    Args:
        share: Share of the frames that show the face in its place.
        faces: Largest number of faces in a frame.
        side: Median width of the face's box with its margin, in pixels; NaN where there is none, or the finder crops.
        why: Why no face was taken, or an empty text.
        shown: Which frames show the face; empty where none was looked for.
    """

    share: float
    faces: int
    side: float
    why: str = ""
    shown: tuple[bool, ...] = ()

    @property
    def usable(self) -> bool:
        """Whether the clip is read."""
        return not self.why


def look(image: np.ndarray, finder: FaceFinder) -> Any:
    """Return what a finder says of one picture: a list of boxes, the largest first, or the cropped picture.

    Args:
        image: ``(height, width, 3)`` uint8 RGB.
        finder: :class:`HaarFaceCrop`, or a callable of a picture.

    Raises:
        ShapeError: If the finder gives neither a box nor a picture.
    """
    every: Callable[[np.ndarray], list[Box]] | None = getattr(finder, "faces", None)
    if every is not None:
        return every(image)
    found = finder(image)
    if found is None:
        return []
    if isinstance(found, np.ndarray) and found.ndim == 3:
        return found
    try:
        x, y, w, h = (float(v) for v in found)
    except (TypeError, ValueError):
        raise ShapeError(
            "face: the finder must give a box (x, y, width, height), None, or a picture (height, width, 3); "
            f"got {type(found).__name__}."
        ) from None
    if not (np.isfinite([x, y, w, h]).all() and w > 0 and h > 0):
        raise ShapeError(f"face: the finder gave the box {(x, y, w, h)}. Width and height must be positive.")
    return [(x, y, w, h)]


def cut_face(
    frames: Sequence[np.ndarray], looks: Sequence[Any], finder: FaceFinder, size: tuple[int, int] | None
) -> tuple[list[np.ndarray], Seen]:
    """Cut the face out of each frame of a clip, with one box for the whole clip, and say how well it was seen.

    The face that is largest in most frames is taken: of the largest boxes, the one that lies most centrally among them,
    and in each frame the box that agrees with it to a quarter of its side. The clip's box is the mean of these: so it
    neither jitters nor follows another face or a wrong hit, nor steps as a median does where another codec moves single
    boxes.

    Args:
        frames: Pictures of one size, each ``(height, width, 3)`` uint8 RGB.
        looks: :func:`look` of each frame.
        finder: Who looked.
        size: Height and width of the result; ``None`` for the size of the crop.

    Returns:
        One picture a frame, or none where the clip is not usable; and how well the face was seen.

    Raises:
        ShapeError: If the finder crops pictures of several sizes and there is no ``size``.
    """
    if any(isinstance(found, np.ndarray) for found in looks):
        return _crops(looks, size)
    largest = [found[0] for found in looks if found]
    most = max((len(found) for found in looks), default=0)
    if not largest:
        return [], Seen(0.0, 0, float("nan"), "no face was found")
    centre = _central(np.array(largest))
    own = [next((box for box in found if _agrees(np.array(box), centre)), None) for found in looks]
    kept = [(frame, box) for frame, box in zip(frames, own, strict=True) if box is not None]
    share, boxes = len(kept) / len(frames), np.array([box for _, box in kept])
    why = ""
    if share < LEAST_SHARE:
        why = f"a face was found in only {len(kept)} of {len(frames)} frames in one place, and half must show it"
    elif not _eyes(kept, finder):
        why = "what looks like a face has no eyes that can be seen (lettering, a face that lies, or sunglasses)"
    if why:
        return [], Seen(share, most, float(np.median(boxes[:, 2])), why)
    x, y, w, h = (float(v) for v in boxes.mean(axis=0))
    crops = [cut(frame, (x, y, w, h)) if size is None else resize(frame, size, (x, y, w, h)) for frame in frames]
    return crops, Seen(share, most, float(np.median(boxes[:, 2])), shown=tuple(box is not None for box in own))


def crop_faces(
    frames: Sequence[np.ndarray], finder: FaceFinder, *, size: tuple[int, int] | None = None
) -> list[np.ndarray]:
    """Cut the face out of each frame of a clip, with one box for the whole clip.

    The box is the mean of the boxes that agree with the most central one, to a fraction of a pixel where ``size`` is
    given. At least half of the frames must show the face there (a choice), and where the finder can tell
    (:class:`HaarFaceCrop`), eyes in it.

    Args:
        frames: Pictures of one size, each ``(height, width, 3)`` uint8 RGB.
        finder: :class:`HaarFaceCrop`, or a callable of a picture that gives a box, ``None``, or the cropped picture.
        size: Height and width of the result; ``None`` for the size of the crop.

    Returns:
        One picture a frame.

    Raises:
        SignalError: If there is no face.
        ShapeError: If the finder gives neither a box nor a picture, or pictures of several sizes without ``size``.

    Example:
        >>> frame = np.arange(48, dtype="uint8").reshape(4, 4, 3)
        >>> crop_faces([frame], lambda image: (1, 1, 2, 2))[0].shape
        (2, 2, 3)
    """
    crops, seen = cut_face(frames, [look(frame, finder) for frame in frames], finder, size)
    if not seen.usable:
        raise no_face(seen.why, len(frames), finder)
    return crops


def no_face(why: str, frames: int, finder: FaceFinder) -> SignalError:
    """Return the error of a clip without a face.

    Args:
        why: What was seen.
        frames: How many frames were searched.
        finder: What searched.
    """
    return SignalError(
        f"video: {why} ({frames} frames searched with {finder!r}). Give a clip in which the face is seen "
        "from the front, another face finder, or use the whole picture with face=None (face_crop=False in a spec)."
    )


def haar_face_crop(image: np.ndarray, *, margin: float = 0.1, size: tuple[int, int] | None = None) -> np.ndarray:
    """Cut the largest face out of one picture.

    Args:
        image: ``(height, width, 3)`` uint8 RGB.
        margin: As in :class:`HaarFaceCrop`.
        size: Height and width of the result; ``None`` for the size of the crop.

    Returns:
        The face, ``(h, w, 3)`` uint8.

    Raises:
        SignalError: If there is no face.

    Example:
        >>> haar_face_crop(np.zeros((64, 64, 3), dtype="uint8"))
        Traceback (most recent call last):
            ...
        evermodels.core.errors.SignalError: ...no face was found...
    """
    return crop_faces([image], HaarFaceCrop(margin), size=size)[0]


def _crops(looks: Sequence[Any], size: tuple[int, int] | None) -> tuple[list[np.ndarray], Seen]:
    """What a finder that crops by itself gave; where it saw none, the nearest earlier crop, or the first, stands in."""
    kept = [found for found in looks if isinstance(found, np.ndarray)]
    shown = tuple(isinstance(found, np.ndarray) for found in looks)
    seen = Seen(len(kept) / len(looks), 1, float("nan"), shown=shown)
    if seen.share < LEAST_SHARE:
        return [], seen._replace(why=f"a face was found in only {len(kept)} of {len(looks)} frames")
    last = kept[0]
    crops = [last := (found if isinstance(found, np.ndarray) else last) for found in looks]
    if size is not None:
        return [resize(crop, size) for crop in crops], seen
    if len({crop.shape for crop in crops}) > 1:
        raise ShapeError("face: the finder gives pictures of several sizes. Give size=(height, width).")
    return crops, seen


def _distance(boxes: np.ndarray, other: np.ndarray) -> np.ndarray:
    """How far boxes ``(..., 4)`` lie from another, in its sides, or in the logarithm of size where that is more."""
    middles = np.abs((boxes[..., :2] + boxes[..., 2:] / 2) - (other[..., :2] + other[..., 2:] / 2)) / other[..., 2:]
    sizes = np.abs(np.log(boxes[..., 2:] / other[..., 2:]))
    return np.asarray(np.maximum(middles, sizes).max(axis=-1))


def _central(boxes: np.ndarray) -> np.ndarray:
    return np.asarray(boxes[int(_distance(boxes[:, None], boxes[None]).sum(axis=0).argmin())])


def _agrees(box: np.ndarray, centre: np.ndarray) -> bool:
    return bool(_distance(box, centre) <= _AGREES)


def _eyes(kept: Sequence[tuple[np.ndarray, Box]], finder: FaceFinder) -> bool:
    """Whether an eye is seen in one of a few frames; people blink, but not in all of them."""
    sees: Callable[[np.ndarray, Box], bool] | None = getattr(finder, "has_eyes", None)
    if sees is None:
        return True
    chosen = np.unique(np.linspace(0, len(kept) - 1, _LOOKS_FOR_EYES).round().astype(int))
    return any(sees(*kept[k]) for k in chosen)
