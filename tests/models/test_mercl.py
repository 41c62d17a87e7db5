"""MERCL as a whole; what every system keeps is in the contract tests."""

from __future__ import annotations

import copy
import functools

import pytest
import torch

import evermodels as em
from evermodels.core.errors import ConfigError, ShapeError
from evermodels.core.specs import EEGFeatures
from evermodels.functional import differential_entropy, sample_alignment
from evermodels.models import MERCL
from tests import toys

CLOSE = {"rtol": 1e-4, "atol": 1e-5}


@functools.cache
def pristine(**changes):
    torch.manual_seed(3)
    model = em.create_model("mercl_tiny", **toys.shallow("mercl_tiny", **changes))
    if "eeg" in model.modalities:
        model.fit_statistics([{"eeg": 5 * torch.randn(4, *model.input_spec.shape("eeg"))}])
    return model.eval()


def build(**changes):
    return copy.deepcopy(pristine(**changes))


def draw(model, n=3):
    g = torch.Generator().manual_seed(1)
    return {m: torch.randn(n, *model.input_spec.shape(m), generator=g) for m in model.modalities}


@pytest.mark.parametrize("names", [("eeg", "video"), ("eeg", "audio"), ("video", "audio"), ("eeg",), ("audio",)])
def test_fewer_modalities(names):
    model = build(modalities=names)
    output = model(**draw(model))
    assert output.logits.shape == (3, 4) and set(output.embeddings) == set(names)
    torch.testing.assert_close(output.attention["modalities"].sum(1), torch.ones(3))
    assert len(model.sources) == (2 if len(names) == 2 else 1)


def test_tiny_is_tiny():
    assert sum(p.numel() for p in em.create_model("mercl_tiny").parameters()) <= 1_500_000


def test_equations_by_hand():
    """Eq. 2 and 8-13, put together from the layers."""
    model = build()
    inputs = draw(model)
    output = model(**inputs)
    with torch.no_grad():
        eeg = model.config.input_spec.eeg
        entropy = differential_entropy(
            inputs["eeg"].unfold(2, 200, 200).transpose(1, 2), eeg.sfreq, model.config.made_features.bands
        )
        features = (entropy - model.front_end.mean) / model.front_end.std
        tokens = model.video_encoder.forward_frames(inputs["video"])
        steps = {
            "eeg": model.eeg_encoder.forward_features(features),
            "video": tokens.mean(2) if model.video_encoder.config.pool == "mean" else tokens[:, :, 0],
            "audio": model.audio_encoder.forward_features(inputs["audio"]),
        }
        h = {m: model.temporal[m](x) for m, x in steps.items()}
        for m, x in h.items():
            torch.testing.assert_close(output.embeddings[m], model.shared[m](x.mean(1)), **CLOSE)
        parts = {pair: x.mean(1) for pair, x in model.attention(h).items()}
        hidden = torch.relu(model.hidden(torch.cat(list(parts.values()), dim=1)))
        torch.testing.assert_close(output.embedding, hidden, **CLOSE)
        torch.testing.assert_close(output.logits, model.head(hidden), **CLOSE)
        reached, share = model.hidden.weight.split(model.config.dim, dim=1), dict.fromkeys(h, 0.0)
        for weight, (pair, r) in zip(reached, parts.items(), strict=True):
            share[pair.split("_to_")[0]] += (r @ weight.T).norm(dim=1)
        want = torch.stack([share[m] for m in model.modalities], dim=1)
        torch.testing.assert_close(output.attention["modalities"], want / want.sum(1, keepdim=True), **CLOSE)


def test_without_attention_the_means_are_concatenated():
    model = build(cross_attention=False)
    assert model.attention is None and model.sources == list(model.modalities)
    inputs = draw(model)
    whole = model(**inputs)
    assert whole.embedding.shape == (3, 64)
    fewer = model(eeg=inputs["eeg"])
    assert torch.equal(fewer.attention["modalities"], torch.tensor([1.0, 0.0, 0.0]).expand(3, -1))


def test_masked_frames_reach_nothing():
    model = build()
    inputs, mask = draw(model), torch.ones(3, 16, dtype=torch.bool)
    mask[0, 10:], mask[1, :12] = False, False
    other = {**inputs, "video": torch.where(mask[..., None, None, None], inputs["video"], 7.0)}
    want, found = model(**inputs, masks={"video": mask}), model(**other, masks={"video": mask})
    for a, b in ((want.logits, found.logits), (want.embeddings["video"], found.embeddings["video"])):
        torch.testing.assert_close(a, b, **CLOSE)
    assert not torch.allclose(model(**other).logits[:2], found.logits[:2], **CLOSE)
    whole = model(**inputs, masks={"video": torch.ones_like(mask)})
    torch.testing.assert_close(whole.logits, model(**inputs).logits, **CLOSE)


def test_no_valid_frame_is_no_video():
    model = build()
    inputs, mask = draw(model), torch.ones(3, 16, dtype=torch.bool)
    mask[1] = False
    masked = model(**inputs, masks={"video": mask})
    said = model(**inputs, present={"video": torch.tensor([True, False, True])})
    torch.testing.assert_close(masked.logits, said.logits, **CLOSE)
    assert not masked.embeddings["video"][1].any() and not masked.attention["modalities"][1, 1]
    loss = model.make_loss(w_ce=0.0)
    target = torch.tensor([0, 1, 0])
    torch.testing.assert_close(
        loss(masked, target).total, loss(said, target, {"video": torch.tensor([True, False, True])}).total
    )
    for wrong, error in ((torch.ones(3), ConfigError), (torch.ones(2, dtype=torch.bool), ShapeError)):
        with pytest.raises(error, match=r"present\['video'\]"):
            model(**inputs, masks={"video": mask}, present={"video": wrong})
    with pytest.raises(ShapeError, match="no modality"):
        model(video=inputs["video"], masks={"video": mask})


def test_silent_samples_leave_sample_alignment_alone():
    model = build()
    inputs, mask = draw(model), torch.ones(3, 496, dtype=torch.bool)
    mask[0], mask[1, :400] = False, False
    output = model(**inputs, masks={"audio": mask})
    assert output.alignable.tolist() == [False, True, True]
    terms = model.make_loss(w_ce=0.0)(output, torch.tensor([0, 1, 0]))
    want = sample_alignment(output.embeddings, 1.0, output.alignable)
    torch.testing.assert_close(terms.sample_wise, want)
    plain = model(**inputs)
    assert plain.alignable.all()
    torch.testing.assert_close(output.logits[0], plain.logits[0], **CLOSE)  # silence is read whole
    assert not torch.allclose(output.logits[1], plain.logits[1], **CLOSE)
    absent = model(**inputs, masks={"audio": mask}, present={"audio": torch.tensor([False, True, True])})
    assert absent.alignable.all()  # there is no sound that could be silent
    every = build(energy_selection=False)(**inputs, masks={"audio": mask})
    assert every.alignable.all()


def test_absent_samples_are_no_part_of_batch_norm():
    model = build().train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    inputs, flags = draw(model, 6), torch.tensor([True, True, False, True, False, True])
    for m in ("eeg", "video", "audio"):
        one = copy.deepcopy(model)
        one(**inputs, present={m: flags})
        two = copy.deepcopy(model)
        two(**{k: x[flags] for k, x in inputs.items()})
        for a, b in zip(one.temporal[m].buffers(), two.temporal[m].buffers(), strict=True):
            torch.testing.assert_close(a, b, **CLOSE)


def test_features_that_come_ready():
    spec = {"eeg": {"features": {"bands": ((1.0, 4.0), (4.0, 8.0)), "seconds": 1.0}}}
    model = em.create_model("mercl_tiny", modalities=("eeg", "audio"), input_spec=spec).eval()
    assert model.input_spec.shape("eeg") == (5, 2, 19) and model.front_end.source is None
    model.fit_statistics([{"eeg": torch.randn(4, 5, 2, 19)}])
    assert model(**draw(model)).logits.shape == (3, 4)
    ready = model.input_spec.eeg.features
    assert isinstance(ready, EEGFeatures) and not model.config.replace(standardise=False).standardise


def test_pre_training_reaches_encoders_and_shared_space_only():
    model = build().train()
    terms = model.make_loss(w_ce=0.0)(model(**draw(model, 6)), torch.tensor([0, 1, 0, 1, 2, 2]))
    terms.total.backward()
    reached = {n.partition(".")[0] for n, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert reached == {"eeg_encoder", "video_encoder", "audio_encoder", "temporal", "shared"}


def test_what_does_not_fit_is_refused():
    model = build()
    inputs = draw(model)
    with pytest.raises(ShapeError, match=r"masks\['video'\].*frames=16"):
        model(**inputs, masks={"video": torch.ones(3, 5, dtype=torch.bool)})
    with pytest.raises(ConfigError, match=r"masks\['audio'\]: expected bool"):
        model(**inputs, masks={"audio": torch.ones(3, 496)})
    with pytest.raises(ConfigError, match="masks: this MERCL takes video and audio, got 'eeg'"):
        model(**inputs, masks={"eeg": torch.ones(3, 19, dtype=torch.bool)})
    for values, said in (
        ({"dim": 50}, "dim: expected a multiple of num_heads"),
        ({"dilations": ()}, "dilations"),
        ({"temporal_drop_rate": 1.0}, "temporal_drop_rate"),
        ({"shared_dim": 0}, "shared_dim"),
    ):
        with pytest.raises(ConfigError, match=said):
            em.create_model("mercl_tiny", **values)
    with pytest.raises(ConfigError, match="above 0"):
        model.make_loss(w_ce=0.0, w_intra=0.0, w_inter=0.0, w_sample=0.0)
    with pytest.raises(ConfigError, match="margin"):
        model.make_loss(margin=3.0)
    assert MERCL.presets["mercl_base"].modalities == ("eeg", "video", "audio")
