"""The selective scan of Mamba: a linear recurrence whose step, input and output depend on the input."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from evermodels.core.errors import ConfigError, ShapeError, check_axes, did_you_mean, require
from evermodels.functional._scan_op import scan_forward

_BACKENDS = ("auto", "torch", "cuda")


def selective_scan(  # noqa: PLR0917 - mamba-ssm's signature
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    return_last_state: bool = False,
    *,
    backend: Literal["auto", "torch", "cuda"] = "auto",
) -> Tensor | tuple[Tensor, Tensor]:
    """Run the selective state-space recurrence over time, linear in its length.

    Gu and Dao, *Mamba: Linear-Time Sequence Modeling with Selective State Spaces* (2023), section 3, equations 2 and 4
    with the simplified discretisation of B; signature and meaning of the arguments are mamba-ssm's::

        Δ_t = softplus(delta_t + delta_bias)
        h_t = exp(Δ_t A) h_{t-1} + Δ_t B_t u_t,      h_0 = 0
        y_t = (C_t · h_t + D u_t) silu(z_t)

    One registered operator (``evermodels::selective_scan``) with its own backward, which keeps the inputs and a state
    every few steps and recomputes the rest, so memory grows with ``batch · channels · length`` and never with the
    state size; ``torch.compile`` and ``torch.export`` see one node. It computes in float32, under autocast and for half
    types too; in float64 if any argument is. It has no second derivative.

    Args:
        u: Input, ``(batch, channels, length)``.
        delta: Step sizes before bias and softplus, ``(batch, channels, length)``.
        A: State matrix (its diagonal), real, usually negative, ``(channels, state)``.
        B: Input projection: ``(channels, state)`` constant, ``(batch, state, length)``, or
            ``(batch, groups, state, length)`` where each group serves ``channels / groups`` neighbouring channels.
        C: Output projection, in any of the forms of ``B``.
        D: Skip weight, ``(channels,)``; default none.
        z: Gate, ``(batch, channels, length)``; default none.
        delta_bias: Added to ``delta``, ``(channels,)``; default none.
        delta_softplus: Whether softplus is applied to the step sizes; default ``False``.
        return_last_state: Whether the state after the last step is returned too; default ``False``. Its gradient is
            taken into account, unlike in mamba-ssm's kernel.
        backend: ``"auto"`` and ``"torch"`` (this operator, on the CPU and on CUDA), or ``"cuda"`` (mamba-ssm's compiled
            kernel).

    Returns:
        y, ``(batch, channels, length)``, in ``u``'s dtype; with ``return_last_state`` also the last state,
        ``(batch, channels, state)``, in the computing dtype.

    Raises:
        ShapeError: If an argument's axes do not fit those of ``u`` and ``A``.
        ConfigError: If a tensor is complex or of integers, or the backend does not exist or cannot take the tensors.
        MissingExtraError: If ``backend="cuda"`` and mamba-ssm cannot be imported.

    Example:
        >>> import torch
        >>> u, delta = torch.ones(1, 1, 3), torch.full((1, 1, 3), 1.0)
        >>> A = torch.tensor([[-math.log(2.0)]])  # the state halves with each step
        >>> B = C = torch.ones(1, 1, 3)
        >>> selective_scan(u, delta, A, B, C)
        tensor([[[1.0000, 1.5000, 1.7500]]])
    """
    _check(u, delta, A, B, C, D, z, delta_bias)
    if backend not in _BACKENDS:
        raise ConfigError(
            f"backend: expected one of {', '.join(map(repr, _BACKENDS))}, got {backend!r}."
            f"{did_you_mean(backend, _BACKENDS)}"
        )
    if backend == "cuda":
        kernel = require(
            "mamba_ssm.ops.selective_scan_interface", extra="cuda", purpose="scan with backend='cuda'"
        ).selective_scan_fn
        if not u.is_cuda:
            raise ConfigError(
                f"backend: 'cuda' needs CUDA tensors, u is on {u.device}. Move them, or use backend='torch'."
            )
        return kernel(u, delta, A, B, C, D, z, delta_bias, delta_softplus, return_last_state)

    given = (x for x in (u, delta, A, B, C, D, z, delta_bias) if x is not None)
    dtype = torch.float64 if any(x.dtype == torch.float64 for x in given) else torch.float32
    B, C = _same_groups(B, C)
    y, last_state, _ = scan_forward(
        *(x.to(dtype) for x in (u, delta, A, B, C)),
        *(None if x is None else x.to(dtype) for x in (D, z, delta_bias)),
        delta_softplus,
    )
    y = y.to(u.dtype)
    return (y, last_state) if return_last_state else y


def _same_groups(B: Tensor, C: Tensor) -> tuple[Tensor, Tensor]:
    """Give B and C a group axis, and both the same number of groups where they vary in time."""
    B = B.unsqueeze(1) if B.dim() == 3 else B
    C = C.unsqueeze(1) if C.dim() == 3 else C
    if B.dim() == C.dim() == 4 and B.shape[1] != C.shape[1]:
        groups = math.lcm(B.shape[1], C.shape[1])
        B = B.repeat_interleave(groups // B.shape[1], dim=1)
        C = C.repeat_interleave(groups // C.shape[1], dim=1)
    return B, C


def _check(  # noqa: PLR0917 - the function's own arguments
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    delta_bias: Tensor | None,
) -> None:
    check_axes("u", u, "batch channels length")
    batch, channels, length = u.shape
    check_axes("delta", delta, "batch channels length", batch=batch, channels=channels, length=length)
    check_axes("A", A, "channels state", channels=channels)
    state = A.shape[1]
    for name, x in (("B", B), ("C", C)):
        if isinstance(x, Tensor) and x.dim() == 2:
            check_axes(name, x, "channels state", channels=channels, state=state)
        elif isinstance(x, Tensor) and x.dim() == 4:
            check_axes(name, x, "batch groups state length", batch=batch, state=state, length=length)
            if channels % x.shape[1]:
                raise ShapeError(
                    f"{name}: expected a number of groups that divides the {channels} channels of u, "
                    f"got groups={x.shape[1]} (shape {tuple(x.shape)}). Give each group the same number of channels."
                )
        else:
            check_axes(name, x, "batch state length", batch=batch, state=state, length=length)
    for name, vector in (("D", D), ("delta_bias", delta_bias)):
        if vector is not None:
            check_axes(name, vector, "channels", channels=channels)
    if z is not None:
        check_axes("z", z, "batch channels length", batch=batch, channels=channels, length=length)
    named = {"u": u, "delta": delta, "A": A, "B": B, "C": C, "D": D, "z": z, "delta_bias": delta_bias}
    for name, tensor in named.items():
        if tensor is None:
            continue
        if not tensor.is_floating_point():
            raise ConfigError(
                f"{name}: expected a real floating-point tensor, got {tensor.dtype}. Complex state matrices are not "
                "supported; use the real diagonal form (Mamba's own), or convert with .float()."
            )
        if tensor.device != u.device:
            raise ConfigError(
                f"{name}: expected to be on u's device {u.device}, got {tensor.device}. Move it with .to(u.device)."
            )
