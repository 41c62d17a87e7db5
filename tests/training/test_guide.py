"""The training guide's Python runs, block after block, and its loop over folds finds what was put into the arrays."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import torch

from evermodels.training import interval, verdict

GUIDE = (Path(__file__).parents[2] / "docs/guide/training.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", GUIDE, re.DOTALL | re.MULTILINE)


def test_the_blocks_run_and_the_folds_find_what_is_there(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    scope: dict[str, object] = {"__name__": "guide"}
    for number, code in enumerate(BLOCKS):
        exec(compile(code, f"training.md, block {number + 1}", "exec"), scope)
    assert len(scope["ever"]) == 2 and len(scope["simple"]) == 1
    for run in (*scope["ever"], *scope["simple"]):
        assert sorted(set(run.groups["person"])) == sorted(set(scope["person"])) and len(run.label) == 108
    assert interval(scope["ever"]).low > 0.6 and interval(scope["simple"]).low > 0.6
    assert capsys.readouterr().out.splitlines()[-1].endswith(verdict(scope["gap"], 0.05))
    assert np.array_equal(scope["ever"][0].label, scope["simple"][0].label)
