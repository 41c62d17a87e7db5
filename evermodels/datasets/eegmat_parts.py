"""EEGMAT as a recipe names it: rest against arithmetic, by the fixed split or by folds of people."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch.utils.data import Dataset

from evermodels.core.errors import ConfigError
from evermodels.core.specs import InputSpec
from evermodels.datasets.download import data_folder
from evermodels.datasets.eegmat import EEGMAT, STATES
from evermodels.datasets.parts import DataSettings, Parts
from evermodels.datasets.quadrant_parts import read_eegmat
from evermodels.datasets.splits import PARTS, SubjectSplit, subject_folds

PEOPLE = tuple(f"{number:02d}" for number in range(36))
FOLDS, DRAWS = 6, 40


class StateWindows(Dataset[dict[str, Any]]):
    """Windows of some people of EEGMAT with the state as label.

    Args:
        eegmat: The data set.
        people: Whose.
    """

    def __init__(self, eegmat: EEGMAT, people: Sequence[str]) -> None:
        self.eegmat = eegmat
        self._at = [
            (person, state, start)
            for person in people
            for state in eegmat.task
            for start in eegmat.window_starts(person, state).tolist()
        ]
        self.labels = [STATES.index(state) for _, state, _ in self._at]
        self.people = {"person": tuple(people)}

    def __len__(self) -> int:
        return len(self._at)

    def __getitem__(self, index: int) -> dict[str, Any]:
        person, state, start = self._at[index]
        window = torch.from_numpy(self.eegmat.window(person, state, start).copy())
        return {"eeg": window, "label": self.labels[index], "person": person}


@dataclass(frozen=True)
class EEGMATSettings(DataSettings):
    """Settings of EEGMAT, rest against arithmetic; the state of a whole recording is the label, and rest comes first.

    Args:
        dataset: ``"eegmat"``.
        num_workers: Processes that load training batches; 0 loads in the training process.
        protocol: 1: train 00-27, validation 28-31, test 32-35, the split that papers on EEG foundation models use; 2:
            six folds of six people in order, the epoch chosen on four people taken out of training.
        fold: With protocol 2: which fold is tested, from 0.
        train_people: No more than so many people of the training part, the first ones; ``None``: all.
        baseline_seconds: Length of everybody's rest at its beginning in which no window is cut.
        draw: With protocol 1: seed, 0 to 39, of another split of 28, 4 and 4 people, numpy's
            ``default_rng(draw).permutation(36)`` in this order; ``None``: the fixed one.

    Example:
        >>> EEGMATSettings(fold=1).split().test
        ('06', '07', '08', '09', '10', '11')
        >>> EEGMATSettings(protocol=1, train_people=2).split().train
        ('00', '01')
        >>> EEGMATSettings(protocol=1, draw=0).split().test
        ('15', '29', '31', '33')
    """

    dataset: Literal["eegmat"] = "eegmat"
    protocol: Literal[1, 2] = 2
    fold: int = 0
    train_people: int | None = None
    baseline_seconds: float = 0.0
    draw: int | None = None

    def check(self) -> None:
        """Refuse folds and numbers of people that there are not."""
        super().check()
        if not 0 <= self.fold < FOLDS or (self.protocol == 1 and self.fold):
            raise self.refuse("fold", f"0 to {FOLDS - 1} with protocol 2, else 0")
        if self.draw is not None and (self.protocol != 1 or not 0 <= self.draw < DRAWS):
            raise self.refuse("draw", f"0 to {DRAWS - 1} with protocol 1, or none")
        if self.train_people is not None and self.train_people < 1:
            raise self.refuse("train_people", "at least 1, or none")
        if self.baseline_seconds < 0:
            raise self.refuse("baseline_seconds", "0 or more")

    def told(self) -> dict[str, Any]:
        """Return which protocol and fold it is."""
        if self.draw is not None:
            return {"protocol": "EEGMAT protocol 1, random people", "fold": self.draw}
        return {"protocol": f"EEGMAT protocol {self.protocol}", "fold": self.fold} if self.protocol == 2 else {}

    def to_dict(self) -> dict[str, Any]:
        """Return the settings in plain JSON; the draw only where there is one, so that other digests stay."""
        plain = super().to_dict()
        return plain if self.draw is not None else {key: value for key, value in plain.items() if key != "draw"}

    def split(self) -> SubjectSplit:
        """Return the people of each part."""
        if self.protocol == 2:
            split = subject_folds(PEOPLE, FOLDS)[self.fold]
        elif self.draw is None:
            split = SubjectSplit(PEOPLE[:28], PEOPLE[28:32], PEOPLE[32:])
        else:
            drawn = [PEOPLE[k] for k in np.random.default_rng(self.draw).permutation(len(PEOPLE))]
            split = SubjectSplit(*(tuple(sorted(part)) for part in (drawn[:28], drawn[28:32], drawn[32:])))
        return SubjectSplit(split.train[: self.train_people], split.validation, split.test)

    def parts(
        self,
        spec: InputSpec,
        *,
        seed: int = 0,
        data_root: str | os.PathLike[str] | None = None,
        split: Mapping[str, SubjectSplit] | None = None,
    ) -> Parts:
        """Build the parts.

        Args:
            spec: What the model takes.
            seed: Unused; nothing is drawn.
            data_root: Folder that holds ``eegmat``.
            split: The people of each part under ``"person"`` (default: :meth:`split`).

        Raises:
            DataError: If the folder or people are missing.
            ConfigError: If the model takes more than signals of EEG.
        """
        del seed
        eeg = spec.eeg
        if spec.modalities != ("eeg",) or eeg is None or eeg.features is not None:
            raise ConfigError(
                "model: EEGMAT gives signals of EEG and nothing else; expected a model of these alone, got "
                f"{', '.join(spec.modalities)}."
            )
        folder = data_folder("eegmat", data_root)
        eegmat = read_eegmat(folder, eeg, spec.window_seconds or 5.0, self.baseline_seconds)
        people = (split or {}).get("person") or self.split()
        train, validation, test = (StateWindows(eegmat, people.part(part)) for part in PARTS)
        return Parts(train, validation, test, classes=STATES, groups=("person",))
