"""Configurations refuse unknown keys, wrong types and impossible values, and say which."""

import itertools
import json
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from hypothesis import given, settings, strategies as st

from evermodels.core.config import Config
from evermodels.core.errors import ConfigError


@dataclass(frozen=True)
class Inner(Config):
    size: int = 1
    kind: Literal["a", "b"] = "a"


@dataclass(frozen=True)
class Outer(Config):
    width: int
    rate: float = 0.5
    flag: bool = False
    name: str = "n"
    note: str | None = None
    pair: tuple[int, int] = (1, 2)
    many: tuple[float, ...] = ()
    inner: Inner = field(default_factory=Inner)
    maybe: Inner | None = None
    table: dict[str, float] = field(default_factory=dict)
    loose: dict[str, Any] = field(default_factory=dict)
    items: tuple[Inner, ...] = ()
    number: int | float | None = None

    def check(self):
        if self.width < 1:
            raise self.refuse("width", "at least 1")


FULL = {
    "width": 3,
    "rate": 1,
    "flag": True,
    "name": "x",
    "note": None,
    "pair": [3, 4],
    "many": [1, 2.5],
    "inner": {"size": 2, "kind": "b"},
    "maybe": {"size": 5},
    "table": {"a": 1},
    "loose": {"a": [1, {"b": None}]},
    "items": [{"size": 1}, {}],
    "number": 2,
}


def test_from_dict_and_back():
    config = Outer.from_dict(FULL)
    assert config.pair == (3, 4)
    assert config.many == (1.0, 2.5)
    assert config.rate == 1.0 and isinstance(config.rate, float)
    assert config.inner == Inner(2, "b")
    assert config.maybe == Inner(5)
    assert config.items == (Inner(), Inner())
    assert config.number == 2 and isinstance(config.number, int)
    plain = json.loads(json.dumps(config.to_dict()))
    assert Outer.from_dict(plain) == config
    assert plain["items"] == [{"size": 1, "kind": "a"}] * 2


def test_the_callers_mapping_is_not_kept():
    table = {"a": 1.0}
    config = Outer(1, table=table)
    table["b"] = 2.0
    assert config.table == {"a": 1.0}


def test_replace_checks_again():
    config = Outer(2)
    assert config.replace(width=3) == Outer(3)
    assert config == Outer(2)
    with pytest.raises(ConfigError, match="width: expected at least 1, got 0"):
        config.replace(width=0)
    with pytest.raises(ConfigError, match=r"unknown key 'widht'. Did you mean 'width'\? Allowed: flag, inner"):
        config.replace(widht=3)


def test_frozen():
    with pytest.raises(AttributeError):
        Outer(1).width = 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": "3"}, r"Outer.width: expected int, got '3' \(str\)"),
        ({"width": 3.0}, r"Outer.width: expected int, got 3.0 \(float\)"),
        ({"width": True}, r"Outer.width: expected int, got True \(bool\)"),
        ({"width": None}, r"Outer.width: expected int, got None"),
        ({"rate": True}, r"Outer.rate: expected float, got True"),
        ({"rate": float("nan")}, r"Outer.rate: expected a finite number, got nan"),
        ({"rate": float("-inf")}, r"Outer.rate: expected a finite number, got -inf"),
        ({"rate": 10**400}, r"Outer.rate: expected a finite number, got 1000"),
        ({"flag": 1}, r"Outer.flag: expected bool, got 1 \(int\)"),
        ({"name": 1}, r"Outer.name: expected str, got 1"),
        ({"note": 1}, r"Outer.note: expected str or None, got 1"),
        ({"pair": [1]}, r"Outer.pair: expected \[int, int\], got \[1\]"),
        ({"pair": [1, "2"]}, r"Outer.pair\[1\]: expected int, got '2'"),
        ({"pair": "12"}, r"Outer.pair: expected \[int, int\], got '12'"),
        ({"many": {"a": 1}}, r"Outer.many: expected a list of float"),
        ({"many": 1}, r"Outer.many: expected a list of float, got 1"),
        ({"inner": {"siez": 1}}, r"Outer.inner: unknown key 'siez'. Did you mean 'size'"),
        ({"inner": {"kind": "c"}}, r"Inner.kind: expected one of 'a', 'b', got 'c'"),
        ({"inner": 3}, r"Outer.inner: expected Inner, got 3"),
        ({"maybe": {"siez": 1}}, r"Outer.maybe: unknown key 'siez'"),
        ({"maybe": 3}, r"Outer.maybe: expected Inner or None, got 3"),
        ({"table": {"a": "x"}}, r"Outer.table.a: expected float, got 'x'"),
        ({"table": {1: 1.0}}, r"Outer.table: expected a mapping"),
        ({"table": [1]}, r"Outer.table: expected a mapping, got \[1\]"),
        ({"items": [{}, 3]}, r"Outer.items\[1\]: expected Inner, got 3"),
        ({"number": "1"}, r"Outer.number: expected int or float or None, got '1'"),
        ({"width": 0}, r"Outer.width: expected at least 1, got 0"),
    ],
)
def test_wrong_values(change, message):
    with pytest.raises(ConfigError, match=message):
        Outer.from_dict({**FULL, **change})
    with pytest.raises(ConfigError, match=message):
        Outer(**{**FULL, **change})


def test_wrong_mappings():
    with pytest.raises(ConfigError, match="Outer: missing key 'width'"):
        Outer.from_dict({})
    with pytest.raises(ConfigError, match="here: missing key 'width'"):
        Outer.from_dict({}, where="here")
    with pytest.raises(ConfigError, match="Outer: expected a mapping, got list"):
        Outer.from_dict([1])
    with pytest.raises(ConfigError, match="Outer: unknown key 1"):
        Outer.from_dict({1: 2})


def test_literals_keep_their_type():
    @dataclass(frozen=True)
    class Choice(Config):
        value: Literal[1, "a"] = 1

    with pytest.raises(ConfigError, match="expected one of 1, 'a', got True"):
        Choice(True)
    with pytest.raises(ConfigError, match=r"got 1\.0"):
        Choice(1.0)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(key=st.sampled_from(sorted(FULL)), value=JSON)
def test_any_json_value_is_taken_or_refused(key, value):
    try:
        config = Outer.from_dict({**FULL, key: value})
    except ConfigError as error:
        assert key in str(error) or "Inner" in str(error)
        return
    # repr, because a value of the free mapping may be NaN
    assert repr(Outer.from_dict(config.to_dict())) == repr(config)


def test_messages_stay_short_and_show_the_way_out():
    deep = [1]
    for _ in range(3000):
        deep = [deep]
    huge = ("x" * 10_000_000, ["x" * 100_000] * 50, {"x" * 10_000_000: "y"}, deep, b"x" * 10_000_000)
    for value, key in itertools.product(huge, ("width", "flag", "pair", "many", "inner", "maybe", "table", "items")):
        with pytest.raises(ConfigError) as caught:
            Outer.from_dict({"width": 1, key: value})
        assert len(str(caught.value)) < 1500, (key, str(caught.value)[:100])
    with pytest.raises(ConfigError, match="a value of type int that cannot be shown"):
        Outer(1, name=10**5000)
    with pytest.raises(ConfigError, match="Allowed: flag"):
        Outer.from_dict({"width": 1, "w" * 10_000_000: 1})
    with pytest.raises(ConfigError, match="expected at least 1, got -1"):
        Outer(1).replace(width=-1)
    with pytest.raises(ConfigError, match="unknown key 'self'"):
        Outer(1).replace(self=1)
