"""Small EDF and MP4 files for the tests of this room."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def write_edf(tmp_path: Path):
    """A minimal EDF writer after Kemp et al. 1992: one-second records, 0.1 µV a step."""

    def write(
        signals: np.ndarray, ch_names: list[str], sfreq: int = 100, *, name: str = "a.edf", unit: str = "uV"
    ) -> Path:
        count, length = signals.shape
        records = length // sfreq

        def text(values: list[object], width: int) -> bytes:
            return b"".join(str(v).ljust(width).encode("ascii")[:width] for v in values)

        header = text(["0"], 8) + text(["X X X X"], 80) + text(["Startdate X X X X"], 80)
        header += text(["01.01.20", "00.00.00"], 8) + text([256 * (count + 1)], 8) + text([""], 44)
        header += text([records, 1], 8) + text([count], 4)
        header += text(list(ch_names), 16) + text([""] * count, 80) + text([unit] * count, 8)
        header += text([-3200] * count, 8) + text([3200] * count, 8) + text([-32000] * count, 8)
        header += text([32000] * count, 8) + text([""] * count, 80) + text([sfreq] * count, 8) + text([""] * count, 32)
        steps = np.clip(np.rint(signals[:, : records * sfreq] * 10), -32000, 32000).astype("<i2")
        body = steps.reshape(count, records, sfreq).transpose(1, 0, 2).tobytes()
        path = tmp_path / name
        path.write_bytes(header + body)
        return path

    return write


@pytest.fixture
def write_video(tmp_path: Path):
    """A video whose frame number k is grey of value 8·k, with time stamps of one's own."""

    def write(
        times: list[float],
        *,
        name: str = "a.mp4",
        size: tuple[int, int] = (48, 64),
        faststart: bool = False,
        noise: bool = False,
    ) -> Path:
        av = pytest.importorskip("av")
        from fractions import Fraction

        path = tmp_path / name
        options = {"movflags": "faststart"} if faststart else {}
        rng = np.random.default_rng(0)
        with av.open(str(path), "w", options=options) as container:
            stream = container.add_stream("mpeg4", rate=10)
            stream.height, stream.width = size
            stream.pix_fmt = "yuv420p"
            stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
            stream.gop_size = 5
            stream.bit_rate = 4_000_000  # grey values must survive
            for k, time in enumerate(times):
                picture = np.full((*size, 3), 8 * k % 256, dtype=np.uint8)
                if noise:
                    picture = rng.integers(0, 255, picture.shape, dtype=np.uint8)
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                frame.pts, frame.time_base = round(time * 1000), Fraction(1, 1000)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return path

    return write
