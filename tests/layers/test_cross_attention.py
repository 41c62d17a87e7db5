"""CrossAttention: torch's own attention with the same weights, its weights, impossible sizes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from evermodels.core.errors import ConfigError, ShapeError
from evermodels.layers import CrossAttention


@pytest.mark.parametrize("key_bias", [True, False])
def test_equals_torch(key_bias):
    ours = CrossAttention(12, 3, 8, key_bias=key_bias).double()
    theirs = nn.MultiheadAttention(12, 3, kdim=8, vdim=8, batch_first=True).double()
    with torch.no_grad():
        for p in ours.parameters():
            p.normal_(std=0.5)
        theirs.q_proj_weight.copy_(ours.q.weight)
        theirs.k_proj_weight.copy_(ours.kv.weight[:12])
        theirs.v_proj_weight.copy_(ours.kv.weight[12:])
        keys = ours.kv.bias[:12] if key_bias else torch.zeros(12)
        values = ours.kv.bias[12:] if key_bias else ours.v_bias
        theirs.in_proj_bias.copy_(torch.cat([ours.q.bias if key_bias else ours.q_bias, keys, values]))
        theirs.out_proj.load_state_dict(ours.proj.state_dict())
        x, context = torch.randn(2, 5, 12).double(), torch.randn(2, 7, 8).double()
        wanted, weights = theirs(x, context, context, average_attn_weights=False)
        torch.testing.assert_close(ours(x, context), wanted)
        torch.testing.assert_close(ours.attention_weights(x, context), weights)


def test_what_does_not_fit():
    with pytest.raises(ConfigError, match="num_heads"):
        CrossAttention(10, 3)
    with pytest.raises(ShapeError, match=r"context: .* with dim=8"):
        CrossAttention(12, 3, 8)(torch.zeros(2, 5, 12), torch.zeros(2, 7, 12))
