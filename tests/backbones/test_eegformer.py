"""EEGformer: each of the paper's steps against a loop, its open points, any montage and window."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.signal
import torch
from torch.nn import functional as F

import evermodels as em
from evermodels.backbones import EEGformer, EEGformerConfig
from evermodels.core.errors import ConfigError
from evermodels.layers import attention_maps

SMALL = EEGformerConfig(
    in_chans=3,
    num_samples=40,
    num_filters=4,
    kernel_size=5,
    dim=8,
    depth=2,
    num_heads=2,
    num_segments=4,
    temporal_dim=6,
    decoder_filters=5,
    decoder_activation="relu",
)


def make(**changes) -> EEGformer:
    torch.manual_seed(0)
    model = EEGformer(SMALL.replace(num_classes=3, **changes)).double().eval()
    with torch.no_grad():
        for p in model.parameters():
            p.normal_(std=0.4)
    return model


def attention(block, x):
    """One block for the tokens of one sequence, head by head and token by token."""
    n, dim = x.shape
    heads, width = block.attn.num_heads, dim // block.attn.num_heads
    y = F.layer_norm(x, (dim,), block.norm1.weight, block.norm1.bias, block.norm1.eps)
    q, k, v = (y @ block.attn.qkv.weight.T + block.attn.qkv.bias).split(dim, dim=1)
    mixed = torch.zeros_like(x)
    for h in range(heads):
        part = slice(h * width, (h + 1) * width)
        for i in range(n):
            scores = torch.stack([q[i, part] @ k[j, part] / math.sqrt(width) for j in range(n)]).softmax(0)
            mixed[i, part] = sum(scores[j] * v[j, part] for j in range(n))
    x = x + mixed @ block.attn.proj.weight.T + block.attn.proj.bias
    y = F.layer_norm(x, (dim,), block.norm2.weight, block.norm2.bias, block.norm2.eps)
    hidden = F.gelu(y @ block.mlp.fc1.weight.T + block.mlp.fc1.bias)
    return x + hidden @ block.mlp.fc2.weight.T + block.mlp.fc2.bias


def sequence(part, vectors):
    x = vectors @ part.proj.weight.T + part.pos_embed[0]
    for block in part.blocks:
        x = attention(block, x)
    return x


@pytest.mark.parametrize("multiply", ["last", "first"])
def test_equals_the_paper_s_steps_in_loops(multiply):
    model = make(multiply=multiply)
    c = model.config
    eeg = 20 * torch.randn(2, 3, 40, dtype=torch.float64)
    convolutions = [layer for layer in model.convolutions.layers if isinstance(layer, torch.nn.Conv1d)]
    with torch.no_grad():
        got = model(eeg)
        for b, one in enumerate(eeg):
            x = torch.from_numpy(scipy.signal.detrend(one.numpy(), axis=1))
            x = x / (x.var(dim=1, keepdim=True, correction=0) + 1e-5).sqrt()
            features = [[row] for row in x]  # of each channel
            for layer in convolutions:
                per = layer.out_channels // 3
                made = []
                for s in range(3):
                    rows = []
                    for f in range(per):
                        source = features[s][f if len(features[s]) == per else 0]
                        taps, bias = layer.weight[s * per + f, 0], layer.bias[s * per + f]
                        rows.append((source.unfold(0, 5, 1) @ taps + bias).relu())
                    made.append(rows)
                features = made
            z = [sequence(model.regional, torch.stack(rows)) for rows in features]  # S of (C, D)
            z = [sequence(model.synchronous, torch.stack([z[s][f] for s in range(3)])) for f in range(4)]  # C of (S, D)
            segments = []
            for m in range(4):
                mean = torch.stack([z[f][:, 2 * m : 2 * m + 2].mean(dim=1) for f in range(4)], dim=1)  # (S, C)
                segments.append(mean.flatten())
            tokens = sequence(model.temporal, torch.stack(segments))
            tokens = (tokens @ model.back.weight.T + model.back.bias).view(4, 3, 4)
            d = model.decoder
            y = (tokens @ d.features.weight[0] + d.features.bias).relu()  # (M, S)
            y = (y @ d.channels.weight.T + d.channels.bias).relu()  # (M, N)
            y = (d.segments.weight @ y + d.segments.bias[:, None]).relu()  # (M / 2, N)
            want = model.head.weight @ y.flatten() + model.head.bias
            torch.testing.assert_close(got[b], want, rtol=1e-9, atol=1e-9)
    assert c.num_features == 28 and y.shape == (2, 5)


def test_the_window_is_normalised_as_asked():
    eeg = np.random.default_rng(0).standard_normal((2, 3, 40)) * 15 + np.linspace(0, 80, 40)
    x = torch.from_numpy(eeg)
    free = scipy.signal.detrend(eeg, axis=2)
    got = make().normalise(x).numpy()
    np.testing.assert_allclose(got, free / free.std(axis=2, keepdims=True), atol=1e-5)
    got = make(detrend="constant", scale="fixed", unit=5.0).normalise(x).numpy()
    np.testing.assert_allclose(got, (eeg - eeg.mean(axis=2, keepdims=True)) / 5.0, atol=1e-12)
    torch.testing.assert_close(make(detrend="none", scale="fixed", unit=2.0).normalise(x), x / 2, rtol=0, atol=0)
    flat = make()(torch.full((1, 3, 40), 7.0, dtype=torch.float64))
    assert torch.isfinite(flat).all()
    half = make().to(torch.bfloat16)
    assert half(x.to(torch.bfloat16)).dtype == torch.bfloat16


def test_the_scale_of_a_recording_does_not_matter_where_it_is_taken_out():
    x = torch.randn(2, 3, 40, dtype=torch.float64)
    zscore, fixed = make(), make(scale="fixed")
    torch.testing.assert_close(zscore(1e3 * x), zscore(1e6 * x))
    assert not torch.allclose(fixed(1e3 * x), fixed(1e4 * x))


def test_open_points_are_configuration():
    shapes = {}
    x = torch.randn(2, 3, 40, dtype=torch.float64)
    for changes in (
        {},
        {"temporal_dim": None},
        {"position": "sinusoid"},
        {"activation": "log_power"},
        {"decoder_activation": "identity"},
        {"num_convs": 1},
    ):
        model = make(**changes)
        assert model(x).shape == (2, 3) and model.forward_features(x).shape == (2, 4, 12)
        shapes[str(changes)] = model(x)
    assert len({tuple(v.flatten().tolist()) for v in shapes.values()}) == len(shapes)
    literal = make(temporal_dim=None)
    assert literal.temporal.pos_embed.shape == (1, 4, 12) and isinstance(literal.back, torch.nn.Identity)


@pytest.mark.parametrize("activation", ["relu", "log_power"])
def test_fresh_weights_let_signals_through(activation):
    """What differs between windows is not shrunk away: with torch's own draws it was a hundredth of the values."""
    x = 20 * torch.randn(16, 19, 500)
    for seed in range(3):
        torch.manual_seed(seed)
        model = em.create_model("eegformer_nano", activation=activation, depth=1).eval()
        with torch.no_grad():
            embedding = model(x)
        assert embedding.std(dim=0).mean() > 0.03 and embedding.std() < 10


def test_power_is_read_once_after_the_last_filter():
    layers = make(activation="log_power").convolutions.layers
    assert [type(layer).__name__ for layer in layers[1::2]] == ["Identity", "Identity", "LogPower"]
    x = torch.randn(2, 3, 40, dtype=torch.float64)
    kept = torch.nn.Sequential(*layers[:-1])(x)
    torch.testing.assert_close(layers(x), (1 + kept**2).log())


def test_fixed_positions_after_save_and_load(tmp_path):
    model = em.create_model("eegformer_nano", position="sinusoid", depth=1, num_classes=2).eval()
    loaded = em.from_pretrained(model.save_pretrained(tmp_path / "m"))
    x = 20 * torch.randn(1, 19, 500)
    assert torch.equal(loaded(x), model(x)) and "regional.pos_embed" not in model.state_dict()


@pytest.mark.parametrize(("channels", "samples"), [(1, 28), (4, 256), (62, 801)])
def test_any_montage_and_window(channels, samples):
    model = em.create_model("eegformer_nano", in_chans=channels, num_samples=samples, num_classes=2, depth=1).eval()
    assert torch.isfinite(model(20 * torch.randn(2, channels, samples))).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_samples": 12}, "num_samples: expected more than 12, which 3 layers of filters take away, got 12"),
        ({"num_segments": 3}, "num_segments: expected an even number of at least 2"),
        ({"dim": 6}, r"dim: expected a multiple of num_heads \(2\) and num_segments"),
        ({"temporal_dim": 5}, r"temporal_dim: expected a multiple of num_heads \(2\), got 5"),
        ({"temporal_dim": None, "num_filters": 3}, r"num_filters: expected a multiple of num_heads \(2\), got 3"),
        ({"unit": 0.0}, "unit: expected a positive number"),
        ({"drop_rate": 1.0}, r"drop_rate: expected a number in \[0, 1\)"),
    ],
)
def test_what_cannot_be_is_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        SMALL.replace(**change)


def test_the_attention_of_each_transformer_can_be_read():
    model = EEGformer.from_preset("eegformer_nano", in_chans=3, num_samples=200).eval()
    maps = attention_maps(model, 20 * torch.randn(2, 3, 200))
    shapes = {name: weights.shape for name, weights in maps.items()}
    assert shapes["regional.blocks.0.attn"] == (2 * 3, 4, 8, 8)  # features of each channel
    assert shapes["synchronous.blocks.1.attn"] == (2 * 8, 4, 3, 3)  # channels for each feature
    assert shapes["temporal.blocks.1.attn"] == (2, 4, 8, 8) and len(shapes) == 6
    assert all(torch.allclose(weights.sum(-1), torch.ones(())) for weights in maps.values())
