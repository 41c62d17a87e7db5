"""evermodels predict and demo."""

from __future__ import annotations

import csv
import os
import shutil

import numpy as np
import pytest
import torch

import evermodels as em
from evermodels import demo, samples
from evermodels.core.errors import CheckpointError
from evermodels.core.specs import AudioSpec, InputSpec
from tests.cli.conftest import CLASSES

REST = samples.path("eegmat_subject33_rest.edf")


def test_predict_writes_table_and_page(run, checkpoint, tmp_path):
    table, page = tmp_path / "table.csv", tmp_path / "page.html"
    code, out, err = run("predict", "--model", checkpoint, "--eeg", REST, "--csv", table, "--out", page)
    assert code == 0 and "mean" in out and str(page) in out
    assert err == ""  # no bar where stderr is no terminal
    with table.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 6 and list(rows[0]) == ["start", "stop", "top", *(f"p({c})" for c in CLASSES), "absent"]
    assert sum(float(rows[0][f"p({name})"]) for name in CLASSES) == pytest.approx(1, abs=1e-5)
    assert {row["absent"] for row in rows} == {"video"}
    assert "<h2>Result</h2>" in page.read_text("utf-8")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["page.html", "table.csv"]


def test_predict_for_the_channels_that_there_are(run, checkpoint, tmp_path):
    predict, page = ("predict", "--model", checkpoint, "--eeg", REST), tmp_path / "page.html"
    code, out, _ = run(*predict, "--ch-names", "F7,F3,T3,P7,O1,O2,P8,T8,F4,EEG F8", "--out", page)
    assert code == 0 and "interpolated: 9 of the model's 19 channels: Fp1, Fp2, C3" in out
    assert "<dt>interpolated</dt>" in page.read_text("utf-8")
    code, own, _ = run(*predict, "--ch-names", "EEGMAT")
    assert code == 0 and own == run(*predict)[1] and "interpolated" not in own


def test_predict_compares_with_a_baseline(run, tmp_path):
    torch.manual_seed(0)
    model = em.create_model("ever_tiny", input_spec={"eeg": {"whiten": True, "baseline": "rest"}})
    model.classes = CLASSES
    minute = samples.path("eegmat_subject33_baseline.edf")
    predict = ("predict", "--model", model.save_pretrained(tmp_path / "mine"), "--eeg")
    code, out, err = run(*predict, REST, "--baseline", minute)
    assert code == 0 and "warning" not in err and " 0.0- 5.0" in out
    code, alone, err = run(*predict, REST)
    assert code == 0 and alone != out and "a minute of rest" in err and "--baseline" in err
    code, out, err = run(*predict, minute, "--baseline", "0-45.5")
    assert code == 0 and "50.0-55.0" in out and "45.0-50.0" not in out
    code, _, err = run(*predict, REST, "--baseline", tmp_path / "nothing.edf")
    assert code == 2 and "nothing.edf" in err
    code, _, err = run(*predict, REST, "--baseline", REST, minute)
    assert code == 2 and "one recording of rest, not with several of all states; got 2" in err
    code, _, err = run(*predict, REST, "--baseline", "0-60", minute)
    assert code == 2 and "expected one START-STOP, or files" in err


def test_predict_compares_with_recordings_of_all_states(run, tmp_path):
    torch.manual_seed(0)
    model = em.create_model("ever_tiny", input_spec={"eeg": {"whiten": True}})
    model.classes = CLASSES
    predict = ("predict", "--model", model.save_pretrained(tmp_path / "mine"), "--eeg", REST)
    both = ("--baseline", REST, samples.path("eegmat_subject33_arithmetic.edf"))
    code, out, err = run(*predict, *both)
    assert code == 0 and "alone" not in err
    code, alone, err = run(*predict)
    assert (
        code == 0
        and alone != out
        and "evermodels: warning: eeg: The model compares EEG with recordings of this person" in err
        and "--baseline" in err
    )
    code, itself, _ = run(*predict, "--baseline", REST)
    assert code == 0 and itself == alone
    code, _, err = run(*predict, "--baseline", tmp_path / "nothing.edf")
    assert code == 2 and "nothing.edf" in err


def test_a_baseline_for_a_model_that_takes_none(run, checkpoint):
    code, _, err = run("predict", "--model", checkpoint, "--eeg", REST, "--baseline", REST)
    assert code == 2 and "baseline: the model's input spec" in err and "whiten=False" in err


def test_predict_reads_a_folder_of_pictures(checkpoint, tmp_path, run):
    for second in range(10):
        shutil.copy(samples.folder("faces") / "129_smiling.jpg", tmp_path / f"{second:02d}.jpg")
    code, out, err = run(
        "predict", "--model", checkpoint, "--eeg", REST, "--video", tmp_path, "--fps", 1, "--overlap", 0.5
    )
    assert code == 0 and len(out.splitlines()) == 5 and "absent" not in out  # head, three windows of 5 s in 10 s, mean
    assert "evermodels: warning:" in err and "left out" in err


VIDEO = {
    "a window of another length": (["--window-seconds", 2], 3),
    "windows that overlap": (["--window-seconds", 2, "--overlap", 0.5], 5),
}


@pytest.mark.parametrize("name", VIDEO)
def test_predict_from_a_short_video(name, run, checkpoint, tmp_path):
    arguments, windows = VIDEO[name]
    for second in range(6):
        shutil.copy(samples.folder("faces") / "129_smiling.jpg", tmp_path / f"{second:02d}.jpg")
    predict = ("predict", "--model", checkpoint, "--video", tmp_path, "--fps", 1)
    code, out, _ = run(*predict, *arguments)
    lines = out.splitlines()
    assert code == 0 and lines[1].startswith(" 0.0- 2.0") and len(lines) == windows + 3
    assert lines[-1] == "eeg: absent, the model answers from the rest"


def test_predict_from_whole_pictures_that_begin_later(run, checkpoint, tmp_path):
    from PIL import Image

    for second in range(20):
        Image.new("RGB", (64, 64), (10 * second, 90, 90)).save(tmp_path / f"{second:02d}.png")
    predict = ("predict", "--model", checkpoint, "--eeg", REST, "--video", tmp_path, "--fps", 1)
    code, _, err = run(*predict)
    assert code == 2 and "face" in err
    code, out, _ = run(*predict, "--whole-picture", "--start", "video=5")
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


def test_demo_with_the_bundled_checkpoint(run, tmp_path):
    if demo.MODEL not in em.list_models(pretrained=True):
        message = f"{demo.MODEL} is not bundled"
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(message)
        pytest.skip(message)
    page = tmp_path / "demo.html"
    code, out, _ = run("demo", "--out", page)
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
