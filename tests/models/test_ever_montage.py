"""EVER on the recordings of another headset."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import evermodels as em
from evermodels import montage
from evermodels.core.errors import ConfigError, ShapeError, SignalError, UnknownNameError
from evermodels.layers import MontageAdapter
from evermodels.models import EVER, EVERConfig
from evermodels.signals import EEG, Preprocessor

HEADSET = ("O1", "T3", "Fp1", "C4", "EEG F4", "A2-A1")  # Fp1 F4 T7 O1 of the model; not C3 Cz P4


def test_another_order_gives_the_same_bits(make, batch, assert_same):
    model = make()
    inputs = batch(model)
    want, state = model(**inputs), {k: v.clone() for k, v in model.state_dict().items()}
    order = [3, 0, 6, 2, 5, 1, 4]
    assert model.adapt_montage([model.config.ch_names[i].upper() for i in order]) == {}
    assert_same(model(eeg=inputs["eeg"][:, order], video=inputs["video"]), want, rtol=0, atol=0)
    assert model.state_dict().keys() == state.keys()
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    assert model.regions == make().regions


def test_more_channels_than_the_model_has(make, batch, assert_same):
    model = make()
    inputs = batch(model)
    want = model(**inputs)
    model.adapt_montage(["Oz", *model.config.ch_names, "A2-A1"])
    more = torch.cat([torch.randn(3, 1, 64), inputs["eeg"], torch.randn(3, 1, 64)], dim=1)
    assert_same(model(eeg=more, video=inputs["video"]), want, rtol=0, atol=0)


@pytest.mark.parametrize("changes", [{}, {"fusion": "naive"}, {"modalities": ("eeg",)}], ids=str)
def test_missing_channels_are_interpolated_before_the_model(make, batch, assert_same, changes):
    plain, model = make(**changes), make(**changes)
    interpolated = model.adapt_montage(HEADSET)
    assert list(interpolated) == ["C3", "Cz", "P4"] and interpolated["P4"].startswith("from ")
    inputs = batch(model)
    assert inputs["eeg"].shape[1] == 6
    by_hand = MontageAdapter(HEADSET, plain.config.ch_names)(inputs["eeg"])
    assert_same(model(**inputs), plain(**{**inputs, "eeg": by_hand}), rtol=0, atol=0)
    assert model.config.source_ch_names == ("O1", "T7", "Fp1", "C4", "F4", "A2-A1")
    assert model.input_spec.eeg.ch_names == model.config.source_ch_names
    assert model.config.ch_names == plain.config.ch_names


def test_recordings_are_still_compared_with_the_person(make):
    model = make(whiten=True)
    model.adapt_montage(HEADSET)
    assert model.input_spec.eeg.whiten and model.config.recorded.eeg.whiten
    model.adapt_montage(model.config.ch_names)
    assert model.input_spec == make(whiten=True).input_spec


def test_the_last_call_counts_and_own_names_undo_it(make, batch, assert_same):
    model = make()
    spec = model.input_spec
    model.adapt_montage(HEADSET)
    model.adapt_montage(model.config.ch_names[:5])
    assert model.input_spec.eeg.ch_names == model.config.ch_names[:5]
    assert model.adapt_montage([f"EEG {name}" for name in model.config.ch_names]) == {}
    assert model.config == make().config and model.input_spec == spec and model.montage_adapter is None
    assert_same(model(**batch(model)), make()(**batch(model)), rtol=0, atol=0)


def test_reference_and_scale_come_after_the_interpolation(make):
    changes = {"reference": "average", "scale": "zscore", "modalities": ("eeg",)}
    plain, model = make(**changes), make(**changes)
    model.adapt_montage(HEADSET)
    assert (model.input_spec.eeg.reference, model.input_spec.eeg.scale) == ("as recorded", "none")
    raw = (20 * np.random.default_rng(0).standard_normal((6, 128)) + 50).astype(np.float32)
    raw[:, 64:] *= 3
    array = {"unit": "uV", "sfreq": 32.0}
    # What the recording would be with the model's channels, through the plain model's own preprocessor.
    full = MontageAdapter(HEADSET, plain.config.ch_names)(torch.from_numpy(raw)[None])[0]
    want = plain(**Preprocessor(plain.input_spec)(eeg=EEG(full, ch_names=plain.config.ch_names, **array)).tensors)
    got = model(**Preprocessor(model.input_spec)(eeg=EEG(raw, ch_names=HEADSET, **array)).tensors)
    assert want.logits.shape == (2, 3)
    torch.testing.assert_close(got.logits, want.logits, rtol=1e-4, atol=1e-5)
    model.adapt_montage(model.config.ch_names)
    assert model.input_spec == plain.input_spec


def test_statistics_are_those_of_the_model_s_channels(make, batch):
    changes = {"spectrogram_norm": "channel_frequency"}
    model, plain = make(**changes), make(**changes)
    model.adapt_montage(HEADSET)
    eeg = batch(model, 4)["eeg"]
    model.fit_statistics([{"eeg": eeg}])
    plain.fit_statistics([{"eeg": model.montage_adapter(eeg)}])
    assert torch.equal(model.spectrogram.norm.mean, plain.spectrogram.norm.mean)


def test_an_adapted_model_is_saved_and_loaded(make, batch, assert_same, tmp_path):
    model = em.create_model("ever_tiny").eval()
    interpolated = model.adapt_montage(montage.preset("epoc"))
    inputs = batch(model, 2)
    want = model(**inputs)
    model.save_pretrained(tmp_path / "mine")
    loaded = em.from_pretrained(tmp_path / "mine")
    assert loaded.config == model.config and loaded.input_spec == model.input_spec
    assert loaded.montage_adapter.interpolated == interpolated
    assert not any(t.is_meta for t in loaded.buffers())
    assert_same(loaded(**inputs), want, rtol=0, atol=0)
    loaded.reset_classifier(2)
    assert loaded(**inputs).logits.shape == (2, 2)


def test_loading_for_another_headset(assert_same):
    own = em.from_pretrained("ever_tiny.quadrant")
    epoc = em.from_pretrained("ever_tiny.quadrant", ch_names=montage.preset("epoc"))
    assert all(torch.equal(v, own.state_dict()[k]) for k, v in epoc.state_dict().items())
    assert set(epoc.load_report.interpolated) == set(own.config.ch_names) - set(montage.preset("epoc"))
    assert "interpolated" in str(epoc.load_report) and "Cz" in str(epoc.load_report)
    eeg = 20 * torch.randn(1, 14, 500)
    assert_same(epoc(eeg), own(epoc.montage_adapter(eeg)), rtol=0, atol=0)
    again = em.from_pretrained("ever_tiny.quadrant", ch_names=own.config.ch_names[::-1])
    assert_same(again(own_eeg := 20 * torch.randn(1, 19, 500)), own(own_eeg.flip(1)), rtol=0, atol=0)
    with pytest.raises(ConfigError, match=r"only 0 of the 19 channels.*adapt_montage\(ch_names, min_real=0\.0\)"):
        em.from_pretrained("ever_tiny.quadrant", ch_names=montage.preset("muse"))
    assert len(own.adapt_montage(montage.preset("muse"), min_real=0.0)) == 19


def test_meta_compile_and_casts(make, batch, assert_same):
    model = make(modalities=("eeg",), encoders={"eeg": {"config": {"embed_dim": 16, "depth": 1}}})
    model.adapt_montage(HEADSET)
    inputs = batch(model)
    want = model(**inputs)
    with torch.device("meta"):
        empty = EVER(EVERConfig.from_dict(model.config.to_dict())).eval()
    empty.load_state_dict(model.state_dict(), assign=True)
    for module in empty.modules():
        if hasattr(module, "reset_buffers"):
            module.reset_buffers()
    assert not any(t.is_meta for t in (*empty.parameters(), *empty.buffers()))
    assert_same(empty(**inputs), want, rtol=0, atol=0)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    assert_same(compiled(**inputs), want, rtol=1e-4, atol=1e-5)
    exact = model.double()
    exact.adapt_montage(HEADSET)  # an adapter of float32 beside a model of float64
    torch.testing.assert_close(exact(**inputs).logits.float(), want.logits, rtol=1e-3, atol=1e-4)


def test_absent_eeg_of_another_montage(make, batch, assert_same):
    model = make()
    model.adapt_montage(HEADSET)
    inputs = batch(model)
    present = {"eeg": torch.tensor([True, False, True])}
    want = model(**inputs, present=present)
    inputs["eeg"][1] = float("nan")
    assert_same(model(**inputs, present=present), want, rtol=0, atol=0)
    with pytest.raises(SignalError, match="NaN or infinite, in channels O1, T7, Fp1, C4, F4, A2-A1"):
        model(**inputs)
    with pytest.raises(
        ShapeError, match=r"the 6 channels O1, T7, Fp1, C4, F4, A2-A1, got 7.*adapt_montage\(ch_names\)"
    ):
        model(eeg=torch.zeros(3, 7, 64))


def test_what_cannot_be_adapted(make):
    with pytest.raises(ConfigError, match="ch_names: this EVER takes no EEG"):
        make(modalities=("video",)).adapt_montage(HEADSET)
    with pytest.raises(ConfigError, match="source_ch_names: expected None, as this model takes no EEG"):
        make(modalities=("video",), source_ch_names=HEADSET)
    model = make()
    for names, error, message in (
        (("Fp1", "F4", "Oz"), ConfigError, "only 2 of the 7"),
        ((*HEADSET, "ECG"), UnknownNameError, "'ECG'"),
        ((*HEADSET, "T7"), UnknownNameError, "'T3' and 'T7' are both"),
        ("Cz", UnknownNameError, "Names of channels are a list"),
    ):
        with pytest.raises(error, match=message):
            model.adapt_montage(names)
        assert model.config == make().config and model.montage_adapter is None
    ears = make(ch_names=("Fp1", "Cz", "A2-A1"))
    with pytest.raises(ConfigError, match="A2-A1 lies off the scalp"):
        ears.adapt_montage(("Fp1", "Cz", "Oz"))
