"""Face Research Lab London Set: a neutral and a smiling portrait of each of 102 adults."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from evermodels.core.errors import ConfigError, DataError, did_you_mean, require
from evermodels.datasets.clips import EXPRESSIONS
from evermodels.datasets.folders import existing_folder
from evermodels.signals.video.faces import FaceFinder, HaarFaceCrop

Box = tuple[float, float, float, float]

_FLAT = re.compile(r"^(\d{3})_(neutral|smiling)\.(?:jpe?g|png)$", re.IGNORECASE)
_PUBLISHED = {"neutral": ("neutral_front", "03"), "smiling": ("smiling_front", "08")}


class LondonFaces:
    """Front portraits, neutral and smiling, cut to the face.

    DeBruine & Jones, *Face Research Lab London Set*, figshare, 2017, doi 10.6084/m9.figshare.5047666, CC BY 4.0. Two
    layouts are read: the publisher's archives unpacked (``neutral_front/001_03.jpg``, ``smiling_front/001_08.jpg``) and
    a flat folder (``001_neutral.jpg``, ``001_smiling.jpg``).

    In the published pictures a smiling head lies lower than the neutral one by about a tenth of the face (21 ± 7 of 512
    pixels): the strip above the hair line alone tells the two apart in nine of ten people. ``align="face"`` takes this
    away: each photograph is cut around its own face box, with one side length for both. ``align="picture"`` cuts both
    at the same place and keeps the published positions, and with them the shortcut.

    Args:
        root: The folder.
        crop: Whether to cut to the face; ``False`` gives the whole portraits, with the shortcut.
        size: Height and width to which photographs are shrunk; ``None`` keeps the crop's own size.
        margin: Border on each side of the face box, as a part of its side.
        align: ``"face"`` or ``"picture"``, see above.
        finder: Callable of a picture that gives the face's box ``(x, y, width, height)`` or ``None`` (default: the Haar
            cascade of :class:`evermodels.signals.HaarFaceCrop`, asked a second time with ``min_neighbors=2`` where it
            sees nothing, since each portrait holds one face: person 042 needs it).

    Raises:
        DataError: If the folder is in neither layout, or a photograph of a person is missing; it is named.

    Example:
        >>> LondonFaces("nowhere")
        Traceback (most recent call last):
            ...
        evermodels.core.errors.DataError: LondonFaces: 'nowhere' is not a folder. ...
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        crop: bool = True,
        size: tuple[int, int] | None = None,
        margin: float = 0.3,
        align: Literal["face", "picture"] = "face",
        finder: FaceFinder | None = None,
    ) -> None:
        self.root = existing_folder(root, "LondonFaces")
        if not 0 <= margin <= 1:
            raise ConfigError(f"margin: expected a number in 0..1, got {margin}.")
        if align not in ("face", "picture"):
            raise ConfigError(f"align: expected 'face' or 'picture', got {align!r}.")
        self.crop, self.size, self.margin, self.align = crop, size, float(margin), align
        self._finders = (
            (HaarFaceCrop(0.0, confirm=False), HaarFaceCrop(0.0, min_neighbors=2, confirm=False))
            if finder is None
            else (finder,)
        )
        self._files = self._index()
        self.people: tuple[str, ...] = tuple(sorted({person for person, _ in self._files}))
        missing = [
            f"{person}_{expression}"
            for person in self.people
            for expression in EXPRESSIONS
            if (person, expression) not in self._files
        ]
        if missing:
            raise DataError(f"LondonFaces: {str(self.root)!r} lacks {', '.join(missing)}. Complete the download.")
        self._boxes: dict[str, dict[str, Box]] = {}
        self._photos: dict[tuple[str, str, tuple[int, int] | None], NDArray[np.uint8]] = {}

    def __repr__(self) -> str:
        return f"LondonFaces({len(self.people)} people, crop={self.crop})"

    def _index(self) -> dict[tuple[str, str], Path]:
        files: dict[tuple[str, str], Path] = {}
        for path in sorted(self.root.iterdir()):
            match = _FLAT.match(path.name)
            if match:
                files[match[1], match[2].lower()] = path
        for expression, (folder, number) in _PUBLISHED.items():
            # Unpacking the archives often leaves the folder inside one of its own name.
            for place in (self.root / folder, self.root / folder / folder):
                for path in sorted(place.glob(f"*_{number}.jpg")):
                    files.setdefault((path.name.split("_")[0], expression), path)
        if not files:
            raise DataError(
                f"LondonFaces: {str(self.root)!r} holds neither neutral_front/001_03.jpg and smiling_front/001_08.jpg "
                f"nor 001_neutral.jpg and 001_smiling.jpg. Give the folder into which the publisher's archives were "
                f"unpacked."
            )
        return files

    def path(self, person: str, expression: str) -> Path:
        """Return the file of one photograph.

        Args:
            person: Id, such as ``"001"``.
            expression: ``"neutral"`` or ``"smiling"``.

        Raises:
            DataError: If there is no such person or expression.
        """
        if expression not in EXPRESSIONS:
            raise DataError(f"expression: expected one of {', '.join(EXPRESSIONS)}, got {expression!r}.")
        if person not in self.people:
            raise DataError(f"person: {person!r} is not there.{did_you_mean(person, self.people)}")
        return self._files[person, expression]

    def box(self, person: str, expression: str) -> Box:
        """Return the square around the face in one photograph: left, top, right, bottom in pixels, without a margin.

        Its side is the mean over the person's two photographs, and with ``align="picture"`` its place is too.

        Args:
            person: Id, such as ``"001"``.
            expression: ``"neutral"`` or ``"smiling"``.

        Raises:
            DataError: If there is no such photograph, or a photograph of the person shows no face.
        """
        self.path(person, expression)
        if person not in self._boxes:
            found = np.array([self._found(self.path(person, name)) for name in EXPRESSIONS])
            centres = (found[:, :2] + found[:, 2:]) / 2
            if self.align == "picture":
                centres[:] = centres.mean(axis=0)
            half = (found[:, 2:] - found[:, :2]).mean() / 2
            for name, (x, y) in zip(EXPRESSIONS, centres.tolist(), strict=True):
                self._boxes.setdefault(person, {})[name] = (x - half, y - half, x + half, y + half)
        return self._boxes[person][expression]

    def _found(self, path: Path) -> Box:
        picture = _read(path)
        for finder in self._finders:
            box = finder(picture)
            if box is not None:
                x, y, width, height = (float(v) for v in box)
                return (x, y, x + width, y + height)
        raise DataError(
            f"LondonFaces: no face was found in {path.name}. Look at the picture; give another finder, or "
            f"crop=False to take the portraits whole."
        )

    def photo(self, person: str, expression: str, *, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        """Return one photograph, ``(height, width, 3)`` uint8, RGB, read-only; kept in memory.

        Args:
            person: Id, such as ``"001"``.
            expression: ``"neutral"`` or ``"smiling"``.
            size: Height and width in pixels (default: the data set's).

        Raises:
            DataError: If there is no such photograph, it cannot be read, or it shows no face.
        """
        size = self.size if size is None else size
        key = (person, expression, size)
        if key not in self._photos:
            picture = _read(self.path(person, expression))
            if self.crop:
                picture = _cut(picture, self.box(person, expression), self.margin)
            if size is not None:
                cv2 = require("cv2", extra="video", purpose="resize photographs")
                shrinks = size[0] <= picture.shape[0] and size[1] <= picture.shape[1]
                method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
                picture = cv2.resize(picture, (size[1], size[0]), interpolation=method)
            picture = np.ascontiguousarray(picture)
            picture.flags.writeable = False
            self._photos[key] = picture
        return self._photos[key]

    def preload(self, size: tuple[int, int] | None = None) -> LondonFaces:
        """Read every photograph now, for example before data-loading workers are forked; returns itself.

        Args:
            size: Height and width in pixels (default: the data set's).
        """
        for person in self.people:
            for expression in EXPRESSIONS:
                self.photo(person, expression, size=size)
        return self


def _read(path: Path) -> NDArray[np.uint8]:
    cv2 = require("cv2", extra="video", purpose="read photographs")
    # imread cannot open every path on every system; the bytes always can be decoded.
    data = np.frombuffer(path.read_bytes(), np.uint8)
    picture = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if picture is None:
        raise DataError(f"LondonFaces: {path.name} is not a picture that can be read. Download it again.")
    return np.ascontiguousarray(picture[:, :, ::-1])


def _cut(picture: NDArray[np.uint8], box: Box, margin: float) -> NDArray[np.uint8]:
    """Cut the box with its margin; where that leaves the picture, the edge pixels are repeated."""
    left, top, right, bottom = box
    x, y, half = (left + right) / 2, (top + bottom) / 2, (right - left) / 2 * (1 + 2 * margin)
    side = max(1, round(2 * half))
    x0, y0 = round(x - half), round(y - half)
    rows = np.clip(np.arange(y0, y0 + side), 0, picture.shape[0] - 1)
    columns = np.clip(np.arange(x0, x0 + side), 0, picture.shape[1] - 1)
    return picture[rows][:, columns]
