"""What a recording holds, and what a model would do with it, in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evermodels.core.errors import ConfigError, SignalError, did_you_mean
from evermodels.core.specs import MODALITIES, InputSpec
from evermodels.signals.room import reader_class


def describe_recording(
    source: Any, input_spec: InputSpec | None = None, *, modality: str | None = None, **form: Any
) -> dict[str, Any]:
    """Say what a recording holds and what a model would do with it.

    Args:
        source: A path, a library's object, a recording, or an array with what it does not say by itself.
        input_spec: A model's ``input_spec``, for the part on the model (default: none).
        modality: What it is a recording of (default: what its ending, or its class, says).
        **form: Arguments of the recording's constructor, such as ``unit``, ``fps``, ``ch_names`` and ``sfreq``.

    Returns:
        Text by name, in an order to be read; ``to paste``, ``annotations`` and ``notes`` are lists of text.

    Raises:
        SignalError: If the recording cannot be read, or nothing says what it is of.
        ConfigError: If there is no such modality.
        FileNotFoundError: If there is no such file.

    Example:
        >>> import numpy as np
        >>> volts = 2e-5 * np.random.default_rng(0).standard_normal((2, 5000))
        >>> facts = describe_recording(volts, modality="eeg", ch_names=["Fz", "T3"], unit="V", sfreq=250)
        >>> facts["channels"], facts["rate"], facts["length"]
        ('2 of known names: Fz T7', '250 Hz', '20.0 s')
    """
    name = modality_of(source) if modality is None else modality
    if name not in MODALITIES:
        raise ConfigError(
            f"modality: expected one of {', '.join(MODALITIES)}, got {name!r}.{did_you_mean(name, MODALITIES)}"
        )
    spec = None if input_spec is None or name not in input_spec.modalities else input_spec.of(name)
    seconds = None if input_spec is None else input_spec.window_seconds
    return reader_class(name).describe(source, spec, seconds, **form)


def modality_of(source: Any) -> str:
    """Return what a source is a recording of, by its class or its ending.

    Args:
        source: A path or a recording.

    Raises:
        SignalError: If neither says it, or several modalities have files of this ending.

    Example:
        >>> modality_of("session.edf")
        'eeg'
    """
    own = getattr(source, "modality", None)
    if isinstance(own, str):
        return own
    found = list(MODALITIES)
    if isinstance(source, (str, Path)):
        found = [name for name in MODALITIES if reader_class(name).reads(Path(source))]
        if len(found) == 1:
            return found[0]
    what = Path(source).name if isinstance(source, (str, Path)) else f"a {type(source).__name__}"
    raise SignalError(
        f"{what}: nothing says what it is a recording of ({' or '.join(found or MODALITIES)}). Say it: "
        f"modality={(found or MODALITIES)[-1]!r}, --modality {(found or MODALITIES)[-1]} on the command line."
    )
