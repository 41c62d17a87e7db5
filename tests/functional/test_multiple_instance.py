"""Attention over instances against the reference's numbers and slow loops; the choice of the K largest."""

from __future__ import annotations

import math

import pytest
import torch

from evermodels.core.errors import ConfigError, ShapeError
from evermodels.functional import attention_mil_weights, top_k_instances

NAN = float("nan")


@pytest.mark.parametrize("name", ["attention_mil_a", "attention_mil_gated_a"])
def test_golden(golden, name):
    data = golden(name)
    weights = {key: value.clone().requires_grad_() for key, value in data["weights"].items()}
    gated = "attention_w.weight" in weights
    first = "attention_V.0" if gated else "attention.0"
    last = "attention_w.weight" if gated else "attention.2.weight"
    a = attention_mil_weights(
        data["output"]["instances"][None],
        weights[f"{first}.weight"],
        weights[last][0],
        v_bias=weights[f"{first}.bias"],
        gate=weights.get("attention_U.0.weight"),
        gate_bias=weights.get("attention_U.0.bias"),
    )
    torch.testing.assert_close(a, data["output"]["attention"], rtol=1e-5, atol=1e-7)
    pooled = torch.bmm(a[:, None], data["output"]["instances"][None])[:, 0]
    torch.testing.assert_close(pooled, data["output"]["pooled"], rtol=1e-5, atol=1e-6)


def test_weights_against_a_loop():
    x, v, w, u = (torch.randn(*s, dtype=torch.float64) for s in ((2, 4, 3), (5, 3), (5,), (5, 3)))
    mask = torch.tensor([[True, False, True, True], [False, False, True, False]])
    for gate in (None, u):
        got = attention_mil_weights(x, v, w, gate=gate, mask=mask)
        for b in range(2):
            scores = {}
            for q in range(4):
                if mask[b, q]:
                    hidden = [math.tanh(sum(v[i, j] * x[b, q, j] for j in range(3))) for i in range(5)]
                    if gate is not None:
                        raw = [sum(u[i, j] * x[b, q, j] for j in range(3)) for i in range(5)]
                        hidden = [h / (1 + math.exp(-r)) for h, r in zip(hidden, raw, strict=True)]
                    scores[q] = math.exp(sum(w[i] * hidden[i] for i in range(5)))
            for q in range(4):
                want = scores.get(q, 0.0) / sum(scores.values())
                assert got[b, q].item() == pytest.approx(float(want), abs=1e-12)


def test_what_is_masked_reaches_nothing():
    x = torch.randn(2, 4, 3)
    x[0, 1], x[1] = NAN, NAN
    mask = torch.tensor([[True, False, True, True], [False] * 4])
    x.requires_grad_()
    v, w = torch.randn(5, 3, requires_grad=True), torch.randn(5, requires_grad=True)
    weights = attention_mil_weights(x, v, w, mask=mask)
    chosen, indices = top_k_instances(x, weights, 2, mask=mask)
    assert weights[0, 1] == 0 and not weights[1].any() and weights[0].sum().item() == pytest.approx(1)
    assert indices[1].tolist() == [-1, -1] and not chosen[1].any() and torch.isfinite(chosen).all()
    chosen.square().sum().backward()
    for tensor in (x, v, w):
        assert torch.isfinite(tensor.grad).all() and tensor.grad.any()
    assert not x.grad[0, 1].any() and not x.grad[1].any()


def test_gradients_of_the_weights():
    x, v, w, u = (torch.randn(*s, dtype=torch.float64, requires_grad=True) for s in ((2, 3, 2), (3, 2), (3,), (3, 2)))
    mask = torch.tensor([[True, True, False], [True, True, True]])
    assert torch.autograd.gradcheck(lambda x, v, w, u: attention_mil_weights(x, v, w, gate=u, mask=mask), (x, v, w, u))


class TestTopK:
    def test_against_a_loop(self):
        x, weights = torch.randn(6, 5, 2, 3), torch.rand(6, 5)
        mask = torch.rand(6, 5) > 0.4
        for k in (1, 3, 5):
            chosen, indices = top_k_instances(x, weights, k, mask=mask)
            for b in range(6):
                there = sorted((q for q in range(5) if mask[b, q]), key=lambda q: -weights[b, q])
                want = sorted(there[:k])
                assert indices[b].tolist() == want + [-1] * (k - len(want))
                assert torch.equal(chosen[b, : len(want)], x[b, want]) and not chosen[b, len(want) :].any()

    def test_of_equal_weights_the_first(self):
        _, indices = top_k_instances(torch.zeros(1, 10, 1), torch.full((1, 10), 0.1), 3)
        assert indices.tolist() == [[0, 1, 2]]

    def test_the_gradient_is_that_of_the_weighted_choice(self):
        x = torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True)
        scores = torch.randn(2, 5, dtype=torch.float64, requires_grad=True)
        cotangent = torch.randn(2, 2, 3, dtype=torch.float64)
        weights = scores.softmax(1)
        chosen, indices = top_k_instances(x, weights, 2)
        rows = torch.arange(2)[:, None]
        assert torch.equal(chosen, x[rows, indices])  # to the bit
        got = torch.autograd.grad((chosen * cotangent).sum(), (x, scores), retain_graph=True)
        hard = torch.autograd.grad((x[rows, indices] * cotangent).sum(), x)[0]
        soft = torch.autograd.grad((x[rows, indices] * weights[rows, indices][..., None] * cotangent).sum(), scores)[0]
        torch.testing.assert_close(got[0], hard)
        torch.testing.assert_close(got[1], soft)
        plain, _ = top_k_instances(x, weights, 2, gradient="none")
        assert torch.autograd.grad((plain * cotangent).sum(), scores, allow_unused=True) == (None,)

    @pytest.mark.parametrize("k", [0, 6, True, 2.0])
    def test_impossible_k(self, k):
        with pytest.raises(ConfigError, match="k: expected 1 to the 5 instances"):
            top_k_instances(torch.zeros(1, 5, 2), torch.zeros(1, 5), k)

    def test_wrong_arguments(self):
        x, weights = torch.zeros(1, 5, 2), torch.zeros(1, 5)
        with pytest.raises(ConfigError, match="gradient: expected 'straight_through' or 'none', got 'soft'"):
            top_k_instances(x, weights, 2, gradient="soft")
        with pytest.raises(ShapeError, match="weights"):
            top_k_instances(x, weights[:, :4], 2)
        with pytest.raises(ConfigError, match="mask: expected bool"):
            top_k_instances(x, weights, 2, mask=weights)
        with pytest.raises(ShapeError, match="mask"):
            top_k_instances(x, weights, 2, mask=weights[:, :3].bool())
        with pytest.raises(ShapeError, match="x: expected"):
            top_k_instances(x[0, 0], weights, 2)
        with pytest.raises(ConfigError, match="gate_bias"):
            attention_mil_weights(x, torch.zeros(3, 2), torch.zeros(3), gate_bias=torch.zeros(3))
        with pytest.raises(ShapeError, match="w: "):
            attention_mil_weights(x, torch.zeros(3, 2), torch.zeros(4))
