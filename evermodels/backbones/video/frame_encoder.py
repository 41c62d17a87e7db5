"""Image models of timm on each frame of a clip: Swin and ViT, of any size."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from evermodels.backbones.base import Backbone
from evermodels.backbones.video.frame_encoder_foreign import FORMATS
from evermodels.core.config import Config
from evermodels.core.errors import ShapeError, check_axes
from evermodels.core.specs import InputSpec, VideoSpec


@dataclass(frozen=True)
class FrameEncoderConfig(Config):
    """Configuration of :class:`FrameEncoder`; the defaults are Swin-T on ten frames of 224².

    Args:
        num_frames: Frames per clip.
        img_size: Height and width in pixels, multiples of ``patch_size``.
        family: ``"swin"`` or ``"vit"``, timm's classes ``SwinTransformer`` and ``VisionTransformer``.
        patch_size: Side of a patch in pixels.
        embed_dim: Width of the tokens; of Swin in the first stage, and each further stage doubles it.
        depths: Blocks by stage; a ViT has one stage.
        num_heads: Attention heads by stage.
        window_size: Side of Swin's attention windows in tokens; where a stage has fewer, the window is the stage.
        mlp_ratio: Hidden width of the MLP over that of the tokens.
        norm_eps: Epsilon of the layer norms.
        pool: What a frame's embedding is: the mean over its tokens (as Swin) or its class token (as ViT).
        num_classes: Classes of the head; 0 for the embedding.
        drop_rate: Dropout behind the position embedding (ViT), the attention's output and the MLP.
        attn_drop_rate: Dropout of the attention weights.
        drop_path_rate: Stochastic depth of the last block; it grows linearly from 0.
        head_drop_rate: Dropout before the head.

    Example:
        >>> FrameEncoderConfig().grid, FrameEncoderConfig(img_size=(96, 64)).windows()
        ((7, 7), ((7, 7), (7, 7), (6, 4), (3, 2)))
        >>> FrameEncoderConfig(num_heads=(3, 6))
        Traceback (most recent call last):
            ...
        evermodels.core.errors.ConfigError: FrameEncoderConfig.num_heads: expected one number a stage (4), got (3, 6).
    """

    num_frames: int = 10
    img_size: tuple[int, int] = (224, 224)
    family: Literal["swin", "vit"] = "swin"
    patch_size: int = 4
    embed_dim: int = 96
    depths: tuple[int, ...] = (2, 2, 6, 2)
    num_heads: tuple[int, ...] = (3, 6, 12, 24)
    window_size: int = 7
    mlp_ratio: float = 4.0
    norm_eps: float = 1e-5
    pool: Literal["mean", "token"] = "mean"
    num_classes: int = 0
    drop_rate: float = 0.0
    attn_drop_rate: float = 0.0
    drop_path_rate: float = 0.0
    head_drop_rate: float = 0.0

    def check(self) -> None:
        """Refuse sizes that do not fit each other, and rates that are none."""
        self.at_least(1, "num_frames", "patch_size", "embed_dim", "window_size")
        self._check_stages()
        if any(side < 1 or side % self.patch_size for side in self.img_size):
            raise self.refuse("img_size", f"a height and width that are multiples of patch_size ({self.patch_size})")
        if (tokens := math.prod(side // self.patch_size for side in self.img_size)) > 2**16:
            raise self.refuse("img_size", f"a frame of at most {2**16:,} patches, not {tokens:,}")
        if self.pool == "token" and self.family == "swin":
            raise self.refuse("pool", "'mean', as Swin has no class token")
        self.positive("mlp_ratio", "norm_eps")
        self.rates("drop_rate", "attn_drop_rate", "drop_path_rate", "head_drop_rate")

    def _check_stages(self) -> None:
        stages = len(self.depths)
        most = 1 if self.family == "vit" else 8
        if not 1 <= stages <= most or not all(1 <= depth <= 1000 for depth in self.depths):
            raise self.refuse("depths", f"1 to {most} stages of 1 to 1000 blocks for family {self.family!r}")
        if len(self.num_heads) != stages:
            raise self.refuse("num_heads", f"one number a stage ({stages})")
        for stage, heads in enumerate(self.num_heads):
            width = self.embed_dim * 2**stage
            if heads < 1 or width % heads:
                raise self.refuse("num_heads", f"a divisor of the width {width} in stage {stage}")

    @property
    def input_spec(self) -> InputSpec:
        """What recordings must look like: clips of any length."""
        return InputSpec(video=VideoSpec(num_frames=self.num_frames, size=self.img_size))

    def resolutions(self) -> tuple[tuple[int, int], ...]:
        """Return the tokens along height and width in each stage."""
        height, width = (side // self.patch_size for side in self.img_size)
        return tuple((math.ceil(height / 2**k), math.ceil(width / 2**k)) for k in range(len(self.depths)))

    def windows(self) -> tuple[tuple[int, int], ...]:
        """Return the height and width of the attention windows in each stage."""
        side = self.window_size
        return tuple((min(height, side), min(width, side)) for height, width in self.resolutions())

    @property
    def grid(self) -> tuple[int, int]:
        """Tokens of the last stage along height and width."""
        return self.resolutions()[-1]

    @property
    def tokens(self) -> int:
        """Tokens of a frame; those of a ViT begin with the class token."""
        return math.prod(self.grid) + (self.family == "vit")


def _vit(dim: int, heads: int, depth: int = 12, size: int = 224) -> FrameEncoderConfig:
    return FrameEncoderConfig(
        img_size=(size, size),
        family="vit",
        patch_size=16,
        embed_dim=dim,
        depths=(depth,),
        num_heads=(heads,),
        norm_eps=1e-6,
        pool="token",
    )


TIMM_NAMES = {
    "swin_frames_tiny": "swin_tiny_patch4_window7_224",
    "vit_frames_tiny": "vit_tiny_patch16_224",
    "vit_frames_small": "vit_small_patch16_224",
    "vit_frames_base": "vit_base_patch16_224",
}
"""timm's name of each preset that has one; the ``nano`` sizes are ours."""


class FrameEncoder(Backbone):
    """An image model of timm on each frame of a clip: one set of weights, each frame by itself.

    Source: Liu et al., "Swin Transformer", ICCV 2021; Dosovitskiy et al., "An image is worth 16x16 words", ICLR 2021;
    both as timm has them, any height and width. A system that weighs frames takes their tokens from
    :meth:`forward_frames`; alone, the clip's embedding is the mean over the frames' embeddings (a choice: no paper
    reads a clip in this way).

    Weights of timm, of Swin's authors and of transformers come in through ``evermodels convert``. Where Swin's windows
    do not divide a stage, timm shifts before it pads and transformers pads before it shifts: outputs then differ from
    those of transformers; at 224² they are equal.

    Args:
        config: A :class:`FrameEncoderConfig`.

    Raises:
        ConfigError: If ``config`` is something else.

    Example:
        >>> import torch
        >>> model = FrameEncoder.from_preset("swin_frames_nano", num_classes=4).eval()
        >>> clip = torch.zeros(2, 10, 3, 64, 64)
        >>> model(clip).shape, model.forward_frames(clip).shape, model.forward_features(clip).shape
        (torch.Size([2, 4]), torch.Size([2, 10, 16, 96]), torch.Size([2, 160, 96]))
    """

    config_class = FrameEncoderConfig
    input = "video"
    foreign_formats = FORMATS
    presets: ClassVar[Mapping[str, FrameEncoderConfig]] = {
        "swin_frames_nano": FrameEncoderConfig(
            img_size=(64, 64), embed_dim=24, depths=(2, 2, 2), num_heads=(1, 2, 4), window_size=4
        ),
        "swin_frames_tiny": FrameEncoderConfig(),
        "vit_frames_nano": _vit(96, 3, depth=4, size=64),
        "vit_frames_tiny": _vit(192, 3),
        "vit_frames_small": _vit(384, 6),
        "vit_frames_base": _vit(768, 12),
    }

    def __init__(self, config: FrameEncoderConfig) -> None:
        super().__init__(config)
        shared: dict[str, Any] = {
            "img_size": config.img_size,
            "patch_size": config.patch_size,
            "num_classes": 0,
            "embed_dim": config.embed_dim,
            "mlp_ratio": config.mlp_ratio,
            "proj_drop_rate": config.drop_rate,
            "attn_drop_rate": config.attn_drop_rate,
            "drop_path_rate": config.drop_path_rate,
            "norm_layer": partial(nn.LayerNorm, eps=config.norm_eps),
        }
        if config.family == "swin":
            self.net: nn.Module = SwinTransformer(
                depths=config.depths, num_heads=config.num_heads, window_size=config.window_size, **shared
            )
        else:
            self.net = VisionTransformer(
                depth=config.depths[0], num_heads=config.num_heads[0], pos_drop_rate=config.drop_rate, **shared
            )
        self.head = self.make_head()

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

    @property
    def embed_dim(self) -> int:
        """Width of the tokens and of the embedding."""
        config: FrameEncoderConfig = self.config
        return config.embed_dim * 2 ** (len(config.depths) - 1)

    def reset_buffers(self) -> None:
        """Rebuild timm's computed tables (window masks, relative positions) on the device of the parameters."""
        like = next(self.parameters())
        for module in self.net.modules():
            for name, buffer in module.named_buffers(recurse=False):
                if buffer.is_meta and not like.is_meta:
                    setattr(module, name, torch.empty_like(buffer, device=like.device))
            if callable(fill := getattr(module, "init_non_persistent_buffers", None)):
                fill()

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute each block in the backward pass instead of storing it.

        Args:
            enable: Whether to do so.
        """
        self.net.set_grad_checkpointing(enable)  # type: ignore[operator]  # both of timm's classes have it

    def forward_frames(self, x: Tensor) -> Tensor:
        """Return each frame's tokens.

        Args:
            x: Normalised frames, ``(batch, frames, 3, height, width)``; any number of frames.

        Returns:
            ``(batch, frames, tokens, embed_dim)``, rows then columns; those of a ViT begin with the class token.

        Raises:
            ShapeError: If the frames are not of ``img_size``.
        """
        height, width = self.config.img_size
        check_axes("video", x, "batch frames channels height width", channels=3, height=height, width=width)
        tokens: Tensor = self.net.forward_features(x.flatten(0, 1))  # type: ignore[operator]  # both classes have it
        if self.config.family == "swin":
            tokens = tokens.flatten(1, 2)
        return tokens.unflatten(0, x.shape[:2])

    def pool_frames(self, tokens: Tensor) -> Tensor:
        """Return each frame's embedding, the mean of its tokens or its class token as ``pool`` says.

        Args:
            tokens: ``(batch, frames, tokens, embed_dim)``.

        Returns:
            ``(batch, frames, embed_dim)``.
        """
        return tokens.mean(dim=2) if self.config.pool == "mean" else tokens[:, :, 0]

    def forward_steps(self, x: Tensor) -> Tensor:
        """Return each frame's embedding, ``(batch, frames, embed_dim)``.

        Args:
            x: Normalised frames, ``(batch, frames, 3, height, width)``.

        Raises:
            ShapeError: If the frames are not of ``img_size``.
        """
        return self.pool_frames(self.forward_frames(x))

    def step_mask(self, mask: Tensor) -> Tensor:
        """Return the mask as it is: a step is a frame.

        Args:
            mask: Valid frames, ``(batch, frames)`` bool.
        """
        return mask

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the tokens of all frames, one after the other.

        Args:
            x: Normalised frames, ``(batch, frames, 3, height, width)``.

        Returns:
            ``(batch, frames * tokens, embed_dim)``.

        Raises:
            ShapeError: If the clip differs from ``num_frames`` or ``img_size``.
        """
        frames = self.config.num_frames
        if isinstance(x, Tensor) and x.ndim == 5 and x.shape[1] == 3 != frames == x.shape[2]:
            raise ShapeError(
                f"video: expected (batch, frames, channels, height, width), got channels before frames "
                f"(shape {tuple(x.shape)}). Swap them with .transpose(1, 2)."
            )
        check_axes("video", x, "batch frames channels height width", frames=frames)
        return self.forward_frames(x).flatten(1, 2)

    def pool(self, x: Tensor) -> Tensor:
        """Return the mean over the frames' embeddings.

        Args:
            x: Tokens of whole frames, ``(batch, frames * tokens, embed_dim)``.
        """
        return self.pool_frames(x.unflatten(1, (-1, self.config.tokens))).mean(dim=1)
