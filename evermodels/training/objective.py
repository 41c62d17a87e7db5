"""The training objective when a model sees only one half of the four quadrant classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from evermodels.core.errors import ConfigError, check_axes
from evermodels.core.outputs import EmotionOutput

Half = Literal["arousal", "valence"]


def half_logits(logits: Tensor, half: Half) -> Tensor:
    r"""Return the logits of one half of the quadrant classes, summed over the other half.

    The class is :math:`2 a + v` with arousal :math:`a` and valence :math:`v`:

    .. math::
        \ell_a = \log \sum_v e^{\ell_{2a+v}}, \quad \ell_v = \log \sum_a e^{\ell_{2a+v}}

    Args:
        logits: ``(batch, 4)``.
        half: ``"arousal"`` or ``"valence"``.

    Returns:
        ``(batch, 2)``; their softmax is the summed probability of the two classes.

    Raises:
        ShapeError: If there are not four classes.

    Example:
        >>> import torch
        >>> p = torch.tensor([[0.1, 0.2, 0.3, 0.4]])
        >>> half_logits(p.log(), "arousal").exp(), half_logits(p.log(), "valence").exp()
        (tensor([[0.3000, 0.7000]]), tensor([[0.4000, 0.6000]]))
    """
    check_axes("logits", logits, "batch classes", classes=4)
    return logits.unflatten(1, (2, 2)).logsumexp(dim=2 if half == "arousal" else 1)


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


def half_counts(counts: Sequence[int], half: Half) -> list[int]:
    """Return the samples of each half from the samples of the four classes.

    Args:
        counts: Samples by class.
        half: ``"arousal"`` or ``"valence"``.

    Raises:
        ConfigError: If there are not four classes.

    Example:
        >>> half_counts([1, 2, 3, 4], "valence")
        [4, 6]
    """
    if len(counts) != 4:
        raise ConfigError(f"loss.half: {half!r} needs the four quadrant classes, got {len(counts)} classes.")
    table = torch.tensor(list(counts)).view(2, 2)
    return [int(n) for n in table.sum(1 if half == "arousal" else 0)]


class HalfLoss(nn.Module):
    """Apply a loss to one half of the quadrant classes.

    A single modality cannot know the other half: its label is noise to it, which holds a small encoder at chance for
    longer. Summed over the other half, the same loss asks only for what can be known.

    Args:
        loss: The loss, made for two classes.
        half: ``"arousal"`` or ``"valence"``.
    """

    def __init__(self, loss: nn.Module, half: Half) -> None:
        super().__init__()
        self.loss, self.seen = loss, half

    def forward(self, output: EmotionOutput, target: Tensor, present: Mapping[str, Tensor] | None = None) -> Any:
        """Return the loss's terms.

        Args:
            output: Output of a model with the four quadrant classes.
            target: Class of each sample, 0..3, ``(batch,)``.
            present: As the loss takes it.
        """
        seen = EmotionOutput(
            half_logits(output.logits, self.seen), output.embedding, output.embeddings, output.attention
        )
        return self.loss(seen, target // 2 if self.seen == "arousal" else target % 2, present=present)
