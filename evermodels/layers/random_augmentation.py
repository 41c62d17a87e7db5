"""One of several changes of a signal, drawn anew in each training step."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from evermodels.core.errors import ConfigError, check_axes, did_you_mean, quoted


def _jitter(x: Tensor, strength: float) -> Tensor:
    return x + strength * torch.randn_like(x)


def _scale(x: Tensor, strength: float) -> Tensor:
    return x * (1 + strength * torch.randn_like(x[..., :1]))


def _drop(x: Tensor, strength: float) -> Tensor:
    return F.dropout(x, strength)


def _flip(x: Tensor, strength: float) -> Tensor:
    turned = torch.rand(len(x), 1, 1, device=x.device) < strength
    return torch.where(turned, x.flip(2), x)


def _frequency(x: Tensor, strength: float) -> Tensor:
    waves = torch.fft.rfft(x.float() if x.dtype in (torch.float16, torch.bfloat16) else x)
    kept = torch.rand(waves.shape, device=x.device) > strength
    return torch.fft.irfft(waves * kept, n=x.shape[2]).to(x.dtype)


def _hidden(x: Tensor, strength: float, axis: int) -> Tensor:
    shape = (len(x), *(n if k == axis else 1 for k, n in enumerate(x.shape[1:], start=1)))
    rank = torch.rand(shape, device=x.device).argsort(dim=axis).argsort(dim=axis)
    return torch.where(rank < int(x.shape[axis] * strength), 0, x)


def _mask(x: Tensor, strength: float) -> Tensor:
    return _hidden(x, strength, 2)


def _channel(x: Tensor, strength: float) -> Tensor:
    return _hidden(x, strength, 1)


_KINDS: dict[str, tuple[Callable[[Tensor, float], Tensor], float]] = {
    "jitter": (_jitter, 0.1),
    "scale": (_scale, 0.1),
    "drop": (_drop, 0.1),
    "flip": (_flip, 0.5),
    "frequency": (_frequency, 0.1),
    "mask": (_mask, 0.1),
    "channel": (_channel, 0.1),
}


class RandomAugmentation(nn.Module):
    """Change a signal in one way of several, in training only.

    Wang et al., *Medformer* (NeurIPS 2024), section 3.2: each call draws one of the ways, none more likely than
    another, and all samples of the batch get it, each with numbers of its own (their code flips and hides the same for
    all).

    | name | strength s | what happens |
    |---|---|---|
    | ``none`` | | nothing |
    | ``jitter`` | 0.1 | a normal number of standard deviation s is added to each value |
    | ``scale`` | 0.1 | each channel is multiplied by 1 plus a normal number of standard deviation s |
    | ``drop`` | 0.1 | dropout of single values with probability s |
    | ``flip`` | 0.5 | with probability s the window runs backwards |
    | ``frequency`` | 0.1 | each Fourier coefficient becomes 0 with probability s |
    | ``mask`` | 0.1 | the part s of all moments becomes 0 |
    | ``channel`` | 0.1 | the part s of all channels becomes 0, rounded down |

    Args:
        names: The ways, each with another strength behind it if wanted (``"jitter0.2"``); none at all changes nothing.

    Raises:
        ConfigError: If there is no such way, or a strength is negative, or above 1 where it is a part.

    Example:
        >>> augment = RandomAugmentation(("none", "jitter", "flip0.3"))
        >>> x = torch.randn(2, 19, 100)
        >>> augment.train()(x).shape, torch.equal(augment.eval()(x), x)
        (torch.Size([2, 19, 100]), True)
    """

    def __init__(self, names: Sequence[str] = ()) -> None:
        super().__init__()
        self.names = tuple(names)
        self._ways = [_parse(name) for name in self.names]

    def forward(self, x: Tensor) -> Tensor:
        """Change a batch, or return it as it is in evaluation.

        Args:
            x: ``(batch, channels, time)``, standardised.

        Raises:
            ShapeError: If it has other axes.
        """
        check_axes("x", x, "batch channels time")
        if not (self.training and self._ways):
            return x
        way = self._ways[int(torch.randint(len(self._ways), ()))]
        return x if way is None else way[0](x, way[1])

    def extra_repr(self) -> str:
        """Return the ways."""
        return ", ".join(self.names)


def _parse(name: str) -> tuple[Callable[[Tensor, float], Tensor], float] | None:
    found = re.fullmatch(r"([a-z]+)([0-9.]*)", name)
    kind, number = (found[1], found[2]) if found else (name, "")
    if kind == "none" and not number:
        return None
    if kind not in _KINDS or number.count(".") > 1 or number == ".":
        known = ["none", *_KINDS]
        raise ConfigError(
            f"augmentation: expected one of {', '.join(known)}, and a number behind it, got {quoted(name)}."
            f"{did_you_mean(kind, known)}"
        )
    way, usual = _KINDS[kind]
    strength = float(number) if number else usual
    if not math.isfinite(strength) or (kind not in ("jitter", "scale") and strength > 1):
        raise ConfigError(f"augmentation: expected a strength from 0 to 1, got {quoted(name)}.")
    return way, strength
