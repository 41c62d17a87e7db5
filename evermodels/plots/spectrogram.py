"""How much of which frequency there is, when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from evermodels import functional
from evermodels.core.errors import ConfigError, ShapeError
from evermodels.plots.results import (
    check_window,
    is_result,
    kept_input,
    montage_modality,
    needed,
    window_of,
    window_title,
)
from evermodels.plots.style import Theme, canvas, colour_field, finite_array, ink_of, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


_WRITTEN_HERTZ = (125, 250, 500, 1000, 2000, 4000, 8000)


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
        result, modality = eeg, montage_modality(eeg)
        if not modality:
            raise ConfigError("result: its model takes no EEG. Draw another picture.")
        spec: Any = result.input_spec.of(modality)
        windows = kept_input(result, modality)
        starts = result.starts if len(windows) == len(result.starts) else result.starts[[result.shown]]
        sfreq, ch_names = spec.sfreq, spec.ch_names if ch_names is None else ch_names
        start = float(starts.min()) if start is None else start
        eeg = stitch(windows, starts, spec.sfreq)
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
        visible = power[: max(1, round(min(1.0, max_hz / (sfreq / 2)) * len(power)))]
        limits = (float(visible.min()), float(visible.max()))
    with styled(ink):
        figure, axes = canvas(axes, (5.4, 2.8))
        extent = (start, start + signal.shape[1] / sfreq, 0.0, sfreq / 2)
        look: dict[str, Any] = {"origin": "lower", "interpolation": "bilinear", "limits": limits, "ink": ink}
        colour_field(figure, axes, power.numpy(), extent, label="log(1 + magnitude)", **look)
        axes.set_ylim(0.0, min(max_hz, sfreq / 2))
        axes.set_xlabel("time (s)")
        axes.set_ylabel("frequency (Hz)")
        axes.set_title(title)
    return figure


def plot_features(
    features: Any,
    seconds: float | None = None,
    *,
    names: Sequence[str] | None = None,
    hertz: Sequence[float] | None = None,
    label: str = "value",
    start: float = 0.0,
    modality: str | None = None,
    limits: tuple[float, float] | None = None,
    title: str = "",
    axes: Axes | None = None,
    theme: Theme = "light",
) -> Figure:
    """Draw features over time as colours: a log-mel spectrogram, or the energy of EEG bands.

    Args:
        features: Values, ``(time, features)``; a third axis, such as channels, is averaged. Or a result, of which the
            window is drawn that the model was surest of.
        seconds: Length in seconds.
        names: Names of the features, ``(features,)``; ``None`` for their numbers.
        hertz: Frequencies of the features, ``(features,)``, rising; some are written in place of numbers.
        label: What the colours mean.
        start: Time of the first step in seconds.
        modality: Which input of a result.
        limits: Values at the two ends of the colours; ``None`` for those that occur.
        title: Title of the picture.
        axes: Where to draw; ``None`` makes a figure.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        The figure.

    Raises:
        ConfigError: If ``seconds`` is not positive, a result is given without ``modality``, or it holds no such input.
        ShapeError: If ``features`` is not ``(time, features)`` or has another number of names or frequencies.

    Example:
        >>> import numpy as np
        >>> figure = plot_features(np.random.randn(50, 16), 1.0, label="log-mel")
        >>> figure.axes[0].images[0].get_array().shape
        (16, 50)
    """
    if is_result(features):
        title = title or window_title(features)
        features, seconds, start = window_of(features, modality)
    array = np.asarray(features)
    values = finite_array("features", array.mean(axis=2) if array.ndim == 3 else array, "time features")
    seconds = check_window(seconds, names, values.shape[1], "feature")
    limits = limits or (float(values.min()), float(values.max()))
    ink = ink_of(theme)
    with styled(ink):
        figure, axes = canvas(axes, (5.4, 2.8))
        extent = (start, start + seconds, 0.0, float(values.shape[1]))
        colour_field(figure, axes, values.T, extent, label=label, limits=limits, ink=ink, origin="lower")
        if names is not None:
            axes.set_yticks(np.arange(len(names)) + 0.5, labels=list(names))
            axes.tick_params(axis="y", length=0)
        elif hertz is not None:
            _write_hertz(axes, finite_array("hertz", hertz, "features"), values.shape[1])
        axes.set_xlabel("time (s)")
        axes.set_title(title)
    return figure


def _write_hertz(axes: Axes, hertz: np.ndarray, count: int) -> None:
    if len(hertz) != count:
        raise ShapeError(f"hertz: expected one per feature ({count}), got {len(hertz)}.")
    shown = [f for f in _WRITTEN_HERTZ if hertz[0] <= f <= hertz[-1]]
    axes.set_yticks(np.interp(shown, hertz, np.arange(count) + 0.5), labels=[f"{f:,}" for f in shown])
    axes.set_ylabel("frequency (Hz)")
