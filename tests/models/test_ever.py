"""EVER against its equations by hand, its parts, its parameters."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from evermodels import functional as EF, montage
from evermodels.core.errors import ConfigError, ShapeError
from evermodels.models import EVER
from tests import toys

CHANNELS = ("Fp1", "F4", "T7", "C3", "Cz", "P4", "O1")
ABLATIONS = [
    {},
    {"local_mask": False},
    {"region_edges": False},
    {"local_mask": False, "region_edges": False},
    {"self_loops": (True, False)},
    {"self_loops": (True, False), "directed": True},
    {"readout": "with_regions"},
    {"global_layers": 2},
    {"alignment": "none"},
    {"alignment": "coral"},
    {"alignment": "mmd"},
    {"fusion": "naive"},
    {"fusion": "mlp"},
    {"modalities": ("eeg",)},
    {"modalities": ("video",)},
    {"fusion": "naive", "num_classes": 0},
    {"fusion": "mlp", "num_classes": 0},
    {"num_classes": 0},
]


def ids(changes) -> str:
    return ",".join(f"{k}={v}" for k, v in changes.items()) or "full"


@pytest.mark.parametrize("changes", ABLATIONS, ids=ids)
def test_shapes_losses_and_gradients(make, batch, changes):
    model = make(**changes).train()
    inputs = batch(model, 4)
    output = model(**inputs)
    assert output.logits.shape == (4, model.config.num_classes)
    assert output.embedding.shape == (4, 20 if model.config.fusion == "bih_gcn" else 40)
    assert set(output.embeddings) == set(model.config.modalities)
    assert all(z.shape == (4, 20) for z in output.embeddings.values())
    graph = model.config.both and model.config.fusion == "bih_gcn"
    kinds = {"channels", "regions", "region_share", "adjacency_local", "adjacency_region"}
    assert set(output.attention) == (kinds if graph else set())
    if graph:
        k = len(model.regions)
        assert output.attention["channels"].shape == (4, 7)
        assert output.attention["adjacency_local"].shape == (4, 7, 7)
        assert output.attention["adjacency_region"].shape == (4, 2 + k, 2 + k)
        assert output.attention["region_share"].shape == (4, k)
        assert (output.attention["region_share"].sum(1) < 1).all()  # the rest came through the two global nodes
        torch.testing.assert_close(output.attention["regions"].sum(1), torch.ones(4))
        for members in model.regions.values():
            torch.testing.assert_close(output.attention["channels"][:, members].sum(1), torch.ones(4))
    if model.config.num_classes:
        loss = model.make_loss([5, 1, 2])(output, torch.tensor([0, 1, 2, 0])).total
    else:
        loss = output.embedding.square().sum()
    loss.backward()
    # ReLU of stage 1 may be dead in a tiny model, never in all samples; tokens of absent modalities get none here.
    silent = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert all("token" in name or name.startswith("absent_") for name in silent), silent
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_make_loss_follows_the_config(make, batch):
    model = make(alignment="correlation", align_weight=0.25)
    inputs, target = batch(model, 4), torch.tensor([0, 1, 2, 1])
    output = model(**inputs)
    terms = model.make_loss([9, 3, 1])(output, target)
    weight = EF.class_balanced_weights(torch.tensor([9, 3, 1]), 0.999)
    cross = F.cross_entropy(output.logits, target, weight=weight)
    align = EF.correlation_alignment(output.embeddings["eeg"], output.embeddings["video"])
    want = 0.9 * cross + 0.1 * EF.focal_loss(output.logits, target, 2.0) + 0.25 * align
    torch.testing.assert_close(terms.total, want)
    assert make(modalities=("eeg",)).make_loss().alignment is None
    with pytest.raises(ShapeError, match="class_counts"):
        model.make_loss([1, 2])


def by_hand(model: EVER, eeg: torch.Tensor, video: torch.Tensor) -> torch.Tensor:
    """Equations 1 to 14 in loops over samples and regions, from the parameters alone."""
    c, fusion = model.config, model.fusion
    out = []
    for e, v in zip(eeg, video, strict=True):
        window = torch.hann_window(c.n_fft)
        stft = torch.stft(e, c.n_fft, c.n_fft // 4, window=window, return_complex=True)
        m = F.interpolate(torch.log(1 + stft.abs())[None], size=c.spectrogram_size, mode="bilinear")[0]
        m = (m - c.spectrogram_mean) / c.spectrogram_std
        z_e = model.eeg_projection(model.eeg_encoder(m[None]))[0]
        z_v = model.video_projection(model.video_encoder(v[None]))[0]
        h = m.flatten(1) @ fusion.proj.weight.T + fusion.proj.bias
        regions = []
        for members in montage.regions(c.ch_names).values():
            x = h[members]
            a = F.cosine_similarity(x[:, None], x[None], dim=-1)
            d = a.abs().sum(1)
            a = a / (d[:, None] * d[None]).sqrt()
            local = torch.relu(a @ x @ fusion.local_gcn.weight.T + fusion.local_gcn.bias)
            alpha = (local @ fusion.attention.weight[0]).softmax(0)
            regions.append(alpha @ local)
        nodes = torch.stack([z_e, z_v, *regions])
        a = F.cosine_similarity(nodes[:, None], nodes[None], dim=-1)
        d = a.abs().sum(1)
        a = a / (d[:, None] * d[None]).sqrt()
        y = a @ nodes @ fusion.region_gcn.weight.T + fusion.region_gcn.bias
        omega = 1 / (1 + torch.exp(-fusion.omega_logit))
        out.append(omega * y[0] + (1 - omega) * y[1])
    return torch.stack(out)


def test_equals_the_equations_by_hand(make, batch):
    model = make(spectrogram_mean=1.5, spectrogram_std=0.7)
    with torch.no_grad():
        model.fusion.omega_logit.fill_(0.8)
        inputs = batch(model)
        torch.testing.assert_close(model(**inputs).logits, by_hand(model, **inputs), rtol=1e-4, atol=1e-5)


def test_statistics_of_channels_and_frequencies(make, batch, assert_same):
    model = make(spectrogram_norm="channel_frequency", spectrogram_mean=1.0, spectrogram_std=2.0)
    plain = make(spectrogram_mean=1.0, spectrogram_std=2.0)
    inputs = batch(model, 5)
    seen = {}
    model.eeg_encoder.register_forward_pre_hook(lambda module, args: seen.update(new=args[0]))
    plain.eeg_encoder.register_forward_pre_hook(lambda module, args: seen.update(old=args[0]))
    model(**inputs), plain(**inputs)
    assert torch.equal(seen["new"], seen["old"])  # 0 and 1 until fitted
    model.fit_statistics([{"eeg": inputs["eeg"][:2]}, {"eeg": inputs["eeg"][2:]}])
    model(**inputs)
    old = seen["old"]
    want = (old - old.mean((0, 3), keepdim=True)) / old.std((0, 3), correction=0, keepdim=True)
    torch.testing.assert_close(seen["new"], want, rtol=1e-4, atol=1e-5)
    other = make(spectrogram_norm="channel_frequency", spectrogram_mean=1.0, spectrogram_std=2.0)
    other.load_state_dict(model.state_dict())
    assert_same(other(**inputs), model(**inputs))
    plain.fit_statistics([])  # nothing to take
    assert plain.has_statistics and model.has_statistics
    with pytest.raises(ConfigError, match=r"has statistics already.*replace=True"):
        model.fit_statistics([{"eeg": 2 * inputs["eeg"]}])
    assert_same(other(**inputs), model(**inputs))  # nothing was replaced
    model.fit_statistics([{"eeg": 2 * inputs["eeg"]}], replace=True)
    assert not torch.equal(model.spectrogram.norm.mean, other.spectrogram.norm.mean)
    fresh = make(spectrogram_norm="channel_frequency")
    assert not fresh.has_statistics
    with pytest.raises(ShapeError, match="at least one batch"):
        fresh.fit_statistics([])


def test_dropout_enters_the_fusion_and_not_the_alignment(make, batch):
    model = make(drop_rate=0.5, alignment="correlation")
    inputs = batch(model, 6)
    model.eval()
    whole = model(**inputs)
    model.train()
    entered = {}
    model.fusion.register_forward_pre_hook(lambda module, args: entered.update(eeg=args[1], video=args[2]))
    output = model(**inputs)
    for name, z in output.embeddings.items():
        torch.testing.assert_close(z, whole.embeddings[name])
        zeros = (entered[name] == 0).float().mean()
        assert 0.3 < zeros < 0.7
        torch.testing.assert_close(entered[name], torch.where(entered[name] == 0, 0, 2 * z))
    terms = model.make_loss()(output, torch.arange(6) % 3)
    want = model.make_loss()(whole, torch.arange(6) % 3)
    torch.testing.assert_close(terms.alignment, want.alignment)


def test_channel_dropout_drops_whole_channels_in_training_only(make, batch):
    model = make(channel_drop_rate=0.5)
    inputs, seen = batch(model, 8), []
    model.eeg_encoder.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    model(**inputs), model.train()(**inputs)
    kept, dropped = seen
    gone = (dropped == 0).all(-1).all(-1)
    assert 0 < gone.sum() < gone.numel()
    torch.testing.assert_close(dropped[~gone], 2 * kept[~gone])


def test_region_weights_by_hand(make, batch):
    model = make()
    with torch.no_grad():
        model.fusion.omega_logit.fill_(-0.4)
        output = model(**batch(model))
    omega = 1 / (1 + math.exp(0.4))
    a = output.attention["adjacency_region"].abs()
    for b in range(3):
        raw = [omega * a[b, 0, 2 + k] + (1 - omega) * a[b, 1, 2 + k] for k in range(5)]
        want = torch.stack(raw) / sum(raw)
        torch.testing.assert_close(output.attention["regions"][b], want)


def test_region_share_falls_with_what_the_regions_say(make, batch):
    model = make()
    inputs = batch(model)
    outputs = []
    for scale in (1.0, 0.01):
        with torch.no_grad():  # shorter region nodes: same cosines, same "regions", less to say
            model.fusion.local_gcn.weight.mul_(scale), model.fusion.local_gcn.bias.mul_(scale)
            model.fusion.attention.weight.div_(scale)
            outputs.append(model(**inputs))
    before, after = (o.attention for o in outputs)
    torch.testing.assert_close(after["regions"], before["regions"], rtol=1e-4, atol=1e-5)
    was, now = (a["region_share"].sum(1) for a in (before, after))
    torch.testing.assert_close(now / (1 - now), 0.01 * was / (1 - was), rtol=1e-3, atol=1e-6)


def test_channels_outside_regions_stay_in_the_encoder(make, batch):
    names = (*CHANNELS, "A2")
    model = make(ch_names=names)
    assert all(7 not in members for members in model.regions.values())
    inputs = batch(model)
    output = model(**inputs)
    assert output.attention["channels"].shape == (3, 8)
    assert not output.attention["channels"][:, 7].any()
    inputs["eeg"] = inputs["eeg"].clone()
    inputs["eeg"][:, 7] *= 3
    assert not torch.allclose(model(**inputs).embeddings["eeg"], output.embeddings["eeg"])
    torch.testing.assert_close(
        model(**inputs).attention["adjacency_local"], output.attention["adjacency_local"], rtol=0, atol=0
    )


def test_channel_order_is_free_in_the_graph(make, batch):
    # Audio-Mamba's patch embedding has weights per channel, so its weights are permuted along; the graph has none.
    order = [3, 0, 6, 2, 5, 1, 4]
    model = make()
    permuted = make(ch_names=tuple(CHANNELS[i] for i in order))
    state = model.state_dict()
    state["eeg_encoder.patch_embed.proj.weight"] = state["eeg_encoder.patch_embed.proj.weight"][:, order]
    permuted.load_state_dict(state)
    inputs = batch(model)
    want = model(**inputs)
    got = permuted(eeg=inputs["eeg"][:, order], video=inputs["video"])
    torch.testing.assert_close(got.logits, want.logits, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(got.attention["channels"], want.attention["channels"][:, order], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(got.attention["regions"], want.attention["regions"], rtol=1e-4, atol=1e-5)


def test_batch_split(make, batch):
    model = make()
    inputs = batch(model, 5)
    whole = model(**inputs)
    parts = [model(**{m: x[s] for m, x in inputs.items()}) for s in (slice(0, 2), slice(2, 5))]
    torch.testing.assert_close(torch.cat([p.logits for p in parts]), whole.logits, rtol=1e-4, atol=1e-5)


def test_spectrogram_is_computed_once(make, batch):
    model = make()
    calls = []
    model.spectrogram.register_forward_hook(lambda *a: calls.append(1))
    model(**batch(model))
    assert len(calls) == 1


PAIRS = [
    ({"embed_dim": 16, "depth": 1}, {"embed_dim": 24, "depth": 1, "num_heads": 2, "patch_size": 8}, 20),
    ({"embed_dim": 24, "depth": 1, "direction": "fo_fo"}, {"embed_dim": 12, "depth": 2, "num_heads": 3,
     "patch_size": 8, "tubelet_size": 4}, 24),
    ({"embed_dim": 20, "depth": 1}, {"embed_dim": 20, "depth": 1, "num_heads": 2, "patch_size": 8}, 20),
]  # fmt: skip


@pytest.mark.parametrize(("eeg", "video", "dim"), PAIRS)
def test_any_widths(make, batch, eeg, video, dim):
    model = make(encoders={"eeg": {"config": eeg}, "video": {"config": video}}, dim=dim)
    assert isinstance(model.eeg_projection, nn.Identity) == (eeg["embed_dim"] == dim)
    assert isinstance(model.video_projection, nn.Identity) == (video["embed_dim"] == dim)
    assert model(**batch(model)).embeddings["eeg"].shape == (3, dim)


@pytest.mark.parametrize("changes", [{}, {"fusion": "naive"}, {"modalities": ("eeg",)}], ids=ids)
def test_an_encoder_of_raw_eeg_gets_raw_eeg(make, batch, monkeypatch, changes):
    toys.register(monkeypatch)
    model = make(encoders={"eeg": {"name": "toy_eeg", "config": {"width": 9}}}, **changes)
    inputs = batch(model)
    want = model.eeg_projection(model.eeg_encoder.proj(inputs["eeg"].flatten(1)).tanh())
    torch.testing.assert_close(model(**inputs).embeddings["eeg"], want)
    assert (model.spectrogram is not None) == (changes == {})


def test_to_torch_geometric(make, batch):
    pytest.importorskip("torch_geometric")
    model = make()
    channels, regions = model.to_torch_geometric(model(**batch(model)), 1)
    assert channels.num_nodes == 7
    assert channels.ch_names == list(CHANNELS)
    assert regions.node_names == ["eeg", "video", *model.regions]
    naive = make(fusion="naive")
    with pytest.raises(ConfigError, match="no graph"):
        naive.to_torch_geometric(naive(**batch(naive)), 0)


def test_input_spec_and_regions(make):
    model = make(ch_names=("EEG Fp1", "F4", "T3", "C3", "Cz", "P4", "O1"), l_freq=0.5, h_freq=15.0)
    assert model.config.ch_names == CHANNELS
    assert model.input_spec.eeg.ch_names == CHANNELS
    assert (model.input_spec.eeg.l_freq, model.input_spec.shape("eeg")) == (0.5, (7, 64))
    assert (model.input_spec.video.num_frames, model.input_spec.video.size) == (4, (16, 24))
    assert model.regions == {"frontal": [0, 1], "temporal": [2], "central": [3, 4], "parietal": [5], "occipital": [6]}
    alone = make(modalities=("eeg",))
    assert alone.input_spec.modalities == ("eeg",) and list(alone.config.encoders) == ["eeg"]
    with pytest.raises(AttributeError):
        model.input_spec = alone.input_spec
    model.config = model.config.replace(input_spec={"eeg": {"l_freq": 1.0}})
    assert model.input_spec.eeg.l_freq == 1.0  # there is one truth


# Encoders, projections and graph, each counted by hand in its own test; here the sums that the docs show.
COUNTS = {"ever_tiny": 1_228_901, "ever_small": 31_345_542, "ever_base": 107_232_774, "ever_paper": 85_971_462}


@pytest.mark.parametrize("name", EVER.presets)
def test_parameter_counts(name):
    with torch.device("meta"):
        model = EVER.from_preset(name)
    c = model.config
    f, t = c.spectrogram_size
    graph = (f * t + 1) * c.dim + (c.dim + 1) * c.dim + c.dim + (c.dim + 1) * c.num_classes + 1 + 3 * c.dim
    parts = {n: sum(p.numel() for p in m.parameters()) for n, m in model.named_children()}
    assert parts["fusion"] == graph
    for m in ("eeg", "video"):
        width = getattr(model, f"{m}_encoder").embed_dim
        assert parts[f"{m}_projection"] == (0 if width == c.dim else (width + 1) * c.dim)
    assert sum(parts.values()) == sum(p.numel() for p in model.parameters()) == COUNTS[name]
    assert model.architecture == name
    assert COUNTS["ever_tiny"] <= 1_500_000


def test_a_hidden_layer_can_say_whether_two_labels_differ(make):
    """Embeddings are made by hand: one linear layer stays at chance, a hidden layer does not."""
    torch.manual_seed(0)
    arousal, valence = torch.randint(2, (2, 512))
    z = torch.cat(
        [2.0 * label[:, None].float() - 1 + 0.3 * torch.randn(512, 20) for label in (arousal, valence)], dim=1
    )
    right = {}
    for fusion in ("naive", "mlp"):
        head = make(fusion=fusion, num_classes=2).head
        optimiser = torch.optim.Adam(head.parameters(), lr=1e-2)
        for _ in range(60):
            loss = torch.nn.functional.cross_entropy(head(z), arousal ^ valence)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        right[fusion] = (head(z).argmax(1) == arousal ^ valence).float().mean()
    assert right["naive"] < 0.7 < 0.98 < right["mlp"]
