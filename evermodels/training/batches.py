"""What happens to a batch: order, joining, presence, mixup."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Sampler, default_collate

from evermodels.core.errors import DataError
from evermodels.core.kinds import KINDS
from evermodels.core.specs import InputSpec
from evermodels.core.warning import warn


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


def collate(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Join items into a batch; what no item says of its presence is there.

    Args:
        items: Dicts as :class:`~evermodels.datasets.Parts` describes them.

    Returns:
        Tensors, lists of texts, and where an item has them ``present``, ``(batch,)`` bool by modality, and ``masks``,
        all True for items without.

    Raises:
        DataError: If an item lacks a modality that others have.

    Example:
        >>> eeg = torch.zeros(2, 8)
        >>> collate([{"eeg": eeg, "label": 0}, {"eeg": eeg, "label": 1, "present": {"eeg": False}}])["present"]
        {'eeg': tensor([ True, False])}
    """
    flags = {name: True for item in items for name in item.get("present", ())}
    masks = {name: torch.ones_like(mask) for item in items for name, mask in item.get("masks", {}).items()}
    whole = [
        {
            **item,
            **({"present": {**flags, **item.get("present", {})}} if flags else {}),
            **({"masks": {**masks, **item.get("masks", {})}} if masks else {}),
        }
        for item in items
    ]
    for item in whole:
        if item.keys() != whole[0].keys():
            lacks = sorted(item.keys() ^ whole[0].keys())
            raise DataError(
                f"items: some have {', '.join(lacks)} and some not. Where a recording is absent give zeros of its "
                f'shape and say so: present={{"{lacks[0]}": False}}.'
            )
    batch: dict[str, Any] = default_collate(whole)
    return batch


def model_inputs(
    batch: Mapping[str, Any], modalities: Sequence[str], device: torch.device, masked: Sequence[str] | None = None
) -> dict[str, Any]:
    """Return what a model is called with: its tensors, and ``present`` and ``masks`` where the batch has them.

    Args:
        batch: As :func:`collate` returns it.
        modalities: Names of the modalities that the model takes.
        device: Where to.
        masked: Modalities of which the model takes masks (default: all); a warning says which of the data's masks are
            left out, since the model then reads padding too.

    Raises:
        DataError: If a modality is not there.
    """
    missing = [name for name in modalities if name not in batch]
    if missing:
        raise DataError(
            f"items: the model takes {' and '.join(modalities)}, and the items have no {' and no '.join(missing)}. "
            f'Where a recording is absent give zeros of its shape and present={{"{missing[0]}": False}}; where all '
            "are, take a model without it."
        )
    inputs: dict[str, Any] = {name: batch[name].to(device, non_blocking=True) for name in modalities}
    for key in ("present", "masks"):
        own = {name: flag.to(device) for name, flag in batch.get(key, {}).items() if name in modalities}
        if key == "masks" and masked is not None and (unread := [name for name in own if name not in masked]):
            warn(f"masks: the model takes none of {' and '.join(unread)}, so it reads what is not valid (padding) too.")
            own = {name: mask for name, mask in own.items() if name in masked}
        if own:
            inputs[key] = own
    return inputs


class Mixup:
    r"""Mix the samples of a batch in random pairs (Zhang et al., 2018), one factor :math:`\lambda` for each batch.

    .. math:: x = \lambda x_i + (1 - \lambda) x_j

    Waves, which swing around zero (EEG, sound), take the square roots of both factors (a choice): two of them are
    uncorrelated, and so the power, and with it each spectrogram, is mixed by :math:`\lambda` instead of being lowered.

    A sample is mixed with one that has the same modalities, if need be with itself: what is absent stays absent, and
    nothing fades into it. Of the masks both must be valid.

    Args:
        spec: The model's inputs.
        alpha: Both parameters of the Beta distribution.

    Example:
        >>> from evermodels.core.specs import EEGSpec, InputSpec
        >>> mixup = Mixup(InputSpec(window_seconds=1.0, eeg=EEGSpec(("Cz",), 8.0)), alpha=0.4)
        >>> partner, factor = mixup.draw(torch.tensor([3, 5]))
        >>> mixup.mix({"eeg": torch.zeros(2, 1, 8)})["eeg"].shape
        torch.Size([2, 1, 8])
    """

    def __init__(self, spec: InputSpec, alpha: float) -> None:
        self.alpha = alpha
        self._waves = {name for name in spec.modalities if KINDS[spec.of(name).kind].wave}
        self._order, self._factor = torch.zeros(0, dtype=torch.long), 1.0

    def draw(self, target: Tensor, present: Mapping[str, Tensor] | None = None) -> tuple[Tensor, float]:
        """Draw pairs and the factor.

        Args:
            target: Class indices.
            present: Which samples have which modality (default: all have all).

        Returns:
            The partners' classes, and the factor of the samples' own classes.
        """
        self._factor = float(np.float32(torch.distributions.Beta(self.alpha, self.alpha).sample()))
        order = torch.randperm(len(target))
        if present:
            flags = torch.stack([flag.cpu() for flag in present.values()], dim=1)
            self._order = torch.arange(len(target))
            for kind in flags.unique(dim=0):
                alike = (flags[order] == kind).all(dim=1)
                self._order[order[alike].sort().values] = order[alike]
        else:
            self._order = order
        return target[self._order.to(target.device)], self._factor

    def mix(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Mix inputs by the last draw.

        Args:
            inputs: As :func:`model_inputs` returns them.
        """
        mixed: dict[str, Any] = {}
        for name, value in inputs.items():
            if name == "masks":
                mixed[name] = {key: mask & mask[self._order.to(mask.device)] for key, mask in value.items()}
            elif name == "present":
                mixed[name] = value
            else:
                order = self._order.to(value.device)
                factor, power = self._factor, 0.5 if name in self._waves else 1.0
                both = factor**power * value + (1 - factor) ** power * value[order]
                itself = order == torch.arange(len(order), device=value.device)
                mixed[name] = torch.where(itself.view(-1, *[1] * (value.ndim - 1)), value, both)
        return mixed
