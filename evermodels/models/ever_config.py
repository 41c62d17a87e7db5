"""EVER's configuration, and what it decides for the encoders and the inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from evermodels import montage
from evermodels.core import registry
from evermodels.core.config import Config, check_num_classes
from evermodels.core.errors import ConfigError
from evermodels.core.specs import EEGSpec, InputSpec, VideoSpec

Modality = Literal["eeg", "video"]


@dataclass(frozen=True)
class EVERConfig(Config):
    """Configuration of :class:`~evermodels.models.EVER`; the defaults are EVER on EAV (Table 2).

    Args:
        num_classes: Emotion classes L; 0 for the fused embedding.
        modalities: ``("eeg", "video")``, or one of them for the single encoder with a linear head (Table 3).
        fusion: ``"bih_gcn"`` (eq. 5-14) or ``"naive"``, concatenation and one linear layer (Table 3).
        eeg_encoder: Registered backbone that eats spectrograms or raw EEG.
        eeg_config: Values of the EEG encoder that differ from its preset.
        video_encoder: Registered backbone that eats video.
        video_config: Values of the video encoder that differ from its preset.
        dim: Width d of nodes and embeddings; a modality of another width gets a linear projection.
        ch_names: Channels in the model's order, any spelling; kept in the canonical one.
        source_ch_names: Channels of the recordings, where they are others than the model's (default: its own); see
            :meth:`EVER.adapt_montage`.
        region_scheme: How channels are grouped into regions.
        sfreq: Sampling rate in Hz.
        window_seconds: Length of an EEG window in seconds; other lengths run too, where the encoder eats spectrograms.
        n_fft: STFT window in samples (default: about one second).
        hop_length: STFT hop in samples (default: ``n_fft // 4``).
        spectrogram_size: Frequency × time to which spectrograms are resized.
        spectrogram_mean: Subtracted from every spectrogram, as Audio-Mamba does with its data set's mean.
        spectrogram_std: Divided by afterwards.
        spectrogram_norm: ``"scalar"`` (only the two numbers above) or ``"channel_frequency"``: afterwards each channel
            and frequency is standardised by its statistics over the training people (:meth:`EVER.fit_statistics`).
        squared_change: Whether the EEG encoder also gets, as further channels of the spectrogram, how far each rhythm
            lies from its mean, whichever way (:class:`~evermodels.layers.SquaredChange`).
        channel_drop_rate: Chance per channel, in training, that its standardised spectrogram is set to 0.
        num_frames: Frames per clip.
        img_size: Height and width of a frame.
        self_loops: Whether the graphs of stage 1 and stage 2 have self loops.
        local_mask: Whether stage 1 stays within regions; off is "w/o Stage1 M^local" of Table 4.
        region_edges: Whether stage 2 has edges between regions; off is "w/o Stage2 (z_rk, z_rk')" of Table 4, which
            changes next to nothing by construction (:class:`~evermodels.layers.BIHGCN`).
        directed: Whether stage 2's mask holds only in the direction printed in eq. 12; the literal reading of the
            paper with ``self_loops=(True, False)``.
        readout: ``"global"`` (eq. 14) or ``"with_regions"``, where the regions' logits are read too.
        global_layers: Graph convolutions of stage 2: 1 (eq. 13) or 2.
        activation: Non-linearity of stage 1.
        alignment: Alignment loss between the embeddings (Table 5); :meth:`EVER.make_loss` uses it.
        align_weight: Its weight w_align.
        drop_rate: Dropout on both embeddings before the fusion.
        modality_drop_rate: Chance per sample, in training, that one of the two modalities is hidden from the fusion, so
            that the learned tokens of absent modalities are trained.
        l_freq: Lower edge of the band-pass that the recording passes first, in Hz.
        h_freq: Upper edge in Hz.
        notch: Mains frequency to remove in Hz.
        reference: ``"as recorded"`` or ``"average"``.
        scale: ``"none"`` or ``"zscore"``, per channel and window.
        whiten: Whether each channel's spectrum is divided by the person's own first.
        baseline: State of the baseline that the person's own spectrum is taken from, such as ``"rest"``; ``""`` for
            recordings of all states together.
        face_crop: Whether faces are cut out of the frames.

    Raises:
        ConfigError: For an unknown key, a wrong type or an impossible value.
        UnknownNameError: If a channel name is unknown or stands twice.

    Example:
        >>> config = EVERConfig(ch_names=("EEG T3", "Cz"), sfreq=250.0)
        >>> config.ch_names, config.window_length, config.regions()
        (('T7', 'Cz'), 250, {'temporal': [0], 'central': [1]})
    """

    num_classes: int = 5
    modalities: tuple[Modality, ...] = ("eeg", "video")
    fusion: Literal["bih_gcn", "naive"] = "bih_gcn"
    eeg_encoder: str = "audio_mamba_tiny"
    eeg_config: Mapping[str, Any] = field(default_factory=dict)
    video_encoder: str = "adamae_base"
    video_config: Mapping[str, Any] = field(default_factory=dict)
    dim: int = 768
    ch_names: tuple[str, ...] = montage.MONTAGES["eav"]
    source_ch_names: tuple[str, ...] | None = None
    region_scheme: str = "lobes"
    sfreq: float = 200.0
    window_seconds: float = 20.0
    n_fft: int | None = None
    hop_length: int | None = None
    spectrogram_size: tuple[int, int] = (128, 128)
    spectrogram_mean: float = 0.0
    spectrogram_std: float = 1.0
    spectrogram_norm: Literal["scalar", "channel_frequency"] = "scalar"
    squared_change: bool = False
    channel_drop_rate: float = 0.0
    num_frames: int = 32
    img_size: tuple[int, int] = (224, 224)
    self_loops: tuple[bool, bool] = (True, True)
    local_mask: bool = True
    region_edges: bool = True
    directed: bool = False
    readout: Literal["global", "with_regions"] = "global"
    global_layers: Literal[1, 2] = 1
    activation: Literal["relu", "gelu", "elu", "tanh", "identity"] = "relu"
    alignment: Literal["none", "correlation", "coral", "mmd"] = "correlation"
    align_weight: float = 0.5
    drop_rate: float = 0.0
    modality_drop_rate: float = 0.0
    l_freq: float | None = None
    h_freq: float | None = None
    notch: float | None = None
    reference: Literal["as recorded", "average"] = "as recorded"
    scale: Literal["none", "zscore"] = "none"
    whiten: bool = False
    baseline: str = ""
    face_crop: bool = True

    def check(self) -> None:
        """Bring channel names to canonical spelling and refuse what cannot work."""
        self._check_channels()
        for key in ("eeg_config", "video_config"):  # JSON has lists only; loaded must equal saved
            plain = {k: tuple(v) if isinstance(v, list) else v for k, v in getattr(self, key).items()}
            object.__setattr__(self, key, plain)
        if not self.modalities or len(set(self.modalities)) != len(self.modalities):
            raise self.refuse("modalities", '"eeg", "video" or both, each once')
        object.__setattr__(self, "modalities", tuple(m for m in ("eeg", "video") if m in self.modalities))
        check_num_classes(self.num_classes, "EVERConfig.num_classes")
        if self.dim < 1:
            raise self.refuse("dim", "at least 1")
        if self.spectrogram_std <= 0:
            raise self.refuse("spectrogram_std", "a positive number")
        if min(self.spectrogram_size) < 1:
            raise self.refuse("spectrogram_size", "a positive frequency and time size")
        if self.align_weight < 0:
            raise self.refuse("align_weight", "0 or more")
        for key in ("channel_drop_rate", "drop_rate", "modality_drop_rate"):
            if not 0 <= getattr(self, key) < 1:
                raise self.refuse(key, "a number in [0, 1)")
        spec = self.input_spec()
        if spec.eeg is not None and not 2 <= self.window_length <= spec.eeg.num_samples:
            allowed = f"between 2 and the {spec.eeg.num_samples} samples of a window, or None"
            raise ConfigError(f"EVERConfig.n_fft: expected {allowed}, got {self.window_length}.")
        if spec.eeg is not None and self.fusion == "bih_gcn" and spec.video is not None and not self.regions():
            raise self.refuse("ch_names", "at least one channel that lies in a region of the head (BIH-GCN needs one)")

    def _check_channels(self) -> None:
        object.__setattr__(self, "ch_names", montage.canonical_all(self.ch_names))
        if self.source_ch_names is not None:
            if "eeg" not in self.modalities:
                raise self.refuse("source_ch_names", "None, as this EVER takes no EEG")
            source = montage.canonical_all(self.source_ch_names)
            object.__setattr__(self, "source_ch_names", None if source == self.ch_names else source)

    @property
    def window_length(self) -> int:
        """STFT window in samples: ``n_fft``, or about one second."""
        return round(self.sfreq) if self.n_fft is None else self.n_fft

    @property
    def both(self) -> bool:
        """Whether there are two modalities to fuse."""
        return len(self.modalities) == 2

    @property
    def recorded_ch_names(self) -> tuple[str, ...]:
        """Channels that come in: those of the recordings, or the model's own."""
        return self.ch_names if self.source_ch_names is None else self.source_ch_names

    def regions(self) -> dict[str, list[int]]:
        """Return the indices of the model's channels by region."""
        return montage.regions(self.ch_names, self.region_scheme)

    def input_spec(self) -> InputSpec:
        """Return what recordings must look like."""
        # Raw channels are interpolated; EVER refers and scales them afterwards, itself.
        raw = self.source_ch_names is not None
        eeg = EEGSpec(
            ch_names=self.recorded_ch_names,
            sfreq=self.sfreq,
            window_seconds=self.window_seconds,
            l_freq=self.l_freq,
            h_freq=self.h_freq,
            notch=self.notch,
            reference="as recorded" if raw else self.reference,
            scale="none" if raw else self.scale,
            whiten=self.whiten,
            baseline=self.baseline,
        )
        video = VideoSpec(num_frames=self.num_frames, size=self.img_size, face_crop=self.face_crop)
        return InputSpec(
            eeg=eeg if "eeg" in self.modalities else None, video=video if "video" in self.modalities else None
        )

    def build_encoder(self, modality: Modality) -> Any:
        """Build the encoder of a modality without a head, told the sizes of the input kind that it declares.

        Args:
            modality: ``"eeg"`` or ``"video"``.

        Raises:
            UnknownNameError: If the encoder is not in the registry.
            ConfigError: If it eats something else, or its configuration repeats a size that EVER decides.
        """
        name, overrides = getattr(self, f"{modality}_encoder"), dict(getattr(self, f"{modality}_config"))
        cls = registry.model_class(name)
        kind: str = getattr(cls, "input", "nothing that EVER knows")
        channels = len(self.ch_names)
        maps = channels * (2 if self.squared_change else 1)
        sizes: dict[str, dict[str, Any]] = {
            "spectrogram": {"in_chans": maps, "input_size": self.spectrogram_size},
            "eeg": {"in_chans": channels, "num_samples": round(self.sfreq * self.window_seconds)},
            "video": {"num_frames": self.num_frames, "img_size": self.img_size},
        }
        eatable = ("video",) if modality == "video" else ("spectrogram", "eeg")
        if kind not in eatable:
            raise ConfigError(
                f"EVERConfig.{modality}_encoder: expected a backbone whose input is {' or '.join(map(repr, eatable))}, "
                f"got {name!r} (input {kind!r})."
            )
        for key in (*sizes[kind], "num_classes"):
            if key in overrides:
                raise ConfigError(
                    f"EVERConfig.{modality}_config: {key!r} is decided by EVER's own fields; leave it out and set "
                    "ch_names, spectrogram_size, sfreq, window_seconds, num_frames or img_size instead."
                )
        return cls.from_preset(name, num_classes=0, **sizes[kind], **overrides)
