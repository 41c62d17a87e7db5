import copy

import pytest
import torch

from evermodels.core.errors import ConfigError, ShapeError, SignalError
from evermodels.functional import log_spectrogram
from evermodels.layers import STFTSpectrogram


@pytest.mark.parametrize(("n_fft", "hop", "size"), [(16, None, None), (16, 5, (8, 9)), (15, None, (4, 30))])
def test_equals_the_function(n_fft, hop, size):
    signal = torch.randn(2, 3, 64)
    expected = log_spectrogram(signal, n_fft, hop, size)
    assert torch.equal(STFTSpectrogram(n_fft, hop, size)(signal), expected)


def test_float64_is_exact():
    signal = torch.randn(3, 64, dtype=torch.float64)
    expected = log_spectrogram(signal, 16)
    assert torch.equal(STFTSpectrogram(16)(signal), expected)
    assert torch.equal(STFTSpectrogram(16).double()(signal), expected)


def test_half_precision_does_not_round_the_window():
    layer = STFTSpectrogram(50).bfloat16()
    assert layer.window.dtype == torch.float32
    assert torch.equal(layer.window, torch.hann_window(50))
    signal = torch.randn(2, 200).bfloat16()
    assert torch.equal(layer(signal), log_spectrogram(signal.float(), 50))


def test_state_is_empty_and_round_trips():
    layer = STFTSpectrogram(16, 4, (8, 8))
    assert layer.state_dict() == {}
    other = STFTSpectrogram(16, 4, (8, 8))
    other.load_state_dict(layer.state_dict(), strict=True)
    signal = torch.randn(2, 64)
    assert torch.equal(other(signal), layer(signal))
    assert torch.equal(copy.deepcopy(layer)(signal), layer(signal))


def test_buffers_come_back_from_meta():
    with torch.device("meta"):
        layer = STFTSpectrogram(16)
    assert layer.window.is_meta
    layer.reset_buffers()
    assert torch.equal(layer.window, torch.hann_window(16))
    signal = torch.randn(2, 64)
    assert torch.equal(layer(signal), STFTSpectrogram(16)(signal))
    assert layer.to("meta").window.is_meta


def test_channels_and_batches_are_independent():
    layer, signal, order = STFTSpectrogram(16, size=(8, 8)), torch.randn(4, 3, 64), [2, 0, 1]
    whole = layer(signal)
    torch.testing.assert_close(layer(signal[:, order]), whole[:, order])
    torch.testing.assert_close(torch.cat([layer(signal[:1]), layer(signal[1:])]), whole)


def test_gradient():
    layer = STFTSpectrogram(8, size=(4, 5))
    signal = torch.randn(2, 20, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, signal)


@pytest.mark.parametrize(
    ("signal", "error", "message"),
    [
        (torch.randn(2, 15), SignalError, "15 samples are shorter than one window, n_fft=16"),
        (torch.randn(0, 15), ShapeError, "at least one signal"),
        (torch.ones(2, 20, dtype=torch.int32), SignalError, "torch.int32"),
    ],
)
def test_bad_signal(signal, error, message):
    with pytest.raises(error, match=message):
        STFTSpectrogram(16)(signal)


def test_bad_settings():
    with pytest.raises(ConfigError, match="n_fft"):
        STFTSpectrogram(0)
    with pytest.raises(ConfigError, match="hop_length"):
        STFTSpectrogram(16, -1)
    with pytest.raises(ConfigError, match="size"):
        STFTSpectrogram(16, size=(8,))


def test_repr():
    assert repr(STFTSpectrogram(16, size=(8, 9))) == "STFTSpectrogram(n_fft=16, hop_length=4, size=(8, 9))"


def test_compiles():
    layer, signal = STFTSpectrogram(16, size=(8, 8)), torch.randn(2, 3, 64)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(signal), layer(signal))
