import math

import pytest
import torch

from evermodels.core.errors import ConfigError, ShapeError
from evermodels.functional import coral, correlation_alignment, mmd

LOSSES = [correlation_alignment, coral, mmd]


def slow_covariance(x):
    n, d = len(x), len(x[0])
    mean = [sum(row[p] for row in x) / n for p in range(d)]
    return [[sum((r[p] - mean[p]) * (r[q] - mean[q]) for r in x) / (n - 1) for q in range(d)] for p in range(d)]


def slow_correlation_alignment(a, b):
    ca, cb = slow_covariance(a), slow_covariance(b)
    d, total = len(ca), 0.0
    for p in range(d):
        for q in range(d):
            if p != q:
                corr_a = ca[p][q] / math.sqrt(ca[p][p] * ca[q][q])
                corr_b = cb[p][q] / math.sqrt(cb[p][p] * cb[q][q])
                total += (corr_b - corr_a) ** 2
    return total / (d * (d - 1))


def slow_coral(a, b):
    ca, cb = slow_covariance(a), slow_covariance(b)
    d = len(ca)
    return sum((ca[p][q] - cb[p][q]) ** 2 for p in range(d) for q in range(d)) / (4 * d * d)


def slow_mmd(a, b, bandwidths=None):
    def square(x, y):
        return sum((p - q) ** 2 for p, q in zip(x, y, strict=True))

    both = a + b
    if bandwidths is None:
        distances = sorted(math.sqrt(square(both[i], both[j])) for i in range(len(both)) for j in range(i))
        median = distances[(len(distances) - 1) // 2]
        bandwidths = [median * factor for factor in (0.25, 0.5, 1, 2, 4)]

    def mean(u, v):
        return sum(math.exp(-square(x, y) / (2 * s * s)) for x in u for y in v for s in bandwidths) / len(u) / len(v)

    return mean(a, a) + mean(b, b) - 2 * mean(a, b)


@pytest.mark.parametrize(
    ("loss", "slow"), [(correlation_alignment, slow_correlation_alignment), (coral, slow_coral), (mmd, slow_mmd)]
)
@pytest.mark.parametrize(("n", "m", "d"), [(6, 6, 3), (2, 7, 4), (5, 4, 2)])
def test_equals_a_slow_loop(loss, slow, n, m, d):
    a, b = torch.randn(n, d, dtype=torch.float64), torch.randn(m, d, dtype=torch.float64) * 2 + 1
    assert loss(a, b).item() == pytest.approx(slow(a.tolist(), b.tolist()), rel=1e-10)
    assert loss(a.float(), b.float()).item() == pytest.approx(slow(a.tolist(), b.tolist()), rel=1e-4)


def test_mmd_with_given_bandwidths():
    a, b = torch.randn(4, 3, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64)
    expected = slow_mmd(a.tolist(), b.tolist(), [0.5, 2.0])
    assert mmd(a, b, bandwidths=[0.5, 2.0]).item() == pytest.approx(expected, rel=1e-10)


def test_coral_is_the_papers_a_quarter_of_the_reference(golden):
    numbers = golden("coral_a")
    source, target = numbers["input"]["source"].double(), numbers["input"]["target"].double()
    centred = numbers["output64"]["loss_of_centred"].item()
    assert 4 * coral(source, target).item() == pytest.approx(centred, rel=1e-6)
    means = (source.mean(0) - target.mean(0)).square().mean().item()
    assert 4 * coral(source, target).item() + means == pytest.approx(numbers["output64"]["loss"].item(), rel=1e-6)
    assert coral(source, source + 1).item() == pytest.approx(0, abs=1e-20)


@pytest.mark.parametrize("loss", LOSSES)
def test_zero_between_equals_and_symmetric(loss):
    a, b = torch.randn(6, 4, dtype=torch.float64), torch.randn(6, 4, dtype=torch.float64)
    assert loss(a, a).item() == pytest.approx(0, abs=1e-12)
    assert loss(a, b).item() == pytest.approx(loss(b, a).item())
    assert loss(a, b) > 0.01
    order = torch.randperm(6)
    assert loss(a[order], b).item() == pytest.approx(loss(a, b).item())
    features = torch.randperm(4)
    assert loss(a[:, features], b[:, features]).item() == pytest.approx(loss(a, b).item())


def test_correlation_knows_neither_scale_nor_shift():
    a, b = torch.randn(6, 4, dtype=torch.float64), torch.randn(6, 4, dtype=torch.float64)
    moved = a * torch.tensor([1e-6, 2.0, 50.0, 1e6]) + 3
    assert correlation_alignment(moved, b).item() == pytest.approx(correlation_alignment(a, b).item(), rel=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
def test_gradient(loss):
    a = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    b = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    fixed = {"bandwidths": [0.7, 1.5]} if loss is mmd else {}  # the median is a constant in mmd's gradient
    assert torch.autograd.gradcheck(lambda a, b: loss(a, b, **fixed), (a, b))


@pytest.mark.parametrize("value", [0.0, 0.1, 1 / 3, 1e6])
def test_constant_feature(value):
    a, b = torch.randn(5, 3), torch.randn(5, 3)
    a[:, 1] = value
    a.requires_grad_()
    loss = correlation_alignment(a, b)
    loss.backward()
    assert a.grad.isfinite().all() and not a.grad[:, 1].any()
    # Its correlations are 0, so what remains of those pairs is the other modality's.
    with torch.no_grad():
        corr_a, corr_b = torch.corrcoef(a[:, [0, 2]].T), torch.corrcoef(b.T)
        expected = (corr_a[0, 1] - corr_b[0, 2]) ** 2 + corr_b[0, 1] ** 2 + corr_b[1, 2] ** 2
    assert loss.item() == pytest.approx(2 * expected.item() / 6, rel=1e-4)


@pytest.mark.parametrize("loss", LOSSES)
def test_all_alike_is_finite(loss):
    a = torch.ones(4, 3, requires_grad=True)
    value = loss(a, torch.ones(4, 3))
    value.backward()
    assert value.item() == 0 and a.grad.isfinite().all()


@pytest.mark.parametrize("loss", LOSSES)
def test_precision(loss):
    a, b = torch.randn(8, 16), torch.randn(8, 16)
    with torch.autocast("cpu", torch.bfloat16):
        under = loss(a, b)
    assert under.dtype == torch.float32
    assert under.item() == loss(a, b).item()
    assert loss(a.bfloat16(), b.bfloat16()).dtype == torch.float32
    assert loss(a.double(), b.double()).dtype == torch.float64


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (torch.zeros(1, 3), torch.zeros(1, 3), r"a: a batch of 1 has no spread.*on_small_batch='zero'"),
        (torch.zeros(2, 3), torch.zeros(1, 3), "b: a batch of 1 has no spread"),
        (torch.zeros(4, 3), torch.zeros(4, 2), "b: .* with dim=3, got dim=2"),
        (torch.zeros(3), torch.zeros(3), r"a: expected \(batch, dim\), got 1 axes"),
        (torch.zeros(0, 3), torch.zeros(0, 3), "axis 'batch' .* is empty"),
    ],
)
def test_bad_shapes(loss, a, b, message):
    with pytest.raises(ShapeError, match=message):
        loss(a, b)


def test_bad_values():
    with pytest.raises(ShapeError, match="one feature correlates with no other"):
        correlation_alignment(torch.randn(3, 1), torch.randn(3, 1))
    for bandwidths in ([], [0.0], [1.0, -2.0], [float("nan")]):
        with pytest.raises(ConfigError, match="bandwidths: expected positive numbers"):
            mmd(torch.randn(3, 2), torch.randn(3, 2), bandwidths=bandwidths)


@pytest.mark.parametrize("loss", LOSSES)
def test_compiles(loss):
    a, b = torch.randn(5, 3), torch.randn(5, 3)
    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(a, b), loss(a, b))
