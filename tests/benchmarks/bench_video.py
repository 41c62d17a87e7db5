"""Encoders of clips beside transformers' and torchvision's: time of forward pass and training step, peak memory.

Run with ``python tests/benchmarks/bench_video.py``; seconds of CPU, one thread. Models have their published widths and
a few blocks, so that a row takes a minute; ``--depth`` and ``--size`` make them whole.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))

from _timing import alternating_medians, fair_clock

import evermodels as em

Pair = tuple[nn.Module, nn.Module, Callable[[torch.Tensor], torch.Tensor]]


def hugging(kind: str, name: str, depth: int, size: int) -> Pair:
    """Ours, transformers' of the same sizes, and how the latter takes a clip."""
    sys.modules.setdefault("torchaudio", None)  # type: ignore[arg-type]  # one of another CUDA version cannot be imported
    import transformers

    ours = em.create_model(name, depth=depth, img_size=(size, size), num_classes=5)
    c = ours.config
    sizes = {
        "image_size": size,
        "num_frames": c.num_frames,
        "hidden_size": c.embed_dim,
        "num_hidden_layers": c.depth,
        "num_attention_heads": c.num_heads,
        "intermediate_size": int(c.embed_dim * c.mlp_ratio),
        "num_labels": 5,
    }
    patch = {"tubelet_size": [2, 16, 16]} if kind == "Vivit" else {"patch_size": c.patch_size}
    config = getattr(transformers, f"{kind}Config")(**sizes, **patch)
    theirs = getattr(transformers, f"{kind}ForVideoClassification")(config)
    return ours, theirs, lambda x: theirs(x).logits


def tvlt(depth: int, size: int) -> Pair:
    """Ours and transformers' of the same sizes, which releases up to 4.40 have; both read the same sound."""
    sys.modules.setdefault("torchaudio", None)  # type: ignore[arg-type]  # as above
    import transformers

    if not hasattr(transformers, "TvltForAudioVisualClassification"):
        raise SystemExit("tvlt_audio_base: left out, transformers after 4.40 has no TVLT. Run it with 4.40.2.")
    spec = {"video": {"num_frames": 8, "size": (size, size)}, "window_seconds": 2.575}  # 256 frames of 128 bands
    ours = em.create_model("tvlt_audio_base", num_classes=5, depth=depth, input_spec=spec, blank=None, pooler=False)
    config = transformers.TvltConfig(
        image_size=size, num_hidden_layers=depth, num_labels=5, loss_type="classification", spectrogram_length=256
    )
    theirs = transformers.TvltForAudioVisualClassification(config)
    audio = torch.randn(1, *ours.input_spec.shape("audio"))
    own = Alone(ours, audio)
    return own, theirs, lambda x: theirs(x, audio[:, None]).logits


class Alone(nn.Module):
    """TVLT as a model of video, its sound always the same.

    Args:
        model: The model.
        audio: The sound.
    """

    def __init__(self, model: Any, audio: torch.Tensor) -> None:
        super().__init__()
        self.model, self.audio = model, audio
        self.sample_shape = model.input_spec.shape("video")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        logits: torch.Tensor = self.model(video=x, audio=self.audio).logits
        return logits


def swin(name: str, depth: int, size: int) -> Pair:
    """Ours and torchvision's of the same sizes."""
    from torchvision.models.video.swin_transformer import SwinTransformer3d

    full = em.create_model(name, num_classes=5).config
    depths = tuple(min(depth, n) for n in full.depths)
    ours = em.create_model(name, num_classes=5, depths=depths, num_frames=16, img_size=(size, size))
    c = ours.config
    theirs = SwinTransformer3d(
        patch_size=list(c.patch_size),
        embed_dim=c.embed_dim,
        depths=list(c.depths),
        num_heads=list(c.num_heads),
        window_size=list(c.window_size),
        stochastic_depth_prob=0.0,
        num_classes=5,
    )
    return ours, theirs, lambda x: theirs(x.transpose(1, 2))


ROWS: dict[str, Callable[[int, int], Pair]] = {
    "timesformer_base": lambda depth, size: hugging("Timesformer", "timesformer_base", depth, size),
    "vivit_base": lambda depth, size: hugging("Vivit", "vivit_base", depth, size),
    "videomae_base": lambda depth, size: hugging("VideoMAE", "videomae_base", depth, size),
    "video_swin_tiny": lambda depth, size: swin("video_swin_tiny", depth, size),
    "tvlt_audio_base": tvlt,
}


def step(call: Callable[[torch.Tensor], torch.Tensor], model: nn.Module, x: torch.Tensor, train: bool) -> Any:
    def run() -> None:
        with torch.set_grad_enabled(train):
            out = call(x)
            if train:
                out.square().sum().backward()
                model.zero_grad(set_to_none=True)

    return run


def peak(name: str, which: str, train: bool, options: argparse.Namespace) -> float:
    """Return how much memory one step takes above the model itself, in MB, in a process of its own."""
    flags = ["--one", f"{name},{which},{int(train)}", "--depth", options.depth, "--size", options.size]
    done = subprocess.run([sys.executable, __file__, *map(str, flags)], check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def one(name: str, which: str, train: bool, options: argparse.Namespace) -> None:
    ours, theirs, call = ROWS[name](options.depth, options.size)
    x = torch.randn(1, *ours.sample_shape)
    model, how = (ours, ours) if which == "ours" else (theirs, call)
    model.train(train)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew here
    before = kilobytes("VmRSS")
    step(how, model, x, train)()
    print((kilobytes("VmHWM") - before) / 1024)


def kilobytes(name: str) -> int:
    """Return a line of Linux' account of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    usual = [name for name in ROWS if name != "tvlt_audio_base"]  # which wants an old transformers
    parser.add_argument("--rows", nargs="*", default=usual, choices=list(ROWS))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--depth", type=int, default=2)
    parser.add_argument("--size", type=int, default=112)
    parser.add_argument("--memory", action="store_true", help="measure peaks too, each in a process of its own")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if options.one:
        name, which, train = options.one.split(",")
        one(name, which, train == "1", options)
        return
    for name in options.rows:
        ours, theirs, call = ROWS[name](options.depth, options.size)
        x = torch.randn(1, *ours.sample_shape)
        for train in (False, True):
            ours.train(train)
            theirs.train(train)
            both = {"ours": step(ours, ours, x, train), "theirs": step(call, theirs, x, train)}
            got = alternating_medians(both, options.repeats, clock=fair_clock())
            memory = {which: "" for which in both}
            if options.memory:
                memory = {which: f", {peak(name, which, train, options):.0f} MB" for which in both}
            print(
                f"| {name}, {options.depth} blocks, {x.shape[1]} frames of {options.size}², "
                f"{'forward + backward' if train else 'forward'} | {type(theirs).__name__} | {got['theirs']:.3f} s"
                f"{memory['theirs']} | {got['ours']:.3f} s{memory['ours']} | "
                f"{got['ours'] / got['theirs']:.2f} of its time | <= 1.05 |",
                flush=True,
            )


if __name__ == "__main__":
    main()
