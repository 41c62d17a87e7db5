"""Video Swin: attention in shifted windows of space and time, on a pyramid of ever fewer and wider tokens."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from einops import rearrange
from timm.layers import DropPath, Mlp
from torch import Tensor, nn
from torch.nn import functional as F

from evermodels.backbones.video.clip_encoder import (
    MOST_TOKENS,
    ClipEncoder,
    draw_linear_weights,
    rising,
)
from evermodels.backbones.video.video_swin_foreign import FORMATS
from evermodels.core.config import Config
from evermodels.core.specs import InputSpec, VideoSpec

Size = tuple[int, int, int]
_MOST_STAGES = 8
_MOST_IN_WINDOW = 2048
_ALL = (slice(None),)
_FAR = -100.0  # what the reference adds to the score of a token from another part of the clip


@dataclass(frozen=True)
class VideoSwinConfig(Config):
    """Configuration of :class:`VideoSwin`; the defaults are Swin-T on 32 frames of 224².

    Args:
        num_frames: Frames per clip, any number; what patches and windows do not divide is filled up with zeros.
        img_size: Height and width in pixels, any.
        patch_size: Frames, height and width of a patch.
        in_chans: Colours.
        num_classes: Classes of the head; 0 for the embedding.
        embed_dim: Width of the tokens in the first stage; each further stage doubles it.
        depths: Blocks by stage.
        num_heads: Attention heads by stage.
        window_size: Frames, height and width of a window in tokens; where a stage has fewer along an axis, the window
            is as long as the stage there, and not shifted.
        mlp_ratio: Hidden width of the MLP over that of the tokens.
        qkv_bias: Whether queries, keys and values have a bias.
        norm_eps: Epsilon of the layer norms.
        clipped_bias: How a window that is clipped finds its relative positions. ``"first_rows"``, as the authors' code
            and torchvision: in the first rows of the whole window's index, which is right only where time alone is
            clipped. ``"geometric"``: those of its own offsets. The two differ where height or width is clipped.
        drop_rate: Dropout of the tokens, the attention's output and the MLP.
        attn_drop_rate: Dropout of the attention weights.
        drop_path_rate: Stochastic depth of the last block; it grows linearly from 0.
        head_drop_rate: Dropout before the head.

    Example:
        >>> VideoSwinConfig().grids
        ((16, 56, 56), (16, 28, 28), (16, 14, 14), (16, 7, 7))
        >>> VideoSwinConfig(num_heads=(3, 6))
        Traceback (most recent call last):
            ...
        evermodels.core.errors.ConfigError: VideoSwinConfig.num_heads: expected one number a stage (4), got (3, 6).
    """

    num_frames: int = 32
    img_size: tuple[int, int] = (224, 224)
    patch_size: Size = (2, 4, 4)
    in_chans: int = 3
    num_classes: int = 0
    embed_dim: int = 96
    depths: tuple[int, ...] = (2, 2, 6, 2)
    num_heads: tuple[int, ...] = (3, 6, 12, 24)
    window_size: Size = (8, 7, 7)
    mlp_ratio: float = 4.0
    qkv_bias: bool = True
    norm_eps: float = 1e-5
    clipped_bias: Literal["first_rows", "geometric"] = "first_rows"
    drop_rate: float = 0.0
    attn_drop_rate: float = 0.0
    drop_path_rate: float = 0.0
    head_drop_rate: float = 0.0

    def check(self) -> None:
        """Refuse sizes that are none, stages that do not fit each other, and rates that are none."""
        self.at_least(1, "num_frames", "in_chans", "embed_dim", "img_size", "patch_size", "window_size")
        self._check_stages()
        if (tokens := math.prod(self.grids[0])) > MOST_TOKENS:
            raise self.refuse("img_size", f"a clip of at most {MOST_TOKENS:,} tokens, not {tokens:,}")
        if (tokens := math.prod(self.window_size)) > _MOST_IN_WINDOW:
            raise self.refuse("window_size", f"at most {_MOST_IN_WINDOW:,} tokens in a window, not {tokens:,}")
        self.positive("mlp_ratio", "norm_eps")
        self.rates("drop_rate", "attn_drop_rate", "drop_path_rate", "head_drop_rate")

    def _check_stages(self) -> None:
        stages = len(self.depths)
        if not 1 <= stages <= _MOST_STAGES or min(self.depths) < 1:
            raise self.refuse("depths", f"1 to {_MOST_STAGES} stages of at least 1 block")
        if len(self.num_heads) != stages:
            raise self.refuse("num_heads", f"one number a stage ({stages})")
        for stage, heads in enumerate(self.num_heads):
            width = self.embed_dim * 2**stage
            if heads < 1 or width % heads:
                raise self.refuse("num_heads", f"a divisor of the width {width} in stage {stage}")

    @property
    def grids(self) -> tuple[Size, ...]:
        """Tokens along time, height and width in each stage."""
        (height, width), (t, h, w) = self.img_size, self.patch_size
        first = -(-self.num_frames // t), -(-height // h), -(-width // w)
        return tuple((first[0], -(-first[1] // 2**k), -(-first[2] // 2**k)) for k in range(len(self.depths)))

    @property
    def input_spec(self) -> InputSpec | None:
        """What recordings must look like: clips of any length; ``None`` where they have no three colours."""
        if self.in_chans != 3:
            return None
        return InputSpec(video=VideoSpec(num_frames=self.num_frames, size=self.img_size))


def relative_positions(window: Size, full: Size, *, first_rows: bool) -> Tensor:
    """Return for each two tokens of a window the row of the table of relative positions.

    The row of offset (t, h, w) is its place among the offsets of the full window, of which there are 2n - 1 along an
    axis of n.

    Args:
        window: Its frames, height and width.
        full: Those of the window that the table is made for, no smaller.
        first_rows: Whether a smaller window takes the first rows and columns of the full window's index.

    Returns:
        ``(n, n)`` int64, n the tokens of the window: query, key.

    Example:
        >>> relative_positions((1, 1, 2), (1, 1, 2), first_rows=False)
        tensor([[1, 0],
                [2, 1]])
    """
    sides = full if first_rows else window
    axes = torch.meshgrid(*(torch.arange(side, device="cpu") for side in sides), indexing="ij")
    at = torch.stack([axis.flatten() for axis in axes])
    offset = at[:, :, None] - at[:, None] + torch.tensor(full, device="cpu")[:, None, None] - 1
    index = (offset[0] * (2 * full[1] - 1) + offset[1]) * (2 * full[2] - 1) + offset[2]
    count = math.prod(window)
    return index[:count, :count].contiguous()


class Windows(NamedTuple):
    """How a block cuts its stage into windows.

    Args:
        size: Frames, height and width of a window.
        shift: By how many tokens the windows lie further along each axis; 0 for none.
    """

    size: Size
    shift: Size

    @classmethod
    def of(cls, grid: Size, window: Size, *, shifted: bool) -> Windows:
        """Clip the window to the stage; an axis that one window covers is not shifted.

        Args:
            grid: Tokens of the stage.
            window: The window as configured.
            shifted: Whether the block is one with shifted windows.
        """
        size = tuple(min(pair) for pair in zip(grid, window, strict=True))
        shift = tuple(w // 2 if shifted and g > w else 0 for g, w in zip(grid, window, strict=True))
        return cls(size, shift)  # type: ignore[arg-type]  # three each, as they were


class WindowAttention(nn.Module):
    r"""Attention within each window of space and time, with a learned bias of relative position.

    Source: Video Swin, eq. 3 and section 3.3: :math:`\mathrm{softmax}(q k^T / \sqrt{d} + B) v` in each window. Where
    the windows are shifted, the clip is rolled, and tokens that are no neighbours are kept apart.

    Args:
        dim: Width of the tokens.
        num_heads: Attention heads.
        window: The full window, whose offsets the table has.
        cut: How the stage is cut.
        qkv_bias: Whether queries, keys and values have a bias.
        attn_drop: Dropout of the weights.
        drop: Dropout of the result.
    """

    def __init__(
        self, dim: int, num_heads: int, window: Size, cut: Windows, *, qkv_bias: bool, attn_drop: float, drop: float
    ) -> None:
        super().__init__()
        self.num_heads, self.cut, self.attn_drop = num_heads, cut, attn_drop
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.proj = nn.Linear(dim, dim)
        self.proj_drop = nn.Dropout(drop)
        self.relative_position_bias_table = nn.Parameter(
            torch.empty(math.prod(2 * side - 1 for side in window), num_heads)
        )

    def _windows(self, x: Tensor) -> Tensor:
        """Cut ``(batch, time, height, width, dim)`` into ``(batch, windows along each axis, tokens, dim)``."""
        (t, h, w), shift = self.cut
        short = [-length % side for length, side in zip(x.shape[1:4], self.cut.size, strict=True)]
        if any(short):
            x = F.pad(x, (0, 0, 0, short[2], 0, short[1], 0, short[0]))
        if any(shift):
            x = x.roll([-s for s in shift], dims=(1, 2, 3))
        return rearrange(x, "b (t p) (h q) (w r) dim -> b t h w (p q r) dim", p=t, q=h, r=w)

    def _parts(self, x: Tensor, index: Tensor) -> Iterator[tuple[tuple[slice, ...], Tensor, Tensor]]:
        """Yield the windows that share a bias: where they are, their ``(3, windows, heads, n, d)``, and the bias.

        Shifted windows at the end of an axis hold tokens of both ends, and these do not see each other.
        """
        qkv = rearrange(self.qkv(x), "b t h w n (k heads d) -> k b t h w heads n d", k=3, heads=self.num_heads)
        bias = self.relative_position_bias_table[index.flatten()].view(*index.shape, -1).permute(2, 0, 1)
        groups = [
            [slice(0, n - 1), slice(n - 1, n)] if s else [slice(0, n)]
            for n, s in zip(x.shape[1:4], self.cut.shift, strict=True)
        ]
        for where in itertools.product(*groups):
            apart = None
            for axis, part in enumerate(where):
                if part.start:
                    behind = self._behind(axis, x.device)
                    other = behind[:, None] != behind
                    apart = other if apart is None else apart | other
            own = bias if apart is None else bias + apart.to(bias.dtype) * _FAR
            yield where, qkv[_ALL + _ALL + where].flatten(1, 4), own[None]

    def _behind(self, axis: int, device: torch.device) -> Tensor:
        """Which tokens of a window lie behind the seam of an axis, ``(n,)`` bool."""
        place = torch.arange(self.cut.size[axis], device=device) >= self.cut.size[axis] - self.cut.shift[axis]
        shape = [1, 1, 1]
        shape[axis] = -1
        return place.view(shape).expand(self.cut.size).flatten()

    def attention_weights(self, x: Tensor, index: Tensor) -> Tensor:
        """Return the weights within each window, before dropout.

        Args:
            x: Tokens, ``(batch, time, height, width, dim)``.
            index: As :func:`relative_positions` makes it.

        Returns:
            ``(batch, windows, heads, n, n)``, windows by time, then rows, then columns; of each query (fourth axis)
            the weights of the window's tokens.
        """
        windows = self._windows(x)
        n = windows.shape[4]
        out = x.new_empty(*windows.shape[:4], self.num_heads, n, n)
        for where, (q, k, _), bias in self._parts(windows, index):
            weights = (q @ k.mT * q.shape[-1] ** -0.5 + bias).softmax(dim=-1)
            part = out[_ALL + where]
            part.copy_(weights.view_as(part))
        return out.flatten(1, 3)

    def forward(self, x: Tensor, index: Tensor) -> Tensor:
        """Mix the tokens of each window.

        Args:
            x: Tokens, ``(batch, time, height, width, dim)``.
            index: As :func:`relative_positions` makes it.

        Returns:
            Tokens of the same shape.
        """
        time, height, width = x.shape[1:4]
        windows = self._windows(x)
        drop = self.attn_drop if self.training else 0.0
        parts = [
            (where, F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype), dropout_p=drop))
            for where, (q, k, v), bias in self._parts(windows, index)
        ]
        out = self._joined(parts, windows)
        t, h, w = self.cut.size
        out = rearrange(self.proj_drop(self.proj(out)), "b t h w (p q r) dim -> b (t p) (h q) (w r) dim", p=t, q=h, r=w)
        if any(self.cut.shift):
            out = out.roll(self.cut.shift, dims=(1, 2, 3))
        return out[:, :time, :height, :width]

    @staticmethod
    def _joined(parts: Sequence[tuple[tuple[slice, ...], Tensor]], windows: Tensor) -> Tensor:
        """Bring ``(windows of a part, heads, n, d)`` of all parts back to ``(batch, …, n, dim)``."""
        tokens = [(where, rearrange(part, "windows heads n d -> windows n (heads d)")) for where, part in parts]
        if len(tokens) == 1:
            return tokens[0][1].view_as(windows)
        out = torch.empty_like(windows)
        for where, part in tokens:
            place = out[_ALL + where]
            place.copy_(part.view_as(place))
        return out


class Block(nn.Module):
    """Attention in windows, then an MLP, each behind a norm and added to what came in.

    Args:
        config: Sizes.
        stage: Which stage.
        cut: How the stage is cut into windows.
        drop_path: Rate of stochastic depth.
    """

    def __init__(self, config: VideoSwinConfig, stage: int, cut: Windows, drop_path: float) -> None:
        super().__init__()
        dim = config.embed_dim * 2**stage
        self.norm1 = nn.LayerNorm(dim, eps=config.norm_eps)
        self.attn = WindowAttention(
            dim,
            config.num_heads[stage],
            config.window_size,
            cut,
            qkv_bias=config.qkv_bias,
            attn_drop=config.attn_drop_rate,
            drop=config.drop_rate,
        )
        self.norm2 = nn.LayerNorm(dim, eps=config.norm_eps)
        self.mlp = Mlp(dim, int(dim * config.mlp_ratio), drop=config.drop_rate)
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()

    def forward(self, x: Tensor, index: Tensor) -> Tensor:
        """Update tokens ``(batch, time, height, width, dim)``."""
        x = x + self.drop_path(self.attn(self.norm1(x), index))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class PatchMerging(nn.Module):
    """Make one token of twice the width out of each 2 by 2 of a frame; an odd end is filled up with zeros.

    Args:
        dim: Width of the tokens.
        eps: Epsilon of the norm.
    """

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * dim, eps=eps)
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Turn ``(batch, time, height, width, dim)`` into half the height and width and twice the ``dim``."""
        height, width = x.shape[2:4]
        if height % 2 or width % 2:
            x = F.pad(x, (0, 0, 0, width % 2, 0, height % 2))
        # The reference's order: down before right.
        x = rearrange(x, "b t (h q) (w r) dim -> b t h w (r q dim)", q=2, r=2)
        return self.reduction(self.norm(x))


class PatchEmbed(nn.Module):
    """Cut a clip into patches of space and time, project each one, and norm it; the end is filled up with zeros.

    Args:
        config: Sizes.
    """

    def __init__(self, config: VideoSwinConfig) -> None:
        super().__init__()
        self.size = config.patch_size
        self.proj = nn.Conv3d(config.in_chans, config.embed_dim, self.size, stride=self.size)
        self.norm = nn.LayerNorm(config.embed_dim, eps=config.norm_eps)

    def forward(self, video: Tensor) -> Tensor:
        """Turn ``(batch, frames, channels, height, width)`` into ``(batch, time, height, width, dim)``."""
        x = video.transpose(1, 2)
        short = [-length % side for length, side in zip(x.shape[2:], self.size, strict=True)]
        if any(short):
            x = F.pad(x, (0, short[2], 0, short[1], 0, short[0]))
        return self.norm(self.proj(x).permute(0, 2, 3, 4, 1))


class Stage(nn.Module):
    """Blocks on one grid, then the merging of patches, but in the last stage.

    Args:
        config: Sizes.
        stage: Which stage.
        drop_paths: Rates of stochastic depth.
    """

    index: Tensor

    def __init__(self, config: VideoSwinConfig, stage: int, drop_paths: list[float]) -> None:
        super().__init__()
        grid, window = config.grids[stage], config.window_size
        cuts = [Windows.of(grid, window, shifted=bool(k % 2)) for k in range(len(drop_paths))]
        self.blocks = nn.ModuleList(Block(config, stage, cut, rate) for cut, rate in zip(cuts, drop_paths, strict=True))
        last = stage == len(config.depths) - 1
        self.downsample = None if last else PatchMerging(config.embed_dim * 2**stage, config.norm_eps)
        self.window, self.full, self.first_rows = cuts[0].size, window, config.clipped_bias == "first_rows"

    def reset_buffers(self) -> None:
        """Work out anew which relative position each two tokens of a window have."""
        device = next(self.parameters()).device
        count = math.prod(self.window)
        if device.type == "meta":
            index = torch.empty(count, count, dtype=torch.long, device=device)
        else:
            index = relative_positions(self.window, self.full, first_rows=self.first_rows).to(device)
        self.register_buffer("index", index, persistent=False)


class VideoSwin(ClipEncoder):
    """Video Swin Transformer: windows of space and time, shifted in every other block, on a pyramid of tokens.

    Source: Liu et al., *Video Swin Transformer*, CVPR 2022, section 3. Patches of 2 frames and 4 × 4 pixels are
    projected and normed; each stage has blocks with attention in windows of 8 × 7 × 7 tokens, in every other one
    shifted by half a window (eq. 4); between stages 2 × 2 tokens of a frame become one of twice the width, and time
    keeps its length. A layer norm follows; the embedding is the mean over the tokens of the last stage. State-dict
    keys are those of the authors' repository behind its ``backbone.``.

    Any number of frames and any picture size: no table depends on them.

    Args:
        config: A :class:`VideoSwinConfig`.

    Raises:
        ConfigError: If ``config`` is something else.

    Example:
        >>> model = VideoSwin.from_preset("video_swin_nano", num_classes=4).eval()
        >>> clip = torch.zeros(2, 16, 3, 64, 64)
        >>> model(clip).shape, model.forward_features(clip).shape
        (torch.Size([2, 4]), torch.Size([2, 128, 96]))
    """

    config_class = VideoSwinConfig
    foreign_formats = FORMATS
    presets: ClassVar[Mapping[str, VideoSwinConfig]] = {
        "video_swin_nano": VideoSwinConfig(
            num_frames=16,
            img_size=(64, 64),
            embed_dim=24,
            depths=(2, 2, 2),
            num_heads=(1, 2, 4),
            window_size=(4, 4, 4),
        ),
        "video_swin_tiny": VideoSwinConfig(),
        "video_swin_small": VideoSwinConfig(depths=(2, 2, 18, 2)),
        "video_swin_base": VideoSwinConfig(embed_dim=128, depths=(2, 2, 18, 2), num_heads=(4, 8, 16, 32)),
    }

    def __init__(self, config: VideoSwinConfig) -> None:
        super().__init__(config)
        self.patch_embed = PatchEmbed(config)
        self.pos_drop = nn.Dropout(config.drop_rate)
        rates = iter(rising(config.drop_path_rate, sum(config.depths)))
        self.layers = nn.ModuleList(
            Stage(config, k, list(itertools.islice(rates, depth))) for k, depth in enumerate(config.depths)
        )
        self.norm = nn.LayerNorm(self.embed_dim, eps=config.norm_eps)
        self.head = self.make_head()
        self.reset_parameters()
        self.reset_buffers()

    @property
    def embed_dim(self) -> int:
        """Width of the last stage's tokens and of the embedding."""
        config: VideoSwinConfig = self.config
        return config.embed_dim * 2 ** (len(config.depths) - 1)

    def reset_parameters(self) -> None:
        """Draw the stages' linear weights after Glorot, and the tables of relative positions small."""
        draw_linear_weights(self.layers)
        for module in self.layers.modules():
            if isinstance(module, WindowAttention):
                nn.init.trunc_normal_(module.relative_position_bias_table, std=0.02)

    def reset_buffers(self) -> None:
        """Rebuild the indices of relative positions on the device of the parameters."""
        for stage in self.layers:
            stage.reset_buffers()  # type: ignore[operator]  # a Stage's

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the tokens of the last stage after the norm.

        Args:
            x: Normalised frames, ``(batch, frames, channels, height, width)``.

        Returns:
            Tokens, ``(batch, n, embed_dim)``, time first, then rows, then columns.

        Raises:
            ShapeError: If the clip differs from ``num_frames``, ``in_chans`` or ``img_size``.
        """
        self.check_clip(x)
        x = self.pos_drop(self.patch_embed(x))
        for stage in self.layers:
            x = self.through(stage.blocks, x, stage.index)  # type: ignore[arg-type]  # a Stage's
            if stage.downsample is not None:
                x = stage.downsample(x)  # type: ignore[operator]  # as above
        return self.norm(x).flatten(1, 3)
