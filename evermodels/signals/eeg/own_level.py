"""Which of a person's recordings a window is compared with, and what a result cannot know without a baseline."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np

from evermodels.core.errors import ConfigError, SignalError
from evermodels.core.specs import EEGSpec
from evermodels.signals.eeg.recording import EEG
from evermodels.signals.eeg.whitening import SHORTEST, Whitening
from evermodels.signals.room import Compared

ADVISED = 20.0
"""Seconds of a baseline below which results get worse; a minute is advised."""


def own_level(spec: EEGSpec, recording: EEG, baseline: Any, prepared: Callable[[Any], EEG]) -> Compared[EEG]:
    """Whiten a recording by what the model was trained with and what the caller gives.

    Args:
        spec: What the model asks for.
        recording: What is to be read, filtered and resampled, not yet whitened.
        baseline: For a model with a baseline: a recording of this person in the state ``spec.baseline``, or
            ``(start, stop)`` in seconds on the shared clock that hold it in ``recording``; for one without: a list of
            recordings of all states; or for both a :class:`Whitening`; or ``None``.
        prepared: Reads, filters and resamples a source.

    Returns:
        The recording, whitened where the model asks for it.

    Raises:
        ConfigError: If the model does not take what is given.
        SignalError: If a baseline is unusable.
    """
    if not spec.whiten:
        if baseline is not None:
            raise ConfigError(
                "baseline: the model's input spec has whiten=False, so it takes recordings as they are. Leave it out."
            )
        return Compared(recording)
    if isinstance(baseline, Whitening):
        return Compared(baseline(recording), "baseline" if spec.baseline else "recordings")
    by = _by_baseline if spec.baseline else _by_recordings
    return by(spec.baseline, recording, baseline, prepared)


def _by_baseline(state: str, recording: EEG, baseline: Any, prepared: Callable[[Any], EEG]) -> Compared[EEG]:
    if baseline is None:
        return _by_itself(
            recording,
            f"The model compares EEG with a minute of {state} of the same person, and none was given: this "
            "recording stands in for it. How much of the recording is which state decides where the line falls, "
            f"and nobody knows it, so the EEG's part of the answer may be anything. Record a minute of {state} "
            "first and give it as baseline= (--baseline on the command line).",
        )
    if _is_stretch(baseline):
        start, stop = (float(second) for second in baseline)
        whitening = Whitening.fit(_cut(recording, start, stop))
        return Compared(whitening(recording), "baseline", (start, stop), _short(stop - start))
    if isinstance(baseline, (list, tuple)):
        if len(baseline) != 1:
            raise ConfigError(
                f"baseline: this model compares a person with one recording of {state}, not with several of all "
                f"states; got {len(baseline)}. Give a recording of {state}, or the seconds of this one that hold it."
            )
        (baseline,) = baseline
    other = prepared(baseline)
    if _same(recording, other):
        return _by_itself(
            recording,
            f"The baseline is the very recording that is read. If all of it is {state}, nothing can be learned "
            f"from it; if it is not, the answer cannot be trusted. Give another recording of {state}, or the "
            "seconds of this one that hold it: baseline=(0, 60).",
        )
    return Compared(Whitening.fit(other)(recording), "baseline", notes=_short(other.duration))


def _by_recordings(_: str, recording: EEG, baseline: Any, prepared: Callable[[Any], EEG]) -> Compared[EEG]:
    if baseline is not None and not isinstance(baseline, list):
        raise ConfigError(
            "baseline: this model compares a person with recordings of all states together, not with a baseline of "
            f"one; got a {type(baseline).__name__}. Give baseline=[...], a recording of each state."
        )
    others = [prepared(source) for source in baseline or ()]
    if baseline is not None and (len(others) != 1 or not _same(recording, others[0])):
        return Compared(Whitening.fit(others)(recording), "recordings")
    return _by_itself(
        recording,
        "The model compares EEG with recordings of this person in all states, each counting alike, and has this "
        "recording alone. How much of it is which state decides where the line falls, and nobody knows it. Give "
        "baseline=[...], one recording of each state (--baseline FILE FILE on the command line).",
    )


def _by_itself(recording: EEG, sentence: str) -> Compared[EEG]:
    return Compared(Whitening.fit(recording)(recording), "itself", notes=(sentence,))


def _is_stretch(baseline: Any) -> bool:
    if not (isinstance(baseline, tuple) and all(isinstance(s, Real) and not isinstance(s, bool) for s in baseline)):
        return False
    if len(baseline) != 2 or not -np.inf < baseline[0] < baseline[1] < np.inf:
        raise ConfigError(f"baseline: expected (start, stop) in seconds with start < stop, got {baseline!r}.")
    return True


def _cut(recording: EEG, start: float, stop: float) -> EEG:
    half = 0.5 * recording.interval
    if start < recording.start - half or stop > recording.stop + half:
        raise SignalError(
            f"baseline: {start:g} to {stop:g} s goes past the recording, which lasts from {recording.start:.1f} to "
            f"{recording.stop:.1f} s. Give seconds that it holds."
        )
    if stop - start < SHORTEST:
        raise SignalError(
            f"baseline: {start:g} to {stop:g} s are {stop - start:g} s; at least {SHORTEST:g} s are needed, a minute "
            "is better."
        )
    return recording.between(start, stop)


def _same(one: EEG, other: EEG) -> bool:
    return one.data.shape == other.data.shape and bool(np.array_equal(one.data, other.data))


def _short(seconds: float) -> tuple[str, ...]:
    if seconds >= ADVISED:
        return ()
    return (f"The baseline is {seconds:.0f} s long; below {ADVISED:g} s results get worse, and a minute is advised.",)
