"""What a recording of EEG holds, and what a model would do with it, in words."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from evermodels.core.specs import EEGSpec
from evermodels.signals.eeg.checks import offset_channels, spread_and_offset
from evermodels.signals.eeg.filters import SAME_RATE
from evermodels.signals.eeg.formats import Opened, open_recording
from evermodels.signals.eeg.mne_source import from_mne
from evermodels.signals.eeg.read import EEG, read_eeg


def describe(source: Any, spec: EEGSpec | None, seconds: float | None, **form: Any) -> dict[str, Any]:
    """Say what a recording holds and what a model would do with it.

    Args:
        source: As in :func:`~evermodels.signals.read_eeg`.
        spec: What the model takes, or ``None``.
        seconds: Length of the model's windows.
        **form: As in :func:`~evermodels.signals.read_eeg`.

    Returns:
        Text by name, in an order to be read; ``to paste``, ``annotations`` and ``notes`` are lists of text.
    """
    opened = open_recording(Path(source)) if isinstance(source, (str, Path)) else None
    if opened is None:
        recording = read_eeg(source, **form)
    else:
        recording = from_mne(opened, form.get("ch_names"), form.get("unit"))
    facts = _eeg(recording, opened)
    if spec is not None:
        facts |= _with_model(recording, spec, seconds or recording.duration)
    if recording.notes:
        facts["notes"] = list(recording.notes)
    return facts


def _eeg(recording: EEG, opened: Opened | None) -> dict[str, Any]:
    names = recording.ch_names
    facts: dict[str, Any] = {"kind": "EEG" if opened is None else f"EEG, {opened.name} read as {_reader(opened)}"}
    facts["channels"] = f"{len(names)} of known names: {' '.join(names)}"
    if recording.dropped:
        facts["left out"] = f"{len(recording.dropped)} of other names or kinds: {', '.join(recording.dropped)}"
    facts["to paste"] = [f"--ch-names {','.join(names)}", f"ch_names={list(names)}"]
    facts["rate"] = f"{recording.sfreq:g} Hz"
    facts["length"] = f"{recording.duration:.1f} s"
    if len(recording.segments) > 1:
        lengths = [(b - a) / recording.sfreq for a, b in recording.segments]
        facts["stretches"] = (
            f"{len(lengths)} uninterrupted ones of {min(lengths):.1f} to {max(lengths):.1f} s; by its clock the "
            f"recording goes from {recording.coverage[0][0]:.1f} to {recording.stop:.1f} s"
        )
    if recording.events:
        facts["events"] = _counts(recording.events)
    if opened is not None and opened.header is not None:
        facts["unit"] = f"µV, from {', '.join(sorted({repr(u) for u in opened.header.units if u}))} in the header"
    else:
        facts["unit"] = "µV, from what was given" if opened is None else "µV, from the V that MNE gives"
    spread, offset = spread_and_offset(recording.data, recording.sfreq, recording.segments)
    facts["magnitude"] = (
        f"{np.median(spread):.3g} µV within a second (channels: {spread.min():.3g} to {spread.max():.3g}); scalp EEG "
        "has 2 to 200"
    )
    if flat := [name for name, value in zip(names, spread, strict=True) if value < 1e-3]:
        facts["flat"] = ", ".join(flat)
    if far := offset_channels(spread, offset, names):
        facts["offset"] = ", ".join(f"{name} {value:.0f} µV" for name, value in far.items())
    annotations = getattr(getattr(opened, "source", None), "annotations", None)
    if annotations is not None and len(annotations):
        facts["annotations"] = _counts(annotations.description)
    return facts


def _with_model(recording: EEG, spec: EEGSpec, seconds: float) -> dict[str, Any]:
    used = [name for name in spec.ch_names if name in recording.ch_names]
    missing = [name for name in spec.ch_names if name not in recording.ch_names]
    extra = [name for name in recording.ch_names if name not in spec.ch_names]
    listed = " ".join(used) or "none"
    facts: dict[str, Any] = {"model uses": f"{len(used)} of its {len(spec.ch_names)} channels: {listed}"}
    if missing:
        facts["model misses"] = (
            f"{' '.join(missing)}: interpolated from the recording's with --ch-names auto (in Python "
            f"from_pretrained(name, ch_names={list(recording.ch_names)})); refused without"
        )
    if extra and not missing:
        facts["model leaves out"] = " ".join(extra)
    same = abs(recording.sfreq / spec.sfreq - 1) <= SAME_RATE
    facts["resampled"] = "no" if same else f"from {recording.sfreq:g} to {spec.sfreq:g} Hz"
    edges = {"l_freq": spec.l_freq, "h_freq": spec.h_freq, "notch": spec.notch}
    facts["filters"] = ", ".join(f"{key} {value:g} Hz" for key, value in edges.items() if value) or "none"
    facts["reference"] = spec.reference
    counts = [round((b - a) / recording.sfreq * spec.sfreq) // spec.num_samples(seconds) for a, b in recording.segments]
    facts["windows"] = f"{sum(counts)} of {seconds:g} s without overlap"
    if spec.whiten:
        by_state = f"a baseline of {spec.baseline} (--baseline)"
        facts["compared with"] = by_state if spec.baseline else "recordings of all states (--baseline FILE FILE)"
    return facts


def _reader(opened: Opened) -> str:
    return str(type(opened.source).__name__).removeprefix("Raw")


def _counts(labels: Any) -> list[str]:
    counted = Counter(map(str, labels)).most_common()
    return [f"{label}: {count}" for label, count in counted[:12]] + (
        [f"and {len(counted) - 12} more kinds"] if len(counted) > 12 else []
    )
