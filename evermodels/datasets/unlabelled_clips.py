"""Clips of faces without labels, made when they are asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from evermodels.core.errors import ConfigError, DataError
from evermodels.core.specs import VideoSpec
from evermodels.datasets.clips import EXPRESSIONS, VIEW, face_clip
from evermodels.datasets.faces import LondonFaces


class UnlabelledClips(Dataset[dict[str, Any]]):
    """Clips of people's photographs, each the same whenever it is asked for; what they express is not said.

    They are those of :func:`~evermodels.datasets.clips.face_clip`: a stand-in for video that is openly licensed,
    without real movement of the face. Half of a person's clips are of each expression, half are mirrored.

    Args:
        faces: The photographs.
        spec: Frames, their size, and what they are normalised by.
        people: Whose clips (default: everybody's).
        clips_per_person: How many of each.
        seed: Seed of motion, light and timing.

    Returns:
        Items are dicts: ``video`` ``(frames, 3, height, width)`` float32, normalised, and ``person``.

    Raises:
        ConfigError: If there is no such person, or no clip is asked for.

    Example:
        >>> UnlabelledClips.modality
        'video'
    """

    modality = "video"

    def __init__(
        self,
        faces: LondonFaces,
        spec: VideoSpec,
        people: Sequence[str] = (),
        *,
        clips_per_person: int = 16,
        seed: int = 0,
    ) -> None:
        if clips_per_person < 1:
            raise ConfigError(f"clips_per_person: expected at least 1, got {clips_per_person}.")
        if unknown := [person for person in people if person not in faces.people]:
            raise ConfigError(f"people: there is nobody called {unknown[0]!r} among the {len(faces.people)} people.")
        chosen = tuple(people) or faces.people
        self.faces, self.spec, self.seed = faces, spec, seed
        self.rows = [(person, k) for person in chosen for k in range(clips_per_person)]
        self.left_out: Mapping[str, int] = {}

    @property
    def persons(self) -> tuple[str, ...]:
        """Whose each clip is."""
        return tuple(person for person, _ in self.rows)

    @property
    def people(self) -> tuple[str, ...]:
        """Everybody, in the order of the clips."""
        return tuple(dict.fromkeys(self.persons))

    @property
    def fits(self) -> tuple[int, ...]:
        """What items of several sets must share: ``(frames, 3, height, width)``."""
        return self.spec.shape(None)

    def part(self, indices: Sequence[int]) -> UnlabelledClips:
        """Return some of the clips.

        Args:
            indices: Which.

        Raises:
            DataError: If there is none.
        """
        if not indices:
            raise DataError("indices: expected at least one clip.")
        made = UnlabelledClips(self.faces, self.spec, self.people, seed=self.seed)
        made.rows = [self.rows[i] for i in indices]
        return made

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        person, k = self.rows[index]
        rng = np.random.default_rng([self.seed, self.faces.people.index(person), k])
        side = (round(self.spec.size[0] / VIEW), round(self.spec.size[1] / VIEW))
        neutral, smiling = (self.faces.photo(person, expression, size=side) for expression in EXPRESSIONS)
        shown = EXPRESSIONS[k % len(EXPRESSIONS)]
        frames = face_clip(neutral, smiling, shown, self.spec.num_frames, self.spec.size, rng, flip=True)
        pixels = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255
        mean, std = (torch.tensor(values)[:, None, None] for values in (self.spec.mean, self.spec.std))
        return {"video": ((pixels - mean) / std).contiguous(), "person": person}
