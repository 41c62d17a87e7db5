"""The closed table of model names: what exists, and in which module it lives.

A name leads to a module path written here, never to one read from a file, and nothing is imported before a model is
made. Every family adds its names below, its smallest first, and a class with a ``presets`` table in its module.
"""

from __future__ import annotations

import fnmatch
import importlib
from typing import TYPE_CHECKING, Any, NamedTuple

from evermodels.core.errors import ConfigError, UnknownNameError, did_you_mean
from evermodels.core.kinds import modalities_of
from evermodels.core.specs import MODALITIES

if TYPE_CHECKING:
    from torch import nn


class ModelEntry(NamedTuple):
    """One name of the table.

    Args:
        kind: ``"backbone"`` (an encoder) or ``"system"`` (a whole recogniser).
        takes: Of a system the modalities, of a backbone the kind of tensor (:data:`evermodels.core.kinds.KINDS`).
        module: Module that holds the class.
        class_name: The class; its ``presets`` table holds the name's configuration.
        summary: One line for people.
    """

    kind: str
    takes: tuple[str, ...]
    module: str
    class_name: str
    summary: str

    @property
    def modalities(self) -> tuple[str, ...]:
        """Modalities that it takes, or whose recordings can give what it takes."""
        return self.takes if self.kind == "system" else modalities_of(self.takes)


def _family(kind: str, takes: tuple[str, ...], module: str, cls: str, names: dict[str, str]) -> dict[str, ModelEntry]:
    return {name: ModelEntry(kind, takes, module, cls, summary) for name, summary in names.items()}


MODELS: dict[str, ModelEntry] = {
    **_family(
        "backbone",
        ("spectrogram",),
        "evermodels.backbones.eeg.audio_mamba",
        "AudioMamba",
        {
            "audio_mamba_nano": "Audio-Mamba, 64 wide, 4 deep, 8 by 8 patches, Fo-Bi",
            "audio_mamba_tiny": "Audio-Mamba tiny, 192 wide, 24 deep, Fo-Bi",
            "audio_mamba_small": "Audio-Mamba small, 384 wide, 24 deep, Fo-Bi",
            "audio_mamba_base": "Audio-Mamba base, 768 wide, 24 deep, Fo-Bi",
        },
    ),
    **_family(
        "backbone",
        ("eeg",),
        "evermodels.backbones.eeg.mbsm",
        "MBSMEncoder",
        {
            "mbsm_tiny": "Masked brain signal modelling, 128 wide, 4 deep, patches of 0.5 s with spectrum, any montage",
            "mbsm_small": "Masked brain signal modelling, 384 wide, 12 deep, patches of 4 samples, any montage",
            "mbsm_base": "DreamDiffusion's encoder, 1024 wide, 24 deep, patches of 4 samples, 128 fixed channels",
        },
    ),
    **_family(
        "backbone",
        ("video",),
        "evermodels.backbones.video.videomae",
        "VideoMAE",
        {
            "videomae_nano": "VideoMAE / AdaMAE encoder, 96 wide, 4 deep, 16 frames of 64²",
            "videomae_tiny": "VideoMAE / AdaMAE encoder, 192 wide, 12 deep, 16 frames of 224²",
            "videomae_small": "VideoMAE / AdaMAE encoder, 384 wide, 12 deep, 16 frames of 224²",
            "videomae_base": "VideoMAE / AdaMAE encoder, ViT-B, 768 wide, 12 deep, 16 frames of 224²",
            "adamae_base": "AdaMAE encoder, ViT-B as EVER uses it, 32 frames of 224²",
        },
    ),
    **_family(
        "backbone",
        ("video",),
        "evermodels.backbones.video.timesformer",
        "TimeSformer",
        {
            "timesformer_nano": "TimeSformer, divided space-time attention, 96 wide, 4 deep, 16 frames of 64²",
            "timesformer_tiny": "TimeSformer, 192 wide, 12 deep, 8 frames of 224²",
            "timesformer_small": "TimeSformer, 384 wide, 12 deep, 8 frames of 224²",
            "timesformer_base": "TimeSformer as published, ViT-B, 8 frames of 224²",
            "timesformer_base_hr": "TimeSformer-HR as published, ViT-B, 16 frames of 448²",
            "timesformer_base_long": "TimeSformer-L as published, ViT-B, 96 frames of 224²",
        },
    ),
    **_family(
        "backbone",
        ("video",),
        "evermodels.backbones.video.vivit",
        "ViViT",
        {
            "vivit_nano": "ViViT, joint space-time attention, 96 wide, 4 deep, 16 frames of 64²",
            "vivit_tiny": "ViViT, 192 wide, 12 deep, 32 frames of 224²",
            "vivit_small": "ViViT, 384 wide, 12 deep, 32 frames of 224²",
            "vivit_base": "ViViT-B/16x2 as published, 768 wide, 12 deep, 32 frames of 224²",
            "vivit_large": "ViViT-L/16x2 as published, 1024 wide, 24 deep, 32 frames of 224²",
        },
    ),
    **_family(
        "backbone",
        ("video",),
        "evermodels.backbones.video.video_swin",
        "VideoSwin",
        {
            "video_swin_nano": "Video Swin, 24 wide, three stages of 2, windows of 4 by 4 by 4, 16 frames of 64²",
            "video_swin_tiny": "Video Swin-T as published, 96 wide, 12 blocks, 32 frames of 224²",
            "video_swin_small": "Video Swin-S as published, 96 wide, 24 blocks, 32 frames of 224²",
            "video_swin_base": "Video Swin-B as published, 128 wide, 24 blocks, 32 frames of 224²",
        },
    ),
    **_family(
        "backbone",
        ("eeg",),
        "evermodels.backbones.eeg.eegformer",
        "EEGformer",
        {
            "eegformer_nano": "EEGformer, 8 features of 32, three transformers of 2 blocks, 5 s at 100 Hz",
            "eegformer_tiny": "EEGformer, 32 features of 120, three transformers of 3 blocks",
            "eegformer_base": "EEGformer, 120 features as published, 240 wide, three transformers of 4 blocks",
        },
    ),
    **_family(
        "backbone",
        ("eeg",),
        "evermodels.backbones.eeg.patchtst",
        "PatchTST",
        {
            "patchtst_tiny": "PatchTST, 64 wide, 3 deep, patches of 0.25 s every 0.125 s, each channel by itself",
            "patchtst_base": "PatchTST as published, 128 wide, 3 deep, patches of 16 samples every 8",
        },
    ),
    **_family(
        "backbone",
        ("eeg",),
        "evermodels.backbones.eeg.itransformer",
        "ITransformer",
        {
            "itransformer_tiny": "iTransformer, 128 wide, 3 deep, a token for each channel's window",
            "itransformer_small": "iTransformer, 128 wide, 6 deep, as Medformer's authors compare it",
            "itransformer_base": "iTransformer as published, 512 wide, 3 deep",
        },
    ),
    **_family(
        "backbone",
        ("eeg",),
        "evermodels.backbones.eeg.crossformer",
        "Crossformer",
        {
            "crossformer_tiny": "Crossformer, 64 wide, 3 scales, segments of 0.25 s, 4 routers",
            "crossformer_base": "Crossformer as published, 256 wide, 3 scales, 10 routers, segments of 12 samples",
        },
    ),
    **_family(
        "backbone",
        ("eeg",),
        "evermodels.backbones.eeg.medformer",
        "Medformer",
        {
            "medformer_tiny": "Medformer, 64 wide, 3 deep, patches of 0.1, 0.25 and 0.5 s across all channels",
            "medformer_base": "Medformer as published, 128 wide, 6 deep, patches of 2, 4 and 8 samples",
        },
    ),
    **_family(
        "backbone",
        ("log_mel",),
        "evermodels.backbones.audio.ast",
        "AST",
        {
            "ast_nano": "AST, 96 wide, 4 deep, 16 by 16 patches apart, 5 s of sound",
            "ast_tiny": "AST tiny, 192 wide, 12 deep, overlapping patches, 10 s of sound",
            "ast_small": "AST small, 384 wide, 12 deep, overlapping patches, 10 s of sound",
            "ast_base": "AST as published, 768 wide, 12 deep, overlapping patches, 10 s of sound",
        },
    ),
    **_family(
        "backbone",
        ("log_mel",),
        "evermodels.backbones.audio.vggish",
        "VGGish",
        {
            "vggish_tiny": "VGGish, 16 to 128 channels, steps 64 wide, 20 mel bands as MERCL, 5 s of sound",
            "vggish_base": "VGGish as published, steps 128 wide, 64 mel bands, 0.96 s of sound",
        },
    ),
    **_family(
        "backbone",
        ("features",),
        "evermodels.backbones.eeg.band_conformer",
        "BandConformer",
        {
            "band_conformer_tiny": "Conformer block without attention on band power, 64 wide, 19 channels",
            "band_conformer_base": "Conformer blocks without attention on band power, 144 wide, 2 deep, 62 channels",
        },
    ),
    **_family(
        "backbone",
        ("eeg",),
        "evermodels.backbones.eeg.eegnet",
        "EEGNet",
        {
            "eegnet_tiny": "EEGNet-8,2 on raw EEG, 5 s of 19 channels at 200 Hz",
            "eegnet_base": "EEGNet-8,2 on raw EEG, 5 s of 62 channels at 128 Hz",
        },
    ),
    **_family(
        "backbone",
        ("eeg",),
        "evermodels.backbones.eeg.spd_net",
        "SPDNet",
        {
            "spd_net_tiny": "SPDNet, log-Euclidean covariances in 11 bands, 5 s of 19 channels at 200 Hz",
            "spd_net_base": "SPDNet, log-Euclidean covariances in 11 bands, 5 s of 62 channels at 200 Hz",
        },
    ),
    **{
        name: entry
        for module, cls, stem, what in (
            ("dgcnn", "DGCNN", "dgcnn", "DGCNN: a learned graph of the channels, Chebyshev filters"),
            ("rgnn", "RGNN", "rgnn", "RGNN: a graph that starts from distances on the head"),
            ("sognn", "SOGNN", "sognn", "SOGNN: graphs that each sample makes itself, over time"),
            ("sognn", "BFENet", "bfe_net", "a self-made graph for each band, after BFE-Net's abstract"),
        )
        for name, entry in _family(
            "backbone",
            ("features",),
            f"evermodels.backbones.eeg.{module}",
            cls,
            {f"{stem}_tiny": f"{what}; 19 channels", f"{stem}_base": f"{what}; 62 channels"},
        ).items()
    },
    **_family(
        "backbone",
        ("spectrogram",),
        "evermodels.backbones.audiovisual.spectrogram_vit",
        "SpectrogramViT",
        {
            "spectrogram_vit_nano": "HiCMAE's encoder of sound, 96 wide, 3 deep, slices of time of 19 spectrograms",
            "spectrogram_vit_small": "HiCMAE's encoder of sound, 384 wide, 10 deep, 256 frames of 128 bands",
            "spectrogram_vit_base": "HiCMAE's encoder of sound, 512 wide, 10 deep, 256 frames of 128 bands",
        },
    ),
    **_family(
        "backbone",
        ("spectrogram",),
        "evermodels.backbones.audiovisual.tvlt_patches",
        "SpectrogramPatches",
        {
            "spectrogram_patches_nano": "TVLT's tokens of a spectrogram, 96 wide, no transformer, 19 channels",
            "spectrogram_patches_base": "TVLT's tokens of a spectrogram, 768 wide, no transformer",
        },
    ),
    **_family(
        "backbone",
        ("video",),
        "evermodels.backbones.audiovisual.tvlt_patches",
        "FramePatches",
        {
            "frame_patches_nano": "TVLT's tokens of video, 96 wide, no transformer, 8 frames of 64²",
            "frame_patches_base": "TVLT's tokens of video, 768 wide, no transformer, 8 frames of 224²",
        },
    ),
    **_family(
        "backbone",
        ("video",),
        "evermodels.backbones.video.frame_encoder",
        "FrameEncoder",
        {
            "swin_frames_nano": "Swin on each frame, 24 wide, three stages of 2, 10 frames of 64²",
            "swin_frames_tiny": "Swin-T on each frame, 10 frames of 224²",
            "vit_frames_nano": "ViT on each frame, 96 wide, 4 deep, 10 frames of 64²",
            "vit_frames_tiny": "ViT tiny on each frame, 192 wide, 12 deep, 10 frames of 224²",
            "vit_frames_small": "ViT small on each frame, 384 wide, 12 deep, 10 frames of 224²",
            "vit_frames_base": "ViT base on each frame, 768 wide, 12 deep, 10 frames of 224²",
        },
    ),
    **_family(
        "backbone",
        ("eye",),
        "evermodels.backbones.eye.eye_transformer",
        "EyeTransformer",
        {
            "eye_transformer_nano": "temporal attention over eye movement, 32 wide, 1 deep",
            "eye_transformer_tiny": "temporal attention over eye movement, 64 wide, 2 deep",
            "eye_transformer_base": "temporal attention over eye movement, 256 wide, 4 deep",
        },
    ),
    **_family(
        "backbone",
        ("eeg",),
        "evermodels.backbones.eeg.channel_mlp",
        "ChannelMLP",
        {
            "channel_mlp_tiny": "A token a channel of raw EEG by a perceptron, 96 wide",
            "channel_mlp_base": "A token a channel of raw EEG by a perceptron, 768 wide, as Milmer on DEAP",
        },
    ),
    **_family(
        "backbone",
        ("spectrogram",),
        "evermodels.backbones.eeg.channel_mlp",
        "SpectrogramChannelMLP",
        {
            "spectrogram_mlp_tiny": "A token a channel of its spectrogram by a perceptron, 96 wide",
            "spectrogram_mlp_base": "A token a channel of its spectrogram by a perceptron, 768 wide",
        },
    ),
    **_family(
        "system",
        ("eeg", "video"),
        "evermodels.models.ever",
        "EVER",
        {
            "ever_tiny": "EVER at no more than 1.5 M parameters, 16 frames of 64²: trains in minutes on two cores",
            "ever_small": "EVER, Audio-Mamba tiny and VideoMAE small, 16 frames of 112²",
            "ever_base": "EVER as published: AdaMAE-B and Audio-Mamba tiny, 32 frames of 224²",
            "ever_paper": "EVER with the 9-layer video encoder that the paper's parameter count implies, 30 channels",
        },
    ),
    **_family(
        "system",
        ("eeg", "video", "audio"),
        "evermodels.models.mercl",
        "MERCL",
        {
            "mercl_tiny": "MERCL at no more than 1.5 M parameters, 5 s, 16 frames of 64²: trains in minutes",
            "mercl_base": "MERCL as published: ViT-B, VGGish, Conformer on band power, 4 s, 16 frames of 224²",
        },
    ),
    **_family(
        "system",
        ("eeg", "eye"),
        "evermodels.models.mood_reader",
        "MoodReader",
        {
            "mood_reader_tiny": "Mood Reader at no more than 1.5 M parameters, 5 s of 19 channels with eye movement",
            "mood_reader_base": "Mood Reader on SEED: 16 s of 62 channels, 33 eye features, MBSM 1024 wide, 24 deep",
        },
    ),
    **_family(
        "system",
        ("eeg", "video"),
        "evermodels.models.milmer",
        "Milmer",
        {
            "milmer_tiny": "Milmer at no more than 1.5 M parameters, 10 frames of 64², spectrograms of EEG",
            "milmer_base": "Milmer as published: Swin-T on 10 frames of 224², 32 channels, 3 s",
        },
    ),
    **_family(
        "system",
        ("eeg", "video"),
        "evermodels.models.hicmae",
        "HiCMAE",
        {
            "hicmae_tiny": "HiCMAE on EEG and video at no more than 1.5 M parameters, 16 frames of 64²",
            "hicmae_base": "HiCMAE-B with spectrograms of EEG in sound's place, 16 frames of 160²",
        },
    ),
    **_family(
        "system",
        ("video", "audio"),
        "evermodels.models.hicmae",
        "HiCMAEAudio",
        {
            "hicmae_audio_tiny": "HiCMAE on sound and video at no more than 1.5 M parameters, 16 frames of 64²",
            "hicmae_audio_base": "HiCMAE-B as published, 256 frames of sound, 16 frames of 160²",
        },
    ),
    **_family(
        "system",
        ("eeg", "video"),
        "evermodels.models.tvlt",
        "TVLT",
        {
            "tvlt_tiny": "TVLT on EEG and video at no more than 1.5 M parameters, 8 frames of 64²",
            "tvlt_base": "TVLT with spectrograms of EEG in sound's place, 8 frames of 224²",
        },
    ),
    **_family(
        "system",
        ("video", "audio"),
        "evermodels.models.tvlt",
        "TVLTAudio",
        {
            "tvlt_audio_tiny": "TVLT on sound and video at no more than 1.5 M parameters, 8 frames of 64²",
            "tvlt_audio_base": "TVLT as published, 12 deep, 8 frames of 224², 128 mel bands",
        },
    ),
    **{
        f"single_{modality}": ModelEntry(
            "system",
            (modality,),
            "evermodels.models.single_encoder",
            cls,
            f"{what} through any one registered encoder and a linear layer",
        )
        for modality, cls, what in (
            ("eeg", "SingleEEG", "EEG"),
            ("video", "SingleVideo", "face video"),
            ("audio", "SingleAudio", "sound"),
            ("eye", "SingleEye", "eye movement"),
        )
    },
    **_family(
        "system",
        ("eeg", "video", "audio"),
        "evermodels.models.trimodal",
        "TrimodalFusion",
        {
            "trimodal_tiny": "EEGformer, ViT on frames and AST under one shared attention, at most 1.5 M parameters",
            "trimodal_base": "The paper's encoders: EEGformer, ViT-B on 25 frames of 224², AST-B",
        },
    ),
}


def entry(name: str) -> ModelEntry:
    """Return the table's entry for an architecture name.

    Args:
        name: A name that :func:`list_models` shows; a ``.tag`` behind it is not part of the architecture.

    Raises:
        UnknownNameError: If there is no such name.

    Example:
        >>> entry("audio_mamba_tiny").class_name
        'AudioMamba'
    """
    if name not in MODELS:
        raise UnknownNameError(
            f"model name: {name!r} does not exist.{did_you_mean(name, MODELS)} evermodels.list_models() shows them all."
        )
    return MODELS[name]


def model_class(name: str) -> Any:
    """Import and return the class behind an architecture name.

    Args:
        name: A name that :func:`list_models` shows.

    Raises:
        UnknownNameError: If there is no such name.
    """
    row = entry(name)
    return getattr(importlib.import_module(row.module), row.class_name)


def class_of(architecture: str, where: str) -> Any:
    """Return the class behind a checkpoint's ``architecture``, from the closed table only.

    Args:
        architecture: A name of the model table, or a class's name in it.
        where: The file, for the message.

    Raises:
        ConfigError: If the table has no such name.
    """
    names = {row.class_name: name for name, row in reversed(MODELS.items())}
    name = architecture if architecture in MODELS else names.get(architecture)
    if name is None:
        raise ConfigError(
            f"{where}: architecture: {architecture!r} does not exist."
            f"{did_you_mean(architecture, [*MODELS, *names])} evermodels.list_models() shows them all; "
            "a newer evermodels may have it."
        )
    return model_class(name)


def list_architectures(pattern: str = "*", *, kind: str | None = None, modality: str | None = None) -> list[str]:
    """Return the architecture names that match.

    Args:
        pattern: A shell pattern such as ``"ever*"``.
        kind: ``"backbone"`` or ``"system"``; ``None`` for both.
        modality: Only models that take this modality, such as ``"eeg"``.

    Raises:
        UnknownNameError: If ``kind`` or ``modality`` is not one that exists.

    Example:
        >>> list_architectures("ever_*")
        ['ever_base', 'ever_paper', 'ever_small', 'ever_tiny']
    """
    for label, value, known in (
        ("kind", kind, {row.kind for row in MODELS.values()}),
        ("modality", modality, set(MODALITIES)),
    ):
        if value is not None and value not in known:
            raise UnknownNameError(f"{label}: expected one of {', '.join(sorted(known))}, got {value!r}.")
    return sorted(
        name
        for name, row in MODELS.items()
        if fnmatch.fnmatchcase(name, pattern)
        and (kind is None or row.kind == kind)
        and (modality is None or modality in row.modalities)
    )


def build(name: str, **config: Any) -> nn.Module:
    """Build the named architecture with random weights.

    Args:
        name: A name that :func:`list_models` shows.
        **config: Values that differ from the preset's.

    Raises:
        UnknownNameError: If there is no such name.
        ConfigError: If a value does not fit.
    """
    return model_class(name).from_preset(name, **config)
