"""What can go wrong between the Hub and a model, as cases that the tests run and the fault table counts.

Each case meets its fault on the way of ``from_pretrained`` with the real client. It survives if nothing loads wrong,
the error says what to do, and once the fault is mended the same cache gives the right weights, with the
Hub and without.
"""

from __future__ import annotations

import contextlib
import functools
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import evermodels as em
from evermodels.checkpoints import table
from evermodels.checkpoints.verify import FileDigest
from evermodels.core.errors import CheckpointError, ChecksumError
from tests.checkpoints.conftest import Tiny, register_tiny
from tests.conftest import block_sockets
from tests.hub_server import HubServer, client_of

REPO = "lab/tiny"
CONFIG, WEIGHTS = "config.json", "model.safetensors"
NETWORK = r"the Hub cannot be reached\. Check the network, the proxy and HF_ENDPOINT and try again"
CUT = r"the download was cut short, and nothing of it is kept\. Load it again\."
CHANGED = r"this is not the file[\s\S]*load it again"
NOT_CACHED = r"is not in the cache, and local_files_only=True forbids to fetch it\. Load it once without"


@dataclass
class World:
    """A repository with a model on a server, and an empty cache to load it into."""

    hub: HubServer
    cache: Path
    folder: Path
    model: Tiny
    commit: str

    def load(self, name: str = REPO, **arguments: Any) -> Tiny:
        """Load the model."""
        return em.from_pretrained(name, cache_dir=self.cache, **arguments)

    def loads(self, name: str = REPO, **arguments: Any) -> None:
        """Load the model, and make sure that it is the right one."""
        assert_equal(self.load(name, **arguments), self.model.state_dict())

    def refuses(self, message: str, name: str = REPO, error: type = CheckpointError, **arguments: Any) -> None:
        """Make sure that loading fails with the message."""
        with pytest.raises(error, match=message):
            self.load(name, **arguments)

    def mended(self, name: str = REPO, **arguments: Any) -> None:
        """Mend the server, and make sure that the cache which met the fault gives the right weights."""
        self.hub.mend()
        self.loads(name, **arguments)
        self.loads(name, local_files_only=True)
        assert not list(self.cache.rglob("*.incomplete"))

    def put(self, **changed: Any) -> str:
        """Commit a changed model, and return the commit."""
        with torch.no_grad():
            for tensor, value in changed.items():
                getattr(self.model, tensor).fill_(value)
        self.model.save_pretrained(self.folder)
        return self.hub.commit(REPO, {path.name: path.read_bytes() for path in self.folder.iterdir()})


@dataclass(frozen=True)
class HubCase:
    """One fault.

    Args:
        name: What happens, and where.
        kind: Row of the fault table.
        run: Meets the fault, and returns how often; raises where it is not survived.
    """

    name: str
    kind: str
    run: Callable[[World], int]


@contextlib.contextmanager
def world(hub: HubServer, place: Path) -> Iterator[World]:
    """Make a repository with a model of some tens of kilobytes on a server that the client already speaks to."""
    with pytest.MonkeyPatch.context() as patch:
        model = register_tiny(patch).from_preset("tiny_test", dim=64)
        hub.create(REPO)
        made = World(hub, place / "cache", place / "saved", model.eval(), "")
        made.commit = made.put(scale=1.5)
        yield made


def run(case: HubCase, place: Path) -> int:
    """Run a case outside pytest, with a server of its own, and return how often its fault was met."""
    with HubServer() as hub, client_of(hub, place / "hf"), world(hub, place) as made:
        return case.run(made)


def assert_equal(model: Tiny, expected: dict[str, torch.Tensor]) -> None:
    """Make sure that a model has the expected weights, every one."""
    found = model.state_dict()
    assert list(found) == list(expected)
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


@contextlib.contextmanager
def impatient(fault: str | int = "") -> Iterator[None]:
    """Let the client wait for nothing between two tries, and a tenth of a second for a server that stalls."""
    from huggingface_hub import constants, file_download
    from huggingface_hub.utils import _http

    hurry = SimpleNamespace(sleep=lambda _: None, time=time.time)
    with pytest.MonkeyPatch.context() as patch:
        if str(fault).startswith("stall"):
            patch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 0.1)
            patch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.1)
            patch.setattr(file_download, "_ETAG_RETRY_TIMEOUT", 0.1, raising=False)
        for module in (file_download, _http):
            patch.setattr(module, "time", hurry)
        yield


# -- the server fails: at each of the four requests of a first load, and when files are cached already ----------------


def first_load(w: World, pattern: str, fault: str | int, message: str) -> int:
    w.hub.fault(pattern, fault)
    with impatient(fault):
        w.refuses(message)
        w.refuses(NOT_CACHED, local_files_only=True)
    assert met(w.hub, pattern)
    w.mended()
    return 1


def cached(w: World, fault: str | int) -> int:
    """The branch is asked for, the Hub fails, and what is cached is loaded."""
    w.loads()
    w.hub.fault("", fault)
    with impatient(fault):
        w.loads()
        w.loads(revision=w.commit)
    w.mended()
    return 2


def passing(w: World, fault: str | int) -> int:
    """The fault is over at the second try, and the load succeeds where the client tries again."""
    w.hub.fault(f"GET .*{WEIGHTS}", fault, times=1)
    with impatient(fault):
        try:
            w.loads()
        except CheckpointError:
            w.loads()
    w.mended()
    return 1


def moved_on(w: World, fault: str | int, message: str) -> int:
    """An older commit is cached, the branch has moved on, and the new weights fail: the old ones are not mixed in."""
    w.loads()
    newer = w.put(scale=7.0)
    w.hub.fault(f"GET .*{WEIGHTS}", fault)
    with impatient(fault):
        w.refuses(message)
    w.mended(revision=newer)
    w.loads()
    return 1


def met(hub: HubServer, pattern: str) -> bool:
    return any(re.search(pattern, f"{r.method} {r.path}") for r in hub.requests)


def _statuses() -> Iterator[tuple[int, str]]:
    for status in (401, 403):
        yield status, rf"the Hub refuses \(status {status}\)\. Log in \(hf auth login\), or give a token="
    yield 404, r"the Hub refuses \(status 404\)"
    yield 429, r"too many requests from here \(status 429\)\. Wait, and try again"
    for status in (500, 503):
        yield status, rf"the Hub has a fault \(status {status}\)\. Try again later; what is cached still loads"


def _server_faults() -> Iterator[HubCase]:
    heads = {"the question for config.json": f"HEAD .*/{CONFIG}", "the question for the weights": f"HEAD .*/{WEIGHTS}"}
    bodies = {"config.json": f"GET .*/{CONFIG}", "the weights": f"GET .*/{WEIGHTS}"}
    everywhere = [("stall", "stalls", NETWORK), ("reset", "resets the connection", NETWORK)]
    everywhere += [(status, f"answers {status}", message) for status, message in _statuses()]
    in_body = [
        ("stall body", "stalls", NETWORK),
        ("reset body", "resets the connection", NETWORK),
        ("cut", "sends half a file", NETWORK),
        ("short", "sends half a file", CUT),
        ("html", "sends a web page with status 200", CUT),
        ("wrong", "sends other content of the right size", CHANGED),
    ]
    rows = [(fault, kind, message, {**heads, **bodies}) for fault, kind, message in everywhere]
    rows += [(fault, kind, message, bodies) for fault, kind, message in in_body]
    rows.append(
        ("html", "sends a web page with status 200", r"the answer is not that of a Hub .* Check HF_ENDPOINT", heads)
    )
    for fault, kind, message, places in rows:
        for where, pattern in places.items():
            run = functools.partial(first_load, pattern=pattern, fault=fault, message=message)
            yield HubCase(f"{fault} at {where}", f"server {kind}", run)
    for fault, kind, message in everywhere:
        yield HubCase(f"{fault}, files cached", f"server {kind}", functools.partial(cached, fault=fault))
        run = functools.partial(moved_on, fault=fault, message=message)
        yield HubCase(f"{fault}, older commit cached", f"server {kind}", run)
    for fault, kind, _ in (*everywhere, *in_body):
        yield HubCase(f"{fault} once", f"server {kind}", functools.partial(passing, fault=fault))
    yield HubCase(
        "html, files cached", "server sends a web page with status 200", functools.partial(cached, fault="html")
    )


# -- what is not there, or not for everybody --------------------------------------------------------------------------


def no_repository(w: World) -> int:
    w.refuses(r"no such repository on the Hub, or a private one.*Check the spelling.*give token=", "lab/tinny")
    return 1


def private_repository(w: World) -> int:
    w.hub.repos[REPO].private = True
    for token in (None, False, w.hub.stranger_token):
        w.refuses(
            r"or a private one that this token may not see\. .*log in \(hf auth login\) or give token=", token=token
        )
    w.refuses(r"the Hub refuses \(status 401\)\. Log in .*or give a token=", token="hf_wrong")
    w.mended(token=w.hub.read_token)
    return 4


def gated_repository(w: World) -> int:
    w.hub.repos[REPO].gated = True
    for token in (None, w.hub.stranger_token):
        w.refuses(r"grant access one by one\. Ask for it on the repository's page, then give your token", token=token)
    w.mended(token=w.hub.read_token)
    return 2


def no_revision(w: World) -> int:
    for revision in ("nxet", "0" * 40):
        w.refuses(r"the repository has no such revision\. Check revision=, or leave it out", revision=revision)
    w.mended()
    return 2


def no_file(w: World, name: str) -> int:
    """The file comes with the next commit, so that its absence must not be remembered for the branch."""
    files = w.hub.repos[REPO].commits
    without = {file: data for file, data in files[w.commit].items() if file != name}
    whole, files[w.commit] = files[w.commit], without
    w.refuses(
        rf"the repository has no {CONFIG} with {WEIGHTS}, so it is no checkpoint of evermodels.*evermodels convert"
    )
    w.hub.commit(REPO, {name: whole[name]})
    w.mended()
    return 1


# -- content that is not the one of the table -------------------------------------------------------------------------


def listed(w: World, name: str) -> int:
    """The Hub itself gives other bytes for the table's commit, of the right size and with a digest that fits them."""
    digests = {path.name: FileDigest.of_file(path).to_dict() for path in w.folder.iterdir()}
    text = dict.fromkeys(("licence", "data", "protocol", "recipe"), "none")
    entry = {"bundled": False, "files": digests, "score": {"metric": "UAR", "value": 0.5}, **text}
    place = w.folder.parent / "table.json"
    place.write_text(
        json.dumps(
            {"format_version": 1, "entries": {"tiny_test.listed": {**entry, "repo_id": REPO, "revision": w.commit}}}
        )
    )
    files = w.hub.repos[REPO].commits[w.commit]
    right = files[name]
    flipped = [right[:at] + bytes([right[at] ^ 1]) + right[at + 1 :] for at in (len(right) // 2, len(right) - 2)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table, "TABLE_PATH", place)
        for data in flipped:
            files[name] = data
            message = (
                rf"{name}: this is not the file that was declared\.[\s\S]*{digests[name]['sha256']}[\s\S]*load it again"
            )
            w.refuses(message, "tiny_test.listed", error=ChecksumError)
            w.refuses(NOT_CACHED, "tiny_test.listed", local_files_only=True)
        files[name] = right
        w.mended("tiny_test.listed")
    return len(flipped)


def damaged_cache(w: World, name: str) -> int:
    """A cached file is damaged on the disk: found, removed, and fetched again."""
    damages: list[Callable[[bytes], bytes]] = [
        lambda data: data[: len(data) // 2],
        lambda data: b"",
        lambda data: bytes(len(data)),
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
    ]
    for damage in damages:
        w.loads()
        blob = (w.cache / "models--lab--tiny" / "snapshots" / w.commit / name).resolve()
        blob.write_bytes(damage(blob.read_bytes()))
        w.refuses(CHANGED, local_files_only=True)
        w.mended()
    return len(damages)


# -- no network -------------------------------------------------------------------------------------------------------


def no_network(w: World) -> int:
    with pytest.MonkeyPatch.context() as patch, impatient():
        block_sockets(patch, loopback=False)
        w.refuses(rf"{NETWORK}; without a network only what is cached, a bundled name or a folder can be loaded")
    w.mended()
    with pytest.MonkeyPatch.context() as patch, impatient():
        block_sockets(patch, loopback=False)
        for arguments in ({}, {"revision": w.commit}, {"local_files_only": True}):
            w.loads(**arguments)
    return 4


def nobody_listens(w: World) -> int:
    """The server is gone: connections are refused."""
    with HubServer() as gone:
        url = gone.url
    with client_of(url, w.cache.parent / "hf"), impatient():
        w.refuses(NETWORK)
    w.mended()
    with client_of(url, w.cache.parent / "hf"), impatient():
        w.loads()
    return 2


def offline(w: World) -> int:
    home = w.cache.parent / "hf"
    with client_of(w.hub, home, HF_HUB_OFFLINE="1"):
        w.refuses(r"not in the cache, and HF_HUB_OFFLINE is set\. Load it once with the network, or copy the cache")
    w.mended()
    before = len(w.hub.requests)
    with client_of(w.hub, home, HF_HUB_OFFLINE="1"):
        w.loads()
    assert len(w.hub.requests) == before
    return 2


CASES: list[HubCase] = [
    *_server_faults(),
    HubCase("no such repository", "server answers 404", no_repository),
    HubCase("no such revision", "server answers 404", no_revision),
    HubCase("no config.json", "server answers 404", functools.partial(no_file, name=CONFIG)),
    HubCase("no weights", "server answers 404", functools.partial(no_file, name=WEIGHTS)),
    HubCase("private repository", "server answers 401", private_repository),
    HubCase("gated repository", "server answers 403", gated_repository),
    HubCase("config.json of the table", "other content than the table's", functools.partial(listed, name=CONFIG)),
    HubCase("weights of the table", "other content than the table's", functools.partial(listed, name=WEIGHTS)),
    HubCase("config.json in the cache", "cached file damaged", functools.partial(damaged_cache, name=CONFIG)),
    HubCase("weights in the cache", "cached file damaged", functools.partial(damaged_cache, name=WEIGHTS)),
    HubCase("no network", "no network", no_network),
    HubCase("nobody listens", "no network", nobody_listens),
    HubCase("HF_HUB_OFFLINE", "no network", offline),
]
