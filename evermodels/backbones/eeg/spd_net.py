"""SPDNet on a filter bank: how EEG channels vary together in bands, on the flat side of the matrix logarithm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from evermodels.backbones.base import Backbone
from evermodels.core.config import Config
from evermodels.core.errors import check_axes
from evermodels.functional._precision import without_autocast
from evermodels.functional.matrix_log import matrix_log, upper_triangle

_BANDS = (
    (1.0, 3.0),
    (3.0, 5.0),
    (5.0, 7.0),
    (7.0, 9.0),
    (9.0, 11.0),
    (11.0, 13.0),
    (13.0, 18.0),
    (18.0, 24.0),
    (24.0, 30.0),
    (30.0, 38.0),
    (38.0, 45.0),
)
_FLOOR = 1e-4  # µV², so that a flat window has a logarithm
_SPREAD = 0.1


@dataclass(frozen=True)
class SPDNetConfig(Config):
    """Configuration of :class:`SPDNet`; the defaults are for windows of 5 s of 19 channels at 200 Hz.

    Args:
        in_chans: EEG channels.
        num_samples: Samples of a window.
        sfreq: Their rate in Hz.
        num_classes: Classes of the head; 0 for the embedding.
        bands: Lower and upper edge of each band in Hz; each must hold a frequency of the window's Fourier transform.
        reference: ``"average"``, the mean of the channels is taken off first, or ``"as recorded"``.
        shrinkage: How much of their mean variance is added to all eigenvalues of a covariance. It stands for SPDNet's
            lower bound of the eigenvalues, and hides whether a recording has lost dimensions to the cleaning.
        norm: Whether features are standardised by batch norm.
        head_drop_rate: Dropout of the features before the head; with as many features as here it is what keeps people
            from being learnt by heart.

    Example:
        >>> SPDNetConfig(sfreq=80.0)
        Traceback (most recent call last):
            ...
        evermodels.core.errors.ConfigError: ...bands...below half of sfreq (40 Hz)...
    """

    in_chans: int = 19
    num_samples: int = 1000
    sfreq: float = 200.0
    num_classes: int = 0
    bands: tuple[tuple[float, float], ...] = _BANDS
    reference: Literal["average", "as recorded"] = "average"
    shrinkage: float = 0.03
    norm: bool = True
    head_drop_rate: float = 0.9

    def check(self) -> None:
        """Refuse sizes below one and bands that hold no frequency."""
        self.at_least(1, "in_chans")
        self.at_least(2, "num_samples")
        self.positive("sfreq", "shrinkage")
        self.rates("head_drop_rate")
        if not self.bands or any(len(band) != 2 or not 0 <= band[0] < band[1] for band in self.bands):
            raise self.refuse("bands", "at least one (low, high) in Hz with 0 <= low < high")
        if max(high for _, high in self.bands) > self.sfreq / 2:
            raise self.refuse("bands", f"edges below half of sfreq ({self.sfreq / 2:g} Hz)")
        if any(first >= last for first, last in self.bins):
            step = self.sfreq / self.num_samples
            raise self.refuse("bands", f"bands that hold a frequency of the window, a multiple of {step:g} Hz")

    @property
    def bins(self) -> tuple[tuple[int, int], ...]:
        """First frequency of each band and the first above it, as bins of the window's Fourier transform, without 0."""
        step = self.sfreq / self.num_samples
        return tuple((max(1, _above(low / step)), _above(high / step)) for low, high in self.bands)


def _above(value: float) -> int:
    """The first whole number that is not below, forgiving what floats lose."""
    return -int(-(value - 1e-9) // 1)


class SPDNet(Backbone):
    r"""A network on covariance matrices, one for each band.

    Source: Huang & Van Gool, "A Riemannian network for SPD matrix learning", AAAI 2017, eq. 4-8 (BiMap, ReEig, LogEig),
    on the covariances of a filter bank as Ju & Guan, "Tensor-CSPNet: a novel geometric deep learning framework for
    motor imagery classification", IEEE Transactions on Neural Networks and Learning Systems 2023; the metric is that of
    Arsigny et al., "Log-Euclidean metrics for fast and simple calculus on diffusion tensors", Magnetic Resonance in
    Medicine 2006.

    .. math::
        C_b = \tfrac{2}{T^2} \sum_{f \in b} \mathrm{Re}\, \hat x_f \hat x_f^{*}, \quad
        S_b = W_b C_b W_b^\top, \quad
        z_b = \mathrm{vec} \log\!\big(S_b + \epsilon\, \tfrac{\mathrm{tr}\, S_b}{C}\, I\big)

    with the Fourier transform :math:`\hat x` of the window over T samples, C channels, :math:`W_b = I + \Delta_b` with
    learned :math:`\Delta_b`, 0 at first, and the upper triangle as a vector in which what stands off the diagonal
    counts :math:`\sqrt 2`. The features of all bands are standardised by batch norm, and one linear layer reads them.
    They come out with a standard deviation of 0.1, so that 2,000 of them say next to nothing under a fresh head.

    Choices: one BiMap, square and without orthogonality, so that weight decay pulls towards the channels as they are;
    the shrinkage in place of ReEig's bound, as it is smooth; the average reference, in which people differ less. It has
    some 8,000 weights, half of them in the head.

    Args:
        config: An :class:`SPDNetConfig`.

    Raises:
        ConfigError: If ``config`` is something else.

    Example:
        >>> model = SPDNet.from_preset("spd_net_tiny", num_classes=2).eval()
        >>> eeg = 10 * torch.randn(2, 19, 1000)
        >>> model(eeg).shape, model.forward_features(eeg).shape  # a token for each band
        (torch.Size([2, 2]), torch.Size([2, 11, 190]))
    """

    config_class = SPDNetConfig
    input = "eeg"
    axes = ("in_chans", "num_samples")
    told = ("sfreq",)
    presets: ClassVar[Mapping[str, SPDNetConfig]] = {
        "spd_net_tiny": SPDNetConfig(),
        "spd_net_base": SPDNetConfig(in_chans=62),
    }

    def __init__(self, config: SPDNetConfig) -> None:
        super().__init__(config)
        bands, channels = len(config.bands), config.in_chans
        self.change = nn.Parameter(torch.zeros(bands, channels, channels))
        self.norm = nn.BatchNorm1d(self.embed_dim, affine=False) if config.norm else nn.Identity()
        self.head = self.make_head()

    @property
    def step_dim(self) -> int:
        """Width of a token: the upper triangle of a covariance."""
        channels: int = self.config.in_chans
        return channels * (channels + 1) // 2

    @property
    def embed_dim(self) -> int:
        """Width of the embedding: that of all tokens side by side."""
        return len(self.config.bands) * self.step_dim

    def covariances(self, x: Tensor) -> Tensor:
        """Return the channels' covariances in each band, ``(batch, bands, channels, channels)``, in µV².

        Args:
            x: EEG in µV, ``(batch, channels, time)``.

        Raises:
            ShapeError: If it has other axes than the configuration says.
        """
        channels, time = self.sample_shape
        check_axes("eeg", x, "batch channels time", channels=channels, time=time)
        x = x if x.dtype == torch.float64 else x.float()
        if self.config.reference == "average":
            x = x - x.mean(dim=1, keepdim=True)
        spectrum = torch.view_as_real(torch.fft.rfft(x)) / time
        bands = (spectrum[:, :, first:last].flatten(2) for first, last in self.config.bins)
        return torch.stack([2 * band @ band.mT for band in bands], dim=1)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return a token for each band, ``(batch, bands, channels · (channels + 1) / 2)``.

        Args:
            x: EEG in µV, ``(batch, channels, time)``.

        Raises:
            ShapeError: If it has other axes than the configuration says.
        """
        with without_autocast(x):
            c = self.covariances(x)
            eye = torch.eye(c.shape[-1], dtype=c.dtype, device=c.device)
            w = eye + self.change.to(c.dtype)
            s = w @ c @ w.mT
            mean = s.diagonal(dim1=-2, dim2=-1).mean(dim=-1)[..., None, None]
            tokens = upper_triangle(matrix_log(s + (self.config.shrinkage * mean + _FLOOR) * eye))
        flat = tokens.flatten(1).to(self.change.dtype)
        standardised: Tensor = self.norm(flat)
        return (_SPREAD * standardised).view_as(tokens)

    def pool(self, x: Tensor) -> Tensor:
        """Return all tokens side by side, ``(batch, embed_dim)``.

        Args:
            x: Tokens, ``(batch, bands, width)``.
        """
        return x.flatten(1)
