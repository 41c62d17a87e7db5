"""Coverage-guided fuzzing of pictures: damaged files of every kind that is read, to 8-bit RGB.

Run as ``python tests/fuzz/fuzz_pictures.py -max_total_time=600`` after ``pip install atheris``; it is no part of the
tests. Anything but one of our errors is a finding, and so are a hang and a large allocation: libFuzzer stops and writes
the input to a file, which reproduces it as the argument. With ``FUZZ_COUNTS`` set, counts go into that file.
"""

from __future__ import annotations

import collections
import io
import json
import os
import sys
import tempfile
import warnings
from pathlib import Path

import atheris
import numpy as np

with atheris.instrument_imports(include=["evermodels.signals.video.pictures", "PIL"]):
    from PIL import Image

    from evermodels.core.errors import ConfigError, ShapeError, SignalError
    from evermodels.signals.video.pictures import FORMATS, MOST_PIXELS, picture_array, resize

COUNTS: collections.Counter[str] = collections.Counter()
PLACE = Path(tempfile.mkdtemp()) / "a.png"


def seeds() -> list[bytes]:
    """Return whole pictures of each kind, of which mutations are made."""
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 255, (9, 13, 4), np.uint8)
    deep = Image.fromarray(rng.integers(0, 65535, (9, 13), np.uint16))
    plain, alpha = Image.fromarray(colours[..., :3]), Image.fromarray(colours)
    found = []
    for kind in FORMATS:
        pictures = [plain, plain.convert("L"), plain.convert("1")]
        pictures += [alpha, plain.convert("P")] if kind in ("PNG", "TIFF", "WEBP") else []
        pictures += [deep] if kind in ("PNG", "TIFF") else []
        for picture in pictures:
            stream = io.BytesIO()
            picture.save(stream, kind)
            found.append(stream.getvalue())
    stream = io.BytesIO()
    plain.save(
        stream, "JPEG", exif=Image.Exif().tobytes() or b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06"
    )
    return [*found, stream.getvalue()]


SEEDS = seeds()


def one(raw: bytes) -> None:
    """Run one input: the first byte chooses a whole picture, the others change some of its bytes and cut it."""
    data = atheris.FuzzedDataProvider(raw)
    content = bytearray(SEEDS[data.ConsumeIntInRange(0, len(SEEDS) - 1)])
    if data.ConsumeIntInRange(0, 7) == 0:
        content = bytearray(content[: data.ConsumeIntInRange(0, 40)] + data.ConsumeBytes(1 << 12))
    for _ in range(data.ConsumeIntInRange(0, 12)):
        if not content:
            break
        # Most of what a header says stands at the beginning.
        last = min(len(content), 200) - 1 if data.ConsumeBool() else len(content) - 1
        content[data.ConsumeIntInRange(0, last)] = data.ConsumeIntInRange(0, 255)
    if data.ConsumeBool():
        content = content[: data.ConsumeIntInRange(0, len(content))]
    PLACE.write_bytes(bytes(content))
    COUNTS["executions"] += 1
    try:
        picture = picture_array(PLACE, "a picture")
        assert picture.dtype == np.uint8 and picture.shape[2] == 3 and picture.size <= 3 * MOST_PIXELS
        assert resize(picture, (8, 8)).shape == (8, 8, 3)
        COUNTS["accepted"] += 1
    except (SignalError, ShapeError, ConfigError):
        COUNTS["refused"] += 1
    if COUNTS["executions"] % 5000 == 0 and (place := os.environ.get("FUZZ_COUNTS")):
        Path(place).write_text(json.dumps(COUNTS, indent=1))


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # what Pillow says of damaged EXIF data
    limits = ["-timeout=10", "-rss_limit_mb=2000", "-max_len=4096", "-len_control=0"]
    atheris.Setup([sys.argv[0], *limits, *sys.argv[1:]], one)
    atheris.Fuzz()
