"""A tiny model in the table, for the tests of this folder only."""

import sys
import types
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import nn

from evermodels.checkpoints.base import PretrainedModel
from evermodels.core import registry
from evermodels.core.config import Config
from evermodels.core.specs import EEGSpec, InputSpec


@dataclass(frozen=True)
class TinyConfig(Config):
    in_features: int = 6
    dim: int = 4
    depth: int = 2
    num_classes: int = 3
    name: str = "x"

    def check(self):
        if self.dim < 1:
            raise self.refuse("dim", "at least 1")


class Tiny(PretrainedModel):
    """A stack with batch norm statistics, a computed buffer, a scalar and a head."""

    config_class = TinyConfig
    presets: ClassVar = {"tiny_test": TinyConfig()}

    def __init__(self, config):
        super().__init__(config)
        self.stem = nn.Linear(config.in_features, config.dim)
        self.layers = nn.ModuleList(nn.Linear(config.dim, config.dim) for _ in range(config.depth))
        self.norm = nn.BatchNorm1d(config.dim)
        self.scale = nn.Parameter(torch.ones(()))
        self.head = nn.Linear(config.dim, config.num_classes) if config.num_classes else nn.Identity()
        self.reset_buffers()

    @classmethod
    def spec_of(cls, config):
        return InputSpec(window_seconds=1.0, eeg=EEGSpec(ch_names=("Fz", "Cz", "T7"), sfreq=10.0))

    def reset_buffers(self):
        device = self.scale.device
        self.register_buffer("table", torch.arange(self.config.in_features, device=device).float(), persistent=False)

    def reset_classifier(self, num_classes):
        self.config = self.config.replace(num_classes=num_classes)
        self.head = nn.Linear(self.config.dim, num_classes) if num_classes else nn.Identity()

    def forward(self, x):
        x = self.stem(x + self.table)
        for layer in self.layers:
            x = layer(x).tanh()
        return self.head(self.norm(x) * self.scale)


def register_tiny(monkeypatch):
    """Enter the class into the registry as ``tiny_test``, and return it."""
    module = types.ModuleType("evermodels_tiny_test")
    module.Tiny = Tiny
    monkeypatch.setitem(sys.modules, module.__name__, module)
    entry = registry.ModelEntry("backbone", ("eeg",), module.__name__, "Tiny", "for tests")
    monkeypatch.setitem(registry.MODELS, "tiny_test", entry)
    return Tiny


@pytest.fixture
def tiny_class(monkeypatch):
    """The class, registered as ``tiny_test``."""
    return register_tiny(monkeypatch)


@pytest.fixture
def model(tiny_class):
    """A model with values of its own everywhere."""
    model = tiny_class.from_preset("tiny_test")
    with torch.no_grad():
        model.scale.fill_(1.5)
        model(torch.randn(8, 6))  # gives the batch norm statistics
    return model.eval()


@pytest.fixture
def saved(model, tmp_path):
    """A folder with the model."""
    return model.save_pretrained(tmp_path / "tiny", classes=("a", "b", "c"), training={"recipe": "by hand", "seed": 1})
