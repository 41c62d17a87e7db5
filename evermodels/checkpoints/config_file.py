"""``config.json``: what a checkpoint says about itself, read strictly."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

import torch

from evermodels.checkpoints.card import CardInfo
from evermodels.checkpoints.strict_json import content_digest, parse_json
from evermodels.checkpoints.verify import FileDigest
from evermodels.core import registry
from evermodels.core.config import Config
from evermodels.core.errors import ChecksumError, ConfigError, UnknownNameError, quoted
from evermodels.core.factors import Factor, check_factors
from evermodels.core.specs import InputSpec
from evermodels.core.text import LABEL_RULE, doubled, is_label

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"
CARD_NAME = "README.md"

FORMAT_VERSION = 2
"""What is written; format 1, in which the input spec stood beside the config, is still read."""

DTYPES = {
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float32": torch.float32,
    "float64": torch.float64,
}


@dataclass(frozen=True)
class CheckpointConfig(Config):
    """The content of ``config.json``.

    Args:
        format_version: Version of the layout in the file, 1 or 2.
        architecture: A name of the model table, or the class's name for a configuration made by hand.
        config: The model's configuration.
        library_version: Version of evermodels that wrote it.
        dtype: Type of the floating-point weights.
        classes: Names of the classes in the order of the logits.
        factors: What the classes are the product of, where they are combinations.
        training: Where the weights come from: data, protocol, recipe, scores, in plain JSON.
        files: Size and sha256 of the weights that were written together with it, by file name.
        sha256: Digest of all other keys, see :func:`content_digest`; it finds values that were changed afterwards.
    """

    format_version: int
    architecture: str
    config: dict[str, Any]
    library_version: str | None = None
    dtype: Literal["float16", "bfloat16", "float32", "float64"] = "float32"
    classes: tuple[str, ...] | None = None
    factors: tuple[Factor, ...] = ()
    training: dict[str, Any] | None = None
    files: dict[str, FileDigest] = dataclasses.field(default_factory=dict)
    sha256: str | None = None

    @property
    def input_spec(self) -> InputSpec | None:
        """What recordings must look like, as follows from the configuration."""
        cls = registry.class_of(self.architecture, CONFIG_NAME)
        spec: InputSpec | None = cls.spec_of(cls.config_class.from_dict(self.config))
        return spec

    def check(self) -> None:
        """Refuse classes that are no names or doubled, factors and digests of others, and what no card can say."""
        for name in self.classes or ():
            if not is_label(name):
                raise ConfigError(f"CheckpointConfig.classes: expected {LABEL_RULE}, got {quoted(name)}.")
        if again := doubled(self.classes or ()):
            raise ConfigError(f"CheckpointConfig.classes: expected names, each once, got {quoted(again[0])} twice.")
        if self.classes is not None and self.config.get("num_classes", len(self.classes)) != len(self.classes):
            raise self.refuse("classes", f"{self.config['num_classes']} names, as config.num_classes says")
        check_factors(self.factors, self.classes)
        if not set(self.files) <= {WEIGHTS_NAME}:
            raise self.refuse("files", f"only {WEIGHTS_NAME!r}")
        try:
            CardInfo().filled_from(self.training)
        except ConfigError as error:
            raise ConfigError(f"training: {error}") from error


def parse_config(data: bytes, where: str) -> CheckpointConfig:
    """Parse the bytes of a ``config.json``.

    Args:
        data: The bytes of the file.
        where: The file, for the message.

    Raises:
        ConfigError: For anything that is not such a file, naming the key and what is allowed.
        ChecksumError: If its content is not the one that its ``sha256`` was made of.
    """
    mapping = parse_json(data, where)
    version = mapping.get("format_version")
    if type(version) is not int or version not in (1, FORMAT_VERSION):
        raise ConfigError(
            f"{where}: format_version: expected {FORMAT_VERSION}, got {version!r}. "
            "A higher one needs a newer evermodels (pip install -U evermodels); without one it is not our file."
        )
    digest = content_digest(mapping)
    try:
        content = CheckpointConfig.from_dict(_upgraded(mapping, where) if version == 1 else mapping, where=CONFIG_NAME)
    except (ConfigError, UnknownNameError) as error:
        raise ConfigError(f"{where}: {error}") from error
    if content.sha256 is not None and content.sha256 != digest:
        raise ChecksumError(
            f"{where}: its content is not what was written: it is damaged or was changed. Get the checkpoint again; "
            "if it was changed on purpose, take 'sha256' out of it."
        )
    return content


def _upgraded(mapping: dict[str, Any], where: str) -> dict[str, Any]:
    """Return the content of a file of format 1 as format 2 has it."""
    rest = {key: value for key, value in mapping.items() if key != "input_spec"}
    config, architecture = mapping.get("config"), mapping.get("architecture")
    if not isinstance(config, dict) or not isinstance(architecture, str):
        return rest  # refused by the caller, naming key and type
    return {**rest, "config": registry.class_of(architecture, where).from_format_1(config, mapping.get("input_spec"))}
