"""A model that learns what several trainings of its own recipe agree on, instead of the labels alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from evermodels.core.config import Config
from evermodels.core.errors import ConfigError, check_axes
from evermodels.training.batches import mix_seeds

_MOST = 100
_STREAM = 3  # of the seeds: the engine's own draws are others


@dataclass(frozen=True)
class DistilSettings(Config):
    """Whether a model learns from several trainings of itself (Hinton et al., 2015; Furlanello et al., 2018).

    A small model that is trained on few people depends on its seed by more than it should; the mean answer of several
    does so by less, and is better. A student that learns this mean is as small and quick as one of them.

    Args:
        teachers: How many trainings of the same settings, each with a seed of its own, are made first; 0: none.
        weight: Part of the loss that asks for the teachers' answers; the rest asks for the labels.
    """

    teachers: int = 0
    weight: float = 1.0

    def check(self) -> None:
        """Refuse a weight that is no part, and numbers that cannot be meant."""
        if not 0 <= self.teachers <= _MOST:
            raise self.refuse("teachers", f"0 to {_MOST}")
        if not 0 < self.weight <= 1:
            raise self.refuse("weight", "a part of the loss in (0, 1]")


def teacher_seeds(seed: int, count: int) -> list[int]:
    """Return the seeds of a student's teachers; no two students share one.

    Args:
        seed: The student's seed.
        count: How many teachers.

    Example:
        >>> len({*teacher_seeds(0, 3), *teacher_seeds(1, 3)})
        6
    """
    return [mix_seeds(seed, number, _STREAM) for number in range(count)]


def imitation(logits: Tensor, probabilities: Tensor) -> Tensor:
    r"""Return how far a student's answers lie from those of its teachers (Kullback-Leibler divergence, their mean).

    .. math::
        D = \sum_c q_c (\log q_c - \log p_c)

    Args:
        logits: The student's, ``(batch, classes)``; :math:`p` is their softmax.
        probabilities: The teachers', :math:`q`, the same shape.

    Raises:
        ShapeError: If the shapes differ.

    Example:
        >>> logits = torch.tensor([[0.0, 2.0]])
        >>> abs(float(imitation(logits, logits.softmax(1)))) < 1e-6
        True
    """
    check_axes("logits", logits, "batch classes")
    check_axes("probabilities", probabilities, "batch classes", batch=len(logits), classes=logits.shape[1])
    return nn.functional.kl_div(logits.float().log_softmax(1), probabilities.float(), reduction="batchmean")


class Teachers:
    """Trained models whose mean answer a student learns.

    Args:
        folders: Their checkpoints.
        student: The model that is to learn from them.
        device: Where they answer.

    Raises:
        ConfigError: If a teacher takes other inputs or has other classes than the student.
        CheckpointError: If one is missing or damaged.
    """

    def __init__(self, folders: Sequence[Path], student: Any, device: torch.device) -> None:
        from evermodels.checkpoints.load import from_pretrained

        self.models = [from_pretrained(folder, device=device).requires_grad_(requires_grad=False) for folder in folders]
        for folder, model in zip(folders, self.models, strict=True):
            if model.input_spec != student.input_spec or tuple(model.classes or ()) != tuple(student.classes or ()):
                raise ConfigError(
                    f"teachers: the model in {str(folder)!r} has other inputs or classes than its student. Train the "
                    "teachers with the student's settings."
                )

    @torch.no_grad()
    def answer(self, inputs: Mapping[str, Any], factor: Any = None) -> Tensor:
        """Return the mean of their probabilities, ``(batch, classes)``.

        Args:
            inputs: What a model is called with.
            factor: The :class:`~evermodels.training.objective.FactorLoss` that sums over what is not asked for.
        """
        answers = [model(**inputs).logits.float() for model in self.models]
        if factor is not None:
            answers = [factor.logits(logits) for logits in answers]
        return torch.stack([logits.softmax(1) for logits in answers]).mean(dim=0)
