"""Find a data set on this machine, or get it from its publisher."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from evermodels.core.errors import DataError, UnknownNameError, did_you_mean, require

DATA_VARIABLE = "EVERMODELS_DATA"
"""Environment variable with the folder that holds one folder a data set."""

_SUMS = "SHA256SUMS.txt"
_RETRIES = 2


@dataclass(frozen=True)
class PublishedData:
    """Where a data set comes from.

    Args:
        title: Its name in full.
        licence: Licence and whom to name.
        base_url: Address under which the files lie; ``None`` where a person has to download them.
        files: The files' names.
        digests: SHA-256 of the files that could be checked when this was written.
        by_hand: What to do where there is no ``base_url``.
    """

    title: str
    licence: str
    base_url: str | None = None
    files: tuple[str, ...] = ()
    digests: dict[str, str] = field(default_factory=dict)
    by_hand: str = ""


SOURCES: dict[str, PublishedData] = {
    "eegmat": PublishedData(
        title="Electroencephalograms during Mental Arithmetic Task Performance",
        licence="ODC-By 1.0; Zyma et al., Data 4(1):14, 2019; Goldberger et al., PhysioNet, 2000",
        base_url="https://physionet.org/files/eegmat/1.0.0/",
        files=("subject-info.csv", *(f"Subject{i:02d}_{k}.edf" for i in range(36) for k in (1, 2))),
        digests={
            "Subject00_1.edf": "ac46d8c9905d6750c8f07235f2e0d96771882cad8af06a8e32d88cfd16c376ed",
            "Subject00_2.edf": "19476db6d5f2bcd40e417a7e1f2f9b276af05cf2c93a52a2be4d7524b4e9885c",
            "Subject35_1.edf": "1ffc283a017da6597c68cb19245c2138bdab0aa4d0355e323c27ed710d099a29",
            "Subject35_2.edf": "c18fdaaf9ef0faeb49389326a0a383d428e49efe662b1ca4713c61aee8153dcb",
        },
    ),
    "muse": PublishedData(
        title="EEG of Muse headbands by A. Barachant and NeuroTechX, eeg-notebooks v0.1",
        licence="BSD 3-Clause; Barachant and NeuroTechX, 2017",
        by_hand="download release v0.1 of https://github.com/NeuroTechX/eeg-notebooks and put its folder data there",
    ),
    "exo": PublishedData(
        title="SSVEP EEG of people who steer an exoskeleton",
        licence="CC0 1.0; Kalunga et al., Neurocomputing, 2016",
        by_hand="clone https://github.com/sylvchev/dataset-ssvep-exoskeleton and put its folders subject01, … there",
    ),
    "faces": PublishedData(
        title="Face Research Lab London Set",
        licence="CC BY 4.0; DeBruine & Jones, figshare, 2017",
        by_hand=(
            "download neutral_front.zip and smiling_front.zip from https://doi.org/10.6084/m9.figshare.5047666 and "
            "unpack both into that folder"
        ),
    ),
    "emodb": PublishedData(
        title="Berlin Database of Emotional Speech (EmoDB)",
        licence="CC0 1.0; Burkhardt et al., Interspeech 2005",
        by_hand=(
            "download http://emodb.bilderbar.info/download/download.zip and unpack it into that folder, whose folder "
            "wav then holds 03a01Wa.wav and the others"
        ),
    ),
    "speech": PublishedData(
        title="Ryerson Audio-Visual Database of Emotional Speech and Song (RAVDESS), speech",
        licence="CC BY-NC-SA 4.0, for non-commercial use; Livingstone & Russo, PLoS ONE 13(5), 2018",
        by_hand=(
            "download Audio_Speech_Actors_01-24.zip from https://doi.org/10.5281/zenodo.1188976, after you have read "
            "its licence (non-commercial, share alike), and unpack it into that folder"
        ),
    ),
    "pupil": PublishedData(
        title="tables of eye openness and pupil by S. Gebraad, Eye-tracking data analysis, 2023",
        licence="MIT; Gebraad, 2023",
        by_hand=(
            "ask its author for the tables, of which we know no lasting address: P1_control.csv, P1_arithmetic.csv, … "
            "with the columns seconds, openness_left, openness_right, pupil_left_mm, pupil_right_mm"
        ),
    ),
    "ceap": PublishedData(
        title="CEAP-360VR",
        licence="CC BY-NC 4.0 by name, linked to BY-NC-SA 4.0, for non-commercial use; Xue et al., IEEE TMM, 2021",
        by_hand=(
            "clone https://github.com/cwi-dis/CEAP-360VR-Dataset, after you have read its licence (non-commercial), "
            "and put its folder CEAP-360VR into that folder"
        ),
    ),
}
"""Every data set that has a reader, by the name of its folder."""


def data_folder(name: str, root: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder of a data set that is on this machine.

    Args:
        name: One of :data:`SOURCES`, such as ``"eegmat"``.
        root: The folder that holds one folder a data set (default: the environment variable ``EVERMODELS_DATA``).

    Raises:
        UnknownNameError: If there is no such data set.
        DataError: If it is not there, with how to get it.

    Example:
        >>> data_folder("eegmat", root="nowhere")
        Traceback (most recent call last):
            ...
        evermodels.core.errors.DataError: eegmat: there is no folder 'nowhere/eegmat'. ...
    """
    source = _source(name)
    chosen = os.environ.get(DATA_VARIABLE) if root is None else root
    way_out = (
        f"get it with evermodels.datasets.fetch({name!r}, folder)"
        if source.base_url
        else f"to get it, {source.by_hand}"
    )
    if not chosen:
        raise DataError(
            f"{name}: the environment variable {DATA_VARIABLE} is not set. Set it to a folder with {name}/ in it "
            f"({source.title}; {source.licence}), or give the folder (root=…, data_root=…, --data); {way_out}."
        )
    folder = Path(chosen).expanduser() / name
    if not folder.is_dir():
        raise DataError(
            f"{name}: there is no folder {folder.as_posix()!r}. It should hold the {source.title} ({source.licence}); "
            f"{way_out}."
        )
    return folder


def fetch(
    name: str,
    folder: str | os.PathLike[str] | None = None,
    *,
    files: tuple[str, ...] | None = None,
    base_url: str | None = None,
    progress: bool = False,
) -> Path:
    """Download a data set from its publisher with ``pooch``, checking each file's SHA-256.

    Files that are already there and right are kept; one that is there and differs is never overwritten. A file is
    written under a temporary name and moved into place only once its digest is right, so an interruption leaves nothing
    partial. Transfers are tried three times.

    The digests of the files that we hold as published (subjects 00 and 35) are pinned here. For the others the
    publisher's own ``SHA256SUMS.txt`` is fetched first and counts; that list itself cannot be pinned, because its
    digest was not known when this was written, so for those files the check finds damage, not a publisher's change.
    Where the list contradicts a pinned digest, the download stops.

    Args:
        name: ``"eegmat"``; of the others a person has to download the archive, or to agree to its licence first (the
            message says how).
        folder: Where to put the files (default: ``eegmat`` under the environment variable ``EVERMODELS_DATA``).
        files: Names of the files to get (default: all).
        base_url: Another address of the same files, such as a mirror.
        progress: Whether to show a bar for each file.

    Returns:
        The folder.

    Raises:
        UnknownNameError: If there is no such data set.
        DataError: If it cannot be downloaded without a person, a file is not on the publisher's list, a transfer fails,
            a digest is wrong, or the folder holds a different file of that name.

    Example:
        >>> fetch("eegmat", "data/eegmat", files=("Subject36_1.edf",))
        Traceback (most recent call last):
            ...
        evermodels.core.errors.DataError: eegmat: 'Subject36_1.edf' is not one of its files. Did you mean ...
        >>> fetch("faces")
        Traceback (most recent call last):
            ...
        evermodels.core.errors.DataError: faces: the Face Research Lab London Set cannot be fetched by a program: ...
    """
    source = _source(name)
    if source.base_url is None:
        raise DataError(f"{name}: the {source.title} cannot be fetched by a program: {source.by_hand}.")
    target = Path(folder).expanduser() if folder is not None else _default_target(name)
    url = (base_url or source.base_url).rstrip("/") + "/"
    wanted = source.files if files is None else tuple(files)
    for file in wanted:
        if file not in source.files:
            raise DataError(f"{name}: {file!r} is not one of its files.{did_you_mean(file, source.files)}")
    digests = _digests(name, source, wanted, target, url)
    for file in wanted:
        _retrieve(name, url, file, digests[file], target, progress=progress)
    return target


def _source(name: str) -> PublishedData:
    if name not in SOURCES:
        raise UnknownNameError(
            f"data set: {name!r} is not known.{did_you_mean(name, SOURCES)} There are: {', '.join(sorted(SOURCES))}."
        )
    return SOURCES[name]


def _default_target(name: str) -> Path:
    root = os.environ.get(DATA_VARIABLE)
    if not root:
        raise DataError(
            f"{name}: give a folder, or set the environment variable {DATA_VARIABLE} to the one for all data."
        )
    return Path(root).expanduser() / name


def _digests(name: str, source: PublishedData, wanted: tuple[str, ...], target: Path, url: str) -> dict[str, str]:
    """Pinned digests, and the publisher's for the rest; the list is fetched only where it is needed."""
    if all(file in source.digests for file in wanted):
        return dict(source.digests)
    # The list has no digest of its own and may be renewed, so an old copy must not be taken for it.
    (target / _SUMS).unlink(missing_ok=True)
    path = _retrieve(name, url, _SUMS, None, target, progress=False)
    listed = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        match = re.fullmatch(r"([0-9a-fA-F]{64})\s+\*?(.+?)\s*", line)
        if match:
            listed[match[2].removeprefix("./")] = match[1].lower()
    for file in wanted:
        if file not in listed:
            raise DataError(
                f"{name}: the publisher's {_SUMS} has no line for {file}, so it cannot be checked. Look at {url}."
            )
        if source.digests.get(file, listed[file]) != listed[file]:
            raise DataError(
                f"{name}: the publisher's {_SUMS} gives {listed[file]} for {file}, and {source.digests[file]} is known "
                f"from the published version. This is another version, or not the publisher."
            )
    return listed


def _retrieve(name: str, url: str, file: str, digest: str | None, target: Path, *, progress: bool) -> Path:
    pooch = require("pooch", extra="train", purpose="download data sets")
    client = pooch.create(
        path=target,
        base_url=url,
        registry={file: None if digest is None else f"sha256:{digest}"},
        retry_if_failed=_RETRIES,
    )
    there = target / file
    if digest is not None and there.is_file() and pooch.file_hash(str(there)) != digest:
        raise DataError(
            f"{name}: {there} is there and is not the published file (another version, or damaged). Move it away, or "
            f"fetch into another folder."
        )
    try:
        return Path(client.fetch(file, progressbar=progress))
    except ValueError as error:
        raise DataError(
            f"{name}: {file} from {url} is not the published file ({error}). Nothing was kept; try again later."
        ) from error
    except OSError as error:
        raise DataError(
            f"{name}: {file} could not be fetched from {url} ({error}). Nothing partial was kept; files that are "
            f"complete stay, and the next call goes on from there."
        ) from error
