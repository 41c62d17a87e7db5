"""Crossformer: segments of each channel, attention across time, then across channels through a few routers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from einops import rearrange
from timm.layers import Mlp
from torch import Tensor, nn
from torch.nn import functional as F

from evermodels.backbones.eeg.crossformer_foreign import FORMATS, resample_positions, resample_routers
from evermodels.backbones.eeg.series import SeriesConfig, SeriesEncoder
from evermodels.functional.positions import sinusoid_table
from evermodels.layers.cross_attention import CrossAttention
from evermodels.layers.self_attention import SelfAttention


@dataclass(frozen=True)
class CrossformerConfig(SeriesConfig):
    """Configuration of :class:`Crossformer`; the defaults are Time-Series-Library's form at the authors' size.

    Args:
        in_chans: EEG channels C.
        num_samples: Samples of a window T.
        segment_size: Samples of a segment; where they do not divide the window, it is padded.
        merge_size: Neighbouring segments that are merged into one between scales.
        num_routers: Routers through which the channels of a segment speak with each other.
        layers_per_scale: Two-stage layers of a scale.
        padding: ``"end"``, the last sample repeated behind the window (Time-Series-Library), or ``"start"``, the first
            before it (the authors).
        segment_bias: Whether the projection of segments has a bias (the authors: yes; Time-Series-Library: no).
        sinusoid: Whether a fixed sinusoid over segments is added below the learned positions (Time-Series-Library).
        num_classes: Classes of the head; 0 for the embedding.
        embed_dim: Width D of the tokens, a multiple of ``num_heads``.
        depth: Number of scales; each after the first begins with a merging.
        num_heads: Attention heads.
        mlp_ratio: Hidden width of the MLPs over ``embed_dim``.
        scale: How µV become numbers around 1: ``"channel"``, ``"window"`` or ``"none"`` (the references, whose data are
            standardised).
        scale_eps: Added to the variance that is divided by.
        pool: ``"flatten"``, all tokens of the last scale (Time-Series-Library); ``"channels"``, for each channel the
            mean of its segments; ``"mean"``, over segments and channels.
        norm_eps: Epsilon of the norms.
        drop_rate: Dropout of the outputs of attention and MLP.
        attn_drop_rate: Dropout of the attention weights.
        head_drop_rate: Dropout before the head.

    Example:
        >>> CrossformerConfig(num_samples=1000).segments
        (84, 42, 21)
        >>> CrossformerConfig(merge_size=1)
        Traceback (most recent call last):
            ...
        evermodels.core.errors.ConfigError: CrossformerConfig.merge_size: expected at least 2, got 1.
    """

    segment_size: int = 12
    merge_size: int = 2
    num_routers: int = 10
    layers_per_scale: int = 1
    padding: Literal["end", "start"] = "end"
    segment_bias: bool = False
    sinusoid: bool = True
    embed_dim: int = 256
    num_heads: int = 4

    def check(self) -> None:
        """Refuse sizes below one, and merging of nothing, too."""
        super().check()
        self.at_least(1, "segment_size", "num_routers", "layers_per_scale")
        if self.layers_per_scale > 100:
            raise self.refuse("layers_per_scale", "at most 100")
        if self.merge_size < 2:
            raise self.refuse("merge_size", "at least 2")
        self.check_tokens(self.in_chans * math.ceil(self.num_samples / self.segment_size), "num_samples")

    @property
    def segments(self) -> tuple[int, ...]:
        """Segments of a channel, by scale."""
        counts = [math.ceil(self.num_samples / self.segment_size)]
        for _ in range(self.depth - 1):
            counts.append(math.ceil(counts[-1] / self.merge_size))
        return tuple(counts)


class TwoStageLayer(nn.Module):
    r"""Two-stage attention: across the segments of each channel, then across the channels of each segment.

    Source: Zhang and Yan, section 3.2. Instead of every channel reading every other, R learned routers of each segment
    gather from all channels, and the channels read from the routers, which takes 2RC instead of C² scores:

    .. math::
        Z^t = \mathrm{LN}(\hat Z + \mathrm{MLP}(\hat Z)), \quad \hat Z = \mathrm{LN}(Z + \mathrm{MSA}^t(Z)), \quad
        B = \mathrm{MSA}_1(R, Z^t, Z^t), \quad \bar Z = \mathrm{LN}(Z^t + \mathrm{MSA}_2(Z^t, B, B)), \quad
        Z' = \mathrm{LN}(\bar Z + \mathrm{MLP}(\bar Z))

    Args:
        config: Widths, heads, routers and rates.
        segments: Segments of a channel; each has routers of its own.

    Example:
        >>> layer = TwoStageLayer(CrossformerConfig(embed_dim=16, num_heads=4), 5)
        >>> layer(torch.zeros(2, 3, 5, 16)).shape
        torch.Size([2, 3, 5, 16])
    """

    def __init__(self, config: CrossformerConfig, segments: int) -> None:
        super().__init__()
        c, d = config, config.embed_dim
        self.time_attn = SelfAttention(d, c.num_heads, attn_drop=c.attn_drop_rate, proj_drop=c.drop_rate)
        self.sender = CrossAttention(d, c.num_heads, attn_drop=c.attn_drop_rate)
        self.receiver = CrossAttention(d, c.num_heads, attn_drop=c.attn_drop_rate, proj_drop=c.drop_rate)
        self.router = nn.Parameter(torch.randn(segments, c.num_routers, d))
        self.mlp1, self.mlp2 = (Mlp(d, c.mlp_dim, drop=(0.0, c.drop_rate)) for _ in range(2))
        self.norm1, self.norm2, self.norm3, self.norm4 = (nn.LayerNorm(d, eps=c.norm_eps) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """Update tokens ``(batch, channels, segments, dim)``."""
        batch, channels = x.shape[:2]
        x = x.flatten(0, 1)
        x = self.norm1(x + self.time_attn(x))
        x = self.norm2(x + self.mlp1(x))
        x = rearrange(x, "(batch channels) n dim -> (batch n) channels dim", channels=channels)
        routers = self.router.expand(batch, -1, -1, -1).flatten(0, 1)
        x = self.norm3(x + self.receiver(x, self.sender(routers, x)))
        x = self.norm4(x + self.mlp2(x))
        return rearrange(x, "(batch n) channels dim -> batch channels n dim", batch=batch)


class SegmentMerging(nn.Module):
    """Merge neighbouring segments: their tokens side by side through a norm and a linear layer.

    Where the segments do not divide, copies of the last ones, as many as are missing, are put behind them in order.

    Args:
        config: Width, and how many segments become one.
    """

    def __init__(self, config: CrossformerConfig) -> None:
        super().__init__()
        self.size = config.merge_size
        self.norm = nn.LayerNorm(self.size * config.embed_dim, eps=config.norm_eps)
        self.proj = nn.Linear(self.size * config.embed_dim, config.embed_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(batch, channels, ceil(segments / size), dim)``."""
        count = x.shape[2]
        if missing := -count % self.size:
            more = torch.arange(count - missing, count, device=x.device).clamp_min(0)
            x = torch.cat([x, x[:, :, more]], dim=2)
        x = rearrange(x, "batch channels (n size) dim -> batch channels n (size dim)", size=self.size)
        return self.proj(self.norm(x))


class Scale(nn.Module):
    """One scale: a merging, unless it is the first, and two-stage layers.

    Args:
        config: The configuration.
        index: Which scale.
    """

    def __init__(self, config: CrossformerConfig, index: int) -> None:
        super().__init__()
        self.merge = SegmentMerging(config) if index else nn.Identity()
        count = config.segments[index]
        self.layers = nn.ModuleList(TwoStageLayer(config, count) for _ in range(config.layers_per_scale))

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(batch, channels, segments of this scale, dim)``."""
        x = self.merge(x)
        for layer in self.layers:
            x = layer(x)
        return x


class Crossformer(SeriesEncoder):
    r"""Crossformer's encoder: dimension-segment-wise embedding, two-stage attention, scales that get coarser.

    Source: Zhang and Yan, *Crossformer: Transformer Utilizing Cross-Dimension Dependency for Multivariate Time Series
    Forecasting*, ICLR 2023, section 3; the classifier over the last scale is that of Time-Series-Library (thuml), whose
    numbers it equals, as those of the authors' encoder (``padding="start", segment_bias=True, sinusoid=False``). The
    authors' decoder forecasts and is not here.

    .. math:: h_{c,i} = E\, x_c[iL : (i+1)L] + e_{c,i}

    with a learned position for each channel c and segment i of L samples; a channel is known by its position, so
    another set of channels needs positions of its own.

    Args:
        config: A :class:`CrossformerConfig`.

    Raises:
        ConfigError: If ``config`` is something else.

    Example:
        >>> import torch
        >>> model = Crossformer.from_preset("crossformer_tiny", num_classes=2).eval()
        >>> eeg = 20 * torch.randn(3, 19, 1000)  # µV
        >>> model(eeg).shape, model.forward_features(eeg).shape  # 20, 10, 5 segments
        (torch.Size([3, 2]), torch.Size([3, 95, 64]))
    """

    config_class = CrossformerConfig
    foreign_formats = FORMATS
    sinusoid: Tensor
    presets: ClassVar[Mapping[str, CrossformerConfig]] = {
        "crossformer_tiny": CrossformerConfig(
            embed_dim=64, segment_size=50, num_routers=4, scale="window", pool="mean", drop_rate=0.1, head_drop_rate=0.1
        ),
        "crossformer_base": CrossformerConfig(in_chans=30, drop_rate=0.2, head_drop_rate=0.2),
    }

    def __init__(self, config: CrossformerConfig) -> None:
        super().__init__(config)
        c = config
        self.segment_embed = nn.Linear(c.segment_size, c.embed_dim, bias=c.segment_bias)
        self.pos_embed = nn.Parameter(torch.randn(1, c.in_chans, c.segments[0], c.embed_dim))
        self.pre_norm = nn.LayerNorm(c.embed_dim, eps=c.norm_eps)
        self.scales = nn.ModuleList(Scale(c, k) for k in range(c.depth))
        self.reset_buffers()

    @property
    def token_grid(self) -> tuple[int, int]:
        """Channels, and segments of each at the last scale."""
        return self.config.in_chans, self.config.segments[-1]

    def tied_to_channels(self) -> str:
        """Return that each channel has positions of its own."""
        return "each has learned positions"

    def taken_over(self, state: Mapping[str, Tensor], config: CrossformerConfig) -> dict[str, Tensor]:
        """Resample positions and routers to this model's segments, as ``evermodels convert`` does.

        Args:
            state: Weights by name.
            config: The configuration of the encoder that they come from.
        """
        own, old, new = dict(state), config.segments, self.config.segments
        if old[0] != new[0]:
            own["pos_embed"] = resample_positions(own["pos_embed"], new[0])
        for name, table in own.items():
            if name.endswith(".router") and old[scale := int(name.split(".")[1])] != new[scale]:
                own[name] = resample_routers(table, new[scale])
        return own

    def reset_buffers(self) -> None:
        """Rebuild the fixed sinusoid on the device of the parameters."""
        c, device = self.config, self.segment_embed.weight.device
        if c.sinusoid:
            size = (c.segments[0], c.embed_dim)
            table = torch.empty(1, *size, device=device) if device.type == "meta" else sinusoid_table(*size)
            self.register_buffer("sinusoid", table.to(device), persistent=False)

    def embed(self, x: Tensor) -> Tensor:
        """Return what enters the first scale, ``(batch, channels, segments, embed_dim)``.

        Args:
            x: EEG in µV, ``(batch, channels, time)``.

        Raises:
            ShapeError: If it has other axes than the configuration says.
        """
        c: CrossformerConfig = self.config
        x = self.checked(x)
        if missing := -c.num_samples % c.segment_size:
            x = F.pad(x, (0, missing) if c.padding == "end" else (missing, 0), mode="replicate")
        tokens = self.segment_embed(x.unflatten(2, (-1, c.segment_size)))
        if c.sinusoid:
            tokens = tokens + self.sinusoid.to(tokens.dtype)
        return self.pre_norm(tokens + self.pos_embed)

    def forward_scales(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the tokens of every scale, the finest first.

        Args:
            x: EEG in µV, ``(batch, channels, time)``.

        Returns:
            ``(batch, channels, segments, embed_dim)`` for each scale.

        Raises:
            ShapeError: If it has other axes than the configuration says.
        """
        tokens, scales = self.embed(x), []
        for scale in self.scales:
            tokens = self.through([scale], tokens)
            scales.append(tokens)
        return tuple(scales)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the tokens of the last scale.

        Args:
            x: EEG in µV, ``(batch, channels, time)``.

        Returns:
            ``(batch, channels · segments, embed_dim)``, the segments of a channel one behind the other.

        Raises:
            ShapeError: If it has other axes than the configuration says.
        """
        return self.forward_scales(x)[-1].flatten(1, 2)

    def forward_steps(self, x: Tensor) -> Tensor:
        """Return a step for each segment of the last scale, the mean over channels, ``(batch, segments, embed_dim)``.

        Args:
            x: EEG in µV, ``(batch, channels, time)``.
        """
        return self.forward_scales(x)[-1].mean(dim=1)
