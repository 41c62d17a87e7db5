"""What the graph baselines share: channels as nodes with features by band, and the graph that a sample makes itself."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from evermodels.backbones.base import Backbone
from evermodels.core.config import Config
from evermodels.core.errors import check_axes
from evermodels.functional import symmetric_normalize
from evermodels.layers.graph_convolution import GraphConvolution


@dataclass(frozen=True)
class FeatureGraphConfig(Config):
    """What the configurations of the graph baselines share.

    Args:
        num_windows: Stretches of a sample.
        num_bands: Frequency bands.
        num_chans: EEG channels.
        num_classes: Classes of the head; 0 for the embedding.
        head_drop_rate: Dropout before the head.
    """

    num_windows: int = 5
    num_bands: int = 5
    num_chans: int = 62
    num_classes: int = 0
    head_drop_rate: float = 0.0

    def check(self) -> None:
        """Refuse sizes below one and rates that are none."""
        self.at_least(1, "num_windows", "num_bands", "num_chans")
        self.rates("head_drop_rate")


class FeatureGraph(Backbone):
    """A network over a graph whose nodes are EEG channels, described by differential entropy or power of their bands.

    The features are to be standardised (:class:`~evermodels.layers.FeatureNorm`), as ``single_eeg`` does by the
    statistics of the training people; the papers standardise by person, which a new person's label-free recordings make
    possible and a single window does not.
    """

    input = "features"
    axes = ("num_windows", "num_bands", "num_chans")

    def nodes(self, x: Tensor) -> Tensor:
        """Return the nodes of each stretch, ``(batch, windows, channels, bands)``.

        Args:
            x: Standardised features, ``(batch, windows, bands, channels)``.

        Raises:
            ShapeError: If it has other axes than the configuration says.
        """
        windows, bands, channels = self.sample_shape
        axes = "batch windows bands channels"
        check_axes("features", x, axes, windows=windows, bands=bands, channels=channels)
        return x.transpose(2, 3)


class SelfOrganizedGraph(nn.Module):
    r"""Graph convolution over edges that each sample makes of its own nodes.

    Source: Li et al., "Cross-subject EEG emotion recognition with self-organized graph neural network", Frontiers in
    Neuroscience 2021:

    .. math::
        G = \tanh(X W), \quad A = \mathrm{top}_k(\mathrm{softmax}(G G^\top)), \quad
        Y = \mathrm{ReLU}(\tilde D^{-1/2} \tilde A \tilde D^{-1/2} X \Theta + b)

    with the softmax and the k largest in each row, :math:`\tilde A` with 1 on the diagonal and :math:`\tilde D` its row
    sums, as the authors' graph convolution (torch-geometric's) has them.

    Args:
        in_features: Width of the nodes.
        bottleneck: Width of G.
        out_features: Width of the result.
        top_k: Edges that a node keeps.

    Example:
        >>> import torch
        >>> SelfOrganizedGraph(5, 8, 4, 3)(torch.randn(2, 19, 5)).shape
        torch.Size([2, 19, 4])
    """

    def __init__(self, in_features: int, bottleneck: int, out_features: int, top_k: int) -> None:
        super().__init__()
        self.top_k = top_k
        self.bottleneck = nn.Linear(in_features, bottleneck)
        self.convolution = GraphConvolution(in_features, out_features)

    def adjacency(self, nodes: Tensor) -> Tensor:
        """Return the edges, ``(batch, channels, channels)``, before the diagonal and the normalisation.

        Args:
            nodes: ``(batch, channels, in_features)``.
        """
        g = self.bottleneck(nodes).tanh()
        weights = (g @ g.mT).softmax(dim=-1)
        values, where = weights.topk(min(self.top_k, weights.shape[-1]), dim=-1)
        return torch.zeros_like(weights).scatter(-1, where, values)

    def forward(self, nodes: Tensor) -> Tensor:
        """Return ``(batch, channels, out_features)``.

        Args:
            nodes: ``(batch, channels, in_features)``.
        """
        adjacency = symmetric_normalize(self.adjacency(nodes), self_loops=True)
        return self.convolution(nodes, adjacency).relu()
