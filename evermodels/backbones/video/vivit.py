"""ViViT: a ViT with a class token over all tubelets of a clip at once (the paper's model 1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from evermodels.backbones.video.clip_encoder import (
    ClipEncoder,
    ClipTransformerConfig,
    TubeletEmbed,
    draw_linear_weights,
    rising,
)
from evermodels.backbones.video.vivit_foreign import FORMATS, resample_positions
from evermodels.layers.transformer_block import TransformerBlock


@dataclass(frozen=True)
class ViViTConfig(ClipTransformerConfig):
    """Configuration of :class:`ViViT`; the defaults are ViViT-B/16x2 on 32 frames of 224².

    Args:
        num_frames: Frames per clip, a multiple of ``tubelet_size``.
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
        drop_rate: Dropout of the tokens, the attention's output and the MLP's output.
        attn_drop_rate: Dropout of the attention weights.
        drop_path_rate: Stochastic depth of the last block; it grows linearly from 0.
        head_drop_rate: Dropout before the head.
        tubelet_size: Frames in one token.
        activation: ``"gelu_tanh"``, the approximation that the published weights were trained with, or ``"gelu"``.

    Example:
        >>> ViViTConfig().grid
        (16, 14, 14)
        >>> ViViTConfig(num_frames=5)
        Traceback (most recent call last):
            ...
        evermodels.core.errors.ConfigError: ...num_frames...multiple of tubelet_size (2)...
    """

    num_frames: int = 32
    tubelet_size: int = 2
    activation: Literal["gelu_tanh", "gelu"] = "gelu_tanh"

    @property
    def tubelet(self) -> int:
        """Frames in one token."""
        return self.tubelet_size


def _vit(dim: int, heads: int, depth: int = 12, frames: int = 32, size: int = 224) -> ViViTConfig:
    return ViViTConfig(num_frames=frames, img_size=(size, size), embed_dim=dim, depth=depth, num_heads=heads)


class ViViT(ClipEncoder):
    """ViViT, model 1: tubelets of the whole clip and a class token, joint attention over space and time.

    Source: Arnab et al., *ViViT: A Video Vision Transformer*, ICCV 2021, section 3.2 (tubelet embedding) and section
    3.3, model 1 (spatio-temporal attention), as transformers has it. Tubelets of ``tubelet_size × patch_size ×
    patch_size`` are projected; a class token stands before them; a learned position is added to each; ``depth``
    pre-norm blocks and a layer norm follow; the embedding is the class token. The paper's factorised models 2 to 4 and
    its start from an image ViT are not here.

    Args:
        config: A :class:`ViViTConfig`.

    Raises:
        ConfigError: If ``config`` is something else.

    Example:
        >>> model = ViViT.from_preset("vivit_nano", num_classes=4).eval()
        >>> clip = torch.zeros(2, 16, 3, 64, 64)
        >>> model(clip).shape, model.forward_features(clip).shape
        (torch.Size([2, 4]), torch.Size([2, 129, 96]))
    """

    config_class = ViViTConfig
    foreign_formats = FORMATS
    presets: ClassVar[Mapping[str, ViViTConfig]] = {
        "vivit_nano": _vit(96, 3, depth=4, frames=16, size=64),
        "vivit_tiny": _vit(192, 3),
        "vivit_small": _vit(384, 6),
        "vivit_base": _vit(768, 12),
        "vivit_large": _vit(1024, 16, depth=24),
    }

    def __init__(self, config: ViViTConfig) -> None:
        super().__init__(config)
        dim, size = config.embed_dim, config.patch_size
        frames, rows, columns = config.grid
        self.patch_embed = TubeletEmbed(config.in_chans, dim, (config.tubelet_size, size, size))
        self.cls_token = nn.Parameter(torch.empty(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + frames * rows * columns, dim))
        self.pos_drop = nn.Dropout(config.drop_rate)
        self.blocks = nn.ModuleList(
            TransformerBlock(
                dim,
                config.num_heads,
                mlp_ratio=config.mlp_ratio,
                qkv_bias=config.qkv_bias,
                activation=config.activation,
                norm_eps=config.norm_eps,
                drop=config.drop_rate,
                attn_drop=config.attn_drop_rate,
                drop_path=rate,
            )
            for rate in rising(config.drop_path_rate, config.depth)
        )
        self.norm = nn.LayerNorm(dim, eps=config.norm_eps)
        self.head = self.make_head()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the blocks' linear weights after Glorot, class token and positions small."""
        for table in (self.cls_token, self.pos_embed):
            nn.init.trunc_normal_(table, std=0.02)
        draw_linear_weights(self.blocks)

    def taken_over(self, state: Mapping[str, Tensor], config: ViViTConfig) -> dict[str, Tensor]:
        """Resample the positions to this model's tubelets, trilinear.

        Args:
            state: Weights by name.
            config: The configuration of the encoder that they come from.
        """
        own, old, new = dict(state), config.grid, self.config.grid
        if old != new:
            own["pos_embed"] = resample_positions(own["pos_embed"], old, new)
        return own

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the tokens after the last norm.

        Args:
            x: Normalised frames, ``(batch, frames, channels, height, width)``.

        Returns:
            Tokens, ``(batch, 1 + n, embed_dim)``: the class token, then time first, then rows, then columns.

        Raises:
            ShapeError: If the clip differs from ``num_frames``, ``in_chans`` or ``img_size``.
        """
        self.check_clip(x)
        x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), self.patch_embed(x)], dim=1)
        return self.norm(self.through(self.blocks, self.pos_drop(x + self.pos_embed)))

    def pool(self, x: Tensor) -> Tensor:
        """Return the class token, ``(batch, embed_dim)``.

        Args:
            x: Tokens, ``(batch, 1 + n, embed_dim)``.
        """
        return x[:, 0]
