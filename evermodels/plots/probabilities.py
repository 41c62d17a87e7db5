"""Class probabilities over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from evermodels.core.errors import ConfigError, ShapeError
from evermodels.plots.style import CLASS_COLOURS, Theme, canvas, finite_array, ink_of, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_probabilities(
    starts: Sequence[float] | np.ndarray,
    probabilities: Any,
    classes: Sequence[str],
    *,
    window_seconds: float,
    kind: Literal["stacked", "lines"] = "stacked",
    legend: bool = True,
    title: str = "probability of each class over time",
    axes: Axes | None = None,
    theme: Theme = "light",
) -> Figure:
    """Draw the class probabilities of each window over time.

    Args:
        starts: Start of each window in seconds, ``(windows,)``.
        probabilities: Probabilities, ``(windows, classes)``.
        classes: Class names, ``(classes,)``.
        window_seconds: Length of a window in seconds.
        kind: ``"stacked"`` bars that fill 0..1, or ``"lines"`` through the windows' centres.
        legend: Whether to name the colours below the picture.
        title: Title of the picture.
        axes: Where to draw; ``None`` makes a figure.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        The figure.

    Raises:
        ShapeError: If lengths do not fit.
        ConfigError: If ``kind`` is neither of the two.

    Example:
        >>> figure = plot_probabilities([0, 5], [[0.2, 0.8], [0.6, 0.4]], ["a", "b"], window_seconds=5.0)
        >>> len(figure.axes[0].patches)
        4
    """
    values = finite_array("probabilities", probabilities, "windows classes")
    if values.shape != (len(starts), len(classes)):
        raise ShapeError(
            f"probabilities: expected ({len(starts)}, {len(classes)}) for the starts and classes, got {values.shape}."
        )
    if kind not in ("stacked", "lines"):
        raise ConfigError(f"kind: expected 'stacked' or 'lines', got {kind!r}.")
    ink = ink_of(theme)
    times = np.asarray(starts, dtype=np.float64)
    step = float(np.diff(times).min()) if len(times) > 1 else window_seconds
    width = min(step, window_seconds) if step > 0 else window_seconds
    with styled(ink):
        figure, axes = canvas(axes, (6.4, 2.7))
        if kind == "stacked":
            below = np.zeros(len(times))
            # With overlap a bar stands around its window's centre, so that neighbours do not hide each other.
            left = times + (window_seconds - width) / 2
            for k, name in enumerate(classes):
                axes.bar(
                    left,
                    values[:, k],
                    width=0.94 * width,
                    bottom=below,
                    align="edge",
                    color=CLASS_COLOURS[k % len(CLASS_COLOURS)],
                    label=name,
                    linewidth=0,
                )
                below = below + values[:, k]
        else:
            for k, name in enumerate(classes):
                colour = CLASS_COLOURS[k % len(CLASS_COLOURS)]
                axes.plot(times + window_seconds / 2, values[:, k], color=colour, marker="o", markersize=4, label=name)
        axes.set_xlim(times.min(), times.max() + window_seconds)
        axes.set_ylim(0.0, 1.0)
        axes.set_xlabel("time (s)")
        axes.set_ylabel("probability")
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        axes.set_title(title)
        if legend:
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.24), ncols=min(len(classes), 4), handlelength=1.0)
    return figure
