"""From MNE's Raw and Epochs to an EEG: channels by name, stretches that are good, values in µV."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evermodels.core.errors import SignalError, UnknownNameError, require
from evermodels.montage import by_connector, canonical, canonical_all
from evermodels.signals.eeg.checks import (
    TO_MICROVOLT,
    check_plausible_rate,
    check_reach,
    note,
    spread_and_offset,
    to_microvolt,
    unit_note,
)
from evermodels.signals.eeg.formats import Opened, damaged, passing_warnings
from evermodels.signals.eeg.recording import EEG, MissingChannelsError

_BLOCK = 2**20  # samples that are read at once, over all channels: MNE gives float64
_EXPANSION, _FREE = 64, 2**28
_BREAK = re.compile(r"^(edge\b|new segment/|boundary\b)", re.IGNORECASE)
_NOT_EEG = re.compile(r"\b(ECG|EKG|EOG|EMG|STI|STIM|STATUS|TRIG\w*|MARKER|RESP|AUX\w*|ACC\w*|GYRO\w*)", re.IGNORECASE)

Stretch = tuple[int, int, float]


def from_mne(opened: Opened, ch_names: Sequence[str] | None, unit: str | None = None) -> EEG:
    """Read the EEG channels of what MNE has opened.

    Args:
        opened: The file, or an MNE object that the user made.
        ch_names: Channels to keep in this order; ``None`` for all of known names.
        unit: Unit of a file whose header names none; ``None`` otherwise.

    Raises:
        SignalError: If there is no usable channel, or the values cannot be EEG.
        UnknownNameError: If two channels are the same electrode.
    """
    name, source = opened.name, opened.source
    with passing_warnings(name, opened.notes), damaged(name):
        sfreq = float(source.info["sfreq"])
        check_plausible_rate(sfreq, name)
        kept, dropped = _channels(opened, ch_names is None)
        wanted = _wanted(name, kept, ch_names)
        factors = _factors(opened, [kept[channel] for channel in wanted], unit)
        picks = [source.ch_names.index(kept[channel]) for channel in wanted]
        events: tuple[str, ...] = ()
        if hasattr(source, "event_id"):
            data, stretches, events = _epochs(source, picks, name)
        else:
            stretches = _good_stretches(opened, sfreq)
            _check_claims(opened, len(picks), len(source.times))
            data = _read(source, picks, stretches)
        data *= factors[:, None]
    dropped += [channel for channel in kept if channel not in wanted]
    if bad := [channel for channel in wanted if kept[channel] in source.info["bads"]]:
        note(opened.notes, f"{name}: channels {', '.join(bad)} are marked bad and used all the same.")
    ends = np.cumsum([0, *(stop - start for start, stop, _ in stretches)])
    recording = EEG.from_microvolts(
        data,
        wanted,
        sfreq,
        tuple((int(a), int(b)) for a, b in itertools.pairwise(ends)),
        dropped=(*dropped, *opened.left_out),
        onsets=tuple(onset for _, _, onset in stretches),
        events=events,
    )
    return checked(recording, f"{name}, whose values MNE gives in V," if unit is None else name, unit, opened.notes)


def checked(recording: EEG, what: str, unit: str | None, notes: list[str]) -> EEG:
    """Return the recording with all that is to be known of it, or raise if its values cannot be EEG.

    Args:
        recording: The recording.
        what: What was read, for the message.
        unit: The unit that was given, or ``None``.
        notes: What is known already.
    """
    spread, _ = spread_and_offset(recording.data, recording.sfreq, recording.segments)
    if sentence := unit_note(spread, what, unit):
        note(notes, sentence)
    check_reach(recording.data, recording.ch_names, recording.sfreq)
    return recording.changed(notes=(*recording.notes, *notes)) if notes else recording


def _channels(opened: Opened, by_default: bool) -> tuple[dict[str, str], list[str]]:
    """Return the source's channel by canonical name, and the channels that are no EEG of a known name."""
    name, source = opened.name, opened.source
    kinds = dict(zip(source.ch_names, source.get_channel_types(), strict=True))
    eeg = [label for label, kind in kinds.items() if kind == "eeg"]
    if connectors := by_connector(eeg):
        raise UnknownNameError(f"{name}: {connectors}")
    kept: dict[str, str] = {}
    unknown = []
    for label in eeg:
        try:
            known = canonical(label)
        except UnknownNameError:
            unknown.append(label)
            continue
        if known in kept:
            raise UnknownNameError(
                f"{name}: its channels {kept[known]!r} and {label!r} are both the electrode {known}. "
                "Drop or rename one in MNE and give the MNE object."
            )
        kept[known] = label
    if not kept:
        raise SignalError(
            f"{name}: none of its channels is an EEG electrode of a known name: {', '.join(source.ch_names) or 'none'}."
            " Rename them in MNE (raw.rename_channels, raw.set_channel_types) and give the MNE object."
        )
    strange = [label for label in unknown if not _NOT_EEG.search(label)]
    if len(strange) > (len(strange) + len(kept)) / 2:
        note(
            opened.notes,
            f"{name}: {len(strange)} of its {len(strange) + len(kept)} EEG channels are left out, because their names "
            f"are none of the 10-05 system: {_some(strange)}. Only {_some(list(kept))} are read; if these are other "
            "places than the scalp's of that name, nothing here means anything. Rename the channels in MNE "
            "(raw.rename_channels).",
        )
    lost = {known: label for known, label in kept.items() if label in opened.unusable}
    if lost and by_default:
        for known, label in lost.items():
            note(
                opened.notes,
                f"{name}: channel {label} is left out, because its header gives it {opened.unusable[label]}, so its "
                "values have no scale.",
            )
            del kept[known]
        if not kept:
            raise SignalError(f"{name}: no channel has a scale. The header is damaged: export the recording again.")
    return kept, [label for label in kinds if label not in kept.values()]


def _wanted(name: str, kept: Mapping[str, str], ch_names: Sequence[str] | None) -> tuple[str, ...]:
    wanted = tuple(kept) if ch_names is None else canonical_all(ch_names)
    missing = [channel for channel in wanted if channel not in kept]
    if missing:
        raise MissingChannelsError(
            f"{name}: it has no channel {', '.join(missing)}; it has {', '.join(kept)}.", tuple(kept)
        )
    return wanted


def _factors(opened: Opened, labels: Sequence[str], unit: str | None) -> np.ndarray:
    """Return the factor to µV of each channel, or raise if a header leaves its unit or its scale open."""
    name, header = opened.name, opened.header
    for label in labels:
        if label in opened.unusable:
            raise SignalError(
                f"{name}: channel {label} has {opened.unusable[label]} in its header, so its values have no scale. "
                "Leave it out (ch_names=[...]), or export the recording again."
            )
    unknown = {} if header is None else header.unknown_units()
    without = {label: unknown[label] for label in labels if label in unknown}
    if without and unit is None:
        said = ", ".join(sorted({repr(dimension) for dimension in without.values()}))
        raise SignalError(
            f"{name}: its header gives {_some(list(without))} the unit {said}, which is no unit of voltage (uV, mV, "
            "V), and a unit is never guessed. Say what the numbers are: read_eeg(path, unit='uV'), on the command line "
            "--unit uV."
        )
    if unit is not None and not without:
        raise SignalError(
            f"unit: {unit!r} was given, but the recording's own unit counts; change it in MNE and give the MNE object "
            "if it is wrong."
        )
    volt = TO_MICROVOLT["V"]
    given = volt if unit is None else to_microvolt(unit)  # MNE takes numbers without a known unit for volts
    return np.array([given if label in without else volt for label in labels], dtype=np.float32)


def _check_claims(opened: Opened, channels: int, samples: int) -> None:
    """Raise before memory is asked for, if a file claims far more signal than it can hold."""
    if opened.path is None:
        return
    claimed = 4 * channels * samples
    if _has_several_rates(opened.source):
        claimed = 8 * len(opened.source.ch_names) * samples
    files = {opened.path, *(Path(str(file)) for file in getattr(opened.source, "filenames", ()) if file)}
    there = sum(_bytes(file) for file in files)
    if claimed > max(_EXPANSION * there, _FREE):
        raise SignalError(
            f"{opened.name}: its header announces {channels} channels of {samples:,} samples, which would take "
            f"{claimed / 1e9:.1f} GB, and the file has {there / 1e6:.1f} MB. The header is damaged: copy it again."
        )


def _bytes(path: Path) -> int:
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat().st_size if path.is_file() else 0


def _read(source: Any, picks: list[int], stretches: Sequence[Stretch]) -> np.ndarray:
    """Read stretches one after the other, in blocks, since MNE gives float64."""
    data = np.empty((len(picks), sum(stop - start for start, stop, _ in stretches)), dtype=np.float32)
    # Channels of lower rates are raised by MNE over what is read at once, so there it must be all.
    whole = _has_several_rates(source)
    step = len(source.times) if whole else max(1, _BLOCK // len(picks))
    at = 0
    for start, stop, _ in [(0, len(source.times), 0.0)] if whole else stretches:
        for first in range(start, stop, step):
            last = min(first + step, stop)
            block = source.get_data(picks=picks, start=first, stop=last, verbose="WARNING")
            if whole:
                return np.concatenate([block[:, a:b] for a, b, _ in stretches], axis=1).astype(np.float32)
            data[:, at : at + last - first] = block
            at += last - first
    return data


def _has_several_rates(source: Any) -> bool:
    extras = getattr(source, "_raw_extras", None) or [{}]
    if not isinstance(extras[0], dict) or not {"n_samps", "sel"} <= set(extras[0]):
        return False  # only EDF, BDF and GDF have a rate for each channel
    return len(set(np.asarray(extras[0]["n_samps"])[np.asarray(extras[0]["sel"])].tolist())) > 1


def _epochs(source: Any, picks: list[int], name: str) -> tuple[np.ndarray, list[Stretch], tuple[str, ...]]:
    if not source.preload:  # a copy, since the user's own object must not lose epochs
        source = source.copy().drop_bad(verbose="ERROR")
    data = source.get_data(picks=picks, copy=False, verbose="WARNING")
    count, channels, length = data.shape
    if count == 0:
        raise SignalError(f"{name}: there is no epoch in it.")
    joined = np.empty((channels, count * length), dtype=np.float32)
    for k, epoch in enumerate(data):
        joined[:, k * length : (k + 1) * length] = epoch
    sfreq = float(source.info["sfreq"])
    stretches = [(k * length, (k + 1) * length, k * length / sfreq) for k in range(count)]
    names = {code: label for label, code in source.event_id.items()}
    return joined, stretches, tuple(str(names.get(code, code)) for code in source.events[:, 2])


def _good_stretches(opened: Opened, sfreq: float) -> list[Stretch]:
    """Return the uninterrupted stretches without what is marked as bad, and say what is left out."""
    source, header, name = opened.source, opened.header, opened.name
    length = len(source.times)
    base = [(0, length, 0.0)]
    marks = [(float(a["onset"]) - source.first_time, a["duration"], a["description"]) for a in source.annotations]
    if header is not None and header.onsets is not None:
        base = header.stretches(sfreq)
        if len(base) > 1:
            pauses = base[-1][2] + (base[-1][1] - base[-1][0]) / sfreq - length / sfreq
            note(
                opened.notes,
                f"{name}: the recording was paused {len(base) - 1} times, {pauses:.1f} s in all; its stretches are "
                "kept apart and no window crosses a pause.",
            )
            mne = require("mne", extra="eeg", purpose="read annotations")
            said = mne.read_annotations(str(opened.path))  # those of the Raw count time without the pauses
            marks = [(float(a["onset"]), a["duration"], a["description"]) for a in said]
    bad, breaks = _marked(base, marks, sfreq, length)
    stretches = list(_split(base, bad, breaks, sfreq))
    if bad.any():
        share = f"{bad.sum() / sfreq:.1f} of {length / sfreq:.1f} s"
        if not stretches:
            raise SignalError(f"{name}: annotations mark {share} as BAD, and nothing is left. Give a better recording.")
        note(
            opened.notes,
            f"{name}: {share} are left out, because annotations mark them as BAD; no window overlaps them.",
        )
    return stretches


def _marked(
    base: Sequence[Stretch], marks: Sequence[tuple[float, float, str]], sfreq: float, length: int
) -> tuple[np.ndarray, set[int]]:
    bad = np.zeros(length, dtype=bool)
    breaks: set[int] = set()
    for onset, duration, text in marks:
        is_bad = str(text).lower().startswith("bad")
        if not (is_bad or _BREAK.match(str(text))):
            continue
        for start, stop, begins in base:
            first = start + math.floor((onset - begins) * sfreq + 1e-6)
            last = start + math.ceil((onset - begins + duration) * sfreq - 1e-6)
            if is_bad and duration > 0:
                bad[max(first, start) : max(min(last, stop), start)] = True
            elif start < first < stop:
                breaks.add(first)
    return bad, breaks


def _split(base: Sequence[Stretch], bad: np.ndarray, breaks: set[int], sfreq: float) -> Iterator[Stretch]:
    for start, stop, onset in base:
        edges = np.flatnonzero(np.diff(bad[start:stop].astype(np.int8))) + 1 + start
        cuts = [start, *sorted({*edges.tolist(), *(at for at in breaks if start < at < stop)}), stop]
        for a, b in itertools.pairwise(cuts):
            if not bad[a]:
                yield a, b, onset + (a - start) / sfreq


def _some(names: Sequence[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
