import pytest
import torch
from torch.nn import functional as F

from evermodels.backbones import BandConformer, BandConformerConfig
from evermodels.core.errors import ConfigError

SMALL = {"num_windows": 6, "num_bands": 2, "num_chans": 3, "embed_dim": 4, "depth": 1, "drop_rate": 0.0}


@pytest.fixture
def model():
    torch.manual_seed(1)
    found = BandConformer(BandConformerConfig(**SMALL)).double()
    for p in found.parameters():
        torch.nn.init.normal_(p)
    return found.eval()


def norm(layer, x):
    return (x - x.mean()) / torch.sqrt(x.var(correction=0) + layer.eps) * layer.weight + layer.bias


def linear(layer, x):
    return layer.weight @ x + layer.bias


def slow(block, steps):
    """Gulati et al., section 2, without self-attention, one step after the other."""

    def feed(module, x):
        h = linear(module[1], norm(module[0], x))
        return linear(module[4], h * torch.sigmoid(h))

    steps = [x + 0.5 * feed(block.before, x) for x in steps]
    conv, gated = block.conv, []
    for x in steps:
        h = linear(conv.gate, norm(conv.norm, x))
        gated.append(h[:4] * torch.sigmoid(h[4:]))
    zero, out = torch.zeros_like(gated[0]), []
    for t, x in enumerate(steps):
        near = [gated[t + k] if 0 <= t + k < len(gated) else zero for k in (-1, 0, 1)]
        h = sum(conv.depthwise.weight[:, 0, k] * v for k, v in enumerate(near)) + conv.depthwise.bias
        y = x + linear(conv.proj, F.silu(norm(conv.inner_norm, h)))
        out.append(norm(block.norm, y + 0.5 * feed(block.after, y)))
    return out


def test_slow_loop_over_steps(model):
    x = torch.randn(2, 6, 2, 3, dtype=torch.float64)
    with torch.no_grad():
        found = model.forward_features(x)
        for sample, got in zip(x, found, strict=True):
            steps = [linear(model.embed, window.flatten()) for window in sample]
            torch.testing.assert_close(got, torch.stack(slow(model.blocks[0], steps)), rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(model(x), found.mean(1))


def test_a_step_sees_its_neighbours_only(model):
    x = torch.randn(1, 6, 2, 3, dtype=torch.float64, requires_grad=True)
    model.forward_features(x)[0, 2, 0].backward()
    assert (x.grad[0].abs().sum((1, 2)) > 0).tolist() == [False, True, True, True, False, False]


def test_a_batch_changes_no_sample_in_training(model):
    x = torch.randn(3, 6, 2, 3, dtype=torch.float64)
    torch.testing.assert_close(model.train()(x)[:1], model(x[:1]))


def test_what_cannot_be_is_refused():
    for values in ({"kernel_size": 2}, {"embed_dim": 0}, {"mlp_ratio": 0.0}, {"drop_rate": 1.0}, {"depth": 0}):
        with pytest.raises(ConfigError, match=next(iter(values))):
            BandConformerConfig(**{**SMALL, **values})
