from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

import evermodels as em
from evermodels import cli, demo, samples, training
from evermodels.checkpoints.table import lookup
from evermodels.core.errors import CheckpointError, SignalError
from evermodels.core.specs import AudioSpec, InputSpec

REST = samples.path("eegmat_subject33_rest.edf")
CLASSES = tuple(sorted({p.truth for p in demo.PARTS} | {"rest & smiling", "arithmetic & neutral"}))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    model = em.create_model("ever_tiny")
    model.classes = CLASSES
    return model.save_pretrained(tmp_path_factory.mktemp("checkpoints") / "mine")


def run(capsys, *arguments: object) -> tuple[int, str, str]:
    code = cli.main([str(a) for a in arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_version(capsys):
    assert run(capsys, "--version") == (0, f"evermodels {em.__version__}\n", "")


def test_list(capsys):
    code, out, _ = run(capsys, "list")
    assert code == 0 and [line.split()[0] for line in out.splitlines()] == em.list_models()
    code, out, _ = run(capsys, "list", "videomae_*", "--kind", "backbone")
    assert code == 0 and [line.split()[0] for line in out.splitlines()] == em.list_models("videomae_*")


def test_list_pretrained(capsys):
    code, out, _ = run(capsys, "list", "--pretrained")
    assert code == 0 and [line for line in out.splitlines() if line[0] != " "] == em.list_models(pretrained=True)
    for name in em.list_models(pretrained=True):
        row = lookup(name)
        block = " ".join(out.partition(f"{name}\n")[2].split())
        size = f"size {sum(file.size for file in row.files.values()) / 1e6:.1f} MB"
        for fact in (size, f"data {row.data}", f"protocol {row.protocol}", f"score {row.score}", row.licence):
            assert fact in block


def test_list_without_a_match_says_so(capsys):
    code, out, err = run(capsys, "list", "nothing*")
    assert code == 0 and out == "" and "no model matches 'nothing*'" in err and err.count("\n") == 1
    code, out, err = run(capsys, "list", "ever")
    assert code == 0 and out == "" and "'*ever*') finds ever_base, ever_paper" in err
    code, out, err = run(capsys, "list", "quadrant", "--pretrained")
    assert code == 0 and out == "" and "'*quadrant*') finds ever_tiny.quadrant" in err


def test_info(capsys, checkpoint):
    code, out, _ = run(capsys, "info", "ever_tiny")
    assert code == 0 and "system" in out and "19 channels" in out and "random" not in out
    count = sum(p.numel() for p in em.create_model("ever_tiny").parameters())
    assert f"{count:,}" in out
    code, out, _ = run(capsys, "info", checkpoint)
    assert code == 0 and "rest & neutral" in out and "checkpoint" in out


def test_predict_writes_table_and_page(capsys, checkpoint, tmp_path):
    table, page = tmp_path / "table.csv", tmp_path / "page.html"
    code, out, err = run(capsys, "predict", "--model", checkpoint, "--eeg", REST, "--csv", table, "--out", page)
    assert code == 0 and "mean" in out and str(page) in out
    assert err == ""  # no bar where stderr is no terminal
    with table.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 6 and list(rows[0]) == ["start", "stop", "top", *(f"p({c})" for c in CLASSES), "absent"]
    assert sum(float(rows[0][f"p({name})"]) for name in CLASSES) == pytest.approx(1, abs=1e-5)
    assert {row["absent"] for row in rows} == {"video"}
    assert "<h2>Result</h2>" in page.read_text("utf-8")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["page.html", "table.csv"]


def test_predict_for_the_channels_that_there_are(capsys, checkpoint, tmp_path):
    predict, page = ("predict", "--model", checkpoint, "--eeg", REST), tmp_path / "page.html"
    code, out, _ = run(capsys, *predict, "--ch-names", "F7,F3,T3,P7,O1,O2,P8,T8,F4,EEG F8", "--out", page)
    assert code == 0 and "interpolated: 9 of the model's 19 channels: Fp1, Fp2, C3" in out
    assert "<dt>interpolated</dt>" in page.read_text("utf-8")
    code, own, _ = run(capsys, *predict, "--ch-names", "EEGMAT")
    assert code == 0 and own == run(capsys, *predict)[1] and "interpolated" not in own


def test_predict_compares_with_a_baseline(capsys, tmp_path):
    torch.manual_seed(0)
    model = em.create_model("ever_tiny", input_spec={"eeg": {"whiten": True, "baseline": "rest"}})
    model.classes = CLASSES
    minute = samples.path("eegmat_subject33_baseline.edf")
    predict = ("predict", "--model", model.save_pretrained(tmp_path / "mine"), "--eeg")
    code, out, err = run(capsys, *predict, REST, "--baseline", minute)
    assert code == 0 and "warning" not in err and " 0.0- 5.0" in out
    code, alone, err = run(capsys, *predict, REST)
    assert code == 0 and alone != out and "a minute of rest" in err and "--baseline" in err
    code, out, err = run(capsys, *predict, minute, "--baseline", "0-45.5")
    assert code == 0 and "50.0-55.0" in out and "45.0-50.0" not in out
    code, _, err = run(capsys, *predict, REST, "--baseline", tmp_path / "nothing.edf")
    assert code == 2 and "nothing.edf" in err
    code, _, err = run(capsys, *predict, REST, "--baseline", REST, minute)
    assert code == 2 and "one recording of rest, not with several of all states; got 2" in err
    code, _, err = run(capsys, *predict, REST, "--baseline", "0-60", minute)
    assert code == 2 and "expected one START-STOP, or files" in err


def test_predict_compares_with_recordings_of_all_states(capsys, tmp_path):
    torch.manual_seed(0)
    model = em.create_model("ever_tiny", input_spec={"eeg": {"whiten": True}})
    model.classes = CLASSES
    predict = ("predict", "--model", model.save_pretrained(tmp_path / "mine"), "--eeg", REST)
    both = ("--baseline", REST, samples.path("eegmat_subject33_arithmetic.edf"))
    code, out, err = run(capsys, *predict, *both)
    assert code == 0 and "alone" not in err
    code, alone, err = run(capsys, *predict)
    assert (
        code == 0
        and alone != out
        and "evermodels: warning: eeg: The model compares EEG with recordings of this person" in err
        and "--baseline" in err
    )
    code, itself, _ = run(capsys, *predict, "--baseline", REST)
    assert code == 0 and itself == alone
    code, _, err = run(capsys, *predict, "--baseline", tmp_path / "nothing.edf")
    assert code == 2 and "nothing.edf" in err


def test_a_baseline_for_a_model_that_takes_none(capsys, checkpoint):
    code, _, err = run(capsys, "predict", "--model", checkpoint, "--eeg", REST, "--baseline", REST)
    assert code == 2 and "baseline: the model's input spec" in err and "whiten=False" in err


def test_predict_reads_a_folder_of_pictures(capsys, checkpoint, tmp_path):
    for second in range(10):
        shutil.copy(samples.folder("faces") / "129_smiling.jpg", tmp_path / f"{second:02d}.jpg")
    code, out, err = run(
        capsys, "predict", "--model", checkpoint, "--eeg", REST, "--video", tmp_path, "--fps", 1, "--overlap", 0.5
    )
    assert code == 0 and len(out.splitlines()) == 5 and "absent" not in out  # head, three windows of 5 s in 10 s, mean
    assert "evermodels: warning:" in err and "left out" in err


VIDEO = {
    "a window of another length": (["--window-seconds", 2], 3),
    "windows that overlap": (["--window-seconds", 2, "--overlap", 0.5], 5),
}


@pytest.mark.parametrize("name", VIDEO)
def test_predict_from_a_short_video(name, capsys, checkpoint, tmp_path):
    arguments, windows = VIDEO[name]
    for second in range(6):
        shutil.copy(samples.folder("faces") / "129_smiling.jpg", tmp_path / f"{second:02d}.jpg")
    predict = ("predict", "--model", checkpoint, "--video", tmp_path, "--fps", 1)
    code, out, _ = run(capsys, *predict, *arguments)
    lines = out.splitlines()
    assert code == 0 and lines[1].startswith(" 0.0- 2.0") and len(lines) == windows + 3
    assert lines[-1] == "eeg: absent, the model answers from the rest"


def test_predict_from_whole_pictures_that_begin_later(capsys, checkpoint, tmp_path):
    from PIL import Image

    for second in range(20):
        Image.new("RGB", (64, 64), (10 * second, 90, 90)).save(tmp_path / f"{second:02d}.png")
    predict = ("predict", "--model", checkpoint, "--eeg", REST, "--video", tmp_path, "--fps", 1)
    code, _, err = run(capsys, *predict)
    assert code == 2 and "face" in err
    code, out, _ = run(capsys, *predict, "--whole-picture", "--start", "video=5")
    assert code == 0 and [line[:9] for line in out.splitlines()[1:-1]] == [
        " 5.0-10.0",
        "10.0-15.0",
        "15.0-20.0",
        "20.0-25.0",
    ]


def test_demo(capsys, checkpoint, tmp_path):
    page = demo.run(tmp_path / "demo.html", model=checkpoint)
    said = capsys.readouterr()
    text = page.read_text("utf-8")
    assert said.out.count("mean") == 2 and str(page) in said.out and "6/6" in said.err
    for source in samples.ATTRIBUTION.values():
        assert source.data in text and source.licence in text
    for part in demo.PARTS:
        assert part.title(("eeg", "video")) in text
    assert "not emotion recognition" in text


def test_demo_with_the_bundled_checkpoint(capsys, tmp_path):
    if demo.MODEL not in em.list_models(pretrained=True):
        message = f"{demo.MODEL} is not bundled"
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(message)
        pytest.skip(message)
    page = tmp_path / "demo.html"
    code, out, _ = run(capsys, "demo", "--out", page)
    assert code == 0 and page.is_file() and str(page) in out


@pytest.mark.parametrize(
    ("modalities", "classes", "title", "told"),
    [
        (("eeg",), ("arithmetic", "rest"), "reads a brain<", "recorded as rest<"),
        (("video",), ("smiling", "neutral"), "reads a face<", "recorded as neutral<"),
        (("eeg", "video"), ("anger", "joy"), "reads a brain and a face<", "classes are not what was recorded"),
    ],
)
def test_demo_with_any_system(capsys, tmp_path, monkeypatch, modalities, classes, title, told):
    monkeypatch.setattr("evermodels.report_pictures._address", lambda figure: "data:,")
    model = em.create_model("ever_tiny", modalities=modalities, num_classes=2)
    model.classes = classes
    text = demo.run(tmp_path / "demo.html", model=model, progress=False).read_text("utf-8")
    assert title in text and told in text and capsys.readouterr().out.count("mean") == 2
    for modality, name in (("eeg", "eegmat"), ("video", "faces")):
        assert (samples.ATTRIBUTION[name].licence in text) == (modality in modalities)
    assert ("is our invention" in text) == (len(modalities) == 2) and ("rest always" in text) == ("eeg" in modalities)


def test_demo_refuses_a_model_that_takes_nothing_of_the_sample(tmp_path):
    model = em.create_model("ever_tiny", modalities=("video",), num_classes=2)
    recognizer = em.Recognizer(model)
    recognizer.input_spec = InputSpec(window_seconds=5.0, audio=AudioSpec())
    with pytest.raises(CheckpointError, match="EEG and face video, and 'ever_tiny' takes audio"):
        next(demo.recognize(recognizer))


def test_demo_shows_the_expression_that_it_says():
    spec = em.create_model("ever_tiny").input_spec
    neutral, fps = demo.face_frames("neutral", spec)
    smiling, _ = demo.face_frames("smiling", spec)
    assert neutral.shape == smiling.shape == (96, 64, 64, 3) and fps == pytest.approx(3.2)
    # The same seed gives the same motion and light: the two differ around the mouth, in the lower half.
    last = slice(15, None, 16)
    change = np.abs(neutral[last].astype(int) - smiling[last]).mean(axis=(0, 2, 3))
    assert change[32:].mean() > change[:32].mean()
    again, _ = demo.face_frames("neutral", spec)
    assert np.array_equal(neutral, again)


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
def test_bad_input_is_one_line_and_exit_code_2(name, capsys, checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments, message = BAD[name]
    makers = {"{model}": lambda _: checkpoint}
    makers |= {f"{{{make.__name__}}}": make for make in (cut_edf, few_channels, empty, pickled)}
    arguments = [str(makers[a](tmp_path)) if a in makers else a for a in arguments]
    before = sorted(tmp_path.iterdir())
    code, _, err = run(capsys, *arguments)
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
def test_bad_flags_show_the_usage(arguments, capsys):
    code, out, err = run(capsys, *arguments)
    assert code == 2 and out == "" and err.startswith("usage: evermodels")


def test_a_bad_flag_shows_the_usage_of_its_command(capsys):
    code, _, err = run(capsys, "predict", "--model", "x", "--egg", "a.edf")
    assert code == 2 and err.startswith("usage: evermodels predict ") and "Did you mean '--eeg' or '--eye'?" in err


def test_an_option_that_is_given_twice_is_refused(capsys, checkpoint):
    code, out, err = run(capsys, "predict", "--model", checkpoint, "--eeg", REST, "--eeg", REST)
    assert code == 2 and out == "" and "--eeg: given twice" in err
    # those that collect are not
    code, _, err = run(capsys, *"finetune --recipe nothing --set a=1 --set b=2".split())
    assert code == 2 and "given twice" not in err and "'nothing' does not exist" in err


def test_foreign_text_cannot_act_on_the_terminal(capsys, monkeypatch):
    from evermodels import facts

    monkeypatch.setattr(facts, "describe", lambda _: {"scores": "a\x1b]0;title\x07", "not_this": ["b\x1b[2J\nc"]})
    code, out, _ = run(capsys, "info", "ever_tiny")
    assert code == 0 and "\x1b" not in out and "\x07" not in out and r"b\u001b[2J c" in out
    monkeypatch.setattr(em, "list_models", lambda *_, **__: (_ for _ in ()).throw(SignalError("a\x1b[31m")))
    assert run(capsys, "list") == (2, "", "evermodels: a\\u001b[31m\n")


COMMANDS = "list info demo predict finetune pretrain evaluate benchmark convert push".split()


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help(command, capsys):
    code, out, _ = run(capsys, *command.split(), "--help")
    assert code == 0 and out.startswith("usage: evermodels")


def test_a_warning_is_said_once(capsys, monkeypatch):
    def warn(*_, **__):
        for text in ("one", "two", "one"):
            warnings.warn(text, stacklevel=1)
        return ["ever_tiny"]

    monkeypatch.setattr(em, "list_models", warn)
    _, _, err = run(capsys, "list")
    assert err == "evermodels: warning: one\nevermodels: warning: two\n"


def test_control_c(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(demo, "run", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    assert run(capsys, "demo", "--out", tmp_path / "x.html") == (130, "", "evermodels: interrupted\n")


def test_an_error_of_ours_keeps_its_lines(capsys, monkeypatch):
    monkeypatch.setattr(em, "list_models", lambda *_, **__: (_ for _ in ()).throw(SignalError("one\n  two")))
    assert run(capsys, "list") == (2, "", "evermodels: one\n  two\n")


def test_a_fault_of_the_program_is_not_hidden(capsys, monkeypatch):
    monkeypatch.setattr(em, "list_models", lambda *_, **__: (_ for _ in ()).throw(ZeroDivisionError))
    with pytest.raises(ZeroDivisionError):
        run(capsys, "list")


def test_finetune_passes_its_arguments_on(capsys, monkeypatch, tmp_path):
    seen = {}

    def finetune(recipe, run_dir, **settings):
        seen.update(recipe=recipe, run_dir=run_dir, **settings)
        return {"row": settings["row"]}

    monkeypatch.setattr(training, "finetune", finetune, raising=False)
    monkeypatch.setattr(
        training, "format_result", lambda result, folders: f"row {result['row']} {folders}", raising=False
    )
    code, out, _ = run(
        capsys,
        *("finetune", "--recipe", "ever_tiny_quadrant", "--seed", 3, "--row", "eeg", "--data", tmp_path),
        *("--set", "optim.epochs=2", "--set", "optim.lr.rest=1e-3", "--restart"),
    )
    assert code == 0 and out.splitlines()[0] == f"row eeg {{'data': {tmp_path!r}, 'run-dir': None}}"
    assert seen["recipe"].optim.epochs == 2 and seen["recipe"].optim.lr["rest"] == 1e-3
    assert seen["run_dir"] == Path("runs/ever_tiny_quadrant") and seen["data_root"] == tmp_path
    assert (seen["seed"], seen["row"], seen["resume"]) == (3, "eeg", False)
    assert out.splitlines()[1] == f"model: {Path('runs/ever_tiny_quadrant/eeg/seed-3/model')}"


def test_benchmark_passes_its_arguments_on(capsys, monkeypatch, tmp_path):
    seen = {}

    def run_rows(recipe, run_dir, **settings):
        seen.update(run_dir=run_dir, **settings)
        return {"markdown": "| table |"}

    monkeypatch.setattr(training, "run_rows", run_rows, raising=False)
    code, out, _ = run(
        capsys,
        *(
            "benchmark",
            "--recipe",
            "ever_tiny_quadrant",
            "--seeds",
            "0, 2",
            "--rows",
            "eeg,ever",
            "--run-dir",
            tmp_path,
        ),
    )
    assert code == 0 and out == "| table |\n"
    assert (seen["run_dir"], seen["seeds"], seen["rows"]) == (tmp_path, (0, 2), ("eeg", "ever"))


def test_benchmark_of_a_suite_passes_its_arguments_on(capsys, monkeypatch, tmp_path):
    seen = {}

    def run_benchmark(suite, run_dir, **settings):
        seen.update(suite=suite.name, run_dir=run_dir, epochs=suite.optim["epochs"], **settings)
        failed = {"dgcnn_tiny on eegmat-1, fold 0, seed 0": "no memory"}
        return training.BenchmarkReport("| table |", failed, 2, ("a takes b",), (tmp_path / "results.csv",))

    monkeypatch.setattr(training, "run_benchmark", run_benchmark, raising=False)
    words = "benchmark --models dgcnn_tiny,svm_de --datasets eegmat-1,faces --seeds 0-2,4 --folds 0 --minutes 1.5"
    code, out, err = run(capsys, *words.split(), "--set", "optim.epochs=3", "--data", tmp_path, "--resamples", 50)
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
    run(capsys, "benchmark", "--suite", "eeg_models", "--run-dir", tmp_path)
    assert (seen["suite"], seen["run_dir"], seen["models"], seen["seeds"]) == ("eeg_models", tmp_path, None, None)


def test_evaluate_prints_intervals(capsys, monkeypatch, checkpoint):
    def evaluate_checkpoint(model, recipe, **settings):
        assert settings["part"] == "validation" and model == str(checkpoint)
        ends = {"value": 0.5, "low": 0.4, "high": 0.6}
        per = {"mean": 0.55, "std": 0.1, "uar": {"30": 0.45, "31": 0.65}}
        return {"samples": 8, "uar": 0.5, "intervals": {"uar": ends}, "per_person": {"speaker": per}}

    monkeypatch.setattr(training, "evaluate_checkpoint", evaluate_checkpoint, raising=False)
    code, out, _ = run(
        capsys, "evaluate", "--recipe", "ever_tiny_quadrant", "--model", checkpoint, "--part", "validation"
    )
    assert code == 0 and "0.500 [0.400, 0.600]" in out and "0.550 ± 0.100 (2 people)" in out


def test_evaluate_a_model_of_another_montage(capsys, monkeypatch, checkpoint):
    from evermodels.datasets.quadrant_parts import QuadrantSettings
    from evermodels.signals.eeg.read import MissingChannelsError

    seen = []

    def parts(settings, spec, **_):
        seen.append(spec.eeg.ch_names)
        raise MissingChannelsError("ch_names: the recording has no AF3.", ["Fz", "Cz"])

    monkeypatch.setattr(QuadrantSettings, "parts", parts)
    evaluate = ("evaluate", "--recipe", "ever_tiny_quadrant", "--model", checkpoint)
    code, _, err = run(capsys, *evaluate, "--ch-names", "epoc")
    assert code == 2 and "no AF3" in err and "ch_names=['Fz', 'Cz']" in err and "--ch-names" in err
    assert seen == [em.montage.preset("epoc")]
    own = list(em.montage.preset("eegmat")[:12])

    def some(settings, spec, **_):
        seen.append(spec.eeg.ch_names)
        if len(spec.eeg.ch_names) > len(own):
            raise MissingChannelsError("ch_names: the recording has no Pz.", own)
        raise SignalError("far enough")

    monkeypatch.setattr(QuadrantSettings, "parts", some)
    code, _, err = run(capsys, *evaluate, "--ch-names", "auto")
    assert code == 2 and "far enough" in err and seen[1:] == [em.montage.preset("eegmat"), tuple(own)]


def test_info_on_what_a_model_would_do_with_other_channels(capsys, checkpoint):
    info, some = ("info", REST, "--model", checkpoint), "F7,F3,T3,P7,O1,O2,P8,T8,F4,F8"
    code, out, _ = run(capsys, *info, "--ch-names", some)
    assert (
        code == 0
        and "interpolated 9 of the model's 19 channels: Fp1" in " ".join(out.split())
        and "10 of its 10" in out
    )
    code, out, _ = run(capsys, *info, "--ch-names", "auto")
    assert code == 0 and "interpolated" not in out and "19 of its 19" in out
    code, _, err = run(capsys, "info", "ever_tiny", "--ch-names", "auto")
    assert code == 2 and "go with a recording" in err


def test_a_wrong_pair_says_what_is_expected(capsys):
    code, _, err = run(capsys, "info", "eye.csv", "--modality", "eye", "--columns", "pupil")
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


def test_samples_are_small_and_attributed():
    files = [samples.path(name) for name in samples.names()]
    assert len(files) == 7 and sum(f.stat().st_size for f in files) < 1_500_000
    readme = (REST.parent / "README.md").read_text("utf-8")
    for name in samples.names():
        assert f"`{name}`" in readme
    for said in ("ODC-By 1.0", "CC BY 4.0", "Zyma", "DeBruine", "10.6084/m9.figshare.5047666", "Changes:"):
        assert said in readme


def test_samples_are_the_published_recordings(real_data):
    mne = pytest.importorskip("mne")
    for number, state in ((1, "rest"), (2, "arithmetic")):
        cut = mne.io.read_raw_edf(samples.path(f"eegmat_subject33_{state}.edf"), verbose="ERROR")
        whole = mne.io.read_raw_edf(real_data / "eegmat" / f"Subject33_{number}.edf", verbose="ERROR")
        first = int((cut.info["meas_date"] - whole.info["meas_date"]).total_seconds() * 250)
        assert cut.ch_names == whole.ch_names and cut.info["sfreq"] == 250 and cut.n_times == 7500
        assert np.array_equal(cut.get_data(), whole.get_data(start=first, stop=first + 7500))


def test_faces_of_the_demo_are_test_people(real_data):
    people = sorted({p.name[:3] for p in (real_data / "faces").glob("*_neutral.jpg")})
    assert {name[6:9] for name in samples.names() if name.startswith("faces/")} <= set(people[-17:])
