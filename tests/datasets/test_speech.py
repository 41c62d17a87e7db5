"""Readers of acted speech, in the publishers' layouts, and the windows that models take of them."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import soundfile
import torch

from evermodels.core.errors import ConfigError, DataError, SignalError
from evermodels.core.specs import AudioSpec
from evermodels.core.warning import LicenceWarning
from evermodels.datasets import RAVDESS, EmoDB, UtteranceWindows
from evermodels.signals.audio import Audio, Reader

NAMES = ("03a01Wa", "03a01Fb", "03b02N", "08a01Ta", "08a04Ac")


def tone(seconds, sfreq=16000, level=0.3):
    return (level * np.sin(2 * np.pi * 300 * np.arange(round(seconds * sfreq)) / sfreq)).astype(np.float32)


@pytest.fixture
def emodb(tmp_path):
    for name in NAMES:
        soundfile.write(tmp_path / f"{name}.flac", tone(1.0), 16000)
    return tmp_path


def test_file_names_say_speaker_sentence_and_emotion(emodb):
    speech = EmoDB(emodb)
    found = {u.name: (u.speaker, u.text, u.emotion) for u in speech.utterances.values()}
    assert found == {
        "03a01Fb": ("03", "a01", "happiness"),
        "03a01Wa": ("03", "a01", "anger"),
        "03b02N": ("03", "b02", "neutral"),
        "08a01Ta": ("08", "a01", "sadness"),
        "08a04Ac": ("08", "a04", "fear"),
    }
    assert list(found) == sorted(found) and speech.speakers == ("03", "08")
    assert speech.emotions == ("anger", "fear", "happiness", "neutral", "sadness")
    assert speech.of("03", "anger") == ("03a01Wa",) and speech.of("08", "anger") == ()
    two = EmoDB(emodb, emotions=("sadness", "anger"))
    assert two.emotions == ("sadness", "anger") and len(two) == 2
    assert speech.recording("03b02N").stop == 1.0


def test_the_archive_unpacks_into_a_folder_wav(tmp_path):
    (tmp_path / "wav").mkdir()
    for name in NAMES[:2]:
        soundfile.write(tmp_path / "wav" / f"{name}.wav", tone(0.5), 16000)
    (tmp_path / "wav" / "notes.txt").write_text("no sound")
    assert list(EmoDB(tmp_path).utterances) == list(EmoDB(tmp_path / "wav").utterances) == sorted(NAMES[:2])


def test_one_utterance_in_both_formats_counts_once(emodb):
    soundfile.write(emodb / "03a01Wa.wav", tone(1.0), 16000)
    assert len(EmoDB(emodb)) == len(NAMES)


def test_what_the_table_names_must_be_there(emodb):
    with (emodb / "metadata.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["file"], *[[f"{name}.flac"] for name in NAMES], ["wav/09a01Wa.wav"]])
    with pytest.raises(DataError, match=r"lacks 09a01Wa, which its metadata\.csv names"):
        EmoDB(emodb)
    (emodb / "metadata.csv").write_text("name\n03a01Wa\n")
    with pytest.raises(DataError, match=r"metadata\.csv cannot be read"):
        EmoDB(emodb)


def test_other_folders_and_damaged_files(emodb, tmp_path_factory):
    with pytest.raises(DataError, match=r"holds no file such as 03a01Wa\.wav"):
        EmoDB(tmp_path_factory.mktemp("empty"))
    with pytest.raises(ConfigError, match=r"emotions: expected some of anger.*Did you mean 'anger'"):
        EmoDB(emodb, emotions=("angr",))
    with pytest.raises(DataError, match="holds no boredom"):
        EmoDB(emodb, emotions=("anger", "boredom"))
    with pytest.raises(DataError, match=r"speaker: '8' is not there.*03, 08"):
        EmoDB(emodb).of("8", "anger")
    whole = (emodb / "03a01Wa.flac").read_bytes()
    (emodb / "03a01Wa.flac").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SignalError, match="03a01Wa"):
        UtteranceWindows(EmoDB(emodb), AudioSpec(), 1.0)("03a01Wa")
    (emodb / "03a01Wa.flac").write_bytes(b"")
    with pytest.raises(DataError, match=r"03a01Wa\.flac in .* is empty"):
        EmoDB(emodb)


def test_ravdess_as_published_and_its_licence(tmp_path):
    names = ["03-01-05-02-01-01-02", "03-01-01-01-02-01-02", "03-02-03-01-01-01-02", "01-01-03-01-01-01-02"]
    (tmp_path / "Actor_02").mkdir()
    for name in names:
        soundfile.write(tmp_path / "Actor_02" / f"{name}.wav", tone(0.5, 48000), 48000)
    soundfile.write(tmp_path / "03-01-08-01-01-02-24.flac", tone(0.5), 16000)
    with pytest.warns(LicenceWarning, match=r"RAVDESS is for non-commercial use \(CC BY-NC-SA 4\.0\)"):
        speech = RAVDESS(tmp_path)
    found = {u.name: (u.speaker, u.emotion, u.text) for u in speech.utterances.values()}
    assert found == {  # neither songs nor videos
        names[1]: ("02", "neutral", "02"),
        names[0]: ("02", "anger", "01"),
        "03-01-08-01-01-02-24": ("24", "surprise", "01"),
    }
    with pytest.warns(LicenceWarning):
        assert len(RAVDESS(tmp_path, repetitions=(1,), statements=(1,))) == 1


def windows(folder, sound, spec, seconds, sfreq=16000, **options):
    soundfile.write(folder / "03a01Wa.flac", sound, sfreq)
    return UtteranceWindows(EmoDB(folder), spec, seconds, **options)("03a01Wa")


def test_a_shorter_utterance_is_followed_by_silence(tmp_path):
    """The window is the Reader's of the padded sound; a frame is valid by a loop over its samples."""
    sound = np.concatenate([tone(0.4), np.zeros(3200, np.float32), tone(0.307)])
    spec = AudioSpec(n_mels=20)
    tensor, mask = windows(tmp_path, sound, spec, 1.5)
    stored = soundfile.read(tmp_path / "03a01Wa.flac", dtype="float32")[0]
    padded = Audio(np.pad(stored, (0, 24000 - len(stored))), sfreq=16000)
    expected = next(Reader(spec, 1.5).windows(padded, [0.0], 1.5)).tensor
    assert torch.equal(tensor, expected) and tensor.shape == spec.shape(1.5)
    loop = []
    for k in range(len(tensor)):
        frame = np.pad(stored, (0, 400))[160 * k : 160 * k + 400].astype(np.float64)
        level = 10 * np.log10(max(frame.var(), 1e-15)) if len(frame) == 400 else -150
        loop.append(160 * k + 200 < len(stored) and level >= -70)
    assert mask.tolist() == loop
    assert mask[:38].all() and not mask[41:58].any() and mask[60:88].all() and not mask[92:].any()


def test_the_threshold_is_in_dbfs(tmp_path):
    sound = np.concatenate([tone(0.5, level=0.1), tone(0.5, level=0.01)])  # -23 and -43 dBFS
    for threshold, share in ((-50.0, 1.0), (-40.0, 0.5)):
        mask = windows(tmp_path, sound, AudioSpec(), 1.0, silent_dbfs=threshold)[1]
        assert mask.float().mean().item() == pytest.approx(share, abs=0.03)
    with pytest.raises(DataError, match="no frame of it reaches -20 dBFS"):
        windows(tmp_path, sound, AudioSpec(), 1.0, silent_dbfs=-20.0)
    with pytest.raises(ConfigError, match="silent_dbfs: expected a level in dBFS"):
        windows(tmp_path, sound, AudioSpec(), 1.0, silent_dbfs=3.0)


def test_a_longer_utterance_is_cut_and_another_rate_is_changed(tmp_path):
    spec = AudioSpec(form="waveform", sfreq=8000.0)
    tensor, mask = windows(tmp_path, tone(1.2, 44100), spec, 1.0, sfreq=44100)
    assert tensor.shape == (8000,) and mask.shape == (98,) and mask.all()
    stored = soundfile.read(tmp_path / "03a01Wa.flac", dtype="float32")[0][:44100]
    expected = next(Reader(spec, 1.0).windows(Audio(stored, sfreq=44100), [0.0], 1.0)).tensor
    assert torch.equal(tensor, expected)
