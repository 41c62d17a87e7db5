"""Which sample of a batch has which modality: checked in one place, for any modalities."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from evermodels.core.errors import ConfigError, ShapeError, check_axes


def presence(
    given: Mapping[str, Tensor | None], present: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor] | None:
    """Return which samples have which modality.

    Args:
        given: What there is by modality, the batch first, ``None`` for a modality that the whole batch lacks; every
            modality that is taken is named.
        present: ``(batch,)`` bool by modality (default: every sample has what is given).

    Returns:
        ``(batch,)`` bool by modality, or ``None`` where every sample has all.

    Raises:
        ShapeError: If nothing is given, batch sizes differ, a flag has another length, says that something is there
            which is not given, or (in eager mode only) a sample has no modality.
        ConfigError: If a flag is of another modality, or not bool.

    Example:
        >>> flags = presence({"eeg": torch.zeros(2, 3), "video": None})
        >>> {name: flag.tolist() for name, flag in flags.items()}
        {'eeg': [True, True], 'video': [False, False]}
    """
    names = ", ".join(given)
    tensors = {name: tensor for name, tensor in given.items() if tensor is not None}
    if not tensors:
        raise ShapeError(f"{names}: every modality is absent. Give at least one of {' and '.join(given)}.")
    sizes = {name: tensor.shape[0] for name, tensor in tensors.items()}
    some = next(iter(tensors.values()))
    if any(size != some.shape[0] for size in sizes.values()):  # no set: sizes that export leaves open have no hash
        said = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise ShapeError(
            f"{', '.join(tensors)}: expected the same batch size, got {said}. A sample without one of them still has a "
            'row; say so with present={"' + next(reversed(tensors)) + '": ...}.'
        )
    for name in present or ():
        if name not in given:
            raise ConfigError(f"present: this takes {' and '.join(given)} only, got {name!r}.")
    if not present and len(tensors) == len(given):
        return None
    eager = not torch.compiler.is_compiling() and not some.is_meta
    flags: dict[str, Tensor] = {}
    for name in given:
        flag = None if present is None else present.get(name)
        if flag is None:
            flag = torch.full((some.shape[0],), name in tensors, dtype=torch.bool, device=some.device)
        check_axes(f"present[{name!r}]", flag, "batch", batch=some.shape[0])
        if flag.dtype != torch.bool:
            raise ConfigError(f"present[{name!r}]: expected bool, got {flag.dtype}. Convert it with .bool().")
        if eager and name not in tensors and bool(flag.any()):
            raise ShapeError(f"present[{name!r}]: says that samples have {name}, but {name} is None.")
        flags[name] = flag.to(some.device)
    if eager:
        nothing = ~torch.stack(list(flags.values())).any(dim=0)
        if bool(nothing.any()):
            raise ShapeError(
                f"present: samples {nothing.nonzero().flatten().tolist()} have no modality. Leave them out."
            )
    return flags


def zero_absent(x: Tensor, here: Tensor | None) -> Tensor:
    """Return a batch with zeros for absent samples, which may hold anything, NaN too: it reaches no value or gradient.

    Args:
        x: The batch, ``(batch, ...)``.
        here: Which samples have it, ``(batch,)`` bool, or ``None`` for all.

    Example:
        >>> zero_absent(torch.tensor([[1.0], [float("nan")]]), torch.tensor([True, False])).tolist()
        [[1.0], [0.0]]
    """
    return x if here is None else torch.where(here.view(-1, *[1] * (x.ndim - 1)), x, 0)
