"""Late fusion: against a slow sum, by hand, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from evermodels.core.errors import ConfigError, DataError
from evermodels.training import Predictions, late_fusion, own_late_fusion, summarize

LEVELS = {"arousal": [0, 0, 1, 1], "valence": [0, 1, 0, 1]}


def quadrants(seed, arousal=0.0, valence=0.0, n=400):
    """Logits that know the halves with the given strengths, independent of each other."""
    rng = np.random.default_rng(seed)
    label = np.arange(n) % 4
    a = arousal * (2 * (label // 2) - 1) + rng.standard_normal(n)
    v = valence * (2 * (label % 2) - 1) + rng.standard_normal(n)
    people = {"person": np.array([f"e{i % 6}" for i in range(n)])}
    return Predictions(np.stack([-a - v, -a + v, a - v, a + v], 1), label, people, levels=LEVELS)


def test_log_probabilities_are_summed():
    a, b = quadrants(0, 1), quadrants(1, 0, 1)
    fused = late_fusion([a, b])
    np.testing.assert_allclose(fused.logits, np.log(a.probabilities) + np.log(b.probabilities))
    # A constant on all logits of a sample changes nothing, so neither model weighs more for its scale.
    shifted = replace(b, logits=b.logits + 7)
    np.testing.assert_allclose(late_fusion([a, shifted]).logits, fused.logits)


def test_a_model_of_one_half_speaks_for_that_half_only():
    eeg, video = quadrants(2, arousal=1.5), quadrants(3, valence=1.5)
    # What a model says of the half that it was not trained on is noise, here strong: it must not enter.
    loud = quadrants(4)
    noisy = replace(eeg, logits=eeg.logits + 5 * np.sign(loud.logits[:, [3]]) * np.array([0, 1, 0, 1]))
    halves = ["arousal", "valence"]
    fused = late_fusion([noisy, video], halves)
    p, q = noisy.probabilities, video.probabilities
    for c in range(4):
        arousal = p[:, [2, 3] if c > 1 else [0, 1]].sum(1)
        valence = q[:, [1, 3] if c % 2 else [0, 2]].sum(1)
        np.testing.assert_allclose(fused.logits[:, c], np.log(arousal) + np.log(valence))
    both = summarize(fused)
    assert both["arousal"] == summarize(noisy)["arousal"] and both["valence"] == summarize(video)["valence"]
    assert summarize(late_fusion([noisy, video]))["uar"] < both["uar"] - 0.1
    # The halves are independent here, so their product is what any fusion reaches.
    assert both["uar"] == pytest.approx(both["arousal"] * both["valence"], abs=0.03)


def test_certain_answers_do_not_overflow():
    sure = Predictions(np.array([[2000.0, 0, 0, 0]]), np.array([0]), levels=LEVELS)
    fused = late_fusion([sure, sure], ["arousal", None])
    assert np.isfinite(fused.logits).all() and fused.predicted.tolist() == [0]


def test_other_samples_and_halves_are_refused():
    a = quadrants(0)
    other = replace(a, label=np.roll(a.label, 1))
    fewer = a.take(np.arange(8))
    for b in (other, fewer):
        with pytest.raises(DataError, match="not of the same samples"):
            late_fusion([a, b])
    with pytest.raises(DataError, match="at least one model"):
        late_fusion([])
    with pytest.raises(ConfigError, match="Did you mean 'arousal'"):
        late_fusion([a], ["arousl"])
    with pytest.raises(ConfigError, match="expected 2, one for each model, got 1"):
        late_fusion([a, a], [None])
    with pytest.raises(ConfigError, match="expected one of none, as the predictions have no scores, or None, got 'v"):
        late_fusion([replace(a, levels={})], ["valence"])


def test_three_levels_of_three_by_two_classes():
    p = np.random.default_rng(0).dirichlet(np.ones(6), size=5)
    levels = {"mood": [0, 0, 1, 1, 2, 2], "face": [0, 1, 0, 1, 0, 1]}
    one = Predictions(np.log(p), np.array([0, 1, 2, 3, 4]), levels=levels)
    mood, face = p.reshape(5, 3, 2).sum(2), p.reshape(5, 3, 2).sum(1)
    fused = late_fusion([one, one], ["mood", "face"])
    np.testing.assert_allclose(fused.logits, np.log((mood[:, :, None] * face[:, None]).reshape(5, 6)))
    np.testing.assert_array_equal(one.scored("mood"), [[0, 0, 1, 1, 2], mood.argmax(1)])


def test_no_answer_adds_nothing():
    a = quadrants(0, n=8)
    silent = np.where(np.arange(8)[:, None] < 3, np.nan, a.logits)
    own = own_late_fusion(replace(a, alone={"eeg": a.logits, "video": silent}))
    np.testing.assert_allclose(own.logits, np.log(a.probabilities) * np.where(np.arange(8) < 3, 1, 2)[:, None])


def test_a_model_without_answers_to_one_modality_has_no_halves_of_its_own():
    a = quadrants(0)
    assert own_late_fusion(a) is None
    assert own_late_fusion(replace(a, alone={"eeg": a.logits})) is None
