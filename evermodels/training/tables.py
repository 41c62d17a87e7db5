"""Results as people read them: one run in a few lines, rows over seeds as a Markdown table."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evermodels.core.errors import DataError
from evermodels.training.bootstrap import METRICS, interval, paired_difference
from evermodels.training.engine import run_folder
from evermodels.training.metrics import Predictions
from evermodels.training.recipe import Recipe
from evermodels.training.state import read_json

_TITLES = {
    "accuracy": "accuracy",
    "uar": "UAR",
    "weighted_f1": "weighted F1",
    "arousal": "arousal half",
    "valence": "valence half",
}

HOW = """\
Test part, people apart from training and validation; every epoch was chosen on validation people. Values: mean ±
standard deviation (n - 1) over the seeds. `per subject`: mean ± standard deviation over the EEG subjects of their
UAR, each averaged over the seeds. Halves: balanced accuracy of arousal and of valence, a half called high when the
summed probability of its two high classes is above one half. Intervals: 95 % percentile bootstrap, {resamples}
resamples, crossed over people: EEG subjects and face people are each drawn with replacement, and a sample counts as
often as the product of how often its two people were drawn. In a resample the metric is computed for each seed's
predictions under the same weights and then averaged over the seeds; an interval is thus about other people, with the
trained seeds as they are. Differences are row minus full model in the same resamples; `tie` means that the interval
holds 0. The rows are compared with one model, without correction for their number.
"""


def format_result(result: Mapping[str, Any]) -> str:
    """Return one run's result in a few lines.

    Args:
        result: As :func:`fit` returns it.

    Returns:
        Text without a newline at the end.

    Example:
        >>> people = {"mean": 0.7, "std": 0.1, "uar": {"30": 0.6, "31": 0.8}}
        >>> part = {"accuracy": 0.75, "uar": 0.7, "per_subject": people}
        >>> selection = {"epoch": 4, "metric": "uar"}
        >>> result = {"recipe": "mine", "seed": 0, "parameters": 1200, "selection": selection, "validation": part}
        >>> lines = format_result({**result, "test": part, "seconds": 60, "command": "evermodels finetune ..."})
        >>> lines.splitlines()[0]
        'mine, seed 0: 1,200 parameters, best epoch 4 by uar of the validation people'
        >>> lines.splitlines()[-2]
        'test UAR per EEG subject: 0.700 ± 0.100 (2 people)'
    """
    row = f", row {result['row']}" if result.get("row") else ""
    lines = [
        f"{result['recipe']}{row}, seed {result['seed']}: {result['parameters']:,} parameters, best epoch "
        f"{result['selection']['epoch']} by {result['selection']['metric']} of the validation people"
    ]
    lines.append(f"{'':<12}" + "".join(f"{title:>24}" for title in _TITLES.values()))
    for part in ("validation", "test"):
        cells = []
        for key in _TITLES:
            value, ends = result[part].get(key), result[part].get("intervals", {}).get(key)
            text = "n/a" if value is None else f"{value:.3f}"
            cells.append(f"{text} [{ends['low']:.3f}, {ends['high']:.3f}]" if ends else text)
        lines.append(f"{part:<12}" + "".join(f"{cell:>24}" for cell in cells))
    per = result["test"]["per_subject"]
    lines.append(f"test UAR per EEG subject: {per['mean']:.3f} ± {per['std']:.3f} ({len(per['uar'])} people)")
    lines.append(f"{result['seconds']:.0f} s; again with: {result['command']}")
    return "\n".join(lines)


def _over_seeds(values: Sequence[float]) -> dict[str, Any]:
    array = np.asarray(values, dtype=np.float64)
    return {
        "mean": float(array.mean()),
        "std": float(array.std(ddof=1)) if len(array) > 1 else 0.0,
        "seeds": array.tolist(),
    }


def _row_entry(
    runs: Sequence[Predictions],
    results: Sequence[Mapping[str, Any]],
    full: Sequence[Predictions] | None,
    resamples: int,
) -> dict[str, Any]:
    metrics = [m for m in METRICS if m in results[0]["test"]]
    by_subject = {
        subject: float(np.mean([result["test"]["per_subject"]["uar"][subject] for result in results]))
        for subject in results[0]["test"]["per_subject"]["uar"]
    }
    values = np.array(list(by_subject.values()))
    entry: dict[str, Any] = {
        "parameters": results[0]["parameters"],
        "init_from": results[0]["init_from"],
        "seconds": [result["seconds"] for result in results],
        "best_epochs": [result["selection"]["epoch"] for result in results],
        "validation_uar": _over_seeds([result["validation"]["uar"] for result in results]),
        "per_subject": {
            "mean": float(values.mean()),
            "std": float(values.std(ddof=1)) if len(values) > 1 else 0.0,
            "uar": by_subject,
        },
    }
    for metric in metrics:
        entry[metric] = {
            **_over_seeds([result["test"][metric] for result in results]),
            "interval": interval(runs, metric, n=resamples)._asdict(),
        }
        if full is not None:
            difference = paired_difference(runs, full, metric, n=resamples)
            tie = difference.low <= 0 <= difference.high
            entry[metric]["minus_full"] = {**difference._asdict(), "tie": tie}
    return entry


def make_table(
    recipe: Recipe,
    run_root: str | os.PathLike[str],
    *,
    seeds: Sequence[int],
    rows: Sequence[str] | None = None,
    resamples: int = 2000,
) -> dict[str, Any]:
    """Put finished runs into a table.

    Args:
        recipe: The recipe; rows are compared with its ``full`` row where that is among the runs.
        run_root: Folder of all runs, ``run_root/row/seed-N``.
        seeds: The seeds.
        rows: Names of the rows (default: all).
        resamples: Bootstrap resamples.

    Returns:
        Plain JSON types: ``rows`` by name (each metric with ``mean``, ``std``, ``seeds``, ``interval``,
        ``minus_full``), ``how`` the numbers came about, and the same as ``markdown``.

    Raises:
        DataError: If a run is not finished, or runs were tested on different samples.

    Example:
        >>> from evermodels.training import load_recipe, make_table
        >>> make_table(load_recipe("ever_tiny_quadrant"), "nowhere", seeds=[0], rows=["eeg"])
        Traceback (most recent call last):
            ...
        evermodels.core.errors.DataError: table: nowhere/eeg/seed-0 not finished. Train them with run_rows or ...
    """
    names = [row.name for row in recipe.rows if rows is None or row.name in rows]
    results, runs = {}, {}
    for name in names:
        folders = [run_folder(run_root, name, seed) for seed in seeds]
        unfinished = [str(folder) for folder in folders if not (folder / "result.json").is_file()]
        if unfinished:
            raise DataError(
                f"table: {', '.join(unfinished)} not finished. Train them with run_rows or evermodels benchmark."
            )
        results[name] = [read_json(folder / "result.json") for folder in folders]
        runs[name] = [Predictions.load(folder / "predictions.npz") for folder in folders]
    full = recipe.full if recipe.full in names else None
    entries = {}
    for name in names:
        row = recipe.row(name)
        assert row is not None
        entry = _row_entry(runs[name], results[name], runs[full] if full and name != full else None, resamples)
        entries[name] = {"title": row.title or name, "table": row.table, **entry}
    words = ["evermodels", "benchmark", "--recipe", recipe.name, "--seeds", ",".join(map(str, seeds))]
    how = HOW.format(resamples=resamples).replace("\n", " ").strip()
    table: dict[str, Any] = {
        "recipe": recipe.name,
        "description": recipe.description,
        "full": full,
        "seeds": list(seeds),
        "command": " ".join(words),
        "how": how,
        "split": results[names[0]][0]["split"],
        "rows": entries,
    }
    table["markdown"] = _markdown(table)
    return table


def _spread(cell: Mapping[str, Any] | None) -> str:
    return "n/a" if cell is None else f"{cell['mean']:.3f} ± {cell['std']:.3f}"


def _difference(cell: Mapping[str, Any] | None) -> str:
    if cell is None:
        return "n/a"
    tie = ", tie" if cell["tie"] else ""
    return f"{cell['value']:+.3f} [{cell['low']:+.3f}, {cell['high']:+.3f}]{tie}"


def _markdown(table: Mapping[str, Any]) -> str:
    lines = [
        f"# {table['recipe']}",
        "",
        table["description"],
        "",
        f"Seeds {', '.join(map(str, table['seeds']))}. Command: `{table['command']}`",
        "",
    ]
    rows: Mapping[str, Mapping[str, Any]] = table["rows"]
    metrics = [m for m in METRICS if all(m in row for row in rows.values())]
    for number in sorted({row["table"] for row in rows.values()}, key=lambda n: (n == 0, n)):
        chosen = [name for name, row in rows.items() if row["table"] == number or name == table["full"]]
        head = ["row", *(_TITLES[m] for m in metrics), "UAR 95 %", "UAR per subject", "UAR minus full model"]
        title = f"As Table {number} of the paper" if number else "Beside the paper's tables"
        lines += [f"## {title}", "", f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
        for name in chosen:
            row = rows[name]
            ends = row["uar"]["interval"]
            cells = [
                f"**{row['title']}**" if name == table["full"] else row["title"],
                *(_spread(row[m]) for m in metrics),
                f"[{ends['low']:.3f}, {ends['high']:.3f}]",
                _spread(row["per_subject"]),
                _difference(row["uar"].get("minus_full")),
            ]
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    if table["full"] is not None:
        head = ["row", *(f"{_TITLES[m]} minus full" for m in metrics)]
        lines += ["## All differences", "", f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
        for name, row in rows.items():
            if name != table["full"]:
                lines.append(
                    f"| {row['title']} | {' | '.join(_difference(row[m].get('minus_full')) for m in metrics)} |"
                )
        lines.append("")
    people = table["split"]["test"]
    lines += [
        table["how"],
        "",
        f"Test people: EEG {', '.join(people['eeg'])}; faces {', '.join(people['faces'])}.",
        "",
    ]
    return "\n".join(lines)
