"""The bundled checkpoints of Milmer, MERCL and the trimodal fusion answer as they did when they were bundled."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

import evermodels as em
from evermodels.checkpoints.table import BUNDLED
from tests.models.record_bundled import NAMES, RECORD, answers
from tests.models.record_ever import digest


@pytest.mark.parametrize("name", NAMES)
def test_a_bundled_checkpoint_answers_as_recorded(name):
    with safe_open(RECORD, framework="pt") as file:
        belongs = json.loads(file.metadata()["weights"])[name]
    assert belongs == digest(BUNDLED / name), "the bundled weights were replaced: run record_bundled.py"
    want = {key.partition("/")[2]: value for key, value in load_file(RECORD).items() if key.startswith(f"{name}/")}
    got = answers(name)
    assert torch.equal(got.pop("inputs"), want.pop("inputs")), "torch draws other inputs now: make the record anew"
    assert got.keys() == want.keys() and len(got) >= 4
    for key, value in want.items():
        torch.testing.assert_close(got[key], value, rtol=1e-4, atol=1e-5, msg=lambda m, key=key: f"{key}: {m}")
    assert not torch.allclose(got["all.logits"], got["mixed.logits"])  # what is left out is heard


@pytest.mark.parametrize("name", NAMES)
def test_its_card_tells_what_it_is(name):
    model = em.from_pretrained(name)
    assert model.classes == ("rest & neutral", "rest & smiling", "arithmetic & neutral", "arithmetic & smiling")
    assert [factor.name for factor in model.factors] == ["state", "expression"] and model.has_statistics
    card = (BUNDLED / name / "README.md").read_text(encoding="utf-8")
    assert "does not recognise emotion" in card and "pairing" in card
    assert model.provenance["recipe"] == f"{name.partition('.')[0]}_quadrant"
