from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file

from evermodels.backbones import ViViT, ViViTConfig
from evermodels.backbones.video.vivit_foreign import resample_positions
from evermodels.core.errors import CheckpointError, ConfigError
from evermodels.layers import attention_maps
from tests.backbones.clips import check_checkpointing, clip, converted, hugging_face, randomised, relative

TINY = ViViTConfig(num_frames=4, img_size=(16, 24), patch_size=8, embed_dim=16, depth=2, num_heads=2, num_classes=3)
SIZES = {"embed_dim": 16, "depth": 2, "num_heads": 2}


def theirs(kind: str = "VivitForVideoClassification", **config):
    transformers = hugging_face()
    sizes = {
        "image_size": 16, "tubelet_size": [2, 8, 8], "num_frames": 4, "hidden_size": 16, "num_hidden_layers": 2,
        "num_attention_heads": 2, "intermediate_size": 64, "num_labels": 5,
    }  # fmt: skip
    return randomised(getattr(transformers, kind)(transformers.VivitConfig(**sizes | config)))


def saved(model, folder, generation: str):
    """Save as transformers does: the names on the Hub (its default since version 5 writes them too), or its own."""
    model.save_pretrained(folder, **({"save_original_format": False} if generation == "new" else {}))
    names = " ".join(load_file(folder / "model.safetensors"))
    assert ("attention.q_proj" in names, "attention.attention.query" in names) == (
        generation == "new",
        generation == "old",
    )
    return folder


class TestTransformers:
    @pytest.mark.parametrize("generation", ["old", "new"])
    @pytest.mark.parametrize(("theirs_is", "ours_is"), [("gelu_fast", "gelu_tanh"), ("gelu", "gelu")])
    def test_the_classifier(self, tmp_path, generation, theirs_is, ours_is):
        labels = {k: f"c{k}" for k in range(5)}
        model = theirs(hidden_act=theirs_is, id2label=labels, label2id={v: k for k, v in labels.items()})
        saved(model, tmp_path / "theirs", generation)
        ours, report = converted(tmp_path / "theirs", tmp_path / "ours", "vivit_base", config=SIZES)
        x = torch.randn(2, 4, 3, 16, 16)
        with torch.no_grad():
            assert relative(ours(x), model(x).logits) < 1e-5
            tokens = model.vivit(x).last_hidden_state
            assert relative(ours.forward_features(x), tokens) < 1e-5
        assert ours.config.activation == ours_is and ours.classes == tuple(labels.values())
        assert set(report.taken) == set(ours.state_dict()) and not report.left and not report.fresh

    def test_gradients(self, tmp_path):
        model = theirs()
        saved(model, tmp_path / "theirs", "new")
        ours, _ = converted(tmp_path / "theirs", tmp_path / "ours", "vivit_base", config=SIZES)
        x = torch.randn(2, 4, 3, 16, 16, requires_grad=True)
        weight = torch.randn(2, 5)
        (want,) = torch.autograd.grad((model(x).logits * weight).sum(), x)
        (got,) = torch.autograd.grad((ours(x) * weight).sum(), x)
        assert relative(got, want) < 1e-4

    def test_the_bare_model_leaves_its_pooler(self, tmp_path):
        model = theirs("VivitModel", qkv_bias=False)
        saved(model, tmp_path / "theirs", "new")
        ours, report = converted(tmp_path / "theirs", tmp_path / "ours", "vivit_base", config=SIZES)
        x = torch.randn(2, 4, 3, 16, 16)
        with torch.no_grad():
            assert relative(ours(x), model(x).last_hidden_state[:, 0]) < 1e-5
        assert set(report.left) == {"pooler.dense.weight", "pooler.dense.bias"} and not ours.config.qkv_bias

    def test_other_sizes_resample_the_positions(self, tmp_path):
        saved(theirs(), tmp_path / "theirs", "new")
        asked = {**SIZES, "num_frames": 8, "img_size": [24, 32]}
        ours, report = converted(tmp_path / "theirs", tmp_path / "ours", "vivit_base", config=asked)
        assert report.taken["pos_embed"] == "2 by 2 by 2 -> 4 by 3 by 4 positions, trilinear"
        assert ours(clip(ours.config)).shape == (2, 5)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"model_type": "vit"}, "model_type: expected 'vivit', got 'vit'"),
            ({"hidden_act": "relu"}, "hidden_act: expected 'gelu' or 'gelu_fast'.* got 'relu'"),
            ({"num_frames": 8}, "pos_embed: expected 1 . 4 · 2 · 2 positions"),
            ({"num_frames": None}, "config.json: no 'num_frames'"),
        ],
    )
    def test_another_model_is_refused(self, tmp_path, change, message):
        saved(theirs(), tmp_path / "theirs", "new")
        path = tmp_path / "theirs" / "config.json"
        config = {**json.loads(path.read_text()), **change}
        path.write_text(json.dumps({k: v for k, v in config.items() if v is not None}))
        with pytest.raises(CheckpointError, match=message):
            converted(tmp_path / "theirs", tmp_path / "ours", "vivit_base", config=SIZES)

    def test_neighbours_are_refused(self, golden, tmp_path):
        for name in ("videomae_a", "timesformer_a"):
            torch.save(golden(name)["weights"], tmp_path / "w.pth")
            with pytest.raises(CheckpointError, match="in no layout that vivit_base knows"):
                converted(tmp_path / "w.pth", tmp_path / "ours", "vivit_base")


def test_positions_along_one_axis_by_hand():
    table = torch.cat([torch.tensor([[[9.0]]]), torch.tensor([0.0, 1.0]).repeat_interleave(2)[None, :, None]], dim=1)
    got = resample_positions(table, (2, 1, 2), (4, 1, 2))
    assert got.flatten().tolist() == [9.0, 0.0, 0.0, 0.25, 0.25, 0.75, 0.75, 1.0, 1.0]
    torch.testing.assert_close(resample_positions(table, (2, 1, 2), (2, 1, 2)), table)


COUNTS = {"vivit_nano": 607_584, "vivit_base": 88_646_400}


@pytest.mark.parametrize("name", ViViT.presets)
def test_counts(name):
    with torch.device("meta"):
        model = ViViT.from_preset(name)
    c = model.config
    dim, (t, rows, columns) = c.embed_dim, c.grid
    by_hand = c.depth * (12 * dim**2 + 13 * dim) + dim * (3 * 2 * 16**2 + 1 + 1 + 1 + t * rows * columns + 2)
    assert sum(p.numel() for p in model.parameters()) == by_hand == COUNTS.get(name, by_hand)


def test_count_of_the_reference():
    with torch.device("meta"):
        models = [ViViT.from_preset("vivit_base", num_classes=5, num_frames=frames) for frames in (8, 16, 32)]
    counts = [sum(p.numel() for p in model.parameters()) for model in models]
    assert counts == [86_843_909, 87_446_021, 88_650_245]  # transformers'; EVER's Table 2 has 86.244 M


def test_attention_maps():
    model = ViViT(TINY).eval()
    maps = attention_maps(model, clip(TINY))
    assert {name: tuple(w.shape) for name, w in maps.items()} == {f"blocks.{k}.attn": (2, 2, 13, 13) for k in (0, 1)}


def test_checkpointing_gives_the_same_gradients():
    check_checkpointing(ViViT(TINY), clip(TINY))


def test_regularisers_act_in_training_only():
    config = TINY.replace(drop_path_rate=0.5, drop_rate=0.3, attn_drop_rate=0.3, head_drop_rate=0.3)
    model, plain = ViViT(config), ViViT(TINY)
    plain.load_state_dict(model.state_dict())
    x = clip(config)
    torch.testing.assert_close(model.eval()(x), plain.eval()(x), rtol=0, atol=0)
    assert not torch.equal(model.train()(x), model(x))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_frames": 5}, "num_frames.*multiple of tubelet_size"),
        ({"tubelet_size": 0}, "tubelet_size.*at least 1"),
        ({"img_size": (15, 24)}, "img_size.*multiples of patch_size"),
        ({"activation": "relu"}, "activation: expected one of 'gelu_tanh', 'gelu'"),
        ({"num_classes": -1}, r"ViViTConfig\.num_classes"),
    ],
)
def test_impossible_configs(changes, message):
    with pytest.raises(ConfigError, match=message):
        TINY.replace(**changes)
