"""Foreign AST weights, converted: the outputs are those of the foreign model."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

import evermodels as em
from evermodels.backbones import AST, ASTConfig
from evermodels.backbones.audio.ast_foreign import resample_positions
from evermodels.checkpoints.convert import convert
from evermodels.core.errors import CheckpointError, ConfigError

SIZE = {"embed_dim": 24, "depth": 2, "num_heads": 3}


def converted(source, out, **options):
    report = convert(source, out, architecture="ast_base", licence="bsd-3-clause", config=SIZE, **options)
    return em.from_pretrained(out), report


def theirs(kind: str = "ASTForAudioClassification", **config):
    transformers = pytest.importorskip("transformers")
    sizes = {
        "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 96,
        "patch_size": 8, "num_mel_bins": 26, "max_length": 40, "frequency_stride": 6, "time_stride": 5,
    }  # fmt: skip
    model = getattr(transformers, kind)(transformers.ASTConfig(**{**sizes, **config})).eval()
    torch.manual_seed(1)
    with torch.no_grad():
        for p in model.parameters():
            p.normal_(std=0.2)
    return model


def relative(got: torch.Tensor, want: torch.Tensor) -> float:
    return ((got - want).abs().max() / want.abs().max()).item()


@pytest.mark.parametrize("original_format", [True, False])
def test_classifier_of_transformers(tmp_path, original_format):
    labels = {0: "anger", 1: "boredom", 2: "joy"}
    model = theirs(id2label=labels, label2id={v: k for k, v in labels.items()})
    model.save_pretrained(tmp_path / "theirs", save_original_format=original_format)
    names = load_file(tmp_path / "theirs" / "model.safetensors")
    assert any(".encoder.layer." in name for name in names) == original_format
    ours, report = converted(tmp_path / "theirs", tmp_path / "ours")
    x = torch.randn(2, 40, 26)
    with torch.no_grad():
        assert relative(ours(x), model(x).logits) < 1e-5
        want = model.audio_spectrogram_transformer(x)
        assert relative(ours.forward_features(x), want.last_hidden_state) < 1e-5
        ours.reset_classifier(0)
        assert relative(ours(x), want.pooler_output) < 1e-5
    assert report.config["stride"] == "[6, 5] (from the file)"
    assert not report.left and not report.fresh and ours.config.norm_eps == 1e-12


def test_classes_and_bare_encoder(tmp_path):
    labels = {0: "anger", 1: "boredom"}
    theirs(id2label=labels, label2id={v: k for k, v in labels.items()}).save_pretrained(tmp_path / "a")
    ours, _ = converted(tmp_path / "a", tmp_path / "a_ours")
    assert ours.classes == ("anger", "boredom")
    bare = theirs("ASTModel", qkv_bias=False)
    bare.save_pretrained(tmp_path / "b")
    ours, report = converted(tmp_path / "b", tmp_path / "b_ours", num_classes=5)
    x = torch.randn(2, 40, 26)
    with torch.no_grad():
        assert relative(ours.forward_features(x), bare(x).last_hidden_state) < 1e-5
    assert ours(x).shape == (2, 5) and not ours.config.qkv_bias
    assert set(report.fresh) == {"head.norm.weight", "head.norm.bias", "head.fc.weight", "head.fc.bias"}


def authors(model: AST) -> dict[str, torch.Tensor]:
    """A state dict as the authors' repository saves it: DataParallel, v., DeiT's unused heads, mlp_head."""
    head = {"head.norm.": "mlp_head.0.", "head.fc.": "mlp_head.1."}
    state = {}
    for name, tensor in model.state_dict().items():
        new = next((name.replace(a, b) for a, b in head.items() if name.startswith(a)), f"v.{name}")
        state[f"module.{new}"] = tensor
    unused = {f"module.v.{head}.bias": torch.zeros(1000) for head in ("head", "head_dist")}
    return {**state, **unused}


def test_file_of_the_authors_and_another_length(tmp_path):
    config = ASTConfig(**SIZE, num_frames=128, num_classes=35)
    torch.manual_seed(2)
    source = AST(config).eval()
    torch.save(authors(source), tmp_path / "audio_model.pth")
    ours, report = converted(tmp_path / "audio_model.pth", tmp_path / "same")
    x = torch.randn(2, 128, 128)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), source(x), rtol=0, atol=0)
    assert set(report.left) == {"v.head.bias", "v.head_dist.bias"} and ours.config.num_frames == 128
    asked = {**SIZE, "num_frames": 300, "num_mels": 64}
    report = convert(
        tmp_path / "audio_model.pth", tmp_path / "other", architecture="ast_base", licence="x", config=asked
    )
    other = em.from_pretrained(tmp_path / "other")
    assert other(torch.randn(1, 300, 64)).shape == (1, 35)
    assert "12 by 12 -> 5 by 29 positions" in report.taken["pos_embed"]
    torch.testing.assert_close(other.pos_embed, resample_positions(source.pos_embed, (12, 12), (5, 29)))
    assert "pos_embed" in other.provenance["changed"]


def test_positions_are_cut_around_the_middle_or_interpolated():
    """Written out again: each axis by itself, in the authors' order."""
    table = torch.randn(1, 2 + 12 * 101, 6)
    grid = table[0, 2:].reshape(12, 101, 6)
    shorter = resample_positions(table, (12, 101), (12, 49))
    torch.testing.assert_close(shorter[0, 2:].reshape(12, 49, 6), grid[:, 50 - 24 : 50 - 24 + 49], rtol=0, atol=0)
    fewer = resample_positions(table, (12, 101), (5, 101))
    torch.testing.assert_close(fewer[0, 2:].reshape(5, 101, 6), grid[6 - 2 : 6 - 2 + 5], rtol=0, atol=0)
    longer = resample_positions(table, (12, 101), (12, 150))
    by_row = F.interpolate(grid.permute(0, 2, 1), size=150, mode="linear").permute(0, 2, 1)  # each row of mel bands
    torch.testing.assert_close(longer[0, 2:].reshape(12, 150, 6), by_row, rtol=1e-4, atol=1e-4)
    assert torch.equal(longer[:, :2], table[:, :2]) and torch.equal(shorter[:, :2], table[:, :2])
    assert torch.equal(resample_positions(table, (12, 101), (12, 101)), table)


class TestRefused:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"hidden_act": "relu"}, "hidden_act: expected 'gelu', got 'relu'"),
            ({"model_type": "vit"}, "model_type: expected 'audio-spectrogram-transformer', got 'vit'"),
            ({"max_length": None}, "no 'max_length'"),
            ({"max_length": 100}, r"pos_embed: expected 2 \+ 4 · 19 positions for 26 mel bands and 100 frames"),
        ],
    )
    def test_configuration(self, tmp_path, change, message):
        theirs().save_pretrained(tmp_path / "theirs")
        path = tmp_path / "theirs" / "config.json"
        config = {**json.loads(path.read_text()), **change}
        path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
        with pytest.raises(CheckpointError, match=message):
            converted(tmp_path / "theirs", tmp_path / "ours")
        assert not (tmp_path / "ours").exists()

    def test_positions_of_no_known_length(self, tmp_path):
        torch.save(AST(ASTConfig(**SIZE, num_frames=200)).state_dict(), tmp_path / "a.pth")
        with pytest.raises(ConfigError, match=r"source_size: 228 positions.*--source-size MELS FRAMES"):
            converted(tmp_path / "a.pth", tmp_path / "ours")
        ours, _ = converted(tmp_path / "a.pth", tmp_path / "ours", source_size=(128, 200))
        assert ours.config.num_frames == 200

    def test_an_image_model(self, tmp_path):
        state = AST(ASTConfig(**SIZE)).state_dict()
        state["patch_embed.proj.weight"] = torch.zeros(24, 3, 16, 16)
        torch.save(state, tmp_path / "deit.pth")
        with pytest.raises(CheckpointError, match="square patches of one channel, got 3 channels"):
            converted(tmp_path / "deit.pth", tmp_path / "ours")
