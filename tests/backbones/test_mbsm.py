"""MBSM against the reference's numbers, its montages, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import evermodels as em
from evermodels.backbones import MBSMAutoencoder, MBSMConfig, MBSMEncoder, MBSMPretrainingConfig
from evermodels.backbones.eeg.mbsm import electrode_harmonics
from evermodels.checkpoints.convert import convert
from evermodels.core.errors import CheckpointError, ConfigError, DataError, ShapeError, UnknownNameError
from evermodels.functional import real_spherical_harmonics

MUSE = em.montage.preset("muse")
EXO = ("Oz", "O1", "O2", "PO3", "POz", "PO7", "PO8", "PO4")
SMALL = {"embed_dim": 16, "num_heads": 2, "depth": 1, "patch_size": 20, "spectrum_bins": 0}
OWN = ("decoder_", "mask_token", "cls_token")
DECODER = {"decoder_embed_dim": 8, "decoder_depth": 1, "decoder_num_heads": 2}

REFERENCE = {
    "mbm_a": (
        MBSMConfig(in_chans=6, num_samples=48, embed_dim=16, depth=2, num_heads=2),
        MBSMPretrainingConfig(decoder_embed_dim=12, decoder_depth=1, decoder_num_heads=2),
        31,
    ),
    "mbm_focus_a": (
        MBSMConfig(in_chans=5, num_samples=40, embed_dim=16, depth=1, num_heads=2),
        MBSMPretrainingConfig(
            decoder_embed_dim=8, decoder_depth=1, decoder_num_heads=2, mask_ratio=0.5, focus_range=(8, 24)
        ),
        33,
    ),
}


def reference(golden, file):
    encoder_config, config, seed = REFERENCE[file]
    numbers = golden(file)
    model = MBSMAutoencoder(MBSMEncoder(encoder_config), config)
    own = {}
    for key, value in numbers["weights"].items():
        if "pos_embed" in key:
            assert not value[:, 0].any()  # the class token's
            torch.testing.assert_close(getattr(model if "decoder" in key else model.encoder, key), value[:, 1:])
        else:
            own[key if key.startswith(OWN) else f"encoder.{key}"] = value
    model.load_state_dict(own)
    return model, numbers, seed


@pytest.mark.parametrize("file", REFERENCE)
def test_reference_numbers(golden, file):
    model, numbers, seed = reference(golden, file)
    x, want = numbers["input"]["x"], numbers["output"]
    with torch.no_grad():
        torch.manual_seed(seed)
        torch.testing.assert_close(model.draw(len(x)), want["noise"], rtol=0, atol=0)
        torch.manual_seed(seed)
        found = model(x)
        for key in ("mask", "prediction"):
            torch.testing.assert_close(getattr(found, key), want[key], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(found.total, want["loss"])
        # Hidden patches that the focus drew have equal numbers; those that are seen stand in the order of theirs.
        torch.testing.assert_close(found.latent, want["latent"], rtol=1e-5, atol=1e-5)
        encoder = model.encoder
        torch.testing.assert_close(encoder.norm(encoder.forward_features(x)), want["encoder_tokens"])
        torch.testing.assert_close(encoder(x)[:, None], want["encoder_pooled"])
        torch.testing.assert_close(encoder.patch_embed(x), want["patch_tokens"])


@pytest.mark.parametrize("file", REFERENCE)
def test_reference_gradients(golden, file):
    model, numbers, seed = reference(golden, file)
    x = numbers["input"]["x"].requires_grad_()
    torch.manual_seed(seed)
    (model.train()(x).total * numbers["input"]["cotangent"]).backward()
    have = dict(model.named_parameters())
    for key, want in numbers["grad"].items():
        own = key if key.startswith(OWN) else f"encoder.{key}"
        found = x.grad if key == "input/x" else have[own].grad
        torch.testing.assert_close(found, want, rtol=1e-4, atol=1e-6)


def test_converted_from_the_repository_s_file(golden, tmp_path):
    numbers = golden("mbm_a")
    torch.save({"model": numbers["weights"]}, tmp_path / "checkpoint.pth")
    convert(
        tmp_path / "checkpoint.pth",
        tmp_path / "out",
        architecture="mbsm_base",
        licence="mit",
        config={"embed_dim": 16, "depth": 2, "num_heads": 2, "num_samples": 48},
    )
    encoder = em.from_pretrained(tmp_path / "out")
    torch.testing.assert_close(encoder(numbers["input"]["x"])[:, None], numbers["output"]["encoder_pooled"])
    assert encoder.config.mlp_ratio == 1.0 and encoder.config.depth == 2 and encoder.config.in_chans == 6


def test_harmonics_are_scipy_s():
    special = pytest.importorskip("scipy.special")
    places = torch.from_numpy(np.random.default_rng(0).standard_normal((50, 3)))
    places = places / places.norm(dim=1, keepdim=True)
    x, y, z = places.T.numpy()
    theta, phi = np.arccos(z), np.arctan2(y, x)
    found = real_spherical_harmonics(places, 5)
    column = 0
    for degree in range(6):
        for m in range(-degree, degree + 1):
            y_lm = special.sph_harm_y(degree, abs(m), theta, phi) * (-1) ** m * np.sqrt(4 * np.pi)
            want = y_lm.real if m == 0 else np.sqrt(2) * (y_lm.real if m > 0 else y_lm.imag)
            np.testing.assert_allclose(found[:, column], want, atol=1e-12)
            column += 1
    assert torch.autograd.gradcheck(lambda p: real_spherical_harmonics(p, 3), places[:2].requires_grad_())
    with pytest.raises(ShapeError, match="places"):
        real_spherical_harmonics(torch.zeros(4, 2), 1)
    with pytest.raises(ConfigError, match="degree"):
        real_spherical_harmonics(places, -1)


def test_weights_are_generated_from_positions():
    model = MBSMEncoder.from_preset("mbsm_tiny", scale="none", **SMALL).eval()
    x = torch.randn(2, 19, 1000)
    rows = real_spherical_harmonics(torch.from_numpy(em.montage.positions(model.config.ch_names)), 4).float()
    weight = torch.einsum("ck,dkp->dcp", rows, model.patch_embed.proj.weight) / 19
    slow = F.conv1d(x, weight, model.patch_embed.proj.bias, stride=20).mT
    tokens = model.patch_tokens(*model.spread(x)) - model.pos_embed
    torch.testing.assert_close(tokens, slow, rtol=1e-4, atol=1e-5)
    # The order of the electrodes is free, and an electrode in both halves of a batch weighs the same.
    order = torch.randperm(19)
    names = tuple(model.config.ch_names[i] for i in order)
    torch.testing.assert_close(model(x[:, order], [names, names]), model(x), rtol=1e-4, atol=1e-5)


def test_a_derivation_is_a_difference():
    rows = electrode_harmonics(("A1", "A2", "A2-A1"), 4)
    torch.testing.assert_close(rows[2], rows[1] - rows[0])
    model = MBSMEncoder.from_preset("mbsm_tiny", in_chans=20, ch_names=(*em.montage.preset("eegmat"), "A2-A1"), **SMALL)
    assert torch.isfinite(model(torch.randn(1, 20, 1000))).all()


def test_mixed_montages_equal_each_alone():
    model = MBSMEncoder.from_preset("mbsm_tiny", **SMALL).eval()
    four, eight, many = torch.randn(1, 4, 1000), 30 * torch.randn(1, 8, 1000), torch.randn(1, 62, 1000)
    seed = em.montage.preset("seed")
    x = torch.full((3, 62, 1000), float("nan"))  # what stands behind a sample's channels cannot matter
    x[0, :4], x[1, :8], x[2] = four, eight, many
    mixed = model(x, [MUSE, EXO, seed])
    for row, (alone, names) in enumerate(((four, MUSE), (eight, EXO), (many, seed))):
        own = MBSMEncoder.from_preset("mbsm_tiny", in_chans=len(names), ch_names=names, **SMALL).eval()
        own.load_state_dict(model.state_dict())
        torch.testing.assert_close(mixed[row : row + 1], own(alone), rtol=1e-4, atol=1e-5)
    half = torch.tensor([[True, True, False, False]])
    torch.testing.assert_close(model(four, [MUSE], half), model(four[:, :2], [MUSE[:2]]), rtol=1e-4, atol=1e-5)


def test_the_loss_of_a_mixed_batch_is_the_mean_of_each():
    encoder = MBSMEncoder.from_preset("mbsm_tiny", **SMALL)
    model = encoder.make_pretraining(mask_span=5, spectrum_weight=0.5, **DECODER).eval()
    four, eight = torch.randn(1, 4, 1000), 30 * torch.randn(1, 8, 1000)
    x = torch.full((2, 8, 1000), float("nan"))
    x[0, :4], x[1] = four, eight
    noise = model.draw(2)
    both = model(x, [MUSE, EXO], noise=noise)
    one, two = model(four, [MUSE], noise=noise[:1]), model(eight, [EXO], noise=noise[1:])
    for key in ("total", "signal", "spectrum"):
        torch.testing.assert_close(getattr(both, key), (getattr(one, key) + getattr(two, key)) / 2)
    torch.testing.assert_close(both.total, both.signal + 0.5 * both.spectrum)
    assert model.pretraining_loss({"eeg": x, "ch_names": [MUSE, EXO]})["total"].isfinite()


def test_hidden_patches_come_in_spans_and_only_they_count():
    encoder = MBSMEncoder.from_preset("mbsm_tiny", **SMALL)
    model = encoder.make_pretraining(mask_span=5, **DECODER).eval()
    x = torch.randn(2, 19, 1000)
    noise = model.draw(2)
    found = model(x, noise=noise)
    assert found.mask.view(2, 10, 5).std(dim=2).max() == 0 and found.mask.sum(1).tolist() == [40, 40]
    changed = x.clone().unflatten(2, (50, 20))
    changed[found.mask[:, None].expand(-1, 19, -1) == 1] = 0
    # scale="window" sees all of it, so the encoder is asked with what is not scaled
    plain = MBSMEncoder(encoder.config.replace(scale="none"))
    plain.load_state_dict(encoder.state_dict())
    again = MBSMAutoencoder(plain, model.config).eval()
    torch.testing.assert_close(again(x, noise=noise).latent, again(changed.flatten(2), noise=noise).latent)
    slow = ((again._patches(x).flatten(2) - again(x, noise=noise).prediction) ** 2).mean(2)[found.mask == 1].mean()
    torch.testing.assert_close(again(x, noise=noise).signal, slow)


def test_the_spectrum_is_a_plain_periodogram():
    encoder = MBSMEncoder.from_preset("mbsm_tiny", scale="none", **SMALL)
    model = encoder.make_pretraining(mask_span=5, spectrum_weight=1.0, bands=(8, 12, 20), **DECODER)
    time = torch.arange(1000) / 200
    x = (3 * torch.sin(2 * torch.pi * 10 * time)).expand(1, 19, -1)
    spectra = model._spectra(x)
    assert spectra.shape == (1, 10, 2, 19)
    span = np.hanning(101)[:-1] * x[0, 0, 100:200].numpy()
    power = np.abs(np.fft.rfft(span)) ** 2 / (np.hanning(101)[:-1] ** 2).sum()
    want = np.log([power[4:6].mean() + 1e-4, power[6:10].mean() + 1e-4])
    np.testing.assert_allclose(spectra[0, 1, :, 0], want, atol=1e-3)


def test_the_scale_does_not_matter_where_it_is_taken_away():
    x = torch.randn(2, 19, 1000, dtype=torch.float64)
    gain = torch.linspace(0.5, 2, 19, dtype=torch.float64)[:, None]
    for scale, factor, same in (("window", 7.0, True), ("window", gain, False), ("channel", gain, True)):
        model = MBSMEncoder.from_preset("mbsm_tiny", scale=scale, **SMALL).double().eval()
        assert torch.allclose(model(x), model(factor * x + 5)) == same
    flat = torch.zeros(1, 19, 1000)
    assert torch.isfinite(MBSMEncoder.from_preset("mbsm_tiny", scale="channel", **SMALL)(flat)).all()


def test_another_montage_takes_the_same_weights(tmp_path):
    model = MBSMEncoder.from_preset("mbsm_tiny", **SMALL).eval()
    folder = model.save_pretrained(tmp_path / "m")
    muse = em.from_pretrained(folder, ch_names=MUSE)
    assert muse.sample_shape == (4, 1000) and muse.input_spec.eeg.ch_names == MUSE
    x = torch.randn(2, 4, 1000)
    torch.testing.assert_close(muse(x), model(x, [MUSE, MUSE]), rtol=1e-4, atol=1e-5)
    system = em.create_model("single_eeg", ch_names=EXO, encoders={"eeg": {"name": "mbsm_tiny", "config": SMALL}})
    assert system.eeg_encoder.config.ch_names == EXO
    system.load_encoder("eeg", folder)
    y = torch.randn(1, 8, 1000)
    torch.testing.assert_close(system.eval()(eeg=y).embedding, model(y, [EXO]), rtol=1e-4, atol=1e-5)
    slower = em.create_model(
        "single_eeg", sfreq=100.0, encoders={"eeg": {"name": "mbsm_tiny", "config": SMALL}}, window_seconds=10.0
    )
    with pytest.raises(CheckpointError, match="sfreq 200"):
        slower.load_encoder("eeg", folder)
    fixed = MBSMEncoder(MBSMConfig(in_chans=2, num_samples=8, embed_dim=4, depth=1, num_heads=1))
    with pytest.raises(ConfigError, match="a weight for each of its own channels"):
        fixed.adapt_montage(MUSE)


def test_refusals():
    model = MBSMEncoder.from_preset("mbsm_tiny", **SMALL)
    x = torch.randn(2, 4, 1000)
    with pytest.raises(ShapeError, match="names of each of the 2 samples, got 1"):
        model(x, [MUSE])
    with pytest.raises(ShapeError, match=r"ch_names\[1\]: expected 1 to 4 names, got 8"):
        model(x, [MUSE, EXO])
    with pytest.raises(UnknownNameError, match="ECG"):
        model(x, [MUSE, ("ECG",)])
    with pytest.raises(ShapeError, match="no valid channel"):
        model(x, [MUSE, MUSE], torch.zeros(2, 4, dtype=torch.bool))
    fixed = MBSMEncoder(MBSMConfig(in_chans=4, num_samples=1000, embed_dim=4, depth=1, num_heads=1))
    with pytest.raises(ConfigError, match="fixed channels"):
        fixed(x, [MUSE, MUSE])
    for wrong, match in (
        ({"num_samples": 1001}, "num_samples.*multiple of patch_size"),
        ({"embed_dim": 15}, "embed_dim.*even multiple"),
        ({"ch_names": ("Fz", "Cz")}, "ch_names.*the names of the 19 channels"),
        ({"degree": 20}, "degree.*0 to 16"),
        ({"sfreq": 0.0}, "sfreq.*positive"),
    ):
        with pytest.raises(ConfigError, match=match):
            MBSMEncoder.from_preset("mbsm_tiny", **wrong)
    for wrong, match in (
        ({"mask_ratio": 0.99}, "mask_ratio.*50 spans"),
        ({"mask_span": 7}, "mask_span.*divisor of the 50 patches"),
        ({"focus_range": (0, 2000)}, "focus_range.*up to 1000"),
        ({"spectrum_weight": 1.0}, "bands.*one every 10 Hz"),
        ({"signal_weight": 0.0}, "signal_weight"),
        ({"mask": 1}, "mask"),
    ):
        with pytest.raises(ConfigError, match=match):
            model.make_pretraining(**wrong)
    with pytest.raises(DataError, match="expected 'eeg', got video"):
        model.make_pretraining(**DECODER).pretraining_loss({"video": x})


def test_the_spectrum_of_a_patch_enters_its_token():
    model = MBSMEncoder.from_preset("mbsm_tiny", scale="none", embed_dim=16, num_heads=2, depth=1).eval()
    embed = model.patch_embed
    assert embed.bins == 22 and model.config.patch_size == 100
    x = 3 * torch.randn(1, 19, 1000)
    patch = x[0, 5, 300:400].numpy()
    wave = np.fft.rfft((patch - patch.mean()) * np.hanning(101)[:-1])[1:23]
    want = np.log(np.abs(wave) ** 2 * np.arange(1, 23) ** 2 / (np.hanning(101)[:-1] ** 2).sum() + 1e-3)
    power = embed._log_power(x)
    np.testing.assert_allclose(power[0, 5, 3], want, rtol=1e-3, atol=1e-3)
    with torch.no_grad():
        embed.proj.weight.zero_()
        tokens = embed(x, model.harmonics)
        slow = embed.proj.bias + embed.spectrum.bias
        per_map = torch.einsum("ck,bcnf->bnkf", model.harmonics, power)
        slow = slow + torch.einsum("bnkf,dkf->bnd", per_map, embed.spectrum.weight.view(16, 25, 22))
    torch.testing.assert_close(tokens, slow, rtol=1e-4, atol=1e-5)
    with pytest.raises(ConfigError, match=r"spectrum_bins.*0 to 50"):
        MBSMEncoder.from_preset("mbsm_tiny", spectrum_bins=51)


def test_what_distinguishes_a_person_s_windows_by_a_slow_loop():
    signal = pytest.importorskip("scipy.signal")
    encoder = MBSMEncoder.from_preset("mbsm_tiny", scale="none", **SMALL)
    model = encoder.make_pretraining(
        mask_ratio=0.5, signal_weight=0.0, state_weight=1.0, level_weight=0.1, state_bands=(2, 6, 12), class_token=False
    ).eval()
    assert not any("decoder" in name or "mask_token" in name for name, _ in model.named_parameters())
    x = torch.full((5, 8, 1000), float("nan"))
    x[:3], x[3:, :4] = 20 * torch.randn(3, 8, 1000), 5 * torch.randn(2, 4, 1000)
    names, person = [EXO] * 3 + [MUSE] * 2, ["a", "b", "a", "c", "c"]
    noise = model.draw(5)
    found = model(x, names, noise=noise, person=person)
    # What is hidden does not reach the embedding; the target is of the whole window.
    seen = (found.mask == 0).repeat_interleave(20, dim=1)[:, None]
    assert torch.allclose(
        model(torch.where(seen, x, x + 7 * x), names, noise=noise, person=person).latent, found.latent
    )
    apart = {}
    for row, chosen in enumerate(names):
        maps = electrode_harmonics(chosen, 4).float()
        given = x[row, : len(chosen)]
        order = noise[row].argsort(stable=True)[:25]
        tokens = model.encoder.patch_tokens(given[None], maps / len(chosen))[:, order]
        embedding = encoder.norm(encoder.encode(tokens).mean(dim=1))
        said = model.state_pred.proj(embedding).view(2, 25) @ maps.T
        frequency, power = signal.welch(given.numpy(), 200, nperseg=200, detrend="constant", scaling="density")
        power = torch.from_numpy(power) * 100  # one-sided and by Hz
        bands = [power[:, (frequency >= low) & (frequency < high)].mean(1) for low, high in ((2, 6), (6, 12))]
        apart.setdefault(person[row], []).append(said - (torch.stack(bands) + 1e-4).log())
    within = [(one - sum(rows) / len(rows)).square().mean() for rows in apart.values() for one in rows]
    between = [(sum(rows) / len(rows)).square().mean() for rows in apart.values() for _ in rows]
    torch.testing.assert_close(found.state, sum(within) / 5, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.level, sum(between) / 5, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.total, found.state + 0.1 * found.level)
    terms = model.train().pretraining_loss({"eeg": x, "ch_names": names, "person": person})
    assert sorted(terms) == ["level", "signal", "spectrum", "state", "total"]
    terms["total"].backward()
    assert encoder.patch_embed.proj.weight.grad.isfinite().all() and encoder.norm.weight.grad.abs().sum() > 0


def test_a_person_s_windows_refusals():
    encoder = MBSMEncoder.from_preset("mbsm_tiny", **SMALL)
    model = encoder.make_pretraining(state_weight=1.0, **DECODER)
    x = torch.randn(2, 19, 1000)
    for person, match in ((None, "whose each window is"), (["a"], "got 1 names"), (["a", "b"], "data.together")):
        with pytest.raises(DataError, match=match):
            model.pretraining_loss({"eeg": x, "person": person})
    assert model.eval().pretraining_loss({"eeg": x, "person": ["a", "b"]})["state"] == 0
    for wrong, match in (
        ({"state_weight": 1.0, "state_bands": (1.2, 1.8)}, "state_bands.*one every 1 Hz"),
        ({"level_weight": -1.0}, "level_weight"),
        ({"state_bands": (4,)}, "state_bands.*rising"),
    ):
        with pytest.raises(ConfigError, match=match):
            encoder.make_pretraining(**wrong)
    fixed = MBSMEncoder(MBSMConfig(in_chans=2, num_samples=8, embed_dim=4, depth=1, num_heads=1))
    with pytest.raises(ConfigError, match=r"sfreq.*state_weight"):
        fixed.make_pretraining(state_weight=1.0, mask_ratio=0.5, **DECODER)
