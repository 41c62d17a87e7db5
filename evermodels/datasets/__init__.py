"""Readers of public data sets, splits by person, the quadrant pairs, and small changes for training."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evermodels.datasets import augment, download
    from evermodels.datasets.clips import crossfade_weights, face_clip
    from evermodels.datasets.download import data_folder, fetch
    from evermodels.datasets.eegmat import EEGMAT
    from evermodels.datasets.faces import LondonFaces
    from evermodels.datasets.quadrant import CLASSES, Pair, QuadrantPairs
    from evermodels.datasets.splits import (
        PairSplit,
        SubjectSplit,
        leave_one_out,
        protocol4_split,
        random_split,
        subject_folds,
    )

_HOMES = {
    "CLASSES": "quadrant",
    "EEGMAT": "eegmat",
    "LondonFaces": "faces",
    "Pair": "quadrant",
    "PairSplit": "splits",
    "QuadrantPairs": "quadrant",
    "SubjectSplit": "splits",
    "augment": "augment",
    "crossfade_weights": "clips",
    "data_folder": "download",
    "download": "download",
    "face_clip": "clips",
    "fetch": "download",
    "leave_one_out": "splits",
    "protocol4_split": "splits",
    "random_split": "splits",
    "subject_folds": "splits",
}

__all__ = [
    "CLASSES",
    "EEGMAT",
    "LondonFaces",
    "Pair",
    "PairSplit",
    "QuadrantPairs",
    "SubjectSplit",
    "augment",
    "crossfade_weights",
    "data_folder",
    "download",
    "face_clip",
    "fetch",
    "leave_one_out",
    "protocol4_split",
    "random_split",
    "subject_folds",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        module = importlib.import_module(f"evermodels.datasets.{_HOMES[name]}")
        return module if name == _HOMES[name] else getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
