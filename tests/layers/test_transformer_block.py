from __future__ import annotations

import functools

import torch
from timm.models.vision_transformer import Block

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
