"""The papers' rules from ratings to classes, at every whole number, on the cuts and between."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from evermodels.core.errors import DataError, UnknownNameError
from evermodels.datasets import LABEL_RULES, label_rule

WHOLE = list(range(1, 10))


def test_five_bins_of_ever():
    bins = [{1, 2}, {3, 4}, {5}, {6, 7}, {8, 9}]
    want = [next(i for i, b in enumerate(bins) if r in b) for r in WHOLE]
    assert label_rule("ever_five")(valence=WHOLE).tolist() == want
    assert label_rule("ever_five")(valence=[2.49, 2.5, 4.5, 5.49, 7.5]).tolist() == [0, 1, 2, 2, 4]


@pytest.mark.parametrize("name", ["milmer_deap3", "mercl_3"])
def test_three_levels(name):
    assert label_rule(name)(arousal=WHOLE).tolist() == [0] * 3 + [1] * 3 + [2] * 3
    assert label_rule(name)(arousal=[3.49, 3.5, 6.49, 6.5]).tolist() == [0, 1, 1, 2]


def test_two_levels_differ_between_the_papers():
    assert label_rule("mercl_2")(dominance=WHOLE).tolist() == [0] * 5 + [1] * 4
    assert label_rule("milmer_deap2")(dominance=WHOLE).tolist() == [0] * 4 + [1] * 5
    values = [4.99, 5.0, 5.01, 5.49, 5.5]
    assert label_rule("milmer_deap2")(valence=values).tolist() == [0, 1, 1, 1, 1]
    assert label_rule("mercl_2")(valence=values).tolist() == [0, 0, 0, 0, 1]


def test_four_classes():
    grid = list(itertools.product([*WHOLE, 4.99, 5.49], repeat=2))
    a, v = (np.array(values) for values in zip(*grid, strict=True))
    milmer, mercl = label_rule("milmer_deap4"), label_rule("mercl_4")
    said = [milmer.classes[i] for i in milmer(arousal=a, valence=v)]
    assert said == [f"{'H' if x >= 5 else 'L'}A{'H' if y >= 5 else 'L'}V" for x, y in grid]
    said = [mercl.classes[i] for i in mercl(arousal=a, valence=v)]
    assert said == [f"{'H' if y >= 5.5 else 'L'}V{'H' if x >= 5.5 else 'L'}A" for x, y in grid]


@pytest.mark.parametrize("name", LABEL_RULES)
def test_every_class_is_reached_and_said(name):
    rule = label_rule(name)
    assert rule.name == name and len(set(rule.classes)) == len(rule.classes)
    a, v = np.meshgrid(np.linspace(1, 9, 33), np.linspace(1, 9, 33))
    got = rule(arousal=a, valence=v) if rule.ratings else rule(arousal=a)
    assert got.shape == a.shape and got.dtype == np.int64
    assert sorted(set(got.ravel().tolist())) == list(range(len(rule.classes)))
    assert "5" in rule.ties and ("choice" in rule.ties or "as printed" in rule.ties) and rule.source


def test_wrong_ratings_are_named():
    with pytest.raises(DataError, match="valence: expected ratings from 1 to 9, got 0 and 1 more"):
        label_rule("ever_five")(valence=[0, 5, float("nan")])
    with pytest.raises(DataError, match="valence: expected numbers"):
        label_rule("ever_five")(valence=["high"])
    with pytest.raises(DataError, match="expected valence and arousal, got valence"):
        label_rule("mercl_4")(valence=[5])
    with pytest.raises(DataError, match="expected one rating by its name, got valence, arousal"):
        label_rule("mercl_2")(valence=[5], arousal=[5])
    with pytest.raises(DataError, match="as many ratings of valence"):
        label_rule("mercl_4")(valence=[5], arousal=[5, 6])
    with pytest.raises(UnknownNameError, match=r"Did you mean 'milmer_deap4'"):
        label_rule("milmer_deap_4")
