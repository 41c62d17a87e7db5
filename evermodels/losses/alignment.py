"""Losses that bring the distributions of two modalities together."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from evermodels.core.errors import ConfigError
from evermodels.functional.alignment import canonical_correlation, coral, correlation_alignment, mmd
from evermodels.losses.gathering import gathered


class _AlignmentLoss(nn.Module):
    """What these losses share: batches of several processes, and what to do with one that has no spread."""

    def __init__(self, on_small_batch: str = "error") -> None:
        super().__init__()
        if on_small_batch not in ("error", "zero"):
            raise ConfigError(f"on_small_batch: expected 'error' or 'zero', got {on_small_batch!r}.")
        self.on_small_batch = on_small_batch

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the distance of two batches with at least two samples each."""
        raise NotImplementedError

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Compare two batches of embeddings.

        Under several processes they are compared as one batch, on every process alike and with its gradient
        (:func:`evermodels.losses.gathering.gathered`), while the loss is in training mode.

        Args:
            a: Embeddings of one modality, ``(batch, dim)``.
            b: Embeddings of the other, ``(batch, dim)``.

        Returns:
            The loss, a scalar; 0 with a gradient graph for fewer than two samples and ``on_small_batch="zero"``.

        Raises:
            ShapeError: If shapes do not fit, or a batch has fewer than two samples and ``on_small_batch="error"``.
        """
        if self.training:
            (a,), (b,) = gathered(a), gathered(b)
        if self.on_small_batch == "zero" and min(a.shape[0], b.shape[0]) < 2:
            return (a.sum() + b.sum()) * 0
        return self.distance(a, b)

    def extra_repr(self) -> str:
        """Return the settings for ``repr``."""
        return f"on_small_batch={self.on_small_batch!r}"


class CorrelationAlignmentLoss(_AlignmentLoss):
    """Mean squared difference between the feature correlations of two modalities.

    EVER, section 3.3, eq. 15-17; see :func:`evermodels.functional.correlation_alignment`.

    Args:
        on_small_batch: What fewer than two samples give: ``"error"``, or ``"zero"`` for the last batch of an epoch.

    Raises:
        ConfigError: If ``on_small_batch`` is neither.

    Example:
        >>> import torch
        >>> from evermodels.losses import CorrelationAlignmentLoss
        >>> a = torch.tensor([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]])
        >>> CorrelationAlignmentLoss()(a, a * torch.tensor([10.0, -1.0])).round(decimals=4)
        tensor(4.)
        >>> CorrelationAlignmentLoss(on_small_batch="zero")(a[:1], a[:1])
        tensor(0.)
    """

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """Return eq. 17."""
        return correlation_alignment(a, b)


class CoralLoss(_AlignmentLoss):
    """Squared distance between the feature covariances of two modalities.

    Sun & Saenko, 2016, eq. 1-3; EVER, Table 5; see :func:`evermodels.functional.coral`.

    Args:
        on_small_batch: What fewer than two samples give: ``"error"`` or ``"zero"``.

    Raises:
        ConfigError: If ``on_small_batch`` is neither.

    Example:
        >>> import torch
        >>> from evermodels.losses import CoralLoss
        >>> CoralLoss()(torch.tensor([[0.0], [2.0]]), torch.tensor([[0.0], [0.0]]))
        tensor(1.)
    """

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the squared distance of the covariances over ``4 d**2``."""
        return coral(a, b)


class MMDLoss(_AlignmentLoss):
    """Squared maximum mean discrepancy of two modalities with a sum of RBF kernels.

    Gretton et al., 2012; EVER, Table 5; see :func:`evermodels.functional.mmd`.

    Args:
        bandwidths: The kernels' widths (default: around the median distance).
        on_small_batch: What fewer than two samples give: ``"error"`` or ``"zero"``.

    Raises:
        ConfigError: If ``on_small_batch`` is neither.

    Example:
        >>> import torch
        >>> from evermodels.losses import MMDLoss
        >>> MMDLoss([1.0])(torch.zeros(2, 1), torch.ones(2, 1))
        tensor(0.7869)
    """

    def __init__(self, bandwidths: Sequence[float] | None = None, on_small_batch: str = "error") -> None:
        super().__init__(on_small_batch)
        self.bandwidths = None if bandwidths is None else tuple(bandwidths)

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the biased estimate."""
        return mmd(a, b, bandwidths=self.bandwidths)


class DeepCCALoss(_AlignmentLoss):
    """Minus the total canonical correlation of two modalities.

    Andrew et al., 2013, section 3; Milmer, Table 5; see :func:`evermodels.functional.canonical_correlation`. Rows of
    both batches are the same samples.

    Args:
        regularization: r, added to the variances.
        on_small_batch: What fewer than two samples give: ``"error"`` or ``"zero"``.

    Raises:
        ConfigError: If ``on_small_batch`` is neither.

    Example:
        >>> import torch
        >>> from evermodels.losses import DeepCCALoss
        >>> a = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
        >>> DeepCCALoss(regularization=1e-6)(a, a @ torch.tensor([[1.0, 2.0], [3.0, -1.0]])).round(decimals=4)
        tensor(-2.)
    """

    def __init__(self, regularization: float = 1e-3, on_small_batch: str = "error") -> None:
        super().__init__(on_small_batch)
        self.regularization = regularization

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """Return minus the sum of the canonical correlations."""
        return -canonical_correlation(a, b, regularization=self.regularization).sum()
