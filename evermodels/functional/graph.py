"""Graphs over channels and regions: adjacency, its normalisation, and pooling by region."""

from __future__ import annotations

import torch
from torch import Tensor

from evermodels.core.errors import ConfigError, ShapeError, check_axes
from evermodels.functional._graph import cosines, normalized, pooled


def cosine_adjacency(nodes: Tensor, mask: Tensor) -> Tensor:
    r"""Adjacency matrix of cosine similarities between nodes, where a mask allows an edge.

    EVER, section 3.2, eq. 6:

    .. math:: \tilde A_{ij} = \frac{h_i^\top h_j}{\lVert h_i \rVert \lVert h_j \rVert} M_{ij}

    with :math:`h_i` the embedding of node i and :math:`M` the binary mask of eq. 7 (same region) or eq. 12. Entries can
    be negative. A zero vector has no direction; its similarities, also with itself, are 0, and so is its gradient
    (a choice). Computed in float32 under autocast and for half-precision input; float64 stays float64.

    Args:
        nodes: Node embeddings, ``(batch, nodes, dim)``.
        mask: Allowed edges, bool or 0/1, ``(nodes, nodes)`` or ``(batch, nodes, nodes)``.

    Returns:
        Adjacency, ``(batch, nodes, nodes)``, in [-1, 1] up to rounding.

    Raises:
        ShapeError: If a shape differs from these.

    Example:
        >>> import torch
        >>> from evermodels.functional import cosine_adjacency
        >>> nodes = torch.tensor([[[1.0, 0.0], [3.0, 0.0], [0.0, 2.0]]])
        >>> cosine_adjacency(nodes, torch.ones(3, 3, dtype=torch.bool))
        tensor([[[1., 1., 0.],
                 [1., 1., 0.],
                 [0., 0., 1.]]])
    """
    check_axes("nodes", nodes, "batch nodes dim")
    batch, n, _ = nodes.shape
    if mask.ndim == 3:
        check_axes("mask", mask, "batch nodes nodes", batch=batch, nodes=n)
    else:
        check_axes("mask", mask, "nodes nodes", nodes=n)
    return cosines(nodes, mask)


def symmetric_normalize(adjacency: Tensor, *, self_loops: bool = False, eps: float = 1e-12) -> Tensor:
    r"""Divide each edge by the root of the degrees at its two ends.

    EVER, section 3.2, eq. 8 (Kipf & Welling, 2017):

    .. math:: \hat A = D^{-1/2} \tilde A D^{-1/2}, \qquad D_{ii} = \sum_j |\tilde A_{ij}|

    A cosine can be negative, so the plain degree :math:`\sum_j \tilde A_{ij}` can be zero or negative, and its root
    undefined; the paper is silent. A choice: the signed degree above, which equals the plain one where no edge is
    negative and keeps the eigenvalues of a symmetric matrix within [-1, 1]. Rows of degree zero stay zero, with zero
    gradient. Computed in float32 under autocast and for half-precision input; float64 stays float64.

    Args:
        adjacency: Adjacency matrices, ``(..., nodes, nodes)``, symmetric (for others, ``D`` holds the row degrees).
        self_loops: Set the diagonal to 1 first: Kipf & Welling's ``A + I`` for a graph without loops, and no second
            loop where a node has one (default: leave the diagonal).
        eps: Degrees up to this count as zero.

    Returns:
        Normalised adjacency, ``(..., nodes, nodes)``.

    Raises:
        ShapeError: If the last two axes differ.
        ConfigError: If ``eps`` is negative.

    Example:
        >>> import torch
        >>> from evermodels.functional import symmetric_normalize
        >>> symmetric_normalize(torch.tensor([[1.0, -1.0, 0.0], [-1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]))
        tensor([[ 0.5000, -0.5000,  0.0000],
                [-0.5000,  0.5000,  0.0000],
                [ 0.0000,  0.0000,  0.0000]])
    """
    if adjacency.ndim < 2 or adjacency.shape[-1] != adjacency.shape[-2]:
        raise ShapeError(
            f"adjacency: expected (..., nodes, nodes), got {tuple(adjacency.shape)}. Give one row and column per node."
        )
    if eps < 0:
        raise ConfigError(f"eps: expected a number that is not negative, got {eps!r}.")
    if self_loops:
        diagonal = torch.eye(adjacency.shape[-1], dtype=torch.bool, device=adjacency.device)
        adjacency = torch.where(diagonal, 1.0, adjacency)
    return normalized(adjacency, eps)


def region_attention_pool(nodes: Tensor, scores: Tensor, regions: Tensor) -> tuple[Tensor, Tensor]:
    r"""Pool channels into regions by a softmax of their scores within each region.

    EVER, section 3.2, eq. 10:

    .. math::
        \alpha_i = \frac{\exp(s_i)}{\sum_{j \in C_{r_k}} \exp(s_j)}, \qquad z_{r_k} = \sum_{i \in C_{r_k}} \alpha_i h_i

    with :math:`h_i` the embedding of channel i, :math:`s_i = w^\top h_i` its score, and :math:`C_{r_k}` the channels
    of region k. Softmax in float32 under autocast and for half-precision input.

    Args:
        nodes: Channel embeddings, ``(batch, channels, dim)``.
        scores: One score per channel, ``(batch, channels)``.
        regions: Which channel belongs to which region, bool, ``(regions, channels)``.

    Returns:
        The pooled embeddings, ``(batch, regions, dim)``, and the weights, ``(batch, regions, channels)``, which are 0
        outside the region and sum to 1 within it.

    Raises:
        ShapeError: If a shape differs from these, or a region has no channel (checked in eager mode only; under
            ``torch.compile`` its weights and embedding are 0).

    Example:
        >>> import torch
        >>> from evermodels.functional import region_attention_pool
        >>> nodes = torch.tensor([[[2.0], [4.0], [7.0]]])
        >>> regions = torch.tensor([[True, True, False], [False, False, True]])
        >>> pooled, weights = region_attention_pool(nodes, torch.zeros(1, 3), regions)
        >>> pooled
        tensor([[[3.],
                 [7.]]])
        >>> weights
        tensor([[[0.5000, 0.5000, 0.0000],
                 [0.0000, 0.0000, 1.0000]]])
    """
    check_axes("nodes", nodes, "batch channels dim")
    check_axes("scores", scores, "batch channels", batch=nodes.shape[0], channels=nodes.shape[1])
    check_axes("regions", regions, "regions channels", channels=nodes.shape[1])
    if regions.dtype != torch.bool:
        raise ConfigError(f"regions: expected a bool mask, got {regions.dtype}. Convert it with .bool().")
    if not torch.compiler.is_compiling() and regions.device.type != "meta":
        filled = regions.any(-1)
        if not bool(filled.all()):
            empty = (~filled).nonzero().flatten().tolist()
            raise ShapeError(f"regions: region {empty} has no channel. Leave out the rows of regions without channels.")
    return pooled(nodes, scores, regions)
