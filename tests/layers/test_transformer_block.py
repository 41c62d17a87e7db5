from __future__ import annotations

import functools

import pytest
import torch
from timm.models.vision_transformer import Block
from torch.nn import functional as F

from evermodels.core.errors import ConfigError
from evermodels.layers import TransformerBlock


def test_equals_timm_s_with_its_own_state_dict() -> None:
    theirs = Block(24, 3, qkv_bias=True, norm_layer=functools.partial(torch.nn.LayerNorm, eps=1e-6)).eval()
    ours = TransformerBlock(24, 3).eval()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 7, 24)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-5)


def test_layer_scale_scales_each_summand() -> None:
    ours = TransformerBlock(24, 3, init_values=0.5, drop=0.3, drop_path=0.3).eval()
    x = torch.randn(2, 7, 24)
    y = x + 0.5 * ours.attn(ours.norm1(x))
    torch.testing.assert_close(ours(x), y + 0.5 * ours.mlp(ours.norm2(y)), rtol=1e-4, atol=1e-5)


def test_the_approximated_activation():
    ours, plain = TransformerBlock(24, 3, activation="gelu_tanh").eval(), TransformerBlock(24, 3).eval()
    plain.load_state_dict(ours.state_dict())
    x = torch.randn(2, 7, 24)
    hidden = ours.mlp.fc1(ours.norm2(x))
    torch.testing.assert_close(ours.mlp(ours.norm2(x)), ours.mlp.fc2(F.gelu(hidden, approximate="tanh")))
    assert 0 < (ours(x) - plain(x)).abs().max() < 1e-2
    with pytest.raises(ConfigError, match="activation: expected one of gelu, gelu_tanh, got 'relu'"):
        TransformerBlock(24, 3, activation="relu")
