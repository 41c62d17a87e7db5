"""A sound that is shorter than a model's window, as one window for models that leave out frames without sound."""

from __future__ import annotations

import numpy as np

from evermodels.core.errors import SignalError
from evermodels.signals.audio.recording import Audio

SHORTEST = 0.5
"""Seconds of sound that a window holds at least: two or three syllables, a third of EmoDB's shortest utterance."""


class Padded(Audio):
    """A recording followed by digital silence.

    Args:
        recording: A recording that is shorter.
        seconds: How long it becomes.

    Attributes:
        recorded: The recording.
        heard: How many samples of it there are; what follows is silence.

    Raises:
        SignalError: If it is shorter than :data:`SHORTEST`, or has a gap.

    Example:
        >>> sound = Padded(Audio(np.full(24000, 0.1), sfreq=16000), 4.0)
        >>> sound.stop, sound.heard
        (4.0, 24000)
    """

    def __init__(self, recording: Audio, seconds: float) -> None:
        length = recording.stop - recording.start
        if length < SHORTEST or len(recording.coverage) > 1:
            gap = f" in {len(recording.coverage)} stretches" if len(recording.coverage) > 1 else ""
            raise SignalError(
                f"audio: {recording.name} is {length:.3f} s long{gap}, and the model's window {seconds:g} s. Give at "
                f"least {SHORTEST:g} s of uninterrupted sound; what then lacks is left out."
            )
        sound = recording.read()
        whole = np.zeros(max(len(sound), int(np.ceil(seconds * recording.sfreq))), dtype=np.float32)
        whole[: len(sound)] = sound
        super().__init__(whole, sfreq=recording.sfreq, start=recording.start)
        self.name, self.recorded, self.heard = recording.name, recording, len(sound)

    @property
    def notes(self) -> tuple[str, ...]:
        """What opening it showed, and that it is short."""
        said = (
            f"Audio: {self.heard / self.sfreq:.2f} s are shorter than the model's window of {self.stop - self.start:g} "
            "s; what the window holds beyond the sound is left out of the answer."
        )
        return (*self.recorded.notes, said)
