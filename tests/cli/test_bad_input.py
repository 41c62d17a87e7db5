"""Wrong arguments and files at the command line: one line, exit status 2, nothing written."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

import evermodels as em
from evermodels import demo, samples
from evermodels.core.errors import SignalError

REST = samples.path("eegmat_subject33_rest.edf")


def cut_edf(folder: Path) -> Path:
    path = folder / "damaged.edf"
    path.write_bytes(REST.read_bytes()[:-40_000])
    return path


def few_channels(folder: Path) -> Path:
    mne = pytest.importorskip("mne")
    info = mne.create_info(["Fz", "Cz"], 250.0, "eeg")
    path = folder / "few_raw.fif"
    mne.io.RawArray(1e-5 * np.random.default_rng(0).normal(size=(2, 5000)), info, verbose="ERROR").save(
        path, verbose="ERROR"
    )
    return path


def empty(folder: Path) -> Path:
    path = folder / "empty.mp4"
    path.write_bytes(b"")
    return path


def pickled(folder: Path) -> Path:
    path = folder / "weights.pth"
    torch.save({"a": torch.zeros(1)}, path)
    return path


BAD = {
    "no input": (["predict", "--model", "{model}"], "Give at least one of --eeg FILE, --video FILE"),
    "a flag without its recording": (
        ["predict", "--model", "{model}", "--eeg", str(REST), "--fps", "5"],
        "--fps: it is for --video, and there is none",
    ),
    "a start twice": (
        ["predict", "--model", "{model}", "--eeg", str(REST), "--start", "eeg=5", "--start", "eeg=6"],
        "--start eeg=: given twice",
    ),
    "a start without an end": (
        ["predict", "--model", "{model}", "--eeg", str(REST), "--start", "eeg=inf"],
        "start: expected",
    ),
    "missing file": (["predict", "--model", "{model}", "--eeg", "nowhere.edf"], "nowhere.edf"),
    "missing video": (["predict", "--model", "{model}", "--video", "nowhere.mp4"], "nowhere.mp4"),
    "unknown model": (["predict", "--model", "ever_tinny", "--eeg", str(REST)], "ever_tinny"),
    "architecture": (
        ["predict", "--model", "ever_tiny", "--eeg", str(REST)],
        "ever_tiny: an architecture, which has no weights of its own; its checkpoints are: ever_tiny.quadrant",
    ),
    "unknown name": (["info", "ever_tinny"], "ever_tinny"),
    "pickle": (["info", "{pickled}"], "pickle"),
    "cut EDF": (["predict", "--model", "{model}", "--eeg", "{cut_edf}"], "cut in the middle"),
    "channels missing": (["predict", "--model", "{model}", "--eeg", "{few_channels}"], "Fp1"),
    "other channels": (["predict", "--model", "{model}", "--eeg", str(REST), "--ch-names", "muse"], "min_real=0.0"),
    "no channel": (["predict", "--model", "{model}", "--eeg", str(REST), "--ch-names", "Cz,ECG"], "'ECG'"),
    "empty video": (["predict", "--model", "{model}", "--video", "{empty}"], "empty.mp4"),
    "overlap": (["predict", "--model", "{model}", "--eeg", str(REST), "--overlap", "1"], "overlap"),
    "batch size": (["predict", "--model", "{model}", "--eeg", str(REST), "--batch-size", "0"], "batch_size"),
    "device": (["predict", "--model", "{model}", "--eeg", str(REST), "--device", "warp"], "device"),
    "no folder": (["predict", "--model", "{model}", "--eeg", str(REST), "--out", "no/where.html"], "--out"),
    "page and table in one file": (
        ["predict", "--model", "{model}", "--eeg", str(REST), "--out", "x.csv", "--csv", "./x.csv"],
        "--out and --csv: both name 'x.csv'",
    ),
    "said of another modality": (["info", str(REST), "--fps", "3"], "--fps: said of video, and"),
    "channels without a model": (["info", str(REST), "--ch-names", "auto"], "--ch-names: what a model does with"),
    "revision of an architecture": (["info", "ever_tiny", "--revision", "main"], "--revision: of checkpoints, and"),
    "demo folder": (["demo", "--out", "no/where.html"], "--out: the folder"),
    "modality": (["list", "--modality", "smell"], "modality"),
    "recipe": (["finetune", "--recipe", "nothing"], "recipe: 'nothing' does not exist"),
    "row": (["finetune", "--recipe", "ever_tiny_quadrant", "--row", "nothing"], "row"),
    "folds of a recipe": (
        ["finetune", "--recipe", "ever_tiny_quadrant", "--fold", "1"],
        "--fold: it goes with a manifest, and this is a recipe",
    ),
    "channels of a recipe": (
        ["finetune", "--recipe", "ever_tiny_quadrant", "--ch-names", "epoc"],
        "--ch-names: it goes with a manifest, and this is a recipe",
    ),
    "override": (["finetune", "--recipe", "ever_tiny_quadrant", "--set", "optim.epochz=3"], "epochz"),
    "a suite and a recipe": (
        ["benchmark", "--recipe", "ever_tiny_quadrant", "--datasets", "faces"],
        "--datasets: it goes with a suite, and this is a recipe",
    ),
    "rows of a suite": (["benchmark", "--suite", "pairs", "--rows", "ever"], "--rows: it goes with a recipe"),
    "no such suite": (["benchmark", "--suite", "eeg_model"], "Did you mean 'eeg_models'"),
    "nothing to compare": (["benchmark", "--models", "ever_tiny", "--datasets", "faces"], "none goes with another"),
    "no recordings": (
        ["benchmark", "--models", "svm_de", "--datasets", "eegmat-1", "--data", "nowhere", "--run-dir", "runs"],
        "nowhere/eegmat",
    ),
    "no value": (["benchmark", "--recipe", "ever_tiny_quadrant", "--set", "optim.epochs"], "key=value"),
    "no data": (
        ["evaluate", "--recipe", "ever_tiny_quadrant", "--model", "{model}", "--data", "nowhere"],
        "nowhere",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_and_exit_code_2(name, run, checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments, message = BAD[name]
    makers = {"{model}": lambda _: checkpoint}
    makers |= {f"{{{make.__name__}}}": make for make in (cut_edf, few_channels, empty, pickled)}
    arguments = [str(makers[a](tmp_path)) if a in makers else a for a in arguments]
    before = sorted(tmp_path.iterdir())
    code, _, err = run(*arguments)
    lines = [line for line in err.splitlines() if not line.startswith("evermodels: warning:")]
    assert code == 2 and message in err
    assert len(lines) == 1 and lines[0].startswith("evermodels: ") and "Traceback" not in err
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fly"],
        ["list", "--unknown"],
        ["predict"],
        ["predict", "--model", "x", "--overlap", "much"],
        ["predict", "--model", "x", "--eeg", "a.edf", "--start", "smell=1"],
        ["predict", "--model", "x", "--eeg", "a.edf", "--ch-names", " , "],
        ["predict", "--model", "x", "--eeg", "a.edf", "--start", "eeg=soon"],
        ["demo", "--ou", "x"],  # flags are not guessed from their beginnings
        ["benchmark", "--recipe", "x", "--seeds", "one"],
        ["benchmark", "--recipe", "x", "--resamples", "0"],
        ["benchmark"],
        ["benchmark", "--suite", "x", "--seeds", "0-"],
        ["benchmark", "--suite", "x", "--minutes", "soon"],
        ["evaluate", "--recipe", "x", "--model", "x", "--batch-size", "0"],
        ["finetune"],
    ],
)
def test_bad_flags_show_the_usage(arguments, run):
    code, out, err = run(*arguments)
    assert code == 2 and out == "" and err.startswith("usage: evermodels")


def test_a_bad_flag_shows_the_usage_of_its_command(run):
    code, _, err = run("predict", "--model", "x", "--egg", "a.edf")
    assert code == 2 and err.startswith("usage: evermodels predict ") and "Did you mean '--eeg' or '--eye'?" in err


def test_an_option_that_is_given_twice_is_refused(run, checkpoint):
    code, out, err = run("predict", "--model", checkpoint, "--eeg", REST, "--eeg", REST)
    assert code == 2 and out == "" and "--eeg: given twice" in err
    # those that collect are not
    code, _, err = run(*"finetune --recipe nothing --set a=1 --set b=2".split())
    assert code == 2 and "given twice" not in err and "'nothing' does not exist" in err


def test_foreign_text_cannot_act_on_the_terminal(run, monkeypatch):
    from evermodels import facts

    monkeypatch.setattr(facts, "describe", lambda _: {"scores": "a\x1b]0;title\x07", "not_this": ["b\x1b[2J\nc"]})
    code, out, _ = run("info", "ever_tiny")
    assert code == 0 and "\x1b" not in out and "\x07" not in out and r"b\u001b[2J c" in out
    monkeypatch.setattr(em, "list_models", lambda *_, **__: (_ for _ in ()).throw(SignalError("a\x1b[31m")))
    assert run("list") == (2, "", "evermodels: a\\u001b[31m\n")


def test_a_warning_is_said_once(run, monkeypatch):
    def warn(*_, **__):
        for text in ("one", "two", "one"):
            warnings.warn(text, stacklevel=1)
        return ["ever_tiny"]

    monkeypatch.setattr(em, "list_models", warn)
    _, _, err = run("list")
    assert err == "evermodels: warning: one\nevermodels: warning: two\n"


def test_control_c(run, monkeypatch, tmp_path):
    monkeypatch.setattr(demo, "run", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    assert run("demo", "--out", tmp_path / "x.html") == (130, "", "evermodels: interrupted\n")


def test_an_error_of_ours_keeps_its_lines(run, monkeypatch):
    monkeypatch.setattr(em, "list_models", lambda *_, **__: (_ for _ in ()).throw(SignalError("one\n  two")))
    assert run("list") == (2, "", "evermodels: one\n  two\n")


def test_a_fault_of_the_program_is_not_hidden(run, monkeypatch):
    monkeypatch.setattr(em, "list_models", lambda *_, **__: (_ for _ in ()).throw(ZeroDivisionError))
    with pytest.raises(ZeroDivisionError):
        run("list")


def test_a_wrong_pair_says_what_is_expected(run):
    code, _, err = run("info", "eye.csv", "--modality", "eye", "--columns", "pupil")
    assert code == 2 and "expected NAME=VALUE, separated by commas, got 'pupil'" in err


def test_entry_point():
    script = Path(sys.executable).with_name("evermodels")
    command = [str(script)] if script.is_file() else [sys.executable, "-c", "import evermodels.cli as c; c.main()"]
    done = subprocess.run([*command, "list", "ever_tiny"], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout.startswith("ever_tiny  system") and done.stderr == ""


def test_a_reader_that_goes_away_is_no_error():
    code = "import sys, evermodels.cli as c; sys.exit(c.main(['list']))"
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as gone:
        done = subprocess.run([sys.executable, "-u", "-c", code], stdout=gone, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 0 and done.stderr == b""
