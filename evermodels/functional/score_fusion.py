"""Fusion of sources by scores of each of their values."""

from __future__ import annotations

import torch
from torch import Tensor

from evermodels.core.errors import ConfigError, check_axes


def score_weighted_sum(features: Tensor, weight: Tensor, present: Tensor | None = None) -> tuple[Tensor, Tensor]:
    r"""Weigh sources against each other in each dimension and add them.

    Mood Reader, section 3.4, eq. 5-7:

    .. math:: \mathrm{Score}_i = F_i W, \qquad c_1, \dots, c_n = \mathrm{softmax}(\mathrm{Score}_1, \dots,
        \mathrm{Score}_n), \qquad F = \sum_i c_i \odot F_i

    The scores are vectors, W is one matrix for all sources, and the softmax goes over the sources in each dimension by
    itself (a choice: the paper writes W as well as W_S and W_T, and leaves open what the softmax goes over). A source
    that is absent has the weight 0; where all are, weights and sum are 0.

    Args:
        features: ``(batch, sources, dim)``.
        weight: W, ``(dim, dim)``.
        present: Which sources are there, ``(batch, sources)`` bool (default: all). What stands for the others must be
            finite and matters to nothing.

    Returns:
        The sum, ``(batch, dim)``, and the weights c, ``(batch, sources, dim)``.

    Raises:
        ShapeError: If a shape does not fit.
        ConfigError: If ``present`` is not bool.

    Example:
        >>> features = torch.tensor([[[2.0, 0.0], [0.0, 2.0]]])
        >>> fused, weights = score_weighted_sum(features, torch.zeros(2, 2))
        >>> fused.tolist(), weights[0, 0].tolist()
        ([[1.0, 1.0]], [0.5, 0.5])
        >>> score_weighted_sum(features, torch.eye(2), torch.tensor([[True, False]]))[0].tolist()
        [[2.0, 0.0]]
    """
    check_axes("features", features, "batch sources dim")
    check_axes("weight", weight, "dim out", dim=features.shape[2], out=features.shape[2])
    scores = features @ weight.to(features.dtype)
    if present is None:
        weights = scores.softmax(dim=1)
        return (weights.to(features.dtype) * features).sum(dim=1), weights
    check_axes("present", present, "batch sources", batch=features.shape[0], sources=features.shape[1])
    if present.dtype != torch.bool:
        raise ConfigError(f"present: expected bool, got {present.dtype}. Convert it with .bool().")
    # A softmax over nothing is NaN, in the gradient too: such rows are weighed as if all were there, then dropped.
    some = present | ~present.any(dim=1, keepdim=True)
    weights = scores.masked_fill(~some[:, :, None], -torch.inf).softmax(dim=1)
    weights = torch.where(present[:, :, None], weights, 0)
    return (weights.to(features.dtype) * torch.where(present[:, :, None], features, 0)).sum(dim=1), weights
