"""What the pictures take out of a result, so that they can be given the result itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeGuard

import numpy as np

from evermodels.core.errors import ConfigError, ShapeError
from evermodels.core.specs import InputSpec


class Result(Protocol):
    """What a picture needs of a :class:`~evermodels.recognition.Recognition`."""

    @property
    def starts(self) -> np.ndarray:
        """Start of each window in seconds."""

    @property
    def window_seconds(self) -> float:
        """Length of a window."""

    @property
    def attention(self) -> Mapping[str, np.ndarray]:
        """What the model looked at, first axis the windows."""

    @property
    def inputs(self) -> Mapping[str, np.ndarray]:
        """What the model read."""

    @property
    def input_spec(self) -> InputSpec:
        """What the model asks for."""

    @property
    def shown(self) -> int:
        """The window whose frames are kept."""

    @property
    def ch_names(self) -> tuple[str, ...]:
        """Channels of the attention."""

    @property
    def regions(self) -> Mapping[str, Sequence[int]]:
        """Indices of the channels by region."""

    @property
    def present(self) -> Mapping[str, np.ndarray]:
        """Which windows have a modality."""

    @property
    def answers(self) -> tuple[tuple[str, ...], np.ndarray]:
        """Labels and their probability in each window, ``(windows, labels)``, NaN where they are not known."""


def is_result(value: Any) -> TypeGuard[Result]:
    """Return whether a picture was given a result instead of arrays.

    Args:
        value: The first argument.
    """
    return hasattr(value, "answers") and hasattr(value, "attention")


def mean_attention(result: Result, name: str, modality: str | None = None) -> np.ndarray:
    """Return the mean of an attention over the windows.

    Args:
        result: The result.
        name: Its name.
        modality: What must be there for the attention to speak of the recording; ``None`` if nothing must.

    Raises:
        ConfigError: If the result has no such attention, or no window has the modality.
    """
    if name not in result.attention:
        there = ", ".join(map(repr, result.attention)) or "none"
        raise ConfigError(f"result: its model gives no attention {name!r}, only {there}. Draw another picture.")
    here = windows_with(result, modality or "")
    if not here.any():
        raise ConfigError(f"result: there was no {modality}, so attention {name!r} speaks of no recording.")
    mean: np.ndarray = result.attention[name][here].mean(axis=0)
    return mean


def windows_with(result: Result, modality: str) -> np.ndarray:
    """Return in which windows a modality is there, ``(windows,)`` bool; in all where the result does not say.

    Args:
        result: The result.
        modality: Its name.
    """
    return np.asarray(result.present.get(modality, np.ones(len(result.starts), dtype=bool)))


def kept_input(result: Result, modality: str) -> np.ndarray:
    """Return what the model read of a modality.

    Args:
        result: The result.
        modality: Its name.

    Raises:
        ConfigError: If the result holds none.
    """
    if modality not in result.inputs:
        raise ConfigError(f"result: it holds no {modality}: none was given, or none was kept.")
    return result.inputs[modality]


def surest_window(result: Result, modality: str) -> np.ndarray:
    """Return what the model read of a modality in the window that it was surest of.

    Args:
        result: The result, which holds the inputs of all windows or of that one.
        modality: Its name.

    Raises:
        ConfigError: If the result holds none.
    """
    windows = kept_input(result, modality)
    return windows[result.shown] if len(windows) == len(result.starts) else windows[0]


def window_of(result: Result, modality: str | None) -> tuple[np.ndarray, float, float]:
    """Return :func:`surest_window` with its length and its start in seconds.

    Args:
        result: The result.
        modality: Name of one of its inputs.

    Raises:
        ConfigError: If it is not given, or the result holds no such input.
    """
    if modality is None:
        raise ConfigError("modality: it is needed beside a result. Give the name of one of its inputs.")
    return surest_window(result, modality), result.window_seconds, float(result.starts[result.shown])


def check_window(seconds: float | None, names: Sequence[str] | None, count: int, what: str) -> float:
    """Return a window's length, or refuse one that cannot be, or names that do not fit.

    Args:
        seconds: The length in seconds.
        names: Names of the rows, or ``None``.
        count: How many rows there are.
        what: What a row is.

    Raises:
        ConfigError: If the length is not positive.
        ShapeError: If there is another number of names.
    """
    if seconds is None or not seconds > 0:
        raise ConfigError(f"seconds: expected a positive length, got {seconds!r}.")
    if names is not None and len(names) != count:
        raise ShapeError(f"names: expected one per {what} ({count}), got {len(names)}.")
    return seconds


def window_title(result: Result) -> str:
    """Return from when to when the window lies that the model was surest of.

    Args:
        result: The result.
    """
    first = float(result.starts[result.shown])
    return f"window {first:.1f}\N{EN DASH}{first + result.window_seconds:.1f} s"


def modality_title(result: Result, modality: str) -> str:
    """Return a modality's name as a heading has it.

    Args:
        result: The result.
        modality: Its name.
    """
    return result.input_spec.of(modality).title


def montage_modality(result: Result) -> str:
    """Return the modality with electrodes, of which channels and regions speak.

    Args:
        result: The result.
    """
    spec = result.input_spec
    return next((name for name in spec.modalities if getattr(spec.of(name), "ch_names", ())), "")


def needed(name: str, value: Any) -> Any:
    """Return an argument that only a result may leave out.

    Args:
        name: The argument's name.
        value: What came.

    Raises:
        ShapeError: If it is missing.
    """
    if value is None:
        raise ShapeError(f"{name}: it is needed beside arrays. Give it, or the result itself as the only argument.")
    return value
