"""What EVER's fusion costs on top of its two encoders: run with ``python tests/benchmarks/bench_fusion.py``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))

from _timing import alternating_medians, fair_clock

from evermodels.models import EVER


def steps(name: str, batch: int, backward: bool) -> dict[str, Callable[[], None]]:
    """Return the whole model, the two encoders alone and the fusion alone, with the same inputs."""
    torch.manual_seed(0)
    model = EVER.from_preset(name).train(backward)
    assert model.spectrogram is not None and model.fusion is not None
    eeg, video = (torch.randn(batch, *model.input_spec.shape(m)) for m in ("eeg", "video"))
    eeg *= 20
    with torch.no_grad():
        spectrogram = model.spectrogram(eeg)

    def finish(*outputs: torch.Tensor) -> None:
        if backward:
            sum(o.square().sum() for o in outputs).backward()
            model.zero_grad(set_to_none=True)

    def whole() -> None:
        with torch.set_grad_enabled(backward):
            finish(model(eeg=eeg, video=video).logits)

    def encoders() -> None:
        with torch.set_grad_enabled(backward):
            finish(model.eeg_encoder(model.spectrogram(eeg)), model.video_encoder(video))

    with torch.no_grad():
        z_eeg, z_video = model.eeg_encoder(spectrogram), model.video_encoder(video)

    def fusion() -> None:
        with torch.set_grad_enabled(backward):
            e, v = z_eeg.requires_grad_(backward), z_video.requires_grad_(backward)
            finish(model.fusion(spectrogram, model.eeg_projection(e), model.video_projection(v)).logits)

    return {"EVER": whole, "encoders": encoders, "fusion": fusion}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="without ever_base, which needs seconds per clip on a CPU")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # one thread's CPU time does not see what else the machine does
    rows = [("ever_tiny", 16, False), ("ever_tiny", 16, True), ("ever_small", 2, False), ("ever_base", 1, False)]
    print("Encoders: spectrogram, AuM, ViT. Fusion: projections and BIH-GCN. Seconds of CPU, one thread.")
    print("| model | batch | pass | two encoders | EVER | EVER over encoders | fusion alone | fusion over encoders |")
    print("|---|---|---|---|---|---|---|---|")
    for name, batch, backward in rows[: 2 if arguments.small else None]:
        got = alternating_medians(steps(name, batch, backward), repeats=arguments.repeats, clock=fair_clock())
        passes = "forward + backward" if backward else "forward"
        print(
            f"| {name} | {batch} | {passes} | {got['encoders']:.3f} s | {got['EVER']:.3f} s "
            f"| {100 * (got['EVER'] / got['encoders'] - 1):+.1f} % | {1000 * got['fusion']:.1f} ms "
            f"| {100 * got['fusion'] / got['encoders']:.1f} % |",
            flush=True,
        )


if __name__ == "__main__":
    main()
