"""How much of the answer came through each region of the head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from evermodels.core.errors import ShapeError
from evermodels.plots.results import is_result, mean_attention, montage_modality, needed
from evermodels.plots.style import CLASS_COLOURS, Theme, canvas, finite_array, ink_of, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_region_shares(
    shares: Any,
    regions: Sequence[str] | None = None,
    *,
    kind: str = "region_share",
    title: str = "part of the answer by region",
    axes: Axes | None = None,
    theme: Theme = "light",
) -> Figure:
    """Draw a bar for each region, on a scale from 0 to 100 %, so that little looks like little.

    Args:
        shares: Share of each region, ``(regions,)``, 0 to 1; or a result, of which the mean over the windows is drawn.
        regions: Names of the regions, ``(regions,)``.
        kind: Which attention of a result: ``"region_share"``, or ``"regions"``, which is scaled to sum to 1.
        title: Title of the picture.
        axes: Where to draw; ``None`` makes a figure.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        The figure.

    Raises:
        ShapeError: If lengths do not fit, or a share is not within 0..1.
        ConfigError: If a result has no such attention.

    Example:
        >>> figure = plot_region_shares([0.004, 0.25], ["frontal", "parietal"])
        >>> [text.get_text() for text in figure.axes[0].texts]
        ['0.4 %', '25.0 %']
    """
    if is_result(shares):
        result = shares
        shares = mean_attention(result, kind, montage_modality(result))
        regions = list(result.regions) if regions is None else regions
    names = list(needed("regions", regions))
    values = finite_array("shares", shares, "regions")
    if len(values) != len(names):
        raise ShapeError(f"shares: expected one per region ({len(names)}), got {len(values)}.")
    if values.min() < 0 or values.max() > 1.001:  # float16 rounds
        raise ShapeError(f"shares: expected values within 0..1, got {values.min():.3g} to {values.max():.3g}.")
    ink, rows = ink_of(theme), np.arange(len(names))
    with styled(ink):
        figure, axes = canvas(axes, (5.4, 0.75 + 0.3 * len(names)))
        axes.barh(rows, np.ones(len(rows)), height=0.5, color=ink.line, alpha=0.35, linewidth=0)
        colours = [CLASS_COLOURS[k % len(CLASS_COLOURS)] for k in rows]
        axes.barh(rows, values, height=0.5, color=colours, linewidth=0)
        for row, value in zip(rows, values, strict=True):
            axes.annotate(f"{100 * value:.1f} %", (1.13, row), ha="right", va="center", color=ink.text)
        axes.set_xlim(0.0, 1.14)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1.0], labels=["0", "25", "50", "75", "100 %"])
        axes.set_yticks(rows, labels=names)
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        axes.set_title(title)
    return figure
