"""Training in stages: a row starts from all weights of an earlier one, parts are frozen, the loss chooses the epoch."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import evermodels as em
from evermodels.core.errors import CheckpointError, ConfigError
from evermodels.core.warning import LicenceWarning
from evermodels.datasets import DataSettings
from evermodels.training import finetune
from evermodels.training.build import build_model
from evermodels.training.optim import hold
from evermodels.training.recipe import Recipe
from evermodels.training.settings import OptimSettings


def staged(fake, **second):
    plain = fake.make_recipe(epochs=2).to_dict()
    alone = {"model": {"config": {"fusion": "naive"}}}
    first = {**alone, "selection": {"metric": "loss"}}
    rows = [
        {"name": "first", "overrides": first},
        {"name": "second", "overrides": {**alone, **second}, "init_from": {"model": "first"}},
    ]
    return Recipe.from_dict({**plain, "full": "second", "rows": rows})


def test_the_second_stage_keeps_what_is_frozen(fake, tmp_path, monkeypatch):
    monkeypatch.setattr(DataSettings, "parts", lambda *a, seed, **k: fake.make_parts(seed, train=16))
    frozen = {"optim": {"epochs": 1, "lr": {"eeg_encoder": 0.0, "video_encoder": 0.0}}}
    finetune(staged(fake, **frozen), tmp_path, progress=False)
    first, second = (load_file(tmp_path / row / "seed-0/model/model.safetensors") for row in ("first", "second"))
    encoders = [key for key in first if "_encoder." in key]
    assert encoders and all(torch.equal(first[key], second[key]) for key in encoders)
    assert not torch.equal(first["head.weight"], second["head.weight"])
    lines = [json.loads(line) for line in (tmp_path / "first/seed-0/metrics.jsonl").read_text().splitlines()]
    losses = [line["validation"]["loss"] for line in lines]
    result = json.loads((tmp_path / "first/seed-0/result.json").read_text())
    assert result["selection"]["value"] == -min(losses)
    assert result["selection"]["epoch"] == 1 + losses.index(min(losses))
    assert "fresh" not in json.loads((tmp_path / "second/seed-0/result.json").read_text())


def test_a_row_that_is_built_differently_says_what_is_fresh(tmp_path):
    small = {"modalities": ("eeg", "video")}
    first = em.create_model("ever_tiny", **small)
    folder = first.save_pretrained(tmp_path / "first")
    torch.manual_seed(5)
    other = em.create_model("ever_tiny", num_classes=3)
    before = {key: value.clone() for key, value in other.state_dict().items()}
    fresh = other.load_weights(folder)
    assert fresh == ("fusion",)
    for key, value in other.state_dict().items():
        want = before if key.startswith("fusion.") else first.state_dict()
        assert torch.equal(value, want[key]), key
    assert em.create_model("ever_tiny").load_weights(folder) == ()
    with pytest.raises(CheckpointError, match="expected SingleVideo, got EVER"):
        em.create_model("single_video").load_weights(folder)
    with pytest.raises(CheckpointError, match="other inputs or encoders"):
        em.create_model("ever_tiny", sfreq=125.0).load_weights(folder)
    with pytest.raises(CheckpointError, match=r"no such folder\. Train the row"):
        first.load_weights(tmp_path / "none")


def test_what_is_frozen_is_in_eval_mode():
    model = nn.ModuleDict(
        {
            "eeg_encoder": nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5)),
            "temporal": nn.ModuleDict({"eeg": nn.BatchNorm1d(2), "video": nn.BatchNorm1d(2)}),
            "head": nn.Linear(2, 2),
        }
    )
    settings = OptimSettings(lr={"eeg_encoder": 0.0, "temporal": 0.0, "temporal.video": 1e-3})
    held = hold(model, settings)
    assert held == [model["eeg_encoder"]]  # a part of temporal is trained, and the rest of it by its rate alone
    assert not model["eeg_encoder"][0].weight.requires_grad and model["head"].weight.requires_grad
    with pytest.raises(ConfigError, match=r"optim.lr.eeg_encoder: expected a rate above 0"):
        hold(model, settings, ("eeg_encoder",))


def test_all_weights_or_encoders():
    with pytest.raises(ConfigError, match=r"'model' brings all encoders\. Leave the others out"):
        Recipe.from_dict({"name": "x", "rows": [{"name": "a"}, {"name": "b", "init_from": {"model": "a", "eeg": "a"}}]})


def test_a_licence_that_forbids_commerce_stays_with_what_is_trained(fake, tmp_path, monkeypatch):
    """From the encoder's checkpoint to the first row's, and from there to the second's."""
    monkeypatch.setattr(DataSettings, "parts", lambda *a, seed, **k: fake.make_parts(seed, train=16))
    recipe = staged(fake, optim={"epochs": 1})
    source = build_model(recipe.for_row("first"))
    source.save_pretrained(tmp_path / "source", training={"licence": "cc-by-nc-4.0"})
    plain = recipe.to_dict()
    plain["model"]["encoders_from"] = {"eeg": str(tmp_path / "source")}
    plain["rows"][1]["overrides"]["model"]["encoders_from"] = {}
    with pytest.warns(LicenceWarning):
        finetune(Recipe.from_dict(plain), tmp_path / "runs", progress=False)
    for row in ("first", "second"):
        card = (tmp_path / "runs" / row / "seed-0/model/README.md").read_text("utf-8")
        assert "license: cc-by-nc-4.0\n" in card and "trained from weights under cc-by-nc-4.0" in card, row
