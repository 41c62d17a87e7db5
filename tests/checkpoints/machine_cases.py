"""What can go wrong on this machine while a model comes from the Hub: full disks and processes that are killed.

The processes are true ones, forked from a server that has imported torch and the client, so that they start fast.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import itertools
import multiprocessing
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import evermodels as em
from evermodels.core.errors import CheckpointError
from tests.checkpoints.conftest import register_tiny
from tests.checkpoints.hub_cases import CONFIG, NOT_CACHED, REPO, WEIGHTS, HubCase, World, assert_equal
from tests.hub_server import client_of

FULL = r"the disk is full, and nothing half-written is kept\. Make room, or name another disk with cache_dir="
LOCKED = r"the cache cannot be written\. Name another folder with cache_dir="
NOT_PERMITTED = 77
_PAGE = 4096
_PATIENCE = 400.0  # seconds, on a machine that does much else

State = dict[str, torch.Tensor]


# -- writing fails -----------------------------------------------------------------------------------------------------


def disk_error(w: World, code: int, message: str) -> int:
    """Writing fails after some bytes of either file: patched, so that it can be had everywhere."""
    room = (0, 100, 5000)
    for left in room:
        with pytest.MonkeyPatch.context() as patch:
            _fail_writing(patch, left, code)
            w.refuses(message)
        w.refuses(NOT_CACHED, local_files_only=True)
    w.mended()
    return len(room)


def _fail_writing(patch: pytest.MonkeyPatch, left: int, code: int) -> None:
    real = Path.open

    def failing(self: Path, *arguments: Any, **more: Any) -> Any:
        file = real(self, *arguments, **more)
        return _Failing(file, left, code) if self.suffix == ".incomplete" else file

    patch.setattr(Path, "open", failing)


class _Failing:
    """A file that takes so many bytes and no more."""

    def __init__(self, file: Any, left: int, code: int) -> None:
        self.file, self.left, self.code = file, left, code

    def __enter__(self) -> _Failing:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def write(self, data: bytes) -> int:
        written = self.file.write(data[: self.left])
        self.left -= written
        if written < len(data):
            raise OSError(self.code, errno.errorcode[self.code])
        return written


# -- processes of their own --------------------------------------------------------------------------------------------


def _start(target: Callable[..., None], *arguments: Any) -> multiprocessing.process.BaseProcess:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "evermodels.checkpoints.load", "huggingface_hub.hf_api"])
    process = context.Process(target=target, args=arguments, daemon=True)
    process.start()
    return process


def _join(process: multiprocessing.process.BaseProcess) -> int:
    process.join(_PATIENCE)
    if process.exitcode is None:
        process.kill()
        raise AssertionError(f"{process.name} has not ended")
    return process.exitcode


@contextlib.contextmanager
def _in_child(url: str, home: Path, **environment: str) -> Iterator[None]:
    """Give a process the client, the class of the model, and one thread."""
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch, client_of(url, home, **environment):
        register_tiny(patch)
        yield


def _load_right(state: State, cache: Path, **arguments: Any) -> None:
    assert_equal(em.from_pretrained(REPO, cache_dir=cache, **arguments), state)


def _first_load(url: str, cache: Path, state: State, barrier: Any, name: str) -> None:
    with _in_child(url, cache.parent / "hf", HF_HUB_USER_AGENT_ORIGIN=name):
        barrier.wait(_PATIENCE)
        _load_right(state, cache)


def first_loads_at_once(w: World, killed_at: str = "", count: int = 8) -> int:
    """Eight processes make the first download at once; one is killed in the middle of it, the others load right."""
    if killed_at:
        w.hub.fault(f"GET .*/{killed_at}", "stall body", times=1)
    barrier = multiprocessing.get_context("forkserver").Barrier(count)
    names = [f"process-{number}" for number in range(count)]
    children = {name: _start(_first_load, w.hub.url, w.cache, w.model.state_dict(), barrier, name) for name in names}
    victim = ""
    if killed_at:
        agent = w.hub.wait_for(f"GET .*/{killed_at}", _PATIENCE).agent
        victim = next(name for name in names if f"origin/{name}" in agent)
        children[victim].kill()
        assert _join(children[victim]) == -signal.SIGKILL
        w.hub.mend()
    assert [name for name, child in children.items() if name != victim and _join(child)] == []
    w.loads()
    w.loads(local_files_only=True)
    return count


# -- killed at every step ----------------------------------------------------------------------------------------------


def killed_at_each_step(w: World) -> int:
    """A process is killed before the first, the second, … thing that it does to the cache; the next load is right."""
    places = w.cache.parent / "steps"
    assert _join(_start(_kill_at_each_step, w.hub.url, places, w.model.state_dict())) == 0
    return int((places / "count").read_text())


def _kill_at_each_step(url: str, places: Path, state: State) -> None:
    with _in_child(url, places / "hf"):
        for step in itertools.count(1):
            cache = places / str(step)
            if (child := os.fork()) == 0:
                torch.set_num_threads(1)  # a fork has none of its parent's worker threads, and would wait for them
                _die_at(step, cache)
                _load_right(state, cache)
                os._exit(0)
            _, status = os.waitpid(child, 0)
            with contextlib.suppress(CheckpointError):
                _load_right(state, cache, local_files_only=True)
            _load_right(state, cache)
            shutil.rmtree(cache)
            if status == 0:
                break
            assert os.WTERMSIG(status) == signal.SIGKILL
    (places / "count").write_text(str(step - 1))


def _die_at(step: int, cache: Path) -> None:
    left = itertools.count(step - 1, -1)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("open", "os.mkdir", "os.rename", "os.symlink", "os.remove", "os.chmod", "shutil.move"):
            touched = any(str(argument).startswith(str(cache)) for argument in arguments[:2])
            reads = event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR)
            if touched and not reads and next(left) == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


# -- a small disk ------------------------------------------------------------------------------------------------------


def small_disk(w: World) -> int:
    """A disk of a quarter of a megabyte, as full as one can be and a page less each time, until the model fits."""
    place = w.cache.parent / "disk"
    place.mkdir()
    report = w.cache.parent / "report"
    code = _join(_start(_fill_small_disk, w.hub.url, place, report, w.model.state_dict()))
    if code == NOT_PERMITTED:
        return disk_error(w, errno.ENOSPC, FULL)
    assert code == 0
    return int(report.read_text())


def _fill_small_disk(url: str, place: Path, report: Path, state: State) -> None:
    if not _mount_small_disk(place):
        sys.exit(NOT_PERMITTED)
    with _in_child(url, report.parent / "hf"):
        for free in itertools.count():
            cache, filler = place / "cache", place / "filler"
            cache.mkdir()
            _fill(filler, free)
            try:
                _load_right(state, cache)
                break
            except CheckpointError as error:
                assert "the disk is full" in str(error) and "Make room" in str(error), error
            with contextlib.suppress(CheckpointError):
                _load_right(state, cache, local_files_only=True)
            filler.unlink()
            _load_right(state, cache)
            shutil.rmtree(cache)
    report.write_text(str(free))


def _fill(path: Path, free: int) -> None:
    """Write a file that leaves so many pages of the disk."""
    with path.open("wb", buffering=0) as file:
        with contextlib.suppress(OSError):
            while file.write(bytes(_PAGE)):
                pass
        file.truncate(max(0, file.tell() - free * _PAGE))


def _mount_small_disk(place: Path) -> bool:
    """Mount a small disk that only this process sees, and that goes with it; return whether that is permitted."""
    new_user, new_mounts = 0x10000000, 0x00020000
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    try:
        if libc.unshare(new_user | new_mounts):
            return False
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
        return not libc.mount(b"tmpfs", bytes(place), b"tmpfs", 0, b"size=256k")
    except (AttributeError, OSError):
        return False


CASES: list[HubCase] = [
    HubCase("ENOSPC", "full disk", functools.partial(disk_error, code=errno.ENOSPC, message=FULL)),
    HubCase("EDQUOT", "full disk", functools.partial(disk_error, code=errno.EDQUOT, message=FULL)),
    HubCase("EROFS", "cache not writable", functools.partial(disk_error, code=errno.EROFS, message=LOCKED)),
    HubCase("small disk", "full disk", small_disk),
    HubCase("eight at once", "first download by eight processes", first_loads_at_once),
    *(
        HubCase(
            f"eight at once, one killed in {name}",
            "first download by eight processes",
            functools.partial(first_loads_at_once, killed_at=name),
        )
        for name in (CONFIG, WEIGHTS)
    ),
    HubCase("killed at each step", "process killed", killed_at_each_step),
]
