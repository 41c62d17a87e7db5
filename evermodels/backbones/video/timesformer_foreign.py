"""Foreign layouts of TimeSformer: the authors' repository and transformers; position tables of another size."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from evermodels.checkpoints.foreign_format import (
    ForeignFormat,
    Request,
    axes,
    spread_channels,
    transformers_classes,
)
from evermodels.core.errors import CheckpointError, ConfigError


def resample_places(table: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    """Bring the positions of places to another grid by nearest neighbour, as the authors' code does.

    Args:
        table: ``(1, 1 + rows * columns, dim)``, the class token's first, which stays.
        old: Its rows and columns.
        new: Those to bring it to.

    Returns:
        ``(1, 1 + rows * columns, dim)`` of the new grid.

    Example:
        >>> resample_places(torch.zeros(1, 1 + 14 * 14, 8), (14, 14), (7, 10)).shape
        torch.Size([1, 71, 8])
    """
    x = rearrange(table[:, 1:], "1 (rows columns) dim -> 1 dim rows columns", rows=old[0])
    x = F.interpolate(x, size=new, mode="nearest")
    return torch.cat([table[:, :1], rearrange(x, "1 dim rows columns -> 1 (rows columns) dim")], dim=1)


def resample_frames(table: Tensor, frames: int) -> Tensor:
    """Bring the positions of frames to another number by nearest neighbour, as the authors' code does.

    Args:
        table: ``(1, frames, dim)``.
        frames: How many to bring it to.

    Returns:
        ``(1, frames, dim)``.

    Example:
        >>> resample_frames(torch.arange(2.0)[None, :, None], 4).flatten()
        tensor([0., 0., 1., 1.])
    """
    return F.interpolate(table.mT, size=frames, mode="nearest").mT


def _sizes(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    dim, in_chans, height, width = axes(tensors, "patch_embed.proj.weight", 4)
    if height != width:
        raise CheckpointError(f"patch_embed.proj.weight: expected square patches, got {height} by {width}.")
    return {
        "embed_dim": dim,
        "in_chans": in_chans,
        "patch_size": height,
        "num_frames": axes(tensors, "time_embed", 3)[1],
        "depth": len({name.split(".")[1] for name in tensors if name.startswith("blocks.")}),
        "mlp_ratio": axes(tensors, "blocks.0.mlp.fc1.weight", 2)[0] / dim,
        "qkv_bias": "blocks.0.attn.qkv.bias" in tensors,
        "attention": "divided" if "blocks.0.temporal_fc.weight" in tensors else "joint",
        "num_classes": axes(tensors, "head.weight", 2)[0] if "head.weight" in tensors else 0,
    }


def _original(tensors: Mapping[str, Tensor], config: Mapping[str, Any], request: Request) -> dict[str, Any]:
    del config
    facts = _sizes(tensors)
    places = axes(tensors, "pos_embed", 3)[1] - 1
    if request.source_size is not None:
        return {**facts, "img_size": request.source_size}
    side = math.isqrt(max(places, 0))
    if side * side != places:
        raise ConfigError(
            f"source_size: {places} positions are those of no square. Say on which pictures the file was trained, with "
            "--source-size HEIGHT WIDTH."
        )
    return {**facts, "img_size": (side * facts["patch_size"],) * 2}


def _transformers(tensors: Mapping[str, Tensor], config: Mapping[str, Any], request: Request) -> dict[str, Any]:
    del request
    try:
        size = config["image_size"]
        facts = {
            **_sizes(tensors),
            "num_heads": config["num_attention_heads"],
            "img_size": (size, size) if isinstance(size, int) else size,
            "norm_eps": config["layer_norm_eps"],
        }
    except KeyError as error:
        raise CheckpointError(
            f"config.json: no {error}. Give the folder as transformers' save_pretrained wrote it."
        ) from None
    return {**facts, **transformers_classes(config, "timesformer", facts["num_classes"])}


def _fit_places(table: Tensor, config: Any, facts: Mapping[str, Any], request: Request) -> tuple[Tensor, str]:
    del request
    old = tuple(side // facts["patch_size"] for side in facts["img_size"])
    new = config.grid[1:]
    if table.shape[1] != 1 + math.prod(old):
        raise CheckpointError(
            f"pos_embed: expected 1 + {old[0]} · {old[1]} positions for pictures of {facts['img_size']}, got "
            f"{table.shape[1]}. Say what the file was trained on, with --source-size HEIGHT WIDTH."
        )
    if old == new:
        return table, ""
    resampled = resample_places(table.float(), (old[0], old[1]), new).to(table.dtype)
    return resampled, f"{old[0]} by {old[1]} -> {new[0]} by {new[1]} places, nearest neighbour"


def _fit_frames(table: Tensor, config: Any, facts: Mapping[str, Any], request: Request) -> tuple[Tensor, str]:
    del request
    old, new = facts["num_frames"], config.grid[0]
    if old == new:
        return table, ""
    return resample_frames(table.float(), new).to(table.dtype), f"{old} -> {new} frames, nearest neighbour"


_MODEL = r"(?:model\.)?"
_HUGGING = r"(?:timesformer\.)?"
_LAYER = _HUGGING + r"encoder\.layer\.(\d+)\."
_FIT = {"patch_embed.proj.weight": spread_channels, "pos_embed": _fit_places, "time_embed": _fit_frames}

FORMATS = (
    ForeignFormat(
        name="original",
        summary="TimeSformer's repository (facebookresearch/TimeSformer), names behind model.",
        published="cc-by-nc-4.0",
        sign=_MODEL + r"time_embed",
        keys={
            _MODEL + r"(cls_token|pos_embed|time_embed)": r"\1",
            _MODEL + r"((?:patch_embed\.proj|norm|head)\.(?:weight|bias))": r"\1",
            _MODEL + r"(blocks\.\d+\.(?:temporal_norm1|norm[12]|temporal_fc|mlp\.fc[12])\.(?:weight|bias))": r"\1",
            _MODEL + r"(blocks\.\d+\.(?:temporal_)?attn\.(?:qkv|proj)\.(?:weight|bias))": r"\1",
        },
        facts=_original,
        fit=_FIT,
        unread={"num_heads": "embed_dim"},
        asks_size=True,
    ),
    ForeignFormat(
        name="transformers",
        summary="transformers' TimeSformer",
        published="cc-by-nc-4.0",
        sign=_HUGGING + r"embeddings\.time_embeddings",
        keys={
            _HUGGING + r"embeddings\.cls_token": r"cls_token",
            _HUGGING + r"embeddings\.position_embeddings": r"pos_embed",
            _HUGGING + r"embeddings\.time_embeddings": r"time_embed",
            _HUGGING + r"embeddings\.patch_embeddings\.projection\.(weight|bias)": r"patch_embed.proj.\1",
            _LAYER + r"temporal_layernorm\.(weight|bias)": r"blocks.\1.temporal_norm1.\2",
            _LAYER + r"temporal_attention\.attention\.qkv\.(weight|bias)": r"blocks.\1.temporal_attn.qkv.\2",
            _LAYER + r"temporal_attention\.output\.dense\.(weight|bias)": r"blocks.\1.temporal_attn.proj.\2",
            _LAYER + r"temporal_dense\.(weight|bias)": r"blocks.\1.temporal_fc.\2",
            _LAYER + r"layernorm_before\.(weight|bias)": r"blocks.\1.norm1.\2",
            _LAYER + r"layernorm_after\.(weight|bias)": r"blocks.\1.norm2.\2",
            _LAYER + r"attention\.attention\.qkv\.(weight|bias)": r"blocks.\1.attn.qkv.\2",
            _LAYER + r"attention\.output\.dense\.(weight|bias)": r"blocks.\1.attn.proj.\2",
            _LAYER + r"intermediate\.dense\.(weight|bias)": r"blocks.\1.mlp.fc1.\2",
            _LAYER + r"output\.dense\.(weight|bias)": r"blocks.\1.mlp.fc2.\2",
            _HUGGING + r"layernorm\.(weight|bias)": r"norm.\1",
            r"classifier\.(weight|bias)": r"head.\1",
        },
        facts=_transformers,
        fit=_FIT,
        needs_config=True,
    ),
)
