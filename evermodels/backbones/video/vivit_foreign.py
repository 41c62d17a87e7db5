"""Foreign layouts of ViViT: both key generations of transformers; positions of another clip size."""

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
from evermodels.core.errors import CheckpointError

_ACTIVATIONS = {"gelu": "gelu", "gelu_fast": "gelu_tanh", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh"}


def resample_positions(table: Tensor, old: tuple[int, int, int], new: tuple[int, int, int]) -> Tensor:
    """Bring learned positions to another grid of tubelets: trilinear over time, rows and columns.

    A choice: the paper's models keep their size, and transformers interpolates one frame's positions only.

    Args:
        table: ``(1, 1 + time * rows * columns, dim)``, the class token's first, which stays.
        old: Its tubelets along time, rows and columns.
        new: Those to bring it to.

    Returns:
        ``(1, 1 + time * rows * columns, dim)`` of the new grid.

    Example:
        >>> resample_positions(torch.zeros(1, 1 + 16 * 14 * 14, 8), (16, 14, 14), (8, 4, 4)).shape
        torch.Size([1, 129, 8])
    """
    t, rows, _ = old
    x = rearrange(table[:, 1:], "1 (t rows columns) dim -> 1 dim t rows columns", t=t, rows=rows)
    x = F.interpolate(x, size=new, mode="trilinear", align_corners=False)
    return torch.cat([table[:, :1], rearrange(x, "1 dim t rows columns -> 1 (t rows columns) dim")], dim=1)


def _facts(tensors: Mapping[str, Tensor], config: Mapping[str, Any], request: Request) -> dict[str, Any]:
    del request
    dim, in_chans, tubelet, height, width = axes(tensors, "patch_embed.proj.weight", 5)
    if height != width:
        raise CheckpointError(f"patch_embed.proj.weight: expected square patches, got {height} by {width}.")
    num_classes = axes(tensors, "head.weight", 2)[0] if "head.weight" in tensors else 0
    classes = transformers_classes(config, "vivit", num_classes, hidden_act=tuple(_ACTIVATIONS))
    try:
        size = config["image_size"]
        return {
            "embed_dim": dim,
            "in_chans": in_chans,
            "tubelet_size": tubelet,
            "patch_size": height,
            "depth": len({name.split(".")[1] for name in tensors if name.startswith("blocks.")}),
            "mlp_ratio": axes(tensors, "blocks.0.mlp.fc1.weight", 2)[0] / dim,
            "qkv_bias": "blocks.0.attn.qkv.bias" in tensors,
            "num_classes": num_classes,
            "num_heads": config["num_attention_heads"],
            "num_frames": config["num_frames"],
            "img_size": (size, size) if isinstance(size, int) else size,
            "norm_eps": config["layer_norm_eps"],
            "activation": _ACTIVATIONS[config["hidden_act"]],
            **classes,
        }
    except KeyError as error:
        raise CheckpointError(
            f"config.json: no {error}. Give the folder as transformers' save_pretrained wrote it."
        ) from None


def _fit_positions(table: Tensor, config: Any, facts: Mapping[str, Any], request: Request) -> tuple[Tensor, str]:
    del request
    sizes = {key: facts[key] for key in ("num_frames", "img_size", "tubelet_size", "patch_size")}
    old: tuple[int, int, int] = config.replace(**sizes).grid
    new: tuple[int, int, int] = config.grid
    if table.shape[1] != 1 + math.prod(old):
        raise CheckpointError(
            f"pos_embed: expected 1 + {' · '.join(map(str, old))} positions as config.json says, got {table.shape[1]}."
        )
    if old == new:
        return table, ""
    how = f"{' by '.join(map(str, old))} -> {' by '.join(map(str, new))} positions, trilinear"
    return resample_positions(table.float(), old, new).to(table.dtype), how


_VIVIT = r"(?:vivit\.)?"
_OLD = _VIVIT + r"encoder\.layer\.(\d+)\."
_NEW = _VIVIT + r"layers\.(\d+)\."
_PARTS = (("query", "q_proj"), ("key", "k_proj"), ("value", "v_proj"))

FORMATS = (
    ForeignFormat(
        name="transformers",
        summary="transformers' ViViT, in both generations of its names (attention.attention.query, attention.q_proj)",
        published="mit",
        sign=_VIVIT + r"embeddings\.cls_token",
        keys={
            _VIVIT + r"embeddings\.cls_token": r"cls_token",
            _VIVIT + r"embeddings\.position_embeddings": r"pos_embed",
            _VIVIT + r"embeddings\.patch_embeddings\.projection\.(weight|bias)": r"patch_embed.proj.\1",
            rf"(?:{_OLD}|{_NEW})layernorm_before\.(weight|bias)": r"blocks.\1\2.norm1.\3",
            rf"(?:{_OLD}|{_NEW})layernorm_after\.(weight|bias)": r"blocks.\1\2.norm2.\3",
            **{
                rf"(?:{_OLD}attention\.attention\.{old}|{_NEW}attention\.{new})\.(weight|bias)": (
                    rf"blocks.\1\2.attn.qkv.\3@{part}"
                )
                for part, (old, new) in enumerate(_PARTS)
            },
            rf"(?:{_OLD}attention\.output\.dense|{_NEW}attention\.o_proj)\.(weight|bias)": r"blocks.\1\2.attn.proj.\3",
            rf"(?:{_OLD}intermediate\.dense|{_NEW}mlp\.fc1)\.(weight|bias)": r"blocks.\1\2.mlp.fc1.\3",
            rf"(?:{_OLD}output\.dense|{_NEW}mlp\.fc2)\.(weight|bias)": r"blocks.\1\2.mlp.fc2.\3",
            _VIVIT + r"layernorm\.(weight|bias)": r"norm.\1",
            r"classifier\.(weight|bias)": r"head.\1",
        },
        left={
            _VIVIT + r"pooler\.dense\.(?:weight|bias)": "transformers' pooler, which its classifier does not read",
        },
        facts=_facts,
        fit={"patch_embed.proj.weight": spread_channels, "pos_embed": _fit_positions},
        needs_config=True,
    ),
)
