"""Foreign layouts of Swin and ViT: timm's, the authors' of Swin, and both key generations of transformers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

from timm.layers import resample_abs_pos_embed, resize_rel_pos_bias_table
from torch import Tensor

from evermodels.checkpoints.foreign_format import Fit, ForeignFormat, Request, axes, transformers_classes
from evermodels.core.errors import CheckpointError

_STAGES = 4  # of every published Swin
_MOST_BLOCKS = 24


def _common(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    dim, _, height, width = axes(tensors, "net.patch_embed.proj.weight", 4)
    if height != width:
        raise CheckpointError(f"patch_embed.proj.weight: expected square patches, got {height} by {width}.")
    return {
        "embed_dim": dim,
        "patch_size": height,
        "num_classes": axes(tensors, "head.weight", 2)[0] if "head.weight" in tensors else 0,
    }


def _swin(tensors: Mapping[str, Tensor], config: Mapping[str, Any], request: Request) -> dict[str, Any]:
    del config, request
    facts, first = _common(tensors), "net.layers.0.blocks.0."
    blocks = {
        tuple(name.split(".")[2:5:2]) for name in tensors if name.startswith("net.layers.") and ".blocks." in name
    }
    depths = Counter(stage for stage, _ in blocks)
    stages = [str(k) for k in range(len(depths))]
    if sorted(depths) != stages:
        raise CheckpointError(f"layers: expected stages 0 to {len(depths) - 1}, got {', '.join(sorted(depths))}.")
    tables = [f"net.layers.{stage}.blocks.0.attn.relative_position_bias_table" for stage in stages]
    side = math.isqrt(axes(tensors, tables[0], 2)[0])
    if side * side != tensors[tables[0]].shape[0] or side % 2 == 0:
        raise CheckpointError(f"{tables[0]}: expected (2 * window - 1)² rows, got {tensors[tables[0]].shape[0]}.")
    return {
        **facts,
        "family": "swin",
        "depths": tuple(depths[stage] for stage in stages),
        "num_heads": tuple(axes(tensors, table, 2)[1] for table in tables),
        "window_size": (side + 1) // 2,
        "mlp_ratio": axes(tensors, f"{first}mlp.fc1.weight", 2)[0] / facts["embed_dim"],
    }


def _vit(tensors: Mapping[str, Tensor], config: Mapping[str, Any], request: Request) -> dict[str, Any]:
    del config, request
    facts = _common(tensors)
    patches = axes(tensors, "net.pos_embed", 3)[1] - 1
    side = math.isqrt(max(patches, 0))
    blocks = {name.split(".")[2] for name in tensors if name.startswith("net.blocks.")}
    return {
        **facts,
        **({"img_size": (side * facts["patch_size"],) * 2} if side and side * side == patches else {}),
        "family": "vit",
        "depths": (len(blocks),),
        "mlp_ratio": axes(tensors, "net.blocks.0.mlp.fc1.weight", 2)[0] / facts["embed_dim"],
    }


def _transformers(facts: dict[str, Any], config: Mapping[str, Any], family: str) -> dict[str, Any]:
    try:
        size, heads = config["image_size"], config["num_attention_heads" if family == "vit" else "num_heads"]
        eps = config["layer_norm_eps"]
    except KeyError as error:
        raise CheckpointError(
            f"config.json: no {error}. Give the folder as transformers' save_pretrained wrote it."
        ) from None
    facts |= {
        "img_size": (size, size) if isinstance(size, int) else size,
        "num_heads": (heads,) if family == "vit" else tuple(heads),
        "norm_eps": eps,
    }
    return {**facts, **transformers_classes(config, family, facts["num_classes"])}


def _swin_transformers(tensors: Mapping[str, Tensor], config: Mapping[str, Any], request: Request) -> dict[str, Any]:
    return _transformers(_swin(tensors, config, request), config, "swin")


def _vit_transformers(tensors: Mapping[str, Tensor], config: Mapping[str, Any], request: Request) -> dict[str, Any]:
    return _transformers(_vit(tensors, config, request), config, "vit")


def _fit_window(stage: int) -> Fit:
    def fit(table: Tensor, config: Any, facts: Mapping[str, Any], request: Request) -> tuple[Tensor, str]:
        del request
        window = config.windows()[stage]
        had = facts["window_size"]
        if window == (had, had):
            return table, ""
        rows = (2 * window[0] - 1) * (2 * window[1] - 1)
        resized = resize_rel_pos_bias_table(table.float(), window, (rows, table.shape[1])).to(table.dtype)
        return resized, f"relative positions of windows {had} by {had} -> {window[0]} by {window[1]}, interpolated"

    return fit


def _fit_positions(table: Tensor, config: Any, facts: Mapping[str, Any], request: Request) -> tuple[Tensor, str]:
    del request
    grid = config.grid
    size = facts.get("img_size", config.img_size)
    had = tuple(side // facts["patch_size"] for side in size)
    if had == grid:
        return table, ""
    resized = resample_abs_pos_embed(table.float(), list(grid), list(had)).to(table.dtype)
    return resized, f"positions {had[0]} by {had[1]} -> {grid[0]} by {grid[1]}, interpolated"


_SWIN_FIT = {
    f"net.layers.{stage}.blocks.{block}.attn.relative_position_bias_table": _fit_window(stage)
    for stage in range(_STAGES)
    for block in range(_MOST_BLOCKS)
}
_VIT_FIT: Mapping[str, Fit] = {"net.pos_embed": _fit_positions}

_SWIN_KEYS = {
    r"(patch_embed\.(?:proj|norm)\.(?:weight|bias)|norm\.(?:weight|bias))": r"net.\1",
    r"(layers\.\d+\.blocks\.\d+\.(?:norm[12]|mlp\.fc[12]|attn\.(?:qkv|proj))\.(?:weight|bias))": r"net.\1",
    r"(layers\.\d+\.blocks\.\d+\.attn\.relative_position_bias_table)": r"net.\1",
    r"head\.(?:fc\.)?(weight|bias)": r"head.\1",
}
_COMPUTED = {r".*(?:attn_mask|relative_position_index)": "computed from the sizes"}
_DOWN = r"downsample\.(norm\.(?:weight|bias)|reduction\.weight)"
_BLOCK = r"(?:swin\.)?encoder\.layers\.(\d+)\.blocks\.(\d+)\."
_LAYER = r"(?:vit\.)?(?:encoder\.layer|layers)\.(\d+)\."

FORMATS = (
    ForeignFormat(
        name="timm_swin",
        summary="timm's Swin, whose stages begin with the merging of patches",
        published="mit",
        sign=r"layers\.3\.downsample\.reduction\.weight|head\.fc\.weight",
        keys={**_SWIN_KEYS, rf"(layers\.\d+\.{_DOWN})": r"net.\1"},
        left=_COMPUTED,
        facts=_swin,
        fit=_SWIN_FIT,
    ),
    ForeignFormat(
        name="original_swin",
        summary="the authors' Swin (microsoft/Swin-Transformer), whose stages end with the merging of patches",
        published="mit",
        sign=r"layers\.0\.downsample\.reduction\.weight",
        keys={**_SWIN_KEYS, **{rf"layers\.{k}\.{_DOWN}": rf"net.layers.{k + 1}.downsample.\1" for k in range(_STAGES)}},
        left=_COMPUTED,
        facts=_swin,
        fit=_SWIN_FIT,
    ),
    ForeignFormat(
        name="transformers_swin",
        summary="transformers' Swin, in both generations of its names (attention.self.query, attention.q_proj)",
        published="apache-2.0",
        sign=r"(?:swin\.)?embeddings\.norm\.weight",
        keys={
            r"(?:swin\.)?embeddings\.patch_embeddings\.projection\.(weight|bias)": r"net.patch_embed.proj.\1",
            r"(?:swin\.)?embeddings\.norm\.(weight|bias)": r"net.patch_embed.norm.\1",
            **{
                rf"(?:swin\.)?encoder\.layers\.{k}\.{_DOWN}": rf"net.layers.{k + 1}.downsample.\1"
                for k in range(_STAGES)
            },
            _BLOCK + r"layernorm_before\.(weight|bias)": r"net.layers.\1.blocks.\2.norm1.\3",
            _BLOCK + r"layernorm_after\.(weight|bias)": r"net.layers.\1.blocks.\2.norm2.\3",
            **{
                _BLOCK + rf"attention\.(?:self\.{old}|{new})\.(weight|bias)": (
                    rf"net.layers.\1.blocks.\2.attn.qkv.\3@{part}"
                )
                for part, (old, new) in enumerate((("query", "q_proj"), ("key", "k_proj"), ("value", "v_proj")))
            },
            _BLOCK + r"attention\.(?:self|relative_position_bias)\.(relative_position_bias_table)": (
                r"net.layers.\1.blocks.\2.attn.\3"
            ),
            _BLOCK + r"attention\.(?:output\.dense|o_proj)\.(weight|bias)": r"net.layers.\1.blocks.\2.attn.proj.\3",
            _BLOCK + r"(?:intermediate\.dense|mlp\.fc1)\.(weight|bias)": r"net.layers.\1.blocks.\2.mlp.fc1.\3",
            _BLOCK + r"(?:output\.dense|mlp\.fc2)\.(weight|bias)": r"net.layers.\1.blocks.\2.mlp.fc2.\3",
            r"(?:swin\.)?layernorm\.(weight|bias)": r"net.norm.\1",
            r"classifier\.(weight|bias)": r"head.\1",
        },
        left={
            **_COMPUTED,
            r"(?:swin\.)?embeddings\.mask_token|decoder\..+": "for the pre-training with masked patches",
        },
        facts=_swin_transformers,
        fit=_SWIN_FIT,
        needs_config=True,
    ),
    ForeignFormat(
        name="timm_vit",
        summary="timm's ViT, whose names DeiT's and MAE's repositories share",
        published="apache-2.0",
        sign=r"cls_token",
        keys={
            r"(cls_token|pos_embed|patch_embed\.proj\.(?:weight|bias)|norm\.(?:weight|bias))": r"net.\1",
            r"(blocks\.\d+\.(?:norm[12]|mlp\.fc[12]|attn\.(?:qkv|proj))\.(?:weight|bias))": r"net.\1",
            r"head\.(weight|bias)": r"head.\1",
        },
        left={r"decoder_.+|mask_token": "the decoder of MAE's pre-training"},
        facts=_vit,
        fit=_VIT_FIT,
        unread={"num_heads": "embed_dim"},
    ),
    ForeignFormat(
        name="transformers_vit",
        summary="transformers' ViT, in both generations of its names (attention.attention.query, attention.q_proj)",
        published="apache-2.0",
        sign=r"(?:vit\.)?embeddings\.cls_token",
        keys={
            r"(?:vit\.)?embeddings\.cls_token": r"net.cls_token",
            r"(?:vit\.)?embeddings\.position_embeddings": r"net.pos_embed",
            r"(?:vit\.)?embeddings\.patch_embeddings\.projection\.(weight|bias)": r"net.patch_embed.proj.\1",
            _LAYER + r"layernorm_before\.(weight|bias)": r"net.blocks.\1.norm1.\2",
            _LAYER + r"layernorm_after\.(weight|bias)": r"net.blocks.\1.norm2.\2",
            **{
                _LAYER + rf"attention\.(?:attention\.{old}|{new})\.(weight|bias)": rf"net.blocks.\1.attn.qkv.\2@{part}"
                for part, (old, new) in enumerate((("query", "q_proj"), ("key", "k_proj"), ("value", "v_proj")))
            },
            _LAYER + r"attention\.(?:output\.dense|o_proj)\.(weight|bias)": r"net.blocks.\1.attn.proj.\2",
            _LAYER + r"(?:intermediate\.dense|mlp\.fc1)\.(weight|bias)": r"net.blocks.\1.mlp.fc1.\2",
            _LAYER + r"(?:output\.dense|mlp\.fc2)\.(weight|bias)": r"net.blocks.\1.mlp.fc2.\2",
            r"(?:vit\.)?layernorm\.(weight|bias)": r"net.norm.\1",
            r"classifier\.(weight|bias)": r"head.\1",
        },
        left={
            r"(?:vit\.)?pooler\.dense\.(?:weight|bias)": "transformers' pooler, which its classifier does not read",
            r"(?:vit\.)?embeddings\.mask_token|decoder\..+": "for the pre-training with masked patches",
        },
        facts=_vit_transformers,
        fit=_VIT_FIT,
        needs_config=True,
    ),
)
