"""How much a model weighed each electrode, on a head."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from evermodels import montage
from evermodels.core.errors import ShapeError, UnknownNameError, require
from evermodels.plots.results import Result, is_result, mean_attention, montage_modality, needed
from evermodels.plots.style import CLASS_COLOURS, Ink, Theme, bare, canvas, colour_bar, finite_array, ink_of, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# At 6 % (ever_tiny.quadrant) deleting all that regions say left 98.6 % of the decisions as they were.
NEXT_TO_NOTHING = 0.1
"""Below this part of what reaches the logits, regions carry next to nothing, whatever a map of them looks like."""


def channel_shares(
    channel_attention: Any,
    ch_names: Sequence[str] | None = None,
    regions: Mapping[str, Sequence[int]] | None = None,
    region_weights: Any = None,
    *,
    relative: bool = True,
) -> tuple[list[str], list[float]]:
    """Return what each channel of a region counts: its attention times its region's weight.

    Args:
        channel_attention: As in :func:`plot_region_attention`.
        ch_names: As there.
        regions: As there.
        region_weights: As there.
        relative: As there.

    Returns:
        The channels that lie in a region, in their order, and their values.

    Raises:
        ShapeError: If lengths do not fit.

    Example:
        >>> channel_shares([0.6, 0.4, 1.0], ["F3", "F4", "Pz"], {"frontal": [0, 1], "parietal": [2]}, [0.5, 0.5])
        (['F3', 'F4', 'Pz'], [1.2, 0.8, 1.0])
    """
    if is_result(channel_attention):
        channel_attention, ch_names, regions, region_weights = _of_result(channel_attention, region_weights)
    ch_names, regions = needed("ch_names", ch_names), needed("regions", regions)
    attention = finite_array("channel_attention", channel_attention, "channels")
    if len(attention) != len(ch_names):
        raise ShapeError(f"channel_attention: expected one per name ({len(ch_names)}), got {len(attention)}.")
    if not any(0 <= i < len(ch_names) for indices in regions.values() for i in indices):
        raise ShapeError("regions: expected at least one channel that exists, got none.")
    count = len(regions)
    weights = np.full(count, 1 / count)
    if region_weights is not None:
        weights = finite_array("region_weights", region_weights, "regions")
    if len(weights) != count:
        raise ShapeError(f"region_weights: expected one per region ({count}), got {len(weights)}.")
    values = {}
    for weight, indices in zip(weights, regions.values(), strict=True):
        equal = count * len(indices) if relative else count if region_weights is None else 1
        values.update({i: float(attention[i] * weight * equal) for i in indices if 0 <= i < len(ch_names)})
    return [ch_names[i] for i in sorted(values)], [values[i] for i in sorted(values)]


def describe_region_share(region_share: Any) -> str:
    """Return in words how much of what reaches a model's logits came through its regions.

    Args:
        region_share: Share of each region, ``(regions,)``, or of windows and regions, ``(windows, regions)``, which are
            averaged: ``attention["region_share"]`` of EVER.

    Returns:
        A sentence without its full stop; it says so where the regions carry less than a tenth.

    Raises:
        ShapeError: If the shares are negative or their sum exceeds 1.

    Example:
        >>> describe_region_share([0.1, 0.15])
        'regions carry 25 % of what reaches the logits'
        >>> describe_region_share([[0.004, 0.008], [0.004, 0.004]])
        'regions carry 1.0 % of what reaches the logits: next to nothing, whatever their colours'
    """
    axes = "regions" if np.ndim(region_share) < 2 else "windows regions"
    shares = np.atleast_2d(finite_array("region_share", region_share, axes))
    if shares.min() < 0 or shares.sum(axis=1).max() > 1.001:  # float16 rounds
        raise ShapeError(
            "region_share: expected shares of 0 or more that sum to at most 1 in each window, got "
            f"{shares.min():.3g} to {shares.max():.3g} with sums up to {shares.sum(axis=1).max():.3g}. Give "
            'attention["region_share"]; attention["regions"] is scaled to sum to 1 and says nothing about size.'
        )
    total = float(shares.sum(axis=1).mean())
    if total < NEXT_TO_NOTHING:
        return f"regions carry {100 * total:.1f} % of what reaches the logits: next to nothing, whatever their colours"
    return f"regions carry {100 * total:.0f} % of what reaches the logits"


def channels_on_head(ch_names: Sequence[str]) -> list[int]:
    """Return which channels have a place on the head: those whose names are electrodes.

    Args:
        ch_names: Channel names.

    Example:
        >>> channels_on_head(["Fz", "ECG", "Pz"])
        [0, 2]
    """
    known = []
    for i, name in enumerate(ch_names):
        with contextlib.suppress(UnknownNameError):
            montage.positions([name])
            known.append(i)
    return known


def _of_result(
    result: Result, region_weights: Any
) -> tuple[np.ndarray, Sequence[str], Mapping[str, Sequence[int]], Any]:
    """Return a result's mean attention, its channels, its regions and their weights."""
    recorded = montage_modality(result)
    attention = mean_attention(result, "channels", recorded)
    if region_weights is None and "regions" in result.attention:
        region_weights = mean_attention(result, "regions", recorded)
    known = channels_on_head(result.ch_names)
    regions = {name: [i for i in indices if i in known] for name, indices in result.regions.items()}
    return attention, result.ch_names, regions or {"all channels": known}, region_weights


def _span(values: np.ndarray, relative: bool) -> tuple[float, float]:
    """Ends of the colours: what occurs, but never so narrow that next to no difference looks like one."""
    low, high = float(values.min()), float(values.max())
    if relative:
        return min(low, 0.9), max(high, 1.1)
    return low, high if high > low else low + 1e-6


def plot_region_attention(
    channel_attention: Any,
    ch_names: Sequence[str] | None = None,
    regions: Mapping[str, Sequence[int]] | None = None,
    *,
    region_weights: Any = None,
    region_share: Any = None,
    relative: bool = True,
    limits: tuple[float, float] | None = None,
    title: str = "region attention",
    axes: Axes | None = None,
    theme: Theme = "light",
) -> Figure:
    """Draw on a head which electrodes and regions a model weighs, seen from above with the nose up.

    Source: EVER, §3.2, eq. 10-11: the attention of a channel inside its region, times the region's weight when given.

    Args:
        channel_attention: Attention of each channel, ``(channels,)``; one sum of 1 per region. Or a result: then the
            mean over its windows with EEG is drawn, with weights and shares of the regions where the model tells them.
        ch_names: Channel names, ``(channels,)``; names without a place on the head are left out.
        regions: Channel indices by region name.
        region_weights: Weight of each region in the order of ``regions``, ``(regions,)``; ``None`` for equal weights.
            They sum to 1 however little the regions count.
        region_share: How much of what reaches the logits came through each region, ``(regions,)``,
            ``attention["region_share"]`` of EVER: stands below the head, with a sentence on their sum
            (:func:`describe_region_share`), since colours show only how regions compare with each other.
        relative: Whether to draw multiples of an equal share (times the channels of the region and the number of
            regions): without it, a region of few channels looks strong because it shares its attention among few.
        limits: Values at the two ends of the colours; ``None`` for those that occur.
        title: Title of the picture.
        axes: Where to draw; ``None`` makes a figure.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        The figure.

    Raises:
        ShapeError: If lengths do not fit, or shares sum to more than 1.
        ConfigError: If a result has no attention of channels, or no EEG.

    Example:
        >>> figure = plot_region_attention([0.6, 0.4], ["Fz", "Pz"], {"frontal": [0], "parietal": [1]})
        >>> figure.axes[0].get_title(loc="left")
        'region attention'
    """
    if is_result(channel_attention):
        result = channel_attention
        channel_attention, ch_names, regions, region_weights = _of_result(result, region_weights)
        if region_share is None and "region_share" in result.attention:
            region_share = mean_attention(result, "region_share", montage_modality(result))
    ch_names, regions = needed("ch_names", ch_names), needed("regions", regions)
    names, shares = channel_shares(channel_attention, ch_names, regions, region_weights, relative=relative)
    weights = None if region_weights is None else finite_array("region_weights", region_weights, "regions")
    labels, heading = _legend(regions, weights, region_share)
    drawn, values = [ch_names.index(name) for name in names], np.array(shares)
    places = montage.head2d(names)
    # Electrodes below the widest line of the head project outside the unit circle: shrink all of them into it.
    places = places * min(1.0, 0.9 / np.linalg.norm(places, axis=1).max())
    low, high = limits or _span(values, relative)
    ink = ink_of(theme)
    with styled(ink):
        figure, axes = canvas(axes, (5.0, 4.2), "compressed")
        picture = axes.imshow(
            _topography(places, values),
            origin="lower",
            extent=(-1, 1, -1, 1),
            cmap="viridis",
            vmin=low,
            vmax=high,
            interpolation="bilinear",
            zorder=2,
        )
        patches = require("matplotlib.patches", extra="plots", purpose="draw pictures")
        picture.set_clip_path(patches.Circle((0, 0), 1.0, transform=axes.transData))
        _head(axes, ink)
        for k, (name, indices) in enumerate(regions.items()):
            colour = CLASS_COLOURS[k % len(CLASS_COLOURS)]
            rows = [drawn.index(i) for i in indices if i in drawn]
            if not rows:
                continue
            axes.scatter(
                places[rows, 0],
                places[rows, 1],
                c=values[rows],
                cmap="viridis",
                vmin=low,
                vmax=high,
                s=80,
                edgecolors=colour,
                linewidths=2.2,
                zorder=5,
                label=labels[name],
            )
        stroke = require("matplotlib.patheffects", extra="plots", purpose="draw pictures")
        for row, i in enumerate(drawn):
            axes.annotate(
                ch_names[i],
                places[row],
                xytext=(0, -9.5),
                textcoords="offset points",
                ha="center",
                va="center",
                fontsize=6.5,
                color="#ffffff",
                path_effects=[stroke.withStroke(linewidth=1.8, foreground="#00000099")],
                zorder=6,
            )
        axes.set_title(title)
        axes.legend(
            loc="upper center",
            bbox_to_anchor=(0.5, 0.0),
            ncols=3,
            handletextpad=0.2,
            columnspacing=1.2,
            title=heading,
            title_fontsize=8.5,
            fontsize=8.5,
        )
        label = "attention, times an equal share" if relative else "attention"
        colour_bar(figure, axes, picture, label, ink)
    return figure


def _legend(
    regions: Mapping[str, Sequence[int]], weights: np.ndarray | None, region_share: Any
) -> tuple[dict[str, str], str | None]:
    """What stands at each region below the head, and above all of them."""
    if region_share is not None:
        share = finite_array("region_share", region_share, "regions")
        if len(share) != len(regions):
            raise ShapeError(f"region_share: expected one per region ({len(regions)}), got {len(share)}.")
        named = {name: f"{name} {100 * part:.1f} %" for name, part in zip(regions, share, strict=True)}
        return named, describe_region_share(share).replace(": ", ":\n")
    if weights is not None:
        return {name: f"{name} {weight:.2f}" for name, weight in zip(regions, weights, strict=True)}, "region weight"
    return {name: name for name in regions}, None


def _head(axes: Axes, ink: Ink) -> None:
    """Draw the outline of a head seen from above: the nose points up."""
    patches = require("matplotlib.patches", extra="plots", purpose="draw pictures")
    style = {"edgecolor": ink.soft, "linewidth": 1.4, "facecolor": "none", "zorder": 3}
    axes.add_patch(patches.Circle((0, 0), 1.0, **style))
    axes.plot(
        [-0.12, 0.0, 0.12], [0.993, 1.13, 0.993], color=ink.soft, linewidth=1.4, zorder=1, solid_joinstyle="round"
    )
    for side in (-1, 1):
        axes.add_patch(patches.Ellipse((side * 1.03, 0.0), 0.10, 0.30, **{**style, "zorder": 1}))
    axes.set_xlim(-1.42, 1.42)
    axes.set_ylim(-1.2, 1.25)
    axes.set_aspect("equal")
    bare(axes)


def _topography(places: np.ndarray, values: np.ndarray, resolution: int = 160) -> np.ndarray:
    """Interpolate channel values smoothly over the square around the head, ``(resolution, resolution)``."""
    from scipy.interpolate import RBFInterpolator

    if len(values) < 3 or np.allclose(values, values[0]):
        return np.full((resolution, resolution), values.mean())
    x, y = np.meshgrid(*[np.linspace(-1.0, 1.0, resolution)] * 2)
    surface = RBFInterpolator(places, values, kernel="linear", smoothing=1e-3)(np.column_stack([x.ravel(), y.ravel()]))
    # Between and beyond the electrodes nothing was measured: the map must not go past their values.
    return np.clip(surface.reshape(x.shape), values.min(), values.max())
