"""The foreign layout of iTransformer: Time-Series-Library's classifier."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from evermodels.backbones.eeg.series_foreign import (
    POINTWISE,
    attention_keys,
    channels_of_head,
    fit_head,
    layer_facts,
    layer_keys,
)
from evermodels.checkpoints.foreign_format import ForeignFormat, Request, axes


def _facts(tensors: Mapping[str, Tensor], config: Mapping[str, Any], request: Request) -> dict[str, Any]:
    del config, request
    facts = layer_facts(tensors)
    dim, samples = axes(tensors, "embed.weight", 2)
    facts |= {"num_samples": samples, "scale": "none", "pool": "flatten"}
    if facts["num_classes"]:
        facts["in_chans"] = channels_of_head(axes(tensors, "head.weight", 2)[1], dim, "a channel")
    return facts


def _head(weight: Tensor, config: Any, facts: Mapping[str, Any], request: Request) -> tuple[Tensor, str]:
    return fit_head(weight, config, facts, request, (config.in_chans, 1))


FORMATS = (
    ForeignFormat(
        name="time_series_library",
        summary="Time-Series-Library's classifier (thuml/Time-Series-Library, models/iTransformer.py)",
        published="mit for the code; no weights are published",
        sign=r"enc_embedding\.value_embedding\.weight",
        keys={
            r"enc_embedding\.value_embedding\.(weight|bias)": r"embed.\1",
            **attention_keys(r"encoder\.attn_layers\.(\d+)\.attention\.", r"blocks.\1.attn."),
            **layer_keys(),
            r"encoder\.norm\.(weight|bias)": r"norm.\1",
            r"projection\.(weight|bias)": r"head.\1",
        },
        facts=_facts,
        fit={**POINTWISE, "head.weight": _head},
        unread={"num_heads": "embed_dim"},
    ),
)
