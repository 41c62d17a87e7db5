"""How face video must look when it enters a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from evermodels.core.specs.modality import ModalitySpec, Reading


@dataclass(frozen=True)
class VideoSpec(ModalitySpec):
    """How face video must look when it enters a model.

    Args:
        num_frames: Frames per clip, taken uniformly over the window by time stamp.
        size: Height and width in pixels.
        mean: Mean of each colour (RGB, values in 0..1) that is subtracted.
        std: Standard deviation of each colour that is divided by.
        face_crop: Whether the face is cut out of each frame first.
        margin: Extra border around the face box, as a part of its side.

    Example:
        >>> VideoSpec(num_frames=16, size=(64, 64)).shape(5.0)
        (16, 3, 64, 64)
    """

    title: ClassVar[str] = "video"
    readings: ClassVar[Mapping[str, Reading]] = {
        "face_share": Reading("frames with a face", least=0.8, percent=True),
        "faces": Reading("faces"),
        "crop_size": Reading("face size (pixels)"),
    }

    num_frames: int
    size: tuple[int, int]
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    face_crop: bool = True
    margin: float = 0.1

    def check(self) -> None:
        """Refuse empty clips and pictures."""
        self.at_least(1, "num_frames")
        if min(self.size) < 1:
            raise self.refuse("size", "a positive height and width")
        if min(self.std) <= 0:
            raise self.refuse("std", "positive values")
        if not 0 <= self.margin <= 1:
            raise self.refuse("margin", "a number in 0..1")

    @property
    def kind(self) -> str:
        """``"video"``."""
        return "video"

    def shape(self, window_seconds: float | None) -> tuple[int, ...]:
        """Return ``(frames, 3, height, width)``, whatever the window's length.

        Args:
            window_seconds: Not looked at.
        """
        return (self.num_frames, 3, *self.size)

    def describe(self) -> tuple[str, ...]:
        """Return what a clip must be."""
        crop = "the face cut out" if self.face_crop else "whole pictures"
        return (f"{self.num_frames} frames of {self.size[0]} by {self.size[1]} pixels a window, {crop}",)
