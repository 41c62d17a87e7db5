"""Sizes and digests of files, taken from the very bytes that are used."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeAlias

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
        if not 0 <= self.size < 1 << 63:
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


BlobName: TypeAlias = str
"""Name of a blob in the Hub's cache, which is its digest: sha256 of a large file, git's sha1 of a small one."""


class Hashing:
    """The digest of a file from its bytes as they come by, and what it must be.

    Args:
        size: Bytes that the file has.
        declared: What it must be, by who says so.

    Example:
        >>> hashing = Hashing(3, {"the table": FileDigest.of_bytes(b"abc")})
        >>> hashing.update(b"ab")
        >>> hashing.update(b"c")
        >>> hashing.verify("file", "")
    """

    def __init__(self, size: int, declared: Mapping[str, FileDigest | BlobName]) -> None:
        self.declared, self.size = declared, size
        short = any(isinstance(d, str) and len(d) == 40 for d in declared.values())
        long = any(isinstance(d, FileDigest) or len(d) == 64 for d in declared.values())
        # Some mirrors of the Hub name small files by their plain sha1.
        git = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
        self._sha1 = (git, hashlib.sha1(usedforsecurity=False)) if short else ()
        self._sha256 = hashlib.sha256() if long else None
        self._all = (*self._sha1, *((self._sha256,) if self._sha256 is not None else ()))

    @property
    def needed(self) -> bool:
        """Whether anything is declared that bytes can be compared with."""
        return bool(self._all)

    def update(self, data: bytes | memoryview) -> None:
        """Take the next bytes of the file.

        Args:
            data: The bytes.
        """
        for each in self._all:
            each.update(data)

    def verify_size(self, path: str | Path, way_out: str) -> None:
        """Raise unless the file has the declared size, before a byte of it is read.

        Args:
            path: The file, for the message.
            way_out: What to do, for the message.

        Raises:
            ChecksumError: If it has not.
        """
        for declared in self.declared.values():
            if isinstance(declared, FileDigest) and declared.size != self.size:
                raise _not_declared(path, f"{self.size:,} bytes", declared, way_out)

    def verify(self, path: str | Path, way_out: str) -> None:
        """Raise unless what came by, which must be the whole file, is what was declared.

        Args:
            path: The file, for the message.
            way_out: What to do, for the message.

        Raises:
            ChecksumError: If a digest differs.
        """
        self.verify_size(path, way_out)
        sha256 = self._sha256.hexdigest() if self._sha256 is not None else ""
        for declared in self.declared.values():
            if isinstance(declared, FileDigest):
                if declared.sha256 != sha256:
                    raise _not_declared(path, f"{self.size:,} bytes, sha256 {sha256}", declared, way_out)
            elif len(declared) in (40, 64) and declared not in (sha256, *(s.hexdigest() for s in self._sha1)):
                raise ChecksumError(f"{path}: this is not the file that the Hub names ({declared}). {way_out}".rstrip())


def _not_declared(path: str | Path, found: str, declared: FileDigest, way_out: str) -> ChecksumError:
    return ChecksumError(
        f"{path}: this is not the file that was declared.\n"
        f"  found:    {found}\n"
        f"  declared: {declared.size:,} bytes, sha256 {declared.sha256}\n"
        f"It is damaged, cut short or was changed. {way_out}".rstrip()
    )
