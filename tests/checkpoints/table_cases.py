"""Hostile weight tables, as cases that the tests run and the fault table counts: nothing of them is believed."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from typing import Any

import pytest

import evermodels as em
from evermodels.checkpoints import table
from evermodels.core.errors import CheckpointError, ConfigError
from tests.checkpoints.content_cases import leaves, put
from tests.checkpoints.local_cases import CONFIG, NAME, WEIGHTS, LocalCase, World

ODD: tuple[Any, ...] = (
    None,
    True,
    7,
    -1,
    10**30,
    1e300,
    "",
    " ",
    "x" * 100_000,
    "../x",
    "/etc/passwd",
    "\0",
    [],
    {},
    [[]],
)
NUMBERS = (-1, -(10**18), 1.5, "1", True, None, [1], 10**4000)
DIGESTS = ("", "0", "ab" * 31, "ab" * 33, "AB" * 32, "g" * 64, "ab" * 32 + "\n", "../" * 21 + "x", None, 5, ["ab" * 32])


def _tables(kind: str) -> Iterator[Any]:
    """Return contents of a table, each wrong in one place, as values or as the bytes of the file."""
    content = json.loads(table.TABLE_PATH.read_text())
    entry = content["entries"][NAME]

    def with_entry(**change: Any) -> dict[str, Any]:
        return {**content, "entries": {NAME: {**entry, **change}}}

    def with_file(name: str, digest: Any) -> dict[str, Any]:
        return with_entry(files={**entry["files"], name: digest})

    if kind == "types":
        texts = {("entries", NAME, key) for key in ("licence", "data", "protocol", "recipe")}
        for place in {tuple(p[:depth]) for p in leaves(content) for depth in range(1, len(p) + 1)}:
            for value in ODD:
                if place == ("entries",) and value == {}:
                    continue  # a table of nothing
                if isinstance(value, str) and value.strip() and place in texts:
                    continue  # any text is one
                if place[-1:] == ("metric",) and isinstance(value, str):
                    continue
                if place[-1:] == ("value",) and type(value) in (int, float):
                    continue
                if (place[-1], value) == ("bundled", True) or (place[-1] == "size" and value in (7, 10**30)):
                    continue  # a size that no file has is found when the file is looked at
                yield put(content, place, value)
    elif kind == "names of files":
        for name in ("../x", "/etc/passwd", "a/b", "", "\0", "C:\\x", WEIGHTS.upper(), f"./{WEIGHTS}", f"{WEIGHTS} "):
            yield with_file(name, entry["files"][WEIGHTS])
            yield with_entry(files={name: entry["files"][WEIGHTS]})
            yield with_entry(
                files={**{k: v for k, v in entry["files"].items() if k != WEIGHTS}, name: entry["files"][WEIGHTS]}
            )
    elif kind == "sizes and digests":
        for name in (CONFIG, WEIGHTS):
            for size in NUMBERS:
                yield with_file(name, {**entry["files"][name], "size": size})
            for digest in DIGESTS:
                yield with_file(name, {**entry["files"][name], "sha256": digest})
            yield with_file(name, {**entry["files"][name], "md5": "x"})
            yield with_file(name, {"size": 1})
            yield with_file(name, [1, "ab" * 32])
    elif kind == "keys":
        yield {**content, "format_version": 2}
        yield {**content, "more": 1}
        yield {"entries": content["entries"]}
        yield with_entry(more=1)
        yield with_entry(score={**entry["score"], "more": 1})
        yield with_entry(score={**entry["score"], "low": 0.1})
    else:
        yield from _texts(json.dumps(content))


def _texts(text: str) -> Iterator[bytes]:
    yield from (b"", b"\xff", b"[]", b"null", b"{", b"<html>", text.encode()[:-1], text.encode("utf-16"))
    yield text.replace('"size": ', '"size": 1, "size": ', 1).encode()
    yield text.replace(f'"{NAME}"', f'"{NAME}": {{}}, "{NAME}"', 1).encode()
    for constant in ("NaN", "Infinity", "-Infinity", "1e999"):
        yield text.replace('"value": 0.5', f'"value": {constant}').encode()
    yield text.replace('"licence": "none"', '"licence": "\\ud800"').encode()
    yield b'{"a": ' * 100_000
    yield b" " * (1 << 25) + text.encode()  # far larger than a table is


def hostile(w: World, kind: str) -> int:
    """Asked for a name, a list, a folder: the name is refused, and the folder of somebody still loads or is refused."""
    tables = list(_tables(kind))
    place = w.root / "hostile.json"
    for content in tables:
        place.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(table, "TABLE_PATH", place)
            for call in (lambda: em.from_pretrained(NAME), lambda: em.list_models("*", pretrained=True)):
                with pytest.raises((ConfigError, CheckpointError), match=r"hostile\.json: ") as error:
                    call()
                assert len(str(error.value)) < 5000
    return len(tables)


def no_table(w: World) -> int:
    """The table is not there, or a folder stands in its place."""
    for make in (lambda p: None, lambda p: p.mkdir()):
        place = w.root / "none.json"
        make(place)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(table, "TABLE_PATH", place)
            with pytest.raises(
                CheckpointError, match=r"the weight table cannot be read .*pip install --force-reinstall ev"
            ):
                em.from_pretrained(NAME)
    return 2


CASES: list[LocalCase] = [
    *(
        LocalCase(kind, "hostile weight table", functools.partial(hostile, kind=kind))
        for kind in ("types", "names of files", "sizes and digests", "keys", "texts")
    ),
    LocalCase("no table", "hostile weight table", no_table),
]
