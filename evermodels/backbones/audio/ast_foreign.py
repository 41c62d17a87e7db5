"""Foreign layouts of AST: the authors' repository, and both key generations of transformers; position tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from evermodels.checkpoints.foreign_format import ForeignFormat, Request, axes, transformers_classes
from evermodels.core.errors import CheckpointError, ConfigError

MEL_BINS = 128  # of every model that the authors publish
AUTHORS_FRAMES = (1024, 128, 512)  # AudioSet, Speech Commands, ESC-50
_PREFIX_TOKENS = 2


def resample_positions(table: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    """Bring a table of positions to another grid of patches, as AST's authors do.

    Frames first, then mel bands: an axis that gets shorter is cut around its middle, one that gets longer is
    interpolated bilinearly. The rows of the class and the distillation token stay.

    Args:
        table: ``(1, 2 + mels · frames, dim)``, mel bands first, then frames.
        old: Its patches along mel bands and frames.
        new: The grid to bring it to.

    Returns:
        ``(1, 2 + mels · frames, dim)`` of the new grid.

    Example:
        >>> resample_positions(torch.zeros(1, 2 + 12 * 101, 8), (12, 101), (12, 49)).shape
        torch.Size([1, 590, 8])
    """
    rows, columns = new
    x = rearrange(table[:, _PREFIX_TOKENS:], "1 (mels frames) dim -> 1 dim mels frames", mels=old[0])
    if columns <= old[1]:
        x = x.narrow(3, old[1] // 2 - columns // 2, columns)
    else:
        x = F.interpolate(x, size=(old[0], columns), mode="bilinear")
    if rows <= old[0]:
        x = x.narrow(2, old[0] // 2 - rows // 2, rows)
    else:
        x = F.interpolate(x, size=(rows, columns), mode="bilinear")
    x = rearrange(x, "1 dim mels frames -> 1 (mels frames) dim")
    return torch.cat([table[:, :_PREFIX_TOKENS], x], dim=1)


def _sizes(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    dim, in_chans, height, width = axes(tensors, "patch_embed.proj.weight", 4)
    if height != width or in_chans != 1:
        raise CheckpointError(
            f"patch_embed.proj.weight: expected square patches of one channel, got {in_chans} channels of {height} by "
            f"{width}. The file holds another model than AST."
        )
    return {
        "embed_dim": dim,
        "patch_size": height,
        "depth": len({name.split(".")[1] for name in tensors if name.startswith("blocks.")}),
        "mlp_ratio": axes(tensors, "blocks.0.mlp.fc1.weight", 2)[0] / dim,
        "qkv_bias": "blocks.0.attn.qkv.bias" in tensors,
        "num_classes": axes(tensors, "head.fc.weight", 2)[0] if "head.fc.weight" in tensors else 0,
    }


def _steps(request: Request) -> tuple[int, int]:
    stride = request.config.get("stride", (10, 10))
    good = isinstance(stride, (list, tuple)) and len(stride) == 2 and all(type(n) is int and n > 0 for n in stride)
    return tuple(stride) if good else (10, 10)  # what is no pair is refused with the configuration


def _original(tensors: Mapping[str, Tensor], config: Mapping[str, Any], request: Request) -> dict[str, Any]:
    del config
    sizes, (down, along) = _sizes(tensors), _steps(request)
    positions, patch = axes(tensors, "pos_embed", 3)[1] - _PREFIX_TOKENS, sizes["patch_size"]
    if request.source_size is not None:
        mels, frames = request.source_size
        return {**sizes, "num_mels": mels, "num_frames": frames}
    rows = (MEL_BINS - patch) // down + 1
    for frames in AUTHORS_FRAMES:
        if rows * ((frames - patch) // along + 1) == positions:
            return {**sizes, "num_mels": MEL_BINS, "num_frames": frames}
    raise ConfigError(
        f"source_size: {positions} positions are not those of {MEL_BINS} mel bands and "
        f"{', '.join(map(str, AUTHORS_FRAMES))} frames in steps of {down} by {along}. Say what spectrogram the file "
        "was trained on, with --source-size MELS FRAMES, and its steps with --set 'stride=[M, F]'."
    )


def _transformers(tensors: Mapping[str, Tensor], config: Mapping[str, Any], request: Request) -> dict[str, Any]:
    del request
    try:
        facts = {
            **_sizes(tensors),
            "num_heads": config["num_attention_heads"],
            "num_frames": config["max_length"],
            "num_mels": config["num_mel_bins"],
            "stride": (config["frequency_stride"], config["time_stride"]),
            "norm_eps": config["layer_norm_eps"],
            "head_norm_eps": config["layer_norm_eps"],
        }
    except KeyError as error:
        raise CheckpointError(
            f"config.json: no {error}. Give the folder as transformers' save_pretrained wrote it."
        ) from None
    return {**facts, **transformers_classes(config, "audio-spectrogram-transformer", facts["num_classes"])}


def _resample(table: Tensor, config: Any, facts: Mapping[str, Any], request: Request) -> tuple[Tensor, str]:
    del request
    steps = {key: facts[key] for key in ("num_mels", "num_frames", "stride") if key in facts}
    old: tuple[int, int] = config.replace(**steps).grid
    new: tuple[int, int] = config.grid
    if old[0] * old[1] + _PREFIX_TOKENS != table.shape[1]:
        raise CheckpointError(
            f"pos_embed: expected 2 + {old[0]} · {old[1]} positions for {facts['num_mels']} mel bands and "
            f"{facts['num_frames']} frames, got {table.shape[1]}. Say what the file was trained on, with --source-size "
            "MELS FRAMES, and its steps with --set 'stride=[M, F]'."
        )
    if old == new:
        return table, ""
    how = f"{old[0]} by {old[1]} -> {new[0]} by {new[1]} positions, cut around the middle or bilinear"
    return resample_positions(table, old, new), how


_V = r"(?:v\.)?"
_HUGGING = r"(?:audio_spectrogram_transformer\.)?"
_OLD = _HUGGING + r"encoder\.layer\.(\d+)\."
_NEW = _HUGGING + r"layers\.(\d+)\."
_FIT = {"pos_embed": _resample}

FORMATS = (
    ForeignFormat(
        name="original",
        summary="AST's repository (YuanGongND/ast), timm's names behind v.",
        published="bsd-3-clause for the repository; check the weights' own",
        sign=_V + r"dist_token",
        keys={
            _V + r"(cls_token|dist_token|pos_embed)": r"\1",
            _V + r"((?:patch_embed\.proj|norm)\.(?:weight|bias))": r"\1",
            _V + r"(blocks\.\d+\.(?:norm[12]|attn\.qkv|attn\.proj|mlp\.fc[12])\.(?:weight|bias))": r"\1",
            r"mlp_head\.0\.(weight|bias)": r"head.norm.\1",
            r"mlp_head\.1\.(weight|bias)": r"head.fc.\1",
            r"(head\.(?:norm|fc)\.(?:weight|bias))": r"\1",
        },
        left={r"v\.head(?:_dist)?\.(?:weight|bias)": "DeiT's heads for ImageNet, which AST does not use"},
        facts=_original,
        fit=_FIT,
        unread={"num_heads": "embed_dim"},
        asks_size=True,
    ),
    ForeignFormat(
        name="transformers",
        summary="transformers' AST, in both generations of its names",
        published="bsd-3-clause",
        sign=_HUGGING + r"embeddings\.distillation_token",
        keys={
            _HUGGING + r"embeddings\.cls_token": r"cls_token",
            _HUGGING + r"embeddings\.distillation_token": r"dist_token",
            _HUGGING + r"embeddings\.position_embeddings": r"pos_embed",
            _HUGGING + r"embeddings\.patch_embeddings\.projection\.(weight|bias)": r"patch_embed.proj.\1",
            _OLD + r"layernorm_before\.(weight|bias)": r"blocks.\1.norm1.\2",
            _OLD + r"layernorm_after\.(weight|bias)": r"blocks.\1.norm2.\2",
            _OLD + r"attention\.attention\.query\.(weight|bias)": r"blocks.\1.attn.qkv.\2@0",
            _OLD + r"attention\.attention\.key\.(weight|bias)": r"blocks.\1.attn.qkv.\2@1",
            _OLD + r"attention\.attention\.value\.(weight|bias)": r"blocks.\1.attn.qkv.\2@2",
            _OLD + r"attention\.output\.dense\.(weight|bias)": r"blocks.\1.attn.proj.\2",
            _OLD + r"intermediate\.dense\.(weight|bias)": r"blocks.\1.mlp.fc1.\2",
            _OLD + r"output\.dense\.(weight|bias)": r"blocks.\1.mlp.fc2.\2",
            _NEW + r"layernorm_before\.(weight|bias)": r"blocks.\1.norm1.\2",
            _NEW + r"layernorm_after\.(weight|bias)": r"blocks.\1.norm2.\2",
            _NEW + r"attention\.q_proj\.(weight|bias)": r"blocks.\1.attn.qkv.\2@0",
            _NEW + r"attention\.k_proj\.(weight|bias)": r"blocks.\1.attn.qkv.\2@1",
            _NEW + r"attention\.v_proj\.(weight|bias)": r"blocks.\1.attn.qkv.\2@2",
            _NEW + r"attention\.o_proj\.(weight|bias)": r"blocks.\1.attn.proj.\2",
            _NEW + r"mlp\.(fc[12])\.(weight|bias)": r"blocks.\1.mlp.\2.\3",
            _HUGGING + r"layernorm\.(weight|bias)": r"norm.\1",
            r"classifier\.layernorm\.(weight|bias)": r"head.norm.\1",
            r"classifier\.dense\.(weight|bias)": r"head.fc.\1",
        },
        facts=_transformers,
        fit=_FIT,
        needs_config=True,
    ),
)
