"""A minute of rest as baseline, over all people with EEG: everybody is a test person once, settings chosen inside.

    python tests/benchmarks/baseline_folds.py --run-dir runs/baseline

reads the real recordings from EVERMODELS_DATA (default ../shared/data) and cuts EEGMAT into 6 folds of 6 people in
order (protocol 2). The settings of the row "eeg" are chosen anew for each fold, among CANDIDATES, without its people:
each candidate is trained on every four folds at one seed and answers the two that are left, and a fold takes the
candidate with the best mean over the other five folds, each answered by the training that saw neither. The chosen one
is then trained at three seeds on 29 of the other 30 people (one validates, and chooses nothing), and at one seed so
are the rows that are whitened by both recordings and by nothing. Band power + logistic regression gets the same
baseline, windows and people, its strength chosen by folds over the training people.

It prints the share of right answers, the mean over the two states: pooled with an interval over people, and the mean
and standard deviation over people; for baselines of 10, 20 and 60 s, both recordings, one recording and none, over the
six test people of protocol 4 (the fold 30-35) and over all 36. Finished runs are not repeated.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from quadrant_baselines import band_power
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import evermodels as em
from evermodels.datasets import EEGMAT, LondonFaces, Parts, SubjectSplit, quadrant_split, subject_folds
from evermodels.datasets.eegmat import STATES
from evermodels.signals import EEG, Whitening, read_eeg, resample
from evermodels.training import Predictions, build_model, fit, interval, load_recipe, paired_difference, pool

FOLDS, SECONDS, BASELINE, MARGIN = 6, 5.0, 60.0, 0.03
SEEDS = {"eeg": (0, 1, 2), "eeg_recordings": (0,), "eeg_raw": (0,)}
PEOPLE = tuple(f"{i:02d}" for i in range(36))
BLOCKS = tuple(PEOPLE[k : k + 6] for k in range(0, 36, 6))
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1)

_FIVE, _TEN = ((f"optim.epochs={n}", f"optim.restart_epochs={n}", f"selection.every={n}") for n in (5, 10))
_PLAINLY = "distil.teachers=0"  # one training a candidate; the chosen one has the row's teachers
_CHANGE, _PLAIN = ("model.config.squared_change=true",), ("model.config.squared_change=false",)
CANDIDATES: dict[str, tuple[str, ...]] = {
    "plain, 5 epochs": (*_PLAIN, *_FIVE, "data.augment.weaken=0.0"),
    "squared change, 5 epochs": (*_CHANGE, *_FIVE, "data.augment.weaken=0.0"),
    "squared change, weakened, 5 epochs": (*_CHANGE, *_FIVE, "data.augment.weaken=0.5"),
    "squared change, weakened, 10 epochs": (*_CHANGE, *_TEN, "data.augment.weaken=0.5"),
}
"""What the folds choose from; written after looks at inner folds of the people 00-29 (see the results page)."""

Pair = dict[str, EEG]
Way = Callable[[Pair, str], Whitening | None]


def first(recording: EEG, seconds: float) -> EEG:
    """The beginning of a recording."""
    return EEG.from_microvolts(
        recording.data[:, : round(seconds * recording.sfreq)], recording.ch_names, recording.sfreq
    )


def joined(pair: Pair) -> EEG:
    """Both recordings as one session."""
    data = [pair[state].data for state in STATES]
    ends = np.cumsum([0, *(d.shape[1] for d in data)])
    segments = tuple((int(a), int(b)) for a, b in itertools.pairwise(ends))
    return EEG.from_microvolts(np.concatenate(data, axis=1), pair["rest"].ch_names, pair["rest"].sfreq, segments)


WAYS: dict[str, tuple[str, Way]] = {
    "60 s of rest": ("eeg", lambda pair, _: Whitening.fit(first(pair["rest"], 60))),
    "20 s of rest": ("eeg", lambda pair, _: Whitening.fit(first(pair["rest"], 20))),
    "10 s of rest": ("eeg", lambda pair, _: Whitening.fit(first(pair["rest"], 10))),
    "one recording that holds both states, about 3:1": ("eeg", lambda pair, _: Whitening.fit(joined(pair))),
    "one recording that holds one state": ("eeg", lambda pair, state: Whitening.fit(pair[state])),
    "both recordings, each counting alike (transductive)": (
        "eeg_recordings",
        lambda pair, _: Whitening.fit([pair[state] for state in STATES]),
    ),
    "nothing": ("eeg_raw", lambda *_: None),
}
"""What a window is compared with: the recipe's row that was trained for it, and the filters."""


class Windows:
    """Everybody's recordings at the model's rate, and the windows that are scored: after the baseline, no overlap."""

    def __init__(self, root: Path, ch_names: tuple[str, ...], sfreq: float) -> None:
        eegmat = EEGMAT(root / "eegmat", ch_names=ch_names)
        self.pairs: dict[str, Pair] = {
            person: {s: resample(read_eeg(eegmat.path(person, s), ch_names=ch_names), sfreq) for s in STATES}
            for person in PEOPLE
        }
        self.length = round(SECONDS * sfreq)

    def cut(self, recording: EEG, state: str, start: float = BASELINE) -> np.ndarray:
        """Windows of one recording, those of rest after the baseline."""
        begin = round(start * recording.sfreq) if state == "rest" else 0
        starts = range(begin, recording.data.shape[1] - self.length + 1, self.length)
        return np.stack([recording.data[:, a : a + self.length] for a in starts])

    @torch.inference_mode()
    def answers(self, model: torch.nn.Module, people: tuple[str, ...], way: Way) -> Predictions:
        """Logits of the two states; the four classes' are joined over the faces."""
        logits, label, owner = [], [], []
        for person, (number, state) in itertools.product(people, enumerate(STATES)):
            whitening = way(self.pairs[person], state)
            recording = self.pairs[person][state]
            windows = torch.from_numpy(self.cut(whitening(recording) if whitening else recording, state))
            said = model(eeg=windows).logits
            logits.append(said.unflatten(1, (2, 2)).logsumexp(dim=2).numpy())
            label += [number] * len(windows)
            owner += [person] * len(windows)
        return Predictions(np.concatenate(logits), np.array(label), {"person": np.array(owner)})


def train(folder: Path, row: str, changes: tuple[str, ...], split: SubjectSplit, seed: int, root: Path) -> Path:
    """Train one row with some settings changed on these people; returns its checkpoint."""
    recipe = load_recipe("ever_tiny_quadrant", changes)
    settled = recipe.for_row(row)
    faces = quadrant_split(LondonFaces(root / "faces", crop=False).people)["face_id"]  # the row looks at none
    people = {"eeg_subject": split, "face_id": faces}
    spec = build_model(settled).input_spec

    def parts(own: int) -> Parts:
        return settled.data.parts(spec, seed=own, data_root=root, split=people)

    fit(recipe, folder, seed=seed, row=row, parts=parts, progress=False)
    return folder / "model"


def person_mean(predictions: Predictions) -> tuple[float, float]:
    """Mean and standard deviation over people."""
    each = [
        balanced_accuracy_score(predictions.label[rows], predictions.predicted[rows])
        for rows in (ids == person for ids in predictions.groups.values() for person in dict.fromkeys(ids))
    ]
    return float(np.mean(each)), float(np.std(each))


def choose(run_dir: Path, root: Path, windows: Windows) -> list[str]:
    """Name the candidate of each fold by answers for the other folds alone, and print all of them."""
    scores = np.full((len(CANDIDATES), FOLDS, FOLDS), np.nan)  # of fold j, by the training without j and k
    for (c, (name, changes)), (j, k) in itertools.product(
        enumerate(CANDIDATES.items()), itertools.combinations(range(FOLDS), 2)
    ):
        folder = run_dir / "inner" / name / f"without-{j}-{k}"
        if not (folder / "scores.json").is_file():
            others = tuple(p for i, block in enumerate(BLOCKS) if i not in (j, k) for p in block)
            model = em.from_pretrained(
                train(folder, "eeg", (*changes, _PLAINLY), SubjectSplit(others, BLOCKS[j], BLOCKS[k]), 0, root)
            )
            way = WAYS["60 s of rest"][1]
            pooled = [balanced(windows.answers(model, BLOCKS[i], way)) for i in (j, k)]
            (folder / "scores.json").write_text(json.dumps(pooled))
            print(f"{name}, without {j} and {k}: {pooled[0]:.3f} {pooled[1]:.3f}", flush=True)
        scores[c, j, k], scores[c, k, j] = json.loads((folder / "scores.json").read_text())
    chosen = []
    for k in range(FOLDS):
        means = np.nanmean(scores[:, :, k], axis=1)
        chosen.append(list(CANDIDATES)[int(means.argmax())])
        said = ", ".join(f"{name} {mean:.3f}" for name, mean in zip(CANDIDATES, means, strict=True))
        print(f"fold {k} ({BLOCKS[k][0]}-{BLOCKS[k][-1]}): {chosen[-1]} (on the others: {said})", flush=True)
    return chosen


def balanced(predictions: Predictions) -> float:
    """Mean recall of the two states."""
    return float(balanced_accuracy_score(predictions.label, predictions.predicted))


class Linear:
    """Log band power less the mean of a baseline's windows, and a simple classifier on it."""

    def __init__(self, windows: Windows, make: Callable[[float], object], sfreq: float, *, deviation: bool) -> None:
        self.make, self.features = make, {}
        for person, pair in windows.pairs.items():
            power = {s: band_power(windows.cut(pair[s], s), sfreq) for s in STATES}
            base = band_power(windows.cut(first(pair["rest"], BASELINE), "rest", 0.0), sfreq)
            spread = base.std(0) if deviation else 1.0
            self.features[person] = {s: (x - base.mean(0)) / spread for s, x in power.items()}

    def table(self, people: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Features, states and people."""
        rows = [(self.features[p][s], n, p) for p in people for n, s in enumerate(STATES)]
        return (
            np.concatenate([x for x, *_ in rows]),
            np.concatenate([np.full(len(x), n) for x, n, _ in rows]),
            np.concatenate([np.full(len(x), p) for x, _, p in rows]),
        )

    def answers(self, k: int) -> Predictions:
        """Answers for a fold, the strength chosen by folds over the other people."""
        others = [block for i, block in enumerate(BLOCKS) if i != k]

        def inner(strength: float) -> float:
            right = []
            for block in others:
                x, y, _ = self.table(tuple(p for b in others if b is not block for p in b))
                fitted = self.make(strength).fit(x, y)
                x, y, _ = self.table(block)
                right.append(balanced_accuracy_score(y, fitted.predict(x)))
            return float(np.mean(right))

        best = max(STRENGTHS, key=inner)
        x, y, _ = self.table(tuple(p for block in others for p in block))
        fitted = self.make(best).fit(x, y)
        x, y, owner = self.table(BLOCKS[k])
        score = fitted.decision_function(x)
        return Predictions(np.stack([-score / 2, score / 2], 1).astype(np.float32), y, owner)


def simple(windows: Windows, sfreq: float) -> dict[str, list[Predictions]]:
    """The simple models with the same minute, by fold."""

    def regression(strength: float) -> object:
        return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000, class_weight="balanced"))

    def kernel(strength: float) -> object:
        return make_pipeline(StandardScaler(), SVC(C=10 * strength, class_weight="balanced"))

    models = {
        "band power + LR": Linear(windows, regression, sfreq, deviation=False),
        "band power + LR, in deviations": Linear(windows, regression, sfreq, deviation=True),
        "band power + RBF SVM, in deviations": Linear(windows, kernel, sfreq, deviation=True),
    }
    return {name: [model.answers(k) for k in range(FOLDS)] for name, model in models.items()}


def report(runs: Mapping[str, list[list[Predictions]]]) -> None:
    """Print one line a model: of protocol 4's test people and of all; ``runs`` holds seeds of folds."""
    print("\n| | people 30-35 | mean over them | all 36, by folds | mean over them |\n|---|---|---|---|---|")
    for name, seeds in runs.items():
        cells = []
        for made in ([folds[-1] for folds in seeds], [pool(folds) for folds in seeds]):
            value = interval(made)
            each = np.array([person_mean(m) for m in made])
            spread = f" ± {np.std([balanced(m) for m in made], ddof=1):.3f}" if len(made) > 1 else ""
            cells += [f"{value.value:.3f}{spread} [{value.low:.3f}, {value.high:.3f}]"]
            cells += [f"{each[:, 0].mean():.3f} ± {each[:, 1].mean():.3f}"]
        print(f"| {name} | {' | '.join(cells)} |")


def differences(ours: list[list[Predictions]], theirs: list[list[Predictions]], name: str) -> None:
    """Print the paired differences, and what they allow to say within the margin."""
    for people, pick in (("people 30-35", lambda folds: folds[-1]), ("all 36", pool)):
        gap = paired_difference([pick(f) for f in ours], [pick(f) for f in theirs])
        inside = "equal" if -MARGIN <= gap.low and gap.high <= MARGIN else "undecided"
        word = "above" if gap.low > 0 else "below" if gap.high < 0 else inside
        print(
            f"eeg minus {name}, {people}: {gap.value:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}], {word} (margin {MARGIN})"
        )


def main() -> None:
    """Train what is missing and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run-dir", type=Path, default=Path("runs/baseline"))
    parser.add_argument("--only-choose", action="store_true", help="stop after the inner folds")
    options = parser.parse_args()
    root = Path(os.environ.get("EVERMODELS_DATA", "../shared/data"))
    spec = build_model(load_recipe("ever_tiny_quadrant").for_row("eeg")).input_spec.eeg
    windows = Windows(root, spec.ch_names, spec.sfreq)
    chosen = choose(options.run_dir, root, windows)
    if options.only_choose:
        return
    models: dict[tuple[str, int, int], torch.nn.Module] = {}
    trainings = [(row, seed) for row, seeds in SEEDS.items() for seed in seeds]
    splits = subject_folds(PEOPLE, FOLDS, n_validation=1)
    for (row, seed), (k, split) in itertools.product(trainings, enumerate(splits)):
        folder = options.run_dir / f"fold-{k}" / row / f"seed-{seed}"
        place = train(folder, row, CANDIDATES[chosen[k]], split, seed, root)
        models[row, k, seed] = em.from_pretrained(place)
    runs: dict[str, list[list[Predictions]]] = {
        name: [[windows.answers(models[row, k, seed], BLOCKS[k], way) for k in range(FOLDS)] for seed in SEEDS[row]]
        for name, (row, way) in WAYS.items()
    }
    others = {name: [folds] for name, folds in simple(windows, spec.sfreq).items()}
    report(runs | {f"{name}, 60 s of rest": folds for name, folds in others.items()})
    for name, folds in others.items():
        differences(runs["60 s of rest"], folds, name)


if __name__ == "__main__":
    main()
