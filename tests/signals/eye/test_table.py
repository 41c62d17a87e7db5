"""Tables: each way to give one, and each thing that cannot be one."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from evermodels.core.errors import ConfigError, EvermodelsError, ShapeError, SignalError
from evermodels.signals.eye import Eye, table

UNIT = {"time": "s", "pupil": "mm"}
TIME = np.arange(0, 1, 0.01)
PUPIL = np.r_[np.full(40, 3.5), np.full(20, -1.0), np.full(40, 3.75)]


def written(path: Path, separator: str = ",", head: str = "time{0}pupil", rows: list[str] | None = None) -> Path:
    lines = rows or [f"{t:.3f}{separator}{p:g}" for t, p in zip(TIME, PUPIL, strict=True)]
    text = "\n".join([head.format(separator), *lines, ""])
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


class Frame:
    """What a data frame of pandas or polars has of it."""

    def __init__(self, held: dict[str, object]) -> None:
        self.held, self.columns = held, list(held)

    def __getitem__(self, name: str) -> object:
        return self.held[name]


class NAType:
    """pandas' missing value: no number, no truth value."""

    def __bool__(self) -> bool:
        raise TypeError("boolean value of NA is ambiguous")


def sources(folder: Path) -> dict[str, object]:
    both = {"time": TIME, "pupil": PUPIL}
    structured = np.zeros(100, dtype=[("time", "f8"), ("pupil", "f4")])
    structured["time"], structured["pupil"] = TIME, PUPIL
    masked = np.ma.masked_less(PUPIL, 0)
    words = [NAType() if p < 0 else p for p in PUPIL]
    return {
        "csv": written(folder / "a.csv"),
        "tsv": written(folder / "a.TSV", "\t"),
        "tab": written(folder / "a.tab", "\t"),
        "csv.gz": written(folder / "a.csv.gz"),
        "preamble": written(folder / "b.csv", head="# made by a tracker\n#\n\n time , pupil "),
        "BOM": written(folder / "c.csv", head="\ufefftime,pupil"),
        "empty cells": written(
            folder / "d.csv", rows=[f"{t},{p if p > 0 else ''}" for t, p in zip(TIME, PUPIL, strict=True)]
        ),
        "EyeLink": written(
            folder / "e.csv", rows=[f"{t},{p if p > 0 else '.'}" for t, p in zip(TIME, PUPIL, strict=True)]
        ),
        "mapping": both,
        "lists": {name: list(column) for name, column in both.items()},
        "text": {name: [str(value) for value in column] for name, column in both.items()},
        "frame": Frame(both),
        "frame with NA": Frame({"time": TIME, "pupil": np.array(words, dtype=object)}),
        "structured": structured,
        "bytes": {name: np.array([str(value) for value in column], dtype="S") for name, column in both.items()},
        "masked": {"time": TIME, "pupil": masked},
    }


KINDS = (
    *("csv", "tsv", "tab", "csv.gz", "preamble", "BOM", "empty cells", "EyeLink", "mapping", "lists", "text", "frame"),
    *("frame with NA", "structured", "bytes", "masked"),
)


@pytest.mark.parametrize("kind", KINDS)
def test_every_way_to_give_a_table_gives_the_same(kind, tmp_path):
    held = sources(tmp_path)
    assert set(held) == set(KINDS)
    eye = Eye(held[kind], unit=UNIT)
    assert eye.sfreq == pytest.approx(100)
    np.testing.assert_array_equal(eye.columns["pupil"], np.where(PUPIL > 0, PUPIL, np.nan))
    np.testing.assert_allclose(eye.times, TIME)
    assert eye.blinks.duration.round(6).tolist() == [0.2]


def test_other_delimiters_are_said_not_guessed(tmp_path):
    path = written(tmp_path / "a.csv", ";")
    with pytest.raises(SignalError, match=r"looks like ';': give delimiter=';'"):
        Eye(path, unit=UNIT)
    assert Eye(path, unit=UNIT, delimiter=";").columns["pupil"][0] == 3.5
    with pytest.raises(ConfigError, match=r"delimiter: a.txt does not say"):
        Eye(written(tmp_path / "a.txt", "|"), unit=UNIT)
    assert Eye(tmp_path / "a.txt", unit=UNIT, delimiter="|").sfreq == pytest.approx(100)
    for wrong in ("", "::", "\n", '"', 3):
        with pytest.raises(ConfigError, match="delimiter: expected one character"):
            Eye(path, unit=UNIT, delimiter=wrong)
    with pytest.raises(ConfigError, match="delimiter: it is for a file"):
        Eye({"time": TIME, "pupil": PUPIL}, unit=UNIT, delimiter=",")


def test_rows_are_chosen_by_other_columns(tmp_path):
    rows = [f"V{trial},{part},{t:.2f},{3 + trial}" for trial in (1, 2) for part in (1, 2) for t in TIME]
    path = written(tmp_path / "a.csv", head="video,part,time,pupil", rows=rows)
    columns = {"time": "time", "pupil": "pupil"}
    eye = Eye(path, columns=columns, unit=UNIT, where={"video": "V2", "part": 1})
    assert eye.columns["pupil"].tolist() == [5.0] * 100 and eye.dropped == ("video", "part")
    held = {"video": ["V1"] * 100 + ["V2"] * 100, "time": np.tile(TIME, 2), "pupil": np.repeat([3.0, 4.0], 100)}
    assert Eye(held, columns=columns, unit=UNIT, where={"video": "V2"}).columns["pupil"].tolist() == [4.0] * 100
    with pytest.raises(SignalError, match=r"sample 101 .* comes before .* where=\{column: value\}"):
        Eye(path, columns=columns, unit=UNIT)
    with pytest.raises(SignalError, match=r"has no rows with \{'video': 'V9'\}"):
        Eye(path, columns=columns, unit=UNIT, where={"video": "V9"})
    with pytest.raises(SignalError, match="where: the table has no column 'film'"):
        Eye(path, columns=columns, unit=UNIT, where={"film": "V1"})
    with pytest.raises(ConfigError, match="where: expected a value by column"):
        Eye(path, columns=columns, unit=UNIT, where="V1")


FILES = {
    "empty": ("", "the file is empty"),
    "header alone": ("time,pupil\n", "the table has no rows"),
    "one row": ("time,pupil\n0,3\n", "1 samples are no recording"),
    "no names": ("0.0,3.5\n0.1,3.5\n0.2,3.5\n", "its first line holds numbers"),
    "a name twice": ("time,pupil,pupil\n0,3,3\n1,3,3\n", "'pupil' stands there twice"),
    "a short row": ("time,pupil\n0,3\n0.1\n0.2,3\n", "line 3 has 1 values, and the table 2 columns"),
    "a long row": ("time,pupil\n0,3\n0.1,3,4\n", "line 3 has 3 values"),
    "text": ("time,pupil\n0,3\n0.1,wide\n0.2,3\n", "pupil: expected a number or an empty cell, got 'wide' in line 3"),
    "decimal comma": ('time,pupil\n0,3\n0.1,"3,5"\n', "A decimal comma must become a point"),
    "underscore": ("time,pupil\n0,3\n0.1,3_5\n", "got '3_5'"),
    "infinite": ("time,pupil\n0,3\n0.1,inf\n0.2,3\n", "pupil: sample 2 is infinite"),
    "no time": ("time,pupil\n0,3\n,3\n0.2,3\n", "time: sample 2 has no time stamp"),
    "a quote left open": ('time,pupil\n0,3\n0.1,"3\n0.2,3\n', "it cannot be read"),
}


@pytest.mark.parametrize("name", FILES)
def test_bad_files_are_refused_with_the_place(name, tmp_path):
    content, message = FILES[name]
    path = tmp_path / "a.csv"
    path.write_text(content)
    with pytest.raises(SignalError, match=message):
        Eye(path, unit=UNIT)


def test_files_that_are_no_text_are_refused(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes("time,pupil\n0,3\n".encode("utf-16"))
    with pytest.raises(SignalError, match="UTF-8"):
        Eye(path, unit=UNIT)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        Eye(tmp_path / "b.csv", unit=UNIT)
    whole = written(tmp_path / "a.csv.gz").read_bytes()
    for damaged in (whole[:-9], whole[:40], b"", b"no gzip", whole[:30] + b"\xff" * 20 + whole[50:]):
        (tmp_path / "a.csv.gz").write_bytes(damaged)
        with pytest.raises(SignalError, match=r"a\.csv\.gz: "):
            Eye(tmp_path / "a.csv.gz", unit=UNIT)
    with pytest.raises(SignalError, match="Read it with pandas"):
        Eye(tmp_path / "a.xlsx", unit=UNIT)


def test_what_would_ask_for_all_memory_is_refused_first(tmp_path, monkeypatch):
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(b"time,pupil\n" + b"1" * 5_000_000))
    with pytest.raises(SignalError, match="a line is longer than 1,048,576 characters"):
        Eye(path, unit=UNIT)
    path.write_bytes(gzip.compress(b",".join(b"c%d" % k for k in range(10_001)) + b"\n"))
    with pytest.raises(SignalError, match="10,001 columns are more"):
        Eye(path, unit=UNIT)
    monkeypatch.setattr(table, "MOST_ROWS", 50)
    path.write_bytes(gzip.compress(b"\n" * 101 + b"time,pupil\n"))
    with pytest.raises(SignalError, match="more than 100 lines"):
        Eye(path, unit=UNIT)
    for source in (written(tmp_path / "b.csv"), {"time": TIME, "pupil": PUPIL}):
        with pytest.raises(SignalError, match="it has 100 rows or more, beyond 50"):
            Eye(source, unit=UNIT)


MEMORY = {
    "an array without names": (np.zeros((5, 2)), SignalError, r"of shape \(5, 2\), which names no columns"),
    "none": (None, SignalError, "got NoneType, which names no columns"),
    "no columns": ({}, SignalError, "the table has no columns"),
    "unequal": (
        {"time": TIME, "pupil": PUPIL[1:]},
        ShapeError,
        r"columns of one length, got \{'time': 100, 'pupil': 99\}",
    ),
    "two axes": ({"time": TIME, "pupil": PUPIL[:, None]}, ShapeError, r"pupil: expected \(rows,\)"),
    "dates": ({"time": TIME.astype("datetime64[s]"), "pupil": PUPIL}, SignalError, r"numpy\.timedelta64"),
    "complex": (
        {"time": TIME, "pupil": PUPIL + 0j},
        SignalError,
        "pupil: expected numbers, got values of type complex",
    ),
    "a word": ({"time": TIME[:2], "pupil": ["3", "big"]}, SignalError, "pupil: .* got 'big' in row 2"),
    "ragged": ({"time": TIME[:2], "pupil": [[3], [3, 4]]}, SignalError, "pupil: its values cannot be read"),
    "a huge number": ({"time": TIME[:2], "pupil": ["3", 10**400]}, SignalError, "pupil: expected a number"),
}


def test_a_frame_with_a_column_twice_is_refused():
    frame = Frame({"time": TIME, "pupil": PUPIL})
    frame.columns = ["time", "pupil", "pupil"]
    with pytest.raises(SignalError, match="the column 'pupil' stands there twice"):
        Eye(frame, unit=UNIT)


@pytest.mark.parametrize("name", MEMORY)
def test_bad_tables_in_memory_are_refused(name):
    source, error, message = MEMORY[name]
    with pytest.raises(error, match=message) as caught:
        Eye(source, unit=UNIT)
    assert isinstance(caught.value, EvermodelsError)
