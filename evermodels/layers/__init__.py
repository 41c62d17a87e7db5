"""Layers over the functional room, one idea a file; each can be used inside another network."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evermodels.layers.bih_gcn import BIHGCN, BIHGCNOutput
    from evermodels.layers.mamba import MambaBlock
    from evermodels.layers.montage_adapter import MontageAdapter
    from evermodels.layers.spectrogram_norm import SpectrogramNorm
    from evermodels.layers.stft_spectrogram import STFTSpectrogram

_HOMES = {
    "BIHGCN": "evermodels.layers.bih_gcn",
    "BIHGCNOutput": "evermodels.layers.bih_gcn",
    "MambaBlock": "evermodels.layers.mamba",
    "MontageAdapter": "evermodels.layers.montage_adapter",
    "SpectrogramNorm": "evermodels.layers.spectrogram_norm",
    "STFTSpectrogram": "evermodels.layers.stft_spectrogram",
}

__all__ = ["BIHGCN", "BIHGCNOutput", "MambaBlock", "MontageAdapter", "STFTSpectrogram", "SpectrogramNorm"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
