"""Milmer's choice of the frames that say most: attention over instances, then the K largest."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from evermodels.core.errors import ConfigError, ShapeError, check_axes
from evermodels.functional.multiple_instance import attention_mil_weights, top_k_instances


class TopKAMILOutput(NamedTuple):
    """What :class:`TopKAMIL` returns.

    Args:
        chosen: The chosen instances, ``(batch, k, tokens, dim)`` (or ``(batch, k, dim)``); zeros in places for which
            too few instances were there.
        indices: Which they are, ``(batch, k)`` int64, ascending; -1 in such places.
        weights: Attention over all instances, ``(batch, instances)``; 0 where masked.
    """

    chosen: Tensor
    indices: Tensor
    weights: Tensor

    @property
    def there(self) -> Tensor:
        """Which of the K places hold an instance, ``(batch, k)`` bool."""
        return self.indices >= 0

    @property
    def chosen_weights(self) -> Tensor:
        """The weights, 0 for instances that were not chosen, ``(batch, instances)``."""
        columns = torch.arange(self.weights.shape[1], device=self.indices.device)
        hit = (self.indices[:, :, None] == columns).any(dim=1)
        return torch.where(hit, self.weights, 0)


class TopKAMIL(nn.Module):
    r"""Choose the K instances of a bag that attention weighs most.

    Milmer, section 3.3.2, eq. 1-3:

    .. math::
        a_q = \mathrm{softmax}_q(w^\top \tanh(V x_q)), \qquad
        z = \{x_q : a_q \text{ among the } K \text{ largest}\}

    Choices: the score looks at the mean over an instance's tokens, as V on 49 tokens of 768 side by side would be a
    matrix of up to 1.4 G parameters (``score="flatten"`` does that, with V of ``hidden`` rows); ``hidden`` is 128; the
    gradient reaches V and w straight through the hard choice (:func:`evermodels.functional.top_k_instances`); chosen
    instances keep their order in time.

    With fewer valid instances than K all of them are chosen and the other places stay empty (zeros, index -1); with
    none, every place is empty and every weight 0.

    Args:
        dim: Width of a token.
        k: How many are chosen.
        hidden: Rows L of V.
        score: ``"mean"`` or ``"flatten"``.
        tokens: Tokens of an instance; needed for ``"flatten"``.
        gated: Whether the score has the gate of Ilse et al. (2018), eq. 9.
        bias: Whether V (and the gate) has a bias, as their code has; the papers print none.
        gradient: ``"straight_through"`` or ``"none"``.

    Raises:
        ConfigError: If a value is impossible.

    Example:
        >>> import torch
        >>> layer = TopKAMIL(dim=8, k=3)
        >>> output = layer(torch.randn(2, 10, 49, 8))
        >>> output.chosen.shape, output.indices.shape, output.weights.shape
        (torch.Size([2, 3, 49, 8]), torch.Size([2, 3]), torch.Size([2, 10]))
    """

    def __init__(
        self,
        dim: int,
        k: int = 3,
        *,
        hidden: int = 128,
        score: Literal["mean", "flatten"] = "mean",
        tokens: int | None = None,
        gated: bool = False,
        bias: bool = False,
        gradient: Literal["straight_through", "none"] = "straight_through",
    ) -> None:
        super().__init__()
        for name, value in (("dim", dim), ("k", k), ("hidden", hidden)):
            if value < 1:
                raise ConfigError(f"{name}: expected at least 1, got {value!r}.")
        if score not in ("mean", "flatten"):
            raise ConfigError(f"score: expected 'mean' or 'flatten', got {score!r}.")
        if score == "flatten" and (tokens is None or tokens < 1):
            raise ConfigError(f"tokens: expected the tokens of an instance for score='flatten', got {tokens!r}.")
        if gradient not in ("straight_through", "none"):
            raise ConfigError(f"gradient: expected 'straight_through' or 'none', got {gradient!r}.")
        self.dim, self.k, self.score, self.tokens, self.gradient = dim, k, score, tokens, gradient
        width = dim * (tokens or 1) if score == "flatten" else dim
        self.v = nn.Linear(width, hidden, bias=bias)
        self.gate = nn.Linear(width, hidden, bias=bias) if gated else None
        self.w = nn.Linear(hidden, 1, bias=False)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> TopKAMILOutput:
        """Weigh and choose.

        Args:
            x: Instances, ``(batch, instances, tokens, dim)`` or ``(batch, instances, dim)``.
            mask: Which instances are there, ``(batch, instances)`` bool (default: all).

        Returns:
            The chosen ones, their indices and all weights.

        Raises:
            ShapeError: If shapes do not fit, or a bag has fewer than K places.
            ConfigError: If the mask is not bool.
        """
        if not isinstance(x, Tensor) or x.ndim not in (3, 4):
            raise ShapeError(
                "x: expected (batch, instances, tokens, dim) or (batch, instances, dim), got "
                f"{tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__}."
            )
        if x.ndim == 4 and self.score == "flatten":
            check_axes("x", x, "batch instances tokens dim", tokens=self.tokens or 1, dim=self.dim)
        axes = "batch instances tokens dim" if x.ndim == 4 else "batch instances dim"
        check_axes("x", x, axes, dim=self.dim)
        if x.ndim == 3 and self.score == "flatten" and self.tokens != 1:
            raise ShapeError(f"x: expected (batch, instances, {self.tokens}, dim) for score='flatten', got 3 axes.")
        if x.shape[1] < self.k:
            raise ShapeError(f"x: expected at least k={self.k} instances, got {x.shape[1]} (shape {tuple(x.shape)}).")
        tokens = x if x.ndim == 4 else x[:, :, None]
        seen = tokens.flatten(2) if self.score == "flatten" else tokens.mean(dim=2)
        weights = attention_mil_weights(
            seen,
            self.v.weight,
            self.w.weight[0],
            v_bias=self.v.bias,
            gate=None if self.gate is None else self.gate.weight,
            gate_bias=None if self.gate is None else self.gate.bias,
            mask=mask,
        )
        chosen, indices = top_k_instances(x, weights, self.k, self.gradient, mask=mask)
        return TopKAMILOutput(chosen, indices, weights)

    def extra_repr(self) -> str:
        """Return the settings for ``repr``."""
        return f"k={self.k}, score={self.score!r}, gradient={self.gradient!r}"
