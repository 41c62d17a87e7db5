"""What encoders of whole clips share: the clip's shape and its checks, tubelets, blocks one after the other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from evermodels.backbones.base import Backbone, Checkpointed
from evermodels.core.config import Config
from evermodels.core.errors import ShapeError, check_axes
from evermodels.core.specs import InputSpec, VideoSpec

MOST_TOKENS = 2**18


@dataclass(frozen=True)
class ClipTransformerConfig(Config):
    """Sizes of a plain transformer over the patches of a clip; the defaults are ViT-B on 16 frames of 224².

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
        drop_rate: Dropout of the tokens, the attention's output and the MLP's output.
        attn_drop_rate: Dropout of the attention weights.
        drop_path_rate: Stochastic depth of the last block; it grows linearly from 0.
        head_drop_rate: Dropout before the head.
    """

    num_frames: int = 16
    img_size: tuple[int, int] = (224, 224)
    patch_size: int = 16
    in_chans: int = 3
    num_classes: int = 0
    embed_dim: int = 768
    depth: int = 12
    num_heads: int = 12
    mlp_ratio: float = 4.0
    qkv_bias: bool = True
    norm_eps: float = 1e-6
    drop_rate: float = 0.0
    attn_drop_rate: float = 0.0
    drop_path_rate: float = 0.0
    head_drop_rate: float = 0.0

    def check(self) -> None:
        """Refuse sizes that patches and heads do not divide, and rates that are none."""
        self.at_least(1, "num_frames", "img_size", "patch_size", "in_chans", "embed_dim", "depth", "num_heads")
        self._check_clip()
        if self.embed_dim % self.num_heads:
            raise self.refuse("embed_dim", f"a multiple of num_heads ({self.num_heads})")
        self.positive("mlp_ratio", "norm_eps")
        self.rates("drop_rate", "attn_drop_rate", "drop_path_rate", "head_drop_rate")

    def _check_clip(self) -> None:
        if self.tubelet < 1:
            raise self.refuse("tubelet_size", "at least 1")
        if self.num_frames % self.tubelet:
            raise self.refuse("num_frames", f"a multiple of tubelet_size ({self.tubelet})")
        if any(side % self.patch_size for side in self.img_size):
            raise self.refuse("img_size", f"a height and width that are multiples of patch_size ({self.patch_size})")
        if (tokens := math.prod(self.grid)) > MOST_TOKENS:
            raise self.refuse("img_size", f"a clip of at most {MOST_TOKENS:,} tokens, not {tokens:,}")

    @property
    def tubelet(self) -> int:
        """Frames in one token."""
        return 1

    @property
    def grid(self) -> tuple[int, int, int]:
        """Tokens along time, height and width."""
        height, width = self.img_size
        return self.num_frames // self.tubelet, height // self.patch_size, width // self.patch_size

    @property
    def input_spec(self) -> InputSpec | None:
        """What recordings must look like: clips of any length; ``None`` where they have no three colours."""
        if self.in_chans != 3:
            return None
        return InputSpec(video=VideoSpec(num_frames=self.num_frames, size=self.img_size))


class TubeletEmbed(nn.Module):
    """Cut a clip into tubelets and project each one: a convolution whose stride is its kernel.

    Args:
        in_chans: Colours.
        dim: Width of the tokens.
        size: Frames, height and width of a tubelet.
    """

    def __init__(self, in_chans: int, dim: int, size: tuple[int, int, int]) -> None:
        super().__init__()
        self.proj = nn.Conv3d(in_chans, dim, size, stride=size)

    def forward(self, video: Tensor) -> Tensor:
        """Turn ``(batch, frames, channels, height, width)`` into ``(batch, n, dim)``, time first, then rows."""
        # Contiguous: each sum of the residual stream and each norm would else go through memory crosswise.
        return self.proj(video.transpose(1, 2)).flatten(2).mT.contiguous()


class ClipEncoder(Checkpointed, Backbone):
    """An encoder of clips of one length and size, made of blocks.

    A subclass has a configuration with ``num_frames``, ``img_size`` and ``in_chans``, and calls :meth:`check_clip`.
    """

    input = "video"

    @classmethod
    def sizes_for(cls, shape: Sequence[int]) -> dict[str, Any]:
        """Return the frames and their size.

        Args:
            shape: ``(frames, 3, height, width)``.
        """
        return {"num_frames": shape[0], "img_size": tuple(shape[2:])}

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """``(frames, channels, height, width)``."""
        return (self.config.num_frames, self.config.in_chans, *self.config.img_size)

    def check_clip(self, x: Tensor) -> None:
        """Refuse what is no batch of clips of this length and size.

        Args:
            x: ``(batch, frames, channels, height, width)``.

        Raises:
            ShapeError: If an axis differs.
        """
        frames, channels, height, width = self.sample_shape
        if isinstance(x, Tensor) and x.ndim == 5 and x.shape[1] == channels != frames == x.shape[2]:
            raise ShapeError(
                f"video: expected (batch, frames, channels, height, width), got channels before frames "
                f"(shape {tuple(x.shape)}). Swap them with .transpose(1, 2)."
            )
        axes = "batch frames channels height width"
        check_axes("video", x, axes, frames=frames, channels=channels, height=height, width=width)


def draw_linear_weights(module: nn.Module) -> None:
    """Draw linear weights after Glorot, and zero their biases.

    A normal of 0.02, which the references take, is made for ViT-B and far too small for the narrow presets.

    Args:
        module: Whatever holds them.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def rising(rate: float, depth: int) -> list[float]:
    """Return the rate of stochastic depth of each block, rising linearly from 0.

    Args:
        rate: That of the last block.
        depth: Number of blocks.

    Example:
        >>> rising(0.2, 3)
        [0.0, 0.1, 0.2]
    """
    return [rate * i / max(depth - 1, 1) for i in range(depth)]
