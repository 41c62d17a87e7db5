"""EEGNet: the field's compact convolutional yardstick on raw EEG."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from evermodels.backbones.base import Backbone
from evermodels.core.config import Config
from evermodels.core.errors import check_axes


@dataclass(frozen=True)
class EEGNetConfig(Config):
    """Configuration of :class:`EEGNet`; the defaults are EEGNet-8,2 on windows of 5 s of 19 channels at 200 Hz.

    Args:
        in_chans: EEG channels.
        num_samples: Samples of a window, at least 32.
        sfreq: Their rate in Hz.
        num_classes: Classes of the head; 0 for the embedding.
        filters: F1, filters over time.
        multiply: D, spatial filters of each.
        maps: F2, maps after the separable convolution; ``None`` for F1 · D.
        scale: Factor on the signal: batch normalisation forgives any, weights start best near 1 (0.1 of µV).
        drop_rate: Dropout after each block; 0.25 across people in the paper.

    Example:
        >>> EEGNetConfig(sfreq=128.0).kernel_size  # half a second, made odd
        65
    """

    in_chans: int = 19
    num_samples: int = 1000
    sfreq: float = 200.0
    num_classes: int = 0
    filters: int = 8
    multiply: int = 2
    maps: int | None = None
    scale: float = 0.1
    drop_rate: float = 0.25

    def check(self) -> None:
        """Refuse sizes below one, and windows that two poolings leave nothing of."""
        self.at_least(1, "in_chans", "filters", "multiply", "maps")
        self.at_least(32, "num_samples")
        self.positive("sfreq", "scale")
        self.rates("drop_rate")

    @property
    def kernel_size(self) -> int:
        """Samples of the first convolution: half a second, an odd number, so that time stays in the middle."""
        return 2 * round(self.sfreq / 4) + 1


class _Head(nn.Linear):
    """A linear layer whose rows are no longer than 0.25."""

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(batch, num_classes)``."""
        return F.linear(x, torch.renorm(self.weight, 2, 0, 0.25), self.bias)


class EEGNet(Backbone):
    """EEGNet on raw EEG.

    Source: Lawhern et al., "EEGNet: a compact convolutional neural network for EEG-based brain-computer interfaces",
    Journal of Neural Engineering 2018: F1 filters over half a second of time, batch norm; D spatial
    filters of each over all channels (no longer than 1), batch norm, ELU, mean of 4 samples, dropout; a separable
    convolution over 16 of those, batch norm, ELU, mean of 8, dropout; a dense layer with rows no longer than 0.25.
    Choices: norms are held where weights are used, not after each step; kernels have an odd length, padded on both
    sides alike (the paper's half second is even at most rates); what 32 samples do not divide is not looked at at the
    end.

    Args:
        config: An :class:`EEGNetConfig`.

    Raises:
        ConfigError: If ``config`` is something else.

    Example:
        >>> model = EEGNet.from_preset("eegnet_tiny", num_classes=2).eval()
        >>> eeg = torch.zeros(2, 19, 1000)
        >>> model(eeg).shape, model.forward_features(eeg).shape  # a token for each 32 samples
        (torch.Size([2, 2]), torch.Size([2, 31, 16]))
    """

    config_class = EEGNetConfig
    input = "eeg"
    axes = ("in_chans", "num_samples")
    told = ("sfreq",)
    presets: ClassVar[Mapping[str, EEGNetConfig]] = {
        "eegnet_tiny": EEGNetConfig(),
        "eegnet_base": EEGNetConfig(in_chans=62, sfreq=128.0, num_samples=640),
    }

    def __init__(self, config: EEGNetConfig) -> None:
        super().__init__(config)
        spatial = config.filters * config.multiply
        self.temporal = nn.Conv2d(1, config.filters, (1, config.kernel_size), padding="same", bias=False)
        self.norm1 = nn.BatchNorm2d(config.filters)
        self.spatial = nn.Conv2d(config.filters, spatial, (config.in_chans, 1), groups=config.filters, bias=False)
        self.norm2 = nn.BatchNorm2d(spatial)
        self.depthwise = nn.Conv2d(spatial, spatial, (1, 17), padding="same", groups=spatial, bias=False)
        self.pointwise = nn.Conv2d(spatial, self.step_dim, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(self.step_dim)
        self.drop = nn.Dropout(config.drop_rate)
        self.head = self.make_head()

    @property
    def step_dim(self) -> int:
        """Width of a token, F2."""
        c: EEGNetConfig = self.config
        return c.filters * c.multiply if c.maps is None else c.maps

    @property
    def embed_dim(self) -> int:
        """Width of the embedding: that of all tokens side by side."""
        return self.step_dim * int(self.config.num_samples // 4 // 8)

    def make_head(self) -> nn.Module:
        """Return a new dense layer with rows of bounded length."""
        return _Head(self.embed_dim, self.num_classes) if self.num_classes else nn.Identity()

    def forward_features(self, x: Tensor) -> Tensor:
        """Return a token for each 32 samples, ``(batch, n, F2)``.

        Args:
            x: EEG in µV, ``(batch, channels, time)``.

        Raises:
            ShapeError: If it has other axes than the configuration says.
        """
        channels, time = self.sample_shape
        check_axes("eeg", x, "batch channels time", channels=channels, time=time)
        h = self.norm1(self.temporal(self.config.scale * x[:, None]))
        weight = torch.renorm(self.spatial.weight, 2, 0, 1.0)
        h = F.elu(self.norm2(F.conv2d(h, weight, groups=self.config.filters)))
        h = self.drop(F.avg_pool2d(h, (1, 4)))
        h = F.elu(self.norm3(self.pointwise(self.depthwise(h))))
        return self.drop(F.avg_pool2d(h, (1, 8)))[:, :, 0].mT

    def pool(self, x: Tensor) -> Tensor:
        """Return all tokens side by side, ``(batch, embed_dim)``.

        Args:
            x: Tokens, ``(batch, n, F2)``.
        """
        return x.flatten(1)
