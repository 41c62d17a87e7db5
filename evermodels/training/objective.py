"""The training objective when a model sees only one factor of classes that are combinations."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from evermodels.core.errors import check_axes
from evermodels.core.factors import Factor, factor_levels
from evermodels.core.outputs import EmotionOutput


def disagreement(logits: Tensor, others: Tensor) -> Tensor:
    r"""Return how far the answers to two readings of the same samples lie apart (Jeffreys' divergence, their mean).

    .. math::
        J = \sum_c (p_c - q_c) (\log p_c - \log q_c)

    Args:
        logits: Of one reading, ``(batch, classes)``.
        others: Of the other, the same shape.

    Raises:
        ShapeError: If the shapes differ.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[0.0, 2.0]])
        >>> float(disagreement(logits, logits + 5.0))
        0.0
    """
    check_axes("logits", logits, "batch classes")
    check_axes("others", others, "batch classes", batch=len(logits), classes=logits.shape[1])
    mine, theirs = logits.float().log_softmax(1), others.float().log_softmax(1)
    return ((mine.exp() - theirs.exp()) * (mine - theirs)).sum(1).mean()


class FactorLoss(nn.Module):
    r"""Apply a loss to one factor of classes that are combinations.

    A single modality cannot know the other factors: their values are noise to it, which holds a small encoder at chance
    for longer. Summed over them, the same loss asks only for what can be known: the logit of value :math:`v` is

    .. math:: \ell_v = \log \sum_{c \in v} e^{\ell_c}

    over the classes :math:`c` that have this value, so that its softmax is their summed probability.

    Args:
        loss: The loss, made for the values of the factor.
        factors: What the classes are the product of, the last factor's value changing first.
        name: The factor that is asked for.

    Raises:
        ConfigError: If there is no such factor.

    Example:
        >>> from evermodels.losses import EmotionLoss
        >>> factors = [Factor("state", ("rest", "work"), ("eeg",)), Factor("face", ("neutral", "smiling"), ("video",))]
        >>> loss = FactorLoss(EmotionLoss(), factors, "state")
        >>> loss.logits(torch.tensor([[0.1, 0.2, 0.3, 0.4]]).log()).exp(), loss.counts([1, 2, 3, 4])
        (tensor([[0.3000, 0.7000]]), [3, 7])
    """

    levels: Tensor

    def __init__(self, loss: nn.Module | None, factors: Sequence[Factor], name: str) -> None:
        super().__init__()
        self.register_buffer("levels", torch.tensor(factor_levels(factors, name)), persistent=False)
        self.loss = loss
        self.sizes = [len(factor.values) for factor in factors]
        place = [factor.name for factor in factors].index(name)
        self.others = [axis + 1 for axis in range(len(factors)) if axis != place]

    def logits(self, logits: Tensor) -> Tensor:
        """Return the logits of the factor's values, ``(batch, values)``.

        Args:
            logits: ``(batch, classes)``.

        Raises:
            ShapeError: If there are not as many classes as the factors make.
        """
        check_axes("logits", logits, "batch classes", classes=len(self.levels))
        return logits.unflatten(1, self.sizes).logsumexp(dim=self.others) if self.others else logits

    def counts(self, counts: Sequence[int]) -> list[int]:
        """Return the samples of each value.

        Args:
            counts: Samples of each class.
        """
        return [int(n) for n in torch.bincount(self.levels, torch.tensor(counts, dtype=torch.float64))]

    def forward(self, output: EmotionOutput, target: Tensor, present: Mapping[str, Tensor] | None = None) -> Any:
        """Return the loss's terms.

        Args:
            output: Output of a model with the classes.
            target: Class of each sample, ``(batch,)``.
            present: As the loss takes it.
        """
        assert self.loss is not None
        seen = dataclasses.replace(output, logits=self.logits(output.logits))
        return self.loss(seen, self.levels[target], present=present)
