"""Training of one row at one seed: resumable, never chosen on test people, tested once at the end."""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset

from evermodels.core.errors import CheckpointError, ConfigError, did_you_mean, require
from evermodels.datasets.parts import Parts, check_disjoint
from evermodels.datasets.splits import PARTS
from evermodels.training import provenance
from evermodels.training.batches import EpochSampler, Mixup, collate, mix_seeds, model_inputs
from evermodels.training.bootstrap import intervals, metric_names
from evermodels.training.build import build_model
from evermodels.training.distillation import Teachers, imitation, teacher_seeds
from evermodels.training.evaluation import predict
from evermodels.training.metrics import summarize
from evermodels.training.objective import FactorLoss, disagreement
from evermodels.training.optim import MovingAverage, hold, make_optimizer
from evermodels.training.predictions import Predictions
from evermodels.training.recipe import Recipe
from evermodels.training.state import (
    RESTART,
    TEACHERS,
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

EVAL_BATCH = 64
_SMALLEST = ("nll", "loss")
_LAST = "last"


def run_folder(run_root: str | os.PathLike[str], row: str, seed: int) -> Path:
    """Return the folder of one run: ``run_root/row/seed-N``.

    Args:
        run_root: Folder of all runs of a recipe.
        row: Name of the row.
        seed: The seed.

    Example:
        >>> run_folder("runs/ever_tiny_quadrant", "eeg", 1).as_posix()
        'runs/ever_tiny_quadrant/eeg/seed-1'
    """
    return Path(run_root) / row / f"seed-{seed}"


@contextlib.contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def fit(
    recipe: Recipe,
    run_dir: str | os.PathLike[str],
    *,
    seed: int = 0,
    data_root: str | os.PathLike[str] | None = None,
    row: str | None = None,
    init_from: Mapping[str, str | os.PathLike[str]] | None = None,
    resume: bool = True,
    progress: bool = True,
    parts: Parts | Callable[[int], Parts] | None = None,
) -> dict[str, Any]:
    """Train one row of a recipe at one seed, keep the epoch that is best on validation people, test it once.

    EVER, section 4.1 and A.2, except that the paper picks the epoch on its only held-out split; here validation people
    are apart from test people, or the last epoch is kept and nobody chooses (``selection.metric = "last"``). The order
    of the data, the augmentation and dropout depend on ``(seed, epoch)`` alone and the state is saved whole after every
    epoch: a run that was killed goes on where it stood and ends, on the CPU, with the same weights bit for bit. A
    finished run is not repeated.

    Where the recipe asks for teachers (``distil.teachers``) the same row is first trained so many times without them,
    each with a seed of its own, into ``teachers/0``, ``teachers/1``, ...; the model then learns their mean answer.

    The folder receives ``run.json`` (what is run), ``metrics.jsonl`` (one line an epoch), ``model/`` (the best epoch, a
    checkpoint), ``result.json``, and ``predictions.npz`` (test part) and ``predictions_validation.npz``, unless nobody
    is in the validation part.

    Args:
        recipe: The recipe, as :func:`load_recipe` returns it.
        run_dir: Folder of the run; made if it does not exist.
        seed: Seed of weights, order, augmentation and dropout.
        data_root: Folder of the recordings (default: ``EVERMODELS_DATA``).
        row: The row to train (default: the recipe's full model).
        init_from: Checkpoint folders to take encoders from, by modality, or all weights, by ``model``; a row that
            starts from others needs theirs.
        resume: Whether an unfinished run goes on; ``False`` begins anew and removes what this run had written, when
            recipe, model and data have been found to be right.
        progress: Whether to show a bar.
        parts: The data (default: the recipe's). Made beforehand, teachers see the same draws; or what makes them of a
            seed, so that each training has its own.

    Returns:
        The content of ``result.json``.

    Raises:
        TrainingError: If the folder holds another run, is damaged or cannot be written, another process trains there,
            or the loss is not finite.
        ConfigError: If the recipe does not fit the model or the data.
        CheckpointError: If an encoder to start from is missing or does not fit.
        DataError: If the data is missing, or somebody is in two parts.

    Example:
        >>> from evermodels.training import fit, load_recipe, run_folder
        >>> fit(load_recipe("ever_tiny_quadrant"), run_folder("runs", "ever", 0), row="evr")
        Traceback (most recent call last):
            ...
        evermodels.core.errors.UnknownNameError: row: recipe 'ever_tiny_quadrant' has no 'evr'. Did you mean 'ever'? ...
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ConfigError(f"seed: expected a whole number of at least 0, got {seed!r}.")
    run_dir = Path(run_dir)
    chosen = recipe.row(row)
    settled = recipe.for_row(row)
    sources = {modality: Path(folder) for modality, folder in (init_from or {}).items()}
    unknown = [m for m in chosen.init_from if m not in sources] if chosen is not None else []
    if chosen is not None and unknown:
        said = ", ".join(f"{m} of {chosen.init_from[m]!r}" for m in unknown)
        raise ConfigError(
            f"init_from: row {chosen.name!r} starts from {said}. Give the checkpoint folders by modality, or let "
            "finetune or run_rows train and find them."
        )
    described = {
        "recipe": recipe.name,
        "row": chosen.name if chosen else None,
        "seed": seed,
        "recipe_digest": settled.digest(),
        "init_from": dict(chosen.init_from) if chosen else {},
        "settings": {k: v for k, v in settled.to_dict().items() if k not in ("rows", "full")},
    }
    if resume and (finished := found(run_dir, described)) is not None:
        return finished
    with folder_made(run_dir):
        teachers = []
        for number, own in enumerate(teacher_seeds(seed, settled.distil.teachers)):
            folder = run_dir / TEACHERS / str(number)
            again: dict[str, Any] = {"resume": resume, "progress": progress, "parts": parts, "init_from": init_from}
            fit(recipe.teacher(), folder, seed=own, row=row, data_root=data_root, **again)
            teachers.append(folder / "model")
        with locked(run_dir), _threads(settled.optim.num_threads):
            if not resume:
                check_folder(run_dir)
            elif (finished := found(run_dir, described)) is not None:
                return finished
            return _Run(
                recipe=settled,
                run_dir=run_dir,
                seed=seed,
                described=described,
                sources=sources,
                teachers=teachers,
                data_root=data_root,
                resume=resume,
                progress=progress,
                parts=parts,
            ).go()


class _Run:
    """One training; the steps of :func:`fit` in order."""

    def __init__(
        self,
        *,
        recipe: Recipe,
        run_dir: Path,
        seed: int,
        described: dict[str, Any],
        sources: Mapping[str, Path],
        teachers: Sequence[Path],
        data_root: str | os.PathLike[str] | None,
        resume: bool,
        progress: bool,
        parts: Parts | Callable[[int], Parts] | None,
    ) -> None:
        accelerate: Any = require("accelerate", extra="train", purpose="train")
        self.tqdm: Any = require("tqdm.auto", extra="train", purpose="show progress").tqdm
        self.recipe, self.run_dir, self.seed, self.described, self.progress = recipe, run_dir, seed, described, progress
        self.resume, self.load_before = resume, provenance.machine()
        optim = recipe.optim
        self.accelerator = accelerate.Accelerator(mixed_precision=optim.mixed_precision)
        self.set_seed = accelerate.utils.set_seed
        self.set_seed(mix_seeds(seed))
        model = build_model(recipe)
        self.fresh: tuple[str, ...] = ()
        for part, folder in sources.items():
            if part == "model":
                self.fresh = model.load_weights(folder)
            else:
                model.load_encoder(part, folder)
        self.held = hold(model, optim, self.fresh)
        made = parts(seed) if callable(parts) else parts
        self.parts = made or recipe.data.parts(model.input_spec, seed=seed, data_root=data_root)
        if model.config.num_classes != len(self.parts.classes):
            raise ConfigError(
                f"model.config.num_classes: expected {len(self.parts.classes)} ({', '.join(self.parts.classes)}), "
                f"got {model.config.num_classes}."
            )
        self.split = {name: self.parts.people(name) for name in PARTS}
        check_disjoint(self.split)
        self.validated = len(self.parts.validation) > 0  # type: ignore[arg-type]  # torch's Dataset promises no length
        metrics = (*metric_names(self.parts.levels), *_SMALLEST, _LAST)
        if recipe.selection.metric not in metrics:
            raise ConfigError(
                f"selection.metric: expected one of {', '.join(metrics)}, got {recipe.selection.metric!r}."
                f"{did_you_mean(recipe.selection.metric, metrics)}"
            )
        if not self.validated and recipe.selection.metric != _LAST:
            raise ConfigError(
                f"selection.metric: nobody is in the validation part to choose an epoch by "
                f"{recipe.selection.metric!r}. Give 'last' to keep the last one, or put people there."
            )
        model.classes, model.factors = self.parts.classes, self.parts.factors
        length = len(self.parts.train)  # type: ignore[arg-type]  # torch's Dataset promises no length
        if length < optim.batch_size:
            raise ConfigError(
                f"optim.batch_size: expected at most {length}, the training samples, got {optim.batch_size}."
            )
        # A checkpoint brings the statistics that its weights were trained with.
        if not model.has_statistics:
            self._draw(0)  # where an earlier run went through the same parts
            model.fit_statistics(DataLoader(self.parts.train, batch_size=EVAL_BATCH, collate_fn=collate))
        loader: DataLoader[dict[str, Any]] = DataLoader(
            self.parts.train,
            batch_size=optim.batch_size,
            sampler=EpochSampler(length, seed, getattr(self.parts.train, "group", 1)),
            drop_last=True,
            collate_fn=collate,
            num_workers=recipe.data.num_workers,
            # Workers that live on keep what they have decoded.
            persistent_workers=recipe.data.num_workers > 0,
        )
        self.criterion = self._loss(model)
        optimizer, schedule = make_optimizer(model, optim, len(loader))
        self.average = MovingAverage(model, optim.ema_decay) if optim.ema_decay is not None else None
        self.plain = model
        self.model, self.optimizer, self.loader, self.schedule = self.accelerator.prepare(
            model, optimizer, loader, schedule
        )
        self.criterion.to(self.accelerator.device)
        self.teachers = Teachers(teachers, model, self.accelerator.device) if teachers else None
        if self.average is not None:
            self.average.to(self.accelerator.device)
        self.mixup = Mixup(model.input_spec, optim.mixup_alpha) if optim.mixup_alpha is not None else None
        self.best: dict[str, Any] = {"value": None, "epoch": None}
        self.history: list[dict[str, Any]] = []

    def _loss(self, model: Any) -> nn.Module:
        loss, counts = self.recipe.loss, self.parts.class_counts()
        if loss.factor is None:
            criterion: nn.Module = model.make_loss(counts, **loss.values)
            return criterion
        of_factor = FactorLoss(None, self.parts.factors, loss.factor)
        counts = of_factor.counts(counts)
        of_factor.loss = model.make_loss(counts, num_classes=len(counts), **loss.values)
        return of_factor

    @property
    def evaluated(self) -> Any:
        """The model that is validated and kept: the moving average where there is one."""
        return self.plain if self.average is None else self.average.module

    def go(self) -> dict[str, Any]:
        """Train, choose, test, write."""
        try:
            if not self.resume and self.accelerator.is_main_process:
                clear(self.run_dir, everything=True)
            self.accelerator.wait_for_everyone()
            state = restore_state(self.accelerator, self.run_dir, self.average, self._identity())
            done = 0
            if state is not None:
                done, self.best, self.history = state["epochs_done"], state["best"], state["history"]
                self._best_model()  # what is damaged shows before hours of training
            elif self.accelerator.is_main_process:
                with writing(self.run_dir):
                    write_sealed(self.run_dir / "run.json", self.described)
            row = self.described["row"]
            title = f"{self.recipe.name}{f' {row}' if row else ''} seed {self.seed}"
            total = self.recipe.optim.epochs * len(self.loader)
            shown = self.progress and self.accelerator.is_main_process
            with self.tqdm(total=total, initial=done * len(self.loader), desc=title, disable=not shown) as bar:
                for epoch in range(done, self.recipe.optim.epochs):
                    self._epoch(epoch, bar)
            return self._finish(title)
        finally:
            self.accelerator.free_memory()

    def _draw(self, epoch: int) -> None:
        """Let the training part draw what it draws in an epoch, where it draws anything."""
        if hasattr(self.parts.train, "set_epoch"):
            self.parts.train.set_epoch(epoch)

    def _epoch(self, epoch: int, bar: Any) -> None:
        start = time.perf_counter()
        self.set_seed(mix_seeds(self.seed, epoch, 2))
        self._draw(epoch)
        self.loader.set_epoch(epoch)
        self.model.train()
        for module in self.held:
            module.eval()
        sums: dict[str, float] = {}
        for step, batch in enumerate(self.loader):
            terms = self._step(batch)
            if not math.isfinite(terms["total"]):
                raise TrainingError(
                    f"The loss is not finite in epoch {epoch + 1}, step {step + 1}: {terms}. Lower optim.lr or set "
                    "optim.grad_clip; the last whole epoch stays saved."
                )
            for name, value in terms.items():
                sums[name] = sums.get(name, 0.0) + value
            bar.update()
        line: dict[str, Any] = {
            "epoch": epoch + 1,
            "loss": {name: value / len(self.loader) for name, value in sums.items()},
            "lr": {group["name"]: group["lr"] for group in self.optimizer.param_groups},
        }
        last = epoch + 1 == self.recipe.optim.epochs
        if last or (epoch + 1) % self.recipe.selection.every == 0:
            self._validate(epoch + 1, line, bar, last=last)
        line["seconds"] = round(time.perf_counter() - start, 3)
        self.history.append(line)
        kept = {"run": self._identity(), "best": self.best, "history": self.history}
        save_state(self.accelerator, self.run_dir, epoch + 1, kept, self.average)
        if self.accelerator.is_main_process:
            with writing(self.run_dir):
                lines = "".join(json.dumps(entry, allow_nan=False) + "\n" for entry in self.history)
                write_text(self.run_dir / "metrics.jsonl", lines)

    def _validate(self, epoch: int, line: dict[str, Any], bar: Any, *, last: bool) -> None:
        """See what the validation people give, and keep the model if this epoch is the one so far."""
        metric, shown = self.recipe.selection.metric, {"loss": f"{line['loss']['total']:.3f}"}
        metrics: dict[str, Any] = {}
        if self.validated:
            metrics = line["validation"] = summarize(self._predict(self.evaluated, self.parts.validation))
            metrics.pop("per_person")
            if metric == "loss":
                metrics["loss"] = self._validation_loss()
        value = None
        if metric != _LAST:
            value = metrics[metric] * (-1 if metric in _SMALLEST else 1)
            shown[metric] = f"{abs(value):.3f}"
        if last if value is None else self.best["value"] is None or value > self.best["value"]:
            self.best = {"value": value, "epoch": epoch}
            self._keep(epoch, metrics)
        bar.set_postfix(shown)

    def _step(self, batch: dict[str, Any]) -> dict[str, float]:
        optim, device = self.recipe.optim, self.accelerator.device
        inputs = model_inputs(batch, self.plain.modalities, device, self.plain.masked)
        target = batch["label"].to(device)
        again = self._again(batch, inputs) if self.recipe.loss.consistency else {}
        present: Mapping[str, Tensor] | None = inputs.get("present")
        partner: Tensor | None = None
        factor = 1.0
        if self.mixup is not None:
            partner, factor = self.mixup.draw(target, present)
            inputs, again = self.mixup.mix(inputs), self.mixup.mix(again)
        terms: dict[str, Tensor] = {}
        draw = int(torch.randint(2**31, ())) if again else 0
        if again:
            torch.manual_seed(draw)
        output = self.model(**inputs)
        loss = self.criterion(output, target, present)
        total = loss.total
        if partner is not None:
            total = factor * total + (1 - factor) * self.criterion(output, partner, present).total
        if self.teachers is not None:
            terms["imitation"] = self._imitation(output.logits, inputs)
            weight = self.recipe.distil.weight
            total = (1 - weight) * total + weight * terms["imitation"]
        if again:
            torch.manual_seed(draw)  # the same dropout: what differs is the reading
            terms["consistency"] = disagreement(output.logits, self.model(**{**inputs, **again}).logits)
            total = total + self.recipe.loss.consistency * terms["consistency"]
        self.accelerator.backward(total)
        if optim.grad_clip is not None:
            self.accelerator.clip_grad_norm_(self.model.parameters(), optim.grad_clip)
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad()
        if self.average is not None:
            self.average.update_parameters(self.plain)
        terms = {**loss._asdict(), **terms, "total": total}
        return {name: float(value.detach()) for name, value in terms.items()}

    def _imitation(self, logits: Tensor, inputs: Mapping[str, Any]) -> Tensor:
        """How far the answers lie from the teachers', in what the loss looks at."""
        assert self.teachers is not None
        factor = self.criterion if isinstance(self.criterion, FactorLoss) else None
        return imitation(logits if factor is None else factor.logits(logits), self.teachers.answer(inputs, factor))

    def _again(self, batch: Mapping[str, Any], inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Second readings of what the model takes."""
        if "again" not in batch:
            raise ConfigError(
                "loss.consistency: expected 0, as the training items hold no second reading (again: tensors by "
                "modality). Ask the data set for it; the quadrant pairs have data.augment.twice."
            )
        return {name: x.to(self.accelerator.device) for name, x in batch["again"].items() if name in inputs}

    def _predict(self, model: nn.Module, dataset: Any, title: str = "validate", **settings: Any) -> Predictions:
        declared: dict[str, Any] = {"groups": self.parts.groups, "levels": self.parts.levels}
        return predict(model, dataset, batch_size=EVAL_BATCH, title=title, **declared, **settings)

    @torch.no_grad()
    def _validation_loss(self) -> float:
        """Mean of the loss over the validation part in batches of one random order, the same each time."""
        # Losses that compare samples need classes side by side, and a data set may hold them one after the other.
        count = len(self.parts.validation)  # type: ignore[arg-type]  # torch's Dataset promises no length
        order = torch.randperm(count, generator=torch.Generator().manual_seed(0)).tolist()
        mixed: Any = Subset(self.parts.validation, order)
        model, device, total = self.evaluated, self.accelerator.device, 0.0
        training = model.training
        model.eval()
        self.criterion.eval()
        try:
            for batch in DataLoader(mixed, batch_size=EVAL_BATCH, collate_fn=collate):
                inputs, target = model_inputs(batch, self.plain.modalities, device), batch["label"].to(device)
                total += len(target) * float(self.criterion(model(**inputs), target, inputs.get("present")).total)
        finally:
            model.train(training)
            self.criterion.train()
        return total / count

    def _keep(self, epoch: int, metrics: Mapping[str, Any]) -> None:
        if self.accelerator.is_main_process:
            training = {k: self.described[k] for k in ("recipe", "row", "seed", "recipe_digest")}
            training |= self.recipe.data.told()
            if bound := self.plain.bound_by:
                training.setdefault("licence", bound[0])
                training["attribution"] = [f"It was trained from weights under {licence}." for licence in bound]
            model = self.evaluated
            # The average is a copy that was made before the classes were known to all.
            model.classes, model.factors = self.parts.classes, self.parts.factors
            model.architecture = self.plain.architecture
            model.save_pretrained(
                self.run_dir / "model",
                training={**training, "epoch": epoch, **({"validation": dict(metrics)} if metrics else {})},
            )

    def _identity(self) -> dict[str, Any]:
        """Which run this is; a state of another one is not gone on from."""
        return {key: self.described[key] for key in ("recipe", "row", "seed", "recipe_digest", "init_from")}

    def _best_model(self) -> Any:
        from evermodels.checkpoints.load import from_pretrained

        if self.best["epoch"] is None:
            return None
        try:
            return from_pretrained(self.run_dir / "model", device=self.accelerator.device)
        except CheckpointError as error:
            raise TrainingError(f"The best epoch's model is damaged. {error} {RESTART}") from error

    def _finish(self, title: str) -> dict[str, Any]:
        self.accelerator.wait_for_everyone()
        start = time.perf_counter()
        best, metric = self._best_model(), self.recipe.selection.metric
        validation = self._predict(best, self.parts.validation) if self.validated else None
        test = self._predict(best, self.parts.test, f"{title} test", progress=self.progress, alone=True)
        result: dict[str, Any] = {
            **self._identity(),
            "classes": list(self.parts.classes),
            "scores": dict(self.parts.scores),
            "parameters": sum(p.numel() for p in best.parameters()),
            "selection": {"part": None if metric == _LAST else "validation", "metric": metric, **self.best},
            "validation": None if validation is None else summarize(validation),
            "test": {**summarize(test), "intervals": intervals(test)},
            **({"fresh": list(self.fresh)} if self.fresh else {}),
            "split": self.split,
            "pairs": {n: getattr(self.parts.part(n), "digest", None) for n in ("validation", "test")},
            "command": provenance.command(self.recipe, self.described["row"], self.seed),
            "versions": provenance.versions(),
            "commit": provenance.commit(),
            "device": str(self.accelerator.device),
        }
        result["machine"] = {"start": self.load_before, "end": provenance.machine()}
        result["seconds"] = round(sum(line["seconds"] for line in self.history) + time.perf_counter() - start, 1)
        if self.accelerator.is_main_process:
            with writing(self.run_dir):
                if validation is not None:
                    validation.save(self.run_dir / "predictions_validation.npz")
                test.save(self.run_dir / "predictions.npz")
                write_sealed(self.run_dir / "result.json", result)
            clear(self.run_dir)
        self.accelerator.wait_for_everyone()
        return result
