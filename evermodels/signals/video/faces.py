"""Faces found in pictures, by OpenCV's bundled Haar cascades."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from evermodels.core.errors import ConfigError, MissingExtraError, require
from evermodels.signals.video.pictures import Box

FaceFinder = Callable[[np.ndarray], Any]
"""Takes a picture ``(height, width, 3)`` uint8 RGB; gives a box ``(x, y, width, height)`` in pixels, ``None`` where
there is no face, or the cropped picture itself."""

_LONGEST_SIDE = 480
_LEAST_SIDE = 24
_MOST_FACES = 8
_CONFIRM_SIDE, _EYES_SIDE = 80, 120  # pixels to which a hit is brought for the second look
_BORDER = 0.2
_APART = 0.25
_UPPER = 0.6


class HaarFaceCrop:
    """Find the largest face of a picture with OpenCV's frontal-face Haar cascade.

    Source: Viola & Jones, Rapid object detection using a boosted cascade of simple features, CVPR 2001; the trained
    cascades come with OpenCV 4 (version 5's wheel has none). The picture is searched with ``frontalface_default`` at
    no more than 480 pixels a side, for faces of at least an eighth of its shorter side and 24 pixels; where nothing is
    found, once more in finer steps. What is found must be confirmed: by a second cascade (``frontalface_alt2``) in the
    same place, and by an eye (``eye_tree_eyeglasses``) in its upper part. So lettering, and faces that lie on their
    side, are not taken for a face; nor is somebody in sunglasses. (Choices; all 204 portraits of the London set are
    found and confirmed; of 300 random title cards 9 are found and none confirmed, of 51 portraits on their side 33 and
    none.)

    Args:
        margin: Extra border on each side, as a part of the face box's side (default 0.1).
        min_neighbors: How many overlapping hits make a face (default 6, at most 4 in the finer search); fewer find
            more, also what is no face.
        confirm: Whether a hit must be confirmed; ``False`` for pictures of which each is known to hold a face.

    Raises:
        ConfigError: If ``margin`` is not in 0..1.
        MissingExtraError: On the first use, if OpenCV or a cascade is missing.

    Example:
        >>> HaarFaceCrop(margin=0.2)
        HaarFaceCrop(margin=0.2, min_neighbors=6)
    """

    def __init__(self, margin: float = 0.1, min_neighbors: int = 6, *, confirm: bool = True) -> None:
        if not 0 <= margin <= 1:
            raise ConfigError(f"margin: expected a number in 0..1, got {margin!r}.")
        self.margin = margin
        self.min_neighbors = min_neighbors
        self.confirm = confirm
        self._cascades: dict[str, Any] = {}

    def __call__(self, image: np.ndarray) -> Box | None:
        """Return the box of the largest face with its margin, or ``None``.

        Args:
            image: ``(height, width, 3)`` uint8 RGB.
        """
        return next((box for box in self.faces(image) if self.has_eyes(image, box)), None)

    def faces(self, image: np.ndarray) -> list[Box]:
        """Return the boxes with their margin of all that both frontal cascades take for a face, the largest first.

        Args:
            image: ``(height, width, 3)`` uint8 RGB.
        """
        cv2 = require("cv2", extra="video", purpose="find faces")
        height, width = image.shape[:2]
        scale = min(1.0, _LONGEST_SIDE / max(height, width))
        if scale * min(height, width) < _LEAST_SIDE:
            return []
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        small = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else grey
        least = max(_LEAST_SIDE, min(small.shape) // 8)
        found: Any = ()
        for step, neighbors in ((1.1, self.min_neighbors), (1.05, min(self.min_neighbors, 4))):
            found = self._cascade("frontalface_default").detectMultiScale(
                small, scaleFactor=step, minNeighbors=neighbors, minSize=(least, least)
            )
            if len(found) > 0:
                break
        boxes = sorted((tuple(float(v) / scale for v in box) for box in found), key=lambda box: -box[2] * box[3])
        if self.confirm:
            boxes = [box for box in boxes[:_MOST_FACES] if self._confirmed(grey, box)]
        m = self.margin
        return [(x - m * w, y - m * h, w * (1 + 2 * m), h * (1 + 2 * m)) for x, y, w, h in boxes]

    def has_eyes(self, image: np.ndarray, box: Box) -> bool:
        """Return whether an eye is seen where a face must have it; always, with ``confirm=False``.

        People blink: over a clip, ask about several frames.

        Args:
            image: ``(height, width, 3)`` uint8 RGB.
            box: What :meth:`faces` gave.
        """
        if not self.confirm:
            return True
        cv2 = require("cv2", extra="video", purpose="find faces")
        side = box[2] / (1 + 2 * self.margin)
        x, y = box[0] + self.margin * side, box[1] + self.margin * side
        face, _, _ = _part(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (x, y, side, side), 0.0, _EYES_SIDE)
        least = _EYES_SIDE // 7
        found = self._cascade("eye_tree_eyeglasses").detectMultiScale(
            face[: int(_UPPER * len(face))], scaleFactor=1.1, minNeighbors=1, minSize=(least, least)
        )
        return len(found) > 0

    def _confirmed(self, grey: np.ndarray, box: Box) -> bool:
        part, left, top = _part(grey, box, _BORDER, _CONFIRM_SIDE)
        least = int(0.65 * _CONFIRM_SIDE)
        found = self._cascade("frontalface_alt2").detectMultiScale(
            part, scaleFactor=1.1, minNeighbors=3, minSize=(least, least)
        )
        scale = _CONFIRM_SIDE / box[2]
        x, y = (box[0] - left + box[2] / 2) * scale, (box[1] - top + box[3] / 2) * scale
        far = _APART * _CONFIRM_SIDE
        return any(abs(a + w / 2 - x) < far and abs(b + h / 2 - y) < far for a, b, w, h in found)

    def _cascade(self, name: str) -> Any:
        if name not in self._cascades:
            cv2 = require("cv2", extra="video", purpose="find faces")
            folder = getattr(getattr(cv2, "data", None), "haarcascades", "")
            path = Path(folder) / f"haarcascade_{name}.xml"
            if not folder or not path.is_file():
                raise MissingExtraError(
                    f"OpenCV {cv2.__version__} comes without the face cascade {name}. "
                    "Install: pip install 'opencv-python-headless<5', or give another face finder."
                )
            self._cascades[name] = cv2.CascadeClassifier(str(path))
        return self._cascades[name]

    def __getstate__(self) -> dict[str, Any]:
        """Leave OpenCV's objects behind: they cannot be pickled, and are loaded again on use."""
        return {**self.__dict__, "_cascades": {}}

    def __repr__(self) -> str:
        return f"HaarFaceCrop(margin={self.margin}, min_neighbors={self.min_neighbors})"


def _part(grey: np.ndarray, box: Box, border: float, side: int) -> tuple[np.ndarray, int, int]:
    """Cut a box with a border, its contrast stretched and ``side`` pixels wide; and say where it began."""
    cv2 = require("cv2", extra="video", purpose="find faces")
    x, y, w, h = box
    left, top = max(0, round(x - border * w)), max(0, round(y - border * h))
    part = grey[top : max(top + 1, round(y + h * (1 + border))), left : max(left + 1, round(x + w * (1 + border)))]
    scale = side / w
    size = (max(1, round(part.shape[1] * scale)), max(1, round(part.shape[0] * scale)))
    part = cv2.resize(part, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    return cv2.equalizeHist(part), left, top
