"""Train one row of a recipe in each fold, one process for all; run with ``python tests/benchmarks/person_folds.py``.

Leave one speaker of EmoDB out (protocol 5)::

    python tests/benchmarks/person_folds.py --recipe vggish_tiny_emodb --row speech --folds 10

One viewer of CEAP-360VR (protocol 6)::

    python tests/benchmarks/person_folds.py --recipe mood_reader_tiny_ceap --row valence --folds 32
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from evermodels.training import Predictions, finetune, interval, load_recipe, pool, summarize


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", required=True)
    parser.add_argument("--row", default=None)
    parser.add_argument("--folds", type=int, required=True)
    parser.add_argument("--first", type=int, default=0, help="where to begin; what is trained stays")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", default=None, help="folder of the recordings (EVERMODELS_DATA)")
    parser.add_argument("--runs", type=Path, default=None, help="folder of the runs (runs/RECIPE)")
    arguments = parser.parse_args()
    root = arguments.runs or Path("runs") / arguments.recipe
    runs = []
    for fold in range(arguments.first, arguments.folds):
        recipe = load_recipe(arguments.recipe, [f"data.fold={fold}"])
        row = recipe.row(arguments.row)
        assert row is not None
        place = root / f"fold-{fold}"
        finetune(recipe, place, row=row.name, seed=arguments.seed, data_root=arguments.data, progress=False)
        runs.append(Predictions.load(place / row.name / f"seed-{arguments.seed}" / "predictions.npz"))
        (people,) = runs[-1].groups.values()
        print(f"| {', '.join(sorted(set(people)))} | {len(people)} | {summarize(runs[-1])['uar']:.3f} |", flush=True)
    each = [value for run in runs for value in _by_person(run)]
    print(f"UAR by person {np.mean(each):.3f} ± {np.std(each):.3f} ({len(each)} people)")
    print(f"pooled {interval([pool(runs)], 'uar')}")


def _by_person(run: Predictions) -> list[float]:
    (found,) = summarize(run)["per_person"].values()
    return list(found["uar"].values())


if __name__ == "__main__":
    main()
