"""The logarithm of matrices, its gradient, and matrices as vectors."""

import numpy as np
import pytest
import scipy.linalg
import torch

from evermodels.core.errors import ShapeError
from evermodels.functional import matrix_log, upper_triangle


def positive(*shape, dtype=torch.float64):
    a = torch.randn(*shape, shape[-1], dtype=dtype, generator=torch.Generator().manual_seed(0))
    return a @ a.mT + 0.1 * torch.eye(shape[-1], dtype=dtype)


def test_values_are_scipys():
    s = positive(3, 5)
    want = np.stack([scipy.linalg.logm(one) for one in s.numpy()])
    np.testing.assert_allclose(matrix_log(s).numpy(), want, atol=1e-10)
    torch.testing.assert_close(torch.linalg.matrix_exp(matrix_log(s)), s)


def test_gradients():
    a = positive(2, 4).requires_grad_()

    def numbers(a):
        return matrix_log((a + a.mT) / 2)

    torch.autograd.gradcheck(numbers, (a,))


def test_equal_eigenvalues_have_a_gradient():
    # The gradient of tr(G log S) at S = 2 I is G / 2, and near it nearly the same, on both sides of the threshold.
    g = torch.randn(4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    g = g + g.mT
    for gap in (0.0, 1e-12, 1e-6, 1.9e-3, 2.1e-3):
        s = torch.diag(2 + gap * torch.arange(4, dtype=torch.float64)).requires_grad_()
        (g * matrix_log(s)).sum().backward()
        torch.testing.assert_close(s.grad, g / 2, atol=3 * gap + 1e-9, rtol=0)


def test_what_is_not_finite_stays_apart():
    s = positive(3, 4)
    s[1, 2, 3] = torch.inf
    found = matrix_log(s)
    assert found[1].isnan().all()
    torch.testing.assert_close(found[[0, 2]], matrix_log(s[[0, 2]]))


def test_vectors_keep_lengths():
    s = positive(3, 6)
    v = upper_triangle(s)
    assert v.shape == (3, 21)
    torch.testing.assert_close(v.square().sum(-1), s.square().sum((-1, -2)))


@pytest.mark.parametrize("function", [matrix_log, upper_triangle])
@pytest.mark.parametrize("shape", [(3,), (2, 3)])
def test_other_shapes_are_refused(function, shape):
    with pytest.raises(ShapeError, match="s: expected"):
        function(torch.zeros(shape))
