"""The foreign layout of HiCMAE: the authors' repository, fine-tuned or pre-trained."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from torch import Tensor

from evermodels.checkpoints.foreign_format import ForeignFormat, Request, axes, spread_to
from evermodels.core.config import Config
from evermodels.core.errors import CheckpointError

_BLOCK = (
    r"(blocks\.\d+\.(?:norm[12]\.(?:weight|bias)|gamma_[12]|attn\.(?:qkv\.weight|q_bias|v_bias|proj\.weight|proj\.bias)"
    r"|mlp\.fc[12]\.(?:weight|bias)))"
)
_FUSION = (
    r"(\d+\.(?:(?:cross_norm[12]|norm[12]|mlp\.fc[12]|cross_attn\.proj|attn\.proj)\.(?:weight|bias)"
    r"|cross_attn\.(?:q\.weight|kv\.weight|q_bias|v_bias)|attn\.(?:qkv\.weight|q_bias|v_bias)))"
)
_DECODER = "a decoder or projection of the pre-training"


def _count(tensors: Mapping[str, Tensor], prefix: str) -> int:
    return len({name.removeprefix(prefix).split(".")[0] for name in tensors if name.startswith(prefix)})


def _facts(heard: str) -> Callable[[Mapping[str, Tensor], Mapping[str, Any], Request], dict[str, Any]]:
    def facts(tensors: Mapping[str, Tensor], config: Mapping[str, Any], request: Request) -> dict[str, Any]:
        del config
        video, audio = "video_encoder.", f"{heard}_encoder."
        dim, _, tubelet, height, width = axes(tensors, video + "patch_embed.proj.weight", 5)
        other, _, *patch = axes(tensors, audio + "patch_embed.proj.weight", 4)
        if dim != other or height != width:
            raise CheckpointError(
                f"patch_embed.proj.weight: expected square patches and one width of both encoders, got {height} by "
                f"{width}, {dim} and {other} wide."
            )
        heads = {"num_heads": dim // 64} if dim % 64 == 0 else {}  # of every published size
        heads |= {key: request.config[key] for key in ("num_heads",) if key in request.config}
        shared = {
            "embed_dim": dim,
            "mlp_ratio": axes(tensors, video + "blocks.0.mlp.fc1.weight", 2)[0] / dim,
            "qkv_bias": video + "blocks.0.attn.q_bias" in tensors,
            "init_values": 1.0 if video + "blocks.0.gamma_1" in tensors else 0.0,
            **heads,
        }
        return {
            "dim": dim,
            **heads,
            "fusion_depth": _count(tensors, "fusion.video."),
            "mlp_ratio": axes(tensors, "fusion.video.0.mlp.fc1.weight", 2)[0] / dim,
            "num_classes": axes(tensors, "head.weight", 2)[0] if "head.weight" in tensors else 0,
            "encoders": {
                "video": {
                    "name": "videomae_base",
                    "config": {
                        **shared,
                        "depth": _count(tensors, video + "blocks."),
                        "tubelet_size": tubelet,
                        "patch_size": height,
                    },
                },
                heard: {
                    "name": "spectrogram_vit_base",
                    "config": {
                        **shared,
                        "depth": _count(tensors, audio + "blocks."),
                        "patch_size": (patch[1], patch[0]),
                    },
                },
            },
        }

    return facts


def _channels(heard: str) -> Callable[[Tensor, Config, Mapping[str, Any], Request], tuple[Tensor, str]]:
    def fit(weight: Tensor, config: Any, facts: Mapping[str, Any], request: Request) -> tuple[Tensor, str]:
        """Spread the one channel of sound over electrodes, where asked for."""
        del facts
        return spread_to(weight, len(config.ch_names) if heard == "eeg" else 1, request)

    return fit


def _fresh(names: Collection[str]) -> dict[str, str]:
    found = {"absent.": "the learned tokens of absent modalities are ours", "spectrogram.": "the statistics are ours"}
    if not any(name.startswith("head.") for name in names):
        why = "not in the file: as fine-tuning starts"
        found |= {"fc_norm.": why, "level_weight.": why, "fusion_norm.": why}
    return found


def formats(heard: str) -> tuple[ForeignFormat, ...]:
    """Return the layouts for a model that reads sound, or EEG in its place.

    Args:
        heard: ``"audio"`` or ``"eeg"``.
    """
    return (
        ForeignFormat(
            name="original",
            summary="HiCMAE's repository (sunlicai/HiCMAE), fine-tuned or pre-trained",
            published="mit",
            sign=r"encoder_audio\.patch_embed\.proj\.weight",
            keys={
                r"encoder\.(patch_embed\.proj\.(?:weight|bias))": r"video_encoder.\1",
                r"encoder\." + _BLOCK: r"video_encoder.\1",
                r"encoder\.norm\.(weight|bias)": r"video_encoder.fc_norm.\1",
                r"encoder_audio\.(patch_embed\.proj\.(?:weight|bias))": rf"{heard}_encoder.\1",
                r"encoder_audio\." + _BLOCK: rf"{heard}_encoder.\1",
                r"encoder_audio\.norm\.(weight|bias)": rf"{heard}_encoder.fc_norm.\1",
                r"encoder_fusion\.blocks\." + _FUSION: r"fusion.video.\1",
                r"encoder_fusion\.blocks_audio\." + _FUSION: rf"fusion.{heard}.\1",
                r"encoder_fusion\.norm\.(weight|bias)": r"fusion_norm.video.\1",
                r"encoder_fusion\.norm_audio\.(weight|bias)": rf"fusion_norm.{heard}.\1",
                r"video_layer_weights": r"level_weight.video",
                r"audio_layer_weights": rf"level_weight.{heard}",
                r"((?:fc_norm|head)\.(?:weight|bias))": r"\1",
            },
            left={r"(?:decoder|encoder_to_decoder|mask_token|contrastive)\w*(?:\..+)?": _DECODER},
            facts=_facts(heard),
            fresh=_fresh,
            fit={f"{heard}_encoder.patch_embed.proj.weight": _channels(heard)},
            unread={"num_heads": "dim"},
        ),
    )
