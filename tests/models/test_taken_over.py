"""Weights of an encoder enter a system whose recordings have another length or size, or are refused by name."""

from __future__ import annotations

import pytest
import torch

import evermodels as em
from evermodels.core.errors import CheckpointError

EEG = {"window_seconds": 1.0, "eeg": {"ch_names": ("Fp1", "Cz", "Pz", "O2"), "sfreq": 100.0}}
LONGER = {**EEG, "window_seconds": 1.5}
SOUND = {"window_seconds": 0.5, "audio": {"n_mels": 64}}
LATER = {"window_seconds": 0.9, "audio": {"n_mels": 96}}
SERIES = {"embed_dim": 16, "num_heads": 2, "depth": 2, "pool": "mean"}
LEARNED = {"position": "learned", "padding": "cut"}
ROUTERS = {f"scales.{k}.layers.0.router" for k in range(2)}
FITTED = {
    "patchtst_tiny": ("single_eeg", EEG, LONGER, SERIES, set()),
    "medformer_tiny": ("single_eeg", EEG, LONGER, {"embed_dim": 16, "num_heads": 2, "depth": 1}, set()),
    "patchtst_tiny, learned": ("single_eeg", EEG, LONGER, {**SERIES, **LEARNED}, {"pos_embed"}),
    "crossformer_tiny": ("single_eeg", EEG, LONGER, {**SERIES, "segment_size": 10}, {"pos_embed", *ROUTERS}),
    "ast_nano": ("single_audio", SOUND, LATER, {"embed_dim": 16, "num_heads": 2, "depth": 1}, {"pos_embed"}),
    "audio_mamba_nano": ("single_audio", SOUND, LATER, {"embed_dim": 16, "depth": 1}, {"pos_embed.pos_embed"}),
}


def system(kind: str, name: str, spec: dict, config: dict):
    (modality,) = (m for m in spec if m != "window_seconds")
    encoders = {modality: {"name": name.partition(",")[0], "config": config}}
    return em.create_model(kind, input_spec=spec, encoders=encoders, num_classes=2).eval(), modality


@pytest.mark.parametrize("name", FITTED)
def test_tables_are_resampled(name, tmp_path):
    kind, short, long, config, tables = FITTED[name]
    source, modality = system(kind, name, short, config)
    folder = source.save_pretrained(tmp_path / "m")
    target, _ = system(kind, name, long, config)
    old, new = source.encoder(modality), target.encoder(modality)
    assert old.sample_shape != new.sample_shape
    assert target.load_encoder(modality, folder) == len(new.state_dict())
    before = old.state_dict()
    moved = {k for k, v in new.state_dict().items() if not torch.equal(v, before[k])}
    assert moved == tables
    for table in tables:  # between the smallest and the largest of what they come from
        assert before[table].min() <= new.state_dict()[table].min() <= new.state_dict()[table].max()
        assert new.state_dict()[table].max() <= before[table].max()
    with torch.no_grad():
        assert target(**{modality: torch.randn(1, *target.input_spec.shape(modality))}).logits.isfinite().all()
    again, _ = system(kind, name, short, config)
    again.load_encoder(modality, folder)
    assert all(torch.equal(v, before[k]) for k, v in again.encoder(modality).state_dict().items())


def test_weights_for_each_sample_are_not(tmp_path):
    source, _ = system("single_eeg", "itransformer_tiny", EEG, SERIES)
    target, _ = system("single_eeg", "itransformer_tiny", LONGER, SERIES)
    with pytest.raises(CheckpointError, match=r"another encoder, embed\.weight, num_samples 100 \(here 150\)"):
        target.load_encoder("eeg", source.save_pretrained(tmp_path / "m"))
