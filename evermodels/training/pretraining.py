"""Pre-training without labels: any model with a ``pretraining_loss(batch)``, resumable, over several data sets."""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from evermodels.core import registry
from evermodels.core.config import Config
from evermodels.core.errors import ConfigError, boundary, did_you_mean, require
from evermodels.core.specs import InputSpec
from evermodels.datasets.download import data_folder
from evermodels.datasets.eegmat import EEGMAT
from evermodels.datasets.exo import SSVEPExo
from evermodels.datasets.faces import LondonFaces
from evermodels.datasets.muse import Muse
from evermodels.datasets.unlabelled import (
    Cut,
    MixedMontages,
    MixingSampler,
    Unlabelled,
    UnlabelledWindows,
    join_items,
)
from evermodels.datasets.unlabelled_clips import UnlabelledClips
from evermodels.training import provenance
from evermodels.training.batches import mix_seeds
from evermodels.training.optim import make_optimizer
from evermodels.training.recipe import check_name, recipe_values
from evermodels.training.settings import ModelSettings, OptimSettings, check_plain
from evermodels.training.state import (
    TrainingError,
    check_folder,
    clear,
    folder_made,
    found,
    locked,
    restore_state,
    save_state,
    write_sealed,
    write_text,
    writing,
)

_SECTIONS = ("data", "model", "optim", "pretraining", "steps_per_epoch")


class Source(NamedTuple):
    """A data set without labels.

    Args:
        modality: What its items hold.
        read: Reads it from a folder, for some people, as a model's input spec and the settings say.
    """

    modality: str
    read: Callable[[Path, tuple[str, ...], InputSpec, UnlabelledSettings], Unlabelled]


def _form(spec: InputSpec, settings: UnlabelledSettings) -> dict[str, Any]:
    """Return how the readers of EEG make their windows."""
    if spec.eeg is None or spec.window_seconds is None:
        raise ConfigError(
            "model: it does not say at which rate it takes EEG. Give model.config.sfreq and the names of its channels."
        )
    edges = {"l_freq": settings.l_freq, "h_freq": settings.h_freq}
    return {"sfreq": spec.eeg.sfreq, "window_seconds": spec.window_seconds, **edges}


def _eegmat(folder: Path, people: tuple[str, ...], spec: InputSpec, settings: UnlabelledSettings) -> UnlabelledWindows:
    form = _form(spec, settings)
    eegmat = EEGMAT(folder, subjects=people or None, **form)
    made = [
        (f"eegmat/{person}", Cut(eegmat.windows(person, state), {}))
        for person in eegmat.subjects
        for state in eegmat.task
    ]
    return UnlabelledWindows.joined(made, eegmat.ch_names, "EEGMAT")


def _everybody(
    reader: Callable[..., Any],
) -> Callable[[Path, tuple[str, ...], InputSpec, UnlabelledSettings], UnlabelledWindows]:
    def make(folder: Path, people: tuple[str, ...], spec: InputSpec, settings: UnlabelledSettings) -> UnlabelledWindows:
        if people:
            raise ConfigError(f"data.people: {reader.__name__} is read whole. Leave its people out.")
        made: UnlabelledWindows = reader(folder, **_form(spec, settings)).unlabelled()
        return made

    return make


def _faces(folder: Path, people: tuple[str, ...], spec: InputSpec, settings: UnlabelledSettings) -> UnlabelledClips:
    if spec.video is None:
        raise ConfigError("model: it does not say which clips it takes. Choose one that takes video.")
    return UnlabelledClips(LondonFaces(folder), spec.video, people, clips_per_person=settings.clips_per_person)


UNLABELLED = {
    "eegmat": Source("eeg", _eegmat),
    "exo": Source("eeg", _everybody(SSVEPExo)),
    "muse": Source("eeg", _everybody(Muse)),
    "faces": Source("video", _faces),
}
"""The closed table of data sets that give windows or clips without labels, by the name of their folder."""

_LATER = ("clips_per_person", "together")


@dataclass(frozen=True)
class UnlabelledSettings(Config):
    """What is pre-trained on.

    Args:
        datasets: Names in :data:`UNLABELLED`, all of one modality.
        people: Only these people of a data set, by its name (default: everybody); of those who test a model later
            nothing may be seen, not even without labels.
        shares: Weight of each data set in a batch (default: the square root of its windows).
        l_freq: Lower edge of the band-pass of EEG in Hz, or ``None``.
        h_freq: Upper edge of the band-pass of EEG in Hz, or ``None``.
        held_out: Part of the windows of each set on which the loss is shown after each epoch; they train nothing.
        clips_per_person: Clips that are made of each person's photographs (``faces``).
        together: Windows of one person that a batch holds at once, a divisor of ``optim.batch_size``, for losses that
            compare a person's windows with each other; 1: whoever comes.
    """

    datasets: tuple[str, ...] = ("eegmat", "exo", "muse")
    people: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    shares: Mapping[str, float] = field(default_factory=dict)
    l_freq: float | None = 0.5
    h_freq: float | None = 45.0
    held_out: float = 0.02
    clips_per_person: int = 16
    together: int = 1

    def check(self) -> None:
        """Refuse names that are none."""
        if not self.datasets or len(set(self.datasets)) != len(self.datasets):
            raise self.refuse("datasets", f"some of {', '.join(UNLABELLED)}, each once")
        for name in self.datasets:
            if name not in UNLABELLED:
                raise ConfigError(
                    f"data.datasets: expected some of {', '.join(UNLABELLED)}, got {name!r}."
                    f"{did_you_mean(name, UNLABELLED)}"
                )
        for key in ("people", "shares"):
            if extra := [name for name in getattr(self, key) if name not in self.datasets]:
                raise ConfigError(f"data.{key}: {extra[0]!r} is not among data.datasets ({', '.join(self.datasets)}).")
        if not 0 < self.held_out < 1:
            raise self.refuse("held_out", "a part between 0 and 1")
        if len({UNLABELLED[name].modality for name in self.datasets}) > 1:
            said = ", ".join(f"{name} ({UNLABELLED[name].modality})" for name in self.datasets)
            raise ConfigError(f"data.datasets: expected sets of one modality, got {said}.")
        self.at_least(1, "clips_per_person", "together")

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON; settings that came later are left out where they do as the code before them did.

        So the digest of a recipe that does without them stays what it was.
        """
        later = {key: getattr(type(self), key) for key in _LATER}
        return {k: v for k, v in super().to_dict().items() if k not in later or getattr(self, k) != later[k]}

    def sets(self, spec: InputSpec, data_root: str | os.PathLike[str] | None = None) -> dict[str, Unlabelled]:
        """Read the windows or clips, by data set.

        Args:
            spec: What the model takes.
            data_root: Folder with a folder for each data set (default: ``EVERMODELS_DATA``).

        Raises:
            ConfigError: If the model takes another modality, or does not say how its recordings must look.
            DataError: If a data set is missing.
        """
        for name in self.datasets:
            if (modality := UNLABELLED[name].modality) not in spec.modalities:
                raise ConfigError(
                    f"data.datasets: {name} holds {modality}, and the model takes {', '.join(spec.modalities)}. "
                    "Choose sets and a model of one modality."
                )
        return {
            name: UNLABELLED[name].read(data_folder(name, data_root), tuple(self.people.get(name, ())), spec, self)
            for name in self.datasets
        }


@dataclass(frozen=True)
class PretrainingRecipe(Config):
    """A pre-training: data, model, optimiser, and what the model hides and restores.

    Args:
        name: Its name, also of its folder of runs: letters, digits, ``-`` and ``_``.
        description: What it trains and what its numbers mean.
        data: What is trained on.
        model: Which encoder.
        optim: How; an epoch has ``steps_per_epoch`` batches.
        pretraining: Values of the model's ``make_pretraining``.
        steps_per_epoch: Batches between two saved states.
        changes: The ``key=value`` overrides that it was loaded with.
        source: The name or file that it was loaded from.

    Raises:
        ConfigError: For an unknown key, a wrong type or an impossible value.
    """

    name: str
    description: str = ""
    data: UnlabelledSettings = field(default_factory=UnlabelledSettings)
    model: ModelSettings = field(default_factory=lambda: ModelSettings(architecture="mbsm_tiny"))
    optim: OptimSettings = field(default_factory=OptimSettings)
    pretraining: Mapping[str, Any] = field(default_factory=dict)
    steps_per_epoch: int = 100
    changes: tuple[str, ...] = ()
    source: str | None = None

    def check(self) -> None:
        """Refuse bad names, values that are no plain JSON, and what a pre-training cannot do."""
        check_name(self)
        check_plain("PretrainingRecipe.pretraining", self.pretraining)
        self.at_least(1, "steps_per_epoch")
        if self.optim.batch_size % self.data.together:
            raise ConfigError(
                f"data.together: expected a divisor of optim.batch_size ({self.optim.batch_size}), got "
                f"{self.data.together}."
            )
        for key in ("ema_decay", "mixup_alpha"):
            if getattr(self.optim, key) is not None:
                raise ConfigError(f"optim.{key}: expected none in a pre-training, got {getattr(self.optim, key)!r}.")

    def digest(self) -> str:
        """Return the sha256 of all that decides the weights."""
        plain = {key: value for key, value in self.to_dict().items() if key in _SECTIONS}
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def load_pretraining(name_or_path: str | Path, overrides: Iterable[str] = ()) -> PretrainingRecipe:
    """Load the recipe of a pre-training, with some values changed.

    Args:
        name_or_path: Name of one that comes with the package, or a path to a ``.toml`` file.
        overrides: Changes such as ``"optim.epochs=3"``.

    Raises:
        UnknownNameError: If there is no such recipe.
        ConfigError: If the file is not TOML, or a key, type or value does not fit.

    Example:
        >>> load_pretraining("mbsm_tiny_open", ["optim.epochs=3"]).optim.epochs
        3
    """
    values = recipe_values(name_or_path, overrides, folder="pretraining_recipes")
    text = f"recipe {str(name_or_path)!r}"
    with boundary(ConfigError, f"{text}: it or its overrides cannot be used", "Compare mbsm_tiny_open."):
        return PretrainingRecipe.from_dict(values, where=text)


def pretrain(
    recipe: PretrainingRecipe,
    run_dir: str | os.PathLike[str],
    *,
    seed: int = 0,
    data_root: str | os.PathLike[str] | None = None,
    resume: bool = True,
    progress: bool = True,
    sets: Mapping[str, Unlabelled] | None = None,
) -> dict[str, Any]:
    """Pre-train an encoder, and write it as a checkpoint.

    Order and masks depend on ``(seed, epoch)`` alone and the state is saved whole after every epoch, so that a run that
    was killed goes on where it stood and ends, on the CPU, with the same weights bit for bit.

    The folder receives ``run.json``, ``metrics.jsonl`` (a line an epoch) and at the end ``model/`` (the encoder) and
    ``result.json``.

    Args:
        recipe: As :func:`load_pretraining` returns it.
        run_dir: Folder of the run; made if it does not exist.
        seed: Seed of weights, order and masks.
        data_root: Folder of the recordings (default: ``EVERMODELS_DATA``).
        resume: Whether an unfinished run goes on; ``False`` begins anew and removes what this run had written.
        progress: Whether to show a bar.
        sets: Windows or clips by data set, read beforehand (default: the recipe's).

    Returns:
        The content of ``result.json``.

    Raises:
        TrainingError: If the folder holds another run, is damaged or cannot be written, another process trains there,
            or the loss is not finite.
        ConfigError: If the model has nothing to be pre-trained by.
        DataError: If the data is missing.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ConfigError(f"seed: expected a whole number of at least 0, got {seed!r}.")
    folder = Path(run_dir)
    described = {
        "recipe": recipe.name,
        "seed": seed,
        "recipe_digest": recipe.digest(),
        "settings": {key: value for key, value in recipe.to_dict().items() if key in _SECTIONS},
    }
    if resume and (finished := found(folder, described)) is not None:
        return finished
    with folder_made(folder), locked(folder):
        if not resume:
            check_folder(folder)
        elif (finished := found(folder, described)) is not None:
            return finished
        read = sets or recipe.data.sets(_spec(recipe), data_root)
        return _Pretraining(recipe, folder, seed, described, read, progress=progress).go(resume=resume)


def _spec(recipe: PretrainingRecipe) -> InputSpec:
    cls = registry.model_class(recipe.model.architecture)
    spec: InputSpec | None = cls.spec_of(cls.presets[recipe.model.architecture].replace(**recipe.model.config))
    if spec is None:
        raise ConfigError(
            f"model: {recipe.model.architecture} does not say how its recordings must look. Give what it lacks in "
            "model.config, for EEG sfreq and ch_names."
        )
    return spec


def _on(device: torch.device, batch: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value.to(device) if isinstance(value, Tensor) else value for key, value in batch.items()}


class _Loss(nn.Module):
    """The model as its loss, so that a forward pass is what is trained, also by several processes."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return the terms."""
        terms: dict[str, Tensor] = self.model.pretraining_loss(batch)
        return terms


def _trained_by(encoder: Any, values: Mapping[str, Any]) -> Any:
    if hasattr(encoder, "make_pretraining"):
        return encoder.make_pretraining(**values)
    if not hasattr(encoder, "pretraining_loss"):
        raise ConfigError(
            f"model.architecture: {type(encoder).__name__} has neither make_pretraining nor pretraining_loss, so there "
            "is nothing to pre-train it by. mbsm_tiny and videomae_nano have."
        )
    if values:
        raise ConfigError(f"pretraining: {type(encoder).__name__} takes no values, got {', '.join(values)}.")
    return encoder


class _Pretraining:
    """One pre-training."""

    def __init__(
        self,
        recipe: PretrainingRecipe,
        run_dir: Path,
        seed: int,
        described: dict[str, Any],
        sets: Mapping[str, Unlabelled],
        *,
        progress: bool,
    ) -> None:
        accelerate: Any = require("accelerate", extra="train", purpose="train")
        self.tqdm: Any = require("tqdm.auto", extra="train", purpose="show progress").tqdm
        self.recipe, self.run_dir, self.seed, self.described, self.progress = recipe, run_dir, seed, described, progress
        optim = recipe.optim
        self.accelerator = accelerate.Accelerator(mixed_precision=optim.mixed_precision)
        self.set_seed = accelerate.utils.set_seed
        self.set_seed(mix_seeds(seed))
        settings = recipe.model
        if settings.pretrained is not None:
            from evermodels.checkpoints.load import from_pretrained

            self.encoder: Any = from_pretrained(settings.pretrained, ch_names=settings.ch_names)
        else:
            self.encoder = registry.build(settings.architecture, **settings.config)
        whole = _Loss(_trained_by(self.encoder, recipe.pretraining))
        self.left_out = {name: windows.left_out for name, windows in sets.items()}
        every, run = max(2, round(1 / recipe.data.held_out)), recipe.data.together
        self.train = MixedMontages({name: _some(windows, every, run, held=False) for name, windows in sets.items()})
        self.held = {name: _some(windows, every, run, held=True) for name, windows in sets.items()}
        self.sampler = MixingSampler(
            self.train.sizes,
            optim.batch_size,
            steps=recipe.steps_per_epoch,
            shares=recipe.data.shares,
            seed=mix_seeds(seed, self.accelerator.process_index),
            together=recipe.data.together,
            persons={name: windows.persons for name, windows in self.train.sets.items()},
        )
        optimizer, schedule = make_optimizer(whole, optim, recipe.steps_per_epoch)
        # The schedule is stepped once a step here, whatever the number of processes.
        self.model, self.optimizer = self.accelerator.prepare(whole, optimizer)
        self.schedule = schedule
        self.accelerator.register_for_checkpointing(schedule)
        self.history: list[dict[str, Any]] = []

    def go(self, *, resume: bool) -> dict[str, Any]:
        """Train and write."""
        try:
            first = self.accelerator.is_main_process
            if not resume and first:
                clear(self.run_dir, everything=True)
            self.accelerator.wait_for_everyone()
            run = {key: self.described[key] for key in ("recipe", "seed", "recipe_digest")}
            state = restore_state(self.accelerator, self.run_dir, None, run)
            done = 0
            if state is not None:
                done, self.history = state["epochs_done"], state["history"]
            elif first:
                with writing(self.run_dir):
                    write_sealed(self.run_dir / "run.json", self.described)
            epochs, steps = self.recipe.optim.epochs, self.recipe.steps_per_epoch
            title = f"{self.recipe.name} seed {self.seed}"
            shown = self.progress and first
            with self.tqdm(total=epochs * steps, initial=done * steps, desc=title, disable=not shown) as bar:
                for epoch in range(done, epochs):
                    self._epoch(epoch, bar)
                    save_state(self.accelerator, self.run_dir, epoch + 1, {"run": run, "history": self.history}, None)
                    if first:
                        with writing(self.run_dir):
                            lines = "".join(json.dumps(entry, allow_nan=False) + "\n" for entry in self.history)
                            write_text(self.run_dir / "metrics.jsonl", lines)
            return self._finish(run)
        finally:
            self.accelerator.free_memory()

    def _epoch(self, epoch: int, bar: Any) -> None:
        start = time.perf_counter()
        self.set_seed(mix_seeds(self.seed, epoch, 2, self.accelerator.process_index))
        self.sampler.set_epoch(epoch)
        self.model.train()
        loader: DataLoader[dict[str, Any]] = DataLoader(self.train, batch_sampler=self.sampler, collate_fn=join_items)
        sums: dict[str, float] = {}
        for step, batch in enumerate(loader):
            terms = self.model(_on(self.accelerator.device, batch))
            total = float(terms["total"].detach())
            if not math.isfinite(total):
                raise TrainingError(
                    f"The loss is not finite in epoch {epoch + 1}, step {step + 1}. Lower optim.lr or set "
                    "optim.grad_clip; the last whole epoch stays saved."
                )
            self.accelerator.backward(terms["total"])
            if self.recipe.optim.grad_clip is not None:
                self.accelerator.clip_grad_norm_(self.model.parameters(), self.recipe.optim.grad_clip)
            self.optimizer.step()
            self.schedule.step()
            self.optimizer.zero_grad()
            for name, value in terms.items():
                sums[name] = sums.get(name, 0.0) + float(value.detach())
            bar.update()
        line = {
            "epoch": epoch + 1,
            "loss": {name: value / self.recipe.steps_per_epoch for name, value in sums.items()},
            "held_out": self._held_out(),
            "lr": self.optimizer.param_groups[0]["lr"],
        }
        bar.set_postfix({"loss": f"{line['loss']['total']:.3f}"})
        self.history.append({**line, "seconds": round(time.perf_counter() - start, 3)})

    def _held_out(self) -> dict[str, dict[str, float]]:
        """Terms of the loss on windows that train nothing, by data set; the same masks each time."""
        plain, size, found_ = self.accelerator.unwrap_model(self.model), self.recipe.optim.batch_size, {}
        plain.eval()
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            for name, windows in self.held.items():
                torch.manual_seed(0)
                sums: dict[str, float] = {}
                for first in range(0, len(windows), size):
                    rows = range(first, min(first + size, len(windows)))
                    batch = join_items([windows[i] for i in rows])
                    for term, value in plain(_on(self.accelerator.device, batch)).items():
                        sums[term] = sums.get(term, 0.0) + float(value) * len(rows) / len(windows)
                found_[name] = {term: round(value, 5) for term, value in sums.items()}
        return found_

    def _finish(self, run: Mapping[str, Any]) -> dict[str, Any]:
        self.accelerator.wait_for_everyone()
        result = {
            **run,
            "parameters": sum(p.numel() for p in self.encoder.parameters()),
            "windows": self.train.sizes,
            "people": {name: len(windows.people) for name, windows in self.train.sets.items()},
            "left_out": self.left_out,
            "last": self.history[-1],
            "versions": provenance.versions(),
            "machine": provenance.machine(),
            "seconds": round(sum(line["seconds"] for line in self.history), 1),
        }
        if self.accelerator.is_main_process:
            with writing(self.run_dir):
                training = {"recipe": run["recipe"], "recipe_digest": run["recipe_digest"], "seed": run["seed"]}
                training["datasets"] = list(self.recipe.data.datasets)
                self.encoder.eval().save_pretrained(self.run_dir / "model", training=training)
                write_sealed(self.run_dir / "result.json", result)
            clear(self.run_dir)
        self.accelerator.wait_for_everyone()
        return result


def _some(windows: Unlabelled, every: int, run: int, *, held: bool) -> Unlabelled:
    """Each so manieth run of windows, or all others; of a set with fewer the last."""
    count = len(windows)
    if count < 2:
        raise ConfigError(f"data: expected at least 2 windows of each set, got {count}.")
    chosen = {i for i in range(count) if i // run % every == every - 1} or set(
        range(count - min(run, count // 2), count)
    )
    return windows.part([i for i in range(count) if (i in chosen) == held])
