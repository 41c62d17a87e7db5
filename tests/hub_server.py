"""A Hub on this machine: it speaks the Hub's HTTP API to the real client and fails on demand.

Repositories are kept in memory, have commits, branches and tags, and can be private or gated. Small files live in them
as git blobs, weights as LFS objects on a second origin, to which the client must not send its token. What downloads and
uploads of checkpoints do not need is not there; Xet is not spoken, so the client falls back to HTTP.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.hub_api import Fault, Repo, Request, Server

FAULTS = ("stall", "reset", "stall body", "reset body", "cut", "short", "html", "wrong")


class HubServer:
    """The server: two ports of the loopback address, each request in a thread of its own.

    Attributes:
        url: Its address, for ``HF_ENDPOINT``.
        requests: What came in, in order.
        token: Token of a member, who may read and write.
        read_token: Token of a member who may read only.
        stranger_token: Token of somebody who is no member.

    Example:
        >>> with HubServer() as hub:
        ...     hub.create("org/name")
        ...     commit = hub.commit("org/name", {"config.json": b"{}"})
        >>> len(commit)
        40
    """

    token = "hf_member"
    read_token = "hf_reader"
    stranger_token = "hf_stranger"

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.objects: dict[str, bytes] = {}
        self.requests: list[Request] = []
        self.lock = threading.RLock()
        self._arrived = threading.Condition(self.lock)
        self._faults: list[Fault] = []
        self._servers = [Server(self, origin) for origin in ("hub", "storage")]
        self.url, self.storage_url = (f"http://127.0.0.1:{server.server_port}" for server in self._servers)

    def __enter__(self) -> HubServer:
        for server in self._servers:
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.mend()
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def create(self, repo_id: str, *, private: bool = False, gated: bool = False) -> None:
        """Make a repository with the first commit that the Hub gives each."""
        with self.lock:
            repo = self.repos[repo_id] = Repo(private, gated)
            repo.add(
                {".gitattributes": b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"}, "main", "initial commit"
            )

    def commit(self, repo_id: str, files: Mapping[str, bytes], *, branch: str = "main") -> str:
        """Add or replace files of a branch, and return the commit."""
        with self.lock:
            repo = self.repos[repo_id]
            before = repo.commits[repo.branches.get(branch, repo.branches["main"])]
            return repo.add({**before, **files}, branch, "commit by hand")

    def files(self, repo_id: str, revision: str = "main") -> dict[str, bytes]:
        """Return the files of a revision."""
        with self.lock:
            repo = self.repos[repo_id]
            return dict(repo.commits[repo.find(revision) or ""])

    def fault(self, pattern: str, kind: str | int, times: int | None = None) -> None:
        """Fail from now on where a request fits.

        Args:
            pattern: Regular expression searched in ``"METHOD /path"``.
            kind: A status such as 503, or one of ``FAULTS``: ``"stall"`` never answers, ``"reset"`` resets the
                connection; ``"stall body"`` and ``"reset body"`` do it after half of the content, ``"cut"`` closes
                there; ``"short"`` sends half and calls it all; ``"html"`` a web page with status 200; ``"wrong"``
                other bytes of the same number.
            times: How often; default until :meth:`mend`.
        """
        if not isinstance(kind, int) and kind not in FAULTS:
            raise ValueError(f"kind: expected a status or one of {FAULTS}, got {kind!r}")
        with self.lock:
            self._faults.append(Fault(re.compile(pattern), kind, times))

    def mend(self) -> None:
        """Take all faults away; what stalls gets its connection closed."""
        with self.lock:
            for fault in self._faults:
                fault.mended.set()
            self._faults = []

    def wait_for(self, pattern: str, timeout: float = 60.0) -> Request:
        """Wait until a request that fits has come, and return the first."""

        def first() -> Request | None:
            return next((r for r in self.requests if re.search(pattern, f"{r.method} {r.path}")), None)

        with self._arrived:
            if not self._arrived.wait_for(lambda: first() is not None, timeout):
                raise TimeoutError(f"no request like {pattern!r} came; these did: {self.requests}")
            found = first()
            assert found is not None
            return found

    def arrive(self, request: Request) -> Fault | None:
        """Note a request, and return the fault that it meets."""
        with self._arrived:
            self.requests.append(request)
            self._arrived.notify_all()
            for fault in self._faults:
                if fault.times != 0 and fault.pattern.search(f"{request.method} {request.path}"):
                    fault.times = None if fault.times is None else fault.times - 1
                    return fault
        return None


@contextlib.contextmanager
def client_of(hub: HubServer | str, home: Path, **environment: str) -> Iterator[None]:
    """Point the real client at a server, with a cache of its own and no token.

    The client reads its environment when it is imported, so its constants are read again, before and after.

    Args:
        hub: The server, or its address.
        home: Folder for the cache.
        **environment: More of the client's variables, such as ``HF_TOKEN``.
    """
    import huggingface_hub
    from huggingface_hub import constants, hf_api

    close = getattr(huggingface_hub, "close_session", lambda: None)  # connections to an earlier server
    gone = re.compile(r"HF_.*|HUGGING_?FACE_.*|.*_PROXY|SSL_CERT_.*|TRANSFORMERS_OFFLINE", re.IGNORECASE)
    url = hub if isinstance(hub, str) else hub.url
    settings = {
        "HF_ENDPOINT": url,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "SSL_CERT_DIR": str(home),  # no certificates are needed, and reading them takes longer than all else
        **environment,
    }
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name in filter(gone.fullmatch, list(os.environ)):
                patch.delenv(name)
            for name, value in settings.items():
                patch.setenv(name, value)
            importlib.reload(constants)
            patch.setattr(hf_api.api, "endpoint", url)
            close()
            yield
    finally:
        close()
        importlib.reload(constants)
