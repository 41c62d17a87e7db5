"""iTransformer: Time-Series-Library's numbers, any order and number of channels, what a file cannot be carried to."""

from __future__ import annotations

import pytest
import torch

import evermodels as em
from evermodels.backbones import ITransformer, ITransformerConfig
from evermodels.checkpoints.convert import convert, load_foreign
from evermodels.checkpoints.foreign_format import Request
from evermodels.core.errors import CheckpointError, ConfigError
from evermodels.layers import attention_maps
from tests.backbones.series import foreign_file, gradients, no_dropout, relative

SIZES = {"embed_dim": 16, "depth": 2, "num_heads": 4}


@pytest.fixture
def library(golden, tmp_path):
    """The reference's numbers, and our model with its weights, as the converter makes it."""
    numbers = golden("itransformer_a")
    source = foreign_file(numbers["weights"], tmp_path)
    return numbers, load_foreign(source, "itransformer_base", request=Request(SIZES))


def test_the_library_s_numbers(library):
    numbers, done = library
    model, x = done.model.double(), numbers["input"]["x"].mT.double()
    assert model.sample_shape == (6, 40)
    assert not done.report.left and not done.report.fresh
    wanted = numbers["output64"]
    with torch.no_grad():
        tokens = model.embed(x)
        assert relative(tokens, wanted["variate_tokens"]) < 1e-12
        for k, block in enumerate(model.blocks):
            tokens = block(tokens)
            assert relative(tokens, wanted[f"layer{k}"]) < 1e-12
        assert relative(model.forward_features(x), wanted["encoder_output"]) < 1e-12
        assert relative(model(x), wanted["logits"]) < 1e-12
        assert relative(model.float()(x.float()), numbers["output"]["logits"]) < 1e-5


def test_the_library_s_gradients(library):
    numbers, done = library
    model = no_dropout(done.model.train())
    x = numbers["input"]["x"].mT.clone().requires_grad_()
    (model(x) * numbers["input"]["cotangent"]).sum().backward()
    assert relative(x.grad.mT, numbers["grad"]["input/x"]) < 1e-5
    names = {
        "enc_embedding.value_embedding.weight": "embed.weight",
        "encoder.attn_layers.0.attention.value_projection.weight": "blocks.0.attn.qkv.weight",
    }
    assert gradients(model, numbers, names) < 1e-5


def test_converted_and_loaded(golden, tmp_path):
    numbers = golden("itransformer_a")
    source = foreign_file(numbers["weights"], tmp_path)
    report = convert(source, tmp_path / "ours", architecture="itransformer_base", licence="mit", config=SIZES)
    assert report.format == "time_series_library" and len(report.taken) == len(set(report.taken))
    x = numbers["input"]["x"].mT
    assert relative(em.from_pretrained(tmp_path / "ours")(x), numbers["output"]["logits"]) < 1e-5
    single = em.create_model(
        "single_eeg",
        window_seconds=0.2,
        ch_names=["Fz", "Cz", "Pz", "O1", "O2", "Oz"],
        encoders={"eeg": {"name": "itransformer_base", "config": {**SIZES, "mlp_ratio": 1.5, "scale": "none"}}},
    )
    assert single.load_encoder("eeg", tmp_path / "ours") == len(single.eeg_encoder.state_dict())
    encoder = load_foreign(source, "itransformer_base", request=Request({**SIZES, "num_classes": 0})).model
    assert torch.equal(single.eval().eeg_encoder(x), encoder(x))


def test_what_a_file_cannot_be_carried_to(golden, tmp_path):
    source = foreign_file(golden("itransformer_a")["weights"], tmp_path)
    with pytest.raises(ConfigError, match=r"head reads 96 numbers, those of 6 channels.*--num-classes 0"):
        load_foreign(source, "itransformer_base", request=Request({**SIZES, "in_chans": 5}))
    encoder = load_foreign(source, "itransformer_base", request=Request({**SIZES, "in_chans": 5, "num_classes": 0}))
    assert encoder.model(torch.randn(2, 5, 40)).shape == (2, 80)
    with pytest.raises(CheckpointError, match=r"embed.weight +\(\(16, 40\) from the file, \(16, 60\) in our model"):
        load_foreign(source, "itransformer_base", request=Request({**SIZES, "num_samples": 60, "num_classes": 0}))
    for name in ("patchtst_a", "medformer_a", "crossformer_a", "crossformer_tsl_a"):
        other = foreign_file(golden(name)["weights"], tmp_path)
        with pytest.raises(CheckpointError, match="in no layout that itransformer_base knows"):
            load_foreign(other, "itransformer_base")


def test_tokens_follow_the_channels():
    model = ITransformer.from_preset("itransformer_tiny", depth=2, pool="mean", scale="channel").eval()
    x = 20 * torch.randn(2, 19, 1000)
    order = torch.randperm(19)
    with torch.no_grad():
        torch.testing.assert_close(model.forward_features(x[:, order]), model.forward_features(x)[:, order])
        torch.testing.assert_close(model(x[:, order]), model(x))
        torch.testing.assert_close(model(3 * x + 100), model(x), rtol=1e-4, atol=1e-5)
        model.adapt_montage(em.montage.preset("muse"))
        assert model(x[:, :4]).shape == (2, 128) and model.sample_shape == (4, 1000)
    with pytest.raises(ConfigError, match=r"weights for each of its 19 channels \(pool='flatten'\)"):
        ITransformer.from_preset("itransformer_tiny", depth=1).adapt_montage(("Fz",))


@pytest.mark.parametrize("scale", ["window", "channel", "none"])
def test_scale(scale):
    model = ITransformer.from_preset("itransformer_tiny", depth=1, scale=scale).double().eval()
    x = 20 * torch.randn(1, 19, 1000, dtype=torch.float64)
    x[:, 3] *= 5
    x[:, 7] = 4.0  # flat
    y = model.checked(x)
    wanted = {
        "none": lambda: x,
        "channel": lambda: (x - x.mean(2, keepdim=True)) / (x.var(2, keepdim=True, correction=0) + 1e-5).sqrt(),
        "window": lambda: (x - x.mean(2, keepdim=True)) / (x.var(2, correction=0).mean(1)[:, None, None] + 1e-5).sqrt(),
    }[scale]()
    torch.testing.assert_close(y, wanted)
    assert torch.isfinite(model(x)).all()
    with torch.autocast("cpu", torch.bfloat16):
        assert model.float()(x.float()).dtype in (torch.bfloat16, torch.float32)


def test_maps_are_of_channels():
    model = ITransformer.from_preset("itransformer_tiny", depth=2).eval()
    maps = attention_maps(model, torch.randn(2, 19, 1000))
    assert {name: tuple(m.shape) for name, m in maps.items()} == {f"blocks.{k}.attn": (2, 8, 19, 19) for k in range(2)}


def test_inside_ever():
    encoder = {"eeg": {"name": "itransformer_tiny", "config": {"depth": 1}}}
    ever = em.create_model("ever_tiny", encoders=encoder).eval()
    assert ever(eeg=torch.randn(2, 19, 500), video=torch.randn(2, 16, 3, 64, 64)).logits.shape == (2, 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"in_chans": 0}, "in_chans: expected at least 1"),
        ({"embed_dim": 100}, "embed_dim: expected a multiple of num_heads"),
        ({"num_classes": -1}, "num_classes: expected 0"),
        ({"scale_eps": 0.0}, "scale_eps: expected a positive number"),
    ],
)
def test_impossible_configs(change, message):
    with pytest.raises(ConfigError, match=message):
        ITransformerConfig(**change)
