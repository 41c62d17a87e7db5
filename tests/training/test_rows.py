"""Rows over seeds, and their table."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from safetensors.torch import load_file
from torch.utils.data import Subset

from evermodels.core.errors import ConfigError, DataError, UnknownNameError
from evermodels.datasets import DataSettings
from evermodels.training import (
    Predictions,
    engine,
    evaluate_checkpoint,
    finetune,
    fit,
    interval,
    late_fusion,
    make_table,
    paired_difference,
    run_rows,
    summarize,
    verdict,
)
from evermodels.training.rows import with_sources


@pytest.fixture(scope="module")
def table(fake, tmp_path_factory):
    root = tmp_path_factory.mktemp("rows")
    recipe = fake.make_recipe(epochs=1, lr={"video_encoder": 0.0, "eeg_encoder": 0.0})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DataSettings, "parts", lambda *a, seed, **k: fake.make_parts(seed, train=16))
        result = run_rows(recipe, root, seeds=(0, 1), progress=False, resamples=50)
    return recipe, root, result


def test_sources_come_first(fake):
    recipe = fake.make_recipe()
    assert with_sources(recipe, ["naive"]) == ["eeg", "video", "naive"]
    assert with_sources(recipe, ["ever", "video"]) == ["video", "ever"]
    with pytest.raises(UnknownNameError, match=r"has no 'nave'. Did you mean 'naive'"):
        with_sources(recipe, ["nave"])


def test_fusion_rows_start_from_the_trained_encoders(table):
    _, root, _ = table
    for seed in (0, 1):
        naive = load_file(root / f"naive/seed-{seed}/model/model.safetensors")
        alone = load_file(root / f"eeg/seed-{seed}/model/model.safetensors")
        keys = [k for k in alone if k.startswith("eeg_encoder.")]
        assert keys and all(bool((naive[k] == alone[k]).all()) for k in keys)


def test_the_table_is_what_the_runs_say(table):
    recipe, root, result = table
    assert result == json.loads((root / "table.json").read_text("utf-8"))
    assert result["markdown"] == (root / "table.md").read_text("utf-8")
    runs = {
        row: [Predictions.load(root / row / f"seed-{s}/predictions.npz") for s in (0, 1)] for row in ("naive", "ever")
    }
    scores = [json.loads((root / f"naive/seed-{s}/result.json").read_text())["test"]["uar"] for s in (0, 1)]
    cell = result["rows"]["naive"]["uar"]
    assert cell["mean"] == pytest.approx(np.mean(scores)) and cell["std"] == pytest.approx(np.std(scores, ddof=1))
    want = paired_difference(runs["naive"], runs["ever"], "uar", n=50)
    got = cell["minus_full"]
    assert (got["value"], got["low"], got["high"]) == pytest.approx(tuple(want))
    assert got["verdict"] == verdict(want, 0.05)
    assert "minus_full" not in result["rows"]["ever"]["uar"]
    assert "**the full model**" in result["markdown"] and "undecided" in result["markdown"]
    assert not re.search(r"\bties?\b", result["markdown"])
    assert f"{cell['mean']:.3f} ± {cell['std']:.3f}" in result["markdown"]
    assert make_table(recipe, root, seeds=(0, 1), resamples=50) == result


def test_the_recorded_command_keeps_rows_and_changes(table):
    recipe, root, result = table
    assert result["command"] == "evermodels benchmark --recipe easy --seeds 0,1"
    changed = recipe.replace(changes=("optim.epochs=1",))
    some = make_table(changed, root, seeds=(0, 1), rows=["eeg", "video", "naive"], resamples=20)
    assert some["command"] == (
        "evermodels benchmark --recipe easy --set optim.epochs=1 --seeds 0,1 --rows eeg,video,naive"
    )
    assert f"Command: `{some['command']}`" in some["markdown"]


def load_runs(root, row):
    return [Predictions.load(root / row / f"seed-{s}/predictions.npz") for s in (0, 1)]


def test_a_recipe_may_name_the_rows_of_its_late_fusion(table):
    recipe, root, result = table
    some = {"seeds": (0, 1), "rows": ["eeg", "video", "ever"], "resamples": 20}
    assert not [key for key in make_table(recipe, root, **some)["rows"] if key.startswith("late fusion")]
    named = recipe.replace(comparison=recipe.comparison.replace(late_fusion=("eeg", "video")))
    found = make_table(named, root, **some)
    assert found["rows"]["late fusion of eeg + video"]["uar"]["mean"] == pytest.approx(
        result["rows"]["late fusion of eeg + video"]["uar"]["mean"]
    )
    assert "late fusion: sum of the single rows' log-probabilities (eeg + video)" in found["markdown"]
    with pytest.raises(ConfigError, match=r"late_fusion: expected some of the rows \(eeg, .*got 'sound'"):
        recipe.replace(comparison=recipe.comparison.replace(late_fusion=("eeg", "sound")))


def test_late_fusion_and_the_models_own_halves_stand_in_the_table(table):
    _, root, _ = table
    result = json.loads((root / "table.json").read_text("utf-8"))
    full = load_runs(root, "ever")
    fused = [late_fusion(pair) for pair in zip(load_runs(root, "eeg"), load_runs(root, "video"), strict=True)]
    assert set(full[0].alone) == {"eeg", "video"} and not load_runs(root, "eeg")[0].alone
    own = [late_fusion([replace(p, logits=a, alone={}) for a in p.alone.values()]) for p in full]
    for key, sources, runs in (
        ("late fusion of eeg + video", ["eeg", "video"], fused),
        ("own answers of ever", ["ever"], own),
    ):
        entry = result["rows"][key]
        assert entry["sources"] == sources and "parameters" not in entry
        for metric in ("uar", "arousal", "valence", "product_of_scores"):
            cell = entry[metric]
            want = interval(runs, metric, n=50)
            assert cell["mean"] == pytest.approx(want.value) and cell["interval"] == pytest.approx(want._asdict())
            want = paired_difference(runs, full, metric, n=50)
            assert cell["minus_full"].pop("verdict") == verdict(want, 0.05)
            assert cell["minus_full"] == pytest.approx(want._asdict())
        assert result["markdown"].count(f"| {entry['title']} |") == 2  # table 3 and all differences
    assert "late fusion: sum of the single rows' log-probabilities (eeg + video)" in result["markdown"]
    assert "EEG-only + video-only" in result["markdown"].replace("eeg-only", "EEG-only")


def test_a_row_of_one_factor_gives_that_factor_to_the_late_fusion(table):
    recipe, root, _ = table
    rows = tuple(
        row.replace(overrides={**row.overrides, "loss": {"factor": factor}}) if factor else row
        for row, factor in zip(recipe.rows, ("pace", "light", "", ""), strict=True)
    )
    result = make_table(recipe.replace(rows=rows), root, seeds=(0, 1), resamples=20)
    fused = result["rows"]["late fusion of eeg + video"]
    for half, row in (("arousal", "eeg"), ("valence", "video")):
        assert fused[half]["seeds"] == result["rows"][row][half]["seeds"]
    rows = (recipe.rows[0].replace(overrides={"loss": {"factor": "place"}}), *recipe.rows[1:])
    with pytest.raises(
        ConfigError, match="row 'eeg' was trained on the factor 'place', of which the data have no score"
    ):
        make_table(recipe.replace(rows=rows), root, seeds=(0, 1), resamples=20)


def test_the_product_of_the_scores_stands_beside_the_uar(table):
    _, root, result = table
    for name in ("eeg", "naive", "ever"):
        row, runs = result["rows"][name], load_runs(root, name)
        products = [summarize(run)["arousal"] * summarize(run)["valence"] for run in runs]
        assert row["product_of_scores"]["seeds"] == pytest.approx(products)
        gap = row["uar_minus_product"]
        assert gap["mean"] == pytest.approx(row["uar"]["mean"] - np.mean(products))
        assert gap["interval"]["low"] <= gap["mean"] <= gap["interval"]["high"]
        assert gap["verdict"] == verdict(interval(runs, "uar_minus_product", n=50), 0.05)
    assert "| product of the scores | UAR minus that product |" in result["markdown"]


def test_the_margin_is_the_recipes(table):
    recipe, root, result = table
    assert result["margin"] == 0.05 and "±0.05" in result["how"]
    wide = recipe.replace(comparison={"margin": 0.99})
    again = make_table(wide, root, seeds=(0, 1), resamples=50)
    assert again["rows"]["naive"]["uar"]["minus_full"]["verdict"].endswith("within 0.99")
    assert wide.digest() == recipe.digest()  # a margin changes no run


def test_without_scores_a_table_has_neither_their_columns_nor_their_rows(table, tmp_path):
    recipe, root, _ = table
    shutil.copytree(root, tmp_path / "r")
    for path in (tmp_path / "r").glob("*/seed-*/predictions.npz"):
        p = Predictions.load(path)
        Predictions(p.logits[:, :3], p.label % 3, p.groups).save(path)
    result = make_table(recipe, tmp_path / "r", seeds=(0, 1), resamples=20)
    assert "arousal" not in result["rows"]["ever"] and "product of the scores |" not in result["markdown"]
    assert "late fusion of eeg + video" in result["rows"] and "own answers of ever" not in result["rows"]


def test_a_table_says_that_the_last_epochs_were_kept(fake, tmp_path, monkeypatch):
    recipe = fake.make_recipe(epochs=1).replace(selection={"metric": "last"})

    def parts(*args, seed, **settings):
        made = fake.make_parts(seed, train=16)
        return made._replace(validation=Subset(made.validation, []))

    monkeypatch.setattr(DataSettings, "parts", parts)
    made = run_rows(recipe, tmp_path, rows=("eeg",), seeds=(0, 1), progress=False, resamples=50)
    assert made["rows"]["eeg"]["validation_uar"] is None and made["rows"]["eeg"]["best_epochs"] == [1, 1]
    assert "of every run the last epoch. Values" in made["markdown"] and "chosen" not in made["markdown"]


def test_a_second_call_trains_nothing(table, monkeypatch):
    recipe, root, result = table
    monkeypatch.setattr(engine, "_Run", None)
    assert run_rows(recipe, root, seeds=(0, 1), progress=False, resamples=50) == result
    assert finetune(recipe, root, seed=1, progress=False)["row"] == "ever"


def test_what_is_not_finished_is_named(table, fake):
    recipe, root, _ = table
    with pytest.raises(DataError, match="seed-2"):
        make_table(recipe, root, seeds=(0, 2))
    with pytest.raises(ConfigError, match="each once"):
        run_rows(recipe, root, seeds=(0, 0))
    with pytest.raises(ConfigError, match="at least one seed"):
        run_rows(recipe, root, seeds=())


def test_a_wrong_row_shows_before_anything_is_trained(fake, tmp_path):
    recipe = fake.make_recipe()
    row = recipe.rows[-1].replace(overrides={"model": {"config": {"fusion": "graph"}}})
    with pytest.raises(ConfigError, match="'graph'"):
        run_rows(recipe.replace(rows=(*recipe.rows[:-1], row)), tmp_path / "r", seeds=(0,), progress=False)
    assert not (tmp_path / "r").exists()


def test_encoders_are_those_of_the_model_and_their_folders_are_given(fake, tmp_path):
    recipe = fake.make_recipe()
    row = recipe.rows[2].replace(init_from={"eye": "eeg"})
    with pytest.raises(ConfigError, match="eye: this EVER takes eeg and video only"):
        run_rows(recipe.replace(rows=(*recipe.rows[:2], row, *recipe.rows[3:])), tmp_path / "r", progress=False)
    with pytest.raises(
        ConfigError, match=r"row 'naive' starts from eeg of 'eeg', video of 'video'. Give the checkpoint"
    ):
        fit(recipe, tmp_path / "r", row="naive", parts=fake.make_parts(), progress=False)
    assert not (tmp_path / "r").exists()


def test_a_checkpoint_is_evaluated_on_a_part(table, fake, monkeypatch):
    recipe, root, _ = table
    monkeypatch.setattr(DataSettings, "parts", lambda *a, **k: fake.make_parts())
    folder = root / "ever/seed-0"
    saved = json.loads((folder / "result.json").read_text())
    for part in ("validation", "test"):
        result = evaluate_checkpoint(folder / "model", recipe, part=part)
        assert result["uar"] == pytest.approx(saved[part]["uar"]) and result["part"] == part
        assert result["intervals"]["uar"]["value"] == pytest.approx(result["uar"])
    with pytest.raises(ConfigError, match="part: expected"):
        evaluate_checkpoint(folder / "model", recipe, part="dev")
