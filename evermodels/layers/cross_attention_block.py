"""The transformer block that first looks at another sequence: HiCMAE's fusion."""

from __future__ import annotations

from timm.layers import DropPath, Mlp
from torch import Tensor, nn

from evermodels.layers.cross_attention import CrossAttention
from evermodels.layers.self_attention import SelfAttention


class CrossAttentionBlock(nn.Module):
    r"""Pre-norm block: attention to another sequence, to itself, then an MLP, each added to what came in.

    HiCMAE (Sun et al., Information Fusion 2024), cross-modal fusion encoder:

    .. math::
        x' = x + \mathrm{CA}(\mathrm{LN}(x), \mathrm{LN}(c)), \quad
        x'' = x' + \mathrm{SA}(\mathrm{LN}(x')), \quad
        y = x'' + \mathrm{MLP}(\mathrm{LN}(x''))

    with x the tokens and c those of the other modality. State-dict keys are those of its repository.

    Args:
        dim: Width of the tokens, a multiple of ``num_heads``.
        num_heads: Attention heads.
        context_dim: Width of the tokens that are looked at (default: ``dim``).
        mlp_ratio: Hidden width of the MLP over ``dim``.
        norm_eps: Epsilon of the layer norms.
        drop: Dropout of what attention and MLP give.
        attn_drop: Dropout of the attention weights.
        drop_path: Rate of stochastic depth.

    Raises:
        ConfigError: If ``num_heads`` does not divide ``dim``.

    Example:
        >>> import torch
        >>> CrossAttentionBlock(96, 3)(torch.zeros(2, 10, 96), torch.zeros(2, 7, 96)).shape
        torch.Size([2, 10, 96])
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        context_dim: int | None = None,
        *,
        mlp_ratio: float = 4.0,
        norm_eps: float = 1e-6,
        drop: float = 0.0,
        attn_drop: float = 0.0,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.cross_norm1 = nn.LayerNorm(dim, eps=norm_eps)
        self.cross_norm2 = nn.LayerNorm(dim if context_dim is None else context_dim, eps=norm_eps)
        self.cross_attn = CrossAttention(
            dim, num_heads, context_dim, key_bias=False, attn_drop=attn_drop, proj_drop=drop
        )
        self.norm1 = nn.LayerNorm(dim, eps=norm_eps)
        self.attn = SelfAttention(dim, num_heads, key_bias=False, attn_drop=attn_drop, proj_drop=drop)
        self.norm2 = nn.LayerNorm(dim, eps=norm_eps)
        self.mlp = Mlp(dim, int(dim * mlp_ratio), drop=(0.0, drop))
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Update tokens.

        Args:
            x: ``(batch, n, dim)``.
            context: Tokens of the other modality, ``(batch, m, context_dim)``.

        Returns:
            ``(batch, n, dim)``.

        Raises:
            ShapeError: If a width differs.
        """
        x = x + self.drop_path(self.cross_attn(self.cross_norm1(x), self.cross_norm2(context)))
        x = x + self.drop_path(self.attn(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))
