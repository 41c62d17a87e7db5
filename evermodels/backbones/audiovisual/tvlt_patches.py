"""TVLT's two ways to tokens: patches of frames and of a spectrogram, with their positions and nothing after them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from einops import rearrange
from timm.layers import resample_abs_pos_embed, trunc_normal_
from torch import Tensor, nn
from torch.nn import functional as F

from evermodels.backbones.audiovisual.spectrogram_patches import SpectrogramPatchEmbed, patch_grid
from evermodels.backbones.base import Backbone
from evermodels.backbones.video.clip_encoder import MOST_TOKENS
from evermodels.core.config import Config
from evermodels.core.errors import check_axes
from evermodels.core.specs import InputSpec, VideoSpec


@dataclass(frozen=True)
class FramePatchesConfig(Config):
    """Configuration of :class:`FramePatches`; the defaults are TVLT's, 8 frames of 224².

    Args:
        num_frames: Frames per clip.
        img_size: Height and width in pixels, multiples of ``patch_size``.
        patch_size: Side of a patch in pixels.
        in_chans: Colours.
        num_classes: Classes of the head; 0 for the embedding.
        embed_dim: Width of a token.

    Example:
        >>> FramePatchesConfig(img_size=(64, 32)).grid
        (8, 4, 2)
    """

    num_frames: int = 8
    img_size: tuple[int, int] = (224, 224)
    patch_size: int = 16
    in_chans: int = 3
    num_classes: int = 0
    embed_dim: int = 768

    def check(self) -> None:
        """Refuse sizes that patches do not divide."""
        self.at_least(1, "num_frames", "img_size", "patch_size", "in_chans", "embed_dim")
        if any(side % self.patch_size for side in self.img_size):
            raise self.refuse("img_size", f"a height and width that are multiples of patch_size ({self.patch_size})")
        if (tokens := math.prod(self.grid)) > MOST_TOKENS:
            raise self.refuse("img_size", f"a clip of at most {MOST_TOKENS:,} tokens, not {tokens:,}")

    @property
    def input_spec(self) -> InputSpec:
        """What recordings must look like: clips of any length, colours in -1..1."""
        half = (0.5, 0.5, 0.5)
        return InputSpec(video=VideoSpec(num_frames=self.num_frames, size=self.img_size, mean=half, std=half))

    @property
    def grid(self) -> tuple[int, int, int]:
        """Frames, and patches along height and width."""
        height, width = self.img_size
        return self.num_frames, height // self.patch_size, width // self.patch_size


@dataclass(frozen=True)
class SpectrogramPatchesConfig(Config):
    """Configuration of :class:`SpectrogramPatches`; the defaults are TVLT's patches on 1024 frames of 128 mel bands.

    Args:
        in_chans: Channels of the spectrogram, for EEG its electrodes.
        input_size: Frequencies and frames.
        patch_size: Height (frequency) and width (time) of a patch.
        num_classes: Classes of the head; 0 for the embedding.
        embed_dim: Width of a token.

    Example:
        >>> SpectrogramPatchesConfig(input_size=(128, 100)).grid  # time, frequency
        (7, 8)
    """

    in_chans: int = 1
    input_size: tuple[int, int] = (128, 1024)
    patch_size: tuple[int, int] = (16, 16)
    num_classes: int = 0
    embed_dim: int = 768

    def check(self) -> None:
        """Refuse sizes below one."""
        self.at_least(1, "in_chans", "input_size", "patch_size", "embed_dim")
        if (tokens := math.prod(self.grid)) > MOST_TOKENS:
            raise self.refuse("input_size", f"a spectrogram of at most {MOST_TOKENS:,} tokens, not {tokens:,}")

    @property
    def grid(self) -> tuple[int, int]:
        """Patches along time and frequency; what they do not divide is padded."""
        return patch_grid(self.input_size, self.patch_size)


def moments(table: Tensor, want: int) -> Tensor:
    """Bring a table over time to another length: its first rows, or stretched (linear) where it is too short.

    Args:
        table: ``(1, have, dim)``.
        want: Rows that are wanted.
    """
    return table[:, :want] if table.shape[1] >= want else stretched(table, want)


def stretched(table: Tensor, want: int) -> Tensor:
    """Interpolate the rows of a table, ``(1, have, dim)``, linearly; unchanged where they are as many.

    Args:
        table: ``(1, have, dim)``.
        want: Rows that are wanted.
    """
    if table.shape[1] == want:
        return table
    resampled = F.interpolate(table.float().mT, size=want, mode="linear", align_corners=False)
    return resampled.mT.to(table.dtype).contiguous()


class FramePatches(Backbone):
    """TVLT's video embedding: patches of each frame, with learned positions in the frame and in time.

    Source: Tang et al., "TVLT: Textless Vision-Language Transformer", NeurIPS 2022. It is a tokeniser: the
    transformer comes after both modalities are joined (:class:`~evermodels.models.TVLT`). Alone it is a linear model of
    the mean patch, for tests of what a transformer adds.

    Args:
        config: A :class:`FramePatchesConfig`.

    Raises:
        ConfigError: If ``config`` is something else.

    Example:
        >>> import torch
        >>> model = FramePatches.from_preset("frame_patches_nano", num_classes=4)
        >>> model(torch.zeros(2, 8, 3, 64, 64)).shape, model.forward_features(torch.zeros(2, 8, 3, 64, 64)).shape
        (torch.Size([2, 4]), torch.Size([2, 128, 96]))
    """

    config_class = FramePatchesConfig
    input = "video"
    presets: ClassVar[Mapping[str, FramePatchesConfig]] = {
        "frame_patches_nano": FramePatchesConfig(img_size=(64, 64), embed_dim=96),
        "frame_patches_base": FramePatchesConfig(),
    }

    def __init__(self, config: FramePatchesConfig) -> None:
        super().__init__(config)
        frames, rows, columns = config.grid
        self.proj = nn.Conv2d(config.in_chans, config.embed_dim, config.patch_size, stride=config.patch_size)
        self.pos_embed = nn.Parameter(torch.empty(1, rows * columns, config.embed_dim))
        self.temporal_embed = nn.Parameter(torch.empty(1, frames, config.embed_dim))
        for table in (self.pos_embed, self.temporal_embed):
            trunc_normal_(table, std=0.02)
        self.head = self.make_head()

    @classmethod
    def sizes_for(cls, shape: Sequence[int]) -> dict[str, Any]:
        """Return the frames and their size.

        Args:
            shape: ``(frames, 3, height, width)``.
        """
        return {"num_frames": shape[0], "img_size": tuple(shape[2:])}

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """``(frames, 3, height, width)``."""
        return self.config.input_spec.shape("video")

    def taken_over(self, state: Mapping[str, Tensor], config: FramePatchesConfig) -> dict[str, Tensor]:
        """Bring the positions to this model's frames and picture: the first frames, or stretched; bicubic.

        Args:
            state: Weights by name.
            config: The configuration of the encoder that they come from.
        """
        (_, *old), (frames, *new) = config.grid, self.config.grid
        own = {**state, "temporal_embed": moments(state["temporal_embed"], frames)}
        if old != new:
            own["pos_embed"] = resample_abs_pos_embed(own["pos_embed"], new, old, num_prefix_tokens=0)
        return own

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the tokens, frame by frame, then rows, then columns.

        Args:
            x: Frames in -1..1, ``(batch, frames, 3, height, width)``.

        Returns:
            ``(batch, n, embed_dim)``.

        Raises:
            ShapeError: If the clip differs from the configuration.
        """
        c: FramePatchesConfig = self.config
        height, width = c.img_size
        axes = "batch frames channels height width"
        check_axes("video", x, axes, frames=c.num_frames, channels=c.in_chans, height=height, width=width)
        tokens = rearrange(self.proj(x.flatten(0, 1)), "(batch t) dim h w -> batch t (h w) dim", t=c.num_frames)
        return (tokens + self.pos_embed[:, None] + self.temporal_embed[:, :, None]).flatten(1, 2)

    def visible(self, x: Tensor, blank: float) -> Tensor:
        """Return which patches are not blank, ``(batch, n)`` bool.

        Args:
            x: As :meth:`forward_features` takes it.
            blank: The value of padding.
        """
        side = self.config.patch_size
        patches = rearrange(x, "batch t c (h p) (w q) -> batch (t h w) (c p q)", p=side, q=side)
        return patches.mean(dim=2) != blank

    def step_mask(self, mask: Tensor) -> Tensor:
        """Return which tokens are of valid frames, ``(batch, n)`` bool.

        Args:
            mask: Valid frames, ``(batch, frames)`` bool.
        """
        _, rows, columns = self.config.grid
        return mask.repeat_interleave(rows * columns, dim=1)


class SpectrogramPatches(Backbone):
    """TVLT's audio embedding: patches of a spectrogram, with learned positions in time and in frequency.

    Source: Tang et al., "TVLT: Textless Vision-Language Transformer", NeurIPS 2022. For EEG the electrodes are
    the channels of one spectrogram. Like :class:`FramePatches` a tokeniser.

    Args:
        config: A :class:`SpectrogramPatchesConfig`.

    Raises:
        ConfigError: If ``config`` is something else.

    Example:
        >>> import torch
        >>> model = SpectrogramPatches.from_preset("spectrogram_patches_nano", num_classes=4)
        >>> model(torch.zeros(2, 19, 32, 16)).shape, model.forward_features(torch.zeros(2, 19, 32, 16)).shape
        (torch.Size([2, 4]), torch.Size([2, 16, 96]))
    """

    config_class = SpectrogramPatchesConfig
    input = "spectrogram"
    axes = ("in_chans", "input_size")
    presets: ClassVar[Mapping[str, SpectrogramPatchesConfig]] = {
        "spectrogram_patches_nano": SpectrogramPatchesConfig(
            in_chans=19, input_size=(32, 16), patch_size=(16, 2), embed_dim=96
        ),
        "spectrogram_patches_base": SpectrogramPatchesConfig(),
    }

    def __init__(self, config: SpectrogramPatchesConfig) -> None:
        super().__init__(config)
        moments, rows = config.grid
        self.patch_embed = SpectrogramPatchEmbed(
            config.in_chans, config.embed_dim, config.input_size, config.patch_size
        )
        self.pos_embed = nn.Parameter(torch.empty(1, moments, config.embed_dim))
        self.freq_embed = nn.Parameter(torch.empty(1, rows, config.embed_dim))
        for table in (self.pos_embed, self.freq_embed):
            trunc_normal_(table, std=0.02)
        self.head = self.make_head()

    def taken_over(self, state: Mapping[str, Tensor], config: SpectrogramPatchesConfig) -> dict[str, Tensor]:
        """Bring the positions to this model's spectrogram: the first moments, or stretched; frequencies stretched.

        Args:
            state: Weights by name.
            config: The configuration of the encoder that they come from.
        """
        del config
        count, rows = self.config.grid
        tables = {"pos_embed": moments(state["pos_embed"], count), "freq_embed": stretched(state["freq_embed"], rows)}
        return {**state, **tables}

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the tokens, moment by moment, low frequencies first.

        Args:
            x: ``(batch, channels, frequency, time)``.

        Returns:
            ``(batch, n, embed_dim)``.

        Raises:
            ShapeError: If the spectrogram differs from the configuration.
        """
        c: SpectrogramPatchesConfig = self.config
        frequency, time = c.input_size
        axes = "batch channels frequency time"
        check_axes("spectrogram", x, axes, channels=c.in_chans, frequency=frequency, time=time)
        tokens = self.patch_embed(x).unflatten(1, c.grid)
        return (tokens + self.pos_embed[:, :, None] + self.freq_embed[:, None]).flatten(1, 2)

    def visible(self, x: Tensor, blank: float) -> Tensor:
        """Return which patches are not blank, ``(batch, n)`` bool.

        Args:
            x: As :meth:`forward_features` takes it.
            blank: The value of padding.
        """
        high, wide = self.config.patch_size
        whole = self.patch_embed.padded(x, blank)  # what was added shows nothing
        patches = rearrange(whole, "batch c (t p) (f q) -> batch (t f) (c p q)", p=wide, q=high)
        return patches.mean(dim=2) != blank

    def step_mask(self, mask: Tensor) -> Tensor:
        """Return which tokens hold a valid frame, ``(batch, n)`` bool.

        Args:
            mask: Valid frames of the spectrogram, ``(batch, frames)`` bool.
        """
        c: SpectrogramPatchesConfig = self.config
        moments, rows = c.grid
        padded = F.pad(mask, (0, moments * c.patch_size[1] - c.input_size[1]))
        return padded.unflatten(1, (moments, -1)).any(dim=2).repeat_interleave(rows, dim=1)
