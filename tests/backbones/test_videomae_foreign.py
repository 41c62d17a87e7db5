"""Foreign VideoMAE and AdaMAE weights, converted: the outputs are those of the foreign model."""

from __future__ import annotations

import argparse
import json

import pytest
import torch
from safetensors.torch import load_file

import evermodels as em
from evermodels.backbones import VideoMAE, VideoMAEConfig
from evermodels.checkpoints.convert import convert
from evermodels.core.errors import CheckpointError, ConfigError

SIZE = {"embed_dim": 24, "depth": 2, "num_heads": 3}
GOLDEN = {"num_frames": 8, "img_size": [16, 16], "depth": 2}


def relative(got: torch.Tensor, want: torch.Tensor) -> float:
    return ((got - want).abs().max() / want.abs().max()).item()


def converted(source, out, **options):
    report = convert(source, out, architecture="videomae_base", licence="cc-by-nc-4.0", **options)
    return em.from_pretrained(out), report


def theirs(kind: str, **config):
    transformers = pytest.importorskip("transformers")
    sizes = {
        "image_size": 16, "patch_size": 8, "num_frames": 6, "tubelet_size": 2, "hidden_size": 24,
        "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 96,
        "decoder_hidden_size": 12, "decoder_num_hidden_layers": 1, "decoder_num_attention_heads": 2,
        "decoder_intermediate_size": 24,
    }  # fmt: skip
    model = getattr(transformers, kind)(transformers.VideoMAEConfig(**{**sizes, **config})).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.normal_(std=0.2)
    return model


def saved(model, folder, generation: str):
    """Save a model with transformers' own means: the old names (its default), a pickle of them, or its new names."""
    import transformers

    if generation == "new" and int(transformers.__version__.split(".")[0]) < 5:
        pytest.skip("before version 5 there are no new names")
    model.save_pretrained(folder, **({"save_original_format": False} if generation == "new" else {}))
    state = load_file(folder / "model.safetensors")
    endings = {key.partition("attention.attention.")[2] for key in state if ".layer." in key} - {""}
    biases = {"q_bias", "v_bias"} if generation != "new" else {"query.bias", "value.bias"}
    assert endings == {"query.weight", "key.weight", "value.weight", *biases}
    if generation == "old pickle":  # as before safetensors, with the configuration's old name too
        torch.save(state, folder / "pytorch_model.bin")
        (folder / "model.safetensors").unlink()
        config = json.loads((folder / "config.json").read_text())
        config["qkv_bias"] = config.pop("qv_bias", True)
        (folder / "config.json").write_text(json.dumps(config))
    return folder


GENERATIONS = ("old", "old pickle", "new")


def clips(frames: int = 6, size: int = 16) -> torch.Tensor:
    return torch.randn(2, frames, 3, size, size)


@pytest.mark.parametrize("generation", GENERATIONS)
def test_classifier_of_transformers(tmp_path, generation):
    labels = {0: "a", 1: "b", 2: "c", 3: "d", 4: "e"}
    model = theirs("VideoMAEForVideoClassification", id2label=labels, label2id={v: k for k, v in labels.items()})
    saved(model, tmp_path / "theirs", generation)
    x = clips()
    with torch.no_grad():
        want = model(x).logits
        again = type(model).from_pretrained(tmp_path / "theirs").eval()
        assert relative(again(x).logits, want) < 1e-6
        ours, report = converted(tmp_path / "theirs", tmp_path / "ours", config=SIZE)
        assert relative(ours(x), want) < 1e-5
    assert ours.classes == ("a", "b", "c", "d", "e")
    assert (ours.config.norm_eps, ours.config.fc_norm_eps) == (1e-12, 1e-5)
    assert not report.left and not report.fresh
    assert set(report.taken) == set(ours.state_dict())


def test_the_small_epsilon_matters(tmp_path):
    """The norm behind the pooling has another epsilon in transformers; without it the numbers differ."""
    model = theirs("VideoMAEForVideoClassification", num_labels=5)
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(0.01)
        model.classifier.weight.normal_()
        model.save_pretrained(tmp_path / "theirs")
        x = clips()
        ours, _ = converted(tmp_path / "theirs", tmp_path / "ours", config=SIZE)
        assert relative(ours(x), model(x).logits) < 1e-5
        other, _ = converted(tmp_path / "theirs", tmp_path / "other", config={**SIZE, "fc_norm_eps": 1e-12})
        assert relative(other(x), model(x).logits) > 1e-5
    assert ours.classes is None  # LABEL_0 is no name


@pytest.mark.parametrize("generation", GENERATIONS)
def test_pre_training_model_of_transformers(tmp_path, generation):
    model = theirs("VideoMAEForPreTraining", use_mean_pooling=False)
    saved(model, tmp_path / "theirs", generation)
    ours, report = converted(tmp_path / "theirs", tmp_path / "ours", config=SIZE)
    x = clips()
    with torch.no_grad():
        want = model.videomae(x).last_hidden_state
        assert relative(model.videomae.layernorm(ours.forward_features(x)), want) < 1e-5
    assert set(report.fresh) == {"fc_norm.weight", "fc_norm.bias"}
    assert bool((ours.fc_norm.weight == 1).all()) and bool((ours.fc_norm.bias == 0).all())
    kinds = {key.split(".")[0] for key in report.left}
    assert kinds == {"decoder", "encoder_to_decoder", "mask_token", "videomae"}
    assert "videomae.layernorm.weight" in report.left and ours.config.num_classes == 0


def test_bare_encoder_of_transformers(tmp_path):
    model = theirs("VideoMAEModel", qv_bias=False)
    model.save_pretrained(tmp_path / "theirs")
    assert not any(key.startswith("videomae.") for key in load_file(tmp_path / "theirs" / "model.safetensors"))
    ours, report = converted(tmp_path / "theirs", tmp_path / "ours", config=SIZE, num_classes=7)
    x = clips()
    with torch.no_grad():
        assert relative(ours.forward_features(x), model(x).last_hidden_state) < 1e-5
    assert not ours.config.qkv_bias and ours(x).shape == (2, 7)
    assert report.fresh["head.weight"] == "num_classes 7, and no head in the file"


def test_other_frames_and_sizes_make_the_position_table_anew(tmp_path):
    model = theirs("VideoMAEForVideoClassification", num_labels=5)
    model.save_pretrained(tmp_path / "theirs")
    longer = theirs("VideoMAEForVideoClassification", num_labels=5, num_frames=8, image_size=24)
    longer.load_state_dict(model.state_dict())
    asked = {**SIZE, "num_frames": 8, "img_size": [24, 24]}
    ours, report = converted(tmp_path / "theirs", tmp_path / "ours", config=asked)
    x = clips(8, 24)
    with torch.no_grad():
        assert relative(ours(x), longer(x).logits) < 1e-5
    assert report.config["num_frames"] == "8 (asked for; the file: 6)"


CONTAINERS = {
    "bare": lambda state: state,
    "model": lambda state: {
        "model": state,
        "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 1e-3}]},
        "epoch": 799,
        "scaler": {},
        "args": argparse.Namespace(lr=1e-3, model="vit_base_patch16_224"),
    },
    "deepspeed": lambda state: {"module": state, "global_steps": 5, "ds_config": None},
    "data parallel": lambda state: {"state_dict": {f"module.{key}": tensor for key, tensor in state.items()}},
}


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize(("name", "dim", "heads"), [("videomae_a", 24, 3), ("adamae_finetune_a", 16, 4)])
def test_fine_tuned_file_of_the_authors(golden, tmp_path, name, dim, heads, container):
    data = golden(name)
    torch.save(CONTAINERS[container](data["weights"]), tmp_path / "checkpoint-799.pth")
    config = {**GOLDEN, "embed_dim": dim, "num_heads": heads}
    ours, report = converted(tmp_path / "checkpoint-799.pth", tmp_path / "ours", config=config)
    with torch.no_grad():
        assert relative(ours(data["input"]["x"].transpose(1, 2)), data["output"]["logits"]) < 1e-5
    beside = {"model": {"optimizer", "epoch", "scaler", "args"}, "deepspeed": {"global_steps", "ds_config"}}
    assert set(report.left) == beside.get(container, set())


def test_pre_training_file_of_adamae(golden, tmp_path):
    data = golden("adamae_pretrain_a")
    torch.save({"model": data["weights"], "epoch": 1}, tmp_path / "checkpoint.pth")
    config = {"embed_dim": 16, "depth": 2, "num_heads": 4, "img_size": [12, 12]}
    ours, report = converted(tmp_path / "checkpoint.pth", tmp_path / "ours", config=config)
    weights, x = data["weights"], data["input"]["x"].transpose(1, 2)
    with torch.no_grad():
        tokens = ours.patch_embed(x)
        assert relative(tokens, data["output"]["patch_tokens"]) < 1e-5
        visible = (tokens + ours.pos_embed)[~data["output"]["mask"].bool()].view(2, -1, 16)
        for block in ours.blocks:
            visible = block(visible)
        norm = torch.nn.functional.layer_norm(
            visible, (16,), weights["encoder.norm.weight"], weights["encoder.norm.bias"], eps=1e-6
        )
        assert relative(norm, data["output"]["visible_latent"]) < 1e-5
    for key in ("encoder.pos_embed_probs", "encoder.get_token_probs.1.bias", "encoder.norm.bias", "mask_token"):
        assert key in report.left
    assert set(report.fresh) == {"fc_norm.weight", "fc_norm.bias"}
    assert len(report.left) + len(report.taken) == len(weights) + 1  # the epoch


@pytest.mark.parametrize("prefix", ["encoder.", "backbone."])
def test_pre_training_file_of_videomae(golden, tmp_path, prefix):
    data = golden("videomae_a")
    state = {prefix + k: v for k, v in data["weights"].items() if not k.startswith(("head.", "fc_norm."))}
    state |= {
        prefix + "norm.weight": torch.ones(24),
        prefix + "norm.bias": torch.zeros(24),
        "decoder.blocks.0.attn.qkv.weight": torch.zeros(36, 12),
        "encoder_to_decoder.weight": torch.zeros(12, 24),
        "mask_token": torch.zeros(1, 1, 12),
    }
    torch.save({"model": state}, tmp_path / "checkpoint.pth")
    ours, report = converted(tmp_path / "checkpoint.pth", tmp_path / "ours", config={**GOLDEN, **SIZE})
    with torch.no_grad():
        tokens = ours.forward_features(data["input"]["x"].transpose(1, 2))
    assert relative(tokens, data["output"]["block1"]) < 1e-5
    assert len(report.left) == 5


def test_layer_scale_and_no_bias(tmp_path):
    config = VideoMAEConfig(**{**GOLDEN, **SIZE, "img_size": (16, 16)}, patch_size=8, init_values=0.3, qkv_bias=False)
    source = VideoMAE(config.replace(num_classes=3)).eval()
    torch.save(source.state_dict(), tmp_path / "checkpoint.pth")
    ours, _ = converted(tmp_path / "checkpoint.pth", tmp_path / "ours", config={**GOLDEN, **SIZE})
    x = clips(8)
    torch.testing.assert_close(ours(x), source(x), rtol=0, atol=0)
    assert ours.config.init_values > 0 and not ours.config.qkv_bias


def test_grey_pictures_only_when_asked_for(golden, tmp_path):
    data = golden("videomae_a")
    torch.save(data["weights"], tmp_path / "checkpoint.pth")
    asked = {**GOLDEN, **SIZE, "in_chans": 1}
    with pytest.raises(ConfigError, match=r"in_chans: expected 3 as in the file, got 1.*--spread-channels"):
        converted(tmp_path / "checkpoint.pth", tmp_path / "ours", config=asked)
    ours, report = converted(tmp_path / "checkpoint.pth", tmp_path / "ours", config=asked, spread_channels=True)
    colour, _ = converted(tmp_path / "checkpoint.pth", tmp_path / "colour", config={**GOLDEN, **SIZE})
    grey = torch.randn(2, 8, 1, 16, 16)
    torch.testing.assert_close(ours(grey), colour(grey.expand(-1, -1, 3, -1, -1)), rtol=1e-4, atol=1e-5)
    assert report.taken["patch_embed.proj.weight"] == "3 -> 1 input channels, spread evenly"


class TestRefused:
    def test_head_on_the_first_token(self, tmp_path):
        model = theirs("VideoMAEForVideoClassification", num_labels=5, use_mean_pooling=False)
        model.save_pretrained(tmp_path / "theirs")
        with pytest.raises(CheckpointError, match=r"missing +2 +fc_norm"):
            converted(tmp_path / "theirs", tmp_path / "ours", config=SIZE)
        ours, report = converted(tmp_path / "theirs", tmp_path / "ours", config=SIZE, num_classes=0)
        assert report.left["classifier.weight"] == "num_classes 5 -> 0" and ours.config.num_classes == 0

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"hidden_act": "relu"}, "hidden_act: expected 'gelu', got 'relu'"),
            ({"model_type": "vivit"}, "model_type: expected 'videomae', got 'vivit'"),
            ({"num_attention_heads": None}, "config.json: no 'num_attention_heads'"),
            ({"layer_norm_eps": "small"}, "norm_eps: expected float, got 'small'"),
        ],
    )
    def test_config_of_transformers(self, tmp_path, change, message):
        theirs("VideoMAEForVideoClassification").save_pretrained(tmp_path / "theirs")
        path = tmp_path / "theirs" / "config.json"
        config = {k: v for k, v in {**json.loads(path.read_text()), **change}.items() if v is not None}
        path.write_text(json.dumps(config))
        with pytest.raises((CheckpointError, ConfigError), match=message):
            converted(tmp_path / "theirs", tmp_path / "ours", config=SIZE)
        path.unlink()
        with pytest.raises(CheckpointError, match=r"expected config.json in the same folder"):
            converted(tmp_path / "theirs", tmp_path / "ours", config=SIZE)

    def test_another_size_than_the_name_says(self, golden, tmp_path):
        torch.save(golden("videomae_a")["weights"], tmp_path / "c.pth")
        with pytest.raises(ConfigError, match=r"videomae_base has embed_dim 768, the file 24.*--set embed_dim=24"):
            converted(tmp_path / "c.pth", tmp_path / "ours", config=GOLDEN)
        with pytest.raises(ConfigError, match="num_heads: the file does not tell it"):
            converted(tmp_path / "c.pth", tmp_path / "ours", config={**GOLDEN, "embed_dim": 24})
        small = VideoMAE.from_preset("videomae_nano")
        torch.save(small.state_dict(), tmp_path / "nano.pth")
        with pytest.raises(ConfigError, match="Choose videomae_nano"):
            converted(tmp_path / "nano.pth", tmp_path / "ours")

    def test_a_learned_position_table(self, golden, tmp_path):
        state = {**golden("videomae_a")["weights"], "pos_embed": torch.zeros(1, 16, 24)}
        torch.save(state, tmp_path / "c.pth")
        with pytest.raises(CheckpointError, match=r"unexpected +1 +pos_embed"):
            converted(tmp_path / "c.pth", tmp_path / "ours", config={**GOLDEN, **SIZE})

    def test_the_second_version(self, golden, tmp_path):
        """VideoMAE V2: cosine attention has a scale, its names on the Hub stand behind ``model.``, giant is wider."""
        state = golden("videomae_a")["weights"]
        torch.save({**state, "blocks.0.attn.scale": torch.ones(3, 1, 1)}, tmp_path / "cosine.pth")
        with pytest.raises(CheckpointError, match=r"unexpected +1 +blocks\.0\.attn\.scale"):
            converted(tmp_path / "cosine.pth", tmp_path / "ours", config={**GOLDEN, **SIZE})
        folder = tmp_path / "hub"
        folder.mkdir()
        torch.save({f"model.{key}": value for key, value in state.items()}, folder / "pytorch_model.bin")
        (folder / "config.json").write_text(json.dumps({"model_type": "VideoMAEv2_Base"}))
        with pytest.raises(CheckpointError, match=r"in no layout that videomae_base knows"):
            converted(folder, tmp_path / "ours", config={**GOLDEN, **SIZE})
        wide = {**state, "patch_embed.proj.weight": torch.zeros(1408, 3, 2, 14, 14)}
        torch.save(wide, tmp_path / "giant.pth")
        with pytest.raises((CheckpointError, ConfigError), match=r"embed_dim"):
            converted(tmp_path / "giant.pth", tmp_path / "ours")
