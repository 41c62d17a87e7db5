"""DGCNN: Chebyshev graph convolution over a learned graph of EEG channels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from evermodels.backbones.eeg.feature_graphs import FeatureGraph, FeatureGraphConfig
from evermodels.core.config import MOST_BLOCKS


@dataclass(frozen=True)
class DGCNNConfig(FeatureGraphConfig):
    """Configuration of :class:`DGCNN`.

    Args:
        num_windows: Stretches of a sample.
        num_bands: Frequency bands.
        num_chans: EEG channels.
        num_classes: Classes of the head; 0 for the embedding.
        head_drop_rate: Dropout before the head.
        order: K, terms of the Chebyshev polynomial.
        hidden_dim: Width of a channel after the convolution.
        embed_dim: Width of a stretch after the fully connected layer.

    Example:
        >>> DGCNNConfig(order=0)
        Traceback (most recent call last):
            ...
        evermodels.core.errors.ConfigError: ...order...at least 1...
    """

    order: int = 3
    hidden_dim: int = 32
    embed_dim: int = 64

    def check(self) -> None:
        """Refuse sizes below one."""
        super().check()
        self.at_least(1, "order", "hidden_dim", "embed_dim")
        if self.order > MOST_BLOCKS:
            raise self.refuse("order", f"at most {MOST_BLOCKS}")


class DGCNN(FeatureGraph):
    r"""Dynamical graph convolutional network on differential entropy.

    Source: Song, Zheng, Song & Cui, "EEG emotion recognition using dynamical graph convolutional neural networks", IEEE
    Transactions on Affective Computing 2020, the graph learned with the weights:

    .. math::
        L = D - W, \quad \tilde L = 2 L / \lambda_{max} - I, \quad
        y = \mathrm{ReLU}\Big(\sum_{k=0}^{K-1} T_k(\tilde L)\, x\, \theta_k + b\Big)

    with :math:`T_0 = I, T_1 = \tilde L, T_k = 2 \tilde L T_{k-1} - T_{k-2}`, W kept from going below 0 by a ReLU, and
    then fully connected layers. Choices where the paper is silent: W is symmetric, :math:`(A + A^\top) / 2` of a free
    A, so that its largest eigenvalue is a real number; the 1 × 1 convolution after the filter is one with
    :math:`\theta_k` (a matrix bands × hidden each); one fully connected layer with ReLU before the head. Each stretch
    is one sample of the paper; a window's embedding is the mean of its stretches.

    Args:
        config: A :class:`DGCNNConfig`.

    Raises:
        ConfigError: If ``config`` is something else.

    Example:
        >>> import torch
        >>> model = DGCNN.from_preset("dgcnn_tiny", num_classes=2).eval()
        >>> features = torch.zeros(2, 5, 5, 19)  # batch, windows, bands, channels
        >>> model(features).shape, model.forward_features(features).shape
        (torch.Size([2, 2]), torch.Size([2, 5, 64]))
    """

    config_class = DGCNNConfig
    presets: ClassVar[Mapping[str, DGCNNConfig]] = {
        "dgcnn_tiny": DGCNNConfig(num_chans=19),
        "dgcnn_base": DGCNNConfig(),
    }

    def __init__(self, config: DGCNNConfig) -> None:
        super().__init__(config)
        self.edges = nn.Parameter(torch.empty(config.num_chans, config.num_chans))
        nn.init.uniform_(self.edges, 0.0, 1.0)  # all channels joined to all at first
        self.theta = nn.Parameter(torch.empty(config.order, config.num_bands, config.hidden_dim))
        for weight in self.theta:
            nn.init.xavier_uniform_(weight)
        self.bias = nn.Parameter(torch.zeros(config.hidden_dim))
        self.fc = nn.Linear(config.num_chans * config.hidden_dim, config.embed_dim)
        self.head = self.make_head()

    def adjacency(self) -> Tensor:
        """Return the learned graph W, ``(channels, channels)``, symmetric and nowhere negative."""
        return (0.5 * (self.edges + self.edges.mT)).relu()

    def filters(self) -> Tensor:
        """Return the Chebyshev polynomials of the scaled Laplacian, ``(order, channels, channels)``."""
        with torch.autocast(self.edges.device.type, enabled=False):
            w = self.adjacency().to(torch.promote_types(self.edges.dtype, torch.float32))
            laplacian = torch.diag(w.sum(dim=1)) - w
            largest = torch.linalg.eigvalsh(laplacian)[-1].clamp_min(1e-6)
            eye = torch.eye(w.shape[0], dtype=w.dtype, device=w.device)
            scaled = 2 * laplacian / largest - eye
            found = [eye, scaled][: self.config.order]
            while len(found) < self.config.order:
                found.append(2 * scaled @ found[-1] - found[-2])
            return torch.stack(found)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return a token for each stretch, ``(batch, windows, embed_dim)``.

        Args:
            x: Standardised features, ``(batch, windows, bands, channels)``.

        Raises:
            ShapeError: If it has other axes than the configuration says.
        """
        filtered = torch.einsum("kij,bwjf,kfh->bwih", self.filters().to(x.dtype), self.nodes(x), self.theta)
        return self.fc((filtered + self.bias).relu().flatten(2)).relu()
