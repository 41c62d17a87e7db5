"""A checkpoint on recordings with fewer channels: interpolated, zero-filled, or set to the training people's mean.

    python tests/benchmarks/montage_transfer.py [NAME_OR_FOLDER]

reads the real recordings from EVERMODELS_DATA (default ../shared/data), runs the checkpoint (default
ever_tiny.quadrant) over the test people of the quadrant pairs with all channels and with parts of them, and prints a
Markdown table: UAR over the four classes and accuracy of the arousal half (rest or arithmetic, the EEG's), with
differences from all channels, paired over resampled EEG and face people. The missing channels are removed from EEGMAT
recordings: another headset's electrodes, amplifier and people are not in this number.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

import evermodels as em
from evermodels import montage
from evermodels.core.factors import factor_levels
from evermodels.datasets import QuadrantPairs
from evermodels.training import Predictions, interval, load_recipe, paired_difference

LEVELS = {score: np.array(factor_levels(QuadrantPairs.factors, name)) for score, name in QuadrantPairs.scores.items()}
FILLS = ("interpolated", "zero-filled", "training mean")


def load(model, root: str) -> dict[str, object]:
    """All test items as one batch."""
    part = load_recipe("ever_tiny_quadrant").data.parts(model.input_spec, data_root=root).test
    return next(iter(DataLoader(part, batch_size=len(part))))


@contextmanager
def spectrograms_at_the_mean(model, missing: Sequence[int]) -> Iterator[None]:
    """Standardised spectrograms of these channels are 0, and so is their squared change before 1 is taken off."""

    def blank(value: float) -> Callable[[torch.nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
        return lambda module, args, output: output.index_fill(1, torch.tensor(missing), value)

    front_end = model.spectrogram
    handles = [front_end.norm.register_forward_hook(blank(0.0))]
    if front_end.squared_change is not None:
        handles.append(front_end.squared_change.register_forward_hook(blank(-1.0)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@torch.inference_mode()
def run(model, items: dict[str, object], have: Sequence[str], fill: str) -> Predictions:
    """Answers where only some channels were recorded."""
    own = model.config.ch_names
    eeg, rows = items["eeg"], [own.index(name) for name in have]
    missing = [i for i in range(len(own)) if i not in rows]
    if fill == "interpolated":
        model.adapt_montage(have, min_real=0.0)
        logits = answers(model, eeg[:, rows], items["video"])
        model.adapt_montage(own)
    elif fill == "zero-filled":
        logits = answers(model, eeg.index_fill(1, torch.tensor(missing, dtype=torch.long), 0.0), items["video"])
    else:
        with spectrograms_at_the_mean(model, missing):
            logits = answers(model, eeg, items["video"])
    people = {name: np.array(items[name]) for name in QuadrantPairs.groups}
    return Predictions(logits.numpy(), items["label"].numpy(), people, levels=LEVELS)


def answers(model, eeg: Tensor, video: Tensor, size: int = 64) -> Tensor:
    """Logits, batch by batch."""
    return torch.cat([model(e, v).logits for e, v in zip(eeg.split(size), video.split(size), strict=True)])


def difference(ours: list[Predictions], theirs: list[Predictions], metric: str) -> str:
    """How much the one is ahead, over the same resampled people."""
    value, low, high = paired_difference(ours, theirs, metric)
    return f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"


def row(name: str, fill: str, runs: list[Predictions], full: Predictions) -> str:
    """A line of the table; several runs are draws of the channels, averaged in each resample."""
    cells = [name, fill]
    for metric in ("uar", "arousal"):
        value, low, high = interval(runs, metric)
        each = [interval([r], metric, n=1).value for r in runs]
        spread = f" ± {np.std(each, ddof=1):.3f}" if len(runs) > 1 else ""
        cells.append(f"{value:.3f}{spread} [{low:.3f}, {high:.3f}]")
        cells.append("" if runs[0] is full else difference(runs, [full] * len(runs), metric))
    return "| " + " | ".join(cells) + " |"


def nearest(site: str, names: Sequence[str]) -> str:
    """The electrode that lies nearest to a site."""
    return names[int(np.argmax(montage.positions(names) @ montage.positions([site])[0]))]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="ever_tiny.quadrant", help="checkpoint or folder (%(default)s)")
    parser.add_argument("--draws", type=int, default=5, help="random parts of the channels of each size (%(default)s)")
    options = parser.parse_args()
    model = em.from_pretrained(options.model)
    items = load(model, os.environ.get("EVERMODELS_DATA", "../shared/data"))
    own = model.config.ch_names
    fills = FILLS if model.spectrogram is not None and model.spectrogram.norm is not None else FILLS[:2]
    epoc = [name for name in montage.preset("epoc") if name in own]
    muse = [nearest(site, own) for site in montage.preset("muse")]

    full = run(model, items, own, "zero-filled")
    print(f"{options.model}: {len(full.label)} test items, {len(set(full.groups['eeg_subject']))} EEG people\n")
    print("| channels | the missing ones | UAR | from all | arousal half | from all |\n|---|---|---|---|---|---|")
    print(row(f"all {len(own)}", "", [full], full), flush=True)
    named: dict[str, list[Sequence[str]]] = {
        f"{len(epoc)} of the EPOC ({' '.join(epoc)})": [epoc],
        f"{len(muse)} nearest to the Muse's ({' '.join(muse)})": [muse],
    }
    draw = np.random.default_rng(0)
    for count in (15, 12, 10, 8):
        parts = [[own[i] for i in sorted(draw.choice(len(own), count, replace=False))] for _ in range(options.draws)]
        named[f"{count} at random, {options.draws} draws"] = parts
    compared = []
    for name, parts in named.items():
        runs = {fill: [run(model, items, have, fill) for have in parts] for fill in fills}
        for fill in fills:
            print(row(name, fill, runs[fill], full), flush=True)
        for fill in fills[1:]:
            cells = [name, fill, *(difference(runs[fills[0]], runs[fill], metric) for metric in ("uar", "arousal"))]
            compared.append("| " + " | ".join(cells) + " |")
    print("\n| channels | interpolated against | UAR | arousal half |\n|---|---|---|---|", *compared, sep="\n")


if __name__ == "__main__":
    main()
