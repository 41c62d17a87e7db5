"""What a set of predictions is worth: accuracy, UAR, weighted F1, the two halves, and UAR per EEG subject."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from evermodels.core.errors import DataError, ShapeError, require


@dataclass(frozen=True)
class Predictions:
    """Logits of one model on one part of a data set, with the people behind each sample.

    Args:
        logits: ``(samples, classes)`` float32.
        label: ``(samples,)`` class indices.
        eeg_subject: ``(samples,)`` who the EEG is of.
        face_id: ``(samples,)`` who the face is of (default: nobody; people with EEG are the only random factor then).

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

    def __post_init__(self) -> None:
        if self.face_id.shape == (0,):
            object.__setattr__(self, "face_id", np.full(len(self.logits), ""))
        if self.logits.ndim != 2 or len(self.logits) == 0:
            raise ShapeError(f"logits: expected (samples, classes) with at least one sample, got {self.logits.shape}.")
        for name in ("label", "eeg_subject", "face_id"):
            shape = getattr(self, name).shape
            if shape != self.logits.shape[:1]:
                raise ShapeError(f"{name}: expected shape {self.logits.shape[:1]} as logits has, got {shape}.")

    @property
    def predicted(self) -> np.ndarray:
        """Class of the largest logit, ``(samples,)``; the first of equals."""
        return self.logits.argmax(axis=1)

    @property
    def probabilities(self) -> np.ndarray:
        """Softmax of the logits in float64, ``(samples, classes)``."""
        shifted = self.logits.astype(np.float64)
        shifted = np.exp(shifted - shifted.max(axis=1, keepdims=True))
        return shifted / shifted.sum(axis=1, keepdims=True)

    def save(self, path: Path) -> None:
        """Write an ``.npz`` file, whole or not at all.

        Args:
            path: The file.
        """
        part = path.with_name(path.name + ".part")
        with part.open("wb") as file:
            np.savez_compressed(
                file, logits=self.logits, label=self.label, eeg_subject=self.eeg_subject, face_id=self.face_id
            )
        part.replace(path)

    @classmethod
    def load(cls, path: Path) -> Predictions:
        """Read what :meth:`save` wrote.

        Args:
            path: The file.

        Raises:
            DataError: If an array is missing.
        """
        with np.load(path, allow_pickle=False) as file:
            missing = {"logits", "label", "eeg_subject", "face_id"} - set(file.files)
            if missing:
                raise DataError(f"{path.name}: {', '.join(sorted(missing))} missing. Write it with Predictions.save.")
            return cls(file["logits"], file["label"], file["eeg_subject"], file["face_id"])


def halves(predictions: Predictions) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Split four-quadrant predictions into their arousal and valence halves.

    The class is ``2·arousal + valence``; a half is called high when the summed probability of its two high classes is
    above one half.

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
    p = predictions.probabilities
    return {
        "arousal": (predictions.label // 2, (p[:, 2] + p[:, 3] > 0.5).astype(np.int64)),
        "valence": (predictions.label % 2, (p[:, 1] + p[:, 3] > 0.5).astype(np.int64)),
    }


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
