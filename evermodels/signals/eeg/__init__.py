"""EEG: files, MNE objects and arrays -> recordings in µV -> windows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evermodels.core.lazy import lazy_names

if TYPE_CHECKING:
    from evermodels.signals.eeg.describe import describe_recording
    from evermodels.signals.eeg.filters import band_pass, notch, resample, sliding_windows
    from evermodels.signals.eeg.read import read_eeg
    from evermodels.signals.eeg.recording import EEGRecording, MissingChannelsError
    from evermodels.signals.eeg.whitening import Whitening


__all__ = [
    "EEGRecording",
    "MissingChannelsError",
    "Whitening",
    "band_pass",
    "describe_recording",
    "notch",
    "read_eeg",
    "resample",
    "sliding_windows",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "describe": ("describe_recording",),
        "filters": ("band_pass", "notch", "resample", "sliding_windows"),
        "read": ("read_eeg",),
        "recording": ("EEGRecording", "MissingChannelsError"),
        "whitening": ("Whitening",),
    },
)
