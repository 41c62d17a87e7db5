"""MERCL's attention from each modality to each other one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from evermodels.core.errors import ConfigError, check_axes


class _Attention(nn.Module):
    """Multi-head attention of one sequence to another, eq. 11-13."""

    def __init__(self, dim: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads, self.dropout = num_heads, dropout
        self.q, self.k, self.v, self.proj = (nn.Linear(dim, dim) for _ in range(4))

    def forward(self, target: Tensor, source: Tensor, valid: Tensor | None) -> Tensor:
        """Return ``(batch, target steps, dim)``; ``valid`` are the source's steps."""
        q, k, v = (
            layer(x).unflatten(2, (self.num_heads, -1)).transpose(1, 2)
            for layer, x in ((self.q, target), (self.k, source), (self.v, source))
        )
        rate = self.dropout if self.training else 0.0
        if valid is None:
            x = F.scaled_dot_product_attention(q, k, v, dropout_p=rate)
        else:
            some = valid.any(1)
            shown = (valid | ~some[:, None])[:, None, None]  # a softmax over nothing would be NaN
            x = F.scaled_dot_product_attention(q, k, v, attn_mask=shown, dropout_p=rate)
            x = torch.where(some[:, None, None, None], x, 0)
        return self.proj(x.transpose(1, 2).flatten(2))


class CrossModalAttention(nn.Module):
    r"""Attention from each modality to each other one: six ways for three modalities.

    MERCL, section 3.3, eq. 8-13. For each ordered pair of modalities

    .. math::
        \mathrm{CMA}^{n \to m} = \mathrm{MHA}(h_m, h_n) = \mathrm{concat}(A_1, \ldots, A_H)\, W_O, \quad
        A_i = \mathrm{softmax}\!\left(\frac{Q_i K_i^\top}{\sqrt{d_k}}\right) V_i

    with queries from :math:`h_m` and keys and values from :math:`h_n`. Eq. 12 is printed without the softmax that the
    attention weights, which the text speaks of, need; each ordered pair has weights of its own (both choices).

    Args:
        dim: Width of a step, a multiple of ``num_heads``.
        num_heads: Attention heads.
        modalities: Their names, two or more; any may be left out of a call.
        dropout: Dropout of the attention weights.

    Raises:
        ConfigError: If a value is impossible.

    Example:
        >>> import torch
        >>> from evermodels.layers import CrossModalAttention
        >>> layer = CrossModalAttention(dim=8, num_heads=2, modalities=("eeg", "video", "audio"))
        >>> h = {"eeg": torch.randn(2, 5, 8), "video": torch.randn(2, 16, 8), "audio": torch.randn(2, 9, 8)}
        >>> {name: tuple(x.shape[1:]) for name, x in layer(h).items()}["video_to_eeg"]
        (5, 8)
        >>> len(layer(h)), len(layer({"eeg": h["eeg"], "audio": h["audio"]}))
        (6, 2)
    """

    def __init__(self, dim: int, num_heads: int, modalities: Sequence[str], dropout: float = 0.0) -> None:
        super().__init__()
        for name, value in (("dim", dim), ("num_heads", num_heads)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ConfigError(f"{name}: expected a whole number of at least 1, got {value!r}.")
        if dim % num_heads:
            raise ConfigError(f"dim: expected a multiple of num_heads ({num_heads}), got {dim!r}.")
        if isinstance(modalities, str) or len(set(modalities)) != len(modalities) or len(modalities) < 2:
            raise ConfigError(f"modalities: expected two names or more, each once, got {modalities!r}.")
        if not 0 <= dropout < 1:
            raise ConfigError(f"dropout: expected a number in [0, 1), got {dropout!r}.")
        self.dim, self.modalities = dim, tuple(modalities)
        self.attention = nn.ModuleDict(
            {f"{n}_to_{m}": _Attention(dim, num_heads, dropout) for m in modalities for n in modalities if n != m}
        )

    def forward(self, h: Mapping[str, Tensor], masks: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """Attend from each given modality to each other one.

        Args:
            h: Steps by modality, each ``(batch, time, dim)``; lengths may differ.
            masks: Valid steps by modality, ``(batch, time)`` bool (default: all). Where a sample's source has none,
                what comes of it is the output's bias alone.

        Returns:
            ``(batch, target steps, dim)`` by ``"{source}_to_{target}"``, the targets in the order of ``modalities``.

        Raises:
            ShapeError: If shapes do not fit.
            ConfigError: If a modality is none of the layer's, or a mask is not bool.
        """
        batch = next((x.shape[0] for x in h.values() if isinstance(x, Tensor)), None)
        for name, x in h.items():
            if name not in self.modalities:
                raise ConfigError(f"h: expected some of {', '.join(self.modalities)}, got {name!r}.")
            check_axes(f"h[{name!r}]", x, "batch time dim", dim=self.dim, **({} if batch is None else {"batch": batch}))
        for name, mask in (masks or {}).items():
            if name not in h:
                raise ConfigError(f"masks: expected some of {', '.join(h)}, got {name!r}.")
            check_axes(f"masks[{name!r}]", mask, "batch time", batch=h[name].shape[0], time=h[name].shape[1])
            if mask.dtype != torch.bool:
                raise ConfigError(f"masks[{name!r}]: expected bool, got {mask.dtype}. Convert it with .bool().")
        there = [name for name in self.modalities if name in h]
        return {
            (key := f"{n}_to_{m}"): self.attention[key](h[m], h[n], (masks or {}).get(n))
            for m in there
            for n in there
            if n != m
        }
