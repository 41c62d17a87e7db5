import copy
import dataclasses
import math

import pytest
import torch

from evermodels.core.errors import ConfigError, ShapeError
from evermodels.core.outputs import EmotionOutput
from evermodels.layers import BIHGCN, BIHGCNOutput

REGIONS = {"frontal": [0, 3], "central": [2], "occipital": [5, 4]}  # channel 1 and the seventh have no region
CHANNELS, F, T, DIM, CLASSES = 7, 3, 4, 5, 4


def build(num_classes=CLASSES, regions=REGIONS, **kwargs):
    layer = BIHGCN(F * T, DIM, num_classes, regions, **kwargs).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(std=0.7)
    return layer


def inputs(batch=2, channels=CHANNELS):
    generator = torch.Generator().manual_seed(3)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    return draw(batch, channels, F, T), draw(batch, DIM), draw(batch, DIM)


def assert_same(ours, theirs):
    for field in dataclasses.fields(BIHGCNOutput):
        torch.testing.assert_close(getattr(ours, field.name), getattr(theirs, field.name), msg=field.name)


# The oracle: one sample, plain lists, one equation at a time.


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def linear(x, weight, bias):
    return [dot(row, x) + b for row, b in zip(weight, bias, strict=True)]


def slow_graph(nodes, mask):
    n = len(nodes)
    adjacency = [
        [
            dot(nodes[i], nodes[j]) / math.sqrt(dot(nodes[i], nodes[i]) * dot(nodes[j], nodes[j]))
            if mask(i, j)
            else 0.0
            for j in range(n)
        ]
        for i in range(n)
    ]
    degree = [sum(abs(v) for v in row) for row in adjacency]
    return [
        [adjacency[i][j] / math.sqrt(degree[i] * degree[j]) if adjacency[i][j] else 0.0 for j in range(n)]
        for i in range(n)
    ]


def slow_gcn(nodes, adjacency, weight, bias):
    support = [linear(h, weight, [0.0] * len(weight)) for h in nodes]
    return [
        [sum(adjacency[i][j] * support[j][k] for j in range(len(nodes))) + bias[k] for k in range(len(bias))]
        for i in range(len(nodes))
    ]


def slow_forward(layer, spectrogram, z_eeg, z_video):
    p = {name: value.tolist() for name, value in layer.state_dict().items()}
    regions = list(layer.regions.values())
    region_of = {c: k for k, members in enumerate(regions) for c in members}
    nodes = [linear([v for row in channel for v in row], p["proj.weight"], p["proj.bias"]) for channel in spectrogram]

    def local(i, j):
        if i not in region_of or j not in region_of or (i == j and not layer.self_loops[0]):
            return False
        return region_of[i] == region_of[j] or not layer.local_mask

    a_local = slow_graph(nodes, local)
    hidden = slow_gcn(nodes, a_local, p["local_gcn.weight"], p["local_gcn.bias"])
    hidden = [[max(v, 0.0) for v in h] for h in hidden]
    attention, pooled = [0.0] * len(nodes), []
    for members in regions:
        total = sum(math.exp(dot(p["attention.weight"][0], hidden[c])) for c in members)
        for c in members:
            attention[c] = math.exp(dot(p["attention.weight"][0], hidden[c])) / total
        pooled.append([sum(attention[c] * hidden[c][k] for c in members) for k in range(layer.dim)])
    stacked = [z_eeg, z_video, *pooled]

    def region(i, j):
        if i == j:
            return layer.self_loops[1]
        if i >= 2 and j >= 2:
            return layer.region_edges
        return (i, j) in [(0, 1), *((g, r) for g in (0, 1) for r in range(2, 9))] or not layer.directed

    a_region = slow_graph(stacked, region)
    last = stacked
    if layer.global_layers == 2:
        before = slow_gcn(stacked, a_region, p["global_gcn.weight"], p["global_gcn.bias"])
        last = [[max(v, 0.0) for v in h] for h in before]
    out = slow_gcn(last, a_region, p["region_gcn.weight"], p["region_gcn.bias"])
    omega = 1 / (1 + math.exp(-p["omega_logit"]))
    reader = [omega, 1 - omega] + [0.0] * len(regions)
    if layer.readout == "with_regions":
        rho = 1 / (1 + math.exp(-p["rho_logit"]))
        reader = [(1 - rho) * omega, (1 - rho) * (1 - omega)] + [rho / len(regions)] * len(regions)
    fused = [sum(r * row[k] for r, row in zip(reader, out, strict=True)) for k in range(layer.num_classes)]
    shares = slow_shares(layer, p, stacked, a_region, reader, last)
    weights = [sum(r * row[j] for r, row in zip(reader, a_region, strict=True)) for j in range(len(last))]
    embedding = [sum(w * h[k] for w, h in zip(weights, last, strict=True)) for k in range(layer.dim)]
    values = (fused, embedding, out, attention, pooled, a_local, a_region, shares, omega)
    return [torch.tensor(value, dtype=torch.float64) for value in values]


def slow_shares(layer, p, stacked, adjacency, reader, last):
    """Everything but one node set to 0, the graph and the ReLU's open gates kept: what is left came through it."""
    n, classes = len(stacked), layer.num_classes
    sizes = []
    for source in range(n):
        kept = [h if i == source else [0.0] * layer.dim for i, h in enumerate(stacked)]
        if layer.global_layers == 2:
            kept = slow_gcn(kept, adjacency, p["global_gcn.weight"], [0.0] * layer.dim)
            kept = [
                [v if gate > 0 else 0.0 for v, gate in zip(h, g, strict=True)] for h, g in zip(kept, last, strict=True)
            ]
        rows = slow_gcn(kept, adjacency, p["region_gcn.weight"], [0.0] * classes)
        part = [sum(r * row[k] for r, row in zip(reader, rows, strict=True)) for k in range(classes)]
        mean = sum(part) / classes
        sizes.append(math.sqrt(sum((v - mean) ** 2 for v in part)))
    return [size / sum(sizes) for size in sizes]


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"self_loops": (True, False)},
        {"self_loops": (False, True)},
        {"local_mask": False},
        {"region_edges": False},
        {"directed": True},
        {"directed": True, "self_loops": (True, False)},
        {"readout": "with_regions"},
        {"global_layers": 2},
        {"global_layers": 2, "readout": "with_regions", "directed": True},
        {"local_mask": False, "region_edges": False, "self_loops": (False, False), "in_chans": CHANNELS},
    ],
)
def test_equals_a_slow_loop(kwargs):
    layer = build(**kwargs)
    with torch.no_grad():
        layer.local_gcn.bias.abs_()  # no region is all zeros after the ReLU, so every cosine is defined
    spectrogram, z_eeg, z_video = inputs()
    output = layer(spectrogram, z_eeg, z_video)
    for b in range(2):
        slow = slow_forward(layer, spectrogram[b].tolist(), z_eeg[b].tolist(), z_video[b].tolist())
        for field, value in zip(dataclasses.fields(BIHGCNOutput), slow, strict=True):
            torch.testing.assert_close(getattr(output, field.name)[b], value, msg=f"{field.name} of sample {b}")


def test_shares_say_what_a_deleted_region_takes_along():
    layer = build()
    data = inputs()
    output = layer(*data)
    torch.testing.assert_close(output.node_shares.sum(1), torch.ones(2, dtype=torch.float64))
    assert not output.node_shares.requires_grad
    omega, weight = layer.omega, layer.region_gcn.weight
    reach = omega * output.adjacency_region[:, 0] + (1 - omega) * output.adjacency_region[:, 1]
    nodes = torch.cat([data[1][:, None], data[2][:, None], output.region_embeddings], 1)
    parts = reach[:, :, None] * (nodes @ weight.T)
    torch.testing.assert_close(parts.sum(1) + layer.region_gcn.bias, output.logits)  # the decomposition is exact
    size = (parts - parts.mean(2, keepdim=True)).norm(dim=2)
    torch.testing.assert_close(output.node_shares, (size / size.sum(1, keepdim=True)).detach())
    with torch.no_grad():
        weight.zero_()
    assert not layer(*data).node_shares.any()  # nothing reaches the logits, and nothing is divided by 0


def test_shares_of_embeddings_and_of_one_class():
    data = inputs()
    for classes in (0, 1):
        layer = build(classes)
        output = layer(*data)
        torch.testing.assert_close(output.node_shares.sum(1), torch.ones(2, dtype=torch.float64))
        reach = torch.lerp(output.adjacency_region[:, 1], output.adjacency_region[:, 0], layer.omega)
        nodes = torch.cat([data[1][:, None], data[2][:, None], output.region_embeddings], 1)
        parts = reach[:, :, None] * (nodes @ layer.region_gcn.weight.T if classes else nodes)
        size = parts.norm(dim=2)
        torch.testing.assert_close(output.node_shares, (size / size.sum(1, keepdim=True)).detach())


def test_the_printed_mask_is_one_directional():
    layer = build(directed=True, self_loops=(True, False))
    spectrogram, z_eeg, z_video = inputs()
    output = layer(spectrogram, z_eeg, z_video)
    a = output.adjacency_region
    assert not a[:, 1:, 0].any() and not a[:, 2:, 1].any() and not a.diagonal(dim1=1, dim2=2).any()
    assert a[:, 0, 1:].all() and a[:, 1, 2:].all() and (a[:, 2:, 2:] != 0).sum() == 2 * 3 * 2
    assert not output.node_shares[:, 0].any()  # z_e reaches the logits through its cosines alone
    torch.testing.assert_close(layer(spectrogram, 3 * z_eeg, z_video).logits, output.logits)
    alone = build(directed=True, self_loops=(True, False), regions={"frontal": [0, 1]})(spectrogram, z_eeg, z_video)
    assert not alone.adjacency_region[:, :, 2].any() and alone.logits.isfinite().all()  # degree 0


def test_reading_the_regions_stops_where_there_is_no_eeg():
    layer = build(readout="with_regions")
    data = inputs(3)
    output = layer(*data, PRESENT)
    torch.testing.assert_close(output.logits[1], output.node_logits[1, 1])
    rho = layer.rho_logit.sigmoid()
    mean = output.node_logits[:, 2:].mean(1)
    torch.testing.assert_close(output.logits[2], (1 - rho) * output.node_logits[2, 0] + rho * mean[2])
    both = torch.lerp(output.node_logits[0, 1], output.node_logits[0, 0], layer.omega)
    torch.testing.assert_close(output.logits[0], (1 - rho) * both + rho * mean[0])
    assert layer(None, None, data[2]).logits.isfinite().all()


def test_default_weights_do_not_know_the_extensions():
    keys = set(build().state_dict())
    assert set(build(directed=True).state_dict()) == keys
    assert set(build(readout="with_regions").state_dict()) - keys == {"rho_logit"}
    assert set(build(global_layers=2).state_dict()) - keys == {"global_gcn.weight", "global_gcn.bias"}


def test_by_hand():
    layer = BIHGCN(2, 2, 1, {"frontal": [0, 1]})
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
        layer.proj.weight.copy_(torch.eye(2))
        layer.local_gcn.weight.copy_(torch.eye(2))
        layer.region_gcn.weight.copy_(torch.tensor([[1.0, 10.0]]))
    spectrogram = torch.tensor([[[[2.0, 0.0]], [[0.0, 4.0]]]])  # orthogonal channels: the adjacency is the identity
    output = layer(spectrogram, torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]))
    torch.testing.assert_close(output.adjacency_local, torch.eye(2)[None])
    torch.testing.assert_close(output.channel_attention, torch.tensor([[0.5, 0.5]]))
    torch.testing.assert_close(output.region_embeddings, torch.tensor([[[1.0, 2.0]]]))
    # Cosines of the region (1, 2) with (1, 0) and (0, 1) are 1/sqrt 5 and 2/sqrt 5; those two are orthogonal.
    e, v = 1 / math.sqrt(5), 2 / math.sqrt(5)
    d_e, d_v, d_r = 1 + e, 1 + v, 1 + e + v
    row_e = 1 / d_e * 1 + e / math.sqrt(d_e * d_r) * 21
    row_v = 1 / d_v * 10 + v / math.sqrt(d_v * d_r) * 21
    torch.testing.assert_close(output.logits, torch.tensor([[(row_e + row_v) / 2]]))


def test_equals_torch_geometric():
    from torch_geometric.nn import GCNConv

    layer = build(in_chans=CHANNELS)
    spectrogram, z_eeg, z_video = inputs()
    output = layer(spectrogram, z_eeg, z_video)
    channel_graph, region_graph = layer.to_torch_geometric(output, 1)
    for graph, ours in ((channel_graph, layer.local_gcn), (region_graph, layer.region_gcn)):
        theirs = GCNConv(DIM, len(ours.bias), normalize=False).double()
        with torch.no_grad():
            theirs.lin.weight.copy_(ours.weight)
            theirs.bias.copy_(ours.bias)
        if graph is channel_graph:
            nodes = layer.proj(spectrogram.flatten(2))[1]
            expected = layer.local_gcn(nodes[None], output.adjacency_local[1:])[0]
        else:
            nodes = torch.cat([z_eeg[1:], z_video[1:], output.region_embeddings[1]])
            expected = output.node_logits[1]
        torch.testing.assert_close(theirs(nodes, graph.edge_index, graph.edge_weight), expected)


def test_graphs_for_torch_geometric():
    layer = build()
    output = layer(*inputs())
    names = ["Fp1", "A1", "Cz", "Fp2", "O1", "O2", "A2"]
    channels, regions = layer.to_torch_geometric(output, -1, ch_names=names)
    assert channels.validate() and regions.validate()
    assert channels.ch_names == names and channels.region_names == list(REGIONS)
    assert channels.region.tolist() == [0, -1, 1, 0, 2, 2, -1]
    assert channels.num_nodes == 7 and channels.num_edges == 4 + 1 + 4
    torch.testing.assert_close(channels.x[:, 0], output.channel_attention[1])
    assert regions.node_names == ["eeg", "video", "frontal", "central", "occipital"]
    torch.testing.assert_close(regions.x, output.node_logits[1])
    dense = torch.zeros(5, 5, dtype=torch.float64)
    dense[regions.edge_index[1], regions.edge_index[0]] = regions.edge_weight
    torch.testing.assert_close(dense, output.adjacency_region[1])
    system = EmotionOutput(
        output.logits,
        attention={
            "channels": output.channel_attention,
            "adjacency_local": output.adjacency_local,
            "adjacency_region": output.adjacency_region,
        },
    )
    again, region_again = layer.to_torch_geometric(system, 1)
    assert torch.equal(again.edge_weight, channels.edge_weight) and again.ch_names == [str(i) for i in range(7)]
    assert region_again.num_nodes == 5 and region_again.x is None
    with pytest.raises(ShapeError, match="ch_names: expected 7 names"):
        layer.to_torch_geometric(output, ch_names=["Fp1"])
    with pytest.raises(ShapeError, match="index: expected a sample of 0 to 1, got 2"):
        layer.to_torch_geometric(output, 2)


def test_channels_without_region_stay_out():
    layer = build()
    spectrogram, z_eeg, z_video = inputs()
    output = layer(spectrogram, z_eeg, z_video)
    for c in (1, 6):
        assert not output.channel_attention[:, c].any()
        assert not output.adjacency_local[:, c].any() and not output.adjacency_local[:, :, c].any()
    changed = spectrogram.clone()
    changed[:, [1, 6]] = 100.0
    assert_same(layer(changed, z_eeg, z_video), output)


def test_channel_permutation():
    layer = build(in_chans=CHANNELS)
    spectrogram, z_eeg, z_video = inputs()
    output = layer(spectrogram, z_eeg, z_video)
    order = [4, 2, 6, 0, 5, 1, 3]
    regions = {name: [order.index(c) for c in members] for name, members in REGIONS.items()}
    other = BIHGCN(F * T, DIM, CLASSES, regions, in_chans=CHANNELS).double()
    other.load_state_dict(layer.state_dict())
    moved = other(spectrogram[:, order], z_eeg, z_video)
    torch.testing.assert_close(moved.logits, output.logits)
    torch.testing.assert_close(moved.channel_attention, output.channel_attention[:, order])
    torch.testing.assert_close(moved.adjacency_local, output.adjacency_local[:, order][:, :, order])


def test_which_channel_of_a_region_is_which_is_not_seen():
    layer = build()
    spectrogram, z_eeg, z_video = inputs()
    swapped = spectrogram.clone()
    swapped[:, [0, 3]] = spectrogram[:, [3, 0]]  # both frontal
    torch.testing.assert_close(layer(swapped, z_eeg, z_video).logits, layer(spectrogram, z_eeg, z_video).logits)


def test_batch_split():
    layer = build()
    whole = layer(*inputs(3))
    for b in range(3):
        one = layer(*(x[b : b + 1] for x in inputs(3)))
        assert_same(one, BIHGCNOutput(*(getattr(whole, f.name)[b : b + 1] for f in dataclasses.fields(whole))))


def test_attention_sums_to_one_in_each_region():
    attention = build()(*inputs()).channel_attention
    for members in REGIONS.values():
        torch.testing.assert_close(attention[:, members].sum(1), torch.ones(2, dtype=torch.float64))


PRESENT = {"eeg": torch.tensor([True, False, True]), "video": torch.tensor([True, True, False])}


def test_absent_modalities():
    layer = build()
    spectrogram, z_eeg, z_video = inputs(3)
    output = layer(spectrogram, z_eeg, z_video, PRESENT)
    full = layer(spectrogram, z_eeg, z_video)
    for name in ("logits", "node_logits", "channel_attention", "region_embeddings", "adjacency_local", "node_shares"):
        torch.testing.assert_close(getattr(output, name)[0], getattr(full, name)[0])
    # Without EEG: tokens for the node and the regions, an empty channel graph, and all weight on video.
    torch.testing.assert_close(output.region_embeddings[1], layer.region_token.expand(3, -1))
    assert not output.channel_attention[1].any() and not output.adjacency_local[1].any()
    torch.testing.assert_close(output.logits[1], output.node_logits[1, 1])
    # Without video: all weight on EEG, the channel graph as before.
    torch.testing.assert_close(output.logits[2], output.node_logits[2, 0])
    torch.testing.assert_close(output.channel_attention[2], full.channel_attention[2])
    assert output.adjacency_region.shape == full.adjacency_region.shape
    # What each node of the two lonely samples adds to the one row that is read.
    tokens = torch.stack([layer.eeg_token, z_video[1], *3 * [layer.region_token]])
    parts = output.adjacency_region[1, 1, :, None] * (tokens @ layer.region_gcn.weight.T)
    size = (parts - parts.mean(1, keepdim=True)).norm(dim=1)
    torch.testing.assert_close(output.node_shares[1], (size / size.sum()).detach())


def test_what_stands_in_for_an_absent_modality_does_not_matter():
    layer = build()
    spectrogram, z_eeg, z_video = inputs(3)
    output = layer(spectrogram, z_eeg, z_video, PRESENT)
    spectrogram[1], z_eeg[1], z_video[2] = float("nan"), float("inf"), float("nan")
    again = layer(spectrogram, z_eeg, z_video, PRESENT)
    assert_same(again, output)
    again.logits.sum().backward()
    assert all(p.grad.isfinite().all() for p in layer.parameters() if p.grad is not None)
    assert layer.eeg_token.grad.any() and layer.video_token.grad.any() and layer.region_token.grad.any()


def test_none_equals_absent_for_all():
    layer = build(in_chans=CHANNELS)
    spectrogram, z_eeg, z_video = inputs()
    no, yes = torch.zeros(2, dtype=torch.bool), torch.ones(2, dtype=torch.bool)
    assert_same(layer(None, None, z_video), layer(spectrogram, z_eeg, z_video, {"eeg": no}))
    assert_same(layer(spectrogram, z_eeg, None), layer(spectrogram, z_eeg, z_video, {"video": no}))
    assert_same(
        layer(spectrogram, z_eeg, z_video, {"eeg": yes, "video": yes}), layer(spectrogram, z_eeg, z_video, None)
    )
    assert_same(layer(None, None, z_video, {"eeg": no, "video": yes}), layer(None, None, z_video))


def test_batch_split_with_absent_modalities():
    layer = build()
    whole = layer(*inputs(3), PRESENT)
    for b in range(3):
        one = layer(*(x[b : b + 1] for x in inputs(3)), {k: v[b : b + 1] for k, v in PRESENT.items()})
        torch.testing.assert_close(one.logits, whole.logits[b : b + 1])


def test_omega():
    layer = BIHGCN(F * T, DIM, CLASSES, REGIONS)
    assert layer.omega.item() == 0.5
    output = layer(*(x.float() for x in inputs()))
    torch.testing.assert_close(output.logits, (output.node_logits[:, 0] + output.node_logits[:, 1]) / 2)


def test_embedding_and_new_classifier():
    layer = build()
    data = inputs()
    before = {k: v.clone() for k, v in layer.state_dict().items() if not k.startswith("region_gcn.")}
    reference = layer(*data)
    by_hand = reference.embedding @ layer.region_gcn.weight.T + layer.region_gcn.bias
    torch.testing.assert_close(by_hand, reference.logits)  # the embedding is what the classifier reads
    layer.reset_classifier(2)
    assert layer(*data).logits.shape == (2, 2) and layer.region_gcn.weight.dtype == torch.float64
    layer.reset_classifier(0)
    output = layer(*data)
    assert output.logits.shape == (2, 0) and output.node_logits.shape == (2, 5, 0)
    nodes = torch.cat([data[1][:, None], data[2][:, None], reference.region_embeddings], 1)
    rows = reference.adjacency_region @ nodes
    torch.testing.assert_close(output.embedding, torch.lerp(rows[:, 1], rows[:, 0], layer.omega))
    torch.testing.assert_close(output.embedding, reference.embedding)
    after = layer.state_dict()
    assert set(after) == set(before) and all(torch.equal(after[k], v) for k, v in before.items())
    with pytest.raises(ConfigError, match=r"num_classes: .* got -1"):
        layer.reset_classifier(-1)


EXTENDED = {"directed": True, "readout": "with_regions", "global_layers": 2}


@pytest.mark.parametrize("kwargs", [{}, {"local_mask": False, "region_edges": False}, EXTENDED])
def test_gradient(kwargs):
    layer = build(activation="tanh", **kwargs)  # smooth, so that finite differences hold
    data = tuple(x.requires_grad_() for x in inputs())
    assert torch.autograd.gradcheck(lambda *x: layer(*x).logits, data)
    assert torch.autograd.gradcheck(
        lambda *x: layer(*x[:3], {"eeg": torch.tensor([True, False]), "video": torch.tensor([False, True])}).logits,
        (*data,),
    )


@pytest.mark.parametrize("kwargs", [{}, {"readout": "with_regions", "global_layers": 2}])
def test_every_parameter_gets_a_gradient_and_zeros_are_harmless(kwargs):
    layer = build(**kwargs)
    layer(*inputs(3), PRESENT).logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in layer.parameters())
    layer = BIHGCN(F * T, DIM, CLASSES, REGIONS, **kwargs)
    with torch.no_grad():
        layer.proj.bias.zero_()
    zeros = [torch.zeros(2, CHANNELS, F, T), torch.zeros(2, DIM), torch.zeros(2, DIM)]
    output = layer(*zeros)
    output.logits.sum().backward()
    assert output.logits.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in layer.parameters())


def test_state_round_trip():
    layer = build()
    state = layer.state_dict()
    assert not any("edges" in key or "index" in key for key in state)
    other = BIHGCN(F * T, DIM, CLASSES, REGIONS).double()
    other.load_state_dict(state, strict=True)
    assert_same(other(*inputs()), layer(*inputs()))
    assert_same(copy.deepcopy(layer)(*inputs()), layer(*inputs()))


def test_buffers_come_back_from_meta():
    layer = build(in_chans=CHANNELS, region_edges=False)
    with torch.device("meta"):
        other = BIHGCN(F * T, DIM, CLASSES, REGIONS, in_chans=CHANNELS, region_edges=False)
    assert all(t.is_meta for t in [*other.parameters(), *other.buffers()])
    other.load_state_dict(layer.state_dict(), assign=True)
    other.reset_buffers()
    assert not any(t.is_meta for t in [*other.parameters(), *other.buffers()])
    assert_same(other(*inputs()), layer(*inputs()))


@pytest.mark.parametrize("kwargs", [{}, EXTENDED])
def test_precision(kwargs):
    layer = BIHGCN(F * T, DIM, CLASSES, REGIONS, **kwargs)
    data = [x.float() for x in inputs()]
    expected = layer(*data)
    with torch.autocast("cpu", torch.bfloat16):
        under = layer(*data, {"eeg": torch.tensor([True, True])})
    assert under.adjacency_local.dtype == under.adjacency_region.dtype == under.node_shares.dtype == torch.float32
    torch.testing.assert_close(under.node_shares, expected.node_shares, rtol=0.1, atol=0.02)
    torch.testing.assert_close(under.logits.float(), expected.logits, rtol=0.1, atol=0.1)
    half = copy.deepcopy(layer).bfloat16()(*(x.bfloat16() for x in data))
    assert half.logits.dtype == torch.bfloat16
    torch.testing.assert_close(half.logits.float(), expected.logits, rtol=0.1, atol=0.1)


@pytest.mark.parametrize("kwargs", [{}, EXTENDED])
def test_compiles_and_exports(kwargs):
    layer = build(**kwargs)
    data = inputs()
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    assert_same(compiled(*data), layer(*data))
    present = {"eeg": torch.tensor([True, False]), "video": torch.tensor([True, True])}
    assert_same(compiled(*data, present), layer(*data, present))
    exported = torch.export.export(layer, data)
    output = exported.module()(*data)
    assert isinstance(output, BIHGCNOutput)
    assert_same(output, layer(*data))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"regions": {}}, "regions: expected .* at least one region"),
        ({"regions": {"frontal": [0], "central": []}}, "region 'central' has no channels"),
        ({"regions": {"frontal": [0, 7]}, "in_chans": 7}, "region 'frontal' has channel 7; in_chans=7 allows 0 to 6"),
        ({"regions": {"frontal": [-1]}}, "region 'frontal' has -1"),
        ({"regions": {"frontal": ["Fp1"]}}, "region 'frontal' has 'Fp1'; expected channel indices"),
        ({"regions": {"frontal": [0, 1], "central": [1]}}, "channel 1 is in 'frontal' and in 'central'"),
        ({"regions": {"frontal": [0, 0]}}, "channel 0 is in 'frontal' and in 'frontal'"),
        ({"in_features": 0}, "in_features: expected an integer of at least 1, got 0"),
        ({"dim": 2.5}, "dim: .* got 2.5"),
        ({"num_classes": -1}, "num_classes: .* got -1"),
        ({"activation": "rleu"}, "activation: .* Did you mean 'relu'"),
        ({"self_loops": (True,)}, r"self_loops: expected \(stage 1, stage 2\)"),
        ({"readout": "with_region"}, "readout: .* Did you mean 'with_regions'"),
        ({"global_layers": 3}, "global_layers: expected 1 or 2, got 3"),
        ({"global_layers": True}, "global_layers: expected 1 or 2, got True"),
    ],
)
def test_bad_settings(change, message):
    settings = {"in_features": F * T, "dim": DIM, "num_classes": CLASSES, "regions": REGIONS, **change}
    with pytest.raises(ConfigError, match=message):
        BIHGCN(**settings)


S, E, V = torch.zeros(2, CHANNELS, F, T), torch.zeros(2, DIM), torch.zeros(2, DIM)
ON = torch.tensor([True, True])


@pytest.mark.parametrize(
    ("args", "error", "message"),
    [
        ((S[0], E, V), ShapeError, r"spectrogram: expected \(batch, channels, frequency, time\), got 3 axes"),
        ((S[:1], E, V), ShapeError, "spectrogram: .* with batch=2, got batch=1"),
        ((S[:, :5], E, V), ShapeError, "spectrogram: .* with channels=7, got channels=5"),
        ((S[..., :3], E, V), ShapeError, r"frequency \* time = in_features = 12, got 3 \* 3"),
        ((S, E[:, :4], V), ShapeError, "z_eeg: .* with dim=5, got dim=4"),
        ((S, E, V[:1]), ShapeError, "z_video: .* with batch=2, got batch=1"),
        ((S, None, V), ShapeError, "z_eeg: missing, while spectrogram is given"),
        ((None, E, V), ShapeError, "spectrogram: missing, while z_eeg is given"),
        ((None, None, None), ShapeError, "both are None. Give at least one modality"),
        ((S, E, V, {"audio": ON}), ConfigError, "present: this takes eeg and video only, got 'audio'"),
        ((S, E, V, {"eeg": ON[:1]}), ShapeError, r"present\['eeg'\]: .* with batch=2"),
        ((S, E, V, {"eeg": ON.float()}), ConfigError, r"present\['eeg'\]: expected bool"),
        ((None, None, V, {"eeg": ON}), ShapeError, r"present\['eeg'\]: says that samples have eeg"),
        ((S, E, V, {"eeg": ~ON, "video": torch.tensor([True, False])}), ShapeError, r"samples \[1\] have no modality"),
        ((S, E, None, {"eeg": torch.tensor([False, True])}), ShapeError, r"samples \[0\] have no modality"),
    ],
)
def test_bad_input(args, error, message):
    with pytest.raises(error, match=message):
        BIHGCN(F * T, DIM, CLASSES, REGIONS, in_chans=CHANNELS)(*args)


def test_too_few_channels_for_the_regions():
    with pytest.raises(ShapeError, match=r"at least channels=6 .* got 5"):
        BIHGCN(F * T, DIM, CLASSES, REGIONS)(S[:, :5], E, V)


def test_repr():
    text = repr(BIHGCN(F * T, DIM, CLASSES, REGIONS))
    assert "in_features=12, dim=5, num_classes=4, regions=['frontal', 'central', 'occipital']" in text
