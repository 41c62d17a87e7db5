"""The weight table: each entry complete, verified and loadable."""

import json
import re

import pytest
import torch
import yaml
from huggingface_hub import ModelCard, metadata_load

import evermodels as em
from evermodels.checkpoints import bundle
from evermodels.checkpoints.card import NOT_THIS, check_card
from evermodels.checkpoints.read import meta_tensors
from evermodels.checkpoints.table import (
    BUNDLED,
    BUNDLED_LIMIT,
    NON_COMMERCIAL,
    bundled_folder,
    left_out,
    load_table,
    lookup,
)
from evermodels.checkpoints.verify import FileDigest
from evermodels.core.errors import CheckpointError, ConfigError, UnknownNameError
from evermodels.training import list_recipes

# A source distribution has no files for non-commercial use.
NAMES = [name for name, entry in sorted(load_table().items()) if not left_out(name, entry)]


@pytest.mark.parametrize("name", NAMES)
def test_entry_has_files_card_score_and_recipe(name):
    entry = lookup(name)
    assert 0 < entry.score.value <= 1
    assert entry.recipe in [*list_recipes(), *list_recipes(folder="pretraining_recipes")]
    if not entry.bundled:
        return  # its files, the card among them, have digests and a commit: the table refuses an entry without
    folder = bundled_folder(name, entry)
    for file, digest in entry.files.items():
        assert FileDigest.of_file(folder / file) == digest, file
    assert sorted(p.name for p in folder.iterdir()) == sorted(entry.files)


@pytest.mark.parametrize("name", [name for name in NAMES if lookup(name).bundled])
def test_card_says_what_the_table_says(name):
    entry = lookup(name)
    path = bundled_folder(name, entry) / "README.md"
    card = ModelCard.load(path)
    check_card(path.read_text(encoding="utf-8"), str(path))
    assert metadata_load(path) == yaml.safe_load(card.data.to_yaml())
    assert card.data.library_name == "evermodels"
    assert card.data.license == entry.licence
    assert card.data.model_name == name
    for metadata in (card.data.datasets, card.data.metrics, card.data.base_model or []):
        assert all(re.fullmatch(r"[\w.-]+(/[\w.-]+)?", word, re.ASCII) for word in metadata)  # the Hub takes no prose
    scores = {result.metric_name: result.metric_value for result in card.data.eval_results}
    assert scores[entry.score.name] == entry.score.value
    for fact in (f"## {NOT_THIS}", entry.protocol, entry.data, f"- recipe: {entry.recipe}\n"):
        assert fact in card.text


@pytest.mark.parametrize("name", NAMES)
def test_entry_loads(name):
    model = em.from_pretrained(name)
    assert meta_tensors(model) == []
    assert not model.training
    assert model.architecture == name.partition(".")[0]
    assert model.load_report.verified == "the weight table"
    assert not model.load_report.reinitialised
    assert len(model.classes or ()) == model.config.num_classes  # an encoder that gives an embedding has none
    if "_tiny" in name:
        assert sum(p.numel() for p in model.parameters()) <= 1_500_000
    assert all(torch.isfinite(t).all() for t in model.state_dict().values())


def test_bundled_files():
    both = (BUNDLED, NON_COMMERCIAL)  # the second is there in a checkout alone
    sizes = {p: p.stat().st_size for folder in both for p in folder.rglob("*") if p.is_file()}
    assert sum(sizes.values()) < BUNDLED_LIMIT
    assert {p.parent.name for p in sizes} == {name for name in NAMES if lookup(name).bundled}


@pytest.fixture
def place(tmp_path):
    path = tmp_path / "table" / "table.json"
    path.parent.mkdir()
    path.write_text('{"format_version": 1, "entries": {}}')
    return {"table_path": path, "bundled": tmp_path / "table" / "bundled"}


GIVEN = {"licence": "mit", "data": "d", "protocol": "p", "recipe": "r", "score": {"metric": "UAR", "value": 0.6}}


def test_bundle(saved, place):
    entry = bundle.add_to_table(saved, "tiny_test.own", **GIVEN, **place)
    assert load_table(place["table_path"]) == {"tiny_test.own": entry}
    folder = place["bundled"] / "tiny_test.own"
    assert {p.name: FileDigest.of_file(p) for p in folder.iterdir()} == entry.files
    assert (folder / "model.safetensors").read_bytes() == (saved / "model.safetensors").read_bytes()
    assert em.from_pretrained(folder).provenance == {
        "recipe": "r",
        "seed": 1,
        "licence": "mit",
        "data": "d",
        "protocol": "p",
        "scores": {"UAR": {"value": 0.6}},
    }
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert 'em.from_pretrained("tiny_test.own")' in text and "| UAR | 0.600 |" in text
    with pytest.raises(ConfigError, match=r"'tiny_test.own' exists.*replace"):
        bundle.add_to_table(saved, "tiny_test.own", **GIVEN, **place)
    again = bundle.add_to_table(saved, "tiny_test.own", **{**GIVEN, "data": "other"}, replace=True, **place)
    assert load_table(place["table_path"])["tiny_test.own"] == again != entry
    assert len(list(place["table_path"].parent.iterdir())) == 2


def test_bundle_takes_what_training_says(model, tmp_path, place):
    training = {
        "licence": "apache-2.0",
        "datasets": ["x", "y"],
        "protocol": "p",
        "recipe": "r",
        "scores": {"UAR": {"value": 0.7, "low": 0.6, "high": 0.8, "people": "6"}, "accuracy": 0.9},
    }
    folder = model.save_pretrained(tmp_path / "own", training=training)
    entry = bundle.add_to_table(folder, "tiny_test.own", **place)
    assert (entry.licence, entry.data, str(entry.score)) == (
        "apache-2.0",
        "x, y",
        "UAR 0.700 [0.600, 0.800] (6)",
    )


@pytest.mark.parametrize(
    ("name", "change", "error", "message"),
    [
        ("tiny_tset.own", {}, UnknownNameError, "Did you mean 'tiny_test'"),
        ("tiny_test", {}, ConfigError, r"expected 'arch.tag'"),
        ("tiny_test.../x", {}, ConfigError, r"expected 'arch.tag'"),
        ("ever_tiny.own", {}, ConfigError, "does not fit 'tiny_test'"),
        ("tiny_test.own", {"protocol": None, "score": None}, ConfigError, "protocol, score: not given"),
        ("tiny_test.own", {"score": {"metric": "UAR"}}, ConfigError, "missing key 'value'"),
        ("tiny_test.own", {"score": {"metric": "UAR", "value": 1, "low": 0}}, ConfigError, "both low and high"),
    ],
)
def test_bundle_refuses(saved, place, name, change, error, message):
    with pytest.raises(error, match=message):
        bundle.add_to_table(saved, name, **{**GIVEN, **change}, **place)
    assert load_table(place["table_path"]) == {}
    assert not place["bundled"].exists()


def test_bundle_refuses_a_damaged_folder(saved, place, monkeypatch):
    monkeypatch.setattr(bundle, "BUNDLED_LIMIT", 100)
    with pytest.raises(CheckpointError, match=r"bytes, the limit is 100"):
        bundle.add_to_table(saved, "tiny_test.own", **GIVEN, **place)
    (saved / "model.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match="not the file that was declared"):
        bundle.add_to_table(saved, "tiny_test.own", **GIVEN, **place)


def test_bundle_command(saved, monkeypatch, capsys, place):
    add = bundle.add_to_table
    monkeypatch.setattr(bundle, "add_to_table", lambda *a, **k: add(*a, **k, **place))
    facts = place["table_path"].parent / "facts.json"
    facts.write_text('{"not_this": ["Not a toy."]}')
    words = [word for key in ("licence", "data", "protocol", "recipe") for word in (f"--{key}", GIVEN[key])]
    bundle.main([str(saved), "tiny_test.own", *words, "--score", json.dumps(GIVEN["score"]), "--training", str(facts)])
    assert "tiny_test.own: UAR 0.600" in capsys.readouterr().out
    assert "- Not a toy." in (place["bundled"] / "tiny_test.own" / "README.md").read_text(encoding="utf-8")


def test_an_empty_list_says_what_is_close(recwarn):
    for pattern, pretrained, hint in (
        ("ever", False, r"no model matches 'ever', .*list_models\('\*ever\*'\) finds ever_base, ever_paper, ever"),
        ("EVER", False, r"no model matches 'EVER', .*list_models\('\*ever\*'\) finds ever_base"),
        ("ever", True, r"no checkpoint matches 'ever', .*finds ever_tiny.quadrant"),
        ("audio_mamba_tinny", False, r"no model matches .* Did you mean 'audio_mamba_tiny'"),
        ("zzz", False, r"no model matches 'zzz', which stands for the whole name\.$"),
    ):
        with pytest.warns(UserWarning, match=hint):
            assert em.list_models(pattern, pretrained=pretrained) == []
    assert em.list_models("ever*") and not recwarn.list
    with pytest.raises(ConfigError, match="pattern: expected a text"):
        em.list_models(5)


FILES = {name: {"size": 1, "sha256": "0" * 64} for name in ("config.json", "model.safetensors", "README.md")}
ROW = {**GIVEN, "bundled": True, "files": FILES}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"files": {}}, "files: expected exactly config.json"),
        ({"files": {**FILES, "x.bin": FILES["README.md"]}}, "files: expected exactly config.json"),
        ({"licence": " "}, "licence: expected a text"),
        ({"recipe": 3}, "recipe: expected str"),
        ({"bundled": False}, "bundled: expected true, or a repo_id"),
        ({"repo_id": "a/b"}, "revision: expected a commit together with repo_id"),
        ({"repo_id": "a/b", "revision": "main"}, "revision: expected a commit of 40"),
        ({"scor": 1}, "unknown key 'scor'. Did you mean 'score'"),
    ],
)
def test_wrong_entry(tmp_path, change, message):
    path = tmp_path / "table.json"
    path.write_text(json.dumps({"format_version": 1, "entries": {"ever_tiny.x": {**ROW, **change}}}))
    with pytest.raises(ConfigError, match=message):
        load_table(path)


@pytest.mark.parametrize("key", ["licence", "data", "protocol", "score", "recipe", "files"])
def test_an_entry_without(tmp_path, key):
    path = tmp_path / "table.json"
    row = {k: v for k, v in ROW.items() if k != key}
    path.write_text(json.dumps({"format_version": 1, "entries": {"ever_tiny.x": row}}))
    with pytest.raises(ConfigError, match=rf"ever_tiny.x: entry: missing key '{key}'"):
        load_table(path)
    row["files"] = {name: digest for name, digest in FILES.items() if name != "README.md"}
    path.write_text(json.dumps({"format_version": 1, "entries": {"ever_tiny.x": {**ROW, **row}}}))
    with pytest.raises(ConfigError, match=r"files: expected exactly config.json, model.safetensors and README.md"):
        load_table(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"entries": {}}', "expected format_version 1 and entries"),
        ('{"format_version": 2, "entries": {}}', "expected format_version 1 and entries"),
        ('{"format_version": 1, "entries": []}', "entries: expected a mapping"),
        ('{"format_version": 1, "entries": {"ever_tiny.x": 3}}', "expected a mapping, got int"),
    ],
)
def test_wrong_table(tmp_path, text, message):
    path = tmp_path / "table.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_table(path)
