"""Trimodal fusion: EEG, face video and speech through three transformers, weighed by one shared attention."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from evermodels import montage
from evermodels.backbones.video.frame_encoder import FrameEncoder
from evermodels.core.errors import ConfigError, quoted
from evermodels.core.outputs import EmotionOutput
from evermodels.core.presence import zero_absent
from evermodels.core.specs import AudioSpec, EEGSpec, InputSpec, VideoSpec
from evermodels.layers.shared_attention_fusion import SharedAttentionFusion
from evermodels.models.system import Given, System
from evermodels.models.system_config import EncoderConfig, LossConfig, SystemConfig

TAKES = ("eeg", "video", "audio")

_AUDIOSET = AudioSpec(mean=-4.2677393, std=2 * 4.5689974)
_EAV = InputSpec(
    window_seconds=5.0,
    eeg=EEGSpec(ch_names=montage.MONTAGES["eav"], sfreq=100.0, l_freq=0.5, h_freq=45.0),
    video=VideoSpec(num_frames=25, size=(224, 224)),
    audio=_AUDIOSET,
)


def _encoders() -> dict[str, EncoderConfig]:
    return {
        "eeg": EncoderConfig("eegformer_base"),
        "video": EncoderConfig("vit_frames_base"),
        "audio": EncoderConfig("ast_base"),
    }


@dataclass(frozen=True)
class TrimodalFusionConfig(SystemConfig):
    """Configuration of :class:`TrimodalFusion`; the defaults are the paper's encoders on windows of 5 s of EAV.

    Args:
        num_classes: Classes; 0 for the fused embedding.
        input_spec: EEG, video and audio, or any of them: with one there is no fusion and a linear head reads its
            embedding.
        encoders: Encoder of each: by default EEGformer, a ViT on each frame, AST.
        source_ch_names: EEG channels of the recordings, where they are others than the model's (default: its own).
        drop_rate: Dropout on the embeddings before the fusion.
        modality_drop_rate: Chance per sample, in training, that one of its modalities is hidden from the fusion.
        fusion: ``"shared_attention"`` (:class:`~evermodels.layers.SharedAttentionFusion`) or ``"concat"``, side by side
            into the head, as the comparison.
        dim: Width to which each embedding is brought by one linear layer, unless it has it.
        num_heads: Heads of the shared attention, a divisor of ``dim``.
        frame_voting: Whether each frame is fused and answers by itself, and the answers (logits) are averaged, where
            the video encoder reads frames one by one; off, their embeddings are averaged before the fusion. The paper's
            summary does not say (a choice). An encoder of whole clips has one answer in any case.
        audio_readout: ``"valid"``: ``masks["audio"]`` says which frames hold sound, and only they are heard, where the
            encoder can leave out others; ``"whole"``: padding is heard too, as by models of before this choice.

    Raises:
        ConfigError: For an unknown key, a wrong type or an impossible value.
        UnknownNameError: If a channel name is unknown or stands twice.

    Example:
        >>> TrimodalFusionConfig().replace(modalities=("audio",)).encoders["audio"].name
        'ast_base'
    """

    num_classes: int = 5
    input_spec: InputSpec = _EAV
    encoders: Mapping[str, EncoderConfig] = field(default_factory=_encoders)
    fusion: Literal["shared_attention", "concat"] = "shared_attention"
    dim: int = 768
    num_heads: int = 8
    frame_voting: bool = True
    audio_readout: Literal["whole", "valid"] = "whole"

    def check(self) -> None:
        """Refuse other modalities, and heads that do not divide the width."""
        if not set(self.modalities) <= set(TAKES):
            raise ConfigError(
                f"TrimodalFusionConfig.input_spec: expected any of {', '.join(TAKES)}, got "
                f"{quoted(', '.join(self.modalities))}."
            )
        super().check()
        self.at_least(1, "dim")
        if self.num_heads < 1 or self.dim % self.num_heads:
            raise self.refuse("num_heads", f"a divisor of dim ({self.dim})")


@dataclass(frozen=True)
class TrimodalLossConfig(LossConfig):
    """Loss of :class:`TrimodalFusion`: class-balanced cross-entropy; the paper's summary names none (a choice).

    Args:
        w_ce: Weight of the cross-entropy.
        w_focal: Weight of the focal loss.
        gamma: Exponent γ of the focal loss.
        beta: β of the effective number of samples (Cui et al., 2019) that the classes are weighed by.
        label_smoothing: Part of the target that is spread over all classes.
    """


class Concatenation(nn.Module):
    """All embeddings side by side, a learned token for each that is absent.

    Args:
        dim: Width of each.
        num_modalities: How many.
    """

    def __init__(self, dim: int, num_modalities: int) -> None:
        super().__init__()
        self.absent = nn.Parameter(torch.empty(num_modalities, dim))
        nn.init.normal_(self.absent, std=0.02)

    def forward(self, tokens: Tensor, present: Tensor | None = None) -> Tensor:
        """Turn ``(batch, modalities, dim)`` into ``(batch, modalities · dim)``."""
        if present is not None:
            tokens = torch.where(present[..., None], tokens, self.absent.to(tokens.dtype))
        return tokens.flatten(1)


class _Votes(NamedTuple):
    """What the video encoder says: an embedding of each frame, and which frames count."""

    frames: Tensor  # (batch, frames, dim)
    valid: Tensor | None  # (batch, frames)

    def mean(self, x: Tensor) -> Tensor:
        """Average ``(batch, frames, …)`` over the frames that count."""
        if self.valid is None:
            return x.mean(dim=1)
        weight = self.valid[..., None].to(x.dtype)
        return (x * weight).sum(dim=1) / weight.sum(dim=1).clamp_min(1)


_BASE = TrimodalFusionConfig(audio_readout="valid")
_TINY = TrimodalFusionConfig(
    num_classes=4,
    input_spec=InputSpec(
        window_seconds=5.0,
        eeg=EEGSpec(ch_names=montage.MONTAGES["eegmat"], sfreq=100.0),
        video=VideoSpec(num_frames=16, size=(64, 64)),
        audio=_AUDIOSET,
    ),
    encoders={
        "eeg": EncoderConfig("eegformer_nano"),
        "video": EncoderConfig("vit_frames_nano"),
        "audio": EncoderConfig("ast_nano"),
    },
    dim=64,
    audio_readout="valid",
    num_heads=4,
)


class TrimodalFusion(System):
    r"""EEG, face video and speech, each through a transformer of its own, weighed by one shared attention.

    Source: "EEG-based Multimodal Representation Learning for Emotion Recognition" (arXiv 2411.00822): a Vision
    Transformer on video frames, AST on the log-mel spectrogram, EEGformer on EEG, and a multi-head attention that all
    modalities share and that weighs each by context.

    .. math::
        x_m = W_m f_m(\cdot), \quad w, z_t = \mathrm{SharedAttention}(x_{eeg}, x_{video, t}, x_{audio}), \quad
        \text{logits} = W \frac{1}{T} \sum_t z_t + b

    over the frames :math:`t` of the video: each frame answers by itself and the answers are averaged
    (``frame_voting``). The weights of the modalities come back for each sample. Each encoder is any registered backbone
    that takes its modality. An absent modality has weight 0 and its content cannot matter
    (:class:`~evermodels.layers.SharedAttentionFusion`). :meth:`adapt_montage` carries the model to another headset.

    Args:
        config: A :class:`TrimodalFusionConfig`.

    Raises:
        ConfigError: If an encoder does not fit its modality.

    Example:
        >>> model = TrimodalFusion.from_preset("trimodal_tiny").eval()
        >>> eeg, video = 20 * torch.randn(2, 19, 500), torch.randn(2, 16, 3, 64, 64)
        >>> output = model(eeg=eeg, video=video, audio=torch.randn(2, 498, 128))
        >>> output.logits.shape, output.attention["modalities"].shape
        (torch.Size([2, 4]), torch.Size([2, 3]))
        >>> model(eeg=eeg, video=video).attention["modalities"][:, 2].tolist()  # no sound, no weight
        [0.0, 0.0]
    """

    config_class = TrimodalFusionConfig
    loss_config_class: ClassVar[type[LossConfig]] = TrimodalLossConfig
    masked: tuple[str, ...] = ("video", "audio")
    presets: ClassVar[Mapping[str, TrimodalFusionConfig]] = {"trimodal_tiny": _TINY, "trimodal_base": _BASE}
    captions: ClassVar[Mapping[str, str]] = {
        "modalities": "Weight with which each modality enters the fused embedding, mean over the heads of the shared "
        "attention and over the frames; the weights of a window sum to 1. A weight says where the values come from, "
        "not whether they decided.",
    }

    def __init__(self, config: TrimodalFusionConfig) -> None:
        super().__init__(config)
        self.drop = nn.Dropout(config.drop_rate)
        self.build_encoders(config.dim)
        self.masked = tuple(m for m in self.modalities if self._leaves_out(m))
        count = len(config.modalities)
        self.fusion: SharedAttentionFusion | Concatenation | None = None
        if count > 1 and config.fusion == "shared_attention":
            self.fusion = SharedAttentionFusion(config.dim, count, config.num_heads)
        elif count > 1:
            self.fusion = Concatenation(config.dim, count)
        self.head = self.make_head()

    def _leaves_out(self, modality: str) -> bool:
        """Whether frames of a modality can be left out."""
        if modality == "video":
            return isinstance(self.encoder("video"), FrameEncoder)
        return modality == "audio" and self.config.audio_readout == "valid" and self.encoder("audio").reads_masks

    @property
    def embed_dim(self) -> int:
        """Width of the fused embedding."""
        return self.config.dim * (len(self.modalities) if isinstance(self.fusion, Concatenation) else 1)

    def forward(
        self,
        eeg: Tensor | None = None,
        video: Tensor | None = None,
        audio: Tensor | None = None,
        *,
        present: Mapping[str, Tensor] | None = None,
        masks: Mapping[str, Tensor] | None = None,
    ) -> EmotionOutput:
        """Classify a batch.

        Args:
            eeg: EEG in µV, ``(batch, channels, time)``, channels in the order of ``input_spec.eeg.ch_names``; ``None``
                where the whole batch has none.
            video: Normalised frames, ``(batch, frames, 3, height, width)``; ``None`` where the whole batch has none.
            audio: Standardised log-mel spectrogram, ``(batch, frames, mels)``; ``None`` where the whole batch has none.
            present: Which samples have a modality, ``(batch,)`` bool by modality (default: all that are given).
            masks: ``"video"``: the valid frames, ``(batch, frames)`` bool; only they vote, and a sample without any has
                no video (:attr:`System.masked`). ``"audio"``: the frames with sound, where
                ``audio_readout`` is ``"valid"``.

        Returns:
            Logits, ``(batch, num_classes)``. ``embedding``: mean over the votes of what the fusion gives, ``(batch,
            dim)``. ``embeddings`` by modality, ``(batch, dim)``, after the projection, zero where absent.
            ``attention["modalities"]``, ``(batch, modalities)`` in the order of the input spec: sums to 1, 0 where
            absent; not with one modality or ``fusion="concat"``.

        Raises:
            ShapeError: If a shape is wrong or no modality is present.
            SignalError: If a value is not finite (checked in eager mode only).
            ConfigError: If a modality or mask comes that the model does not take.
        """
        given = self.given({"eeg": eeg, "video": video, "audio": audio}, present, masks)
        embeddings: dict[str, Tensor] = {}
        votes: _Votes | None = None
        for modality, x in given.inputs.items():
            if modality == "video" and isinstance(self.encoder("video"), FrameEncoder):
                votes = self._frames(x.to(self.dtype), given)
                embeddings[modality] = votes.mean(votes.frames)
            else:
                embeddings[modality] = self.encode(modality, x.to(self.dtype), given)
        return self._fused(embeddings, votes if self.config.frame_voting else None, self.hide(given))

    def _frames(self, video: Tensor, given: Given) -> _Votes:
        encoder, here, valid = self.encoder("video"), given.here("video"), given.masks.get("video")
        assert isinstance(encoder, FrameEncoder)  # asked by the caller
        project: nn.Module = self.get_submodule("video_projection")
        frames = project(encoder.pool_frames(encoder.forward_frames(video)))
        if valid is not None and here is not None:
            valid = valid | ~here[:, None]  # who has no video votes as often as the others
        return _Votes(zero_absent(frames, here), valid)

    def _fused(
        self, embeddings: dict[str, Tensor], votes: _Votes | None, present: Mapping[str, Tensor] | None
    ) -> EmotionOutput:
        some = next(iter(embeddings.values()))
        count = 1 if votes is None else votes.frames.shape[1]
        tokens = []
        for modality in self.modalities:
            if modality == "video" and votes is not None:
                token = self.drop(votes.frames)
            elif modality in embeddings:
                token = self.drop(embeddings[modality])[:, None].expand(-1, count, -1)
            else:
                token = some.new_zeros(1, 1, self.config.dim).expand(some.shape[0], count, -1)
            tokens.append(token)
        if self.fusion is None:
            fused, weights = tokens[0], None
        else:
            flags = None
            if present is not None:
                flags = torch.stack([present[m] for m in self.modalities], dim=1)
                flags = flags[:, None].expand(-1, count, -1).flatten(0, 1)
            answer = self.fusion(torch.stack(tokens, dim=2).flatten(0, 1), flags)
            fused, weights = (answer, None) if isinstance(answer, Tensor) else answer[:2]
            fused = fused.unflatten(0, (some.shape[0], count))
            weights = None if weights is None else weights.unflatten(0, (some.shape[0], count))
        embedding = fused[:, 0] if votes is None else votes.mean(fused)
        logits = self.classified(embedding)
        attention: dict[str, Tensor] = {}
        if weights is not None:
            attention["modalities"] = weights[:, 0] if votes is None else votes.mean(weights)
        return EmotionOutput(logits, embedding, embeddings, attention)
