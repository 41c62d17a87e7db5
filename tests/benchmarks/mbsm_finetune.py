"""Does pre-training pay where the MBSM encoder is fine-tuned? Pre-trained weights against random ones, same budget.

    python tests/benchmarks/mbsm_finetune.py runs/mbsm_pays open=FOLDER --protocol 1 --draws 5
    python tests/benchmarks/mbsm_finetune.py runs/mbsm_pays other=FOLDER --protocol 2 --draws 1

trains by the recipe ``mbsm_tiny_eegmat`` (its rates, batches, loss and model; the epoch by balanced accuracy on
validation people, ties by their loss) from random weights and from each encoder that is named, on EEGMAT from
EVERMODELS_DATA, with all training people and with 1, 4 and 12 of them; beside it logistic regression on band power and
on the embedding of the frozen encoder (its penalty chosen on the same validation people). A draw is a seed of weights
and order, and with fewer people another choice of them; all rows have the same people. Fewer people have more epochs,
so that at least ``--least-steps`` steps are made. Each run is a line of ``FOLDER/runs.jsonl``: what is there is not run
again, so that the command can be repeated after a kill. ``--seconds`` ends it after so many, ``--table`` prints what is
there: mean over test people, ± over draws, and the differences to the first encoder with 95 % intervals by bootstrap
over test people. Nobody of the test people may have been in the pre-training, not even without labels.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mbsm_probe import COUNTS, balanced, by_person, windows
from quadrant_baselines import band_power
from sklearn.metrics import roc_auc_score
from torch.nn import functional as F

from evermodels.datasets.eegmat_parts import FOLDS, EEGMATSettings
from evermodels.datasets.splits import SubjectSplit
from evermodels.training import load_recipe
from evermodels.training.build import build_model
from evermodels.training.optim import make_optimizer

Scores = dict[str, list[float]]


def people(number: int, fold: int, count: int | None, draw: int) -> tuple[SubjectSplit, list[str]]:
    """The split, and who of its training people trains."""
    split = EEGMATSettings(protocol=number, fold=fold).split()
    order = np.random.default_rng(1000 * draw + fold).permutation(len(split.train))[:count]
    return split, [split.train[k] for k in order]


def scores(p: np.ndarray, label: np.ndarray, person: np.ndarray, who: tuple[str, ...]) -> Scores:
    """Balanced accuracy and AUROC by person."""
    here = {one: person == one for one in who}
    return {
        one: [balanced((p[k] > 0.5).astype(int), label[k]), float(roc_auc_score(label[k], p[k]))]
        for one, k in here.items()
    }


class Experiment:
    """All rows on the same windows."""

    def __init__(self, encoders: dict[str, str], least_steps: int, changes: list[str], how: str) -> None:
        self.recipe, self.how = load_recipe("mbsm_tiny_eegmat", changes).for_row("scratch"), how
        self.eeg, self.label, self.person = windows()
        self.encoders, self.least_steps = encoders, least_steps
        self.features = {"band power + LR": band_power(self.eeg.numpy(), 200.0)}

    def frozen(self, source: str | None, draw: int) -> np.ndarray:
        """Embeddings of an encoder that nothing trains."""
        key = f"{source} {draw if source is None else 0}"
        if key not in self.features:
            model = self.model(source, draw)
            with torch.inference_mode():
                made = [model.eeg_encoder(batch) for batch in self.eeg.split(64)]
            self.features[key] = torch.cat(made).numpy()
        return self.features[key]

    def model(self, source: str | None, draw: int) -> Any:
        """The recipe's model, its encoder from random or from trained weights."""
        torch.manual_seed(draw)
        model = build_model(self.recipe).eval()
        if source is not None:
            model.load_encoder("eeg", source)
        return model

    def linear(self, features: np.ndarray, split: SubjectSplit, train: list[str]) -> Scores:
        """Logistic regression."""
        found = by_person(features, self.label, self.person, split, train)
        return {one: list(map(float, score)) for one, score in zip(split.test, found, strict=True)}

    def finetuned(self, source: str | None, draw: int, split: SubjectSplit, train: list[str]) -> Scores:
        """Train by the recipe, and keep the epoch that is best on validation people."""
        model, optim = self.model(source, draw), self.recipe.optim
        rows, chosen = np.flatnonzero(np.isin(self.person, train)), np.isin(self.person, split.validation)
        per = max(1, len(rows) // optim.batch_size)
        optim = optim.replace(epochs=max(optim.epochs, -(-self.least_steps // per)))
        optimizer, schedule = make_optimizer(model, optim, per)
        loss = model.make_loss(np.bincount(self.label[rows], minlength=2), **self.recipe.loss.values)
        target, best, kept = torch.from_numpy(self.label), (-1.0, 0.0), {}
        order, shown = np.random.default_rng(draw), max(1, optim.epochs // self.recipe.optim.epochs)
        for epoch in range(optim.epochs):
            model.train()
            for batch in np.array_split(order.permutation(rows)[: per * optim.batch_size], per):
                loss(model(eeg=self.eeg[batch]), target[batch]).total.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), optim.grad_clip or torch.inf)
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()
            if (epoch + 1) % shown and epoch + 1 < optim.epochs:
                continue
            logits = self.logits(model, chosen)
            answer = logits.argmax(1).numpy()
            value = balanced(answer, self.label[chosen]), -float(F.cross_entropy(logits, target[chosen]))
            if value > best:
                best, kept = value, {key: tensor.clone() for key, tensor in model.state_dict().items()}
        model.load_state_dict(kept)
        tested = np.isin(self.person, split.test)
        p = self.logits(model, tested).softmax(1)[:, 1].numpy()
        return scores(p, self.label[tested], self.person[tested], split.test)

    @torch.inference_mode()
    def logits(self, model: Any, rows: np.ndarray) -> torch.Tensor:
        """Logits of some windows."""
        model.eval()
        return torch.cat([model(eeg=batch).logits for batch in self.eeg[torch.from_numpy(rows)].split(64)])

    def rows(self) -> list[tuple[str, str | None, bool]]:
        """Title, weights, and whether they are trained."""
        sources: dict[str, str | None] = {"random weights": None, **self.encoders}
        made: list[tuple[str, str | None, bool]] = [("band power + LR", None, False)]
        for how in ("frozen", *([self.how] if self.how else [])):
            made += [(f"{title}, {how}", source, how != "frozen") for title, source in sources.items()]
        return made

    def run(self, row: tuple[str, str | None, bool], split: SubjectSplit, train: list[str], draw: int) -> Scores:
        """Scores by person of one row."""
        title, source, trained = row
        if trained:
            return self.finetuned(source, draw, split, train)
        features = self.features[title] if title in self.features else self.frozen(source, draw)
        return self.linear(features, split, train)


def table(lines: list[dict[str, Any]], number: int, first: str) -> None:
    """Print the rows of one kind and band power, for draws of which all of them have all folds."""
    how = first.rpartition(", ")[2]
    lines = [x for x in lines if x["protocol"] == number and x["row"].endswith((f", {how}", "power + LR"))]
    titles = list(dict.fromkeys(line["row"] for line in lines))
    print(f"\nprotocol {number}: balanced accuracy, AUROC; mean over test people, ± over draws; minus {first!r}, 95 %")
    print("| training people | row | balanced accuracy | AUROC | draws | minus it | |\n|---|---|---|---|---|---|---|")
    for count in dict.fromkeys(line["count"] for line in lines):
        own = {
            t: {(x["draw"], x["fold"]): x["scores"] for x in lines if x["count"] == count and x["row"] == t}
            for t in titles
        }
        folds = range(FOLDS if number == 2 else 1)
        draws = [d for d in range(100) if all((d, f) in own[t] for f in folds for t in titles)]
        if not draws:
            continue
        by = {t: np.array([[s for f in sorted(folds) for s in own[t][d, f].values()] for d in draws]) for t in titles}
        chosen = np.random.default_rng(0).integers(by[first].shape[1], size=(5000, by[first].shape[1]))
        for t, values in by.items():
            mean, spread = values.mean((0, 1)), values.mean(1).std(0, ddof=1) if len(draws) > 1 else np.zeros(2)
            apart = (values - by[first]).mean(0)
            low, high = np.quantile(apart[chosen].mean(1), (0.025, 0.975), axis=0)
            said = (
                [f"{apart.mean(0)[k]:+.3f} [{low[k]:+.3f}, {high[k]:+.3f}]" for k in (0, 1)] if t != first else ["", ""]
            )
            cells = [f"{mean[k]:.3f} ± {spread[k]:.3f}" for k in (0, 1)]
            print(f"| {count or 'all'} | {t} | {cells[0]} | {cells[1]} | {len(draws)} | {said[0]} | {said[1]} |")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("encoders", nargs="*", help="TITLE=FOLDER")
    parser.add_argument("--protocol", type=int, choices=(1, 2), default=1)
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--counts", type=int, nargs="*", default=[count or 0 for count in COUNTS], help="0: all")
    parser.add_argument("--least-steps", type=int, default=120)
    parser.add_argument("--set", action="append", default=[], help="a change of the recipe, with a name of its own:")
    parser.add_argument("--how", default="fine-tuned", help="what these rows are called; empty: the frozen ones alone")
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    place = arguments.folder / "runs.jsonl"
    lines = [json.loads(line) for line in place.read_text().splitlines()] if place.exists() else []
    encoders = dict(one.split("=", 1) for one in arguments.encoders)
    if arguments.table:
        title = next(iter(encoders), None)
        table(lines, arguments.protocol, f"{title or 'random weights'}, {arguments.how or 'frozen'}")
        return 0
    start, experiment = time.monotonic(), Experiment(encoders, arguments.least_steps, arguments.set, arguments.how)
    have = {(x["row"], x["protocol"], x["fold"], x["count"], x["draw"]) for x in lines}
    for draw in range(arguments.draws):
        for count in (count or None for count in arguments.counts):
            for fold in range(FOLDS if arguments.protocol == 2 else 1):
                for row in experiment.rows():
                    key = (row[0], arguments.protocol, fold, count, draw)
                    if key in have:
                        continue
                    if time.monotonic() - start > arguments.seconds:
                        return 3
                    begun = time.process_time()
                    found = experiment.run(row, *people(*key[1:]), draw)
                    names = dict(zip(("row", "protocol", "fold", "count", "draw"), key, strict=True))
                    with place.open("a") as file:
                        took = round(time.process_time() - begun, 1)
                        file.write(json.dumps({**names, "scores": found, "cpu_seconds": took}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
