"""A checkpoint as format 1 had it: the input spec beside the configuration, some tensors under other names."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from evermodels.checkpoints.config_file import parse_config
from evermodels.models import EVER, EVERConfig

CONFIG_1 = Path(__file__).parents[1] / "golden" / "ever_tiny_quadrant_format_1.json"
"""``config.json`` of the checkpoint that was bundled last in format 1."""


def written_in_format_1(folder: Path) -> tuple[EVER, Path]:
    """Write a model of that configuration as a folder of format 1, and return both; digests are left out."""
    content = json.loads(CONFIG_1.read_text(encoding="utf-8"))
    model = EVER(EVERConfig.from_dict(parse_config(CONFIG_1.read_bytes(), "old").config)).eval()
    model.fit_statistics([{"eeg": 20 * torch.randn(4, *model.input_spec.shape("eeg"))}])
    state = {}
    for name, tensor in model.state_dict().items():
        then = next((old + name.removeprefix(new) for old, new in EVER.renamed.items() if name.startswith(new)), name)
        state[then] = tensor.contiguous()
    folder.mkdir()
    save_file(state, folder / "model.safetensors")
    del content["files"], content["sha256"]
    (folder / "config.json").write_text(json.dumps(content))
    return model, folder
