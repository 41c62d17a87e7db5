"""Reading weights: size, header, names, shapes, types, digest and finite values, before a model sees them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from evermodels.checkpoints.header import DTYPES, Row, read_header
from evermodels.checkpoints.opened import WHAT_BELONGS_THERE, OpenFile, open_file
from evermodels.checkpoints.report import LoadReport
from evermodels.checkpoints.verify import BlobName, FileDigest
from evermodels.core.errors import CheckpointError
from evermodels.core.memory import physical_memory

PICKLES = (".pth", ".pt", ".bin", ".ckpt", ".pkl", ".pickle", ".th", ".tar")

_LARGEST_TEXT = 1 << 24


def read_bytes(path: Path, declared: Mapping[str, FileDigest | BlobName] | None = None, way_out: str = "") -> bytes:
    """Read a small file; its digest is that of the bytes that are returned.

    Args:
        path: The file.
        declared: What it must be, by who says so.
        way_out: What to do on a mismatch, for the message.

    Raises:
        CheckpointError: If it cannot be read.
        ChecksumError: If it is not the declared file.
    """
    with open_file(path, declared, way_out) as file:
        if file.size > _LARGEST_TEXT:
            raise CheckpointError(f"{path}: {file.size:,} bytes, expected a small text file. {WHAT_BELONGS_THERE}")
        data = file.read(file.size)
        file.verify()
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
    declared: Mapping[str, FileDigest | BlobName] | None = None,
    way_out: str = "",
) -> tuple[dict[str, Tensor], LoadReport]:
    """Read a safetensors file whose names, shapes and types must be exactly the expected ones.

    The file is opened once and each byte of it read once, the tensors' straight into their own memory, from which the
    digest is taken: what was verified is what is returned, whoever writes to the file meanwhile. Nothing is mapped, so
    that the file may be replaced while the model lives, and the peak is the size of the weights.

    Args:
        path: The file.
        expected: Tensors by name (``meta`` ones will do) whose shapes and types are required.
        source: What is loaded, for the report.
        declared: What the file must be, by who says so; the first sha256 goes into the report.
        way_out: What to do on a mismatch of the digest, for the message.

    Returns:
        The tensors by name, and the report.

    Raises:
        ChecksumError: If it is not the declared file.
        CheckpointError: If it is not a whole safetensors file, or a tensor is missing, left over, of another shape or
            type, or not finite.
    """
    declared = declared or {}
    long = (who for who, what in declared.items() if isinstance(what, FileDigest) or len(what) == 64)
    verified = next(long, None)
    with open_file(path, declared, way_out) as file:
        try:
            header = _header(file, expected, path)
            LoadReport(source, faults=_compare(header, expected), verified=verified).raise_faults()
            tensors = _empty(header, path)
        except CheckpointError:
            file.verify()  # that it is another file says more than how it differs
            raise
        for tensor in tensors.values():
            if tensor.numel():
                file.fill(tensor.reshape(-1).view(torch.uint8).numpy().data)  # the tensor's own memory
        file.verify()
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


def _header(file: OpenFile, expected: Mapping[str, Tensor], path: Path) -> dict[str, Row]:
    try:
        return read_header(file, expected)
    except ValueError as error:
        sniff(file.start(), path)
        raise CheckpointError(
            f"{path}: not a whole safetensors file ({error}). It is cut short or damaged: get the checkpoint again."
        ) from error


def _compare(header: Mapping[str, Row], expected: Mapping[str, Tensor]) -> dict[str, dict[str, str]]:
    faults: dict[str, dict[str, str]] = {"missing": {}, "unexpected": {}, "shape": {}, "dtype": {}}
    for name, tensor in expected.items():
        if name not in header:
            faults["missing"][name] = "in the model, not in the file"
        elif header[name].shape != tuple(tensor.shape):
            faults["shape"][name] = f"{header[name].shape} in the file, {tuple(tensor.shape)} in the model"
        elif DTYPES.get(header[name].dtype) != tensor.dtype:
            kind = DTYPES.get(header[name].dtype, header[name].dtype)
            faults["dtype"][name] = f"{kind} in the file, {tensor.dtype} expected"
    faults["unexpected"] = {name: "in the file, not in the model" for name in sorted(set(header) - set(expected))}
    return {kind: names for kind, names in faults.items() if names}


def _empty(header: Mapping[str, Row], path: Path) -> dict[str, Tensor]:
    """Return tensors without values, in the order of the file."""
    size = sum(row.end - row.begin for row in header.values())
    if size > (most := physical_memory()):  # a file of holes costs nothing to make
        raise CheckpointError(
            f"{path}: {size:,} bytes of weights, and this machine has {most:,.0f} of memory. Load it on a larger one."
        )
    return {name: torch.empty(row.shape, dtype=DTYPES[row.dtype], device="cpu") for name, row in header.items()}


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
