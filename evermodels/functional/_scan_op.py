"""The registered operator under :func:`evermodels.functional.selective_scan`: forward, backward, fake kernels.

Layout. Inside, time comes before channels and channels are innermost, ``(batch, time, groups, state, channels)``, so
that each step is one fused, vectorised operation on contiguous memory. Time is walked in short chunks that stay in the
processor's cache: the decays and inputs of a chunk are computed at once, then its steps run in place. The forward keeps
only the state at each chunk's start (no more than the size of ``u``); the backward recomputes a chunk's states from it
and runs the chunk in reverse.
"""

# ruff: noqa: PLR0917 - operators take their tensors by position

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from evermodels.functional._precision import without_autocast

_STEP_ELEMENTS = 32768  # a step of the state this large fits the caches and stays below torch's threading threshold


def chunk_length(state_size: int) -> int:
    """Time steps per chunk: at least the state size, so that the saved states are no larger than ``u``."""
    return max(16, state_size)


def _number_of_chunks(length: int, state_size: int) -> int:
    chunk = chunk_length(state_size)
    return (length + chunk - 1) // chunk


def _number_of_groups(B: Tensor, C: Tensor) -> int:
    """Groups of channels that share B or C; one where both are constant in time."""
    return next((x.shape[1] for x in (B, C) if x.dim() == 4), 1)


def _by_time(x: Tensor, groups: int) -> Tensor:
    """``(batch, channels, time)`` -> contiguous ``(batch, time, groups, 1, channels / groups)``."""
    batch, channels, length = x.shape
    return x.transpose(1, 2).contiguous().view(batch, length, groups, 1, channels // groups)


def _from_time(x: Tensor) -> Tensor:
    """``(batch, time, …)`` whose rest holds the channels -> ``(batch, channels, time)``, a view."""
    return x.flatten(2).transpose(1, 2)


def _constant(x: Tensor, groups: int) -> Tensor:
    """``(channels, state)`` -> contiguous ``(groups, state, channels / groups)``."""
    return x.view(groups, -1, x.shape[1]).transpose(1, 2).contiguous()


def _from_constant(x: Tensor) -> Tensor:
    """Inverse of :func:`_constant`."""
    return x.transpose(1, 2).reshape(-1, x.shape[1]).contiguous()


class _Projection:
    """B or C of the scan, constant in time or given for each step, in the layout of this file."""

    def __init__(self, x: Tensor, groups: int) -> None:
        self.constant = x.dim() == 2
        # (groups, state, channels) or (batch, time, groups, state, 1)
        self.values = _constant(x, groups) if self.constant else x.permute(0, 3, 1, 2).contiguous().unsqueeze(-1)
        self.grad = torch.zeros_like(self.values)

    def at(self, block: slice, steps: slice) -> Tensor:
        return self.values if self.constant else self.values[block, steps]

    def contract(self, states: Tensor, block: slice, steps: slice) -> Tensor:
        """Sum over the state axis of values times states: ``(batch, time, groups, 1, channels)``."""
        values = self.at(block, steps)
        if self.constant:
            return (states * values).sum(-2, keepdim=True)
        return torch.matmul(values.mT, states)

    def accumulate(self, states: Tensor, channels: Tensor, block: slice, steps: slice) -> None:
        """Add the gradient, states times channels summed over every axis along which the values are constant."""
        if self.constant:
            self.grad += (states * channels).sum((0, 1))
        else:
            self.grad[block, steps] += torch.matmul(channels, states.mT).mT

    def gradient(self) -> Tensor:
        """The gradient in the layout of the argument."""
        return _from_constant(self.grad) if self.constant else self.grad.squeeze(-1).permute(0, 2, 3, 1).contiguous()


class _Scan:
    """What forward and backward share: inputs in this file's layout and the states of one chunk."""

    def __init__(
        self,
        u: Tensor,
        delta: Tensor,
        A: Tensor,
        B: Tensor,
        C: Tensor,
        delta_bias: Tensor | None,
        delta_softplus: bool,
    ) -> None:
        self.batch, self.channels, self.length = u.shape
        self.state_size = A.shape[1]
        self.groups = _number_of_groups(B, C)
        self.u = _by_time(u, self.groups)
        self.raw_delta = _by_time(delta, self.groups)
        if delta_bias is not None:
            self.raw_delta = self.raw_delta + delta_bias.view(
                self.groups, 1, -1
            )  # never in place: it may be the argument
        self.delta = F.softplus(self.raw_delta) if delta_softplus else self.raw_delta
        self.delta_u = self.delta * self.u
        self.A = _constant(A, self.groups)
        # exp(x) as 2^(x log2 e): exp2 is the fastest vectorised exponential that torch has.
        self.A_log2 = self.A * math.log2(math.e)
        self.B = _Projection(B, self.groups)
        self.C = _Projection(C, self.groups)
        per_row = self.state_size * self.channels
        self.block = self.batch if u.is_cuda else min(self.batch, max(1, _STEP_ELEMENTS // per_row))
        self.chunk = min(chunk_length(self.state_size), self.length)

    def blocks(self) -> Iterator[slice]:
        """Slices of the batch that are small enough for the cache."""
        for start in range(0, self.batch, self.block):
            yield slice(start, min(start + self.block, self.batch))

    def chunks(self) -> list[slice]:
        """Slices of the time axis."""
        return [slice(t, min(t + self.chunk, self.length)) for t in range(0, self.length, self.chunk)]

    def state_shape(self, *leading: int) -> tuple[int, ...]:
        """Shape of states with some leading axes."""
        return (*leading, self.groups, self.state_size, self.channels // self.groups)

    def scratch(self, block: slice) -> Tensor:
        """Uninitialised memory for one chunk of states."""
        return self.u.new_empty(self.state_shape(block.stop - block.start, self.chunk))

    def run_chunk(self, block: slice, steps: slice, state: Tensor, decay: Tensor, states: Tensor) -> Tensor:
        """Fill ``decay`` with exp(delta A) and ``states`` with the states of one chunk; return the last state."""
        torch.mul(self.delta[block, steps], self.A_log2, out=decay)
        decay.exp2_()
        torch.mul(self.delta_u[block, steps], self.B.at(block, steps), out=states)
        for decay_now, state_now in zip(decay.unbind(1), states.unbind(1), strict=True):
            state = state_now.addcmul_(decay_now, state)
        return state


@torch.library.custom_op("evermodels::selective_scan", mutates_args=())
def scan_forward(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    delta_bias: Tensor | None,
    delta_softplus: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Scan; returns y ``(batch, channels, time)``, the last state, and the state at each chunk's start.

    All tensors share one dtype; B and C are ``(channels, state)`` or ``(batch, groups, state, time)``.
    """
    with without_autocast(u):
        scan = _Scan(u, delta, A, B, C, delta_bias, delta_softplus)
        chunks = scan.chunks()
        y = torch.empty_like(scan.u)
        starts = u.new_empty(scan.state_shape(scan.batch, len(chunks)))
        last = u.new_empty(scan.state_shape(scan.batch))
        for block in scan.blocks():
            decay, states = scan.scratch(block), scan.scratch(block)
            state = torch.zeros_like(states[:, 0])
            for i, steps in enumerate(chunks):
                n = steps.stop - steps.start
                starts[block, i] = state
                state = scan.run_chunk(block, steps, state, decay[:, :n], states[:, :n]).clone()
                y[block, steps] = scan.C.contract(states[:, :n], block, steps)
            last[block] = state
        if D is not None:
            y.addcmul_(scan.u, D.view(scan.groups, 1, -1))
        if z is not None:
            y *= F.silu(_by_time(z, scan.groups))
        last_state = last.transpose(2, 3).reshape(scan.batch, scan.channels, scan.state_size)
        return _from_time(y), last_state.contiguous(), starts


@scan_forward.register_fake
def _(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, *others: object) -> tuple[Tensor, Tensor, Tensor]:
    batch, channels, length = u.shape
    state_size, groups = A.shape[1], _number_of_groups(B, C)
    return (
        u.new_empty(batch, length, channels).transpose(1, 2),
        u.new_empty(batch, channels, state_size),
        u.new_empty(batch, _number_of_chunks(length, state_size), groups, state_size, channels // groups),
    )


@torch.library.custom_op("evermodels::selective_scan_backward", mutates_args=())
def scan_backward(  # noqa: PLR0915 - one derivation, read in one go
    grad_y: Tensor,
    grad_last: Tensor | None,
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    delta_bias: Tensor | None,
    delta_softplus: bool,
    starts: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of u, delta, A, B, C, D, z, delta_bias; an absent argument's is an empty tensor.

    With h_t = a_t h_{t-1} + Δ_t u_t B_t, a_t = exp(Δ_t A) and g_t the gradient of h_t:
    g_t = C_t dy_t + a_{t+1} g_{t+1}; dC_t = Σ_d h_t dy_t; dB_t = Σ_d g_t Δ_t u_t;
    d(Δ_t u_t) = Σ_n g_t B_t; d(Δ_t A) = a_t g_t h_{t-1}.
    """
    with without_autocast(u):
        scan = _Scan(u, delta, A, B, C, delta_bias, delta_softplus)
        chunks = scan.chunks()
        grad_out = _by_time(grad_y, scan.groups)
        grad_core = grad_out
        y = None
        if z is not None:
            gate = _by_time(z, scan.groups)
            grad_core = grad_out * F.silu(gate)
            y = torch.empty_like(scan.u)
        grad_delta = torch.empty_like(scan.u)
        grad_delta_u = torch.empty_like(scan.u)
        grad_A = torch.zeros_like(scan.A)
        for block in scan.blocks():
            decay, states, grads = scan.scratch(block), scan.scratch(block), scan.scratch(block)
            grad_A_rows = torch.zeros_like(states[:, 0])
            carry = torch.zeros_like(states[:, 0])
            if grad_last is not None:
                carry += grad_last[block].view(-1, scan.groups, carry.shape[-1], scan.state_size).transpose(2, 3)
            for i in reversed(range(len(chunks))):
                steps = chunks[i]
                n = steps.stop - steps.start
                a, h, g = decay[:, :n], states[:, :n], grads[:, :n]
                scan.run_chunk(block, steps, starts[block, i], a, h)
                dy, delta_u = grad_core[block, steps], scan.delta_u[block, steps]
                if y is not None:
                    y[block, steps] = scan.C.contract(h, block, steps)
                torch.mul(scan.C.at(block, steps), dy, out=g)
                for a_now, g_now in zip(reversed(a.unbind(1)), reversed(g.unbind(1)), strict=True):
                    carry = a_now.mul_(g_now.add_(carry))
                carry = carry.clone()
                scan.C.accumulate(h, dy, block, steps)
                scan.B.accumulate(g, delta_u, block, steps)
                grad_delta_u[block, steps] = scan.B.contract(g, block, steps)
                # From here on `a` holds d(Δ A) = a_t g_t h_{t-1}.
                a[:, 0].mul_(starts[block, i])
                a[:, 1:].mul_(h[:, :-1])
                for a_now, delta_now in zip(a.unbind(1), scan.delta[block, steps].unbind(1), strict=True):
                    grad_A_rows.addcmul_(a_now, delta_now)
                grad_delta[block, steps] = torch.mul(a, scan.A, out=a).sum(-2, keepdim=True)
            grad_A += grad_A_rows.sum(0)

        grad_u = grad_delta_u * scan.delta
        grad_delta.addcmul_(grad_delta_u, scan.u)
        grad_D, grad_z, grad_bias = (u.new_empty(0) for _ in range(3))  # an operator's outputs share no memory
        if D is not None:
            skip = D.view(scan.groups, 1, -1)
            grad_u.addcmul_(grad_core, skip)
            grad_D = (grad_core * scan.u).sum((0, 1)).view(-1)
            if y is not None:
                y.addcmul_(scan.u, skip)
        if y is not None:
            sigmoid = torch.sigmoid(gate)
            grad_z = _from_time(grad_out * y * sigmoid * (1 + gate * (1 - sigmoid)))
        if delta_softplus:
            # F.softplus is the identity above 20, where this factor differs from 1 by 2e-9 at the most.
            grad_delta *= torch.sigmoid(scan.raw_delta)
        if delta_bias is not None:
            grad_bias = grad_delta.sum((0, 1)).view(-1)
        return (
            _from_time(grad_u),
            _from_time(grad_delta),
            _from_constant(grad_A),
            scan.B.gradient(),
            scan.C.gradient(),
            grad_D,
            grad_z,
            grad_bias,
        )


@scan_backward.register_fake
def _(grad_y: Tensor, grad_last: Tensor | None, u: Tensor, delta: Tensor, *others: Tensor | None) -> tuple[Tensor, ...]:
    batch, channels, length = u.shape
    A, B, C, D, z, delta_bias = others[:6]

    def by_time() -> Tensor:
        return u.new_empty(batch, length, channels).transpose(1, 2)

    def like(x: Tensor | None) -> Tensor:
        return u.new_empty(0 if x is None else x.shape)

    grad_z = like(z) if z is None else by_time()
    return by_time(), by_time(), like(A), like(B), like(C), like(D), grad_z, like(delta_bias)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    *tensors, ctx.delta_softplus = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*tensors, output[2])


def _backward(ctx: Any, grad_y: Tensor | None, grad_last: Tensor | None, _: Tensor | None) -> tuple[Tensor | None, ...]:
    *tensors, starts = ctx.saved_tensors
    if grad_y is None and grad_last is None:
        return (None,) * 9
    if grad_y is None:
        grad_y = torch.zeros_like(tensors[0])
    grads = scan_backward(grad_y, grad_last, *tensors, ctx.delta_softplus, starts)
    return (*(None if x is None else g for g, x in zip(grads, tensors, strict=True)), None)


scan_forward.register_autograd(_backward, setup_context=_setup_context)
