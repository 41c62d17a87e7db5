"""Mood Reader's spatial and temporal attention, against plain loops that share no code with it."""

import math

import pytest
import torch

from evermodels.core.errors import ConfigError, ShapeError
from evermodels.layers import InterlinkedSpatioTemporalAttention, ResidualAttention, WeighingAttention

N, F, C = 3, 2, 4


def build(heads=2, **kwargs):
    layer = InterlinkedSpatioTemporalAttention(N, F, C, num_heads=heads, **kwargs).double()
    g = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=g, dtype=torch.float64))
    return layer.eval()


def draw(batch=2):
    return torch.randn(batch, N, F, C, generator=torch.Generator().manual_seed(6), dtype=torch.float64)


# The oracle: one sample, plain lists, one equation at a time.


def times(x, weight):
    return [sum(a * b for a, b in zip(x, row, strict=True)) for row in weight]


def linear(x, layer):
    if isinstance(layer, torch.nn.Identity):
        return x
    return [a + b for a, b in zip(times(x, layer.weight.tolist()), layer.bias.tolist(), strict=True)]


def layer_norm(x, layer):
    mean = sum(x) / len(x)
    deviation = math.sqrt(sum((v - mean) ** 2 for v in x) / len(x) + layer.eps)
    return [
        (v - mean) / deviation * w + b for v, w, b in zip(x, layer.weight.tolist(), layer.bias.tolist(), strict=True)
    ]


def attention(tokens, layer):
    """Eq. 2-3: each head by itself, its outputs side by side through W^MHA."""
    dim = layer.proj.weight.shape[1]
    width = dim // layer.num_heads
    w = layer.qkv.weight.tolist()
    joined, seen = [[] for _ in tokens], []
    for h in range(layer.num_heads):
        q, k, v = (
            [times(x, w[part * dim + h * width : part * dim + (h + 1) * width]) for x in tokens] for part in range(3)
        )
        rows = []
        for i in range(len(tokens)):
            scores = [sum(a * b for a, b in zip(q[i], other, strict=True)) / math.sqrt(width) for other in k]
            exps = [math.exp(s - max(scores)) for s in scores]
            rows.append([e / sum(exps) for e in exps])
            joined[i] += [sum(r * value[d] for r, value in zip(rows[-1], v, strict=True)) for d in range(width)]
        seen.append(rows)
    return [times(x, layer.proj.weight.tolist()) for x in joined], seen


def block(tokens, layer):
    """Eq. 1-4."""
    tokens = [layer_norm(x, layer.norm1) for x in tokens]
    mixed, seen = attention(tokens, layer.attn)
    added = [[a + b for a, b in zip(m, x, strict=True)] for m, x in zip(mixed, tokens, strict=True)]
    return [layer_norm(x, layer.norm2) for x in added], seen


def interlink(own, other, layer):
    """Fig. 2: token k of the own path gets, of each token of the other, the F values that are of k."""
    opened = [linear(x, layer.unfold) for x in other]
    tokens = []
    for k, x in enumerate(own):
        part = [value for token in opened for value in token[k * F : (k + 1) * F]]
        tokens.append(linear(x, layer.own) + linear(part, layer.align))
    return attention(tokens, layer.attn)


def shares(seen):
    """Mean over blocks, heads and queries of the weight of each key."""
    rows = [row for heads in seen for head in heads for row in head]
    return [sum(row[k] for row in rows) / len(rows) for k in range(len(rows[0]))]


def slow(x, layer):
    x_s = [linear([x[n][f][c] for n in range(N) for f in range(F)], layer.spatial_proj) for c in range(C)]
    x_t = [linear([x[n][f][c] for c in range(C) for f in range(F)], layer.temporal_proj) for n in range(N)]
    seen_s, seen_t = [], []
    for s, t in zip(layer.spatial, layer.temporal, strict=True):
        x_s, w_s = block(x_s, s)
        x_t, w_t = block(x_t, t)
        seen_s, seen_t = [*seen_s, w_s], [*seen_t, w_t]
    for s, t in zip(layer.spatial_links, layer.temporal_links, strict=True):
        (new_s, w_s), (new_t, w_t) = interlink(x_s, x_t, s), interlink(x_t, x_s, t)
        x_s, x_t, seen_s, seen_t = new_s, new_t, [*seen_s, w_s], [*seen_t, w_t]
    return x_s, x_t, shares(seen_s), shares(seen_t)


@pytest.mark.parametrize(
    ("heads", "kwargs", "dims"),
    [
        (2, {}, (6, 8)),  # as they come: 2 divides N·F = 6 and C·F = 8
        (4, {"depth": 1, "interlink_depth": 2}, (8, 8)),  # the spatial path is projected, 6 -> 8
        (5, {"interlink_depth": 0}, (10, 10)),
        (3, {"spatial_dim": 3, "temporal_dim": 12}, (3, 12)),
    ],
)
def test_equals_the_loop(heads, kwargs, dims):
    layer, x = build(heads, **kwargs), draw()
    got = layer(x)
    assert got.spatial.shape == (2, C, dims[0]) and got.temporal.shape == (2, N, dims[1])
    for index in range(2):
        for ours, theirs in zip(got, slow(x[index].tolist(), layer), strict=True):
            torch.testing.assert_close(
                ours[index].double(), torch.tensor(theirs, dtype=torch.float64), rtol=0, atol=1e-6
            )
    torch.testing.assert_close(got.channel_attention.sum(1), torch.ones(2).double())
    torch.testing.assert_close(got.window_attention.sum(1), torch.ones(2).double())


def test_without_interlink_the_paths_are_apart():
    x, apart, linked = draw(), build(interlink_depth=0), build()
    other = x + torch.randn(C, dtype=torch.float64)  # the same change of all windows and bands of a channel
    for layer, moves in ((apart, False), (linked, True)):
        with torch.no_grad():
            layer.spatial[0].norm1.weight.zero_()  # the spatial path sees nothing of its own any more
            layer.spatial[1].norm1.weight.zero_()
        assert (not torch.allclose(layer(x).spatial, layer(other).spatial)) is moves


def test_an_electrode_that_all_ask_for_gets_the_attention():
    layer = build(depth=1, interlink_depth=0)
    block, x = layer.spatial[0], -torch.ones(1, N, F, C, dtype=torch.float64)
    x[:, 0, 0] = 1  # the first value of each electrode's token, N·F long: what asks
    x[:, 0, 1, 2] = 1  # the second, of one electrode only: what is asked for
    with torch.no_grad():
        block.norm1.weight.fill_(1)
        block.norm1.bias.zero_()
        block.attn.qkv.weight.zero_()
        for head in range(2):
            block.attn.qkv.weight[3 * head, 0] = 10
            block.attn.qkv.weight[6 + 3 * head, 1] = 10
    got = layer(x)
    torch.testing.assert_close(got.channel_attention, torch.tensor([[0.0, 0, 1, 0]]).double(), rtol=0, atol=1e-6)


def test_gradients_and_the_order_in_a_batch():
    layer, x = build(depth=1), draw(1).requires_grad_()
    assert torch.autograd.gradcheck(layer, (x,), fast_mode=True)
    layer, x = build().float(), draw(3).float()
    got = layer(x)
    for a, b in zip(layer(x.flip(0)), got, strict=True):
        torch.testing.assert_close(a.flip(0), b)
    layer.train()
    sum((v * torch.randn_like(v)).sum() for v in layer(x)[:2]).backward()
    silent = [name for name, p in layer.named_parameters() if p.grad is None or not p.grad.any()]
    assert not silent


def test_one_electrode_or_one_window():
    for n, c in ((1, 4), (4, 1), (1, 1)):
        got = InterlinkedSpatioTemporalAttention(n, 5, c)(torch.randn(2, n, 5, c))
        assert got.channel_attention.shape == (2, c) and all(v.isfinite().all() for v in got)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: InterlinkedSpatioTemporalAttention(0, 5, 4), ConfigError, "num_windows: expected at least 1, got 0"),
        (lambda: InterlinkedSpatioTemporalAttention(4, 5, 4, depth=0), ConfigError, "depth: expected at least 1"),
        (lambda: InterlinkedSpatioTemporalAttention(4, 5, 4, interlink_depth=-1), ConfigError, "interlink_depth"),
        (
            lambda: InterlinkedSpatioTemporalAttention(4, 5, 4, temporal_dim=12),
            ConfigError,
            r"temporal_dim: expected a multiple of num_heads \(5\), got 12",
        ),
        (lambda: InterlinkedSpatioTemporalAttention(4, 5, 4)(torch.zeros(2, 4, 4, 5)), ShapeError, "bands=5"),
        (lambda: ResidualAttention(20, 3), ConfigError, r"num_heads: expected a divisor of dim \(20\), got 3"),
        (lambda: ResidualAttention(20, 5)(torch.zeros(2, 20)), ShapeError, "x: expected"),
        (lambda: WeighingAttention(4, 8, 2)(torch.zeros(1, 2, 8)), ShapeError, "in_features=4"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
