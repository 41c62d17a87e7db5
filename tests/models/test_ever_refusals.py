"""What EVER and its configuration refuse, with the way out."""

from __future__ import annotations

import pytest
import torch

from evermodels.core.errors import ConfigError, EvermodelsError, ShapeError, SignalError, UnknownNameError
from evermodels.models import EVER


def drop(**changes):
    return lambda inputs: {**inputs, **changes}


WRONG = [
    (lambda i: {}, ShapeError, "every modality is absent"),
    (lambda i: drop(eeg=i["eeg"][0])(i), ShapeError, r"eeg: expected \(batch, channels, time\), got 2 axes"),
    (lambda i: drop(eeg=i["eeg"][:, :5])(i), ShapeError, "7 channels Fp1, F4, T7, C3, Cz, P4, O1, got 5"),
    (lambda i: drop(eeg=i["eeg"][..., :15])(i), ShapeError, "at least n_fft=16 samples, got 15"),
    (lambda i: drop(eeg=i["eeg"][:0])(i), ShapeError, "empty"),
    (lambda i: drop(eeg=i["eeg"].numpy())(i), ShapeError, "expected a torch.Tensor"),
    (lambda i: drop(eeg=i["eeg"][:2])(i), ShapeError, "same batch size, got eeg 2, video 3"),
    (lambda i: drop(eeg=i["eeg"].masked_fill(torch.eye(7)[:, [1, 4]].any(1)[None, :, None], float("nan")))(i),
     SignalError, "NaN or infinite, in channels F4, Cz"),
    (lambda i: drop(eeg=i["eeg"] / 0)(i), SignalError, "NaN or infinite"),
    (lambda i: drop(video=i["video"] * float("inf"))(i), SignalError, "video: .* NaN or infinite"),
    (lambda i: drop(video=i["video"][:, :3])(i), ShapeError, "frames=4, got frames=3"),
    (lambda i: drop(video=i["video"].transpose(3, 4))(i), ShapeError, "height=16, got height=24"),
    (drop(present={"audio": torch.ones(3).bool()}), ConfigError, "present: this takes eeg and video only, got 'audio'"),
    (drop(masks={"eeg": torch.ones(3, 7)}), ConfigError, "masks"),
    (drop(present={"eye": torch.ones(3).bool()}), ConfigError, "present.*got 'eye'"),
    (drop(present={"eeg": torch.ones(3)}), ConfigError, "expected bool"),
    (drop(present={"eeg": torch.ones(2).bool()}), ShapeError, "batch=3, got batch=2"),
    (drop(present={"eeg": torch.tensor([1, 0, 0]).bool(), "video": torch.tensor([1, 1, 0]).bool()}),
     ShapeError, r"samples \[2\] have no modality"),
    (lambda i: {"eeg": i["eeg"], "present": {"video": torch.ones(3).bool()}}, ShapeError, "but video is None"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "error", "message"), WRONG)
def test_wrong_inputs(make, batch, change, error, message):
    model = make()
    with pytest.raises(error, match=message) as caught:
        model(**change(batch(model)))
    assert isinstance(caught.value, EvermodelsError)


def test_single_modality_refuses_the_other(make, batch):
    model = make(modalities=("video",))
    with pytest.raises(ConfigError, match="eeg: this EVER takes video only"):
        model(eeg=torch.zeros(3, 7, 64))
    with pytest.raises(TypeError, match="unexpected keyword argument 'audio'"):
        model(audio=torch.zeros(3, 10, 8))
    with pytest.raises(ShapeError, match="no modality"):
        model(**batch(model), present={"video": torch.tensor([True, False, True])})


def encoder(modality, **values):
    return {"encoders": {modality: values}}


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"ch_names": ("Fp1", "Xyz")}, UnknownNameError, "Xyz"),
        ({"ch_names": ("A1", "A2")}, ConfigError, "at least one channel that lies in a region"),
        ({"ch_names": ()}, ConfigError, "ch_names"),
        ({"n_fft": 65}, ConfigError, "n_fft: expected between 2 and the 64 samples"),
        ({"modalities": ()}, ConfigError, r"modalities: expected one or more of eeg, video, each once, got \[\]"),
        ({"modalities": ("eeg", "eeg")}, ConfigError, "modalities"),
        ({"modalities": "eeg"}, ConfigError, "modalities: expected a list of names"),
        ({"modalities": ("eeg", "audio")}, ConfigError, "one or more of eeg, video, each once, got .*audio"),
        ({"input_spec": {"eeg": None}, "ch_names": ("Fp1",)}, ConfigError, "ch_names: this model takes no EEG"),
        (
            {"input_spec": {"audio": {}}},
            ConfigError,
            "input_spec: expected eeg, video or both, got 'eeg, video, audio'",
        ),
        ({"input_spec": {"smell": {}}}, ConfigError, "InputSpec: unknown key 'smell'"),
        ({"input_spec": 3}, ConfigError, "EVERConfig.input_spec: expected InputSpec, got 3"),
        ({"input_spec": 3, "sfreq": 9.0}, ConfigError, "input_spec: expected InputSpec, got 3"),
        ({"input_spec": {"eeg": {"features": {"bands": [[1, 4]]}}}}, ConfigError, "EVER takes EEG signals"),
        (
            {"window_seconds": 1e300},
            ConfigError,
            "InputSpec.window_seconds: expected a positive length in seconds, up to",
        ),
        ({"whiten": True}, ConfigError, "'whiten' is said of the recordings: input_spec={'eeg': {'whiten': …}}"),
        ({"fusion": "concat"}, ConfigError, "'bih_gcn', 'naive'"),
        ({"alignment": "coral2"}, ConfigError, "Did you mean 'coral'"),
        (
            encoder("eeg", name="videomae_nano"),
            ConfigError,
            "encoders.eeg.name: .* input is 'eeg' or 'spectrogram', got",
        ),
        (encoder("video", name="audio_mamba_nano"), ConfigError, r"encoders.video.name: .* \(input 'spectrogram'\)"),
        (encoder("video", name="ever_tiny"), ConfigError, r"encoders.video.name: .* got 'ever_tiny' \(a system\)"),
        (
            encoder("video", name="videomea_nano"),
            UnknownNameError,
            "encoders.video.name: .*Did you mean 'videomae_nano'",
        ),
        (encoder("video", config={"num_frames": 8}), ConfigError, "'num_frames' follows from the model's own inputs"),
        (encoder("eeg", config={"num_classes": 3}), ConfigError, "'num_classes' follows from the model's own inputs"),
        (encoder("eeg", config={"embed_dmi": 8}), ConfigError, "Did you mean 'embed_dim'"),
        (encoder("eeg", config={"depth": 10**9}), ConfigError, "AudioMambaConfig.depth: expected at most 1000"),
        (encoder("audio", name="audio_mamba_nano"), ConfigError, "encoders: .* got one for 'audio' too"),
        (encoder("vidoe", name="videomae_nano"), ConfigError, "encoders: .* got one for 'vidoe' too"),
        (encoder("eeg", nmae="videomae_nano"), ConfigError, "encoders.eeg|EncoderConfig: unknown key 'nmae'. Did you"),
        ({"encoders": {"eeg": "audio_mamba_nano"}}, ConfigError, "encoders.eeg: expected EncoderConfig"),
        ({"dim": "20"}, ConfigError, "EVERConfig.dim: expected int"),
        ({"input_spec": {"eeg": {"h_freq": 20.0}}}, ConfigError, "EEGSpec.h_freq"),
        ({"spectrogram_std": 0.0}, ConfigError, "spectrogram_std"),
        ({"spectrogram_norm": "batch"}, ConfigError, "spectrogram_norm: expected one of"),
        ({"channel_drop_rate": 1.0}, ConfigError, "channel_drop_rate"),
    ],
)
def test_impossible_configs(small, changes, error, message):
    with pytest.raises(error, match=message):
        EVER(small.replace(**changes))
