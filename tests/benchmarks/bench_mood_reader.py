"""What Mood Reader's fusion costs on top of its encoders, and its entropy beside a SciPy loop.

Run with ``python tests/benchmarks/bench_mood_reader.py``; ``--small`` leaves out ``mood_reader_base``.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy.signal
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))

from _timing import alternating_medians, fair_clock

from evermodels.layers import DifferentialEntropy
from evermodels.models import MoodReader


def steps(name: str, batch: int, backward: bool) -> dict[str, Callable[[], None]]:
    """Return the whole model, its encoders alone, and its fusion and head alone."""
    torch.manual_seed(0)
    model = MoodReader.from_preset(name).train(backward)
    eeg, eye = (torch.randn(batch, *model.input_spec.shape(m)) for m in ("eeg", "eye"))

    def finish(*outputs: Tensor) -> None:
        if backward:
            sum(o.square().sum() for o in outputs).backward()
            model.zero_grad(set_to_none=True)

    def whole() -> None:
        with torch.set_grad_enabled(backward):
            finish(model(eeg=eeg, eye=eye).logits)

    def encoders() -> None:
        with torch.set_grad_enabled(backward):
            seen = model.spatio_temporal(model.entropy(eeg))
            spatial, temporal = model.spatial_projection(seen.spatial), model.temporal_projection(seen.temporal)
            given = model.given({"eeg": eeg, "eye": eye}, None, None)
            finish(spatial, temporal, model.encode("eeg", eeg, given), model.encode("eye", model.eye_norm(eye), given))

    dim, sources = model.config.dim, model.fusion.sources
    vectors = {source: torch.randn(batch, dim, requires_grad=backward) for source in sources}

    def fusion() -> None:
        with torch.set_grad_enabled(backward):
            finish(model.head(model.fusion(vectors).embedding))

    return {"whole": whole, "encoders": encoders, "fusion": fusion}


def scipy_loop(eeg: np.ndarray, layer: DifferentialEntropy) -> np.ndarray:
    """The same method, one window of one channel after the other."""
    batch, channels, time = eeg.shape
    windows, first = time // layer.length, time % layer.length
    out = np.empty((batch, windows, len(layer.bands), channels))
    for i, n, c in np.ndindex(batch, windows, channels):
        x = eeg[i, c, first + n * layer.length : first + (n + 1) * layer.length]
        frequencies, density = scipy.signal.periodogram(x, layer.sfreq, "hann", detrend="constant")
        for b, (low, high) in enumerate(layer.bands):
            variance = density[(frequencies >= low) & (frequencies < high)].sum() * frequencies[1]
            out[i, n, b, c] = 0.5 * math.log(2 * math.pi * math.e * variance)
    return out


def entropy_row(repeats: int) -> None:
    """SEED's sizes: items of 16 s of 62 channels at 200 Hz in windows of 4 s."""
    bands = ((1.0, 4.0), (4.0, 8.0), (8.0, 14.0), (14.0, 31.0), (31.0, 50.0))
    layer, eeg = DifferentialEntropy(200.0, bands, 4.0, anchor="end"), 20 * torch.randn(8, 62, 3200)
    drift = np.abs(layer(eeg).numpy() - scipy_loop(eeg.double().numpy(), layer)).max()
    got = alternating_medians(
        {"ours": lambda: layer(eeg), "scipy": lambda: scipy_loop(eeg.numpy(), layer)}, repeats, clock=fair_clock()
    )
    print(
        f"| DifferentialEntropy, 8 x 62 x 3200, from the end, error {drift:.0e} | SciPy loop "
        f"| {got['scipy'] * 1e3:.0f} ms "
        f"| {got['ours'] * 1e3:.1f} ms | {got['scipy'] / got['ours']:.0f} x faster | >= 20 x |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print("| what | against | its time | ours | ratio | reach |")
    print("|---|---|---|---|---|---|")
    entropy_row(max(3, arguments.repeats // 2))
    rows = [("mood_reader_tiny", 32, False), ("mood_reader_tiny", 32, True), ("mood_reader_base", 2, False)]
    for name, batch, backward in rows[: 2 if arguments.small else None]:
        got = alternating_medians(steps(name, batch, backward), arguments.repeats, clock=fair_clock())
        over, alone = got["whole"] / got["encoders"] - 1, got["fusion"] / got["encoders"]
        passes = "forward + backward" if backward else "forward"
        print(
            f"| {name}, batch {batch}, {passes} | its encoders, entropy and interlinked attention "
            f"| {got['encoders'] * 1e3:.1f} ms | {got['fusion'] * 1e3:.1f} ms on top "
            f"| {100 * alone:.1f} % (whole: {100 * over:+.1f} %) | <= 10 % |",
            flush=True,
        )


if __name__ == "__main__":
    main()
