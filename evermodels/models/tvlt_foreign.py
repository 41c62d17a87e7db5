"""Foreign layouts of TVLT: the authors' repository, and transformers up to 4.40."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from torch import Tensor

from evermodels.backbones.audiovisual.tvlt_patches import (
    FramePatches,
    FramePatchesConfig,
    SpectrogramPatches,
    SpectrogramPatchesConfig,
    moments,
    stretched,
)
from evermodels.checkpoints.foreign_format import ForeignFormat, Request, axes, spread_to, transformers_classes
from evermodels.core.config import Config
from evermodels.core.errors import CheckpointError, ConfigError

Fit = Callable[[Tensor, Config, Mapping[str, Any], Request], "tuple[Tensor, str]"]

_DECODER = "the decoder of the pre-training"
_HEAD = "a head of another task"
_LAYER = r"(?:tvlt\.)?encoder\.layer\.(\d+)\."


def _sizes(tensors: Mapping[str, Tensor], heard: str, request: Request) -> dict[str, Any]:
    """Return what the shapes tell."""
    dim, _, height, width = axes(tensors, "video_encoder.proj.weight", 4)
    if height != width:
        raise CheckpointError(f"patch_embed_v.proj.weight: expected square patches, got {height} by {width}.")
    _, _, *patch = axes(tensors, f"{heard}_encoder.patch_embed.proj.weight", 4)
    heads = {"num_heads": dim // 64} if dim % 64 == 0 else {}  # of every published size
    heads |= {key: request.config[key] for key in ("num_heads",) if key in request.config}
    return {
        "dim": dim,
        **heads,
        "depth": len({name.split(".")[1] for name in tensors if name.startswith("blocks.")}),
        "mlp_ratio": axes(tensors, "blocks.0.mlp.fc1.weight", 2)[0] / dim,
        "pooler": "pooler.weight" in tensors,
        "num_classes": axes(tensors, "head.3.weight", 2)[0] if "head.3.weight" in tensors else 0,
        "encoders": {
            "video": {"name": "frame_patches_base", "config": {"embed_dim": dim, "patch_size": height}},
            heard: {
                "name": "spectrogram_patches_base",
                "config": {"embed_dim": dim, "patch_size": (patch[1], patch[0])},
            },
        },
    }


def _original(heard: str) -> Callable[[Mapping[str, Tensor], Mapping[str, Any], Request], dict[str, Any]]:
    def facts(tensors: Mapping[str, Tensor], config: Mapping[str, Any], request: Request) -> dict[str, Any]:
        del config
        found = _sizes(tensors, heard, request)
        if not found["num_classes"]:
            del found["pooler"]  # it belongs to the classifier: pre-trained files have none
        return {**found, "class_token": "first_patch"}

    return facts


def _transformers(heard: str) -> Callable[[Mapping[str, Tensor], Mapping[str, Any], Request], dict[str, Any]]:
    def facts(tensors: Mapping[str, Tensor], config: Mapping[str, Any], request: Request) -> dict[str, Any]:
        found = _sizes(tensors, heard, request)
        try:
            eps = config["layer_norm_eps"]
            found |= {"num_heads": config["num_attention_heads"], "norm_eps": eps, "head_norm_eps": eps, "blank": None}
        except KeyError as error:
            raise CheckpointError(
                f"config.json: no {error}. Give the folder as transformers' save_pretrained wrote it."
            ) from None
        return {**found, **transformers_classes(config, "tvlt", found["num_classes"])}

    return facts


def _fresh(names: Collection[str]) -> dict[str, str]:
    found = {"absent.": "the learned tokens of absent modalities are ours", "spectrogram.": "the statistics are ours"}
    if not any(name.startswith("head.") for name in names):
        found["pooler."] = "not in the file: as fine-tuning starts"
    return found


def _flat(weight: Tensor, config: Any, facts: Mapping[str, Any], request: Request) -> tuple[Tensor, str]:
    """A vector of one modality stands in a table of one row there."""
    del config, facts, request
    return weight.reshape(-1), ""


def _channels(heard: str) -> Fit:
    def fit(weight: Tensor, config: Any, facts: Mapping[str, Any], request: Request) -> tuple[Tensor, str]:
        """Spread the one channel of sound over electrodes, where asked for."""
        del facts
        return spread_to(weight, len(config.ch_names) if heard == "eeg" else 1, request)

    return fit


def _grid(config: Any, modality: str) -> tuple[int, ...]:
    """Return the grid of a modality's tokens: frames, rows, columns; or moments, rows."""
    spec, own = config.input_spec, config.encoders[modality].config
    if modality == "video":
        return FramePatchesConfig(**{**own, **FramePatches.sizes_for(spec.shape(modality))}).grid
    shape = (len(config.ch_names), *config.spectrogram_size)
    if modality == "audio":
        frames, mels = spec.shape(modality)
        shape = (1, mels, frames)
    return SpectrogramPatchesConfig(**{**own, **SpectrogramPatches.sizes_for(shape)}).grid


def _first(modality: str, axis: int, what: str) -> Fit:
    """Take the first rows of a table over time, as the reference does; resample one that is too short."""

    def fit(table: Tensor, config: Any, facts: Mapping[str, Any], request: Request) -> tuple[Tensor, str]:
        del facts, request
        want, have = _grid(config, modality)[axis], table.shape[1]
        how = f"the first {want} of {have} {what}" if have > want else f"{have} -> {want} {what}, linear"
        return moments(table, want), "" if have == want else how

    return fit


def _rows(modality: str) -> Fit:
    def fit(table: Tensor, config: Any, facts: Mapping[str, Any], request: Request) -> tuple[Tensor, str]:
        """Resample the positions along frequency: they cover all bands, however many."""
        del facts, request
        want, have = _grid(config, modality)[1], table.shape[1]
        return stretched(table, want), "" if have == want else f"{have} -> {want} frequencies, linear"

    return fit


def _picture(table: Tensor, config: Any, facts: Mapping[str, Any], request: Request) -> tuple[Tensor, str]:
    """Bring the positions in a frame to another size of picture, bicubic with antialiasing."""
    del facts, request
    _, rows, columns = _grid(config, "video")
    if table.shape[1] == rows * columns:
        return table, ""
    side = round(table.shape[1] ** 0.5)
    if side * side != table.shape[1]:
        raise ConfigError(
            f"pos_embed_v: {table.shape[1]} positions are no square picture, so they cannot be resampled."
        )
    from timm.layers import resample_abs_pos_embed

    resampled = resample_abs_pos_embed(table, [rows, columns], [side, side], num_prefix_tokens=0)
    return resampled, f"{side} by {side} -> {rows} by {columns} positions, bicubic"


def _fits(heard: str) -> dict[str, Fit]:
    return {
        f"{heard}_encoder.patch_embed.proj.weight": _channels(heard),
        f"{heard}_encoder.pos_embed": _first(heard, 0, "moments"),
        f"{heard}_encoder.freq_embed": _rows(heard),
        "video_encoder.temporal_embed": _first("video", 0, "frames"),
        "video_encoder.pos_embed": _picture,
        f"type_embed.{heard}": _flat,
        "type_embed.video": _flat,
    }


def formats(heard: str) -> tuple[ForeignFormat, ...]:
    """Return the layouts for a model that reads sound, or EEG in its place.

    Args:
        heard: ``"audio"`` or ``"eeg"``.
    """
    pixel, audio = r"(?:tvlt\.)?pixel_embeddings\.", r"(?:tvlt\.)?audio_embeddings\."
    qkv = {
        _LAYER + rf"attention\.attention\.{name}\.(weight|bias)": rf"blocks.\1.attn.qkv.\2@{k}"
        for k, name in enumerate(("query", "key", "value"))
    }
    return (
        ForeignFormat(
            name="original",
            summary="TVLT's repository (zinengtang/TVLT), fine-tuned or pre-trained",
            published="mit",
            sign=r"(?:transformer\.)?patch_embed_a\.proj\.weight",
            keys={
                r"(?:transformer\.)?(cls_token)": r"\1",
                r"(?:transformer\.)?"
                r"(blocks\.\d+\.(?:norm[12]|attn\.qkv|attn\.proj|mlp\.fc[12])\.(?:weight|bias))": r"\1",
                r"(?:transformer\.)?(norm\.(?:weight|bias))": r"\1",
                r"(?:transformer\.)?patch_embed_v\.proj\.(weight|bias)": r"video_encoder.proj.\1",
                r"(?:transformer\.)?pos_embed_v": r"video_encoder.pos_embed",
                r"(?:transformer\.)?temporal_embed": r"video_encoder.temporal_embed",
                r"(?:transformer\.)?type_embed_v": r"type_embed.video",
                r"(?:transformer\.)?patch_embed_a\.proj\.(weight|bias)": rf"{heard}_encoder.patch_embed.proj.\1",
                r"(?:transformer\.)?pos_embed_a": rf"{heard}_encoder.pos_embed",
                r"(?:transformer\.)?freq_embed": rf"{heard}_encoder.freq_embed",
                r"(?:transformer\.)?type_embed_a": rf"type_embed.{heard}",
                r"classifier\.0\.dense\.(weight|bias)": r"pooler.\1",
                r"classifier\.1\.(weight|bias)": r"head.0.\1",
                r"classifier\.2\.(weight|bias)": r"head.1.\1",
                r"classifier\.4\.(weight|bias)": r"head.3.\1",
            },
            left={
                r"(?:transformer\.)?(?:decoder_\w+|mask_token_[av])(?:\..+)?": _DECODER,
                r"mae_score_\w+\..+": _DECODER,
                r"(?:matching_score|vqa_classifier|rank_output|mlm_score|text_embeddings)\..+": _HEAD,
            },
            facts=_original(heard),
            fresh=_fresh,
            fit=_fits(heard),
            unread={"num_heads": "dim"},
        ),
        ForeignFormat(
            name="transformers",
            summary="transformers' TVLT (up to 4.40; newer releases have none)",
            published="mit",
            sign=audio + r"patch_embeddings\.projection\.weight",
            keys={
                r"(?:tvlt\.)?cls_embedding": r"cls_token",
                **qkv,
                _LAYER + r"layernorm_before\.(weight|bias)": r"blocks.\1.norm1.\2",
                _LAYER + r"layernorm_after\.(weight|bias)": r"blocks.\1.norm2.\2",
                _LAYER + r"attention\.output\.dense\.(weight|bias)": r"blocks.\1.attn.proj.\2",
                _LAYER + r"intermediate\.dense\.(weight|bias)": r"blocks.\1.mlp.fc1.\2",
                _LAYER + r"output\.dense\.(weight|bias)": r"blocks.\1.mlp.fc2.\2",
                r"(?:tvlt\.)?layernorm\.(weight|bias)": r"norm.\1",
                pixel + r"patch_embeddings\.projection\.(weight|bias)": r"video_encoder.proj.\1",
                pixel + r"pos_embed_v": r"video_encoder.pos_embed",
                pixel + r"temporal_embed": r"video_encoder.temporal_embed",
                pixel + r"type_embed_v": r"type_embed.video",
                audio + r"patch_embeddings\.projection\.(weight|bias)": rf"{heard}_encoder.patch_embed.proj.\1",
                audio + r"pos_embed_a": rf"{heard}_encoder.pos_embed",
                audio + r"freq_embed": rf"{heard}_encoder.freq_embed",
                audio + r"type_embed_a": rf"type_embed.{heard}",
                r"classifier\.([013])\.(weight|bias)": r"head.\1.\2",
            },
            left={
                r"(?:decoder|encoder_to_decoder|pixel_mae_head|audio_mae_head)\..+": _DECODER,
                r"decoder_\w+|(?:pixel|audio)_mask_token": _DECODER,
                r"matching_head\..+": _HEAD,
            },
            facts=_transformers(heard),
            fresh=_fresh,
            fit=_fits(heard),
            needs_config=True,
        ),
    )
