"""EEG from files, MNE objects and arrays: always microvolts, always canonical channel names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from evermodels.core.errors import ShapeError, SignalError, boundary, require
from evermodels.montage import canonical_all
from evermodels.signals.eeg.checks import check_plausible_rate, check_shape, to_microvolt
from evermodels.signals.eeg.formats import Opened, open_recording
from evermodels.signals.eeg.mne_source import checked, from_mne
from evermodels.signals.eeg.recording import EEG, MissingChannelsError, check_names
from evermodels.signals.room import check_rate, check_start

__all__ = ["EEG", "MissingChannelsError", "read_eeg"]

_FROM_FILE = "the recording's own {} counts; change it in MNE and give the MNE object if it is wrong"


def read_eeg(
    source: Any,
    *,
    ch_names: Sequence[str] | None = None,
    unit: str | None = None,
    sfreq: float | None = None,
    start: float | None = None,
    events: Sequence[Any] | None = None,
) -> EEG:
    """Read EEG from a file, an MNE object or an array.

    Args:
        source: Path of a recording or of epochs in any format that MNE reads, an MNE ``Raw`` or ``Epochs``, a NumPy
            array or tensor ``(channels, time)`` or of trials ``(trials, channels, time)``, or an
            :class:`EEG`. Epochs and trials become segments, which no filter and no window crosses.
        ch_names: For an array the names of its rows (needed), or a montage such as ``"epoc"``; for the others the
            channels to keep, in this order (default: every EEG channel whose name is known).
        unit: For an array its unit (needed; it is never guessed): ``"V"``, ``"mV"``, ``"uV"`` or ``"nV"``. For an EDF
            or BDF file only where its header names no unit of voltage, and then needed.
        sfreq: For an array its sampling rate in Hz (needed).
        start: When it begins, in seconds on the clock that all recordings of a session share (default: 0, or that of
            the recording which is given).
        events: For an array of trials what each is, such as its condition; of MNE's epochs the names of their events
            are taken.

    Returns:
        The recording in µV with canonical channel names.

    Raises:
        FileNotFoundError: If there is no such file.
        SignalError: If the recording is empty, cut short, unreadable, holds NaN, infinities or values beyond 10 V,
            lacks a channel, or has a rate below 20 Hz or above 50 kHz; or if an array comes without names, unit or
            rate.
        MissingExtraError: If MNE needs a package for this kind of file that is not installed.
        ShapeError: If an array has other axes.
        ConfigError: If ``start`` is no finite number.
        UnknownNameError: If a channel name given here is no electrode's, two mean the same electrode, or the names are
            those of BioSemi's connectors.

    Warns:
        UserWarning: If the magnitude says that the unit is wrong (a typical standard deviation within a second below 1
            µV or above 1500 µV), channels are marked bad, parts are left out (marked ``BAD_…``, paused, of unknown
            names), the header contradicts the file, or MNE warns of something. The recording's ``notes`` keep it.

    Example:
        >>> volts = 2e-5 * np.random.default_rng(0).standard_normal((2, 1000))
        >>> recording = read_eeg(volts, ch_names=["EEG T3", "Cz"], unit="V", sfreq=250)
        >>> recording.ch_names, round(float(recording.data.std()))
        (('T7', 'Cz'), 20)
        >>> trials = volts.reshape(2, 4, 250).swapaxes(0, 1)
        >>> recording = read_eeg(trials, ch_names=["T7", "Cz"], unit="V", sfreq=250, events="calm calm joy joy".split())
        >>> recording, recording.events[2]
        (EEG(2 channels T7, Cz, 250 Hz, 4.0 s in 4 segments), 'joy')
    """
    if start is not None:
        check_start(start)
        made = read_eeg(source, ch_names=ch_names, unit=unit, sfreq=sfreq, events=events)
        return made.changed(start=start)
    _refuse_several(source)
    if isinstance(source, (np.ndarray, torch.Tensor, list, tuple)):
        return _from_array(source, ch_names, unit, sfreq, events)
    is_file = isinstance(source, (str, Path))
    for key, value in (("unit", None if is_file else unit), ("sfreq", sfreq)):
        if value is not None:
            raise SignalError(f"{key}: {value!r} was given, but {_FROM_FILE.format(key)}.")
    if events is not None:
        raise SignalError("events: they are for an array of trials; a file's and an MNE object's are read from it.")
    if isinstance(source, EEG):
        check_plausible_rate(source.sfreq, "the recording")
        return source if ch_names is None else source.pick(ch_names)
    if is_file:
        return from_mne(open_recording(Path(source)), ch_names, unit)
    mne = require("mne", extra="eeg", purpose="read EEG recordings")
    if isinstance(source, (mne.io.BaseRaw, mne.BaseEpochs)):
        return from_mne(Opened(source, type(source).__name__, []), ch_names)
    raise SignalError(
        f"eeg: cannot read a {type(source).__name__}. Give a path, an MNE Raw or Epochs, or an array with ch_names, "
        "unit and sfreq."
    )


def _refuse_several(source: Any) -> None:
    """Refuse what looks like an array or a recording and is a table or several recordings."""
    if hasattr(source, "columns") and hasattr(source, "to_numpy"):
        raise SignalError(
            "eeg: a DataFrame does not say its unit and rate. Give its EEG columns as an array: "
            "read_eeg(df[names].to_numpy().T, ch_names=names, unit='uV', sfreq=250)."
        )
    if isinstance(source, (list, tuple)) and any(
        isinstance(item, (str, Path, EEG)) or hasattr(item, "get_data") for item in source
    ):
        raise SignalError(
            f"eeg: expected one recording, got a list of {len(source)}. Read them one at a time, in a loop; recordings "
            "to compare a person with go into baseline=[...]."
        )
    if isinstance(source, np.ma.MaskedArray) and np.ma.getmaskarray(source).any():
        count = int(np.ma.getmaskarray(source).sum())
        raise SignalError(
            f"eeg: {count:,} of the array's {source.size:,} values are masked, and a mask has no place in a signal. "
            "Cut these stretches out and give what is left as trials, or fill them (array.filled(...)) if you know "
            "what stood there."
        )


def _from_array(
    source: Any,
    ch_names: Sequence[str] | None,
    unit: str | None,
    sfreq: float | None,
    events: Sequence[Any] | None,
) -> EEG:
    needed = {"ch_names": ch_names, "unit": unit, "sfreq": sfreq}
    absent = [key for key, value in needed.items() if value is None]
    if ch_names is None or unit is None or sfreq is None:
        raise SignalError(
            f"eeg: an array needs ch_names, unit and sfreq; {', '.join(absent)} not given. "
            "For example read_eeg(array, ch_names=['Fz', 'Cz'], unit='uV', sfreq=250); the unit is never guessed."
        )
    factor = to_microvolt(unit)
    rate = check_rate(sfreq)
    check_plausible_rate(rate, "the array")
    with boundary(SignalError, "eeg: what was given is no array", "Give (channels, time) of equal rows."):
        array = source.detach().cpu().float().numpy() if isinstance(source, torch.Tensor) else np.asarray(source)
    if array.dtype.kind not in "fiu":
        raise SignalError(f"eeg: expected an array of real numbers, got dtype {array.dtype}.")
    trials = array if array.ndim == 3 else array[None]
    if array.ndim not in (2, 3):
        check_shape(array)
    if 0 in trials.shape:
        raise SignalError(f"eeg: the recording is empty, of shape {array.shape}.")
    names = canonical_all(ch_names)
    check_names(len(names), array.shape)
    if events is not None and (array.ndim == 2 or isinstance(events, str) or len(events) != len(trials)):
        expected = (
            f"one for each of the {len(trials)} trials" if array.ndim == 3 else "an array (trials, channels, time)"
        )
        raise ShapeError(f"events: expected {expected}, got {events if isinstance(events, str) else len(events)!r}.")
    count, _, length = trials.shape
    microvolt = np.empty((len(names), count * length), dtype=np.float32)
    for k, trial in enumerate(trials):
        for row, values in enumerate(trial):  # by row: float64 of the whole would cost twice the data
            with np.errstate(over="ignore"):  # what is too large for float32 is named below
                microvolt[row, k * length : (k + 1) * length] = values.astype(np.float64) * factor
    segments = tuple((k * length, (k + 1) * length) for k in range(count))
    labels = () if events is None else tuple(str(event) for event in events)
    recording = EEG.from_microvolts(microvolt, names, rate, segments, events=labels)
    return checked(recording, f"the array, given as {unit!r},", unit, [])
