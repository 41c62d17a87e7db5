"""What a fusion keeps of what its EEG encoder knew of other people, by folds over the people 00-29.

    python tests/benchmarks/fusion_folds.py --run-dir runs/fusion

For each of five folds of six people, the rows "eeg" and "video" of the recipe are trained without them (the faces are
those of the recipe's own parts), then the full row in each of the ways of RATES, from these two. Everything answers all
windows of the fold's people after a minute of rest, with EEG alone. The people 30-35 are not read. It prints the mean
over the folds of balanced accuracy, AUROC and negative log-likelihood, and by fold the balanced accuracy. Finished runs
are not repeated. Reads the real recordings from EVERMODELS_DATA (default ../shared/data).
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
from baseline_folds import BLOCKS, WAYS, Windows, balanced
from scipy.special import expit
from sklearn.metrics import log_loss, roc_auc_score

import evermodels as em
from evermodels.datasets import LondonFaces, Parts, SubjectSplit, quadrant_split
from evermodels.training import Predictions, build_model, fit, load_recipe

SEED, FOLDS = 10, 5
_STAGE_ONE = ("fusion.proj", "fusion.local_gcn", "fusion.attention")


def rates(encoders: tuple[float, float], regions: float) -> tuple[str, ...]:
    """Return the changes of a recipe that give the EEG and video encoders and the regions' first stage these rates."""
    eeg, video = encoders
    first = ", ".join(f'"{name}" = {regions}' for name in _STAGE_ONE)
    changed = f"optim.lr={{eeg_encoder = {eeg}, video_encoder = {video}, rest = 1e-3, {first}}}"
    return (changed, "selection.every=6")  # the last epoch: the fold chooses nothing


RATES = {
    "encoders as in A.2, regions 1e-3": rates((2e-4, 1e-4), 1e-3),
    "encoders held, regions 1e-3": rates((0.0, 0.0), 1e-3),
    "encoders held, regions 1e-4": rates((0.0, 0.0), 1e-4),
    "encoders held, regions 3e-5": rates((0.0, 0.0), 3e-5),
    "encoders as in A.2, regions 3e-5": rates((2e-4, 1e-4), 3e-5),
    "encoders at a tenth, regions 3e-5": rates((2e-5, 1e-5), 3e-5),
}
"""How fast the full row goes on with its encoders and with the first stage of the region graph."""


class Trainer:
    """Trains rows without one fold's people.

    Args:
        run_dir: Where the runs are kept.
        root: Where the recordings are.
    """

    def __init__(self, run_dir: Path, root: Path) -> None:
        self.run_dir, self.root = run_dir, root
        self.faces = quadrant_split(LondonFaces(root / "faces", crop=False).people)["face_id"]

    def row(self, fold: int, row: str, changes: tuple[str, ...] = (), title: str = "") -> Path:
        """Train one row, its encoders from this fold's rows, and return its checkpoint."""
        recipe = load_recipe("ever_tiny_quadrant", changes)
        settled = recipe.for_row(row)
        spec = build_model(settled).input_spec
        others = tuple(p for k, block in enumerate(BLOCKS[:FOLDS]) if k != fold for p in block)
        left = BLOCKS[fold]
        people = {"eeg_subject": SubjectSplit(others, left[:1], left[1:]), "face_id": self.faces}

        def parts(own: int) -> Parts:
            return settled.data.parts(spec, seed=own, data_root=self.root, split=people)

        init = {part: self.row(fold, source) for part, source in recipe.row(row).init_from.items()}
        folder = self.run_dir / f"fold-{fold}" / (title or row)
        fit(recipe, folder, seed=SEED, row=row, parts=parts, init_from=init or None, progress=False)
        return folder / "model"


def scores(predictions: Predictions) -> tuple[float, float, float]:
    """Balanced accuracy, AUROC and negative log-likelihood of arithmetic against rest."""
    probability = expit(np.diff(predictions.logits.astype(np.float64), axis=1)[:, 0])
    label = predictions.label
    return balanced(predictions), float(roc_auc_score(label, probability)), float(log_loss(label, probability))


def main() -> None:
    """Train what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run-dir", type=Path, default=Path("runs/fusion"))
    options = parser.parse_args()
    root = Path(os.environ.get("EVERMODELS_DATA", "../shared/data"))
    spec = build_model(load_recipe("ever_tiny_quadrant").for_row("eeg")).input_spec.eeg
    windows, trainer = Windows(root, spec.ch_names, spec.sfreq), Trainer(options.run_dir, root)
    way = WAYS["60 s of rest"][1]
    print("| | balanced accuracy | AUROC | NLL | by fold |\n|---|---|---|---|---|", flush=True)
    for title in ("EEG row alone", *RATES):
        each = []
        for fold in range(FOLDS):
            changes = RATES.get(title, ())
            place = trainer.row(fold, "ever", changes, title) if changes else trainer.row(fold, "eeg")
            each.append(scores(windows.answers(em.from_pretrained(place), BLOCKS[fold], way)))
        mean = " | ".join(f"{value:.3f}" for value in np.mean(each, axis=0))
        print(f"| {title} | {mean} | {', '.join(f'{b:.3f}' for b, *_ in each)} |", flush=True)


if __name__ == "__main__":
    main()
