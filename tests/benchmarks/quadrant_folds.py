"""EVER's EEG encoder against band power + logistic regression over all people, not only the six test people.

    python tests/benchmarks/quadrant_folds.py

reads the real recordings from EVERMODELS_DATA (default ../shared/data), cuts EEGMAT into 6 folds of 6 people in order
(protocol 2; 4 of the other people choose epoch and regularisation), trains the recipe's row "eeg" in each and prints
balanced accuracy and AUROC of rest against arithmetic on the same windows for both.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

import numpy as np
from quadrant_baselines import all_windows, choose, pair_windows
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from evermodels.datasets import EEGMAT, LondonFaces, PairSplit, QuadrantPairs, protocol4_split, subject_folds
from evermodels.training import Parts, Predictions, fit, load_recipe
from evermodels.training.data import eeg_transform


def regression(strength: float):
    """Band power's classifier."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000, class_weight="balanced"))


def main() -> None:
    """Print a line per fold and model, then mean and standard deviation over people."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folds", default="0,1,2,3,4,5", help="which of the six")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    root = Path(os.environ.get("EVERMODELS_DATA", "../shared/data"))
    recipe = load_recipe("ever_tiny_quadrant")
    eegmat = EEGMAT(root / "eegmat", sfreq=100.0).preload()
    faces = LondonFaces(root / "faces")
    people: dict[str, list[tuple[float, float]]] = {"EVER's EEG encoder": [], "band power + LR": []}
    folds = subject_folds(eegmat.subjects, 6)
    for k in map(int, options.folds.split(",")):
        split = PairSplit(folds[k], protocol4_split(faces.people).faces)
        made = {
            name: QuadrantPairs(
                eegmat,
                faces,
                name,
                split=split,
                seed=options.seed,
                train=name == "train",
                num_frames=1,
                size=(8, 8),
                eeg_transform=eeg_transform(recipe.data.augment, eegmat.sfreq),
            )
            for name in ("train", "validation", "test")
        }
        test = made["test"]
        with tempfile.TemporaryDirectory() as folder:
            parts = Parts(made["train"], made["validation"], test, tuple(QuadrantPairs.classes))
            run = Path(folder) / "eeg" / "seed-0"
            fit(recipe, run, seed=options.seed, row="eeg", parts=parts, progress=False)
            p = Predictions.load(run / "predictions.npz").probabilities
        x = {name: all_windows(eegmat, part.subjects, standardise=False)[:2] for name, part in made.items()}
        linear, _ = choose(regression, x["train"], x["validation"])
        scores = {
            "EVER's EEG encoder": p[:, 2] + p[:, 3] - 0.5,
            "band power + LR": linear.decision_function(pair_windows(eegmat, test, standardise=False)),
        }
        truth = np.array([pair.arousal for pair in test.pairs])
        owner = np.array([pair.eeg_subject for pair in test.pairs])
        for name, score in scores.items():
            print(
                f"fold {k}  {name:20s} {balanced_accuracy_score(truth, score > 0):.3f} "
                f"(AUROC {roc_auc_score(truth, score):.3f})",
                flush=True,
            )
            for person in test.subjects:
                own = owner == person
                people[name].append(
                    (balanced_accuracy_score(truth[own], score[own] > 0), roc_auc_score(truth[own], score[own]))
                )
    for name, values in people.items():
        mean, std = np.mean(values, 0), np.std(values, 0, ddof=1)
        print(f"{len(values)} people  {name:20s} {mean[0]:.3f} ± {std[0]:.3f} (AUROC {mean[1]:.3f} ± {std[1]:.3f})")
    ours, theirs = (np.array(people[name])[:, 0] for name in people)
    draws = np.random.default_rng(0).integers(len(ours), size=(5000, len(ours)))
    low, high = np.percentile((ours - theirs)[draws].mean(1), [2.5, 97.5])
    print(f"difference {np.mean(ours - theirs):+.3f} [{low:+.3f}, {high:+.3f}], paired bootstrap over people")


if __name__ == "__main__":
    main()
