"""Windows: rows of features and series on a grid, how well each could be read, and what is refused."""

from __future__ import annotations

from argparse import ArgumentTypeError

import numpy as np
import pytest
import torch

from evermodels.core.errors import ConfigError, SignalError
from evermodels.core.specs import EEGSpec, EyeSpec, InputSpec
from evermodels.signals import EEG, Preprocessor
from evermodels.signals.eye import SEED_FEATURES, Eye, Reader
from evermodels.signals.eye.reader import make_stretch
from evermodels.signals.room import covers, grid

RATE = 100.0
MM = {"pupil": "mm"}


def pupil(values, **columns):
    return Eye({"pupil": np.asarray(values, dtype=float), **columns}, unit=MM, sfreq=RATE)


def features(*names, seconds=1.0, window=2.0, **options):
    return Reader(EyeSpec(features=names, seconds=seconds), window, **options)


def series(*names, sfreq=10.0, window=2.0):
    return Reader(EyeSpec(form="series", channels=names, sfreq=sfreq), window)


def window_of(reader, recording, start=0.0, seconds=2.0):
    return next(reader.windows(reader.prepare(recording), [start], seconds))


def blinking():
    """Four seconds of pupil: 3 mm, then 4, then 5, with a blink of 200 ms in the second second."""
    values = np.repeat([3.0, 4.0, 4.0, 5.0], 100)
    values[150:170] = -1
    return pupil(values)


def test_rows_of_features_by_stretch():
    reader = features("pupil_mean", "blink_duration_mean", "blink_frequency")
    first, second = reader.windows(reader.prepare(blinking()), [0.0, 2.0], 2.0)
    assert first.tensor.dtype == torch.float32 and first.tensor.shape == reader.spec.shape(2.0) == (2, 3)
    np.testing.assert_allclose(first.tensor, [[3, 0, 0], [4, 200, 1]], rtol=1e-6)
    np.testing.assert_allclose(second.tensor, [[4, 0, 0], [5, 0, 0]], rtol=1e-6)
    assert first.quality == pytest.approx({"eye_share": 0.9, "eye_gap_seconds": 0, "blinks": 1, "empty_features": 1})
    assert second.quality == pytest.approx({"eye_share": 1, "eye_gap_seconds": 0, "blinks": 0, "empty_features": 2})
    assert first.usable and not first.why


def test_the_shared_clock_moves_nothing_but_the_times():
    reader = features("pupil_mean", "pupil_de_0.2_0.4", "blink_duration_mean", "blink_frequency")
    rest = window_of(reader, blinking())
    moved = window_of(reader, Eye(blinking(), start=1234.5), start=1234.5)
    torch.testing.assert_close(moved.tensor, rest.tensor, rtol=1e-5, atol=1e-5)
    assert moved.quality == pytest.approx(rest.quality, abs=1e-6)


def test_gaps_are_seconds_without_a_sample_and_not_measured():
    stamps = np.r_[np.arange(0, 1, 0.01), np.arange(1.4, 3, 0.01), np.arange(5, 7, 0.01)]
    eye = Eye({"time": stamps, "pupil": np.full(stamps.size, 4.0)}, unit={"time": "s", **MM})
    np.testing.assert_allclose(eye.coverage, [(0.0, 3.0), (5.0, 7.0)])  # less than half a second still joins
    window = window_of(features("pupil_mean", "blink_frequency"), eye)
    assert [window.quality[name] for name in ("eye_gap_seconds", "eye_share")] == pytest.approx([0.4, 0.8])
    assert covers(eye, np.array([0.0, 1.0, 2.0, 5.0]), 2.0).tolist() == [True, True, False, True]
    assert grid(eye, 1.0, 0.0).round(6).tolist() == [0.0, 1.0, 2.0, 5.0, 6.0]


def test_a_window_between_samples_is_measured_to_its_end():
    eye = Eye({"pupil": np.full(20, 3.0)}, unit=MM, sfreq=10.0)
    reader = features("pupil_mean", window=1.0)
    window = window_of(reader, eye, start=0.05, seconds=1.0)  # the sample at 1.0 s stands for 0.05 s of it
    assert window.quality["eye_share"] == pytest.approx(0.95)
    assert make_stretch(eye, 0.05, 1.0).recorded == pytest.approx(0.95)


def test_frequencies_are_of_the_time_in_which_anything_was_recorded():
    stamps = np.r_[np.arange(0, 0.6, 0.01), np.arange(1.0, 2.0, 0.01)]
    blinks = np.where((stamps > 0.195) & (stamps < 0.295), -1.0, 3.0)
    eye = Eye({"time": stamps, "pupil": blinks}, unit={"time": "s", **MM})
    assert window_of(features("blink_frequency", seconds=2.0), eye).tensor.item() == pytest.approx(1 / 1.6)


def test_a_window_that_was_hardly_seen_is_not_usable():
    values = np.full(400, 3.0)
    values[50:200] = np.nan
    reader = features("pupil_mean")
    bad, good = reader.windows(reader.prepare(pupil(values)), [0.0, 2.0], 2.0)
    assert not bad.usable and bad.why == "only 25 % of it was measured (at least 50 % are needed)"
    assert bad.tensor.shape == (2, 1) and good.usable
    (note,) = reader.notes([0.0, 2.0], [bad.light(), good.light()], "left out")
    assert note.startswith("Eye: in 1 of 2 windows (at 0 s) less than 50 % of the time was measured (down to 25 %)")
    assert reader.notes([2.0], [good.light()], "left out") == ()
    assert window_of(features("pupil_mean", least_share=0.25), pupil(values)).usable
    assert "only 25 %" in str(reader.refuse([bad.light()]))


def test_blinks_are_seen_while_the_eye_is_closed():
    values = np.tile(np.r_[np.full(10, 3.0), np.full(40, -1.0)], 4)
    eye = pupil(np.r_[values, 3.0])
    assert window_of(features("blink_frequency"), eye).quality["eye_share"] == pytest.approx(1.0)
    lost = window_of(features("blink_frequency", "pupil_mean"), eye)
    assert lost.quality["eye_share"] == pytest.approx(0.2) and not lost.usable


def test_a_series_holds_the_last_sample_and_bridges_nothing():
    stamps = np.r_[np.arange(0, 0.5, 0.02), np.arange(1.0, 2.0, 0.02)]
    values = np.arange(stamps.size) / 100 + 3
    values[30:35] = np.nan  # 1.10 to 1.20 s
    eye = Eye({"time": stamps, "pupil": values}, unit={"time": "s", **MM})
    window = window_of(series("pupil", "measured", "blink", sfreq=20.0), eye)
    assert window.tensor.shape == (40, 3)
    points = np.arange(40) / 20
    held = [np.flatnonzero(stamps <= t + 1e-9)[-1] for t in points]
    seen = ((points < 0.5 - 1e-9) | (points > 1 - 1e-9)) & ((points < 1.1 - 1e-9) | (points > 1.2 - 1e-9))
    np.testing.assert_allclose(window.tensor[:, 0], np.where(seen, values[held], 0), rtol=1e-6)
    assert window.tensor[:, 1].tolist() == seen.astype(float).tolist()
    assert window.tensor[:, 2].tolist() == ((points > 1.1 - 1e-9) & (points < 1.2 - 1e-9)).astype(float).tolist()
    assert window.quality["eye_share"] == pytest.approx(0.7) and "empty_features" not in window.quality


def test_a_series_faster_than_the_recording_repeats_samples():
    eye = pupil([3.0, 4.0, 5.0, 6.0] * 50)
    window = window_of(series("pupil", sfreq=200.0, window=1.0), eye, seconds=1.0)
    assert window.tensor[:8, 0].tolist() == [3, 3, 4, 4, 5, 5, 6, 6]


def test_a_series_before_the_first_and_after_the_last_sample_is_missing():
    window = window_of(series("pupil", "measured"), Eye(pupil(np.full(100, 3.0)), start=0.5))
    assert window.tensor[:, 1].tolist() == [0.0] * 5 + [1.0] * 10 + [0.0] * 5


UNKNOWN = {
    "a typing error": (
        dict(features=("pupil_men",)),
        "features: 'pupil_men' is no feature.* Did you mean 'pupil_mean'",
    ),
    "a channel of time": (dict(form="series", channels=("time",)), "channels: 'time' is no channel"),
    "the mask alone": (dict(form="series", channels=("measured",)), "measured alone is of nothing"),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_unknown_names_are_refused_when_the_reader_is_made(name):
    fields, message = UNKNOWN[name]
    with pytest.raises(ConfigError, match=message):
        Reader(EyeSpec(**fields), 2.0)


def test_what_is_no_option_is_refused():
    for share in (-0.1, 1.5, "half", True, float("nan")):
        with pytest.raises(ConfigError, match="least_share"):
            features("pupil_mean", least_share=share)
    with pytest.raises(ConfigError, match="eye_table: expected arguments of Eye"):
        features("pupil_mean", eye_table={"colums": {}})
    with pytest.raises(ConfigError, match="window_seconds"):
        features("pupil_mean", window=None)
    with pytest.raises(ConfigError, match="window_seconds"):
        features("pupil_mean", seconds=3.0)
    with pytest.raises(ConfigError, match="more than 100,000 stretches"):
        features("pupil_mean", seconds=0.02, window=3000.0)


def test_a_missing_column_is_named_with_its_feature():
    message = "the feature saccade_frequency needs the column x, and the columns name time, pupil."
    with pytest.raises(ConfigError, match=message):
        features("pupil_mean", "saccade_frequency", eye_table={"columns": {"time": "t", "pupil": "p"}})
    with pytest.raises(
        SignalError, match="the feature pupil_x_mean needs the column pupil_x, and the recording has pup"
    ):
        features(*SEED_FEATURES).prepare(blinking())
    with pytest.raises(SignalError, match="the channel openness needs the column openness"):
        series("pupil", "openness").prepare(blinking())
    with pytest.raises(SignalError, match="blink_frequency needs the column blink or openness or"):
        features("blink_frequency").prepare(Eye({"fixation": np.ones(200)}, sfreq=RATE))
    both = {"time": "t", "pupil_left": "l", "pupil_right": "r"}
    assert features("pupil_mean", eye_table={"columns": both}).spec.features == ("pupil_mean",)


def test_movements_need_degrees():
    eye = Eye({"x": np.full(200, 600.0), "y": np.full(200, 300.0)}, unit={"gaze": "px"}, sfreq=RATE)
    with pytest.raises(SignalError, match="fixation_frequency needs gaze in degrees, and it is in px"):
        features("fixation_frequency").prepare(eye)
    with pytest.raises(SignalError, match=r"x needs gaze in degrees, and it is in px\. Divide"):
        series("x", "y").prepare(eye)
    in_pixels = Reader(EyeSpec(form="series", channels=("x", "y"), sfreq=10.0, gaze_unit="px"), 2.0)
    assert window_of(in_pixels, eye).tensor[0].tolist() == [600, 300]
    marked = Eye(
        {"x": np.full(200, 600.0), "y": np.full(200, 300.0), "fixation": np.ones(200)}, unit={"gaze": "px"}, sfreq=RATE
    )
    assert window_of(features("fixation_frequency", "fixation_duration_max"), marked).tensor[0].tolist() == [
        1.0,
        1990.0,
    ]
    with pytest.raises(SignalError, match="dispersion_x_mean needs gaze in degrees"):
        features("dispersion_x_mean").prepare(marked)


@pytest.mark.parametrize(
    ("trained", "table", "unit", "way_out"),
    [
        ("mm", 30.0, "au", "pupil_mean needs pupil in mm, and it is in au. Take a model"),
        ("au", 3000.0, "um", "pupil_mean needs pupil in arbitrary units .au., and it is in mm"),
    ],
)
def test_a_model_reads_the_unit_that_it_was_trained_on(trained, table, unit, way_out):
    eye = Eye({"pupil": np.full(200, table)}, unit={"pupil": unit}, sfreq=RATE)
    reader = Reader(EyeSpec(features=("pupil_mean",), pupil_unit=trained), 2.0)
    with pytest.raises(SignalError, match=way_out):
        reader.prepare(eye)
    # blinks are the same in every unit
    Reader(EyeSpec(features=("blink_frequency",), pupil_unit=trained), 2.0).prepare(eye)


def test_what_can_be_converted_is_no_other_unit():
    eye = Eye(
        {"x": np.full(200, np.pi / 2), "y": np.zeros(200), "pupil": np.full(200, 3500.0)},
        unit={"gaze": "rad", "pupil": "um"},
        sfreq=RATE,
    )
    assert window_of(series("x", "pupil"), eye).tensor[0].tolist() == [90.0, 3.5]


def test_features_of_gaze_are_of_degrees():
    with pytest.raises(ConfigError, match=r"gaze_unit.*'deg' with form='features'"):
        EyeSpec(features=("x_std",), gaze_unit="px")


def test_what_comes_too_slowly_to_show_events_is_said():
    table = {"x": np.zeros(50), "y": np.zeros(50), "pupil": np.full(50, 3.0)}
    slow = Eye(table, unit={"gaze": "deg", **MM}, sfreq=5)
    names = ("saccade_frequency", "fixation_frequency", "blink_frequency", "pupil_mean")
    (note,) = features(*names).prepare(slow).notes
    assert note == (
        "Eye: at 5 samples a second a blink or saccade is one sample or none; saccade_frequency, fixation_frequency, "
        "blink_frequency say little."
    )
    assert slow.notes == () and features("pupil_mean").prepare(slow) is slow
    assert series("x", "pupil").prepare(slow) is slow and len(series("blink").prepare(slow).notes) == 1
    marked = Eye({**table, "blink": np.zeros(50), "fixation": np.ones(50)}, unit={"gaze": "deg", **MM}, sfreq=5)
    assert features(*names).prepare(marked) is marked


def test_listed_fixations_have_their_features():
    eye = Eye({"start": [0.0, 0.5, 1.2], "stop": [0.3, 0.9, 2.0]}, unit={"time": "s"})
    window = window_of(features("fixation_frequency", "fixation_duration_max"), eye)
    np.testing.assert_allclose(window.tensor, [[2.0, 400.0], [1.0, 800.0]], rtol=1e-6)
    assert window.quality == {"eye_share": 1.0, "eye_gap_seconds": 0.0, "empty_features": 0.0} and window.usable
    with pytest.raises(SignalError, match="saccade_frequency needs the column x, and the recording has fixation"):
        features("saccade_frequency").prepare(eye)


def test_sources_are_opened_as_the_reader_says(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("ms,left\n" + "".join(f"{10 * k},3.5\n" for k in range(300)))
    form = {"columns": {"time": "ms", "pupil": "left"}, "unit": {"time": "ms", "pupil": "mm"}}
    reader = features("pupil_mean", eye_table=form)
    assert window_of(reader, reader.open(path)).tensor.tolist() == [[3.5], [3.5]]
    assert window_of(reader, reader.open(path, start=7.0), start=7.0).tensor.tolist() == [[3.5], [3.5]]
    assert features("pupil_mean").open(path, **form).dropped == ()
    recording = pupil(np.full(200, 3.0))
    assert reader.open(recording) is recording and reader.modality == "eye"
    assert reader.open(recording, start=2.0).coverage == ((2.0, 4.0),)
    with pytest.raises(SignalError, match=r"an array of shape \(5, 2\).*signals\.Eye"):
        reader.open(np.zeros((5, 2)))
    with pytest.raises(SignalError, match="columns: the table has 'ms', 'left'"):
        features("pupil_mean").open(path)


def test_columns_that_are_not_taken_are_named():
    eye = Eye(
        {"p": np.full(200, 3.0), "o": np.ones(200), "z": np.ones(200)},
        columns={"pupil": "p", "openness": "o"},
        unit=MM,
        sfreq=RATE,
    )
    assert features("pupil_mean").dropped(eye) == ("openness", "z")


def test_windows_leave_the_recording_as_it_was():
    eye = blinking()
    before = {name: column.copy() for name, column in eye.columns.items()}
    list(features("pupil_mean", "blink_frequency").windows(eye, [0.0, 1.0], 2.0))
    list(series("pupil", "blink", "measured").windows(eye, [0.0, 1.0], 2.0))
    for name, column in before.items():
        np.testing.assert_array_equal(eye.columns[name], column)


def test_a_preprocessor_reads_eyes_alone_and_beside_eeg(tmp_path):
    path = tmp_path / "a.csv"
    rows = [f"{k / 100},{-1 if 420 <= k < 560 else 3.5}\n" for k in range(1000)]
    path.write_text("seconds,mm\n" + "".join(rows))
    form = {"columns": {"time": "seconds", "pupil": "mm"}, "unit": {"time": "s", "pupil": "mm"}}
    eye = EyeSpec(features=("pupil_mean", "blink_frequency"), seconds=1.0)
    alone = Preprocessor(InputSpec(window_seconds=2.0, eye=eye), eye_table=form)
    with pytest.warns(UserWarning, match=r"in 1 of 5 windows \(at 4 s\) less than 50 % .* \(down to 30 %\)"):
        inputs = alone(eye=path)
    assert inputs.starts.tolist() == [0.0, 2.0, 6.0, 8.0] and inputs.tensors["eye"].shape == (4, 2, 2)
    assert inputs.quality["eye_share"].tolist() == [1.0] * 4

    spec = InputSpec(window_seconds=2.0, eeg=EEGSpec(ch_names=("Cz",), sfreq=100.0), eye=eye)
    volts = 2e-5 * np.random.default_rng(0).standard_normal((1, 1200))
    eeg = EEG(volts, ch_names=["Cz"], unit="V", sfreq=100.0)
    with pytest.warns(UserWarning, match="there the answer is from eeg alone"):
        both = Preprocessor(spec)(eeg=eeg, eye=Eye(path, start=-2.0, **form))
    assert both.starts.tolist() == [0.0, 2.0, 4.0, 6.0]
    assert both.present["eye"].tolist() == [True, False, True, True]
    np.testing.assert_allclose(both.tensors["eye"][0], inputs.tensors["eye"][1])


def test_flags_of_the_command_line_make_a_recording(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("trial,ms,left\n" + "".join(f"{k // 300},{10 * (k % 300)},3.5\n" for k in range(600)))
    said = {"columns": "time=ms, pupil=left", "unit": "time=ms,pupil=mm", "where": "trial=1"}
    types = {option.name: option.type for option in Reader.options}
    eye = Eye(path, **{name: types[name](text) for name, text in said.items()})
    assert eye.columns["pupil"].size == 300 and eye.sfreq == pytest.approx(100)
    for wrong in ("", "time", "time=", "=s", "time=s,"):
        with pytest.raises(ArgumentTypeError, match=f"separated by commas, got '{wrong}'"):
            types["unit"](wrong)
