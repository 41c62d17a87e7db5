"""One of several processes that train together: ``python two_processes.py RANK STORE RESULT``; no test by itself."""

from __future__ import annotations

import copy
import json
import os
import sys
from pathlib import Path

import accelerate
import torch
from torch import distributed, nn

from evermodels.core.errors import ShapeError
from evermodels.core.outputs import AlignableOutput
from evermodels.losses import CoralLoss, CorrelationAlignmentLoss, DeepCCALoss, EmotionLoss, MERCLLoss, MMDLoss
from evermodels.losses.gathering import gathered

WORLD, NAMES = 2, ("eeg", "video", "audio")


class Towers(nn.Module):
    """An encoder for each modality."""

    def __init__(self) -> None:
        super().__init__()
        self.towers = nn.ModuleDict({name: nn.Linear(6, 4) for name in NAMES})
        self.head = nn.Linear(12, 3)

    def forward(self, x, alignable):
        z = {name: self.towers[name](x[:, i]) for i, name in enumerate(NAMES)}
        return AlignableOutput(self.head(torch.cat(list(z.values()), dim=1)), None, z, {}, alignable)


def pair(loss):
    def compare(output, target, present):
        whole = loss(output.embeddings["eeg"], output.embeddings["video"])
        return whole + 0 * output.logits.sum()  # the other parameters take part, as data-parallel training asks for

    return compare


def total(loss):
    return lambda output, target, present: loss(output, target, present).total


def losses():
    zero = {"w_ce": 0.0, "w_focal": 0.0, "on_small_batch": "zero"}
    return {
        "correlation": (CorrelationAlignmentLoss(), pair),
        "coral": (CoralLoss(), pair),
        "mmd": (MMDLoss(), pair),
        "deep_cca": (DeepCCALoss(), pair),
        "mercl": (MERCLLoss(w_ce=0.0), total),
        "emotion": (EmotionLoss(alignment="coral", align_weight=1.0, **zero), total),
        "both": (MERCLLoss(), total),
    }


def main(rank: int, store: str, result: str) -> None:
    places = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(WORLD)}
    address = {
        "MASTER_ADDR": "localhost",
        "MASTER_PORT": "0",
    }  # asked for by accelerate; the file below is what is used
    os.environ.update(**places, **address, ACCELERATE_USE_CPU="true")
    distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=WORLD)
    accelerator = accelerate.Accelerator(cpu=True)
    assert accelerator.num_processes == WORLD
    torch.manual_seed(0)
    plain = Towers().double()
    found = {}
    # Pairs of eeg and audio stand in the second process only; the batches of the second case have different sizes.
    flags = torch.tensor(
        [[1, 1, 0], [1, 1, 0], [1, 0, 0], [0, 1, 1], [1, 1, 1], [1, 0, 1], [1, 1, 1], [1, 1, 1]]
    ).bool()
    target, alignable = torch.tensor([0, 1, 0, 2, 1, 0, 2, 1]), torch.tensor([1, 0, 1, 1, 1, 1, 0, 1]).bool()
    x = torch.randn(8, 3, 6, dtype=torch.float64)
    for size, cut in ((8, 4), (7, 5)):
        own = slice(0, cut) if rank == 0 else slice(cut, size)
        for name, (loss, how) in losses().items():
            if name == "both" and size == 7:
                continue  # the cross-entropy of batches of two sizes is no mean over processes
            model, alone = accelerator.prepare(copy.deepcopy(plain)), copy.deepcopy(plain)
            present = {m: flags[own, i] for i, m in enumerate(NAMES)}
            value = how(loss)(model(x[own], alignable[own]), target[own], present)
            accelerator.backward(value)
            every = {m: flags[:size, i] for i, m in enumerate(NAMES)}
            want = how(loss.eval())(alone(x[:size], alignable[:size]), target[:size], every)
            want.backward()
            if name == "both":  # each process reports its own cross-entropy
                distributed.all_reduce(value := value.detach() / WORLD)
            pairs = zip(accelerator.unwrap_model(model).parameters(), alone.parameters(), strict=True)
            off = [(a.grad - b.grad).abs().max() for a, b in pairs if a.grad is not None or b.grad is not None]
            largest = max(float(p.grad.abs().max()) for p in alone.parameters() if p.grad is not None)
            found[f"{name} {size}"] = [abs(float(value - want)), float(max(off)), float(want), largest]
    try:
        gathered(torch.zeros(2, 3 + rank))
    except ShapeError as error:
        found["refused"] = str(error)
    Path(f"{result}.{rank}").write_text(json.dumps(found))
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3])
