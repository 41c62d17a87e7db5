"""Fixed tables of positions that are added to tokens (Vaswani et al., 2017, section 3.5)."""

from __future__ import annotations

import torch
from torch import Tensor


def sinusoid_table(length: int, dim: int) -> Tensor:
    """Return the fixed position table, ``(1, length, dim)`` in float32.

    Column j of row p is ``sin`` (even j) or ``cos`` (odd j) of ``p / 10000^(2⌊j/2⌋/dim)``. It is computed in float64
    and rounded once, as the reference does.

    Args:
        length: Number of tokens; the index runs over time, then height, then width.
        dim: Width of the tokens.

    Example:
        >>> from evermodels.functional.positions import sinusoid_table
        >>> sinusoid_table(2, 4)[0, 0]
        tensor([0., 1., 0., 1.])
    """
    column = torch.arange(dim, device="cpu", dtype=torch.float64)
    position = torch.arange(length, device="cpu", dtype=torch.float64)
    angle = position[:, None] / 10000 ** (2 * (column // 2) / dim)
    angle[:, 0::2].sin_()
    angle[:, 1::2].cos_()
    return angle.float()[None]
