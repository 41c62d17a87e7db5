"""Readers of pupil tables and of gaze in 360° videos, in the publishers' layouts."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest
import torch

from evermodels.core.errors import ConfigError, DataError, SignalError
from evermodels.core.specs import EyeSpec
from evermodels.core.warning import LicenceWarning
from evermodels.datasets import CEAP, EyeWindows, Pupil
from evermodels.signals.eye import Reader

HEADER = "seconds,openness_left,openness_right,pupil_left_mm,pupil_right_mm\n"


def write_pupil(folder, people=3, seconds=6, conditions=("control", "arithmetic")):
    """Tables whose pupil says whose they are and which condition."""
    for person in range(1, people + 1):
        for k, condition in enumerate(conditions):
            rows = [f"{i / 50},1.0,1.0,{3 + 0.1 * person + 0.01 * k},{3 + 0.1 * person}\n" for i in range(50 * seconds)]
            with gzip.open(folder / f"P{person}_{condition}.csv.gz", "wt") as file:
                file.write(HEADER + "".join(rows))


def test_pupil_tables_by_person_and_condition(tmp_path):
    write_pupil(tmp_path, 11)
    pupil = Pupil(tmp_path)
    assert pupil.people == tuple(f"P{i}" for i in range(1, 12))  # by number
    eye = pupil.recording("P2", "arithmetic")
    assert eye.columns["pupil_left"][0] == pytest.approx(3.21) and eye.unit["pupil"] == "mm"
    (tmp_path / "P3_control.csv").write_bytes(gzip.decompress((tmp_path / "P3_control.csv.gz").read_bytes()))
    (tmp_path / "P3_control.csv.gz").unlink()
    assert Pupil(tmp_path).recording("P3", "control").sfreq == pytest.approx(50.0)


def test_pupil_folders_that_are_not_whole(tmp_path):
    with pytest.raises(DataError, match=r"holds no P1_control\.csv"):
        Pupil(tmp_path)
    write_pupil(tmp_path)
    (tmp_path / "P2_control.csv.gz").unlink()
    with pytest.raises(DataError, match=r"lacks P2_control\.csv\. Complete"):
        Pupil(tmp_path)
    assert Pupil(tmp_path, people=("P1", "P3")).people == ("P1", "P3")
    with pytest.raises(ConfigError, match=r"conditions: expected some of control.*Did you mean 'noise'"):
        Pupil(tmp_path, conditions=("nois",))
    with pytest.raises(DataError, match="person: 'P9' is not there"):
        Pupil(tmp_path, people=("P1",)).recording("P9", "control")
    (tmp_path / "P1_control.csv.gz").write_bytes((tmp_path / "P1_control.csv.gz").read_bytes()[:60])
    with pytest.raises(SignalError, match=r"P1_control\.csv\.gz"):
        Pupil(tmp_path, people=("P1",)).recording("P1", "control")


@pytest.mark.parametrize(
    "spec",
    [
        EyeSpec(features=("pupil_mean", "openness_mean", "blink_frequency"), seconds=1.0),
        EyeSpec(form="series", channels=("pupil", "measured"), sfreq=25.0),
    ],
)
def test_windows_are_the_readers(tmp_path, spec):
    write_pupil(tmp_path)
    pupil = Pupil(tmp_path)
    windows = EyeWindows(pupil, spec, 2.0)
    assert windows.starts("P1", "control") == (0.0, 2.0, 4.0)
    reader = Reader(spec, 2.0)
    expected = next(reader.windows(reader.prepare(pupil.recording("P1", "control")), [2.0], 2.0)).tensor
    assert torch.equal(windows.window("P1", "control", 2.0), expected)
    assert len(EyeWindows(pupil, spec, 2.0, overlap=0.5).starts("P2", "arithmetic")) == 5


def test_closed_eyes_throughout_are_no_window(tmp_path):
    write_pupil(tmp_path, 1)
    for condition, closed in (("control", range(0, 300)), ("arithmetic", range(100, 200))):
        rows = [f"{i / 50}," + ("0,0,-1,-1\n" if i in closed else "1,1,3,3\n") for i in range(301)]
        (tmp_path / f"P1_{condition}.csv").write_text(HEADER + "".join(rows))
        (tmp_path / f"P1_{condition}.csv.gz").unlink()
    windows = EyeWindows(Pupil(tmp_path), EyeSpec(features=("pupil_mean",)), 2.0)
    assert windows.starts("P1", "arithmetic") == (0.0, 4.0)
    with pytest.raises(DataError, match=r"P1, control: no window of 2 s was measured for at least half"):
        windows.starts("P1", "control")


FIXATIONS = {"V1": [(0, 9, 1.0, 10.0), (20, 29, 3.0, 14.0)], "V2": [(3, 5, 0.0, 179.0)]}
HEAD = {
    "V1": [(0.0, 170.0), (2.0, -170.0), (2.0, -170.0), (4.0, 178.0)] * 3,
    "V2": [(1.0, float(i)) for i in range(12)],
}


def write_tables(folder):
    fixed = [("video,start_frame,end_frame,pitch,yaw")]
    fixed += [",".join(map(str, (v, *row))) for v, rows in FIXATIONS.items() for row in rows]
    moved = ["video,id,pitch,yaw"]
    moved += [",".join(map(str, (v, k + 1, *row))) for v, rows in HEAD.items() for k, row in enumerate(rows)]
    for name, lines in (("P1_fixation", fixed), ("P1_head", moved)):
        with gzip.open(folder / f"{name}.csv.gz", "wt") as file:
            file.write("\n".join(lines) + "\n")
    (folder / "selfreport.csv").write_text(
        "person,video,order,valence,arousal,seconds\nP1,V1,2,6,5,60\nP1,V2,1,2.5,9,60\n"
    )
    (folder / "videos.csv").write_text("VideoID,FrameRate\nV1,25\nV2,30\n")


def write_published(folder):
    def put(place, key, content):
        path = folder / "CEAP-360VR" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({key: content}))

    fixed = [
        {
            "VideoID": v,
            "Fixation": [dict(zip(("StartFrame", "EndFrame", "Pitch", "Yaw"), r, strict=True)) for r in rows],
        }
        for v, rows in FIXATIONS.items()
    ]
    moved = [
        {"VideoID": v, "ID_Pitch_Yaw": [{"ID": k + 1, "Pitch": p, "Yaw": y} for k, (p, y) in enumerate(rows)]}
        for v, rows in HEAD.items()
    ]
    answers = [
        {"VideoID": "V1", "ValenceValue": 6, "ArousalValue": 5},
        {"VideoID": "V2", "ValenceValue": 2.5, "ArousalValue": 9},
    ]
    put(
        "4_BehaviorData/EM_Fixation/P1_Behavior_FixationData.json",
        "Behavior_FixationData",
        [{"ParticipantID": "P1", "Video_Behavior_FixationData": fixed}],
    )
    put(
        "4_BehaviorData/HM_ScanPath/P1_Behavior_HeadScanPathData.json",
        "Behavior_HeadScanPath_Data",
        [{"ParticipantID": "P1", "Video_Behavior_ScanPath_Data": moved}],
    )
    put(
        "2_QuestionnaireData/P1_Questionnaire_Data.json",
        "QuestionnaireData",
        [{"ParticipantID": "P1", "Video_SAMRating_VideoTime_Data": answers}],
    )
    rates = [{"VideoID": "V0", "FrameRate": 30}, {"VideoID": "V1", "FrameRate": 25}, {"VideoID": "V2", "FrameRate": 30}]
    put("1_Stimuli/VideoInfo.json", "VideoInfo", rates)


@pytest.mark.parametrize("write", [write_tables, write_published])
def test_ceap_in_both_layouts(tmp_path, write):
    write(tmp_path)
    with pytest.warns(LicenceWarning, match="CEAP-360VR is for non-commercial use"):
        ceap = CEAP(tmp_path)
    assert ceap.people == ("P1",) and ceap.videos == ("V1", "V2")
    assert ceap.ratings == {("P1", "V1"): (6, 5), ("P1", "V2"): (2.5, 9)}
    eye = ceap.recording("P1", "V1")
    # 12 points of the head, 0.2 s each, at 30 Hz; the first fixation lasts 10 frames of 25 Hz
    assert eye.times.size == 72 and eye.columns["x"][:12].tolist() == [10.0] * 12 and np.isnan(eye.columns["x"][12])
    assert np.flatnonzero(eye.columns["fixation"] == 2).tolist() == list(range(24, 36))  # 0.8 to 1.2 s
    # past the back: half-way from 170 to -170 is 180
    assert abs(eye.columns["head_x"][3]) == pytest.approx(180.0) and eye.columns["head_y"][3] == pytest.approx(1.0)
    features = EyeSpec(features=("fixation_frequency", "fixation_shift_mean", "head_y_mean"), seconds=2.4)
    reader = Reader(features, 2.4, least_share=0.0)
    found = next(reader.windows(reader.prepare(eye), [0.0], 2.4)).tensor[0].tolist()
    assert found[:2] == pytest.approx([2 / 2.4, np.hypot(2, 4)])


def test_ceap_folders_that_are_damaged(tmp_path):
    with pytest.raises(DataError, match="holds neither 4_BehaviorData"):
        CEAP(tmp_path)
    write_tables(tmp_path)
    with pytest.raises(DataError, match=r"lacks P2_fixation\.csv\.gz, P2_head\.csv\.gz"):
        CEAP(tmp_path, people=("P1", "P2"))
    with pytest.warns(LicenceWarning):
        ceap = CEAP(tmp_path)
    with pytest.raises(DataError, match="video: expected one of V1, V2, got 'V3'"):
        ceap.recording("P1", "V3")
    whole = gzip.decompress((tmp_path / "P1_head.csv.gz").read_bytes()).decode().splitlines()
    for lines in ([*whole[:3], "V1,3,x,1"], whole[:3] + whole[1:2], [*whole[:1], "V1"]):
        (tmp_path / "P1_head.csv.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
        with pytest.warns(LicenceWarning), pytest.raises(DataError, match=r"P1_head\.csv\.gz cannot be read"):
            CEAP(tmp_path).recording("P1", "V1")
    (tmp_path / "P1_head.csv.gz").write_bytes(b"\x1f\x8b damaged")
    with pytest.warns(LicenceWarning), pytest.raises(DataError, match=r"P1_head\.csv\.gz cannot be read"):
        CEAP(tmp_path).recording("P1", "V1")
    (tmp_path / "selfreport.csv").write_text("person,video,valence,arousal\nP1,V1,12,3\n")
    with pytest.warns(LicenceWarning), pytest.raises(DataError, match="SAM goes from 1 to 9"):
        _ = CEAP(tmp_path).ratings


def test_the_tables_are_the_published_numbers(real_data):
    with pytest.warns(LicenceWarning):
        tables, published = CEAP(real_data / "ceap"), CEAP(real_data / "ceap" / "original")
    assert len(tables.people) == 32 and len(tables.ratings) == 256
    assert sum(r.valence > 5 for r in tables.ratings.values()) == 120
    assert sum(r.arousal > 5 for r in tables.ratings.values()) == 127
    for video in published.videos:
        own, theirs = tables.recording("P1", video), published.recording("P1", video)
        assert all(np.array_equal(own.columns[k], theirs.columns[k], equal_nan=True) for k in own.columns)
        assert tables.ratings["P1", video] == published.ratings["P1", video]
