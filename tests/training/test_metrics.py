"""Metrics against scikit-learn and by hand."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn import metrics as sk

from evermodels.core.errors import DataError, ShapeError
from evermodels.training import Predictions, interval, paired_difference, pool, summarize, verdict
from evermodels.training.bootstrap import ends_text, intervals
from evermodels.training.tables import by_person


def random_predictions(seed, n=60, classes=4, people=5, levels=None):
    rng = np.random.default_rng(seed)
    return Predictions(
        rng.standard_normal((n, classes)).astype(np.float32),
        rng.integers(classes, size=n),
        {
            "eeg_subject": np.array([f"e{i}" for i in rng.integers(people, size=n)]),
            "face_id": np.array([f"f{i}" for i in rng.integers(people + 2, size=n)]),
        },
        levels=levels or {},
    )


@pytest.mark.parametrize("classes", [2, 4, 5])
@pytest.mark.parametrize("seed", range(3))
def test_metrics_equal_scikit_learn(seed, classes):
    p = random_predictions(seed, classes=classes)
    result = summarize(p)
    assert result["accuracy"] == pytest.approx(sk.accuracy_score(p.label, p.predicted))
    assert result["uar"] == pytest.approx(sk.balanced_accuracy_score(p.label, p.predicted))
    assert result["weighted_f1"] == pytest.approx(sk.f1_score(p.label, p.predicted, average="weighted"))
    assert result["nll"] == pytest.approx(sk.log_loss(p.label, p.probabilities, labels=range(classes)))
    assert set(result) == {"samples", "accuracy", "uar", "weighted_f1", "nll", "recall", "per_person"}
    assert result["samples"] == 60 and list(result["per_person"]) == ["eeg_subject", "face_id"]


def test_a_class_that_never_occurs_does_not_count():
    p = Predictions(np.eye(3)[[0, 2, 1]], np.array([0, 0, 1]))
    result = summarize(p)
    # Class 2 is called once and never true: recalls 1/2 and 1.
    assert result["uar"] == pytest.approx(0.75)
    assert result["recall"] == [0.5, 1.0, None] and result["per_person"] == {}


def test_scores_by_hand():
    probability = np.array([[0.4, 0.3, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4], [0.3, 0.1, 0.2, 0.4], [0.26, 0.25, 0.24, 0.25]])
    levels = {"arousal": [0, 0, 1, 1], "valence": [0, 1, 0, 1]}
    p = Predictions(np.log(probability), np.array([0, 1, 2, 3]), levels=levels)
    # high arousal: 0.3, 0.7, 0.6, 0.49; high valence: 0.4, 0.6, 0.5, 0.5
    np.testing.assert_array_equal(p.scored("arousal"), [[0, 0, 1, 1], [0, 1, 1, 0]])
    np.testing.assert_array_equal(p.scored("valence")[0], [0, 1, 0, 1])
    np.testing.assert_array_equal(p.scored("valence")[1][:2], [0, 1])
    result = summarize(p)
    assert result["arousal"] == pytest.approx(0.5)
    assert result["mean_of_scores"] == pytest.approx((result["arousal"] + result["valence"]) / 2)
    assert result["uar_minus_product"] == pytest.approx(result["uar"] - result["arousal"] * result["valence"])


def test_per_subject_is_the_mean_over_people():
    label = np.array([0, 1, 0, 1, 0, 1])
    guess = np.array([0, 1, 0, 0, 1, 0])
    people = {"speaker": np.array(["a", "a", "b", "b", "c", "c"]), "face": np.array(["", "x", "", "x", "", "x"])}
    both = summarize(Predictions(np.eye(2)[guess], label, people))["per_person"]
    assert both["face"] == {"mean": 1 / 3, "std": 0.0, "uar": {"x": 1 / 3}}
    per = both["speaker"]
    assert per["uar"] == {"a": 1.0, "b": 0.5, "c": 0.0}
    assert (per["mean"], per["std"]) == (0.5, pytest.approx(0.5))


def test_one_person_gives_no_interval():
    alone = random_predictions(0, classes=2)
    alone = replace(alone, groups={"person": np.full(len(alone.label), "anna")})
    found = interval([alone])
    assert found.value == pytest.approx(summarize(alone)["uar"]) and np.isnan([found.low, found.high]).all()
    assert found.plain() == {"value": found.value, "low": None, "high": None}
    assert verdict(paired_difference([alone], [alone])) == "undecided"
    assert ends_text(intervals(alone)["uar"]) == "[n/a: one person]"
    assert json.loads(json.dumps(intervals(alone), allow_nan=False))["uar"]["low"] is None
    assert by_person(summarize(alone)) == {"person": f"{found.value:.3f} (1 person)"}
    # Of two groups one person in one is no hindrance: the other group's people are drawn.
    crossed = replace(alone, groups={**alone.groups, "face_id": np.arange(len(alone.label)).astype(str)})
    assert interval([crossed]).low < interval([crossed]).high


def test_files_come_back_and_broken_ones_are_named(tmp_path):
    p = random_predictions(0, levels={"arousal": [0, 0, 1, 1]})
    p = replace(p, alone={"eeg": -p.logits})
    p.save(tmp_path / "p.npz")
    q = Predictions.load(tmp_path / "p.npz")
    np.testing.assert_array_equal(p.logits, q.logits)
    np.testing.assert_array_equal(p.label, q.label)
    for key in ("groups", "alone", "levels"):
        assert list(getattr(p, key)) == list(getattr(q, key))
        for name, array in getattr(p, key).items():
            np.testing.assert_array_equal(array, getattr(q, key)[name])
    assert [f.name for f in tmp_path.iterdir()] == ["p.npz"]
    assert interval([p], n=50) == interval([q], n=50)
    whole = (tmp_path / "p.npz").read_bytes()
    for fault in (b"", whole[: len(whole) // 2], b"PK" + bytes(40), np.lib.format.magic(1, 0)):
        (tmp_path / "p.npz").write_bytes(fault)
        with pytest.raises(DataError, match=r"p\.npz' cannot be read .*Make it again"):
            Predictions.load(tmp_path / "p.npz")
    np.savez(tmp_path / "q.npz", logits=p.logits)
    with pytest.raises(DataError, match="label missing"):
        Predictions.load(tmp_path / "q.npz")


def test_files_of_earlier_runs_come_back(tmp_path):
    p = random_predictions(3)
    np.savez(tmp_path / "p.npz", logits=p.logits, label=p.label, alone_eeg=p.logits, **p.groups)
    q = Predictions.load(tmp_path / "p.npz")
    assert list(q.groups) == ["eeg_subject", "face_id"] and interval([p], n=50) == interval([q], n=50)
    assert list(q.alone) == ["eeg"] and q.levels == {}


def test_folds_become_one_set_over_all_people():
    whole = random_predictions(7, n=90, people=6)
    whole = replace(whole, alone={"eeg": 2 * whole.logits})
    blocks = [np.isin(whole.groups["eeg_subject"], people) for people in (["e0", "e1"], ["e2", "e3"], ["e4", "e5"])]
    joined = pool([whole.take(block) for block in blocks])
    order = np.concatenate([np.flatnonzero(block) for block in blocks])
    for key in ("logits", "label"):
        np.testing.assert_array_equal(getattr(joined, key), getattr(whole, key)[order])
    for name, ids in joined.groups.items():
        np.testing.assert_array_equal(ids, whole.groups[name][order])
    np.testing.assert_array_equal(joined.alone["eeg"], 2 * whole.logits[order])
    # The intervals are over people, whatever fold tested them.
    assert interval([joined], n=100) == pytest.approx(interval([whole], n=100))
    with pytest.raises(DataError, match="'e0' is a test person in folds 0 and 1"):
        pool([whole, whole])
    with pytest.raises(DataError, match="at least one fold"):
        pool([])
    with pytest.raises(DataError, match=r"expected the same groups in each, .*\[\['eeg_subject', 'face_id'\], \[\]\]"):
        pool([whole, replace(whole, groups={})])
    with pytest.raises(DataError, match="and at least one of people"):
        pool([replace(whole, groups={})])
    faceless = replace(whole, groups={**whole.groups, "face_id": np.full(90, "")})
    with pytest.raises(DataError, match="'e0' is a test person in folds 0 and 1"):
        pool([faceless, faceless])
    two = Predictions(whole.logits[:, :2], whole.label % 2, whole.groups)
    with pytest.raises(DataError, match=r"as many classes in each, got \[4, 2\]"):
        pool([whole, two])
    assert pool([whole.take(blocks[0]), replace(whole.take(blocks[1]), alone={})]).alone == {}


def test_wrong_lengths_are_refused():
    people = np.array(["a", "b"])
    with pytest.raises(ShapeError, match=r"alone\['eeg'\]: expected shape \(2, 4\)"):
        Predictions(np.zeros((2, 4)), np.zeros(2), alone={"eeg": np.zeros((2, 3))})
    with pytest.raises(ShapeError, match="label: expected shape"):
        Predictions(np.zeros((2, 4)), np.array([0]))
    with pytest.raises(ShapeError, match=r"groups\['person'\]: expected shape \(2,\)"):
        Predictions(np.zeros((2, 4)), np.zeros(2), {"person": people[:1]})
    with pytest.raises(ShapeError, match=r"levels\['arousal'\]: expected shape \(4,\)"):
        Predictions(np.zeros((2, 4)), np.zeros(2), levels={"arousal": [0, 1]})
    with pytest.raises(DataError, match="groups: expected ids by the group's name"):
        Predictions(np.zeros((2, 4)), np.zeros(2), people)
    with pytest.raises(DataError, match="label: expected classes 0 to 3, got 0 to 4"):
        Predictions(np.zeros((2, 4)), np.array([0, 4]))
    with pytest.raises(ShapeError, match="at least one sample"):
        Predictions(np.zeros((0, 4)), np.array([]))
