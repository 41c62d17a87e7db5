"""An easy synthetic set and a very small EVER; run as a script it trains, and can kill itself on the way."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from evermodels.core.factors import Factor, product_classes
from evermodels.datasets import Parts
from evermodels.training.recipe import Recipe

MODEL = {
    "num_classes": 4,
    "input_spec": {
        "window_seconds": 2.0,
        "eeg": {"ch_names": ["Fz", "Cz", "Pz", "O1"], "sfreq": 32.0},
        "video": {"num_frames": 2, "size": [16, 16]},
    },
    "n_fft": 16,
    "spectrogram_size": [8, 8],
    "dim": 16,
    "encoders": {
        "eeg": {"config": {"embed_dim": 16, "depth": 1, "patch_size": [4, 4]}},
        "video": {"config": {"embed_dim": 16, "depth": 1, "num_heads": 2, "patch_size": 8, "tubelet_size": 2}},
    },
}
FACTORS = (Factor("pace", ("slow", "fast"), ("eeg",)), Factor("light", ("dark", "bright"), ("video",)))
PEOPLE = {"train": range(6), "validation": range(6, 8), "test": range(8, 10)}


class Easy(torch.utils.data.Dataset):
    """Arousal is 4 or 10 Hz, valence a dark or a bright picture."""

    kill_at: int | None = None
    touched: ClassVar[list[str]] = []

    def __init__(self, part: str, length: int, seed: int = 0) -> None:
        self.part, self.length, self.seed, self.epoch, self.served = part, length, seed, 0, 0
        self.labels = [i % 4 for i in range(length)]
        self.people = {"eeg_subject": [f"e{p}" for p in PEOPLE[part]], "face_id": [f"f{p}" for p in PEOPLE[part]]}

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, i: int) -> dict[str, object]:
        if not 0 <= i < self.length:
            raise IndexError(i)
        self.touched.append(self.part)
        self.served += 1
        if self.part == "train" and self.served == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        rng = np.random.default_rng([self.seed, self.epoch if self.part == "train" else 99, i])
        label, (subjects, faces) = self.labels[i], self.people.values()
        time = np.arange(64) / 32
        wave = np.sin(2 * np.pi * ((4, 10)[label // 2] * time + rng.random((4, 1))))
        eeg = 5 * wave + rng.standard_normal((4, 64))
        video = rng.standard_normal((2, 3, 16, 16)) + (-1, 1)[label % 2]
        return {
            "eeg": torch.tensor(eeg, dtype=torch.float32),
            "video": torch.tensor(video, dtype=torch.float32),
            "label": label,
            "eeg_subject": subjects[(i // 4) % len(subjects)],
            "face_id": faces[(i // 4 + i) % len(faces)],
        }


def make_parts(seed: int = 0, train: int = 48) -> Parts:
    return Parts(
        Easy("train", train, seed),
        Easy("validation", 16),
        Easy("test", 24),
        product_classes(FACTORS),
        FACTORS,
        ("eeg_subject", "face_id"),
        {"arousal": "pace", "valence": "light"},
    )


def make_recipe(**optim: object) -> Recipe:
    settings = {
        "epochs": 3,
        "batch_size": 8,
        "lr": {"video_encoder": 3e-3, "eeg_encoder": 3e-3, "rest": 3e-3},
        "warmup_epochs": 0.5,
        "num_threads": 1,
        **optim,
    }
    encoders = {"eeg": "eeg", "video": "video"}
    alone = [
        {"name": m, "table": 3, "overrides": {"model": {"config": {"modalities": [m], "alignment": "none"}}}}
        for m in encoders
    ]
    rows = [
        *alone,
        {"name": "naive", "table": 3, "overrides": {"model": {"config": {"fusion": "naive"}}}, "init_from": encoders},
        {"name": "ever", "table": 3, "title": "the full model"},
    ]
    return Recipe.from_dict(
        {
            "name": "easy",
            "full": "ever",
            "model": {"architecture": "ever_tiny", "config": MODEL},
            "optim": settings,
            "rows": rows,
        }
    )


# Everything that has a state of its own, so that a resumed run must restore it all.
EVERYTHING = {"ema_decay": 0.9, "mixup_alpha": 0.4, "restart_epochs": 1.5}

if __name__ == "__main__":
    from evermodels.training.engine import fit

    Easy.kill_at = int(sys.argv[2]) if len(sys.argv) > 2 else None
    fit(make_recipe(**EVERYTHING), Path(sys.argv[1]), seed=3, parts=make_parts(3), progress=False)
