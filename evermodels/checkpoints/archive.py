"""The zip archive that ``torch.save`` makes, checked before torch opens it: what it would unpack to, and checksums."""

from __future__ import annotations

import zipfile
from pathlib import Path

LARGEST_RATIO = 10
"""Times its own size that an archive may unpack to; ``torch.save`` compresses nothing, so that it is 1."""

LARGEST_PICKLE = 1 << 26
"""Bytes of the pickle inside, which holds names and shapes, not weights."""

MOST_ENTRIES = 100_000


def check_archive(path: Path) -> None:
    """Refuse an archive that would cost far more memory than its size shows, or whose checksums do not hold.

    ``torch.load`` compares no checksums; ``torch.save`` can be told to write none (zeros).

    Args:
        path: The file, which begins as an archive does.

    Raises:
        zipfile.BadZipFile: With the reason.
    """
    if not zipfile.is_zipfile(path):
        raise zipfile.BadZipFile("the end of the archive is not there: it is cut short")
    size = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if len(entries) > MOST_ENTRIES:
            raise zipfile.BadZipFile(f"{len(entries):,} entries, at most {MOST_ENTRIES:,} are read")
        unpacked = sum(entry.file_size for entry in entries)
        if unpacked > LARGEST_RATIO * size:
            raise zipfile.BadZipFile(
                f"{size:,} bytes that would unpack to {unpacked:,}, which torch.save does not write; more than "
                f"{LARGEST_RATIO} times is not unpacked"
            )
        for entry in entries:
            if entry.filename.endswith("data.pkl") and entry.file_size > LARGEST_PICKLE:
                raise zipfile.BadZipFile(
                    f"{entry.file_size:,} bytes of names and shapes, at most {LARGEST_PICKLE:,} are read"
                )
        stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
        if stored and any(entry.CRC for entry in entries) and (bad := archive.testzip()):
            raise zipfile.BadZipFile(f"the checksum of {bad} differs")
