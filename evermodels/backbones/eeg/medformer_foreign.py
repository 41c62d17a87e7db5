"""The foreign layout of Medformer: the authors' repository."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from evermodels.backbones.eeg.series_foreign import (
    POINTWISE,
    asked,
    attention_keys,
    channels_of_head,
    layer_facts,
    layer_keys,
    window_of,
)
from evermodels.checkpoints.foreign_format import Fit, ForeignFormat, Request, axes, spread_channels
from evermodels.core.errors import CheckpointError, ConfigError

_MOST_SIZES = 100


def _facts(tensors: Mapping[str, Tensor], config: Mapping[str, Any], request: Request) -> dict[str, Any]:
    del config
    sizes: list[int] = []
    facts, channels = layer_facts(tensors), 1
    while (name := f"patch_embeds.{len(sizes)}.weight") in tensors:
        _, _, channels, size = axes(tensors, name, 4)
        sizes.append(size)
    if not sizes:
        raise CheckpointError("patch_embeds.0.weight: expected in the foreign file. It holds another model.")
    single = bool(request.config.get("single_channel", False)) and channels == 1
    facts |= {
        "patch_sizes": tuple(sizes),
        "inter_attention": any(".attn.inter." in key for key in tensors),
        "single_channel": single,
        "num_samples": window_of(request, "the fixed waves that tell the channels are as long"),
        "scale": "none",
        "pool": "flatten",
    }
    if facts["num_classes"]:
        width = axes(tensors, "head.weight", 2)[1]
        groups = channels_of_head(width, facts["embed_dim"] * len(sizes), "a channel")
        single = facts["single_channel"] = channels == 1 and (single or groups > 1)
        channels = groups if single else channels
    elif single:
        channels = asked(request, "in_chans", 1)
    return {**facts, "in_chans": channels}


def _patches(weight: Tensor, config: Any, facts: Mapping[str, Any], request: Request) -> tuple[Tensor, str]:
    """Take a convolution over channels and time for the one over time that it is."""
    weight = weight[:, 0] if weight.ndim == 4 and weight.shape[1] == 1 else weight
    if config.single_channel:
        return weight, ""
    return spread_channels(weight, config, facts, request)


def _head(weight: Tensor, config: Any, facts: Mapping[str, Any], request: Request) -> tuple[Tensor, str]:
    del request
    channels: int = config.in_chans
    if facts["single_channel"] and channels != facts["in_chans"]:
        raise ConfigError(
            f"in_chans: expected {facts['in_chans']} as in the file, whose head has weights for each channel, got "
            f"{channels}. Take the encoder alone with --num-classes 0."
        )
    return weight, ""


def _granularities() -> dict[str, str]:
    return {
        rf"enc_embedding\.learnable_embeddings\.{k}": f"granularity@{k}" for k in range(_MOST_SIZES)
    }  # one vector each in the file, one matrix in ours


_INTRA = r"encoder\.attn_layers\.(\d+)\.attention\.intra_attentions\.(\d+)\."
_INTER = r"encoder\.attn_layers\.(\d+)\.attention\.inter_attention\."
_FIT: dict[str, Fit] = {f"patch_embeds.{k}.weight": _patches for k in range(_MOST_SIZES)}

FORMATS = (
    ForeignFormat(
        name="original",
        summary="the authors' repository (DL4mHealth/Medformer)",
        published="mit for the code; no weights are published",
        sign=r"enc_embedding\.value_embeddings\.0\.tokenConv\.weight",
        keys={
            r"enc_embedding\.value_embeddings\.(\d+)\.tokenConv\.weight": r"patch_embeds.\1.weight",
            **_granularities(),
            **attention_keys(_INTRA, r"blocks.\1.attn.intra.\2."),
            **attention_keys(_INTER, r"blocks.\1.attn.inter."),
            **layer_keys(),
            r"encoder\.norm\.(weight|bias)": r"norm.\1",
            r"projection\.(weight|bias)": r"head.\1",
        },
        left={r".*\.pe": "the fixed tables of channels and positions, which are computed"},
        facts=_facts,
        fit={**POINTWISE, **_FIT, "head.weight": _head},
        unread={"num_heads": "embed_dim"},
    ),
)
