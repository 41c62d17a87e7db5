"""Pictures of what a model read and what it looked at, drawn on matplotlib figures without global state.

Every function makes a ``matplotlib.figure.Figure`` of its own and returns it, or draws into ``axes`` that the caller
brings and returns their figure. Colours: Okabe and Ito's palette for classes and regions, viridis and cividis for
amounts, PuOr around zero for signed values; all of them can be told apart by people with colour blindness. ``theme``
is ``"light"`` or ``"dark"``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import torch

from evermodels import functional, montage
from evermodels.core.errors import ConfigError, ShapeError, require

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "CLASS_COLOURS",
    "plot_adjacency",
    "plot_frames",
    "plot_probabilities",
    "plot_region_attention",
    "plot_spectrogram",
    "stitch",
]

Theme = Literal["light", "dark"]

CLASS_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999")
"""Okabe and Ito's palette, in the order in which classes and regions take it."""


class _Ink(NamedTuple):
    paper: str
    text: str
    soft: str
    line: str
    skin: str


_THEMES = {
    "light": _Ink(paper="#ffffff", text="#1f2a37", soft="#5b6675", line="#c9d1db", skin="#f4f6f9"),
    "dark": _Ink(paper="#171c24", text="#e6ebf2", soft="#9aa6b5", line="#3a4453", skin="#202733"),
}


def _ink(theme: str) -> _Ink:
    if theme not in _THEMES:
        raise ConfigError(f"theme: expected one of {', '.join(map(repr, _THEMES))}, got {theme!r}.")
    return _THEMES[theme]


def _style(ink: _Ink) -> AbstractContextManager[None]:
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
        }
    )


def _canvas(axes: Axes | None, size: tuple[float, float]) -> tuple[Figure, Axes]:
    if axes is not None:
        return axes.get_figure(), axes  # type: ignore[return-value]
    figure_module = require("matplotlib.figure", extra="plots", purpose="draw pictures")
    figure = figure_module.Figure(figsize=size, dpi=150, layout="constrained")
    return figure, figure.add_subplot()


def _array(name: str, values: Any, axes: str) -> np.ndarray:
    """Return a finite float array with the named axes, or say what came instead."""
    if isinstance(values, torch.Tensor):
        values = values.detach().to("cpu", torch.float64).numpy()
    array = np.asarray(values, dtype=np.float64)
    names = axes.split()
    if array.ndim != len(names) or array.size == 0:
        raise ShapeError(f"{name}: expected ({', '.join(names)}), none empty, got shape {array.shape}.")
    if not np.isfinite(array).all():
        raise ShapeError(f"{name}: expected finite values, got NaN or infinities. Remove them before plotting.")
    return array


def _bare(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _colour_bar(figure: Figure, axes: Axes, picture: Any, label: str, ink: _Ink) -> None:
    bar = figure.colorbar(picture, ax=axes, fraction=0.046, pad=0.02, aspect=22)
    bar.set_label(label)
    bar.outline.set_visible(False)  # type: ignore[operator]
    bar.ax.tick_params(length=0, colors=ink.soft)


def stitch(windows: Any, starts: Sequence[float] | np.ndarray, sfreq: float) -> np.ndarray:
    """Lay overlapping windows back on one time line.

    Args:
        windows: Signal by window, ``(windows, channels, time)``.
        starts: Start of each window in seconds, ``(windows,)``.
        sfreq: Sampling rate in Hz.

    Returns:
        ``(channels, time)`` from the first window's start; a gap between windows is zero, and where windows overlap
        the later one is kept.

    Raises:
        ShapeError: If the axes or the number of starts do not fit.

    Example:
        >>> stitch([[[1.0, 2.0]], [[3.0, 4.0]]], [0.0, 1.0], sfreq=1.0).tolist()
        [[1.0, 3.0, 4.0]]
    """
    array = _array("windows", windows, "windows channels time")
    if len(starts) != len(array):
        raise ShapeError(f"starts: expected one per window ({len(array)}), got {len(starts)}.")
    first = [round((float(s) - float(min(starts))) * sfreq) for s in starts]
    line = np.zeros((array.shape[1], max(first) + array.shape[2]))
    for offset, window in zip(first, array, strict=True):
        line[:, offset : offset + array.shape[2]] = window
    return line


def plot_spectrogram(
    eeg: Any,
    sfreq: float,
    *,
    channel: int | None = None,
    ch_names: Sequence[str] | None = None,
    n_fft: int | None = None,
    max_hz: float = 45.0,
    start: float = 0.0,
    title: str | None = None,
    axes: Axes | None = None,
    theme: Theme = "light",
) -> Figure:
    """Draw the log spectrogram of an EEG stretch, the mean over channels or one channel.

    Source: EVER, §3.2, eq. 2-3; the values are those of :func:`evermodels.functional.log_spectrogram` before resizing.

    Args:
        eeg: EEG in µV, ``(channels, time)``.
        sfreq: Sampling rate in Hz.
        channel: Index of the channel to draw; ``None`` for the mean over channels.
        ch_names: Channel names, for the title.
        n_fft: Length of the Fourier window in samples; ``None`` for about one second.
        max_hz: Upper end of the frequency axis in Hz.
        start: Time of the first sample in seconds.
        title: Title of the picture; ``None`` for the channel's name.
        axes: Where to draw; ``None`` makes a figure.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        The figure.

    Raises:
        ShapeError: If ``eeg`` is not ``(channels, time)`` or not finite.
        ConfigError: If ``channel`` does not exist.

    Example:
        >>> import numpy as np
        >>> figure = plot_spectrogram(np.random.randn(4, 1000), sfreq=200.0)
        >>> figure.axes[0].get_xlabel()
        'time (s)'
    """
    signal = _array("eeg", eeg, "channels time")
    if channel is not None and not 0 <= channel < len(signal):
        raise ConfigError(f"channel: expected 0..{len(signal) - 1}, got {channel!r}.")
    ink = _ink(theme)
    n_fft = n_fft or max(2, round(sfreq))
    tensor = torch.as_tensor(signal, dtype=torch.float32).unsqueeze(0)
    power = functional.log_spectrogram(tensor, n_fft)[0]
    power = power.mean(0) if channel is None else power[channel]
    if title is None:
        name = str(channel) if channel is None or ch_names is None else ch_names[channel]
        title = f"mean of {len(signal)} channels" if channel is None else f"channel {name}"
    with _style(ink):
        figure, axes = _canvas(axes, (6.4, 3.0))
        picture = axes.imshow(
            power.numpy(),
            origin="lower",
            aspect="auto",
            cmap="viridis",
            interpolation="bilinear",
            extent=(start, start + signal.shape[1] / sfreq, 0.0, sfreq / 2),
        )
        axes.set_ylim(0.0, min(max_hz, sfreq / 2))
        axes.set_xlabel("time (s)")
        axes.set_ylabel("frequency (Hz)")
        axes.set_title(title)
        _colour_bar(figure, axes, picture, "log(1 + magnitude)", ink)
    return figure


def plot_frames(
    frames: Any,
    *,
    columns: int = 8,
    seconds: Sequence[float] | None = None,
    title: str = "frames used",
    theme: Theme = "light",
) -> Figure:
    """Draw the frames of one clip in reading order.

    Args:
        frames: Pictures with values in 0..1 (or 0..255 for whole numbers), ``(frames, 3, height, width)``.
        columns: Pictures per row.
        seconds: Time of each frame in seconds, written below it; ``None`` writes the frame's number.
        title: Title of the picture.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        The figure.

    Raises:
        ShapeError: If ``frames`` is not ``(frames, 3, height, width)``, or ``seconds`` has another length.

    Example:
        >>> import numpy as np
        >>> len(plot_frames(np.zeros((4, 3, 8, 8)), columns=4).axes)
        4
    """
    whole = np.issubdtype(np.asarray(frames).dtype, np.integer)
    pictures = _array("frames", frames, "frames colours height width")
    if pictures.shape[1] != 3:
        raise ShapeError(f"frames: expected 3 colours along axis 1, got {pictures.shape[1]} (shape {pictures.shape}).")
    if seconds is not None and len(seconds) != len(pictures):
        raise ShapeError(f"seconds: expected one per frame ({len(pictures)}), got {len(seconds)}.")
    pictures = np.clip(pictures / 255.0 if whole else pictures, 0.0, 1.0).transpose(0, 2, 3, 1)
    ink = _ink(theme)
    figure_module = require("matplotlib.figure", extra="plots", purpose="draw pictures")
    columns = max(1, min(columns, len(pictures)))
    rows = -(-len(pictures) // columns)
    with _style(ink):
        figure = figure_module.Figure(figsize=(0.82 * columns, 1.0 * rows + 0.35), dpi=150, layout="constrained")
        figure.get_layout_engine().set(w_pad=0.01, h_pad=0.015, wspace=0.02, hspace=0.02)
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold", color=ink.text)
        for i, picture in enumerate(pictures):
            axes = figure.add_subplot(rows, columns, i + 1)
            axes.imshow(picture, interpolation="nearest")
            _bare(axes)
            caption = f"{i + 1}" if seconds is None else f"{seconds[i]:.2f} s"
            axes.set_xlabel(caption, fontsize=7.5, labelpad=2, color=ink.soft)
    return figure


def _head(axes: Axes, ink: _Ink) -> None:
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
    _bare(axes)


def _topography(places: np.ndarray, values: np.ndarray, resolution: int = 160) -> np.ndarray:
    """Interpolate channel values smoothly over the square around the head, ``(resolution, resolution)``."""
    from scipy.interpolate import RBFInterpolator

    if len(values) < 3 or np.allclose(values, values[0]):
        return np.full((resolution, resolution), values.mean())
    x, y = np.meshgrid(*[np.linspace(-1.0, 1.0, resolution)] * 2)
    surface = RBFInterpolator(places, values, kernel="linear", smoothing=1e-3)(np.column_stack([x.ravel(), y.ravel()]))
    # Between and beyond the electrodes nothing was measured: the map must not go past their values.
    return np.clip(surface.reshape(x.shape), values.min(), values.max())


def plot_region_attention(
    channel_attention: Any,
    ch_names: Sequence[str],
    regions: Mapping[str, Sequence[int]],
    *,
    region_weights: Any = None,
    title: str = "region attention",
    axes: Axes | None = None,
    theme: Theme = "light",
) -> Figure:
    """Draw on a head which electrodes and regions a model weighs, seen from above with the nose up.

    Source: EVER, §3.3, eq. 10-11: the attention of a channel inside its region, times the region's weight when given.

    Args:
        channel_attention: Attention of each channel, ``(channels,)``; one sum of 1 per region.
        ch_names: Channel names, ``(channels,)``; names without a place on the head are left out.
        regions: Channel indices by region name.
        region_weights: Weight of each region in the order of ``regions``, ``(regions,)``; ``None`` for equal weights.
        title: Title of the picture.
        axes: Where to draw; ``None`` makes a figure.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        The figure.

    Raises:
        ShapeError: If lengths do not fit.

    Example:
        >>> figure = plot_region_attention([0.6, 0.4], ["Fz", "Pz"], {"frontal": [0], "parietal": [1]})
        >>> figure.axes[0].get_title(loc="left")
        'region attention'
    """
    attention = _array("channel_attention", channel_attention, "channels")
    if len(attention) != len(ch_names):
        raise ShapeError(f"channel_attention: expected one per name ({len(ch_names)}), got {len(attention)}.")
    weights = np.ones(len(regions)) if region_weights is None else _array("region_weights", region_weights, "regions")
    if len(weights) != len(regions):
        raise ShapeError(f"region_weights: expected one per region ({len(regions)}), got {len(weights)}.")
    member = {i: k for k, indices in enumerate(regions.values()) for i in indices}
    drawn = [i for i in sorted(member) if 0 <= i < len(ch_names)]
    if not drawn:
        raise ShapeError("regions: expected at least one channel that exists, got none.")
    places = montage.head2d([ch_names[i] for i in drawn])
    # Electrodes below the widest line of the head project outside the unit circle: shrink all of them into it.
    places = places * min(1.0, 0.9 / np.linalg.norm(places, axis=1).max())
    values = np.array([attention[i] * weights[member[i]] for i in drawn])
    ink = _ink(theme)
    with _style(ink):
        figure, axes = _canvas(axes, (5.0, 4.2))
        low, high = float(values.min()), float(values.max())
        high = high if high > low else low + 1e-6
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
                label=f"{name} {weights[k]:.2f}" if region_weights is not None else name,
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
            title="region weight" if region_weights is not None else None,
            title_fontsize=8.5,
            fontsize=8.5,
        )
        label = "attention" if region_weights is None else "attention \N{MULTIPLICATION SIGN} region weight"
        _colour_bar(figure, axes, picture, label, ink)
    return figure


def plot_adjacency(
    adjacency: Any,
    names: Sequence[str],
    *,
    title: str = "graph between modalities and regions",
    axes: Axes | None = None,
    theme: Theme = "light",
) -> Figure:
    """Draw a small adjacency matrix with its values written in the cells.

    Source: EVER, §3.3, eq. 12: stage 2 of BIH-GCN, with the nodes z_e, z_v and the brain regions.

    Args:
        adjacency: Weight from each node (column) to each node (row), ``(nodes, nodes)``.
        names: Node names, ``(nodes,)``.
        title: Title of the picture.
        axes: Where to draw; ``None`` makes a figure.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        The figure.

    Raises:
        ShapeError: If the matrix is not square or has another number of names.

    Example:
        >>> figure = plot_adjacency([[0.5, -0.5], [-0.5, 0.5]], ["z_e", "z_v"])
        >>> [text.get_text() for text in figure.axes[0].texts]
        ['0.50', '−0.50', '−0.50', '0.50']
    """
    matrix = _array("adjacency", adjacency, "nodes nodes")
    if matrix.shape[0] != matrix.shape[1] or len(names) != len(matrix):
        raise ShapeError(f"adjacency: expected square with {len(names)} names, got shape {matrix.shape}.")
    ink = _ink(theme)
    reach = max(float(np.abs(matrix).max()), 1e-6)
    with _style(ink):
        figure, axes = _canvas(axes, (5.0, 4.2))
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
        _colour_bar(figure, axes, picture, "normalised weight", ink)
    return figure


def plot_probabilities(
    starts: Sequence[float] | np.ndarray,
    probabilities: Any,
    classes: Sequence[str],
    *,
    window_seconds: float,
    kind: Literal["stacked", "lines"] = "stacked",
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
    values = _array("probabilities", probabilities, "windows classes")
    if values.shape != (len(starts), len(classes)):
        raise ShapeError(
            f"probabilities: expected ({len(starts)}, {len(classes)}) for the starts and classes, got {values.shape}."
        )
    if kind not in ("stacked", "lines"):
        raise ConfigError(f"kind: expected 'stacked' or 'lines', got {kind!r}.")
    ink = _ink(theme)
    times = np.asarray(starts, dtype=np.float64)
    step = float(np.diff(times).min()) if len(times) > 1 else window_seconds
    width = min(step, window_seconds) if step > 0 else window_seconds
    with _style(ink):
        figure, axes = _canvas(axes, (6.4, 2.7))
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
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.24), ncols=min(len(classes), 4), handlelength=1.0)
    return figure
