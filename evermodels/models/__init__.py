"""The systems: whole recognisers, from a recording's tensors to class scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evermodels.core.lazy import lazy_names

if TYPE_CHECKING:
    from evermodels.models.ever import EVER
    from evermodels.models.ever_config import EVERConfig, EVERLossConfig
    from evermodels.models.system import EncoderConfig, System, SystemConfig

__all__ = ["EVER", "EVERConfig", "EVERLossConfig", "EncoderConfig", "System", "SystemConfig"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "ever": ("EVER",),
        "ever_config": ("EVERConfig", "EVERLossConfig"),
        "system": ("EncoderConfig", "System", "SystemConfig"),
    },
)
