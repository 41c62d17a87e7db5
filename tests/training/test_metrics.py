"""Metrics against scikit-learn and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from evermodels.core.errors import DataError, ShapeError
from evermodels.training import Predictions, interval, pool, summarize
from evermodels.training.metrics import halves


def random_predictions(seed, n=60, classes=4, people=5):
    rng = np.random.default_rng(seed)
    return Predictions(
        rng.standard_normal((n, classes)).astype(np.float32),
        rng.integers(classes, size=n),
        np.array([f"e{i}" for i in rng.integers(people, size=n)]),
        np.array([f"f{i}" for i in rng.integers(people + 2, size=n)]),
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
    assert ("arousal" in result) == (classes == 4)
    assert result["samples"] == 60


def test_a_class_that_never_occurs_does_not_count():
    p = Predictions(np.eye(3)[[0, 2, 1]], np.array([0, 0, 1]), np.array(["a"] * 3), np.array(["b"] * 3))
    result = summarize(p)
    # Class 2 is called once and never true: recalls 1/2 and 1.
    assert result["uar"] == pytest.approx(0.75)
    assert result["recall"] == [0.5, 1.0, None]


def test_halves_by_hand():
    probability = np.array([[0.4, 0.3, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4], [0.3, 0.1, 0.2, 0.4], [0.26, 0.25, 0.24, 0.25]])
    people = np.array(["a"] * 4)
    p = Predictions(np.log(probability), np.array([0, 1, 2, 3]), people, people)
    both = halves(p)
    # high arousal: 0.3, 0.7, 0.6, 0.49; high valence: 0.4, 0.6, 0.5 (not above), 0.5 (not above)
    np.testing.assert_array_equal(both["arousal"], [[0, 0, 1, 1], [0, 1, 1, 0]])
    np.testing.assert_array_equal(both["valence"][0], [0, 1, 0, 1])
    np.testing.assert_array_equal(both["valence"][1][:2], [0, 1])
    assert summarize(p)["arousal"] == pytest.approx(0.5)


def test_per_subject_is_the_mean_over_people():
    label = np.array([0, 1, 0, 1, 0, 1])
    guess = np.array([0, 1, 0, 0, 1, 0])
    people = np.array(["a", "a", "b", "b", "c", "c"])
    per = summarize(Predictions(np.eye(2)[guess], label, people, people))["per_subject"]
    assert per["uar"] == {"a": 1.0, "b": 0.5, "c": 0.0}
    assert (per["mean"], per["std"]) == (0.5, pytest.approx(0.5))


def test_files_come_back_and_broken_ones_are_named(tmp_path):
    p = random_predictions(0)
    p.save(tmp_path / "p.npz")
    q = Predictions.load(tmp_path / "p.npz")
    for key in ("logits", "label", "eeg_subject", "face_id"):
        np.testing.assert_array_equal(getattr(p, key), getattr(q, key))
    assert [f.name for f in tmp_path.iterdir()] == ["p.npz"]
    p = Predictions(p.logits, p.label, p.eeg_subject, p.face_id, {"eeg": -p.logits})
    p.save(tmp_path / "p.npz")
    np.testing.assert_array_equal(Predictions.load(tmp_path / "p.npz").alone["eeg"], -p.logits)
    whole = (tmp_path / "p.npz").read_bytes()
    for fault in (b"", whole[: len(whole) // 2], b"PK" + bytes(40), np.lib.format.magic(1, 0)):
        (tmp_path / "p.npz").write_bytes(fault)
        with pytest.raises(DataError, match=r"p\.npz' cannot be read .*Make it again"):
            Predictions.load(tmp_path / "p.npz")
    np.savez(tmp_path / "q.npz", logits=p.logits)
    with pytest.raises(DataError, match="eeg_subject, face_id, label missing"):
        Predictions.load(tmp_path / "q.npz")


def test_folds_become_one_set_over_all_people():
    whole = random_predictions(7, n=90, people=6)
    whole = Predictions(whole.logits, whole.label, whole.eeg_subject, whole.face_id, {"eeg": 2 * whole.logits})
    blocks = [np.isin(whole.eeg_subject, people) for people in (["e0", "e1"], ["e2", "e3"], ["e4", "e5"])]
    joined = pool([whole.take(block) for block in blocks])
    order = np.concatenate([np.flatnonzero(block) for block in blocks])
    for key in ("logits", "label", "eeg_subject", "face_id"):
        np.testing.assert_array_equal(getattr(joined, key), getattr(whole, key)[order])
    np.testing.assert_array_equal(joined.alone["eeg"], 2 * whole.logits[order])
    # The intervals are over people, whatever fold tested them.
    assert interval([joined], n=100) == pytest.approx(interval([whole], n=100))
    with pytest.raises(DataError, match="'e0' is a test person in folds 0 and 1"):
        pool([whole, whole])
    with pytest.raises(DataError, match="at least one fold"):
        pool([])
    two = Predictions(whole.logits[:, :2], whole.label % 2, np.full(90, "z"), whole.face_id)
    with pytest.raises(DataError, match=r"as many classes in each, got \[4, 2\]"):
        pool([whole, two])
    assert pool([whole.take(blocks[0]), Predictions(*_plain(whole.take(blocks[1])))]).alone == {}


def _plain(p):
    return p.logits, p.label, p.eeg_subject, p.face_id


def test_wrong_lengths_are_refused():
    people = np.array(["a", "b"])
    with pytest.raises(ShapeError, match=r"alone\['eeg'\]: expected \(2, 4\)"):
        Predictions(np.zeros((2, 4)), np.zeros(2), people, people, {"eeg": np.zeros((2, 3))})
    with pytest.raises(ShapeError, match="label: expected shape"):
        Predictions(np.zeros((2, 4)), np.array([0]), people, people)
    with pytest.raises(ShapeError, match="at least one sample"):
        Predictions(np.zeros((0, 4)), np.array([]), people[:0], people[:0])
