"""One of several processes that pre-train together: ``python two_pretrain.py RANK STORE FOLDER``; no test by itself."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
from torch import distributed

import evermodels as em
from evermodels.datasets import UnlabelledWindows
from evermodels.training import PretrainingRecipe, pretrain

WORLD = 2
SMALL = {"embed_dim": 16, "num_heads": 2, "depth": 1, "patch_size": 25, "num_samples": 200, "spectrum_bins": 0}
RECIPE = PretrainingRecipe.from_dict(
    {
        "name": "small",
        "steps_per_epoch": 3,
        "model": {"architecture": "mbsm_tiny", "config": SMALL},
        "pretraining": {"decoder_embed_dim": 8, "decoder_depth": 1, "decoder_num_heads": 2, "mask_ratio": 0.5},
        "optim": {"epochs": 2, "batch_size": 4, "lr": {"rest": 1e-2}},
        "data": {"held_out": 0.25},
    }
)


def windows() -> dict[str, UnlabelledWindows]:
    noise = 20 * torch.randn(32, 4, 200, generator=torch.Generator().manual_seed(0))
    return {
        "muse": UnlabelledWindows(noise[:24], em.montage.preset("muse"), ["a"] * 24),
        "one": UnlabelledWindows(noise[24:, :1], ("Cz",), ["b"] * 8),
    }


def main(rank: int, store: Path, folder: Path) -> None:
    # The address is asked for by accelerate; the file below is what is used.
    os.environ.update(MASTER_ADDR="localhost", MASTER_PORT="0", ACCELERATE_USE_CPU="true")
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(WORLD))
    distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=WORLD)
    pretrain(RECIPE, folder, sets=windows(), progress=False)
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
