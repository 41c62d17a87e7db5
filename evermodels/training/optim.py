"""Parameter groups, optimiser and schedule, and the moving average of the weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from evermodels.core.errors import ConfigError, did_you_mean
from evermodels.core.specs import MODALITIES
from evermodels.training.settings import OptimSettings

_NO_DECAY_NAMES = ("token", "pos_embed", "A_log", "A_b_log")


def _decays(name: str, parameter: nn.Parameter, listed: set[str]) -> bool:
    last = name.rpartition(".")[2]
    if parameter.ndim <= 1 or name in listed or getattr(parameter, "_no_weight_decay", False):
        return False
    return not any(part in last for part in _NO_DECAY_NAMES)


def parameter_groups(model: nn.Module, settings: OptimSettings) -> list[dict[str, Any]]:
    """Split a system's trainable parameters by learning rate and by weight decay, each into exactly one group.

    Norms, biases and all other vectors and scalars, tokens, position tables and scan states are not decayed, nor is
    what a module lists in timm's ``no_weight_decay()``.

    Args:
        model: The system.
        settings: Rates and decay.

    Returns:
        Groups for an optimiser: ``name``, ``params``, ``lr``, ``weight_decay``; none is empty, and what is frozen (a
        rate of 0) is in none.

    Raises:
        ConfigError: If the model has no such sub-module. The encoder of a modality that this model does not take is
            none, and no error: rows of one recipe differ in their modalities.

    Example:
        >>> model = nn.ModuleDict({"eeg_encoder": nn.Linear(2, 2), "head": nn.Linear(2, 2)})
        >>> for g in parameter_groups(model, OptimSettings(lr={"eeg_encoder": 1e-4, "rest": 1e-3})):
        ...     print(g["name"], len(g["params"]), g["lr"], g["weight_decay"])
        eeg_encoder 1 0.0001 0.05
        eeg_encoder, no decay 1 0.0001 0.0
        rest 1 0.001 0.05
        rest, no decay 1 0.001 0.0
    """
    listed = {
        f"{prefix}.{name}" if prefix else name
        for prefix, module in model.named_modules()
        if callable(names := getattr(module, "no_weight_decay", None))
        for name in names()
    }
    parameters = dict(model.named_parameters())
    parts = sorted((part for part in settings.lr if part != "rest"), key=len, reverse=True)
    for part in parts:
        elsewhere = part in {f"{modality}_encoder" for modality in MODALITIES}
        if not elsewhere and not any(_under(name, part) for name in parameters):
            own = list(dict.fromkeys(name.partition(".")[0] for name in parameters))
            raise ConfigError(
                f"optim.lr: {type(model).__name__} has no sub-module {part!r}.{did_you_mean(part, own)} It has "
                f"{', '.join(own)}, what lies in them, and rest."
            )
    groups: dict[str, dict[str, Any]] = {}
    for part in settings.lr:
        for name, decay in ((part, settings.weight_decay), (f"{part}, no decay", 0.0)):
            groups[name] = {"name": name, "params": [], "lr": settings.lr[part], "weight_decay": decay}
    for name, parameter in parameters.items():
        part = next((part for part in parts if _under(name, part)), "rest")
        if parameter.requires_grad and settings.lr[part] > 0:
            groups[part if _decays(name, parameter, listed) else f"{part}, no decay"]["params"].append(parameter)
    return [group for group in groups.values() if group["params"]]


def hold(model: nn.Module, settings: OptimSettings, fresh: Sequence[str] = ()) -> list[nn.Module]:
    """Freeze the sub-modules that have a rate of 0, and return them, so that training keeps them in eval mode.

    Args:
        model: The system.
        settings: The recipe's section.
        fresh: Sub-modules that must not be frozen, since nothing has trained them.

    Raises:
        ConfigError: If one of them is.

    Example:
        >>> model = nn.ModuleDict({"eeg_encoder": nn.Linear(2, 2), "head": nn.Linear(2, 2)})
        >>> hold(model, OptimSettings(lr={"eeg_encoder": 0.0})), model["eeg_encoder"].weight.requires_grad
        ([Linear(in_features=2, out_features=2, bias=True)], False)
    """
    moving = [part for part, rate in settings.lr.items() if rate > 0]
    held = {
        name: module
        for name, module in model.named_modules()
        if name and settings.lr.get(name) == 0 and not any(_under(part, name) for part in moving)
    }
    for name, module in held.items():
        if name in fresh:
            raise ConfigError(
                f"optim.lr.{name}: expected a rate above 0, since the row that this one starts from has no such "
                "sub-module, so its weights are random."
            )
        module.requires_grad_(False)
    return list(held.values())


def _under(name: str, part: str) -> bool:
    return name == part or name.startswith(f"{part}.")


def make_optimizer(
    model: nn.Module, settings: OptimSettings, steps_per_epoch: int
) -> tuple[torch.optim.AdamW, torch.optim.lr_scheduler.LRScheduler]:
    r"""Return AdamW over the parameter groups, and its schedule, which is stepped after every optimiser step.

    The schedule is a linear warm-up, then the cosine with warm restarts (EVER, section 4.1 and A.2; Loshchilov &
    Hutter, 2017, eq. 5): at step t of a period of T steps,

    .. math:: \eta = \eta_{min} + \tfrac12 (\eta_{max} - \eta_{min}) (1 + \cos(\pi t / T))

    and each period is ``restart_mult`` times as long as the one before. Warm-up and period lengths are choices.

    Args:
        model: The system.
        settings: The recipe's section.
        steps_per_epoch: Optimiser steps in an epoch.

    Raises:
        ConfigError: If a rate is of a sub-module that the model does not have, or all are 0.

    Example:
        >>> optimizer, schedule = make_optimizer(nn.Linear(2, 2), OptimSettings(epochs=2, warmup_epochs=1), 10)
        >>> [round(group["lr"], 8) for group in optimizer.param_groups]  # a hundredth, at the first step
        [2e-06, 2e-06]
    """
    groups = parameter_groups(model, settings)
    if not groups:
        raise ConfigError("optim.lr: nothing is left to train. Give a rate above 0 to a sub-module or to rest.")
    optimizer = torch.optim.AdamW(groups, betas=settings.betas, eps=settings.eps)
    warmup = round(settings.warmup_epochs * steps_per_epoch)
    left = max(1, settings.epochs * steps_per_epoch - warmup)
    first = left if settings.restart_epochs is None else max(1, round(settings.restart_epochs * steps_per_epoch))
    schedules = torch.optim.lr_scheduler
    linear = schedules.LinearLR(optimizer, 0.01, total_iters=warmup) if warmup else None
    cosine = schedules.CosineAnnealingWarmRestarts(optimizer, first, settings.restart_mult, settings.min_lr)
    return optimizer, cosine if linear is None else schedules.SequentialLR(optimizer, [linear, cosine], [warmup])


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
