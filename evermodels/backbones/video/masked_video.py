"""Masked autoencoders of video: hide most tubelets of a clip, and learn to say what was there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn

from evermodels.backbones.video.clip_encoder import draw_linear_weights
from evermodels.backbones.video.videomae import VideoMAE, VideoMAEConfig
from evermodels.core.config import Config
from evermodels.core.errors import DataError, check_axes
from evermodels.core.specs import VideoSpec
from evermodels.functional.positions import sinusoid_table
from evermodels.layers.transformer_block import TransformerBlock

_LOWEST = 1e-6  # added to the deviation of a tubelet's pixels, as the references do


@dataclass(frozen=True)
class MaskedVideoConfig(Config):
    """How :class:`MaskedVideoAutoencoder` hides and what it restores; the defaults are VideoMAE's for ViT-B.

    Args:
        sampling: ``"tube"`` (VideoMAE): the same random places are hidden in all frames. ``"adaptive"`` (AdaMAE): a
            small network says with which probability each tubelet is seen, and they are drawn without replacement.
        mask_ratio: Part of the tubelets that is hidden (VideoMAE: 0.9; AdaMAE: 0.95).
        decoder_embed_dim: Width of the decoder, a multiple of ``decoder_num_heads``.
        decoder_depth: Its blocks.
        decoder_num_heads: Its attention heads.
        mlp_ratio: Hidden width of its MLPs over its width.
        decoder_norm_eps: Epsilon of its last norm; ``None`` is the encoder's (the authors; transformers has 1e-5).
        normalize_target: Whether each colour of a tubelet is standardised by its own pixels before it is compared.
        sampling_weight: With ``"adaptive"``: weight of the loss of the probabilities.
        sampling_num_heads: With ``"adaptive"``: heads of their network.
        sampling_drop_rate: With ``"adaptive"``: its dropout.
        mean: Mean of each colour that was subtracted from the frames, to undo it in the target.
        std: Standard deviation that was divided by.

    Example:
        >>> MaskedVideoConfig(mask_ratio=1.0)
        Traceback (most recent call last):
            ...
        evermodels.core.errors.ConfigError: ...mask_ratio...between 0 and 1...
    """

    sampling: Literal["tube", "adaptive"] = "tube"
    mask_ratio: float = 0.9
    decoder_embed_dim: int = 384
    decoder_depth: int = 4
    decoder_num_heads: int = 6
    mlp_ratio: float = 4.0
    decoder_norm_eps: float | None = None
    normalize_target: bool = True
    sampling_weight: float = 1e-4
    sampling_num_heads: int = 8
    sampling_drop_rate: float = 0.1
    mean: tuple[float, ...] = VideoSpec.mean
    std: tuple[float, ...] = VideoSpec.std

    def check(self) -> None:
        """Refuse what hides nothing or all, and sizes that do not divide."""
        if not 0 < self.mask_ratio < 1:
            raise self.refuse("mask_ratio", "a number between 0 and 1")
        self.at_least(1, "decoder_embed_dim", "decoder_depth", "decoder_num_heads", "sampling_num_heads")
        if self.decoder_embed_dim % self.decoder_num_heads:
            raise self.refuse("decoder_embed_dim", f"a multiple of decoder_num_heads ({self.decoder_num_heads})")
        self.positive("mlp_ratio")
        if self.decoder_norm_eps is not None:
            self.positive("decoder_norm_eps")
        self.at_least(0, "sampling_weight")
        self.rates("sampling_drop_rate")
        if len(self.mean) != len(self.std) or min(self.std, default=0.0) <= 0:
            raise self.refuse("std", f"a positive number for each of the {len(self.mean)} colours of mean")

    def num_seen(self, encoder: VideoMAEConfig) -> int:
        """Return how many tubelets of a clip the encoder sees.

        The counts are truncated in floating point as the references do it: of the places of a frame those that are
        hidden (tube), of all tubelets those that are seen (adaptive; 200 at 0.9 are 19).

        Args:
            encoder: Its configuration.

        Raises:
            ConfigError: If nothing would be hidden or seen, or colours or heads do not fit.
        """
        frames, rows, columns = encoder.grid
        places = rows * columns
        if self.sampling == "tube":
            seen = frames * (places - int(self.mask_ratio * places))
        else:
            seen = int(frames * places * (1 - self.mask_ratio))
        if not 0 < seen < frames * places:
            raise self.refuse("mask_ratio", f"a part of {frames} by {places} tubelets that leaves some to see and hide")
        if len(self.mean) != encoder.in_chans:
            raise self.refuse("mean", f"a number for each of the encoder's {encoder.in_chans} colours")
        if self.sampling == "adaptive" and encoder.embed_dim % self.sampling_num_heads:
            raise self.refuse("sampling_num_heads", f"a divisor of the encoder's width {encoder.embed_dim}")
        return seen


class RestoredVideo(NamedTuple):
    """What :class:`MaskedVideoAutoencoder` returns.

    Args:
        total: The loss to differentiate.
        reconstruction: Mean squared error of the hidden tubelets.
        sampling: Loss of the probabilities with its weight; 0 where places are hidden at random.
        prediction: Pixels of the hidden tubelets, ``(batch, hidden, frames · height · width · channels of a tubelet)``,
            colours last, tubelets in order of their position.
        mask: ``(batch, n)`` bool, True where a tubelet was hidden.
        latent: Tokens of those that were seen after the norm, ``(batch, seen, embed_dim)``.
        probability: With which probability each is seen, ``(batch, n)``; ``None`` where places are hidden at random.
    """

    total: Tensor
    reconstruction: Tensor
    sampling: Tensor
    prediction: Tensor
    mask: Tensor
    latent: Tensor
    probability: Tensor | None


class TokenProbability(nn.Module):
    """AdaMAE's network: attention over all tubelets, and a score for each.

    Source: AdaMAE, section 3.2, eq. 2: patch tokens with learned positions of their own, a transformer block, a linear
    layer, a softmax over the tubelets. A score that is no number counts as zero, as in the authors' code.

    Args:
        dim: Width of the tokens.
        count: Tubelets of a clip.
        num_heads: Attention heads.
        drop: Dropout of attention and MLP.
    """

    def __init__(self, dim: int, count: int, num_heads: int, drop: float) -> None:
        super().__init__()
        self.pos_embed = nn.Parameter(torch.zeros(1, count, dim))
        self.block = TransformerBlock(dim, num_heads, qkv_bias=False, norm_eps=1e-5, drop=drop)
        self.score = nn.Linear(dim, 1)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the logarithm of the probability of each tubelet, ``(batch, n)``, in float32.

        Args:
            tokens: Tubelets without positions, ``(batch, n, dim)``.
        """
        scores = self.score(self.block(tokens + self.pos_embed))[..., 0].float()
        return torch.nan_to_num(scores).log_softmax(dim=-1)


class MaskedVideoAutoencoder(nn.Module):
    r"""Hide most tubelets from an encoder, and restore them from the rest by a small decoder.

    Source: Tong et al., *VideoMAE*, NeurIPS 2022, section 3 (tube masks, eq. 1); Bandara et al., *AdaMAE*, CVPR 2023,
    section 3 (adaptive sampling, eq. 2 to 4). The encoder sees tubelets :math:`V`, in order of their position; the
    decoder gets its tokens and, in the places of the hidden ones :math:`M`, a learned token, all with sinusoid
    positions of its own; the loss is the mean squared error of the hidden pixels, each colour of a tubelet
    standardised by its own pixels:

    .. math:: L_R = \frac{1}{|M|} \sum_{i \in M} e_i, \quad e_i = \frac1P \lVert \hat x_i - x_i \rVert^2

    With ``sampling="adaptive"`` tubelets are drawn without replacement from the probabilities :math:`p` of a small
    network, which learns by the second loss to see where the error would be large; the error itself passes no gradient:

    .. math:: L_S = - \lambda \, \frac{1}{|M|} \sum_{i \in M} \log(p_i) \, e_i

    ``encoder.fc_norm``, which stands behind the pooling, takes no part, as in the references: pre-training has a norm
    of its own behind the blocks, which fine-tuning leaves.

    Args:
        encoder: Whose weights are trained.
        config: A :class:`MaskedVideoConfig`.

    Raises:
        ConfigError: If the configuration does not go with the encoder.

    Example:
        >>> encoder = VideoMAE.from_preset("videomae_nano")
        >>> model = encoder.make_pretraining(decoder_embed_dim=48, decoder_depth=1, decoder_num_heads=2)
        >>> sorted(model.pretraining_loss({"video": torch.randn(2, 16, 3, 64, 64)}))
        ['reconstruction', 'sampling', 'total']
    """

    config: MaskedVideoConfig
    decoder_pos_embed: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, encoder: VideoMAE, config: MaskedVideoConfig) -> None:
        super().__init__()
        e: VideoMAEConfig = encoder.config
        self.num_seen = config.num_seen(e)
        self.encoder, self.config = encoder, config
        dim, wide = config.decoder_embed_dim, e.embed_dim
        self.count = encoder.pos_embed.shape[1]
        self.norm = nn.LayerNorm(wide, eps=e.norm_eps)
        self.token_probability = (
            TokenProbability(wide, self.count, config.sampling_num_heads, config.sampling_drop_rate)
            if config.sampling == "adaptive"
            else None
        )
        self.encoder_to_decoder = nn.Linear(wide, dim, bias=False)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.decoder_blocks = nn.ModuleList(
            TransformerBlock(
                dim,
                config.decoder_num_heads,
                mlp_ratio=config.mlp_ratio,
                qkv_bias=e.qkv_bias,
                key_bias=False,
                init_values=e.init_values,
                norm_eps=e.norm_eps,
            )
            for _ in range(config.decoder_depth)
        )
        self.decoder_norm = nn.LayerNorm(dim, eps=config.decoder_norm_eps or e.norm_eps)
        self.decoder_head = nn.Linear(dim, e.tubelet_size * e.patch_size**2 * e.in_chans)
        for part in (self.token_probability, self.encoder_to_decoder, self.decoder_blocks, self.decoder_head):
            if part is not None:
                draw_linear_weights(part)
        nn.init.trunc_normal_(self.mask_token, std=0.02)
        self.register_buffer("decoder_pos_embed", sinusoid_table(self.count, dim), persistent=False)
        self.register_buffer("mean", torch.tensor(config.mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(config.std)[:, None, None], persistent=False)

    def tube_mask(self, batch: int, device: torch.device | None = None) -> Tensor:
        """Draw places and hide them in all frames.

        Args:
            batch: Clips.
            device: Where.

        Returns:
            ``(batch, n)`` bool, True where a tubelet is hidden; as many in each clip.
        """
        frames, rows, columns = self.encoder.config.grid
        order = torch.rand(batch, rows * columns, device=device).argsort(dim=1)
        places = order < int(self.config.mask_ratio * rows * columns)
        return places.repeat(1, frames)

    def targets(self, video: Tensor) -> Tensor:
        """Return the pixels of each tubelet as the decoder has to restore them.

        Args:
            video: Normalised frames, ``(batch, frames, channels, height, width)``.

        Returns:
            ``(batch, n, frames · height · width · channels of a tubelet)``, colours last.
        """
        c: VideoMAEConfig = self.encoder.config
        pixels = rearrange(
            video * self.std.to(video.dtype) + self.mean.to(video.dtype),
            "b (t p) c (h q) (w r) -> b (t h w) (p q r) c",
            p=c.tubelet_size,
            q=c.patch_size,
            r=c.patch_size,
        )
        if self.config.normalize_target:
            std = pixels.var(dim=2, keepdim=True).sqrt() + _LOWEST
            pixels = (pixels - pixels.mean(dim=2, keepdim=True)) / std
        return pixels.flatten(2)

    def forward(self, video: Tensor, *, mask: Tensor | None = None) -> RestoredVideo:
        """Hide, restore, compare.

        Args:
            video: Normalised frames, ``(batch, frames, channels, height, width)``.
            mask: True where a tubelet is hidden, ``(batch, n)`` bool with as many in each clip (default: drawn).

        Raises:
            ShapeError: If a shape does not fit.
            DataError: If a mask hides nothing or all, or not as much in each clip.
        """
        encoder: VideoMAE = self.encoder
        encoder.check_clip(video)
        tokens = encoder.patch_embed(video)
        log_p = None if self.token_probability is None else self.token_probability(tokens)
        mask, seen = self._mask(mask, video, log_p)
        # First those that are seen, then those that are hidden, both in order of their position.
        order = mask.to(torch.uint8).argsort(dim=1, stable=True)
        first, last = order[:, :seen, None], order[:, seen:, None]
        tokens = encoder.pos_drop(tokens + encoder.pos_embed.to(tokens.dtype)).take_along_dim(first, dim=1)
        latent = self.norm(encoder.through(encoder.blocks, tokens))
        x = self.encoder_to_decoder(latent)
        positions = self.decoder_pos_embed.to(x.dtype)
        hidden = self.mask_token.to(x.dtype) + positions.take_along_dim(last, dim=1)
        x = torch.cat([x + positions.take_along_dim(first, dim=1), hidden], dim=1)
        for block in self.decoder_blocks:
            x = block(x)
        prediction = self.decoder_head(self.decoder_norm(x[:, seen:]))
        with torch.no_grad():
            target = self.targets(video).take_along_dim(last, dim=1)
        error = (prediction - target).square().mean(dim=-1)
        reconstruction = error.mean()
        sampling = error.new_zeros(())
        if log_p is not None:
            hidden_p = log_p.take_along_dim(last[..., 0], dim=1)
            sampling = -self.config.sampling_weight * (hidden_p * error.detach()).mean()
        probability = None if log_p is None else log_p.exp()
        return RestoredVideo(reconstruction + sampling, reconstruction, sampling, prediction, mask, latent, probability)

    def _mask(self, mask: Tensor | None, video: Tensor, log_p: Tensor | None) -> tuple[Tensor, int]:
        """Return what is hidden, and how many tubelets of each clip are seen."""
        batch = video.shape[0]
        if mask is not None:
            check_axes("mask", mask, "batch tubelets", batch=batch, tubelets=self.count)
            counts = (~mask.bool()).sum(dim=1).unique().tolist()
            if len(counts) != 1 or not 0 < counts[0] < self.count:
                raise DataError(
                    f"mask: expected the same number of hidden tubelets in each clip, 1 to {self.count - 1}, got "
                    f"{sorted(self.count - n for n in counts)}."
                )
            return mask.bool(), counts[0]
        if log_p is None:
            return self.tube_mask(batch, video.device), self.num_seen
        # Where fewer have a probability than are drawn, the rest are taken from those without.
        p = log_p.detach().exp().clamp_min(torch.finfo(log_p.dtype).tiny)
        drawn = torch.multinomial(p, self.num_seen, replacement=False)
        return torch.ones_like(log_p, dtype=torch.bool).scatter(1, drawn, False), self.num_seen

    def pretraining_loss(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return the loss of a batch, ``total``, and its terms.

        Args:
            batch: ``video``, ``(batch, frames, channels, height, width)``, normalised.

        Raises:
            DataError: If there is no video.
        """
        if "video" not in batch:
            raise DataError(f"batch: expected 'video', got {', '.join(batch) or 'nothing'}.")
        out = self(batch["video"])
        return {"total": out.total, "reconstruction": out.reconstruction, "sampling": out.sampling}
