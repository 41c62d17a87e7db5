"""One EEG recording, brought to what a model's spec asks for before it is cut into windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor

from evermodels.core.errors import SignalError
from evermodels.core.specs import EEGSpec
from evermodels.signals.eeg.checks import note, offset_channels, spread_and_offset
from evermodels.signals.eeg.filters import band_pass, notch, resample
from evermodels.signals.eeg.read import EEGRecording, MissingChannelsError, read_eeg


def prepare_eeg(
    spec: EEGSpec,
    source: Any,
    *,
    window_seconds: float,
    ch_names: Sequence[str] | None = None,
    unit: str | None = None,
    sfreq: float | None = None,
) -> EEGRecording:
    """Read a recording, pick the model's channels, filter, reference and resample it, in this order.

    Args:
        spec: What the model takes.
        source: As in :func:`~evermodels.signals.read_eeg`.
        window_seconds: Length of a window, for what is said of shorter stretches.
        ch_names: Names of an array's rows.
        unit: Unit of an array.
        sfreq: Sampling rate of an array in Hz.

    Returns:
        The recording at the model's rate; ``dropped`` and ``notes`` say what was left out and what is wrong with it.

    Raises:
        SignalError: If a channel is missing, or the recording is unusable.

    Warns:
        UserWarning: As ``read_eeg``; if channels lie far from 0 and nothing in the spec takes that away; if stretches
            are too short for a window.

    Example:
        >>> spec = EEGSpec(ch_names=("Cz",), sfreq=100.0, l_freq=1.0)
        >>> volts = 2e-5 * np.random.default_rng(0).standard_normal((2, 5000))
        >>> prepare_eeg(spec, volts, ch_names=["Fz", "Cz"], unit="V", sfreq=250.0, window_seconds=2.0)
        EEGRecording(1 channels Cz, 100 Hz, 20.0 s)
    """
    if ch_names is None and not isinstance(source, (np.ndarray, Tensor, list, tuple)):
        if not isinstance(source, EEGRecording) and not hasattr(source, "columns"):
            ch_names = spec.ch_names  # what the model does not take is not even read
    try:
        recording = read_eeg(source, ch_names=ch_names, unit=unit, sfreq=sfreq).pick(spec.ch_names)
    except MissingChannelsError as error:
        raise SignalError(
            f"{error} Give a recording with the model's channels, or carry the model to these, which interpolates "
            f"the missing ones: evermodels.from_pretrained(name, ch_names={list(error.present)}), or "
            "model.adapt_montage(...); on the command line --ch-names auto."
        ) from error
    if spec.notch is not None:
        recording = notch(recording, spec.notch)
    recording = band_pass(recording, spec.l_freq, spec.h_freq)
    if spec.reference == "average":
        recording = replace(recording, data=recording.data - recording.data.mean(axis=0, keepdims=True))
    recording = resample(recording, spec.sfreq)
    notes = [*_offset_notes(spec, recording), *_short_notes(spec.sfreq, window_seconds, recording)]
    kept: list[str] = []
    for text in notes:
        note(kept, text)
    return replace(recording, notes=(*recording.notes, *kept)) if kept else recording


def _offset_notes(spec: EEGSpec, recording: EEGRecording) -> list[str]:
    if spec.l_freq is not None or spec.whiten or spec.scale == "zscore":
        return []
    far = offset_channels(*spread_and_offset(recording.data, recording.sfreq, recording.segments), recording.ch_names)
    if not far:
        return []
    listed = ", ".join(f"{name} {value:.0f}" for name, value in list(far.items())[:8])
    more = f" and {len(far) - 8} more" if len(far) > 8 else ""
    return [
        f"eeg: channels lie far from 0 (µV: {listed}{more}), and the model's input spec has no high-pass that takes "
        "such an offset of the amplifier away. Give the model one (l_freq=0.5 where it is made: create_model(name, "
        "l_freq=0.5), or the recipe's), or filter the recording: signals.band_pass(recording, 0.5, None)."
    ]


def _short_notes(sfreq: float, seconds: float, recording: EEGRecording) -> list[str]:
    lengths = [(stop - start) / recording.sfreq for start, stop in recording.segments]
    short = [length for length in lengths if round(length * sfreq) < round(seconds * sfreq)]
    if not short or len(short) == len(lengths):
        return []
    return [
        f"eeg: {len(short)} of its {len(lengths)} uninterrupted stretches, {sum(short):.1f} s in all, are shorter "
        f"than a window of {seconds:g} s and are not read."
    ]
