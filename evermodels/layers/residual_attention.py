"""Attention that says what it looked at, and Mood Reader's block of it."""

from __future__ import annotations

from einops import rearrange
from torch import Tensor, nn

from evermodels.core.errors import ConfigError, check_axes


class WeighingAttention(nn.Module):
    r"""Multi-head attention over tokens that also returns its weights.

    Mood Reader, section 3.3, eq. 2-3: :math:`\mathrm{softmax}(Q K^T / \sqrt{d_k}) V` in each head, the heads side by
    side through :math:`W^{MHA}`; as printed, none of the four has a bias. For the few tokens of electrodes, windows or
    sources; :class:`~evermodels.layers.SelfAttention` is for long sequences, and does not keep its weights.

    Args:
        in_features: Width of the tokens.
        dim: Width of queries, keys and values together, and of what comes out, a multiple of ``num_heads``.
        num_heads: Heads h.

    Raises:
        ConfigError: If ``num_heads`` does not divide ``dim``.

    Example:
        >>> import torch
        >>> mixed, weights = WeighingAttention(12, 8, 2)(torch.randn(3, 5, 12))
        >>> mixed.shape, weights.shape  # batch, heads, queries, keys
        (torch.Size([3, 5, 8]), torch.Size([3, 2, 5, 5]))
    """

    def __init__(self, in_features: int, dim: int, num_heads: int) -> None:
        super().__init__()
        if num_heads < 1 or dim < 1 or dim % num_heads:
            raise ConfigError(f"num_heads: expected a divisor of dim ({dim}), got {num_heads}.")
        self.in_features, self.num_heads = in_features, num_heads
        self.qkv = nn.Linear(in_features, 3 * dim, bias=False)
        self.proj = nn.Linear(dim, dim, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mix tokens.

        Args:
            x: ``(batch, n, in_features)``.

        Returns:
            Tokens, ``(batch, n, dim)``, and the weights of the keys, ``(batch, heads, queries, keys)``, each query's
            of sum 1.

        Raises:
            ShapeError: If the tokens have another width.
        """
        check_axes("x", x, "batch n in_features", in_features=self.in_features)
        qkv = rearrange(self.qkv(x), "batch n (qkv heads dim) -> qkv batch heads n dim", qkv=3, heads=self.num_heads)
        q, k, v = qkv.unbind(0)
        weights = (q * q.shape[-1] ** -0.5 @ k.mT).softmax(dim=-1)
        return self.proj(rearrange(weights.to(v.dtype) @ v, "batch heads n dim -> batch n (heads dim)")), weights


class ResidualAttention(nn.Module):
    r"""Mood Reader's block of attention: normalise, attend, add, normalise.

    Source: section 3.3, eq. 1-4:

    .. math::
        X' = \mathrm{LayerNorm}(\hat X), \quad
        A = \mathrm{MHA}(X'), \quad
        X = \mathrm{LayerNorm}(\mathrm{Dropout}(A) + X')

    The residual comes from after the first norm, as printed. There is no MLP in it. Tokens are electrodes in a spatial
    block, windows in a temporal one.

    Args:
        dim: Width of the tokens, a multiple of ``num_heads``.
        num_heads: Heads h.
        drop_rate: Dropout of what attention gives.

    Raises:
        ConfigError: If ``num_heads`` does not divide ``dim``.

    Example:
        >>> import torch
        >>> x, weights = ResidualAttention(20, 5)(torch.randn(2, 62, 20))
        >>> x.shape, weights.shape
        (torch.Size([2, 62, 20]), torch.Size([2, 5, 62, 62]))
    """

    def __init__(self, dim: int, num_heads: int, drop_rate: float = 0.0) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn = WeighingAttention(dim, dim, num_heads)
        self.drop = nn.Dropout(drop_rate)
        self.norm2 = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return tokens, ``(batch, n, dim)``, and the weights of attention, ``(batch, heads, n, n)``.

        Args:
            x: ``(batch, n, dim)``.

        Raises:
            ShapeError: If the tokens have another width.
        """
        check_axes("x", x, "batch n dim", dim=self.attn.in_features)
        x = self.norm1(x)
        mixed, weights = self.attn(x)
        return self.norm2(self.drop(mixed) + x), weights
