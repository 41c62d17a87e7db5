"""Foreign layouts of Crossformer: the encoder of the authors' forecaster, Time-Series-Library's classifier."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from evermodels.backbones.eeg.series_foreign import PARTS, asked, attention_keys, fit_head
from evermodels.checkpoints.foreign_format import Fit, ForeignFormat, Request, axes
from evermodels.core.config import MOST_BLOCKS
from evermodels.core.errors import ConfigError

_LAYER = "scales.0.layers.0."
_MOST_LAYERS = 8  # of a scale; published models have one


def _sizes(tensors: Mapping[str, Tensor], request: Request) -> dict[str, Any]:
    _, channels, segments, dim = axes(tensors, "pos_embed", 4)
    _, length = axes(tensors, "segment_embed.weight", 2)
    merge = "scales.1.merge.proj.weight"
    return {
        "in_chans": channels,
        "num_samples": asked(request, "num_samples", segments * length),
        "embed_dim": dim,
        "segment_size": length,
        "merge_size": axes(tensors, merge, 2)[1] // dim if merge in tensors else 2,
        "num_routers": axes(tensors, _LAYER + "router", 3)[1],
        "depth": len({name.split(".")[1] for name in tensors if name.startswith("scales.")}),
        "layers_per_scale": len({name.split(".")[3] for name in tensors if name.startswith("scales.0.layers.")}),
        "mlp_ratio": axes(tensors, _LAYER + "mlp1.fc1.weight", 2)[0] / dim,
        "scale": "none",
    }


def _authors(tensors: Mapping[str, Tensor], config: Mapping[str, Any], request: Request) -> dict[str, Any]:
    del config
    form = {"padding": "start", "segment_bias": True, "sinusoid": False, "num_classes": 0}
    return {**_sizes(tensors, request), **form}


def _library(tensors: Mapping[str, Tensor], config: Mapping[str, Any], request: Request) -> dict[str, Any]:
    del config
    classes = axes(tensors, "head.weight", 2)[0] if "head.weight" in tensors else 0
    form = {"padding": "end", "segment_bias": False, "sinusoid": True, "pool": "flatten", "num_classes": classes}
    return {**_sizes(tensors, request), **form}


def resample_positions(table: Tensor, segments: int) -> Tensor:
    """Bring positions to another number of segments, linear along time.

    Args:
        table: ``(1, channels, n, dim)``.
        segments: The number wanted.

    Example:
        >>> import torch
        >>> resample_positions(torch.zeros(1, 19, 20, 8), 30).shape
        torch.Size([1, 19, 30, 8])
    """
    flat = table.flatten(0, 1).double().mT
    return F.interpolate(flat, size=segments, mode="linear").mT.to(table.dtype).unflatten(0, table.shape[:2])


def resample_routers(table: Tensor, segments: int) -> Tensor:
    """Bring routers to another number of segments, linear along time.

    Args:
        table: ``(n, routers, dim)``.
        segments: The number wanted.

    Example:
        >>> import torch
        >>> resample_routers(torch.zeros(20, 4, 8), 30).shape
        torch.Size([30, 4, 8])
    """
    flat = table.flatten(1).T[None].double()
    return F.interpolate(flat, size=segments, mode="linear")[0].T.to(table.dtype).unflatten(1, table.shape[1:])


def _positions(table: Tensor, config: Any, facts: Mapping[str, Any], request: Request) -> tuple[Tensor, str]:
    """Bring positions to other windows by interpolation; to other channels only when asked for, as their mean."""
    channels, segments = config.in_chans, config.segments[0]
    how = []
    if facts["in_chans"] != channels:
        if not request.spread_channels:
            raise ConfigError(
                f"in_chans: expected {facts['in_chans']} as in the file, whose channels have learned positions, got "
                f"{channels}. Leave it out, or give every channel the mean of the file's positions with "
                "--spread-channels (spread_channels=True): a start for fine-tuning only."
            )
        table = table.mean(dim=1, keepdim=True).expand(-1, channels, -1, -1)
        how.append(f"{facts['in_chans']} -> {channels} channels, each the mean")
    if (had := table.shape[2]) != segments:
        table = resample_positions(table, segments)
        how.append(f"{had} -> {segments} segments, linear")
    return table.contiguous(), ", ".join(how)


def _routers(scale: int) -> Fit:
    def fit(table: Tensor, config: Any, facts: Mapping[str, Any], request: Request) -> tuple[Tensor, str]:
        del facts, request
        want = config.segments[scale] if scale < config.depth else table.shape[0]
        if table.ndim != 3 or table.shape[0] == want:
            return table, ""
        return resample_routers(table, want).contiguous(), f"routers of {table.shape[0]} -> {want} segments, linear"

    return fit


def _head(weight: Tensor, config: Any, facts: Mapping[str, Any], request: Request) -> tuple[Tensor, str]:
    grid = (config.in_chans, config.segments[-1])
    return fit_head(weight, config, facts, request, grid)


_THEIRS = r"encoder\.encode_blocks\.(\d+)\.encode_layers\.(\d+)\."
_OURS = r"scales.\1.layers.\2."
_KEYS = {
    r"enc_pos_embedding": "pos_embed",
    r"pre_norm\.(weight|bias)": r"pre_norm.\1",
    r"encoder\.encode_blocks\.(\d+)\.merge_layer\.norm\.(weight|bias)": r"scales.\1.merge.norm.\2",
    r"encoder\.encode_blocks\.(\d+)\.merge_layer\.linear_trans\.(weight|bias)": r"scales.\1.merge.proj.\2",
    _THEIRS + r"router": _OURS + "router",
    _THEIRS + r"norm([1-4])\.(weight|bias)": _OURS + r"norm\3.\4",
    _THEIRS + r"MLP([12])\.0\.(weight|bias)": _OURS + r"mlp\3.fc1.\4",
    _THEIRS + r"MLP([12])\.2\.(weight|bias)": _OURS + r"mlp\3.fc2.\4",
    **attention_keys(_THEIRS + r"time_attention\.", _OURS + "time_attn."),
    **{
        _THEIRS + rf"dim_{name}\.{part}_projection\.(weight|bias)": _OURS + rf"{name}.{target}"
        for name in ("sender", "receiver")
        for part, target in zip(PARTS, (r"q.\3", r"kv.\3@0", r"kv.\3@1"), strict=True)
    },
    _THEIRS + r"dim_(sender|receiver)\.out_projection\.(weight|bias)": _OURS + r"\3.proj.\4",
}
_LEFT = {r"decoder\..+|dec_pos_embedding": "the decoder, which forecasts"}
_FIT = {
    "pos_embed": _positions,
    **{
        f"scales.{scale}.layers.{layer}.router": _routers(scale)
        for scale in range(MOST_BLOCKS)
        for layer in range(_MOST_LAYERS)
    },
}

FORMATS = (
    ForeignFormat(
        name="original",
        summary="the authors' repository (Thinklab-SJTU/Crossformer), whose encoder is taken",
        published="apache-2.0 for the code; check the weights' own",
        sign=r"enc_value_embedding\.linear\.weight",
        keys={**_KEYS, r"enc_value_embedding\.linear\.(weight|bias)": r"segment_embed.\1"},
        left=_LEFT,
        facts=_authors,
        fit=_FIT,
        unread={"num_heads": "embed_dim"},
    ),
    ForeignFormat(
        name="time_series_library",
        summary="Time-Series-Library's classifier (thuml/Time-Series-Library, models/Crossformer.py)",
        published="mit for the code; no weights are published",
        sign=r"enc_value_embedding\.value_embedding\.weight",
        keys={
            **_KEYS,
            r"enc_value_embedding\.value_embedding\.weight": "segment_embed.weight",
            r"projection\.(weight|bias)": r"head.\1",
        },
        left={**_LEFT, r".*\.pe": "the fixed table of positions, which is computed"},
        facts=_library,
        fit={**_FIT, "head.weight": _head},
        unread={"num_heads": "embed_dim"},
    ),
)
