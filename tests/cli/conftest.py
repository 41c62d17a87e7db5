"""A checkpoint on disk and a call of the command line, for every test of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import evermodels as em
from evermodels import cli, demo

CLASSES = tuple(sorted({p.truth for p in demo.PARTS} | {"rest & smiling", "arithmetic & neutral"}))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """A model with weights of one draw, saved."""
    torch.manual_seed(0)
    model = em.create_model("ever_tiny")
    model.classes = CLASSES
    return model.save_pretrained(tmp_path_factory.mktemp("checkpoints") / "mine")


@pytest.fixture
def run(capsys):
    """Call the command line; the exit status, stdout and stderr."""

    def call(*arguments: object) -> tuple[int, str, str]:
        code = cli.main([str(a) for a in arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call
