import math

import pytest
import torch

from evermodels.core.errors import ConfigError, ShapeError
from evermodels.layers import ResidualTCN


def slow(tcn, x):
    """Eq. 1 step by step, in eval mode."""
    for block, dilation in zip(tcn.blocks, (1, 2, 4, 8), strict=True):
        weight, bias, norm = block.conv.weight, block.conv.bias, block.norm
        rows = []
        for t in range(len(x)):
            total = bias.clone()
            for i in range(3):
                if t - dilation * i >= 0:
                    total += weight[:, :, 2 - i] @ x[t - dilation * i]
            total = (total - norm.running_mean) / torch.sqrt(norm.running_var + norm.eps) * norm.weight + norm.bias
            elu = [v if v > 0 else math.exp(v) - 1 for v in total.tolist()]
            total = torch.tensor(elu, dtype=torch.float64)
            skip = x[t] if x.shape[1] == len(total) else block.skip.weight[:, :, 0] @ x[t] + block.skip.bias
            rows.append(total + skip)
        x = torch.stack(rows)
    return x


@pytest.fixture
def tcn():
    layer = ResidualTCN(3, 4).double()
    for block in layer.blocks:
        block.norm.running_mean.normal_()
        block.norm.running_var.uniform_(0.5, 2.0)
        torch.nn.init.normal_(block.norm.weight)
        torch.nn.init.normal_(block.norm.bias)
    return layer.eval()


def test_slow_loop_over_steps(tcn):
    x = torch.randn(2, 20, 3, dtype=torch.float64)
    with torch.no_grad():
        want = torch.stack([slow(tcn, one) for one in x])
        torch.testing.assert_close(tcn(x), want, rtol=1e-10, atol=1e-10)


def test_it_is_causal_and_sees_31_steps(tcn):
    x = torch.randn(1, 40, 3, dtype=torch.float64, requires_grad=True)
    tcn(x)[0, 35].sum().backward()
    seen = x.grad[0].abs().sum(1) > 0
    assert seen.nonzero().flatten().tolist() == list(range(5, 36))


def test_masked_steps_reach_nothing(tcn):
    x, mask = torch.randn(3, 9, 3, dtype=torch.float64), torch.rand(3, 9) > 0.4
    other = torch.where(mask[..., None], x, float("nan"))
    for training in (False, True):
        torch.manual_seed(1)
        want = tcn.train(training)(x, mask)
        torch.manual_seed(1)
        assert torch.equal(tcn(other, mask), want)
        assert not want[~mask].any() and torch.isfinite(want).all()


def test_a_mask_at_the_end_is_a_shorter_sequence(tcn):
    x, mask = torch.randn(2, 9, 3, dtype=torch.float64), torch.arange(9).expand(2, -1) < 6
    torch.testing.assert_close(tcn(x, mask)[:, :6], tcn(x[:, :6]))


def test_statistics_are_those_of_the_valid_steps():
    x, mask = torch.randn(4, 6, 3).double(), torch.rand(4, 6) > 0.3
    ours = ResidualTCN(3, 5, dilations=(1,), kernel_size=1, dropout=0.0).double()
    theirs = torch.nn.BatchNorm1d(5).double()
    y = ours.blocks[0].conv(x.transpose(1, 2)).transpose(1, 2)
    want = torch.nn.functional.elu(theirs(y[mask])) + ours.blocks[0].skip(x.transpose(1, 2)).transpose(1, 2)[mask]
    torch.testing.assert_close(ours(x, mask)[mask], want)
    torch.testing.assert_close(ours.blocks[0].norm.running_mean, theirs.running_mean)
    torch.testing.assert_close(ours.blocks[0].norm.running_var, theirs.running_var)
    before = ours.blocks[0].norm.running_mean.clone(), ours.blocks[0].norm.running_var.clone()
    assert not ours(x, torch.zeros_like(mask)).any()
    assert torch.equal(before[0], ours.blocks[0].norm.running_mean)
    assert torch.equal(before[1], ours.blocks[0].norm.running_var)
    assert torch.isfinite(ours(x[:1, :1])).all()


def test_gradients_in_training():
    layer = ResidualTCN(2, 3, dilations=(1, 2), dropout=0.0).double()
    mask = torch.tensor([[1, 1, 0, 1], [1, 1, 1, 1]]).bool()
    x = torch.randn(2, 4, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: layer(v, mask), x)


def test_what_does_not_fit_is_refused():
    layer = ResidualTCN(3, 4)
    with pytest.raises(ShapeError, match="features=3"):
        layer(torch.zeros(2, 5, 4))
    with pytest.raises(ShapeError, match="mask"):
        layer(torch.zeros(2, 5, 3), torch.ones(2, 4, dtype=torch.bool))
    with pytest.raises(ConfigError, match="mask: expected bool"):
        layer(torch.zeros(2, 5, 3), torch.ones(2, 5))
    for values in ({"dim": 0}, {"dilations": ()}, {"dilations": (0,)}, {"kernel_size": 0}, {"dropout": 1.0}):
        with pytest.raises(ConfigError, match=next(iter(values))):
            ResidualTCN(**{"in_features": 3, "dim": 4, **values})
