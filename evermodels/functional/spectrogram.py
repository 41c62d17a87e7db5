"""The log spectrogram that EEG encoders of EVER see."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from evermodels.core.errors import ConfigError, ShapeError, SignalError
from evermodels.functional._precision import at_least_float32, without_autocast


def resolve_hop(n_fft: int, hop_length: int | None, size: tuple[int, int] | None) -> int:
    """Check the settings of a log spectrogram and return its hop (default: a quarter of the window).

    Args:
        n_fft: Length of the window in samples.
        hop_length: Samples between frames, or ``None``.
        size: ``(F, T)`` of the result, or ``None``.

    Raises:
        ConfigError: If one of them cannot be used.
    """
    if isinstance(n_fft, bool) or not isinstance(n_fft, int) or n_fft < 2:
        raise ConfigError(f"n_fft: expected an integer of at least 2 samples, got {n_fft!r}. About 1 s is usual.")
    hop = max(1, n_fft // 4) if hop_length is None else hop_length
    if isinstance(hop, bool) or not isinstance(hop, int) or hop < 1:
        raise ConfigError(f"hop_length: expected a positive integer or None (a quarter of n_fft), got {hop_length!r}.")
    if size is not None and not (len(size) == 2 and all(isinstance(n, int) and n > 0 for n in size)):
        raise ConfigError(f"size: expected (frequency, time) of two positive integers, or None, got {size!r}.")
    return hop


# Values of raw spectrograms worked on at a time: new memory for a large batch costs more than the arithmetic.
_PIECE = 1 << 19


def _frames(signals: Tensor, n_fft: int, hop: int) -> Tensor:
    """Return the windows of ``(n, time)``, centred and reflected at both ends, ``(n, frames, n_fft)``: a view."""
    half = n_fft // 2
    return F.pad(signals[None], (half, half), mode="reflect")[0].unfold(-1, n_fft, hop)


def _log_magnitude(frames: Tensor) -> Tensor:
    """Return ``log(1 + |DFT|)`` in half the time of ``abs`` of a complex tensor, with slope 0 at 0."""
    dft = torch.fft.rfft(frames)
    smallest = frames.new_full((), torch.finfo(frames.dtype).tiny)
    square = torch.addcmul(torch.addcmul(smallest, dft.real, dft.real), dft.imag, dft.imag)
    return square.sqrt().log1p()


def _resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize ``(n, rows, columns)`` bilinearly.

    Few frames are resized in half the time by a product with the weights of each axis; measured on a CPU, the kernel
    wins from about 64 multiplications per result on. Elsewhere the kernel is fast, and a product might round to TF32.
    """
    n, rows, columns = images.shape
    products = columns * (rows / size[1] + 1)
    if images.device.type != "cpu" or products > 64:
        return F.interpolate(images.contiguous()[None], size=size, mode="bilinear", align_corners=False)[0]
    across_rows, across_columns = (
        F.interpolate(torch.eye(length, dtype=images.dtype, device=images.device)[None], size=want, mode="linear")[0]
        for length, want in zip((rows, columns), size, strict=True)
    )
    # The bins of one frame are side by side, so this reshape copies nothing.
    fewer = (images.mT.reshape(n * columns, rows) @ across_rows).view(n, columns, size[0])
    return fewer.mT @ across_columns


def log_spectrogram(
    signal: Tensor,
    n_fft: int,
    hop_length: int | None = None,
    size: tuple[int, int] | None = None,
    *,
    window: Tensor | None = None,
) -> Tensor:
    r"""Log-magnitude spectrogram of each channel, resized to a fixed number of bins and frames.

    EVER, section 3.1, eq. 2-3:

    .. math:: S_c = \mathrm{STFT}(e_c, n_{fft}), \qquad M_c = \log(1 + |S_c|)

    followed by an interpolation of every :math:`M_c` to :math:`F \times T`. The paper gives neither hop, padding nor
    kind of interpolation. A choice: periodic Hann window, hop ``n_fft // 4``, frames centred on their sample with the
    signal reflected at both ends, bilinear resize without antialiasing. The STFT is not normalised, so that the scale
    follows the signal's (µV). Computed in float32 under autocast and for half-precision input; float64 stays float64.

    Args:
        signal: Signals, ``(..., time)``, in µV; any leading axes.
        n_fft: Length of the window in samples.
        hop_length: Samples between frames (default: ``n_fft // 4``).
        size: ``(F, T)`` of the result (default: the raw ``n_fft // 2 + 1`` bins and ``1 + time // hop`` frames,
            for an even ``n_fft``).
        window: Window of ``n_fft`` values (default: periodic Hann).

    Returns:
        Spectrograms, ``(..., F, T)``, not negative.

    Raises:
        ConfigError: If ``n_fft``, ``hop_length`` or ``size`` cannot be used.
        ShapeError: If the signal is empty, or the window has another length than ``n_fft``.
        SignalError: If the signal is shorter than ``n_fft``, or is not of a real floating type.

    Example:
        >>> import torch
        >>> from evermodels.functional import log_spectrogram
        >>> log_spectrogram(torch.zeros(2, 19, 1000), n_fft=200).shape
        torch.Size([2, 19, 101, 21])
        >>> log_spectrogram(torch.zeros(2, 19, 1000), n_fft=200, size=(64, 48)).shape
        torch.Size([2, 19, 64, 48])
    """
    hop = resolve_hop(n_fft, hop_length, size)
    if not isinstance(signal, Tensor) or signal.ndim == 0 or signal.numel() == 0:
        got = tuple(signal.shape) if isinstance(signal, Tensor) else type(signal).__name__
        raise ShapeError(f"signal: expected a tensor (..., time) with at least one signal, got {got}.")
    if not signal.is_floating_point():
        raise SignalError(f"signal: expected a real floating type, got {signal.dtype}. Convert it with .float().")
    time = signal.shape[-1]
    if time < n_fft:
        raise SignalError(
            f"signal: {time} samples are shorter than one window, n_fft={n_fft}. Give more, or a smaller n_fft."
        )
    with without_autocast(signal):
        x = at_least_float32(signal)
        if window is None:
            window = torch.hann_window(n_fft, dtype=x.dtype, device=x.device)
        elif window.shape != (n_fft,):
            raise ShapeError(f"window: expected ({n_fft},) as n_fft={n_fft}, got {tuple(window.shape)}.")
        window = window.to(x)

        def spectrogram(signals: Tensor) -> Tensor:
            images = _log_magnitude(_frames(signals, n_fft, hop) * window).mT
            return images if size is None else _resize(images, size)

        x = x.reshape(-1, time)
        bins, count = n_fft // 2 + 1, 1 + (time - n_fft % 2) // hop
        rows = max(1, _PIECE // (bins * count))
        if x.device.type != "cpu" or x.requires_grad or torch.compiler.is_compiling() or len(x) <= rows:
            result = spectrogram(x)
        else:
            result = x.new_empty(len(x), *(size or (bins, count)))
            for start in range(0, len(x), rows):
                result[start : start + rows] = spectrogram(x[start : start + rows])
        return result.reshape(*signal.shape[:-1], *result.shape[-2:])
