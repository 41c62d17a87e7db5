"""SSVEP EEG of people who steer an exoskeleton, eight occipital electrodes, as published or as EDF, without labels."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from evermodels.core.errors import DataError, require
from evermodels.core.specs import EEGSpec
from evermodels.datasets.folders import existing_folder
from evermodels.datasets.unlabelled import Cut, UnlabelledWindows, cut
from evermodels.signals.eeg import EEG, Reader

LIMIT = 499.9
"""Magnitude in µV at which recordings saturate (±500)."""

_EDF = re.compile(r"^(subject\d{2})_\d+\.edf$")
_PUBLISHED_UNIT = 1e-3  # the FIF header says volts, and the numbers are millivolts: saturation stands at 0.5


class SSVEPExo:
    """EEG of 12 people in front of flickering lights: Oz, O1, O2, PO3, POz, PO7, PO8, PO4 at 256 Hz.

    Kalunga et al., *Online SSVEP-based BCI using Riemannian geometry*, Neurocomputing, 2016; CC0 1.0. Read are EDF
    versions named ``subject01_1.edf`` and the publisher's ``subject01/record-[…]_raw.fif``. The header of the latter
    says volts; two of them saturate at exactly ±0.5 and the channels' median standard deviation is 0.008, so their
    numbers are read as millivolts.

    Args:
        root: The folder.
        sfreq: Sampling rate in Hz that recordings are brought to.
        window_seconds: Length of a window.
        l_freq: Lower edge of the band-pass in Hz, or ``None``.
        h_freq: Upper edge of the band-pass in Hz, or ``None``.

    Raises:
        DataError: If the folder holds no such files.

    Example:
        >>> SSVEPExo("nowhere")
        Traceback (most recent call last):
            ...
        evermodels.core.errors.DataError: SSVEPExo: 'nowhere' is not a folder. ...
    """

    ch_names = ("Oz", "O1", "O2", "PO3", "POz", "PO7", "PO8", "PO4")

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        sfreq: float = 200.0,
        window_seconds: float = 5.0,
        l_freq: float | None = 0.5,
        h_freq: float | None = 45.0,
    ) -> None:
        self.root = existing_folder(root, "SSVEPExo")
        self._reader = Reader(EEGSpec(self.ch_names, sfreq, l_freq=l_freq, h_freq=h_freq), window_seconds)
        self._reader.spec.check_window(window_seconds)
        edf = {path: match[1] for path in sorted(self.root.glob("*.edf")) if (match := _EDF.match(path.name))}
        self.files: dict[Path, str] = edf or {
            path: path.parent.name for path in sorted(self.root.glob("subject*/*_raw.fif"))
        }
        if not self.files:
            raise DataError(
                f"SSVEPExo: {str(self.root)!r} holds neither subject01_1.edf and the like nor "
                "subject01/record-[…]_raw.fif. Give the folder of the data set."
            )

    def __repr__(self) -> str:
        return f"SSVEPExo({len(self.files)} recordings of {len(set(self.files.values()))} people)"

    def recording(self, path: Path) -> EEG:
        """Return one recording.

        Args:
            path: One of :attr:`files`.

        Raises:
            SignalError: If it cannot be read.
        """
        if path.suffix == ".edf":
            return self._reader.open(path)
        mne: Any = require("mne", extra="eeg", purpose="read FIF files")
        raw = mne.io.read_raw_fif(path, preload=True, verbose="error")
        raw.apply_function(lambda x: x * _PUBLISHED_UNIT, picks="eeg", channel_wise=False, verbose="error")
        return self._reader.open(raw)

    def windows(self, path: Path) -> Cut:
        """Return the windows of one recording, without those that reach the amplifier's limit.

        Args:
            path: One of :attr:`files`.
        """
        return cut(self._reader, self.recording(path), limit=LIMIT)

    def unlabelled(self) -> UnlabelledWindows:
        """Return the windows of all recordings.

        Raises:
            DataError: If none is left.
        """
        made = [(person, self.windows(path)) for path, person in self.files.items()]
        return UnlabelledWindows.joined(made, self.ch_names, "SSVEPExo")
