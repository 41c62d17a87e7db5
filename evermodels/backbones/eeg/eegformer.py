"""EEGformer: depthwise convolutions, three transformers over features, channels and time, and a CNN decoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from einops import rearrange, reduce
from timm.layers import trunc_normal_
from torch import Tensor, nn

from evermodels.backbones.base import Backbone
from evermodels.core.config import Config
from evermodels.core.errors import check_axes
from evermodels.functional.positions import sinusoid_table
from evermodels.layers.transformer_block import TransformerBlock

_FLAT = 1e-5  # variance in µV² that is added, so that a flat channel stays zero


class LogPower(nn.Module):
    """``log(1 + x²)``: what a filter lets through, whatever its phase."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the values of any shape."""
        return x.square().log1p()


_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "identity": nn.Identity,
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "log_power": LogPower,
}


@dataclass(frozen=True)
class EEGformerConfig(Config):
    """Configuration of :class:`EEGformer`; what the paper leaves open is marked as a choice.

    Args:
        in_chans: EEG channels S.
        num_samples: Samples of a window L.
        num_classes: Classes of the head; 0 for the embedding.
        detrend: What is taken out of each channel: ``"linear"`` (mean and slope), ``"constant"`` (mean) or ``"none"``.
            The paper removes a trend and does not say which (a choice).
        scale: ``"zscore"`` divides each channel by its standard deviation in the window, as the paper normalises (a
            choice: it does not say how); ``"fixed"`` by ``unit``, so that amplitude stays.
        unit: µV that become 1 with ``scale="fixed"``.
        num_filters: Filters C of each channel, a multiple of ``num_heads`` where ``temporal_dim`` is ``None``.
        kernel_size: Taps of each filter.
        num_convs: Depthwise layers, each without padding and with stride 1.
        multiply: Which layer makes C features of one: the ``"last"`` (a choice) or the ``"first"``.
        activation: After each depthwise layer; the paper names none (a choice). ``"log_power"``, ``log(1 + x²)``,
            stands after the last one only, so that it reads the power of what the layers together let through.
        dim: Width D of the tokens of the regional and the synchronous transformer, a multiple of ``num_heads`` and of
            ``num_segments``.
        depth: Blocks of each of the three transformers.
        num_heads: Heads of each.
        mlp_ratio: Hidden width of their MLPs over the width of the tokens.
        position: ``"learned"`` (a choice) or ``"sinusoid"``.
        num_segments: Segments M into which D is averaged for the temporal transformer, an even number.
        temporal_dim: Width of its tokens; ``None`` for S · C as printed, which is 3600 for 30 channels of 120 features.
        decoder_filters: Filters N of the decoder's second layer.
        decoder_activation: After each of the decoder's layers; the paper names none (a choice: with ``"relu"`` the one
            feature that the first layer leaves can die).
        norm_eps: Epsilon of the layer norms.
        drop_rate: Dropout of the tokens, the attention's output and the MLP's output, and before the head.
        attn_drop_rate: Dropout of the attention weights.

    Example:
        >>> EEGformerConfig(in_chans=19, num_samples=1000).num_features
        973
        >>> EEGformerConfig(num_samples=20)
        Traceback (most recent call last):
            ...
        evermodels.core.errors.ConfigError: ...num_samples...more than 27...
    """

    in_chans: int = 30
    num_samples: int = 1000
    num_classes: int = 0
    detrend: Literal["linear", "constant", "none"] = "linear"
    scale: Literal["zscore", "fixed"] = "zscore"
    unit: float = 10.0
    num_filters: int = 120
    kernel_size: int = 10
    num_convs: int = 3
    multiply: Literal["last", "first"] = "last"
    activation: Literal["identity", "relu", "elu", "gelu", "log_power"] = "relu"
    dim: int = 240
    depth: int = 4
    num_heads: int = 8
    mlp_ratio: float = 4.0
    position: Literal["learned", "sinusoid"] = "learned"
    num_segments: int = 10
    temporal_dim: int | None = 768
    decoder_filters: int = 64
    decoder_activation: Literal["identity", "relu", "elu", "gelu"] = "gelu"
    norm_eps: float = 1e-6
    drop_rate: float = 0.0
    attn_drop_rate: float = 0.0

    def check(self) -> None:
        """Refuse sizes below one, windows shorter than the filters, and widths that do not divide."""
        self.at_least(1, "in_chans", "num_filters", "kernel_size", "num_convs", "depth", "num_heads", "decoder_filters")
        for key in ("depth", "num_convs"):
            if getattr(self, key) > 1000:
                raise self.refuse(key, "at most 1000")
        if self.num_features < 1:
            eaten = self.num_convs * (self.kernel_size - 1)
            raise self.refuse("num_samples", f"more than {eaten}, which {self.num_convs} layers of filters take away")
        if self.num_segments < 2 or self.num_segments % 2:
            raise self.refuse("num_segments", "an even number of at least 2")
        if self.dim < 1 or self.dim % self.num_heads or self.dim % self.num_segments:
            raise self.refuse("dim", f"a multiple of num_heads ({self.num_heads}) and num_segments")
        if self.temporal_width < 1 or self.temporal_width % self.num_heads:
            key = "num_filters" if self.temporal_dim is None else "temporal_dim"
            raise self.refuse(key, f"a multiple of num_heads ({self.num_heads})")
        self.positive("unit", "mlp_ratio", "norm_eps")
        self.rates("drop_rate", "attn_drop_rate")

    @property
    def num_features(self) -> int:
        """Length of a feature after the depthwise layers."""
        return self.num_samples - self.num_convs * (self.kernel_size - 1)

    @property
    def temporal_width(self) -> int:
        """Width of the temporal transformer's tokens."""
        return self.in_chans * self.num_filters if self.temporal_dim is None else self.temporal_dim


class DepthwiseConvolutions(nn.Module):
    """Filters along time for each channel by itself.

    Args:
        config: Channels, filters, taps, layers and activation.

    Example:
        >>> DepthwiseConvolutions(EEGformerConfig(in_chans=3, num_filters=8))(torch.zeros(2, 3, 100)).shape
        torch.Size([2, 3, 8, 73])
    """

    def __init__(self, config: EEGformerConfig) -> None:
        super().__init__()
        self.in_chans = s = config.in_chans
        wide, last = s * config.num_filters, config.num_convs - 1
        layers: list[nn.Module] = []
        width = s
        for i in range(config.num_convs):
            out = wide if i == (last if config.multiply == "last" else 0) else width
            between = config.activation == "log_power" and i < last
            activation = nn.Identity() if between else _ACTIVATIONS[config.activation]()
            layers += [nn.Conv1d(width, out, config.kernel_size, groups=width), activation]
            width = out
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Turn ``(batch, S, L)`` into ``(batch, S, C, features)``."""
        return rearrange(self.layers(x), "batch (s c) time -> batch s c time", s=self.in_chans)


class AxisTransformer(nn.Module):
    """Map vectors to tokens, add positions along one axis, mix them in pre-norm blocks.

    Args:
        length: Tokens n.
        width_in: Length of the vectors.
        width: Width of the tokens.
        config: Depth, heads, rates and kind of positions.
    """

    pos_embed: Tensor

    def __init__(self, length: int, width_in: int, width: int, config: EEGformerConfig) -> None:
        super().__init__()
        self.proj = nn.Linear(width_in, width, bias=False)
        self.learned = config.position == "learned"
        if self.learned:
            self.pos_embed = nn.Parameter(torch.empty(1, length, width))
        self.drop = nn.Dropout(config.drop_rate)
        self.blocks = nn.ModuleList(
            TransformerBlock(
                width,
                config.num_heads,
                mlp_ratio=config.mlp_ratio,
                norm_eps=config.norm_eps,
                drop=config.drop_rate,
                attn_drop=config.attn_drop_rate,
            )
            for _ in range(config.depth)
        )
        self.size = (length, width)

    def reset_parameters(self) -> None:
        """Draw the positions, and the linear weights after Glorot."""
        if self.learned:
            trunc_normal_(self.pos_embed, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def reset_buffers(self) -> None:
        """Rebuild fixed positions on the device of the parameters."""
        if self.learned:
            return
        device = self.proj.weight.device
        table = torch.empty(1, *self.size, device=device) if device.type == "meta" else sinusoid_table(*self.size)
        self.register_buffer("pos_embed", table.to(device), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Turn vectors ``(batch, n, width_in)`` into tokens ``(batch, n, width)``."""
        x = self.drop(self.proj(x) + self.pos_embed.to(x.dtype))
        for block in self.blocks:
            x = block(x)
        return x


class Decoder(nn.Module):
    """Three convolutions that take out the features, combine the channels and halve the segments.

    Args:
        config: Channels S, features C, segments M, filters N and the activation.
    """

    def __init__(self, config: EEGformerConfig) -> None:
        super().__init__()
        self.features = nn.Linear(config.num_filters, 1)
        self.channels = nn.Linear(config.in_chans, config.decoder_filters)
        self.segments = nn.Linear(config.num_segments, config.num_segments // 2)
        self.activation = _ACTIVATIONS[config.decoder_activation]()

    def forward(self, x: Tensor) -> Tensor:
        """Turn ``(batch, M, S, C)`` into ``(batch, M / 2 · N)``."""
        x = self.activation(self.features(x)[..., 0])
        x = self.activation(self.channels(x))
        return self.activation(self.segments(x.mT)).mT.flatten(1)


class EEGformer(Backbone):
    r"""EEGformer: what each channel's features say, how channels go together, and how both change over time.

    Source: Wan et al., *EEGformer: A transformer-based brain activity classification method using EEG signal*,
    Frontiers in Neuroscience 17 (2023), written from the paper; its authors published no code. With S channels, C
    features, width D and M segments:

    1. each channel of the window, its trend taken out and scaled, passes three depthwise convolutions of 1 × 10
       without padding: :math:`x \to z_3 \in \mathbb{R}^{S \times C \times L_e}`;
    2. *regional*: in each channel the C features are tokens, :math:`W x_{s,c} + e_c`, for K blocks;
    3. *synchronous*: for each feature the S channels are tokens, so that it sees what they do together;
    4. *temporal*: D is averaged into M segments, each of which is one token of S · C numbers;
    5. the decoder combines the features (C → 1), the channels (S → N) and the segments (M → M / 2); one linear layer
       classifies.

    The embedding is the decoder's output, :math:`M / 2 \cdot N` wide. Blocks are pre-norm with a residual around
    attention and around the MLP. Convolutions of the decoder have kernel 1 and so are linear layers here.
    :func:`evermodels.layers.attention_maps` gives each block's weights: how features, channels and segments attend to
    each other, by layer name (``synchronous.blocks.0.attn`` for channels: a row for each sample's feature).

    Args:
        config: An :class:`EEGformerConfig`.

    Raises:
        ConfigError: If ``config`` is something else.

    Example:
        >>> model = EEGformer.from_preset("eegformer_nano", in_chans=14, num_samples=640, num_classes=4).eval()
        >>> eeg = 20 * torch.randn(2, 14, 640)  # µV
        >>> model(eeg).shape, model.forward_features(eeg).shape
        (torch.Size([2, 4]), torch.Size([2, 8, 112]))
    """

    config_class = EEGformerConfig
    input = "eeg"
    axes = ("in_chans", "num_samples")
    presets: ClassVar[Mapping[str, EEGformerConfig]] = {
        "eegformer_nano": EEGformerConfig(
            in_chans=19,
            num_samples=500,
            num_filters=8,
            dim=32,
            depth=2,
            num_heads=4,
            num_segments=8,
            temporal_dim=64,
            decoder_filters=16,
        ),
        "eegformer_tiny": EEGformerConfig(
            num_filters=32, dim=120, depth=3, num_heads=4, temporal_dim=192, decoder_filters=32
        ),
        "eegformer_base": EEGformerConfig(),
    }

    def __init__(self, config: EEGformerConfig) -> None:
        super().__init__(config)
        c = config
        self.convolutions = DepthwiseConvolutions(c)
        self.regional = AxisTransformer(c.num_filters, c.num_features, c.dim, c)
        self.synchronous = AxisTransformer(c.in_chans, c.dim, c.dim, c)
        whole = c.in_chans * c.num_filters
        self.temporal = AxisTransformer(c.num_segments, whole, c.temporal_width, c)
        self.back = nn.Identity() if c.temporal_dim is None else nn.Linear(c.temporal_dim, whole)
        self.decoder = Decoder(c)
        self.head_drop = nn.Dropout(c.drop_rate)
        self.head = self.make_head()
        self.reset_parameters()
        self.reset_buffers()

    @property
    def embed_dim(self) -> int:
        """Width of the embedding, half the segments times the decoder's filters."""
        return self.config.num_segments // 2 * self.config.decoder_filters

    @property
    def step_dim(self) -> int:
        """Width of a segment's token, channels times features."""
        return self.config.in_chans * self.config.num_filters

    def reset_parameters(self) -> None:
        """Draw all weights so that signals keep their size: torch's own draws shrink them a hundredfold."""
        for part in (self.regional, self.synchronous, self.temporal):
            part.reset_parameters()
        rectified = self.config.activation in ("relu", "elu", "gelu")
        for module in (*self.convolutions.modules(), *self.decoder.modules(), self.back):
            if isinstance(module, nn.Conv1d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu" if rectified else "linear")
            elif isinstance(module, nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if isinstance(module, (nn.Conv1d, nn.Linear)) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def reset_buffers(self) -> None:
        """Rebuild fixed positions on the device of the parameters."""
        for part in (self.regional, self.synchronous, self.temporal):
            part.reset_buffers()

    def normalise(self, x: Tensor) -> Tensor:
        """Take out each channel's trend and scale it, in float32 at least.

        Args:
            x: EEG in µV, ``(batch, channels, time)``.

        Returns:
            The same shape, without unit.
        """
        c: EEGformerConfig = self.config
        y = x.to(torch.promote_types(x.dtype, torch.float32))
        if c.detrend != "none":
            y = y - y.mean(dim=2, keepdim=True)
        if c.detrend == "linear":
            slope = torch.linspace(-1, 1, y.shape[2], dtype=y.dtype, device=y.device)
            y = y - (y @ slope)[..., None] * slope / slope.square().sum()
        if c.scale == "zscore":
            y = y * (y.var(dim=2, keepdim=True, correction=0) + _FLAT).rsqrt()
        else:
            y = y / c.unit
        return y.to(x.dtype)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the temporal transformer's tokens.

        Args:
            x: EEG in µV, ``(batch, channels, time)``.

        Returns:
            One token for each segment, ``(batch, M, S · C)``.

        Raises:
            ShapeError: If the window differs from ``in_chans`` and ``num_samples``.
        """
        c: EEGformerConfig = self.config
        check_axes("eeg", x, "batch channels time", channels=c.in_chans, time=c.num_samples)
        z = self.convolutions(self.normalise(x))
        z = self.regional(rearrange(z, "batch s c time -> (batch s) c time"))
        z = self.synchronous(rearrange(z, "(batch s) c d -> (batch c) s d", s=c.in_chans))
        z = reduce(
            z, "(batch c) s (m d) -> batch m (s c)", "mean", c=c.num_filters, m=c.num_segments
        )  # averaged along D, as the paper shortens its temporal axis
        return self.back(self.temporal(z))

    def pool(self, x: Tensor) -> Tensor:
        """Return what the decoder makes of the tokens.

        Args:
            x: Tokens, ``(batch, M, S · C)``.
        """
        segments = rearrange(x, "batch m (s c) -> batch m s c", s=self.config.in_chans)
        return self.decoder(segments)
