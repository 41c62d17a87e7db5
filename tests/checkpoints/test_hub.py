"""Loading from the Hub with the real client; what goes wrong on the way is in ``test_hub_faults.py``."""

import hashlib
import json
import re
import shutil

import pytest
import torch
from huggingface_hub import snapshot_download

import evermodels as em
from evermodels.checkpoints import hub as hub_client, table
from evermodels.checkpoints.verify import FileDigest
from evermodels.core.errors import CheckpointError, ChecksumError, ConfigError
from tests.hub_server import client_of

REPO = "org/tiny"


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def commit(hub, saved):
    """The commit that holds the saved model."""
    hub.create(REPO)
    return hub.commit(REPO, contents(saved))


def asked(hub):
    """What was asked of the server since the last time."""
    paths = [f"{request.method} {request.path}" for request in hub.requests]
    hub.requests.clear()
    return [path for path in paths if "/api/agent-harnesses" not in path]


def test_first_load(hub, commit, model, tiny_class):
    loaded = em.from_pretrained(REPO)
    x = torch.randn(5, 6)
    assert torch.equal(loaded(x), model(x))
    assert (loaded.classes, loaded.architecture, loaded.training) == (("a", "b", "c"), "tiny_test", False)
    assert loaded.load_report.source == f"{REPO}@{commit}"
    assert loaded.load_report.verified == "the Hub"
    assert not any("README" in path for path in asked(hub))
    assert torch.equal(tiny_class.from_pretrained(REPO)(x), model(x))
    assert not any(path.startswith("GET") for path in asked(hub))  # what is cached is only asked about


def test_says_who_asks(hub, commit):
    em.from_pretrained(REPO)
    assert any(request.agent.startswith(f"evermodels/{em.__version__}") for request in hub.requests)


def test_a_pinned_revision_that_is_cached_makes_no_request(hub, commit, model, tmp_path, monkeypatch):
    em.from_pretrained(REPO, revision=commit)
    assert any(path.startswith("GET") for path in asked(hub))
    # Newer clients ask the Hub once a day for something of their own, where nobody has forbidden it.
    monkeypatch.setattr("huggingface_hub.utils._detect_agent._registry", None, raising=False)
    with client_of(hub, tmp_path / "hf", HF_HUB_DISABLE_TELEMETRY="0"):
        for arguments in ({"revision": commit}, {"revision": commit, "local_files_only": True}):
            loaded = em.from_pretrained(REPO, **arguments)
            assert torch.equal(loaded.stem.weight, model.stem.weight)
    assert hub.requests == []


def test_revisions(hub, commit, model, saved):
    with torch.no_grad():
        model.scale.fill_(7.0)
    newer = hub.commit(REPO, contents(model.save_pretrained(saved.parent / "newer")), branch="next")
    assert em.from_pretrained(REPO).scale.item() == 1.5
    for revision in ("next", newer):
        loaded = em.from_pretrained(REPO, revision=revision)
        assert loaded.scale.item() == 7.0
        assert loaded.load_report.source == f"{REPO}@{newer}"
    assert em.from_pretrained(REPO, revision=commit).scale.item() == 1.5
    with pytest.raises(CheckpointError, match=rf"{REPO}@nxet: the repository has no such revision. Check revision="):
        em.from_pretrained(REPO, revision="nxet")
    with pytest.raises(CheckpointError, match=r"the repository has no such revision"):
        em.from_pretrained(REPO, revision="0" * 40)


def test_a_branch_moves(hub, commit, model, saved):
    assert em.from_pretrained(REPO).scale.item() == 1.5
    with torch.no_grad():
        model.scale.fill_(7.0)
    hub.commit(REPO, contents(model.save_pretrained(saved)))
    assert em.from_pretrained(REPO).scale.item() == 7.0


def test_both_files_are_of_one_commit(hub, commit, model, saved, monkeypatch):
    """The branch moves after the first file was fetched."""
    with torch.no_grad():
        model.scale.fill_(7.0)
    newer = contents(model.save_pretrained(saved.parent / "newer"))
    real = hub_client._file

    def fetch(repo_id, name, revision, **arguments):
        path = real(repo_id, name, revision, **arguments)
        if name == "config.json":
            hub.commit(REPO, newer)
        return path

    monkeypatch.setattr(hub_client, "_file", fetch)
    assert em.from_pretrained(REPO).load_report.source == f"{REPO}@{commit}"


@pytest.mark.parametrize("revision", ["../main", "/main", "a..b", "", "a//b", "refs/../../x", "C:\\x"])
def test_a_revision_that_cannot_be_one(hub, revision):
    with pytest.raises(ConfigError, match=r"revision: expected a branch, a tag or a commit, got"):
        em.from_pretrained(REPO, revision=revision)
    assert hub.requests == []


def test_only_local_files(hub, commit):
    with pytest.raises(
        CheckpointError, match=r"config.json of the main branch is not in the cache, and local_files_only"
    ):
        em.from_pretrained(REPO, local_files_only=True)
    em.from_pretrained(REPO)
    hub.requests.clear()
    assert em.from_pretrained(REPO, local_files_only=True).scale.item() == 1.5
    assert em.from_pretrained(REPO, revision=commit, local_files_only=True).scale.item() == 1.5
    assert hub.requests == []


def test_offline_by_environment(hub, commit, tmp_path):
    with client_of(hub, tmp_path / "hf", HF_HUB_OFFLINE="1"):
        with pytest.raises(
            CheckpointError, match=r"not in the cache, and HF_HUB_OFFLINE is set. Load it once with the"
        ):
            em.from_pretrained(REPO)
    em.from_pretrained(REPO)
    hub.requests.clear()
    with client_of(hub, tmp_path / "hf", HF_HUB_OFFLINE="1"):
        assert em.from_pretrained(REPO).scale.item() == 1.5
        assert em.from_pretrained(REPO, revision=commit).scale.item() == 1.5
    assert hub.requests == []


def test_a_cache_of_its_own(hub, commit, tmp_path):
    for cache_dir in (tmp_path / "own", str(tmp_path / "own")):
        assert em.from_pretrained(REPO, cache_dir=cache_dir).scale.item() == 1.5
    assert (tmp_path / "own" / "models--org--tiny" / "snapshots" / commit / "config.json").exists()
    assert not (tmp_path / "hf" / "hub").exists()


def test_a_private_repository(hub, saved, tmp_path):
    hub.create(REPO, private=True)
    commit = hub.commit(REPO, contents(saved))
    for token in (None, False, hub.stranger_token):
        with pytest.raises(CheckpointError, match=rf"{REPO}: no such folder here, and no such repository.*give token="):
            em.from_pretrained(REPO, token=token)
    with pytest.raises(CheckpointError, match=r"the Hub refuses \(status 401\).*give a token="):
        em.from_pretrained(REPO, token="hf_wrong")
    assert em.from_pretrained(REPO, token=hub.read_token).scale.item() == 1.5
    assert {r.token for r in hub.requests if r.origin == "storage"} == {""}  # no token for another origin
    with client_of(hub, tmp_path / "other", HF_TOKEN=hub.read_token):
        assert em.from_pretrained(REPO, revision=commit).scale.item() == 1.5


def test_a_gated_repository(hub, saved):
    hub.create(REPO, gated=True)
    hub.commit(REPO, contents(saved))
    with pytest.raises(CheckpointError, match=r"grant access one by one. Ask for it on the repository's page"):
        em.from_pretrained(REPO, token=hub.stranger_token)


def test_a_repository_of_something_else(hub):
    hub.create(REPO)
    hub.commit(REPO, {"config.json": b'{"model_type": "bert"}', "pytorch_model.bin": b"PK"})
    with pytest.raises(CheckpointError, match=r"no checkpoint of evermodels.*evermodels convert"):
        em.from_pretrained(REPO)
    hub.create("org/empty")
    with pytest.raises(CheckpointError, match=r"org/empty: the repository has no config.json with model.safetensors"):
        em.from_pretrained("org/empty")


@pytest.mark.parametrize("name", ["org/no--such", "org/no-such.git", "org/no..such"])
def test_names_that_the_hub_forbids(hub, name):
    with pytest.raises(CheckpointError, match=r"not a name that the Hub allows .*Expected 'organisation/name'"):
        em.from_pretrained(name)


def test_another_class(hub, commit, tiny_class):
    class Other(tiny_class):
        pass

    with pytest.raises(CheckpointError, match=rf"{REPO}@{commit}: holds Tiny, not Other"):
        Other.from_pretrained(REPO)


def test_other_arguments_reach_the_model(hub, commit):
    loaded = em.from_pretrained(REPO, num_classes=5, dtype=torch.float64)
    assert (loaded.config.num_classes, loaded.head.weight.dtype) == (5, torch.float64)


def test_the_folder_of_a_snapshot(hub, commit):
    folder = snapshot_download(REPO)
    assert em.from_pretrained(folder).scale.item() == 1.5  # its files are links to blobs beside it


# --------------------------------------------------------------------------------------------- the weight table


@pytest.fixture
def listed(hub, commit, saved, tmp_path, monkeypatch):
    """The commit as an entry of a table of its own."""

    def enter(**change):
        files = {path.name: FileDigest.of_file(path).to_dict() for path in saved.iterdir()}
        entry = {
            "bundled": False,
            "files": files,
            "licence": "apache-2.0",
            "data": "none",
            "protocol": "none",
            "score": {"metric": "UAR", "value": 0.5},
            "recipe": "by hand",
            "repo_id": REPO,
            "revision": commit,
            **change,
        }
        path = tmp_path / "table.json"
        path.write_text(json.dumps({"format_version": 1, "entries": {"tiny_test.own": entry}}))
        monkeypatch.setattr(table, "TABLE_PATH", path)
        return files

    enter()
    return enter


def test_a_name_of_the_table(hub, commit, listed, model):
    hub.commit(REPO, {"config.json": b"{}"})  # the name stays with its commit
    x = torch.randn(2, 6)
    for loaded in (em.from_pretrained("tiny_test.own"), em.create_model("tiny_test", pretrained=True)):
        assert torch.equal(loaded(x), model(x))
        assert loaded.load_report.verified == "the weight table"
        assert loaded.load_report.source == "tiny_test.own"
    hub.requests.clear()
    em.from_pretrained("tiny_test.own")
    assert hub.requests == []
    with pytest.raises(ConfigError, match=r"tiny_test.own is pinned by the weight table, got 'main'"):
        em.from_pretrained("tiny_test.own", revision="main")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_the_digest_of_the_table_is_checked(hub, listed, name):
    files = listed()
    listed(files={**files, name: {**files[name], "sha256": "ab" * 32}})
    for _ in range(2):
        with pytest.raises(ChecksumError, match=rf"(?s){name}: this is not the file .*abababab.*load it again"):
            em.from_pretrained("tiny_test.own")
    listed()
    em.from_pretrained("tiny_test.own")


# ------------------------------------------------------------------------------------------------------ the cache


def snapshot(tmp_path, commit):
    return tmp_path / "hf" / "hub" / "models--org--tiny" / "snapshots" / commit


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_cached_file_that_was_damaged_is_found_removed_and_fetched_again(hub, commit, tmp_path, name):
    em.from_pretrained(REPO)
    path = (snapshot(tmp_path, commit) / name).resolve()
    data = path.read_bytes()
    path.write_bytes(data.replace(b'"b"', b'"B"') if name == "config.json" else data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(
        ChecksumError, match=rf"(?s){name}.*this is not the file.*Its cached copy was removed: load it a"
    ):
        em.from_pretrained(REPO, revision=commit)
    assert not path.exists()
    assert em.from_pretrained(REPO, revision=commit).classes == ("a", "b", "c")


def test_a_link_out_of_the_cache_is_refused(hub, commit, tmp_path, saved):
    em.from_pretrained(REPO)
    outside = shutil.copytree(saved, tmp_path / "outside")
    for name in ("config.json", "model.safetensors"):
        path = snapshot(tmp_path, commit) / name
        link = path.readlink()
        path.unlink()
        path.symlink_to(outside / name)
        with pytest.raises(
            CheckpointError, match=rf"{name}: a link to {re.escape(str(outside))}.* is outside the check"
        ):
            em.from_pretrained(REPO, revision=commit)
        path.unlink()
        path.symlink_to(link)
    em.from_pretrained(REPO, revision=commit)


def sha1(data):
    return hashlib.sha1(data).hexdigest()


@pytest.mark.parametrize(
    ("name_of", "same"),
    [
        (lambda data: sha1(b"blob %d\0" % len(data) + data), True),
        (sha1, True),  # as some mirrors name files
        (lambda data: sha1(b"other"), False),
        (lambda data: "W-1", True),  # nothing is known of the content
        (None, True),  # no links, as on Windows
    ],
)
def test_what_the_names_of_blobs_say(saved, tmp_path, tiny_class, name_of, same):
    """A cache made by hand, without a network."""
    commit = "a" * 40
    repository = tmp_path / "cache" / "models--org--tiny"
    folder = repository / "snapshots" / commit
    folder.mkdir(parents=True)
    (repository / "blobs").mkdir()
    for name in ("config.json", "model.safetensors"):
        data = (saved / name).read_bytes()
        path = folder / name
        if name_of is not None:
            path = repository / "blobs" / f"{name_of(data)}"
            if name == "model.safetensors" and path.exists():
                path = path.with_name("W-2")
            (folder / name).symlink_to(path)
        path.write_bytes(data)
    if same:
        loaded = em.from_pretrained(REPO, revision=commit, cache_dir=tmp_path / "cache")
        assert loaded.load_report.verified == "config.json"
    else:
        with pytest.raises(ChecksumError, match=r"config.json: this is not the file that the Hub names"):
            em.from_pretrained(REPO, revision=commit, cache_dir=tmp_path / "cache")
        assert list(folder.iterdir()) == []


def test_files_by_other_names_are_not_taken(hub, saved):
    """Only the two names of a checkpoint are asked for, whatever else the repository holds."""
    files = contents(saved)
    hub.create(REPO)
    hub.commit(REPO, {"config.json": files["config.json"], "weights.safetensors": files["model.safetensors"]})
    with pytest.raises(CheckpointError, match=r"no checkpoint of evermodels"):
        em.from_pretrained(REPO)
    assert not any("weights.safetensors" in path for path in asked(hub))


def test_weights_that_config_json_does_not_declare(hub, saved, model):
    """The repository's weights are whole, and not those that were saved with its config.json."""
    files = contents(saved)
    with torch.no_grad():
        model.scale.fill_(7.0)
    other = contents(model.save_pretrained(saved))["model.safetensors"]
    hub.create(REPO)
    hub.commit(REPO, {**files, "model.safetensors": other})
    with pytest.raises(ChecksumError, match=r"model.safetensors: this is not the file that was declared"):
        em.from_pretrained(REPO)


def test_a_bundled_name_asks_no_hub(hub, listed, saved, tmp_path, monkeypatch):
    listed(bundled=True)
    monkeypatch.setattr(table, "BUNDLED", tmp_path / "bundled")
    shutil.copytree(saved, tmp_path / "bundled" / "tiny_test.own")
    em.from_pretrained("tiny_test.own")
    assert hub.requests == []
