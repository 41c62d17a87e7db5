"""finetune, benchmark and evaluate pass their arguments on."""

from __future__ import annotations

from pathlib import Path

import evermodels as em
from evermodels import samples, training
from evermodels.core.errors import SignalError

REST = samples.path("eegmat_subject33_rest.edf")


def test_finetune_passes_its_arguments_on(run, monkeypatch, tmp_path):
    seen = {}

    def finetune(recipe, run_dir, **settings):
        seen.update(recipe=recipe, run_dir=run_dir, **settings)
        return {"row": settings["row"]}

    monkeypatch.setattr(training, "finetune", finetune, raising=False)
    monkeypatch.setattr(
        training, "format_result", lambda result, folders: f"row {result['row']} {folders}", raising=False
    )
    code, out, _ = run(
        *("finetune", "--recipe", "ever_tiny_quadrant", "--seed", 3, "--row", "eeg", "--data", tmp_path),
        *("--set", "optim.epochs=2", "--set", "optim.lr.rest=1e-3", "--restart"),
    )
    assert code == 0 and out.splitlines()[0] == f"row eeg {{'data': {tmp_path!r}, 'run-dir': None}}"
    assert seen["recipe"].optim.epochs == 2 and seen["recipe"].optim.lr["rest"] == 1e-3
    assert seen["run_dir"] == Path("runs/ever_tiny_quadrant") and seen["data_root"] == tmp_path
    assert (seen["seed"], seen["row"], seen["resume"]) == (3, "eeg", False)
    assert out.splitlines()[1] == f"model: {Path('runs/ever_tiny_quadrant/eeg/seed-3/model')}"


def test_benchmark_passes_its_arguments_on(run, monkeypatch, tmp_path):
    seen = {}

    def run_rows(recipe, run_dir, **settings):
        seen.update(run_dir=run_dir, **settings)
        return {"markdown": "| table |"}

    monkeypatch.setattr(training, "run_rows", run_rows, raising=False)
    words = ("benchmark", "--recipe", "ever_tiny_quadrant", "--seeds", "0, 2", "--rows", "eeg,ever")
    code, out, _ = run(*words, "--run-dir", tmp_path)
    assert code == 0 and out == "| table |\n"
    assert (seen["run_dir"], seen["seeds"], seen["rows"]) == (tmp_path, (0, 2), ("eeg", "ever"))


def test_benchmark_of_a_suite_passes_its_arguments_on(run, monkeypatch, tmp_path):
    seen = {}

    def run_benchmark(suite, run_dir, **settings):
        seen.update(suite=suite.name, run_dir=run_dir, epochs=suite.optim["epochs"], **settings)
        failed = {"dgcnn_tiny on eegmat-1, fold 0, seed 0": "no memory"}
        return training.BenchmarkReport("| table |", failed, 2, ("a takes b",), (tmp_path / "results.csv",))

    monkeypatch.setattr(training, "run_benchmark", run_benchmark, raising=False)
    words = "benchmark --models dgcnn_tiny,svm_de --datasets eegmat-1,faces --seeds 0-2,4 --folds 0 --minutes 1.5"
    code, out, err = run(*words.split(), "--set", "optim.epochs=3", "--data", tmp_path, "--resamples", 50)
    assert code == 1 and out == "| table |\n"
    assert err.splitlines() == [
        "evermodels: left out: a takes b.",
        "evermodels: failed: dgcnn_tiny on eegmat-1, fold 0, seed 0: no memory",
        "evermodels: 2 runs are left; the same command goes on.",
        f"evermodels: {tmp_path / 'results.csv'}",
    ]
    assert (seen["suite"], seen["run_dir"], seen["epochs"]) == ("unified", Path("runs/unified"), 3)
    assert (seen["models"], seen["datasets"]) == (("dgcnn_tiny", "svm_de"), ("eegmat-1", "faces"))
    assert (seen["seeds"], seen["folds"], seen["minutes"]) == ((0, 1, 2, 4), (0,), 1.5)
    assert (seen["data_root"], seen["resamples"]) == (tmp_path, 50)
    run("benchmark", "--suite", "eeg_models", "--run-dir", tmp_path)
    assert (seen["suite"], seen["run_dir"], seen["models"], seen["seeds"]) == ("eeg_models", tmp_path, None, None)


def test_evaluate_prints_intervals(monkeypatch, checkpoint, run):
    def evaluate_checkpoint(model, recipe, **settings):
        assert settings["part"] == "validation" and model == str(checkpoint)
        ends = {"value": 0.5, "low": 0.4, "high": 0.6}
        per = {"mean": 0.55, "std": 0.1, "uar": {"30": 0.45, "31": 0.65}}
        return {"samples": 8, "uar": 0.5, "intervals": {"uar": ends}, "per_person": {"speaker": per}}

    monkeypatch.setattr(training, "evaluate_checkpoint", evaluate_checkpoint, raising=False)
    code, out, _ = run("evaluate", "--recipe", "ever_tiny_quadrant", "--model", checkpoint, "--part", "validation")
    assert code == 0 and "0.500 [0.400, 0.600]" in out and "0.550 ± 0.100 (2 people)" in out


def test_evaluate_a_model_of_another_montage(run, monkeypatch, checkpoint):
    from evermodels.datasets.quadrant_parts import QuadrantSettings
    from evermodels.signals.eeg.read import MissingChannelsError

    seen = []

    def parts(settings, spec, **_):
        seen.append(spec.eeg.ch_names)
        raise MissingChannelsError("ch_names: the recording has no AF3.", ["Fz", "Cz"])

    monkeypatch.setattr(QuadrantSettings, "parts", parts)
    evaluate = ("evaluate", "--recipe", "ever_tiny_quadrant", "--model", checkpoint)
    code, _, err = run(*evaluate, "--ch-names", "epoc")
    assert code == 2 and "no AF3" in err and "ch_names=['Fz', 'Cz']" in err and "--ch-names" in err
    assert seen == [em.montage.preset("epoc")]
    own = list(em.montage.preset("eegmat")[:12])

    def some(settings, spec, **_):
        seen.append(spec.eeg.ch_names)
        if len(spec.eeg.ch_names) > len(own):
            raise MissingChannelsError("ch_names: the recording has no Pz.", own)
        raise SignalError("far enough")

    monkeypatch.setattr(QuadrantSettings, "parts", some)
    code, _, err = run(*evaluate, "--ch-names", "auto")
    assert code == 2 and "far enough" in err and seen[1:] == [em.montage.preset("eegmat"), tuple(own)]
