"""The card: metadata that the Hub's own tools accept, and what the model is not."""

import pytest
from huggingface_hub import ModelCard

from evermodels.core.errors import ConfigError

TRAINING = {
    "licence": "apache-2.0",
    "datasets": ["eegmat", "london-faces"],
    "protocol": "Six folds over people.",
    "recipe": "ever_tiny_quadrant",
    "scores": {"UAR": {"value": 0.731, "low": 0.69, "high": 0.77}, "accuracy": 0.7},
    "not_this": ["It has never seen an emotion."],
    "attribution": ["Zyma et al. 2019"],
    "epochs": 12,
    "history": list(range(500)),
}


def card_of(model, tmp_path, **arguments):
    text = (model.save_pretrained(tmp_path / "own", **arguments) / "README.md").read_text(encoding="utf-8")
    return text, ModelCard(text)


def test_metadata(model, tmp_path):
    text, card = card_of(model, tmp_path, classes=("a", "b", "c"), training=TRAINING)
    data = card.data.to_dict()
    assert data == {
        "license": "apache-2.0",
        "library_name": "evermodels",
        "tags": ["emotion-recognition", "eeg", "tiny_test"],
        "datasets": ["eegmat", "london-faces"],
        "metrics": ["UAR", "accuracy"],
        "model-index": [
            {
                "name": "own",
                "results": [
                    {
                        "task": {"type": "classification"},
                        "dataset": {"name": "eegmat, london-faces", "type": "eegmat"},
                        "metrics": [
                            {"type": "UAR", "value": 0.731, "name": "UAR"},
                            {"type": "accuracy", "value": 0.7, "name": "accuracy"},
                        ],
                    }
                ],
            }
        ],
    }
    assert text.startswith("---\n")


def test_text(model, tmp_path):
    text, _ = card_of(model, tmp_path, classes=("a", "b", "c"), training=TRAINING, card={"title": "Own", "tags": ["t"]})
    for piece in (
        "# Own\n",
        'em.from_pretrained("own")',
        "3 channels (Fz, Cz, T7), 10 Hz, windows of 1 s, reference as recorded",
        "0. a\n1. b\n2. c",
        "Six folds over people.",
        "| UAR | 0.731 | 0.690 to 0.770 |",
        "| accuracy | 0.700 |  |",
        "- recipe: ever_tiny_quadrant",
        "- epochs: 12",
        "- history: see `training` in config.json",
        "## What this is not\n\n- It does not know what a person feels.",
        "- It has never seen an emotion.",
        "- Zyma et al. 2019",
        '"in_features": 6',
        "- t\n",
    ):
        assert piece in text, piece


def test_nothing_given_nothing_claimed(model, tmp_path):
    text, card = card_of(model, tmp_path)
    assert "None were recorded with this checkpoint." in text
    assert "Nothing was recorded with this checkpoint." in text
    assert "## What this is not" in text
    assert card.data.license is None
    assert card.data.metrics is None


def test_a_text_of_its_own(model, tmp_path):
    text, _ = card_of(model, tmp_path, card="# Mine\n")
    assert text == "# Mine\n"


def test_provenance_of_the_wrong_type(model, tmp_path):
    with pytest.raises(ConfigError, match=r"CardInfo.licence: expected str or None, got 3"):
        card_of(model, tmp_path, training={"licence": 3})
    assert not (tmp_path / "own").exists()


def test_metadata_hold_no_prose(model, tmp_path):
    """The Hub refuses a commit whose card names a data set in prose."""
    training = {
        "datasets": ["EEGMAT (PhysioNet, ODC-By 1.0)", "Face Set (CC BY 4.0)", "org/own", "(?)"],
        "scores": {"weighted F1": 0.5, "arousal half (balanced accuracy)": {"value": 0.6}, "n": "many", "%": 0.1},
        "base_model": ["org/base"],
    }
    text, card = card_of(model, tmp_path, training=training)
    assert card.data.datasets == ["EEGMAT", "Face-Set", "org/own"]
    assert card.data.metrics == ["weighted-F1", "arousal-half", "n"]
    assert card.data.base_model == ["org/base"]
    assert [(r.metric_type, r.metric_name, r.metric_value) for r in card.data.eval_results] == [
        ("weighted-F1", "weighted F1", 0.5),
        ("arousal-half", "arousal half (balanced accuracy)", 0.6),
    ]
    assert "| arousal half (balanced accuracy) | 0.600 |" in text and "EEGMAT (PhysioNet, ODC-By 1.0)" in text


def test_scores_without_data_are_not_metadata(model, tmp_path):
    _, card = card_of(model, tmp_path, training={"scores": {"UAR": 0.5}})
    assert card.data.eval_results is None
    assert card.data.metrics == ["UAR"]
