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


from evermodels import plots
from evermodels.core.errors import ConfigError
from evermodels.plots import CLASS_COLOURS
from evermodels.recognizer import Recognition
from evermodels.samples import Source

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["LIMITS", "render_report", "write_report", "write_whole"]

MOST_ROWS = 300

LIMITS = (
    "It is not a medical device, and not a test of anybody's mood, health, honesty or ability.",
    "A probability is the model's share for a class among those that it knows; it is not calibrated for other people, "
    "headsets, cameras or tasks than those of its training data.",
    "Attention shows what the model weighed. It does not show what a brain region does, nor why a person felt something.",
)
"""What every page says it is not."""


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
    target = Path(path)
    try:
        if target.is_dir():
            raise IsADirectoryError(21, "it is a folder")
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
    """Return the page that :func:`write_report` writes, as text; the arguments are the same."""
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
            or "Log spectrogram, the mean over channels, as the EEG encoder receives it. Below 4 Hz delta, 4 to 8 theta, "
            "8 to 13 alpha, above that beta.",
            {name: _spectrogram(r) for name, r in parts.items() if "eeg" in r.inputs},
        ),
        _pictures(
            "Face: the frames used",
            notes.get("frames") or "The frames of one window as the video encoder receives them, in their order.",
            {name: _frames(r) for name, r in parts.items() if "video" in r.inputs},
        ),
        _pictures(
            "Which electrodes counted",
            notes.get("attention")
            or "Attention of each electrode among those of its region, times the region's weight where the model has "
            "one; seen from above, the nose points up, mean over the windows. The map between electrodes is interpolated.",
            {name: _head(r) for name, r in parts.items() if "channels" in r.attention and r.regions},
        ),
        _pictures(
            "How EEG, face and regions are joined",
            notes.get("graph")
            or "The graph of the second stage: each cell says how much one node (column) takes part in another (row). "
            "z_e is the EEG encoder's embedding, z_v the face encoder's. Mean over the windows.",
            {name: _graph(r) for name, r in parts.items() if "adjacency_region" in r.attention and r.regions},
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
        + f"\n<footer>Written by evermodels {escape(_version())}. This page loads nothing from anywhere.</footer>"
        "\n</main></body></html>\n"
    )


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("evermodels")
    except PackageNotFoundError:
        return ""


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
        f"{_grid(tiles)}<div class='legend'>{legend}</div>{tables}</section>"
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
    figures = [
        f"<figure>{_picture(draw, f'{heading}: {name}' if name else heading)}"
        + (f"<figcaption>{escape(name)}</figcaption>" if name else "")
        + "</figure>"
        for name, draw in pictures.items()
    ]
    return f"<section><h2>{escape(heading)}</h2><p class='lead'>{escape(text)}</p>{_grid(figures)}</section>"


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


def _spectrogram(result: Recognition) -> Callable[[plots.Theme], Figure]:
    spec = result.input_spec.eeg
    assert spec is not None
    line = plots.stitch(result.inputs["eeg"], result.starts, spec.sfreq)
    return lambda theme: plots.plot_spectrogram(
        line, spec.sfreq, ch_names=spec.ch_names, start=float(result.starts.min()), theme=theme
    )


def _frames(result: Recognition) -> Callable[[plots.Theme], Figure]:
    window = min(len(result.inputs["video"]) - 1, int(result.probabilities.max(axis=1).argmax()))
    title = f"window at {result.starts[window]:.1f} s"
    return lambda theme: plots.plot_frames(result.inputs["video"][window], title=title, theme=theme)


def _head(result: Recognition) -> Callable[[plots.Theme], Figure]:
    spec = result.input_spec.eeg
    assert spec is not None
    weights = result.attention.get("regions")
    usable = weights is not None and weights.ndim == 2 and weights.shape[1] == len(result.regions)
    return lambda theme: plots.plot_region_attention(
        result.attention["channels"].mean(axis=0),
        spec.ch_names,
        result.regions,
        region_weights=weights.mean(axis=0) if usable and weights is not None else None,
        title="mean over the windows",
        theme=theme,
    )


def _graph(result: Recognition) -> Callable[[plots.Theme], Figure]:
    matrix = result.attention["adjacency_region"].mean(axis=0)
    names = [*("z_e", "z_v")[: max(0, len(matrix) - len(result.regions))], *result.regions]
    return lambda theme: plots.plot_adjacency(matrix, names, title="mean over the windows", theme=theme)


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
