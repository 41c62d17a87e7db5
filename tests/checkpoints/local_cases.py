"""What can go wrong with files on this machine, as cases that the tests run and the fault table counts.

Each case damages a folder or a bundled checkpoint, loads it as users do, and survives if what is loaded is exactly what
was saved, or if the error says what to do.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import pickle
import re
import shutil
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file, save_file

import evermodels as em
from evermodels.checkpoints import table
from evermodels.checkpoints.verify import FileDigest
from evermodels.core.errors import CheckpointError, ConfigError
from tests.checkpoints.conftest import Tiny, register_tiny

CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
NAME = "tiny_test.own"
CHANGED = r"(?s)this is not the file that was declared.*found: .*declared: .*(Get the folder again|pip install --force)"
NOT_WHOLE = r"not a whole safetensors file .*get the checkpoint again"
PICKLE = r"a pickle can run any code when it is opened.* from model.safetensors only.*evermodels convert"
OUTSIDE = r"which is outside the checkpoint's folder\. Give the folder that holds the file itself, or put a copy here"


class LocalCase(NamedTuple):
    """One fault.

    Args:
        name: What is damaged, and how.
        kind: Row of the fault table.
        run: Meets the fault, and returns how often; raises where it is not survived.
    """

    name: str
    kind: str
    run: Callable[[World], int]


@dataclass
class World:
    """One model, saved in three ways: with digests, without them, and as a bundled name of a table.

    Args:
        root: Scratch.
        model: The model.
        thorough: Whether every byte has its turn, or a few.
    """

    root: Path
    model: Tiny
    thorough: bool = False

    def folder(self, where: str) -> Path:
        """Return the folder of ``"folder"``, ``"bare"`` or ``"name"``."""
        return self.root / "bundled" / NAME if where == "name" else self.root / where

    def load(self, where: str) -> Tiny:
        """Load as users do."""
        return em.from_pretrained(NAME if where == "name" else self.folder(where))

    def loads(self, where: str) -> None:
        """Make sure that exactly what was saved is loaded."""
        same(self.load(where), self.model)

    def refuses(self, where: str, message: str) -> None:
        """Make sure that loading fails with the message."""
        with pytest.raises((CheckpointError, ConfigError), match=message):
            self.load(where)

    def refuses_or_loads(self, where: str) -> None:
        """Make sure that loading fails, or gives exactly what was saved."""
        try:
            loaded = self.load(where)
        except (CheckpointError, ConfigError):
            return
        same(loaded, self.model)

    @contextlib.contextmanager
    def changed(self, where: str, name: str, data: bytes) -> Iterator[None]:
        """Put other content into a file for a while."""
        path = self.folder(where) / name
        before = path.read_bytes()
        path.write_bytes(data)
        yield
        path.write_bytes(before)

    def some(self, positions: range) -> range:
        """Return all of the positions, or about eight."""
        return positions if self.thorough else positions[:: max(len(positions) // 8, 1)]


def same(loaded: Tiny, model: Tiny) -> None:
    """Make sure that a model is the saved one: weights, classes, input spec, provenance."""
    found, expected = loaded.state_dict(), model.state_dict()
    assert list(found) == list(expected)
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    assert (loaded.config, loaded.input_spec, loaded.classes) == (model.config, model.input_spec, ("a", "b", "c"))
    assert loaded.provenance == {"recipe": "by hand"}
    assert torch.equal(loaded(torch.ones(2, 6)), model(torch.ones(2, 6)))


def prepare(root: Path) -> Path:
    """Save a model of some hundred bytes in the three ways into a folder, and return it."""
    with pytest.MonkeyPatch.context() as patch:
        model = _model(patch)
        for where in ("folder", "bare"):
            model.save_pretrained(root / where, classes=("a", "b", "c"), training={"recipe": "by hand"})
        edit(root / "bare", lambda content: content.pop("files"))
        list_in_table(root / "folder", root)
    return root


@contextlib.contextmanager
def world(root: Path, prepared: Path, *, thorough: bool = False) -> Iterator[World]:
    """Copy what :func:`prepare` has saved, and make its table the one of the package."""
    shutil.copytree(prepared, root, dirs_exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        model = _model(patch)
        use_table(patch, root)
        yield World(root, model, thorough)


def _model(patch: pytest.MonkeyPatch) -> Tiny:
    torch.manual_seed(0)
    return register_tiny(patch).from_preset("tiny_test").eval()


def list_in_table(folder: Path, root: Path) -> Path:
    """Write a table whose only entry is a bundled copy of a folder, and return the copy."""
    bundled = root / "bundled" / NAME
    shutil.copytree(folder, bundled)
    text = dict.fromkeys(("licence", "data", "protocol", "recipe"), "none")
    files = {path.name: FileDigest.of_file(path).to_dict() for path in bundled.iterdir()}
    entry = {"bundled": True, "files": files, "score": {"metric": "UAR", "value": 0.5}, **text}
    (root / "table.json").write_text(json.dumps({"format_version": 1, "entries": {NAME: entry}}))
    return bundled


def use_table(patch: pytest.MonkeyPatch, root: Path) -> None:
    """Let the package read the table and the bundled files of :func:`list_in_table`."""
    patch.setattr(table, "TABLE_PATH", root / "table.json")
    patch.setattr(table, "BUNDLED", root / "bundled")


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change ``config.json`` on purpose: its own digest is taken out, as its message says."""
    path = folder / CONFIG
    content = json.loads(path.read_text())
    content.pop("sha256", None)
    change(content)
    path.write_text(json.dumps(content))


def rewrite(folder: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor] | None]) -> None:
    """Change the weights on purpose: their digest is taken out of ``config.json``, as its message says."""
    tensors = {name: tensor.clone() for name, tensor in load_file(folder / WEIGHTS).items()}
    changed = change(tensors)
    save_file(tensors if changed is None else changed, folder / WEIGHTS)
    edit(folder, lambda content: content.pop("files", None))


def parts(data: bytes) -> dict[str, range]:
    """Return where the header's length, the header, the first and the last tensor of a safetensors file lie."""
    (length,) = struct.unpack("<Q", data[:8])
    offsets = sorted(row["data_offsets"] for key, row in json.loads(data[8 : 8 + length]).items() if key[:2] != "__")
    start = 8 + length
    return {
        "length": range(8),
        "header": range(8, start),
        "first tensor": range(start, start + offsets[0][1]),
        "last tensor": range(start + offsets[-1][0], len(data)),
    }


# -- damaged bytes -----------------------------------------------------------------------------------------------------


def flip(w: World, where: str, part: str) -> int:
    data = (w.folder(where) / WEIGHTS).read_bytes()
    places = w.some(parts(data)[part])
    for at in places:
        with w.changed(where, WEIGHTS, data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :]):
            w.refuses_or_loads(where) if where == "bare" else w.refuses(where, CHANGED)
    return len(places)


def flip_config(w: World, where: str) -> int:
    data = (w.folder(where) / CONFIG).read_bytes()
    places = w.some(range(len(data)))
    for at in places:
        with w.changed(where, CONFIG, data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :]):
            w.refuses(where, CHANGED) if where == "name" else w.refuses_or_loads(where)
    return len(places)


def cut(w: World, where: str, name: str) -> int:
    data = (w.folder(where) / name).read_bytes()
    ends = {0, 4, len(data) // 2, len(data) - 1, *w.some(range(len(data)))}
    if name == WEIGHTS:
        header = parts(data)["header"].stop
        ends |= {header - 1, header, (header + len(data)) // 2}
        for end in ends:
            with w.changed(where, name, data[:end]):
                w.refuses(where, NOT_WHOLE if where == "bare" else CHANGED)
        return len(ends)
    for end in ends:
        with w.changed(where, name, data[:end]):
            w.refuses_or_loads(where)  # config.json ends in a line break that nobody needs
    return len(ends)


def longer(w: World, where: str) -> int:
    data = (w.folder(where) / WEIGHTS).read_bytes()
    for tail in (b"\0", b"\n", bytes(5000), data):
        with w.changed(where, WEIGHTS, data + tail):
            w.refuses(where, NOT_WHOLE if where == "bare" else CHANGED)
    return 4


class Payload:
    """Writes a marker when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return (open, (str(self.marker), "w"))


def something_else(w: World, where: str) -> int:
    contents = [
        (b"<!DOCTYPE html><html>not found</html>", r"a web page, not weights .*The download failed: repeat it"),
        (b"\n <html>", r"a web page, not weights"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", r"Git LFS pointer.*git lfs pull"),
        (b"PK\x03\x04" + bytes(100), PICKLE),
        (b"", NOT_WHOLE),
        (b"{}", NOT_WHOLE),
        (struct.pack("<Q", 1 << 60) + b"{}", NOT_WHOLE),
        (struct.pack("<Q", 100_000_001) + b"{}", NOT_WHOLE),
        (struct.pack("<Q", 2) + b"{}", r"(?s)does not fit the model, and nothing was loaded.*missing +14"),
        (struct.pack("<Q", 1) + b"{", NOT_WHOLE),
        (struct.pack("<Q", 100_000) + b"[" * 100_000, NOT_WHOLE),
    ]
    for content, message in contents:
        with w.changed(where, WEIGHTS, content):
            w.refuses(where, message if where == "bare" else CHANGED)
    with w.changed(where, CONFIG, contents[0][0]):
        w.refuses(where, CHANGED if where == "name" else r"expected JSON, got b'<!DOCTYPE.*get the checkpoint again")
    return len(contents) + 1


def right_size(w: World, where: str) -> int:
    """Zeros, noise, the file backwards, and whole weights of the same names and shapes from another training."""
    data = (w.folder(where) / WEIGHTS).read_bytes()
    other = Tiny(w.model.config).save_pretrained(w.root / "other") / WEIGHTS
    contents = [bytes(len(data)), os.urandom(len(data)), data[::-1], other.read_bytes()]
    for content in contents:
        assert len(content) == len(data)
        with w.changed(where, WEIGHTS, content):
            w.refuses(where, CHANGED)
    return len(contents)


def two_saves(w: World) -> int:
    """A config.json of one training beside the weights of another."""
    other = Tiny(w.model.config).save_pretrained(w.root / "other")
    shutil.copy(other / CONFIG, w.folder("folder"))
    w.refuses("folder", CHANGED)
    return 1


def wrong_in_table(w: World, name: str) -> int:
    content = json.loads(table.TABLE_PATH.read_text())
    right = content["entries"][NAME]["files"][name]
    wrong = [{"sha256": "ab" * 32}, {"size": right["size"] + 1}, {"sha256": right["sha256"][::-1]}, {"size": 0}]
    for change in wrong:
        content["entries"][NAME]["files"][name] = {**right, **change}
        table.TABLE_PATH.write_text(json.dumps(content))
        w.refuses("name", rf"(?s){name}: {CHANGED[4:]}")
    return len(wrong)


def wrong_in_config(w: World) -> int:
    wrong: list[dict[str, Any]] = [{"sha256": "ab" * 32}, {"size": 3}, {"sha256": "0"}, {"size": -1}, {"size": 1.5}]
    data = (w.folder("folder") / CONFIG).read_bytes()
    for change in wrong:
        with w.changed("folder", CONFIG, data):
            edit(w.folder("folder"), lambda content, change=change: content["files"][WEIGHTS].update(change))
            w.refuses("folder", r"this is not the file that was declared|sha256: expected 64|size: expected")
    return len(wrong)


# -- hostile content ---------------------------------------------------------------------------------------------------


def payload(w: World, where: str, name: str) -> int:
    """A pickle that runs code when it is opened, in place of the weights, or beside a folder without them."""
    marker, folder = w.root / "marker", w.folder(where)
    (folder / WEIGHTS).unlink()
    pickles = [pickle.dumps(Payload(marker), protocol) for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1)]
    torch.save(Payload(marker), w.root / "zip")
    for content in (*pickles, (w.root / "zip").read_bytes()):
        (folder / name).write_bytes(content)
        w.refuses(where, CHANGED if where != "bare" and name == WEIGHTS else PICKLE)
        if name != WEIGHTS:
            with pytest.raises(CheckpointError, match=PICKLE):
                em.from_pretrained(folder / name)
    assert not marker.exists()
    pickle.loads(pickles[0]).close()
    assert marker.exists()  # the payload does work
    return len(pickles) + 1


HOSTILE = (
    "../model.safetensors",
    "../../etc/passwd",
    "/etc/passwd",
    "C:\\model.safetensors",
    "C:model.safetensors",
    "\\\\server\\share\\model.safetensors",
    "//server/share/model.safetensors",
    "..\\model.safetensors",
    "model.safetensors\0.bin",
    "\0",
    "",
    ".",
    "..",
    "NUL",
    "con",
    "~/model.safetensors",
    "file:///etc/passwd",
    "$HOME/x",
)


def hostile_names(w: World, where: str) -> int:
    """Names that lead elsewhere: as argument, in config.json, in the table, and as names of tensors."""
    names = [name for name in HOSTILE if (where, name) != ("tag", "con")]  # tiny_test.con is a name like others
    for name in names:
        if where == "argument":
            with pytest.raises(CheckpointError, match=r"neither a pretrained name|cannot be read|a file; give its"):
                em.from_pretrained(name)
        elif where == "files":
            digest = {"size": 1, "sha256": "0" * 64}
            edit(w.folder("folder"), lambda content, name=name: content.update(files={name: digest}))  # noqa: B023
            w.refuses("folder", r"files: expected only 'model.safetensors'")
        elif where == "architecture":
            edit(w.folder("folder"), lambda content, name=name: content.update(architecture=name))
            w.refuses("folder", r"architecture: .* does not exist")
        elif where == "tensor":
            save_file({**load_file(w.folder("folder") / WEIGHTS), name: torch.ones(1)}, w.folder("bare") / WEIGHTS)
            w.refuses("bare", r"(?s)unexpected +1 .*Use the config.json that was written together|not a whole safe")
        else:
            content = json.loads(table.TABLE_PATH.read_text())
            entry = content["entries"][NAME]
            entries = {
                "entry": {name: entry},
                "tag": {f"tiny_test.{name}": entry},
                "file": {NAME: {**entry, "files": {**entry["files"], name: entry["files"][WEIGHTS]}}},
                "repo": {NAME: {**entry, "repo_id": name, "revision": "0" * 40}},
                "revision": {NAME: {**entry, "repo_id": "lab/tiny", "revision": name}},
            }[where]
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(table, "TABLE_PATH", w.root / "hostile.json")
                table.TABLE_PATH.write_text(json.dumps({**content, "entries": entries}))
                with pytest.raises(ConfigError):
                    w.load("name")
    return len(names)


def linked(w: World, name: str) -> int:
    """Links that lead out of the folder are refused; those within it, and a link to the whole folder, are followed."""
    folder, outside = w.folder("folder"), w.root / "outside"
    shutil.copytree(folder, outside)
    real = folder / name
    targets = [outside / name, Path("..") / "outside" / name, outside / "nothing", Path("/dev/zero"), Path("/dev/null")]
    targets.append(w.folder("folder").parent / "folder-of-another" / name)
    for target in targets:
        real.unlink()
        real.symlink_to(target)
        w.refuses("folder", OUTSIDE)
    real.unlink()
    real.symlink_to(name)
    w.refuses("folder", r"cannot be read .*A checkpoint is a folder with config.json and model.safetensors")
    real.unlink()
    shutil.copy(outside / name, folder / "real")
    real.symlink_to("real")
    w.loads("folder")
    (w.root / "link").symlink_to(folder, target_is_directory=True)
    same(em.from_pretrained(w.root / "link"), w.model)
    return len(targets) + 3


def cached(w: World, name: str) -> int:
    """In the Hub's cache the files are links to blobs of the repository, and to nothing else."""
    cache = w.root / "models--lab--tiny"
    snapshot = cache / "snapshots" / ("0" * 40)
    shutil.copytree(w.folder("folder"), cache / "blobs")
    snapshot.mkdir(parents=True)
    for file in (CONFIG, WEIGHTS):
        (snapshot / file).symlink_to(Path("../../blobs") / file)
    same(em.from_pretrained(snapshot), w.model)
    targets = [w.folder("folder") / name, Path("../..") / "refs", Path("../../..") / "folder" / name]
    for target in targets:
        (snapshot / name).unlink()
        (snapshot / name).symlink_to(target)
        with pytest.raises(CheckpointError, match=OUTSIDE):
            em.from_pretrained(snapshot)
    return len(targets) + 1


def no_file(w: World, name: str) -> int:
    """A missing file, a folder, a pipe that nobody writes to, a socket, and a text of fifty megabytes."""
    path = w.folder("folder") / name
    message = rf"{re.escape(name)}: .*A checkpoint is a folder with config.json and model.safetensors"
    path.unlink()
    w.refuses("folder", message)
    path.mkdir()
    w.refuses("folder", message)
    path.rmdir()
    os.mkfifo(path)
    w.refuses("folder", message)
    path.unlink()
    with pytest.MonkeyPatch.context() as patch, socket.socket(socket.AF_UNIX) as listener:
        patch.chdir(path.parent)  # the path of a socket may not be long
        listener.bind(name)
        w.refuses("folder", message)
    path.unlink()
    with path.open("wb") as file:
        file.truncate(50_000_000)
    w.refuses("folder", message if name == CONFIG else CHANGED)
    return 5


def _cases() -> Iterator[LocalCase]:
    def case(kind: str, run: Callable[..., int], **arguments: Any) -> LocalCase:
        detail = ", ".join([run.__name__.replace("_", " "), *map(str, arguments.values())])
        return LocalCase(detail, kind, functools.partial(run, **arguments))

    places = {"folder": "folder", "bare": "folder without digests", "name": "bundled name"}
    for where, label in places.items():
        for part in ("length", "header", "first tensor", "last tensor"):
            if where != "bare" or part in ("length", "header"):  # values without a digest cannot be told from others
                yield case(f"byte flipped in the weights, {label}", flip, where=where, part=part)
        if where != "bare":
            yield case(f"byte flipped in config.json, {label}", flip_config, where=where)
            yield case(f"right size, wrong content, {label}", right_size, where=where)
        for name in (WEIGHTS, CONFIG) if where != "bare" else (WEIGHTS,):
            yield case(f"cut short, {label}", cut, where=where, name=name)
        yield case(f"bytes added, {label}", longer, where=where)
        yield case(f"web page or something else, {label}", something_else, where=where)
        yield case("pickle with a payload", payload, where=where, name=WEIGHTS)
    yield case("right size, wrong content, folder", two_saves)
    for name in (CONFIG, WEIGHTS):
        yield case("wrong digest or size in the table", wrong_in_table, name=name)
        yield case("link out of the folder", linked, name=name)
        yield case("link out of the Hub's cache", cached, name=name)
        yield case("no file, a pipe, a socket, a huge one", no_file, name=name)
    yield case("wrong digest or size in config.json", wrong_in_config)
    for name in ("pytorch_model.bin", "model.pt", "checkpoint.pth", "last.CKPT"):
        yield case("pickle with a payload", payload, where="bare", name=name)
    for where in ("argument", "files", "architecture", "tensor", "entry", "tag", "file", "repo", "revision"):
        yield case("hostile name (../, /, C:\\, \\\\server, NUL, …)", hostile_names, where=where)


CASES: list[LocalCase] = list(_cases())
