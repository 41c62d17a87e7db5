"""What all pictures share: palette, themes, axes, checks."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import torch

from evermodels.core.errors import ConfigError, ShapeError, require

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Theme = Literal["light", "dark"]

CLASS_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999")
"""Okabe and Ito's palette, in the order in which classes and regions take it."""


DPI = 150
"""Resolution of a new figure."""


class Ink(NamedTuple):
    """Colours of one theme.

    Args:
        paper: Background.
        text: Titles.
        soft: Labels, ticks, outlines.
        line: Frames.
        trace: Signals.
    """

    paper: str
    text: str
    soft: str
    line: str
    trace: str


THEMES = {
    "light": Ink(paper="#ffffff", text="#1f2a37", soft="#5b6675", line="#c9d1db", trace="#0072B2"),
    "dark": Ink(paper="#171c24", text="#e6ebf2", soft="#9aa6b5", line="#3a4453", trace="#56B4E9"),
}


def ink_of(theme: str) -> Ink:
    """Return the colours of a theme.

    Args:
        theme: ``"light"`` or ``"dark"``.

    Raises:
        ConfigError: If it is neither.
    """
    if theme not in THEMES:
        raise ConfigError(f"theme: expected one of {', '.join(map(repr, THEMES))}, got {theme!r}.")
    return THEMES[theme]


def styled(ink: Ink) -> AbstractContextManager[None]:
    """Return a context in which matplotlib draws in the house's style; what was set before comes back after it.

    Args:
        ink: Colours of the theme.

    Raises:
        MissingExtraError: If matplotlib is absent.
    """
    matplotlib = require("matplotlib", extra="plots", purpose="draw pictures")
    return matplotlib.rc_context(
        {
            "font.family": ["DejaVu Sans"],
            "font.size": 9.5,
            "axes.titlesize": 11,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "axes.titlepad": 9,
            "axes.labelsize": 9.5,
            "axes.edgecolor": ink.line,
            "axes.linewidth": 0.8,
            "axes.labelcolor": ink.soft,
            "axes.titlecolor": ink.text,
            "axes.facecolor": ink.paper,
            "text.color": ink.text,
            "xtick.color": ink.soft,
            "ytick.color": ink.soft,
            "xtick.labelsize": 8.5,
            "ytick.labelsize": 8.5,
            "figure.facecolor": ink.paper,
            "savefig.facecolor": ink.paper,
            "legend.frameon": False,
            "legend.fontsize": 9,
            "text.parse_math": False,  # a name with two dollar signs is a name
        }
    )


def canvas(axes: Axes | None, size: tuple[float, float], layout: str = "constrained") -> tuple[Figure, Axes]:
    """Return the caller's axes with their figure, or a new figure of the given size with one pair of axes.

    Args:
        axes: Axes to draw into, or ``None``.
        size: Width and height of a new figure in inches.
        layout: Layout engine of a new figure.
    """
    if axes is not None:
        return axes.get_figure(), axes  # type: ignore[return-value]  # axes in use have a figure
    figure_module = require("matplotlib.figure", extra="plots", purpose="draw pictures")
    figure = figure_module.Figure(figsize=size, dpi=DPI, layout=layout)
    return figure, figure.add_subplot()


def finite_array(name: str, values: Any, axes: str) -> np.ndarray:
    """Return a finite float array with the named axes, or say what came instead.

    Args:
        name: The argument's name, for the message.
        values: Array, tensor or nested list.
        axes: Names of the axes, separated by blanks.

    Raises:
        ShapeError: If the number of axes differs, one is empty, or a value is not finite.
    """
    if isinstance(values, torch.Tensor):
        values = values.detach().to("cpu", torch.float64).numpy()
    array = np.asarray(values, dtype=np.float64)
    names = axes.split()
    if array.ndim != len(names) or array.size == 0:
        raise ShapeError(f"{name}: expected ({', '.join(names)}), none empty, got shape {array.shape}.")
    if not np.isfinite(array).all():
        raise ShapeError(f"{name}: expected finite values, got NaN or infinities. Remove them before plotting.")
    return array


def bare(axes: Axes) -> None:
    """Take ticks and frame away.

    Args:
        axes: The axes.
    """
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def colour_field(
    figure: Figure,
    axes: Axes,
    values: np.ndarray,
    extent: tuple[float, float, float, float],
    *,
    label: str,
    limits: tuple[float, float],
    ink: Ink,
    **more: Any,
) -> None:
    """Draw a table of values as colours, with its colour bar.

    Args:
        figure: The figure.
        axes: The axes.
        values: The values, ``(rows, columns)``.
        extent: Left, right, bottom and top end on the axes.
        label: What the colours mean.
        limits: Values at the two ends of the colours.
        ink: Colours of the theme.
        **more: As :meth:`matplotlib.axes.Axes.imshow` takes them.
    """
    low, high = limits
    shown = {"aspect": "auto", "cmap": "viridis", "vmin": low, "vmax": high, "interpolation": "nearest", **more}
    colour_bar(figure, axes, axes.imshow(values, extent=extent, **shown), label, ink)


def colour_bar(figure: Figure, axes: Axes, picture: Any, label: str, ink: Ink) -> None:
    """Put a colour bar beside the axes.

    Args:
        figure: The figure.
        axes: Axes that the bar belongs to.
        picture: What was drawn.
        label: What the colours mean.
        ink: Colours of the theme.
    """
    bar = figure.colorbar(picture, ax=axes, fraction=0.046, pad=0.02, aspect=22)
    bar.set_label(label)
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, colors=ink.soft)
