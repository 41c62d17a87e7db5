"""Hostile and mistaken values inside a system's configuration: refused as a configuration, whatever they are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import evermodels as em
from evermodels.checkpoints.config_file import parse_config
from evermodels.checkpoints.load import _empty
from evermodels.core import registry
from evermodels.core.errors import ConfigError
from tests.checkpoints.content_cases import put
from tests.checkpoints.format_1 import CONFIG_1

WRONG = [
    (("encoders", "video", "name"), "ever_tiny", r"encoders\.video\.name: .* got 'ever_tiny' \(a system\)"),
    (("encoders", "video", "name"), "audio_mamba_nano", r"encoders\.video\.name: .*input 'spectrogram'"),
    (("encoders", "video", "name"), "os.system", r"encoders\.video\.name: .*'os.system' does not exist"),
    (("encoders", "video", "config"), {"encoders": {}}, "unknown key 'encoders'"),
    (("encoders", "video", "config"), {"depth": 10**9}, "depth: expected at most 1000"),
    (("encoders", "video", "config"), {"embed_dim": 10**12}, "ever_tiny|EVER cannot be built|embed_dim"),
    (("encoders", "video", "config"), {"num_frames": 8}, "'num_frames' follows from the model's own inputs"),
    (("encoders", "audio"), {"name": "audio_mamba_nano", "config": {}}, "encoders: .* got one for 'audio' too"),
    (("encoders", "__class__"), {"name": "audio_mamba_nano", "config": {}}, "encoders: .* got one for '__class__' too"),
    (("encoders",), {}, r"encoders: expected one for each of eeg, video, got none for 'eeg'"),
    (("encoders",), [], "encoders: expected a mapping"),
    (("input_spec",), None, "input_spec: expected InputSpec, got None"),
    (("input_spec", "eeg"), None, r"encoders|n_fft"),
    (("input_spec", "window_seconds"), 1e300, "window_seconds: expected a positive length in seconds, up to 86,400"),
    (("input_spec", "window_seconds"), None, "window_seconds: expected a length in seconds"),
    (("input_spec", "window_seconds"), 5e-324, "window_seconds: expected 1 to 10,000,000 samples"),
    (("input_spec", "eeg", "sfreq"), 1e300, "window_seconds: expected 1 to 10,000,000 samples"),
    (("input_spec", "video", "size"), [10**9, 10**9], "img_size|cannot be built"),
    (("input_spec", "video", "num_frames"), 10**12, "num_frames|img_size|cannot be built"),
    (("input_spec", "audio"), {}, "input_spec: expected eeg, video or both"),
    (("input_spec", "smell"), {}, "unknown key 'smell'"),
    (("input_spec", "eeg", "features"), {}, "input_spec.eeg.features: expected None"),
    (("source_ch_names",), ["Xyz"], "'Xyz' is not a name of the 10-05 system"),
    (("spectrogram_size",), [10**9, 10**9], "cannot be built|spectrogram_size|tokens|input_size"),
]


def refuse(content: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        parsed = parse_config(json.dumps(content).encode(), "config.json")
        _empty(registry.class_of(parsed.architecture, "config.json"), parsed, Path("config.json"))
    assert len(str(error.value)) < 2000


@pytest.mark.parametrize(("place", "value", "message"), WRONG, ids=[f"{'.'.join(p)}={v}"[:60] for p, v, _ in WRONG])
def test_format_2(place, value, message):
    config = em.create_model("ever_tiny").config.to_dict()
    refuse({"format_version": 2, "architecture": "ever_tiny", "config": put(config, place, value)}, message)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("config", "ch_names"), ["Xyz"], "'Xyz' is not a name"),
        (("config", "video_encoder"), "ever_tiny", r"\(a system\)"),
        (("config", "video_encoder"), 3, "EncoderConfig.name: expected str, got 3"),
        (("config", "eeg_config"), 3, "EncoderConfig.config: expected a mapping, got 3"),
        (("config", "modalities"), "eeg", "modalities: expected a list of names"),
        (("config", "modalities"), ["eeg"], "input_spec.video: a mapping contradicts config, from which follows null"),
        (("config", "window_seconds"), 1e300, "window_seconds"),
        (("config", "whitne"), True, "EVERConfig: unknown key 'whitne'. Did you mean 'whiten'"),
        (("config", "input_spec"), {}, "unknown key 'input_spec'"),
        (("input_spec",), [], "input_spec: expected a mapping or null"),
        (("input_spec", "video"), 3, "input_spec.video: expected a mapping or null"),
        (("input_spec", "video", "mean"), "x", "mean: expected"),
    ],
)
def test_format_1(place, value, message):
    content = json.loads(CONFIG_1.read_text(encoding="utf-8"))
    del content["sha256"]
    refuse(put(content, place, value), message)
