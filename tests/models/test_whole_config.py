"""A checkpoint holds its encoders' configurations whole; one that contradicts its inputs is refused."""

from __future__ import annotations

import json

import pytest

import evermodels as em
from evermodels.core.errors import ConfigError
from evermodels.models import EncoderConfig


def written(folder) -> dict:
    return json.loads((folder / "config.json").read_text())


def test_every_value_of_each_encoder_is_written(make, tmp_path):
    model = make()
    found = written(model.save_pretrained(tmp_path / "m"))["config"]["encoders"]
    for modality, encoder in found.items():
        cls = type(model.encoder(modality))
        assert encoder["whole"] is True
        assert cls.config_class.from_dict(encoder["config"]) == model.encoder(modality).config
        assert encoder["config"].keys() == cls.config_class.keys()


def test_in_memory_stands_what_differs_from_a_preset(make, tmp_path):
    # the preset has three heads too
    model = make(encoders={"video": {"config": {"depth": 1, "patch_size": 8, "num_heads": 3}}})
    assert model.config.encoders["video"] == EncoderConfig("videomae_nano", {"depth": 1, "patch_size": 8})
    loaded = em.from_pretrained(model.save_pretrained(tmp_path / "m"))
    assert loaded.config == model.config and "whole" not in json.dumps(loaded.config.to_dict())
    whole = EncoderConfig("videomae_nano", loaded.video_encoder.config.to_dict(), whole=True)
    assert not whole.replace(config={"depth": 2}).whole, "what is changed goes by the preset again"
    assert whole.replace().whole


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"depth": 10**9}, "depth: expected at most 1000 blocks"),
        ({"depht": 2}, "unknown key 'depht'. Did you mean 'depth'"),
        ({"embed_dim": "wide"}, "embed_dim: expected int, got 'wide'"),
        ({"in_chans": 3}, r"encoders\.eeg\.config\.in_chans: expected 7, which follows from .*, got 3"),
        ({"num_classes": 4}, "num_classes: expected 0, which follows from"),
        ({"input_size": [16000, 16000]}, "input_size: expected .*, which follows from"),
    ],
)
def test_what_cannot_be_in_a_whole_configuration(make, tmp_path, change, said):
    folder = make(modalities=("eeg",)).save_pretrained(tmp_path / "m")
    content = written(folder)
    content["config"]["encoders"]["eeg"]["config"].update(change)
    del content["sha256"]
    (folder / "config.json").write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=said):
        em.from_pretrained(folder)
