"""Coverage-guided fuzzing of reading EDF and BDF.

Run as ``python tests/fuzz/fuzz_edf.py -max_total_time=600`` after ``pip install atheris``; it is no part of the tests,
which run a short slice of the same damages. Anything but one of our errors is a finding, and so are a hang and a large
allocation: libFuzzer stops and writes the input to a file, which reproduces it as the argument. With ``FUZZ_COUNTS``
set, counts go into that file.
"""

from __future__ import annotations

import collections
import json
import os
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["evermodels.signals"]):
    import edf_cases  # beside this file

COUNTS: collections.Counter[str] = collections.Counter()
FOLDER = Path(tempfile.mkdtemp())


def one(raw: bytes) -> None:
    """Run one input: its numbers choose the damages."""
    data = atheris.FuzzedDataProvider(raw)

    def draw(below: int) -> int:
        return data.ConsumeIntInRange(0, below - 1)

    content = edf_cases.damage(edf_cases.valid(draw), draw)
    kind = (".edf", ".bdf")[draw(8) == 7]
    COUNTS["executions"] += 1
    COUNTS[edf_cases.read(bytes(content), FOLDER / f"a{kind}")] += 1
    if COUNTS["executions"] % 200 == 0 and (place := os.environ.get("FUZZ_COUNTS")):
        Path(place).write_text(json.dumps(COUNTS, indent=1))


if __name__ == "__main__":
    limits = ["-timeout=30", "-rss_limit_mb=4000", "-max_len=512", "-len_control=0"]
    atheris.Setup([sys.argv[0], *limits, *sys.argv[1:]], one)
    atheris.Fuzz()
