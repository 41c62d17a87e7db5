"""Packages whose names are imported when they are first used (PEP 562)."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any


def lazy_names(
    package: str, homes: Mapping[str, Iterable[str]], submodules: Iterable[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the ``__getattr__`` and ``__dir__`` of a package that imports its modules on first use.

    The package still lists its names in ``__all__``, which ``dir`` shows, and imports them under ``TYPE_CHECKING``.

    Args:
        package: The package's ``__name__``.
        homes: Names by the module of the package that holds them.
        submodules: Modules of the package that are names themselves.

    Returns:
        ``__getattr__`` and ``__dir__``.

    Example:
        >>> __getattr__, __dir__ = lazy_names("evermodels.core", {"errors": ["did_you_mean"]}, ["specs"])
        >>> __getattr__("did_you_mean")("alfa", ["alpha"])
        " Did you mean 'alpha'?"
        >>> __getattr__("specs").__name__
        'evermodels.core.specs'
        >>> __getattr__("beta")
        Traceback (most recent call last):
            ...
        AttributeError: module 'evermodels.core' has no attribute 'beta'
    """
    home_of = {name: module for module, names in homes.items() for name in names}
    modules = frozenset(submodules)

    def get(name: str) -> Any:
        if name in modules:
            return importlib.import_module(f"{package}.{name}")
        if name in home_of:
            return getattr(importlib.import_module(f"{package}.{home_of[name]}"), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def listed() -> list[str]:
        return sorted(sys.modules[package].__all__)

    return get, listed
