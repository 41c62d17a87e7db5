"""Eye movement and pupil: recordings from tables, blinks, fixations and saccades, features, windows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evermodels.core.lazy import lazy_names

if TYPE_CHECKING:
    from evermodels.signals.eye.columns import COLUMNS
    from evermodels.signals.eye.events import Events, find_blinks, find_movements
    from evermodels.signals.eye.features import FEATURES, SEED_FEATURES, Feature, Stretch
    from evermodels.signals.eye.reader import Reader
    from evermodels.signals.eye.recording import Eye, read_eye

__all__ = [
    "COLUMNS",
    "FEATURES",
    "SEED_FEATURES",
    "Events",
    "Eye",
    "Feature",
    "Reader",
    "Stretch",
    "find_blinks",
    "find_movements",
    "read_eye",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "columns": ("COLUMNS",),
        "events": ("Events", "find_blinks", "find_movements"),
        "features": ("FEATURES", "SEED_FEATURES", "Feature", "Stretch"),
        "reader": ("Reader",),
        "recording": ("Eye", "read_eye"),
    },
)
