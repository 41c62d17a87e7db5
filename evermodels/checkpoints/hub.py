"""The Hub, through its own client: a repository's two files in one folder of the cache, and errors with a way out."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from evermodels._version import __version__
from evermodels.checkpoints.config_file import CONFIG_NAME, WEIGHTS_NAME
from evermodels.checkpoints.verify import BlobName
from evermodels.core.errors import CheckpointError, ConfigError, EvermodelsError

COMMIT = re.compile(r"[0-9a-f]{40}")
_REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_REVISION = re.compile(r"\w[\w.-]*(/\w[\w.-]*)*", re.ASCII)
_MOST_STEPS = 5  # links from a file of the cache to its content; the client makes two at the most


class Snapshot(NamedTuple):
    """The files of one commit of a repository.

    Args:
        folder: Folder of the cache that holds them.
        commit: The commit, 40 hexadecimal digits.
        blobs: Names of the blobs that its files lead to, which are their digests; none where the cache has no links.
    """

    folder: Path
    commit: str
    blobs: dict[str, BlobName]


def client_arguments() -> dict[str, Any]:
    """Return the name and version under which the client speaks to the Hub."""
    return {"library_name": "evermodels", "library_version": __version__}


def is_repo_id(text: str) -> bool:
    """Return whether a text looks like ``"organisation/name"``.

    Args:
        text: What the user wrote.

    Example:
        >>> is_repo_id("someone/ever-tiny"), is_repo_id("../ever-tiny"), is_repo_id("/etc/passwd")
        (True, False, False)
    """
    return _REPO.fullmatch(text) is not None


def fetch(
    repo_id: str,
    *,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
) -> Snapshot:
    """Bring ``config.json`` and ``model.safetensors`` of one commit into the client's cache.

    Nothing is sent if the revision is a commit that is cached, or with ``local_files_only``. Both files come from the
    commit that the revision meant when the first of them was asked for.

    Args:
        repo_id: ``"organisation/name"``.
        revision: Branch, tag or commit; default the main branch.
        cache_dir: Folder of the cache; default the client's own (``HF_HUB_CACHE``).
        token: Token for a private repository; default the one that ``hf auth login`` stored, ``False`` for none.
        local_files_only: Whether only the cache may be read.

    Raises:
        CheckpointError: If a file cannot be had, or the cache has links where it has folders of its own.
        ConfigError: If the revision cannot be one.
    """
    if revision is not None and (not _REVISION.fullmatch(revision) or ".." in revision):
        raise ConfigError(f"revision: expected a branch, a tag or a commit, got {revision!r}.")
    arguments: dict[str, Any] = {"cache_dir": cache_dir, "token": token, "local_files_only": local_files_only}
    config = _file(repo_id, CONFIG_NAME, revision, **arguments)
    folder, commit = config.parent, config.parent.name
    pinned = revision if revision is not None and COMMIT.fullmatch(revision) else commit
    if not COMMIT.fullmatch(commit) or commit != pinned:
        raise CheckpointError(
            f"{config}: the cache leads to {commit!r} for {revision or 'the main branch'}, which is not its commit. "
            f"Remove {folder.parents[1]} and load it again."
        )
    if link := _link_out(folder):
        raise CheckpointError(
            f"{link}: a link to {os.path.realpath(link)}, where the Hub's cache has a folder of its own. "
            "Give the folder that holds the files itself, or another cache with cache_dir=."
        )
    paths = (config, _file(repo_id, WEIGHTS_NAME, commit, **arguments))
    return Snapshot(folder, commit, {path.name: path.readlink().name for path in paths if path.is_symlink()})


def forget(folder: Path) -> str:
    """Remove a commit's two files from the cache, so that they are fetched again, and say so for an error's message.

    Nothing is removed that does not truly lie in the repository's own folders.

    Args:
        folder: The commit's folder in the cache.
    """
    repository = folder.parents[1]
    steps = [step for name in (CONFIG_NAME, WEIGHTS_NAME) for step in _steps(folder / name)]
    allowed = allowed_folders(Path(os.path.realpath(folder)))
    if _link_out(folder) or any(Path(os.path.realpath(step.parent)) not in allowed for step in steps):
        return f"Remove {repository} by hand, as it leads out of the cache, and load it again."
    try:
        for step in steps:
            step.unlink(missing_ok=True)
    except OSError as error:
        return f"Remove {repository} ({error.strerror or error}) and load it again."
    return "Its cached copy was removed: load it again. If it fails again, the repository itself is damaged."


def _steps(path: Path) -> list[Path]:
    """Return a file and what it leads to: a repository's blob, which may be a link to one that repositories share."""
    steps = [path]
    while path.is_symlink() and len(steps) < _MOST_STEPS:
        path = path.parent / path.readlink()
        steps.append(path)
    return steps


def _link_out(folder: Path) -> Path | None:
    """Return the first of the repository's own folders in a cache that is a link: only the cache itself may be one."""
    repository = folder.parents[1]
    for place in (repository, repository / "blobs", folder.parent, folder):
        if Path(os.path.realpath(place)) != Path(os.path.realpath(repository.parent)) / place.relative_to(
            repository.parent
        ):
            return place
    return None


def allowed_folders(folder: Path) -> tuple[Path, ...]:
    """Return where the files of a checkpoint folder may truly lie.

    In the client's cache they are links to blobs of the repository, or to blobs that repositories share; anywhere
    else they lie in the folder itself.

    Args:
        folder: The folder.
    """
    repository = folder.parent.parent
    if folder.parent.name == "snapshots" and repository.name.startswith("models--"):
        return folder, repository / "blobs", repository.parent / "blobs"
    return (folder,)


@contextlib.contextmanager
def hub_errors(what: str) -> Iterator[None]:
    """Turn whatever the client raises into a :class:`CheckpointError` that says what to do.

    Args:
        what: The repository, for the message.

    Raises:
        CheckpointError: For each error that is not already ours.
    """
    try:
        yield
    except EvermodelsError:
        raise
    except Exception as error:  # the client's errors have no common base, and its transport was changed twice
        raise CheckpointError(f"{what}: {_explain(error)}") from error


def _file(
    repo_id: str,
    name: str,
    revision: str | None,
    *,
    cache_dir: str | os.PathLike[str] | None,
    token: str | bool | None,
    local_files_only: bool,
) -> Path:
    with hub_errors(repo_id if revision is None else f"{repo_id}@{revision}"):
        from huggingface_hub import errors, hf_hub_download, try_to_load_from_cache

        cache = os.fspath(cache_dir) if cache_dir is not None else None

        def cached() -> Path | None:
            path = try_to_load_from_cache(repo_id, name, cache_dir=cache, revision=revision)
            return Path(path) if isinstance(path, str) else None

        # The download function may ask the Hub for things of its own even where the file is cached.
        pinned = revision is not None and COMMIT.fullmatch(revision)
        if (local_files_only or pinned) and (path := cached()) is not None:
            return path
        if local_files_only:
            raise CheckpointError(
                f"{repo_id}: {name} of {revision or 'the main branch'} is not in the cache, and local_files_only=True "
                "forbids to fetch it. Load it once without, or name the cache that holds it with cache_dir=."
            )
        arguments: dict[str, Any] = {"revision": revision, "cache_dir": cache, "token": token, **client_arguments()}
        try:
            return Path(hf_hub_download(repo_id, name, **arguments))
        except errors.HTTPError as error:
            # Where the network fails, the client takes what is cached; a connection that is reset it forgets.
            if getattr(error, "response", None) is not None or (path := cached()) is None:
                raise
            return path


def _explain(error: Exception) -> str:
    from huggingface_hub import errors

    wrapped = isinstance(error, (errors.LocalEntryNotFoundError, RuntimeError))  # the latter around a failed upload
    if wrapped and isinstance(error.__cause__, Exception):
        error = error.__cause__
    for kind, text in (
        (
            errors.OfflineModeIsEnabled,
            "not in the cache, and HF_HUB_OFFLINE is set. Load it once with the network, or copy the cache of a "
            "machine that has it and name it with cache_dir= or HF_HUB_CACHE.",
        ),
        (
            errors.GatedRepoError,
            "its owners grant access one by one. Ask for it on the repository's page, then give your token with "
            "token= or HF_TOKEN.",
        ),
        (
            errors.RepositoryNotFoundError,
            "no such folder here, and no such repository on the Hub, or a private one that this token may not see. "
            "Check the spelling; for a private one log in (hf auth login) or give token=.",
        ),
        (errors.RevisionNotFoundError, "the repository has no such revision. Check revision=, or leave it out."),
        (
            errors.EntryNotFoundError,
            f"the repository has no {CONFIG_NAME} with {WEIGHTS_NAME}, so it is no checkpoint of evermodels. "
            "Weights of other libraries go through: evermodels convert",
        ),
        (errors.HFValidationError, f"not a name that the Hub allows ({error}). Expected 'organisation/name'."),
        (
            errors.FileMetadataError,
            f"the answer is not that of a Hub ({error}). Check HF_ENDPOINT and the proxy, or give a folder.",
        ),
    ):
        if isinstance(error, kind):
            return text
    return _explain_transport(error, getattr(getattr(error, "response", None), "status_code", 0))


def _explain_transport(error: Exception, status: int) -> str:
    from huggingface_hub import errors

    text = ""
    if status:
        text = _explain_status(status)
    elif isinstance(error, OSError) and error.errno is not None and error.errno in _DISK:
        text = _DISK[error.errno]
    elif "Consistency check" in str(error):
        text = "the download was cut short, and nothing of it is kept. Load it again. "
    elif isinstance(error, (errors.HTTPError, ConnectionError, TimeoutError)):
        text = (
            "the Hub cannot be reached. Check the network, the proxy and HF_ENDPOINT and try again; without a network "
            "only what is cached, a bundled name or a folder can be loaded. "
        )
    return f"{text}{type(error).__name__}: {' '.join(str(error).split())}"


def _explain_status(status: int) -> str:
    if status in (401, 403):
        return (
            f"the Hub refuses (status {status}). Log in (hf auth login), or give a token= with the right to do this. "
        )
    if status == 429:
        return "the Hub has had too many requests from here (status 429). Wait, and try again. "
    if status >= 500:
        return f"the Hub has a fault (status {status}). Try again later; what is cached still loads. "
    return f"the Hub refuses (status {status}). "


_FULL = "the disk is full, and nothing half-written is kept. Make room, or name another disk with cache_dir=. "
_LOCKED = "the cache cannot be written. Name another folder with cache_dir= or HF_HUB_CACHE. "
_DISK = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), _FULL),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), _LOCKED),
}
