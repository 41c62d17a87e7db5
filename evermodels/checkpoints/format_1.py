"""Checkpoint format 1, in which the input spec stood beside the configuration and could contradict it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from evermodels.core.errors import ConfigError, quoted
from evermodels.core.specs import InputSpec

_TAKEN = ("eeg", "video")
_WAY_OUT = "Use the config.json that was written together with the weights."


def check_agreement(given: Mapping[str, Any] | None, own: InputSpec | None) -> None:
    """Refuse an input spec of format 1 that would prepare recordings in another way than its configuration says.

    Args:
        given: The input spec of the file.
        own: What follows from the configuration.

    Raises:
        ConfigError: If they contradict each other, naming both.
    """
    if given is None:
        return
    if not isinstance(given, Mapping):
        raise ConfigError(f"input_spec: expected a mapping or null, got {quoted(given)}.")
    InputSpec.refuse_unknown(given, _TAKEN, where="input_spec")
    own = own or InputSpec()
    for name in _TAKEN:
        ours, theirs = getattr(own, name), given.get(name)
        if (theirs is None) != (ours is None):
            words = ("null", "a mapping") if theirs is None else ("a mapping", "null")
            raise ConfigError(
                f"input_spec.{name}: {words[0]} contradicts config, from which follows {words[1]}. {_WAY_OUT}"
            )
        if ours is None or theirs is None:
            continue
        if not isinstance(theirs, Mapping):
            raise ConfigError(f"input_spec.{name}: expected a mapping or null, got {quoted(theirs)}.")
        theirs = dict(theirs)
        length = theirs.pop("window_seconds", own.window_seconds)
        checked = type(ours).from_dict(theirs, where=f"input_spec.{name}")
        pairs = {f.name: (getattr(checked, f.name), getattr(ours, f.name)) for f in fields(ours)}
        for key, (a, b) in {"window_seconds": (length, own.window_seconds), **pairs}.items():
            if a != b:
                raise ConfigError(
                    f"input_spec.{name}.{key}: {quoted(a)} contradicts config, from which follows {quoted(b)}. "
                    f"{_WAY_OUT}"
                )
