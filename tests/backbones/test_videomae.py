from __future__ import annotations

import math

import pytest
import torch

from evermodels.backbones import VideoMAE, VideoMAEConfig
from evermodels.core.errors import ConfigError, ShapeError
from evermodels.functional.positions import sinusoid_table

TINY = VideoMAEConfig(num_frames=4, img_size=(16, 24), patch_size=8, embed_dim=16, depth=2, num_heads=2, num_classes=3)


def build_golden(golden, name: str, dim: int, heads: int):
    data = golden(name)
    config = VideoMAEConfig(
        num_frames=8, img_size=(16, 16), patch_size=8, embed_dim=dim, depth=2, num_heads=heads, num_classes=5
    )
    model = VideoMAE(config)
    model.load_state_dict(data["weights"], strict=True)
    return model, data


def relative(got: torch.Tensor, want: torch.Tensor) -> float:
    return ((got - want).abs().max() / want.abs().max()).item()


def clip(config: VideoMAEConfig, batch: int = 2, **kwargs) -> torch.Tensor:
    return torch.randn(batch, config.num_frames, config.in_chans, *config.img_size, **kwargs)


@pytest.mark.parametrize(("name", "dim", "heads"), [("videomae_a", 24, 3), ("adamae_finetune_a", 16, 4)])
class TestGolden:
    def test_float32_stages(self, golden, name, dim, heads):
        model, data = build_golden(golden, name, dim, heads)
        model.eval()
        got = {}
        model.patch_embed.register_forward_hook(lambda m, i, o: got.__setitem__("patch_tokens", o))
        for k, block in enumerate(model.blocks):
            block.register_forward_hook(lambda m, i, o, k=k: got.__setitem__(f"block{k}", o))
        x = data["input"]["x"].transpose(1, 2)
        got["logits"] = model(x)
        got["pooled"] = model.forward_head(model.forward_features(x), pre_logits=True)
        for key, value in got.items():
            assert relative(value, data["output"][key]) < 1e-5, key

    def test_float64(self, golden, name, dim, heads):
        model, data = build_golden(golden, name, dim, heads)
        logits = model.double().eval()(data["input"]["x"].transpose(1, 2).double())
        assert relative(logits, data["output64"]["logits"]) < 1e-10

    def test_gradients(self, golden, name, dim, heads):
        model, data = build_golden(golden, name, dim, heads)
        x = data["input"]["x"].clone().requires_grad_()
        (model.train()(x.transpose(1, 2)) * data["input"]["cotangent"]).sum().backward()
        parameters = dict(model.named_parameters())
        for key, want in data["grad"].items():
            got = x.grad if key == "input/x" else parameters[key].grad
            assert relative(got, want) < 1e-4, key


def test_position_table(golden):
    want = golden("videomae_a")["output"]["position_table"]
    torch.testing.assert_close(sinusoid_table(16, 24), want, rtol=0, atol=1e-7)
    assert sinusoid_table(7, 6)[0, 5, 3].item() == pytest.approx(math.cos(5 / 10000 ** (2 / 6)), abs=1e-7)


def test_tubelets_by_hand():
    model = VideoMAE(TINY).double()
    x = clip(TINY, dtype=torch.float64)
    tokens = model.patch_embed(x)
    weight, bias = model.patch_embed.proj.weight, model.patch_embed.proj.bias
    for index, (t, row, column) in enumerate((t, r, c) for t in range(2) for r in range(2) for c in range(3)):
        block = x[0, 2 * t : 2 * t + 2, :, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
        want = torch.einsum("dckij,kcij->d", weight, block) + bias
        torch.testing.assert_close(tokens[0, index], want, rtol=1e-10, atol=1e-12)


COUNTS = {
    "videomae_nano": 594_720,
    "videomae_tiny": 5_631_552,
    "videomae_small": 21_879_936,
    "videomae_base": 86_227_200,
    "adamae_base": 86_227_200,
}


@pytest.mark.parametrize("name", VideoMAE.presets)
def test_counts(name):
    with torch.device("meta"):
        model = VideoMAE.from_preset(name)
    c = model.config
    # Weights 12 D² and vectors 12 D a block (no key bias), tubelet projection with bias, one layer norm.
    by_hand = c.depth * (12 * c.embed_dim**2 + 12 * c.embed_dim) + (2 * 3 * 16 * 16 + 1 + 2) * c.embed_dim
    assert sum(p.numel() for p in model.parameters()) == by_hand == COUNTS[name]


def test_count_of_the_paper():
    with torch.device("meta"):
        model = VideoMAE.from_preset("adamae_base", num_classes=5)
    assert sum(p.numel() for p in model.parameters()) == 86_231_045
    # A block of ViT-B without key bias, from which the paper's 9 layers were inferred.
    assert sum(p.numel() for p in model.blocks[0].parameters()) == 7_087_104


def test_meta_then_buffers():
    with torch.device("meta"):
        model = VideoMAE(TINY)
    assert model.pos_embed.is_meta
    assert "pos_embed" not in model.state_dict()
    source = VideoMAE(TINY).eval()
    model.load_state_dict(source.state_dict(), assign=True)
    model.reset_buffers()
    assert not any(t.is_meta for t in (*model.parameters(), *model.buffers()))
    x = clip(TINY)
    torch.testing.assert_close(model.eval()(x), source(x), rtol=0, atol=0)


def test_round_trip_and_classifier():
    config = TINY.replace(init_values=0.1, qkv_bias=False)
    a, b = VideoMAE(config).eval(), VideoMAE(VideoMAEConfig.from_dict(config.to_dict())).eval()
    assert "blocks.0.gamma_1" in a.state_dict()
    assert "blocks.0.attn.q_bias" not in a.state_dict()
    b.load_state_dict(a.state_dict())
    x = clip(config)
    torch.testing.assert_close(a(x), b(x), rtol=0, atol=0)
    embedding = a.forward_head(a.forward_features(x), pre_logits=True)
    a.reset_classifier(7)
    assert a(x).shape == (2, 7)
    assert a.config.num_classes == 7
    a.reset_classifier(0)
    torch.testing.assert_close(a(x), embedding, rtol=0, atol=0)
    with pytest.raises(ConfigError, match="num_classes"):
        a.reset_classifier(-1)


def test_batch_split():
    model = VideoMAE(TINY).eval()
    x = clip(TINY, batch=5)
    torch.testing.assert_close(torch.cat([model(x[:2]), model(x[2:])]), model(x), rtol=1e-5, atol=1e-6)


def test_compile_equality():
    model = VideoMAE(TINY).eval()
    x = clip(TINY)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), model(x), rtol=1e-5, atol=1e-6)


def test_checkpointing_gives_the_same_gradients():
    model = VideoMAE(TINY).train()
    x = clip(TINY)
    model(x).square().sum().backward()
    plain = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    model.set_grad_checkpointing()
    model(x).square().sum().backward()
    for p, want in zip(model.parameters(), plain, strict=True):
        torch.testing.assert_close(p.grad, want)


def test_regularisers_act_in_training_only():
    config = TINY.replace(drop_path_rate=0.5, drop_rate=0.3, attn_drop_rate=0.3, head_drop_rate=0.3)
    model, plain = VideoMAE(config), VideoMAE(TINY)
    plain.load_state_dict(model.state_dict())
    x = clip(config)
    torch.testing.assert_close(model.eval()(x), plain.eval()(x), rtol=0, atol=0)
    model.train()
    assert not torch.equal(model(x), model(x))


def test_gradcheck():
    config = VideoMAEConfig(
        num_frames=2, img_size=(2, 4), patch_size=2, embed_dim=4, depth=1, num_heads=2, num_classes=2
    )
    model = VideoMAE(config).double()
    x = clip(config, batch=1, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(model, (x,))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 3, 4, 16, 24), "channels before frames"),
        ((4, 3, 16, 24), "got 4 axes"),
        ((2, 6, 3, 16, 24), "frames=4, got frames=6"),
        ((2, 4, 1, 16, 24), "channels=3, got channels=1"),
        ((2, 4, 3, 24, 16), "height=16, got height=24"),
        ((2, 4, 3, 16, 16), "width=24, got width=16"),
        ((0, 4, 3, 16, 24), "'batch' .* is empty"),
    ],
)
def test_wrong_shapes(shape, message):
    with pytest.raises(ShapeError, match=message):
        VideoMAE(TINY)(torch.zeros(shape))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_frames": 5}, "num_frames.*multiple of tubelet_size"),
        ({"img_size": (15, 24)}, "img_size.*multiples of patch_size"),
        ({"embed_dim": 15}, "embed_dim.*multiple of num_heads"),
        ({"drop_path_rate": 1.0}, "drop_path_rate"),
        ({"num_classes": -1}, "num_classes"),
        ({"depth": 0}, "depth.*at least 1"),
        ({"img_size": 64}, "img_size"),
        ({"embed_dmi": 64}, "Did you mean 'embed_dim'"),
    ],
)
def test_impossible_configs(changes, message):
    with pytest.raises(ConfigError, match=message):
        TINY.replace(**changes)


def test_sizes_of_any_kind():
    config = TINY.replace(num_frames=6, tubelet_size=3, img_size=(8, 40))
    model = VideoMAE(config)
    assert model.forward_features(clip(config)).shape == (2, 2 * 1 * 5, 16)
    assert model.input_spec.video.num_frames == 6
    assert model.input_spec.video.size == (8, 40)
