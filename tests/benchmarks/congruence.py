"""Whether two modalities agree (the class is arousal XOR valence): which fusion can say it?

    python tests/benchmarks/congruence.py

makes embeddings of two modalities, each of which tells its own label and nothing of the other's, and trains on them:
concatenation with one linear layer, the same with a hidden layer (the control: any non-linear fusion should do),
and BIH-GCN with regions of pure noise. Accuracy on new samples, mean over seeds; chance is 0.5.
"""

from __future__ import annotations

import argparse
import time

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from evermodels import montage
from evermodels.layers import BIHGCN

NAMES = montage.preset("eegmat")


class Concatenation(nn.Module):
    """``[z_e, z_v]`` through one linear layer or an MLP."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        layers = [nn.Linear(2 * dim, hidden), nn.ReLU(), nn.Linear(hidden, 2)] if hidden else [nn.Linear(2 * dim, 2)]
        self.head = nn.Sequential(*layers)

    def forward(self, _: Tensor, z_eeg: Tensor, z_video: Tensor) -> Tensor:
        return self.head(torch.cat([z_eeg, z_video], 1))


class Graph(nn.Module):
    """BIH-GCN, with the bias that an encoder's last layer has."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.eeg, self.video = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.fusion = BIHGCN(16, dim, 2, montage.regions(NAMES), in_chans=len(NAMES))

    def forward(self, spectrogram: Tensor, z_eeg: Tensor, z_video: Tensor) -> Tensor:
        return self.fusion(spectrogram, self.eeg(z_eeg), self.video(z_video)).logits


def draw(count: int, dim: int, generator: torch.Generator) -> tuple[list[Tensor], Tensor]:
    """Noise for the channels, an embedding per modality, and whether their labels differ."""
    labels = torch.randint(2, (2, count), generator=generator)
    direction = torch.ones(dim) / dim**0.5
    z = [3 * (2 * label[:, None] - 1) * direction + torch.randn(count, dim, generator=generator) for label in labels]
    return [torch.randn(count, len(NAMES), 4, 4, generator=generator), *z], labels[0] ^ labels[1]


def accuracy(model: nn.Module, steps: int, dim: int) -> float:
    """Train on 2000 samples, answer 2000 new ones."""
    generator = torch.Generator().manual_seed(0)
    (inputs, target), (new, truth) = draw(2000, dim, generator), draw(2000, dim, generator)
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(steps):
        pick = torch.randint(len(target), (64,))
        loss = F.cross_entropy(model(*(x[pick] for x in inputs)), target[pick])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        return float((model(*new).argmax(1) == truth).float().mean())


def main() -> None:
    """Print a row for each fusion."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--dim", type=int, default=16)
    options = parser.parse_args()
    models = {
        "concatenation, one linear layer": lambda: Concatenation(options.dim, 0),
        "concatenation, a hidden layer of 32": lambda: Concatenation(options.dim, 32),
        "BIH-GCN": lambda: Graph(options.dim),
    }
    start = time.process_time()
    print("| fusion | accuracy |\n|---|---|")
    for name, build in models.items():
        values = []
        for seed in range(options.seeds):
            torch.manual_seed(seed)
            values.append(accuracy(build(), options.steps, options.dim))
        print(f"| {name} | {sum(values) / len(values):.3f} ({min(values):.3f} to {max(values):.3f}) |", flush=True)
    print(f"\n{time.process_time() - start:.0f} s of CPU")


if __name__ == "__main__":
    main()
