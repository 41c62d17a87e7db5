import pytest
import torch

from evermodels.core.errors import ConfigError, ShapeError
from evermodels.layers import DifferentialEntropy, FeatureNorm


def test_statistics_over_samples_and_windows_of_all_batches():
    g = torch.Generator().manual_seed(0)
    x = 1e4 + torch.tensor([1.0, 200.0, 0.0]) * torch.randn(30, 4, 3, generator=g)
    norm = FeatureNorm((3,))
    assert not norm.fitted and torch.equal(norm(x), x)
    norm.fit([x[:7], x[:0], x[7:]])
    assert norm.fitted
    flat = x.flatten(0, 1).double()
    torch.testing.assert_close(norm.mean, flat.mean(0).float())
    torch.testing.assert_close(norm.std, torch.tensor([*flat.std(0, correction=0).float()[:2], 1]), rtol=1e-4, atol=0)
    torch.testing.assert_close(norm(x), (x - norm.mean) / norm.std)
    assert not norm(x)[..., 2].any()  # it never changes
    assert set(norm.state_dict()) == {"mean", "std"}


def test_of_features_that_it_makes():
    layer = DifferentialEntropy(100.0, [(4.0, 8.0), (8.0, 13.0)])
    eeg = 10 * torch.randn(6, 3, 400, generator=torch.Generator().manual_seed(0))
    norm = FeatureNorm((2, 3), layer)
    norm.fit([eeg])
    got = norm(eeg)
    assert got.shape == (6, 4, 2, 3)
    torch.testing.assert_close(got.mean((0, 1)), torch.zeros(2, 3), rtol=0, atol=1e-5)
    torch.testing.assert_close(got.std((0, 1), correction=0), torch.ones(2, 3))


def test_bad_input():
    with pytest.raises(ConfigError, match=r"shape: expected at least one axis.*\(0,\)"):
        FeatureNorm((0,))
    with pytest.raises(ShapeError, match=r"expected \(batch, windows, 3\), got \(2, 4, 4\)"):
        FeatureNorm((3,))(torch.zeros(2, 4, 4))
    with pytest.raises(ShapeError, match="at least one sample, got none"):
        FeatureNorm((3,)).fit([])
