"""HiCMAE's encoder of sound: VideoMAE's blocks over the patches of a spectrogram."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn

from torch import Tensor, nn

from evermodels.backbones.audiovisual.spectrogram_patches import SpectrogramPatchEmbed, patch_grid
from evermodels.backbones.video.clip_encoder import MOST_TOKENS
from evermodels.backbones.video.videomae import VideoMAE
from evermodels.core.config import Config
from evermodels.core.errors import ConfigError, check_axes


@dataclass(frozen=True)
class SpectrogramViTConfig(Config):
    """Configuration of :class:`SpectrogramViT`; the defaults are HiCMAE's base, 256 frames of 128 mel bands.

    Args:
        in_chans: Channels of the spectrogram, for EEG its electrodes.
        input_size: Frequencies and frames.
        patch_size: Height (frequency) and width (time) of a patch.
        num_classes: Classes of the head; 0 for the embedding.
        embed_dim: Width of the tokens, a multiple of ``num_heads``.
        depth: Number of blocks.
        num_heads: Attention heads.
        mlp_ratio: Hidden width of the MLP over ``embed_dim``.
        qkv_bias: Whether query and value (never the key) have a bias.
        init_values: Start of the layer scale; 0 for none.
        init_scale: Factor on the head's initial weights.
        norm_eps: Epsilon of the layer norms.
        fc_norm_eps: Epsilon of the norm after the pooling; ``None`` is ``norm_eps``.
        drop_rate: Dropout of the tokens, the attention's output and the MLP's output.
        attn_drop_rate: Dropout of the attention weights.
        drop_path_rate: Stochastic depth of the last block; it grows linearly from 0.
        head_drop_rate: Dropout before the head.

    Example:
        >>> SpectrogramViTConfig(in_chans=19, input_size=(32, 20), patch_size=(16, 8)).grid  # time, frequency
        (3, 2)
    """

    in_chans: int = 1
    input_size: tuple[int, int] = (128, 256)
    patch_size: tuple[int, int] = (16, 16)
    num_classes: int = 0
    embed_dim: int = 512
    depth: int = 10
    num_heads: int = 8
    mlp_ratio: float = 4.0
    qkv_bias: bool = True
    init_values: float = 0.0
    init_scale: float = 1.0
    norm_eps: float = 1e-6
    fc_norm_eps: float | None = None
    drop_rate: float = 0.0
    attn_drop_rate: float = 0.0
    drop_path_rate: float = 0.0
    head_drop_rate: float = 0.0

    def check(self) -> None:
        """Refuse sizes below one, heads that do not divide the width, and rates that are none."""
        self.at_least(1, "in_chans", "input_size", "patch_size", "embed_dim", "depth", "num_heads")
        if (tokens := math.prod(self.grid)) > MOST_TOKENS:
            raise self.refuse("input_size", f"a spectrogram of at most {MOST_TOKENS:,} tokens, not {tokens:,}")
        if self.embed_dim % self.num_heads:
            raise self.refuse("embed_dim", f"a multiple of num_heads ({self.num_heads})")
        self.positive("mlp_ratio", "norm_eps")
        if self.fc_norm_eps is not None:
            self.positive("fc_norm_eps")
        if self.init_values < 0:
            raise self.refuse("init_values", "0 (no layer scale) or a positive number")
        self.rates("drop_rate", "attn_drop_rate", "drop_path_rate", "head_drop_rate")

    @property
    def grid(self) -> tuple[int, int]:
        """Patches along time and frequency; what they do not divide is padded."""
        return patch_grid(self.input_size, self.patch_size)


class SpectrogramViT(VideoMAE):
    """VideoMAE's encoder with patches of a spectrogram for its tubelets, as HiCMAE reads sound.

    Source: Sun et al., "HiCMAE", Information Fusion 2024: the audio encoder is the video encoder's twin. Patches
    stand in order of time, low frequencies first in each moment; a fixed sinusoid over that index is added; the
    embedding is ``LayerNorm(mean over tokens)``. For EEG the electrodes are the channels of one spectrogram.

    Args:
        config: A :class:`SpectrogramViTConfig`.

    Raises:
        ConfigError: If ``config`` is something else.

    Example:
        >>> import torch
        >>> model = SpectrogramViT.from_preset("spectrogram_vit_nano", num_classes=4).eval()
        >>> model(torch.zeros(2, 19, 32, 16)).shape, model.forward_features(torch.zeros(2, 19, 32, 16)).shape
        (torch.Size([2, 4]), torch.Size([2, 8, 96]))
    """

    config_class = SpectrogramViTConfig
    input = "spectrogram"
    foreign_formats = ()
    presets: ClassVar[Mapping[str, Any]] = {
        "spectrogram_vit_nano": SpectrogramViTConfig(
            in_chans=19, input_size=(32, 16), patch_size=(32, 2), embed_dim=96, depth=3, num_heads=3
        ),
        "spectrogram_vit_small": SpectrogramViTConfig(embed_dim=384, num_heads=6),
        "spectrogram_vit_base": SpectrogramViTConfig(),
    }

    def make_pretraining(self, **values: Any) -> NoReturn:
        """Refuse: VideoMAE's masked pre-training rebuilds clips.

        Args:
            **values: Not looked at.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError(f"model.architecture: {type(self).__name__} has no pre-training here, got {sorted(values)}.")

    def make_patch_embed(self) -> nn.Module:
        """Return what cuts the spectrogram and projects each patch."""
        c: SpectrogramViTConfig = self.config
        return SpectrogramPatchEmbed(c.in_chans, c.embed_dim, c.input_size, c.patch_size)

    @classmethod
    def sizes_for(cls, shape: Sequence[int]) -> dict[str, Any]:
        """Return the channels and the size of the spectrogram.

        Args:
            shape: ``(channels, frequency, time)``.
        """
        return {"in_chans": shape[0], "input_size": tuple(shape[1:])}

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """``(channels, frequency, time)``."""
        return (self.config.in_chans, *self.config.input_size)

    def check_input(self, x: Tensor) -> None:
        """Refuse another spectrogram.

        Args:
            x: ``(batch, channels, frequency, time)``.

        Raises:
            ShapeError: If an axis differs.
        """
        channels, frequency, time = self.sample_shape
        axes = "batch channels frequency time"
        check_axes("spectrogram", x, axes, channels=channels, frequency=frequency, time=time)
