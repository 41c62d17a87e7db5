"""Intervals over people: a bootstrap crossed over the groups of people there are, paired between models."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from evermodels.core.errors import ConfigError, DataError, did_you_mean
from evermodels.training.predictions import Predictions, check_same

_CELLS = 1 << 23  # weights held at once, 64 MB


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

    def plain(self) -> dict[str, float | None]:
        """Return it as JSON can hold it: ends that do not exist are ``None``."""
        ends = {"low": self.low, "high": self.high}
        return {"value": self.value, **{name: None if math.isnan(end) else end for name, end in ends.items()}}


def ends_text(ends: Mapping[str, float | None], sign: str = "") -> str:
    """Return the ends of an interval for people.

    Args:
        ends: As :meth:`Interval.plain` returns it.
        sign: ``"+"`` for differences.

    Example:
        >>> ends_text(Interval(0.7, 0.6, 0.8).plain()), ends_text(Interval(0.7, math.nan, math.nan).plain())
        ('[0.600, 0.800]', '[n/a: one person]')
    """
    if ends["low"] is None or ends["high"] is None:
        return "[n/a: one person]"
    return f"[{ends['low']:{sign}.3f}, {ends['high']:{sign}.3f}]"


@dataclass(frozen=True)
class Resamples:
    """The multiplicities of the people in each resample; the same object serves every model that is compared.

    Args:
        counts: By group ``(resamples, people)``, how often each of its people was drawn, people in the order of their
            ids.

    Example:
        >>> Resamples.draw({"eeg_subject": 6, "face_id": 17}, n=5).counts["face_id"].shape
        (5, 17)
    """

    counts: Mapping[str, np.ndarray]

    @classmethod
    def draw(cls, people: Mapping[str, int], *, n: int = 2000, seed: int = 0) -> Resamples:
        """Draw people with replacement, each group apart from the others.

        Args:
            people: Number of people by group.
            n: Number of resamples.
            seed: Of the draw.

        Example:
            >>> Resamples.draw({"person": 6}, n=5).counts["person"].sum(axis=1)
            array([6, 6, 6, 6, 6])
        """
        rng = np.random.default_rng(seed)
        drawn = {name: rng.multinomial(count, np.full(count, 1 / count), size=n) for name, count in people.items()}
        return cls(drawn)


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


def _codes(predictions: Predictions) -> dict[str, tuple[np.ndarray, int]]:
    """By group the place of each sample's person, and the number of people; nobody has the last place."""
    codes = {}
    for name, ids in predictions.groups.items():
        people, place = np.unique(ids, return_inverse=True)
        nobody = int(str(people[0]) == "")
        if len(people) > nobody:
            codes[name] = ((place - nobody) % len(people), len(people) - nobody)
    samples = len(predictions.label)
    return codes or {"sample": (np.arange(samples), samples)}


def _confusions(
    true: np.ndarray, guess: np.ndarray, classes: int, people: Predictions, resamples: Resamples | None
) -> np.ndarray:
    """Confusion matrices ``(resamples, true, guess)``; a sample weighs the product of its people's multiplicities."""
    kind = true * classes + guess
    if resamples is None:
        return np.bincount(kind, minlength=classes**2).reshape(1, classes, classes).astype(np.float64)
    codes = _codes(people)
    drawn = {name: counts.shape[1] for name, counts in resamples.counts.items()}
    if drawn != (have := {name: count for name, (_, count) in codes.items()}):
        raise DataError(
            f"resamples: drawn for {drawn}, the predictions have {have} people. Draw them with "
            "resamples_for(predictions)."
        )
    # Samples of the same people are one cell, so that the weights are of cells and not of samples.
    cells, cell = np.unique(np.stack([code for code, _ in codes.values()], axis=1), axis=0, return_inverse=True)
    table = np.zeros((len(cells), classes**2))
    np.add.at(table, (cell.reshape(-1), kind), 1.0)
    multiplicities = [np.pad(c, ((0, 0), (0, 1)), constant_values=1) for c in resamples.counts.values()]
    blocks = np.array_split(np.arange(len(multiplicities[0])), -(-len(multiplicities[0]) * len(cells) // _CELLS))
    weighted = [
        np.prod([m[rows][:, cells[:, k]] for k, m in enumerate(multiplicities)], axis=0, dtype=np.float64) @ table
        for rows in blocks
    ]
    return np.concatenate(weighted).reshape(-1, classes, classes)


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


_PLAIN = {"accuracy": _accuracy, "uar": _uar, "weighted_f1": _weighted_f1}
OF_SCORES = ("mean_of_scores", "product_of_scores", "uar_minus_product")


def metric_names(scores: Iterable[str]) -> tuple[str, ...]:
    """Return the metrics that there are for a data set with these scores of its own.

    Args:
        scores: Names of the scores.

    Example:
        >>> metric_names(["arousal", "valence"])[:5]
        ('accuracy', 'uar', 'weighted_f1', 'arousal', 'valence')
    """
    scores = tuple(scores)
    return (*_PLAIN, *scores, *(OF_SCORES if len(scores) > 1 else ()))


def resamples_for(predictions: Predictions, *, n: int = 2000, seed: int = 0) -> Resamples:
    """Draw resamples of the people of a part.

    Args:
        predictions: Any model's predictions on the part.
        n: Number of resamples.
        seed: Of the draw.
    """
    return Resamples.draw({name: count for name, (_, count) in _codes(predictions).items()}, n=n, seed=seed)


def metric_values(predictions: Predictions, metric: str, resamples: Resamples | None = None) -> np.ndarray:
    """Return a metric in every resample, each sample weighted by the product of its people's multiplicities.

    A class without weight in a resample is left out of the mean recall; a resample without any sample (no drawn person
    of one group meets one of another) is NaN.

    Args:
        predictions: The predictions.
        metric: ``"accuracy"``, ``"uar"``, ``"weighted_f1"``, or a score of the data set's own (balanced accuracy of its
            levels, :meth:`Predictions.scored`). With several such scores also ``"mean_of_scores"``,
            ``"product_of_scores"``, which a fusion reaches that gains nothing beyond its parts, and
            ``"uar_minus_product"``.
        resamples: The draws; ``None`` for the samples as they are.

    Returns:
        ``(resamples,)`` values, or ``(1,)`` without resamples.

    Raises:
        ConfigError: If there is no such metric.
        DataError: If the draws are for other people.

    Example:
        >>> one_right = Predictions(np.eye(2)[[0, 0]], np.array([0, 1]), {"person": np.array(["30", "31"])})
        >>> twice_the_first = Resamples({"person": np.array([[2, 0]])})
        >>> metric_values(one_right, "accuracy"), metric_values(one_right, "accuracy", twice_the_first)
        (array([0.5]), array([1.]))
    """
    allowed = metric_names(predictions.levels)
    if metric not in allowed:
        raise ConfigError(
            f"metric: expected one of {', '.join(allowed)}, got {metric!r}.{did_you_mean(metric, allowed)}"
        )
    if metric in OF_SCORES:
        each = np.stack([metric_values(predictions, name, resamples) for name in predictions.levels])
        if metric == "mean_of_scores":
            return each.mean(axis=0)
        product = each.prod(axis=0)
        return product if metric == "product_of_scores" else metric_values(predictions, "uar", resamples) - product
    if metric in predictions.levels:
        true, guess = predictions.scored(metric)
        classes = int(np.max(predictions.levels[metric])) + 1
    else:
        true, guess, classes = predictions.label, predictions.predicted, predictions.logits.shape[1]
    confusion = _confusions(true, guess, classes, predictions, resamples)
    with np.errstate(invalid="ignore"):
        return _PLAIN.get(metric, _uar)(confusion)


def _averaged(runs: Sequence[Predictions], metric: str, resamples: Resamples | None) -> np.ndarray:
    return np.mean([metric_values(run, metric, resamples) for run in runs], axis=0)


def _interval(value: float, values: np.ndarray, level: float, draws: Resamples) -> Interval:
    if all(counts.shape[1] == 1 for counts in draws.counts.values()):
        return Interval(float(value), math.nan, math.nan)  # every resample is the same person
    low, high = np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(value), float(low), float(high))


def interval(
    runs: Sequence[Predictions], metric: str = "uar", *, n: int = 2000, seed: int = 0, level: float = 0.95
) -> Interval:
    """Return a metric with its percentile interval over resampled people.

    The people of each group are drawn with replacement, the groups independently of each other (a bootstrap crossed
    over as many groups as there are: one, or two where EEG and faces are of different people, …; without any group
    samples are drawn). Within a resample the metric is computed for each seed's predictions under the same weights and
    then averaged over the seeds: the interval is about people, at these trained seeds.

    Args:
        runs: The predictions of one model, one per seed, on the same samples.
        metric: As in :func:`metric_values`.
        n: Number of resamples.
        seed: Of the draw.
        level: Coverage of the interval.

    Returns:
        The value on the samples as they are (mean over seeds), and the interval's ends: NaN where each group has only
        one person, from whom nothing follows on others.

    Raises:
        DataError: If the seeds were evaluated on different samples, or there is none.
        ConfigError: If there is no such metric.

    Example:
        >>> all_right = Predictions(np.eye(2), np.array([0, 1]), {"person": np.array(["30", "31"])})
        >>> interval([all_right], "accuracy", n=50)
        Interval(value=1.0, low=1.0, high=1.0)
    """
    check_same(runs, "runs")
    draws = resamples_for(runs[0], n=n, seed=seed)
    return _interval(_averaged(runs, metric, None)[0], _averaged(runs, metric, draws), level, draws)


def intervals(predictions: Predictions) -> dict[str, dict[str, float | None]]:
    """Return the intervals of accuracy, UAR, weighted F1 and the data set's own scores as plain numbers.

    The ends are ``None`` where only one person was tested: from one, nothing follows on others.

    Args:
        predictions: The predictions.
    """
    return {name: interval([predictions], name).plain() for name in (*_PLAIN, *predictions.levels)}


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
        >>> people, label = {"person": np.array(["30", "31"] * 4)}, np.array([0, 1] * 4)
        >>> right = Predictions(np.eye(2)[label], label, people)
        >>> wrong = Predictions(np.eye(2)[1 - label], label, people)
        >>> paired_difference([right], [wrong], "accuracy").value
        1.0
    """
    check_same([*runs_a, *runs_b] if runs_a and runs_b else [], "runs")
    draws = resamples_for(runs_a[0], n=n, seed=seed)
    value = _averaged(runs_a, metric, None) - _averaged(runs_b, metric, None)
    return _interval(value[0], _averaged(runs_a, metric, draws) - _averaged(runs_b, metric, draws), level, draws)
