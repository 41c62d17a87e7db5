"""Which picture belongs to which kind of attention, and to which kind of input."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from evermodels.core.errors import ConfigError
from evermodels.functional.log_mel import mel_centres
from evermodels.plots.adjacency import plot_adjacency
from evermodels.plots.frames import plot_frames
from evermodels.plots.head import plot_region_attention
from evermodels.plots.probabilities import plot_modality_attention, plot_probabilities
from evermodels.plots.regions import plot_region_shares
from evermodels.plots.results import Result, surest_window, window_title
from evermodels.plots.spectrogram import plot_features, plot_spectrogram
from evermodels.plots.time import plot_time_attention
from evermodels.plots.traces import plot_traces

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Picture(NamedTuple):
    """One way to draw a part of a result.

    Args:
        heading: What it shows, in a few words.
        text: How to read it, for any model.
        draw: Draws a result, given which attention or which input of it; further arguments are those of the function of
            :mod:`evermodels.plots` that does the work.
        one_scale: Whether its colours stand for amounts, so that several results need the same ``limits``.
        of_window: Whether it shows one window only, the one that the model was surest of.
    """

    heading: str
    text: str
    draw: Callable[..., Figure]
    one_scale: bool = False
    of_window: bool = False


def _graph(result: Result, kind: str, *, limits: tuple[float, float] | None = None, **settings: Any) -> Figure:
    reach = None if limits is None else max(map(abs, limits))
    return plot_adjacency(result, kind=kind, **{"reach": reach, **settings})


def _window(result: Result, settings: Mapping[str, Any]) -> dict[str, Any]:
    start = float(result.starts[result.shown])
    return {"seconds": result.window_seconds, "start": start, "title": window_title(result), **settings}


def _channels(result: Result, modality: str, **settings: Any) -> Figure:
    spec: Any = result.input_spec.of(modality)
    raw = not spec.whiten and spec.scale == "none"
    given = {"names": spec.ch_names, "unit": "µV" if raw else "", **_window(result, settings)}
    return plot_traces(surest_window(result, modality), **given)


def _waveform(result: Result, modality: str, **settings: Any) -> Figure:
    return plot_traces(surest_window(result, modality)[None], **{"names": [""], **_window(result, settings)})


def _rows(result: Result, modality: str, **settings: Any) -> Figure:
    spec: Any = result.input_spec.of(modality)
    values = surest_window(result, modality)
    named = [names for names in (spec.features, spec.channels) if len(names) == values.shape[1]]
    given = {"names": named[0] if named else None, "one_scale": False, **_window(result, settings)}
    return plot_traces(values.T, **given)


def _bands(result: Result, modality: str, **settings: Any) -> Figure:
    spec: Any = result.input_spec.of(modality)
    names = [f"{low:g}\N{EN DASH}{high:g} Hz" for low, high in spec.features.bands]
    given = {"names": names, "label": spec.features.kind.replace("_", " "), **_window(result, settings)}
    return plot_features(surest_window(result, modality), **given)


def _log_mel(result: Result, modality: str, **settings: Any) -> Figure:
    spec: Any = result.input_spec.of(modality)
    top = spec.sfreq / 2 if spec.f_max is None else spec.f_max
    hertz = mel_centres(spec.n_mels, spec.f_min, top).tolist()
    given = {"label": "log-mel", "hertz": hertz, **_window(result, settings)}
    return plot_features(surest_window(result, modality), **given)


_SUREST = "The window that the model was surest of"
_CELLS = "Each cell says how much one node (column) takes part in another (row). Mean over the windows."

ATTENTION: dict[str, Picture] = {
    "region_share": Picture(
        "How much each brain region counted",
        "Each region's part of all that reaches the answer, not scaled; the rest came by other ways. Mean over the "
        "windows.",
        lambda result, kind, limits=None, **settings: plot_region_shares(result, kind=kind, **settings),
    ),
    "channels": Picture(
        "Which electrodes counted",
        "Attention of each electrode among those of its region, times the region's weight where the model has one; 1 "
        "is an equal share, 2 twice as much. Mean over the windows; seen from above, the nose points up; the colours "
        "between electrodes are interpolated.",
        lambda result, kind, **settings: plot_region_attention(result, **settings),
        one_scale=True,
    ),
    "regions": Picture(
        "How the brain regions compare",
        "Weight of each region among the regions: scaled to a sum of 100 %, so it says nothing on how much they count.",
        lambda result, kind, limits=None, **settings: plot_region_shares(result, kind=kind, **settings),
    ),
    "modalities": Picture(
        "Which modality counted",
        "Weight of each modality in each window; one that was absent has none.",
        lambda result, kind, limits=None, **settings: plot_modality_attention(result, **settings),
    ),
    "frames": Picture(
        "Which frames counted",
        "Weight of each frame of each window; 1 is an equal share, 2 twice as much.",
        lambda result, kind, **settings: plot_time_attention(result, kind=kind, **settings),
        one_scale=True,
    ),
    "time": Picture(
        "When it looked",
        "Weight of each moment of each window; 1 is an equal share, 2 twice as much.",
        lambda result, kind, **settings: plot_time_attention(result, kind=kind, **settings),
        one_scale=True,
    ),
    "adjacency_region": Picture("How modalities and regions are joined", _CELLS, _graph, one_scale=True),
    "adjacency_local": Picture("How electrodes are joined", _CELLS, _graph, one_scale=True),
    "adjacency_*": Picture("How its nodes are joined", _CELLS, _graph, one_scale=True),
}
"""The picture of each kind of attention (:data:`evermodels.core.outputs.ATTENTION`), in the order of a page."""

INPUTS: dict[str, tuple[Picture, ...]] = {
    "eeg": (
        Picture("the signals", "The channels of the window that the model was surest of.", _channels, of_window=True),
        Picture(
            "how much of which rhythm, when",
            "Log spectrogram in windows of one second, the mean over channels. Below 4 Hz lies delta, from 4 to 8 "
            "theta, from 8 to 13 alpha, above that beta.",
            lambda result, modality, **settings: plot_spectrogram(result, **settings),
            one_scale=True,
        ),
    ),
    "features": (Picture("energy by band", f"{_SUREST}; mean over channels.", _bands, one_scale=True, of_window=True),),
    "video": (
        Picture(
            "the frames used",
            "The frames of one window as the model receives them, in their order.",
            lambda result, modality, **settings: plot_frames(result, modality=modality, **settings),
            of_window=True,
        ),
    ),
    "log_mel": (Picture("log-mel spectrogram", f"{_SUREST}.", _log_mel, one_scale=True, of_window=True),),
    "waveform": (Picture("waveform", f"{_SUREST}.", _waveform, of_window=True),),
    "eye": (Picture("over time", f"{_SUREST}; each row on a scale of its own.", _rows, of_window=True),),
}
"""The pictures of each kind of input (:data:`evermodels.core.kinds.KINDS`) that recordings give, in a page's order."""


def attention_picture(kind: str) -> Picture | None:
    """Return the picture of a kind of attention, or ``None`` where the house has none.

    Args:
        kind: Its name, such as ``"channels"`` or ``"adjacency_region"``.

    Example:
        >>> attention_picture("adjacency_region").heading
        'How modalities and regions are joined'
    """
    return ATTENTION.get("adjacency_*" if kind.startswith("adjacency_") and kind not in ATTENTION else kind)


def plot_result(result: Result, picture: str = "probabilities", **settings: Any) -> Figure:
    """Draw a picture of a result.

    Args:
        result: The result.
        picture: ``"probabilities"`` over time; a kind of attention that it holds, such as ``"channels"``; a modality
            whose input it holds, such as ``"eeg"``; or ``"spectrogram"``.
        **settings: Further arguments of the function of :mod:`evermodels.plots` that draws it.

    Returns:
        The figure.

    Raises:
        ConfigError: If there is no such picture, or the result holds nothing for it.

    Example:
        >>> import numpy as np
        >>> from evermodels.recognition import Recognition
        >>> result = Recognition("m", np.array([0.0]), 5.0, np.array([[0.25, 0.75]]), ("calm", "tense"))
        >>> plot_result(result).axes[0].get_ylabel()
        'probability'
    """
    if picture == "probabilities":
        return plot_probabilities(result, **settings)
    if picture == "spectrogram":
        return plot_spectrogram(result, **settings)
    if picture in result.input_spec.modalities:
        return INPUTS[result.input_spec.of(picture).kind][0].draw(result, picture, **settings)
    drawn = attention_picture(picture)
    if drawn is None:
        there = ["probabilities", "spectrogram", *result.input_spec.modalities, *result.attention]
        raise ConfigError(f"picture: expected one of {', '.join(map(repr, there))}, got {picture!r}.")
    return drawn.draw(result, picture, **settings)
