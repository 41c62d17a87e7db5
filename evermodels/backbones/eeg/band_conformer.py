"""The Conformer block without self-attention, over stretches of EEG that are described by the power of their bands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from evermodels.backbones.base import Backbone
from evermodels.core.config import Config
from evermodels.core.errors import check_axes


@dataclass(frozen=True)
class BandConformerConfig(Config):
    """Configuration of :class:`BandConformer`.

    Args:
        num_windows: Stretches of a sample.
        num_bands: Frequency bands.
        num_chans: EEG channels.
        embed_dim: Width of a step.
        depth: Number of blocks.
        mlp_ratio: Hidden width of a feed-forward module over ``embed_dim``.
        kernel_size: Stretches that a depthwise convolution sees, an odd number.
        num_classes: Classes of the head; 0 for the embedding.
        drop_rate: Dropout of each module's output.

    Example:
        >>> BandConformerConfig(kernel_size=4)
        Traceback (most recent call last):
            ...
        evermodels.core.errors.ConfigError: ...kernel_size...an odd number...
    """

    num_windows: int = 5
    num_bands: int = 5
    num_chans: int = 19
    embed_dim: int = 144
    depth: int = 2
    mlp_ratio: float = 4.0
    kernel_size: int = 3
    num_classes: int = 0
    drop_rate: float = 0.1

    def check(self) -> None:
        """Refuse impossible sizes and rates."""
        self.at_least(1, "num_windows", "num_bands", "num_chans", "embed_dim", "depth")
        if self.kernel_size < 1 or self.kernel_size % 2 == 0:
            raise self.refuse("kernel_size", "an odd number of at least 1")
        if round(self.mlp_ratio * self.embed_dim) < 1:
            raise self.refuse("mlp_ratio", "a positive number")
        self.rates("drop_rate")


class _Convolution(nn.Module):
    """Gulati et al., figure 2: gated pointwise, depthwise over time, pointwise."""

    def __init__(self, config: BandConformerConfig) -> None:
        super().__init__()
        dim, kernel = config.embed_dim, config.kernel_size
        self.norm = nn.LayerNorm(dim)
        self.gate = nn.Linear(dim, 2 * dim)
        self.depthwise = nn.Conv1d(dim, dim, kernel, padding=kernel // 2, groups=dim)
        self.inner_norm = nn.LayerNorm(dim)
        self.proj = nn.Linear(dim, dim)
        self.drop = nn.Dropout(config.drop_rate)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(batch, windows, dim)``."""
        h = F.glu(self.gate(self.norm(x)), dim=-1)
        h = self.depthwise(h.transpose(1, 2)).transpose(1, 2)
        return self.drop(self.proj(F.silu(self.inner_norm(h))))


class _FeedForward(nn.Sequential):
    """Gulati et al., figure 4."""

    def __init__(self, config: BandConformerConfig) -> None:
        dim, hidden = config.embed_dim, round(config.mlp_ratio * config.embed_dim)
        inner = (nn.LayerNorm(dim), nn.Linear(dim, hidden), nn.SiLU(), nn.Dropout(config.drop_rate))
        super().__init__(*inner, nn.Linear(hidden, dim), nn.Dropout(config.drop_rate))


class _Block(nn.Module):
    """Half a feed-forward module, convolution, the other half, norm."""

    def __init__(self, config: BandConformerConfig) -> None:
        super().__init__()
        self.before, self.conv, self.after = _FeedForward(config), _Convolution(config), _FeedForward(config)
        self.norm = nn.LayerNorm(config.embed_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(batch, windows, dim)``."""
        x = x + 0.5 * self.before(x)
        x = x + self.conv(x)
        return self.norm(x + 0.5 * self.after(x))


class BandConformer(Backbone):
    r"""Conformer without self-attention over the band power of EEG, a step for each stretch.

    Source: MERCL, section 3.1.1 ("a modified Conformer … excluding the self-attention mechanism" on the power spectral
    density of five bands); the block is that of Gulati et al., *Conformer: convolution-augmented transformer for
    speech recognition*, Interspeech 2020, section 2:

    .. math::
        \tilde x = x + \tfrac12 \mathrm{FFN}(x), \quad x' = \tilde x + \mathrm{Conv}(\tilde x), \quad
        y = \mathrm{LayerNorm}(x' + \tfrac12 \mathrm{FFN}(x'))

    Choices, as the paper says no more: the bands of all channels of a stretch enter through one linear layer; the
    depthwise convolution sees 3 stretches, since a window holds few; its batch norm is a layer norm, so that a sample's
    numbers do not depend on those beside it, some of which may have no EEG.

    Args:
        config: A :class:`BandConformerConfig`.

    Raises:
        ConfigError: If ``config`` is something else.

    Example:
        >>> import torch
        >>> model = BandConformer.from_preset("band_conformer_tiny", num_classes=4).eval()
        >>> power = torch.zeros(2, 5, 5, 19)  # batch, windows, bands, channels
        >>> model(power).shape, model.forward_features(power).shape
        (torch.Size([2, 4]), torch.Size([2, 5, 64]))
    """

    config_class = BandConformerConfig
    input = "features"
    axes = ("num_windows", "num_bands", "num_chans")
    presets: ClassVar[Mapping[str, BandConformerConfig]] = {
        "band_conformer_tiny": BandConformerConfig(embed_dim=64, depth=1),
        "band_conformer_base": BandConformerConfig(num_chans=62),
    }

    def __init__(self, config: BandConformerConfig) -> None:
        super().__init__(config)
        self.embed = nn.Linear(config.num_bands * config.num_chans, config.embed_dim)
        self.blocks = nn.ModuleList(_Block(config) for _ in range(config.depth))
        self.head = self.make_head()

    def forward_features(self, x: Tensor) -> Tensor:
        """Return a step for each stretch.

        Args:
            x: Standardised band power or differential entropy, ``(batch, windows, bands, channels)``.

        Returns:
            ``(batch, windows, embed_dim)``.

        Raises:
            ShapeError: If it has other axes than the configuration says.
        """
        c: BandConformerConfig = self.config
        check_axes(
            "features",
            x,
            "batch windows bands channels",
            windows=c.num_windows,
            bands=c.num_bands,
            channels=c.num_chans,
        )
        x = self.embed(x.flatten(2))
        for block in self.blocks:
            x = block(x)
        return x
