"""Units, offsets, rates, marked and masked parts, trials: what is wrong is said, and nothing is guessed."""

from __future__ import annotations

import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest

from evermodels.core.errors import ConfigError, ShapeError, SignalError
from evermodels.core.specs import EEGSpec, InputSpec
from evermodels.signals import EEG, Preprocessor, band_pass, notch, read_eeg, resample, sliding_windows
from evermodels.signals.eeg.checks import LEAST_SPREAD, MOST_SPREAD, spread_and_offset

mne = pytest.importorskip("mne")

NAMES = ["Fz", "Cz"]
FORM = {"ch_names": NAMES, "unit": "uV", "sfreq": 100}


def noise(channels: int = 2, samples: int = 1000, std: float = 20.0) -> np.ndarray:
    return std * np.random.default_rng(0).standard_normal((channels, samples))


def raw_of(data: np.ndarray, marks: list[tuple[float, float, str]] = (), sfreq: float = 100.0):
    raw = mne.io.RawArray(data * 1e-6, mne.create_info(NAMES[: len(data)], sfreq, "eeg"), verbose="ERROR")
    return raw.set_annotations(mne.Annotations(*zip(*marks, strict=True))) if marks else raw


def spec(**more: object) -> InputSpec:
    return InputSpec(window_seconds=2.0, eeg=EEGSpec(**{"ch_names": tuple(NAMES), "sfreq": 100.0, **more}))


# --- units -----------------------------------------------------------------------------------------------------------

# The extremes of all 349 real recordings: Muse at its quietest and with loose contact, and one of each other kind.
REAL = [
    "eegmat/Subject00_1.edf",
    "exo/subject01_1.edf",
    "muse/visual-cueing_subject1202_session2_140.edf",
    "muse/visual-N170_subject3_session3_030.edf",
]


@pytest.mark.parametrize("name", REAL)
def test_real_recordings_are_silent_and_a_thousandfold_is_not(real_data: Path, name: str) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        recording = read_eeg(real_data / name)
    assert not any("unit" in str(warning.message) for warning in caught)
    typical = np.median(spread_and_offset(recording.data, recording.sfreq, recording.segments)[0])
    assert LEAST_SPREAD * 3 < typical < MOST_SPREAD / 3
    array = recording.data[:, :20_000]
    form = {"ch_names": recording.ch_names, "unit": "uV", "sfreq": recording.sfreq}
    with pytest.warns(UserWarning, match="times too small.*Probably mV taken for uV"):
        small = read_eeg(array * 1e-3, **form)
    with pytest.warns(UserWarning, match="times too large.*Probably nV taken for uV"):
        read_eeg(array * 1e3, **form)
    assert "results mean nothing unless the unit is right" in small.notes[0]


def test_an_offset_or_a_drift_does_not_hide_the_unit() -> None:
    still = noise(std=0.02) + 4226.0 + np.linspace(0, 100, 1000)
    with pytest.warns(UserWarning, match="unit: .* 1,000 times too small"):
        read_eeg(still, **FORM)


def test_an_offset_that_nothing_takes_away_is_named() -> None:
    data = noise() + np.array([[4226.0], [0.0]])
    with pytest.warns(UserWarning, match=r"channels lie far from 0 \(µV: Fz 4226\).*l_freq=0\.5.*band_pass"):
        inputs = Preprocessor(spec())(eeg=EEG(data, **FORM))
    assert "Fz 4226" in inputs.notes[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for taken_away in ({"l_freq": 0.5}, {"scale": "zscore"}):
            assert Preprocessor(spec(**taken_away))(eeg=EEG(data, **FORM)).notes == ()
        Preprocessor(spec())(eeg=EEG(noise() + 30.0, **FORM))


def test_one_sample_that_no_amplifier_delivers() -> None:
    data = noise()
    data[1, 321] = 1e25
    with pytest.raises(SignalError, match=r"beyond 10 V.*in Cz \(1 samples, 3\.210 to 3\.210 s\)"):
        read_eeg(data, **FORM)


# --- rates -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sfreq", "message"),
    [
        (0.1, r"the array has 0\.1 Hz, and EEG is sampled at 20 to 50,000 Hz; at that rate nothing above 0\.05 Hz"),
        (250_000, "has 250000 Hz.*no EEG amplifier samples so fast"),
        ("128", r"a positive rate in Hz as a number, got '128' \(str\)"),
        (True, "as a number"),
        ([250], "as a number"),
    ],
)
def test_rates_that_cannot_be(sfreq: object, message: str) -> None:
    with pytest.raises(SignalError, match=message):
        read_eeg(noise(), ch_names=NAMES, unit="uV", sfreq=sfreq)


def test_a_rate_is_not_raised_beyond_reason() -> None:
    recording = EEG.from_microvolts(noise(), tuple(NAMES), 25.0)
    with pytest.raises(SignalError, match="25 Hz and the model needs 500 Hz, more than 16 times"):
        resample(recording, 500.0)


@pytest.mark.parametrize("sfreq", [100.00000000000001, 99.99999, 1 / np.diff(np.arange(1000) / 100).mean()])
def test_equal_within_rounding_is_equal(sfreq: float) -> None:
    recording = EEG.from_microvolts(noise(), tuple(NAMES), sfreq)
    assert resample(recording, 100.0).data is recording.data
    assert resample(recording, 100.0).sfreq == 100.0
    inputs = Preprocessor(spec())(eeg=recording)
    assert inputs.tensors["eeg"].shape == (5, 2, 200) and inputs.starts.tolist() == [0.0, 2.0, 4.0, 6.0, 8.0]
    exact = resample(EEG.from_microvolts(noise(), tuple(NAMES), 100.0), 80.0)
    np.testing.assert_array_equal(resample(recording, 80.0).data, exact.data)


# --- what is marked, masked, several ---------------------------------------------------------------------------------


def test_what_is_marked_bad_is_left_out_and_said() -> None:
    data = noise(2, 6000)
    raw = raw_of(data, [(0.0, 15.0, "BAD_start"), (20.0, 30.0, "bad"), (52.0, 1.0, "stimulus")])
    with pytest.warns(UserWarning, match=r"RawArray: 45\.0 of 60\.0 s are left out, because annotations mark them"):
        inputs = Preprocessor(spec())(eeg=raw)
    assert inputs.starts.tolist() == [15.0, 17.0, 50.0, 52.0, 54.0, 56.0, 58.0]
    np.testing.assert_allclose(inputs.tensors["eeg"][2], data[:, 5000:5200], rtol=1e-4)
    assert "45.0 of 60.0 s" in inputs.notes[0]
    with pytest.raises(SignalError, match=r"mark 60\.0 of 60\.0 s as BAD, and nothing is left"):
        read_eeg(raw_of(data, [(0.0, 60.0, "BAD")]))


def test_bad_stretches_of_a_cropped_recording_and_borders_of_joined_ones() -> None:
    raw = raw_of(noise(2, 3000), [(12.0, 3.0, "BAD_x")]).crop(10.0, 24.99)
    with pytest.warns(UserWarning, match="left out"):
        assert read_eeg(raw).onsets == (0.0, 5.0)
    joined = mne.concatenate_raws([raw_of(noise(2, 500)), raw_of(noise(2, 700))], verbose="ERROR")
    assert read_eeg(joined).segments == ((0, 500), (500, 1200))


def test_stretches_shorter_than_a_window_are_counted() -> None:
    raw = raw_of(noise(2, 1000), [(1.0, 1.0, "BAD")])
    with pytest.warns(
        UserWarning, match=r"1 of its 2 uninterrupted stretches, 1\.0 s in all, are shorter than a window"
    ):
        assert Preprocessor(spec())(eeg=raw).starts.tolist() == [2.0, 4.0, 6.0, 8.0]


def test_a_mask_is_not_lost() -> None:
    masked = np.ma.masked_greater(noise(), 30.0)
    with pytest.raises(SignalError, match=r"of the array's 2,000 values are masked.*give what is left as trials"):
        read_eeg(masked, **FORM)
    assert read_eeg(np.ma.array(noise()), **FORM).data.shape == (2, 1000)


class Frame:
    """What a table of pandas looks like from outside."""

    columns = ("Fz", "Cz")

    def to_numpy(self) -> np.ndarray:
        return noise().T


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (Frame(), r"a DataFrame does not say its unit and rate.*df\[names\]\.to_numpy\(\)\.T"),
        (["a.edf", "b.edf"], r"expected one recording, got a list of 2\. Read them one at a time.*baseline="),
        ((Path("a.edf"),), "got a list of 1"),
        ([raw_of(noise())], "got a list of 1"),
    ],
)
def test_several_recordings_and_tables(source: object, message: str) -> None:
    for read in (lambda: read_eeg(source), lambda: Preprocessor(spec())(eeg=source)):
        with pytest.raises(SignalError, match=message):
            read()


def test_a_missing_name_is_not_called_a_transposed_array() -> None:
    with pytest.raises(ShapeError, match=r"each of the 14 channels of shape \(14, 500\), got 13\. Name each channel"):
        read_eeg(noise(14, 500), ch_names=read_eeg_names(13), unit="uV", sfreq=100)
    with pytest.raises(ShapeError, match=r"each of the 500 channels .* got 14\. It seems to be \(time, channels\)"):
        read_eeg(noise(14, 500).T, ch_names="epoc", unit="uV", sfreq=100)


def read_eeg_names(count: int) -> list[str]:
    return "AF3 F7 F3 FC5 T7 P7 O1 O2 P8 T8 FC6 F4 F8 AF4".split()[:count]


# --- trials ----------------------------------------------------------------------------------------------------------


def test_trials_are_segments_with_their_events() -> None:
    trials = noise(8, 500).reshape(4, 2, 500)
    recording = read_eeg(trials, **FORM, events=["calm", "joy", "calm", 4])
    assert recording.segments == ((0, 500), (500, 1000), (1000, 1500), (1500, 2000))
    assert recording.events == ("calm", "joy", "calm", "4")
    np.testing.assert_allclose(recording.data[:, 500:1000], trials[1], rtol=1e-6)
    inputs = Preprocessor(spec(l_freq=1.0, sfreq=80.0))(eeg=recording)
    assert inputs.events == ("calm", "calm", "joy", "joy", "calm", "calm", "4", "4")
    alone = Preprocessor(spec(l_freq=1.0, sfreq=80.0))(eeg=EEG(trials[1], **FORM)).tensors["eeg"]
    np.testing.assert_allclose(inputs.tensors["eeg"][2:4], alone, rtol=1e-4, atol=1e-3)
    assert Preprocessor(spec())(eeg=EEG(trials, **FORM)).events == ()


def test_events_of_mne_become_labels_of_windows() -> None:
    raw = raw_of(noise(2, 3000))
    events = np.array([[300, 0, 1], [1200, 0, 2], [2100, 0, 1]])
    epochs = mne.Epochs(raw, events, {"rest": 1, "task": 2}, 0.0, 4.99, baseline=None, preload=True, verbose="ERROR")
    inputs = Preprocessor(spec())(eeg=epochs)
    assert inputs.events == ("rest", "rest", "task", "task", "rest", "rest")
    np.testing.assert_allclose(inputs.tensors["eeg"][2], raw.get_data()[:, 1200:1400] * 1e6, rtol=1e-4)


@pytest.mark.parametrize(
    ("array", "events"), [(noise(4, 500).reshape(2, 2, 500), ["a"]), (noise(), ["a"]), (noise()[None], "a")]
)
def test_events_that_do_not_fit(array: np.ndarray, events: object) -> None:
    with pytest.raises(ShapeError, match="events: expected"):
        read_eeg(array, **FORM, events=events)
    with pytest.raises(SignalError, match="events: they are for an array of trials"):
        read_eeg(raw_of(noise()), events=["a"])


@pytest.mark.parametrize(
    "more", [{"segments": ((0, 50), (40, 100))}, {"segments": ((0, 200),)}, {"events": ("a", "b")}]
)
def test_segments_that_do_not_fit(more: dict) -> None:
    with pytest.raises(SignalError, match=r"segments: expected|events: expected"):
        EEG.from_microvolts(noise(2, 100), tuple(NAMES), 100.0, **more)


# --- memory ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("trials", "whiten"), [(False, False), (False, True), (True, False)])
@pytest.mark.filterwarnings("ignore:eeg. The model compares")
def test_the_way_to_windows_takes_three_times_the_array(trials: bool, whiten: bool) -> None:
    array = noise(16, 160_000).astype(np.float32)
    form = {"ch_names": [*read_eeg_names(14), "Cz", "Pz"], "unit": "uV", "sfreq": 250}
    asked = spec(
        ch_names=tuple(form["ch_names"]), sfreq=250.0, l_freq=1.0, h_freq=40.0, reference="average", notch=50.0
    )
    asked = asked.replace(eeg=asked.eeg.replace(whiten=whiten))
    given = np.ascontiguousarray(array.reshape(16, 40, 4000).swapaxes(0, 1)) if trials else array
    Preprocessor(asked)(eeg=EEG(noise(16, 2500), **form))  # what is imported and cached is not counted
    tracemalloc.start()
    Preprocessor(asked)(eeg=EEG(given, **form))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * array.nbytes + 25e6


def test_an_overlap_does_not_multiply_without_bounds() -> None:
    with pytest.raises(SignalError, match=r"overlap: 0\.999999 makes .* windows of 10 s, .* GB\. Choose a smaller one"):
        sliding_windows(noise(20, 60_000), 250.0, 10.0, 0.999999)


def test_filters_by_block_equal_those_of_the_whole() -> None:
    data = noise(3, 4000)
    whole = EEG.from_microvolts(data, ("Fz", "Cz", "Pz"), 100.0)
    trials = EEG.from_microvolts(data, ("Fz", "Cz", "Pz"), 100.0, ((0, 1000), (1000, 2000), (2000, 3500), (3500, 4000)))
    for function, oracle in (
        (lambda r: band_pass(r, 1.0, 30.0), lambda x: mne.filter.filter_data(x, 100.0, 1.0, 30.0, verbose="ERROR")),
        (lambda r: notch(r, 25.0), lambda x: mne.filter.notch_filter(x, 100.0, [25.0], verbose="ERROR")),
        (lambda r: resample(r, 80.0), lambda x: mne.filter.resample(x, 4, 5, method="polyphase", verbose="ERROR")),
    ):
        for recording in (whole, trials):
            parts = [oracle(recording.data[:, a:b].astype(np.float64)) for a, b in recording.segments]
            result = function(recording)
            np.testing.assert_allclose(result.data, np.concatenate(parts, axis=1), rtol=1e-5, atol=1e-4)
            assert [b - a for a, b in result.segments] == [part.shape[1] for part in parts]
            assert result.onsets == recording.onsets


def test_a_filter_that_is_longer_than_the_signal_says_so() -> None:
    with pytest.warns(UserWarning, match=r"l_freq, h_freq: filter_length .* is longer than the signal"):
        band_pass(EEG.from_microvolts(noise(2, 200), tuple(NAMES), 100.0), 0.5, None)
    with pytest.raises(ConfigError, match="l_freq"):
        band_pass(EEG.from_microvolts(noise(2, 200), tuple(NAMES), 100.0), -1.0, None)
