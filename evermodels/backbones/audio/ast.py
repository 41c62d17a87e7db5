"""The Audio Spectrogram Transformer: a ViT with class and distillation tokens over a log-mel spectrogram."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from einops import rearrange
from timm.layers import trunc_normal_
from torch import Tensor, nn

from evermodels.backbones.audio.ast_foreign import FORMATS, resample_positions
from evermodels.backbones.base import Backbone, Checkpointed
from evermodels.core.config import Config
from evermodels.core.errors import check_axes
from evermodels.core.specs import AudioSpec, InputSpec
from evermodels.layers.transformer_block import TransformerBlock

AUDIOSET_MEAN, AUDIOSET_STD = -4.2677393, 2 * 4.5689974


@dataclass(frozen=True)
class ASTConfig(Config):
    """Configuration of :class:`AST`; the defaults are the published AudioSet model without its head.

    Args:
        num_frames: Frames of the spectrogram.
        num_mels: Its mel bands.
        patch_size: Side of a patch, along mel bands and frames.
        stride: Step between patches along mel bands and along frames; smaller than ``patch_size`` they overlap.
        num_classes: Classes of the head; 0 for the embedding.
        embed_dim: Width of the tokens, a multiple of ``num_heads``.
        depth: Number of blocks.
        num_heads: Attention heads.
        mlp_ratio: Hidden width of the MLP over ``embed_dim``.
        qkv_bias: Whether queries, keys and values have a bias.
        norm_eps: Epsilon of the layer norms.
        head_norm_eps: Epsilon of the head's own layer norm.
        drop_rate: Dropout of the tokens, the attention's output and the MLP's output.
        attn_drop_rate: Dropout of the attention weights.
        drop_path_rate: Stochastic depth of the last block; it grows linearly from 0.
        mean: Subtracted from the log-mel spectrograms that the weights were trained on; it is part of ``input_spec``
            only. In a system the system's own input spec says it.
        std: Divided by afterwards; AST divides by twice the standard deviation.

    Example:
        >>> ASTConfig().grid
        (12, 101)
        >>> ASTConfig(num_mels=8)
        Traceback (most recent call last):
            ...
        evermodels.core.errors.ConfigError: ...num_mels...at least patch_size (16)...
    """

    num_frames: int = 1024
    num_mels: int = 128
    patch_size: int = 16
    stride: tuple[int, int] = (10, 10)
    num_classes: int = 0
    embed_dim: int = 768
    depth: int = 12
    num_heads: int = 12
    mlp_ratio: float = 4.0
    qkv_bias: bool = True
    norm_eps: float = 1e-6
    head_norm_eps: float = 1e-5
    drop_rate: float = 0.0
    attn_drop_rate: float = 0.0
    drop_path_rate: float = 0.0
    mean: float = AUDIOSET_MEAN
    std: float = AUDIOSET_STD

    def check(self) -> None:
        """Refuse sizes without a patch, widths that heads do not divide, and rates that are none."""
        self.at_least(1, "patch_size", "embed_dim", "depth", "num_heads")
        if min(self.stride) < 1:
            raise self.refuse("stride", "two numbers of at least 1")
        for key in ("num_frames", "num_mels"):
            if getattr(self, key) < self.patch_size:
                raise self.refuse(key, f"at least patch_size ({self.patch_size})")
        if (tokens := math.prod(self.grid)) > 2**18:
            raise self.refuse("num_frames", f"a spectrogram of at most {2**18:,} tokens, not {tokens:,}")
        if self.embed_dim % self.num_heads:
            raise self.refuse("embed_dim", f"a multiple of num_heads ({self.num_heads})")
        self.positive("mlp_ratio", "norm_eps", "head_norm_eps", "std")
        self.rates("drop_rate", "attn_drop_rate", "drop_path_rate")

    @property
    def grid(self) -> tuple[int, int]:
        """Patches along mel bands and frames; a rest that no whole patch fits into is left out, as in the paper."""
        rows, columns = (
            (size - self.patch_size) // step + 1
            for size, step in zip((self.num_mels, self.num_frames), self.stride, strict=True)
        )
        return rows, columns

    @property
    def input_spec(self) -> InputSpec:
        """What recordings must look like: sound at 16 kHz, the window as long as the frames need."""
        audio = AudioSpec(n_mels=self.num_mels, mean=self.mean, std=self.std)
        seconds = (self.num_frames - 1) * audio.hop_seconds + audio.frame_seconds
        return InputSpec(window_seconds=round(seconds, 6), audio=audio)


class PatchEmbed(nn.Module):
    """Cut a spectrogram into patches, overlapping where the stride is smaller, and project each one."""

    def __init__(self, config: ASTConfig) -> None:
        super().__init__()
        self.proj = nn.Conv2d(1, config.embed_dim, config.patch_size, config.stride)

    def forward(self, x: Tensor) -> Tensor:
        """Turn ``(batch, frames, mels)`` into ``(batch, n, embed_dim)``, mel bands first, then frames."""
        return rearrange(self.proj(x.mT[:, None]), "batch dim mels frames -> batch (mels frames) dim")


def _ast(dim: int, heads: int, depth: int = 12, **changes: Any) -> ASTConfig:
    return ASTConfig(embed_dim=dim, depth=depth, num_heads=heads, **changes)


class AST(Checkpointed, Backbone):
    """Audio Spectrogram Transformer: overlapping patches of a log-mel spectrogram through a plain ViT.

    Source: Gong, Chung and Glass, *AST: Audio Spectrogram Transformer*, Interspeech 2021, section 2. Patches of 16 × 16
    with a stride of 10 are projected; a class and a distillation token (from DeiT) stand before them, a learned
    position is added to each, ``depth`` pre-norm blocks and a layer norm follow. The embedding is the mean of the two
    tokens; the head is a layer norm and a linear layer. Names of the state dict are timm's, as in the authors'
    repository; there the head is called ``mlp_head``.

    Spectrograms are those of :class:`~evermodels.core.specs.AudioSpec` (Kaldi's filter bank of 128 bands, 25 ms every
    10 ms), less AudioSet's mean and divided by *twice* its standard deviation: ``input_spec`` says all of it. The
    authors fill 10 s up to 1024 frames with zeros before that; ``input_spec`` asks for 10.255 s of sound instead, which
    makes 1024 frames of its own.

    With a mask (:meth:`forward_valid`) patches without a valid frame are not attended to: a clip padded behind its end
    answers as one that is as long as its sound, with the positions of its beginning. What remains is a patch across the
    border, which is read with what stands behind it; where the sound ends with a patch there is none.

    Weights of other lengths: :func:`resample_positions`, which ``evermodels convert`` and ``load_encoder`` call.

    Args:
        config: An :class:`ASTConfig`.

    Raises:
        ConfigError: If ``config`` is something else.

    Example:
        >>> model = AST.from_preset("ast_nano", num_classes=4).eval()
        >>> log_mel = torch.zeros(2, 498, 128)
        >>> model(log_mel).shape, model.forward_features(log_mel).shape
        (torch.Size([2, 4]), torch.Size([2, 250, 96]))
        >>> AST.presets["ast_base"].input_spec.window_seconds
        10.255
    """

    config_class = ASTConfig
    input = "log_mel"
    axes = ("num_frames", "num_mels")
    foreign_formats = FORMATS
    presets: ClassVar[Mapping[str, ASTConfig]] = {
        "ast_nano": _ast(96, 3, 4, num_frames=498, stride=(16, 16)),
        "ast_tiny": _ast(192, 3),
        "ast_small": _ast(384, 6),
        "ast_base": _ast(768, 12),
    }

    def __init__(self, config: ASTConfig) -> None:
        super().__init__(config)
        dim = config.embed_dim
        self.patch_embed = PatchEmbed(config)
        self.cls_token = nn.Parameter(torch.empty(1, 1, dim))
        self.dist_token = nn.Parameter(torch.empty(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.empty(1, math.prod(config.grid) + 2, dim))
        self.pos_drop = nn.Dropout(config.drop_rate)
        steps = max(config.depth - 1, 1)
        self.blocks = nn.ModuleList(
            TransformerBlock(
                dim,
                config.num_heads,
                mlp_ratio=config.mlp_ratio,
                qkv_bias=config.qkv_bias,
                norm_eps=config.norm_eps,
                drop=config.drop_rate,
                attn_drop=config.attn_drop_rate,
                drop_path=config.drop_path_rate * i / steps,
            )
            for i in range(config.depth)
        )
        self.norm = nn.LayerNorm(dim, eps=config.norm_eps)
        self.head = self.make_head()
        self.reset_parameters()

    def make_head(self) -> nn.Module:
        """Return a new layer norm and linear layer."""
        linear = super().make_head()
        if not self.num_classes:
            return linear
        norm = nn.LayerNorm(self.embed_dim, eps=self.config.head_norm_eps)
        return nn.Sequential(OrderedDict(norm=norm, fc=linear))

    def reset_parameters(self) -> None:
        """Draw tokens and positions, and the blocks' linear weights after Glorot, as for every ViT here."""
        for token in (self.cls_token, self.dist_token, self.pos_embed):
            trunc_normal_(token, std=0.02)
        for module in self.blocks.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def taken_over(self, state: Mapping[str, Tensor], config: ASTConfig) -> dict[str, Tensor]:
        """Cut or resample the positions to this model's patches, as ``evermodels convert`` does.

        Args:
            state: Weights by name.
            config: The configuration of the encoder that they come from.
        """
        own, old, new = dict(state), config.grid, self.config.grid
        if old != new:
            own["pos_embed"] = resample_positions(own["pos_embed"], old, new)
        return own

    @property
    def reads_masks(self) -> bool:
        """Always: what is masked is not attended to."""
        return True

    def forward_valid(self, x: Tensor, mask: Tensor) -> Tensor:
        """Classify by the valid frames alone: nothing attends to a patch without any.

        Args:
            x: Standardised log-mel spectrogram, ``(batch, frames, mels)``.
            mask: Valid frames, ``(batch, frames)`` bool; of a sample without any all are read.
        """
        return self.forward_head(self.forward_features(x, mask))

    def _keys(self, mask: Tensor) -> Tensor:
        """Tokens that are attended to, ``(batch, 2 + n)`` bool."""
        c: ASTConfig = self.config
        check_axes("mask", mask, "batch frames", frames=c.num_frames)
        some = mask.unfold(1, c.patch_size, c.stride[1]).any(dim=-1)
        some = some | ~some.any(dim=1, keepdim=True)
        return torch.cat([torch.ones_like(some[:, :1]).expand(-1, 2), some.repeat(1, c.grid[0])], dim=1)

    def forward_features(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the tokens after the last norm.

        Args:
            x: Standardised log-mel spectrogram, ``(batch, frames, mels)``.
            mask: Valid frames, ``(batch, frames)`` bool (default: all).

        Returns:
            Tokens, ``(batch, 2 + n, embed_dim)``: class, distillation, then patches, mel bands first, then frames.

        Raises:
            ShapeError: If the spectrogram differs from ``num_frames`` and ``num_mels``.
        """
        c: ASTConfig = self.config
        check_axes("audio", x, "batch frames mels", frames=c.num_frames, mels=c.num_mels)
        size = x.shape[0]
        tokens = [self.cls_token.expand(size, -1, -1), self.dist_token.expand(size, -1, -1), self.patch_embed(x)]
        x = self.pos_drop(torch.cat(tokens, dim=1) + self.pos_embed)
        return self.norm(self.through(self.blocks, x, *(() if mask is None else (self._keys(mask),))))

    def pool(self, x: Tensor) -> Tensor:
        """Return the mean of the class and the distillation token.

        Args:
            x: Tokens, ``(batch, 2 + n, embed_dim)``.
        """
        return (x[:, 0] + x[:, 1]) / 2
