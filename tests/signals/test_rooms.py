"""The contract of every modality's room, and of what composes them without a modality's name."""

from __future__ import annotations

import ast
import inspect
import pickle
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from evermodels import cli_predict, recognizer
from evermodels.core.errors import SignalError
from evermodels.core.specs import MODALITIES, AudioSpec, EEGSpec, EyeSpec, InputSpec, VideoSpec
from evermodels.signals import EEG, Audio, Eye, Preprocessor, Video, inputs, preprocessor, room

pytest.importorskip("mne")
pytest.importorskip("av")

SECONDS, RECORDED = 2.0, 9.0
RNG = np.random.default_rng(0)
NOISE = RNG.normal(0, 20, (2, round(RECORDED * 100)))
PICTURES = RNG.integers(0, 256, (round(RECORDED * 10), 16, 16, 3), dtype=np.uint8)
TREMBLE = 10 ** np.sin(2 * np.pi * 4 * np.arange(round(RECORDED * 8000)) / 8000 - 1)  # steady sound is noted
SOUND = RNG.uniform(-0.03, 0.03, len(TREMBLE)) * TREMBLE
PUPIL = 3.5 + 0.1 * RNG.standard_normal(round(RECORDED * 60))
SPECS = {
    "eeg": EEGSpec(ch_names=("Cz", "T7"), sfreq=50.0, l_freq=1.0),
    "video": VideoSpec(num_frames=4, size=(8, 8), face_crop=False),
    "audio": AudioSpec(sfreq=8000.0, n_mels=16),
    "eye": EyeSpec(features=("pupil_mean", "pupil_std"), seconds=1.0),
}
RECORDINGS = {
    "eeg": lambda **form: EEG(NOISE, ch_names=["T7", "Cz"], sfreq=100, unit="uV", **form),
    "video": lambda **form: Video(PICTURES, fps=10, **form),
    "audio": lambda **form: Audio(SOUND, sfreq=8000, **form),
    "eye": lambda **form: Eye({"pupil": PUPIL}, unit={"pupil": "mm"}, sfreq=60.0, **form),
}


def test_each_modality_of_the_table_has_its_case() -> None:
    assert tuple(SPECS) == tuple(RECORDINGS) == MODALITIES


def prepare(*names: str) -> Preprocessor:
    return Preprocessor(InputSpec(window_seconds=SECONDS, **{name: SPECS[name] for name in names}))


@pytest.mark.parametrize("name", MODALITIES)
def test_a_stream_gives_what_one_call_gives(name: str) -> None:
    whole = prepare(name)(**{name: RECORDINGS[name]()}, overlap=0.5)
    stream = prepare(name).stream(**{name: RECORDINGS[name]()}, overlap=0.5, batch_size=3)
    parts = list(stream)
    assert [len(part) for part in parts] == [3, 3, 2] and len(stream) == len(whole) == 8
    torch.testing.assert_close(torch.cat([part.tensors[name] for part in parts]), whole.tensors[name], rtol=0, atol=0)
    assert whole.starts.tolist() == [float(k) for k in range(8)]
    assert whole.tensors[name].shape[1:] == InputSpec(window_seconds=SECONDS, **{name: SPECS[name]}).shape(name)
    assert whole.tensors[name].dtype == torch.float32 and torch.isfinite(whole.tensors[name]).all()
    assert whole.notes == () and all(isinstance(note, str) for note in RECORDINGS[name]().notes)
    assert {len(values) for values in whole.quality.values()} <= {8}


@pytest.mark.parametrize("name", MODALITIES)
def test_a_stream_holds_no_more_than_a_batch(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared, made = prepare(name), []
    windows = type(prepared.readers[name]).windows

    def watched(*arguments: Any) -> Iterator[room.Window]:
        for window in windows(prepared.readers[name], *arguments):
            made.append(weakref.ref(window))
            yield window

    monkeypatch.setattr(prepared.readers[name], "windows", watched)
    most = 0
    for _ in prepared.stream(**{name: RECORDINGS[name]()}, overlap=0.9, batch_size=2):
        most = max(most, sum(window() is not None for window in made))
    assert len(made) > 30 and most <= 5  # a batch that goes out, the next one's first, and what the loops hold


@pytest.mark.parametrize("name", MODALITIES)
def test_a_window_depends_on_its_place_alone(name: str) -> None:
    """None needs the one before."""
    reader = prepare(name).readers[name]
    recording = reader.prepare(reader.open(RECORDINGS[name]()))
    every = [window.tensor for window in reader.windows(recording, [0.0, 2.5, 5.0], SECONDS)]
    torch.testing.assert_close(next(reader.windows(recording, [5.0], SECONDS)).tensor, every[2], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(
        next(reader.windows(recording, [2.5, 5.0], SECONDS)).tensor, every[1], rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("name", MODALITIES)
def test_a_start_moves_the_clock_and_nothing_else(name: str) -> None:
    early, late = RECORDINGS[name](), RECORDINGS[name](start=-100.25)
    assert (early.start, late.start) == (0.0, -100.25) and early.modality == name
    for a, b in ((early, late), (early, type(early)(early, start=-100.25))):
        assert b.stop == pytest.approx(a.stop - 100.25) and a.stop == pytest.approx(RECORDED, abs=a.interval)
        assert np.allclose(np.array(b.coverage), np.array(a.coverage) - 100.25)
        one, other = (prepare(name)(**{name: recording}) for recording in (a, b))
        torch.testing.assert_close(one.tensors[name], other.tensors[name], rtol=0, atol=0)
        assert (other.starts - one.starts).tolist() == [-100.25] * len(one)
    assert type(early)(late).start == -100.25  # a recording keeps its own
    assert type(early)(late, start=7.0).start == 7.0  # and takes another, which is no shift


@pytest.mark.parametrize("name", MODALITIES)
def test_a_recording_goes_to_a_worker(name: str) -> None:
    recording = RECORDINGS[name](start=2.0)
    again = pickle.loads(pickle.dumps(recording))
    assert (again.coverage, repr(again)) == (recording.coverage, repr(recording))


def test_a_video_file_goes_to_a_worker(write_video) -> None:
    video = Video(write_video([k / 10 for k in range(30)]), start=1.0)
    again = pickle.loads(pickle.dumps(video))
    one, other = (prepare("video")(video=recording).tensors["video"] for recording in (video, again))
    torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize("name", MODALITIES)
@pytest.mark.parametrize("start", [float("nan"), float("inf"), "soon", True])
def test_a_start_that_cannot_be(name: str, start: Any) -> None:
    with pytest.raises(ValueError, match=r"start: expected .* a finite number of seconds"):
        RECORDINGS[name](start=start)


@pytest.mark.parametrize("name", MODALITIES)
def test_coverage_is_where_windows_are(name: str) -> None:
    recording = RECORDINGS[name](start=3.0)
    assert all(a < b for a, b in recording.coverage) and recording.coverage[0][0] == recording.start == 3.0
    assert recording.coverage[-1][1] == recording.stop and recording.interval > 0
    found = prepare(name)(**{name: recording})
    assert room.covers(recording, found.starts.numpy(), SECONDS).all()
    assert room.covers(recording, np.array([2.0, 3.0, 10.0, 11.0]), SECONDS).tolist() == [False, True, True, False]


@pytest.mark.parametrize("name", MODALITIES)
def test_an_array_is_no_recording_and_neither_is_another_modality(name: str) -> None:
    example = room.reader_class(name).example
    with pytest.raises(SignalError, match=rf"{name}: an array of shape .5, 100. does not say its rate") as caught:
        prepare(name)(**{name: np.zeros((5, 100))})
    assert f"evermodels.signals.{example}" in str(caught.value)
    other = next(one for one in MODALITIES if one != name)
    with pytest.raises(SignalError, match=f"{name}: got a recording of {other}. Give it as {other}="):
        prepare(name)(**{name: RECORDINGS[other]()})


def test_a_gap_is_named_where_it_leaves_windows_out() -> None:
    time = np.arange(len(PUPIL)) / 60
    kept = (time < 3) | (time > 4.9)
    eye = Eye({"time": time[kept], "pupil": PUPIL[kept]}, unit={"time": "s", "pupil": "mm"}, sfreq=60.0)
    with pytest.warns(
        UserWarning,
        match=r"eye: 2 of 4 windows of eeg are left out, because eye covers only 0\.000 to "
        r"3\.0\d\d s, 4\.9\d\d to 9\.000 s\.",
    ):
        assert prepare("eeg", "eye")(eeg=RECORDINGS["eeg"](), eye=eye).starts.tolist() == [0.0, 6.0]


def test_all_modalities_on_one_clock() -> None:
    starts = {"eeg": 0.0, "video": -1.0, "audio": 0.5, "eye": 2.0}
    prepared = prepare(*MODALITIES)
    with pytest.warns(UserWarning, match=r"windows of eeg are left out, because \w+ covers only"):
        together = prepared(**{name: RECORDINGS[name](start=start) for name, start in starts.items()})
    assert together.starts.tolist() == [2.0, 4.0, 6.0]  # those of the EEG that all others cover
    for name, start in starts.items():
        reader = prepared.readers[name]
        alone = reader.prepare(RECORDINGS[name](start=start))
        expected = torch.stack([w.tensor for w in reader.windows(alone, [2.0, 4.0, 6.0], SECONDS)])
        torch.testing.assert_close(together.tensors[name], expected, rtol=1e-5, atol=1e-5)
    three = {name: RECORDINGS[name]() for name in MODALITIES if name != "eye"}
    with pytest.raises(SignalError, match=r"eeg lasts from 0.000 to 9.000 s.*eye lasts from 50.000 .*do not overlap"):
        prepared(**three, eye=RECORDINGS["eye"](start=50.0))


@pytest.mark.parametrize("module", [preprocessor, inputs, room, recognizer, cli_predict], ids=lambda m: m.__name__)
def test_what_composes_the_rooms_spells_no_modality(module: Any) -> None:
    """Not as a name, an argument, an attribute or a text of its own; a sentence may have an example."""
    tree = ast.parse(inspect.getsource(module))
    found = []
    for node in ast.walk(tree):
        spelled = [getattr(node, key, None) for key in ("id", "attr", "arg", "name")]
        spelled += [node.value] if isinstance(node, ast.Constant) else []
        found += [(getattr(node, "lineno", 0), text) for text in spelled if text in MODALITIES]
    assert found == []
