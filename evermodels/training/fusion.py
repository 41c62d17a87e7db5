"""What a fusion is to be measured by: the answers of its parts, put together without any training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.special

from evermodels.core.errors import ConfigError, DataError, did_you_mean
from evermodels.datasets.quadrant import HALVES
from evermodels.training.metrics import Predictions


def _log_probabilities(logits: np.ndarray, half: str) -> np.ndarray:
    """Log-probability of each class, or with a half that of the class's level in it, ``(samples, classes)``."""
    classes: np.ndarray = scipy.special.log_softmax(logits.astype(np.float64), axis=1)
    if half == "both":
        return classes
    level = np.array(HALVES[half])
    levels = np.stack([scipy.special.logsumexp(classes[:, level == k], axis=1) for k in (0, 1)], axis=1)
    return levels[:, level]


def late_fusion(sources: Sequence[Predictions], halves: Sequence[str] | None = None) -> Predictions:
    r"""Put the answers of several models together without training: the sum of their log-probabilities.

    .. math:: \ell_c = \sum_m \log p_m(c)

    For classes that are equally frequent, and inputs that are independent given the class, this is the best that can
    be made of the models' answers. A model that was trained on one half of the quadrant classes speaks for that half
    only: what it says of the other is left over from its random start.

    Args:
        sources: Predictions of each model on the same samples in the same order.
        halves: For each model ``"both"`` (default), or the half that it was trained on.

    Returns:
        The sums as logits.

    Raises:
        DataError: If there is no model, or the samples differ.
        ConfigError: If a half does not exist, or does not fit the classes.

    Example:
        >>> people, label = np.array(["30", "31"]), np.array([0, 3])
        >>> eeg = Predictions(np.log([[0.6, 0.2, 0.1, 0.1], [0.1, 0.1, 0.5, 0.3]]), label, people)
        >>> video = Predictions(np.log([[0.4, 0.3, 0.2, 0.1], [0.1, 0.4, 0.1, 0.4]]), label, people)
        >>> late_fusion([eeg, video], ["arousal", "valence"]).predicted
        array([0, 3])
    """
    if not sources:
        raise DataError("sources: expected the predictions of at least one model, got none.")
    halves = ["both"] * len(sources) if halves is None else list(halves)
    if len(halves) != len(sources):
        raise ConfigError(f"halves: expected {len(sources)}, one for each model, got {len(halves)}.")
    first = sources[0]
    for source, half in zip(sources, halves, strict=True):
        if half != "both" and half not in HALVES:
            allowed = ("both", *HALVES)
            raise ConfigError(
                f"halves: expected one of {', '.join(allowed)}, got {half!r}.{did_you_mean(half, allowed)}"
            )
        if half != "both" and source.logits.shape[1] != len(HALVES[half]):
            raise ConfigError(f"halves: {half!r} needs the four quadrant classes, got {source.logits.shape[1]}.")
        same = source.logits.shape == first.logits.shape
        if not same or any(
            not np.array_equal(getattr(source, key), getattr(first, key)) for key in ("label", "eeg_subject", "face_id")
        ):
            raise DataError(
                "sources: the models were not given the same samples in the same order. Evaluate all on one part with "
                "one pairing seed."
            )
    total = np.sum([_log_probabilities(s.logits, half) for s, half in zip(sources, halves, strict=True)], axis=0)
    return Predictions(total, first.label, first.eeg_subject, first.face_id)


def own_late_fusion(predictions: Predictions) -> Predictions | None:
    """Put the answers of one model together that it gave with each modality alone, or return ``None`` without them.

    Args:
        predictions: Predictions with ``alone``, as :func:`predict` makes them.

    Example:
        >>> alone = {"eeg": np.array([[0.0, 1.0]]), "video": np.array([[3.0, 0.0]])}
        >>> both = Predictions(np.zeros((1, 2)), np.array([0]), np.array(["30"]), alone=alone)
        >>> own_late_fusion(both).predicted
        array([0])
    """
    if len(predictions.alone) < 2:
        return None
    people = (predictions.label, predictions.eeg_subject, predictions.face_id)
    return late_fusion([Predictions(logits, *people) for logits in predictions.alone.values()])
