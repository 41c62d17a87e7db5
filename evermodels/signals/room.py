"""What every modality's room has: a recording on the shared clock, and a reader that cuts it into a model's windows."""

from __future__ import annotations

import importlib
import math
import numbers
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from evermodels.core.errors import ConfigError, SignalError
from evermodels.core.warning import warn

__all__ = [
    "Compared",
    "Option",
    "Reader",
    "Recording",
    "Switch",
    "Window",
    "check_length",
    "check_rate",
    "check_start",
    "covers",
    "grid",
    "reader_class",
    "slack",
    "warn",
    "which",
]

_NAMED = 5  # windows that a sentence names


class Recording(Protocol):
    """One recording of one modality, with its place on the clock that all recordings of a session share.

    A class of its own in each room, whose constructor takes the source (a path, a library's object, an array with
    what it does not say by itself) and ``start``.
    """

    modality: ClassVar[str]

    @property
    def start(self) -> float:
        """When it begins, in seconds on the shared clock."""

    @property
    def stop(self) -> float:
        """When it ends, in seconds on the shared clock."""

    @property
    def coverage(self) -> tuple[tuple[float, float], ...]:
        """Uninterrupted stretches ``(start, stop)`` in seconds on the shared clock, in order."""

    @property
    def interval(self) -> float:
        """Time between two samples, frames or rows in seconds."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What reading it showed, in whole sentences for people."""


R = TypeVar("R", bound=Recording)


_NOTHING = torch.empty(0)  # one for all: a small one that stays between large ones would keep the heap from shrinking


@dataclass(frozen=True, eq=False)
class Window:
    """One window of one recording as a model takes it.

    Args:
        tensor: One sample, without the batch; where it is not usable, anything of the right shape.
        usable: Whether it can be read; a window without a face cannot.
        quality: How well it could be read, by name, such as ``"face_share"``; the same names in each window.
        why: Why it is not usable, as a clause ("no face was found").
        mask: Which of its frames hold what is looked for (a face, sound), ``(frames,)`` bool, or ``None`` for all.
    """

    tensor: Tensor
    usable: bool = True
    quality: Mapping[str, float] = field(default_factory=dict)
    why: str = ""
    mask: Tensor | None = None

    def light(self) -> Window:
        """Return what is known of it without its tensors, to be kept for :meth:`Reader.notes`."""
        return replace(self, tensor=_NOTHING, mask=None)


class Option(NamedTuple):
    """What a recording's constructor takes beside source and start, as a flag of the command line.

    Args:
        name: Keyword of the constructor; the flag is ``--name`` with hyphens.
        type: What makes the value of a text.
        metavar: How the value is shown in the help.
        help: What it means.
    """

    name: str
    type: Any
    metavar: str
    help: str

    @property
    def shown(self) -> dict[str, Any]:
        """Arguments of argparse's ``add_argument``, without the flag."""
        return {"type": self.type, "metavar": self.metavar, "help": self.help}


class Switch(NamedTuple):
    """An option of a reader, as a switch of the command line.

    Args:
        name: The flag is ``--name``.
        options: What it sets, as options of :class:`~evermodels.signals.Preprocessor`.
        help: What it means.
    """

    name: str
    options: Mapping[str, Any]
    help: str


class Compared(NamedTuple, Generic[R]):
    """A prepared recording after the person's own level was taken out.

    Args:
        recording: The recording.
        against: What its windows are compared with: ``"baseline"``, ``"recordings"`` of all states, ``"itself"``, or
            ``""`` for nothing.
        left_out: ``(start, stop)`` on the shared clock that serve as its baseline: no window is read there.
        notes: What a result cannot know, in whole sentences.
    """

    recording: R
    against: str = ""
    left_out: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()


class Reader(ABC, Generic[R]):
    """Makes a model's windows of recordings of one modality.

    Keyword-only arguments that a reader has beyond these become options of
    :class:`~evermodels.signals.Preprocessor` and :class:`~evermodels.Recognizer` (such as ``face`` of video).

    Args:
        spec: The modality's part of the model's input spec.
        window_seconds: Length of the model's windows in seconds, or ``None`` where it takes any.
    """

    recording: ClassVar[type[Any]]
    """Class of the recordings."""
    example: ClassVar[str]
    """How a recording of an array is made, for the error of a bare array."""
    files: ClassVar[str] = "a file"
    """What files are read, for the help of the command line."""
    options: ClassVar[tuple[Option, ...]] = ()
    """Flags of the command line for the recording."""
    switches: ClassVar[tuple[Switch, ...]] = ()
    """Switches of the command line for the reader."""
    settings: ClassVar[tuple[Option, ...]] = ()
    """Options of the reader that are flags of the command line."""
    keeps_all: ClassVar[bool] = True
    """Whether a result keeps each window (else the one that it shows)."""
    pad: bool = False
    """Whether a recording that is shorter than a window is one, whose mask leaves out what lacks, if the reader can.

    :class:`~evermodels.Recognizer` sets it where the model takes this modality alone, and masks of it.
    """

    def __init__(self, spec: Any, window_seconds: float | None) -> None:
        self.spec = spec
        self.window_seconds = window_seconds

    @property
    def modality(self) -> str:
        """Name of the modality."""
        name: str = self.recording.modality
        return name

    @property
    def compares(self) -> bool:
        """Whether the model compares a person with a baseline of this modality."""
        return False

    @classmethod
    def reads(cls, path: Path) -> bool:
        """Return whether a path looks like a recording of this modality.

        Args:
            path: The path; it need not exist.
        """
        return False

    @classmethod
    def annotations(cls, source: Any) -> tuple[tuple[float, float, str], ...]:
        """Return the named stretches that a recording knows of, ``(start, stop, name)`` in seconds after its begin.

        Args:
            source: As :meth:`open` takes it.
        """
        return ()

    @classmethod
    def channels(cls, source: Any, **form: Any) -> tuple[str, ...]:
        """Return the names of a recording's channels; none where a modality has no channels with names.

        Args:
            source: As in :meth:`open`.
            **form: Arguments of the recording's constructor.
        """
        return ()

    @classmethod
    def describe(cls, source: Any, spec: Any, window_seconds: float | None, **form: Any) -> dict[str, Any]:
        """Say what a recording holds and what a model would do with it.

        Args:
            source: As in :meth:`open`.
            spec: The modality's part of a model's input spec, or ``None``.
            window_seconds: Length of the model's windows.
            **form: Arguments of the recording's constructor.

        Returns:
            Text by name, in an order to be read; ``notes`` is a list of text.
        """
        recording: Recording = cls.recording(source, **form)
        name = f" {Path(source).name}" if isinstance(source, (str, Path)) else ""
        facts: dict[str, Any] = {"kind": f"{recording.modality}{name}", "holds": repr(recording)}
        facts["length"] = f"{recording.stop - recording.start:.1f} s"
        if len(recording.coverage) > 1:
            lengths = [b - a for a, b in recording.coverage]
            facts["stretches"] = f"{len(lengths)} uninterrupted ones of {min(lengths):.1f} to {max(lengths):.1f} s"
        if spec is not None:
            seconds = window_seconds or recording.stop - recording.start
            long_enough = any(b - a + slack(recording) >= seconds for a, b in recording.coverage)
            count = len(grid(recording, seconds, 0.0)) if long_enough else 0
            facts["windows"] = f"{count} of {seconds:g} s"
        if recording.notes:
            facts["notes"] = list(recording.notes)
        return facts

    def __repr__(self) -> str:
        length = "any length" if self.window_seconds is None else f"{self.window_seconds:g} s"
        return f"<Reader of {self.modality}: windows of {length}>"

    def open(self, source: Any, **form: Any) -> R:
        """Return a source as a recording.

        Args:
            source: A recording, a path or a library's object. An array does not say its rate: make a recording of it.
            **form: Arguments of the recording's constructor, such as ``start``; none with a recording.

        Raises:
            SignalError: If it cannot be read.
        """
        if isinstance(source, self.recording) and not form:
            return source
        other = getattr(source, "modality", None)
        if isinstance(other, str):
            raise SignalError(
                f"{self.modality}: got a recording of {other}. Give it as {other}=, and here {self.example}."
            )
        if isinstance(source, (np.ndarray, Tensor)):
            raise SignalError(
                f"{self.modality}: an array of shape {tuple(source.shape)} does not say its rate. Make a recording of "
                f"it: evermodels.signals.{self.example}."
            )
        opened: R = self.recording(source, **form)
        return opened

    @abstractmethod
    def prepare(self, recording: R) -> R:
        """Return the recording with all that the spec asks of it as a whole: channels, filters, rate.

        Args:
            recording: As :meth:`open` gave it.
        """

    @abstractmethod
    def windows(self, recording: R, starts: Sequence[float], seconds: float) -> Iterator[Window]:
        """Yield one window after the other; nothing longer than a window is made.

        Args:
            recording: As :meth:`prepare` gave it.
            starts: Where they begin, in seconds on the shared clock, in order of time; :func:`covers` holds for each.
            seconds: Their length.
        """

    def notes(self, starts: Sequence[float], windows: Sequence[Window], otherwise: str) -> tuple[str, ...]:
        """Return what is to be said of the windows, in whole sentences.

        Args:
            starts: Where they begin.
            windows: What :meth:`windows` gave, each :meth:`Window.light`.
            otherwise: What becomes of windows that are not usable ("left out").
        """
        return ()

    def refuse(self, windows: Sequence[Window]) -> SignalError:
        """Return the error of a recording of which no window is usable.

        Args:
            windows: What :meth:`windows` gave, each :meth:`Window.light`.
        """
        every = f" in any of {len(windows)} windows" if len(windows) > 1 else ""
        return SignalError(f"{self.modality}: {windows[0].why}{every}. Give another recording.")

    def compare(self, recording: R, baseline: Any) -> Compared[R]:
        """Take a person's own level out of a recording, where the spec asks for it.

        Args:
            recording: As :meth:`prepare` gave it.
            baseline: As in :class:`~evermodels.signals.Preprocessor`.
        """
        return Compared(recording)

    def fit_baseline(self, sources: Any) -> Any:
        """Return what is to be known of a person's baseline, to be given as ``baseline`` with each recording.

        Args:
            sources: A recording, or a list of them.
        """
        raise ConfigError(f"baseline: the model takes {self.modality} as it is. Leave it out.")

    def dropped(self, recording: R) -> tuple[str, ...]:
        """Return the names of what the recording holds and the model does not take."""
        return ()

    def events(self, recording: R, starts: Sequence[float]) -> tuple[str, ...]:
        """Return what each window is a part of, such as the condition of its trial; empty where nothing is known."""
        return ()

    def keep(self, windows: Tensor) -> np.ndarray:
        """Return windows as a result keeps them, for pictures.

        Args:
            windows: ``(windows, …)``: all, or one where not :attr:`keeps_all`.
        """
        return windows.detach().float().cpu().numpy()


def reader_class(modality: str) -> type[Reader[Any]]:
    """Return the reader of a modality; its room bears the modality's name.

    Args:
        modality: Name of a field of :class:`~evermodels.core.specs.InputSpec`.
    """
    room = importlib.import_module(f"evermodels.signals.{modality}")
    found: type[Reader[Any]] = room.Reader
    return found


def check_start(start: Any, name: str = "start") -> float:
    """Return a start in seconds on the shared clock as a float, or raise.

    Args:
        start: The value.
        name: What it is called, for the message.

    Raises:
        ConfigError: If it is no finite number.

    Example:
        >>> check_start(1)
        1.0
    """
    if isinstance(start, bool) or not isinstance(start, numbers.Real) or not math.isfinite(start):
        raise ConfigError(
            f"{name}: expected when the recording begins, a finite number of seconds on the clock that the recordings "
            f"share, got {start!r}."
        )
    return float(start)


def check_rate(sfreq: Any) -> float:
    """Return a rate as a float, or raise unless it is a positive number.

    Args:
        sfreq: What was given.
    """
    if isinstance(sfreq, bool) or not isinstance(sfreq, (numbers.Real, np.number)):
        raise SignalError(
            f"sfreq: expected a positive rate in Hz as a number, got {str(sfreq)[:40]!r} ({type(sfreq).__name__})."
        )
    rate = float(sfreq)
    if not (math.isfinite(rate) and rate > 0):
        raise SignalError(f"sfreq: expected a positive rate in Hz, got {rate!r}.")
    return rate


def which(starts: Sequence[float], chosen: Sequence[bool]) -> str:
    """Return which windows a sentence is about; nothing where there is only one.

    Args:
        starts: Where all windows begin, in seconds.
        chosen: Which of them are meant.

    Example:
        >>> which([0.0, 2.5, 5.0], [True, False, True])
        ' in 2 of 3 windows (at 0, 5 s)'
    """
    at = [f"{start:g}" for start, one in zip(starts, chosen, strict=True) if one]
    if len(chosen) == 1:
        return ""
    more = f" and {len(at) - _NAMED} more" if len(at) > _NAMED else ""
    return f" in {len(at)} of {len(chosen)} windows (at {', '.join(at[:_NAMED])} s{more})"


def check_length(seconds: Any) -> None:
    """Raise unless a window's length is a positive number.

    Args:
        seconds: The length.
    """
    if isinstance(seconds, bool) or not (isinstance(seconds, (int, float)) and math.isfinite(seconds) and seconds > 0):
        raise ConfigError(f"window_seconds: expected a positive length in seconds, got {seconds!r}.")


def slack(recording: Recording) -> float:
    """Return by how many seconds a window may stick out of a recording: just under half a sample or frame.

    Args:
        recording: The recording.
    """
    return recording.interval / 2 * (1 - 1e-6)


def grid(recording: Recording, seconds: float, overlap: float) -> np.ndarray:
    """Return where windows begin: the first with each stretch, the others at an even step, as long as they fit.

    Args:
        recording: The recording.
        seconds: Length of a window in seconds.
        overlap: Part of a window that it shares with the next, ``0 <= overlap < 1``.

    Returns:
        ``(windows,)`` float64, seconds on the shared clock.

    Raises:
        ConfigError: If ``seconds`` or ``overlap`` is impossible, or windows would begin more often than samples come.
        SignalError: If no stretch is as long as a window.
    """
    check_length(seconds)
    if not (isinstance(overlap, numbers.Real) and 0 <= overlap < 1):
        raise ConfigError(
            f"overlap: expected a part of a window, 0 <= overlap < 1, got {overlap!r}. Half a window is 0.5."
        )
    name, step, interval = recording.modality, seconds * (1 - overlap), recording.interval
    if seconds < interval * (1 - 1e-6):
        raise ConfigError(
            f"window_seconds: {seconds!r} is shorter than the time between two samples of {name} ({interval:.3g} s). "
            "Give longer windows."
        )
    if step < interval * (1 - 1e-6):
        raise ConfigError(
            f"overlap: with {overlap!r} the windows begin every {step:.3g} s, more often than samples of {name} come "
            f"(every {interval:.3g} s). Give at most {max(0.0, 1 - interval / seconds):.4f}."
        )
    room = slack(recording)
    starts = [
        a + step * np.arange(math.floor((b - a - seconds + room) / step) + 1)
        for a, b in recording.coverage
        if b - a - seconds + room >= 0
    ]
    if not starts:
        longest = max(b - a for a, b in recording.coverage)
        raise SignalError(
            f"{name}: its longest uninterrupted stretch is {longest:.3f} s long and one window needs {seconds:g} s. "
            "Give a longer recording, or a model with a shorter window."
        )
    return np.concatenate(starts)


def covers(recording: Recording, starts: np.ndarray, seconds: float) -> np.ndarray:
    """Return which windows lie within one stretch of a recording, ``(windows,)`` bool.

    Args:
        recording: The recording.
        starts: Where they begin, in seconds on the shared clock.
        seconds: Their length.
    """
    room = slack(recording)
    inside = [(starts >= a - room) & (starts + seconds <= b + room) for a, b in recording.coverage]
    return np.logical_or.reduce(inside)
