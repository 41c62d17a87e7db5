"""A writer of the smallest EDF files, so that tests need no recordings."""

from __future__ import annotations

from pathlib import Path

import numpy as np

EEGMAT_NAMES = tuple(
    f"EEG {name}" for name in "Fp1 Fp2 F3 F4 F7 F8 T3 T4 C3 C4 T5 T6 P3 P4 O1 O2 Fz Cz Pz A2-A1".split()
)


def write_edf(path: Path, data: np.ndarray, names: tuple[str, ...], sfreq: int) -> None:
    """Write (channels, time) in µV, one-second records, 16 bits over ±1000 µV."""
    channels, samples = data.shape
    records = samples // sfreq

    def column(values: list[str], width: int) -> bytes:
        return "".join(value.ljust(width) for value in values).encode("ascii")

    head = column(["0"], 8) + column(["X X X X", "Startdate X X X X"], 80) + column(["01.01.10", "00.00.00"], 8)
    head += column([str(256 * (channels + 1))], 8) + column([""], 44) + column([str(records), "1"], 8)
    head += column([str(channels)], 4) + column(list(names), 16) + column([""] * channels, 80)
    head += column(["uV"] * channels, 8) + column(["-1000"] * channels, 8) + column(["1000"] * channels, 8)
    head += column(["-32768"] * channels, 8) + column(["32767"] * channels, 8) + column([""] * channels, 80)
    head += column([str(sfreq)] * channels, 8) + column([""] * channels, 32)
    digits = np.clip(np.rint((data[:, : records * sfreq] + 1000) / 2000 * 65535 - 32768), -32768, 32767)
    body = digits.reshape(channels, records, sfreq).transpose(1, 0, 2).astype("<i2").tobytes()
    path.write_bytes(head + body)


def write_eegmat(folder: Path, people: int, *, sfreq: int = 100, rest: int = 12, arithmetic: int = 6) -> None:
    """Write a small EEGMAT: the level of every sample says whose it is, which state, and how late."""
    folder.mkdir(parents=True, exist_ok=True)
    for person in range(people):
        for state, seconds in ((1, rest), (2, arithmetic)):
            time = np.arange(seconds * sfreq) / sfreq
            wave = 5 * np.sin(2 * np.pi * 10 * time)[None] * np.linspace(0.5, 1.5, len(EEGMAT_NAMES))[:, None]
            write_edf(folder / f"Subject{person:02d}_{state}.edf", wave + 20 * person + 10 * state, EEGMAT_NAMES, sfreq)
    lines = ["Subject,Age,Gender"] + [f"Subject{person:02d},{20 + person},F" for person in range(people)]
    (folder / "subject-info.csv").write_text("\n".join(lines) + "\n")


def write_faces(folder: Path, people: int) -> None:
    """Write portraits: a grey person-dependent picture, with a bright bar at the mouth where it smiles."""
    import cv2

    folder.mkdir(parents=True, exist_ok=True)
    for person in range(people):
        rng = np.random.default_rng(person)
        neutral = cv2.resize(rng.integers(0, 255, (6, 6, 3), np.uint8), (96, 96), interpolation=cv2.INTER_CUBIC)
        smiling = neutral.copy()
        smiling[60:72, 24:72] = 255
        for name, picture in (("neutral", neutral), ("smiling", smiling)):
            cv2.imwrite(str(folder / f"{person:03d}_{name}.jpg"), picture)
