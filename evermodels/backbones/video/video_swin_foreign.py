"""Foreign layouts of Video Swin: the authors' repository and torchvision; tables of windows of another size."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from evermodels.checkpoints.foreign_format import Fit, ForeignFormat, Request, axes, spread_channels
from evermodels.core.errors import CheckpointError, ConfigError

_STAGES, _MOST_BLOCKS = 8, 48
Size = tuple[int, int, int]


def resample_table(table: Tensor, old: Size, new: Size) -> Tensor:
    """Bring a table of relative positions to windows of another size: trilinear between its outermost offsets.

    Args:
        table: ``(offsets, heads)``, for windows of n tokens along an axis 2n - 1 offsets there.
        old: Frames, height and width of its windows.
        new: Those to bring it to.

    Returns:
        ``(offsets, heads)`` of the new windows.

    Example:
        >>> import torch
        >>> resample_table(torch.arange(3.0)[:, None], (1, 1, 2), (1, 1, 3)).flatten()
        tensor([0.0000, 0.5000, 1.0000, 1.5000, 2.0000])
    """
    t, h, _ = (2 * side - 1 for side in old)
    x = rearrange(table, "(t h w) heads -> 1 heads t h w", t=t, h=h)
    x = F.interpolate(x, size=tuple(2 * side - 1 for side in new), mode="trilinear", align_corners=True)
    return rearrange(x, "1 heads t h w -> (t h w) heads")


def _window(rows: int, asked: Any) -> Size:
    """Return the window whose table has so many rows; height and width are equal unless the user says otherwise."""
    if isinstance(asked, (list, tuple)) and len(asked) == 3 and all(type(n) is int for n in asked):
        if math.prod(2 * n - 1 for n in asked) == rows:
            return asked[0], asked[1], asked[2]
    found = []
    for side in range(2, math.isqrt(rows) + 1):
        frames, rest = divmod(rows, (2 * side - 1) ** 2)
        if frames and not rest and frames % 2:
            found.append(((frames + 1) // 2, side, side))
    if len(found) != 1:
        could = " or ".join(f"{t} by {h} by {w}" for t, h, w in found) or "no window with equal height and width"
        raise ConfigError(
            f"window_size: tables of {rows} relative positions are those of {could}. Say which window the file has, "
            "with --set 'window_size=[FRAMES, HEIGHT, WIDTH]'."
        )
    return found[0]


def _facts(tensors: Mapping[str, Tensor], config: Mapping[str, Any], request: Request) -> dict[str, Any]:
    del config
    patch = tensors.get("patch_embed.proj.weight")
    if patch is not None and patch.ndim == 4:
        raise CheckpointError(
            "patch_embed.proj.weight: patches of pictures, not of clips: the file holds Swin, not Video Swin. "
            "swin_frames_tiny takes it."
        )
    dim, in_chans, *size = axes(tensors, "patch_embed.proj.weight", 5)
    blocks = {tuple(name.split(".")[1:4:2]) for name in tensors if name.startswith("layers.") and ".blocks." in name}
    depths = Counter(stage for stage, _ in blocks)
    stages = [str(k) for k in range(len(depths))]
    if sorted(depths) != stages:
        raise CheckpointError(f"layers: expected stages 0 to {len(depths) - 1}, got {', '.join(sorted(depths))}.")
    tables = [f"layers.{stage}.blocks.0.attn.relative_position_bias_table" for stage in stages]
    return {
        "embed_dim": dim,
        "in_chans": in_chans,
        "patch_size": tuple(size),
        "depths": tuple(depths[stage] for stage in stages),
        "num_heads": tuple(axes(tensors, table, 2)[1] for table in tables),
        "window_size": _window(axes(tensors, tables[0], 2)[0], request.config.get("window_size")),
        "mlp_ratio": axes(tensors, "layers.0.blocks.0.mlp.fc1.weight", 2)[0] / dim,
        "qkv_bias": "layers.0.blocks.0.attn.qkv.bias" in tensors,
        "num_classes": axes(tensors, "head.weight", 2)[0] if "head.weight" in tensors else 0,
    }


def _fit_table(table: Tensor, config: Any, facts: Mapping[str, Any], request: Request) -> tuple[Tensor, str]:
    del request
    old, new = facts["window_size"], config.window_size
    if old == new or table.shape[0] != math.prod(2 * side - 1 for side in old):
        return table, ""  # a table of another window than its fellows is refused by its shape
    how = f"windows {' by '.join(map(str, old))} -> {' by '.join(map(str, new))}, trilinear"
    return resample_table(table.float(), old, new).to(table.dtype), how


_FIT: dict[str, Fit] = {
    "patch_embed.proj.weight": spread_channels,
    **{
        f"layers.{stage}.blocks.{block}.attn.relative_position_bias_table": _fit_table
        for stage in range(_STAGES)
        for block in range(_MOST_BLOCKS)
    },
}
_COMPUTED = {r".*(?:attn_mask|relative_position_index)": "computed from the sizes"}
_BACKBONE = r"(?:backbone\.)?"
_BLOCK = r"layers\.\d+\.blocks\.\d+\."

FORMATS = (
    ForeignFormat(
        name="original",
        summary="the authors' (SwinTransformer/Video-Swin-Transformer), names behind backbone. and cls_head.",
        published="apache-2.0",
        sign=_BACKBONE + r"layers\.0\.downsample\.reduction\.weight",
        keys={
            _BACKBONE + r"(patch_embed\.(?:proj|norm)\.(?:weight|bias)|norm\.(?:weight|bias))": r"\1",
            _BACKBONE + rf"({_BLOCK}(?:norm[12]|mlp\.fc[12]|attn\.(?:qkv|proj))\.(?:weight|bias))": r"\1",
            _BACKBONE + rf"({_BLOCK}attn\.relative_position_bias_table)": r"\1",
            _BACKBONE + r"(layers\.\d+\.downsample\.(?:norm\.(?:weight|bias)|reduction\.weight))": r"\1",
            r"(?:cls_head\.fc_cls|head)\.(weight|bias)": r"head.\1",
        },
        left=_COMPUTED,
        facts=_facts,
        fit=_FIT,
    ),
    ForeignFormat(
        name="torchvision",
        summary="torchvision's swin3d_t, swin3d_s, swin3d_b (SwinTransformer3d)",
        published="bsd-3-clause for the code; the weights were ported from the authors'",
        sign=r"features\.0\.0\.attn\.relative_position_bias_table",
        keys={
            r"(patch_embed\.(?:proj|norm)\.(?:weight|bias)|(?:norm|head)\.(?:weight|bias))": r"\1",
            **{
                rf"features\.{2 * k}\.(\d+)\.{theirs}": rf"layers.{k}.blocks.\1.{ours}"
                for k in range(_STAGES)
                for theirs, ours in (
                    (r"((?:norm[12]|attn\.(?:qkv|proj))\.(?:weight|bias))", r"\2"),
                    (r"(attn\.relative_position_bias_table)", r"\2"),
                    (r"mlp\.0\.(weight|bias)", r"mlp.fc1.\2"),
                    (r"mlp\.3\.(weight|bias)", r"mlp.fc2.\2"),
                )
            },
            **{
                rf"features\.{2 * k + 1}\.(norm\.(?:weight|bias)|reduction\.weight)": rf"layers.{k}.downsample.\1"
                for k in range(_STAGES)
            },
        },
        left=_COMPUTED,
        facts=_facts,
        fit=_FIT,
    ),
)
