"""The simple baselines: their features are the layers', and what does not fit is refused."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from sklearn.base import clone

from evermodels.core.errors import ConfigError, ShapeError, UnknownNameError
from evermodels.layers import DifferentialEntropy
from evermodels.training.estimators import BANDS, ESTIMATORS, eeg_windows, make_estimator


def drawn(n: int = 40):
    """Two states of four people: in the second there is more of 20 Hz, and two channels go together."""
    g = np.random.default_rng(0)
    y = np.arange(n) % 2
    X = 20 * g.normal(size=(n, 4, 500))
    beat = 60 * np.sin(np.arange(500) / 100 * 2 * np.pi * 20 + g.uniform(0, 6, size=(n, 1)))
    X[:, :2] += (y[:, None] * beat)[:, None]
    return X, y


@pytest.mark.parametrize("name", ESTIMATORS)
def test_it_learns_and_is_an_ordinary_estimator(name):
    if name == "tangent_space_lr":
        pytest.importorskip("pyriemann", reason="an optional package, for this baseline alone")
    X, y = drawn()
    model = make_estimator(name, 100.0)
    assert model.fit(X[:20], y[:20]).score(X[20:], y[20:]) > 0.9
    again = clone(model).fit(torch.as_tensor(X[:20]), y[:20])
    assert np.array_equal(again.predict(X), model.predict(X))
    with pytest.raises(ShapeError, match="windows, channels, time"):
        model.predict(X[0])
    with pytest.raises(ShapeError, match="NaN"):
        model.predict(np.where(np.arange(500) == 3, np.nan, X))


def test_the_features_are_the_layer_s():
    X, _ = drawn(4)
    got = make_estimator("svm_de", 100.0)[0].transform(X)
    want = DifferentialEntropy(100.0, BANDS, 1.0).double()(torch.as_tensor(X)).mean(1)
    np.testing.assert_allclose(got, want.flatten(1).numpy(), rtol=1e-6)


def test_what_does_not_fit_is_refused(monkeypatch):
    for arguments, error, message in (
        (("svm_ed", 100.0), UnknownNameError, "Did you mean 'svm_de'"),
        (("svm_de", 0.0), ConfigError, "sfreq"),
    ):
        with pytest.raises(error, match=message):
            make_estimator(*arguments)
    with pytest.raises(ConfigError, match="C: expected a positive"):
        make_estimator("svm_de", 100.0, C=-1)
    with pytest.raises(ConfigError, match="bands"):
        make_estimator("svm_de", 60.0)  # 45 Hz lies above half of it
    monkeypatch.setitem(sys.modules, "pyriemann.estimation", None)
    with pytest.raises(ConfigError, match="pyriemann is not installed"):
        make_estimator("tangent_space_lr", 100.0)
    with pytest.raises(ShapeError, match="at least one"):
        eeg_windows([])
    with pytest.raises(ShapeError, match="'eeg' and 'label'"):
        eeg_windows([{"video": 1}])
    with pytest.raises(ShapeError, match="one shape"):
        eeg_windows([{"eeg": torch.zeros(2, 5), "label": 0}, {"eeg": torch.zeros(2, 6), "label": 0}])
    assert eeg_windows([{"eeg": torch.zeros(2, 5), "label": 0}]).groups is None
