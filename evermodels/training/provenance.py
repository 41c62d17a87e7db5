"""What a result needs beside it to be believed: versions, the command, the machine's load."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shlex
import sys
from collections.abc import Sequence
from typing import Any

import torch

_PACKAGES = ("torch", "numpy", "scipy", "timm", "accelerate", "torchmetrics", "mne", "opencv-python-headless")


def versions() -> dict[str, str]:
    """Return the versions of Python, evermodels and the packages that a result depends on.

    Example:
        >>> "torch" in versions()
        True
    """
    found = {"python": platform.python_version(), "evermodels": sys.modules["evermodels"].__version__}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def command(recipe: str, row: str | None, seed: int, changes: Sequence[str] = ()) -> str:
    """Return the command line that repeats a run.

    Args:
        recipe: The recipe's name.
        row: The row, or ``None``.
        seed: The seed.
        changes: The overrides.

    Example:
        >>> command("ever_tiny_quadrant", "eeg", 1)
        'evermodels finetune --recipe ever_tiny_quadrant --row eeg --seed 1'
    """
    words = ["evermodels", "finetune", "--recipe", recipe, *(["--row", row] if row else []), "--seed", str(seed)]
    words += [word for change in changes for word in ("--set", change)]
    return shlex.join(words)


def machine() -> dict[str, Any]:
    """Return processors, torch's threads and the load averages (1, 5, 15 minutes), as far as the system tells them."""
    load = [round(value, 2) for value in os.getloadavg()] if hasattr(os, "getloadavg") else None
    return {"cpus": os.cpu_count(), "threads": torch.get_num_threads(), "load": load, "arch": platform.machine()}
