"""Records what the bundled checkpoints of Milmer, MERCL and the trimodal fusion answer.

    python -m tests.models.record_bundled

writes ``tests/golden/bundled_systems.safetensors``, to which ``test_bundled_record.py`` holds today's code. Make it
anew only when bundled weights are replaced.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

import evermodels as em
from evermodels.checkpoints.table import BUNDLED
from tests.models.record_ever import digest

RECORD = Path(__file__).parents[1] / "golden" / "bundled_systems.safetensors"
NAMES = ("milmer_tiny.quadrant", "mercl_tiny.quadrant", "trimodal_tiny.quadrant")


def draw(model) -> dict[str, Tensor]:
    """Return three samples of each modality of a model; EEG about as large as whitened EEG is."""
    g = torch.Generator().manual_seed(11)
    return {m: torch.randn(3, *model.input_spec.shape(m), generator=g).half().float() for m in model.modalities}


def answers(name: str) -> dict[str, Tensor]:
    """Return what a checkpoint says of the samples: with all modalities, each alone, some absent."""
    model = em.from_pretrained(name)
    inputs = draw(model)
    found = {"inputs": torch.cat([x.flatten()[:8] for x in inputs.values()])}
    flags = {m: torch.arange(3) != i for i, m in enumerate(model.modalities)}
    with torch.inference_mode():
        outputs = {m: model(**{m: x}) for m, x in inputs.items()}
        outputs |= {"all": model(**inputs), "mixed": model(**inputs, present=flags)}
    for tag, output in outputs.items():
        values = {"logits": output.logits, **{f"attention.{k}": v for k, v in output.attention.items()}}
        found |= {f"{tag}.{key}": value.contiguous().clone() for key, value in values.items()}
    return found


if __name__ == "__main__":
    tensors = {f"{name}/{key}": value for name in NAMES for key, value in answers(name).items()}
    save_file(tensors, RECORD, metadata={"weights": json.dumps({name: digest(BUNDLED / name) for name in NAMES})})
