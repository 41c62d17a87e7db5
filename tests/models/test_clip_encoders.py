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


@pytest.mark.parametrize("name", ENCODERS)
def test_taken_over_from_clips_of_another_size(name, tmp_path):
    """Weights of longer, larger clips enter a system: what depends on the size is resampled, all else is the same."""
    other = em.create_model(name, num_frames=8, img_size=(48, 32), num_classes=3, **ENCODERS[name])
    folder = other.save_pretrained(tmp_path / "m")
    encoders = {"video": {"name": name, "config": ENCODERS[name]}}
    model = em.create_model("single_video", input_spec={"video": VIDEO}, encoders=encoders, num_classes=2)
    assert model.load_encoder("video", folder) == len(model.video_encoder.state_dict())
    theirs = other.state_dict()
    moved = {k for k, v in model.video_encoder.state_dict().items() if not torch.equal(v, theirs.get(k, v[:0]))}
    tables = {"timesformer_nano": {"pos_embed", "time_embed"}, "vivit_nano": {"pos_embed"}}.get(name, set())
    assert moved <= tables and bool(moved) == bool(tables)  # positions of frames start at zero
    with torch.no_grad():
        assert model.eval()(video=torch.randn(1, 4, 3, 32, 48)).logits.isfinite().all()
