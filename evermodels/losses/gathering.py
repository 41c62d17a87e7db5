"""Batches of all processes joined into one, for losses that compare samples with each other."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed
from torch.nn import functional as F

from evermodels.core.errors import ShapeError

_AXES = 4


def num_processes() -> int:
    """Return how many processes train together: 1 without ``torch.distributed``.

    Example:
        >>> num_processes()
        1
    """
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


class _Gather(torch.autograd.Function):
    """One tensor of each process, stacked; backward adds up what all processes' losses ask of this one's."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        found = [torch.empty_like(x) for _ in range(num_processes())]
        distributed.all_gather(found, x)
        return torch.stack(found)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        grad = grad.contiguous()
        distributed.all_reduce(grad)
        return grad[distributed.get_rank()]


def _sizes(x: Tensor) -> list[int]:
    """Batch sizes of all processes, after a check that the other axes agree."""
    own = torch.tensor([x.ndim, *x.shape[:_AXES], *[0] * (_AXES - x.ndim)], device=x.device)
    found = [torch.empty_like(own) for _ in range(num_processes())]
    distributed.all_gather(found, own)
    shapes = [one[1 : 1 + int(one[0])].tolist() for one in found]
    if any(shape[1:] != shapes[0][1:] for shape in shapes):
        raise ShapeError(
            f"processes: expected batches that differ in their first axis at most, got {shapes}. Give every process "
            "the same model."
        )
    return [shape[0] for shape in shapes]


def gathered(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Return the batches of all processes joined, in the order of the processes; with one process what is given.

    A loss over the joined batch is the same on every process. Its gradient with respect to this process's tensors is
    multiplied by the number of processes, so that the mean over processes that data-parallel training
    (``DistributedDataParallel``, accelerate) takes of the gradients is the gradient of one process on the whole batch.
    Batch sizes may differ. Every process must call it with as many tensors, forward and backward.

    Args:
        *tensors: Of one batch, each ``(batch, ...)`` with at most four axes; a batch may be empty here.

    Raises:
        ShapeError: If the tensors have not one batch size, or differ between processes in another axis.

    Example:
        >>> gathered(torch.tensor([1.0, 2.0]), torch.tensor([True, False]))  # one process
        (tensor([1., 2.]), tensor([ True, False]))
    """
    if num_processes() == 1:
        return tensors
    if any(not 1 <= x.ndim <= _AXES or x.shape[0] != tensors[0].shape[0] for x in tensors):
        raise ShapeError(f"tensors: expected (batch, ...) of one batch, got {[tuple(x.shape) for x in tensors]}.")
    joined = []
    for x in tensors:
        sizes = _sizes(x)
        plain = x.to(torch.uint8) if x.dtype == torch.bool else x
        padded = F.pad(plain, [0, 0] * (x.ndim - 1) + [0, max(sizes) - x.shape[0]])
        whole = torch.cat([one[:size] for one, size in zip(_Gather.apply(padded.contiguous()), sizes, strict=True)])
        joined.append(whole.to(x.dtype))
    return tuple(joined)
