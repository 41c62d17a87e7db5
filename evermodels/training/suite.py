"""Suites: models × data sets × seeds under one loss, one schedule and learning rates by family, as single runs."""

from __future__ import annotations

import fnmatch
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from evermodels.core import registry
from evermodels.core.config import Config
from evermodels.core.errors import ConfigError, UnknownNameError, boundary, did_you_mean
from evermodels.core.specs import MODALITIES
from evermodels.datasets.parts import DataSettings
from evermodels.training.estimators import ESTIMATORS
from evermodels.training.paper_numbers import paper_numbers
from evermodels.training.recipe import SECTIONS, Recipe, check_name, merged, recipe_values
from evermodels.training.settings import LossSettings, OptimSettings, SelectionSettings, check_plain

FOLDER = "suites"
_MOST_FOLDS, _DEEPEST = 1000, 8


@dataclass(frozen=True)
class DataSet(Config):
    """One data set of a suite, with the split that it is reported by.

    Args:
        modalities: What its items hold.
        num_classes: Classes.
        data: Settings as in a recipe's ``[data]``; ``fold`` is put in.
        title: How the tables call it (default: its name).
        folds: Folds over people, in which everybody is a test person once; 1 for a fixed split.
        seeds: The seeds that its protocol names.
        paper: Name of the set in EVER's Tables 1 and 2, where it is one of theirs
            (:func:`~evermodels.training.paper_numbers.paper_numbers`).
        overrides: Values of a recipe that differ for it, nested as there.

    Raises:
        ConfigError: For an unknown key, a wrong type or an impossible value.

    Example:
        >>> DataSet(("eeg",), 2, {"dataset": "eegmat"}, folds=7)
        Traceback (most recent call last):
            ...
        evermodels.core.errors.ConfigError: EEGMATSettings.fold: expected 0 to 5 with protocol 2, else 0, got 6.
    """

    modalities: tuple[str, ...]
    num_classes: int
    data: Mapping[str, Any]
    title: str = ""
    folds: int = 1
    seeds: tuple[int, ...] = (0, 1, 2)
    paper: str | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)

    def check(self) -> None:
        """Refuse unknown modalities, impossible folds and seeds, and folds that the data have not."""
        unknown = [name for name in self.modalities if name not in MODALITIES]
        if unknown or not self.modalities or len(set(self.modalities)) != len(self.modalities):
            raise self.refuse("modalities", f"some of {', '.join(MODALITIES)}, each once")
        if not 1 <= self.folds <= _MOST_FOLDS:
            raise self.refuse("folds", f"1 to {_MOST_FOLDS}")
        check_seeds(self.seeds, "DataSet.seeds")
        check_plain("DataSet.overrides", self.overrides)
        check_sections(self.overrides, "DataSet.overrides")
        if self.paper is not None and self.paper not in paper_numbers()["numbers"]:
            raise self.refuse("paper", f"one of {', '.join(paper_numbers()['numbers'])}, or none")
        self.settings(self.folds - 1)

    def settings(self, fold: int) -> DataSettings:
        """Return the data's settings for a fold.

        Args:
            fold: From 0.
        """
        own = {"fold": fold} if self.folds > 1 else {}
        return DataSettings.from_dict({**self.data, **own})


@dataclass(frozen=True)
class Family(Config):
    """Learning rates of some models, as ``[optim.lr]`` of a recipe.

    Args:
        models: Shell patterns of their names.
        lr: Rates by sub-module, and ``rest``.
    """

    models: tuple[str, ...]
    lr: Mapping[str, float]

    def check(self) -> None:
        """Refuse rates below 0."""
        if not self.models or any(rate < 0 for rate in self.lr.values()):
            raise self.refuse("lr", "rates of at least 0, of at least one pattern in models")


@dataclass(frozen=True)
class Suite(Config):
    """Models and data sets, and the one way in which all are trained.

    Args:
        name: Its name: letters, digits, ``-`` and ``_``.
        description: What its numbers mean.
        models: Names in the registry, or of :data:`~evermodels.training.ESTIMATORS`; ``NAME:eeg`` or
            ``NAME:eeg+video`` takes only these modalities of a system.
        datasets: Names of ``sets``.
        sets: The data sets by name.
        families: Learning rates; the first entry that fits a model's name.
        rate_factor: What all of them are multiplied by.
        C: Inverse strengths of the regularisation that are tried for models that are no networks.
        optim: As a recipe's ``[optim]``, without ``lr``.
        loss: As a recipe's ``[loss]``.
        selection: As a recipe's ``[selection]``.
        overrides: Values of a recipe that differ for some models, by shell pattern.
        changes: The ``key=value`` overrides that it was loaded with.
        source: The name or file that it was loaded from.

    Raises:
        ConfigError: For an unknown key, a wrong type or an impossible value.
        UnknownNameError: For a data set that there is not.
    """

    name: str
    description: str = ""
    models: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    sets: Mapping[str, DataSet] = field(default_factory=dict)
    families: tuple[Family, ...] = ()
    rate_factor: float = 1.0
    C: tuple[float, ...] = (1.0,)
    optim: Mapping[str, Any] = field(default_factory=dict)
    loss: Mapping[str, Any] = field(default_factory=dict)
    selection: SelectionSettings = field(default_factory=SelectionSettings)
    overrides: Mapping[str, Any] = field(default_factory=dict)
    changes: tuple[str, ...] = ()
    source: str | None = None

    def check(self) -> None:
        """Refuse bad names, data sets that there are not, and settings that no recipe takes."""
        check_name(self)
        if not self.rate_factor > 0:
            raise self.refuse("rate_factor", "a positive number")
        if not self.C or min(self.C) <= 0:
            raise self.refuse("C", "positive numbers")
        if "lr" in self.optim:
            raise ConfigError("Suite.optim.lr: rates are of families of models. Give them under [[families]].")
        OptimSettings.from_dict(self.optim, where="Suite.optim")
        LossSettings.from_dict(self.loss, where="Suite.loss")
        for pattern, sections in self.overrides.items():
            check_sections(sections, f"Suite.overrides.{pattern}")
        for name in self.datasets:
            self.dataset(name)

    def dataset(self, name: str) -> DataSet:
        """Return a data set by name.

        Args:
            name: Its name.

        Raises:
            UnknownNameError: If there is none.
        """
        if name not in self.sets:
            raise UnknownNameError(
                f"datasets: suite {self.name!r} has no {name!r}.{did_you_mean(name, self.sets)} "
                f"It has: {', '.join(self.sets) or 'none'}."
            )
        return self.sets[name]

    def rate(self, model: str) -> dict[str, float]:
        """Return the learning rates of a model.

        Args:
            model: Its name in the registry.

        Raises:
            ConfigError: If no entry of ``families`` is for it.
        """
        for entry in self.families:
            if any(fnmatch.fnmatchcase(model, pattern) for pattern in entry.models):
                return {part: rate * self.rate_factor for part, rate in entry.lr.items()}
        raise ConfigError(
            f"suite.families: there is no learning rate for {model!r}. Add one; models = ['*'] is for all."
        )


class Unit(NamedTuple):
    """One run: a model, a data set, a fold and a seed.

    Attributes:
        model: As it was asked for, such as ``"ever_tiny:eeg"``.
        dataset: Name of the data set.
        fold: The fold, from 0.
        seed: The seed.
        modalities: What the model takes of it.
        recipe: What is trained, or which windows are read.
        estimator: Its name, where it is no network.
    """

    model: str
    dataset: str
    fold: int
    seed: int
    modalities: tuple[str, ...]
    recipe: Recipe
    estimator: str | None

    @property
    def folder(self) -> str:
        """Its place below the folder of all runs."""
        return f"{self.dataset}/{slug(self.model)}/fold-{self.fold}/seed-{self.seed}"

    def __str__(self) -> str:
        return f"{self.model} on {self.dataset}, fold {self.fold}, seed {self.seed}"


class Plan(NamedTuple):
    """What is to be run, and what does not go together.

    Attributes:
        units: The runs: seed by seed, so that whole tables of few seeds come first.
        left_out: Why a model is not run on a data set, a sentence each.
    """

    units: tuple[Unit, ...]
    left_out: tuple[str, ...]


def load_suite(name_or_path: str | Path = "unified", overrides: Iterable[str] = ()) -> Suite:
    """Load a suite, with some values changed.

    Args:
        name_or_path: Name of a suite that comes with the package, or a path to a ``.toml`` file. ``extends`` names
            another one whose values hold where this one has none; a path is relative to the file.
        overrides: Changes such as ``"optim.epochs=3"``.

    Returns:
        The checked, frozen suite.

    Raises:
        UnknownNameError: If there is no such suite.
        ConfigError: If the file is not TOML, or a key, type or value does not fit.

    Example:
        >>> suite = load_suite("eeg_models", ["optim.epochs=3"])
        >>> suite.optim["epochs"], suite.datasets
        (3, ('eegmat-1', 'eegmat-2'))
    """
    values = recipe_values(name_or_path, overrides, folder=FOLDER)
    with boundary(ConfigError, f"suite {str(name_or_path)!r}: it or its overrides cannot be used", "Mend the file."):
        base, below = values.pop("extends", None), str(name_or_path)
        for _ in range(_DEEPEST):
            if base is None:
                break
            if not isinstance(base, str):
                raise ConfigError(f"suite.extends: expected a name or a file, got {base!r}.")
            below = str(Path(below).parent / base) if base.endswith(".toml") else base
            under = recipe_values(below, folder=FOLDER)
            base = under.pop("extends", None)
            values = merged(under, values)
        if base is not None:
            raise ConfigError(f"suite.extends: more than {_DEEPEST} suites, one upon the other. Is it a circle?")
        return Suite.from_dict(values, where=f"suite {str(name_or_path)!r}")


def plan(
    suite: Suite,
    *,
    models: Sequence[str] | None = None,
    datasets: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    folds: Sequence[int] | None = None,
) -> Plan:
    """Return all runs that models, data sets and seeds make.

    Args:
        suite: The suite.
        models: Models (default: the suite's).
        datasets: Data sets (default: the suite's).
        seeds: Seeds (default: those that each data set's protocol names).
        folds: Folds (default: all).

    Raises:
        UnknownNameError: If there is no such model or data set.
        ConfigError: If nothing goes together, a model could take one of several modalities, or a value does not fit.

    Example:
        >>> made = plan(load_suite(), models=["eegnet_tiny", "svm_de"], datasets=["eegmat-1", "faces"], seeds=[0])
        >>> [str(unit) for unit in made.units]
        ['eegnet_tiny on eegmat-1, fold 0, seed 0', 'svm_de on eegmat-1, fold 0, seed 0']
        >>> made.left_out[0]
        'eegnet_tiny takes eeg, and faces has video'
    """
    chosen = {"models": models or suite.models, "datasets": datasets or suite.datasets}
    for key, names in chosen.items():
        if not names or len(set(names)) != len(names):
            raise ConfigError(f"{key}: expected at least one, each once, got {', '.join(names) or 'none'}.")
    if seeds is not None:
        check_seeds(seeds, "seeds")
    takes: dict[tuple[str, str], tuple[str, ...]] = {}
    left_out = []
    for dataset, model in itertools.product(chosen["datasets"], chosen["models"]):
        there = suite.dataset(dataset).modalities
        wanted = _takes(model, there)
        if set(wanted) <= set(there):
            takes[dataset, model] = wanted
        else:
            left_out.append(f"{model} takes {' and '.join(wanted)}, and {dataset} has {' and '.join(there)}")
    if not takes:
        raise ConfigError(f"models, datasets: none goes with another: {'; '.join(left_out)}.")
    places = []
    for order, dataset in enumerate(chosen["datasets"]):
        own = suite.dataset(dataset)
        for fold, seed in itertools.product(_folds(own, folds), seeds or own.seeds):
            places += [(seed, order, fold, dataset, model) for model in chosen["models"] if (dataset, model) in takes]
    places.sort(key=lambda place: place[:3])  # stable: the models stay as they were asked for
    units = [
        _unit(suite, model, dataset, (fold, seed), takes[dataset, model]) for seed, _, fold, dataset, model in places
    ]
    return Plan(tuple(units), tuple(left_out))


def _folds(dataset: DataSet, asked: Sequence[int] | None) -> Sequence[int]:
    if wrong := [fold for fold in asked or () if not 0 <= fold < dataset.folds]:
        raise ConfigError(f"folds: expected some of 0 to {dataset.folds - 1}, got {wrong[0]}.")
    return range(dataset.folds) if asked is None else asked


def _takes(text: str, there: Sequence[str]) -> tuple[str, ...]:
    """Return the modalities that a model takes of those that are there, or of which some are not."""
    name, _, said = text.partition(":")
    if name in ESTIMATORS:
        own: tuple[str, ...] = ("eeg",)
        kind = "estimator"
    elif name in registry.MODELS:
        own, kind = registry.entry(name).modalities, registry.entry(name).kind
    else:
        known = [*registry.MODELS, *ESTIMATORS]
        raise UnknownNameError(
            f"models: {name!r} does not exist.{did_you_mean(name, known)} `evermodels list` shows the networks; the "
            f"others are {', '.join(ESTIMATORS)}."
        )
    if said:
        wanted = tuple(said.split("+"))
        if unknown := [modality for modality in wanted if modality not in own]:
            raise ConfigError(f"models: {text!r}: {name} takes {', '.join(own)}, not {unknown[0] or 'nothing'}.")
        own = wanted
    if kind != "backbone":
        return own
    fits = tuple(modality for modality in own if modality in there)
    if len(fits) > 1:
        ways = " or ".join(f"{name}:{modality}" for modality in fits)
        raise ConfigError(f"models: {name} is an encoder of one modality and could take {', '.join(fits)}. Say {ways}.")
    return (fits or own)[:1]


def _unit(suite: Suite, model: str, dataset: str, place: tuple[int, int], takes: tuple[str, ...]) -> Unit:
    (fold, seed), own, name = place, suite.dataset(dataset), model.partition(":")[0]
    estimator = name if name in ESTIMATORS else None
    config: dict[str, Any] = {"num_classes": own.num_classes}
    if estimator is None and registry.entry(name).kind == "system":
        architecture = name
        if set(takes) != set(registry.entry(name).modalities):
            config["modalities"] = list(takes)
    else:
        architecture = f"single_{takes[0]}"
        if estimator is None:
            config["encoders"] = {takes[0]: {"name": name}}
    values: dict[str, Any] = {
        "data": own.settings(fold).to_dict(),
        "model": {"architecture": architecture, "config": config},
        "optim": {**suite.optim, "lr": suite.rate(name)},
        "loss": dict(suite.loss),
        "selection": suite.selection.to_dict(),
    }
    values = merged(values, own.overrides)
    for pattern, sections in suite.overrides.items():
        if fnmatch.fnmatchcase(model, pattern):
            values = merged(values, sections)
    words = ["benchmark", "--suite", suite.source or suite.name]
    words += [word for change in suite.changes for word in ("--set", change)]
    words += ["--models", model, "--datasets", dataset, *(["--folds", str(fold)] if own.folds > 1 else [])]
    values |= {"name": f"{dataset}-{slug(model)}"[:100], "words": words}
    recipe = Recipe.from_dict(values, where=f"{model} on {dataset}")
    return Unit(model, dataset, fold, seed, takes, recipe, estimator)


def slug(model: str) -> str:
    """Return a model's name as a folder's.

    Args:
        model: Such as ``"ever_tiny:eeg"``.

    Example:
        >>> slug("ever_tiny:eeg+video")
        'ever_tiny-eeg-video'
    """
    return model.replace(":", "-").replace("+", "-")


def check_seeds(seeds: Sequence[int], where: str) -> None:
    """Refuse no seeds, the same twice, and negative ones.

    Args:
        seeds: The seeds.
        where: A name for the message.

    Raises:
        ConfigError: If they are none.
    """
    if not seeds or len(set(seeds)) != len(seeds) or min(seeds) < 0:
        raise ConfigError(f"{where}: expected whole numbers of at least 0, each once, got {list(seeds)}.")


def check_sections(sections: Any, where: str) -> None:
    """Refuse sections that no recipe has.

    Args:
        sections: Values by section.
        where: A name for the message.

    Raises:
        ConfigError: If there is one.
    """
    if not isinstance(sections, Mapping):
        raise ConfigError(f"{where}: expected values by section, got {type(sections).__name__}.")
    for key in sections:
        if key not in SECTIONS:
            raise ConfigError(
                f"{where} has no section {key!r}.{did_you_mean(key, SECTIONS)} Allowed: {', '.join(SECTIONS)}."
            )
