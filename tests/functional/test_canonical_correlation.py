"""Canonical correlations against their eigenvalue problem, and as a loss."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch

from evermodels.core.errors import ConfigError, ShapeError
from evermodels.core.outputs import EmotionOutput
from evermodels.functional import canonical_correlation
from evermodels.losses import DeepCCALoss, EmotionLoss


def slow(a: np.ndarray, b: np.ndarray, r: float) -> np.ndarray:
    """Roots of the eigenvalue problem with symmetric roots of the covariances, as the paper prints it."""
    a, b = a - a.mean(0), b - b.mean(0)
    n = len(a) - 1
    roots = [scipy.linalg.fractional_matrix_power(z.T @ z / n + r * np.eye(z.shape[1]), -0.5) for z in (a, b)]
    return np.linalg.svd(roots[0] @ (a.T @ b / n) @ roots[1], compute_uv=False)


@pytest.mark.parametrize(("n", "p", "q"), [(30, 4, 3), (5, 4, 6), (2, 3, 3)])
def test_equals_the_printed_form(n, p, q):
    a, b = torch.randn(n, p, dtype=torch.float64), torch.randn(n, q, dtype=torch.float64)
    b[:, 0] += 2 * a[:, 1]
    want = slow(a.numpy(), b.numpy(), 1e-3)
    np.testing.assert_allclose(canonical_correlation(a, b).numpy(), want, atol=1e-10)
    np.testing.assert_allclose(canonical_correlation(a.float(), b.float()).numpy(), want, atol=1e-4)
    assert canonical_correlation(a.half(), b.half()).dtype == torch.float32


def test_mixing_a_modality_changes_nothing_and_noise_is_far_below():
    a = torch.randn(400, 3, dtype=torch.float64)
    mix = torch.randn(3, 3, dtype=torch.float64)
    torch.testing.assert_close(canonical_correlation(a, a @ mix + 5, regularization=1e-9), torch.ones(3).double())
    assert canonical_correlation(a, torch.randn(400, 3)).max() < 0.3


def test_gradient():
    a, b = (torch.randn(8, d, dtype=torch.float64, requires_grad=True) for d in (3, 2))
    assert torch.autograd.gradcheck(lambda a, b: canonical_correlation(a, b).sum(), (a, b))
    # Equal eigenvalues and a constant feature, where a root by eigenvectors has an infinite gradient.
    same = torch.eye(4, requires_grad=True)
    flat = torch.cat([torch.eye(4), torch.ones(4, 1)], dim=1).requires_grad_()
    canonical_correlation(same, flat).sum().backward()
    assert torch.isfinite(same.grad).all() and torch.isfinite(flat.grad).all()


def test_the_loss():
    a, b = torch.randn(9, 3), torch.randn(9, 3)
    assert DeepCCALoss()(a, b) == -canonical_correlation(a, b).sum()
    small = torch.randn(1, 3, requires_grad=True)
    zero = DeepCCALoss(on_small_batch="zero")(small, small)
    zero.backward()
    assert zero == 0 and not small.grad.any()
    with pytest.raises(ShapeError, match="a batch of 1 has no spread"):
        DeepCCALoss()(small, small)
    output = EmotionOutput(torch.zeros(9, 2), embeddings={"eeg": a, "video": b})
    terms = EmotionLoss(alignment="deep_cca", align_weight=0.5, w_focal=0.0, w_ce=1.0)(output, torch.zeros(9).long())
    torch.testing.assert_close(terms.total, np.log(2) + 0.5 * DeepCCALoss()(a, b), check_dtype=False)


def test_wrong_arguments():
    a = torch.randn(4, 3)
    with pytest.raises(ShapeError, match="b: expected the 4 samples of a, got 3"):
        canonical_correlation(a, a[:3])
    with pytest.raises(ConfigError, match="regularization: expected a positive number, got 0"):
        canonical_correlation(a, a, regularization=0)
