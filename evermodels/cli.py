"""The command line: list, info, demo, predict, finetune, evaluate, benchmark."""

from __future__ import annotations

import argparse
import csv
import io
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import evermodels
from evermodels.core.errors import ConfigError, EvermodelsError

__all__ = ["build_parser", "main"]

OK, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: The arguments without the program's name; ``None`` takes those of the process.

    Returns:
        0 when all went well, 2 for bad arguments or input (one line on stderr says what and the way out), 130 after
        Ctrl-C.

    Example:
        >>> main(["list", "ever_tiny"])
        ever_tiny  system  eeg, video  EVER at no more than 1.5 M parameters, ...
        0
    """
    try:
        args = build_parser().parse_args(argv)
    except SystemExit as stop:
        return int(stop.code or 0)
    run: Callable[[argparse.Namespace], int] = args.run
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        try:
            return run(args)
        except KeyboardInterrupt:
            print("evermodels: interrupted", file=sys.stderr)
            return INTERRUPTED
        except BrokenPipeError:
            # The reader of our output has gone (`| head`): nothing more can be said, nothing went wrong.
            sys.stdout = None  # type: ignore[assignment]
            return OK
        except (EvermodelsError, OSError) as error:
            print(f"evermodels: {' '.join(str(error).split())}", file=sys.stderr)
            return BAD_INPUT


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    print(f"evermodels: warning: {' '.join(str(message).split())}", file=sys.stderr)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="evermodels",
        description="Emotion recognition from EEG with face video: pretrained models, layers, recipes.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"evermodels {evermodels.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=f"{text}.", allow_abbrev=False)
        sub.set_defaults(run=run)
        return sub

    sub = command("list", _list, "List the models that exist")
    sub.add_argument("pattern", nargs="?", default="*", help="a shell pattern such as 'ever*'")
    sub.add_argument("--pretrained", action="store_true", help="list checkpoints (arch.tag) instead of architectures")
    sub.add_argument("--kind", choices=("backbone", "system"), help="only encoders, or only whole recognisers")
    sub.add_argument("--modality", help="only models that take this modality, such as eeg")

    sub = command("info", _info, "Say what is known about a model or a checkpoint")
    sub.add_argument("name", metavar="NAME", help="architecture, checkpoint (arch.tag), or checkpoint folder")

    sub = command("demo", _demo, "Read the bundled real sample with the bundled model, and write an HTML page")
    sub.add_argument("--out", type=Path, default=Path("evermodels_demo.html"), help="where the page goes (%(default)s)")

    sub = command("predict", _predict, "Read a recording and print class probabilities per window")
    sub.add_argument("--model", required=True, metavar="NAME", help="checkpoint (arch.tag) or checkpoint folder")
    sub.add_argument("--eeg", type=Path, metavar="FILE", help="EEG, any file that MNE reads")
    sub.add_argument("--video", type=Path, metavar="FILE", help="face video, or a folder of pictures")
    sub.add_argument("--overlap", type=float, default=0.0, help="part of a window that the next one repeats (%(default)s)")
    sub.add_argument("--batch-size", type=int, default=8, help="windows per forward pass (%(default)s)")
    sub.add_argument("--device", help="where to run, such as cpu or cuda:0")
    sub.add_argument("--out", type=Path, metavar="HTML", help="write a page with pictures")
    sub.add_argument("--csv", type=Path, metavar="CSV", help="write the table")
    _add_training(command)
    return parser


def _add_training(command: Callable[..., argparse.ArgumentParser]) -> None:
    finetune = command("finetune", _finetune, "Train a recipe; goes on where a killed run stopped")
    evaluate = command("evaluate", _evaluate, "Test a trained run or checkpoint on the people of a recipe's part")
    benchmark = command("benchmark", _benchmark, "Train a recipe's rows over seeds and print its tables")
    for sub in (finetune, evaluate, benchmark):
        sub.add_argument("--recipe", required=True, metavar="R", help="recipe by name, or a .toml file")
        sub.add_argument("--data", type=Path, metavar="FOLDER", help="folder of the recordings (else $EVERMODELS_DATA)")
        sub.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a value of the recipe")
        sub.add_argument("--run-dir", type=Path, default=Path("runs"), metavar="D", help="folder of the runs (%(default)s)")


# ------------------------------------------------------------------------------------------------- list, info


def _list(args: argparse.Namespace) -> int:
    from evermodels.core import registry

    names = evermodels.list_models(args.pattern, kind=args.kind, modality=args.modality, pretrained=args.pretrained)
    if not names:
        what = "pretrained checkpoint" if args.pretrained else "model"
        print(f"evermodels: no {what} matches {args.pattern!r}", file=sys.stderr)
        return OK
    rows = []
    for name in names:
        entry = registry.entry(name.partition(".")[0])
        text = entry.summary
        if args.pretrained:
            from evermodels.checkpoints.table import lookup

            row = lookup(name)
            text = f"{row.score}, {row.licence}" + (", bundled" if row.bundled else "")
        rows.append((name, entry.kind, ", ".join(entry.modalities), text))
    _print_columns(rows)
    return OK


def _info(args: argparse.Namespace) -> int:
    from evermodels.core import registry

    name = args.name
    if name in registry.MODELS:
        import torch

        with torch.device("meta"):
            model = registry.build(name)
        entry = registry.entry(name)
        head = [("name", name), ("kind", entry.kind), ("summary", entry.summary)]
        names = ", ".join(evermodels.list_models(name, pretrained=True)) or "none"
        tail = [("pretrained", names)]
    else:
        model = evermodels.from_pretrained(name)
        head, tail = [("name", name), ("kind", "checkpoint")], []
    from evermodels.recognizer import describe

    facts = describe(model)
    if name in registry.MODELS:
        facts.pop("weights", None)
    _print_facts([*head, *facts.items(), *tail])
    return OK


def _print_columns(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]) - 1)]
    for row in rows:
        print("  ".join([*(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=False)), row[-1]]))


def _print_facts(rows: Sequence[tuple[str, Any]]) -> None:
    width = max(len(key) for key, _ in rows)
    for key, value in rows:
        lines = [str(v) for v in value] if isinstance(value, list) else [str(value)]
        for number, line in enumerate(lines):
            print(f"{key.replace('_', ' ') if number == 0 else '':<{width}}  {line}")


# ---------------------------------------------------------------------------------------------- demo, predict


def _demo(args: argparse.Namespace) -> int:
    from evermodels import demo

    demo.run(args.out)
    return OK


def _predict(args: argparse.Namespace) -> int:
    from evermodels.recognizer import Recognizer

    if args.eeg is None and args.video is None:
        raise ConfigError("predict: nothing to read. Give --eeg FILE, --video FILE, or both.")
    for flag, target in (("--out", args.out), ("--csv", args.csv)):
        if target is not None and not target.absolute().parent.is_dir():
            raise ConfigError(f"{flag}: the folder {str(target.parent)!r} does not exist. Make it first.")
    recognizer = Recognizer(args.model, device=args.device, batch_size=args.batch_size)
    result = recognizer.predict(args.eeg, args.video, overlap=args.overlap, progress=True)
    print(result.summary())
    if args.csv is not None:
        from evermodels.report import write_whole

        stream = io.StringIO(newline="")
        table = result.to_table()
        writer = csv.DictWriter(stream, list(table[0]))
        writer.writeheader()
        writer.writerows(table)
        print(f"table: {write_whole(args.csv, stream.getvalue())}")
    if args.out is not None:
        from evermodels.report import write_report

        read = " and ".join(str(p.name) for p in (args.eeg, args.video) if p is not None)
        print(f"page: {write_report(result, args.out, intro=f'What {result.model} says about {read}.')}")
    return OK
