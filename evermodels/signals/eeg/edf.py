"""What the header of an EDF or BDF file says, and whether it can be true: readers tend to read damage silently."""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from evermodels.core.errors import SignalError, UnknownNameError
from evermodels.montage import canonical
from evermodels.signals.eeg.checks import note

SUFFIXES = (".edf", ".bdf")

_FIXED = 256
_BYTES_PER_SIGNAL = 256
# Fields of the signals, all of the first field first: label, transducer, dimension, four limits, prefilter, samples.
_LABEL_AT, _UNIT_AT, _LIMITS_AT, _SAMPLES_AT = 0, 96, 104, 216
_KNOWN_UNITS = ("uV", "µV", "μV", "\x83\xcaV", "mV", "V")
_ANNOTATIONS = ("EDF ANNOTATIONS", "BDF ANNOTATIONS")
_ONSET = re.compile(rb"^([+-]\d+(?:\.\d*)?)\x14")
_JITTER = 1e-3  # seconds between two records that are rounding of a written time stamp, not a pause


@dataclass(frozen=True)
class Header:
    """What counts of an EDF or BDF header, after it was found to be possible.

    Args:
        kind: ``"EDF"`` or ``"BDF"``.
        records: Whole data records in the file.
        seconds: Length of a record.
        labels: Label of each signal, annotations too.
        units: Physical dimension of each signal.
        samples: Samples of each signal in a record.
        unscaled: Signals without a usable scale, by label: why.
        onsets: When each record begins, in seconds after the first; ``None`` where the file does not say so.
    """

    kind: str
    records: int
    seconds: float
    labels: tuple[str, ...]
    units: tuple[str, ...]
    samples: tuple[int, ...]
    unscaled: dict[str, str]
    onsets: tuple[float, ...] | None

    @property
    def signals(self) -> list[int]:
        """Indices of the signals that are not annotations."""
        return [i for i, label in enumerate(self.labels) if not _holds_annotations(label)]

    @property
    def paused(self) -> bool:
        """Whether there is more than one uninterrupted stretch."""
        return len(self.stretches(max(self.samples) / self.seconds)) > 1

    def rate(self, signal: int) -> float:
        """Return the sampling rate of a signal in Hz."""
        return self.samples[signal] / self.seconds

    def unknown_units(self) -> dict[str, str]:
        """Return the dimension of each signal whose dimension is no unit of voltage, by label."""
        return {self.labels[i]: self.units[i] for i in self.signals if self.units[i] not in _KNOWN_UNITS}

    def at_other_rates(self) -> list[str]:
        """Return the labels of signals that are no electrodes and are sampled at another rate than the electrodes."""
        rates = {self.rate(i) for i in self.signals if is_electrode(self.labels[i])}
        return [self.labels[i] for i in self.signals if rates and self.rate(i) not in rates]

    def stretches(self, sfreq: float) -> list[tuple[int, int, float]]:
        """Return the uninterrupted stretches of the file as first sample, sample after the last, onset in seconds.

        Args:
            sfreq: Rate at which the samples are counted.
        """
        whole = round(self.seconds * sfreq)
        if self.onsets is None:
            return [(0, self.records * whole, 0.0)]
        found: list[tuple[int, int, float]] = []
        expected = -math.inf
        for record, onset in enumerate(self.onsets):
            if abs(onset - expected) <= max(_JITTER, 0.5 / sfreq):
                found[-1] = (found[-1][0], (record + 1) * whole, found[-1][2])
            else:
                found.append((record * whole, (record + 1) * whole, onset))
            expected = onset + self.seconds
        return found


def read_header(path: Path, notes: list[str]) -> Header:
    """Read the header of an EDF or BDF file, and raise unless the file can be what it says.

    Header layout: Kemp et al., A simple format for exchange of digitized polygraphic recordings, Electroencephalogr.
    Clin. Neurophysiol. 82:391, 1992 (EDF, 2 bytes a sample); BioSemi (BDF, 3 bytes a sample). Interrupted files: Kemp &
    Olivan, European data format 'plus' (EDF+), Clin. Neurophysiol. 114:1755, 2003.

    Args:
        path: The file; ``.bdf`` counts as BDF, everything else as EDF.
        notes: Where sentences on what is wrong and can be read all the same are kept.

    Raises:
        SignalError: If the header or a data record is cut, the header's numbers are not numbers or contradict each
            other or the file's size, there is no signal, or the file is interrupted and does not say where.
    """
    kind = "BDF" if path.suffix.lower() == ".bdf" else "EDF"
    width = 3 if kind == "BDF" else 2
    size = path.stat().st_size
    with path.open("rb") as file:
        fixed, rows, header_bytes, count = _fields(file, path.name, kind, size)
        samples = [_number(path.name, kind, row, "samples per record") for row in _column(rows, count, _SAMPLES_AT, 8)]
        labels = tuple(_text(row) for row in _column(rows, count, _LABEL_AT, 16))
        _check_signals(path.name, kind, labels, samples)
        seconds = _seconds(path.name, kind, fixed[244:252], samples)
        record_bytes = width * sum(samples)
        records = _records(path.name, kind, fixed[236:244], (size - header_bytes) / record_bytes, notes)
        interrupted = fixed[192:197] in (b"EDF+D", b"BDF+D")
        place = next((i for i, label in enumerate(labels) if _holds_annotations(label)), None)
        onsets = None
        if place is not None:
            first = header_bytes + width * sum(samples[:place])
            texts = _annotation_texts(file, first, width * samples[place], record_bytes, records)
            onsets = _onsets(texts)
        if interrupted and onsets is None:
            raise SignalError(
                f"{path.name}: its header says {kind}+D, a recording with pauses, and its records lack the time stamps "
                "that say where these are. Export it again, as a continuous recording or with its annotations."
            )
        if onsets is not None and any(b <= a for a, b in itertools.pairwise(onsets)):
            raise SignalError(
                f"{path.name}: the time stamps of its records go back. The file is damaged: export it again."
            )
    return Header(
        kind,
        records,
        seconds,
        labels,
        tuple(_text(row) for row in _column(rows, count, _UNIT_AT, 8)),
        tuple(samples),
        _unscaled(rows, count, labels),
        onsets,
    )


def _fields(file: BinaryIO, name: str, kind: str, size: int) -> tuple[bytes, bytes, int, int]:
    if size < _FIXED:
        raise SignalError(
            f"{name}: the {kind} header needs at least {_FIXED} bytes and the file has {size}. "
            "It was cut or is another kind of file: copy it again."
        )
    fixed = file.read(_FIXED)
    header_bytes = _number(name, kind, fixed[184:192], "number of header bytes")
    count = _number(name, kind, fixed[252:256], "number of signals")
    if count < 1:
        raise SignalError(f"{name}: the {kind} header announces {count} signals. The file is damaged: copy it again.")
    needed = _FIXED + count * _BYTES_PER_SIGNAL
    if size < max(needed, header_bytes):
        raise SignalError(
            f"{name}: the {kind} header of {count} signals needs {max(needed, header_bytes)} bytes and the "
            f"file has {size}. It was cut inside the header: copy it again."
        )
    if header_bytes != needed:
        raise SignalError(
            f"{name}: the {kind} header says that it has {header_bytes} bytes, and {count} signals need {needed}. "
            "The file is damaged: copy it again."
        )
    return fixed, file.read(needed - _FIXED), header_bytes, count


def _check_signals(name: str, kind: str, labels: tuple[str, ...], samples: list[int]) -> None:
    if min(samples) < 0:
        raise SignalError(
            f"{name}: the {kind} header announces {min(samples)} samples in a data record for "
            f"{labels[int(np.argmin(samples))]!r}. The file is damaged: copy it again."
        )
    if all(_holds_annotations(label) for label in labels):
        raise SignalError(
            f"{name}: it holds annotations and no signal. Give the file of the recording itself; "
            "mne.read_annotations(path) reads the annotations."
        )
    if sum(samples) == 0:
        raise SignalError(f"{name}: the {kind} header announces no sample in a data record; there is no signal.")


def _seconds(name: str, kind: str, field: bytes, samples: list[int]) -> float:
    try:
        seconds = float(field.decode("ascii").strip())
    except (UnicodeDecodeError, ValueError):
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds > 0):
        raise SignalError(
            f"{name}: the {kind} header's length of a data record reads {field!r}, and only files without signals may "
            f"have 0: the rate of its {max(samples)} samples a record is unknown. Export it again, or read it in MNE "
            "and give the array with its true sfreq."
        )
    return seconds


def _records(name: str, kind: str, field: bytes, there: float, notes: list[str]) -> int:
    records = _number(name, kind, field, "number of data records")
    whole = int(there)
    if records < -1:
        raise SignalError(f"{name}: the {kind} header announces {records} data records. The file is damaged.")
    if records == 0:
        raise SignalError(f"{name}: the {kind} header announces no data record; the recording is empty.")
    if there < max(records, 1):
        raise SignalError(
            f"{name}: the {kind} header announces {records if records > 0 else 'some'} data records and the file holds "
            f"{there:.1f}. It was cut in the middle: copy it again, or save the part that is there as a new file if it "
            "is all you have."
        )
    if records == -1:
        text = "says that the recording was never closed"
        note(notes, f"{name}: the {kind} header {text}; all {whole} whole data records are read.")
    elif there > records:
        text = f"announces {records} data records and the file holds {there:g}"
        note(notes, f"{name}: the {kind} header {text}; all {whole} whole data records are read.")
    return whole


def _annotation_texts(file: BinaryIO, first: int, length: int, record_bytes: int, records: int) -> list[bytes]:
    texts = []
    for record in range(records):
        file.seek(first + record * record_bytes)
        texts.append(file.read(min(length, 64)))
    return texts


def _onsets(texts: list[bytes]) -> tuple[float, ...] | None:
    """Return when each record begins, after the first; ``None`` where one does not say it."""
    found = [_ONSET.match(text) for text in texts]
    stamps = [float(match[1]) for match in found if match is not None]
    if len(stamps) < len(texts) or not stamps or not math.isfinite(sum(map(abs, stamps))):
        return None
    return tuple(stamp - stamps[0] for stamp in stamps)


def _unscaled(rows: bytes, count: int, labels: tuple[str, ...]) -> dict[str, str]:
    limits = [[_limit(row) for row in _column(rows, count, _LIMITS_AT + 8 * k, 8)] for k in range(4)]
    found = {}
    for label, low, high, digital_low, digital_high in zip(labels, *limits, strict=True):
        if _holds_annotations(label):
            continue
        if not all(map(math.isfinite, (low, high, digital_low, digital_high))):
            found[label] = "limits that are no numbers"
        elif low == high:
            found[label] = f"a physical minimum and maximum of {low:g} both"
        elif digital_high <= digital_low:
            found[label] = f"a digital minimum of {digital_low:g} and maximum of {digital_high:g}"
    return found


def _limit(field: bytes) -> float:
    try:
        return float(field.decode("latin-1").split("\x00")[0].replace(",", "."))
    except ValueError:
        return math.nan


def _column(rows: bytes, count: int, at: int, width: int) -> list[bytes]:
    first = at * count
    return [rows[first + i * width : first + (i + 1) * width] for i in range(count)]


def _text(field: bytes) -> str:
    return field.decode("latin-1").strip()


def _holds_annotations(label: str) -> bool:
    return label.upper() in _ANNOTATIONS


def is_electrode(label: str) -> bool:
    """Return whether a label is the name of an electrode.

    Args:
        label: The label of a signal.
    """
    try:
        canonical(label)
    except UnknownNameError:
        return False
    return True


def _number(name: str, kind: str, field: bytes, what: str) -> int:
    try:
        return int(float(field.decode("ascii").strip()))
    except (UnicodeDecodeError, ValueError, OverflowError):
        raise SignalError(
            f"{name}: the {kind} header's {what} reads {field!r}, which is no number. The file is damaged or not "
            f"{kind}."
        ) from None
