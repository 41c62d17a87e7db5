"""Sound: files, sound tracks of videos and arrays -> one channel at a rate -> log-mel spectrograms or waveforms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evermodels.core.lazy import lazy_names

if TYPE_CHECKING:
    from evermodels.signals.audio.level import energy_mask, rms_dbfs
    from evermodels.signals.audio.reader import Reader
    from evermodels.signals.audio.recording import Audio, read_audio


__all__ = ["Audio", "Reader", "energy_mask", "read_audio", "rms_dbfs"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "level": ("energy_mask", "rms_dbfs"),
        "reader": ("Reader",),
        "recording": ("Audio", "read_audio"),
    },
)
