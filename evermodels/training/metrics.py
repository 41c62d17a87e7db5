"""What a set of predictions is worth: accuracy, UAR, weighted F1, the two halves, and UAR per EEG subject."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import scipy.special
import torch

from evermodels.core.errors import DataError, ShapeError, boundary, require
from evermodels.datasets.quadrant import HALVES

_ARRAYS, _ALONE = ("logits", "label", "eeg_subject", "face_id"), "alone_"


@dataclass(frozen=True)
class Predictions:
    """Logits of one model on one part of a data set, with the people behind each sample.

    Args:
        logits: ``(samples, classes)`` float32.
        label: ``(samples,)`` class indices.
        eeg_subject: ``(samples,)`` who the EEG is of.
        face_id: ``(samples,)`` who the face is of (default: nobody; people with EEG are the only random factor then).
        alone: Logits of the same model given one modality alone, ``(samples, classes)`` by modality (default: none).

    Raises:
        ShapeError: If the lengths differ, or there is no sample.

    Example:
        >>> people = np.array(["30", "31"])
        >>> Predictions(np.eye(2), np.array([0, 1]), people).predicted
        array([0, 1])
    """

    logits: np.ndarray
    label: np.ndarray
    eeg_subject: np.ndarray
    face_id: np.ndarray = field(default_factory=lambda: np.array([], dtype=str))
    alone: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.face_id.shape == (0,):
            object.__setattr__(self, "face_id", np.full(len(self.logits), ""))
        if self.logits.ndim != 2 or len(self.logits) == 0:
            raise ShapeError(f"logits: expected (samples, classes) with at least one sample, got {self.logits.shape}.")
        for name in ("label", "eeg_subject", "face_id"):
            shape = getattr(self, name).shape
            if shape != self.logits.shape[:1]:
                raise ShapeError(f"{name}: expected shape {self.logits.shape[:1]} as logits has, got {shape}.")
        for name, logits in self.alone.items():
            if logits.shape != self.logits.shape:
                raise ShapeError(f"alone[{name!r}]: expected {self.logits.shape} as logits has, got {logits.shape}.")

    @property
    def predicted(self) -> np.ndarray:
        """Class of the largest logit, ``(samples,)``; the first of equals."""
        return self.logits.argmax(axis=1)

    @property
    def probabilities(self) -> np.ndarray:
        """Softmax of the logits in float64, ``(samples, classes)``."""
        return scipy.special.softmax(self.logits.astype(np.float64), axis=1)

    def take(self, rows: np.ndarray) -> Predictions:
        """Return some of the samples.

        Args:
            rows: Indices, or a bool for each sample.

        Example:
            >>> people = np.array(["30", "31"])
            >>> Predictions(np.eye(2), np.array([0, 1]), people).take(people == "31").label
            array([1])
        """
        alone = {name: logits[rows] for name, logits in self.alone.items()}
        return Predictions(self.logits[rows], self.label[rows], self.eeg_subject[rows], self.face_id[rows], alone)

    def save(self, path: Path) -> None:
        """Write an ``.npz`` file, whole or not at all.

        Args:
            path: The file.
        """
        from evermodels.training.state import write_predictions

        write_predictions(path, self)

    def write(self, stream: BinaryIO) -> None:
        """Write the bytes of an ``.npz`` file.

        Args:
            stream: Where they go.
        """
        arrays: dict[str, Any] = {name: getattr(self, name) for name in _ARRAYS}
        arrays |= {_ALONE + name: logits for name, logits in self.alone.items()}
        np.savez_compressed(stream, **arrays)

    @classmethod
    def load(cls, path: Path) -> Predictions:
        """Read what :meth:`save` wrote.

        Args:
            path: The file.

        Raises:
            DataError: If an array is missing, or the file is damaged.
        """
        way_out = "Make it again: train that row with --restart (resume=False), or write it with Predictions.save."
        with boundary(DataError, f"{str(path)!r} cannot be read", way_out), np.load(path, allow_pickle=False) as file:
            missing = set(_ARRAYS) - set(file.files)
            if missing:
                raise DataError(f"{path.name}: {', '.join(sorted(missing))} missing. Write it with Predictions.save.")
            alone = {name.removeprefix(_ALONE): file[name] for name in file.files if name.startswith(_ALONE)}
            logits, label, subject, face = (file[name] for name in _ARRAYS)
            return cls(logits, label, subject, face, alone)


def halves(predictions: Predictions) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Split four-quadrant predictions into their arousal and valence halves.

    Which classes are high in which half says :data:`evermodels.datasets.quadrant.HALVES`; a half is called high when
    the summed probability of its high classes is above one half.

    Args:
        predictions: Predictions over four classes.

    Returns:
        ``(true, predicted)`` 0/1 arrays of each half by name; empty when there are not four classes.

    Example:
        >>> import numpy as np
        >>> p = Predictions(np.log([[0.1, 0.4, 0.3, 0.2]]), np.array([3]), np.array(["30"]), np.array(["140"]))
        >>> {name: (int(t[0]), int(q[0])) for name, (t, q) in halves(p).items()}
        {'arousal': (1, 0), 'valence': (1, 1)}
    """
    if predictions.logits.shape[1] != 4:
        return {}
    p, levels = predictions.probabilities, {name: np.array(level) for name, level in HALVES.items()}
    return {
        name: (level[predictions.label], (p[:, level == 1].sum(1) > 0.5).astype(np.int64))
        for name, level in levels.items()
    }


def pool(folds: Sequence[Predictions]) -> Predictions:
    """Join the predictions of folds, in which everybody is a test person once, into one set over all people.

    Metrics and intervals of the whole are then over people, not over folds: hand the result to :func:`summarize` and,
    one for each seed, to :func:`interval` and :func:`paired_difference`. Folds are of one model trained several times
    on different people; joining seeds of the same fold is an error, because nobody may be counted twice.

    Args:
        folds: The test predictions of each fold.

    Returns:
        All samples, fold after fold; ``alone`` by the modalities that every fold has.

    Raises:
        DataError: If there is no fold, a person is in two of them, or their classes differ in number.

    Example:
        >>> first = Predictions(np.eye(2), np.array([0, 1]), np.array(["30", "30"]))
        >>> second = Predictions(np.eye(2), np.array([1, 1]), np.array(["31", "31"]))
        >>> whole = pool([first, second])
        >>> whole.eeg_subject.tolist(), summarize(whole)["accuracy"]
        (['30', '30', '31', '31'], 0.75)
        >>> pool([first, first])
        Traceback (most recent call last):
            ...
        evermodels.core.errors.DataError: folds: '30' is a test person in folds 0 and 1. ...
    """
    if not folds:
        raise DataError("folds: expected the predictions of at least one fold, got none.")
    widths = [fold.logits.shape[1] for fold in folds]
    if len(set(widths)) > 1:
        raise DataError(f"folds: expected as many classes in each, got {widths}. Train all folds on the same classes.")
    where: dict[str, int] = {}
    for number, fold in enumerate(folds):
        for person in sorted({str(p) for p in fold.eeg_subject}):
            if where.setdefault(person, number) != number:
                raise DataError(
                    f"folds: {person!r} is a test person in folds {where[person]} and {number}. Give each fold once; "
                    "several seeds are pooled each by itself, and handed on as a list."
                )
    names = set.intersection(*(set(fold.alone) for fold in folds))
    alone = {name: np.concatenate([fold.alone[name] for fold in folds]) for name in sorted(names)}
    logits, label, subject, face = (np.concatenate([getattr(fold, key) for fold in folds]) for key in _ARRAYS)
    return Predictions(logits, label, subject, face, alone)


def _uar(predicted: np.ndarray, label: np.ndarray, num_classes: int) -> float:
    functional: Any = require("torchmetrics.functional.classification", extra="train", purpose="compute metrics")
    target = torch.as_tensor(label).long()
    recall = functional.multiclass_recall(
        torch.as_tensor(predicted).long(), target, num_classes=num_classes, average="none"
    )
    return float(recall[torch.bincount(target, minlength=num_classes) > 0].double().mean())


def uar(predictions: Predictions) -> float:
    """Return the unweighted average recall: the mean recall of the classes that occur among the labels.

    Args:
        predictions: The predictions.
    """
    return _uar(predictions.predicted, predictions.label, predictions.logits.shape[1])


def summarize(predictions: Predictions) -> dict[str, Any]:
    """Return every metric of a set of predictions (EVER, section 4.1: accuracy, UAR, weighted F1).

    Args:
        predictions: The predictions.

    Returns:
        ``accuracy``, ``uar``, ``weighted_f1``, ``nll`` (mean negative log-likelihood in nats), ``recall`` by class,
        with four classes also ``arousal`` and ``valence`` (balanced accuracy of the halves) and ``halves`` (their
        mean); ``per_subject``: UAR by EEG subject with ``mean`` and ``std`` (over subjects, n − 1), and ``samples``.

    Raises:
        MissingExtraError: If torchmetrics is not installed.

    Example:
        >>> import numpy as np
        >>> people = np.array(["30", "30", "31", "31"])
        >>> result = summarize(Predictions(np.eye(2)[[0, 1, 0, 0]], np.array([0, 1, 0, 1]), people, people))
        >>> result["accuracy"], result["uar"], result["per_subject"]["uar"]
        (0.75, 0.75, {'30': 1.0, '31': 0.5})
    """
    functional: Any = require("torchmetrics.functional.classification", extra="train", purpose="compute metrics")
    classes = predictions.logits.shape[1]
    predicted, target = torch.as_tensor(predictions.predicted).long(), torch.as_tensor(predictions.label).long()
    recall = functional.multiclass_recall(predicted, target, num_classes=classes, average="none")
    seen = torch.bincount(target, minlength=classes) > 0
    chosen = predictions.probabilities[np.arange(len(target)), predictions.label]
    result: dict[str, Any] = {
        "samples": len(target),
        "accuracy": float(functional.multiclass_accuracy(predicted, target, num_classes=classes, average="micro")),
        "uar": uar(predictions),
        "weighted_f1": float(
            functional.multiclass_f1_score(predicted, target, num_classes=classes, average="weighted")
        ),
        "nll": float(-np.log(np.maximum(chosen, np.finfo(np.float64).tiny)).mean()),
        "recall": [float(r) if s else None for r, s in zip(recall, seen, strict=True)],
    }
    for name, (true, guess) in halves(predictions).items():
        result[name] = _uar(guess, true, 2)
    if "arousal" in result:
        result["halves"] = (result["arousal"] + result["valence"]) / 2
    by_subject = {}
    for subject in sorted(set(predictions.eeg_subject.tolist())):
        own = predictions.eeg_subject == subject
        by_subject[subject] = _uar(predictions.predicted[own], predictions.label[own], classes)
    values = np.array(list(by_subject.values()))
    result["per_subject"] = {
        "mean": float(values.mean()),
        "std": float(values.std(ddof=1)) if len(values) > 1 else 0.0,
        "uar": by_subject,
    }
    return result
