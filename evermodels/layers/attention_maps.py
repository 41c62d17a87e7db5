"""Attention weights of any model, which its forward pass never holds."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from evermodels.core.errors import ConfigError


def attention_maps(model: nn.Module, *inputs: Any, **named: Any) -> dict[str, Tensor]:
    """Run a model, and return the weights of each of its attentions by the name of the layer.

    The fused attention of PyTorch never makes these weights; here each layer that has a method ``attention_weights``,
    as :class:`SelfAttention` has, is asked for them once more with the inputs that reach it. The weights are those of
    the pass itself, without dropout; they take memory with the square of the number of tokens.

    Args:
        model: Any model with such layers; its mode (``eval``) stays as it is.
        *inputs: What its ``forward`` takes.
        **named: What it takes by name.

    Returns:
        By name of the layer, in order of their calls, mostly ``(batch, heads, queries, keys)``. A layer that is called
        several times is there with its last call.

    Raises:
        ConfigError: If the model has no such layer.

    Example:
        >>> import torch
        >>> from evermodels.layers import TransformerBlock
        >>> maps = attention_maps(TransformerBlock(96, 3), torch.randn(2, 10, 96))
        >>> {name: weights.shape for name, weights in maps.items()}
        {'attn': torch.Size([2, 3, 10, 10])}
    """
    found: dict[str, Tensor] = {}
    layers = {
        name: layer for name, layer in model.named_modules() if callable(getattr(layer, "attention_weights", None))
    }
    if not layers:
        raise ConfigError(
            f"model: {type(model).__name__} has no layer whose attention weights could be asked for "
            "(a method attention_weights, as evermodels.layers.SelfAttention has)."
        )

    def keep(name: str) -> Any:
        def hook(layer: Any, args: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
            del output
            found[name] = layer.attention_weights(*args, **named)

        return hook

    handles = [layer.register_forward_hook(keep(name), with_kwargs=True) for name, layer in layers.items()]
    try:
        model(*inputs, **named)
    finally:
        for handle in handles:
            handle.remove()
    return found
