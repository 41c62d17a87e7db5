"""The three parts of a data set, what it declares, and the table of data sets that a recipe can name."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from torch.utils.data import Dataset
from typing_extensions import Self

from evermodels.core.config import Config
from evermodels.core.errors import ConfigError, DataError, did_you_mean
from evermodels.core.factors import Factor, factor_levels
from evermodels.core.specs import InputSpec
from evermodels.datasets.splits import PARTS, Part

DATASETS = {
    "eegmat": ("evermodels.datasets.eegmat_parts", "EEGMATSettings"),
    "faces": ("evermodels.datasets.faces_parts", "FacesSettings"),
    "quadrant_pairs": ("evermodels.datasets.quadrant_parts", "QuadrantSettings"),
    "workload": ("evermodels.datasets.workload", "WorkloadSettings"),
    "emodb": ("evermodels.datasets.emodb_parts", "EmoDBSettings"),
    "ceap": ("evermodels.datasets.ceap_parts", "CEAPSettings"),
    "recordings": ("evermodels.datasets.manifest", "RecordingsSettings"),
}
"""The closed table of data sets: name in a recipe's ``[data]`` -> module and class of its settings."""
_MOST_PROCESSES = 1024

Items = Dataset[dict[str, Any]]


class Parts(NamedTuple):
    """The parts of one data set, in which nobody is twice, and what the data set declares.

    Items are dicts: a tensor for each modality, ``label``, an id under each of ``groups``, and, where a recording can
    be absent or shorter, ``present`` (a bool by modality) and ``masks`` (valid frames or channels by modality).

    Args:
        train: Drawn anew every epoch where it has ``set_epoch``.
        validation: Chooses the epoch.
        test: Seen once, at the end.
        classes: Names of the classes in the order of the labels.
        factors: What the classes are the product of, where they are combinations.
        groups: The keys of an item that hold a person's id. The first is the one that results by person are of.
        scores: The data set's own scores, each the balanced accuracy of one factor: name -> factor.

    Example:
        >>> item = {"label": 0, "person": "a"}
        >>> Parts([item], [{**item, "person": "b"}], [{**item, "person": "c"}], ("calm", "tense")).people("test")
        {'person': ['c']}
    """

    train: Items
    validation: Items
    test: Items
    classes: tuple[str, ...]
    factors: tuple[Factor, ...] = ()
    groups: tuple[str, ...] = ("person",)
    scores: Mapping[str, str] = {}

    def part(self, name: str) -> Items:
        """Return a part by name.

        Args:
            name: ``"train"``, ``"validation"`` or ``"test"``.

        Raises:
            ConfigError: If there is no such part.
        """
        if name not in PARTS:
            raise ConfigError(f"part: expected one of {', '.join(PARTS)}, got {name!r}.")
        part: Items = getattr(self, name)
        return part

    @property
    def levels(self) -> dict[str, np.ndarray]:
        """The level of each class in each score, ``(classes,)`` by the score's name."""
        return {score: np.array(factor_levels(self.factors, factor)) for score, factor in self.scores.items()}

    def people(self, name: str) -> dict[str, list[str]]:
        """Return who is in a part: sorted ids by group, without ``""``.

        Args:
            name: The part. Where it has ``people`` (ids by group) these are taken, else it is read through once.

        Raises:
            DataError: If items lack a group's key.
        """
        part = self.part(name)
        found: Mapping[str, Iterable[Any]] | None = getattr(part, "people", None)
        if found is None:
            items = [part[i] for i in range(len(part))]  # type: ignore[arg-type]  # torch's Dataset promises no length
            found = {group: [id_of(item, group) for item in items] for group in self.groups}
        return {group: sorted({str(person) for person in found[group]} - {""}) for group in self.groups}

    def class_counts(self) -> list[int]:
        """Return how many training samples each class has.

        The training part's ``class_counts`` or ``labels`` where it has one, else it is read through once.
        """
        counts = getattr(self.train, "class_counts", None)
        if counts is not None:
            return [int(c) for c in counts]
        labels = getattr(self.train, "labels", None)
        if labels is None:
            labels = [self.train[i]["label"] for i in range(len(self.train))]  # type: ignore[arg-type]  # as above
        return [int(n) for n in np.bincount(np.asarray(labels, dtype=np.int64), minlength=len(self.classes))]


def id_of(item: Mapping[str, Any], group: str) -> Any:
    """Return whose an item is.

    Args:
        item: An item, or a collated batch.
        group: The key that holds the person's id.

    Raises:
        DataError: If the key is not there.
    """
    if group not in item:
        raise DataError(
            f"groups: the items have no {group!r}, which is to hold a person's id; they have {', '.join(item)}. "
            "Add it, or name the keys that do: groups=(...)."
        )
    return item[group]


def check_disjoint(split: Mapping[Part, Mapping[str, Sequence[str]]]) -> None:
    """Refuse a split with somebody in two parts.

    Args:
        split: :meth:`Parts.people` by part.

    Raises:
        DataError: If somebody is in two parts; the message names them.

    Example:
        >>> check_disjoint({"train": {"person": ["00", "01"]}, "test": {"person": ["01"]}})
        Traceback (most recent call last):
            ...
        evermodels.core.errors.DataError: split: person 01 is in train and in test. ...
    """
    names = list(split)
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            for group in split[first]:
                both = sorted(set(split[first][group]) & set(split[second][group]))
                if both:
                    raise DataError(
                        f"split: {group} {', '.join(both)} is in {first} and in {second}. "
                        "Nobody may be on two sides; split by person."
                    )


@dataclass(frozen=True)
class DataSettings(Config):
    """What is trained on; each data set has a class of its own with its settings.

    Channels, rates, lengths and sizes come from the model's input spec.

    Args:
        dataset: Name of the data set; ``""`` (default) where the parts are made by the caller.
        num_workers: Processes that load training batches; 0 loads in the training process.

    Example:
        >>> DataSettings.from_dict({"dataset": "quadrant_pairs", "length": 64}).length
        64
    """

    dataset: str = ""
    num_workers: int = 0

    def check(self) -> None:
        """Refuse impossible numbers of processes."""
        if not 0 <= self.num_workers <= _MOST_PROCESSES:
            raise self.refuse("num_workers", f"0 to {_MOST_PROCESSES}")

    @classmethod
    def from_dict(cls, mapping: Mapping[str, Any], *, where: str | None = None) -> Self:
        """Build the settings of the data set that ``dataset`` names.

        Args:
            mapping: Values by key.
            where: A name for the messages (default: the class's).

        Raises:
            ConfigError: For an unknown data set or key, a wrong type, or an impossible value.
        """
        name = mapping.get("dataset", "") if isinstance(mapping, Mapping) else ""
        if cls is not DataSettings or name == "" or not isinstance(name, str):
            return super().from_dict(mapping, where=where)
        if name not in DATASETS:
            raise ConfigError(
                f"{where or cls.__name__}.dataset: expected one of {', '.join(map(repr, DATASETS))}, got {name!r}."
                f"{did_you_mean(name, DATASETS)}"
            )
        module, kind = DATASETS[name]
        settings: Self = getattr(importlib.import_module(module), kind).from_dict(mapping, where=where)
        return settings

    def told(self) -> dict[str, Any]:
        """Return what a checkpoint says of the data that it was trained on, in plain JSON; nothing by default."""
        return {}

    def parts(self, spec: InputSpec, *, seed: int = 0, data_root: str | os.PathLike[str] | None = None) -> Parts:
        """Build the parts of the data set for what a model takes.

        Args:
            spec: What the model takes.
            seed: Seed of the training draws; the validation and test parts do not depend on it.
            data_root: Folder of the recordings (default: ``EVERMODELS_DATA``).

        Raises:
            DataError: If recordings or people are missing.
            ConfigError: If the model takes what this data cannot give.
        """
        raise ConfigError(
            f"data.dataset: none is named. Name one of {', '.join(DATASETS)}, or hand the parts over: "
            "fit(..., parts=...)."
        )
