from __future__ import annotations

import json

import pytest
import torch

from evermodels.backbones import TimeSformer, TimeSformerConfig
from evermodels.core.errors import CheckpointError, ConfigError, ShapeError
from evermodels.layers import attention_maps
from tests.backbones.clips import (
    check_checkpointing,
    check_gradients,
    clip,
    converted,
    hugging_face,
    randomised,
    relative,
)

TINY = TimeSformerConfig(
    num_frames=3, img_size=(16, 24), patch_size=8, embed_dim=16, depth=2, num_heads=2, num_classes=3
)
GOLDEN = {"num_frames": 3, "img_size": (16, 16), "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2}
SIZES = {"embed_dim": 16, "depth": 2, "num_heads": 2}


def from_golden(golden, **changes) -> tuple[TimeSformer, dict]:
    data = golden("timesformer_a")
    model = TimeSformer(TimeSformerConfig(**{**GOLDEN, "num_classes": 5, **changes}))
    state = {k: v for k, v in data["weights"].items() if model.config.attention == "divided" or "temporal_" not in k}
    model.load_state_dict(state, strict=True)
    return model.eval(), data


class TestGolden:
    def test_stages(self, golden):
        model, data = from_golden(golden)
        got = {}
        first = model.blocks[0]
        first.register_forward_pre_hook(lambda m, i: got.__setitem__("tokens", i[0]))
        first.temporal_attn.register_forward_hook(lambda m, i, o: got.__setitem__("block0_temporal_attention", o))
        first.attn.register_forward_hook(lambda m, i, o: got.__setitem__("block0_spatial_attention", o))
        for k, block in enumerate(model.blocks):
            block.register_forward_hook(lambda m, i, o, k=k: got.__setitem__(f"block{k}", o))
        x = data["input"]["x"].transpose(1, 2)
        got["logits"] = model(x)
        got["features"] = model.forward_head(model.forward_features(x), pre_logits=True)
        assert got.keys() == data["output"].keys() - {"logits_joint_space_time"}
        for key, value in got.items():
            assert relative(value, data["output"][key]) < 1e-5, key

    @pytest.mark.parametrize(("attention", "name"), [("divided", "logits"), ("joint", "logits_joint_space_time")])
    def test_float64(self, golden, attention, name):
        model, data = from_golden(golden, attention=attention)
        logits = model.double()(data["input"]["x"].transpose(1, 2).double())
        assert relative(logits, data["output64"][name]) < 1e-10

    def test_gradients(self, golden):
        check_gradients(*from_golden(golden))


def test_a_block_by_its_equations():
    """Eq. 5 to 11 place by place and frame by frame, in plain loops."""
    model = randomised(TimeSformer(TINY)).double()
    block, frames, places = model.blocks[0], 3, 6
    x = torch.randn(1, 1 + places * frames, 16, dtype=torch.float64)
    grid = x[0, 1:].view(places, frames, 16).clone()
    for p in range(places):
        grid[p] += block.temporal_fc(block.temporal_attn(block.temporal_norm1(grid[p][None])))[0]
    token, after = x[0, 0].clone(), grid.clone()
    for t in range(frames):
        change = block.attn(block.norm1(torch.cat([x[0, :1], grid[:, t]])[None]))[0]
        token += change[0] / frames
        after[:, t] += change[1:]
    want = torch.cat([token[None], after.flatten(0, 1)])
    want = want + block.mlp(block.norm2(want))
    torch.testing.assert_close(block(x, frames)[0], want, rtol=1e-10, atol=1e-12)


COUNTS = {"timesformer_nano": 711_648, "timesformer_base": 121_258_752, "timesformer_base_long": 121_326_336}


@pytest.mark.parametrize("name", TimeSformer.presets)
def test_counts(name):
    with torch.device("meta"):
        model = TimeSformer.from_preset(name)
    c = model.config
    dim, (frames, rows, columns) = c.embed_dim, c.grid
    # 17 D² of weights and 20 D of vectors a block; patches with bias, tables, class token, last norm.
    by_hand = c.depth * (17 * dim**2 + 20 * dim) + dim * (3 * 16**2 + 1 + 1 + rows * columns + frames + 1 + 2)
    assert sum(p.numel() for p in model.parameters()) == by_hand == COUNTS.get(name, by_hand)


def test_count_of_the_reference():
    with torch.device("meta"):
        model = TimeSformer.from_preset("timesformer_base", num_classes=5)
    # That of transformers' with 8 frames; EVER's Table 2 has 121.108 M.
    assert sum(p.numel() for p in model.parameters()) == 121_262_597


def test_starts_as_an_image_model():
    """With the layer behind the attention over time at zero, equal frames are what one frame is."""
    model = TimeSformer(TINY).eval()
    one = TimeSformer(TINY.replace(num_frames=1)).eval()
    state = model.state_dict()
    one.load_state_dict({**state, "time_embed": state["time_embed"][:, :1]})
    still = clip(TINY)[:, :1].expand(-1, 3, -1, -1, -1)
    torch.testing.assert_close(model(still), one(still[:, :1]), rtol=1e-4, atol=1e-6)
    moving = TimeSformer(TINY.replace(zero_temporal=False)).eval()
    assert bool(moving.blocks[0].temporal_fc.weight.any()) and not bool(model.blocks[0].temporal_fc.weight.any())


def test_the_order_of_frames_is_seen_through_their_positions_alone():
    model = randomised(TimeSformer(TINY), std=0.5)
    x = clip(TINY)
    assert relative(model(x.flip(1)), model(x)) > 1e-3
    with torch.no_grad():
        model.time_embed.zero_()
    torch.testing.assert_close(model(x.flip(1)), model(x), rtol=1e-4, atol=1e-5)


def test_attention_maps():
    model = TimeSformer(TINY).eval()
    maps = attention_maps(model, clip(TINY))
    shapes = {name: tuple(w.shape) for name, w in maps.items() if name.startswith("blocks.1")}
    assert shapes == {"blocks.1.temporal_attn": (2 * 6, 2, 3, 3), "blocks.1.attn": (2 * 3, 2, 7, 7)}


def test_checkpointing_gives_the_same_gradients():
    check_checkpointing(TimeSformer(TINY.replace(zero_temporal=False)), clip(TINY))


def test_regularisers_act_in_training_only():
    config = TINY.replace(drop_path_rate=0.5, drop_rate=0.3, attn_drop_rate=0.3, head_drop_rate=0.3)
    model, plain = TimeSformer(config), TimeSformer(TINY)
    plain.load_state_dict(model.state_dict())
    x = clip(config)
    torch.testing.assert_close(model.eval()(x), plain.eval()(x), rtol=0, atol=0)
    assert not torch.equal(model.train()(x), model(x))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"img_size": (15, 24)}, "img_size.*multiples of patch_size"),
        ({"embed_dim": 15}, "embed_dim.*multiple of num_heads"),
        ({"attention": "space"}, "attention: expected one of 'divided', 'joint'"),
        ({"drop_path_rate": 1.0}, "drop_path_rate"),
        ({"num_classes": -1}, r"TimeSformerConfig\.num_classes"),
        ({"num_frames": 0}, "num_frames.*at least 1"),
        ({"img_size": (80_000, 80_000)}, "at most 262,144 tokens"),
    ],
)
def test_impossible_configs(changes, message):
    with pytest.raises(ConfigError, match=message):
        TINY.replace(**changes)


def test_channels_before_frames_and_grey_clips():
    with pytest.raises(ShapeError, match="channels before frames"):
        TimeSformer(TINY.replace(num_frames=5))(torch.zeros(2, 3, 5, 16, 24))
    grey = TimeSformer(TINY.replace(in_chans=1))
    assert grey(clip(grey.config)).shape == (2, 3) and grey.sample_shape == (3, 1, 16, 24) and grey.input_spec is None


def theirs(**config):
    transformers = hugging_face()
    sizes = {
        "image_size": 16, "patch_size": 8, "num_frames": 3, "hidden_size": 16, "num_hidden_layers": 2,
        "num_attention_heads": 2, "intermediate_size": 64, "num_labels": 5,
    }  # fmt: skip
    return randomised(transformers.TimesformerForVideoClassification(transformers.TimesformerConfig(**sizes | config)))


class TestConvert:
    @pytest.mark.parametrize("kind", ["divided_space_time", "joint_space_time"])
    def test_transformers(self, tmp_path, kind):
        model = theirs(attention_type=kind)
        model.save_pretrained(tmp_path / "theirs")
        attention = kind.partition("_")[0]
        ours, report = converted(
            tmp_path / "theirs", tmp_path / "ours", "timesformer_base", config={**SIZES, "attention": attention}
        )
        x = torch.randn(2, 3, 3, 16, 16)
        with torch.no_grad():
            assert relative(ours(x), model(x).logits) < 1e-5
        assert set(report.taken) == set(ours.state_dict()) and not report.left and not report.fresh

    def test_other_frames_and_pictures_as_transformers_resizes(self, tmp_path):
        model = theirs()
        model.save_pretrained(tmp_path / "theirs")
        other = theirs(num_frames=7, image_size=24)
        state = model.state_dict()
        frames = "timesformer.embeddings.time_embeddings"
        state[frames] = state[frames][:, torch.tensor([0, 0, 0, 1, 1, 2, 2])]
        places = "timesformer.embeddings.position_embeddings"
        # The class token's, then for 3 by 3 places the nearest of 2 by 2.
        state[places] = state[places][:, torch.tensor([0, 1, 1, 2, 1, 1, 2, 3, 3, 4])]
        other.load_state_dict(state)
        asked = {**SIZES, "num_frames": 7, "img_size": [24, 24]}
        ours, report = converted(tmp_path / "theirs", tmp_path / "ours", "timesformer_base", config=asked)
        x = torch.randn(2, 7, 3, 24, 24)
        with torch.no_grad():
            assert relative(ours(x), other(x).logits) < 1e-5
        assert report.taken["time_embed"] == "3 -> 7 frames, nearest neighbour"
        assert report.taken["pos_embed"] == "2 by 2 -> 3 by 3 places, nearest neighbour"

    @pytest.mark.parametrize("container", ["bare", "model_state", "model_state behind model.", "module"])
    def test_the_authors(self, golden, tmp_path, container):
        data = golden("timesformer_a")
        state = data["weights"]
        if "behind" in container:
            state = {f"model.{key}": tensor for key, tensor in state.items()}
        beside = {"epoch": 15, "optimizer_state": {}, "cfg": "TRAIN:\n  ENABLE: true\n"}
        whole = state if container == "bare" else {container.split()[0]: state, **beside}
        torch.save(whole, tmp_path / "TimeSformer_divST_8x32_224_K400.pyth")
        ours, report = converted(
            tmp_path / "TimeSformer_divST_8x32_224_K400.pyth", tmp_path / "ours", "timesformer_base", config=SIZES
        )
        with torch.no_grad():
            assert relative(ours(data["input"]["x"].transpose(1, 2)), data["output"]["logits"]) < 1e-5
        assert set(report.left) == (set() if container == "bare" else set(beside))
        assert (ours.config.num_frames, ours.config.img_size) == (3, (16, 16))

    def test_pictures_that_are_no_squares(self, tmp_path):
        model = TimeSformer(TINY).eval()
        torch.save(model.state_dict(), tmp_path / "w.pth")
        with pytest.raises(ConfigError, match=r"source_size: 6 positions are those of no square"):
            converted(tmp_path / "w.pth", tmp_path / "no", "timesformer_base", config=SIZES)
        with pytest.raises(CheckpointError, match=r"expected 1 \+ 2 · 2 positions"):
            converted(tmp_path / "w.pth", tmp_path / "no", "timesformer_base", config=SIZES, source_size=(16, 16))
        ours, _ = converted(
            tmp_path / "w.pth", tmp_path / "ours", "timesformer_base", config=SIZES, source_size=(16, 24)
        )
        x = clip(TINY)
        torch.testing.assert_close(ours(x), model(x), rtol=0, atol=0)

    def test_neighbours_are_refused(self, golden, tmp_path):
        torch.save(golden("videomae_a")["weights"], tmp_path / "videomae.pth")
        with pytest.raises(CheckpointError, match="in no layout that timesformer_base knows"):
            converted(tmp_path / "videomae.pth", tmp_path / "ours", "timesformer_base")
        theirs().save_pretrained(tmp_path / "theirs")
        with pytest.raises(ConfigError, match=r"timesformer_base has embed_dim 768, the file 16"):
            converted(tmp_path / "theirs", tmp_path / "ours", "timesformer_base")
        path = tmp_path / "theirs" / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "model_type": "vivit"}))
        with pytest.raises(CheckpointError, match="model_type: expected 'timesformer', got 'vivit'"):
            converted(tmp_path / "theirs", tmp_path / "ours", "timesformer_base", config=SIZES)
