"""Encoders: one family per file, each declares what it eats and shares timm's names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evermodels.core.lazy import lazy_names

if TYPE_CHECKING:
    from evermodels.backbones.base import Backbone
    from evermodels.backbones.eeg.audio_mamba import AudioMamba, AudioMambaConfig
    from evermodels.backbones.video.videomae import VideoMAE, VideoMAEConfig

__all__ = ["AudioMamba", "AudioMambaConfig", "Backbone", "VideoMAE", "VideoMAEConfig"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "base": ("Backbone",),
        "eeg.audio_mamba": ("AudioMamba", "AudioMambaConfig"),
        "video.videomae": ("VideoMAE", "VideoMAEConfig"),
    },
)
