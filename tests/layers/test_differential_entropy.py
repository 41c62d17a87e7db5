import pytest
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
    with pytest.raises(ShapeError, match="time=100"):
        DifferentialEntropy(100.0, BANDS)(torch.zeros(1, 2, 50))
