"""The systems: whole recognisers, from a recording's tensors to class scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evermodels.core.lazy import lazy_names

if TYPE_CHECKING:
    from evermodels.models.ever import EVER, EVERConfig

__all__ = ["EVER", "EVERConfig"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "ever": ("EVER", "EVERConfig"),
    },
)
