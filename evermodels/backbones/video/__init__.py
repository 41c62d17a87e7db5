"""Encoders of face video."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evermodels.backbones.video.videomae import VideoMAE, VideoMAEConfig

__all__ = ["VideoMAE", "VideoMAEConfig"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from evermodels.backbones.video import videomae

    return getattr(videomae, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
