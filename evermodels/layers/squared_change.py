"""How far each rhythm of a window lies from the usual, whichever way it went."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evermodels.core.errors import ConfigError, ShapeError, check_axes


class SquaredChange(nn.Module):
    r"""Squared distance of each channel's and rhythm's mean over a window from its mean over a training set.

    People differ in the direction in which a state changes a rhythm, less in that it changes. A linear patch embedding
    followed by a norm sees the direction; this gives it the distance as further channels. Source: our choice, no
    paper's. For the spectrogram :math:`\tilde E_{cft}`, groups :math:`g` of two neighbouring frequencies:

    .. math::
        m_{cg} = \tfrac{1}{2T} \sum_{f \in g} \sum_t \tilde E_{cft}, \qquad
        q_{cg} = \min\!\big(((m_{cg} - \mu_{cg}) / \sigma_{cg})^2,\ 9\big) - 1

    :math:`\mu` and :math:`\sigma` are fixed numbers of the checkpoint; until :meth:`fit` they are 0 and 1.

    Args:
        in_chans: Number of channels C.
        num_bins: Number of frequencies F; with an odd one the last group has one.

    Raises:
        ConfigError: If a number is not positive.

    Example:
        >>> import torch
        >>> change = SquaredChange(in_chans=2, num_bins=4)
        >>> batch = 3 + torch.randn(64, 2, 4, 16)
        >>> change.fit([change.means(batch)])
        >>> change(batch).shape, bool(change(batch).mean().abs() < 0.1)
        (torch.Size([64, 2, 4, 16]), True)
    """

    mean: Tensor
    std: Tensor

    def __init__(self, in_chans: int, num_bins: int) -> None:
        super().__init__()
        for name, value in (("in_chans", in_chans), ("num_bins", num_bins)):
            if value < 1:
                raise ConfigError(f"{name}: expected at least 1, got {value}.")
        self.in_chans, self.num_bins = in_chans, num_bins
        groups = -(-num_bins // 2)
        self.register_buffer("mean", torch.zeros(in_chans, groups))
        self.register_buffer("std", torch.ones(in_chans, groups))

    def means(self, spectrogram: Tensor) -> Tensor:
        """Return m of the equation, ``(batch, channels, groups)``.

        Args:
            spectrogram: ``(batch, channels, frequency, time)``.

        Raises:
            ShapeError: If the channels or frequencies differ from the module's.
        """
        check_axes(
            "spectrogram", spectrogram, "batch channels frequency time", channels=self.in_chans, frequency=self.num_bins
        )
        return F.avg_pool1d(spectrogram.mean(dim=3), 2, ceil_mode=True)

    @torch.no_grad()
    def fit(self, means: Iterable[Tensor]) -> None:
        """Take the statistics of a training set.

        Args:
            means: What :meth:`means` gave for its batches.

        Raises:
            ShapeError: If there is no batch, or one has other axes.
        """
        several = list(means)
        if not several:
            raise ShapeError("means: expected at least one batch, got none.")
        for batch in several:
            check_axes("means", batch, "batch channels groups", channels=self.in_chans, groups=self.mean.shape[1])
        whole = torch.cat(several).double()
        std = whole.std(dim=0, correction=0)
        self.mean.copy_(whole.mean(dim=0))
        # What never changes carries nothing.
        self.std.copy_(torch.where(std > 1e-6, std, torch.ones_like(std)))

    def forward(self, spectrogram: Tensor) -> Tensor:
        """Return q of the equation, the same for all frequencies of a group and all times.

        Args:
            spectrogram: ``(batch, channels, frequency, time)``.

        Returns:
            The same shape.

        Raises:
            ShapeError: If the channels or frequencies differ from the module's.
        """
        q = ((self.means(spectrogram) - self.mean) / self.std).square().clamp(max=9) - 1
        q = q.repeat_interleave(2, dim=2)[:, :, : self.num_bins]
        return q[..., None].expand(spectrogram.shape)

    def extra_repr(self) -> str:
        """Return the settings for ``repr``."""
        return f"in_chans={self.in_chans}, num_bins={self.num_bins}"
