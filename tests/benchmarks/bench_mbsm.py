"""Rows of the speed table for the MBSM encoder: run with ``python tests/benchmarks/bench_mbsm.py``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parent))

from _timing import alternating_medians, fair_clock

import evermodels as em
from evermodels.backbones import MBSMConfig, MBSMEncoder


class PlainAttention(nn.Module):
    """The reference's attention: scores, softmax and product one after the other, with the weights of ours."""

    def __init__(self, own: nn.Module) -> None:
        super().__init__()
        self.own = own

    def forward(self, x: Tensor) -> Tensor:
        """Mix tokens."""
        batch, n, dim = x.shape
        heads = self.own.num_heads
        q, k, v = self.own.qkv(x).reshape(batch, n, 3, heads, dim // heads).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-2, -1) * (dim // heads) ** -0.5).softmax(dim=-1)
        return self.own.proj((weights @ v).transpose(1, 2).reshape(batch, n, dim))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)

    fixed = MBSMEncoder(MBSMConfig(embed_dim=256, depth=6, num_heads=4)).eval()
    plain = MBSMEncoder(fixed.config).eval()
    plain.load_state_dict(fixed.state_dict())
    for block in plain.blocks:
        block.attn = PlainAttention(block.attn)
    x = torch.randn(8, 128, 512)
    any_montage = MBSMEncoder(
        fixed.config.replace(in_chans=62, channels="positions", ch_names=em.montage.preset("seed"))
    ).eval()
    few = MBSMEncoder(fixed.config.replace(in_chans=62)).eval()
    y = torch.randn(8, 62, 512)
    with torch.no_grad():
        torch.testing.assert_close(plain(x), fixed(x), rtol=1e-4, atol=1e-5)
        weight = torch.einsum("ck,dkp->dcp", any_montage.harmonics, any_montage.patch_embed.proj.weight)
        slow = F.conv1d(y, weight, any_montage.patch_embed.proj.bias, stride=4).mT
        torch.testing.assert_close(any_montage.patch_embed(y, any_montage.harmonics), slow, rtol=1e-3, atol=1e-4)
        clock = fair_clock()
        for title, calls in (
            (
                "encoder 256 wide, 6 deep, 8 x 128 x 512",
                {"plain attention": lambda: plain(x), "ours": lambda: fixed(x)},
            ),
            ("the same, 62 channels", {"fixed channels": lambda: few(y), "from positions": lambda: any_montage(y)}),
        ):
            (base, reference), (name, own) = alternating_medians(calls, args.repeats, clock=clock).items()
            print(f"{title}: {base} {1e3 * reference:.1f} ms, {name} {1e3 * own:.1f} ms, ratio {own / reference:.2f}")


if __name__ == "__main__":
    main()
