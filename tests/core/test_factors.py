from __future__ import annotations

import numpy as np
import pytest

from evermodels.core.errors import ConfigError
from evermodels.core.factors import Factor, check_factors, product_classes

STATE = Factor("state", ("rest", "arithmetic"), ("eeg",))
EXPRESSION = Factor("expression", ("neutral", "smiling"), ("video",))
CLASSES = ("rest & neutral", "rest & smiling", "arithmetic & neutral", "arithmetic & smiling")


def test_the_last_factor_changes_first():
    assert product_classes([STATE, EXPRESSION]) == CLASSES
    three = product_classes([STATE, EXPRESSION, Factor("light", ("dim", "bright", "dark"), ("video",))])
    assert len(three) == 12 and three[1] == "rest & neutral & bright" and three[5] == "rest & smiling & dark"


def test_known_where_one_of_its_modalities_is_there():
    either = Factor("arousal", ("low", "high"), ("eeg", "video"))
    present = {"eeg": np.array([True, False, False]), "video": np.array([True, True, False])}
    assert either.known(present).tolist() == [True, True, False]
    assert STATE.known(present).tolist() == [True, False, False]
    assert STATE.known({}) is False and either.known({"video": True}) is True


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "State"}, "name: expected lower-case"),
        ({"name": "quality"}, "none of absent, quality"),
        ({"values": ()}, "values: expected at least one"),
        ({"values": ("a", "a")}, "each once"),
        ({"values": ("a", "")}, "a name of 1 to 200"),
        ({"values": "ab"}, "expected a list of str"),
        ({"modalities": ()}, "modalities: expected at least one"),
        ({"modalities": ("vidoe",)}, "modalities: expected some of .*eeg.*video"),
    ],
)
def test_impossible_factors(values, message):
    with pytest.raises(ConfigError, match=message):
        Factor.from_dict({"name": "state", "values": ("rest", "arithmetic"), "modalities": ("eeg",), **values})


@pytest.mark.parametrize(
    ("factors", "classes", "message"),
    [
        ([STATE, EXPRESSION], CLASSES[:3], "their product is 'rest & neutral'"),
        ([EXPRESSION, STATE], CLASSES, "in this order"),
        ([STATE, EXPRESSION], None, "the classes are not named"),
        ([STATE, STATE], CLASSES, "names that differ"),
        ([Factor(f"f{i}", tuple("abcdefghij"), ("eeg",)) for i in range(6)], CLASSES, "at most 100,000"),
    ],
)
def test_factors_of_other_classes(factors, classes, message):
    with pytest.raises(ConfigError, match=message):
        check_factors(factors, classes)


def test_no_factors_fit_any_classes():
    check_factors([], None)
    check_factors([], ("a",))
    check_factors([STATE, EXPRESSION], CLASSES)
