"""TVLT: one transformer over patches of video and of a spectrogram, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from timm.layers import trunc_normal_
from torch import Tensor, nn

from evermodels.backbones.audiovisual.tvlt_patches import FramePatches, SpectrogramPatches
from evermodels.core.outputs import EmotionOutput
from evermodels.core.presence import zero_absent
from evermodels.core.specs import InputSpec, VideoSpec
from evermodels.layers.transformer_block import TransformerBlock
from evermodels.models.spectrogram_pair import SpectrogramPair, SpectrogramPairConfig, eav, in_order, small_eeg, sound
from evermodels.models.system import Given
from evermodels.models.system_config import EncoderConfig
from evermodels.models.tvlt_foreign import formats

_HALF = (0.5, 0.5, 0.5)


def _clip(size: int) -> VideoSpec:
    return VideoSpec(num_frames=8, size=(size, size), mean=_HALF, std=_HALF)  # colours in -1..1


def _encoders() -> dict[str, EncoderConfig]:
    return {"video": EncoderConfig("frame_patches_base"), "eeg": EncoderConfig("spectrogram_patches_base")}


@dataclass(frozen=True)
class TVLTConfig(SpectrogramPairConfig):
    """Configuration of :class:`TVLT`; the defaults are its base with EEG of EAV in sound's place.

    Args:
        num_classes: Classes; 0 for the embedding.
        input_spec: Video, and EEG or sound.
        encoders: What makes the tokens of each: by default patches with positions; a whole encoder's tokens too.
        source_ch_names: EEG channels of the recordings, where they are others than the model's (default: its own).
        drop_rate: Dropout on what the classifier reads.
        modality_drop_rate: Chance per sample, in training, that one of the two modalities is hidden from the fusion.
        n_fft: STFT window in samples, where there is EEG (default: about one second).
        hop_length: STFT hop in samples (default: ``n_fft // 4``).
        spectrogram_size: Frequency × time to which spectrograms of EEG are resized.
        spectrogram_norm: ``"scalar"`` or ``"channel_frequency"``, by the statistics of the training people.
        dim: Width of the tokens, a multiple of ``num_heads``; a modality of another width gets a linear projection.
        depth: Blocks of the joint transformer.
        num_heads: Attention heads.
        mlp_ratio: Hidden width of the MLPs over ``dim``.
        norm_eps: Epsilon of the layer norms.
        head_norm_eps: Epsilon of the head's layer norm.
        drop_path_rate: Stochastic depth of the last block; it grows linearly from 0.
        blank: Value of padding: a patch whose mean is exactly this is not looked at; ``None`` to look at all.
        class_token: ``"visible"``: every token looks at the class token; ``"first_patch"``: only where the
            spectrogram's first patch is not blank, as the authors' code has it by taking that patch's mask.
        pooler: Whether a linear layer with tanh stands between class token and head, as in the authors' code;
            ``transformers`` has none.

    Raises:
        ConfigError: For an unknown key, a wrong type or an impossible value.
        UnknownNameError: If a channel name is unknown or stands twice.

    Example:
        >>> TVLTConfig().replace(num_heads=5)
        Traceback (most recent call last):
            ...
        evermodels.core.errors.ConfigError: ...num_heads: expected a divisor of dim (768), got 5.
    """

    input_spec: InputSpec = field(default_factory=lambda: eav(_clip(224)))
    encoders: Mapping[str, EncoderConfig] = field(default_factory=_encoders)
    dim: int = 768
    depth: int = 12
    num_heads: int = 12
    mlp_ratio: float = 4.0
    norm_eps: float = 1e-6
    head_norm_eps: float = 1e-5
    drop_path_rate: float = 0.0
    blank: float | None = -1.0
    class_token: Literal["visible", "first_patch"] = "visible"
    pooler: bool = True

    def check(self) -> None:
        """Refuse what cannot work."""
        super().check()
        self.at_least(1, "dim", "depth")
        if self.num_heads < 1 or self.dim % self.num_heads:
            raise self.refuse("num_heads", f"a divisor of dim ({self.dim})")
        self.positive("mlp_ratio", "norm_eps", "head_norm_eps")
        self.rates("drop_path_rate")


_BASE = TVLTConfig()
_TINY = TVLTConfig(
    num_classes=4,
    input_spec=small_eeg(_clip(64)),
    encoders={"video": EncoderConfig("frame_patches_nano"), "eeg": EncoderConfig("spectrogram_patches_nano")},
    spectrogram_size=(32, 16),
    spectrogram_norm="channel_frequency",
    dim=96,
    depth=4,
    num_heads=3,
)


class TVLT(SpectrogramPair):
    r"""TVLT's encoder and classifier, with a spectrogram of EEG in sound's place.

    Source: Tang et al., "TVLT: Textless Vision-Language Transformer", NeurIPS 2022; EVER's benchmark, §4.1 (Tables
    1 and 2), gives it EEG for sound. Patches of each frame and of the spectrogram become tokens with learned positions
    (:class:`~evermodels.backbones.FramePatches`, :class:`~evermodels.backbones.SpectrogramPatches`), a vector for their
    modality is added, and one pre-norm transformer reads

    .. math:: [\mathrm{cls}, s_1, \ldots, s_n, v_1, \ldots, v_m]

    The class token after the last norm, through a linear layer with tanh, is the embedding; two linear layers with
    LayerNorm and GELU between them classify it. Blank patches (``blank``) and masked frames are asked by nobody.

    An absent modality is one learned token in the sequence. Where nothing of a sample could be looked at, it looks at
    its class token. :class:`TVLTAudio` takes sound and video, as published.

    Args:
        config: A :class:`TVLTConfig`.

    Raises:
        ConfigError: If an encoder does not fit its modality.

    Example:
        >>> import torch
        >>> model = TVLT.from_preset("tvlt_tiny").eval()
        >>> eeg, video = 20 * torch.randn(2, 19, 500), torch.rand(2, 8, 3, 64, 64)
        >>> output = model(eeg=eeg, video=video)
        >>> output.logits.shape, output.embedding.shape
        (torch.Size([2, 4]), torch.Size([2, 96]))
        >>> frames = torch.arange(8) < 5  # the last three are padding
        >>> model(eeg=eeg, video=video, masks={"video": frames.expand(2, 8)}).logits.shape
        torch.Size([2, 4])
    """

    config_class = TVLTConfig
    foreign_formats = formats("eeg")
    masked: tuple[str, ...] = ("video",)
    presets: ClassVar[Mapping[str, TVLTConfig]] = {"tvlt_tiny": _TINY, "tvlt_base": _BASE}

    def __init__(self, config: TVLTConfig) -> None:
        super().__init__(config)
        self.build_parts(config.dim)
        self.masked = tuple(m for m in type(self).masked if self.encoder(m).reads_masks)
        self.cls_token = nn.Parameter(torch.empty(1, 1, config.dim))
        self.type_embed = nn.ParameterDict({m: nn.Parameter(torch.empty(config.dim)) for m in self.modalities})
        for token in (self.cls_token, *self.type_embed.values()):
            trunc_normal_(token, std=0.02)
        steps = max(config.depth - 1, 1)
        self.blocks = nn.ModuleList(
            TransformerBlock(
                config.dim,
                config.num_heads,
                mlp_ratio=config.mlp_ratio,
                norm_eps=config.norm_eps,
                drop_path=config.drop_path_rate * i / steps,
            )
            for i in range(config.depth)
        )
        self.norm = nn.LayerNorm(config.dim, eps=config.norm_eps)
        self.pooler = nn.Linear(config.dim, config.dim) if config.pooler else None
        self.head = self.make_head()

    @property
    def embed_dim(self) -> int:
        """Width of the embedding."""
        return int(self.config.dim)

    def make_head(self) -> nn.Module | None:
        """Return a new classifier: two linear layers with LayerNorm and GELU between them."""
        if not self.config.num_classes:
            return None
        dim, eps = self.embed_dim, self.config.head_norm_eps
        norm = nn.LayerNorm(2 * dim, eps=eps)
        return nn.Sequential(nn.Linear(dim, 2 * dim), norm, nn.GELU(), nn.Linear(2 * dim, self.config.num_classes))

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
            video: Frames in -1..1, ``(batch, frames, 3, height, width)``; ``None`` where the whole batch has none.
            present: Which samples have a modality, ``(batch,)`` bool by modality (default: all that are given).
            masks: ``"video"``: valid frames, ``(batch, frames)`` bool.
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
            masks: Valid frames of video or of a log-mel spectrogram, ``(batch, frames)`` bool by modality
                (:attr:`System.masked`), where its encoder knows frames.

        Returns:
            Logits, ``(batch, num_classes)``; ``embedding``, the pooled class token, ``(batch, dim)``; ``embeddings`` by
            modality, the mean of its visible tokens after the last norm, ``(batch, dim)``, zero where absent.

        Raises:
            ShapeError: If a shape is wrong or no modality is present.
            SignalError: If a value is not finite (checked in eager mode only).
            ConfigError: If a modality or mask comes that the model does not take.
        """
        given = self.given(inputs, present, masks)
        flags = self.hide(given)
        parts = {m: self._tokens(m, given, flags) for m in in_order(self.modalities)}
        batch = next(iter(given.inputs.values())).shape[0]
        visible = [seen for _, seen in parts.values()]
        own = torch.ones_like(visible[0][:, :1])
        if self.config.class_token == "first_patch":
            own = visible[0][:, :1] | ~torch.cat(visible, dim=1).any(dim=1, keepdim=True)
        x = torch.cat([self.cls_token.expand(batch, -1, -1), *(tokens for tokens, _ in parts.values())], dim=1)
        looked = torch.cat([own, *visible], dim=1)
        x = self.through(self.blocks, x, looked)
        return self._answer(self.norm(x), parts, given)

    def _tokens(self, modality: str, given: Given, flags: Mapping[str, Tensor] | None) -> tuple[Tensor, Tensor]:
        """Return a modality's tokens, ``(batch, n, dim)``, and which of them are looked at, ``(batch, n)`` bool."""
        absent = self.absent[modality]
        if modality not in given.inputs:
            some = next(iter(given.inputs.values()))
            nothing = absent.expand(some.shape[0], 1, -1)
            return nothing, torch.ones(nothing.shape[:2], dtype=torch.bool, device=nothing.device)
        encoder, x = self.encoder(modality), self.made(modality, given.inputs[modality])
        tokens = self.projected(modality, encoder.forward_steps(x)) + self.type_embed[modality]
        visible = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        if self.config.blank is not None and isinstance(encoder, (FramePatches, SpectrogramPatches)):
            visible = encoder.visible(x, self.config.blank)
        if (mask := given.masks.get(modality)) is not None and (steps := encoder.step_mask(mask)) is not None:
            visible = visible & (steps | ~steps.any(dim=1, keepdim=True))  # silence alone is heard whole
        if flags is None:
            return tokens, visible
        here = flags[modality][:, None]
        first = torch.zeros_like(visible)
        first[:, 0] = True
        return torch.where(here[..., None], tokens, absent.to(tokens.dtype)), torch.where(here, visible, first)

    def _answer(self, x: Tensor, parts: Mapping[str, tuple[Tensor, Tensor]], given: Given) -> EmotionOutput:
        embedding = x[:, 0] if self.pooler is None else self.pooler(x[:, 0]).tanh()
        embeddings: dict[str, Tensor] = {}
        start = 1
        for modality, (tokens, visible) in parts.items():
            stop = start + tokens.shape[1]
            if modality in given.inputs:
                weight = visible[..., None].to(x.dtype)
                mean = (x[:, start:stop] * weight).sum(dim=1) / weight.sum(dim=1).clamp_min(1)
                embeddings[modality] = zero_absent(mean, given.here(modality))
            start = stop
        logits = self.classified(self.drop(embedding))
        return EmotionOutput(logits, embedding, {m: embeddings[m] for m in self.modalities if m in embeddings})


class TVLTAudio(TVLT):
    """TVLT on sound and video, as published; see :class:`TVLT`.

    The authors' spectrogram has 128 mel bands of sound at 44.1 kHz in -1..1; ours is the log-mel of the input spec.

    Args:
        config: A :class:`TVLTConfig` with video and audio.

    Example:
        >>> import torch
        >>> model = TVLTAudio.from_preset("tvlt_audio_tiny").eval()
        >>> inputs = {m: torch.randn(2, *model.input_spec.shape(m)) for m in model.modalities}
        >>> model(**inputs).logits.shape
        torch.Size([2, 4])
    """

    takes = "audio"
    foreign_formats = formats("audio")
    masked: tuple[str, ...] = ("video", "audio")
    presets: ClassVar[Mapping[str, TVLTConfig]] = {
        "tvlt_audio_tiny": _TINY.with_sound(sound(5.0, _clip(64), n_mels=64), patch_size=(16, 16)),
        "tvlt_audio_base": _BASE.with_sound(sound(10.255, _clip(224))),  # 1024 frames of 128 bands
    }

    def forward(  # type: ignore[override]  # each system's forward takes its own modalities
        self,
        video: Tensor | None = None,
        audio: Tensor | None = None,
        *,
        present: Mapping[str, Tensor] | None = None,
        masks: Mapping[str, Tensor] | None = None,
    ) -> EmotionOutput:
        """Classify a batch; see :meth:`TVLT.fused`.

        Args:
            video: Frames in -1..1, ``(batch, frames, 3, height, width)``; ``None`` where the whole batch has none.
            audio: Standardised log-mel spectrogram, ``(batch, frames, mels)``; ``None`` where the whole batch has none.
            present: Which samples have a modality, ``(batch,)`` bool by modality (default: all that are given).
            masks: ``"video"`` and ``"audio"``: valid frames, ``(batch, frames)`` bool.
        """
        return self.fused({"video": video, "audio": audio}, present, masks)
