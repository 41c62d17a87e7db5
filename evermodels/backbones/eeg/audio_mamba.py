"""Audio-Mamba: a spectrogram encoder of selective state-space blocks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, cast

import torch
import torch.nn.functional as F
from einops import rearrange
from timm.layers import DropPath, trunc_normal_
from torch import Tensor, nn

from evermodels.backbones.base import Backbone, Checkpointed
from evermodels.backbones.eeg.audio_mamba_foreign import FORMATS, resample_positions
from evermodels.core.config import Config
from evermodels.core.errors import check_axes
from evermodels.layers.mamba import MambaBlock


@dataclass(frozen=True)
class AudioMambaConfig(Config):
    """Configuration of :class:`AudioMamba`; the defaults are the reference's base model without a head.

    Args:
        in_chans: Channels of the spectrogram, for EEG its electrodes.
        input_size: Frequencies and frames of the spectrogram.
        num_classes: Number of classes; 0 gives the embedding.
        embed_dim: Width of the tokens.
        depth: Number of blocks.
        patch_size: Height (frequency) and width (time) of a patch.
        stride: Step between patches; ``None`` is ``patch_size``.
        direction: ``"fo_fo"`` (forward only), ``"fo_bi"`` (one branch, two scans), ``"bi_bi"`` (two branches).
        cls_position: Where the class token stands in the sequence.
        halve_sum: Whether the two branches' sum is halved in ``"bi_bi"``.
        state_size: State per inner channel.
        conv_size: Taps of the causal convolution.
        expand: Inner width as a multiple of ``embed_dim``.
        dt_rank: Rank of the step-size projection; ``None`` is ``embed_dim / 16`` rounded up.
        norm_eps: Epsilon of the RMS norms.
        drop_rate: Dropout of the tokens after the position embedding.
        drop_path_rate: Stochastic depth of the last block; earlier blocks grow linearly to it from 0.

    Example:
        >>> AudioMambaConfig(in_chans=19, input_size=(64, 64), patch_size=(8, 8)).grid
        (8, 8)
        >>> AudioMambaConfig(direction="bi_fo")
        Traceback (most recent call last):
            ...
        evermodels.core.errors.ConfigError: ...direction...
    """

    in_chans: int = 1
    input_size: tuple[int, int] = (128, 1024)
    num_classes: int = 0
    embed_dim: int = 768
    depth: int = 24
    patch_size: tuple[int, int] = (16, 16)
    stride: tuple[int, int] | None = None
    direction: Literal["fo_fo", "fo_bi", "bi_bi"] = "fo_bi"
    cls_position: Literal["middle", "first", "last"] = "middle"
    halve_sum: bool = True
    state_size: int = 16
    conv_size: int = 4
    expand: int = 2
    dt_rank: int | None = None
    norm_eps: float = 1e-5
    drop_rate: float = 0.0
    drop_path_rate: float = 0.0

    def check(self) -> None:
        """Refuse sizes below one and rates outside 0..1."""
        self.at_least(1, "in_chans", "embed_dim", "depth", "state_size", "conv_size", "expand")
        for key in ("input_size", "patch_size", "stride"):
            if getattr(self, key) is not None and min(getattr(self, key)) < 1:
                raise self.refuse(key, "two numbers of at least 1")
        if self.dt_rank is not None and self.dt_rank < 1:
            raise self.refuse("dt_rank", "at least 1, or None")
        if self.norm_eps <= 0:
            raise self.refuse("norm_eps", "a positive number")
        self.rates("drop_rate", "drop_path_rate")

    @property
    def grid(self) -> tuple[int, int]:
        """Patches along frequency and time; what they do not divide is padded."""
        strides = self.stride or self.patch_size
        rows, columns = (
            math.ceil(max(n - p, 0) / s) + 1 for n, p, s in zip(self.input_size, self.patch_size, strides, strict=True)
        )
        return rows, columns


class PatchEmbed(nn.Module):
    """Cut a spectrogram into patches and project each, frequency-major.

    One convolution over all input channels. Where patches do not divide the spectrogram it is padded with zeros behind
    its highest frequency and its last frame (a choice; zero is silence of a log(1 + |X|) spectrogram).

    Args:
        config: Channels and size of the spectrogram, size and step of the patches, and their width as tokens.

    Example:
        >>> PatchEmbed(AudioMambaConfig(input_size=(100, 33))).padding
        (12, 15)
    """

    def __init__(self, config: AudioMambaConfig) -> None:
        super().__init__()
        stride = config.stride or config.patch_size
        self.padding = tuple(
            (count - 1) * s + p - n
            for count, n, p, s in zip(config.grid, config.input_size, config.patch_size, stride, strict=True)
        )
        self.proj = nn.Conv2d(config.in_chans, config.embed_dim, config.patch_size, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return tokens ``(batch, rows · columns, embed_dim)`` of ``(batch, channels, frequency, time)``."""
        if any(self.padding):
            x = F.pad(x, (0, self.padding[1], 0, self.padding[0]))
        return rearrange(self.proj(x), "batch dim f t -> batch (f t) dim")


class PositionEmbed(nn.Module):
    """Add a learned vector to each token; row 0 belongs to the class token wherever that stands.

    Args:
        num_patches: Number of patch tokens.
        embed_dim: Width of the tokens.
    """

    def __init__(self, num_patches: int, embed_dim: int) -> None:
        super().__init__()
        self.pos_embed = nn.Parameter(torch.empty(1, num_patches + 1, embed_dim))

    def forward(self, cls_token: Tensor, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Return the class token ``(batch, 1, dim)`` and the patches ``(batch, n, dim)`` with their positions added."""
        return cls_token + self.pos_embed[:, :1], patches + self.pos_embed[:, 1:]


class RMSNorm(nn.RMSNorm):
    """Divide by the root mean square over the last axis: x / sqrt(mean(x²) + eps) · weight.

    Zhang and Sennrich, *Root Mean Square Layer Normalization* (2019), equation 4. Computed in the input's precision,
    returned in the weight's.

    Args:
        normalized_shape: Length of the last axis.
        eps: Added under the root.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised tokens."""
        return F.rms_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.eps).to(self.weight.dtype)


class Block(nn.Module):
    """Add, normalise, mix: the pre-norm block whose residual stream stays in float32.

    Args:
        mixer: The mixer of tokens.
        dim: Width of the tokens.
        norm_eps: Epsilon of the norm.
        drop_path: Rate of stochastic depth on what is added to the residual.
    """

    def __init__(self, mixer: nn.Module, dim: int, norm_eps: float, drop_path: float) -> None:
        super().__init__()
        self.mixer = mixer
        self.norm = RMSNorm(dim, norm_eps)
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(self, hidden: Tensor, residual: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the mixer's output and the residual stream, both ``(batch, n, dim)``."""
        residual = add_to_residual(hidden if residual is None else self.drop_path(hidden), residual)
        return self.mixer(self.norm(residual)), residual


def add_to_residual(hidden: Tensor, residual: Tensor | None) -> Tensor:
    """Return the residual stream in float32, or float64 where the model is, with ``hidden`` added."""
    hidden = hidden.to(torch.promote_types(hidden.dtype, torch.float32))
    return hidden if residual is None else hidden + residual


class AudioMamba(Checkpointed, Backbone):
    """Encode a spectrogram with selective state-space blocks and a class token in the middle of the sequence.

    Erol, Senocak, Feng and Chung, *Audio Mamba: Bidirectional State Space Model for Audio Representation Learning*
    (2024); EVER (section 3.1) uses it on the spectrograms of all EEG channels. Patches are taken row by row, frequency
    first; the class token is put at position n // 2 and its vector after the last norm is the embedding. With more
    than one input channel one convolution projects all of them (a choice: the reference takes one only). State-dict
    keys are the reference's.

    Args:
        config: An :class:`AudioMambaConfig`.

    Example:
        >>> import torch
        >>> model = AudioMamba.from_preset("audio_mamba_nano", in_chans=19, num_classes=0)
        >>> model(torch.zeros(2, 19, 64, 64)).shape
        torch.Size([2, 64])
    """

    input = "spectrogram"
    axes = ("in_chans", "input_size")
    config_class = AudioMambaConfig
    presets: ClassVar[dict[str, AudioMambaConfig]] = {
        "audio_mamba_nano": AudioMambaConfig(embed_dim=64, depth=4, patch_size=(8, 8), input_size=(64, 64)),
        "audio_mamba_tiny": AudioMambaConfig(embed_dim=192),
        "audio_mamba_small": AudioMambaConfig(embed_dim=384),
        "audio_mamba_base": AudioMambaConfig(embed_dim=768),
    }
    foreign_formats = FORMATS

    def __init__(self, config: AudioMambaConfig) -> None:
        super().__init__(config)
        c = config
        self.patch_embed = PatchEmbed(c)
        self.cls_token = nn.Parameter(torch.empty(1, 1, c.embed_dim))
        num_patches = math.prod(c.grid)
        self.pos_embed = PositionEmbed(num_patches, c.embed_dim)
        self.pos_drop = nn.Dropout(c.drop_rate)
        # What enters block i is what block i - 1 made, so its rate is that of block i - 1.
        rates = [0.0, *torch.linspace(0, c.drop_path_rate, c.depth, device="cpu").tolist()]
        self.layers = nn.ModuleList(
            Block(
                MambaBlock(
                    c.embed_dim,
                    direction=c.direction,
                    state_size=c.state_size,
                    conv_size=c.conv_size,
                    expand=c.expand,
                    dt_rank=c.dt_rank,
                    halve_sum=c.halve_sum,
                ),
                c.embed_dim,
                c.norm_eps,
                rates[i],
            )
            for i in range(c.depth)
        )
        self.drop_path = DropPath(rates[-1]) if rates[-1] else nn.Identity()
        self.norm_f = RMSNorm(c.embed_dim, c.norm_eps)
        self.head = self.make_head()
        self._cls_index = {"first": 0, "middle": num_patches // 2, "last": num_patches}[c.cls_position]
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw tokens and positions, and scale the blocks' output by depth, as the reference does."""
        trunc_normal_(self.cls_token, std=0.02)
        trunc_normal_(self.pos_embed.pos_embed, std=0.02)
        with torch.no_grad():
            for layer in self.layers:
                mixer = cast(MambaBlock, layer.mixer)
                mixer.reset_parameters()
                mixer.out_proj.weight /= math.sqrt(len(self.layers))

    def taken_over(self, state: Mapping[str, Tensor], config: AudioMambaConfig) -> dict[str, Tensor]:
        """Resample the positions to this model's patches, as ``evermodels convert`` does.

        Args:
            state: Weights by name.
            config: The configuration of the encoder that they come from.
        """
        own, old, new = dict(state), config.grid, self.config.grid
        if old != new:
            own["pos_embed.pos_embed"] = resample_positions(own["pos_embed.pos_embed"], old, new)
        return own

    def forward_features(self, x: Tensor) -> Tensor:
        """Encode a spectrogram.

        Args:
            x: Spectrogram, ``(batch, in_chans, frequency, time)``.

        Returns:
            Tokens after the last norm, ``(batch, n, embed_dim)``, the class token among them.

        Raises:
            ShapeError: If ``x`` has other axes than the config's.
        """
        frequency, time = self.config.input_size
        check_axes(
            "spectrogram",
            x,
            "batch channels frequency time",
            channels=self.config.in_chans,
            frequency=frequency,
            time=time,
        )
        hidden, residual = self.embed(x), None
        for layer in self.layers:
            hidden, residual = self.recomputed(layer, hidden, residual)
        return self.norm_f(add_to_residual(self.drop_path(hidden), residual))

    def embed(self, x: Tensor) -> Tensor:
        """Return what enters the first block: patches and class token in order, positions added."""
        patches = self.patch_embed(x)
        cls_token, patches = self.pos_embed(self.cls_token.expand(x.shape[0], -1, -1), patches)
        i = self._cls_index
        return self.pos_drop(torch.cat([patches[:, :i], cls_token, patches[:, i:]], dim=1))

    def pool(self, x: Tensor) -> Tensor:
        """Return the class token.

        Args:
            x: Tokens, ``(batch, n, embed_dim)``.
        """
        return x[:, self._cls_index]
