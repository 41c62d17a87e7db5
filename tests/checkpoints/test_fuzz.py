"""Mutated configs, tables and weights: each is accepted or refused by one of our errors, and never anything else."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies as st
from safetensors.torch import load

from evermodels.checkpoints.card import NOT_THIS, check_card, model_card
from evermodels.checkpoints.config_file import parse_config
from evermodels.checkpoints.load import _empty
from evermodels.checkpoints.read import read_tensors
from evermodels.checkpoints.strict_json import parse_json
from evermodels.checkpoints.table import TABLE_PATH, load_table
from evermodels.core import registry
from evermodels.core.errors import CheckpointError, ConfigError
from evermodels.core.text import one_line, visible
from evermodels.facts import describe
from tests.checkpoints.content_cases import at, leaves, put, smallest
from tests.checkpoints.format_1 import CONFIG_1
from tests.checkpoints.local_cases import parts

SLOW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
EDGES = [
    0,
    1,
    -1,
    2,
    10**6,
    10**9,
    2**31,
    2**63,
    10**30,
    0.0,
    -0.0,
    5e-324,
    1e300,
    True,
    None,
    "",
    "\0",
    "../x",
    "a\n\n## Scores\n",
    "---\nlicense: mit\n---\n",
    "\x1b[2J\u202e\u2028",
    "```",
    "<script>",
    [],
    {},
]
JSON = st.recursive(
    st.sampled_from(EDGES) | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
SCORES = {"UAR": [{"value": 0.5, "low": 0.4, "high": 0.6, "people": "6 test people", "transductive": True}], "F1": 0.5}
SECTIONS = ("Use", "Inputs", "Classes", "Scores", "Training", NOT_THIS, "Attribution", "Configuration")
TABLE = json.loads(TABLE_PATH.read_text())


def _valid(architecture):
    config = registry.model_class(architecture).presets[architecture]
    return {
        "format_version": 2,
        "architecture": architecture,
        "library_version": "0",
        "dtype": "float32",
        "config": config.to_dict(),
        "classes": None,
        "training": {"recipe": "r", "datasets": ["d"], "scores": SCORES, "not_this": ["x"], "free": "y"},
        "files": {"model.safetensors": {"size": 1, "sha256": "0" * 64}},
    }


VALID = [*map(_valid, smallest()), json.loads(CONFIG_1.read_text(encoding="utf-8"))]


@st.composite
def mutated(draw, content):
    """Values, keys and elements of valid JSON replaced, doubled or left out, some at once."""
    for _ in range(draw(st.integers(1, 3))):
        places = [place[:depth] for place in leaves(content) for depth in range(1, len(place) + 1)]
        if not places:
            break
        place = draw(st.sampled_from(places))
        value = draw(st.one_of(JSON, st.just(at(content, draw(st.sampled_from(places))))))
        parent = at(content, place[:-1])
        if isinstance(parent, dict) and draw(st.booleans()):
            content = put(content, (*place[:-1], draw(st.text(max_size=6))), value)
        content = put(content, place, value)
        if isinstance(parent, dict) and draw(st.integers(0, 3)) == 0:
            del at(content, place[:-1])[place[-1]]
    return content


@settings(max_examples=150, deadline=None)
@given(data=st.binary(max_size=40) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_as_config(data):
    with pytest.raises(ConfigError):
        parse_config(data, "config.json")


@SLOW
@given(content=st.sampled_from(VALID).flatmap(mutated))
def test_a_mutated_config_is_a_model_or_an_error(content):
    try:
        parsed = parse_config(json.dumps(content).encode(), "config.json")
        model = _empty(registry.class_of(parsed.architecture, "config.json"), parsed, Path("config.json"))
        card = model_card(parsed, name="x")
        facts = describe(SimpleNamespace(parameters=list, provenance=parsed.training, input_spec=parsed.input_spec))
    except (ConfigError, CheckpointError):
        return
    assert all(tensor.is_meta for tensor in model.state_dict().values())
    if parsed.format_version > 1:  # what was read from format 1 is no longer of it
        assert parse_config(json.dumps(parsed.to_dict()).encode(), "again") == parsed
    check_card(card, "card")
    assert visible(card) == card and card.startswith("---\n") and card.count("\n---\n") == 1
    names = re.findall(r"^## (.*)", card.partition("\n---\n")[2], re.MULTILINE)
    assert names == [name for name in SECTIONS if name in names] and card.count("\n```") == 4
    assert all(
        one_line(text) == text for value in facts.values() for text in ([value] if isinstance(value, str) else value)
    )


@SLOW
@given(content=mutated(TABLE))
def test_a_mutated_table_is_a_table_or_an_error(content, tmp_path):
    path = tmp_path / "table.json"
    path.write_text(json.dumps(content))
    try:
        table = load_table(path)
    except ConfigError:
        return
    assert all(name.partition(".")[0] in registry.MODELS for name in table)


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_as_table_or_json(data):
    try:
        assert isinstance(parse_json(data, "x"), dict)
    except ConfigError:
        pass


@SLOW
@given(data=st.data())
def test_mutated_weights_are_refused_or_read_as_the_reference_reads_them(saved, model, data):
    """Without digests: whatever the file becomes, our reader refuses it or gives what safetensors' own loader gives."""
    content = bytearray((saved / "model.safetensors").read_bytes())
    header = parts(bytes(content))["header"]
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, header.stop + 20))
        kind = data.draw(st.sampled_from(["set", "insert", "delete", "copy"]))
        if kind == "set":
            content[at] = data.draw(st.sampled_from(b'"{}[],:0123456789 FI\\u\0\xff'))
        elif kind == "insert":
            content[at:at] = data.draw(st.sampled_from([b" ", b"0", b",", b'"a":1,', b"\\u0000"]))
        elif kind == "delete":
            del content[at : at + data.draw(st.integers(1, 4))]
        else:
            source = data.draw(st.integers(8, header.stop))
            length = data.draw(st.integers(1, 60))
            content[at : at + length] = content[source : source + length]
    path = saved / "mutated.safetensors"
    path.write_bytes(content)
    try:
        tensors, _ = read_tensors(path, model.state_dict(), source="x")
    except CheckpointError:
        return
    reference = load(bytes(content))
    assert reference.keys() == tensors.keys()
    assert all(torch.equal(tensors[name], reference[name]) for name in tensors)
