"""Milmer's cross-attention that brings many visual tokens to a few learned queries."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from evermodels.core.errors import ConfigError, check_axes


class TokenCompressor(nn.Module):
    r"""Compress M tokens into N by attention of learned queries.

    Milmer, section 3.3.3 and Fig. 2:

    .. math:: Q = W_Q X_q, \quad K = W_K X_v, \quad V = W_V X_v, \quad
        A = \mathrm{softmax}(Q K^\top / \sqrt{d_k}) V

    with :math:`X_q` the N learned queries. As printed there is no residual, no norm and no projection behind; heads and
    the projection are those of multi-head attention, which the paper cites (a choice: ``num_heads=1, proj=False`` is
    the printed form). A bias of the keys would change nothing and there is none.

    Args:
        dim: Width of the tokens.
        num_queries: Learned queries N.
        num_heads: Attention heads, a divisor of ``dim``.
        proj: Whether a linear layer follows.
        drop: Dropout of the attention weights.

    Raises:
        ConfigError: If a value is impossible.

    Example:
        >>> import torch
        >>> layer = TokenCompressor(dim=24, num_queries=64, num_heads=3)
        >>> layer(torch.randn(2, 147, 24)).shape
        torch.Size([2, 64, 24])
    """

    def __init__(
        self, dim: int, num_queries: int = 64, *, num_heads: int = 1, proj: bool = True, drop: float = 0.0
    ) -> None:
        super().__init__()
        if num_queries < 1:
            raise ConfigError(f"num_queries: expected at least 1, got {num_queries!r}.")
        if num_heads < 1 or dim % num_heads:
            raise ConfigError(f"num_heads: expected a divisor of dim ({dim}), got {num_heads}.")
        if not 0 <= drop < 1:
            raise ConfigError(f"drop: expected a number in [0, 1), got {drop!r}.")
        self.dim, self.num_heads, self.drop = dim, num_heads, drop
        self.queries = nn.Parameter(torch.empty(num_queries, dim))
        self.q = nn.Linear(dim, dim)
        self.k = nn.Linear(dim, dim, bias=False)
        self.v = nn.Linear(dim, dim)
        self.proj = nn.Linear(dim, dim) if proj else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the queries from a standard normal, so that they look at different tokens from the start."""
        nn.init.normal_(self.queries)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Compress tokens.

        Args:
            x: Tokens, ``(batch, n, dim)``.
            mask: Which tokens are there, ``(batch, n)`` bool (default: all).

        Returns:
            ``(batch, num_queries, dim)``; zeros for a sample in which no token is there.

        Raises:
            ShapeError: If shapes do not fit.
            ConfigError: If the mask is not bool.
        """
        check_axes("x", x, "batch n dim", dim=self.dim)
        some = None
        if mask is not None:
            check_axes("mask", mask, "batch n", batch=x.shape[0], n=x.shape[1])
            if mask.dtype != torch.bool:
                raise ConfigError(f"mask: expected bool, got {mask.dtype}. Convert it with .bool().")
            x = torch.where(mask[..., None], x, 0)
            some = mask.any(dim=1)[:, None, None]
            mask = (mask[:, None, :] | ~some)[:, None]  # a softmax over nothing would be NaN
        q = rearrange(self.q(self.queries), "n (heads dim) -> heads n dim", heads=self.num_heads)
        k, v = (rearrange(y, "b n (heads dim) -> b heads n dim", heads=self.num_heads) for y in (self.k(x), self.v(x)))
        drop = self.drop if self.training else 0.0
        y = F.scaled_dot_product_attention(q.expand(x.shape[0], -1, -1, -1), k, v, attn_mask=mask, dropout_p=drop)
        y = rearrange(y, "b heads n dim -> b n (heads dim)")
        if self.proj is not None:
            y = self.proj(y)
        return y if some is None else torch.where(some, y, 0)

    def extra_repr(self) -> str:
        """Return the settings for ``repr``."""
        return f"num_queries={self.queries.shape[0]}, num_heads={self.num_heads}, drop={self.drop}"
