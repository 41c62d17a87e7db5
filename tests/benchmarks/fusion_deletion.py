"""Whether the parts of a fusion matter: what changes in a checkpoint without them (Milmer, MERCL, trimodal).

    python tests/benchmarks/fusion_deletion.py NAME_OR_FOLDER [--recipe RECIPE]

reads the real recordings from EVERMODELS_DATA (default ../shared/data), runs the checkpoint over the validation and the
test part of its recipe's pairs, and prints for each part and deletion UAR, the two halves and equal decisions.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from _regions import _set
from torch import Tensor
from torch.utils.data import DataLoader

import evermodels as em
from evermodels.models import MERCL, Milmer, TrimodalFusion
from evermodels.models.system import System
from evermodels.training import Predictions, load_recipe
from evermodels.training.batches import collate, model_inputs
from evermodels.training.metrics import summarize


@contextmanager
def _zeros(*tensors: Tensor) -> Iterator[None]:
    with ExitStack() as stack:
        for tensor in tensors:
            stack.enter_context(_set(tensor, torch.zeros_like(tensor)))
        yield


@contextmanager
def _even(model: Milmer) -> Iterator[None]:
    """Take evenly spaced frames in place of the chosen ones."""
    mil, config = model.mil, model.config
    model.mil, model.config = None, config.replace(selection="even")
    try:
        yield
    finally:
        model.mil, model.config = mil, config


def deletions(model: System) -> dict[str, AbstractContextManager[object]]:
    """Return what is taken from a model's fusion, by what it is called."""
    if isinstance(model, Milmer):
        w, queries = model.mil.w.weight, model.integration.q
        return {
            "frames: evenly spaced ones in place of the chosen": _even(model),
            "frames: those of the smallest weights": _set(w, -w.detach()),
            "cross-attention: all tokens weigh the same": _zeros(queries.weight, queries.bias),
        }
    if isinstance(model, MERCL):
        pairs = model.attention.attention.values()
        return {"attention: all steps weigh the same": _zeros(*(t for a in pairs for t in (a.q.weight, a.q.bias)))}
    assert isinstance(model, TrimodalFusion)
    qkv, dim = model.fusion.qkv, model.config.dim
    return {"attention: all modalities weigh the same": _zeros(qkv.weight[:dim], qkv.bias[:dim])}


@contextmanager
def _once(model: System) -> Iterator[None]:
    """Run the encoders of video and sound once over each input: no deletion changes what they say."""
    seen: dict[tuple[str, int], tuple[Tensor, Tensor]] = {}
    with ExitStack() as stack:
        for modality, name in (("video", "forward_frames"), ("audio", "forward_steps"), ("audio", "forward")):
            encoder = model.encoder(modality) if modality in model.modalities else None
            plain = getattr(encoder, name, None)
            if plain is None:
                continue

            def kept(x: Tensor, plain: Callable[[Tensor], Tensor] = plain, key: str = f"{modality} {name}") -> Tensor:
                if (key, id(x)) not in seen:
                    seen[key, id(x)] = x, plain(x)  # x too, so that no other tensor gets its id
                return seen[key, id(x)][1]

            stack.enter_context(patch.object(encoder, name, kept))
        yield


def batches(model: System, part: object) -> list[dict[str, object]]:
    """Return a part as the model takes it, with what the pairs are."""
    cpu = torch.device("cpu")
    return [
        {"inputs": model_inputs(batch, model.modalities, cpu, model.masked), "batch": batch}
        for batch in DataLoader(part, batch_size=64, collate_fn=collate)
    ]


def answers(model: System, made: list[dict], left_out: str = "") -> Tensor:
    """Return the logits, without a modality."""
    found = []
    for one in made:
        inputs = {key: value for key, value in one["inputs"].items() if key != left_out}
        masks = {key: mask for key, mask in (inputs.pop("masks", None) or {}).items() if key != left_out}
        found.append(model(**inputs, **({"masks": masks} if masks else {})).logits)
    return torch.cat(found)


def frames_chosen(model: Milmer, made: list[dict]) -> str:
    """Say which frames are chosen how often, and how unequal their weights are."""
    weights = torch.cat([model(**one["inputs"]).attention["frames"] for one in made])
    often = (weights > 0).float().mean(0)
    picked = weights[weights > 0]
    shares = ", ".join(f"{100 * x:.0f}" for x in often.tolist())
    return (
        f"% of clips in which frame 1 … {len(often)} is chosen: {shares}; "
        f"weights of the chosen {picked.min():.3f} to {picked.max():.3f} (equal: {1 / len(often):.3f})"
    )


def shares(model: System, made: list[dict]) -> str:
    """Say how large the weights of the modalities are."""
    weights = torch.cat([model(**one["inputs"]).attention["modalities"] for one in made])
    return "weights: " + ", ".join(
        f"{name} {mean:.3f} ± {std:.3f}"
        for name, mean, std in zip(model.modalities, weights.mean(0).tolist(), weights.std(0).tolist(), strict=True)
    )


@torch.inference_mode()
def main() -> None:
    """Print both parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="checkpoint or folder")
    parser.add_argument("--recipe", help="whose pairs (default: the checkpoint's)")
    options = parser.parse_args()
    model = em.from_pretrained(options.model)
    settings = load_recipe(options.recipe or model.provenance["recipe"])
    parts = settings.data.parts(model.input_spec, data_root=Path(os.environ.get("EVERMODELS_DATA", "../shared/data")))
    levels: Mapping[str, tuple[int, ...]] = parts.levels
    for name in ("validation", "test"):
        made = batches(model, parts.part(name))
        label = torch.cat([one["batch"]["label"] for one in made]).numpy()
        items = Predictions(np.zeros((len(label), 4), np.float32), label, levels=levels)
        whole = answers(model, made)
        print(f"\n{options.model}, {name}: {len(label)} pairs")
        print(frames_chosen(model, made) if isinstance(model, Milmer) else shares(model, made))
        print("\n| deleted | UAR | arousal | valence | equal decisions |\n|---|---|---|---|---|")

        def show(what: str, logits: Tensor, items: Predictions = items, whole: Tensor = whole) -> None:
            scores = summarize(dataclasses.replace(items, logits=logits.numpy()))
            equal = 100 * (logits.argmax(1) == whole.argmax(1)).float().mean()
            cells = " | ".join(f"{scores[key]:.3f}" for key in ("uar", "arousal", "valence"))
            print(f"| {what} | {cells} | {equal:.1f} % |")

        with _once(model):
            show("nothing", answers(model, made))
            for what, context in deletions(model).items():
                with context:
                    show(what, answers(model, made))
            for modality in model.modalities:
                show(f"{modality}, left out", answers(model, made, left_out=modality))


if __name__ == "__main__":
    main()
