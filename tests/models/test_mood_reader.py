"""Mood Reader: its parts in their places, its ablations, and what is absent, closed or impossible."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

import evermodels as em
from evermodels.core.errors import CheckpointError, ConfigError, ShapeError, SignalError
from evermodels.core.specs import EEGFeatures
from evermodels.functional import differential_entropy
from evermodels.models import MoodReader, MoodReaderConfig
from evermodels.report_pictures import _speaks
from evermodels.signals import EEG, Eye
from evermodels.signals.eye import SEED_FEATURES
from tests import toys

TOY = {"eeg": {"name": "toy_eeg", "config": {}}, "eye": {"config": {}}}

ABLATIONS = {
    "STB+CF": {"modalities": ("eeg",), "use_encoder": False, "interlink": False, "fusion": "concatenation"},
    "STIB+CF": {"modalities": ("eeg",), "use_encoder": False, "fusion": "concatenation"},
    "STIB+Encoder+CF": {"modalities": ("eeg",), "fusion": "concatenation"},
    "STIB+Encoder+MLF": {"modalities": ("eeg",)},
    "STIB+Eye+CF": {"use_encoder": False, "fusion": "concatenation"},
    "STIB+Eye+MLF": {"use_encoder": False},
    "full": {},
    "full, CF": {"fusion": "concatenation"},
    "eye alone": {"modalities": ("eye",)},
}
"""Section 4.4, and what else the configuration makes."""

SOURCES = {
    "STB+CF": (("spatial", "temporal"),),
    "STIB+CF": (("spatial", "temporal"),),
    "STIB+Encoder+CF": (("spatial", "temporal"), ("latent",)),
    "STIB+Encoder+MLF": (("spatial", "temporal"), ("latent",)),
    "STIB+Eye+CF": (("spatial", "temporal"), ("eye",)),
    "STIB+Eye+MLF": (("spatial", "temporal"), ("eye",)),
    "full": (("spatial", "temporal"), ("latent", "eye")),
    "full, CF": (("spatial", "temporal"), ("latent", "eye")),
    "eye alone": (("eye",),),
}


@pytest.fixture(autouse=True, scope="module")
def registered():
    """The toys are in the registry."""
    with pytest.MonkeyPatch.context() as patch:
        toys.register(patch)
        yield


def build(**changes) -> MoodReader:
    torch.manual_seed(0)
    return em.create_model(
        "mood_reader_tiny", **{"encoders": {"eeg": {"name": "toy_eeg"}}, "dim": 16, "head_dims": (8, 8), **changes}
    )


def draw(model, n=3, seed=1):
    g = torch.Generator().manual_seed(seed)
    return {m: 10 * torch.randn(n, *model.input_spec.shape(m), generator=g) for m in model.modalities}


@pytest.mark.parametrize("name", ABLATIONS)
def test_each_ablation_is_a_configuration(name, tmp_path):
    model, sources = build(**ABLATIONS[name]), SOURCES[name]
    assert model.config.levels() == sources
    inputs = draw(model, 4)
    model.fit_statistics([inputs])
    model.train()
    output = model(**inputs)
    count = len(sources) if model.config.fusion == "multi_level" else sum(map(len, sources))
    assert output.embedding.shape == (4, 16 * count) == (4, model.embed_dim)
    assert {m: z.shape[1] // 16 for m, z in output.embeddings.items()} == {
        m: sum((s == "eye") == (m == "eye") for level in sources for s in level) for m in model.modalities
    }
    loss = model.make_loss([2, 2])(output, torch.tensor([0, 1, 0, 1])).total
    loss.backward()
    assert torch.isfinite(loss) and all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())
    linked = any("links" in key for key in model.state_dict())
    assert linked == ("eeg" in model.modalities and name != "STB+CF")
    assert hasattr(model, "eeg_encoder") == ("latent" in str(sources)) == ("eeg" in model.config.encoders)
    loaded = em.from_pretrained(model.eval().save_pretrained(tmp_path / "m"))
    assert loaded.config == model.config
    torch.testing.assert_close(loaded(**inputs).logits, model(**inputs).logits, rtol=0, atol=0)


def test_the_whole_by_its_parts():
    model = build().double()
    inputs = {m: x.double() for m, x in draw(model).items()}
    model.fit_statistics([inputs])
    model.eval()
    output = model(**inputs)
    spec, config = model.input_spec, model.config
    length = round(config.entropy.seconds * spec.eeg.sfreq)
    stretches = [inputs["eeg"][:, :, k : k + length] for k in range(0, inputs["eeg"].shape[2], length)]
    entropy = torch.stack([differential_entropy(x, spec.eeg.sfreq, config.entropy.bands) for x in stretches], dim=1)
    flat = entropy.flatten(0, 1)
    entropy = (entropy - flat.mean(0)) / flat.std(0, correction=0)
    seen = model.spatio_temporal(entropy)
    eye = inputs["eye"].flatten(0, 1)
    eye = (inputs["eye"] - eye.mean(0)) / eye.std(0, correction=0)
    features = {
        "spatial": model.spatial_projection(seen.spatial),
        "temporal": model.temporal_projection(seen.temporal),
        "latent": model.eeg_projection(model.eeg_encoder(inputs["eeg"])[:, None]),
        "eye": model.eye_projection(model.eye_encoder.forward_features(eye)),
    }
    want = model.fusion(features)
    torch.testing.assert_close(output.embedding, want.embedding, rtol=1e-4, atol=1e-4)
    norm, *rest = model.head
    x = (want.embedding - norm.running_mean) / (norm.running_var + norm.eps).sqrt() * norm.weight + norm.bias
    for layer in rest:
        x = layer(x)
    torch.testing.assert_close(output.logits, x, rtol=1e-4, atol=1e-4)
    assert sum(isinstance(layer, torch.nn.Linear) for layer in model.head) == 3
    torch.testing.assert_close(output.attention["channels"], seen.channel_attention, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(output.attention["channels"].sum(1), torch.ones(3).double())
    torch.testing.assert_close(output.attention["time"].sum(1), torch.ones(3).double())


def test_windows_are_cut_from_the_end_where_they_do_not_divide():
    model = build(modalities=("eeg",), use_encoder=False, entropy={"seconds": 2.0})
    assert model.config.entropy_shape() == (2, 5, 19)  # 5 s: one second is left over
    model.eval()
    eeg = draw(model)["eeg"]
    want = model(eeg=eeg).logits
    early, late = eeg.clone(), eeg.clone()
    early[:, :, :200] *= 7
    late[:, :, -200:] *= 7
    assert torch.equal(model(eeg=early).logits, want) and not torch.allclose(model(eeg=late).logits, want)
    with pytest.raises(ConfigError, match=r"entropy.seconds: expected at most the 5 s of an item, got 6"):
        build(entropy={"seconds": 6.0})


def test_published_features_instead_of_signals():
    """SEED's differential entropy comes ready: no signals, so no encoder of them, unless one takes features."""
    features = EEGFeatures(seconds=4.0)
    spec = {"window_seconds": 16.0, "eeg": {"ch_names": em.montage.preset("seed"), "features": features}}
    with pytest.raises(ConfigError, match=r"encoders\.eeg\.name: expected a backbone whose input is 'features'"):
        em.create_model("mood_reader_tiny", input_spec=spec, encoders={"eeg": {"name": "toy_eeg"}})
    ready = build(input_spec=spec, use_encoder=False, num_heads=5)
    assert ready.input_spec.shape("eeg") == (4, 5, 62)
    assert (ready.spatio_temporal.spatial_dim, ready.spatio_temporal.temporal_dim) == (20, 310)  # N·F, C·F
    inputs = draw(ready)
    ready.fit_statistics([inputs])
    assert ready.eval()(**inputs).attention["channels"].shape == (3, 62)
    own = em.create_model("mood_reader_tiny", input_spec=spec, encoders={"eeg": {"name": "toy_features"}}).eval()
    assert own(**inputs).logits.shape == (3, 2)
    with pytest.raises(ConfigError, match="takes no EEG signals"):
        ready.adapt_montage(("Fz", "Cz"))


def test_raw_and_ready_features_are_the_same_model():
    raw = build(modalities=("eeg",), use_encoder=False).eval()
    ready = build(modalities=("eeg",), use_encoder=False, input_spec={"eeg": {"features": raw.config.entropy}}).eval()
    ready.load_state_dict(raw.state_dict())
    eeg = draw(raw)["eeg"]
    torch.testing.assert_close(raw(eeg=eeg).logits, ready(eeg=raw.entropy.source(eeg)).logits)


def test_a_window_with_the_eyes_closed_is_one_without_eye_movement():
    model = build()
    inputs = draw(model, 4)
    model.fit_statistics([inputs])
    model.eval()
    alone = model(eeg=inputs["eeg"])
    closed = {**inputs, "eye": torch.full_like(inputs["eye"], float("nan"))}
    with pytest.raises(SignalError, match=r'eye: .* NaN.*present=\{"eye"'):
        model(**closed)
    some = torch.tensor([False, True, False, True])
    closed["eye"][some] = inputs["eye"][some]
    output = model(**closed, present={"eye": some})
    torch.testing.assert_close(output.logits[~some], alone.logits[~some])
    assert not torch.allclose(output.logits[some], alone.logits[some])
    never = model(eye=inputs["eye"]).attention
    assert not never["channels"].any() and not never["time"].any()


def test_a_recording_its_closed_eyes_and_its_pictures():
    model = build().eval()
    rng, times = np.random.default_rng(0), np.arange(0, 15, 1 / 60)
    eeg = EEG(20 * rng.standard_normal((19, 3000)), ch_names=model.config.ch_names, sfreq=200.0, unit="uV")
    closed = (times >= 5) & (times < 10)
    eye = Eye(
        {"time": times, "pupil": np.where(closed, -1.0, 3.5), "openness": np.where(closed, 0.0, 0.9)},
        unit={"time": "s", "pupil": "mm"},
    )
    with pytest.warns(UserWarning, match="there the answer is from eeg alone"):
        result = em.Recognizer(model).predict(eeg=eeg, eye=eye)
    assert result.present["eye"].tolist() == [True, False, True] and result.attention["time"].shape == (3, 5)
    assert "equal share" in result.plot("channels").axes[-1].get_ylabel()
    with pytest.warns(UserWarning, match="left out"):
        alone = em.Recognizer(model).predict(eye=eye)
    for kind in ("channels", "time"):
        with pytest.raises(ConfigError, match="speaks of no recording"):
            alone.plot(kind)
        assert _speaks(result, kind) and not _speaks(alone, kind)


def test_statistics_leave_out_what_is_absent():
    model = build()
    inputs = draw(model, 6)
    there = torch.tensor([True, True, False, True, False, True])
    model.fit_statistics([{**inputs, "present": {"eye": there}}])
    torch.testing.assert_close(model.eye_norm.mean, inputs["eye"][there].mean((0, 1)))
    assert model.has_statistics and set(model.front_ends()) == {"eeg", "eye"}
    assert not build(feature_norm="none").front_ends()


def test_another_headset_and_one_electrode():
    model = build().eval()
    model.adapt_montage(em.montage.preset("epoc"))
    inputs = draw(model)
    assert inputs["eeg"].shape[1] == 14 and model(**inputs).attention["channels"].shape == (3, 19)
    one = build(ch_names=("Fz",)).eval()
    output = one(**draw(one))
    assert torch.isfinite(output.logits).all() and torch.equal(output.attention["channels"], torch.ones(3, 1))


def test_a_series_of_eye_movement():
    eye = {"form": "series", "features": (), "channels": ("pupil", "openness"), "sfreq": 60.0}
    model = build(input_spec={"eye": eye}, encoders={"eeg": {"name": "toy_eeg"}, "eye": {"config": {"patch_size": 30}}})
    assert model.eye_encoder.config.num_tokens == 10
    assert model.eval()(**draw(model)).logits.shape == (3, 2)


def test_the_pre_trained_encoder_is_read_as_tokens_or_as_their_mean():
    flat, mean = (build(eeg_readout=how, eye_readout=how) for how in ("flatten", "mean"))
    tokens = flat.input_spec.shape("eye")[0]
    assert flat.eye_projection.num_tokens == tokens and mean.eye_projection.num_tokens == 1
    inputs = draw(mean)
    mean.eval()
    want = mean.eye_projection(mean.eye_encoder(mean.eye_norm(inputs["eye"]))[:, None])
    torch.testing.assert_close(mean(**inputs).embeddings["eye"], want)


def test_no_encoder_to_load(tmp_path):
    model = build(use_encoder=False)
    with pytest.raises(ConfigError, match="no pre-trained encoder"):
        model.encoder("eeg")
    assert [*model.parameter_groups()] == ["eeg_encoder", "eye_encoder", "rest"]
    assert not model.parameter_groups()["eeg_encoder"]
    folder = build().save_pretrained(tmp_path / "m")
    with pytest.raises(ConfigError, match="no pre-trained encoder"):
        model.load_encoder("eeg", folder)
    with pytest.raises((CheckpointError, ConfigError), match="no pre-trained encoder"):
        build().load_encoder("eeg", model.save_pretrained(tmp_path / "without"))


def test_gradients_reach_every_parameter_of_the_concatenation():
    model = build(fusion="concatenation").train()
    inputs = draw(model, 6)
    flags = {m: torch.arange(6) % 3 != k for k, m in enumerate(inputs)}
    output = model(**inputs, present=flags)
    parts = (output.logits, output.embedding, *output.embeddings.values())
    sum((p * torch.randn_like(p)).sum() for p in parts).backward()
    assert not [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    lone = copy.deepcopy(model).eval()(eye=inputs["eye"])
    filled = model.eval()(**{**inputs, "eeg": inputs["eeg"] * 1e6}, present={"eeg": torch.zeros(6).bool()})
    torch.testing.assert_close(lone.logits, filled.logits)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dim": 18}, r"fusion_heads: expected a divisor of dim \(18\)"),
        ({"head_dims": (8, 0)}, "head_dims: expected two widths"),
        ({"depth": 0}, "depth: expected at least 1"),
        ({"attention_drop_rate": 1.0}, r"attention_drop_rate: expected a number in \[0, 1\)"),
        ({"fusion": "sum"}, "fusion: expected one of 'multi_level', 'concatenation'"),
        ({"input_spec": {"video": em.models.EVERConfig().input_spec.video}}, "input_spec: expected eeg, eye or both"),
        ({"encoders": 3}, "encoders: expected a mapping"),
    ],
)
def test_impossible_configurations(change, message):
    with pytest.raises(ConfigError, match=message):
        build(**change)


def test_other_bad_input():
    model = build().train()
    one = draw(model, 1)
    with pytest.raises(ShapeError, match="expected at least 2 samples in training"):
        model(**one)
    assert model.eval()(**one).logits.shape == (1, 2)
    with pytest.raises(ShapeError, match="same batch size, got eeg 3, eye 1"):
        model(eeg=draw(model)["eeg"], eye=one["eye"])
    with pytest.raises(ShapeError, match=r"class_counts: expected \(2,\)"):
        model.make_loss([1, 2, 3])
    same = model.make_loss([4, 0])(model.train()(**draw(model)), torch.zeros(3, dtype=torch.long))
    assert torch.isfinite(same.total)  # a batch of one class


def test_the_paper_s_sizes():
    config = MoodReaderConfig()
    assert config.entropy_shape() == (4, 5, 62)
    assert config.input_spec.eye.shape(16.0) == (4, 33) and config.input_spec.eye.features == SEED_FEATURES
    without = config.replace(window_seconds=4.0)
    assert without.entropy_shape() == (1, 5, 62)  # w/o SWC
