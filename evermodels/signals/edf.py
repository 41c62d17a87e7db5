"""Is an EDF or BDF file as long as its header says? Readers tend to read a cut file silently."""

from __future__ import annotations

import warnings
from pathlib import Path

from evermodels.core.errors import SignalError

_FIXED = 256
_BYTES_PER_SIGNAL = 256
_SAMPLES_AT = 216  # label 16, transducer 80, dimension 8, four limits 8 each, prefilter 80


def check_complete(path: Path) -> None:
    """Raise unless an EDF or BDF file holds every data record that its header announces.

    Header layout: Kemp et al., A simple format for exchange of digitized polygraphic recordings, Electroencephalogr.
    Clin. Neurophysiol. 82:391, 1992 (EDF, 2 bytes a sample); BioSemi (BDF, 3 bytes a sample).

    Args:
        path: The file; ``.bdf`` counts as BDF, everything else as EDF.

    Raises:
        SignalError: If the header or a data record is cut, or the header's numbers are not numbers.
    """
    size = path.stat().st_size
    sample_bytes = 3 if path.suffix.lower() == ".bdf" else 2
    kind = "BDF" if sample_bytes == 3 else "EDF"
    if size < _FIXED:
        raise SignalError(
            f"{path.name}: the {kind} header needs at least {_FIXED} bytes and the file has {size}. "
            "It was cut or is another kind of file: copy it again."
        )
    with path.open("rb") as file:
        fixed = file.read(_FIXED)
        header_bytes = _number(path, kind, fixed[184:192], "number of header bytes")
        records = _number(path, kind, fixed[236:244], "number of data records")
        signals = _number(path, kind, fixed[252:256], "number of signals")
        needed = _FIXED + signals * _BYTES_PER_SIGNAL
        if size < max(needed, header_bytes):
            raise SignalError(
                f"{path.name}: the {kind} header of {signals} signals needs {max(needed, header_bytes)} bytes and the "
                f"file has {size}. It was cut inside the header: copy it again."
            )
        file.seek(_FIXED + signals * _SAMPLES_AT)
        rows = file.read(8 * signals)
    record_bytes = sample_bytes * sum(
        _number(path, kind, rows[8 * i : 8 * i + 8], "samples per record") for i in range(signals)
    )
    if record_bytes <= 0:
        raise SignalError(f"{path.name}: the {kind} header announces no sample in a data record; there is no signal.")
    there = (size - header_bytes) / record_bytes
    if records < 0:
        warnings.warn(
            f"{path.name}: the {kind} header says that the recording was never closed; all {int(there)} whole data "
            "records are read.",
            stacklevel=2,
        )
    elif records == 0:
        raise SignalError(f"{path.name}: the {kind} header announces no data record; the recording is empty.")
    elif there < records:
        raise SignalError(
            f"{path.name}: the {kind} header announces {records} data records and the file holds {there:.1f}. It was "
            "cut in the middle: copy it again, or save the part that is there as a new file if it is all you have."
        )


def _number(path: Path, kind: str, field: bytes, what: str) -> int:
    try:
        return int(float(field.decode("ascii").strip()))
    except (UnicodeDecodeError, ValueError, OverflowError):
        raise SignalError(
            f"{path.name}: the {kind} header's {what} reads {field!r}, which is no number. "
            f"The file is damaged or not {kind}."
        ) from None
