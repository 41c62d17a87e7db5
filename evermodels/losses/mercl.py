"""The training objective of MERCL."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from evermodels.core.errors import ConfigError, check_axes
from evermodels.core.outputs import AlignableOutput, EmotionOutput
from evermodels.functional.contrastive import (
    Positives,
    check_settings,
    inter_modal_contrastive,
    intra_modal_contrastive,
    sample_alignment,
)
from evermodels.losses.classification import FocalLoss, WeightedCrossEntropy
from evermodels.losses.gathering import gathered


class MERCLLossOutput(NamedTuple):
    """The terms of :class:`MERCLLoss`, each a scalar; ``total`` is the one to differentiate.

    Args:
        total: The weighted sum.
        cross_entropy: Of the class scores, before its factor; 0 where the factor is 0.
        intra_modal: AMCL, eq. 3, the mean over modalities, before its factor; 0 where all three factors are 0.
        inter_modal: EMCL, eq. 4, likewise.
        sample_wise: SMCL, eq. 5, likewise.
        focal: Of the class scores, before its factor; 0 where the factor is 0.

    Example:
        >>> import torch
        >>> z = {"eeg": torch.eye(2), "video": torch.eye(2)}
        >>> terms = MERCLLoss()(EmotionOutput(torch.zeros(2, 2), embeddings=z), torch.tensor([0, 1]))
        >>> terms.intra_modal.item(), round(terms.cross_entropy.item(), 4)  # nobody else has the same label
        (0.0, 0.6931)
    """

    total: Tensor
    cross_entropy: Tensor
    intra_modal: Tensor
    inter_modal: Tensor
    sample_wise: Tensor
    focal: Tensor


class MERCLLoss(nn.Module):
    r"""Cross-entropy and MERCL's three contrastive terms.

    MERCL, section 3.2, eq. 3-7, and Algorithm 1:

    .. math:: L = w_{ce} L_{ce} + \lambda_1 L_{AMCL} + \lambda_2 L_{EMCL} + \lambda_3 L_{SMCL}

    Stage 1 of Algorithm 1 is ``w_ce=0``; stage 2 is ``w_intra=w_inter=w_sample=0``; all of them is the end-to-end
    training that section 3.3 speaks of. See :func:`evermodels.functional.intra_modal_contrastive`,
    :func:`~evermodels.functional.inter_modal_contrastive` and :func:`~evermodels.functional.sample_alignment`. AMCL is
    the mean over the modalities that have a pair of a class.

    SMCL leaves out the samples that the output's ``alignable`` flags
    (:class:`~evermodels.core.outputs.AlignableOutput`) leave out, in MERCL those with a silent sound; an output without
    flags leaves out none. A sample whose embedding is exactly 0, as systems give for what is absent, counts as without
    that modality.

    Under several processes the contrastive terms are those of one process on the joined batch, with the same gradient
    (:func:`evermodels.losses.gathering.gathered`), while the loss is in training mode; every process gives embeddings
    of the same modalities. The cross-entropy is each process's own mean.

    Args:
        class_weights: Weight of each class in the cross-entropy (default: 1).
        w_ce: Factor of the cross-entropy.
        w_intra: :math:`\lambda_1`, of AMCL.
        w_inter: :math:`\lambda_2`, of EMCL.
        w_sample: :math:`\lambda_3`, of SMCL.
        w_focal: Factor of a focal loss beside the cross-entropy (EVER, eq. 18), which the paper has not.
        gamma: Focus of the focal loss.
        temperature: :math:`\tau`.
        margin: :math:`\alpha`.
        positives: ``"sum"`` inside the logarithm or their ``"mean"`` outside of it.
        label_smoothing: Part of the cross-entropy's target that is spread over all classes.

    Raises:
        ConfigError: If a value is out of range.

    Example:
        >>> import torch
        >>> from evermodels.core.outputs import EmotionOutput
        >>> from evermodels.losses import MERCLLoss
        >>> z = {"eeg": torch.eye(2), "video": -torch.eye(2)}
        >>> output = EmotionOutput(torch.zeros(2, 0), embeddings=z)
        >>> terms = MERCLLoss(w_ce=0.0, temperature=1.0)(output, torch.arange(2))
        >>> terms.inter_modal, terms.sample_wise  # log(1 + e), (-1 - 1)**2
        (tensor(1.3133), tensor(4.))
    """

    def __init__(
        self,
        class_weights: Sequence[float] | Tensor | None = None,
        *,
        w_ce: float = 1.0,
        w_intra: float = 1.0,
        w_inter: float = 1.0,
        w_sample: float = 1.0,
        w_focal: float = 0.0,
        gamma: float = 2.0,
        temperature: float = 0.07,
        margin: float = 1.0,
        positives: Positives = "sum",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        factors = {"w_ce": w_ce, "w_intra": w_intra, "w_inter": w_inter, "w_sample": w_sample, "w_focal": w_focal}
        for name, value in factors.items():
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"{name}: expected a finite number of at least 0, got {value!r}.")
        if not any(factors.values()):
            raise ConfigError(f"{', '.join(factors)}: expected one above 0, all are 0.")
        check_settings(temperature, positives)
        if not -1 <= margin <= 1:
            raise ConfigError(f"margin: expected a cosine in -1..1, got {margin!r}.")
        self.w_ce, self.w_intra, self.w_inter, self.w_sample = w_ce, w_intra, w_inter, w_sample
        self.w_focal, self.focal = w_focal, FocalLoss(gamma)
        self.temperature, self.margin, self.positives = temperature, margin, positives
        self.cross_entropy = WeightedCrossEntropy(class_weights, label_smoothing)

    def forward(
        self, output: EmotionOutput, target: Tensor, present: Mapping[str, Tensor] | None = None
    ) -> MERCLLossOutput:
        """Compute the terms.

        Args:
            output: What a system returned, with ``embeddings`` by modality, each ``(batch, dim)``.
            target: Class indices, int64, ``(batch,)``.
            present: ``(batch,)`` bool by modality, as given to the system (default: every sample has all).

        Returns:
            The total and its terms.

        Raises:
            ShapeError: If shapes do not fit.
            ConfigError: If ``target`` is not int64, or a contrastive term is asked for without embeddings.
        """
        nothing = output.logits.sum() * 0
        cross_entropy = self.cross_entropy(output.logits, target) if self.w_ce else nothing
        focal = self.focal(output.logits, target) if self.w_focal else nothing
        intra = inter = sample = nothing
        if self.w_intra or self.w_inter or self.w_sample:
            intra, inter, sample = self._contrast(output, target, present or {})
        total = self.w_ce * cross_entropy + self.w_intra * intra + self.w_inter * inter + self.w_sample * sample
        total = total + self.w_focal * focal
        return MERCLLossOutput(total, cross_entropy, intra, inter, sample, focal)

    def _contrast(
        self, output: EmotionOutput, target: Tensor, present: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        z = output.embeddings
        if not z:
            raise ConfigError("output: expected embeddings by modality, got none. Give w_intra=w_inter=w_sample=0.")
        names, batch = list(z), target.shape[0]
        every = torch.ones(batch, dtype=torch.bool, device=target.device)
        for name in present.keys() & z.keys():
            check_axes(f"present[{name!r}]", present[name], "batch", batch=batch)
        mask = output.alignable if isinstance(output, AlignableOutput) and output.alignable is not None else every
        # A system's embedding of what is absent is exactly 0, also where a mask made it so.
        flags = torch.stack([z[name].ne(0).any(1) & present.get(name, every) for name in names], dim=1)
        if self.training:
            target, mask, flags, *joined = gathered(target, mask, flags, *z.values())
            z = dict(zip(names, joined, strict=True))
        here = dict(zip(names, flags.unbind(1), strict=True))
        settings: Any = {"temperature": self.temperature, "positives": self.positives}
        intra = [intra_modal_contrastive(z[name], target, present=here[name], **settings) for name in names]
        pairs = [((target[:, None] == target) & here[n][:, None] & here[n]).sum() > here[n].sum() for n in names]
        return (
            torch.stack(intra).sum() / torch.stack(pairs).sum().clamp_min(1),
            inter_modal_contrastive(z, target, present=here, **settings),
            sample_alignment(z, self.margin, mask, present=here),
        )

    def extra_repr(self) -> str:
        """Return the factors for ``repr``."""
        factors = f"w_ce={self.w_ce}, w_intra={self.w_intra}, w_inter={self.w_inter}, w_sample={self.w_sample}"
        return f"{factors}, temperature={self.temperature}, margin={self.margin}"
