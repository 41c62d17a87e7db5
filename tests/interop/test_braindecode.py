"""Every EEG encoder and every bundled checkpoint behind braindecode's contract, which needs no braindecode."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn

import evermodels as em
from evermodels.core import registry
from evermodels.core.errors import ConfigError, ShapeError, UnknownNameError
from evermodels.interop import EEGModel
from evermodels.interop.chs_info import names_of
from evermodels.interop.resampling import Resample

NAMES = em.montage.preset("eegmat")
CHANNELS = [{"ch_name": f"EEG {name}"} for name in NAMES]
OEB = {"n_chans": 19, "n_outputs": 2, "n_times": 500, "sfreq": 100.0, "chs_info": CHANNELS}

# A toy size of each family: the smallest preset, made smaller where it still takes long.
TOY = {
    "audio_mamba_nano": {"embed_dim": 16, "depth": 1, "patch_size": (32, 32)},
    "mbsm_tiny": {"embed_dim": 16, "depth": 1, "num_heads": 2},
    "eegformer_nano": {},
    "patchtst_tiny": {"embed_dim": 16, "depth": 1, "num_heads": 2},
    "itransformer_tiny": {"embed_dim": 16, "depth": 1, "num_heads": 2},
    "crossformer_tiny": {"embed_dim": 16, "num_heads": 2},
    "medformer_tiny": {"embed_dim": 16, "depth": 1, "num_heads": 2},
    "spectrogram_vit_nano": {"embed_dim": 16, "depth": 1, "num_heads": 2},
    "spectrogram_patches_nano": {"embed_dim": 16},
}


def families():
    """The smallest preset of each encoder that recordings of EEG can feed."""
    first = {}
    for name, row in registry.MODELS.items():
        if row.kind == "backbone" and "eeg" in row.modalities:
            first.setdefault(row.class_name, name)
    return list(first.values())


def windows(batch=3, channels=19, times=500, scale=10.0):
    return scale * torch.randn(batch, channels, times, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", families())
def test_every_encoder_trains_behind_the_contract(name):
    torch.manual_seed(0)
    model = EEGModel(**OEB, name=name, unit="uV", **TOY.get(name, {}))
    x = windows()
    logits = model(x)
    assert logits.shape == (3, 2)
    nn.functional.cross_entropy(logits, torch.tensor([0, 1, 0])).backward()
    learned = [p for p in model.encoder.parameters() if p.grad is not None and p.grad.abs().sum() > 0]
    assert learned and next(model.final_layer.parameters()).grad is not None
    assert not [key for key in model.state_dict() if key.startswith("encoder.head.")]

    # The state dict is whole, and pickling, as skorch does it, changes nothing.
    model.eval()
    other = EEGModel(**OEB, name=name, unit="uV", **TOY.get(name, {})).eval()
    other.load_state_dict(model.state_dict())
    before = model(x)
    torch.testing.assert_close(other(x), before)
    torch.testing.assert_close(pickle.loads(pickle.dumps(model))(x), before)
    torch.testing.assert_close(copy.deepcopy(model)(x), before)

    # A probe that replaces the head by its name reads the embedding.
    model.final_layer = nn.Flatten(1)
    embedding = model(x)
    assert embedding.shape == (3, model.encoder.embed_dim)
    torch.testing.assert_close(embedding, model.forward_features(x))
    model.reset_head(5)
    assert model(x).shape == (3, 5)


@pytest.mark.parametrize("name", em.list_models(modality="eeg", pretrained=True))
def test_every_checkpoint_reads_the_windows_of_the_benchmark(name):
    own = em.from_pretrained(name)
    rate = own.input_spec.eeg.sfreq
    model = EEGModel(**OEB, name=name, unit="V", without_baseline=True).eval()
    x = windows()
    got = model.forward_features(1e-6 * x)
    there = Resample(100.0, rate)(x) if rate != 100.0 else x
    if isinstance(own, em.backbones.Backbone):
        want = own.forward_head(own.forward_features(there), pre_logits=True)
    else:
        want = own(eeg=there).embedding
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)
    assert model(1e-6 * x).shape == (3, 2)
    assert all(p.requires_grad for p in model.final_layer.parameters())

    # Channels go by name, not by place.
    turned = {**OEB, "chs_info": CHANNELS[::-1]}
    backwards = EEGModel(**turned, name=name, unit="uV", without_baseline=True).eval()
    torch.testing.assert_close(backwards.forward_features(x.flip(1)), want, rtol=1e-4, atol=1e-4)


def test_a_kept_head_gives_the_checkpoints_own_logits():
    own = em.from_pretrained("mbsm_tiny.eegmat")
    model = EEGModel(**{**OEB, "n_times": 1000, "sfreq": 200.0}, name="mbsm_tiny.eegmat", unit="uV", keep_head=True)
    x = windows(times=1000)
    torch.testing.assert_close(model.eval()(x), own(x))
    with pytest.raises(ConfigError, match="n_outputs: the checkpoint's head has 2 classes, got 3"):
        EEGModel(**{**OEB, "n_outputs": 3}, name="mbsm_tiny.eegmat", unit="uV", keep_head=True)
    with pytest.raises(ConfigError, match="keep_head: the checkpoint has no head"):
        EEGModel(**OEB, name="mbsm_tiny.open", unit="uV", keep_head=True)
    with pytest.raises(ConfigError, match=r"keep_head.*random weights"):
        EEGModel(**OEB, name="eegnet_tiny", unit="uV", keep_head=True)
    with pytest.raises(ConfigError, match="keep_head: the classifier of EVER is part of its fusion"):
        EEGModel(**OEB, name="ever_tiny.quadrant", unit="uV", keep_head=True, without_baseline=True)


def test_a_system_keeps_its_head_and_reads_eeg_alone():
    own = em.from_pretrained("milmer_tiny.quadrant")
    kept = {"name": "milmer_tiny.quadrant", "unit": "uV", "without_baseline": True, "keep_head": True}
    x = windows()
    torch.testing.assert_close(EEGModel(**{**OEB, "n_outputs": 4}, **kept).eval()(x), own(eeg=x).logits)
    model = EEGModel(**OEB, name="ever_tiny", unit="uV", modalities=("eeg",)).eval()
    assert model.encoder.modalities == ("eeg",) and model(x).shape == (3, 2)
    assert not model.encoder.has_statistics
    model.train()(x)
    assert model.encoder.has_statistics
    first = model.encoder.spectrogram.norm.mean.clone()
    model(2 * x)
    assert torch.equal(model.encoder.spectrogram.norm.mean, first)


def test_units_are_one_signal():
    made = [EEGModel(**OEB, name="eegnet_tiny", unit=unit).eval() for unit in ("uV", "mV", "V", "nV", 10.0)]
    for model in made[1:]:
        model.load_state_dict(made[0].state_dict())
    x, want = windows(), made[0](windows())
    for model, factor in zip(made, (1.0, 1e-3, 1e-6, 1e3, 0.1), strict=True):
        torch.testing.assert_close(model(factor * x), want, rtol=1e-4, atol=1e-5)


def test_channels_are_counted_where_only_described():
    # For MNE epochs braindecode gives no n_chans.
    own = {key: value for key, value in OEB.items() if key != "n_chans"}
    assert EEGModel(**own, name="eegnet_tiny", unit="uV").n_chans == 19
    with pytest.raises(ConfigError, match="n_chans"):
        EEGModel(**{**own, "chs_info": None}, name="eegnet_tiny", unit="uV")


def test_bands_are_standardised_by_what_training_shows():
    model = EEGModel(**OEB, name="dgcnn_tiny", unit="uV")
    x = windows(64)
    for part in x.split(16):
        model(part)
    model.eval()
    features = model.front_end(x).flatten(0, 1)
    torch.testing.assert_close(features.mean(0), torch.zeros(5, 19), atol=1e-3, rtol=0)
    torch.testing.assert_close(features.std(0), torch.ones(5, 19), atol=0.05, rtol=0)


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"n_outputs": None}, ConfigError, "n_outputs: expected a positive whole number, got None"),
        ({"n_chans": 0}, ConfigError, "n_chans"),
        ({"n_times": 2.5}, ConfigError, "n_times"),
        ({"sfreq": None}, ConfigError, "sfreq.*module__sfreq"),
        ({"sfreq": float("nan")}, ConfigError, "sfreq"),
        ({"unit": None}, ConfigError, "unit: expected 'V', 'mV', 'uV', 'nV'"),
        ({"unit": "volts"}, ConfigError, "unit"),
        ({"unit": -1.0}, ConfigError, "unit"),
        ({"name": None}, ConfigError, "name"),
        ({"name": "mbsm_tiny", "chs_info": None}, ConfigError, "chs_info: 'mbsm_tiny' knows electrodes"),
        ({"chs_info": CHANNELS[:4]}, ConfigError, "chs_info: expected the 19 channels of n_chans, got 4"),
        ({"name": "videomae_nano"}, ConfigError, "takes no EEG"),
        ({"name": "eegnet_tiny", "sfreq_": 1}, ConfigError, "sfreq_"),
        ({"name": "eegnet_tiny", "num_samples": 7}, ConfigError, "num_samples: follows from the windows"),
        ({"name": "mbsm_tiny.open", "depth": 2}, ConfigError, "depth: a checkpoint comes with its own"),
        ({"name": "ever_tiny.quadrant"}, ConfigError, "without_baseline.*minute of the person's own rest"),
        ({"name": "milmer_tiny.quadrant", "without_baseline": True, "n_times": 400}, ConfigError, "n_times.*5 s"),
        ({"name": "mbsm_tiny.open", "sfreq": 100.0001234}, ConfigError, "no ratio of whole numbers"),
    ],
)
def test_wrong_arguments_are_refused(change, error, said):
    with pytest.raises(error, match=said):
        EEGModel(**{**OEB, "name": "eegnet_tiny", "unit": "uV", **change})


def test_too_few_channels_and_wrong_windows_are_refused():
    four = {**OEB, "n_chans": 4, "chs_info": [{"ch_name": n} for n in em.montage.preset("muse")]}
    with pytest.raises(ConfigError, match="only 0 of the 19 channels"):
        EEGModel(**four, name="milmer_tiny.quadrant", unit="uV", without_baseline=True)
    model = EEGModel(**OEB, name="eegnet_tiny", unit="uV")
    with pytest.raises(ShapeError, match="x: expected"):
        model(torch.zeros(1, 18, 500))
    with pytest.raises(ShapeError, match="floating point"):
        model(torch.zeros(1, 19, 500, dtype=torch.int64))
    with pytest.raises(UnknownNameError, match="ECG"):
        EEGModel(**{**OEB, "chs_info": [{"ch_name": "ECG"}, *CHANNELS[1:]]}, name="mbsm_tiny", unit="uV")


def test_channels_go_by_position_where_names_say_nothing():
    mne = pytest.importorskip("mne")  # only makes the positions
    info = mne.create_info(list(NAMES), 100.0, "eeg")
    known = mne.channels.get_builtin_montages()
    info.set_montage(
        mne.channels.make_standard_montage(next(n for n in ("colin27_1005", "standard_1005") if n in known))
    )
    assert names_of(info["chs"]) == NAMES
    numbered = [{"ch_name": f"E{k}", "loc": channel["loc"]} for k, channel in enumerate(info["chs"])]
    assert names_of(numbered) == NAMES
    assert names_of([*numbered[:5], *info["chs"][5:]]) == NAMES
    swapped = [{"ch_name": "Oz", "loc": info["chs"][0]["loc"]}]
    with pytest.raises(ConfigError, match=r"'Oz' stands .* degrees away from Oz"):
        names_of(swapped)
    with pytest.raises(UnknownNameError, match=r"'chin' has no name .* no free place"):
        names_of([{"ch_name": "chin", "loc": [0.0, 0.08, -0.12]}])
    with pytest.raises(UnknownNameError, match="'E7'"):
        names_of([numbered[0], {"ch_name": "E7"}])


@pytest.mark.parametrize("wrong", ["Cz", {"ch_name": "Cz"}, [], [{"name": "Cz"}], [{"ch_name": "Cz", "loc": "top"}]])
def test_what_describes_no_channels_is_refused(wrong):
    with pytest.raises(ConfigError, match="chs_info"):
        names_of(wrong)


def test_resampling_is_scipys():
    from scipy.signal import resample_poly

    for source, to, samples in ((100, 200, 500), (256, 200, 1280), (500, 200, 2501), (250, 256, 1001)):
        x, layer = torch.randn(2, 3, samples, dtype=torch.float64), Resample(source, to)
        want = resample_poly(x.numpy(), layer.up, layer.down, axis=-1, padtype="edge")
        np.testing.assert_allclose(layer(x).numpy(), want, atol=1e-6)
