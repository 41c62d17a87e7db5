"""Audio-Mamba: the reference's numbers, parameter counts, padding, heads, export."""

from __future__ import annotations

import pytest
import torch

from evermodels.backbones.eeg.audio_mamba import AudioMamba, AudioMambaConfig
from evermodels.checkpoints.base import PretrainedModel
from evermodels.core.errors import ConfigError, ShapeError, UnknownNameError
from evermodels.core.registry import MODELS, build

REFERENCE = AudioMambaConfig(input_size=(32, 48), num_classes=5, embed_dim=16, depth=2, patch_size=(8, 8))
FILES = {"fo_fo": "aum_fofo_a", "fo_bi": "aum_fobi_a", "bi_bi": "aum_bibi_a"}
TINY = AudioMambaConfig(in_chans=3, input_size=(16, 24), num_classes=4, embed_dim=16, depth=2, patch_size=(8, 8))


def relative(ours: torch.Tensor, reference: torch.Tensor) -> float:
    return ((ours - reference).abs().max() / reference.abs().max()).item()


def load(numbers, direction, dtype, **changes):
    model = AudioMamba(REFERENCE.replace(direction=direction, **changes))
    model.load_state_dict(numbers["weights"])  # strict: the keys are the reference's
    x = numbers["input"]["x"].to(dtype).transpose(1, 2).unsqueeze(1)  # (batch, time, frequency) in the file
    return model.to(dtype).eval(), x


@pytest.mark.parametrize("direction", FILES)
@pytest.mark.parametrize(
    ("dtype", "group", "tolerance"), [(torch.float32, "output", 1e-5), (torch.float64, "output64", 1e-12)]
)
def test_reference_numbers(golden, direction, dtype, group, tolerance):
    numbers = golden(FILES[direction])
    model, x = load(numbers, direction, dtype)
    expected = numbers[group]
    hidden, residual = model.embed(x), None
    assert relative(hidden, expected["tokens"]) < tolerance
    for k, layer in enumerate(model.layers):
        hidden, residual = layer(hidden, residual)
        assert relative(hidden, expected[f"layer{k}_hidden"]) < tolerance
        assert relative(residual, expected[f"layer{k}_residual"]) < tolerance
    tokens = model.forward_features(x)
    assert relative(model.patch_embed(x), expected["patch_tokens"]) < tolerance
    assert relative(model.forward_head(tokens, pre_logits=True), expected["features"]) < tolerance
    assert relative(model(x), expected["logits"]) < tolerance
    variants = {
        "features_cls_first": {"cls_position": "first"},
        "features_cls_last": {"cls_position": "last"},
        "features_sum_not_halved": {"halve_sum": False},
    }
    for name, change in variants.items():
        if name in expected:
            other, x = load(numbers, direction, dtype, **change)
            assert relative(other.forward_head(other.forward_features(x), True), expected[name]) < tolerance, name


@pytest.mark.parametrize("direction", FILES)
def test_reference_gradients(golden, direction):
    numbers = golden(FILES[direction])
    model, x = load(numbers, direction, torch.float32)
    x.requires_grad_()
    (model.train()(x) * numbers["input"]["cotangent"]).sum().backward()
    for name, expected in numbers["grad"].items():
        ours = x.grad.squeeze(1).transpose(1, 2) if name == "input/x" else model.get_parameter(name).grad
        assert relative(ours, expected) < 1e-5, name


def count(**config) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in AudioMamba(AudioMambaConfig(**config)).parameters())


def test_parameter_counts_of_the_published_models():
    assert count(num_classes=527) == 92_107_535
    assert count(embed_dim=384, direction="bi_bi", num_classes=527) == 25_539_215


@pytest.mark.parametrize(("direction", "millions"), [("fo_fo", 7.53), ("fo_bi", 7.68), ("bi_bi", 8.26)])
def test_parameter_counts_of_tiny_on_thirty_channels(direction, millions):
    n = count(embed_dim=192, in_chans=30, num_classes=5, input_size=(128, 128), direction=direction)
    assert round(n / 1e6, 2) == millions


def test_presets_are_the_registry_s_names():
    names = [n for n, row in MODELS.items() if row.class_name == "AudioMamba"]
    assert sorted(AudioMamba.presets) == sorted(names)
    model = build("audio_mamba_nano", in_chans=2, num_classes=3)
    assert isinstance(model, PretrainedModel)
    assert (model.input, model.embed_dim, model.architecture) == ("spectrogram", 64, "audio_mamba_nano")
    assert model.cls_token.shape[-1] == 64
    assert len(model.layers) == 4
    with pytest.raises(UnknownNameError, match="Did you mean 'audio_mamba_nano'"):
        AudioMamba.from_preset("audio_mamba_nan")


def test_patches_that_do_not_divide_are_padded_behind_the_end():
    model = AudioMamba(TINY.replace(input_size=(20, 17))).eval()
    assert model.config.grid == (3, 3)
    x = torch.randn(2, 3, 20, 17)
    padded = AudioMamba(TINY.replace(input_size=(24, 24))).eval()
    padded.load_state_dict(model.state_dict())
    whole = torch.zeros(2, 3, 24, 24)
    whole[:, :, :20, :17] = x
    torch.testing.assert_close(model(x), padded(whole))


def test_smaller_than_one_patch_and_overlapping_patches():
    assert AudioMamba(TINY.replace(input_size=(5, 3))).eval()(torch.randn(1, 3, 5, 3)).shape == (1, 4)
    model = AudioMamba(TINY.replace(stride=(4, 6)))
    assert model.config.grid == (3, 4)
    assert model(torch.randn(1, 3, 16, 24)).shape == (1, 4)


def test_tokens_are_frequency_major_around_the_class_token():
    model = AudioMamba(TINY).eval()
    with torch.no_grad():
        model.pos_embed.pos_embed.zero_()
        model.patch_embed.proj.weight.fill_(1.0)
        model.patch_embed.proj.bias.zero_()
        model.cls_token.fill_(-1.0)
    x = torch.zeros(1, 3, 16, 24)
    x[0, 0, 0, 8] = 1.0  # row 0, column 1
    x[0, 0, 8, 0] = 2.0  # row 1, column 0
    assert model.embed(x)[0, :, 0].tolist() == [0.0, 1.0, 0.0, -1.0, 2.0, 0.0, 0.0]


def test_first_position_row_belongs_to_the_class_token():
    for where, index in (("first", 0), ("middle", 3), ("last", 6)):
        model = AudioMamba(TINY.replace(cls_position=where)).eval()
        before = model.embed(torch.zeros(1, 3, 16, 24))
        with torch.no_grad():
            model.pos_embed.pos_embed[:, 0] += 1
        moved = (model.embed(torch.zeros(1, 3, 16, 24)) - before)[0, :, 0]
        assert moved.nonzero().flatten().tolist() == [index]


def test_batch_split_and_state_dict_round_trip(tmp_path):
    model = AudioMamba(TINY).eval()
    x = torch.randn(3, 3, 16, 24)
    torch.testing.assert_close(model(x), torch.cat([model(x[:1]), model(x[1:])]))
    twin = AudioMamba(TINY).eval()
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    twin.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    assert torch.equal(twin(x), model(x))


def test_meta_construction_and_assignment():
    model = AudioMamba(TINY).eval()
    with torch.device("meta"):
        empty = AudioMamba(TINY)
    empty.load_state_dict(model.state_dict(), assign=True)
    assert not any(t.is_meta for t in [*empty.parameters(), *empty.buffers()])
    x = torch.randn(1, 3, 16, 24)
    assert torch.equal(empty.eval()(x), model(x))


def test_heads():
    model = AudioMamba(TINY).eval()
    x = torch.randn(2, 3, 16, 24)
    tokens = model.forward_features(x)
    assert tokens.shape == (2, 7, 16)
    assert torch.equal(model.forward_head(tokens), model(x))
    embedding = model.forward_head(tokens, pre_logits=True)
    model.reset_classifier(0)
    assert torch.equal(model(x), embedding)
    model.double().reset_classifier(2)
    assert model(x.double()).shape == (2, 2)
    assert model.config.num_classes == 2
    with pytest.raises(ConfigError, match="num_classes"):
        model.reset_classifier(-1)


def test_drop_path_and_dropout_only_in_training():
    model = AudioMamba(TINY.replace(drop_path_rate=0.5, drop_rate=0.1))
    x = torch.randn(4, 3, 16, 24)
    assert not torch.equal(model.train()(x), model(x))
    assert torch.equal(model.eval()(x), model(x))


def test_residual_stays_in_float32_under_autocast():
    model = AudioMamba(TINY).eval()
    x = torch.randn(2, 3, 16, 24)
    with torch.autocast("cpu", torch.bfloat16):
        hidden, residual = model.layers[0](model.embed(x))
        logits = model(x)
    assert (hidden.dtype, residual.dtype) == (torch.bfloat16, torch.float32)
    torch.testing.assert_close(logits.float(), model(x), rtol=0.1, atol=0.02)


def test_training_step_reaches_every_parameter():
    for direction in FILES:
        model = AudioMamba(TINY.replace(direction=direction))
        model(torch.randn(2, 3, 16, 24)).square().sum().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in model.parameters())


def test_export_is_equal():
    model = AudioMamba(TINY).eval()
    x = torch.randn(2, 3, 16, 24)
    program = torch.export.export(model, (x,), dynamic_shapes={"x": {0: torch.export.Dim("batch", min=2, max=16)}})
    scans = [n for n in program.graph.nodes if "selective_scan" in str(n.target)]
    assert len(scans) == len(model.layers)
    other = torch.randn(5, 3, 16, 24)
    torch.testing.assert_close(program.module()(other), model(other))


def test_compile_is_equal():
    model = AudioMamba(TINY).eval()
    x = torch.randn(2, 3, 16, 24)
    torch.testing.assert_close(torch.compile(model, backend="aot_eager", fullgraph=True)(x), model(x))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((3, 16, 24), r"spectrogram: expected \(batch, channels, frequency, time\), got 3 axes"),
        ((2, 4, 16, 24), r"with channels=3.*got channels=4"),
        ((2, 3, 15, 24), r"frequency=16.*got frequency=15"),
        ((2, 3, 16, 25), r"time=24.*got time=25"),
    ],
)
def test_wrong_shapes(shape, message):
    with pytest.raises(ShapeError, match=message):
        AudioMamba(TINY)(torch.zeros(shape))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"in_chans": 0}, "in_chans: expected at least 1, got 0"),
        ({"direction": "v1"}, "direction: expected one of 'fo_fo', 'fo_bi', 'bi_bi', got 'v1'"),
        ({"input_size": [0, 5]}, "input_size: expected two numbers of at least 1"),
        ({"drop_path_rate": 1.0}, r"drop_path_rate: expected a number in \[0, 1\), got 1.0"),
        ({"num_classes": -1}, "num_classes: expected 0"),
        ({"embed_dmi": 3}, "unknown key 'embed_dmi'. Did you mean 'embed_dim'"),
        ({"depth": "4"}, "depth: expected int, got '4'"),
        ({"norm_eps": 0.0}, "norm_eps: expected a positive number"),
        ({"dt_rank": 0}, "dt_rank: expected at least 1"),
    ],
)
def test_impossible_configs(change, message):
    with pytest.raises(ConfigError, match=message):
        TINY.replace(**change)
