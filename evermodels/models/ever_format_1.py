"""EVER's configuration in checkpoint format 1, in which channels, rates and sizes stood beside each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from evermodels.core.config import Config
from evermodels.core.errors import ConfigError, quoted
from evermodels.core.specs import InputSpec

_EEG_1 = ("ch_names", "sfreq", "l_freq", "h_freq", "notch", "reference", "scale", "whiten", "baseline")
_VIDEO_1 = {"num_frames": "num_frames", "img_size": "size", "face_crop": "face_crop"}
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
    eeg = {key: old.pop(key) for key in _EEG_1 if key in old}
    video = {new: old.pop(key) for key, new in _VIDEO_1.items() if key in old}
    colours = (input_spec or {}).get("video")
    video |= {key: colours[key] for key in _COLOURS if isinstance(colours, Mapping) and key in colours}
    encoders = {
        modality: {key.removeprefix(f"{modality}_").replace("encoder", "name"): old.pop(key) for key in keys}
        for modality in ("eeg", "video")
        if (keys := [key for key in (f"{modality}_encoder", f"{modality}_config") if key in old])
    }
    Config.refuse_unknown(
        old, set(known) - {"input_spec", "encoders"} | {*_EEG_1, *_VIDEO_1, *_ENCODERS_1}, where="EVERConfig"
    )
    return {"input_spec": {"eeg": eeg, "video": video}, "encoders": encoders, **old}


def check_agreement(given: Mapping[str, Any] | None, own: InputSpec) -> None:
    """Refuse an input spec of format 1 that would prepare recordings in another way than its configuration says.

    Args:
        given: The input spec of the file.
        own: What follows from the configuration.

    Raises:
        ConfigError: If they contradict each other, naming both.
    """
    if given is None:
        return
    InputSpec.refuse_unknown(given, {"eeg", "video"})
    for name in ("eeg", "video"):
        ours, theirs = getattr(own, name), given.get(name)
        if (theirs is None) != (ours is None):
            words = ("null", "a mapping") if theirs is None else ("a mapping", "null")
            raise ConfigError(
                f"input_spec.{name}: {words[0]} contradicts config, from which follows {words[1]}. {_WAY_OUT}"
            )
        if ours is None or theirs is None:
            continue
        theirs = dict(theirs)
        length = theirs.pop("window_seconds", own.window_seconds)
        checked = type(ours).from_dict(theirs, where=f"input_spec.{name}")
        pairs = {f.name: (getattr(checked, f.name), getattr(ours, f.name)) for f in fields(ours)}
        for key, (a, b) in {"window_seconds": (length, own.window_seconds), **pairs}.items():
            if a != b:
                raise ConfigError(
                    f"input_spec.{name}.{key}: {quoted(a)} contradicts config, from which follows {quoted(b)}. "
                    f"{_WAY_OUT}"
                )


_WAY_OUT = "Use the config.json that was written together with the weights."
