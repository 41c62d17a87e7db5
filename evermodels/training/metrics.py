"""What a set of predictions is worth: accuracy, UAR, weighted F1, the data set's own scores, and UAR by person."""

from __future__ import annotations

from typing import Any

import numpy as np

from evermodels.training.bootstrap import metric_names, metric_values
from evermodels.training.predictions import Predictions


def uar(predictions: Predictions) -> float:
    """Return the unweighted average recall: the mean recall of the classes that occur among the labels.

    Args:
        predictions: The predictions.
    """
    return float(metric_values(predictions, "uar")[0])


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
