"""AST: the paper's way step by step, and the input spec that its public weights expect."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from evermodels.backbones import AST, ASTConfig
from evermodels.core.errors import ConfigError, ShapeError
from evermodels.signals.audio.reader import Reader
from evermodels.signals.audio.recording import Audio

SMALL = ASTConfig(num_frames=40, num_mels=26, patch_size=8, stride=(6, 5), embed_dim=12, depth=2, num_heads=3)


def test_each_patch_and_token_by_hand():
    torch.manual_seed(0)
    model = AST(SMALL.replace(num_classes=4)).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.normal_(std=0.3)
        x = torch.randn(2, 40, 26)
        tokens = [model.cls_token.expand(2, -1, -1), model.dist_token.expand(2, -1, -1)]
        weight, bias = model.patch_embed.proj.weight, model.patch_embed.proj.bias
        for mel in range(0, 26 - 8 + 1, 6):  # mel bands outside, frames inside
            for frame in range(0, 40 - 8 + 1, 5):
                patch = x[:, frame : frame + 8, mel : mel + 8]
                tokens.append((torch.einsum("bfm,dmf->bd", patch, weight[:, 0]) + bias)[:, None])
        y = torch.cat(tokens, dim=1) + model.pos_embed
        for block in model.blocks:
            y = block(y)
        y = model.norm(y)
        pooled = F.layer_norm((y[:, 0] + y[:, 1]) / 2, (12,), model.head.norm.weight, model.head.norm.bias)
        torch.testing.assert_close(model.forward_features(x), y, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(model(x), model.head.fc(pooled), rtol=1e-4, atol=1e-5)
    assert SMALL.grid == (4, 7)


def test_checkpointed_blocks_give_the_same_gradients():
    model = AST(SMALL).train()
    x, found = torch.randn(2, 40, 26), []
    for enable in (False, True):
        model.set_grad_checkpointing(enable)
        model.zero_grad()
        model(x).square().sum().backward()
        found.append([p.grad.clone() for p in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_the_input_spec_makes_what_the_public_weights_expect():
    """transformers' own feature extractor, its numpy path, on the window that the spec asks for."""
    transformers = pytest.importorskip("transformers")
    spec = ASTConfig().input_spec
    assert spec.shape("audio") == (1024, 128)
    rng = np.random.default_rng(0)
    wave = (0.1 * rng.standard_normal(round(spec.window_seconds * 16000))).astype(np.float32)
    extractor = transformers.ASTFeatureExtractor()
    want = extractor(wave, sampling_rate=16000, return_tensors="np").input_values[0]
    reader = Reader(spec.audio, spec.window_seconds)
    (window,) = reader.windows(reader.prepare(Audio(wave, sfreq=16000)), [0.0], spec.window_seconds)
    np.testing.assert_allclose(window.tensor.numpy(), want, atol=1e-3, rtol=0)
    assert np.abs(want).mean() > 0.1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_mels": 7}, r"num_mels: expected at least patch_size \(8\), got 7"),
        ({"embed_dim": 13}, r"embed_dim: expected a multiple of num_heads \(3\), got 13"),
        ({"stride": [0, 5]}, "stride: expected two numbers of at least 1"),
        ({"num_frames": 10**7}, "num_frames: expected a spectrogram of at most 262,144 tokens"),
        ({"std": 0.0}, "std: expected a positive number"),
        ({"depth": 10**6}, "depth: expected at most 1000 blocks"),
        ({"drop_path_rate": 1.0}, r"drop_path_rate: expected a number in \[0, 1\)"),
    ],
)
def test_what_cannot_be_is_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        SMALL.replace(**change)


def test_a_padded_clip_answers_as_one_of_its_own_length():
    """Sound that ends with a patch; positions are those of the beginning."""
    torch.manual_seed(0)
    long, short = AST(SMALL.replace(num_classes=4)).eval(), AST(SMALL.replace(num_classes=4, num_frames=23)).eval()
    state = long.state_dict()
    places = state["pos_embed"][:, 2:].unflatten(1, SMALL.grid)[:, :, : short.config.grid[1]].flatten(1, 2)
    short.load_state_dict({**state, "pos_embed": torch.cat([state["pos_embed"][:, :2], places], dim=1)})
    x, mask = torch.randn(3, 40, 26), torch.ones(3, 40, dtype=torch.bool)
    x[0, 23:], mask[0, 23:], mask[2] = 9.0, False, False
    found = long.forward_valid(x, mask)
    # The patch from frame 20 on reaches over the border; without it none does.
    mask[0, 20:] = False
    inside = long.forward_valid(x, mask)
    torch.testing.assert_close(inside[:1], short(x[:1, :23]), rtol=1e-4, atol=1e-5)
    assert (found[0] - inside[0]).abs().max() > 1e-3
    torch.testing.assert_close(found[1:], long(x[1:]), rtol=1e-4, atol=1e-5)  # all valid, and none: read whole
    with pytest.raises(ShapeError, match="mask: expected"):
        long.forward_valid(x, mask[:, :5])
