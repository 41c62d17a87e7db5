"""A graph, as a matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from evermodels.core.errors import ShapeError
from evermodels.plots.results import Result, is_result, mean_attention, modality_title, needed
from evermodels.plots.style import Theme, canvas, colour_bar, finite_array, ink_of, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


_MOST_WITH_VALUES = 12  # nodes; beyond it the numbers would not fit into their cells
NODES = {"adjacency_region": ("modalities", "regions"), "adjacency_local": ("channels",)}
"""What the nodes of a graph are, in their order; of another graph the modalities, where there are as many."""


def node_names(result: Result, kind: str, count: int) -> list[str]:
    """Return the names of a graph's nodes; their numbers where the result has another number of names.

    Args:
        result: The result.
        kind: Which of its graphs.
        count: Number of nodes.
    """
    modalities = [modality_title(result, name) for name in result.input_spec.modalities]
    known = {"modalities": modalities, "regions": result.regions, "channels": result.ch_names}
    names = [name for group in NODES.get(kind, ("modalities",)) for name in known[group]]
    return names if len(names) == count else [f"{k + 1}" for k in range(count)]


def plot_adjacency(
    adjacency: Any,
    names: Sequence[str] | None = None,
    *,
    kind: str = "adjacency_region",
    reach: float | None = None,
    title: str = "graph between modalities and regions",
    axes: Axes | None = None,
    theme: Theme = "light",
) -> Figure:
    """Draw a small adjacency matrix with its values written in the cells.

    Source: EVER, §3.2, eq. 12: stage 2 of BIH-GCN, with the nodes z_e, z_v and the brain regions.

    Args:
        adjacency: Weight from each node (column) to each node (row), ``(nodes, nodes)``; or a result, of which the mean
            over the windows is drawn.
        names: Node names, ``(nodes,)``.
        kind: Which of a result's graphs.
        reach: Value at the ends of the colours, which are even around zero; ``None`` for the largest that occurs.
        title: Title of the picture.
        axes: Where to draw; ``None`` makes a figure.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        The figure.

    Raises:
        ShapeError: If the matrix is not square or has another number of names.
        ConfigError: If a result holds no such graph.

    Example:
        >>> figure = plot_adjacency([[0.5, -0.5], [-0.5, 0.5]], ["z_e", "z_v"])
        >>> [text.get_text() for text in figure.axes[0].texts]
        ['0.50', '−0.50', '−0.50', '0.50']
    """
    if is_result(adjacency):
        result, adjacency = adjacency, mean_attention(adjacency, kind)
        names = node_names(result, kind, len(adjacency)) if names is None else names
    names = needed("names", names)
    matrix = finite_array("adjacency", adjacency, "nodes nodes")
    if matrix.shape[0] != matrix.shape[1] or len(names) != len(matrix):
        raise ShapeError(f"adjacency: expected square with {len(names)} names, got shape {matrix.shape}.")
    ink = ink_of(theme)
    reach = reach or max(float(np.abs(matrix).max()), 1e-6)
    with styled(ink):
        figure, axes = canvas(axes, (5.0, 4.2), "compressed")
        picture = axes.imshow(matrix, cmap="PuOr_r", vmin=-reach, vmax=reach)
        ticks = range(len(names))
        many = len(names) > _MOST_WITH_VALUES
        axes.set_xticks(ticks, labels=list(names), rotation=90 if many else 35, ha="right", rotation_mode="anchor")
        axes.set_yticks(ticks, labels=list(names))
        if many:
            axes.tick_params(labelsize=max(3.0, min(8.5, 170 / len(names))))
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        axes.set_xticks(np.arange(len(names) + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(len(names) + 1) - 0.5, minor=True)
        axes.grid(which="minor", color=ink.paper, linewidth=1.6)
        axes.tick_params(which="minor", length=0)
        if not many:
            for row in ticks:
                for column in ticks:
                    value = matrix[row, column]
                    axes.text(
                        column,
                        row,
                        f"{value:.2f}".replace("-", "\N{MINUS SIGN}"),
                        ha="center",
                        va="center",
                        fontsize=8,
                        color="#ffffff" if abs(value) > 0.62 * reach else "#1f2a37",
                    )
        axes.set_title(title)
        colour_bar(figure, axes, picture, "normalised weight", ink)
    return figure
