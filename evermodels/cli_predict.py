"""The command line's `predict`: a flag for each modality of the table, and what its recordings may need said."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import evermodels
from evermodels.core.errors import ConfigError, UnknownNameError
from evermodels.core.specs import MODALITIES, InputSpec
from evermodels.core.text import one_line
from evermodels.signals.room import Option, Reader, reader_class

__all__ = ["add_arguments", "add_options", "channels", "names", "option_flags", "predict", "said_of"]


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
    if len(found) != 1:
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


def add_options(sub: argparse.ArgumentParser) -> None:
    """Add a flag for all that recordings may need said.

    Args:
        sub: A command's parser.
    """
    for flag, _, option in option_flags():
        sub.add_argument(f"--{flag.replace('_', '-')}", type=option.type, metavar=option.metavar, help=option.help)


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
    sub.add_argument("--model", required=True, metavar="NAME", help="checkpoint (arch.tag) or checkpoint folder")
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
    sub.add_argument(
        "--ch-names",
        type=channels,
        metavar="A,B,...",
        help="channels of the recording where the model's are not all there, a montage such as epoc, or auto for those "
        "that the recording has: the missing ones are interpolated",
    )
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
    forms = _forms(args, files)
    model = _model_for(args, files, forms)
    switches = [switch for _, reader in _rooms() for switch in reader.switches]
    options = {key: v for s in switches if getattr(args, s.name.replace("-", "_")) for key, v in s.options.items()}
    recognizer = Recognizer(model, device=args.device, batch_size=args.batch_size, **options)
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


def _model_for(args: argparse.Namespace, files: Mapping[str, Path], forms: Mapping[str, dict[str, Any]]) -> Any:
    """Return the model, carried to the channels that are named or that the recording has."""
    if args.ch_names != "auto":
        return evermodels.from_pretrained(args.model, ch_names=args.ch_names)
    model = evermodels.from_pretrained(args.model)
    spec = model.input_spec or InputSpec()
    by_channel = {name: names for name in spec.modalities if (names := getattr(spec.of(name), "ch_names", None))}
    for name, wanted in by_channel.items():
        if name in files:
            own = reader_class(name).recording(files[name], **forms[name]).ch_names
            return model if set(wanted) <= set(own) else evermodels.from_pretrained(args.model, ch_names=own)
    if not by_channel:
        return model
    raise ConfigError(
        f"--ch-names auto: it takes the channels of --{next(iter(by_channel))}, and there is none. Leave it out."
    )


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
