"""Trimodal fusion: the way of the data in steps, frames that vote, masks, each subset of modalities."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

import evermodels as em
from evermodels.core.errors import ConfigError, ShapeError, SignalError
from evermodels.core.specs import AudioSpec, EEGSpec, InputSpec, VideoSpec
from evermodels.models import EncoderConfig, TrimodalFusion, TrimodalFusionConfig
from evermodels.report import write_report
from evermodels.signals import EEG, Audio

SMALL = TrimodalFusionConfig(
    num_classes=3,
    input_spec=InputSpec(
        window_seconds=1.0,
        eeg=EEGSpec(ch_names=("Fp1", "F4", "Cz", "O1"), sfreq=64.0),
        video=VideoSpec(num_frames=3, size=(16, 16)),
        audio=AudioSpec(sfreq=1600.0, n_mels=16),
    ),
    encoders={
        "eeg": EncoderConfig("eegformer_nano", {"depth": 1, "num_filters": 4, "decoder_filters": 3}),
        "video": EncoderConfig("vit_frames_nano", {"embed_dim": 24, "depths": (1,), "patch_size": 8}),
        "audio": EncoderConfig("ast_nano", {"embed_dim": 24, "depth": 1, "patch_size": 8, "stride": (8, 8)}),
    },
    dim=8,
    num_heads=2,
)


def make(**changes) -> TrimodalFusion:
    torch.manual_seed(3)
    model = TrimodalFusion(SMALL.replace(**changes)).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return model


def draw(model, n: int = 3) -> dict[str, torch.Tensor]:
    torch.manual_seed(5)
    return {m: torch.randn(n, *model.input_spec.shape(m)) for m in model.modalities}


def test_equals_its_steps():
    model = make()
    x = draw(model)
    with torch.no_grad():
        output = model(**x)
        eeg = model.eeg_projection(model.eeg_encoder(x["eeg"]))
        audio = model.audio_projection(model.audio_encoder(x["audio"]))
        logits, weights = torch.zeros(3, 3), torch.zeros(3, 3)
        for t in range(3):  # each frame by itself, as a clip of one
            frame = model.video_encoder.forward_frames(x["video"][:, t : t + 1])[:, 0, 0]  # its class token
            fused = model.fusion(torch.stack([eeg, model.video_projection(frame), audio], dim=1))
            logits += model.head(fused.embedding) / 3
            weights += fused.weights / 3
    torch.testing.assert_close(output.logits, logits, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(output.attention["modalities"], weights, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(output.embeddings["audio"], audio)
    assert list(output.embeddings) == ["eeg", "video", "audio"]


def test_frames_are_averaged_before_the_fusion_where_they_do_not_vote():
    voting, mean = make(), make(frame_voting=False)
    x = draw(voting)
    with torch.no_grad():
        token = voting(**x).embeddings["video"]
        fused = mean.fusion(torch.stack([*list(mean(**x).embeddings.values())], dim=1))
        torch.testing.assert_close(mean(**x).embeddings["video"], token)
        torch.testing.assert_close(mean(**x).logits, mean.head(fused.embedding))
        assert not torch.allclose(mean(**x).logits, voting(**x).logits)


def test_only_valid_frames_vote():
    for changes in ({}, {"frame_voting": False}, {"fusion": "concat"}, {"modalities": ("video",)}):
        model = make(**changes)
        x = draw(model)
        mask = torch.tensor([[True, True, True], [True, False, True], [False, True, False]])
        other = {**x, "video": torch.where(mask[..., None, None, None], x["video"], float("nan"))}
        with torch.no_grad():
            got, same = model(**x, masks={"video": mask}), model(**other, masks={"video": mask})
            whole = model(**x)
            torch.testing.assert_close(got.logits, same.logits)
            torch.testing.assert_close(got.logits[0], whole.logits[0])
            assert not torch.allclose(got.logits[1:], whole.logits[1:])
            alone = {m: v[2:] for m, v in x.items()}
            alone["video"] = alone["video"][:, 1:2].expand(-1, 3, -1, -1, -1)  # the one valid frame only
            torch.testing.assert_close(got.logits[2:], model(**alone).logits, rtol=1e-4, atol=1e-5)


def test_masks_that_cannot_be():
    model = make()
    x = draw(model)
    none = torch.tensor([[True] * 3, [False] * 3, [True] * 3])
    with pytest.raises(ShapeError, match=r"masks\['video'\]"):
        model(**x, masks={"video": none[:, :2]})
    with pytest.raises(ConfigError, match="expected bool"):
        model(**x, masks={"video": none.float()})
    with pytest.raises(ConfigError, match="came without video"):
        model(eeg=x["eeg"], masks={"video": none})
    with pytest.raises(ConfigError, match="takes video, got 'audio'"):
        model(**x, masks={"audio": none})
    clips = make(encoders={"video": {"name": "videomae_nano", "config": {"tubelet_size": 1, "patch_size": 8}}})
    assert clips(**x).logits.shape == (3, 3)
    with pytest.raises(ConfigError, match=r"got 'video'\. Its encoder of video reads a sample as a whole"):
        clips(**x, masks={"video": none})


@pytest.mark.parametrize(
    "kept", [s for size in (1, 2, 3) for s in itertools.combinations(("eeg", "video", "audio"), size)]
)
def test_any_subset_is_a_configuration(kept, tmp_path):
    model = make(modalities=kept)
    x = draw(model)
    output = model(**x)
    assert model.modalities == kept and output.logits.shape == (3, 3)
    assert ("modalities" in output.attention) == (len(kept) > 1)
    if len(kept) == 1:
        torch.testing.assert_close(output.embedding, output.embeddings[kept[0]])
        return
    assert output.attention["modalities"].shape == (3, len(kept))
    gone = model(**{m: x[m] for m in kept[1:]})
    assert not gone.attention["modalities"][:, 0].any()
    torch.testing.assert_close(gone.attention["modalities"].sum(1), torch.ones(3))
    loaded = em.from_pretrained(model.save_pretrained(tmp_path / "m"))
    assert torch.equal(loaded(**x).logits, output.logits)


def test_concatenation_is_the_comparison():
    model = make(fusion="concat")
    x = draw(model)
    output = model(**x)
    assert output.embedding.shape == (3, 24) and "modalities" not in output.attention
    assert not torch.equal(model(eeg=x["eeg"]).logits, model(audio=x["audio"]).logits)


def test_another_headset():
    model = make()
    x = draw(model)
    model.adapt_montage(("O1", "Cz", "F4", "Fp1"))
    turned = model(**{**x, "eeg": x["eeg"].flip(1)})
    model.adapt_montage(("Fp1", "F4", "Cz", "O1"))
    torch.testing.assert_close(turned.logits, model(**x).logits, rtol=1e-4, atol=1e-5)


def test_bad_input_is_said():
    model = make()
    x = draw(model)
    with pytest.raises(SignalError, match=r"audio: .* NaN"):
        model(**{**x, "audio": torch.full_like(x["audio"], float("nan"))})
    with pytest.raises(ShapeError, match="same batch size"):
        model(**{**x, "audio": x["audio"][:2]})
    silent = model(**{**x, "audio": torch.full_like(x["audio"], -1.3), "eeg": torch.zeros_like(x["eeg"])})
    assert torch.isfinite(silent.logits).all()
    loss = model.make_loss([5, 0, 0])
    assert torch.isfinite(loss(model(**x), torch.zeros(3, dtype=torch.long)).total)  # a batch of one class


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_heads": 3}, r"num_heads: expected a divisor of dim \(8\), got 3"),
        ({"fusion": "sum"}, "fusion"),
        ({"input_spec": {"eye": {"features": ["pupil_mean"]}}}, "expected any of eeg, video, audio"),
        ({"encoders": {"audio": {"name": "vit_frames_nano"}}}, "encoders.audio.name: expected a backbone whose input"),
    ],
)
def test_what_cannot_be_is_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        make(**change)


def test_a_report_shows_which_modality_counted(tmp_path):
    pytest.importorskip("matplotlib")
    model = make()
    rng = np.random.default_rng(0)
    eeg = EEG(20 * rng.standard_normal((4, 192)), ch_names=model.config.ch_names, sfreq=64.0, unit="uV")
    audio = Audio(0.1 * rng.standard_normal(48000).clip(-3, 3), sfreq=16000)
    model.classes = ("a", "b", "c")
    result = em.Recognizer(model).predict(eeg=eeg, audio=audio)
    assert result.attention["modalities"].shape == (3, 3) and not result.attention["modalities"][:, 1].any()
    page = write_report(result, tmp_path / "report.html").read_text("utf-8")
    assert "Which modality counted" in page and model.captions["modalities"] in page


def test_presets():
    with torch.device("meta"):
        tiny, base = em.create_model("trimodal_tiny"), em.create_model("trimodal_base")
    assert sum(p.numel() for p in tiny.parameters()) <= 1_500_000
    assert [type(base.encoder(m)).__name__ for m in base.modalities] == ["EEGformer", "FrameEncoder", "AST"]
    assert base.input_spec.shape("audio") == (498, 128) and base.input_spec.shape("eeg") == (30, 500)
