"""What a Mood Reader checkpoint needs; run with ``python tests/benchmarks/mood_reader_deletion.py [NAME_OR_FOLDER]``.

A source of the fusion (spatial, temporal, latent, eye) is deleted by its mean over the part, a modality by leaving it
out, and eye movement also by giving each item that of another one. Electrodes are deleted by the mean of the others:
the k most attended ones of each window, beside k drawn at random (mean over draws).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

import evermodels as em
from evermodels.training import load_recipe
from evermodels.training.batches import collate

SOURCES = ("spatial", "temporal", "latent", "eye")
COUNTS = (1, 3, 6)
DRAWS = 10


def recall(logits: Tensor, label: Tensor) -> float:
    """Mean recall of the classes."""
    answer = logits.argmax(1)
    return float(torch.stack([(answer[label == k] == k).float().mean() for k in label.unique()]).mean())


def without_source(model: Any, run: Callable[[], Tensor], source: str) -> Tensor:
    """Logits where one source of the fusion is its own mean for all."""
    fused = model._fused

    def mean_of_one(sources, present):
        return fused({**sources, source: sources[source].mean(0, keepdim=True).expand_as(sources[source])}, present)

    model._fused = mean_of_one
    try:
        return run()
    finally:
        model._fused = fused


def without_electrodes(eeg: Tensor, gone: Tensor) -> Tensor:
    """EEG in which some electrodes, ``(batch, channels)`` bool, hold the mean of the others."""
    kept = (~gone).to(eeg.dtype)[..., None]
    return torch.where(gone[..., None], (eeg * kept).sum(1, keepdim=True) / kept.sum(1, keepdim=True), eeg)


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="mood_reader_tiny.workload")
    parser.add_argument("--part", default="test")
    parser.add_argument("--data", default=None, help="folder of the recordings (EVERMODELS_DATA)")
    arguments = parser.parse_args()
    model = em.from_pretrained(arguments.model)
    part = load_recipe("mood_reader_tiny_workload").data.parts(model.input_spec, data_root=arguments.data)
    (batch,) = DataLoader(part.part(arguments.part), batch_size=10**6, collate_fn=collate)
    eeg, eye, label = batch["eeg"], batch["eye"], batch["label"]
    whole = model(eeg=eeg, eye=eye)

    def show(what: str, *logits: Tensor) -> None:
        same = [float((one.argmax(1) == whole.logits.argmax(1)).float().mean()) for one in logits]
        uar = [recall(one, label) for one in logits]
        print(f"| {what} | {sum(uar) / len(uar):.3f} | {sum(same) / len(same):.3f} |", flush=True)

    print(f"{arguments.model}, {len(label)} items of {arguments.part} people\n")
    print("| deleted | UAR | same answer |\n|---|---|---|")
    show("nothing", whole.logits)
    show("eye movement", model(eeg=eeg).logits)
    show("EEG", model(eye=eye).logits)
    rng = torch.Generator().manual_seed(0)
    shuffled = [model(eeg=eeg, eye=eye[torch.randperm(len(eye), generator=rng)]).logits for _ in range(DRAWS)]
    show("eye movement, by another item's", *shuffled)
    for source in SOURCES:
        show(f"source {source}", without_source(model, lambda: model(eeg=eeg, eye=eye).logits, source))
    weight = whole.attention["channels"]
    channels = weight.shape[1]
    print(f"| electrodes' attention: {weight.min():.3f} to {weight.max():.3f}, uniform {1 / channels:.3f} | | |")
    for count in COUNTS:
        most = torch.zeros_like(weight, dtype=torch.bool).scatter(1, weight.topk(count).indices, True)
        show(f"the {count} most attended electrodes", model(eeg=without_electrodes(eeg, most), eye=eye).logits)
        drawn = []
        for _ in range(DRAWS):
            order = torch.rand(weight.shape, generator=rng).argsort(1)
            drawn.append(model(eeg=without_electrodes(eeg, order < count), eye=eye).logits)
        show(f"{count} electrodes at random", *drawn)


if __name__ == "__main__":
    main()
