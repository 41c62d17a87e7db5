"""Multi-head self-attention, for every encoder that is a transformer."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from evermodels.core.errors import ConfigError


def split_heads(x: Tensor, parts: int, heads: int) -> tuple[Tensor, ...]:
    """Return the parts of a joined projection, each by head.

    They are taken apart where they lie, so that the backward pass puts their gradients together in the order that the
    projection wants, in one copy.

    Args:
        x: ``(batch, n, parts · heads · dim)``.
        parts: How many there are, such as queries, keys and values.
        heads: Attention heads.

    Returns:
        For each part ``(batch, heads, n, dim)``.

    Example:
        >>> [part.shape for part in split_heads(torch.zeros(2, 10, 48), 2, 3)]
        [torch.Size([2, 3, 10, 8]), torch.Size([2, 3, 10, 8])]
    """
    apart = x.unflatten(-1, (parts, heads, x.shape[-1] // (parts * heads)))
    return tuple(part.transpose(1, 2) for part in apart.unbind(2))


class SelfAttention(nn.Module):
    r"""Multi-head self-attention, with or without a bias of the keys.

    Vaswani et al., *Attention Is All You Need* (2017), equation 1: :math:`\mathrm{softmax}(q k^T / \sqrt{d}) v` for
    each head. A bias of the keys adds the same number to all scores of a query and so changes nothing; BEiT, VideoMAE
    and AdaMAE leave it out. State-dict keys are those of ``timm.layers.Attention`` (``qkv``, ``proj``), and without
    the keys' bias those of the repositories named (``q_bias``, ``v_bias`` beside them).

    Args:
        dim: Width of the tokens.
        num_heads: Attention heads.
        qkv_bias: Whether queries and values have a bias.
        key_bias: Whether the keys have one too, where ``qkv_bias`` is set.
        attn_drop: Rate of dropout on the weights of attention.
        proj_drop: Rate of dropout on the result.

    Raises:
        ConfigError: If ``num_heads`` does not divide ``dim``.

    Example:
        >>> SelfAttention(96, 3)(torch.zeros(2, 10, 96)).shape
        torch.Size([2, 10, 96])
        >>> sorted(SelfAttention(96, 3, key_bias=False).state_dict())
        ['proj.bias', 'proj.weight', 'q_bias', 'qkv.weight', 'v_bias']
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        *,
        qkv_bias: bool = True,
        key_bias: bool = True,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
    ) -> None:
        super().__init__()
        if num_heads < 1 or dim % num_heads:
            raise ConfigError(f"num_heads: expected a divisor of dim ({dim}), got {num_heads}.")
        self.num_heads = num_heads
        self.attn_drop = attn_drop
        apart = qkv_bias and not key_bias
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias and key_bias)
        self.q_bias = nn.Parameter(torch.zeros(dim)) if apart else None
        self.v_bias = nn.Parameter(torch.zeros(dim)) if apart else None
        self.proj = nn.Linear(dim, dim)
        self.proj_drop = nn.Dropout(proj_drop)

    def _qkv(self, x: Tensor) -> tuple[Tensor, ...]:
        bias: Tensor | None = self.qkv.bias
        if self.q_bias is not None and self.v_bias is not None:
            bias = torch.cat([self.q_bias, torch.zeros_like(self.v_bias), self.v_bias])
        qkv = F.linear(x, self.qkv.weight, bias)
        return split_heads(qkv, 3, self.num_heads)

    def attention_weights(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the weights with which :meth:`forward` mixes the tokens, before dropout.

        Args:
            x: Tokens, ``(batch, n, dim)``.
            mask: As in :meth:`forward`.

        Returns:
            ``(batch, heads, n, n)``: of each query (third axis) the weights of all keys, which sum to 1.
        """
        q, k, _ = self._qkv(x)
        scores = q @ k.mT * q.shape[-1] ** -0.5
        if mask is not None:
            scores = scores.masked_fill(~mask[:, None, None], float("-inf"))
        return scores.softmax(dim=-1)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Mix tokens.

        Args:
            x: Tokens, ``(batch, n, dim)``.
            mask: Which tokens are attended to, ``(batch, n)`` bool, at least one of each sample (default: all).

        Returns:
            Tokens, ``(batch, n, dim)``.
        """
        q, k, v = self._qkv(x)
        keys = None if mask is None else mask[:, None, None]
        drop = self.attn_drop if self.training else 0.0
        x = F.scaled_dot_product_attention(q, k, v, attn_mask=keys, dropout_p=drop)
        return self.proj_drop(self.proj(rearrange(x, "batch heads n dim -> batch n (heads dim)")))
