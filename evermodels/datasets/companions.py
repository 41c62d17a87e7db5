"""What can stand beside EEG and face in a quadrant pair: speech for the expression, eye movement for the state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
from torch import Tensor

from evermodels.core.errors import ConfigError, DataError
from evermodels.datasets.augment_sound import SoundAugmentation
from evermodels.datasets.pupil import EyeWindows, Pupil
from evermodels.datasets.splits import SubjectSplit
from evermodels.datasets.utterances import Speech, UtteranceWindows

VALENCE: tuple[tuple[str, ...], ...] = (("anger", "sadness"), ("happiness",))
"""Acted emotions that count as low and as high valence."""

SPEAKERS = SubjectSplit(("03", "08", "09", "10", "11", "12"), ("13", "14"), ("15", "16"))
"""EmoDB's ten speakers by part: about 2/3, 1/6 and 1/6 of the sorted ids."""

EYE_PEOPLE = SubjectSplit(
    tuple(f"P{i}" for i in range(1, 17)), tuple(f"P{i}" for i in range(17, 21)), tuple(f"P{i}" for i in range(21, 25))
)
"""The 24 people of the pupil tables by part: 2/3, 1/6 and 1/6 of the ids in the order of their numbers."""

PUPIL_CONDITIONS = ("control", "arithmetic")
"""Condition of low and of high arousal."""


class Other(NamedTuple):
    """What stands beside EEG and face in one item.

    Attributes:
        modality: ``"audio"`` or ``"eye"``.
        person: Whose it is.
        what: Name of the utterance, or where the window begins in seconds.
    """

    modality: str
    person: str
    what: str | float


class Companion(ABC):
    """A further modality of the quadrant pairs, of other people, invented into the pair as the face is.

    Attributes:
        modality: Its name.
        group: The key of an item that holds the person's id.
        factor: Which half of the class it tells.
        split: The people of each part.
        place: A number of its own, so that its draws are its own.
    """

    modality: ClassVar[str]
    group: ClassVar[str]
    factor: ClassVar[str]
    place: ClassVar[int]
    split: SubjectSplit

    @abstractmethod
    def choose(self, person: str, level: int, rng: np.random.Generator) -> Other:
        """Draw what one person contributes.

        Args:
            person: Id.
            level: 0 for the low value of the factor, 1 for the high one.
            rng: Draws it.
        """

    @abstractmethod
    def read(self, other: Other, level: int, rng: np.random.Generator | None = None) -> dict[str, Any]:
        """Return what an item holds of it: nothing where the model does not take it.

        Args:
            other: As :meth:`choose` drew it.
            level: The same level.
            rng: In training draws how it is changed, the same for the two matched items of a state.
        """


class SpeechCompanion(Companion):
    """Utterances whose acted emotion has the valence of the face.

    Args:
        speech: The folder.
        windows: What a model takes of it, or ``None`` where it takes no sound.
        valence: Emotions that count as low and as high; within one of them each emotion comes equally often.
        split: The speakers of each part (default: EmoDB's fixed lists).
        augment: Random changes of training items; what is laid over an utterance is of another speaker of the training
            part.

    Raises:
        DataError: If somebody is missing, or has no utterance of a valence.
        ConfigError: If an emotion counts as both.
    """

    modality = "audio"
    group = "speaker"
    factor = "expression"
    place = 1

    def __init__(
        self,
        speech: Speech,
        windows: UtteranceWindows | None = None,
        *,
        valence: Sequence[Sequence[str]] = VALENCE,
        split: SubjectSplit = SPEAKERS,
        augment: SoundAugmentation | None = None,
    ) -> None:
        low, high = (tuple(emotions) for emotions in valence)
        if not low or not high or set(low) & set(high):
            raise ConfigError(
                f"valence: expected emotions of low and others of high valence, got {', '.join(low) or 'none'} and "
                f"{', '.join(high) or 'none'}."
            )
        self.speech, self.windows, self.split, self.augment = speech, windows, split, augment
        self.valence = low, high
        _check_people(split.subjects, speech.speakers, "speech")
        # By speaker and valence the names of each emotion that there is.
        self._names: dict[tuple[str, int], list[tuple[str, ...]]] = {}
        for speaker in split.subjects:
            for level, emotions in enumerate(self.valence):
                names = [found for emotion in emotions if (found := speech.of(speaker, emotion))]
                if not names:
                    raise DataError(f"speech: speaker {speaker} has no utterance of {' or '.join(emotions)}.")
                self._names[speaker, level] = names

    def choose(self, person: str, level: int, rng: np.random.Generator) -> Other:
        """Draw an utterance: first the emotion, then one of its files.

        Args:
            person: Id of the speaker.
            level: 0 for low valence, 1 for high.
            rng: Draws it.
        """
        emotions = self._names[person, level]
        names = emotions[int(rng.integers(len(emotions)))]
        return Other(self.modality, person, names[int(rng.integers(len(names)))])

    def read(self, other: Other, level: int, rng: np.random.Generator | None = None) -> dict[str, Any]:
        """Return the window and which of its frames are valid.

        Args:
            other: The utterance.
            level: Not needed.
            rng: In training draws how it is changed.
        """
        if self.windows is None:
            return {}
        name = str(other.what)
        window, mask = self.windows(name) if self.augment is None or rng is None else self._changed(name, rng)
        return {"audio": window, "masks": {"audio": mask}}

    def _changed(self, name: str, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        assert self.windows is not None and self.augment is not None
        source, over = self.augment.source(rng, name), None
        if source is None:
            return self.windows(name)
        change = self.augment.draw(source)
        if change.share:
            own = self.speech.utterances[name]
            people = [speaker for speaker in self.split.train if speaker != own.speaker]
            others = [other for speaker in people for other in self.speech.of(speaker, own.emotion)]
            over = others[int(source.integers(len(others)))] if others else None
        return self.windows.changed(name, change, over, keep=self.augment.versions > 0)


class EyeCompanion(Companion):
    """Windows of eye movement of people who did mental arithmetic, or nothing.

    Args:
        pupil: The recordings.
        windows: What a model takes of them, or ``None`` where it takes no eye movement.
        split: The people of each part (default: the fixed lists).

    Raises:
        DataError: If somebody is missing.
    """

    modality = "eye"
    group = "eye_subject"
    factor = "state"
    place = 2

    def __init__(self, pupil: Pupil, windows: EyeWindows | None = None, *, split: SubjectSplit = EYE_PEOPLE) -> None:
        self.pupil, self.windows, self.split = pupil, windows, split
        _check_people(split.subjects, pupil.people, "pupil")

    def choose(self, person: str, level: int, rng: np.random.Generator) -> Other:
        """Draw a window among the usable ones, each as often.

        Args:
            person: Id.
            level: 0 for control, 1 for arithmetic.
            rng: Draws it; the draw is the same whatever the windows are, and its place follows their number.
        """
        place = float(rng.random())
        return Other(self.modality, person, place)

    def read(self, other: Other, level: int, rng: np.random.Generator | None = None) -> dict[str, Any]:
        """Return the window.

        Args:
            other: The window.
            level: 0 for control, 1 for arithmetic.
            rng: Not needed: nothing is changed.
        """
        if self.windows is None:
            return {}
        condition = PUPIL_CONDITIONS[level]
        starts = self.windows.starts(other.person, condition)
        return {"eye": self.windows.window(other.person, condition, starts[int(float(other.what) * len(starts))])}


def companion_split(companions: Iterable[Companion]) -> dict[str, SubjectSplit]:
    """Return the people of each part, by group.

    Args:
        companions: The further modalities.
    """
    return {companion.group: companion.split for companion in companions}


def merged(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return one item of several pieces; their masks are joined.

    Args:
        parts: The pieces.
    """
    item: dict[str, Any] = {}
    for part in parts:
        masks = {**item.get("masks", {}), **part.get("masks", {})}
        item = {**item, **part, **({"masks": masks} if masks else {})}
    return item


def _check_people(wanted: Sequence[str], there: Sequence[str], what: str) -> None:
    if missing := [person for person in wanted if person not in there]:
        raise DataError(
            f"{what}: {', '.join(missing)} is missing. Complete the folder, or give a split of the people that are "
            "there."
        )
