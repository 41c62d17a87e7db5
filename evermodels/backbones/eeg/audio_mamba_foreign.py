"""The foreign layout of Audio-Mamba: the authors' repository."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from evermodels.checkpoints.foreign_format import ForeignFormat, Request, axes, spread_channels
from evermodels.core.errors import CheckpointError, ConfigError

MEL_BINS = 128  # of every model that the authors publish


def _facts(tensors: Mapping[str, Tensor], config: Mapping[str, Any], request: Request) -> dict[str, Any]:
    del config
    dim, in_chans, *patch = axes(tensors, "patch_embed.proj.weight", 4)
    mixer = "layers.0.mixer."
    inner, state = axes(tensors, mixer + "A_log", 2)
    direction = "bi_bi" if mixer + "D_b" in tensors else "fo_bi" if mixer + "A_b_log" in tensors else "fo_fo"
    return {
        "embed_dim": dim,
        "in_chans": in_chans,
        "patch_size": tuple(patch),
        "input_size": _input_size(axes(tensors, "pos_embed.pos_embed", 3)[1] - 1, patch, request),
        "depth": len({name.split(".")[1] for name in tensors if name.startswith("layers.")}),
        "direction": direction,
        "state_size": state,
        "conv_size": axes(tensors, mixer + "conv1d.weight", 3)[2],
        "expand": inner // dim,
        "dt_rank": axes(tensors, mixer + "dt_proj.weight", 2)[1],
        "num_classes": axes(tensors, "head.weight", 2)[0] if "head.weight" in tensors else 0,
    }


def _input_size(positions: int, patch: list[int], request: Request) -> tuple[int, int]:
    """Return the spectrogram's size in the file: as given, or 128 mel bins and the frames that the positions imply."""
    if request.source_size is not None:
        return request.source_size
    stride = request.config.get("stride")
    steps = list(stride) if isinstance(stride, (list, tuple)) else []
    if len(steps) != 2 or not all(type(n) is int and n > 0 for n in steps):
        steps = patch  # what is no pair is refused with the configuration
    rows = (MEL_BINS - patch[0]) // steps[0] + 1
    if rows < 1 or positions % rows:
        raise ConfigError(
            f"source_size: {positions} positions are no rows of {MEL_BINS} mel bins in patches of {patch[0]} by "
            f"{patch[1]}. Say what spectrogram the file was trained on, with --source-size FREQUENCIES FRAMES."
        )
    return MEL_BINS, (positions // rows - 1) * steps[1] + patch[1]


def resample_positions(table: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    """Bring a table of positions to another grid of patches, bilinear with antialiasing as the reference does.

    Args:
        table: ``(1, 1 + rows · columns, dim)``; the first row belongs to the class token and stays.
        old: Its patches along frequency and time.
        new: The grid to bring it to.

    Example:
        >>> import torch
        >>> resample_positions(torch.zeros(1, 1 + 8 * 64, 4), (8, 64), (4, 10)).shape
        torch.Size([1, 41, 4])
    """
    from timm.layers import resample_abs_pos_embed

    return resample_abs_pos_embed(table, list(new), list(old), num_prefix_tokens=1, interpolation="bilinear")


def _resample(table: Tensor, config: Any, facts: Mapping[str, Any], request: Request) -> tuple[Tensor, str]:
    """Bring the position table to the configuration's grid."""
    del request
    old: tuple[int, int] = config.replace(input_size=facts["input_size"]).grid
    new: tuple[int, int] = config.grid
    if old[0] * old[1] + 1 != table.shape[1]:
        frequency, time = facts["input_size"]
        raise CheckpointError(
            f"pos_embed.pos_embed: expected 1 + {old[0]} · {old[1]} positions for a spectrogram of {frequency} by "
            f"{time}, got {table.shape[1]}. Say what the file was trained on, with --source-size FREQUENCIES FRAMES."
        )
    if old == new:
        return table, ""
    how = f"{old[0]} by {old[1]} -> {new[0]} by {new[1]} positions, bilinear; the class token's kept"
    return resample_positions(table, old, new), how


FORMATS = (
    ForeignFormat(
        name="original",
        summary="Audio-Mamba's repository (kaistmm/Audio-Mamba-AuM)",
        published="bsd-3-clause for the repository; check the weights' own",
        sign=r"pos_embed\.pos_embed",
        keys={
            r"(cls_token|pos_embed\.pos_embed|norm_f\.weight|(?:patch_embed\.proj|head)\.(?:weight|bias))": r"\1",
            r"(layers\.\d+\.(?:norm\.weight|mixer\.(?:A_log|A_b_log|D|D_b)))": r"\1",
            r"(layers\.\d+\.mixer\.(?:in_proj|out_proj|x_proj|x_proj_b)\.weight)": r"\1",
            r"(layers\.\d+\.mixer\.(?:conv1d|conv1d_b|dt_proj|dt_proj_b)\.(?:weight|bias))": r"\1",
        },
        facts=_facts,
        fit={"patch_embed.proj.weight": spread_channels, "pos_embed.pos_embed": _resample},
        asks_size=True,
    ),
)
