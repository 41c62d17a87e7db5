"""Records what the bundled checkpoints of one and two modalities answer.

    python tests/checkpoints/record_answers.py

writes ``tests/golden/bundled_answers.json``, to which ``test_bundled_answers.py`` holds today's code. Make it anew only
when bundled weights are replaced.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import torch

import evermodels as em
from evermodels.checkpoints.table import bundled_folder, lookup
from evermodels.core.warning import LicenceWarning
from evermodels.models.system import System

RECORD = Path(__file__).parents[1] / "golden" / "bundled_answers.json"
NAMES = ("mood_reader_tiny.workload", "mbsm_tiny.open", "mbsm_tiny.eegmat")


def load(name: str) -> Any:
    """Load a checkpoint; that it may not be used commercially is known here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LicenceWarning)
        return em.from_pretrained(name)


def weights(name: str) -> str:
    """Digest of the bundled weights."""
    return lookup(name).files["model.safetensors"].sha256


def is_here(name: str) -> bool:
    """Whether the files came with this copy: those for non-commercial use are in no package."""
    return bundled_folder(name, lookup(name)).is_dir()


@torch.inference_mode()
def answers(name: str) -> dict[str, list[list[float]]]:
    """Return what a checkpoint says of two drawn samples, all modalities at once and each alone."""
    model, g = load(name), torch.Generator().manual_seed(11)
    if not isinstance(model, System):
        (x,) = (torch.randn(2, *model.sample_shape, generator=g).half().float(),)
        return {"output": model(x)[:, :8].tolist()}
    spec = model.input_spec
    inputs = {m: torch.randn(2, *spec.shape(m), generator=g).half().float() for m in model.modalities}
    found = {"+".join(inputs): model(**inputs).logits.tolist()}
    return found | {m: model(**{m: x}).logits.tolist() for m, x in inputs.items()}


if __name__ == "__main__":
    record = {name: {"weights": weights(name), "answers": answers(name)} for name in NAMES}
    RECORD.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
