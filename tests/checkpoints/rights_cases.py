"""Folders and files without permission, and an environment of nonsense, as cases for the tests and the fault table.

Root may read and write everything, so that what is tried here is done by another user: in a process of its own, which
gives its rights away where it has them.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import evermodels as em
from evermodels.checkpoints import bundle, table
from evermodels.checkpoints.convert import convert
from evermodels.core.errors import CheckpointError
from tests.checkpoints.cache_cases import COMMIT, REPO
from tests.checkpoints.local_cases import CONFIG, NAME, WEIGHTS, LocalCase, World, same
from tests.checkpoints.save_cases import in_child

DENIED = r"Permission denied"
CANNOT_WRITE = r"cannot be written .*Permission denied.* may be written .*what stood there before is untouched"
_NOBODY = 65534


@contextlib.contextmanager
def _open_place() -> Iterator[Path]:
    """Make a folder that every user may enter and write into, as those of the tests are not."""
    place = Path(tempfile.mkdtemp())
    place.chmod(0o777)
    try:
        yield place
    finally:
        shutil.rmtree(place)


def as_nobody(work: Callable[[], None], place: Path) -> None:
    """Do something without root's rights, with a weight table that everybody may read."""
    open_table = place / "open-table.json"
    open_table.write_text('{"format_version": 1, "entries": {}}')
    open_table.chmod(0o644)

    def do() -> None:
        table.TABLE_PATH = open_table  # of this process only
        if os.getuid() == 0:
            os.setgroups([])
            os.setgid(_NOBODY)
            os.setuid(_NOBODY)
        work()

    assert in_child(do) == 0


def _copied(w: World, place: Path) -> Path:
    folder = shutil.copytree(w.folder("folder"), place / "checkpoint")
    for path in (folder, *folder.iterdir()):
        path.chmod(0o755)
    return folder


def reading(w: World) -> int:
    """A file, its folder, or the folder above may not be read; each time the message says which and why."""
    closed = {CONFIG: 0, WEIGHTS: 0, ".": 0, "..": 0}
    for name in closed:
        with _open_place() as place:
            folder = _copied(w, place / "above" if (place / "above").mkdir() is None else place)
            (folder / name).resolve().chmod(0)

            def load(folder: Path = folder) -> None:
                with pytest.raises(CheckpointError, match=DENIED) as error:
                    em.from_pretrained(folder)
                assert str(folder) in str(error.value)

            as_nobody(load, place)
            (folder.parent).chmod(0o777)
            folder.chmod(0o777)
    return len(closed)


def writing(w: World) -> int:
    """Saving and converting into a folder that may not be written: refused, and what stood there loads."""
    with _open_place() as place:
        folder = _copied(w, place)
        folder.chmod(0o555)
        (place / "shut").mkdir(mode=0o555)

        def save() -> None:
            for target in (folder, place / "shut" / "new", place / "shut"):
                with pytest.raises(CheckpointError, match=CANNOT_WRITE):
                    w.model.save_pretrained(target, classes=("a", "b", "c"))
            same(em.from_pretrained(folder), w.model)

        as_nobody(save, place)
        assert list((place / "shut").iterdir()) == []
    return 4


def converting(w: World) -> int:
    """The same for ``convert``, for a source that may not be read and a target that may not be written."""
    source = em.create_model("videomae_nano", num_classes=3)
    options: dict[str, Any] = {"architecture": "videomae_nano", "licence": "mit", "config": None}
    with _open_place() as place:
        saved = source.save_pretrained(place / "source")
        for path in (saved, *saved.iterdir()):
            path.chmod(0o755)
        (place / "shut").mkdir(mode=0o555)
        (saved / WEIGHTS).chmod(0)

        def run() -> None:
            for where in (saved / WEIGHTS, saved):
                with pytest.raises(Exception) as error:
                    convert(where, place / "out", **options)
                assert isinstance(error.value, em.core.errors.EvermodelsError), error.value

        as_nobody(run, place)
        assert not (place / "out").exists()
    return 3


def bundling(w: World) -> int:
    """The package's folder belongs to somebody else, as it mostly does."""
    with _open_place() as place:
        folder = _copied(w, place)
        (place / "package").mkdir()
        (place / "package" / "table.json").write_text('{"format_version": 1, "entries": {}}')
        (place / "package").chmod(0o555)

        def add() -> None:
            with pytest.raises(CheckpointError, match=CANNOT_WRITE):
                bundle.add_to_table(
                    folder, NAME, licence="mit", data="d", protocol="p", recipe="r",
                    score={"metric": "UAR", "value": 0.5},
                    table_path=place / "package" / "table.json", bundled=place / "package" / "bundled",
                )  # fmt: skip

        as_nobody(add, place)
        assert [path.name for path in (place / "package").iterdir()] == ["table.json"]
    return 1


def cached(w: World) -> int:
    """A cache that may be read only: whole it loads; a damaged file in it cannot be removed, and that is said."""
    with _open_place() as place:
        snapshot = place / "cache" / "models--lab--tiny" / "snapshots" / COMMIT
        shutil.copytree(w.folder("folder"), snapshot)

        def shut(mode: int) -> None:
            for path in (place / "cache", *(place / "cache").rglob("*")):
                path.chmod(mode if path.is_dir() else 0o444)

        def load() -> None:
            same(em.from_pretrained(REPO, revision=COMMIT, cache_dir=place / "cache"), w.model)

        def damaged() -> None:
            with pytest.raises(CheckpointError, match=rf"(?s)not the file.*Remove .*{DENIED}.*and load it again"):
                em.from_pretrained(REPO, revision=COMMIT, cache_dir=place / "cache")

        shut(0o555)
        as_nobody(load, place)
        shut(0o755)
        data = (snapshot / WEIGHTS).read_bytes()
        (snapshot / WEIGHTS).chmod(0o644)
        (snapshot / WEIGHTS).write_bytes(bytes(len(data)))
        shut(0o555)
        as_nobody(damaged, place)
        assert (snapshot / WEIGHTS).exists()
        shut(0o755)
    return 2


# -- the environment ---------------------------------------------------------------------------------------------------


def environment(w: World, number: int) -> int:
    """Variables of nonsense: names and folders still load, a repository is an error of ours, and nothing is bare."""
    file = w.root / "a-file"
    file.write_text("x")
    settings = _environments(str(file))
    wanted = settings[number :: _GROUPS if w.thorough else 4 * _GROUPS]

    def run() -> None:
        _without_network()
        for setting in wanted:
            _forget_the_client()
            with pytest.MonkeyPatch.context() as patch:
                for name in [n for n in os.environ if n.startswith("HF_")]:
                    patch.delenv(name)
                for name, value in {
                    "HF_ENDPOINT": "http://127.0.0.1:9",
                    "HF_HOME": str(w.root / "hf"),
                    **setting,
                }.items():
                    patch.delenv(name, raising=False) if value is None else patch.setenv(name, value)
                w.loads("name")
                w.loads("folder")
                for arguments in ({}, {"local_files_only": True}, {"revision": COMMIT}):
                    with pytest.raises(CheckpointError) as error:
                        em.from_pretrained(REPO, **arguments)
                    assert len(str(error.value)) < 5000 and REPO in str(error.value)

    assert in_child(run) == 0
    return 5 * len(wanted)


_GROUPS = 4


def _environments(file: str) -> list[dict[str, str | None]]:
    folders = ("", "\n", file, f"{file}/sub", "/proc/none", "x" * 5000, "~", "$HOME/x")
    ends = (
        "",
        "\n",
        "nonsense",
        "ftp://x",
        "http://",
        "http://[",
        "http://127.0.0.1:99999",
        "://",
        "file:///etc/passwd",
    )
    return [
        *({name: value} for name in ("HF_HOME", "HF_HUB_CACHE") for value in folders),
        *({"HF_ENDPOINT": value} for value in ends),
        *({"HF_HUB_OFFLINE": value} for value in ("", "\n", "maybe", "2", "true")),
        *({"HF_TOKEN": value} for value in ("", "\n", "x\ny", "é", "hf_" + "x" * 50_000)),
        *({name: "nonsense"} for name in ("HF_HUB_ETAG_TIMEOUT", "HF_HUB_DOWNLOAD_TIMEOUT", "HF_HUB_VERBOSITY")),
        *({name: file} for name in ("HF_TOKEN_PATH", "HF_XET_CACHE", "SSL_CERT_FILE", "HTTP_PROXY")),
        *({"TMPDIR": value} for value in ("/nowhere", file, "")),
        *({"HOME": value} for value in (None, "", "/nowhere", file)),
    ]


def _forget_the_client() -> None:
    """The client reads its environment when it is imported."""
    tempfile.tempdir = None
    for name in [n for n in sys.modules if n.partition(".")[0] == "huggingface_hub"]:
        del sys.modules[name]


def _without_network() -> None:
    import logging
    import socket

    def refuse(*_: object, **__: object) -> None:
        raise ConnectionRefusedError(111, "Connection refused")

    logging.disable(logging.CRITICAL)
    time.sleep = lambda _: None  # the client waits between two tries
    socket.socket.connect = refuse  # type: ignore[method-assign]
    socket.getaddrinfo = refuse  # type: ignore[assignment]


CASES: list[LocalCase] = [
    LocalCase("reading", "without permission, as another user", reading),
    LocalCase("saving", "without permission, as another user", writing),
    LocalCase("converting", "without permission, as another user", converting),
    LocalCase("bundling", "without permission, as another user", bundling),
    LocalCase("cache", "without permission, as another user", cached),
    *(
        LocalCase(f"variables {n}", "environment of nonsense", functools.partial(environment, number=n))
        for n in range(_GROUPS)
    ),
]
