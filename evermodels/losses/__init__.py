"""Losses over the functional room."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evermodels.losses.alignment import CoralLoss, CorrelationAlignmentLoss, MMDLoss
    from evermodels.losses.classification import ClassBalancedCrossEntropy, FocalLoss
    from evermodels.losses.emotion import EmotionLoss, EmotionLossOutput

_HOMES = {
    "ClassBalancedCrossEntropy": "evermodels.losses.classification",
    "CoralLoss": "evermodels.losses.alignment",
    "CorrelationAlignmentLoss": "evermodels.losses.alignment",
    "EmotionLoss": "evermodels.losses.emotion",
    "EmotionLossOutput": "evermodels.losses.emotion",
    "FocalLoss": "evermodels.losses.classification",
    "MMDLoss": "evermodels.losses.alignment",
}

__all__ = [
    "ClassBalancedCrossEntropy",
    "CoralLoss",
    "CorrelationAlignmentLoss",
    "EmotionLoss",
    "EmotionLossOutput",
    "FocalLoss",
    "MMDLoss",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
