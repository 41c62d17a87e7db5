import math

import pytest
import torch

from evermodels.core.errors import ConfigError, ShapeError
from evermodels.functional import cosine_adjacency, region_attention_pool, symmetric_normalize


def slow_cosine(nodes, mask):
    n = len(nodes)
    out = torch.zeros(n, n, dtype=torch.float64)
    for i in range(n):
        for j in range(n):
            dot = sum(a * b for a, b in zip(nodes[i], nodes[j], strict=True))
            norms = math.sqrt(sum(a * a for a in nodes[i])) * math.sqrt(sum(b * b for b in nodes[j]))
            out[i, j] = dot / norms * mask[i][j]
    return out


def slow_normalize(adjacency):
    n = len(adjacency)
    out = torch.zeros(n, n, dtype=torch.float64)
    degree = [sum(abs(v) for v in row) for row in adjacency]
    for i in range(n):
        for j in range(n):
            if degree[i] and degree[j]:
                out[i, j] = adjacency[i][j] / math.sqrt(degree[i] * degree[j])
    return out


def slow_pool(nodes, scores, regions):
    pooled, weights = [], []
    for members in regions:
        total = sum(math.exp(s) for s, m in zip(scores, members, strict=True) if m)
        alpha = [math.exp(s) / total if m else 0.0 for s, m in zip(scores, members, strict=True)]
        pooled.append([sum(a * h[k] for a, h in zip(alpha, nodes, strict=True)) for k in range(len(nodes[0]))])
        weights.append(alpha)
    return torch.tensor(pooled, dtype=torch.float64), torch.tensor(weights, dtype=torch.float64)


def test_cosine_by_hand():
    nodes = torch.tensor([[[3.0, 4.0], [4.0, 3.0], [-3.0, -4.0], [0.0, 0.0]]])
    mask = torch.ones(4, 4)
    mask[0, 2] = 0
    expected = torch.tensor(
        [[[1, 0.96, 0, 0], [0.96, 1, -0.96, 0], [-1, -0.96, 1, 0], [0, 0, 0, 0.0]]],
    )
    torch.testing.assert_close(cosine_adjacency(nodes, mask), expected)


def test_cosine_equals_a_slow_loop():
    nodes = torch.randn(3, 5, 4, dtype=torch.float64)
    mask = torch.rand(3, 5, 5) > 0.4
    ours = cosine_adjacency(nodes, mask)
    for b in range(3):
        torch.testing.assert_close(ours[b], slow_cosine(nodes[b].tolist(), mask[b].tolist()))
        torch.testing.assert_close(cosine_adjacency(nodes, mask[b])[b], ours[b])


def test_cosine_knows_no_scale():
    nodes = torch.randn(2, 4, 3)
    mask = torch.ones(4, 4, dtype=torch.bool)
    scales = torch.tensor([1e-8, 1.0, 1e8, 5.0])[:, None]
    torch.testing.assert_close(cosine_adjacency(nodes * scales, mask), cosine_adjacency(nodes, mask))


def test_normalize_by_hand():
    # Degrees 2, 4, 2: a plain sum would give 0, 2, 0.
    adjacency = torch.tensor([[1.0, -1.0, 0.0], [-1.0, 2.0, -1.0], [0.0, -1.0, 1.0]])
    r = 1 / math.sqrt(8)
    expected = torch.tensor([[0.5, -r, 0.0], [-r, 0.5, -r], [0.0, -r, 0.5]])
    torch.testing.assert_close(symmetric_normalize(adjacency), expected)


def test_normalize_equals_a_slow_loop_and_keeps_eigenvalues_in_bounds():
    adjacency = torch.randn(4, 6, 6, dtype=torch.float64)
    adjacency = adjacency + adjacency.mT
    adjacency[0, 2], adjacency[0, :, 2] = 0, 0
    ours = symmetric_normalize(adjacency)
    for b in range(4):
        torch.testing.assert_close(ours[b], slow_normalize(adjacency[b].tolist()))
    assert torch.linalg.eigvalsh(ours).abs().max() <= 1 + 1e-12
    assert torch.equal(ours[0, 2], torch.zeros(6, dtype=torch.float64))


def test_normalize_equals_kipf_where_no_edge_is_negative():
    from torch_geometric.nn.conv.gcn_conv import gcn_norm

    adjacency = torch.rand(5, 5, dtype=torch.float64)
    adjacency = (adjacency + adjacency.mT) * ~torch.eye(5, dtype=torch.bool)
    rows, columns = adjacency.nonzero(as_tuple=True)
    index, weight = gcn_norm(torch.stack([columns, rows]), adjacency[rows, columns], 5, add_self_loops=True)
    expected = torch.zeros_like(adjacency).index_put((index[1], index[0]), weight)
    torch.testing.assert_close(symmetric_normalize(adjacency, self_loops=True), expected)


def test_self_loops_are_not_doubled():
    adjacency = torch.tensor([[1.0, 0.5], [0.5, 1.0]])
    torch.testing.assert_close(symmetric_normalize(adjacency, self_loops=True), symmetric_normalize(adjacency))
    torch.testing.assert_close(symmetric_normalize(torch.zeros(3, 3), self_loops=True), torch.eye(3))


def test_pool_equals_a_slow_loop():
    nodes, scores = torch.randn(2, 5, 3, dtype=torch.float64), torch.randn(2, 5, dtype=torch.float64) * 3
    regions = torch.tensor([[1, 0, 1, 0, 0], [0, 1, 0, 0, 0], [0, 0, 0, 1, 0]], dtype=torch.bool)
    pooled, weights = region_attention_pool(nodes, scores, regions)
    for b in range(2):
        slow_pooled, slow_weights = slow_pool(nodes[b].tolist(), scores[b].tolist(), regions.tolist())
        torch.testing.assert_close(pooled[b], slow_pooled)
        torch.testing.assert_close(weights[b], slow_weights)


def test_pool_stands_large_scores():
    scores = torch.tensor([[1e4, -1e4, -1e30]])
    pooled, weights = region_attention_pool(
        torch.ones(1, 3, 2), scores, torch.tensor([[True, True, False], [False, False, True]])
    )
    assert torch.equal(pooled, torch.ones(1, 2, 2))
    assert torch.equal(weights, torch.tensor([[[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]]))


def test_channel_permutation_and_batch_split():
    nodes, scores = torch.randn(4, 5, 3), torch.randn(4, 5)
    mask = torch.rand(5, 5) > 0.3
    mask = mask | mask.T
    regions = torch.tensor([[1, 1, 0, 0, 0], [0, 0, 1, 1, 1]], dtype=torch.bool)
    adjacency = symmetric_normalize(cosine_adjacency(nodes, mask))
    pooled, weights = region_attention_pool(nodes, scores, regions)
    p = torch.tensor([3, 0, 4, 2, 1])
    again = symmetric_normalize(cosine_adjacency(nodes[:, p], mask[p][:, p]))
    torch.testing.assert_close(again, adjacency[:, p][:, :, p])
    pooled_again, weights_again = region_attention_pool(nodes[:, p], scores[:, p], regions[:, p])
    torch.testing.assert_close(pooled_again, pooled)
    torch.testing.assert_close(weights_again, weights[:, :, p])
    torch.testing.assert_close(symmetric_normalize(cosine_adjacency(nodes[:1], mask)), adjacency[:1])
    torch.testing.assert_close(region_attention_pool(nodes[2:], scores[2:], regions)[0], pooled[2:])


def test_gradients():
    nodes = torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True)
    scores = torch.randn(2, 4, dtype=torch.float64, requires_grad=True)
    mask = torch.tensor([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]], dtype=torch.bool)
    assert torch.autograd.gradcheck(lambda h: cosine_adjacency(h, mask), nodes)
    assert torch.autograd.gradcheck(lambda h: symmetric_normalize(cosine_adjacency(h, mask)), nodes)
    regions = torch.tensor([[1, 1, 0, 0], [0, 0, 1, 1]], dtype=torch.bool)
    assert torch.autograd.gradcheck(lambda h, s: region_attention_pool(h, s, regions), (nodes, scores))


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e-10, 1e10])
def test_gradients_are_finite_at_vanishing_nodes(scale):
    nodes = (torch.randn(1, 3, 4) * scale).requires_grad_()
    mask = torch.ones(3, 3, dtype=torch.bool)
    mask[2] = False
    mask[:, 2] = False
    symmetric_normalize(cosine_adjacency(nodes, mask)).sum().backward()
    assert nodes.grad.isfinite().all()
    assert (nodes.grad[:, 2] == 0).all()


def test_gradient_is_zero_at_degree_zero():
    adjacency = torch.zeros(3, 3, requires_grad=True)
    symmetric_normalize(adjacency).sum().backward()
    assert torch.equal(adjacency.grad, torch.zeros(3, 3))


def test_precision():
    nodes = torch.randn(2, 6, 32)
    mask = torch.ones(6, 6, dtype=torch.bool)
    expected = symmetric_normalize(cosine_adjacency(nodes, mask))
    with torch.autocast("cpu", torch.bfloat16):
        under = symmetric_normalize(cosine_adjacency(nodes, mask))
    assert under.dtype == torch.float32
    torch.testing.assert_close(under, expected, rtol=0, atol=0)
    assert cosine_adjacency(nodes.bfloat16(), mask).dtype == torch.float32
    assert cosine_adjacency(nodes.double(), mask).dtype == torch.float64


NODES, SCORES, REGIONS = torch.zeros(2, 4, 3), torch.zeros(2, 4), torch.ones(1, 4, dtype=torch.bool)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: cosine_adjacency(NODES[0], torch.ones(4, 4)), ShapeError, r"nodes: .* Add the missing axis"),
        (lambda: cosine_adjacency(NODES, torch.ones(4, 3)), ShapeError, "mask: .* with nodes=4, got nodes=3"),
        (lambda: cosine_adjacency(NODES, torch.ones(3, 4, 4)), ShapeError, "mask: .* with batch=2, got batch=3"),
        (lambda: cosine_adjacency(NODES[:0], torch.ones(4, 4)), ShapeError, "axis 'batch' .* is empty"),
        (lambda: symmetric_normalize(torch.ones(4, 3)), ShapeError, r"adjacency: .* got \(4, 3\)"),
        (lambda: symmetric_normalize(torch.ones(4)), ShapeError, r"adjacency: .* got \(4,\)"),
        (lambda: symmetric_normalize(torch.ones(2, 2), eps=-1), ConfigError, "eps: .* got -1"),
        (lambda: region_attention_pool(NODES, SCORES[:, :3], REGIONS), ShapeError, "scores: .* with channels=4"),
        (lambda: region_attention_pool(NODES, SCORES[:1], REGIONS), ShapeError, "scores: .* with batch=2"),
        (lambda: region_attention_pool(NODES, SCORES, REGIONS[:, :2]), ShapeError, "regions: .* with channels=4"),
        (lambda: region_attention_pool(NODES, SCORES, REGIONS.float()), ConfigError, "regions: expected a bool mask"),
        (
            lambda: region_attention_pool(NODES, SCORES, torch.stack([REGIONS[0], ~REGIONS[0]])),
            ShapeError,
            r"regions: region \[1\] has no channel",
        ),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_compiles_and_gives_an_empty_region_zeros():
    nodes, scores, mask = torch.randn(2, 4, 3), torch.randn(2, 4), torch.ones(4, 4, dtype=torch.bool)
    regions = torch.tensor([[1, 1, 0, 0], [0, 0, 1, 1]], dtype=torch.bool)

    def whole(nodes, scores, regions):
        return symmetric_normalize(cosine_adjacency(nodes, mask)), *region_attention_pool(nodes, scores, regions)

    compiled = torch.compile(whole, backend="aot_eager", fullgraph=True)
    for ours, eager in zip(compiled(nodes, scores, regions), whole(nodes, scores, regions), strict=True):
        torch.testing.assert_close(ours, eager)
    _, pooled, weights = compiled(nodes, scores, torch.zeros_like(regions))
    assert not pooled.any() and not weights.any()
