"""Power and differential entropy of EEG in bands of frequency."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import scipy.signal
import torch
from torch import Tensor

from evermodels.core.errors import ConfigError, ShapeError, SignalError, did_you_mean
from evermodels.functional._precision import at_least_float32, without_autocast

Bands = Sequence[tuple[float, float]]

METHODS = ("stft", "filter")
SMALLEST = 1e-10
"""Variance in µV² that stands for none: a hundred thousandth of a microvolt, far below any amplifier's noise."""

_LONGEST = 4096  # samples whose filters are kept as matrices: 64 MiB a band
_ORDER = 4


def check_bands(bands: Bands, sfreq: float, time: int) -> tuple[tuple[float, float], ...]:
    """Return bands as pairs of floats, or refuse what cannot be computed.

    Args:
        bands: Lower and upper edge of each band in Hz.
        sfreq: Sampling rate in Hz.
        time: Samples of a stretch.

    Raises:
        ConfigError: If there is no band, or an edge is impossible, or a stretch is too short for a band.
    """
    if not (isinstance(sfreq, (int, float)) and 0 < sfreq < math.inf):
        raise ConfigError(f"sfreq: expected a positive rate in Hz, got {sfreq!r}.")
    pairs = [(float(low), float(high)) for low, high in bands]
    if not pairs:
        raise ConfigError("bands: expected at least one (low, high) in Hz, got none.")
    frequencies = np.arange(time // 2 + 1) * sfreq / time
    for low, high in pairs:
        if not 0 <= low < high <= sfreq / 2:
            limit = f"{sfreq / 2:g} Hz, half of sfreq"
            raise ConfigError(f"bands: expected 0 <= low < high <= {limit}, got ({low}, {high}).")
        if not ((frequencies >= low) & (frequencies < high)).any():
            raise ConfigError(
                f"bands: {low:g} to {high:g} Hz holds no frequency of a stretch of {time} samples, which are "
                f"{sfreq / time:.3g} Hz apart. Give longer stretches or a wider band."
            )
    return tuple(pairs)


def _checked(signal: Tensor) -> Tensor:
    if not isinstance(signal, Tensor) or signal.ndim < 2 or signal.numel() == 0:
        got = tuple(signal.shape) if isinstance(signal, Tensor) else type(signal).__name__
        raise ShapeError(f"signal: expected a tensor (..., channels, time) with at least one value, got {got}.")
    if not signal.is_floating_point():
        raise SignalError(f"signal: expected a real floating type, got {signal.dtype}. Convert it with .float().")
    return at_least_float32(signal)


def band_power(signal: Tensor, sfreq: float, bands: Bands) -> Tensor:
    r"""Return the mean square of a signal in bands of frequency, by one Hann-windowed Fourier transform.

    .. math:: \sigma_b^2 = \frac{1}{N \sum_n w_n^2} \sum_{f_k \in [l_b, h_b)} |X_k|^2, \qquad
        X_k = \sum_n w_n (x_n - \bar x)\, e^{-2\pi i k n / N}

    over positive and negative frequencies, so that by Parseval's theorem the bands of white noise add up to its
    variance. The mean is taken out first, which the window would otherwise spread into the lowest band (a choice).
    Computed in float32 under autocast and for half-precision input; float64 stays float64.

    Args:
        signal: EEG in µV, ``(..., channels, time)``: one stretch.
        sfreq: Sampling rate in Hz.
        bands: Lower edge (inclusive) and upper edge (exclusive) of each band in Hz.

    Returns:
        Mean square in µV², ``(..., bands, channels)``.

    Raises:
        ShapeError: If the signal has no channels or time, or is empty.
        SignalError: If it is not of a real floating type.
        ConfigError: If a band is impossible, or too narrow for the stretch.

    Example:
        >>> t = torch.arange(400) / 100
        >>> wave = torch.stack([3 * torch.sin(2 * torch.pi * 10 * t), torch.sin(2 * torch.pi * 20 * t)])
        >>> power = band_power(wave, 100.0, [(8, 13), (13, 30)])  # (bands, channels); a sine's mean square is a² / 2
        >>> [[round(value, 2) for value in row] for row in power.tolist()]
        [[4.5, 0.0], [0.0, 0.5]]
    """
    x = _checked(signal)
    time = x.shape[-1]
    pairs = check_bands(bands, sfreq, time)
    return windowed_power(x, band_bins(pairs, float(sfreq), time))


def windowed_power(signal: Tensor, bins: Tensor) -> Tensor:
    """Return the mean square of each channel in each band, ``(..., bands, channels)``.

    Args:
        signal: ``(..., channels, time)``, of float32 or wider.
        bins: As :func:`band_bins` gives them.
    """
    time = signal.shape[-1]
    with without_autocast(signal):
        window = torch.hann_window(time, dtype=signal.dtype, device=signal.device)
        dft = torch.fft.rfft((signal - signal.mean(-1, keepdim=True)) * window)
        square = dft.real.square() + dft.imag.square()
        return square.matmul(bins.to(signal) / (time * window.square().sum())).mT


@functools.lru_cache(maxsize=32)
def band_bins(bands: tuple[tuple[float, float], ...], sfreq: float, time: int) -> Tensor:
    """Return the weight of each frequency of a real transform in each band, ``(frequencies, bands)``: both signs count.

    Args:
        bands: Lower and upper edge of each band in Hz.
        sfreq: Sampling rate in Hz.
        time: Samples of a stretch.
    """
    frequencies = np.arange(time // 2 + 1) * sfreq / time
    count = np.full(len(frequencies), 2.0)
    count[0] = 1.0
    if time % 2 == 0:
        count[-1] = 1.0
    inside = [(frequencies >= low) & (frequencies < high) for low, high in bands]
    return torch.from_numpy(np.stack(inside, axis=1) * count[:, None])


@functools.lru_cache(maxsize=8)
def band_filters(bands: tuple[tuple[float, float], ...], sfreq: float, time: int) -> Tensor:
    """Return each band's zero-phase Butterworth filter of a stretch as a matrix, ``(bands, time, time)`` float64.

    SciPy's ``sosfiltfilt`` is linear in the signal, its padding too, so that it is a product with what it makes of the
    unit vectors.

    Args:
        bands: Lower and upper edge of each band in Hz.
        sfreq: Sampling rate in Hz.
        time: Samples of a stretch.

    Raises:
        ConfigError: If the stretch is longer than 4,096 samples.
    """
    if time > _LONGEST:
        raise ConfigError(
            f"method: 'filter' takes stretches of at most {_LONGEST:,} samples, got {time:,}. Give shorter stretches, "
            "a lower rate, or method='stft'."
        )
    matrices = []
    for low, high in bands:
        if (low, high) == (0, sfreq / 2):
            matrices.append(np.eye(time))
            continue
        edges, kind = ((low, high), "bandpass") if low > 0 else (high, "lowpass")
        if high >= sfreq / 2:
            edges, kind = (low, "highpass")
        sos = scipy.signal.butter(_ORDER, edges, kind, fs=sfreq, output="sos")
        matrices.append(scipy.signal.sosfiltfilt(sos, np.eye(time), axis=0, padlen=pad_length(sos, time)))
    return torch.from_numpy(np.stack(matrices))


def pad_length(sos: np.ndarray, time: int) -> int:
    """Return SciPy's own padding of ``sosfiltfilt``, or as much as a short stretch allows.

    Args:
        sos: Second-order sections.
        time: Samples of the stretch.
    """
    taps = 2 * len(sos) + 1
    taps -= min(int((sos[:, 2] == 0).sum()), int((sos[:, 5] == 0).sum()))
    return min(3 * taps, time - 1)


def differential_entropy(
    signal: Tensor, sfreq: float, bands: Bands, *, method: Literal["stft", "filter"] = "stft"
) -> Tensor:
    r"""Return the differential entropy of a signal in bands of frequency.

    Shi, Jiao and Lu, *Differential entropy feature for EEG-based vigilance estimation* (2013): a band of EEG is nearly
    Gaussian, and a Gaussian's differential entropy is

    .. math:: h_b = \tfrac12 \ln(2 \pi e\, \sigma_b^2)

    in nats. :math:`\sigma_b^2` is by ``"stft"`` the mean square of :func:`band_power` (SEED's own features are of this
    kind), by ``"filter"`` the variance after a Butterworth band-pass of order 4 run forwards and backwards (SciPy's
    ``sosfiltfilt``), which also holds some of the neighbouring bands. Below :data:`SMALLEST` a variance counts as that,
    so that a dead channel gives a number.

    Args:
        signal: EEG in µV, ``(..., channels, time)``: one stretch.
        sfreq: Sampling rate in Hz.
        bands: Lower and upper edge of each band in Hz.
        method: ``"stft"`` or ``"filter"``.

    Returns:
        Nats, ``(..., bands, channels)``.

    Raises:
        ShapeError: If the signal has no channels or time, or is empty.
        SignalError: If it is not of a real floating type.
        ConfigError: If a band or the method is impossible.

    Example:
        >>> noise = 5 * torch.randn(2, 1000, generator=torch.Generator().manual_seed(0))
        >>> h = differential_entropy(noise, 100.0, [(0, 50)])  # half of ln(2 π e 25)
        >>> round(0.5 * math.log(2 * math.pi * math.e * 25), 2), [round(v, 1) for v in h[0].tolist()]
        (3.03, [3.1, 3.1])
    """
    if method not in METHODS:
        raise ConfigError(
            f"method: expected one of {', '.join(METHODS)}, got {method!r}.{did_you_mean(method, METHODS)}"
        )
    if method == "stft":
        return entropy_of(band_power(signal, sfreq, bands))
    x = _checked(signal)
    pairs = check_bands(bands, sfreq, x.shape[-1])
    return entropy_of(filtered_variance(x, band_filters(pairs, float(sfreq), x.shape[-1])))


def filtered_variance(signal: Tensor, filters: Tensor) -> Tensor:
    """Return the variance of each channel after each filter, ``(..., bands, channels)``.

    Args:
        signal: ``(..., channels, time)``, of float32 or wider.
        filters: As :func:`band_filters` gives them.
    """
    with without_autocast(signal):
        # A constant passes no band but would cost digits.
        x = (signal - signal.mean(-1, keepdim=True)).unsqueeze(-3)
        return (x @ filters.to(x).mT).var(-1, correction=0)


def entropy_of(variance: Tensor) -> Tensor:
    """Return the differential entropy of Gaussians of these variances, in nats.

    Args:
        variance: In µV², any shape.
    """
    return 0.5 * torch.log(2 * math.pi * math.e * variance.clamp_min(SMALLEST))
