"""The synthetic set as a fixture."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def fake():
    """The module ``_fake.py`` beside this file."""
    spec = importlib.util.spec_from_file_location("_fake_training_set", Path(__file__).with_name("_fake.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
