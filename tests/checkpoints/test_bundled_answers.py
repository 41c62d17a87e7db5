"""Bundled checkpoints of one and two modalities answer as they did when bundled, and their cards are frank."""

from __future__ import annotations

import json

import pytest
import torch

from evermodels.checkpoints.card import NOT_THIS
from evermodels.checkpoints.table import bundled_folder, lookup
from tests.checkpoints.record_answers import NAMES, RECORD, answers, is_here, load, weights

HERE = [name for name in NAMES if is_here(name)]


@pytest.mark.parametrize("name", HERE)
def test_a_bundled_checkpoint_answers_as_recorded(name):
    want = json.loads(RECORD.read_text(encoding="utf-8"))[name]
    assert want["weights"] == weights(name), "the bundled weights were replaced: run record_answers.py"
    got = answers(name)
    assert got.keys() == want["answers"].keys()
    for key, values in want["answers"].items():
        torch.testing.assert_close(torch.tensor(got[key]), torch.tensor(values), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", HERE)
def test_its_card_says_what_it_is_not(name):
    entry, model = lookup(name), load(name)
    card = (bundled_folder(name, entry) / "README.md").read_text(encoding="utf-8")
    _, _, after = card.partition(f"## {NOT_THIS}")
    assert "emotion" in after
    for sentence in model.provenance["not_this"]:
        assert sentence[:40] in after
    assert model.provenance["command"].startswith("evermodels ")
