"""What is taken from BIH-GCN's regions to see whether they matter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from unittest.mock import patch

import torch
from torch import Tensor

from evermodels.layers import BIHGCN


@contextmanager
def _nodes(fusion: BIHGCN, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Change the region nodes before the graph of stage 2 is built."""
    stage_one = fusion._stage_one

    def changed(*arguments: object) -> tuple[Tensor, Tensor, Tensor]:
        regions, attention, adjacency = stage_one(*arguments)
        return change(regions), attention, adjacency

    with patch.object(fusion, "_stage_one", changed):
        yield


@contextmanager
def _messages(fusion: BIHGCN) -> Iterator[None]:
    """Keep the graph of stage 2 with its degrees, but let the regions send nothing."""
    first = fusion.global_gcn if fusion.global_layers == 2 else fusion.region_gcn

    def silent(_: object, arguments: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        nodes, adjacency = arguments
        return torch.cat([nodes[:, :2], torch.zeros_like(nodes[:, 2:])], dim=1), adjacency

    handle = first.register_forward_pre_hook(silent)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _set(tensor: Tensor, value: Tensor) -> Iterator[None]:
    before = tensor.detach().clone()
    with torch.no_grad():
        tensor.copy_(value)
    try:
        yield
    finally:
        with torch.no_grad():
            tensor.copy_(before)


def without_edges(mask: Tensor) -> Tensor:
    """The mask of stage 2 without edges between two regions."""
    mask = mask.clone()
    mask[2:, 2:] &= torch.eye(len(mask) - 2, dtype=torch.bool)
    return mask


def interventions(fusion: BIHGCN, count: int) -> dict[str, AbstractContextManager[None]]:
    """By name, what is done to the regions of a batch of ``count`` samples while the context is open."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    return {
        "as trained": nullcontext(),
        "region messages deleted, degrees kept": _messages(fusion),
        "regions taken out of the graph": _nodes(fusion, torch.zeros_like),
        "region nodes shuffled between samples": _nodes(fusion, lambda regions: regions[order]),
        "edges between regions deleted": _set(fusion.region_edges_mask, without_edges(fusion.region_edges_mask)),
        "channel attention made uniform": _set(fusion.attention.weight, torch.zeros_like(fusion.attention.weight)),
    }
