"""Simple baselines on exactly the windows and faces of the quadrant pairs' fixed parts.

    python tests/benchmarks/quadrant_baselines.py

reads the real recordings from EVERMODELS_DATA (default ../shared/data) and prints balanced accuracy on the validation
and test parts: band power + logistic regression for arousal, as it is and whitened by the person's own recordings;
principal components + logistic regression and a small convolutional network for valence; and the recall over the four
classes.
"""

from __future__ import annotations

import argparse
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from scipy.signal import welch
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, recall_score, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from evermodels.datasets.clips import EXPRESSIONS
from evermodels.datasets.eegmat import EEGMAT, STATES
from evermodels.datasets.faces import LondonFaces
from evermodels.datasets.quadrant import QuadrantPairs, quadrant_split
from evermodels.datasets.splits import SubjectSplit

BANDS = ((1, 4), (4, 8), (8, 13), (13, 30), (30, 45))
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)


def band_power(windows: np.ndarray, sfreq: float) -> np.ndarray:
    """Log band power, (windows, channels * bands)."""
    frequency, power = welch(windows, sfreq, nperseg=int(sfreq), axis=-1)
    bands = [power[..., (frequency >= low) & (frequency < high)].mean(-1) for low, high in BANDS]
    return np.log(np.stack(bands, -1) + 1e-12).reshape(len(windows), -1)


def choose(make, train, validation):
    """Fit for each strength, keep the one that is best on the validation part."""
    models = [make(strength).fit(*train) for strength in STRENGTHS]
    scores = [balanced_accuracy_score(validation[1], model.predict(validation[0])) for model in models]
    best = int(np.argmax(scores))
    return models[best], STRENGTHS[best]


def all_windows(eegmat: EEGMAT, people: tuple[str, ...], *, standardise: bool):
    """Features, states and people of all windows; standardised by each person's own unlabelled windows if asked."""
    features, states, owners = [], [], []
    for person in people:
        own = [band_power(eegmat.windows(person, state), eegmat.sfreq) for state in STATES]
        state = np.repeat([0, 1], [len(x) for x in own])
        x = np.concatenate(own)
        features.append((x - x.mean(0)) / x.std(0) if standardise else x)
        states.append(state)
        owners += [person] * len(state)
    return np.concatenate(features), np.concatenate(states), np.array(owners)


def pair_windows(eegmat: EEGMAT, pairs: QuadrantPairs, *, standardise: bool) -> np.ndarray:
    """Features of each item's window, in the items' order."""
    rows = []
    statistics = {}
    for pair in pairs.pairs:
        window = eegmat.recording(pair.eeg_subject, STATES[pair.arousal])[:, pair.start :][:, : eegmat.window_samples]
        x = band_power(window[None], eegmat.sfreq)[0]
        if standardise:
            if pair.eeg_subject not in statistics:
                own = all_windows(eegmat, (pair.eeg_subject,), standardise=False)[0]
                statistics[pair.eeg_subject] = own.mean(0), own.std(0)
            mean, std = statistics[pair.eeg_subject]
            x = (x - mean) / std
        rows.append(x)
    return np.stack(rows)


def arousal(eegmat: EEGMAT, parts: dict[str, QuadrantPairs], *, standardise: bool = False) -> np.ndarray:
    """Print the EEG baseline; returns its answers on the test items."""

    def make(strength: float):
        regression = LogisticRegression(C=strength, max_iter=2000, class_weight="balanced")
        return make_pipeline(StandardScaler(), regression)

    sets = {name: all_windows(eegmat, part.subjects, standardise=standardise) for name, part in parts.items()}
    model, strength = choose(make, sets["train"][:2], sets["validation"][:2])
    name = "band power + LR" + (", z (transductive)" if standardise else "")
    answer = np.empty(0)
    for part in ("validation", "test"):
        x, y, owners = sets[part]
        per_person = [
            balanced_accuracy_score(y[owners == p], model.predict(x[owners == p])) for p in dict.fromkeys(owners)
        ]
        items = pair_windows(eegmat, parts[part], standardise=standardise)
        truth = np.array([pair.arousal for pair in parts[part].pairs])
        answer = model.predict(items)
        score = model.decision_function(items)
        print(
            f"arousal  {name:36s} C {strength:<7g}{part:11s} "
            f"pairs' windows {balanced_accuracy_score(truth, answer):.3f} "
            f"(AUROC {roc_auc_score(truth, score):.3f})   "
            f"all windows {balanced_accuracy_score(y, model.predict(x)):.3f} "
            f"(AUROC {roc_auc_score(y, model.decision_function(x)):.3f}), "
            f"per person {np.mean(per_person):.3f} ± {np.std(per_person):.3f}"
        )
    return answer


def grey(pictures: np.ndarray) -> np.ndarray:
    """Flat grey pictures, each with mean 0 and standard deviation 1."""
    flat = (pictures.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)).reshape(len(pictures), -1)
    return (flat - flat.mean(1, keepdims=True)) / flat.std(1, keepdims=True)


def last_frames(part: QuadrantPairs, epochs: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Grey last frames and their expressions, of several epochs in training."""
    frames, valence = [], []
    for epoch in range(epochs):
        part.set_epoch(epoch)
        frames += [part.frames(i)[-1] for i in range(len(part))]
        valence += [pair.valence for pair in part.pairs]
    return grey(np.stack(frames)), np.array(valence)


class SmallCNN(nn.Sequential):
    """Four convolutions on 64 × 64 grey pictures."""

    def __init__(self) -> None:
        widths = (1, 16, 32, 64, 64)
        blocks = [
            nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU(), nn.MaxPool2d(2))
            for a, b in itertools.pairwise(widths)
        ]
        super().__init__(nn.Unflatten(1, (1, 64, 64)), *blocks, nn.Flatten(), nn.Dropout(0.5), nn.Linear(1024, 1))


def groups(count: int, size: int = 64) -> Iterator[torch.Tensor]:
    """Shuffled batches in which the four matched items stay together."""
    order = torch.randperm(count // 4)
    items = (order[:, None] * 4 + torch.arange(4)).flatten()
    return iter(items.split(size))


def small_cnn(train: tuple[np.ndarray, np.ndarray], validation: tuple[np.ndarray, np.ndarray], epochs: int = 12):
    """Train with the epoch chosen on validation people; returns the scoring function."""
    torch.manual_seed(0)
    model, (x, y), best = SmallCNN(), (torch.from_numpy(a).float() for a in train), (-1.0, {})
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)

    def score(pictures: np.ndarray) -> np.ndarray:
        model.eval()
        with torch.inference_mode():
            return torch.cat([model(c)[:, 0] for c in torch.from_numpy(pictures).split(128)]).numpy()

    for _ in range(epochs):
        model.train()
        for batch in groups(len(y)):
            optimizer.zero_grad()
            nn.functional.binary_cross_entropy_with_logits(model(x[batch])[:, 0], y[batch]).backward()
            optimizer.step()
        schedule.step()
        accuracy = float(((score(validation[0]) > 0) == validation[1]).mean())
        if accuracy > best[0]:
            best = accuracy, {k: v.clone() for k, v in model.state_dict().items()}
    model.load_state_dict(best[1])
    return score


def valence(faces: LondonFaces, parts: dict[str, QuadrantPairs], *, clips: bool, epochs: int) -> np.ndarray:
    """Print the face baseline, on photographs or on each clip's last frame; returns its answers on the test items."""

    def make(strength: float):
        return make_pipeline(PCA(60, random_state=0), StandardScaler(), LogisticRegression(C=strength, max_iter=2000))

    def photographs(part: QuadrantPairs):
        keys = [(person, v) for person in part.face_ids for v in (0, 1)]
        rows = np.stack([faces.photo(p, EXPRESSIONS[v], size=(64, 64)) for p, v in keys])
        return grey(rows), np.array([v for _, v in keys])

    def frames(part: QuadrantPairs):
        return last_frames(part, epochs if part.train else 1)

    data = {name: (frames if clips else photographs)(part) for name, part in parts.items()}
    model, strength = choose(make, data["train"], data["validation"])
    name = "PCA + LR, " + ("last frame of the clip" if clips else "photograph")
    for part in ("validation", "test"):
        x, y = data[part]
        print(
            f"valence  {name:36s} C {strength:<7g}{part:11s} {balanced_accuracy_score(y, model.predict(x)):.3f} "
            f"(AUROC {roc_auc_score(y, model.decision_function(x)):.3f}, {len(y)} pictures, "
            f"{len(parts[part].face_ids)} people)"
        )
    if clips:
        score = small_cnn(data["train"], data["validation"])
        for part in ("validation", "test"):
            x, y = data[part]
            answer = score(x)
            print(
                f"valence  {'small CNN, last frame of the clip':46s}{part:11s} "
                f"{balanced_accuracy_score(y, answer > 0):.3f} (AUROC {roc_auc_score(y, answer):.3f})"
            )
    return model.predict(data["test"][0])


def visible_smiles(faces: LondonFaces, split: SubjectSplit) -> None:
    """Print in how many photographs a detector that never saw this set, OpenCV's smile cascade, sees the smile.

    The count of its raw detections is compared with the threshold that is best on training and validation people.
    """
    cascade = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_smile.xml")
    bare = LondonFaces(faces.root, margin=0.0, size=(240, 240))

    def detections(person: str, expression: str) -> int:
        mouth = cv2.cvtColor(bare.photo(person, expression), cv2.COLOR_RGB2GRAY)[130:]
        return len(cascade.detectMultiScale(mouth, 1.05, 0, minSize=(60, 30)))

    counts = {
        part: np.array([[detections(p, e) for e in EXPRESSIONS] for p in split.part(part)])
        for part in ("train", "validation", "test")
    }
    known = np.concatenate([counts["train"], counts["validation"]])
    best = max(np.unique(known), key=lambda t: (known[:, 0] < t).mean() + (known[:, 1] >= t).mean())
    for part, found in counts.items():
        auroc = roc_auc_score(np.tile([0, 1], len(found)), found.ravel())
        print(
            f"smile cascade, {part:11s} AUROC {auroc:.3f}, seen in {(found[:, 1] >= best).mean():.3f} of the smiling "
            f"and {(found[:, 0] >= best).mean():.3f} of the neutral photographs"
        )


def main() -> None:
    """Print all baselines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=3, help="epochs of training clips for the face baseline")
    options = parser.parse_args()
    root = Path(os.environ.get("EVERMODELS_DATA", "../shared/data"))
    eegmat, faces = EEGMAT(root / "eegmat").preload(), LondonFaces(root / "faces")
    split = quadrant_split(faces.people)
    parts = {
        name: QuadrantPairs(eegmat, faces, name, train=name == "train", split=split, length=None)
        for name in ("train", "validation", "test")
    }
    for part in parts.values():
        print(part, "classes", part.class_counts, "digest", part.digest[:12])
    high = arousal(eegmat, parts)
    arousal(eegmat, parts, standardise=True)
    print("the same at the recipe's 100 Hz, whitened by all recordings (EEGMAT(whiten=True), transductive):")
    whitened = EEGMAT(root / "eegmat", sfreq=100.0, whiten=True).preload()
    same = {name: QuadrantPairs(whitened, faces, name, train=part.train, split=split) for name, part in parts.items()}
    high_whitened = arousal(whitened, same)
    visible_smiles(faces, split["face_id"])
    valence(faces, parts, clips=False, epochs=1)
    smiles = valence(faces, parts, clips=True, epochs=options.epochs)
    label = np.array([pair.label for pair in parts["test"].pairs])
    both = recall_score(label, 2 * high + smiles, average="macro")
    print(f"both together, four classes, test: UAR {both:.3f} (arousal from band power, valence from the last frame)")
    both = recall_score(label, 2 * high_whitened + smiles, average="macro")
    print(f"the same with the whitened band power: UAR {both:.3f}")
    best = max(recall_score(label, 2 * high + v, average="macro") for v in (0, 1))
    print(f"band power alone, four classes, test: UAR {best:.3f}")


if __name__ == "__main__":
    main()
