"""Recordings -> model inputs: EEG, face video, and the preprocessor that is built from a model's input spec."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evermodels.signals.eeg import EEGRecording, read_eeg
    from evermodels.signals.faces import HaarFaceCrop, crop_faces, haar_face_crop
    from evermodels.signals.filters import band_pass, notch, resample, sliding_windows
    from evermodels.signals.preprocessor import Inputs, Preprocessor
    from evermodels.signals.video import read_video, video_duration

_HOMES = {
    "EEGRecording": "eeg",
    "HaarFaceCrop": "faces",
    "Inputs": "preprocessor",
    "Preprocessor": "preprocessor",
    "band_pass": "filters",
    "crop_faces": "faces",
    "haar_face_crop": "faces",
    "notch": "filters",
    "read_eeg": "eeg",
    "read_video": "video",
    "resample": "filters",
    "sliding_windows": "filters",
    "video_duration": "video",
}

__all__ = [
    "EEGRecording",
    "HaarFaceCrop",
    "Inputs",
    "Preprocessor",
    "band_pass",
    "crop_faces",
    "haar_face_crop",
    "notch",
    "read_eeg",
    "read_video",
    "resample",
    "sliding_windows",
    "video_duration",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"evermodels.signals.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
