"""Where sound comes from: an array, a sound file, the sound track of a video; each as blocks of samples in order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from evermodels.core.errors import ShapeError, SignalError, boundary

LEAST_RATE, MOST_RATE = 4_000.0, 192_000.0
"""Sampling rates in Hz beyond which sound is refused: below, speech cannot be understood; above, nothing records."""

LONGEST = 2 * 24 * 3600.0
"""Seconds; a file that says it is longer is damaged."""

MOST_CHANNELS = 64
"""More are a damaged header, or time and channels in the other order."""

BLOCK = 1 << 16
"""Samples of each channel that are read at a time."""

_OVERSHOOT = 1.001  # 16-bit integers divided by 32767 reach 1.00003
_SCALES = {"int8": (0.0, 2.0**7), "uint8": (2.0**7, 2.0**7), "int16": (0.0, 2.0**15), "int32": (0.0, 2.0**31)}


class Stretch(NamedTuple):
    """Sound without a gap.

    Args:
        begin: When its first sample was taken, in seconds of the source's own clock.
        first: Number of its first sample in the order in which the source gives them.
        samples: How many there are.
    """

    begin: float
    first: int
    samples: int


class SoundSource(ABC):
    """Sound as it is stored.

    Attributes:
        name: What messages call it.
        sfreq: Sampling rate in Hz.
        channels: Number of channels.
        stretches: Uninterrupted stretches, in order of time.
        edges: Seconds of silence that stand before the first and after the last sample.
        full_scale: From which value on a sample is at full scale.
        notes: What opening it showed, in whole sentences.
    """

    name: str
    sfreq: float
    channels: int
    stretches: tuple[Stretch, ...]
    edges: tuple[float, float] = (0.0, 0.0)
    full_scale: float = 1 - 2**-14  # the last two steps of 16 bits
    notes: tuple[str, ...] = ()

    @abstractmethod
    def blocks(self, first: int) -> Iterator[np.ndarray]:
        """Yield ``(channels, samples)`` float32 in -1..1, from a sample on, in order.

        Args:
            first: Number of the sample.
        """

    def check_form(self) -> None:
        """Refuse a rate and a number of channels that cannot be those of sound."""
        if not LEAST_RATE <= self.sfreq <= MOST_RATE:
            raise SignalError(
                f"sfreq: {self.name} has {self.sfreq:.6g} Hz, and sound is sampled at {LEAST_RATE:,.0f} to "
                f"{MOST_RATE:,.0f} Hz. Is it a rate in kHz, or that of another signal? Give the true rate."
            )
        if not 1 <= self.channels <= MOST_CHANNELS:
            raise SignalError(
                f"{self.name}: it has {self.channels:,} channels, and sound has 1 to {MOST_CHANNELS}. A file with so "
                "many is damaged; an array is (channels, time)."
            )

    def check(self) -> None:
        """Refuse what cannot be sound, before a sample is kept."""
        self.check_form()
        samples = sum(stretch.samples for stretch in self.stretches)
        if samples == 0:
            raise SignalError(f"{self.name}: it is empty: there is no sample in it. Give a recording with sound.")
        if samples > LONGEST * self.sfreq:
            raise SignalError(
                f"{self.name}: its header says that it is {samples / self.sfreq:.3g} s long, which cannot be (at most "
                f"{LONGEST / 86400:g} days). The header is damaged: copy the file again, or convert it with ffmpeg."
            )


class ArraySource(SoundSource):
    """Sound in an array, kept as it was given.

    Args:
        array: ``(time,)`` or ``(channels, time)``: floating point in -1..1, or integers of 8, 16 or 32 bits.
        sfreq: Sampling rate in Hz.

    Raises:
        SignalError: If it holds values that are no sound.
        ShapeError: If it has other axes.
    """

    def __init__(self, array: Any, sfreq: float) -> None:
        self.name = "audio"
        self.array = _as_array(array)
        self.sfreq = sfreq
        self.channels, samples = self.array.shape
        self.stretches = (Stretch(0.0, 0, samples),)
        if self.channels > samples > 0:
            raise ShapeError(
                f"audio: expected (time,) or (channels, time), got shape {self.array.shape}, more channels than "
                "samples. Give array.T where time comes first."
            )
        self.check()
        if self.array.dtype.itemsize == 1:
            self.full_scale = 1 - 2**-7
        self._check_values()

    def _check_values(self) -> None:
        most = 0.0
        for k, block in enumerate(self.blocks(0)):
            peaks = np.abs(block).max(axis=0)
            if not np.isfinite(peaks).all():
                place = k * BLOCK + int(np.argmin(np.isfinite(peaks)))
                raise not_finite(self.name, place / self.sfreq)
            most = max(most, float(peaks.max()))
        if most > _OVERSHOOT:
            raise SignalError(
                f"audio: values reach {most:.6g}, and sound in floating point lies in -1..1 (full scale). Divide it by "
                "its full scale (32768 for 16 bits), give the integers themselves, or, where it only overshoots, clip "
                "it: array.clip(-1, 1)."
            )

    def blocks(self, first: int) -> Iterator[np.ndarray]:
        """Yield the samples, scaled by their type.

        Args:
            first: Number of the first one.
        """
        for begin in range(first, self.array.shape[1], BLOCK):
            yield scaled(self.array[:, begin : begin + BLOCK])


def _as_array(given: Any) -> np.ndarray:
    with boundary(SignalError, "audio: what was given is no array", "Give (time,) or (channels, time) of equal rows."):
        if isinstance(given, torch.Tensor):
            tensor = given.detach().cpu()
            array = (tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor).numpy()
        else:
            array = np.asarray(given)
    if isinstance(given, np.ma.MaskedArray) and np.ma.getmaskarray(given).any():
        raise SignalError("audio: the array is masked, and a mask has no place in sound. Give its parts one by one.")
    if array.dtype.kind != "f" and array.dtype.name not in _SCALES:
        raise SignalError(
            f"audio: expected floating point in -1..1 or integers of 8, 16 or 32 bits, whose full scale is known, got "
            f"dtype {array.dtype}. Give array / full_scale."
        )
    if array.ndim not in (1, 2):
        raise ShapeError(
            f"audio: expected (time,) or (channels, time), got {array.ndim} axes of shape {array.shape}. Give one "
            "recording at a time."
        )
    return array[None] if array.ndim == 1 else array


def scaled(block: np.ndarray) -> np.ndarray:
    """Return samples as float32 in -1..1.

    Args:
        block: Floating point, or integers of 8, 16 or 32 bits, which are divided by their full scale (unsigned ones
            have their zero in the middle).

    Example:
        >>> scaled(np.array([-32768, 0, 16384], dtype="int16")).tolist(), scaled(np.array([128, 192], "uint8")).tolist()
        ([-1.0, 0.0, 0.5], [0.0, 0.5])
    """
    if block.dtype.kind == "f":
        with np.errstate(over="ignore"):  # what is too large for float32 is refused as such
            return block.astype(np.float32)
    zero, full = _SCALES[block.dtype.name]
    return ((block.astype(np.float64) - zero) / full).astype(np.float32)


def not_finite(name: str, seconds: float) -> SignalError:
    """Return the error of a value that is no number.

    Args:
        name: Where it stands.
        seconds: When.
    """
    return SignalError(
        f"{name}: it holds NaN or infinity at {seconds:.3f} s. Cut this part out, or write the recording again."
    )


def open_source(path: Path) -> SoundSource:
    """Open a file with sound: by soundfile where it is a kind that soundfile reads, else by PyAV.

    Args:
        path: The file.

    Raises:
        FileNotFoundError: If there is no such file.
        SignalError: If it is empty, damaged, cut short or without sound.
        MissingExtraError: If the package for this kind of file is not installed.
    """
    from evermodels.signals.audio.sound_file import SoundFileSource, UnreadError, is_sound_file
    from evermodels.signals.audio.track import Track

    if not path.exists():
        raise FileNotFoundError(f"audio: there is no file {path}.")
    if path.is_dir():
        raise SignalError(f"audio: {path} is a folder. Give one file; read several in a loop.")
    if path.stat().st_size == 0:
        raise SignalError(f"{path.name}: the file is empty (0 bytes). Copy it again.")
    if is_sound_file(path):
        try:
            return SoundFileSource(path)
        except UnreadError:  # a kind that soundfile knows with contents that it does not
            pass
    return Track(path)
