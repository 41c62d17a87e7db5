"""What a recording's file or MNE object says of its stretches: annotations and the events of trials."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evermodels.signals.eeg.formats import open_recording
from evermodels.signals.eeg.recording import EEG


def named_stretches(source: Any) -> tuple[tuple[float, float, str], ...]:
    """Return the named stretches of a recording.

    Args:
        source: A file, an MNE ``Raw`` or ``Epochs``, or an :class:`EEG` of trials with ``events``.

    Returns:
        ``(start, stop, name)``, in seconds after the recording's first sample; an annotation without a length has
        ``stop == start``.

    Raises:
        SignalError: If the file cannot be read.

    Example:
        >>> import numpy as np
        >>> trials = 10 * np.random.default_rng(0).standard_normal((2, 1, 500))
        >>> named_stretches(EEG(trials, ch_names=["Cz"], unit="uV", sfreq=250.0, events=["calm", "joy"]))
        ((0.0, 2.0, 'calm'), (2.0, 4.0, 'joy'))
    """
    opened = open_recording(Path(source)).source if isinstance(source, (str, Path)) else source
    if not isinstance(opened, EEG) and not hasattr(opened, "first_time"):
        opened = EEG(opened)  # epochs
    if isinstance(opened, EEG):
        spans = ((begin - opened.start, end - opened.start) for begin, end in opened.coverage)
        return tuple((*span, event) for span, event in zip(spans, opened.events, strict=False))
    found, first = opened.annotations, float(opened.first_time)  # MNE counts from before a crop
    return tuple(
        (float(onset) - first, float(onset) - first + float(length), str(name))
        for onset, length, name in zip(found.onset, found.duration, found.description, strict=True)
    )
