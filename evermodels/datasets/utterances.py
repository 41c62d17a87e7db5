"""Acted speech: files of one utterance each, whose names say who speaks and with which emotion."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from evermodels.core.errors import ConfigError, DataError, did_you_mean, shorten
from evermodels.core.specs import AudioSpec
from evermodels.datasets.augment_sound import SoundChange
from evermodels.datasets.folders import existing_folder
from evermodels.signals.audio import Audio, Reader
from evermodels.signals.audio.level import SILENT_DBFS, check_threshold
from evermodels.signals.audio.resampling import ratio, resample

SUFFIXES = (".wav", ".flac")
"""Files as publishers give them, and the same samples in less space."""


class Utterance(NamedTuple):
    """One file.

    Attributes:
        name: The publisher's name without its ending.
        speaker: Id of the speaker.
        emotion: What was acted.
        text: Id of the sentence.
        path: The file.
    """

    name: str
    speaker: str
    emotion: str
    text: str
    path: Path


class Speech(ABC):
    """A folder of acted speech.

    Args:
        root: The folder.
        emotions: Which emotions to read (default: every one that is there), in the order of :attr:`emotions`.

    Attributes:
        utterances: The files by name, in the order of their names.
        speakers: Ids of the speakers, sorted.
        emotions: The emotions that are read.

    Raises:
        DataError: If the folder is not in this layout, or a file is empty or missing.
        ConfigError: If an emotion is unknown.
    """

    known: ClassVar[tuple[str, ...]]
    """Emotions that the publisher recorded."""
    layout: ClassVar[str]
    """What the folder must hold, for the error."""

    def __init__(self, root: str | os.PathLike[str], *, emotions: Sequence[str] | None = None) -> None:
        self.title = type(self).__name__
        self.root = existing_folder(root, self.title)
        wanted = self.known if emotions is None else tuple(emotions)
        for emotion in wanted:
            if emotion not in self.known or isinstance(emotions, str):
                raise ConfigError(
                    f"emotions: expected some of {', '.join(self.known)}, got {emotions!r}."
                    f"{did_you_mean(str(emotion), self.known)}"
                )
        every = sorted(self._read_names(), key=lambda u: (u.name, u.path.suffix))
        if not every:
            raise DataError(f"{self.title}: {str(self.root)!r} holds {self.layout}.")
        self.utterances = {u.name: u for u in every[::-1] if u.emotion in wanted}
        self.utterances = dict(reversed(self.utterances.items()))
        there = {u.emotion for u in self.utterances.values()}
        self.emotions = tuple(emotion for emotion in wanted if emotion in there or emotions is not None)
        if lacking := [emotion for emotion in self.emotions if emotion not in there]:
            raise DataError(
                f"{self.title}: {str(self.root)!r} holds no {' and no '.join(lacking)}. Complete the download, or "
                "choose emotions that are there."
            )
        self.speakers = tuple(sorted({u.speaker for u in self.utterances.values()}))
        if empty := [u.path.name for u in self.utterances.values() if not u.path.stat().st_size]:
            raise DataError(f"{self.title}: {shorten(', '.join(empty))} in {str(self.root)!r} is empty. Get it again.")

    def __repr__(self) -> str:
        return f"{self.title}({len(self)} utterances, {len(self.speakers)} speakers, {', '.join(self.emotions)})"

    def __len__(self) -> int:
        return len(self.utterances)

    @abstractmethod
    def _read_names(self) -> Iterator[Utterance]:
        """Yield what lies in the folder and is named as the publisher names it."""

    def of(self, speaker: str, emotion: str) -> tuple[str, ...]:
        """Return the names of a speaker's utterances with an emotion.

        Args:
            speaker: Id.
            emotion: The emotion.

        Raises:
            DataError: If there is no such speaker or emotion.
        """
        if speaker not in self.speakers:
            raise DataError(
                f"speaker: {speaker!r} is not there.{did_you_mean(speaker, self.speakers)} There is "
                f"{', '.join(self.speakers)}."
            )
        if emotion not in self.emotions:
            raise DataError(f"emotion: expected one of {', '.join(self.emotions)}, got {emotion!r}.")
        return tuple(u.name for u in self.utterances.values() if (u.speaker, u.emotion) == (speaker, emotion))

    def recording(self, name: str) -> Audio:
        """Return one utterance as a recording.

        Args:
            name: The publisher's name without its ending.

        Raises:
            DataError: If there is no such utterance.
            SignalError: If the file is damaged, or cut short.
        """
        if name not in self.utterances:
            raise DataError(f"name: {name!r} is not there.{did_you_mean(name, self.utterances)}")
        return Audio(self.utterances[name].path)


class UtteranceWindows:
    """One window of each utterance as a model takes it: from its beginning, followed by silence where it is shorter.

    Each is read and kept once. A frame is valid where its middle lies in the sound and its level is not below
    ``silent_dbfs``; what follows an utterance is digital silence and never valid. The frames are those of the spec
    (``frame_seconds``, ``hop_seconds``), also of waveforms.

    The part of a window that is sound says how long the utterance is, which may go with the emotion (in EmoDB sad ones
    are longer): what a model gains by that is not how a voice sounds.

    Args:
        speech: The folder.
        spec: What the model takes.
        seconds: Length of the window.
        silent_dbfs: Level in dBFS below which a frame is not valid.

    Raises:
        ConfigError: If the window's length or the level is impossible.
    """

    def __init__(
        self, speech: Speech, spec: AudioSpec, seconds: float | None, *, silent_dbfs: float = SILENT_DBFS
    ) -> None:
        check_threshold(silent_dbfs, "silent_dbfs")
        spec.check_window(seconds)
        self.speech, self.spec, self.seconds = speech, spec, spec.needed(seconds)
        self.silent_dbfs = float(silent_dbfs)
        self._reader = Reader(spec, self.seconds, silent_dbfs=self.silent_dbfs)
        self._kept: dict[str, tuple[Tensor, Tensor]] = {}
        self._changed: dict[tuple[str, SoundChange, str | None], tuple[Tensor, Tensor]] = {}
        self._sounds: dict[str, tuple[np.ndarray, float]] = {}

    def __call__(self, name: str) -> tuple[Tensor, Tensor]:
        """Return an utterance's window as the spec says, and which of its frames are valid, ``(frames,)`` bool.

        Args:
            name: Its name.

        Raises:
            DataError: If there is no such utterance, or no frame of it is loud enough.
            SignalError: If the file is damaged.
        """
        if name not in self._kept:
            recording = self.speech.recording(name)
            stop = min(recording.stop, recording.start + self.seconds)
            self._kept[name] = self._made(name, recording.read(recording.start, stop), recording.sfreq)
        return self._kept[name]

    def changed(
        self, name: str, change: SoundChange, other: str | None = None, *, keep: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Return an utterance's window as a change makes it, and which of its frames are valid.

        Args:
            name: Its name.
            change: One draw of a :class:`~evermodels.datasets.augment_sound.SoundAugmentation`.
            other: Name of the utterance that is laid over it, where the change says so.
            keep: Whether it is kept in memory, as it will be asked for again.

        Raises:
            DataError: If there is no such utterance, or no frame of it is loud enough.
            SignalError: If a file is damaged.
        """
        if (name, change, other) in self._changed:
            return self._changed[name, change, other]
        made = self._make_changed(name, change, other)
        if keep:
            self._changed[name, change, other] = made
        return made

    def _make_changed(self, name: str, change: SoundChange, other: str | None) -> tuple[Tensor, Tensor]:
        sound, sfreq = self._sound(name)
        over = None
        if other is not None:
            second, rate = self._sound(other)
            over = resample(second, ratio(rate, sfreq))
        voices = change.voices(sound, over)[: round(self.seconds * sfreq)]
        tensor, mask = self._made(name, change.room(voices, sfreq), sfreq, heard=voices)
        return (change.picture(tensor, mask, self.spec) if self.spec.form == "log_mel" else tensor), mask

    def _sound(self, name: str) -> tuple[np.ndarray, float]:
        if name not in self._sounds:
            recording = self.speech.recording(name)
            self._sounds[name] = recording.read(), recording.sfreq
        return self._sounds[name]

    def _made(
        self, name: str, sound: np.ndarray, sfreq: float, *, heard: np.ndarray | None = None
    ) -> tuple[Tensor, Tensor]:
        """The window of a sound that is as long or shorter; noise that was added makes no frame valid."""
        mask = self._reader.frame_mask(sound if heard is None else heard, sfreq, self.seconds)
        if not mask.any():
            raise DataError(
                f"{name}: no frame of it reaches {self.silent_dbfs:g} dBFS; it is silent. Give a lower "
                "silent_dbfs, or leave the file out."
            )
        # Padded at its own rate, so that it goes the one way of every recording.
        whole = np.zeros(max(len(sound), int(np.ceil(self.seconds * sfreq))), dtype=np.float32)
        whole[: len(sound)] = sound
        padded = Audio(whole, sfreq=sfreq)
        window = next(self._reader.windows(self._reader.prepare(padded), [0.0], self.seconds))
        return window.tensor, torch.from_numpy(mask)
