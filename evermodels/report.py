"""One self-contained HTML page about a recognition: result, pictures, facts of the model, limits, attribution."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from evermodels import __version__
from evermodels.core.errors import ConfigError
from evermodels.core.files import write_whole
from evermodels.recognition import Recognition
from evermodels.report_pictures import figures, grid, pictures, timelines
from evermodels.report_result import cautions, legend, table, tile
from evermodels.samples import Source

__all__ = ["LIMITS", "render_report", "write_report"]

LIMITS = (
    "It is not a medical device, and not a test of anybody's mood, health, honesty or ability.",
    "A probability is the model's share for a class among those that it knows; it is not calibrated for other people, "
    "headsets, cameras or tasks than those of its training data.",
    "Attention shows what the model weighed, not what a brain region does, nor why a person felt something.",
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
        cautions(parts),
        _results(parts, dict(truth or {})),
        *pictures(parts, notes),
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


def _results(parts: Mapping[str, Recognition], truth: Mapping[str, str]) -> str:
    tiles = [tile(name, result, truth.get(name)) for name, result in parts.items()]
    tables = "".join(
        (f"<h3>{escape(name)}</h3>" if name else "") + table(result, truth.get(name)) for name, result in parts.items()
    )
    return (
        "<section><h2>Result</h2><p class='soft'>Mean probability over the windows, then each window.</p>"
        f"{grid(tiles)}{legend(parts)}"
        f"{figures('Probability of each class over time', timelines(parts))}{tables}</section>"
    )


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
