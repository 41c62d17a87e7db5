"""Mood Reader's fusion of scores, against plain loops and by hand."""

import math

import pytest
import torch

from evermodels.core.errors import ConfigError, ShapeError
from evermodels.functional import score_weighted_sum
from evermodels.layers import FlattenProjection, MultiLevelScoreFusion
from tests.layers.test_interlinked_attention import attention, layer_norm, linear

DIM = 6
SOURCES = ("spatial", "temporal", "eeg", "eye")


def build(levels=(SOURCES[:2], SOURCES[2:]), **kwargs):
    layer = MultiLevelScoreFusion(DIM, levels, num_heads=2, **kwargs).double()
    g = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(0.7 * torch.randn(parameter.shape, generator=g, dtype=torch.float64))
    return layer


def draw(batch=3, names=SOURCES):
    g = torch.Generator().manual_seed(8)
    return {name: torch.randn(batch, DIM, generator=g, dtype=torch.float64) for name in names}


def slow(features, layer):
    """One sample, only what is there: eq. 5-8."""
    tokens, weights = [], {name: [0.0] * DIM for name in layer.sources}
    for k, level in enumerate(layer.levels):
        there = [name for name in level if name in features]
        rows = {n: layer_norm(linear(features[n], layer.prepare[n][0]), layer.prepare[n][1]) for n in there}
        token = [0.0] * DIM
        for d in range(DIM):
            score = {n: 0.0 for n in there}
            if len(level) > 1:
                w = layer.score[str(k)].tolist()
                score = {n: sum(rows[n][e] * w[e][d] for e in range(DIM)) for n in there}
            whole = sum(math.exp(s) for s in score.values())
            for n in there:
                weights[n][d] = math.exp(score[n]) / whole
                token[d] += weights[n][d] * rows[n][d]
        tokens.append(layer_norm(token if there else layer.absent[str(k)].tolist(), layer.norms[k]))
    mixed, seen = attention(tokens, layer.attn)
    n = len(tokens)
    seen = [[sum(head[i][j] for head in seen) / len(seen) for j in range(n)] for i in range(n)]
    return [v for row in mixed for v in row], weights, seen


def close(ours, theirs):
    torch.testing.assert_close(ours, torch.tensor(theirs, dtype=torch.float64), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "there",
    [SOURCES, SOURCES[:2], SOURCES[2:], ("eye",), ("eeg",), ("temporal", "eye"), ("spatial", "temporal", "eeg")],
)
def test_equals_the_loop_with_any_of_them(there):
    layer, features = build(), draw()
    want = [slow({n: features[n][i].tolist() for n in there}, layer) for i in range(3)]
    left_out = layer({n: features[n] for n in there})
    filled = {n: x if n in there else torch.full_like(x, float("nan")) for n, x in features.items()}
    flagged = layer(filled, {n: torch.full((3,), n in there) for n in SOURCES})
    for got in (left_out, flagged):
        for i, (embedding, weights, seen) in enumerate(want):
            close(got.embedding[i], embedding)
            close(got.attention[i], seen)
            for name in SOURCES:
                close(got.weights[name][i], weights[name])
    assert layer.embed_dim == left_out.embedding.shape[1] == 2 * DIM


def test_a_mixed_batch_is_each_sample_and_the_absent_get_no_gradient():
    layer, features = build(), draw()
    flags = {"eye": torch.tensor([True, False, True]), "spatial": torch.tensor([True, True, False])}
    flags["temporal"] = flags["spatial"]
    for x in features.values():
        x.requires_grad_()
    got = layer(features, flags)
    for i in range(3):
        there = {n: x[i].tolist() for n, x in features.items() if n not in flags or flags[n][i]}
        close(got.embedding[i], slow(there, layer)[0])
    got.embedding.square().sum().backward()
    for name, flag in flags.items():
        assert not features[name].grad[~flag].any() and features[name].grad[flag].any()
    assert all(
        p.grad is not None and torch.isfinite(p.grad).all() for n, p in layer.named_parameters() if n != "absent.1"
    )
    assert layer.absent["0"].grad.any() and not (layer.absent["1"].grad is not None and layer.absent["1"].grad.any())


def test_levels_of_one_source_and_of_three():
    layer = build((("spatial", "temporal", "eeg"), ("eye",)), may_be_empty=[0])
    assert set(layer.score) == {"0"} and set(layer.absent) == {"0"}
    features = draw()
    got = layer(features)
    for i in range(3):
        close(got.embedding[i], slow({n: x[i].tolist() for n, x in features.items()}, layer)[0])
    assert (got.weights["eye"] == 1).all()


def test_by_hand():
    features = torch.tensor([[[1.0, 4.0], [3.0, 2.0]]], dtype=torch.float64)
    weight = torch.tensor([[math.log(2), 0.0], [0.0, 0.0]], dtype=torch.float64)
    fused, c = score_weighted_sum(features, weight)  # scores (ln 2, 0) and (3 ln 2, 0): weights 2 : 8 and 1 : 1
    close(c[0], [[0.2, 0.5], [0.8, 0.5]])
    close(fused[0], [0.2 * 1 + 0.8 * 3, 3.0])


def test_gradients_and_the_order_of_samples_and_sources():
    g = torch.Generator().manual_seed(1)
    x, w = (torch.randn(*s, generator=g, dtype=torch.float64, requires_grad=True) for s in ((2, 3, 4), (4, 4)))
    there = torch.tensor([[True, False, True], [False, False, False]])
    assert torch.autograd.gradcheck(lambda a, b: score_weighted_sum(a, b, there), (x, w))
    none, weights = score_weighted_sum(x, w, there)
    assert not none[1].any() and not weights[1].any()
    layer, features = build().float(), {n: f.float() for n, f in draw().items()}
    flags = {"eye": torch.tensor([True, False, True])}
    got = layer(features, flags)
    turned = layer({n: f.flip(0) for n, f in reversed(features.items())}, {"eye": flags["eye"].flip(0)})
    torch.testing.assert_close(turned.embedding.flip(0), got.embedding)


def test_projection_is_norm_flatten_linear():
    layer = FlattenProjection(2, 3, 4).double()
    with torch.no_grad():
        layer.norm.weight.normal_()
    x = torch.randn(1, 2, 3, dtype=torch.float64)
    flat = [v for token in x[0].tolist() for v in layer_norm(token, layer.norm)]
    close(layer(x)[0], linear(flat, layer.proj))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: MultiLevelScoreFusion(4, []), ConfigError, "levels: expected at least one source in each"),
        (lambda: MultiLevelScoreFusion(4, [("a",), ()]), ConfigError, "levels"),
        (lambda: MultiLevelScoreFusion(4, [("a", "b"), ("b",)]), ConfigError, "each once"),
        (lambda: MultiLevelScoreFusion(4, num_heads=3), ConfigError, r"divisor of dim \(4\), got 3"),
        (lambda: MultiLevelScoreFusion(4)({}), ShapeError, "every source is absent"),
        (lambda: MultiLevelScoreFusion(4)({"ey": torch.zeros(1, 4)}), ConfigError, "Did you mean 'eye'"),
        (lambda: MultiLevelScoreFusion(4)({"eye": torch.zeros(1, 5)}), ShapeError, r"features\['eye'\].*dim=4"),
        (
            lambda: MultiLevelScoreFusion(4)({"eye": torch.zeros(1, 4), "eeg": torch.zeros(2, 4)}),
            ShapeError,
            r"features\['eeg'\].*batch=1",
        ),
        (
            lambda: MultiLevelScoreFusion(4)({"eye": torch.zeros(1, 4)}, {"eye": torch.ones(1)}),
            ConfigError,
            r"present\['eye'\]: expected bool",
        ),
        (lambda: score_weighted_sum(torch.zeros(1, 2, 3), torch.zeros(2, 2)), ShapeError, "weight"),
        (lambda: score_weighted_sum(torch.zeros(1, 2), torch.zeros(2, 2)), ShapeError, "features"),
        (lambda: FlattenProjection(2, 3, 4)(torch.zeros(1, 3, 3)), ShapeError, "n=2"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
