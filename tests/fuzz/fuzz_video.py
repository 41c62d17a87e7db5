"""Coverage-guided fuzzing of video containers: damaged files, read through the preprocessor.

Run as ``python tests/fuzz/fuzz_video.py -max_total_time=600`` after ``pip install atheris``; it is no part of the
tests. Anything but one of our errors is a finding, and so are a hang and a large allocation: libFuzzer stops and writes
the input to a file, which reproduces it as the argument. With ``FUZZ_COUNTS`` set, counts go into that file.
"""

from __future__ import annotations

import collections
import json
import os
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import atheris
import av
import numpy as np
import torch

with atheris.instrument_imports(include=["evermodels.signals"]):
    from evermodels.core.errors import ConfigError, ShapeError, SignalError
    from evermodels.core.specs import EEGSpec, InputSpec, VideoSpec
    from evermodels.signals.preprocessor import Preprocessor
    from evermodels.signals.video.read import video_duration

COUNTS: collections.Counter[str] = collections.Counter()
PLACE = Path(tempfile.mkdtemp())
PREPARE = Preprocessor(
    InputSpec(
        window_seconds=0.5,
        eeg=EEGSpec(ch_names=("Cz",), sfreq=100.0),
        video=VideoSpec(num_frames=2, size=(8, 8), face_crop=False),
    )
)


def seeds() -> list[tuple[str, bytes]]:
    """Return whole videos of several containers and codecs, of which mutations are made."""
    rng = np.random.default_rng(0)
    found = []
    for suffix, codec, pixels in (
        ("mp4", "mpeg4", "yuv420p"),
        ("mp4", "libx264", "yuv420p"),
        ("mkv", "mpeg4", "yuv420p"),
        ("avi", "mjpeg", "yuvj420p"),
        ("mov", "mjpeg", "yuvj420p"),
        ("webm", "libvpx", "yuv420p"),
    ):
        path = PLACE / f"seed.{suffix}"
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=8)
            stream.height, stream.width, stream.pix_fmt = 16, 24, pixels
            for k in range(8):
                picture = rng.integers(0, 255, (16, 24, 3), np.uint8)
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                frame.pts, frame.time_base = k, Fraction(1, 8)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        found.append((suffix, path.read_bytes()))
    return found


SEEDS = seeds()


def one(raw: bytes) -> None:
    """Run one input: the first byte chooses a whole video, the others change some of its bytes and cut it."""
    data = atheris.FuzzedDataProvider(raw)
    suffix, whole = SEEDS[data.ConsumeIntInRange(0, len(SEEDS) - 1)]
    content = bytearray(whole)
    for _ in range(data.ConsumeIntInRange(0, 12)):
        # Headers stand at the beginning or the end.
        place = data.ConsumeIntInRange(0, min(len(content), 1200) - 1)
        content[place if data.ConsumeBool() else len(content) - 1 - place] = data.ConsumeIntInRange(0, 255)
    if data.ConsumeIntInRange(0, 3) == 0:
        content = content[: data.ConsumeIntInRange(0, len(content))]
    path = PLACE / f"a.{suffix}"
    path.write_bytes(bytes(content))
    COUNTS["executions"] += 1
    try:
        assert 0 < video_duration(path) < 1e6
        inputs = PREPARE(video=path)
        assert len(inputs) >= 1 and torch.isfinite(inputs.tensors["video"]).all()
        COUNTS["accepted"] += 1
    except (SignalError, ShapeError, ConfigError):
        COUNTS["refused"] += 1
    if COUNTS["executions"] % 500 == 0 and (place := os.environ.get("FUZZ_COUNTS")):
        Path(place).write_text(json.dumps(COUNTS, indent=1))


if __name__ == "__main__":
    # FFmpeg's messages stay off, as they are: PyAV's way to Python's logging can lock up beside decoder threads.
    limits = ["-timeout=20", "-rss_limit_mb=3000", "-max_len=512", "-len_control=0"]
    atheris.Setup([sys.argv[0], *limits, *sys.argv[1:]], one)
    atheris.Fuzz()
