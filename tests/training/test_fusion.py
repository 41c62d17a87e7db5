"""Late fusion: against a slow sum, by hand, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from evermodels.core.errors import ConfigError, DataError
from evermodels.training import Predictions, late_fusion, own_late_fusion, summarize


def quadrants(seed, arousal=0.0, valence=0.0, n=400):
    """Logits that know the halves with the given strengths, independent of each other."""
    rng = np.random.default_rng(seed)
    label = np.arange(n) % 4
    a = arousal * (2 * (label // 2) - 1) + rng.standard_normal(n)
    v = valence * (2 * (label % 2) - 1) + rng.standard_normal(n)
    people = np.array([f"e{i % 6}" for i in range(n)])
    return Predictions(np.stack([-a - v, -a + v, a - v, a + v], 1), label, people)


def test_log_probabilities_are_summed():
    a, b = quadrants(0, 1), quadrants(1, 0, 1)
    fused = late_fusion([a, b])
    np.testing.assert_allclose(fused.logits, np.log(a.probabilities) + np.log(b.probabilities))
    # A constant on all logits of a sample changes nothing, so neither model weighs more for its scale.
    shifted = Predictions(b.logits + 7, b.label, b.eeg_subject)
    np.testing.assert_allclose(late_fusion([a, shifted]).logits, fused.logits)


def test_a_model_of_one_half_speaks_for_that_half_only():
    eeg, video = quadrants(2, arousal=1.5), quadrants(3, valence=1.5)
    # What a model says of the half that it was not trained on is noise, here strong: it must not enter.
    loud = quadrants(4)
    noisy = Predictions(
        eeg.logits + 5 * np.sign(loud.logits[:, [3]]) * np.array([0, 1, 0, 1]), eeg.label, eeg.eeg_subject
    )
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
    sure = Predictions(np.array([[2000.0, 0, 0, 0]]), np.array([0]), np.array(["a"]))
    fused = late_fusion([sure, sure], ["arousal", "both"])
    assert np.isfinite(fused.logits).all() and fused.predicted.tolist() == [0]


def test_other_samples_and_halves_are_refused():
    a = quadrants(0)
    other = Predictions(a.logits, np.roll(a.label, 1), a.eeg_subject)
    fewer = a.take(np.arange(8))
    for b in (other, fewer):
        with pytest.raises(DataError, match="not given the same samples"):
            late_fusion([a, b])
    with pytest.raises(DataError, match="at least one model"):
        late_fusion([])
    with pytest.raises(ConfigError, match="Did you mean 'arousal'"):
        late_fusion([a], ["arousl"])
    with pytest.raises(ConfigError, match="expected 2, one for each model, got 1"):
        late_fusion([a, a], ["both"])
    two = Predictions(a.logits[:, :2], a.label % 2, a.eeg_subject)
    with pytest.raises(ConfigError, match="'valence' needs the four quadrant classes, got 2"):
        late_fusion([two], ["valence"])


def test_a_model_without_answers_to_one_modality_has_no_halves_of_its_own():
    a = quadrants(0)
    assert own_late_fusion(a) is None
    assert own_late_fusion(Predictions(a.logits, a.label, a.eeg_subject, alone={"eeg": a.logits})) is None
