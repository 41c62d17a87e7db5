"""What a model said on one part of a data set, and who is behind each sample."""

from __future__ import annotations

import io
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.special

from evermodels.core.errors import DataError, ShapeError, boundary

_GROUP, _ALONE, _LEVELS = "group_", "alone_", "levels_"
_OF_OLD = ("eeg_subject", "face_id")


@dataclass(frozen=True)
class Predictions:
    """Logits of one model on one part of a data set, with the people behind each sample.

    Args:
        logits: ``(samples, classes)`` float32.
        label: ``(samples,)`` class indices.
        groups: Ids of the people behind each sample, ``(samples,)`` by the group's name, such as
            ``{"eeg_subject": ids, "face_id": ids}``; ``""`` for nobody (default: no group, each sample stands for
            itself). The first is the one that results by person are of.
        alone: Logits of the same model given one modality alone, ``(samples, classes)`` by modality, NaN where the
            sample lacks it (default: none).
        levels: What the data set's own scores ask for: the level of each class, ``(classes,)`` from 0, by the score's
            name (default: no scores).

    Raises:
        ShapeError: If the lengths differ, or there is no sample.

    Example:
        >>> people = {"person": np.array(["30", "31"])}
        >>> Predictions(np.eye(2), np.array([0, 1]), people).predicted
        array([0, 1])
    """

    logits: np.ndarray
    label: np.ndarray
    groups: Mapping[str, np.ndarray] = field(default_factory=dict)
    alone: Mapping[str, np.ndarray] = field(default_factory=dict)
    levels: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.groups, Mapping):
            raise DataError("groups: expected ids by the group's name, such as {'person': ids}, got an array of ids.")
        if self.logits.ndim != 2 or len(self.logits) == 0:
            raise ShapeError(f"logits: expected (samples, classes) with at least one sample, got {self.logits.shape}.")
        samples, classes = self.logits.shape
        arrays: list[tuple[str, np.ndarray, tuple[int, ...]]] = [("label", self.label, (samples,))]
        arrays += [(f"groups[{name!r}]", ids, (samples,)) for name, ids in self.groups.items()]
        arrays += [(f"alone[{name!r}]", logits, (samples, classes)) for name, logits in self.alone.items()]
        arrays += [(f"levels[{name!r}]", np.asarray(of), (classes,)) for name, of in self.levels.items()]
        for name, array, shape in arrays:
            if array.shape != shape:
                raise ShapeError(
                    f"{name}: expected shape {shape} beside logits of {self.logits.shape}, got {array.shape}."
                )

        if not 0 <= self.label.min() <= self.label.max() < classes:
            raise DataError(
                f"label: expected classes 0 to {classes - 1}, got {self.label.min()} to {self.label.max()}."
            )

    @property
    def predicted(self) -> np.ndarray:
        """Class of the largest logit, ``(samples,)``; the first of equals."""
        return self.logits.argmax(axis=1)

    @property
    def probabilities(self) -> np.ndarray:
        """Softmax of the logits in float64, ``(samples, classes)``."""
        return scipy.special.softmax(self.logits.astype(np.float64), axis=1)

    def scored(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the true and the predicted level of one of the data set's scores.

        The level of the largest probability, summed over the classes that have it.

        Args:
            name: The score, a key of ``levels``.

        Returns:
            Two arrays of ``(samples,)`` levels.

        Example:
            >>> levels = {"state": [0, 0, 1, 1], "face": [0, 1, 0, 1]}
            >>> p = Predictions(np.log([[0.1, 0.4, 0.3, 0.2]]), np.array([3]), levels=levels)
            >>> p.scored("state"), p.scored("face")
            ((array([1]), array([0])), (array([1]), array([1])))
        """
        level, p = np.asarray(self.levels[name]), self.probabilities
        summed = np.stack([p[:, level == k].sum(axis=1) for k in range(level.max() + 1)], axis=1)
        return level[self.label], summed.argmax(axis=1)

    def take(self, rows: np.ndarray) -> Predictions:
        """Return some of the samples.

        Args:
            rows: Indices, or a bool for each sample.

        Example:
            >>> people = np.array(["30", "31"])
            >>> Predictions(np.eye(2), np.array([0, 1]), {"person": people}).take(people == "31").label
            array([1])
        """
        parts = {key: {name: of[rows] for name, of in getattr(self, key).items()} for key in ("groups", "alone")}
        return replace(self, logits=self.logits[rows], label=self.label[rows], **parts)

    def save(self, path: Path) -> None:
        """Write an ``.npz`` file, whole or not at all.

        Args:
            path: The file.
        """
        from evermodels.training.state import write_bytes

        arrays: dict[str, Any] = {"logits": self.logits, "label": self.label}
        for prefix, of in ((_GROUP, self.groups), (_ALONE, self.alone), (_LEVELS, self.levels)):
            arrays |= {prefix + name: array for name, array in of.items()}
        stream = io.BytesIO()
        np.savez_compressed(stream, **arrays)
        write_bytes(path, stream.getvalue())

    @classmethod
    def load(cls, path: Path) -> Predictions:
        """Read what :meth:`save` wrote; files of earlier runs too, whose people are ``eeg_subject`` and ``face_id``.

        Args:
            path: The file.

        Raises:
            DataError: If an array is missing, or the file is damaged.
        """
        way_out = "Make it again: train that row with --restart (resume=False), or write it with Predictions.save."
        with boundary(DataError, f"{str(path)!r} cannot be read", way_out), np.load(path, allow_pickle=False) as file:
            missing = {"logits", "label"} - set(file.files)
            if missing:
                raise DataError(f"{path.name}: {', '.join(sorted(missing))} missing. Write it with Predictions.save.")

            def of(prefix: str) -> dict[str, np.ndarray]:
                return {name.removeprefix(prefix): file[name] for name in file.files if name.startswith(prefix)}

            groups = {name: file[name] for name in _OF_OLD if name in file.files} | of(_GROUP)
            return cls(file["logits"], file["label"], groups, of(_ALONE), of(_LEVELS))


def check_same(runs: Sequence[Predictions], what: str) -> None:
    """Refuse predictions on other samples, or in another order.

    Args:
        runs: The predictions.
        what: The argument's name, for the message.

    Raises:
        DataError: If there is none, or they differ in samples, people or classes.
    """
    if not runs:
        raise DataError(f"{what}: expected the predictions of at least one model, got none.")
    first = runs[0]
    for other in runs[1:]:
        differs = [] if other.logits.shape == first.logits.shape else ["number of samples or classes"]
        differs += [] if np.array_equal(first.label, other.label) else ["label"]
        for name in {**first.groups, **other.groups}:
            own, theirs = (run.groups.get(name) for run in (first, other))
            differs += [] if own is not None and theirs is not None and np.array_equal(own, theirs) else [name]
        if differs:
            raise DataError(
                f"{what}: {', '.join(differs)} differs between the predictions, so they are not of the same samples in "
                "the same order and cannot be paired. Evaluate all on one part with one pairing seed."
            )


def pool(folds: Sequence[Predictions]) -> Predictions:
    """Join the predictions of folds, in which everybody is a test person once, into one set over all people.

    Metrics and intervals of the whole are then over people, not over folds: hand the result to
    :func:`~evermodels.training.summarize` and, one for each seed, to :func:`~evermodels.training.interval` and
    :func:`~evermodels.training.paired_difference`. Folds are of one model trained several times on different people;
    joining seeds of the same fold is an error, because nobody may be counted twice. Of several groups of people at
    least one must have been parted: folds over the people with EEG may share faces.

    Args:
        folds: The test predictions of each fold.

    Returns:
        All samples, fold after fold; ``alone`` by the modalities that every fold has.

    Raises:
        DataError: If there is no fold, two have people of every group in common, or their classes, groups or scores
            differ.

    Example:
        >>> first = Predictions(np.eye(2), np.array([0, 1]), {"person": np.array(["30", "30"])})
        >>> second = Predictions(np.eye(2), np.array([1, 1]), {"person": np.array(["31", "31"])})
        >>> whole = pool([first, second])
        >>> whole.groups["person"].tolist(), whole.predicted.tolist()
        (['30', '30', '31', '31'], [0, 1, 0, 1])
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
    for key in ("groups", "levels"):
        names = [list(getattr(fold, key)) for fold in folds]
        if any(own != names[0] for own in names) or (key == "groups" and not names[0]):
            raise DataError(f"folds: expected the same {key} in each, and at least one of people, got {names}.")
    for (earlier, other), (number, fold) in itertools.combinations(enumerate(folds), 2):
        people = [({*map(str, own)}, {*map(str, other.groups[group])}) for group, own in fold.groups.items()]
        shared = [sorted((own & theirs) - {""}) for own, theirs in people if own | theirs != {""}]
        if all(shared):
            who = shared[0][0] if shared else "nobody"
            raise DataError(
                f"folds: {who!r} is a test person in folds {earlier} and {number}. Give each fold once; several seeds "
                "are pooled each by itself, and handed on as a list."
            )
    alone = sorted(set.intersection(*(set(fold.alone) for fold in folds)))
    return Predictions(
        np.concatenate([fold.logits for fold in folds]),
        np.concatenate([fold.label for fold in folds]),
        {name: np.concatenate([fold.groups[name] for fold in folds]) for name in folds[0].groups},
        {name: np.concatenate([fold.alone[name] for fold in folds]) for name in alone},
        folds[0].levels,
    )
