"""EVER's configuration in checkpoint format 1, in which channels, rates and sizes stood beside each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from evermodels.core.config import Config

EEG_1 = ("ch_names", "sfreq", "l_freq", "h_freq", "notch", "reference", "scale", "whiten", "baseline")
VIDEO_1 = {"num_frames": "num_frames", "img_size": "size", "face_crop": "face_crop"}
_ENCODERS_1 = ("eeg_encoder", "eeg_config", "video_encoder", "video_config")
_COLOURS = ("mean", "std", "margin")


def upgraded(config: Mapping[str, Any], input_spec: Mapping[str, Any] | None, known: Iterable[str]) -> dict[str, Any]:
    """Return what a configuration of checkpoint format 1 changes in EVER's default, as ``replace`` takes it.

    Args:
        config: The configuration of the file.
        input_spec: The input spec that stood beside it in the file, in which only the colours could differ.
        known: Names that ``replace`` takes today.

    Raises:
        ConfigError: For an unknown key.
    """
    old = dict(config)
    eeg = {key: old.pop(key) for key in EEG_1 if key in old}
    video = {new: old.pop(key) for key, new in VIDEO_1.items() if key in old}
    colours = input_spec.get("video") if isinstance(input_spec, Mapping) else None
    video |= {key: colours[key] for key in _COLOURS if isinstance(colours, Mapping) and key in colours}
    encoders = {
        modality: {key.removeprefix(f"{modality}_").replace("encoder", "name"): old.pop(key) for key in keys}
        for modality in ("eeg", "video")
        if (keys := [key for key in (f"{modality}_encoder", f"{modality}_config") if key in old])
    }
    if isinstance(taken := old.get("modalities"), (list, tuple)):  # it named encoders of absent modalities too
        encoders = {modality: encoder for modality, encoder in encoders.items() if modality in taken}
    Config.refuse_unknown(
        old, set(known) - {"input_spec", "encoders"} | {*EEG_1, *VIDEO_1, *_ENCODERS_1}, where="EVERConfig"
    )
    return {"input_spec": {"eeg": eeg, "video": video}, "encoders": encoders, **old}
