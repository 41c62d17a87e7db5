"""Smooth functions on the head: real spherical harmonics of electrode positions."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from evermodels.core.errors import ConfigError, check_axes

_HIGHEST = 32


def real_spherical_harmonics(places: Tensor, degree: int) -> Tensor:
    r"""Return the real spherical harmonics of unit vectors up to a degree, each with mean square 1 over the sphere.

    .. math::
        Y_{l,\pm m}(x, y, z) = \sqrt{(2 - \delta_{m0}) (2l + 1) \tfrac{(l - m)!}{(l + m)!}} \; Q_l^m(z) \;
        \begin{cases} \mathrm{Re}\,(x + iy)^m \\ \mathrm{Im}\,(x + iy)^m \end{cases}

    with :math:`Q_l^m(z) (1 - z^2)^{m/2} = P_l^m(z)`, the associated Legendre function without the Condon-Shortley sign.
    They are the usual orthonormal ones times :math:`\sqrt{4\pi}`, and polynomials of x, y and z, so there is no pole.

    Args:
        places: Unit vectors, ``(..., 3)``: x to the right, y to the front, z up.
        degree: Highest degree l, 0 to 32.

    Returns:
        ``(..., (degree + 1)²)``: by degree, and within one from ``-m`` to ``m``.

    Raises:
        ShapeError: If the last axis is not 3.
        ConfigError: If the degree is impossible.

    Example:
        >>> real_spherical_harmonics(torch.tensor([0.0, 0.0, 1.0]), 1)
        tensor([1.0000, 0.0000, 1.7321, 0.0000])
    """
    if not 0 <= degree <= _HIGHEST:
        raise ConfigError(f"degree: expected 0 to {_HIGHEST}, got {degree!r}.")
    check_axes("places", places.reshape(-1, places.shape[-1]) if places.ndim else places, "places xyz", xyz=3)
    x, y, z = places.unbind(-1)
    rows: dict[tuple[int, int], Tensor] = {}
    real, imaginary = torch.ones_like(z), torch.zeros_like(z)
    for m in range(degree + 1):
        two_before, before = torch.zeros_like(z), torch.full_like(z, float(math.prod(range(1, 2 * m, 2))))
        for n in range(m, degree + 1):
            if n > m:
                now = ((2 * n - 1) * z * before - (n + m - 1) * two_before) / (n - m)
                two_before, before = before, now
            scale = math.sqrt((2 - (m == 0)) * (2 * n + 1) * math.factorial(n - m) / math.factorial(n + m))
            rows[n, m] = scale * before * real
            if m:
                rows[n, -m] = scale * before * imaginary
        real, imaginary = x * real - y * imaginary, x * imaginary + y * real
    return torch.stack([rows[n, m] for n in range(degree + 1) for m in range(-n, n + 1)], dim=-1)
