"""What the tests of the time-series encoders share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn


def relative(ours: Tensor, reference: Tensor) -> float:
    """Return max|Δ| / max|reference|."""
    assert ours.shape == reference.shape
    return ((ours.detach() - reference.detach()).abs().max() / reference.detach().abs().max()).item()


def foreign_file(weights: Mapping[str, Tensor], folder: Path) -> Path:
    """Write weights as the authors' training scripts do, with DataParallel's prefix."""
    path = folder / "checkpoint.pth"
    torch.save({f"module.{key}": value for key, value in weights.items()}, path)
    return path


def float32_sinusoid(length: int, dim: int) -> Tensor:
    """Return the position table as the references round it; ours is rounded once, from float64."""
    step = torch.exp(torch.arange(0, dim, 2).float() * -(math.log(10000.0) / dim))
    angle = torch.arange(length).float()[:, None] * step
    return torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1)[None].double()


def gradients(model: nn.Module, numbers: Mapping[str, Mapping[str, Tensor]], names: Mapping[str, str]) -> float:
    """Return the largest relative error of the parameters' gradients; of a joined projection the file has one part."""
    worst = 0.0
    assert {name for name in numbers["grad"] if not name.startswith("input/")} == set(names)
    for theirs, ours in names.items():
        expected = numbers["grad"][theirs]
        got = model.get_parameter(ours).grad
        for k, part in enumerate(("query", "key", "value")):
            if f"{part}_projection" in theirs and "qkv" in ours:
                got = got.chunk(3)[k]
        worst = max(worst, relative(got.view_as(expected), expected))
    return worst


def fill(model: nn.Module) -> nn.Module:
    """Draw parameters and running statistics anew, so that none is zero or one."""
    with torch.no_grad():
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if tensor.is_floating_point():
                tensor.normal_(1.0, 0.2) if name.endswith(("running_var", "norm.weight")) else tensor.normal_(0, 0.3)
                if name.endswith("running_var"):
                    tensor.abs_()
    return model


def no_dropout(model: nn.Module) -> nn.Module:
    """Switch every dropout off."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if hasattr(module, "attn_drop"):
            module.attn_drop = 0.0
    return model
