"""Graph convolution with a dense adjacency."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class GraphConvolution(nn.Module):
    r"""One graph convolution with a given adjacency: :math:`\hat A H W + b` (Kipf & Welling, 2017, eq. 2).

    Args:
        in_features: Width of the nodes.
        out_features: Width of the result.

    Example:
        >>> import torch
        >>> GraphConvolution(8, 4)(torch.zeros(2, 5, 8), torch.eye(5).expand(2, 5, 5)).shape
        torch.Size([2, 5, 4])
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.bias = nn.Parameter(torch.empty(out_features))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weight as Glorot & Bengio and set the bias to 0, as Kipf & Welling do."""
        nn.init.xavier_uniform_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, nodes: Tensor, adjacency: Tensor) -> Tensor:
        """Propagate ``(batch, nodes, in_features)`` over ``(batch, nodes, nodes)``."""
        support = F.linear(nodes, self.weight)
        return torch.baddbmm(self.bias, adjacency.to(support.dtype), support)

    def extra_repr(self) -> str:
        """Return the widths for ``repr``."""
        return f"in_features={self.weight.shape[1]}, out_features={self.weight.shape[0]}"
