"""The loopback Hub, spoken to by the real client alone: what the other tests trust."""

import os
import socket
from pathlib import Path

import pytest

DATA = {
    "config.json": b'{"a": 1}\n',
    "model.safetensors": bytes(range(256)) * 64,
    "README.md": b"---\nlicense: mit\n---\n",
}


@pytest.fixture
def api(hub):
    from huggingface_hub import HfApi

    return HfApi(token=hub.token)


@pytest.fixture
def repo(hub):
    """A repository with the three files, and its commit."""
    hub.create("lab/tiny")
    return "lab/tiny", hub.commit("lab/tiny", DATA)


def test_download_by_branch_tag_and_commit(hub, repo, api):
    from huggingface_hub import hf_hub_download

    name, first = repo
    api.create_tag(name, tag="v1")
    second = hub.commit(name, {"config.json": b"{}"})
    for revision, commit, text in (
        (None, second, b"{}"),
        ("v1", first, DATA["config.json"]),
        (first, first, DATA["config.json"]),
    ):
        path = Path(hf_hub_download(name, "config.json", revision=revision))
        assert (path.parent.name, path.read_bytes()) == (commit, text)
    weights = Path(hf_hub_download(name, "model.safetensors", revision="v1"))
    assert weights.read_bytes() == DATA["model.safetensors"]
    assert weights.resolve().name == api.get_paths_info(name, ["model.safetensors"])[0].lfs.sha256


def test_info_tree_paths_and_refs(repo, api):
    name, commit = repo
    info = api.model_info(name)
    assert (info.sha, info.private) == (commit, False)
    assert {s.rfilename for s in info.siblings} == {*DATA, ".gitattributes"}
    rows = {row.path: row for row in api.list_repo_tree(name)}
    assert rows["config.json"].size == len(DATA["config.json"]) and rows["config.json"].lfs is None
    assert rows["model.safetensors"].lfs.size == len(DATA["model.safetensors"])
    assert [row.path for row in api.get_paths_info(name, ["README.md", "absent"])] == ["README.md"]
    assert [(b.name, b.target_commit) for b in api.list_repo_refs(name).branches] == [("main", commit)]
    assert api.whoami()["name"] == "member"


def test_the_token_goes_to_the_hub_and_not_to_the_storage(hub, repo):
    from huggingface_hub import hf_hub_download

    hf_hub_download(repo[0], "model.safetensors", token=hub.token)
    assert {r.token for r in hub.requests if r.origin == "hub" and "resolve" in r.path} == {hub.token}
    assert {r.token for r in hub.requests if r.origin == "storage"} == {""}


def test_a_cached_commit_is_not_asked_for_again(hub, repo):
    from huggingface_hub import hf_hub_download

    hf_hub_download(repo[0], "model.safetensors", revision=repo[1])
    hub.requests.clear()
    hf_hub_download(repo[0], "model.safetensors", revision=repo[1])
    assert not [r for r in hub.requests if "tiny" in r.path]


@pytest.mark.parametrize("fault", ["cut", "stall body"])
def test_a_download_goes_on_by_range_where_it_was_broken(hub, repo, fault, monkeypatch):
    from huggingface_hub import constants, hf_hub_download

    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.5)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1024)  # what is less than a chunk is not kept
    hub.fault("GET .*/model.safetensors", fault, times=1)
    path = Path(hf_hub_download(repo[0], "model.safetensors"))
    assert path.read_bytes() == DATA["model.safetensors"]
    size = len(DATA["model.safetensors"])
    assert [r.range for r in hub.requests if r.origin == "storage"] == ["", f"bytes={size // 2}-"]


def test_upload_makes_one_commit_with_both_kinds_of_files(hub, api, tmp_path):
    from huggingface_hub import CommitOperationAdd, hf_hub_download

    api.create_repo("lab/new")
    api.create_repo("lab/new", exist_ok=True)
    before = api.model_info("lab/new").sha
    weights = tmp_path / "weights"
    weights.write_bytes(DATA["model.safetensors"])

    def push():
        operations = [CommitOperationAdd(name, data) for name, data in {**DATA, "model.safetensors": weights}.items()]
        return api.create_commit("lab/new", operations, commit_message="all three")

    commit = push()
    assert commit.oid == api.model_info("lab/new").sha != before
    assert {name: hub.files("lab/new")[name] for name in DATA} == DATA
    assert [r.path for r in hub.requests if r.method == "PUT"] and not [r for r in hub.requests if "xet" in r.path]
    assert Path(hf_hub_download("lab/new", "model.safetensors")).read_bytes() == DATA["model.safetensors"]
    assert push().oid == commit.oid, "nothing has changed, so nothing is committed"
    api.delete_file("config.json", "lab/new")
    assert set(hub.files("lab/new")) == {".gitattributes", "model.safetensors", "README.md"}


def test_branches_pull_requests_and_parents(hub, repo, api):
    from huggingface_hub.errors import HfHubHTTPError

    name, first = repo
    api.create_branch(name, branch="trial")
    api.create_branch(name, branch="trial", exist_ok=True)
    with pytest.raises(HfHubHTTPError, match="already exists"):
        api.create_branch(name, branch="trial")
    new = {"path_or_fileobj": b"x", "path_in_repo": "x.txt", "repo_id": name}
    trial = api.upload_file(**new, revision="trial")
    pull = api.upload_file(**new, create_pr=True, token=hub.read_token)
    assert "x.txt" in hub.files(name, trial.oid) and "x.txt" in hub.files(name, "refs/pr/1")
    assert pull.pr_url == f"{hub.url}/{name}/discussions/1"
    assert api.model_info(name).sha == first
    hub.commit(name, {"y.txt": b"y"})
    with pytest.raises(HfHubHTTPError, match="has happened since"):
        api.upload_file(**new, parent_commit=first)


def test_private_gated_and_read_only(hub, api):
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

    api.create_repo("lab/secret", private=True)
    hub.create("lab/gated", gated=True)
    for name in ("lab/secret", "lab/gated"):
        hub.commit(name, DATA)
        assert hf_hub_download(name, "config.json", token=hub.read_token)
        with pytest.raises(HfHubHTTPError, match="no right"):
            api.upload_file(path_or_fileobj=b"x", path_in_repo="x", repo_id=name, token=hub.read_token)
    assert api.model_info("lab/secret").private
    for token in (False, hub.stranger_token):
        with pytest.raises(RepositoryNotFoundError):
            hf_hub_download("lab/secret", "README.md", token=token)
        with pytest.raises(GatedRepoError):
            hf_hub_download("lab/gated", "README.md", token=token)
    with pytest.raises(HfHubHTTPError, match="Invalid credentials"):
        hf_hub_download("lab/secret", "README.md", token="hf_wrong")
    with pytest.raises(HfHubHTTPError, match="no right to create"):
        api.create_repo("lab/other", token=hub.read_token)


def test_what_is_missing(hub, repo):
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError

    with pytest.raises(RepositoryNotFoundError):
        hf_hub_download("lab/nothing", "config.json")
    with pytest.raises(RevisionNotFoundError):
        hf_hub_download(repo[0], "config.json", revision="v9")
    with pytest.raises(EntryNotFoundError):
        hf_hub_download(repo[0], "absent.json")


def test_faults_are_counted_and_mended(hub, repo):
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError

    hub.fault("GET .*config.json", 500)
    with pytest.raises(HfHubHTTPError, match="500"):
        hf_hub_download(repo[0], "config.json")
    hub.mend()
    assert hf_hub_download(repo[0], "config.json")
    hub.fault("GET .*README", "wrong", times=1)
    first = Path(hf_hub_download(repo[0], "README.md"))
    assert first.read_bytes() != DATA["README.md"] and len(first.read_bytes()) == len(DATA["README.md"])
    assert Path(hf_hub_download(repo[0], "README.md", force_download=True)).read_bytes() == DATA["README.md"]
    with pytest.raises(ValueError, match="kind: expected"):
        hub.fault(".*", "typo")


def test_without_the_fixture_not_even_this_machine_is_reached():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        for attempt in (
            lambda: socket.create_connection(listening.getsockname()),
            lambda: socket.socket().connect(listening.getsockname()),
            lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 9)),
            lambda: socket.create_connection(("huggingface.co", 443)),
        ):
            with pytest.raises(OSError, match="tests have no network"):
                attempt()


def test_with_the_fixture_this_machine_is_reached_and_no_other(hub):
    host, port = hub.url.removeprefix("http://").split(":")
    socket.create_connection((host, int(port))).close()
    for address in (("192.0.2.1", 80), ("huggingface.co", 443)):
        with pytest.raises(OSError, match="tests have no network"):
            socket.create_connection(address)
    assert os.environ["HF_ENDPOINT"] == hub.url
