"""What every encoder says of itself, so that a system can take it without knowing it."""

from __future__ import annotations

import abc
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from evermodels.checkpoints.base import PretrainedModel
from evermodels.core.config import Config
from evermodels.core.errors import ConfigError, ShapeError


class Backbone(PretrainedModel, abc.ABC):
    """An encoder: one tensor in, an embedding or class scores out.

    A subclass sets ``input``, a key of :data:`evermodels.core.kinds.KINDS`, ``axes``, ``config_class`` and ``presets``,
    defines timm's ``forward_features``, and ends its constructor with ``self.head = self.make_head()``. The rest has a
    default here: the embedding is the mean of the tokens (:meth:`pool`), as wide as the configuration's ``embed_dim``,
    and one linear layer classifies it. A configuration with ``head_drop_rate`` has dropout between the two. Where the
    shape of a sample is no plain list of values, it defines :meth:`sizes_for` and :attr:`sample_shape` instead of
    ``axes``.

    Attributes:
        input: Kind of the tensor that it takes.
        axes: Values of the configuration that are the shape of a sample, in order; the last may hold several axes.
        told: What else of the recordings its configuration must know, of ``ch_names`` and ``sfreq``.
        head: Classifier of the embedding; the identity where there are no classes.
    """

    input: ClassVar[str]
    axes: ClassVar[tuple[str, ...]] = ()
    told: ClassVar[tuple[str, ...]] = ()
    head: nn.Module

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.head_drop = nn.Dropout(getattr(config, "head_drop_rate", 0.0))

    @classmethod
    def sizes_for(cls, shape: Sequence[int]) -> dict[str, Any]:
        """Return the values of the configuration that make it take samples of a shape.

        Args:
            shape: Shape of one sample, without the batch.
        """
        *names, last = cls._named_axes()
        rest = tuple(shape[len(names) :])
        return {**dict(zip(names, shape, strict=False)), last: rest if len(rest) > 1 else rest[0]}

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one sample that it takes, without the batch."""
        *sizes, last = (getattr(self.config, name) for name in self._named_axes())
        return (*sizes, *last) if isinstance(last, tuple) else (*sizes, last)

    @classmethod
    def _named_axes(cls) -> tuple[str, ...]:
        if not cls.axes:
            raise NotImplementedError(
                f"{cls.__name__} does not say the shape of a sample. Set axes to the values of its configuration that "
                'are it, such as ("in_chans", "num_samples"), or define sizes_for and sample_shape.'
            )
        return cls.axes

    @property
    def follows_inputs(self) -> frozenset[str]:
        """Values of the configuration that may be others where the weights are taken over from another model."""
        return frozenset(self.sizes_for(self.sample_shape))

    def taken_over(self, state: Mapping[str, Tensor], config: Any) -> dict[str, Tensor]:
        """Return another encoder's weights as this one can load them, where its inputs had another size.

        By default they are as they were; an encoder with a learned table of positions resamples it.

        Args:
            state: Weights by name.
            config: The configuration of the encoder that they come from.
        """
        del config
        return dict(state)

    @property
    def embed_dim(self) -> int:
        """Width of the embedding that ``num_classes=0`` returns."""
        width: int = self.config.embed_dim
        return width

    @property
    def num_classes(self) -> int:
        """Classes of the head; 0 for the embedding."""
        count: int = self.config.num_classes
        return count

    # Head

    def make_head(self) -> nn.Module:
        """Return a new classifier of the embedding for as many classes as the configuration says."""
        if not self.num_classes:
            return nn.Identity()
        head = nn.Linear(self.embed_dim, self.num_classes)
        nn.init.trunc_normal_(head.weight, std=0.02)
        nn.init.zeros_(head.bias)
        return head

    def reset_classifier(self, num_classes: int) -> None:
        """Replace the head by a new one.

        Args:
            num_classes: Number of classes; 0 for the embedding.

        Raises:
            ConfigError: If it is negative.
        """
        self.config = self.config.replace(num_classes=num_classes)
        self.classes, self.factors = None, ()
        anchor = next(self.parameters())
        self.head = self.make_head().to(device=anchor.device, dtype=anchor.dtype)

    # Forward

    def forward(self, x: Tensor) -> Tensor:
        """Classify a batch.

        Args:
            x: A batch of what ``input`` names.

        Returns:
            Logits, ``(batch, num_classes)``; with ``num_classes=0`` the embedding, ``(batch, embed_dim)``.

        Raises:
            ShapeError: If its samples are of another shape than :attr:`sample_shape`, or of another type than the
                weights and there is no autocast.
        """
        self.check_type(x)
        return self.forward_head(self.forward_features(x))

    def check_type(self, x: Tensor) -> None:
        """Refuse numbers of another type than the weights', unless autocast converts them.

        Args:
            x: A batch of what ``input`` names.

        Raises:
            ShapeError: If they are.
        """
        if not isinstance(x, Tensor) or (want := next(self.parameters()).dtype) == x.dtype:
            return
        if x.is_floating_point() and torch.is_autocast_enabled(x.device.type):
            return
        name = str(want).removeprefix("torch.")
        raise ShapeError(
            f"{self.input}: expected numbers of type {name} as the weights are, got {x.dtype}. Convert them with "
            f".to({want})."
        )

    @abc.abstractmethod
    def forward_features(self, x: Tensor) -> Tensor:
        """Return the tokens.

        Args:
            x: A batch of what ``input`` names.
        """

    def pool(self, x: Tensor) -> Tensor:
        """Return the embedding of tokens, ``(batch, embed_dim)``; by default their mean.

        Args:
            x: What :meth:`forward_features` returned.
        """
        return x.mean(dim=1)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Pool the tokens and classify.

        Args:
            x: What :meth:`forward_features` returned.
            pre_logits: Whether to stop at the embedding.

        Returns:
            Logits, ``(batch, num_classes)``, or the embedding, ``(batch, embed_dim)``.
        """
        embedding = self.pool(x)
        return embedding if pre_logits else self.head(self.head_drop(embedding))

    @property
    def num_intermediates(self) -> int:
        """How many levels :meth:`forward_intermediates` returns."""
        return 1

    def forward_intermediates(self, x: Tensor) -> list[Tensor]:
        """Return the steps after each block, normalised, the last ones last; by default the last ones alone.

        Args:
            x: A batch of what ``input`` names.
        """
        return [self.forward_steps(x)]

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

    @property
    def reads_masks(self) -> bool:
        """Whether :meth:`forward_valid` can leave frames out."""
        return type(self).step_mask is not Backbone.step_mask

    def forward_valid(self, x: Tensor, mask: Tensor) -> Tensor:
        """Classify by the valid frames alone: by the mean of their steps.

        Args:
            x: A batch of what ``input`` names.
            mask: Valid frames, ``(batch, frames)`` bool; of a sample without any all are read.

        Returns:
            As :meth:`forward`.

        Raises:
            ConfigError: If the encoder reads a sample as a whole (:attr:`reads_masks`).
        """
        valid, steps = self.step_mask(mask), self.forward_steps(x)
        if valid is None:
            raise ConfigError(f"mask: {type(self).__name__} reads a sample as a whole. Leave it out.")
        return self.head(self.head_drop(mean_of(steps, valid)))


def mean_of(steps: Tensor, valid: Tensor) -> Tensor:
    """Return the mean of the valid steps, ``(batch, dim)``; of all where a sample has none.

    Args:
        steps: ``(batch, steps, dim)``; what stands where it is not valid matters to nothing.
        valid: ``(batch, steps)`` bool.

    Example:
        >>> import torch
        >>> mean_of(torch.tensor([[[1.0], [5.0]]]), torch.tensor([[True, False]]))
        tensor([[1.]])
    """
    valid = valid | ~valid.any(dim=1, keepdim=True)
    kept = torch.where(valid[..., None], steps, 0)
    return kept.sum(dim=1) / valid.sum(dim=1, keepdim=True).to(steps.dtype)


class Checkpointed:
    """What a backbone of blocks inherits before :class:`Backbone`: each can be recomputed instead of stored."""

    grad_checkpointing = False
    training: bool

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute each block in the backward pass instead of storing it.

        Args:
            enable: Whether to do so.
        """
        self.grad_checkpointing = enable

    def through(self, blocks: Iterable[nn.Module], x: Tensor, *more: Any) -> Tensor:
        """Run blocks one after the other.

        Args:
            blocks: Each takes what the one before returned.
            x: Tokens.
            *more: What each block also takes, such as a mask.
        """
        for block in blocks:
            x = self.recomputed(block, x, *more)
        return x

    def recomputed(self, block: nn.Module, *inputs: Any) -> Any:
        """Run one block, whose insides are recomputed in the backward pass where that was asked for.

        Args:
            block: The block.
            *inputs: What it takes.
        """
        if self.grad_checkpointing and self.training:
            return checkpoint(block, *inputs, use_reentrant=False)
        return block(*inputs)
