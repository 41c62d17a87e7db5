"""Coverage-guided fuzzing of sound: damaged files of soundfile and sound tracks, read to a model's windows.

Run as ``python tests/fuzz/fuzz_audio.py -max_total_time=600`` after ``pip install atheris``; it is no part of the
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
import soundfile
import torch

with atheris.instrument_imports(include=["evermodels.signals"]):
    from evermodels.core.errors import ConfigError, ShapeError, SignalError
    from evermodels.core.specs import AudioSpec
    from evermodels.signals.audio import Audio, Reader
    from evermodels.signals.room import covers, grid

COUNTS: collections.Counter[str] = collections.Counter()
PLACE = Path(tempfile.mkdtemp())
READER = Reader(AudioSpec(n_mels=8), 0.1)
SOUND = (0.3 * np.sin(np.arange(4000) / 5) + 0.05 * np.random.default_rng(0).standard_normal(4000)).astype("float32")


def seeds() -> list[tuple[str, bytes]]:
    """Return whole files of several kinds, of which mutations are made."""
    found = []
    for suffix, more in (
        ("wav", {}),
        ("wav", {"subtype": "MS_ADPCM"}),
        ("wav", {"subtype": "FLOAT"}),
        ("flac", {}),
        ("ogg", {}),
        ("mp3", {}),
        ("aiff", {}),
        ("caf", {}),
        ("w64", {}),
        ("au", {}),
        ("rf64", {}),
    ):
        path = PLACE / f"seed.{suffix}"
        soundfile.write(path, SOUND, 8000, **more)
        found.append((suffix, path.read_bytes()))
    for suffix, codec, sfreq, size in (
        ("mp4", "aac", 8000, 1024),
        ("mkv", "libopus", 8000, 160),
        ("mov", "pcm_s16le", 8000, 500),
        ("avi", "mp2", 16000, 1152),
        ("ts", "aac", 8000, 1024),
        ("aac", "aac", 8000, 1024),
    ):
        path = PLACE / f"seed.{suffix}"
        with av.open(str(path), "w") as container:
            track = container.add_stream(codec, rate=sfreq, layout="mono")
            form = track.codec_context.format.name
            turn = av.AudioResampler(format=form, layout="mono", rate=sfreq)
            for k in range(0, len(SOUND) - size + 1, size):
                frame = av.AudioFrame.from_ndarray(SOUND[None, k : k + size], format="fltp", layout="mono")
                frame.sample_rate, frame.pts, frame.time_base = sfreq, k, Fraction(1, sfreq)
                for turned in turn.resample(frame):
                    container.mux(track.encode(turned))
            container.mux(track.encode())
        found.append((suffix, path.read_bytes()))
    return found


SEEDS = seeds()


def one(raw: bytes) -> None:
    """Run one input: the first byte chooses a whole file, the others change some of its bytes and cut it."""
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
        audio = Audio(path, channel="mean")
        assert audio.start < audio.stop and 4000 <= audio.sfreq <= 192000
        starts = grid(audio, 0.1, 0.5)[:50]
        assert covers(audio, starts, 0.1).all()
        windows = list(READER.windows(audio, starts, 0.1))
        assert len(windows) == len(starts) and all(torch.isfinite(window.tensor).all() for window in windows)
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
