"""``config.json``: what a checkpoint says about itself, read strictly."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch

from evermodels.checkpoints.card import CardInfo
from evermodels.checkpoints.verify import FileDigest
from evermodels.core import registry
from evermodels.core.config import Config
from evermodels.core.errors import ChecksumError, ConfigError, UnknownNameError, did_you_mean, quoted, shorten
from evermodels.core.factors import Factor, check_factors
from evermodels.core.specs import InputSpec
from evermodels.core.text import LABEL_RULE, doubled, is_label

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"
CARD_NAME = "README.md"

FORMAT_VERSION = 2
"""What is written; format 1, in which the input spec stood beside the config, is still read."""
_DEEPEST = 50

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
        cls = class_of(self.architecture, CONFIG_NAME)
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


def parse_json(data: bytes, where: str) -> dict[str, Any]:
    """Parse a JSON object strictly: UTF-8, no doubled key, no NaN, no bottomless nesting.

    Args:
        data: The bytes of the file.
        where: The file, for the message.

    Raises:
        ConfigError: If it is anything else.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            doubled = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
            raise ConfigError(f"{where}: the key {doubled!r} stands there twice. Keep one.")
        return result

    def refuse(constant: str) -> Any:
        raise ConfigError(f"{where}: {constant} is not JSON. Write a finite number or null.")

    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=unique, parse_constant=refuse)
        if b"\\u" in data:
            json.dumps(value, ensure_ascii=False).encode("utf-8")  # half a character could be neither shown nor saved
    except ConfigError:
        raise
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            f"{where}: expected JSON, got {data[:40]!r}… ({error}). "
            "The file is damaged or something else: get the checkpoint again."
        ) from error
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: expected a JSON object, got {type(value).__name__}.")
    level: list[Any] = [value]
    for _ in range(_DEEPEST):
        level = [v for one in level for v in (one.values() if isinstance(one, dict) else one)]
        level = [v for v in level if isinstance(v, (dict, list))]
        if not level:
            return value
    raise ConfigError(f"{where}: nested deeper than {_DEEPEST} levels. This is not a file of ours.")


def dump_json(value: Mapping[str, Any], where: str) -> bytes:
    """Return a mapping as JSON text of stable layout, and refuse what JSON cannot hold.

    Args:
        value: The mapping.
        where: What it is, for the message.

    Raises:
        ConfigError: For a value that is not plain JSON, or a number that is not finite.
    """
    try:
        return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8")
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(
            f"{where}: expected plain JSON values (numbers, strings, lists, mappings; nested {_DEEPEST} deep at most): "
            f"{shorten(str(error))}. Convert tensors and arrays with .tolist() or float()."
        ) from error


def content_digest(content: Mapping[str, Any]) -> str:
    """Return the sha256 of a ``config.json`` without its own ``sha256``, whatever its layout and order of keys.

    Args:
        content: The mapping.

    Example:
        >>> content_digest({"a": 1, "b": [2]}) == content_digest({"b": [2], "a": 1, "sha256": "…"})
        True
    """
    rest = {key: value for key, value in content.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode("ascii")).hexdigest()


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
    return {**rest, "config": class_of(architecture, where).from_format_1(config, mapping.get("input_spec"))}


def class_of(architecture: str, where: str) -> Any:
    """Return the class behind a checkpoint's ``architecture``, from the closed table only.

    Args:
        architecture: A name of the model table, or a class's name in it.
        where: The file, for the message.

    Raises:
        ConfigError: If the table has no such name.
    """
    names = {row.class_name: name for name, row in reversed(registry.MODELS.items())}
    name = architecture if architecture in registry.MODELS else names.get(architecture)
    if name is None:
        raise ConfigError(
            f"{where}: architecture: {architecture!r} does not exist."
            f"{did_you_mean(architecture, [*registry.MODELS, *names])} evermodels.list_models() shows them all; "
            "a newer evermodels may have it."
        )
    return registry.model_class(name)
