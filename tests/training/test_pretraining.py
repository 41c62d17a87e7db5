"""Pre-training: what it saves, that a killed run ends with the same bits, that it learns, and what it refuses."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import evermodels as em
from evermodels.backbones import MBSMEncoder
from evermodels.cli import main
from evermodels.core.errors import CheckpointError, ConfigError, DataError, UnknownNameError
from evermodels.core.specs import VideoSpec
from evermodels.datasets import LondonFaces, MixedMontages, UnlabelledClips, UnlabelledWindows
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
        pretrain(recipe(model={"architecture": "vivit_nano"}, pretraining={}), tmp_path / "a", sets=windows())
    for change, match in (
        ({"pretraining": {"mask": 1}}, "mask"),
        ({"data": {"datasets": ["mus"]}}, "got 'mus'. Did you mean 'muse'"),
        ({"data": {"datasets": ["muse"], "people": {"exo": ["subject01"]}}}, "'exo' is not among"),
        ({"data": {"held_out": 0.0}}, "held_out"),
        ({"data": {"datasets": ["muse", "faces"]}}, r"sets of one modality, got muse \(eeg\), faces \(video\)"),
        ({"data": {"datasets": ["faces"], "clips_per_person": 0}}, "clips_per_person.*at least 1"),
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


def test_windows_of_a_person_are_compared_with_each_other(tmp_path):
    values = {"mask_ratio": 0.5, "class_token": False, "signal_weight": 0.0, "state_weight": 1.0}
    together = recipe(pretraining=values, data={"held_out": 0.25, "together": 2})
    terms = pretrain(together, tmp_path / "run", sets=windows(), progress=False)["last"]["loss"]
    assert terms["state"] > 0 and terms["total"] == pytest.approx(terms["state"])
    with pytest.raises(ConfigError, match=r"together.*divisor of optim\.batch_size"):
        recipe(pretraining=values, data={"together": 3})


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


@pytest.fixture
def portraits(tmp_path):
    """Two people's made-up photographs in a folder like the data set's."""
    cv2 = pytest.importorskip("cv2")
    folder = tmp_path / "data" / "faces"
    folder.mkdir(parents=True)
    noise = np.random.default_rng(0)
    for person in ("001", "002"):
        for expression in ("neutral", "smiling"):
            picture = cv2.resize(noise.integers(0, 255, (4, 4, 3), dtype=np.uint8), (96, 96))
            cv2.imwrite(str(folder / f"{person}_{expression}.jpg"), picture)
    return folder


def faces(folder, size=(16, 16), **changes):
    return UnlabelledClips(LondonFaces(folder, crop=False), VideoSpec(num_frames=4, size=size), **changes)


VIDEO = {"num_frames": 4, "img_size": [16, 16], "patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2}
DECODER = {"decoder_embed_dim": 8, "decoder_depth": 1, "decoder_num_heads": 2, "mask_ratio": 0.5}


def test_clips_are_the_same_whenever_they_are_asked_for(portraits):
    clips = faces(portraits, clips_per_person=4)
    assert len(clips) == 8 and clips.people == ("001", "002") and clips.fits == (4, 3, 16, 16)
    item = clips[5]
    assert item["person"] == "002" and item["video"].dtype == torch.float32 and item["video"].isfinite().all()
    some = faces(portraits, people=["002"], clips_per_person=4)
    assert torch.equal(some[1]["video"], item["video"]) and torch.equal(clips.part([5])[0]["video"], item["video"])
    assert not torch.equal(clips[4]["video"], item["video"])
    pixels = item["video"] * torch.tensor(VideoSpec.std)[:, None, None] + torch.tensor(VideoSpec.mean)[:, None, None]
    assert -1e-6 < pixels.min() and pixels.max() < 1 + 1e-6
    with pytest.raises(ConfigError, match="nobody called '003' among the 2 people"):
        faces(portraits, people=["003"])
    with pytest.raises(DataError, match="clips of one shape, got a video 4 3 16 16, b video 4 3 8 8"):
        MixedMontages({"a": clips, "b": faces(portraits, (8, 8))})


@pytest.mark.parametrize(("sampling", "terms"), [("tube", {"sampling": 0.0}), ("adaptive", {})])
def test_frames(portraits, tmp_path, sampling, terms):
    hidden = {**DECODER, "sampling": sampling, "sampling_num_heads": 2}
    made = recipe(
        model={"architecture": "videomae_nano", "config": VIDEO},
        pretraining=hidden,
        data={"datasets": ["faces"], "held_out": 0.25, "clips_per_person": 4},
    )
    result = pretrain(made, tmp_path / "run", sets={"faces": faces(portraits, clips_per_person=4)}, progress=False)
    assert result["windows"] == {"faces": 6} and result["people"] == {"faces": 2}
    loss = result["last"]["loss"]
    assert set(loss) == {"total", "reconstruction", "sampling"} and loss.items() >= terms.items()
    assert loss["total"] == pytest.approx(loss["reconstruction"] + loss["sampling"], rel=1e-5)
    again = pretrain(made, tmp_path / "again", sets={"faces": faces(portraits, clips_per_person=4)}, progress=False)
    assert again["last"]["loss"] == loss
    encoder = em.from_pretrained(tmp_path / "run/model")
    system = em.create_model(
        "single_video",
        input_spec={"video": {"num_frames": 4, "size": (16, 16)}},
        encoders={
            "video": {
                "name": "videomae_nano",
                "config": {k: VIDEO[k] for k in VIDEO if k not in ("num_frames", "img_size")},
            }
        },
        num_classes=2,
    )
    assert system.load_encoder("video", tmp_path / "run/model") == len(encoder.state_dict())


def test_frames_by_the_command_line(portraits, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pretraining, "LondonFaces", lambda folder: LondonFaces(folder, crop=False))
    tables = {"model.config": VIDEO, "pretraining": DECODER, "data.people": {"faces": ["002"]}}
    sets = [f"{k}={{{', '.join(f'{n} = {json.dumps(v)}' for n, v in t.items())}}}" for k, t in tables.items()]
    sets += ["data.clips_per_person=4", "steps_per_epoch=2", "optim.epochs=1", "optim.batch_size=2"]
    flags = [flag for change in sets for flag in ("--set", change)]
    where = ["--data", str(portraits.parent), "--run-dir", str(tmp_path / "run")]
    assert main(["pretrain", "--recipe", "videomae_nano_faces", *flags, *where]) == 0
    out = capsys.readouterr().out
    assert "faces 3" in out and "reconstruction" in out
    assert em.from_pretrained(tmp_path / "run/model").provenance["datasets"] == ["faces"]
    wrong = [
        "--set",
        'model.architecture="mbsm_tiny"',
        "--data",
        str(portraits.parent),
        "--run-dir",
        str(tmp_path / "b"),
    ]
    assert main(["pretrain", "--recipe", "videomae_nano_faces", *wrong]) == 2
    assert "faces holds video, and the model takes eeg" in capsys.readouterr().err


def test_a_later_setting_leaves_the_digest_of_older_recipes():
    plain = load_pretraining("mbsm_tiny_open")
    assert "clips_per_person" not in plain.to_dict()["data"]
    changed = load_pretraining("mbsm_tiny_open", ["data.clips_per_person=3"])
    assert changed.digest() != plain.digest() and changed.to_dict()["data"]["clips_per_person"] == 3
    assert "together" not in load_pretraining("videomae_nano_faces").to_dict()["data"]


def test_the_recipe_of_faces_sees_no_one_who_chooses_or_tests(real_data):
    seen = load_pretraining("videomae_nano_faces").data.people["faces"]
    assert list(seen) == list(LondonFaces(real_data / "faces").people[:68])
