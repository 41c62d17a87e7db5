"""Cut the sample that ships in ``evermodels/samples`` out of the published recordings.

Run from the project's root, with the folder that holds ``eegmat/`` and ``faces/``:

    python examples/make_demo_sample.py ../shared/data

EEG: one test person of EEGMAT (Subject30-Subject35), chosen by data quality alone: the person whose larger peak over
both recordings is the smallest (Subject33). The first 60 s of the rest as baseline, and the middle 30 s of each
recording; the 19 scalp channels and A2-A1, the 16-bit samples untouched.
Faces: the first two test people by sorted id (129, 130), a square around the face, no resize.
"""

from __future__ import annotations

import argparse
from datetime import datetime, timedelta
from pathlib import Path

SECONDS = 30
BASELINE = 60
SUBJECT = "Subject33"
FACES = ("129", "130")
SIDE = 2.0  # side of the kept square, in sides of the detected face
SIGNAL_FIELDS = (16, 80, 8, 8, 8, 8, 8, 80, 8, 32)  # widths of an EDF signal header, in order
SAMPLES_FIELD = 8


def cut_edf(source: Path, target: Path, seconds: int, *, at_the_beginning: bool = False) -> None:
    """Copy the middle (or first) ``seconds`` of an EDF file with one-second records, without its annotation signal."""
    raw = source.read_bytes()
    header = raw[:256]
    records, signals = int(header[236:244]), int(header[252:256])
    if float(header[244:252]) != 1.0 or records < seconds:
        raise SystemExit(f"{source.name}: expected at least {seconds} records of one second.")
    columns, at = [], 256
    for width in SIGNAL_FIELDS:
        columns.append([raw[at + i * width : at + (i + 1) * width] for i in range(signals)])
        at += signals * width
    sizes = [2 * int(field) for field in columns[SAMPLES_FIELD]]
    keep = [i for i, label in enumerate(columns[0]) if label.strip() != b"EDF Annotations"]

    first = 0 if at_the_beginning else (records - seconds) // 2
    began = datetime.strptime(header[168:184].decode("ascii"), "%d.%m.%y%H.%M.%S") + timedelta(seconds=first)
    header_bytes = 256 * (1 + len(keep))
    new = header[:168] + began.strftime("%d.%m.%y%H.%M.%S").encode("ascii")
    # Plain EDF: the reserved field is blank, because the annotation signal of EDF+ is left out.
    new += f"{header_bytes:<8d}{'':<44s}{seconds:<8d}{1:<8d}{len(keep):<4d}".encode("ascii")
    new += b"".join(column[i] for column in columns for i in keep)

    record = sum(sizes)
    starts = [sum(sizes[:i]) for i in range(signals)]
    body = bytearray()
    for r in range(first, first + seconds):
        base = int(header[184:192]) + r * record
        for i in keep:
            body += raw[base + starts[i] : base + starts[i] + sizes[i]]
    target.write_bytes(new + bytes(body))


def cut_faces(folder: Path, person: str, out: Path) -> None:
    """Keep one square around the face that the neutral photograph shows, in both photographs of a person."""
    import cv2

    pictures = {e: cv2.imread(str(folder / f"{person}_{e}.jpg")) for e in ("neutral", "smiling")}
    cascade = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_default.xml")
    neutral = pictures["neutral"]
    found = cascade.detectMultiScale(cv2.cvtColor(neutral, cv2.COLOR_BGR2GRAY), 1.1, 5, minSize=(80, 80))
    if len(found) == 0:
        raise SystemExit(f"{person}: no face found.")
    x, y, w, h = (int(v) for v in max(found, key=lambda box: box[2] * box[3]))
    side = min(round(SIDE * max(w, h)), *neutral.shape[:2])
    left = min(max(x + w // 2 - side // 2, 0), neutral.shape[1] - side)
    top = min(max(y + h // 2 - side // 2, 0), neutral.shape[0] - side)
    for expression, picture in pictures.items():
        target = out / "faces" / f"{person}_{expression}.jpg"
        cv2.imwrite(str(target), picture[top : top + side, left : left + side], [cv2.IMWRITE_JPEG_QUALITY, 90])
        print(f"{target}  {target.stat().st_size} bytes")


def main() -> None:
    """Write the four pictures and the three recordings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with eegmat/ and faces/")
    parser.add_argument("--out", type=Path, default=Path("evermodels/samples"))
    args = parser.parse_args()
    for number, name, seconds in ((1, "baseline", BASELINE), (1, "rest", SECONDS), (2, "arithmetic", SECONDS)):
        target = args.out / f"eegmat_{SUBJECT.lower()}_{name}.edf"
        source = args.data / "eegmat" / f"{SUBJECT}_{number}.edf"
        cut_edf(source, target, seconds, at_the_beginning=name == "baseline")
        print(f"{target}  {target.stat().st_size} bytes")
    for person in FACES:
        cut_faces(args.data / "faces", person, args.out)


if __name__ == "__main__":
    main()
