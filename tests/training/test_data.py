"""The recipe's data on the real recordings, and what is refused without them."""

from __future__ import annotations

import pytest
import torch

from evermodels.core.errors import ConfigError, DataError
from evermodels.datasets import DataSettings, Parts, check_disjoint
from evermodels.training import build_model, load_recipe


def test_a_missing_folder_is_named(monkeypatch, tmp_path):
    recipe = load_recipe("ever_tiny_quadrant")
    spec = build_model(recipe.for_row("ever")).input_spec
    monkeypatch.delenv("EVERMODELS_DATA", raising=False)
    with pytest.raises(DataError, match=r"eegmat: the environment variable EVERMODELS_DATA is not set.*--data"):
        recipe.data.parts(spec)
    with pytest.raises(DataError, match=r"eegmat: there is no folder '.*nowhere/eegmat'"):
        recipe.data.parts(spec, data_root=tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=r"data.dataset: none is named. Name one of .*quadrant_pairs, "):
        DataSettings().parts(spec)


def test_counts_and_people_of_a_plain_set(fake):
    parts = fake.make_parts()
    assert parts.class_counts() == [12, 12, 12, 12]
    assert parts.people("test") == {"eeg_subject": ["e8", "e9"], "face_id": ["f8", "f9"]}
    plain = [{"label": i % 2, "person": "a", "speaker": "b" if i else ""} for i in range(3)]
    parts = Parts(plain, plain, plain, ("x", "y"), groups=("person", "speaker"))
    assert parts.class_counts() == [2, 1] and parts.people("train") == {"person": ["a"], "speaker": ["b"]}
    assert parts.levels == {}
    with pytest.raises(ConfigError, match="part: expected"):
        parts.part("all")
    with pytest.raises(DataError, match="face_id f1 is in test and in train"):
        check_disjoint({"test": {"face_id": ["f1", "f2"]}, "train": {"face_id": ["f1"]}})
    with pytest.raises(DataError, match=r"the items have no 'face'.*they have label, person, speaker.*groups="):
        parts._replace(groups=("person", "face")).people("test")


def test_the_recipes_parts_fit_its_model(real_data):
    recipe = load_recipe("ever_tiny_quadrant")
    model = build_model(recipe.for_row("ever"))
    parts = recipe.data.parts(model.input_spec, data_root=real_data)
    split = {name: parts.people(name) for name in ("train", "validation", "test")}
    assert split["test"]["eeg_subject"] == [str(i) for i in range(30, 36)]
    assert [len(split[name]["face_id"]) for name in split] == [68, 17, 17]
    assert {name: of.tolist() for name, of in parts.levels.items()} == {
        "arousal": [0, 0, 1, 1],
        "valence": [0, 1, 0, 1],
    }
    check_disjoint(split)
    alone = build_model(recipe.for_row("video"))
    other = recipe.data.parts(alone.input_spec, seed=1, data_root=real_data)
    for part in ("validation", "test"):
        assert parts.part(part).digest == other.part(part).digest
        counts = parts.part(part).class_counts
        assert len(set(counts)) == 1
    batch = torch.utils.data.default_collate([parts.test[0], parts.test[1]])
    with torch.no_grad():
        assert model.eval()(eeg=batch["eeg"], video=batch["video"]).logits.shape == (2, len(parts.classes))
