"""Small sound files and sound tracks for the tests of this room."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def write_sound(tmp_path: Path):
    """A sound file by soundfile; its kind follows the name."""

    def write(sound: np.ndarray, sfreq: int = 16000, name: str = "a.wav", **more: object) -> Path:
        soundfile = pytest.importorskip("soundfile", reason="the extra audio is not installed")
        path = tmp_path / name
        soundfile.write(path, sound.T, sfreq, **more)
        return path

    return write


@pytest.fixture
def write_track(tmp_path: Path):
    """A sound track, beside pictures if asked for, with time stamps of one's own."""

    def write(
        sound: np.ndarray,
        sfreq: int = 44100,
        name: str = "a.mp4",
        *,
        codec: str = "aac",
        pictures: int = 0,
        first_picture: int = 0,
        start: float = 0.0,
        without: tuple[float, float] = (0.0, 0.0),
        options: dict[str, str] | None = None,
    ) -> Path:
        av = pytest.importorskip("av", reason="the extra video is not installed")
        path = tmp_path / name
        sound = np.atleast_2d(sound)
        with av.open(str(path), "w", options=options or {}) as container:
            if pictures:
                video = container.add_stream("mpeg4", rate=25)
                video.width, video.height, video.pix_fmt = 32, 32, "yuv420p"
            layout = "stereo" if len(sound) == 2 else "mono"
            track = container.add_stream(codec, rate=sfreq, layout=layout)
            for k in range(pictures):
                frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 8 * k % 256, np.uint8), format="rgb24")
                frame.pts, frame.time_base = k + first_picture, Fraction(1, 25)
                container.mux(video.encode(frame))
            if pictures:
                container.mux(video.encode())
            size = {"aac": 1024, "libopus": 960}.get(codec, 1000)
            for k in range(0, sound.shape[1] - size + 1, size):
                if without[0] <= k / sfreq < without[1]:
                    continue
                piece = np.ascontiguousarray(sound[:, k : k + size])
                if codec == "pcm_s16le":
                    whole = np.ascontiguousarray((piece * 32767).astype("int16").T.reshape(1, -1))
                    frame = av.AudioFrame.from_ndarray(whole, format="s16", layout=layout)
                else:
                    frame = av.AudioFrame.from_ndarray(piece.astype("float32"), format="fltp", layout=layout)
                frame.sample_rate, frame.time_base = sfreq, Fraction(1, sfreq)
                frame.pts = k + round(start * sfreq)
                container.mux(track.encode(frame))
            container.mux(track.encode())
        return path

    return write
