"""Splits by person: who trains, who chooses the epoch, who is tested."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from evermodels.core.errors import DataError

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class SubjectSplit:
    """The people of one group in three parts, nobody in two of them.

    A data set with several groups of people, such as those with EEG and those with faces, has one split for each:
    ``{"eeg_subject": SubjectSplit(...), "face_id": SubjectSplit(...)}``.

    Args:
        train: Ids of the people whose recordings train the model.
        validation: Ids of the people on whom epochs and settings are chosen; nobody where nothing is chosen.
        test: Ids of the people on whom the result is reported.

    Raises:
        DataError: If a person is in two parts or twice in one, or nobody is trained on or tested.

    Example:
        >>> SubjectSplit(train=("00", "01"), validation=("02",), test=("03",)).part("test")
        ('03',)
        >>> SubjectSplit(train=("00", "01"), validation=("02",), test=("01",))
        Traceback (most recent call last):
            ...
        evermodels.core.errors.DataError: SubjectSplit: '01' is in train and in test. ...
    """

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse empty parts and people on two sides."""
        seen: dict[str, str] = {}
        for part in PARTS:
            given = getattr(self, part)
            if isinstance(given, str):
                raise DataError(f"SubjectSplit.{part}: expected a list of ids, got the string {given!r}.")
            people = tuple(str(person) for person in given)
            object.__setattr__(self, part, people)
            if not people and part != "validation":
                raise DataError(f"SubjectSplit: {part} is empty. Give it at least one person.")
            for person in people:
                if person in seen:
                    where = f"twice in {part}" if seen[person] == part else f"in {seen[person]} and in {part}"
                    raise DataError(
                        f"SubjectSplit: {person!r} is {where}. A person's recordings belong to one part, once; "
                        f"otherwise the test measures how well people are recognised."
                    )
                seen[person] = part

    def part(self, name: str) -> tuple[str, ...]:
        """Return the ids of one part.

        Args:
            name: ``"train"``, ``"validation"`` or ``"test"``.

        Raises:
            DataError: If there is no such part.
        """
        if name not in PARTS:
            raise DataError(f"part: expected one of {', '.join(PARTS)}, got {name!r}.")
        people: tuple[str, ...] = getattr(self, name)
        return people

    @property
    def subjects(self) -> tuple[str, ...]:
        """Everybody, part after part."""
        return self.train + self.validation + self.test


def each_once(subjects: Iterable[str]) -> list[str]:
    """Return ids as a list of texts.

    Args:
        subjects: The ids.

    Raises:
        DataError: If somebody is given twice.
    """
    people = [str(person) for person in subjects]
    doubled = sorted({person for person in people if people.count(person) > 1})
    if doubled:
        raise DataError(f"subjects: {', '.join(map(repr, doubled))} given more than once. Give every person once.")
    return people


def subject_folds(
    subjects: Sequence[str], n_folds: int, *, n_validation: int = 4, seed: int = 0
) -> tuple[SubjectSplit, ...]:
    """Cut people into folds in the given order; each fold is the test part once.

    The test parts are contiguous blocks of (nearly) equal size. The validation people of a fold are drawn from its
    other people with a generator of ``(seed, fold)``, which is a choice.

    Args:
        subjects: Ids in order.
        n_folds: Number of folds, at least 2.
        n_validation: People of each fold that are taken out of training to choose the epoch; 0 where the last is kept.
        seed: Seed of that draw.

    Returns:
        One split per fold.

    Raises:
        DataError: If there are too few people, or somebody is given twice.

    Example:
        >>> folds = subject_folds([f"{i:02d}" for i in range(36)], 6)
        >>> folds[1].test
        ('06', '07', '08', '09', '10', '11')
        >>> len(folds[1].train), len(folds[1].validation)
        (26, 4)
    """
    people = each_once(subjects)
    if not 2 <= n_folds <= len(people):
        raise DataError(f"n_folds: expected 2 to {len(people)} for {len(people)} people, got {n_folds}.")
    largest = -(-len(people) // n_folds)
    if not 0 <= n_validation < len(people) - largest:
        raise DataError(
            f"n_validation: expected 0 to {len(people) - largest - 1}, so that somebody is left to train on, "
            f"got {n_validation}."
        )
    folds = []
    for k, block in enumerate(np.array_split(np.arange(len(people)), n_folds)):
        test = set(block.tolist())
        rest = [i for i in range(len(people)) if i not in test]
        drawn = np.random.default_rng([seed, k]).choice(len(rest), size=n_validation, replace=False)
        validation = {rest[i] for i in drawn}
        folds.append(
            SubjectSplit(
                train=tuple(people[i] for i in rest if i not in validation),
                validation=tuple(people[i] for i in sorted(validation)),
                test=tuple(people[i] for i in sorted(test)),
            )
        )
    return tuple(folds)


def leave_one_out(subjects: Sequence[str], *, n_validation: int = 4, seed: int = 0) -> tuple[SubjectSplit, ...]:
    """Return one split per person, who is alone in its test part.

    Args:
        subjects: Ids in order.
        n_validation: People of each split that are taken out of training to choose the epoch; 0 where the last is kept.
        seed: Seed of that draw.

    Raises:
        DataError: If there are too few people, or somebody is given twice.

    Example:
        >>> [split.test for split in leave_one_out(["a", "b", "c"], n_validation=1)]
        [('a',), ('b',), ('c',)]
    """
    return subject_folds(subjects, len(subjects), n_validation=n_validation, seed=seed)


def random_split(subjects: Sequence[str], *, n_validation: int, n_test: int, seed: int) -> SubjectSplit:
    """Draw one split at random; the parts list their people in the given order.

    Args:
        subjects: Ids.
        n_validation: People in the validation part.
        n_test: People in the test part.
        seed: Seed of the draw.

    Raises:
        DataError: If a part would be empty, or somebody is given twice.

    Example:
        >>> split = random_split([f"{i:02d}" for i in range(36)], n_validation=4, n_test=4, seed=0)
        >>> len(split.train), len(split.validation), len(split.test)
        (28, 4, 4)
    """
    people = each_once(subjects)
    order = np.random.default_rng(seed).permutation(len(people)).tolist()

    def take(indices: list[int]) -> tuple[str, ...]:
        return tuple(people[i] for i in sorted(indices))

    return SubjectSplit(
        train=take(order[n_validation + n_test :]),
        validation=take(order[n_test : n_validation + n_test]),
        test=take(order[:n_test]),
    )
