import math

import pytest
import torch
from torch.nn import functional as F

from evermodels.core.errors import ConfigError, ShapeError
from evermodels.functional import class_balanced_weights, focal_loss


def slow_focal(logits, target, gamma):
    total = 0.0
    for row, y in zip(logits, target, strict=True):
        p = math.exp(row[y]) / sum(math.exp(v) for v in row)
        total -= (1 - p) ** gamma * math.log(p)
    return total / len(logits)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 5.0])
def test_focal_equals_a_slow_loop(gamma):
    logits, target = torch.randn(7, 4, dtype=torch.float64), torch.randint(0, 4, (7,))
    expected = slow_focal(logits.tolist(), target.tolist(), gamma)
    assert focal_loss(logits, target, gamma).item() == pytest.approx(expected, rel=1e-10)


def test_focal_without_focus_is_cross_entropy():
    logits, target = torch.randn(5, 3), torch.tensor([0, 1, 2, 1, 0])
    torch.testing.assert_close(focal_loss(logits, target, 0.0), F.cross_entropy(logits, target))


def test_focal_batch_and_class_order():
    logits, target = torch.randn(6, 3), torch.tensor([0, 1, 2, 2, 1, 0])
    whole = focal_loss(logits, target)
    halves = (focal_loss(logits[:3], target[:3]) + focal_loss(logits[3:], target[3:])) / 2
    torch.testing.assert_close(whole, halves)
    torch.testing.assert_close(focal_loss(logits.flip(1), 2 - target), whole)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_gradient(gamma):
    logits = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    target = torch.tensor([0, 2, 1, 1])
    assert torch.autograd.gradcheck(lambda x: focal_loss(x, target, gamma), logits)
    sure = torch.tensor([[1e4, -1e4], [-1e4, 1e4]], requires_grad=True)
    focal_loss(sure, torch.tensor([0, 0]), gamma).backward()
    assert sure.grad.isfinite().all() and not sure.grad[0].any()


def test_focal_half_precision():
    logits, target = torch.randn(4, 3).bfloat16(), torch.tensor([0, 2, 1, 1])
    assert focal_loss(logits, target).dtype == torch.float32
    torch.testing.assert_close(focal_loss(logits, target), focal_loss(logits.float(), target))


@pytest.mark.parametrize(
    ("logits", "target", "gamma", "error", "message"),
    [
        (torch.zeros(3), torch.tensor([0]), 2.0, ShapeError, r"logits: expected \(batch, classes\)"),
        (torch.zeros(2, 3), torch.tensor([0]), 2.0, ShapeError, "target: .* with batch=2, got batch=1"),
        (torch.zeros(2, 3), torch.zeros(2, 3), 2.0, ShapeError, r"target: expected \(batch\)"),
        (torch.zeros(2, 3), torch.tensor([0.0, 1.0]), 2.0, ConfigError, "target: .* int64, got torch.float32"),
        (torch.zeros(2, 3), torch.tensor([0, 3]), 2.0, ShapeError, "indices from 0 to 2, got 3"),
        (torch.zeros(2, 3), torch.tensor([-1, 0]), 2.0, ShapeError, "indices from 0 to 2, got -1"),
        (torch.zeros(2, 3), torch.tensor([0, 1]), -1.0, ConfigError, "gamma: .* got -1.0"),
        (torch.zeros(2, 3), torch.tensor([0, 1]), float("nan"), ConfigError, "gamma: .* got nan"),
    ],
)
def test_focal_bad_input(logits, target, gamma, error, message):
    with pytest.raises(error, match=message):
        focal_loss(logits, target, gamma)


def test_focal_compiles():
    logits, target = torch.randn(4, 3), torch.tensor([0, 2, 1, 1])
    compiled = torch.compile(focal_loss, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(logits, target), focal_loss(logits, target))


@pytest.mark.parametrize(("number", "beta"), list(enumerate([0.9, 0.99, 0.999, 0.9999])))
def test_weights_equal_the_reference(golden, number, beta):
    numbers = golden("class_balanced_a")
    ours = class_balanced_weights(numbers["input"]["counts"], beta)
    torch.testing.assert_close(ours, numbers["output"][f"class_weights_{number}"], rtol=2e-5, atol=0)


def test_weights_by_hand():
    # Effective numbers at beta 1/2: 1, 1.5, 1.75; inverses 1, 2/3, 4/7, which sum to 47/21.
    expected = torch.tensor([1, 2 / 3, 4 / 7]) * 3 * 21 / 47
    torch.testing.assert_close(class_balanced_weights([1, 2, 3], 0.5), expected)
    torch.testing.assert_close(class_balanced_weights([1, 20, 3], 0.0), torch.ones(3))


def test_weights_of_a_class_without_samples():
    weights = class_balanced_weights([5, 0, 10], 0.9)
    assert weights[1] == 0
    torch.testing.assert_close(weights[[0, 2]], class_balanced_weights([5, 10], 0.9))
    assert weights.sum().item() == pytest.approx(2)


def test_weights_near_one_tend_to_inverse_frequency():
    weights = class_balanced_weights([10, 40], 1 - 1e-9)
    assert (weights[0] / weights[1]).item() == pytest.approx(4, rel=1e-5)


@pytest.mark.parametrize(
    ("counts", "beta", "message"),
    [
        ([1, 2], 1.0, "beta: expected a number from 0 to below 1, got 1.0"),
        ([1, 2], -0.1, "beta: .* got -0.1"),
        ([1, -2], 0.9, "counts: expected finite numbers of at least 0"),
        ([1, float("nan")], 0.9, "counts: expected finite numbers"),
        ([0, 0], 0.9, "counts: no class has a sample"),
        ([], 0.9, "counts: expected one count per class"),
        ([[1, 2]], 0.9, "counts: expected one count per class"),
    ],
)
def test_weights_bad_input(counts, beta, message):
    with pytest.raises(ConfigError, match=message):
        class_balanced_weights(counts, beta)
