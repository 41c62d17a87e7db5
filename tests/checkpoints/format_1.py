"""A checkpoint as format 1 had it: the input spec beside the configuration, some tensors under other names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from evermodels.checkpoints.config_file import parse_config
from evermodels.models import EVER, EVERConfig
from evermodels.models.ever_format_1 import EEG_1, VIDEO_1

CONFIG_1 = Path(__file__).parents[1] / "golden" / "ever_tiny_quadrant_format_1.json"
"""``config.json`` of the checkpoint that was bundled last in format 1."""


def config_1(config: EVERConfig) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the configuration and the input spec of format 1; of a model of both modalities."""
    now = config.to_dict()
    spec, encoders = now.pop("input_spec"), now.pop("encoders")
    eeg, video, seconds = spec["eeg"], spec["video"], spec["window_seconds"]
    for later in ("features", "lag_seconds"):
        del eeg[later]
    old = {**now, "modalities": ["eeg", "video"], "window_seconds": seconds}
    old |= {key: eeg[key] for key in EEG_1} | {key: video[new] for key, new in VIDEO_1.items()}
    for modality, encoder in encoders.items():
        old |= {f"{modality}_encoder": encoder["name"], f"{modality}_config": encoder["config"]}
    return old, {"eeg": {**eeg, "window_seconds": seconds}, "video": video}


def write_in_format_1(model: EVER, folder: Path) -> Path:
    """Write a model as a folder of format 1, without digests."""
    state = {}
    for name, tensor in model.state_dict().items():
        then = next((old + name.removeprefix(new) for old, new in EVER.renamed.items() if name.startswith(new)), name)
        state[then] = tensor.contiguous()
    folder.mkdir()
    save_file(state, folder / "model.safetensors")
    config, spec = config_1(model.config)
    content = {"format_version": 1, "architecture": "ever_tiny", "config": config, "input_spec": spec}
    (folder / "config.json").write_text(json.dumps(content))
    return folder


def written_in_format_1(folder: Path) -> tuple[EVER, Path]:
    """Write a model of the old file's configuration with that file's own text, and return both."""
    content = json.loads(CONFIG_1.read_text(encoding="utf-8"))
    model = EVER(EVERConfig.from_dict(parse_config(CONFIG_1.read_bytes(), "old").config)).eval()
    model.fit_statistics([{"eeg": 20 * torch.randn(4, *model.input_spec.shape("eeg"))}])
    write_in_format_1(model, folder)
    del content["files"], content["sha256"]
    (folder / "config.json").write_text(json.dumps(content))
    return model, folder
