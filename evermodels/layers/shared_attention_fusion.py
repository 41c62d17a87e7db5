"""One attention that all modalities share and that weighs them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn

from evermodels.core.errors import ConfigError, ShapeError, check_axes


class SharedAttentionOutput(NamedTuple):
    """What :class:`SharedAttentionFusion` returns.

    Args:
        embedding: The fused embedding, ``(batch, dim)``.
        weights: Weight of each modality, ``(batch, modalities)``, mean over the heads; sums to 1, 0 where absent.
        head_weights: The same by head, ``(batch, heads, modalities)``: with these the values enter the embedding.
    """

    embedding: Tensor
    weights: Tensor
    head_weights: Tensor


class SharedAttentionFusion(nn.Module):
    r"""Fuse embeddings of modalities by one multi-head attention whose projections all of them share.

    "EEG-based Multimodal Representation Learning for Emotion Recognition" (arXiv 2411.00822): the features of EEG,
    video and audio pass a shared multi-head attention, which weighs each by what the others say. With one token
    :math:`x_m` for each modality, :math:`q, k, v = W_{q,k,v} \mathrm{LN}(x)` and present modalities :math:`P`

    .. math:: A^h_{nm} = \operatorname*{softmax}_{m \in P} \frac{q^h_n \cdot k^h_m}{\sqrt{d_h}}, \quad
       w^h_m = \frac{1}{M} \sum_n A^h_{nm}, \quad z = W_o [\textstyle\sum_m w^h_m v^h_m]_h + b

    which is attention from every token to every present one, averaged over the asking tokens: so the weights that are
    returned are the ones that the values enter with, and nothing goes around them (a choice: no residual, the paper
    prints no equation). An absent modality gets weight 0 exactly and its content cannot matter; in its place a learned
    token goes on asking, so that the model learns what to look at when it is missing. Where one modality alone is
    left, its weight is 1 whoever asks.

    Args:
        dim: Width of the tokens.
        num_modalities: Modalities M.
        num_heads: Attention heads.
        attn_drop: Rate of dropout on the weights, in training; those that are returned are without it.
        norm_eps: Epsilon of the layer norm.

    Raises:
        ConfigError: If ``num_heads`` does not divide ``dim``, or a number is less than 1.

    Example:
        >>> fusion = SharedAttentionFusion(dim=8, num_modalities=3, num_heads=2)
        >>> tokens = torch.randn(1, 3, 8)
        >>> fused = fusion(tokens, torch.tensor([[True, False, True]]))
        >>> fused.embedding.shape, fused.weights[0, 1].item(), round(fused.weights.sum().item(), 4)
        (torch.Size([1, 8]), 0.0, 1.0)
    """

    def __init__(
        self, dim: int, num_modalities: int, num_heads: int = 4, *, attn_drop: float = 0.0, norm_eps: float = 1e-6
    ) -> None:
        super().__init__()
        for key, value in (("dim", dim), ("num_modalities", num_modalities), ("num_heads", num_heads)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ConfigError(f"{key}: expected an integer of at least 1, got {value!r}.")
        if dim % num_heads:
            raise ConfigError(f"num_heads: expected a divisor of dim ({dim}), got {num_heads}.")
        if not 0 <= attn_drop < 1:
            raise ConfigError(f"attn_drop: expected a rate in [0, 1), got {attn_drop!r}.")
        self.dim, self.num_modalities, self.num_heads = dim, num_modalities, num_heads
        self.absent = nn.Parameter(torch.empty(num_modalities, dim))
        self.norm = nn.LayerNorm(dim, eps=norm_eps)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.attn_drop = nn.Dropout(attn_drop)
        self.proj = nn.Linear(dim, dim)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the tokens of absent modalities, and the projections after Glorot."""
        nn.init.normal_(self.absent, std=0.02)
        for layer in (self.qkv, self.proj):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, tokens: Tensor, present: Tensor | None = None) -> SharedAttentionOutput:
        """Fuse one token of each modality.

        Args:
            tokens: ``(batch, modalities, dim)``; what stands in for an absent modality matters to nothing.
            present: Which are there, ``(batch, modalities)`` bool (default: all).

        Returns:
            The embedding and the weights.

        Raises:
            ShapeError: If a shape does not fit, or a sample has no modality (checked in eager mode only).
            ConfigError: If ``present`` is not bool.
        """
        check_axes("tokens", tokens, "batch modalities dim", modalities=self.num_modalities, dim=self.dim)
        if present is not None:
            tokens = torch.where(self._checked(present, tokens)[..., None], tokens, self.absent.to(tokens.dtype))
        qkv = rearrange(self.qkv(self.norm(tokens)), "batch m (qkv h d) -> qkv batch h m d", qkv=3, h=self.num_heads)
        query, key, value = qkv.unbind(0)
        scores = query @ key.mT * query.shape[-1] ** -0.5
        if present is not None:
            scores = scores.masked_fill(~present[:, None, None, :], float("-inf"))
        weights = scores.softmax(dim=-1)
        mixed = (self.attn_drop(weights).mean(dim=2)[:, :, None] @ value)[:, :, 0]
        by_head = weights.mean(dim=2)
        embedding = self.proj(rearrange(mixed, "batch h d -> batch (h d)"))
        return SharedAttentionOutput(embedding, by_head.mean(dim=1), by_head)

    def _checked(self, present: Tensor, tokens: Tensor) -> Tensor:
        check_axes("present", present, "batch modalities", batch=tokens.shape[0], modalities=self.num_modalities)
        if present.dtype != torch.bool:
            raise ConfigError(f"present: expected bool, got {present.dtype}. Convert it with .bool().")
        if not (torch.compiler.is_compiling() or present.is_meta):
            nothing = ~present.any(dim=1)
            if bool(nothing.any()):
                raise ShapeError(
                    f"present: samples {nothing.nonzero().flatten().tolist()} have no modality. Leave them out."
                )
        return present
