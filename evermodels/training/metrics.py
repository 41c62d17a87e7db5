"""What a set of predictions is worth: accuracy, UAR, weighted F1, the data set's own scores, and UAR by person."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.special
import scipy.stats

from evermodels.training.bootstrap import metric_names, metric_values
from evermodels.training.predictions import Predictions


def uar(predictions: Predictions) -> float:
    """Return the unweighted average recall: the mean recall of the classes that occur among the labels.

    Args:
        predictions: The predictions.
    """
    return float(metric_values(predictions, "uar")[0])


def auroc(predictions: Predictions) -> float:
    """Return the area under the ROC curve: of two classes that of the second, of more the mean of one against the rest.

    Pooled over all people, so that a threshold which differs from person to person costs; ties count half.

    Args:
        predictions: The predictions.

    Returns:
        NaN where fewer than two classes occur.

    Example:
        >>> logits = np.array([[2.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
        >>> auroc(Predictions(logits, np.array([0, 0, 1, 1])))
        0.875
    """
    return _one_against_rest(predictions, _area_under_roc)


def auc_pr(predictions: Predictions) -> float:
    """Return the area under the precision-recall curve as average precision, by classes as :func:`auroc`.

    Args:
        predictions: The predictions.

    Returns:
        NaN where fewer than two classes occur.

    Example:
        >>> logits = np.array([[2.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.5]])
        >>> auc_pr(Predictions(logits, np.array([0, 0, 1, 0])))
        1.0
    """
    return _one_against_rest(predictions, _average_precision)


def _one_against_rest(predictions: Predictions, area: Callable[[np.ndarray, np.ndarray], float]) -> float:
    label, logits = predictions.label, predictions.logits.astype(np.float64)
    occurring = np.unique(label)
    if len(occurring) < 2:
        return float("nan")
    classes = [1] if logits.shape[1] == 2 else occurring.tolist()
    # The log-odds of a class, which do not end at 1 as its probability does.
    odds = [logits[:, k] - scipy.special.logsumexp(np.delete(logits, k, axis=1), axis=1) for k in classes]
    return float(np.mean([area(score, label == k) for k, score in zip(classes, odds, strict=True)]))


def _area_under_roc(score: np.ndarray, positive: np.ndarray) -> float:
    count = int(positive.sum())
    ranks = scipy.stats.rankdata(score)[positive].sum() - count * (count + 1) / 2
    return float(ranks / (count * (len(score) - count)))


def _average_precision(score: np.ndarray, positive: np.ndarray) -> float:
    order = np.argsort(-score, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)  # equal scores are one threshold
    hits = np.cumsum(positive[order])[ends]
    return float((np.diff(hits, prepend=0) * hits / (ends + 1)).sum() / positive.sum())


def summarize(predictions: Predictions) -> dict[str, Any]:
    """Return every metric of a set of predictions (EVER, section 4.1: accuracy, UAR, weighted F1).

    Args:
        predictions: The predictions.

    Returns:
        ``accuracy``, ``uar``, ``weighted_f1``, ``nll`` (mean negative log-likelihood in nats), ``recall`` by class;
        the data set's own scores and, of several, ``mean_of_scores``, ``product_of_scores`` and ``uar_minus_product``
        (:func:`~evermodels.training.metric_values`); ``per_person``: by group the UAR of each person (``uar``) with
        ``mean`` and ``std`` (over people, n − 1); and ``samples``.

    Example:
        >>> people = {"person": np.array(["30", "30", "31", "31"])}
        >>> result = summarize(Predictions(np.eye(2)[[0, 1, 0, 0]], np.array([0, 1, 0, 1]), people))
        >>> result["accuracy"], result["uar"], result["per_person"]["person"]["uar"]
        (0.75, 0.75, {'30': 1.0, '31': 0.5})
    """
    label, classes = predictions.label, predictions.logits.shape[1]
    support = np.bincount(label, minlength=classes)
    hit = np.bincount(label[predictions.predicted == label], minlength=classes)
    chosen = predictions.probabilities[np.arange(len(label)), label]
    result: dict[str, Any] = {
        "samples": len(label),
        **{name: float(metric_values(predictions, name)[0]) for name in metric_names(predictions.levels)},
        "nll": float(-np.log(np.maximum(chosen, np.finfo(np.float64).tiny)).mean()),
        "recall": [float(h / s) if s else None for h, s in zip(hit, support, strict=True)],
        "per_person": {},
    }
    for group, ids in predictions.groups.items():
        each = {str(person): uar(predictions.take(ids == person)) for person in np.unique(ids) if person != ""}
        values = np.array(list(each.values()))
        if each:
            spread = float(values.std(ddof=1)) if len(values) > 1 else 0.0
            result["per_person"][group] = {"mean": float(values.mean()), "std": spread, "uar": each}
    return result
