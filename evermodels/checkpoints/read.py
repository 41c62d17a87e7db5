"""Reading weights: digest, header, names, shapes, types and finite values, in this order, before a model sees them."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from evermodels.checkpoints.report import LoadReport
from evermodels.checkpoints.verify import FileDigest, verify
from evermodels.core.errors import CheckpointError

WHAT_BELONGS_THERE = (
    "A checkpoint is a folder with config.json and model.safetensors, as model.save_pretrained writes it."
)
PICKLES = (".pth", ".pt", ".bin", ".ckpt", ".pkl", ".pickle", ".th", ".tar")

_LARGEST_TEXT = 1 << 24

_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


def read_bytes(path: Path, declared: FileDigest | None = None, way_out: str = "") -> bytes:
    """Read a small file and verify its digest.

    Args:
        path: The file.
        declared: Its size and digest, where known.
        way_out: What to do on a mismatch, for the message.

    Raises:
        CheckpointError: If it cannot be read.
        ChecksumError: If it is not the declared file.
    """
    try:
        if (size := path.stat().st_size) > _LARGEST_TEXT:
            raise CheckpointError(f"{path}: {size:,} bytes, expected a small text file. {WHAT_BELONGS_THERE}")
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error}). {WHAT_BELONGS_THERE}") from error
    if declared is not None:
        verify(FileDigest.of_bytes(data), declared, path, way_out)
    return data


def refuse_pickle(path: Path) -> None:
    """Raise the error for a pickle, without opening it.

    Args:
        path: The file.

    Raises:
        CheckpointError: Always.
    """
    raise CheckpointError(
        f"{path}: a pickle can run any code when it is opened, so it is not opened here. Weights are loaded from "
        "model.safetensors only. Foreign weights are turned into it by evermodels convert, which runs nothing of them."
    )


def read_tensors(
    path: Path,
    expected: Mapping[str, Tensor],
    *,
    source: str,
    declared: Mapping[str, FileDigest] | None = None,
    way_out: str = "",
) -> tuple[dict[str, Tensor], LoadReport]:
    """Read a safetensors file whose names, shapes and types must be exactly the expected ones.

    Each tensor is read straight into its own memory: nothing is mapped, so that the file may be replaced while the
    model lives, and the peak is the size of the weights.

    Args:
        path: The file.
        expected: Tensors by name (``meta`` ones will do) whose shapes and types are required.
        source: What is loaded, for the report.
        declared: Size and digest of the file by who declares them; the first goes into the report.
        way_out: What to do on a mismatch of the digest, for the message.

    Returns:
        The tensors by name, and the report.

    Raises:
        ChecksumError: If it is not the declared file.
        CheckpointError: If it is not a whole safetensors file, or a tensor is missing, left over, of another shape or
            type, or not finite.
    """
    verified = next(iter(declared)) if declared else None
    try:
        with path.open("rb") as stream:
            if declared:
                found = FileDigest.of_stream(stream)
                for digest in declared.values():
                    verify(found, digest, path, way_out)
                stream.seek(0)
            sniff(stream.read(64), path)
            header = _header(stream, path)
            LoadReport(source, faults=_compare(header, expected), verified=verified).raise_faults()
            tensors = _values(stream, header, path)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error}). {WHAT_BELONGS_THERE}") from error
    if bad := {name: why for name, tensor in tensors.items() if (why := not_finite(tensor))}:
        LoadReport(source, faults={"not finite": bad}, verified=verified).raise_faults()
    return tensors, LoadReport(source, tuple(expected), verified=verified)


def assign(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Give a model made on ``meta`` its weights, rebuild its computed buffers, and make sure that nothing is left out.

    Args:
        model: The model; its state dict has exactly the names of ``tensors``.
        tensors: The weights.

    Raises:
        CheckpointError: If a tensor of the model has no values afterwards.
    """
    model.load_state_dict(dict(tensors), strict=True, assign=True)
    for module in model.modules():
        if callable(reset := getattr(module, "reset_buffers", None)):
            reset()
    if left := meta_tensors(model):
        raise CheckpointError(
            f"{type(model).__name__}: {', '.join(left)} got no values. A computed tensor must be a buffer with "
            "persistent=False that the module's reset_buffers() makes."
        )


def meta_tensors(model: nn.Module) -> list[str]:
    """Return the names of a model's tensors without values: parameters, buffers and plain attributes."""
    left = [name for name, tensor in (*model.named_parameters(), *model.named_buffers()) if tensor.is_meta]
    for prefix, module in model.named_modules():
        for key, value in vars(module).items():
            if not key.startswith("_") and _holds_meta(value):
                left.append(f"{prefix}.{key}" if prefix else key)
    return left


def _holds_meta(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.is_meta
    if isinstance(value, (list, tuple)):
        return any(_holds_meta(v) for v in value)
    if isinstance(value, dict):
        return any(_holds_meta(v) for v in value.values())
    return False


def is_pickle(start: bytes) -> bool:
    """Return whether a file's first bytes are those of a pickle, or of the zip archive that torch.save makes.

    Args:
        start: The first bytes.
    """
    return start.startswith((b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"))


def sniff(start: bytes, path: Path) -> None:
    """Raise the error that fits, where a file's first bytes are those of something that is no weights.

    Args:
        start: The first bytes.
        path: The file.

    Raises:
        CheckpointError: For a pickle, a Git LFS pointer or a web page.
    """
    if is_pickle(start):
        refuse_pickle(path)
    if start.startswith(b"version https://git-lfs"):
        raise CheckpointError(f"{path}: a Git LFS pointer, not the weights. Fetch them with: git lfs pull")
    if start.lstrip()[:1] == b"<":
        raise CheckpointError(f"{path}: a web page, not weights ({start[:30]!r}…). The download failed: repeat it.")


def _header(stream: BinaryIO, path: Path) -> dict[str, dict[str, Any]]:
    # safetensors' own parser checks lengths, offsets, overlaps and that the file ends where it must.
    try:
        with safe_open(path, framework="pt") as file:
            names = set(file.keys())
        stream.seek(0)
        (length,) = struct.unpack("<Q", stream.read(8))
        header = json.loads(stream.read(length))
        return {name: {**header[name], "start": 8 + length} for name in names}
    except (SafetensorError, ValueError, RuntimeError, KeyError, struct.error) as error:
        raise CheckpointError(
            f"{path}: not a whole safetensors file ({error}). It is cut short or damaged: get the checkpoint again."
        ) from error


def _compare(header: Mapping[str, Mapping[str, Any]], expected: Mapping[str, Tensor]) -> dict[str, dict[str, str]]:
    faults: dict[str, dict[str, str]] = {"missing": {}, "unexpected": {}, "shape": {}, "dtype": {}}
    for name, tensor in expected.items():
        if name not in header:
            faults["missing"][name] = "in the model, not in the file"
        elif tuple(header[name]["shape"]) != tuple(tensor.shape):
            faults["shape"][name] = f"{tuple(header[name]['shape'])} in the file, {tuple(tensor.shape)} in the model"
        elif _DTYPES.get(header[name]["dtype"]) != tensor.dtype:
            kind = _DTYPES.get(header[name]["dtype"], header[name]["dtype"])
            faults["dtype"][name] = f"{kind} in the file, {tensor.dtype} expected"
    faults["unexpected"] = {name: "in the file, not in the model" for name in sorted(set(header) - set(expected))}
    return {kind: names for kind, names in faults.items() if names}


def _values(stream: BinaryIO, header: Mapping[str, Mapping[str, Any]], path: Path) -> dict[str, Tensor]:
    tensors = {
        name: torch.empty(row["shape"], dtype=_DTYPES[row["dtype"]], device="cpu") for name, row in header.items()
    }

    names = [name for name, tensor in tensors.items() if tensor.numel()]

    def fill(first: int) -> None:
        for name in names[first::_READERS]:
            memory = tensors[name].reshape(-1).view(torch.uint8).numpy().data  # shares the tensor's memory
            position = header[name]["start"] + header[name]["data_offsets"][0]
            while memory:
                if not (done := _read_at(stream, memory, position)):
                    raise CheckpointError(
                        f"{path}: ended inside {name!r}. It changed while it was read: load it again."
                    )
                memory, position = memory[done:], position + done

    # Most of the time goes into fresh pages of memory, which the system hands out to each thread by itself.
    with ThreadPoolExecutor(_READERS) as readers:
        list(readers.map(fill, range(_READERS)))
    return tensors


if hasattr(os, "preadv"):
    _READERS = min(4, os.cpu_count() or 1)

    def _read_at(stream: BinaryIO, memory: memoryview, position: int) -> int:
        return os.preadv(stream.fileno(), [memory], position)

else:  # Windows: the place in the file is the stream's, which one reader alone can have
    _READERS = 1

    def _read_at(stream: BinaryIO, memory: memoryview, position: int) -> int:
        stream.seek(position)
        return stream.readinto(memory)  # type: ignore[attr-defined]  # a real file has it


def not_finite(tensor: Tensor) -> str:
    """Return how many values of a tensor are NaN or infinite, or an empty text if all are finite.

    Args:
        tensor: The tensor.

    Example:
        >>> not_finite(torch.tensor([1.0, float("nan")]))
        '1 NaN, 0 infinite of 2'
    """
    if not tensor.is_floating_point() or not tensor.numel():
        return ""
    # One pass without a temporary, forty times faster than isfinite: both ends are NaN if any value is.
    low, high = tensor.aminmax()
    if bool(low.isfinite() & high.isfinite()):
        return ""
    return f"{int(tensor.isnan().sum())} NaN, {int(tensor.isinf().sum())} infinite of {tensor.numel()}"
