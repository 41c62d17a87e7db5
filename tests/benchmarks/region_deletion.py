"""Whether the regions of a checkpoint's graph matter: how much they carry, and what changes without them.

    python tests/benchmarks/region_deletion.py [NAME_OR_FOLDER]

reads the real recordings from EVERMODELS_DATA (default ../shared/data), runs both encoders once over the validation and
the test part of the quadrant pairs, and prints for each part: ω, the weights of stage 2, the size of what each node
adds to the logits, the channel attention beside uniform, recall and equal decisions with regions deleted or shuffled.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from _regions import interventions
from torch import Tensor
from torch.utils.data import DataLoader

import evermodels as em
from evermodels.models import EVER
from evermodels.training import Predictions, load_recipe
from evermodels.training.metrics import uar


def embed(model: EVER, part) -> tuple[Callable[[], object], Predictions]:
    """Run the encoders once; return a function that runs the fusion, and what the pairs are."""
    kept: dict[str, list] = {"spectrogram": [], "eeg": [], "video": [], "label": [], "eeg_subject": [], "face_id": []}
    handle = model.fusion.register_forward_pre_hook(lambda _, arguments: kept["spectrogram"].append(arguments[0]))
    for batch in DataLoader(part, batch_size=64):
        output = model(eeg=batch["eeg"], video=batch["video"])
        for name in ("eeg", "video"):
            kept[name].append(output.embeddings[name])
        kept["label"].append(batch["label"])
        for name in ("eeg_subject", "face_id"):
            kept[name] += batch[name]
    handle.remove()
    spectrogram, eeg, video = (torch.cat(kept[name]) for name in ("spectrogram", "eeg", "video"))
    items = Predictions(
        np.zeros((len(eeg), model.config.num_classes), np.float32),
        torch.cat(kept["label"]).numpy(),
        {name: np.array(kept[name]) for name in ("eeg_subject", "face_id")},
    )
    return lambda: model.fusion(spectrogram, eeg, video), items


def describe(model: EVER, embeddings: Tensor, output) -> None:
    """Print the weights of stage 2 and what each node adds."""
    fusion, omega = model.fusion, float(model.fusion.omega)
    a = output.adjacency_region.abs()
    k = len(model.regions)
    print(f"ω {omega:.4f} (starts at 0.5)")
    print(
        f"weight of a global node's messages: itself {a[:, [0, 1], [0, 1]].mean():.3f}, "
        f"the other {a[:, [0, 1], [1, 0]].mean():.3f}, a region {a[:, :2, 2:].mean():.3f}"
    )
    if (fusion.global_layers, fusion.readout) == (1, "global"):
        reach = omega * output.adjacency_region[:, 0] + (1 - omega) * output.adjacency_region[:, 1]
        parts = reach[:, :, None] * (torch.cat([embeddings, output.region_embeddings], 1) @ fusion.region_gcn.weight.T)
        assert torch.allclose(parts.sum(1) + fusion.region_gcn.bias, output.logits, atol=1e-4)
        parts = parts - parts.mean(2, keepdim=True)
        rms = parts.square().mean((0, 2)).sqrt()
        print("RMS logit contribution, centred over classes: " + row(fusion.node_names, rms, ".3f"))
        together = parts[:, 2:].sum(1)
        moving = (together - together.mean(0)).square().mean().sqrt()
        print(f"regions together {together.square().mean().sqrt():.3f}, of which {moving:.3f} differs between windows")
    shares = output.node_shares.mean(0)
    print("share of what reaches the logits: " + row(fusion.node_names, 100 * shares, ".1f", " %"))
    print(f"regions together: {100 * shares[2:].sum():.1f} %")
    cells = []
    for name, members in model.regions.items():
        alpha = output.channel_attention[:, members]
        spread = f"{alpha.min():.3f} to {alpha.max():.3f}" if len(members) > 1 else "alone"
        cells.append(f"{name} {spread} (uniform {1 / len(members):.3f})")
    print(f"channel attention in the {k} regions, all windows: " + ", ".join(cells))


def row(names, values: Tensor, form: str, unit: str = "") -> str:
    """Names with values."""
    return ", ".join(f"{name} {value:{form}}{unit}" for name, value in zip(names, values.tolist(), strict=True))


@torch.inference_mode()
def main() -> None:
    """Print both parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="ever_tiny.quadrant", help="checkpoint or folder (%(default)s)")
    options = parser.parse_args()
    root = Path(os.environ.get("EVERMODELS_DATA", "../shared/data"))
    model = em.from_pretrained(options.model)
    parts = load_recipe("ever_tiny_quadrant").data.parts(model.input_spec, data_root=root)
    for name in ("validation", "test"):
        fuse, items = embed(model, parts.part(name))
        output = fuse()
        decided = output.logits.argmax(1)
        print(f"\n{options.model}, {name}: {len(decided)} pairs\n")
        captured: list[Tensor] = []
        handle = model.fusion.region_gcn.register_forward_pre_hook(lambda _, a, kept=captured: kept.append(a[0][:, :2]))
        output = fuse()
        handle.remove()
        describe(model, captured[0], output)
        print("\n| regions | UAR | equal decisions |\n|---|---|---|")
        for what, context in interventions(model.fusion, len(decided)).items():
            with context:
                logits = fuse().logits
            recall = uar(dataclasses.replace(items, logits=logits.numpy()))
            print(f"| {what} | {recall:.3f} | {100 * (logits.argmax(1) == decided).float().mean():.1f} % |")


if __name__ == "__main__":
    main()
