"""The result's part of the page: what the model said, what it cannot know, and how well each window could be read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from evermodels.core.errors import shorten
from evermodels.core.factors import JOIN
from evermodels.plots import CLASS_COLOURS
from evermodels.recognition import Recognition
from evermodels.result_table import Column, class_columns, factor_columns, main_columns, shown_columns

MOST_ROWS = 300
FEW_FRAMES = 0.8
"""Below this share of frames with a face, a window is marked."""

_QUALITY = {"face_share": "frames with a face", "faces": "faces", "crop_size": "face size (pixels)"}


def cautions(parts: Mapping[str, Recognition]) -> str:
    """Return what a reader must know before the numbers: what was absent, what a result cannot know, poor windows.

    Args:
        parts: The results by heading.
    """
    lines: list[str] = []
    for name, result in parts.items():
        own = [gap[:1].upper() + gap[1:] + "." for gap in result.gaps] + list(result.notes)
        if poor := int(_poor(result).sum()):
            own.append(
                f"In {poor} of {len(result)} windows a face was found in fewer than {FEW_FRAMES:.0%} of the frames; "
                "they are marked in the table, and what the model says of the face there is worth less."
            )
        lines += [f"{name}: {line}" if name and len(parts) > 1 else line for line in own]
    if len(parts) > 1:  # what holds for all of them is said once
        sets = [set(result.notes) for result in parts.values()]
        common = [note for note in next(iter(parts.values())).notes if all(note in notes for notes in sets)]
        lines = common + [line for line in lines if not any(line.endswith(f": {note}") for note in common)]
    if not lines:
        return ""
    items = "".join(f"<li>{escape(line)}</li>" for line in dict.fromkeys(lines))
    return f"<section class='not'><h2>Before you read on</h2><ul>{items}</ul></section>"


def legend(parts: Mapping[str, Recognition]) -> str:
    """Return the colours of the labels, once where all parts have the same.

    Args:
        parts: The results by heading.
    """
    said: dict[tuple[str, ...], list[str]] = {}
    for name, result in parts.items():
        said.setdefault(result.answers[0], []).append(name)
    rows = ""
    for labels, names in said.items():
        if len(labels) <= len(CLASS_COLOURS):
            whose = f"<span class='soft'>{escape(', '.join(names))}:</span>" if len(said) > 1 else ""
            rows += f"<div class='legend'>{whose}" + "".join(
                f"<span><i style='background:{_colour(k)}'></i>{escape(label)}</span>" for k, label in enumerate(labels)
            )
            rows += "</div>"
    return rows


def tile(name: str, result: Recognition, truth: str | None) -> str:
    """Return the means of one result: its labels, and each factor by itself.

    Args:
        name: Its heading.
        result: The result.
        truth: The class that it was recorded as, where it is known.
    """
    labels, values = result.answers
    columns = [Column(label, label, column) for label, column in zip(labels, values.T, strict=True)]
    bars = "".join(_bar(c.label, c.mean, _colour(columns.index(c))) for c in main_columns(columns))
    groups = factor_columns(result)
    if len(groups) > 1:
        for title, group in groups.items():
            bars += f"<h4>{escape(title)}</h4>" + "".join(_bar(c.label, c.mean, "var(--soft)") for c in group)
    for factor in result.factors:
        if factor.name not in groups:
            gap = next(gap for gap in result.gaps if gap.startswith(f"{factor.name} ("))
            bars += f"<p class='unknown'>{escape(gap)}</p>"
    tag = ""
    if truth is not None:
        kind = "hit" if _agrees(result.top.label, truth) else "miss"
        tag = f"<p><span class='tag {kind}'>recorded as {escape(truth)}</span> "
        told = [top for top in result.tops if top is not None]
        tag += f"<span class='soft'>{sum(_agrees(top, truth) for top in told)} of {len(told)} windows agree</span></p>"
    heading = f"<h3 class='soft'>{escape(name)}</h3>" if name else ""
    return f"<div class='tile'>{heading}<div class='top'>{escape(result.top.label)}</div>{tag}{bars}</div>"


def table(result: Recognition, truth: str | None) -> str:
    """Return one row per window.

    Args:
        result: The result.
        truth: The class that it was recorded as, where it is known.
    """
    columns = main_columns(shown_columns(result))
    labels, values = result.answers
    poor, times = _poor(result), _times(result)
    head = "".join(f"<th class='num'>{escape(shorten(column.label, 40))}</th>" for column in columns)
    rows = []
    for k, top in list(enumerate(result.tops))[:MOST_ROWS]:
        cells = "".join(_cell(column.values[k], column.label == top) for column in columns)
        mark = " ✓" if truth is not None and top is not None and _agrees(top, truth) else ""
        cells += f"<td>{escape(shorten(top or 'not known', 40))}{mark}</td>"
        stack = _stack(values[k], len(labels))
        rows.append(
            f"<tr{' class=poor' if poor[k] else ''}><td class='num'>{times[k]}</td>"
            f"<td class='wide'>{stack}</td>{cells}</tr>"
        )
    left = len(result) - MOST_ROWS
    more = f"<p class='soft'>{left} more windows are left out here.</p>" if left > 0 else ""
    hidden = len(class_columns(result) or columns) - len(columns)
    if hidden > 0 and not result.factors:
        more += f"<p class='soft'>{hidden} less probable classes are left out here.</p>"
    return (
        "<div class='scroll'><table><thead><tr><th class='num'>window</th><th>probabilities</th>"
        f"{head}<th>most probable</th></tr></thead><tbody>{''.join(rows)}</tbody></table></div>{more}"
        f"{_readings(result)}"
    )


def _readings(result: Recognition) -> str:
    """How well each window could be read, in a table of its own: beside the classes it would not be seen."""
    if not result.quality:
        return ""
    poor, times = _poor(result), _times(result)
    head = "".join(
        f"<th class='num'>{escape(_QUALITY.get(name, name.replace('_', ' ')))}</th>" for name in result.quality
    )
    rows = [
        f"<tr{' class=poor' if poor[k] else ''}><td class='num'>{times[k]}</td>"
        + "".join(_quality_cell(name, series[k]) for name, series in result.quality.items())
        + "</tr>"
        for k in range(min(len(result), MOST_ROWS))
    ]
    return (
        "<p class='soft'>How well each window could be read:</p><div class='scroll'><table class='narrow'><thead><tr>"
        f"<th class='num'>window</th>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _times(result: Recognition) -> list[str]:
    stops = result.starts + result.window_seconds
    return [f"{a:.1f}\N{EN DASH}{b:.1f} s" for a, b in zip(result.starts, stops, strict=True)]


def _colour(k: int) -> str:
    return CLASS_COLOURS[k % len(CLASS_COLOURS)]


def _agrees(label: str, truth: str) -> bool:
    """Whether what a result says is (the known half of) the class that was recorded."""
    said, recorded = label.split(JOIN), truth.split(JOIN)
    return label == truth or (len(said) < len(recorded) and set(said) <= set(recorded))


def _bar(label: str, share: float, colour: str) -> str:
    return (
        f"<div class='bar-row'><span>{escape(label)}</span>"
        f"<span class='bar'><i style='width:{100 * share:.1f}%;background:{colour}'></i></span>"
        f"<span class='num'>{100 * share:.0f} %</span></div>"
    )


def _stack(values: Sequence[float] | np.ndarray, count: int) -> str:
    if math.isnan(values[0]) or count > len(CLASS_COLOURS):
        return ""
    pieces = "".join(f"<i style='width:{100 * p:.2f}%;background:{_colour(k)}'></i>" for k, p in enumerate(values))
    return f"<div class='stack'>{pieces}</div>"


def _cell(value: float, best: bool) -> str:
    text = "\N{EN DASH}" if math.isnan(value) else f"{value:.2f}"
    return f"<td class='num{' best' if best else ''}'>{text}</td>"


def _quality_cell(name: str, value: float) -> str:
    if math.isnan(value):
        return "<td class='num'>\N{EN DASH}</td>"
    text = (
        f"{100 * value:.0f} %" if name.endswith("_share") else f"{value:g}" if value == round(value) else f"{value:.1f}"
    )
    return f"<td class='num quality'>{text}</td>"


def _poor(result: Recognition) -> np.ndarray:
    share = result.quality.get("face_share")
    return np.zeros(len(result), dtype=bool) if share is None else np.asarray(share) < FEW_FRAMES
