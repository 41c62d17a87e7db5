import io
import math
import pickle

import numpy as np
import pytest
import scipy.signal
import torch

from evermodels.core.errors import ConfigError, ShapeError, SignalError
from evermodels.signals.audio import Audio, read_audio
from tests.signals.audio._sound import tone


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.array([-128, 0, 64], "int8"), [-1.0, 0.0, 0.5]),
        (np.array([0, 128, 192], "uint8"), [-1.0, 0.0, 0.5]),
        (np.array([-32768, 0, 16384], "int16"), [-1.0, 0.0, 0.5]),
        (np.array([-(2**31), 0, 2**30], "int32"), [-1.0, 0.0, 0.5]),
        (np.array([-1.0, 0.0, 0.5]), [-1.0, 0.0, 0.5]),
        (np.array([[-1.0, 0.0, 0.5]], "float16"), [-1.0, 0.0, 0.5]),
        (torch.tensor([-1.0, 0.0, 0.5], dtype=torch.bfloat16), [-1.0, 0.0, 0.5]),
        (torch.tensor([-32768, 0, 16384], dtype=torch.int16), [-1.0, 0.0, 0.5]),
        ([-1.0, 0.0, 0.5], [-1.0, 0.0, 0.5]),
    ],
)
def test_scaled_by_type(array, expected):
    sound = Audio(array, sfreq=16000).read()
    assert sound.dtype == np.float32 and sound.tolist() == expected


def test_channels_are_never_mixed_in_silence():
    left, right = tone(0.1, 16000), tone(0.1, 16000, 880.0)
    both = np.stack([left, right])
    with pytest.raises(SignalError, match=r"channel: audio has 2 channels. Give channel=0 to 1, or channel='mean'"):
        Audio(both, sfreq=16000)
    np.testing.assert_array_equal(Audio(both, sfreq=16000, channel=1).read(), right)
    np.testing.assert_allclose(Audio(both, sfreq=16000, channel="mean").read(), (left + right) / 2, atol=1e-7)
    for wrong in (2, -1, True, "left", 0.0):
        with pytest.raises(ConfigError, match="channel: expected 0 to 1, 'mean' or None, got"):
            Audio(both, sfreq=16000, channel=wrong)
    assert Audio(left, sfreq=16000, channel=0).read().shape == (1600,)


def test_a_recording_of_a_recording_at_another_time():
    first = Audio(np.zeros((2, 16000), "int16"), sfreq=16000, start=2.0, channel=1)
    later = Audio(first, start=0.5)
    assert (later.start, later.stop, later.channel) == (0.5, 1.5, 1)
    assert first.coverage == ((2.0, 3.0),) and first.modality == "audio" and first.interval == 1 / 16000
    with pytest.raises(SignalError, match="audio says that it has 16000 Hz, and 8000 Hz was given"):
        Audio(first, sfreq=8000)


@pytest.mark.parametrize(
    ("array", "sfreq", "error", "message"),
    [
        (np.zeros(100), None, SignalError, r"an array does not say its rate. .* Audio\(array, sfreq=16000\)"),
        (np.zeros(100), 16, SignalError, "sfreq: audio has 16 Hz, .* 4,000 to 192,000 Hz. Is it a rate in kHz"),
        (np.zeros(100), 384000, SignalError, "sfreq: audio has 384000 Hz"),
        (np.zeros(100), "16k", SignalError, "sfreq: expected a positive rate in Hz as a number, got '16k'"),
        (np.zeros(100), math.nan, SignalError, "sfreq: expected a positive rate in Hz, got nan"),
        (np.zeros(0), 16000, SignalError, "audio: it is empty: there is no sample"),
        (np.zeros((100, 2)), 16000, ShapeError, r"got shape \(100, 2\), more channels than samples. Give array.T"),
        (np.zeros((65, 100)), 16000, SignalError, "it has 65 channels, and sound has 1 to 64"),
        (np.zeros((1, 2, 100)), 16000, ShapeError, r"got 3 axes of shape \(1, 2, 100\)"),
        (np.zeros(100, "int64"), 16000, SignalError, "got dtype int64. Give array / full_scale"),
        (np.zeros(100, bool), 16000, SignalError, "got dtype bool"),
        (np.zeros(100, complex), 16000, SignalError, "got dtype complex128"),
        (np.array(["a"]), 16000, SignalError, "got dtype <U1"),
        ([[1.0], [1.0, 2.0]], 16000, SignalError, "audio: what was given is no array"),
        (np.ma.masked_equal([0.0, 1.0], 1.0), 16000, SignalError, "masked"),
        ({"array": 1}, 16000, SignalError, "cannot read a dict. Give a path, or an array with sfreq="),
        (None, 16000, SignalError, "cannot read a NoneType"),
        (io.BytesIO(b"RIFF"), None, SignalError, "cannot read a BytesIO. Give a path, or an array with sfreq="),
        ((np.zeros(100), 16000), None, SignalError, r"got \(array, 16000\). Give Audio\(array.T, sfreq=16000\)"),
        (np.array([0.0, 1.5, -2.5]), 16000, SignalError, r"values reach 2.5, .* in -1..1 .*32768 for 16 bits"),
        (np.array([0.0, 1e300]), 16000, SignalError, "audio: it holds NaN or infinity at 0.000 s"),
        (np.r_[np.zeros(80000), np.nan], 16000, SignalError, "audio: it holds NaN or infinity at 5.000 s. Cut"),
    ],
)
def test_bad_arrays(array, sfreq, error, message):
    with pytest.raises(error, match=message):
        Audio(array, sfreq=sfreq)


def test_bad_start():
    with pytest.raises(ConfigError, match="start: expected when the recording begins"):
        Audio(np.zeros(100), sfreq=16000, start=math.inf)


def test_reading_times():
    ramp = (np.arange(16000) / 16000).astype("float32")
    audio = Audio(ramp, sfreq=16000, start=10.0)
    np.testing.assert_array_equal(audio.read(10.25, 10.5), ramp[4000:8000])
    np.testing.assert_array_equal(audio.read(10.75), ramp[12000:])
    for start, stop in ((9.9, 10.1), (10.9, 11.1), (12.0, 13.0)):
        with pytest.raises(SignalError, match=r"is not covered; there is sound from 10.000 to 11.000 s\."):
            audio.read(start, stop)
    with pytest.raises(ConfigError, match=r"start, stop: expected start < stop in seconds, got 10.5 and 10.2"):
        audio.read(10.5, 10.2)


def test_too_long_for_the_memory(monkeypatch):
    import evermodels.signals.audio.recording as module

    monkeypatch.setattr(module, "physical_memory", lambda: 1e6)
    audio = Audio(np.zeros(160000, "int16"), sfreq=16000)
    assert audio.read(0.0, 0.1).shape == (1600,)
    with pytest.raises(ConfigError, match=r"audio: 10 s of sound at once take .* more than .*a quarter of the memory"):
        audio.read()


@pytest.mark.parametrize(
    ("old", "new"), [(44100, 16000), (48000, 16000), (8000, 16000), (22050, 16000), (16000, 11025)]
)
def test_windows_equal_the_whole_resampled(old, new):
    sound = tone(2.0, old)
    whole = scipy.signal.resample_poly(sound.astype("float64"), new, old)  # its ratio is taken to lowest terms there
    audio = Audio(sound, sfreq=old)
    np.testing.assert_allclose(audio.read(sfreq=new), whole, atol=1e-6)
    starts = [0.0, 0.04, 0.48, 1.0, 1.52]  # on the grid of both rates
    for start, (_, window) in zip(starts, audio.cut(starts, 0.48, new), strict=True):
        first, length = round(start * new), round(0.48 * new)
        assert window.shape == (length,)
        np.testing.assert_allclose(window, whole[first : first + length], atol=1e-6)


@pytest.mark.parametrize("old", [44100, 48000, 8000, 11025.5])
def test_resampling_against_the_signal_itself(old):
    """A tone is known at every time: the independent oracle, off the grid and at odd rates too."""
    new, hertz = 16000, 1000.0
    time = np.arange(round(old)) / old
    audio = Audio(np.sin(2 * np.pi * hertz * time), sfreq=old)
    for start in (0.2, 0.3001, 0.41237):
        ((_, window),) = audio.cut([start], 0.25, new)
        begin = round(start * old) / old
        expected = np.sin(2 * np.pi * hertz * (begin + np.arange(4000) / new))
        assert np.abs(window - expected).max() < 2e-3


def test_nothing_folds_down():
    audio = Audio(tone(0.5, 44100, 12000.0, 0.5) - tone(0.5, 44100, 12000.0, 0.0), sfreq=44100)
    inside = audio.read(sfreq=16000)[400:-400]  # 12 kHz would come back as 4 kHz
    assert np.sqrt(np.mean(inside**2)) < 0.5e-2 * np.sqrt(0.125)


def test_rates_without_a_ratio():
    audio = Audio(np.zeros(16000, "int16"), sfreq=16000)
    with pytest.raises(SignalError, match="have no usable common ratio"):
        audio.read(sfreq=1e9 * math.pi)


def test_read_audio_wants_a_rate():
    with pytest.raises(SignalError, match=r"a ndarray does not say its rate. Make a recording of it: Audio\(array"):
        read_audio(np.zeros(100), 16000)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        read_audio("nowhere.wav", 16000)


def test_a_start_that_is_no_number():
    with pytest.raises(ConfigError, match=r"start: expected .* a finite number of seconds .* got nan"):
        next(Audio(np.zeros(100, "int16"), sfreq=16000).cut([math.nan], 0.001, 16000))


def test_workers_can_take_it():
    audio = Audio(tone(0.1, 16000), sfreq=16000, start=2.0)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(audio)).read(), audio.read())
