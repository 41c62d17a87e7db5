"""What a model read: spectrogram and frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from evermodels import functional
from evermodels.core.errors import ConfigError, ShapeError
from evermodels.plots.results import is_result, kept_input, needed
from evermodels.plots.style import Theme, bare, canvas, colour_bar, finite_array, ink_of, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


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
    array = finite_array("windows", windows, "windows channels time")
    if len(starts) != len(array):
        raise ShapeError(f"starts: expected one per window ({len(array)}), got {len(starts)}.")
    first = [round((float(s) - float(min(starts))) * sfreq) for s in starts]
    line = np.zeros((array.shape[1], max(first) + array.shape[2]))
    for offset, window in zip(first, array, strict=True):
        line[:, offset : offset + array.shape[2]] = window
    return line


def plot_spectrogram(
    eeg: Any,
    sfreq: float | None = None,
    *,
    channel: int | None = None,
    ch_names: Sequence[str] | None = None,
    n_fft: int | None = None,
    max_hz: float = 45.0,
    start: float | None = None,
    limits: tuple[float, float] | None = None,
    title: str | None = None,
    axes: Axes | None = None,
    theme: Theme = "light",
) -> Figure:
    """Draw the log spectrogram of an EEG stretch, the mean over channels or one channel.

    Source: EVER, §3.1, eq. 2-3; the values are those of :func:`evermodels.functional.log_spectrogram` before resizing.

    Args:
        eeg: EEG in µV, ``(channels, time)``; or a result, of which all windows are drawn on one line.
        sfreq: Sampling rate in Hz.
        channel: Index of the channel to draw; ``None`` for the mean over channels.
        ch_names: Channel names, for the title.
        n_fft: Length of the Fourier window in samples; ``None`` for about one second.
        max_hz: Upper end of the frequency axis in Hz.
        start: Time of the first sample in seconds (default 0, or where the first window of a result begins).
        limits: Values at the two ends of the colours; ``None`` for those that occur below ``max_hz``.
        title: Title of the picture; ``None`` for the channel's name.
        axes: Where to draw; ``None`` makes a figure.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        The figure.

    Raises:
        ShapeError: If ``eeg`` is not ``(channels, time)`` or not finite.
        ConfigError: If ``channel`` does not exist, or a result holds no EEG.

    Example:
        >>> import numpy as np
        >>> figure = plot_spectrogram(np.random.randn(4, 1000), sfreq=200.0)
        >>> figure.axes[0].get_xlabel()
        'time (s)'
    """
    if is_result(eeg):
        result, spec = eeg, eeg.input_spec.eeg
        sfreq = sfreq if spec is None else spec.sfreq
        start = float(result.starts.min()) if start is None else start
        ch_names = ch_names if ch_names is not None or spec is None else spec.ch_names
        eeg = stitch(kept_input(result, "eeg"), result.starts, needed("sfreq", sfreq))
    sfreq, start = float(needed("sfreq", sfreq)), start or 0.0
    signal = finite_array("eeg", eeg, "channels time")
    if channel is not None and not 0 <= channel < len(signal):
        raise ConfigError(f"channel: expected 0..{len(signal) - 1}, got {channel!r}.")
    ink = ink_of(theme)
    n_fft = n_fft or max(2, round(sfreq))
    tensor = torch.as_tensor(signal, dtype=torch.float32).unsqueeze(0)
    power = functional.log_spectrogram(tensor, n_fft)[0]
    power = power.mean(0) if channel is None else power[channel]
    if title is None:
        name = str(channel) if channel is None or ch_names is None else ch_names[channel]
        title = f"mean of {len(signal)} channels" if channel is None else f"channel {name}"
    if limits is None:
        shown = power[: max(1, round(min(1.0, max_hz / (sfreq / 2)) * len(power)))]
        limits = (float(shown.min()), float(shown.max()))
    with styled(ink):
        figure, axes = canvas(axes, (6.4, 3.0))
        picture = axes.imshow(
            power.numpy(),
            origin="lower",
            aspect="auto",
            cmap="viridis",
            interpolation="bilinear",
            vmin=limits[0],
            vmax=limits[1],
            extent=(start, start + signal.shape[1] / sfreq, 0.0, sfreq / 2),
        )
        axes.set_ylim(0.0, min(max_hz, sfreq / 2))
        axes.set_xlabel("time (s)")
        axes.set_ylabel("frequency (Hz)")
        axes.set_title(title)
        colour_bar(figure, axes, picture, "log(1 + magnitude)", ink)
    return figure


def plot_frames(
    frames: Any,
    *,
    columns: int = 8,
    seconds: Sequence[float] | None = None,
    title: str | None = None,
    axes: Axes | None = None,
    theme: Theme = "light",
) -> Figure:
    """Draw the frames of one clip in reading order.

    Args:
        frames: Pictures with values in 0..1 (or 0..255 for whole numbers), ``(frames, 3, height, width)``; or a result,
            of which the frames of the window that the model was surest of are drawn.
        columns: Pictures per row.
        seconds: Time of each frame in seconds, written below it; ``None`` writes the frame's number.
        title: Title of the picture; ``None`` for ``"frames used"``, or a result's window.
        axes: Where to draw; ``None`` makes a figure.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        The figure.

    Raises:
        ConfigError: If a result holds no frames.
        ShapeError: If ``frames`` is not ``(frames, 3, height, width)``, or ``seconds`` has another length.

    Example:
        >>> import numpy as np
        >>> len(plot_frames(np.zeros((4, 3, 8, 8)), columns=2).axes[0].images)
        4
    """
    if is_result(frames):
        first = float(frames.starts[frames.shown])
        title = f"window {first:.1f}\N{EN DASH}{first + frames.window_seconds:.1f} s" if title is None else title
        frames = kept_input(frames, "video")[0]
    title = "frames used" if title is None else title
    whole = np.issubdtype(np.asarray(frames).dtype, np.integer)
    pictures = finite_array("frames", frames, "frames colours height width")
    if pictures.shape[1] != 3:
        raise ShapeError(f"frames: expected 3 colours along axis 1, got {pictures.shape[1]} (shape {pictures.shape}).")
    if seconds is not None and len(seconds) != len(pictures):
        raise ShapeError(f"seconds: expected one per frame ({len(pictures)}), got {len(seconds)}.")
    pictures = np.clip(pictures / 255.0 if whole else pictures, 0.0, 1.0).transpose(0, 2, 3, 1)
    ink = ink_of(theme)
    columns = max(1, min(columns, len(pictures)))
    rows = -(-len(pictures) // columns)
    height, width = pictures.shape[1:3]
    gap, below = 0.04 * width, 0.2 * width
    with styled(ink):
        figure, axes = canvas(axes, (0.82 * columns, (0.82 * height / width + 0.17) * rows + (0.35 if title else 0.05)))
        for i, picture in enumerate(pictures):
            x, y = i % columns * (width + gap), i // columns * (height + below)
            axes.imshow(picture, interpolation="nearest", extent=(x, x + width, y + height, y))
            caption = f"{i + 1}" if seconds is None else f"{seconds[i]:.2f} s"
            axes.annotate(
                caption,
                (x + width / 2, y + height + 0.09 * width),
                ha="center",
                va="center",
                fontsize=7.5,
                color=ink.soft,
            )
        axes.set_xlim(0, columns * (width + gap) - gap)
        axes.set_ylim(rows * (height + below), 0)
        axes.set_aspect("equal")
        bare(axes)
        axes.set_title(title)
    return figure
