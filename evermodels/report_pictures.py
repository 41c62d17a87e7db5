"""The pictures of the page, each in a light and a dark version inside the file."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from evermodels import plots
from evermodels.plots.attention import NEXT_TO_NOTHING
from evermodels.recognition import Recognition

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Drawing: TypeAlias = "Callable[[plots.Theme], Figure]"

_WHITENED = (
    " Each channel was divided by the person's own spectrum first, that of {}: bright is more than there, dark is less."
)


def pictures(parts: Mapping[str, Recognition], notes: Mapping[str, str]) -> list[str]:
    """Return the sections with pictures of what was read and what was weighed; those without data are left out.

    Args:
        parts: The results by heading.
        notes: Other sentences under the headings, by section.
    """
    first = next(iter(parts.values()))
    return [
        _section(
            "EEG: how much of which rhythm, when",
            notes.get("spectrogram")
            or "Log spectrogram in windows of one second, the mean over channels; the EEG encoder receives one of each "
            "channel. Below 4 Hz lies delta, from 4 to 8 theta, from 8 to 13 alpha, above that beta."
            + _whitened(first),
            _spectrograms(parts),
        ),
        _section(
            "Face: the frames used",
            notes.get("frames") or "The frames of one window as the video encoder receives them, in their order.",
            _frames(parts),
        ),
        _attention(parts, notes.get("attention")),
        _section(
            "How EEG, face and regions are joined",
            notes.get("graph")
            or "The graph of the second stage: each cell says how much one node (column) takes part in another (row). "
            "z_e is the EEG encoder's embedding, z_v the face encoder's. Mean over the windows.",
            _graphs(parts),
        ),
    ]


def figures(heading: str, drawings: Mapping[str, Drawing]) -> str:
    """Return pictures side by side.

    Args:
        heading: What they show, for those who cannot see them.
        drawings: What draws each, by caption.
    """
    return grid(
        [
            "<figure>"
            + (f"<figcaption>{escape(name)}</figcaption>" if name else "")
            + _picture(draw, f"{heading}: {name}" if name else heading)
            + "</figure>"
            for name, draw in drawings.items()
        ]
    )


def grid(pieces: Sequence[str]) -> str:
    """Return pieces of HTML side by side where there is room.

    Args:
        pieces: The pieces.
    """
    return f"<div class='parts{' one' if len(pieces) == 1 else ''}'>" + "".join(pieces) + "</div>"


def timelines(parts: Mapping[str, Recognition]) -> dict[str, Drawing]:
    """Return what draws the probabilities over time.

    Args:
        parts: The results by heading.
    """

    def drawing(result: Recognition) -> Drawing:
        return lambda theme: plots.plot_probabilities(result, title="", legend=False, theme=theme)

    return {name: drawing(result) for name, result in parts.items()}


def _whitened(result: Recognition) -> str:
    eeg = result.input_spec.eeg
    if eeg is None or not result.against:
        return ""
    against = {"itself": "this very recording", "baseline": f"a baseline of {eeg.baseline}"}
    return _WHITENED.format(against.get(result.against, "recordings in all states"))


def _section(heading: str, text: str, drawings: Mapping[str, Drawing]) -> str:
    if not drawings:
        return ""
    return (
        f"<section><h2>{escape(heading)}</h2><p class='lead'>{escape(text)}</p>{figures(heading, drawings)}</section>"
    )


def _picture(draw: Drawing, alt: str) -> str:
    light, dark = _png(draw("light")), _png(draw("dark"))
    return (
        f"<picture><source media='(prefers-color-scheme: dark)' srcset='{dark}'>"
        f"<img src='{light}' alt='{escape(alt, quote=True)}'></picture>"
    )


def _png(figure: Figure) -> str:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def _on_one_scale(
    parts: Mapping[str, Recognition],
    drawing: Callable[[Recognition, tuple[float, float] | None], Drawing],
) -> dict[str, Drawing]:
    """Give the pictures of all parts one scale of colours: otherwise they could not be compared."""
    limits: tuple[float, float] | None = None
    if len(parts) > 1:
        ends = [drawing(result, None)("light").axes[0].images[0].get_clim() for result in parts.values()]
        limits = min(low for low, _ in ends), max(high for _, high in ends)
    return {name: drawing(result, limits) for name, result in parts.items()}


def _spectrograms(parts: Mapping[str, Recognition]) -> dict[str, Drawing]:
    def drawing(result: Recognition, limits: tuple[float, float] | None) -> Drawing:
        return lambda theme: plots.plot_spectrogram(result, title="", limits=limits, theme=theme)

    return _on_one_scale({name: result for name, result in parts.items() if "eeg" in result.inputs}, drawing)


def _frames(parts: Mapping[str, Recognition]) -> dict[str, Drawing]:
    def drawing(result: Recognition) -> Drawing:
        return lambda theme: plots.plot_frames(result, theme=theme)

    return {name: drawing(result) for name, result in parts.items() if "video" in result.inputs}


def _attention(parts: Mapping[str, Recognition], note: str | None) -> str:
    """Return maps of the head, or the plain sentence that the regions carry next to nothing."""
    chosen = {n: r for n, r in parts.items() if "eeg" in r.inputs and "channels" in r.attention and r.regions}
    shares = {name: _region_share(result) for name, result in chosen.items()}
    if chosen and all(share is not None and share.sum() < NEXT_TO_NOTHING for share in shares.values()):
        return _next_to_nothing(chosen, {name: share for name, share in shares.items() if share is not None})
    heading = "Which electrodes counted"
    text = note or (
        "Attention of each electrode among those of its region, times the region's weight; 1 is an equal share, "
        "2 twice as much. Mean over the windows; seen from above, the nose points up; the colours between "
        "electrodes are interpolated."
    )
    for name, share in shares.items():
        if share is not None:
            said = plots.describe_region_share(share)
            text += f" {name}: {said}." if name else f" {said[:1].upper()}{said[1:]}."

    def drawing(result: Recognition, limits: tuple[float, float] | None) -> Drawing:
        return lambda theme: plots.plot_region_attention(result, title="", limits=limits, theme=theme)

    return _section(heading, text, _on_one_scale(chosen, drawing))


def _region_share(result: Recognition) -> np.ndarray | None:
    """Return how much of the answer came through each region, the mean over windows with EEG, not scaled."""
    share = result.attention.get("region_share")
    if share is None or not result.present["eeg"].any():
        return None
    mean: np.ndarray = share[result.present["eeg"]].mean(axis=0)
    return mean


def _next_to_nothing(chosen: Mapping[str, Recognition], shares: Mapping[str, np.ndarray]) -> str:
    tiles = []
    for name, result in chosen.items():
        rows = "".join(
            f"<div class='bar-row'><span>{escape(region)}</span><span class='bar'>"
            f"<i style='width:{100 * share:.2f}%;background:var(--accent)'></i></span>"
            f"<span class='num'>{100 * share:.1f} %</span></div>"
            for region, share in zip(result.regions, shares[name], strict=True)
        )
        tiles.append(f"<div class='tile'>{f'<h3 class=soft>{escape(name)}</h3>' if name else ''}{rows}</div>")
    most = max(float(share.sum()) for share in shares.values())
    return (
        "<section><h2>Which electrodes counted</h2><p class='lead'>In this model the brain regions carry almost "
        f"nothing: together no more than {most:.1%} of what reaches the answer came through them, the rest through the "
        "embeddings of EEG and face as a whole. A map of the head would show differences within that remainder only, "
        "and is left out. Each region's part of the answer, on a scale from 0 to 100 %:</p>"
        f"{grid(tiles)}</section>"
    )


def _graphs(parts: Mapping[str, Recognition]) -> dict[str, Drawing]:
    def drawing(result: Recognition) -> Drawing:
        return lambda theme: plots.plot_adjacency(result, title="", reach=reach, theme=theme)

    def matrix(result: Recognition) -> np.ndarray:
        return result.attention["adjacency_region"].mean(axis=0)

    chosen = {
        name: result
        for name, result in parts.items()
        if "adjacency_region" in result.attention and len(matrix(result)) == 2 + len(result.regions)
    }
    reach = max((float(np.abs(matrix(result)).max()) for result in chosen.values()), default=None)
    return {name: drawing(result) for name, result in chosen.items()}
