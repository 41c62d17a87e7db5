"""What Milmer's fusion costs over its encoders, and the choice of frames against a loop over samples.

Run with ``python tests/benchmarks/bench_milmer.py``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))

from _timing import alternating_medians, fair_clock

from evermodels.functional import attention_mil_weights, top_k_instances
from evermodels.models import Milmer


def fusion(name: str, batch: int, backward: bool) -> dict[str, Callable[[], None]]:
    """Return the whole model and the two encoders alone, with the same inputs."""
    torch.manual_seed(0)
    model = Milmer.from_preset(name).train(backward)
    eeg, video = (torch.randn(batch, *model.input_spec.shape(m)) for m in ("eeg", "video"))
    eeg *= 20

    def finish(*outputs: torch.Tensor) -> None:
        if backward:
            sum(o.square().sum() for o in outputs).backward()
            model.zero_grad(set_to_none=True)

    def whole() -> None:
        with torch.set_grad_enabled(backward):
            finish(model(eeg=eeg, video=video).logits)

    def encoders() -> None:
        with torch.set_grad_enabled(backward):
            x = eeg if model.spectrogram is None else model.spectrogram(eeg)
            finish(model.eeg_encoder.forward_features(x), model.video_encoder.forward_frames(video))

    return {"whole": whole, "encoders": encoders}


def choice(batch: int) -> dict[str, Callable[[], None]]:
    """Return the choice of 3 of 10 frames of 49 tokens, and the same by a loop over samples and frames."""
    torch.manual_seed(0)
    x = torch.randn(batch, 10, 49, 768)
    v, w = torch.randn(128, 768) / 28, torch.randn(128)
    mean = x.mean(dim=2)

    def ours() -> None:
        top_k_instances(x, attention_mil_weights(mean, v, w), 3)

    def loop() -> None:
        picked = []
        for sample, means in zip(x, mean, strict=True):
            weights = torch.stack([w @ torch.tanh(v @ token) for token in means]).softmax(0)
            picked.append(sample[sorted(weights.topk(3).indices.tolist())])
        torch.stack(picked)

    return {"ours": ours, "loop": loop}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="without milmer_base, seconds a clip on a CPU")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # one thread's CPU time does not see what else the machine does
    print("| model | batch | pass | encoders | Milmer | over the encoders |")
    print("|---|---|---|---|---|---|")
    rows = [("milmer_tiny", 16, False), ("milmer_tiny", 16, True), ("milmer_base", 1, False)]
    for name, batch, backward in rows[: 2 if arguments.small else None]:
        got = alternating_medians(fusion(name, batch, backward), repeats=arguments.repeats, clock=fair_clock())
        passes = "forward + backward" if backward else "forward"
        more = 100 * (got["whole"] / got["encoders"] - 1)
        times = f"{got['encoders']:.3f} s | {got['whole']:.3f} s"
        print(f"| {name} | {batch} | {passes} | {times} | {more:+.1f} % |", flush=True)
    got = alternating_medians(choice(16), repeats=arguments.repeats, clock=fair_clock())
    print(
        f"\nChoice of 3 of 10 frames, 16 clips of 49 tokens: {1000 * got['ours']:.2f} ms; a loop over samples and "
        f"frames: {1000 * got['loop']:.2f} ms, {got['loop'] / got['ours']:.1f} times as long."
    )


if __name__ == "__main__":
    main()
