"""MNE's description of channels -> names of the 10-05 system, by name and by position."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from evermodels import montage
from evermodels.core.errors import ConfigError, UnknownNameError, quoted

# MNE turns the montage's own coordinates into those of the head, by nasion and ears; this is the way back for
# standard_1005, whose electrodes are the table of evermodels.montage: rotation, and origin in metres.
_TURN = np.array(
    [[0.9999937, -0.0035576, -0.0000006], [0.0035519, 0.9983891, -0.0566262], [0.0002020, 0.0566259, 0.9983954]]
)
_ORIGIN = np.array([-0.001762725, 0.03109435, 0.03959725])
_CENTRE = np.array([0.0008596, -0.0161769, -0.0005068])

NEAR = 15.0
"""Degrees on the head within which an electrode without a known name takes the name of a place."""

FAR = 45.0
"""Degrees on the head from which on a name and a position contradict each other. Caps differ, by less than this."""

_SAME_POSITION = 1e-6


def names_of(chs_info: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return where each channel is, as a name of the 10-05 system.

    A channel goes by its name where this is one of :func:`evermodels.montage.canonical`. Another name (``E17`` of a
    geodesic net, a number) goes by its position, to the nearest place of the 10-05 system that is free, at most 15
    degrees away. A position that is not known (NaN or zeros) says nothing.

    Args:
        chs_info: Mappings with ``"ch_name"`` and, where known, ``"loc"``, whose first three numbers are the position in
            metres in MNE's head coordinates: ``info["chs"]`` of MNE.

    Raises:
        ConfigError: If it is no list of such mappings, or a known name stands at another place of the head (45 degrees
            and more away), as BioSemi's ``A1`` does, which is no earlobe.
        UnknownNameError: If a channel has neither a known name nor a position near a free place, or two are one.

    Example:
        >>> names_of([{"ch_name": "EEG T3"}, {"ch_name": "E17", "loc": [0.0, 0.12, 0.06]}])
        ('T7', 'AFpz')
    """
    if isinstance(chs_info, (str, Mapping)) or not isinstance(chs_info, Sequence) or not chs_info:
        raise ConfigError(f"chs_info: expected a list of channels as MNE's info['chs'] has, got {quoted(chs_info)}.")
    labels, places = [], []
    for channel in chs_info:
        if not isinstance(channel, Mapping) or not isinstance(channel.get("ch_name"), str):
            raise ConfigError(f"chs_info: expected mappings with a 'ch_name', got {quoted(channel)}.")
        labels.append(channel["ch_name"])
        places.append(_direction(channel.get("loc")))
    known = [_known(label) for label in labels]
    if all(place is None for place in places):
        return montage.canonical_all(labels)
    for label, name, place in zip(labels, known, places, strict=True):
        if name is not None:
            _check_place(label, name, place)
    for index, name in _by_position(labels, known, places).items():
        known[index] = name
    return montage.canonical_all([name for name in known if name is not None])


def _known(label: str) -> str | None:
    try:
        return montage.canonical(label)
    except UnknownNameError:
        return None


def _direction(loc: Any) -> np.ndarray | None:
    """Where a channel is, seen from the centre of the head, as :func:`evermodels.montage.positions` has it."""
    if loc is None:
        return None
    try:
        point = np.asarray(loc, dtype=np.float64)[:3]
    except (TypeError, ValueError) as error:
        raise ConfigError(f"chs_info: loc: expected numbers, got {quoted(loc)}.") from error
    if point.shape != (3,) or not np.isfinite(point).all() or np.linalg.norm(point) < _SAME_POSITION:
        return None
    away = _TURN @ (point - _ORIGIN) - _CENTRE
    return np.asarray(away / np.linalg.norm(away))


def _check_place(label: str, name: str, place: np.ndarray | None) -> None:
    try:
        own = montage.positions([name])[0]
    except UnknownNameError:  # a derivation such as A2-A1 has no place
        return
    if place is None or (angle := _degrees(own, place)) < FAR:
        return
    raise ConfigError(
        f"chs_info: channel {label!r} stands {angle:.0f} degrees away from {name} of the 10-05 system, so it is "
        "another electrode. Rename the channels of the recording by where they are, or set their montage."
    )


def _by_position(
    labels: Sequence[str], known: Sequence[str | None], places: Sequence[np.ndarray | None]
) -> dict[int, str]:
    """Names of the channels whose own name says nothing, by index."""
    rows = [index for index, name in enumerate(known) if name is None]
    if not rows:
        return {}
    if nowhere := [labels[index] for index in rows if places[index] is None]:
        montage.canonical(nowhere[0])  # raises, and says what is close
    taken = {name for name in known if name is not None}
    free = [name for name in montage.scalp_names() if name not in taken]
    there = montage.positions(free)
    here = np.array([places[index] for index in rows])
    angles = np.degrees(np.arccos(np.clip(here @ there.T, -1, 1)))
    left, right = linear_sum_assignment(angles)
    found = {}
    for row, column in zip(left, right, strict=True):
        if angles[row, column] > NEAR:
            raise UnknownNameError(
                f"chs_info: channel {labels[rows[row]]!r} has no name of the 10-05 system, and no free place of it is "
                f"within {NEAR:g} degrees ({free[column]} is {angles[row, column]:.0f} away). Leave the channel out."
            )
        found[rows[row]] = free[column]
    return found


def _degrees(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.degrees(np.arccos(np.clip(a @ b, -1, 1))))
