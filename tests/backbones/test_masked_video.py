"""Pre-training of video encoders against the references' numbers and transformers, and what it refuses."""

from __future__ import annotations

import math

import pytest
import torch

from evermodels.backbones import MaskedVideoAutoencoder, MaskedVideoConfig, VideoMAE, VideoMAEConfig
from evermodels.core.errors import ConfigError, DataError, ShapeError
from tests.backbones.clips import clip, hugging_face, randomised, relative

TINY = VideoMAEConfig(num_frames=4, img_size=(16, 24), patch_size=8, embed_dim=16, depth=2, num_heads=2)
DECODER = {"decoder_embed_dim": 12, "decoder_depth": 1, "decoder_num_heads": 2}
MOVED = {
    "encoder.norm.": "norm.",
    "encoder.pos_embed_probs": "token_probability.pos_embed",
    "encoder.get_token_probs.0.": "token_probability.block.",
    "encoder.get_token_probs.1.": "token_probability.score.",
    "decoder.blocks.": "decoder_blocks.",
    "decoder.norm.": "decoder_norm.",
    "decoder.head.": "decoder_head.",
}


def ours(name: str) -> str:
    """Our name of a tensor of the authors' pre-training model."""
    return next((new + name.removeprefix(old) for old, new in MOVED.items() if name.startswith(old)), name)


class TestAdaMAE:
    @pytest.fixture
    def made(self, golden):
        data = golden("adamae_pretrain_a")
        config = VideoMAEConfig(
            num_frames=16, img_size=(12, 12), patch_size=4, embed_dim=16, depth=2, num_heads=4, qkv_bias=True
        )
        model = VideoMAE(config).make_pretraining(sampling="adaptive", mask_ratio=0.8, **DECODER).eval()
        state = {ours(name): tensor for name, tensor in data["weights"].items()}
        missing, unexpected = model.load_state_dict(state, strict=False)
        assert not unexpected and set(missing) == {"encoder.fc_norm.weight", "encoder.fc_norm.bias"}
        return model, data

    def test_equals_the_reference(self, made):
        model, data = made
        torch.manual_seed(11)
        out = model(data["input"]["x"].transpose(1, 2))
        want = data["output"]
        assert torch.equal(out.mask, want["mask"].bool())
        visible = (~out.mask).nonzero()[:, 1].view(2, -1)
        assert torch.equal(visible, want["visible_index"].long().sort(dim=1).values) and visible.shape == (2, 14)
        got = {
            "loss": out.total,
            "loss_reconstruction": out.reconstruction,
            "loss_sampling": out.sampling,
            "prediction": out.prediction,
            "token_probability": out.probability,
            "visible_latent": out.latent,
        }
        for name, value in got.items():
            assert relative(value, want[name]) < 1e-5, name

    def test_without_the_normalised_target(self, made):
        model, data = made
        x = data["input"]["x"].transpose(1, 2)
        plain = model.encoder.make_pretraining(
            sampling="adaptive", mask_ratio=0.8, normalize_target=False, **DECODER
        ).eval()
        plain.load_state_dict(model.state_dict())
        torch.manual_seed(11)
        assert relative(plain(x).total, data["output"]["loss_unnormalised_target"]) < 1e-5

    def test_gradients(self, made):
        model, data = made
        torch.manual_seed(11)
        model(data["input"]["x"].transpose(1, 2)).total.backward()
        parameters = dict(model.named_parameters())
        for name, want in data["grad"].items():
            assert relative(parameters[ours(name)].grad, want) < 1e-4, name

    def test_the_error_passes_no_gradient_to_the_choice_and_the_choice_none_to_the_error(self, made):
        model, data = made
        torch.manual_seed(11)
        out = model(data["input"]["x"].transpose(1, 2))
        names, parameters = zip(*model.named_parameters(), strict=True)
        for term, chooses in ((out.sampling, True), (out.reconstruction, False)):
            grads = torch.autograd.grad(term, parameters, retain_graph=True, allow_unused=True)
            moved = {name.partition(".")[0] for name, g in zip(names, grads, strict=True) if g is not None and g.any()}
            # The tokens that the choice reads are the encoder's own patches, so its loss reaches their projection.
            assert moved == ({"token_probability", "encoder"} if chooses else moved - {"token_probability"})

    @pytest.mark.parametrize("certain", [[2, 5, 7], [2, 5]])
    def test_a_certain_choice_is_made(self, certain):
        """Tubelets with all the probability are seen; a probability of zero costs a finite loss, and may be drawn."""
        model = VideoMAE(TINY).make_pretraining(sampling="adaptive", mask_ratio=0.75, **DECODER | HEADS).eval()
        with torch.no_grad():
            model.token_probability.pos_embed[0, certain] = 50.0
            model.token_probability.block = torch.nn.Identity()
            torch.nn.init.ones_(model.token_probability.score.weight)
        out = model(torch.zeros(3, 4, 3, 16, 24))
        assert bool((~out.mask[:, certain]).all()) and bool(((~out.mask).sum(dim=1) == 3).all())
        assert out.total.isfinite() and out.sampling > 0


HEADS = {"sampling_num_heads": 2}


@pytest.mark.parametrize("eps", [1e-6, 1e-12])
def test_equals_transformers(eps):
    transformers = hugging_face()
    config = transformers.VideoMAEConfig(
        image_size=16, patch_size=8, num_frames=6, tubelet_size=2, hidden_size=24, num_hidden_layers=2,
        num_attention_heads=3, intermediate_size=96, decoder_hidden_size=12, decoder_num_hidden_layers=2,
        decoder_num_attention_heads=2, decoder_intermediate_size=48, layer_norm_eps=eps, use_mean_pooling=False,
    )  # fmt: skip
    theirs = randomised(transformers.VideoMAEForPreTraining(config))
    encoder = VideoMAE(
        VideoMAEConfig(num_frames=6, img_size=(16, 16), patch_size=8, embed_dim=24, depth=2, num_heads=3, norm_eps=eps)
    )
    model = encoder.make_pretraining(**{**DECODER, "decoder_depth": 2}, decoder_norm_eps=1e-5).eval()
    model.load_state_dict(from_transformers(theirs.state_dict()), strict=False)
    x = clip(encoder.config)
    mask = model.tube_mask(2)
    out, want = model(x, mask=mask), theirs(x, bool_masked_pos=mask)
    assert relative(out.prediction, want.logits) < 1e-5 and relative(out.total, want.loss) < 1e-5
    assert torch.equal(out.mask, mask) and out.probability is None and out.sampling == 0
    want.loss.backward()
    out.total.backward()
    patches = theirs.videomae.embeddings.patch_embeddings.projection
    assert relative(model.encoder.patch_embed.proj.weight.grad, patches.weight.grad) < 1e-4
    assert relative(model.mask_token.grad, theirs.mask_token.grad) < 1e-4


def from_transformers(state: dict) -> dict:
    """Their names as ours: the parts of a block's attention joined, the rest renamed."""
    blocks = {
        "layernorm_before": "norm1",
        "layernorm_after": "norm2",
        "attention.output.dense": "attn.proj",
        "intermediate.dense": "mlp.fc1",
        "output.dense": "mlp.fc2",
    }
    whole = {
        "videomae.embeddings.patch_embeddings.projection": "encoder.patch_embed.proj",
        "videomae.layernorm": "norm",
        "decoder.norm": "decoder_norm",
        "decoder.head": "decoder_head",
    }
    renamed = {name: state[name] for name in ("encoder_to_decoder.weight", "mask_token")}
    for stack, our_stack in (
        ("videomae.encoder.layer", "encoder.blocks"),
        ("decoder.decoder_layers", "decoder_blocks"),
    ):
        for k in (0, 1):
            old, new = f"{stack}.{k}", f"{our_stack}.{k}"
            attention = f"{old}.attention.attention"
            qkv = [state[f"{attention}.{part}.weight"] for part in ("query", "key", "value")]
            renamed[f"{new}.attn.qkv.weight"] = torch.cat(qkv)
            renamed[f"{new}.attn.q_bias"] = state[f"{attention}.query.bias"]
            renamed[f"{new}.attn.v_bias"] = state[f"{attention}.value.bias"]
            whole |= {f"{old}.{a}": f"{new}.{b}" for a, b in blocks.items()}
    return renamed | {f"{b}.{end}": state[f"{a}.{end}"] for a, b in whole.items() for end in ("weight", "bias")}


def test_tube_masks():
    config = TINY.replace(img_size=(40, 40), num_frames=6)
    model = VideoMAE(config).make_pretraining(mask_ratio=0.9, **DECODER)
    mask = model.tube_mask(500).view(500, 3, 25)
    assert bool((mask == mask[:, :1]).all()) and bool((mask[:, 0].sum(dim=1) == int(0.9 * 25)).all())
    assert model.num_seen == 3 * (25 - 22)
    share = mask[:, 0].float().mean(dim=0)  # each place as often, whatever the clip
    assert float((share - 22 / 25).abs().max()) < 5 * math.sqrt(0.88 * 0.12 / 500)
    assert not torch.equal(mask[0], mask[1])


@pytest.mark.parametrize(("count", "ratio", "seen"), [(200, 0.9, 19), (72, 0.8, 14)])
def test_adaptive_counts_truncate_as_the_reference_does(count, ratio, seen):
    config = VideoMAEConfig(num_frames=2 * count, img_size=(4, 4), patch_size=4, embed_dim=16, depth=1, num_heads=2)
    assert MaskedVideoConfig(sampling="adaptive", mask_ratio=ratio).num_seen(config) == seen


def test_targets_by_hand():
    model = VideoMAE(TINY).make_pretraining(**DECODER).double()
    x = clip(TINY, dtype=torch.float64)
    target = model.targets(x)
    assert target.shape == (2, 12, 2 * 8 * 8 * 3)
    mean, std = (torch.tensor(v, dtype=torch.float64) for v in (MaskedVideoConfig().mean, MaskedVideoConfig().std))
    index = 1 * 6 + 1 * 3 + 2  # the second moment, second row, third column
    tubelet = x[0, 2:4, :, 8:16, 16:24].movedim(1, -1) * std + mean
    flat = tubelet.reshape(-1, 3)
    want = ((flat - flat.mean(0)) / (flat.std(0) + 1e-6)).flatten()
    torch.testing.assert_close(target[0, index], want, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("sampling", ["tube", "adaptive"])
def test_it_learns_and_leaves_what_fine_tuning_makes_anew(sampling):
    encoder = VideoMAE(TINY.replace(num_classes=3))
    model = encoder.make_pretraining(sampling=sampling, mask_ratio=0.5, normalize_target=False, **DECODER | HEADS)
    x = torch.randn(4, 1, 3, 1, 1).expand(4, 4, 3, 16, 24) + 0.05 * clip(TINY, 4)  # one colour a clip: easy to restore
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    losses = []
    for _ in range(60):
        loss = model.pretraining_loss({"video": x})
        loss["total"].backward()
        silent = {name for name, p in model.named_parameters() if p.grad is None}
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss["reconstruction"]))
    assert sum(losses[-5:]) < 0.3 * sum(losses[:5])
    assert silent == {"encoder.fc_norm.weight", "encoder.fc_norm.bias", "encoder.head.weight", "encoder.head.bias"}


def test_compiled_and_recomputed():
    model = randomised(VideoMAE(TINY).make_pretraining(**DECODER), 0.3).train()
    x, mask = clip(TINY), torch.arange(12).expand(2, -1) % 3 > 0
    loss = model(x, mask=mask).total
    loss.backward()
    wanted = [p.grad for p in model.parameters() if p.grad is not None]
    model.zero_grad()
    model.encoder.set_grad_checkpointing()
    model(x, mask=mask).total.backward()
    for got, want in zip((p.grad for p in model.parameters() if p.grad is not None), wanted, strict=True):
        torch.testing.assert_close(got, want)
    compiled = torch.compile(model.eval(), backend="aot_eager", fullgraph=True)
    torch.manual_seed(3)
    first = compiled(x)
    assert first.total.isfinite() and first.mask.sum() == model.tube_mask(2).sum()
    torch.testing.assert_close(model(x, mask=first.mask).total, first.total)


class TestRefused:
    def test_values(self):
        encoder = VideoMAE(TINY)
        for values, message in (
            ({"mask_ratio": 0.0}, "mask_ratio.*between 0 and 1"),
            ({"mask_ratio": 0.05}, "mask_ratio.*2 by 6 tubelets"),
            ({"mask_ratio": 0.95, "sampling": "adaptive"}, "mask_ratio.*2 by 6 tubelets"),
            ({"sampling": "random"}, "sampling: expected one of 'tube', 'adaptive'"),
            ({"sampling": "adaptive", "mask_ratio": 0.5, "sampling_num_heads": 5}, "divisor of the encoder's width 16"),
            ({"decoder_embed_dim": 10}, "multiple of decoder_num_heads"),
            ({"mean": (0.5,), "std": (0.5,)}, "mean.*3 colours"),
            ({"std": (0.5, 0.0, 0.5)}, "std"),
            ({"mask": 0.5}, "unknown key 'mask'"),
        ):
            with pytest.raises(ConfigError, match=message):
                encoder.make_pretraining(**values)

    def test_batches(self):
        model = VideoMAE(TINY).make_pretraining(**DECODER)
        x = clip(TINY)
        with pytest.raises(DataError, match="expected 'video', got eeg"):
            model.pretraining_loss({"eeg": x})
        with pytest.raises(ShapeError, match="frames=4, got frames=6"):
            model(torch.zeros(2, 6, 3, 16, 24))
        with pytest.raises(ShapeError, match="tubelets=12"):
            model(x, mask=torch.zeros(2, 11, dtype=torch.bool))
        uneven = torch.zeros(2, 12, dtype=torch.bool)
        uneven[0, 0] = uneven[1, :2] = True
        for mask in (uneven, torch.zeros_like(uneven), torch.ones_like(uneven)):
            with pytest.raises(DataError, match="same number of hidden tubelets"):
                model(x, mask=mask)


def test_it_is_what_the_name_says():
    model = VideoMAE(TINY).make_pretraining(**DECODER)
    assert isinstance(model, MaskedVideoAutoencoder) and model.config == MaskedVideoConfig(**DECODER)
