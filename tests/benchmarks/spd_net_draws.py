"""SPDNet on EEGMAT over the fixed split and random splits; run with ``python tests/benchmarks/spd_net_draws.py``.

Rest against arithmetic from 5 s, nothing known of the person. Finished runs are read, not trained again::

    python tests/benchmarks/spd_net_draws.py --draws 0 1 2 3 4 5 6 7 8 9 --seeds 0 1 2
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path

import numpy as np
from scipy.special import softmax

from evermodels.training import Predictions, auroc, finetune, interval, load_recipe, summarize

RECIPE, ROW = "spd_net_tiny_eegmat", "spd_net"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, nargs="*", default=[], help="random splits; without any, the fixed one")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--data", default=None, help="folder of the recordings (EVERMODELS_DATA)")
    parser.add_argument("--runs", type=Path, default=Path("runs") / RECIPE)
    parser.add_argument("--minutes", type=float, default=None, help="start no run after so long")
    parser.add_argument("--set", action="append", default=[], help="another value of the recipe")
    arguments = parser.parse_args()
    begin, found = time.monotonic(), {}
    for seed in arguments.seeds:
        for draw in arguments.draws or [None]:
            place = arguments.runs / ("fixed" if draw is None else f"draw-{draw}")
            said = place / ROW / f"seed-{seed}" / "predictions.npz"
            if not said.exists():
                if arguments.minutes is not None and time.monotonic() - begin > 60 * arguments.minutes:
                    continue
                other = [] if draw is None else [f"data.draw={draw}"]
                recipe = load_recipe(RECIPE, [*other, *arguments.set])
                finetune(recipe, place, row=ROW, seed=seed, data_root=arguments.data, progress=False)
            found[seed, draw] = run = Predictions.load(said)
            print(f"| {draw} | {seed} | {summarize(run)['uar']:.3f} | {auroc(run):.3f} |", flush=True)
    _show(found)


def _show(found: dict[tuple[int, int | None], Predictions]) -> None:
    """Print the mean over splits and seeds, and what the mean of the seeds' probabilities says."""
    uar = {key: summarize(run)["uar"] for key, run in found.items()}
    draws = sorted({draw for _, draw in found}, key=str)
    each = [np.mean([v for (_, d), v in uar.items() if d == draw]) for draw in draws]
    print(f"balanced accuracy {np.mean(each):.3f} ± {np.std(each):.3f} over {len(draws)} splits, {len(uar)} runs")
    for seed in sorted({seed for seed, _ in uar}):
        own = [v for (s, _), v in uar.items() if s == seed]
        print(f"seed {seed}: {np.mean(own):.3f} ± {np.std(own):.3f}")
    together = []
    for draw in draws:
        runs = [run for (_, d), run in found.items() if d == draw]
        mean = np.mean([softmax(run.logits, axis=1) for run in runs], axis=0)
        together.append(summarize(dataclasses.replace(runs[0], logits=np.log(mean)))["uar"])
        if len(draws) == 1:
            print(f"over people: {interval(runs, 'uar')}")
    print(f"the seeds' mean probability: {np.mean(together):.3f} ± {np.std(together):.3f}")


if __name__ == "__main__":
    main()
