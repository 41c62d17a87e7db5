"""A quadrant pair: which stretch of whose EEG, whose face, and what stands beside them."""

from __future__ import annotations

from typing import NamedTuple

from evermodels.core.factors import Factor, product_classes
from evermodels.datasets.clips import EXPRESSIONS
from evermodels.datasets.companions import Other
from evermodels.datasets.eegmat import STATES, Stretch

BASE = ("eeg", "video")
"""What every pair is of."""

FACTORS = (Factor("state", STATES, ("eeg",)), Factor("expression", EXPRESSIONS, ("video",)))
CLASSES = product_classes(FACTORS)


class Rest(NamedTuple):
    """A window of the same person's rest that is mixed into one of arithmetic, so that its effect is weaker.

    Attributes:
        start: Its first sample.
        weight: Its part of the power, 0..1.
    """

    start: int
    weight: float


class Partner(NamedTuple):
    """Who else is blended into a training item; of the same class.

    Attributes:
        eeg_subject: Id of the other person with EEG.
        start: First sample of that person's window.
        face_id: Id of the other person with the face.
        weight: The other's part, 0..1.
        baseline: Part of that person's rest to whiten by, or ``None`` for the data set's own.
        rest: What weakens that person's arithmetic, or ``None``.
    """

    eeg_subject: str
    start: int
    face_id: str
    weight: float
    baseline: Stretch | None = None
    rest: Rest | None = None


class Pair(NamedTuple):
    """One item: which stretch of whose EEG, and whose face.

    Attributes:
        label: Class, 2 · arousal + valence.
        eeg_subject: Id of the person with EEG.
        start: First sample of the EEG window inside the recording of that state.
        face_id: Id of the person with the face.
        key: Seed of the clip and of the transforms.
        partner: Who else is blended in, or ``None``.
        baseline: Part of the person's rest to whiten by, or ``None`` for the data set's own.
        rest: What weakens arithmetic, or ``None``.
        others: What stands beside EEG and face.

    Example:
        >>> pair = Pair(label=2, eeg_subject="30", start=1000, face_id="140", key=(0, 1))
        >>> CLASSES[pair.label], pair.arousal, pair.valence
        ('arithmetic & neutral', 1, 0)
    """

    label: int
    eeg_subject: str
    start: int
    face_id: str
    key: tuple[int, ...]
    partner: Partner | None = None
    baseline: Stretch | None = None
    rest: Rest | None = None
    others: tuple[Other, ...] = ()

    @property
    def arousal(self) -> int:
        """1 for arithmetic, 0 for rest."""
        return self.label // 2

    @property
    def valence(self) -> int:
        """1 for smiling, 0 for neutral."""
        return self.label % 2

    def level(self, factor: str) -> int:
        """Return the value of one half of the class.

        Args:
            factor: ``"state"`` or ``"expression"``.
        """
        return self.arousal if factor == "state" else self.valence
