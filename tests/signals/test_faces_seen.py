"""How well a face was seen: which one is taken, what is no face, and what becomes of windows without one."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

from evermodels.core.errors import SignalError
from evermodels.core.specs import EEGSpec, InputSpec, VideoSpec
from evermodels.signals import (
    EEG,
    HaarFaceCrop,
    Preprocessor,
    Video,
    crop_faces,
    haar_face_crop,
    read_video,
    video_duration,
)
from evermodels.signals.video.face_track import cut_face, look

cv2 = pytest.importorskip("cv2")

VIDEO = VideoSpec(num_frames=4, size=(16, 16))
BOTH = InputSpec(window_seconds=1.0, eeg=EEGSpec(ch_names=("Cz", "T7"), sfreq=100.0), video=VIDEO)
ARRAY = {"ch_names": ["Cz", "T7"], "unit": "uV", "sfreq": 100.0}
FACE, OTHER = (4.0, 4.0, 50.0, 50.0), (70.0, 4.0, 20.0, 20.0)


class Finder:
    """Finds in a picture of value v the boxes that were named for v."""

    def __init__(self, **boxes: list[tuple[float, float, float, float]]) -> None:
        self.boxes = {int(k[1:]): v for k, v in boxes.items()}

    def faces(self, image: np.ndarray) -> list[tuple[float, float, float, float]]:
        return self.boxes.get(int(image[0, 0, 0]), [])

    def __call__(self, image: np.ndarray) -> tuple[float, float, float, float] | None:
        return next(iter(self.faces(image)), None)


def film(*values: int) -> np.ndarray:
    """Four pictures a second, of these values."""
    return np.array(values, np.uint8)[:, None, None, None] * np.ones((1, 60, 100, 3), np.uint8)


def noise(seconds: int) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 10, (2, 100 * seconds))


def run(finder: Finder, *values: int, eeg: bool = False, **options: object):
    prepare = Preprocessor(BOTH, face=finder)
    given = {"eeg": EEG(noise(len(values) // 4), **ARRAY)} if eeg else {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        inputs = prepare(video=Video(film(*values), fps=4), **given, **options)
    said = [str(w.message) for w in caught if str(w.message).startswith("Video")]
    assert said == [note for note in inputs.notes if note.startswith("Video")]
    return inputs, said


def test_a_good_window_says_its_numbers_and_nothing_else() -> None:
    inputs, said = run(Finder(v1=[FACE]), *[1] * 8)
    assert said == [] and inputs.present == {}
    assert {k: v.tolist() for k, v in inputs.quality.items()} == {
        "face_share": [1.0, 1.0],
        "faces": [1.0, 1.0],
        "crop_size": [50.0, 50.0],
    }


def test_below_80_percent_it_is_said_and_below_half_the_video_counts_as_absent() -> None:
    finder = Finder(v1=[FACE])
    inputs, said = run(finder, *[1] * 4, *[1, 1, 1, 0], *[1, 0, 0, 0], eeg=True)
    assert inputs.quality["face_share"].tolist() == [1.0, 0.75, 0.25]
    assert inputs.present["video"].tolist() == [True, True, False]
    assert not inputs.tensors["video"][2].any() and len(inputs) == 3
    assert len(said) == 2
    assert "in 1 of 3 windows (at 2 s) it is not read, since a face was found in only 1 of 4 frames" in said[0]
    assert said[0].endswith("there the answer is from eeg alone.")
    assert "in 1 of 3 windows (at 1 s) the face is seen in fewer than 80% of the frames (down to 75%" in said[1]


def test_video_alone_leaves_such_windows_out() -> None:
    inputs, said = run(Finder(v1=[FACE]), *[1] * 4, *[1, 0, 0, 0], *[1] * 4)
    assert inputs.starts.tolist() == [0.0, 2.0] and len(inputs.tensors["video"]) == 2
    assert inputs.quality["face_share"].tolist() == [1.0, 1.0] and inputs.present == {}
    assert said[0].endswith("left out.") and "at 1 s" in said[0]
    with pytest.raises(SignalError, match=r"no face was found in any of 2 windows \(8 frames searched"):
        run(Finder(), *[0] * 8)
    with pytest.raises(SignalError, match="no face was found in any of 2 windows"):
        run(Finder(), *[0] * 8, eeg=True)


def test_of_two_faces_the_one_that_is_largest_in_most_frames_is_taken_and_it_is_said() -> None:
    near, far = (60.0, 4.0, 30.0, 30.0), (4.0, 4.0, 28.0, 28.0)
    changed = (5.0, 4.0, 31.0, 31.0)  # for once the other one is larger
    finder = Finder(v1=[near, far], v2=[changed, near])
    inputs, said = run(finder, 1, 2, 1, 1)
    assert inputs.quality["faces"].tolist() == [2.0] and inputs.quality["face_share"].tolist() == [1.0]
    assert "up to 2 faces are seen at once; the one that is largest in most frames is read" in said[0]
    ramp = np.tile(np.arange(100, dtype=np.uint8)[None, :, None], (60, 1, 3))
    looks = [[near, far], [changed, near], [near, far]]
    crops, seen = cut_face([ramp] * 3, looks, finder, None)
    assert (seen.side, seen.share, seen.faces) == (30.0, 1.0, 2)
    np.testing.assert_array_equal(crops[1], ramp[4:34, 60:90])


def test_a_small_face_is_said() -> None:
    inputs, said = run(Finder(v1=[OTHER]), *[1] * 4)
    assert said == ["Video: the face is only 20 pixels wide; the model reads 16, so what it sees is blurred."]
    assert inputs.quality["crop_size"].tolist() == [20.0]


def test_a_hit_that_jumps_is_not_the_face() -> None:
    """A clip that ends on a card: hits on its lettering lie elsewhere, and do not count."""
    inputs, said = run(Finder(v1=[FACE], v2=[OTHER]), 1, 1, 1, 2)
    assert inputs.quality["face_share"].tolist() == [0.75] and "down to 75%" in said[0]
    np.testing.assert_allclose(inputs.quality["crop_size"], 50.0)


def test_whole_pictures_have_no_such_quality() -> None:
    prepare = Preprocessor(BOTH, face=None)
    inputs = prepare(video=Video(film(*[1] * 4), fps=4))
    assert inputs.quality == {} and inputs.notes == ()


# --- what is no face -------------------------------------------------------------------------------------------------


CARDS_WITH_HITS = (8, 9, 12, 32, 34, 41)


def _card(number: int) -> np.ndarray:
    """A title card; the plain cascade takes the lettering of some of these for a face."""
    rng = np.random.default_rng(number)
    picture = np.full((360, 640, 3), rng.integers(0, 60, 3), np.uint8)
    for _ in range(int(rng.integers(2, 8))):
        text = "".join(rng.choice(list("OQCDGBeoacdg08 "), int(rng.integers(4, 14))))
        place = (int(rng.integers(0, 320)), int(rng.integers(40, 350)))
        scale, thick = float(rng.uniform(0.8, 3.5)), int(rng.integers(1, 7))
        cv2.putText(picture, text, place, int(rng.integers(0, 8)), scale, (230, 230, 230), thick, cv2.LINE_AA)
    return picture


def test_lettering_is_no_face() -> None:
    plain, finder = HaarFaceCrop(confirm=False), HaarFaceCrop()
    cards = [_card(k) for k in CARDS_WITH_HITS]
    assert all(plain(card) is not None for card in cards), "else this tests nothing"
    assert [k for k, card in zip(CARDS_WITH_HITS, cards, strict=True) if finder(card) is not None] == []
    for card in cards[:2]:
        with pytest.raises(SignalError, match=r"no face was found|no eyes that can be seen"):
            crop_faces([card] * 4, finder)


def test_a_face_on_its_side_is_none_and_an_upright_one_is(real_data: Path) -> None:
    paths = sorted((real_data / "faces").glob("*.jpg"))[::17]
    plain, finder = HaarFaceCrop(confirm=False), HaarFaceCrop()
    pictures = [cv2.imread(str(path))[::2, ::2, ::-1].copy() for path in paths]
    assert all(finder(picture) is not None for picture in pictures)
    assert all(finder((picture * 0.25).astype(np.uint8)) is not None for picture in pictures), "in the dark"
    turned = [np.ascontiguousarray(np.rot90(picture)) for picture in pictures]
    assert any(plain(picture) is not None for picture in turned), "else this tests nothing"
    assert all(finder(picture) is None for picture in turned)
    with pytest.raises(SignalError):
        haar_face_crop(turned[0])


def test_a_clip_that_ends_without_a_face(real_data: Path) -> None:
    spec = InputSpec(video=VideoSpec(num_frames=8, size=(32, 32)))
    path = real_data / "video" / "face_noface.mov"
    prepare = Preprocessor(spec)
    with pytest.warns(UserWarning, match="it is not read, since"):
        inputs = prepare(video=path, window_seconds=1.0)
    assert (inputs.quality["face_share"] >= 0.5).all()
    end = video_duration(path) - 1.0
    assert len(inputs) >= 1 and inputs.starts[-1] < end
    last = read_video(path, 4, start=end, size=(240, 320))
    assert not any(HaarFaceCrop().faces(frame) for frame in last)


def test_the_same_clip_as_stills_and_two_codecs_gives_the_same_crop(tmp_path: Path, real_data: Path) -> None:
    """To half a grey level in the mean: no step of a whole pixel, and no box of its own for a codec."""
    import av

    frames = read_video(real_data / "video" / "single_face.mp4", 12)
    finder = HaarFaceCrop()
    crops = [crop_faces(list(frames), finder, size=(64, 64))]
    for name, codec, pixels in (("a.mp4", "libx264", "yuv420p"), ("a.avi", "mjpeg", "yuvj420p")):
        with av.open(str(tmp_path / name), "w") as container:
            stream = container.add_stream(codec, rate=12)
            stream.height, stream.width = frames.shape[1:3]
            stream.pix_fmt = pixels
            for frame in frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(stream.encode())
        crops.append(list(read_video(tmp_path / name, 12, size=(64, 64), face=finder)))
    stills, *coded = np.array(crops, dtype=float)
    for clip in coded:
        assert np.abs(clip - stills).mean() < 3.0
        assert np.abs(look_shift(clip, stills)).max() < 0.25


def look_shift(clip: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Shift in pixels between two clips, by phase correlation of their mean pictures."""
    grey = [c.mean(axis=(0, 3)).astype(np.float32) for c in (clip, other)]
    window = cv2.createHanningWindow((64, 64), cv2.CV_32F)
    return np.array(cv2.phaseCorrelate(*grey, window)[0])


def test_look_takes_boxes_pictures_and_nothing() -> None:
    image = film(1)[0]
    assert look(image, lambda _: None) == []
    assert look(image, lambda _: (1, 2, 3, 4)) == [(1.0, 2.0, 3.0, 4.0)]
    assert look(image, lambda i: i[:5]).shape == (5, 100, 3)
    for bad in ("left", (1, 2, 3), (1, 2, 0, 4), (1, 2, float("nan"), 4)):
        with pytest.raises(ValueError, match="face: the finder"):
            look(image, lambda _, bad=bad: bad)
