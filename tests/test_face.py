"""The face: names are visible before they are loaded."""

import importlib
import pkgutil

import pytest

import evermodels as em

PACKAGES = [
    module.name
    for module in pkgutil.walk_packages(em.__path__, "evermodels.")
    if module.ispkg and hasattr(importlib.import_module(module.name), "__all__")
]


@pytest.mark.parametrize("package", ["evermodels", *PACKAGES])
def test_each_name_is_listed_and_resolves(package):
    module = importlib.import_module(package)
    assert set(module.__all__) <= set(dir(module))
    for name in module.__all__:
        assert getattr(module, name) is not None


def test_unknown_attribute():
    with pytest.raises(AttributeError, match="No evermodels attribute nothing"):
        em.nothing  # noqa: B018 - the look-up is the test


def test_signatures_stay():
    import inspect

    def parameters(function):
        return list(inspect.signature(function).parameters)

    assert parameters(em.list_models) == ["pattern", "kind", "modality", "pretrained"]
    assert parameters(em.create_model) == ["name", "pretrained", "num_classes", "ch_names", "sfreq", "config"]
    expected = ["name_or_dir_or_repo", "revision", "num_classes", "ch_names", "cache_dir", "token", "local_files_only"]
    assert parameters(em.from_pretrained) == [*expected, "device", "dtype"]
    from evermodels.checkpoints.base import PretrainedModel

    assert parameters(PretrainedModel.from_pretrained) == parameters(em.from_pretrained)
