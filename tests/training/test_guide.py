"""The guides' Python runs, block after block; the loop over folds finds what was put in; the manifest shown is read."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import torch

from evermodels.datasets import read_manifest
from evermodels.training import interval, verdict

GUIDES = Path(__file__).parents[2] / "docs/guide"


def blocks(page, language):
    text = (GUIDES / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def executed(page):
    torch.manual_seed(0)
    scope: dict[str, object] = {"__name__": "guide"}
    for number, code in enumerate(blocks(page, "python")):
        exec(compile(code, f"{page}, block {number + 1}", "exec"), scope)
    return scope


def test_the_training_guide_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert executed("training.md")["again"].classes == ("calm", "tense", "glad")


def test_the_folds_over_own_data_find_what_is_there(capsys):
    scope = executed("own-data.md")
    assert len(scope["ever"]) == 2 and len(scope["simple"]) == 1
    for run in (*scope["ever"], *scope["simple"]):
        assert sorted(set(run.groups["person"])) == [f"p{i:02d}" for i in range(10)] and len(run.label) == 110
    assert interval(scope["ever"]).low > 0.6 and interval(scope["simple"]).low > 0.6
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "Recordings(110 windows of 10 people, calm 37, tense 73)"
    assert out[-1].endswith(verdict(scope["gap"], 0.05))
    assert np.array_equal(scope["ever"][0].label, scope["simple"][0].label)


def test_the_manifest_shown_is_read(tmp_path):
    (text,) = blocks("own-data.md", "toml")
    for name in re.findall(r'"([\w]+\.(?:fif|edf|mp4))"', text):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "ben_1.csv").write_text("start,stop,label\n0,30,calm\n30,60,tense\n")
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    manifest = read_manifest(tmp_path / "mine.toml")
    assert manifest.people == ["anna", "ben"] and manifest.labels == ("calm", "tense")
    assert manifest.sessions[0].baseline.path.name == "anna_rest_raw.fif" and manifest.sessions[3].baseline == (0, 60)
    assert manifest.sessions[2].recordings["video"].form == {"start": 1.2} and len(manifest.sessions[2].segments) == 2
