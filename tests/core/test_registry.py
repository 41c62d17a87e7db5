"""The closed table of names."""

import importlib.util

import pytest

from evermodels.core import registry
from evermodels.core.errors import UnknownNameError


def test_names_lead_to_modules_of_ours():
    for name, row in registry.MODELS.items():
        assert row.module.startswith("evermodels."), name
        assert row.kind in ("backbone", "system"), name
        assert row.modalities and row.summary, name
        assert "." not in name
        assert importlib.util.find_spec(row.module) is not None, row.module


@pytest.mark.parametrize("name", sorted(registry.MODELS))
def test_class_has_the_preset(name):
    cls = registry.model_class(name)
    assert isinstance(cls.presets[name], cls.config_class)
    assert cls.head_prefixes
    names = {n for n, row in registry.MODELS.items() if row.class_name == cls.__name__}
    assert set(cls.presets) == names


def test_unknown_names():
    with pytest.raises(UnknownNameError, match=r"'ever_tinny' does not exist. Did you mean 'ever_tiny'"):
        registry.entry("ever_tinny")
    with pytest.raises(UnknownNameError, match="list_models"):
        registry.model_class("os")
    with pytest.raises(UnknownNameError, match="kind: expected one of backbone, system, got 'x'"):
        registry.list_architectures(kind="x")
    with pytest.raises(UnknownNameError, match="modality: expected one of audio, eeg, eye, video, got 'smell'"):
        registry.list_architectures(modality="smell")


def test_list():
    every = registry.list_architectures()
    assert every == sorted(registry.MODELS)
    assert registry.list_architectures("nothing*") == []
    both = registry.list_architectures(kind="system", modality="video")
    assert both == [
        n for n in every if registry.MODELS[n].kind == "system" and "video" in registry.MODELS[n].modalities
    ]
    assert set(registry.list_architectures(kind="backbone")) | set(registry.list_architectures(kind="system")) == set(
        every
    )


def test_build_passes_values_on():
    model = registry.build("audio_mamba_nano", num_classes=3, depth=1)
    assert (model.config.num_classes, model.config.depth, model.architecture) == (3, 1, "audio_mamba_nano")
