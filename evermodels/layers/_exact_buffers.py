"""Buffers that are computed from a module's arguments: not saved, rebuilt after a load, rounded by no cast."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from typing_extensions import Self


class ExactBuffers(nn.Module):
    """Base of modules whose buffers follow from their arguments.

    A subclass defines :meth:`exact_buffers` and calls :meth:`register_exact_buffers` at the end of its constructor.
    Floating-point buffers are float32, or float64 in a float64 module; ``.half()`` leaves them in float32.
    """

    def exact_buffers(self, dtype: torch.dtype, device: torch.device | None) -> dict[str, Tensor]:
        """Compute the buffers.

        Args:
            dtype: Type of those in floating point.
            device: Where they go; ``None`` for the default.

        Returns:
            The buffers by name.
        """
        raise NotImplementedError

    def register_exact_buffers(self, dtype: torch.dtype = torch.float32, device: torch.device | None = None) -> None:
        """Compute the buffers and keep them, out of the state dict."""
        for name, buffer in self.exact_buffers(dtype, device).items():
            self.register_buffer(name, buffer, persistent=False)

    def reset_buffers(self) -> None:
        """Compute the buffers again, on their device (on the CPU where they were on ``meta``)."""
        dtype, device = self._kind()
        self.register_exact_buffers(dtype, torch.device("cpu") if device.type == "meta" else device)

    def _kind(self) -> tuple[torch.dtype, torch.device]:
        buffers = list(self.buffers(recurse=False))
        double = any(buffer.dtype == torch.float64 for buffer in buffers)
        return torch.float64 if double else torch.float32, buffers[0].device

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)
        self.register_exact_buffers(*self._kind())
        return self
