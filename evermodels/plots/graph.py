"""The graph between modalities and regions, as a matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from evermodels.core.errors import ShapeError
from evermodels.plots.results import is_result, mean_attention, needed
from evermodels.plots.style import Theme, canvas, colour_bar, finite_array, ink_of, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_adjacency(
    adjacency: Any,
    names: Sequence[str] | None = None,
    *,
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
        names = ["EEG z_e", "face z_v", *adjacency.regions] if names is None else names
        adjacency = mean_attention(adjacency, "adjacency_region")
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
        axes.set_xticks(ticks, labels=list(names), rotation=35, ha="right", rotation_mode="anchor")
        axes.set_yticks(ticks, labels=list(names))
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        axes.set_xticks(np.arange(len(names) + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(len(names) + 1) - 0.5, minor=True)
        axes.grid(which="minor", color=ink.paper, linewidth=1.6)
        axes.tick_params(which="minor", length=0)
        if len(names) <= 12:
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
