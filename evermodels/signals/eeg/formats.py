"""Which reader of MNE reads which file; the others get the true cause."""

from __future__ import annotations

import re
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from evermodels.core.errors import MissingExtraError, SignalError, boundary, require, shorten
from evermodels.signals.eeg import edf
from evermodels.signals.eeg.brainvision import check_brainvision, header_of
from evermodels.signals.eeg.checks import check_plausible_rate, note

# Readers of MNE by ending, each tried in turn: `mne.io.read_raw` knows the same, but hides why two readers failed, and
# knows neither epochs nor EGI's old .raw.
_READERS: dict[str, tuple[str, ...]] = {
    ".edf": ("read_raw_edf",),
    ".bdf": ("read_raw_bdf",),
    ".gdf": ("read_raw_gdf",),
    ".fif": ("read_raw_fif", "read_epochs"),
    ".fif.gz": ("read_raw_fif", "read_epochs"),
    ".vhdr": ("read_raw_brainvision",),
    ".ahdr": ("read_raw_brainvision",),
    ".set": ("read_raw_eeglab", "read_epochs_eeglab"),
    ".mff": ("read_raw_egi",),
    ".raw": ("read_raw_egi",),
    ".cnt": ("read_raw_cnt", "read_raw_ant"),
    ".nedf": ("read_raw_nedf",),
    ".nxe": ("read_raw_eximia",),
    ".eeg": ("read_raw_nihon",),
    ".data": ("read_raw_nicolet",),
    ".lay": ("read_raw_persyst",),
    ".mefd": ("read_raw_mef",),
    ".ns3": ("read_raw_nsx",),
    ".dat": ("read_raw_curry", "read_raw_bci2k"),
    ".dap": ("read_raw_curry",),
    ".rs3": ("read_raw_curry",),
    ".cdt": ("read_raw_curry",),
    ".cdt.dpa": ("read_raw_curry",),
    ".sqd": ("read_raw_kit",),
    ".con": ("read_raw_kit",),
    ".ds": ("read_raw_ctf",),
}
_NEEDED: dict[str, dict[str, Any]] = {"read_raw_nicolet": {"ch_type": "eeg"}}
_ARRAY = "read_eeg(array, ch_names=[...], unit='uV', sfreq=...) with an array (channels, time)"
_OTHERS: dict[str, str] = {
    ".mat": "A .mat file can hold anything, and not its meaning. FieldTrip's is read by "
    "mne.io.read_raw_fieldtrip(path, info, data_name='data') or mne.read_epochs_fieldtrip, with the info of the "
    "recording; give what it returns. Of another take the array with scipy.io.loadmat and give " + _ARRAY + ".",
    ".xdf": "XDF holds streams of a lab, of which you say which is the EEG: streams, _ = pyxdf.load_xdf(path) (pip "
    "install pyxdf); then give stream['time_series'].T as " + _ARRAY + ".",
    ".fdt": "This is the data part of an EEGLAB recording: give the .set file.",
    ".vmrk": "",
    ".amrk": "",
    ".snirf": "It holds near-infrared spectroscopy, not EEG.",
    ".npy": "Load it with numpy.load and give " + _ARRAY + ".",
    ".npz": "Load it with numpy.load and give " + _ARRAY + ".",
    ".csv": "A table does not say its unit and rate: load its columns and give " + _ARRAY + ".",
    ".tsv": "A table does not say its unit and rate: load its columns and give " + _ARRAY + ".",
    ".txt": "A table does not say its unit and rate: load its columns and give " + _ARRAY + ".",
    ".parquet": "A table does not say its unit and rate: load its columns and give " + _ARRAY + ".",
    ".h5": "Load the array with h5py and give " + _ARRAY + ".",
    ".hdf5": "Load the array with h5py and give " + _ARRAY + ".",
    ".gz": "Unpack it first.",
    ".zip": "Unpack it first.",
}
_DAMAGED = (
    "The file is damaged, cut short, or not what its name says; copy it again, or read it yourself and give " + _ARRAY
)
_MODULE_NEEDED = re.compile(r"the module (\S+?)(?:[<>=!]\S*)?(?: \(found version \S+\))? is needed")
_MOST_WARNINGS = 5
_TECHNICAL = (DeprecationWarning, FutureWarning, ResourceWarning)
# What our own reading of the header has said already, or what has no consequence.
_NOTHING_TO_KNOW = re.compile(
    r"does not conform to MNE naming conventions|^Number of records from the header does not match"
    r"|^Physical range is not defined|^Scaling factor will not be defined"
)
_WITHOUT_PAUSES = re.compile(r"annotation\(s\) that were (expanding )?outside (the )?data range")
_WARNINGS = threading.RLock()  # Python keeps what to do with warnings for all threads together


@dataclass
class Opened:
    """A file that MNE has opened and not read yet.

    Args:
        source: MNE ``Raw`` or ``Epochs``.
        name: What messages call it.
        notes: Sentences on what it showed.
        path: The file that was read; ``None`` for an object that the user made.
        left_out: Channels that are not in ``source``, as they need not be read.
        unusable: Channels that cannot be read, by name: why.
        header: The header of an EDF or BDF file.
    """

    source: Any
    name: str
    notes: list[str]
    path: Path | None = None
    left_out: tuple[str, ...] = ()
    unusable: dict[str, str] = field(default_factory=dict)
    header: edf.Header | None = None


def open_recording(path: Path) -> Opened:
    """Open a file with the reader of MNE that reads its kind.

    Args:
        path: The file, or a folder for kinds that are folders.

    Raises:
        FileNotFoundError: If there is no such file.
        SignalError: If it is empty, cut, damaged, of a kind that no reader takes as it is, or has an impossible rate.
        MissingExtraError: If a package is missing that MNE needs for this kind.
    """
    mne = require("mne", extra="eeg", purpose="read EEG files")
    if not path.exists():
        raise FileNotFoundError(f"eeg: there is no file {path}.")
    if path.is_file() and path.stat().st_size == 0:
        raise SignalError(f"{path.name}: the file is empty (0 bytes). Copy it again.")
    notes: list[str] = []
    path = _header_file(path, notes)
    suffix = _suffix(path)
    if suffix is None:
        raise SignalError(f"{path.name}: {_why_not(path)}")
    if suffix in (".vhdr", ".ahdr"):
        check_brainvision(path)
    opened = Opened(None, path.name, notes, path)
    options: dict[str, Any] = {}
    if suffix in edf.SUFFIXES:
        header = edf.read_header(path, notes)
        for signal in header.signals:
            if edf.is_electrode(header.labels[signal]):
                check_plausible_rate(header.rate(signal), f"{path.name}, channel {header.labels[signal]},")
        opened.header, opened.unusable = header, dict(header.unscaled)
        opened.left_out = tuple(header.at_other_rates())
        options = {"exclude": list(opened.left_out)} if opened.left_out else {}
    paused = opened.header is not None and opened.header.paused
    with passing_warnings(path.name, notes, ignored=_WITHOUT_PAUSES if paused else None):
        opened.source = _first_that_reads(mne, path, _readers(path, suffix), options)
    return opened


def is_eeg_name(path: Path) -> bool:
    """Return whether a path has the ending of a recording of EEG, or of something that might be taken for one.

    Args:
        path: The path; it need not exist.
    """
    return _suffix(path) is not None or path.suffix.lower() in _OTHERS


@contextmanager
def passing_warnings(
    name: str, notes: list[str] | None = None, *, ignored: re.Pattern[str] | None = None
) -> Iterator[None]:
    """Let what MNE warns of inside pass as our warnings: each once, a few at the most.

    Args:
        name: What is read, which the message begins with.
        notes: Where the sentences are kept too.
        ignored: Texts that are wrong here.
    """
    with _WARNINGS:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
    kept = notes if notes is not None else []
    texts: list[str] = []
    for warning in caught:
        text = " ".join(str(warning.message).split())
        if warning.category is UserWarning or issubclass(warning.category, _TECHNICAL):
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
        elif text not in texts and not any(p.search(text) for p in (_NOTHING_TO_KNOW, ignored) if p is not None):
            texts.append(text)
    for text in texts[:_MOST_WARNINGS]:
        note(kept, f"{name}: {shorten(text, 400)}")
    if len(texts) > _MOST_WARNINGS:
        note(kept, f"{name}: MNE has {len(texts) - _MOST_WARNINGS} more warnings on it.")


def damaged(name: str) -> Any:
    """Return the boundary around MNE's reading of one file, where anything may be raised on a damaged one.

    Args:
        name: The file's name.
    """
    return boundary(SignalError, f"{name}: MNE could not read it", f"{_DAMAGED}.")


def _header_file(path: Path, notes: list[str]) -> Path:
    suffix = path.suffix.lower()
    if suffix in (".vmrk", ".amrk"):
        return header_of(path, notes)
    if suffix == ".eeg" and (path.with_suffix(".vhdr").is_file() or not _is_nihon_kohden(path)):
        return header_of(path, notes)
    return path


def _is_nihon_kohden(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(16).startswith((b"EEG-1100", b"EEG-2100", b"QI-403A"))


def _suffix(path: Path) -> str | None:
    name = path.name.lower()
    return max((suffix for suffix in _READERS if name.endswith(suffix)), key=len, default=None)


def _readers(path: Path, suffix: str) -> tuple[str, ...]:
    if suffix == ".cnt":  # two makers share the ending
        with path.open("rb") as file:
            return ("read_raw_ant",) if file.read(4) == b"RIFF" else ("read_raw_cnt",)
    return _READERS[suffix]


def _why_not(path: Path) -> str:
    suffix = path.suffix.lower()
    if path.is_dir():
        return "a folder is read only where it is one recording (.mff, .ds, .mefd). Give the file of the recording."
    if suffix in _OTHERS:
        return f"a {suffix} file is not read as it is. {_OTHERS[suffix]}"
    return (
        f"no reader of MNE takes files that end in {suffix or 'nothing'!r}; it reads {' '.join(sorted(_READERS))}. "
        f"Rename a file that is one of these, or give {_ARRAY}."
    )


def _first_that_reads(mne: ModuleType, path: Path, readers: tuple[str, ...], options: dict[str, Any]) -> Any:
    """Return what the first of the readers makes of a file that can."""
    failed: list[tuple[str, Exception]] = []
    for name in readers:
        reader: Callable[..., Any] | None = getattr(mne.io, name, None) or getattr(mne, name, None)
        if reader is None:  # a reader that this version of MNE does not have yet
            continue
        try:
            return reader(str(path), verbose="WARNING", **options, **_NEEDED.get(name, {}))
        except Exception as error:  # MNE's readers raise anything on a damaged file
            failed.append((name, error))
    if len({type(failure) for _, failure in failed}) == 1:
        _say_what_is_missing(path, failed[0][1])
    with damaged(path.name):
        if len(failed) == 1:
            raise failed[0][1]
        causes = "; ".join(
            f"{name}: {type(e).__name__}: {shorten(' '.join(str(e).split()), 160)}" for name, e in failed
        )
        raise RuntimeError(causes)
    raise AssertionError("unreachable")


def _say_what_is_missing(path: Path, error: BaseException | None) -> None:
    """Raise if a package is missing, or a file beside the given one."""
    if isinstance(error, RuntimeError) and (needed := _MODULE_NEEDED.search(str(error))):
        package = needed[1]
        raise MissingExtraError(
            f"{path.name}: MNE needs the package {package} for this kind of file. Install it: pip install {package}"
        ) from error
    if isinstance(error, NotImplementedError) and "HDF reader" in str(error):
        raise MissingExtraError(
            f"{path.name}: it is a MATLAB 7.3 file, for which MNE needs the packages pymatreader and h5py. Install "
            "them: pip install pymatreader h5py. Or save it in EEGLAB as version 7."
        ) from error
    if isinstance(error, ModuleNotFoundError) and error.name:
        raise MissingExtraError(
            f"{path.name}: MNE needs the package {error.name} for this kind of file. Install it: pip install "
            f"{error.name}"
        ) from error
    if isinstance(error, FileNotFoundError):
        raise SignalError(
            f"{path.name}: a file that belongs to it is missing ({shorten(' '.join(str(error).split()), 200)}). Put "
            "all files of the recording into one folder."
        ) from error
