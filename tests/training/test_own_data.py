"""A manifest and a model on the command line: trained, tested, read, pushed; nothing is written for a bad one."""

from __future__ import annotations

import json
import re
import shlex

import numpy as np
import pytest
import torch

import evermodels as em
from evermodels import cli
from evermodels.checkpoints.load import from_pretrained
from evermodels.core.errors import ConfigError, DataError
from evermodels.training import TrainingError, build_model, manifest_recipe, own_data, pool_folds, run_folder
from tests.hub_server import client_of

NAMES = ["Fz", "Cz", "Pz", "O1"]
EVENTS = 'events = {quiet = "calm", loud = "tense"}'
SMALL = [
    "model.config.sfreq=100.0",
    "model.config.window_seconds=2.0",
    "model.config.spectrogram_size=[16, 16]",
    "model.config.encoders.eeg.config={patch_size = [16, 2], depth = 1}",
    "optim.epochs=2",
    "optim.num_threads=1",
]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Five people, calm (little 10 Hz) and tense (much of it), in one file each with annotations."""
    mne = pytest.importorskip("mne")
    folder = tmp_path_factory.mktemp("own")
    lines = ['classes = ["calm", "tense"]']
    for k in range(5):
        rng = np.random.default_rng(k)
        time = np.arange(4800) / 200
        wave = np.where(time < 12, 0, 25) * np.sin(2 * np.pi * 10 * time)
        data = (10 * rng.standard_normal((4, 4800)) + wave) * 1e-6
        made = mne.io.RawArray(data, mne.create_info(NAMES, 200.0, "eeg"), verbose="ERROR")
        made.set_annotations(mne.Annotations([0, 12], [12, 12], ["quiet", "loud"]))
        made.save(folder / f"p{k}_raw.fif", verbose="ERROR")
        lines += ["[[recordings]]", f'person = "p{k}"', f'eeg = "p{k}_raw.fif"']
        lines += [EVENTS]
    (folder / "mine.toml").write_text("\n".join(lines) + "\n")
    return folder


def run(capsys, *words):
    code = cli.main([str(word) for word in words])
    out, err = capsys.readouterr()
    return code, out, err


def changes(more=()):
    return [word for change in (*SMALL, *more) for word in ("--set", change)]


def test_the_whole_path(data, tmp_path, capsys):
    runs, channels = tmp_path / "runs", ("--ch-names", ",".join(NAMES))
    words = ("--data", data / "mine.toml", "--model", "ever_tiny", *channels, *changes(["optim.epochs=8"]))
    code, out, err = run(capsys, "finetune", *words, "--run-dir", runs)
    assert code == 0, err
    folder = run_folder(runs, "fold-0", 0)
    result = json.loads((folder / "result.json").read_text())
    assert result["classes"] == ["calm", "tense"] and result["split"]["test"] == {"person": ["p0"]}
    assert result["test"]["uar"] > 0.8 and f"model: {folder / 'model'}" in out
    assert from_pretrained(folder / "model").classes == ("calm", "tense")
    again = cli.build_parser().parse_args(shlex.split(result["command"])[1:])
    assert (again.data, again.model, again.set[-1]) == (data / "mine.toml", "ever_tiny", "optim.epochs=8")
    # It is evaluated, read and goes on from there.
    code, out, err = run(capsys, "evaluate", "--data", data / "mine.toml", "--model", folder / "model")
    assert code == 0 and re.search(rf"uar +{result['test']['uar']:.3f} \[n/a: one person\]", out), err
    assert re.search(r"uar by person +\d\.\d{3} \(1 person\)", out)
    code, _, err = run(capsys, "evaluate", "--data", data / "mine.toml", "--model", folder / "model", "--fold", 1)
    assert code == 2 and "was trained on fold 0 of 5 of this manifest" in err and "people of fold 1 of 5 may" in err
    code, out, err = run(capsys, "predict", "--model", folder / "model", "--eeg", data / "p0_raw.fif")
    assert code == 0 and "calm" in out and "tense" in out, err
    more = ("--model", folder / "model", "--set", "optim.epochs=1", "--set", "optim.num_threads=1")
    code, out, err = run(capsys, "finetune", "--data", data / "mine.toml", *more, "--run-dir", tmp_path / "more")
    assert code == 0, err
    kept = from_pretrained(run_folder(tmp_path / "more", "fold-0", 0) / "model")
    assert (
        kept.classes == ("calm", "tense")
        and not manifest_recipe(data / "mine.toml", str(folder / "model")).model.num_classes
    )


def test_all_folds_are_joined(data, tmp_path, capsys):
    words = ("--data", data / "mine.toml", "--model", "ever_tiny", "--ch-names", ",".join(NAMES), *changes())
    code, out, err = run(capsys, "finetune", *words, "--folds", 9, "--fold", "all", "--run-dir", tmp_path)
    assert code == 0 and "all 5 folds, everybody tested once" in out, err
    whole = pool_folds(tmp_path, 5)
    assert list(whole["per_person"]["person"]["uar"]) == [f"p{k}" for k in range(5)] and whole["samples"] == 60
    assert re.search(rf"uar +{whole['uar']:.3f} \[", out)


def test_the_folder_is_pushed(data, tmp_path, capsys, hub):
    recipe = manifest_recipe(data / "mine.toml", "ever_tiny", SMALL, ch_names=NAMES)
    own_data.finetune_manifest(recipe, tmp_path, progress=False)
    with client_of(hub, tmp_path / "member", HF_TOKEN=hub.token):
        code, out, err = run(capsys, "push", run_folder(tmp_path, "fold-0", 0) / "model", "org/mine")
        assert code == 0 and "pushed: " in out, err
        again = from_pretrained("org/mine", revision=out.rpartition("revision='")[2][:40])
    assert again.classes == ("calm", "tense")


def test_nothing_is_written_for_a_bad_manifest(data, tmp_path, capsys):
    text = (data / "mine.toml").read_text()
    bad = data / "bad.toml"
    runs = tmp_path / "runs"
    command = ("finetune", "--data", bad, "--ch-names", ",".join(NAMES), "--run-dir", runs, *changes(), "--model")
    for changed, message in (
        (text.replace("p3_raw", "p9_raw"), "there is no"),
        (text.replace('person = "p1"', 'person = "p0"', 1).replace('"p1_raw', '"p0_raw', 1), "labelled twice"),
        (text.replace('person = "p1"\neeg = "p1', 'person = "p1"\neeg = "p0'), "is eeg of 'p0' and of 'p1'"),
        (
            text.replace(
                'events = {quiet = "calm", loud = "tense"}', 'segments = [{start=0, stop=99, label="calm"}]', 1
            ),
            "past",
        ),
        (text + '[split]\ntrain=["p0"]\nvalidation=["p0"]\ntest=["p1"]', "'p0' is in train and in validation"),
    ):
        bad.write_text(changed)
        code, _, err = run(capsys, *command, "ever_tiny")
        assert code == 2 and message in err and not runs.exists(), err
    bad.write_text(text)
    for words, message in (
        (("ever_tiny", "--recipe", "ever_tiny_quadrant"), "a manifest brings its own"),
        (("ever_tiny", "--fold", "x"), "--fold: expected a number"),
        (("ever_tiny", "--fold", "7"), "fold"),
        (("ever_tiny", "--set", "loss.gama=1"), "unknown key 'gama'"),
        (("evr_tiny",), "evr_tiny"),
        (("audio_mamba_nano",), "audio_mamba_nano is an encoder alone. Give a whole system"),
        (("ever_tiny", "--row", "eeg"), "--row: it goes with a recipe, and this is a manifest"),
    ):
        code, _, err = run(capsys, *command, *words)
        assert code == 2 and message in err and not runs.exists(), err
    code, _, err = run(capsys, "finetune", "--data", bad)
    assert code == 2 and "--model: which model" in err
    code, _, err = run(capsys, "finetune")
    assert code == 2 and "give --recipe NAME, or --data MANIFEST.toml" in err


def test_a_checkpoint_of_other_classes_gets_a_fresh_head(data):
    channels = em.montage.preset("eegmat")
    recipe = manifest_recipe(data / "mine.toml", "ever_tiny.quadrant", ch_names=channels)
    assert recipe.model.num_classes == 2 and recipe.model.ch_names == channels
    assert set(recipe.optim.lr) == {"eeg_encoder", "video_encoder", "rest"}
    model = build_model(recipe)
    assert model.config.num_classes == 2 and model.classes is None
    with pytest.raises(ConfigError, match="compares eeg with rest of the same person, and 'p0' has none"):
        recipe.data.parts(model.input_spec.replace(eeg=model.input_spec.eeg.replace(ch_names=tuple(NAMES))))


def test_the_channels_that_all_recordings_have(data, tmp_path, capsys):
    mne = pytest.importorskip("mne")
    text = (data / "mine.toml").read_text()
    raw = mne.io.read_raw_fif(data / "p4_raw.fif", verbose="ERROR").load_data().drop_channels("Pz")
    raw.save(data / "few_raw.fif", verbose="ERROR")
    few = data / "few.toml"
    few.write_text(text.replace("p4_raw", "few_raw"))
    assert manifest_recipe(data / "mine.toml", "ever_tiny", ch_names="auto").model.config["ch_names"] == NAMES
    recipe = manifest_recipe(few, "ever_tiny", SMALL, ch_names="auto")
    assert recipe.model.config["ch_names"] == ["Fz", "Cz", "O1"]  # in their order
    assert recipe.digest() == manifest_recipe(few, "ever_tiny", SMALL, ch_names=["Fz", "Cz", "O1"]).digest()
    torch.manual_seed(0)
    model = build_model(recipe)
    model.classes = ("calm", "tense")
    folder = model.save_pretrained(tmp_path / "three")
    assert manifest_recipe(data / "mine.toml", str(folder), ch_names="auto").model.ch_names is None
    # a model of more channels is carried to those that there are
    model = build_model(manifest_recipe(data / "mine.toml", "ever_tiny", SMALL, ch_names=[*NAMES, "O2"]))
    model.classes = ("calm", "tense")
    folder = model.save_pretrained(tmp_path / "five")
    assert manifest_recipe(few, str(folder), ch_names="auto").model.ch_names == ("Fz", "Cz", "O1")
    code, out, err = run(capsys, "evaluate", "--data", few, "--model", folder)
    assert code == 2 and "no channel" in err and "--ch-names auto" in err, err
    code, out, err = run(capsys, "evaluate", "--data", few, "--model", folder, "--ch-names", "auto")
    assert code == 0 and "uar by person" in out, err
    few.write_text(text.replace('eeg = "p4_raw.fif"', 'eeg = "alone_raw.fif"'))
    raw.rename_channels({"Fz": "F3", "Cz": "F4", "O1": "O2"}).save(data / "alone_raw.fif", verbose="ERROR")
    with pytest.raises(DataError, match=r"no channel of .* \(Fz, Cz, Pz, O1\) is in all 5 recordings of eeg"):
        manifest_recipe(few, "ever_tiny", ch_names="auto")


def test_a_manifest_that_changed_is_another_run(data, tmp_path):
    text = (data / "mine.toml").read_text()
    path = data / "grows.toml"
    path.write_text(text)
    recipe = manifest_recipe(path, "ever_tiny", SMALL, ch_names=NAMES)
    own_data.finetune_manifest(recipe, tmp_path, progress=False)
    path.write_text(text + "\n")
    other = manifest_recipe(path, "ever_tiny", SMALL, ch_names=NAMES)
    assert other.digest() != recipe.digest()
    with pytest.raises(TrainingError, match="holds another run: recipe_digest was"):
        own_data.finetune_manifest(other, tmp_path, progress=False)


def test_two_people_are_enough_where_nobody_chooses(data, tmp_path, capsys):
    lines = (data / "mine.toml").read_text().split("[[recordings]]")
    two = data / "two.toml"
    two.write_text("[[recordings]]".join(lines[:3]))
    words = ("finetune", "--data", two, "--model", "ever_tiny", "--ch-names", "auto", *changes(), "--run-dir", tmp_path)
    code, out, err = run(capsys, *words)
    assert code == 2 and "or 2 with n_validation=0" in err, err
    code, out, err = run(capsys, *words, "--set", "data.n_validation=0")
    assert code == 2 and "selection.metric: nobody is in the validation part" in err and not list(tmp_path.iterdir())
    code, out, err = run(capsys, *words, *changes(("data.n_validation=0", "selection.metric=last"))[-4:])
    assert code == 0, err
    assert "the last epoch, 2" in out and "\nvalidation" not in out
