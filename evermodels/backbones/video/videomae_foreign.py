"""Foreign layouts of VideoMAE and AdaMAE: the authors' repositories, and both key generations of transformers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from torch import Tensor

from evermodels.checkpoints.foreign_format import ForeignFormat, Request, axes, spread_channels, transformers_classes
from evermodels.core.errors import CheckpointError

_DECODER = "the decoder of the pre-training"
_NORM = "norm of the pre-training's encoder; the fine-tuning form has one behind the pooling instead"


def _sizes(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return what the shapes tell; the layout of the tensors is the same in all files."""
    dim, in_chans, tubelet, height, width = axes(tensors, "patch_embed.proj.weight", 5)
    if height != width:
        raise CheckpointError(f"patch_embed.proj.weight: expected square patches, got {height} by {width}.")
    blocks = {name.split(".")[1] for name in tensors if name.startswith("blocks.")}
    return {
        "embed_dim": dim,
        "in_chans": in_chans,
        "tubelet_size": tubelet,
        "patch_size": height,
        "depth": len(blocks),
        "mlp_ratio": axes(tensors, "blocks.0.mlp.fc1.weight", 2)[0] / dim,
        "qkv_bias": "blocks.0.attn.q_bias" in tensors,
        # Where there is a layer scale, its values are in the file; the start of it is only an on or off.
        "init_values": 1.0 if "blocks.0.gamma_1" in tensors else 0.0,
        "num_classes": axes(tensors, "head.weight", 2)[0] if "head.weight" in tensors else 0,
    }


def _original(tensors: Mapping[str, Tensor], config: Mapping[str, Any], request: Request) -> dict[str, Any]:
    del config, request
    return _sizes(tensors)


def _transformers(tensors: Mapping[str, Tensor], config: Mapping[str, Any], request: Request) -> dict[str, Any]:
    del request
    try:
        size = config["image_size"]
        facts = {
            **_sizes(tensors),
            "num_heads": config["num_attention_heads"],
            "num_frames": config["num_frames"],
            "img_size": (size, size) if isinstance(size, int) else size,
            "norm_eps": config["layer_norm_eps"],
            "fc_norm_eps": 1e-5,  # transformers makes this one with torch's default
        }
    except KeyError as error:
        raise CheckpointError(
            f"config.json: no {error}. Give the folder as transformers' save_pretrained wrote it."
        ) from None
    return {**facts, **transformers_classes(config, "videomae", facts["num_classes"])}


def _fresh(names: Collection[str]) -> dict[str, str]:
    # A head that came without fc_norm reads the first token, not the mean: then its absence is a fault.
    if any(name.startswith("head.") for name in names):
        return {}
    return {"fc_norm.": "not in the file: weight 1 and bias 0, as fine-tuning starts"}


_STEM = r"(?:encoder\.|backbone\.)?"
_HUGGING = r"(?:videomae\.)?"
_LAYER = _HUGGING + r"encoder\.layer\.(\d+)\."
_FIT = {"patch_embed.proj.weight": spread_channels}

FORMATS = (
    ForeignFormat(
        name="original",
        summary="VideoMAE's and AdaMAE's repositories (MCG-NJU/VideoMAE, wgcban/adamae), fine-tuned or pre-trained",
        published="VideoMAE cc-by-nc-4.0, AdaMAE mit",
        sign=_STEM + r"patch_embed\.proj\.weight",
        keys={
            _STEM + r"(patch_embed\.proj\.(?:weight|bias))": r"\1",
            _STEM + r"(blocks\.\d+\.(?:norm[12]\.(?:weight|bias)|gamma_[12]))": r"\1",
            _STEM + r"(blocks\.\d+\.attn\.(?:qkv\.weight|q_bias|v_bias|proj\.weight|proj\.bias))": r"\1",
            _STEM + r"(blocks\.\d+\.mlp\.fc[12]\.(?:weight|bias))": r"\1",
            _STEM + r"((?:fc_norm|head)\.(?:weight|bias))": r"\1",
        },
        left={
            _STEM + r"norm\.(?:weight|bias)": _NORM,
            r"decoder\..+|encoder_to_decoder\.weight|mask_token": _DECODER,
            r"encoder\.(?:pos_embed_probs|get_token_probs\..+)": "AdaMAE's choice of tokens, for pre-training only",
        },
        facts=_original,
        fresh=_fresh,
        fit=_FIT,
        unread={"num_heads": "embed_dim"},
    ),
    ForeignFormat(
        name="transformers",
        summary="transformers' VideoMAE, in both generations of its names (q_bias, v_bias or query.bias, value.bias)",
        published="cc-by-nc-4.0",
        sign=_HUGGING + r"embeddings\.patch_embeddings\.projection\.weight",
        keys={
            _HUGGING + r"embeddings\.patch_embeddings\.projection\.(weight|bias)": r"patch_embed.proj.\1",
            _LAYER + r"layernorm_before\.(weight|bias)": r"blocks.\1.norm1.\2",
            _LAYER + r"layernorm_after\.(weight|bias)": r"blocks.\1.norm2.\2",
            _LAYER + r"attention\.attention\.query\.weight": r"blocks.\1.attn.qkv.weight@0",
            _LAYER + r"attention\.attention\.key\.weight": r"blocks.\1.attn.qkv.weight@1",
            _LAYER + r"attention\.attention\.value\.weight": r"blocks.\1.attn.qkv.weight@2",
            _LAYER + r"attention\.attention\.(?:q_bias|query\.bias)": r"blocks.\1.attn.q_bias",
            _LAYER + r"attention\.attention\.(?:v_bias|value\.bias)": r"blocks.\1.attn.v_bias",
            _LAYER + r"attention\.output\.dense\.(weight|bias)": r"blocks.\1.attn.proj.\2",
            _LAYER + r"intermediate\.dense\.(weight|bias)": r"blocks.\1.mlp.fc1.\2",
            _LAYER + r"output\.dense\.(weight|bias)": r"blocks.\1.mlp.fc2.\2",
            r"fc_norm\.(weight|bias)": r"fc_norm.\1",
            r"classifier\.(weight|bias)": r"head.\1",
        },
        left={
            _HUGGING + r"layernorm\.(?:weight|bias)": _NORM,
            r"decoder\..+|encoder_to_decoder\.weight|mask_token": _DECODER,
        },
        facts=_transformers,
        fresh=_fresh,
        fit=_FIT,
        needs_config=True,
    ),
)
