"""A part that is a list of recordings, each read when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from evermodels.core.errors import ConfigError
from evermodels.datasets.splits import SubjectSplit, leave_one_out


class Entry(NamedTuple):
    """One item of a part before it is read.

    Attributes:
        key: Which recording, as the reader names it.
        label: Its class.
        person: Whose it is.
    """

    key: Any
    label: int
    person: str


class Listed(Dataset[dict[str, Any]]):
    """One part: its entries, and how one of them is read.

    Args:
        entries: The items.
        read: Makes what a model takes of an entry: tensors by modality, and ``masks`` where it has them.
        group: The key of an item that holds the person's id.
        seed: Where it is given, ``read`` also gets a generator, which depends on the seed, the epoch
            (:meth:`set_epoch`) and the item's place alone.

    Attributes:
        labels: Class of each item.

    Example:
        >>> part = Listed([Entry("a", 1, "P1")], lambda entry: {"eye": entry.key}, "person")
        >>> part[0], part.people
        ({'eye': 'a', 'label': 1, 'person': 'P1'}, {'person': ['P1']})
    """

    def __init__(
        self, entries: Sequence[Entry], read: Callable[..., dict[str, Any]], group: str, *, seed: int | None = None
    ) -> None:
        self.entries, self.read, self.groups, self.seed = list(entries), read, (group,), seed
        self.labels = [entry.label for entry in self.entries]
        # In shared memory, so that workers that outlive an epoch see it too.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def set_epoch(self, epoch: int) -> None:
        """Draw the changes of another epoch; without a seed nothing is drawn.

        Args:
            epoch: Number of the epoch, from 0.
        """
        self._epoch.fill_(int(epoch))

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"index {index} of {len(self)} items")
        entry = self.entries[index]
        drawn = () if self.seed is None else (np.random.default_rng((self.seed, int(self._epoch), index % len(self))),)
        return {**self.read(entry, *drawn), "label": entry.label, self.groups[0]: entry.person}

    @property
    def people(self) -> dict[str, list[str]]:
        """Ids of the people, by group."""
        return {self.groups[0]: sorted({entry.person for entry in self.entries})}


class Standardised:
    """Windows of people, each standardised by all of the same person's; picklable, as loading processes need it.

    Args:
        window: Gives the window of an entry and the rows of it that count.
        keys: The keys of a person's entries.
        least: Least standard deviation.
    """

    def __init__(
        self,
        window: Callable[[Any], tuple[Tensor, Tensor]],
        keys: Mapping[str, Sequence[Any]],
        least: float,
    ) -> None:
        self.window, self.keys, self.least = window, keys, least
        self._levels: dict[str, tuple[Tensor, Tensor]] = {}

    def __call__(self, entry: Entry, window: Tensor | None = None) -> Tensor:
        """Return an entry's window, each column at mean 0 and deviation 1 over the person's rows.

        Args:
            entry: The entry.
            window: What is standardised instead of its own window, by the same statistics.
        """
        if entry.person not in self._levels:
            rows = torch.cat([window[counts] for window, counts in map(self.window, self.keys[entry.person])])
            self._levels[entry.person] = rows.mean(dim=0), rows.std(dim=0).clamp(min=self.least)
        mean, std = self._levels[entry.person]
        return ((self.window(entry.key)[0] if window is None else window) - mean) / std


def one_left_out(people: Sequence[str], fold: int, n_validation: int) -> SubjectSplit:
    """Return the split in which one person is tested.

    Args:
        people: Ids in order.
        fold: Which of them, from 0.
        n_validation: How many of the others choose the epoch; 0 where the last is kept.

    Raises:
        ConfigError: If there is no such fold.

    Example:
        >>> one_left_out(["a", "b", "c"], 1, 1).test
        ('b',)
    """
    if not 0 <= fold < len(people):
        raise ConfigError(f"data.fold: expected 0 to {len(people) - 1}, one for each person, got {fold}.")
    return leave_one_out(people, n_validation=n_validation)[fold]
