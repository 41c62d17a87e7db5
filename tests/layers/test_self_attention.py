from __future__ import annotations

import pytest
import torch
from timm.layers import Attention
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from evermodels.core.errors import ConfigError
from evermodels.layers import SelfAttention
from evermodels.layers.self_attention import split_heads


def test_equals_timm_s_with_its_own_state_dict() -> None:
    theirs = Attention(24, 3, qkv_bias=True).eval()
    ours = SelfAttention(24, 3).eval()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 7, 24)
    torch.testing.assert_close(ours(x), theirs(x))


def test_a_bias_of_the_keys_changes_nothing() -> None:
    without, having = SelfAttention(24, 3, key_bias=False).eval(), SelfAttention(24, 3).eval()
    q_bias, k_bias, v_bias = torch.randn(3, 24)
    state = {**without.state_dict(), "q_bias": q_bias, "v_bias": v_bias}
    without.load_state_dict(state)
    shared = {name: tensor for name, tensor in state.items() if name not in ("q_bias", "v_bias")}
    having.load_state_dict({**shared, "qkv.bias": torch.cat([q_bias, k_bias, v_bias])})
    x = torch.randn(2, 7, 24)
    torch.testing.assert_close(without(x), having(x), atol=1e-5, rtol=1e-4)


def test_dropout_of_the_weights_in_training_only() -> None:
    layer = SelfAttention(24, 3, attn_drop=0.5)
    x = torch.randn(2, 7, 24)
    assert not torch.equal(layer(x), layer(x))
    layer.eval()
    assert torch.equal(layer(x), layer(x))


@pytest.mark.parametrize("heads", [0, 5])
def test_heads_that_do_not_divide(heads: int) -> None:
    with pytest.raises(ConfigError, match=rf"num_heads: expected a divisor of dim \(24\), got {heads}"):
        SelfAttention(24, heads)


def test_masked_tokens_are_not_attended_to() -> None:
    layer, x = SelfAttention(24, 3).eval(), torch.randn(2, 7, 24)
    mask = torch.tensor([[True] * 4 + [False] * 3, [True] * 7])
    torch.testing.assert_close(layer(x, mask)[:1, :4], layer(x[:1, :4]))
    torch.testing.assert_close(layer(x, mask)[1:], layer(x[1:]))
    weights = layer.attention_weights(x, mask)
    assert not weights[0, :, :, 4:].any()
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(2, 3, 7))


class Clones(TorchDispatchMode):
    """Counts the copies of whole tensors."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten.clone.default
        return func(*args, **(kwargs or {}))


def test_gradients_of_the_parts_are_put_together_in_one_copy() -> None:
    """A second copy, into the order that the projection wants, made training of short sequences 7 % slower."""
    joined = torch.randn(2, 5, 24)
    q, k, v = split_heads(joined, 3, 2)
    assert q.shape == (2, 2, 5, 4) and torch.equal(k[:, 1], joined[..., 12:16])
    assert torch.equal(v[:, 0], joined[..., 16:20])
    leaf = joined.requires_grad_()
    out = F.scaled_dot_product_attention(*split_heads(leaf * 1, 3, 2)).square().sum()
    with Clones() as seen:
        out.backward()
    assert seen.count == 0
