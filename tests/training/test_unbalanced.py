"""Class-balanced weights in a real training: three windows of rest for each of arithmetic, from the bundled sample."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from evermodels import samples
from evermodels.datasets import Parts
from evermodels.models import EVER
from evermodels.signals import Preprocessor
from evermodels.training import Predictions, fit
from evermodels.training.recipe import Recipe

CONFIG = {"modalities": ["eeg"], "num_classes": 2, "window_seconds": 2.0}
BETA = 0.999


class Windows(torch.utils.data.Dataset):
    """Windows of one person; the ids stand for stretches of the recordings, so that no window is in two parts."""

    def __init__(self, eeg, labels, who):
        self.eeg, self.labels, self.who = eeg, labels, who

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        if not 0 <= i < len(self):
            raise IndexError(i)
        return {"eeg": self.eeg[i], "label": self.labels[i], "person": self.who}


@pytest.fixture(scope="module")
def parts():
    prepare = Preprocessor(EVER.presets["ever_tiny"].replace(**CONFIG).input_spec)
    paths = [samples.path(f"eegmat_subject33_{state}.edf") for state in ("rest", "arithmetic")]
    eeg = [prepare(eeg=path).tensors["eeg"][:12] for path in paths]

    def stretch(rest, arithmetic, who):
        chosen = torch.cat([eeg[0][rest], eeg[1][arithmetic]])
        return Windows(chosen, [0] * len(eeg[0][rest]) + [1] * len(eeg[1][arithmetic]), who)

    made = (stretch(slice(0, 6), slice(0, 2), "a"), stretch(slice(6, 9), slice(2, 3), "b"))
    return Parts(*made, stretch(slice(9, 12), slice(3, 12), "c"), ("rest", "arithmetic"))


def train(parts, folder, beta, monkeypatch):
    made = []
    make = EVER.make_loss
    monkeypatch.setattr(EVER, "make_loss", lambda self, *a, **k: made.append((a, make(self, *a, **k))) or made[-1][1])
    optim = {
        "epochs": 3,
        "batch_size": 8,
        "warmup_epochs": 0,
        "num_threads": 1,
        "lr": {"eeg_encoder": 2e-3, "rest": 2e-3},
    }
    recipe = Recipe.from_dict(
        {
            "name": "unbalanced",
            "model": {"architecture": "ever_tiny", "config": CONFIG},
            "optim": optim,
            "loss": {"beta": beta},
            "selection": {"every": 3},
        }
    )
    fit(recipe, folder, parts=parts, progress=False)
    (counts, *_), loss = made[0]
    return counts, loss.cross_entropy, Predictions.load(folder / "predictions.npz")


def test_the_rare_class_weighs_more_and_is_called_more(parts, tmp_path, monkeypatch):
    counts, weighted, with_weights = train(parts, tmp_path / "weighted", BETA, monkeypatch)
    assert list(counts) == [6, 2]
    effective = np.array([(1 - BETA) / (1 - BETA**n) for n in (6, 2)])
    np.testing.assert_allclose(weighted.weight, 2 * effective / effective.sum(), rtol=1e-5)
    assert weighted.weight[1] / weighted.weight[0] == pytest.approx(3, rel=0.01)
    _, plain, without = train(parts, tmp_path / "plain", 0.0, monkeypatch)
    assert plain.weight is None
    # Same seed, same order, same start: only the weights differ.
    gain = with_weights.probabilities[:, 1] - without.probabilities[:, 1]
    assert gain.mean() > 0.05 and (gain > 0).mean() > 0.9
