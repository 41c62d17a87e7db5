"""Attention over the instances of a bag, and the choice of the K that it weighs most."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from evermodels.core.errors import ConfigError, ShapeError, check_axes
from evermodels.functional._precision import at_least_float32, without_autocast


def _check_mask(mask: Tensor | None, batch: int, instances: int) -> None:
    if mask is None:
        return
    check_axes("mask", mask, "batch instances", batch=batch, instances=instances)
    if mask.dtype != torch.bool:
        raise ConfigError(f"mask: expected bool, got {mask.dtype}. Convert it with .bool().")


def attention_mil_weights(
    x: Tensor,
    v: Tensor,
    w: Tensor,
    *,
    v_bias: Tensor | None = None,
    gate: Tensor | None = None,
    gate_bias: Tensor | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    r"""Weight of each instance of a bag.

    Ilse et al., *Attention-based Deep Multiple Instance Learning* (2018), eq. 8, and with a gate eq. 9; Milmer, eq. 3:

    .. math::
        a_q = \mathrm{softmax}_q \left( w^\top \tanh(V x_q) \right), \qquad
        a_q = \mathrm{softmax}_q \left( w^\top (\tanh(V x_q) \odot \sigma(U x_q)) \right)

    As printed nothing has a bias; the code of Ilse et al. gives V and U one. A bias behind w would change nothing.
    Computed in float32 under autocast and for half-precision input; float64 stays float64.

    Args:
        x: Instances, ``(batch, instances, dim)``.
        v: V, ``(hidden, dim)``.
        w: w, ``(hidden,)``.
        v_bias: Added to :math:`V x_q`, ``(hidden,)``.
        gate: U, ``(hidden, dim)``.
        gate_bias: Added to :math:`U x_q`, ``(hidden,)``.
        mask: Which instances are there, ``(batch, instances)`` bool (default: all). What the others hold reaches no
            value and no gradient, NaN neither.

    Returns:
        ``(batch, instances)``, 0 where masked; sums to 1, or to 0 for a bag in which nothing is there.

    Raises:
        ShapeError: If shapes do not fit.
        ConfigError: If the mask is not bool, or there is a bias of a gate that is not given.

    Example:
        >>> import torch
        >>> from evermodels.functional import attention_mil_weights
        >>> x = torch.tensor([[[0.0], [1.0], [9.0]]])
        >>> there = torch.tensor([[True, True, False]])
        >>> attention_mil_weights(x, torch.ones(1, 1), torch.ones(1), mask=there)  # tanh 1 = 0.7616
        tensor([[0.3183, 0.6817, 0.0000]])
    """
    check_axes("x", x, "batch instances dim")
    check_axes("v", v, "hidden dim", dim=x.shape[2])
    check_axes("w", w, "hidden", hidden=v.shape[0])
    if gate is None and gate_bias is not None:
        raise ConfigError("gate_bias: expected None without a gate. Give gate too.")
    if gate is not None:
        check_axes("gate", gate, "hidden dim", hidden=v.shape[0], dim=x.shape[2])
    for name, bias in (("v_bias", v_bias), ("gate_bias", gate_bias)):
        if bias is not None:
            check_axes(name, bias, "hidden", hidden=v.shape[0])
    _check_mask(mask, x.shape[0], x.shape[1])
    with without_autocast(x):
        x = at_least_float32(x)
        if mask is not None:
            x = torch.where(mask[..., None], x, 0)
        hidden = torch.nn.functional.linear(x, v.to(x), None if v_bias is None else v_bias.to(x)).tanh()
        if gate is not None:
            bias = None if gate_bias is None else gate_bias.to(x)
            hidden = hidden * torch.nn.functional.linear(x, gate.to(x), bias).sigmoid()
        scores = hidden @ w.to(x)
        if mask is None:
            return scores.softmax(dim=1)
        # The lowest number instead of minus infinity: a bag in which nothing is there stays finite.
        weights = scores.masked_fill(~mask, torch.finfo(scores.dtype).min).softmax(dim=1)
        return torch.where(mask, weights, 0)


def top_k_instances(
    x: Tensor,
    weights: Tensor,
    k: int,
    gradient: Literal["straight_through", "none"] = "straight_through",
    *,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    r"""Return the K instances of the largest weight, in the order in which they stand in the bag.

    Milmer, eq. 1-2. Of equal weights the first instances are taken. The choice itself has no gradient, so as printed V
    and w of eq. 3 would never be trained; with ``"straight_through"`` (a choice) each chosen instance is multiplied by
    :math:`1 + a_q - \mathrm{sg}(a_q)`, exactly 1, so that values are those of the hard choice and the gradient reaches
    all weights through their softmax.

    Args:
        x: Instances, ``(batch, instances, …)``, such as ``(batch, frames, tokens, dim)``.
        weights: Weight of each, ``(batch, instances)``.
        k: How many are chosen, 1 to the number of instances.
        gradient: ``"straight_through"``, or ``"none"`` for the choice as printed.
        mask: Which instances are there, ``(batch, instances)`` bool (default: all). Where fewer than K are, all of
            them are chosen, and the rest of the K places hold zeros and the index -1, behind the others.

    Returns:
        The chosen instances, ``(batch, k, …)``, and their indices, ``(batch, k)`` int64, ascending.

    Raises:
        ShapeError: If shapes do not fit.
        ConfigError: If ``k`` or ``gradient`` is impossible, or the mask is not bool.

    Example:
        >>> import torch
        >>> from evermodels.functional import top_k_instances
        >>> x = torch.tensor([[[1.0], [2.0], [3.0], [4.0]]])
        >>> chosen, indices = top_k_instances(x, torch.tensor([[0.4, 0.1, 0.2, 0.3]]), 2)
        >>> chosen.flatten().tolist(), indices.tolist()
        ([1.0, 4.0], [[0, 3]])
    """
    if not isinstance(x, Tensor) or x.ndim < 2:
        raise ShapeError(f"x: expected a tensor (batch, instances, ...), got {getattr(x, 'shape', type(x).__name__)}.")
    batch, instances = x.shape[:2]
    check_axes("weights", weights, "batch instances", batch=batch, instances=instances)
    _check_mask(mask, batch, instances)
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= instances:
        raise ConfigError(f"k: expected 1 to the {instances} instances of a bag, got {k!r}.")
    if gradient not in ("straight_through", "none"):
        raise ConfigError(f"gradient: expected 'straight_through' or 'none', got {gradient!r}.")
    rank = weights.detach()
    if mask is not None:
        rank = rank.masked_fill(~mask, -torch.inf)
    best = rank.argsort(dim=1, descending=True, stable=True)[:, :k]
    there = None if mask is None else mask.gather(1, best)
    # Places without an instance sort behind the others.
    indices = (best if there is None else torch.where(there, best, instances)).sort(dim=1).values
    places = indices.clamp_max(instances - 1)
    rows = torch.arange(batch, device=x.device)[:, None] * instances + places
    chosen = x.flatten(0, 1).index_select(0, rows.flatten()).unflatten(0, (batch, k))  # whole instances, one copy each
    if there is not None:
        full = indices < instances
        chosen = torch.where(full.view(batch, k, *[1] * (x.ndim - 2)), chosen, 0)
        indices = torch.where(full, indices, -1)
    if gradient == "straight_through" and weights.requires_grad:
        a = weights.gather(1, places)
        chosen = chosen * (1 + (a - a.detach())).to(chosen.dtype).view(batch, k, *[1] * (x.ndim - 2))
    return chosen, indices
