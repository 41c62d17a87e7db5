"""Publishing: verified before, one commit, nothing where nothing changed."""

import json

import pytest
import torch
from huggingface_hub import ModelCard

import evermodels as em
from evermodels import cli
from evermodels.checkpoints.push import push_to_hub
from evermodels.core.errors import CheckpointError, ConfigError
from tests.hub_server import client_of

REPO = "org/tiny"
FILES = ["README.md", "config.json", "model.safetensors"]
TRAINING = {"licence": "mit", "datasets": ["x"], "protocol": "p", "recipe": "r", "scores": {"UAR": 0.7}}


@pytest.fixture(autouse=True)
def _member(hub, tmp_path):
    """The user has logged in."""
    with client_of(hub, tmp_path / "hf", HF_TOKEN=hub.token):
        yield


def history(hub, repo_id=REPO):
    return list(hub.repos[repo_id].messages.values())


def test_a_model_in_one_commit(hub, model):
    pushed = model.push_to_hub(REPO, classes=("a", "b", "c"), training=TRAINING, card={"summary": "A test."})
    assert history(hub) == ["initial commit", "Upload a checkpoint of evermodels"]
    assert sorted(hub.files(REPO)) == [".gitattributes", *FILES]
    assert pushed == (REPO, hub.repos[REPO].branches["main"], f"{hub.url}/{REPO}/commit/{pushed.commit}", True)
    assert not hub.repos[REPO].private
    loaded = em.from_pretrained(REPO, revision=pushed.commit)
    x = torch.randn(5, 6)
    assert torch.equal(loaded(x), model(x))
    assert (loaded.classes, loaded.provenance) == (("a", "b", "c"), TRAINING)
    card = ModelCard(hub.files(REPO)["README.md"].decode())
    assert (card.data.license, card.data.library_name, card.data.model_name) == ("mit", "evermodels", "tiny")
    assert [(r.metric_type, r.metric_value) for r in card.data.eval_results] == [("UAR", 0.7)]
    assert 'em.from_pretrained("org/tiny")' in card.text and "# tiny\n\nA test." in card.text


def test_the_second_push_changes_nothing(hub, model, saved):
    first = model.push_to_hub(REPO)
    for again in (model.push_to_hub(REPO), model.push_to_hub(REPO, commit_message="other")):
        assert again == first._replace(changed=False)
    assert len(history(hub)) == 2
    hub.requests.clear()
    push_to_hub(saved, "org/folder")
    uploads = [r for r in hub.requests if r.method == "PUT"]
    hub.requests.clear()
    assert not push_to_hub(saved, "org/folder").changed
    assert len(uploads) == 0  # the same weights lie there already, for the other repository
    assert not any(r.method == "PUT" or "/commit/" in r.path for r in hub.requests)


def test_only_what_changed_is_uploaded(hub, model, saved):
    push_to_hub(saved, REPO)
    card = saved / "README.md"
    card.write_text(card.read_text(encoding="utf-8") + "\nMore.\n", encoding="utf-8")
    hub.requests.clear()
    assert push_to_hub(saved, REPO, commit_message="A better card").changed
    assert history(hub)[-1] == "A better card"
    assert not any(r.method == "PUT" for r in hub.requests)
    assert hub.files(REPO)["README.md"].endswith(b"\nMore.\n")
    with torch.no_grad():
        model.scale.fill_(7.0)
    model.push_to_hub(REPO)
    assert em.from_pretrained(REPO).scale.item() == 7.0


def test_what_else_the_repository_holds_stays(hub, saved):
    hub.create(REPO)
    hub.commit(REPO, {"logs/train.csv": b"1"})
    push_to_hub(saved, REPO)
    assert hub.files(REPO)["logs/train.csv"] == b"1"


def test_private_branch_and_pull_request(hub, model, saved):
    model.push_to_hub("org/secret", private=True)
    assert hub.repos["org/secret"].private
    pushed = push_to_hub(saved, REPO, revision="next")
    assert (hub.repos[REPO].branches["next"], sorted(hub.files(REPO))) == (pushed.commit, [".gitattributes"])
    assert em.from_pretrained(REPO, revision="next").scale.item() == 1.5
    assert not push_to_hub(saved, REPO, revision="next").changed
    asked = push_to_hub(saved, REPO, create_pr=True)
    assert asked.changed and asked.url == f"{hub.url}/{REPO}/discussions/1"
    assert sorted(hub.files(REPO)) == [".gitattributes"]


@pytest.mark.parametrize("damage", ["bit", "missing", "config"])
def test_what_does_not_load_is_not_pushed(hub, saved, damage):
    path = saved / "model.safetensors"
    if damage == "bit":
        data = path.read_bytes()
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif damage == "missing":
        path.unlink()
    else:
        content = json.loads((saved / "config.json").read_text())
        (saved / "config.json").write_text(json.dumps({**content, "clases": []}))
    with pytest.raises((CheckpointError, ConfigError)):
        push_to_hub(saved, REPO)
    assert hub.requests == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# Mine\n", r"README.md: expected metadata with 'library_name: evermodels', got None"),
        ("---\nlibrary_name: timm\n---\n## What this is not\n", r"got 'timm'. Save the model again"),
        (
            "---\nlibrary_name: evermodels\n---\n# Mine\n",
            r"expected a section '## What this is not', and there is none",
        ),
        ("---\n: : [\n---\n", r"README.md: its metadata cannot be read"),
        ("---\n- a\n---\n", r"README.md: its metadata cannot be read"),
    ],
)
def test_a_card_that_says_too_little(hub, saved, text, message):
    (saved / "README.md").write_text(text)
    with pytest.raises(ConfigError, match=message):
        push_to_hub(saved, REPO)
    (saved / "README.md").unlink()
    with pytest.raises(CheckpointError, match=r"README.md: cannot be read"):
        push_to_hub(saved, REPO)
    assert hub.requests == []


def test_metadata_that_the_hub_refuses(hub, saved):
    hub.fault("validate-yaml", 400)
    with pytest.raises(CheckpointError, match=rf"{REPO}: ValueError: Invalid metadata in README.md"):
        push_to_hub(saved, REPO)
    assert history(hub) == ["initial commit"]


def test_a_card_of_its_own(hub, saved):
    text = "---\nlibrary_name: evermodels\n---\n# Mine\n\n## What this is not\n\nA toy.\n"
    (saved / "README.md").write_text(text)
    push_to_hub(saved, REPO)
    assert hub.files(REPO)["README.md"].decode() == text


@pytest.mark.parametrize("name", ["tiny", "../tiny", "a/b/c", "", "https://huggingface.co/a/b"])
def test_names_that_are_no_repository(hub, model, name):
    with pytest.raises(ConfigError, match=r"repo_id: expected 'organisation/name', got"):
        model.push_to_hub(name)
    assert hub.requests == []


def test_no_folder(hub, tmp_path):
    with pytest.raises(CheckpointError, match=r"none: no such folder. Give one that model.save_pretrained wrote"):
        push_to_hub(tmp_path / "none", REPO)


def test_without_the_right_to_write(hub, model):
    hub.create(REPO)
    for token, status in ((hub.read_token, 403), (False, 401)):
        with pytest.raises(
            CheckpointError, match=rf"{REPO}: the Hub refuses \(status {status}\).*with the right to do"
        ):
            model.push_to_hub(REPO, token=token)
    with pytest.raises(CheckpointError, match=r"org/new: the Hub refuses \(status 403\)"):
        model.push_to_hub("org/new", token=hub.stranger_token)
    assert history(hub) == ["initial commit"]
    assert "org/new" not in hub.repos


def test_the_card_of_a_name_in_the_table_keeps_it(hub, tmp_path):
    from evermodels.checkpoints.table import BUNDLED

    push_to_hub(BUNDLED / "ever_tiny.quadrant", "org/ever-tiny-quadrant")
    for name, content in hub.files("org/ever-tiny-quadrant").items():
        if name in FILES:
            assert content == (BUNDLED / "ever_tiny.quadrant" / name).read_bytes(), name


def test_from_the_command_line(hub, saved, capsys):
    words = ["push", str(saved), REPO, "--message", "By hand", "--private", "--revision", "next"]
    assert cli.main(words) == 0
    commit = hub.repos[REPO].branches["next"]
    assert capsys.readouterr().out.splitlines() == [
        f"pushed: {hub.url}/{REPO}/commit/{commit}",
        f"load it with: em.from_pretrained('{REPO}', revision='{commit}')",
    ]
    assert history(hub)[-1] == "By hand" and hub.repos[REPO].private
    assert cli.main(words) == 0
    assert capsys.readouterr().out.startswith(f"nothing has changed: {hub.url}/{REPO}/commit/{commit}\n")
    (saved / "model.safetensors").write_bytes(b"")
    assert cli.main(words) == 2
    assert "model.safetensors: this is not the file that was declared" in capsys.readouterr().err
