"""TimeSformer: a ViT whose blocks attend over time first, then over the picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from einops import rearrange
from timm.layers import DropPath
from torch import Tensor, nn

from evermodels.backbones.video.clip_encoder import ClipEncoder, ClipTransformerConfig, draw_linear_weights, rising
from evermodels.backbones.video.timesformer_foreign import FORMATS, resample_frames, resample_places
from evermodels.layers.self_attention import SelfAttention
from evermodels.layers.transformer_block import TransformerBlock


@dataclass(frozen=True)
class TimeSformerConfig(ClipTransformerConfig):
    """Configuration of :class:`TimeSformer`; the defaults are ViT-B on 8 frames of 224².

    Args:
        num_frames: Frames per clip.
        img_size: Height and width in pixels, multiples of ``patch_size``.
        patch_size: Side of a patch in pixels.
        in_chans: Colours.
        num_classes: Classes of the head; 0 for the embedding.
        embed_dim: Width of the tokens, a multiple of ``num_heads``.
        depth: Number of blocks.
        num_heads: Attention heads.
        mlp_ratio: Hidden width of the MLP over ``embed_dim``.
        qkv_bias: Whether queries, keys and values have a bias.
        norm_eps: Epsilon of the layer norms.
        drop_rate: Dropout of the tokens, the attentions' output and the MLP's output.
        attn_drop_rate: Dropout of the attention weights.
        drop_path_rate: Stochastic depth of the last block; it grows linearly from 0.
        head_drop_rate: Dropout before the head.
        attention: ``"divided"``: over time, then over the picture (the paper's T+S); ``"joint"``: over all tokens at
            once (its ST), without the parameters of the former's first step.
        zero_temporal: Whether the layer behind the attention over time starts at zero, so that blocks with an image
            ViT's weights start as that ViT; with ``False`` it starts as every other layer (from scratch).

    Example:
        >>> TimeSformerConfig().grid
        (8, 14, 14)
        >>> TimeSformerConfig(img_size=(100, 100))
        Traceback (most recent call last):
            ...
        evermodels.core.errors.ConfigError: ...img_size...multiples of patch_size (16)...
    """

    num_frames: int = 8
    attention: Literal["divided", "joint"] = "divided"
    zero_temporal: bool = True


class DividedBlock(nn.Module):
    r"""Attention over time, attention over the picture, MLP, each added to what came in.

    Source: TimeSformer, section 3, eq. 5 to 11 with "divided space-time attention". A patch attends first to the
    patches at its place in all frames, through one more linear layer; then to the patches and the class token of its
    own frame. The class token takes no part in the first; of the second it gets the mean over frames:

    .. math::
        x' = x + W_t\,\mathrm{MSA}_t(\mathrm{LN}(x)), \quad
        x'' = x' + \mathrm{MSA}_s(\mathrm{LN}(x')), \quad
        c'' = c + \frac1T \sum_t \mathrm{MSA}_s(\mathrm{LN}(c, x'_t))_c

    Args:
        config: Sizes.
        drop_path: Rate of stochastic depth; over time it drops each place by itself, over the picture each frame, as
            in the reference.
    """

    def __init__(self, config: TimeSformerConfig, drop_path: float) -> None:
        super().__init__()
        dim, heads = config.embed_dim, config.num_heads
        self.temporal_norm1 = nn.LayerNorm(dim, eps=config.norm_eps)
        self.temporal_attn = SelfAttention(
            dim, heads, qkv_bias=config.qkv_bias, attn_drop=config.attn_drop_rate, proj_drop=config.drop_rate
        )
        self.temporal_fc = nn.Linear(dim, dim)
        # Attention over the picture and the MLP are a plain block's, so that an image ViT's names fit.
        plain = TransformerBlock(
            dim,
            heads,
            mlp_ratio=config.mlp_ratio,
            qkv_bias=config.qkv_bias,
            norm_eps=config.norm_eps,
            drop=config.drop_rate,
            attn_drop=config.attn_drop_rate,
        )
        self.norm1, self.attn, self.norm2, self.mlp = plain.norm1, plain.attn, plain.norm2, plain.mlp
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()

    def forward(self, x: Tensor, frames: int) -> Tensor:
        """Update tokens.

        Args:
            x: Tokens, ``(batch, 1 + places * frames, dim)``: class token, then by place, frame by frame.
            frames: Number of frames.

        Returns:
            Tokens of the same shape.
        """
        token, x = x[:, :1], x[:, 1:]
        over_time = rearrange(x, "batch (places frames) dim -> (batch places) frames dim", frames=frames)
        change = self.temporal_fc(self.drop_path(self.temporal_attn(self.temporal_norm1(over_time))))
        x = x + change.view_as(x)
        pictures = rearrange(x, "batch (places frames) dim -> batch frames places dim", frames=frames)
        pictures = torch.cat([token[:, None].expand(-1, frames, -1, -1), pictures], dim=2)
        change = self.drop_path(self.attn(self.norm1(pictures.flatten(0, 1)))).view_as(pictures)
        token = token + change[:, :, 0].mean(dim=1, keepdim=True)
        x = x + rearrange(change[:, :, 1:], "batch frames places dim -> batch (places frames) dim")
        x = torch.cat([token, x], dim=1)
        return x + self.drop_path(self.mlp(self.norm2(x)))


def _vit(dim: int, heads: int, depth: int = 12, frames: int = 8, size: int = 224) -> TimeSformerConfig:
    return TimeSformerConfig(num_frames=frames, img_size=(size, size), embed_dim=dim, depth=depth, num_heads=heads)


class TimeSformer(ClipEncoder):
    r"""TimeSformer: patches of each frame, a class token, and attention divided into time and space.

    Source: Bertasius, Wang and Torresani, *Is Space-Time Attention All You Need for Video Understanding?*, ICML 2021,
    section 3. Each frame's patches of ``patch_size`` squared are projected (eq. 1); a learned position of the place
    and one of the frame are added; a class token with a position of its own stands in front. ``depth`` blocks
    (:class:`DividedBlock`) and a layer norm follow; the embedding is the class token. State-dict keys are those of the
    authors' repository without its ``model.``.

    The code of the authors starts the layer behind the attention over time at zero in every block, the first included
    (``zero_temporal``). Of the paper's five schemes two are here, ``attention="divided"`` and ``"joint"``.

    Args:
        config: A :class:`TimeSformerConfig`.

    Raises:
        ConfigError: If ``config`` is something else.

    Example:
        >>> model = TimeSformer.from_preset("timesformer_nano", num_classes=4).eval()
        >>> clip = torch.zeros(2, 16, 3, 64, 64)
        >>> model(clip).shape, model.forward_features(clip).shape
        (torch.Size([2, 4]), torch.Size([2, 257, 96]))
    """

    config_class = TimeSformerConfig
    foreign_formats = FORMATS
    presets: ClassVar[Mapping[str, TimeSformerConfig]] = {
        "timesformer_nano": _vit(96, 3, depth=4, frames=16, size=64).replace(zero_temporal=False),
        "timesformer_tiny": _vit(192, 3),
        "timesformer_small": _vit(384, 6),
        "timesformer_base": _vit(768, 12),
        "timesformer_base_hr": _vit(768, 12, frames=16, size=448),
        "timesformer_base_long": _vit(768, 12, frames=96),
    }

    def __init__(self, config: TimeSformerConfig) -> None:
        super().__init__(config)
        dim = config.embed_dim
        frames, rows, columns = config.grid
        self.patch_embed = PatchEmbed(config)
        self.cls_token = nn.Parameter(torch.empty(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + rows * columns, dim))
        self.time_embed = nn.Parameter(torch.empty(1, frames, dim))
        self.pos_drop = nn.Dropout(config.drop_rate)
        self.blocks = nn.ModuleList(self._block(config, rate) for rate in rising(config.drop_path_rate, config.depth))
        self.norm = nn.LayerNorm(dim, eps=config.norm_eps)
        self.head = self.make_head()
        self.reset_parameters()

    @staticmethod
    def _block(config: TimeSformerConfig, drop_path: float) -> nn.Module:
        if config.attention == "divided":
            return DividedBlock(config, drop_path)
        return TransformerBlock(
            config.embed_dim,
            config.num_heads,
            mlp_ratio=config.mlp_ratio,
            qkv_bias=config.qkv_bias,
            norm_eps=config.norm_eps,
            drop=config.drop_rate,
            attn_drop=config.attn_drop_rate,
            drop_path=drop_path,
        )

    def reset_parameters(self) -> None:
        """Draw the blocks' linear weights after Glorot, class token and positions small, frames' positions zero."""
        for table in (self.cls_token, self.pos_embed):
            nn.init.trunc_normal_(table, std=0.02)
        nn.init.zeros_(self.time_embed)
        draw_linear_weights(self.blocks)
        if self.config.zero_temporal:
            for block in self.blocks:
                if isinstance(block, DividedBlock):
                    nn.init.zeros_(block.temporal_fc.weight)

    def taken_over(self, state: Mapping[str, Tensor], config: TimeSformerConfig) -> dict[str, Tensor]:
        """Resample the positions of places and frames to this model's, by nearest neighbour.

        Args:
            state: Weights by name.
            config: The configuration of the encoder that they come from.
        """
        (frames, *old), (wanted, *new) = config.grid, self.config.grid
        own = dict(state)
        if old != new:
            own["pos_embed"] = resample_places(own["pos_embed"], (old[0], old[1]), (new[0], new[1]))
        if frames != wanted:
            own["time_embed"] = resample_frames(own["time_embed"], wanted)
        return own

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the tokens after the last norm.

        Args:
            x: Normalised frames, ``(batch, frames, channels, height, width)``.

        Returns:
            Tokens, ``(batch, 1 + places * frames, embed_dim)``: the class token, then by place (rows, then columns),
            of each place frame by frame.

        Raises:
            ShapeError: If the clip differs from ``num_frames``, ``in_chans`` or ``img_size``.
        """
        self.check_clip(x)
        places = self.patch_embed(x) + self.pos_embed[:, None, 1:]
        if self.config.drop_rate:
            places = self.pos_drop(places)
        places = self.pos_drop(places + self.time_embed[:, :, None])
        x = rearrange(places, "batch frames places dim -> batch (places frames) dim")
        token = self.pos_drop(self.cls_token + self.pos_embed[:, :1]).expand(x.shape[0], -1, -1)
        x = torch.cat([token, x], dim=1)
        others = (self.config.num_frames,) if self.config.attention == "divided" else ()
        return self.norm(self.through(self.blocks, x, *others))

    def pool(self, x: Tensor) -> Tensor:
        """Return the class token, ``(batch, embed_dim)``.

        Args:
            x: Tokens, ``(batch, 1 + n, embed_dim)``.
        """
        return x[:, 0]


class PatchEmbed(nn.Module):
    """Cut each frame into patches and project each one.

    Args:
        config: Sizes.
    """

    def __init__(self, config: TimeSformerConfig) -> None:
        super().__init__()
        self.proj = nn.Conv2d(config.in_chans, config.embed_dim, config.patch_size, config.patch_size)

    def forward(self, video: Tensor) -> Tensor:
        """Turn ``(batch, frames, channels, height, width)`` into ``(batch, frames, places, dim)``, rows first."""
        return self.proj(video.flatten(0, 1)).flatten(2).mT.unflatten(0, video.shape[:2])
