"""EVER's numbers are those of the code before the base of systems; see ``record_ever.py``."""

from __future__ import annotations

import json

import torch
from safetensors import safe_open
from safetensors.torch import load_file

import evermodels as em
from evermodels.checkpoints.table import BUNDLED
from tests.checkpoints.format_1 import config_1, write_in_format_1, written_in_format_1
from tests.models.record_ever import RECORD, answers, digest, losses

FOLDER = BUNDLED / "ever_tiny.quadrant"


def test_the_bundled_weights_answer_as_before():
    with safe_open(RECORD, framework="pt") as file:
        belongs = file.metadata()["weights"]
    assert belongs == digest(FOLDER), "the bundled weights were replaced: make the record anew, see record_ever.py"
    want, got = load_file(RECORD), answers(FOLDER)
    assert torch.equal(got.pop("inputs"), want.pop("inputs")), "torch draws other inputs now: make the record anew"
    want.pop("losses")
    assert got.keys() == want.keys() and len(got) == 38
    for name in want:
        torch.testing.assert_close(got[name], want[name], rtol=1e-6, atol=1e-6, msg=lambda m, name=name: f"{name}: {m}")


def test_a_training_from_one_seed_goes_as_before():
    torch.testing.assert_close(losses(), load_file(RECORD)["losses"], rtol=1e-6, atol=1e-6)


def test_the_bundled_weights_are_the_same_in_format_1(tmp_path):
    model = em.from_pretrained("ever_tiny.quadrant")
    old = em.from_pretrained(write_in_format_1(model, tmp_path / "old"))
    eeg, video = (torch.randn(2, *model.input_spec.shape(m)) for m in ("eeg", "video"))
    assert old.config == model.config
    assert torch.equal(old(eeg=eeg, video=video).logits, model(eeg=eeg, video=video).logits)


def test_a_checkpoint_of_format_1_loads_bit_for_bit(tmp_path):
    model, folder = written_in_format_1(tmp_path / "old")
    content = json.loads((folder / "config.json").read_text())
    assert content["format_version"] == 1 and "eeg_encoder" in content["config"]
    loaded = em.from_pretrained(folder)
    assert loaded.config == model.config and loaded.has_statistics
    assert config_1(loaded.config) == (content["config"], content["input_spec"])  # nothing of it was lost
    assert loaded.classes == tuple(content["classes"]) and loaded.provenance == content["training"]
    eeg, video = (torch.randn(2, *model.input_spec.shape(m)) for m in ("eeg", "video"))
    assert torch.equal(loaded(eeg=eeg, video=video).logits, model(eeg=eeg, video=video).logits)
    again = em.from_pretrained(loaded.save_pretrained(tmp_path / "new", classes=loaded.classes))
    assert json.loads((tmp_path / "new" / "config.json").read_text())["format_version"] == 2
    assert again.config == model.config
    assert torch.equal(again(eeg=eeg, video=video).logits, model(eeg=eeg, video=video).logits)
