"""What a benchmark found: every finished run of a folder as rows of one tidy table, and as the paper's columns."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from evermodels.core.text import csv_cell, markdown_name, markdown_text
from evermodels.training.bootstrap import ends_text, interval
from evermodels.training.estimator_runs import estimator_settings
from evermodels.training.metrics import auc_pr, auroc, summarize
from evermodels.training.paper_numbers import paper_numbers
from evermodels.training.predictions import Predictions, pool
from evermodels.training.recipe import SECTIONS
from evermodels.training.state import read_sealed, write_json, write_text
from evermodels.training.suite import Unit

ABOUT = "benchmark.json"
"""File in a run's folder that says which model, data set, fold and seed it is."""

COLUMNS = (
    "dataset",
    "model",
    "modalities",
    "part",
    "metric",
    "value",
    "std",
    "low",
    "high",
    "seed",
    "fold",
    "n",
    "people",
    "parameters",
    "epoch",
    "seconds",
    "status",
    "config",
    "commit",
    "versions",
    "command",
)
"""Columns of ``results.csv``."""

_PLAIN = ("accuracy", "uar", "weighted_f1")
_ALL = "all"


def config_of(unit: Unit, C: Sequence[float]) -> dict[str, Any]:
    """Return all that decides a run's result beside fold and seed, in plain JSON.

    Args:
        unit: The run.
        C: The strengths that are tried, where it is no network.
    """
    network = unit.estimator is None
    return shared(unit.recipe.to_dict() if network else estimator_settings(str(unit.estimator), unit.recipe, C))


def shared(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the folds and seeds of a model have in common of a run's settings.

    Args:
        settings: As they stand in ``run.json``.
    """
    plain = {key: value for key, value in settings.items() if key in ("estimator", *SECTIONS)}
    plain["data"] = {key: value for key, value in plain["data"].items() if key not in ("num_workers", "fold")}
    return plain


class Run(NamedTuple):
    """A finished or failed run."""

    about: dict[str, Any]
    result: dict[str, Any] | None
    test: Predictions | None
    rows: list[dict[str, Any]]


class Results:
    """All runs below a folder.

    Args:
        root: Folder of the runs, as :func:`~evermodels.training.run_benchmark` lays them out.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.markdown = ""
        self._read: dict[Path, Run] = {}

    def runs(self) -> list[Run]:
        """Return the finished and failed runs; each finished one is read once."""
        found = []
        for path in sorted(self.root.glob(f"*/*/fold-*/seed-*/{ABOUT}")):
            if path in self._read:
                found.append(self._read[path])
            elif "failed" in (about := read_sealed(path)):
                row = {**_names(about), "part": "test", "status": f"failed: {about['failed']}"}
                found.append(Run(about, None, None, [row]))
            elif (path.parent / "result.json").is_file():
                self._read[path] = _finished(path, about)
                found.append(self._read[path])
        return sorted(found, key=lambda run: [run.about[key] for key in ("dataset", "model", "seed", "fold")])

    def write_rows(self) -> Path:
        """Write the rows of single runs, whole or not at all, and return the file."""
        rows = [row for run in self.runs() for row in run.rows]
        write_text(self.root / "results.csv", to_csv(rows))
        return self.root / "results.csv"

    def write(self, resamples: int = 2000) -> tuple[Path, ...]:
        """Write all rows, the configurations by digest, and the tables.

        Args:
            resamples: Bootstrap resamples of the intervals.
        """
        runs = self.runs()
        rows = [row for run in runs for row in run.rows] + _summaries(runs, resamples)
        configs = {digest_of(run.about["config"]): run.about["config"] for run in runs}
        abouts = {run.about["dataset"]: run.about for run in runs}
        self.markdown = "\n".join(_section(about, rows, resamples) for about in abouts.values())
        files = tuple(self.root / name for name in ("results.csv", "configs.json", "table.md"))
        write_text(files[0], to_csv(rows))
        write_json(files[1], configs)
        write_text(files[2], self.markdown)
        return files


def digest_of(config: Mapping[str, Any]) -> str:
    """Return the digest by which rows name a configuration.

    Args:
        config: As :func:`config_of` returns it.
    """
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:12]


def _names(about: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "dataset": about["dataset"],
        "model": about["model"],
        "modalities": "+".join(about["modalities"]),
        "seed": about["seed"],
        "fold": about["fold"] if about["folds"] > 1 else "",
        "config": digest_of(about["config"]),
    }


def _finished(path: Path, about: dict[str, Any]) -> Run:
    result = read_sealed(path.parent / "result.json")
    test = Predictions.load(path.parent / "predictions.npz")
    facts = {
        **_names(about),
        "parameters": result["parameters"],
        "epoch": result["selection"]["epoch"],
        "seconds": result["seconds"],
        "status": "finished",
        "commit": result.get("commit") or "",
        "versions": "; ".join(f"{name} {version}" for name, version in result["versions"].items()),
        "command": result["command"],
    }
    chosen, scored = result["selection"]["metric"], result["validation"]
    rows = []
    if chosen != "last":
        value = scored.get(chosen, abs(result["selection"]["value"]))  # a loss is kept negated
        validation = {"metric": chosen, "value": value, "n": scored["samples"]}
        rows = [{**facts, "part": "validation", "people": _people(result["split"]["validation"]), **validation}]
    rows += [{**facts, "part": "test", **row} for row in _metrics(test)]
    return Run(about, result, test, rows)


def _people(split: Mapping[str, Iterable[str]]) -> str:
    groups = {group: " ".join(ids) for group, ids in split.items()}
    return next(iter(groups.values())) if len(groups) == 1 else "; ".join(f"{k}: {v}" for k, v in groups.items())


def _metrics(test: Predictions) -> list[dict[str, Any]]:
    """Return the metrics of one set of predictions, a row each."""
    summary = summarize(test)
    people = {group: sorted(set(map(str, ids)) - {""}) for group, ids in test.groups.items()}
    values = {key: summary[key] for key in (*_PLAIN, *test.levels)}
    values |= {"auroc": auroc(test), "auc_pr": auc_pr(test)}
    rows: list[dict[str, Any]] = [{"metric": metric, "value": value} for metric, value in values.items()]
    for group, per in list(summary["per_person"].items())[:1]:
        rows.append({"metric": f"uar_by_{group}", "value": per["mean"], "std": per["std"]})
    return [{**row, "n": summary["samples"], "people": _people(people)} for row in rows]


def _summaries(runs: Sequence[Run], resamples: int) -> list[dict[str, Any]]:
    """Rows over folds, and over seeds: what the tables show."""
    rows = []
    by_model: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        if run.test is not None:
            by_model.setdefault((run.about["dataset"], run.about["model"]), []).append(run)
    for own in by_model.values():
        folds = own[0].about["folds"]
        whole: dict[int, Predictions] = {}
        for seed in sorted({run.about["seed"] for run in own}):
            of_seed = [run.test for run in own if run.about["seed"] == seed and run.test is not None]
            if len(of_seed) == folds:
                whole[seed] = pool(of_seed) if folds > 1 else of_seed[0]
        if not whole:
            continue
        used = [run for run in own if run.about["seed"] in whole and run.result is not None]
        facts = {
            **_names(own[0].about),
            "fold": _ALL if folds > 1 else "",
            "part": "test",
            "parameters": own[0].rows[0]["parameters"],
            "seconds": round(float(np.mean([run.rows[0]["seconds"] for run in used])), 1),
            "status": "finished",
            "commit": " ".join(sorted({run.rows[0]["commit"] for run in used})),
            "versions": own[0].rows[0]["versions"],
            "command": _command(own[0].rows[0]["command"], whole),
        }
        each = {seed: _metrics(test) for seed, test in whole.items()}
        if folds > 1:
            rows += [{**facts, "seed": seed, **row} for seed, of_seed in each.items() for row in of_seed]
        over = _over_seeds(list(whole.values()), list(each.values()), resamples)
        rows += [{**facts, "seed": _ALL, **row} for row in over]
    return rows


def _command(command: str, seeds: Iterable[int]) -> str:
    """The command of all folds and seeds, of that of one."""
    words = command.split(" ")
    if "--folds" in words:
        del words[words.index("--folds") : words.index("--folds") + 2]
    words[words.index("--seeds") + 1] = ",".join(map(str, seeds))
    return " ".join(words)


def _over_seeds(
    tests: Sequence[Predictions], each: Sequence[Sequence[Mapping[str, Any]]], resamples: int
) -> list[dict[str, Any]]:
    """Mean and deviation over the seeds, and where there is one the interval over people."""
    rows = []
    for same in zip(*each, strict=True):
        row = dict(same[0])
        values = [float(one["value"]) for one in same]
        if row["metric"].startswith("uar_by_"):
            # Over people, each averaged over the seeds: how far people differ, not how far trainings do.
            group = row["metric"].removeprefix("uar_by_")
            per = [summarize(test)["per_person"][group]["uar"] for test in tests]
            people = [float(np.mean([one[who] for one in per])) for who in per[0]]
            row |= {"value": float(np.mean(people)), "std": _std(people)}
        else:
            row |= {"value": float(np.mean(values)), "std": _std(values)}
        if row["metric"] in (*_PLAIN, *tests[0].levels):
            ends = interval(tests, row["metric"], n=resamples)
            row |= {"low": ends.low, "high": ends.high}
        rows.append(row)
    return rows


def _std(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan


def to_csv(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return rows as CSV: numbers to six digits, what is not there or not a number as an empty cell.

    Args:
        rows: Values by column.

    Example:
        >>> to_csv([{"model": "mine", "metric": "uar", "value": 0.75}]).splitlines()[1][:18]
        ',mine,,,uar,0.75,,'
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([_cell(row.get(column)) for column in COLUMNS])
    return stream.getvalue()


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(csv_cell(value))


def read_csv(text: str) -> list[dict[str, str]]:
    """Return the rows of a ``results.csv``.

    Args:
        text: Its content.
    """
    return list(csv.DictReader(io.StringIO(text)))


def benchmark_table(rows: Iterable[Mapping[str, Any]], dataset: str, *, paper: str | None = None) -> str:
    """Return the table of one data set in the paper's columns, the best UAR first.

    Args:
        rows: Rows of ``results.csv``.
        dataset: Name of the data set.
        paper: Its name in EVER's Tables 1 and 2, where it is one of theirs: the paper's numbers of a model's family and
            the gaps (ours minus the paper's) then stand beside ours.

    Returns:
        Markdown; under it what is missing: seeds and folds that are not finished, runs that failed.

    Example:
        >>> of = {"dataset": "eav", "model": "ever_base", "part": "test", "seed": "all", "parameters": 91_000_000}
        >>> rows = [{**of, "metric": m, "value": 0.5} for m in ("accuracy", "uar", "weighted_f1", "auroc")]
        >>> print(benchmark_table(rows, "eav", paper="eav").splitlines()[2].rpartition("| 0.468")[2])
         / 0.468 / 0.489 | +0.032 / +0.032 / +0.011 |
    """
    own = [row for row in rows if row["dataset"] == dataset and row["part"] == "test"]
    models: dict[str, dict[str, Mapping[str, Any]]] = {}
    for row in own:
        if row["seed"] == _ALL:
            models.setdefault(str(row["model"]), {})[str(row["metric"])] = row
    numbers = paper_numbers()["numbers"].get(paper, {}) if paper else {}
    by_person = next((metric for of in models.values() for metric in of if metric.startswith("uar_by_")), None)
    shown = {"accuracy": "Acc", "uar": "UAR", "weighted_f1": "W-F1", "auroc": "AUROC"}
    best = {metric: max((_value(of[metric]) for of in models.values()), default=0.0) for metric in shown if models}
    head = ["model", "Param", *shown.values(), "UAR 95 %"]
    head += [f"UAR by {by_person.removeprefix('uar_by_').replace('_', ' ')}"] if by_person else []
    head += ["seeds", "s a run"] + (["paper: Acc / UAR / W-F1", "gap"] if numbers else [])
    body = []
    for model, of in sorted(models.items(), key=lambda item: -_value(item[1]["uar"])):
        cells = [markdown_name(model), f"{int(of['uar']['parameters']):,}"]
        for metric in shown:
            text = _spread(of[metric])
            cells.append(f"**{text}**" if _value(of[metric]) == best[metric] else text)
        cells.append(ends_text({key: _number(of["uar"].get(key)) for key in ("low", "high")}))
        cells += [_spread(of[by_person])] if by_person else []
        cells += [_seeds(own, of["uar"]), f"{float(of['uar'].get('seconds') or 0):.0f}"]
        body.append(cells + (_beside(numbers, model, of) if numbers else []))
    lines = [f"| {' | '.join(cells)} |" for cells in (head, *body)]
    lines.insert(1, "|---" * len(head) + "|")
    return "\n".join([*lines, *_missing(own, set(models))])


def _number(cell: Any) -> float | None:
    """What a cell says: nothing where it is empty or not a number."""
    value = math.nan if cell in (None, "") else float(cell)
    return None if math.isnan(value) else value


def _value(row: Mapping[str, Any]) -> float:
    value = _number(row["value"])
    return math.nan if value is None else value


def _spread(row: Mapping[str, Any]) -> str:
    std = _number(row.get("std"))
    return f"{_value(row):.3f}" + ("" if std is None else f" ± {std:.3f}")


def _seeds(rows: Iterable[Mapping[str, Any]], whole: Mapping[str, Any]) -> str:
    """How many seeds a row over all of them is of."""
    same = ("model", "metric", "fold")
    seeds = {row["seed"] for row in rows if all(row.get(key) == whole.get(key) for key in same)} - {_ALL}
    return str(len(seeds) or "")


def _beside(numbers: Mapping[str, Sequence[float]], model: str, of: Mapping[str, Mapping[str, Any]]) -> list[str]:
    theirs = next((values for family, values in numbers.items() if model.startswith(f"{family}_")), None)
    if theirs is None:
        return ["", ""]
    gaps = [_value(of[metric]) - value for metric, value in zip(_PLAIN, theirs, strict=True)]
    return [" / ".join(f"{value:.3f}" for value in theirs), " / ".join(f"{gap:+.3f}" for gap in gaps)]


def _missing(rows: Sequence[Mapping[str, Any]], done: set[str]) -> list[str]:
    """What the table does not hold, in a sentence each."""
    said = []
    failed = [row for row in rows if str(row.get("status", "")).startswith("failed")]
    begun = sorted({str(row["model"]) for row in rows} - done - {str(row["model"]) for row in failed})
    if begun:
        said.append(f"Not all folds of a seed are finished: {', '.join(map(markdown_name, begun))}.")
    places: dict[tuple[str, str], list[str]] = {}
    for row in failed:
        fold = f", fold {row['fold']}" if row["fold"] != "" else ""
        places.setdefault((str(row["model"]), str(row["status"])), []).append(f"seed {row['seed']}{fold}")
    for (model, status), where in places.items():
        said.append(f"{markdown_name(model)} ({'; '.join(where)}) {markdown_text(status)}")
    return [line for text in said for line in ("", text)]


HOW = """\
Test people are in no other part; each run's epoch (or `C`) was chosen by the UAR of its validation people. UAR, the
mean of the classes' recalls, is balanced accuracy. ± is the standard deviation (n - 1) over seeds, in the column by
person that over people, each averaged over the seeds. Folds are joined before a metric is computed, so that everybody
is a test person once. Interval: 95 % percentile bootstrap over the test people, {resamples} resamples, with the
trained seeds as they are. AUROC is pooled over people (of more than two classes the mean of each against the rest).
Bold: the largest of the column, without any claim that the others are behind: see the intervals.
"""


def _section(about: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], resamples: int) -> str:
    text = HOW.format(resamples=resamples).replace("\n", " ").strip()
    table = benchmark_table(rows, about["dataset"], paper=about["paper"])
    return f"## {markdown_text(about['title'])}\n\n{markdown_text(about['description'])}\n\n{table}\n\n{text}\n"
