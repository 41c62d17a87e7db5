"""VideoMAE's and AdaMAE's encoder: a plain ViT over space-time tubelets, without a class token."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from evermodels.backbones.video.clip_encoder import (
    ClipEncoder,
    ClipTransformerConfig,
    TubeletEmbed,
    draw_linear_weights,
    rising,
)
from evermodels.backbones.video.videomae_foreign import FORMATS
from evermodels.checkpoints.foreign_format import ForeignFormat
from evermodels.core.config import Config
from evermodels.functional.positions import sinusoid_table
from evermodels.layers.transformer_block import TransformerBlock

if TYPE_CHECKING:
    from evermodels.backbones.video.masked_video import MaskedVideoAutoencoder


@dataclass(frozen=True)
class VideoMAEConfig(ClipTransformerConfig):
    """Configuration of :class:`VideoMAE`; the defaults are ViT-B on 16 frames of 224².

    Args:
        num_frames: Frames per clip, a multiple of ``tubelet_size``.
        img_size: Height and width in pixels, multiples of ``patch_size``.
        patch_size: Side of a patch in pixels.
        tubelet_size: Frames in one token.
        in_chans: Colours.
        num_classes: Classes of the head; 0 for the embedding.
        embed_dim: Width of the tokens, a multiple of ``num_heads``.
        depth: Number of blocks.
        num_heads: Attention heads.
        mlp_ratio: Hidden width of the MLP over ``embed_dim``.
        qkv_bias: Whether query and value (never the key) have a bias.
        init_values: Start of the layer scale; 0 for none.
        init_scale: Factor on the head's initial weights.
        norm_eps: Epsilon of the layer norms.
        fc_norm_eps: Epsilon of the norm after the pooling; ``None`` is ``norm_eps``.
        drop_rate: Dropout of the tokens, the attention's output and the MLP's output.
        attn_drop_rate: Dropout of the attention weights.
        drop_path_rate: Stochastic depth of the last block; it grows linearly from 0.
        head_drop_rate: Dropout before the head.

    Example:
        >>> VideoMAEConfig(num_frames=32, tubelet_size=4).grid
        (8, 14, 14)
        >>> VideoMAEConfig(img_size=(100, 100))
        Traceback (most recent call last):
            ...
        evermodels.core.errors.ConfigError: ...img_size...multiples of patch_size (16)...
    """

    tubelet_size: int = 2
    init_values: float = 0.0
    init_scale: float = 1.0
    fc_norm_eps: float | None = None

    def check(self) -> None:
        """Refuse sizes that tubelets and heads do not divide, and rates that are none."""
        super().check()
        if self.fc_norm_eps is not None:
            self.positive("fc_norm_eps")
        self.at_least(0, "init_values")

    @property
    def tubelet(self) -> int:
        """Frames in one token."""
        return self.tubelet_size


def _vit(dim: int, heads: int, depth: int = 12, frames: int = 16, size: int = 224) -> VideoMAEConfig:
    return VideoMAEConfig(num_frames=frames, img_size=(size, size), embed_dim=dim, depth=depth, num_heads=heads)


class VideoMAE(ClipEncoder):
    """Encoder of VideoMAE and AdaMAE, fine-tuning form: all tubelets enter, their mean is the embedding.

    Source: Tong et al., "VideoMAE", NeurIPS 2022, §3; Bandara et al., "AdaMAE", CVPR 2023, §3, whose fine-tuning
    encoder is the same; EVER eq. (1), ``z_v = f_v(V)``. State-dict keys are those of both repositories. Tubelets of
    ``tubelet_size × patch_size × patch_size`` are projected, a fixed sinusoid over their flattened (time, row, column)
    index is added, ``depth`` pre-norm blocks follow, and the embedding is ``LayerNorm(mean over tokens)``.

    Args:
        config: A :class:`VideoMAEConfig`.

    Raises:
        ConfigError: If ``config`` is something else.

    Example:
        >>> import torch
        >>> model = VideoMAE.from_preset("videomae_nano", num_classes=4).eval()
        >>> clip = torch.zeros(2, 16, 3, 64, 64)
        >>> model(clip).shape, model.forward_features(clip).shape
        (torch.Size([2, 4]), torch.Size([2, 128, 96]))
    """

    config_class: ClassVar[type[Config]] = VideoMAEConfig
    foreign_formats: ClassVar[tuple[ForeignFormat, ...]] = FORMATS
    pos_embed: Tensor
    presets: ClassVar[Mapping[str, VideoMAEConfig]] = {
        "videomae_nano": _vit(96, 3, depth=4, size=64),
        "videomae_tiny": _vit(192, 3),
        "videomae_small": _vit(384, 6),
        "videomae_base": _vit(768, 12),
        "adamae_base": _vit(768, 12, frames=32),
    }

    def __init__(self, config: VideoMAEConfig) -> None:
        super().__init__(config)
        self.patch_embed = self.make_patch_embed()
        self.pos_drop = nn.Dropout(config.drop_rate)
        self.blocks = nn.ModuleList(
            TransformerBlock(
                config.embed_dim,
                config.num_heads,
                mlp_ratio=config.mlp_ratio,
                qkv_bias=config.qkv_bias,
                key_bias=False,
                init_values=config.init_values,
                norm_eps=config.norm_eps,
                drop=config.drop_rate,
                attn_drop=config.attn_drop_rate,
                drop_path=rate,
            )
            for rate in rising(config.drop_path_rate, config.depth)
        )
        self.fc_norm = nn.LayerNorm(config.embed_dim, eps=config.fc_norm_eps or config.norm_eps)
        self.head = self.make_head()
        self.reset_parameters()
        self.reset_buffers()

    def make_patch_embed(self) -> nn.Module:
        """Return what cuts the input and projects each piece."""
        c: VideoMAEConfig = self.config
        return TubeletEmbed(c.in_chans, c.embed_dim, (c.tubelet_size, c.patch_size, c.patch_size))

    def make_head(self) -> nn.Module:
        """Return a new linear layer, its weights scaled by ``init_scale``."""
        head = super().make_head()
        if isinstance(head, nn.Linear):
            with torch.no_grad():
                head.weight.mul_(self.config.init_scale)
        return head

    def reset_parameters(self) -> None:
        """Draw the linear weights after Glorot and zero their biases.

        As the references' pre-training code does; their fine-tuning code draws all widths from a normal of 0.02, which
        is made for ViT-B and far too small for the narrow presets.
        """
        draw_linear_weights(self.blocks)

    def reset_buffers(self) -> None:
        """Rebuild the position table on the device of the parameters."""
        size, device = (math.prod(self.config.grid), self.embed_dim), self.fc_norm.weight.device
        # On meta nothing is computed: a width that the weights do not have would take any amount of memory.
        table = torch.empty(1, *size, device=device) if device.type == "meta" else sinusoid_table(*size).to(device)
        self.register_buffer("pos_embed", table, persistent=False)

    def check_input(self, x: Tensor) -> None:
        """Refuse what is of another shape than :attr:`sample_shape`.

        Args:
            x: A batch of what ``input`` names.

        Raises:
            ShapeError: If an axis differs.
        """
        self.check_clip(x)

    def patch_tokens(self, x: Tensor) -> Tensor:
        """Return what enters the first block: projected tubelets with their positions.

        Args:
            x: Normalised frames, ``(batch, frames, channels, height, width)``.

        Returns:
            Tokens, ``(batch, n, embed_dim)``, time first, then rows, then columns.

        Raises:
            ShapeError: If the clip differs from ``num_frames``, ``in_chans`` or ``img_size``.
        """
        self.check_input(x)
        x = self.patch_embed(x)
        return x + self.pos_embed.to(x.dtype)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the tokens after the last block.

        Args:
            x: Normalised frames, ``(batch, frames, channels, height, width)``.

        Returns:
            Tokens, ``(batch, n, embed_dim)``, time first, then rows, then columns.

        Raises:
            ShapeError: If the clip differs from ``num_frames``, ``in_chans`` or ``img_size``.
        """
        return self.through(self.blocks, self.pos_drop(self.patch_tokens(x)))

    def make_pretraining(self, **values: Any) -> MaskedVideoAutoencoder:
        """Return the model that pre-trains this encoder; its ``pretraining_loss`` trains both.

        Args:
            **values: Values of :class:`~evermodels.backbones.video.masked_video.MaskedVideoConfig`.

        Raises:
            ConfigError: If there is no such value, or it is impossible.
        """
        from evermodels.backbones.video.masked_video import MaskedVideoAutoencoder, MaskedVideoConfig

        return MaskedVideoAutoencoder(self, MaskedVideoConfig.from_dict(values))

    @property
    def num_intermediates(self) -> int:
        """One level a block."""
        return len(self.blocks)

    def forward_intermediates(self, x: Tensor) -> list[Tensor]:
        """Return the tokens after each block, each through the norm of the pooling.

        Args:
            x: As :meth:`forward_features` takes it.
        """
        x, levels = self.pos_drop(self.patch_tokens(x)), []
        for block in self.blocks:
            x = self.through((block,), x)
            levels.append(self.fc_norm(x))
        return levels

    def pool(self, x: Tensor) -> Tensor:
        """Return the norm of the mean of the tokens.

        Args:
            x: Tokens, ``(batch, n, embed_dim)``.
        """
        pooled: Tensor = self.fc_norm(x.mean(dim=1))
        return pooled
