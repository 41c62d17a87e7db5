"""A table's columns as numbers: from separated values in a file, a data frame, a mapping, or an array with names."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import os
import zlib
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from evermodels.core.errors import ConfigError, ShapeError, SignalError, boundary, quoted, shorten
from evermodels.core.memory import physical_memory
from evermodels.core.text import doubled

MISSING = frozenset({"", "nan", "na", "n/a", "null", "none", "."})
"""Words, in any case, that stand for a value that was not measured; ``.`` is EyeLink's."""

MOST_ROWS = 20_000_000
"""Rows of a table, 2.7 hours at 2000 Hz; more is a mistake that would ask for all memory."""

DELIMITERS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
"""What separates the values of a file, by its suffix; ``.gz`` may follow."""

_WORDS = {**dict.fromkeys(MISSING, np.nan), "true": 1.0, "false": 0.0}
_LONGEST_LINE = 2**20
_MOST_COLUMNS = 10_000
_AT_ONCE = 2**17  # cells that are made numbers together
_PART_OF_MEMORY = 0.25


class Table(NamedTuple):
    """A table that is open, and not yet read.

    Args:
        label: What it is, for messages.
        names: Its columns.
        read: Gives columns by name as float64 ``(rows,)``, of the rows where other columns have certain values.
    """

    label: str
    names: tuple[str, ...]
    read: Callable[[Sequence[str], Mapping[str, Any]], dict[str, np.ndarray]]


def open_table(source: Any, delimiter: str | None = None) -> Table:
    """Open a table and look at its columns' names.

    Args:
        source: Path of a ``.csv``, ``.tsv``, ``.tab`` or ``.txt`` file, also ``.gz``; a data frame of pandas or polars;
            a mapping from names to arrays; a structured array.
        delimiter: What separates the values of a file; ``None`` for what its suffix says.

    Raises:
        FileNotFoundError: If there is no such file.
        SignalError: If it is no table, or cannot be read.
        ConfigError: If the delimiter is impossible or for nothing.

    Example:
        >>> table = open_table({"time": [0, 1], "pupil": ["3.5", ""]})
        >>> table.names, table.read(["pupil"], {})["pupil"].tolist()
        (('time', 'pupil'), [3.5, nan])
    """
    if isinstance(source, str | os.PathLike):
        return _open_file(Path(source), delimiter)
    if delimiter is not None:
        raise ConfigError(f"delimiter: it is for a file, got {type(source).__name__}. Leave it out.")
    return _open_memory(source)


def _open_memory(source: Any) -> Table:
    if isinstance(source, Mapping):
        held = {str(name): column for name, column in source.items()}
    elif hasattr(source, "columns") and hasattr(source, "__getitem__"):
        check_header("eye", [str(name) for name in source.columns])
        held = {str(name): source[name] for name in source.columns}
    elif isinstance(source, np.ndarray) and source.dtype.names:
        held = {str(name): source[name] for name in source.dtype.names}
    else:
        shape = f" of shape {source.shape}" if isinstance(source, np.ndarray) else ""
        raise SignalError(
            f"eye: expected a path, a data frame, a mapping from names to arrays or a structured array, got "
            f"{type(source).__name__}{shape}, which names no columns. Give Eye({{'time': a[:, 0], 'pupil': a[:, 1]}}, "
            "unit=…)."
        )
    check_header("eye", list(held))

    def read(wanted: Sequence[str], where: Mapping[str, Any]) -> dict[str, np.ndarray]:
        raw = {name: _flat(name, held[name]) for name in (*wanted, *where)}
        lengths = {name: len(column) for name, column in raw.items()}
        if len(set(lengths.values())) > 1:
            raise ShapeError(f"eye: expected columns of one length, got {shorten(str(lengths))}.")
        check_size("eye", next(iter(lengths.values()), 0), len(wanted))
        rows = np.ones(next(iter(lengths.values()), 0), dtype=bool)
        for name, value in where.items():
            rows &= np.fromiter((_same(cell, value) for cell in raw[name]), bool, len(raw[name]))
        return {name: _numbers(name, raw[name][rows]) for name in wanted}

    return Table("eye", tuple(held), read)


def _flat(name: str, column: Any) -> np.ndarray:
    with boundary(SignalError, f"{name}: its values cannot be read", "Give one number a row."):
        if isinstance(column, np.ma.MaskedArray):
            column = np.ma.filled(column.astype(np.float64), np.nan)
        values = np.asarray(column)
    if values.ndim != 1:
        raise ShapeError(f"{name}: expected (rows,), got {values.ndim} axes of shape {values.shape}.")
    if values.dtype.kind in "Mm":
        raise SignalError(
            f"{name}: expected numbers, got dates or time spans. Make them seconds: "
            "(t - t[0]) / numpy.timedelta64(1, 's')."
        )
    if values.dtype.kind not in "biufOUST":
        raise SignalError(f"{name}: expected numbers, got values of type {values.dtype}.")
    return values


def _numbers(name: str, values: np.ndarray) -> np.ndarray:
    if values.dtype.kind in "biuf":
        return values.astype(np.float64)
    return np.fromiter((_number(cell, name, f"row {k + 1}") for k, cell in enumerate(values)), float, len(values))


def _number(cell: Any, name: str, place: str) -> float:
    if isinstance(cell, str | bytes):
        cell = cell.decode("utf-8", "replace") if isinstance(cell, bytes) else str(cell)
    try:
        if isinstance(cell, str) and "_" in cell:  # Python would read 1_000
            raise ValueError
        return float(cell)
    except (TypeError, ValueError, OverflowError):
        # pandas' missing value becomes no number and no truth value
        word = "" if cell is None or type(cell).__name__ == "NAType" else str(cell).strip().lower()
    if word in _WORDS:
        return _WORDS[word]
    comma = " A decimal comma must become a point first." if "," in word else ""
    raise SignalError(
        f"{name}: expected a number or an empty cell, got {quoted(cell, 60)} in {place}.{comma} Leave cells without a "
        "measurement empty, or choose another column."
    )


def _same(cell: Any, value: Any) -> bool:
    if str(cell).strip() == str(value):
        return True
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return float(cell) == value
    except (TypeError, ValueError, OverflowError):
        return False


def _open_file(path: Path, delimiter: str | None) -> Table:
    suffix = Path(path.stem).suffix.lower() if path.suffix.lower() == ".gz" else path.suffix.lower()
    if suffix not in (*DELIMITERS, ".txt"):
        raise SignalError(
            f"{path.name}: expected a table in .csv, .tsv, .tab or .txt (also .gz), got {suffix or 'no suffix'!r}. "
            "Read it with pandas and give the data frame."
        )
    if delimiter is None and suffix == ".txt":
        raise ConfigError(f"delimiter: {path.name} does not say what separates its values. Give it, such as '\\t'.")
    separator = DELIMITERS[suffix] if delimiter is None else delimiter
    if not isinstance(separator, str) or len(separator) != 1 or separator in '\r\n"':
        raise ConfigError(f"delimiter: expected one character, got {quoted(delimiter, 40)}.")
    with _reading(path), _text(path) as handle:
        header = next(iter(_rows(path, handle, separator)), None)
    if header is None:
        raise SignalError(f"{path.name}: the file is empty. A table begins with the names of its columns.")
    names = [name.strip() for name in header[1]]
    if len(names) == 1:
        other = next((mark for mark in ";\t,|" if mark != separator and mark in names[0]), None)
        if other:
            raise SignalError(
                f"{path.name}: {separator!r} separates nothing in its first line, {quoted(names[0], 120)}. It looks "
                f"like {other!r}: give delimiter={other!r}."
            )
    check_header(path.name, names)
    if all(_is_number(name) for name in names):
        raise SignalError(
            f"{path.name}: its first line holds numbers, {quoted(', '.join(names), 120)}, and no names. Add a line "
            "with the columns' names."
        )

    def read(wanted: Sequence[str], where: Mapping[str, Any]) -> dict[str, np.ndarray]:
        held = {name: array("d") for name in wanted}
        conditions = [(names.index(name), value) for name, value in where.items()]
        count = 0
        with _reading(path), _text(path) as handle:
            rows = islice(_rows(path, handle, separator), 1, None)
            while some := list(islice(rows, max(1, _AT_ONCE // len(names)))):
                count += len(some)
                check_size(path.name, count, len(wanted))
                wrong = next((row for row in some if len(row[1]) != len(names)), None)
                if wrong is not None:
                    raise SignalError(
                        f"{path.name}: line {wrong[0]} has {len(wrong[1])} values, and the table {len(names)} columns. "
                        "It is damaged, cut short, or holds the delimiter in its text."
                    )
                if conditions:
                    some = [row for row in some if all(_same(row[1][at], value) for at, value in conditions)]
                for name, values in held.items():
                    at = names.index(name)
                    values.extend(_cells([row[1][at] for row in some], name, path, [line for line, _ in some]))
        return {name: np.array(values, dtype=np.float64) for name, values in held.items()}

    return Table(path.name, tuple(names), read)


def _cells(cells: list[str], name: str, path: Path, lines: list[int]) -> list[float]:
    try:
        if "_" in "".join(cells):
            raise ValueError
        return list(map(float, cells))
    except ValueError:  # one by one, where there are empty ones
        return [_number(cell, name, f"line {k} of {path.name}") for cell, k in zip(cells, lines, strict=True)]


def _reading(path: Path) -> Any:
    way_out = "Copy it again, or save it anew as text in UTF-8."
    return boundary(SignalError, f"{path.name}: it cannot be read", way_out, passing=(FileNotFoundError, MemoryError))


def _text(path: Path) -> io.TextIOWrapper:
    if not path.is_file():
        raise FileNotFoundError(f"eye: there is no file {path}.")
    binary = gzip.open(path, "rb") if path.suffix.lower() == ".gz" else path.open("rb")
    return io.TextIOWrapper(binary, encoding="utf-8-sig", newline="")


def _rows(path: Path, handle: io.TextIOWrapper, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each row with the number of the line in which it ends; empty lines and ``#`` before the header are none."""
    begun = False

    def lines() -> Iterator[str]:
        nonlocal begun
        try:
            for count in itertools.count():
                if not (line := handle.readline(_LONGEST_LINE)):
                    return
                if count > 2 * MOST_ROWS:
                    raise SignalError(f"{path.name}: it has more than {2 * MOST_ROWS:,} lines. Cut it.")
                if len(line) == _LONGEST_LINE:
                    raise SignalError(
                        f"{path.name}: a line is longer than {_LONGEST_LINE:,} characters; it is no table."
                    )
                skip = not begun and line.startswith("#")
                begun = begun or not (skip or line.isspace())
                yield "\n" if skip else line
        except (EOFError, zlib.error) as error:
            raise SignalError(f"{path.name}: the file is cut short or damaged ({error}). Copy it again.") from error

    reader = csv.reader(lines(), delimiter=delimiter, strict=True)
    for cells in reader:
        if cells and not (len(cells) == 1 and not cells[0].strip()):
            yield reader.line_num, cells


def check_header(label: str, names: Sequence[str]) -> None:
    """Raise unless a table's columns have names, each once.

    Args:
        label: What it is, for messages.
        names: Names of the columns.
    """
    if not names:
        raise SignalError(f"{label}: the table has no columns.")
    if len(names) > _MOST_COLUMNS:
        raise SignalError(f"{label}: {len(names):,} columns are more than the {_MOST_COLUMNS:,} that a table may have.")
    again = [name for name in doubled(names) if name]
    if again:
        raise SignalError(f"{label}: the column {quoted(again[0], 60)} stands there twice. Rename one.")


def check_size(label: str, rows: int, columns: int) -> None:
    """Raise if a table is longer than any recording, or does not fit into a quarter of the memory.

    Args:
        label: What it is, for messages.
        rows: Its rows.
        columns: Columns that are read.
    """
    if rows > MOST_ROWS or 8 * rows * columns > _PART_OF_MEMORY * physical_memory():
        raise SignalError(
            f"{label}: it has {rows:,} rows or more, beyond {MOST_ROWS:,} or a quarter of the memory. Cut it."
        )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
