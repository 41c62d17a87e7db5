"""Changes of EEG windows: what each keeps and what it changes."""

import numpy as np
import pytest

from evermodels.core.errors import ConfigError
from evermodels.datasets.augment import (
    AmplitudeScale,
    BandNoise,
    ChannelDropout,
    ChannelGain,
    Compose,
    GaussianNoise,
    PolarityFlip,
    TimeFlip,
)

WINDOW = np.random.default_rng(0).standard_normal((6, 400)).astype(np.float32) * np.arange(1, 7)[:, None].astype("f4")
ALL = [
    AmplitudeScale(),
    ChannelGain(),
    ChannelDropout(0.5),
    GaussianNoise(),
    BandNoise(200.0),
    TimeFlip(),
    PolarityFlip(),
    Compose([AmplitudeScale(), TimeFlip(), GaussianNoise()]),
]


@pytest.mark.parametrize("change", ALL, ids=lambda change: type(change).__name__)
def test_same_generator_same_window_and_the_input_stays(change):
    before = WINDOW.copy()
    results = [change(WINDOW, np.random.default_rng(seed)) for seed in (5, 5)]
    assert np.array_equal(*results)
    assert results[0].shape == WINDOW.shape
    assert results[0].dtype == np.float32
    assert np.array_equal(WINDOW, before)
    assert any(not np.array_equal(change(WINDOW, np.random.default_rng(seed)), WINDOW) for seed in range(10))


def test_amplitude_is_one_factor():
    ratio = AmplitudeScale(0.5)(WINDOW, np.random.default_rng(1)) / WINDOW
    assert np.allclose(ratio, ratio[0, 0], rtol=1e-5)
    assert not np.isclose(ratio[0, 0], 1.0)


def test_channel_gain_is_one_factor_a_channel():
    ratio = ChannelGain(0.5)(WINDOW, np.random.default_rng(1)) / WINDOW
    assert np.allclose(ratio, ratio[:, :1], rtol=1e-5)
    assert len(np.unique(np.round(ratio[:, 0], 4))) == 6


def test_dropout_never_takes_every_channel():
    counts = [(ChannelDropout(0.5)(WINDOW, np.random.default_rng(s)) != 0).any(1).sum() for s in range(200)]
    assert min(counts) >= 1
    assert (ChannelDropout(1.0)(WINDOW, np.random.default_rng(0)) != 0).any(1).sum() == 1
    assert np.array_equal(ChannelDropout(0.0)(WINDOW, np.random.default_rng(0)), WINDOW)


def test_noise_is_relative_to_the_channel():
    noise = GaussianNoise(0.5)(WINDOW, np.random.default_rng(1)) - WINDOW
    assert np.allclose(noise.std(1) / WINDOW.std(1), 0.5, atol=0.08)


def test_band_noise_stays_in_its_band():
    noise = BandNoise(200.0, relative=0.5, low=10.0, high=20.0, width=4.0)(WINDOW, np.random.default_rng(1)) - WINDOW
    assert np.allclose(noise.std(1) / WINDOW.std(1), 0.5, atol=0.01)
    power = np.abs(np.fft.rfft(noise, axis=1)) ** 2
    frequency = np.fft.rfftfreq(400, 1 / 200)
    inside = (frequency >= 10) & (frequency <= 20)
    assert power[:, inside].sum() > 0.999 * power.sum()


def test_flips():
    rng = np.random.default_rng(0)
    assert np.array_equal(TimeFlip(1.0)(WINDOW, rng), WINDOW[:, ::-1])
    assert np.array_equal(PolarityFlip(1.0)(WINDOW, rng), -WINDOW)
    assert np.array_equal(TimeFlip(0.0)(WINDOW, rng), WINDOW)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AmplitudeScale(-1.0), "AmplitudeScale.sigma"),
        (lambda: ChannelGain(float("nan")), "ChannelGain.sigma"),
        (lambda: ChannelDropout(1.5), "ChannelDropout.p"),
        (lambda: GaussianNoise(float("inf")), "GaussianNoise.relative"),
        (lambda: TimeFlip(-0.1), "TimeFlip.p"),
        (lambda: PolarityFlip(2.0), "PolarityFlip.p"),
        (lambda: BandNoise(60.0), r"BandNoise: expected .* half of sfreq \(30 Hz\)"),
    ],
)
def test_impossible_values(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
