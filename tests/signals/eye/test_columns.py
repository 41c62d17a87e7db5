"""Columns by name, units that are said, and values that only another unit makes."""

from __future__ import annotations

import numpy as np
import pytest

from evermodels.core.errors import ConfigError, SignalError
from evermodels.signals.eye import Eye

TIME = np.arange(0, 4, 0.02)
ONES = np.ones(TIME.size)
STEADY = {"time": TIME, "pupil": 3.5 * ONES}
UNIT = {"time": "s", "pupil": "mm"}


def test_columns_of_other_names_are_named_with_the_mapping_to_give():
    table = {"seconds": TIME, "pupil_left_mm": 3 * ONES, "pupil_right_mm": 3 * ONES, "remark": ONES}
    with pytest.raises(SignalError) as caught:
        Eye(table, unit=UNIT)
    message = str(caught.value)
    assert "'seconds', 'pupil_left_mm', 'pupil_right_mm', 'remark'" in message
    given = "columns={'time': 'seconds', 'pupil_left': 'pupil_left_mm', 'pupil_right': 'pupil_right_mm'}"
    assert given in message
    eye = Eye(table, columns=eval(given.removeprefix("columns=")), unit=UNIT)  # what the message says to paste
    assert eye.dropped == ("remark",) and eye.columns["pupil"][0] == 3.0


def test_names_that_say_nothing_are_not_guessed():
    with pytest.raises(SignalError, match=r"the table has 'a', 'b'.*columns=\{'time': '…', 'pupil': '…'\}"):
        Eye({"a": TIME, "b": ONES}, unit=UNIT)


def test_a_mapping_reads_what_it_names_and_nothing_else():
    joystick = {"t": TIME, "x": ONES, "pupil": 3 * ONES}
    eye = Eye(joystick, columns={"time": "t", "pupil": "pupil"}, unit=UNIT)
    assert list(eye.columns) == ["pupil"] and eye.dropped == ("x",)


WRONG = {
    "columns as a list": ({"columns": ["time", "pupil"]}, ConfigError, "columns: expected a mapping"),
    "an unknown name": ({"columns": {"time": "time", "pupl": "pupil"}}, ConfigError, "'pupl'. Did you mean 'pupil'"),
    "a missing column": (
        {"columns": {"time": "time", "pupil": "pupl"}},
        SignalError,
        "does not have. Did you mean 'pupil'",
    ),
    "one for two": ({"columns": {"time": "time", "pupil": "pupil", "x": "pupil"}}, ConfigError, "stands for two"),
    "no time": ({"columns": {"pupil": "pupil"}}, ConfigError, "unit: it says one for time, and no column is time"),
    "time alone": ({"columns": {"time": "time"}, "unit": {"time": "s"}}, ConfigError, "beside time no column is read"),
    "no unit": ({"unit": None}, ConfigError, r"unit=\{'time': 's', 'pupil': 'mm'\}"),
    "half the units": ({"unit": {"time": "s"}}, ConfigError, r"nothing says in which unit pupil \(pupil\)"),
    "a unit as text": ({"unit": "mm"}, ConfigError, "unit: expected a mapping"),
    "a unit of nothing": (
        {"unit": {**UNIT, "gaze": "deg"}},
        ConfigError,
        "it says one for gaze, and no column is gaze",
    ),
    "an unknown unit": ({"unit": {**UNIT, "pupil": "cm"}}, ConfigError, "pupil is in one of mm, um, au, got 'cm'"),
    "an unknown thing": ({"unit": {**UNIT, "pupill": "mm"}}, ConfigError, "'pupill' is none of .*Did you mean 'pupil'"),
    "frames of samples": ({"unit": {**UNIT, "time": "frames"}}, ConfigError, 'time in "frames" is for tables of fix'),
    "start as text": ({"start": "0"}, ConfigError, "start: expected when .* got '0'"),
    "start nowhere": ({"start": float("nan")}, ConfigError, "start: expected when .* got nan"),
    "rate as truth": ({"sfreq": True}, SignalError, "sfreq: expected a positive rate in Hz as a number"),
    "another rate": ({"sfreq": 90}, SignalError, r"sfreq: the time stamps come 50 times a second \(median\), got 90"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments_are_named(name):
    options, error, message = WRONG[name]
    with pytest.raises(error, match=message):
        Eye(STEADY, **{"unit": UNIT, **options})


def test_a_table_without_time_needs_a_rate():
    with pytest.raises(ConfigError, match="nothing says how fast the samples were taken"):
        Eye({"pupil": 3 * ONES}, unit={"pupil": "mm"})
    eye = Eye({"pupil": 3 * ONES}, unit={"pupil": "mm"}, sfreq=50)
    assert eye.coverage == ((0.0, 4.0),) and eye.interval == pytest.approx(0.02)
    with pytest.raises(SignalError, match="sfreq: expected 4 to 4000 samples a second, got 1"):
        Eye({"pupil": 3 * ONES}, unit={"pupil": "mm"}, sfreq=1)


MISTAKES = {
    "ms for s": ({"time": 1000 * TIME}, {"time": "s"}, r"between two samples lie 20 s \(median\).*such as ms"),
    "s for ms": ({}, {"time": "ms"}, r"between two samples lie 2e-05 s.*such as s"),
    "us for ms": ({"time": 1e6 * TIME}, {"time": "ms"}, "between two samples lie 20 s"),
    "mm for um": ({}, {"pupil": "um"}, "the median of pupil is 3.5 um; .* It looks like mm"),
    "um for mm": ({"pupil": 3500 * ONES}, {"pupil": "mm"}, "the median of pupil is 3500 mm; .* It looks like um"),
    "px for mm": ({"pupil": 30 * ONES}, {"pupil": "mm"}, 'is 30 mm; .*"au" for pixels'),
    "area for mm": ({"pupil": 0.01 * ONES}, {"pupil": "mm"}, "is 0.01 mm"),
    "px for deg": ({"x": 600 * ONES, "y": ONES}, {"gaze": "deg"}, "x reaches 600; it looks like pixels"),
    "deg for rad": ({"x": 20 * ONES, "y": ONES}, {"gaze": "rad"}, "x reaches 20; it looks like deg"),
    "px for normalized": ({"x": ONES, "y": 800 * ONES}, {"gaze": "normalized"}, "y reaches 800; it looks like pixels"),
    "normalized for px": ({"x": 0.5 * ONES, "y": ONES}, {"gaze": "px"}, "x is beyond 0.5; it looks like normalized"),
    "damage as a pupil": ({"pupil": 1e30 * ONES}, {"pupil": "au"}, r"1e\+30 is beyond what any tracker calls a pupil"),
    "damage as px": ({"x": 1e30 * ONES, "y": ONES}, {"gaze": "px"}, "it looks like damage"),
    "percent": ({"openness": 90 * ONES}, {}, "openness: expected the part of the eye that is open.*up to 90"),
    "a code as a mark": ({"blink": -ONES}, {}, "blink: expected 0 where there is none.*got -1"),
    "half a mark": ({"fixation": 0.5 * ONES}, {}, "fixation: expected 0 .*got 0.5"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_another_unit_than_said_is_caught(name):
    changes, unit, message = MISTAKES[name]
    with pytest.raises(SignalError, match=message):
        Eye({**STEADY, **changes}, unit={**UNIT, **unit})


def test_units_come_to_ours():
    table = {"time": 1000 * TIME, "pupil": 3500 * ONES, "x": np.full(TIME.size, np.pi / 6), "y": 0 * ONES}
    eye = Eye(table, unit={"time": "ms", "pupil": "um", "gaze": "rad"})
    assert eye.sfreq == pytest.approx(50) and eye.stop == pytest.approx(4.0)
    assert eye.columns["pupil"][0] == pytest.approx(3.5) and eye.columns["x"][0] == pytest.approx(30)
    screen = Eye(
        {"time": TIME, "pupil": 900 * ONES, "x": 0.5 * ONES, "y": 0.5 * ONES},
        unit={"time": "s", "pupil": "au", "gaze": "normalized"},
    )
    assert screen.columns["pupil"][0] == 900 and screen.columns["x"][0] == 0.5


def test_a_few_impossible_values_are_missing_and_said():
    pupil = 3.5 * ONES
    pupil[:3] = (40, 0.1, -1)
    eye = Eye({**STEADY, "pupil": pupil}, unit=UNIT)
    assert np.isnan(eye.columns["pupil"]).sum() == 3
    assert eye.notes == ("Eye: 2 of 199 values of pupil lie outside 0.5 to 15 mm and are taken as not measured.",)


def test_gaze_within_one_degree_of_a_corner_is_said():
    rng = np.random.default_rng(0)
    eye = Eye({"time": TIME, "x": rng.random(200), "y": 5 * ONES}, unit={"time": "s", "gaze": "deg"})
    assert len(eye.notes) == 1 and 'unit={"gaze": "normalized"}' in eye.notes[0]


@pytest.mark.parametrize("values", [-ONES, 0 * ONES, np.nan * ONES], ids=["-1", "0", "missing"])
def test_all_blink_is_refused(values):
    with pytest.raises(SignalError, match=r"nothing of pupil was measured: each of 200 values"):
        Eye({**STEADY, "pupil": values}, unit=UNIT)


def test_one_lost_eye_is_refused_and_named():
    with pytest.raises(SignalError, match=r"nothing of pupil_left was measured.*Leave the column out"):
        Eye({"time": TIME, "pupil_left": -ONES, "pupil_right": 3 * ONES}, unit=UNIT)


def test_the_mean_of_both_eyes_needs_both():
    left, right = 3 * ONES, 4 * ONES
    left[5], right[9] = -1, np.nan
    eye = Eye({"time": TIME, "pupil_left": left, "pupil_right": right}, unit=UNIT)
    assert np.flatnonzero(np.isnan(eye.columns["pupil"])).tolist() == [5, 9] and eye.columns["pupil"][0] == 3.5
    assert "openness" not in eye.columns
