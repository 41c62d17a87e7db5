"""Crossformer: the authors' and Time-Series-Library's numbers, merging, tables for other windows and channels."""

from __future__ import annotations

import pytest
import torch

import evermodels as em
from evermodels.backbones import Crossformer, CrossformerConfig
from evermodels.backbones.eeg.crossformer import SegmentMerging
from evermodels.checkpoints.convert import load_foreign
from evermodels.checkpoints.foreign_format import Request
from evermodels.core.errors import CheckpointError, ConfigError
from evermodels.layers import attention_maps
from tests.backbones.series import float32_sinusoid, foreign_file, gradients, no_dropout, relative

SIZES = {"embed_dim": 16, "depth": 2, "num_heads": 4}


def loaded(golden, tmp_path, name, **config):
    numbers = golden(name)
    source = foreign_file(numbers["weights"], tmp_path)
    return numbers, load_foreign(source, "crossformer_base", request=Request({**SIZES, **config}))


def check_scales(model, x, wanted, limit):
    with torch.no_grad():
        assert relative(model.embed(x), wanted["segment_tokens"]) < limit
        for k, tokens in enumerate(model.forward_scales(x)):
            assert relative(tokens, wanted[f"scale{k}"]) < limit


def test_the_authors_numbers(golden, tmp_path):
    numbers, done = loaded(golden, tmp_path, "crossformer_a")
    c = done.model.config
    assert (c.padding, c.segment_bias, c.sinusoid) == ("start", True, False) and c.segments == (8, 4)
    assert set(done.report.left.values()) == {"the decoder, which forecasts"}
    check_scales(done.model, numbers["input"]["x"].mT, numbers["output"], 1e-5)
    check_scales(done.model.double(), numbers["input"]["x"].mT.double(), numbers["output64"], 1e-12)


def test_the_library_s_numbers(golden, tmp_path):
    numbers, done = loaded(golden, tmp_path, "crossformer_tsl_a")
    model, x = done.model, numbers["input"]["x"].mT
    assert model.config.segments == (5, 3) and model.config.in_chans == 3
    check_scales(model, x, numbers["output"], 1e-5)
    with torch.no_grad():
        assert relative(model(x), numbers["output"]["logits"]) < 1e-5
        model = model.double()
        model.sinusoid = float32_sinusoid(5, 16)
        check_scales(model, x.double(), numbers["output64"], 1e-12)
        assert relative(model(x.double()), numbers["output64"]["logits"]) < 1e-12


def test_the_library_s_gradients(golden, tmp_path):
    numbers, done = loaded(golden, tmp_path, "crossformer_tsl_a")
    model = no_dropout(done.model.train())
    x = numbers["input"]["x"].mT.clone().requires_grad_()
    (model(x) * numbers["input"]["cotangent"]).sum().backward()
    assert relative(x.grad.mT, numbers["grad"]["input/x"]) < 1e-5
    names = {
        "enc_pos_embedding": "pos_embed",
        "enc_value_embedding.value_embedding.weight": "segment_embed.weight",
        "encoder.encode_blocks.0.encode_layers.0.router": "scales.0.layers.0.router",
        "encoder.encode_blocks.1.merge_layer.linear_trans.weight": "scales.1.merge.proj.weight",
    }
    assert gradients(model, numbers, names) < 1e-5


def test_padding_is_the_nearest_sample():
    x = torch.arange(1.0, 8.0).view(1, 1, 7)
    for padding, wanted in (("end", [[1, 2, 3, 4], [5, 6, 7, 7]]), ("start", [[1, 1, 2, 3], [4, 5, 6, 7]])):
        model = Crossformer(
            CrossformerConfig(
                in_chans=1, num_samples=7, segment_size=4, embed_dim=4, padding=padding, sinusoid=False, scale="none"
            )
        )
        model.pre_norm = torch.nn.Identity()
        with torch.no_grad():
            model.segment_embed.weight.copy_(torch.eye(4))
            model.pos_embed.zero_()
        assert model.embed(x)[0, 0].tolist() == wanted


@pytest.mark.parametrize(
    ("count", "size", "order"),
    [
        (4, 2, [[0, 1], [2, 3]]),
        (5, 2, [[0, 1], [2, 3], [4, 4]]),
        (4, 3, [[0, 1, 2], [3, 2, 3]]),  # as the reference: the last two once more, in order
        (1, 3, [[0, 0, 0]]),
    ],
)
def test_merging(count, size, order):
    merge = SegmentMerging(CrossformerConfig(embed_dim=4, merge_size=size))
    x = torch.randn(2, 3, count, 4)
    wanted = torch.stack([torch.cat([x[:, :, i] for i in row], dim=-1) for row in order], dim=2)
    torch.testing.assert_close(merge(x), merge.proj(merge.norm(wanted)))


def test_another_window_resamples_positions_and_routers(golden, tmp_path):
    weights = golden("crossformer_tsl_a")["weights"]
    asked = {"num_samples": 108, "num_classes": 0}
    _, done = loaded(golden, tmp_path, "crossformer_tsl_a", **asked)
    assert done.report.taken["pos_embed"] == "5 -> 9 segments, linear"
    assert done.report.taken["scales.1.layers.0.router"] == "routers of 3 -> 5 segments, linear"
    table, ours = weights["enc_pos_embedding"], done.model.pos_embed
    torch.testing.assert_close(ours[:, :, 4], table[:, :, 2], rtol=1e-6, atol=1e-6)  # the middle stays
    torch.testing.assert_close(ours[:, :, 0], table[:, :, 0])
    router = weights["encoder.encode_blocks.1.encode_layers.0.router"]
    torch.testing.assert_close(done.model.scales[1].layers[0].router[2], router[1])
    assert done.model(torch.randn(2, 3, 108)).shape == (2, done.model.embed_dim)
    with pytest.raises(ConfigError, match=r"head.weight: the file's head reads 144 numbers"):
        loaded(golden, tmp_path, "crossformer_tsl_a", num_samples=108)


def test_another_montage_only_when_asked_for(golden, tmp_path):
    numbers = golden("crossformer_tsl_a")
    source = foreign_file(numbers["weights"], tmp_path)
    asked = {**SIZES, "in_chans": 7, "num_classes": 0}
    with pytest.raises(ConfigError, match=r"in_chans: expected 3 as in the file.*--spread-channels"):
        load_foreign(source, "crossformer_base", request=Request(asked))
    done = load_foreign(source, "crossformer_base", request=Request(asked, spread_channels=True))
    assert done.report.taken["pos_embed"] == "3 -> 7 channels, each the mean"
    mean = numbers["weights"]["enc_pos_embedding"].mean(dim=1)
    torch.testing.assert_close(done.model.pos_embed[:, 5], mean)
    with pytest.raises(ConfigError, match=r"each of its 7 channels \(each has learned positions\).*single_eeg"):
        done.model.adapt_montage(("Fz", "Cz"))


def test_neighbours_are_refused(golden, tmp_path):
    for name in ("patchtst_a", "itransformer_a", "medformer_a"):
        with pytest.raises(CheckpointError, match="in no layout that crossformer_base knows"):
            load_foreign(foreign_file(golden(name)["weights"], tmp_path), "crossformer_base")


def test_maps_and_steps():
    model = Crossformer.from_preset("crossformer_tiny", depth=2).eval()
    x = torch.randn(2, 19, 1000)
    maps = {name: tuple(m.shape) for name, m in attention_maps(model, x).items()}
    assert maps["scales.0.layers.0.time_attn"] == (2 * 19, 4, 20, 20)
    assert maps["scales.0.layers.0.sender"] == (2 * 20, 4, 4, 19)  # what routers read of channels
    assert maps["scales.1.layers.0.receiver"] == (2 * 10, 4, 19, 4)
    assert model.forward_steps(x).shape == (2, 10, model.step_dim)


def test_gradient_checkpointing_changes_nothing():
    model = Crossformer.from_preset(
        "crossformer_tiny", depth=2, drop_rate=0.0, head_drop_rate=0.0, num_classes=3
    ).train()
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
    encoder = {"eeg": {"name": "crossformer_tiny", "config": {"depth": 2}}}
    ever = em.create_model("ever_tiny", encoders=encoder).eval()
    assert ever(eeg=torch.randn(2, 19, 500), video=torch.randn(2, 16, 3, 64, 64)).logits.shape == (2, 4)
    alone = em.create_model("single_eeg", encoders=encoder).eval()
    alone.adapt_montage(em.montage.preset("epoc"))
    assert alone(eeg=torch.randn(2, 14, 1000)).logits.shape == (2, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"merge_size": 1}, "merge_size: expected at least 2"),
        ({"segment_size": 0}, "segment_size: expected at least 1"),
        ({"num_routers": 0}, "num_routers: expected at least 1"),
        ({"layers_per_scale": 10**6}, "layers_per_scale: expected at most 100"),
        ({"num_samples": 10**9}, "num_samples: expected a window of at most"),
        ({"padding": "middle"}, "padding: expected one of 'end', 'start'"),
    ],
)
def test_impossible_configs(change, message):
    with pytest.raises(ConfigError, match=message):
        CrossformerConfig(**change)
