"""The folder of a run: what is damaged, shared, linked, full or somebody else's."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
from pathlib import Path

import pytest

from evermodels.core.errors import DataError, EvermodelsError
from evermodels.training import TrainingError, fit, make_table
from evermodels.training.state import locked, read_sealed, write_sealed

EPOCHS = {"epochs": 2, "ema_decay": 0.9}


class Stopped(Exception):
    pass


def half_done(fake, folder, seed=0):
    """A run that ended in its second epoch."""
    parts = fake.make_parts(seed, train=16)

    def stop(epoch):
        if epoch == 1:
            raise Stopped

    parts.train.set_epoch = stop
    with pytest.raises(Stopped):
        fit(fake.make_recipe(**EPOCHS), folder, seed=seed, row="ever", parts=parts, progress=False)


def go_on(fake, folder, **settings):
    settings = {"parts": fake.make_parts(train=16), "row": "ever", "progress": False, **settings}
    return fit(fake.make_recipe(**EPOCHS), folder, **settings)


@pytest.fixture(scope="module")
def runs(fake, tmp_path_factory):
    root = tmp_path_factory.mktemp("folders")
    half_done(fake, root / "half")
    half_done(fake, root / "other", seed=1)
    shutil.copytree(root / "half", root / "whole")
    result = go_on(fake, root / "whole")
    return root, result


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def as_folder(path):
    path.unlink()
    path.mkdir()


def as_file(path):
    shutil.rmtree(path)
    path.write_bytes(b"")


def edited(path):
    path.write_text(path.read_text().replace('"epoch": 1', '"epoch": 2', 1))


def from_another_run(path):
    shutil.rmtree(path)
    shutil.copytree(path.parents[1] / "other" / path.name, path)


DAMAGE = {
    "run.json empty": ("run.json", lambda p: p.write_bytes(b"")),
    "run.json cut": ("run.json", cut),
    "run.json a list": ("run.json", lambda p: p.write_text("[1]")),
    "run.json without digest": ("run.json", lambda p: p.write_text('{"recipe": 5}')),
    "run.json in Latin-1": ("run.json", lambda p: p.write_bytes(b'{"a": "\\xfc"}')),
    "run.json nested": ("run.json", lambda p: p.write_text(100_000 * "[")),
    "run.json a folder": ("run.json", as_folder),
    "progress empty": ("state-0001/progress.json", lambda p: p.write_bytes(b"")),
    "progress of wrong types": ("state-0001/progress.json", lambda p: write_sealed(p, {"run": 3, "epochs_done": "x"})),
    "progress edited": ("state-0001/progress.json", edited),
    "progress missing": ("state-0001/progress.json", Path.unlink),
    "progress a folder": ("state-0001/progress.json", as_folder),
    "weights cut": ("state-0001/model.safetensors", cut),
    "optimiser flipped": ("state-0001/optimizer.bin", flip),
    "random states flipped": ("state-0001/random_states_0.pkl", flip),
    "average missing": ("state-0001/ema.safetensors", Path.unlink),
    "state empty": ("state-0001", lambda p: (shutil.rmtree(p), p.mkdir())),
    "state a file": ("state-0001", as_file),
    "state of another run": ("state-0001", from_another_run),
    "state of another epoch": ("state-0001", lambda p: p.rename(p.with_name("state-0002"))),
    "best model flipped": ("model/model.safetensors", flip),
    "best model missing": ("model", shutil.rmtree),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_named_with_the_way_out(runs, fake, tmp_path, kind):
    root, _ = runs
    shutil.copytree(root / "half", tmp_path / "run")
    shutil.copytree(root / "other", tmp_path / "other")
    name, damage = DAMAGE[kind]
    damage(tmp_path / "run" / name)
    before = sorted(path.name for path in (tmp_path / "run").iterdir())
    with pytest.raises(TrainingError, match=r"damaged.*--restart") as caught:
        go_on(fake, tmp_path / "run")
    assert len(str(caught.value)) < 2000
    assert sorted({*before, ".lock"}) == sorted(path.name for path in (tmp_path / "run").iterdir())


def test_beginning_anew_mends_every_damage(runs, fake, tmp_path):
    root, whole = runs
    shutil.copytree(root / "half", tmp_path / "run")
    as_folder(tmp_path / "run" / "run.json")
    as_file(tmp_path / "run" / "state-0001")
    as_file(tmp_path / "run" / "model")
    (tmp_path / "run" / "result.json").mkdir()
    for mine in ("notes.part", ".result.json.part", "state-of-things", "state-1"):
        (tmp_path / "run" / mine).write_text("mine")
    assert go_on(fake, tmp_path / "run", resume=False)["test"] == whole["test"]
    assert all((tmp_path / "run" / n).read_text() == "mine" for n in ("notes.part", "state-of-things", "state-1"))


def test_a_damaged_result_is_not_read(runs, fake, tmp_path):
    root, whole = runs
    folder = tmp_path / "ever" / "seed-0"
    shutil.copytree(root / "whole", folder)
    assert go_on(fake, folder) == read_sealed(folder / "result.json") == whole
    text = (folder / "result.json").read_text()
    for damaged in ("", text[:100], text.replace('"uar": 0.', '"uar": 1.', 1), "5"):
        (folder / "result.json").write_text(damaged)
        with pytest.raises(TrainingError, match=r"result.json' is damaged.*--restart"):
            go_on(fake, folder)
        with pytest.raises(TrainingError, match=r"result.json' is damaged.*--restart"):
            make_table(fake.make_recipe(**EPOCHS), tmp_path, seeds=[0], rows=["ever"])
    (folder / "result.json").write_text(text)
    cut(folder / "predictions.npz")
    with pytest.raises(DataError, match=r"predictions.npz' cannot be read .*--restart"):
        make_table(fake.make_recipe(**EPOCHS), tmp_path, seeds=[0], rows=["ever"])


def test_two_runs_in_one_folder_are_refused(fake, tmp_path):
    (tmp_path / "run").mkdir()
    for resume in (True, False):
        with locked(tmp_path / "run"), pytest.raises(TrainingError, match="another process is training there"):
            go_on(fake, tmp_path / "run", resume=resume)
    # What a killed process leaves: the file without its lock.
    assert (tmp_path / "run" / ".lock").is_file()
    with locked(tmp_path / "run"):
        pass


def test_beginning_anew_removes_nothing_before_all_else_is_right(runs, fake, tmp_path):
    root, whole = runs
    shutil.copytree(root / "whole", tmp_path / "run")
    recipe = fake.make_recipe(**EPOCHS)
    wrong = recipe.replace(model=recipe.model.replace(config={**fake.MODEL, "dimm": 3}))
    for attempt in (
        lambda: go_on(fake, tmp_path / "run", resume=False, parts=None, data_root=tmp_path / "nowhere"),
        lambda: fit(wrong, tmp_path / "run", row="ever", resume=False, parts=fake.make_parts(), progress=False),
        lambda: go_on(fake, tmp_path / "run", resume=False, seed=-1),
        lambda: go_on(fake, tmp_path / "run", resume=False, row="evr"),
    ):
        with pytest.raises(EvermodelsError):
            attempt()
    assert go_on(fake, tmp_path / "run") == whole and (tmp_path / "run" / "model" / "model.safetensors").is_file()


@pytest.mark.parametrize("name", ["model", "state-0001", "run.json", ""])
def test_links_are_not_followed(runs, fake, tmp_path, name):
    root, _ = runs
    shutil.copytree(root / "half", tmp_path / "run")
    (tmp_path / "run" / name).rename(tmp_path / "outside")
    (tmp_path / "run" / name).symlink_to(tmp_path / "outside")

    def everything():
        return sorted(str(path) for path in tmp_path.rglob("*") if path.name != ".lock")

    before = everything()
    for resume in (True, False):
        with pytest.raises(TrainingError, match="is a link, and a run writes and removes in its own folder only"):
            go_on(fake, tmp_path / "run", resume=resume)
    assert everything() == before


@pytest.mark.parametrize("resume", [True, False])
def test_a_folder_that_no_run_describes_is_left_alone(fake, tmp_path, resume):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").write_text("mine")
    with pytest.raises(TrainingError, match=r"holds model and no run.json.*nothing was removed"):
        go_on(fake, tmp_path, resume=resume)
    assert (tmp_path / "model" / "model.safetensors").read_text() == "mine"


@contextlib.contextmanager
def room(size):
    """No file may become larger: what a full disk does, in one process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_stops_a_run_that_goes_on_later(runs, fake, tmp_path):
    root, whole = runs
    folder = tmp_path / "run"
    largest = max(path.stat().st_size for path in (root / "half").rglob("*") if path.is_file())
    weights = (root / "half" / "model" / "model.safetensors").stat().st_size
    assert weights < largest
    for size in (10, 3000, weights + 2000, largest - 1):
        with room(size), pytest.raises(EvermodelsError, match="cannot be written"):
            go_on(fake, folder)
        assert not list(folder.glob("**/*.part")), size
    assert go_on(fake, folder)["test"] == whole["test"]


def test_a_folder_without_permission_is_named(fake, tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs").chmod(0o555)
    user = os.geteuid()
    with contextlib.ExitStack() as stack:
        if user == 0:  # who may do everything
            os.seteuid(65534)
            stack.callback(os.seteuid, 0)
        with pytest.raises(TrainingError, match=r"cannot be written \(PermissionError.*Free space, or give a folder"):
            go_on(fake, tmp_path / "runs" / "ever")
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match="cannot be written"):
        go_on(fake, tmp_path / "file" / "ever")
