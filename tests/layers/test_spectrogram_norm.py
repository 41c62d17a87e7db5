"""Standardisation per channel and frequency: hand-computed numbers, numpy, bad input, state."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from evermodels.core.errors import ConfigError, ShapeError
from evermodels.layers import SpectrogramNorm


def test_by_hand():
    norm = SpectrogramNorm(1, 2)
    # frequency 0 holds 1, 3 (mean 2, std 1); frequency 1 holds 10, 10 (constant: centred, not divided)
    norm.fit([torch.tensor([[[[1.0, 3.0], [10.0, 10.0]]]])])
    torch.testing.assert_close(norm.mean, torch.tensor([[2.0, 10.0]]))
    torch.testing.assert_close(norm.std, torch.tensor([[1.0, 1.0]]))
    x = torch.tensor([[[[5.0], [12.0]]]])
    torch.testing.assert_close(norm(x), torch.tensor([[[[3.0], [2.0]]]]))


def test_batches_equal_numpy_over_all():
    x = (torch.randn(37, 3, 5, 7, dtype=torch.float64) * 4 + 1000).float()
    norm = SpectrogramNorm(3, 5)
    norm.fit(iter(x.split(8)))
    np.testing.assert_allclose(norm.mean.numpy(), x.double().numpy().mean((0, 3)), rtol=1e-6)
    np.testing.assert_allclose(norm.std.numpy(), x.double().numpy().std((0, 3)), rtol=1e-5)


def test_untouched_before_fit_and_independent_of_the_batch():
    x = torch.randn(4, 3, 5, 7)
    norm = SpectrogramNorm(3, 5)
    assert torch.equal(norm(x), x)
    norm.fit([x])
    torch.testing.assert_close(norm(x)[1:2], norm(x[1:2]))


def test_channels_in_another_order():
    x, order = torch.randn(4, 3, 5, 7), [2, 0, 1]
    norm, other = SpectrogramNorm(3, 5), SpectrogramNorm(3, 5)
    norm.fit([x])
    other.fit([x[:, order]])
    torch.testing.assert_close(other(x[:, order]), norm(x)[:, order])


def test_gradcheck():
    norm = SpectrogramNorm(2, 3).double()
    norm.fit([torch.randn(4, 2, 3, 5, dtype=torch.float64)])
    assert torch.autograd.gradcheck(norm, torch.randn(2, 2, 3, 4, dtype=torch.float64, requires_grad=True))


def test_state_dict_round_trip_and_gradient():
    x = torch.randn(4, 3, 5, 7, requires_grad=True)
    norm, other = SpectrogramNorm(3, 5), SpectrogramNorm(3, 5)
    norm.fit([x])
    other.load_state_dict(norm.state_dict())
    assert torch.equal(norm(x), other(x))
    norm(x).sum().backward()
    torch.testing.assert_close(x.grad, (1 / norm.std)[None, :, :, None].expand_as(x))
    assert not list(norm.parameters())


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda n: n(torch.zeros(2, 4, 5, 7)), ShapeError, "channels=3, got channels=4"),
        (lambda n: n(torch.zeros(2, 3, 6, 7)), ShapeError, "frequency=5, got frequency=6"),
        (lambda n: n(torch.zeros(3, 5, 7)), ShapeError, r"expected \(batch, channels, frequency, time\), got 3 axes"),
        (lambda n: n.fit([]), ShapeError, "at least one batch"),
        (lambda n: SpectrogramNorm(0, 5), ConfigError, "in_chans: expected at least 1, got 0"),
        (lambda n: SpectrogramNorm(3, -1), ConfigError, "num_bins: expected at least 1, got -1"),
    ],
)
def test_wrong_input(call, error, message):
    with pytest.raises(error, match=message):
        call(SpectrogramNorm(3, 5))


def test_compiled_equals_eager():
    norm, x = SpectrogramNorm(3, 5), torch.randn(4, 3, 5, 7)
    norm.fit([x])
    torch.testing.assert_close(torch.compile(norm, backend="aot_eager", fullgraph=True)(x), norm(x))
