"""Saves that do not come to their end, as cases that the tests run and the fault table counts."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

import evermodels as em
from evermodels.checkpoints import write
from evermodels.checkpoints.convert import convert
from evermodels.core.errors import CheckpointError, ChecksumError
from tests.checkpoints.conftest import Tiny
from tests.checkpoints.local_cases import CARD, CONFIG, WEIGHTS, LocalCase, World

OLD, NEW = 1.5, 3.0
FULL = r"cannot be written .* has room; what stood there before is untouched"


def trained(value: float) -> Tiny:
    """Return a model of some fifty kilobytes whose every weight is one value."""
    model = Tiny.from_preset("tiny_test", dim=64)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(value)
    return model


def value_of(folder: Path) -> float:
    """Load a folder and return the value that every weight has."""
    values = {v.item() for p in em.from_pretrained(folder).parameters() for v in (p.min(), p.max())}
    assert len(values) == 1
    return values.pop()


def in_child(work: Callable[[], None]) -> int:
    """Run something in another process, and return its wait status."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            torch.set_num_threads(1)  # a fork has none of its parent's worker threads, and would wait for them
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:  # even where the traceback cannot be written
            os._exit(code)
    return os.waitpid(pid, 0)[1]


@contextlib.contextmanager
def small_disk(place: Path, kilobytes: int) -> Iterator[bool]:
    """Mount a file system in memory; gives whether that was possible."""
    place.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(place)]
    mounted = bool(shutil.which("mount")) and subprocess.run(command, check=False, capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", str(place)], check=True)


def full_disk(w: World) -> int:
    """A disk with room for the old files and a part of the new ones, from nothing to one page too few."""
    reference = trained(OLD).save_pretrained(w.root / "reference")
    pages = sum(-(-path.stat().st_size // 4096) for path in reference.iterdir())
    count = 0
    for room in range(1, pages, 1 if w.thorough else 4):
        with small_disk(w.root / "disk", 4 * (pages + room)) as mounted:
            if not mounted:  # without the rights to mount one, writing fails as if it were full
                return full_in_name(w)
            folder = trained(OLD).save_pretrained(w.root / "disk")
            with pytest.raises(CheckpointError, match=FULL):
                trained(NEW).save_pretrained(folder)
            assert value_of(folder) == OLD
            assert sorted(path.name for path in folder.iterdir()) == sorted((CARD, CONFIG, WEIGHTS))
            with pytest.raises(CheckpointError, match=FULL):
                trained(NEW).save_pretrained(folder / "fresh")
            with pytest.raises(CheckpointError):
                em.from_pretrained(folder / "fresh")
            count += 2
    return count


def full_in_name(w: World) -> int:
    """Writing fails for want of room after so many bytes, over all files of a save."""
    folder = trained(OLD).save_pretrained(w.root / "full")
    rooms = range(0, sum(path.stat().st_size for path in folder.iterdir()), 997 if w.thorough else 9973)
    for room in rooms:
        left = [room]

        def short(path: Path, data: bytes, left: list[int] = left) -> int:
            with path.open("wb") as file:
                file.write(data[: left[0]])
            if len(data) > left[0]:
                raise OSError(errno.ENOSPC, "No space left on device")
            left[0] -= len(data)
            return len(data)

        def save_file(state: Any, path: Path, **more: Any) -> None:
            short(path, save(state, **more))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(write, "save_file", save_file)
            patch.setattr(Path, "write_bytes", short)
            for target in (folder, w.root / "fresh"):
                left[0] = room
                with pytest.raises(CheckpointError, match=FULL):
                    trained(NEW).save_pretrained(target)
        assert value_of(folder) == OLD
        assert list((w.root / "fresh").iterdir()) == []
    return 2 * len(rooms)


def converted(w: World) -> int:
    """A converted checkpoint that has no room: refused, and nothing of it is left."""
    config = {"num_frames": 4, "img_size": (8, 16), "patch_size": 8, "embed_dim": 8, "depth": 2, "num_heads": 2}
    source = em.create_model("videomae_nano", num_classes=3, **config).save_pretrained(w.root / "source") / WEIGHTS
    source = source.rename(w.root / "foreign.safetensors")
    asked = {key: value for key, value in config.items() if key != "patch_size"}
    limits = (0, 1000, source.stat().st_size - 1)
    for limit in limits:
        out = w.root / f"converted-{limit}"

        def run(limit: int = limit, out: Path = out) -> None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            with pytest.raises(CheckpointError, match=r"cannot be written .* has room"):
                convert(source, out, architecture="videomae_nano", licence="mit", config=asked)

        assert in_child(run) == 0
        with pytest.raises(CheckpointError):
            em.from_pretrained(out)
        assert not out.exists() or list(out.iterdir()) == []
    return len(limits)


def file_limit(w: World) -> int:
    """The same by a limit on the size of a file, which needs no rights: each file is cut where the limit is."""
    folder = trained(OLD).save_pretrained(w.root / "limit")
    sizes = sorted(path.stat().st_size for path in folder.iterdir())
    limits = sorted({0, 1, 100, *(size - 1 for size in sizes[-1:]), *(size // 2 for size in sizes), 4096, 20_000})
    for limit in limits:

        def save(limit: int = limit) -> None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            with pytest.raises(CheckpointError, match=FULL):
                trained(NEW).save_pretrained(folder)

        assert in_child(save) == 0
        assert value_of(folder) == OLD
        assert sorted(path.name for path in folder.iterdir()) == sorted((CARD, CONFIG, WEIGHTS))
    return len(limits)


def after_a_kill(folder: Path) -> str:
    """Load what a killed process left: the old model, the new one, or a refusal; then save again over it."""
    try:
        found = {OLD: "old", NEW: "new"}[value_of(folder)]
    except ChecksumError as error:
        assert "this is not the file that was declared" in str(error)
        found = "refused"
    trained(NEW).save_pretrained(folder)
    assert value_of(folder) == NEW
    return found


def killed_at(w: World) -> int:
    """``kill -9`` before each step of a save: each file's making, its half, its flush and its rename."""
    outcomes = []
    while not outcomes or outcomes[-1] != "finished":
        folder = trained(OLD).save_pretrained(w.root / f"step-{len(outcomes)}")
        status = in_child(functools.partial(_save_and_die, folder, len(outcomes)))
        if not os.WIFSIGNALED(status):
            assert status == 0 and value_of(folder) == NEW
            outcomes.append("finished")
            continue
        assert os.WTERMSIG(status) == signal.SIGKILL
        outcomes.append(after_a_kill(folder))
    # Before the first rename the old model is whole; between the renames the digests tell; after the last it is new.
    assert outcomes == sorted(outcomes, key=["old", "refused", "new", "finished"].index)
    assert {"old", "refused", "finished"} <= set(outcomes)
    return len(outcomes) - 1


def _save_and_die(folder: Path, step: int) -> None:
    """Save, and kill this process before its step of that number."""
    left = [step]

    def stepping(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            return real(*arguments, **more)

        return call

    def half(state: Any, path: Path, **more: Any) -> None:
        write_whole(state, path, **more)
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])  # a step, so that half a file may be the last thing
        path.write_bytes(data)

    write_whole = write.save_file
    write.save_file = stepping(half)
    Path.write_bytes = stepping(Path.write_bytes)  # type: ignore[method-assign]
    Path.replace = stepping(Path.replace)  # type: ignore[method-assign]
    os.fsync = stepping(os.fsync)
    trained(NEW).save_pretrained(folder)


def killed_any_time(w: World) -> int:
    """``kill -9`` of a process that saves all the time, at moments that nobody chose."""
    tries = 40 if w.thorough else 5
    for number in range(tries):
        folder = trained(OLD).save_pretrained(w.root / f"any-{number}")
        started, tell = os.pipe()

        def save_for_ever(folder: Path = folder, tell: int = tell) -> None:
            torch.set_num_threads(1)  # as in in_child
            models = trained(NEW), trained(OLD)
            os.write(tell, b"x")
            while True:
                for model in models:
                    model.save_pretrained(folder)

        pid = os.fork()
        if pid == 0:
            save_for_ever()
        os.read(started, 1)
        time.sleep(0.0037 * (number % 20))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(started)
        os.close(tell)
        after_a_kill(folder)
    return tries


CASES: list[LocalCase] = [
    LocalCase("full disk", "full disk while saving", full_disk),
    LocalCase("full, without a disk of its own", "full disk while saving", full_in_name),
    LocalCase("while converting", "full disk while converting", converted),
    LocalCase("limit on the size of files", "full disk while saving", file_limit),
    LocalCase("kill -9 before each step", "kill -9 while saving", killed_at),
    LocalCase("kill -9 at any time", "kill -9 while saving", killed_any_time),
]
