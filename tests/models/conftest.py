"""A small EVER, its inputs, and the comparison of two outputs."""

from __future__ import annotations

import pytest
import torch

from evermodels.models import EVER, EVERConfig

SMALL = EVERConfig(
    num_classes=3,
    eeg_encoder="audio_mamba_nano",
    eeg_config={"embed_dim": 16, "depth": 2},
    video_encoder="videomae_nano",
    video_config={"embed_dim": 24, "depth": 1, "num_heads": 2, "patch_size": 8},
    dim=20,
    ch_names=("Fp1", "F4", "T7", "C3", "Cz", "P4", "O1"),
    sfreq=32.0,
    window_seconds=2.0,
    n_fft=16,
    spectrogram_size=(16, 16),
    num_frames=4,
    img_size=(16, 24),
)


@pytest.fixture(scope="session")
def small() -> EVERConfig:
    """The configuration of :func:`make`."""
    return SMALL


@pytest.fixture(scope="session")
def make():
    """A function that builds a small EVER with the same random weights each time."""

    def build(**changes) -> EVER:
        torch.manual_seed(7)
        return EVER(SMALL.replace(**changes)).eval()

    return build


@pytest.fixture(scope="session")
def batch():
    """A function that draws the inputs of a small EVER."""

    def draw(model: EVER, n: int = 3, seed: int = 1) -> dict[str, torch.Tensor]:
        g = torch.Generator().manual_seed(seed)
        c = model.config
        full = {
            "eeg": 20 * torch.randn(n, len(c.recorded_ch_names), round(c.sfreq * c.window_seconds), generator=g),
            "video": torch.randn(n, c.num_frames, 3, *c.img_size, generator=g),
        }
        return {m: full[m] for m in c.modalities}

    return draw


@pytest.fixture(scope="session")
def leaves():
    """A function that returns all tensors of an output by name."""

    def flat(output) -> dict[str, torch.Tensor]:
        return {"logits": output.logits, **output.embeddings, **output.attention}

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
