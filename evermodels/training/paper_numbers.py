"""The numbers that EVER prints for its benchmark, to stand beside ours."""

from __future__ import annotations

import functools
import importlib.resources
import sys
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@functools.cache
def paper_numbers() -> dict[str, Any]:
    """Return EVER's Tables 1 and 2: ``numbers`` by data set and family of models, ``parameters`` in millions.

    Example:
        >>> paper_numbers()["numbers"]["eav"]["ever"], paper_numbers()["parameters"]["ever"]
        ([0.468, 0.468, 0.489], 91.922)
    """
    text = (importlib.resources.files("evermodels.training") / "paper_numbers.toml").read_text("utf-8")
    return tomllib.loads(text)
