"""What distinguishes a window of EEG from others of the same person, as a target of pre-training."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from evermodels.backbones.eeg.mbsm import MBSMConfig
from evermodels.core.errors import DataError

LOWEST = 1e-4  # of the mean power: what a band without anything in it is taken for


def band_bins(edges: Sequence[float], length: int, sfreq: float) -> Tensor:
    """Return which frequencies of a span are in which band as parts of 1, ``(frequencies, bands)``.

    Args:
        edges: Edges in Hz between the bands.
        length: Samples of the span.
        sfreq: Rate in Hz.

    Example:
        >>> band_bins((0, 2, 3), 4, 4.0)
        tensor([[0.5000, 0.0000],
                [0.5000, 0.0000],
                [0.0000, 1.0000]])
    """
    frequency = torch.arange(length // 2 + 1, device="cpu") * (sfreq / length)
    low, high = torch.tensor(edges[:-1]), torch.tensor(edges[1:])
    inside = ((frequency[:, None] >= low) & (frequency[:, None] < high)).float()
    return inside / inside.sum(dim=0).clamp_min(1)


def welch_length(encoder: MBSMConfig) -> int:
    """Return the samples of the spans that a window's power is averaged over: a second, or the window where shorter.

    Args:
        encoder: Says rate and window.
    """
    return min(encoder.num_samples, round(encoder.sfreq or encoder.num_samples))


def by_channel(x: Tensor, maps: Tensor | None) -> Tensor:
    """Bring what is said in maps, ``(batch, ..., maps)``, to channels, ``(batch, ..., channels)``.

    Args:
        x: In maps, or in fixed channels where there are none.
        maps: As :meth:`~evermodels.backbones.MBSMEncoder.spread` returns it.
    """
    if maps is None:
        return x
    count = (maps[..., 0] != 0).sum(dim=-1)  # the harmonic of degree 0 is 1 at each electrode
    to = (maps * count[..., None, None]).mT
    return x @ (to if to.ndim == 2 else to.view(len(to), *[1] * (x.ndim - 3), *to.shape[1:]))


class WindowPower(nn.Module):
    r"""Ask an embedding for the log power of its whole window, apart within people and between them.

    A linear layer says :math:`\hat p`, the log power by electrode and band of the whole window, from the embedding
    of what was seen of it; p is Welch's average over spans of a second with half overlap, which is far less noisy than
    the spectrum of a patch. With :math:`d = \hat p - p` and :math:`\bar d_q` its mean over the windows of person q in
    the batch,

    .. math:: L_{state} = \overline{(d - \bar d_q)^2}, \qquad L_{level} = \overline{\bar d_q^2}

    so that their sum is the plain error. How people and headsets differ is most of the variance of EEG, and no help
    with a new person's state; the first term leaves it out. (A choice of ours; speech models take the speaker out of
    their targets likewise, ContentVec, Qian et al., ICML 2022.)

    Args:
        encoder: Says rate, window and maps.
        edges: Edges in Hz between the bands.
    """

    bins: Tensor
    window: Tensor

    def __init__(self, encoder: MBSMConfig, edges: Sequence[float]) -> None:
        super().__init__()
        if encoder.sfreq is None:
            raise DataError("MBSMConfig.sfreq: expected a rate in Hz.")
        self.num_maps, length = encoder.num_maps, welch_length(encoder)
        self.proj = nn.Linear(encoder.embed_dim, (len(edges) - 1) * encoder.num_maps)
        self.register_buffer("bins", band_bins(edges, length, encoder.sfreq), persistent=False)
        self.register_buffer("window", torch.hann_window(length), persistent=False)

    def log_power(self, x: Tensor) -> Tensor:
        """Return the log power of ``(batch, channels, time)`` by band, ``(batch, bands, channels)``, in float32."""
        length = len(self.window)
        spans = x.float().unfold(2, length, max(1, length // 2))
        power = torch.fft.rfft((spans - spans.mean(dim=3, keepdim=True)) * self.window).abs().square().mean(dim=2)
        return (power / self.window.square().sum() @ self.bins + LOWEST).log().mT

    def forward(
        self, embedding: Tensor, x: Tensor, maps: Tensor | None, person: Sequence[str]
    ) -> tuple[Tensor, Tensor]:
        """Return the errors within people and of their means.

        Args:
            embedding: Of what was seen, ``(batch, width)``.
            x: EEG at scale, ``(batch, channels, time)``.
            maps: What each channel weighs in each map.
            person: Whose each window is.

        Raises:
            DataError: If it is not said for each, or in training nobody has two windows.
        """
        if len(person) != len(x):
            raise DataError(f"person: expected whose each of the {len(x)} windows is, got {len(person)} names.")
        names = {name: row for row, name in enumerate(dict.fromkeys(person))}
        if self.training and len(names) == len(person):
            raise DataError(
                "person: each window of the batch is of somebody else, so that nothing is left to compare. Choose "
                "batches with several windows of a person, data.together in a recipe of pre-training."
            )
        said = by_channel(self.proj(embedding).float().unflatten(1, (-1, self.num_maps)), maps)
        valid = torch.ones_like(x[..., 0]) if maps is None else (maps[..., 0] != 0).to(x.dtype).expand(x.shape[:2])
        apart = (said - self.log_power(x)) * valid[:, None]
        whose = torch.tensor([names[name] for name in person], device=x.device)
        mean = apart.new_zeros(len(names), *apart.shape[1:]).index_add(0, whose, apart)
        mean = (mean / torch.bincount(whose, minlength=len(names)).view(-1, 1, 1))[whose]
        count = valid.sum(dim=1)  # each sample over its own channels
        within, between = ((one.square().mean(dim=1).sum(dim=1) / count).mean() for one in (apart - mean, mean))
        return within, between
