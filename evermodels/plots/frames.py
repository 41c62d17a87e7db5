"""The frames of a clip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from evermodels.core.errors import ShapeError
from evermodels.plots.results import is_result, surest_window, window_title
from evermodels.plots.style import Theme, bare, canvas, finite_array, ink_of, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_frames(
    frames: Any,
    *,
    columns: int = 8,
    seconds: Sequence[float] | None = None,
    weights: Any = None,
    modality: str = "video",
    title: str | None = None,
    axes: Axes | None = None,
    theme: Theme = "light",
) -> Figure:
    """Draw the frames of one clip in reading order.

    Args:
        frames: Pictures with values in 0..1 (or 0..255 for whole numbers), ``(frames, 3, height, width)``; or a result,
            of which the frames of the window that the model was surest of are drawn, with their weights where its
            attention has ``"frames"``.
        columns: Pictures per row.
        seconds: Time of each frame in seconds, written below it; ``None`` writes the frame's number.
        weights: Weight of each frame, ``(frames,)``, written below it in percent. Where some are 0, the others have
            a border: those were chosen, and the rest is paler.
        modality: Which input of a result.
        title: Title of the picture; ``None`` for ``"frames used"``, or a result's window.
        axes: Where to draw; ``None`` makes a figure.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        The figure.

    Raises:
        ConfigError: If a result holds no frames.
        ShapeError: If ``frames`` is not ``(frames, 3, height, width)``, or ``seconds`` or ``weights`` have another
            length.

    Example:
        >>> import numpy as np
        >>> len(plot_frames(np.zeros((4, 3, 8, 8)), columns=2).axes[0].images)
        4
    """
    if is_result(frames):
        result, frames = frames, surest_window(frames, modality)
        title = window_title(result) if title is None else title
        own = result.attention.get("frames")
        if weights is None and own is not None and own.shape[1:] == (len(frames),):
            weights = own[result.shown]
    title = "frames used" if title is None else title
    whole = np.issubdtype(np.asarray(frames).dtype, np.integer)
    pictures = finite_array("frames", frames, "frames colours height width")
    if pictures.shape[1] != 3:
        raise ShapeError(f"frames: expected 3 colours along axis 1, got {pictures.shape[1]} (shape {pictures.shape}).")
    for name, values in (("seconds", seconds), ("weights", weights)):
        if values is not None and len(values) != len(pictures):
            raise ShapeError(f"{name}: expected one per frame ({len(pictures)}), got {len(values)}.")
    captions = [f"{k + 1}" for k in range(len(pictures))] if seconds is None else [f"{time:.2f} s" for time in seconds]
    chosen: list[bool] = []
    if weights is not None:
        shares = finite_array("weights", weights, "frames")
        chosen = [bool(share > 0) for share in shares] if shares.any() and not shares.all() else chosen
        said = zip(captions, shares, chosen or [True] * len(shares), strict=True)
        captions = [f"{caption}: {share:.0%}" if counts else caption for caption, share, counts in said]
    pictures = np.clip(pictures / 255.0 if whole else pictures, 0.0, 1.0).transpose(0, 2, 3, 1)
    ink = ink_of(theme)
    columns = max(1, min(columns, len(pictures)))
    rows = -(-len(pictures) // columns)
    height, width = pictures.shape[1:3]
    gap, below = 0.04 * width, 0.22 * width
    from matplotlib.patches import Rectangle

    with styled(ink):
        figure, axes = canvas(axes, (0.7 * columns, (0.7 * height / width + 0.17) * rows + (0.35 if title else 0.05)))
        for i, picture in enumerate(pictures):
            x, y = i % columns * (width + gap), i // columns * (height + below)
            pale = 1.0 if not chosen or chosen[i] else 0.35
            axes.imshow(picture, interpolation="nearest", extent=(x, x + width, y + height, y), alpha=pale)
            if chosen and chosen[i]:
                axes.add_patch(Rectangle((x, y), width, height, fill=False, edgecolor=ink.trace, linewidth=1.8))
            middle = (x + width / 2, y + height + 0.1 * width)
            axes.annotate(captions[i], middle, ha="center", va="center", fontsize=7.5, color=ink.soft)
        axes.set_xlim(0, columns * (width + gap) - gap)
        axes.set_ylim(rows * (height + below), 0)
        axes.set_aspect("equal")
        bare(axes)
        axes.set_title(title)
    return figure
