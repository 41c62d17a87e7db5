"""Mood Reader's interlinked spatial and temporal attention over differential entropy."""

from __future__ import annotations

from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn

from evermodels.core.errors import ConfigError, check_axes
from evermodels.functional._precision import at_least_float32
from evermodels.layers.residual_attention import ResidualAttention, WeighingAttention


class InterlinkedOutput(NamedTuple):
    """What :class:`InterlinkedSpatioTemporalAttention` returns.

    Args:
        spatial: F_ST, a token for each channel, ``(batch, channels, spatial_dim)``.
        temporal: F_TS, a token for each window, ``(batch, windows, temporal_dim)``.
        channel_attention: How much each channel was attended to, ``(batch, channels)``, of sum 1: the mean over the
            spatial blocks, their heads and the channels that ask.
        window_attention: The same of the windows, ``(batch, windows)``.
    """

    spatial: Tensor
    temporal: Tensor
    channel_attention: Tensor
    window_attention: Tensor


class Interlink(nn.Module):
    r"""One interlink block: tokens of one path attend to each other with what the other path says of each.

    Mood Reader, Fig. 2, for the spatial path:

    .. math::
        X_{S'} = X_S W_1, \quad X_{T'} = \mathrm{align}(X_T), \quad
        F_{S_T} = \mathrm{MHA}(\mathrm{Concat}(X_{S'}, X_{T'}))

    The paper says that X_T "undergoes multiple transformations" to fit X_S. Here (a choice) it is brought to the width
    N·F or C·F that its axes have, they are turned so that each token of the own path gets its part, and a linear layer
    brings that to the own path's width; both parts stand side by side in each token.

    Args:
        own: Tokens of the own path, the width of one as it came, and its width now.
        other: The same of the other path.
        num_heads: Heads of attention.
    """

    def __init__(self, own: tuple[int, int, int], other: tuple[int, int, int], num_heads: int) -> None:
        super().__init__()
        _, raw, dim = own
        _, other_raw, other_dim = other
        self.tokens = own[0]
        self.own = nn.Linear(dim, dim)
        self.unfold = nn.Linear(other_dim, other_raw)
        self.align = nn.Linear(raw, dim)
        self.attn = WeighingAttention(2 * dim, dim, num_heads)

    def forward(self, x: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        """Return the own path's tokens and the weights of attention.

        Args:
            x: The own path's tokens, ``(batch, n, dim)``.
            other: The other's, ``(batch, m, other_dim)``.
        """
        turned = rearrange(self.unfold(other), "batch m (n f) -> batch n (m f)", n=self.tokens)
        mixed: tuple[Tensor, Tensor] = self.attn(torch.cat([self.own(x), self.align(turned)], dim=2))
        return mixed


class InterlinkedSpatioTemporalAttention(nn.Module):
    r"""Spatial and temporal attention over differential entropy, side by side and then interlinked.

    Source: "Multi-modal Mood Reader", section 3.3, eq. 1-4 and Fig. 2. The features of N windows, F bands and C
    channels are read in two ways, :math:`\hat X_S \in \mathbb{R}^{C \times (N F)}` with a token for each channel and
    :math:`\hat X_T \in \mathbb{R}^{N \times (C F)}` with one for each window. Each goes through its own
    :class:`~evermodels.layers.ResidualAttention` blocks, then each path's interlink block takes in the other.

    Where ``num_heads`` does not divide N·F or C·F, a linear layer brings that path to the next multiple, or to the
    width that is asked for (a choice; the paper is silent). How many blocks there are is left open by the paper too.

    Args:
        num_windows: Windows N of one item: 4 of 4 s make the paper's item of 16 s; 1 is "w/o SWC".
        num_bands: Bands F.
        num_channels: Channels C.
        num_heads: Heads of every block.
        depth: Parallel blocks of each path.
        interlink_depth: Interlink blocks of each path; 0 is the plain spatial-temporal block (STB of section 4.4).
        spatial_dim: Width of the spatial path (default: N·F, or the next multiple of the heads).
        temporal_dim: Width of the temporal path (default: C·F, or the next multiple).
        drop_rate: Dropout of what attention gives (eq. 4).

    Raises:
        ConfigError: If a number is not positive, or the heads do not divide a width that is asked for.

    Example:
        >>> layer = InterlinkedSpatioTemporalAttention(num_windows=4, num_bands=5, num_channels=62, num_heads=5)
        >>> output = layer(torch.randn(2, 4, 5, 62))
        >>> output.spatial.shape, output.temporal.shape, output.channel_attention.shape
        (torch.Size([2, 62, 20]), torch.Size([2, 4, 310]), torch.Size([2, 62]))
    """

    def __init__(
        self,
        num_windows: int,
        num_bands: int,
        num_channels: int,
        *,
        num_heads: int = 5,
        depth: int = 2,
        interlink_depth: int = 1,
        spatial_dim: int | None = None,
        temporal_dim: int | None = None,
        drop_rate: float = 0.0,
    ) -> None:
        super().__init__()
        sizes = {"num_windows": num_windows, "num_bands": num_bands, "num_channels": num_channels}
        for name, value in {**sizes, "num_heads": num_heads, "depth": depth}.items():
            if value < 1:
                raise ConfigError(f"{name}: expected at least 1, got {value!r}.")
        if interlink_depth < 0:
            raise ConfigError(f"interlink_depth: expected 0 (no interlink) or more, got {interlink_depth!r}.")
        self.num_windows, self.num_bands, self.num_channels = num_windows, num_bands, num_channels
        raw_s, raw_t = num_windows * num_bands, num_channels * num_bands
        self.spatial_dim = _width("spatial_dim", spatial_dim, raw_s, num_heads)
        self.temporal_dim = _width("temporal_dim", temporal_dim, raw_t, num_heads)
        self.spatial_proj = _projection(raw_s, self.spatial_dim)
        self.temporal_proj = _projection(raw_t, self.temporal_dim)
        self.spatial = nn.ModuleList(ResidualAttention(self.spatial_dim, num_heads, drop_rate) for _ in range(depth))
        self.temporal = nn.ModuleList(ResidualAttention(self.temporal_dim, num_heads, drop_rate) for _ in range(depth))
        paths = (num_channels, raw_s, self.spatial_dim), (num_windows, raw_t, self.temporal_dim)
        links = range(interlink_depth)
        self.spatial_links = nn.ModuleList(Interlink(paths[0], paths[1], num_heads) for _ in links)
        self.temporal_links = nn.ModuleList(Interlink(paths[1], paths[0], num_heads) for _ in links)

    def forward(self, features: Tensor) -> InterlinkedOutput:
        """Return the features of both paths and where they looked.

        Args:
            features: Differential entropy, ``(batch, windows, bands, channels)``.

        Raises:
            ShapeError: If the shape differs.
        """
        check_axes(
            "features",
            features,
            "batch windows bands channels",
            windows=self.num_windows,
            bands=self.num_bands,
            channels=self.num_channels,
        )
        x_s = self.spatial_proj(rearrange(features, "batch n f c -> batch c (n f)"))
        x_t = self.temporal_proj(rearrange(features, "batch n f c -> batch n (c f)"))
        seen_s, seen_t = [], []
        for spatial, temporal in zip(self.spatial, self.temporal, strict=True):
            x_s, weights = spatial(x_s)
            seen_s.append(weights)
            x_t, weights = temporal(x_t)
            seen_t.append(weights)
        for spatial, temporal in zip(self.spatial_links, self.temporal_links, strict=True):
            (x_s, weights_s), (x_t, weights_t) = spatial(x_s, x_t), temporal(x_t, x_s)
            seen_s.append(weights_s)
            seen_t.append(weights_t)
        return InterlinkedOutput(x_s, x_t, _looked_at(seen_s), _looked_at(seen_t))


def _width(name: str, asked: int | None, raw: int, num_heads: int) -> int:
    if asked is None:
        return -(-raw // num_heads) * num_heads
    if asked < 1 or asked % num_heads:
        raise ConfigError(f"{name}: expected a multiple of num_heads ({num_heads}), got {asked!r}.")
    return asked


def _projection(raw: int, dim: int) -> nn.Module:
    return nn.Identity() if raw == dim else nn.Linear(raw, dim)


def _looked_at(weights: list[Tensor]) -> Tensor:
    """Mean over blocks, heads and queries."""
    return at_least_float32(torch.stack(weights)).mean(dim=(0, 2, 3))
