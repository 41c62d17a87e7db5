"""One encoder and a linear layer: what enters the encoder, the loss, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

import evermodels as em
from evermodels import functional as EF
from evermodels.core.errors import ConfigError, ShapeError
from evermodels.core.specs import EEGFeatures
from evermodels.models import SingleEEG, SingleVideo
from tests import toys


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    toys.register(monkeypatch)


def eeg_model(encoder: str, **changes):
    config = {"ch_names": ("Fz", "Cz", "Pz"), "sfreq": 100.0, "window_seconds": 2.0, "num_classes": 2}
    return em.create_model("single_eeg", encoders={"eeg": {"name": encoder, "config": {}}}, **{**config, **changes})


def entered(model, **inputs) -> torch.Tensor:
    """What the encoder got."""
    found = []
    hook = model.encoder(model.modalities[0]).register_forward_pre_hook(lambda _, args: found.append(args[0]))
    model.eval()(**inputs)
    hook.remove()
    return found[0]


def test_an_encoder_gets_the_kind_that_it_takes():
    x = 20 * torch.randn(2, 3, 200, generator=torch.Generator().manual_seed(0))
    assert torch.equal(entered(eeg_model("toy_eeg"), eeg=x), x)
    maps = entered(eeg_model("toy_spectrogram", spectrogram_size=(8, 6), n_fft=50), eeg=x)
    torch.testing.assert_close(maps, EF.log_spectrogram(x, 50, size=(8, 6)))
    bands = ((4.0, 8.0), (8.0, 14.0))
    made = entered(eeg_model("toy_features", made_features=EEGFeatures(bands=bands)), eeg=x)
    assert made.shape == (2, 2, 2, 3)
    torch.testing.assert_close(made[:, 1], EF.differential_entropy(x[:, :, 100:], 100.0, bands, method="stft"))
    sound = torch.randn(2, 498, 64)
    audio = em.create_model("single_audio")
    assert audio.input_spec.shape("audio") == (498, 64)
    assert torch.equal(entered(audio, audio=sound), sound.transpose(1, 2)[:, None])


def test_the_head_is_linear_in_the_embedding():
    model = eeg_model("toy_eeg").eval()
    x = torch.randn(4, 3, 200)
    output = model(eeg=x)
    torch.testing.assert_close(output.embedding, model.eeg_encoder(x))
    torch.testing.assert_close(output.logits, F.linear(output.embedding, model.head.weight, model.head.bias))
    assert torch.equal(output.embeddings["eeg"], output.embedding)


def test_the_loss_is_cross_entropy_by_class_counts():
    model = eeg_model("toy_eeg")
    output, target = model(eeg=torch.randn(4, 3, 200)), torch.tensor([0, 1, 1, 1])
    torch.testing.assert_close(model.make_loss()(output, target).total, F.cross_entropy(output.logits, target))
    weights = EF.class_balanced_weights(torch.tensor([1, 30]), 0.999)
    nll = F.cross_entropy(output.logits, target, reduction="none")
    want = (weights[target] * nll).sum() / weights[target].sum()
    torch.testing.assert_close(model.make_loss([1, 30])(output, target).total, want)
    with pytest.raises(ShapeError, match=r"class_counts: expected \(2,\), got \(3,\)"):
        model.make_loss([1, 2, 3])


def test_statistics_are_of_the_spectrogram():
    model = eeg_model("toy_spectrogram", spectrogram_norm="channel_frequency", spectrogram_size=(8, 6))
    assert not model.has_statistics
    x = 20 * torch.randn(16, 3, 200)
    model.fit_statistics([{"eeg": x}])
    assert model.has_statistics
    maps = entered(model, eeg=x)
    torch.testing.assert_close(maps.mean((0, 3)), torch.zeros(3, 8), atol=1e-4, rtol=0)


def test_refusals():
    with pytest.raises(ConfigError, match="expected exactly one modality, got 'eeg, video'"):
        em.create_model("single_eeg", input_spec={"video": {"num_frames": 4, "size": (8, 8)}})
    with pytest.raises(ConfigError, match="SingleEEG takes eeg, got 'video'"):
        SingleEEG(SingleVideo.presets["single_video"])
    with pytest.raises(ConfigError, match=r"encoders\.eeg\.name: expected a backbone whose input is"):
        eeg_model("videomae_nano")
    with pytest.raises(ConfigError, match=r"n_fft.*at least 2"):
        eeg_model("toy_spectrogram", n_fft=1)
    with pytest.raises(ConfigError, match="this SingleVideo takes video only"):
        em.create_model("single_video").given({"video": None, "eeg": torch.zeros(1, 2, 3)}, None, None)
