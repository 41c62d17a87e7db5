"""The crossed bootstrap against samples that are really repeated, and by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn import metrics as sk

from evermodels.core.errors import ConfigError, DataError
from evermodels.training import (
    Interval,
    Predictions,
    Resamples,
    bootstrap,
    interval,
    metric_values,
    paired_difference,
    verdict,
)
from evermodels.training.bootstrap import OF_SCORES, metric_names, resamples_for

LEVELS = {"arousal": [0, 0, 1, 1], "valence": [0, 1, 0, 1]}
TWO_GROUPS = {
    "uar": (0.58125, 0.452560763888889, 0.7249760017786919),
    "arousal": (0.012499999999999956, -0.14981183962946876, 0.16857520972816004),
}


def predictions(seed, n=80, eeg=4, faces=6, skill=1.0):
    rng = np.random.default_rng(seed)
    fixed = np.random.default_rng(1234)
    label = np.arange(n) % 4
    logits = rng.standard_normal((n, 4)) + skill * np.eye(4)[label]
    return Predictions(
        logits,
        label,
        {
            "eeg_subject": np.array([f"e{i}" for i in fixed.integers(eeg, size=n)]),
            "face_id": np.array([f"f{i}" for i in fixed.integers(faces, size=n)]),
        },
        levels=LEVELS,
    )


def repeated(p, draws, r):
    """Indices of the samples, each as often as the product of its people's multiplicities, by a plain loop."""
    index = []
    for i in range(len(p.label)):
        times = 1
        for name, ids in p.groups.items():
            times *= draws.counts[name][r, sorted(set(ids)).index(ids[i])]
        index += [i] * times
    return np.array(index)


def slow(p, metric, index):
    label, guess = p.label[index], p.predicted[index]
    if metric in OF_SCORES:
        each = [slow(p, "arousal", index), slow(p, "valence", index)]
        if metric == "mean_of_scores":
            return np.mean(each)
        return np.prod(each) if metric == "product_of_scores" else slow(p, "uar", index) - np.prod(each)
    if metric in LEVELS:
        true = np.array(LEVELS[metric])
        guess = (p.probabilities[:, true == 1].sum(1) > 0.5).astype(int)[index]
        label = true[label]
    if metric == "accuracy":
        return sk.accuracy_score(label, guess)
    if metric == "weighted_f1":
        return sk.f1_score(label, guess, average="weighted", zero_division=0)
    present = np.unique(label)
    return sk.recall_score(label, guess, average="macro", labels=present, zero_division=0)


@pytest.mark.parametrize("metric", metric_names(LEVELS))
def test_weights_equal_repeated_samples(metric):
    p = predictions(0)
    draws = resamples_for(p, n=25, seed=5)
    fast = metric_values(p, metric, draws)
    want = [slow(p, metric, repeated(p, draws, r)) for r in range(25)]
    np.testing.assert_allclose(fast, want, rtol=1e-12)
    assert metric_values(p, metric)[0] == pytest.approx(slow(p, metric, np.arange(80)))


def test_people_are_drawn_whole_and_apart():
    eeg, face = Resamples.draw({"eeg": 6, "face": 17}, n=4000, seed=0).counts.values()
    assert (eeg.sum(axis=1) == 6).all() and (face.sum(axis=1) == 17).all()
    # Multinomial: mean 1 and variance 1 - 1/n; the two draws are independent.
    np.testing.assert_allclose(eeg.mean(axis=0), 1, atol=0.06)
    np.testing.assert_allclose(eeg.var(axis=0), 1 - 1 / 6, atol=0.1)
    assert abs(np.corrcoef(eeg[:, 0], face[:, 0])[0, 1]) < 0.06


def test_one_hand_computed_resample():
    people = {"eeg": np.array(["a", "b", "a", "b"]), "face": np.array(["x", "x", "y", "y"])}
    p = Predictions(np.eye(2)[[0, 1, 1, 1]], np.array([0, 0, 1, 1]), people)
    draws = Resamples({"eeg": np.array([[2, 0]]), "face": np.array([[1, 1]])})
    # Weights 2, 0, 2, 0: all that is left is right.
    assert metric_values(p, "accuracy", draws)[0] == 1.0
    draws = Resamples({"eeg": np.array([[1, 1]]), "face": np.array([[2, 0]])})
    # Weights 2, 2, 0, 0: only class 0 is left, half of it right.
    assert metric_values(p, "uar", draws)[0] == 0.5
    # F1 of class 0: tp 2, fp 0, fn 2 -> 2/3; class 1 has no support.
    assert metric_values(p, "weighted_f1", draws)[0] == pytest.approx(2 / 3)


def test_three_groups_by_hand():
    """Weights of the four samples: 2*1*3, 1*1*0, 2*2*3 and, where nobody speaks, 1*2*1."""
    people = {
        "eeg": np.array(["a", "b", "a", "b"]),
        "face": np.array(["x", "x", "y", "y"]),
        "voice": np.array(["u", "v", "u", ""]),
    }
    p = Predictions(np.eye(2)[[0, 1, 1, 0]], np.array([0, 0, 1, 1]), people)
    draws = Resamples({"eeg": np.array([[2, 1]]), "face": np.array([[1, 2]]), "voice": np.array([[3, 0]])})
    assert metric_values(p, "accuracy", draws)[0] == (6 + 12) / (6 + 0 + 12 + 2)
    assert metric_values(p, "uar", draws)[0] == (6 / 6 + 12 / 14) / 2
    assert {name: counts.shape for name, counts in resamples_for(p, n=3).counts.items()} == {
        "eeg": (3, 2),
        "face": (3, 2),
        "voice": (3, 2),
    }


@pytest.mark.parametrize(
    "more", [{"speaker": 5}, {"speaker": 2, "eye_subject": 3}], ids=["three groups", "four groups"]
)
def test_more_groups_equal_repeated_samples(more):
    p = predictions(9)
    rng = np.random.default_rng(0)
    people = {**p.groups, **{k: np.array([f"{k}{i}" for i in rng.integers(n, size=80)]) for k, n in more.items()}}
    p = Predictions(p.logits, p.label, people, levels=LEVELS)
    draws = resamples_for(p, n=20, seed=1)
    assert set(draws.counts) == {"eeg_subject", "face_id", *more}
    found = metric_values(p, "uar", draws)
    rows = [r for r in range(20) if np.isfinite(found[r])]  # in the others nobody of one group meets the rest
    want = [slow(p, "uar", repeated(p, draws, r)) for r in rows]
    np.testing.assert_allclose(found[rows], want, rtol=1e-12)
    assert len(rows) > 15 and np.isfinite(interval([p], n=50)).all()


def test_two_groups_are_as_they_were():
    """Ends that the bootstrap over EEG subjects and face people gave before groups had names."""
    a, b = predictions(0), predictions(1)
    assert interval([a, b], "uar", n=200, seed=3) == pytest.approx(TWO_GROUPS["uar"], abs=1e-15)
    assert paired_difference([a], [b], "arousal", n=200, seed=3) == pytest.approx(TWO_GROUPS["arousal"], abs=1e-15)


def test_without_people_each_sample_stands_for_itself():
    p = Predictions(*(getattr(predictions(5), key) for key in ("logits", "label")))
    draws = resamples_for(p, n=40)
    assert draws.counts["sample"].shape == (40, 80)
    index = np.repeat(np.arange(80), draws.counts["sample"][7])
    assert metric_values(p, "uar", draws)[7] == pytest.approx(slow(p, "uar", index))


def test_many_cells_are_weighed_in_blocks(monkeypatch):
    p = predictions(6)
    draws = resamples_for(p, n=30)
    whole = metric_values(p, "weighted_f1", draws)
    monkeypatch.setattr(bootstrap, "_CELLS", 50)
    np.testing.assert_array_equal(metric_values(p, "weighted_f1", draws), whole)


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
        p = Predictions(np.eye(2)[guess], label, {"eeg": eeg.astype(str), "face": face.astype(str)})
        ends = interval([p], "accuracy", n=300)
        covered += ends.low <= 0.7 <= ends.high
    assert 0.8 * 60 <= covered


def test_runs_on_other_samples_are_refused():
    a = predictions(0)
    b = replace(a, groups={**a.groups, "eeg_subject": a.groups["eeg_subject"][::-1]})
    with pytest.raises(DataError, match="eeg_subject differs"):
        paired_difference([a], [b])
    with pytest.raises(DataError, match="face_id differs"):
        interval([a, replace(a, groups={"eeg_subject": a.groups["eeg_subject"]})])
    with pytest.raises(DataError, match="at least one model"):
        interval([])
    with pytest.raises(DataError, match="at least one model"):
        paired_difference([a], [])
    with pytest.raises(DataError, match=r"drawn for \{'eeg_subject': 3, .*, the predictions have \{'eeg_subject': 4, "):
        metric_values(a, "uar", Resamples.draw({"eeg_subject": 3, "face_id": 6}, n=2))
    with pytest.raises(ConfigError, match="Did you mean 'accuracy'"):
        interval([a], "acuracy")
    plain = replace(a, levels={})
    for metric in ("arousal", "uar_minus_product"):
        with pytest.raises(ConfigError, match=f"expected one of accuracy, uar, weighted_f1, got '{metric}'"):
            metric_values(plain, metric)


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


def test_nobody_is_not_drawn():
    full = predictions(3)
    alone = replace(full, groups={"eeg_subject": full.groups["eeg_subject"]})
    draws = resamples_for(alone, n=50)
    assert list(draws.counts) == ["eeg_subject"]
    faceless = replace(full, groups={**full.groups, "face_id": np.full(80, "")})
    assert list(resamples_for(faceless, n=50).counts) == ["eeg_subject"]
    np.testing.assert_array_equal(metric_values(faceless, "uar", draws), metric_values(alone, "uar", draws))
    expected = [slow(alone, "uar", repeated(alone, draws, r)) for r in range(50)]
    np.testing.assert_allclose(metric_values(alone, "uar", draws), expected)
