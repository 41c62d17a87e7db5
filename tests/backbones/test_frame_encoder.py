"""timm's Swin and ViT on frames, equal to timm and to transformers on shared random weights."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

import evermodels as em
from evermodels.backbones import FrameEncoder, FrameEncoderConfig
from evermodels.backbones.video.frame_encoder import TIMM_NAMES
from evermodels.checkpoints.convert import convert
from evermodels.core.errors import CheckpointError, ConfigError, ShapeError

SWIN = {"img_size": (32, 32), "embed_dim": 8, "depths": (2, 2, 1, 1), "num_heads": (1, 2, 4, 4), "window_size": 3}
VIT = {"img_size": (32, 32), "embed_dim": 24, "depths": (2,), "num_heads": (3,)}
SIZES = {"swin_frames_tiny": SWIN, "vit_frames_base": VIT}
TIMM = {
    "swin_frames_tiny": {**SWIN, "drop_path_rate": 0.0},
    "vit_frames_base": {"img_size": (32, 32), "embed_dim": 24, "depth": 2, "num_heads": 3},
}
over_families = pytest.mark.parametrize("name", SIZES)


def relative(got: torch.Tensor, want: torch.Tensor) -> float:
    return ((got - want).abs().max() / want.abs().max()).item()


def of_timm(name: str, num_classes: int = 5, **changes) -> nn.Module:
    model = timm.create_model(TIMM_NAMES[name], num_classes=num_classes, **{**TIMM[name], **changes}).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.normal_(std=0.2)
    return model


def saved(model: nn.Module, path):
    torch.save(model.state_dict(), path)
    return path


def converted(source, out, name: str, **options):
    report = convert(source, out, architecture=name, licence="mit", **options)
    return em.from_pretrained(out), report


@over_families
def test_weights_of_timm(tmp_path, name):
    model = of_timm(name)
    ours, report = converted(
        saved(model, tmp_path / "m.pth"), tmp_path / "o", name, config={**SIZES[name], "num_frames": 3}
    )
    assert not report.left and not report.fresh and set(report.taken) == set(ours.state_dict())
    clip = torch.randn(2, 3, 3, 32, 32)
    with torch.no_grad():
        tokens = model.forward_features(clip.flatten(0, 1)).reshape(2, 3, -1, ours.embed_dim)
        assert relative(ours.forward_frames(clip), tokens) < 1e-6
        assert relative(ours.forward_features(clip), tokens.flatten(1, 2)) < 1e-6
        mean = model.forward_head(model.forward_features(clip.flatten(0, 1)), pre_logits=True).unflatten(0, (2, 3))
        head = model.head.fc if name.startswith("swin") else model.head
        assert relative(ours(clip), head(mean.mean(dim=1))) < 1e-5
        assert relative(ours.pool_frames(tokens), mean) < 1e-5


def test_presets_are_those_of_timm():
    for preset, theirs in TIMM_NAMES.items():
        with torch.device("meta"):
            want = timm.create_model(theirs, num_classes=7).state_dict()
            got = em.create_model(preset, num_classes=7).state_dict()
        want = {("" if "head" in k else "net.") + k.replace("head.fc.", "head."): v.shape for k, v in want.items()}
        assert {k: v.shape for k, v in got.items()} == want


def of_transformers(name: str, kind: str, **changes):
    transformers = pytest.importorskip("transformers")
    family, sizes = name.partition("_")[0], SIZES[name]
    config = {
        "swin": {"embed_dim": 8, "depths": [2, 2, 1], "num_heads": [1, 2, 4], "window_size": 3, "patch_size": 4},
        "vit": {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 96},
    }[family]
    spelled = {"swin": "Swin", "vit": "ViT"}[family]
    config = getattr(transformers, spelled + "Config")(**{"image_size": sizes["img_size"][0], **config, **changes})
    model = getattr(transformers, spelled + kind)(config).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.normal_(std=0.2)
    return model


@over_families
@pytest.mark.parametrize("generation", ["old", "new"])
def test_weights_of_transformers(tmp_path, name, generation):
    # 48² makes grids of 12, 6 and 3, which windows of 3 divide; where they do not, timm and transformers differ.
    size = 48 if name.startswith("swin") else 32
    labels = {0: "calm", 1: "tense", 2: "glad"}
    model = of_transformers(name, "ForImageClassification", image_size=size, id2label=labels, label2id={})
    model.save_pretrained(tmp_path / "t", **({"save_original_format": False} if generation == "new" else {}))
    asked = VIT if name.startswith("vit") else {**SWIN, "depths": (2, 2, 1), "num_heads": (1, 2, 4)}
    asked = {key: value for key, value in asked.items() if key != "img_size"}
    ours, report = converted(tmp_path / "t", tmp_path / "o", name, config={**asked, "num_frames": 2})
    assert ours.config.img_size == (size, size) and ours.classes == ("calm", "tense", "glad")
    assert not report.left and not report.fresh
    clip = torch.randn(2, 2, 3, size, size)
    with torch.no_grad():
        theirs = next(model.children())
        want = theirs(clip.flatten(0, 1)).last_hidden_state.unflatten(0, (2, 2))
        assert relative(ours.forward_frames(clip), want) < 1e-5
        assert relative(ours(clip[:, :1].expand(-1, 2, -1, -1, -1)), model(clip[:, 0]).logits) < 1e-5
    assert ours.config.norm_eps == model.config.layer_norm_eps


def test_the_authors_swin_merges_at_the_end_of_a_stage(tmp_path):
    model = of_timm("swin_frames_tiny")
    state = {k.replace("head.fc.", "head."): v for k, v in model.state_dict().items()}
    for k in (1, 2, 3):
        for key in [key for key in state if key.startswith(f"layers.{k}.downsample.")]:
            state[key.replace(f"layers.{k}.", f"layers.{k - 1}.")] = state.pop(key)
    state["layers.0.blocks.1.attn_mask"] = torch.zeros(9, 9, 9)
    torch.save({"model": state}, tmp_path / "swin.pth")
    ours, report = converted(tmp_path / "swin.pth", tmp_path / "o", "swin_frames_tiny", config=SWIN)
    clip = torch.randn(1, 10, 3, 32, 32)
    with torch.no_grad():
        assert relative(ours.forward_frames(clip)[0].flatten(1), model.forward_features(clip[0]).flatten(1)) < 1e-6
    assert report.left == {"layers.0.blocks.1.attn_mask": "computed from the sizes"}


@over_families
def test_other_sizes_interpolate_what_hangs_on_them(tmp_path, name):
    model = of_timm(name)
    other = {**SIZES[name], "img_size": (16, 32), "num_frames": 1}
    ours, report = converted(saved(model, tmp_path / "m.pth"), tmp_path / "o", name, config=other)
    model.set_input_size((16, 32), **({"window_size": 3} if name.startswith("swin") else {}))
    if name.startswith("vit"):
        assert report.taken["net.pos_embed"] == "positions 2 by 2 -> 1 by 2, interpolated"
    else:
        # In one row of tokens the reach over rows is none.
        table = "net.layers.3.blocks.0.attn.relative_position_bias_table"
        assert "windows 3 by 3 -> 1 by 1, interpolated" in report.taken[table]
        assert ours.config.windows() == ((3, 3), (2, 3), (1, 2), (1, 1))
    clip = torch.randn(1, 1, 3, 16, 32)
    with torch.no_grad():
        assert relative(ours.forward_frames(clip)[0].flatten(1), model.forward_features(clip[0]).flatten(1)) < 1e-5


def test_another_size_than_the_name_says(tmp_path):
    path = saved(of_timm("vit_frames_base"), tmp_path / "m.pth")
    with pytest.raises(ConfigError, match="vit_frames_base has embed_dim 768, the file 24"):
        converted(path, tmp_path / "o", "vit_frames_base", config={"num_heads": (3,)})
    with pytest.raises(ConfigError, match="num_heads: the file does not tell it"):
        converted(
            path, tmp_path / "o", "vit_frames_base", config={"embed_dim": 24, "depths": (2,), "img_size": (32, 32)}
        )
    with pytest.raises(ConfigError, match="swin_frames_tiny has family swin, the file 'vit'"):
        converted(path, tmp_path / "o", "swin_frames_tiny", config=VIT)
    with torch.device("meta"):
        small = timm.create_model("vit_small_patch16_224").state_dict()
    torch.save({k: torch.zeros(v.shape) for k, v in small.items()}, path)
    with pytest.raises(ConfigError, match="Choose vit_frames_small"):
        converted(path, tmp_path / "o", "vit_frames_base")


def test_config_of_another_model(tmp_path):
    of_transformers("vit_frames_base", "ForImageClassification", hidden_act="relu").save_pretrained(tmp_path / "t")
    with pytest.raises(CheckpointError, match="hidden_act: expected 'gelu', got 'relu'"):
        converted(tmp_path / "t", tmp_path / "o", "vit_frames_base", config=VIT)


def test_a_bare_encoder_of_transformers(tmp_path):
    of_transformers("vit_frames_base", "Model").save_pretrained(tmp_path / "t")
    ours, report = converted(tmp_path / "t", tmp_path / "o", "vit_frames_base", config=VIT, num_classes=4)
    assert set(report.left) == {"pooler.dense.weight", "pooler.dense.bias"} and ours.config.num_classes == 4
    assert report.fresh["head.weight"] == "num_classes 4, and no head in the file"


class TestFrames:
    def test_are_apart(self):
        model = FrameEncoder.from_preset("swin_frames_nano", num_frames=3).eval()
        clip = torch.randn(2, 3, 3, 64, 64)
        with torch.no_grad():
            whole = model.forward_frames(clip)
            torch.testing.assert_close(model.forward_frames(clip.flip(1)), whole.flip(1))
            torch.testing.assert_close(model.forward_frames(clip[:, 1:2]), whole[:, 1:2], rtol=1e-4, atol=1e-5)
            clip[0, 0] = float("nan")
            assert torch.equal(model.forward_frames(clip)[:, 1:], whole[:, 1:])

    @pytest.mark.parametrize("size", [(64, 64), (48, 80), (20, 36), (4, 4)])
    def test_of_any_size(self, size):
        model = FrameEncoder.from_preset("swin_frames_nano", num_frames=2, img_size=size).eval()
        tokens = model.forward_frames(torch.randn(1, 5, 3, *size))
        assert tokens.shape == (1, 5, model.config.tokens, 96) and torch.isfinite(tokens).all()

    def test_wrong_ones_are_named(self):
        model = FrameEncoder.from_preset("vit_frames_nano", num_frames=4)
        with pytest.raises(ShapeError, match="channels before frames"):
            model(torch.randn(1, 3, 4, 64, 64))
        with pytest.raises(ShapeError, match="height=64, got height=32"):
            model.forward_frames(torch.randn(1, 3, 3, 32, 64))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"img_size": (30, 32)}, "img_size: expected .*multiples of patch_size .4."),
        ({"img_size": (4096, 4096)}, "img_size: expected a frame of at most 65,536 patches"),
        ({"depths": ()}, "depths: expected 1 to 8 stages"),
        ({"depths": (2, 0, 6, 2)}, "depths: expected 1 to 8 stages"),
        ({"num_heads": (5, 6, 12, 24)}, "num_heads: expected a divisor of the width 96 in stage 0"),
        ({"pool": "token"}, "pool: expected 'mean'"),
        ({"family": "vit"}, "depths: expected 1 to 1 stages"),
        ({"drop_path_rate": 1.0}, "drop_path_rate"),
    ],
)
def test_impossible_configurations(changes, message):
    with pytest.raises(ConfigError, match=message):
        FrameEncoderConfig(**changes)
