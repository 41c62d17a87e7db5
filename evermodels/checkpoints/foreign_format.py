"""How a family declares the layouts of foreign weights that it understands."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from evermodels.core.errors import CheckpointError, ConfigError, quoted
from evermodels.core.text import LABEL_RULE, doubled, is_label


@dataclass(frozen=True)
class Request:
    """What the user asks of a conversion beyond the architecture.

    Args:
        config: Configuration values that the user gives.
        source_size: Height and width of the inputs that the file was trained on, where the file does not say.
        spread_channels: Whether the patch embedding may be spread over another number of input channels.
    """

    config: Mapping[str, Any] = field(default_factory=dict)
    source_size: tuple[int, int] | None = None
    spread_channels: bool = False


Fit = Callable[[Tensor, Any, Mapping[str, Any], Request], "tuple[Tensor, str]"]
"""Fits a tensor of a file to a model: tensor, configuration (of the format's own class), facts, what was asked."""


@dataclass(frozen=True)
class ForeignFormat:
    r"""One layout of foreign weights that a family understands, declared beside the family.

    Args:
        name: Name for ``--format``.
        summary: Whose layout it is, for people and the card.
        published: Licences of the weights that are published in it: a hint, never assumed.
        sign: Regular expression; a file that has a name that it matches wholly is in this layout.
        keys: Our name by regular expression of the foreign name, with groups as ``\1``. ``name@k`` is part k of a
            tensor whose parts are concatenated along the first axis.
        facts: Returns the configuration values (and ``classes``) that the file fixes, from its tensors by our names,
            its ``config.json`` and the request.
        left: Reason by regular expression of the foreign names that have no place in our model.
        fresh: Reason by prefix of our names that the file may lack and that keep their initial values, given our names
            that it has.
        fit: By our name, what makes the tensor fit the configuration; returns the tensor and what was done to it.
        unread: Configuration keys that the file does not tell, by the key that they hang on.
        needs_config: Whether ``config.json`` must stand beside the weights.
        asks_size: Whether the size of the inputs may have to be said (``source_size``), as positions alone do not tell.
    """

    name: str
    summary: str
    published: str
    sign: str
    keys: Mapping[str, str]
    facts: Callable[[Mapping[str, Tensor], Mapping[str, Any], Request], dict[str, Any]]
    left: Mapping[str, str] = field(default_factory=dict)
    fresh: Callable[[Collection[str]], Mapping[str, str]] = lambda names: {}
    fit: Mapping[str, Fit] = field(default_factory=dict)
    unread: Mapping[str, str] = field(default_factory=dict)
    needs_config: bool = False
    asks_size: bool = False


def axes(tensors: Mapping[str, Tensor], name: str, count: int) -> tuple[int, ...]:
    """Return the shape of a foreign tensor that a family reads its sizes from.

    Args:
        tensors: Tensors by our names.
        name: Our name.
        count: Number of axes it must have.

    Raises:
        CheckpointError: If it is absent or has another number of axes.

    Example:
        >>> import torch
        >>> axes({"head.weight": torch.zeros(5, 16)}, "head.weight", 2)
        (5, 16)
    """
    shape = tuple(tensors[name].shape) if name in tensors else None
    if shape is None or len(shape) != count or not all(shape):
        raise CheckpointError(
            f"{name}: expected a tensor of {count} axes in the foreign file, got {shape or 'none'}. "
            "The file holds another model, or only a part of one."
        )
    return shape


def spread_channels(weight: Tensor, config: Any, facts: Mapping[str, Any], request: Request) -> tuple[Tensor, str]:
    """Fit a patch embedding to another number of input channels: their sum over the file's, divided evenly.

    When all channels hold the same picture, the tokens are those of the file's own. It is a start for fine-tuning and
    not what the file was trained for, so it happens only when asked for.

    Args:
        weight: Weights ``(dim, channels, …)``.
        config: The configuration; has ``in_chans``.
        facts: Unused.
        request: Says whether it was asked for.

    Raises:
        ConfigError: If it is needed and was not asked for.
    """
    del facts
    return spread_to(weight, config.in_chans, request)


def spread_to(weight: Tensor, want: int, request: Request) -> tuple[Tensor, str]:
    """Fit a patch embedding to a number of input channels; see :func:`spread_channels`.

    Args:
        weight: Weights ``(dim, channels, …)``.
        want: Channels that the model has.
        request: Says whether it was asked for.

    Raises:
        ConfigError: If it is needed and was not asked for.
    """
    have = weight.shape[1]
    if have == want:
        return weight, ""
    if not request.spread_channels:
        raise ConfigError(
            f"in_chans: expected {have} as in the file, got {want}. Leave it out, or ask for the patch embedding to be "
            "spread over the channels with --spread-channels (spread_channels=True): a start for fine-tuning only."
        )
    spread = weight.sum(1, keepdim=True) / want
    return spread.expand(-1, want, *weight.shape[2:]).contiguous(), f"{have} -> {want} input channels, spread evenly"


def transformers_classes(
    config: Mapping[str, Any], kind: str, num_classes: int, *, hidden_act: Sequence[str] = ("gelu",)
) -> dict[str, Any]:
    """Check whose ``config.json`` of transformers it is, and return its classes' names under ``"classes"``, if any.

    Args:
        config: What stands in it.
        kind: The ``model_type`` that is expected.
        num_classes: Classes of the file's head.
        hidden_act: The activations that our model has.

    Raises:
        CheckpointError: If it is of another model, has another activation, or a name that is no label.

    Example:
        >>> config = {"model_type": "vit", "hidden_act": "gelu", "id2label": {"0": "calm", "1": "tense"}}
        >>> transformers_classes(config, "vit", 2)
        {'classes': ['calm', 'tense']}
    """
    for key, want in (("model_type", (kind,)), ("hidden_act", hidden_act)):
        if key not in config:
            raise CheckpointError(
                f"config.json: no {key!r}. Give the folder as transformers' save_pretrained wrote it."
            )
        if config[key] not in want:
            raise CheckpointError(
                f"config.json: {key}: expected {' or '.join(map(repr, want))}, got {quoted(config[key])}, which our "
                "model has not."
            )
    labels = config.get("id2label")
    if not isinstance(labels, Mapping) or labels.keys() != {str(k) for k in range(num_classes)}:
        return {}
    classes = [labels[str(k)] for k in range(num_classes)]
    if not classes or classes[0] == "LABEL_0":  # which transformers puts for no name
        return {}
    wrong = [name for name in classes if not is_label(name)] or doubled(classes)
    if wrong:
        raise CheckpointError(
            f"config.json: id2label: expected {LABEL_RULE}, each once, got {quoted(wrong[0])}. Correct it there, or "
            "take id2label out."
        )
    return {"classes": classes}
