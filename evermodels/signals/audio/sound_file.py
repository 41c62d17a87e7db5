"""Sound files (WAV, FLAC, Ogg, MP3, AIFF, …) through soundfile, and what their headers hide."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from evermodels.core.errors import SignalError, boundary, require
from evermodels.signals.audio.mpeg import count_samples
from evermodels.signals.audio.sources import BLOCK, LONGEST, SoundSource, Stretch

_BEGINS = (
    re.compile(rb"(RIFF|RIFX|RF64)....WAVE", re.DOTALL),
    re.compile(rb"FORM....AIF[FC]", re.DOTALL),
    re.compile(rb"fLaC|OggS|caff|\.snd|ID3|riff\x2e\x91\xcf\x11"),
    re.compile(rb"\xff[\xe2-\xe7\xf2-\xf7\xfa-\xff]"),  # MPEG audio of layer I to III; AAC has layer 0
)
_STATED = re.compile(r"^\s*(data|SSND|Data Size|riff|Riff size)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE)
_WHOLE_FILE = ("W64", "RF64")  # kinds whose outermost length is the only one that is compared
_NEVER_SET = ((0x7FFFF000, 0x80000000), (0xFFFFF000, 0xFFFFFFFF))  # lengths that stand for "not known"
_EIGHT_BITS = ("PCM_U8", "PCM_S8", "DPCM_8")
_UNRECOGNISED = 1  # libsndfile's number for "not my kind of file"
_DAMAGED = "The file is damaged: copy it again, or convert it with ffmpeg."


class UnreadError(Exception):
    """Not to be read by soundfile, perhaps by PyAV."""


def is_sound_file(path: Path) -> bool:
    """Return whether a file begins as those do that soundfile reads.

    Args:
        path: The file.
    """
    with (
        boundary(SignalError, f"{path.name}: the file cannot be read", "Look at its permissions."),
        path.open("rb") as f,
    ):
        head = f.read(12)
    return any(begin.match(head) for begin in _BEGINS)


class SoundFileSource(SoundSource):
    """A sound file, read through soundfile.

    Args:
        path: The file.

    Raises:
        SignalError: If it is damaged, cut short, or cannot be sound.
        MissingExtraError: If soundfile is not installed.
        UnreadError: If soundfile does not know its contents.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, path.name
        with self._boundary(), self._open() as file:
            self.sfreq, self.channels = float(file.samplerate), int(file.channels)
            if file.subtype in _EIGHT_BITS:
                self.full_scale = 1 - 2**-7
            samples = self._length(file)
            self.stretches = (Stretch(0.0, 0, samples),)
            self.check()
            file.seek(samples - 1)
            if len(file.read(1)) == 0:
                raise self._cut("its header says", samples)

    @property
    def library(self) -> ModuleType:
        """The package, not kept, since a module cannot be handed to another process."""
        return require("soundfile", extra="audio", purpose=f"read {self.name}")

    def _boundary(self) -> Any:
        return boundary(SignalError, f"{self.name}: it cannot be read as sound", _DAMAGED, passing=(UnreadError,))

    def _open(self) -> Any:
        try:
            return self.library.SoundFile(str(self.path))
        except self.library.LibsndfileError as error:
            if error.code == _UNRECOGNISED:
                raise UnreadError from error
            raise

    def _cut(self, what: str, samples: float) -> SignalError:
        return SignalError(
            f"{self.name}: the file is cut short: {what} that it holds {samples / self.sfreq:.3f} s of sound, and they "
            "are not all there. Copy it again; what is left of it, ffmpeg can save as a new file."
        )

    def _length(self, file: Any) -> int:
        """Return the number of samples, after seeing whether it can be believed."""
        samples = int(file.frames)
        for key, stated, there in _STATED.findall(file.extra_info):
            if (key.lower().startswith("riff") and file.format not in _WHOLE_FILE) or int(stated) <= int(there) + 8:
                continue
            if any(low <= int(stated) <= high for low, high in _NEVER_SET):
                self.notes = (f"{self.name}: its header was never closed; all of its {samples:,} samples are read.",)
            else:
                raise self._cut("its header says", samples * int(stated) / max(1, int(there)))
        if file.format == "RF64" and "does not match value from 'ds64'" in file.extra_info:
            raise self._cut("its header says", samples)
        if file.format == "FLAC" and samples > LONGEST * self.sfreq:
            return self._count(file)
        if file.format == "MP3":
            counted = count_samples(self.path)
            if counted is not None and abs(counted - samples) > 4 * 1152:
                raise UnreadError(f"{self.name}: its length is not stated")
        if file.format == "OGG" and not self._closed():
            self.notes = (
                f"{self.name}: it ends without its last page, so it is cut short or was never closed; the "
                f"{samples / self.sfreq:.3f} s that are there are read.",
            )
        return samples

    def _count(self, file: Any) -> int:
        """Return the number of samples of a stream that does not say it."""
        buffer, samples = np.empty((BLOCK, file.channels), np.float32), 0
        try:
            while samples <= LONGEST * self.sfreq and len(block := file.read(out=buffer)):
                samples += len(block)
        except self.library.LibsndfileError:
            raise UnreadError from None
        return samples

    def _closed(self) -> bool:
        """Return whether the last page of an Ogg file says that it is the last."""
        with self.path.open("rb") as f:
            f.seek(max(0, self.path.stat().st_size - (1 << 17)))  # a page has less than 64 KiB
            tail = f.read()
        at = tail.rfind(b"OggS")
        return at >= 0 and len(tail) > at + 5 and bool(tail[at + 5] & 4)

    def blocks(self, first: int) -> Iterator[np.ndarray]:
        """Yield the samples.

        Args:
            first: Number of the first one.
        """
        end = self.stretches[0].samples
        with self._boundary(), self._open() as file:
            file.seek(first)
            while first < end:
                block = file.read(min(BLOCK, end - first), dtype="float32", always_2d=True)
                if len(block) == 0:
                    raise self._cut("its header says", end)
                first += len(block)
                yield block.T
