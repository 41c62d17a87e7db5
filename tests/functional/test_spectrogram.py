import math
import sys

import numpy as np
import pytest
import scipy.signal
import torch

from evermodels.core.errors import ConfigError, ShapeError, SignalError
from evermodels.functional import log_spectrogram


def slow_spectrogram(signal, n_fft, hop):
    """Eq. 2-3 for one channel, one frame and one bin at a time."""
    pad = n_fft // 2
    padded = [*signal[1 : pad + 1][::-1], *signal, *signal[-pad - 1 : -1][::-1]]
    window = [0.5 - 0.5 * math.cos(2 * math.pi * i / n_fft) for i in range(n_fft)]
    frames = []
    for start in range(0, len(padded) - n_fft + 1, hop):
        piece = [padded[start + i] * window[i] for i in range(n_fft)]
        frames.append(
            [
                math.log1p(abs(sum(p * np.exp(-2j * math.pi * k * i / n_fft) for i, p in enumerate(piece))))
                for k in range(n_fft // 2 + 1)
            ]
        )
    return torch.tensor(frames, dtype=torch.float64).T


def slow_bilinear(image, size):
    """Half-pixel bilinear resize with the border repeated."""
    out = torch.zeros(size, dtype=image.dtype)
    (h, w), (H, W) = image.shape, size
    for i in range(H):
        for j in range(W):
            y, x = max((i + 0.5) * h / H - 0.5, 0), max((j + 0.5) * w / W - 0.5, 0)
            y0, x0 = min(int(y), h - 1), min(int(x), w - 1)
            y1, x1 = min(y0 + 1, h - 1), min(x0 + 1, w - 1)
            fy, fx = y - y0, x - x0
            top = image[y0, x0] * (1 - fx) + image[y0, x1] * fx
            bottom = image[y1, x0] * (1 - fx) + image[y1, x1] * fx
            out[i, j] = top * (1 - fy) + bottom * fy
    return out


@pytest.mark.parametrize(("n_fft", "hop"), [(8, None), (7, 3), (16, 16)])
def test_equals_a_slow_loop(n_fft, hop):
    signal = torch.randn(33, dtype=torch.float64)
    ours = log_spectrogram(signal, n_fft, hop)
    slow = slow_spectrogram(signal.tolist(), n_fft, hop or n_fft // 4)
    torch.testing.assert_close(ours, slow, rtol=1e-10, atol=1e-10)


def test_resize_equals_a_slow_loop():
    signal = torch.randn(40, dtype=torch.float64)
    for size in [(3, 5), (11, 30), (5, 21)]:
        slow = slow_bilinear(slow_spectrogram(signal.tolist(), 8, 2), size)
        torch.testing.assert_close(log_spectrogram(signal, 8, size=size), slow, rtol=1e-9, atol=1e-9)


def test_equals_scipy():
    signal = torch.randn(2, 3, 500, dtype=torch.float64)
    window = scipy.signal.get_window("hann", 100, fftbins=True)
    _, _, z = scipy.signal.stft(signal.numpy(), window=window, nperseg=100, noverlap=75, boundary="even", padded=False)
    expected = torch.from_numpy(np.log1p(np.abs(z) * window.sum()))
    torch.testing.assert_close(log_spectrogram(signal, 100), expected, rtol=1e-10, atol=1e-10)


def test_a_sine_peaks_at_its_bin():
    sfreq, n_fft = 200, 200
    time = torch.arange(1000) / sfreq
    spectrogram = log_spectrogram(torch.sin(2 * math.pi * 10 * time), n_fft)
    middle = spectrogram[:, spectrogram.shape[1] // 2]
    assert int(middle.argmax()) == 10
    assert middle[10] == pytest.approx(math.log1p(n_fft / 4), rel=1e-4)  # amplitude 1/2 times the window's sum n/2


def test_leading_axes_are_independent():
    signal = torch.randn(2, 3, 4, 60)
    whole = log_spectrogram(signal, 16, size=(8, 9))
    assert whole.shape == (2, 3, 4, 8, 9)
    torch.testing.assert_close(whole[1, 2, 3], log_spectrogram(signal[1, 2, 3], 16, size=(8, 9)))
    order = [2, 0, 1]
    torch.testing.assert_close(whole[:, order], log_spectrogram(signal[:, order], 16, size=(8, 9)))


def test_strided_input():
    signal = torch.randn(60, 3).T
    torch.testing.assert_close(log_spectrogram(signal, 16), log_spectrogram(signal.contiguous(), 16))


def test_precision():
    signal = torch.randn(2, 64)
    assert log_spectrogram(signal.double(), 16).dtype == torch.float64
    expected = log_spectrogram(signal, 16, size=(8, 8))
    with torch.autocast("cpu", torch.bfloat16):
        under = log_spectrogram(signal, 16, size=(8, 8))
    assert under.dtype == torch.float32
    torch.testing.assert_close(under, expected, rtol=0, atol=0)
    half = signal.bfloat16()
    torch.testing.assert_close(log_spectrogram(half, 16), log_spectrogram(half.float(), 16), rtol=0, atol=0)


def test_gradient():
    signal = torch.randn(2, 20, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: log_spectrogram(x, 8, size=(4, 6)), signal)
    silence = torch.zeros(20, requires_grad=True)
    log_spectrogram(silence, 8).sum().backward()
    assert torch.equal(silence.grad, torch.zeros(20))


@pytest.mark.parametrize(
    ("signal", "kwargs", "error", "message"),
    [
        (torch.randn(2, 7), {"n_fft": 8}, SignalError, "7 samples are shorter than one window, n_fft=8"),
        (torch.randn(2, 0), {"n_fft": 8}, ShapeError, r"at least one signal, got \(2, 0\)"),
        (torch.randn(0, 9), {"n_fft": 8}, ShapeError, r"at least one signal, got \(0, 9\)"),
        (torch.tensor(1.0), {"n_fft": 8}, ShapeError, r"\(..., time\)"),
        ([1.0] * 9, {"n_fft": 8}, ShapeError, "expected a tensor .* got list"),
        (torch.ones(9, dtype=torch.int64), {"n_fft": 8}, SignalError, r"got torch.int64. Convert it with .float\(\)"),
        (torch.randn(9), {"n_fft": 1}, ConfigError, "n_fft: expected an integer of at least 2 samples, got 1"),
        (torch.randn(9), {"n_fft": 8.0}, ConfigError, "n_fft: .* got 8.0"),
        (torch.randn(9), {"n_fft": 8, "hop_length": 0}, ConfigError, "hop_length: expected a positive integer"),
        (torch.randn(9), {"n_fft": 8, "size": (4, 0)}, ConfigError, r"size: .* got \(4, 0\)"),
        (torch.randn(9), {"n_fft": 8, "window": torch.ones(7)}, ShapeError, r"window: expected \(8,\)"),
    ],
)
def test_bad_input(signal, kwargs, error, message):
    with pytest.raises(error, match=message):
        log_spectrogram(signal, **kwargs)


def test_compiles():
    signal = torch.randn(2, 3, 64)
    compiled = torch.compile(lambda x: log_spectrogram(x, 16, size=(8, 8)), backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(signal), log_spectrogram(signal, 16, size=(8, 8)))


@pytest.mark.parametrize("columns", [4, 90])  # few frames go through products, many through the kernel
@pytest.mark.parametrize("size", [(3, 5), (11, 30), (9, 21)])
def test_the_two_ways_to_resize_agree(columns, size):
    from evermodels.functional.spectrogram import _resize

    images = torch.randn(4, 9, columns, dtype=torch.float64)
    expected = torch.nn.functional.interpolate(images[None], size=size, mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(_resize(images, size), expected)


@pytest.mark.parametrize(("n_fft", "hop", "size"), [(16, None, (8, 9)), (16, 5, None), (7, 3, None)])
def test_pieces_equal_the_whole(n_fft, hop, size, monkeypatch):
    signal = torch.randn(2, 5, 60)
    whole = log_spectrogram(signal, n_fft, hop, size)
    monkeypatch.setattr(sys.modules[log_spectrogram.__module__], "_PIECE", 1)
    pieces = log_spectrogram(signal, n_fft, hop, size)
    assert pieces.shape == whole.shape
    torch.testing.assert_close(pieces, whole, rtol=1e-6, atol=1e-6)
    with_gradient = log_spectrogram(signal.requires_grad_(), n_fft, hop, size)
    torch.testing.assert_close(with_gradient, whole, rtol=1e-6, atol=1e-6)
