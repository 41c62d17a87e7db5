"""PatchTST beside transformers'; the other time-series encoders beside themselves with attention written out.

Run with ``python tests/benchmarks/bench_series.py``; seconds of CPU and peak memory, one thread. iTransformer,
Crossformer and Medformer have no package to be timed against: what their repositories do otherwise is that scores and
softmax are tensors, which is what they are compared with here.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import torch
from torch import Tensor, nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parent))

from _timing import alternating_medians, fair_clock

import evermodels as em
from evermodels.backbones import PatchTST
from evermodels.checkpoints.convert import load_foreign
from evermodels.checkpoints.foreign_format import Request

WRITTEN_OUT = ("itransformer_small", "crossformer_tiny", "medformer_tiny")
SIZES = {"transformers": (8, 19, 512), **dict.fromkeys(WRITTEN_OUT, (16, 19, 1000))}


def peers() -> tuple[nn.Module, nn.Module]:
    """Return transformers' PatchTST of the published size, with random weights, and ours converted from its files."""
    sys.modules.setdefault("torchaudio", None)  # type: ignore[arg-type]  # its wheel may not fit the torch that is there
    import transformers

    c = PatchTST.presets["patchtst_base"]
    config = transformers.PatchTSTConfig(
        num_input_channels=SIZES["transformers"][1],
        context_length=SIZES["transformers"][2],
        patch_length=c.patch_size,
        patch_stride=c.stride,
        d_model=c.embed_dim,
        num_attention_heads=c.num_heads,
        num_hidden_layers=c.depth,
        ffn_dim=c.mlp_dim,
        num_targets=2,
        head_dropout=0.0,
    )
    theirs = transformers.PatchTSTForClassification(config)
    with tempfile.TemporaryDirectory() as folder:
        theirs.save_pretrained(folder)
        request = Request({"drop_rate": 0.0, "head_drop_rate": 0.0})
        return theirs, load_foreign(folder, "patchtst_base", request=request).model


def written_out(q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0) -> Tensor:
    """Attention with its scores and its softmax as tensors."""
    scores = q @ k.mT * q.shape[-1] ** -0.5
    scores = scores if attn_mask is None else scores.masked_fill(~attn_mask, float("-inf"))
    return F.dropout(scores.softmax(dim=-1), dropout_p) @ v


def sides(name: str, train: bool) -> dict[str, Callable[[Tensor], Tensor]]:
    """Return what is compared; each takes EEG and gives logits."""
    torch.manual_seed(0)
    if name == "transformers":
        theirs, ours = (model.train(train) for model in peers())
        return {"ours": ours, "theirs": lambda x: theirs(x.mT).prediction_logits}
    values = {"drop_rate": 0.0, "head_drop_rate": 0.0, "num_classes": 2}
    model = em.create_model(name, in_chans=SIZES[name][1], num_samples=SIZES[name][2], **values).train(train)
    if hasattr(model, "augment"):
        model.augment.eval()

    def apart(x: Tensor) -> Tensor:
        with mock.patch.object(F, "scaled_dot_product_attention", written_out):
            return model(x)

    return {"ours": model, "theirs": apart}


def runs(name: str, train: bool) -> dict[str, Callable[[], None]]:
    """Return one pass of each side."""
    x = torch.randn(SIZES[name])

    def make(side: Callable[[Tensor], Tensor]) -> Callable[[], None]:
        def run() -> None:
            with torch.set_grad_enabled(train):
                out = side(x)
                if train:
                    out.square().sum().backward()

        return run

    return {key: make(side) for key, side in sides(name, train).items()}


def peak(name: str, side: str) -> float:
    """Return how many MiB a training step takes on top, in a process of its own."""
    command = [sys.executable, __file__, "--memory", name, side]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def memory(name: str, side: str) -> None:
    """Print the peak of a training step above what lies there before."""
    step = runs(name, True)[side]
    before = _high_water()
    step()
    print((_high_water() - before) / 1024)


def _high_water() -> int:
    """Return the most KiB that this process has held; of ``getrusage`` the parent's would be a part."""
    status = Path("/proc/self/status").read_text("utf-8")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))


def rows(name: str, repeats: int) -> None:
    """Print the rows of one comparison."""
    against = (
        "transformers' `PatchTSTForClassification`" if name == "transformers" else "the same, attention written out"
    )
    what = "PatchTST, 128 wide" if name == "transformers" else f"`{name}`"
    batch, channels, samples = SIZES[name]
    for train in (False, True):
        got = alternating_medians(runs(name, train), repeats, clock=fair_clock())
        ratio = got["ours"] / got["theirs"]
        print(
            f"| {what}, {batch} x {channels} x {samples}, {'forward + backward' if train else 'forward'} | {against} "
            f"| {got['theirs']:.3f} s | {got['ours']:.3f} s | {ratio:.2f} of its time | <= 1.05 |",
            flush=True,
        )
    theirs, ours = peak(name, "theirs"), peak(name, "ours")
    print(f"| the same, peak memory | {against} | {theirs:.0f} MiB | {ours:.0f} MiB | {ours / theirs:.2f} | <= 1 |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--only", choices=tuple(SIZES), help="one comparison (default: all)")
    parser.add_argument("--memory", nargs=2, metavar=("NAME", "SIDE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # one thread's CPU time does not see what else the machine does
    if arguments.memory:
        memory(*arguments.memory)
        return
    for name in (arguments.only,) if arguments.only else SIZES:
        rows(name, arguments.repeats)


if __name__ == "__main__":
    main()
