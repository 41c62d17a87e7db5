"""EmoDB as a recipe names it: four acted emotions, one speaker left out (protocol 5)."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from evermodels.core.errors import ConfigError
from evermodels.core.specs import AudioSpec, InputSpec
from evermodels.datasets.augment_sound import SoundAugmentation, changes, plain_without
from evermodels.datasets.download import data_folder
from evermodels.datasets.emodb import EmoDB
from evermodels.datasets.listed import Entry, Listed, Standardised, one_left_out
from evermodels.datasets.parts import DataSettings, Parts
from evermodels.datasets.utterances import UtteranceWindows
from evermodels.signals.audio.level import SILENT_DBFS, check_threshold

EMOTIONS = ("anger", "happiness", "neutral", "sadness")

_LEAST_STD = 1e-3  # of a band in log units; less is a band without sound


@functools.lru_cache(maxsize=2)
def _windows(
    folder: Path, emotions: tuple[str, ...], spec: AudioSpec, seconds: float | None, silent_dbfs: float
) -> UtteranceWindows:
    """Each utterance is decoded once for all folds, rows and seeds of a process."""
    return UtteranceWindows(EmoDB(folder, emotions=emotions), spec, seconds, silent_dbfs=silent_dbfs)


@dataclass(frozen=True)
class EmoDBSettings(DataSettings):
    """Settings of EmoDB, one speaker left out.

    Args:
        dataset: ``"emodb"``.
        num_workers: Processes that load training batches; 0 loads in the training process.
        fold: Which of the speakers, sorted, is tested.
        n_validation: How many of the others choose the epoch; 0 where the last is kept.
        emotions: The classes.
        speaker_statistics: Whether each mel band is standardised by the valid frames of all of the speaker's
            utterances. It needs no label, but it sees a test speaker's other utterances, and that each emotion is among
            them: such a result is transductive, and is to be called so.
        silent_dbfs: Level in dBFS below which a frame is masked.
        augment: Random changes of the training speakers' utterances. Where they are standardised by
            ``speaker_statistics``, these are of the unchanged ones.
    """

    dataset: Literal["emodb"] = "emodb"
    fold: int = 0
    n_validation: int = 2
    emotions: tuple[str, ...] = EMOTIONS
    speaker_statistics: bool = False
    silent_dbfs: float = SILENT_DBFS
    augment: SoundAugmentation = field(default_factory=SoundAugmentation)

    def check(self) -> None:
        """Refuse impossible values."""
        super().check()
        if self.fold < 0:
            raise self.refuse("fold", "0 or more")
        self.at_least(0, "n_validation")
        if len(set(self.emotions)) < 2 or not set(self.emotions) <= set(EmoDB.known):
            raise self.refuse("emotions", f"at least two of {', '.join(EmoDB.known)}, each once")
        check_threshold(self.silent_dbfs, "silent_dbfs")

    def to_dict(self) -> dict[str, Any]:
        """Return the settings in plain JSON; changes of sound only where there are some."""
        return plain_without(super().to_dict(), self.augment, "augment")

    def told(self) -> dict[str, Any]:
        """Return which speaker was left out, and whether the result is transductive."""
        return {"dataset": self.dataset, "fold": self.fold, "transductive": self.speaker_statistics}

    def parts(self, spec: InputSpec, *, seed: int = 0, data_root: str | os.PathLike[str] | None = None) -> Parts:
        """Build the parts of one fold.

        Args:
            spec: What the model takes.
            seed: Seed of the changes in training.
            data_root: Folder that holds ``emodb``.

        Raises:
            DataError: If the folder or files are missing.
            ConfigError: If the model takes anything but sound, or there is no such fold.

        Example:
            >>> EmoDBSettings().parts(InputSpec(window_seconds=3.0, audio=AudioSpec()), data_root="nowhere")
            Traceback (most recent call last):
                ...
            evermodels.core.errors.DataError: emodb: there is no folder 'nowhere/emodb'. ...
        """
        if spec.modalities != ("audio",) or spec.audio is None:
            raise ConfigError(f"model: EmoDB is sound alone, and the model takes {', '.join(spec.modalities)}.")
        if self.speaker_statistics and spec.audio.form == "waveform":
            raise ConfigError("data.speaker_statistics: they are of mel bands, and the model takes waveforms.")
        windows = _windows(
            data_folder("emodb", data_root), self.emotions, spec.audio, spec.window_seconds, self.silent_dbfs
        )
        utterances = windows.speech.utterances.values()
        split = one_left_out(windows.speech.speakers, self.fold, self.n_validation)
        keys = {s: [u.name for u in utterances if u.speaker == s] for s in windows.speech.speakers}
        standardised = Standardised(windows, keys, _LEAST_STD) if self.speaker_statistics else None
        augment = changes(self.augment, spec.audio)

        def part(name: str) -> Listed:
            people = split.part(name)
            entries = [
                Entry(u.name, self.emotions.index(u.emotion), u.speaker) for u in utterances if u.speaker in people
            ]
            if augment is None or name != "train":
                return Listed(entries, _Read(windows, standardised), "speaker")
            return Listed(entries, _Changed(windows, standardised, augment, entries), "speaker", seed=seed)

        return Parts(part("train"), part("validation"), part("test"), self.emotions, groups=("speaker",))


class _Read:
    """What an item holds of an utterance."""

    def __init__(self, windows: UtteranceWindows, standardised: Standardised | None) -> None:
        self.windows, self.standardised = windows, standardised

    def __call__(self, entry: Entry) -> dict[str, Any]:
        window, mask = self.windows(entry.key)
        return {"audio": self.standardised(entry) if self.standardised else window, "masks": {"audio": mask}}


class _Changed(_Read):
    """What an item of the training part holds of an utterance that is changed."""

    def __init__(
        self,
        windows: UtteranceWindows,
        standardised: Standardised | None,
        augment: SoundAugmentation,
        entries: Sequence[Entry],
    ) -> None:
        super().__init__(windows, standardised)
        self.augment, self.entries = augment, entries

    def __call__(self, entry: Entry, rng: np.random.Generator | None = None) -> dict[str, Any]:
        assert rng is not None
        source = self.augment.source(rng, entry.key)
        if source is None:
            return super().__call__(entry)
        change = self.augment.draw(source)
        others = [e.key for e in self.entries if e.label == entry.label and e.person != entry.person]
        other = others[int(source.integers(len(others)))] if change.share and others else None
        window, mask = self.windows.changed(entry.key, change, other, keep=self.augment.versions > 0)
        return {"audio": self.standardised(entry, window) if self.standardised else window, "masks": {"audio": mask}}
