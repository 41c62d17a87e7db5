"""Masked brain signal modelling: hide most patches of EEG, and learn to say what was there."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from evermodels.backbones.eeg.mbsm import Block, MBSMConfig, MBSMEncoder, sines_then_cosines
from evermodels.backbones.eeg.mbsm_state import LOWEST, WindowPower, band_bins, by_channel, welch_length
from evermodels.core.config import Config
from evermodels.core.errors import ConfigError, DataError, check_axes


@dataclass(frozen=True)
class MBSMPretrainingConfig(Config):
    """How :class:`MBSMAutoencoder` hides and what it restores; the defaults are the reference's decoder.

    Args:
        mask_ratio: Part of the patches that is hidden. Mood Reader says 0.75; DreamDiffusion's published configuration
            has 0.1.
        mask_span: Patches in a row that are hidden together (the reference: 1); of the number of patches it is a
            divisor.
        focus_range: First sample and the one after the last of a stretch that is hidden rather than the rest.
        focus_rate: With ``focus_range``: weight of its patches in the draw, ``1 - focus_rate`` of the others.
        class_token: Whether a learned token goes through encoder and decoder with the patches, as in the reference,
            whose fine-tuned encoder has none.
        decoder_embed_dim: Width of the decoder, even, a multiple of ``decoder_num_heads``.
        decoder_depth: Its blocks.
        decoder_num_heads: Its attention heads.
        mlp_ratio: Hidden width of its MLPs over its width.
        signal_weight: Weight of the mean squared error of the hidden samples (the reference: 1).
        spectrum_weight: Weight of the mean squared error of the log power spectrum of the hidden spans, by channel and
            band (not in the reference, 0). Needs ``sfreq``.
        bands: Edges in Hz between the bands of that spectrum.
        state_weight: Weight of a target without decoder (not in the reference, 0): the embedding of what is seen says
            the log power of the whole window, by electrode and band, and is compared with it after the mean over each
            person's windows in the batch is taken off both. Wants batches with several windows of a person; needs
            ``sfreq``.
        level_weight: Weight of the error of these means: how people and headsets differ, which a new person's windows
            cannot tell from a state.
        state_bands: Edges in Hz between the bands of these two.

    Example:
        >>> MBSMPretrainingConfig(mask_ratio=1.0)
        Traceback (most recent call last):
            ...
        evermodels.core.errors.ConfigError: ...mask_ratio...between 0 and 1...
    """

    mask_ratio: float = 0.75
    mask_span: int = 1
    focus_range: tuple[int, int] | None = None
    focus_rate: float = 0.8
    class_token: bool = True
    decoder_embed_dim: int = 512
    decoder_depth: int = 8
    decoder_num_heads: int = 16
    mlp_ratio: float = 1.0
    signal_weight: float = 1.0
    spectrum_weight: float = 0.0
    bands: tuple[float, ...] = (1, 3, 5, 7, 9, 11, 13, 16, 19, 22, 26, 30, 35, 40, 45)
    state_weight: float = 0.0
    level_weight: float = 0.0
    state_bands: tuple[float, ...] = (1, 2, 4, 6, 8, 10, 12, 15, 20, 25, 30, 37, 45)

    def check(self) -> None:
        """Refuse what hides nothing or all, and sizes that do not divide."""
        for key in ("mask_ratio", "focus_rate"):
            if not 0 < getattr(self, key) < 1:
                raise self.refuse(key, "a number between 0 and 1")
        self.at_least(1, "mask_span", "decoder_embed_dim", "decoder_depth", "decoder_num_heads")
        if self.decoder_embed_dim % 2 or self.decoder_embed_dim % self.decoder_num_heads:
            raise self.refuse("decoder_embed_dim", f"an even multiple of decoder_num_heads ({self.decoder_num_heads})")
        if self.mlp_ratio <= 0:
            raise self.refuse("mlp_ratio", "a positive number")
        weights = (self.signal_weight, self.spectrum_weight, self.state_weight, self.level_weight)
        if min(weights) < 0 or sum(weights) <= 0:
            raise self.refuse(
                "signal_weight",
                "0 or more, as spectrum_weight, state_weight and level_weight, and one of them positive",
            )
        if self.focus_range is not None and not 0 <= self.focus_range[0] < self.focus_range[1]:
            raise self.refuse("focus_range", "(first sample, sample after the last), or None")
        for key in ("bands", "state_bands"):
            edges = getattr(self, key)
            if len(edges) < 2 or edges[0] < 0 or any(a >= b for a, b in itertools.pairwise(edges)):
                raise self.refuse(key, "edges in Hz, rising")

    @property
    def summarises(self) -> bool:
        """Whether the embedding is asked for the power of the window."""
        return self.state_weight > 0 or self.level_weight > 0

    @property
    def decodes(self) -> bool:
        """Whether a decoder restores hidden patches."""
        return self.signal_weight > 0 or self.spectrum_weight > 0

    def fit(self, encoder: MBSMConfig) -> None:
        """Refuse what does not go with an encoder.

        Args:
            encoder: Its configuration.

        Raises:
            ConfigError: If spans do not divide its patches, nothing would be hidden or seen, a focus leaves the window,
                or a band has no frequency of a span.
        """
        patches = encoder.num_patches
        if patches % self.mask_span:
            raise self.refuse("mask_span", f"a divisor of the {patches} patches of a window")
        spans = patches // self.mask_span
        if not 0 < int(spans * (1 - self.mask_ratio)) < spans:
            raise self.refuse("mask_ratio", f"a part of the window's {spans} spans that leaves one to see, one to hide")
        if self.focus_range is not None and self.focus_range[1] > encoder.num_samples:
            raise self.refuse("focus_range", f"samples of the window, up to {encoder.num_samples}")
        if self.spectrum_weight:
            self._fit_bands(encoder, "bands", self.mask_span * encoder.patch_size, "spectrum_weight")
        if self.summarises:
            self._fit_bands(encoder, "state_bands", welch_length(encoder), "state_weight or level_weight")

    def _fit_bands(self, encoder: MBSMConfig, key: str, length: int, why: str) -> None:
        sfreq = encoder.sfreq
        if sfreq is None:
            raise ConfigError(f"MBSMConfig.sfreq: expected a rate in Hz, as {why} is not 0.")
        if not bool((band_bins(getattr(self, key), length, sfreq).sum(dim=0) > 0).all()):
            raise self.refuse(
                key,
                f"each with a frequency of a span, which has one every {sfreq / length:g} Hz up to {sfreq / 2:g} Hz",
            )


class Restored(NamedTuple):
    """What :class:`MBSMAutoencoder` returns.

    Args:
        total: The loss to differentiate.
        signal: Mean squared error of the hidden samples.
        spectrum: Mean squared error of the hidden spans' log spectrum; 0 where it is not asked for.
        state: Mean squared error of the window's log power within people; 0 where it is not asked for.
        level: The same of the means of people.
        prediction: Signals of all patches, ``(batch, patches, patch_size · channels)``, sample by sample.
        mask: 1 where a patch was hidden, ``(batch, patches)``.
        latent: Tokens of what was seen after the norm, the class token first.
    """

    total: Tensor
    signal: Tensor
    spectrum: Tensor
    state: Tensor
    level: Tensor
    prediction: Tensor
    mask: Tensor
    latent: Tensor


class MBSMAutoencoder(nn.Module):
    r"""Hide most patches from an encoder, and restore them from the rest by a small decoder.

    Source: Mood Reader, section 3.2; DreamDiffusion (Bai et al., ECCV 2024), whose settings are the defaults; He et
    al., *Masked Autoencoders Are Scalable Vision Learners* (2022). The encoder sees the patches that are left, with
    their positions; the decoder gets its tokens, and a learned token in the place of each hidden one; the loss is the
    mean squared error over hidden patches alone:

    .. math:: L = \frac{1}{|M|} \sum_{t \in M} \frac{1}{pC} \lVert \hat x_t - x_t \rVert^2

    Where the encoder's weights are generated from positions, so are those of the last layer
    (:math:`\hat x_c = \sum_{lm} Y_{lm}(r_c) \hat x_{lm}`), and a batch may mix montages. ``spectrum_weight`` adds a
    second target (a choice): the log power of each hidden span by channel and band, which phase does not blur.
    ``state_weight`` asks the embedding itself, without a decoder, for what distinguishes a window from others of the
    same person (a choice, see :class:`~evermodels.backbones.eeg.mbsm_state.WindowPower`).

    Args:
        encoder: Whose weights are trained.
        config: An :class:`MBSMPretrainingConfig`.

    Raises:
        ConfigError: If the configuration does not go with the encoder.

    Example:
        >>> encoder = MBSMEncoder.from_preset("mbsm_tiny")
        >>> model = encoder.make_pretraining(decoder_embed_dim=32, decoder_depth=1, decoder_num_heads=2)
        >>> eeg = torch.randn(2, 8, 1000)
        >>> names = [("TP9", "AF7", "AF8", "TP10"), ("Oz", "O1", "O2", "PO3", "POz", "PO7", "PO8", "PO4")]
        >>> terms = model.pretraining_loss({"eeg": eeg, "ch_names": names})
        >>> sorted(terms)
        ['signal', 'spectrum', 'total']
    """

    config: MBSMPretrainingConfig
    decoder_pos_embed: Tensor
    bins: Tensor
    window: Tensor

    def __init__(self, encoder: MBSMEncoder, config: MBSMPretrainingConfig) -> None:
        super().__init__()
        config.fit(encoder.config)
        self.encoder, self.config = encoder, config
        c, e = config, encoder.config
        dim = c.decoder_embed_dim
        self.cls_token = nn.Parameter(torch.empty(1, 1, e.embed_dim)) if c.class_token else None
        self.mask_token = nn.Parameter(torch.empty(1, 1, dim)) if c.decodes else None
        self.decoder_embed = nn.Linear(e.embed_dim, dim) if c.decodes else None
        self.decoder_blocks = nn.ModuleList(
            Block(dim, c.decoder_num_heads, c.mlp_ratio, e.norm_eps) for _ in range(c.decoder_depth if c.decodes else 0)
        )
        self.decoder_norm = nn.LayerNorm(dim, eps=e.norm_eps) if c.decodes else None
        self.decoder_pred = nn.Linear(dim, e.patch_size * e.num_maps) if c.signal_weight else None
        bands = len(c.bands) - 1
        self.spectrum_pred = nn.Linear(dim, bands * e.num_maps) if c.spectrum_weight else None
        self.state_pred = WindowPower(e, c.state_bands) if c.summarises else None
        self.reset_parameters()
        self.register_buffer("decoder_pos_embed", sines_then_cosines(e.num_patches, dim), persistent=False)
        length = c.mask_span * e.patch_size
        made = band_bins(c.bands, length, e.sfreq) if c.spectrum_weight else torch.zeros(0)
        self.register_buffer("bins", made, persistent=False)
        self.register_buffer("window", torch.hann_window(length) if c.spectrum_weight else made, persistent=False)

    def reset_parameters(self) -> None:
        """Draw the decoder's linear weights after Glorot, and the tokens."""
        own = [m for name, m in self.named_modules() if not name.startswith("encoder")]
        for module in own:
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        for token in (self.mask_token, self.cls_token):
            if token is not None:
                nn.init.normal_(token, std=0.02)

    def draw(self, batch: int, device: torch.device | None = None) -> Tensor:
        """Draw a number for each patch; those with the smallest are seen.

        Args:
            batch: Samples.
            device: Where.

        Returns:
            ``(batch, patches)``: 0 to 1, the same within a span, and 1.1 where the focus has hidden a patch.
        """
        c, e = self.config, self.encoder.config
        patches = e.num_patches
        chosen = None
        if c.focus_range is not None:
            first, last = (sample // e.patch_size for sample in c.focus_range)
            at = torch.arange(patches, device=device)
            weight = torch.where((at >= first) & (at < last), c.focus_rate, 1 - c.focus_rate)
            hidden = patches - self._num_seen()
            chosen = torch.multinomial(weight.expand(batch, -1), hidden, replacement=False)
        noise = torch.rand(batch, patches // c.mask_span, device=device).repeat_interleave(c.mask_span, dim=1)
        return noise if chosen is None else noise.scatter(1, chosen, 1.1)

    def _num_seen(self) -> int:
        span = self.config.mask_span
        return int(self.encoder.config.num_patches // span * (1 - self.config.mask_ratio)) * span

    def forward(
        self,
        eeg: Tensor,
        ch_names: Sequence[Sequence[str]] | None = None,
        channels: Tensor | None = None,
        *,
        noise: Tensor | None = None,
        person: Sequence[str] | None = None,
    ) -> Restored:
        """Hide, restore, compare.

        Args:
            eeg: EEG, ``(batch, channels, time)``.
            ch_names: As :meth:`MBSMEncoder.spread` takes it.
            channels: As :meth:`MBSMEncoder.spread` takes it.
            noise: A number for each patch, ``(batch, patches)``, as :meth:`draw` makes it (default: drawn).
            person: Whose each window is, where ``state_weight`` or ``level_weight`` is set.

        Raises:
            ShapeError: If a shape does not fit.
            DataError: If whose windows they are is wanted and not said.
        """
        encoder = self.encoder
        x, maps = encoder.spread(eeg, ch_names, channels)
        batch, patches = len(x), encoder.config.num_patches
        noise = self.draw(batch, x.device) if noise is None else noise
        check_axes("noise", noise, "batch patches", batch=batch, patches=patches)
        order = noise.argsort(dim=1, stable=True)
        back = order.argsort(dim=1)
        seen = order[:, : self._num_seen(), None]
        mask = (back >= seen.shape[1]).to(x.dtype)
        kept = x.unflatten(2, (patches, -1)).take_along_dim(seen[:, None], dim=2)  # what is hidden costs nothing
        tokens = encoder.patch_embed(kept.flatten(2), maps)
        tokens = tokens + encoder.pos_embed.to(tokens.dtype).take_along_dim(seen, dim=1)
        if self.cls_token is not None:  # its position is zero
            tokens = torch.cat([self.cls_token.expand(batch, -1, -1), tokens], dim=1)
        encoded = encoder.encode(tokens)
        latent = encoder.norm(encoded)
        zero = latent.new_zeros(())
        prediction, signal, spectrum, state, level = zero, zero, zero, zero, zero
        if self.state_pred is not None:
            if person is None:
                raise DataError("person: expected whose each window is, as state_weight or level_weight is set.")
            pooled = encoder.norm(encoded[:, 0 if self.cls_token is None else 1 :].mean(dim=1))
            state, level = self.state_pred(pooled, x, maps, person)
        features = self._decoded(latent, back) if self.config.decodes else latent
        if self.decoder_pred is not None:
            prediction = self._by_channel(self.decoder_pred(features), maps)
            signal = _over(self._patches(x) - prediction, mask, maps)
            prediction = prediction.flatten(2)
        if self.spectrum_pred is not None:
            wanted = self._spectra(x).repeat_interleave(self.config.mask_span, dim=1)
            spectrum = _over(wanted - self._by_channel(self.spectrum_pred(features), maps), mask, maps)
        c = self.config
        total = (
            c.signal_weight * signal + c.spectrum_weight * spectrum + c.state_weight * state + c.level_weight * level
        )
        return Restored(total, signal, spectrum, state, level, prediction, mask, latent)

    def pretraining_loss(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return the loss of a batch, ``total``, and its terms.

        Args:
            batch: ``eeg``, ``(batch, channels, time)``, and where montages are mixed ``ch_names``, the names of each
                sample's channels; ``person``, whose each is, where ``state_weight`` or ``level_weight`` is set.

        Raises:
            DataError: If there is no EEG.
        """
        if "eeg" not in batch:
            raise DataError(f"batch: expected 'eeg', got {', '.join(batch) or 'nothing'}.")
        out = self(batch["eeg"], batch.get("ch_names"), batch.get("channels"), person=batch.get("person"))
        terms = {"total": out.total, "signal": out.signal, "spectrum": out.spectrum}
        return terms | ({"state": out.state, "level": out.level} if self.state_pred is not None else {})

    def _decoded(self, latent: Tensor, back: Tensor) -> Tensor:
        assert self.decoder_embed is not None and self.mask_token is not None and self.decoder_norm is not None
        x = self.decoder_embed(latent)
        first = 0 if self.cls_token is None else 1
        hidden = back.shape[1] + first - x.shape[1]
        every = torch.cat([x[:, first:], self.mask_token.to(x.dtype).expand(len(x), hidden, -1)], dim=1)
        every = every.take_along_dim(back[..., None], dim=1) + self.decoder_pos_embed.to(x.dtype)
        x = torch.cat([x[:, :first], every], dim=1)
        for block in self.decoder_blocks:
            x = block(x)
        normed: Tensor = self.decoder_norm(x)
        return normed[:, first:]

    def _by_channel(self, x: Tensor, maps: Tensor | None) -> Tensor:
        """Bring ``(batch, patches, n · maps)`` to ``(batch, patches, n, channels)``."""
        return by_channel(x.unflatten(2, (-1, self.encoder.config.num_maps)), maps)

    def _patches(self, x: Tensor) -> Tensor:
        """Cut ``(batch, channels, time)`` into ``(batch, patches, samples, channels)``."""
        return x.unfold(2, self.encoder.config.patch_size, self.encoder.config.patch_size).permute(0, 2, 3, 1)

    def _spectra(self, x: Tensor) -> Tensor:
        """Return the log power of each span, ``(batch, spans, bands, channels)``, in float32."""
        length = len(self.window)
        spans = x.float().unfold(2, length, length).permute(0, 2, 1, 3)
        power = torch.fft.rfft((spans - spans.mean(dim=3, keepdim=True)) * self.window).abs().square()
        power = power / self.window.square().sum()
        return (power @ self.bins + LOWEST).log().transpose(2, 3).to(x.dtype)


def _over(difference: Tensor, mask: Tensor, maps: Tensor | None) -> Tensor:
    """Mean square over hidden patches, ``(batch, patches, n, channels)``; each sample over its own channels."""
    square = difference.square()
    if maps is not None and maps.ndim == 3:
        valid = (maps[..., 0] != 0).to(square.dtype)[:, None, None]
        by_patch = (square * valid).sum(dim=(2, 3)) / (valid.sum(dim=(2, 3)) * square.shape[2])
    else:
        by_patch = square.mean(dim=(2, 3))
    return (by_patch * mask).sum() / mask.sum()
