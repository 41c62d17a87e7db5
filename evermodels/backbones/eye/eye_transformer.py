"""Mood Reader's temporal attention over eye movement: stretches of features, or the series itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from evermodels.backbones.base import Backbone
from evermodels.core.config import Config
from evermodels.core.errors import check_axes
from evermodels.layers import ResidualAttention


@dataclass(frozen=True)
class EyeTransformerConfig(Config):
    """Configuration of :class:`EyeTransformer`; the defaults are four windows of SEED-V's 33 features.

    Args:
        num_windows: Rows of one sample: windows of features, or moments of a series; a multiple of ``patch_size``.
        num_features: Values of a row.
        patch_size: Rows that make one token: 1 for features, more for a series.
        num_classes: Classes of the head; 0 for the embedding.
        embed_dim: Width of the tokens, a multiple of ``num_heads``.
        depth: Number of blocks.
        num_heads: Attention heads.
        drop_rate: Dropout of what attention gives.

    Example:
        >>> EyeTransformerConfig(num_windows=300, num_features=2, patch_size=30).num_tokens
        10
    """

    num_windows: int = 4
    num_features: int = 33
    patch_size: int = 1
    num_classes: int = 0
    embed_dim: int = 128
    depth: int = 2
    num_heads: int = 4
    drop_rate: float = 0.0

    def check(self) -> None:
        """Refuse sizes that patches and heads do not divide, and a rate that is none."""
        self.at_least(1, "num_windows", "num_features", "patch_size", "embed_dim", "depth", "num_heads")
        if self.num_windows % self.patch_size:
            raise self.refuse("patch_size", f"a divisor of the {self.num_windows} rows of a sample")
        if self.embed_dim % self.num_heads:
            raise self.refuse("embed_dim", f"a multiple of num_heads ({self.num_heads})")
        self.rates("drop_rate")

    @property
    def num_tokens(self) -> int:
        """Tokens of one sample."""
        return self.num_windows // self.patch_size


class EyeTransformer(Backbone):
    r"""Temporal attention blocks over eye movement.

    Source: "Multi-modal Mood Reader", section 3.1: "a set of similar temporal attention blocks analyzes corresponding
    eye movement features". The blocks are those of eq. 1-4 (:class:`~evermodels.layers.ResidualAttention`), a token for
    each window. The paper leaves open how wide the tokens are and whether they know their place; here one linear layer
    makes tokens of ``embed_dim`` and a learned position is added, since attention alone has no order (choices).
    Features come in their own units: standardise them first, as a system's
    :class:`~evermodels.layers.FeatureNorm` does.

    Args:
        config: An :class:`EyeTransformerConfig`.

    Raises:
        ConfigError: If ``config`` is something else.

    Example:
        >>> import torch
        >>> model = EyeTransformer.from_preset("eye_transformer_nano", num_classes=3).eval()
        >>> eye = torch.zeros(2, 4, 33)
        >>> model(eye).shape, model.forward_features(eye).shape
        (torch.Size([2, 3]), torch.Size([2, 4, 32]))
    """

    config_class = EyeTransformerConfig
    input = "eye"
    axes = ("num_windows", "num_features")
    presets: ClassVar[Mapping[str, EyeTransformerConfig]] = {
        "eye_transformer_nano": EyeTransformerConfig(embed_dim=32, depth=1),
        "eye_transformer_tiny": EyeTransformerConfig(embed_dim=64),
        "eye_transformer_base": EyeTransformerConfig(embed_dim=256, depth=4, num_heads=8),
    }

    def __init__(self, config: EyeTransformerConfig) -> None:
        super().__init__(config)
        self.patch_embed = nn.Linear(config.patch_size * config.num_features, config.embed_dim)
        self.pos_embed = nn.Parameter(torch.empty(1, config.num_tokens, config.embed_dim))
        self.blocks = nn.ModuleList(
            ResidualAttention(config.embed_dim, config.num_heads, config.drop_rate) for _ in range(config.depth)
        )
        self.head = self.make_head()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the positions; every other part has drawn its own."""
        nn.init.trunc_normal_(self.pos_embed, std=0.02)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the tokens after the last block, ``(batch, n, embed_dim)``.

        Args:
            x: Standardised features, ``(batch, windows, features)``.

        Raises:
            ShapeError: If the shape differs.
        """
        c: EyeTransformerConfig = self.config
        check_axes("eye", x, "batch windows features", windows=c.num_windows, features=c.num_features)
        x = self.patch_embed(x.unflatten(1, (c.num_tokens, c.patch_size)).flatten(2)) + self.pos_embed
        for block in self.blocks:
            x, _ = block(x)
        return x
