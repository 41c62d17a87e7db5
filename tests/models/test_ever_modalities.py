"""Absent modalities: mixed batches, content that cannot matter, alignment, modality dropout."""

from __future__ import annotations

import pytest
import torch

from evermodels import functional as EF

SUBSETS = [("eeg", "video"), ("eeg",), ("video",)]


@pytest.mark.parametrize("fusion", ["bih_gcn", "naive"])
def test_mixed_batch_equals_each_sample_alone(make, batch, fusion):
    model = make(fusion=fusion)
    inputs = batch(model)
    present = {m: torch.tensor([m in subset for subset in SUBSETS]) for m in ("eeg", "video")}
    mixed = model(**inputs, present=present)
    for index, subset in enumerate(SUBSETS):
        alone = model(**{m: inputs[m][index : index + 1] for m in subset})
        torch.testing.assert_close(mixed.logits[index : index + 1], alone.logits, rtol=1e-5, atol=1e-6)
        for key, value in alone.attention.items():
            torch.testing.assert_close(mixed.attention[key][index : index + 1], value, rtol=1e-5, atol=1e-6)
        for m in ("eeg", "video"):
            if m in subset:
                torch.testing.assert_close(mixed.embeddings[m][index : index + 1], alone.embeddings[m])
            else:
                assert not mixed.embeddings[m][index].any()
    assert set(alone.embeddings) == {"video"}


@pytest.mark.parametrize("fusion", ["bih_gcn", "naive"])
@pytest.mark.parametrize("modality", ["eeg", "video"])
def test_content_of_an_absent_modality_does_not_matter(make, batch, assert_same, fusion, modality):
    model = make(fusion=fusion).train()
    inputs = batch(model)
    present = {modality: torch.tensor([True, False, True])}

    def run():
        model.zero_grad()
        output = model(**inputs, present=present)
        output.logits.square().sum().backward()
        return output, {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}

    want, gradients = run()
    inputs[modality] = inputs[modality].clone()
    inputs[modality][1] = float("nan")
    got, others = run()
    assert_same(got, want, rtol=0, atol=0)
    assert gradients.keys() == others.keys()
    for name in gradients:
        torch.testing.assert_close(others[name], gradients[name], rtol=0, atol=0)
    tokens = [n for n in gradients if ("token" in n or n.startswith("absent_")) and gradients[n].abs().sum() > 0]
    assert any(modality in name for name in tokens if not name.startswith("eeg_encoder"))


def test_alignment_looks_only_at_complete_samples(make, batch):
    model = make()
    inputs, target = batch(model, 4), torch.tensor([0, 1, 2, 1])
    present = {"video": torch.tensor([True, False, True, True])}
    terms = model.make_loss()(model(**inputs, present=present), target, present)
    keep = [0, 2, 3]
    complete = model(**{m: x[keep] for m, x in inputs.items()})
    want = EF.correlation_alignment(complete.embeddings["eeg"], complete.embeddings["video"])
    torch.testing.assert_close(terms.alignment, want, rtol=1e-4, atol=1e-6)


def test_modality_dropout_hides_from_the_fusion_only(make, batch):
    model = make(modality_drop_rate=0.9)
    inputs = batch(model, 8)
    clean = model(**inputs)
    model.train()
    dropped = model(**inputs)
    for m in ("eeg", "video"):
        torch.testing.assert_close(dropped.embeddings[m], clean.embeddings[m])
    dropped.logits.sum().backward()
    assert model.fusion.eeg_token.grad.abs().sum() + model.fusion.video_token.grad.abs().sum() > 0
    flags = {"eeg": torch.arange(8) != 0, "video": torch.ones(8, dtype=torch.bool)}
    hidden = model.hide(model.given(inputs, flags, None))
    assert (hidden["eeg"] | hidden["video"]).all()
    assert not hidden["eeg"][0] and not all(hidden[m].equal(flags[m]) for m in flags)
    assert model.eval().hide(model.given(inputs, None, None)) is None
