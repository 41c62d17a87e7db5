"""Losses over class scores."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from evermodels.core.errors import ConfigError, ShapeError
from evermodels.functional._precision import at_least_float32
from evermodels.functional.classification import check_target, class_balanced_weights, focal_loss


class WeightedCrossEntropy(nn.Module):
    r"""Multi-class cross-entropy with class weights, averaged by the weights of the batch.

    .. math:: L = -\frac{\sum_i w_{y_i} \log p_{i, y_i}}{\sum_i w_{y_i}}

    As ``torch.nn.CrossEntropyLoss``, but a batch whose classes all have weight 0 gives 0, not NaN (a choice).

    Args:
        weights: Weight of each class, at least 0 (default: 1).
        label_smoothing: Part of the target that is spread over all classes, from 0 to below 1.

    Raises:
        ConfigError: If a value is out of range.

    Example:
        >>> import torch
        >>> WeightedCrossEntropy([1.0, 0.0])(torch.zeros(2, 2), torch.tensor([0, 1]))
        tensor(0.6931)
    """

    weight: Tensor | None

    def __init__(self, weights: Sequence[float] | Tensor | None = None, label_smoothing: float = 0.0) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise ConfigError(f"label_smoothing: expected a number from 0 to below 1, got {label_smoothing!r}.")
        self.label_smoothing = label_smoothing
        weight = None if weights is None else torch.as_tensor(weights, dtype=torch.get_default_dtype()).detach().clone()
        if weight is not None and not (
            weight.ndim == 1 and bool((weight.isfinite() & (weight >= 0)).all()) and bool(weight.any())
        ):
            raise ConfigError(f"class_weights: expected one finite weight of at least 0 a class, got {weights!r}.")
        self.register_buffer("weight", weight)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            logits: Class scores, ``(batch, classes)``.
            target: Class indices, int64, ``(batch,)``.

        Returns:
            The weighted mean over the batch, a scalar.

        Raises:
            ShapeError: If shapes do not fit, an index is no class, or the weights are for another number of classes.
            ConfigError: If ``target`` is not int64.
        """
        check_target(logits, target)
        logits = at_least_float32(logits)
        if self.weight is None:
            return F.cross_entropy(logits, target, label_smoothing=self.label_smoothing)
        if len(self.weight) != logits.shape[1]:
            raise ShapeError(
                f"logits: expected {len(self.weight)} classes as the class weights, got {logits.shape[1]}. "
                f"Count the samples of every class."
            )
        weight = self.weight.to(logits.dtype)
        total = F.cross_entropy(logits, target, weight, reduction="sum", label_smoothing=self.label_smoothing)
        norm = weight[target].sum()
        return torch.where(norm > 0, total, total * 0) / torch.where(norm > 0, norm, 1)

    def extra_repr(self) -> str:
        """Return the settings for ``repr``."""
        weights = None if self.weight is None else [round(w, 4) for w in self.weight.tolist()]
        return f"weights={weights}, label_smoothing={self.label_smoothing}"


class ClassBalancedCrossEntropy(WeightedCrossEntropy):
    r"""Cross-entropy weighted by the effective number of samples of each class.

    EVER, section 3.4, eq. 18, the term :math:`L_{ce}` (Cui et al., 2019, eq. 3): weights
    :math:`w_c \propto (1 - \beta) / (1 - \beta^{n_c})`, see :func:`evermodels.functional.class_balanced_weights`. The
    paper gives no β; 0.999 is a choice. A widely used implementation calls binary cross-entropy on softmax
    probabilities by this name; ours is the multi-class cross-entropy with the same weights.

    Args:
        counts: Training samples per class.
        beta: From 0 (all classes alike) to below 1.
        label_smoothing: Part of the target that is spread over all classes.

    Raises:
        ConfigError: If a value is out of range.

    Example:
        >>> import torch
        >>> from evermodels.losses import ClassBalancedCrossEntropy
        >>> loss = ClassBalancedCrossEntropy([30, 10, 0])
        >>> loss(torch.zeros(2, 3), torch.tensor([0, 1]))
        tensor(1.0986)
    """

    def __init__(self, counts: Sequence[float] | Tensor, beta: float = 0.999, label_smoothing: float = 0.0) -> None:
        super().__init__(class_balanced_weights(counts, beta), label_smoothing)


class FocalLoss(nn.Module):
    """Cross-entropy that looks less at samples that are already well classified.

    EVER, section 3.4, eq. 18 (Lin et al., 2017); see :func:`evermodels.functional.focal_loss`.

    Args:
        gamma: Focus, at least 0.

    Raises:
        ConfigError: If ``gamma`` is negative.

    Example:
        >>> import torch
        >>> from evermodels.losses import FocalLoss
        >>> FocalLoss()(torch.zeros(1, 2), torch.tensor([0]))
        tensor(0.1733)
    """

    def __init__(self, gamma: float = 2.0) -> None:
        super().__init__()
        if not 0 <= gamma < float("inf"):
            raise ConfigError(f"gamma: expected a finite number of at least 0, got {gamma!r}.")
        self.gamma = gamma

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            logits: Class scores, ``(batch, classes)``.
            target: Class indices, int64, ``(batch,)``.

        Returns:
            The mean over the batch, a scalar.

        Raises:
            ShapeError: If shapes do not fit, or an index is no class.
            ConfigError: If ``target`` is not int64.
        """
        return focal_loss(logits, target, self.gamma)

    def extra_repr(self) -> str:
        """Return the settings for ``repr``."""
        return f"gamma={self.gamma}"
