"""The training objective of EVER."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from evermodels.core.errors import ConfigError, check_axes, did_you_mean
from evermodels.core.outputs import EmotionOutput
from evermodels.losses.alignment import CoralLoss, CorrelationAlignmentLoss, DeepCCALoss, MMDLoss
from evermodels.losses.classification import FocalLoss, WeightedCrossEntropy

_ALIGNMENTS = {
    "none": None,
    "correlation": CorrelationAlignmentLoss,
    "coral": CoralLoss,
    "mmd": MMDLoss,
    "deep_cca": DeepCCALoss,
}


class EmotionLossOutput(NamedTuple):
    """The terms of :class:`EmotionLoss`, each a scalar; ``total`` is the one to differentiate.

    Args:
        total: The weighted sum, eq. 19.
        cross_entropy: Weighted cross-entropy, before its factor.
        focal: Focal loss, before its factor.
        alignment: Alignment of EEG and video, before its factor; 0 without alignment.

    Example:
        >>> import torch
        >>> terms = EmotionLoss()(EmotionOutput(torch.zeros(1, 2)), torch.tensor([0]))
        >>> {name: round(float(value), 4) for name, value in terms._asdict().items()}
        {'total': 0.6412, 'cross_entropy': 0.6931, 'focal': 0.1733, 'alignment': 0.0}
    """

    total: Tensor
    cross_entropy: Tensor
    focal: Tensor
    alignment: Tensor


class EmotionLoss(nn.Module):
    r"""Cross-entropy, focal loss and alignment in one.

    EVER, section 3.4, eq. 18-19:

    .. math:: L = w_{ce} L_{ce} + w_f L_f + w_{align} L_{align}

    The alignment term looks only at samples that have both modalities; of more than two, it is the mean over all pairs
    (a choice). The weights are the paper's best (Table 7).

    Args:
        class_weights: Weight of each class in the cross-entropy, for example from
            :func:`evermodels.functional.class_balanced_weights` (default: 1).
        w_ce: Factor of the cross-entropy.
        w_focal: Factor of the focal loss.
        gamma: Focus of the focal loss.
        alignment: ``"none"``, ``"correlation"`` (eq. 17), ``"coral"`` or ``"mmd"`` (Table 5), or ``"deep_cca"``
            (Milmer, Table 5).
        align_weight: Factor of the alignment.
        on_small_batch: What fewer than two samples with both modalities give: ``"error"`` or ``"zero"``.
        label_smoothing: Part of the cross-entropy's target that is spread over all classes.

    Raises:
        ConfigError: If a value is out of range.

    Example:
        >>> import torch
        >>> from evermodels.core.outputs import EmotionOutput
        >>> from evermodels.losses import EmotionLoss
        >>> output = EmotionOutput(torch.zeros(1, 2))
        >>> terms = EmotionLoss()(output, torch.tensor([0]))
        >>> terms.total  # 0.9 * log 2 + 0.1 * (1/2)**2 * log 2
        tensor(0.6412)
    """

    def __init__(
        self,
        class_weights: Sequence[float] | Tensor | None = None,
        *,
        w_ce: float = 0.9,
        w_focal: float = 0.1,
        gamma: float = 2.0,
        alignment: str = "none",
        align_weight: float = 0.5,
        on_small_batch: str = "error",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        for name, value in (("w_ce", w_ce), ("w_focal", w_focal), ("align_weight", align_weight)):
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"{name}: expected a finite number of at least 0, got {value!r}.")
        if alignment not in _ALIGNMENTS:
            raise ConfigError(
                f"alignment: expected one of {', '.join(map(repr, _ALIGNMENTS))}, got {alignment!r}."
                f"{did_you_mean(alignment, _ALIGNMENTS)}"
            )
        self.w_ce, self.w_focal, self.align_weight = w_ce, w_focal, align_weight
        self.cross_entropy = WeightedCrossEntropy(class_weights, label_smoothing)
        self.focal = FocalLoss(gamma)
        kind = _ALIGNMENTS[alignment]
        self.alignment = None if kind is None else kind(on_small_batch=on_small_batch)

    def forward(
        self, output: EmotionOutput, target: Tensor, present: Mapping[str, Tensor] | None = None
    ) -> EmotionLossOutput:
        """Compute the terms.

        Args:
            output: What a system returned; for alignment its ``embeddings`` hold two modalities or more.
            target: Class indices, int64, ``(batch,)``.
            present: ``(batch,)`` bool by modality, as given to the system (default: every sample has all).

        Returns:
            The total and its terms.

        Raises:
            ShapeError: If shapes do not fit, or fewer than two samples have both modalities and
                ``on_small_batch="error"``.
            ConfigError: If alignment is asked for and the output lacks an embedding, or ``target`` is not int64.
        """
        cross_entropy = self.cross_entropy(output.logits, target)
        focal = self.focal(output.logits, target)
        total = self.w_ce * cross_entropy + self.w_focal * focal
        alignment = total.new_zeros(())
        if self.alignment is not None:
            alignment = self._align(output, present or {})
            total = total + self.align_weight * alignment
        return EmotionLossOutput(total, cross_entropy, focal, alignment)

    def _align(self, output: EmotionOutput, present: Mapping[str, Tensor]) -> Tensor:
        """Mean over all pairs of modalities, each over the samples that have both."""
        assert self.alignment is not None
        z = output.embeddings
        if len(z) < 2 and self.alignment.on_small_batch == "zero":
            return output.logits.sum() * 0
        if len(z) < 2:
            raise ConfigError(
                f"output: alignment needs the embeddings of two modalities, it has {sorted(z)}. Give both modalities, "
                "or build the loss with alignment='none'."
            )
        for name in present.keys() & z.keys():
            check_axes(f"present[{name!r}]", present[name], "batch", batch=z[name].shape[0])
            if present[name].dtype != torch.bool:
                raise ConfigError(
                    f"present[{name!r}]: expected bool, got {present[name].dtype}. Convert it with .bool()."
                )
        terms = []
        for pair in itertools.combinations(z, 2):
            flags = [present[name] for name in pair if name in present]
            rows = [z[name][torch.stack(flags).all(dim=0)] if flags else z[name] for name in pair]
            terms.append(self.alignment(*rows))
        return terms[0] if len(terms) == 1 else torch.stack(terms).mean()

    def extra_repr(self) -> str:
        """Return the factors for ``repr``."""
        return f"w_ce={self.w_ce}, w_focal={self.w_focal}, align_weight={self.align_weight}"
