"""Whether the input spec that a checkpoint gives agrees with the one that follows from its config."""

from __future__ import annotations

import dataclasses

from evermodels.core.config import Config
from evermodels.core.errors import ConfigError, quoted
from evermodels.core.specs import InputSpec

_SIZES = {"ch_names", "sfreq", "num_frames", "size"}
"""What the weights were made for, whether or not the config has it by this name."""


def check_agreement(given: InputSpec, own: InputSpec | None, config: Config, where: str) -> None:
    """Refuse an input spec that would prepare recordings in another way than the config says.

    Only what the config does not know may differ, such as the colours that a video encoder was trained on.

    Args:
        given: The input spec of the checkpoint, or of the model that is saved.
        own: That of a fresh model of the same config; ``None`` where it has none, and any is allowed.
        config: The config.
        where: The file, or what is done, for the message.

    Raises:
        ConfigError: If they contradict each other, naming both.
    """
    if own is None:
        return
    for field in dataclasses.fields(InputSpec):
        theirs, ours = getattr(given, field.name), getattr(own, field.name)
        if (theirs is None) != (ours is None):
            words = ("null", "a mapping") if theirs is None else ("a mapping", "null")
            raise ConfigError(
                f"{where}: input_spec.{field.name}: {words[0]} contradicts config, from which follows {words[1]}. "
                f"{_WAY_OUT}"
            )
        for key in [] if theirs is None else [f.name for f in dataclasses.fields(theirs)]:
            a, b = getattr(theirs, key), getattr(ours, key)
            if a != b and (key in _SIZES or hasattr(config, key)):
                raise ConfigError(
                    f"{where}: input_spec.{field.name}.{key}: {quoted(a)} contradicts config, from which follows "
                    f"{quoted(b)}. {_WAY_OUT}"
                )


_WAY_OUT = (
    "Use the config.json that was written together with the weights; for another preparation, build the model with it: "
    "create_model(name, key=value)."
)
