"""The quadrant pairs as a recipe names them: their settings, and their parts built for what a model takes."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from evermodels import montage
from evermodels.core.config import Config
from evermodels.core.errors import ConfigError
from evermodels.core.specs import AudioSpec, EEGSpec, EyeSpec, InputSpec, VideoSpec
from evermodels.datasets import augment
from evermodels.datasets.augment_sound import SoundAugmentation, changes, plain_without
from evermodels.datasets.clips import VIEW
from evermodels.datasets.companions import VALENCE, Companion, EyeCompanion, SpeechCompanion, companion_split
from evermodels.datasets.download import data_folder
from evermodels.datasets.eegmat import EEGMAT
from evermodels.datasets.emodb import EmoDB
from evermodels.datasets.faces import LondonFaces
from evermodels.datasets.pairs import BASE
from evermodels.datasets.parts import DataSettings, Parts
from evermodels.datasets.pupil import EyeWindows, Pupil
from evermodels.datasets.quadrant import QuadrantPairs, quadrant_split
from evermodels.datasets.splits import SubjectSplit
from evermodels.datasets.utterances import UtteranceWindows
from evermodels.signals.audio.level import SILENT_DBFS, check_threshold

_MOST_ITEMS = 100_000_000
_OVERLAP = 0.5  # of neighbouring windows of eye movement in training
COMPANIONS = ("audio", "eye")
_LATER = ("modalities", "label_rule", "low_valence", "high_valence", "silent_dbfs", "train_people")


@dataclass(frozen=True)
class Augmentation(Config):
    """Random changes of EEG, clips and speech in training; 0 switches one off (:mod:`evermodels.datasets.augment`).

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
        sound: Changes of speech; the matched items of a state, which have one speaker, are changed alike.
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
    sound: SoundAugmentation = field(default_factory=SoundAugmentation)

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

    def to_dict(self) -> dict[str, Any]:
        """Return the settings in plain JSON; changes of sound only where there are some."""
        return plain_without(super().to_dict(), self.sound, "sound")


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
def read_eegmat(
    folder: Path, spec: EEGSpec, window_seconds: float, baseline_seconds: float, overlap: float = 0.0
) -> EEGMAT:
    """Return EEGMAT as a model takes it; recordings are decoded once for all rows and seeds of a process.

    Args:
        folder: Where it lies.
        spec: What the model takes.
        window_seconds: Length of a window.
        baseline_seconds: Length of everybody's baseline, in which no window is cut.
        overlap: Part of a window that it shares with the next one.

    Raises:
        ConfigError: If the model takes EEG that was scaled.
    """
    if spec.scale != "none":
        raise ConfigError(f"model: its input spec asks for scale={spec.scale!r}; EEGMAT gives EEG in µV as it is.")
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
        overlap=overlap,
    )


@functools.lru_cache(maxsize=2)
def _faces(folder: Path, crop: bool, margin: float) -> LondonFaces:
    return LondonFaces(folder, crop=crop, margin=margin)


@functools.lru_cache(maxsize=2)
def _utterances(folder: Path, spec: AudioSpec, seconds: float | None, silent_dbfs: float) -> UtteranceWindows:
    """Each utterance is decoded once for all rows and seeds of a process."""
    return UtteranceWindows(EmoDB(folder), spec, seconds, silent_dbfs=silent_dbfs)


@functools.lru_cache(maxsize=4)
def eyes(folder: Path, spec: EyeSpec, seconds: float | None, overlap: float) -> EyeWindows:
    """Return windows of the pupil tables; each table is read once for all rows and seeds of a process.

    Args:
        folder: Where they lie.
        spec: What the model takes.
        seconds: Length of a window.
        overlap: Part of a window that it shares with the next one.
    """
    return EyeWindows(Pupil(folder), spec, seconds, overlap=overlap)


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
        augment: Changes of EEG, clips and speech in training.
        modalities: What each item is of. EEG and video always; ``"audio"`` puts speech of EmoDB beside them and
            ``"eye"`` tables of pupils, for every row, so that all are tested on the same samples.
        label_rule: ``"quadrant"`` (four classes), or ``"congruence"``: two, arousal XOR valence.
        low_valence: Acted emotions of speech that count as low valence.
        high_valence: Those that count as high.
        silent_dbfs: Level in dBFS below which a frame of speech is masked.
        train_people: How many of the training people with EEG are taken, the first by id; ``None``: all.
    """

    dataset: Literal["quadrant_pairs"] = "quadrant_pairs"
    length: int | None = None
    flip: bool = True
    crossfade: float = 0.5
    baseline_seconds: float = 0.0
    pairing_seed: int = 0
    augment: Augmentation = field(default_factory=Augmentation)
    modalities: tuple[str, ...] = BASE
    label_rule: Literal["quadrant", "congruence"] = "quadrant"
    low_valence: tuple[str, ...] = VALENCE[0]
    high_valence: tuple[str, ...] = VALENCE[1]
    silent_dbfs: float = SILENT_DBFS
    train_people: int | None = None

    def check(self) -> None:
        """Refuse impossible values."""
        super().check()
        wanted = set(self.modalities)
        if not {*BASE} <= wanted <= {*BASE, *COMPANIONS} or len(self.modalities) != len(wanted):
            raise self.refuse("modalities", f"{' and '.join(BASE)}, and some of {', '.join(COMPANIONS)}, each once")
        for key in ("low_valence", "high_valence"):
            if unknown := [emotion for emotion in getattr(self, key) if emotion not in EmoDB.known]:
                raise self.refuse(key, f"some of {', '.join(EmoDB.known)} (not {', '.join(unknown)})")
        if not self.low_valence or not self.high_valence or set(self.low_valence) & set(self.high_valence):
            raise self.refuse("low_valence", "emotions, and others than high_valence")
        check_threshold(self.silent_dbfs, "silent_dbfs")
        if self.train_people is not None and self.train_people < 1:
            raise self.refuse("train_people", "at least 1, or none for all")
        if self.pairing_seed < 0:
            raise self.refuse("pairing_seed", "0 or more")
        if not 0 <= self.crossfade <= 1:
            raise self.refuse("crossfade", "a probability")
        if self.length is not None and (not 4 <= self.length <= _MOST_ITEMS or self.length % 4):
            raise self.refuse("length", "a positive multiple of 4, or none")

    def to_dict(self) -> dict[str, Any]:
        """Return the settings in plain JSON; those of later versions only where they are set.

        So the digest of a recipe that does without them stays what it was.
        """
        later = {key: getattr(type(self), key) for key in _LATER}
        return {k: v for k, v in super().to_dict().items() if k not in later or getattr(self, k) != later[k]}

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
            ConfigError: If the model takes what this data cannot give, or what ``modalities`` does not name.

        Example:
            >>> QuadrantSettings().parts(InputSpec(), data_root="nowhere")
            Traceback (most recent call last):
                ...
            evermodels.core.errors.DataError: eegmat: there is no folder 'nowhere/eegmat'. ...
        """
        # What a row does not look at is drawn as usual, and not made.
        eeg = spec.eeg or EEGSpec(ch_names=montage.preset("eegmat"), sfreq=200.0)
        video = spec.video or VideoSpec(num_frames=1, size=(8, 8))
        if lacking := [name for name in spec.modalities if name not in self.modalities]:
            raise ConfigError(
                f"data.modalities: the model takes {' and '.join(lacking)}, and the pairs have "
                f"{', '.join(self.modalities)}. Name it for all rows, so that they are tested on the same samples."
            )
        if eeg.lag_seconds:
            raise ConfigError(
                "model.config.input_spec.eeg.lag_seconds: expected 0, as these recordings answer to no clip, got "
                f"{eeg.lag_seconds:g}. Their pairing is invented."
            )
        eegmat = read_eegmat(data_folder("eegmat", data_root), eeg, spec.window_seconds or 5.0, self.baseline_seconds)
        # A clip shows the middle of a photograph: with this border around it, the faces fill its frames as they fill
        # the frames that the spec's margin cuts out of a recording.
        faces = _faces(data_folder("faces", data_root), video.face_crop, ((1 + 2 * video.margin) / VIEW - 1) / 2)
        more = self.augment
        training, testing = self._companions(spec, data_root, split)
        split = self._fewer(split, faces.people, testing)
        shared: dict[str, Any] = {
            "split": split,
            "pairing_seed": self.pairing_seed,
            "num_frames": video.num_frames,
            "size": video.size,
            "crossfade": self.crossfade,
            "mean": video.mean,
            "std": video.std,
            "label_rule": self.label_rule,
            "modalities": [name for name in BASE if name in spec.modalities],
        }
        test = QuadrantPairs(eegmat, faces, "test", companions=testing, **shared)
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
                companions=training,
                **shared,
            ),
            validation=QuadrantPairs(eegmat, faces, "validation", companions=testing, **shared),
            test=test,
            classes=test.classes,
            factors=test.factors,
            groups=test.groups,
            scores=test.scores,
        )

    def _fewer(
        self, split: Mapping[str, SubjectSplit] | None, face_ids: Sequence[str], companions: Sequence[Companion]
    ) -> Mapping[str, SubjectSplit] | None:
        """Return the split with the first of the people with EEG in its training part."""
        if self.train_people is None:
            return split
        whole = dict(split) if split is not None else {**quadrant_split(face_ids), **companion_split(companions)}
        eeg = whole["eeg_subject"]
        if self.train_people > len(eeg.train):
            raise ConfigError(f"data.train_people: expected at most {len(eeg.train)}, got {self.train_people}.")
        return {**whole, "eeg_subject": replace(eeg, train=eeg.train[: self.train_people])}

    def _companions(
        self, spec: InputSpec, root: str | os.PathLike[str] | None, split: Mapping[str, SubjectSplit] | None
    ) -> tuple[list[Companion], list[Companion]]:
        """Return the further modalities of training and of the other parts, which differ in how windows overlap."""
        training: list[Companion] = []
        testing: list[Companion] = []
        if "audio" in self.modalities:
            folder, seconds = data_folder("emodb", root), spec.window_seconds
            windows = _utterances(folder, spec.audio, seconds, self.silent_dbfs) if spec.audio else None
            speakers: Any = {} if split is None else {"split": split[SpeechCompanion.group]}
            speech = windows.speech if windows else EmoDB(folder)
            for companions, change in ((training, changes(self.augment.sound, spec.audio)), (testing, None)):
                valence = self.low_valence, self.high_valence
                companions.append(SpeechCompanion(speech, windows, valence=valence, augment=change, **speakers))
        if "eye" in self.modalities:
            folder = data_folder("pupil", root)
            for companions, overlap in ((training, _OVERLAP), (testing, 0.0)):
                seen = eyes(folder, spec.eye, spec.window_seconds, overlap) if spec.eye else None
                people: Any = {} if split is None else {"split": split[EyeCompanion.group]}
                companions.append(EyeCompanion(seen.pupil if seen else Pupil(folder), seen, **people))
        return training, testing
