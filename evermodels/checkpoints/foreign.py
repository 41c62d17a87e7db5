"""Foreign weights, read without running anything of them."""

from __future__ import annotations

import argparse
import re
import stat
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from evermodels.checkpoints.archive import check_archive
from evermodels.checkpoints.config_file import CONFIG_NAME, WEIGHTS_NAME
from evermodels.checkpoints.read import PICKLES, is_pickle, sniff
from evermodels.checkpoints.strict_json import parse_json
from evermodels.checkpoints.verify import FileDigest
from evermodels.core.errors import CheckpointError, ConfigError, boundary, quoted, shorten
from evermodels.core.text import one_line

CONTAINERS = ("model", "module", "state_dict", "model_state")
WRAPPERS = ("module.", "_orig_mod.")

_LARGEST_CONFIG = 1 << 22  # bytes; one with the names of 20,000 classes has a third of it
_LARGEST_HEADER = 1 << 23  # bytes; the names and shapes of about 80,000 tensors
_LONGEST_NAME = 1000
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_WAY_OUT = "It is cut short, damaged, or something else: get it again."

# Training scripts store their arguments beside the weights. A Namespace only holds values: making one runs no code.
_DATA_HOLDERS: list[Any] = [argparse.Namespace]


@dataclass(frozen=True)
class ForeignFile:
    """What a foreign file holds.

    Args:
        path: The file.
        digest: Its size and sha256.
        tensors: Its tensors by name, without the prefix of a wrapper.
        beside: Names of what else the container held, and why that is left.
        wrapper: The prefix that every name had, such as DataParallel's ``"module."``.
        config: The ``config.json`` in the same folder, or ``None``.
    """

    path: Path
    digest: FileDigest
    tensors: Mapping[str, Tensor]
    beside: Mapping[str, str] = field(default_factory=dict)
    wrapper: str = ""
    config: Mapping[str, Any] | None = None


def read_foreign(source: str | Path) -> ForeignFile:
    """Read the tensors of a foreign file; nothing in it is executed.

    Pickles are read by ``torch.load(weights_only=True)``, which builds tensors and plain values only. What it refuses
    is refused here: there is no second try without it.

    Args:
        source: A ``.safetensors``, ``.pth``, ``.pt`` or ``.bin`` file, or a folder with ``model.safetensors`` or
            ``pytorch_model.bin``.

    Returns:
        The tensors, unwrapped from a known container and prefix.

    Raises:
        CheckpointError: If there is no such file, it is damaged, would run code, or holds something other than tensors.
        ConfigError: If the ``config.json`` beside it is not JSON, or that of a checkpoint of ours.
    """
    with boundary(CheckpointError, f"{source}: it cannot be read", _WAY_OUT):
        path = _find(Path(source))
        config = _config(path.with_name(CONFIG_NAME))
        before = _state(path)
        digest = FileDigest.of_file(path)
        with path.open("rb") as stream:
            start = stream.read(64)
        beside: dict[str, str] = {}
        if is_pickle(start):
            content, beside = _unwrap(_unpickle(path, start), path)
        else:
            sniff(start, path)
            content = _safetensors(path)
        tensors, wrapper = _strip({name: _checked(name, value, path) for name, value in content.items()})
        if _state(path) != before:
            raise CheckpointError(f"{path}: it changed while it was read. Convert it again.")
    if not tensors:
        raise CheckpointError(f"{path}: holds no tensors.")
    return ForeignFile(path, digest, tensors, beside, wrapper, config)


def _config(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    if (size := path.stat().st_size) > _LARGEST_CONFIG:
        raise CheckpointError(
            f"{path}: {size:,} bytes, expected at most {_LARGEST_CONFIG:,}. It is no configuration of a model: put the "
            "right one, or none, beside the weights."
        )
    config = parse_json(path.read_bytes(), str(path))
    if "format_version" in config:
        raise ConfigError(f"{path.parent}: a checkpoint of ours already. Load it with evermodels.from_pretrained.")
    return config


def _state(path: Path) -> tuple[int, ...]:
    now = path.stat()
    return now.st_size, now.st_mtime_ns, now.st_ino, stat.S_IFMT(now.st_mode)


def _find(source: Path) -> Path:
    if source.is_file():
        return source
    if source.is_dir():
        for name in (WEIGHTS_NAME, "pytorch_model.bin"):
            if (source / name).is_file():
                return source / name
        found = sorted(p for p in source.iterdir() if p.suffix.lower() in (*PICKLES, ".safetensors"))
        if len(found) == 1:
            return found[0]
        there = ", ".join(p.name for p in sorted(source.iterdir())[:8]) or "nothing"
        raise CheckpointError(
            f"{source}: expected {WEIGHTS_NAME} or pytorch_model.bin in the folder, got {there}. Give the file itself; "
            "weights that are split over several files must be saved as one first."
        )
    raise CheckpointError(
        f"{source}: there is no such file or folder. Fetch the weights first; from the Hub with: hf download ORG/NAME "
        "--local-dir FOLDER"
    )


def _unpickle(path: Path, start: bytes) -> Any:
    try:
        if start.startswith(b"PK"):
            check_archive(path)
        with torch.serialization.safe_globals(_DATA_HOLDERS):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes raise errors of every kind
        found = re.search(r"WeightsUnpickler error: (.*)", str(error))
        reason = (found[1] if found else str(error).split("\n", 1)[0]).strip(" .") or type(error).__name__
        raise CheckpointError(
            f"{path}: refused ({shorten(one_line(reason))}{_unsafe(path)}). It is damaged, or holds more than tensors "
            "and plain values, and opening that could run any code. Nothing was run, and there is no way around this "
            "here. Get it again, or ask its author for the bare state dict: safetensors.torch.save_file, or "
            "torch.save(model.state_dict())."
        ) from error


def _unsafe(path: Path) -> str:
    """Name what the pickle would import; torch reads that off the opcodes."""
    try:
        with torch.serialization.safe_globals(_DATA_HOLDERS):
            names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # it is for the message only
        return ""
    return f"; it would import {shorten(', '.join(sorted(names)[:5]))}" if names else ""


def _safetensors(path: Path) -> dict[str, Tensor]:
    with path.open("rb") as stream:
        length = struct.unpack("<Q", stream.read(8).ljust(8, b"\0"))[0]
    if length > _LARGEST_HEADER and length < path.stat().st_size:
        raise CheckpointError(
            f"{path}: {length:,} bytes of names and shapes, at most {_LARGEST_HEADER:,} are read. It holds more "
            "tensors than any model here: save the model's own by themselves."
        )
    what = f"{path}: neither a whole safetensors file nor one of torch.save"
    with boundary(CheckpointError, what, _WAY_OUT), safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}


def _unwrap(content: Any, path: Path) -> tuple[Mapping[str, Any], dict[str, str]]:
    if not isinstance(content, Mapping):
        raise CheckpointError(
            f"{path}: expected a mapping from names to tensors, got {type(content).__name__}. Save model.state_dict()."
        )
    inside = [key for key in CONTAINERS if isinstance(content.get(key), Mapping)]
    if len(inside) > 1:
        raise CheckpointError(
            f"{path}: expected one of {', '.join(CONTAINERS)} with weights, got {', '.join(inside)}. "
            "Save the one you want by itself."
        )
    if not inside:
        return content, {}
    return content[inside[0]], {
        key if isinstance(key, str) else quoted(key): f"beside {inside[0]!r} in the file"
        for key in content
        if key != inside[0]
    }


def _checked(name: Any, value: Any, path: Path) -> Tensor:
    if not isinstance(name, str) or not isinstance(value, Tensor):
        raise CheckpointError(
            f"{path}: expected tensors by name, got {type(value).__name__} as {quoted(name)}. Weights are found at the "
            f"top of the file or under {', '.join(map(repr, CONTAINERS))}: save model.state_dict() by itself."
        )
    where = f"{path}: {quoted(name)}"
    if len(name) > _LONGEST_NAME:
        raise CheckpointError(f"{where}: a name of {len(name):,} characters. {_WAY_OUT}")
    if value.is_meta or value.device.type != "cpu":
        raise CheckpointError(
            f"{where}: has a shape and no values (it lies on {value.device}). Save the model after its weights were "
            "loaded."
        )
    if value.layout != torch.strided or value.is_quantized or value.is_nested:
        raise CheckpointError(f"{where}: expected a dense tensor, got {value.layout} {value.dtype}.")
    if value.is_floating_point() and value.dtype not in _FLOATS:
        raise CheckpointError(
            f"{where}: expected float16, bfloat16, float32 or float64, got {value.dtype}, whose scale only its own "
            "code knows. Save the model's weights in bfloat16 there."
        )
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise CheckpointError(f"{where}: has shape {tuple(value.shape)}, but fewer values in the file.")
    return value.detach()


def _strip(tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    wrapper = ""
    for _ in WRAPPERS:
        for prefix in WRAPPERS:
            if tensors and all(name.startswith(prefix) for name in tensors):
                tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
                wrapper += prefix
    return tensors, wrapper
