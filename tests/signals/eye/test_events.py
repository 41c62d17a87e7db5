"""Time stamps, holes, blinks, fixations and saccades of made recordings, whose events are known."""

from __future__ import annotations

import numpy as np
import pytest

from evermodels.core.errors import ConfigError, SignalError
from evermodels.signals.eye import Events, Eye
from evermodels.signals.eye.clock import make_clock

RATE = 100.0


def gaze(x, y=None, **columns):
    x = np.asarray(x, dtype=float)
    return Eye({"x": x, "y": 0 * x if y is None else y, **columns}, unit=units("gaze", columns), sfreq=RATE)


def units(*what, columns=()):
    return (
        {"gaze": "deg", **({"pupil": "mm"} if "pupil" in str(columns) else {})} if "gaze" in what else {"pupil": "mm"}
    )


def pupil(values, **columns):
    return Eye({"pupil": np.asarray(values, dtype=float), **columns}, unit={"pupil": "mm"}, sfreq=RATE)


def held(*pieces):
    return np.concatenate([np.full(count, value, dtype=float) for value, count in pieces])


def times(events):
    return np.c_[events.start, events.stop].round(6).tolist()


BAD = {
    "backwards": ([0.0, 0.1, 0.05, 0.2], r"sample 3 \(0.050000 s\) comes before the one before it \(0.100000 s\)"),
    "doubled": ([0.0, 0.1, 0.1, 0.2], r"sample 3 \(0.100000 s\) has the time stamp of the one before it"),
    "NaN": ([0.0, np.nan, 0.2], r"sample 2 has no time stamp \(nan\)"),
    "one": ([0.0], "1 samples are no recording"),
    "days": ([0.0, 0.01, 0.02, 0.03, 400_000.0], "4.6 days long"),
}


@pytest.mark.parametrize("name", BAD)
def test_impossible_time_stamps_are_refused(name):
    stamps, message = BAD[name]
    with pytest.raises(SignalError, match=message):
        make_clock(np.array(stamps))


def test_the_rate_comes_from_irregular_stamps_and_gaps_from_them_too():
    rng = np.random.default_rng(0)
    steps = rng.uniform(1 / 90, 1 / 50, 999)
    steps[[100, 300, 500]] = 1.0, 0.2, 0.05  # a gap, a hole that is no gap, three intervals
    eye = Eye({"time": 7 + np.r_[0, np.cumsum(steps)], "pupil": np.full(1000, 4.0)}, unit={"time": "s", "pupil": "mm"})
    assert eye.sfreq == pytest.approx(1 / np.median(steps)) and 50 < eye.sfreq < 90
    assert eye.start == 0.0 and "begins at 7.000 s" in eye.notes[0]
    (_, end), (begin, _) = eye.coverage
    assert begin == pytest.approx(steps[:101].sum()) and end == pytest.approx(steps[:100].sum() + 1 / eye.sfreq)
    assert eye.spans.sum() == pytest.approx(steps.sum() - 1.25 + 4 / eye.sfreq)


def test_start_moves_all_on_the_shared_clock():
    eye = Eye(pupil(held((3, 30), (-1, 10), (3, 60))), start=5.0)
    assert eye.coverage == ((5.0, 6.0),) and times(eye.blinks) == [[5.3, 5.4]] and eye.times[0] == 5.0
    assert Eye(eye).start == 5.0 and Eye(eye, start=1.0).stop == pytest.approx(2.0)
    with pytest.raises(ConfigError, match="unit: the recording is an Eye already"):
        Eye(eye, unit={"pupil": "mm"})


BLINKS = {
    "the code of a closed eye": (held((3, 50), (-1, 20), (3, 50)), [[0.5, 0.7]]),
    "zero": (held((3, 50), (0, 20), (3, 50)), [[0.5, 0.7]]),
    "missing": (held((3, 50), (np.nan, 20), (3, 50)), [[0.5, 0.7]]),
    "the shortest": (held((3, 50), (-1, 5), (3, 50)), [[0.5, 0.55]]),
    "too short": (held((3, 50), (-1, 4), (3, 50)), []),
    "the longest": (held((3, 50), (-1, 50), (3, 50)), [[0.5, 1.0]]),
    "a closed eye": (held((3, 50), (-1, 51), (3, 50)), []),
    "at the begin": (held((-1, 10), (3, 50)), []),
    "at the end": (held((3, 50), (-1, 10)), []),
    "two": (held((3, 20), (-1, 10), (3, 1), (-1, 10), (3, 20)), [[0.2, 0.3], [0.31, 0.41]]),
}


@pytest.mark.parametrize("name", BLINKS)
def test_blinks_of_a_made_recording(name):
    values, expected = BLINKS[name]
    assert times(pupil(values).blinks) == expected


def test_openness_below_a_fifth_is_a_closed_eye():
    eye = Eye({"openness": held((1, 50), (0.19, 10), (0.2, 40))}, sfreq=RATE)
    assert times(eye.blinks) == [[0.5, 0.6]]


def test_a_blink_is_of_both_eyes():
    wink = held((3, 50), (-1, 20), (3, 30))
    both = held((3, 60), (-1, 10), (3, 30))
    eye = Eye({"pupil_left": wink, "pupil_right": both}, unit={"pupil": "mm"}, sfreq=RATE)
    assert times(eye.blinks) == [[0.6, 0.7]]
    lid = Eye(
        {"pupil_left": wink, "openness_right": held((1, 50), (0.1, 15), (1, 35))}, unit={"pupil": "mm"}, sfreq=RATE
    )
    assert times(lid.blinks) == [[0.5, 0.65]]


def test_a_blink_beside_a_hole_was_not_seen_whole():
    stamps = np.arange(100) / RATE
    closed = held((3, 50), (-1, 20), (3, 30))
    for at in (50, 55, 70):  # before it, inside it, after it
        stamped = stamps + 0.1 * (np.arange(100) >= at)
        eye = Eye({"time": stamped, "pupil": closed}, unit={"time": "s", "pupil": "mm"})
        assert len(eye.blinks) == 0, at
    eye = Eye({"time": stamps + 0.1 * (np.arange(100) >= 40), "pupil": closed}, unit={"time": "s", "pupil": "mm"})
    assert times(eye.blinks) == [[0.6, 0.8]]


def test_marks_of_the_tracker_come_first():
    marks = held((0, 10), (1, 80), (0, 5), (2, 2), (3, 2), (0, 1))
    eye = pupil(held((3, 50), (-1, 20), (3, 30)), blink=marks)
    assert times(eye.blinks) == [[0.1, 0.9], [0.95, 0.97], [0.97, 0.99]]


def test_gaze_alone_tells_a_blink_by_missing_samples():
    x = held((1, 50), (np.nan, 12), (1, 30))
    assert times(gaze(x).blinks) == [[0.5, 0.62]]
    assert Eye({"fixation": held((1, 50), (0, 50))}, sfreq=RATE).blinks is None


def test_fixations_and_saccades_of_a_made_recording():
    # 0.3 s at 0, 10 degrees in three intervals of 10 ms, 0.4 s there, 5 degrees up in two, 0.2 s.
    x = np.r_[held((0, 31)), 3.0, 7.0, held((10, 41)), held((10, 22))]
    y = np.r_[held((0, 31)), 0.0, 0.0, held((0, 41)), 2.5, held((5, 21))]
    eye = gaze(x, y)
    assert times(eye.fixations) == [[0.0, 0.3], [0.33, 0.73], [0.75, 0.95]]
    assert times(eye.saccades) == [[0.3, 0.33], [0.73, 0.75]]
    assert eye.saccades.values["amplitude"].tolist() == [10.0, 5.0]
    np.testing.assert_allclose(eye.saccades.values["latency"], [np.nan, 0.4])


def test_dispersion_is_the_range_of_a_fixation():
    x, y = np.tile([0.0, 0.1, 0.2, 0.1], 10), np.tile([0.0, 0.0, 0.29, 0.0], 10)
    eye = gaze(x, 0 * y)
    assert eye.fixations.values["dispersion_x"].tolist() == [0.2]
    assert eye.fixations.values["dispersion_y"].tolist() == [0.0]
    # 0.29 degrees in 10 ms are 29 a second, below the threshold; with 0.1 beside them they are 30.7.
    assert len(gaze(0 * x, y).saccades) == 0 and len(gaze(x, y).saccades) > 0


def test_a_pause_of_under_60_ms_is_no_fixation():
    x = np.r_[held((0, 20)), held((5, 6)), held((10, 7)), held((15, 20))]
    eye = gaze(x)
    assert times(eye.fixations) == [[0.0, 0.19], [0.26, 0.32], [0.33, 0.52]]
    assert len(eye.saccades) == 3


def test_nothing_reaches_across_a_blink_or_a_hole():
    x = held((0, 30), (np.nan, 10), (10, 30))
    eye = gaze(x)
    assert times(eye.fixations) == [[0.0, 0.29], [0.4, 0.69]] and len(eye.saccades) == 0
    jump = np.r_[held((0, 30)), 4.0, held((np.nan, 10)), 6.0, held((10, 30))]
    assert len(gaze(jump).saccades) == 0, "a saccade beside a blink was not seen whole"
    stamps = np.arange(60) / RATE + 0.05 * (np.arange(60) >= 30)
    hole = Eye({"time": stamps, "x": held((0, 30), (10, 30)), "y": np.zeros(60)}, unit={"time": "s", "gaze": "deg"})
    assert times(hole.fixations) == [[0.0, 0.29], [0.35, 0.64]] and len(hole.saccades) == 0


def test_gaze_of_closed_eyes_is_none():
    x = held((0, 30), (20, 10), (0, 30))
    eye = Eye(
        {"x": x, "y": 0 * x, "pupil": held((3, 30), (-1, 10), (3, 30))},
        unit={"gaze": "deg", "pupil": "mm"},
        sfreq=RATE,
    )
    assert np.isnan(eye.columns["x"][30:40]).all() and len(eye.saccades) == 0 and len(eye.blinks) == 1


def test_a_turn_past_the_back_is_no_saccade():
    yaw = (170 + 0.1 * np.arange(200) + 180) % 360 - 180
    eye = gaze(yaw)
    assert len(eye.saccades) == 0 and len(eye.fixations) == 1
    assert eye.fixations.values["dispersion_x"][0] == pytest.approx(19.9)


def test_a_saccade_past_the_back_is_as_long_as_it_is():
    eye = gaze(held((175, 30), (-175, 30)))
    assert eye.saccades.values["amplitude"].tolist() == [10.0]


def test_an_event_at_a_border_is_the_next_stretchs():
    events = Events(np.array([1.0, 2.0, 3.0]), np.array([1.5, 2.5, 3.5]), {"amplitude": np.arange(3.0)})
    part = events.between(1.0, 3.0)
    assert part.start.tolist() == [1.0, 2.0] and part.values["amplitude"].tolist() == [0.0, 1.0]


def test_marked_fixations_and_what_lies_between_them():
    x = np.r_[held((0, 30)), 4.0, 8.0, held((10, 30)), held((np.nan, 8)), held((20, 30))]
    marks = np.r_[held((1, 30)), 0, 0, held((2, 30)), held((0, 8)), held((3, 30))]
    eye = gaze(x, fixation=marks)
    assert times(eye.fixations) == [[0.0, 0.29], [0.32, 0.61], [0.7, 0.99]]
    assert times(eye.saccades) == [[0.29, 0.32]] and eye.saccades.values["amplitude"].tolist() == [10.0]
    bare = Eye({"fixation": marks}, sfreq=RATE)
    assert times(bare.fixations) == times(eye.fixations) and bare.saccades is None


def test_gaze_in_radians_has_events_in_degrees():
    eye = Eye({"x": np.deg2rad(held((0, 30), (10, 30))), "y": np.zeros(60)}, unit={"gaze": "rad"}, sfreq=RATE)
    assert eye.saccades.values["amplitude"].tolist() == pytest.approx([10.0])


def test_openness_below_zero_was_not_measured():
    eye = Eye({"openness": held((1, 50), (-1, 10), (1, 40))}, sfreq=RATE)
    assert np.isnan(eye.columns["openness"][50:60]).all() and times(eye.blinks) == [[0.5, 0.6]]


def test_gaze_in_pixels_has_no_events_without_degrees():
    eye = Eye({"x": held((600, 50)), "y": held((300, 50))}, unit={"gaze": "px"}, sfreq=RATE)
    assert eye.fixations is None and eye.saccades is None


def test_a_table_of_fixations():
    table = {"first": [0, 22, 32], "last": [9, 28, 36], "yaw": [0.0, 3.0, 1.0]}
    columns = {"start": "first", "stop": "last", "x": "yaw"}
    eye = Eye(table, columns=columns, unit={"time": "frames", "gaze": "deg"}, sfreq=10.0, start=1.0)
    assert times(eye.fixations) == [[1.0, 2.0], [3.2, 3.9], [4.2, 4.7]] and eye.coverage == ((1.0, 4.7),)
    assert eye.blinks is None and eye.saccades is None and repr(eye) == "Eye(3 fixations, 3.7 s)"
    milliseconds = {"start": [0, 500], "stop": [300, 900]}
    assert times(Eye(milliseconds, unit={"time": "ms"}).fixations) == [[0.0, 0.3], [0.5, 0.9]]


LISTED = {
    "no stop": ({"start": [0.0]}, {}, ConfigError, "stop is missing"),
    "time too": ({"start": [0.0], "stop": [1.0], "time": [0.0]}, {}, ConfigError, "time stands beside them"),
    "pupil too": (
        {"start": [0.0], "stop": [1.0], "pupil": [3.0]},
        {"unit": {"time": "s", "pupil": "mm"}},
        ConfigError,
        "pupil is a column of samples",
    ),
    "a rate": ({"start": [0.0], "stop": [1.0]}, {"sfreq": 5.0}, ConfigError, "fixations in s or ms have no rate"),
    "no rate": ({"start": [0], "stop": [1]}, {"unit": {"time": "frames"}}, ConfigError, "how many frames a second"),
    "no end": ({"start": [0.0], "stop": [np.nan]}, {}, SignalError, "no begin or no end"),
    "reversed": ({"start": [1.0], "stop": [0.5]}, {}, SignalError, r"fixation 1 \(1 to 0.5 s\) ends before"),
    "overlapping": ({"start": [0.0, 0.5], "stop": [1.0, 2.0]}, {}, SignalError, "fixation 2 .* where="),
    "ms for s": ({"start": [0.0, 500.0], "stop": [300.0, 900.0]}, {}, SignalError, r'350 s \(median\).*"ms"'),
    "s for ms": ({"start": [0.0], "stop": [0.3]}, {"unit": {"time": "ms"}}, SignalError, r'0.0003 s.*"s"'),
}


@pytest.mark.parametrize("name", LISTED)
def test_bad_tables_of_fixations_are_refused(name):
    table, options, error, message = LISTED[name]
    with pytest.raises(error, match=message):
        Eye(table, **{"unit": {"time": "s"}, **options})
