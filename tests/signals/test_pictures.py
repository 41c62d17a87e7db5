"""Pictures of every kind as 8-bit RGB, in the order that people count, and what is refused before it costs memory."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from evermodels.core.errors import ConfigError, ShapeError, SignalError
from evermodels.core.specs import EEGSpec, InputSpec, VideoSpec
from evermodels.signals import Preprocessor, Video, read_video, video_duration
from evermodels.signals.video.pictures import picture_array
from evermodels.signals.video.read import open_video, read_clips

Image = pytest.importorskip("PIL.Image")

SPEC = InputSpec(
    window_seconds=2.0,
    eeg=EEGSpec(ch_names=("Cz", "T7"), sfreq=100.0),
    video=VideoSpec(num_frames=4, size=(16, 16), face_crop=False),
)
ANY_LENGTH = InputSpec(video=SPEC.video)
RAMP = np.tile(np.linspace(0, 65535, 64).astype(np.uint16)[None], (8, 1))


def steps(count: int) -> np.ndarray:
    return np.arange(count, dtype=np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", ["a.png", "a.tiff"])
def test_sixteen_bits_are_scaled_by_their_range(tmp_path: Path, name: str) -> None:
    Image.fromarray(RAMP).save(tmp_path / name)
    picture = picture_array(tmp_path / name, "x")
    np.testing.assert_allclose(picture[0, :, 0], RAMP[0] / 257, atol=0.51)


@pytest.mark.parametrize(("kind", "words"), [(np.int32, "32-bit integers"), (np.float32, "floating point")])
def test_pictures_without_a_known_range_are_refused(tmp_path: Path, kind: type, words: str) -> None:
    path = tmp_path / "a.tiff"
    Image.fromarray((RAMP / 65535).astype(kind)).save(path)
    with pytest.raises(SignalError, match=rf"a\.tiff: its values are {words}.*Scale them to 0\.\.255"):
        read_video([path], 1)


def test_transparent_pixels_are_laid_on_white(tmp_path: Path) -> None:
    hidden = np.zeros((4, 4, 4), np.uint8)
    hidden[..., 0] = 250  # a colour that nobody sees
    hidden[:2, :, 3] = 255
    Image.fromarray(hidden).save(tmp_path / "a.png")
    picture = picture_array(tmp_path / "a.png", "x")
    assert (picture[:2] == (250, 0, 0)).all() and (picture[2:] == 255).all()


def test_numbers_in_names_count_as_people_count(tmp_path: Path) -> None:
    for k, picture in enumerate(steps(12)):
        Image.fromarray(picture).save(tmp_path / f"frame{k}.png")
    assert read_video(tmp_path, 12)[:, 0, 0, 0].tolist() == list(range(12))


def test_a_file_of_several_pictures_is_refused(tmp_path: Path) -> None:
    pages = [Image.fromarray(picture) for picture in steps(3)]
    pages[0].save(tmp_path / "a.tiff", save_all=True, append_images=pages[1:])
    with pytest.raises(SignalError, match=r"a\.tiff: the file holds 3 pictures"):
        read_video([tmp_path / "a.tiff"], 1)


def _png(width: int, height: int, data: bytes = b"") -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + data + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [8_001, 13_000, 60_000])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_size_is_checked_before_a_picture_is_decoded(tmp_path: Path, side: int) -> None:
    (tmp_path / "a.png").write_bytes(_png(side, side))
    with pytest.raises(SignalError, match=r"a\.png: (its header says .* can be read|the picture is .*too large)"):
        read_video(tmp_path, 1)


def test_damaged_pictures_are_our_errors(tmp_path: Path) -> None:
    import io

    whole = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (24, 24, 3), np.uint8)).save(whole, "PNG")
    rng = np.random.default_rng(1)
    refused = 0
    for _ in range(150):
        data = bytearray(whole.getvalue())
        for place in rng.integers(8, len(data), int(rng.integers(1, 6))):
            data[place] = int(rng.integers(256))
        (tmp_path / "a.png").write_bytes(bytes(data[: int(rng.integers(20, len(data) + 1))]))
        try:
            assert picture_array(tmp_path / "a.png", "x").ndim == 3
        except (SignalError, ShapeError):
            refused += 1
    assert refused > 50


# --- bounds ----------------------------------------------------------------------------------------------------------


def test_a_sequence_of_unknown_rate_is_refused_where_time_is_needed() -> None:
    prepare = Preprocessor(SPEC)
    for call in (
        lambda: Video(steps(20)),
        lambda: prepare(video=list(steps(1))),
        lambda: read_video(steps(20), 2, start=0.0, stop=1.0),
        lambda: video_duration(steps(20)),
    ):
        with pytest.raises(ConfigError, match=r"nothing says how fast they were taken.*Give fps.*--fps"):
            call()
    assert len(read_video(steps(20), 4)) == 4  # the whole sequence is one clip: no window of time


@pytest.mark.parametrize("fps", [1e-5, 0, -3, float("nan"), float("inf"), 1e9, "8"])
def test_impossible_rates(fps: object) -> None:
    with pytest.raises(ConfigError, match="fps: expected a positive number of pictures per second"):
        open_video(steps(3), fps)  # type: ignore[arg-type]  # that is what is tried


def test_a_rate_too_slow_for_the_windows() -> None:
    with pytest.raises(ConfigError, match=r"fps: at 0\.1 a picture comes every 10 s, and a window is 2 s long"):
        Preprocessor(SPEC)(video=Video(steps(20), fps=0.1))


def test_windows_never_begin_more_often_than_frames_come() -> None:
    with pytest.raises(ConfigError, match=r"overlap: with 0\.999999 the windows begin every .* Give at most 0\.9500"):
        Preprocessor(SPEC)(video=Video(steps(60), fps=10), overlap=0.999999)
    assert len(Preprocessor(SPEC)(video=Video(steps(60), fps=10), overlap=0.95)) == 41


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: p(video=Video(steps(60), fps=10), window_seconds=1e-9), "window_seconds: 1e-09 is shorter than"),
        (lambda p: p(video=Video(steps(60), fps=10), window_seconds="2"), "window_seconds: expected a positive length"),
        (lambda p: p(video=Video(steps(60), fps=10), window_seconds=-1.0), "window_seconds: expected a positive"),
        (lambda p: p(video=Video(steps(60), fps=10), overlap="x"), "overlap: expected a part of a window"),
        (lambda p: p(video=Video(Video(steps(60), fps=10), fps=5)), "fps: 5 was given, but the Video has a rate"),
        (lambda p: read_video(Video(steps(60), fps=10), 2, fps=5), "fps: 5 was given, but the Video has a rate"),
        (lambda p: read_video(steps(6), 10**9), "num_frames: expected a whole number of at least 1 and at most"),
        (lambda p: read_video(steps(6), float("inf")), "num_frames: expected a whole number"),
        (lambda p: read_video(steps(6), 2, start="a", fps=2), "window: expected 0 <= start < stop"),
    ],
)
def test_impossible_numbers_are_refused_before_memory(call: Callable[[Preprocessor], object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        call(Preprocessor(ANY_LENGTH))


def test_windows_shorter_than_a_frame(write_video) -> None:
    with pytest.raises(
        ConfigError, match=r"window_seconds: 1e-09 is shorter than the time between two samples of video \(0\.1 s\)"
    ):
        Preprocessor(ANY_LENGTH)(video=write_video([k / 10 for k in range(30)]), window_seconds=1e-9)


def test_windows_must_fit_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evermodels.signals.preprocessor.physical_memory", lambda: 100_000.0)
    with pytest.raises(ConfigError, match=r"inputs: 41 windows take .* \(a quarter of the memory\).*stream"):
        Preprocessor(SPEC)(video=Video(steps(60), fps=10), overlap=0.95)


def test_a_clip_shorter_than_a_window_names_what_there_is() -> None:
    with pytest.raises(SignalError, match=r"1\.500 s long and one window needs 2 s"):
        Preprocessor(SPEC)(video=Video(steps(15), fps=10))
    assert len(Preprocessor(ANY_LENGTH)(video=Video(steps(15), fps=10), window_seconds=0.5)) == 3


def test_a_picture_that_windows_share_is_searched_once() -> None:
    searched = []

    def finder(image: np.ndarray) -> tuple[int, int, int, int]:
        searched.append(int(image[0, 0, 0]))
        return (0, 0, 8, 8)

    windows = [(k / 10, k / 10 + 1.0) for k in range(10)]
    assert len(list(read_clips(steps(20), windows, 10, size=(4, 4), face=finder, fps=10))) == 10
    assert sorted(searched) == list(range(19))


# --- headers of video files ------------------------------------------------------------------------------------------


def test_an_absurd_length_in_the_header(write_video) -> None:
    path = write_video([k / 10 for k in range(10)], name="a.mkv")
    whole = path.read_bytes()
    assert b"00:00:01.0" in whole
    path.write_bytes(whole.replace(b"00:00:01.0", b"99:00:01.0"))
    with pytest.raises(SignalError, match=r"a\.mkv: its header says that it is 356401 s long .*at most 2 days"):
        Preprocessor(SPEC)(video=path)


def test_frames_too_large_are_refused_before_they_are_decoded(write_video, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video([k / 10 for k in range(10)])
    monkeypatch.setattr("evermodels.signals.video.pictures.MOST_PIXELS", 1000)
    with pytest.raises(SignalError, match=r"a\.mp4: its header says 64 x 48 pixels"):
        read_video(path, 1)


def test_damaged_video_files_are_our_errors(write_video) -> None:
    """A short slice of tests/fuzz/fuzz_video.py."""
    path = write_video([k / 10 for k in range(6)], size=(16, 16))
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(60):
        data = bytearray(whole)
        for place in rng.integers(0, len(data), int(rng.integers(1, 8))):
            data[place] = int(rng.integers(256))
        path.write_bytes(bytes(data[: int(rng.integers(1, len(data) + 1))]))
        try:
            assert torch.isfinite(Preprocessor(ANY_LENGTH)(video=path).tensors["video"]).all()
        except (SignalError, ConfigError):
            refused += 1
    assert refused > 20
