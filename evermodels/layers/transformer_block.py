"""The pre-norm transformer block, for every encoder that is made of them."""

from __future__ import annotations

from typing import Literal

import torch
from timm.layers import DropPath, GELUTanh, Mlp
from torch import Tensor, nn

from evermodels.core.errors import ConfigError, quoted
from evermodels.layers.self_attention import SelfAttention

_ACTIVATIONS = {"gelu": nn.GELU, "gelu_tanh": GELUTanh}


class TransformerBlock(nn.Module):
    r"""Pre-norm transformer block: attention, then an MLP, each added to what came in.

    Dosovitskiy et al., *An Image is Worth 16x16 Words* (2021), equations 2 and 3:
    :math:`x' = x + \mathrm{MSA}(\mathrm{LN}(x))`, :math:`x'' = x' + \mathrm{MLP}(\mathrm{LN}(x'))`, with GELU, and
    optional layer scale and stochastic depth on both summands. State-dict keys are those of timm's ``Block``, with
    layer scale those of BEiT's and VideoMAE's repositories (``gamma_1``, ``gamma_2``).

    Args:
        dim: Width of the tokens.
        num_heads: Attention heads.
        mlp_ratio: Hidden width of the MLP over ``dim``.
        qkv_bias: Whether queries and values have a bias.
        key_bias: Whether the keys have one too, where ``qkv_bias`` is set.
        init_values: Start of the layer scale; 0 for none.
        activation: ``"gelu"``, or ``"gelu_tanh"``, its approximation by a hyperbolic tangent.
        norm_eps: Epsilon of the layer norms.
        drop: Dropout of the attention's and the MLP's output.
        attn_drop: Dropout of the attention weights.
        drop_path: Rate of stochastic depth.

    Raises:
        ConfigError: If ``num_heads`` does not divide ``dim``, or there is no such activation.

    Example:
        >>> TransformerBlock(96, 3)(torch.zeros(2, 10, 96)).shape
        torch.Size([2, 10, 96])
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        *,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
        key_bias: bool = True,
        init_values: float = 0.0,
        activation: Literal["gelu", "gelu_tanh"] = "gelu",
        norm_eps: float = 1e-6,
        drop: float = 0.0,
        attn_drop: float = 0.0,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        if activation not in _ACTIVATIONS:
            raise ConfigError(f"activation: expected one of {', '.join(_ACTIVATIONS)}, got {quoted(activation)}.")
        self.norm1 = nn.LayerNorm(dim, eps=norm_eps)
        self.attn = SelfAttention(
            dim, num_heads, qkv_bias=qkv_bias, key_bias=key_bias, attn_drop=attn_drop, proj_drop=drop
        )
        self.norm2 = nn.LayerNorm(dim, eps=norm_eps)
        self.mlp = Mlp(dim, int(dim * mlp_ratio), act_layer=_ACTIVATIONS[activation], drop=(0.0, drop))
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()
        self.gamma_1 = nn.Parameter(torch.full((dim,), init_values)) if init_values > 0 else None
        self.gamma_2 = nn.Parameter(torch.full((dim,), init_values)) if init_values > 0 else None

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Update tokens.

        Args:
            x: Tokens, ``(batch, n, dim)``.
            mask: Which tokens are attended to, ``(batch, n)`` bool, at least one of each sample (default: all).

        Returns:
            Tokens, ``(batch, n, dim)``.
        """
        y = self.attn(self.norm1(x)) if mask is None else self.attn(self.norm1(x), mask)
        x = x + self.drop_path(y if self.gamma_1 is None else self.gamma_1 * y)
        y = self.mlp(self.norm2(x))
        return x + self.drop_path(y if self.gamma_2 is None else self.gamma_2 * y)
