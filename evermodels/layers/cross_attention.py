"""Multi-head attention of one sequence to another, with or without a bias of the keys."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from evermodels.core.errors import ConfigError, check_axes
from evermodels.layers.self_attention import split_heads


class CrossAttention(nn.Module):
    r"""Multi-head attention whose queries come from one sequence, keys and values from another.

    Vaswani et al., *Attention Is All You Need* (2017), equation 1: :math:`\mathrm{softmax}(q k^T / \sqrt{d}) v` for
    each head. Without a bias of the keys, which changes nothing (:class:`SelfAttention`), the state-dict keys are those
    of HiCMAE's repository (``q``, ``kv``, ``q_bias``, ``v_bias``, ``proj``).

    Args:
        dim: Width of the tokens that read, a multiple of ``num_heads``.
        num_heads: Attention heads.
        context_dim: Width of the tokens that are read (default: ``dim``).
        key_bias: Whether the keys have a bias as queries and values have.
        attn_drop: Rate of dropout on the weights of attention.
        proj_drop: Rate of dropout on the result.

    Raises:
        ConfigError: If ``num_heads`` does not divide ``dim``.

    Example:
        >>> CrossAttention(96, 3, 64)(torch.zeros(2, 10, 96), torch.zeros(2, 7, 64)).shape
        torch.Size([2, 10, 96])
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        context_dim: int | None = None,
        *,
        key_bias: bool = True,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
    ) -> None:
        super().__init__()
        if num_heads < 1 or dim % num_heads:
            raise ConfigError(f"num_heads: expected a divisor of dim ({dim}), got {num_heads}.")
        self.num_heads, self.attn_drop = num_heads, attn_drop
        self.q = nn.Linear(dim, dim, bias=key_bias)
        self.kv = nn.Linear(dim if context_dim is None else context_dim, 2 * dim, bias=key_bias)
        self.q_bias = None if key_bias else nn.Parameter(torch.zeros(dim))
        self.v_bias = None if key_bias else nn.Parameter(torch.zeros(dim))
        self.proj = nn.Linear(dim, dim)
        self.proj_drop = nn.Dropout(proj_drop)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Bring what lies in another sequence to the tokens.

        Args:
            x: Tokens that read, ``(batch, n, dim)``.
            context: Tokens that are read, ``(batch, m, context_dim)``.

        Returns:
            ``(batch, n, dim)``.

        Raises:
            ShapeError: If a width differs.
        """
        q, k, v = self._split(x, context)
        x = F.scaled_dot_product_attention(q, k, v, dropout_p=self.attn_drop if self.training else 0.0)
        return self.proj_drop(self.proj(rearrange(x, "batch heads n dim -> batch n (heads dim)")))

    def attention_weights(self, x: Tensor, context: Tensor) -> Tensor:
        """Return how much each token reads of each, which :meth:`forward` never holds.

        Args:
            x: Tokens that read, ``(batch, n, dim)``.
            context: Tokens that are read, ``(batch, m, context_dim)``.

        Returns:
            ``(batch, num_heads, n, m)``; each row sums to 1.

        Raises:
            ShapeError: If a width differs.
        """
        q, k, _ = self._split(x, context)
        return (q * q.shape[-1] ** -0.5 @ k.mT).softmax(dim=-1)

    def _split(self, x: Tensor, context: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        check_axes("x", x, "batch n dim", dim=self.q.in_features)
        check_axes("context", context, "batch m dim", dim=self.kv.in_features)
        q_bias: Tensor | None = self.q.bias
        kv_bias: Tensor | None = self.kv.bias
        if self.v_bias is not None:
            q_bias, kv_bias = self.q_bias, torch.cat([torch.zeros_like(self.v_bias), self.v_bias])
        (q,) = split_heads(F.linear(x, self.q.weight, q_bias), 1, self.num_heads)
        k, v = split_heads(F.linear(context, self.kv.weight, kv_bias), 2, self.num_heads)
        return q, k, v
