"""Patches of a spectrogram in order of time, as HiCMAE and TVLT cut them."""

from __future__ import annotations

import math

from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F


class SpectrogramPatchEmbed(nn.Module):
    """Cut a spectrogram into patches and project each: moments one after the other, low frequencies first in each.

    One convolution over all channels; its weight has time before frequency, as in both repositories. Where patches do
    not divide the spectrogram it is padded with zeros behind its highest frequency and its last frame (a choice).

    Args:
        in_chans: Channels, for EEG its electrodes.
        embed_dim: Width of a token.
        input_size: Frequencies and frames.
        patch_size: Height (frequency) and width (time) of a patch.

    Example:
        >>> import torch
        >>> embed = SpectrogramPatchEmbed(19, 8, (32, 20), (16, 8))
        >>> embed.grid, embed(torch.zeros(2, 19, 32, 20)).shape
        ((3, 2), torch.Size([2, 6, 8]))
    """

    def __init__(self, in_chans: int, embed_dim: int, input_size: tuple[int, int], patch_size: tuple[int, int]) -> None:
        super().__init__()
        self.grid = patch_grid(input_size, patch_size)
        self.padding = (
            self.grid[1] * patch_size[0] - input_size[0],
            self.grid[0] * patch_size[1] - input_size[1],
        )
        kernel = patch_size[1], patch_size[0]
        self.proj = nn.Conv2d(in_chans, embed_dim, kernel, stride=kernel)

    def padded(self, x: Tensor, value: float = 0.0) -> Tensor:
        """Return ``(batch, channels, time, frequency)`` that patches divide, of ``(batch, channels, frequency, time)``.

        Args:
            x: The spectrogram.
            value: What it is padded with.
        """
        if any(self.padding):
            x = F.pad(x, (0, self.padding[1], 0, self.padding[0]), value=value)
        return x.transpose(2, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(batch, moments · rows, embed_dim)`` of ``(batch, channels, frequency, time)``."""
        return rearrange(self.proj(self.padded(x)), "batch dim t f -> batch (t f) dim")


def patch_grid(input_size: tuple[int, int], patch_size: tuple[int, int]) -> tuple[int, int]:
    """Return how many patches there are along time and along frequency.

    Args:
        input_size: Frequencies and frames.
        patch_size: Height (frequency) and width (time) of a patch.

    Example:
        >>> patch_grid((128, 100), (16, 16))
        (7, 8)
    """
    return math.ceil(input_size[1] / patch_size[1]), math.ceil(input_size[0] / patch_size[0])
