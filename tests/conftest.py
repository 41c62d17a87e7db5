"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

GOLDEN = Path(__file__).parent / "golden"


def _missing(what: str, way_out: str) -> None:
    message = f"{what} is missing; {way_out}"
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real recordings; with CI=true its absence is a failure, elsewhere a skip that says why."""
    folder = Path(os.environ.get("EVERMODELS_DATA", "../shared/data"))
    if not folder.is_dir():
        _missing(f"the folder of real recordings ({folder})", "set EVERMODELS_DATA to it")
    return folder.resolve()


@pytest.fixture
def golden():
    """A function that loads one file of reference numbers, with the tensors grouped by their first name part."""

    def load(name: str) -> dict[str, dict[str, torch.Tensor]]:
        from safetensors.torch import load_file

        path = GOLDEN / f"{name}.safetensors"
        if not path.is_file():
            _missing(f"the reference numbers {path.name}", "restore tests/golden from the repository")
        groups: dict[str, dict[str, torch.Tensor]] = {}
        for key, tensor in load_file(path).items():
            group, _, rest = key.partition("/")
            groups.setdefault(group, {})[rest] = tensor
        return groups

    return load


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)
