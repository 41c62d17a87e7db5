"""HiCMAE: a video and an audio encoder read at every depth, and a fusion in which each looks at the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from evermodels.core.outputs import EmotionOutput
from evermodels.core.presence import zero_absent
from evermodels.core.specs import InputSpec, VideoSpec
from evermodels.layers.cross_attention_block import CrossAttentionBlock
from evermodels.models.hicmae_foreign import formats
from evermodels.models.spectrogram_pair import SpectrogramPair, SpectrogramPairConfig, eav, small_eeg, sound
from evermodels.models.system import Given
from evermodels.models.system_config import EncoderConfig


def _encoders(heard: str = "eeg") -> dict[str, EncoderConfig]:
    own = {"embed_dim": 512, "depth": 10, "num_heads": 8}
    return {"video": EncoderConfig("videomae_base", own), heard: EncoderConfig("spectrogram_vit_base")}


_CLIP = VideoSpec(num_frames=16, size=(160, 160))


@dataclass(frozen=True)
class HiCMAEConfig(SpectrogramPairConfig):
    """Configuration of :class:`HiCMAE`; the defaults are HiCMAE-B with EEG of EAV in sound's place.

    Args:
        num_classes: Classes; 0 for the embedding.
        input_spec: Video, and EEG or sound.
        encoders: Encoder of each; those with ``forward_intermediates`` are read at every depth, others at their last.
        source_ch_names: EEG channels of the recordings, where they are others than the model's (default: its own).
        drop_rate: Dropout on what the classifier reads.
        modality_drop_rate: Chance per sample, in training, that one of the two modalities is hidden from the fusion.
        n_fft: STFT window in samples, where there is EEG (default: about one second).
        hop_length: STFT hop in samples (default: ``n_fft // 4``).
        spectrogram_size: Frequency × time to which spectrograms of EEG are resized.
        spectrogram_norm: ``"scalar"`` or ``"channel_frequency"``, by the statistics of the training people.
        dim: Width of the fusion's tokens; a modality of another width gets a linear projection.
        num_heads: Heads of the fusion's attention, a divisor of ``dim``.
        fusion_depth: Blocks of the fusion for each modality.
        mlp_ratio: Hidden width of the fusion's MLPs over ``dim``.
        norm_eps: Epsilon of the fusion's layer norms.

    Raises:
        ConfigError: For an unknown key, a wrong type or an impossible value.
        UnknownNameError: If a channel name is unknown or stands twice.

    Example:
        >>> HiCMAEConfig(num_heads=5)
        Traceback (most recent call last):
            ...
        evermodels.core.errors.ConfigError: ...num_heads: expected a divisor of dim (512), got 5.
    """

    input_spec: InputSpec = field(default_factory=lambda: eav(_CLIP))
    encoders: Mapping[str, EncoderConfig] = field(default_factory=_encoders)
    dim: int = 512
    num_heads: int = 8
    fusion_depth: int = 2
    mlp_ratio: float = 4.0
    norm_eps: float = 1e-6

    def check(self) -> None:
        """Refuse what cannot work."""
        super().check()
        self.at_least(1, "dim", "fusion_depth")
        if self.num_heads < 1 or self.dim % self.num_heads:
            raise self.refuse("num_heads", f"a divisor of dim ({self.dim})")
        self.positive("mlp_ratio", "norm_eps")


_BASE = HiCMAEConfig()
_TINY = HiCMAEConfig(
    num_classes=4,
    input_spec=small_eeg(VideoSpec(num_frames=16, size=(64, 64))),
    encoders={
        "video": EncoderConfig("videomae_nano", {"depth": 3}),
        "eeg": EncoderConfig("spectrogram_vit_nano"),
    },
    spectrogram_size=(32, 16),
    spectrogram_norm="channel_frequency",
    dim=96,
    num_heads=3,
    fusion_depth=1,
)


class HiCMAE(SpectrogramPair):
    r"""HiCMAE, fine-tuning form, with a spectrogram of EEG in sound's place.

    Source: Sun et al., "HiCMAE: Hierarchical Contrastive Masked Autoencoder for self-supervised Audio-Visual Emotion
    Recognition", Information Fusion 2024; EVER's benchmark, §4.1 (Tables 1 and 2), gives it EEG for sound.

    .. math::
        h_m = \sum_l \mathrm{softmax}(w_m)_l \, \mathrm{LN}(x_m^l), \quad
        v^{j+1} = B_v^j(v^j, s^j), \; s^{j+1} = B_s^j(s^j, v^j), \quad
        f = \mathrm{LN}[\bar h_v, \bar h_s, \bar v^J, \bar s^J]

    with :math:`x_m^l` the tokens of modality m after block l of its encoder, all through one norm; :math:`v^0, s^0` the
    last of them; B a block that looks first at the other modality and then at its own
    (:class:`~evermodels.layers.CrossAttentionBlock`), both directions from the same step's inputs; a bar the mean over
    tokens. A linear layer reads f.

    An absent modality is one learned token in the fusion, and the same token stands for its levels.
    :class:`HiCMAEAudio` takes sound and video, as published.

    Args:
        config: A :class:`HiCMAEConfig`.

    Raises:
        ConfigError: If an encoder does not fit its modality.

    Example:
        >>> import torch
        >>> model = HiCMAE.from_preset("hicmae_tiny").eval()
        >>> output = model(eeg=20 * torch.randn(2, 19, 500), video=torch.randn(2, 16, 3, 64, 64))
        >>> output.logits.shape, output.embedding.shape
        (torch.Size([2, 4]), torch.Size([2, 384]))
        >>> model.level_weights()["video"]  # how much each depth of the video encoder counts
        tensor([0.3333, 0.3333, 0.3333])
    """

    config_class = HiCMAEConfig
    foreign_formats = formats("eeg")
    presets: ClassVar[Mapping[str, HiCMAEConfig]] = {"hicmae_tiny": _TINY, "hicmae_base": _BASE}

    def __init__(self, config: HiCMAEConfig) -> None:
        super().__init__(config)
        self.build_parts(config.dim)
        names = ("video", self.spectral)  # in the order of the repository's concatenation
        depths = {m: self.encoder(m).num_intermediates for m in names}
        self.level_weight = nn.ParameterDict(
            {m: nn.Parameter(torch.full((n,), 1 / n)) for m, n in depths.items() if n > 1}
        )

        def block() -> CrossAttentionBlock:
            return CrossAttentionBlock(
                config.dim, config.num_heads, mlp_ratio=config.mlp_ratio, norm_eps=config.norm_eps
            )

        self.fusion: Any = nn.ModuleDict({m: nn.ModuleList(block() for _ in range(config.fusion_depth)) for m in names})
        self.fusion_norm = nn.ModuleDict({m: nn.LayerNorm(config.dim, eps=config.norm_eps) for m in names})
        self.fc_norm = nn.LayerNorm(self.embed_dim, eps=config.norm_eps)
        self.head = self.make_head()

    @property
    def embed_dim(self) -> int:
        """Width of the embedding."""
        return 4 * int(self.config.dim)

    def level_weights(self) -> dict[str, Tensor]:
        """Return how much each depth of an encoder counts, ``(depth,)`` by modality; they sum to 1."""
        return {m: w.detach().softmax(dim=0) for m, w in self.level_weight.items()}

    def forward(
        self,
        eeg: Tensor | None = None,
        video: Tensor | None = None,
        *,
        present: Mapping[str, Tensor] | None = None,
        masks: Mapping[str, Tensor] | None = None,
    ) -> EmotionOutput:
        """Classify a batch; see :meth:`fused`.

        Args:
            eeg: EEG in µV, ``(batch, channels, time)``; ``None`` where the whole batch has none.
            video: Normalised frames, ``(batch, frames, 3, height, width)``; ``None`` where the whole batch has none.
            present: Which samples have a modality, ``(batch,)`` bool by modality (default: all that are given).
            masks: None are taken.
        """
        return self.fused({"eeg": eeg, "video": video}, present, masks)

    def fused(
        self,
        inputs: Mapping[str, Tensor | None],
        present: Mapping[str, Tensor] | None,
        masks: Mapping[str, Tensor] | None,
    ) -> EmotionOutput:
        """Classify a batch of either pair.

        Args:
            inputs: What there is by modality.
            present: Which samples have a modality (default: all that are given).
            masks: None are taken.

        Returns:
            Logits, ``(batch, num_classes)``; ``embedding``, f, ``(batch, 4 dim)``; ``embeddings`` by modality, the mean
            token of all depths, ``(batch, dim)``, zero where absent.

        Raises:
            ShapeError: If a shape is wrong or no modality is present.
            SignalError: If a value is not finite (checked in eager mode only).
            ConfigError: If a modality or mask comes that the model does not take.
        """
        given = self.given(inputs, present, masks)
        tokens: dict[str, Tensor] = {}
        levels: dict[str, Tensor] = {}
        for modality, x in given.inputs.items():
            tokens[modality], levels[modality] = self._read(modality, self.made(modality, x))
        flags = self.hide(given)
        embeddings = {m: zero_absent(z, given.here(m)) for m, z in levels.items()}
        streams, summed = self._shown(tokens, levels, given, flags)
        embedding = self._fuse(streams, summed)
        return EmotionOutput(self.classified(self.drop(embedding)), embedding, embeddings)

    def _read(self, modality: str, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the last tokens, and the mean token of all depths."""
        found = self.encoder(modality).forward_intermediates(x)
        # The mean over tokens and the sum over depths change places: nothing of the size of all levels is made.
        means = [level.mean(dim=1) for level in found]
        level = means[-1]
        if modality in self.level_weight:
            level = torch.einsum("l,lbd->bd", self.level_weight[modality].softmax(dim=0), torch.stack(means))
        return self.projected(modality, found[-1]), self.projected(modality, level)

    def _shown(
        self,
        tokens: Mapping[str, Tensor],
        levels: Mapping[str, Tensor],
        given: Given,
        flags: Mapping[str, Tensor] | None,
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Put a learned token in the place of what is absent or hidden."""
        batch = next(iter(levels.values())).shape[0]
        streams, summed = {}, {}
        for modality in self.modalities:
            absent = self.absent[modality]
            if modality not in given.inputs:
                streams[modality], summed[modality] = absent.expand(batch, 1, -1), absent.expand(batch, -1)
            elif flags is None:
                streams[modality], summed[modality] = tokens[modality], levels[modality]
            else:
                here = flags[modality][:, None]
                streams[modality] = torch.where(here[..., None], tokens[modality], absent.to(self.dtype))
                summed[modality] = torch.where(here, levels[modality], absent.to(self.dtype))
        return streams, summed

    def _fuse(self, streams: Mapping[str, Tensor], summed: Mapping[str, Tensor]) -> Tensor:
        names = ("video", self.spectral)
        video, heard = streams["video"], streams[self.spectral]
        for see, hear in zip(self.fusion["video"], self.fusion[self.spectral], strict=True):
            video, heard = self.through((see,), video, heard), self.through((hear,), heard, video)
        fused = {"video": video, self.spectral: heard}
        means = [self.fusion_norm[m](fused[m]).mean(dim=1) for m in names]
        embedding: Tensor = self.fc_norm(torch.cat([*(summed[m] for m in names), *means], dim=1))
        return embedding


class HiCMAEAudio(HiCMAE):
    """HiCMAE as published, on sound and video; see :class:`HiCMAE`.

    Args:
        config: A :class:`HiCMAEConfig` with video and audio.

    Example:
        >>> import torch
        >>> model = HiCMAEAudio.from_preset("hicmae_audio_tiny").eval()
        >>> inputs = {m: torch.randn(2, *model.input_spec.shape(m)) for m in model.modalities}
        >>> model(**inputs).logits.shape
        torch.Size([2, 4])
    """

    takes = "audio"
    foreign_formats = formats("audio")
    presets: ClassVar[Mapping[str, HiCMAEConfig]] = {
        "hicmae_audio_tiny": _TINY.with_sound(
            sound(2.575, VideoSpec(num_frames=16, size=(64, 64)), n_mels=64), patch_size=(16, 16)
        ),
        # 256 frames of 128 bands
        "hicmae_audio_base": _BASE.with_sound(sound(2.575, _CLIP)),
    }

    def forward(  # type: ignore[override]  # each system's forward takes its own modalities
        self,
        video: Tensor | None = None,
        audio: Tensor | None = None,
        *,
        present: Mapping[str, Tensor] | None = None,
        masks: Mapping[str, Tensor] | None = None,
    ) -> EmotionOutput:
        """Classify a batch; see :meth:`HiCMAE.fused`.

        Args:
            video: Normalised frames, ``(batch, frames, 3, height, width)``; ``None`` where the whole batch has none.
            audio: Standardised log-mel spectrogram, ``(batch, frames, mels)``; ``None`` where the whole batch has none.
            present: Which samples have a modality, ``(batch,)`` bool by modality (default: all that are given).
            masks: None are taken.
        """
        return self.fused({"video": video, "audio": audio}, present, masks)
