"""The base class of every model that has presets, a config and checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import nn
from typing_extensions import Self

from evermodels.core.config import Config
from evermodels.core.errors import ConfigError, UnknownNameError, did_you_mean
from evermodels.core.specs import InputSpec


class PretrainedModel(nn.Module):
    """An ``nn.Module`` built from a frozen config, with named presets.

    A subclass sets ``config_class``, ``presets`` (configs by architecture name) and ``head_prefixes``, and takes the
    config as the only argument of its constructor, which must work on the ``meta`` device.

    Attributes:
        config: The frozen configuration that it was built from.
        architecture: Name in the registry, or ``None`` for a config made by hand.
        input_spec: What recordings must look like, or ``None`` where the model takes tensors only.
        classes: Names of the classes in the order of the logits, or ``None``.
        load_report: What was loaded from where, or ``None`` for random weights.
    """

    config_class: ClassVar[type[Config]]
    presets: ClassVar[Mapping[str, Config]] = {}
    head_prefixes: ClassVar[tuple[str, ...]] = ("head.",)

    def __init__(self, config: Config) -> None:
        super().__init__()
        if not isinstance(config, self.config_class):
            raise ConfigError(
                f"config: expected {self.config_class.__name__}, got {type(config).__name__}. "
                f"Make one with {self.config_class.__name__}(...) or {type(self).__name__}.from_preset(name)."
            )
        self.config: Any = config
        self.architecture: str | None = None
        self.input_spec: InputSpec | None = None
        self.classes: tuple[str, ...] | None = None
        self.load_report: Any = None

    @classmethod
    def from_preset(cls, name: str, **config: Any) -> Self:
        """Build a preset with random weights.

        Args:
            name: Name of the preset.
            **config: Values that differ from the preset's.

        Raises:
            UnknownNameError: If the class has no such preset.
            ConfigError: If a value does not fit.
        """
        if name not in cls.presets:
            raise UnknownNameError(
                f"preset: {cls.__name__} has no {name!r}.{did_you_mean(name, cls.presets)} "
                f"It has: {', '.join(sorted(cls.presets))}."
            )
        model = cls(cls.presets[name].replace(**config))
        model.architecture = name
        return model
