"""AST beside transformers', and what the trimodal fusion costs on top of its three encoders.

Run with ``python tests/benchmarks/bench_trimodal.py``; seconds of CPU, one thread.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))

from _timing import alternating_medians, fair_clock

from evermodels.backbones import AST
from evermodels.checkpoints.convert import load_foreign
from evermodels.models import TrimodalFusion


def error(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """Return max|Δ| / max|reference|."""
    return float((ours - theirs).abs().max() / theirs.abs().max())


def peers(name: str) -> tuple[nn.Module, nn.Module]:
    """Return transformers' AST in the size of a preset, with random weights, and ours converted from its files."""
    import transformers

    c = AST.presets[name]
    config = transformers.ASTConfig(
        hidden_size=c.embed_dim,
        num_hidden_layers=c.depth,
        num_attention_heads=c.num_heads,
        intermediate_size=int(c.embed_dim * c.mlp_ratio),
        patch_size=c.patch_size,
        num_mel_bins=c.num_mels,
        max_length=c.num_frames,
        frequency_stride=c.stride[0],
        time_stride=c.stride[1],
    )
    theirs = transformers.ASTModel(config)
    with torch.no_grad():
        for p in theirs.parameters():
            p.normal_(std=0.1)
    with tempfile.TemporaryDirectory() as folder:
        theirs.save_pretrained(folder)
        return theirs, load_foreign(folder, name).model


def ast_rows(name: str, batch: int, repeats: int) -> None:
    torch.manual_seed(0)
    theirs, ours = (model.eval() for model in peers(name))
    x = torch.randn(batch, *AST.presets[name].input_spec.shape("audio"))
    with torch.no_grad():
        drift = error(ours(x), theirs(x).pooler_output)

    def step(model: nn.Module, train: bool) -> Callable[[], None]:
        def run() -> None:
            with torch.set_grad_enabled(train):
                out = model(x)
                out = out if isinstance(out, torch.Tensor) else out.pooler_output
                if train:
                    out.square().sum().backward()
                    model.zero_grad(set_to_none=True)

        return run

    for train in (False, True):
        ours.train(train)
        theirs.train(train)
        got = alternating_medians(
            {"ours": step(ours, train), "theirs": step(theirs, train)}, repeats, clock=fair_clock()
        )
        print(
            f"| {name}, batch {batch}, {'forward + backward' if train else 'forward'}, error {drift:.0e} "
            f"| transformers' ASTModel (sdpa) | {got['theirs']:.3f} s | {got['ours']:.3f} s "
            f"| {got['ours'] / got['theirs']:.2f} of its time | <= 1.05 |",
            flush=True,
        )


def fusion_rows(name: str, batch: int, backward: bool, repeats: int) -> None:
    torch.manual_seed(0)
    model = TrimodalFusion.from_preset(name).train(backward)
    inputs = {m: torch.randn(batch, *model.input_spec.shape(m)) for m in model.modalities}

    def finish(*outputs: torch.Tensor) -> None:
        if backward:
            sum(o.square().sum() for o in outputs).backward()
            model.zero_grad(set_to_none=True)

    def whole() -> None:
        with torch.set_grad_enabled(backward):
            finish(model(**inputs).logits)

    def encoders() -> None:
        with torch.set_grad_enabled(backward):
            finish(*(model.encoder(m)(x) for m, x in inputs.items()))

    got = alternating_medians({"whole": whole, "encoders": encoders}, repeats, clock=fair_clock())
    print(
        f"| {name}, batch {batch}, {'forward + backward' if backward else 'forward'} | its three encoders "
        f"| {got['encoders']:.3f} s | {got['whole']:.3f} s | {100 * (got['whole'] / got['encoders'] - 1):+.1f} % "
        "on top | <= 10 % |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--base", action="store_true", help="AST-B and trimodal_base too: many seconds for each pass")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # one thread's CPU time does not see what else the machine does
    print("| what | against | its time | ours | ratio | reach |")
    print("|---|---|---|---|---|---|")
    for name, batch in (("ast_nano", 16), ("ast_tiny", 1), *((("ast_base", 1),) if arguments.base else ())):
        ast_rows(name, batch, arguments.repeats)
    for backward in (False, True):
        fusion_rows("trimodal_tiny", 16, backward, arguments.repeats)
    if arguments.base:
        fusion_rows("trimodal_base", 1, False, 3)


if __name__ == "__main__":
    main()
