"""An encoder is taken whole or not at all, from whatever checkpoint holds it."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

import evermodels as em
from evermodels.core.errors import CheckpointError, ChecksumError, ConfigError


def same(a, b) -> bool:
    return all(torch.equal(v, b.state_dict()[k]) for k, v in a.state_dict().items())


def test_from_a_name_and_with_other_rates_and_sizes(make, tmp_path):
    model = em.create_model("ever_tiny", squared_change=True)
    own = em.from_pretrained("ever_tiny.quadrant")
    assert model.load_encoder("video", "ever_tiny.quadrant") == len(own.video_encoder.state_dict())
    assert same(model.video_encoder, own.video_encoder)
    source = make(encoders={"video": {"config": {**make().config.encoders["video"].config, "drop_path_rate": 0.2}}})
    longer = make(
        input_spec={"video": {"num_frames": 8}}
    )  # positions are computed, so weights fit any number of frames
    longer.load_encoder("video", source.save_pretrained(tmp_path / "short"))
    assert same(longer.video_encoder, source.video_encoder)


def test_another_encoder_is_refused_even_where_every_shape_fits(make, tmp_path):
    model = make()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    config = {m: e.config for m, e in model.config.encoders.items()}
    source = make(encoders={"video": {"config": {**config["video"], "num_heads": 3}}})
    folder = source.save_pretrained(tmp_path / "heads")
    with pytest.raises(CheckpointError, match=r"video_encoder of .*heads.*: another encoder, num_heads 3 \(here 2\)"):
        model.load_encoder("video", folder)
    with pytest.raises(CheckpointError, match="expected VideoMAE, got AudioMamba"):
        model.load_encoder("video", source.eeg_encoder.save_pretrained(tmp_path / "mamba"))
    deeper = make(encoders={"eeg": {"config": {**config["eeg"], "depth": 3}}})
    with pytest.raises(CheckpointError, match=r"another encoder, depth 3 \(here 2\)"):
        model.load_encoder("eeg", deeper.save_pretrained(tmp_path / "deep"))
    other = make(ch_names=model.config.ch_names[:5])
    with pytest.raises(CheckpointError, match=r"patch_embed\.proj\.weight, in_chans 5 \(here \d+\)\. Give both"):
        model.load_encoder("eeg", other.save_pretrained(tmp_path / "channels"))
    alone = make(modalities=("eeg",)).save_pretrained(tmp_path / "alone")
    with pytest.raises(CheckpointError, match=r"video_encoder of .*: missing, EVER there has eeg"):
        model.load_encoder("video", alone)
    with pytest.raises(ConfigError, match="video: this EVER takes eeg only"):
        make(modalities=("eeg",)).load_encoder("video", folder)
    with pytest.raises(CheckpointError, match="no such folder"):
        model.load_encoder("eeg", tmp_path / "nowhere")
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


def test_damaged_weights_are_refused(make, tmp_path):
    model, folder = make(), make().save_pretrained(tmp_path / "m")
    before = {k: v.clone() for k, v in model.state_dict().items()}
    whole = load_file(folder / "model.safetensors")
    name = "eeg_encoder.cls_token"
    save_file({**whole, name: whole[name] + 1}, folder / "model.safetensors")
    with pytest.raises(ChecksumError):
        model.load_encoder("eeg", folder)
    content = json.loads((folder / "config.json").read_text())
    del content["files"], content["sha256"]
    (folder / "config.json").write_text(json.dumps(content))
    for fault, state in {
        "missing": {k: v for k, v in whole.items() if k != name},
        "unexpected": {**whole, "eeg_encoder.more": torch.zeros(1)},
        "shape": {**whole, name: torch.zeros(3)},
        "not finite": {**whole, name: whole[name] * float("nan")},
    }.items():
        save_file(state, folder / "model.safetensors")
        with pytest.raises(CheckpointError, match=rf"{fault} +1 +eeg_encoder"):
            model.load_encoder("eeg", folder)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
