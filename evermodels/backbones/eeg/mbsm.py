"""Masked brain signal modelling: an encoder of EEG patches over time, for any set of electrodes."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from timm.layers import DropPath, Mlp
from torch import Tensor, nn

from evermodels import montage
from evermodels.backbones.base import Backbone
from evermodels.backbones.eeg.mbsm_foreign import FORMATS
from evermodels.core.config import Config
from evermodels.core.errors import ConfigError, ShapeError, UnknownNameError, check_axes
from evermodels.core.specs import EEGSpec, InputSpec
from evermodels.functional import real_spherical_harmonics
from evermodels.functional._precision import at_least_float32, without_autocast
from evermodels.layers.self_attention import SelfAttention

if TYPE_CHECKING:
    from evermodels.backbones.eeg.mbsm_autoencoder import MBSMAutoencoder


_FLOOR = 1e-3  # of the power of a signal of variance 1; a flat channel has nothing else


@dataclass(frozen=True)
class MBSMConfig(Config):
    """Configuration of :class:`MBSMEncoder`; the defaults are DreamDiffusion's encoder.

    Args:
        in_chans: Channels of the EEG.
        num_samples: Samples of a window, a multiple of ``patch_size``.
        patch_size: Samples of a patch; a token is a patch of all channels.
        num_classes: Classes of the head; 0 for the embedding.
        embed_dim: Width of the tokens, even, a multiple of ``num_heads``.
        depth: Number of blocks.
        num_heads: Attention heads.
        mlp_ratio: Hidden width of the MLP over ``embed_dim`` (DreamDiffusion's configuration says 1).
        channels: ``"fixed"``, a weight for each channel of one montage, as the reference; or ``"positions"``, weights
            that are generated from the electrodes' positions, so that one encoder serves any montage.
        ch_names: Channel names, needed with ``"positions"``.
        degree: With ``"positions"``: highest degree of the spherical harmonics that the weights are made of.
        scale: ``"none"``; ``"window"``, each channel around 0 and the window divided by its root mean square over
            channels and time; or ``"channel"``, each channel standardised.
        spectrum_bins: How many frequencies of a patch, from the lowest above 0, enter the token by their log power
            beside the samples (CBraMod, Wang et al., ICLR 2025, adds a patch's spectrum likewise; the reference: 0).
        sfreq: Rate of the EEG in Hz, where recordings are to be read for the encoder alone.
        norm_eps: Epsilon of the layer norms.
        drop_rate: Dropout of the attention's and the MLP's output.
        drop_path_rate: Stochastic depth of the last block; it grows linearly from 0.

    Example:
        >>> MBSMConfig().num_patches
        128
        >>> MBSMConfig(channels="positions", in_chans=2)
        Traceback (most recent call last):
            ...
        evermodels.core.errors.ConfigError: ...ch_names...the names of the 2 channels...
    """

    in_chans: int = 128
    num_samples: int = 512
    patch_size: int = 4
    num_classes: int = 0
    embed_dim: int = 1024
    depth: int = 24
    num_heads: int = 16
    mlp_ratio: float = 1.0
    channels: Literal["fixed", "positions"] = "fixed"
    ch_names: tuple[str, ...] = ()
    degree: int = 4
    scale: Literal["none", "window", "channel"] = "none"
    spectrum_bins: int = 0
    sfreq: float | None = None
    norm_eps: float = 1e-5
    drop_rate: float = 0.0
    drop_path_rate: float = 0.0

    def check(self) -> None:
        """Refuse sizes that patches and heads do not divide, and channels that have no place."""
        self.at_least(1, "in_chans", "num_samples", "patch_size", "embed_dim", "depth", "num_heads")
        if self.num_samples % self.patch_size:
            raise self.refuse("num_samples", f"a multiple of patch_size ({self.patch_size})")
        if self.num_patches > 2**18:
            raise self.refuse("num_samples", f"at most {2**18:,} patches")
        if self.embed_dim % 2 or self.embed_dim % self.num_heads:
            raise self.refuse("embed_dim", f"an even multiple of num_heads ({self.num_heads})")
        self._check_channels()
        if not 0 <= self.spectrum_bins <= self.patch_size // 2:
            raise self.refuse("spectrum_bins", f"0 to {self.patch_size // 2}, the frequencies of a patch")
        self.positive("mlp_ratio", "norm_eps")
        if self.sfreq is not None and self.sfreq <= 0:
            raise self.refuse("sfreq", "a positive rate in Hz, or None")
        self.rates("drop_rate", "drop_path_rate")

    def _check_channels(self) -> None:
        object.__setattr__(self, "ch_names", montage.canonical_all(self.ch_names))
        wanted = self.channels == "positions" or bool(self.ch_names)
        if wanted and len(self.ch_names) != self.in_chans:
            raise self.refuse("ch_names", f"the names of the {self.in_chans} channels (in_chans)")
        if not 0 <= self.degree <= 16:
            raise self.refuse("degree", "0 to 16")
        if self.channels == "positions":
            electrode_harmonics(self.ch_names, 0)

    @property
    def num_patches(self) -> int:
        """Tokens of a window."""
        return self.num_samples // self.patch_size

    @property
    def num_maps(self) -> int:
        """What a patch is projected from: channels, or with ``"positions"`` spherical harmonics."""
        return self.in_chans if self.channels == "fixed" else (self.degree + 1) ** 2

    @property
    def input_spec(self) -> InputSpec | None:
        """What recordings must look like; ``None`` where names or rate are not said."""
        if self.sfreq is None or not self.ch_names:
            return None
        return InputSpec(self.num_samples / self.sfreq, eeg=EEGSpec(ch_names=self.ch_names, sfreq=self.sfreq))


@functools.lru_cache(maxsize=64)
def electrode_harmonics(ch_names: tuple[str, ...], degree: int) -> Tensor:
    """Return the spherical harmonics at electrodes, ``(channels, (degree + 1)²)`` in float64 on the CPU.

    A derivation such as ``A2-A1`` is the difference of its electrodes' rows.

    Args:
        ch_names: Channel names in any spelling.
        degree: Highest degree.

    Raises:
        UnknownNameError: If a name is no electrode's, or stands twice.

    Example:
        >>> electrode_harmonics(("Fz", "Cz", "A2-A1"), 4).shape
        torch.Size([3, 25])
    """
    rows = []
    for name in montage.canonical_all(ch_names):
        parts = [name] if name in _placed(name) else name.split("-")
        places = torch.from_numpy(montage.positions(parts))
        values = real_spherical_harmonics(places, degree)
        rows.append(values[0] if len(parts) == 1 else values[0] - values[1])
    return torch.stack(rows)


def _placed(name: str) -> tuple[str, ...]:
    """The name, if it has a position."""
    try:
        montage.positions([name])
    except UnknownNameError:
        return ()
    return (name,)


def sines_then_cosines(length: int, dim: int) -> Tensor:
    """Return the fixed position table, ``(1, length, dim)`` in float32.

    Column j of row p is ``sin(p ω_j)`` in the first half and ``cos(p ω_j)`` in the second, with
    ``ω_j = 10000^(-2j/dim)`` and p from 0, computed in float64.

    Args:
        length: Number of patches.
        dim: Width of the tokens, even.

    Example:
        >>> sines_then_cosines(1, 4)
        tensor([[[0., 0., 1., 1.]]])
    """
    half = torch.arange(dim // 2, device="cpu", dtype=torch.float64)
    angle = torch.arange(length, device="cpu", dtype=torch.float64)[:, None] * 10000 ** (-2 * half / dim)
    return torch.cat([angle.sin(), angle.cos()], dim=1).float()[None]


class Block(nn.Module):
    """Pre-norm transformer block; keys are timm's.

    Args:
        dim: Width of the tokens.
        num_heads: Attention heads.
        mlp_ratio: Hidden width of the MLP over ``dim``.
        norm_eps: Epsilon of the norms.
        drop: Dropout of both outputs.
        drop_path: Rate of stochastic depth.
    """

    def __init__(
        self, dim: int, num_heads: int, mlp_ratio: float, norm_eps: float, *, drop: float = 0.0, drop_path: float = 0.0
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=norm_eps)
        self.attn = SelfAttention(dim, num_heads, proj_drop=drop)
        self.norm2 = nn.LayerNorm(dim, eps=norm_eps)
        self.mlp = Mlp(dim, max(1, int(dim * mlp_ratio)), drop=(0.0, drop))
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Update tokens ``(batch, n, dim)``."""
        x = x + self.drop_path(self.attn(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class PatchEmbed(nn.Module):
    """Project each patch of all channels: a convolution over time whose stride is its kernel; and its spectrum.

    The log power of a channel and frequency is that of the patch under a Hann window, times the squared frequency, as
    EEG falls with it. It is taken of the channels, before they are mixed.

    Args:
        config: Sizes.
    """

    def __init__(self, config: MBSMConfig) -> None:
        super().__init__()
        self.size, self.bins = config.patch_size, config.spectrum_bins
        self.proj = nn.Conv1d(config.num_maps, config.embed_dim, self.size, stride=self.size)
        self.spectrum = nn.Linear(config.num_maps * self.bins, config.embed_dim) if self.bins else None

    def forward(self, x: Tensor, maps: Tensor | None = None) -> Tensor:
        """Turn ``(batch, channels, time)`` into ``(batch, n, embed_dim)``; ``maps`` as :meth:`MBSMEncoder.spread`."""
        tokens: Tensor = self.proj(x if maps is None else maps.mT @ x).transpose(1, 2)
        if self.spectrum is None:
            return tokens
        power = self._log_power(x)  # channels, patches, frequencies
        if maps is not None:
            power = (maps.mT @ power.flatten(2)).unflatten(2, power.shape[2:])
        return tokens + self.spectrum(power.transpose(1, 2).flatten(2))

    def _log_power(self, x: Tensor) -> Tensor:
        with without_autocast(x):
            patches = at_least_float32(x).unfold(2, self.size, self.size)
            window = torch.hann_window(self.size, dtype=patches.dtype, device=x.device)
            waves = torch.fft.rfft((patches - patches.mean(dim=3, keepdim=True)) * window)[..., 1 : 1 + self.bins]
            rising = torch.arange(1, 1 + self.bins, dtype=patches.dtype, device=x.device).square()
            power = waves.real.square() + waves.imag.square()
            return ((power / window.square().sum() * rising) + _FLOOR).log().to(x.dtype)


_EEGMAT = montage.MONTAGES["eegmat"]


def _open(dim: int, depth: int, heads: int, **values: Any) -> MBSMConfig:
    return MBSMConfig(
        in_chans=len(_EEGMAT),
        num_samples=1000,
        embed_dim=dim,
        depth=depth,
        num_heads=heads,
        channels="positions",
        ch_names=_EEGMAT,
        scale="window",
        sfreq=200.0,
        **values,
    )


class MBSMEncoder(Backbone):
    r"""Encoder of masked brain signal modelling: tokens are patches over time in which all channels are mixed.

    Source: Mood Reader, section 3.2; DreamDiffusion (Bai et al., ECCV 2024), whose encoder it is in the fine-tuning
    form: all patches enter, there is no class token, the embedding is ``LayerNorm(mean over tokens)``. State-dict keys
    are those of the repository.

    A patch of p samples of channels c is projected to :math:`\sum_c W_c x_c`. With ``channels="positions"`` the weights
    are a smooth function of where the electrode is (a choice; the reference has a free weight for each of its 128
    channels):

    .. math:: W_c = \frac{1}{C} \sum_{l \le L} \sum_{|m| \le l} Y_{lm}(r_c) \, B_{lm}

    with learned :math:`B_{lm}` (width × p) and real spherical harmonics, so that one encoder serves a headband with
    four electrodes and a cap with 62, and ``forward_features(x, ch_names)`` takes batches in which montages are mixed.

    Args:
        config: An :class:`MBSMConfig`.

    Raises:
        ConfigError: If ``config`` is something else.

    Example:
        >>> import torch
        >>> model = MBSMEncoder.from_preset("mbsm_tiny", num_classes=2).eval()
        >>> model(torch.randn(3, 19, 1000)).shape
        torch.Size([3, 2])
        >>> muse = MBSMEncoder.from_preset("mbsm_tiny", in_chans=4, ch_names=("TP9", "AF7", "AF8", "TP10"))
        >>> [p.shape for p in muse.parameters()] == [p.shape for p in MBSMEncoder.from_preset("mbsm_tiny").parameters()]
        True
    """

    input = "eeg"
    axes = ("in_chans", "num_samples")
    config_class = MBSMConfig
    foreign_formats = FORMATS
    told = ("ch_names", "sfreq")
    pos_embed: Tensor
    harmonics: Tensor
    presets: ClassVar[Mapping[str, MBSMConfig]] = {
        "mbsm_tiny": _open(128, 4, 4, patch_size=100, mlp_ratio=2.0, spectrum_bins=22),
        "mbsm_small": _open(384, 12, 6),
        "mbsm_base": MBSMConfig(),
    }

    def __init__(self, config: MBSMConfig) -> None:
        super().__init__(config)
        c = config
        self.patch_embed = PatchEmbed(c)
        steps = max(c.depth - 1, 1)
        self.blocks = nn.ModuleList(
            Block(
                c.embed_dim,
                c.num_heads,
                c.mlp_ratio,
                c.norm_eps,
                drop=c.drop_rate,
                drop_path=c.drop_path_rate * i / steps,
            )
            for i in range(c.depth)
        )
        self.norm = nn.LayerNorm(c.embed_dim, eps=c.norm_eps)
        self.head = self.make_head()
        self.reset_parameters()
        self.reset_buffers()

    @property
    def follows_inputs(self) -> frozenset[str]:
        """Values of the configuration that may differ where weights are taken over."""
        own = {"ch_names"} if self.config.channels == "positions" else set()
        return super().follows_inputs | own

    def reset_parameters(self) -> None:
        """Draw the linear weights after Glorot, as the reference does."""
        for module in (*self.blocks.modules(), *self.patch_embed.modules()):
            if isinstance(module, (nn.Linear, nn.Conv1d)):
                nn.init.xavier_uniform_(module.weight.view(module.weight.shape[0], -1))
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def reset_buffers(self) -> None:
        """Rebuild the position table and the harmonics at the electrodes."""
        c, weight = self.config, self.norm.weight
        size = (c.num_patches, c.embed_dim)
        meta = weight.device.type == "meta"
        table = torch.empty(1, *size, device="meta") if meta else sines_then_cosines(*size)
        self.register_buffer("pos_embed", table.to(weight.device), persistent=False)
        maps = torch.zeros(0, 0)
        if c.channels == "positions":
            maps = electrode_harmonics(c.ch_names, c.degree).to(weight.dtype) / c.in_chans
        self.register_buffer("harmonics", maps.to(weight.device), persistent=False)

    def adapt_montage(self, ch_names: Sequence[str], *, min_real: float = 0.5) -> Mapping[str, str]:
        """Take recordings of other electrodes from now on: the weights are generated for their positions.

        Nothing is interpolated and no weight changes.

        Args:
            ch_names: The recording's EEG channels in its order, any spelling.
            min_real: Without effect, as no channel is made up.

        Returns:
            An empty mapping.

        Raises:
            ConfigError: If the encoder has weights for fixed channels.
            UnknownNameError: If a name is unknown, or two mean the same electrode.

        Example:
            >>> encoder = MBSMEncoder.from_preset("mbsm_tiny")
            >>> encoder.adapt_montage("muse"), encoder.sample_shape
            ({}, (4, 1000))
        """
        if self.config.channels == "fixed":
            raise ConfigError(
                'ch_names: this MBSMEncoder has a weight for each of its own channels (channels="fixed"). Leave it '
                'out, or take one with channels="positions".'
            )
        names = montage.canonical_all(ch_names)
        self.config = self.config.replace(in_chans=len(names), ch_names=names)
        self.reset_buffers()
        return {}

    def make_pretraining(self, **values: Any) -> MBSMAutoencoder:
        """Return the model that pre-trains this encoder; its ``pretraining_loss`` trains both.

        Args:
            **values: Values of :class:`~evermodels.backbones.eeg.mbsm_autoencoder.MBSMPretrainingConfig`.

        Raises:
            ConfigError: If there is no such value, or it is impossible.
        """
        from evermodels.backbones.eeg.mbsm_autoencoder import MBSMAutoencoder, MBSMPretrainingConfig

        return MBSMAutoencoder(self, MBSMPretrainingConfig.from_dict(values))

    # What comes in

    def spread(
        self,
        x: Tensor,
        ch_names: Sequence[Sequence[str]] | None = None,
        channels: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Check a batch, bring it to scale, and say what each channel weighs in each map.

        Args:
            x: EEG, ``(batch, channels, time)``.
            ch_names: Channel names of each sample, where montages are mixed; samples with fewer channels than the
                batch hold anything behind their own (default: the configuration's for all).
            channels: Which channels of each sample are valid, ``(batch, channels)`` bool (default: all named ones).

        Returns:
            The EEG at scale with zeros in channels that are not valid, and ``(channels, maps)`` or
            ``(batch, channels, maps)``, ``None`` with fixed channels.

        Raises:
            ShapeError: If a shape does not fit, or a sample has no valid channel (checked in eager mode only).
            ConfigError: If names or a mask come to fixed channels.
            UnknownNameError: If a name is no electrode's.
        """
        c: MBSMConfig = self.config
        mixed = ch_names is not None
        sizes = {"time": c.num_samples} if mixed else {"channels": c.in_chans, "time": c.num_samples}
        check_axes("eeg", x, "batch channels time", **sizes)
        if c.channels == "fixed":
            if mixed or channels is not None:
                raise ConfigError(
                    "ch_names, channels: this MBSMEncoder has weights for fixed channels. Leave them out, or take one "
                    'with channels="positions".'
                )
            return self._scaled(x, None), None
        if not mixed and channels is None:
            return self._scaled(x, None), self.harmonics
        if ch_names is None:
            maps = (self.harmonics * c.in_chans).expand(len(x), -1, -1)
            valid = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
        else:
            maps, valid = self._named(x, ch_names)
        if channels is not None:
            check_axes("channels", channels, "batch channels", batch=x.shape[0], channels=x.shape[1])
            valid = valid & channels.to(device=x.device, dtype=torch.bool)
        if not torch.compiler.is_compiling() and not bool(valid.any(dim=1).all()):
            raise ShapeError("eeg: a sample has no valid channel. Leave it out.")
        weight = valid.to(maps.dtype) / valid.sum(dim=1, keepdim=True).clamp_min(1)
        return self._scaled(torch.where(valid[..., None], x, 0), valid), maps * weight[..., None]

    def _named(self, x: Tensor, ch_names: Sequence[Sequence[str]]) -> tuple[Tensor, Tensor]:
        if len(ch_names) != len(x):
            raise ShapeError(f"ch_names: expected the names of each of the {len(x)} samples, got {len(ch_names)}.")
        maps = x.new_zeros(*x.shape[:2], self.config.num_maps, dtype=self.norm.weight.dtype)
        valid = torch.zeros(x.shape[:2], dtype=torch.bool, device=x.device)
        for row, names in enumerate(ch_names):
            if not 0 < len(names) <= x.shape[1]:
                raise ShapeError(f"ch_names[{row}]: expected 1 to {x.shape[1]} names, got {len(names)}.")
            maps[row, : len(names)] = electrode_harmonics(tuple(names), self.config.degree).to(maps)
            valid[row, : len(names)] = True
        return maps, valid

    def _scaled(self, x: Tensor, valid: Tensor | None) -> Tensor:
        scale = self.config.scale
        if scale == "none":
            return x
        wide = x if x.dtype == torch.float64 else x.float()
        wide = wide - wide.mean(dim=2, keepdim=True)
        power = wide.square().mean(dim=2, keepdim=True)
        if scale == "window":
            count = x.shape[1] if valid is None else valid.sum(dim=1).clamp_min(1)[:, None, None]
            power = power.sum(dim=1, keepdim=True) / count
        return (wide * torch.where(power > 0, power, 1).rsqrt()).to(self.norm.weight.dtype)

    def patch_tokens(self, x: Tensor, maps: Tensor | None) -> Tensor:
        """Return the projected patches with their positions, ``(batch, n, embed_dim)``.

        Args:
            x: EEG at scale, as :meth:`spread` returns it.
            maps: What each channel weighs in each map, or ``None``.
        """
        tokens = self.patch_embed(x, maps)
        return tokens + self.pos_embed.to(tokens.dtype)

    def encode(self, tokens: Tensor) -> Tensor:
        """Run the blocks.

        Args:
            tokens: All patches or some, as :meth:`patch_tokens` returns them, ``(batch, n, embed_dim)``.
        """
        for block in self.blocks:
            tokens = block(tokens)
        return tokens

    def forward_features(
        self,
        x: Tensor,
        ch_names: Sequence[Sequence[str]] | None = None,
        channels: Tensor | None = None,
    ) -> Tensor:
        """Return the patches' tokens after the last block, before the norm; ``norm`` makes the reference's tokens.

        Args:
            x: EEG, ``(batch, channels, time)`` in µV (of any unit where ``scale`` is not ``"none"``).
            ch_names: As in :meth:`spread`.
            channels: As in :meth:`spread`.

        Returns:
            ``(batch, n, embed_dim)`` in the order of time.

        Raises:
            ShapeError: As :meth:`spread`.
        """
        return self.encode(self.patch_tokens(*self.spread(x, ch_names, channels)))

    def pool(self, x: Tensor) -> Tensor:
        """Return the norm of the mean of the tokens.

        Args:
            x: Tokens, ``(batch, n, embed_dim)``.
        """
        pooled: Tensor = self.norm(x.mean(dim=1))
        return pooled

    def forward(
        self,
        x: Tensor,
        ch_names: Sequence[Sequence[str]] | None = None,
        channels: Tensor | None = None,
    ) -> Tensor:
        """Return the logits, ``(batch, num_classes)``, or with 0 classes the embedding.

        Args:
            x: EEG, ``(batch, channels, time)``.
            ch_names: As in :meth:`spread`.
            channels: As in :meth:`spread`.

        Raises:
            ShapeError: As :meth:`spread`.
        """
        self.check_type(x)
        return self.forward_head(self.forward_features(x, ch_names, channels))
