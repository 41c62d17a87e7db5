"""SOGNN and BFE-Net: graphs that each sample makes of its own features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from evermodels.backbones.eeg.feature_graphs import FeatureGraph, FeatureGraphConfig, SelfOrganizedGraph
from evermodels.core.config import MOST_BLOCKS


@dataclass(frozen=True)
class SOGNNConfig(FeatureGraphConfig):
    """Configuration of :class:`SOGNN`; the defaults are the paper's.

    Args:
        num_windows: Stretches of a sample; 265 of 1 s in the paper.
        num_bands: Frequency bands.
        num_chans: EEG channels.
        num_classes: Classes of the head; 0 for the embedding.
        head_drop_rate: Dropout before the head.
        widths: Maps of the three convolutions.
        kernel_size: Stretches that a convolution sees, an odd number.
        pool_size: Stretches that become one after each convolution; what it does not divide makes one more.
        bottleneck: Width in which a graph's edges are made.
        hidden_dim: Width of a channel after each graph convolution.
        top_k: Edges that a channel keeps.

    Example:
        >>> SOGNNConfig(num_windows=5).lengths
        (2, 1, 1)
    """

    num_windows: int = 265
    head_drop_rate: float = 0.1
    widths: tuple[int, int, int] = (32, 64, 128)
    kernel_size: int = 5
    pool_size: int = 4
    bottleneck: int = 64
    hidden_dim: int = 32
    top_k: int = 10

    def check(self) -> None:
        """Refuse sizes below one and an even kernel."""
        super().check()
        self.at_least(1, "widths", "pool_size", "bottleneck", "hidden_dim", "top_k")
        if self.kernel_size < 1 or self.kernel_size % 2 == 0:
            raise self.refuse("kernel_size", "an odd number of at least 1")

    @property
    def lengths(self) -> tuple[int, ...]:
        """Steps of time after each pooling."""
        found, length = [], self.num_windows
        for _ in self.widths:
            length = -(-length // self.pool_size)
            found.append(length)
        return tuple(found)


class SOGNN(FeatureGraph):
    r"""Self-organised graph neural network on differential entropy over time.

    Source: Li et al., "Cross-subject EEG emotion recognition with self-organized graph neural network", Frontiers in
    Neuroscience 2021: each channel's picture of bands × time goes through three convolutions with ReLU and max
    pooling over time, the first over all bands; after each, a graph of the channels is made
    (:class:`~evermodels.backbones.eeg.feature_graphs.SelfOrganizedGraph`); the three side by side, of all channels, are
    what the head reads. Choices: the convolutions are padded along time, and the last step of a pooling may be shorter,
    so that short windows work too.

    Args:
        config: A :class:`SOGNNConfig`.

    Raises:
        ConfigError: If ``config`` is something else.

    Example:
        >>> import torch
        >>> model = SOGNN.from_preset("sognn_tiny", num_classes=2).eval()
        >>> features = torch.zeros(2, 5, 5, 19)  # batch, windows, bands, channels
        >>> model(features).shape, model.forward_features(features).shape  # tokens are channels
        (torch.Size([2, 2]), torch.Size([2, 19, 96]))
    """

    config_class = SOGNNConfig
    presets: ClassVar[Mapping[str, Any]] = {
        "sognn_tiny": SOGNNConfig(num_windows=5, num_chans=19, widths=(16, 32, 64), bottleneck=32),
        "sognn_base": SOGNNConfig(),
    }

    def __init__(self, config: SOGNNConfig) -> None:
        super().__init__(config)
        before, half = 1, config.kernel_size // 2
        self.convolutions = nn.ModuleList()
        self.graphs = nn.ModuleList()
        for width, length in zip(config.widths, config.lengths, strict=True):
            kernel = (config.num_bands if before == 1 else 1, config.kernel_size)
            self.convolutions.append(nn.Conv2d(before, width, kernel, padding=(0, half)))
            self.graphs.append(SelfOrganizedGraph(width * length, config.bottleneck, config.hidden_dim, config.top_k))
            before = width
        self.head = self.make_head()

    @property
    def embed_dim(self) -> int:
        """Width of the embedding: that of all channels side by side."""
        return int(self.config.num_chans * self.step_dim)

    @property
    def step_dim(self) -> int:
        """Width of a channel's token."""
        return int(len(self.config.widths) * self.config.hidden_dim)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return a token for each channel, ``(batch, channels, 3 · hidden_dim)``.

        Args:
            x: Standardised features, ``(batch, windows, bands, channels)``.

        Raises:
            ShapeError: If it has other axes than the configuration says.
        """
        c: SOGNNConfig = self.config
        h = self.nodes(x).permute(0, 2, 3, 1).flatten(0, 1)[:, None]  # batch · channels, 1, bands, windows
        found = []
        for convolution, graph, length in zip(self.convolutions, self.graphs, c.lengths, strict=True):
            h = convolution(h).relu()
            h = F.pad(h, (0, length * c.pool_size - h.shape[-1]))  # after a ReLU zeros are the least
            h = F.max_pool2d(h, (1, c.pool_size))
            found.append(graph(h.flatten(1).unflatten(0, (-1, c.num_chans))))
        return torch.cat(found, dim=2)

    def pool(self, x: Tensor) -> Tensor:
        """Return the tokens of all channels side by side, ``(batch, embed_dim)``.

        Args:
            x: Tokens, ``(batch, channels, 3 · hidden_dim)``.
        """
        return x.flatten(1)


@dataclass(frozen=True)
class BFENetConfig(FeatureGraphConfig):
    """Configuration of :class:`BFENet`.

    Args:
        num_windows: Stretches of a sample.
        num_bands: Frequency bands.
        num_chans: EEG channels.
        num_classes: Classes of the head; 0 for the embedding.
        head_drop_rate: Dropout before the head.
        bottleneck: Width in which a graph's edges are made.
        hidden_dim: Width of a channel of one band.
        depth: Graph convolutions one after the other in each band.
        top_k: Edges that a channel keeps.

    Example:
        >>> BFENetConfig(depth=0)
        Traceback (most recent call last):
            ...
        evermodels.core.errors.ConfigError: ...depth...at least 1...
    """

    head_drop_rate: float = 0.1
    bottleneck: int = 32
    hidden_dim: int = 32
    depth: int = 2
    top_k: int = 10

    def check(self) -> None:
        """Refuse sizes below one."""
        super().check()
        self.at_least(1, "bottleneck", "hidden_dim", "depth", "top_k")
        if self.num_bands * self.depth > MOST_BLOCKS:
            raise self.refuse("num_bands", f"at most {MOST_BLOCKS} graph convolutions, num_bands * depth")


class BFENet(FeatureGraph):
    """A self-made graph of the channels for each frequency band and each layer, in the spirit of BFE-Net.

    Source: Zhang et al., "Subject-independent emotion recognition based on EEG frequency band features and
    self-adaptive graph construction", Brain Sciences 14 (2024) 271, after its abstract alone: a "multi-graphic layer
    construction module" extracts graph features adaptively and gives "a frequency band-based multi-graphic layer
    emotion representation". Its equations were not at hand and no code is published, so all else is a choice: a
    channel's values of one band over time are its node; each band has its own graphs, made as SOGNN's
    (:class:`~evermodels.backbones.eeg.feature_graphs.SelfOrganizedGraph`), one for each layer; the outputs of all
    layers and bands of a channel side by side are its token. Read its numbers as this network's, not as the paper's.

    Args:
        config: A :class:`BFENetConfig`.

    Raises:
        ConfigError: If ``config`` is something else.

    Example:
        >>> import torch
        >>> model = BFENet.from_preset("bfe_net_tiny", num_classes=2).eval()
        >>> features = torch.zeros(2, 5, 5, 19)  # batch, windows, bands, channels
        >>> model(features).shape, model.forward_features(features).shape  # tokens are channels
        (torch.Size([2, 2]), torch.Size([2, 19, 160]))
    """

    config_class = BFENetConfig
    presets: ClassVar[Mapping[str, Any]] = {
        "bfe_net_tiny": BFENetConfig(num_chans=19, bottleneck=16, hidden_dim=16),
        "bfe_net_base": BFENetConfig(),
    }

    def __init__(self, config: BFENetConfig) -> None:
        super().__init__(config)
        widths = [config.num_windows, *[config.hidden_dim] * config.depth]
        self.bands: Any = nn.ModuleList(
            nn.ModuleList(
                SelfOrganizedGraph(width, config.bottleneck, config.hidden_dim, config.top_k) for width in widths[:-1]
            )
            for _ in range(config.num_bands)
        )
        self.head = self.make_head()

    @property
    def embed_dim(self) -> int:
        """Width of the embedding: that of all channels side by side."""
        return int(self.config.num_chans * self.step_dim)

    @property
    def step_dim(self) -> int:
        """Width of a channel's token."""
        return int(self.config.num_bands * self.config.depth * self.config.hidden_dim)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return a token for each channel, ``(batch, channels, bands · depth · hidden_dim)``.

        Args:
            x: Standardised features, ``(batch, windows, bands, channels)``.

        Raises:
            ShapeError: If it has other axes than the configuration says.
        """
        found = []
        for band, layers in zip(self.nodes(x).permute(3, 0, 2, 1).unbind(0), self.bands, strict=True):
            levels = [band]
            for graph in layers:
                levels.append(graph(levels[-1]))
            found += levels[1:]
        return torch.cat(found, dim=2)

    def pool(self, x: Tensor) -> Tensor:
        """Return the tokens of all channels side by side, ``(batch, embed_dim)``.

        Args:
            x: Tokens, ``(batch, channels, step_dim)``.
        """
        return x.flatten(1)
