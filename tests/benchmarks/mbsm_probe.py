"""Does pre-training help a frozen MBSM encoder? Beside it random weights, and band power without an encoder.

    python tests/benchmarks/mbsm_probe.py open=runs/mbsm_tiny_open/seed-0/model

reads EEGMAT from EVERMODELS_DATA (rest against arithmetic, windows of 5 s) and prints, for protocol 1 (fixed split)
and 2 (six folds), balanced accuracy and AUROC of a logistic regression, each a mean over test people; rows with 1, 4
and 12 training people are means over draws of them. Mean and deviation of the tokens over time are standardised on
training people; the strength of the penalty is chosen on validation people. Nobody of the test people may have been in
the pre-training, not even without labels: say with ``--protocol`` which one an encoder fits.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Sequence

import numpy as np
import torch
from quadrant_baselines import band_power
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import evermodels as em
from evermodels.datasets.eegmat_parts import FOLDS, PEOPLE, EEGMATSettings
from evermodels.datasets.splits import PARTS, SubjectSplit

COUNTS = (1, 4, 12, None)
PENALTIES = (0.0001, 0.001, 0.01, 0.1)


def windows() -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    """All windows of all people, their labels and people."""
    model = em.create_model("single_eeg")
    parts = EEGMATSettings(protocol=1).parts(model.input_spec)
    items = [part[i] for part in map(parts.part, PARTS) for i in range(len(part))]
    label, person = (np.array([item[key] for item in items]) for key in ("label", "person"))
    return torch.stack([item["eeg"] for item in items]), label, person


@torch.inference_mode()
def tokens(encoder, eeg: torch.Tensor) -> np.ndarray:
    """Mean and deviation of the tokens over time."""
    encoder.eval()
    made = [encoder.forward_features(batch) for batch in eeg.split(64)]
    return torch.cat([torch.cat([one.mean(1), one.std(1)], dim=1) for one in made]).numpy()


def balanced(answer: np.ndarray, label: np.ndarray) -> float:
    """Mean recall of two classes."""
    return float(np.mean([(answer[label == k] == k).mean() for k in (0, 1)]))


def by_person(features, label, person, split: SubjectSplit, train: Sequence[str]) -> list[tuple[float, float]]:
    """Balanced accuracy and AUROC of each test person."""
    fit, choose = np.isin(person, train), np.isin(person, split.validation)
    found = []
    for penalty in PENALTIES:
        model = make_pipeline(
            StandardScaler(), LogisticRegression(C=penalty, class_weight="balanced", max_iter=300, tol=1e-3)
        ).fit(features[fit], label[fit])
        found.append((balanced(model.predict(features[choose]), label[choose]), penalty, model))
    model = max(found, key=lambda one: one[:2])[2]
    scores = []
    for one in split.test:
        here = person == one
        p = model.predict_proba(features[here])[:, 1]
        scores.append((balanced((p > 0.5).astype(int), label[here]), roc_auc_score(label[here], p)))
    return scores


def protocol(features, label, person, number: int, count: int | None, draws: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean over test people, and the spread over them, of balanced accuracy and AUROC."""
    people: dict[str, list[tuple[float, float]]] = {}
    for fold in range(FOLDS if number == 2 else 1):
        split = EEGMATSettings(protocol=number, fold=fold).split()
        for draw in range(1 if count is None else draws):
            order = np.random.default_rng(1000 * draw + fold).permutation(len(split.train))[:count]
            train = [split.train[k] for k in order]
            for one, score in zip(split.test, by_person(features, label, person, split, train), strict=True):
                people.setdefault(one, []).append(score)
    each = np.array([np.mean(scores, axis=0) for scores in people.values()])
    return each.mean(0), each.std(0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("encoders", nargs="*", help="TITLE=FOLDER")
    parser.add_argument("--random", type=int, default=5, help="encoders with random weights")
    parser.add_argument("--protocol", type=int, choices=(1, 2), action="append")
    parser.add_argument("--draws", type=int, default=4)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    eeg, label, person = windows()
    rows: dict[str, list[np.ndarray]] = {"band power": [band_power(eeg.numpy(), 200.0)]}
    for seed in range(arguments.random):
        torch.manual_seed(seed)
        rows.setdefault("random weights", []).append(tokens(em.create_model("mbsm_tiny"), eeg))
    for title, _, folder in (one.partition("=") for one in arguments.encoders):
        rows.setdefault(title, []).append(tokens(em.from_pretrained(folder), eeg))
    assert set(person) == set(PEOPLE)
    for number in arguments.protocol or (1, 2):
        print(f"\nprotocol {number}: balanced accuracy, AUROC (mean over people; ± over encoders)")
        print("| training people | " + " | ".join(rows) + " |\n|" + "---|" * (1 + len(rows)))
        for count in COUNTS:
            cells = []
            for made in rows.values():
                mean = np.array([protocol(one, label, person, number, count, arguments.draws)[0] for one in made])
                spread = f" ± {mean.std(0)[0]:.3f}, {mean.std(0)[1]:.3f}" if len(mean) > 1 else ""
                cells.append(f"{mean.mean(0)[0]:.3f}, {mean.mean(0)[1]:.3f}{spread}")
            print(f"| {count or 'all'} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
