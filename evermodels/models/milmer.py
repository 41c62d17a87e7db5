"""Milmer: the frames that say most, brought to few tokens, and EEG channels, fused by a transformer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from timm.layers import Mlp
from torch import Tensor, nn

from evermodels import montage
from evermodels.backbones.video.frame_encoder import FrameEncoder
from evermodels.core.config import Config
from evermodels.core.errors import ConfigError, quoted
from evermodels.core.outputs import EmotionOutput
from evermodels.core.presence import zero_absent
from evermodels.core.specs import EEGSpec, InputSpec, VideoSpec
from evermodels.layers import SpectrogramFrontEnd, TokenCompressor, TopKAMIL, TransformerBlock
from evermodels.losses import EmotionLoss
from evermodels.models.system import Given, System
from evermodels.models.system_config import EncoderConfig, LossConfig, SystemConfig

_DEAP = InputSpec(
    window_seconds=3.0,
    eeg=EEGSpec(ch_names=montage.MONTAGES["deap"], sfreq=128.0, l_freq=1.0, h_freq=50.0),
    video=VideoSpec(num_frames=10, size=(224, 224)),
)


@dataclass(frozen=True)
class SpectrogramConfig(Config):
    """Spectrograms of EEG for an encoder that takes them; see :class:`~evermodels.layers.SpectrogramFrontEnd`.

    Args:
        size: Frequency × time.
        n_fft: STFT window in samples (default: about one second).
        norm: ``"scalar"`` or ``"channel_frequency"``, standardised by the training people
            (:meth:`System.fit_statistics`).
        squared_change: Whether each channel also gives the map of how far its rhythms lie from their mean.
        drop_rate: Chance per map, in training, that it is set to 0.
    """

    size: tuple[int, int] = (64, 64)
    n_fft: int | None = None
    norm: Literal["scalar", "channel_frequency"] = "channel_frequency"
    squared_change: bool = False
    drop_rate: float = 0.0

    def check(self) -> None:
        """Refuse empty sizes and what is no rate."""
        if min(self.size) < 1:
            raise self.refuse("size", "a positive frequency and time size")
        if self.n_fft is not None and self.n_fft < 2:
            raise self.refuse("n_fft", "at least 2 samples, or None")
        self.rates("drop_rate")


def _encoders() -> dict[str, EncoderConfig]:
    return {"eeg": EncoderConfig("channel_mlp_base"), "video": EncoderConfig("swin_frames_tiny")}


@dataclass(frozen=True)
class MilmerConfig(SystemConfig):
    """Configuration of :class:`~evermodels.models.Milmer`; the defaults are those on DEAP (section 4.1).

    Args:
        num_classes: Emotion classes n; 0 for the fused embedding.
        input_spec: EEG and video, or one of them (Table 5, without the other half).
        encoders: For EEG a backbone of raw EEG or of spectrograms whose tokens are fused, one a channel in the paper;
            for video one that reads each frame by itself, so that frames can be chosen. Of one that reads the clip as a
            whole, such as VideoMAE, all tokens are taken and nothing is chosen.
        source_ch_names: Channels of the recordings, where they are others than the model's (default: its own).
        drop_rate: Dropout before the classifier (a choice; the paper names none).
        modality_drop_rate: Chance per sample, in training, that one of the two modalities is hidden from the fusion.
        spectrogram: Spectrograms, where the EEG encoder takes them.
        dim: Width of all tokens; an encoder of another width gets a linear projection.
        selection: Frames that are fused: ``"top_k"`` (MIL, eq. 1-3), ``"even"`` (K evenly spaced: Table 6, "multiple
            picture"), ``"single"`` (the middle one: "single picture") or ``"all"``.
        k: How many of them.
        score: What attention looks at: the ``"mean"`` token of a frame or all of them (``"flatten"``).
        score_dim: Rows L of V.
        gradient: How the gradient passes the choice: ``"straight_through"``, or ``"none"``, with which V and w stay as
            they were drawn.
        integration: What becomes of the visual tokens (Table 4): ``"cross_attention"``, ``"mlp"`` (four-fold width and
            back) or ``"none"``.
        num_queries: Tokens N behind the cross-attention.
        fusion: ``"transformer"``, ``"concatenation"`` of both means, or ``"deep_cca"``: both means are projected to
            ``cca_dim``, side by side, and their correlation is in the loss (Table 5).
        cca_dim: Width of those projections.
        depth: Blocks of the fusion (a choice; the paper gives none).
        num_heads: Heads of the fusion and of the cross-attention, a divisor of ``dim``.
        mlp_ratio: Hidden width of the fusion's MLP over ``dim``.
        fusion_drop_rate: Dropout inside the fusion's blocks.

    Raises:
        ConfigError: For an unknown key, a wrong type or an impossible value.
        UnknownNameError: If a channel name is unknown or stands twice.

    Example:
        >>> config = MilmerConfig()
        >>> config.k, config.num_queries, config.input_spec.shape("eeg"), len(config.ch_names)
        (3, 64, (32, 384), 32)
        >>> config.replace(modalities=("eeg",)).encoders.keys()
        dict_keys(['eeg'])
    """

    num_classes: int = 4
    input_spec: InputSpec = _DEAP
    encoders: Mapping[str, EncoderConfig] = field(default_factory=_encoders)
    spectrogram: SpectrogramConfig = field(default_factory=SpectrogramConfig)
    dim: int = 768
    selection: Literal["top_k", "even", "single", "all"] = "top_k"
    k: int = 3
    score: Literal["mean", "flatten"] = "mean"
    score_dim: int = 128
    gradient: Literal["straight_through", "none"] = "straight_through"
    integration: Literal["cross_attention", "mlp", "none"] = "cross_attention"
    num_queries: int = 64
    fusion: Literal["transformer", "concatenation", "deep_cca"] = "transformer"
    cca_dim: int = 32
    depth: int = 2
    num_heads: int = 12
    mlp_ratio: float = 4.0
    fusion_drop_rate: float = 0.0

    def check(self) -> None:
        """Refuse what cannot work."""
        if not set(self.modalities) <= {"eeg", "video"}:
            raise ConfigError(
                f"MilmerConfig.input_spec: expected eeg, video or both, got {quoted(', '.join(self.modalities))}."
            )
        super().check()
        self.at_least(1, "dim", "k", "score_dim", "num_queries", "cca_dim", "depth", "num_heads")
        if self.dim % self.num_heads:
            raise self.refuse("num_heads", f"a divisor of dim ({self.dim})")
        if self.mlp_ratio <= 0:
            raise self.refuse("mlp_ratio", "a positive number")
        self.rates("fusion_drop_rate")
        video = self.input_spec.video
        if video is not None and self.selection in ("top_k", "even") and self.k > video.num_frames:
            raise self.refuse("k", f"at most the {video.num_frames} frames of a clip")

    @property
    def both(self) -> bool:
        """Whether there are two modalities to fuse."""
        return len(self.modalities) == 2


@dataclass(frozen=True)
class MilmerLossConfig(LossConfig):
    """Milmer's loss: cross-entropy (eq. 4), and with ``fusion="deep_cca"`` the correlation of both projections.

    Args:
        w_ce: Weight of the cross-entropy.
        w_focal: Weight of the focal loss; 0, as the paper.
        gamma: Exponent γ of the focal loss.
        beta: β of the effective number of samples that classes are weighed by; 0, as the paper, weighs none.
        label_smoothing: Part of the target that is spread over all classes.
        cca_weight: Weight of DeepCCA's term (a choice).
    """

    beta: float = 0.0
    label_smoothing: float = 0.0
    cca_weight: float = 0.1

    def check(self) -> None:
        """Refuse negative weights and what lies outside [0, 1)."""
        super().check()
        if self.cca_weight < 0:
            raise self.refuse("cca_weight", "0 or more")


_BASE = MilmerConfig()
_TINY = MilmerConfig(
    num_classes=4,
    input_spec=InputSpec(
        window_seconds=5.0,
        eeg=EEGSpec(ch_names=montage.MONTAGES["eegmat"], sfreq=100.0),
        video=VideoSpec(num_frames=10, size=(64, 64)),
    ),
    # Of raw signals a perceptron learns the phase of its people's windows and nothing that holds on others.
    encoders={"eeg": EncoderConfig("spectrogram_mlp_tiny"), "video": EncoderConfig("swin_frames_nano")},
    spectrogram=SpectrogramConfig(size=(32, 16)),
    dim=96,
    score_dim=64,
    num_queries=32,
    cca_dim=8,
    num_heads=4,
    mlp_ratio=2.0,
)


class Milmer(System):
    r"""EEG-video emotion recognition by multiple-instance learning and a transformer.

    Source: "Milmer: a Framework for Multiple Instance Learning based Multimodal Emotion Recognition", section 3; from
    the paper alone.

    .. math::
        X_q = \mathrm{Swin}(I_q), \quad z = \mathrm{TopK}_q(X_q; V, w), \quad A = \mathrm{CA}(z), \quad
        t_c = \mathrm{MLP}(e_c), \quad
        y = W \, \mathrm{Transformer}([\mathrm{CLS}; t + p_e + m_e; A + p_v + m_v])_{\mathrm{CLS}}

    (eq. 1-3, section 3.3.3, section 3.4). Position embeddings p are learned, one a channel and one a visual token (the
    paper speaks of time steps, but its tokens are channels); m says the modality.

    Where the paper is silent: two blocks that normalise first; the score of a frame is that of its mean token; the
    gradient passes the choice straight through (:class:`~evermodels.layers.TopKAMIL`). Table 4 is ``integration`` and
    ``num_queries``, Table 5 the modalities and ``fusion``, Table 6 ``selection`` and ``integration``; its FT is where
    the video encoder's weights come from (:meth:`System.load_encoder`, ``init_from`` in a recipe).

    ``masks={"video": …}`` says which frames are valid. Fewer than K: all of them are fused, and a learned token stands
    in the places left over. None in a sample: its video counts as absent. All tokens of an absent modality are one
    learned token.

    Args:
        config: A :class:`MilmerConfig`.

    Attributes:
        absent: By modality the learned token that stands for what is not there.

    Raises:
        ConfigError: If an encoder does not fit its modality.

    Example:
        >>> import torch
        >>> model = Milmer.from_preset("milmer_tiny").eval()
        >>> output = model(eeg=torch.randn(2, 19, 500), video=torch.randn(2, 10, 3, 64, 64))
        >>> output.logits.shape, (output.attention["frames"] > 0).sum(1).tolist()
        (torch.Size([2, 4]), [3, 3])
        >>> model(eeg=torch.randn(2, 19, 500)).logits.shape  # no video at all
        torch.Size([2, 4])
    """

    config_class = MilmerConfig
    loss_config_class: ClassVar[type[LossConfig]] = MilmerLossConfig
    masked: tuple[str, ...] = ("video",)
    presets: ClassVar[Mapping[str, MilmerConfig]] = {"milmer_tiny": _TINY, "milmer_base": _BASE}
    captions: ClassVar[Mapping[str, str]] = {
        "frames": "How attention weighs the frames of each window (eq. 3): those with a weight were chosen and reach "
        "the answer, the others are 0 and do not. 1 is an equal share of all frames, chosen or not.",
    }

    def __init__(self, config: MilmerConfig) -> None:
        super().__init__(config)
        self.build_encoders(None)
        has_eeg, has_video = ("eeg" in config.modalities), ("video" in config.modalities)
        takes_maps = has_eeg and self.encoder("eeg").input == "spectrogram"
        self.spectrogram = self._front_end(config) if takes_maps else None
        self.by_frame = has_video and isinstance(self.encoder("video"), FrameEncoder)
        self.masked = ("video",) if self.by_frame else ()
        self.mil: TopKAMIL | None = None
        self.integration: nn.Module | None = None
        counts: dict[str, int] = {}
        for modality in self.modalities:
            counts[modality], width = self._tokens(modality)
            if width != config.dim:
                self.add_module(f"{modality}_projection", nn.Linear(width, config.dim))
        if has_video:
            if self.by_frame and config.selection == "top_k":
                tokens = self.encoder("video").config.tokens
                self.mil = TopKAMIL(
                    config.dim,
                    config.k,
                    hidden=config.score_dim,
                    score=config.score,
                    tokens=tokens,
                    gradient=config.gradient,
                )
            if config.integration == "cross_attention":
                self.integration = TokenCompressor(config.dim, config.num_queries, num_heads=config.num_heads)
                counts["video"] = config.num_queries
            elif config.integration == "mlp":
                self.integration = Mlp(config.dim, 4 * config.dim)
        self.absent = nn.ParameterDict({m: nn.Parameter(torch.empty(config.dim)) for m in self.modalities})
        self.cls: nn.Parameter | None = None
        self.positions, self.kinds = nn.ParameterDict(), nn.ParameterDict()
        self.blocks, self.cca = nn.ModuleList(), nn.ModuleDict()
        self.norm: nn.LayerNorm | None = None
        if config.fusion == "transformer" or not config.both:
            self._build_transformer(config, counts)
        elif config.fusion == "deep_cca":
            self.cca = nn.ModuleDict({m: nn.Linear(config.dim, config.cca_dim) for m in self.modalities})
        self.drop = nn.Dropout(config.drop_rate)
        self.head = self.make_head()
        self.reset_parameters()

    def _build_transformer(self, config: MilmerConfig, counts: Mapping[str, int]) -> None:
        self.cls = nn.Parameter(torch.empty(config.dim))
        self.positions = nn.ParameterDict({m: nn.Parameter(torch.empty(n, config.dim)) for m, n in counts.items()})
        self.kinds = nn.ParameterDict({m: nn.Parameter(torch.empty(config.dim)) for m in counts})
        self.blocks = nn.ModuleList(
            TransformerBlock(config.dim, config.num_heads, mlp_ratio=config.mlp_ratio, drop=config.fusion_drop_rate)
            for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(config.dim)

    @staticmethod
    def _front_end(config: MilmerConfig) -> SpectrogramFrontEnd:
        eeg, settings = config.input_spec.eeg, config.spectrogram
        assert eeg is not None
        n_fft = round(eeg.sfreq) if settings.n_fft is None else settings.n_fft
        if not 2 <= n_fft <= (samples := config.input_spec.shape("eeg")[1]):
            raise ConfigError(
                f"MilmerConfig.spectrogram.n_fft: expected between 2 and the {samples} samples of a window, got {n_fft}"
                f"{' (about one second)' if settings.n_fft is None else ''}. Give a smaller one, or longer windows."
            )
        return SpectrogramFrontEnd(
            len(config.ch_names),
            n_fft,
            None,
            settings.size,
            norm=settings.norm,
            squared_change=settings.squared_change,
            drop_rate=settings.drop_rate,
        )

    def _tokens(self, modality: str) -> tuple[int, int]:
        """Return how many tokens a modality's encoder gives, before any integration, and how wide they are."""
        config: MilmerConfig = self.config
        encoder = self.encoder(modality)
        if isinstance(encoder, FrameEncoder):
            frames = {"single": 1, "all": encoder.config.num_frames}.get(config.selection, config.k)
            return frames * encoder.config.tokens, encoder.embed_dim
        with torch.device("meta"), torch.no_grad():  # shapes alone: nothing is computed
            tokens = type(encoder)(encoder.config).eval().forward_features(torch.empty(1, *encoder.sample_shape))
        if tokens.ndim != 3:
            raise ConfigError(
                f"MilmerConfig.encoders.{modality}.name: expected an encoder whose forward_features gives (batch, n, "
                f"dim), got {tuple(tokens.shape)}."
            )
        return tokens.shape[1], tokens.shape[2]

    @property
    def embed_dim(self) -> int:
        """Width of the fused embedding."""
        config: MilmerConfig = self.config
        if config.fusion == "transformer" or not config.both:
            return config.dim
        return 2 * (config.cca_dim if config.fusion == "deep_cca" else config.dim)

    def reset_parameters(self) -> None:
        """Draw the learned tokens and embeddings; every other part has drawn its own."""
        tokens = [*self.absent.values(), *self.positions.values(), *self.kinds.values()]
        for token in tokens if self.cls is None else [*tokens, self.cls]:
            nn.init.normal_(token, std=0.02)

    def build_loss(self, loss: MilmerLossConfig, **options: Any) -> EmotionLoss:
        """Return the cross-entropy (eq. 4), with DeepCCA's term where that is the fusion.

        Args:
            loss: Its numbers.
            **options: ``class_weights``.
        """
        config: MilmerConfig = self.config
        return EmotionLoss(
            **options,
            w_ce=loss.w_ce,
            w_focal=loss.w_focal,
            gamma=loss.gamma,
            alignment="deep_cca" if config.both and config.fusion == "deep_cca" else "none",
            align_weight=loss.cca_weight,
            on_small_batch="zero",
            label_smoothing=loss.label_smoothing,
        )

    def front_ends(self) -> dict[str, Any]:
        """Return the spectrogram, where it has statistics."""
        needs = self.spectrogram is not None and self.spectrogram.needs_statistics
        found: dict[str, Any] = {"eeg": self.spectrogram} if needs else {}
        return found

    def encoder_shape(self, modality: str, kind: str) -> tuple[int, ...] | None:
        """Return the shape of one sample as an encoder gets it: also the spectrogram's, for EEG.

        Args:
            modality: Its name.
            kind: What the encoder takes.
        """
        config: MilmerConfig = self.config
        if modality == "eeg" and kind == "spectrogram" and config.input_spec.of("eeg").kind == "eeg":
            maps = len(config.ch_names) * (2 if config.spectrogram.squared_change else 1)
            return (maps, *config.spectrogram.size)
        return super().encoder_shape(modality, kind)

    def forward(
        self,
        eeg: Tensor | None = None,
        video: Tensor | None = None,
        *,
        present: Mapping[str, Tensor] | None = None,
        masks: Mapping[str, Tensor] | None = None,
    ) -> EmotionOutput:
        """Classify a batch.

        Args:
            eeg: EEG in µV, ``(batch, channels, time)``, channels in the order of ``input_spec.eeg.ch_names``; ``None``
                where the whole batch has none.
            video: Normalised frames, ``(batch, frames, 3, height, width)``; ``None`` where the whole batch has none.
            present: Which samples have a modality, ``(batch,)`` bool by modality (default: all that are given).
            masks: Which frames are valid, ``{"video": (batch, frames) bool}`` (default: all). What the others hold
                matters to nothing; a sample without any has no video (:attr:`System.masked`).

        Returns:
            Logits, ``(batch, num_classes)``. ``embeddings`` by modality, ``(batch, dim)``: the mean of the tokens that
            enter the fusion, with ``fusion="deep_cca"`` projected to ``cca_dim``; zero where absent. Where the video
            encoder reads frames, ``attention["frames"]``, ``(batch, frames)``: the weight of each frame (eq. 3), 0 for
            those not chosen, so that it sums to less than 1; equal shares where the choice is not learned.

        Raises:
            ShapeError: If a shape is wrong or no modality is present.
            SignalError: If a value is not finite (checked in eager mode only).
            ConfigError: If a modality or mask comes that the model does not take.
        """
        given = self.given({"eeg": eeg, "video": video}, present, masks)
        valid = given.masks.get("video")
        size = next(iter(given.inputs.values())).shape[0]
        tokens: dict[str, Tensor] = {}
        attention: dict[str, Tensor] = {}
        if "eeg" in given.inputs:
            tokens["eeg"] = self._eeg_tokens(given.inputs["eeg"])
        if "video" in given.inputs:
            tokens["video"], shown = self._video_tokens(given.inputs["video"].to(self.dtype), valid, given)
            attention = {} if shown is None else {"frames": shown}
        elif self.by_frame:
            attention = {"frames": self.absent["video"].new_zeros(size, self.config.input_spec.video.num_frames)}
        embeddings = {m: zero_absent(self._embedded(m, x.mean(dim=1)), given.here(m)) for m, x in tokens.items()}
        here = self.hide(given)
        if self.cls is not None:
            embedding = self._transformed(self.cls, tokens, here, size)
        else:
            embedding = torch.cat([self._stand_in(m, embeddings.get(m), here, size) for m in self.modalities], dim=1)
        logits = self.classified(self.drop(embedding))
        return EmotionOutput(logits, embedding, embeddings, attention)

    def _eeg_tokens(self, eeg: Tensor) -> Tensor:
        if self.spectrogram is not None:  # in float32 at the least, whatever the weights are
            eeg = self.spectrogram(eeg.double() if self.dtype == torch.float64 else eeg.float())
        projection: nn.Module = self.get_submodule("eeg_projection")
        tokens: Tensor = projection(self.encoder("eeg").forward_features(eeg.to(self.dtype)))
        return tokens

    def _video_tokens(self, video: Tensor, valid: Tensor | None, given: Given) -> tuple[Tensor, Tensor | None]:
        """Return the visual tokens that enter the fusion, and the weights of the frames."""
        encoder, projection = self.encoder("video"), self.get_submodule("video_projection")
        if not isinstance(encoder, FrameEncoder):
            tokens = projection(encoder.forward_features(video))
            return (tokens if self.integration is None else self.integration(tokens)), None
        if self.mil is not None:
            picked = self.mil(projection(encoder.forward_frames(video)), valid)
            chosen, there, weights = picked.chosen, picked.there, picked.chosen_weights
        else:
            places, there, weights = self._fixed(video, valid)
            chosen = projection(encoder.forward_frames(video[:, places]))  # the others are not even encoded
        tokens = self._integrated(chosen, None if valid is None else there)
        return tokens, zero_absent(weights.to(tokens.dtype), given.here("video"))

    def _fixed(self, video: Tensor, valid: Tensor | None) -> tuple[list[int], Tensor, Tensor]:
        """Return fixed places of frames, evenly spaced, which of them are valid, and equal weights of those."""
        n = video.shape[1]
        count = {"single": 1, "all": n}.get(self.config.selection, self.config.k)
        places = [(2 * i + 1) * n // (2 * count) for i in range(count)]
        every = torch.ones(video.shape[0], n, dtype=torch.bool, device=video.device)
        there = (every if valid is None else valid)[:, places]
        taken = torch.zeros(n, dtype=torch.bool, device=video.device)
        taken[places] = True
        weights = (taken & (every if valid is None else valid)).to(video.dtype)
        return places, there, weights / weights.sum(dim=1, keepdim=True).clamp_min(1)

    def _integrated(self, chosen: Tensor, there: Tensor | None) -> Tensor:
        """Return the chosen frames' tokens in one row; places without a frame hold a learned token."""
        tokens = chosen.flatten(1, 2)
        mask = None if there is None else there.repeat_interleave(chosen.shape[2], dim=1)
        if isinstance(self.integration, TokenCompressor):
            return self.integration(tokens, mask)
        if self.integration is not None:
            tokens = self.integration(tokens)
        return tokens if mask is None else torch.where(mask[..., None], tokens, self.absent["video"].to(tokens.dtype))

    def _embedded(self, modality: str, mean: Tensor) -> Tensor:
        return self.cca[modality](mean) if modality in self.cca else mean

    def _stand_in(self, modality: str, x: Tensor | None, here: Mapping[str, Tensor] | None, size: int) -> Tensor:
        """Return a modality's embedding, and the learned token where it is absent."""
        token = self._embedded(modality, self.absent[modality]).expand(size, -1)
        if x is None:
            return token
        return x if here is None else torch.where(here[modality][:, None], x, token.to(x.dtype))

    def _transformed(
        self, cls: Tensor, tokens: Mapping[str, Tensor], here: Mapping[str, Tensor] | None, size: int
    ) -> Tensor:
        """Return the class token behind the blocks."""
        sequence = [cls.expand(size, 1, -1)]
        for modality, positions in self.positions.items():
            token = self.absent[modality].expand(size, positions.shape[0], -1)
            x = tokens.get(modality)
            if x is None:
                x = token
            elif here is not None:
                x = torch.where(here[modality][:, None, None], x, token.to(x.dtype))
            sequence.append(x + positions + self.kinds[modality])
        x = torch.cat(sequence, dim=1)
        for block in self.blocks:
            x = block(x)
        assert self.norm is not None  # made with the class token
        fused: Tensor = self.norm(x[:, 0])
        return fused
