"""The encoder of eye movement against Mood Reader's equations in plain loops."""

import pytest
import torch

import evermodels as em
from evermodels.backbones import EyeTransformer, EyeTransformerConfig
from evermodels.core.errors import ConfigError
from tests.layers.test_interlinked_attention import block, linear


@pytest.mark.parametrize("patch", [1, 3])
def test_equals_the_loop(patch):
    config = EyeTransformerConfig(num_windows=6, num_features=2, patch_size=patch, embed_dim=4, num_heads=2)
    model = EyeTransformer(config).double().eval()
    g = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.6 * torch.randn(parameter.shape, generator=g, dtype=torch.float64))
    x = torch.randn(1, 6, 2, generator=g, dtype=torch.float64)
    rows = [[v for row in x[0, k : k + patch].tolist() for v in row] for k in range(0, 6, patch)]
    tokens = [
        [a + b for a, b in zip(linear(row, model.patch_embed), place, strict=True)]
        for row, place in zip(rows, model.pos_embed[0].tolist(), strict=True)
    ]
    for layer in model.blocks:
        tokens, _ = block(tokens, layer)
    want = torch.tensor(tokens, dtype=torch.float64)
    torch.testing.assert_close(model.forward_features(x)[0], want, rtol=0, atol=1e-12)
    torch.testing.assert_close(model(x)[0], want.mean(0))


def test_the_order_of_windows_matters():
    model = em.create_model("eye_transformer_tiny", num_classes=2).eval()
    x = torch.randn(1, 4, 33)
    assert not torch.allclose(model(x), model(x.flip(1)), atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patch_size": 3}, "patch_size: expected a divisor of the 4 rows"),
        ({"embed_dim": 30}, r"embed_dim: expected a multiple of num_heads \(4\)"),
        ({"drop_rate": 1.0}, "drop_rate"),
        ({"num_features": 0}, "num_features: expected at least 1"),
        ({"depth": 5000}, "at most 1000"),
    ],
)
def test_impossible_sizes(change, message):
    with pytest.raises(ConfigError, match=message):
        em.create_model("eye_transformer_nano", **change)
