"""PatchTST: Time-Series-Library's numbers, transformers' through the converter, any montage, tables, maps."""

from __future__ import annotations

import sys

import pytest
import torch

import evermodels as em
from evermodels.backbones import PatchTST, PatchTSTConfig
from evermodels.checkpoints.convert import convert, load_foreign
from evermodels.checkpoints.foreign_format import Request
from evermodels.core.errors import CheckpointError, ConfigError
from evermodels.layers import attention_maps
from tests.backbones.series import fill, float32_sinusoid, foreign_file, gradients, no_dropout, relative

SIZES = {"embed_dim": 16, "depth": 2, "num_heads": 4, "num_samples": 48}


@pytest.fixture
def library(golden, tmp_path):
    """The reference's numbers, and our model with its weights, as the converter makes it."""
    numbers = golden("patchtst_a")
    source = foreign_file(numbers["weights"], tmp_path)
    request = Request({**SIZES, "stride": 8})
    return numbers, load_foreign(source, "patchtst_base", request=request)


def test_the_library_s_numbers(library):
    numbers, done = library
    model, x = done.model, numbers["input"]["x"].mT
    assert model.config.in_chans == 4 and model.config.mlp_ratio == 1.5 and not done.report.left
    with torch.no_grad():
        assert relative(model.embed(x), numbers["output"]["patch_tokens"]) < 1e-6
        tokens = model.embed(x)
        for k, block in enumerate(model.blocks):
            tokens = block(tokens)
            assert relative(tokens, numbers["output"][f"layer{k}"]) < 1e-6
        assert relative(model.forward_features(x).view(8, 6, 16), numbers["output"]["encoder_output"]) < 1e-6
        assert relative(model(x), numbers["output"]["logits"]) < 1e-6
        model = model.double()
        model.pos_embed = float32_sinusoid(6, 16)
        assert relative(model(x.double()), numbers["output64"]["logits"]) < 1e-12


def test_the_library_s_gradients_with_batch_statistics(library):
    numbers, done = library
    model = no_dropout(done.model.train())
    x = numbers["input"]["x"].mT.clone().requires_grad_()
    logits = model(x)
    assert relative(logits, numbers["output_train"]["logits"]) < 1e-5
    (logits * numbers["input"]["cotangent"]).sum().backward()
    assert x.grad is not None and x.grad.any()  # where the reference raises
    names = {
        "patch_embedding.value_embedding.weight": "patch_embed.weight",
        "encoder.norm.1.weight": "norm.weight",
        "encoder.attn_layers.0.attention.query_projection.weight": "blocks.0.attn.qkv.weight",
    }
    assert gradients(model, numbers, names) < 1e-5


def transformers_model(cls: str, **changes):
    sys.modules.setdefault("torchaudio", None)  # its wheel may not fit the torch that is there
    transformers = pytest.importorskip("transformers")
    values = {
        "num_input_channels": 3,
        "context_length": 50,
        "patch_length": 8,
        "patch_stride": 5,
        "d_model": 16,
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "ffn_dim": 24,
        "num_targets": 5,
        "head_dropout": 0.0,
        **changes,
    }
    config = transformers.PatchTSTConfig(**values)
    return fill(getattr(transformers, cls)(config)).eval()


ASKED = {"embed_dim": 16, "depth": 2, "num_heads": 4}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"norm_type": "layernorm", "pre_norm": False, "positional_encoding_type": "random"},
        {"scaling": None, "num_input_channels": 6, "context_length": 41},
    ],
)
def test_transformers_numbers(tmp_path, changes):
    theirs = transformers_model("PatchTSTForClassification", **changes)
    theirs.save_pretrained(tmp_path / "theirs")
    report = convert(
        tmp_path / "theirs", tmp_path / "ours", architecture="patchtst_base", licence="apache-2.0", config=ASKED
    )
    assert not report.left and not report.fresh
    ours = em.from_pretrained(tmp_path / "ours")
    x = 3 * torch.randn(4, *ours.sample_shape) + 1
    with torch.no_grad():
        assert relative(ours(x), theirs(x.mT).prediction_logits) < 1e-5


def test_pretrained_encoders_of_transformers_take_other_montages_and_windows(tmp_path):
    theirs = transformers_model("PatchTSTForPretraining", mask_type="random", random_mask_ratio=0.4)
    theirs.save_pretrained(tmp_path / "theirs")
    with pytest.raises(ConfigError, match=r"num_classes: the file's head restores .*--num-classes"):
        load_foreign(tmp_path / "theirs", "patchtst_base", request=Request(ASKED))
    done = load_foreign(
        tmp_path / "theirs", "patchtst_base", request=Request({**ASKED, "num_classes": 0, "in_chans": 7})
    )
    x = torch.randn(2, 7, 50)
    bare = transformers_model("PatchTSTModel", num_input_channels=7)
    bare.load_state_dict(theirs.model.state_dict())
    with torch.no_grad():
        hidden = bare(x.mT).last_hidden_state
        assert relative(done.model.forward_features(x), hidden.flatten(1, 2)) < 1e-5
    asked = Request({**ASKED, "num_classes": 0, "num_samples": 90})
    longer = load_foreign(tmp_path / "theirs", "patchtst_base", request=asked)
    assert longer.report.taken["pos_embed"] == "9 -> 17 positions, linear"
    assert longer.model(torch.randn(2, 3, 90)).shape == (2, 48)


def test_what_transformers_has_and_we_have_not_is_named(tmp_path):
    theirs = transformers_model("PatchTSTForClassification", pooling_type="max")
    theirs.save_pretrained(tmp_path / "theirs")
    with pytest.raises(CheckpointError, match="pooling_type: expected 'mean'"):
        load_foreign(tmp_path / "theirs", "patchtst_base", request=Request(ASKED))


def test_a_file_s_head_belongs_to_its_channels_and_window(library, golden, tmp_path):
    source = foreign_file(golden("patchtst_a")["weights"], tmp_path)
    for wrong in ({"in_chans": 5}, {"num_samples": 60}):
        with pytest.raises(ConfigError, match=r"head has 384 inputs|head reads 384 numbers"):
            load_foreign(source, "patchtst_base", request=Request({**SIZES, "stride": 8, **wrong}))
    asked = Request({**SIZES, "in_chans": 19, "num_samples": 96, "num_classes": 0})
    assert load_foreign(source, "patchtst_base", request=asked).model(torch.randn(2, 19, 96)).shape == (2, 19 * 12 * 16)


def test_the_window_is_asked_for_where_the_head_hangs_on_it(golden, tmp_path):
    source = foreign_file(golden("patchtst_a")["weights"], tmp_path)
    some = {key: value for key, value in SIZES.items() if key != "num_samples"}
    with pytest.raises(ConfigError, match=r"num_samples: the file does not tell the window.*--set num_samples=T"):
        load_foreign(source, "patchtst_base", request=Request(some))
    for classes in (0, 3):
        model = load_foreign(source, "patchtst_base", request=Request({**some, "num_classes": classes})).model
        assert model.config.num_samples == 1000 and model.config.in_chans == 30  # the architecture's own


def test_neighbours_are_refused(golden, tmp_path):
    for name in ("itransformer_a", "medformer_a", "crossformer_tsl_a"):
        with pytest.raises(CheckpointError, match="in no layout that patchtst_base knows"):
            load_foreign(foreign_file(golden(name)["weights"], tmp_path), "patchtst_base")


def test_patches_cover_the_window_as_each_padding_says():
    x = torch.arange(1.0, 12.0).view(1, 1, 11)
    config = PatchTSTConfig(in_chans=1, num_samples=11, patch_size=4, stride=3, embed_dim=4, num_heads=2, scale="none")
    for padding, first, last in (
        ("end", [1.0, 2, 3, 4], [10.0, 11, 11, 11]),
        ("cut", [2.0, 3, 4, 5], [8.0, 9, 10, 11]),
    ):
        model = PatchTST(config.replace(padding=padding)).eval()
        with torch.no_grad():
            model.patch_embed.weight.copy_(torch.eye(4))
            model.pos_embed.zero_()
        patches = model.embed(x)[0]
        assert patches[0].tolist() == first and patches[-1].tolist() == last
        assert len(patches) == model.config.num_patches


def test_channels_never_meet_before_the_head_and_any_number_fits():
    model = PatchTST.from_preset("patchtst_tiny", depth=1, pool="mean").eval()
    x = 20 * torch.randn(2, 19, 1000)
    with torch.no_grad():
        tokens = model.forward_features(x).unflatten(1, model.token_grid)
        whole = model(x)
        assert model.adapt_montage(("Fz", "Cz", "Pz")) == {}
        some = model.forward_features(x[:, :3]).unflatten(1, model.token_grid)
        torch.testing.assert_close(some, tokens[:, :3])
        assert model(x[:, :3]).shape == whole.shape
    with pytest.raises(ConfigError, match=r"weights for each of its 19 channels \(pool='channels'\).*single_eeg"):
        PatchTST.from_preset("patchtst_tiny", depth=1).adapt_montage(("Fz", "Cz"))


def test_maps_and_steps():
    model = PatchTST.from_preset("patchtst_tiny", depth=2, pre_norm=True, block_norm="batch").eval()
    x = torch.randn(2, 19, 1000)
    maps = list(attention_maps(model, x).values())
    assert [tuple(m.shape) for m in maps] == [(2 * 19, 4, 40, 40)] * 2
    torch.testing.assert_close(maps[1].sum(dim=-1), torch.ones(2 * 19, 4, 40))
    assert model.forward_steps(x).shape == (2, 40, model.step_dim)


def test_gradient_checkpointing_changes_nothing():
    model = PatchTST.from_preset("patchtst_tiny", depth=2, drop_rate=0.0, head_drop_rate=0.0, num_classes=3).train()
    x = torch.randn(2, 19, 1000)
    grads = []
    for enable in (False, True):
        model.set_grad_checkpointing(enable)
        model.zero_grad()
        model(x).square().sum().backward()
        grads.append([p.grad.clone() for p in model.parameters()])
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b)


def test_inside_systems():
    ever = em.create_model("ever_tiny", encoders={"eeg": {"name": "patchtst_tiny", "config": {"depth": 1}}}).eval()
    assert ever(eeg=torch.randn(2, 19, 500), video=torch.randn(2, 16, 3, 64, 64)).logits.shape == (2, 4)
    alone = em.create_model("single_eeg", encoders={"eeg": {"name": "patchtst_tiny", "config": {"depth": 1}}}).eval()
    assert list(alone.adapt_montage(em.montage.preset("epoc")))
    assert alone(eeg=torch.randn(2, 14, 1000)).logits.shape == (2, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_samples": 7}, r"num_samples: expected at least patch_size - stride \(8\)"),
        ({"stride": 0}, "stride: expected at least 1"),
        ({"num_heads": 3}, r"embed_dim: expected a multiple of num_heads \(3\)"),
        ({"num_samples": 10**8}, "num_samples: expected a window of at most 262,144 tokens"),
        ({"mlp_ratio": 0.0}, "mlp_ratio: expected a positive number"),
        ({"pool": "max"}, "pool: expected one of 'flatten', 'channels', 'mean'"),
        ({"drop_rate": 1.0}, "drop_rate: expected a number in"),
    ],
)
def test_impossible_configs(change, message):
    with pytest.raises(ConfigError, match=message):
        PatchTSTConfig(**change)
