"""Sound at another rate, by polyphase filtering of scipy, window by window as if it were done at once."""

from __future__ import annotations

import functools
import math
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import scipy.signal

from evermodels.core.errors import SignalError

_HALF = 10  # the filter reaches this many samples of the lower rate to each side, as resample_poly's own
_BETA = 5.0  # of its Kaiser window, as resample_poly's own
_MOST = 200_000  # of both factors: every whole rate there is
_SAME = 1e-6  # relative difference of two rates that are equal


class Ratio(NamedTuple):
    """A rate over another one.

    Args:
        up: Samples that come out …
        down: … for so many that go in.
        margin: Samples to each side that one sample depends on, a multiple of ``down``.
    """

    up: int
    down: int
    margin: int


def ratio(old: float, new: float) -> Ratio:
    """Return the ratio of two rates in whole numbers.

    Args:
        old: Rate in Hz.
        new: Rate in Hz.

    Raises:
        SignalError: If there is none of usable size.

    Example:
        >>> ratio(44100.0, 16000.0)
        Ratio(up=160, down=441, margin=441)
    """
    if abs(old / new - 1) <= _SAME:
        return Ratio(1, 1, 0)
    found = Fraction(new / old).limit_denominator(_MOST)
    up, down = found.numerator, found.denominator
    if not 0 < up <= _MOST or abs(up / down * old / new - 1) > _SAME:
        raise SignalError(f"sfreq: {old!r} and {new!r} Hz have no usable common ratio. Give rates in whole Hz.")
    reach = math.ceil(_HALF * max(up, down) / up) + 1
    return Ratio(up, down, math.ceil(reach / down) * down)


@functools.lru_cache(maxsize=64)
def _low_pass(up: int, down: int) -> np.ndarray:
    most = max(up, down)
    taps = scipy.signal.firwin(2 * _HALF * most + 1, 1 / most, window=("kaiser", _BETA))
    taps.flags.writeable = False
    return taps


def resample(sound: np.ndarray, by: Ratio) -> np.ndarray:
    """Return sound at another rate, zeros standing where there is none.

    ``scipy.signal.resample_poly`` with its own filter: linear phase, half of the lower rate passes at half its height.

    Args:
        sound: ``(time,)``.
        by: The ratio.

    Returns:
        ``(ceil(time * up / down),)`` float32.

    Example:
        >>> resample(np.ones(441, dtype="float32"), ratio(44100.0, 16000.0)).shape
        (160,)
    """
    if by.up == by.down:
        return sound
    resampled = scipy.signal.resample_poly(sound.astype(np.float64), by.up, by.down, window=_low_pass(by.up, by.down))
    return resampled.astype(np.float32)
