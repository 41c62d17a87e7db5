"""The command line's `predict`: a flag for each modality of the table, and what its recordings may need said."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import Any

import evermodels
from evermodels.core.errors import ConfigError, UnknownNameError
from evermodels.core.specs import MODALITIES, InputSpec
from evermodels.core.text import one_line
from evermodels.signals.room import Option, Reader, reader_class

__all__ = [
    "CHANNELS",
    "add_arguments",
    "add_model_options",
    "add_options",
    "channels",
    "flags_of",
    "load_model",
    "model_flags",
    "model_for",
    "names",
    "option_flags",
    "predict",
    "said_of",
]


def names(text: str) -> tuple[str, ...]:
    """Return the names in a list with commas.

    Args:
        text: Such as ``"A, B"``.
    """
    return tuple(part.strip() for part in text.split(",") if part.strip())


def channels(text: str) -> str | tuple[str, ...]:
    """Return the channels of ``--ch-names``, or one name that is a montage's or ``auto``.

    Args:
        text: The flag's value.
    """
    found = names(text)
    if not found:
        raise argparse.ArgumentTypeError("expected names such as Fz,Cz, a montage such as epoc, or auto, got none")
    if len(found) > 1:
        return found
    try:
        return (evermodels.montage.canonical(found[0]),)
    except UnknownNameError:
        return found[0]


def _baseline(text: str) -> Path | tuple[float, float]:
    seconds = re.fullmatch(r"(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)", text.strip())
    return (float(seconds[1]), float(seconds[2])) if seconds else Path(text)


def _start(text: str) -> tuple[str, float]:
    name, _, seconds = text.partition("=")
    try:
        if name.strip() in MODALITIES:
            return name.strip(), float(seconds)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"expected {'|'.join(MODALITIES)}=SECONDS, such as video=1.2, got {text!r}")


def _rooms() -> list[tuple[str, type[Reader[Any]]]]:
    return [(name, reader_class(name)) for name in MODALITIES]


def option_flags() -> Iterator[tuple[str, str, Option]]:
    """Yield the flag, the modality and the option of all that recordings may need said.

    A flag is ``--name``; where a modality earlier in the table has it, ``--modality-name``.
    """
    taken = set()
    for name, reader in _rooms():
        for option in reader.options:
            flag = option.name if option.name not in taken else f"{name}_{option.name}"
            taken.add(flag)
            yield flag, name, option


_OF_CHECKPOINTS = ("revision", "cache_dir", "local_files_only")
CHANNELS = (
    "channels of the recordings to read where the model's are not all there, a montage such as epoc, or auto for those "
    "that the recordings have: the missing ones are interpolated"
)


def add_model_options(sub: argparse.ArgumentParser) -> None:
    """Add what a checkpoint of the Hub may need said.

    Args:
        sub: A command's parser.
    """
    sub.add_argument("--revision", metavar="R", help="branch, tag or commit of a repository on the Hub")
    sub.add_argument("--cache-dir", type=Path, metavar="D", help="folder for downloads (the Hub's own cache)")
    sub.add_argument("--local-files-only", action="store_true", help="never download")


def model_flags(args: argparse.Namespace) -> list[str]:
    """Return the flags of :func:`add_model_options` that were given.

    Args:
        args: The parsed arguments.
    """
    return [f"--{key.replace('_', '-')}" for key in _OF_CHECKPOINTS if getattr(args, key)]


def load_model(args: argparse.Namespace, name: str, **more: Any) -> Any:
    """Return a checkpoint as the flags say.

    Args:
        args: The parsed arguments, with those of :func:`add_model_options`.
        name: The checkpoint.
        **more: Further arguments of :func:`evermodels.from_pretrained`.
    """
    given = {key: getattr(args, key) for key in _OF_CHECKPOINTS}
    return evermodels.from_pretrained(name, **{key: value for key, value in given.items() if value}, **more)


def add_options(sub: argparse.ArgumentParser) -> None:
    """Add a flag for all that recordings may need said.

    Args:
        sub: A command's parser.
    """
    for flag, _, option in option_flags():
        sub.add_argument(f"--{flag.replace('_', '-')}", **option.shown)


def flags_of(args: argparse.Namespace, modalities: Container[str]) -> list[str]:
    """Return the flags that were given of some modalities.

    Args:
        args: The parsed arguments.
        modalities: Names of the modalities.
    """
    return [
        f"--{flag.replace('_', '-')}"
        for flag, name, _ in option_flags()
        if name in modalities and getattr(args, flag) is not None
    ]


def said_of(args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Return what flags say of recordings, by modality, as arguments of their constructors.

    Args:
        args: The parsed arguments.
    """
    said: dict[str, dict[str, Any]] = {}
    for flag, name, option in option_flags():
        if getattr(args, flag) is not None:
            said.setdefault(name, {})[option.name] = getattr(args, flag)
    return said


def add_arguments(sub: argparse.ArgumentParser) -> None:
    """Add the arguments of ``predict``.

    Args:
        sub: Its parser.
    """
    sub.add_argument(
        "--model", required=True, metavar="NAME", help="checkpoint (arch.tag), its folder or its repository on the Hub"
    )
    add_model_options(sub)
    for name, reader in _rooms():
        sub.add_argument(f"--{name}", type=Path, metavar="FILE", help=f"{name}: {reader.files}")
    add_options(sub)
    sub.add_argument(
        "--start",
        type=_start,
        action="append",
        default=[],
        metavar="MODALITY=S",
        help="when a recording began, in seconds on the clock that all share, such as video=1.2 (0)",
    )
    sub.add_argument("--ch-names", type=channels, metavar="A,B,...", help=CHANNELS)
    sub.add_argument(
        "--baseline",
        type=_baseline,
        nargs="+",
        metavar="FILE|START-STOP",
        help="a minute of this person at rest (or in the state that the model names), recorded first: a file, or the "
        "seconds of the recording that hold it, such as 0-60; for a model that compares a person with all states: a "
        "file of each",
    )
    sub.add_argument(
        "--window-seconds",
        type=float,
        metavar="S",
        help="another length of a window than the model's, for recordings that allow it, such as video alone",
    )
    for _, reader in _rooms():
        for switch in reader.switches:
            sub.add_argument(f"--{switch.name}", action="store_true", help=switch.help)
        for option in reader.settings:
            sub.add_argument(f"--{option.name.replace('_', '-')}", **option.shown)
    sub.add_argument(
        "--overlap", type=float, default=0.0, help="part of a window that the next one repeats (%(default)s)"
    )
    sub.add_argument("--batch-size", type=int, default=8, help="windows per forward pass (%(default)s)")
    sub.add_argument("--device", help="where to run, such as cpu or cuda:0")
    sub.add_argument("--out", type=Path, metavar="HTML", help="write a page with pictures")
    sub.add_argument("--csv", type=Path, metavar="CSV", help="write the table")


def predict(args: argparse.Namespace) -> None:
    """Read recordings and print what a model says of them.

    Args:
        args: The parsed arguments.

    Raises:
        EvermodelsError: If something is wrong with them.
    """
    from evermodels.core.files import check_target
    from evermodels.recognizer import Recognizer
    from evermodels.report import write_report

    files = {name: path for name, _ in _rooms() if (path := getattr(args, name)) is not None}
    if not files:
        flags = ", ".join(f"--{name} FILE" for name, _ in _rooms())
        raise ConfigError(f"predict: nothing to read. Give at least one of {flags}.")
    for flag, target in (("--out", args.out), ("--csv", args.csv)):
        if target is not None:
            check_target(target, flag)
    if args.out is not None and args.csv is not None and args.out.resolve() == args.csv.resolve():
        raise ConfigError(f"--out and --csv: both name {str(args.out)!r}. Give each its own file.")
    forms = _forms(args, files)
    model = model_for(args, args.model, files, forms)
    recognizer = Recognizer(model, device=args.device, batch_size=args.batch_size, **_reader_options(args))
    for name in files:
        recognizer.input_spec.of(name)  # refuses what the model does not take
    readers = recognizer.preprocessor.readers
    result = recognizer.predict(
        **{name: readers[name].open(path, **forms[name]) for name, path in files.items()},
        overlap=args.overlap,
        window_seconds=args.window_seconds,
        baseline=_opened_baseline(args.baseline, readers, forms),
        progress=sys.stderr.isatty(),
    )
    print(result.summary())
    for note in result.notes:
        if not any(one_line(note) in said for said in args.warned):
            print(f"note: {one_line(note)}")
    if "interpolated" in result.facts:
        print(f"interpolated: {result.facts['interpolated']}")
    if args.csv is not None:
        result.to_csv(args.csv)
        print(f"table: {args.csv}")
    if args.out is not None:
        read = " and ".join(path.name for path in files.values())
        page = write_report(result, args.out, intro=f"What {result.model} says about {read}.")
        print(f"page: {page}")


def _reader_options(args: argparse.Namespace) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for _, reader in _rooms():
        for switch in reader.switches:
            options.update(switch.options if getattr(args, switch.name.replace("-", "_")) else {})
        said = {option.name: getattr(args, option.name) for option in reader.settings}
        options.update({name: value for name, value in said.items() if value is not None})
    return options


def _forms(args: argparse.Namespace, files: Mapping[str, Path]) -> dict[str, dict[str, Any]]:
    """Return what is said of each recording, as arguments of its constructor."""
    forms: dict[str, dict[str, Any]] = {name: {} for name in files}
    said = [(f"--start {name}=", name, "start", value) for name, value in args.start]
    said += [
        (f"--{flag.replace('_', '-')}", name, option.name, getattr(args, flag)) for flag, name, option in option_flags()
    ]
    for flag, name, key, value in said:
        if value is None:
            continue
        if name not in files:
            raise ConfigError(f"{flag}: it is for --{name}, and there is none. Leave it out, or give --{name} FILE.")
        if key in forms[name]:
            raise ConfigError(f"{flag}: given twice. Give it once.")
        forms[name][key] = value
    return forms


def model_for(
    args: argparse.Namespace, name: str, files: Mapping[str, Path], forms: Mapping[str, Mapping[str, Any]]
) -> Any:
    """Return a checkpoint, carried to the channels that are named or that the recording has.

    Args:
        args: The parsed arguments.
        name: The checkpoint.
        files: The recordings by modality.
        forms: What is said of each.

    Raises:
        ConfigError: If the channels of a recording are asked for that is not there.
    """
    if args.ch_names != "auto":
        return load_model(args, name, ch_names=args.ch_names)
    model = load_model(args, name)
    spec = model.input_spec or InputSpec()
    if not spec.ch_names:
        return model
    for modality, file in files.items():
        if own := reader_class(modality).channels(file, **forms[modality]):
            return model if set(spec.ch_names) <= set(own) else load_model(args, name, ch_names=own)
    by_channel = next(one for one in spec.modalities if hasattr(spec.of(one), "ch_names"))
    raise ConfigError(f"--ch-names auto: it takes the channels of --{by_channel}, and there is none. Leave it out.")


def _opened_baseline(given: list[Any] | None, readers: Mapping[str, Any], forms: Mapping[str, dict[str, Any]]) -> Any:
    """Return the baseline with what is said of the recording that it goes with, but its start."""
    if not given:
        return None
    if len(given) == 1 and isinstance(given[0], tuple):
        return given[0]
    if any(isinstance(one, tuple) for one in given):
        raise ConfigError("--baseline: expected one START-STOP, or files; got both.")
    for name, reader in readers.items():
        if reader.compares and name in forms:
            form = {key: value for key, value in forms[name].items() if key != "start"}
            return [reader.open(path, **form) for path in given]
    return given
