"""The real recordings: pupil and openness of 24 people, fixations and head direction of 32."""

from __future__ import annotations

import csv
import gzip
import warnings

import numpy as np
import pytest
import torch

from evermodels.core.specs import EyeSpec
from evermodels.signals.eye import FEATURES, Eye, Reader
from evermodels.signals.room import grid

PUPIL = {
    "columns": {
        **{"time": "seconds", "openness_left": "openness_left", "openness_right": "openness_right"},
        **{"pupil_left": "pupil_left_mm", "pupil_right": "pupil_right_mm"},
    },
    "unit": {"time": "s", "pupil": "mm"},
}
NAMES = tuple(
    name
    for name in FEATURES
    if name.startswith(("openness", "blink", "pupil")) and name[:8] not in ("pupil_x_", "pupil_y_")
)


@pytest.mark.parametrize("person", range(1, 25))
def test_pupil_of_every_person(person, real_data):
    reader = Reader(EyeSpec(features=NAMES, seconds=5.0), 5.0, eye_table=PUPIL)
    for path in sorted((real_data / "pupil").glob(f"P{person}_*.csv.gz")):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            eye = reader.prepare(reader.open(path))
        assert 85 < eye.sfreq < 95 and eye.dropped == () and eye.notes == ()
        assert len(eye.coverage) > 1, "each has a gap of a second after its first samples"
        assert eye.blinks.duration.min() >= 0.05 and eye.blinks.duration.max() <= 0.5
        assert 0.01 < len(eye.blinks) / eye.spans.sum() < 1.5
        if "control" in path.name:
            starts = grid(eye, 5.0, 0.0)
            windows = list(reader.windows(eye, starts, 5.0))
            assert len(windows) >= 8 and all(torch.isfinite(window.tensor).all() for window in windows)
            assert np.mean([window.quality["eye_share"] for window in windows]) > 0.7


def test_a_pupil_file_is_counted_as_a_plain_loop_counts_it(real_data):
    path = real_data / "pupil" / "P1_control.csv.gz"
    with gzip.open(path, "rt") as handle:
        rows = [[float(value) for value in row.values()] for row in csv.DictReader(handle)]
    shut = [
        max(pl, pr) <= 0 or (max(ol, orr) < 0.2) or (pl <= 0 and orr < 0.2) or (pr <= 0 and ol < 0.2)
        for _, ol, orr, pl, pr in rows
    ]
    found, begun = 0, None
    for k, row in enumerate(rows):
        if shut[k] and begun is None:
            begun = row[0]
        elif not shut[k] and begun is not None:
            found += 0.05 <= round(row[0] - begun, 6) <= 0.5
            begun = None
    assert found > 5 and len(Eye(path, **PUPIL).blinks) == found


def test_fixations_and_head_of_every_person(real_data):
    folder = real_data / "ceap"
    rates = {row["VideoID"]: float(row["FrameRate"]) for row in rows_of(folder / "videos.csv")}
    fixation = {"columns": {"start": "start_frame", "stop": "end_frame", "x": "yaw", "y": "pitch"}}
    head = {"columns": {"x": "yaw", "y": "pitch"}, "unit": {"gaze": "deg"}, "sfreq": 5.0}
    reader = Reader(EyeSpec(features=("fixation_frequency", "fixation_duration_mean"), seconds=10.0), 20.0)
    for path in sorted(folder.glob("P*_fixation.csv.gz")):
        for video in ("V1", "V8"):
            unit = {"time": "frames", "gaze": "deg"}
            eye = Eye(path, **fixation, unit=unit, sfreq=rates[video], where={"video": video})
            assert eye.fixations.duration.min() > 0.19 and 40 < eye.stop < 61
            window = next(reader.windows(reader.prepare(eye), [0.0], 20.0))
            assert window.usable and torch.isfinite(window.tensor).all()
        other = path.with_name(path.name.replace("fixation", "head"))
        eye = Eye(other, **head, where={"video": "V1"})
        assert eye.columns["x"].size == 299 and eye.stop == pytest.approx(59.8) and eye.dropped == ("video", "id")


def rows_of(path):
    with path.open() as handle:
        return list(csv.DictReader(handle))
