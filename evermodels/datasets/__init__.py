"""Readers of public data sets, splits by person, the quadrant pairs, and small changes for training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evermodels.core.lazy import lazy_names

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

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "clips": ("crossfade_weights", "face_clip"),
        "download": ("data_folder", "fetch"),
        "eegmat": ("EEGMAT",),
        "faces": ("LondonFaces",),
        "quadrant": ("CLASSES", "Pair", "QuadrantPairs"),
        "splits": ("PairSplit", "SubjectSplit", "leave_one_out", "protocol4_split", "random_split", "subject_folds"),
    },
    ("augment", "download"),
)
