"""How much a model weighed each moment or frame of a window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from evermodels.core.errors import ConfigError, ShapeError
from evermodels.plots.results import is_result, needed
from evermodels.plots.style import Theme, canvas, colour_field, finite_array, ink_of, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_time_attention(
    attention: Any,
    starts: Sequence[float] | np.ndarray | None = None,
    *,
    kind: str = "time",
    window_seconds: float | None = None,
    limits: tuple[float, float] | None = None,
    title: str = "attention within each window",
    axes: Axes | None = None,
    theme: Theme = "light",
) -> Figure:
    """Draw how much each moment of each window counted, as multiples of an equal share.

    Args:
        attention: Weights, ``(windows, steps)``, of each window a sum of 1; or a result.
        starts: Start of each window in seconds, ``(windows,)``.
        kind: Which attention of a result: ``"time"`` or ``"frames"``.
        window_seconds: Length of a window in seconds.
        limits: Values at the two ends of the colours; ``None`` for those that occur.
        title: Title of the picture.
        axes: Where to draw; ``None`` makes a figure.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        The figure.

    Raises:
        ShapeError: If lengths do not fit.
        ConfigError: If a result has no such attention, or it is 0 in all windows.

    Example:
        >>> figure = plot_time_attention([[0.25, 0.75], [0.5, 0.5]], [0, 5], window_seconds=5.0)
        >>> figure.axes[0].images[0].get_array().tolist()
        [[0.5, 1.5], [1.0, 1.0]]
    """
    if is_result(attention):
        result = attention
        if kind not in result.attention:
            raise ConfigError(f"result: its model gives no attention {kind!r}. Draw another picture.")
        here = result.attention[kind].any(axis=1)  # all 0 where a window has nothing of what is looked at
        if not here.any():
            raise ConfigError(f"result: no window has what attention {kind!r} looks at, so it speaks of no recording.")
        attention, starts, window_seconds = result.attention[kind][here], result.starts[here], result.window_seconds
    weights = finite_array("attention", attention, "windows steps")
    times = finite_array("starts", needed("starts", starts), "windows")
    length = float(needed("window_seconds", window_seconds))
    if len(times) != len(weights):
        raise ShapeError(f"starts: expected one per window ({len(weights)}), got {len(times)}.")
    shares = weights * weights.shape[1]
    limits = limits or (min(float(shares.min()), 0.9), max(float(shares.max()), 1.1))
    ink = ink_of(theme)
    with styled(ink):
        figure, axes = canvas(axes, (5.4, min(4.2, 1.84 + 0.12 * len(times))))
        extent = (0.0, length, len(times) - 0.5, -0.5)
        colour_field(figure, axes, shares, extent, label="times an equal share", limits=limits, ink=ink)
        rows = np.unique(np.linspace(0, len(times) - 1, min(len(times), 12)).round().astype(int))
        axes.set_yticks(rows, labels=[f"{times[row]:g} s" for row in rows])
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("time in the window (s)")
        axes.set_ylabel("window begins at")
        axes.set_title(title)
    return figure
