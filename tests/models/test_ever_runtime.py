"""EVER under compile, export, autocast and casts; its state; a fresh head."""

from __future__ import annotations

import pytest
import torch

from evermodels.core.errors import ConfigError
from evermodels.models import EVER, EVERConfig


def ids(changes) -> str:
    return ",".join(f"{k}={v}" for k, v in changes.items()) or "full"


def test_compile_equality(make, batch, assert_same):
    model = make(encoders={"eeg": {"config": {"embed_dim": 16, "depth": 1}}})
    inputs = batch(model)
    present = {"video": torch.tensor([True, False, True])}
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    assert_same(compiled(**inputs, present=present), model(**inputs, present=present), rtol=1e-4, atol=1e-5)


def test_export_equality(make, batch, assert_same):
    model = make()
    inputs = batch(model)
    inputs["present"] = {"video": torch.tensor([True, False, True])}
    size = torch.export.Dim("batch", min=2, max=16)
    shapes = {"eeg": {0: size}, "video": {0: size}, "present": {"video": {0: size}}, "masks": None}
    inputs = {"eeg": None, "video": None, "masks": None, **inputs}
    program = torch.export.export(model, (), inputs, dynamic_shapes=shapes)
    other = {**inputs, **batch(model, 5, seed=9), "present": {"video": torch.tensor([True, False, True, False, True])}}
    for arguments in (inputs, other):
        assert_same(program.module()(**arguments), model(**arguments), rtol=1e-4, atol=1e-5)


def test_bfloat16_autocast_is_close(make, batch):
    model = make()
    inputs = batch(model)
    want = model(**inputs)
    with torch.autocast("cpu", torch.bfloat16):
        got = model(**inputs)
    assert got.attention["adjacency_local"].dtype == torch.float32
    scale = want.logits.abs().max()
    assert (got.logits.float() - want.logits).abs().max() < 0.05 * scale + 0.02


def test_float64_model_takes_float32_recordings(make, batch):
    model = make()
    inputs = batch(model)
    want = model(**inputs)
    got = model.double()(eeg=inputs["eeg"], video=inputs["video"])
    assert got.logits.dtype == torch.float64
    torch.testing.assert_close(got.logits.float(), want.logits, rtol=1e-3, atol=1e-4)
    back = model.float()(eeg=inputs["eeg"].double(), video=inputs["video"].double())
    torch.testing.assert_close(back.logits, want.logits)


def test_flat_channel_gives_finite_values_and_gradients(make, batch, leaves):
    model = make().train()
    inputs = batch(model)
    inputs["eeg"][:, 2] = 5.0
    inputs["eeg"][0] = 0.0
    output = model(**inputs)
    output.logits.square().sum().backward()
    assert all(torch.isfinite(x).all() for x in leaves(output).values())
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_state_round_trip_and_meta(batch, assert_same, small):
    config = small.replace(drop_rate=0.1)
    source = EVER(config).eval()
    inputs = batch(source)
    with torch.device("meta"):
        model = EVER(EVERConfig.from_dict(config.to_dict())).eval()
    model.load_state_dict(source.state_dict(), assign=True)
    for module in model.modules():
        if hasattr(module, "reset_buffers"):
            module.reset_buffers()
    assert not any(t.is_meta for t in (*model.parameters(), *model.buffers()))
    assert_same(model(**inputs), source(**inputs), rtol=0, atol=0)


@pytest.mark.parametrize("changes", [{}, {"fusion": "naive"}, {"modalities": ("video",)}], ids=ids)
def test_reset_classifier_renews_the_head_only(make, batch, changes):
    model = make(**changes)
    inputs = batch(model)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    model.reset_classifier(6)
    assert model(**inputs).logits.shape == (3, 6)
    assert model.config.num_classes == 6
    for key, value in model.state_dict().items():
        if key.startswith(EVER.head_prefixes):
            assert value.shape[0] == 6
        else:
            assert torch.equal(value, before[key])
    assert any(key.startswith(EVER.head_prefixes) for key in before)
    model.reset_classifier(0)
    output = model(**inputs)
    assert output.logits.shape == (3, 0) and output.embedding.shape == (3, model.embed_dim)
    with pytest.raises(ConfigError, match="num_classes"):
        model.reset_classifier(-1)


def test_parameter_groups_cover_each_parameter_once(make):
    model = make()
    groups = model.parameter_groups()
    assert list(groups) == ["eeg_encoder", "video_encoder", "rest"]
    every = [id(p) for group in groups.values() for p in group]
    assert sorted(every) == sorted(id(p) for p in model.parameters())
    assert {id(p) for p in groups["video_encoder"]} == {id(p) for p in model.video_encoder.parameters()}
    assert {id(p) for p in groups["eeg_encoder"]} == {id(p) for p in model.eeg_encoder.parameters()}
