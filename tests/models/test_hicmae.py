"""HiCMAE: the golden numbers of its repository, its converted weights, and what is ours in it."""

from __future__ import annotations

import pytest
import torch

import evermodels as em
from evermodels.backbones import SpectrogramViT, VideoMAE
from evermodels.checkpoints.convert import convert, load_foreign
from evermodels.checkpoints.foreign_format import Request
from evermodels.core.errors import CheckpointError, ConfigError
from evermodels.layers import CrossAttention, CrossAttentionBlock, attention_maps
from evermodels.models import HiCMAE, HiCMAEAudio

# 32 frames of 16 bands, and 4 frames of 16² in patches of 8.
SPEC = {
    "window_seconds": 0.335,
    "video": {"num_frames": 4, "size": [16, 16]},
    "audio": {"n_mels": 16, "mean": 0.0, "std": 1.0},
}


def relative(got: torch.Tensor, want: torch.Tensor) -> float:
    return ((got - want).abs().max() / want.abs().max()).item()


@pytest.fixture
def saved(golden, tmp_path):
    """The golden weights as the authors' code saves them, and its numbers."""
    data = golden("hicmae_a")
    torch.save({"model": data["weights"]}, tmp_path / "hicmae.pth")
    return tmp_path / "hicmae.pth", data


def loaded(path):
    asked = Request({"num_heads": 2, "input_spec": SPEC})
    return load_foreign(path, "hicmae_audio_base", request=asked)


def inputs(data, dtype=torch.float32):
    x, sound = data["input"]["x"], data["input"]["x_audio"]
    return {"video": x.transpose(1, 2).to(dtype), "audio": sound[:, 0].to(dtype)}


def test_golden(saved):
    path, data = saved
    done = loaded(path)
    model = done.model
    assert not done.report.left and set(done.report.fresh) == {"absent.video", "absent.audio"}
    got = {}
    for name, part in (("video", "video"), ("audio", "audio")):
        encoder = model.encoder(name)
        encoder.blocks[0].register_forward_hook(lambda m, i, o, part=part: got.update({f"{part}_block0": o}))
        model.fusion[name][0].register_forward_hook(lambda m, i, o, part=part: got.update({f"fusion_{part}0": o}))
    with torch.no_grad():
        output = model(**inputs(data))
        got |= {"logits": output.logits, "feature": output.embedding}
        for name in ("video", "audio"):
            levels = model.encoder(name).forward_intermediates(model.made(name, inputs(data)[name]))
            got[f"{name}_layers"] = torch.stack(levels, dim=2)
    assert set(got) == set(data["output"])
    for key, want in data["output"].items():
        assert relative(got[key], want) < 1e-5, key
    with torch.no_grad():
        double = model.double()(**inputs(data, torch.float64))
    # The reference adds its sinusoid in float32 in any precision, and so do we.
    assert relative(double.logits, data["output64"]["logits"]) < 1e-10
    assert relative(double.embedding, data["output64"]["feature"]) < 1e-10


def test_golden_gradients(saved):
    path, data = saved
    model = loaded(path).model.train()
    given = {name: x.clone().requires_grad_() for name, x in inputs(data).items()}
    (model(**given).logits * data["input"]["cotangent"]).sum().backward()
    own = dict(model.named_parameters())
    got = {
        "input/x": given["video"].grad.transpose(1, 2),
        "input/x_audio": given["audio"].grad[:, None],
        "encoder.patch_embed.proj.bias": own["video_encoder.patch_embed.proj.bias"].grad,
        "encoder_audio.patch_embed.proj.weight": own["audio_encoder.patch_embed.proj.weight"].grad,
        "encoder_fusion.blocks.0.cross_attn.kv.weight": own["fusion.video.0.cross_attn.kv.weight"].grad,
        "encoder_fusion.blocks_audio.0.cross_norm2.weight": own["fusion.audio.0.cross_norm2.weight"].grad,
        "video_layer_weights": own["level_weight.video"].grad,
    }
    assert set(got) == set(data["grad"])
    for key, want in data["grad"].items():
        assert relative(got[key], want) < 1e-4, key


def test_converted_to_eeg_and_refused_where_it_is_another_model(saved, tmp_path):
    path, data = saved
    options = {
        "architecture": "hicmae_base",
        "licence": "mit",
        "num_classes": 3,
        "config": {
            "num_heads": 2,
            "spectrogram_size": [16, 32],
            "input_spec": {"video": SPEC["video"], "eeg": {"ch_names": ["Fz", "Cz", "Pz"], "sfreq": 100.0}},
        },
    }
    with pytest.raises(ConfigError, match="spread_channels"):
        convert(path, tmp_path / "no", **options)
    report = convert(path, tmp_path / "ours", spread_channels=True, **options)
    assert "1 -> 3 input channels" in str(report)
    model = em.from_pretrained(tmp_path / "ours")
    assert (
        type(model) is HiCMAE and model.config.num_classes == 3 and "mit" in (tmp_path / "ours/README.md").read_text()
    )
    x = torch.randn(2, 1, 16, 32)  # the same picture in every channel is the file's own
    want = loaded(path).model.encoder("audio").forward_features(x)
    torch.testing.assert_close(
        model.encoder("eeg").forward_features(x.expand(2, 3, 16, 32)), want, rtol=1e-5, atol=1e-5
    )
    # An encoder of it enters another system.
    whole = em.from_pretrained(model.save_pretrained(tmp_path / "again"))
    assert whole.load_encoder("video", tmp_path / "ours") > 0
    video_only = {k: v for k, v in data["weights"].items() if k.startswith("encoder.")}
    torch.save(video_only, tmp_path / "videomae.pth")
    with pytest.raises(CheckpointError, match="in no layout that hicmae_base knows"):
        convert(tmp_path / "videomae.pth", tmp_path / "x", **options)
    small = {"num_heads": 2, "embed_dim": 16, "depth": 2, "num_frames": 4, "img_size": [16, 16]}
    with pytest.raises(CheckpointError, match=r"encoder_audio|encoder_fusion"):
        convert(path, tmp_path / "x", architecture="videomae_base", licence="mit", config=small)
    pre_trained = {
        k: v for k, v in data["weights"].items() if not k.startswith(("fc_norm", "head", "video_l", "audio_l"))
    }
    torch.save({**pre_trained, "decoder.head.weight": torch.zeros(3, 3)}, tmp_path / "pre.pth")
    done = load_foreign(
        tmp_path / "pre.pth", "hicmae_audio_base", request=Request(options["config"] | {"input_spec": SPEC})
    )
    assert {"fc_norm.weight", "level_weight.video"} <= set(
        done.report.fresh
    ) and "decoder.head.weight" in done.report.left


def test_both_directions_read_the_same_step():
    torch.manual_seed(0)
    model = em.create_model("hicmae_tiny", fusion_depth=2).eval()
    video, eeg = torch.randn(2, 5, 96), torch.randn(2, 3, 96)
    own = {"video": video.mean(1), "eeg": eeg.mean(1)}
    got = model._fuse({"video": video, "eeg": eeg}, own)
    for k in range(2):
        old = video, eeg
        video = model.fusion["video"][k](*old)
        eeg = model.fusion["eeg"][k](old[1], old[0])
    means = [model.fusion_norm["video"](video).mean(1), model.fusion_norm["eeg"](eeg).mean(1)]
    torch.testing.assert_close(got, model.fc_norm(torch.cat([own["video"], own["eeg"], *means], 1)))


def test_cross_attention_is_a_plain_loop_and_says_where_it_looks():
    torch.manual_seed(0)
    layer = CrossAttention(8, 2, 6, key_bias=False).double()
    torch.nn.init.normal_(layer.q_bias), torch.nn.init.normal_(layer.v_bias)
    x, context = torch.randn(1, 3, 8).double(), torch.randn(1, 4, 6).double()
    key, value = layer.kv.weight.chunk(2)
    want = torch.zeros(1, 3, 8).double()
    for head in (slice(0, 4), slice(4, 8)):
        for i in range(3):
            q = layer.q.weight[head] @ x[0, i] + layer.q_bias[head]
            score = torch.stack([(q @ (key[head] @ c)) / 2 for c in context[0]]).softmax(0)
            want[0, i, head] = sum(
                w * (value[head] @ c + layer.v_bias[head]) for w, c in zip(score, context[0], strict=True)
            )
    torch.testing.assert_close(layer(x, context), layer.proj(want))
    assert torch.autograd.gradcheck(layer, (x.requires_grad_(), context.requires_grad_()))
    maps = attention_maps(CrossAttentionBlock(8, 2), torch.randn(1, 3, 8), torch.randn(1, 4, 8))
    assert [tuple(w.shape) for w in maps.values()] == [(1, 2, 3, 4), (1, 2, 3, 3)]


def test_sizes():
    with torch.device("meta"):
        model = HiCMAEAudio.from_preset("hicmae_audio_base", num_classes=6)
        ours = sum(p.numel() for p in model.parameters()) - sum(p.numel() for p in model.absent.values())
        assert ours == 80_792_602  # of HiCMAE-B with the six classes of CREMA-D
        for name in ("hicmae_tiny", "hicmae_audio_tiny"):
            assert sum(p.numel() for p in em.create_model(name).parameters()) <= 1_500_000
    for changes, message in (
        ({"num_heads": 5}, "divisor of dim"),
        ({"fusion_depth": 0}, "at least 1"),
        ({"modalities": ["video"]}, "video and one of eeg, audio"),
        ({"n_fft": 5000}, "n_fft"),
        (
            {"input_spec": {"eeg": None, "audio": {}}, "encoders": {"audio": {"name": "spectrogram_vit_nano"}}},
            "HiCMAE takes eeg and video, got audio. Take HiCMAEAudio",
        ),
    ):
        with pytest.raises(ConfigError, match=message):
            em.create_model("hicmae_tiny", **changes)


def test_the_encoders_are_ordinary_ones_and_recompute_when_asked():
    model = em.create_model("hicmae_tiny").train()
    model.fit_statistics([{"eeg": 20 * torch.randn(4, 19, 500)}])
    assert type(model.encoder("video")) is VideoMAE and type(model.encoder("eeg")) is SpectrogramViT
    x = {"eeg": 20 * torch.randn(2, 19, 500), "video": torch.randn(2, 16, 3, 64, 64)}
    model(**x).logits.square().sum().backward()
    plain = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    model.set_grad_checkpointing()
    model(**x).logits.square().sum().backward()
    for n, want in plain.items():
        torch.testing.assert_close(dict(model.named_parameters())[n].grad, want)


def test_the_encoder_of_sound_alone():
    for name in ("spectrogram_vit_nano", "frame_patches_nano", "spectrogram_patches_nano"):
        assert name in em.list_models(kind="backbone")
    alone = em.create_model(
        "single_eeg", encoders={"eeg": {"name": "spectrogram_vit_nano", "config": {"depth": 1}}}, num_classes=2
    )
    assert alone(eeg=torch.randn(2, 19, 1000)).logits.shape == (2, 2)
    ever = em.create_model(
        "ever_tiny",
        encoders={
            "eeg": {"name": "spectrogram_vit_nano", "config": {"depth": 1}},
            "video": {"name": "frame_patches_nano", "config": {}},
        },
        input_spec={"video": {"num_frames": 4}},
    ).eval()
    assert ever(eeg=torch.randn(1, 19, 500), video=torch.randn(1, 4, 3, 64, 64)).logits.shape == (1, 4)
    with pytest.raises(ConfigError, match="no pre-training here"):
        alone.encoder("eeg").make_pretraining()
    odd = SpectrogramViT.from_preset("spectrogram_vit_nano", input_size=(33, 17), in_chans=2)
    assert odd.forward_features(torch.zeros(1, 2, 33, 17)).shape == (1, 18, 96)
