"""EVER's configuration, that of its loss, and how its first layout is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from evermodels import montage
from evermodels.core.config import Config
from evermodels.core.errors import ConfigError, quoted
from evermodels.core.specs import EEGSpec, InputSpec, VideoSpec
from evermodels.models.system import EncoderConfig, SystemConfig

_EAV = InputSpec(
    window_seconds=20.0,
    eeg=EEGSpec(ch_names=montage.MONTAGES["eav"], sfreq=200.0),
    video=VideoSpec(num_frames=32, size=(224, 224)),
)


def _encoders() -> dict[str, EncoderConfig]:
    return {"eeg": EncoderConfig("audio_mamba_tiny"), "video": EncoderConfig("adamae_base")}


@dataclass(frozen=True)
class EVERConfig(SystemConfig):
    """Configuration of :class:`~evermodels.models.EVER`; the defaults are EVER on EAV (Table 2).

    Args:
        num_classes: Emotion classes L; 0 for the fused embedding.
        input_spec: EEG and video, or one of them for the single encoder with a linear head (Table 3). Other window
            lengths run too, where the EEG encoder takes spectrograms.
        encoders: For EEG a backbone that takes spectrograms or raw EEG, for video one that takes video.
        source_ch_names: Channels of the recordings, where they are others than the model's (default: its own).
        drop_rate: Dropout on both embeddings before the fusion.
        modality_drop_rate: Chance per sample, in training, that one of the two modalities is hidden from the fusion, so
            that the learned tokens of absent modalities are trained.
        fusion: ``"bih_gcn"`` (eq. 5-14) or ``"naive"``, concatenation and one linear layer (Table 3).
        dim: Width d of nodes and embeddings; a modality of another width gets a linear projection.
        region_scheme: How channels are grouped into regions.
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

    Raises:
        ConfigError: For an unknown key, a wrong type or an impossible value.
        UnknownNameError: If a channel name is unknown or stands twice.

    Example:
        >>> config = EVERConfig().replace(ch_names=("EEG T3", "Cz"), sfreq=250.0)
        >>> config.ch_names, config.window_length, config.regions()
        (('T7', 'Cz'), 250, {'temporal': [0], 'central': [1]})
        >>> config.replace(modalities=("eeg",)).encoders.keys()
        dict_keys(['eeg'])
    """

    num_classes: int = 5
    input_spec: InputSpec = _EAV
    encoders: Mapping[str, EncoderConfig] = field(default_factory=_encoders)
    fusion: Literal["bih_gcn", "naive"] = "bih_gcn"
    dim: int = 768
    region_scheme: str = "lobes"
    n_fft: int | None = None
    hop_length: int | None = None
    spectrogram_size: tuple[int, int] = (128, 128)
    spectrogram_mean: float = 0.0
    spectrogram_std: float = 1.0
    spectrogram_norm: Literal["scalar", "channel_frequency"] = "scalar"
    squared_change: bool = False
    channel_drop_rate: float = 0.0
    self_loops: tuple[bool, bool] = (True, True)
    local_mask: bool = True
    region_edges: bool = True
    directed: bool = False
    readout: Literal["global", "with_regions"] = "global"
    global_layers: Literal[1, 2] = 1
    activation: Literal["relu", "gelu", "elu", "tanh", "identity"] = "relu"
    alignment: Literal["none", "correlation", "coral", "mmd"] = "correlation"
    align_weight: float = 0.5

    def check(self) -> None:
        """Refuse what cannot work."""
        super().check()
        if not set(self.modalities) <= {"eeg", "video"}:
            raise self.refuse("input_spec", "EEG, video or both")
        if self.dim < 1:
            raise self.refuse("dim", "at least 1")
        if self.spectrogram_std <= 0:
            raise self.refuse("spectrogram_std", "a positive number")
        if min(self.spectrogram_size) < 1:
            raise self.refuse("spectrogram_size", "a positive frequency and time size")
        if self.align_weight < 0:
            raise self.refuse("align_weight", "0 or more")
        if not 0 <= self.channel_drop_rate < 1:
            raise self.refuse("channel_drop_rate", "a number in [0, 1)")
        if self.input_spec.eeg is None:
            return
        if self.input_spec.eeg.features is not None:
            raise self.refuse("input_spec", "EEG signals, not features of them")
        samples = self.input_spec.shape("eeg")[1]
        if not 2 <= self.window_length <= samples:
            allowed = f"between 2 and the {samples} samples of a window, or None"
            raise ConfigError(f"EVERConfig.n_fft: expected {allowed}, got {self.window_length}.")
        if self.both and self.fusion == "bih_gcn" and not self.regions():
            raise self.refuse("input_spec", "at least one channel in a region of the head (BIH-GCN needs one)")

    @property
    def window_length(self) -> int:
        """STFT window in samples: ``n_fft``, or about one second."""
        eeg = self.input_spec.eeg
        return round(eeg.sfreq) if self.n_fft is None and eeg is not None else self.n_fft or 0

    @property
    def both(self) -> bool:
        """Whether there are two modalities to fuse."""
        return len(self.modalities) == 2

    def regions(self) -> dict[str, list[int]]:
        """Return the indices of the model's channels by region."""
        return montage.regions(self.ch_names, self.region_scheme) if self.ch_names else {}


@dataclass(frozen=True)
class EVERLossConfig(Config):
    """EVER's loss, eq. 18-19 (weights from section 4.1 and Table 7; γ and β are the design's choice).

    Args:
        w_ce: Weight of the class-balanced cross-entropy.
        w_focal: Weight of the focal loss.
        gamma: Exponent γ of the focal loss.
        beta: β of the effective number of samples (Cui et al., 2019); the paper gives none.
        label_smoothing: Part of the cross-entropy's target that is spread over all classes.
        on_small_batch: What a batch gives that is too small to be aligned: ``"error"`` or ``"zero"``.
    """

    w_ce: float = 0.9
    w_focal: float = 0.1
    gamma: float = 2.0
    beta: float = 0.999
    label_smoothing: float = 0.0
    on_small_batch: Literal["error", "zero"] = "error"

    def check(self) -> None:
        """Refuse negative weights and a β outside [0, 1)."""
        for key in ("w_ce", "w_focal", "gamma"):
            if getattr(self, key) < 0:
                raise self.refuse(key, "0 or more")
        for key in ("beta", "label_smoothing"):
            if not 0 <= getattr(self, key) < 1:
                raise self.refuse(key, "a number in [0, 1)")


_EEG_1 = ("ch_names", "sfreq", "l_freq", "h_freq", "notch", "reference", "scale", "whiten", "baseline")
_VIDEO_1 = {"num_frames": "num_frames", "img_size": "size", "face_crop": "face_crop"}
_COLOURS = ("mean", "std", "margin")


def from_format_1(config: Mapping[str, Any], input_spec: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return today's configuration of one of checkpoint format 1, in which channels, rates and sizes stood beside it.

    Args:
        config: The configuration of the file.
        input_spec: The input spec that stood beside it in the file, in which only the colours could differ.

    Returns:
        The configuration of format 2, in plain JSON.

    Raises:
        ConfigError: For an unknown key, a wrong type, an impossible value, or an input spec that contradicts the
            configuration.
    """
    old = dict(config)
    eeg = {key: old.pop(key) for key in _EEG_1 if key in old}
    video = {new: old.pop(key) for key, new in _VIDEO_1.items() if key in old}
    colours = (input_spec or {}).get("video")
    video |= {key: colours[key] for key in _COLOURS if isinstance(colours, Mapping) and key in colours}
    encoders = {
        modality: {key.removeprefix(f"{modality}_").replace("encoder", "name"): old.pop(key) for key in keys}
        for modality in ("eeg", "video")
        if (keys := [key for key in (f"{modality}_encoder", f"{modality}_config") if key in old])
    }
    known = {f.name for f in fields(EVERConfig)} - {"input_spec", "encoders"} | {"modalities", "window_seconds"}
    EVERConfig.refuse_unknown(old, known | {*_EEG_1, *_VIDEO_1})
    made = EVERConfig().replace(input_spec={"eeg": eeg, "video": video}, encoders=encoders, **old)
    if input_spec is not None:
        _check_agreement(input_spec, made.recorded)
    return made.to_dict()


def _check_agreement(given: Mapping[str, Any], own: InputSpec) -> None:
    """Refuse an input spec of format 1 that would prepare recordings in another way than its configuration says."""
    InputSpec.refuse_unknown(given, {"eeg", "video"})
    for name in ("eeg", "video"):
        ours, theirs = getattr(own, name), given.get(name)
        if (theirs is None) != (ours is None):
            words = ("null", "a mapping") if theirs is None else ("a mapping", "null")
            raise ConfigError(
                f"input_spec.{name}: {words[0]} contradicts config, from which follows {words[1]}. {_WAY_OUT}"
            )
        if ours is None or theirs is None:
            continue
        theirs = dict(theirs)
        length = theirs.pop("window_seconds", own.window_seconds)
        checked = type(ours).from_dict(theirs, where=f"input_spec.{name}")
        pairs = {f.name: (getattr(checked, f.name), getattr(ours, f.name)) for f in fields(ours)}
        for key, (a, b) in {"window_seconds": (length, own.window_seconds), **pairs}.items():
            if a != b:
                raise ConfigError(
                    f"input_spec.{name}.{key}: {quoted(a)} contradicts config, from which follows {quoted(b)}. "
                    f"{_WAY_OUT}"
                )


_WAY_OUT = "Use the config.json that was written together with the weights."
