"""Windows at one rate to windows at another, as a layer."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import torch
from scipy.signal import firwin
from torch import Tensor, nn
from torch.nn import functional as F

from evermodels.core.errors import ConfigError
from evermodels.functional._precision import at_least_float32, without_autocast

_MOST_FACTOR, _SAME_RATE = 1000, 1e-6
_HALF = 10  # half the length of the low-pass in samples of the slower rate, as scipy.signal.resample_poly has it
_KAISER = 5.0


class Resample(nn.Module):
    """Bring windows to another rate by a polyphase low-pass.

    It is ``scipy.signal.resample_poly`` with its default filter and ``padtype="edge"``: before the first and after the
    last sample these go on. There is nothing to train or to save.

    Args:
        sfreq: Rate of what comes, in Hz.
        to: Rate of what is returned, in Hz.

    Raises:
        ConfigError: If the two have no ratio of whole numbers up to 1000.

    Example:
        >>> Resample(256.0, 200.0)(torch.ones(1, 2, 1280)).shape
        torch.Size([1, 2, 1000])
    """

    kernels: Tensor

    def __init__(self, sfreq: float, to: float) -> None:
        super().__init__()
        ratio = Fraction(to / sfreq).limit_denominator(_MOST_FACTOR)
        self.up, self.down = ratio.numerator, ratio.denominator
        if not 0 < self.up <= _MOST_FACTOR or abs(float(ratio) * sfreq / to - 1) > _SAME_RATE:
            raise ConfigError(
                f"sfreq: {sfreq:g} Hz and the model's {to:g} Hz have no ratio of whole numbers up to {_MOST_FACTOR}. "
                f"Resample the recordings to {to:g} Hz."
            )
        widest = max(self.up, self.down)
        half = _HALF * widest
        low_pass = self.up * firwin(2 * half + 1, 1 / widest, window=("kaiser", _KAISER))
        # Output k stands at k·down of the raised rate; the samples that it sees stand at multiples of up around it.
        self.reach = half // self.up + 1
        kernels = np.zeros((self.up, 2 * self.reach + 1 + self.down))
        for phase in range(self.up):
            first = phase * self.down // self.up  # the last sample that is not after the output
            for column in range(kernels.shape[1]):
                tap = phase * self.down - (column - self.reach) * self.up + half
                if 0 <= tap <= 2 * half and abs(column - self.reach - first) <= self.reach:
                    kernels[phase, column] = low_pass[tap]
        self.register_buffer("kernels", torch.tensor(kernels, dtype=torch.float32)[:, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(batch, channels, time · up / down)``, rounded up.

        Args:
            x: ``(batch, channels, time)``.
        """
        batch, channels, time = x.shape
        length = -(-time * self.up // self.down)
        wide = at_least_float32(x).reshape(batch * channels, 1, time)
        steps = -(-length // self.up)  # each gives one output of every phase
        right = (steps - 1) * self.down + self.kernels.shape[2] - self.reach - time
        padded = F.pad(wide, (self.reach, max(right, 0)), mode="replicate")
        with without_autocast(x):
            made = F.conv1d(padded, self.kernels.to(padded.dtype), stride=self.down)
        return made[:, :, :steps].mT.reshape(batch, channels, -1)[:, :, :length].to(x.dtype)

    def extra_repr(self) -> str:
        """Return the settings for ``repr``."""
        return f"{self.up}/{self.down}"
