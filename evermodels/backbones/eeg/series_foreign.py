"""What the foreign layouts of time-series models share: Time-Series-Library's encoder layers, Medformer's with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from evermodels.checkpoints.foreign_format import Fit, Request, axes
from evermodels.core.config import MOST_BLOCKS
from evermodels.core.errors import CheckpointError, ConfigError

PARTS = ("query", "key", "value")


def attention_keys(theirs: str, ours: str) -> dict[str, str]:
    r"""Return the names of an attention layer: three projections in the file, one in ours.

    Args:
        theirs: Regular expression of what stands before, with groups.
        ours: What stands before in ours, with ``\1`` and so on; the last group of the result is added here.

    Example:
        >>> list(attention_keys(r"a\.", r"b.").values())[0]
        'b.qkv.\\1@0'
    """
    group = rf"\{1 + theirs.count('(') - theirs.count('(?')}"
    return {
        **{rf"{theirs}{part}_projection\.(weight|bias)": rf"{ours}qkv.{group}@{k}" for k, part in enumerate(PARTS)},
        rf"{theirs}out_projection\.(weight|bias)": rf"{ours}proj.{group}",
    }


def layer_keys(theirs: str = r"encoder\.attn_layers\.(\d+)\.") -> dict[str, str]:
    """Return the names of Time-Series-Library's encoder layers besides attention.

    Args:
        theirs: Regular expression of what stands before, with one group, the layer's number.
    """
    return {
        theirs + r"conv([12])\.(weight|bias)": r"blocks.\1.mlp.fc\2.\3",
        theirs + r"norm([12])\.(weight|bias)": r"blocks.\1.norm\2.\3",
    }


def _pointwise(weight: Tensor, config: Any, facts: Mapping[str, Any], request: Request) -> tuple[Tensor, str]:
    """Take a convolution of one tap for the linear layer that it is."""
    del config, facts, request
    return (weight[:, :, 0], "") if weight.ndim == 3 and weight.shape[2] == 1 else (weight, "")


POINTWISE: dict[str, Fit] = {f"blocks.{k}.mlp.fc{i}.weight": _pointwise for k in range(MOST_BLOCKS) for i in (1, 2)}


def depth_of(tensors: Mapping[str, Tensor]) -> int:
    """Return how many blocks there are.

    Args:
        tensors: Tensors by our names.
    """
    return len({name.split(".")[1] for name in tensors if name.startswith("blocks.")})


def layer_facts(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return width, depth, hidden width and classes.

    Args:
        tensors: Tensors by our names.

    Raises:
        CheckpointError: If one that tells a size is absent.
    """
    hidden, dim = tensors["blocks.0.mlp.fc1.weight"].shape[:2] if "blocks.0.mlp.fc1.weight" in tensors else (0, 0)
    if not dim:
        raise CheckpointError("blocks.0.mlp.fc1.weight: expected in the foreign file. It holds another model.")
    return {
        "embed_dim": dim,
        "depth": depth_of(tensors),
        "mlp_ratio": hidden / dim,
        "num_classes": axes(tensors, "head.weight", 2)[0] if "head.weight" in tensors else 0,
    }


def asked(request: Request, key: str, default: int) -> int:
    """Return a size that the user gives; what is no whole number is refused with the configuration.

    Args:
        request: What is asked for.
        key: Name of the size.
        default: Its value otherwise.
    """
    value = request.config.get(key, default)
    return value if type(value) is int and value > 0 else default


def window_of(request: Request, why: str) -> int:
    """Return the window that the user gives, where the file does not tell it and it matters.

    Args:
        request: What is asked for.
        why: What hangs on it, for the message.

    Raises:
        ConfigError: If it is not given.
    """
    if "num_samples" not in request.config:
        raise ConfigError(
            f"num_samples: the file does not tell the window, and {why}. Say what it was trained on, with --set "
            "num_samples=T."
        )
    return asked(request, "num_samples", 1)


def keeps_head(facts: Mapping[str, Any], request: Request) -> bool:
    """Return whether the file has a head and as many classes are wanted.

    Args:
        facts: What the file says; has ``num_classes``.
        request: What is asked for.
    """
    return (
        bool(facts["num_classes"]) and request.config.get("num_classes", facts["num_classes"]) == facts["num_classes"]
    )


def channels_of_head(width: int, of_one: int, what: str) -> int:
    """Return the channels that a head over all tokens was made for.

    Args:
        width: Inputs of the head.
        of_one: Inputs that belong to one channel.
        what: What the number of them hangs on, for the message.

    Raises:
        ConfigError: If they do not divide.
    """
    if of_one < 1 or width % of_one:
        raise ConfigError(
            f"num_samples: the file's head has {width:,} inputs, which are no whole number of channels with "
            f"{of_one:,} of {what}. Say what windows it was trained on, with --set num_samples=T."
        )
    return width // of_one


def fit_head(
    weight: Tensor, config: Any, facts: Mapping[str, Any], request: Request, grid: tuple[int, int]
) -> tuple[Tensor, str]:
    """Bring a head over flattened (channel, width, token) to our order (channel, token, width).

    Args:
        weight: ``(classes, channels · width · tokens)``.
        config: The configuration; has ``in_chans`` and ``embed_dim``.
        facts: What the file says.
        request: Unused.
        grid: Channels and tokens of each.

    Raises:
        ConfigError: If it was made for other channels or windows.
    """
    del request
    dim: int = config.embed_dim
    channels, tokens = grid
    if weight.ndim != 2 or weight.shape[1] != channels * dim * tokens:
        raise ConfigError(
            f"head.weight: the file's head reads {weight.shape[-1]:,} numbers, those of {facts.get('in_chans')} "
            f"channels, and {channels} channels with {tokens} tokens have {channels * dim * tokens:,}. It cannot be "
            "carried over: take the encoder alone with --num-classes 0."
        )
    weight = weight.unflatten(1, (channels, dim, tokens)).transpose(2, 3).flatten(1)
    return weight, "columns in the order of channel, token, width" if tokens > 1 else ""
