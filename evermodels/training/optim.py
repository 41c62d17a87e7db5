"""Parameter groups, the learning rate over the steps, and the moving average of the weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from evermodels.training.settings import OptimSettings

_NO_DECAY_NAMES = ("token", "pos_embed", "A_log", "A_b_log")


def _decays(name: str, parameter: nn.Parameter, listed: set[str]) -> bool:
    last = name.rpartition(".")[2]
    if parameter.ndim <= 1 or name in listed or getattr(parameter, "_no_weight_decay", False):
        return False
    return not any(part in last for part in _NO_DECAY_NAMES)


def parameter_groups(model: nn.Module, settings: OptimSettings) -> list[dict[str, Any]]:
    """Split a system's trainable parameters by learning rate and by weight decay, each into exactly one group.

    The encoders are the sub-modules ``video_encoder`` and ``eeg_encoder``. Norms, biases and all other vectors and
    scalars, tokens, position tables and scan states are not decayed, nor is what a module lists in timm's
    ``no_weight_decay()``.

    Args:
        model: The system.
        settings: Rates and decay.

    Returns:
        Groups for an optimiser: ``name``, ``params``, ``lr``, ``weight_decay``; none is empty.

    Example:
        >>> model = nn.ModuleDict({"eeg_encoder": nn.Linear(2, 2), "head": nn.Linear(2, 2)})
        >>> for g in parameter_groups(model, OptimSettings()):
        ...     print(g["name"], len(g["params"]), g["lr"], g["weight_decay"])
        eeg_encoder 1 0.0002 0.05
        eeg_encoder, no decay 1 0.0002 0.0
        rest 1 0.0002 0.05
        rest, no decay 1 0.0002 0.0
    """
    listed = {
        f"{prefix}.{name}" if prefix else name
        for prefix, module in model.named_modules()
        if callable(names := getattr(module, "no_weight_decay", None))
        for name in names()
    }
    groups: dict[str, dict[str, Any]] = {}
    for part in ("video_encoder", "eeg_encoder", "rest"):
        rate = getattr(settings.lr, part)
        groups[part] = {"name": part, "params": [], "lr": rate, "weight_decay": settings.weight_decay}
        groups[f"{part}, no decay"] = {"name": f"{part}, no decay", "params": [], "lr": rate, "weight_decay": 0.0}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            first = name.partition(".")[0]
            part = first if first in ("video_encoder", "eeg_encoder") else "rest"
            groups[part if _decays(name, parameter, listed) else f"{part}, no decay"]["params"].append(parameter)
    return [group for group in groups.values() if group["params"]]


def learning_rate_factor(settings: OptimSettings, steps_per_epoch: int, peak: float = 1.0) -> Callable[[int], float]:
    r"""Return the factor on a peak learning rate at each step: linear warm-up, then cosine with warm restarts.

    EVER, section 4.1 and A.2 (Loshchilov & Hutter, 2017, eq. 5): after the warm-up, at step t of a period of T steps,

    .. math:: \eta = \eta_{min} + \tfrac12 (\eta_{max} - \eta_{min}) (1 + \cos(\pi t / T))

    and each period is ``restart_mult`` times as long as the one before. Warm-up and period lengths are choices.

    Args:
        settings: ``epochs``, ``warmup_epochs``, ``restart_epochs``, ``restart_mult``, ``min_lr``.
        steps_per_epoch: Optimiser steps in an epoch.
        peak: The peak rate, which ``min_lr`` is relative to.

    Returns:
        A function from the step, counted from 0, to the factor.

    Example:
        >>> factor = learning_rate_factor(OptimSettings(epochs=3, warmup_epochs=1, restart_epochs=1), 10)
        >>> [round(factor(step), 3) for step in (0, 5, 10, 15, 20)]
        [0.01, 0.505, 1.0, 0.5, 1.0]
    """
    warmup = round(settings.warmup_epochs * steps_per_epoch)
    left = max(1, settings.epochs * steps_per_epoch - warmup)
    first = left if settings.restart_epochs is None else max(1, round(settings.restart_epochs * steps_per_epoch))
    floor = min(1.0, settings.min_lr / peak) if peak > 0 else 0.0

    def factor(step: int) -> float:
        if step < warmup:
            return 0.01 + 0.99 * step / warmup
        place, period = step - warmup, first
        while place >= period:
            place, period = place - period, period * settings.restart_mult
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * place / period))

    return factor


def make_optimizer(
    model: nn.Module, settings: OptimSettings, steps_per_epoch: int
) -> tuple[torch.optim.AdamW, torch.optim.lr_scheduler.LambdaLR]:
    """Return AdamW over the parameter groups, and its schedule, which is stepped after every optimiser step.

    Args:
        model: The system.
        settings: The recipe's section.
        steps_per_epoch: Optimiser steps in an epoch.

    Example:
        >>> optimizer, schedule = make_optimizer(nn.Linear(2, 2), OptimSettings(epochs=2, warmup_epochs=1), 10)
        >>> [round(group["lr"], 8) for group in optimizer.param_groups]  # a hundredth, at the first step
        [2e-06, 2e-06]
    """
    groups = parameter_groups(model, settings)
    optimizer = torch.optim.AdamW(groups, betas=settings.betas, eps=settings.eps)
    factors = [learning_rate_factor(settings, steps_per_epoch, group["lr"]) for group in groups]
    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, factors)


class MovingAverage(torch.optim.swa_utils.AveragedModel):
    r"""Exponential moving average of a model's weights, on top of :class:`torch.optim.swa_utils.AveragedModel`.

    .. math:: \bar\theta \leftarrow d_n \bar\theta + (1 - d_n)\,\theta, \qquad d_n = \min(d, (1 + n) / (10 + n))

    so that short trainings are not held back by their first weights (a choice). Buffers are copied, not averaged.

    Args:
        model: The model; it is copied.
        decay: d.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        super().__init__(model, multi_avg_fn=self._average, use_buffers=False)

    def _average(self, averaged: Any, current: Any, count: Tensor | int) -> None:
        n = int(count)
        torch._foreach_lerp_(averaged, current, 1 - min(self.decay, (1 + n) / (10 + n)))
