import math

import pytest
import torch
from torch.nn import functional as F

from evermodels.core.errors import ConfigError, ShapeError
from evermodels.functional import class_balanced_weights, focal_loss
from evermodels.losses import ClassBalancedCrossEntropy, FocalLoss

LOGITS = torch.tensor([[2.0, 0.5, -1.0], [0.1, 0.2, 0.3], [-1.0, 1.0, 0.0], [0.0, 3.0, 1.0]])
TARGET = torch.tensor([0, 2, 1, 1])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_equals_a_slow_loop(smoothing):
    counts = [50, 3, 10]
    weights = class_balanced_weights(counts, 0.999).double().tolist()
    total = norm = 0.0
    for row, y in zip(LOGITS.double().tolist(), TARGET.tolist(), strict=True):
        log_z = math.log(sum(math.exp(v) for v in row))
        total += (1 - smoothing) * weights[y] * (log_z - row[y])
        total += sum(smoothing / 3 * w * (log_z - v) for w, v in zip(weights, row, strict=True))
        norm += weights[y]
    loss = ClassBalancedCrossEntropy(counts, label_smoothing=smoothing)(LOGITS, TARGET)
    assert loss.item() == pytest.approx(total / norm, rel=1e-5)
    theirs = F.cross_entropy(LOGITS, TARGET, torch.tensor(weights).float(), label_smoothing=smoothing)
    assert loss.item() == pytest.approx(theirs.item(), rel=1e-5)


def test_equal_counts_are_plain_cross_entropy():
    torch.testing.assert_close(ClassBalancedCrossEntropy([7, 7, 7])(LOGITS, TARGET), F.cross_entropy(LOGITS, TARGET))


def test_class_without_samples():
    loss = ClassBalancedCrossEntropy([5, 0, 5])
    torch.testing.assert_close(loss(LOGITS, TARGET), F.cross_entropy(LOGITS[:2], TARGET[:2]))
    logits = LOGITS.clone().requires_grad_()
    nothing = loss(logits, torch.tensor([1, 1, 1, 1]))
    nothing.backward()
    assert nothing.item() == 0 and not logits.grad.any()


def test_gradient():
    logits = LOGITS.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: ClassBalancedCrossEntropy([5, 2, 1])(x, TARGET), logits)
    assert torch.autograd.gradcheck(lambda x: FocalLoss()(x, TARGET), logits)


def test_state_round_trip():
    loss, other = ClassBalancedCrossEntropy([5, 2, 1]), ClassBalancedCrossEntropy([1, 1, 1])
    other.load_state_dict(loss.state_dict())
    assert other(LOGITS, TARGET) == loss(LOGITS, TARGET)


def test_focal_equals_the_function():
    assert FocalLoss(1.5)(LOGITS, TARGET) == focal_loss(LOGITS, TARGET, 1.5)
    assert repr(FocalLoss()) == "FocalLoss(gamma=2.0)"


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ClassBalancedCrossEntropy([1, 2])(LOGITS, TARGET), ShapeError, "expected 2 classes .* got 3"),
        (lambda: ClassBalancedCrossEntropy([1, 2, 3])(LOGITS, TARGET + 1), ShapeError, "indices from 0 to 2, got 3"),
        (lambda: ClassBalancedCrossEntropy([1, 2, 3])(LOGITS, TARGET[:2]), ShapeError, "target: .* with batch=4"),
        (lambda: ClassBalancedCrossEntropy([1, 2, 3], beta=1.0), ConfigError, "beta"),
        (lambda: ClassBalancedCrossEntropy([1, 2, 3], label_smoothing=1.0), ConfigError, "label_smoothing"),
        (lambda: FocalLoss(-1.0), ConfigError, "gamma: .* got -1.0"),
        (lambda: FocalLoss()(LOGITS[0], TARGET), ShapeError, "logits"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_compiles():
    loss = ClassBalancedCrossEntropy([5, 2, 1])
    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(LOGITS, TARGET), loss(LOGITS, TARGET))
