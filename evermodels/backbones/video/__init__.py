"""Encoders of face video."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evermodels.core.lazy import lazy_names

if TYPE_CHECKING:
    from evermodels.backbones.video.videomae import VideoMAE, VideoMAEConfig

__all__ = ["VideoMAE", "VideoMAEConfig"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "videomae": ("VideoMAE", "VideoMAEConfig"),
    },
)
