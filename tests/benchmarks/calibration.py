"""How much calibration to a person a checkpoint needs: by both states, by less of them, by one state alone.

    python tests/benchmarks/calibration.py [NAME_OR_FOLDER]

reads the real recordings from EVERMODELS_DATA (default ../shared/data) and prints, for all windows of the quadrant
pairs' test people (EEG alone, rest or arithmetic), the mean recall of the two states with an interval over people, and
its difference from the calibration by both whole recordings, paired over the same resampled people.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

import evermodels as em
from evermodels.datasets import EEGMAT, LondonFaces, protocol4_split
from evermodels.datasets.eegmat import STATES
from evermodels.signals import EEGRecording, Preprocessor, Whitening, read_eeg, resample
from evermodels.training import Predictions, interval, paired_difference


def first(recording: EEGRecording, seconds: float) -> EEGRecording:
    """The beginning of a recording."""
    return EEGRecording(recording.data[:, : round(seconds * recording.sfreq)], recording.ch_names, recording.sfreq)


def by_both(pair: list[EEGRecording], _: int, seconds: float = np.inf) -> Whitening:
    return Whitening.fit([first(r, min(seconds, r.duration)) for r in pair])


WAYS: dict[str, Callable[[list[EEGRecording], int], Whitening]] = {
    "both recordings, whole": by_both,
    "60 s of each": lambda pair, state: by_both(pair, state, 60),
    "30 s of each": lambda pair, state: by_both(pair, state, 30),
    "15 s of each": lambda pair, state: by_both(pair, state, 15),
    "10 s of each": lambda pair, state: by_both(pair, state, 10),
    "rest alone, for both": lambda pair, _: Whitening.fit(pair[0]),
    "arithmetic alone, for both": lambda pair, _: Whitening.fit(pair[1]),
    "each recording by itself": lambda pair, state: Whitening.fit(pair[state]),
}


@torch.inference_mode()
def answer(model, windows: torch.Tensor) -> np.ndarray:
    """Logits of the two states: the four classes' joined over the faces."""
    logits = torch.cat([model(eeg=batch).logits for batch in windows.split(64)])
    return logits.unflatten(1, (2, 2)).logsumexp(dim=2).numpy()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="ever_tiny.quadrant", help="checkpoint or folder (%(default)s)")
    options = parser.parse_args()
    root = Path(os.environ.get("EVERMODELS_DATA", "../shared/data"))
    model = em.from_pretrained(options.model)
    spec = model.input_spec.eeg
    plain = Preprocessor(model.input_spec.replace(eeg=spec.replace(whiten=False)))
    eegmat = EEGMAT(root / "eegmat")
    people = protocol4_split(LondonFaces(root / "faces").people).eeg.test

    def recording(person: str, state: str) -> EEGRecording:
        return resample(read_eeg(eegmat.path(person, state), ch_names=spec.ch_names), spec.sfreq)

    pairs = {person: [recording(person, state) for state in STATES] for person in people}

    def run(way: Callable[[list[EEGRecording], int], Whitening]) -> Predictions:
        logits, label, owner = [], [], []
        for person, pair in pairs.items():
            for state, one in enumerate(pair):
                white = way(pair, state)(one)
                windows = plain.eeg(white.data, ch_names=white.ch_names, unit="uV", sfreq=white.sfreq)
                logits.append(answer(model, windows))
                label += [state] * len(windows)
                owner += [person] * len(windows)
        return Predictions(np.concatenate(logits), np.array(label), np.array(owner))

    runs = {name: run(way) for name, way in WAYS.items()}
    whole = next(iter(runs.values()))
    print(f"{options.model}: {len(whole.label)} windows of {len(people)} test people\n")
    print("| calibrated by | arousal half | from both, whole |\n|---|---|---|")
    for name, made in runs.items():
        value, low, high = interval([made])
        gap = paired_difference([made], [whole])
        cell = "" if made is whole else f"{gap.value:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]"
        print(f"| {name} | {value:.3f} [{low:.3f}, {high:.3f}] | {cell} |")


if __name__ == "__main__":
    main()
