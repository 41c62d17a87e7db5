"""Results as people read them: one run in a few lines, rows over seeds as a Markdown table."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from evermodels.core.errors import ConfigError, DataError
from evermodels.core.text import markdown_name, markdown_text
from evermodels.training.bootstrap import ends_text, interval, metric_names, metric_values, paired_difference, verdict
from evermodels.training.engine import run_folder
from evermodels.training.fusion import late_fusion, own_late_fusion
from evermodels.training.metrics import summarize
from evermodels.training.predictions import Predictions
from evermodels.training.provenance import table_command
from evermodels.training.recipe import Recipe
from evermodels.training.state import read_sealed

_TITLES = {
    "uar": "UAR",
    "weighted_f1": "weighted F1",
    "product_of_scores": "product of the scores",
    "uar_minus_product": "UAR minus that product",
}

HOW = """\
Test part, people apart from training and validation; {chosen}. Values: mean ± standard
deviation (n - 1) over the seeds. `UAR by person`: mean ± standard deviation over the people ({first}) of their
UAR, each averaged over the seeds. {scores}Intervals: 95 % percentile bootstrap, {resamples} resamples, crossed over
people ({groups}): those of each group are drawn with replacement, and a sample counts as often as the product of how
often its people were drawn. In a resample the metric is computed for each seed's predictions under the same weights and
then averaged over the seeds; an interval is thus about other people, with the trained seeds as they are. Differences
are row minus full model in the same resamples. `ahead` and `behind`: the interval excludes 0. `equal within {margin}`:
the whole interval lies inside ±{margin}, the margin that the recipe states (`comparison.margin`). `undecided`: neither;
an interval that only holds 0 shows no equality. The rows are compared with one model, without correction for their
number. Untrained rows: log-probabilities of other rows on the same samples, seed by seed, summed; a row that was
trained on one factor of the classes (`loss.factor`) gives that factor's.
"""
_SCORES = """\
{names}: balanced accuracy of one factor of the classes, whose value is the one of the largest summed probability.
Product of the scores: about the UAR of an answer that errs in the factors independently of each other; a fusion shows
a gain of its own only above it. \
"""


def format_result(result: Mapping[str, Any], folders: Mapping[str, Any] | None = None) -> str:
    """Return one run's result in a few lines.

    Args:
        result: As :func:`fit` returns it.
        folders: Options of the command line that name folders, by name, for the command that repeats the run; a result
            itself names no folder of a machine (default: none).

    Returns:
        Text without a newline at the end.

    Example:
        >>> people = {"mean": 0.7, "std": 0.1, "uar": {"30": 0.6, "31": 0.8}}
        >>> part = {"accuracy": 0.75, "uar": 0.7, "weighted_f1": 0.7, "per_person": {"person": people}}
        >>> selection = {"epoch": 4, "metric": "uar"}
        >>> result = {"recipe": "mine", "seed": 0, "parameters": 1200, "selection": selection, "validation": part}
        >>> lines = format_result({**result, "test": part, "seconds": 60, "command": "evermodels finetune ..."})
        >>> lines.splitlines()[0]
        'mine, seed 0: 1,200 parameters, best epoch 4 by uar of the validation people'
        >>> lines.splitlines()[-2]
        'test UAR by person: 0.700 ± 0.100 (2 people)'
    """
    row = f", row {result['row']}" if result.get("row") else ""
    epoch, metric = (result["selection"][key] for key in ("epoch", "metric"))
    kept = f"best epoch {epoch} by {metric} of the validation people"
    kept = f"the last epoch, {epoch}" if metric == "last" else kept
    lines = [f"{result['recipe']}{row}, seed {result['seed']}: {result['parameters']:,} parameters, {kept}"]
    metrics = ("accuracy", "uar", "weighted_f1", *result.get("scores", ()))
    lines.append(f"{'':<12}" + "".join(f"{_TITLES.get(metric, metric):>25}" for metric in metrics))
    for part in ("validation", "test") if result["validation"] else ("test",):
        cells = []
        for key in metrics:
            text, ends = f"{result[part][key]:.3f}", result[part].get("intervals", {}).get(key)
            cells.append(f"{text} {ends_text(ends)}" if ends else text)
        lines.append(f"{part:<12}" + "".join(f"{cell:>25}" for cell in cells))
    lines += [f"test UAR by {group}: {text}" for group, text in by_person(result["test"]).items()]
    given = [word for name, folder in (folders or {}).items() if folder for word in (f"--{name}", str(folder))]
    again = " ".join([result["command"], shlex.join(given)]).strip()
    lines.append(f"{result['seconds']:.0f} s; again with: {again}")
    return "\n".join(lines)


def by_person(summary: Mapping[str, Any]) -> dict[str, str]:
    """Return the mean over the people of each group of their UAR, as text.

    Args:
        summary: As :func:`~evermodels.training.summarize` returns it.
    """
    return {
        group: f"{per['mean']:.3f} ± {per['std']:.3f} ({len(per['uar'])} people)"
        if len(per["uar"]) > 1
        else f"{per['mean']:.3f} (1 person)"
        for group, per in summary["per_person"].items()
    }


def _mean_std(values: Sequence[float]) -> dict[str, float]:
    array = np.asarray(values, dtype=np.float64)
    return {"mean": float(array.mean()), "std": float(array.std(ddof=1)) if len(array) > 1 else 0.0}


def _scores(
    runs: Sequence[Predictions], full: Sequence[Predictions] | None, resamples: int, margin: float
) -> dict[str, Any]:
    """What a row's predictions, one entry a seed, are worth, alone and beside the full model's."""
    tests = [summarize(run)["per_person"] for run in runs]
    scores: dict[str, Any] = {"per_person": {}}
    for group, first in tests[0].items():
        each = {who: float(np.mean([test[group]["uar"][who] for test in tests])) for who in first["uar"]}
        scores["per_person"][group] = {**_mean_std(list(each.values())), "uar": each}
    for metric in metric_names(runs[0].levels):
        values = [float(metric_values(run, metric)[0]) for run in runs]
        ends = interval(runs, metric, n=resamples)
        scores[metric] = {**_mean_std(values), "seeds": values, "interval": ends.plain()}
        if metric == "uar_minus_product":
            scores[metric]["verdict"] = verdict(ends, margin)
        if full is not None:
            difference = paired_difference(runs, full, metric, n=resamples)
            scores[metric]["minus_full"] = {**difference.plain(), "verdict": verdict(difference, margin)}
    return scores


def _training_facts(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    validation = [result["validation"]["uar"] for result in results if result["validation"]]
    return {
        "parameters": results[0]["parameters"],
        "init_from": results[0]["init_from"],
        "seconds": [result["seconds"] for result in results],
        "best_epochs": [result["selection"]["epoch"] for result in results],
        "validation_uar": {**_mean_std(validation), "seeds": validation} if validation else None,
    }


class _Untrained(NamedTuple):
    """A row that is computed from other rows' predictions."""

    key: str
    title: str
    sources: tuple[str, ...]
    runs: list[Predictions]


def _score_of(recipe: Recipe, row: str, scores: Mapping[str, str]) -> str | None:
    """The data set's score of the factor that a row was trained on."""
    factor = recipe.for_row(row).loss.factor
    names = [score for score, of in scores.items() if of == factor]
    if factor is not None and not names:
        raise ConfigError(f"table: row {row!r} was trained on the factor {factor!r}, of which the data have no score.")
    return names[0] if names else None


def _untrained(
    recipe: Recipe, runs: Mapping[str, list[Predictions]], full: str | None, scores: Mapping[str, str]
) -> list[_Untrained]:
    """The late fusions of what the fusion rows start from, and the full model's own answers to each modality."""
    found: dict[tuple[str, ...], _Untrained] = {}
    rows_of = [recipe.row(name) for name in runs]
    candidates = [tuple(dict.fromkeys(row.init_from.values())) for row in rows_of if row is not None]
    for sources in (*candidates, recipe.comparison.late_fusion):
        if len(sources) > 1 and sources not in found and all(source in runs for source in sources):
            known = [_score_of(recipe, source, scores) for source in sources]
            fused = [late_fusion(seed, known) for seed in zip(*(runs[source] for source in sources), strict=True)]
            parts = " + ".join(_title(recipe, source) for source in sources)
            title = f"late fusion: sum of the single rows' log-probabilities ({parts})"
            found[sources] = _Untrained(f"late fusion of {' + '.join(sources)}", title, sources, fused)
    rows = list(found.values())
    own = [own_late_fusion(run) for run in runs[full]] if full is not None else []
    if full is not None and own and all(run is not None for run in own):
        alone = " + ".join(f"{modality}-only" for modality in runs[full][0].alone)
        title = f"the full model's own answers: {alone} log-probabilities summed"
        rows.append(_Untrained(f"own answers of {full}", title, (full,), [run for run in own if run is not None]))
    return rows


def _title(recipe: Recipe, name: str) -> str:
    row = recipe.row(name)
    return (row.title if row is not None else None) or name


def make_table(
    recipe: Recipe,
    run_root: str | os.PathLike[str],
    *,
    seeds: Sequence[int],
    rows: Sequence[str] | None = None,
    resamples: int = 2000,
) -> dict[str, Any]:
    """Put finished runs into a table.

    Beside the trained rows stand two kinds that need no training: the late fusion of the rows from whose encoders a
    fusion starts, and the full model's own answers to each modality alone, put together in the same way.

    Args:
        recipe: The recipe; rows are compared with its ``full`` row where that is among the runs, and differences are
            held against its ``comparison.margin``.
        run_root: Folder of all runs, ``run_root/row/seed-N``.
        seeds: The seeds.
        rows: Names of the rows (default: all).
        resamples: Bootstrap resamples.

    Returns:
        Plain JSON types: ``rows`` by name (each metric with ``mean``, ``std``, ``seeds``, ``interval``,
        ``minus_full``; untrained rows name their ``sources``), ``how`` the numbers came about, and the same as
        ``markdown``.

    Raises:
        DataError: If a run is not finished or its files are damaged, or runs were tested on different samples.

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
        results[name] = [read_sealed(folder / "result.json") for folder in folders]
        runs[name] = [Predictions.load(folder / "predictions.npz") for folder in folders]
    full, margin = recipe.full if recipe.full in names else None, recipe.comparison.margin
    entries: dict[str, dict[str, Any]] = {}
    for name in names:
        row = recipe.row(name)
        assert row is not None
        scores = _scores(runs[name], runs[full] if full and name != full else None, resamples, margin)
        entries[name] = {"title": row.title or name, "table": row.table, **_training_facts(results[name]), **scores}
    first = names[0]
    for made in _untrained(recipe, runs, full, results[first][0].get("scores", {})):
        scores = _scores(made.runs, runs[full] if full else None, resamples, margin)
        entries[made.key] = {"title": made.title, "table": None, "sources": list(made.sources), **scores}
    table: dict[str, Any] = {
        "recipe": recipe.name,
        "description": recipe.description,
        "full": full,
        "seeds": list(seeds),
        "margin": margin,
        "late_fusion": list(recipe.comparison.late_fusion),
        "command": table_command(recipe, seeds, names),
        "how": _how(runs[first][0], resamples, margin, [result for name in names for result in results[name]]),
        "scores": list(runs[first][0].levels),
        "split": results[first][0]["split"],
        "rows": entries,
    }
    table["markdown"] = _markdown(table)
    return table


def _how(run: Predictions, resamples: int, margin: float, results: Sequence[Mapping[str, Any]]) -> str:
    last = [result["selection"]["metric"] == "last" for result in results]
    chosen = "every epoch was chosen on validation people"
    if any(last):
        chosen = "of every run the last epoch" if all(last) else f"{chosen}, or the last one kept (`selection.metric`)"
    groups, scores = list(run.groups) or ["sample"], ", ".join(f"`{score}`" for score in run.levels)
    text = HOW.format(
        resamples=resamples,
        margin=f"{margin:g}",
        chosen=chosen,
        first=groups[0],
        groups=", ".join(groups),
        scores=_SCORES.format(names=scores) if scores else "",
    )
    return text.replace("\n", " ").strip()


def _spread(cell: Mapping[str, Any] | None) -> str:
    return "n/a" if cell is None else f"{cell['mean']:.3f} ± {cell['std']:.3f}"


def _difference(cell: Mapping[str, Any] | None) -> str:
    if cell is None:
        return "n/a"
    return f"{cell['value']:+.3f} {ends_text(cell, '+')}, {cell['verdict']}"


def _gap(cell: Mapping[str, Any]) -> str:
    return _difference({**cell["interval"], "verdict": cell["verdict"]})


def _belongs(table: Mapping[str, Any], name: str, number: int) -> bool:
    """Whether a row stands in a table of the paper: its own rows, the full model, and what these are measured by."""
    rows, row = table["rows"], table["rows"][name]
    if row["table"] is not None:
        return bool(row["table"] == number or name == table["full"])
    if row["sources"] in ([table["full"]], table["late_fusion"]):
        return True
    inits = [list(r["init_from"].values()) for key, r in rows.items() if r["table"] == number or key == table["full"]]
    return any(list(dict.fromkeys(init)) == row["sources"] for init in inits)


def _lines(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(head)} |", "|---" * len(head) + "|", *(f"| {' | '.join(cells)} |" for cells in rows)]


def _markdown(table: Mapping[str, Any]) -> str:
    lines = [
        f"# {table['recipe']}",
        "",
        markdown_text(table["description"]),
        "",
        f"Seeds {', '.join(map(str, table['seeds']))}. Command: `{table['command']}`",
        "",
    ]
    rows: Mapping[str, Mapping[str, Any]] = table["rows"]
    metrics = ["accuracy", "uar", "weighted_f1", *table["scores"]]
    of_scores = ["product_of_scores", "uar_minus_product"] if len(table["scores"]) > 1 else []
    people = next(iter(table["split"]["test"]), None)
    numbers = {row["table"] for row in rows.values()} - {None}
    for number in sorted(numbers, key=lambda n: (n == 0, n)):
        head = ["row", *(_TITLES.get(m, m) for m in metrics), "UAR 95 %", "UAR by person", "UAR minus full model"]
        head += [_TITLES[m] for m in of_scores]
        body = []
        for name in (name for name in rows if _belongs(table, name, number)):
            row, ends = rows[name], rows[name]["uar"]["interval"]
            body.append(
                [
                    f"**{markdown_name(row['title'])}**" if name == table["full"] else markdown_name(row["title"]),
                    *(_spread(row[m]) for m in metrics),
                    ends_text(ends),
                    _spread(row["per_person"].get(people)),
                    _difference(row["uar"].get("minus_full")),
                    *([_spread(row[of_scores[0]]), _gap(row[of_scores[1]])] if of_scores else []),
                ]
            )
        title = f"As Table {number} of the paper" if number else "Beside the paper's tables"
        lines += [f"## {title}", "", *_lines(head, body), ""]
    if table["full"] is not None:
        metrics += of_scores[:1]
        head = ["row", *(f"{_TITLES.get(m, m)} minus full" for m in metrics)]
        body = [
            [markdown_name(row["title"]), *(_difference(row[m].get("minus_full")) for m in metrics)]
            for name, row in rows.items()
            if name != table["full"]
        ]
        lines += ["## All differences", "", *_lines(head, body), ""]
    tested = "; ".join(f"{group} {', '.join(ids)}" for group, ids in table["split"]["test"].items())
    lines += [table["how"], "", f"Test people: {tested}.", ""]
    return "\n".join(lines)
