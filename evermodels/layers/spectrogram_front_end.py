"""From EEG to the maps that encoders of spectrograms read: spectrogram, standardisation, channel dropout."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Iterator
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evermodels.layers.spectrogram_norm import SpectrogramNorm
from evermodels.layers.squared_change import SquaredChange
from evermodels.layers.stft_spectrogram import STFTSpectrogram


class SpectrogramFrontEnd(nn.Module):
    r"""Make standardised log spectrograms of EEG, and of their squared change if asked for.

    .. math:: \tilde E = \mathrm{resize}(\log(1 + |\mathrm{STFT}(E)|)), \quad
        \tilde E' = \mathrm{norm}((\tilde E - \mu) / \sigma)

    (EVER, eq. 2-3; μ and σ two numbers as Audio-Mamba has them, the norm by channel and frequency is our choice, see
    :class:`SpectrogramNorm`.) Its statistics are taken by :meth:`fit` once, from training people, and saved with the
    weights.

    Args:
        in_chans: EEG channels.
        n_fft: STFT window in samples.
        hop_length: STFT hop in samples (default: ``n_fft // 4``).
        size: Frequency × time of the result.
        mean: μ.
        std: σ.
        norm: ``"scalar"`` (only μ and σ) or ``"channel_frequency"``.
        squared_change: Whether :class:`SquaredChange` gives further maps, one a channel.
        drop_rate: Chance per map, in training, that it is set to 0.

    Raises:
        ConfigError: If a size is impossible.

    Example:
        >>> front_end = SpectrogramFrontEnd(2, n_fft=100, size=(8, 4), squared_change=True)
        >>> front_end(torch.randn(3, 2, 500)).shape
        torch.Size([3, 4, 8, 4])
    """

    def __init__(
        self,
        in_chans: int,
        n_fft: int,
        hop_length: int | None = None,
        size: tuple[int, int] = (64, 64),
        *,
        mean: float = 0.0,
        std: float = 1.0,
        norm: Literal["scalar", "channel_frequency"] = "scalar",
        squared_change: bool = False,
        drop_rate: float = 0.0,
    ) -> None:
        super().__init__()
        self.in_chans, self.mean, self.std, self.drop_rate = in_chans, mean, std, drop_rate
        self.stft = STFTSpectrogram(n_fft, hop_length, size)
        self.norm = SpectrogramNorm(in_chans, size[0]) if norm == "channel_frequency" else None
        self.squared_change = SquaredChange(in_chans, size[0]) if squared_change else None

    @property
    def num_maps(self) -> int:
        """Maps of the result: the channels', then those of their squared change."""
        return self.in_chans * (1 if self.squared_change is None else 2)

    @property
    def needs_statistics(self) -> bool:
        """Whether anything is standardised by statistics of a training set."""
        return self.norm is not None or self.squared_change is not None

    @property
    def fitted(self) -> bool:
        """Whether :meth:`fit` has nothing left to do."""
        layers = [layer for layer in (self.norm, self.squared_change) if layer is not None]
        return all(bool((layer.mean != 0).any() or (layer.std != 1).any()) for layer in layers)

    @torch.no_grad()
    def fit(self, batches: Iterable[Tensor]) -> None:
        """Take the statistics of a training set.

        Args:
            batches: EEG in µV, ``(batch, channels, time)`` each.

        Raises:
            ShapeError: If there is no batch, or one does not fit.
        """
        means: list[Tensor] = []

        def spectrograms() -> Iterator[Tensor]:
            for batch in batches:
                spectrogram = self._scaled(batch)
                if self.squared_change is not None:
                    means.append(self.squared_change.means(spectrogram))
                yield spectrogram

        if self.norm is not None:
            self.norm.fit(spectrograms())
        elif self.squared_change is not None:
            collections.deque(spectrograms(), maxlen=0)
        if self.squared_change is not None:
            self.squared_change.fit(means)

    def forward(self, eeg: Tensor) -> Tensor:
        """Return ``(batch, maps, frequency, time)``, the channels' spectrograms first.

        Args:
            eeg: EEG in µV, ``(batch, channels, time)``; float64 stays, all else is computed in float32.
        """
        spectrogram = self._scaled(eeg)
        maps = spectrogram if self.norm is None else self.norm(spectrogram)
        if self.squared_change is not None:
            maps = torch.cat([maps, self.squared_change(spectrogram)], dim=1)
        return F.dropout2d(maps, self.drop_rate, self.training) if self.drop_rate > 0 else maps

    def _scaled(self, eeg: Tensor) -> Tensor:
        spectrogram: Tensor = self.stft(eeg if eeg.dtype == torch.float64 else eeg.float())
        return (spectrogram - self.mean) / self.std

    def extra_repr(self) -> str:
        """Return the settings for ``repr``."""
        return f"in_chans={self.in_chans}, mean={self.mean}, std={self.std}, drop_rate={self.drop_rate}"
