"""The crossed bootstrap against samples that are really repeated, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from evermodels.core.errors import ConfigError, DataError
from evermodels.training import Interval, Predictions, Resamples, interval, metric_values, paired_difference, verdict
from evermodels.training.bootstrap import METRICS, OF_HALVES, resamples_for
from evermodels.training.metrics import halves


def predictions(seed, n=80, eeg=4, faces=6, skill=1.0):
    rng = np.random.default_rng(seed)
    fixed = np.random.default_rng(1234)
    label = np.arange(n) % 4
    logits = rng.standard_normal((n, 4)) + skill * np.eye(4)[label]
    return Predictions(
        logits,
        label,
        np.array([f"e{i}" for i in fixed.integers(eeg, size=n)]),
        np.array([f"f{i}" for i in fixed.integers(faces, size=n)]),
    )


def repeated(p, draws, r):
    """Indices of the samples, each as often as the product of its people's multiplicities, by a plain loop."""
    eeg, face = sorted(set(p.eeg_subject)), sorted(set(p.face_id))
    index = []
    for i in range(len(p.label)):
        times = draws.eeg[r, eeg.index(p.eeg_subject[i])] * draws.face[r, face.index(p.face_id[i])]
        index += [i] * times
    return np.array(index)


def slow(p, metric, index):
    label, guess = p.label[index], p.predicted[index]
    if metric in OF_HALVES:
        product = slow(p, "arousal", index) * slow(p, "valence", index)
        return product if metric == "product_of_halves" else slow(p, "uar", index) - product
    if metric in ("arousal", "valence"):
        label, guess = (half[index] for half in halves(p)[metric])
    if metric == "accuracy":
        return sk.accuracy_score(label, guess)
    if metric == "weighted_f1":
        return sk.f1_score(label, guess, average="weighted", zero_division=0)
    present = np.unique(label)
    return sk.recall_score(label, guess, average="macro", labels=present, zero_division=0)


@pytest.mark.parametrize("metric", METRICS + OF_HALVES)
def test_weights_equal_repeated_samples(metric):
    p = predictions(0)
    draws = resamples_for(p, n=25, seed=5)
    fast = metric_values(p, metric, draws)
    want = [slow(p, metric, repeated(p, draws, r)) for r in range(25)]
    np.testing.assert_allclose(fast, want, rtol=1e-12)
    assert metric_values(p, metric)[0] == pytest.approx(slow(p, metric, np.arange(80)))


def test_people_are_drawn_whole_and_apart():
    draws = Resamples.draw(6, 17, n=4000, seed=0)
    assert (draws.eeg.sum(axis=1) == 6).all() and (draws.face.sum(axis=1) == 17).all()
    # Multinomial: mean 1 and variance 1 - 1/n; the two draws are independent.
    np.testing.assert_allclose(draws.eeg.mean(axis=0), 1, atol=0.06)
    np.testing.assert_allclose(draws.eeg.var(axis=0), 1 - 1 / 6, atol=0.1)
    assert abs(np.corrcoef(draws.eeg[:, 0], draws.face[:, 0])[0, 1]) < 0.06


def test_one_hand_computed_resample():
    p = Predictions(
        np.eye(2)[[0, 1, 1, 1]], np.array([0, 0, 1, 1]), np.array(["a", "b", "a", "b"]), np.array(["x", "x", "y", "y"])
    )
    draws = Resamples(np.array([[2, 0]]), np.array([[1, 1]]))
    # Weights 2, 0, 2, 0: all that is left is right.
    assert metric_values(p, "accuracy", draws)[0] == 1.0
    draws = Resamples(np.array([[1, 1]]), np.array([[2, 0]]))
    # Weights 2, 2, 0, 0: only class 0 is left, half of it right.
    assert metric_values(p, "uar", draws)[0] == 0.5
    # F1 of class 0: tp 2, fp 0, fn 2 -> 2/3; class 1 has no support.
    assert metric_values(p, "weighted_f1", draws)[0] == pytest.approx(2 / 3)


def test_seeds_are_averaged_within_a_resample():
    a, b = predictions(1), predictions(2)
    draws = resamples_for(a, n=300, seed=0)
    both = (metric_values(a, "uar", draws) + metric_values(b, "uar", draws)) / 2
    found = interval([a, b], "uar", n=300)
    np.testing.assert_allclose([found.low, found.high], np.quantile(both, [0.025, 0.975]))
    assert found.low <= found.value <= found.high


def test_a_difference_is_paired():
    good, bad = predictions(3, skill=3.0), predictions(4, skill=0.0)
    same = paired_difference([good], [good], n=200)
    assert same == (0.0, 0.0, 0.0)
    ahead = paired_difference([good], [bad], n=200)
    behind = paired_difference([bad], [good], n=200)
    assert ahead.low > 0
    np.testing.assert_allclose([ahead.low, ahead.high], [-behind.high, -behind.low])
    draws = resamples_for(good, n=200)
    values = metric_values(good, "uar", draws) - metric_values(bad, "uar", draws)
    np.testing.assert_allclose([ahead.low, ahead.high], np.quantile(values, [0.025, 0.975]))


def test_an_interval_covers_the_truth_about_as_often_as_it_says():
    # Accuracy with a per-person effect on both sides: a bootstrap over samples alone would cover far less.
    covered = 0
    for trial in range(60):
        rng = np.random.default_rng(trial)
        eeg, face = np.repeat(np.arange(12), 24), np.tile(np.arange(24), 12)
        chance = 0.7 + 0.12 * rng.standard_normal(12)[eeg] + 0.12 * rng.standard_normal(24)[face]
        label = np.arange(len(eeg)) % 2
        right = rng.random(len(eeg)) < chance.clip(0, 1)
        guess = np.where(right, label, 1 - label)
        p = Predictions(np.eye(2)[guess], label, eeg.astype(str), face.astype(str))
        ends = interval([p], "accuracy", n=300)
        covered += ends.low <= 0.7 <= ends.high
    assert 0.8 * 60 <= covered


def test_runs_on_other_samples_are_refused():
    a = predictions(0)
    b = Predictions(a.logits, a.label, a.eeg_subject[::-1], a.face_id)
    with pytest.raises(DataError, match="eeg_subject differs"):
        paired_difference([a], [b])
    with pytest.raises(DataError, match="at least one seed"):
        interval([])
    with pytest.raises(DataError, match="at least one seed"):
        paired_difference([a], [])
    with pytest.raises(DataError, match="drawn for 3 EEG subjects"):
        metric_values(a, "uar", Resamples.draw(3, 6, n=2))
    with pytest.raises(ConfigError, match="Did you mean 'accuracy'"):
        interval([a], "acuracy")
    two = Predictions(a.logits[:, :2], a.label % 2, a.eeg_subject, a.face_id)
    for metric in ("arousal", "uar_minus_product"):
        with pytest.raises(ConfigError, match="needs the four quadrant classes"):
            metric_values(two, metric)


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (-0.130, 0.116, "undecided"),
        (-0.049, 0.049, "equal within 0.05"),
        (-0.05, 0.01, "undecided"),  # the ends of the margin are not inside it
        (0.0, 0.04, "equal within 0.05"),  # 0 is not excluded
        (0.0, 0.06, "undecided"),
        (0.01, 0.06, "ahead"),
        (0.01, 0.04, "ahead, within 0.05"),
        (-0.06, -0.01, "behind"),
        (-0.04, -0.01, "behind, within 0.05"),
        (float("nan"), float("nan"), "undecided"),
    ],
)
def test_an_interval_that_holds_0_shows_no_equality(low, high, words):
    assert verdict(Interval((low + high) / 2, low, high), 0.05) == words


def test_a_margin_is_a_positive_number():
    for margin in (0, -0.1, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="margin: expected a positive number"):
            verdict(Interval(0, 0, 0), margin)


def test_without_faces_only_people_with_eeg_are_drawn():
    full = predictions(3)
    alone = Predictions(full.logits, full.label, full.eeg_subject)
    draws = resamples_for(alone, n=50)
    assert draws.face.shape == (50, 1) and (draws.face == 1).all()
    expected = [slow(alone, "uar", repeated(alone, draws, r)) for r in range(50)]
    np.testing.assert_allclose(metric_values(alone, "uar", draws), expected)
