from __future__ import annotations

import pytest
import torch

from evermodels.core.errors import ConfigError, ShapeError
from evermodels.functional import attention_mil_weights
from evermodels.layers import TokenCompressor, TopKAMIL


class TestTopKAMIL:
    @pytest.mark.parametrize(
        "settings", [{}, {"score": "flatten", "tokens": 4}, {"gated": True, "bias": True}, {"gradient": "none"}]
    )
    def test_is_attention_then_the_largest(self, settings):
        layer = TopKAMIL(6, 3, hidden=5, **settings)
        x = torch.randn(3, 7, 4, 6, requires_grad=True)
        output = layer(x)
        seen = x.flatten(2) if layer.score == "flatten" else x.mean(2)
        hidden = torch.tanh(layer.v(seen))
        if layer.gate is not None:
            hidden = hidden * torch.sigmoid(layer.gate(seen))
        want = torch.softmax(layer.w(hidden)[..., 0], dim=1)
        torch.testing.assert_close(output.weights, want)
        for b in range(3):
            best = sorted(want[b].topk(3).indices.tolist())
            assert output.indices[b].tolist() == best and torch.equal(output.chosen[b], x[b, best])
            shown = [want[b, q].item() if q in best else 0.0 for q in range(7)]
            assert output.chosen_weights[b].tolist() == pytest.approx(shown)
        assert output.there.all()
        output.chosen.sin().sum().backward()
        trained = [p.grad is not None and bool(p.grad.any()) for p in layer.parameters()]
        assert all(trained) if layer.gradient == "straight_through" else not any(trained)

    def test_fewer_than_k_and_none(self):
        layer = TopKAMIL(6)
        x = torch.randn(3, 5, 4, 6)
        mask = torch.tensor([[True] * 5, [False, True, False, False, True], [False] * 5])
        x[~mask] = float("nan")
        output = layer(x, mask)
        assert output.indices[1].tolist() == [1, 4, -1] and output.indices[2].tolist() == [-1] * 3
        assert output.there.sum(1).tolist() == [3, 2, 0]
        assert torch.isfinite(output.chosen).all() and not output.chosen[2].any() and not output.weights[2].any()
        torch.testing.assert_close(output.weights.sum(1), torch.tensor([1.0, 1.0, 0.0]))
        torch.testing.assert_close(output.chosen_weights[1], output.weights[1])
        output.chosen.square().sum().backward()
        assert all(torch.isfinite(p.grad).all() and p.grad.any() for p in layer.parameters())

    def test_the_order_of_frames_changes_only_the_order(self):
        layer, x, order = TopKAMIL(6, 2), torch.randn(2, 5, 6), torch.tensor([3, 0, 4, 2, 1])
        output, turned = layer(x), layer(x[:, order])
        torch.testing.assert_close(turned.weights, output.weights[:, order])
        assert torch.equal(order[turned.indices].sort(1).values, output.indices)

    def test_training_finds_the_instance_that_tells(self):
        """One of six instances carries the class and a mark; nothing but the class's loss says which."""
        g = torch.Generator().manual_seed(0)
        layer, head = TopKAMIL(8, 1, hidden=16), torch.nn.Linear(8, 2)
        optimizer = torch.optim.Adam([*layer.parameters(), *head.parameters()], 0.02)
        hits = []
        for _ in range(150):
            label, place = (torch.randint(n, (64,), generator=g) for n in (2, 6))
            x = 0.3 * torch.randn(64, 6, 8, generator=g)
            x[torch.arange(64), place, 0] += 2.0 * label - 1
            x[torch.arange(64), place, 1] += 1
            output = layer(x)
            hits.append((output.indices[:, 0] == place).float().mean().item())
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(head(output.chosen[:, 0]), label).backward()
            optimizer.step()
        assert sum(hits[:5]) / 5 < 0.5 and sum(hits[-5:]) / 5 > 0.9

    def test_instances_without_tokens(self):
        layer, x = TopKAMIL(6, 2), torch.randn(2, 5, 6)
        assert torch.equal(layer(x).weights, layer(x[:, :, None]).weights) and layer(x).chosen.shape == (2, 2, 6)
        want = attention_mil_weights(x, layer.v.weight, layer.w.weight[0])
        assert torch.equal(layer(x).weights, want)

    def test_half_precision(self):
        layer, x = TopKAMIL(6).to(torch.bfloat16), torch.randn(2, 5, 4, 6, dtype=torch.bfloat16)
        output = layer(x)
        assert output.chosen.dtype == torch.bfloat16 and output.weights.dtype == torch.float32
        assert torch.equal(output.chosen[0], x[0, output.indices[0]])

    def test_wrong_arguments(self):
        layer = TopKAMIL(6)
        with pytest.raises(ShapeError, match="at least k=3 instances, got 2"):
            layer(torch.zeros(1, 2, 4, 6))
        with pytest.raises(ShapeError, match="dim=6"):
            layer(torch.zeros(1, 5, 4, 7))
        with pytest.raises(ShapeError, match="x: expected"):
            layer(torch.zeros(5, 6))
        with pytest.raises(ShapeError, match="tokens=4"):
            TopKAMIL(6, score="flatten", tokens=4)(torch.zeros(1, 5, 3, 6))
        for settings in ({"k": 0}, {"hidden": 0}, {"score": "max"}, {"score": "flatten"}, {"gradient": "soft"}):
            with pytest.raises(
                ConfigError, match=next(iter(settings)) if settings.get("score") != "flatten" else "tok"
            ):
                TopKAMIL(6, **settings)


class TestTokenCompressor:
    def test_against_a_loop(self):
        layer = TokenCompressor(6, 3, num_heads=2).double()
        x = torch.randn(2, 5, 6, dtype=torch.float64)
        q, k, v = layer.q(layer.queries), layer.k(x), layer.v(x)
        got = layer(x)
        for b in range(2):
            for n in range(3):
                heads = []
                for h in (slice(0, 3), slice(3, 6)):
                    scores = torch.stack([q[n, h] @ k[b, m, h] / 3**0.5 for m in range(5)]).softmax(0)
                    heads.append(sum(scores[m] * v[b, m, h] for m in range(5)))
                torch.testing.assert_close(got[b, n], layer.proj(torch.cat(heads)))

    def test_as_printed(self):
        layer = TokenCompressor(6, 3, num_heads=1, proj=False)
        x = torch.randn(2, 5, 6)
        want = (layer.q(layer.queries) @ layer.k(x).mT / 6**0.5).softmax(-1) @ layer.v(x)
        torch.testing.assert_close(layer(x), want)
        torch.testing.assert_close(layer(x.flip(1)), want)

    def test_masked_tokens(self):
        layer, x = TokenCompressor(6, 3), torch.randn(3, 5, 6)
        mask = torch.tensor([[True] * 5, [True, True, False, False, False], [False] * 5])
        filled = torch.where(mask[..., None], x, float("nan")).requires_grad_()
        got = layer(filled, mask)
        torch.testing.assert_close(got[0], layer(x)[0])
        torch.testing.assert_close(got[1], layer(x[1:2, :2])[0])
        assert not got[2].any()
        got.sum().backward()
        assert torch.isfinite(filled.grad).all() and all(torch.isfinite(p.grad).all() for p in layer.parameters())

    def test_wrong_arguments(self):
        with pytest.raises(ShapeError, match="dim=6"):
            TokenCompressor(6)(torch.zeros(1, 5, 7))
        with pytest.raises(ConfigError, match="mask: expected bool"):
            TokenCompressor(6)(torch.zeros(1, 5, 6), torch.ones(1, 5))
        for settings, name in (
            ({"num_queries": 0}, "num_queries"),
            ({"num_heads": 4}, "num_heads"),
            ({"drop": 1}, "drop"),
        ):
            with pytest.raises(ConfigError, match=name):
                TokenCompressor(6, **settings)
