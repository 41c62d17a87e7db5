"""Recordings -> model inputs: EEG, face video, and the preprocessor that is built from a model's input spec."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evermodels.core.lazy import lazy_names

if TYPE_CHECKING:
    from evermodels.signals.describe import describe_recording
    from evermodels.signals.eeg import EEGRecording, read_eeg
    from evermodels.signals.face_track import crop_faces, haar_face_crop
    from evermodels.signals.faces import HaarFaceCrop
    from evermodels.signals.filters import band_pass, notch, resample, sliding_windows
    from evermodels.signals.preprocessor import Inputs, Preprocessor
    from evermodels.signals.video import read_video, video_duration
    from evermodels.signals.whitening import Whitening


__all__ = [
    "EEGRecording",
    "HaarFaceCrop",
    "Inputs",
    "Preprocessor",
    "Whitening",
    "band_pass",
    "crop_faces",
    "describe_recording",
    "haar_face_crop",
    "notch",
    "read_eeg",
    "read_video",
    "resample",
    "sliding_windows",
    "video_duration",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "describe": ("describe_recording",),
        "eeg": ("EEGRecording", "read_eeg"),
        "face_track": ("crop_faces", "haar_face_crop"),
        "faces": ("HaarFaceCrop",),
        "filters": ("band_pass", "notch", "resample", "sliding_windows"),
        "preprocessor": ("Inputs", "Preprocessor"),
        "video": ("read_video", "video_duration"),
        "whitening": ("Whitening",),
    },
)
