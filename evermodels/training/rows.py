"""All rows of a recipe at all seeds: in their order, resumable, into one table."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evermodels.core.errors import ConfigError
from evermodels.training.build import build_model
from evermodels.training.engine import fit, run_folder
from evermodels.training.recipe import Recipe
from evermodels.training.state import write_json, write_text, writing
from evermodels.training.tables import make_table


def with_sources(recipe: Recipe, names: Sequence[str]) -> list[str]:
    """Return the rows that must be trained to have the given ones: they and what they start from, sources first.

    Args:
        recipe: The recipe.
        names: Names of rows.

    Raises:
        UnknownNameError: If there is no such row.
    """
    needed: set[str] = set()
    waiting = list(names)
    while waiting:
        row = recipe.row(waiting.pop())
        if row is not None and row.name not in needed:
            needed.add(row.name)
            waiting.extend(row.init_from.values())
    # A recipe only lets a row start from earlier ones, so its own order is a right one.
    return [row.name for row in recipe.rows if row.name in needed]


def _sources(recipe: Recipe, row: str, run_root: str | os.PathLike[str], seed: int) -> dict[str, Path]:
    """The trained encoders that a row starts from, by modality, or the whole model."""
    chosen = recipe.row(row)
    init_from = chosen.init_from if chosen is not None else {}
    return {modality: run_folder(run_root, source, seed) / "model" for modality, source in init_from.items()}


def finetune(
    recipe: Recipe,
    run_root: str | os.PathLike[str],
    *,
    seed: int = 0,
    row: str | None = None,
    data_root: str | os.PathLike[str] | None = None,
    resume: bool = True,
    progress: bool = True,
) -> dict[str, Any]:
    """Train one row at one seed, and before it the rows whose encoders it starts from.

    Args:
        recipe: The recipe.
        run_root: Folder of all runs of the recipe; a run goes to ``run_root/row/seed-N``.
        seed: The seed.
        row: The row (default: the full model; in a recipe without rows the recipe itself, in ``run_root/recipe name``).
        data_root: Folder of the recordings (default: ``EVERMODELS_DATA``).
        resume: Whether unfinished runs go on and finished ones stay; ``False`` trains the row anew, its sources stay.
        progress: Whether to show bars.

    Returns:
        The row's result, as :func:`fit` gives it.

    Raises:
        UnknownNameError: If there is no such row.
        EvermodelsError: As :func:`fit` raises.

    Example:
        >>> import tempfile
        >>> from evermodels.training import finetune, load_recipe
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     finetune(load_recipe("ever_tiny_quadrant"), folder, row="eeg", data_root="nowhere", progress=False)
        Traceback (most recent call last):
            ...
        evermodels.core.errors.DataError: eegmat: there is no folder 'nowhere/eegmat'. ...
    """
    settings: dict[str, Any] = {"seed": seed, "data_root": data_root, "progress": progress}
    chosen = recipe.row(row)
    if chosen is None:
        return fit(recipe, run_folder(run_root, recipe.name, seed), resume=resume, **settings)
    *sources, last = with_sources(recipe, [chosen.name])
    for name in (*sources, last):
        result = fit(
            recipe,
            run_folder(run_root, name, seed),
            row=name,
            init_from=_sources(recipe, name, run_root, seed),
            resume=resume or name != last,
            **settings,
        )
    return result


def run_rows(
    recipe: Recipe,
    run_root: str | os.PathLike[str],
    *,
    seeds: Sequence[int] = (0, 1, 2),
    rows: Sequence[str] | None = None,
    data_root: str | os.PathLike[str] | None = None,
    progress: bool = True,
    resamples: int = 2000,
) -> dict[str, Any]:
    """Train rows at several seeds, and write their table as ``table.md`` and ``table.json``.

    Runs that are finished are not repeated and an unfinished one goes on, so the call itself can be repeated after a
    kill. Every row's model is built once before anything is trained, so that a wrong setting shows at once.

    Args:
        recipe: The recipe; its ``full`` row is what the others are compared with.
        run_root: Folder of all runs, ``run_root/row/seed-N``.
        seeds: The seeds; one seed is trained through all rows before the next.
        rows: Names of the rows (default: all); what they start from is trained too.
        data_root: Folder of the recordings (default: ``EVERMODELS_DATA``).
        progress: Whether to show bars.
        resamples: Bootstrap resamples of the intervals.

    Returns:
        The content of ``table.json``, as :func:`make_table` gives it.

    Raises:
        ConfigError: If the recipe has no rows, or a row's settings do not fit.
        UnknownNameError: If there is no such row.
        EvermodelsError: As :func:`fit` raises.

    Example:
        >>> from evermodels.training import load_recipe, run_rows
        >>> run_rows(load_recipe("ever_tiny_quadrant"), "runs", seeds=(0, 1, 1))
        Traceback (most recent call last):
            ...
        evermodels.core.errors.ConfigError: seeds: expected each once, got [0, 1, 1].
    """
    if not recipe.rows or not seeds:
        raise ConfigError(
            f"run_rows: expected a recipe with [[rows]] and at least one seed, got {len(recipe.rows)} rows, "
            f"seeds {list(seeds)}. For a recipe without rows use finetune."
        )
    if len(set(seeds)) != len(seeds):
        raise ConfigError(f"seeds: expected each once, got {list(seeds)}.")
    wanted = [row.name for row in recipe.rows] if rows is None else list(rows)
    order = with_sources(recipe, wanted)
    root = Path(run_root)
    for name in order:
        model = build_model(recipe.for_row(name))
        for modality in _sources(recipe, name, root, 0).keys() - {"model"}:
            model.encoder(modality)
    for seed in seeds:
        for name in order:
            fit(
                recipe,
                run_folder(root, name, seed),
                seed=seed,
                row=name,
                init_from=_sources(recipe, name, root, seed),
                data_root=data_root,
                progress=progress,
            )
    table = make_table(recipe, root, seeds=seeds, rows=order, resamples=resamples)
    with writing(root):
        write_json(root / "table.json", table)
        write_text(root / "table.md", table["markdown"])
    return table
