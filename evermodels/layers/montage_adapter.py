"""Raw EEG of one montage into the channels of another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from evermodels.core.errors import ConfigError, SignalError, check_axes
from evermodels.functional._precision import at_least_float32, without_autocast
from evermodels.layers._exact_buffers import ExactBuffers
from evermodels.montage import canonical_all, interpolation_matrix


class MontageAdapter(ExactBuffers):
    r"""Reorder the channels of raw EEG by name and interpolate those that are missing.

    Channels that both montages have are copied bit by bit; the others are interpolated by spherical splines (Perrin et
    al., 1989), :math:`y_d = \sum_s W_{ds} x_s` with :math:`W` of :func:`evermodels.montage.interpolation_matrix`. The
    weights are computed from the names: there is nothing to train or to save. They stay in float32 or wider, also
    under autocast and after ``.half()``.

    Args:
        src_ch_names: The recording's channels in its order, any spelling.
        dst_ch_names: The wanted channels in their order, any spelling.
        min_real: Least part of the wanted channels that the recording must have, 0 to 1 (default: half, a choice;
            with fewer, more is made up than was measured).

    Attributes:
        src_ch_names: The recording's channels, canonical names.
        dst_ch_names: The wanted channels, canonical names.
        interpolated: The wanted channels that the recording lacks, each with the channels that weigh most in it.

    Raises:
        ConfigError: If fewer than ``min_real`` of the wanted channels are there, or one cannot be interpolated.
        UnknownNameError: If a name is unknown, or two names of one list mean the same electrode.

    Example:
        >>> import torch
        >>> adapter = MontageAdapter(["Cz", "EEG T3", "Pz", "Fz"], ["T7", "Cz", "CPz"])
        >>> eeg = torch.randn(2, 4, 100)
        >>> adapted = adapter(eeg)
        >>> adapted.shape, torch.equal(adapted[:, 0], eeg[:, 1])
        (torch.Size([2, 3, 100]), True)
        >>> adapter.interpolated
        {'CPz': 'from Cz +0.66, Pz +0.44, Fz -0.10, T7 -0.00'}
    """

    order: Tensor
    weights: Tensor

    def __init__(self, src_ch_names: Sequence[str], dst_ch_names: Sequence[str], *, min_real: float = 0.5) -> None:
        super().__init__()
        src, dst = canonical_all(src_ch_names), canonical_all(dst_ch_names)
        if not dst:
            raise ConfigError("dst_ch_names: expected at least one channel, got none.")
        if not 0 <= min_real <= 1:
            raise ConfigError(f"min_real: expected a part of the channels, 0 to 1, got {min_real!r}.")
        missing = [name for name in dst if name not in src]
        real = len(dst) - len(missing)
        if real < min_real * len(dst):
            raise ConfigError(
                f"ch_names: only {real} of the {len(dst)} channels {', '.join(dst)} are among the recording's "
                f"{', '.join(src) or 'none'}, and min_real={min_real:g} of them must be: the rest would be made up. "
                "Train a model for your channels with create_model(..., ch_names=...); or, knowing this, interpolate "
                "all the same with from_pretrained(name).adapt_montage(ch_names, min_real=0.0)."
            )
        self.src_ch_names, self.dst_ch_names, self.min_real = src, dst, min_real
        matrix = interpolation_matrix(src, dst)
        self._matrix = matrix[[dst.index(name) for name in missing]]
        # Positions in the recording's channels followed by the interpolated ones.
        self._order = [src.index(n) if n in src else len(src) + missing.index(n) for n in dst]
        self.interpolated = {n: _sources(row, src) for n, row in zip(missing, self._matrix, strict=True)}
        self.register_exact_buffers()

    def exact_buffers(self, dtype: torch.dtype, device: torch.device | None) -> dict[str, Tensor]:
        """Compute the weights of the missing channels, and where each channel comes from.

        Args:
            dtype: Type of the weights.
            device: Where they go; ``None`` for the default.

        Returns:
            ``order``, ``(dst,)`` int64, and ``weights``, ``(missing, src)``.
        """
        return {
            "order": torch.tensor(self._order, device=device),
            "weights": torch.tensor(self._matrix, dtype=dtype, device=device),
        }

    def forward(self, eeg: Tensor) -> Tensor:
        """Return the wanted channels.

        Args:
            eeg: Raw EEG, ``(batch, channels, time)`` in the order of ``src_ch_names``.

        Returns:
            ``(batch, channels, time)`` in the order of ``dst_ch_names``, same unit and type.

        Raises:
            ShapeError: If the axes or the number of channels differ.
            SignalError: If it is not of a real floating type.
        """
        check_axes("eeg", eeg, "batch channels time", channels=len(self.src_ch_names))
        if not eeg.is_floating_point():
            raise SignalError(f"eeg: expected a real floating type, got {eeg.dtype}. Convert it with .float().")
        if self.interpolated:
            wide = at_least_float32(eeg)
            with without_autocast(eeg):
                made = self.weights.to(wide.dtype) @ wide
            eeg = torch.cat([eeg, made.to(eeg.dtype)], dim=1)
        return eeg[:, self.order]

    def extra_repr(self) -> str:
        """Return the settings for ``repr``."""
        return f"{len(self.src_ch_names)} -> {len(self.dst_ch_names)}, interpolated={len(self.interpolated)}"


def _sources(weights: np.ndarray, names: Sequence[str], shown: int = 4) -> str:
    """Return the heaviest sources of one channel as text."""
    used = [int(i) for i in np.argsort(-np.abs(weights), kind="stable") if weights[i] != 0]
    text = ", ".join(f"{names[i]} {weights[i]:+.2f}" for i in used[:shown])
    return f"from {text}" + (f" and {len(used) - shown} more" if len(used) > shown else "")
