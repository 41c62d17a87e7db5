"""The closed table of what encoders eat: kinds of tensors, their axes, and the modalities that can give them."""

from __future__ import annotations

from typing import NamedTuple


class Kind(NamedTuple):
    """One kind of tensor.

    Args:
        modalities: Modalities whose recordings can give it.
        axes: Names of the axes of one sample, without the batch.
        unit: What the values are.
        wave: Whether they swing around zero, so that the power of two that are added is the sum of theirs.
    """

    modalities: tuple[str, ...]
    axes: tuple[str, ...]
    unit: str
    wave: bool = False


KINDS: dict[str, Kind] = {
    "eeg": Kind(("eeg",), ("channels", "time"), "µV", wave=True),
    "features": Kind(("eeg",), ("windows", "bands", "channels"), "nats, or µV²"),
    "spectrogram": Kind(("eeg", "audio"), ("channels", "frequency", "time"), "log(1 + magnitude)"),
    "video": Kind(("video",), ("frames", "colours", "height", "width"), "standardised colours"),
    "log_mel": Kind(("audio",), ("frames", "mels"), "log of mel power"),
    "waveform": Kind(("audio",), ("time",), "full scale 1", wave=True),
    "eye": Kind(("eye",), ("windows", "features"), "as the feature says"),
}
"""By name; a backbone declares one of them as its ``input``."""


def modalities_of(kinds: tuple[str, ...]) -> tuple[str, ...]:
    """Return the modalities that can give any of these kinds, each once.

    Args:
        kinds: Names in :data:`KINDS`.

    Example:
        >>> modalities_of(("spectrogram",))
        ('eeg', 'audio')
    """
    return tuple(dict.fromkeys(modality for kind in kinds for modality in KINDS[kind].modalities))
