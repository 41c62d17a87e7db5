"""One token a channel: a perceptron over what each channel holds, the same for all."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from evermodels.backbones.base import Backbone
from evermodels.core.config import Config
from evermodels.core.errors import check_axes
from evermodels.core.kinds import KINDS


@dataclass(frozen=True)
class ChannelMLPConfig(Config):
    """Configuration of :class:`ChannelMLP`; the defaults are Milmer's on DEAP, three seconds at 128 Hz.

    Args:
        shape: Shape of a sample, the channels first: ``(channels, time)``, or ``(channels, frequency, time)``.
        embed_dim: Width of the tokens.
        hidden_dim: Width of the hidden layer.
        norm: Whether each channel is brought to mean 0 and variance 1 first, its amplitude with it.
        drop_rate: Dropout behind each layer.
        num_classes: Classes of the head; 0 for the embedding.

    Example:
        >>> ChannelMLPConfig(shape=(19,))
        Traceback (most recent call last):
            ...
        evermodels.core.errors.ConfigError: ChannelMLPConfig.shape: expected channels and one or more axes of 1 or ...
    """

    shape: tuple[int, ...] = (32, 384)
    embed_dim: int = 768
    hidden_dim: int = 768
    norm: bool = True
    drop_rate: float = 0.0
    num_classes: int = 0

    def check(self) -> None:
        """Refuse empty shapes and widths."""
        if len(self.shape) < 2 or min(self.shape) < 1:
            raise self.refuse("shape", "channels and one or more axes of 1 or more")
        self.at_least(1, "embed_dim", "hidden_dim")
        self.rates("drop_rate")


class ChannelMLP(Backbone):
    r"""EEG signals to one token a channel.

    Milmer, section 4.1: a perceptron brings the 384 samples of each channel of DEAP to the 768 of the visual tokens:

    .. math:: t_c = W_2 \, \mathrm{GELU}(W_1 \, \mathrm{LN}(x_c) + b_1) + b_2

    The paper says no more than "multi-layer perceptron": two layers and the norm are choices. The tokens keep the
    channels' order; the embedding is their mean (a choice, for the encoder alone).

    Args:
        config: A :class:`ChannelMLPConfig`.

    Raises:
        ConfigError: If ``config`` is something else.

    Example:
        >>> import torch
        >>> model = ChannelMLP(ChannelMLPConfig())
        >>> model.forward_features(torch.zeros(2, 32, 384)).shape, model(torch.zeros(2, 32, 384)).shape
        (torch.Size([2, 32, 768]), torch.Size([2, 768]))
    """

    config_class = ChannelMLPConfig
    input = "eeg"
    axes = ("shape",)
    presets: ClassVar[Mapping[str, ChannelMLPConfig]] = {
        "channel_mlp_tiny": ChannelMLPConfig(shape=(19, 1000), embed_dim=96, hidden_dim=96),
        "channel_mlp_base": ChannelMLPConfig(),
    }

    def __init__(self, config: ChannelMLPConfig) -> None:
        super().__init__(config)
        values = math.prod(config.shape[1:])
        self.norm = nn.LayerNorm(values) if config.norm else nn.Identity()
        self.fc1 = nn.Linear(values, config.hidden_dim)
        self.act = nn.GELU()
        self.drop = nn.Dropout(config.drop_rate)
        self.fc2 = nn.Linear(config.hidden_dim, config.embed_dim)
        self.head = self.make_head()

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the tokens.

        Args:
            x: ``(batch, channels, …)`` as ``shape`` says.

        Returns:
            ``(batch, channels, embed_dim)``.

        Raises:
            ShapeError: If it is of another shape.
        """
        axes = KINDS[self.input].axes
        check_axes(self.input, x, f"batch {' '.join(axes)}", **dict(zip(axes, self.config.shape, strict=False)))
        x = self.drop(self.act(self.fc1(self.norm(x.flatten(2)))))
        return self.drop(self.fc2(x))


class SpectrogramChannelMLP(ChannelMLP):
    """The same over the spectrogram of each channel; ours, for windows in which the phase says nothing.

    Args:
        config: A :class:`ChannelMLPConfig` with a ``shape`` of ``(channels, frequency, time)``.

    Raises:
        ConfigError: If ``config`` is something else.

    Example:
        >>> import torch
        >>> model = SpectrogramChannelMLP.from_preset("spectrogram_mlp_tiny")
        >>> model.forward_features(torch.zeros(2, 19, 32, 16)).shape
        torch.Size([2, 19, 96])
    """

    input = "spectrogram"
    # Spectrograms come standardised by frequency; a norm over a channel's own would take its energy away.
    presets: ClassVar[Mapping[str, ChannelMLPConfig]] = {
        "spectrogram_mlp_tiny": ChannelMLPConfig(shape=(19, 32, 16), embed_dim=96, hidden_dim=96, norm=False),
        "spectrogram_mlp_base": ChannelMLPConfig(shape=(32, 64, 64), norm=False),
    }
