"""Mood Reader's fusion of features in levels, by scores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from evermodels.core.errors import ConfigError, ShapeError, check_axes, did_you_mean
from evermodels.functional._precision import at_least_float32
from evermodels.functional.score_fusion import score_weighted_sum
from evermodels.layers.residual_attention import WeighingAttention


class FlattenProjection(nn.Module):
    """Bring tokens to one vector of a given width.

    Mood Reader, section 3.4: "layer normalization, followed by flattening of the feature vectors, and culminating in a
    linear transformation".

    Args:
        num_tokens: Tokens n.
        width: Width of one.
        dim: Width D_unified of the vector.

    Example:
        >>> FlattenProjection(62, 20, 128)(torch.randn(2, 62, 20)).shape
        torch.Size([2, 128])
    """

    def __init__(self, num_tokens: int, width: int, dim: int) -> None:
        super().__init__()
        self.num_tokens, self.width = num_tokens, width
        self.norm = nn.LayerNorm(width)
        self.proj = nn.Linear(num_tokens * width, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return ``(batch, dim)``.

        Args:
            tokens: ``(batch, n, width)``.

        Raises:
            ShapeError: If the shape differs.
        """
        check_axes("tokens", tokens, "batch n width", n=self.num_tokens, width=self.width)
        projected: Tensor = self.proj(self.norm(tokens).flatten(1))
        return projected


class MultiLevelScoreFusionOutput(NamedTuple):
    """What :class:`MultiLevelScoreFusion` returns.

    Args:
        embedding: M of eq. 8, the levels' vectors side by side, ``(batch, levels * dim)``.
        weights: c of eq. 6 by source, ``(batch, dim)``, 0 where it is absent; over the sources of a level they sum to 1
            in each dimension.
        attention: How the levels attend to each other, ``(batch, levels, levels)``, the mean over the heads.
    """

    embedding: Tensor
    weights: dict[str, Tensor]
    attention: Tensor


class MultiLevelScoreFusion(nn.Module):
    r"""Fuse features in levels: scores within each level, attention between them.

    Source: "Multi-modal Mood Reader", section 3.4, eq. 5-8. Within a level each source goes through a linear layer and
    a layer norm, then (:func:`evermodels.functional.score_weighted_sum`)

    .. math::
        c_s, c_t = \mathrm{softmax}(F_{S_T} W, F_{T_S} W), \qquad F_{ST} = c_s F_{S_T} + c_t F_{T_S}

    and in the same way :math:`F_{EE}` of the pre-trained encoder's features and eye movement. Between the levels

    .. math:: M = \mathrm{Attention}(\mathrm{Concat}(\mathrm{LayerNorm}(F_{ST}), \mathrm{LayerNorm}(F_{EE})))

    over two tokens, one for each level (a choice: the paper does not say what eq. 8 attends over). Each level has a W
    of its own. A level of one source passes it on. A source that is absent has the weight 0, its content cannot matter;
    a level without any becomes a learned token.

    Args:
        dim: Width D_unified of every source.
        levels: Names of the sources of each level.
        num_heads: Heads of eq. 8.
        may_be_empty: Numbers of the levels that may lack all their sources, which get a learned token (default: all).

    Raises:
        ConfigError: If a level is empty, a name stands twice, or the heads do not divide ``dim``.

    Example:
        >>> fusion = MultiLevelScoreFusion(8, [("spatial", "temporal"), ("eeg", "eye")])
        >>> features = {name: torch.randn(2, 8) for name in ("spatial", "temporal", "eeg", "eye")}
        >>> fusion(features).embedding.shape
        torch.Size([2, 16])
        >>> del features["eye"]  # no eye movement at all
        >>> fusion(features).weights["eeg"].unique()
        tensor([1.], grad_fn=<Unique2Backward0>)
    """

    def __init__(
        self,
        dim: int,
        levels: Sequence[Sequence[str]] = (("spatial", "temporal"), ("eeg", "eye")),
        *,
        num_heads: int = 1,
        may_be_empty: Iterable[int] | None = None,
    ) -> None:
        super().__init__()
        self.levels = tuple(tuple(level) for level in levels)
        self.sources = tuple(name for level in self.levels for name in level)
        if not self.levels or not all(self.levels) or len(set(self.sources)) != len(self.sources):
            raise ConfigError(f"levels: expected at least one source in each, each once, got {self.levels!r}.")
        self.dim = dim
        self.prepare = nn.ModuleDict(
            {name: nn.Sequential(nn.Linear(dim, dim), nn.LayerNorm(dim)) for name in self.sources}
        )
        # Over one source the softmax is 1 whatever its score.
        self.score = nn.ParameterDict(
            {str(k): nn.Parameter(torch.empty(dim, dim)) for k, level in enumerate(self.levels) if len(level) > 1}
        )
        empty = range(len(self.levels)) if may_be_empty is None else may_be_empty
        self.absent = nn.ParameterDict({str(k): nn.Parameter(torch.empty(dim)) for k in empty})
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in self.levels)
        self.attn = WeighingAttention(dim, dim, num_heads)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the score matrices and the tokens of empty levels; every other part has drawn its own."""
        for weight in self.score.values():
            nn.init.xavier_uniform_(weight)
        for token in self.absent.values():
            nn.init.normal_(token, std=0.02)

    @property
    def embed_dim(self) -> int:
        """Width of the embedding."""
        return len(self.levels) * self.dim

    def forward(
        self, features: Mapping[str, Tensor | None], present: Mapping[str, Tensor] | None = None
    ) -> MultiLevelScoreFusionOutput:
        """Fuse.

        Args:
            features: ``(batch, dim)`` by source; one that is missing or ``None`` is absent in the whole batch.
            present: Which samples have a source, ``(batch,)`` bool by source (default: all that are given). What stands
                for the others may be anything, NaN too.

        Raises:
            ShapeError: If nothing is given, or shapes differ.
            ConfigError: If there is no such source, or a flag is not bool.
        """
        given, flags = self._checked(features, present or {})
        some = next(iter(given.values()))
        tokens, weights = [], {}
        for k, level in enumerate(self.levels):
            rows, there = [], []
            for name in level:
                x = given.get(name)
                flag = flags.get(name)
                if x is None:
                    x, flag = torch.zeros_like(some), torch.zeros_like(some[:, 0], dtype=torch.bool)
                elif flag is not None:
                    x = torch.where(flag[:, None], x, 0)
                rows.append(self.prepare[name](x))
                there.append(flag)
            fused, weighed = self._level(k, torch.stack(rows, dim=1), there)
            tokens.append(self.norms[k](fused))
            weights.update(dict(zip(level, weighed.unbind(1), strict=True)))
        mixed, attention = self.attn(torch.stack(tokens, dim=1))
        return MultiLevelScoreFusionOutput(mixed.flatten(1), weights, at_least_float32(attention).mean(dim=1))

    def _level(self, k: int, rows: Tensor, flags: Sequence[Tensor | None]) -> tuple[Tensor, Tensor]:
        """Eq. 5-7 of one level; its learned token where no source is there."""
        weight = self.score[str(k)] if str(k) in self.score else rows.new_zeros(self.dim, self.dim)
        if all(flag is None for flag in flags):
            return score_weighted_sum(rows, weight)
        every = torch.ones_like(rows[:, 0, 0], dtype=torch.bool)
        there = torch.stack([every if flag is None else flag for flag in flags], dim=1)
        fused, weights = score_weighted_sum(rows, weight, there)
        if str(k) in self.absent:
            fused = torch.where(there.any(dim=1, keepdim=True), fused, self.absent[str(k)].to(fused.dtype))
        return fused, weights

    def _checked(
        self, features: Mapping[str, Tensor | None], present: Mapping[str, Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        for label, names in (("features", features), ("present", present)):
            for name in names:
                if name not in self.sources:
                    known = ", ".join(self.sources)
                    raise ConfigError(f"{label}: expected of {known}, got {name!r}.{did_you_mean(name, self.sources)}")
        given = {name: x for name, x in features.items() if x is not None}
        if not given:
            raise ShapeError(f"features: every source is absent. Give at least one of {', '.join(self.sources)}.")
        batch = next(iter(given.values())).shape[0]
        for name, x in given.items():
            check_axes(f"features[{name!r}]", x, "batch dim", batch=batch, dim=self.dim)
        for name, flag in present.items():
            check_axes(f"present[{name!r}]", flag, "batch", batch=batch)
            if flag.dtype != torch.bool:
                raise ConfigError(f"present[{name!r}]: expected bool, got {flag.dtype}. Convert it with .bool().")
        return given, dict(present)
