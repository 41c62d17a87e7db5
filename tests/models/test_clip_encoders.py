"""Each encoder of whole clips inside EVER, and alone as a classifier."""

from __future__ import annotations

import pytest
import torch

import evermodels as em

SMALL = {"embed_dim": 16, "num_heads": 2, "depth": 1}
ENCODERS = {
    "timesformer_nano": SMALL,
    "vivit_nano": SMALL,
    "video_swin_nano": {"embed_dim": 8, "depths": (2, 1), "num_heads": (1, 2)},
}
VIDEO = {"num_frames": 4, "size": (32, 48)}


def trained_a_step(model, output) -> None:
    """Every parameter of the video encoder gets a finite gradient."""
    torch.nn.functional.cross_entropy(output.logits, torch.tensor([0, 1])).backward()
    grads = {name: p.grad for name, p in model.named_parameters() if name.startswith("video_encoder.")}
    assert grads and all(g is not None and g.isfinite().all() and g.any() for g in grads.values())


@pytest.mark.parametrize("name", ENCODERS)
def test_in_ever(name):
    config = {"num_classes": 2, "ch_names": ("Fp1", "Cz", "Pz", "O2"), "sfreq": 100.0, "window_seconds": 1.0}
    encoders = {"video": {"name": name, "config": ENCODERS[name]}, "eeg": {"config": {"embed_dim": 16, "depth": 1}}}
    model = em.create_model("ever_tiny", input_spec={"video": VIDEO}, encoders=encoders, dim=16, **config)
    assert model.encoder("video").sample_shape == (4, 3, 32, 48)
    output = model(eeg=20 * torch.randn(2, 4, 100), video=torch.randn(2, 4, 3, 32, 48))
    assert output.logits.shape == (2, 2)
    trained_a_step(model, output)


@pytest.mark.parametrize("name", ENCODERS)
def test_alone_saved_and_loaded(name, tmp_path):
    encoders = {"video": {"name": name, "config": ENCODERS[name]}}
    model = em.create_model("single_video", input_spec={"video": VIDEO}, encoders=encoders, num_classes=2)
    video = torch.randn(2, 4, 3, 32, 48)
    trained_a_step(model, model(video=video))
    again = em.from_pretrained(model.save_pretrained(tmp_path / "m"))
    with torch.no_grad():
        torch.testing.assert_close(again(video=video).logits, model.eval()(video=video).logits, rtol=0, atol=0)
