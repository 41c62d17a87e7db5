"""A toy data set in folds for suites; run as a script it benchmarks it, and can kill itself on the way."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from evermodels.core.errors import DataError
from evermodels.datasets.parts import DATASETS, DataSettings, Parts
from evermodels.datasets.splits import subject_folds
from evermodels.training.suite import Suite, load_suite

PEOPLE = [f"p{i}" for i in range(6)]
WINDOWS = 8


class Windows(torch.utils.data.Dataset):
    """Work has four times the power of rest."""

    kill_at: int | None = None
    served = 0

    def __init__(self, people, spec, part):
        self.part, self.shape = part, spec.eeg.shape(spec.window_seconds)
        self.at = [(person, i) for person in people for i in range(WINDOWS)]
        self.labels = [int(i % 4 == 0) for _, i in self.at]
        self.people = {"person": list(people)}

    def __len__(self):
        return len(self.at)

    def __getitem__(self, index):
        if not 0 <= index < len(self.at):
            raise IndexError(index)
        if self.part == "train":
            Windows.served += 1
            if Windows.served == Windows.kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
        (person, i), label = self.at[index], self.labels[index]
        noise = np.random.default_rng([int(person[1:]), i]).standard_normal(self.shape)
        eeg = torch.tensor(5 * (1 + label) * noise, dtype=torch.float32)
        return {"eeg": eeg, "label": label, "person": person}


@dataclass(frozen=True)
class ToySettings(DataSettings):
    dataset: Literal["toy"] = "toy"
    fold: int = 0
    missing: bool = False

    def parts(self, spec, *, seed=0, data_root=None):
        if self.missing:
            raise DataError("toy: there is no folder.")
        split = subject_folds(PEOPLE, 3, n_validation=1)[self.fold]
        return Parts(*(Windows(split.part(p), spec, p) for p in ("train", "validation", "test")), ("rest", "work"))


def register() -> None:
    DATASETS["toy"] = (ToySettings.__module__, "ToySettings")


SUITE = """
extends = "unified"
name = "toys"
description = "Toys."
models = ["dgcnn_tiny", "band_power_lr"]
datasets = ["folds"]

[optim]
epochs = 2
batch_size = 8
warmup_epochs = 0
num_threads = 1

[sets.folds]
title = "Toys in folds"
modalities = ["eeg"]
num_classes = 2
folds = 3
seeds = [0, 1]
data = { dataset = "toy" }
[sets.folds.overrides.model.config]
ch_names = ["Fz", "Cz", "Pz", "O1"]
sfreq = 100.0
window_seconds = 2.0

[sets.gone]
modalities = ["eeg"]
num_classes = 2
data = { dataset = "toy", missing = true }
"""


def make_suite(folder: Path, *changes: str) -> Suite:
    register()
    path = folder / "toys.toml"
    path.write_text(SUITE, encoding="utf-8")
    return load_suite(path, changes)


if __name__ == "__main__":
    from evermodels.training import run_benchmark

    sys.modules["tests.training._toy_suite"] = sys.modules["__main__"]
    Windows.kill_at = int(sys.argv[3])
    own = make_suite(Path(sys.argv[1]))
    run_benchmark(own, sys.argv[2], models=["dgcnn_tiny"], seeds=[0], progress=False, resamples=20)
