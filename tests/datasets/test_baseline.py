"""A person's baseline in the data sets: where windows begin, what the filters see, what training draws."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from evermodels.core.errors import ConfigError, DataError
from evermodels.datasets import EEGMAT, QuadrantPairs, SubjectSplit
from evermodels.datasets.eegmat import Stretch
from evermodels.signals import EEG, Whitening, band_pass, read_eeg, resample

SFREQ = 50.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory, writer):
    """Four people with coloured noise: 61 s of rest, 25 s of arithmetic."""
    place = tmp_path_factory.mktemp("noise")
    for person in range(4):
        for state, seconds in ((1, 61), (2, 25)):
            x = 10 * np.random.default_rng((person, state)).standard_normal((20, seconds * 100 + 1))
            writer.write_edf(
                place / f"Subject{person:02d}_{state}.edf", x[:, 1:] + 0.8 * x[:, :-1], writer.EEGMAT_NAMES, 100
            )
    return place


@pytest.fixture(scope="module")
def by_baseline(folder) -> EEGMAT:
    return EEGMAT(folder, sfreq=SFREQ, window_seconds=2.0, whiten=True, baseline="rest", baseline_seconds=20)


def pairs(eegmat, faces, **more) -> QuadrantPairs:
    split = dict(
        eeg_subject=SubjectSplit(("00", "01"), ("02",), ("03",)),
        face_id=SubjectSplit(("000", "001", "002"), ("003",), ("004",)),
    )
    return QuadrantPairs(eegmat, faces, "train", train=True, split=split, size=(8, 8), num_frames=1, **more)


def test_no_window_is_cut_in_the_baseline_whether_it_is_used_or_not(folder, by_baseline) -> None:
    plain = EEGMAT(folder, sfreq=SFREQ, window_seconds=2.0, baseline_seconds=20)
    for eegmat in (by_baseline, plain):
        assert eegmat.window_starts("00", "rest").tolist() == list(range(1000, 2951, 100))
        assert eegmat.window_starts("00", "arithmetic").tolist() == list(range(0, 1151, 100))
        assert eegmat.windows("00", "rest").shape == (20, 19, 100)


def test_the_filters_see_the_baseline_alone(by_baseline) -> None:
    def read(state: str) -> EEG:
        path = by_baseline.path("01", state)
        return band_pass(resample(read_eeg(path, ch_names=by_baseline.ch_names), SFREQ), None, None)

    rest = read("rest")
    minute = EEG.from_microvolts(rest.data[:, :1000], rest.ch_names, SFREQ)
    for state in ("rest", "arithmetic"):
        expected = Whitening.fit(minute)(read(state)).data
        np.testing.assert_array_equal(by_baseline.recording("01", state), expected)


@pytest.mark.parametrize("start", [0, 37, 1000, 2950])
def test_another_baseline_equals_a_whitening_of_that_stretch(by_baseline, start) -> None:
    path = by_baseline.path("02", "rest")
    rest = resample(read_eeg(path, ch_names=by_baseline.ch_names), SFREQ)
    stretch = EEG.from_microvolts(rest.data[:, 13 * 50 : 41 * 50], rest.ch_names, SFREQ)
    expected = Whitening.fit(stretch)(rest).data[:, start : start + 100]
    found = by_baseline.window("02", "rest", start, baseline=Stretch(13, 28))
    np.testing.assert_allclose(found, expected, atol=2e-3)
    own = by_baseline.window("02", "rest", start, baseline=Stretch(0, 20))
    np.testing.assert_allclose(own, by_baseline.window("02", "rest", start), atol=2e-3)


def test_filters_of_a_stretch_are_made_once_for_the_windows_that_share_it(folder, monkeypatch) -> None:
    eegmat = EEGMAT(folder, sfreq=SFREQ, window_seconds=2.0, whiten=True, baseline="rest", baseline_seconds=20)
    stretches = [Stretch(i, 20) for i in range(8)]
    expected = [eegmat.window("00", "rest", 700, baseline=stretch) for stretch in stretches]
    eegmat.preload()
    made = []
    own = Whitening.of
    monkeypatch.setattr(Whitening, "of", lambda *arguments: made.append(1) or own(*arguments))
    for stretch, first in zip(stretches, expected, strict=True):
        for person in ("00", "01", "00"):
            found = eegmat.window(person, "rest", 700, baseline=stretch)
            assert np.array_equal(found, first) == (person == "00")
    assert len(made) == 2 * len(stretches)
    assert len(eegmat._latest) <= 4, "an epoch has thousands of stretches"


def test_training_draws_baselines_of_random_length_and_place(by_baseline, faces) -> None:
    data = pairs(by_baseline, faces, baselines=(10, 40), length=400, blend=0.5)
    drawn = [pair.baseline for pair in data.pairs]
    lengths, places = np.array([b.seconds for b in drawn]), np.array([b.start for b in drawn])
    assert lengths.min() == 10 and 28 <= lengths.max() <= 30  # at most half of the 61 s
    assert 0 <= places.min() <= 2 and 59 <= (places + lengths).max() <= 61
    assert len(set(drawn)) > 60
    for k in range(0, 400, 4):  # the four matched items share one
        assert len(set(drawn[k : k + 4])) == 1
    for pair in data.pairs:
        for start, stretch in [(pair.start, pair.baseline), *([pair.partner[1::3]] if pair.partner else [])]:
            assert 0 <= start <= (2950 if pair.arousal == 0 else 1150)
            if pair.arousal == 0:  # no window is compared with a baseline that holds it
                assert start + 100 <= stretch.start * 50 or start >= (stretch.start + stretch.seconds) * 50
    item = data[0]
    assert item["eeg"].shape == (19, 100) and torch.isfinite(item["eeg"]).all()


def test_draws_of_people_and_faces_do_not_depend_on_the_baselines(by_baseline, faces) -> None:
    without, with_them = pairs(by_baseline, faces), pairs(by_baseline, faces, baselines=(10, 30))
    kept = ("label", "eeg_subject", "face_id", "key")
    for a, b in zip(without.pairs, with_them.pairs, strict=True):
        assert [getattr(a, k) for k in kept] == [getattr(b, k) for k in kept]
    assert all(pair.baseline is None for pair in without.pairs)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"baseline": "rest", "baseline_seconds": 20}, "give whiten=True"),
        ({"baseline": "arithmetic", "whiten": True}, "expected 'rest' or ''"),
        ({"baseline": "rest", "whiten": True, "baseline_seconds": 5}, "at least 10, got 5"),
        ({"baseline_seconds": -1}, "expected 0 or more"),
        ({"baseline_seconds": float("nan")}, "expected 0 or more"),
        ({"baseline": "rest", "whiten": True, "baseline_seconds": 20, "task": "arithmetic"}, "expected 'rest' among"),
    ],
)
def test_what_is_refused(folder, arguments, message) -> None:
    with pytest.raises(ConfigError, match=message):
        EEGMAT(folder, **arguments)


def test_a_rest_that_is_too_short_is_named(folder, by_baseline, faces) -> None:
    short = EEGMAT(folder, sfreq=SFREQ, whiten=True, baseline="rest", baseline_seconds=58)
    with pytest.raises(DataError, match=r"rest of 00 lasts 61.0 s, less than a baseline of 58 s and a window of 5 s"):
        short.recording("00", "arithmetic")
    with pytest.raises(ConfigError, match="baseline: expected None"):
        EEGMAT(folder).window("00", "rest", 0, baseline=Stretch(0, 10))
    with pytest.raises(ConfigError, match="baselines: expected None"):
        pairs(EEGMAT(folder), faces, baselines=(10, 20))
    with pytest.raises(ConfigError, match="baselines: expected at least 10 s, shortest first"):
        pairs(by_baseline, faces, baselines=(30, 20))


def test_arithmetic_is_weakened_by_the_persons_own_rest(by_baseline, faces) -> None:
    data = pairs(by_baseline, faces, baselines=(10, 30), weaken=0.6, blend=0.5, length=200)
    weights = [pair.rest.weight for pair in data.pairs if pair.arousal]
    assert len(weights) == 100 and 0 <= min(weights) < 0.05 and 0.55 < max(weights) < 0.6
    assert all(pair.rest is None for pair in data.pairs if not pair.arousal)
    assert all((pair.partner.rest is None) == (pair.arousal == 0) for pair in data.pairs if pair.partner)
    index = next(i for i, pair in enumerate(data.pairs) if pair.arousal and not pair.partner)
    pair = data.pairs[index]
    own, rest = (
        by_baseline.window(pair.eeg_subject, state, start, baseline=pair.baseline).astype(np.float64)
        for state, start in (("arithmetic", pair.start), ("rest", pair.rest.start))
    )
    expected = (1 - pair.rest.weight) ** 0.5 * own + pair.rest.weight**0.5 * rest
    np.testing.assert_allclose(data[index]["eeg"].numpy(), expected, atol=1e-4)
    with pytest.raises(ConfigError, match="weaken: expected a part of the power"):
        pairs(by_baseline, faces, weaken=1.0)
