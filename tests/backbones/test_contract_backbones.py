"""What every backbone of the registry keeps, with inputs drawn from its shape alone; a new one joins by its row."""

from __future__ import annotations

import copy
import functools

import pytest
import torch

import evermodels as em
from evermodels.backbones.base import Backbone, Checkpointed
from evermodels.core import registry
from evermodels.core.errors import ConfigError, ShapeError
from evermodels.core.kinds import KINDS
from tests import toys

BACKBONES = toys.smallest("backbone")
BENCHMARK = (  # the nine names of EVER's twelve that are encoders, VideoMAE and AdaMAE one; HiCMAE and TVLT are systems
    *("vivit", "timesformer", "video_swin", "videomae"),
    *("patchtst", "itransformer", "crossformer", "medformer", "audio_mamba"),
)
CLOSE = {"rtol": 1e-4, "atol": 1e-5}
over_backbones = pytest.mark.parametrize("name", BACKBONES)


@pytest.fixture(autouse=True, scope="module")
def registered():
    """The toys are in the registry."""
    with pytest.MonkeyPatch.context() as patch:
        toys.register(patch)
        yield


@functools.cache
def pristine(name: str):
    torch.manual_seed(3)
    return em.create_model(name, **toys.shallow(name, num_classes=3)).eval()


def build(name: str, **changes):
    """The smallest preset of a backbone with three classes, with the same weights each time."""
    if not changes:
        return copy.deepcopy(pristine(name))
    return em.create_model(name, **toys.shallow(name, **{"num_classes": 3, **changes})).eval()


def draw(model, n: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(n, *model.sample_shape, generator=torch.Generator().manual_seed(seed))


def test_axes_are_the_shape_of_a_sample():
    assert em.create_model("eegnet_tiny", in_chans=5, num_samples=320).sample_shape == (5, 320)
    mamba = em.create_model("audio_mamba_nano", in_chans=2, input_size=(32, 48))
    assert mamba.sample_shape == (2, 32, 48)
    assert type(mamba).sizes_for((3, 16, 64)) == {"in_chans": 3, "input_size": (16, 64)}


def test_a_backbone_says_its_axes():
    class Nameless(Backbone):
        input = "eeg"

    with pytest.raises(NotImplementedError, match=r"Nameless does not say the shape of a sample\. Set axes"):
        Nameless.sizes_for((4, 6))


@pytest.mark.parametrize("name", [n for n, row in registry.MODELS.items() if row.kind == "backbone"])
def test_the_registry_says_what_it_takes(name):
    cls = registry.model_class(name)
    assert registry.entry(name).takes == (cls.input,) and cls.input in KINDS
    assert name in cls.presets
    for modality in KINDS[cls.input].modalities:
        assert name in em.list_models(kind="backbone", modality=modality)


@over_backbones
def test_the_first_of_a_family_is_small(name):
    with torch.device("meta"):
        assert sum(p.numel() for p in em.create_model(name).parameters()) <= 2_000_000


@over_backbones
def test_sizes_follow_from_a_shape(name):
    cls = registry.model_class(name)
    model = build(name)
    assert len(model.sample_shape) == len(KINDS[cls.input].axes)
    again = build(name, **cls.sizes_for(model.sample_shape))
    assert again.config == model.config and again.sample_shape == model.sample_shape
    spec = model.input_spec
    if spec is not None:
        (modality,) = spec.modalities
        assert spec.shape(modality) == model.sample_shape and spec.of(modality).kind == cls.input
        assert modality in registry.entry(name).modalities


@over_backbones
def test_features_then_head(name):
    model = build(name)
    x = draw(model, 2)
    with torch.no_grad():
        logits, tokens = model(x), model.forward_features(x)
        embedding = model.forward_head(tokens, pre_logits=True)
        assert logits.shape == (2, 3) and embedding.shape == (2, model.embed_dim)
        torch.testing.assert_close(model.forward_head(tokens), logits)
        before = model.state_dict()
        model.reset_classifier(5)
        after = model.state_dict()
        assert model(x).shape == (2, 5)
        for key in before.keys() | after.keys():
            assert key.startswith(model.head_prefixes) or torch.equal(before[key], after[key]), key
        model.reset_classifier(0)
        torch.testing.assert_close(model(x), embedding)
    none = build(name, num_classes=0)
    assert set(none.state_dict()) == set(model.state_dict()) and none(x).shape == embedding.shape
    with pytest.raises(ConfigError, match="num_classes"):
        model.reset_classifier(-1)


@over_backbones
def test_samples_are_apart_and_stay_as_they_are(name):
    model = build(name)
    x = draw(model, 3)
    before = x.clone()
    with torch.no_grad():
        whole = model(x)
        torch.testing.assert_close(model(x.flip(0)), whole.flip(0), **CLOSE)
        torch.testing.assert_close(model(x[1:2]), whole[1:2], **CLOSE)
        broken = x.clone()
        broken[0] = float("nan")
        torch.testing.assert_close(model(broken)[1:], whole[1:], **CLOSE)
        model.train()(x)
    assert torch.equal(x, before)


@over_backbones
def test_other_shapes_are_refused(name):
    model = build(name)
    x = draw(model, 2)
    for wrong in (x[0], x[:, None], x[:0], *(torch.cat([x, x], dim=axis) for axis in range(1, x.ndim))):
        with pytest.raises(ShapeError):
            model(wrong)


@over_backbones
def test_numbers_of_another_type_are_refused(name):
    model = build(name)
    x = draw(model, 2)
    for wrong in (x.double(), x.int(), x > 0, x.to(torch.complex64)):
        said = rf"{model.input}: expected numbers of type float32 .*\.to\(torch\.float32\)"
        with pytest.raises(ShapeError, match=said):
            model(wrong)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert model(x.bfloat16()).isfinite().all()


@over_backbones
def test_compiled_and_exported(name):
    torch.compiler.reset()  # all backbones share one forward, of which no more than eight kinds are kept compiled
    model = build(name)
    x = draw(model, 3)
    with torch.no_grad():
        compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
        torch.testing.assert_close(compiled(x), model(x), **CLOSE)
        shapes = {"x": {0: torch.export.Dim("batch", min=2, max=64)}}
        program = torch.export.export(model, (x,), dynamic_shapes=shapes)
        for n in (2, 5):
            other = draw(model, n, seed=n)
            torch.testing.assert_close(program.module()(other), model(other), **CLOSE)


@over_backbones
def test_copies_and_half_precision(name):
    model = build(name)
    x = draw(model, 2)
    with torch.no_grad():
        want = model(x)
        assert torch.equal(copy.deepcopy(model)(x), want)
        far = 0.1 * want.abs().max()
        for kind in (torch.bfloat16, torch.float16):
            with torch.autocast("cpu", kind):
                assert (model(x).float() - want).abs().max() < far
        got = model.bfloat16()(x.bfloat16())
    assert got.dtype == torch.bfloat16 and (got.float() - want).abs().max() < far


@over_backbones
def test_recomputed_blocks_give_the_same_gradients(name):
    model = build(name).train()
    if name.rpartition("_")[0] in BENCHMARK:
        assert isinstance(model, Checkpointed)
    if not isinstance(model, Checkpointed):
        return
    x, found = draw(model, 3), []
    for enable in (False, True):
        model.set_grad_checkpointing(enable)
        model.zero_grad()
        torch.manual_seed(0)
        model(x).square().sum().backward()
        found.append([p.grad.clone() for p in model.parameters()])
    for plain, recomputed in zip(*found, strict=True):
        torch.testing.assert_close(recomputed, plain, **CLOSE)


@over_backbones
def test_equal_after_save_and_load(name, tmp_path):
    model = build(name)
    loaded = em.from_pretrained(model.save_pretrained(tmp_path / "m"))
    assert loaded.config == model.config and loaded.input_spec == model.input_spec
    assert torch.equal(loaded(draw(model, 2)), model(draw(model, 2)))


@over_backbones
def test_gradients_reach_every_parameter(name):
    model = build(name).train()
    output = model(draw(model, 3))
    (output * torch.randn_like(output)).sum().backward()
    silent = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert not silent and all(torch.isfinite(p.grad).all() for p in model.parameters())


@over_backbones
def test_a_recognizer_takes_it_or_says_why_not(name):
    model = build(name)
    if model.input_spec is None:
        with pytest.raises(ConfigError, match=rf"{type(model).__name__} .*(system|tensors)"):
            em.Recognizer(model)
        return
    assert em.Recognizer(model).input_spec == model.input_spec
    with pytest.raises(ConfigError, match="num_classes=0"):
        em.Recognizer(build(name, num_classes=0))
