"""What happens to a training batch: order and mixup."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Sampler


def mix_seeds(*parts: int) -> int:
    """Return one 32-bit seed from several numbers, without the collisions of a sum.

    Args:
        *parts: Non-negative numbers such as seed and epoch.

    Example:
        >>> mix_seeds(0, 1) != mix_seeds(1, 0)
        True
    """
    return int(np.random.SeedSequence(parts).generate_state(1)[0])


class EpochSampler(Sampler[int]):
    """A random order that depends on ``(seed, epoch)`` alone, so that a resumed run sees what it would have seen.

    Args:
        length: Items, a multiple of ``group``.
        seed: The run's seed.
        group: Items in a row that stay together and in order; the groups are shuffled.

    Example:
        >>> sampler = EpochSampler(6, seed=0, group=2)
        >>> sampler.set_epoch(3)
        >>> list(sampler)
        [4, 5, 0, 1, 2, 3]
    """

    def __init__(self, length: int, seed: int, group: int = 1) -> None:
        self.length, self.seed, self.group, self.epoch = length, seed, group, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch.

        Args:
            epoch: From 0.
        """
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(mix_seeds(self.seed, self.epoch, 1))
        order = torch.randperm(self.length // self.group, generator=generator)
        return iter((order[:, None] * self.group + torch.arange(self.group)).flatten().tolist())

    def __len__(self) -> int:
        return self.length


class Mixup:
    """Mix the samples of a batch in random pairs (Zhang et al., 2018), one factor for each batch.

    EEG is mixed as the spectrogram that the model makes of it, where it makes one: mixing two waveforms would lower
    the power of both (a choice). All other inputs are mixed as they come.

    Args:
        model: The model; a hook goes on its :class:`~evermodels.layers.STFTSpectrogram` modules until :meth:`close`.
        alpha: Both parameters of the Beta distribution.
    """

    def __init__(self, model: nn.Module, alpha: float) -> None:
        from evermodels.layers import STFTSpectrogram

        self.alpha = alpha
        self._order: Tensor | None = None
        self._factor = 1.0
        spectrograms = [module for module in model.modules() if isinstance(module, STFTSpectrogram)]
        self._hooks = [module.register_forward_hook(self._mix_output) for module in spectrograms]

    def _mix(self, value: Tensor) -> Tensor:
        assert self._order is not None
        return torch.lerp(value[self._order.to(value.device)], value, self._factor)

    def _mix_output(self, module: nn.Module, args: Any, output: Tensor) -> Tensor | None:
        return self._mix(output) if module.training and self._order is not None else None

    def __call__(self, inputs: dict[str, Tensor], target: Tensor) -> tuple[dict[str, Tensor], Tensor, float]:
        """Draw and mix.

        Args:
            inputs: The batch's inputs by modality.
            target: Class indices.

        Returns:
            Mixed inputs, the partners' classes, and the factor of the samples' own classes.
        """
        self._factor = float(np.float32(torch.distributions.Beta(self.alpha, self.alpha).sample()))
        self._order = torch.randperm(len(target))
        mixed = {k: v if k == "eeg" and self._hooks else self._mix(v) for k, v in inputs.items()}
        return mixed, target[self._order.to(target.device)], self._factor

    def close(self) -> None:
        """Take the hooks off."""
        for hook in self._hooks:
            hook.remove()
        self._order = None
