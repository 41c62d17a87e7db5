"""Encoders: one family per file, each declares what it eats and shares timm's names."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evermodels.backbones.eeg.audio_mamba import AudioMamba, AudioMambaConfig
    from evermodels.backbones.video.videomae import VideoMAE, VideoMAEConfig

__all__ = ["AudioMamba", "AudioMambaConfig", "VideoMAE", "VideoMAEConfig"]

_HOME = {
    "AudioMamba": "evermodels.backbones.eeg.audio_mamba",
    "AudioMambaConfig": "evermodels.backbones.eeg.audio_mamba",
    "VideoMAE": "evermodels.backbones.video.videomae",
    "VideoMAEConfig": "evermodels.backbones.video.videomae",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
