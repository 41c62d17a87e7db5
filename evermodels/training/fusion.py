"""What a fusion is to be measured by: the answers of its parts, put together without any training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import scipy.special

from evermodels.core.errors import ConfigError, did_you_mean
from evermodels.training.predictions import Predictions, check_same


def _log_probabilities(source: Predictions, score: str | None) -> np.ndarray:
    """Log-probability of each class, or with a score that of the class's level in it, ``(samples, classes)``."""
    classes: np.ndarray = scipy.special.log_softmax(source.logits.astype(np.float64), axis=1)
    if score is None:
        return classes
    if score not in source.levels:
        allowed = tuple(source.levels)
        raise ConfigError(
            f"scores: expected one of {', '.join(allowed) or 'none, as the predictions have no scores'}, or None, got "
            f"{score!r}.{did_you_mean(score, allowed)}"
        )
    level = np.asarray(source.levels[score])
    levels = [scipy.special.logsumexp(classes[:, level == k], axis=1) for k in range(level.max() + 1)]
    return np.stack(levels, axis=1)[:, level]


def late_fusion(sources: Sequence[Predictions], scores: Sequence[str | None] | None = None) -> Predictions:
    r"""Put the answers of several models together without training: the sum of their log-probabilities.

    .. math:: \ell_c = \sum_m \log p_m(c)

    For classes that are equally frequent, and inputs that are independent given the class, this is the best that can
    be made of the models' answers. A model that was trained on one factor of the classes speaks for that factor only:
    what it says of the others is left over from its random start.

    Args:
        sources: Predictions of each model on the same samples in the same order; a NaN (no answer) adds nothing.
        scores: For each model ``None`` (default), or the data set's score of the factor that it was trained on.

    Returns:
        The sums as logits.

    Raises:
        DataError: If there is no model, or the samples differ.
        ConfigError: If there is no such score.

    Example:
        >>> label, levels = np.array([0, 3]), {"arousal": [0, 0, 1, 1], "valence": [0, 1, 0, 1]}
        >>> eeg = Predictions(np.log([[0.6, 0.2, 0.1, 0.1], [0.1, 0.1, 0.5, 0.3]]), label, levels=levels)
        >>> video = Predictions(np.log([[0.4, 0.3, 0.2, 0.1], [0.1, 0.4, 0.1, 0.4]]), label, levels=levels)
        >>> late_fusion([eeg, video], ["arousal", "valence"]).predicted
        array([0, 3])
    """
    check_same(sources, "sources")
    scores = [None] * len(sources) if scores is None else list(scores)
    if len(scores) != len(sources):
        raise ConfigError(f"scores: expected {len(sources)}, one for each model, got {len(scores)}.")
    parts = [_log_probabilities(source, score) for source, score in zip(sources, scores, strict=True)]
    return replace(sources[0], logits=np.nansum(parts, axis=0), alone={})


def own_late_fusion(predictions: Predictions) -> Predictions | None:
    """Put the answers of one model together that it gave with each modality alone, or return ``None`` without them.

    Args:
        predictions: Predictions with ``alone``, as :func:`predict` makes them.

    Example:
        >>> alone = {"eeg": np.array([[0.0, 1.0]]), "video": np.array([[3.0, 0.0]])}
        >>> own_late_fusion(Predictions(np.zeros((1, 2)), np.array([0]), alone=alone)).predicted
        array([0])
    """
    if len(predictions.alone) < 2:
        return None
    return late_fusion([replace(predictions, logits=logits, alone={}) for logits in predictions.alone.values()])
