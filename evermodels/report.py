"""One self-contained HTML page about a recognition: result, pictures, facts of the model, limits, attribution."""

from __future__ import annotations

import base64
import contextlib
import io
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evermodels import __version__, plots
from evermodels.core.errors import ConfigError
from evermodels.plots import CLASS_COLOURS
from evermodels.recognizer import Recognition
from evermodels.samples import Source

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["LIMITS", "check_target", "render_report", "write_report", "write_whole"]

MOST_ROWS = 300

LIMITS = (
    "It is not a medical device, and not a test of anybody's mood, health, honesty or ability.",
    "A probability is the model's share for a class among those that it knows; it is not calibrated for other people, "
    "headsets, cameras or tasks than those of its training data.",
    "Attention shows what the model weighed, not what a brain region does, nor why a person felt something.",
)
"""What every page says it is not."""

_WHITENED = (
    " Each channel was divided by the person's own spectrum first, that of {}: bright is more than there, dark is less."
)


def _whitened(result: Recognition) -> str:
    eeg = result.input_spec.eeg
    if eeg is None or not result.against:
        return ""
    against = {"itself": "this very recording", "baseline": f"a baseline of {eeg.baseline}"}
    return _WHITENED.format(against.get(result.against, "recordings in all states"))


def write_report(
    recognition: Recognition | Mapping[str, Recognition],
    path: str | os.PathLike[str],
    *,
    title: str = "What the model saw",
    intro: str = "",
    truth: Mapping[str, str] | None = None,
    notes: Mapping[str, str] | None = None,
    limits: Sequence[str] = (),
    sources: Sequence[Source] = (),
) -> Path:
    """Write one HTML file that needs nothing else: no network, no other file.

    Args:
        recognition: The result, or several by heading, which are shown side by side.
        path: Where the page goes; it is complete or it is not there.
        title: Title of the page.
        intro: What this page is about, one paragraph.
        truth: The class that a part was recorded as, by its heading, where it is known.
        notes: A sentence under a section's heading: ``"spectrogram"``, ``"frames"``, ``"attention"``, ``"graph"``.
        limits: Sentences added to :data:`LIMITS`.
        sources: Whose recordings these are.

    Returns:
        The path.

    Raises:
        ConfigError: If there is no recognition, or the file cannot be written.
        MissingExtraError: If matplotlib is absent.
    """
    page = render_report(
        recognition, title=title, intro=intro, truth=truth, notes=notes, limits=limits, sources=sources
    )
    return write_whole(path, page)


def check_target(path: str | os.PathLike[str], name: str) -> Path:
    """Return the path of a file that is to be written, after a look at its folder.

    Args:
        path: Where the file goes.
        name: The argument's name, for the message.

    Raises:
        ConfigError: If its folder does not exist, or it is a folder itself.
    """
    target = Path(path)
    if not target.absolute().parent.is_dir():
        raise ConfigError(f"{name}: the folder of {str(target)!r} does not exist. Make it first.")
    if target.is_dir():
        raise ConfigError(f"{name}: {str(target)!r} is a folder. Give the name of a file in it.")
    return target


def write_whole(path: str | os.PathLike[str], text: str) -> Path:
    """Write a text file so that it is complete or untouched.

    Args:
        path: Where it goes.
        text: Its content.

    Returns:
        The path.

    Raises:
        ConfigError: If it cannot be written.
    """
    target = check_target(path, "path")
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="") as stream:
                stream.write(text)
            # mkstemp makes files that only their owner may read; a page is to be shown around.
            umask = os.umask(0)
            os.umask(umask)
            Path(name).chmod(0o666 & ~umask)
            Path(name).replace(target)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(name).unlink()
            raise
    except OSError as error:
        raise ConfigError(
            f"path: {str(target)!r} cannot be written ({error.strerror or error}). Give a file in a folder that exists."
        ) from error
    return target


def render_report(
    recognition: Recognition | Mapping[str, Recognition],
    *,
    title: str = "What the model saw",
    intro: str = "",
    truth: Mapping[str, str] | None = None,
    notes: Mapping[str, str] | None = None,
    limits: Sequence[str] = (),
    sources: Sequence[Source] = (),
) -> str:
    """Return the page that :func:`write_report` writes, as text; the arguments are the same.

    Raises:
        ConfigError: If there is no recognition.
        MissingExtraError: If matplotlib is absent.
    """
    parts = dict(recognition) if isinstance(recognition, Mapping) else {"": recognition}
    if not parts:
        raise ConfigError("recognition: expected at least one, got none.")
    first, notes = next(iter(parts.values())), dict(notes or {})
    body = [
        f"<header><h1>{escape(title)}</h1><p class='soft'>model <code>{escape(first.model)}</code> · "
        f"{sum(len(r) for r in parts.values())} windows of {first.window_seconds:g} s</p>"
        + (f"<p class='lead'>{escape(intro)}</p>" if intro else "")
        + "</header>",
        _results(parts, dict(truth or {})),
        _pictures(
            "EEG: how much of which rhythm, when",
            notes.get("spectrogram")
            or "Log spectrogram in windows of one second, the mean over channels; the EEG encoder receives one of each "
            "channel. Below 4 Hz lies delta, from 4 to 8 theta, from 8 to 13 alpha, above that beta."
            + _whitened(first),
            _spectrograms(parts),
        ),
        _pictures(
            "Face: the frames used",
            notes.get("frames") or "The frames of one window as the video encoder receives them, in their order.",
            _frames(parts),
        ),
        _pictures(
            "Which electrodes counted",
            notes.get("attention")
            or "Attention of each electrode among those of its region, times the region's weight; 1 is an equal share, "
            "2 twice as much. Mean over the windows; seen from above, the nose points up; the colours between "
            "electrodes are interpolated.",
            _heads(parts),
        ),
        _pictures(
            "How EEG, face and regions are joined",
            notes.get("graph")
            or "The graph of the second stage: each cell says how much one node (column) takes part in another (row). "
            "z_e is the EEG encoder's embedding, z_v the face encoder's. Mean over the windows.",
            _graphs(parts),
        ),
        _facts(first.facts, first),
        _limits([*LIMITS, *first.facts.get("not_this", ()), *limits]),
        _sources(sources),
    ]
    css = (Path(__file__).parent / "report.css").read_text(encoding="utf-8")
    return (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{escape(title)}</title><style>\n{css}</style></head>\n<body><main>\n"
        + "\n".join(piece for piece in body if piece)
        + f"\n<footer>Written by evermodels {escape(__version__)}. This page loads nothing from anywhere.</footer>"
        "\n</main></body></html>\n"
    )


def _colour(k: int) -> str:
    return CLASS_COLOURS[k % len(CLASS_COLOURS)]


def _grid(pieces: Sequence[str]) -> str:
    return f"<div class='parts{' one' if len(pieces) == 1 else ''}'>" + "".join(pieces) + "</div>"


def _results(parts: Mapping[str, Recognition], truth: Mapping[str, str]) -> str:
    tiles = [_tile(name, result, truth.get(name)) for name, result in parts.items()]
    first = next(iter(parts.values()))
    legend = "".join(
        f"<span><i style='background:{_colour(k)}'></i>{escape(name)}</span>" for k, name in enumerate(first.classes)
    )
    tables = "".join(
        (f"<h3>{escape(name)}</h3>" if name else "") + _table(result, truth.get(name)) for name, result in parts.items()
    )
    return (
        "<section><h2>Result</h2><p class='soft'>Mean probability over the windows, then each window.</p>"
        f"{_grid(tiles)}<div class='legend'>{legend}</div>"
        f"{_figures('Probability of each class over time', _timelines(parts))}{tables}</section>"
    )


def _tile(name: str, result: Recognition, truth: str | None) -> str:
    mean = result.probabilities.mean(axis=0)
    bars = "".join(
        f"<div class='bar-row'><span>{escape(label)}</span>"
        f"<span class='bar'><i style='width:{100 * p:.1f}%;background:{_colour(k)}'></i></span>"
        f"<span class='num'>{100 * p:.0f} %</span></div>"
        for k, (label, p) in enumerate(zip(result.classes, mean, strict=True))
    )
    tag = ""
    if truth is not None:
        hits = sum(row["top"] == truth for row in result.to_table())
        kind = "hit" if result.top.label == truth else "miss"
        tag = (
            f"<p><span class='tag {kind}'>recorded as {escape(truth)}</span> "
            f"<span class='soft'>{hits} of {len(result)} windows agree</span></p>"
        )
    heading = f"<h3 class='soft'>{escape(name)}</h3>" if name else ""
    return f"<div class='tile'>{heading}<div class='top'>{escape(result.top.label)}</div>{tag}{bars}</div>"


def _table(result: Recognition, truth: str | None) -> str:
    head = "".join(f"<th class='num'>{escape(name)}</th>" for name in result.classes)
    rows = []
    for row in result.to_table()[:MOST_ROWS]:
        values = [row[name] for name in result.classes]
        stack = "".join(f"<i style='width:{100 * p:.2f}%;background:{_colour(k)}'></i>" for k, p in enumerate(values))
        cells = "".join(
            f"<td class='num{' best' if name == row['top'] else ''}'>{p:.2f}</td>"
            for name, p in zip(result.classes, values, strict=True)
        )
        mark = "" if truth is None else (" ✓" if row["top"] == truth else "")
        rows.append(
            f"<tr><td class='num'>{row['start']:.1f}\N{EN DASH}{row['stop']:.1f} s</td>"
            f"<td class='wide'><div class='stack'>{stack}</div></td>{cells}<td>{escape(row['top'])}{mark}</td></tr>"
        )
    left = len(result) - MOST_ROWS
    more = f"<p class='soft'>{left} more windows are left out here.</p>" if left > 0 else ""
    return (
        "<div class='scroll'><table><thead><tr><th class='num'>window</th><th>probabilities</th>"
        f"{head}<th>most probable</th></tr></thead><tbody>{''.join(rows)}</tbody></table></div>{more}"
    )


def _pictures(heading: str, text: str, pictures: Mapping[str, Callable[[plots.Theme], Figure]]) -> str:
    if not pictures:
        return ""
    return (
        f"<section><h2>{escape(heading)}</h2><p class='lead'>{escape(text)}</p>{_figures(heading, pictures)}</section>"
    )


def _figures(heading: str, pictures: Mapping[str, Callable[[plots.Theme], Figure]]) -> str:
    return _grid(
        [
            "<figure>"
            + (f"<figcaption>{escape(name)}</figcaption>" if name else "")
            + _picture(draw, f"{heading}: {name}" if name else heading)
            + "</figure>"
            for name, draw in pictures.items()
        ]
    )


def _picture(draw: Callable[[plots.Theme], Figure], alt: str) -> str:
    light, dark = _png(draw("light")), _png(draw("dark"))
    return (
        f"<picture><source media='(prefers-color-scheme: dark)' srcset='{dark}'>"
        f"<img src='{light}' alt='{escape(alt, quote=True)}'></picture>"
    )


def _png(figure: Figure) -> str:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def _timelines(parts: Mapping[str, Recognition]) -> dict[str, Callable[[plots.Theme], Figure]]:
    def drawing(result: Recognition) -> Callable[[plots.Theme], Figure]:
        return lambda theme: plots.plot_probabilities(
            result.starts,
            result.probabilities,
            result.classes,
            window_seconds=result.window_seconds,
            title="",
            legend=False,
            theme=theme,
        )

    return {name: drawing(result) for name, result in parts.items()}


def _on_one_scale(
    parts: Mapping[str, Recognition],
    drawing: Callable[[Recognition, tuple[float, float] | None], Callable[[plots.Theme], Figure]],
) -> dict[str, Callable[[plots.Theme], Figure]]:
    """Give the pictures of all parts one scale of colours: otherwise they could not be compared."""
    limits: tuple[float, float] | None = None
    if len(parts) > 1:
        ends = [drawing(result, None)("light").axes[0].images[0].get_clim() for result in parts.values()]
        limits = min(low for low, _ in ends), max(high for _, high in ends)
    return {name: drawing(result, limits) for name, result in parts.items()}


def _spectrograms(parts: Mapping[str, Recognition]) -> dict[str, Callable[[plots.Theme], Figure]]:
    def drawing(result: Recognition, limits: tuple[float, float] | None) -> Callable[[plots.Theme], Figure]:
        spec = result.input_spec.eeg
        assert spec is not None  # a result with EEG came from a model that takes EEG
        line = plots.stitch(result.inputs["eeg"], result.starts, spec.sfreq)
        first = float(result.starts.min())
        return lambda theme: plots.plot_spectrogram(line, spec.sfreq, start=first, title="", limits=limits, theme=theme)

    return _on_one_scale({name: result for name, result in parts.items() if "eeg" in result.inputs}, drawing)


def _frames(parts: Mapping[str, Recognition]) -> dict[str, Callable[[plots.Theme], Figure]]:
    def drawing(result: Recognition) -> Callable[[plots.Theme], Figure]:
        start = float(result.starts[result.shown])
        title = f"window {start:.1f}\N{EN DASH}{start + result.window_seconds:.1f} s"
        return lambda theme: plots.plot_frames(result.inputs["video"][0], title=title, theme=theme)

    return {name: drawing(result) for name, result in parts.items() if "video" in result.inputs}


def _heads(parts: Mapping[str, Recognition]) -> dict[str, Callable[[plots.Theme], Figure]]:
    def drawing(result: Recognition, limits: tuple[float, float] | None) -> Callable[[plots.Theme], Figure]:
        weights = result.attention.get("regions")
        mean = None if weights is None else weights.mean(axis=0)
        share = result.attention.get("region_share")
        return lambda theme: plots.plot_region_attention(
            result.attention["channels"].mean(axis=0),
            result.ch_names,
            result.regions,
            region_weights=mean,
            region_share=None if share is None else share.mean(axis=0),
            title="",
            limits=limits,
            theme=theme,
        )

    chosen = {n: r for n, r in parts.items() if "eeg" in r.inputs and "channels" in r.attention and r.regions}
    return _on_one_scale(chosen, drawing)


def _graphs(parts: Mapping[str, Recognition]) -> dict[str, Callable[[plots.Theme], Figure]]:
    def drawing(result: Recognition) -> Callable[[plots.Theme], Figure]:
        names = ["EEG z_e", "face z_v", *result.regions]
        return lambda theme: plots.plot_adjacency(matrix(result), names, title="", reach=reach, theme=theme)

    def matrix(result: Recognition) -> np.ndarray:
        return result.attention["adjacency_region"].mean(axis=0)

    chosen = {
        name: result
        for name, result in parts.items()
        if "adjacency_region" in result.attention and len(matrix(result)) == 2 + len(result.regions)
    }
    reach = max((float(np.abs(matrix(result)).max()) for result in chosen.values()), default=None)
    return {name: drawing(result) for name, result in chosen.items()}


def _facts(facts: Mapping[str, Any], result: Recognition) -> str:
    lists = ("not_this", "attribution")
    rows = {"name": result.model, **{k: v for k, v in facts.items() if k not in lists}}
    if facts.get("attribution"):
        rows["learned from"] = "; ".join(facts["attribution"])
    items = "".join(f"<dt>{escape(str(key))}</dt><dd>{escape(str(value))}</dd>" for key, value in rows.items())
    return f"<section><h2>About the model</h2><dl>{items}</dl></section>"


def _limits(limits: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(text)}</li>" for text in limits)
    return f"<section class='not'><h2>What this is not</h2><ul>{items}</ul></section>"


def _sources(sources: Sequence[Source]) -> str:
    if not sources:
        return ""
    items = "".join(
        f"<li><strong>{escape(s.data)}</strong>. {escape(s.citation)}. Licence: {escape(s.licence)}. "
        f"Changes: {escape(s.changes)}.</li>"
        for s in sources
    )
    return f"<section class='sources'><h2>Whose recordings these are</h2><ul>{items}</ul></section>"
