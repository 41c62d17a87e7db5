"""Fixtures that every test may use."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.hub_server import HubServer, client_of

GOLDEN = Path(__file__).parent / "golden"


def _missing(what: str, way_out: str) -> None:
    message = f"{what} is missing; {way_out}"
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real recordings; with CI=true its absence is a failure, elsewhere a skip that says why."""
    folder = Path(os.environ.get("EVERMODELS_DATA", "../shared/data"))
    if not folder.is_dir():
        _missing(f"the folder of real recordings ({folder})", "set EVERMODELS_DATA to it")
    return folder.resolve()


@pytest.fixture(autouse=True, scope="module")
def _nothing_compiled() -> None:
    """Forget what other files compiled: of a forward that classes share, torch keeps no more than eight kinds."""
    if "torch._dynamo" in sys.modules:
        torch.compiler.reset()


@pytest.fixture
def golden():
    """A function that loads one file of reference numbers, with the tensors grouped by their first name part."""

    def load(name: str) -> dict[str, dict[str, torch.Tensor]]:
        from safetensors.torch import load_file

        path = GOLDEN / f"{name}.safetensors"
        if not path.is_file():
            _missing(f"the reference numbers {path.name}", "restore tests/golden from the repository")
        groups: dict[str, dict[str, torch.Tensor]] = {}
        for key, tensor in load_file(path).items():
            group, _, rest = key.partition("/")
            groups.setdefault(group, {})[rest] = tensor
        return groups

    return load


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _no_network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """No socket leaves the machine, and only tests with a server of their own may speak to the machine itself."""
    block_sockets(monkeypatch, loopback=not {"hub", "publisher"}.isdisjoint(request.fixturenames))


def block_sockets(monkeypatch: pytest.MonkeyPatch, *, loopback: bool) -> None:
    """Let sockets reach nothing, or nothing but this machine, as on a machine without a network."""

    def check(host: object) -> None:
        text = str(host)
        try:
            local = text == "localhost" or ipaddress.ip_address(text).is_loopback
        except ValueError:
            local = False
        if not (loopback and local):
            raise OSError(errno.ENETUNREACH, f"tests have no network, and this one wants {text}: use the fixture hub")

    def guarded(name: str, address_at: int = 0):
        real = getattr(socket.socket, name)

        def call(self: socket.socket, *args: object) -> object:
            if self.family in (socket.AF_INET, socket.AF_INET6):
                check(args[address_at][0])
            return real(self, *args)

        monkeypatch.setattr(socket.socket, name, call)

    guarded("connect")
    guarded("connect_ex")
    guarded("sendto", -1)
    real = socket.getaddrinfo

    def getaddrinfo(host: object, *args: object, **more: object) -> object:
        if host:  # nothing is looked up for an address to listen at
            check(host.decode() if isinstance(host, bytes) else host)
        return real(host, *args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubServer]:
    """A Hub on this machine, to which the real client speaks, with a cache in ``tmp_path`` and no token."""
    with HubServer() as server, client_of(server, tmp_path / "hf"):
        yield server
