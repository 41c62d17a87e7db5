"""Layers over the functional room, one idea a file; each can be used inside another network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evermodels.core.lazy import lazy_names

if TYPE_CHECKING:
    from evermodels.layers.bih_gcn import BIHGCN, BIHGCNOutput
    from evermodels.layers.differential_entropy import DifferentialEntropy
    from evermodels.layers.mamba import MambaBlock
    from evermodels.layers.montage_adapter import MontageAdapter
    from evermodels.layers.spectrogram_front_end import SpectrogramFrontEnd
    from evermodels.layers.spectrogram_norm import SpectrogramNorm
    from evermodels.layers.squared_change import SquaredChange
    from evermodels.layers.stft_spectrogram import STFTSpectrogram


__all__ = [
    "BIHGCN",
    "BIHGCNOutput",
    "DifferentialEntropy",
    "MambaBlock",
    "MontageAdapter",
    "STFTSpectrogram",
    "SpectrogramFrontEnd",
    "SpectrogramNorm",
    "SquaredChange",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "bih_gcn": ("BIHGCN", "BIHGCNOutput"),
        "differential_entropy": ("DifferentialEntropy",),
        "mamba": ("MambaBlock",),
        "montage_adapter": ("MontageAdapter",),
        "spectrogram_front_end": ("SpectrogramFrontEnd",),
        "spectrogram_norm": ("SpectrogramNorm",),
        "squared_change": ("SquaredChange",),
        "stft_spectrogram": ("STFTSpectrogram",),
    },
)
