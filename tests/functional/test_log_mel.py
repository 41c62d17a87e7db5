import cmath
import math

import numpy as np
import pytest
import torch

from evermodels.core.errors import ConfigError, ShapeError, SignalError
from evermodels.functional import log_mel_spectrogram
from evermodels.functional.log_mel import mel_filters

VGGISH = dict(
    n_mels=64, f_min=125.0, f_max=7500.0, preemphasis=0.0, remove_mean=False, periodic=True, power=1.0, offset=0.01
)


def sound(seconds=1.0, sfreq=16000, dtype=torch.float64):
    """Two tones and noise, with an offset."""
    time = torch.arange(int(seconds * sfreq), dtype=dtype) / sfreq
    noise = torch.randn(len(time), generator=torch.Generator().manual_seed(0), dtype=dtype)
    return 0.02 + 0.3 * torch.sin(2 * math.pi * 440 * time) + 0.1 * torch.sin(2 * math.pi * 3000 * time) + 0.05 * noise


def slow_log_mel(signal, sfreq, n_mels, frame, hop, n_fft, f_min, f_max, preemphasis, floor):
    """One frame, one frequency and one triangle at a time, from Kaldi's description."""

    def mel(f):
        return 1127 * math.log(1 + f / 700)

    points = [mel(f_min) + (mel(f_max) - mel(f_min)) * i / (n_mels + 1) for i in range(n_mels + 2)]
    rows = []
    for start in range(0, len(signal) - frame + 1, hop):
        piece = list(signal[start : start + frame])
        mean = sum(piece) / frame
        piece = [x - mean for x in piece]
        piece = [x - preemphasis * piece[max(i - 1, 0)] for i, x in enumerate(piece)]
        piece = [x * (0.5 - 0.5 * math.cos(2 * math.pi * i / (frame - 1))) for i, x in enumerate(piece)]
        row = []
        for m in range(n_mels):
            left, middle, right = points[m : m + 3]
            energy = 0.0
            for k in range(n_fft // 2 + 1):
                at = mel(k * sfreq / n_fft)
                weight = max(0.0, min((at - left) / (middle - left), (right - at) / (right - middle)))
                if weight:
                    dft = sum(x * cmath.exp(-2j * math.pi * k * i / n_fft) for i, x in enumerate(piece))
                    energy += weight * abs(dft) ** 2
            row.append(math.log(max(energy, floor)))
        rows.append(row)
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize(("f_min", "f_max", "floor"), [(20.0, None, 2.0**-23), (0.0, 300.0, 1e-2)])
def test_equals_a_slow_loop(f_min, f_max, floor):
    signal = sound(0.1, 1000)
    ours = log_mel_spectrogram(
        signal, 1000, n_mels=7, frame_length=25, hop_length=10, f_min=f_min, f_max=f_max, floor=floor
    )
    slow = slow_log_mel(signal.tolist(), 1000, 7, 25, 10, 32, f_min, f_max or 500.0, 0.97, floor)
    torch.testing.assert_close(ours, slow, rtol=1e-9, atol=1e-9)


@pytest.mark.filterwarnings("ignore:At least one mel filter has all zero values")  # AST's own 128 bands
def test_equals_ast():
    transformers = pytest.importorskip("transformers", reason="the oracle is among the test requirements only")
    extractor = transformers.ASTFeatureExtractor()
    signal = sound(1.5)
    theirs = extractor(signal.numpy(), sampling_rate=16000, return_tensors="pt")["input_values"][0]
    ours = (log_mel_spectrogram(signal, 16000) + 4.2677393) / (2 * 4.5689974)
    assert ours.shape == (148, 128)
    torch.testing.assert_close(ours.float(), theirs[:148], rtol=0, atol=1e-5)
    torch.testing.assert_close(
        log_mel_spectrogram(signal.float(), 16000).double(), log_mel_spectrogram(signal, 16000), rtol=0, atol=1e-3
    )  # float32 samples: bands of little energy beside loud ones


def test_equals_vggish():
    """The reference's recipe with transformers' filters: magnitude, periodic Hann, log(mel + 0.01)."""
    audio = pytest.importorskip("transformers.audio_utils", reason="the oracle is among the test requirements only")
    signal = sound(1.0)
    filters = audio.mel_filter_bank(257, 64, 125, 7500, 16000, mel_scale="kaldi", triangularize_in_mel_space=True)
    frames = np.lib.stride_tricks.sliding_window_view(signal.numpy(), 400)[::160]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    expected = np.log(np.abs(np.fft.rfft(frames * hann, 512)) @ filters + 0.01)
    ours = log_mel_spectrogram(signal, 16000, **VGGISH)
    torch.testing.assert_close(ours, torch.from_numpy(expected), rtol=0, atol=1e-9)


def test_a_hamming_window():
    signal = sound(0.2)
    for periodic, count in ((True, 800), (False, 799)):
        taper = 0.54 - 0.46 * np.cos(2 * np.pi * np.arange(800) / count)
        settings = {"frame_length": 800, "n_fft": 1024, "remove_mean": False, "preemphasis": 0.0}
        ours = log_mel_spectrogram(signal, 16000, n_mels=20, window="hamming", periodic=periodic, **settings)
        frames = np.lib.stride_tricks.sliding_window_view(signal.numpy(), 800)[::160]
        power = torch.from_numpy(np.abs(np.fft.rfft(frames * taper, 1024)) ** 2)
        want = (power @ mel_filters(20, 1024, 16000.0, 20.0, 8000.0)).clamp(min=2.0**-23).log()
        torch.testing.assert_close(ours, want, rtol=0, atol=1e-9)
    with pytest.raises(ConfigError, match="window: expected 'hann' or 'hamming', got 'boxcar'"):
        log_mel_spectrogram(signal, 16000, window="boxcar")


def test_a_tone_is_where_it_belongs():
    time = torch.arange(16000) / 16000
    for hertz in (300.0, 1000.0, 5000.0):
        bands = log_mel_spectrogram(torch.sin(2 * math.pi * hertz * time), 16000, n_mels=64).mean(0)
        low, high = (1127 * math.log1p(f / 700) for f in (20.0, 8000.0))
        place = (1127 * math.log1p(hertz / 700) - low) / (high - low) * 65 - 1
        assert abs(int(bands.argmax()) - place) <= 1


def test_silence_is_the_floor():
    assert torch.equal(log_mel_spectrogram(torch.zeros(800), 16000), torch.full((3, 128), math.log(2.0**-23)))
    assert torch.equal(log_mel_spectrogram(torch.zeros(800), 16000, **VGGISH), torch.full((3, 64), 0.01).log())


def test_an_offset_changes_nothing():
    signal = sound()
    torch.testing.assert_close(log_mel_spectrogram(signal + 0.3, 16000), log_mel_spectrogram(signal, 16000))


def test_leading_axes_are_independent():
    signal = torch.randn(2, 3, 900)
    whole = log_mel_spectrogram(signal, 16000, n_mels=20)
    assert whole.shape == (2, 3, 4, 20)
    torch.testing.assert_close(whole[1, 2], log_mel_spectrogram(signal[1, 2], 16000, n_mels=20))
    strided = signal.mT.contiguous().mT
    torch.testing.assert_close(log_mel_spectrogram(strided, 16000, n_mels=20), whole)


def test_precision():
    signal = sound().float()
    expected = log_mel_spectrogram(signal, 16000)
    with torch.autocast("cpu", torch.bfloat16):
        under = log_mel_spectrogram(signal, 16000)
    assert under.dtype == torch.float32
    torch.testing.assert_close(under, expected, rtol=0, atol=0)
    half = signal.bfloat16()
    torch.testing.assert_close(log_mel_spectrogram(half, 16000), log_mel_spectrogram(half.float(), 16000))


def test_gradient():
    signal = torch.randn(30, dtype=torch.float64, requires_grad=True)
    few = {"n_mels": 3, "frame_length": 16, "hop_length": 7}
    assert torch.autograd.gradcheck(lambda x: log_mel_spectrogram(x, 1000, **few), signal)
    assert torch.autograd.gradcheck(lambda x: log_mel_spectrogram(x, 1000, power=1, offset=0.1, **few), signal)
    silence = torch.zeros(800, requires_grad=True)
    log_mel_spectrogram(silence, 16000, **VGGISH).sum().backward()
    assert torch.equal(silence.grad, torch.zeros(800))


def test_compiles():
    signal = torch.randn(2, 900)
    compiled = torch.compile(lambda x: log_mel_spectrogram(x, 16000), backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(signal), log_mel_spectrogram(signal, 16000))


@pytest.mark.parametrize(
    ("signal", "kwargs", "error", "message"),
    [
        (torch.randn(399), {}, SignalError, "399 samples are shorter than one frame of 400"),
        (torch.randn(2, 0), {}, ShapeError, r"at least one signal, got \(2, 0\)"),
        ([0.0] * 400, {}, ShapeError, r"a tensor \(..., time\) .* got list"),
        (torch.ones(400, dtype=torch.int16), {}, SignalError, r"got torch.int16. Divide 16-bit integers by 32768.0"),
        (torch.randn(400), {"sfreq": 0}, ConfigError, "sfreq: expected a positive rate in Hz, got 0"),
        (torch.randn(400), {"sfreq": math.nan}, ConfigError, "sfreq: .* got nan"),
        (torch.randn(400), {"n_mels": 0}, ConfigError, "n_mels: expected an integer of at least 1, got 0"),
        (torch.randn(400), {"frame_length": 1}, ConfigError, "frame_length: expected an integer of at least 2, got 1"),
        (torch.randn(400), {"hop_length": 2.5}, ConfigError, "hop_length: .* got 2.5"),
        (torch.randn(400), {"n_fft": 256}, ConfigError, "n_fft: .* at least frame_length=400, got 256"),
        (torch.randn(400), {"f_max": 9000.0}, ConfigError, "f_max <= 8000 Hz .* got 20.0 and 9000.0"),
        (torch.randn(400), {"f_min": -1.0}, ConfigError, "0 <= f_min"),
        (torch.randn(400), {"power": 3}, ConfigError, r"power: expected 1 \(magnitude\) or 2"),
        (torch.randn(400), {"floor": 0.0}, ConfigError, "floor > 0 and offset >= 0, got 0.0"),
    ],
)
def test_bad_input(signal, kwargs, error, message):
    with pytest.raises(error, match=message):
        log_mel_spectrogram(signal, **{"sfreq": 16000, **kwargs})
