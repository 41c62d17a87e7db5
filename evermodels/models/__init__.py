"""The systems: whole recognisers, from a recording's tensors to class scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evermodels.core.lazy import lazy_names

if TYPE_CHECKING:
    from evermodels.models.ever import EVER, EVERConfig, EVERLossConfig
    from evermodels.models.system import System
    from evermodels.models.system_config import EncoderConfig, SystemConfig

__all__ = ["EVER", "EVERConfig", "EVERLossConfig", "EncoderConfig", "System", "SystemConfig"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "ever": ("EVER", "EVERConfig", "EVERLossConfig"),
        "system": ("System",),
        "system_config": ("EncoderConfig", "SystemConfig"),
    },
)
