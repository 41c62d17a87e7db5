"""EmoDB: ten speakers act seven emotions in German (Burkhardt et al., 2005), in the publisher's layout."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterator, Sequence
from typing import ClassVar

from evermodels.core.errors import DataError, boundary, shorten
from evermodels.datasets.utterances import SUFFIXES, Speech, Utterance

LETTERS = {
    "W": "anger",
    "L": "boredom",
    "E": "disgust",
    "A": "fear",
    "F": "happiness",
    "N": "neutral",
    "T": "sadness",
}
"""Emotion by the letter of its German word in a file's name."""

_FILE = re.compile(r"(\d{2})([ab]\d{2})([WLEAFNT])([a-z]?)")


class EmoDB(Speech):
    """Acted emotional speech in German, one sentence a file.

    Burkhardt, Paeschke, Rolfes, Sendlmeier and Weiss, *A database of German emotional speech*, Interspeech 2005;
    CC0 1.0 as declared by audEERING, which publishes it. A folder holds ``03a01Wa.wav`` (or ``.flac``): speaker,
    sentence, first letter of the German word for the emotion, version; also inside a folder ``wav``, as the publisher's
    archive unpacks. A table ``metadata.csv`` with a column ``file``, where there is one, names the files that must be
    there.

    Every file is scaled to full scale, so loudness from one to the next says nothing; sad utterances are longer (mean
    4.1 s, the others 2.4 to 2.6 s). Emotions are acted: a result is of acted emotion in speech.

    Args:
        root: The folder.
        emotions: Which emotions to read (default: every one that is there).

    Raises:
        DataError: If the folder is not in this layout, or a file is empty or missing; it is named.
        ConfigError: If an emotion is unknown.

    Example:
        >>> EmoDB("nowhere")
        Traceback (most recent call last):
            ...
        evermodels.core.errors.DataError: EmoDB: 'nowhere' is not a folder. ...
    """

    known: ClassVar[tuple[str, ...]] = tuple(sorted(LETTERS.values()))
    layout: ClassVar[str] = (
        "no file such as 03a01Wa.wav or 03a01Wa.flac. Give the folder into which the publisher's archive was unpacked, "
        "or its folder wav"
    )

    def __init__(self, root: str | os.PathLike[str], *, emotions: Sequence[str] | None = None) -> None:
        super().__init__(root, emotions=emotions)
        if missing := [name for name in self._listed() if name not in self._names]:
            raise DataError(
                f"EmoDB: {str(self.root)!r} lacks {shorten(', '.join(missing), 400)}, which its metadata.csv names. "
                "Complete the download."
            )

    def _read_names(self) -> Iterator[Utterance]:
        self._names: set[str] = set()
        for folder in (self.root, self.root / "wav"):
            for path in sorted(folder.iterdir()) if folder.is_dir() else ():
                match = _FILE.fullmatch(path.stem)
                if match and path.suffix.lower() in SUFFIXES and path.is_file():
                    self._names.add(path.stem)
                    yield Utterance(path.stem, match[1], LETTERS[match[3]], match[2], path)

    def _listed(self) -> list[str]:
        path = self.root / "metadata.csv"
        if not path.is_file():
            return []
        with boundary(DataError, "EmoDB: metadata.csv cannot be read", "Get it again, or leave it out."):
            with path.open(newline="", encoding="utf-8-sig") as file:
                rows = list(csv.DictReader(file))
            return [row["file"].rpartition("/")[2].rpartition(".")[0] for row in rows]
