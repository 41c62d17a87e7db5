"""How much memory an hour of video takes, and of EEG beside it, through `Recognizer` from the file to the result.

    python tests/benchmarks/long_video.py VIDEO [--fps 25] [--eeg EDF] [--seconds 3600] [--whole-picture]

VIDEO is a short clip; its packets are repeated without decoding (stream copy) until the file is as long as asked for.
So are the data records of EDF, a plain one. The peak is that of the whole process (`ru_maxrss`), so that the imports,
the model and the decoder are in it; the peak before the recordings are opened is printed beside it.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import av

from evermodels import Recognizer
from evermodels.signals import video_duration

FIXED_HEADER, COUNT, SECONDS = 256, slice(236, 244), slice(244, 252)  # of an EDF file, in bytes


def repeat(source: Path, target: Path, seconds: float, fps: float | None = None) -> None:
    """Write a video that repeats another one's packets, at its own rate or another."""
    with av.open(str(source)) as given:
        stream = given.streams.video[0]
        packets = [packet for packet in given.demux(stream) if packet.dts is not None]
        with av.open(str(target), "w") as container:
            out = container.add_stream_from_template(stream)
            own = round(float(1 / stream.average_rate) / stream.time_base)
            step = own if fps is None else round(1 / fps / stream.time_base)
            length, first = len(packets) * step, min(packet.pts for packet in packets)
            shift = 0
            while shift * stream.time_base < seconds:
                for packet in packets:
                    copy = av.Packet(bytes(packet))
                    copy.pts = (packet.pts - first) * step // own + shift
                    copy.dts = (packet.dts - first) * step // own + shift
                    copy.time_base, copy.duration, copy.is_keyframe = packet.time_base, step, packet.is_keyframe
                    copy.stream = out
                    container.mux(copy)
                shift += length


def repeat_edf(source: Path, target: Path, seconds: float) -> None:
    """Write an EDF file that repeats another one's data records."""
    given = source.read_bytes()
    signals = int(given[252:256])
    head = bytearray(given[: FIXED_HEADER * (1 + signals)])
    records = int(given[COUNT])
    times = max(1, round(seconds / (records * float(given[SECONDS]))))
    head[COUNT] = f"{records * times:<8d}".encode()
    with target.open("wb") as file:
        file.write(head)
        for _ in range(times):
            file.write(given[len(head) :])


def peak() -> float:
    """Return the process's largest memory so far in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("video", type=Path)
    parser.add_argument("--eeg", type=Path, help="a plain EDF, read beside the video")
    parser.add_argument("--fps", type=float, help="another rate than the clip's")
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--model", default="ever_tiny.quadrant")
    parser.add_argument("--whole-picture", action="store_true", help="without the search for a face")
    args = parser.parse_args()
    recognizer = Recognizer(args.model, **({"face": None} if args.whole_picture else {}))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.mp4"
        repeat(args.video, path, args.seconds, args.fps)
        recordings: dict[str, Path] = {"video": path}
        if args.eeg is not None:
            recordings["eeg"] = Path(folder) / "long.edf"
            repeat_edf(args.eeg, recordings["eeg"], args.seconds)
        before, begun = peak(), time.perf_counter()
        result = recognizer.predict(**recordings)
        sizes = ", ".join(f"{name} {file.stat().st_size / 1e6:.0f} MB" for name, file in recordings.items())
        print(
            f"{video_duration(path):.0f} s of {sizes}: {len(result)} windows in "
            f"{time.perf_counter() - begun:.0f} s; peak {peak():.2f} GB, {before:.2f} GB of it before they were read"
        )


if __name__ == "__main__":
    main()
