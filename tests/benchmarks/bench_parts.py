"""Rows of the speed table for parts: run with ``python tests/benchmarks/bench_parts.py``."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy.ndimage
import scipy.signal
import torch
from torch import Tensor, nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parent))

from _timing import alternating_medians, fair_clock

from evermodels.core.outputs import EmotionOutput
from evermodels.functional import intra_modal_contrastive
from evermodels.layers import BIHGCN, STFTSpectrogram
from evermodels.losses import MERCLLoss

LOBES = {
    "frontal": range(0, 10),
    "temporal": range(10, 14),
    "central": range(14, 22),
    "parietal": range(22, 27),
    "occipital": range(27, 30),
}


def error(ours: Tensor, reference: Tensor) -> float:
    """Return max|Δ| / max|reference|."""
    return float((ours.double() - reference.double()).abs().max() / reference.double().abs().max())


def spectrogram_rows(repeats: int, time_: int, size: tuple[int, int]) -> None:
    batch, channels, n_fft = 16, 30, 200
    signal = 20 * torch.randn(batch, channels, time_)
    layer = STFTSpectrogram(n_fft, size=size)
    window = torch.hann_window(n_fft)
    hann = scipy.signal.get_window("hann", n_fft)

    def bare() -> Tensor:
        stft = torch.stft(signal.reshape(-1, time_), n_fft, n_fft // 4, window=window, return_complex=True)
        return F.interpolate(torch.log1p(stft.abs())[None], size=size, mode="bilinear", align_corners=False)

    def with_scipy() -> Tensor:
        rows = []
        for one in signal.reshape(-1, time_).numpy():
            _, _, z = scipy.signal.stft(
                one, window=hann, nperseg=n_fft, noverlap=n_fft - n_fft // 4, boundary="even", padded=False
            )
            image = np.log1p(np.abs(z) * hann.sum())
            zoom = (size[0] / image.shape[0], size[1] / image.shape[1])
            rows.append(scipy.ndimage.zoom(image, zoom, order=1, mode="nearest", grid_mode=True))
        return torch.from_numpy(np.stack(rows))

    with torch.no_grad():
        got = layer(signal)
        drift = error(got.flatten(0, 1), with_scipy())
        seconds = alternating_medians(
            {"ours": lambda: layer(signal), "bare": bare, "scipy": with_scipy}, repeats, clock=fair_clock()
        )
    where = f"{batch} x {channels} x {time_}, n_fft {n_fft}, to {size[0]} x {size[1]}"
    print(
        f"| STFTSpectrogram, {where} | torch.stft + log1p + interpolate | {seconds['bare'] * 1e3:.1f} ms "
        f"| {seconds['ours'] * 1e3:.1f} ms | {seconds['ours'] / seconds['bare']:.2f} x its time | <= 1.1 x |"
    )
    print(
        f"| the same, error {drift:.0e} | scipy per channel | {seconds['scipy'] * 1e3:.1f} ms "
        f"| {seconds['ours'] * 1e3:.1f} ms | {seconds['scipy'] / seconds['ours']:.1f} x faster | >= 10 x |"
    )


class SparseBIHGCN(nn.Module):
    """Eq. 6-14 as torch-geometric writes graphs: edge lists, scatter, ``GCNConv``; the weights are a BIHGCN's."""

    def __init__(self, dense: BIHGCN, batch: int) -> None:
        super().__init__()
        from torch_geometric.nn import GCNConv

        self.dense, self.batch = dense, batch
        self._single: SparseBIHGCN | None = None
        self.convolutions = nn.ModuleList()
        for layer in (dense.local_gcn, dense.region_gcn):
            width_out, width_in = layer.weight.shape
            convolution = GCNConv(width_in, width_out, normalize=False)
            convolution.lin.weight, convolution.bias = layer.weight, layer.bias
            self.convolutions.append(convolution)
        self.edges = [self._edges(dense.local_edges), self._edges(dense.region_edges_mask)]
        one = dense.region_index.float().argmax(0)
        count = len(dense.regions)
        self.region_of = (one[None] + count * torch.arange(batch)[:, None]).flatten()

    def sample_by_sample(self, spectrogram: Tensor, z_eeg: Tensor, z_video: Tensor) -> Tensor:
        """The same, one sample after the other: GCNConv takes one adjacency, and here every sample has its own."""
        self._single = self._single or SparseBIHGCN(self.dense, 1)
        samples = zip(spectrogram.split(1), z_eeg.split(1), z_video.split(1), strict=True)
        return torch.cat([self._single(*sample) for sample in samples])

    def _edges(self, mask: Tensor) -> Tensor:
        edges = mask.nonzero().T
        return torch.cat([edges + len(mask) * b for b in range(self.batch)], dim=1)

    def _convolve(self, stage: int, nodes: Tensor) -> Tensor:
        from torch_geometric.utils import scatter

        source, target = self.edges[stage]
        unit = F.normalize(nodes, dim=-1, eps=1e-12)
        weight = (unit[source] * unit[target]).sum(-1)
        root = scatter(weight.abs(), target, dim_size=len(nodes)).rsqrt()
        return self.convolutions[stage](nodes, self.edges[stage], root[source] * weight * root[target])

    def forward(self, spectrogram: Tensor, z_eeg: Tensor, z_video: Tensor) -> Tensor:
        from torch_geometric.utils import scatter, softmax

        dense, count = self.dense, len(self.dense.regions)
        local = dense.activation(self._convolve(0, dense.proj(spectrogram.flatten(2)).flatten(0, 1)))
        alpha = softmax(dense.attention(local), self.region_of, num_nodes=self.batch * count)
        regions = scatter(alpha * local, self.region_of, dim_size=self.batch * count).view(self.batch, count, -1)
        nodes = torch.cat([z_eeg[:, None], z_video[:, None], regions], dim=1)
        logits = self._convolve(1, nodes.flatten(0, 1)).view(self.batch, 2 + count, -1)
        return dense.omega * logits[:, 0] + (1 - dense.omega) * logits[:, 1]


def graph_rows(repeats: int, dim: int, local_mask: bool) -> None:
    batch, channels = 16, 30
    # The projection of eq. 5 is the same matmul on both sides; a small spectrogram keeps it out of the ratio.
    dense = BIHGCN(16, dim, 5, {k: list(v) for k, v in LOBES.items()}, in_chans=channels, local_mask=local_mask)
    sparse = SparseBIHGCN(dense, batch)
    data = torch.randn(batch, channels, 4, 4), torch.randn(batch, dim), torch.randn(batch, dim)
    drift = error(dense(*data).logits, sparse(*data))

    def train(model: Callable[..., Tensor]) -> Callable[[], None]:
        def step() -> None:
            model(*data).square().sum().backward()
            dense.zero_grad(set_to_none=True)

        return step

    def infer(model: Callable[..., Tensor]) -> Callable[[], None]:
        def step() -> None:
            with torch.no_grad():
                model(*data)

        return step

    weights, nodes = torch.randn(batch, len(LOBES), channels), torch.randn(batch, 2 + len(LOBES), dim)

    def products(spectrogram: Tensor, *_: Tensor) -> Tensor:
        """The matrix products of a pass and nothing else."""
        h = dense.proj(spectrogram.flatten(2))
        local = dense.local_gcn(h, h @ h.mT)
        pooled = weights @ local
        return torch.cat(
            [x.flatten() for x in (dense.attention(local), pooled, dense.region_gcn(nodes, nodes @ nodes.mT))]
        )

    for name, kind in (("forward", infer), ("forward + backward", train)):
        seconds = alternating_medians(
            {
                "GCNConv, sample by sample": kind(sparse.sample_by_sample),
                "GCNConv, one disjoint graph, edges made beforehand": kind(sparse),
                "ours": kind(lambda *x: dense(*x).logits),
                "ours, its matrix products alone": kind(products),
            },
            repeats,
            3,
            fair_clock(),
        )
        ours, least = seconds.pop("ours"), seconds.pop("ours, its matrix products alone")
        graph = "5 regions" if local_mask else "one region"
        for against, theirs in seconds.items():
            print(
                f"| BIHGCN, batch {batch}, 30 channels, {graph}, dim {dim}, {name}, error {drift:.0e} "
                f"| {against} | {theirs * 1e3:.2f} ms | {ours * 1e3:.2f} ms, {least * 1e3:.2f} ms of it products "
                f"| {theirs / ours:.1f} x faster, products alone {theirs / least:.1f} x | >= 5 x |"
            )


def layer_rows(repeats: int, dim: int) -> None:
    """The graph convolution alone, on the same normalised adjacency."""
    from torch_geometric.nn import GCNConv

    from evermodels.layers.graph_convolution import GraphConvolution

    batch, channels = 16, 30
    nodes, adjacency = torch.randn(batch, channels, dim), torch.randn(batch, channels, channels)
    ours, theirs = GraphConvolution(dim, dim), GCNConv(dim, dim, normalize=False)
    theirs.lin.weight = ours.weight
    sample, target, source = adjacency.nonzero(as_tuple=True)
    edges, weight = torch.stack([source, target]) + channels * sample, adjacency.flatten()
    flat = nodes.flatten(0, 1)
    with torch.no_grad():
        drift = error(ours(nodes, adjacency).flatten(0, 1), theirs(flat, edges, weight))
        seconds = alternating_medians(
            {"ours": lambda: ours(nodes, adjacency), "theirs": lambda: theirs(flat, edges, weight)},
            repeats,
            3,
            fair_clock(),
        )
    print(
        f"| its graph convolution alone, full graph, dim {dim}, forward, error {drift:.0e} | torch-geometric GCNConv "
        f"| {seconds['theirs'] * 1e3:.2f} ms | {seconds['ours'] * 1e3:.2f} ms "
        f"| {seconds['theirs'] / seconds['ours']:.1f} x faster | >= 5 x |"
    )


def contrastive_rows(repeats: int) -> None:
    """All three terms of MERCL, and its first, against SupConLoss; forward and backward."""
    try:
        from pytorch_metric_learning.losses import SupConLoss
    except ImportError:
        print("| MERCL losses: not measured, pytorch-metric-learning is not installed | | | | | |")
        return
    batch, dim, names = 256, 128, ("eeg", "video", "audio")
    z = {name: torch.randn(batch, dim, requires_grad=True) for name in names}
    labels = torch.randint(0, 4, (batch,))
    mercl, sup = MERCLLoss(w_ce=0.0), SupConLoss(temperature=0.07)
    output = EmotionOutput(torch.zeros(batch, 0), embeddings=z)

    def intra(x: Tensor) -> Tensor:
        return intra_modal_contrastive(x, labels, positives="mean")

    def whole() -> None:
        mercl(output, labels).total.backward()

    with torch.no_grad():
        drift = error(intra(z["eeg"]), sup(z["eeg"], labels))
    calls = {
        "all": whole,
        "theirs, all": lambda: sup(torch.cat(list(z.values())), labels.repeat(len(z))).backward(),
        "one": lambda: intra(z["eeg"]).backward(),
        "theirs, one": lambda: sup(z["eeg"], labels).backward(),
    }
    seconds = alternating_medians(calls, repeats, 3, fair_clock())
    for what, name, against in (
        (f"MERCL losses, all three terms, {batch} x 3 x {dim}", "all", f"SupConLoss, {3 * batch} x {dim}, one term"),
        (f"AMCL of one modality, {batch} x {dim}, error {drift:.0e}", "one", f"SupConLoss, {batch} x {dim}"),
    ):
        ours, theirs = seconds[name], seconds[f"theirs, {name}"]
        print(
            f"| {what}, forward + backward | {against} | {theirs * 1e3:.1f} ms | {ours * 1e3:.1f} ms "
            f"| {theirs / ours:.1f} x faster | ahead |"
        )


def import_row(rounds: int) -> None:
    best = {"torch": float("inf"), "evermodels": float("inf")}
    for _ in range(rounds):
        for name in tuple(best):
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", f"import {name}"], check=True)
            best[name] = min(best[name], time.perf_counter() - start)
    extra = best["evermodels"] - best["torch"]
    print(
        f"| import evermodels, best of {rounds} fresh processes | import torch | {best['torch']:.2f} s "
        f"| {best['evermodels']:.2f} s | {extra:+.2f} s | <= +0.15 s |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--only", choices=["spectrogram", "graph", "contrastive", "import"])
    arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(arguments.threads)
    print("| what | against | its time | ours | ratio | reach |")
    print("|---|---|---|---|---|---|")
    if arguments.only in (None, "spectrogram"):
        # What ever_tiny and ever_base read: 5 s and 20 s at 200 Hz.
        for time_, size in ((1000, (64, 64)), (4000, (128, 128))):
            spectrogram_rows(max(3, arguments.repeats // 3), time_, size)
    if arguments.only in (None, "graph"):
        for dim in (64, 768):
            graph_rows(arguments.repeats, dim, local_mask=True)
            graph_rows(arguments.repeats, dim, local_mask=False)
            layer_rows(arguments.repeats, dim)
    if arguments.only in (None, "contrastive"):
        contrastive_rows(arguments.repeats)
    if arguments.only in (None, "import"):
        import_row(5)


if __name__ == "__main__":
    main()
