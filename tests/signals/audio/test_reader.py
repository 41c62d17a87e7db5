import numpy as np
import pytest
import torch

from evermodels.core.errors import ConfigError, SignalError
from evermodels.core.specs import AudioSpec
from evermodels.functional import log_mel_spectrogram
from evermodels.signals.audio import Audio, Reader
from evermodels.signals.audio.level import STEADY_DB
from evermodels.signals.room import covers, grid
from tests.signals.audio._sound import tone

SOUND = tone(5.0, 16000)


def read(spec, audio, starts, seconds, **more):
    reader = Reader(spec, seconds, **more)
    return list(reader.windows(reader.prepare(reader.open(audio)), starts, seconds))


@pytest.mark.parametrize("sfreq", [16000, 22050, 44100])
@pytest.mark.parametrize("seconds", [1.0, 0.975])
def test_shapes_are_the_specs(sfreq, seconds):
    audio = Audio(tone(3.0, sfreq), sfreq=sfreq)
    for spec in (AudioSpec(), AudioSpec(n_mels=64, f_min=125.0, f_max=7500.0), AudioSpec(form="waveform")):
        for window in read(spec, audio, [0.0, 1.01], seconds):
            assert tuple(window.tensor.shape) == spec.shape(seconds) and window.tensor.dtype == torch.float32


def test_values():
    audio = Audio(SOUND, sfreq=16000, start=100.0)
    (window,) = read(AudioSpec(form="waveform"), audio, [101.0], 2.0)
    np.testing.assert_array_equal(window.tensor.numpy(), SOUND[16000:48000])
    spec = AudioSpec(f_min=20.0, mean=-4.2677393, std=2 * 4.5689974)  # AST's own
    (window,) = read(spec, audio, [101.0], 2.0)
    expected = (log_mel_spectrogram(torch.from_numpy(SOUND[16000:48000]), 16000) + 4.2677393) / (2 * 4.5689974)
    torch.testing.assert_close(window.tensor, expected)


def test_quality_and_silence():
    sound = np.concatenate([SOUND[:16000], np.zeros(16000, "float32"), 1e-4 * SOUND[:16000], SOUND[:16000]])
    sound[40000:48000] = 0
    windows = read(AudioSpec(), Audio(sound, sfreq=16000), [0.0, 1.0, 2.0, 3.0], 1.0)
    assert [window.usable for window in windows] == [True, False, False, True]
    assert windows[0].quality["rms_dbfs"] == pytest.approx(20 * np.log10(SOUND[:16000].std()), abs=1e-3)
    assert windows[1].quality == pytest.approx(
        {"rms_dbfs": -150.0, "silent": 1.0, "clipped": 0.0, "level_spread": np.nan}, nan_ok=True
    )
    assert windows[1].why == "it is silent (-150 dBFS, below -70)"
    louder = read(AudioSpec(), Audio(sound, sfreq=16000), [0.0, 2.0], 1.0, silent_dbfs=-120)
    assert [window.usable for window in louder] == [True, True]
    assert [window.quality["silent"] for window in louder] == [0.0, pytest.approx(0.5, abs=0.03)]
    with pytest.raises(ConfigError, match="silent_dbfs: expected a level in dBFS, -150 to below 0, got 70"):
        Reader(AudioSpec(), 1.0, silent_dbfs=70)


def test_clipping_is_seen_before_resampling():
    loud = np.clip(3 * tone(2.0, 44100), -0.5, 0.5) * 2
    windows = read(AudioSpec(), Audio((loud * 32767).round().astype("int16"), sfreq=44100), [0.0], 2.0)
    assert windows[0].usable and windows[0].quality["clipped"] > 0.2


def test_notes_name_the_windows():
    sound = np.concatenate([np.zeros(48000, "float32"), np.clip(SOUND * 100, -1, 1)])
    reader = Reader(AudioSpec(), 1.0)
    starts = [float(k) for k in range(8)]
    windows = [window.light() for window in reader.windows(Audio(sound, sfreq=16000), starts, 1.0)]
    silent, clipped = reader.notes(starts, windows, "left out")
    assert silent == (
        "Audio: in 3 of 8 windows (at 0, 1, 2 s) it is not read, since it is silent (-150 dBFS, below -70); left out."
    )
    assert clipped.startswith(
        "Audio: in 5 of 8 windows (at 3, 4, 5, 6, 7 s) the sound is cut off at full scale (up to 9"
    )
    assert reader.notes([0.0], [windows[0]], "left out")[0].startswith("Audio: it is not read, since it is silent")
    quiet = [window.light() for window in reader.windows(Audio(SOUND, sfreq=16000), [0.0], 1.0)]
    assert reader.notes([0.0], quiet, "left out") == ()
    assert "audio: it is silent (-150 dBFS, below -70) in any of 3 windows" in str(reader.refuse(windows[:3]))


def speechlike(seconds, sfreq=16000):
    """Bursts of a tone, as syllables come: their level goes up and down by some 10 dB."""
    time = np.arange(round(seconds * sfreq)) / sfreq
    return (10 ** (0.5 * np.sin(2 * np.pi * 4 * time) - 1) * np.sin(2 * np.pi * 200 * time)).astype("float32")


def test_noise_and_hum_are_said_to_be_no_speech():
    rng = np.random.default_rng(0)
    noise = np.clip(0.5 * rng.standard_normal(48000), -1, 1).astype("float32")  # cut off, but seldom thrice in a row
    hum = (0.3 * np.sin(2 * np.pi * 50 * np.arange(48000) / 16000)).astype("float32")
    sound = np.concatenate([speechlike(3.0), noise, hum, np.zeros(48000, "float32")])
    reader, starts = Reader(AudioSpec(), 3.0), [0.0, 3.0, 6.0, 9.0]
    windows = [window.light() for window in reader.windows(Audio(sound, sfreq=16000), starts, 3.0)]
    spread = [window.quality["level_spread"] for window in windows]
    assert spread[0] > 4 and spread[1] == pytest.approx(0.3, abs=0.1) and spread[2] < 0.1 and np.isnan(spread[3])
    silent, steady = reader.notes(starts, windows, "left out")
    assert "it is silent" in silent and steady == (
        "Audio: in 2 of 4 windows (at 3, 6 s) the level of the sound hardly changes (by 0.0 dB; in speech by 4 and "
        "more), as that of noise or a hum: what a model of speech answers to it means nothing."
    )
    reading = AudioSpec.readings["level_spread"]
    assert reading.least == STEADY_DB
    assert [value < reading.least for value in spread] == [False, True, True, False]
    short = [window.light() for window in Reader(AudioSpec(), 1.0).windows(Audio(noise, sfreq=16000), [0.0], 1.0)]
    assert np.isnan(short[0].quality["level_spread"]) and not Reader(AudioSpec(), 1.0).notes([0.0], short, "")


def test_real_speech_is_not_taken_for_noise(real_data):
    reader = Reader(AudioSpec(), 2.0)
    for path in sorted((real_data / "emodb").glob("*.flac"))[::20]:
        audio = Audio(path)
        if audio.stop >= 2.0:
            (window,) = reader.windows(audio, [0.0], 2.0)
            assert window.quality["level_spread"] > 4, path.name


def test_the_grid_fits():
    """Every window that the room's grid offers can be read, at the very end too."""
    for length, sfreq in ((16001, 16000), (44100 * 2 - 13, 44100), (8000 * 3 + 1, 8000)):
        audio = Audio(np.zeros(length, "int16"), sfreq=sfreq, start=0.1)
        for seconds in (0.5, length / sfreq, (length + 0.4) / sfreq):
            starts = grid(audio, seconds, 0.3)
            assert covers(audio, starts, seconds).all()
            assert len(read(AudioSpec(form="waveform"), audio, starts, seconds)) == len(starts)


def test_a_bare_array_shows_the_object_to_make():
    with pytest.raises(SignalError, match=r"does not say its rate. .*Audio\(array, sfreq=16000\)"):
        Reader(AudioSpec(), 1.0).open(SOUND)


def test_the_option_of_the_command_line():
    (option,) = Reader.options
    both = np.stack([SOUND, SOUND])
    for text, channel in (("0", 0), ("mean", "mean")):
        assert Audio(both, sfreq=16000, channel=option.type(text)).channel == channel
