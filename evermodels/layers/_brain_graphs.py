"""The two graphs of BIH-GCN as torch-geometric data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from evermodels.core.errors import ShapeError

if TYPE_CHECKING:
    from torch_geometric.data import Data


def channel_data(
    attention: Tensor, adjacency: Tensor, regions: Mapping[str, Sequence[int]], ch_names: Sequence[str] | None
) -> Data:
    """Return the channel graph of one sample.

    Args:
        attention: ``(channels,)``.
        adjacency: ``(channels, channels)``.
        regions: Channel indices by region name.
        ch_names: Names of the channels (default: their numbers).

    Raises:
        ShapeError: If ``ch_names`` has another length than the channels.
    """
    from torch_geometric.data import Data

    channels = len(attention)
    names = [str(c) for c in range(channels)] if ch_names is None else list(ch_names)
    if len(names) != channels:
        raise ShapeError(f"ch_names: expected {channels} names, one a channel, got {len(names)}.")
    membership = torch.full((channels,), -1)
    for number, members in enumerate(regions.values()):
        membership[list(members)] = number
    return Data(
        x=attention.detach()[:, None],
        num_nodes=channels,
        **_edges(adjacency),
        region=membership.to(attention.device),
        ch_names=names,
        region_names=list(regions),
    )


def region_data(adjacency: Tensor, node_names: Sequence[str], x: Tensor | None) -> Data:
    """Return the region graph of one sample.

    Args:
        adjacency: ``(nodes, nodes)``.
        node_names: Names of the nodes.
        x: Features of the nodes, ``(nodes, features)``, or None.
    """
    from torch_geometric.data import Data

    features = None if x is None else x.detach()
    return Data(x=features, num_nodes=len(node_names), **_edges(adjacency), node_names=list(node_names))


def _edges(adjacency: Tensor) -> dict[str, Any]:
    """Edges from column (source) to row (target)."""
    adjacency = adjacency.detach()
    target, source = adjacency.nonzero(as_tuple=True)
    return {"edge_index": torch.stack([source, target]), "edge_weight": adjacency[target, source]}
