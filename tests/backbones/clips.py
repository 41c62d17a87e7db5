"""What the tests of clip encoders share: reference numbers, foreign models with random weights, converted ones."""

from __future__ import annotations

import sys

import pytest
import torch

import evermodels as em
from evermodels.checkpoints.convert import convert


def relative(got: torch.Tensor, want: torch.Tensor) -> float:
    """Largest difference over the largest wanted value."""
    return ((got - want).abs().max() / want.abs().max()).item()


def clip(config, batch: int = 2, **kwargs) -> torch.Tensor:
    """A random clip of a configuration's size."""
    return torch.randn(batch, config.num_frames, config.in_chans, *config.img_size, **kwargs)


def check_gradients(model, data, tolerance: float = 1e-4, rename=lambda name: name) -> None:
    """The gradients of the reference's ``sum(logits * cotangent)``."""
    x = data["input"]["x"].clone().requires_grad_()
    (model.train()(x.transpose(1, 2)) * data["input"]["cotangent"]).sum().backward()
    parameters = dict(model.named_parameters())
    for key, want in data["grad"].items():
        got = x.grad if key == "input/x" else parameters[rename(key)].grad
        assert relative(got, want) < tolerance, key


def check_checkpointing(model, x) -> None:
    """Recomputed blocks give the same gradients, and are recomputed in training."""
    model.train()
    model(x).square().sum().backward()
    plain = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    calls = []
    handles = [
        m.register_forward_hook(lambda *_: calls.append(1))
        for name, m in model.named_modules()
        if name.endswith("norm2")
    ]
    model.set_grad_checkpointing()
    model(x).square().sum().backward()
    assert len(calls) == 2 * len(handles)
    for p, want in zip(model.parameters(), plain, strict=True):
        torch.testing.assert_close(p.grad, want)


def converted(source, out, architecture: str, licence: str = "mit", **options):
    """Convert, and load what was written."""
    report = convert(source, out, architecture=architecture, licence=licence, **options)
    return em.from_pretrained(out), report


def hugging_face():
    """The package ``transformers``, which must not meet a torchaudio of another CUDA version."""
    if "torchaudio" not in sys.modules:
        sys.modules["torchaudio"] = None  # type: ignore[assignment]  # how an import is made to fail
    return pytest.importorskip("transformers")


def randomised(model, std: float = 0.2):
    """The model with all its parameters drawn anew, so that none is zero or one."""
    with torch.no_grad():
        for p in model.parameters():
            p.normal_(std=std)
    return model.eval()
