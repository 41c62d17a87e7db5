"""One rule of masks for every system: what is left out matters to nothing, and nothing left is nothing there."""

from __future__ import annotations

import pytest
import torch

import evermodels as em
from evermodels.core.errors import ConfigError, ShapeError
from tests import toys

SYSTEMS = ["milmer_tiny", "mercl_tiny", "trimodal_tiny"]
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def build(name: str, **changes):
    torch.manual_seed(3)
    model = em.create_model(name, **toys.shallow(name, **changes))
    model.fit_statistics([draw(model)])
    return model.eval()


def draw(model, n: int = 3) -> dict[str, torch.Tensor]:
    g = torch.Generator().manual_seed(1)
    return {m: 3 * torch.randn(n, *model.input_spec.shape(m), generator=g) for m in model.modalities}


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_video_without_a_valid_frame_is_no_video(name):
    model = build(name)
    inputs = draw(model)
    mask = torch.ones(inputs["video"].shape[:2], dtype=torch.bool)
    mask[0, 3:], mask[1] = False, False
    for fill in (float("nan"), 1e6):
        inputs["video"][~mask] = fill
        with torch.no_grad():
            masked = model(**inputs, masks={"video": mask})
            there = {"video": torch.tensor([True, False, True])}
            said = model(**{**inputs, "video": inputs["video"].nan_to_num(7.0)}, masks={"video": mask}, present=there)
        assert torch.isfinite(masked.logits).all()
        torch.testing.assert_close(masked.logits, said.logits)
        assert not masked.embeddings["video"][1].any() and masked.embeddings["video"][0].any()
    with pytest.raises(ShapeError, match=r"samples \[1\] have no modality"):
        model(video=inputs["video"], masks={"video": mask})


@pytest.mark.parametrize("name", SYSTEMS)
def test_an_encoder_of_whole_clips_takes_no_masks(name):
    model = build(name, encoders={"video": {"name": "videomae_nano", "config": {"depth": 1, "tubelet_size": 2}}})
    assert "video" not in model.masked
    inputs = draw(model)
    with pytest.raises(ConfigError, match=r"got 'video'\. Its encoder of video reads a sample as a whole"):
        model(**inputs, masks={"video": torch.ones(inputs["video"].shape[:2], dtype=torch.bool)})


@pytest.mark.parametrize("name", ["mercl_tiny", "trimodal_tiny", "single_audio"])
def test_sound_that_is_silent_throughout_is_heard_whole(name):
    changes = {"encoders": {"audio": {"name": "ast_nano", "config": {"depth": 1, "stride": (64, 64)}}}}
    model = build(name, **(changes if name == "single_audio" else {}))
    inputs = draw(model)
    mask = torch.zeros(inputs["audio"].shape[:2], dtype=torch.bool)
    mask[0, :200] = True
    with torch.no_grad():
        masked, whole = model(**inputs, masks={"audio": mask}), model(**inputs)
    torch.testing.assert_close(masked.logits[1:], whole.logits[1:], **CLOSE)
    assert not torch.allclose(masked.logits[0], whole.logits[0], **CLOSE)


def test_a_model_of_before_reads_padding_as_it_did():
    model = build("trimodal_tiny", audio_readout="whole")
    assert model.masked == ("video",)
    assert em.create_model("single_audio", readout="embedding").masked == ()
