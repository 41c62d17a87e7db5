"""Which of a person's recordings a window is compared with, and what a result cannot know without a baseline."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from evermodels.core.errors import ConfigError, SignalError
from evermodels.core.specs import EEGSpec
from evermodels.signals.eeg.read import EEGRecording
from evermodels.signals.eeg.whitening import SHORTEST, Whitening

Calibration: TypeAlias = Whitening | Sequence[Any] | None

Against: TypeAlias = Literal["", "baseline", "recordings", "itself"]
"""What windows are compared with: nothing, a baseline, recordings of all states, or the recording itself."""

ADVISED = 20.0
"""Seconds of a baseline below which results get worse; a minute is advised."""


class OwnLevel(NamedTuple):
    """How a person's own level is taken out of one recording.

    Args:
        whitening: The filters, or ``None`` for a model that takes recordings as they are.
        against: What windows are compared with.
        left_out: ``(start, stop)`` in seconds of the recording that serve as its baseline: no window is read there.
        notes: What a result cannot know, in whole sentences.
    """

    whitening: Whitening | None = None
    against: Against = ""
    left_out: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()


def own_level(
    spec: EEGSpec,
    recording: EEGRecording,
    source: Any,
    *,
    baseline: Any,
    calibration: Calibration,
    fit: Callable[[Any], Whitening],
) -> OwnLevel:
    """Choose the filters by what the model was trained with and what the caller gives.

    Args:
        spec: What the model asks for.
        recording: What is to be read, filtered and resampled, not yet whitened.
        source: What it was read from.
        baseline: A recording of this person in the state ``spec.baseline``, ``(start, stop)`` in seconds of
            ``recording``, a :class:`Whitening`, or ``None``.
        calibration: For a model without a baseline: recordings of all states, a :class:`Whitening`, or ``None``.
        fit: Makes the filters of a list of sources.

    Raises:
        ConfigError: If the model does not take what is given.
        SignalError: If a baseline is unusable.
    """
    if not spec.whiten:
        for name, value in (("baseline", baseline), ("calibration", calibration)):
            if value is not None:
                raise ConfigError(
                    f"{name}: the model's input spec has whiten=False, so it takes recordings as they are. Leave it "
                    "out."
                )
        return OwnLevel()
    if spec.baseline:
        if calibration is not None:
            raise ConfigError(
                f"calibration: this model compares a person with a baseline of {spec.baseline}, not with recordings of "
                f"all states. Give baseline=, a recording of {spec.baseline} or the seconds of this one that hold it."
            )
        return _by_baseline(spec.baseline, recording, source, baseline, fit)
    if baseline is not None:
        raise ConfigError(
            "baseline: this model compares a person with recordings of all states together, not with a baseline of "
            "one. Give calibration=[...], recordings of each state."
        )
    return _by_recordings(recording, source, calibration, fit)


def _by_baseline(
    state: str,
    recording: EEGRecording,
    source: Any,
    baseline: Any,
    fit: Callable[[Any], Whitening],
) -> OwnLevel:
    if baseline is None:
        return OwnLevel(
            Whitening.fit(recording),
            "itself",
            notes=(
                f"The model compares EEG with a minute of {state} of the same person, and none was given: this "
                "recording stands in for it. How much of the recording is which state decides where the line falls, "
                f"and nobody knows it, so the EEG's part of the answer may be anything. Record a minute of {state} "
                "first and give it as baseline= (--baseline on the command line).",
            ),
        )
    if isinstance(baseline, Whitening):
        return OwnLevel(baseline, "baseline")
    if _is_stretch(baseline):
        start, stop = (float(second) for second in baseline)
        return OwnLevel(Whitening.fit(_cut(recording, start, stop)), "baseline", (start, stop), _short(stop - start))
    if _same(source, baseline):
        return OwnLevel(
            Whitening.fit(recording),
            "itself",
            notes=(
                f"The baseline is the very recording that is read. If all of it is {state}, nothing can be learned "
                f"from it; if it is not, the answer cannot be trusted. Give another recording of {state}, or the "
                "seconds of this one that hold it: baseline=(0, 60).",
            ),
        )
    whitening = fit([baseline])
    return OwnLevel(whitening, "baseline", notes=_short(whitening.seconds))


def _by_recordings(
    recording: EEGRecording,
    source: Any,
    calibration: Calibration,
    fit: Callable[[Any], Whitening],
) -> OwnLevel:
    if isinstance(calibration, Whitening):
        return OwnLevel(calibration, "recordings")
    if calibration is not None:
        whitening = fit(calibration)
        if len(calibration) > 1 or not _same(source, calibration[0]):
            return OwnLevel(whitening, "recordings")
    return OwnLevel(
        Whitening.fit(recording),
        "itself",
        notes=(
            "The model compares EEG with recordings of this person in all states, each counting alike, and has this "
            "recording alone. How much of it is which state decides where the line falls, and nobody knows it. Give "
            "calibration=[...], one recording of each state (--calibrate on the command line).",
        ),
    )


def _is_stretch(baseline: Any) -> bool:
    if not (isinstance(baseline, tuple) and all(isinstance(s, Real) and not isinstance(s, bool) for s in baseline)):
        return False
    if len(baseline) != 2 or not 0 <= baseline[0] < baseline[1] < float("inf"):
        raise ConfigError(f"baseline: expected (start, stop) in seconds with 0 <= start < stop, got {baseline!r}.")
    return True


def _cut(recording: EEGRecording, start: float, stop: float) -> EEGRecording:
    if stop > recording.end + 0.5 / recording.sfreq:
        raise SignalError(
            f"baseline: {start:g} to {stop:g} s goes past the end of the recording, which is {recording.end:.1f} s "
            "long. Give seconds that it holds."
        )
    if stop - start < SHORTEST:
        raise SignalError(
            f"baseline: {start:g} to {stop:g} s are {stop - start:g} s; at least {SHORTEST:g} s are needed, a minute "
            "is better."
        )
    return recording.between(start, stop)


def _same(source: Any, other: Any) -> bool:
    if isinstance(source, str | os.PathLike) and isinstance(other, str | os.PathLike):
        return os.path.realpath(source) == os.path.realpath(other)
    if source is other:
        return True
    if isinstance(source, np.ndarray) and isinstance(other, np.ndarray):
        return source.shape == other.shape and bool(np.array_equal(source, other))
    return False


def _short(seconds: float) -> tuple[str, ...]:
    if seconds >= ADVISED:
        return ()
    return (f"The baseline is {seconds:.0f} s long; below {ADVISED:g} s results get worse, and a minute is advised.",)
