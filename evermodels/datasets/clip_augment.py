"""Small random changes of one clip, for training; each a callable on ``(frames, height, width, 3)`` and a generator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evermodels.core.errors import ConfigError

Clip = NDArray[np.uint8]
ClipTransform = Callable[[Clip, np.random.Generator], Clip]


def _part(owner: object, **values: float) -> None:
    for key, value in values.items():
        if not 0 <= value <= 1:
            raise ConfigError(f"{type(owner).__name__}.{key}: expected a number in 0..1, got {value}.")


@dataclass(frozen=True)
class Greyscale:
    """Take the colour out of some clips, so that a model does not live on skin or light colour.

    Args:
        probability: How many of the clips turn grey.

    Raises:
        ConfigError: If it is not a probability.
    """

    probability: float = 0.3

    def __post_init__(self) -> None:
        _part(self, probability=self.probability)

    def __call__(self, clip: Clip, rng: np.random.Generator) -> Clip:
        """Return the changed clip, ``(frames, height, width, 3)`` uint8."""
        if rng.random() >= self.probability:
            return clip
        grey = np.rint(clip @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)  # luma of ITU-R BT.601
        return np.repeat(grey[..., None], 3, axis=-1)


@dataclass(frozen=True)
class Cutout:
    """Cover one rectangle of some clips by their mean colour, in all frames alike (DeVries & Taylor, 2017).

    Args:
        probability: How many of the clips are covered.
        size: Longest side of the rectangle, as a part of the frame's side.

    Raises:
        ConfigError: If a value is outside 0..1.
    """

    probability: float = 0.5
    size: float = 0.4

    def __post_init__(self) -> None:
        _part(self, probability=self.probability, size=self.size)

    def __call__(self, clip: Clip, rng: np.random.Generator) -> Clip:
        """Return the changed clip, ``(frames, height, width, 3)`` uint8."""
        if rng.random() >= self.probability:
            return clip
        height, width = clip.shape[1:3]
        rows, columns = (max(1, round(side * self.size * rng.uniform(0.5, 1))) for side in (height, width))
        top, left = (int(rng.integers(side - part + 1)) for side, part in ((height, rows), (width, columns)))
        changed = clip.copy()
        changed[:, top : top + rows, left : left + columns] = np.rint(clip.mean((0, 1, 2))).astype(np.uint8)
        return changed


@dataclass(frozen=True)
class ComposeClips:
    """Apply transforms of clips one after the other.

    Args:
        transforms: Callables on ``(clip, rng)``.

    Example:
        >>> change = ComposeClips([Greyscale(1.0), Cutout(1.0, 0.5)])
        >>> change(np.zeros((4, 8, 8, 3), np.uint8), np.random.default_rng(0)).shape
        (4, 8, 8, 3)
    """

    transforms: Sequence[ClipTransform]

    def __call__(self, clip: Clip, rng: np.random.Generator) -> Clip:
        """Return the changed clip, ``(frames, height, width, 3)`` uint8."""
        for transform in self.transforms:
            clip = transform(clip, rng)
        return clip
