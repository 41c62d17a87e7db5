"""The result's part of the page: what the model said, what it cannot know, and how well each window could be read."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from evermodels.core.errors import shorten
from evermodels.core.factors import JOIN
from evermodels.core.specs import Reading
from evermodels.plots import CLASS_COLOURS
from evermodels.recognition import Recognition
from evermodels.result_table import Column, class_columns, columns_for_people, factor_columns, main_columns

MOST_ROWS = 300


class Bar(NamedTuple):
    """A probability as a bar.

    Args:
        label: Whose it is.
        share: How much, 0 to 1.
        colour: Colour in CSS.
    """

    label: str
    share: float
    colour: str


def cautions(parts: Mapping[str, Recognition]) -> list[str]:
    """Return what a reader must know before the numbers: what was absent, what a result cannot know.

    Args:
        parts: The results by heading.
    """
    results = list(parts.values())
    common = [note for note in results[0].notes if all(note in result.notes for result in results)]
    lines = list(common)
    for name, result in parts.items():
        own = [gap[:1].upper() + gap[1:] + "." for gap in result.gaps]
        own += [note for note in result.notes if note not in common]
        lines += [f"{name}: {line}" if name and len(parts) > 1 else line for line in own]
    return list(dict.fromkeys(lines))


def legend(parts: Mapping[str, Recognition]) -> list[dict[str, Any]]:
    """Return the colours of the labels, once where all parts have the same.

    Args:
        parts: The results by heading.
    """
    names_by_labels: dict[tuple[str, ...], list[str]] = {}
    for name, result in parts.items():
        names_by_labels.setdefault(result.answers[0], []).append(name)
    return [
        {
            "whose": ", ".join(names) if len(names_by_labels) > 1 else "",
            "labels": [(label, _colour(k)) for k, label in enumerate(labels)],
        }
        for labels, names in names_by_labels.items()
        if len(labels) <= len(CLASS_COLOURS)
    ]


def tile(name: str, result: Recognition, recorded: str | None) -> dict[str, Any]:
    """Return the means of one result: its labels, and each factor by itself.

    Args:
        name: Its heading.
        result: The result.
        recorded: The class that it was recorded as, where it is known.
    """
    labels, values = result.answers
    columns = [Column(label, label, column) for label, column in zip(labels, values.T, strict=True)]
    colours = {column.label: _colour(k) for k, column in enumerate(columns)}
    groups = [{"title": "", "bars": [Bar(c.label, c.mean, colours[c.label]) for c in main_columns(columns)]}]
    factors = factor_columns(result)
    if len(factors) > 1:
        groups += [
            {"title": title, "bars": [Bar(c.label, c.mean, "var(--soft)") for c in group]}
            for title, group in factors.items()
        ]
    unknown = [factor.name for factor in result.factors if factor.name not in factors]
    answered = [top for top in result.tops if top is not None]
    return {
        "name": name,
        "top": result.top.label,
        "groups": groups,
        "not_known": [next(gap for gap in result.gaps if gap.startswith(f"{factor} (")) for factor in unknown],
        "recorded": recorded,
        "hit": recorded is not None and _agrees(result.top.label, recorded),
        "agreeing": sum(_agrees(top, recorded) for top in answered) if recorded is not None else 0,
        "answered": len(answered),
    }


def table(name: str, result: Recognition, recorded: str | None) -> dict[str, Any]:
    """Return one row per window, with what the model said and how well the window could be read.

    Args:
        name: Heading of the result.
        result: The result.
        recorded: The class that it was recorded as, where it is known.
    """
    columns = main_columns(columns_for_people(result))
    labels, values = result.answers
    stops, readings = result.starts + result.window_seconds, _readings(result)
    rows = [
        {
            "time": f"{result.starts[k]:.1f}\N{EN DASH}{stops[k]:.1f} s",
            "poor": any(_poor(reading, result.quality[kind][k]) for kind, reading in readings.items()),
            "stack": _stack(values[k]) if len(labels) <= len(CLASS_COLOURS) else [],
            "cells": [(_number(c.values[k], ".2f"), c.label == top) for c in columns],
            "top": shorten(top or "not known", 40),
            "agrees": recorded is not None and top is not None and _agrees(top, recorded),
            "readings": [
                (_as_text(reading, value := result.quality[kind][k]), _poor(reading, value))
                for kind, reading in readings.items()
            ],
        }
        for k, top in list(enumerate(result.tops))[:MOST_ROWS]
    ]
    left_out = []
    if (more := len(result) - MOST_ROWS) > 0:
        left_out.append(f"{more} more windows are left out here.")
    hidden = len(class_columns(result) or columns) - len(columns)
    if hidden > 0 and not result.factors:
        left_out.append(f"{hidden} less probable classes are left out here.")
    return {
        "name": name,
        "labels": [shorten(column.label, 40) for column in columns],
        "rows": rows,
        "left_out": left_out,
        "readings": [reading.label for reading in readings.values()],
    }


def _colour(k: int) -> str:
    return CLASS_COLOURS[k % len(CLASS_COLOURS)]


def _agrees(label: str, recorded: str) -> bool:
    """Whether what a result says is (the known half of) the class that was recorded."""
    said, whole = label.split(JOIN), recorded.split(JOIN)
    return label == recorded or (len(said) < len(whole) and set(said) <= set(whole))


def _stack(shares: Iterable[float]) -> list[tuple[float, str]]:
    return [(share, _colour(k)) for k, share in enumerate(shares) if not math.isnan(share)]


def _number(value: float, form: str) -> str:
    return "\N{EN DASH}" if math.isnan(value) else format(value, form)


def _readings(result: Recognition) -> dict[str, Reading]:
    """Return what the numbers on how well a window could be read mean, as the modalities' specs say."""
    spec = result.input_spec
    known = {kind: reading for name in spec.modalities for kind, reading in spec.of(name).readings.items()}
    return {kind: known.get(kind, Reading(kind.replace("_", " "))) for kind in result.quality}


def _as_text(reading: Reading, value: float) -> str:
    if reading.percent:
        return _number(value, ".0%").replace("%", " %")
    return _number(value, ".1f" if math.isfinite(value) and value != round(value) else "g")


def _poor(reading: Reading, value: float) -> bool:
    return reading.least is not None and bool(value < reading.least)
