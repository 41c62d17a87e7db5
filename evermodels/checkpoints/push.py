"""Uploading a checkpoint to the Hub: verified before, one commit, nothing where nothing changed."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from typing_extensions import Unpack

from evermodels.checkpoints import hub
from evermodels.checkpoints.card import check_card, loading_call
from evermodels.checkpoints.config_file import CARD_NAME, CONFIG_NAME, WEIGHTS_NAME
from evermodels.checkpoints.load import from_pretrained
from evermodels.checkpoints.options import SaveOptions
from evermodels.checkpoints.read import read_bytes
from evermodels.checkpoints.table import load_table
from evermodels.core.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from evermodels.checkpoints.base import PretrainedModel


class Pushed(NamedTuple):
    """The commit that holds a checkpoint on the Hub.

    Args:
        repo_id: The repository.
        commit: The commit that holds the files now.
        url: The commit's address, or that of the pull request.
        changed: Whether this push made it.
    """

    repo_id: str
    commit: str
    url: str
    changed: bool


def push_to_hub(
    model_or_folder: PretrainedModel | str | os.PathLike[str],
    repo_id: str,
    *,
    private: bool | None = None,
    revision: str | None = None,
    commit_message: str | None = None,
    token: str | bool | None = None,
    create_pr: bool = False,
    **saved: Unpack[SaveOptions],
) -> Pushed:
    """Upload a model or a checkpoint folder; the arguments are those of :meth:`PretrainedModel.push_to_hub`.

    Returns:
        The repository, the commit, its address, and whether anything was changed.

    Raises:
        CheckpointError: If the checkpoint does not load, or the Hub refuses or cannot be reached.
        ConfigError: If an argument does not fit, or the card lacks what a published model must say.
    """
    if not hub.is_repo_id(repo_id):
        raise ConfigError(f"repo_id: expected 'organisation/name', got {repo_id!r}.")
    with tempfile.TemporaryDirectory() as place:
        if isinstance(model_or_folder, (str, os.PathLike)):
            folder = Path(model_or_folder)
            if not folder.is_dir():
                raise CheckpointError(f"{folder}: no such folder. Give one that model.save_pretrained wrote.")
        else:
            folder = model_or_folder.save_pretrained(Path(place) / repo_id.rpartition("/")[2], **saved)
        from_pretrained(folder)
        contents: dict[str, Path | bytes] = {
            CONFIG_NAME: folder / CONFIG_NAME,
            WEIGHTS_NAME: folder / WEIGHTS_NAME,
            CARD_NAME: _card(folder, repo_id),
        }
        with hub.hub_errors(repo_id):
            return _commit(
                contents,
                repo_id,
                private=private,
                revision=revision,
                message=commit_message or "Upload a checkpoint of evermodels",
                token=token,
                create_pr=create_pr,
            )


def _card(folder: Path, repo_id: str) -> bytes:
    """Return the folder's card with the repository in place of the folder in the code that loads it."""
    path = folder / CARD_NAME
    text = read_bytes(path).decode("utf-8", errors="replace")
    check_card(text, str(path))
    if folder.name not in load_table():
        text = text.replace(loading_call(folder.name), loading_call(repo_id))
    return text.encode("utf-8")


def _commit(
    contents: dict[str, Path | bytes],
    repo_id: str,
    *,
    private: bool | None,
    revision: str | None,
    message: str,
    token: str | bool | None,
    create_pr: bool,
) -> Pushed:
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    api = HfApi(token=token, **hub.client_arguments())
    try:
        before = api.model_info(repo_id, revision=revision).sha
    except RepositoryNotFoundError:
        api.create_repo(repo_id, private=private, exist_ok=True)
        before = None
    except RevisionNotFoundError:
        before = None
    if before is None and revision is not None:
        api.create_branch(repo_id, branch=revision, exist_ok=True)
    # The client leaves out files that the branch has already, and makes no commit where none is left.
    commit = api.create_commit(
        repo_id,
        [CommitOperationAdd(name, content) for name, content in contents.items()],
        commit_message=message,
        revision=revision,
        create_pr=create_pr,
    )
    return Pushed(repo_id, commit.oid, commit.pr_url or commit.commit_url, commit.oid != before)
