"""The recipe's data on the real recordings, and what is refused without them."""

from __future__ import annotations

import pytest
import torch

from evermodels.core.errors import ConfigError, DataError
from evermodels.training import build_model, load_recipe, make_parts
from evermodels.training.data import check_disjoint, class_counts, people


def test_a_missing_folder_is_named(monkeypatch, tmp_path):
    recipe = load_recipe("ever_tiny_quadrant")
    spec = build_model(recipe.for_row("ever")).input_spec
    monkeypatch.delenv("EVERMODELS_DATA", raising=False)
    with pytest.raises(DataError, match=r"eegmat: the environment variable EVERMODELS_DATA is not set.*--data"):
        make_parts(recipe, spec, seed=0)
    with pytest.raises(DataError, match=r"eegmat: there is no folder '.*nowhere/eegmat'"):
        make_parts(recipe, spec, seed=0, data_root=tmp_path / "nowhere")


def test_counts_and_people_of_a_plain_set(fake):
    parts = fake.make_parts()
    assert class_counts(parts.train, 4) == [12, 12, 12, 12]
    assert people(parts.test) == {"eeg": ["e8", "e9"], "faces": ["f8", "f9"]}
    plain = [{"label": i % 2, "eeg_subject": "a", "face_id": "b"} for i in range(3)]
    assert class_counts(plain, 2) == [2, 1] and people(plain) == {"eeg": ["a"], "faces": ["b"]}
    with pytest.raises(ConfigError, match="part: expected"):
        parts.part("all")
    with pytest.raises(DataError, match="faces of f1 are in test and in train"):
        check_disjoint({"test": {"faces": ["f1", "f2"]}, "train": {"faces": ["f1"]}})


def test_the_recipes_parts_fit_its_model(real_data):
    recipe = load_recipe("ever_tiny_quadrant")
    model = build_model(recipe.for_row("ever"))
    parts = make_parts(recipe, model.input_spec, seed=0, data_root=real_data)
    split = {name: people(parts.part(name)) for name in ("train", "validation", "test")}
    assert split["test"]["eeg"] == [str(i) for i in range(30, 36)]
    assert [len(split[name]["faces"]) for name in split] == [68, 17, 17]
    check_disjoint(split)
    alone = build_model(recipe.for_row("video"))
    other = make_parts(recipe, alone.input_spec, seed=1, data_root=real_data)
    for part in ("validation", "test"):
        assert parts.part(part).digest == other.part(part).digest
        counts = parts.part(part).class_counts
        assert len(set(counts)) == 1
    batch = torch.utils.data.default_collate([parts.test[0], parts.test[1]])
    with torch.no_grad():
        assert model.eval()(eeg=batch["eeg"], video=batch["video"]).logits.shape == (2, len(parts.classes))
