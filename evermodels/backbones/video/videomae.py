"""VideoMAE's and AdaMAE's encoder: a plain ViT over space-time tubelets, without a class token."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from einops import rearrange
from torch import Tensor, nn

from evermodels.backbones.base import Backbone, Checkpointed
from evermodels.backbones.video.videomae_foreign import FORMATS
from evermodels.core.config import Config
from evermodels.core.errors import ShapeError, check_axes
from evermodels.core.specs import InputSpec, VideoSpec
from evermodels.layers.transformer_block import TransformerBlock


@dataclass(frozen=True)
class VideoMAEConfig(Config):
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

    num_frames: int = 16
    img_size: tuple[int, int] = (224, 224)
    patch_size: int = 16
    tubelet_size: int = 2
    in_chans: int = 3
    num_classes: int = 0
    embed_dim: int = 768
    depth: int = 12
    num_heads: int = 12
    mlp_ratio: float = 4.0
    qkv_bias: bool = True
    init_values: float = 0.0
    init_scale: float = 1.0
    norm_eps: float = 1e-6
    fc_norm_eps: float | None = None
    drop_rate: float = 0.0
    attn_drop_rate: float = 0.0
    drop_path_rate: float = 0.0
    head_drop_rate: float = 0.0

    def check(self) -> None:
        """Refuse sizes that tubelets and heads do not divide, and rates that are none."""
        self.at_least(1, "num_frames", "patch_size", "tubelet_size", "in_chans", "embed_dim", "depth", "num_heads")
        self._check_clip()
        if self.embed_dim % self.num_heads:
            raise self.refuse("embed_dim", f"a multiple of num_heads ({self.num_heads})")
        if self.mlp_ratio <= 0:
            raise self.refuse("mlp_ratio", "a positive number")
        for key in ("norm_eps", "fc_norm_eps"):
            if (value := getattr(self, key)) is not None and value <= 0:
                raise self.refuse(key, "a positive number")
        if self.init_values < 0:
            raise self.refuse("init_values", "0 (no layer scale) or a positive number")
        self.rates("drop_rate", "attn_drop_rate", "drop_path_rate", "head_drop_rate")

    def _check_clip(self) -> None:
        if self.num_frames % self.tubelet_size:
            raise self.refuse("num_frames", f"a multiple of tubelet_size ({self.tubelet_size})")
        if any(side < 1 or side % self.patch_size for side in self.img_size):
            raise self.refuse("img_size", f"a height and width that are multiples of patch_size ({self.patch_size})")
        if (tokens := math.prod(self.grid)) > 2**18:
            raise self.refuse("img_size", f"a clip of at most {2**18:,} tokens, not {tokens:,}")

    @property
    def input_spec(self) -> InputSpec:
        """What recordings must look like: clips of any length."""
        return InputSpec(video=VideoSpec(num_frames=self.num_frames, size=self.img_size))

    @property
    def grid(self) -> tuple[int, int, int]:
        """Tokens along time, height and width."""
        height, width = self.img_size
        return self.num_frames // self.tubelet_size, height // self.patch_size, width // self.patch_size


def sinusoid_table(length: int, dim: int) -> Tensor:
    """Return the fixed position table, ``(1, length, dim)`` in float32.

    Column j of row p is ``sin`` (even j) or ``cos`` (odd j) of ``p / 10000^(2⌊j/2⌋/dim)``. It is computed in float64
    and rounded once, as the reference does.

    Args:
        length: Number of tokens; the index runs over time, then height, then width.
        dim: Width of the tokens.

    Example:
        >>> sinusoid_table(2, 4)[0, 0]
        tensor([0., 1., 0., 1.])
    """
    column = torch.arange(dim, device="cpu", dtype=torch.float64)
    position = torch.arange(length, device="cpu", dtype=torch.float64)
    angle = position[:, None] / 10000 ** (2 * (column // 2) / dim)
    angle[:, 0::2].sin_()
    angle[:, 1::2].cos_()
    return angle.float()[None]


class TubeletEmbed(nn.Module):
    """Cut a clip into tubelets and project each one: a convolution whose stride is its kernel."""

    def __init__(self, config: VideoMAEConfig) -> None:
        super().__init__()
        kernel = (config.tubelet_size, config.patch_size, config.patch_size)
        self.proj = nn.Conv3d(config.in_chans, config.embed_dim, kernel, stride=kernel)

    def forward(self, video: Tensor) -> Tensor:
        """Turn ``(batch, frames, channels, height, width)`` into ``(batch, n, embed_dim)``, time first, then rows."""
        return rearrange(self.proj(video.transpose(1, 2)), "batch dim t h w -> batch (t h w) dim")


def _vit(dim: int, heads: int, depth: int = 12, frames: int = 16, size: int = 224) -> VideoMAEConfig:
    return VideoMAEConfig(num_frames=frames, img_size=(size, size), embed_dim=dim, depth=depth, num_heads=heads)


class VideoMAE(Checkpointed, Backbone):
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

    config_class = VideoMAEConfig
    input = "video"
    foreign_formats = FORMATS
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
        self.patch_embed = TubeletEmbed(config)
        self.pos_drop = nn.Dropout(config.drop_rate)
        steps = max(config.depth - 1, 1)
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
                drop_path=config.drop_path_rate * i / steps,
            )
            for i in range(config.depth)
        )
        self.fc_norm = nn.LayerNorm(config.embed_dim, eps=config.fc_norm_eps or config.norm_eps)
        self.head = self.make_head()
        self.reset_parameters()
        self.reset_buffers()

    @classmethod
    def sizes_for(cls, shape: Sequence[int]) -> dict[str, Any]:
        """Return the frames and their size.

        Args:
            shape: ``(frames, 3, height, width)``.
        """
        return {"num_frames": shape[0], "img_size": tuple(shape[2:])}

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """``(frames, 3, height, width)``."""
        return self.config.input_spec.shape("video")

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
        for module in self.blocks.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def reset_buffers(self) -> None:
        """Rebuild the position table on the device of the parameters."""
        t, h, w = self.config.grid
        size, device = (t * h * w, self.embed_dim), self.fc_norm.weight.device
        # On meta nothing is computed: a width that the weights do not have would take any amount of memory.
        table = torch.empty(1, *size, device=device) if device.type == "meta" else sinusoid_table(*size).to(device)
        self.register_buffer("pos_embed", table, persistent=False)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the tokens after the last block.

        Args:
            x: Normalised frames, ``(batch, frames, 3, height, width)``.

        Returns:
            Tokens, ``(batch, n, embed_dim)``, time first, then rows, then columns.

        Raises:
            ShapeError: If the clip differs from ``num_frames``, ``in_chans`` or ``img_size``.
        """
        c: VideoMAEConfig = self.config
        if isinstance(x, Tensor) and x.ndim == 5 and x.shape[1] == c.in_chans != c.num_frames == x.shape[2]:
            raise ShapeError(
                f"video: expected (batch, frames, channels, height, width), got channels before frames "
                f"(shape {tuple(x.shape)}). Swap them with .transpose(1, 2)."
            )
        height, width = c.img_size
        axes = "batch frames channels height width"
        check_axes("video", x, axes, frames=c.num_frames, channels=c.in_chans, height=height, width=width)
        x = self.patch_embed(x)
        x = self.pos_drop(x + self.pos_embed.to(x.dtype))
        return self.through(self.blocks, x)

    def pool(self, x: Tensor) -> Tensor:
        """Return the norm of the mean of the tokens.

        Args:
            x: Tokens, ``(batch, n, embed_dim)``.
        """
        pooled: Tensor = self.fc_norm(x.mean(dim=1))
        return pooled
