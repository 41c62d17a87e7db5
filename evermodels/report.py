"""One self-contained HTML page about a recognition: result, pictures, facts of the model, limits, attribution."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined, Template

from evermodels import __version__
from evermodels.core.errors import ConfigError
from evermodels.core.files import write_whole
from evermodels.plots.pictures import attention_picture
from evermodels.recognition import Recognition
from evermodels.report_pictures import sections, timelines
from evermodels.report_result import cautions, legend, table, tile
from evermodels.samples import Attribution

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
    sources: Sequence[Attribution] = (),
) -> Path:
    """Write one HTML file that needs nothing else: no network, no other file.

    Args:
        recognition: The result, or several by heading, which are shown side by side.
        path: Where the page goes; it is complete or it is not there.
        title: Title of the page.
        intro: What this page is about, one paragraph.
        truth: The class that a part was recorded as, by its heading, where it is known.
        notes: Further sentences under a picture, by what it shows: a modality such as ``"video"``, or a kind of
            attention such as ``"channels"``.
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
    sources: Sequence[Attribution] = (),
) -> str:
    """Return the page that :func:`write_report` writes, as text; the arguments are the same.

    Raises:
        ConfigError: If there is no recognition.
        MissingExtraError: If matplotlib is absent.
    """
    parts = dict(recognition) if isinstance(recognition, Mapping) else {"": recognition}
    if not parts:
        raise ConfigError("recognition: expected at least one, got none.")
    first, truth = next(iter(parts.values())), dict(truth or {})
    return _template().render(
        title=title,
        intro=intro,
        version=__version__,
        model=first.model,
        windows=sum(len(result) for result in parts.values()),
        window_seconds=first.window_seconds,
        cautions=cautions(parts),
        tiles=[tile(name, result, truth.get(name)) for name, result in parts.items()],
        legend=legend(parts),
        timelines=timelines(parts),
        tables=[table(name, result, truth.get(name)) for name, result in parts.items()],
        sections=sections(parts, notes or {}),
        facts=_facts(first),
        limits=[*LIMITS, *first.facts.get("not_this", ()), *limits],
        sources=sources,
    )


def _facts(result: Recognition) -> list[tuple[str, str]]:
    facts = dict(result.facts)
    facts.pop("not_this", None)  # stands under the limits
    if attribution := facts.pop("attribution", ()):
        facts["learned from"] = "; ".join(attribution)
    if without := [kind for kind in result.attention if attention_picture(kind) is None]:
        facts["attention without a picture"] = ", ".join(without)
    return [("name", result.model), *((name, str(value)) for name, value in facts.items() if name != "name")]


@cache
def _template() -> Template:
    source = files("evermodels").joinpath("report.html").read_text(encoding="utf-8")
    page = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return page.from_string(source)
