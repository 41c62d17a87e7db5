"""The engine on an easy synthetic set: it learns, resumes, selects on validation people, and is run once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.utils.data import Subset

from evermodels.checkpoints.load import from_pretrained
from evermodels.core.errors import CheckpointError, ConfigError, DataError
from evermodels.training import TrainingError, build_model, fit, format_result
from evermodels.training.evaluation import predict


@pytest.fixture(scope="module")
def trained(fake, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "ever" / "seed-0"
    result = fit(fake.make_recipe(epochs=8), folder, seed=0, row="ever", parts=fake.make_parts(), progress=False)
    return folder, result


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_it_learns_an_easy_set(trained):
    folder, result = trained
    history = lines(folder)
    assert [line["epoch"] for line in history] == list(range(1, 9))
    assert history[-1]["loss"]["total"] < 0.6 * history[0]["loss"]["total"]
    assert result["test"]["uar"] > 0.8
    assert set(history[0]["loss"]) == {"total", "cross_entropy", "focal", "alignment"}


def test_the_epoch_is_the_best_on_validation_people(trained):
    folder, result = trained
    values = [line["validation"]["uar"] for line in lines(folder)]
    assert result["selection"] == {
        "part": "validation",
        "metric": "uar",
        "value": max(values),
        "epoch": values.index(max(values)) + 1,
    }
    assert result["validation"]["uar"] == pytest.approx(max(values))


def test_the_folder_holds_what_it_promises(trained, fake):
    folder, result = trained
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "run.json",
        "metrics.jsonl",
        "result.json",
        "predictions.npz",
        "predictions_validation.npz",
        "model",
        ".lock",
    }
    model = from_pretrained(folder / "model")
    assert model.classes == ("slow & dark", "slow & bright", "fast & dark", "fast & bright")
    again = predict(model, fake.make_parts().test, groups=("eeg_subject",), batch_size=5)
    with np.load(folder / "predictions.npz") as saved:
        np.testing.assert_allclose(saved["logits"], again.logits, atol=1e-5)
        assert saved["group_eeg_subject"].tolist() == again.groups["eeg_subject"].tolist()
    assert result["split"]["test"] == {"eeg_subject": ["e8", "e9"], "face_id": ["f8", "f9"]}
    assert result["scores"] == {"arousal": "pace", "valence": "light"}
    assert result["command"] == "evermodels finetune --recipe easy --row ever --seed 0"
    assert len(result["recipe_digest"]) == 64 and torch.__version__.startswith(result["versions"]["torch"])
    assert result["seconds"] > 0
    ends = result["test"]["intervals"]["uar"]
    assert ends["low"] <= ends["value"] == pytest.approx(result["test"]["uar"])
    text = format_result(result)
    assert f"{result['test']['uar']:.3f}" in text and text.endswith(f"again with: {result['command']}")
    where = format_result(result, {"data": None, "run-dir": "my runs"})
    assert where.endswith(f"again with: {result['command']} --run-dir 'my runs'")


def test_a_finished_run_is_not_repeated(trained, fake):
    folder, result = trained
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    again = fit(fake.make_recipe(epochs=8), folder, seed=0, row="ever", parts=None, data_root="nowhere", progress=False)
    assert again == json.loads(json.dumps(result))
    assert before == {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def test_a_folder_of_another_run_is_refused(trained, fake):
    folder, _ = trained
    with pytest.raises(TrainingError, match="holds another run: seed was 0"):
        fit(fake.make_recipe(epochs=8), folder, seed=1, row="ever", parts=fake.make_parts(), progress=False)
    with pytest.raises(TrainingError, match="recipe_digest was"):
        fit(fake.make_recipe(epochs=9), folder, seed=0, row="ever", parts=fake.make_parts(), progress=False)


def test_the_test_part_is_read_once_at_the_end(fake, tmp_path):
    fake.Easy.touched.clear()
    fit(fake.make_recipe(epochs=2), tmp_path / "r", parts=fake.make_parts(train=16), progress=False)
    touched = fake.Easy.touched
    first = touched.index("test")
    assert touched[first:].count("test") == 24 and touched.count("test") == 24
    assert "train" not in touched[first:]


def test_validation_every_k_epochs_and_after_the_last(fake, tmp_path):
    recipe = fake.make_recipe(epochs=3)
    recipe = recipe.replace(selection=recipe.selection.replace(every=2, metric="nll"))
    result = fit(recipe, tmp_path / "r", parts=fake.make_parts(train=16), progress=False)
    assert ["validation" in line for line in lines(tmp_path / "r")] == [False, True, True]
    values = [-line["validation"]["nll"] for line in lines(tmp_path / "r")[1:]]
    assert result["selection"]["value"] == max(values)


def test_the_last_epoch_needs_no_validation_people(fake, tmp_path):
    recipe, parts = fake.make_recipe(epochs=3), fake.make_parts(train=16)
    alone = parts._replace(validation=Subset(parts.validation, []))
    with pytest.raises(ConfigError, match="nobody is in the validation part to choose an epoch by 'uar'"):
        fit(recipe, tmp_path / "r", parts=alone, progress=False)
    recipe = recipe.replace(selection={"metric": "last"})
    result = fit(recipe, tmp_path / "r", parts=alone, progress=False)
    assert result["selection"] == {"part": None, "metric": "last", "value": None, "epoch": 3}
    assert result["validation"] is None and result["split"]["validation"] == {"eeg_subject": [], "face_id": []}
    assert not (tmp_path / "r/predictions_validation.npz").exists()
    text = format_result(result)
    assert "the last epoch, 3" in text and "validation" not in text
    assert "validation" not in from_pretrained(tmp_path / "r/model").provenance
    # With people there the same weights come out, and what they give stands in the history.
    watched = fit(recipe, tmp_path / "w", parts=parts, progress=False)
    assert watched["selection"] == result["selection"] and watched["validation"]["samples"] == len(parts.validation)
    assert ["validation" in line for line in lines(tmp_path / "w")] == [True] * 3
    one, two = (load_file(tmp_path / name / "model/model.safetensors") for name in ("r", "w"))
    assert all(torch.equal(tensor, two[name]) for name, tensor in one.items())


def script(folder, *more):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(Path(__file__).with_name("_fake.py")), str(folder), *map(str, more)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="the system has no SIGKILL")
def test_a_killed_run_goes_on_to_the_same_weights(fake, tmp_path):
    settings = {"seed": 3, "progress": False}
    fit(fake.make_recipe(**fake.EVERYTHING), tmp_path / "whole", parts=fake.make_parts(3), **settings)
    # 48 samples for the spectrogram's statistics and 48 an epoch: dies in the middle of the second epoch.
    killed = script(tmp_path / "killed", 48 + 48 + 21)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert [p.name for p in tmp_path.glob("killed/state-*")] == ["state-0001"]
    assert not (tmp_path / "killed/result.json").exists()
    (tmp_path / "killed/state-0002.part").mkdir()  # as a kill during a save leaves it
    result = fit(fake.make_recipe(**fake.EVERYTHING), tmp_path / "killed", parts=fake.make_parts(3), **settings)
    whole, resumed = (load_file(tmp_path / name / "model/model.safetensors") for name in ("whole", "killed"))
    assert whole.keys() == resumed.keys()
    for name, tensor in whole.items():
        assert torch.equal(tensor, resumed[name]), name
    histories = [[{**line, "seconds": 0} for line in lines(tmp_path / name)] for name in ("whole", "killed")]
    assert histories[0] == histories[1]
    assert result["test"] == json.loads((tmp_path / "whole/result.json").read_text())["test"]
    assert not list(tmp_path.glob("killed/state-*"))


def test_beginning_anew_removes_the_run_and_nothing_else(fake, tmp_path):
    folder = tmp_path / "r"
    recipe = fake.make_recipe(epochs=1)
    fit(recipe, folder, parts=fake.make_parts(train=16), progress=False)
    (folder / "notes.txt").write_text("mine")
    result = fit(recipe, folder, seed=5, resume=False, parts=fake.make_parts(train=16), progress=False)
    assert result["seed"] == 5 and (folder / "notes.txt").read_text() == "mine"


def test_a_person_on_two_sides_is_refused(fake, tmp_path):
    parts = fake.make_parts()
    parts.validation.people["eeg_subject"] = ["e0", "e7"]
    with pytest.raises(DataError, match="eeg_subject e0 is in train and in validation"):
        fit(fake.make_recipe(), tmp_path / "r", parts=parts, progress=False)


def test_a_loss_that_is_not_finite_stops_and_says_where(fake, tmp_path):
    recipe = fake.make_recipe(
        grad_clip=None, lr={"rest": 1e30, "eeg_encoder": 1e30, "video_encoder": 1e30}, warmup_epochs=0
    )
    with pytest.raises((TrainingError, CheckpointError), match="not finite"):
        fit(recipe, tmp_path / "r", parts=fake.make_parts(), progress=False)
    assert not (tmp_path / "r/result.json").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [({"num_classes": 3}, "expected 4"), ({"dimm": 3}, "unknown key 'dimm'")],
)
def test_a_model_that_does_not_fit_is_refused_before_training(fake, tmp_path, change, message):
    recipe = fake.make_recipe()
    recipe = recipe.replace(model=recipe.model.replace(config={**fake.MODEL, **change}))
    with pytest.raises(ConfigError, match=message):
        fit(recipe, tmp_path / "r", row="ever", parts=fake.make_parts(), progress=False)


def test_metrics_and_factors_are_those_of_the_data(fake, tmp_path):
    recipe = fake.make_recipe()
    for section, key, value, message in (
        (
            "selection",
            "metric",
            "arousl",
            r"selection.metric: expected one of accuracy, .*arousal.*Did you mean 'arousal'",
        ),
        ("loss", "factor", "place", r"factor: expected one of pace, light, got 'place'. Did you mean 'pace'"),
    ):
        changed = recipe.replace(**{section: getattr(recipe, section).replace(**{key: value})})
        with pytest.raises(ConfigError, match=message):
            fit(changed, tmp_path / "r", row="ever", parts=fake.make_parts(), progress=False)
    plain = fake.make_parts()._replace(factors=(), scores={})
    changed = recipe.replace(selection=recipe.selection.replace(metric="arousal"))
    with pytest.raises(ConfigError, match=r"one of accuracy, uar, weighted_f1, nll, loss, last, got 'arousal'"):
        fit(changed, tmp_path / "r", row="ever", parts=plain, progress=False)


def test_four_classes_without_scores_have_none(fake, tmp_path):
    """Only a data set that declares it has arousal and valence; every model of four classes had."""
    parts = fake.make_parts(train=16)._replace(classes=("a", "b", "c", "d"), factors=(), scores={})
    result = fit(fake.make_recipe(epochs=1), tmp_path / "r", row="ever", parts=parts, progress=False)
    assert set(result["test"]["intervals"]) == {"accuracy", "uar", "weighted_f1"}
    assert not {"arousal", "valence", "mean_of_scores"} & set(result["test"])


class Gaps(torch.utils.data.Dataset):
    """A part of the easy set in which every third sample has no video and every fifth no EEG."""

    def __init__(self, part):
        self.part, self.people, self.labels = part, part.people, part.labels

    def __len__(self):
        return len(self.part)

    def __getitem__(self, i):
        item = self.part[i]
        lacks = "video" if i % 3 == 0 else "eeg" if i % 5 == 0 else None
        if lacks is None:
            return item
        return {**item, lacks: torch.full_like(item[lacks], 0.0), "present": {lacks: False}}


def test_absent_recordings_train_and_evaluate(fake, tmp_path):
    parts = fake.make_parts()
    parts = parts._replace(**{name: Gaps(parts.part(name)) for name in ("train", "validation", "test")})
    recipe = fake.make_recipe(epochs=6, mixup_alpha=0.2)
    recipe = recipe.replace(model=recipe.model.replace(config={**fake.MODEL, "spectrogram_norm": "channel_frequency"}))
    result = fit(recipe, tmp_path / "r", row="ever", parts=parts, progress=False)
    assert result["test"]["uar"] > 0.45  # one modality alone reaches half
    model = from_pretrained(tmp_path / "r/model")
    predictions = predict(model, parts.test, groups=parts.groups, alone=True, batch_size=7)
    silent = {name: np.isnan(of).all(axis=1) for name, of in predictions.alone.items()}
    i = np.arange(24)
    np.testing.assert_array_equal(silent["video"], i % 3 == 0)
    np.testing.assert_array_equal(silent["eeg"], (i % 5 == 0) & (i % 3 != 0))
    whole = predict(model, fake.make_parts().test, groups=parts.groups)
    has_all = ~(silent["eeg"] | silent["video"])
    np.testing.assert_allclose(predictions.logits[has_all], whole.logits[has_all], atol=1e-5)
    np.testing.assert_allclose(
        predictions.logits[silent["video"]], predictions.alone["eeg"][silent["video"]], atol=1e-5
    )
    # Statistics are of the EEG that is there: zeros would lower the spread and the mean.
    here = torch.stack([parts.train.part[k]["eeg"] for k in range(48) if k % 3 == 0 or k % 5])
    spectrogram = model.spectrogram.stft(here)
    torch.testing.assert_close(
        model.spectrogram.norm.mean.flatten(), spectrogram.mean((0, 3)).flatten(), rtol=1e-4, atol=1e-4
    )


def test_a_missing_modality_is_named(fake, tmp_path):
    item = {"video": torch.zeros(2, 3, 16, 16), "label": 0, "person": "a"}
    model = build_model(fake.make_recipe().for_row("ever"))
    with pytest.raises(DataError, match=r"takes eeg and video, and the items have no eeg. .*present=\{\"eeg\": False"):
        predict(model, [item])
    with pytest.raises(DataError, match="expected at least one sample, got none"):
        predict(model, [])
    with pytest.raises(ConfigError, match="batch_size: expected a whole number of at least 1, got 0"):
        predict(model, [item], batch_size=0)
    with pytest.raises(ConfigError, match="expected a whole system, such as ever_tiny, got Linear"):
        predict(torch.nn.Linear(2, 2), [item])


def test_a_batch_larger_than_the_set_is_refused(fake, tmp_path):
    with pytest.raises(ConfigError, match="at most 16"):
        fit(fake.make_recipe(batch_size=17), tmp_path / "r", parts=fake.make_parts(train=16), progress=False)


def test_an_encoder_is_taken_whole_or_not_at_all(fake, tmp_path):
    recipe = fake.make_recipe()
    source, target = build_model(recipe.for_row("eeg")), build_model(recipe.for_row("ever"))
    source.save_pretrained(tmp_path / "eeg")
    count = target.load_encoder("eeg", tmp_path / "eeg")
    own, theirs = target.eeg_encoder.state_dict(), source.eeg_encoder.state_dict()
    assert count == len(theirs) and all(torch.equal(own[k], theirs[k]) for k in theirs)
    with pytest.raises(CheckpointError, match=r"video_encoder .* missing"):
        target.load_encoder("video", tmp_path / "eeg")
    with pytest.raises(CheckpointError, match="Train the row that it comes from first"):
        target.load_encoder("eeg", tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="video: this EVER takes eeg only"):
        source.load_encoder("video", tmp_path / "eeg")
