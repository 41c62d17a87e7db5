"""The table of a result: as rows for a program, as text for a terminal, as HTML for a notebook."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from evermodels.core.errors import shorten
from evermodels.core.text import one_line

if TYPE_CHECKING:
    from evermodels.recognition import Recognition

MOST_COLUMNS = 8
_BEST = 5  # of more classes than that
_MOST_HTML_ROWS = 20
_LONGEST_NAME = 40


class Column(NamedTuple):
    """Probabilities of one class, or of one value of a factor.

    Args:
        key: Its name in a table.
        label: Its name for people.
        values: Probability in each window, ``(windows,)``; NaN where it is not known.
    """

    key: str
    label: str
    values: np.ndarray

    @property
    def mean(self) -> float:
        """Mean over the windows where it is known."""
        return float(np.nanmean(self.values))


def class_columns(result: Recognition) -> list[Column]:
    """Return a column per class, NaN where a factor is not known; none where that is so everywhere.

    Args:
        result: The result.
    """
    known = result.all_known
    if not known.any():
        return []
    values = np.where(known[:, None], result.probabilities, np.nan)
    return [Column(f"p({name})", name, column) for name, column in zip(result.classes, values.T, strict=True)]


def factor_columns(result: Recognition) -> dict[str, list[Column]]:
    """Return the columns of each factor that is known somewhere, by its name.

    Args:
        result: The result.
    """
    marginals = result.marginals
    return {
        factor.name: [
            Column(f"{factor.name}: {value}", value, column)
            for value, column in zip(factor.values, marginals[factor.name].T, strict=True)
        ]
        for factor in result.factors
        if result.known[factor.name].any()
    }


def columns_for_people(result: Recognition) -> list[Column]:
    """Return the columns for people: the classes where all is known in all windows, else the factors' values.

    Args:
        result: The result.
    """
    if result.all_known.all():
        return class_columns(result)
    groups = factor_columns(result)
    columns = [column for group in groups.values() for column in group]
    return columns if len(groups) == 1 else [column._replace(label=column.key) for column in columns]


def main_columns(columns: Sequence[Column]) -> list[Column]:
    """Return those with the largest means, in their order, where there are too many for a page.

    Args:
        columns: The columns.
    """
    if len(columns) <= MOST_COLUMNS:
        return list(columns)
    kept = sorted(range(len(columns)), key=lambda k: -columns[k].mean)[:_BEST]
    return [columns[k] for k in sorted(kept)]


def rows(result: Recognition) -> list[dict[str, Any]]:
    """Return one mapping per window; see :meth:`~evermodels.recognition.Recognition.to_table`.

    Args:
        result: The result.
    """
    columns = [*class_columns(result), *(c for group in factor_columns(result).values() for c in group)]
    lacking = {name: ~there for name, there in result.present.items() if name in result.input_spec.modalities}
    anything_absent = any(missing.any() for missing in lacking.values())
    table = []
    for k, (start, top) in enumerate(zip(result.starts, result.tops, strict=True)):
        row: dict[str, Any] = {"start": float(start), "stop": float(start) + result.window_seconds}
        if result.events:
            row["event"] = result.events[k]
        row["top"] = top
        row |= {column.key: None if math.isnan(column.values[k]) else float(column.values[k]) for column in columns}
        if anything_absent:
            row["absent"] = " ".join(name for name, missing in lacking.items() if missing[k])
        for name, values in result.quality.items():
            row[f"quality: {name}"] = None if math.isnan(values[k]) else float(values[k])
        table.append(row)
    return table


def text_table(result: Recognition) -> str:
    """Return one line per window and one for the mean; see :meth:`~evermodels.recognition.Recognition.summary`.

    Args:
        result: The result.
    """
    columns = columns_for_people(result)
    main = main_columns(columns)
    names = [_name(column.label) for column in main]
    widths = [max(len(name), 4) for name in names]
    stops = result.starts + result.window_seconds
    digits = max(4, len(f"{stops.max():.1f}"), len(f"{result.starts.min():.1f}"))
    times = [f"{a:{digits}.1f}-{b:{digits}.1f}" for a, b in zip(result.starts, stops, strict=True)]

    def line(time: str, values: Sequence[float], best: str | None) -> str:
        cells = "  ".join("-".rjust(w) if math.isnan(v) else f"{v:{w}.2f}" for v, w in zip(values, widths, strict=True))
        return f"{time:>{2 * digits + 1}}  {cells}  {'-' if best is None else _name(best)}"

    lines = [f"{'seconds':>{2 * digits + 1}}  " + "  ".join(f"{n:>{w}}" for n, w in zip(names, widths, strict=True))]
    for k, (time, best) in enumerate(zip(times, result.tops, strict=True)):
        lines.append(line(time, [float(column.values[k]) for column in main], best))
    lines.append(line("mean", [column.mean for column in main], result.top.label))
    if len(main) < len(columns):
        lines.append(f"{len(columns) - len(main)} less probable classes are left out here; to_table() has them all")
    return "\n".join(lines)


def html_table(result: Recognition) -> str:
    """Return the table for a notebook.

    Args:
        result: The result.
    """
    columns = columns_for_people(result)
    main = main_columns(columns)
    stops = result.starts + result.window_seconds

    def line(time: str, values: Sequence[float], best: str | None) -> str:
        cells = "".join(f"<td>{'' if math.isnan(v) else f'{v:.2f}'}</td>" for v in values)
        return f"<tr><th>{time}</th>{cells}<td>{escape(_name(best or ''))}</td></tr>"

    body = [
        line(f"{start:.1f}\N{EN DASH}{stop:.1f} s", [float(c.values[k]) for c in main], best)
        for k, (start, stop, best) in enumerate(zip(result.starts, stops, result.tops, strict=True))
    ]
    notes = [*result.gaps, *result.notes]
    if len(main) < len(columns):
        notes.append(f"{len(columns) - len(main)} less probable classes are left out here.")
    if len(body) > _MOST_HTML_ROWS:
        notes.append(f"{len(body) - _MOST_HTML_ROWS} more windows are left out here.")
    head = "".join(f"<th>{escape(_name(column.label))}</th>" for column in main)
    mean = line("mean", [column.mean for column in main], result.top.label)
    return (
        f"<p><code>{escape(one_line(result.model))}</code>, {len(result)} windows of {result.window_seconds:g} s</p>"
        f"<table><thead><tr><th></th>{head}<th>most probable</th></tr></thead>"
        f"<tbody>{''.join(body[:_MOST_HTML_ROWS])}{mean}</tbody></table>"
        + "".join(f"<p>{escape(one_line(note))}</p>" for note in notes)
    )


def _name(label: str) -> str:
    return shorten(one_line(label), _LONGEST_NAME)
