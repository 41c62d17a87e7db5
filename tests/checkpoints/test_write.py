"""Saving: whole or not at all."""

import json

import pytest
import torch

import evermodels as em
from evermodels.checkpoints import write
from evermodels.core.errors import CheckpointError, ChecksumError, ConfigError


def snapshot(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt(), MemoryError()])
@pytest.mark.parametrize("place", ["save_file", "dump_json", "model_card"])
def test_a_failure_leaves_the_old_files(model, saved, monkeypatch, place, error):
    before = snapshot(saved)

    def fail(*args, **kwargs):
        if place == "save_file":
            args[1].write_bytes(b"half")
        if place == "dump_json" and "files" not in args[0]:
            return json.dumps(args[0]).encode()
        raise error

    monkeypatch.setattr(write, place, fail)
    with torch.no_grad():
        model.scale.fill_(3.0)
    with pytest.raises((CheckpointError, type(error)), match="No space left" if isinstance(error, OSError) else None):
        model.save_pretrained(saved)
    assert snapshot(saved) == before


def test_a_failure_leaves_no_file_in_a_new_folder(model, tmp_path, monkeypatch):
    def fail(state, path, metadata):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(write, "save_file", fail)
    with pytest.raises(CheckpointError, match=r"cannot be written .*No space left.*has room"):
        model.save_pretrained(tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.parametrize("killed_at", [0, 1, 2])
def test_a_kill_between_the_renames_is_found(model, saved, monkeypatch, killed_at):
    cls = type(saved)
    replace, done = cls.replace, []

    def kill(self, target):
        if len(done) == killed_at:
            raise OSError(13, "Permission denied")
        done.append(target)
        return replace(self, target)

    with torch.no_grad():
        model.scale.fill_(3.0)
    message = "untouched" if killed_at == 0 else "files of two saves .*save again"
    with monkeypatch.context() as patch, pytest.raises(CheckpointError, match=message):
        patch.setattr(cls, "replace", kill)
        model.save_pretrained(saved)
    if killed_at == 0:
        assert em.from_pretrained(saved).scale.item() == 1.5
    else:
        with pytest.raises(ChecksumError):
            em.from_pretrained(saved)
    model.save_pretrained(saved)
    assert em.from_pretrained(saved).scale.item() == 3.0
    assert len(list(saved.iterdir())) == 3


def test_a_leftover_temporary_file_is_not_read(saved):
    (saved / ".model.safetensors.0.tmp").write_bytes(b"half")
    em.from_pretrained(saved)


def test_a_file_in_the_way(model, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(CheckpointError, match="Check that the place is a folder"):
        model.save_pretrained(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


def test_what_cannot_be_saved(model, tmp_path):
    folder = tmp_path / "none"
    with pytest.raises(ConfigError, match="classes: expected 3 names"):
        model.save_pretrained(folder, classes=("a", "b"))
    with pytest.raises(ConfigError, match=r"training: expected plain JSON values .*\.tolist"):
        model.save_pretrained(folder, training={"loss": torch.ones(1)})
    with pytest.raises(ConfigError, match="training: expected plain JSON values"):
        model.save_pretrained(folder, training={"loss": float("nan")})
    deep = [1]
    for _ in range(3000):
        deep = [deep]
    for wrong in (
        {"training": {"deep": deep}},
        {"training": {"licence": deep}},
        {"card": {"summary": deep}},
        {"card": {"scores": {"UAR": deep}}},
        {"classes": deep},
    ):
        with pytest.raises(ConfigError, match=r"nested|expected|cannot be shown"):
            model.save_pretrained(folder, **wrong)
    for wrong in ({"training": {"a": "\ud800"}}, {"classes": ("a", "b", "\ud800")}):
        with pytest.raises(ConfigError, match="surrogates not allowed"):
            model.save_pretrained(folder, **wrong)
    with pytest.raises(ConfigError, match=r"card: expected a text.*surrogates not allowed"):
        model.save_pretrained(folder, card="# \ud800")
    with pytest.raises(ConfigError, match=r"card: unknown key 'license'. Did you mean 'licence'"):
        model.save_pretrained(folder, card={"license": "mit"})
    with torch.no_grad():
        model.stem.weight[0, 0] = float("inf")
    with pytest.raises(CheckpointError, match=r"stem.weight: has values that are not finite.*Nothing"):
        model.save_pretrained(folder)
    model.stem.reset_parameters()
    model.layers[1].weight = model.layers[0].weight
    with pytest.raises(CheckpointError, match=r"layers.1.weight: shares its memory with layers.0.weight"):
        model.save_pretrained(folder)
    with torch.device("meta"):
        empty = type(model)(model.config)
    with pytest.raises(CheckpointError, match=r"scale: expected a tensor with values"):
        empty.save_pretrained(folder)
    assert not folder.exists()
