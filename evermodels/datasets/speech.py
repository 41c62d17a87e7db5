"""RAVDESS, speech: 24 actors, eight emotions in English (Livingstone and Russo, 2018), in the publisher's layout."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from typing import ClassVar

from evermodels.core.warning import tell_licence
from evermodels.datasets.utterances import SUFFIXES, Speech, Utterance

EMOTIONS = ("neutral", "calm", "happiness", "sadness", "anger", "fear", "disgust", "surprise")
"""Emotions in the order of the publisher's numbers 01 to 08."""

LICENCE = "CC BY-NC-SA 4.0"

_FILE = re.compile(r"(03)-(01)-(0[1-8])-(0[12])-(0[12])-(0[12])-(\d{2})")


class RAVDESS(Speech):
    """Acted emotional speech in English; for non-commercial use, which a warning says when it is read.

    Livingstone and Russo, *The Ryerson Audio-Visual Database of Emotional Speech and Song*, PLoS ONE 13(5), 2018;
    CC BY-NC-SA 4.0. A folder holds ``Actor_01/03-01-05-02-01-01-01.wav`` as the publisher's archive of speech unpacks,
    or the files (also ``.flac``) themselves: modality 03 (sound alone), channel 01 (speech), emotion, intensity,
    statement, repetition, actor. Songs and videos in the folder are left out.

    Neutral has no strong intensity, and so half the files of the other emotions. Emotions are acted: a result is of
    acted emotion in speech.

    Args:
        root: The folder.
        emotions: Which emotions to read (default: all that are there).
        repetitions: Which repetitions, of 1 and 2.
        statements: Which sentences, of 1 and 2.

    Raises:
        DataError: If the folder is not in this layout, or a file is empty.
        ConfigError: If an emotion is unknown.

    Example:
        >>> RAVDESS("nowhere")
        Traceback (most recent call last):
            ...
        evermodels.core.errors.DataError: RAVDESS: 'nowhere' is not a folder. ...
    """

    known: ClassVar[tuple[str, ...]] = EMOTIONS
    layout: ClassVar[str] = (
        "neither Actor_01/03-01-01-01-01-01-01.wav nor 03-01-01-01-01-01-01.wav or .flac. Give the folder into which "
        "Audio_Speech_Actors_01-24.zip was unpacked"
    )

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        emotions: Sequence[str] | None = None,
        repetitions: Sequence[int] = (1, 2),
        statements: Sequence[int] = (1, 2),
    ) -> None:
        self._chosen = {int(s) for s in statements}, {int(r) for r in repetitions}
        super().__init__(root, emotions=emotions)
        tell_licence("RAVDESS", LICENCE)

    def _read_names(self) -> Iterator[Utterance]:
        statements, repetitions = self._chosen
        for folder in (self.root, *sorted(self.root.glob("Actor_*"))):
            for path in sorted(folder.iterdir()) if folder.is_dir() else ():
                match = _FILE.fullmatch(path.stem)
                if not match or path.suffix.lower() not in SUFFIXES or not path.is_file():
                    continue
                if int(match[5]) in statements and int(match[6]) in repetitions:
                    yield Utterance(path.stem, match[7], EMOTIONS[int(match[3]) - 1], match[5], path)
