import pickle

import numpy as np
import pytest

from evermodels.core.errors import SignalError
from evermodels.signals.audio import Audio
from tests.signals.audio._sound import tone

SOUND = tone(4.0, 44100)


def similar(a, b):
    """Correlation of two sounds."""
    n = min(len(a), len(b))
    return np.corrcoef(a[:n], b[:n])[0, 1]


@pytest.mark.parametrize(
    ("name", "codec", "sfreq"),
    [("a.mp4", "aac", 44100), ("a.mkv", "libopus", 48000), ("a.mov", "pcm_s16le", 44100), ("a.ts", "aac", 44100)],
)
def test_the_sound_of_a_video(write_track, name, codec, sfreq):
    sound = tone(4.0, sfreq)
    audio = Audio(write_track(sound, sfreq, name, codec=codec, pictures=100))
    assert audio.sfreq == sfreq and abs(audio.start) < 0.03 and audio.stop == pytest.approx(4.0, abs=0.05)
    read = audio.read(1.0, 3.0)
    assert similar(read, sound[sfreq : 3 * sfreq]) > 0.99  # in its place to a sample or two of a 440 Hz tone
    if codec == "pcm_s16le":
        np.testing.assert_allclose(read, sound[sfreq : 3 * sfreq], atol=1e-4)


def test_a_sound_file_that_soundfile_does_not_read(write_track):
    audio = Audio(write_track(SOUND, name="a.m4a"), start=100.0)
    assert audio.start == 100.0 and audio.notes == ()
    audio = pickle.loads(pickle.dumps(audio))  # as workers take it
    assert similar(audio.read(101.0, 103.0), SOUND[44100 : 3 * 44100]) > 0.99


def test_the_clock_is_that_of_the_pictures(write_track):
    late = Audio(write_track(SOUND, name="late.mkv", codec="pcm_s16le", pictures=150, start=1.5))
    assert late.coverage[0] == pytest.approx((1.5, 5.5), abs=0.03)
    assert late.notes == ("late.mkv: its sound begins 1.500 s after its first picture.",)
    np.testing.assert_allclose(late.read(2.0, 4.0), SOUND[22050 : 22050 + 88200], atol=1e-4)
    early = Audio(write_track(SOUND, name="early.mkv", codec="pcm_s16le", pictures=50, first_picture=25), start=7.0)
    assert early.start == pytest.approx(6.0) and "1.000 s before its first picture" in early.notes[0]
    np.testing.assert_allclose(early.read(7.0, 8.0), SOUND[44100 : 2 * 44100], atol=1e-4)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.mov"])
def test_a_clip_of_one_window(write_track, name):
    """Sound comes in frames of 1024 samples, so it rarely ends with the last picture: silence stands there."""
    codec = "aac" if name == "a.mp4" else "pcm_s16le"
    sound = tone(2.0, 44100)[: 86 * 1000]
    audio = Audio(write_track(sound, name=name, codec=codec, pictures=50, start=0.03))
    assert audio.coverage[0][0] <= 1e-9 and audio.coverage[0][1] == pytest.approx(2.0, abs=1e-3)
    assert audio.notes == ()
    ((recorded, window),) = audio.cut([0.0], 2.0, 16000)
    assert recorded.shape == (88200,) and window.shape == (32000,)
    if codec == "pcm_s16le":
        first = round(0.03 * 44100)
        assert not recorded[: first - 1].any()
        np.testing.assert_allclose(recorded[first : first + 80000], sound[:80000], atol=1e-4)
        (later,) = (window for _, window in audio.cut([0.5], 1.5, 16000))
        np.testing.assert_allclose(later[:-50], window[8000:-50], atol=1e-4)
    short = Audio(write_track(sound[:80000], name="b" + name[1:], codec=codec, pictures=50))
    assert short.stop < 1.9


def test_no_window_crosses_a_gap(write_track):
    audio = Audio(write_track(SOUND, name="a.mkv", codec="pcm_s16le", without=(1.0, 2.5)), start=10.0)
    (a, b), (c, d) = audio.coverage
    assert (a, d) == pytest.approx((10.0, 14.0), abs=0.03)
    assert (b, c) == pytest.approx((11.0, 12.5), abs=0.03)
    assert audio.notes == ("a.mkv: its sound is interrupted 1 times; no window crosses such a place.",)
    second = round((c - 10.0) * 44100)
    np.testing.assert_allclose(audio.read(c, c + 1.0), SOUND[second : second + 44100], atol=0.05)
    with pytest.raises(SignalError, match=r"is not covered; there is sound from 10.000 to 11.0.. s, 12"):
        audio.read(10.5, 13.0)


def test_stereo_track(write_track):
    path = write_track(np.stack([SOUND, 0 * SOUND]), name="a.mkv", codec="pcm_s16le", pictures=100)
    with pytest.raises(SignalError, match=r"channel: a.mkv has 2 channels"):
        Audio(path)
    np.testing.assert_allclose(Audio(path, channel=0).read(1.0, 2.0), SOUND[44100:88200], atol=1e-4)
    np.testing.assert_allclose(Audio(path, channel="mean").read(1.0, 2.0), SOUND[44100:88200] / 2, atol=1e-4)


def test_a_video_without_sound(write_track, tmp_path):
    import av

    path = tmp_path / "mute.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode())
    with pytest.raises(SignalError, match=r"mute.mp4: the file has no sound track, only video. Leave audio out"):
        Audio(path)


def test_real_video_without_sound(real_data):
    for path in sorted((real_data / "video").glob("*.m*4")):
        try:
            audio = Audio(path, channel="mean")
        except SignalError as error:
            assert "the file has no sound track, only" in str(error)
        else:
            assert audio.stop > 1.0 and np.isfinite(audio.read(sfreq=16000)).all()


@pytest.mark.parametrize("part", [0.5, 0.9])
def test_cut_short(write_track, part):
    path = write_track(np.tile(SOUND, 3), pictures=300, options={"movflags": "faststart"})
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
    with pytest.raises(SignalError, match=r"a.mp4: the sound is cut short: the file says that it lasts 1[12]\."):
        Audio(path)


def test_cut_inside_the_header(write_track):
    path = write_track(SOUND)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(SignalError, match=r"a.mp4: it cannot be opened as sound or video .* copy it again"):
        Audio(path)


def test_damage_in_the_middle_becomes_a_gap(write_track):
    path = write_track(np.random.default_rng(0).normal(0, 0.2, 44100 * 6).astype("float32"), name="a.ts")
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 20000] = bytes(20000)
    path.write_bytes(content)
    audio = Audio(path)
    assert len(audio.coverage) > 1 and any("interrupted" in note for note in audio.notes)
    for start, stop in audio.coverage:
        assert len(audio.read(start, stop)) == round((stop - start) * 44100)


@pytest.mark.parametrize(("second", "total"), [(3.5, 7.5), (1.0, None)])
def test_time_stamps_that_go_back(write_track, second, total):
    """Two pieces joined by their bytes, of which the second one says an earlier time than the first one's end."""
    joined = write_track(SOUND, name="b.ts", start=second).read_bytes()
    path = write_track(SOUND, name="a.ts")
    path.write_bytes(path.read_bytes() + joined)
    if total is None:
        with pytest.raises(
            SignalError, match=r"time stamps of its sound go back by \d\.\d* s at .* convert it with ffmpeg"
        ):
            Audio(path)
        return
    audio = Audio(path)
    (a, b), (c, d) = audio.coverage
    assert b <= c + 1e-9 and d - a == pytest.approx(total, abs=0.1)


def test_every_window_of_one_pass(write_track, monkeypatch):
    """Many overlapping windows decode the track once."""
    from evermodels.signals.audio.track import Track

    sound = np.tile(SOUND, 3)
    audio = Audio(write_track(sound, name="a.mkv", codec="pcm_s16le"))
    passes, decode = [], Track._decode
    monkeypatch.setattr(Track, "_decode", lambda self: passes.append(1) or decode(self))
    starts = np.arange(0.0, 10.0, 0.25)
    for start, (recorded, window) in zip(starts, audio.cut(starts, 1.0, 16000), strict=True):
        np.testing.assert_allclose(recorded, sound[round(start * 44100) :][:44100], atol=1e-4)
        assert window.shape == (16000,)
    assert len(passes) == 1
