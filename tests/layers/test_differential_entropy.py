import math

import numpy as np
import pytest
import scipy.signal
import torch

from evermodels.core.errors import ConfigError, ShapeError
from evermodels.functional import band_power, differential_entropy
from evermodels.layers import DifferentialEntropy

BANDS = [(4.0, 8.0), (8.0, 13.0), (13.0, 30.0)]


@pytest.mark.parametrize("method", ["stft", "filter"])
@pytest.mark.parametrize("kind", ["differential_entropy", "power"])
def test_equals_the_function_stretch_by_stretch(method, kind):
    layer = DifferentialEntropy(100.0, BANDS, 1.5, method=method, kind=kind)
    eeg = 10 * torch.randn(2, 4, 500)
    got = layer(eeg)
    assert got.shape == (2, 3, 3, 4)
    for k in range(3):
        h = differential_entropy(eeg[:, :, 150 * k : 150 * (k + 1)], 100.0, BANDS, method=method)
        want = h if kind == "differential_entropy" else ((2 * h).exp() / (2 * torch.pi * torch.e))
        torch.testing.assert_close(got[:, k], want, rtol=1e-4, atol=1e-4)
    if (method, kind) == ("stft", "power"):
        torch.testing.assert_close(got[:, 0], band_power(eeg[:, :, :150], 100.0, BANDS))
    assert not layer.state_dict()


FIVE = [(1.0, 4.0), (4.0, 8.0), (8.0, 14.0), (14.0, 31.0), (31.0, 50.0)]


def scipy_loop(trial, sfreq, seconds):
    """Windows of a trial from its end backwards, each channel's STFT of one Hann window, entropy by band, in order."""
    length, stop, rows = round(seconds * sfreq), trial.shape[1], []
    while stop >= length:
        row = np.empty((len(FIVE), len(trial)))
        for c, x in enumerate(trial[:, stop - length : stop]):
            frequencies, _, z = scipy.signal.stft(
                x, sfreq, "hann", length, 0, boundary=None, padded=False, detrend="constant", scaling="psd"
            )
            power = np.abs(z[:, 0]) ** 2 * np.where((frequencies == 0) | (frequencies == sfreq / 2), 1, 2)
            for b, (low, high) in enumerate(FIVE):
                variance = power[(frequencies >= low) & (frequencies < high)].sum() * frequencies[1]
                row[b, c] = 0.5 * math.log(2 * math.pi * math.e * variance)
        rows.insert(0, row)
        stop -= length
    return np.stack(rows)


def test_windows_of_four_seconds_from_the_end_backwards_equal_scipy():
    trial = 20 * torch.randn(1, 3, 200 * 39 + 57, generator=torch.Generator().manual_seed(2))  # 3.3 s are left over
    want = scipy_loop(trial[0].double().numpy(), 200.0, 4.0)
    got = DifferentialEntropy(200.0, FIVE, 4.0, anchor="end")(trial)
    assert got.shape == (1, 9, 5, 3)
    np.testing.assert_allclose(got[0].numpy(), want, atol=1e-4)
    items = DifferentialEntropy(200.0, FIVE, 4.0, anchor="end", group=4)(trial)
    assert items.shape == (1, 2, 4, 5, 3)
    np.testing.assert_allclose(items[0].flatten(0, 1).numpy(), want[1:], atol=1e-4)  # the oldest makes no item
    begin = DifferentialEntropy(200.0, FIVE, 4.0)(trial)
    assert not torch.allclose(begin, got, atol=1e-2)
    torch.testing.assert_close(begin, DifferentialEntropy(200.0, FIVE, 4.0, anchor="end")(trial[:, :, : 9 * 800]))


@pytest.mark.parametrize("method", ["stft", "filter"])
def test_compiles_and_exports(method):
    layer, eeg = DifferentialEntropy(100.0, BANDS, method=method), 10 * torch.randn(2, 4, 300)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(eeg), layer(eeg))
    exported = torch.export.export(layer, (eeg,), dynamic_shapes=({0: torch.export.Dim("batch")},)).module()
    more = 10 * torch.randn(5, 4, 300)
    torch.testing.assert_close(exported(more), layer(more))


def test_bad_input():
    with pytest.raises(ConfigError, match="at least two samples"):
        DifferentialEntropy(100.0, BANDS, 0.001)
    with pytest.raises(ConfigError, match="expected one of stft, filter"):
        DifferentialEntropy(100.0, BANDS, method="wavelet")
    with pytest.raises(ConfigError, match="expected one of begin, end"):
        DifferentialEntropy(100.0, BANDS, anchor="middle")
    with pytest.raises(ConfigError, match="group: expected at least 1"):
        DifferentialEntropy(100.0, BANDS, group=0)
    with pytest.raises(ShapeError, match="time=400"):
        DifferentialEntropy(100.0, BANDS, group=4)(torch.zeros(1, 2, 399))
    with pytest.raises(ShapeError, match="time=100"):
        DifferentialEntropy(100.0, BANDS)(torch.zeros(1, 2, 50))
