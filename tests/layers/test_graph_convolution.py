"""Graph convolution with a dense adjacency: by hand, a slow loop, gradients, invariances, compile."""

from __future__ import annotations

import torch

from evermodels.layers.graph_convolution import GraphConvolution

NODES, ADJACENCY = torch.randn(3, 5, 4, dtype=torch.float64), torch.randn(3, 5, 5, dtype=torch.float64)


def build(dtype=torch.float64) -> GraphConvolution:
    layer = GraphConvolution(4, 2).to(dtype)
    with torch.no_grad():
        layer.bias.normal_()
    return layer


def test_by_hand():
    layer = GraphConvolution(1, 1)
    with torch.no_grad():
        layer.weight.fill_(2.0)
        layer.bias.fill_(1.0)
    # Row 0 takes 1 · 3 + 0.5 · 5 = 5.5, row 1 takes -1 · 3 = -3; times 2, plus 1.
    y = layer(torch.tensor([[[3.0], [5.0]]]), torch.tensor([[[1.0, 0.5], [-1.0, 0.0]]]))
    assert y.flatten().tolist() == [12.0, -5.0]


def test_equals_a_slow_loop():
    layer = build()
    y = layer(NODES, ADJACENCY)
    for b in range(3):
        for i in range(5):
            want = layer.bias + sum(ADJACENCY[b, i, j] * (layer.weight @ NODES[b, j]) for j in range(5))
            torch.testing.assert_close(y[b, i], want)


def test_initial_values():
    layer = GraphConvolution(30, 20)
    assert not layer.bias.any()
    assert 0 < layer.weight.abs().max() <= (6 / 50) ** 0.5


def test_gradcheck_permutation_and_batch_split():
    layer = build()
    nodes, adjacency = NODES.clone().requires_grad_(), ADJACENCY.clone().requires_grad_()
    assert torch.autograd.gradcheck(layer, (nodes, adjacency))
    y, order = layer(NODES, ADJACENCY), [3, 0, 4, 2, 1]
    torch.testing.assert_close(layer(NODES[:, order], ADJACENCY[:, order][:, :, order]), y[:, order])
    torch.testing.assert_close(layer(NODES[:1], ADJACENCY[:1]), y[:1])


def test_state_round_trip():
    layer, other = build(), build()
    other.load_state_dict(layer.state_dict(), strict=True)
    assert torch.equal(other(NODES, ADJACENCY), layer(NODES, ADJACENCY))
    assert list(layer.state_dict()) == ["weight", "bias"]


def test_adjacency_in_float32_serves_a_half_precision_layer():
    layer = build(torch.bfloat16)
    assert layer(NODES.bfloat16(), ADJACENCY.float()).dtype == torch.bfloat16


def test_compiles():
    layer = build()
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(NODES, ADJACENCY), layer(NODES, ADJACENCY))
