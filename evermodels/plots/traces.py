"""Signals over time, one above the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from evermodels.plots.results import check_window, is_result, window_of, window_title
from evermodels.plots.style import Theme, canvas, finite_array, ink_of, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_POINTS = 4000  # of one line; more than a picture has pixels across


def plot_traces(
    signals: Any,
    seconds: float | None = None,
    *,
    names: Sequence[str] | None = None,
    start: float = 0.0,
    unit: str = "",
    one_scale: bool = True,
    modality: str | None = None,
    title: str = "",
    axes: Axes | None = None,
    theme: Theme = "light",
) -> Figure:
    """Draw signals one above the other, such as the channels of a window of EEG.

    Args:
        signals: Signals, ``(channels, time)``; or a result, of which the window is drawn that the model was surest of.
        seconds: Length in seconds.
        names: Names of the channels, ``(channels,)``; ``None`` for their numbers.
        start: Time of the first sample in seconds.
        unit: Unit of the values, for a bar that shows their size; without one there is no bar.
        one_scale: Whether all have the same scale; otherwise each fills its row and its range stands beside it.
        modality: Which input of a result.
        title: Title of the picture.
        axes: Where to draw; ``None`` makes a figure.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        The figure.

    Raises:
        ConfigError: If ``seconds`` is not positive, a result is given without ``modality``, or it holds no such input.
        ShapeError: If ``signals`` is not ``(channels, time)`` or has another number of names.

    Example:
        >>> import numpy as np
        >>> figure = plot_traces(np.random.randn(4, 200), 2.0, names=["TP9", "AF7", "AF8", "TP10"], unit="µV")
        >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
        ['TP9', 'AF7', 'AF8', 'TP10']
    """
    if is_result(signals):
        title = title or window_title(signals)
        signals, seconds, start = window_of(signals, modality)
    lines = finite_array("signals", signals, "channels time")
    seconds = check_window(seconds, names, len(lines), "channel")
    labels = list(names) if names is not None else [f"{k + 1}" for k in range(len(lines))]
    times = start + np.arange(lines.shape[1]) * seconds / lines.shape[1]
    kept = slice(None, None, max(1, lines.shape[1] // _MOST_POINTS))
    centred = lines - np.median(lines, axis=1, keepdims=True)
    # A single artefact must not flatten everything else, so the scale is that of 99 % of the values.
    reach = np.quantile(np.abs(centred), 0.99, axis=1, keepdims=True)
    reach = np.maximum(reach.max() if one_scale else np.abs(centred).max(axis=1, keepdims=True), 1e-12)
    if not one_scale:
        labels = [f"{label}\n{line.min():.3g} to {line.max():.3g}" for label, line in zip(labels, lines, strict=True)]
    ink = ink_of(theme)
    with styled(ink):
        figure, axes = canvas(axes, (5.4, min(6.0, 1.0 + (0.17 if one_scale else 0.42) * len(lines))))
        height = 0.8 if one_scale else 0.42  # rows of their own scale fill it and must not meet
        for row, line in enumerate(centred / reach):
            axes.plot(times[kept], row - height * line[kept], color=ink.trace, linewidth=0.7)
        axes.set_yticks(range(len(lines)), labels=labels)
        axes.set_ylim(len(lines) - 0.2, -1.0)
        axes.set_xlim(start, start + seconds)
        axes.set_xlabel("time (s)")
        axes.tick_params(axis="y", length=0)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        if one_scale and unit:
            _size_bar(axes, float(np.max(reach)), unit, ink.text)
        axes.set_title(title)
    return figure


def _size_bar(axes: Axes, reach: float, unit: str, colour: str) -> None:
    """Draw a bar beside the signals that is as long as a round number of the unit."""
    power = 10.0 ** np.floor(np.log10(reach))
    size = max(step * power for step in (1, 2, 5) if step * power <= reach)
    x, middle = axes.get_xlim()[1], float(np.mean(axes.get_ylim()))
    half = 0.4 * size / reach
    axes.plot([x, x], [middle - half, middle + half], color=colour, linewidth=2.5, clip_on=False)
    axes.annotate(f"{size:g} {unit}", (x, middle), xytext=(6, 0), textcoords="offset points", va="center", rotation=90)
