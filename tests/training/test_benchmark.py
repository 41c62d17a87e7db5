"""A suite run for real: whole files after every run, kills, two at once, failures; tables by hand-computed values."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from evermodels.core.errors import ConfigError, DataError
from evermodels.training import Predictions, auc_pr, auroc, benchmark, benchmark_table, load_suite, run_benchmark
from evermodels.training.benchmark_results import ABOUT, COLUMNS, Results, read_csv
from evermodels.training.state import TrainingError, locked, write_sealed
from tests.training import _toy_suite

ROOT = Path(__file__).resolve().parents[2]
QUICK = {"progress": False, "resamples": 50}


def rows_of(root):
    return read_csv((root / "results.csv").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench")
    suite = _toy_suite.make_suite(folder)
    report = run_benchmark(suite, folder / "runs", seeds=[0], **QUICK)
    return suite, folder / "runs", report


def test_one_tidy_table_with_all_that_repeats_a_row(done):
    _, root, report = done
    rows = rows_of(root)
    assert tuple(rows[0]) == COLUMNS and not report.failed and not report.left
    single = [row for row in rows if row["fold"] in ("0", "1", "2")]
    # 2 models × 3 folds: validation UAR, and on test accuracy, UAR, weighted F1, AUROC, AUC-PR, UAR by person
    assert len(single) == 2 * 3 * 7 and {row["part"] for row in single} == {"validation", "test"}
    assert {row["metric"] for row in single if row["part"] == "validation"} == {"uar"}
    (row,) = [
        r for r in single if (r["model"], r["fold"], r["metric"], r["part"]) == ("dgcnn_tiny", "1", "uar", "test")
    ]
    result = json.loads((root / "folds/dgcnn_tiny/fold-1/seed-0/result.json").read_text())
    assert float(row["value"]) == pytest.approx(result["test"]["uar"], abs=1e-6)
    assert (row["n"], row["people"], row["seed"], row["modalities"]) == ("16", "p2 p3", "0", "eeg")
    assert int(row["parameters"]) == result["parameters"] and int(row["epoch"]) == result["selection"]["epoch"]
    assert row["command"].endswith("--models dgcnn_tiny --datasets folds --folds 1 --seeds 0")
    assert "torch " in row["versions"] and row["commit"] == (result["commit"] or "")
    configs = json.loads((root / "configs.json").read_text())
    assert configs[row["config"]]["optim"]["epochs"] == 2 and "fold" not in configs[row["config"]]["data"]
    assert len(configs) == 2 and {r["config"] for r in rows} == set(configs)
    pooled = [r for r in rows if r["fold"] == "all" and r["metric"] == "uar" and r["model"] == "band_power_lr"]
    assert [r["seed"] for r in pooled] == ["0", "all"] and {r["n"] for r in pooled} == {"48"}
    assert pooled[0]["people"] == "p0 p1 p2 p3 p4 p5"
    assert pooled[1]["command"].endswith("--models band_power_lr --datasets folds --seeds 0")
    assert float(pooled[1]["value"]) > 0.9 >= float(pooled[1]["low"]) or float(pooled[1]["low"]) == 1.0
    assert "## Toys in folds" in report.markdown and report.markdown == (root / "table.md").read_text("utf-8")
    assert "| band_power_lr |" in report.markdown.replace("\\", "")


def test_what_is_finished_stays_and_more_is_added(done, monkeypatch):
    suite, root, _ = done
    calls = []
    real = benchmark.fit_estimator
    monkeypatch.setattr(benchmark, "fit", lambda *a, **k: pytest.fail("a finished run was repeated"))
    monkeypatch.setattr(benchmark, "fit_estimator", lambda *a, **k: calls.append(k["seed"]) or real(*a, **k))
    report = run_benchmark(suite, root, models=["band_power_lr"], seeds=[0, 1], **QUICK)
    assert calls == [1, 1, 1] and not report.failed
    found = {(r["model"], r["command"].rpartition(" ")[2]) for r in rows_of(root) if r["seed"] == "all"}
    assert found == {("band_power_lr", "0,1"), ("dgcnn_tiny", "0")}  # the file holds the whole folder
    before = (root / "results.csv").read_bytes()
    report = run_benchmark(suite, root, seeds=[0, 1], minutes=0, **QUICK)
    assert report.left == 3 and (root / "results.csv").read_bytes() == before


def test_other_settings_are_refused_before_anything_is_done(done):
    _, root, _ = done
    files = {path: path.stat().st_mtime_ns for path in root.rglob("*.*")}
    other = _toy_suite.make_suite(root.parent, "optim.epochs=1")
    with pytest.raises(TrainingError, match=r"holds a run of other settings \(optim\). Give another folder"):
        run_benchmark(other, root, seeds=[0], **QUICK)
    text = _toy_suite.SUITE.replace('{ dataset = "toy" }', '{ dataset = "toy", num_workers = 1, missing = true }', 1)
    (root.parent / "other.toml").write_text(text, encoding="utf-8")
    with pytest.raises(TrainingError, match=r"other settings \(data\)"):  # of other models too: they share a table
        run_benchmark(load_suite(root.parent / "other.toml"), root, models=["eegnet_tiny"], seeds=[0], **QUICK)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*.*") if path.name != "other.toml"} == files


def test_a_second_process_is_refused_and_writes_nothing(tmp_path):
    root = tmp_path / "runs"
    root.mkdir()
    suite = _toy_suite.make_suite(tmp_path)
    with locked(root), pytest.raises(TrainingError, match=r"another process is training there\. Wait"):
        run_benchmark(suite, root, seeds=[0], **QUICK)
    assert {path.name for path in root.iterdir()} == {".lock"}


def test_a_kill_in_the_middle_of_a_run_changes_nothing(done, tmp_path):
    _, whole, _ = done
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    # One fold serves 24 windows to the statistics and 24 in each of two epochs: this is in the second fold's second.
    script = [sys.executable, _toy_suite.__file__, str(tmp_path), str(tmp_path / "runs"), "130"]
    killed = subprocess.run(script, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    states = sorted(path.name for path in (tmp_path / "runs/folds/dgcnn_tiny").glob("fold-*/seed-0/state-*"))
    assert states == ["state-0001"]
    suite = _toy_suite.make_suite(tmp_path)
    report = run_benchmark(suite, tmp_path / "runs", models=["dgcnn_tiny"], seeds=[0], **QUICK)
    assert not report.failed

    def told(root):
        changing = ("seconds", "command")  # the suite's file has another path
        rows = [r for r in rows_of(root) if r["model"] == "dgcnn_tiny"]
        return [{key: value for key, value in row.items() if key not in changing} for row in rows]

    assert told(tmp_path / "runs") == told(whole)


def test_a_failed_run_is_recorded_and_the_rest_goes_on(tmp_path, monkeypatch):
    suite, root, real = _toy_suite.make_suite(tmp_path), tmp_path / "runs", benchmark.fit_estimator

    def no_memory(*_, **__):
        raise MemoryError("17 GB")

    monkeypatch.setattr(benchmark, "fit", no_memory)
    report = run_benchmark(suite, root, seeds=[0], folds=[2], **QUICK)
    (said,) = report.failed.items()
    assert said[0] == "dgcnn_tiny on folds, fold 2, seed 0" and "MemoryError: 17 GB" in said[1]
    rows = rows_of(root)
    (failed,) = [row for row in rows if row["status"] != "finished"]
    assert failed["status"].startswith("failed: ") and failed["value"] == "" and failed["fold"] == "2"
    assert [r["model"] for r in rows if r["metric"] == "auroc"] == ["band_power_lr"]
    assert "17 GB" in report.markdown
    monkeypatch.setattr(benchmark, "fit", lambda recipe, folder, **k: real("svm_de", recipe, folder, seed=k["seed"]))
    assert not run_benchmark(suite, root, seeds=[0], folds=[2], **QUICK).failed  # it is tried again
    assert {row["status"] for row in rows_of(root)} == {"finished"}


def test_a_data_set_that_is_not_there(tmp_path):
    suite = _toy_suite.make_suite(tmp_path)
    with pytest.raises(DataError, match="toy: there is no folder"):
        run_benchmark(suite, tmp_path / "gone", datasets=["gone"], seeds=[0], **QUICK)
    asked = {"models": ["band_power_lr"], "datasets": ["gone", "folds"], "seeds": [0]}
    both = run_benchmark(suite, tmp_path / "runs", **asked, **QUICK)
    assert len(both.failed) == 1 and both.left == 0
    assert {row["dataset"] for row in rows_of(tmp_path / "runs") if row["status"] == "finished"} == {"folds"}
    with pytest.raises(ConfigError, match="minutes"):
        run_benchmark(suite, tmp_path / "runs", minutes=-1.0, **QUICK)


def write_run(root, model, seed, predictions, *, paper=None, fold=0, folds=1):
    folder = root / f"eav-toy/{model}/fold-{fold}/seed-{seed}"
    folder.mkdir(parents=True)
    about = {"model": model, "dataset": "eav-toy", "modalities": ["eeg"], "title": "A toy EAV", "description": "A toy."}
    write_sealed(
        folder / ABOUT, {**about, "paper": paper, "fold": fold, "folds": folds, "seed": seed, "config": {"data": {}}}
    )
    result = {
        "parameters": 1234,
        "selection": {"metric": "uar", "epoch": 2, "value": 0.5},
        "seconds": 10.0 + seed,
        "versions": {"python": "3"},
        "commit": "abc",
        "command": f"evermodels benchmark --models {model} --seeds {seed}",
        "validation": {"uar": 0.5, "samples": 3},
        "split": {"validation": {"person": ["v"]}},
    }
    write_sealed(folder / "result.json", result)
    predictions.save(folder / "predictions.npz")


PEOPLE = {"person": np.array(["a", "a", "a", "b", "b", "b"])}
LABEL = np.array([0, 0, 1, 0, 0, 1])


def answers(*classes):
    return Predictions(2.0 * np.eye(2)[list(classes)], LABEL, PEOPLE)


def test_the_table_by_hand(tmp_path):
    # seed 0: recalls 3/4 and 1/2, seed 1: 4/4 and 1/2
    write_run(tmp_path, "crossformer_tiny", 0, answers(0, 0, 1, 0, 1, 0), paper="eav")
    write_run(tmp_path, "crossformer_tiny", 1, answers(0, 0, 1, 0, 0, 0), paper="eav")
    write_run(tmp_path, "svm_de", 0, answers(0, 0, 1, 0, 0, 1), paper="eav")
    results = Results(tmp_path)
    results.write(resamples=200)
    head, _, *body = results.markdown.splitlines()[4:8]
    columns = [cell.strip() for cell in head.strip("|").split("|")]
    first, second = ([cell.strip() for cell in line.strip("|").split("|")] for line in body)
    ours = dict(zip(columns, second, strict=True))
    assert first[0].replace("\\", "") == "svm_de" and dict(zip(columns, first, strict=True))["gap"] == ""
    assert ours["Param"] == "1,234" and ours["seeds"] == "2" and ours["s a run"] == "10"
    assert ours["Acc"] == "0.750 ± 0.118"  # 4/6 and 5/6
    assert ours["UAR"] == "0.688 ± 0.088"  # 0.625 and 0.75
    # weighted F1: seed 0 2/3 · 3/4 + 1/3 · 1/2, seed 1 2/3 · 8/9 + 1/3 · 2/3
    assert ours["W-F1"] == "0.741 ± 0.105"
    # person a is right in both seeds, person b 1/4 and 1/2: mean 0.375
    assert ours["UAR by person"] == f"{(1 + 0.375) / 2:.3f} ± {np.std([1, 0.375], ddof=1):.3f}"
    assert ours["UAR 95 %"] == "[0.375, 1.000]"
    assert ours["paper: Acc / UAR / W-F1"] == "0.358 / 0.358 / 0.345"
    assert ours["gap"] == f"+{0.75 - 0.358:.3f} / +{0.6875 - 0.358:.3f} / +{0.740741 - 0.345:.3f}"
    assert "**1.000**" in body[0]
    again = benchmark_table(rows_of(tmp_path), "eav-toy", paper="eav")
    assert again.splitlines()[:4] == results.markdown.splitlines()[4:8]  # the file is enough


def test_folds_are_joined_and_unfinished_ones_said(tmp_path):
    whole = answers(0, 0, 1, 0, 1, 0)
    for fold, person in enumerate("ab"):
        write_run(tmp_path, "mbsm_tiny", 0, whole.take(PEOPLE["person"] == person), fold=fold, folds=2)
    write_run(tmp_path, "eegnet_tiny", 0, whole.take(PEOPLE["person"] == "a"), fold=0, folds=2)
    results = Results(tmp_path)
    results.write(resamples=20)
    (row,) = [r for r in rows_of(tmp_path) if (r["fold"], r["seed"], r["metric"]) == ("all", "0", "uar")]
    assert float(row["value"]) == 0.625 and row["n"] == "6"
    assert "Not all folds of a seed are finished: eegnet" in results.markdown


def test_areas_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    label, logits = rng.integers(0, 3, 60), rng.integers(-2, 3, (60, 3)).astype(float)  # with ties
    two = Predictions(logits[:, :2], label % 2)
    odds = logits[:, 1] - logits[:, 0]
    assert auroc(two) == pytest.approx(roc_auc_score(label % 2, odds))
    assert auc_pr(two) == pytest.approx(average_precision_score(label % 2, odds))
    three = Predictions(rng.standard_normal((60, 3)), label)
    assert auroc(three) == pytest.approx(roc_auc_score(label, three.probabilities, multi_class="ovr"))
    assert auc_pr(three) == pytest.approx(
        np.mean([average_precision_score(label == k, three.probabilities[:, k]) for k in range(3)])
    )
    sure = Predictions(np.array([[0.0, 900.0], [0.0, 800.0]]), np.array([1, 0]))  # probabilities end at 1
    assert auroc(sure) == 1.0
    assert np.isnan(auroc(Predictions(logits[:3], np.zeros(3, dtype=int))))
