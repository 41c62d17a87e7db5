"""TVLT: the golden numbers of its repository, blank patches, both foreign layouts, and what is ours in it."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors import safe_open

import evermodels as em
from evermodels.checkpoints.convert import convert, load_foreign
from evermodels.checkpoints.foreign_format import Request
from evermodels.core.errors import CheckpointError, ConfigError, ShapeError
from evermodels.layers import attention_maps
from evermodels.models import TVLT, TVLTAudio
from tests.conftest import GOLDEN

# 32 frames of 16 bands, and 2 frames of 16² in patches of 8.
SPEC = {
    "window_seconds": 0.335,
    "video": {"num_frames": 2, "size": [16, 16]},
    "audio": {"n_mels": 16, "mean": 0.0, "std": 1.0},
}
ASKED = {"num_heads": 2, "depth": 2, "input_spec": SPEC}


def relative(got: torch.Tensor, want: torch.Tensor) -> float:
    return ((got - want).abs().max() / want.abs().max()).item()


@pytest.fixture
def saved(golden, tmp_path):
    """The golden weights as the authors' code saves them, and its numbers."""
    data = golden("tvlt_a")
    torch.save({"state_dict": data["weights"]}, tmp_path / "tvlt.ckpt")
    return tmp_path / "tvlt.ckpt", data


def loaded(path, name: str = "tvlt_audio_base", **changes):
    return load_foreign(path, name, request=Request({**ASKED, **changes}))


def inputs(data, dtype=torch.float32):
    return {"video": data["input"]["video"].to(dtype), "audio": data["input"]["audio"][:, 0].to(dtype)}


def test_golden(saved):
    path, data = saved
    done = loaded(path)
    model = done.model
    assert set(done.report.fresh) == {"absent.video", "absent.audio"}
    assert any(name.startswith("decoder_blocks") for name in done.report.left)
    assert "the first 4 of 10 moments" in str(done.report) and "the first 2 of 6 frames" in str(done.report)
    got, seen = {}, []
    for k, block in enumerate(model.blocks):
        block.register_forward_hook(lambda m, i, o, k=k: got.update({f"block{k}": o}))
        block.register_forward_pre_hook(lambda m, i: seen.append(i))
    model.norm.register_forward_hook(lambda m, i, o: got.update(sequence=o))
    with torch.no_grad():
        output = model(**inputs(data))
    got |= {"logits": output.logits, "pooled": output.embedding, "tokens": seen[0][0]}
    assert torch.equal(seen[0][1], data["output"]["key_mask"]) and not seen[0][1].all()  # some patches are blank
    for key, value in got.items():
        assert relative(value, data["output"][key]) < 1e-5, key
    assert {k for k in data["output"] if not k.startswith("mae_")} == {*got, "key_mask"}
    seen.clear(), got.clear()
    with torch.no_grad():
        output = model.double()(**inputs(data, torch.float64))
    got |= {"logits": output.logits, "pooled": output.embedding, "tokens": seen[0][0]}
    for key, value in got.items():
        assert relative(value, data["output64"][key]) < 1e-10, key


def test_golden_gradients(saved):
    path, data = saved
    model = loaded(path).model.train()
    given = {name: x.clone().requires_grad_() for name, x in inputs(data).items()}
    (model(**given).logits * data["input"]["cotangent"]).sum().backward()
    own = {name: p.grad for name, p in model.named_parameters()}
    got = {
        "input/video": given["video"].grad,
        "input/audio": given["audio"].grad[:, None],
        "blocks.0.attn.qkv.weight": own["blocks.0.attn.qkv.weight"],
        "classifier.1.weight": own["head.0.weight"],
        "freq_embed": own["audio_encoder.freq_embed"],
        "patch_embed_v.proj.bias": own["video_encoder.proj.bias"],
        # Rows that two frames do not reach are left behind.
        "temporal_embed": torch.cat([own["video_encoder.temporal_embed"], torch.zeros(1, 4, 16)], dim=1),
        "type_embed_a": own["type_embed.audio"][None, None],
    }
    assert set(got) == set(data["grad"])
    for key, want in data["grad"].items():
        assert relative(got[key], want) < 1e-4, key


def folder_of_transformers(weights: dict[str, torch.Tensor], folder) -> None:
    folder.mkdir()
    torch.save(weights, folder / "pytorch_model.bin")
    config = {"model_type": "tvlt", "hidden_act": "gelu", "num_attention_heads": 2, "layer_norm_eps": 1e-6}
    (folder / "config.json").write_text(json.dumps(config))


class TestTransformers:
    """The numbers of its release 4.40.2, the last that has TVLT."""

    @pytest.fixture
    def made(self, golden, tmp_path):
        data = golden("tvlt_transformers_a")
        folder_of_transformers(data["weights"], tmp_path / "theirs")
        return loaded(tmp_path / "theirs"), data

    def test_its_numbers(self, made):
        done, data = made
        assert not done.report.left and set(done.report.fresh) == {"absent.video", "absent.audio"}
        model = done.model
        assert not model.config.pooler and model.config.blank is None and model.config.class_token == "visible"
        got = {}
        model.blocks[0].register_forward_pre_hook(lambda m, i: got.update(tokens=i[0]))
        model.norm.register_forward_hook(lambda m, i, o: got.update(sequence=o))
        for dtype, group, limit in ((torch.float32, "output", 1e-5), (torch.float64, "output64", 1e-12)):
            with torch.no_grad():
                got["logits"] = model.to(dtype)(**inputs(data, dtype)).logits
            assert got.keys() == data[group].keys()
            for key, theirs in data[group].items():
                # There eight patches of video stand before eight of sound, which changes nothing but their order.
                want = theirs if key == "logits" else torch.cat([theirs[:, :1], theirs[:, 9:], theirs[:, 1:9]], dim=1)
                assert relative(got[key], want) < limit, key

    def test_its_gradients(self, made):
        done, data = made
        model = done.model.train()
        given = {name: x.clone().requires_grad_() for name, x in inputs(data).items()}
        (model(**given).logits * data["input"]["cotangent"]).sum().backward()
        own = {name: p.grad for name, p in model.named_parameters()}
        got = {
            "input/video": given["video"].grad,
            "input/audio": given["audio"].grad[:, None],
            "tvlt.audio_embeddings.pos_embed_a": own["audio_encoder.pos_embed"],
            "tvlt.encoder.layer.0.attention.attention.value.weight": own["blocks.0.attn.qkv.weight"][32:],
            "tvlt.cls_embedding": own["cls_token"],
            "classifier.0.weight": own["head.0.weight"],
            "tvlt.pixel_embeddings.temporal_embed": own["video_encoder.temporal_embed"],
        }
        assert set(got) == set(data["grad"])
        for key, want in data["grad"].items():
            assert relative(got[key], want) < 1e-5, key

    def test_with_eeg_in_sound_s_place(self, made, tmp_path):
        """Patches of sound spread over electrodes give its tokens where all electrodes hold the same picture."""
        audio = made[0].model
        spec = {"video": SPEC["video"], "eeg": {"ch_names": ["Fz", "Cz"], "sfreq": 100.0}}
        request = Request({**ASKED, "input_spec": spec, "spectrogram_size": [16, 32]}, spread_channels=True)
        eeg = load_foreign(tmp_path / "theirs", "tvlt_base", request=request).model
        assert type(eeg) is TVLT and not eeg.config.pooler
        picture = torch.randn(2, 1, 16, 32)
        with torch.no_grad():
            want = audio.encoder("audio")(picture)
            assert relative(eeg.encoder("eeg")(picture.expand(-1, 2, -1, -1)), want) < 1e-5

    def test_a_pre_trained_file_leaves_its_decoders(self, golden, tmp_path):
        data = golden("tvlt_transformers_a")
        with safe_open(GOLDEN / "tvlt_transformers_a.safetensors", "pt") as file:
            beyond = json.loads(file.metadata()["pretraining_names"])  # what ...ForPreTraining has besides
        weights = {k: v for k, v in data["weights"].items() if not k.startswith("classifier")}
        folder_of_transformers(weights | {k: torch.zeros(shape) for k, shape in beyond.items()}, tmp_path / "pre")
        done = loaded(tmp_path / "pre", num_classes=0)
        assert len(beyond) == 36 and set(done.report.left) == set(beyond)
        with pytest.raises(CheckpointError, match=r"config\.json"):
            (tmp_path / "pre" / "config.json").unlink()
            loaded(tmp_path / "pre")


def test_converted_to_another_size_to_eeg_and_not_from_a_neighbour(saved, tmp_path):
    path, data = saved
    spec = {"video": {"num_frames": 8, "size": [24, 16]}, "eeg": {"ch_names": ["Fz", "Cz"], "sfreq": 100.0}}
    asked = {**ASKED, "input_spec": spec, "spectrogram_size": [32, 96]}
    report = convert(
        path, tmp_path / "ours", architecture="tvlt_base", licence="mit", spread_channels=True, config=asked
    )
    for said in ("10 -> 12 moments", "2 -> 4 frequencies", "6 -> 8 frames", "2 by 2 -> 3 by 2", "1 -> 2 input"):
        assert said in str(report)
    model = em.from_pretrained(tmp_path / "ours")
    assert type(model) is TVLT and model.config.class_token == "first_patch"
    assert model(eeg=torch.randn(1, 2, 2000), video=torch.randn(1, 8, 3, 24, 16)).logits.shape == (1, 6)
    cut = dict(data["weights"], pos_embed_v=torch.zeros(1, 5, 16))
    torch.save(cut, tmp_path / "cut.pth")
    with pytest.raises(ConfigError, match="no square picture"):
        loaded(tmp_path / "cut.pth", input_spec={**SPEC, "video": {"num_frames": 2, "size": [24, 16]}})
    torch.save({k: v for k, v in data["weights"].items() if "_a." not in k}, tmp_path / "video.pth")
    with pytest.raises(CheckpointError, match="in no layout that tvlt_base knows"):
        convert(tmp_path / "video.pth", tmp_path / "x", architecture="tvlt_base", licence="mit")
    pre_trained = {k: v for k, v in data["weights"].items() if not k.startswith("classifier")}
    torch.save(pre_trained, tmp_path / "pre.pth")
    done = loaded(tmp_path / "pre.pth")
    assert {"pooler.weight", "pooler.bias"} <= set(done.report.fresh) and done.model.config.num_classes == 0


def tiny(**changes) -> TVLTAudio:
    torch.manual_seed(1)
    return em.create_model("tvlt_audio_tiny", depth=1, **changes).eval()


def drawn(model, n: int = 3) -> dict[str, torch.Tensor]:
    return {m: torch.rand(n, *model.input_spec.shape(m)) for m in model.modalities}


def test_blank_patches_are_asked_by_nobody():
    model = tiny()
    x = drawn(model)
    x["audio"][0, 320:] = -1.0
    x["video"][1, 5:] = -1.0
    x["video"][2] = -1.0
    with torch.no_grad():
        full = model(**x)
        # What is hidden may as well be masked frames that hold anything.
        masks = {
            "audio": torch.arange(498).lt(320).expand(3, -1) | torch.tensor([False, True, True])[:, None],
            "video": torch.ones(3, 8, dtype=torch.bool),
        }
        masks["video"][1, 5:] = False
        other = {m: y.clone() for m, y in x.items()}
        other["audio"][0, 320:], other["video"][1, 5:] = 9.0, float("nan")
        torch.testing.assert_close(model(**other, masks=masks).logits, full.logits, rtol=1e-5, atol=1e-6)
        maps = attention_maps(model, **x)["blocks.0.attn"]  # (batch, heads, n, n)
        hidden = 1 + 20 * 4  # the class token, and the moments of sound that are heard
        assert not maps[0, :, :, hidden : 1 + 32 * 4].any() and maps[1, :, :, hidden : 1 + 32 * 4].all()
        seen = tiny(blank=None)(**x)
        assert not torch.allclose(seen.logits[0], full.logits[0])
        # A sample without any valid frame has no video.
        none = {"video": torch.tensor([True, True, False])[:, None].expand(3, 8)}
        gone = {"video": torch.tensor([True, True, False])}
        torch.testing.assert_close(model(**x, masks=none).logits, model(**x, present=gone).logits)
        assert torch.isfinite(model(**{m: torch.full_like(y, -1) for m, y in x.items()}).logits).all()
        first = tiny(class_token="first_patch")(**{m: torch.full_like(y, -1) for m, y in x.items()})
        assert torch.isfinite(first.logits).all()


def test_masks_that_do_not_fit():
    model = tiny()
    x = drawn(model)
    for masks, error, message in (
        ({"video": torch.ones(3, 9).bool()}, ShapeError, "frames=8"),
        ({"audio": torch.ones(3, 498)}, ConfigError, "expected bool"),
        ({"smell": torch.ones(3, 498)}, ConfigError, "smell"),
    ):
        with pytest.raises(error, match=message):
            model(**x, masks=masks)
    with pytest.raises(ShapeError, match="have no modality"):
        model(video=x["video"], masks={"video": torch.zeros(3, 8).bool()})
    silent = model(**x, masks={"audio": torch.zeros(3, 498).bool()})
    torch.testing.assert_close(silent.logits, model(**x).logits)  # silence is heard whole
    whole = em.create_model(
        "tvlt_tiny", encoders={"video": {"name": "videomae_nano", "config": {"depth": 1}}}, depth=1
    ).eval()
    with pytest.raises(ConfigError, match="reads a sample as a whole"):
        whole(video=torch.zeros(1, 8, 3, 64, 64), masks={"video": torch.ones(1, 8).bool()})


def test_sizes():
    with torch.device("meta"):
        model = TVLTAudio.from_preset("tvlt_audio_base", num_classes=5)
        # 64 moments and 8 frames of the authors' 1020 and 64, no decoder; two tokens for absent modalities.
        ours = sum(p.numel() for p in model.parameters()) - 2 * 768
        head = 768 * 768 + 768 + 768 * 1536 + 3 * 1536 + 1536 * 5 + 5
        assert ours - head == 86_835_456 - (1020 - 64 + 64 - 8) * 768
        for name in ("tvlt_tiny", "tvlt_audio_tiny"):
            assert sum(p.numel() for p in em.create_model(name).parameters()) <= 1_500_000
    for changes, message in (
        ({"num_heads": 5}, "divisor of dim"),
        ({"depth": 0}, "at least 1"),
        ({"class_token": "never"}, "class_token"),
        ({"input_spec": {"video": {"size": [60, 64]}}}, "multiples of patch_size"),
    ):
        with pytest.raises(ConfigError, match=message):
            em.create_model("tvlt_tiny", **changes)


def test_an_encoder_is_taken_over_at_another_size(tmp_path):
    short = tiny().save_pretrained(tmp_path / "short")
    spec = {"window_seconds": 8.0, "video": {"num_frames": 6, "size": [96, 64]}, "audio": {"n_mels": 128}}
    long = tiny(input_spec=spec)
    for name in ("video", "audio"):
        assert long.load_encoder(name, short) > 0
    source, target = em.from_pretrained(short), long
    torch.testing.assert_close(target.video_encoder.temporal_embed, source.video_encoder.temporal_embed[:, :6])
    assert target.video_encoder.pos_embed.shape == (1, 24, 96) and target.audio_encoder.freq_embed.shape == (1, 8, 96)
    torch.testing.assert_close(
        target.audio_encoder.pos_embed.mean(), source.audio_encoder.pos_embed.mean(), atol=1e-3, rtol=0
    )
