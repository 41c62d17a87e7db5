"""Foreign layouts of PatchTST: Time-Series-Library's classifier; transformers' model, classifier, pre-training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from evermodels.backbones.eeg.series_foreign import (
    POINTWISE,
    asked,
    attention_keys,
    channels_of_head,
    fit_head,
    keeps_head,
    layer_facts,
    layer_keys,
    window_of,
)
from evermodels.checkpoints.foreign_format import ForeignFormat, Request, axes
from evermodels.core.errors import CheckpointError, ConfigError


def _library(tensors: Mapping[str, Tensor], config: Mapping[str, Any], request: Request) -> dict[str, Any]:
    del config
    facts = layer_facts(tensors)
    dim, patch = axes(tensors, "patch_embed.weight", 2)
    stride = asked(request, "stride", max(patch // 2, 1))
    facts |= {
        "patch_size": patch,
        "stride": stride,
        "padding": "end",
        "patch_bias": False,
        "position": "sinusoid",
        "block_norm": "layer",
        "pre_norm": False,
        "final_norm": "batch",
        "scale": "channel",
        "pool": "flatten",
    }
    if keeps_head(facts, request):
        samples = window_of(request, "its head has weights for each patch")
        patches = max(samples + stride - patch, 0) // stride + 1
        width = axes(tensors, "head.weight", 2)[1]
        facts["in_chans"] = channels_of_head(width, dim * patches, f"{samples} samples")
    return facts


def _head(weight: Tensor, config: Any, facts: Mapping[str, Any], request: Request) -> tuple[Tensor, str]:
    if facts["pool"] == "channels":
        return weight, ""
    grid = (config.in_chans, config.num_patches)
    return fit_head(weight, config, facts, request, grid)


def _transformers(tensors: Mapping[str, Tensor], config: Mapping[str, Any], request: Request) -> dict[str, Any]:
    if config.get("model_type") != "patchtst":
        raise CheckpointError(f"config.json: model_type: expected 'patchtst', got {config.get('model_type')!r}.")
    wanted = {
        "activation_function": ("gelu",),
        "channel_attention": (False,),
        "share_embedding": (True,),
        "use_cls_token": (False,),
        "scaling": ("std", True, None, False),
        "pooling_type": ("mean", None),
        "bias": (True,),
    }
    try:
        for key, allowed in wanted.items():
            if config[key] not in allowed:
                raise CheckpointError(
                    f"config.json: {key}: expected {' or '.join(map(repr, allowed))}, got {config[key]!r}, which our "
                    "model has not."
                )
        facts = {
            **layer_facts(tensors),
            "in_chans": config["num_input_channels"],
            "num_samples": config["context_length"],
            "num_heads": config["num_attention_heads"],
            "patch_size": config["patch_length"],
            "stride": config["patch_stride"],
            "norm_eps": config["norm_eps"],
            "block_norm": {"batchnorm": "batch", "layernorm": "layer"}[config["norm_type"]],
            "pre_norm": config["pre_norm"],
            "scale": "channel" if config["scaling"] in ("std", True) else "none",
        }
    except KeyError as error:
        raise CheckpointError(
            f"config.json: no {error}. Give the folder as transformers' save_pretrained wrote it."
        ) from None
    classifies = "PatchTSTForClassification" in (config.get("architectures") or ())
    if facts["num_classes"] and not classifies and "num_classes" not in request.config:
        raise ConfigError(
            "num_classes: the file's head restores or forecasts patches and knows no classes. Say how many there "
            "are to be, with --num-classes N, or 0 for the encoder alone."
        )
    fixed = {"padding": "cut", "patch_bias": True, "position": "learned", "final_norm": "none", "pool": "channels"}
    return {**facts, **fixed}


def _positions(table: Tensor, config: Any, facts: Mapping[str, Any], request: Request) -> tuple[Tensor, str]:
    del request, facts
    if table.ndim == 2:
        table = table[None]
    want: int = config.num_patches
    if table.shape[1] == want:
        return table, ""
    return stretched(table, want), f"{table.shape[1]} -> {want} positions, linear"


def stretched(table: Tensor, length: int) -> Tensor:
    """Return a table of positions for another number of them, interpolated between its rows.

    Args:
        table: ``(1, n, dim)``.
        length: The number wanted.

    Example:
        >>> import torch
        >>> stretched(torch.tensor([[[0.0], [3.0]]]), 4)[0, :, 0]
        tensor([0.0000, 0.7500, 2.2500, 3.0000])
    """
    wide = F.interpolate(table.double().mT, size=length, mode="linear", align_corners=False)
    return wide.mT.to(table.dtype).contiguous()


def _refuse_head(weight: Tensor, config: Any, facts: Mapping[str, Any], request: Request) -> tuple[Tensor, str]:
    del request
    if facts.get("num_classes") and config.in_chans != facts["in_chans"]:
        raise ConfigError(
            f"in_chans: expected {facts['in_chans']} as in the file, whose head has weights for each channel, got "
            f"{config.in_chans}. Take the encoder alone with --num-classes 0."
        )
    return weight, ""


_MODEL = r"(?:model\.)?encoder\."
_LAYER = _MODEL + r"layers\.(\d+)\."

FORMATS = (
    ForeignFormat(
        name="time_series_library",
        summary="Time-Series-Library's classifier (thuml/Time-Series-Library, models/PatchTST.py)",
        published="mit for the code; no weights are published",
        sign=r"patch_embedding\.value_embedding\.weight",
        keys={
            r"patch_embedding\.value_embedding\.weight": r"patch_embed.weight",
            **attention_keys(r"encoder\.attn_layers\.(\d+)\.attention\.", r"blocks.\1.attn."),
            **layer_keys(),
            r"encoder\.norm\.1\.(weight|bias|running_mean|running_var|num_batches_tracked)": r"norm.\1",
            r"projection\.(weight|bias)": r"head.\1",
        },
        left={r".*\.pe": "the fixed table of positions, which is computed"},
        facts=_library,
        fit={**POINTWISE, "head.weight": _head},
        unread={"num_heads": "embed_dim"},
    ),
    ForeignFormat(
        name="transformers",
        summary="transformers' PatchTSTModel, …ForClassification and …ForPretraining",
        published="apache-2.0 for granite-timeseries-patchtst; check the weights' own",
        sign=r"(?:model\.)?encoder\.embedder\.input_embedding\.weight",
        keys={
            _MODEL + r"embedder\.input_embedding\.(weight|bias)": r"patch_embed.\1",
            _MODEL + r"positional_encoder\.position_enc": r"pos_embed",
            **{
                _LAYER + rf"self_attn\.{part}_proj\.(weight|bias)": rf"blocks.\1.attn.qkv.\2@{k}"
                for k, part in enumerate("qkv")
            },
            _LAYER + r"self_attn\.out_proj\.(weight|bias)": r"blocks.\1.attn.proj.\2",
            _LAYER + r"ff\.0\.(weight|bias)": r"blocks.\1.mlp.fc1.\2",
            _LAYER + r"ff\.3\.(weight|bias)": r"blocks.\1.mlp.fc2.\2",
            **{
                _LAYER + rf"norm_sublayer{theirs}\.(?:batchnorm\.)?"
                r"(weight|bias|running_mean|running_var|num_batches_tracked)": rf"blocks.\1.norm{ours}.\2"
                for theirs, ours in ((1, 1), (3, 2))
            },
            r"head\.linear\.(weight|bias)": r"head.\1",
        },
        left={r"head\.projection\..+|head\.projections\..+": "the head of forecasting or pre-training"},
        facts=_transformers,
        fit={"pos_embed": _positions, "head.weight": _refuse_head},
        needs_config=True,
    ),
)
