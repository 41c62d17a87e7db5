"""``evermodels benchmark``: a suite's models × data sets × seeds, or the rows of one recipe."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from evermodels.cli_predict import names
from evermodels.core.errors import ConfigError
from evermodels.core.text import one_line

_OF_SUITES = ("models", "datasets", "folds", "minutes")


def whole_numbers(text: str) -> tuple[int, ...]:
    """Return numbers such as ``0,1,2`` or ``0-4``.

    Args:
        text: Numbers and ranges, apart by commas.

    Raises:
        argparse.ArgumentTypeError: If it is none.

    Example:
        >>> whole_numbers("0-2,5")
        (0, 1, 2, 5)
    """
    found: list[int] = []
    for part in names(text):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or len(part) > 9:
            raise argparse.ArgumentTypeError(f"expected whole numbers such as 0,1,2 or 0-4, got {text!r}")
        found += range(int(first), int(last if dash else first) + 1)
    return tuple(found)


def _minutes(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:
        raise argparse.ArgumentTypeError(f"expected minutes of at least 0, got {text!r}")
    return value


def add_arguments(sub: argparse.ArgumentParser) -> None:
    """Add the options.

    Args:
        sub: The command's parser.
    """
    sub.add_argument("--suite", metavar="S", help="suite by name (eeg_models, video_models, pairs), or a .toml file")
    sub.add_argument("--models", type=names, metavar="A,B", help="models (the suite's); NAME:eeg: a system's half")
    sub.add_argument("--datasets", type=names, metavar="A,B", help="its data sets, such as eegmat-1 (all)")
    sub.add_argument("--seeds", type=whole_numbers, metavar="0-4", help="seeds (those of the protocols; recipe: 0-2)")
    sub.add_argument("--folds", type=whole_numbers, metavar="0-5", help="folds (all)")
    sub.add_argument("--minutes", type=_minutes, metavar="M", help="begin no run after M minutes; 0: only tables")
    sub.add_argument("--rows", type=names, metavar="A,B", help="with --recipe: rows, and what they start from (all)")


def benchmark(args: argparse.Namespace, progress: bool) -> int:
    """Run a suite, or all rows of a recipe, and print the tables.

    Args:
        args: The options.
        progress: Whether to show bars.

    Returns:
        1 where a run failed, else 0.

    Raises:
        EvermodelsError: As :func:`~evermodels.training.run_benchmark` raises.
    """
    from evermodels import training

    given: set[str] = getattr(args, "given", set())
    if args.recipe is not None:
        if others := [key for key in ("suite", *_OF_SUITES) if key in given]:
            raise ConfigError(f"--{others[0]}: it goes with a suite, and this is a recipe. Leave it out.")
        recipe = training.load_recipe(args.recipe, args.set)
        table = training.run_rows(
            recipe,
            args.run_dir or Path("runs") / recipe.name,
            seeds=(0, 1, 2) if args.seeds is None else args.seeds,
            rows=args.rows,
            data_root=args.data,
            progress=progress,
            resamples=args.resamples,
        )
        print(table["markdown"])
        return 0
    if args.suite is None and args.models is None:
        args.parser.print_usage(sys.stderr)
        raise ConfigError("give --models A,B with --datasets C,D, or --suite NAME, or --recipe NAME.")
    if args.rows is not None:
        raise ConfigError("--rows: it goes with a recipe, and this is a suite. Leave it out.")
    suite = training.load_suite(args.suite or "unified", args.set)
    report = training.run_benchmark(
        suite,
        args.run_dir or Path("runs") / suite.name,
        models=args.models,
        datasets=args.datasets,
        seeds=args.seeds,
        folds=args.folds,
        data_root=args.data,
        minutes=args.minutes,
        resamples=args.resamples,
        progress=progress,
    )
    print(report.markdown)
    _say([f"left out: {text}." for text in report.left_out])
    _say([f"failed: {run}: {error}" for run, error in report.failed.items()])
    _say([f"{report.left} runs are left; the same command goes on."] if report.left else [])
    _say([f"{path}" for path in report.files])
    return 1 if report.failed else 0


def _say(lines: Sequence[str]) -> None:
    for line in lines:
        print(f"evermodels: {one_line(line)}", file=sys.stderr)
