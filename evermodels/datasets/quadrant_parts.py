"""The quadrant pairs as a recipe names them: their settings, and their parts built for what a model takes."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from evermodels import montage
from evermodels.core.config import Config
from evermodels.core.errors import ConfigError
from evermodels.core.specs import EEGSpec, InputSpec, VideoSpec
from evermodels.datasets import augment
from evermodels.datasets.clips import VIEW
from evermodels.datasets.download import data_folder
from evermodels.datasets.eegmat import EEGMAT
from evermodels.datasets.faces import LondonFaces
from evermodels.datasets.parts import DataSettings, Parts
from evermodels.datasets.quadrant import QuadrantPairs
from evermodels.datasets.splits import SubjectSplit

_MOST_ITEMS = 100_000_000


@dataclass(frozen=True)
class Augmentation(Config):
    """Random changes of EEG and clips in training; 0 switches one off (:mod:`evermodels.datasets.augment`).

    Args:
        amplitude_scale: Log-normal σ of one factor for all channels.
        channel_gain: Log-normal σ of a factor for each channel.
        gaussian_noise: Standard deviation of white noise over the channel's.
        band_noise: Standard deviation of narrow-band noise over the channel's.
        time_flip: Probability that the window is played backwards.
        polarity_flip: Probability that its sign is changed.
        clip_strength: Factor on motion and light of the training clips.
        blend: Probability that a training item is blended from two people of its class.
        weaken: Largest part of the power of a window of arithmetic that the person's rest takes.
        baselines: Shortest and longest baseline in seconds, drawn with a random place, for EEG that is whitened by a
            baseline; ``None``: the data set's own.
        box_noise: How far the box of a training clip lies off, standard deviation as a part of its side.
        codec: Probability that a training clip is changed as by another codec, resolution or range of levels.
        twice: Whether training clips are read in two ways, by two draws of codec and box noise; ``loss.consistency``
            needs it.
        again_colours: How far colours move apart in the second reading, of what a codec does to them at most.
    """

    amplitude_scale: float = 0.0
    channel_gain: float = 0.0
    gaussian_noise: float = 0.0
    band_noise: float = 0.0
    time_flip: float = 0.0
    polarity_flip: float = 0.0
    clip_strength: float = 1.0
    blend: float = 0.0
    weaken: float = 0.0
    baselines: tuple[int, int] | None = None
    box_noise: float = 0.0
    codec: float = 0.0
    twice: bool = False
    again_colours: float = 0.3

    def check(self) -> None:
        """Refuse negative strengths and impossible probabilities."""
        for key in ("amplitude_scale", "channel_gain", "gaussian_noise", "band_noise", "clip_strength"):
            if getattr(self, key) < 0:
                raise self.refuse(key, "0 or more")
        for key, what in (("box_noise", "the box's side"), ("weaken", "the power")):
            if not 0 <= getattr(self, key) < 1:
                raise self.refuse(key, f"a part of {what} in [0, 1)")
        for key in ("time_flip", "polarity_flip", "blend", "codec", "again_colours"):
            if not 0 <= getattr(self, key) <= 1:
                raise self.refuse(key, "a probability")


def eeg_transform(settings: Augmentation, sfreq: float) -> Any:
    """Return the changes of EEG that a recipe asks for, or ``None``.

    Args:
        settings: What is changed how much.
        sfreq: Sampling rate in Hz.
    """
    chosen: list[Any] = [
        make(value)
        for value, make in (
            (settings.amplitude_scale, augment.AmplitudeScale),
            (settings.channel_gain, augment.ChannelGain),
            (settings.gaussian_noise, augment.GaussianNoise),
            (settings.band_noise, lambda relative: augment.BandNoise(sfreq, relative)),
            (settings.time_flip, augment.TimeFlip),
            (settings.polarity_flip, augment.PolarityFlip),
        )
        if value
    ]
    return augment.Compose(chosen) if chosen else None


@functools.lru_cache(maxsize=2)
def _eegmat(folder: Path, spec: EEGSpec, window_seconds: float, baseline_seconds: float) -> EEGMAT:
    """Recordings are decoded once for all rows and seeds of a process."""
    return EEGMAT(
        folder,
        ch_names=spec.ch_names,
        sfreq=spec.sfreq,
        window_seconds=window_seconds,
        l_freq=spec.l_freq,
        h_freq=spec.h_freq,
        notch=spec.notch,
        reference=spec.reference,
        whiten=spec.whiten,
        baseline=spec.baseline,
        baseline_seconds=baseline_seconds,
    )


@functools.lru_cache(maxsize=2)
def _faces(folder: Path, crop: bool, margin: float) -> LondonFaces:
    return LondonFaces(folder, crop=crop, margin=margin)


@dataclass(frozen=True)
class QuadrantSettings(DataSettings):
    """Settings of the quadrant pairs (:class:`~evermodels.datasets.QuadrantPairs`).

    Args:
        dataset: ``"quadrant_pairs"``.
        num_workers: Processes that load training batches; 0 loads in the training process.
        length: Training items of an epoch; ``None``: four for each arithmetic window.
        flip: Whether half of the training clips are mirrored.
        crossfade: How many of the clips begin with the other expression.
        baseline_seconds: Length of everybody's baseline, in which no window is cut.
        pairing_seed: Seed of the fixed pairing of the validation and test parts; the same for every row and seed.
        augment: Changes of EEG and clips in training.
    """

    dataset: Literal["quadrant_pairs"] = "quadrant_pairs"
    length: int | None = None
    flip: bool = True
    crossfade: float = 0.5
    baseline_seconds: float = 0.0
    pairing_seed: int = 0
    augment: Augmentation = field(default_factory=Augmentation)

    def check(self) -> None:
        """Refuse impossible values."""
        super().check()
        if self.pairing_seed < 0:
            raise self.refuse("pairing_seed", "0 or more")
        if not 0 <= self.crossfade <= 1:
            raise self.refuse("crossfade", "a probability")
        if self.length is not None and (not 4 <= self.length <= _MOST_ITEMS or self.length % 4):
            raise self.refuse("length", "a positive multiple of 4, or none")

    def parts(
        self,
        spec: InputSpec,
        *,
        seed: int = 0,
        data_root: str | os.PathLike[str] | None = None,
        split: Mapping[str, SubjectSplit] | None = None,
    ) -> Parts:
        """Build the parts of the quadrant pairs (fixed people, balanced classes, a pairing of its own seed).

        A modality that the model does not take is still part of each pair, so that all rows are tested on the same
        samples.

        Args:
            spec: What the model takes.
            seed: Seed of the training draws.
            data_root: Folder that holds ``eegmat`` and ``faces``.
            split: The people of each part, by group (default: :func:`~evermodels.datasets.quadrant_split`).

        Raises:
            DataError: If the folder or people are missing.
            ConfigError: If the model takes what this data cannot give.

        Example:
            >>> QuadrantSettings().parts(InputSpec(), data_root="nowhere")
            Traceback (most recent call last):
                ...
            evermodels.core.errors.DataError: eegmat: there is no folder 'nowhere/eegmat'. ...
        """
        # What a row does not look at is still drawn: the windows as usual, the clips as small as they can be.
        eeg = spec.eeg or EEGSpec(ch_names=montage.preset("eegmat"), sfreq=200.0)
        video = spec.video or VideoSpec(num_frames=1, size=(8, 8))
        if eeg.scale != "none":
            raise ConfigError(
                f"model: its input spec asks for scale={eeg.scale!r}; the quadrant pairs give EEG in µV as it is."
            )
        eegmat = _eegmat(data_folder("eegmat", data_root), eeg, spec.window_seconds or 5.0, self.baseline_seconds)
        # A clip shows the middle of a photograph: with this border around it, the faces fill its frames as they fill
        # the frames that the spec's margin cuts out of a recording.
        faces = _faces(data_folder("faces", data_root), video.face_crop, ((1 + 2 * video.margin) / VIEW - 1) / 2)
        more = self.augment
        shared: dict[str, Any] = {
            "split": split,
            "pairing_seed": self.pairing_seed,
            "num_frames": video.num_frames,
            "size": video.size,
            "crossfade": self.crossfade,
            "mean": video.mean,
            "std": video.std,
        }
        return Parts(
            train=QuadrantPairs(
                eegmat,
                faces,
                "train",
                seed=seed,
                train=True,
                length=self.length,
                flip=self.flip,
                eeg_transform=eeg_transform(more, eegmat.sfreq),
                strength=more.clip_strength,
                blend=more.blend,
                weaken=more.weaken,
                # Rows of other EEG have no baseline to vary.
                baselines=more.baselines if eegmat.baseline else None,
                box_noise=more.box_noise,
                codec=more.codec,
                twice=more.twice,
                again_colours=more.again_colours,
                **shared,
            ),
            validation=QuadrantPairs(eegmat, faces, "validation", **shared),
            test=QuadrantPairs(eegmat, faces, "test", **shared),
            classes=QuadrantPairs.classes,
            factors=QuadrantPairs.factors,
            groups=QuadrantPairs.groups,
            scores=QuadrantPairs.scores,
        )
