"""The foreign layout of masked brain signal modelling: DreamDiffusion's repository."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from evermodels.checkpoints.foreign_format import ForeignFormat, Request, axes, spread_channels


def _facts(tensors: Mapping[str, Tensor], config: Mapping[str, Any], request: Request) -> dict[str, Any]:
    del config, request
    dim, in_chans, patch = axes(tensors, "patch_embed.proj.weight", 3)
    return {
        "channels": "fixed",
        "ch_names": (),
        "in_chans": in_chans,
        "patch_size": patch,
        "embed_dim": dim,
        "depth": len({name.split(".")[1] for name in tensors if name.startswith("blocks.")}),
        "mlp_ratio": axes(tensors, "blocks.0.mlp.fc1.weight", 2)[0] / dim,
        "num_classes": 0,
    }


FORMATS = (
    ForeignFormat(
        name="original",
        summary="DreamDiffusion's repository (bbaaii/DreamDiffusion), the pre-trained autoencoder or its encoder",
        published="mit",
        sign=r"(?:module\.|model\.)*patch_embed\.proj\.weight",
        keys={
            r"(?:module\.|model\.)*(patch_embed\.proj\.(?:weight|bias))": r"\1",
            r"(?:module\.|model\.)*(blocks\.\d+\.norm[12]\.(?:weight|bias))": r"\1",
            r"(?:module\.|model\.)*(blocks\.\d+\.attn\.(?:qkv|proj)\.(?:weight|bias))": r"\1",
            r"(?:module\.|model\.)*(blocks\.\d+\.mlp\.fc[12]\.(?:weight|bias))": r"\1",
            r"(?:module\.|model\.)*(norm\.(?:weight|bias))": r"\1",
        },
        left={
            r"(?:module\.|model\.)*pos_embed": "the fixed table of positions, which is computed",
            r"(?:module\.|model\.)*(?:decoder_.+|mask_token)": "the decoder of the pre-training",
            r"(?:module\.|model\.)*cls_token": "the class token of the pre-training, which the encoder alone has not",
            r"(?:module\.|model\.)*nature_image_decoder.+|.*logit_scale": "for pre-training only",
        },
        facts=_facts,
        fit={"patch_embed.proj.weight": spread_channels},
        unread={"num_heads": "embed_dim", "num_samples": "patch_size"},
    ),
)
