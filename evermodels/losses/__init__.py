"""Losses over the functional room."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evermodels.core.lazy import lazy_names

if TYPE_CHECKING:
    from evermodels.losses.alignment import CoralLoss, CorrelationAlignmentLoss, MMDLoss
    from evermodels.losses.classification import ClassBalancedCrossEntropy, FocalLoss
    from evermodels.losses.emotion import EmotionLoss, EmotionLossOutput


__all__ = [
    "ClassBalancedCrossEntropy",
    "CoralLoss",
    "CorrelationAlignmentLoss",
    "EmotionLoss",
    "EmotionLossOutput",
    "FocalLoss",
    "MMDLoss",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "alignment": ("CoralLoss", "CorrelationAlignmentLoss", "MMDLoss"),
        "classification": ("ClassBalancedCrossEntropy", "FocalLoss"),
        "emotion": ("EmotionLoss", "EmotionLossOutput"),
    },
)
