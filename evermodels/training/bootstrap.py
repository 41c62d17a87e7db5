"""Intervals over people: a bootstrap crossed over EEG subjects and face people, paired between models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from evermodels.core.errors import ConfigError, DataError, did_you_mean
from evermodels.training.metrics import Predictions, halves

METRICS = ("accuracy", "uar", "weighted_f1", "arousal", "valence")
OF_HALVES = ("product_of_halves", "uar_minus_product")


class Interval(NamedTuple):
    """A value with its percentile interval.

    Args:
        value: On the samples as they are.
        low: Lower end.
        high: Upper end.

    Example:
        >>> Interval(0.7, 0.6, 0.8).low
        0.6
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Resamples:
    """The multiplicities of the people in each resample; the same object serves every model that is compared.

    Args:
        eeg: ``(resamples, EEG subjects)`` how often each was drawn.
        face: ``(resamples, face people)`` how often each was drawn.

    Example:
        >>> Resamples.draw(6, 17, n=5).face.shape
        (5, 17)
    """

    eeg: np.ndarray
    face: np.ndarray

    @classmethod
    def draw(cls, eeg_subjects: int, face_people: int, *, n: int = 2000, seed: int = 0) -> Resamples:
        """Draw people with replacement, EEG subjects and face people apart from each other.

        Args:
            eeg_subjects: Number of EEG subjects.
            face_people: Number of face people.
            n: Number of resamples.
            seed: Of the draw.

        Example:
            >>> Resamples.draw(6, 17, n=5).eeg.sum(axis=1)
            array([6, 6, 6, 6, 6])
        """
        rng = np.random.default_rng(seed)
        return cls(
            rng.multinomial(eeg_subjects, np.full(eeg_subjects, 1 / eeg_subjects), size=n),
            rng.multinomial(face_people, np.full(face_people, 1 / face_people), size=n),
        )


def verdict(difference: Interval, margin: float = 0.05) -> str:
    """Return what a difference shows: ahead, behind, equal within a margin that was stated beforehand, or undecided.

    An interval that holds 0 shows no equality: it is undecided unless the whole of it lies inside the margin.

    Args:
        difference: As :func:`paired_difference` returns it.
        margin: What counts as no difference that matters; to be settled before the difference is seen.

    Returns:
        ``"ahead"`` or ``"behind"`` where the interval excludes 0 (with ``", within …"`` where it lies inside the
        margin all the same), ``"equal within …"`` where it holds 0 and lies inside the margin, else ``"undecided"``.

    Raises:
        ConfigError: If the margin is not a positive number.

    Example:
        >>> verdict(Interval(-0.017, -0.130, 0.116)), verdict(Interval(0.01, -0.02, 0.03))
        ('undecided', 'equal within 0.05')
        >>> verdict(Interval(-0.3, -0.4, -0.2)), verdict(Interval(0.02, 0.01, 0.03))
        ('behind', 'ahead, within 0.05')
    """
    if not 0 < margin < np.inf:
        raise ConfigError(f"margin: expected a positive number, got {margin!r}.")
    inside = -margin < difference.low and difference.high < margin
    if difference.low > 0 or difference.high < 0:
        return ("ahead" if difference.low > 0 else "behind") + (f", within {margin:g}" if inside else "")
    return f"equal within {margin:g}" if inside else "undecided"


def _codes(values: np.ndarray) -> tuple[np.ndarray, int]:
    names, codes = np.unique(values, return_inverse=True)
    return codes, len(names)


def _confusions(
    true: np.ndarray, guess: np.ndarray, classes: int, people: Predictions, resamples: Resamples | None
) -> np.ndarray:
    """Confusion matrices ``(resamples, true, guess)`` under weights = product of the two multiplicities."""
    eeg, eeg_count = _codes(people.eeg_subject)
    face, face_count = _codes(people.face_id)
    table = np.zeros((eeg_count, face_count, classes * classes))
    np.add.at(table, (eeg, face, true * classes + guess), 1.0)
    if resamples is None:
        return table.sum(axis=(0, 1)).reshape(1, classes, classes)
    if resamples.eeg.shape[1] != eeg_count or resamples.face.shape[1] != face_count:
        raise DataError(
            f"resamples: drawn for {resamples.eeg.shape[1]} EEG subjects and {resamples.face.shape[1]} face people, "
            f"the predictions have {eeg_count} and {face_count}. Draw them with resamples_for(predictions)."
        )
    by_face = (resamples.eeg.astype(np.float64) @ table.reshape(eeg_count, -1)).reshape(-1, face_count, classes**2)
    return np.einsum("rf,rfk->rk", resamples.face.astype(np.float64), by_face).reshape(-1, classes, classes)


def _accuracy(confusion: np.ndarray) -> np.ndarray:
    return np.trace(confusion, axis1=1, axis2=2) / confusion.sum(axis=(1, 2))


def _uar(confusion: np.ndarray) -> np.ndarray:
    support, hit = confusion.sum(axis=2), np.diagonal(confusion, axis1=1, axis2=2)
    recall = np.divide(hit, support, out=np.zeros_like(hit), where=support > 0)
    return recall.sum(axis=1) / (support > 0).sum(axis=1)


def _weighted_f1(confusion: np.ndarray) -> np.ndarray:
    support, called = confusion.sum(axis=2), confusion.sum(axis=1)
    hit, both = np.diagonal(confusion, axis1=1, axis2=2), support + called
    f1 = np.divide(2 * hit, both, out=np.zeros_like(both), where=both > 0)
    return (f1 * support).sum(axis=1) / support.sum(axis=1)


def resamples_for(predictions: Predictions, *, n: int = 2000, seed: int = 0) -> Resamples:
    """Draw resamples of the people of a part.

    Args:
        predictions: Any model's predictions on the part.
        n: Number of resamples.
        seed: Of the draw.
    """
    return Resamples.draw(_codes(predictions.eeg_subject)[1], _codes(predictions.face_id)[1], n=n, seed=seed)


def metric_values(predictions: Predictions, metric: str, resamples: Resamples | None = None) -> np.ndarray:
    """Return a metric in every resample, each sample weighted by the product of its two people's multiplicities.

    A class without weight in a resample is left out of the mean recall; a resample without any sample (no drawn EEG
    subject meets a drawn face) is NaN.

    Args:
        predictions: The predictions.
        metric: ``"accuracy"``, ``"uar"``, ``"weighted_f1"``; with the four quadrant classes also ``"arousal"`` and
            ``"valence"`` (balanced accuracy of the half), ``"product_of_halves"`` (of the two), which a fusion reaches
            that gains nothing beyond its halves, and ``"uar_minus_product"``.
        resamples: The draws; ``None`` for the samples as they are.

    Returns:
        ``(resamples,)`` values, or ``(1,)`` without resamples.

    Raises:
        ConfigError: If there is no such metric.
        DataError: If the draws are for other people.

    Example:
        >>> people = np.array(["30", "31"])
        >>> one_right = Predictions(np.eye(2)[[0, 0]], np.array([0, 1]), people, people)
        >>> twice_the_first = Resamples(eeg=np.array([[2, 0]]), face=np.array([[1, 1]]))
        >>> metric_values(one_right, "accuracy"), metric_values(one_right, "accuracy", twice_the_first)
        (array([0.5]), array([1.]))
    """
    allowed = METRICS + OF_HALVES
    if metric not in allowed:
        raise ConfigError(
            f"metric: expected one of {', '.join(allowed)}, got {metric!r}.{did_you_mean(metric, allowed)}"
        )
    both = {} if metric in ("accuracy", "uar", "weighted_f1") else halves(predictions)
    if metric in OF_HALVES and both:
        product = np.prod([metric_values(predictions, half, resamples) for half in both], axis=0)
        return product if metric == OF_HALVES[0] else metric_values(predictions, "uar", resamples) - product
    if metric in both:
        confusion = _confusions(*both[metric], 2, predictions, resamples)
    elif metric in ("accuracy", "uar", "weighted_f1"):
        classes = predictions.logits.shape[1]
        confusion = _confusions(predictions.label, predictions.predicted, classes, predictions, resamples)
    else:
        raise ConfigError(f"metric: {metric!r} needs the four quadrant classes, got {predictions.logits.shape[1]}.")
    reduce = {"accuracy": _accuracy, "weighted_f1": _weighted_f1}.get(metric, _uar)
    with np.errstate(invalid="ignore"):
        return reduce(confusion)


def _averaged(runs: Sequence[Predictions], metric: str, resamples: Resamples | None) -> np.ndarray:
    return np.mean([metric_values(run, metric, resamples) for run in runs], axis=0)


def _check_same(runs: Sequence[Predictions]) -> None:
    if not runs:
        raise DataError("runs: expected the predictions of at least one seed, got none.")
    for other in runs[1:]:
        for key in ("label", "eeg_subject", "face_id"):
            if not np.array_equal(getattr(runs[0], key), getattr(other, key)):
                raise DataError(
                    f"runs: {key} differs between the predictions, so they are not of the same samples in the same "
                    "order and cannot be paired. Evaluate both on the same part with the same pairing seed."
                )


def _interval(value: float, values: np.ndarray, level: float) -> Interval:
    low, high = np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(value), float(low), float(high))


def interval(
    runs: Sequence[Predictions], metric: str = "uar", *, n: int = 2000, seed: int = 0, level: float = 0.95
) -> Interval:
    """Return a metric with its percentile interval over resampled people.

    EEG subjects and face people are drawn with replacement, independently (a crossed bootstrap; both are random
    factors of the pairs). Within a resample the metric is computed for each seed's predictions under the same weights
    and then averaged over the seeds: the interval is about people, at these trained seeds.

    Args:
        runs: The predictions of one model, one per seed, on the same samples.
        metric: As in :func:`metric_values`.
        n: Number of resamples.
        seed: Of the draw.
        level: Coverage of the interval.

    Returns:
        The value on the samples as they are (mean over seeds), and the interval's ends.

    Raises:
        DataError: If the seeds were evaluated on different samples, or there is none.
        ConfigError: If there is no such metric.

    Example:
        >>> people = np.array(["30", "31"])
        >>> all_right = Predictions(np.eye(2), np.array([0, 1]), people, people)
        >>> interval([all_right], "accuracy", n=50)
        Interval(value=1.0, low=1.0, high=1.0)
    """
    _check_same(runs)
    draws = resamples_for(runs[0], n=n, seed=seed)
    return _interval(_averaged(runs, metric, None)[0], _averaged(runs, metric, draws), level)


def paired_difference(
    runs_a: Sequence[Predictions],
    runs_b: Sequence[Predictions],
    metric: str = "uar",
    *,
    n: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Return how much a model is ahead of another, with an interval over the same resampled people.

    In each resample both models see the same people with the same weights; each model's metric is averaged over its
    seeds, then subtracted. What the interval says: :func:`verdict`.

    Args:
        runs_a: Predictions of the one model, one per seed.
        runs_b: Predictions of the other, on the same samples.
        metric: As in :func:`metric_values`.
        n: Number of resamples.
        seed: Of the draw.
        level: Coverage of the interval.

    Returns:
        Difference a − b on the samples as they are, and the interval's ends.

    Raises:
        DataError: If the samples differ, or a model has no run.
        ConfigError: If there is no such metric.

    Example:
        >>> import numpy as np
        >>> people, label = np.array(["30", "31"] * 4), np.array([0, 1] * 4)
        >>> right = Predictions(np.eye(2)[label], label, people, people)
        >>> wrong = Predictions(np.eye(2)[1 - label], label, people, people)
        >>> paired_difference([right], [wrong], "accuracy").value
        1.0
    """
    _check_same([*runs_a, *runs_b] if runs_a and runs_b else [])
    draws = resamples_for(runs_a[0], n=n, seed=seed)
    value = _averaged(runs_a, metric, None) - _averaged(runs_b, metric, None)
    return _interval(value[0], _averaged(runs_a, metric, draws) - _averaged(runs_b, metric, draws), level)
