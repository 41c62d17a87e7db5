"""What a result needs beside it to be believed: versions, the command, the machine's load."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from evermodels.training.recipe import Recipe

_PACKAGES = ("torch", "numpy", "scipy", "timm", "accelerate", "mne", "opencv-python-headless")


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


@functools.cache
def commit() -> str | None:
    """Return the commit that the package is of, with ``+`` where files differ from it; ``None`` where nothing tells.

    A checkout is asked, or what pip wrote down of a repository that it installed from.
    """
    package = Path(sys.modules["evermodels"].__file__ or "").parent
    if (package.parent / ".git").exists():
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            head, changed = (
                subprocess.run(
                    ["git", "-C", str(package), *words], capture_output=True, text=True, check=True, timeout=10
                ).stdout.strip()
                for words in (("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no", "."))
            )
            return head + ("+" if changed else "")
    with contextlib.suppress(importlib.metadata.PackageNotFoundError, ValueError):
        text = importlib.metadata.distribution("evermodels").read_text("direct_url.json")
        installed: dict[str, Any] = json.loads(text or "{}").get("vcs_info", {})
        return installed.get("commit_id")
    return None


def command(recipe: Recipe, row: str | None, seed: int) -> str:
    """Return the command line that repeats a run.

    Args:
        recipe: The recipe, with its source and overrides, or with words that begin with ``benchmark``: the run is one
            of a suite, and these are its command.
        row: The row, or ``None``.
        seed: The seed.

    Example:
        >>> from evermodels.training import load_recipe
        >>> command(load_recipe("ever_tiny_quadrant", ["optim.epochs=3"]), "eeg", 1)
        'evermodels finetune --recipe ever_tiny_quadrant --set optim.epochs=3 --row eeg --seed 1'
    """
    if recipe.words[:1] == ("benchmark",):
        return shlex.join(["evermodels", *recipe.words, "--seeds", str(seed)])
    return _line("finetune", recipe, *(["--row", row] if row else []), "--seed", str(seed))


def table_command(recipe: Recipe, seeds: Sequence[int], rows: Sequence[str]) -> str:
    """Return the command line that repeats a table.

    Args:
        recipe: The recipe, with its source and overrides.
        seeds: The seeds.
        rows: The rows in the table.

    Example:
        >>> from evermodels.training import load_recipe
        >>> table_command(load_recipe("ever_tiny_quadrant"), [0, 1], ["eeg"])
        'evermodels benchmark --recipe ever_tiny_quadrant --seeds 0,1 --rows eeg'
    """
    chosen = [] if len(rows) == len(recipe.rows) else ["--rows", ",".join(rows)]
    return _line("benchmark", recipe, "--seeds", ",".join(map(str, seeds)), *chosen)


def _line(command: str, recipe: Recipe, *words: str) -> str:
    changes = [word for change in recipe.changes for word in ("--set", change)]
    origin = recipe.words or ("--recipe", recipe.source or recipe.name)
    return shlex.join(["evermodels", command, *origin, *changes, *words])


def machine() -> dict[str, Any]:
    """Return processors, torch's threads and the load averages (1, 5, 15 minutes), as far as the system tells them."""
    load = [round(value, 2) for value in os.getloadavg()] if hasattr(os, "getloadavg") else None
    return {"cpus": os.cpu_count(), "threads": torch.get_num_threads(), "load": load, "arch": platform.machine()}
