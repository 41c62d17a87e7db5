"""EEG from files, MNE objects and arrays: always microvolts, always canonical channel names."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from evermodels.core.errors import ShapeError, SignalError, UnknownNameError, require
from evermodels.montage import canonical, canonical_all
from evermodels.signals.edf import check_complete

_TO_MICROVOLT = {"V": 1e6, "mV": 1e3, "uV": 1.0, "µV": 1.0, "μV": 1.0, "nV": 1e-3}
# The scalp shows 1..1000 µV; beyond these, the unit is more likely wrong than the head.
_LEAST_STD, _MOST_STD = 1e-3, 1e4
_FROM_FILE = "the recording's own {} counts; change it in MNE and give the MNE object if it is wrong"


class MissingChannelsError(SignalError):
    """A recording lacks channels that were asked for.

    Args:
        message: What is missing, and the way out.
        present: The channels that it has, canonical names.
    """

    def __init__(self, message: str, present: Sequence[str]) -> None:
        super().__init__(message)
        self.present = tuple(present)


@dataclass(frozen=True, eq=False)
class EEGRecording:
    """One EEG recording.

    Args:
        data: Signals in µV, ``(channels, time)`` float32, finite.
        ch_names: Canonical channel names, one a row.
        sfreq: Sampling rate in Hz.
        segments: Uninterrupted stretches as ``(first sample, sample after the last)``; one for a continuous
            recording (the default), one an epoch for epochs. Filters and windows never cross their borders.
        dropped: Names in the source that were left out because they are not EEG electrodes.

    Raises:
        ShapeError: If ``data`` is not ``(channels, time)`` or does not fit ``ch_names``.
        SignalError: If it is empty or holds NaN or infinities.

    Example:
        >>> recording = EEGRecording(np.ones((2, 500), dtype="float32"), ("Fz", "Cz"), 250.0)
        >>> recording.duration, recording.pick(["CZ"]).ch_names
        (2.0, ('Cz',))
    """

    data: np.ndarray
    ch_names: tuple[str, ...]
    sfreq: float
    segments: tuple[tuple[int, int], ...] = ()
    dropped: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        """Check shape, names, rate and values."""
        _check_shape(self.data)
        object.__setattr__(self, "data", np.ascontiguousarray(self.data, dtype=np.float32))
        object.__setattr__(self, "ch_names", canonical_all(self.ch_names))
        if len(self.ch_names) != self.data.shape[0]:
            raise ShapeError(
                f"ch_names: expected one name for each of the {self.data.shape[0]} channels of shape "
                f"{self.data.shape}, got {len(self.ch_names)}. Is the array (time, channels)? Then transpose it."
            )
        if not (np.isfinite(self.sfreq) and self.sfreq > 0):
            raise SignalError(f"sfreq: expected a positive rate in Hz, got {self.sfreq!r}.")
        object.__setattr__(self, "sfreq", float(self.sfreq))
        if not self.segments:
            object.__setattr__(self, "segments", ((0, self.data.shape[1]),))
        _check_finite(self.data, self.ch_names, self.sfreq)

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.data.shape[1] / self.sfreq

    def pick(self, ch_names: Sequence[str]) -> EEGRecording:
        """Return the recording with these channels in this order.

        Args:
            ch_names: Names in any spelling.

        Raises:
            SignalError: If the recording lacks some, which are named.
            UnknownNameError: If a name is no electrode's.
        """
        wanted = canonical_all(ch_names)
        missing = [name for name in wanted if name not in self.ch_names]
        if not wanted:
            raise SignalError("ch_names: expected at least one channel, got none.")
        if missing:
            lacks = f"ch_names: the recording has no {', '.join(missing)}; it has {', '.join(self.ch_names)}."
            raise MissingChannelsError(lacks, self.ch_names)
        rows = [self.ch_names.index(name) for name in wanted]
        rest = tuple(name for name in self.ch_names if name not in wanted)
        return EEGRecording(self.data[rows], wanted, self.sfreq, self.segments, self.dropped + rest)


def read_eeg(
    source: Any,
    *,
    ch_names: Sequence[str] | None = None,
    unit: str | None = None,
    sfreq: float | None = None,
) -> EEGRecording:
    """Read EEG from a file, an MNE object or an array.

    Args:
        source: Path of any file that ``mne.io.read_raw`` reads (or of ``-epo.fif`` epochs), an MNE ``Raw`` or
            ``Epochs``, a NumPy array or tensor ``(channels, time)``, or an :class:`EEGRecording`.
        ch_names: For an array the names of its rows (needed); for the others the channels to keep, in this order
            (default: every EEG channel whose name is known).
        unit: For an array its unit (needed; it is never guessed): ``"V"``, ``"mV"``, ``"uV"`` or ``"nV"``.
        sfreq: For an array its sampling rate in Hz (needed).

    Returns:
        The recording in µV with canonical channel names.

    Raises:
        FileNotFoundError: If there is no such file.
        SignalError: If the recording is empty, cut short, unreadable, holds NaN or infinities, or lacks a channel; or
            if an array comes without names, unit or rate.
        ShapeError: If an array is not ``(channels, time)``.
        UnknownNameError: If a channel name given here is no electrode's, or two mean the same electrode.

    Warns:
        UserWarning: If the magnitude says that the unit is wrong (a standard deviation below 0.001 µV or above
            10,000 µV), or a channel is marked bad.

    Example:
        >>> volts = 2e-5 * np.random.default_rng(0).standard_normal((2, 1000))
        >>> recording = read_eeg(volts, ch_names=["EEG T3", "Cz"], unit="V", sfreq=250)
        >>> recording.ch_names, round(float(recording.data.std()))
        (('T7', 'Cz'), 20)
    """
    if isinstance(source, (np.ndarray, torch.Tensor, list, tuple)):
        return _from_array(source, ch_names, unit, sfreq)
    for key, value in (("unit", unit), ("sfreq", sfreq)):
        if value is not None:
            raise SignalError(f"{key}: {value!r} was given, but {_FROM_FILE.format(key)}.")
    if isinstance(source, EEGRecording):
        return source if ch_names is None else source.pick(ch_names)
    if isinstance(source, (str, Path)):
        return _from_mne(_open(Path(source)), ch_names, Path(source).name)
    mne = require("mne", extra="eeg", purpose="read EEG recordings")
    if isinstance(source, (mne.io.BaseRaw, mne.BaseEpochs)):
        return _from_mne(source, ch_names, type(source).__name__)
    raise SignalError(
        f"eeg: cannot read a {type(source).__name__}. Give a path, an MNE Raw or Epochs, or an array with ch_names, "
        "unit and sfreq."
    )


def _open(path: Path) -> Any:
    mne = require("mne", extra="eeg", purpose="read EEG files")
    if not path.exists():
        raise FileNotFoundError(f"eeg: there is no file {path}.")
    if path.is_file() and path.stat().st_size == 0:
        raise SignalError(f"{path.name}: the file is empty (0 bytes). Copy it again.")
    if path.suffix.lower() in (".edf", ".bdf"):
        check_complete(path)
    try:
        if path.name.lower().endswith(("-epo.fif", "_epo.fif", "-epo.fif.gz", "_epo.fif.gz")):
            return mne.read_epochs(path, verbose="ERROR")
        return mne.io.read_raw(path, preload=False, verbose="ERROR")
    except Exception as error:  # MNE's readers raise anything on a damaged file
        raise _unreadable(path.name, error) from error


def _unreadable(name: str, error: Exception) -> SignalError:
    return SignalError(
        f"{name}: MNE could not read it ({type(error).__name__}: {error}). The file is damaged, cut short, or of a "
        "kind that MNE does not read; read it yourself and give an array with ch_names, unit and sfreq."
    )


def _from_mne(source: Any, ch_names: Sequence[str] | None, name: str) -> EEGRecording:
    kinds = source.get_channel_types()
    kept: dict[str, str] = {}
    dropped = []
    for label, kind in zip(source.ch_names, kinds, strict=True):
        try:
            known = canonical(label) if kind == "eeg" else None
        except UnknownNameError:
            known = None
        if known is None:
            dropped.append(label)
        elif known in kept:
            raise UnknownNameError(
                f"{name}: its channels {kept[known]!r} and {label!r} are both the electrode {known}. "
                "Drop or rename one in MNE and give the MNE object."
            )
        else:
            kept[known] = label
    if not kept:
        raise SignalError(
            f"{name}: none of its channels is an EEG electrode of a known name: {', '.join(source.ch_names) or 'none'}."
            " Rename them in MNE (raw.rename_channels, raw.set_channel_types) and give the MNE object."
        )
    wanted = tuple(kept) if ch_names is None else canonical_all(ch_names)
    missing = [channel for channel in wanted if channel not in kept]
    if missing:
        raise MissingChannelsError(
            f"{name}: it has no channel {', '.join(missing)}; it has {', '.join(kept)}.", tuple(kept)
        )
    dropped += [channel for channel in kept if channel not in wanted]
    bad = [channel for channel in wanted if kept[channel] in source.info["bads"]]
    if bad:
        warnings.warn(f"{name}: channels {', '.join(bad)} are marked bad and used all the same.", stacklevel=3)
    try:
        # By index, one row after the other: MNE returns names in the file's order otherwise.
        data = source.get_data(picks=[source.ch_names.index(kept[channel]) for channel in wanted], verbose="ERROR")
    except Exception as error:
        raise _unreadable(name, error) from error
    segments: tuple[tuple[int, int], ...] = ()
    if data.ndim == 3:
        count, _, length = data.shape
        if count == 0:
            raise SignalError(f"{name}: there is no epoch in it.")
        data = np.concatenate(list(data), axis=1)
        segments = tuple((i * length, (i + 1) * length) for i in range(count))
    microvolt = data * _TO_MICROVOLT["V"]
    _check_shape(microvolt)
    _check_magnitude(microvolt, f"{name}, whose values MNE gives in V,", "its header may lack or misstate the unit")
    return EEGRecording(microvolt, wanted, float(source.info["sfreq"]), segments, tuple(dropped))


def _from_array(source: Any, ch_names: Sequence[str] | None, unit: str | None, sfreq: float | None) -> EEGRecording:
    needed = {"ch_names": ch_names, "unit": unit, "sfreq": sfreq}
    absent = [key for key, value in needed.items() if value is None]
    if ch_names is None or unit is None or sfreq is None:
        raise SignalError(
            f"eeg: an array needs ch_names, unit and sfreq; {', '.join(absent)} not given. "
            "For example read_eeg(array, ch_names=['Fz', 'Cz'], unit='uV', sfreq=250); the unit is never guessed."
        )
    if unit not in _TO_MICROVOLT:
        raise SignalError(f"unit: expected one of 'V', 'mV', 'uV', 'nV', got {unit!r}.")
    array = source.detach().cpu().float().numpy() if isinstance(source, torch.Tensor) else np.asarray(source)
    if array.dtype.kind not in "fiu":
        raise SignalError(f"eeg: expected an array of real numbers, got dtype {array.dtype}.")
    _check_shape(array)
    microvolt = array.astype(np.float64) * _TO_MICROVOLT[unit]
    _check_magnitude(microvolt, f"the array, given as {unit!r},", "another unit was meant")
    return EEGRecording(microvolt, tuple(ch_names), sfreq)


def _check_shape(data: np.ndarray) -> None:
    if data.ndim != 2:
        way_out = {
            1: "One channel is array[None, :].",
            3: "Give one recording at a time, or an mne.EpochsArray for epochs.",
        }.get(data.ndim, "")
        raise ShapeError(
            f"eeg: expected (channels, time), got {data.ndim} axes of shape {data.shape}. {way_out}".strip()
        )
    if 0 in data.shape:
        raise SignalError(f"eeg: the recording is empty: {data.shape[0]} channels, {data.shape[1]} samples.")


def _check_magnitude(microvolt: np.ndarray, what: str, reason: str) -> None:
    with np.errstate(invalid="ignore"):
        spread = microvolt.std(axis=1)
    spread = spread[np.isfinite(spread) & (spread > 0)]
    if spread.size == 0:
        return  # constant, or NaN everywhere, which has a message of its own
    typical = float(np.median(spread))
    if not _LEAST_STD <= typical <= _MOST_STD:
        likely = "V taken for µV" if typical < _LEAST_STD else "µV taken for V"
        warnings.warn(
            f"unit: {what} has a standard deviation of {typical:.3g} µV, where scalp EEG has 1 to 1000 µV. "
            f"Probably {likely}: {reason}. For an array give the right unit=; for a file set it in MNE.",
            stacklevel=4,
        )


def _check_finite(data: np.ndarray, ch_names: Sequence[str], sfreq: float) -> None:
    wrong = ~np.isfinite(data)
    if not wrong.any():
        return
    parts = []
    rows = np.flatnonzero(wrong.any(axis=1))
    for row in rows[:5]:
        at = np.flatnonzero(wrong[row])
        parts.append(f"{ch_names[row]} ({at.size} samples, {at[0] / sfreq:.3f} to {at[-1] / sfreq:.3f} s)")
    more = f" and {rows.size - 5} more channels" if rows.size > 5 else ""
    raise SignalError(
        f"eeg: NaN or infinity in {', '.join(parts)}{more}. Cut these stretches out, interpolate them, or leave the "
        "channels out."
    )
