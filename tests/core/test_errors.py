"""Errors: one family, and messages that name the thing and the way out."""

import pytest
import torch

from evermodels.core import errors
from evermodels.core.errors import MissingExtraError, ShapeError, check_axes, did_you_mean, require


@pytest.mark.parametrize(
    ("name", "builtin"),
    [
        ("ShapeError", ValueError),
        ("ConfigError", ValueError),
        ("UnknownNameError", LookupError),
        ("SignalError", ValueError),
        ("DataError", ValueError),
        ("CheckpointError", RuntimeError),
        ("ChecksumError", errors.CheckpointError),
        ("MissingExtraError", ImportError),
    ],
)
def test_family(name, builtin):
    assert issubclass(getattr(errors, name), (errors.EvermodelsError, builtin))
    assert issubclass(getattr(errors, name), builtin)


@pytest.mark.parametrize(
    ("name", "allowed", "text"),
    [
        ("dpeth", ["depth", "dim"], " Did you mean 'depth'?"),
        ("zzz", ["depth", "dim"], ""),
        ("alpha1", ["alpha2", "alpha3"], " Did you mean 'alpha3' or 'alpha2'?"),
        (3, ["x"], ""),
        ("x", [], ""),
    ],
)
def test_did_you_mean(name, allowed, text):
    assert did_you_mean(name, allowed) == text


def test_require():
    assert require("math", extra="eeg", purpose="count").sqrt(9) == 3
    with pytest.raises(MissingExtraError, match=r"no_such_thing is needed to count.*pip install 'evermodels\[eeg\]'"):
        require("no_such_thing", extra="eeg", purpose="count")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.zeros(3, 4), r"eeg: expected \(batch, channels, time\), got 2 axes of shape \(3, 4\). Add .*unsqueeze"),
        (torch.zeros(3), r"got 1 axes of shape \(3,\). Reshape"),
        (torch.zeros(1, 2, 3, 4), r"got 4 axes of shape \(1, 2, 3, 4\). Reshape"),
        (torch.zeros(2, 4, 5), r"with channels=3, got channels=4 \(shape \(2, 4, 5\)\). Give 3 along 'channels'"),
        (torch.zeros(2, 3, 0), r"axis 'time' of \(batch, channels, time\) is empty"),
        (torch.zeros(0, 3, 5), r"axis 'batch' .* is empty"),
        ([1.0], r"eeg: expected a torch.Tensor, got list. Convert"),
        (None, r"got NoneType"),
    ],
)
def test_check_axes(value, message):
    with pytest.raises(ShapeError, match=message):
        check_axes("eeg", value, "batch channels time", channels=3)


def test_check_axes_accepts():
    check_axes("eeg", torch.zeros(2, 3, 5), "batch channels time", channels=3, time=5)
    with torch.device("meta"):
        check_axes("eeg", torch.zeros(2, 3, 5), "batch channels time", channels=3)


def test_check_axes_under_compile():
    def double(x):
        check_axes("x", x, "batch time", time=3)
        return x * 2

    compiled = torch.compile(double, backend="eager", fullgraph=True)
    assert torch.equal(compiled(torch.ones(2, 3)), torch.full((2, 3), 2.0))
