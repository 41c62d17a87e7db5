"""SPDNet against a plain reading of its equations, and what must not matter to it."""

import numpy as np
import pytest
import scipy.linalg
import torch

import evermodels as em
from evermodels.backbones import SPDNet, SPDNetConfig
from evermodels.core.errors import ConfigError, ShapeError

BANDS = ((1.0, 4.0), (4.0, 8.0), (8.0, 13.0))


def small(**changes):
    given = {"in_chans": 4, "num_samples": 200, "sfreq": 100.0, "num_classes": 2, "bands": BANDS, **changes}
    return SPDNet(SPDNetConfig(**given)).eval()


def eeg(batch=3, channels=4, time=200):
    return 10 * torch.randn(batch, channels, time, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_tokens_equal_a_loop_over_the_equations():
    model = small().double()
    with torch.no_grad():
        model.change.copy_(0.1 * torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(1)))
        model.norm.running_mean.copy_(torch.linspace(-1, 1, 30))
        model.norm.running_var.copy_(torch.linspace(0.5, 2, 30))
    x = eeg()
    want = []
    for window in (x - x.mean(dim=1, keepdim=True)).numpy():
        for band, (low, high) in enumerate(BANDS):
            c = np.zeros((4, 4))
            for k in range(1, 100):
                if low <= k * 0.5 < high:
                    f = (window * np.exp(-2j * np.pi * k * np.arange(200) / 200)).sum(1) / 200
                    c += 2 * np.outer(f, f.conj()).real
            w = np.eye(4) + model.change[band].detach().numpy()
            s = w @ c @ w.T
            log = scipy.linalg.logm(s + (0.03 * np.trace(s) / 4 + 1e-4) * np.eye(4))
            want.append([log[i, j] * (1 if i == j else 2**0.5) for i in range(4) for j in range(i, 4)])
    want = np.array(want).reshape(3, 30)
    want = 0.1 * (want - np.linspace(-1, 1, 30)) / np.sqrt(np.linspace(0.5, 2, 30) + 1e-5)
    np.testing.assert_allclose(model.forward_features(x).detach().numpy().reshape(3, 30), want, atol=1e-6)


def test_a_covariance_is_the_band_of_the_signal():
    t = torch.arange(200, dtype=torch.float64) / 100
    x = torch.stack([torch.sin(2 * torch.pi * 10 * t), 3 * torch.sin(2 * torch.pi * 10 * t)] + [0 * t] * 2)[None]
    c = small(reference="as recorded").double().covariances(x)[0]
    torch.testing.assert_close(c[2, :2, :2], torch.tensor([[0.5, 1.5], [1.5, 4.5]], dtype=torch.float64))
    assert c[:2].abs().max() < 1e-12 and c[2, 2:].abs().max() < 1e-12


def test_the_reference_of_the_recording_does_not_matter():
    model, x = small().double(), eeg()
    torch.testing.assert_close(model(x), model(x + eeg(channels=1)))
    assert not torch.allclose(small(reference="as recorded").double()(x), small().double()(x))


def test_a_lost_dimension_does_not_show():
    # Cleaning takes weak directions of a recording away; shrinkage must hide whether it did.
    x = eeg(channels=8)
    x[:, 7] = x[:, :7].mean(dim=1)
    kept = x.clone()
    kept[:, 7] += 0.05 * eeg(channels=1)[:, 0].flip(1)
    told = {}
    for shrinkage in (0.03, 1e-9):
        model = small(in_chans=8, reference="as recorded", shrinkage=shrinkage).double()
        told[shrinkage] = (model.forward_features(x) - model.forward_features(kept)).abs().max().item()
    ranks = [torch.linalg.matrix_rank(model.covariances(w)[0, 2], rtol=1e-8).item() for w in (x, kept)]
    assert ranks == [7, 8]
    assert told[0.03] < 0.02 and told[1e-9] > 0.2


def test_flat_and_huge_windows_stay_finite():
    model = small()
    for x in (torch.zeros(1, 4, 200), 1e5 * torch.ones(1, 4, 200), 1e4 * eeg().float()):
        leaf = x.requires_grad_()
        out = model(leaf)
        out.sum().backward()
        assert torch.isfinite(out).all() and torch.isfinite(leaf.grad).all()


def test_bands_hold_their_edges():
    config = SPDNetConfig(in_chans=2, num_samples=500, sfreq=100.0, bands=((0.0, 0.6), (0.6, 1.0), (1.0, 50.0)))
    assert config.bins == ((1, 3), (3, 5), (5, 250))  # 0.2 Hz a bin; the mean is in no band


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"bands": ()}, "bands"),
        ({"bands": ((4.0, 2.0),)}, "bands"),
        ({"bands": ((1.0, 60.0),)}, r"bands.*half of sfreq \(50 Hz\)"),
        ({"bands": ((1.1, 1.3),)}, "bands.*multiple of 0.5 Hz"),
        ({"shrinkage": 0.0}, "shrinkage"),
        ({"head_drop_rate": 1.0}, "head_drop_rate"),
        ({"reference": "linked ears"}, "reference"),
    ],
)
def test_impossible_values_are_refused(change, said):
    with pytest.raises(ConfigError, match=said):
        small(**change)


def test_other_windows_are_refused():
    with pytest.raises(ShapeError, match="eeg"):
        small()(torch.zeros(1, 4, 100))


def test_single_eeg_takes_it():
    model = em.create_model("single_eeg", encoders={"eeg": {"name": "spd_net_tiny"}}, num_classes=2)
    assert model(eeg=torch.randn(2, 19, 1000)).logits.shape == (2, 2)
    assert sum(p.numel() for p in model.parameters()) < 10_000
