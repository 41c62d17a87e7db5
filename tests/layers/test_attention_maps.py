from __future__ import annotations

import pytest
import torch
from torch import nn

from evermodels.core.errors import ConfigError
from evermodels.layers import SelfAttention, TransformerBlock, attention_maps


@pytest.mark.parametrize("key_bias", [True, False])
def test_the_weights_are_those_that_mix_the_values(key_bias: bool) -> None:
    layer = SelfAttention(24, 3, key_bias=key_bias).eval()
    for p in layer.parameters():
        nn.init.normal_(p, std=0.4)
    x = torch.randn(2, 7, 24)
    weights = attention_maps(layer, x)[""]
    assert weights.shape == (2, 3, 7, 7)
    values = layer._qkv(x)[2]
    mixed = torch.einsum("bhij,bhjd->bihd", weights, values).flatten(2)
    torch.testing.assert_close(layer.proj(mixed), layer(x), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 3, 7))


def test_by_name_in_order_and_nothing_stays_behind() -> None:
    model = nn.Sequential(TransformerBlock(24, 3), nn.Identity(), TransformerBlock(24, 2)).eval()
    x = torch.randn(1, 5, 24)
    maps = attention_maps(model, x)
    assert {name: tuple(w.shape) for name, w in maps.items()} == {"0.attn": (1, 3, 5, 5), "2.attn": (1, 2, 5, 5)}
    second = model[2].attn.attention_weights(model[2].norm1(model[0](x)))
    torch.testing.assert_close(maps["2.attn"], second)
    assert not any(layer._forward_hooks for layer in model.modules())
    with pytest.raises(RuntimeError):
        attention_maps(model, torch.randn(1, 5, 8))
    assert not any(layer._forward_hooks for layer in model.modules())


def test_a_model_without_attention_is_refused() -> None:
    with pytest.raises(ConfigError, match="Linear has no layer"):
        attention_maps(nn.Linear(3, 3), torch.zeros(1, 3))
