"""Each name of the table can be built on ``meta``; the small ones go through a file."""

import pytest
import torch
from torch import nn

import evermodels as em
from evermodels.checkpoints.read import meta_tensors

NAMES = em.list_models()
SMALL = [name for name in NAMES if name.endswith(("_nano", "_tiny"))]


def nearest_of_ours(model: nn.Module, prefix: str) -> nn.Module:
    """The module itself, or of one of another package, such as timm, the module of ours that holds it."""
    module = model.get_submodule(prefix)
    if prefix and not type(module).__module__.startswith("evermodels"):
        return nearest_of_ours(model, prefix.rpartition(".")[0])
    return module


@pytest.mark.parametrize("name", NAMES)
def test_computed_buffers_can_be_rebuilt(name):
    with torch.device("meta"):
        model = em.create_model(name)
    stored = set(model.state_dict())
    for prefix, module in model.named_modules():
        own = {key for key, _ in module.named_buffers(prefix=prefix, recurse=False)} - stored
        assert not own or callable(getattr(nearest_of_ours(model, prefix), "reset_buffers", None)), own
        assert not own & set(dict(module.named_parameters(prefix=prefix, recurse=False)))
    assert not any(isinstance(module, nn.LazyLinear) for module in model.modules())


@pytest.mark.parametrize("name", NAMES)
def test_the_head_is_the_declared_one(name):
    with torch.device("meta"):
        model = em.create_model(name, num_classes=5)
        before = model.state_dict(keep_vars=True)
        model.reset_classifier(3)
    after = model.state_dict(keep_vars=True)
    fresh = [key for key, tensor in after.items() if before.get(key) is not tensor]
    assert fresh
    assert all(key.startswith(model.head_prefixes) for key in fresh)
    assert set(before) == set(after)
    assert model.config.num_classes == 3


@pytest.mark.parametrize("name", SMALL)
def test_round_trip(name, tmp_path):
    model = em.create_model(name, num_classes=3)
    loaded = em.from_pretrained(model.save_pretrained(tmp_path / name, classes=("a", "b", "c")), num_classes=3)
    assert type(loaded) is type(model)
    assert loaded.config == model.config
    assert loaded.input_spec == model.input_spec
    assert meta_tensors(loaded) == []
    for (key, a), (_, b) in zip(model.state_dict().items(), loaded.state_dict().items(), strict=True):
        assert torch.equal(a, b), key
    buffers = dict(loaded.named_buffers())
    for key, buffer in model.named_buffers():
        assert torch.equal(buffer, buffers[key]), key
