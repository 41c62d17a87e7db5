"""Differential entropy of windows of EEG as a layer."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from evermodels.core.errors import ConfigError, check_axes
from evermodels.functional.differential_entropy import (
    METHODS,
    Bands,
    band_bins,
    band_filters,
    check_bands,
    entropy_of,
    filtered_variance,
    windowed_power,
)


class DifferentialEntropy(nn.Module):
    """Cut windows of EEG into stretches and return the differential entropy, or the power, of each in bands.

    Source and equations: :func:`evermodels.functional.differential_entropy`, :func:`evermodels.functional.band_power`.
    Stretches follow each other without overlap; what they do not fill is not looked at. Mood Reader (section 4.1) cuts
    them "in reverse order", from the end backwards, and takes every four in order together (its "SWC"):
    ``seconds=4.0, anchor="end", group=4`` makes items of 16 s of a whole trial, again from the end backwards (how
    groups are laid is a choice; the paper is silent).

    Args:
        sfreq: Sampling rate in Hz.
        bands: Lower and upper edge of each band in Hz.
        seconds: Length of a stretch in seconds.
        method: ``"stft"`` or ``"filter"``.
        kind: ``"differential_entropy"`` (nats) or ``"power"`` (µV²).
        anchor: Where the cutting starts: ``"begin"``, so that what is left over lies at the end, or ``"end"``, so that
            it lies at the begin. The stretches stand in order of time either way.
        group: Stretches that make one item; ``None`` for no such axis.

    Raises:
        ConfigError: If a value is impossible.

    Example:
        >>> layer = DifferentialEntropy(sfreq=100.0, bands=[(4, 8), (8, 13), (13, 30)], seconds=1.0)
        >>> layer(torch.randn(2, 19, 500)).shape  # batch, stretches, bands, channels
        torch.Size([2, 5, 3, 19])
        >>> trial = DifferentialEntropy(100.0, [(4, 8), (8, 13)], 4.0, anchor="end", group=4)
        >>> trial(torch.randn(1, 19, 5000)).shape  # 12 stretches of 4 s in 50 s: batch, items, stretches, ...
        torch.Size([1, 3, 4, 2, 19])
    """

    weights: Tensor

    def __init__(
        self,
        sfreq: float,
        bands: Bands,
        seconds: float = 1.0,
        *,
        method: Literal["stft", "filter"] = "stft",
        kind: Literal["differential_entropy", "power"] = "differential_entropy",
        anchor: Literal["begin", "end"] = "begin",
        group: int | None = None,
    ) -> None:
        super().__init__()
        self.length = round(seconds * sfreq)
        if self.length < 2:
            raise ConfigError(f"seconds: expected at least two samples at {sfreq:g} Hz, got {seconds!r}.")
        for name, value, known in (
            ("method", method, METHODS),
            ("kind", kind, ("differential_entropy", "power")),
            ("anchor", anchor, ("begin", "end")),
        ):
            if value not in known:
                raise ConfigError(f"{name}: expected one of {', '.join(known)}, got {value!r}.")
        if group is not None and group < 1:
            raise ConfigError(f"group: expected at least 1 stretch in an item, or None, got {group!r}.")
        self.anchor, self.group = anchor, group
        self.sfreq, self.seconds, self.method, self.kind = float(sfreq), seconds, method, kind
        self.bands = check_bands(bands, sfreq, self.length)
        self.reset_buffers()

    def reset_buffers(self) -> None:
        """Compute the bands' weights again."""
        make = band_bins if self.method == "stft" else band_filters
        weights = make(self.bands, self.sfreq, self.length).to(torch.get_default_dtype())
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, eeg: Tensor) -> Tensor:
        """Return ``(batch, stretches, bands, channels)``, or ``(batch, items, stretches, bands, channels)``.

        Args:
            eeg: EEG in µV, ``(batch, channels, time)``.

        Raises:
            ShapeError: If it has other axes, or is shorter than a stretch or an item.
        """
        check_axes("eeg", eeg, "batch channels time")
        least = self.length * (self.group or 1)
        if eeg.shape[2] < least:
            check_axes("eeg", eeg, "batch channels time", time=least)
        used = eeg.shape[2] // least * least
        eeg = eeg[:, :, eeg.shape[2] - used :] if self.anchor == "end" else eeg[:, :, :used]
        stretches = eeg.unfold(2, self.length, self.length).transpose(1, 2)
        x = stretches if stretches.dtype == torch.float64 else stretches.float()
        power = windowed_power(x, self.weights) if self.method == "stft" else filtered_variance(x, self.weights)
        features = power if self.kind == "power" else entropy_of(power)
        return features if self.group is None else features.unflatten(1, (-1, self.group))

    def extra_repr(self) -> str:
        """Return the settings for ``repr``."""
        return (
            f"sfreq={self.sfreq}, bands={self.bands}, seconds={self.seconds}, method={self.method!r}, "
            f"anchor={self.anchor!r}, group={self.group}"
        )
