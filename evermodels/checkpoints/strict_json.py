"""JSON read and written strictly: what is read is one object of finite values, what is written has a stable layout."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from evermodels.core.errors import ConfigError, shorten

_DEEPEST = 50


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
