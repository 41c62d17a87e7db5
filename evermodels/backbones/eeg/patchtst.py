"""PatchTST: each channel by itself, cut into overlapping patches that a transformer reads as words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from evermodels.backbones.eeg.patchtst_foreign import FORMATS, stretched
from evermodels.backbones.eeg.series import SeriesBlock, SeriesConfig, SeriesEncoder, TokenBatchNorm
from evermodels.functional.positions import sinusoid_table


@dataclass(frozen=True)
class PatchTSTConfig(SeriesConfig):
    """Configuration of :class:`PatchTST`; the defaults are Time-Series-Library's form at the paper's size.

    Args:
        in_chans: EEG channels C.
        num_samples: Samples of a window T.
        patch_size: Samples P of a patch.
        stride: Samples S from one patch to the next.
        padding: ``"end"``: the last sample is repeated S times, so that n = ⌊(T − P) / S⌋ + 2; ``"cut"``: what does not
            fill a patch is left out at the start, as transformers does.
        patch_bias: Whether the projection of patches has a bias (Time-Series-Library: none).
        position: ``"sinusoid"``, fixed, or ``"learned"`` (the authors' and transformers').
        block_norm: Norm in the blocks: ``"layer"``, or ``"batch"`` (the authors' and transformers').
        pre_norm: Whether it stands before attention and MLP (transformers) and not behind each sum.
        final_norm: Norm behind the last block: ``"batch"`` (Time-Series-Library) or ``"none"``.
        num_classes: Classes of the head; 0 for the embedding.
        embed_dim: Width D of the tokens, a multiple of ``num_heads``.
        depth: Number of blocks.
        num_heads: Attention heads.
        mlp_ratio: Hidden width of the MLPs over ``embed_dim``.
        scale: How µV become numbers around 1: ``"channel"`` as all references, ``"window"`` or ``"none"``.
        scale_eps: Added to the variance that is divided by.
        pool: ``"flatten"`` (Time-Series-Library); ``"channels"``, the mean over patches of each channel (transformers);
            ``"mean"``, over patches and channels.
        norm_eps: Epsilon of the norms.
        drop_rate: Dropout of the tokens and of the outputs of attention and MLP.
        attn_drop_rate: Dropout of the attention weights.
        head_drop_rate: Dropout before the head.

    Example:
        >>> PatchTSTConfig().num_patches
        125
        >>> PatchTSTConfig(num_samples=8, padding="cut")
        Traceback (most recent call last):
            ...
        evermodels.core.errors.ConfigError: PatchTSTConfig.num_samples: expected at least patch_size (16), got 8.
    """

    patch_size: int = 16
    stride: int = 8
    padding: Literal["end", "cut"] = "end"
    patch_bias: bool = False
    position: Literal["sinusoid", "learned"] = "sinusoid"
    block_norm: Literal["layer", "batch"] = "layer"
    pre_norm: bool = False
    final_norm: Literal["batch", "none"] = "batch"
    num_heads: int = 16

    def check(self) -> None:
        """Refuse patches that a window cannot hold, too."""
        super().check()
        self.at_least(1, "patch_size", "stride")
        short = self.patch_size - (self.stride if self.padding == "end" else 0)
        if self.num_samples < short:
            what = "patch_size - stride" if self.padding == "end" else "patch_size"
            raise self.refuse("num_samples", f"at least {what} ({short})")
        self.check_tokens(self.in_chans * self.num_patches, "num_samples")

    @property
    def num_patches(self) -> int:
        """Patches n of a channel."""
        more = self.stride if self.padding == "end" else 0
        return (self.num_samples + more - self.patch_size) // self.stride + 1


class PatchTST(SeriesEncoder):
    r"""PatchTST: channel-independent patches.

    Source: Nie et al., *A Time Series is Worth 64 Words: Long-term Forecasting with Transformers*, ICLR 2023, section
    3.1; the classifier is that of Time-Series-Library (thuml), whose numbers it equals, and by configuration that of
    transformers. Each channel c is standardised in its window and cut into n patches of P samples, S apart; all
    channels share one transformer and never see each other before the head:

    .. math::
        u_{c,i} = W_p\, x_c[iS : iS + P] + w_i, \quad z_c = \mathrm{Transformer}(u_{c,1}, \ldots, u_{c,n}), \quad
        \text{logits} = W\, \mathrm{flatten}(\mathrm{BN}(z)) + b

    with blocks whose norm stands behind each sum and batch norm at the end. The gradient reaches the input through mean
    and standard deviation; the reference stops it at the mean and cannot return one.

    Args:
        config: A :class:`PatchTSTConfig`.

    Raises:
        ConfigError: If ``config`` is something else.

    Example:
        >>> import torch
        >>> model = PatchTST.from_preset("patchtst_tiny", num_classes=2).eval()
        >>> eeg = 20 * torch.randn(3, 19, 1000)  # µV
        >>> model(eeg).shape, model.forward_features(eeg).shape
        (torch.Size([3, 2]), torch.Size([3, 760, 64]))
        >>> muse = PatchTST.from_preset("patchtst_tiny", pool="mean").eval()
        >>> muse.adapt_montage(("TP9", "AF7", "AF8", "TP10")), muse(eeg[:, :4]).shape
        ({}, torch.Size([3, 64]))
    """

    config_class = PatchTSTConfig
    foreign_formats = FORMATS
    pos_embed: Tensor
    presets: ClassVar[Mapping[str, PatchTSTConfig]] = {
        "patchtst_tiny": PatchTSTConfig(
            embed_dim=64, num_heads=4, patch_size=50, stride=25, pool="channels", drop_rate=0.1, head_drop_rate=0.1
        ),
        "patchtst_base": PatchTSTConfig(in_chans=30, drop_rate=0.2, head_drop_rate=0.2),
    }

    def __init__(self, config: PatchTSTConfig) -> None:
        super().__init__(config)
        c = config
        self.patch_embed = nn.Linear(c.patch_size, c.embed_dim, bias=c.patch_bias)
        if c.position == "learned":
            self.pos_embed = nn.Parameter(torch.empty(1, c.num_patches, c.embed_dim))
            nn.init.uniform_(self.pos_embed, -0.02, 0.02)
        self.pos_drop = nn.Dropout(c.drop_rate)
        norm: Callable[..., nn.Module] = TokenBatchNorm if c.block_norm == "batch" else nn.LayerNorm
        self.blocks = nn.ModuleList(SeriesBlock(c, norm, pre_norm=c.pre_norm) for _ in range(c.depth))
        last = c.final_norm == "batch"
        self.norm: nn.Module = TokenBatchNorm(c.embed_dim, eps=c.norm_eps) if last else nn.Identity()
        self.reset_buffers()

    @property
    def token_grid(self) -> tuple[int, int]:
        """Channels, and patches of each."""
        return self.config.in_chans, self.config.num_patches

    def taken_over(self, state: Mapping[str, Tensor], config: PatchTSTConfig) -> dict[str, Tensor]:
        """Stretch a learned table of positions to this model's patches, as ``evermodels convert`` does.

        Args:
            state: Weights by name.
            config: The configuration of the encoder that they come from.
        """
        own, new = dict(state), self.config.num_patches
        if self.config.position == "learned" and "pos_embed" in own and config.num_patches != new:
            own["pos_embed"] = stretched(own["pos_embed"], new)
        return own

    def reset_buffers(self) -> None:
        """Rebuild the fixed positions on the device of the parameters."""
        c, device = self.config, self.patch_embed.weight.device
        if c.position == "learned":
            return
        size = (c.num_patches, c.embed_dim)
        table = torch.empty(1, *size, device=device) if device.type == "meta" else sinusoid_table(*size)
        self.register_buffer("pos_embed", table.to(device), persistent=False)

    def embed(self, x: Tensor) -> Tensor:
        """Return what enters the first block, ``(batch · channels, patches, embed_dim)``.

        Args:
            x: EEG in µV, ``(batch, channels, time)``.

        Raises:
            ShapeError: If it has other axes than the configuration says.
        """
        c: PatchTSTConfig = self.config
        x = self.checked(x).flatten(0, 1)
        if c.padding == "end":
            x = F.pad(x, (0, c.stride), mode="replicate")
        else:
            x = x[:, (c.num_samples - c.patch_size) % c.stride :]
        tokens = self.patch_embed(x.unfold(1, c.patch_size, c.stride))
        return self.pos_drop(tokens + self.pos_embed.to(tokens.dtype))

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the tokens behind the last norm.

        Args:
            x: EEG in µV, ``(batch, channels, time)``.

        Returns:
            ``(batch, channels · patches, embed_dim)``, the patches of a channel one behind the other.

        Raises:
            ShapeError: If it has other axes than the configuration says.
        """
        tokens = self.embed(x)
        tokens = self.through(self.blocks, tokens)
        return self.norm(tokens).view(-1, self.config.in_chans * self.config.num_patches, self.config.embed_dim)

    def forward_steps(self, x: Tensor) -> Tensor:
        """Return a step for each patch, the mean over channels, ``(batch, patches, embed_dim)``.

        Args:
            x: EEG in µV, ``(batch, channels, time)``.
        """
        return self.forward_features(x).unflatten(1, self.token_grid).mean(dim=1)
