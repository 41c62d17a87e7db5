"""Keywords that several functions take and hand on: the names stand here, their meaning where they are used."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

import torch

from evermodels.core.factors import Factor

if TYPE_CHECKING:
    from evermodels.checkpoints.card import CardInfo

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


class LoadOptions(TypedDict, total=False):
    """Keywords of :func:`evermodels.from_pretrained`."""

    revision: str | None
    num_classes: int | None
    ch_names: Sequence[str] | None
    cache_dir: str | os.PathLike[str] | None
    token: str | bool | None
    local_files_only: bool
    device: str | torch.device | None
    dtype: torch.dtype | None


class SaveOptions(TypedDict, total=False):
    """Keywords of ``PretrainedModel.save_pretrained``."""

    classes: Sequence[str] | None
    factors: Sequence[Factor | Mapping[str, Any]] | None
    training: Mapping[str, Any] | None
    card: CardInfo | Mapping[str, Any] | str | None


def keywords_of(function: Callable[..., Any]) -> Callable[[FunctionT], FunctionT]:
    """Return a decorator after which ``help`` shows the keywords of a function in place of ``**options``.

    Args:
        function: The function that takes the keywords.

    Example:
        >>> def load(name, *, revision=None): ...
        >>> inspect.signature(keywords_of(load)(lambda self, folder, **options: None))
        <Signature (self, folder, *, revision=None)>
    """
    keywords = [p for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY]

    def decorate(method: FunctionT) -> FunctionT:
        signature = inspect.signature(method)
        own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        vars(method)["__signature__"] = signature.replace(parameters=[*own, *keywords])
        return method

    return decorate
