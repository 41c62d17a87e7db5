"""Face clips made from one person's two photographs."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from evermodels.core.errors import ConfigError, ShapeError, require

Expression = Literal["neutral", "smiling"]
EXPRESSIONS: tuple[Expression, ...] = ("neutral", "smiling")
VIEW = 0.75
"""Part of a photograph's side that fills a frame; the border around it gives the motion room."""

_KNOTS = 16
_SCALES = {
    # standard deviations over a clip (motion drifts around them within it); all are a choice
    "shift": 0.0125,  # of the visible side
    "zoom": 0.015,  # logarithm
    "angle": 1.25,  # degrees
    "gain": 0.05,  # logarithm
    "offset": 0.02,  # of the full range
    "gamma": 0.05,  # logarithm
}


def _walk(rng: np.random.Generator, num_frames: int, width: int) -> NDArray[np.float64]:
    """Smooth stationary random walks of about unit variance, ``(num_frames, width)``, half constant over the clip."""
    noise = rng.standard_normal((_KNOTS + 1, width))
    position = np.empty((_KNOTS, width))
    velocity, place = np.zeros(width), noise[0]
    for k in range(_KNOTS):
        velocity = 0.6 * velocity + 0.2 * noise[k + 1]
        place = 0.93 * place + velocity
        position[k] = place
    at = np.linspace(0, _KNOTS - 1, num_frames) if num_frames > 1 else np.array([0.0])
    low = np.minimum(at.astype(int), _KNOTS - 2)
    part = (at - low)[:, None]
    return position[low] * (1 - part) + position[low + 1] * part


def crossfade_weights(
    num_frames: int, rng: np.random.Generator, *, probability: float = 0.5, longest_lead: float = 0.3
) -> NDArray[np.float64]:
    """Return the weight of a clip's own expression in each frame, ``(num_frames,)`` in 0..1.

    With the given probability the clip begins with the other expression for a random lead of ``0 … longest_lead`` of
    its frames and then fades into its own within 10 to 20 % of the frames; otherwise every weight is 1. The draw does
    not look at which expression is the clip's own, so the fade says nothing about the class.

    Args:
        num_frames: Frames in the clip.
        rng: Source of the random numbers; always the same count is drawn.
        probability: How many of the clips fade.
        longest_lead: Longest lead, as a part of the clip.

    Example:
        >>> crossfade_weights(4, np.random.default_rng(0), probability=0.0)
        array([1., 1., 1., 1.])
    """
    fades, lead, length = rng.random(3)
    if fades >= probability:
        return np.ones(num_frames)
    start = lead * longest_lead * num_frames
    ramp = (0.1 + 0.1 * length) * num_frames
    return np.clip((np.arange(num_frames) + 0.5 - start) / ramp, 0.0, 1.0)


def face_clip(  # noqa: PLR0917 - photographs, label, shape and generator in their natural order
    neutral: NDArray[np.uint8],
    smiling: NDArray[np.uint8],
    expression: Expression,
    num_frames: int,
    size: tuple[int, int],
    rng: np.random.Generator,
    *,
    view: float = VIEW,
    crossfade: float = 0.5,
    flip: bool = False,
    motion: float = 1.0,
    light: float = 1.0,
    box: NDArray[np.float64] | None = None,
) -> NDArray[np.uint8]:
    """Make a short clip of one face from a neutral and a smiling photograph.

    The photographs move as one: small smooth random walks of shift, size and rotation, of gain, offset and gamma, and
    with a probability of ``crossfade`` a beginning in the other expression (:func:`crossfade_weights`). The same
    generator state gives the same motion, light and timing for either expression. The clip is a stand-in for video
    that is openly licensed; it holds no real movement of the face. Amplitudes are a choice.

    Args:
        neutral: RGB photograph, ``(height, width, 3)`` uint8, face crop with a border.
        smiling: RGB photograph of the same person, same shape and crop.
        expression: What the clip shows, ``"neutral"`` or ``"smiling"``.
        num_frames: Frames in the clip.
        size: Height and width of the frames in pixels.
        rng: Source of the random numbers; the same state makes the same clip.
        view: Part of the photograph's side that fills a frame (:data:`VIEW`).
        crossfade: How many of the clips begin with the other expression.
        flip: Whether half of the clips are mirrored (for training).
        motion: Factor on the amplitudes of shift, size and rotation.
        light: Factor on the amplitudes of gain, offset and gamma.
        box: How the frames' box lies off, ``(num_frames, 3)``: right and down as parts of the visible side, logarithm
            of its size (:func:`~evermodels.datasets.degrade.box_walk`).

    Returns:
        Frames, ``(num_frames, height, width, 3)`` uint8, RGB.

    Raises:
        ShapeError: If the photographs are not two RGB pictures of one shape.
        ConfigError: If the expression or a number is impossible.

    Example:
        >>> photo = np.full((96, 96, 3), 128, np.uint8)
        >>> clip = face_clip(photo, photo, "smiling", 16, (64, 64), np.random.default_rng(0))
        >>> clip.shape
        (16, 64, 64, 3)
    """
    cv2 = require("cv2", extra="video", purpose="make face clips")
    _check_photos(neutral, smiling)
    _check_numbers(expression, num_frames, size, view)
    # Every draw happens whatever the expression is: the state of the generator must not depend on the class.
    weights = crossfade_weights(num_frames, rng, probability=crossfade)
    mirrored = bool(rng.random() < 0.5) and flip
    shift_x, shift_y, zoom, angle, gain, offset, gamma = _walk(rng, num_frames, 7).T

    own, other = (smiling, neutral) if expression == "smiling" else (neutral, smiling)
    height, width = size
    source_h, source_w = own.shape[:2]
    scale_x, scale_y = view * source_w / width, view * source_h / height
    magnify = np.exp(-motion * _SCALES["zoom"] * zoom)
    if box is not None:
        magnify = magnify * np.exp(box[:, 2])
    turn = np.deg2rad(motion * _SCALES["angle"] * angle)
    cos, sin = np.cos(turn) * magnify, np.sin(turn) * magnify
    mirror = -1.0 if mirrored else 1.0
    # frame pixel (x, y) -> photograph pixel, about the centres of both
    maps = np.empty((num_frames, 2, 3))
    maps[:, 0, 0], maps[:, 0, 1] = mirror * scale_x * cos, -scale_y * sin
    maps[:, 1, 0], maps[:, 1, 1] = mirror * scale_x * sin, scale_y * cos
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    place = np.stack([shift_x * source_w, shift_y * source_h], axis=1) * motion * _SCALES["shift"] * view
    if box is not None:
        place = place + box[:, :2] * (view * source_w, view * source_h)
    maps[:, :, 2] = np.array([(source_w - 1) / 2, (source_h - 1) / 2]) + place - maps[:, :, :2] @ centre

    level = np.linspace(0.0, 1.0, 256)
    table = level ** np.exp(light * _SCALES["gamma"] * gamma)[:, None]
    table = table * np.exp(light * _SCALES["gain"] * gain)[:, None] + (light * _SCALES["offset"] * offset)[:, None]
    tables = np.rint(np.clip(table, 0.0, 1.0) * 255).astype(np.uint8)

    clip = np.empty((num_frames, height, width, 3), np.uint8)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    for t in range(num_frames):
        weight = float(weights[t])
        photo = own if weight == 1.0 else other if weight == 0.0 else cv2.addWeighted(own, weight, other, 1 - weight, 0)
        frame = cv2.warpAffine(photo, maps[t], (width, height), flags=flags, borderMode=cv2.BORDER_REFLECT_101)
        clip[t] = cv2.LUT(frame, tables[t])
    return clip


def _check_photos(neutral: NDArray[np.uint8], smiling: NDArray[np.uint8]) -> None:
    for name, photo in (("neutral", neutral), ("smiling", smiling)):
        if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8 or 0 in photo.shape:
            raise ShapeError(
                f"{name}: expected an RGB photograph (height, width, 3) of uint8, got {photo.shape} of {photo.dtype}."
            )
    if neutral.shape != smiling.shape:
        raise ShapeError(
            f"smiling: expected the shape of neutral {neutral.shape}, got {smiling.shape}. Cut both to one size."
        )


def _check_numbers(expression: str, num_frames: int, size: tuple[int, int], view: float) -> None:
    if expression not in EXPRESSIONS:
        raise ConfigError(f"expression: expected one of {', '.join(EXPRESSIONS)}, got {expression!r}.")
    if num_frames < 1 or min(size) < 1:
        raise ConfigError(f"num_frames, size: expected at least 1 each, got {num_frames} and {size}.")
    if not 0 < view <= 1:
        raise ConfigError(f"view: expected a part of the photograph in (0, 1], got {view}.")
