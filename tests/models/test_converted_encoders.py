"""Foreign weights, converted, become the encoder of a system, and answer there as they do alone."""

from __future__ import annotations

import warnings

import pytest
import torch

import evermodels as em
from evermodels import montage
from evermodels.checkpoints.convert import convert
from evermodels.core.warning import LicenceWarning

SMALL = {"embed_dim": 16, "depth": 2, "num_heads": 4}
CLIP = {"num_frames": 8, "img_size": [16, 16], "depth": 2}
SWIN = {"embed_dim": 12, "depths": [2, 2], "num_heads": [2, 4], "num_frames": 8, "img_size": [32, 32]}
LICENCES = dict.fromkeys(("videomae_base", "timesformer_base"), "cc-by-nc-4.0")
CASES = {
    "videomae_a": ("videomae_base", {**CLIP, "embed_dim": 24, "num_heads": 3}),
    "adamae_finetune_a": ("adamae_base", {**CLIP, "embed_dim": 16, "num_heads": 4}),
    "timesformer_a": ("timesformer_base", {**SMALL, "num_heads": 2}),
    "video_swin_a": ("video_swin_tiny", SWIN),
    "patchtst_a": ("patchtst_base", {**SMALL, "num_samples": 48, "stride": 8, "in_chans": 4}),
    "itransformer_a": ("itransformer_base", SMALL),
    "crossformer_a": ("crossformer_base", {**SMALL, "pool": "mean"}),
    "crossformer_tsl_a": ("crossformer_base", SMALL),
    "medformer_a": ("medformer_base", {**SMALL, "num_samples": 32}),
    "aum_fobi_a": ("audio_mamba_tiny", {"embed_dim": 16, "depth": 2}),
}


@pytest.mark.parametrize("name", CASES)
def test_in_ever(golden, tmp_path, name):
    architecture, asked = CASES[name]
    torch.save(golden(name)["weights"], tmp_path / "theirs.pth")
    size = (32, 48) if name.startswith("aum") else None
    ours, licence = tmp_path / "ours", LICENCES.get(architecture, "mit")
    request = {"num_classes": 0, "source_size": size, "config": asked}
    convert(tmp_path / "theirs.pth", ours, architecture=architecture, licence=licence, **request)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        alone = em.from_pretrained(ours)
    assert [w.category for w in told] == ([LicenceWarning] if architecture in LICENCES else [])
    card = (ours / "README.md").read_text("utf-8")
    assert f"license: {licence}\n" in card and f"under {licence}, which stays with them" in card
    own = alone.config.to_dict()
    settings = {key: own[key] for key in own if key not in alone.follows_inputs and key != "num_classes"}
    spec, changes = {"window_seconds": 1.0, "eeg": {"ch_names": ("Cz", "Pz"), "sfreq": 64.0}}, {}
    encoders = {"video": {"config": {"embed_dim": 8, "num_heads": 1, "depth": 1}}, "eeg": {"config": {"depth": 1}}}
    spec["video"] = {"num_frames": 4, "size": (32, 32)}
    if alone.input == "video":
        modality, spec["video"] = "video", {"num_frames": alone.sample_shape[0], "size": alone.sample_shape[2:]}
    else:
        modality, (channels, *rest) = "eeg", alone.sample_shape
        rate = rest[0] if alone.input == "eeg" else 64
        spec["eeg"] = {"ch_names": montage.MONTAGES["eegmat"][:channels], "sfreq": float(rate)}
        changes = {"spectrogram_size": (32, 48)} if alone.input == "spectrogram" else {}
    encoders[modality] = {"name": architecture, "config": settings}
    model = em.create_model("ever_tiny", input_spec=spec, encoders=encoders, dim=8, num_classes=2, **changes).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LicenceWarning)
        assert model.load_encoder(modality, ours) == len(alone.state_dict())
    x = torch.randn(2, *alone.sample_shape)
    with torch.no_grad():
        assert torch.equal(model.encoder(modality)(x), alone(x))
        inputs = {m: torch.randn(2, *model.input_spec.shape(m)) for m in model.modalities}
        assert model(**inputs).logits.isfinite().all()
