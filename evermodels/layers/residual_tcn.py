"""MERCL's residual temporal convolutions: four dilated blocks over the steps of a sequence, with masks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from evermodels.core.errors import ConfigError, check_axes


class _StepNorm(nn.BatchNorm1d):
    """Batch norm over the valid steps alone."""

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """Normalise ``(batch, channels, time)``; ``valid`` is ``(batch, 1, time)`` bool."""
        if not self.training:
            return super().forward(x)
        wide = x if x.dtype == torch.float64 else x.float()
        weight = torch.ones_like(wide[:, :1]) if valid is None else valid.to(wide.dtype)
        count = weight.sum()
        mean = (wide * weight).sum((0, 2)) / count.clamp_min(1)
        centred = wide - mean[:, None]
        square = (centred.square() * weight).sum((0, 2))
        with torch.no_grad():
            assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
            # One step alone has no spread to remember, and none has no mean.
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum * (count > 0))
            spread = square / (count - 1).clamp_min(1)
            self.running_var.lerp_(spread.to(self.running_var.dtype), self.momentum * (count > 1))
        scaled = centred * torch.rsqrt(square / count.clamp_min(1) + self.eps)[:, None]
        return (scaled * self.weight[:, None] + self.bias[:, None]).to(x.dtype)


class _Block(nn.Module):
    """Dilated convolution, batch norm, ELU, dropout, residual."""

    def __init__(self, in_features: int, dim: int, kernel_size: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.before = (kernel_size - 1) * dilation
        self.conv = nn.Conv1d(in_features, dim, kernel_size, dilation=dilation)
        self.norm = _StepNorm(dim)
        self.drop = nn.Dropout(dropout)
        self.skip = nn.Identity() if in_features == dim else nn.Conv1d(in_features, dim, 1)

    def forward(self, x: Tensor, valid: Tensor | None) -> Tensor:
        """Return ``(batch, dim, time)`` of ``(batch, in_features, time)``."""
        if valid is not None:
            x = torch.where(valid, x, 0)
        return self.drop(F.elu(self.norm(self.conv(F.pad(x, (self.before, 0))), valid))) + self.skip(x)


class ResidualTCN(nn.Module):
    r"""Residual temporal convolutional network: what comes later in a sequence sees what came before.

    MERCL, section 3.1.2, eq. 1. Each block is a dilated convolution, batch norm, ELU, dropout and a residual
    connection; four of them follow each other with dilations 1, 2, 4, 8:

    .. math:: F(t) = \sum_{i=0}^{k-1} f(i)\, x(t - d\, i)

    As printed it is causal: a step sees itself and earlier ones, which are 0 before the begin. The paper gives no
    kernel size; 3 is a choice, with which the last step sees 31 steps. Where the width changes, the residual connection
    is a linear layer over each step (a choice).

    Steps that ``mask`` leaves out enter no convolution and no statistics, and are 0 in the result.

    Args:
        in_features: Width of a step.
        dim: Width of a step afterwards.
        dilations: Dilation of each block.
        kernel_size: Steps that a convolution sees.
        dropout: Rate of dropout.

    Raises:
        ConfigError: If a value is impossible.

    Example:
        >>> import torch
        >>> from evermodels.layers import ResidualTCN
        >>> ResidualTCN(in_features=8, dim=16)(torch.randn(2, 10, 8)).shape
        torch.Size([2, 10, 16])
    """

    def __init__(
        self,
        in_features: int,
        dim: int,
        dilations: Sequence[int] = (1, 2, 4, 8),
        kernel_size: int = 3,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        sizes = {"in_features": in_features, "dim": dim, "kernel_size": kernel_size}
        for name, value in sizes.items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ConfigError(f"{name}: expected a whole number of at least 1, got {value!r}.")
        if not dilations or any(isinstance(d, bool) or not isinstance(d, int) or d < 1 for d in dilations):
            raise ConfigError(f"dilations: expected whole numbers of at least 1, got {dilations!r}.")
        if not 0 <= dropout < 1:
            raise ConfigError(f"dropout: expected a number in [0, 1), got {dropout!r}.")
        self.in_features, self.dim = in_features, dim
        widths = [in_features, *[dim] * len(dilations)]
        self.blocks = nn.ModuleList(
            _Block(width, dim, kernel_size, d, dropout) for width, d in zip(widths, dilations, strict=False)
        )

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return ``(batch, time, dim)``.

        Args:
            x: Steps, ``(batch, time, in_features)``.
            mask: Valid steps, ``(batch, time)`` bool (default: all).

        Raises:
            ShapeError: If shapes do not fit.
            ConfigError: If the mask is not bool.
        """
        check_axes("x", x, "batch time features", features=self.in_features)
        valid = None
        if mask is not None:
            check_axes("mask", mask, "batch time", batch=x.shape[0], time=x.shape[1])
            if mask.dtype != torch.bool:
                raise ConfigError(f"mask: expected bool, got {mask.dtype}. Convert it with .bool().")
            valid = mask[:, None]
        h = x.transpose(1, 2)
        for block in self.blocks:
            h = block(h, valid)
        return (h if valid is None else torch.where(valid, h, 0)).transpose(1, 2)
