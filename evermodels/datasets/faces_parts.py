"""Face clips as a recipe names them: neutral against smiling, by folds of people (protocol 3)."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch.utils.data import Dataset

from evermodels.core.errors import ConfigError
from evermodels.core.specs import InputSpec, VideoSpec
from evermodels.datasets.clips import EXPRESSIONS, VIEW, face_clip
from evermodels.datasets.download import data_folder
from evermodels.datasets.faces import LondonFaces
from evermodels.datasets.parts import DataSettings, Parts
from evermodels.datasets.splits import PARTS, subject_folds

FOLDS = 6
_MOST_CLIPS = 1000


@functools.lru_cache(maxsize=2)
def _faces(folder: Path, crop: bool, margin: float) -> LondonFaces:
    """Each photograph is cut once for all folds, rows and seeds of a process."""
    return LondonFaces(folder, crop=crop, margin=margin)


class FaceClips(Dataset[dict[str, Any]]):
    """Clips of some people, as many neutral as smiling ones; those of a training part are drawn anew every epoch.

    Motion, light and timing of a clip do not depend on its expression: a person's neutral and smiling clip of one
    number move alike.

    Args:
        faces: The photographs.
        people: Whose.
        spec: What the model takes.
        clips: Clips of each person and expression.
        crossfade: How many of the clips begin with the other expression.
        seed: Of the draws of a training part; ``None``: fixed clips, the same for every seed.
        flip: Whether half of the training clips are mirrored.
    """

    def __init__(
        self,
        faces: LondonFaces,
        people: Sequence[str],
        spec: VideoSpec,
        *,
        clips: int,
        crossfade: float = 0.5,
        seed: int | None = None,
        flip: bool = False,
    ) -> None:
        self.faces, self.spec, self.crossfade, self.seed, self.flip = faces, spec, crossfade, seed, flip
        self._at = [(p, person, n, k) for p, person in enumerate(people) for n in range(clips) for k in (0, 1)]
        self._side = (round(spec.size[0] / VIEW), round(spec.size[1] / VIEW))
        self.labels = [label for *_, label in self._at]
        self.people = {"person": tuple(people)}
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Draw the clips of an epoch, where they are drawn.

        Args:
            epoch: From 0.
        """
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self._at)

    def __getitem__(self, index: int) -> dict[str, Any]:
        place, person, number, label = self._at[index]
        drawn = (0, 0) if self.seed is None else (1 + self.seed, self.epoch)
        neutral, smiling = (self.faces.photo(person, expression, size=self._side) for expression in EXPRESSIONS)
        clip = face_clip(
            neutral,
            smiling,
            EXPRESSIONS[label],
            self.spec.num_frames,
            self.spec.size,
            np.random.default_rng((*drawn, place, number)),
            crossfade=self.crossfade,
            flip=self.flip,
        )
        mean, std = (np.asarray(values, np.float32) for values in (self.spec.mean, self.spec.std))
        frames = (clip.astype(np.float32) / 255 - mean) / std
        return {"video": torch.from_numpy(frames).movedim(3, 1).contiguous(), "label": label, "person": person}


@dataclass(frozen=True)
class FacesSettings(DataSettings):
    """Settings of the London faces as clips, neutral against smiling (protocol 3).

    Args:
        dataset: ``"faces"``.
        num_workers: Processes that load training batches; 0 loads in the training process.
        fold: Which of six blocks of people, in the order of their ids, is tested.
        n_validation: People taken out of training to choose the epoch; 0 where the last is kept.
        clips: Training clips of each person and expression in an epoch.
        test_clips: Clips of each person and expression in the other parts, the same for every seed and model.
        crossfade: How many of the clips begin with the other expression.
        flip: Whether half of the training clips are mirrored.

    Example:
        >>> FacesSettings(fold=6)
        Traceback (most recent call last):
            ...
        evermodels.core.errors.ConfigError: FacesSettings.fold: expected 0 to 5, got 6.
    """

    dataset: Literal["faces"] = "faces"
    fold: int = 0
    n_validation: int = 12
    clips: int = 2
    test_clips: int = 2
    crossfade: float = 0.5
    flip: bool = True

    def check(self) -> None:
        """Refuse folds that there are not, and impossible numbers."""
        super().check()
        if not 0 <= self.fold < FOLDS:
            raise self.refuse("fold", f"0 to {FOLDS - 1}")
        self.at_least(0, "n_validation")
        for key in ("clips", "test_clips"):
            if not 1 <= getattr(self, key) <= _MOST_CLIPS:
                raise self.refuse(key, f"1 to {_MOST_CLIPS}")
        if not 0 <= self.crossfade <= 1:
            raise self.refuse("crossfade", "a probability")

    def told(self) -> dict[str, Any]:
        """Return which fold it is."""
        return {"protocol": "faces protocol 3", "fold": self.fold}

    def parts(self, spec: InputSpec, *, seed: int = 0, data_root: str | os.PathLike[str] | None = None) -> Parts:
        """Build the parts of one fold.

        Args:
            spec: What the model takes.
            seed: Of the training clips.
            data_root: Folder that holds ``faces``.

        Raises:
            DataError: If the folder or people are missing.
            ConfigError: If the model takes more than video.

        Example:
            >>> FacesSettings().parts(InputSpec(video=VideoSpec(16, (64, 64))), data_root="nowhere")
            Traceback (most recent call last):
                ...
            evermodels.core.errors.DataError: faces: there is no folder 'nowhere/faces'. ...
        """
        video = spec.video
        if spec.modalities != ("video",) or video is None:
            raise ConfigError(
                f"model: the faces are video alone, and the model takes {', '.join(spec.modalities) or 'nothing'}."
            )
        # As in the quadrant pairs: with this border the faces fill a clip's frames as they fill a recording's.
        margin = ((1 + 2 * video.margin) / VIEW - 1) / 2
        faces = _faces(data_folder("faces", data_root), video.face_crop, margin)
        split = subject_folds(faces.people, FOLDS, n_validation=self.n_validation)[self.fold]
        own: dict[str, dict[str, Any]] = {"train": {"clips": self.clips, "seed": seed, "flip": self.flip}}
        train, validation, test = (
            FaceClips(
                faces,
                split.part(part),
                video,
                crossfade=self.crossfade,
                **own.get(part, {"clips": self.test_clips}),
            )
            for part in PARTS
        )
        return Parts(train, validation, test, EXPRESSIONS)
