"""Logarithm of symmetric positive definite matrices, with a gradient that stays finite."""

from __future__ import annotations

import torch
from torch import Tensor

from evermodels.core.errors import ShapeError


def matrix_log(s: Tensor) -> Tensor:
    r"""Return the logarithm of symmetric positive definite matrices.

    .. math:: \log S = V \operatorname{diag}(\log \lambda_i) V^\top, \qquad S = V \operatorname{diag}(\lambda_i) V^\top

    Its gradient is that of Daleckii and Krein: with :math:`G` the gradient of the result, that of S is
    :math:`V (L \circ V^\top G V) V^\top`, :math:`L_{ij} = (\log \lambda_i - \log \lambda_j) / (\lambda_i - \lambda_j)`,
    and :math:`1 / \lambda_i` where the two are equal. So equal eigenvalues, at which eigenvectors have no gradient, do
    no harm. (LogEig of Huang & Van Gool, AAAI 2017, eq. 8.)

    Args:
        s: ``(..., n, n)``, symmetric; eigenvalues that are not positive count as the smallest number of the type, and
            of a matrix that is not finite the result is NaN.

    Raises:
        ShapeError: If they are not square.

    Example:
        >>> matrix_log(torch.diag(torch.tensor([1.0, torch.e])))
        tensor([[0., 0.],
                [0., 1.]])
    """
    if s.ndim < 2 or s.shape[-1] != s.shape[-2]:
        raise ShapeError(f"s: expected (..., n, n), got {tuple(s.shape)}.")
    # One matrix that is not finite would stop the decomposition of all.
    finite = torch.isfinite(s.detach()).all(dim=-1, keepdim=True).all(dim=-2, keepdim=True)
    s = torch.where(finite, s, torch.eye(s.shape[-1], dtype=s.dtype, device=s.device))
    values, vectors = torch.linalg.eigh(s.detach())
    values = values.clamp_min(torch.finfo(s.dtype).tiny)
    logs = values.log()
    result = torch.where(finite, (vectors * logs[..., None, :]) @ vectors.mT, torch.nan)
    if not s.requires_grad:
        return result
    # The same value, and a first-order part that is 0 and has the gradient.
    a, b = values[..., :, None], values[..., None, :]
    larger, gap = torch.maximum(a, b), (a - b).abs()
    near = gap < 1e-3 * larger
    slope = torch.log1p(gap / torch.minimum(a, b)) / torch.where(near, torch.ones_like(gap), gap)
    slope = torch.where(near, 2 / (a + b), slope)  # what is left out is of second order in the gap
    change = vectors.mT @ (s - s.detach()) @ vectors
    return result + vectors @ (slope * change) @ vectors.mT


def upper_triangle(s: Tensor) -> Tensor:
    r"""Return symmetric matrices as vectors of the same length in the sense of Frobenius.

    What stands off the diagonal counts :math:`\sqrt 2`, as it stands there twice.

    Args:
        s: ``(..., n, n)``, symmetric.

    Returns:
        ``(..., n · (n + 1) / 2)``, row by row.

    Raises:
        ShapeError: If they are not square.

    Example:
        >>> upper_triangle(torch.tensor([[3.0, 1.0], [1.0, 4.0]])).square().sum()  # 9 + 16 + 2
        tensor(27.)
    """
    if s.ndim < 2 or s.shape[-1] != s.shape[-2]:
        raise ShapeError(f"s: expected (..., n, n), got {tuple(s.shape)}.")
    rows, columns = torch.triu_indices(s.shape[-1], s.shape[-1], device=s.device)
    weight = torch.where(rows == columns, 1.0, 2**0.5).to(s.dtype)
    return s[..., rows, columns] * weight
