"""Damaged EDF and BDF files, made from draws of numbers; what reading them must keep to, whatever stands in them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from evermodels.core.errors import EvermodelsError
from evermodels.signals import read_eeg

Draw = Callable[[int], int]
"""Gives a whole number from 0 to below its argument."""

NAMES = ("EEG Fz", "T3", "ECG", "EDF Annotations")
SAMPLES = (100, 100, 50, 30)
RECORDS = 6
WIDTHS = (16, 80, 8, 8, 8, 8, 8, 80, 8, 32)  # of the signals' fields, in their order
EDGES = (
    *("", "0", "-1", "1", "2", "-0", "1e7", "1e300", "-1e300", "1e-300", "nan", "inf", "-inf", "99999999", "9" * 80),
    *("0.1", "0,5", "1.5", "100", "256", "EDF+D", "EDF+C", "uV", "mV", "V", "x", "Fz", "T7", "A1", "A3", "A4", "A5"),
    *("EDF Annotations", "BDF Annotations", "\x00", "\xff\xff", "\xb5V", "ECG", "Status", "EEG Fz-REF", "12.34.56"),
)


def valid(draw: Draw) -> bytearray:
    """Return a whole file with a pause, an annotation and a channel of another rate."""
    count = len(NAMES)

    def column(values: list[object], width: int) -> bytes:
        return b"".join(str(value).ljust(width).encode("latin-1")[:width] for value in values)

    head = column(["0"], 8) + column(["X X X X", "Startdate X X X X"], 80) + column(["01.01.20", "00.00.00"], 8)
    head += column([256 * (count + 1)], 8) + column([("EDF+D", "EDF+C", "")[draw(3)]], 44)
    head += column([RECORDS, 1], 8) + column([count], 4)
    rows = (NAMES, [""] * count, ["uV", "uV", "mV", ""], [-3200] * count, [3200] * count, [-32000] * count)
    for values, width in zip((*rows, [32000] * count, [""] * count, SAMPLES, [""] * count), WIDTHS, strict=True):
        head += column(list(values), width)
    rng = np.random.default_rng(draw(4))
    body = b""
    for record in range(RECORDS):
        onset = record + 10 * (record > 3)
        text = f"+{onset}\x14\x14\x00".encode() + (b"+1\x152\x14BAD_x\x14\x00" if record == 0 else b"")
        body += rng.normal(0, 200, sum(SAMPLES[:-1])).astype("<i2").tobytes() + text.ljust(60, b"\0")
    return bytearray(head + body)


def damage(content: bytearray, draw: Draw) -> bytearray:
    """Change fields of the header, bytes and the length, as the draws say."""
    count = len(NAMES)
    fixed = [(0, 8), (8, 80), (88, 80), (168, 8), (176, 8), (184, 8), (192, 44), (236, 8), (244, 8), (252, 4)]
    fields = list(fixed)
    at = 256
    for width in WIDTHS:
        fields += [(at + k * width, width) for k in range(count)]
        at += count * width
    for _ in range(1 + draw(4)):
        action = draw(8)
        if action < 4:
            place, width = fields[draw(len(fields))]
            content[place : place + width] = EDGES[draw(len(EDGES))].encode("latin-1")[:width].ljust(width)
        elif action == 4:
            place, width = fields[draw(len(fields))]
            content[place : place + width] = bytes(draw(256) for _ in range(width))
        elif action == 5 and len(content) > 1:
            content[draw(len(content))] ^= 1 << draw(8)
        elif action == 6:
            del content[draw(len(content)) :]
            content += bytes(draw(200))
        else:
            place, text = at + draw(max(1, len(content) - at)), EDGES[draw(len(EDGES))].encode("latin-1")
            content[place : place + len(text)] = text
        if len(content) < 256:
            break
    return content


def read(content: bytes, path: Path) -> str:
    """Read a file to the end: one of our errors, or a recording that keeps to what its class says.

    Returns:
        ``"read"``, or the error's name.
    """
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            recording = read_eeg(path)
        except EvermodelsError as error:
            assert len(str(error)) < 5000
            return type(error).__name__
    assert np.isfinite(recording.data).all()
    assert np.abs(recording.data).max() <= 1e7
    assert 20 <= recording.sfreq <= 50_000
    assert recording.data.nbytes <= max(2**28, 64 * len(content))
    ends = [
        onset + (b - a) / recording.sfreq for (a, b), onset in zip(recording.segments, recording.onsets, strict=True)
    ]
    assert all(end <= onset + 1 for end, onset in zip(ends, recording.onsets[1:], strict=False))
    return "read"
