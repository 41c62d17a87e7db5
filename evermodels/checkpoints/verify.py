"""Sizes and digests of files: checked before anything is parsed."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from evermodels.core.config import Config
from evermodels.core.errors import ChecksumError

_CHUNK = 1 << 20


@dataclass(frozen=True)
class FileDigest(Config):
    """Size and sha256 of one file.

    Args:
        size: Length in bytes.
        sha256: The digest in 64 lower-case hexadecimal digits.

    Example:
        >>> FileDigest.of_bytes(b"abc").sha256[:8]
        'ba7816bf'
    """

    size: int
    sha256: str

    def check(self) -> None:
        """Refuse what cannot be a size or a digest."""
        if self.size < 0:
            raise self.refuse("size", "a number of bytes")
        if not re.fullmatch(r"[0-9a-f]{64}", self.sha256):
            raise self.refuse("sha256", "64 lower-case hexadecimal digits")

    @classmethod
    def of_bytes(cls, data: bytes) -> FileDigest:
        """Return the digest of bytes in memory."""
        return cls(len(data), hashlib.sha256(data).hexdigest())

    @classmethod
    def of_stream(cls, stream: BinaryIO) -> FileDigest:
        """Return the digest of what is left in an open file, and leave it at its end."""
        sha, size, chunk = hashlib.sha256(), 0, memoryview(bytearray(_CHUNK))
        while read := stream.readinto(chunk):  # type: ignore[attr-defined]  # a real file has it
            sha.update(chunk[:read])
            size += read
        return cls(size, sha.hexdigest())

    @classmethod
    def of_file(cls, path: str | Path) -> FileDigest:
        """Return the digest of a file."""
        with Path(path).open("rb") as stream:
            return cls.of_stream(stream)


def verify(found: FileDigest, declared: FileDigest, path: str | Path, way_out: str) -> None:
    """Raise a :class:`ChecksumError` unless a file is the one that was declared.

    Args:
        found: Size and digest of the file as it is.
        declared: Size and digest as the weight table or ``config.json`` gives them.
        path: The file, for the message.
        way_out: What to do, for the message.

    Raises:
        ChecksumError: If size or digest differs.
    """
    if found != declared:
        raise ChecksumError(
            f"{path}: this is not the file that was declared.\n"
            f"  found:    {found.size:,} bytes, sha256 {found.sha256}\n"
            f"  declared: {declared.size:,} bytes, sha256 {declared.sha256}\n"
            f"It is damaged, cut short or was changed. {way_out}"
        )
