"""One open file: what is read from it is what is hashed, whatever another process does to the file meanwhile."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Mapping
from io import FileIO
from pathlib import Path

from evermodels.checkpoints.verify import BlobName, FileDigest, Hashing
from evermodels.core.errors import CheckpointError

WHAT_BELONGS_THERE = (
    "A checkpoint is a folder with config.json and model.safetensors, as model.save_pretrained writes it."
)

_PIECE = 1 << 20  # bytes that are read at a time


@contextlib.contextmanager
def open_file(
    path: Path, declared: Mapping[str, FileDigest | BlobName] | None = None, way_out: str = ""
) -> Iterator[OpenFile]:
    """Open a file once, for everything that is done with it.

    Args:
        path: The file.
        declared: What it must be, by who says so.
        way_out: What to do where it is not, for the message.

    Raises:
        CheckpointError: If it cannot be read, or is a pipe or a device.
        ChecksumError: If it has not the declared size.
    """
    try:
        with open(path, "rb", buffering=0, opener=_without_waiting) as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise CheckpointError(f"{path}: cannot be read (not a file). {WHAT_BELONGS_THERE}")
            yield OpenFile(stream, path, declared or {}, way_out)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error}). {WHAT_BELONGS_THERE}") from error


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # a pipe would wait for somebody who writes


class OpenFile:
    """A file that is read from its beginning to its end, each byte once, and hashed from the memory it is read into.

    Args:
        stream: The file.
        path: Its path, for messages.
        declared: What it must be, by who says so.
        way_out: What to do where it is not.

    Attributes:
        size: Bytes that it had when it was opened.
    """

    def __init__(self, stream: FileIO, path: Path, declared: Mapping[str, FileDigest | BlobName], way_out: str) -> None:
        self._stream, self._path, self._way_out = stream, path, way_out
        self._state = self._look()
        self.size, _ = self._state
        self._position = 0
        self._hashing = Hashing(self.size, declared)
        self._hashing.verify_size(path, way_out)

    def read(self, length: int) -> bytes:
        """Return the next bytes, fewer only at the file's end.

        Args:
            length: How many.
        """
        data = bytearray(min(length, self.size - self._position))
        self.fill(memoryview(data))
        return bytes(data)

    def start(self) -> bytes:
        """Return the first bytes, to say what the file is instead of what it should be."""
        self._stream.seek(0)
        data = self._stream.read(64)
        self._stream.seek(self._position)
        return data

    def fill(self, memory: memoryview) -> None:
        """Read the next bytes into memory.

        Args:
            memory: The memory, of single bytes.

        Raises:
            CheckpointError: If the file ends before.
        """
        while memory:
            done = _read_some(self._stream, memory[:_PIECE])  # in pieces that the digest finds in the processor's cache
            if not done:
                raise CheckpointError(
                    f"{self._path}: ended before its end. It changed while it was read: load it again."
                )
            self._hashing.update(memory[:done])
            self._position += done
            memory = memory[done:]

    def verify(self) -> None:
        """Read what is left, and raise unless the whole is what was declared.

        Raises:
            ChecksumError: If it is not.
            CheckpointError: If nothing was declared, and the file was changed since it was opened.
        """
        if self._hashing.needed:
            while self.read(_PIECE):
                pass
            self._hashing.verify(self._path, self._way_out)
        elif self._look() != self._state:
            raise CheckpointError(f"{self._path}: it changed while it was read. Load it again.")

    def _look(self) -> tuple[int, int]:
        now = os.fstat(self._stream.fileno())
        return now.st_size, now.st_mtime_ns


def _read_some(stream: FileIO, memory: memoryview) -> int:
    return stream.readinto(memory) or 0
