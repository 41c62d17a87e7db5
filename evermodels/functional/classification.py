"""Losses and weights for classes of unequal size and difficulty."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from evermodels.core.errors import ConfigError, ShapeError, check_axes
from evermodels.functional._precision import at_least_float32


def check_target(logits: Tensor, target: Tensor) -> None:
    """Raise unless ``logits`` is ``(batch, classes)`` and ``target`` holds one class index per sample.

    Args:
        logits: Class scores.
        target: Class indices, int64.

    Raises:
        ShapeError: If shapes do not fit, or an index is no class (the latter on the CPU in eager mode only).
        ConfigError: If ``target`` is not int64.
    """
    check_axes("logits", logits, "batch classes")
    check_axes("target", target, "batch", batch=logits.shape[0])
    if target.dtype != torch.int64:
        raise ConfigError(f"target: expected class indices of dtype int64, got {target.dtype}. Convert with .long().")
    # On an accelerator the check would wait for the device; there the kernel asserts.
    if not torch.compiler.is_compiling() and target.device.type == "cpu":
        low, high = int(target.min()), int(target.max())
        if low < 0 or high >= logits.shape[1]:
            raise ShapeError(
                f"target: expected class indices from 0 to {logits.shape[1] - 1}, got {low if low < 0 else high}. "
                f"Renumber the labels, or build the model with more classes."
            )


def focal_loss(logits: Tensor, target: Tensor, gamma: float = 2.0) -> Tensor:
    r"""Cross-entropy that looks less at samples that are already well classified.

    EVER, section 3.4, eq. 18, the term :math:`L_f` (Lin et al., 2017, eq. 4, in the multi-class form):

    .. math:: L_f = -\frac{1}{N} \sum_i (1 - p_i)^\gamma \log p_i

    with :math:`p_i` the softmax probability of sample i's class. Without class weights: EVER puts those into the
    cross-entropy only (a choice; the paper is silent, as it is on :math:`\gamma`, for which we take Lin's 2).

    Args:
        logits: Class scores, ``(batch, classes)``.
        target: Class indices, int64, ``(batch,)``.
        gamma: Focus, at least 0; 0 is the plain cross-entropy.

    Returns:
        The mean over the batch, a scalar.

    Raises:
        ShapeError: If shapes do not fit, or an index is no class.
        ConfigError: If ``gamma`` is negative, or ``target`` is not int64.

    Example:
        >>> import torch
        >>> from evermodels.functional import focal_loss
        >>> focal_loss(torch.zeros(1, 2), torch.tensor([0]))  # (1/2)**2 * log 2
        tensor(0.1733)
    """
    check_target(logits, target)
    if not (math.isfinite(gamma) and gamma >= 0):
        raise ConfigError(f"gamma: expected a finite number of at least 0, got {gamma!r}.")
    logits = at_least_float32(logits)
    surprise = F.cross_entropy(logits, target, reduction="none")
    doubt = -torch.expm1(-surprise)
    # At p = 1 and gamma < 1 the slope of the power is infinite; the clamp makes it 0.
    return (doubt.clamp_min(torch.finfo(doubt.dtype).tiny).pow(gamma) * surprise).mean()


def class_balanced_weights(counts: Sequence[float] | Tensor, beta: float) -> Tensor:
    r"""Weight of each class by its effective number of samples.

    EVER, section 3.4 (Cui et al., 2019, eq. 2 and section 4):

    .. math:: E_c = \frac{1 - \beta^{n_c}}{1 - \beta}, \qquad w_c \propto \frac{1}{E_c}

    with :math:`n_c` the number of training samples of class c. The weights are scaled to sum to the number of classes.
    A class without samples gets weight 0, and the others then sum to the number of classes that have samples (a
    choice: Cui's formula would divide by zero).

    Args:
        counts: Samples per class, ``(classes,)``, not negative.
        beta: From 0 (all classes alike) to below 1 (towards inverse frequency).

    Returns:
        Weights, ``(classes,)``, in torch's default dtype.

    Raises:
        ConfigError: If ``beta`` or a count is out of range, or no class has a sample.

    Example:
        >>> from evermodels.functional import class_balanced_weights
        >>> class_balanced_weights([2, 1], beta=0.5)  # effective numbers 1.5 and 1
        tensor([0.8000, 1.2000])
    """
    if not 0 <= beta < 1:
        raise ConfigError(f"beta: expected a number from 0 to below 1, got {beta!r}. Cui et al. use 0.9 to 0.9999.")
    n = torch.as_tensor(counts, dtype=torch.float64)
    if n.ndim != 1 or n.numel() == 0:
        raise ConfigError(f"counts: expected one count per class, got shape {tuple(n.shape)}.")
    if not bool((n.isfinite() & (n >= 0)).all()):
        raise ConfigError(f"counts: expected finite numbers of at least 0, got {n.tolist()}.")
    present = n > 0
    if not bool(present.any()):
        raise ConfigError(f"counts: no class has a sample (got {n.tolist()}). Count the training labels.")
    log_beta = math.log(beta) if beta > 0 else -math.inf
    effective = -torch.expm1(torch.where(present, n, 1) * log_beta)
    weights = torch.where(present, 1 / effective, 0)
    return (weights * (present.sum() / weights.sum())).to(torch.get_default_dtype())
