"""Frames by time stamp, picture sequences, face crops, and the videos that cannot be used."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from evermodels.core.errors import ConfigError, ShapeError, SignalError
from evermodels.signals import HaarFaceCrop, crop_faces, haar_face_crop, read_video, video_duration
from evermodels.signals.video.pictures import resize
from evermodels.signals.video.read import read_clips

pytest.importorskip("av")
cv2 = pytest.importorskip("cv2")


def grey(frames: np.ndarray) -> list[int]:
    """Number of each frame that the writer's grey values stand for."""
    return [round(float(v) / 8) for v in frames.mean(axis=(1, 2, 3))]


def steps(count: int, height: int = 8, width: int = 8) -> np.ndarray:
    return np.arange(count, dtype=np.uint8)[:, None, None, None] * np.ones((1, height, width, 3), dtype=np.uint8)


# --- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi"])
def test_frames_uniform_over_the_window(write_video, name: str) -> None:
    path = write_video([k / 10 for k in range(30)], name=name)
    assert video_duration(path) == pytest.approx(3.0, abs=0.02)
    assert grey(read_video(path, 30)) == list(range(30))
    assert grey(read_video(path, 3)) == [5, 15, 25]
    assert grey(read_video(str(path), 2, start=1.0, stop=2.0)) == [12, 17]
    frames = read_video(path, 3)
    assert (frames.dtype, frames.shape) == (np.uint8, (3, 48, 64, 3))


def test_variable_frame_rate_goes_by_time_stamp(write_video) -> None:
    times = [0.0, 0.1, 0.2, 0.3, 1.3, 1.4, 2.0]
    path = write_video(times)
    end = video_duration(path)
    middles = (np.arange(7) + 0.5) / 7 * end
    slow = [max(k for k, t in enumerate(times) if t <= m) for m in middles]
    assert grey(read_video(path, 7)) == slow
    assert slow != list(range(7))


@pytest.mark.parametrize("codec", ["libx264", "ffv1"])
def test_colours_are_those_of_the_equations(tmp_path: Path, codec: str) -> None:
    """BT.601, with colour at half the resolution; a reader that cuts off instead of rounding is a level too dark."""
    av = pytest.importorskip("av")
    h, w = 48, 64
    luma = (60 + np.add.outer(np.arange(h), np.arange(w))).astype(np.uint8)
    colour = [(128 + 12 * s * np.sin(np.add.outer(np.arange(h // 2), np.arange(w // 2)) / 9)) for s in (1, -1)]
    planes = [luma, *(np.rint(c).astype(np.uint8) for c in colour)]
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10, options={"qp": "0"} if codec == "libx264" else {})
        stream.height, stream.width, stream.pix_fmt = h, w, "yuv420p"
        whole = np.concatenate([p.ravel() for p in planes]).reshape(-1, w)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(whole, format="yuv420p")))
        container.mux(stream.encode())
    y, u, v = (cv2.resize(p.astype(np.float32), (w, h), interpolation=cv2.INTER_LINEAR) for p in planes)
    y, u, v = (y - 16) * 255 / 219, (u - 128) * 255 / 224, (v - 128) * 255 / 224
    want = np.stack([y + 1.402 * v, y - 0.344136 * u - 0.714136 * v, y + 1.772 * u], axis=-1)
    off = read_video(path, 1)[0] - want
    assert np.abs(off.mean(axis=(0, 1))).max() < 0.4
    assert np.abs(off).max() < 1.6


def test_seeking_finds_the_same_frames(write_video) -> None:
    path = write_video([k / 4 for k in range(30)])
    assert grey(read_video(path, 4, start=6.0, stop=7.0)) == [24, 25, 26, 27]
    assert grey(read_video(path, 2, start=4.0, stop=7.0)) == [19, 25]


def test_overlapping_windows_in_one_pass(write_video) -> None:
    path = write_video([k / 10 for k in range(30)])
    windows = [(0.0, 1.0), (0.5, 1.5), (0.5, 1.5), (2.0, 3.0)]
    clips = list(read_clips(path, windows, 4))
    for clip, (start, stop) in zip(clips, windows, strict=True):
        np.testing.assert_array_equal(clip, read_video(path, 4, start=start, stop=stop))


def test_a_turned_phone(write_video) -> None:
    path = write_video([k / 10 for k in range(5)])
    whole = bytearray(path.read_bytes())
    # The display matrix of the track header: 16.16 fixed point, a quarter turn clockwise.
    at = whole.index(b"tkhd") + 4 + 40
    whole[at : at + 36] = np.array([0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30], dtype=">i4").tobytes()
    path.write_bytes(whole)
    assert read_video(path, 2).shape == (2, 64, 48, 3)


def test_size_keeps_proportions() -> None:
    picture = np.zeros((4, 12, 3), dtype=np.uint8)
    picture[:, 4:8] = 200
    np.testing.assert_array_equal(resize(picture, (4, 4)), np.full((4, 4, 3), 200))
    assert resize(picture, (8, 24)).shape == (8, 24, 3)
    stripes = np.zeros((64, 64, 3), dtype=np.uint8)
    stripes[:, ::2] = 200
    np.testing.assert_allclose(resize(stripes, (8, 8)), 100, atol=4)  # no aliasing
    ramp = np.tile(np.arange(64, dtype=np.uint8)[None, :, None] * 3, (64, 1, 3))
    np.testing.assert_allclose(resize(ramp, (8, 8))[4, 1:-1, 0], 3 * (8 * np.arange(1, 7) + 3.5), atol=1)
    with pytest.raises(ConfigError, match="size: expected"):
        resize(picture, (0, 4))


# --- videos that cannot be used --------------------------------------------------------------------------------------


def test_window_past_the_end(write_video) -> None:
    path = write_video([k / 10 for k in range(30)])
    with pytest.raises(SignalError, match=r"window 2\.000 to 4\.000 s goes past the end .* 3\.000 s long"):
        read_video(path, 4, start=2.0, stop=4.0)
    with pytest.raises(SignalError, match="past the end"):
        read_video(path, 4, start=7.0, stop=8.0)
    for start, stop in [(2.0, 1.0), (-1.0, 1.0), (1.0, 1.0), (0.0, float("nan"))]:
        with pytest.raises(ConfigError, match="window: expected 0 <= start < stop"):
            read_video(path, 4, start=start, stop=stop)
    for count in (0, -2, 1.5):
        with pytest.raises(ConfigError, match="num_frames: expected a whole number"):
            read_video(path, count)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="fps: 10 was given, but a video file has time stamps"):
        read_video(path, 2, fps=10)
    with pytest.raises(ConfigError, match="in order of time"):
        list(read_clips(path, [(1.0, 2.0), (0.0, 1.0)], 2))
    with pytest.raises(ConfigError, match="at least one"):
        list(read_clips(path, [], 2))


def test_cut_short_without_its_index(write_video) -> None:
    path = write_video([k / 10 for k in range(30)])
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SignalError, match=r"a\.mp4: it cannot be opened as a video .*cut short or no video"):
        read_video(path, 4)


@pytest.mark.parametrize("num_frames", [1, 16])
def test_cut_short_with_its_index(write_video, num_frames: int) -> None:
    path = write_video([k / 10 for k in range(30)], faststart=True, noise=True)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SignalError, match=r"cut short: it says that it is 3\.000 s long, and its last readable frame"):
        read_video(path, num_frames)
    assert read_video(path, 4, stop=1.0).shape[0] == 4  # what is whole can be read


def test_without_a_frame(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no file"):
        read_video(tmp_path / "none.mp4", 4)
    (tmp_path / "empty.mp4").write_bytes(b"")
    with pytest.raises(SignalError, match=r"empty\.mp4: the file is empty"):
        video_duration(tmp_path / "empty.mp4")
    (tmp_path / "text.mp4").write_bytes(b"hello " * 100)
    with pytest.raises(SignalError, match="cannot be opened as a video"):
        read_video(tmp_path / "text.mp4", 4)
    (tmp_path / "folder").mkdir()
    with pytest.raises(SignalError, match="the folder has no picture"):
        read_video(tmp_path / "folder", 4)
    with pytest.raises(SignalError, match="the sequence is without a frame"):
        read_video([], 4)
    with pytest.raises(SignalError, match="cannot read a dict"):
        read_video({}, 4)


def test_sound_without_pictures(tmp_path: Path) -> None:
    import av

    with av.open(str(tmp_path / "sound.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), dtype=np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    with pytest.raises(
        SignalError, match=r"sound\.wav: the file has no video stream, so it is a video without a frame"
    ):
        read_video(tmp_path / "sound.wav", 4)


# --- picture sequences -----------------------------------------------------------------------------------------------


def test_arrays_lists_and_folders(tmp_path: Path) -> None:
    from PIL import Image

    clip = steps(10)
    expected = [1, 3, 5, 7, 9]
    for source in (clip, torch.from_numpy(clip), list(clip), [Image.fromarray(p) for p in clip]):
        assert read_video(source, 5)[:, 0, 0, 0].tolist() == expected
    for k, picture in enumerate(clip):
        Image.fromarray(picture).save(tmp_path / f"{k:03}.png")
    (tmp_path / "notes.txt").write_text("not a picture")
    assert read_video(tmp_path, 5)[:, 0, 0, 0].tolist() == expected
    paths = sorted(tmp_path.glob("*.png"))
    assert read_video(paths, 2, fps=10, start=0.5, stop=0.7)[:, 0, 0, 0].tolist() == [5, 6]
    assert video_duration(paths, fps=10) == pytest.approx(1.0)


def test_sequences_that_cannot_be(tmp_path: Path) -> None:
    clip = steps(4)
    with pytest.raises(ConfigError, match=r"fps: video is a sequence of 4 pictures, and nothing says how fast.*--fps"):
        read_video(clip, 2, start=1.0)
    with pytest.raises(ConfigError, match="fps: expected a positive number"):
        read_video(clip, 2, fps=0)
    with pytest.raises(ShapeError, match=r"expected pictures \(height, width, 3\) of uint8, got .* of float32"):
        read_video(clip.astype(np.float32), 2)
    with pytest.raises(ShapeError, match=r"got \(3, 8\)"):
        read_video(np.zeros((4, 3, 8), dtype=np.uint8), 2)
    with pytest.raises(ShapeError, match="several sizes"):
        read_video([np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5, 3), np.uint8)], 2)
    with pytest.raises(FileNotFoundError, match="no picture"):
        read_video([tmp_path / "none.png"], 1)
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n cut")
    with pytest.raises(SignalError, match=r"a\.png: the picture is damaged, cut short or too large"):
        read_video(tmp_path, 1)


# --- faces -----------------------------------------------------------------------------------------------------------


def test_real_videos(real_data: Path) -> None:
    folder = real_data / "video"
    finder = HaarFaceCrop()
    faces = read_video(folder / "single_face.mp4", 4, size=(64, 64), face=finder)
    assert faces.shape == (4, 64, 64, 3)
    assert finder(faces[0]) is not None  # a face fills the crop
    with pytest.raises(SignalError, match=r"no face was found \(4 frames searched.*face=None \(face_crop=False"):
        read_video(folder / "no_face.mp4", 4, face=finder)
    assert read_video(folder / "no_face.mp4", 2, size=(32, 32)).shape == (2, 32, 32, 3)


def test_real_portraits(real_data: Path) -> None:
    from PIL import Image

    paths = [*sorted((real_data / "faces").glob("*.jpg"))[::29], real_data / "faces" / "042_smiling.jpg"]
    for path in paths:
        image = np.asarray(Image.open(path).convert("RGB"))
        x, y, w, h = HaarFaceCrop(margin=0.0)(image)
        assert w > 100
        assert abs(x + w / 2 - 256) < 60, "the face is in the middle of a portrait"
        wide = HaarFaceCrop(margin=0.2)(image)
        np.testing.assert_allclose(wide, (x - 0.2 * w, y - 0.2 * h, 1.4 * w, 1.4 * h))
    assert haar_face_crop(image, size=(48, 40)).shape == (48, 40, 3)


def test_crop_uses_the_mean_of_the_boxes_that_agree() -> None:
    rng = np.random.default_rng(0)
    frames = list(rng.integers(0, 255, (5, 20, 30, 3), dtype=np.uint8))
    boxes = iter([(3, 4, 6, 6), (3, 4, 6, 6), None, (4.5, 5.5, 6, 6), (20, 0, 10, 10)])
    crops = crop_faces(frames, lambda image: next(boxes))
    # means of x (3, 3, 4.5) and y (4, 4, 5.5): 3.5 -> 4 and 4.5 -> 4; the last box is another thing
    for frame, crop in zip(frames, crops, strict=True):
        np.testing.assert_array_equal(crop, frame[4:10, 4:10])


def test_a_box_counts_to_a_fraction_of_a_pixel() -> None:
    """A step of a whole pixel, as rounding makes it, would show which codec a clip had."""
    ramp = np.tile(np.arange(0, 240, 4, dtype=np.uint8)[None, :, None], (60, 1, 3))
    means = [crop_faces([ramp], lambda image, x=x: (x, 9, 20, 20), size=(8, 8))[0].mean() for x in (9, 9.25, 9.5, 10)]
    np.testing.assert_allclose(np.subtract(means, means[0]), [0, 1, 2, 4], atol=0.5)


def test_box_over_the_edge_is_moved_inside() -> None:
    frame = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
    np.testing.assert_array_equal(crop_faces([frame], lambda image: (-2, 5, 4, 4))[0], frame[4:8, 0:4])
    np.testing.assert_array_equal(crop_faces([frame], lambda image: (-2, -2, 40, 40))[0], frame)


def test_a_finder_that_crops_itself() -> None:
    frames = list(steps(4))
    results = iter([None, frames[1][:4], None, frames[3][:4]])
    crops = crop_faces(frames, lambda image: next(results))
    assert [int(c[0, 0, 0]) for c in crops] == [1, 1, 1, 3]
    sizes = iter([2, 3])
    with pytest.raises(ShapeError, match="several sizes"):
        crop_faces(frames[:2], lambda image: image[: next(sizes)])
    with pytest.raises(ShapeError, match="must give a box"):
        crop_faces(frames, lambda image: "left")


def test_too_few_faces() -> None:
    frames = list(steps(8))
    found = iter([(0, 0, 4, 4), *[None] * 7])
    with pytest.raises(SignalError, match=r"only 1 of 8 frames in one place, .*\(8 frames searched"):
        crop_faces(frames, lambda image: next(found))


def test_haar_pickles_and_refuses() -> None:
    finder = HaarFaceCrop(0.3)
    assert finder(np.zeros((64, 64, 3), dtype=np.uint8)) is None
    assert repr(pickle.loads(pickle.dumps(finder))) == repr(finder)
    with pytest.raises(ConfigError, match="margin"):
        HaarFaceCrop(2.0)
