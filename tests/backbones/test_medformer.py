"""Medformer: the authors' numbers with and without channels apart, routers, augmentations, any montage."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import evermodels as em
from evermodels.backbones import Medformer, MedformerConfig
from evermodels.checkpoints.convert import load_foreign
from evermodels.checkpoints.foreign_format import Request
from evermodels.core.errors import CheckpointError, ConfigError
from evermodels.layers import attention_maps
from tests.backbones.series import float32_sinusoid, foreign_file, gradients, no_dropout, relative

SIZES = {"embed_dim": 16, "depth": 2, "num_heads": 4, "num_samples": 32}
SINGLE = {"embed_dim": 8, "depth": 1, "num_heads": 2, "num_samples": 20}


def loaded(golden, tmp_path, name="medformer_a", sizes=SIZES, **more):
    numbers = golden(name)
    source = foreign_file(numbers["weights"], tmp_path)
    return numbers, load_foreign(source, "medformer_base", request=Request({**sizes, **more}))


def with_their_tables(model: Medformer) -> Medformer:
    """In float64, with tables that are rounded as theirs."""
    c = model.double().config
    model.pos_embed = float32_sinusoid(max(c.patches), c.embed_dim)
    model.channel_embed = float32_sinusoid(1 if c.single_channel else c.in_chans, c.num_samples)
    return model


def check_tokens(model, x, wanted, limit):
    patches = model.config.patches
    tokens = model.embed(x)
    for k, part in enumerate(tokens.split(patches, dim=1)):
        assert relative(part, wanted[f"tokens_granularity{k}"]) < limit
    for j, block in enumerate(model.blocks):
        tokens = block(tokens)
        for k, part in enumerate(tokens.split(patches, dim=1)):
            assert relative(part, wanted[f"layer{j}_granularity{k}"]) < limit
    assert relative(model.forward_features(x).view_as(wanted["encoder_output"]), wanted["encoder_output"]) < limit
    assert relative(model(x), wanted["logits"]) < limit


def test_the_authors_numbers(golden, tmp_path):
    numbers, done = loaded(golden, tmp_path)
    model, x = done.model, numbers["input"]["x"].mT
    c = model.config
    assert (c.in_chans, c.patch_sizes, c.inter_attention, c.single_channel) == (6, (2, 4, 8), True, False)
    assert not done.report.left and not done.report.fresh
    with torch.no_grad():
        check_tokens(model, x, numbers["output"], 1e-5)
        maps = attention_maps(model, x)
        for j in range(2):
            for k in range(3):
                ours = maps[f"blocks.{j}.attn.intra.{k}"]
                assert relative(ours, numbers["output"][f"layer{j}_attention{k}"]) < 1e-5
            assert relative(maps[f"blocks.{j}.attn.inter"], numbers["output"][f"layer{j}_attention3"]) < 1e-5
        check_tokens(with_their_tables(model), x.double(), numbers["output64"], 1e-12)


def test_channels_apart_without_routers(golden, tmp_path):
    numbers, done = loaded(golden, tmp_path, "medformer_single_channel_a", SINGLE)
    model, x = done.model, numbers["input"]["x"].mT
    assert (model.config.in_chans, model.config.single_channel, model.config.inter_attention) == (3, True, False)
    with torch.no_grad():
        check_tokens(model, x, numbers["output"], 1e-5)
        check_tokens(with_their_tables(model), x.double(), numbers["output64"], 1e-12)


@pytest.mark.parametrize(("name", "sizes"), [("medformer_a", SIZES), ("medformer_single_channel_a", SINGLE)])
def test_the_authors_gradients(golden, tmp_path, name, sizes):
    numbers, done = loaded(golden, tmp_path, name, sizes, augmentations=[])
    model = no_dropout(done.model.train())
    x = numbers["input"]["x"].mT.clone().requires_grad_()
    (model(x) * numbers["input"]["cotangent"]).sum().backward()
    assert relative(x.grad.mT, numbers["grad"]["input/x"]) < 1e-5
    names = {
        "enc_embedding.value_embeddings.0.tokenConv.weight": "patch_embeds.0.weight",
        "encoder.attn_layers.0.attention.inter_attention.key_projection.weight": "blocks.0.attn.inter.qkv.weight",
        "encoder.attn_layers.1.conv1.weight": "blocks.1.mlp.fc1.weight",
    }
    vector = numbers["grad"].pop("enc_embedding.learnable_embeddings.1", None)
    assert gradients(model, numbers, {k: v for k, v in names.items() if k in numbers["grad"]}) < 1e-5
    assert vector is None or relative(model.granularity.grad[1:2], vector) < 1e-5


def test_another_montage(golden, tmp_path):
    numbers = golden("medformer_a")
    source = foreign_file(numbers["weights"], tmp_path)
    with pytest.raises(ConfigError, match=r"in_chans: expected 6 as in the file.*--spread-channels"):
        load_foreign(source, "medformer_base", request=Request({**SIZES, "in_chans": 4}))
    spread = load_foreign(source, "medformer_base", request=Request({**SIZES, "in_chans": 4}, spread_channels=True))
    assert spread.report.taken["patch_embeds.1.weight"] == "6 -> 4 input channels, spread evenly"
    with pytest.raises(ConfigError, match=r"each of its 4 channels \(patches across all channels\)"):
        spread.model.adapt_montage(("Fz", "Cz"))
    source = foreign_file(golden("medformer_single_channel_a")["weights"], tmp_path)
    with pytest.raises(ConfigError, match=r"in_chans: expected 3 as in the file, whose head has weights"):
        load_foreign(source, "medformer_base", request=Request({**SINGLE, "in_chans": 5}))
    free = {**SINGLE, "in_chans": 5, "num_classes": 0, "single_channel": True, "pool": "mean"}
    encoder = load_foreign(source, "medformer_base", request=Request(free)).model
    x = torch.randn(2, 5, 20)
    with torch.no_grad():
        wide = encoder.forward_features(x)
        assert encoder.adapt_montage(("Fz", "Cz", "Pz")) == {}
        torch.testing.assert_close(encoder.forward_features(x[:, :3]), wide[:, :6])  # two lengths a channel
        assert encoder(x[:, :3]).shape == (2, 8)


def test_the_window_is_asked_for(golden, tmp_path):
    source = foreign_file(golden("medformer_a")["weights"], tmp_path)
    some = {key: value for key, value in SIZES.items() if key != "num_samples"}
    with pytest.raises(ConfigError, match=r"num_samples: the file does not tell the window.*--set num_samples=T"):
        load_foreign(source, "medformer_base", request=Request(some))


def test_neighbours_are_refused(golden, tmp_path):
    for name in ("patchtst_a", "itransformer_a", "crossformer_tsl_a"):
        with pytest.raises(CheckpointError, match="in no layout that medformer_base knows"):
            load_foreign(foreign_file(golden(name)["weights"], tmp_path), "medformer_base")


def test_odd_windows_and_lengths_beyond_them():
    config = MedformerConfig(in_chans=2, num_samples=33, patch_sizes=(5, 50), embed_dim=9, num_heads=3, depth=1)
    model = Medformer(config.replace(num_classes=2)).eval()
    assert config.patches == (7, 1)
    x = torch.randn(2, 2, 33)
    assert torch.isfinite(model(x)).all()
    changed = x.clone()
    changed[..., 31] += 5  # behind the last whole patch of 5, which the router alone would not see
    assert not torch.equal(model(changed), model(x))


def test_augmentation_belongs_to_training_alone():
    model = Medformer.from_preset("medformer_tiny", depth=1, drop_rate=0.0, head_drop_rate=0.0)
    assert model.config.augmentations
    plain = Medformer(model.config.replace(augmentations=()))
    plain.load_state_dict(model.state_dict())
    x = torch.randn(3, 19, 1000)
    drawn = torch.get_rng_state()
    with torch.no_grad():
        assert torch.equal(model.eval()(x), plain.train()(x))
    assert torch.equal(torch.get_rng_state(), drawn)  # nothing is drawn at all
    model.train()
    outputs = {tuple(model(x).flatten()[:3].tolist()) for _ in range(8)}
    assert len(outputs) > 2


def test_gradient_checkpointing_changes_nothing():
    config = {"depth": 2, "drop_rate": 0.0, "head_drop_rate": 0.0, "augmentations": (), "num_classes": 3}
    model = Medformer.from_preset("medformer_tiny", **config).train()
    x = torch.randn(2, 19, 1000)
    grads = []
    for enable in (False, True):
        model.set_grad_checkpointing(enable)
        model.zero_grad()
        model(x).square().sum().backward()
        grads.append([p.grad.clone() for p in model.parameters()])
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b)


def test_published_size():
    with torch.device("meta"):
        model = em.create_model("medformer_base", num_classes=5)
    assert sum(p.numel() for p in model.parameters()) == 2_040_069  # 30 channels, as the reference counts


def test_inside_systems():
    encoder = {"eeg": {"name": "medformer_tiny", "config": {"depth": 1}}}
    ever = em.create_model("ever_tiny", encoders=encoder).eval()
    assert ever(eeg=torch.randn(2, 19, 500), video=torch.randn(2, 16, 3, 64, 64)).logits.shape == (2, 4)
    alone = em.create_model("single_eeg", encoders=encoder).eval()
    alone.adapt_montage(em.montage.preset("epoc"))
    assert alone(eeg=torch.randn(2, 14, 1000)).logits.shape == (2, 2)
    assert not any(isinstance(m, nn.Conv2d) for m in alone.modules())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patch_sizes": ()}, "patch_sizes: expected 1 to 100 lengths of at least 1"),
        ({"patch_sizes": (4, 0)}, "patch_sizes: expected 1 to 100 lengths of at least 1"),
        ({"augmentations": ("flipp",)}, "augmentation: .* got 'flipp'. Did you mean 'flip'"),
        ({"num_samples": 10**9}, "num_samples: expected a window of at most"),
    ],
)
def test_impossible_configs(change, message):
    with pytest.raises(ConfigError, match=message):
        MedformerConfig(**change)
