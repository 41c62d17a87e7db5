"""Mood Reader's recipe: its rows are section 4.4's, and it trains on a toy set with the whole machinery."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from evermodels.core.factors import Factor
from evermodels.datasets import Parts
from evermodels.models import MoodReader
from evermodels.training import fit, load_recipe

SMALL = [
    "model.config.window_seconds=2.0",
    "model.config.ch_names=['Fz', 'Cz', 'Pz']",
    "model.config.dim=8",
    "model.config.depth=1",
    "model.config.encoders={eeg={config={embed_dim=8, depth=1, num_heads=2}}}",
    "model.config.input_spec.eeg.sfreq=100.0",
    "model.config.entropy={seconds=1.0, bands=[[4.0, 8.0], [8.0, 14.0]]}",
    "model.config.input_spec.eeg.whiten=false",
    "model.config.input_spec.eeg.baseline=''",
    "model.config.drop_rate=0.0",
    "model.config.attention_drop_rate=0.0",
    "model.config.modality_drop_rate=0.0",
    "optim.ema_decay=0.5",
    "optim.batch_size=8",
    "optim.epochs=4",
    "optim.num_threads=1",
    "optim.lr={eeg_encoder=3e-3, rest=3e-3}",
]


class Toy(torch.utils.data.Dataset):
    """At work the rhythm is quicker and the eyes close more."""

    def __init__(self, part: str, length: int) -> None:
        first = {"train": 0, "validation": 6, "test": 8}[part]
        self.length, self.part = length, part
        self.labels = [i % 2 for i in range(length)]
        self.people = {g: [f"{g[:3]}{first + k}" for k in range(2)] for g in ("eeg_subject", "eye_subject")}

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, i: int) -> dict[str, object]:
        if not 0 <= i < self.length:
            raise IndexError(i)
        rng = np.random.default_rng([len(self.part), i])
        label, time = self.labels[i], np.arange(200) / 100
        wave = 10 * np.sin(2 * np.pi * ((6.0, 11.0)[label] * time + rng.random((3, 1))))
        eye = rng.standard_normal((2, 5)) + 2 * label
        return {
            "eeg": torch.tensor(wave + rng.standard_normal((3, 200)), dtype=torch.float32),
            "eye": torch.tensor(eye, dtype=torch.float32),
            "label": label,
            **{group: people[(i // 2) % 2] for group, people in self.people.items()},
        }


def test_the_rows_are_those_of_figure_4():
    recipe = load_recipe("mood_reader_tiny_workload")
    want = {
        "stb_cf": (("eeg",), False, False, "concatenation"),
        "stib_cf": (("eeg",), False, True, "concatenation"),
        "stib_encoder_cf": (("eeg",), True, True, "concatenation"),
        "stib_encoder_mlf": (("eeg",), True, True, "multi_level"),
        "stib_eye_cf": (("eeg", "eye"), False, True, "concatenation"),
        "stib_eye_mlf": (("eeg", "eye"), False, True, "multi_level"),
        "mood_reader": (("eeg", "eye"), True, True, "multi_level"),
        "mood_reader_warm": (("eeg", "eye"), True, True, "multi_level"),
        "mood_reader_raw": (("eeg", "eye"), True, True, "multi_level"),
    }
    for name, row in want.items():
        model = recipe.for_row(name).model
        config = MoodReader.presets[model.architecture].replace(**model.config)
        assert (config.modalities, config.use_encoder, config.interlink, config.fusion) == row, name
        assert config.input_spec.eeg.whiten == (name != "mood_reader_raw")
    assert {row.name for row in recipe.rows} == {*want, "eye"}
    assert recipe.for_row("eye").model.config["modalities"] == ["eye"]


@pytest.mark.parametrize("row", ["mood_reader", "stb_cf"])
def test_it_learns_a_toy_set(row, tmp_path):
    recipe = load_recipe("mood_reader_tiny_workload", SMALL)
    factors = (Factor("state", ("rest", "work"), ("eeg", "eye")),)
    parts = Parts(
        Toy("train", 32),
        Toy("validation", 8),
        Toy("test", 16),
        ("rest", "work"),
        factors,
        ("eeg_subject", "eye_subject"),
    )
    result = fit(recipe, tmp_path / "run", row=row, parts=parts, progress=False)
    assert result["test"]["uar"] > 0.8 and np.isfinite(result["test"]["nll"])
