"""Coverage-guided fuzzing of config, table, input spec and card.

Run as ``python tests/fuzz/fuzz_config.py -max_total_time=600`` after ``pip install atheris``; it is no part of the
tests. Anything but one of our errors is a finding, and so are a hang and a large allocation: libFuzzer stops and writes
the input to a file, which reproduces it as the argument. With ``FUZZ_COUNTS`` set, counts go into that file.
"""

from __future__ import annotations

import collections
import copy
import json
import math
import os
import re
import sys
import types
from pathlib import Path
from typing import Any

import atheris

with atheris.instrument_imports(include=["evermodels"]):
    from evermodels.checkpoints.card import NOT_THIS, CardInfo, check_card, model_card
    from evermodels.checkpoints.config_file import parse_config
    from evermodels.checkpoints.strict_json import parse_json
    from evermodels.checkpoints.table import TABLE_PATH, parse_table
    from evermodels.core import registry
    from evermodels.core.errors import CheckpointError, ConfigError, UnknownNameError
    from evermodels.core.specs import InputSpec
    from evermodels.core.text import one_line, visible
    from evermodels.facts import describe

FORMAT_1 = Path(__file__).parents[1] / "golden" / "ever_tiny_quadrant_format_1.json"
COUNTS: collections.Counter[str] = collections.Counter()
EDGES = (0, 1, -1, 10**9, 2**63, 10**30, 1e300, 5e-324, -0.0, True, None, "", "\0", "../x", "/x", "C:\\x", [], {}, [[]])
HOSTILE = (
    *("a\n\n## Scores\n", "---\nlicense: mit\n---\n", "\x1b[2J", "\u202e", "\u2028# x"),
    *("```\n", "<b>", "| a |", "# ", "1. "),
)
SECTIONS = ("Use", "Inputs", "Classes", "Scores", "Training", NOT_THIS, "Attribution", "Configuration")
SCORES = {
    "UAR": [{"value": 0.5, "low": 0.4, "high": 0.6, "people": "6 test people", "transductive": True}, 0.4],
    "accuracy": {"value": 0.5, "where": "a minute of rest"},
    "F1": 0.5,
}


def documents() -> list[tuple[str, dict[str, Any]]]:
    """Return valid content of each kind, of which mutations are made."""
    found: list[tuple[str, dict[str, Any]]] = []
    for name in ("audio_mamba_nano", "videomae_nano", "ever_tiny"):
        config = registry.model_class(name).presets[name]
        spec = config.input_spec.to_dict() if name == "ever_tiny" else None
        training = {"licence": "mit", "datasets": ["d"], "scores": SCORES, "validation": {"uar": 0.5, "n": [1, 2]}}
        training |= {"summary": "s", "protocol": "p", "not_this": ["x"], "attribution": ["y"], "command": "c"}
        files = {"model.safetensors": {"size": 1, "sha256": "0" * 64}}
        content = {"format_version": 2, "architecture": name, "config": config.to_dict()}
        classes = [f"class {k}" for k in range(config.num_classes)]
        content |= {"classes": classes, "training": training, "files": files, "dtype": "float32"}
        found.append(("config", content))
        if spec is not None:
            found.append(("spec", spec))
    found.append(("config", json.loads(FORMAT_1.read_text(encoding="utf-8"))))
    sections = {"audio": {"form": "waveform"}, "eye": {"features": ["pupil_mean"], "seconds": 2.0}}
    features = {"ch_names": ["Fz"], "sfreq": 200.0, "features": {"seconds": 2.0, "bands": [[1.0, 4.0]]}}
    found.append(("spec", {"window_seconds": 5.0, "eeg": features, **sections}))
    found.append(("table", json.loads(TABLE_PATH.read_text(encoding="utf-8"))))
    found.append(("card", {"title": "t", "licence": "mit", "tags": ["a"], "scores": SCORES, "not_this": ["x"]}))
    return found


DOCUMENTS = documents()
CONFIG = parse_config(json.dumps(DOCUMENTS[0][1]).encode(), "config.json")


def places(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the places of everything inside nested mappings and lists."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [p for key, v in inner for p in [(*place, key), *places(v, (*place, key))]]


def mutate(content: dict[str, Any], data: atheris.FuzzedDataProvider) -> dict[str, Any]:
    """Replace, add and remove values and keys, as the data says."""
    content = copy.deepcopy(content)
    for _ in range(data.ConsumeIntInRange(1, 4)):
        where = places(content)
        if not where:
            break
        *path, last = where[data.ConsumeIntInRange(0, len(where) - 1)]
        parent: Any = content
        for key in path:
            parent = parent[key]
        action = data.ConsumeIntInRange(0, 8)
        if action == 0 and isinstance(parent, dict):
            del parent[last]
        elif action == 1 and isinstance(parent, dict):
            parent[data.ConsumeUnicode(8)] = parent[last]
        elif action == 2:
            parent[last] = data.ConsumeUnicode(12)
        elif action == 3:
            parent[last] = data.ConsumeInt(9)
        elif action == 4:
            parent[last] = data.ConsumeRegularFloat()
        elif action == 5:
            other = where[data.ConsumeIntInRange(0, len(where) - 1)]
            value: Any = content
            for key in other:
                value = value[key]
            parent[last] = copy.deepcopy(value)
        elif action == 7:
            text = HOSTILE[data.ConsumeIntInRange(0, len(HOSTILE) - 1)]
            if isinstance(parent, dict) and data.ConsumeBool():
                parent[text] = parent.pop(last)
            else:
                parent[last] = f"{parent[last]}{text}" if isinstance(parent[last], str) else text
        elif action == 6:
            parent[last] = [parent[last]] * data.ConsumeIntInRange(0, 3)
        else:
            parent[last] = copy.deepcopy(EDGES[data.ConsumeIntInRange(0, len(EDGES) - 1)])
    return content


def check_text(text: str) -> None:
    """Make sure that a card has our sections and our metadata, and that nothing in it is hidden."""
    check_card(text, "card")
    text.encode("utf-8")
    assert visible(text) == text
    lines = text.split("\n")
    end = lines.index("---", 1)
    assert lines[0] == "---" and not any(re.match(r"---|===|[ ]{0,3}<|[ ]{0,3}>", line) for line in lines[end + 1 :])
    names = [line[3:] for line in lines[end:] if line.startswith("## ")]
    assert names == [name for name in SECTIONS if name in names]
    assert sum(line.startswith("# ") for line in lines[end:]) == 1
    assert sum(line.lstrip().startswith(("```", "~~~")) for line in lines) == 4


def check_facts(content: Any) -> None:
    """Make sure that what is known about a checkpoint is text of one line."""
    model = types.SimpleNamespace(
        architecture=content.architecture,
        parameters=list,
        classes=content.classes,
        input_spec=content.input_spec,
        provenance=content.training,
    )
    for value in describe(model).values():
        for text in value if isinstance(value, list) else [value]:
            assert one_line(text) == text.strip(), text


def run(kind: str, data: bytes) -> None:
    """Parse bytes as one kind of document, to the end."""
    if kind == "config":
        content = parse_config(data, "config.json")
        cls = registry.class_of(content.architecture, "config.json")
        try:
            config = cls.config_class.from_dict(content.config)
        except UnknownNameError:  # a name in the config that is in no table: the loader makes a ConfigError of it
            return
        assert cls.config_class.from_dict(json.loads(json.dumps(config.to_dict()))) == config
        if content.format_version > 1:  # what was read from format 1 is no longer of it
            assert parse_config(json.dumps(content.to_dict()).encode(), "again") == content
        check_text(model_card(content, name="x"))
        check_facts(content)
    elif kind == "table":
        table = parse_table(data, "table.json")
        again = {"format_version": 1, "entries": {name: entry.to_dict() for name, entry in table.items()}}
        assert parse_table(json.dumps(again).encode(), "again") == table
    elif kind == "spec":
        spec = InputSpec.from_dict(parse_json(data, "spec"))
        assert InputSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
        for name in spec.modalities:
            assert math.prod(spec.shape(name)) >= 1 and spec.of(name).describe()
    else:
        check_text(model_card(CONFIG, CardInfo.from_dict(parse_json(data, "card"), where="card"), name="x"))


def one(raw: bytes) -> None:
    """Run one input: the first bytes choose the document, the others are it or mutate it."""
    data = atheris.FuzzedDataProvider(raw)
    kind, content = DOCUMENTS[data.ConsumeIntInRange(0, len(DOCUMENTS) - 1)]
    as_bytes = kind in ("config", "table") and data.ConsumeIntInRange(0, 3) == 0
    if as_bytes:
        text = data.ConsumeBytes(1 << 16)
    else:
        try:
            text = json.dumps(mutate(content, data), ensure_ascii=data.ConsumeBool()).encode()
        except UnicodeEncodeError:  # half a character, which JSON text can hold only as an escape
            return
    COUNTS["executions"] += 1
    try:
        run(kind, text)
        COUNTS[f"{kind} accepted"] += 1
    except (ConfigError, CheckpointError):
        COUNTS[f"{kind} refused"] += 1
    if COUNTS["executions"] % 5000 == 0 and (place := os.environ.get("FUZZ_COUNTS")):
        Path(place).write_text(json.dumps(COUNTS, indent=1))


if __name__ == "__main__":
    limits = ["-timeout=10", "-rss_limit_mb=4000", "-max_len=2048", "-len_control=0"]
    atheris.Setup([sys.argv[0], *limits, *sys.argv[1:]], one)
    atheris.Fuzz()
