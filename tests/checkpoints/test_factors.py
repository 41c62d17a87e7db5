"""What a checkpoint says on classes that are combinations."""

from __future__ import annotations

import json

import pytest

import evermodels as em
from evermodels.checkpoints.strict_json import content_digest
from evermodels.core.errors import ConfigError
from evermodels.core.factors import Factor, product_classes

FACTORS = (Factor("state", ("rest", "arithmetic"), ("eeg",)), Factor("expression", ("neutral", "smiling"), ("video",)))
CLASSES = product_classes(FACTORS)


@pytest.fixture(scope="module")
def model():
    return em.create_model("ever_tiny")


def config_of(folder):
    return json.loads((folder / "config.json").read_text("utf-8"))


def test_round_trip_by_objects_and_by_mappings(model, tmp_path):
    one = model.save_pretrained(tmp_path / "one", classes=CLASSES, factors=FACTORS)
    two = model.save_pretrained(tmp_path / "two", classes=CLASSES, factors=[f.to_dict() for f in FACTORS])
    assert config_of(one)["factors"] == config_of(two)["factors"]
    assert config_of(one)["factors"][1] == {
        "name": "expression",
        "values": ["neutral", "smiling"],
        "modalities": ["video"],
    }
    loaded = em.from_pretrained(two)
    assert loaded.factors == FACTORS and loaded.classes == CLASSES
    again = em.from_pretrained(loaded.save_pretrained(tmp_path / "again"))
    assert again.factors == FACTORS
    # a new montage keeps the classes and what they are made of
    adapted = em.from_pretrained(two, ch_names=em.montage.preset("epoc"))
    assert adapted.factors == FACTORS
    assert em.from_pretrained(adapted.save_pretrained(tmp_path / "adapted")).factors == FACTORS
    # other classes are not their product
    assert em.from_pretrained(two, num_classes=3).factors == ()
    assert em.from_pretrained(two, num_classes=4).factors == FACTORS
    adapted.reset_classifier(4)
    assert adapted.factors == () and adapted.classes is None


def test_the_card_says_what_tells_them(model, tmp_path):
    card = (model.save_pretrained(tmp_path / "a", classes=CLASSES, factors=FACTORS) / "README.md").read_text("utf-8")
    assert "combine state (rest, arithmetic; from eeg) with expression (neutral, smiling; from video)" in card
    plain = model.save_pretrained(tmp_path / "b", classes=CLASSES)
    assert "They combine" not in (plain / "README.md").read_text("utf-8")


def test_without_a_declaration_nothing_changes(model, tmp_path):
    folder = model.save_pretrained(tmp_path / "plain", classes=CLASSES)
    assert "factors" not in config_of(folder) and em.from_pretrained(folder).factors == ()


def test_other_classes_leave_the_models_factors_behind(model, tmp_path):
    loaded = em.from_pretrained(model.save_pretrained(tmp_path / "a", classes=CLASSES, factors=FACTORS))
    other = loaded.save_pretrained(tmp_path / "b", classes=("a", "b", "c", "d"))
    assert em.from_pretrained(other).factors == ()
    with pytest.raises(ConfigError, match="in this order"):
        loaded.save_pretrained(tmp_path / "c", classes=CLASSES[::-1], factors=FACTORS)
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        ([FACTORS[1].to_dict(), FACTORS[0].to_dict()], "their product is 'neutral & rest'"),
        ([FACTORS[0].to_dict()], "their product is 'rest', 'arithmetic'"),
        ([{**FACTORS[0].to_dict(), "valus": []}], "unknown key 'valus'"),
        ([{**FACTORS[0].to_dict(), "modalities": ["smell"]}], "modalities: expected some of"),
        (["state"], "factors"),
        ({"state": ["rest"]}, "factors"),
        (None, "factors"),
    ],
)
def test_a_file_with_other_factors_is_refused(model, tmp_path, factors, message):
    folder = model.save_pretrained(tmp_path / "a", classes=CLASSES, factors=FACTORS)
    content = {**config_of(folder), "factors": factors}
    content["sha256"] = content_digest(content)
    (folder / "config.json").write_text(json.dumps(content), "utf-8")
    with pytest.raises(ConfigError, match=message):
        em.from_pretrained(folder)
