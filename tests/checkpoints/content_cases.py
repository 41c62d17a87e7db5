"""Configs and tensors that are whole files and yet wrong, as cases that the tests run and the fault table counts."""

from __future__ import annotations

import copy
import functools
import json
import resource
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

import evermodels as em
from evermodels.core import registry
from evermodels.core.errors import CheckpointError, ConfigError
from tests.checkpoints.conftest import Tiny
from tests.checkpoints.local_cases import CONFIG, WEIGHTS, LocalCase, World, edit, parts, rewrite

Tensors = dict[str, torch.Tensor]


def _fill(name: str, value: float, index: Any = ...) -> Callable[[Tensors], None]:
    def change(tensors: Tensors) -> None:
        tensors[name][index] = value

    return change


NOT_FITTING: list[tuple[str, Callable[[Tensors], Any], str]] = [
    (
        "wrong prefix",
        lambda t: {f"module.{name}": v for name, v in t.items()},
        r"missing +14 .*layers.\{0…1\}.weight.*unexpected +14 .*begin with 'module.'.*save the inner module",
    ),
    (
        "prefix left out",
        lambda t: {name.removeprefix("layers."): v for name, v in t.items() if name.startswith("layers.")},
        r"missing +14 .*unexpected +4",
    ),
    ("missing", lambda t: {n: v for n, v in t.items() if n != "scale"}, r"missing +1 +scale +\(in the model, not in"),
    ("extra", lambda t: {**t, "more.3.x": torch.ones(1)}, r"unexpected +1 +more.3.x +\(in the file, not in the model"),
    ("none", lambda t: {}, r"missing +14"),
    (
        "transposed",
        lambda t: {**t, "stem.weight": t["stem.weight"].T.contiguous()},
        r"shape +1 +stem.weight +\(\(6, 4\) in the file, \(4, 6\)",
    ),
    (
        "another shape",
        lambda t: {**t, "scale": torch.ones(1)},
        r"shape +1 +scale +\(\(1,\) in the file, \(\) in the model\)",
    ),
    (
        "another type",
        lambda t: {**t, "scale": t["scale"].double()},
        r"dtype +1 +scale +\(torch.float64 in the file, torch.float32",
    ),
    (
        "another integer type",
        lambda t: {**t, "norm.num_batches_tracked": torch.tensor(1, dtype=torch.int32)},
        r"dtype +1 +norm.num_batches",
    ),
    (
        "NaN",
        _fill("layers.1.weight", float("nan"), (0, 1)),
        r"not finite +1 +layers.1.weight +\(1 NaN, 0 infinite of 16\).*earlier checkpoint",
    ),
    (
        "infinite",
        _fill("norm.running_var", float("-inf"), 0),
        r"not finite +1 +norm.running_var +\(0 NaN, 1 infinite of 4\)",
    ),
]


def _config(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: content["config"].update(values)


def _eeg(**values: Any) -> Callable[[dict[str, Any]], None]:
    spec = {"eeg": {"ch_names": ["Fz", "Cz", "T7"], "sfreq": 10.0, "window_seconds": 1.0, **values}}
    return lambda content: content.update(format_version=1, input_spec=spec)


def _top(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: content.update(values)


WRONG_CONFIG: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
    (_top(clases=["a"]), r"unknown key 'clases'. Did you mean 'classes'"),
    (_config(dmi=4), r"config: TinyConfig: unknown key 'dmi'. Did you mean 'dim'"),
    (_config(dim="4"), r"TinyConfig.dim: expected int, got '4' \(str\)"),
    (_config(dim=True), r"TinyConfig.dim: expected int, got True"),
    (_config(dim=0), r"TinyConfig.dim: expected at least 1, got 0"),
    (_config(in_features=-3), r"Tiny cannot be built from these values"),
    (_config(in_features=10**30), r"Tiny cannot be built from these values"),
    (_config(dim=5), r"(?s)shape +\d+ .*Use the config.json that was written together with these weights"),
    (_top(config=[]), r"CheckpointConfig.config: expected a mapping, got \[\]"),
    (lambda c: c.pop("config"), r"missing key 'config'"),
    (lambda c: c.pop("format_version"), r"format_version: expected 2, got None"),
    (_top(format_version=3, new=1), r"format_version: expected 2, got 3. .*newer evermodels"),
    (_top(format_version=True), r"format_version: expected 2, got True"),
    (_top(input_spec=None), r"unknown key 'input_spec'"),
    (_top(architecture="tiny_tset"), r"architecture: 'tiny_tset' does not exist. Did you mean 'tiny_t"),
    (_top(architecture="os.system"), r"architecture: 'os.system' does not exist"),
    (_top(architecture=7), r"CheckpointConfig.architecture: expected str, got 7"),
    (_top(classes=["a", "b"]), r"classes: expected 3 names, as config.num_classes says"),
    (_top(classes=["a", "b", "b"]), r"classes: expected names, each once"),
    (_top(dtype="float8"), r"dtype: expected one of 'float16'"),
    (_top(dtype="float64"), r"dtype +13 .*torch.float32 in the file, torch.float64 expected"),
    (_eeg(unit="V"), r"unit: expected one of 'uV', got 'V'"),
    (_eeg(sfreq=-1), r"sfreq: expected a positive rate"),
    (_eeg(window_seconds=10**9), r"input_spec.eeg.window_seconds: 1000000000 contradicts config"),
    (_top(format_version=1, input_spec=[]), r"input_spec: expected a mapping or null, got \[\]"),
    (_top(format_version=1, input_spec={"eeg": 3}), r"input_spec.eeg: expected a mapping or null, got 3"),
    (_top(format_version=1, input_spec={"audio": {}}), r"input_spec: unknown key 'audio'"),
    (_eeg(ch_names=["Cz", "Fz", "T7"]), r"input_spec.eeg.ch_names: .* contradicts config, from which follows"),
    (_eeg(sfreq=20.0), r"input_spec.eeg.sfreq: 20.0 contradicts config, from which follows 10.0. Use the config.json"),
    (_top(sha256="0" * 64), r"its content is not what was written.*if it was changed on purpose, take 'sha256' out"),
]

NOT_JSON = [
    (b"", r"expected JSON, got b''"),
    (b"<html>", r"expected JSON, got b'<html>'.*get the checkpoint again"),
    (b"[1]", r"expected a JSON object, got list"),
    (b'{"a": 1, "a": 2}', r"the key 'a' stands there twice"),
    (b"{" + b",".join(b'"%d": 0' % (i % 99_999) for i in range(100_000)) + b"}", r"the key '0' stands there twice"),
    (b'{"a": NaN}', r"NaN is not JSON"),
    (b'{"a": -Infinity}', r"-Infinity is not JSON"),
    (b'{"a": "\\ud800"}', r"expected JSON.*surrogates not allowed"),
    (b"\xff\xfe{}", r"expected JSON"),
    (b"\xef\xbb\xbf{}", r"expected JSON"),
    (b'{"a": ' + b"[" * 60 + b"]" * 60 + b"}", r"nested deeper than 50"),
    (b"[" * 100_000, r"expected JSON"),
    (b'{"a": ' + b"1" * 5000 + b"}", r"expected JSON"),
]


def not_fitting(w: World, index: int) -> int:
    rewrite(w.folder("folder"), NOT_FITTING[index][1])
    w.refuses("folder", rf"(?s)does not fit the model, and nothing was loaded.*{NOT_FITTING[index][2]}")
    return 1


def wrong_config(w: World, index: int) -> int:
    change, message = WRONG_CONFIG[index]
    edit(w.folder("folder"), change)
    with pytest.raises((ConfigError, CheckpointError), match=message) as error:
        w.load("folder")
    assert str(w.folder("folder")) in str(error.value)
    return 1


def not_json(w: World, index: int) -> int:
    (w.folder("folder") / CONFIG).write_bytes(NOT_JSON[index][0])
    w.refuses("folder", NOT_JSON[index][1])
    return 1


def another_value(w: World) -> int:
    """Each value becomes another of the same type, most of which no type check, shape or name would tell."""
    path = w.folder("folder") / CONFIG
    content = json.loads(path.read_text())
    others = {int: lambda v: v + 1, float: lambda v: v * 1.5, str: lambda v: v + "x", bool: lambda v: not v}
    places = [place for place in leaves(content) if type(at(content, place)) in others]
    for place in places:
        value = at(content, place)
        path.write_text(json.dumps(put(content, place, others[type(value)](value))))
        with pytest.raises((ConfigError, CheckpointError)) as error:
            w.load("folder")
        assert CONFIG in str(error.value)
    return len(places)


def leaves(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Return the places of all values in nested mappings and lists."""
    if isinstance(value, (dict, list)):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(inner, (*place, key))
    else:
        yield place


def at(content: Any, place: tuple[Any, ...]) -> Any:
    """Return the value at a place."""
    return functools.reduce(lambda value, key: value[key], place, content)


def put(content: Any, place: tuple[Any, ...], value: Any) -> Any:
    """Return a copy with another value at a place."""
    content = copy.deepcopy(content)
    at(content, place[:-1])[place[-1]] = value
    return content


HUGE = (10**9, 10**18, 10**30, 1e300, 5e-324, -1, 0)


def huge(w: World, architecture: str) -> int:
    """Each number of a real architecture's config becomes huge: no such memory is asked for, and nothing hangs."""
    folder = em.create_model(architecture).save_pretrained(w.root / architecture)
    em.from_pretrained(folder)
    content = json.loads((folder / CONFIG).read_text())
    del content["sha256"]
    numbers = [place for place in leaves(content) if type(at(content, place)) in (int, float) and place[0] != "files"]
    values = [(place, value) for place in numbers for value in (HUGE if w.thorough else HUGE[:1])]
    # A multiple of what was there passes where one number must divide another.
    values += [(place, at(content, place) * 10**6) for place in numbers if at(content, place) not in (0, 1)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for place, value in values:
        (folder / CONFIG).write_text(json.dumps(put(content, place, value)))
        try:
            em.from_pretrained(folder)
        except (ConfigError, CheckpointError):
            continue
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1_000_000  # KiB
    return len(values)


TOO_LONG = r"not a whole safetensors file \(its header is [\d,]+ bytes, and that of this model needs no more than"


def many_names(w: World) -> int:
    """A header of a million and a half names (in the tests, of 100,000) is not parsed, with digests and without."""
    count = 1_500_000 if w.thorough else 100_000
    for where in ("bare", "folder"):
        path = w.folder(where) / WEIGHTS
        with path.open("wb") as file:
            row = '"%07d":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}'
            file.write(struct.pack("<Q", count * (len(row % 0) + 1) + 1) + b"{")
            for start in range(0, count, 1000):
                file.write(",".join(row % i for i in range(start, start + 1000)).encode())
                file.write(b"," if start + 1000 < count else b"}")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        w.refuses(where, TOO_LONG if where == "bare" else r"this is not the file that was declared")
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB
    return 2


def claims(w: World) -> int:
    """Sizes that the header claims, and a file of holes that has them: no such memory is asked for."""
    path = w.folder("bare") / WEIGHTS
    whole = path.read_bytes()
    start = parts(whole)["header"].stop
    header = json.loads(whole[8:start])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    count = 0
    for size in (2**31, 2**62, 2**64, 10**30):
        for change in (
            {"shape": [size], "data_offsets": [0, size]},
            {"shape": [size], "data_offsets": [0, 4 * size]},
            {"shape": [1] * 5 + [size], "data_offsets": [size, size + 4]},
            {"shape": [size, 0], "data_offsets": [0, 0]},
        ):
            rows = json.dumps({**header, "scale": {"dtype": "F32", **change}}).encode()
            with path.open("wb") as file:
                file.write(struct.pack("<Q", len(rows)) + rows)
                file.truncate(min(file.tell() + 4 * size, 2**42))
            w.refuses("bare", r"not a whole safetensors file|does not fit the model")
            count += 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB
    return count


def full_of_holes(w: World) -> int:
    """Config and header agree on a model of four terabytes, and the file has the size: it is made of holes."""
    dim = 2**20
    edit(w.folder("bare"), _config(dim=dim))
    with torch.device("meta"):
        state = Tiny(Tiny.presets["tiny_test"].replace(dim=dim)).state_dict()
    rows, place = {}, 0
    for name, tensor in state.items():
        size = tensor.numel() * tensor.element_size()
        kind = "F32" if tensor.is_floating_point() else "I64"
        rows[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [place, place := place + size]}
    header = json.dumps(rows).encode()
    with (w.folder("bare") / WEIGHTS).open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(file.tell() + place)
    w.refuses("bare", r"bytes of weights, and this machine has [\d,]+ of memory\. Load it on a larger one")
    return 1


def smallest() -> list[str]:
    """Return one preset of each class of the registry, a nano or tiny one where it has them."""
    order = sorted(registry.MODELS, key=lambda name: ("_nano" in name, "_tiny" in name), reverse=True)
    by_class: dict[str, str] = {}
    for name in order:
        if registry.MODELS[name].module.startswith("evermodels."):
            by_class.setdefault(registry.MODELS[name].class_name, name)
    return sorted(by_class.values())


CASES: list[LocalCase] = [
    *(
        LocalCase(f"tensors: {name}", "tensors missing, extra, of another shape or type, or not finite", run)
        for name, run in ((row[0], functools.partial(not_fitting, index=i)) for i, row in enumerate(NOT_FITTING))
    ),
    *(
        LocalCase(f"config {i}", "typo, wrong type or impossible value in config.json", run)
        for i, run in enumerate(functools.partial(wrong_config, index=i) for i in range(len(WRONG_CONFIG)))
    ),
    *(
        LocalCase(f"not JSON {i}", "config.json that is not strict JSON", run)
        for i, run in enumerate(functools.partial(not_json, index=i) for i in range(len(NOT_JSON)))
    ),
    LocalCase("many names", "huge size in a header", many_names),
    LocalCase("claims", "huge size in a header", claims),
    LocalCase("file of holes", "huge size in a header", full_of_holes),
    LocalCase("another value", "another value of the right type in config.json", another_value),
    *(
        LocalCase(f"huge numbers, {name}", "huge number in a config", functools.partial(huge, architecture=name))
        for name in smallest()
    ),
]
