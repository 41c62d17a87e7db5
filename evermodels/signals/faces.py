"""Faces cut out of pictures, by OpenCV's bundled Haar cascade or any callable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evermodels.core.errors import ConfigError, MissingExtraError, ShapeError, SignalError, require

Box = tuple[float, float, float, float]
FaceFinder = Callable[[np.ndarray], Any]
"""Takes a picture ``(height, width, 3)`` uint8 RGB; gives a box ``(x, y, width, height)`` in pixels, ``None`` where
there is no face, or the cropped picture itself."""

_LONGEST_SIDE = 480
_LEAST_PART = 0.25
_AGREES = 0.25  # of a box's side, and in the logarithm of its size


class HaarFaceCrop:
    """Find the largest face of a picture with OpenCV's frontal-face Haar cascade.

    Source: Viola & Jones, Rapid object detection using a boosted cascade of simple features, CVPR 2001; the trained
    cascade ``haarcascade_frontalface_default`` comes with OpenCV 4 (version 5's wheel has none). The picture is
    searched at no more than 480 pixels a side, for faces of at least an eighth of its shorter side; where nothing is
    found, once more in finer steps (choices; on the 204 portraits of the London set every face is found).

    Args:
        margin: Extra border on each side, as a part of the face box's side (default 0.1).
        min_neighbors: How many overlapping hits make a face (default 6, at most 4 in the finer search); fewer find
            more, also what is no face.

    Raises:
        ConfigError: If ``margin`` is not in 0..1.
        MissingExtraError: On the first use, if OpenCV or its cascade is missing.

    Example:
        >>> HaarFaceCrop(margin=0.2)
        HaarFaceCrop(margin=0.2, min_neighbors=6)
    """

    def __init__(self, margin: float = 0.1, min_neighbors: int = 6) -> None:
        if not 0 <= margin <= 1:
            raise ConfigError(f"margin: expected a number in 0..1, got {margin!r}.")
        self.margin = margin
        self.min_neighbors = min_neighbors
        self._cascade: Any = None

    def __call__(self, image: np.ndarray) -> Box | None:
        """Return the box of the largest face with its margin, or ``None``.

        Args:
            image: ``(height, width, 3)`` uint8 RGB.
        """
        cv2 = require("cv2", extra="video", purpose="find faces")
        if self._cascade is None:
            folder = getattr(getattr(cv2, "data", None), "haarcascades", "")
            path = Path(folder) / "haarcascade_frontalface_default.xml"
            if not folder or not path.is_file():
                raise MissingExtraError(
                    f"OpenCV {cv2.__version__} comes without the face cascade. "
                    "Install: pip install 'opencv-python-headless<5', or give another face finder."
                )
            self._cascade = cv2.CascadeClassifier(str(path))
        height, width = image.shape[:2]
        scale = min(1.0, _LONGEST_SIDE / max(height, width))
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        if scale < 1:
            grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        least = max(24, min(grey.shape) // 8)
        found: Any = ()
        for step, neighbors in ((1.1, self.min_neighbors), (1.05, min(self.min_neighbors, 4))):
            found = self._cascade.detectMultiScale(
                grey, scaleFactor=step, minNeighbors=neighbors, minSize=(least, least)
            )
            if len(found) > 0:
                break
        if len(found) == 0:
            return None
        x, y, w, h = (float(v) / scale for v in max(found, key=lambda box: box[2] * box[3]))
        return x - self.margin * w, y - self.margin * h, w * (1 + 2 * self.margin), h * (1 + 2 * self.margin)

    def __getstate__(self) -> dict[str, Any]:
        """Leave OpenCV's object behind: it cannot be pickled, and is loaded again on use."""
        return {**self.__dict__, "_cascade": None}

    def __repr__(self) -> str:
        return f"HaarFaceCrop(margin={self.margin}, min_neighbors={self.min_neighbors})"


def crop_faces(
    frames: Sequence[np.ndarray], finder: FaceFinder, *, size: tuple[int, int] | None = None
) -> list[np.ndarray]:
    """Cut the face out of each frame of a clip, with one box for the whole clip.

    The box is the mean of the boxes found that agree with the most central one to a quarter of its side: so it neither
    jitters nor follows one wrong hit, nor steps as a median does where another codec moves single boxes. At least a
    quarter of the frames must show a face (a choice).

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
    found = [finder(frame) for frame in frames]
    kept = [result for result in found if result is not None]
    if len(kept) < max(1, _LEAST_PART * len(frames)):
        where = "no face was found" if not kept else f"a face was found in only {len(kept)} of the frames"
        raise SignalError(
            f"video: {where} ({len(frames)} frames searched with {finder!r}). Give a clip in which the face is seen "
            "from the front, another face finder, or use the whole picture with face=None (face_crop=False in a spec)."
        )
    if all(isinstance(result, np.ndarray) and result.ndim == 3 for result in kept):
        if len(kept) < len(found):  # the nearest earlier crop, or the first one, stands in
            last = kept[0]
            found = [last := (last if result is None else result) for result in found]
        crops = list(found)
    else:
        try:
            boxes = np.array([[float(v) for v in result] for result in kept]).reshape(len(kept), 4)
        except (TypeError, ValueError):
            raise ShapeError(
                "face: the finder must give a box (x, y, width, height), None, or a picture (height, width, 3); "
                f"got {type(kept[0]).__name__}."
            ) from None
        x, y, w, h = (float(v) for v in boxes[_agreeing(boxes)].mean(axis=0))
        box = (x, y, w, h)
        return [_cut(frame, box) if size is None else resize(frame, size, box) for frame in frames]
    if size is not None:
        return [resize(crop, size) for crop in crops]
    if len({crop.shape for crop in crops}) > 1:
        raise ShapeError("face: the finder gives pictures of several sizes. Give size=(height, width).")
    return crops


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


def resize(image: np.ndarray, size: tuple[int, int], box: Box | None = None) -> np.ndarray:
    """Return the picture, or a box of it, at another size: linearly, over all pixels that fall together (no aliasing).

    The largest centred part that has the new size's proportions is taken, so nothing is stretched; a box over the edge
    is moved inside, which keeps its proportions. Boxes count to a fraction of a pixel: one that lies off by a tenth of
    a pixel gives nearly the same picture.

    Args:
        image: ``(height, width, 3)`` uint8.
        size: New height and width.
        box: ``(x, y, width, height)`` in pixels; ``None`` for the whole picture.

    Raises:
        ConfigError: If the size is not positive.

    Example:
        >>> resize(np.zeros((4, 8, 3), dtype="uint8"), (2, 2)).shape
        (2, 2, 3)
    """
    height, width = (int(v) for v in size)
    if height < 1 or width < 1:
        raise ConfigError(f"size: expected a positive height and width, got {size!r}.")
    pillow = require("PIL.Image", extra="video", purpose="resize pictures")
    x, y, have_w, have_h = _inside(image, box) if box is not None else (0.0, 0.0, image.shape[1], image.shape[0])
    part_w, part_h = min(have_w, have_h * width / height), min(have_h, have_w * height / width)
    left, top = x + (have_w - part_w) / 2, y + (have_h - part_h) / 2
    whole = (left, top, min(left + part_w, image.shape[1]), min(top + part_h, image.shape[0]))
    resized = pillow.fromarray(image).resize((width, height), pillow.Resampling.BILINEAR, box=whole)
    return np.asarray(resized)


def _inside(image: np.ndarray, box: Box) -> Box:
    height, width = image.shape[:2]
    w, h = min(max(box[2], 1.0), width), min(max(box[3], 1.0), height)
    return min(max(box[0], 0.0), width - w), min(max(box[1], 0.0), height - h), w, h


def _cut(image: np.ndarray, box: Box) -> np.ndarray:
    """Cut a box at whole pixels."""
    x, y, w, h = box
    x, y, w, h = _inside(image, (round(x), round(y), round(w), round(h)))
    return image[int(y) : int(y + h), int(x) : int(x + w)]


def _agreeing(boxes: np.ndarray) -> np.ndarray:
    """Return which boxes, ``(n, 4)``, lie where the most central one lies, and are about as large: ``(n,)`` bool."""
    places = np.concatenate([boxes[:, :2] + boxes[:, 2:] / 2, np.log(np.maximum(boxes[:, 2:], 1e-9))], axis=1)
    side = np.maximum(boxes[:, 2:], 1e-9)
    apart = np.abs(places[:, None] - places[None]) / np.concatenate([side, np.ones_like(side)], axis=1)
    far = apart.max(axis=2)
    return np.asarray(far[:, int(far.sum(axis=0).argmin())] <= _AGREES)
