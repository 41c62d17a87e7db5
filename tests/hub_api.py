"""What the loopback Hub answers: the places of the Hub's HTTP API that downloads and uploads of checkpoints need."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import socket
import struct
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qs, quote, unquote, urlsplit

if TYPE_CHECKING:
    from tests.hub_server import HubServer

HTML = b"<!DOCTYPE html><html><body>Please accept the terms of this wireless network.</body></html>"
_LFS = (".safetensors", ".bin", ".pth")


class Request(NamedTuple):
    """One request as it came.

    Args:
        method: ``"GET"``, ``"HEAD"``, ….
        path: Decoded path without the query.
        token: The token that was sent, or an empty text.
        range: The ``Range`` header, or an empty text.
        agent: The ``User-Agent`` header.
        origin: ``"hub"`` or ``"storage"``.
    """

    method: str
    path: str
    token: str
    range: str
    agent: str
    origin: str


@dataclass
class Repo:
    """One repository: files by commit, commits by branch or tag."""

    private: bool = False
    gated: bool = False
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    messages: dict[str, str] = field(default_factory=dict)

    def add(self, files: dict[str, bytes], branch: str, message: str) -> str:
        """Put a whole state of the files on a branch, and return its commit."""
        seed = [message, len(self.commits), sorted((name, oid(name, data)) for name, data in files.items())]
        commit = hashlib.sha1(json.dumps(seed).encode()).hexdigest()
        self.commits[commit], self.messages[commit], self.branches[branch] = files, message, commit
        return commit

    def find(self, revision: str) -> str | None:
        """Return the commit that a branch, a tag or a commit means."""
        if revision in self.commits:
            return revision
        return self.branches.get(revision) or self.tags.get(revision)


def git_oid(data: bytes) -> str:
    """Return git's name of a blob."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def is_lfs(name: str) -> bool:
    """Return whether the Hub keeps a file as an LFS object."""
    return name.endswith(_LFS)


def oid(name: str, data: bytes) -> str:
    """Return the name of a file's content: of an LFS object its sha256, else git's."""
    return hashlib.sha256(data).hexdigest() if is_lfs(name) else git_oid(data)


@dataclass
class Fault:
    pattern: re.Pattern[str]
    kind: str | int
    times: int | None
    mended: threading.Event = field(default_factory=threading.Event)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, hub: HubServer, origin: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hub, self.origin = hub, origin


class _Answer(Exception):
    def __init__(self, status: int, content: Any = b"", **headers: str) -> None:
        super().__init__(status)
        self.status = status
        self.content = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def _refusal(status: int, message: str, code: str = "") -> _Answer:
    headers = {"X_Error_Message": message, **({"X_Error_Code": code} if code else {})}
    return _Answer(status, {"error": message}, **headers)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *_: object) -> None:
        """Say nothing: the requests are in ``hub.requests``."""

    def _handle(self) -> None:
        self.hub = self.server.hub
        target = urlsplit(self.path)
        self.query = parse_qs(target.query)
        self.token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        path = unquote(target.path)
        agent, span = self.headers.get("User-Agent", ""), self.headers.get("Range", "")
        request = Request(self.command, path, self.token, span, agent, self.server.origin)
        self.body = self._read()
        fault = self.hub.arrive(request)
        kind = fault.kind if fault else ""
        if kind in ("stall", "reset"):
            self._break(fault)
            return
        try:
            with self.hub.lock:
                if isinstance(kind, int):
                    raise _refusal(kind, f"fault {kind}")
                if kind == "html":
                    raise _Answer(200, HTML, Content_Type="text/html")
                self._route(target.path)
        except _Answer as answer:
            self._send(answer, fault)

    do_GET = do_HEAD = do_POST = do_PUT = _handle

    def _read(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _send(self, answer: _Answer, fault: Fault | None) -> None:
        kind, content = fault.kind if fault else "", answer.content
        half = content[: len(content) // 2]
        if kind == "short":
            content = half
        elif kind == "wrong":
            content = bytes(255 - byte for byte in content)
        broken = fault is not None and kind in ("stall body", "reset body", "cut")
        with contextlib.suppress(ConnectionError):  # the client may have gone
            self.send_response(answer.status)
            for name, value in {"Content-Type": "application/json", **answer.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(half if broken else content)
                self.wfile.flush()
        if broken:
            self._break(fault)

    def _break(self, fault: Fault | None) -> None:
        assert fault is not None
        if str(fault.kind).startswith("stall"):
            fault.mended.wait()
        elif str(fault.kind).startswith("reset"):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        self.close_connection = True

    def finish(self) -> None:
        """Flush what is left, to a client that may have gone."""
        with contextlib.suppress(OSError, ValueError):
            super().finish()

    # -- what the Hub answers ------------------------------------------------------------------------------------

    def _route(self, path: str) -> None:
        for method, pattern, answer in _ROUTES[self.server.origin]:
            if (found := pattern.fullmatch(path)) and self.command in method:
                answer(self, **{name: unquote(text or "") for name, text in found.groupdict().items()})
        raise _refusal(404, f"no such place: {self.command} {path}")

    def _repo(self, repo_id: str, *, write: bool = False) -> Repo:
        hub = self.hub
        if self.token and self.token not in (hub.token, hub.read_token, hub.stranger_token):
            raise _refusal(401, "Invalid credentials in Authorization header")
        repo = hub.repos.get(repo_id)
        member = self.token in (hub.token, hub.read_token)
        if repo is None or (repo.private and not member):
            raise _refusal(404 if self.token else 401, "Repository not found", "RepoNotFound")
        if repo.gated and not member:
            raise _refusal(403 if self.token else 401, f"Access to model {repo_id} is restricted", "GatedRepo")
        if write and self.token != hub.token:
            raise _refusal(403 if self.token else 401, "You have no right to write here")
        return repo

    def _files(self, repo: Repo, revision: str) -> tuple[str, dict[str, bytes]]:
        if (commit := repo.find(revision)) is None:
            raise _refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return commit, repo.commits[commit]

    def whoami(self) -> None:
        if self.token not in (self.hub.token, self.hub.read_token, self.hub.stranger_token):
            raise _refusal(401, "Invalid credentials in Authorization header")
        role = "write" if self.token == self.hub.token else "read"
        name = "stranger" if self.token == self.hub.stranger_token else "member"
        access = {"displayName": "test", "role": role}
        raise _Answer(200, {"type": "user", "name": name, "orgs": [], "auth": {"accessToken": access}})

    def create(self) -> None:
        wanted = json.loads(self.body)
        repo_id = f"{wanted['organization'] or 'member'}/{wanted['name']}"
        if self.token != self.hub.token:
            raise _refusal(403 if self.token else 401, f"You have no right to create {repo_id}")
        url = {"url": f"{self.hub.url}/{repo_id}", "name": repo_id}
        if repo_id in self.hub.repos:
            raise _Answer(409, {"error": "You already created this model repo", **url})
        self.hub.create(repo_id, private=wanted.get("visibility") == "private" or bool(wanted.get("private")))
        raise _Answer(200, url)

    def validate(self) -> None:
        raise _Answer(200, {"errors": [], "warnings": []})

    def info(self, repo_id: str, revision: str) -> None:
        repo = self._repo(repo_id)
        commit, files = self._files(repo, revision or "main")
        names = [{"rfilename": name} for name in sorted(files)]
        about = {"id": repo_id, "modelId": repo_id, "private": repo.private, "gated": "manual" if repo.gated else False}
        raise _Answer(200, {**about, "sha": commit, "siblings": names, "tags": [], "downloads": 0})

    def tree(self, repo_id: str, revision: str, folder: str) -> None:
        _, files = self._files(self._repo(repo_id), revision)
        rows = [_row(name, files[name]) for name in sorted(files) if not folder or name.startswith(f"{folder}/")]
        raise _Answer(200, rows)

    def paths_info(self, repo_id: str, revision: str) -> None:
        _, files = self._files(self._repo(repo_id), revision)
        wanted = parse_qs(self.body.decode())["paths"]
        raise _Answer(200, [_row(name, files[name]) for name in wanted if name in files])

    def refs(self, repo_id: str) -> None:
        repo = self._repo(repo_id)
        heads = [{"name": n, "ref": f"refs/heads/{n}", "targetCommit": c} for n, c in repo.branches.items()]
        tags = [{"name": n, "ref": f"refs/tags/{n}", "targetCommit": c} for n, c in repo.tags.items()]
        raise _Answer(200, {"branches": heads, "tags": tags, "converts": [], "pullRequests": []})

    def make_ref(self, repo_id: str, kind: str, name: str) -> None:
        repo, wanted = self._repo(repo_id, write=True), json.loads(self.body)
        refs = repo.branches if kind == "branch" else repo.tags
        new, start = (name, wanted.get("startingPoint")) if kind == "branch" else (wanted["tag"], name)
        if new in refs:
            raise _refusal(409, f"Reference already exists: {new}")
        refs[new] = self._files(repo, start or "main")[0]
        raise _Answer(200, {})

    def preupload(self, repo_id: str, revision: str) -> None:
        repo = self._repo(repo_id, write="create_pr" not in self.query)
        _, files = self._files(repo, revision)
        rows = [
            {
                "path": name,
                "uploadMode": "lfs" if is_lfs(name) else "regular",
                "shouldIgnore": False,
                "oid": oid(name, files[name]) if name in files else None,
            }
            for name in (row["path"] for row in json.loads(self.body)["files"])
        ]
        raise _Answer(200, {"files": rows, "commitOid": self._files(repo, revision)[0]})

    def lfs_batch(self, repo_id: str) -> None:
        self._repo(repo_id)
        rows = []
        for row in json.loads(self.body)["objects"]:
            actions = {"upload": {"href": f"{self.hub.storage_url}/upload/{row['oid']}"}}
            rows.append({**row, **({} if row["oid"] in self.hub.objects else {"actions": actions})})
        raise _Answer(200, {"transfer": "basic", "objects": rows})

    def commit(self, repo_id: str, revision: str) -> None:
        pull = "create_pr" in self.query
        repo = self._repo(repo_id, write=not pull)
        before, old = self._files(repo, revision)
        lines = [json.loads(line) for line in self.body.splitlines()]
        header, files = lines[0]["value"], dict(old)
        if header.get("parentCommit", before) != before:
            raise _refusal(412, "A commit has happened since. Please refresh and try again.")
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                if value["oid"] not in self.hub.objects:
                    raise _refusal(422, f"LFS object {value['oid']} was never uploaded")
                files[value["path"]] = self.hub.objects[value["oid"]]
            elif files.pop(value["path"], None) is None:
                raise _refusal(404, "A file with this name doesn't exist", "EntryNotFound")
        number = 1 + sum(name.startswith("refs/pr/") for name in repo.branches)
        new = repo.add(files, f"refs/pr/{number}" if pull else revision, header["summary"])
        url = f"{self.hub.url}/{repo_id}"
        request = {"pullRequestUrl": f"{url}/discussions/{number}"} if pull else {}
        raise _Answer(200, {"commitUrl": f"{url}/commit/{new}", "commitOid": new, "success": True, **request})

    def resolve(self, repo_id: str, revision: str, name: str) -> None:
        commit, files = self._files(self._repo(repo_id), revision)
        if name not in files:
            raise _Answer(
                404, {"error": "Entry not found"}, X_Error_Code="EntryNotFound", X_Repo_Commit=commit
            )  # the client remembers that this commit has no such file
        data, digest = files[name], oid(name, files[name])
        if not is_lfs(name):
            self._content(data, ETag=f'"{digest}"', X_Repo_Commit=commit)
        self.hub.objects[digest] = data
        location = f"{self.hub.storage_url}/{digest}/{quote(name, safe='')}"
        linked = {"X_Linked_Etag": f'"{digest}"', "X_Linked_Size": str(len(data))}
        raise _Answer(302, Location=location, X_Repo_Commit=commit, **linked)

    def stored(self, digest: str, name: str) -> None:
        if (data := self.hub.objects.get(digest)) is None:
            raise _refusal(404, "no such object")
        self._content(data, ETag=f'"{digest}"')

    def upload(self, digest: str) -> None:
        if hashlib.sha256(self.body).hexdigest() != digest:
            raise _refusal(400, "the content is not the one that was announced")
        self.hub.objects[digest] = self.body
        raise _Answer(200)

    def _content(self, data: bytes, **headers: str) -> None:
        headers = {"Content_Type": "application/octet-stream", "Accept_Ranges": "bytes", **headers}
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if span is None:
            raise _Answer(200, data, **headers)
        start, end = int(span[1]), min(int(span[2] or len(data)), len(data) - 1)
        if start > end:
            raise _Answer(416, Content_Range=f"bytes */{len(data)}")
        raise _Answer(206, data[start : end + 1], Content_Range=f"bytes {start}-{end}/{len(data)}", **headers)


def _row(name: str, data: bytes) -> dict[str, Any]:
    lfs = {"lfs": {"oid": oid(name, data), "size": len(data), "pointerSize": 130}} if is_lfs(name) else {}
    return {"type": "file", "path": name, "size": len(data), "oid": git_oid(data), **lfs}


_REPO, _REVISION = r"(?P<repo_id>[^/]+/[^/]+)", r"(?P<revision>[^/]+)"
_API = f"/api/models/{_REPO}"
_ROUTES = {
    origin: [(method.split(), re.compile(pattern), answer) for method, pattern, answer in rows]
    for origin, rows in {
        "hub": [
            ("GET", "/api/whoami-v2", _Handler.whoami),
            ("POST", "/api/repos/create", _Handler.create),
            ("POST", "/api/validate-yaml", _Handler.validate),
            ("GET", f"{_API}(/revision/{_REVISION})?", _Handler.info),
            ("GET", f"{_API}/tree/{_REVISION}/?(?P<folder>.*)", _Handler.tree),
            ("POST", f"{_API}/paths-info/{_REVISION}", _Handler.paths_info),
            ("GET", f"{_API}/refs", _Handler.refs),
            ("POST", f"{_API}/(?P<kind>branch|tag)/(?P<name>[^/]+)", _Handler.make_ref),
            ("POST", f"{_API}/preupload/{_REVISION}", _Handler.preupload),
            ("POST", f"{_API}/commit/{_REVISION}", _Handler.commit),
            ("POST", rf"/{_REPO}\.git/info/lfs/objects/batch", _Handler.lfs_batch),
            ("GET HEAD", f"/{_REPO}/resolve/{_REVISION}/(?P<name>.+)", _Handler.resolve),
        ],
        "storage": [
            ("GET HEAD", "/(?P<digest>[0-9a-f]{64})/(?P<name>.+)", _Handler.stored),
            ("PUT", "/upload/(?P<digest>[0-9a-f]{64})", _Handler.upload),
        ],
    }.items()
}
