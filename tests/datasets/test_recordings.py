"""A person's own data: sessions in Python and the manifest, what they become and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from evermodels.core.errors import ConfigError, DataError
from evermodels.core.specs import EEGSpec, InputSpec, VideoSpec
from evermodels.datasets import Recordings, Segment, Session, SubjectSplit, read_manifest
from evermodels.datasets.manifest import RecordingsSettings
from evermodels.signals import EEG, Preprocessor, Video

NAMES = ["Fz", "Cz", "Pz"]
SPEC = InputSpec(window_seconds=2.0, eeg=EEGSpec(("Cz", "Pz"), 100.0))


def noise(seconds=20.0, seed=0, **more):
    data = 10 * np.random.default_rng(seed).standard_normal((3, round(200 * seconds)))
    return EEG(data, ch_names=NAMES, sfreq=200.0, unit="uV", **more)


def raw(seconds=20.0, seed=0):
    mne = pytest.importorskip("mne")
    info = mne.create_info(NAMES, 200.0, "eeg")
    made = mne.io.RawArray(noise(seconds, seed).data * 1e-6, info, verbose="ERROR")
    made.set_annotations(mne.Annotations([2.0, 10.0, 15.0], [4.0, 4.0, 1.0], ["calm", "joy", "noise"]))
    return made


def test_windows_are_those_of_the_preprocessor():
    data = Recordings(
        [Session("a", {"eeg": noise()}, label="x"), Session("b", {"eeg": noise(seed=1)}, label="y")], SPEC
    )
    want = torch.cat([Preprocessor(SPEC)(eeg=noise(seed=s)).tensors["eeg"] for s in (0, 1)])
    assert torch.equal(torch.stack([data[i]["eeg"] for i in range(len(data))]), want)
    assert data.labels.tolist() == [0] * 10 + [1] * 10 and data.classes == ("x", "y")
    assert data[12]["person"] == "b" and "present" not in data[12] and data.people == {"person": ["a", "b"]}
    assert repr(data) == "Recordings(20 windows of 2 people, x 10, y 10)"


def test_segments_set_the_windows():
    recording = noise(start=100.0)
    segments = [Segment(101.0, 106.5, "calm"), Segment(110.0, 114.0, "joy")]
    data = Recordings([Session("a", {"eeg": recording}, segments=segments)], SPEC, overlap=0.5, classes=["joy", "calm"])
    assert data.starts.tolist() == [101.0, 102.0, 103.0, 104.0, 110.0, 111.0, 112.0]
    assert data.labels.tolist() == [1, 1, 1, 1, 0, 0, 0]
    reader = Preprocessor(SPEC).readers["eeg"]
    (window,) = reader.windows(reader.prepare(recording), [103.0], 2.0)
    assert torch.equal(data[2]["eeg"], window.tensor)


def test_events_of_a_file_epochs_and_trials(tmp_path):
    mne = pytest.importorskip("mne")
    made = raw()
    made.save(tmp_path / "a_raw.fif", verbose="ERROR")
    events = {"calm": "low", "joy": "high"}
    whole = [
        Recordings([Session("a", {"eeg": source}, events=events)], SPEC) for source in (tmp_path / "a_raw.fif", made)
    ]
    for data in whole:
        assert data.starts.tolist() == [2.0, 4.0, 10.0, 12.0] and data.classes == ("high", "low")
        assert data.labels.tolist() == [1, 1, 0, 0]
    assert torch.allclose(whole[0].tensors["eeg"], whole[1].tensors["eeg"], atol=1e-3)
    cropped = made.copy().crop(1.0)  # onsets stay those of the whole recording
    assert Recordings([Session("a", {"eeg": cropped}, events=events)], SPEC).starts.tolist() == [1.0, 3.0, 9.0, 11.0]
    points = np.array([[400, 0, 1], [2000, 0, 2]])
    epochs = mne.Epochs(
        made, points, {"calm": 1, "joy": 2}, 0, 4 - 1 / 200, baseline=None, preload=True, verbose="ERROR"
    )
    array = EEG(epochs.get_data() * 1e6, ch_names=NAMES, sfreq=200.0, unit="uV", events=["calm", "joy"])
    for source in (epochs, array):
        data = Recordings([Session("a", {"eeg": source}, events=events)], SPEC)
        assert data.labels.tolist() == [1, 1, 0, 0] and len(data.tensors["eeg"]) == 4
    with pytest.raises(DataError, match="the recording has no event anger; it has calm, joy, noise"):
        Recordings([Session("a", {"eeg": made}, events={"anger": "x"})], SPEC)


def test_what_another_modality_lacks_is_absent():
    spec = SPEC.replace(video=VideoSpec(2, (8, 8), face_crop=False))
    frames = np.random.default_rng(0).integers(0, 255, (150, 16, 16, 3)).astype("uint8")
    video = Video(frames, fps=25, start=4.0)  # 4 to 10 s
    sessions = [
        Session("a", {"eeg": noise(), "video": video}, label="x"),
        Session("b", {"eeg": noise(seed=1)}, label="x"),
    ]
    data = Recordings(sessions, spec)
    assert [i for i in range(20) if data[i].get("present", {"video": True})["video"]] == [2, 3, 4]
    assert not data[0]["video"].any() and data[3]["video"].any() and data[0]["present"] == {"eeg": True, "video": False}
    only = Recordings([Session("c", {"video": video}, label="x")], spec)
    assert only.starts.tolist() == [4.0, 6.0, 8.0] and only[0]["present"] == {"eeg": False, "video": True}
    with pytest.raises(DataError, match="a: the model takes eeg, the session has video"):
        Recordings([Session("a", {"video": video}, label="x")], SPEC)


def test_a_baseline_is_of_the_person_and_holds_no_window():
    spec = InputSpec(window_seconds=2.0, eeg=EEGSpec(("Cz", "Pz"), 100.0, whiten=True, baseline="rest"))
    inside = Recordings([Session("a", {"eeg": noise(40)}, label="x", baseline=(0, 20))], spec)
    assert inside.starts[0] == 20.0 and len(inside) == 10
    want = Preprocessor(spec)(eeg=noise(40), baseline=(0.0, 20.0)).tensors["eeg"]
    assert torch.equal(inside.tensors["eeg"], want)
    rest = noise(30, seed=7)
    apart = Recordings([Session("a", {"eeg": noise(40)}, label="x", baseline=rest)], spec)
    assert torch.equal(apart.tensors["eeg"], Preprocessor(spec)(eeg=noise(40), baseline=rest).tensors["eeg"])
    with pytest.raises(ConfigError, match="compares eeg with rest of the same person, and 'a' has none"):
        Recordings([Session("a", {"eeg": noise(40)}, label="x")], spec)
    # A model that compares with nothing reads the same windows.
    plain = Recordings([Session("a", {"eeg": noise(40)}, label="x", baseline=(0, 20))], SPEC)
    assert plain.starts.tolist() == inside.starts.tolist()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({}, "a: it is without a label. Give label, segments or events"),
        ({"label": "x", "events": {"x": "x"}}, "a: it is labelled twice, by label and events"),
        ({"label": 0}, "a: label: expected the name of a class, got 0"),
        ({"segments": [("a", 5, "x")]}, r"a: the segments cannot be read \(ValueError"),
        ({"label": "x", "baseline": (0, 19)}, "no whole window of 2 s lies in x 0-20 s beside the baseline, 0 to 19 s"),
        ({"segments": [Segment(15, 25, "x")]}, r"x 15-25 s goes past the eeg, which lasts from 0.000 to 20.000 s"),
        ({"segments": [Segment(5, 4, "x")]}, "x goes from 5 to 4 s. Give a start before the stop"),
        ({"segments": [Segment(0, 1, "x")]}, r"no whole window of 2 s lies in x 0-1 s"),
        ({"segments": [Segment(0, 9, "x"), Segment(8, 15, "y")]}, "from 8 s on a recording is labelled twice, x and y"),
    ],
)
def test_bad_labels_are_named(more, message):
    with pytest.raises(DataError, match=message):
        Recordings([Session("a", {"eeg": noise()}, **more)], SPEC)


def test_other_bad_sessions_are_named(tmp_path):
    (tmp_path / "x.edf").write_bytes(b"0")
    both = [Session(person, {"eeg": tmp_path / "x.edf"}, label="x") for person in ("a", "b")]
    with pytest.raises(DataError, match=r"x.edf is eeg of 'a' and of 'b'"):
        Recordings(both, SPEC)
    with pytest.raises(DataError, match=r"there is no .*nowhere.edf"):
        Recordings([Session("a", {"eeg": tmp_path / "nowhere.edf"}, label="x")], SPEC)
    with pytest.raises(DataError, match=r"'ecg' is no modality. Did you mean 'eeg'"):
        Session("a", {"ecg": noise()}, label="x")
    recording = noise()
    with pytest.raises(DataError, match="a: from 0 s on a recording is labelled twice, x and y"):
        Recordings([Session("a", {"eeg": recording}, label=label) for label in "xy"], SPEC)
    with pytest.raises(DataError, match=r"'calm' is a label and no class\. Did you mean 'clam'"):
        Recordings([Session("a", {"eeg": noise()}, label="calm")], SPEC, classes=["clam", "joy"])
    with pytest.raises(DataError, match="expected at least one, got none"):
        Recordings([], SPEC)


def test_parts_are_of_people():
    sessions = [Session(p, {"eeg": noise(seed=k)}, label="xy"[k % 2]) for k, p in enumerate("aabbccdd")]
    data = Recordings(sessions, SPEC)
    parts = data.parts(SubjectSplit(("a", "b"), ("c",), ("d",)))
    assert parts.people("train") == {"person": ["a", "b"]} and parts.class_counts() == [20, 20]
    assert {parts.test[i]["person"] for i in range(len(parts.test))} == {"d"} and parts.groups == ("person",)
    with pytest.raises(DataError, match="people: e have no window"):
        data.of(["a", "e"])
    lone = Recordings([Session("a", {"eeg": noise()}, label="x"), *sessions[2:]], SPEC)
    with pytest.raises(DataError, match="no training person has y"):
        lone.parts(SubjectSplit(("a",), ("b",), ("c", "d")))


# The manifest


@pytest.fixture
def folder(tmp_path):
    for k in range(4):
        raw(seed=k).save(tmp_path / f"p{k}_raw.fif", verbose="ERROR")
    return tmp_path


def manifest(folder, text):
    (folder / "m.toml").write_text(text)
    return folder / "m.toml"


def entry(k, more='label = "x"', person=None):
    return f'[[recordings]]\nperson = "{person or f"p{k}"}"\neeg = "p{k}_raw.fif"\n{more}\n'


def test_a_manifest_becomes_parts(folder):
    (folder / "s.csv").write_text("start;stop;label\n0;6;high\n6;12;low\n")
    events = 'events = {calm = "low", joy = "high"}'
    path = manifest(
        folder,
        'classes = ["low", "high"]\n'
        + entry(0, events)
        + entry(1, 'segments = "s.csv"')
        + entry(2, 'segments = [{start = 0, stop = 4, label = "low"}, {start = 4, stop = 8, label = "high"}]')
        + '[[recordings]]\nperson = "p3"\neeg = {file = "p3_raw.fif", start = 5.0}\nsegments = '
        + '[{start = 5, stop = 9, label = "low"}, {start = 9, stop = 13, label = "high"}]\n',
    )
    read = read_manifest(path)
    assert read.labels == ("low", "high") and read.people == ["p0", "p1", "p2", "p3"]
    settings = RecordingsSettings(manifest=str(path), folds=4, fold=1)
    parts = settings.parts(SPEC)
    assert parts.people("test") == {"person": ["p1"]} and len(parts.people("validation")["person"]) == 1
    assert len(parts.test) == 6 and parts.classes == ("low", "high")
    assert parts.test[0]["label"] == 1 and parts.test[3]["label"] == 0
    path.write_text(path.read_text() + "\n# more\n")
    with pytest.raises(DataError, match="it has changed since"):
        settings.replace(sha256=read.sha256).parts(SPEC)
    split = '[split]\ntrain = ["p0", "p1"]\nvalidation = ["p2"]\ntest = ["p3"]\n'
    parts = RecordingsSettings(manifest=str(manifest(folder, path.read_text() + split))).parts(SPEC)
    assert parts.people("test") == {"person": ["p3"]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (entry(0) + entry(9), r"there is no .*p9_raw.fif \(recordings\[2\] \(p9, p9_raw.fif\)\)"),
        (entry(0) + entry(0, person="p1"), "p0_raw.fif is eeg of 'p0' and of 'p1'"),
        (entry(0, 'label = "x"\nevents = {a = "b"}'), r"recordings\[1\] .*labelled twice, by label and events"),
        (entry(0, ""), r"recordings\[1\] .*without a label"),
        (
            entry(0) + '[split]\ntrain = ["p0"]\nvalidation = ["p0"]\ntest = ["p0"]',
            "'p0' is in train and in validation",
        ),
        (
            entry(0) + '[split]\ntrain = ["p7"]\nvalidation = ["p0"]\ntest = ["p8"]',
            "'p7', 'p8' stands in baselines or sp",
        ),
        (entry(0) + '[baselines]\np1 = "x.edf"', "'p1' stands in baselines or split and has no recording"),
        (entry(0, 'lable = "x"'), r"recordings\[1\]: unknown key 'lable'. Did you mean 'label'"),
        (entry(0, "label = 3"), r"^recordings\[1\]\.label: expected str or None, got 3"),
        (
            entry(0, 'segments = [{start = 0, stop = "x", label = "a"}]'),
            r"^recordings\[1\]\.segments\[0\]\.stop: expected float, got 'x'",
        ),
        (entry(0) + "[split]\ntrain = 3\nvalidation = []\ntest = []", r"m\.toml: split\.train: expected a list of str"),
        (entry(0, 'label = "x"\nbaseline = [0, "a"]'), r"baseline: expected a file or \[start, stop\]"),
        (entry(0, 'segments = "none.csv"'), "there is no table of segments"),
        ('classes = "x"\n' + entry(0), "classes: expected a list of names"),
        ("recordings = 3", r"it has no \[\[recordings\]\]"),
        ("person = [", r"manifest m.toml: it cannot be read \(TOMLDecodeError"),
        ("colour = 1\n" + entry(0), "unknown key 'colour'"),
        (entry(0) + entry(1), "it has p0, p1; at least 3 people are needed"),
        ("classes = []\n" + entry(0), "classes: expected a list of names"),
        (
            entry(0).replace('"p0_raw.fif"', '{file = "p0_raw.fif", strat = 1.0}'),
            "unknown key 'strat'. Did you mean 'start'",
        ),
        (entry(0).replace("p0_raw.fif", "p0\\u0000.fif"), r"recordings\[1\]: eeg: no file's name holds a NUL"),
        (entry(0, 'label = "x"\nbaseline = [6, 0]'), "baseline: expected .* the start before the stop"),
        (entry(0, 'label = "x"\nbaseline = [nan, 6]'), "baseline: expected .* the start before the stop"),
    ],
    ids=lambda text: text[-30:] if len(text) > 40 else text,
)
def test_a_bad_manifest_is_named(folder, text, message):
    with pytest.raises(DataError, match=message):
        RecordingsSettings(manifest=str(manifest(folder, text))).parts(SPEC)


def test_events_of_real_recordings(real_data):
    """Twelve people's annotated EDF+ files: eight trials of 5 s of each kind."""
    events = {"rest": "rest", "13Hz": "flicker", "17Hz": "flicker", "21Hz": "flicker"}
    spec = InputSpec(window_seconds=5.0, eeg=EEGSpec(("Oz", "O1", "O2"), 128.0, l_freq=2.0))
    file = real_data / "exo" / "subject01_1.edf"
    data = Recordings([Session("01", {"eeg": file}, events=events)], spec)
    assert np.bincount(data.labels).tolist() == [24, 8] and data.classes == ("flicker", "rest")
