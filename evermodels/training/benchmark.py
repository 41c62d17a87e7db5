"""A suite run for real: one run after the other, resumable, one process at a time, results whole after each run."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from evermodels.core.errors import ConfigError, DataError, EvermodelsError, boundary, require
from evermodels.training.benchmark_results import ABOUT, Results, config_of, shared
from evermodels.training.engine import fit
from evermodels.training.estimator_runs import fit_estimator
from evermodels.training.state import TrainingError, folder_made, locked, read_sealed, write_sealed, writing
from evermodels.training.suite import Suite, Unit, plan


class BenchmarkReport(NamedTuple):
    """What became of a call.

    Attributes:
        markdown: The tables of all finished runs in the folder.
        failed: What went wrong, by run.
        left: Runs of the plan that are neither finished nor failed.
        left_out: Why a model is not run on a data set, a sentence each.
        files: What was written: results, configurations, tables.
    """

    markdown: str
    failed: dict[str, str]
    left: int
    left_out: tuple[str, ...]
    files: tuple[Path, ...]


def run_benchmark(
    suite: Suite,
    run_root: str | os.PathLike[str],
    *,
    models: Sequence[str] | None = None,
    datasets: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    folds: Sequence[int] | None = None,
    data_root: str | os.PathLike[str] | None = None,
    minutes: float | None = None,
    resamples: int = 2000,
    progress: bool = True,
) -> BenchmarkReport:
    """Train models × data sets × folds × seeds, and write ``results.csv``, ``configs.json`` and ``table.md``.

    Each run has a folder of its own, ``run_root/data set/model/fold-K/seed-N``. A finished run is not repeated and one
    that was killed goes on where it stood, with the same result; so the call itself can be repeated, with more models
    or seeds too. A run that fails is recorded with its error, tried again by the next call, and the others go on. One
    process at a time works in ``run_root``. The files hold all finished runs of the folder, whatever this call asked
    for.

    Args:
        suite: The suite (:func:`~evermodels.training.load_suite`).
        run_root: Folder of all runs.
        models: Models (default: the suite's).
        datasets: Data sets (default: the suite's).
        seeds: Seeds (default: those that each data set's protocol names).
        folds: Folds (default: all).
        data_root: Folder of the recordings (default: ``EVERMODELS_DATA``).
        minutes: Begin no further run after so many minutes; 0 writes the files of what is finished.
        resamples: Bootstrap resamples of the intervals.
        progress: Whether to show bars.

    Raises:
        UnknownNameError: If there is no such model or data set.
        ConfigError: If a value does not fit.
        TrainingError: If another process works in the folder, or it holds runs of other settings.
        DataError: If no data set of the plan can be read.

    Example:
        >>> from evermodels.training import load_suite, run_benchmark
        >>> run_benchmark(load_suite(), "runs", models=["eegnet"], datasets=["eegmat-1"])
        Traceback (most recent call last):
            ...
        evermodels.core.errors.UnknownNameError: models: 'eegnet' does not exist. Did you mean 'eegnet_tiny' or ...
    """
    if minutes is not None and not minutes >= 0:
        raise ConfigError(f"minutes: expected a number of at least 0, got {minutes!r}.")
    made = plan(suite, models=models, datasets=datasets, seeds=seeds, folds=folds)
    root, end = Path(run_root), None if minutes is None else time.monotonic() + 60 * minutes
    with folder_made(root), locked(root):
        _check_settings(suite, made.units, root)
        results = Results(root)
        todo = [unit for unit in made.units if not _is_finished(root / unit.folder)]
        failed, left = _run_all(suite, todo, results, data_root=data_root, end=end, progress=progress)
        with writing(root):
            files = results.write(resamples)
    return BenchmarkReport(results.markdown, failed, left, made.left_out, files)


def _run_all(
    suite: Suite, todo: Sequence[Unit], results: Results, *, data_root: Any, end: float | None, progress: bool
) -> tuple[dict[str, str], int]:
    tqdm: Any = require("tqdm.auto", extra="train", purpose="show progress").tqdm
    failed: dict[str, str] = {}
    unreadable: dict[str, tuple[Unit, DataError]] = {}
    done = left = 0
    with tqdm(total=len(todo), desc=suite.name, unit="run", disable=not progress) as bar:
        for unit in todo:
            if end is not None and time.monotonic() >= end:
                left += 1
                continue
            bar.set_postfix_str(str(unit))
            try:
                if unit.dataset not in unreadable:
                    _run(suite, unit, results.root, data_root=data_root, progress=progress)
                    _tell(suite, unit, results.root)
                    done += 1
                else:
                    left += 1
            except DataError as error:  # the same for all of the data set's runs
                unreadable[unit.dataset] = unit, error
            except EvermodelsError as error:
                failed[str(unit)] = str(error)
                _tell(suite, unit, results.root, failed=str(error))
            bar.update()
            if done:
                with writing(results.root):
                    results.write_rows()
    if unreadable and not done and not failed:
        raise next(iter(unreadable.values()))[1]
    for unit, what in unreadable.values():
        failed[str(unit)] = str(what)
        _tell(suite, unit, results.root, failed=str(what))
    return failed, left


def _run(suite: Suite, unit: Unit, root: Path, *, data_root: Any, progress: bool) -> None:
    way_out = "Repeat the command: it tries this run again and leaves what is finished."
    own: dict[str, Any] = {"seed": unit.seed, "data_root": data_root}
    with boundary(TrainingError, f"{unit}: the run failed", way_out):
        if unit.estimator is not None:
            fit_estimator(unit.estimator, unit.recipe, root / unit.folder, C=suite.C, **own)
        else:
            fit(unit.recipe, root / unit.folder, progress=progress, **own)


def _tell(suite: Suite, unit: Unit, root: Path, **more: str) -> None:
    """Write into a run's folder what it is, and what went wrong."""
    folder = root / unit.folder
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_sealed(folder / ABOUT, {**_about(suite, unit), **more})


def _is_finished(folder: Path) -> bool:
    files = folder / ABOUT, folder / "result.json"
    return all(file.is_file() for file in files) and "failed" not in read_sealed(files[0])


def _about(suite: Suite, unit: Unit) -> dict[str, Any]:
    """What a run's folder says of its place in the benchmark."""
    dataset = suite.dataset(unit.dataset)
    return {
        "suite": suite.name,
        "description": suite.description,
        "model": unit.model,
        "modalities": list(unit.modalities),
        "dataset": unit.dataset,
        "title": dataset.title or unit.dataset,
        "paper": dataset.paper,
        "fold": unit.fold,
        "folds": dataset.folds,
        "seed": unit.seed,
        "config": config_of(unit, suite.C),
    }


def _check_settings(suite: Suite, units: Sequence[Unit], root: Path) -> None:
    """Refuse a folder with runs of other settings before anything is done in it."""
    wanted = {unit.folder: config_of(unit, suite.C) for unit in units}
    data = {unit.dataset: wanted[unit.folder]["data"] for unit in units}
    for path in sorted(root.glob("*/*/fold-*/seed-*/run.json")):
        folder, dataset = path.parent.relative_to(root).as_posix(), path.relative_to(root).parts[0]
        before = shared(read_sealed(path)["settings"])
        now = wanted.get(folder, {**before, "data": data.get(dataset, before["data"])})  # one table, one data set
        differs = sorted(key for key in {*before, *now} if before.get(key) != now.get(key))
        if differs:
            raise TrainingError(
                f"{str(path.parent)!r} holds a run of other settings ({', '.join(differs)}). Give another folder, or "
                "remove that run's."
            )
