"""One open file: what is read from it is what is hashed, whatever another process does to the file meanwhile."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

from evermodels.checkpoints.verify import BlobName, FileDigest, Hashing
from evermodels.core.errors import CheckpointError

WHAT_BELONGS_THERE = (
    "A checkpoint is a folder with config.json and model.safetensors, as model.save_pretrained writes it."
)

_PIECE = 1 << 22  # bytes that one reader takes at a time
_MOST_MEMORIES = 512  # that one system call fills; systems allow 1024


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
        with open(path, "rb", opener=_without_waiting) as stream:
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

    def __init__(
        self, stream: BinaryIO, path: Path, declared: Mapping[str, FileDigest | BlobName], way_out: str
    ) -> None:
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
        self._read_at(self._position, [memoryview(data)])
        self._position += len(data)
        self._hashing.update(memoryview(data))
        return bytes(data)

    def start(self) -> bytes:
        """Return the first bytes, to say what the file is instead of what it should be."""
        data = bytearray(min(64, self.size))
        with contextlib.suppress(CheckpointError):
            self._read_at(0, [memoryview(data)])
        return bytes(data)

    def fill(self, memories: Iterable[memoryview]) -> None:
        """Read the next bytes into memories, one after the other.

        Args:
            memories: The memories, each of single bytes.

        Raises:
            CheckpointError: If the file ends before.
        """
        pieces = list(self._pieces(memories))
        # Most of the time goes into fresh pages of memory, which the system hands out to each thread by itself.
        with ThreadPoolExecutor(_READERS) as readers:
            for (_, piece), _done in zip(pieces, readers.map(lambda p: self._read_at(*p), pieces), strict=True):
                if self._hashing.needed:
                    for memory in piece:
                        self._hashing.update(memory)

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

    def _pieces(self, memories: Iterable[memoryview]) -> Iterator[tuple[int, list[memoryview]]]:
        piece: list[memoryview] = []
        length = 0
        for memory in memories:
            for start in range(0, len(memory), _PIECE):
                part = memory[start : start + _PIECE]
                if piece and (length + len(part) > _PIECE or len(piece) == _MOST_MEMORIES):
                    yield self._position, piece
                    self._position += length
                    piece, length = [], 0
                piece.append(part)
                length += len(part)
        if piece:
            yield self._position, piece
            self._position += length

    def _read_at(self, position: int, memories: list[memoryview]) -> None:
        left = [memory for memory in memories if memory]
        while left:
            if not (done := _read_some(self._stream, left, position)):
                raise CheckpointError(
                    f"{self._path}: ended before its end. It changed while it was read: load it again."
                )
            position += done
            while left and done >= len(left[0]):
                done -= len(left.pop(0))
            if done:
                left[0] = left[0][done:]


if hasattr(os, "preadv"):
    _READERS = min(4, os.cpu_count() or 1)

    def _read_some(stream: BinaryIO, memories: list[memoryview], position: int) -> int:
        return os.preadv(stream.fileno(), memories, position)

else:  # Windows: the place in the file is the stream's, which one reader alone can have
    _READERS = 1

    def _read_some(stream: BinaryIO, memories: list[memoryview], position: int) -> int:
        stream.seek(position)
        return stream.readinto(memories[0])  # type: ignore[attr-defined]  # a real file has it
