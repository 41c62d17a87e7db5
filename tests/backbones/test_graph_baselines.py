"""The graph baselines equal plain loops over their papers' equations; EEGNet has its paper's layers."""

from __future__ import annotations

import math

import pytest
import torch

import evermodels as em
from evermodels import montage
from evermodels.backbones import DGCNN, RGNN, SOGNN, BFENet, EEGNet
from evermodels.backbones.eeg.feature_graphs import SelfOrganizedGraph
from evermodels.backbones.eeg.rgnn import distance_graph
from evermodels.core.errors import ConfigError

SMALL = {"num_windows": 3, "num_bands": 2, "num_chans": 4}


def features(n: int = 2, seed: int = 1) -> torch.Tensor:
    return torch.randn(n, 3, 2, 4, generator=torch.Generator().manual_seed(seed)).double()


def spread(edges: list[list[float]], nodes: torch.Tensor) -> torch.Tensor:
    """D^(-1/2) A D^(-1/2) X, edge by edge, with the absolute degree."""
    n = len(edges)
    degree = [sum(abs(float(edges[i][j])) for j in range(n)) for i in range(n)]
    out = torch.zeros_like(nodes)
    for i in range(n):
        for j in range(n):
            out[i] += float(edges[i][j]) / math.sqrt(degree[i] * degree[j]) * nodes[j]
    return out


def test_dgcnn_is_its_equations():
    model = DGCNN.from_preset("dgcnn_tiny", **SMALL, hidden_dim=3, embed_dim=5, order=4).double()
    torch.nn.init.normal_(model.edges), torch.nn.init.normal_(model.bias)
    x = features()
    with torch.no_grad():
        n = 4
        w = [[max(0.0, float(model.edges[i, j] + model.edges[j, i]) / 2) for j in range(n)] for i in range(n)]
        laplacian = torch.tensor(
            [[sum(w[i]) * (i == j) - w[i][j] for j in range(n)] for i in range(n)], dtype=torch.float64
        )
        largest = max(torch.linalg.eigvals(laplacian).real.tolist())
        scaled = 2 * laplacian / largest - torch.eye(n)
        for b in range(2):
            for s in range(3):
                nodes = x[b, s].mT
                term = [nodes, scaled @ nodes]
                for _ in range(2):
                    term.append(2 * scaled @ term[-1] - term[-2])
                y = sum(t @ theta for t, theta in zip(term, model.theta, strict=True)) + model.bias
                want = torch.relu(model.fc(torch.relu(y).flatten()))
                torch.testing.assert_close(model.forward_features(x)[b, s], want, rtol=1e-6, atol=1e-8)
    assert torch.equal(model.adjacency(), model.adjacency().mT) and not (model.adjacency() < 0).any()
    assert DGCNN.from_preset("dgcnn_tiny", order=1).filters().shape == (1, 19, 19)
    with torch.no_grad():
        model.edges.fill_(-1.0)  # no edge is left: finite, and no NaN in the gradient
    model.forward_features(x).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_rgnn_is_its_equations():
    names = ("Fp1", "Fp2", "Cz", "O1")
    model = RGNN.from_preset("rgnn_tiny", **SMALL, ch_names=names, embed_dim=5).double()
    start = distance_graph(names)
    torch.testing.assert_close(model.adjacency().float(), start)
    torch.nn.init.normal_(model.edges)
    edges = model.adjacency()
    assert torch.equal(edges, edges.mT)
    x = features()
    with torch.no_grad():
        for b in range(2):
            for s in range(3):
                nodes = x[b, s].mT
                for _ in range(2):
                    nodes = spread(edges.tolist(), nodes)
                want = sum(torch.relu(model.proj.weight @ node + model.proj.bias) for node in nodes)
                torch.testing.assert_close(model.forward_features(x)[b, s], want, rtol=1e-6, atol=1e-8)


def test_rgnn_starts_from_the_head():
    names = montage.MONTAGES["seed"]
    graph = distance_graph(names)
    where = dict(zip(names, torch.as_tensor(montage.positions(names)), strict=True))
    apart = graph[~torch.eye(62, dtype=torch.bool)]
    assert 0.18 < float((apart > 0.1).float().mean()) < 0.22  # a fifth of the edges, less those across
    index = {name: k for k, name in enumerate(names)}
    ratio = float(graph[index["Cz"], index["FCz"]] / graph[index["Cz"], index["Oz"]])
    squares = [float((where["Cz"] - where[other]).square().sum()) for other in ("FCz", "Oz")]
    assert ratio == pytest.approx(squares[1] / squares[0], rel=1e-5)
    assert graph[index["Fp1"], index["Fp2"]] < 0 < graph[index["F1"], index["F2"]]
    assert distance_graph(("Cz",)).tolist() == [[1.0]]
    with pytest.raises(ConfigError, match="num_chans: expected the number of ch_names"):
        RGNN.from_preset("rgnn_tiny", num_chans=3)


def test_a_sample_makes_its_own_graph():
    layer = SelfOrganizedGraph(3, 5, 2, top_k=2).double()
    torch.nn.init.normal_(layer.convolution.bias)
    x = torch.randn(2, 4, 3).double()
    with torch.no_grad():
        for b in range(2):
            g = [torch.tanh(layer.bottleneck.weight @ node + layer.bottleneck.bias) for node in x[b]]
            edges = []
            for i in range(4):
                row = torch.stack([g[i] @ g[j] for j in range(4)]).softmax(0).tolist()
                kept = sorted(range(4), key=lambda j, row=row: -row[j])[:2]
                edges.append([row[j] if j in kept else 0.0 for j in range(4)])
            got = layer.adjacency(x)[b]
            torch.testing.assert_close(got, torch.tensor(edges, dtype=torch.float64))
            for i in range(4):
                edges[i][i] = 1.0
            weight, bias = layer.convolution.weight, layer.convolution.bias
            want = torch.relu(spread(edges, torch.stack([weight @ node for node in x[b]])) + bias)
            torch.testing.assert_close(layer(x)[b], want)
    many = SelfOrganizedGraph(3, 5, 2, top_k=9).adjacency(torch.randn(1, 4, 3))  # more than there are
    torch.testing.assert_close(many.sum(-1), torch.ones(1, 4))


def test_sognn_is_its_equations():
    model = SOGNN.from_preset(
        "sognn_tiny", **{**SMALL, "num_windows": 6}, widths=(2, 3, 2), hidden_dim=2, kernel_size=3
    )
    model = model.double().eval()
    x = torch.randn(1, 6, 2, 4).double()
    with torch.no_grad():
        h = x[0].permute(2, 1, 0)  # channels, bands, windows
        found, before = [], [h]
        for k, (convolution, length) in enumerate(zip(model.convolutions, (2, 1, 1), strict=True)):
            maps = torch.zeros(4, convolution.out_channels, before[-1].shape[-1]).double()
            for c in range(4):
                source = before[-1][c]
                kernel = convolution.weight[:, 0] if k == 0 else convolution.weight[:, :, 0]
                for t in range(source.shape[-1]):
                    for d in (-1, 0, 1):
                        if 0 <= t + d < source.shape[-1]:
                            maps[c, :, t] += torch.einsum("oi,i->o", kernel[..., d + 1], source[:, t + d])
            maps = torch.relu(maps + convolution.bias[:, None])
            pooled = [maps[..., 4 * i : 4 * i + 4].amax(-1) for i in range(length)]
            before.append(torch.stack(pooled, -1))
            found.append(model.graphs[k](before[-1].flatten(1)[None])[0])
        want = torch.cat(found, 1)
        torch.testing.assert_close(model.forward_features(x)[0], want)
        torch.testing.assert_close(model(x)[0], want.flatten())


def test_bfe_net_reads_each_band_by_itself():
    model = BFENet.from_preset("bfe_net_tiny", **SMALL, hidden_dim=3).double().eval()
    x = features()
    with torch.no_grad():
        got = model.forward_features(x).unflatten(2, (2, 2, 3))  # bands, layers, width
        for band, layers in enumerate(model.bands):
            first = layers[0](x[:, :, band].mT)
            torch.testing.assert_close(got[:, :, band, 0], first)
            torch.testing.assert_close(got[:, :, band, 1], layers[1](first))


def test_eegnet_has_the_paper_s_layers():
    model = EEGNet.from_preset("eegnet_tiny", in_chans=5, num_samples=130, sfreq=32.0, num_classes=3).eval()
    count = {name: p.numel() for name, p in model.named_parameters()}
    # Table 2 with F1 8, D 2, F2 16: 17 taps for half a second, 17 of 4 samples each for the paper's 16.
    assert count["temporal.weight"] == 8 * 17 and count["spatial.weight"] == 16 * 5
    assert count["depthwise.weight"] == 16 * 17 and count["pointwise.weight"] == 16 * 16
    assert model.embed_dim == 16 * 4 and model.forward_features(torch.zeros(1, 5, 130)).shape == (1, 4, 16)
    x = 20 * torch.randn(4, 5, 130)
    with torch.no_grad():
        before = model(x)
        model.spatial.weight.mul_(100)
        long = model(x)
        model.spatial.weight.mul_(7)
        torch.testing.assert_close(model(x), long)  # a filter that is too long counts as one of length 1
        assert not torch.allclose(before, long)
        model.head.weight.fill_(5.0), model.head.bias.zero_()
        embedding = model.forward_head(model.forward_features(x), pre_logits=True)
        torch.testing.assert_close(model(x)[:, 0], 0.25 * embedding.sum(1) / math.sqrt(64))
    with pytest.raises(ConfigError, match="num_samples"):
        EEGNet.from_preset("eegnet_tiny", num_samples=31)


@pytest.mark.parametrize("name", ["dgcnn_tiny", "rgnn_tiny", "sognn_tiny", "bfe_net_tiny", "eegnet_tiny"])
def test_each_trains_as_a_classifier(name):
    """The one path: raw EEG, features and their statistics where they are read, a loss, a step."""
    torch.manual_seed(0)
    model = em.create_model(
        "single_eeg", encoders={"eeg": {"name": name, "config": {}}}, num_classes=2, window_seconds=2.0
    )
    assert sum(p.numel() for p in model.parameters()) <= 1_500_000
    calm = 20 * torch.randn(16, 19, 400, generator=torch.Generator().manual_seed(3))
    tense = calm[:8] + 60 * torch.sin(torch.arange(400) / 200 * 20 * math.pi)
    eeg, label = torch.cat([calm[8:], tense]), torch.arange(16) // 8
    model.fit_statistics([{"eeg": eeg}])
    assert (name == "eegnet_tiny") == (not model.front_ends()) and model.has_statistics
    loss, optimiser = model.make_loss([8, 8]), torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(10):
        optimiser.zero_grad()
        loss(model.train()(eeg=eeg), label).total.backward()
        optimiser.step()
    answer = model.eval()(eeg=eeg).logits.argmax(1)
    assert (answer == label).float().mean() > 0.9
