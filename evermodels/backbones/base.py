"""What every encoder says of itself, so that a system can take it without knowing it."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor

from evermodels.checkpoints.base import PretrainedModel


class Backbone(PretrainedModel, abc.ABC):
    """An encoder: one tensor in, an embedding or class scores out.

    A subclass sets ``input``, a key of :data:`evermodels.core.kinds.KINDS`, and defines :meth:`sizes_for`,
    :attr:`sample_shape`, :attr:`embed_dim` and timm's ``forward_features``, ``forward_head`` and ``reset_classifier``.

    Attributes:
        input: Kind of the tensor that it takes.
        told: What else of the recordings its configuration must know, of ``ch_names`` and ``sfreq``.
    """

    input: ClassVar[str]
    told: ClassVar[tuple[str, ...]] = ()

    @classmethod
    @abc.abstractmethod
    def sizes_for(cls, shape: Sequence[int]) -> dict[str, Any]:
        """Return the values of the configuration that make it take samples of a shape.

        Args:
            shape: Shape of one sample, without the batch.
        """

    @property
    @abc.abstractmethod
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one sample that it takes, without the batch."""

    @property
    def follows_inputs(self) -> frozenset[str]:
        """Values of the configuration that may be others where the weights are taken over from another model."""
        return frozenset(self.sizes_for(self.sample_shape))

    @property
    @abc.abstractmethod
    def embed_dim(self) -> int:
        """Width of the embedding that ``num_classes=0`` returns."""

    @abc.abstractmethod
    def forward_features(self, x: Tensor) -> Tensor:
        """Return the tokens.

        Args:
            x: A batch of what ``input`` names.
        """

    @property
    def step_dim(self) -> int:
        """Width of the steps that :meth:`forward_steps` returns, by default that of the embedding."""
        return self.embed_dim

    def forward_steps(self, x: Tensor) -> Tensor:
        """Return the steps of a sequence, ``(batch, steps, step_dim)``, for systems that read what follows what.

        By default they are the tokens; an encoder that goes over time itself returns one for each moment.

        Args:
            x: A batch of what ``input`` names.
        """
        return self.forward_features(x)

    def step_mask(self, mask: Tensor) -> Tensor | None:
        """Return which steps hold a valid frame, ``(batch, steps)`` bool, or ``None`` where steps are no frames.

        Args:
            mask: Valid frames of the input, ``(batch, frames)`` bool.
        """
        del mask
        return None

    @abc.abstractmethod
    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Return class scores of tokens, or the embedding.

        Args:
            x: What :meth:`forward_features` returned.
            pre_logits: Whether to stop before the classifier.
        """
