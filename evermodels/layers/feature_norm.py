"""Standardisation of features by the statistics of a training set."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from evermodels.core.errors import ConfigError, ShapeError


class FeatureNorm(nn.Module):
    r"""Standardise each feature by its mean and standard deviation over a training set.

    .. math:: x'_{n f} = (x_{n f} - \mu_f) / \sigma_f

    over windows n and features f of any axes: milliseconds, millimetres and nats come to one scale. :math:`\mu` and
    :math:`\sigma` are fixed numbers of the checkpoint, not of the batch. Until :meth:`fit` they are 0 and 1.

    Args:
        shape: Axes of the features of one window, such as ``(33,)``, or ``(bands, channels)``.
        source: What makes the features of what comes (default: they come ready), a layer that returns
            ``(batch, windows, *shape)``.

    Raises:
        ConfigError: If an axis is not positive.

    Example:
        >>> norm = FeatureNorm((2,))
        >>> norm.fit([torch.tensor([[[0.0, 100.0], [2.0, 300.0]]])])  # batch, windows, features
        >>> norm(torch.tensor([[[1.0, 300.0]]]))
        tensor([[[0., 1.]]])
    """

    mean: Tensor
    std: Tensor

    def __init__(self, shape: Sequence[int], source: nn.Module | None = None) -> None:
        super().__init__()
        self.shape, self.source = tuple(shape), source
        if not self.shape or min(self.shape) < 1:
            raise ConfigError(f"shape: expected at least one axis, each at least 1, got {self.shape}.")
        self.register_buffer("mean", torch.zeros(self.shape))
        self.register_buffer("std", torch.ones(self.shape))

    @property
    def fitted(self) -> bool:
        """Whether the statistics are there."""
        return bool((self.mean != 0).any() or (self.std != 1).any())

    @torch.no_grad()
    def fit(self, batches: Iterable[Tensor]) -> None:
        """Take the statistics over samples and windows.

        Args:
            batches: What :meth:`forward` takes.

        Raises:
            ShapeError: If there is no batch, or one has other axes.
        """
        count, total, squares = 0, torch.zeros(()), torch.zeros(())
        shift = torch.zeros(())
        for batch in batches:
            features = self.features(batch).double()
            rows = math.prod(features.shape[:2])
            if rows == 0:
                continue
            if count == 0:
                shift = features.mean((0, 1))  # float64 sums of squares about it lose nothing
            centred = features - shift
            count += rows
            total = total + centred.sum((0, 1))
            squares = squares + centred.square().sum((0, 1))
        if count == 0:
            raise ShapeError("batches: expected at least one sample, got none.")
        mean = total / count
        std = (squares / count - mean.square()).clamp_min(0).sqrt()
        self.mean.copy_(mean + shift)
        # A feature that never changes carries nothing; 1 leaves it at 0 after centring.
        self.std.copy_(torch.where(std > 1e-6, std, torch.ones_like(std)))

    def features(self, x: Tensor) -> Tensor:
        """Return the features before they are standardised.

        Args:
            x: What the source takes, or features, ``(batch, windows, *shape)``.

        Raises:
            ShapeError: If they have other axes.
        """
        made: Tensor = x if self.source is None else self.source(x)
        if made.ndim != 2 + len(self.shape) or made.shape[2:] != self.shape:
            want = ", ".join(["batch", "windows", *map(str, self.shape)])
            raise ShapeError(f"features: expected ({want}), got {tuple(made.shape)}.")
        return made

    def forward(self, x: Tensor) -> Tensor:
        """Return standardised features, ``(batch, windows, *shape)``.

        Args:
            x: What the source takes, or features.

        Raises:
            ShapeError: If the features have other axes.
        """
        return (self.features(x) - self.mean) / self.std

    def extra_repr(self) -> str:
        """Return the settings for ``repr``."""
        return f"shape={self.shape}"
