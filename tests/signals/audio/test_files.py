import pickle
import struct
import sys

import numpy as np
import pytest

from evermodels.core.errors import MissingExtraError, SignalError
from evermodels.signals.audio import Audio, read_audio
from tests.signals.audio._sound import tone

SOUND = tone(4.0, 16000)


@pytest.mark.parametrize(
    ("name", "error"),
    [("a.wav", 1e-4), ("a.flac", 1e-4), ("a.aiff", 1e-4), ("a.caf", 1e-4), ("a.ogg", 0.05), ("a.mp3", 0.05)],
)
def test_every_kind(write_sound, name, error):
    audio = Audio(write_sound(SOUND, name=name), start=3.0)
    assert (audio.sfreq, audio.start, audio.name, audio.notes) == (16000.0, 3.0, name, ())
    sound = audio.read(3.0, 7.0)
    assert np.sqrt(np.mean((sound - SOUND) ** 2)) < error
    np.testing.assert_allclose(audio.read(5.5, 6.0), sound[40000:48000], atol=1e-5)  # sought, not read to


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "MS_ADPCM"])
def test_every_coding(write_sound, subtype):
    sound = Audio(write_sound(SOUND, subtype=subtype)).read(stop=4.0)
    assert np.sqrt(np.mean((sound - SOUND) ** 2)) < 0.03


def test_stereo_file(write_sound):
    path = write_sound(np.stack([SOUND, -SOUND]), name="a.flac")
    with pytest.raises(SignalError, match=r"channel: a.flac has 2 channels"):
        Audio(path)
    np.testing.assert_allclose(Audio(path, channel=1).read(), -SOUND, atol=1e-4)
    np.testing.assert_allclose(read_audio(path, 16000, channel="mean"), 0 * SOUND, atol=1e-4)


def test_a_rate_that_is_not_the_headers(write_sound):
    path = write_sound(SOUND)
    with pytest.raises(SignalError, match=r"a.wav says that it has 16000 Hz, and 44100 Hz was given. Leave sfreq out"):
        Audio(path, sfreq=44100)
    assert Audio(path, sfreq=16000).sfreq == 16000


def test_nothing_is_read_before_it_is_asked_for(write_sound, monkeypatch):
    """Windows of a long file: what lies in memory is a window and a block."""
    from evermodels.signals.audio import recording

    audio = Audio(write_sound(np.tile(SOUND, 60), name="a.flac"))
    kept, add = [], recording._Cursor._add
    monkeypatch.setattr(
        recording._Cursor,
        "_add",
        lambda self, block, stretch: (add(self, block, stretch), kept.append(sum(map(len, self.parts))))[0],
    )
    starts = np.arange(0.0, 238.0, 1.0)
    assert sum(len(window) for _, window in audio.cut(starts, 2.0, 16000)) == 32000 * 238
    assert max(kept) <= 32000 + 2 * 65536


def cut(path, part):
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
    return path


@pytest.mark.parametrize("part", [0.3, 0.97, 0.999])
@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.aiff", "a.au", "a.w64", "a.rf64", "a.caf"])
def test_cut_short(write_sound, name, part):
    with pytest.raises(SignalError, match=rf"{name}: (the file is cut short|it cannot be read as sound)"):
        Audio(cut(write_sound(SOUND, name=name), part))


@pytest.mark.parametrize("part", [0.3, 0.9])
def test_cut_mp3(write_sound, part):
    with pytest.raises(SignalError, match=r"a.mp3: the file is cut short: its header says that it holds 4.0"):
        Audio(cut(write_sound(SOUND, name="a.mp3"), part))


def test_cut_ogg_is_read_and_said(write_sound):
    audio = Audio(cut(write_sound(np.tile(SOUND, 3), name="a.ogg"), 0.6))
    assert 3.0 < audio.stop < 9.0
    assert len(audio.read()) == round(audio.stop * 16000)
    assert (
        len(audio.notes) == 1 and "ends without its last page, so it is cut short or was never closed" in audio.notes[0]
    )


def patched(path, at, value):
    content = bytearray(path.read_bytes())
    content[at : at + len(value)] = value
    path.write_bytes(content)
    return path


def test_a_header_that_was_never_closed(write_sound):
    path = write_sound(SOUND)
    place = path.read_bytes().index(b"data") + 4
    audio = Audio(patched(path, place, b"\xff\xff\xff\xff"))  # as ffmpeg writes into a pipe
    assert audio.stop == 4.0 and "its header was never closed" in audio.notes[0]
    with pytest.raises(SignalError, match=r"a.wav: it is empty: there is no sample"):
        Audio(patched(path, place, bytes(4)))


def test_flac_of_unstated_length(write_sound):
    path = write_sound(SOUND, name="a.flac")
    patched(path, 22, bytes(4))  # as encoders write into a pipe: 36 bits of zeros
    audio = Audio(patched(path, 21, bytes([path.read_bytes()[21] & 0xF0])))
    assert audio.stop == 4.0
    np.testing.assert_allclose(audio.read(2.0, 3.0), SOUND[32000:48000], atol=1e-4)


def test_mp3_of_variable_rate_without_length(write_sound):
    """libsndfile guesses such a length from the first frame, here half of it, and reads no further."""
    rng = np.random.default_rng(0)
    sound = np.concatenate([0.5 * rng.standard_normal(32000).clip(-1, 1), np.zeros(160000)]).astype("float32")
    path = write_sound(sound, name="a.mp3", bitrate_mode="VARIABLE")
    content = path.read_bytes()
    path.write_bytes(content[content.index(content[:2], 4) :])  # without the frame that states the length
    import soundfile

    assert soundfile.info(path).duration < 8.0
    assert Audio(path).stop == pytest.approx(12.0, abs=0.2)


@pytest.mark.parametrize(
    ("name", "at", "value", "message"),
    [
        ("a.wav", 22, struct.pack("<H", 500), "500 channels|cannot be read as sound"),
        ("a.wav", 24, struct.pack("<I", 2**31 - 1), "sfreq: a.wav has 2.14748e.09 Hz"),
        ("a.wav", 24, struct.pack("<I", 16), "sfreq: a.wav has 16 Hz"),
        ("a.flac", 21, b"\x0f\xff\xff\xff\xfe", "cannot be|cut short"),
    ],
)
def test_hostile_headers(write_sound, name, at, value, message):
    with pytest.raises(SignalError, match=message):
        Audio(patched(write_sound(SOUND, name=name), at, value))


def test_values_of_a_float_file(write_sound):
    bad = SOUND.copy()
    bad[48000] = np.nan
    audio = Audio(write_sound(bad, subtype="FLOAT"))
    with pytest.raises(SignalError, match=r"a.wav: it holds NaN or infinity at 3.000 s"):
        audio.read()
    audio = Audio(write_sound(SOUND * 32768, subtype="FLOAT"))
    with pytest.raises(SignalError, match=r"a.wav: values reach .*, and full scale is 1. The file holds"):
        audio.read()
    assert np.abs(Audio(write_sound(SOUND * 4, subtype="FLOAT")).read()).max() > 1  # an overshoot, not another scale


def test_what_is_no_sound(tmp_path):
    (tmp_path / "empty.wav").touch()
    with pytest.raises(SignalError, match=r"empty.wav: the file is empty \(0 bytes\)"):
        Audio(tmp_path / "empty.wav")
    with pytest.raises(SignalError, match=r"audio: .*test_what_is_no_sound.* is a folder. Give one file"):
        Audio(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"audio: there is no file .*nowhere.wav"):
        Audio(tmp_path / "nowhere.wav")
    for name, content in (("a.wav", b"RIFF\x10\0\0\0WAVEjunkjunk"), ("a.txt", b"some text " * 50)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(SignalError, match=f"{name}: "):
            Audio(tmp_path / name)


def test_workers_can_take_a_file(write_sound):
    audio = pickle.loads(pickle.dumps(Audio(write_sound(SOUND), start=1.0)))
    np.testing.assert_allclose(audio.read(1.0, 5.0), SOUND, atol=1e-4)


def test_rubbish_between_mp3_frames_ends(write_sound, monkeypatch):
    """Bytes that look like the beginning of a frame, very many of them: looking for the next frame gives up."""
    from evermodels.signals.audio import mpeg

    monkeypatch.setattr(mpeg, "_MOST_RUBBISH", 100)
    looked, frame = [], mpeg._frame
    monkeypatch.setattr(mpeg, "_frame", lambda data, at: looked.append(at) or frame(data, at))

    path = write_sound(SOUND, name="a.mp3")
    content = path.read_bytes()
    path.write_bytes(content[content.index(content[:2], 4) :] + b"\xff\x00" * 10_000)
    assert mpeg.count_samples(path) == pytest.approx(64000, abs=3000) and len(looked) < 400


def test_which_extra_is_missing(write_sound, tmp_path, monkeypatch):
    path = write_sound(SOUND)
    (tmp_path / "a.mp4").write_bytes(b"\0\0\0\x20ftypisom" + bytes(100))
    monkeypatch.setitem(sys.modules, "av", None)
    assert Audio(path).stop == 4.0  # a sound file needs soundfile alone
    with pytest.raises(MissingExtraError, match=r"av is needed to read the sound of a.mp4 .*evermodels\[video\]"):
        Audio(tmp_path / "a.mp4")
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(MissingExtraError, match=r"soundfile is needed to read a.wav, .*evermodels\[audio\]"):
        Audio(path)


def test_real_speech(real_data):
    files = [
        *sorted((real_data / "speech").glob("03-01-0[145]-*-01.flac")),
        *sorted((real_data / "emodb").glob("**/03a*a.flac")),
    ]
    assert len(files) > 3
    for path in files:
        audio = Audio(path)
        sound = audio.read(sfreq=8000)
        assert audio.sfreq == 16000 and 1.0 < audio.stop < 10.0 and audio.notes == ()
        assert len(sound) == round(audio.stop * 8000) and 1e-4 < np.abs(sound).max() <= 1.1
