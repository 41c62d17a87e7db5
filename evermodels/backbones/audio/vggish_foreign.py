"""Foreign layout of VGGish: the PyTorch release of its weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from evermodels.checkpoints.foreign_format import ForeignFormat, Request, axes
from evermodels.core.errors import CheckpointError

_FRAMES, _HALVED = 96, 16


def _release(tensors: Mapping[str, Tensor], config: Mapping[str, Any], request: Request) -> dict[str, Any]:
    del config, request
    channels, kernel = axes(tensors, "features.0.weight", 4)[1], axes(tensors, "features.0.weight", 4)[2]
    convs = [f"features.{k}.weight" for k in (0, 3, 6, 8, 11, 13)]
    widths = [axes(tensors, name, 4)[0] for name in convs]
    if (channels, kernel) != (1, 3) or widths[2] != widths[3] or widths[4] != widths[5]:
        raise CheckpointError(
            f"features: expected convolutions of 3 by 3 from one channel, two in the last stages, got {channels} "
            f"channels, a kernel of {kernel} and the widths {widths}. The file holds another model than VGGish."
        )
    linear = [axes(tensors, f"embeddings.{k}.weight", 2) for k in (0, 2, 4)]
    places = widths[5] * (_FRAMES // _HALVED)
    if linear[0][1] % places:
        raise CheckpointError(
            f"embeddings.0.weight: expected a width that {places} divides ({_FRAMES} frames, {widths[5]} channels), "
            f"got {linear[0][1]}. The file holds another model than VGGish."
        )
    return {
        "widths": (widths[0], widths[1], widths[2], widths[4]),
        "convs": (1, 1, 2, 2),
        "num_mels": _HALVED * linear[0][1] // places,
        "example_frames": _FRAMES,
        "hidden": (linear[0][0], linear[1][0]),
        "embed_dim": linear[2][0],
    }


FORMATS = (
    ForeignFormat(
        name="torchvggish",
        summary="the PyTorch release of VGGish's weights (harritaylor/torchvggish)",
        published="apache-2.0",
        sign=r"embeddings\.4\.weight",
        keys={
            r"(features\.\d+\.(?:weight|bias))": r"\1",
            r"(embeddings\.[024]\.(?:weight|bias))": r"\1",
        },
        left={r"pproc\..+": "the principal components for YouTube-8M, which come after the embedding"},
        facts=_release,
        fresh=lambda names: {"head.": "a new head for your classes"},
    ),
)
