"""RGNN: graph convolution over channels joined by their distance on the head, and across it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from evermodels import montage
from evermodels.backbones.eeg.feature_graphs import FeatureGraph, FeatureGraphConfig
from evermodels.core.config import MOST_BLOCKS
from evermodels.functional import symmetric_normalize

ACROSS = (
    ("Fp1", "Fp2"),
    ("AF3", "AF4"),
    ("F5", "F6"),
    ("FC5", "FC6"),
    ("C5", "C6"),
    ("CP5", "CP6"),
    ("P5", "P6"),
    ("PO5", "PO6"),
    ("O1", "O2"),
)
"""The paper's pairs across the midline, whose edge starts lower by 1: what matters is how the two sides differ."""


@dataclass(frozen=True)
class RGNNConfig(FeatureGraphConfig):
    """Configuration of :class:`RGNN`.

    Args:
        num_windows: Stretches of a sample.
        num_bands: Frequency bands.
        num_chans: EEG channels; follows from ``ch_names``.
        num_classes: Classes of the head; 0 for the embedding.
        head_drop_rate: Dropout before the head; the paper's.
        ch_names: Names of the channels.
        hops: L, times that nodes are spread over the graph.
        embed_dim: Width of a node after the linear layer, and of the embedding.
        share: Part of the edges that start above 0.1; 20 % in the paper.

    Example:
        >>> RGNNConfig(ch_names=("Fz", "Cz"), num_chans=3)
        Traceback (most recent call last):
            ...
        evermodels.core.errors.ConfigError: ...num_chans: expected the number of ch_names (2), got 3.
    """

    head_drop_rate: float = 0.7
    ch_names: tuple[str, ...] = montage.MONTAGES["seed"]
    hops: int = 2
    embed_dim: int = 64
    share: float = 0.2

    def check(self) -> None:
        """Refuse sizes below one, and channels that are not as many as their names."""
        super().check()
        self.at_least(1, "hops", "embed_dim")
        if self.hops > MOST_BLOCKS:
            raise self.refuse("hops", f"at most {MOST_BLOCKS}")
        if not 0 < self.share < 1:
            raise self.refuse("share", "a number in (0, 1)")
        object.__setattr__(self, "ch_names", montage.canonical_all(self.ch_names))
        if self.num_chans != len(self.ch_names):
            raise self.refuse("num_chans", f"the number of ch_names ({len(self.ch_names)})")


def distance_graph(ch_names: Sequence[str], share: float = 0.2) -> Tensor:
    r"""Return the graph that RGNN starts from, ``(channels, channels)``, float32.

    Zhong, Wang & Miao (2022): :math:`A_{ij} = \min(1, \delta / d_{ij}^2)` of the channels' distance, 1 on the
    diagonal, and 1 less for the pairs of :data:`ACROSS`. The paper takes δ such that about a fifth of the edges lies
    above 0.1; so do we, by their quantile (positions in its unit are not published).

    Args:
        ch_names: Names of the channels, at least one.
        share: That part of the edges.

    Example:
        >>> distance_graph(("Fp1", "Fp2", "O1")).shape
        torch.Size([3, 3])
    """
    names = list(montage.canonical_all(ch_names))
    where = torch.as_tensor(montage.positions(names), dtype=torch.float64)
    squares = torch.cdist(where, where).square()
    apart = ~torch.eye(len(names), dtype=torch.bool)
    graph = torch.ones_like(squares)
    if len(names) > 1:
        delta = torch.quantile(squares[apart], share) / 10
        graph[apart] = (delta / squares[apart]).clamp_max(1.0)
    for left, right in ACROSS:
        if left in names and right in names:
            i, j = names.index(left), names.index(right)
            graph[i, j] -= 1
            graph[j, i] -= 1
    return graph.float()


class RGNN(FeatureGraph):
    r"""Regularised graph neural network on differential entropy, without its regularisers.

    Source: Zhong, Wang & Miao, "EEG-based emotion recognition using regularized graph neural networks", IEEE
    Transactions on Affective Computing 2022:

    .. math::
        S = D^{-1/2} A D^{-1/2}, \quad D_{ii} = \sum_j |A_{ij}|, \quad
        z = \sum_i \mathrm{ReLU}(S^L X W + b)_i

    A starts from distances (:func:`distance_graph`), is symmetric and learned. Its two regularisers are no part of an
    encoder and left out: node-wise domain adversarial training needs recordings of the test people, and emotion-aware
    distribution learning is smoothing of labels, which the loss has. Each stretch is one sample of the paper; a
    window's embedding is the mean of its stretches.

    Args:
        config: An :class:`RGNNConfig`.

    Raises:
        ConfigError: If ``config`` is something else.

    Example:
        >>> import torch
        >>> model = RGNN.from_preset("rgnn_tiny", num_classes=2).eval()
        >>> features = torch.zeros(2, 5, 5, 19)  # batch, windows, bands, channels
        >>> model(features).shape, model.forward_features(features).shape
        (torch.Size([2, 2]), torch.Size([2, 5, 64]))
    """

    config_class = RGNNConfig
    told = ("ch_names",)
    presets: ClassVar[Mapping[str, RGNNConfig]] = {
        "rgnn_tiny": RGNNConfig(num_chans=19, ch_names=montage.MONTAGES["eegmat"]),
        "rgnn_base": RGNNConfig(),
    }

    def __init__(self, config: RGNNConfig) -> None:
        super().__init__(config)
        n = config.num_chans
        self.edges = nn.Parameter(torch.empty(n * (n + 1) // 2))
        self.proj = nn.Linear(config.num_bands, config.embed_dim)
        self.head = self.make_head()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start the graph from distances on the head."""
        if self.edges.is_meta:
            return
        graph = distance_graph(self.config.ch_names, self.config.share)
        with torch.no_grad():
            self.edges.copy_(graph[tuple(torch.tril_indices(len(graph), len(graph)))])

    def adjacency(self) -> Tensor:
        """Return the learned graph A, ``(channels, channels)``, symmetric; edges may be negative."""
        n = self.config.num_chans
        row, column = torch.tril_indices(n, n, device=self.edges.device)
        lower = self.edges.new_zeros(n, n).index_put((row, column), self.edges)
        return lower + lower.tril(-1).mT

    def forward_features(self, x: Tensor) -> Tensor:
        """Return a token for each stretch, ``(batch, windows, embed_dim)``.

        Args:
            x: Standardised features, ``(batch, windows, bands, channels)``.

        Raises:
            ShapeError: If it has other axes than the configuration says.
        """
        spread = symmetric_normalize(self.adjacency()).to(x.dtype)
        nodes = self.nodes(x)
        for _ in range(self.config.hops):
            nodes = spread @ nodes
        return self.proj(nodes).relu().sum(dim=2)
