"""The shared attention over modalities: by hand, against a slow loop, absent modalities, order, gradients."""

from __future__ import annotations

import math

import pytest
import torch

from evermodels.core.errors import ConfigError, ShapeError
from evermodels.layers import SharedAttentionFusion


def make(dim: int = 6, modalities: int = 3, heads: int = 2) -> SharedAttentionFusion:
    torch.manual_seed(0)
    layer = SharedAttentionFusion(dim, modalities, heads).double().eval()
    with torch.no_grad():
        for p in layer.parameters():
            p.normal_()
    return layer


PRESENT = torch.tensor(
    [[True, True, True], [True, False, True], [False, True, True], [True, True, False], [False, True, False]]
)


def slow(layer, tokens, present):
    """Sample by sample, head by head, asking token by asking token."""
    count, dim = tokens.shape[1:]
    width = dim // layer.num_heads
    embeddings, weights = [], []
    for given, here in zip(tokens, present, strict=True):
        x = torch.stack([given[m] if here[m] else layer.absent[m] for m in range(count)])
        y = torch.stack([(row - row.mean()) / (row.var(correction=0) + 1e-6).sqrt() for row in x])
        y = y * layer.norm.weight + layer.norm.bias
        q, k, v = zip(*(layer.qkv(row).split(dim) for row in y), strict=True)
        heads, summed = [], []
        for h in range(layer.num_heads):
            part = slice(h * width, (h + 1) * width)
            w = torch.zeros(count, dtype=torch.float64)
            for n in range(count):
                scores = {m: (q[n][part] @ k[m][part] / math.sqrt(width)).exp() for m in range(count) if here[m]}
                for m, score in scores.items():
                    w[m] += score / sum(scores.values()) / count
            heads.append(w)
            summed.append(sum(w[m] * v[m][part] for m in range(count)))
        embeddings.append(layer.proj(torch.cat(summed)))
        weights.append(torch.stack(heads))
    return torch.stack(embeddings), torch.stack(weights)


def test_against_a_slow_loop():
    layer = make()
    tokens = torch.randn(5, 3, 6, dtype=torch.float64)
    with torch.no_grad():
        got = layer(tokens, PRESENT)
        embedding, by_head = slow(layer, tokens, PRESENT)
    torch.testing.assert_close(got.embedding, embedding)
    torch.testing.assert_close(got.head_weights, by_head)
    torch.testing.assert_close(got.weights, by_head.mean(dim=1))
    torch.testing.assert_close(got.weights.sum(dim=1), torch.ones(5, dtype=torch.float64))


def test_by_hand():
    """One head, width 2, keys that score 0 and log 3 against every question: a quarter and three quarters."""
    layer = make(dim=2, modalities=2, heads=1)
    with torch.no_grad():
        layer.norm.weight.fill_(1.0)
        layer.norm.bias.zero_()
        layer.qkv.weight.zero_()
        layer.qkv.bias.copy_(torch.tensor([1.0, 0.0, 0.0, 0.0, 0.0, 0.0]))  # every question is (1, 0)
        layer.qkv.weight[2] = torch.tensor([math.sqrt(2) * math.log(3) / 2, -math.sqrt(2) * math.log(3) / 2])
        layer.qkv.weight[4:] = torch.eye(2)
        layer.proj.weight.copy_(torch.eye(2))
        layer.proj.bias.zero_()
    # Normalised tokens are (-1, 1), whose key scores -log 3, and (1, -1), whose key scores log 3.
    got = layer(torch.tensor([[[0.0, 2.0], [2.0, 0.0]]], dtype=torch.float64))
    weights = torch.tensor([[0.1, 0.9]], dtype=torch.float64)  # 1/3 : 3
    torch.testing.assert_close(got.weights, weights, atol=1e-5, rtol=0)
    torch.testing.assert_close(got.embedding, torch.tensor([[0.8, -0.8]], dtype=torch.float64), atol=1e-5, rtol=0)


def test_absent_modalities_drop_out_exactly():
    layer = make()
    tokens, found = torch.randn(5, 3, 6, dtype=torch.float64), []
    for fill in (0.0, float("nan"), float("inf")):
        x = torch.where(PRESENT[..., None], tokens, fill).requires_grad_()
        got = layer(x, PRESENT)
        layer.zero_grad()
        got.embedding.square().sum().backward()
        assert not got.weights[~PRESENT].any() and not got.head_weights.mT[~PRESENT].any()
        assert not x.grad[~PRESENT].any() and torch.isfinite(x.grad).all()
        found.append((got.embedding, layer.absent.grad.clone()))
    for embedding, gradient in found[1:]:
        assert torch.equal(embedding, found[0][0]) and torch.equal(gradient, found[0][1])
    assert found[0][1].any(dim=1).all()  # each learned token asks for its modality
    alone = layer(tokens, torch.tensor([[False, True, False]] * 5))
    assert torch.equal(alone.weights, torch.tensor([[0.0, 1.0, 0.0]] * 5, dtype=torch.float64))


def test_no_presence_is_all_present_and_the_order_is_free():
    layer = make()
    tokens = torch.randn(5, 3, 6, dtype=torch.float64)
    whole = layer(tokens)
    torch.testing.assert_close(layer(tokens, torch.ones(5, 3, dtype=torch.bool)).embedding, whole.embedding)
    order = torch.tensor([2, 0, 1])
    turned = layer(tokens[:, order])
    torch.testing.assert_close(turned.embedding, whole.embedding)
    torch.testing.assert_close(turned.weights, whole.weights[:, order])


def test_gradients():
    layer = make(dim=4, modalities=2)
    tokens = torch.randn(2, 2, 4, dtype=torch.float64, requires_grad=True)
    present = torch.tensor([[True, True], [False, True]])
    assert torch.autograd.gradcheck(lambda x: tuple(layer(x, present)), (tokens,))


def test_dropout_is_not_in_what_is_returned():
    layer = SharedAttentionFusion(8, 3, 2, attn_drop=0.5)
    tokens = torch.randn(2, 3, 8)
    a, b = layer(tokens), layer(tokens)
    assert torch.equal(a.weights, b.weights) and not torch.equal(a.embedding, b.embedding)


@pytest.mark.parametrize(
    ("tokens", "present", "error", "message"),
    [
        (torch.zeros(2, 2, 6), None, ShapeError, "tokens"),
        (torch.zeros(2, 3, 5), None, ShapeError, "tokens"),
        (torch.zeros(2, 3, 6), torch.ones(2, 2).bool(), ShapeError, "present"),
        (torch.zeros(2, 3, 6), torch.ones(2, 3), ConfigError, "present: expected bool"),
        (torch.zeros(2, 3, 6), torch.tensor([[True] * 3, [False] * 3]), ShapeError, r"samples \[1\] have no modality"),
    ],
)
def test_what_does_not_fit(tokens, present, error, message):
    with pytest.raises(error, match=message):
        SharedAttentionFusion(6, 3, 2)(tokens, present)


@pytest.mark.parametrize(
    "options", [{"num_heads": 4}, {"num_modalities": 0}, {"attn_drop": 1.0}, {"dim": 0}, {"num_heads": True}]
)
def test_impossible_settings(options):
    (key,) = options
    with pytest.raises(ConfigError, match=key):
        SharedAttentionFusion(**{"dim": 6, "num_modalities": 3, "num_heads": 2, **options})
