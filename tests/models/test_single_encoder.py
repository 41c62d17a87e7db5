"""One encoder and a linear layer: what enters the encoder, the loss, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

import evermodels as em
from evermodels import functional as EF
from evermodels.core.errors import ConfigError, ShapeError
from evermodels.core.specs import EEGFeatures
from evermodels.models import SingleEEG, SingleVideo
from tests import toys


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    toys.register(monkeypatch)


def eeg_model(encoder: str, **changes):
    config = {"ch_names": ("Fz", "Cz", "Pz"), "sfreq": 100.0, "window_seconds": 2.0, "num_classes": 2}
    return em.create_model("single_eeg", encoders={"eeg": {"name": encoder, "config": {}}}, **{**config, **changes})


def entered(model, **inputs) -> torch.Tensor:
    """What the encoder got."""
    found = []
    hook = model.encoder(model.modalities[0]).register_forward_pre_hook(lambda _, args: found.append(args[0]))
    model.eval()(**inputs)
    hook.remove()
    return found[0]


def test_an_encoder_gets_the_kind_that_it_takes():
    x = 20 * torch.randn(2, 3, 200, generator=torch.Generator().manual_seed(0))
    assert torch.equal(entered(eeg_model("toy_eeg"), eeg=x), x)
    maps = entered(eeg_model("toy_spectrogram", spectrogram_size=(8, 6), n_fft=50), eeg=x)
    torch.testing.assert_close(maps, EF.log_spectrogram(x, 50, size=(8, 6)))
    bands = ((4.0, 8.0), (8.0, 14.0))
    made = entered(eeg_model("toy_features", made_features=EEGFeatures(bands=bands)), eeg=x)
    assert made.shape == (2, 2, 2, 3)
    torch.testing.assert_close(made[:, 1], EF.differential_entropy(x[:, :, 100:], 100.0, bands, method="stft"))
    sound = torch.randn(2, 498, 64)
    audio = em.create_model("single_audio")
    assert audio.input_spec.shape("audio") == (498, 64)
    assert torch.equal(entered(audio, audio=sound), sound.transpose(1, 2)[:, None])


def test_the_head_is_linear_in_the_embedding():
    model = eeg_model("toy_eeg").eval()
    x = torch.randn(4, 3, 200)
    output = model(eeg=x)
    torch.testing.assert_close(output.embedding, model.eeg_encoder(x))
    torch.testing.assert_close(output.logits, F.linear(output.embedding, model.head.weight, model.head.bias))
    assert torch.equal(output.embeddings["eeg"], output.embedding)


def test_the_loss_is_cross_entropy_by_class_counts():
    model = eeg_model("toy_eeg")
    output, target = model(eeg=torch.randn(4, 3, 200)), torch.tensor([0, 1, 1, 1])
    torch.testing.assert_close(model.make_loss()(output, target).total, F.cross_entropy(output.logits, target))
    weights = EF.class_balanced_weights(torch.tensor([1, 30]), 0.999)
    nll = F.cross_entropy(output.logits, target, reduction="none")
    want = (weights[target] * nll).sum() / weights[target].sum()
    torch.testing.assert_close(model.make_loss([1, 30])(output, target).total, want)
    with pytest.raises(ShapeError, match=r"class_counts: expected \(2,\), got \(3,\)"):
        model.make_loss([1, 2, 3])


def test_statistics_are_of_the_spectrogram():
    model = eeg_model("toy_spectrogram", spectrogram_norm="channel_frequency", spectrogram_size=(8, 6))
    assert not model.has_statistics
    x = 20 * torch.randn(16, 3, 200)
    model.fit_statistics([{"eeg": x}])
    assert model.has_statistics
    maps = entered(model, eeg=x)
    torch.testing.assert_close(maps.mean((0, 3)), torch.zeros(3, 8), atol=1e-4, rtol=0)


def test_refusals():
    with pytest.raises(ConfigError, match="expected exactly one modality, got 'eeg, video'"):
        em.create_model("single_eeg", input_spec={"video": {"num_frames": 4, "size": (8, 8)}})
    with pytest.raises(ConfigError, match="SingleEEG takes eeg, got 'video'"):
        SingleEEG(SingleVideo.presets["single_video"])
    with pytest.raises(ConfigError, match=r"encoders\.eeg\.name: expected a backbone whose input is"):
        eeg_model("videomae_nano")
    with pytest.raises(ConfigError, match=r"n_fft.*at least 2"):
        eeg_model("toy_spectrogram", n_fft=1)
    with pytest.raises(ConfigError, match="this SingleVideo takes video only"):
        em.create_model("single_video").given({"video": None, "eeg": torch.zeros(1, 2, 3)}, None, None)


def speech_model(**changes):
    sizes = {"example_frames": 16, "example_hop": 16, "widths": (2, 2, 3, 4), "hidden": (5,), "embed_dim": 6}
    return em.create_model(
        "single_audio",
        input_spec={"window_seconds": 0.825, "audio": {"n_mels": 16}},
        encoders={"audio": {"name": "vggish_tiny", "config": sizes}},
        num_classes=3,
        **changes,
    )


def test_statistics_are_of_the_valid_steps():
    torch.manual_seed(0)
    model = speech_model(readout="statistics").eval()
    x = torch.randn(3, 81, 16)
    mask = torch.zeros(3, 81, dtype=torch.bool)
    mask[0, :20], mask[1] = True, True  # the first two steps, all, none: read whole
    filled = x.clone()
    filled[0, 20:] = 0.0
    steps = model.audio_encoder.forward_features(filled)  # five of 16 frames
    output = model(audio=x, masks={"audio": mask})
    for k, count in enumerate((2, 5, 5)):
        rows = steps[k, :count]
        want = torch.cat([rows.mean(0), (rows.var(0, correction=0) + 1e-5).sqrt()])
        torch.testing.assert_close(output.embedding[k], want)
    assert model.embed_dim == 12 and output.logits.shape == (3, 3) and model.masked == ("audio",)
    torch.testing.assert_close(model(audio=x).embedding[1:], output.embedding[1:])
    changed = x.clone()
    changed[0, 20:] = 100.0
    torch.testing.assert_close(model(audio=changed, masks={"audio": mask}).logits[0], output.logits[0])
    one = torch.zeros(3, 81, dtype=torch.bool)
    one[:, 0] = True  # of one step there is no deviation, and the slope stays finite
    model(audio=x, masks={"audio": one}).logits.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_masks_are_for_readouts_that_leave_out_frames_and_are_bools():
    x = torch.randn(2, 81, 16)
    with pytest.raises(ConfigError, match="masks: this SingleAudio takes none, got 'audio'"):
        speech_model(readout="embedding")(audio=x, masks={"audio": torch.ones(2, 81, dtype=torch.bool)})
    model = speech_model(readout="statistics")
    with pytest.raises(ConfigError, match=r"masks\['audio'\]: expected bool, got torch.float32"):
        model(audio=x, masks={"audio": torch.ones(2, 81)})
    with pytest.raises(ShapeError, match="frames=81"):
        model(audio=x, masks={"audio": torch.ones(2, 80, dtype=torch.bool)})


def test_an_encoder_whose_steps_are_no_frames_has_statistics_of_all(tmp_path):
    model = em.create_model("single_eeg", readout="statistics").eval()
    x = 20 * torch.randn(2, 19, 1000)
    tokens = model.eeg_encoder.forward_features(x)
    want = torch.cat([tokens.mean(1), (tokens.var(1, correction=0) + 1e-5).sqrt()], dim=1)
    torch.testing.assert_close(model(eeg=x).embedding, want)
    assert model.masked == ()
    loaded = em.from_pretrained(model.save_pretrained(tmp_path / "saved"))
    assert torch.equal(loaded(eeg=x).logits, model(eeg=x).logits) and loaded.config.readout == "statistics"


def test_a_single_encoder_becomes_a_backbone_with_its_head(tmp_path):
    torch.manual_seed(0)
    model = em.create_model("single_eeg", num_classes=3).eval()
    model.classes = ("a", "b", "c")
    x = 20 * torch.randn(2, 19, 1000)
    backbone = model.as_backbone()
    loaded = em.from_pretrained(backbone.save_pretrained(tmp_path / "saved"))
    assert loaded.architecture == "mbsm_tiny" and loaded.classes == model.classes and not loaded.training
    assert torch.equal(loaded(x), model(eeg=x).logits)
    backbone.head.weight.data.zero_()
    assert model.head.weight.abs().sum() > 0  # a copy
    with pytest.raises(ConfigError, match=r"readout: expected .* Save the model itself"):
        em.create_model("single_eeg", readout="statistics").as_backbone()
    with pytest.raises(ConfigError, match="takes 'spectrogram', which this model makes"):
        em.create_model("single_audio").as_backbone()
    with pytest.raises(ConfigError, match="AST: its own head is more than a linear layer"):
        em.create_model("single_audio", num_classes=2, encoders={"audio": {"name": "ast_nano"}}).as_backbone()


def test_the_encoder_s_own_of_the_valid_steps():
    torch.manual_seed(0)
    model = speech_model(readout="valid").eval()
    x, mask = torch.randn(2, 81, 16), torch.zeros(2, 81, dtype=torch.bool)
    mask[0, :20], mask[1] = True, True
    steps = model.audio_encoder.forward_features(x)
    output = model(audio=x, masks={"audio": mask})
    torch.testing.assert_close(output.embedding, torch.stack([steps[0, :2].mean(0), steps[1].mean(0)]))
    torch.testing.assert_close(model(audio=x).embedding[1], output.embedding[1])


def test_each_band_of_sound_by_the_valid_frames_of_the_training_people():
    model = speech_model(readout="statistics", spectrogram_norm="channel_frequency").eval()
    x = 3.0 * torch.randn(4, 81, 16) + torch.arange(16.0)
    mask = torch.arange(81)[None] < torch.tensor([[81], [60], [40], [20]])
    padded = torch.where(mask[..., None], x, -50.0)
    model.fit_statistics([{"audio": padded, "masks": {"audio": mask}}])
    torch.testing.assert_close(model.front_end.mean, x[mask].mean(0), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(model.front_end.std, x[mask].std(0, correction=0), rtol=1e-5, atol=1e-5)
    other = torch.where(mask[..., None], x, 7.0)  # what lies behind the sound reaches nothing
    one, two = (model(audio=a, masks={"audio": mask}).logits for a in (padded, other))
    assert torch.equal(one, two)


def test_another_encoder_takes_no_values_of_the_preset_s():
    model = em.create_model("single_audio", num_classes=2, encoders={"audio": {"name": "vggish_tiny"}})
    assert type(model.audio_encoder).__name__ == "VGGish"
    kept = em.create_model("single_audio", encoders={"audio": {"config": {"patch_size": (8, 8)}}})
    assert type(kept.audio_encoder).__name__ == "AudioMamba"


def test_the_embedding_is_brought_to_the_scale_of_the_linear_layer():
    torch.manual_seed(0)
    small = {"eeg": {"name": "mbsm_tiny", "config": {"embed_dim": 16, "num_heads": 2, "depth": 1}}}
    model = em.create_model("single_eeg", encoders=small, embedding_norm="batch")
    assert [name for name, _ in model.norm.named_parameters()] == []
    x = 20 * torch.randn(8, 19, 1000)
    z = model.train()(eeg=x).embedding
    wanted = (z - z.mean(0)) / (z.var(0, unbiased=False) + model.norm.eps).sqrt()
    torch.testing.assert_close(model(eeg=x).logits, model.head(wanted), rtol=1e-4, atol=1e-5)
    model.norm.momentum = 1.0  # the statistics of this batch alone
    model(eeg=x)
    model.eval()
    plain = model.head(model(eeg=x).embedding)
    assert not torch.allclose(model(eeg=x).logits, plain, atol=1e-2)
    torch.testing.assert_close(model.as_backbone()(x), model(eeg=x).logits, rtol=1e-4, atol=1e-5)
    assert torch.equal(em.create_model("single_eeg", encoders=small).norm(z), z)


def test_members_answer_with_the_mean_of_their_logits(tmp_path):
    torch.manual_seed(0)
    model = speech_model(readout="statistics", members=3).eval()
    x, mask = torch.randn(4, 81, 16), torch.arange(81) < torch.tensor([[20], [81], [50], [33]])
    assert model.embed_dim == 36 and model.head.weight.shape == (3, 36)
    alone = []
    for k, member in enumerate(model.members):
        one = speech_model(readout="statistics").eval()
        one.audio_encoder.load_state_dict(member.state_dict())
        one.head.load_state_dict({"weight": model.head.weight[:, 12 * k : 12 * k + 12], "bias": model.head.bias})
        alone.append(one(audio=x, masks={"audio": mask}).logits)
    output = model(audio=x, masks={"audio": mask})
    torch.testing.assert_close(output.logits, torch.stack(alone).mean(0))
    assert (alone[0] - alone[1]).abs().max() > 1e-2
    again = em.from_pretrained(model.save_pretrained(tmp_path / "three"))
    assert torch.equal(again(audio=x, masks={"audio": mask}).logits, output.logits)
    program = torch.export.export(model, (), {"audio": x, "masks": {"audio": mask}})
    torch.testing.assert_close(program.module()(audio=x, masks={"audio": mask}).logits, output.logits)


@pytest.mark.parametrize("batch", [2, 7, 9])
def test_in_training_a_sample_is_read_by_one_member(batch):
    torch.manual_seed(0)
    model = speech_model(readout="statistics", members=3).train()
    x, mask = torch.randn(batch, 81, 16), torch.ones(batch, 81, dtype=torch.bool)
    seen = torch.zeros(batch, 3, dtype=torch.int64)
    for _ in range(20):
        z = model(audio=x, masks={"audio": mask}).embedding.unflatten(1, (3, 12))
        drawn = z.abs().sum(2) > 0
        assert (drawn.sum(1) == 1).all() and drawn.sum(0).max() <= -(-batch // 3)
        for i, k in drawn.nonzero().tolist():
            want = model._read(model.members[k], x[i : i + 1], mask[i : i + 1])[0]
            torch.testing.assert_close(z[i, k], want)
        seen += drawn
    assert batch < 3 or (seen > 0).all()
    model(audio=x[:1], masks={"audio": mask[:1]}).logits.sum().backward()
    moved = [any(p.grad.any() for p in member.parameters() if p.grad is not None) for member in model.members]
    assert sum(moved) == 1
    groups = model.parameter_groups()
    assert len(groups["audio_encoder"]) == 3 * len(list(model.members[0].parameters())) and len(groups["rest"]) == 2


def test_an_encoder_is_loaded_into_every_member(tmp_path):
    source = speech_model(readout="statistics", members=2)
    model = speech_model(readout="statistics", members=3)
    model.load_encoder("audio", source.save_pretrained(tmp_path / "two"))
    want = source.members[0].state_dict()
    assert all(torch.equal(m.state_dict()[key], tensor) for m in model.members for key, tensor in want.items())
    with pytest.raises(ConfigError, match="members: expected 1, as one backbone cannot hold several, got 3"):
        speech_model(members=3).as_backbone()
    for members in (0, 10**9):
        with pytest.raises(ConfigError, match=rf"members: expected 1 to 100, got {members}"):
            speech_model(members=members)
    with pytest.raises(ConfigError, match=r"embedding_norm.*'none' for several members"):
        speech_model(members=2, embedding_norm="batch")
