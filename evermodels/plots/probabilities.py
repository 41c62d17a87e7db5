"""Class probabilities over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from evermodels.core.errors import ConfigError, ShapeError, shorten
from evermodels.plots.results import Result, is_result, modality_title, needed
from evermodels.plots.style import CLASS_COLOURS, Theme, canvas, finite_array, ink_of, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


_LONGEST_NAME = 40
_LEGEND_WIDTH = 64  # letters below a picture of the house's size


def plot_probabilities(
    starts: Sequence[float] | np.ndarray | Result,
    probabilities: Any = None,
    classes: Sequence[str] | None = None,
    *,
    window_seconds: float | None = None,
    kind: Literal["stacked", "lines"] = "stacked",
    legend: bool = True,
    label: str = "probability",
    title: str = "probability of each class over time",
    axes: Axes | None = None,
    theme: Theme = "light",
) -> Figure:
    """Draw the class probabilities of each window over time.

    Args:
        starts: Start of each window in seconds, ``(windows,)``; or a result, of which the classes, or the factors that
            are known, are drawn.
        probabilities: Probabilities, ``(windows, classes)``.
        classes: Class names, ``(classes,)``.
        window_seconds: Length of a window in seconds.
        kind: ``"stacked"`` bars that fill 0..1, or ``"lines"`` through the windows' centres.
        legend: Whether to name the colours below the picture.
        label: What the axis of the values is called.
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
    if is_result(starts):
        window_seconds = starts.window_seconds
        starts, probabilities, classes = _of_result(starts)
    times = finite_array("starts", starts, "windows")
    classes, length = needed("classes", classes), needed("window_seconds", window_seconds)
    values = finite_array("probabilities", needed("probabilities", probabilities), "windows classes")
    if values.shape != (len(times), len(classes)):
        raise ShapeError(
            f"probabilities: expected ({len(times)}, {len(classes)}) for the starts and classes, got {values.shape}."
        )
    if kind not in ("stacked", "lines"):
        raise ConfigError(f"kind: expected 'stacked' or 'lines', got {kind!r}.")
    labels, ink = [shorten(name, _LONGEST_NAME) for name in classes], ink_of(theme)
    step = float(np.diff(times).min()) if len(times) > 1 else length
    width = min(step, length) if step > 0 else length
    with styled(ink):
        figure, axes = canvas(axes, (5.4, 2.6))
        if kind == "stacked":
            below = np.zeros(len(times))
            # With overlap a bar stands around its window's centre, so that neighbours do not hide each other.
            left = times + (length - width) / 2
            for k, name in enumerate(labels):
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
            for k, name in enumerate(labels):
                colour = CLASS_COLOURS[k % len(CLASS_COLOURS)]
                axes.plot(times + length / 2, values[:, k], color=colour, marker="o", markersize=4, label=name)
        axes.set_xlim(times.min(), times.max() + length)
        axes.set_ylim(0.0, 1.0)
        axes.set_xlabel("time (s)")
        axes.set_ylabel(label)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        axes.set_title(title)
        if legend:
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.24), ncols=_columns(labels), handlelength=1.0)
    return figure


def _columns(names: Sequence[str]) -> int:
    """How many names of the legend stand beside each other without making the picture narrower."""
    return max(1, min(len(names), 4, _LEGEND_WIDTH // (max(map(len, names)) + 5)))


def plot_modality_attention(
    starts: Sequence[float] | np.ndarray | Result,
    shares: Any = None,
    modalities: Sequence[str] | None = None,
    *,
    window_seconds: float | None = None,
    title: str = "weight of each modality over time",
    **settings: Any,
) -> Figure:
    """Draw how much each modality counted in each window.

    Args:
        starts: Start of each window in seconds, ``(windows,)``; or a result.
        shares: Weights, ``(windows, modalities)``, of each window a sum of 1; 0 for a modality that is absent.
        modalities: Names of the modalities, ``(modalities,)``.
        window_seconds: Length of a window in seconds.
        title: Title of the picture.
        **settings: Further arguments of :func:`plot_probabilities`.

    Returns:
        The figure.

    Raises:
        ShapeError: If lengths do not fit.
        ConfigError: If a result has no such attention.

    Example:
        >>> figure = plot_modality_attention([0, 5], [[0.2, 0.8], [1.0, 0.0]], ["eeg", "video"], window_seconds=5.0)
        >>> figure.axes[0].get_ylabel()
        'weight'
    """
    if is_result(starts):
        result = starts
        if "modalities" not in result.attention:
            raise ConfigError("result: its model gives no attention 'modalities'. Draw another picture.")
        starts, shares, window_seconds = result.starts, result.attention["modalities"], result.window_seconds
        if modalities is None:
            modalities = [modality_title(result, name) for name in result.input_spec.modalities]
    return plot_probabilities(
        starts, shares, modalities, window_seconds=window_seconds, title=title, **{"label": "weight", **settings}
    )


def _of_result(result: Result) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return starts, probabilities and labels, of many classes the most probable ones and the rest."""
    labels, values = result.answers
    values = np.nan_to_num(values)  # a window that does not know stays empty
    most = len(CLASS_COLOURS)
    if len(labels) <= most:
        return result.starts, values, list(labels)
    kept = np.sort(np.argsort(-values.mean(axis=0))[: most - 1])
    rest = np.delete(values, kept, axis=1)
    return (
        result.starts,
        np.column_stack([values[:, kept], rest.sum(axis=1)]),
        [*(labels[k] for k in kept), f"{rest.shape[1]} others"],
    )
