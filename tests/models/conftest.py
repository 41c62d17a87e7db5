"""A small EVER, its inputs, and the comparison of two outputs."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from evermodels.core.specs import EEGSpec, InputSpec, VideoSpec
from evermodels.models import EVER, EncoderConfig, EVERConfig

SMALL = EVERConfig(
    num_classes=3,
    input_spec=InputSpec(
        window_seconds=2.0,
        eeg=EEGSpec(ch_names=("Fp1", "F4", "T7", "C3", "Cz", "P4", "O1"), sfreq=32.0),
        video=VideoSpec(num_frames=4, size=(16, 24)),
    ),
    encoders={
        "eeg": EncoderConfig("audio_mamba_nano", {"embed_dim": 16, "depth": 2}),
        "video": EncoderConfig("videomae_nano", {"embed_dim": 24, "depth": 1, "num_heads": 2, "patch_size": 8}),
    },
    dim=20,
    n_fft=16,
    spectrogram_size=(16, 16),
)
EEG = {field.name for field in dataclasses.fields(EEGSpec)} - {"ch_names", "sfreq"}


def changed(**changes) -> EVERConfig:
    """The small configuration with changes; what is the EEG's goes into its spec."""
    eeg = {key: changes.pop(key) for key in EEG & changes.keys()}
    return SMALL.replace(**changes, **({"input_spec": {"eeg": eeg}} if eeg else {}))


@pytest.fixture(scope="session")
def small() -> EVERConfig:
    """The configuration of :func:`make`."""
    return SMALL


@pytest.fixture(scope="session")
def make():
    """A function that builds a small EVER with the same random weights each time."""

    def build(**changes) -> EVER:
        torch.manual_seed(7)
        return EVER(changed(**changes)).eval()

    return build


@pytest.fixture(scope="session")
def batch():
    """A function that draws the inputs of a small EVER."""

    def draw(model: EVER, n: int = 3, seed: int = 1) -> dict[str, torch.Tensor]:
        g = torch.Generator().manual_seed(seed)
        spec = model.input_spec
        unit = {"eeg": 20, "video": 1}
        return {m: unit[m] * torch.randn(n, *spec.shape(m), generator=g) for m in spec.modalities}

    return draw


@pytest.fixture(scope="session")
def leaves():
    """A function that returns all tensors of an output by name."""

    def flat(output) -> dict[str, torch.Tensor]:
        return {"logits": output.logits, "embedding": output.embedding, **output.embeddings, **output.attention}

    return flat


@pytest.fixture(scope="session")
def assert_same(leaves):
    """A function that compares two outputs tensor by tensor."""

    def compare(a, b, **tolerance) -> None:
        a, b = leaves(a), leaves(b)
        assert a.keys() == b.keys()
        for key in a:
            torch.testing.assert_close(a[key], b[key], msg=lambda m, key=key: f"{key}: {m}", **tolerance)

    return compare
