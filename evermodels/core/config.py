"""Configurations: frozen dataclasses that refuse unknown keys, wrong types and impossible values."""

from __future__ import annotations

import dataclasses
import functools
import sys
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from typing_extensions import Self

from evermodels.core.errors import ConfigError, did_you_mean, quoted, shorten


@functools.cache
def _field_types(cls: type) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    return {f.name: hints[f.name] for f in dataclasses.fields(cls) if f.init}


def _describe(annotation: Any) -> str:  # noqa: PLR0911 - one branch a kind of annotation
    if annotation is type(None):
        return "None"
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_describe(a) for a in args)
    if origin is typing.Literal:
        return "one of " + ", ".join(repr(a) for a in args)
    if origin is tuple:
        if len(args) == 2 and args[1] is Ellipsis:
            return f"a list of {_describe(args[0])}"
        return "[" + ", ".join(_describe(a) for a in args) + "]"
    if origin in (dict, Mapping):
        return "a mapping"
    name: str = getattr(annotation, "__name__", str(annotation))
    return "a table" if name.startswith("_") else name  # a class that users never name


def _holds_configs(value: Any, annotation: Any) -> bool:
    if isinstance(value, (list, tuple)) and typing.get_origin(annotation) is tuple:
        return dataclasses.is_dataclass(typing.get_args(annotation)[0])
    return isinstance(value, Mapping) and dataclasses.is_dataclass(annotation)


def _coerce(value: Any, annotation: Any, where: str) -> Any:  # noqa: PLR0911, PLR0912 - one branch a kind of annotation
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)

    def wrong() -> ConfigError:  # made when it is needed: to write a value out can cost much
        kind = type(value).__name__
        return ConfigError(f"{where}: expected {_describe(annotation)}, got {quoted(value)} ({kind}).")

    if annotation is Any:
        return value
    if annotation is type(None):
        if value is None:
            return None
        raise wrong()
    if origin in (typing.Union, types.UnionType):
        for option in args:
            try:
                return _coerce(value, option, where)
            except ConfigError as error:
                # A nested config or list names its own key, which says more than the union's summary.
                if _holds_configs(value, option):
                    raise error
        raise wrong()
    if origin is typing.Literal:
        if any(value == a and type(value) is type(a) for a in args):
            return value
        raise ConfigError(
            f"{where}: expected one of {', '.join(repr(a) for a in args)}, got {quoted(value)}."
            f"{did_you_mean(value, [str(a) for a in args])}"
        )
    if origin is tuple:
        if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, (list, tuple)):
            raise wrong()
        if len(args) == 2 and args[1] is Ellipsis:
            return tuple(_coerce(v, args[0], f"{where}[{i}]") for i, v in enumerate(value))
        if len(value) != len(args):
            raise wrong()
        return tuple(_coerce(v, a, f"{where}[{i}]") for i, (v, a) in enumerate(zip(value, args, strict=True)))
    if origin in (dict, Mapping):
        if not isinstance(value, Mapping) or not all(isinstance(k, str) for k in value):
            raise wrong()
        return {k: _coerce(v, args[1], f"{where}.{shorten(k)}") for k, v in value.items()} if args else dict(value)
    if dataclasses.is_dataclass(annotation) and isinstance(annotation, type):
        if isinstance(value, annotation):
            return value
        if isinstance(value, Mapping) and issubclass(annotation, Config):
            return annotation.from_dict(value, where=where)
        raise wrong()
    if annotation is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        # An int beyond the largest float compares as finite, but cannot become one.
        if not -sys.float_info.max <= value <= sys.float_info.max:
            raise ConfigError(f"{where}: expected a finite number, got {quoted(value)}.")
        return float(value)
    if annotation is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if annotation in (bool, str) and isinstance(value, annotation):
        return value
    raise wrong()


def _plain(value: Any) -> Any:
    if isinstance(value, Config):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value


MOST_CLASSES = 100_000
"""Classes of a head; more is a mistake that would ask for all memory."""

MOST_BLOCKS = 1000
"""Blocks of any stack; more is a mistake that would be built for hours."""


def check_num_classes(value: Any, where: str = "num_classes") -> None:
    """Refuse what cannot be a number of classes, before memory is asked for.

    Args:
        value: What was given.
        where: A name for the message.

    Raises:
        ConfigError: If it is no whole number from 0 (the embedding) to :data:`MOST_CLASSES`.

    Example:
        >>> check_num_classes(10**12)
        Traceback (most recent call last):
            ...
        evermodels.core.errors.ConfigError: num_classes: expected 0 (the embedding) to 100,000, got 1000000000000.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST_CLASSES:
        raise ConfigError(f"{where}: expected 0 (the embedding) to {MOST_CLASSES:,}, got {quoted(value)}.")


@dataclasses.dataclass(frozen=True)
class Config:
    """Base of every configuration.

    A subclass is a ``@dataclass(frozen=True)`` with annotated fields of plain types (``int``, ``float``, ``bool``,
    ``str``, ``None``, ``Literal``, tuples, mappings, other configs). Types are checked on construction, lists become
    tuples, and :meth:`check` may refuse impossible values.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass(frozen=True)
        ... class Encoder(Config):
        ...     embed_dim: int = 192
        >>> Encoder.from_dict({"embed_dim": 64}).embed_dim
        64
        >>> Encoder.from_dict({"embed_dmi": 64})
        Traceback (most recent call last):
            ...
        evermodels.core.errors.ConfigError: Encoder: unknown key 'embed_dmi'. Did you mean 'embed_dim'? ...
    """

    def __post_init__(self) -> None:
        """Check every field's type, then the values."""
        cls: type = type(self)
        for name, annotation in _field_types(cls).items():
            where = f"{cls.__name__}.{name}"
            object.__setattr__(self, name, _coerce(getattr(self, name), annotation, where))
        self._check_counts()
        self.check()

    def _check_counts(self) -> None:
        """Refuse heads and stacks without end: blocks are built one by one even where they take no memory."""
        cls: type = type(self)
        for name in _field_types(cls):
            value = getattr(self, name)
            if name == "num_classes" and value is not None:
                check_num_classes(value, f"{cls.__name__}.num_classes")
            if name.endswith(("depth", "depths")) and value is not None:
                if max(value if isinstance(value, tuple) else (value,), default=0) > MOST_BLOCKS:
                    raise self.refuse(name, f"at most {MOST_BLOCKS} blocks")

    def check(self) -> None:
        """Raise a :class:`ConfigError` for values that cannot work together; does nothing by default."""

    def at_least(self, least: int, *keys: str) -> None:
        """Refuse numbers that are too small, in tuples too; ``None`` is let through.

        Args:
            least: The least of them.
            *keys: Names of the fields.

        Raises:
            ConfigError: If one is smaller.
        """
        for key in keys:
            value = getattr(self, key)
            numbers = value if isinstance(value, tuple) else () if value is None else (value,)
            if any(number < least for number in numbers):
                raise self.refuse(key, f"at least {least}")

    def positive(self, *keys: str) -> None:
        """Refuse numbers that are not above 0.

        Args:
            *keys: Names of the fields.

        Raises:
            ConfigError: If one is not.
        """
        for key in keys:
            if not getattr(self, key) > 0:
                raise self.refuse(key, "a positive number")

    def rates(self, *keys: str) -> None:
        """Refuse rates that are none.

        Args:
            *keys: Names of the fields.

        Raises:
            ConfigError: If one is not in [0, 1).
        """
        for key in keys:
            if not 0 <= getattr(self, key) < 1:
                raise self.refuse(key, "a number in [0, 1)")

    def refuse(self, key: str, allowed: str) -> ConfigError:
        """Return the error for an impossible value of ``key``.

        Args:
            key: The field's name.
            allowed: What would be accepted.
        """
        return ConfigError(f"{type(self).__name__}.{key}: expected {allowed}, got {quoted(getattr(self, key))}.")

    @classmethod
    def from_dict(cls, mapping: Mapping[str, Any], *, where: str | None = None) -> Self:
        """Build the configuration from a mapping, for example from JSON.

        Args:
            mapping: Values by key.
            where: A name for the messages (default: the class's).

        Raises:
            ConfigError: For an unknown or missing key, a wrong type, or an impossible value.
        """
        where = where or cls.__name__
        if not isinstance(mapping, Mapping):
            raise ConfigError(f"{where}: expected a mapping, got {type(mapping).__name__}.")
        fields = {f.name: f for f in dataclasses.fields(cls) if f.init}
        cls.refuse_unknown(mapping, fields, where=where)
        for key, field in fields.items():
            no_default = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
            if no_default and key not in mapping:
                raise ConfigError(f"{where}: missing key {key!r}.")
        try:
            return cls(**mapping)
        except ConfigError as error:
            said = str(error)
            if not cls.__name__.startswith("_") or not said.startswith(f"{cls.__name__}."):
                raise
            # A class that users never name: the message names where its values stand.
            raise ConfigError(where + said[len(cls.__name__) :]) from error

    @classmethod
    def refuse_unknown(cls, mapping: Mapping[str, Any], known: Iterable[str], *, where: str | None = None) -> None:
        """Refuse a key that is not known.

        Args:
            mapping: Values by key.
            known: The keys that are.
            where: A name for the message (default: the class's).

        Raises:
            ConfigError: If there is one, naming what is close and what is allowed.
        """
        known = sorted(known)
        for key in mapping:
            if key not in known:
                raise ConfigError(
                    f"{where or cls.__name__}: unknown key {quoted(key)}.{did_you_mean(key, known)} "
                    f"Allowed: {', '.join(known)}."
                )

    @classmethod
    def keys(cls) -> set[str]:
        """Names that :meth:`replace` takes."""
        return {f.name for f in dataclasses.fields(cls) if f.init}

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as plain JSON types."""
        return {f.name: _plain(getattr(self, f.name)) for f in dataclasses.fields(self) if f.init}

    def replace(self, /, **changes: Any) -> Self:
        """Return a copy with some values changed, checked again.

        Args:
            **changes: New values by key; where a configuration stands, a mapping changes values inside it.

        Raises:
            ConfigError: For an unknown key, a wrong type, or an impossible value.
        """
        return type(self).from_dict(self.changed(**changes))

    def changed(self, /, **changes: Any) -> dict[str, Any]:
        """Return all values after a change, before they are checked.

        Args:
            **changes: As :meth:`replace` takes them.
        """
        now = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.init}
        return {**now, **{k: merged(now.get(k), change) for k, change in changes.items()}}


def merged(value: Any, change: Any) -> Any:
    """Put a change into a value: into a configuration key by key, also where configurations stand in a mapping.

    Args:
        value: What stands there.
        change: What comes.
    """
    if not isinstance(change, Mapping):
        return change
    if isinstance(value, Config):
        return value.replace(**change)
    if isinstance(value, Mapping) and value and all(isinstance(v, Config) for v in value.values()):
        return {**value, **{k: merged(value.get(k), v) for k, v in change.items()}}
    return change
