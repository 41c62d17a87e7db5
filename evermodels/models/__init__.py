"""The systems: whole recognisers, from a recording's tensors to class scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evermodels.models.ever import EVER, EVERConfig

__all__ = ["EVER", "EVERConfig"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from evermodels.models import ever

    return getattr(ever, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
