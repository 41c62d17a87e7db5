"""A slice of the fuzzer's damages, the same in every run; the fuzzer itself is ``tests/fuzz/fuzz_edf.py``."""

from __future__ import annotations

import collections
from pathlib import Path

import numpy as np
import pytest

from tests.fuzz import edf_cases

pytest.importorskip("mne")


def test_damaged_edf_files_are_read_or_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)

    def draw(below: int) -> int:
        return int(rng.integers(below))

    outcomes: collections.Counter[str] = collections.Counter()
    for k in range(120):
        content = bytes(edf_cases.damage(edf_cases.valid(draw), draw))
        outcomes[edf_cases.read(content, tmp_path / ("a.bdf" if k % 8 == 7 else "a.edf"))] += 1
    assert set(outcomes) <= {"read", "SignalError", "UnknownNameError"}
    assert min(outcomes["read"], outcomes["SignalError"]) > 15


def test_the_undamaged_file_is_read(tmp_path: Path) -> None:
    assert edf_cases.read(bytes(edf_cases.valid(lambda below: 0)), tmp_path / "a.edf") == "read"
