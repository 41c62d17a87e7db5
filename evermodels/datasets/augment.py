"""Small random changes of one EEG window, for training; each is a callable on ``(channels, time)`` and a generator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evermodels.core.errors import ConfigError

Window = NDArray[np.float32]
EEGTransform = Callable[[Window, np.random.Generator], Window]


def _not_negative(owner: object, **values: float) -> None:
    for key, value in values.items():
        if not 0 <= value < float("inf"):
            raise ConfigError(f"{type(owner).__name__}.{key}: expected a finite number of at least 0, got {value}.")


def _probability(owner: object, **values: float) -> None:
    for key, value in values.items():
        if not 0 <= value <= 1:
            raise ConfigError(f"{type(owner).__name__}.{key}: expected a probability in 0..1, got {value}.")


@dataclass(frozen=True)
class Compose:
    """Apply transforms one after the other.

    Args:
        transforms: Callables on ``(window, rng)``.

    Example:
        >>> change = Compose([AmplitudeScale(0.2), GaussianNoise(0.1)])
        >>> change(np.ones((2, 100), np.float32), np.random.default_rng(0)).shape
        (2, 100)
    """

    transforms: Sequence[EEGTransform]

    def __call__(self, window: Window, rng: np.random.Generator) -> Window:
        """Return the changed window, ``(channels, time)`` float32."""
        for transform in self.transforms:
            window = transform(window, rng)
        return window


@dataclass(frozen=True)
class AmplitudeScale:
    """Multiply all channels by one log-normal factor, as another amplifier or thicker skull would.

    Args:
        sigma: Standard deviation of the factor's logarithm.
    """

    sigma: float = 0.2

    def __post_init__(self) -> None:
        _not_negative(self, sigma=self.sigma)

    def __call__(self, window: Window, rng: np.random.Generator) -> Window:
        """Return the changed window, ``(channels, time)`` float32."""
        return window * np.float32(np.exp(self.sigma * rng.standard_normal()))


@dataclass(frozen=True)
class ChannelGain:
    """Multiply each channel by a log-normal factor of its own, as differing contacts would.

    Args:
        sigma: Standard deviation of the factors' logarithm.
    """

    sigma: float = 0.1

    def __post_init__(self) -> None:
        _not_negative(self, sigma=self.sigma)

    def __call__(self, window: Window, rng: np.random.Generator) -> Window:
        """Return the changed window, ``(channels, time)`` float32."""
        return window * np.exp(self.sigma * rng.standard_normal((len(window), 1))).astype(np.float32)


@dataclass(frozen=True)
class ChannelDropout:
    """Set whole channels to zero, never all of them.

    Args:
        p: Probability of each channel.
    """

    p: float = 0.1

    def __post_init__(self) -> None:
        _probability(self, p=self.p)

    def __call__(self, window: Window, rng: np.random.Generator) -> Window:
        """Return the changed window, ``(channels, time)`` float32."""
        keep = rng.random(len(window)) >= self.p
        keep[rng.integers(len(window))] = True
        return window * keep[:, None].astype(np.float32)


@dataclass(frozen=True)
class GaussianNoise:
    """Add white noise in proportion to each channel's standard deviation.

    Args:
        relative: Standard deviation of the noise over that of the channel.
    """

    relative: float = 0.1

    def __post_init__(self) -> None:
        _not_negative(self, relative=self.relative)

    def __call__(self, window: Window, rng: np.random.Generator) -> Window:
        """Return the changed window, ``(channels, time)`` float32."""
        scale = np.float32(self.relative) * window.std(axis=1, keepdims=True)
        return window + scale * rng.standard_normal(window.shape, dtype=np.float32)


@dataclass(frozen=True)
class BandNoise:
    """Add noise of a random narrow band in proportion to each channel's standard deviation.

    A band of ``width`` Hz is drawn inside ``low … high``; the noise is independent over channels.

    Args:
        sfreq: Sampling rate in Hz.
        relative: Standard deviation of the noise over that of the channel.
        low: Lower end of the range in Hz.
        high: Upper end of the range in Hz.
        width: Width of the band in Hz.
    """

    sfreq: float
    relative: float = 0.2
    low: float = 1.0
    high: float = 45.0
    width: float = 4.0

    def __post_init__(self) -> None:
        _not_negative(self, relative=self.relative, low=self.low, width=self.width)
        if not self.low + self.width <= self.high <= self.sfreq / 2:
            raise ConfigError(
                f"BandNoise: expected low + width <= high <= half of sfreq ({self.sfreq / 2:g} Hz), got low "
                f"{self.low}, width {self.width}, high {self.high}."
            )

    def __call__(self, window: Window, rng: np.random.Generator) -> Window:
        """Return the changed window, ``(channels, time)`` float32."""
        n = window.shape[1]
        start = rng.uniform(self.low, self.high - self.width)
        frequency = np.fft.rfftfreq(n, 1 / self.sfreq)
        band = np.flatnonzero((frequency >= start) & (frequency <= start + self.width))
        if not len(band):
            return window
        spectrum = np.zeros((len(window), len(frequency)), np.complex64)
        phase = rng.standard_normal((2, len(window), len(band)), dtype=np.float32)
        spectrum[:, band] = phase[0] + 1j * phase[1]
        noise = np.fft.irfft(spectrum, n, axis=1).astype(np.float32)
        noise /= np.maximum(noise.std(axis=1, keepdims=True), np.finfo(np.float32).tiny)
        return window + np.float32(self.relative) * window.std(axis=1, keepdims=True) * noise


@dataclass(frozen=True)
class _Flip:
    p: float = 0.5

    def __post_init__(self) -> None:
        _probability(self, p=self.p)

    def __call__(self, window: Window, rng: np.random.Generator) -> Window:
        """Return the changed window, ``(channels, time)`` float32."""
        return self._flipped(window) if rng.random() < self.p else window

    def _flipped(self, window: Window) -> Window:
        raise NotImplementedError


@dataclass(frozen=True)
class TimeFlip(_Flip):
    """Play the window backwards; its power spectrum stays.

    Args:
        p: Probability.
    """

    def _flipped(self, window: Window) -> Window:
        return np.ascontiguousarray(window[:, ::-1])


@dataclass(frozen=True)
class PolarityFlip(_Flip):
    """Change the sign of all channels; their power spectra and mutual relations stay.

    Args:
        p: Probability.
    """

    def _flipped(self, window: Window) -> Window:
        return -window
