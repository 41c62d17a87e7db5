"""The log-mel spectrogram that encoders of sound see."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from evermodels.core.errors import ConfigError, ShapeError, SignalError
from evermodels.functional._precision import at_least_float32, without_autocast

FLOAT32_EPSILON = 2.0**-23
"""Kaldi's floor: what is less before the logarithm counts as this."""


_WINDOWS = {"hann": torch.hann_window, "hamming": torch.hamming_window}


class _Sizes(NamedTuple):
    frame: int
    hop: int
    n_fft: int
    f_max: float


def _check(
    sfreq: float,
    n_mels: int,
    lengths: tuple[int | None, int | None, int | None],
    edges: tuple[float, float | None],
    power: float,
) -> _Sizes:
    if isinstance(sfreq, bool) or not isinstance(sfreq, (int, float)) or not (math.isfinite(sfreq) and sfreq > 0):
        raise ConfigError(f"sfreq: expected a positive rate in Hz, got {sfreq!r}.")
    frame = round(0.025 * sfreq) if lengths[0] is None else lengths[0]
    hop = round(0.010 * sfreq) if lengths[1] is None else lengths[1]
    for key, value, least in (("frame_length", frame, 2), ("hop_length", hop, 1), ("n_mels", n_mels, 1)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ConfigError(f"{key}: expected an integer of at least {least}, got {value!r}.")
    n_fft = 1 << (frame - 1).bit_length() if lengths[2] is None else lengths[2]
    if isinstance(n_fft, bool) or not isinstance(n_fft, int) or n_fft < frame:
        raise ConfigError(f"n_fft: expected an integer of at least frame_length={frame}, got {n_fft!r}.")
    f_max = sfreq / 2 if edges[1] is None else edges[1]
    if not 0 <= edges[0] < f_max <= sfreq / 2:
        raise ConfigError(
            f"f_min, f_max: expected 0 <= f_min < f_max <= {sfreq / 2:g} Hz (half of sfreq), got {edges[0]!r} and "
            f"{f_max!r}."
        )
    if power not in (1, 2):
        raise ConfigError(f"power: expected 1 (magnitude) or 2 (power), got {power!r}.")
    return _Sizes(frame, hop, n_fft, f_max)


def _mel(hertz: Tensor) -> Tensor:
    return 1127.0 * torch.log1p(hertz / 700.0)


def mel_filters(n_mels: int, n_fft: int, sfreq: float, f_min: float, f_max: float) -> Tensor:
    """Return triangles of equal width and height 1 on the mel scale, ``(n_fft // 2 + 1, n_mels)`` float64.

    Args:
        n_mels: How many triangles; each begins in the middle of the one before.
        n_fft: Points of the Fourier transform that they weigh.
        sfreq: Sampling rate in Hz.
        f_min: Where the first begins, in Hz.
        f_max: Where the last ends, in Hz.

    Example:
        >>> mel_filters(2, 8, 8000.0, 0.0, 4000.0).shape
        torch.Size([5, 2])
    """
    bins = _mel(torch.arange(n_fft // 2 + 1, dtype=torch.float64) * (sfreq / n_fft))
    low, high = _mel(torch.tensor([f_min, f_max], dtype=torch.float64))
    width = (high - low) / (n_mels + 1)
    rising = (bins[:, None] - low) / width - torch.arange(n_mels, dtype=torch.float64)
    return torch.minimum(rising, 2.0 - rising).clamp(min=0.0)


def mel_centres(n_mels: int, f_min: float, f_max: float) -> Tensor:
    """Return the frequencies at which the triangles are highest, ``(n_mels,)`` float64 in Hz.

    Args:
        n_mels: How many triangles.
        f_min: Where the first begins, in Hz.
        f_max: Where the last ends, in Hz.

    Example:
        >>> mel_centres(1, 0.0, 700.0 * 3)
        tensor([700.], dtype=torch.float64)
    """
    low, high = _mel(torch.tensor([f_min, f_max], dtype=torch.float64))
    middle = low + (high - low) / (n_mels + 1) * torch.arange(1, n_mels + 1, dtype=torch.float64)
    return 700.0 * torch.expm1(middle / 1127.0)


def log_mel_spectrogram(
    signal: Tensor,
    sfreq: float,
    *,
    n_mels: int = 128,
    frame_length: int | None = None,
    hop_length: int | None = None,
    n_fft: int | None = None,
    f_min: float = 20.0,
    f_max: float | None = None,
    preemphasis: float = 0.97,
    remove_mean: bool = True,
    window: str = "hann",
    periodic: bool = False,
    power: float = 2.0,
    floor: float = FLOAT32_EPSILON,
    offset: float = 0.0,
) -> Tensor:
    r"""Log-mel spectrogram of sound, frame by frame.

    Frame :math:`t` holds the samples :math:`t \cdot hop` to :math:`t \cdot hop + frame - 1`; a rest at the end is left
    out, nothing is padded. Of each frame the mean is subtracted, then :math:`x_i \leftarrow x_i - p\,x_{i-1}`
    (pre-emphasis, the first value taking itself as the one before), a window and zeros up to ``n_fft``:

    .. math:: M_{t,m} = \log \max\Big(\sum_k |X_{t,k}|^{power}\, W_{k,m} + offset,\ floor\Big)

    :math:`W` are triangles of height 1, equally wide on the scale :math:`mel(f) = 1127 \ln(1 + f / 700)`, and straight
    lines on that scale (not in Hz); neighbours overlap by half.

    The defaults are the filter bank of AST (Gong, Chung & Glass, *AST: Audio Spectrogram Transformer*, Interspeech
    2021, section 2.1; the authors' code calls Kaldi's ``fbank`` with a Hann window and 128 bands): pre-emphasis 0.97,
    symmetric Hann window, power, 20 Hz to half the rate, natural logarithm with the floor :math:`2^{-23}`. The same as
    there: every value, for sound of 16 kHz in -1..1. Not the same: Kaldi itself takes 16-bit integers (its values are
    :math:`2\ln 2^{15} \approx 20.79` higher); Kaldi's dither, which AST turns off, is not there; lengths in samples
    are rounded, Kaldi cuts them, which differs at rates such as 11,025 Hz; AST's padding to 1024 frames and its
    standardisation ``(x + 4.2677393) / (2 * 4.5689974)`` are the caller's (:class:`~evermodels.core.specs.AudioSpec`
    has ``mean`` and ``std``). With 128 bands from 20 Hz
    and 512 points at 16 kHz the fourth triangle lies between two frequencies of the transform; it holds the logarithm
    of the floor always, there as here.

    VGGish (Hershey et al., ICASSP 2017) is ``n_mels=64, f_min=125, f_max=7500, preemphasis=0, remove_mean=False,
    periodic=True, power=1, offset=0.01`` at 16 kHz
    (:meth:`evermodels.core.specs.AudioSpec.vggish`).

    Computed in float32 under autocast and for half-precision input; float64 stays float64.

    Args:
        signal: Sound, ``(..., time)``, full scale at -1..1; any leading axes.
        sfreq: Sampling rate in Hz.
        n_mels: Number of triangles.
        frame_length: Samples of a frame (default: 25 ms).
        hop_length: Samples from one frame to the next (default: 10 ms).
        n_fft: Points of the Fourier transform (default: the power of two that a frame fits into).
        f_min: Lower edge of the first triangle in Hz.
        f_max: Upper edge of the last triangle in Hz (default: half of ``sfreq``).
        preemphasis: :math:`p`; 0 for none.
        remove_mean: Whether each frame's mean is subtracted first.
        window: ``"hann"``, or ``"hamming"``, :math:`0.54 - 0.46 \cos`.
        periodic: Whether the window is periodic instead of symmetric.
        power: 1 for the magnitude, 2 for the power of the spectrum.
        floor: Least value before the logarithm.
        offset: Added before the logarithm.

    Returns:
        ``(..., frames, n_mels)`` with ``frames = 1 + (time - frame_length) // hop_length``.

    Raises:
        ConfigError: If a setting cannot be used.
        ShapeError: If the signal is empty.
        SignalError: If the signal is shorter than a frame, or is not of a real floating type.

    Example:
        >>> import torch
        >>> from evermodels.functional import log_mel_spectrogram
        >>> log_mel_spectrogram(torch.zeros(2, 16000), 16000).shape
        torch.Size([2, 98, 128])
    """
    frame, hop, n_fft, f_max = _check(sfreq, n_mels, (frame_length, hop_length, n_fft), (f_min, f_max), power)
    if window not in _WINDOWS:
        raise ConfigError(f"window: expected 'hann' or 'hamming', got {window!r}.")
    if not (floor > 0 and offset >= 0):
        raise ConfigError(f"floor, offset: expected floor > 0 and offset >= 0, got {floor!r} and {offset!r}.")
    if not isinstance(signal, Tensor) or signal.ndim == 0 or signal.numel() == 0:
        got = tuple(signal.shape) if isinstance(signal, Tensor) else type(signal).__name__
        raise ShapeError(f"signal: expected a tensor (..., time) with at least one signal, got {got}.")
    if not signal.is_floating_point():
        raise SignalError(
            f"signal: expected a real floating type, got {signal.dtype}. Divide 16-bit integers by 32768.0."
        )
    if signal.shape[-1] < frame:
        raise SignalError(
            f"signal: {signal.shape[-1]} samples are shorter than one frame of {frame}. Give more, or a smaller "
            "frame_length."
        )
    with without_autocast(signal):
        x = at_least_float32(signal)
        frames = x.unfold(-1, frame, hop)
        if remove_mean:
            frames = frames - frames.mean(dim=-1, keepdim=True)
        if preemphasis:
            before = torch.cat([frames[..., :1], frames[..., :-1]], dim=-1)
            frames = frames - preemphasis * before
        taper = _WINDOWS[window](frame, periodic=periodic, dtype=torch.float64, device=x.device).to(x.dtype)
        spectrum = torch.fft.rfft(frames * taper, n=n_fft)
        power_spectrum = spectrum.real.square() + spectrum.imag.square()
        if power == 1:  # the slope at 0 stays finite
            power_spectrum = (power_spectrum + torch.finfo(x.dtype).tiny).sqrt()
        filters = mel_filters(n_mels, n_fft, float(sfreq), float(f_min), float(f_max)).to(x)
        return (power_spectrum @ filters + offset).clamp(min=floor).log()
