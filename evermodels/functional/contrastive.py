"""MERCL's three contrastive terms: within a modality, between modalities, between the modalities of one sample."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from evermodels.core.errors import ConfigError, check_axes
from evermodels.functional._precision import at_least_float32, without_autocast

Positives = Literal["sum", "mean"]
"""What stands for the positives of an anchor; see :func:`intra_modal_contrastive`."""


def _check_labels(labels: Tensor, batch: int) -> None:
    check_axes("labels", labels, "batch", batch=batch)
    if labels.dtype != torch.int64:
        raise ConfigError(f"labels: expected class indices of int64, got {labels.dtype}. Convert them with .long().")


def check_settings(temperature: float, positives: str) -> None:
    """Refuse a temperature and a way to count positives that cannot be.

    Args:
        temperature: As :func:`intra_modal_contrastive` takes it.
        positives: Likewise.

    Raises:
        ConfigError: If one is impossible.
    """
    if isinstance(temperature, bool) or not (math.isfinite(temperature) and temperature > 0):
        raise ConfigError(f"temperature: expected a positive number, got {temperature!r}.")
    if positives not in ("sum", "mean"):
        raise ConfigError(f"positives: expected 'sum' or 'mean', got {positives!r}.")


def _check_flags(name: str, flags: Tensor, batch: int) -> None:
    check_axes(name, flags, "batch", batch=batch)
    if flags.dtype != torch.bool:
        raise ConfigError(f"{name}: expected bool, got {flags.dtype}. Convert it with .bool().")


def _here(z: Mapping[str, Tensor], present: Mapping[str, Tensor] | None) -> dict[str, Tensor]:
    """Check modalities of one batch and one width, and return who is there."""
    if not z:
        raise ConfigError("z: expected embeddings by modality, got none.")
    batch, dim = next(iter(z.values())).shape[0], next(iter(z.values())).shape[-1]
    for name, value in z.items():
        check_axes(f"z[{name!r}]", value, "batch dim", batch=batch, dim=dim)
    for name, flags in (present or {}).items():
        if name not in z:
            raise ConfigError(f"present: expected some of {', '.join(z)}, got {name!r}.")
        _check_flags(f"present[{name!r}]", flags, batch)
    given = present or {}
    return {name: given[name] if name in given else x.new_ones(batch, dtype=torch.bool) for name, x in z.items()}


def _units(z: Tensor, here: Tensor | None) -> Tensor:
    """Vectors of length 1; what is absent, NaN too, and what is 0 becomes 0 with a gradient of 0."""
    z = at_least_float32(z)
    if here is not None:
        z = torch.where(here[:, None], z, 0)
    square = z.square().sum(-1, keepdim=True)
    some = square > torch.finfo(z.dtype).tiny
    return z * (torch.where(some, square, 1).rsqrt() * some)


def _mean(values: Tensor, counted: Tensor) -> Tensor:
    """Mean of what is counted; of nothing exactly 0, with a gradient graph."""
    return torch.where(counted, values, 0).sum() / counted.sum().clamp_min(1)


def _log_sums(exponents: Tensor, same: Tensor, weight: Tensor, itself: Tensor | None, least: float) -> list[Tensor]:
    """Logarithms of the sums of exponentials over all contrasts, and over those of the class."""
    tiny, bottom = torch.finfo(exponents.dtype).tiny, torch.finfo(exponents.dtype).min / 4
    if least > math.log(tiny):  # none vanishes beside another, so that both sums can share them
        scaled = exponents.exp() if itself is None else exponents.exp().masked_fill(itself, 0)
        return [sums.clamp_min(tiny).log() for sums in (scaled @ weight, (scaled * same) @ weight)]
    absent = weight == 0 if itself is None else (weight == 0) | itself
    # Finite: a row of nothing has no NaN in its gradient.
    return [exponents.masked_fill(out, bottom).logsumexp(1) for out in (absent, absent | (same == 0))]


def _term(
    cosines: Tensor,
    same: Tensor,
    here: Tensor,
    anchors: Tensor,
    *,
    itself: Tensor | None,
    temperature: float,
    positives: str,
) -> tuple[Tensor, Tensor]:
    """Mean over the anchors that have a positive, and whether there is one.

    Args:
        cosines: ``(anchors, contrasts)``.
        same: Which contrasts are of the anchor's class and not the anchor itself, ``(anchors, contrasts)``.
        here: Which contrasts are there, ``(contrasts,)``.
        anchors: Which anchors are there, ``(anchors,)``.
        itself: Which contrast is the anchor, ``(anchors, contrasts)``, or ``None`` where none is.
        temperature: As the public functions take it.
        positives: As the public functions take it.
    """
    exponents = (cosines - 1) / temperature  # at most 0, which takes 1 / temperature from all logarithms alike
    weight, same = here.to(cosines.dtype), same.to(cosines.dtype)
    number = same @ weight
    counted = (number > 0) & anchors
    whole, own = _log_sums(exponents, same, weight, itself, -2 / temperature)
    if positives == "mean":
        own = (exponents * same) @ weight / number.clamp_min(1)
    return _mean(whole - own, counted), counted.any()


def intra_modal_contrastive(
    z: Tensor,
    labels: Tensor,
    temperature: float = 0.07,
    *,
    present: Tensor | None = None,
    positives: Positives = "sum",
) -> Tensor:
    r"""Supervised contrastive loss within one modality (AMCL).

    MERCL, section 3.2, eq. 3. As printed, raw dot products stand inside the logarithm, where a sum can be negative; we
    take :math:`\exp(\cos / \tau)`, as the supervised contrastive loss that the paper cites (Khosla et al., 2020):

    .. math::
        L = -\operatorname{mean}_i \log
        \frac{\sum_{p \in P(i)} \exp(\cos(z_i, z_p) / \tau)}{\sum_{j \ne i} \exp(\cos(z_i, z_j) / \tau)}

    with :math:`P(i)` the other samples of the class of :math:`i`. Anchors without a positive are left out of the mean;
    where there is none at all, and in a batch of one class, the loss is exactly 0 with a gradient graph. A sample that
    is absent is neither anchor, positive nor negative. Computed in float32 under autocast and for half-precision input;
    float64 stays float64.

    Args:
        z: Embeddings of one modality, ``(batch, dim)``; their length does not matter, and a vector of 0 has cosine 0
            with every other.
        labels: Class indices, int64, ``(batch,)``.
        temperature: :math:`\tau` (Khosla's 0.07; MERCL gives none).
        present: Which samples have the modality, ``(batch,)`` bool (default: all).
        positives: ``"sum"``: over positives inside the logarithm, as eq. 3. ``"mean"``: of the logarithms outside of
            it, Khosla's eq. 2, the usual supervised contrastive loss. The two are one where each anchor has one
            positive.

    Returns:
        The loss, a scalar, at least 0.

    Raises:
        ShapeError: If shapes do not fit.
        ConfigError: If ``labels`` is not int64, or a setting is impossible.

    Example:
        >>> import torch
        >>> from evermodels.functional import intra_modal_contrastive
        >>> z = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
        >>> intra_modal_contrastive(z, torch.tensor([0, 0, 1]), 1.0)  # log(1 + 1 / e)
        tensor(0.3133)
    """
    check_axes("z", z, "batch dim")
    _check_labels(labels, z.shape[0])
    check_settings(temperature, positives)
    settings: Any = {"temperature": temperature, "positives": positives}
    if present is not None:
        _check_flags("present", present, z.shape[0])
    with without_autocast(z):
        unit = _units(z, present)
        here = z.new_ones(z.shape[0], dtype=torch.bool) if present is None else present
        itself = torch.eye(z.shape[0], dtype=torch.bool, device=z.device)
        same = (labels[:, None] == labels) & ~itself
        return _term(unit @ unit.mT, same, here, here, itself=itself, **settings)[0]


def inter_modal_contrastive(
    z: Mapping[str, Tensor],
    labels: Tensor,
    temperature: float = 0.07,
    *,
    present: Mapping[str, Tensor] | None = None,
    positives: Positives = "sum",
) -> Tensor:
    r"""Supervised contrastive loss from each modality to all others (EMCL).

    MERCL, section 3.2, eq. 4, read as :func:`intra_modal_contrastive` reads eq. 3: the anchor :math:`z_i^m` is of one
    modality, its positives are all samples of its class in the other modalities and its negatives all others there:

    .. math::
        L = -\operatorname{mean}_m \operatorname{mean}_i \log
        \frac{\sum_{n \ne m} \sum_{p: y_p = y_i} \exp(\cos(z_i^m, z_p^n) / \tau)}
        {\sum_{n \ne m} \sum_j \exp(\cos(z_i^m, z_j^n) / \tau)}

    The sample itself, in another modality, is one of its positives (a choice; the paper counts 2N of them in two other
    modalities). The mean is over the anchors of a modality and then over modalities; anchors without a positive, and
    modalities without an anchor, are left out. Nothing left, or one modality only: exactly 0 with a gradient graph.

    Args:
        z: Embeddings by modality, each ``(batch, dim)``, in one space.
        labels: Class indices, int64, ``(batch,)``.
        temperature: :math:`\tau`.
        present: Which samples have a modality, ``(batch,)`` bool by modality (default: all).
        positives: As :func:`intra_modal_contrastive` takes it.

    Returns:
        The loss, a scalar, at least 0.

    Raises:
        ShapeError: If shapes do not fit.
        ConfigError: If ``labels`` is not int64, or a setting is impossible.

    Example:
        >>> import torch
        >>> from evermodels.functional import inter_modal_contrastive
        >>> z = {"eeg": torch.tensor([[1.0, 0.0], [0.0, 1.0]]), "video": torch.tensor([[3.0, 0.0], [0.0, 3.0]])}
        >>> inter_modal_contrastive(z, torch.tensor([0, 1]), 1.0)  # log(1 + 1 / e)
        tensor(0.3133)
    """
    here = _here(z, present)
    some = next(iter(z.values()))
    _check_labels(labels, some.shape[0])
    check_settings(temperature, positives)
    settings: Any = {"temperature": temperature, "positives": positives}
    with without_autocast(some):
        units = {name: _units(x, (present or {}).get(name)) for name, x in z.items()}
        if len(z) < 2:
            return units.popitem()[1].sum() * 0
        same = labels[:, None] == labels
        terms, there = [], []
        for name, unit in units.items():
            rest = [other for other in units if other != name]
            cosines = unit @ torch.cat([units[other] for other in rest]).mT
            contrasts = torch.cat([here[other] for other in rest])
            alike = same.repeat(1, len(rest))
            term, some_left = _term(cosines, alike, contrasts, here[name], itself=None, **settings)
            terms.append(term)
            there.append(some_left)
        return _mean(torch.stack(terms), torch.stack(there))


def sample_alignment(
    z: Mapping[str, Tensor],
    margin: float = 1.0,
    mask: Tensor | None = None,
    *,
    present: Mapping[str, Tensor] | None = None,
) -> Tensor:
    r"""Distance between the modalities of each sample (SMCL).

    MERCL, section 3.2, eq. 5-6, on unit vectors (a choice, as is :math:`\alpha = 1`; the paper gives neither):

    .. math::
        L = \operatorname{mean}_m \operatorname{mean}_i \operatorname{mean}_{n \ne m}
        \left( \cos(z_i^m, z_i^n) - \alpha \right)^2

    which for three modalities is eq. 6. Samples that ``mask`` leaves out (in the paper those with a silent sound) and
    modalities that a sample lacks do not count; nothing left, or one modality only: exactly 0 with a gradient graph.

    Args:
        z: Embeddings by modality, each ``(batch, dim)``, in one space.
        margin: :math:`\alpha`, the cosine that is aimed at, in -1..1.
        mask: Which samples count, ``(batch,)`` bool (default: all).
        present: Which samples have a modality, ``(batch,)`` bool by modality (default: all).

    Returns:
        The loss, a scalar, at least 0.

    Raises:
        ShapeError: If shapes do not fit.
        ConfigError: If flags are not bool, or the margin is no cosine.

    Example:
        >>> import torch
        >>> from evermodels.functional import sample_alignment
        >>> z = {"eeg": torch.tensor([[1.0, 0.0], [0.0, 1.0]]), "video": torch.tensor([[5.0, 0.0], [5.0, 0.0]])}
        >>> sample_alignment(z), sample_alignment(z, mask=torch.tensor([True, False]))
        (tensor(0.5000), tensor(0.))
    """
    here = _here(z, present)
    some = next(iter(z.values()))
    if isinstance(margin, bool) or not -1 <= margin <= 1:
        raise ConfigError(f"margin: expected a cosine in -1..1, got {margin!r}.")
    if mask is not None:
        _check_flags("mask", mask, some.shape[0])
    with without_autocast(some):
        units = torch.stack([_units(x, (present or {}).get(name)) for name, x in z.items()], dim=1)
        flags = torch.stack(list(here.values()), dim=1)
        if mask is not None:
            flags = flags & mask[:, None]
        off_diagonal = ~torch.eye(len(z), dtype=torch.bool, device=some.device)
        pairs = flags[:, :, None] & flags[:, None, :] & off_diagonal
        error = torch.where(pairs, (units @ units.mT - margin).square(), 0)
        of_anchor = error.sum(2) / pairs.sum(2).clamp_min(1)
        anchors = pairs.any(2)
        of_modality = of_anchor.sum(0) / anchors.sum(0).clamp_min(1)
        return _mean(of_modality, anchors.any(0))
