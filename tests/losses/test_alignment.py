import pytest
import torch

from evermodels.core.errors import ConfigError, ShapeError
from evermodels.functional import coral, correlation_alignment, mmd
from evermodels.losses import CoralLoss, CorrelationAlignmentLoss, MMDLoss

PAIRS = [(CorrelationAlignmentLoss, correlation_alignment), (CoralLoss, coral), (MMDLoss, mmd)]


@pytest.mark.parametrize(("module", "function"), PAIRS)
def test_equals_the_function(module, function):
    a, b = torch.randn(5, 3), torch.randn(5, 3)
    assert module()(a, b) == function(a, b)
    assert module(on_small_batch="zero")(a, b) == function(a, b)
    assert module().state_dict() == {}


def test_mmd_bandwidths():
    a, b = torch.randn(5, 3), torch.randn(5, 3)
    assert MMDLoss([0.5, 1.0])(a, b) == mmd(a, b, bandwidths=[0.5, 1.0])


@pytest.mark.parametrize(("module", "function"), PAIRS)
@pytest.mark.parametrize("size", [0, 1])
def test_small_batch(module, function, size):
    a, b = torch.randn(size, 3, requires_grad=True), torch.randn(size, 3, requires_grad=True)
    loss = module(on_small_batch="zero")(a, b)
    loss.backward()
    assert loss.item() == 0 and a.grad.shape == a.shape and not a.grad.any()
    with pytest.raises(ShapeError, match="a batch of 1 has no spread" if size else "is empty"):
        module()(a, b)


@pytest.mark.parametrize(("module", "function"), PAIRS)
def test_bad_setting(module, function):
    with pytest.raises(ConfigError, match="on_small_batch: expected 'error' or 'zero', got 'skip'"):
        module(on_small_batch="skip")


def test_repr():
    assert repr(CoralLoss("zero")) == "CoralLoss(on_small_batch='zero')"


@pytest.mark.parametrize("loss", [CorrelationAlignmentLoss(), CoralLoss(), MMDLoss()])
def test_who_belongs_to_whom_is_not_seen(loss):
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(12, 5, generator=generator, dtype=torch.float64)
    b = a + 0.1 * torch.randn(12, 5, generator=generator, dtype=torch.float64)
    order = torch.randperm(12, generator=generator)
    torch.testing.assert_close(loss(a, b[order]), loss(a, b))
    assert loss(a, b) < loss(a, b * torch.tensor([1.0, -1.0, 2.0, 1.0, -3.0], dtype=torch.float64))


def test_small_batches_of_unrelated_features_are_mostly_noise():
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 32, 200, generator=generator)
    assert abs(float(CorrelationAlignmentLoss()(a, b)) - 2 / 31) < 0.003
