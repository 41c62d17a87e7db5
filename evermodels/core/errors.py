"""The errors of evermodels: each names the thing, what came, what was expected, and the way out."""

from __future__ import annotations

import contextlib
import difflib
import importlib
from collections.abc import Iterable, Iterator
from types import ModuleType

from torch import Tensor

from evermodels.core.text import visible

LONGEST_MESSAGE = 4000
"""Characters of a message; what a damaged file holds in names is not echoed beyond them."""


class EvermodelsError(Exception):
    """Base of every error that evermodels raises on purpose.

    Its message is capped in the middle, and what could act on a terminal stands there as an escape.

    Example:
        >>> len(str(EvermodelsError("x" * 10_000_000))) < 5000
        True
    """

    def __init__(self, *args: object) -> None:
        super().__init__(*(_message(a) if isinstance(a, str) else a for a in args))


def _message(text: str) -> str:
    # Shortened before, since it may be huge, and after, since an escape is longer than what it stands for.
    return shorten(visible(shorten(text, LONGEST_MESSAGE)), LONGEST_MESSAGE)


class ShapeError(EvermodelsError, ValueError):
    """A tensor or array has the wrong number of axes or the wrong length along one."""


class ConfigError(EvermodelsError, ValueError):
    """A configuration has an unknown key, a wrong type or an impossible value."""


class UnknownNameError(EvermodelsError, LookupError):
    """A name (of a model, channel, region, preset, …) is not in the closed table it was looked up in."""


class SignalError(EvermodelsError, ValueError):
    """A recording cannot be used as it is: empty, cut short, wrong channels, rate, unit or values."""


class DataError(EvermodelsError, ValueError):
    """A data set is not in its publisher's layout, or a split would leak."""


class CheckpointError(EvermodelsError, RuntimeError):
    """A checkpoint is missing, damaged, or does not fit the model."""


class ChecksumError(CheckpointError):
    """A file's digest differs from the one that the weight table declares."""


class MissingExtraError(EvermodelsError, ImportError):
    """An optional dependency is needed and absent."""


def shorten(text: str, limit: int = 200) -> str:
    """Return a text with its middle left out where it is too long; the beginning and the way out at the end stay.

    Args:
        text: The text.
        limit: About how many characters stay.

    Example:
        >>> shorten("0123456789" * 10, 20)
        '0123456789… (80 characters more) …0123456789'
    """
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}… ({len(text) - 2 * half:,} characters more) …{text[-half:]}"


def quoted(value: object, limit: int = 200) -> str:
    """Return a value as Python writes it, shortened, so that what follows in a message is still seen.

    Args:
        value: Anything; where it cannot be written out (nested too deep), its type.
        limit: About how many characters stay.

    Example:
        >>> quoted("a"), quoted([0] * 1000, 10)
        ("'a'", '[0, 0… (2,990 characters more) …0, 0]')
    """
    try:
        return shorten(repr(value), limit)
    except (RecursionError, ValueError):  # nested too deep, or a number of more digits than Python writes
        return f"a value of type {type(value).__name__} that cannot be shown"


def reason(error: BaseException) -> str:
    """Return what a foreign error says, in one line, without the stack that torch writes into it.

    Args:
        error: The error.

    Example:
        >>> reason(KeyError("nchan")), reason(MemoryError())
        ("KeyError: 'nchan'", 'MemoryError')
    """
    words = shorten(" ".join(str(error).partition("\nException raised from")[0].split()), 400)
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


@contextlib.contextmanager
def boundary(
    kind: type[EvermodelsError], what: str, way_out: str, *, passing: tuple[type[BaseException], ...] = ()
) -> Iterator[None]:
    """Turn whatever a foreign library raises inside into one of our errors, with its cause and the way out.

    Args:
        kind: The error to raise.
        what: What was read or done, such as a file's name: the message begins with it.
        way_out: What the user can do, one or two whole sentences.
        passing: Errors that pass as they are, beside our own.

    Raises:
        EvermodelsError: Of the given kind, for each error that is not ours already.

    Example:
        >>> with boundary(SignalError, "a.edf: it cannot be read", "Copy it again."):
        ...     raise KeyError("nchan")
        Traceback (most recent call last):
            ...
        evermodels.core.errors.SignalError: a.edf: it cannot be read (KeyError: 'nchan'). Copy it again.
    """
    through: tuple[type[BaseException], ...] = (EvermodelsError, *passing)
    try:
        yield
    except through:
        raise
    except Exception as error:  # foreign readers raise anything on a damaged file
        raise kind(f"{what} ({reason(error)}). {way_out}") from error


def did_you_mean(name: object, allowed: Iterable[str], *, n: int = 3) -> str:
    """Return ``" Did you mean 'x'?"`` for the closest allowed names, or an empty string.

    Args:
        name: What the user wrote.
        allowed: The names that exist.
        n: How many suggestions at the most.

    Example:
        >>> did_you_mean("embed_dmi", ["embed_dim", "depth"])
        " Did you mean 'embed_dim'?"
    """
    close = difflib.get_close_matches(
        name[:200] if isinstance(name, str) else quoted(name), list(allowed), n=n, cutoff=0.6
    )
    return f" Did you mean {' or '.join(repr(c) for c in close)}?" if close else ""


def require(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import an optional dependency, or say which extra brings it.

    Args:
        module: Dotted name of the module, written in the code, never read from a file.
        extra: The extra of ``pip install 'evermodels[extra]'`` that holds it.
        purpose: What it is needed for, as it completes "… is needed to".

    Returns:
        The imported module.

    Raises:
        MissingExtraError: If the module cannot be imported.

    Example:
        >>> require("math", extra="eeg", purpose="count").sqrt(4.0)
        2.0
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"{module} is needed to {purpose}, and could not be imported ({error}). "
            f"Install it with: pip install 'evermodels[{extra}]'"
        ) from error


def check_axes(name: str, tensor: Tensor, axes: str, **lengths: int) -> None:
    """Raise a :class:`ShapeError` unless a tensor has the named axes with the given lengths.

    Args:
        name: The argument's name, for the message.
        tensor: The tensor.
        axes: The axes' names, separated by blanks, for example ``"batch channels time"``.
        **lengths: Expected length by axis name; axes that are not named are free, but not empty.

    Raises:
        ShapeError: If the number of axes differs, an axis is empty, or a length differs.

    Example:
        >>> import torch
        >>> check_axes("eeg", torch.zeros(2, 19, 1000), "batch channels time", channels=19)
        >>> check_axes("eeg", torch.zeros(19, 1000), "batch channels time")
        Traceback (most recent call last):
            ...
        evermodels.core.errors.ShapeError: eeg: expected (batch, channels, time), got 2 axes of shape (19, 1000). ...
    """
    if not isinstance(tensor, Tensor):
        raise ShapeError(
            f"{name}: expected a torch.Tensor, got {type(tensor).__name__}. Convert it with torch.as_tensor."
        )
    names, shape = axes.split(), tuple(tensor.shape)
    if len(shape) == len(names) and all(
        length and lengths.get(axis, length) == length for axis, length in zip(names, shape, strict=True)
    ):
        return
    expected = f"({', '.join(names)})"
    if len(shape) != len(names):
        way_out = (
            " Add the missing axis with .unsqueeze(0)."
            if len(shape) == len(names) - 1
            else " Reshape it to these axes."
        )
        raise ShapeError(f"{name}: expected {expected}, got {len(shape)} axes of shape {shape}.{way_out}")
    for axis, length in zip(names, shape, strict=True):
        want = lengths.get(axis)
        if want is not None and length != want:
            raise ShapeError(
                f"{name}: expected {expected} with {axis}={want}, got {axis}={length} (shape {shape}). "
                f"Give {want} along {axis!r}, or build the module for {length}."
            )
        if length == 0:
            raise ShapeError(f"{name}: axis {axis!r} of {expected} is empty (shape {shape}). Give at least one.")
