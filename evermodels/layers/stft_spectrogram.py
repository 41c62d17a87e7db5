"""The front end of EVER's EEG branch as a module."""

from __future__ import annotations

import torch
from torch import Tensor

from evermodels.functional.spectrogram import log_spectrogram, resolve_hop
from evermodels.layers._exact_buffers import ExactBuffers


class STFTSpectrogram(ExactBuffers):
    r"""Log-magnitude spectrogram of raw EEG, channel by channel.

    EVER, section 3.1, eq. 2-3: :math:`M_c = \log(1 + |\mathrm{STFT}(e_c)|)`, resized to :math:`F \times T`; see
    :func:`evermodels.functional.log_spectrogram` for the choices that the paper leaves open. The module only keeps the
    window, which no cast rounds: ``.half()`` leaves it in float32.

    Args:
        n_fft: Length of the window in samples.
        hop_length: Samples between frames (default: ``n_fft // 4``).
        size: ``(F, T)`` of the result (default: the raw bins and frames).

    Raises:
        ConfigError: If a setting cannot be used.

    Example:
        >>> import torch
        >>> from evermodels.layers import STFTSpectrogram
        >>> STFTSpectrogram(n_fft=200, size=(64, 64))(torch.zeros(2, 19, 1000)).shape
        torch.Size([2, 19, 64, 64])
    """

    window: Tensor

    def __init__(self, n_fft: int, hop_length: int | None = None, size: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.n_fft = n_fft
        self.hop_length = resolve_hop(n_fft, hop_length, size)
        self.size = None if size is None else (size[0], size[1])
        self.register_exact_buffers()

    def exact_buffers(self, dtype: torch.dtype, device: torch.device | None) -> dict[str, Tensor]:
        """Compute the Hann window.

        Args:
            dtype: Its type.
            device: Where it goes; ``None`` for the default.

        Returns:
            ``window``, ``(n_fft,)``.
        """
        return {"window": torch.hann_window(self.n_fft, dtype=dtype, device=device)}

    def forward(self, signal: Tensor) -> Tensor:
        """Compute the spectrograms.

        Args:
            signal: Raw EEG, ``(..., time)``, in µV, at least ``n_fft`` samples long.

        Returns:
            Spectrograms, ``(..., F, T)``, float32 (float64 for float64 input).

        Raises:
            ShapeError: If the signal is empty.
            SignalError: If it is shorter than ``n_fft``, or not of a real floating type.
        """
        exact = self.window.dtype == torch.float64 or signal.dtype != torch.float64
        window = self.window if exact else None
        return log_spectrogram(signal, self.n_fft, self.hop_length, self.size, window=window)

    def extra_repr(self) -> str:
        """Return the settings for ``repr``."""
        return f"n_fft={self.n_fft}, hop_length={self.hop_length}, size={self.size}"
