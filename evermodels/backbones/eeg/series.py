"""What the encoders that come from time-series models share: scale, blocks, pooling, head, any montage."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from timm.layers import Mlp
from torch import Tensor, nn

from evermodels import montage
from evermodels.backbones.base import Backbone, Checkpointed
from evermodels.core.config import Config
from evermodels.core.errors import ConfigError, check_axes
from evermodels.functional._precision import at_least_float32, without_autocast
from evermodels.layers.self_attention import SelfAttention

MOST_TOKENS = 2**18
"""Tokens of a window; more is a mistake that would ask for all memory."""


@dataclass(frozen=True)
class SeriesConfig(Config):
    """What the configuration of every :class:`SeriesEncoder` holds.

    Args:
        in_chans: EEG channels C.
        num_samples: Samples of a window T.
        num_classes: Classes of the head; 0 for the embedding.
        embed_dim: Width D of the tokens, a multiple of ``num_heads``.
        depth: Number of blocks.
        num_heads: Attention heads.
        mlp_ratio: Hidden width of the MLPs over ``embed_dim``.
        scale: How µV become numbers around 1: ``"channel"``, each channel standardised in its window; ``"window"``,
            each channel around 0 and the window divided by its root mean square over channels and time, so that loud
            channels stay loud; ``"none"``.
        scale_eps: Added to the variance that is divided by.
        pool: What the embedding is made of: ``"flatten"``, all tokens one behind the other; ``"channels"``, for each
            channel the mean of its tokens; ``"mean"``, the mean of all, for which any number of channels has the same
            weights.
        norm_eps: Epsilon of the norms.
        drop_rate: Dropout of the tokens and of the outputs of attention and MLP.
        attn_drop_rate: Dropout of the attention weights.
        head_drop_rate: Dropout before the head.
    """

    in_chans: int = 19
    num_samples: int = 1000
    num_classes: int = 0
    embed_dim: int = 128
    depth: int = 3
    num_heads: int = 8
    mlp_ratio: float = 2.0
    scale: Literal["channel", "window", "none"] = "channel"
    scale_eps: float = 1e-5
    pool: Literal["flatten", "channels", "mean"] = "flatten"
    norm_eps: float = 1e-5
    drop_rate: float = 0.0
    attn_drop_rate: float = 0.0
    head_drop_rate: float = 0.0

    def check(self) -> None:
        """Refuse sizes below one, heads that do not divide, and rates that are none."""
        self.at_least(1, "in_chans", "num_samples", "embed_dim", "num_heads")
        if self.embed_dim % self.num_heads:
            raise self.refuse("embed_dim", f"a multiple of num_heads ({self.num_heads})")
        self.positive("mlp_ratio", "scale_eps", "norm_eps")
        self.rates("drop_rate", "attn_drop_rate", "head_drop_rate")

    @property
    def mlp_dim(self) -> int:
        """Hidden width of the MLPs."""
        return max(1, round(self.mlp_ratio * self.embed_dim))

    def check_tokens(self, count: int, key: str) -> None:
        """Refuse more tokens than any machine holds.

        Args:
            count: Tokens of a window.
            key: The value to change.

        Raises:
            ConfigError: If they are too many.
        """
        if count > MOST_TOKENS:
            raise self.refuse(key, f"a window of at most {MOST_TOKENS:,} tokens, not {count:,}")


def scaled(x: Tensor, scale: str, eps: float) -> Tensor:
    """Bring EEG to scale, in float32 at least; a flat channel becomes zeros.

    Args:
        x: EEG in µV, ``(batch, channels, time)``.
        scale: ``"channel"``, ``"window"`` or ``"none"``, as in :class:`SeriesConfig`.
        eps: Added to the variance.

    Example:
        >>> import torch
        >>> scaled(torch.tensor([[[1.0, 3.0], [0.0, 40.0]]]), "window", 1e-5)[0].abs().amax(dim=1)
        tensor([0.0706, 1.4124])
    """
    if scale == "none":
        return x
    with without_autocast(x):
        wide = at_least_float32(x)
        wide = wide - wide.mean(dim=2, keepdim=True)
        power = wide.square().mean(dim=2 if scale == "channel" else (1, 2), keepdim=True)
        return (wide * (power + eps).rsqrt()).to(x.dtype)


class TokenBatchNorm(nn.BatchNorm1d):
    """Batch norm of each column over all tokens of a batch, ``(batch, n, dim)``."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised tokens."""
        return super().forward(x.flatten(0, 1)).view_as(x)


class SeriesBlock(nn.Module):
    r"""Transformer block with the norm behind each sum, as Vaswani et al. (2017) have it, or before.

    .. math::
        x' = \mathrm{norm}_1(x + \mathrm{MSA}(x)), \quad y = \mathrm{norm}_2(x' + \mathrm{MLP}(x'))

    Args:
        config: Widths, heads and rates.
        norm: Makes a norm of the width of the tokens.
        pre_norm: Whether the norms stand before attention and MLP instead, and sums are left as they are.
    """

    def __init__(
        self, config: SeriesConfig, norm: Callable[..., nn.Module] = nn.LayerNorm, *, pre_norm: bool = False
    ) -> None:
        super().__init__()
        c = config
        self.pre_norm = pre_norm
        self.attn = SelfAttention(c.embed_dim, c.num_heads, attn_drop=c.attn_drop_rate, proj_drop=c.drop_rate)
        self.norm1 = norm(c.embed_dim, eps=c.norm_eps)
        self.mlp = Mlp(c.embed_dim, c.mlp_dim, drop=c.drop_rate)
        self.norm2 = norm(c.embed_dim, eps=c.norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        """Update tokens ``(batch, n, dim)``."""
        if self.pre_norm:
            x = x + self.attn(self.norm1(x))
            return x + self.mlp(self.norm2(x))
        x = self.norm1(x + self.attn(x))
        return self.norm2(x + self.mlp(x))


class SeriesEncoder(Checkpointed, Backbone):
    """Base of the encoders that were made for time series: EEG in, tokens of D, a linear head over them.

    A subclass defines ``forward_features``, whose tokens are the channels' one behind the other where a channel has
    tokens of its own, and :attr:`token_grid`; it may set ``activation``, which stands before the pooling.

    Args:
        config: A :class:`SeriesConfig`.

    Raises:
        ConfigError: If ``config`` is something else.
    """

    input = "eeg"
    axes = ("in_chans", "num_samples")

    def __init__(self, config: SeriesConfig) -> None:
        super().__init__(config)
        self.activation: nn.Module = nn.Identity()
        self.head = self.make_head()

    @property
    @abc.abstractmethod
    def token_grid(self) -> tuple[int, int]:
        """Tokens of a window: groups (channels, where each has its own), and tokens of a group."""

    @property
    def embed_dim(self) -> int:
        """Width of the embedding: that of a token times how many of them ``pool`` leaves."""
        groups, tokens = self.token_grid
        width: int = self.config.embed_dim
        return width * {"flatten": groups * tokens, "channels": groups, "mean": 1}[self.config.pool]

    @property
    def step_dim(self) -> int:
        """Width of a token."""
        width: int = self.config.embed_dim
        return width

    def adapt_montage(self, ch_names: Sequence[str], *, min_real: float = 0.5) -> Mapping[str, str]:
        """Take recordings of other electrodes from now on, where no weight belongs to a channel.

        Nothing is interpolated and no weight changes.

        Args:
            ch_names: The recording's EEG channels in its order, any spelling; only their number is of use here.
            min_real: Without effect, as no channel is made up.

        Returns:
            An empty mapping.

        Raises:
            ConfigError: If the encoder has weights for each of its channels.
            UnknownNameError: If a name is unknown, or two mean the same electrode.
        """
        names = montage.canonical_all(ch_names)
        if why := self.tied_to_channels():
            raise ConfigError(
                f"ch_names: this {type(self).__name__} has weights for each of its {self.config.in_chans} channels "
                f"({why}). Build one for {len(names)} channels (in_chans={len(names)}), or a system around it, such as "
                "single_eeg, whose adapt_montage interpolates what is missing."
            )
        self.config = self.config.replace(in_chans=len(names))
        self.reset_channels()
        return {}

    def tied_to_channels(self) -> str:
        """Return what makes weights belong to single channels, or an empty text where none do."""
        return "" if self.config.pool == "mean" else f"pool={self.config.pool!r}"

    def reset_channels(self) -> None:
        """Rebuild what is computed of the number of channels; nothing by default."""

    def checked(self, x: Tensor) -> Tensor:
        """Check a batch and bring it to scale.

        Args:
            x: EEG in µV, ``(batch, channels, time)``.

        Raises:
            ShapeError: If it has other axes than the configuration says.
        """
        c: SeriesConfig = self.config
        check_axes("eeg", x, "batch channels time", channels=c.in_chans, time=c.num_samples)
        return scaled(x, c.scale, c.scale_eps)

    def pool(self, x: Tensor) -> Tensor:
        """Return the embedding of tokens, ``(batch, embed_dim)``, as the configuration's ``pool`` says.

        Args:
            x: Tokens, as ``forward_features`` returns them.
        """
        x = self.activation(x)
        if self.config.pool == "mean":
            return x.mean(dim=1)
        if self.config.pool == "channels":
            x = x.unflatten(1, self.token_grid).mean(dim=2)
        return x.flatten(1)
