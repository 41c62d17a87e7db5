"""Crafted caches of the Hub that lead out of themselves, as cases that the tests run and the fault table counts.

Nothing outside the cache is read as a checkpoint, and nothing outside is removed, whatever the digests say.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import evermodels as em
from evermodels.checkpoints import hub
from evermodels.core.errors import CheckpointError, ChecksumError
from tests.checkpoints.local_cases import CONFIG, WEIGHTS, LocalCase, World, same

LED_OUT = r"outside the checkpoint's folder|has a folder of its own|is not in the cache, and local_files_only"
REPO, COMMIT, OTHER = "lab/tiny", "a" * 40, "b" * 40
WAYS: tuple[dict[str, Any], ...] = (
    {"local_files_only": True},
    {"revision": COMMIT},
    {"revision": COMMIT, "local_files_only": True},
)


@dataclass
class Cache:
    """A cache that holds the model, with blobs named as the Hub names them, and a person's own folder beside it."""

    root: Path
    model: Any
    home: Path

    @property
    def repository(self) -> Path:
        return self.root / "models--lab--tiny"

    @property
    def snapshot(self) -> Path:
        return self.repository / "snapshots" / COMMIT

    def link(self, name: str, target: Path | str) -> None:
        """Let a file of the snapshot lead elsewhere."""
        (self.snapshot / name).unlink()
        (self.snapshot / name).symlink_to(target)

    def spoil(self, name: str = CONFIG) -> None:
        """Let a file lead to a blob that does not hold what its name says."""
        blob = self.repository / "blobs" / ("c" * (40 if name == CONFIG else 64))
        blob.write_bytes(b"{}")
        self.link(name, Path("../../blobs") / blob.name)

    def load(self, **arguments: Any) -> Any:
        return em.from_pretrained(REPO, cache_dir=self.root, **arguments)


def make(w: World, number: int) -> Cache:
    cache = Cache(w.root / f"cache-{number}", w.model, w.root / f"home-{number}")
    cache.snapshot.mkdir(parents=True)
    for folder in ("blobs", "refs"):
        (cache.repository / folder).mkdir()
    (cache.repository / "refs" / "main").write_text(COMMIT)
    for name in (CONFIG, WEIGHTS):
        data = (w.folder("folder") / name).read_bytes()
        git = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        blob = git if name == CONFIG else hashlib.sha256(data).hexdigest()
        (cache.repository / "blobs" / blob).write_bytes(data)
        (cache.snapshot / name).symlink_to(Path("../../blobs") / blob)
    same(cache.load(revision=COMMIT), w.model)
    shutil.copytree(w.folder("folder"), cache.home)
    (cache.home / "thesis.tex").write_text("years of work")
    (cache.home / ("d" * 64)).write_text("more of it")
    return cache


def outside(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def move_out(cache: Cache, place: Path) -> None:
    """Move a folder of the cache out of it, and leave a link."""
    target = cache.home / place.name
    shutil.move(place, target)
    place.symlink_to(target, target_is_directory=True)


def relative(cache: Cache, name: str) -> str:
    return os.path.relpath(cache.home / name, cache.snapshot)


def _blob_out(cache: Cache, name: str) -> None:
    """The file is a link to a blob, as it should be, and the blob is a link out of the cache."""
    blob = cache.repository / "blobs" / ("d" * 64)
    blob.symlink_to(cache.home / "thesis.tex")
    cache.link(name, Path("../../blobs") / blob.name)


def _commit_out(cache: Cache) -> None:
    shutil.rmtree(cache.snapshot)
    (cache.home / CONFIG).write_bytes(b"{}")
    cache.snapshot.symlink_to(cache.home, target_is_directory=True)


def _commit_out_in_shape(cache: Cache) -> None:
    """The commit is a link to a folder of files that has the shape of a cache, all of it outside."""
    there = cache.home / "models--x--y" / "snapshots" / "z"
    shutil.copytree(cache.root, cache.home / "copy", symlinks=True)
    there.parent.mkdir(parents=True)
    shutil.move(cache.home / "copy" / "models--lab--tiny" / "blobs", there.parents[1] / "blobs")
    shutil.move(cache.home / "copy" / "models--lab--tiny" / "snapshots" / COMMIT, there)
    blob = there.parents[1] / "blobs" / ("c" * 64)
    blob.write_bytes(b"weights of somebody else")
    (there / WEIGHTS).unlink()
    (there / WEIGHTS).symlink_to(Path("../../blobs") / blob.name)
    shutil.rmtree(cache.snapshot)
    cache.snapshot.symlink_to(there, target_is_directory=True)


def _moved(cache: Cache, *, place: str, name: str) -> None:
    cache.spoil(name)
    for file in (CONFIG, WEIGHTS):  # links that still lead to the blobs from where the folder goes
        cache.link(file, (cache.snapshot / file).resolve())
    move_out(cache, {"commit": cache.snapshot, "repository": cache.repository}.get(place, cache.repository / place))


def _link(cache: Cache, *, name: str, far: bool, spoiled: bool) -> None:
    cache.link(name, cache.home / name if far else relative(cache, name))
    if spoiled:
        cache.spoil(WEIGHTS if name == CONFIG else CONFIG)


def _other_file(cache: Cache, *, name: str) -> None:
    cache.link(name, cache.home / "thesis.tex")
    cache.spoil(WEIGHTS if name == CONFIG else CONFIG)


CRAFTED: dict[str, Callable[[Cache], None]] = {
    **{
        f"{name}, {'absolute' if far else 'relative'}{', the other spoiled' if spoiled else ''}": functools.partial(
            _link, name=name, far=far, spoiled=spoiled
        )
        for name in (CONFIG, WEIGHTS)
        for far in (True, False)
        for spoiled in (True, False)
    },
    **{f"{name} to some file": functools.partial(_other_file, name=name) for name in (CONFIG, WEIGHTS)},
    **{f"blob of {name}": functools.partial(_blob_out, name=name) for name in (CONFIG, WEIGHTS)},
    **{
        f"folder {place}, {name} spoiled": functools.partial(_moved, place=place, name=name)
        for place in ("commit", "snapshots", "blobs", "repository")
        for name in (CONFIG, WEIGHTS)
    },
    "folder commit to a person's folder": _commit_out,
    "folder commit to what looks like a cache": _commit_out_in_shape,
}


def crafted(w: World, name: str) -> int:
    for number, arguments in enumerate(WAYS):
        cache = make(w, number)
        CRAFTED[name](cache)
        before = outside(cache.home)
        with pytest.raises(CheckpointError, match=LED_OUT) as error:
            cache.load(**arguments)
        assert not isinstance(error.value, ChecksumError)
        # The removal alone is as careful.
        if cache.snapshot.exists() and "by hand" not in hub.forget(cache.snapshot):
            raise AssertionError("something was removed")
        assert outside(cache.home) == before
    return 2 * len(WAYS)


def refs(w: World) -> int:
    """The file that names a branch's commit leads elsewhere, and so does one that is called like the pinned commit."""
    texts = ["../../home-0", str(w.root / "home-0"), "..", ".", "", "main", "\0", OTHER[:39], "A" * 40, COMMIT + "\n"]
    for text in texts:
        cache = make(w, 0)
        (cache.repository / "refs" / "main").write_text(text)
        before = outside(cache.home)
        with pytest.raises(CheckpointError):
            cache.load(local_files_only=True)
        assert outside(cache.home) == before
        shutil.rmtree(cache.root)
        shutil.rmtree(cache.home)
    cache = make(w, 0)
    shutil.copytree(cache.snapshot, cache.snapshot.with_name(OTHER), symlinks=True)
    (cache.repository / "refs" / COMMIT).write_text(OTHER)
    for arguments in WAYS[1:]:
        with pytest.raises(CheckpointError, match=rf"the cache leads to '{OTHER}' for {COMMIT}, which is not its com"):
            cache.load(**arguments)
    return len(texts) + 2


def spoiled(w: World, name: str) -> int:
    """Within the cache the spoiled files are removed, links and blobs, and what else lies there stays."""
    for number, arguments in enumerate(WAYS):
        cache = make(w, number)
        kept = {path: path.read_bytes() for path in (cache.repository / "blobs").iterdir()}
        cache.spoil(name)
        shared = cache.root / "blobs"
        if arguments == WAYS[0]:  # the blob lies where repositories share theirs
            blob = (cache.snapshot / name).resolve()
            shared.mkdir()
            shutil.move(blob, shared / blob.name)
            blob.symlink_to(Path("../../blobs") / blob.name)
        with pytest.raises(ChecksumError, match=r"this is not the file [\s\S]*Its cached copy was removed: load it"):
            cache.load(**arguments)
        assert list(cache.snapshot.iterdir()) == []
        assert not shared.exists() or list(shared.iterdir()) == []
        left = set((cache.repository / "blobs").iterdir())
        assert left == {path for path in kept if (len(path.name) == 40) == (name == CONFIG)}
    return len(WAYS)


def followed(w: World) -> int:
    """The cache itself may be a link, as people make one to a larger disk."""
    cache = make(w, 0)
    (w.root / "elsewhere").symlink_to(cache.root, target_is_directory=True)
    for arguments in WAYS:
        same(em.from_pretrained(REPO, cache_dir=w.root / "elsewhere", **arguments), w.model)
    return len(WAYS)


def _cases() -> Iterator[LocalCase]:
    kind = "crafted Hub cache that leads out of itself"
    for name in CRAFTED:
        yield LocalCase(name, kind, functools.partial(crafted, name=name))
    yield LocalCase("name of a commit", kind, refs)
    yield LocalCase("a link to the cache", kind, followed)
    for name in (CONFIG, WEIGHTS):
        yield LocalCase(f"spoiled {name}", kind, functools.partial(spoiled, name=name))


CASES: list[LocalCase] = list(_cases())
