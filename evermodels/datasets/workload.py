"""Workload: EEG of some people at rest or at arithmetic beside eye movement of others who did the same."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from evermodels import montage
from evermodels.core.errors import ConfigError, DataError
from evermodels.core.factors import Factor
from evermodels.core.specs import EEGSpec, InputSpec
from evermodels.datasets.augment import EEGTransform
from evermodels.datasets.companions import EYE_PEOPLE, EyeCompanion, Other
from evermodels.datasets.download import data_folder
from evermodels.datasets.eegmat import EEGMAT, STATES
from evermodels.datasets.parts import DataSettings, Parts
from evermodels.datasets.pupil import EyeWindows, Pupil
from evermodels.datasets.quadrant import deal
from evermodels.datasets.quadrant_parts import Augmentation, eeg_transform, eyes, read_eegmat
from evermodels.datasets.splits import PARTS, SubjectSplit

EEG_PEOPLE = SubjectSplit(
    tuple(f"{i:02d}" for i in range(24)),
    tuple(f"{i:02d}" for i in range(24, 30)),
    tuple(f"{i:02d}" for i in range(30, 36)),
)
"""The people of EEGMAT by part, as in the quadrant pairs."""

_OVERLAP = 0.5  # of neighbouring windows of eye movement in training


class WorkloadPair(NamedTuple):
    """One item.

    Attributes:
        label: 0 for rest, 1 for arithmetic.
        eeg_subject: Id of the person with EEG.
        start: First sample of the window.
        eye: Whose eyes, and which of their windows.
        key: Seed of the transforms.
    """

    label: int
    eeg_subject: str
    start: int
    eye: Other
    key: tuple[int, ...]


class WorkloadPairs(Dataset[dict[str, Any]]):
    """Two classes from two signals that tell the same: rest or arithmetic (EEG), and the eyes of somebody else.

    The signals are real, the pairing is invented: EEGMAT's windows beside windows of people in virtual reality who did
    mental arithmetic (``arithmetic``) or nothing (``control``), of whom nothing is known but the condition. It says how
    a system uses two sources that say the same. It says nothing on emotion.

    Each part is exactly balanced. An evaluation part is drawn once from ``pairing_seed``: each arithmetic window of a
    person with EEG, as many rest windows, and people with eyes dealt out evenly in both classes. In training each epoch
    draws new pairs, two in a row of one person with EEG and one with eyes.

    Args:
        eegmat: The EEG.
        eyes: The eye movement; where it has no windows, the items have none.
        part: ``"train"``, ``"validation"`` or ``"test"``.
        seed: Seed of the training draws.
        pairing_seed: Seed of the fixed pairing.
        train: Whether to draw anew every epoch.
        length: Items of an epoch in training, a multiple of 2 (default: 2 for each arithmetic window).
        people: Who with EEG is in which part.
        eeg_transform: Called on each training window as ``eeg_transform(window, rng)``.
        with_eeg: Whether items hold EEG.

    Raises:
        DataError: If people are missing.
        ConfigError: If an argument is impossible.
    """

    classes = STATES
    factors = (Factor("state", STATES, ("eeg", "eye")),)
    groups = ("eeg_subject", "eye_subject")

    def __init__(
        self,
        eegmat: EEGMAT,
        eyes: EyeCompanion,
        part: str,
        *,
        seed: int = 0,
        pairing_seed: int = 0,
        train: bool = False,
        length: int | None = None,
        people: SubjectSplit = EEG_PEOPLE,
        eeg_transform: EEGTransform | None = None,
        with_eeg: bool = True,
    ) -> None:
        if length is not None and (not train or length < 2 or length % 2):
            raise ConfigError(f"length: expected a positive multiple of 2 with train=True, got {length}.")
        self.eegmat, self.eyes, self.part, self.train, self.with_eeg = eegmat, eyes, part, train, with_eeg
        self.seed, self.eeg_transform = int(seed), eeg_transform
        self.subjects, self.eye_people = people.part(part), eyes.split.part(part)
        if missing := [person for person in self.subjects if person not in eegmat.subjects]:
            raise DataError(f"WorkloadPairs: EEG of {', '.join(missing)} is missing. Complete the folder.")
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()
        self._drawn: tuple[int, list[WorkloadPair]] | None = None
        self._fixed = [] if train else self._fixed_pairs((int(pairing_seed), PARTS.index(part)))
        windows = sum(len(eegmat.window_starts(person, STATES[1])) for person in self.subjects) if train else 0
        self._length = (length or 2 * windows) if train else len(self._fixed)

    def __len__(self) -> int:
        return self._length

    @property
    def people(self) -> dict[str, tuple[str, ...]]:
        """Ids of the people, by group."""
        return dict(zip(self.groups, (self.subjects, self.eye_people), strict=True))

    @property
    def class_counts(self) -> tuple[int, ...]:
        """Items of each class."""
        return (len(self) // 2,) * 2

    @property
    def group(self) -> int:
        """How many items in a row belong into one batch."""
        return 2 if self.train else 1

    def set_epoch(self, epoch: int) -> None:
        """Draw the pairs of another epoch; does nothing to a fixed part.

        Args:
            epoch: From 0.
        """
        self._epoch.fill_(int(epoch))

    @property
    def pairs(self) -> list[WorkloadPair]:
        """The items' pairs, of the present epoch in training."""
        epoch = int(self._epoch)
        if not self.train:
            return self._fixed
        if self._drawn is None or self._drawn[0] != epoch:
            self._drawn = (epoch, self._random_pairs(epoch))
        return self._drawn[1]

    @property
    def digest(self) -> str:
        """SHA-256 of the pairs."""
        sfreq = self.eegmat.sfreq
        named = [(p.label, p.eeg_subject, round(p.start / sfreq, 3), p.eye, p.key) for p in self.pairs]
        return hashlib.sha256(json.dumps(named).encode()).hexdigest()

    def _fixed_pairs(self, base: tuple[int, int]) -> list[WorkloadPair]:
        rng = np.random.default_rng(np.random.SeedSequence(base, spawn_key=(200,)))
        stretches: list[tuple[int, str, int]] = []
        for person in self.subjects:
            starts = [self.eegmat.window_starts(person, state) for state in STATES]
            count = min(map(len, starts))
            for label, choices in enumerate(starts):
                chosen = np.sort(rng.permutation(len(choices))[:count])
                stretches.extend((label, person, int(choices[i])) for i in chosen)
        seen = [iter(deal(self.eye_people, len(stretches) // 2, rng)) for _ in STATES]
        return [
            WorkloadPair(label, person, start, self.eyes.choose(next(seen[label]), label, rng), (*base, i))
            for i, (label, person, start) in enumerate(stretches)
        ]

    def _random_pairs(self, epoch: int) -> list[WorkloadPair]:
        rng = np.random.default_rng(np.random.SeedSequence((self.seed, epoch), spawn_key=(200,)))
        people, seen = (deal(group, len(self) // 2, rng) for group in (self.subjects, self.eye_people))
        pairs = []
        for i, (person, other) in enumerate(zip(people, seen, strict=True)):
            for label, state in enumerate(STATES):
                first = round(self.eegmat.baseline_seconds * self.eegmat.sfreq) if label == 0 else 0
                room = self.eegmat.num_samples(person, state) - self.eegmat.window_samples - first
                start = first + int(rng.random() * (room + 1))
                pairs.append(
                    WorkloadPair(label, person, start, self.eyes.choose(other, label, rng), (self.seed, epoch, i))
                )
        return pairs

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"index {index} of {len(self)} items")
        pair = self.pairs[index]
        item: dict[str, Any] = {}
        if self.with_eeg:
            window = self.eegmat.window(pair.eeg_subject, STATES[pair.label], pair.start).copy()
            if self.train and self.eeg_transform is not None:
                window = self.eeg_transform(window, np.random.default_rng((*pair.key, pair.label)))
            item["eeg"] = torch.from_numpy(np.ascontiguousarray(window, dtype=np.float32))
        item |= self.eyes.read(pair.eye, pair.label)
        return {**item, "label": pair.label, "eeg_subject": pair.eeg_subject, "eye_subject": pair.eye.person}


@dataclass(frozen=True)
class WorkloadSettings(DataSettings):
    """Settings of the workload pairs (:class:`~evermodels.datasets.workload.WorkloadPairs`).

    Args:
        dataset: ``"workload"``.
        num_workers: Processes that load training batches; 0 loads in the training process.
        length: Training items of an epoch; ``None``: two for each arithmetic window.
        baseline_seconds: Length of everybody's baseline, in which no window is cut.
        overlap: Part of a window of EEG that it shares with the next one, in the evaluation parts.
        pairing_seed: Seed of the fixed pairing of the validation and test parts.
        augment: Changes of EEG in training; those of clips are not for this data.
    """

    dataset: Literal["workload"] = "workload"
    length: int | None = None
    baseline_seconds: float = 0.0
    overlap: float = 0.0
    pairing_seed: int = 0
    augment: Augmentation = field(default_factory=Augmentation)

    def check(self) -> None:
        """Refuse impossible values."""
        super().check()
        if self.pairing_seed < 0:
            raise self.refuse("pairing_seed", "0 or more")
        if self.length is not None and (self.length < 2 or self.length % 2):
            raise self.refuse("length", "a positive multiple of 2, or none")
        plain = Augmentation()
        for key in ("clip_strength", "blend", "weaken", "baselines", "box_noise", "codec", "twice", "again_colours"):
            if getattr(self.augment, key) != getattr(plain, key):
                raise ConfigError(f"data.augment.{key}: expected {getattr(plain, key)!r}; workload has no such change.")

    def parts(
        self,
        spec: InputSpec,
        *,
        seed: int = 0,
        data_root: str | os.PathLike[str] | None = None,
        split: Mapping[str, SubjectSplit] | None = None,
    ) -> Parts:
        """Build the parts: fixed people, balanced classes, a pairing of its own seed.

        Args:
            spec: What the model takes: EEG, eye movement, or both.
            seed: Seed of the training draws.
            data_root: Folder that holds ``eegmat`` and ``pupil``.
            split: The people of each part by group (default: the fixed lists).

        Raises:
            DataError: If the folder or people are missing.
            ConfigError: If the model takes what this data cannot give.

        Example:
            >>> WorkloadSettings().parts(InputSpec(), data_root="nowhere")
            Traceback (most recent call last):
                ...
            evermodels.core.errors.DataError: eegmat: there is no folder 'nowhere/eegmat'. ...
        """
        if other := [name for name in spec.modalities if name not in ("eeg", "eye")]:
            raise ConfigError(f"model: the workload pairs are EEG and eye movement, and the model takes {other[0]}.")
        eeg = spec.eeg or EEGSpec(ch_names=montage.preset("eegmat"), sfreq=200.0)
        seconds = spec.window_seconds or 5.0
        eegmat = read_eegmat(data_folder("eegmat", data_root), eeg, seconds, self.baseline_seconds, self.overlap)
        folder = data_folder("pupil", data_root)
        people: Any = {} if split is None else {"people": split["eeg_subject"]}
        watched = EYE_PEOPLE if split is None else split["eye_subject"]
        shared: dict[str, Any] = {"pairing_seed": self.pairing_seed, "with_eeg": spec.eeg is not None, **people}

        def companion(overlap: float) -> EyeCompanion:
            seen: EyeWindows | None = eyes(folder, spec.eye, seconds, overlap) if spec.eye else None
            return EyeCompanion(seen.pupil if seen else _pupil(folder), seen, split=watched)

        testing = companion(0.0)
        return Parts(
            train=WorkloadPairs(
                eegmat,
                companion(_OVERLAP),
                "train",
                seed=seed,
                train=True,
                length=self.length,
                eeg_transform=eeg_transform(self.augment, eegmat.sfreq),
                **shared,
            ),
            validation=WorkloadPairs(eegmat, testing, "validation", **shared),
            test=WorkloadPairs(eegmat, testing, "test", **shared),
            classes=WorkloadPairs.classes,
            factors=WorkloadPairs.factors,
            groups=WorkloadPairs.groups,
        )


@functools.lru_cache(maxsize=2)
def _pupil(folder: Path) -> Pupil:
    return Pupil(folder)
