"""What recordings must look like: one spec a modality, one window length for all, shapes without a batch."""

from __future__ import annotations

import json

import pytest

from evermodels.core.errors import ConfigError
from evermodels.core.kinds import KINDS, modalities_of
from evermodels.core.specs import MODALITIES, AudioSpec, EEGFeatures, EEGSpec, EyeSpec, InputSpec, VideoSpec

EEG = {"ch_names": ["Fz", "Cz"], "sfreq": 200}
VIDEO = {"num_frames": 16, "size": [64, 64]}
EYE = {"features": ["pupil_mean", "blink_rate"]}
SERIES = {"form": "series", "features": (), "channels": ("pupil",)}
FULL = InputSpec(
    5.0, EEGSpec(("Fz",), 200, l_freq=0.5), VideoSpec(16, (64, 64)), AudioSpec(), EyeSpec(features=("pupil", "blinks"))
)

WRONG = [
    (EEGSpec, EEG, {"ch_names": []}, r"EEGSpec.ch_names: expected at least one channel name, each once, got \(\)"),
    (EEGSpec, EEG, {"ch_names": ["Fz", "Fz"]}, "each once"),
    (EEGSpec, EEG, {"ch_names": ["Fz", "C\x1b[2J"]}, "for each channel a name of 1 to 200 visible characters in one"),
    (EEGSpec, EEG, {"ch_names": ["Fz", ""]}, "for each channel a name"),
    (EEGSpec, EEG, {"whiten": True, "baseline": "rest\n## Scores"}, "EEGSpec.baseline: expected a name"),
    (EEGSpec, EEG, {"baseline": "rest"}, "EEGSpec.baseline: expected the state of a baseline with whiten=True"),
    (EEGSpec, EEG, {"ch_names": "Fz"}, r"EEGSpec.ch_names: expected a list of str, got 'Fz'"),
    (EEGSpec, EEG, {"sfreq": 0}, "EEGSpec.sfreq: expected a positive rate in Hz, got 0"),
    (EEGSpec, EEG, {"window_seconds": 5.0}, "EEGSpec: unknown key 'window_seconds'"),
    (EEGSpec, EEG, {"unit": "V"}, "expected one of 'uV', got 'V'"),
    (EEGSpec, EEG, {"h_freq": 100.0}, r"EEGSpec.h_freq: expected .* between 0 and half of sfreq \(100\), got 100"),
    (EEGSpec, EEG, {"notch": 0}, "EEGSpec.notch"),
    (EEGSpec, EEG, {"l_freq": 40.0, "h_freq": 30.0}, r"EEGSpec.l_freq: expected less than h_freq \(30\)"),
    (EEGSpec, EEG, {"reference": "avg"}, "expected one of 'as recorded', 'average', got 'avg'"),
    (EEGSpec, EEG, {"features": {"bands": [[1, 101]]}}, r"EEGSpec.features: expected bands up to half of sfreq \(100"),
    (EEGSpec, EEG, {"features": {"bnads": []}}, "unknown key 'bnads'. Did you mean 'bands'"),
    (EEGFeatures, {}, {"bands": []}, "EEGFeatures.bands: expected at least one"),
    (EEGFeatures, {}, {"bands": [[4, 4]]}, "0 <= low < high"),
    (EEGFeatures, {}, {"seconds": 0}, "EEGFeatures.seconds: expected a positive length"),
    (EEGFeatures, {}, {"kind": "entropy"}, "EEGFeatures.kind: expected one of 'differential_entropy', 'power'"),
    (VideoSpec, VIDEO, {"num_frames": 0}, "VideoSpec.num_frames: expected at least 1"),
    (VideoSpec, VIDEO, {"size": [0, 4]}, "a positive height and width"),
    (VideoSpec, VIDEO, {"size": 64}, r"VideoSpec.size: expected \[int, int\], got 64"),
    (VideoSpec, VIDEO, {"std": [1, 0, 1]}, "VideoSpec.std: expected positive values"),
    (VideoSpec, VIDEO, {"margin": 2}, r"a number in 0\.\.1"),
    (AudioSpec, {}, {"sfreq": -1}, "AudioSpec.sfreq: expected a positive rate"),
    (AudioSpec, {}, {"form": "mfcc"}, "AudioSpec.form: expected one of 'log_mel', 'waveform'"),
    (AudioSpec, {}, {"n_mels": 0}, "AudioSpec.n_mels: expected 1 to"),
    (AudioSpec, {}, {"hop_seconds": 1e-9}, "AudioSpec.hop_seconds: expected at least one sample at 16000 Hz"),
    (AudioSpec, {}, {"frame_seconds": 1e300}, "AudioSpec.frame_seconds"),
    (AudioSpec, {}, {"f_max": 9000}, r"f_min < f_max <= 8000 Hz"),
    (AudioSpec, {}, {"f_min": 8000}, r"f_min < f_max"),
    (AudioSpec, {}, {"std": 0}, "AudioSpec.std: expected a positive number"),
    (EyeSpec, EYE, {"features": []}, "EyeSpec.features: expected at least one name"),
    (EyeSpec, EYE, {"features": ["a", "a"]}, "each once"),
    (EyeSpec, EYE, {"channels": ["pupil"]}, r"EyeSpec.channels: expected \(\) with form='features'"),
    (EyeSpec, EYE, {"form": "series"}, "EyeSpec.channels: expected at least one name"),
    (EyeSpec, EYE, {"form": "log"}, "EyeSpec.form: expected one of 'features', 'series'"),
    (EyeSpec, EYE, {"sfreq": 0}, "EyeSpec.sfreq: expected a positive rate"),
    (EyeSpec, EYE, {"seconds": -1}, "EyeSpec.seconds: expected a positive length"),
]


@pytest.mark.parametrize(("spec", "good", "change", "message"), WRONG)
def test_impossible_values(spec, good, change, message):
    spec.from_dict(good)
    with pytest.raises(ConfigError, match=message):
        spec.from_dict({**good, **change})


@pytest.mark.parametrize("window", [0, -1, 1e300, 1e-9, float("nan"), float("inf"), "5", True, None])
@pytest.mark.parametrize("modality", [name for name in MODALITIES if name != "video"])
def test_impossible_window_lengths(modality, window):
    with pytest.raises(ConfigError, match="window_seconds: expected"):
        InputSpec(window_seconds=window, **{modality: getattr(FULL, modality)})


def test_video_alone_needs_no_window_length():
    assert InputSpec(video=FULL.video).shape("video") == (16, 3, 64, 64)


def test_windows_shorter_than_what_is_made_of_them():
    with pytest.raises(ConfigError, match=r"at least the 4 s of one stretch of features, got 3\.0"):
        InputSpec(3.0, EEGSpec(("Fz",), 200, features=EEGFeatures(seconds=4.0)))
    with pytest.raises(ConfigError, match=r"expected 0\.025 to 625 s at 16000 Hz, got 0\.02"):
        InputSpec(0.02, audio=AudioSpec())
    with pytest.raises(ConfigError, match=r"expected 1 to .* s, got 0\.5"):
        InputSpec(0.5, eye=FULL.eye)


def test_more_stretches_than_can_be_meant():
    with pytest.raises(ConfigError, match=r"EEGSpec\.features: expected stretches of two samples or more at 200 Hz"):
        InputSpec(5.0, EEGSpec(("Fz",), 200, features=EEGFeatures(seconds=1e-9)))
    with pytest.raises(ConfigError, match=r"EyeSpec\.seconds: expected stretches of at least one sample at 60 Hz"):
        InputSpec(5.0, eye=FULL.eye.replace(seconds=1e-9))


def test_shapes_have_the_axes_of_their_kind():
    forms = [
        (FULL, "eeg", (1, 1000)),
        (FULL.replace(eeg={"features": {"bands": [[1, 4], [4, 8]], "seconds": 2.0}}), "eeg", (2, 2, 1)),
        (FULL, "video", (16, 3, 64, 64)),
        (FULL, "audio", (498, 128)),
        (FULL.replace(audio={"form": "waveform"}), "audio", (80000,)),
        (FULL, "eye", (5, 2)),
        (FULL.replace(eye=SERIES), "eye", (300, 1)),
    ]
    for spec, modality, shape in forms:
        assert spec.shape(modality) == shape
        kind = KINDS[spec.of(modality).kind]
        assert len(kind.axes) == len(shape) and modality in kind.modalities
    assert {spec.of(modality).kind for spec, modality, _ in forms} == set(KINDS) - {"spectrogram"}  # made by a model


def test_frames_of_sound_are_those_that_fit_whole():
    spec = AudioSpec(sfreq=1000.0, frame_seconds=0.1, hop_seconds=0.05)
    for samples in (100, 149, 150, 1000):
        assert spec.shape(samples / 1000)[0] == len(range(0, samples - 100 + 1, 50))


def test_round_trip_and_table():
    assert InputSpec.from_dict(json.loads(json.dumps(FULL.to_dict()))) == FULL
    assert FULL.modalities == MODALITIES == ("eeg", "video", "audio", "eye")
    assert InputSpec(video=VideoSpec(1, (2, 2))).modalities == ("video",)
    assert set(modalities_of(tuple(KINDS))) == set(MODALITIES)
    with pytest.raises(ConfigError, match="InputSpec: unknown key 'smell'"):
        InputSpec.from_dict({"smell": {}})


def test_a_mapping_changes_what_is_inside():
    changed = FULL.replace(eeg={"whiten": True, "baseline": "rest"}, window_seconds=2.0)
    assert (changed.eeg.whiten, changed.eeg.l_freq, changed.shape("eeg")) == (True, 0.5, (1, 400))
    assert FULL.replace(audio=None, eye=None).modalities == ("eeg", "video")
    with pytest.raises(ConfigError, match=r"EEGSpec: unknown key 'whitne'\. Did you mean 'whiten'"):
        FULL.replace(eeg={"whitne": True})


def test_what_the_model_does_not_take():
    with pytest.raises(ConfigError, match="audio: the model takes no audio, only video"):
        InputSpec(video=FULL.video).shape("audio")
    with pytest.raises(ConfigError, match="the model takes no window_seconds, only nothing"):
        InputSpec().of("window_seconds")
    assert (FULL.owner("whiten"), FULL.owner("n_mels"), FULL.owner("smell")) == ("eeg", "audio", None)


def test_every_modality_describes_itself():
    said = FULL.describe()
    assert list(said) == ["windows", *(FULL.of(name).title for name in MODALITIES)]
    assert said["windows"] == ("5 s",)
    assert all(lines and all(line and not line.endswith(".") for line in lines) for lines in said.values())
    eeg = FULL.replace(eeg={"whiten": True, "notch": 50, "features": {}}).describe()["EEG"]
    assert "0.5 to … Hz" in eeg[0] and "mains at 50 Hz" in eeg[0] and "differential entropy in 5 bands" in eeg[0]
    assert "transductive" in eeg[1]
    rest = FULL.replace(eeg={"whiten": True, "baseline": "rest"}).describe()["EEG"][1]
    assert rest.startswith("Compared with a minute of the person's rest")
