"""BrainVision's three files: does the header point to files beside it, and are these as long as they should be?"""

from __future__ import annotations

import configparser
import re
from pathlib import Path

from evermodels.core.errors import SignalError, boundary
from evermodels.signals.eeg.checks import note

_BYTES = {"INT_16": 2, "UINT_16": 2, "INT_32": 4, "IEEE_FLOAT_32": 4}
_LARGEST_TEXT = 64 * 2**20
_WAY_OUT = "Put the .vhdr, .vmrk and .eeg files of one recording into one folder, and name them as the header does."


def header_of(path: Path, notes: list[str]) -> Path:
    """Return the header file of a BrainVision recording of which any file was given.

    Args:
        path: A ``.vhdr``, ``.eeg``, ``.vmrk`` (or ``.ahdr``, ``.amrk``) file.
        notes: Where a sentence is kept if another file than the given one is read.

    Raises:
        SignalError: If no header stands beside the file.
    """
    suffix = path.suffix.lower()
    if suffix in (".vhdr", ".ahdr"):
        return path
    beside = [path.with_suffix(s) for s in (".vhdr", ".VHDR", ".ahdr") if path.with_suffix(s).is_file()]
    for header in beside:
        said = _common(header)
        if path.name in (_file_name(said, "DataFile", header), _file_name(said, "MarkerFile", header)):
            note(notes, f"{path.name}: read through its BrainVision header {header.name}.")
            return header
    raise SignalError(
        f"{path.name}: this is a part of a BrainVision recording, which is read by its header. Give the .vhdr file"
        + (f", but {beside[0].name} beside it does not name this file." if beside else "; there is none beside it.")
    )


def check_brainvision(header: Path) -> None:
    """Raise unless a header's files lie beside it and the data are as long as header and markers say.

    Layout: BrainVision Core Data Format 1.0, Brain Products.

    Args:
        header: The ``.vhdr`` or ``.ahdr`` file.

    Raises:
        SignalError: If the header cannot be read, names a file outside its folder or one that is not there, or the
            data file is shorter than it should be.
    """
    said = _common(header)
    data = _beside(said, "DataFile", header)
    channels, width = _integer(said, "NumberOfChannels", header), _BYTES.get(_format(header, "BinaryFormat").upper())
    if said.get("MarkerFile", "").strip():
        _beside(said, "MarkerFile", header, may_lack=True)
    if said.get("DataFormat", "BINARY").strip().upper() != "BINARY" or width is None:
        return  # text, or a number format that MNE names when it refuses it
    if channels < 1:
        raise SignalError(f"{header.name}: NumberOfChannels is {channels}. The header is damaged: copy it again.")
    size = data.stat().st_size
    samples, rest = divmod(size, channels * width)
    if rest:
        raise SignalError(
            f"{data.name}: its {size} bytes are no whole number of samples of {channels} channels. It was cut in the "
            "middle: copy it again."
        )
    if "DataPoints" in said and (points := _integer(said, "DataPoints", header)) != samples:
        raise SignalError(
            f"{data.name}: {header.name} announces {points} samples (DataPoints) and the file holds {samples}. It was "
            "cut in the middle or belongs to another header: copy it again."
        )
    last = _last_marker(said, header)
    if last > samples:
        raise SignalError(
            f"{data.name}: it holds {samples} samples, and the last marker of its recording stands at sample {last}. "
            "It was cut in the middle: copy it again."
        )


def _sections(path: Path) -> dict[str, dict[str, str]]:
    if path.stat().st_size > _LARGEST_TEXT:
        raise SignalError(f"{path.name}: {path.stat().st_size} bytes are too many for a text file of BrainVision.")
    raw = path.read_bytes()
    text = raw.decode("utf-8", errors="replace").lstrip("\ufeff")
    text = text[text.find("\n[") + 1 :] if "\n[" in text else ""  # the first line names the format
    text = text.split("[Comment]")[0]  # free text
    parser = configparser.ConfigParser(
        interpolation=None, strict=False, delimiters=("=",), comment_prefixes=(";",), allow_no_value=True
    )
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # keys keep their case; the documented way
    with boundary(SignalError, f"{path.name}: its BrainVision text cannot be read", "Copy it again."):
        parser.read_string(text)
    return {name: {key: value or "" for key, value in parser[name].items()} for name in parser.sections()}


def _common(header: Path) -> dict[str, str]:
    said = _sections(header).get("Common Infos", {})
    if "DataFile" not in said:
        raise SignalError(f"{header.name}: it names no DataFile, so it is no BrainVision header. Give the .vhdr file.")
    return said


def _format(header: Path, key: str) -> str:
    return _sections(header).get("Binary Infos", {}).get(key, "").strip()


def _integer(said: dict[str, str], key: str, header: Path) -> int:
    try:
        return int(said.get(key, "").strip())
    except ValueError:
        raise SignalError(
            f"{header.name}: {key} reads {said.get(key, '')[:40]!r}, which is no number. The header is damaged: copy "
            "it again."
        ) from None


def _file_name(said: dict[str, str], key: str, header: Path) -> str:
    return said.get(key, "").strip().replace("$b", header.stem)


def _beside(said: dict[str, str], key: str, header: Path, *, may_lack: bool = False) -> Path:
    """Return a file that the header names, which must lie in the header's own folder, links followed."""
    name = _file_name(said, key, header)
    folder = header.parent.resolve()
    path = header.parent / name
    if not name or name in (".", "..") or re.search(r"[/\\\x00]|^[A-Za-z]:", name) or path.resolve().parent != folder:
        raise SignalError(
            f"{header.name}: {key}={name[:80]} leads out of the header's folder and is not read. {_WAY_OUT}"
        )
    if not path.is_file() and not may_lack:
        raise SignalError(f"{header.name}: there is no {name} ({key}) beside it. {_WAY_OUT}")
    return path


def _last_marker(said: dict[str, str], header: Path) -> int:
    name = _file_name(said, "MarkerFile", header)
    path = header.parent / name
    if not name or not path.is_file():
        return 0
    last = 0
    for key, value in _sections(path).get("Marker Infos", {}).items():
        parts = value.split(",")
        if re.fullmatch(r"Mk\d+", key) and len(parts) >= 3 and parts[2].strip().isdigit():
            last = max(last, int(parts[2]))
    return last
