"""Coverage-guided fuzzing of tables of eye movement: damaged files and arrays, read to the last window.

Run as ``python tests/fuzz/fuzz_eye.py -max_total_time=600`` after ``pip install atheris``; it is no part of the tests.
Anything but one of our errors is a finding, and so are a hang and a large allocation: libFuzzer stops and writes the
input to a file, which reproduces it as the argument. With ``FUZZ_COUNTS`` set, counts go into that file.
"""

from __future__ import annotations

import collections
import gzip
import json
import os
import sys
import tempfile
import warnings
from pathlib import Path

import atheris
import numpy as np
import torch

with atheris.instrument_imports(include=["evermodels.signals.eye"]):
    from evermodels.core.errors import EvermodelsError
    from evermodels.core.specs import EyeSpec
    from evermodels.signals.eye import COLUMNS, FEATURES, Eye, Reader
    from evermodels.signals.room import grid

COUNTS: collections.Counter[str] = collections.Counter()
FOLDER = Path(tempfile.mkdtemp())
NAMES = (*COLUMNS, "seconds", "", " x", "X", "video", "blink", "\ufeff", '"a,b"', "x" * 300)
CELLS = (
    *("", "nan", ".", "NA", "-1", "0", "1", "2", "0.5", "1e308", "-1e308", "1e-308", "inf", "-inf", "1,5", "1_0", "V1"),
    *("٣", "3.5", "3500", "360", "1000", "0x10", "true", "\x00", '"', "\r", "1e400", "-0", "#", "9" * 400),
)
UNITS = ("s", "ms", "frames", "mm", "um", "au", "deg", "rad", "px", "normalized", "ratio", "", None)
SUFFIXES = (".csv", ".tsv", ".txt", ".csv.gz", ".tab.gz", ".CSV")


def draw_table(data: atheris.FuzzedDataProvider) -> tuple[list[str], list[list[str]]]:
    """Return names and rows: a plain recording in which a few cells, names and rows are other ones."""

    def draw(below: int) -> int:
        return data.ConsumeIntInRange(0, below - 1)

    measured = list(COLUMNS)[3:] if draw(8) else list(COLUMNS)
    names = [measured[draw(len(measured))] for _ in range(1 + draw(5))]
    if draw(8):
        names = list(dict.fromkeys(["time", *names]))
    count, step = draw(300), (0.01, 0.01, 0.01, 0.1, 10.0, 1.0, 1e-5)[draw(7)]
    rng = np.random.default_rng(draw(8))
    level = {"pupil": 3.5, "gaze": 5.0, "openness": 0.9, "mark": 1.0, "time": 0.0}
    rows = [
        [
            f"{k * step + (0.8 * step if name == 'stop' else 0):.6g}"
            if COLUMNS[name] == "time"
            else f"{level[COLUMNS[name]] * (1 if COLUMNS[name] == 'mark' else rng.random()):.4g}"
            for name in names
        ]
        for k in range(count)
    ]
    for _ in range(draw(8)):
        action = draw(6)
        if action == 0:
            names[draw(len(names))] = NAMES[draw(len(NAMES))]
        elif not rows:
            continue
        elif action == 1:
            rows[draw(len(rows))] = [CELLS[draw(len(CELLS))] for _ in range(draw(6))]
        elif action == 2:
            first, cell, column = draw(len(rows)), CELLS[draw(len(CELLS))], draw(len(names))
            for row in rows[first : first + draw(60)]:
                if column < len(row):
                    row[column] = cell
        elif action == 3:
            first = draw(len(rows))
            del rows[first : first + draw(80)]
        elif action == 4:
            rows.append(rows[draw(len(rows))])
        else:
            row = rows[draw(len(rows))]
            if row:
                row[draw(len(row))] = data.ConsumeUnicodeNoSurrogates(6)
    return names, rows


def check(eye: Eye, data: atheris.FuzzedDataProvider) -> None:
    """Hold a recording to what its class says, and cut it into windows."""
    assert np.isfinite([eye.start, eye.stop, eye.sfreq]).all() and eye.stop > eye.start
    assert all(a < b for a, b in eye.coverage) and (np.diff(eye.times) > 0).all()
    for events in (eye.blinks, eye.fixations, eye.saccades):
        if events is not None:
            assert (events.stop >= events.start).all() and (np.diff(events.start) > 0).all()
            assert len(events) == 0 or (events.start[0] >= eye.start - 1e-9 and events.stop[-1] <= eye.stop + 1e-6)
    names = [list(FEATURES)[data.ConsumeIntInRange(0, len(FEATURES) - 1)] for _ in range(6)]
    channels = [*(name for name in eye.columns if name in COLUMNS), "measured"]
    specs = [EyeSpec(features=tuple(dict.fromkeys(names)), seconds=0.5)]
    if len(channels) > 1:
        specs.append(EyeSpec(form="series", channels=tuple(channels), sfreq=30.0))
    for spec in specs:
        try:
            reader = Reader(spec, 1.0)
            recording = reader.prepare(eye)
            starts = grid(recording, 1.0, 0.0)[:40]
            windows = list(reader.windows(recording, starts, 1.0))
            reader.notes(starts, windows, "left out")
            assert all(torch.isfinite(w.tensor).all() and w.tensor.shape == spec.shape(1.0) for w in windows)
            assert all(0 <= w.quality["eye_share"] <= 1 and w.quality["eye_gap_seconds"] >= 0 for w in windows)
            COUNTS["windows"] += len(windows)
        except EvermodelsError as error:
            COUNTS[f"windows: {type(error).__name__}"] += 1


def one(raw: bytes) -> None:
    """Run one input: a table as a file or in memory, with units that fit or do not."""
    data = atheris.FuzzedDataProvider(raw)
    suffix = SUFFIXES[data.ConsumeIntInRange(0, len(SUFFIXES) - 1)]
    unit = {
        name: UNITS[data.ConsumeIntInRange(0, len(UNITS) - 1)] if data.ConsumeIntInRange(0, 15) == 15 else usual
        for name, usual in (("time", "s"), ("pupil", "mm"), ("gaze", "deg"))
        if data.ConsumeIntInRange(0, 15) < 15
    }
    options = {
        "unit": unit,
        "sfreq": (None, None, None, None, None, None, 100.0, 25.0, 0.0)[data.ConsumeIntInRange(0, 8)],
        "where": (*(None,) * 8, {"video": "V1"}, {"x": 1})[data.ConsumeIntInRange(0, 9)],
    }
    form = data.ConsumeIntInRange(0, 3)
    damage = [(data.ConsumeIntInRange(0, 9999), data.ConsumeIntInRange(0, 255)) for _ in range(form)]
    names, rows = draw_table(data)
    options["unit"] = {name: word for name, word in unit.items() if name in {COLUMNS.get(n) for n in names}} or None
    separator = "\t" if "t" in suffix[1:3] else ","
    source: object = {name: [row[k] if k < len(row) else "" for row in rows] for k, name in enumerate(names)}
    if form:
        text = "\n".join(separator.join(cells) for cells in [names, *rows])
        content = bytearray(text.encode("utf-8", "replace"))
        for place, byte in damage[1:]:
            if content:
                content[place % len(content)] = byte
        packed = bytearray(gzip.compress(bytes(content), 1)) if suffix.endswith("gz") else content
        if form == 3 and packed:
            packed = packed[: damage[0][0] % len(packed)]
        source = FOLDER / f"a{suffix}"
        source.write_bytes(bytes(packed))
        options["delimiter"] = separator if suffix.startswith(".txt") else None
    COUNTS["executions"] += 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            eye = Eye(source, **options)
        except EvermodelsError as error:
            assert len(str(error)) < 5000
            COUNTS[type(error).__name__] += 1
        else:
            COUNTS["read"] += 1
            check(eye, data)
    if COUNTS["executions"] % 500 == 0 and (place := os.environ.get("FUZZ_COUNTS")):
        Path(place).write_text(json.dumps(COUNTS, indent=1))


if __name__ == "__main__":
    limits = ["-timeout=20", "-rss_limit_mb=3000", "-max_len=512", "-len_control=0"]
    atheris.Setup([sys.argv[0], *limits, *sys.argv[1:]], one)
    atheris.Fuzz()
