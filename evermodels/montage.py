"""Channel names in any spelling -> canonical names, regions, positions, and the orders of known data sets."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evermodels.core.errors import ConfigError, ShapeError, UnknownNameError, did_you_mean

__all__ = [
    "MONTAGES",
    "REGIONS",
    "canonical",
    "canonical_all",
    "head2d",
    "interpolation_matrix",
    "positions",
    "preset",
    "regions",
]

REGIONS: dict[str, tuple[str, ...]] = {
    "frontal": ("Fp", "AF", "F"),
    "temporal": ("FT", "T", "TP"),
    "central": ("FC", "C", "CP"),
    "parietal": ("P",),
    "occipital": ("PO", "O", "I"),
}
"""First letters of the channels of each region; the longest match counts."""

_OLD_NAMES = {"T3": "T7", "T4": "T8", "T5": "P7", "T6": "P8"}
_OFF_THE_SCALP = ("A1", "A2", "A2-A1", "A1-A2")
_WITHOUT_REGION = (*_OFF_THE_SCALP, "M1", "M2", "CB1", "CBz", "CB2")
# Oostenveld & Praamstra 2001 name the cerebellar Cb1, Cbz, Cb2 as synonyms of I1, Iz, I2.
_SAME_PLACE = {"CB1": "I1", "CBz": "Iz", "CB2": "I2"}
_PREFIX = re.compile(r"^(?:EEG|POL)[\s_:-]+", re.IGNORECASE)
_CONNECTOR = re.compile(r"^([A-H])([1-9]|[12]\d|3[0-2])$")
_REFERENCE = re.compile(r"\s*-\s*(?:REF|LE|AR|AVG|AVE|CAR|AA|A1\+?A2|M1\+?M2|A1|A2|M1|M2)$", re.IGNORECASE)

MONTAGES: dict[str, tuple[str, ...]] = {
    "deap": tuple(
        "Fp1 AF3 F3 F7 FC5 FC1 C3 T7 CP5 CP1 P3 P7 PO3 O1 Oz Pz "
        "Fp2 AF4 Fz F4 F8 FC6 FC2 Cz C4 T8 CP6 CP2 P4 P8 PO4 O2".split()
    ),
    "seed": tuple(
        "Fp1 Fpz Fp2 AF3 AF4 F7 F5 F3 F1 Fz F2 F4 F6 F8 FT7 FC5 FC3 FC1 FCz FC2 FC4 FC6 FT8 "
        "T7 C5 C3 C1 Cz C2 C4 C6 T8 TP7 CP5 CP3 CP1 CPz CP2 CP4 CP6 TP8 "
        "P7 P5 P3 P1 Pz P2 P4 P6 P8 PO7 PO5 PO3 POz PO4 PO6 PO8 CB1 O1 Oz O2 CB2".split()
    ),
    "eav": tuple(
        "Fp1 Fp2 F7 F3 Fz F4 F8 FC5 FC1 FC2 FC6 T7 C3 Cz C4 T8 CP5 CP1 CP2 CP6 P7 P3 Pz P4 P8 PO9 O1 Oz O2 PO10".split()
    ),
    "muse": ("TP9", "AF7", "AF8", "TP10"),
    "epoc": tuple("AF3 F7 F3 FC5 T7 P7 O1 O2 P8 T8 FC6 F4 F8 AF4".split()),
    "eegmat": tuple("Fp1 Fp2 F3 F4 F7 F8 T7 T8 C3 C4 P7 P8 P3 P4 O1 O2 Fz Cz Pz".split()),
    "eegmmidb": tuple(
        "FC5 FC3 FC1 FCz FC2 FC4 FC6 C5 C3 C1 Cz C2 C4 C6 CP5 CP3 CP1 CPz CP2 CP4 CP6 Fp1 Fpz Fp2 "
        "AF7 AF3 AFz AF4 AF8 F7 F5 F3 F1 Fz F2 F4 F6 F8 FT7 FT8 T7 T8 T9 T10 TP7 TP8 "
        "P7 P5 P3 P1 Pz P2 P4 P6 P8 PO7 PO3 POz PO4 PO8 O1 Oz O2 Iz".split()
    ),
}
"""Channel orders of known data sets and headsets, canonical names."""

_SAME_HEADSET = {"epoc+": "epoc", "epoc x": "epoc"}


@functools.cache
def _table() -> dict[str, Any]:
    return json.loads((Path(__file__).parent / "montage_1005.json").read_text(encoding="utf-8"))


@functools.cache
def _known() -> dict[str, str]:
    known = {name.upper(): name for name in (*_table()["positions"], *_WITHOUT_REGION)}
    known.update(_OLD_NAMES)
    return known


def canonical(name: str) -> str:
    """Return the canonical spelling of one channel name.

    Names are those of the 10-05 system (Oostenveld & Praamstra, Clin. Neurophysiol. 112:713, 2001), besides the
    mastoids ``M1 M2``, the earlobes ``A1 A2``, their difference ``A2-A1``, and the cerebellar ``CB1 CB2``. Case, dots,
    blanks, a leading ``EEG`` and a trailing reference (``-REF``, ``-LE``, ``-A1`` …) do not matter; the old names
    T3 T4 T5 T6 become T7 T8 P7 P8.

    Args:
        name: The name in any of these spellings.

    Returns:
        The canonical name.

    Raises:
        UnknownNameError: If the name is not that of an electrode, with the closest ones that are.

    Example:
        >>> [canonical(name) for name in ("EEG T3", "Fc5.", "FP1", "EEG Fp1-REF", "EEG A2-A1")]
        ['T7', 'FC5', 'Fp1', 'Fp1', 'A2-A1']
        >>> canonical("ECG ECG")
        Traceback (most recent call last):
            ...
        evermodels.core.errors.UnknownNameError: channel name: 'ECG ECG' is not a name of the 10-05 system...
    """
    if not isinstance(name, str):
        raise UnknownNameError(f"channel name: expected a string, got {name!r} ({type(name).__name__}).")
    known = _known()
    bare = _PREFIX.sub("", name.strip()).strip().strip(".").replace(" ", "")
    for spelling in (bare, _REFERENCE.sub("", bare)):
        if spelling.upper() in known:
            return known[spelling.upper()]
    near = re.sub(r"(?<=\D)Z(?=h?$)", "z", bare.upper().replace("FP", "Fp"))
    raise UnknownNameError(
        f"channel name: {name[:80]!r} is not a name of the 10-05 system.{did_you_mean(near, known.values())} "
        "Rename the channel, or leave it out if it is not EEG (ECG, EOG, trigger)."
    )


def by_connector(ch_names: Sequence[str]) -> str | None:
    """Return what to do about names of BioSemi's connectors (A1 to A32, B1, …), or ``None`` for other names.

    Where A3 and the like stand beside A1 and A2, these are no earlobes, and the cap says where they sit on the head.

    Args:
        ch_names: Names in any spelling.

    Example:
        >>> by_connector(["A1", "A2", "Cz"]) is None
        True
        >>> by_connector([f"A{k}" for k in range(1, 33)])
        "the channels A1, A2, A3 … (32) are named by BioSemi's connectors ...biosemi32..."
    """
    bare = [_PREFIX.sub("", str(name).strip()).strip().upper() for name in ch_names]
    found = [name for name in bare if _CONNECTOR.match(name)]
    if sum(name not in _known() for name in found) < 3 or not {"A1", "A3"} <= set(found):
        return None
    size = next((n for n in (16, 32, 64) if len(found) <= n), None)
    start = (
        f"the channels {', '.join(found[:3])} … ({len(found)}) are named by BioSemi's connectors or are contacts of "
        "depth electrodes, and the names do not say where they sit; A1 and A2 are no earlobes here."
    )
    if size is None:
        return (
            f"{start} Caps of 128 and more have no places of the 10-05 system: interpolate those that you need in MNE "
            "(the montages biosemi128, biosemi160, biosemi256 have their positions) and give the MNE object."
        )
    return (
        f"{start} If it is BioSemi's cap of {size} in the usual order, rename them in MNE and give the MNE object: "
        f"names = mne.channels.make_standard_montage('biosemi{size}').ch_names; "
        "raw.rename_channels(dict(zip(raw.ch_names, names)))."
    )


def canonical_all(ch_names: Sequence[str]) -> tuple[str, ...]:
    """Return the canonical names of all channels, each of which may stand only once.

    Args:
        ch_names: Names in any spelling, or the name of a :func:`preset` such as ``"epoc"``.

    Raises:
        UnknownNameError: If a name is unknown, or two names mean the same electrode.

    Example:
        >>> canonical_all(["EEG Fz", "T3"]), canonical_all("muse")
        (('Fz', 'T7'), ('TP9', 'AF7', 'AF8', 'TP10'))
    """
    if isinstance(ch_names, str):
        return preset(ch_names)
    if connectors := by_connector([name for name in ch_names if isinstance(name, str)]):
        raise UnknownNameError(f"ch_names: {connectors}")
    seen: dict[str, str] = {}
    for name in ch_names:
        found = canonical(name)
        if found in seen:
            raise UnknownNameError(
                f"ch_names: {seen[found]!r} and {name!r} are both the electrode {found}. Drop one of them."
            )
        seen[found] = name
    return tuple(seen)


def regions(ch_names: Sequence[str], scheme: str = "lobes") -> dict[str, list[int]]:
    """Return the channels of each region of the head.

    EVER (§4.1) groups electrodes by region and does not print the table; ours is a choice: Fp AF F are frontal,
    FT T TP temporal, FC C CP central, P parietal, PO O I occipital, by the longest match of the first letters.
    Mastoids, earlobes, ``A2-A1`` and the cerebellar CB1 CB2 have no region.

    Args:
        ch_names: Names in any spelling, in the model's order.
        scheme: Only ``"lobes"`` exists.

    Returns:
        Indices into ``ch_names`` by region, in the order frontal, temporal, central, parietal, occipital; a region
        without channels is absent.

    Raises:
        UnknownNameError: If a name or the scheme is unknown, or two names mean the same electrode.

    Example:
        >>> regions(["TP9", "AF7", "AF8", "TP10"])
        {'frontal': [1, 2], 'temporal': [0, 3]}
    """
    if scheme != "lobes":
        raise UnknownNameError(f"scheme: expected 'lobes', got {scheme!r}.")
    prefixes = {letters: region for region, row in REGIONS.items() for letters in row}
    longest_first = sorted(prefixes, key=len, reverse=True)
    found: dict[str, list[int]] = {region: [] for region in REGIONS}
    for index, name in enumerate(canonical_all(ch_names)):
        if name not in _WITHOUT_REGION:
            found[prefixes[next(p for p in longest_first if name.startswith(p))]].append(index)
    return {region: indices for region, indices in found.items() if indices}


def positions(ch_names: Sequence[str]) -> np.ndarray:
    """Return the positions of electrodes on the unit sphere.

    The 10-05 positions of Oostenveld & Praamstra (2001) on the Colin27 head, as distributed with MNE-Python
    (BSD-3-Clause) under the name ``standard_1005``, seen from the centre of the sphere that fits them best and brought
    to length 1. CB1 and CB2 stand at I1 and I2, which that paper gives as synonyms; on some caps they sit further to
    the side.

    Args:
        ch_names: Names in any spelling.

    Returns:
        ``(n, 3)`` float64: x to the right, y to the front, z up.

    Raises:
        UnknownNameError: If a name is unknown, stands twice, or belongs to a derivation such as ``A2-A1``.

    Example:
        >>> positions(["Cz"]).round(1).tolist()
        [[-0.0, 0.1, 1.0]]
    """
    away = _coordinates(canonical_all(ch_names)) - np.array(_table()["sphere"]["center"])
    return away / np.linalg.norm(away, axis=1, keepdims=True)


def scalp_names() -> tuple[str, ...]:
    """Return the names of all places on the scalp that have a position, without earlobes and mastoids.

    Example:
        >>> len(scalp_names()), "Cz" in scalp_names(), "A1" in scalp_names()
        (335, True, False)
    """
    return tuple(name for name in _table()["positions"] if name not in _WITHOUT_REGION)


def _coordinates(names: Sequence[str]) -> np.ndarray:
    """Return where electrodes of canonical names lie on the Colin27 head, in mm, ``(n, 3)``."""
    table = _table()["positions"]
    rows = []
    for name in names:
        place = _SAME_PLACE.get(name, name)
        if place not in table:
            raise UnknownNameError(
                f"channel name: {name!r} is a difference of two electrodes and has no position. Leave it out."
            )
        rows.append(table[place])
    return np.array(rows, dtype=np.float64).reshape(-1, 3)


def interpolation_matrix(src: Sequence[str], dst: Sequence[str]) -> np.ndarray:
    r"""Return the weights that make the channels of one montage from those of another.

    A channel that both have is copied: its row has a single 1. The others are interpolated by spherical splines
    (Perrin, Pernier, Bertrand & Echallier, Electroencephalogr. Clin. Neurophysiol. 72:184, 1989, eq. 1-4, with the
    corrigendum 76:565, 1990): :math:`V(r) = c_0 + \sum_i c_i\, g(r \cdot r_i)` with

    .. math::
        g(x) = \frac{1}{4\pi} \sum_{n=1}^{50} \frac{2n + 1}{n^4 (n + 1)^4} P_n(x), \quad
        (G + \lambda I)\, c + c_0 = v, \quad \sum_i c_i = 0

    Order 4, 50 terms and :math:`\lambda = 10^{-5}` are MNE-Python's defaults. Each row sums to 1, so a constant, and
    with it a change of the reference, passes unchanged. Directions are taken from the origin of the coordinates of
    ``standard_1005``, as MNE's function does with that built-in montage; ``Raw.interpolate_bads`` fits a sphere to the
    channels of the recording instead, which changes single weights by about 0.1.

    Earlobes and their difference (A1, A2, A2-A1) are not on the scalp: they are copied, but nothing is interpolated
    from them, nor can they be (a choice).

    Args:
        src: Channels that there are, any spelling.
        dst: Channels that are wanted, any spelling.

    Returns:
        ``(dst, src)`` float64.

    Raises:
        UnknownNameError: If a name is unknown, or two names of one list mean the same electrode.
        ConfigError: If a wanted channel cannot be interpolated, or there is no channel on the scalp.

    Example:
        >>> interpolation_matrix(["Fz", "Cz", "Pz"], ["Cz", "CPz"]).round(2)
        array([[ 0.  ,  1.  ,  0.  ],
               [-0.1 ,  0.67,  0.43]])
    """
    have, want = canonical_all(src), canonical_all(dst)
    matrix = np.zeros((len(want), len(have)))
    missing = [row for row, name in enumerate(want) if name not in have]
    for row, name in enumerate(want):
        if name in have:
            matrix[row, have.index(name)] = 1.0
    if missing:
        if off := [want[row] for row in missing if want[row] in _OFF_THE_SCALP]:
            raise ConfigError(
                f"dst: {', '.join(off)} lies off the scalp and cannot be interpolated. Give a recording that has it, "
                "or take a model without it."
            )
        sources = [column for column, name in enumerate(have) if name not in _OFF_THE_SCALP]
        if not sources:
            raise ConfigError(f"src: expected at least one electrode on the scalp, got {', '.join(have) or 'none'}.")
        places = _coordinates([have[column] for column in sources]), _coordinates([want[row] for row in missing])
        matrix[np.ix_(missing, sources)] = _spline_weights(*places)
    return matrix


def _spline_weights(src: np.ndarray, dst: np.ndarray) -> np.ndarray:
    """Return the spherical spline's weights, ``(dst, src)``, for places ``(n, 3)`` in any unit around the origin."""
    src, dst = (places / np.linalg.norm(places, axis=1, keepdims=True) for places in (src, dst))
    n = np.arange(1.0, 51.0)
    series = np.concatenate([[0.0], (2 * n + 1) / (n * (n + 1)) ** 4 / (4 * np.pi)])

    def g(cosine: np.ndarray) -> np.ndarray:
        return np.polynomial.legendre.legval(cosine, series)

    system = np.ones((len(src) + 1, len(src) + 1))
    system[:-1, :-1] = g(src @ src.T) + 1e-5 * np.eye(len(src))
    system[-1, -1] = 0.0
    # The system is symmetric: solving it for the targets' side gives the weights without an inverse.
    return np.linalg.solve(system, np.vstack([g(src @ dst.T), np.ones(len(dst))]))[:-1].T


def head2d(ch_names: Sequence[str]) -> np.ndarray:
    """Return the positions of electrodes on a flat head, for plots.

    Azimuthal equidistant projection from the top: the distance from the middle is the angle from the vertical, and 1
    stands for a right angle, so electrodes below the widest line of the head lie a little outside the unit circle.

    Args:
        ch_names: Names in any spelling.

    Returns:
        ``(n, 2)`` float64: x to the right, y to the front (nose up).

    Raises:
        UnknownNameError: As :func:`positions`.

    Example:
        >>> head2d(["Oz"]).round(1).tolist()
        [[-0.0, -0.9]]
    """
    points = positions(ch_names)
    if points.shape[0] == 0:
        raise ShapeError("ch_names: expected at least one channel, got none.")
    flat = np.hypot(points[:, 0], points[:, 1])
    radius = np.arctan2(flat, points[:, 2]) / (np.pi / 2)
    return points[:, :2] * (radius / np.maximum(flat, 1e-12))[:, None]


def preset(name: str) -> tuple[str, ...]:
    """Return the channel order of a known data set or headset, canonical names.

    Sources: DEAP (Koelstra 2012, Geneva order of the Python files), SEED (Zheng & Lu 2015), EAV (Lee 2024; order by
    third parties, the publisher prints none), Muse (InteraXon), EPOC (Emotiv), EEGMAT (PhysioNet ``eegmat``, without
    ``A2-A1``), EEGMMIDB (PhysioNet ``eegmmidb``).

    Args:
        name: ``"deap"``, ``"seed"``, ``"eav"``, ``"muse"``, ``"epoc"`` (EPOC+ and EPOC X are the same), ``"eegmat"`` or
            ``"eegmmidb"``, any case.

    Raises:
        UnknownNameError: If there is no such preset.

    Example:
        >>> preset("muse")
        ('TP9', 'AF7', 'AF8', 'TP10')
    """
    key = " ".join(str(name).lower().split())
    key = _SAME_HEADSET.get(key, key)
    if key not in MONTAGES:
        raise UnknownNameError(
            f"montage preset: {str(name)[:80]!r} does not exist.{did_you_mean(key, MONTAGES)} "
            f"It is one of: {', '.join(MONTAGES)}. Names of channels are a list: ['Fz', 'Cz']."
        )
    return MONTAGES[key]
