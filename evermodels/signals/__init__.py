"""Recordings -> model inputs: a room for each modality; the preprocessor is built from a model's input spec."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evermodels.core.lazy import lazy_names

if TYPE_CHECKING:
    from evermodels.signals.audio import Audio, read_audio
    from evermodels.signals.eeg import (
        EEGRecording,
        Whitening,
        band_pass,
        describe_recording,
        notch,
        read_eeg,
        resample,
        sliding_windows,
    )
    from evermodels.signals.eye import Eye, read_eye
    from evermodels.signals.preprocessor import Inputs, Preprocessor
    from evermodels.signals.video import HaarFaceCrop, crop_faces, haar_face_crop, read_video, video_duration


__all__ = [
    "Audio",
    "EEGRecording",
    "Eye",
    "HaarFaceCrop",
    "Inputs",
    "Preprocessor",
    "Whitening",
    "band_pass",
    "crop_faces",
    "describe_recording",
    "haar_face_crop",
    "notch",
    "read_audio",
    "read_eeg",
    "read_eye",
    "read_video",
    "resample",
    "sliding_windows",
    "video_duration",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "audio": ("Audio", "read_audio"),
        "eeg": (
            "EEGRecording",
            "Whitening",
            "band_pass",
            "describe_recording",
            "notch",
            "read_eeg",
            "resample",
            "sliding_windows",
        ),
        "eye": ("Eye", "read_eye"),
        "preprocessor": ("Inputs", "Preprocessor"),
        "video": ("HaarFaceCrop", "crop_faces", "haar_face_crop", "read_video", "video_duration"),
    },
    ["audio", "eeg", "eye", "video"],
)
