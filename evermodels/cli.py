"""The command line: list, info, demo, predict, finetune, pretrain, evaluate, benchmark, convert, push."""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import shutil
import sys
import textwrap
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import evermodels
from evermodels import cli_benchmark, cli_predict
from evermodels.cli_predict import channels
from evermodels.core.errors import ConfigError, EvermodelsError, did_you_mean
from evermodels.core.text import one_line, visible

__all__ = ["build_parser", "main"]

OK, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: The arguments without the program's name; ``None`` takes those of the process.

    Returns:
        0 when all went well, 2 for bad arguments or input (stderr says what and the way out), 130 after
        Ctrl-C.

    Example:
        >>> main(["list", "ever_tiny"])
        ever_tiny  system  eeg, video  EVER at no more than 1.5 M parameters, ...
        0
    """
    try:
        args, unknown = build_parser().parse_known_args(argv)
        if unknown:  # said with the usage of the command, not of the program
            hint = did_you_mean(unknown[0], args.parser.flags)
            args.parser.error(f"unrecognized arguments: {' '.join(unknown)}.{hint}")
    except SystemExit as stop:
        return int(stop.code or 0)
    run: Callable[[argparse.Namespace], int] = args.run
    with warnings.catch_warnings():
        args.warned = []
        warnings.showwarning = functools.partial(_show_warning, args.warned)
        try:
            return run(args)
        except KeyboardInterrupt:
            print("evermodels: interrupted", file=sys.stderr)
            return INTERRUPTED
        except BrokenPipeError:
            # The reader of our output has gone (`| head`): nothing more can be said, nothing went wrong.
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return OK
        except (EvermodelsError, OSError) as error:
            print(f"evermodels: {visible(str(error).strip())}", file=sys.stderr)
            return BAD_INPUT


def _show_warning(warned: list[str], message: Warning | str, *_: Any, **__: Any) -> None:
    text = one_line(" ".join(str(message).split()))
    if text in warned:  # a recording is opened more than once: to plan, to compare, to read
        return
    warned.append(text)
    print(f"evermodels: warning: {text}", file=sys.stderr)


class _Once(argparse.Action):
    """Store a value, and refuse a second one: of two files only the last would be read."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        given = namespace.__dict__.setdefault("given", set())
        if option is not None and self.dest in given:
            parser.error(f"{option}: given twice. Give it once; several files need a call each.")
        given.add(self.dest)
        setattr(namespace, self.dest, values)


class _Parser(argparse.ArgumentParser):
    def __init__(self, **settings: Any) -> None:
        self.flags: list[str] = []
        super().__init__(**settings, allow_abbrev=False)
        self.register("action", None, _Once)

    def add_argument(self, *names: Any, **settings: Any) -> argparse.Action:
        action = super().add_argument(*names, **settings)
        self.flags += action.option_strings
        return action


def _terminal() -> bool:
    """Whether somebody watches: progress bars would only fill a log."""
    return sys.stderr.isatty()


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = _Parser(
        prog="evermodels",
        description="Emotion recognition from EEG with face video: pretrained models, layers, recipes.",
    )
    parser.add_argument("--version", action="version", version=f"evermodels {evermodels.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=f"{text}.")
        sub.set_defaults(run=run, parser=sub)
        return sub

    sub = command("list", _list, "List the models that exist")
    sub.add_argument("pattern", nargs="?", default="*", help="a shell pattern such as 'ever*'")
    sub.add_argument("--pretrained", action="store_true", help="list checkpoints (arch.tag) instead of architectures")
    sub.add_argument("--kind", choices=("backbone", "system"), help="only encoders, or only whole recognisers")
    sub.add_argument("--modality", help="only models that take this modality, such as eeg")

    sub = command("info", _info, "Say what is known about a model or a checkpoint, or what a recording holds")
    sub.add_argument(
        "name", metavar="NAME", help="architecture, checkpoint (arch.tag), checkpoint folder, or a recording's file"
    )
    sub.add_argument("--model", metavar="NAME", help="with a recording: what this model would do with it")
    sub.add_argument("--ch-names", type=channels, metavar="A,B,...", help=f"with --model: {cli_predict.CHANNELS}")
    cli_predict.add_model_options(sub)
    sub.add_argument(
        "--modality", metavar="M", help="with a recording: what it is of, where its ending does not say it"
    )
    cli_predict.add_options(sub)

    sub = command("demo", _demo, "Read the bundled real sample with a model, and write an HTML page")
    sub.add_argument("--model", metavar="NAME", help="checkpoint of EEG or face video (the bundled one)")
    sub.add_argument("--out", type=Path, default=Path("evermodels_demo.html"), help="where the page goes (%(default)s)")

    sub = command("predict", _predict, "Read a recording and print class probabilities per window")
    cli_predict.add_arguments(sub)
    _add_training(command)
    _add_pretrain(command)
    _add_convert(command)
    _add_push(command)
    return parser


def _add_training(command: Callable[..., argparse.ArgumentParser]) -> None:
    finetune = command(
        "finetune", _finetune, "Train a recipe, or a model on your own data; a killed run goes on where it stood"
    )
    evaluate = command("evaluate", _evaluate, "Test a checkpoint on the people of a recipe's part, or of your own data")
    benchmark = command("benchmark", _benchmark, "Train models on data sets over seeds, or all rows of a recipe")
    for sub in (finetune, evaluate, benchmark):
        own = sub is not benchmark
        manifest = ", or the manifest (.toml) of your own" if own else ""
        sub.add_argument("--recipe", metavar="R", help="recipe by name, or a .toml file")
        sub.add_argument(
            "--data",
            type=Path,
            metavar="FOLDER|MANIFEST" if own else "FOLDER",
            help=f"folder of the recordings ($EVERMODELS_DATA){manifest}",
        )
        sub.add_argument(
            "--set", action="append", default=[], metavar="KEY=VALUE", help="change a value, such as optim.epochs=3"
        )
    for sub in (finetune, benchmark):
        named = "RECIPE" if sub is finetune else "SUITE or RECIPE"
        sub.add_argument("--run-dir", type=Path, metavar="D", help=f"folder of the runs (runs/{named})")
    for sub in (finetune, evaluate):
        sub.add_argument(
            "--model",
            required=sub is evaluate,
            metavar="NAME",
            help="checkpoint (arch.tag) or checkpoint folder"
            + ("" if sub is evaluate else ", or an architecture: what is trained on a manifest"),
        )
        sub.add_argument(
            "--folds", type=int, default=5, metavar="N", help="with a manifest: folds over its people (%(default)s)"
        )
    finetune.add_argument(
        "--fold", default="0", metavar="K|all", help="with a manifest: which fold is tested, or all (%(default)s)"
    )
    evaluate.add_argument("--fold", default="0", metavar="K", help="with a manifest: which fold (%(default)s)")
    finetune.add_argument("--row", metavar="NAME", help="row of the recipe's tables (the full model)")
    finetune.add_argument("--seed", type=int, default=0, metavar="S", help="seed (%(default)s)")
    finetune.add_argument("--restart", action="store_true", help="begin anew, and remove what this run had written")
    evaluate.add_argument("--part", choices=("validation", "test"), default="test", help="whose data (%(default)s)")
    for sub in (finetune, evaluate):
        sub.add_argument(
            "--ch-names",
            type=channels,
            metavar="A,B,...",
            help=cli_predict.CHANNELS,
        )
    evaluate.add_argument("--device", help="where to run, such as cpu or cuda:0")
    evaluate.add_argument("--batch-size", type=_count, default=64, help="samples per forward pass (%(default)s)")
    cli_benchmark.add_arguments(benchmark)
    benchmark.add_argument(
        "--resamples", type=_count, default=2000, metavar="N", help="bootstrap resamples of the intervals (%(default)s)"
    )


def _add_pretrain(command: Callable[..., argparse.ArgumentParser]) -> None:
    sub = command("pretrain", _pretrain, "Pre-train an encoder without labels; a killed run goes on where it stood")
    sub.add_argument("--recipe", required=True, metavar="R", help="recipe by name, such as mbsm_tiny_open, or a .toml")
    sub.add_argument("--data", type=Path, metavar="FOLDER", help="folder of the recordings ($EVERMODELS_DATA)")
    sub.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a value, such as optim.epochs=3")
    sub.add_argument("--run-dir", type=Path, metavar="D", help="folder of the run (runs/RECIPE/seed-S)")
    sub.add_argument("--seed", type=int, default=0, metavar="S", help="seed (%(default)s)")
    sub.add_argument("--restart", action="store_true", help="begin anew, and remove what this run had written")


def _add_convert(command: Callable[..., argparse.ArgumentParser]) -> None:
    sub = command("convert", _convert, "Write foreign weights as a checkpoint folder; nothing in them is executed")
    sub.add_argument("source", type=Path, metavar="SOURCE", help=".safetensors, .pth, .pt or .bin, or their folder")
    sub.add_argument("out", type=Path, metavar="OUT", help="folder to write, new or empty")
    sub.add_argument("--architecture", required=True, metavar="NAME", help="our architecture, such as videomae_base")
    sub.add_argument(
        "--licence",
        required=True,
        metavar="L",
        help="licence of the weights, such as cc-by-nc-4.0, as their source says; it stays with them",
    )
    sub.add_argument("--format", metavar="F", help="layout of the file (the one that its names show)")
    sub.add_argument(
        "--num-classes", type=int, metavar="N", help="another number of classes, with a fresh head; 0: none"
    )
    sub.add_argument("--origin", metavar="TEXT", help="where the file comes from, for the card (its name)")
    sub.add_argument(
        "--source-size", type=int, nargs=2, metavar=("F", "T"), help="spectrogram that the file was trained on"
    )
    sub.add_argument(
        "--spread-channels", action="store_true", help="spread the patch embedding over another number of channels"
    )
    sub.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a value, such as num_frames=32")


def _add_push(command: Callable[..., argparse.ArgumentParser]) -> None:
    sub = command(
        "push", _push, "Upload a checkpoint folder to the Hub; the right comes from HF_TOKEN or 'hf auth login'"
    )
    sub.add_argument("folder", type=Path, metavar="FOLDER", help="what model.save_pretrained wrote")
    sub.add_argument("repo_id", metavar="REPO", help="repository, 'organisation/name'; made if it does not exist")
    sub.add_argument("--private", action="store_true", default=None, help="a new repository is private")
    sub.add_argument("--revision", metavar="BRANCH", help="branch; made if it does not exist (the main branch)")
    sub.add_argument("--message", metavar="TEXT", help="first line of the commit")
    sub.add_argument("--create-pr", action="store_true", help="open a pull request instead of changing the branch")


def _is_recording(name: str) -> bool:
    from evermodels.checkpoints.read import PICKLES
    from evermodels.signals.eeg.formats import is_eeg_name

    path = Path(name)
    if path.is_dir():
        return not (path / "config.json").is_file()
    weights = path.suffix.lower() in (*PICKLES, ".safetensors")
    return (path.is_file() and not weights) or is_eeg_name(path)


def _info_on_recording(args: argparse.Namespace) -> int:
    from evermodels.signals.describe import describe_recording, modality_of

    name = args.modality or modality_of(args.name)
    said = cli_predict.said_of(args)
    form, model, spec = said.pop(name, {}), None, None
    if said:
        raise ConfigError(
            f"{', '.join(cli_predict.flags_of(args, said))}: said of {' and '.join(said)}, and {args.name!r} is a "
            f"recording of {name}. Leave it out."
        )
    of_model = cli_predict.model_flags(args) + (["--ch-names"] if args.ch_names is not None else [])
    if args.model is None and of_model:
        raise ConfigError(f"{', '.join(of_model)}: what a model does with the recording; give --model NAME too.")
    if args.model is not None:
        model = cli_predict.model_for(args, args.model, {name: Path(args.name)}, {name: form})
        spec = model.input_spec
    facts = describe_recording(args.name, spec, modality=name, **form)
    notes = [one_line(text) for text in facts.pop("notes", ())]
    from evermodels.facts import describe

    if "interpolated" in (carried := {} if model is None else describe(model)):
        facts["interpolated"] = carried["interpolated"]
    _print_facts([(key, _lines(value)) for key, value in facts.items()])
    for text in notes:
        if not any(text in said for said in args.warned):
            print(f"note: {text}")
    return OK


def _lines(value: Any) -> Any:
    return [one_line(text) for text in value] if isinstance(value, list) else one_line(value)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


# ------------------------------------------------------------------------------------------------- list, info


def _list(args: argparse.Namespace) -> int:
    from evermodels.core import registry

    names = evermodels.list_models(args.pattern, kind=args.kind, modality=args.modality, pretrained=args.pretrained)
    if args.pretrained or not names:  # what is close to a name that is none was a warning
        _print_checkpoints(names)
        return OK
    entries = [(name, registry.entry(name)) for name in names]
    _print_columns([(name, entry.kind, ", ".join(entry.modalities), entry.summary) for name, entry in entries])
    return OK


def _print_checkpoints(names: Sequence[str]) -> None:
    from evermodels.checkpoints.table import lookup

    width = max(shutil.get_terminal_size().columns, 60)
    for name in names:
        row = lookup(name)
        size = sum(file.size for file in row.files.values()) / 1e6
        facts = {
            "size": f"{size:.1f} MB, " + ("bundled" if row.bundled else f"{row.repo_id} on the Hub"),
            "data": row.data,
            "protocol": row.protocol,
            "score": str(row.score),
            "licence": row.licence,
        }
        print(name)
        for key, value in facts.items():
            said = f"  {key:<8}  {one_line(value)}"
            print(textwrap.fill(said, width, subsequent_indent=" " * 12, break_on_hyphens=False))


def _info(args: argparse.Namespace) -> int:
    from evermodels.core import registry

    name = args.name
    if name not in registry.MODELS and _is_recording(name):
        return _info_on_recording(args)
    if any(value is not None for value in (args.model, args.modality, args.ch_names)) or cli_predict.said_of(args):
        raise ConfigError(
            f"--model, --modality, --ch-names, --unit and the like go with a recording, and {name!r} is none. Give the "
            "file of one."
        )
    if name in registry.MODELS:
        if said := cli_predict.model_flags(args):
            raise ConfigError(f"{', '.join(said)}: of checkpoints, and {name} is an architecture. Leave it out.")
        import torch

        with torch.device("meta"):
            model = registry.build(name)
        entry = registry.entry(name)
        head = [("name", name), ("kind", entry.kind), ("summary", entry.summary)]
        names = ", ".join(evermodels.list_models(name, pretrained=True)) or "none"
        tail = [("pretrained", names)]
    else:
        model = cli_predict.load_model(args, name)
        head, tail = [("name", name), ("kind", "checkpoint")], []
    from evermodels.facts import describe

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
        for number, line in enumerate(value if isinstance(value, list) else [value]):
            print(f"{key.replace('_', ' ') if number == 0 else '':<{width}}  {one_line(line)}")


# ---------------------------------------------------------------------------------------------- demo, predict


def _demo(args: argparse.Namespace) -> int:
    from evermodels import demo
    from evermodels.core.files import check_target

    demo.run(check_target(args.out, "--out"), model=args.model, progress=_terminal())
    return OK


def _predict(args: argparse.Namespace) -> int:
    cli_predict.predict(args)
    return OK


# ------------------------------------------------------------------------------ finetune, evaluate, benchmark


def _is_manifest(args: argparse.Namespace) -> bool:
    """Whether own data are meant; refuses what goes with a recipe, or with a manifest, alone."""
    manifest = args.data is not None and args.data.suffix.lower() == ".toml"
    if manifest and args.recipe is not None:
        raise ConfigError("--recipe: a manifest brings its own. Leave it out, and change values with --set.")
    if not manifest and args.recipe is None:
        args.parser.print_usage(sys.stderr)
        raise ConfigError("give --recipe NAME, or --data MANIFEST.toml with --model NAME for data of your own.")
    given: set[str] = getattr(args, "given", set())
    beside = {"row": "row"} if manifest else {"folds": "folds", "fold": "fold"}
    if not manifest and args.run is _finetune:  # evaluate carries a checkpoint to a recipe's channels
        beside["ch_names"] = "ch-names"
    for key in beside.keys() & given:
        goes, comes = ("a recipe", "a manifest") if manifest else ("a manifest", "a recipe")
        raise ConfigError(f"--{beside[key]}: it goes with {goes}, and this is {comes}. Leave it out.")
    if manifest and args.model is None:
        raise ConfigError("--model: which model is to be trained on the manifest? A checkpoint, or an architecture.")
    return manifest


def _recipe(args: argparse.Namespace, fold: int = 0) -> tuple[Any, Path]:
    from evermodels import training

    if args.recipe is None:
        more = {"ch_names": args.ch_names, "folds": args.folds, "fold": fold}
        recipe = training.manifest_recipe(args.data, args.model, args.set, **more)
    else:
        recipe = training.load_recipe(args.recipe, args.set)
    return recipe, getattr(args, "run_dir", None) or Path("runs") / recipe.name


def _fold(args: argparse.Namespace) -> int:
    if not args.fold.isdecimal():
        raise ConfigError(f"--fold: expected a number from 0, got {args.fold!r}.")
    return int(args.fold)


def _finetune_manifest(args: argparse.Namespace) -> int:
    from evermodels import training
    from evermodels.datasets import read_manifest

    every = args.fold == "all"
    recipe, run_dir = _recipe(args, 0 if every else _fold(args))
    count = recipe.data.count(read_manifest(args.data))
    for fold in range(count) if every else (_fold(args),):
        recipe, _ = _recipe(args, fold)
        settings = {"seed": args.seed, "resume": not args.restart, "progress": _terminal()}
        result = training.finetune_manifest(recipe, run_dir, **settings)
        print(training.format_result(result, {"run-dir": args.run_dir}))
        print(f"model: {training.run_folder(run_dir, f'fold-{fold}', args.seed) / 'model'}")
    if every:
        print(f"all {count} folds, everybody tested once:")
        _print_scores(training.pool_folds(run_dir, count, seed=args.seed))
    return OK


def _finetune(args: argparse.Namespace) -> int:
    from evermodels import training

    if _is_manifest(args):
        return _finetune_manifest(args)
    if args.model is not None:
        raise ConfigError("--model: it goes with a manifest; a recipe names its model (--set model.architecture=...).")
    recipe, run_dir = _recipe(args)
    result = training.finetune(
        recipe,
        run_dir,
        seed=args.seed,
        row=args.row,
        data_root=args.data,
        resume=not args.restart,
        progress=_terminal(),
    )
    print(training.format_result(result, {"data": args.data, "run-dir": args.run_dir}))
    folder = training.run_folder(run_dir, result["row"] or recipe.name, args.seed)
    print(f"model: {folder / 'model'}")
    return OK


def _pretrain(args: argparse.Namespace) -> int:
    from evermodels import training

    recipe = training.load_pretraining(args.recipe, args.set)
    run_dir = args.run_dir or Path("runs") / recipe.name / f"seed-{args.seed}"
    result = training.pretrain(
        recipe, run_dir, seed=args.seed, data_root=args.data, resume=not args.restart, progress=_terminal()
    )
    rows = [("windows", ", ".join(f"{name} {count}" for name, count in result["windows"].items()))]
    for name, reasons in result["left_out"].items():
        if any(reasons.values()):
            rows.append((f"left out of {name}", ", ".join(f"{reason} {count}" for reason, count in reasons.items())))
    for name, terms in result["last"]["held_out"].items():
        rows.append((f"loss on {name}", ", ".join(f"{term} {value:.3f}" for term, value in terms.items())))
    _print_facts(rows)
    print(f"encoder: {run_dir / 'model'}")
    return OK


def _evaluate(args: argparse.Namespace) -> int:
    from evermodels import training

    manifest = _is_manifest(args)
    recipe, _ = _recipe(args, _fold(args))
    result = training.evaluate_checkpoint(
        args.model,
        recipe,
        data_root=None if manifest else args.data,
        part=args.part,
        ch_names=recipe.model.ch_names if manifest else args.ch_names,
        device=args.device,
        batch_size=args.batch_size,
        progress=_terminal(),
    )
    print(f"{args.model} on the {args.part} part of {recipe.name}, {result['samples']} samples")
    _print_scores(result)
    return OK


def _print_scores(result: dict[str, Any]) -> None:
    from evermodels.training.bootstrap import ends_text
    from evermodels.training.tables import by_person

    rows = [(name, f"{result[name]:.3f} {ends_text(ends)}") for name, ends in result["intervals"].items()]
    rows += [(f"uar by {group}", text) for group, text in by_person(result).items()]
    _print_facts(rows)


def _benchmark(args: argparse.Namespace) -> int:
    return cli_benchmark.benchmark(args, _terminal())


# -------------------------------------------------------------------------------------------------- convert


def _convert(args: argparse.Namespace) -> int:
    from evermodels.checkpoints.convert import convert
    from evermodels.training.recipe import parse_override

    config = {".".join(path): value for path, value in map(parse_override, args.set)}
    report = convert(
        args.source,
        args.out,
        architecture=args.architecture,
        licence=args.licence,
        format=args.format,
        num_classes=args.num_classes,
        origin=args.origin,
        source_size=args.source_size,
        spread_channels=args.spread_channels,
        config=config,
    )
    print(report)
    print(f"checkpoint: {args.out}")
    return OK


# ----------------------------------------------------------------------------------------------------- push


def _push(args: argparse.Namespace) -> int:
    from evermodels.checkpoints.push import push_to_hub

    pushed = push_to_hub(
        args.folder,
        args.repo_id,
        private=args.private,
        revision=args.revision,
        commit_message=args.message,
        create_pr=args.create_pr,
    )
    print(f"{'pushed' if pushed.changed else 'nothing has changed'}: {pushed.url}")
    print(f"load it with: em.from_pretrained({pushed.repo_id!r}, revision={pushed.commit!r})")
    return OK
