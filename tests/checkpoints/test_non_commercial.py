"""What was trained on recordings for non-commercial use: apart from the package, and said when it is loaded."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

import evermodels as em
from evermodels.checkpoints import bundle, table
from evermodels.core.errors import CheckpointError
from evermodels.core.specs import MODALITIES
from evermodels.core.warning import LicenceWarning, is_non_commercial
from evermodels.models import EVER

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(em.__file__).parents[1]
NAME = "ever_tiny.private"


@pytest.fixture
def bundled(tmp_path, monkeypatch):
    """A package with one checkpoint more, which may not be used commercially."""
    model = em.create_model("ever_tiny", modalities=("video",))
    folder = model.save_pretrained(tmp_path / "run")
    (tmp_path / "table.json").write_bytes(table.TABLE_PATH.read_bytes())
    score = {"metric": "UAR", "value": 0.5, "people": "nobody"}
    given = {"licence": "cc-by-nc-sa-4.0", "data": "none", "protocol": "none", "recipe": "ever_tiny_quadrant"}
    places = {"table_path": tmp_path / "table.json", "bundled": tmp_path / "bundled"}
    bundle.add_to_table(folder, NAME, score=score, **given, **places)
    monkeypatch.setattr(table, "TABLE_PATH", tmp_path / "table.json")
    monkeypatch.setattr(table, "BUNDLED", tmp_path / "bundled")
    return tmp_path


def test_it_lies_in_a_folder_of_its_own_and_says_its_licence(bundled):
    assert sorted(p.name for p in bundled.iterdir()) == ["bundled_noncommercial", "run", "table.json"]
    with pytest.warns(LicenceWarning, match=rf"{NAME} is for non-commercial use \(cc-by-nc-sa-4\.0\)"):
        model = em.from_pretrained(NAME)
    assert isinstance(model, EVER) and NAME in table.pretrained_names("ever_tiny")
    with pytest.warns(LicenceWarning, match="non-commercial"):
        em.from_pretrained(bundled / "bundled_noncommercial" / NAME)


def test_an_installation_without_it_says_where_it_is(bundled):
    (bundled / "bundled_noncommercial").rename(bundled / "elsewhere")
    assert NAME not in table.pretrained_names() and "ever_tiny.quadrant" in table.pretrained_names()
    with pytest.raises(CheckpointError, match=r"allows no commercial use, so it does not come with the package"):
        em.from_pretrained(NAME)
    with pytest.warns(LicenceWarning):
        em.from_pretrained(bundled / "elsewhere" / NAME)


@pytest.mark.skipif(not table.NON_COMMERCIAL.is_dir(), reason="a source distribution leaves the folder out")
@pytest.mark.parametrize("target", ["valence", "arousal"])
def test_what_was_trained_on_ceap_is_there_in_a_checkout_alone(target, monkeypatch, tmp_path):
    name = f"mood_reader_tiny.ceap_{target}"
    entry = table.load_table()[name]
    assert is_non_commercial(entry.licence) and table.bundled_folder(name, entry).parent == table.NON_COMMERCIAL
    with pytest.warns(LicenceWarning, match=rf"{name} is for non-commercial use \(cc-by-nc-sa-4\.0\)"):
        model = em.from_pretrained(name)
    assert model.modalities == ("eye",) and model.classes == (f"low {target}", f"high {target}")
    eye = torch.randn(2, *model.input_spec.shape("eye"))
    assert model(eye=eye).probabilities.sum(dim=1).tolist() == pytest.approx([1, 1])
    card = (table.NON_COMMERCIAL / name / "README.md").read_text(encoding="utf-8")
    assert "license: cc-by-nc-sa-4.0" in card and "which of the eight videos" in card
    # as it is where the package was installed from a wheel
    (tmp_path / "bundled").symlink_to(table.BUNDLED)
    monkeypatch.setattr(table, "BUNDLED", tmp_path / "bundled")
    assert name not in table.pretrained_names()
    with pytest.raises(CheckpointError, match=rf"commercial use.*evermodels/checkpoints/bundled_noncommercial/{name}"):
        em.from_pretrained(name)


def test_the_packages_leave_the_folder_out():
    targets = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]
    folder = table.NON_COMMERCIAL.relative_to(ROOT).as_posix()
    assert folder in targets["wheel"]["exclude"] and folder in targets["sdist"]["exclude"]


def test_nothing_else_in_the_package_is_under_such_a_licence():
    for name, entry in table.load_table().items():
        inside = (table.BUNDLED / name).is_dir()
        assert not (inside and is_non_commercial(entry.licence)), name


def test_a_checkpoint_is_listed_by_what_it_takes_itself():
    """Mood Reader takes EEG and eyes, these two of it eyes alone."""
    for name, entry in table.load_table().items():
        if table.bundled_folder(name, entry).is_dir():
            spec = em.from_pretrained(name).input_spec
            assert spec is not None
            assert tuple(m for m in MODALITIES if entry.takes(m, name)) == spec.modalities, name
    assert not any(".ceap_" in name for name in em.list_models(modality="eeg", pretrained=True))
