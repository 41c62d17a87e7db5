"""How far apart the distributions of two modalities' embeddings are."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from evermodels.core.errors import ConfigError, ShapeError, check_axes
from evermodels.functional._precision import at_least_float32, without_autocast

_WAY_OUT = "Use a larger batch (drop_last=True), or the loss module with on_small_batch='zero'."


def _check_pair(a: Tensor, b: Tensor) -> None:
    for name, tensor in (("a", a), ("b", b)):
        check_axes(name, tensor, "batch dim", dim=a.shape[-1])
        if tensor.shape[0] < 2:
            raise ShapeError(
                f"{name}: a batch of {tensor.shape[0]} has no spread to align; 2 samples are the least. {_WAY_OUT}"
            )


def _correlation(x: Tensor) -> Tensor:
    """Eq. 15-16; constant features correlate with nothing."""
    size = x.detach().abs().amax(0)
    x = x - x.mean(0)
    square = x.square().sum(0)
    # What centring leaves of a constant is rounding: a few units in the last place of its value.
    rounding = x.shape[0] * (8 * torch.finfo(x.dtype).eps * size).square()
    varies = square > rounding.clamp_min(1e-24)
    unit = x * (torch.where(varies, square, 1).rsqrt() * varies)
    return unit.mT @ unit


def correlation_alignment(a: Tensor, b: Tensor) -> Tensor:
    r"""Mean squared difference between the correlations of features in two modalities.

    EVER, section 3.3, eq. 15-17:

    .. math::
        \Sigma = \frac{Z^\top Z}{N - 1}, \quad
        \mathrm{Corr}_{pq} = \frac{\Sigma_{pq}}{\sqrt{\Sigma_{pp} \Sigma_{qq}}}, \quad
        L = \frac{1}{d (d - 1)} \sum_{p \neq q} (\mathrm{Corr}^v_{pq} - \mathrm{Corr}^e_{pq})^2

    with :math:`Z` the centred batch of embeddings. Scaling or shifting a feature changes nothing. A feature that is
    constant over the batch has no correlation; all of its are 0, and so is its gradient (a choice). Computed in
    float32 under autocast and for half-precision input; float64 stays float64.

    Args:
        a: Embeddings of one modality, ``(batch, dim)``, batch and dim at least 2.
        b: Embeddings of the other, ``(batch, dim)``; the batch may differ.

    Returns:
        The loss, a scalar, at least 0.

    Raises:
        ShapeError: If shapes do not fit, a batch has fewer than two samples, or there is one feature only.

    Example:
        >>> import torch
        >>> from evermodels.functional import correlation_alignment
        >>> a = torch.tensor([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]])  # correlation 1
        >>> b = torch.tensor([[1.0, 3.0], [2.0, 2.0], [3.0, 1.0]])  # correlation -1
        >>> correlation_alignment(a, b).round(decimals=4)
        tensor(4.)
    """
    _check_pair(a, b)
    dim = a.shape[1]
    if dim < 2:
        raise ShapeError(f"a: one feature correlates with no other; expected dim of at least 2, got {tuple(a.shape)}.")
    with without_autocast(a):
        difference = _correlation(at_least_float32(b)) - _correlation(at_least_float32(a))
        diagonal = torch.eye(dim, dtype=torch.bool, device=a.device)
        return difference.masked_fill(diagonal, 0).square().sum() / (dim * (dim - 1))


def coral(a: Tensor, b: Tensor) -> Tensor:
    r"""CORAL: squared distance between the covariances of two modalities.

    Sun & Saenko, 2016, eq. 1-3; EVER, Table 5:

    .. math:: L = \frac{1}{4 d^2} \lVert \Sigma_a - \Sigma_b \rVert_F^2

    with :math:`\Sigma` the covariance over the batch, divided by N - 1. This is the paper's value: a widely used
    implementation gives 4 times as much and adds the squared difference of the means. Computed in float32 under
    autocast and for half-precision input; float64 stays float64.

    Args:
        a: Embeddings of one modality, ``(batch, dim)``, batch at least 2.
        b: Embeddings of the other, ``(batch, dim)``; the batch may differ.

    Returns:
        The loss, a scalar, at least 0.

    Raises:
        ShapeError: If shapes do not fit, or a batch has fewer than two samples.

    Example:
        >>> import torch
        >>> from evermodels.functional import coral
        >>> coral(torch.tensor([[0.0], [2.0]]), torch.tensor([[0.0], [0.0]]))  # variances 2 and 0
        tensor(1.)
    """
    _check_pair(a, b)
    with without_autocast(a):
        difference = _covariance(at_least_float32(a)) - _covariance(at_least_float32(b))
        return difference.square().sum() / (4 * a.shape[1] ** 2)


def _covariance(x: Tensor) -> Tensor:
    x = x - x.mean(0)
    return x.mT @ x / (x.shape[0] - 1)


def mmd(a: Tensor, b: Tensor, *, bandwidths: Sequence[float] | None = None) -> Tensor:
    r"""Squared maximum mean discrepancy between two modalities, with a sum of RBF kernels.

    Gretton et al., 2012, eq. 5 (the biased estimate, never negative); EVER, Table 5, which names no kernel:

    .. math::
        L = \overline{k(a, a')} + \overline{k(b, b')} - 2 \overline{k(a, b)}, \qquad
        k(x, y) = \sum_m \exp \left( -\frac{\lVert x - y \rVert^2}{2 \sigma_m^2} \right)

    A choice: :math:`\sigma_m` is 1/4, 1/2, 1, 2 and 4 times the median distance between the samples of both
    modalities, taken as a constant in the gradient. Computed in float32 under autocast and for half-precision input;
    float64 stays float64.

    Args:
        a: Embeddings of one modality, ``(batch, dim)``, batch at least 2.
        b: Embeddings of the other, ``(batch, dim)``; the batch may differ.
        bandwidths: The :math:`\sigma_m` themselves (default: around the median distance).

    Returns:
        The loss, a scalar, at least 0 up to rounding.

    Raises:
        ShapeError: If shapes do not fit, or a batch has fewer than two samples.
        ConfigError: If a bandwidth is not positive, or there is none.

    Example:
        >>> import torch
        >>> from evermodels.functional import mmd
        >>> a, b = torch.tensor([[0.0], [0.0]]), torch.tensor([[1.0], [1.0]])
        >>> mmd(a, b, bandwidths=[1.0])  # 2 - 2 exp(-1/2)
        tensor(0.7869)
    """
    _check_pair(a, b)
    if bandwidths is not None and not (len(bandwidths) and all(math.isfinite(s) and s > 0 for s in bandwidths)):
        raise ConfigError(f"bandwidths: expected positive numbers, or None, got {bandwidths!r}.")
    with without_autocast(a):
        n = a.shape[0]
        x = torch.cat([at_least_float32(a), at_least_float32(b).to(at_least_float32(a).dtype)])
        x = x - x.detach().mean(0)  # no distance changes, and fewer digits cancel
        square = x.square().sum(-1)
        distance = (square[:, None] + square[None, :] - 2 * x @ x.mT).clamp_min(0)
        if bandwidths is None:
            rows, columns = torch.triu_indices(len(x), len(x), offset=1, device=x.device)
            median = distance.detach()[rows, columns].median()
            scale = torch.where(median > 0, median, 1)
            kernel = torch.stack([torch.exp(distance / (-2 * factor**2 * scale)) for factor in (0.25, 0.5, 1, 2, 4)])
        else:
            kernel = torch.stack([torch.exp(distance / (-2 * sigma**2)) for sigma in bandwidths])
        kernel = kernel.sum(0)
        return kernel[:n, :n].mean() + kernel[n:, n:].mean() - 2 * kernel[:n, n:].mean()


def canonical_correlation(a: Tensor, b: Tensor, *, regularization: float = 1e-3) -> Tensor:
    r"""Correlations of the directions in which two modalities agree most, in descending order.

    Andrew et al., *Deep Canonical Correlation Analysis* (2013), section 3: the singular values of

    .. math:: T = \Sigma_{11}^{-1/2} \Sigma_{12} \Sigma_{22}^{-1/2}, \qquad \Sigma_{11} =
        \frac{1}{N - 1} \bar A^\top \bar A + r I

    Their sum is the total correlation that DeepCCA maximises (Milmer, Table 5). The roots are taken by Cholesky's
    decomposition, which changes no singular value and, other than one by eigenvectors, has a finite gradient where
    eigenvalues are equal. Computed in float64 and given back in the precision of the input, at least float32. With
    fewer samples than features every direction can be made to agree: what keeps the numbers below 1 is ``r`` then.

    Args:
        a: Embeddings of one modality, ``(batch, dim)``, batch at least 2.
        b: Embeddings of the other of the same samples, ``(batch, dim)``; its dim may differ.
        regularization: r, added to the variances.

    Returns:
        ``(min(dim of a, dim of b),)``, each in [0, 1).

    Raises:
        ShapeError: If shapes do not fit, or the batch has fewer than two samples.
        ConfigError: If ``regularization`` is not positive.

    Example:
        >>> import torch
        >>> from evermodels.functional import canonical_correlation
        >>> a = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
        >>> canonical_correlation(a, a[:, :1] * 5, regularization=1e-6).round(decimals=4)
        tensor([1.])
    """
    for name, tensor in (("a", a), ("b", b)):
        check_axes(name, tensor, "batch dim")
        if tensor.shape[0] < 2:
            raise ShapeError(
                f"{name}: a batch of {tensor.shape[0]} has no spread to align; 2 samples are the least. {_WAY_OUT}"
            )
    if a.shape[0] != b.shape[0]:
        raise ShapeError(f"b: expected the {a.shape[0]} samples of a, got {b.shape[0]}. Give both of the same samples.")
    if not (math.isfinite(regularization) and regularization > 0):
        raise ConfigError(f"regularization: expected a positive number, got {regularization!r}.")
    with without_autocast(a):
        x, y = ((z - z.mean(0)) / math.sqrt(z.shape[0] - 1) for z in (a.double(), b.double()))
        roots = (
            torch.linalg.cholesky(z.mT @ z + regularization * torch.eye(z.shape[1], dtype=z.dtype, device=z.device))
            for z in (x, y)
        )
        left, right = (
            torch.linalg.solve_triangular(root, z.mT, upper=False) for root, z in zip(roots, (x, y), strict=True)
        )
        return torch.linalg.svdvals(left @ right.mT).to(at_least_float32(a).dtype)
