"""The arithmetic of :mod:`evermodels.functional.graph`, for callers that have checked their arguments."""

from __future__ import annotations

import torch
from torch import Tensor

from evermodels.functional._precision import at_least_float32, without_autocast

# Shorter vectors count as zero: below this the gradient of 1/|h| leaves float32.
_SMALLEST_NORM = 1e-12


def cosines(nodes: Tensor, mask: Tensor) -> Tensor:
    """Return the cosines between the nodes of each graph where the mask allows an edge."""
    with without_autocast(nodes):
        h = at_least_float32(nodes)
        norm = torch.linalg.vector_norm(h, dim=-1, keepdim=True)
        unit = h / norm.masked_fill(norm <= _SMALLEST_NORM, torch.inf)  # a vector over infinity is 0, as is its slope
        return (unit @ unit.mT) * mask


def normalized(adjacency: Tensor, eps: float = 1e-12) -> Tensor:
    """Return each edge over the root of the signed degrees at its ends; degrees up to ``eps`` count as zero."""
    with without_autocast(adjacency):
        a = at_least_float32(adjacency)
        degree = a.abs().sum(-1)
        root = degree.masked_fill(degree <= eps, torch.inf).rsqrt()
        return root[..., :, None] * a * root[..., None, :]


def pooled(nodes: Tensor, scores: Tensor, regions: Tensor) -> tuple[Tensor, Tensor]:
    """Return the nodes pooled by a softmax of their scores in each region, and its weights."""
    scores = at_least_float32(scores)[:, None, :]
    weights = scores.masked_fill(~regions, torch.finfo(scores.dtype).min).softmax(-1) * regions
    return weights.to(nodes.dtype) @ nodes, weights


def node_shares(nodes: Tensor, weights: Tensor, projection: Tensor | None) -> Tensor:
    """Return how large each node's part of ``projection(sum_n weights_n * nodes_n)`` is, relative to all parts.

    Args:
        nodes: What is summed, ``(batch, nodes, dim)``.
        weights: Weight of each node, ``(batch, nodes, 1)``, or of each of its features, ``(batch, nodes, dim)``.
        projection: The linear map to the classes, ``(classes, dim)``, or ``None`` for none. With two or more classes,
            what a node adds to all of them alike is taken out: no decision sees it.

    Returns:
        ``(batch, nodes)``, float32 or wider, sums to 1; 0 where no node adds anything.
    """
    with without_autocast(nodes):
        parts = at_least_float32(nodes) * weights
        if projection is not None:
            parts = parts @ projection.to(parts.dtype).mT
            if parts.shape[-1] > 1:
                parts = parts - parts.mean(-1, keepdim=True)
        size = torch.linalg.vector_norm(parts, dim=-1)
        return size / size.sum(-1, keepdim=True).clamp_min(torch.finfo(size.dtype).tiny)
