"""The three parts of a recipe's data set, built for what the model eats."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from torch.utils.data import Dataset

from evermodels.core.errors import ConfigError, DataError
from evermodels.core.factors import Factor
from evermodels.core.specs import EEGSpec, InputSpec, VideoSpec
from evermodels.training.recipe import Recipe
from evermodels.training.settings import Augmentation

if TYPE_CHECKING:
    from evermodels.datasets.eegmat import EEGMAT
    from evermodels.datasets.faces import LondonFaces
    from evermodels.datasets.splits import PairSplit


class Parts(NamedTuple):
    """The parts of one data set; nobody is in two of them.

    Args:
        train: Drawn anew every epoch where it has ``set_epoch``.
        validation: Chooses the epoch.
        test: Seen once, at the end.
        classes: Names of the classes in the order of the labels.
        factors: What the classes are the product of, where they are combinations.
    """

    train: Dataset[dict[str, Any]]
    validation: Dataset[dict[str, Any]]
    test: Dataset[dict[str, Any]]
    classes: tuple[str, ...]
    factors: tuple[Factor, ...] = ()

    def part(self, name: str) -> Dataset[dict[str, Any]]:
        """Return a part by name.

        Args:
            name: ``"train"``, ``"validation"`` or ``"test"``.

        Raises:
            ConfigError: If it is not ``"train"``, ``"validation"`` or ``"test"``.
        """
        if name not in ("train", "validation", "test"):
            raise ConfigError(f"part: expected 'train', 'validation' or 'test', got {name!r}.")
        part: Dataset[dict[str, Any]] = getattr(self, name)
        return part


def eeg_transform(settings: Augmentation, sfreq: float) -> Any:
    """Return the changes of EEG that a recipe asks for, or ``None``.

    Args:
        settings: What is changed how much.
        sfreq: Sampling rate in Hz.
    """
    from evermodels.datasets import augment

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
    from evermodels.datasets.eegmat import EEGMAT

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
    from evermodels.datasets.faces import LondonFaces

    return LondonFaces(folder, crop=crop, margin=margin)


def quadrant_parts(
    recipe: Recipe,
    spec: InputSpec,
    *,
    seed: int,
    data_root: str | os.PathLike[str] | None,
    split: PairSplit | None = None,
) -> Parts:
    """Build the parts of the quadrant pairs (protocol 4: fixed people, balanced classes, a pairing of its own seed).

    A modality that the model does not take is still part of each pair, so that all rows are tested on the same samples.

    Args:
        recipe: The recipe.
        spec: What the model eats.
        seed: Seed of the training draws.
        data_root: Folder that holds ``eegmat`` and ``faces``.
        split: The people of each part (default: protocol 4's).

    Raises:
        DataError: If the folder or people are missing.
        ConfigError: If the model eats what this data cannot give.
    """
    from evermodels import montage
    from evermodels.datasets.download import data_folder
    from evermodels.datasets.quadrant import VIEW, QuadrantPairs

    settings = recipe.data
    # What a row does not look at is still drawn: the windows as usual, the clips as small as they can be.
    eeg = spec.eeg or EEGSpec(ch_names=montage.preset("eegmat"), sfreq=200.0)
    video = spec.video or VideoSpec(num_frames=1, size=(8, 8))
    if eeg.notch is not None or eeg.scale != "none":
        raise ConfigError(
            f"model: its input spec asks for notch={eeg.notch}, scale={eeg.scale!r}; the quadrant pairs "
            "give EEG in µV with notch=None and scale='none'."
        )
    eegmat = _eegmat(data_folder("eegmat", data_root), eeg, spec.window_seconds or 5.0, settings.baseline_seconds)
    # A clip shows the middle of a photograph: with this border around it, the faces fill its frames as they fill the
    # frames that the spec's margin cuts out of a recording.
    faces = _faces(data_folder("faces", data_root), video.face_crop, ((1 + 2 * video.margin) / VIEW - 1) / 2)
    shared: dict[str, Any] = {
        "split": split,
        "pairing_seed": settings.pairing_seed,
        "num_frames": video.num_frames,
        "size": video.size,
        "crossfade": settings.crossfade,
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
            length=settings.length,
            flip=settings.flip,
            eeg_transform=eeg_transform(settings.augment, eegmat.sfreq),
            strength=settings.augment.clip_strength,
            blend=settings.augment.blend,
            weaken=settings.augment.weaken,
            # Rows of other EEG have no baseline to vary.
            baselines=settings.augment.baselines if eegmat.baseline else None,
            box_noise=settings.augment.box_noise,
            codec=settings.augment.codec,
            twice=recipe.loss.consistency > 0,
            **shared,
        ),
        validation=QuadrantPairs(eegmat, faces, "validation", **shared),
        test=QuadrantPairs(eegmat, faces, "test", **shared),
        classes=QuadrantPairs.classes,
        factors=QuadrantPairs.factors,
    )


_BUILDERS = {"quadrant_pairs": quadrant_parts}


def make_parts(recipe: Recipe, spec: InputSpec, *, seed: int, data_root: str | os.PathLike[str] | None = None) -> Parts:
    """Build the parts of a recipe's data set.

    Args:
        recipe: The recipe.
        spec: What the model eats.
        seed: Seed of the training draws; the validation and test parts do not depend on it.
        data_root: Folder of the recordings (default: ``EVERMODELS_DATA``).

    Raises:
        DataError: If the folder or people are missing.
        ConfigError: If the model eats what this data cannot give.

    Example:
        >>> from evermodels.training import load_recipe, make_parts
        >>> make_parts(load_recipe("ever_tiny_quadrant"), InputSpec(), seed=0, data_root="nowhere")
        Traceback (most recent call last):
            ...
        evermodels.core.errors.DataError: eegmat: there is no folder 'nowhere/eegmat'. ...
    """
    return _BUILDERS[recipe.data.dataset](recipe, spec, seed=seed, data_root=data_root)


def class_counts(dataset: Dataset[dict[str, Any]], num_classes: int) -> list[int]:
    """Return how many training samples each class has.

    Args:
        dataset: A data set with ``class_counts`` or ``labels``, else it is read through once.
        num_classes: Number of classes.
    """
    counts = getattr(dataset, "class_counts", None)
    if counts is not None:
        return [int(c) for c in counts]
    labels = getattr(dataset, "labels", None)
    if labels is None:
        labels = [dataset[i]["label"] for i in range(len(dataset))]  # type: ignore[arg-type]  # torch's Dataset promises no length
    result = [0] * num_classes
    for label in labels:
        result[int(label)] += 1
    return result


def people(dataset: Dataset[dict[str, Any]]) -> dict[str, list[str]]:
    """Return who is in a part: ``{"eeg": ids, "faces": ids}``, sorted.

    Args:
        dataset: A data set with ``subjects`` and ``people``, else it is read through once.
    """
    if hasattr(dataset, "subjects") and hasattr(dataset, "people"):
        return {"eeg": sorted(map(str, dataset.subjects)), "faces": sorted(map(str, dataset.people))}
    items = [dataset[i] for i in range(len(dataset))]  # type: ignore[arg-type]  # as above
    return {
        "eeg": sorted({str(item["eeg_subject"]) for item in items}),
        "faces": sorted({str(item["face_id"]) for item in items}),
    }


def check_disjoint(split: dict[str, dict[str, list[str]]]) -> None:
    """Refuse a split with somebody in two parts.

    Args:
        split: :func:`people` by part.

    Raises:
        DataError: If somebody is in two parts; the message names them.

    Example:
        >>> check_disjoint({"train": {"eeg": ["00", "01"]}, "test": {"eeg": ["01"]}})
        Traceback (most recent call last):
            ...
        evermodels.core.errors.DataError: split: eeg of 01 are in train and in test. ...
    """
    names = list(split)
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            for kind in split[first]:
                both = sorted(set(split[first][kind]) & set(split[second][kind]))
                if both:
                    raise DataError(
                        f"split: {kind} of {', '.join(both)} are in {first} and in {second}. "
                        "Nobody may be on two sides; split by person."
                    )
