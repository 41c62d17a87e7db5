"""A task that only the regions can solve: does BIH-GCN use them, and does it show when they are taken away?

    python tests/benchmarks/region_control.py

makes 19 channels of 5 s with a rhythm of 6 or 12 Hz each, noise and a random loudness per sample. In one class the
seven frontal channels share their rhythm, in the other three or four have each; every channel by itself, and all other
channels, say nothing. The "EEG encoder" is a linear map of the mean over the channels outside the frontal region, so
that it is blind to the relation, or is also given a hint that is right in 80 % of the samples, as a trained encoder is
that knows the class already. "Video" is a linear map of a vector that carries a second, independent label.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import torch
from _regions import interventions
from torch import Tensor, nn
from torch.nn import functional as F

from evermodels import montage
from evermodels.layers import BIHGCN, STFTSpectrogram

NAMES = montage.preset("eegmat")
REGIONS = montage.regions(NAMES)
FRONTAL = REGIONS["frontal"]
OTHERS = [c for c in range(len(NAMES)) if c not in FRONTAL]
SIZE = (26, 4)
SETTINGS: dict[str, tuple[dict[str, Any], float]] = {
    "as printed": ({}, 0.0),
    "without region edges": ({"region_edges": False}, 0.0),
    "two layers": ({"global_layers": 2}, 0.0),
    "readout with regions": ({"readout": "with_regions"}, 0.0),
    "as printed, a loss on the regions' logits too": ({}, 0.5),
}


def draw(count: int, hint: float, generator: torch.Generator) -> dict[str, Tensor]:
    """Spectrograms, the video's vector and both labels of ``count`` samples."""

    def random(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    relation, face = (torch.randint(2, (count,), generator=generator) for _ in range(2))
    rhythm = (random(count, len(NAMES)) < 0.5).long()  # 0: 6 Hz, 1: 12 Hz
    rank = random(count, len(FRONTAL)).argsort(1).argsort(1)
    mixed = (rank < 3 + torch.randint(2, (count, 1), generator=generator)).long()
    same = torch.randint(2, (count, 1), generator=generator).expand(-1, len(FRONTAL))
    rhythm[:, FRONTAL] = torch.where(relation[:, None] == 1, same, mixed)
    time_ = torch.arange(250) / 50
    phase, loud = 2 * torch.pi * random(count, len(NAMES), 1), 10 * (0.5 + random(count, 1, 1))
    wave = torch.sin(2 * torch.pi * (6 + 6 * rhythm[:, :, None]) * time_ + phase)
    signal = loud * wave + 4 * torch.randn(count, len(NAMES), 250, generator=generator)
    spectrogram = STFTSpectrogram(50, size=SIZE)(signal)
    spectrogram = (spectrogram - spectrogram.mean()) / spectrogram.std()
    told = (
        torch.where(random(count) < hint, relation, 1 - relation)
        if hint
        else torch.randint(2, (count,), generator=generator)
    )
    clue = F.one_hot(told, 2) * float(hint > 0)
    vector = F.one_hot(face, 2).repeat(1, 4) + 0.5 * torch.randn(count, 8, generator=generator)
    return {"spectrogram": spectrogram, "clue": clue, "vector": vector, "relation": relation, "face": face}


class Fusion(nn.Module):
    """Two linear encoders and BIH-GCN."""

    def __init__(self, dim: int, **settings: Any) -> None:
        super().__init__()
        self.eeg = nn.Linear(SIZE[0] * SIZE[1] + 2, dim)
        self.video = nn.Linear(8, dim)
        self.fusion = BIHGCN(SIZE[0] * SIZE[1], dim, 4, REGIONS, in_chans=len(NAMES), **settings)

    def forward(self, data: dict[str, Tensor]):
        seen = torch.cat([data["spectrogram"][:, OTHERS].mean(1).flatten(1), data["clue"]], 1)
        return self.fusion(data["spectrogram"], self.eeg(seen), self.video(data["vector"]))


def halves(logits: Tensor, data: dict[str, Tensor]) -> tuple[float, float]:
    """Accuracy of the relation and of the face."""
    table = logits.unflatten(1, (2, 2))
    relation, face = table.logsumexp(2).argmax(1), table.logsumexp(1).argmax(1)
    return float((relation == data["relation"]).float().mean()), float((face == data["face"]).float().mean())


def train(model: Fusion, data: dict[str, Tensor], steps: int, auxiliary: float) -> None:
    """Cross-entropy on the fused logits and, if asked for, on those of the region nodes."""
    target = 2 * data["relation"] + data["face"]
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps)
    for _ in range(steps):
        pick = torch.randint(len(target), (64,))
        output = model({name: value[pick] for name, value in data.items()})
        loss = F.cross_entropy(output.logits, target[pick])
        if auxiliary:
            loss = loss + auxiliary * F.cross_entropy(output.node_logits[:, 2:].mean(1), target[pick])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()


def main() -> None:
    """Print a row for each encoder and setting, the mean over seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--dim", type=int, default=32)
    options = parser.parse_args()
    start = time.process_time()
    shown = [name for name in interventions(Fusion(4).fusion, 1) if "channel" not in name]
    print(f"Relation half on 1000 new samples (chance 0.5), {options.seeds} seed(s).\n")
    print("| EEG encoder | stage 2 | face half | regions' share | " + " | ".join(shown) + " |")
    print("|" + "---|" * (4 + len(shown)))
    for encoder, hint in (("blind", 0.0), ("right in 80 %", 0.8)):
        generator = torch.Generator().manual_seed(0)
        train_data, test_data = draw(options.samples, hint, generator), draw(1000, hint, generator)
        for name, (settings, auxiliary) in SETTINGS.items():
            rows = []
            for seed in range(options.seeds):
                torch.manual_seed(seed)
                model = Fusion(options.dim, **settings)
                train(model, train_data, options.steps, auxiliary)
                rows.append(measure(model, test_data, shown))
            mean = torch.tensor(rows).mean(0).tolist()
            cells = [f"{mean[0]:.3f}", f"{100 * mean[1]:.0f} %", *(f"{value:.3f}" for value in mean[2:])]
            print(f"| {encoder} | {name} | " + " | ".join(cells) + " |", flush=True)
    print(f"\n{time.process_time() - start:.0f} s of CPU")


@torch.no_grad()
def measure(model: Fusion, data: dict[str, Tensor], shown: list[str]) -> list[float]:
    """The face half, the regions' share, then the relation half under each intervention."""
    output = model(data)
    row = [halves(output.logits, data)[1], float(output.node_shares[:, 2:].sum(1).mean())]
    every = interventions(model.fusion, len(data["face"]))
    for what in shown:
        with every[what]:
            row.append(halves(model(data).logits, data)[0])
    return row


if __name__ == "__main__":
    main()
