"""Files that another process writes while they are loaded, as cases that the tests run and the fault table counts.

What is loaded is exactly what was declared, or nothing: no mixture, and no other bytes that are called verified.
"""

from __future__ import annotations

import contextlib
import functools
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import evermodels as em
from evermodels.checkpoints import opened
from evermodels.core.errors import CheckpointError
from tests.checkpoints.conftest import Tiny
from tests.checkpoints.local_cases import CONFIG, NAME, WEIGHTS, LocalCase, World, list_in_table, use_table

Writer = Callable[[Path, bytes], None]
_BLOCK = 1 << 16
_MOST = 1000


def in_place(path: Path, data: bytes) -> None:
    """As ``rsync --inplace`` writes: block by block over what was there."""
    with path.open("rb+", buffering=0) as file:
        for start in range(0, len(data), _BLOCK):
            file.write(data[start : start + _BLOCK])


def copied(path: Path, data: bytes) -> None:
    """As ``cp`` writes: cut to nothing first."""
    path.write_bytes(data)


def replaced(path: Path, data: bytes) -> None:
    """As careful programs write: another file takes the name."""
    beside = path.with_name("beside")
    beside.write_bytes(data)
    beside.replace(path)


def removed(path: Path, data: bytes) -> None:
    """Gone, and made anew."""
    path.unlink()
    path.write_bytes(data)


def scattered(path: Path, data: bytes) -> None:
    """Here and there a page, in no order, as a mapped file is written."""
    places = list(range(0, len(data), _BLOCK))
    random.shuffle(places)
    with path.open("rb+", buffering=0) as file:
        for start in places:
            os.pwrite(file.fileno(), data[start : start + _BLOCK], start)


WRITERS: dict[str, Writer] = {w.__name__.replace("_", " "): w for w in (in_place, copied, replaced, removed, scattered)}


def pair(w: World, dim: int) -> tuple[Path, dict[str, list[bytes]]]:
    """Save two models that differ in every weight, and enter the first into the table; return it, and both contents."""
    contents: dict[str, list[bytes]] = {CONFIG: [], WEIGHTS: []}
    for value, label in ((1.0, "own"), (2.0, "oth")):
        model = Tiny(Tiny.presets["tiny_test"].replace(dim=dim, name=label))
        model.architecture = "tiny_test"
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(value)
        folder = model.save_pretrained(w.root / label)
        for name, both in contents.items():
            both.append((folder / name).read_bytes())
    place = w.root / "written"
    place.mkdir()
    return list_in_table(w.root / "own", place), contents


def is_first(model: Any) -> None:
    """Make sure that a model is the first one, every weight of it."""
    assert model.config.name == "own"
    assert {float(v) for p in model.parameters() for v in (p.detach().min(), p.detach().max())} == {1.0}
    assert model.load_report.verified


@contextlib.contextmanager
def written_without_end(path: Path, both: list[bytes], writer: Writer) -> Iterator[None]:
    """Let another process write one content after the other, with pauses that nobody chose."""
    pid = os.fork()
    if pid == 0:
        try:
            while True:
                for data in both[::-1]:
                    writer(path, data)
                    time.sleep(random.random() * 0.01)
        finally:
            os._exit(1)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def hammered(w: World, how: str, where: str) -> int:
    """Loads while another process writes: by a name of the table, and by a folder whose config.json declares."""
    folder, contents = pair(w, 512 if w.thorough else 256)
    wanted, tries, right = 60 if w.thorough else 8, 0, 0
    with pytest.MonkeyPatch.context() as patch:
        use_table(patch, folder.parents[1])
        with written_without_end(folder / WEIGHTS, contents[WEIGHTS], WRITERS[how]):
            while tries < wanted or (tries == right and tries < _MOST):  # until at least one load met the other
                tries += 1
                try:
                    is_first(em.from_pretrained(NAME if where == "name" else folder))
                    right += 1
                except CheckpointError:
                    pass
    assert right < tries
    return tries


def at_each_read(w: World, how: str, name: str) -> int:
    """The file is written anew between two reads of it: before the first, the second, …, each one that there is."""
    folder, contents = pair(w, 64)
    outcomes = []
    with pytest.MonkeyPatch.context() as patch:
        use_table(patch, folder.parents[1])
        patch.setattr(opened, "_PIECE", 4096)  # so that there are several
        while not outcomes or outcomes[-1] != "finished":
            (folder / name).write_bytes(contents[name][0])
            left = [len(outcomes)]
            with patch.context() as inner:
                _write_at(inner, left, functools.partial(WRITERS[how], folder / name, contents[name][1]), name)
                try:
                    is_first(em.from_pretrained(NAME))
                    outcomes.append("right")
                except CheckpointError:
                    outcomes.append("refused")
            if left[0] >= 0:
                outcomes[-1] = "finished"
    whole = how in ("replaced", "removed")  # the open file stays what it was
    assert set(outcomes[:-1]) == {"right"} if whole else "refused" in outcomes, outcomes
    return len(outcomes) - 1


def _write_at(patch: pytest.MonkeyPatch, left: list[int], write: Callable[[], None], name: str) -> None:
    read = opened._read_some

    def hook(stream: Any, memory: memoryview) -> int:
        if stream.name.endswith(name):
            if left[0] == 0:
                write()
            left[0] -= 1
        return read(stream, memory)

    patch.setattr(opened, "_read_some", hook)


def shorter(w: World) -> int:
    """The file is cut, to nothing and to its half, at each read; with digests and without."""
    count = 0
    for where in ("folder", "bare", "name"):
        path = w.folder(where) / WEIGHTS
        data = path.read_bytes()
        for end in (0, len(data) // 2):
            for step in range(3):
                left = [step]
                with pytest.MonkeyPatch.context() as patch:
                    _write_at(patch, left, functools.partial(path.write_bytes, data[:end]), WEIGHTS)
                    w.refuses_or_loads(where)
                path.write_bytes(data)
                count += 1
    return count


def undeclared(w: World) -> int:
    """Without a digest other bytes cannot be told from the right ones, but that the file was written can."""
    path = w.folder("bare") / WEIGHTS
    data = path.read_bytes()
    for step in range(3):
        os.utime(path, ns=(0, 0))
        with pytest.MonkeyPatch.context() as patch:
            _write_at(patch, [step], functools.partial(in_place, path, data), WEIGHTS)
            w.refuses("bare", r"model.safetensors: it changed while it was read\. Load it again")
    w.loads("bare")
    return 3


def _cases() -> Iterator[LocalCase]:
    kind = "written by another process while it is loaded"
    for how in WRITERS:
        for where in ("name", "folder"):
            yield LocalCase(f"{how}, {where}", kind, functools.partial(hammered, how=how, where=where))
        for name in (CONFIG, WEIGHTS):
            yield LocalCase(f"{how} at each read, {name}", kind, functools.partial(at_each_read, how=how, name=name))
    yield LocalCase("cut at each read", kind, shorter)
    yield LocalCase("without a digest", kind, undeclared)


CASES: list[LocalCase] = list(_cases())
