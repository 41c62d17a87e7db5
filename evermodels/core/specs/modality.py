"""What the specs of all modalities have in common."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import ClassVar, NamedTuple

from evermodels.core.config import Config
from evermodels.core.errors import ConfigError

LONGEST = 10_000_000
"""Values of a window along time; more is a mistake that would ask for all memory."""


class Reading(NamedTuple):
    """A number on how well a window could be read, as people see it.

    Args:
        label: What it is called.
        least: Below it, the window is marked; ``None`` where the number alone says nothing bad.
        percent: Whether it is a share, 0 to 1, that people read in percent.
    """

    label: str
    least: float | None = None
    percent: bool = False


class ModalitySpec(Config, abc.ABC):
    """How recordings of one modality must look when they enter a model.

    Attributes:
        title: What people call the modality.
        readings: The numbers on how well a window could be read that its recordings come with, by their names there.
    """

    title: ClassVar[str]
    readings: ClassVar[Mapping[str, Reading]] = {}

    @property
    @abc.abstractmethod
    def kind(self) -> str:
        """Kind of the tensor, a key of :data:`evermodels.core.kinds.KINDS`."""

    @abc.abstractmethod
    def shape(self, window_seconds: float | None) -> tuple[int, ...]:
        """Return the shape of one sample, without the batch.

        Args:
            window_seconds: Length of a window, as the :class:`InputSpec` says.
        """

    @abc.abstractmethod
    def describe(self) -> tuple[str, ...]:
        """Return plain sentences without a full stop: what it is, then what has to be known about it."""

    def check_window(self, window_seconds: float | None) -> None:
        """Refuse a window length that this modality cannot have.

        Args:
            window_seconds: Length of a window, as the :class:`InputSpec` says.

        Raises:
            ConfigError: If it cannot.
        """

    def needed(self, window_seconds: float | None) -> float:
        """Return the window's length, or refuse a spec that has none.

        Args:
            window_seconds: Length of a window, as the :class:`InputSpec` says.

        Raises:
            ConfigError: If it is ``None``.
        """
        if window_seconds is None:
            raise ConfigError(
                f"InputSpec.window_seconds: expected a length in seconds, since {self.title} comes in windows."
            )
        return window_seconds


class SampledSpec(ModalitySpec):
    """A modality whose recordings are samples at an even rate.

    Attributes:
        sfreq: Sampling rate in Hz.
    """

    sfreq: float

    def num_samples(self, window_seconds: float) -> int:
        """Return the samples in one window.

        Args:
            window_seconds: Length of a window.
        """
        return round(window_seconds * self.sfreq)
