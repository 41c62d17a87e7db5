"""Milmer beyond the contract of systems: its equations piece by piece, masks of frames, the tables' switches."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

import evermodels as em
from evermodels import samples
from evermodels.backbones import ChannelMLP, SpectrogramChannelMLP
from evermodels.core.errors import ConfigError, ShapeError
from evermodels.functional import canonical_correlation
from evermodels.models import Milmer
from evermodels.report import render_report
from evermodels.signals import Video

NAN = float("nan")
SMALL = {
    "input_spec": {"video": {"num_frames": 5, "size": (32, 32)}},
    "encoders": {"video": {"config": {"depths": (1, 1), "num_heads": (1, 2)}}},
    "dim": 24,
    "num_queries": 6,
    "k": 2,
    "score_dim": 8,
}


def build(**changes) -> Milmer:
    torch.manual_seed(1)
    values = {key: value for key, value in {**SMALL, **changes}.items() if value is not None}
    model = em.create_model("milmer_tiny", **values)
    torch.nn.init.normal_(model.head.weight)  # so that differences show
    return model.eval()


def batch(n: int = 3) -> dict[str, torch.Tensor]:
    return {"eeg": 20 * torch.randn(n, 19, 500), "video": torch.randn(n, 5, 3, 32, 32)}


def test_presets():
    with torch.device("meta"):
        tiny, base = em.create_model("milmer_tiny"), em.create_model("milmer_base")
        raw = em.create_model("milmer_tiny", encoders={"eeg": {"name": "channel_mlp_tiny"}})
    assert sum(p.numel() for p in tiny.parameters()) < 1_500_000
    assert isinstance(tiny.encoder("eeg"), SpectrogramChannelMLP) and type(raw.encoder("eeg")) is ChannelMLP
    shapes = {m: base.input_spec.shape(m) for m in base.modalities}
    assert shapes == {"eeg": (32, 384), "video": (10, 3, 224, 224)}
    assert base.positions["eeg"].shape == (32, 768) and base.positions["video"].shape == (64, 768)
    none = Milmer(base.config.replace(integration="none", num_classes=0).replace(dim=768))
    assert none.positions["video"].shape == (147, 768)  # three times 49, as Table 4 says


def test_the_way_of_the_data_piece_by_piece():
    model, inputs = build(), batch()
    with torch.no_grad():
        output = model(**inputs)
        frames = model.video_projection(model.encoder("video").forward_frames(inputs["video"]))
        picked = model.mil(frames)
        visual = model.integration(picked.chosen.flatten(1, 2))
        maps = model.spectrogram(inputs["eeg"])
        eeg = model.eeg_projection(model.encoder("eeg").forward_features(maps))
        x = torch.cat(
            [
                model.cls.expand(3, 1, -1),
                eeg + model.positions["eeg"] + model.kinds["eeg"],
                visual + model.positions["video"] + model.kinds["video"],
            ],
            dim=1,
        )
        for block in model.blocks:
            x = block(x)
        want = model.norm(x[:, 0])
    torch.testing.assert_close(output.embedding, want)
    torch.testing.assert_close(output.logits, model.head(want))
    torch.testing.assert_close(output.embeddings["eeg"], eeg.mean(1))
    torch.testing.assert_close(output.embeddings["video"], visual.mean(1))
    shown = output.attention["frames"]
    assert torch.equal(shown, picked.chosen_weights) and ((shown > 0).sum(1) == 2).all()
    assert (shown.sum(1) < 1).all()


@pytest.mark.parametrize("integration", ["cross_attention", "mlp", "none"])
@pytest.mark.parametrize("selection", ["top_k", "even", "single", "all"])
def test_the_switches_of_tables_4_and_6(selection, integration):
    model, inputs = build(selection=selection, integration=integration), batch()
    output = model.train()(**inputs)
    count = {"single": 1, "all": 5}.get(selection, 2)
    frames = output.attention["frames"]
    assert ((frames > 0).sum(1) == count).all()
    if selection != "top_k":
        torch.testing.assert_close(frames.sum(1), torch.ones(3))
        assert frames[0].nonzero().flatten().tolist() == {1: [2], 2: [1, 3], 5: [0, 1, 2, 3, 4]}[count]
    assert len(model.positions["video"]) == (6 if integration == "cross_attention" else count * 16)
    output.logits.square().sum().backward()
    silent = [n for n, p in model.named_parameters() if (p.grad is None or not p.grad.any()) and "absent" not in n]
    assert not silent
    mask = torch.tensor([[True, False, True, True, True], [False, False, True, False, False], [False] * 5])
    got = model.eval()(**inputs, masks={"video": mask})
    assert torch.isfinite(got.logits).all() and not (got.attention["frames"] * ~mask).any()


class TestMasks:
    def test_what_is_masked_matters_to_nothing(self):
        model, inputs = build(), batch()
        mask = torch.tensor([[True, True, False, True, False], [False, False, True, False, False], [True] * 5])
        found = []
        for fill in (NAN, 0.0, 1e6):
            video = torch.where(mask[..., None, None, None], inputs["video"], fill)
            model.zero_grad()
            output = model(inputs["eeg"], video, masks={"video": mask})
            output.logits.sum().backward()
            found.append((output.logits, output.attention["frames"], model.mil.v.weight.grad.clone()))
        for other in found[1:]:
            assert all(torch.equal(a, b) for a, b in zip(other, found[0], strict=True))
        assert torch.isfinite(found[0][2]).all() and found[0][2].any()
        assert (found[0][1] > 0).sum(1).tolist() == [2, 1, 2]
        torch.testing.assert_close(found[0][0][2], model(**inputs).logits[2])

    def test_no_valid_frame_is_no_video(self):
        model, inputs = build(), batch()
        mask = torch.tensor([[False] * 5, [True] * 5, [False] * 5])
        inputs["video"][0] = NAN
        output = model(**inputs, masks={"video": mask})
        want = model(**inputs, present={"video": torch.tensor([False, True, False])})
        assert torch.equal(output.logits, want.logits) and torch.isfinite(output.logits).all()
        assert not output.embeddings["video"][::2].any() and not output.attention["frames"][::2].any()
        torch.testing.assert_close(output.logits[:1], model(eeg=inputs["eeg"][:1]).logits)
        with pytest.raises(ShapeError, match=r"samples \[0\] have no modality"):
            model(**inputs, masks={"video": mask}, present={"eeg": torch.tensor([False, True, True])})
        with pytest.raises(ShapeError, match=r"samples \[0, 2\] have no modality"):
            model(video=inputs["video"], masks={"video": mask})

    def test_wrong_ones_are_named(self):
        model, inputs = build(), batch()
        with pytest.raises(ShapeError, match=r"masks\['video'\].*frames=5, got frames=4"):
            model(**inputs, masks={"video": torch.ones(3, 4).bool()})
        with pytest.raises(ConfigError, match=r"masks\['video'\]: expected bool"):
            model(**inputs, masks={"video": torch.ones(3, 5)})
        with pytest.raises(ConfigError, match="came without video"):
            model(eeg=inputs["eeg"], masks={"video": torch.ones(3, 5).bool()})
        with pytest.raises(ConfigError, match="takes video, got 'eeg'"):
            model(**inputs, masks={"eeg": torch.ones(3, 19).bool()})
        with pytest.raises(ShapeError, match="present"):
            model(**inputs, masks={"video": torch.ones(3, 5).bool()}, present={"video": torch.ones(2).bool()})
        clip = build(
            encoders={"video": {"name": "videomae_nano", "config": {"depth": 1}}},
            input_spec={"video": {"num_frames": 4, "size": (32, 32)}},
        )
        with pytest.raises(ConfigError, match=r"got 'video'\. Its encoder of video reads a sample as a whole"):
            clip(video=torch.zeros(2, 4, 3, 32, 32), masks={"video": torch.ones(2, 4).bool()})
        assert "frames" not in clip(video=torch.zeros(2, 4, 3, 32, 32)).attention


class TestFusions:
    def test_concatenation_and_deep_cca(self):
        inputs, target = batch(8), torch.arange(8) % 4
        for fusion in ("concatenation", "deep_cca"):
            model = build(fusion=fusion, cca_dim=4)
            output = model.train()(**inputs)
            assert output.embedding.shape == (8, 2 * (24 if fusion == "concatenation" else 4))
            joined = torch.cat([output.embeddings["eeg"], output.embeddings["video"]], dim=1)
            assert torch.equal(output.embedding, joined)
            terms = model.make_loss(cca_weight=0.5)(output, target)
            cross = torch.nn.functional.cross_entropy(output.logits, target)
            correlation = canonical_correlation(*output.embeddings.values()).sum() if fusion == "deep_cca" else 0
            torch.testing.assert_close(terms.total, cross - 0.5 * correlation)
            terms.total.backward()
            assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)

    def test_loss_of_one_class_and_of_one_sample(self):
        for fusion, n in itertools.product(("transformer", "deep_cca"), (1, 4)):
            model = build(fusion=fusion)
            total = model.make_loss([4, 0, 0, 0], beta=0.9)(model(**batch(n)), torch.zeros(n).long()).total
            assert torch.isfinite(total) and total.requires_grad

    def test_of_one_modality_nothing_of_the_other_is_left(self):
        for modality in ("eeg", "video"):
            model = build(modalities=(modality,), encoders=None if modality == "eeg" else SMALL["encoders"])
            other = {"eeg": "video", "video": "eeg"}[modality]
            assert not any(other in name for name, _ in model.named_parameters())
            assert model(**{modality: batch()[modality]}).logits.shape == (3, 4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k": 6}, "k: expected at most the 5 frames"),
        ({"num_heads": 5}, "num_heads: expected a divisor of dim .24."),
        ({"selection": "best"}, "selection: expected one of"),
        ({"spectrogram": {"size": (0, 4)}}, "size: expected a positive frequency"),
        ({"mlp_ratio": 0.0}, "mlp_ratio"),
        ({"window_seconds": 0.5}, "n_fft: expected between 2 and the 50 samples of a window, got 100 .about one"),
        ({"input_spec": {"audio": {"sfreq": 16000.0}}}, "expected eeg, video or both, got 'eeg, video, audio'"),
    ],
)
def test_impossible_configurations(changes, message):
    with pytest.raises(ConfigError, match=message):
        build(**changes)


def test_the_report_shows_which_frames_were_chosen(monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr("evermodels.report_pictures._address", lambda figure: "data:,")  # test_report.py writes them
    torch.manual_seed(0)
    model = em.create_model("milmer_tiny", num_classes=2, input_spec={"video": {"size": (32, 32)}})
    model.fit_statistics([{"eeg": 20 * torch.randn(4, 19, 500)}])
    model.classes = ("calm", "tense")
    pictures = np.random.default_rng(0).integers(0, 256, (60, 32, 32, 3), dtype=np.uint8)
    result = em.Recognizer(model, face=None).predict(
        eeg=samples.path("eegmat_subject33_rest.edf"), video=Video(pictures, fps=2.0)
    )
    weights = result.attention["frames"]
    assert weights.shape == (6, 10) and ((weights > 0).sum(1) == 3).all() and (weights.sum(1) < 1).all()
    axes = result.plot("video").axes[0]
    said = [text.get_text() for text in axes.texts]
    chosen = weights[result.shown] > 0
    assert [text.endswith("%") for text in said] == chosen.tolist() and len(axes.patches) == 3
    page = render_report(result)
    assert "Which frames counted" in page and "those with a weight were chosen" in page
