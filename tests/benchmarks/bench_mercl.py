"""What MERCL's fusion costs on top of its encoders: run with ``python tests/benchmarks/bench_mercl.py``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))

from _timing import alternating_medians, fair_clock

from evermodels.models import MERCL


def steps(name: str, batch: int, backward: bool) -> dict[str, Callable[[], None]]:
    """Return the whole model, and its encoders (section 3.1: spatial and temporal) alone, with the same inputs."""
    torch.manual_seed(0)
    model = MERCL.from_preset(name).train(backward)
    inputs = {m: torch.randn(batch, *model.input_spec.shape(m)) for m in model.modalities}
    inputs["eeg"] *= 20

    def finish(*outputs: torch.Tensor) -> None:
        if backward:
            sum(o.square().sum() for o in outputs).backward()
            model.zero_grad(set_to_none=True)

    def whole() -> None:
        with torch.set_grad_enabled(backward):
            output = model(**inputs)
            finish(output.logits, *output.embeddings.values())

    def encoders() -> None:
        with torch.set_grad_enabled(backward):
            given = {**inputs, "eeg": model.front_end(inputs["eeg"])}
            finish(*(model.temporal[m](model.encoder(m).forward_steps(x)) for m, x in given.items()))

    return {"MERCL": whole, "encoders": encoders}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--small", action="store_true", help="without mercl_base, which needs seconds per clip on a CPU"
    )
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # one thread's CPU time does not see what else the machine does
    rows = [("mercl_tiny", 16, False), ("mercl_tiny", 16, True), ("mercl_base", 1, False)]
    print("| what | against | its time | ours | ratio | reach |")
    print("|---|---|---|---|---|---|")
    for name, batch, backward in rows[: 2 if arguments.small else None]:
        got = alternating_medians(steps(name, batch, backward), repeats=arguments.repeats, clock=fair_clock())
        passes = "forward + backward" if backward else "forward"
        print(
            f"| {name}, batch {batch}, {passes} | its encoders alone | {1e3 * got['encoders']:.0f} ms "
            f"| {1e3 * got['MERCL']:.0f} ms | {100 * (got['MERCL'] / got['encoders'] - 1):+.1f} % | <= +10 % |",
            flush=True,
        )


if __name__ == "__main__":
    main()
