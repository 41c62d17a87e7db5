"""The bundled sample: short cuts of real, openly licensed recordings, with their attribution."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from evermodels.core.errors import UnknownNameError, did_you_mean

__all__ = ["ATTRIBUTION", "Attribution", "folder", "names", "path"]


class Attribution(NamedTuple):
    """Whom a sample file comes from.

    Args:
        data: Name of the data set.
        citation: How its authors want to be named.
        licence: Its licence.
        changes: What was changed.
    """

    data: str
    citation: str
    licence: str
    changes: str


ATTRIBUTION: dict[str, Attribution] = {
    "eegmat": Attribution(
        "EEGMAT (PhysioNet eegmat 1.0.0), Subject33",
        "Zyma et al., Electroencephalograms during Mental Arithmetic Task Performance, Data 4(1):14, 2019; "
        "Goldberger et al., PhysioNet, 2000",
        "ODC-By 1.0",
        "resampled to 250 Hz, without the ECG channel; the first 60 s of the rest, the middle 30 s of each recording",
    ),
    "faces": Attribution(
        "Face Research Lab London Set, people 129 and 130",
        "DeBruine & Jones, figshare, 2017, doi 10.6084/m9.figshare.5047666",
        "CC BY 4.0",
        "cut to a square around the face",
    ),
}
"""Attribution by what the file names begin with."""


def names() -> list[str]:
    """Return the names of the sample files.

    Example:
        >>> names()[:2]
        ['eegmat_subject33_arithmetic.edf', 'eegmat_subject33_baseline.edf']
    """
    root = Path(__file__).parent
    return sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.suffix in (".edf", ".jpg"))


def folder(name: str) -> Path:
    """Return the path of a folder of samples.

    Args:
        name: ``"faces"``.

    Raises:
        UnknownNameError: If there is no such folder.

    Example:
        >>> folder("faces").name
        'faces'
    """
    known = sorted({n.partition("/")[0] for n in names() if "/" in n})
    if name not in known:
        raise UnknownNameError(
            f"samples: {name!r} does not exist.{did_you_mean(name, known)} There are: {', '.join(known)}."
        )
    return Path(__file__).parent / name


def path(name: str) -> Path:
    """Return the path of one sample file.

    Args:
        name: One of :func:`names`.

    Raises:
        UnknownNameError: If there is no such sample.

    Example:
        >>> path("eegmat_subject33_rest.edf").suffix
        '.edf'
    """
    known = names()
    if name not in known:
        raise UnknownNameError(
            f"sample: {name!r} does not exist.{did_you_mean(name, known)} There are: {', '.join(known)}."
        )
    return Path(__file__).parent / name
