"""What checkpoints that were trained on the four quadrants say of congruence, without being trained on it.

    python tests/benchmarks/congruence_answers.py NAME_OR_FOLDER ... [--data DATA]

gives each the EEG and the face of the fixed pairs, without sound, and sums its probabilities of the classes whose two
halves agree and of those whose halves differ. It is what the rows of the recipe ``systems_tiny_congruence``, whose
encoders are those of the same checkpoints, have to be held against: chance is 0.5.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from torch.utils.data import DataLoader

import evermodels as em
from evermodels.datasets.quadrant_parts import QuadrantSettings
from evermodels.models.system import System
from evermodels.training import Predictions, interval
from evermodels.training.batches import collate

AGREE, DIFFER = [0, 3], [1, 2]


@torch.no_grad()
def answers(model: System, part: torch.utils.data.Dataset) -> Predictions:
    """Return what a model of the four quadrants says of congruence."""
    logits, labels, groups = [], [], {"eeg_subject": [], "face_id": []}
    for batch in DataLoader(part, batch_size=64, collate_fn=collate):
        four = model(eeg=batch["eeg"], video=batch["video"]).logits.double().log_softmax(1)
        logits.append(torch.stack([four[:, AGREE].logsumexp(1), four[:, DIFFER].logsumexp(1)], dim=1))
        labels.append(batch["arousal"] ^ batch["valence"])
        for key, people in groups.items():
            people.extend(batch[key])
    people = {key: np.array(ids) for key, ids in groups.items()}
    return Predictions(torch.cat(logits).float().numpy(), torch.cat(labels).numpy(), people)


def main() -> None:
    """Print the UAR of each checkpoint with its interval over people."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="+")
    parser.add_argument("--data", default=None)
    options = parser.parse_args()
    for name in options.checkpoints:
        model = em.from_pretrained(name)
        settings = QuadrantSettings(baseline_seconds=60.0, modalities=tuple(model.modalities))
        parts = settings.parts(model.input_spec, data_root=options.data)
        for part in ("validation", "test"):
            ends = interval([answers(model, parts.part(part))])
            print(f"{name}, {part}: {ends.value:.3f} [{ends.low:.3f}, {ends.high:.3f}]", flush=True)


if __name__ == "__main__":
    main()
