"""The header of a safetensors file, from bytes that were read once: bounded, and strict as the format's own parser."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch

from evermodels.checkpoints.opened import OpenFile

DTYPES = {
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
_ROOM = 1 << 20  # bytes of a header beyond what its names need: metadata, blanks, names that are too many
_ROW = 200  # bytes of a tensor's row without its name, at most


class Row(NamedTuple):
    """What the header says of one tensor.

    Args:
        dtype: Its type, in the format's words.
        shape: Its shape.
        begin: Where its values begin behind the header.
        end: Where they end.
    """

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def read_header(file: OpenFile, expected: Iterable[str]) -> dict[str, Row]:
    """Read the header from the beginning of a file.

    Args:
        file: The file, of which nothing was read.
        expected: Names that the model has: a header that is far longer than theirs is not read.

    Returns:
        The rows by name, in the order in which their values lie in the file, without gaps and up to its end.

    Raises:
        ValueError: If it is not such a header, with the reason.
    """
    start = file.read(8)
    if len(start) < 8:
        raise ValueError(f"{len(start)} bytes, too few for a header")
    (length,) = struct.unpack("<Q", start)
    if length > file.size - 8:
        raise ValueError(f"its header would be {length:,} bytes, and {file.size - 8:,} are there")
    if length > (most := _ROOM + sum(6 * len(name) + _ROW for name in expected)):
        raise ValueError(f"its header is {length:,} bytes, and that of this model needs no more than {most:,}")
    return _parse(file.read(length), file.size - 8 - length)


def _parse(data: bytes, room: int) -> dict[str, Row]:
    if not data.startswith(b"{"):
        raise ValueError("no header")
    try:
        content = json.loads(
            data.decode("utf-8"), object_pairs_hook=_unique, parse_int=_natural, parse_float=_natural,
            parse_constant=_natural,
        )  # fmt: skip
    except RecursionError as error:
        raise ValueError("its header is nested too deep") from error
    metadata = content.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("its metadata are not texts")
    rows = {name: _row(name, value) for name, value in content.items()}
    rows = dict(sorted(rows.items(), key=lambda item: (item[1].begin, item[1].end)))
    place = 0
    for name, row in rows.items():
        if row.begin != place or row.end < row.begin:
            raise ValueError(f"{name!r} lies from {row.begin:,} to {row.end:,}, expected to begin at {place:,}")
        place = row.end
    if place != room:
        raise ValueError(f"its tensors end at {place:,}, and {room:,} bytes are there")
    return rows


def _row(name: str, value: Any) -> Row:
    name.encode("utf-8")  # half a character could be neither shown nor saved
    if not isinstance(value, dict) or value.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{name!r} is not described by dtype, shape and data_offsets")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    numbers = isinstance(shape, list) and isinstance(offsets, list) and len(offsets) == 2
    if not isinstance(dtype, str) or not numbers or not all(type(n) is int for n in (*shape, *offsets)):
        raise ValueError(f"{name!r} has a dtype, shape or data_offsets of the wrong type")
    row = Row(dtype, tuple(shape), *offsets)
    known = DTYPES.get(dtype)
    if known is not None and math.prod(shape) * known.itemsize != row.end - row.begin:
        raise ValueError(f"{name!r} has {row.end - row.begin:,} bytes, which do not fit its shape {row.shape}")
    return row


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a name stands there twice")
    return result


def _natural(text: str) -> int:
    if not text.isdecimal() or len(text) > 19:
        raise ValueError(f"{text[:20]} stands there, expected a whole number")
    return int(text)
