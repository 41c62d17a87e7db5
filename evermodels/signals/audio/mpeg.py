"""How many samples an MP3 file without a stated length holds: libsndfile guesses it from the first frame's bit rate."""

from __future__ import annotations

import mmap
from pathlib import Path

# ISO/IEC 11172-3 (MPEG-1) and 13818-3 (MPEG-2): layer III, kbit/s by the header's index.
_BIT_RATES = {
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_MOST_RUBBISH = 1 << 20  # places at which no frame begins though it looks so
_TAGS = (b"Xing", b"Info", b"VBRI")


def count_samples(path: Path) -> int | None:
    """Return the samples of an MP3 file, by its frames; ``None`` where it states its length or is not of layer III.

    Args:
        path: The file.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return _count(data)


def _count(data: mmap.mmap) -> int | None:
    at, rubbish = _after_tag(data), 0
    first = _frame(data, at)
    if first is None or any(tag in data[at : at + first[0]] for tag in _TAGS):
        return None
    samples = 0
    while at + 4 <= len(data):
        frame = _frame(data, at)
        if frame is None:  # rubbish between frames, or a tag at the end
            at, rubbish = data.find(b"\xff", at + 1), rubbish + 1
            if at < 0 or rubbish > _MOST_RUBBISH:
                break
            continue
        at += frame[0]
        samples += frame[1]
    return samples


def _after_tag(data: mmap.mmap) -> int:
    """Return where an ID3 tag at the beginning ends; its length has seven bits a byte."""
    if data[:3] != b"ID3" or len(data) < 10:
        return 0
    a, b, c, d = data[6:10]
    return 10 + (a << 21 | b << 14 | c << 7 | d)


def _frame(data: mmap.mmap, at: int) -> tuple[int, int] | None:
    """Return the bytes and the samples of the layer III frame that begins at a place, or ``None``."""
    head = data[at : at + 4]
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return None
    version, bits, rate = head[1] >> 3 & 3, head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or not 0 < bits < 15 or rate == 3:
        return None
    samples = 1152 if version == 3 else 576
    length = samples // 8 * _BIT_RATES[version == 3][bits] * 1000 // _RATES[version][rate] + (head[2] >> 1 & 1)
    return length, samples
