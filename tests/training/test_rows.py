"""Rows over seeds, and their table."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.torch import load_file

from evermodels.core.errors import ConfigError, DataError, UnknownNameError
from evermodels.training import (
    Predictions,
    engine,
    evaluate_checkpoint,
    evaluation,
    finetune,
    make_table,
    paired_difference,
    run_rows,
)
from evermodels.training.rows import with_sources


@pytest.fixture(scope="module")
def table(fake, tmp_path_factory):
    root = tmp_path_factory.mktemp("rows")
    recipe = fake.make_recipe(epochs=1, lr={"video_encoder": 0.0, "eeg_encoder": 0.0})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "make_parts", lambda *a, seed, **k: fake.make_parts(seed, train=16))
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
    assert got["tie"] == (want.low <= 0 <= want.high)
    assert "minus_full" not in result["rows"]["ever"]["uar"]
    assert "**the full model**" in result["markdown"] and "tie" in result["markdown"]
    assert f"{cell['mean']:.3f} ± {cell['std']:.3f}" in result["markdown"]
    assert make_table(recipe, root, seeds=(0, 1), resamples=50) == result


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


def test_a_checkpoint_is_evaluated_on_a_part(table, fake, monkeypatch):
    recipe, root, _ = table
    monkeypatch.setattr(evaluation, "make_parts", lambda *a, **k: fake.make_parts())
    folder = root / "ever/seed-0"
    saved = json.loads((folder / "result.json").read_text())
    for part in ("validation", "test"):
        result = evaluate_checkpoint(folder / "model", recipe, part=part)
        assert result["uar"] == pytest.approx(saved[part]["uar"]) and result["part"] == part
        assert result["intervals"]["uar"]["value"] == pytest.approx(result["uar"])
    with pytest.raises(ConfigError, match="part: expected"):
        evaluate_checkpoint(folder / "model", recipe, part="dev")
