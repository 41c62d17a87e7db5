"""Windows of EEG without labels: cut where a recording is whole, from several data sets with their own electrodes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from evermodels.core.errors import ConfigError, DataError
from evermodels.signals.eeg import EEG, Reader


class Cut(NamedTuple):
    """The windows of one recording.

    Args:
        windows: ``(windows, channels, time)`` float32 in µV.
        left_out: How many were left out, by reason: ``"gap"`` (they hold a pause of the recording) and ``"saturated"``
            (a sample at the amplifier's limit).
    """

    windows: np.ndarray
    left_out: Mapping[str, int]


def cut(reader: Reader, recording: EEG, *, limit: float | None = None) -> Cut:
    """Cut a recording into windows without overlap, and leave out those with a gap or at the amplifier's limit.

    The limit is looked for in the recording as it is, before any filter, which would smear it.

    Args:
        reader: Says channels, filters, rate and the windows' length.
        recording: As the reader's ``open`` returns it.
        limit: Magnitude in µV that the amplifier cannot pass; a sample that reaches it is saturated.

    Raises:
        ConfigError: If the reader has no length of windows.
        SignalError: If the recording lacks a channel.

    Example:
        >>> from evermodels.core.specs import EEGSpec
        >>> data = np.random.default_rng(0).standard_normal((1, 1000)).astype("float32")
        >>> data[0, 10] = 500.0
        >>> recording = EEG.from_microvolts(data, ("Cz",), 100.0, segments=((0, 450), (450, 1000)))
        >>> made = cut(Reader(EEGSpec(("Cz",), 100.0), 2.0), recording, limit=500.0)
        >>> made.windows.shape, made.left_out
        ((3, 1, 200), {'gap': 1, 'saturated': 1})
    """
    if reader.window_seconds is None:
        raise ConfigError("reader: expected one with window_seconds. Give their length.")
    prepared, length = reader.prepare(recording), round(reader.window_seconds * reader.spec.sfreq)
    whole = prepared.data.shape[1] // length
    raw = recording.pick(reader.spec.ch_names).data
    ratio = recording.sfreq / reader.spec.sfreq
    kept, left = [], {"gap": 0, "saturated": 0}
    found = 0
    for begin, end in prepared.segments:
        for start in range(begin, end - length + 1, length):
            found += 1
            first, last = int(start * ratio), int(np.ceil((start + length) * ratio))
            if limit is not None and bool((np.abs(raw[:, first:last]) >= limit).any()):
                left["saturated"] += 1
            else:
                kept.append(prepared.data[:, start : start + length])
    left["gap"] = max(whole - found, 0)
    shape = (0, len(reader.spec.ch_names), length)
    return Cut(np.stack(kept) if kept else np.zeros(shape, dtype=np.float32), left)


class UnlabelledWindows(Dataset[dict[str, Any]]):
    """Windows of one montage, each with its channels' names and whose it is.

    Args:
        windows: ``(windows, channels, time)`` in µV.
        ch_names: The channels' names.
        people: Whose each window is.
        left_out: How many windows were left out, by reason.

    Raises:
        DataError: If the lengths differ, or there is no window.

    Example:
        >>> windows = UnlabelledWindows(torch.zeros(3, 2, 8), ("AF7", "AF8"), ["a", "a", "b"])
        >>> len(windows), windows[2]["ch_names"], windows.people
        (3, ('AF7', 'AF8'), ('a', 'b'))
    """

    modality = "eeg"

    def __init__(
        self,
        windows: Tensor,
        ch_names: Sequence[str],
        people: Sequence[str],
        left_out: Mapping[str, int] | None = None,
    ) -> None:
        if windows.ndim != 3 or windows.shape[1] != len(ch_names) or len(windows) != len(people) or not len(windows):
            raise DataError(
                f"windows: expected at least one, (windows, {len(ch_names)} channels, time), and whose each is, got "
                f"{tuple(windows.shape)} and {len(people)} names."
            )
        self.windows, self.ch_names = windows, tuple(ch_names)
        self._persons, self.left_out = tuple(people), dict(left_out or {})

    @classmethod
    def joined(cls, cuts: Sequence[tuple[str, Cut]], ch_names: Sequence[str], what: str) -> UnlabelledWindows:
        """Join what was cut from several recordings.

        Args:
            cuts: Whose each recording is, and its windows.
            ch_names: The channels' names.
            what: Name of the data set, for the message.

        Raises:
            DataError: If no window is left.
        """
        left: dict[str, int] = {}
        for _, made in cuts:
            for reason, count in made.left_out.items():
                left[reason] = left.get(reason, 0) + count
        kept = [(person, made.windows) for person, made in cuts if len(made.windows)]
        if not kept:
            raise DataError(f"{what}: no window is left ({left}). Choose shorter windows or other recordings.")
        people = [person for person, windows in kept for _ in windows]
        return cls(torch.from_numpy(np.concatenate([windows for _, windows in kept])), ch_names, people, left)

    @property
    def persons(self) -> tuple[str, ...]:
        """Whose each window is."""
        return self._persons

    @property
    def people(self) -> tuple[str, ...]:
        """Everybody, in the order of the windows."""
        return tuple(dict.fromkeys(self.persons))

    @property
    def fits(self) -> tuple[int, ...]:
        """What windows of several sets must share: their length."""
        return (self.windows.shape[2],)

    def part(self, indices: Sequence[int]) -> UnlabelledWindows:
        """Return some of the windows.

        Args:
            indices: Which.
        """
        rows = list(indices)
        return UnlabelledWindows(self.windows[rows], self.ch_names, [self.persons[i] for i in rows], self.left_out)

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"eeg": self.windows[index], "ch_names": self.ch_names, "person": self.persons[index]}


class Unlabelled(Protocol):
    """A set of items without labels: windows of one montage, or clips.

    Attributes:
        modality: What its items hold under this name.
    """

    modality: str

    @property
    def left_out(self) -> Mapping[str, int]:
        """How many items were left out, by reason."""

    @property
    def people(self) -> tuple[str, ...]:
        """Everybody, in the order of the items."""

    @property
    def persons(self) -> tuple[str, ...]:
        """Whose each item is."""

    @property
    def fits(self) -> tuple[int, ...]:
        """What items of several sets must share."""

    def part(self, indices: Sequence[int]) -> Unlabelled:
        """Return some of the items.

        Args:
            indices: Which.
        """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> dict[str, Any]: ...


class MixedMontages(Dataset[dict[str, Any]]):
    """Several sets of windows, or of clips, as one, their items one set after the other.

    Args:
        sets: By name; all windows of one length, all clips of one shape.

    Raises:
        DataError: If there is none, or the lengths differ.

    Example:
        >>> muse = UnlabelledWindows(torch.zeros(3, 2, 8), ("AF7", "AF8"), ["a"] * 3)
        >>> both = MixedMontages({"muse": muse, "one": UnlabelledWindows(torch.ones(2, 1, 8), ("Cz",), ["b"] * 2)})
        >>> both.sizes, both[3]["ch_names"]
        ({'muse': 3, 'one': 2}, ('Cz',))
        >>> batch = join_montages([both[0], both[3]])
        >>> batch["eeg"].shape, batch["ch_names"]
        (torch.Size([2, 2, 8]), [('AF7', 'AF8'), ('Cz',)])
    """

    def __init__(self, sets: Mapping[str, Unlabelled]) -> None:
        found = {name: (items.modality, *items.fits) for name, items in sets.items()}
        if not sets or len(set(found.values())) > 1:
            said = ", ".join(f"{name} {' '.join(map(str, what))}" for name, what in found.items())
            raise DataError(f"sets: expected windows of one length or clips of one shape, got {said or 'none'}.")
        self.sets = dict(sets)
        self._starts = np.cumsum([0, *(len(windows) for windows in sets.values())])

    @property
    def sizes(self) -> dict[str, int]:
        """Windows by set."""
        return {name: len(windows) for name, windows in self.sets.items()}

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < len(self):
            raise IndexError(f"index: expected 0 to {len(self) - 1}, got {index}.")
        k = int(np.searchsorted(self._starts, index, side="right")) - 1
        return list(self.sets.values())[k][index - int(self._starts[k])]


def join_montages(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Join windows of several montages into a batch, zeros behind the channels of those that have fewer.

    Args:
        items: ``eeg``, ``ch_names`` and ``person`` each.

    Returns:
        ``eeg`` ``(batch, most channels, time)``, and lists of ``ch_names`` and ``person``.
    """
    most = max(len(item["ch_names"]) for item in items)
    eeg = items[0]["eeg"].new_zeros(len(items), most, items[0]["eeg"].shape[1])
    for row, item in enumerate(items):
        eeg[row, : len(item["ch_names"])] = item["eeg"]
    return {"eeg": eeg, "ch_names": [item["ch_names"] for item in items], "person": [item["person"] for item in items]}


def join_items(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Join items into a batch: windows as :func:`join_montages` does, clips one behind the other.

    Args:
        items: Those of :class:`MixedMontages`.

    Example:
        >>> join_items([{"video": torch.zeros(4, 3, 8, 8), "person": "a"}] * 2)["video"].shape
        torch.Size([2, 4, 3, 8, 8])
    """
    if "video" not in items[0]:
        return join_montages(items)
    return {"video": torch.stack([item["video"] for item in items]), "person": [item["person"] for item in items]}


class MixingSampler(Sampler[list[int]]):
    """Batches that hold windows of each set, by shares; what comes depends on ``(seed, epoch)`` alone.

    Each set is gone through in a random order, and begun anew where it ends, so that a small one comes more often.

    Args:
        sizes: Windows by set, in their order.
        batch_size: Windows in a batch.
        steps: Batches in an epoch.
        shares: Weight of each set (default: the square root of its size).
        seed: Seed.
        together: Windows of one person that come one after the other, a divisor of ``batch_size``; at 1 it does not
            matter whose they are. Who has fewer gives some of them twice.
        persons: With ``together`` above 1: whose each window is, by set.

    Raises:
        ConfigError: If a share is negative, or of a set that does not exist, ``together`` does not divide the batch, or
            it is not said whose the windows are.

    Example:
        >>> sampler = MixingSampler({"muse": 100, "exo": 4}, 10, steps=3, shares={"muse": 3, "exo": 1})
        >>> [sum(index >= 100 for index in batch) for batch in sampler]
        [2, 3, 2]
    """

    def __init__(
        self,
        sizes: Mapping[str, int],
        batch_size: int,
        *,
        steps: int,
        shares: Mapping[str, float] | None = None,
        seed: int = 0,
        together: int = 1,
        persons: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        if together < 1 or batch_size % together:
            raise ConfigError(f"together: expected a divisor of batch_size ({batch_size}), got {together!r}.")
        if together > 1 and (persons is None or any(len(persons.get(name, ())) != n for name, n in sizes.items())):
            raise ConfigError("persons: expected whose each window of each set is, as together is above 1.")
        self.together, self.persons = together, persons or {}
        weights = {name: float(size) ** 0.5 for name, size in sizes.items()}
        for name, share in (shares or {}).items():
            if name not in sizes or share < 0:
                raise ConfigError(f"shares: expected 0 or more for some of {', '.join(sizes)}, got {name} {share!r}.")
            weights[name] = share
        if not sum(weights.values()) > 0:
            raise ConfigError("shares: expected one above 0.")
        self.sizes, self.batch_size, self.steps, self.seed = dict(sizes), batch_size, steps, seed
        self.shares = np.array([weights[name] for name in sizes]) / sum(weights.values())
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch.

        Args:
            epoch: From 0.
        """
        self.epoch = epoch

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[int]]:
        rng = np.random.default_rng([self.seed, self.epoch])
        starts = np.cumsum([0, *self.sizes.values()])[:-1]
        streams = [self._stream(rng.spawn(1)[0], name) for name in self.sizes]
        wanted, given = np.zeros(len(streams)), np.zeros(len(streams), dtype=int)
        for _ in range(self.steps):
            batch: list[int] = []
            wanted += self.shares * self.batch_size
            for _ in range(self.batch_size // self.together):
                k = int(np.argmax(wanted - given))
                given[k] += self.together
                batch += [int(starts[k]) + index for index in next(streams[k])]
            yield batch

    def _stream(self, rng: np.random.Generator, name: str) -> Iterator[list[int]]:
        """A set's windows without end: one, or so many of one person, at a time."""
        if self.together == 1:
            while True:
                yield from ([index] for index in rng.permutation(self.sizes[name]).tolist())
        whose = np.array(self.persons[name])
        own = [np.flatnonzero(whose == person) for person in dict.fromkeys(self.persons[name])]
        while True:
            runs = []
            for rows in own:
                order = rng.permutation(rows)
                short = -len(order) % self.together
                order = np.concatenate([order, rng.choice(rows, short, replace=short > len(rows))])
                runs += order.reshape(-1, self.together).tolist()
            yield from (runs[k] for k in rng.permutation(len(runs)))
