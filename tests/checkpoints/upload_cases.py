"""What can go wrong while a model is pushed to the Hub, as cases that the tests run and the fault table counts.

Each case survives if the error says what to do, the repository stands as before or has the whole commit, and pushing
again brings the model there.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import pytest

from evermodels.checkpoints.push import push_to_hub
from evermodels.core.errors import CheckpointError
from tests.checkpoints.hub_cases import NETWORK, REPO, HubCase, World, impatient, met

REFUSED = r"the Hub refuses \(status {}\)\. Log in \(hf auth login\), or give a token= with the right to do this"
FAULTY = r"the Hub has a fault \(status {}\)\. Try again later"
STEPS = {
    "the question for the repository": f"GET /api/models/{REPO}$",
    "the check of the card": "POST /api/validate-yaml",
    "the announcement": "POST .*/preupload/",
    "the request to store": "POST .*/objects/batch",
    "the weights": "PUT /upload/",
    "the commit": "POST .*/commit/",
}


def change(w: World) -> Callable[[], bool]:
    """Change the model on this machine only, and return what pushes it and says whether that changed the repository."""
    before = w.hub.files(REPO)
    w.put(scale=7.0)
    w.hub.commit(REPO, before)
    return lambda: push_to_hub(w.folder, REPO, token=w.hub.token).changed


def broken_push(w: World, pattern: str, fault: str | int, message: str) -> int:
    push = change(w)
    commits = list(w.hub.repos[REPO].commits)
    w.hub.fault(pattern, fault)
    with impatient(), pytest.raises(CheckpointError, match=message):
        push()
    assert met(w.hub, pattern)
    assert list(w.hub.repos[REPO].commits) == commits
    return _push_again(w, push, changed=True)


def lost_answer(w: World) -> int:
    """The commit is made, and the connection breaks before the answer is there: pushing again finds it done."""
    push = change(w)
    w.hub.fault(STEPS["the commit"], "reset body")
    with pytest.raises(CheckpointError, match=NETWORK):
        push()
    return _push_again(w, push, changed=False)


def _push_again(w: World, push: Callable[[], bool], *, changed: bool) -> int:
    w.hub.mend()
    assert push() is changed
    w.mended()
    return 1


def _cases() -> Iterator[HubCase]:
    for where, pattern in STEPS.items():
        for fault, message in (("reset", NETWORK), (403, REFUSED.format(403)), (503, FAULTY.format(503))):
            run = functools.partial(broken_push, pattern=pattern, fault=fault, message=message)
            yield HubCase(f"{fault} at {where}", "upload broken", run)


CASES: list[HubCase] = [*_cases(), HubCase("the answer to the commit is lost", "upload broken", lost_answer)]
