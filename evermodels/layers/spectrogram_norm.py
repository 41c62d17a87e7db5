"""Standardisation of spectrograms by the statistics of a training set."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from evermodels.core.errors import ConfigError, ShapeError, check_axes


class SpectrogramNorm(nn.Module):
    r"""Standardise each channel and frequency by its mean and standard deviation over a training set.

    Source: Audio-Mamba (Erol et al., 2024) standardises its log-mel spectrograms by the mean and standard deviation of
    the data set, two scalars. EEG falls with frequency and differs between electrodes, so the statistics here are kept
    for each channel :math:`c` and frequency :math:`f` (a choice; EVER's paper is silent):

    .. math::
        \tilde E'_{cft} = (\tilde E_{cft} - \mu_{cf}) / \sigma_{cf}

    :math:`\mu` and :math:`\sigma` are fixed numbers of the checkpoint, not of the batch: a window's result does not
    depend on the windows beside it. Until :meth:`fit` they are 0 and 1.

    Args:
        in_chans: Number of channels C.
        num_bins: Number of frequencies F.

    Raises:
        ConfigError: If a number is not positive.

    Example:
        >>> import torch
        >>> norm = SpectrogramNorm(in_chans=2, num_bins=4)
        >>> batch = 3 + 2 * torch.randn(64, 2, 4, 16)
        >>> norm.fit([batch])
        >>> bool(norm(batch).mean().abs() < 1e-5)
        True
    """

    mean: Tensor
    std: Tensor

    def __init__(self, in_chans: int, num_bins: int) -> None:
        super().__init__()
        for name, value in (("in_chans", in_chans), ("num_bins", num_bins)):
            if value < 1:
                raise ConfigError(f"{name}: expected at least 1, got {value}.")
        self.in_chans, self.num_bins = in_chans, num_bins
        self.register_buffer("mean", torch.zeros(in_chans, num_bins))
        self.register_buffer("std", torch.ones(in_chans, num_bins))

    @torch.no_grad()
    def fit(self, batches: Iterable[Tensor]) -> None:
        """Take the statistics over samples and time.

        Args:
            batches: Spectrograms, ``(batch, channels, frequency, time)`` each.

        Raises:
            ShapeError: If there is no batch, or one has other axes.
        """
        count, total, squares = 0, torch.zeros(()), torch.zeros(())
        for batch in batches:
            self._check(batch)
            # Centred by the first batch: float64 sums of squares then lose nothing.
            if count == 0:
                shift = batch.double().mean((0, 3), keepdim=True)
            centred = batch.double() - shift
            count += batch.shape[0] * batch.shape[3]
            total = total + centred.sum((0, 3))
            squares = squares + centred.square().sum((0, 3))
        if count == 0:
            raise ShapeError("batches: expected at least one batch of spectrograms, got none.")
        mean = total / count
        std = (squares / count - mean.square()).clamp_min(0).sqrt()
        self.mean.copy_(mean + shift[0, :, :, 0])
        # A frequency that never changes carries nothing; 1 leaves it at 0 after centring.
        self.std.copy_(torch.where(std > 1e-6, std, torch.ones_like(std)))

    def forward(self, spectrogram: Tensor) -> Tensor:
        """Standardise.

        Args:
            spectrogram: ``(batch, channels, frequency, time)``.

        Returns:
            The same shape, in float32 or wider.

        Raises:
            ShapeError: If the channels or frequencies differ from the module's.
        """
        self._check(spectrogram)
        return (spectrogram - self.mean[:, :, None]) / self.std[:, :, None]

    def _check(self, spectrogram: Tensor) -> None:
        check_axes(
            "spectrogram", spectrogram, "batch channels frequency time", channels=self.in_chans, frequency=self.num_bins
        )

    def extra_repr(self) -> str:
        """Return the settings for ``repr``."""
        return f"in_chans={self.in_chans}, num_bins={self.num_bins}"
