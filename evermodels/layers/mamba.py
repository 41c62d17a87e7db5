"""The Mamba mixer, in one direction or two."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evermodels.core.errors import ConfigError, check_axes, did_you_mean
from evermodels.functional.scan import selective_scan

Direction = Literal["fo_fo", "fo_bi", "bi_bi"]
DIRECTIONS = ("fo_fo", "fo_bi", "bi_bi")


class MambaBlock(nn.Module):
    """Mix a token sequence with an input-dependent state-space recurrence.

    Gu and Dao, *Mamba* (2023), section 3.4, figure 3; the two-way forms are Vision Mamba's (Zhu et al. 2024) as
    Audio-Mamba (Erol et al. 2024, figure 3) names them. With x, z the halves of ``in_proj`` and Δ, B, C linear in
    x' = silu(conv(x))::

        fo_fo   y = scan(x', Δ, A, B, C, D, z)
        fo_bi   y = scan(x', Δ, A, B, C, D, z) + flip(scan(flip(x', Δ, B, C, z), A_b, D))
        bi_bi   y = (scan(x', …, D) + flip(scan'(flip(x), flip(z), …, D_b))) / 2
        out = out_proj(y)

    ``fo_bi`` has one convolution and one projection for both scans and its only extra parameter is ``A_b``; its sum is
    never halved. ``bi_bi`` has a second convolution and second projections, run on the flipped sequence; its sum is
    halved unless ``halve_sum=False``. State-dict keys are the reference code's.

    Args:
        dim: Width of the tokens.
        direction: ``"fo_fo"``, ``"fo_bi"`` or ``"bi_bi"``; default ``"fo_bi"``.
        state_size: State per inner channel (``d_state``); default 16.
        conv_size: Taps of the causal convolution (``d_conv``); default 4.
        expand: Inner width as a multiple of ``dim``; default 2.
        dt_rank: Rank of the step-size projection; default ``None``, which is ``dim / 16`` rounded up.
        dt_min: Smallest initial step size; default 0.001.
        dt_max: Largest initial step size; default 0.1.
        dt_init_floor: Initial step sizes are not below this; default 1e-4.
        halve_sum: Whether the sum of ``bi_bi`` is halved (the reference's ``if_devide_out``); default ``True``.
        backend: Backend of :func:`evermodels.functional.selective_scan`; default ``"auto"``.

    Raises:
        ConfigError: If a value cannot work.

    Example:
        >>> import torch
        >>> block = MambaBlock(32, direction="bi_bi")
        >>> block(torch.zeros(2, 65, 32)).shape
        torch.Size([2, 65, 32])
    """

    def __init__(
        self,
        dim: int,
        *,
        direction: Direction = "fo_bi",
        state_size: int = 16,
        conv_size: int = 4,
        expand: int = 2,
        dt_rank: int | None = None,
        dt_min: float = 0.001,
        dt_max: float = 0.1,
        dt_init_floor: float = 1e-4,
        halve_sum: bool = True,
        backend: Literal["auto", "torch", "cuda"] = "auto",
    ) -> None:
        super().__init__()
        dt_rank = math.ceil(dim / 16) if dt_rank is None else dt_rank
        for name, value in (
            ("dim", dim),
            ("state_size", state_size),
            ("conv_size", conv_size),
            ("expand", expand),
            ("dt_rank", dt_rank),
        ):
            if value < 1:
                raise ConfigError(f"{name}: expected at least 1, got {value!r}.")
        if direction not in DIRECTIONS:
            raise ConfigError(
                f"direction: expected one of {', '.join(map(repr, DIRECTIONS))}, got {direction!r}."
                f"{did_you_mean(direction, DIRECTIONS)}"
            )
        if not 0 < dt_min <= dt_max:
            raise ConfigError(f"dt_min, dt_max: expected 0 < dt_min <= dt_max, got {dt_min!r} and {dt_max!r}.")
        self.dim, self.direction, self.state_size, self.dt_rank = dim, direction, state_size, dt_rank
        self.dt_min, self.dt_max, self.dt_init_floor = dt_min, dt_max, dt_init_floor
        self.halve_sum, self.backend = halve_sum, backend
        self.inner_dim = inner = expand * dim

        self.in_proj = nn.Linear(dim, 2 * inner, bias=False)
        self.conv1d = nn.Conv1d(inner, inner, conv_size, groups=inner, padding=conv_size - 1)
        self.x_proj = nn.Linear(inner, dt_rank + 2 * state_size, bias=False)
        self.dt_proj = nn.Linear(dt_rank, inner)
        self.A_log = nn.Parameter(torch.empty(inner, state_size))
        self.D = nn.Parameter(torch.empty(inner))
        if direction != "fo_fo":
            self.A_b_log = nn.Parameter(torch.empty(inner, state_size))
        if direction == "bi_bi":
            self.conv1d_b = nn.Conv1d(inner, inner, conv_size, groups=inner, padding=conv_size - 1)
            self.x_proj_b = nn.Linear(inner, dt_rank + 2 * state_size, bias=False)
            self.dt_proj_b = nn.Linear(dt_rank, inner)
            self.D_b = nn.Parameter(torch.empty(inner))
        self.out_proj = nn.Linear(inner, dim, bias=False)
        # The state matrices and the skip weights are not decayed, as in the reference.
        for name in ("A_log", "A_b_log", "D", "D_b"):
            if hasattr(self, name):
                getattr(self, name)._no_weight_decay = True
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the initial weights: A = -(1 … N) in every channel, D = 1, steps log-uniform in [dt_min, dt_max]."""
        for module in self.children():
            module.reset_parameters()  # type: ignore[operator]  # every child is a layer that has it
        for suffix in ("", "_b"):
            if hasattr(self, f"A{suffix}_log"):
                a_log = getattr(self, f"A{suffix}_log")
                a_log.copy_(torch.arange(1, self.state_size + 1, dtype=torch.float32).log().expand_as(a_log))
            if hasattr(self, f"D{suffix}"):
                getattr(self, f"D{suffix}").fill_(1.0)
            if hasattr(self, f"dt_proj{suffix}"):
                projection = getattr(self, f"dt_proj{suffix}")
                bound = self.dt_rank**-0.5
                projection.weight.uniform_(-bound, bound)
                low, high = math.log(self.dt_min), math.log(self.dt_max)
                dt = torch.empty_like(projection.bias).uniform_(low, high).exp_().clamp_(min=self.dt_init_floor)
                projection.bias.copy_(dt + torch.log(-torch.expm1(-dt)))  # the inverse of softplus

    def forward(self, x: Tensor) -> Tensor:
        """Mix the tokens.

        Args:
            x: Tokens, ``(batch, n, dim)``.

        Returns:
            Tokens, ``(batch, n, dim)``.

        Raises:
            ShapeError: If ``x`` has other axes.
        """
        check_axes("x", x, "batch n dim", dim=self.dim)
        inner, z = self.in_proj(x).chunk(2, dim=-1)
        if self.direction == "fo_bi":
            y = self._scan_both_ways(inner, z)
        else:
            y = self._scan(inner, z, "")
            if self.direction == "bi_bi":
                y = y + self._scan(inner.flip(1), z.flip(1), "_b").flip(1)
                y = y / 2 if self.halve_sum else y
        return self.out_proj(y)

    def scan_weights(self, x: Tensor, channels: slice = slice(None)) -> Tensor:
        r"""Return what each token gives to each token through the state: the matrices that the scans stand for.

        Without skip, gate and convolution a scan is :math:`y_t = \sum_{s \le t} \alpha_{t,s} u_s` with

        .. math:: \alpha_{t,s} = C_t \cdot \Bigl(\exp\Bigl(A \sum_{k=s+1}^{t} \Delta_k\Bigr) \Delta_s B_s\Bigr)

        of each inner channel (Ali, Zimerman and Wolf, *The Hidden Attention of Mamba Models*, 2024). They may be
        negative, and sum to nothing in particular.

        Args:
            x: Tokens, ``(batch, n, dim)``.
            channels: Which inner channels (default: all, which takes their number times n² numbers).

        Returns:
            ``(batch, branches, channels, n, n)``: of each output (fourth axis) the weight of each input; the second
            branch, where there is one, looks at what comes later.

        Raises:
            ShapeError: If ``x`` has other axes.
        """
        check_axes("x", x, "batch n dim", dim=self.dim)
        inner = self.in_proj(x).chunk(2, dim=-1)[0]
        ways = [(*self._projections(inner, "")[1:], "A_log")]
        if self.direction == "fo_bi":
            delta, bias, B, C, _ = ways[0]
            ways.append((delta.flip(1), bias, B.flip(1), C.flip(1), "A_b_log"))
        elif self.direction == "bi_bi":
            ways.append((*self._projections(inner.flip(1), "_b")[1:], "A_b_log"))
        found = []
        for delta, bias, B, C, name in ways:
            A = self._state_matrix(getattr(self, name))[channels]
            step = F.softplus((delta + bias)[..., channels].to(A.dtype))
            total = step.cumsum(dim=1)
            since = (total[:, :, None] - total[:, None]).clamp_min(0)
            weights = torch.zeros_like(since)
            for k in range(self.state_size):
                weights += (since * A[:, k]).exp() * (C[:, :, None, k, None] * B[:, None, :, k, None])
            found.append((weights * step[:, None]).permute(0, 3, 1, 2).tril())
        if len(found) > 1:
            found[1] = found[1].flip(2, 3)
        return torch.stack(found, dim=1)

    def attention_weights(self, x: Tensor) -> Tensor:
        """Return how strongly each token reaches each token, for :func:`~evermodels.layers.attention_maps`.

        It takes time with n² times channels times state, where the scan itself is linear in n.

        Args:
            x: Tokens, ``(batch, n, dim)``.

        Returns:
            ``(batch, branches, n, n)``: the mean magnitude of :meth:`scan_weights` over inner channels.

        Raises:
            ShapeError: If ``x`` has other axes.
        """
        parts = (self.scan_weights(x, slice(k, k + 16)).abs().sum(dim=2) for k in range(0, self.inner_dim, 16))
        return torch.stack(list(parts)).sum(dim=0) / self.inner_dim

    @staticmethod
    def _state_matrix(logarithm: Tensor) -> Tensor:
        """A = -exp(A_log), in float32 at least."""
        return -torch.exp(logarithm.to(torch.promote_types(logarithm.dtype, torch.float32)))

    def _projections(self, inner: Tensor, suffix: str) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return x', Δ before its bias, the bias, B and C of the branch with this key suffix, time before channels."""
        to_steps = getattr(self, f"dt_proj{suffix}")
        inner = F.silu(self._causal_convolution(inner, getattr(self, f"conv1d{suffix}")))
        projected = getattr(self, f"x_proj{suffix}")(inner)
        low_rank, B, C = projected.split([self.dt_rank, self.state_size, self.state_size], dim=-1)
        return inner, F.linear(low_rank, to_steps.weight), to_steps.bias, B, C

    @staticmethod
    def _causal_convolution(x: Tensor, convolution: nn.Conv1d) -> Tensor:
        """Convolve ``(batch, length, channels)`` depthwise with the past only.

        A 2-d convolution of height 1 over channels-last memory: on the CPU several times faster than the 1-d one, and
        the scan wants its input in this layout.
        """
        past = F.pad(x, (0, 0, convolution.kernel_size[0] - 1, 0)).transpose(1, 2).unsqueeze(2)
        y = F.conv2d(past, convolution.weight.unsqueeze(2), convolution.bias, groups=x.shape[-1])
        return y.squeeze(2).transpose(1, 2)

    def _scan(self, inner: Tensor, z: Tensor, suffix: str) -> Tensor:
        inner, delta, bias, B, C = self._projections(inner, suffix)
        A = self._state_matrix(getattr(self, f"A{suffix}_log"))
        D = getattr(self, f"D{suffix}")
        u, delta, B, C, z = (t.transpose(1, 2) for t in (inner, delta, B, C, z))
        return _by_time(selective_scan(u, delta, A, B, C, D, z, bias, True, backend=self.backend))

    def _scan_both_ways(self, inner: Tensor, z: Tensor) -> Tensor:
        """One scan over twice the channels in two groups, of which the second sees the sequence flipped."""
        inner, delta, bias, B, C = self._projections(inner, "")
        u, delta, z = (torch.cat([t, t.flip(1)], dim=-1).transpose(1, 2) for t in (inner, delta, z))
        B, C = (torch.stack([t, t.flip(1)], dim=2).permute(0, 2, 3, 1) for t in (B, C))
        A = self._state_matrix(torch.cat([self.A_log, self.A_b_log]))
        D, bias = torch.cat([self.D, self.D]), torch.cat([bias, bias])
        y = _by_time(selective_scan(u, delta, A, B, C, D, z, bias, True, backend=self.backend))
        forward, backward = y.chunk(2, dim=-1)
        return forward + backward.flip(1)


def _by_time(y: Tensor | tuple[Tensor, Tensor]) -> Tensor:
    """Put time before channels."""
    assert isinstance(y, Tensor)  # a pair only with return_last_state
    return y.transpose(1, 2)
