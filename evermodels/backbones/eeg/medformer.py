"""Medformer: patches of several lengths across all channels, attention within each length and among them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from timm.layers import Mlp
from torch import Tensor, nn
from torch.nn import functional as F

from evermodels.backbones.eeg.medformer_foreign import FORMATS
from evermodels.backbones.eeg.series import SeriesConfig, SeriesEncoder
from evermodels.functional.positions import sinusoid_table
from evermodels.layers.random_augmentation import RandomAugmentation
from evermodels.layers.self_attention import SelfAttention


@dataclass(frozen=True)
class MedformerConfig(SeriesConfig):
    """Configuration of :class:`Medformer`; the defaults are the authors' size.

    Args:
        in_chans: EEG channels C.
        num_samples: Samples of a window T.
        patch_sizes: Samples of a patch, for each granularity; the same length may stand several times.
        single_channel: Whether each channel is encoded by itself, so that no weight belongs to a channel.
        inter_attention: Whether the granularities attend to each other.
        augmentations: Of which one is drawn for each granularity in each training step: ``"none"``, or ``"jitter"``,
            ``"scale"``, ``"drop"``, ``"flip"``, ``"frequency"``, ``"mask"``, ``"channel"``, with a strength behind it
            (``"jitter0.2"``) or without; see :class:`~evermodels.layers.RandomAugmentation`.
        num_classes: Classes of the head; 0 for the embedding.
        embed_dim: Width D of the tokens, a multiple of ``num_heads``.
        depth: Number of blocks.
        num_heads: Attention heads.
        mlp_ratio: Hidden width of the MLP over ``embed_dim``.
        scale: How µV become numbers around 1: ``"channel"`` (the authors standardise when they read), ``"window"`` or
            ``"none"``.
        scale_eps: Added to the variance that is divided by.
        pool: ``"flatten"``, the granularities' tokens one behind the other (the reference), of each channel where
            ``single_channel`` is set; ``"channels"``, for each channel their mean; ``"mean"``, over all.
        norm_eps: Epsilon of the norms.
        drop_rate: Dropout of the outputs of attention and MLP.
        attn_drop_rate: Dropout of the attention weights.
        head_drop_rate: Dropout before the head.

    Example:
        >>> MedformerConfig(num_samples=500).patches
        (251, 126, 63)
        >>> MedformerConfig(augmentations=("jiter",))
        Traceback (most recent call last):
            ...
        evermodels.core.errors.ConfigError: ...augmentation: ...'jiter'... Did you mean 'jitter'?...
    """

    patch_sizes: tuple[int, ...] = (2, 4, 8)
    single_channel: bool = False
    inter_attention: bool = True
    augmentations: tuple[str, ...] = ()
    depth: int = 6

    def check(self) -> None:
        """Refuse patches of no length and augmentations that there are not, too."""
        super().check()
        if not self.patch_sizes or min(self.patch_sizes) < 1 or len(self.patch_sizes) > 100:
            raise self.refuse("patch_sizes", "1 to 100 lengths of at least 1")
        RandomAugmentation(self.augmentations)
        groups = self.in_chans if self.single_channel else 1
        self.check_tokens(groups * sum(self.patches), "num_samples")

    @property
    def patches(self) -> tuple[int, ...]:
        """Patches of each granularity: those that the window fills, and one for its end."""
        return tuple(self.num_samples // size + 1 for size in self.patch_sizes)


class MultiGranularityAttention(nn.Module):
    r"""Attention within each granularity, then among their routers.

    Medformer, section 3.3. The router of a granularity is its last token (as in the authors' code; the paper's is one
    more token): it gathers what its own granularity holds, speaks with the other routers, and takes their answer into
    the next block.

    Args:
        config: Widths, heads and rates.
    """

    def __init__(self, config: MedformerConfig) -> None:
        super().__init__()
        c = config

        def attention() -> SelfAttention:
            return SelfAttention(c.embed_dim, c.num_heads, attn_drop=c.attn_drop_rate)

        self.patches = c.patches
        self.intra = nn.ModuleList(attention() for _ in c.patch_sizes)
        self.inter = attention() if c.inter_attention else None

    def forward(self, x: Tensor) -> Tensor:
        """Return what is added to tokens ``(batch, n, dim)``, the granularities one behind the other."""
        parts = [attend(part) for attend, part in zip(self.intra, x.split(self.patches, dim=1), strict=True)]
        if self.inter is None:
            return torch.cat(parts, dim=1)
        routers = self.inter(torch.stack([part[:, -1] for part in parts], dim=1))
        mixed = [piece for k, part in enumerate(parts) for piece in (part[:, :-1], routers[:, k : k + 1])]
        return torch.cat(mixed, dim=1)


class MedformerBlock(nn.Module):
    """Two-stage multi-granularity attention and an MLP, a norm behind each sum; all granularities share MLP and norms.

    Args:
        config: Widths, heads and rates.
    """

    def __init__(self, config: MedformerConfig) -> None:
        super().__init__()
        c = config
        self.attn = MultiGranularityAttention(c)
        self.drop = nn.Dropout(c.drop_rate)
        self.norm1 = nn.LayerNorm(c.embed_dim, eps=c.norm_eps)
        self.mlp = Mlp(c.embed_dim, c.mlp_dim, drop=c.drop_rate)
        self.norm2 = nn.LayerNorm(c.embed_dim, eps=c.norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        """Update tokens ``(batch, n, dim)``, the granularities one behind the other."""
        x = self.norm1(x + self.drop(self.attn(x)))
        return self.norm2(x + self.mlp(x))


class Medformer(SeriesEncoder):
    r"""Medformer: cross-channel patches of several lengths, and two-stage attention with routers.

    Source: Wang et al., *Medformer: A Multi-Granularity Patching Transformer for Medical Time-Series Classification*,
    NeurIPS 2024, section 3, whose code's numbers it equals. A patch holds p samples of all channels; for each length p

    .. math:: u_i = W_p\, (x + e^{ch})[:, ip : (i+1)p] + w_p + e_i

    with a fixed sinusoid over time for each channel, :math:`e^{ch}`, a learned vector for each length and a fixed
    sinusoid over patches. Behind the blocks the last token of each length stays:
    :math:`\text{logits} = W\, \mathrm{flatten}(\mathrm{GELU}(\mathrm{LN}(r)))`. In training, one of ``augmentations``
    is drawn for each length; in evaluation there is none. Windows and widths may be odd, which the reference cannot.

    Args:
        config: A :class:`MedformerConfig`.

    Raises:
        ConfigError: If ``config`` is something else.

    Example:
        >>> import torch
        >>> model = Medformer.from_preset("medformer_tiny", num_classes=2).eval()
        >>> eeg = 20 * torch.randn(3, 19, 1000)  # µV
        >>> model(eeg).shape, model.forward_features(eeg).shape  # a router for each length
        (torch.Size([3, 2]), torch.Size([3, 3, 64]))
        >>> alone = Medformer.from_preset("medformer_tiny", single_channel=True, pool="mean").eval()
        >>> alone.adapt_montage(("TP9", "AF7", "AF8", "TP10")), alone(eeg[:, :4]).shape
        ({}, torch.Size([3, 64]))
    """

    config_class = MedformerConfig
    foreign_formats = FORMATS
    pos_embed: Tensor
    channel_embed: Tensor
    presets: ClassVar[Mapping[str, MedformerConfig]] = {
        "medformer_tiny": MedformerConfig(
            embed_dim=64,
            depth=3,
            num_heads=4,
            patch_sizes=(20, 50, 100),
            scale="window",
            augmentations=("none", "jitter0.1", "scale0.1"),
            drop_rate=0.1,
        ),
        "medformer_base": MedformerConfig(in_chans=30, drop_rate=0.1, augmentations=("none", "drop0.5")),
    }

    def __init__(self, config: MedformerConfig) -> None:
        super().__init__(config)
        c = config
        self.activation = nn.GELU()
        self.augment = RandomAugmentation(c.augmentations)
        chans = 1 if c.single_channel else c.in_chans
        self.patch_embeds = nn.ModuleList(
            nn.Conv1d(chans, c.embed_dim, size, stride=size, bias=False) for size in c.patch_sizes
        )
        self.granularity = nn.Parameter(torch.randn(len(c.patch_sizes), c.embed_dim))
        self.blocks = nn.ModuleList(MedformerBlock(c) for _ in range(c.depth))
        self.norm = nn.LayerNorm(c.embed_dim, eps=c.norm_eps)
        for embed in self.patch_embeds:
            assert isinstance(embed, nn.Conv1d)
            nn.init.kaiming_normal_(embed.weight, nonlinearity="leaky_relu")
        self.reset_buffers()

    @property
    def token_grid(self) -> tuple[int, int]:
        """Channels, where each is encoded by itself, and granularities."""
        return self.config.in_chans if self.config.single_channel else 1, len(self.config.patch_sizes)

    def tied_to_channels(self) -> str:
        """Return what makes weights belong to single channels, or an empty text where none do."""
        return super().tied_to_channels() if self.config.single_channel else "patches across all channels"

    def reset_buffers(self) -> None:
        """Rebuild the fixed sinusoids, of channels and of patches, on the device of the parameters."""
        c, device = self.config, self.granularity.device
        rows = 1 if c.single_channel else c.in_chans
        for name, size in (("pos_embed", (max(c.patches), c.embed_dim)), ("channel_embed", (rows, c.num_samples))):
            table = torch.empty(1, *size, device=device) if device.type == "meta" else sinusoid_table(*size)
            self.register_buffer(name, table.to(device), persistent=False)

    def embed(self, x: Tensor) -> Tensor:
        """Return what enters the first block, the granularities one behind the other.

        Args:
            x: EEG in µV, ``(batch, channels, time)``.

        Returns:
            ``(batch, n, embed_dim)``; with ``single_channel`` ``(batch · channels, n, embed_dim)``.

        Raises:
            ShapeError: If it has other axes than the configuration says.
        """
        x = self.checked(x)
        if self.config.single_channel:
            x = x.flatten(0, 1)[:, None]
        parts = []
        for k, (size, project) in enumerate(zip(self.config.patch_sizes, self.patch_embeds, strict=True)):
            y = self.augment(x)
            y = F.pad(y + self.channel_embed.to(y.dtype), (0, size), mode="replicate")
            tokens = project(y).mT
            parts.append(tokens + self.granularity[k] + self.pos_embed[:, : tokens.shape[1]].to(tokens.dtype))
        return torch.cat(parts, dim=1)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the routers, behind the last norm.

        Args:
            x: EEG in µV, ``(batch, channels, time)``.

        Returns:
            A token for each granularity, ``(batch, granularities, embed_dim)``; with ``single_channel`` those of a
            channel one behind the other, ``(batch, channels · granularities, embed_dim)``.

        Raises:
            ShapeError: If it has other axes than the configuration says.
        """
        tokens = self.embed(x)
        tokens = self.through(self.blocks, tokens)
        routers = torch.stack([part[:, -1] for part in tokens.split(self.config.patches, dim=1)], dim=1)
        return self.norm(routers).view(x.shape[0], -1, self.config.embed_dim)
