"""The face: names are visible before they are loaded."""

import ast
from pathlib import Path

import pytest

import evermodels as em


def test_dir_and_all_agree():
    assert dir(em) == sorted(em.__all__)
    assert em.__all__ == sorted(em.__all__)


@pytest.mark.parametrize("name", sorted(em.__all__))
def test_each_name_resolves(name):
    assert getattr(em, name) is not None


def test_type_checkers_see_each_name():
    tree = ast.parse(Path(em.__file__).read_text(encoding="utf-8"))
    seen = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    seen |= {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    seen |= {
        t.id for node in tree.body if isinstance(node, ast.Assign) for t in node.targets if isinstance(t, ast.Name)
    }
    assert set(em.__all__) <= seen


def test_unknown_attribute():
    with pytest.raises(AttributeError, match="module 'evermodels' has no attribute 'nothing'"):
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
