"""Single pictures: files and PIL images as 8-bit RGB, with bounds before memory; parts of them at another size."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from evermodels.core.errors import ConfigError, ShapeError, SignalError, boundary, require

Box = tuple[float, float, float, float]

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF")
MOST_PIXELS = 64_000_000
"""Pixels of a picture or frame; one more than that is refused before it is decoded."""

_SEVERAL = ("TIFF", "WEBP", "PNG")  # formats in which further pictures are further frames
_DEEP = ("I;16", "I;16L", "I;16B", "I;16N")
_COPY = "Copy it again, or save it as an 8-bit PNG or JPEG."


def natural_key(path: Path) -> list[tuple[int, int, str]]:
    """Return what sorts names as people count: ``frame2`` before ``frame11``.

    Args:
        path: The file.

    Example:
        >>> sorted(map(Path, ["f11.png", "f2.png", "f1.png"]), key=natural_key)[1].name
        'f2.png'
    """
    parts = re.findall(r"\d+|\D+", path.name)
    return [(0, int(part[:4000]), part) if part.isdecimal() else (1, 0, part) for part in parts]


def check_size(width: int, height: int, what: str) -> None:
    """Refuse a picture that is empty or larger than :data:`MOST_PIXELS`.

    Args:
        width: Width in pixels.
        height: Height in pixels.
        what: What it is, for the message.

    Raises:
        SignalError: If it is.
    """
    if not 0 < width * height <= MOST_PIXELS or width < 1:
        raise SignalError(
            f"{what}: its header says {width} x {height} pixels; 1 to {MOST_PIXELS // 10**6} million can be read. "
            "Shrink it, or copy it again if that is not its size."
        )


def picture_array(picture: Any, what: str) -> np.ndarray:
    """Return a picture as ``(height, width, 3)`` uint8 RGB, upright as its EXIF data say.

    Sixteen bits of grey become eight by their range (65535 is white); transparent pixels are laid on white.

    Args:
        picture: A path, a PIL image or an array ``(height, width, 3)`` uint8.
        what: What it is, for the message.

    Raises:
        SignalError: If the picture is damaged, too large, holds several, or has no range that could be known.
        ShapeError: If an array is no 8-bit RGB picture.
        FileNotFoundError: If there is no such file.

    Example:
        >>> picture_array(np.zeros((4, 6, 3), dtype="uint8"), "frame 0").shape
        (4, 6, 3)
    """
    if isinstance(picture, (str, Path)):
        image = require("PIL.Image", extra="video", purpose="read pictures")
        what = Path(picture).name
        if not Path(picture).exists():
            raise FileNotFoundError(f"video: there is no picture {picture}.")
        with (
            boundary(SignalError, f"{what}: the picture is damaged, cut short or too large", _COPY),
            image.open(picture, formats=FORMATS) as opened,
        ):
            picture = _upright(opened, what)
    elif hasattr(picture, "convert"):
        with boundary(SignalError, f"{what}: the picture cannot be read", _COPY):
            picture = _upright(picture, what)
    array = np.asarray(picture)
    check_picture(array, what)
    return array


def check_picture(picture: np.ndarray, what: str) -> None:
    """Refuse an array that is no 8-bit RGB picture.

    Args:
        picture: The array.
        what: What it is, for the message.

    Raises:
        ShapeError: If it is not ``(height, width, 3)`` of uint8.
    """
    if picture.ndim != 3 or picture.shape[-1] != 3 or picture.dtype != np.uint8 or 0 in picture.shape:
        raise ShapeError(
            f"{what}: expected pictures (height, width, 3) of uint8, got {picture.shape} of {picture.dtype}. "
            "Move the colours to the last axis and scale to 0..255."
        )


def _upright(image: Any, what: str) -> np.ndarray:
    check_size(image.width, image.height, what)
    frames = getattr(image, "n_frames", 1) if image.format in _SEVERAL else 1
    if frames > 1:
        raise SignalError(f"{what}: the file holds {frames} pictures. Save each as a file of its own, or as a video.")
    ops = require("PIL.ImageOps", extra="video", purpose="read pictures")
    image = ops.exif_transpose(image)
    deep = image.mode in _DEEP or (image.mode == "I" and image.format == "PNG")  # no PNG has more than 16 bits
    if deep:
        levels = np.asarray(image).astype(np.float32) * (255 / 65535)
        return np.repeat(np.rint(levels).astype(np.uint8)[..., None], 3, axis=2)
    if image.mode in ("I", "F"):
        raise SignalError(
            f"{what}: its values are {'32-bit integers' if image.mode == 'I' else 'floating point'}, and nothing says "
            "which of them is white. Scale them to 0..255 and save them as an 8-bit picture."
        )
    if "A" in image.getbands() or "transparency" in image.info:
        whole = image.convert("RGBA")
        white = require("PIL.Image", extra="video", purpose="read pictures").new("RGBA", whole.size, (255,) * 4)
        white.alpha_composite(whole)
        image = white
    return np.asarray(image.convert("RGB"))


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


def cut(image: np.ndarray, box: Box) -> np.ndarray:
    """Return a box of a picture, cut at whole pixels; one over the edge is moved inside.

    Args:
        image: ``(height, width, 3)``.
        box: ``(x, y, width, height)`` in pixels.
    """
    x, y, w, h = box
    x, y, w, h = _inside(image, (round(x), round(y), round(w), round(h)))
    return image[int(y) : int(y + h), int(x) : int(x + w)]


def _inside(image: np.ndarray, box: Box) -> Box:
    height, width = image.shape[:2]
    w, h = min(max(box[2], 1.0), width), min(max(box[3], 1.0), height)
    return min(max(box[0], 0.0), width - w), min(max(box[1], 0.0), height - h), w, h
