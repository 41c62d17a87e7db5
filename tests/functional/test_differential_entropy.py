"""Band power and differential entropy against SciPy in loops, known signals, and their own refusals."""

import math

import numpy as np
import pytest
import scipy.signal
import torch

from evermodels.core.errors import ConfigError, ShapeError, SignalError
from evermodels.functional import band_power, differential_entropy
from evermodels.functional.differential_entropy import SMALLEST, pad_length

BANDS = ((1.0, 4.0), (4.0, 8.0), (8.0, 14.0), (14.0, 31.0), (31.0, 50.0))
SFREQ = 200.0


def signals(*shape, dtype=torch.float64):
    return 20 * torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=dtype)


def slow_stft(x, low, high):
    """One stretch of one channel, from SciPy's periodogram: its density times the distance of its frequencies."""
    window = scipy.signal.get_window("hann", len(x))
    frequencies, density = scipy.signal.periodogram(x, SFREQ, window=window, detrend="constant", scaling="density")
    return density[(frequencies >= low) & (frequencies < high)].sum() * (frequencies[1] - frequencies[0])


def slow_filter(x, low, high):
    sos = scipy.signal.butter(4, (low, high), "bandpass", fs=SFREQ, output="sos")
    return scipy.signal.sosfiltfilt(sos, x).var()


@pytest.mark.parametrize("time", [200, 801])
@pytest.mark.parametrize(("method", "slow"), [("stft", slow_stft), ("filter", slow_filter)])
def test_equals_scipy_window_by_window(method, slow, time):
    x = signals(3, 4, time) + 500.0
    want = np.array(
        [[[0.5 * math.log(2 * math.pi * math.e * slow(c, *b)) for c in window] for b in BANDS] for window in x.numpy()]
    )
    got = differential_entropy(x, SFREQ, BANDS, method=method)
    assert got.shape == (3, 5, 4)
    np.testing.assert_allclose(got.numpy(), want, rtol=1e-9, atol=1e-9)
    single = differential_entropy(x.float(), SFREQ, BANDS, method=method)
    np.testing.assert_allclose(single.numpy(), want, atol=1e-4)


def test_bands_add_up_to_the_variance():
    x = signals(2, 1000)
    whole = band_power(x, SFREQ, [(0, 30), (30, 100)]).sum(0)
    window = torch.hann_window(1000, dtype=x.dtype)
    weighted = ((x - x.mean(-1, keepdim=True)) * window).square().sum(-1) / window.square().sum()
    # Half of sfreq itself belongs to no band: one bin of 501.
    torch.testing.assert_close(whole, weighted, rtol=1e-2, atol=0)


def test_a_sine_lies_in_its_band():
    t = torch.arange(800, dtype=torch.float64) / SFREQ
    x = 6 * torch.sin(2 * torch.pi * 10 * t)[None]
    torch.testing.assert_close(band_power(x, SFREQ, BANDS)[:, 0], torch.tensor([0, 0, 18, 0, 0.0]).double())
    for method in ("stft", "filter"):
        h = differential_entropy(x, SFREQ, BANDS, method=method)[:, 0]
        assert h.argmax() == 2
        assert abs(float(h[2]) - 0.5 * math.log(2 * math.pi * math.e * 18)) < 0.02


def test_a_dead_channel_gives_the_smallest_number():
    h = differential_entropy(torch.full((1, 400), 3.0), SFREQ, BANDS)
    torch.testing.assert_close(h, torch.full((5, 1), 0.5 * math.log(2 * math.pi * math.e * SMALLEST)))


@pytest.mark.parametrize("method", ["stft", "filter"])
def test_gradient_half_precision_and_compile(method):
    x = signals(2, 60).requires_grad_()
    bands = [(8.0, 20.0), (20.0, 50.0)]
    assert torch.autograd.gradcheck(lambda v: differential_entropy(v, SFREQ, bands, method=method), (x,))
    y = signals(2, 3, 200, dtype=torch.float32)
    want = differential_entropy(y, SFREQ, BANDS, method=method)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(differential_entropy(y, SFREQ, BANDS, method=method), want)
    assert differential_entropy(y.bfloat16(), SFREQ, BANDS, method=method).dtype == torch.float32


def test_short_stretches_are_padded_as_far_as_they_go():
    sos = scipy.signal.butter(4, (8, 14), "bandpass", fs=SFREQ, output="sos")
    assert pad_length(sos, 20) == 19
    assert pad_length(sos, 1000) == 27  # what SciPy takes: 3 (2 sections + 1)
    assert differential_entropy(signals(1, 25), SFREQ, [(8, 24)], method="filter").isfinite().all()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: band_power(torch.zeros(5), SFREQ, BANDS), ShapeError, r"\(\.\.\., channels, time\).*got \(5,\)"),
        (lambda: band_power(torch.zeros(2, 400).long(), SFREQ, BANDS), SignalError, r"real floating.*\.float\(\)"),
        (lambda: band_power(torch.zeros(2, 400), SFREQ, []), ConfigError, "at least one"),
        (lambda: band_power(torch.zeros(2, 400), SFREQ, [(8, 4)]), ConfigError, "low < high <= 100 Hz"),
        (lambda: band_power(torch.zeros(2, 400), SFREQ, [(90, 130)]), ConfigError, "half of sfreq"),
        (lambda: band_power(torch.zeros(2, 20), SFREQ, [(1, 4)]), ConfigError, "10 Hz apart.*longer stretches"),
        (lambda: band_power(torch.zeros(2, 400), 0, BANDS), ConfigError, "sfreq: expected a positive"),
        (lambda: differential_entropy(torch.zeros(2, 400), SFREQ, BANDS, method="fft"), ConfigError, "stft, filter"),
        (
            lambda: differential_entropy(torch.zeros(1, 5000), SFREQ, BANDS, method="filter"),
            ConfigError,
            "4,096 samples",
        ),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
