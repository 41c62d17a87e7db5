"""What a codec, a camera's levels and a face finder do to a clip, for training."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from evermodels.core.errors import ConfigError, ShapeError, require

_RANGE = 0.1  # of the changed clips whose 16..235 were read as 0..255, or the reverse
_LEVELS = 4.0  # grey levels
_TINT = 3.0  # grey levels between colours, as another matrix of the same codec gives
_SOFTEST = 0.55  # of the resolution
_SHARPEST = 0.7  # of what a Gaussian of one pixel takes away
_CODED = 0.7  # of the changed clips
_QUALITY = (30, 95)


def box_walk(num_frames: int, rng: np.random.Generator, noise: float) -> NDArray[np.float64]:
    """Draw how a face finder's box lies off, ``(num_frames, 3)``: right, down (parts of its side), log of its size.

    Most of it holds for the whole clip, since a reader takes one box a clip; a fifth is new in every frame.

    Args:
        num_frames: Frames in the clip.
        rng: Source of the random numbers; always the same count is drawn.
        noise: Standard deviation over clips, as a part of the box's side.

    Example:
        >>> float(np.abs(box_walk(4, np.random.default_rng(0), 0.0)).max())
        0.0
    """
    still, moving = rng.standard_normal((1, 3)), rng.standard_normal((num_frames, 3))
    return noise * (still + 0.2 * moving)


def recorded(
    clip: NDArray[np.uint8],
    rng: np.random.Generator,
    probability: float = 1.0,
    strength: float = 1.0,
    colours: float | None = None,
) -> NDArray[np.uint8]:
    """Return a clip as another codec, resolution and range of levels would have given it.

    One draw holds for all its frames: softened by a loss of resolution or sharpened, its levels shifted by some grey
    values (of each colour, too; in one of ten the range of 16 to 235 is taken for 0 to 255 or the reverse), and its
    frames compressed as JPEG of random quality and chroma subsampling. Strengths are a choice: the same face as H.264,
    MJPEG and stills differs by 1 to 2 grey values on average.

    Args:
        clip: ``(frames, height, width, 3)`` uint8, RGB.
        rng: Source of the random numbers; always the same count is drawn.
        probability: How many of the clips are changed; the others are returned as they are.
        strength: How much of the ranges above, 0..1; below 1 no range of levels is mistaken.
        colours: How much of the range by which colours move apart (default: ``strength``). Encoders cut colours off:
            the same picture as H.264 and MJPEG differs by up to two grey values of a colour, however fine both are.

    Returns:
        A clip of the same shape.

    Raises:
        ShapeError: If it is no clip of RGB pictures.
        ConfigError: If ``probability``, ``strength`` or ``colours`` is not in 0..1.

    Example:
        >>> clip = np.full((2, 16, 16, 3), 128, np.uint8)
        >>> recorded(clip, np.random.default_rng(0)).shape
        (2, 16, 16, 3)
    """
    if clip.ndim != 4 or clip.shape[-1] != 3 or clip.dtype != np.uint8 or 0 in clip.shape:
        raise ShapeError(f"clip: expected (frames, height, width, 3) of uint8, got {clip.shape} of {clip.dtype}.")
    colours = strength if colours is None else colours
    if not (0 <= probability <= 1 and 0 <= strength <= 1 and 0 <= colours <= 1):
        said = f"{probability!r}, {strength!r} and {colours!r}"
        raise ConfigError(f"probability, strength, colours: expected numbers in 0..1, got {said}.")
    chosen, sharpness, interpolation, how_ranged, level, quality, chroma, coded = rng.random(8)
    tint = rng.uniform(-_TINT, _TINT, 3)
    if chosen >= probability:
        return clip
    # All frames as one tall picture: one call each, and only rows at the frames' edges see a neighbour.
    frames, height, width, _ = clip.shape
    tall = _focus(clip.reshape(frames * height, width, 3), strength * (2 * sharpness - 1), interpolation)
    offset = strength * _LEVELS * (2 * level - 1) + colours * (tint - tint.mean())
    tall = _levels(tall, offset, how_ranged if strength == 1 else 1.0)
    if coded < _CODED:
        tall = _jpeg(tall, round(_QUALITY[1] - strength * (1 - quality) * (_QUALITY[1] - _QUALITY[0])), chroma)
    return tall.reshape(clip.shape)


def _focus(tall: NDArray[np.uint8], sharpness: float, interpolation: float) -> NDArray[np.uint8]:
    """Sharpened above 0, taken through a smaller picture below."""
    cv2 = require("cv2", extra="video", purpose="change clips")
    height, width = tall.shape[:2]
    changed: NDArray[np.uint8]
    if sharpness >= 0:
        amount = _SHARPEST * sharpness
        changed = cv2.addWeighted(tall, 1 + amount, cv2.GaussianBlur(tall, (3, 3), 1.0), -amount, 0)
        return changed
    part = 1 + sharpness * (1 - _SOFTEST)
    small = (max(1, round(part * width)), max(1, round(part * height)))
    shrunk = cv2.resize(tall, small, interpolation=cv2.INTER_LINEAR)
    up = (cv2.INTER_LINEAR, cv2.INTER_CUBIC)[int(interpolation * 2)]
    changed = cv2.resize(shrunk, (width, height), interpolation=up)
    return changed


def _levels(tall: NDArray[np.uint8], offset: NDArray[np.float64], how_ranged: float) -> NDArray[np.uint8]:
    cv2 = require("cv2", extra="video", purpose="change clips")
    level = np.arange(256.0)[:, None]
    if how_ranged < _RANGE / 2:
        level = 16 + level * 219 / 255
    elif how_ranged < _RANGE:
        level = (level - 16) * 255 / 219
    table = np.rint(np.clip(level + offset, 0, 255)).astype(np.uint8)
    changed: NDArray[np.uint8] = cv2.LUT(tall, table[:, None, :])
    return changed


def _jpeg(tall: NDArray[np.uint8], quality: int, chroma: float) -> NDArray[np.uint8]:
    cv2 = require("cv2", extra="video", purpose="change clips")
    samplings = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, samplings[int(chroma * 2)]]
    _, data = cv2.imencode(".jpg", tall, options)
    changed: NDArray[np.uint8] = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return changed
