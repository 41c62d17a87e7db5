"""The recipe's model and simple baselines over all people: everybody is a test person once.

    python tests/benchmarks/quadrant_folds.py --run-dir runs/folds

reads the real recordings from EVERMODELS_DATA (default ../shared/data) and cuts EEGMAT into 6 folds of 6 people and the
faces into 6 folds of 17, both in order (protocols 2 and 3). In each fold it trains the rows "eeg", "video" and "ever"
at one seed on the quadrant pairs of the other people (4 of them with EEG and 17 with faces choose the epoch and the
baselines' settings), and for the same test items band power + logistic regression (arousal), principal components +
logistic regression and a small convolutional network on the clips' last frames (valence). It prints each half and the
recall over the four classes, with intervals by bootstrap over EEG and face people both. Finished runs are not repeated.
--fixed runs/ever_tiny_quadrant compares the recipe's runs with the same baselines on its own test part instead.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from quadrant_baselines import all_windows, choose, last_frames, pair_windows, small_cnn
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from evermodels.datasets import EEGMAT, LondonFaces, SubjectSplit, subject_folds
from evermodels.training import (
    Predictions,
    build_model,
    fit,
    interval,
    load_recipe,
    paired_difference,
    pool,
    run_folder,
    verdict,
)

FOLDS = 6
ROWS = ("eeg", "video", "ever")
BASELINES = (
    "band power + LR",
    "PCA + LR",
    "small CNN",
    "band power + LR and PCA + LR",
    "band power + LR and small CNN",
)


def face_folds(people: tuple[str, ...]) -> list[SubjectSplit]:
    """Blocks of people in order; the block after the test block validates."""
    blocks = [tuple(map(str, block)) for block in np.array_split(people, FOLDS)]
    following = [(k + 1) % FOLDS for k in range(FOLDS)]
    return [
        SubjectSplit(tuple(p for i, b in enumerate(blocks) if i not in {k, n} for p in b), blocks[n], blocks[k])
        for k, n in enumerate(following)
    ]


def baselines(parts, like: Predictions) -> dict[str, Predictions]:
    """Answers of the simple models on the test items, as predictions of the half that each knows."""
    eegmat = parts.train.eegmat
    x = {n: all_windows(eegmat, getattr(parts, n).subjects, standardise=False)[:2] for n in ("train", "validation")}

    def regression(strength: float):
        return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000, class_weight="balanced"))

    def components(strength: float):
        return make_pipeline(PCA(60, random_state=0), StandardScaler(), LogisticRegression(C=strength, max_iter=2000))

    arousal = choose(regression, x["train"], x["validation"])[0].decision_function(
        pair_windows(eegmat, parts.test, standardise=False)
    )
    train, validation, test = (last_frames(part, 3 if part.train else 1) for part in parts[:3])
    valence = {
        "PCA + LR": choose(components, train, validation)[0].decision_function(test[0]),
        "small CNN": small_cnn(train, validation)(test[0]),
    }

    def answers(arousal: np.ndarray, valence: np.ndarray) -> Predictions:
        both = np.stack([0 * arousal, valence, arousal, arousal + valence], 1).astype(np.float32)
        return replace(like, logits=both, alone={})

    nothing = np.zeros(len(like.label))
    alone = [answers(arousal, nothing), *(answers(nothing, score) for score in valence.values())]
    return dict(zip(BASELINES, [*alone, *(answers(arousal, score) for score in valence.values())], strict=True))


def report(runs: dict[str, list[Predictions]]) -> None:
    """Print each model's halves and recall, one list entry a seed, and the paired differences."""
    print("\n| model | UAR | arousal half | valence half |\n|---|---|---|---|")
    for name, seeds in runs.items():
        cells = [interval(seeds, metric) for metric in ("uar", "arousal", "valence")]
        print(f"| {name} | " + " | ".join(f"{c.value:.3f} [{c.low:.3f}, {c.high:.3f}]" for c in cells) + " |")
    for ours, theirs, metric in (
        ("eeg", "band power + LR", "arousal"),
        ("ever", "band power + LR", "arousal"),
        ("video", "small CNN", "valence"),
        ("ever", "small CNN", "valence"),
        ("video", "PCA + LR", "valence"),
        ("ever", "band power + LR and small CNN", "uar"),
    ):
        gap = paired_difference(runs[ours], runs[theirs], metric)
        print(f"{metric}: {ours} minus {theirs} {gap.value:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}], {verdict(gap)}")


def same_rank(root: Path) -> tuple[str, ...]:
    """People whose two EEGMAT recordings are of full rank, or both not: in them the rank cannot tell the state.

    The publisher's cleaning took components out of 16 recordings at rest and 8 of arithmetic, by this threshold.
    """
    eegmat = EEGMAT(root / "eegmat")

    def deficient(person: str, state: str) -> bool:
        spread = np.linalg.eigvalsh(np.cov(eegmat.recording(person, state).astype(np.float64)))
        return bool(spread[0] < 1e-3 * np.median(spread))

    return tuple(p for p in eegmat.subjects if deficient(p, "rest") == deficient(p, "arithmetic"))


def only(runs: list[Predictions], people: tuple[str, ...]) -> list[Predictions]:
    """The items of these people with EEG."""
    return [run.take(np.isin(run.groups["eeg_subject"], people)) for run in runs]


def fixed_part(run_dir: Path, root: Path) -> None:
    """Compare finished runs of the recipe, all seeds, with the baselines on the fixed test part."""
    recipe = load_recipe("ever_tiny_quadrant")
    runs = {
        row: [Predictions.load(path) for path in sorted(run_dir.glob(f"{row}/seed-*/predictions.npz"))] for row in ROWS
    }
    parts = recipe.data.parts(build_model(recipe.for_row("ever")).input_spec, data_root=root)
    report(runs | {name: [made] for name, made in baselines(parts, runs["ever"][0]).items()})


def main() -> None:
    """Train what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run-dir", type=Path, default=Path("runs/folds"))
    parser.add_argument("--folds", default=",".join(map(str, range(FOLDS))), help="which of the six")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fixed", type=Path, metavar="RUNS", help="compare runs of the recipe on the fixed test part")
    options = parser.parse_args()
    root, recipe = Path(os.environ.get("EVERMODELS_DATA", "../shared/data")), load_recipe("ever_tiny_quadrant")
    if options.fixed is not None:
        fixed_part(options.fixed, root)
        return
    people = face_folds(LondonFaces(root / "faces").people)
    subjects = subject_folds([f"{i:02d}" for i in range(36)], FOLDS)
    answers: dict[str, list[Predictions]] = {}
    for k in map(int, options.folds.split(",")):
        found: dict[str, Predictions] = {}
        for row in ROWS:
            settled, run = recipe.for_row(row), run_folder(options.run_dir / f"fold-{k}", row, options.seed)
            spec = build_model(settled).input_spec
            split = {"eeg_subject": subjects[k], "face_id": people[k]}
            made = partial(settled.data.parts, spec, data_root=root, split=split)
            init_from = {
                m: run.parents[1] / source / run.name / "model" for m, source in recipe.row(row).init_from.items()
            }
            own = {"init_from": init_from, "parts": lambda seed, made=made: made(seed=seed)}
            fit(recipe, run, seed=options.seed, row=row, progress=False, **own)
            parts = made(seed=options.seed)
            found[row] = Predictions.load(run / "predictions.npz")
        place = options.run_dir / f"fold-{k}" / "baselines"
        if not place.is_dir():
            made = baselines(parts, found["ever"])
            part = place.with_name("baselines.part")
            part.mkdir(exist_ok=True)
            for name, predictions in made.items():
                predictions.save(part / f"{name}.npz")
            part.replace(place)
        found |= {name: Predictions.load(place / f"{name}.npz") for name in BASELINES}
        for name, predictions in found.items():
            answers.setdefault(name, []).append(predictions)
        print(f"fold {k} done", flush=True)
    pooled = {name: [pool(runs)] for name, runs in answers.items()}
    report(pooled)
    people_of_one_rank = same_rank(root)
    for name in ("eeg", "ever", "band power + LR"):
        half = interval(only(pooled[name], people_of_one_rank), "arousal")
        print(f"{name}, {len(people_of_one_rank)} people with recordings of one rank: arousal {half}")


if __name__ == "__main__":
    main()
