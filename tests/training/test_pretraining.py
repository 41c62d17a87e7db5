"""Pre-training: what it saves, that a killed run ends with the same bits, that it learns, and what it refuses."""

from __future__ import annotations

import json

import pytest
import torch

import evermodels as em
from evermodels.backbones import MBSMEncoder
from evermodels.cli import main
from evermodels.core.errors import CheckpointError, ConfigError, UnknownNameError
from evermodels.datasets import UnlabelledWindows
from evermodels.training import PretrainingRecipe, build_model, load_pretraining, load_recipe, pretrain, pretraining
from evermodels.training.recipe import list_recipes
from evermodels.training.state import TrainingError

pytest.importorskip("accelerate")

SMALL = {"embed_dim": 16, "num_heads": 2, "depth": 1, "patch_size": 25, "num_samples": 200, "spectrum_bins": 0}


def windows():
    time = torch.arange(200) / 200
    wave = torch.sin(2 * torch.pi * 10 * time).expand(24, 1, -1)
    return {
        "muse": UnlabelledWindows(wave.expand(-1, 4, -1).clone(), em.montage.preset("muse"), ["a"] * 24),
        "one": UnlabelledWindows(30 * wave[:8], ("Cz",), ["b"] * 8, {"gap": 3}),
    }


def recipe(**changes):
    plain = {
        "name": "small",
        "steps_per_epoch": 4,
        "model": {"architecture": "mbsm_tiny", "config": SMALL},
        "pretraining": {"decoder_embed_dim": 8, "decoder_depth": 1, "decoder_num_heads": 2, "mask_ratio": 0.5},
        "optim": {"epochs": 3, "batch_size": 8, "lr": {"rest": 1e-2}},
        "data": {"held_out": 0.25},
    }
    return PretrainingRecipe.from_dict({**plain, **changes})


def test_the_result_is_an_encoder_that_others_start_from(tmp_path):
    result = pretrain(recipe(), tmp_path / "run", sets=windows(), progress=False)
    assert result["windows"] == {"muse": 18, "one": 6} and result["left_out"] == {"muse": {}, "one": {"gap": 3}}
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert set(lines[0]["held_out"]) == {"muse", "one"} and lines[0]["loss"]["spectrum"] == 0
    encoder = em.from_pretrained(tmp_path / "run/model")
    assert isinstance(encoder, MBSMEncoder) and encoder.provenance["recipe"] == "small"
    plain = {
        "name": "fine",
        "model": {
            "architecture": "single_eeg",
            "encoders_from": {"eeg": str(tmp_path / "run/model")},
            "config": {"encoders": {"eeg": {"config": {k: SMALL[k] for k in SMALL if k != "num_samples"}}}},
        },
    }
    plain["model"]["config"]["window_seconds"] = 1.0
    system = build_model(em.training.Recipe.from_dict(plain))
    assert all(torch.equal(v, encoder.state_dict()[k]) for k, v in system.eeg_encoder.state_dict().items())
    plain["model"]["encoders_from"] = {"eeg": str(tmp_path / "nowhere")}
    with pytest.raises(CheckpointError, match="nowhere"):
        build_model(em.training.Recipe.from_dict(plain))


def test_it_learns_and_a_killed_run_ends_with_the_same_bits(tmp_path, monkeypatch):
    longer = recipe(optim={"epochs": 5, "batch_size": 8, "lr": {"rest": 1e-2}}, steps_per_epoch=12)
    whole = pretrain(longer, tmp_path / "whole", sets=windows(), progress=False)
    lines = (tmp_path / "whole/metrics.jsonl").read_text().splitlines()
    first, last = (json.loads(line)["held_out"]["muse"]["total"] for line in (lines[0], lines[-1]))
    assert last < 0.5 * first
    real = pretraining.save_state

    def killed(accelerator, run_dir, done, *rest):
        real(accelerator, run_dir, done, *rest)
        if done == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(pretraining, "save_state", killed)
    with pytest.raises(KeyboardInterrupt):
        pretrain(longer, tmp_path / "cut", sets=windows(), progress=False)
    monkeypatch.setattr(pretraining, "save_state", real)
    again = pretrain(longer, tmp_path / "cut", sets=windows(), progress=False)
    assert [{**line, "seconds": 0} for line in (whole["last"], again["last"])] == [{**whole["last"], "seconds": 0}] * 2
    one, two = (em.from_pretrained(tmp_path / name / "model").state_dict() for name in ("whole", "cut"))
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert pretrain(longer, tmp_path / "cut", sets={}, progress=False) == again  # a finished run is not repeated
    with pytest.raises(TrainingError, match="holds another run: seed was 0"):
        pretrain(longer, tmp_path / "cut", seed=1, sets=windows(), progress=False)


def test_refusals(tmp_path):
    with pytest.raises(ConfigError, match="neither make_pretraining nor pretraining_loss"):
        pretrain(recipe(model={"architecture": "videomae_nano"}, pretraining={}), tmp_path / "a", sets=windows())
    for change, match in (
        ({"pretraining": {"mask": 1}}, "mask"),
        ({"data": {"datasets": ["mus"]}}, "got 'mus'. Did you mean 'muse'"),
        ({"data": {"datasets": ["muse"], "people": {"exo": ["subject01"]}}}, "'exo' is not among"),
        ({"data": {"held_out": 0.0}}, "held_out"),
        ({"steps_per_epoch": 0}, "steps_per_epoch"),
        ({"optim": {"ema_decay": 0.9}}, "ema_decay"),
        ({"name": "a/b"}, "name"),
    ):
        with pytest.raises(ConfigError, match=match):
            pretrain(recipe(**change), tmp_path / "b", sets=windows(), progress=False)
    with pytest.raises(UnknownNameError, match="mbsm_tiny_open"):
        load_pretraining("mbsm_tiny_opn")
    short = {"one": UnlabelledWindows(torch.ones(1, 1, 200), ("Cz",), ["b"])}
    with pytest.raises(ConfigError, match="at least 2 windows"):
        pretrain(recipe(), tmp_path / "c", sets=short, progress=False)


def test_recipes_of_the_package(capsys):
    for name in list_recipes(folder="pretraining_recipes"):
        made = load_pretraining(name)
        assert made.name == name
        em.create_model(made.model.architecture, **made.model.config).make_pretraining(**made.pretraining)
    seen = set(load_pretraining("mbsm_tiny_open").data.people["eegmat"])
    for row in ("scratch", "pretrained"):
        split = load_recipe("mbsm_tiny_eegmat").for_row(row).data.split()
        assert seen == set(split.train) and not seen & {*split.validation, *split.test}
    assert main(["pretrain", "--recipe", "mbsm_tiny_open", "--set", "optim.epoch=3"]) == 2
    assert "epoch" in capsys.readouterr().err
