"""VGGish: a small VGG over stretches of a log-mel spectrogram."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from evermodels.backbones.audio.vggish_foreign import FORMATS
from evermodels.backbones.base import Backbone
from evermodels.core.config import MOST_BLOCKS, Config
from evermodels.core.errors import check_axes
from evermodels.core.specs import AudioSpec, InputSpec

_POOLS = 4


@dataclass(frozen=True)
class VGGishConfig(Config):
    """Configuration of :class:`VGGish`; the defaults are the published network.

    Args:
        num_frames: Frames of the spectrogram, at least ``example_frames``.
        num_mels: Its mel bands, at least 16, as four poolings halve them.
        example_frames: Frames of a stretch that becomes one step, at least 16.
        example_hop: Frames from one stretch to the next; a rest that no whole stretch fits into is left out.
        widths: Channels of the four stages, each before a pooling.
        convs: Convolutions of each stage.
        hidden: Widths of the hidden linear layers.
        embed_dim: Width of a step.
        num_classes: Classes of the head; 0 for the embedding.
        drop_rate: Dropout between the linear layers; the published network has none.
        frame_seconds: Length of a frame; part of ``input_spec`` only, as are the next four. In a system the system's
            own input spec says it.
        window: What a frame is multiplied by.
        f_min: Lower edge of the lowest mel band in Hz.
        f_max: Upper edge of the highest; ``None`` for half of the rate.

    Example:
        >>> VGGishConfig(num_frames=498).num_steps
        5
        >>> VGGishConfig(num_frames=90)
        Traceback (most recent call last):
            ...
        evermodels.core.errors.ConfigError: ...num_frames...at least example_frames (96)...
    """

    num_frames: int = 96
    num_mels: int = 64
    example_frames: int = 96
    example_hop: int = 96
    widths: tuple[int, ...] = (64, 128, 256, 512)
    convs: tuple[int, ...] = (1, 1, 2, 2)
    hidden: tuple[int, ...] = (4096, 4096)
    embed_dim: int = 128
    num_classes: int = 0
    drop_rate: float = 0.0
    frame_seconds: float = 0.025
    window: Literal["hann", "hamming"] = "hann"
    f_min: float = 125.0
    f_max: float | None = 7500.0

    def check(self) -> None:
        """Refuse spectrograms that four poolings leave nothing of, and impossible sizes."""
        least = 2**_POOLS
        for key in ("num_mels", "example_frames"):
            if getattr(self, key) < least:
                raise self.refuse(key, f"at least {least}, as four poolings halve it")
        if self.num_frames < self.example_frames:
            raise self.refuse("num_frames", f"at least example_frames ({self.example_frames})")
        for key in ("widths", "convs"):
            if len(getattr(self, key)) != _POOLS or min(getattr(self, key)) < 1:
                raise self.refuse(key, f"{_POOLS} numbers of at least 1")
        if max(self.convs) > MOST_BLOCKS:
            raise self.refuse("convs", f"at most {MOST_BLOCKS} convolutions of a stage")
        self.at_least(1, "example_hop", "embed_dim")
        if any(width < 1 for width in self.hidden):
            raise self.refuse("hidden", "numbers of at least 1")
        self.rates("drop_rate")

    @property
    def num_steps(self) -> int:
        """Stretches of the spectrogram."""
        return 1 + (self.num_frames - self.example_frames) // self.example_hop

    @property
    def input_spec(self) -> InputSpec:
        """What recordings must look like: sound at 16 kHz, the window as long as the frames need."""
        audio = AudioSpec.vggish(
            n_mels=self.num_mels,
            frame_seconds=self.frame_seconds,
            window=self.window,
            f_min=self.f_min,
            f_max=self.f_max,
        )
        seconds = (self.num_frames - 1) * audio.hop_seconds + audio.frame_seconds
        return InputSpec(window_seconds=round(seconds, 6), audio=audio)


class VGGish(Backbone):
    r"""VGGish: stretches of a log-mel spectrogram through six convolutions and three linear layers, each a step.

    Source: Hershey et al., *CNN architectures for large-scale audio classification*, ICASSP 2017, and the release of
    its weights; MERCL, section 3.1.1, takes it for sound. A stretch of 0.96 s (96 frames of 64 mel bands) passes four
    stages of 3 × 3 convolutions with ReLU, each followed by a 2 × 2 max pooling, then linear layers of 4096, 4096 and
    128, each with ReLU, the last one too, as the released weights have it. Names of the state dict are those of the
    PyTorch release.

    Stretches follow each other (``example_hop``); :meth:`forward_features` returns one step for each, and the
    embedding is their mean (a choice: VGGish itself stops at the stretch).

    ``vggish_base`` takes VGGish's own spectrogram (:meth:`evermodels.core.specs.AudioSpec.vggish`). ``vggish_tiny``
    takes MERCL's: 20 mel bands, 50 ms every 10 ms, Hamming;
    magnitude, offset and the whole range of frequencies are choices there.

    Args:
        config: A :class:`VGGishConfig`.

    Raises:
        ConfigError: If ``config`` is something else.

    Example:
        >>> import torch
        >>> model = VGGish.from_preset("vggish_tiny", num_classes=4).eval()
        >>> log_mel = torch.zeros(2, 496, 20)
        >>> model(log_mel).shape, model.forward_features(log_mel).shape
        (torch.Size([2, 4]), torch.Size([2, 9, 64]))
    """

    config_class = VGGishConfig
    input = "log_mel"
    axes = ("num_frames", "num_mels")
    foreign_formats = FORMATS
    presets: ClassVar[Mapping[str, VGGishConfig]] = {
        "vggish_tiny": VGGishConfig(
            num_frames=496,
            num_mels=20,
            example_hop=48,
            widths=(16, 32, 64, 128),
            hidden=(128,),
            embed_dim=64,
            frame_seconds=0.05,
            window="hamming",
            f_min=20.0,
            f_max=None,
        ),
        "vggish_base": VGGishConfig(),
    }

    def __init__(self, config: VGGishConfig) -> None:
        super().__init__(config)
        layers: list[nn.Module] = []
        before = 1
        for width, count in zip(config.widths, config.convs, strict=True):
            for _ in range(count):
                layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU()]
                before = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        halved = 2**_POOLS
        flat = config.widths[-1] * (config.example_frames // halved) * (config.num_mels // halved)
        widths = [flat, *config.hidden, config.embed_dim]
        linear: list[nn.Module] = []
        for k in range(len(widths) - 1):
            linear += [nn.Linear(widths[k], widths[k + 1]), nn.ReLU()]
        self.embeddings = nn.Sequential(*linear)
        self.drop = nn.Dropout(config.drop_rate)
        self.head = self.make_head()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights after He, for ReLU; the last layer's bias is positive, or its ReLU would hide half of it."""
        for module in (*self.features, *self.embeddings):
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]  # made with a bias above
        nn.init.constant_(self.embeddings[-2].bias, 0.1)  # type: ignore[arg-type]  # likewise

    def step_mask(self, mask: Tensor) -> Tensor:
        """Return which steps hold a valid frame, ``(batch, steps)`` bool.

        Args:
            mask: Valid frames of the spectrogram, ``(batch, frames)`` bool.

        Raises:
            ShapeError: If it has another number of frames than the spectrogram.
        """
        c: VGGishConfig = self.config
        check_axes("mask", mask, "batch frames", frames=c.num_frames)
        return mask.unfold(1, c.example_frames, c.example_hop).any(-1)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return a step for each stretch.

        Args:
            x: Log-mel spectrogram, ``(batch, frames, mels)``.

        Returns:
            ``(batch, steps, embed_dim)``.

        Raises:
            ShapeError: If the spectrogram differs from ``num_frames`` and ``num_mels``.
        """
        c: VGGishConfig = self.config
        check_axes("audio", x, "batch frames mels", frames=c.num_frames, mels=c.num_mels)
        stretches = x.unfold(1, c.example_frames, c.example_hop).transpose(2, 3)
        maps = self.features[0](stretches.flatten(0, 1)[:, None])
        # Channels last: few channels are convolved faster, and the order below is no copy.
        maps = self.features[1:](maps.contiguous(memory_format=torch.channels_last))
        # Frames, mel bands, channels, as the weights were trained in TensorFlow.
        h: Tensor = maps.permute(0, 2, 3, 1).flatten(1)
        for layer in self.embeddings:
            h = layer(self.drop(h) if isinstance(layer, nn.Linear) else h)
        return h.unflatten(0, (-1, c.num_steps))
