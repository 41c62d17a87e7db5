import importlib
import pkgutil

import pytest

import evermodels
from evermodels.core.lazy import lazy_names

PACKAGES = ["evermodels"] + [
    module.name
    for module in pkgutil.walk_packages(evermodels.__path__, "evermodels.")
    if module.ispkg and hasattr(importlib.import_module(module.name), "__all__")
]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_listed_name_is_there(package):
    module = importlib.import_module(package)
    assert set(module.__all__) <= set(dir(module))
    for name in module.__all__:
        assert getattr(module, name) is not None


def test_names_of_the_modules_and_no_others():
    get, listed = lazy_names("evermodels.core", {"errors": ("ConfigError",)}, ("specs",))
    from evermodels.core import errors, specs

    assert get("ConfigError") is errors.ConfigError
    assert get("specs") is specs
    for name in ("errors", "did_you_mean", "__path__"):
        with pytest.raises(AttributeError, match=f"module 'evermodels.core' has no attribute '{name}'"):
            get(name)
    get, listed = lazy_names("evermodels.layers", {})
    assert listed() == sorted(importlib.import_module("evermodels.layers").__all__)
