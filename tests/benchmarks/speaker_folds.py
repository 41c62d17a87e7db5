"""Leave one speaker of EmoDB out: trains a row in each fold; run with ``python tests/benchmarks/speaker_folds.py``."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from evermodels.training import Predictions, finetune, interval, load_recipe, pool, summarize

FOLDS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="vggish_tiny_emodb")
    parser.add_argument("--row", default=None)
    parser.add_argument("--data", default=None, help="folder of the recordings (EVERMODELS_DATA)")
    parser.add_argument("--runs", type=Path, default=Path("runs/vggish_tiny_emodb"))
    arguments = parser.parse_args()
    runs = []
    for fold in range(FOLDS):
        recipe = load_recipe(arguments.recipe, [f"data.fold={fold}"])
        row = recipe.row(arguments.row)
        assert row is not None
        root = arguments.runs / f"fold-{fold}"
        finetune(recipe, root, row=row.name, data_root=arguments.data, progress=False)
        runs.append(Predictions.load(root / row.name / "seed-0" / "predictions.npz"))
        uar = summarize(runs[-1])["uar"]
        print(f"| {runs[-1].groups['speaker'][0]} | {len(runs[-1].label)} utterances | {uar:.3f} |", flush=True)
    each, ends = [summarize(run)["uar"] for run in runs], interval([pool(runs)], "uar")
    print(f"UAR by speaker {np.mean(each):.3f} ± {np.std(each):.3f}; pooled {ends}")


if __name__ == "__main__":
    main()
