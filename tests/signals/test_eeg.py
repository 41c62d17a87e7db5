"""Reading EEG, the filters and the windows; MNE and SciPy are the oracles."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from evermodels.core.errors import ConfigError, ShapeError, SignalError, UnknownNameError
from evermodels.montage import preset
from evermodels.signals import EEG, band_pass, notch, read_eeg, resample, sliding_windows
from evermodels.signals.eeg.filters import recording_windows

mne = pytest.importorskip("mne")


def noise(channels: int = 2, samples: int = 1000, std: float = 20.0) -> np.ndarray:
    return std * np.random.default_rng(0).standard_normal((channels, samples))


def sine(freq: float, sfreq: float = 250.0, seconds: float = 20.0) -> np.ndarray:
    return 10 * np.sin(2 * np.pi * freq * np.arange(int(seconds * sfreq)) / sfreq)


def raw_of(data: np.ndarray, names: list[str], sfreq: float = 100.0, types: str | list[str] = "eeg"):
    return mne.io.RawArray(data, mne.create_info(names, sfreq, types), verbose="ERROR")


# --- reading ---------------------------------------------------------------------------------------------------------


def test_eegmat_equals_mne(real_data: Path) -> None:
    path = real_data / "eegmat" / "Subject00_2.edf"
    recording = read_eeg(path)
    raw = mne.io.read_raw_edf(path, verbose="ERROR")
    assert recording.ch_names == (*preset("eegmat"), "A2-A1")
    assert recording.sfreq == 250.0
    assert recording.data.dtype == np.float32
    np.testing.assert_allclose(recording.data, raw.get_data() * 1e6, rtol=1e-5, atol=1e-3)
    assert 1 < recording.data.std() < 100
    few = read_eeg(str(path), ch_names=["Pz", "EEG T3"])
    np.testing.assert_array_equal(few.data, recording.pick(["PZ", "T7"]).data)
    assert few.ch_names == ("Pz", "T7")
    assert len(few.dropped) == 18


def test_channels_that_are_not_eeg_are_left_out_by_name(real_data: Path) -> None:
    recording = read_eeg(real_data / "eegmat_original" / "Subject00_2.edf")
    assert recording.dropped == ("ECG ECG",)
    assert recording.sfreq == 500.0


def test_edf_in_microvolts(write_edf) -> None:
    data = noise(3, 500)
    recording = read_eeg(write_edf(data, ["EEG Fp1-REF", "EEG T3", "ECG"]))
    assert recording.ch_names == ("Fp1", "T7")
    np.testing.assert_allclose(recording.data, data[:2], atol=0.051)


def test_fif_raw_and_epochs(tmp_path: Path) -> None:
    data = noise(3, 600) * 1e-6
    raw = raw_of(data, ["FZ", "Cz", "STI"], types=["eeg", "eeg", "stim"])
    recording = read_eeg(raw)
    np.testing.assert_allclose(recording.data, data[:2] * 1e6, rtol=1e-5)
    assert recording.dropped == ("STI",)
    raw.save(tmp_path / "a_raw.fif", verbose="ERROR")
    np.testing.assert_allclose(read_eeg(tmp_path / "a_raw.fif").data, recording.data, rtol=1e-4)
    epochs = mne.make_fixed_length_epochs(raw, duration=2.0, preload=True, verbose="ERROR")
    recording = read_eeg(epochs, ch_names=["Cz"])
    assert recording.segments == ((0, 200), (200, 400), (400, 600))
    np.testing.assert_allclose(recording.data, data[1:2] * 1e6, rtol=1e-5)
    epochs.save(tmp_path / "a-epo.fif", verbose="ERROR")
    assert read_eeg(tmp_path / "a-epo.fif").segments == recording.segments


@pytest.mark.parametrize(("unit", "factor"), [("V", 1e-6), ("mV", 1e-3), ("uV", 1.0), ("µV", 1.0), ("nV", 1e3)])
def test_array_units(unit: str, factor: float) -> None:
    data = noise()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        recording = read_eeg(data * factor, ch_names=["T3", "Cz"], unit=unit, sfreq=250)
    np.testing.assert_allclose(recording.data, data, rtol=1e-5)
    tensor = torch.tensor(data * factor, dtype=torch.float64, requires_grad=True)
    np.testing.assert_allclose(read_eeg(tensor, ch_names=["T3", "Cz"], unit=unit, sfreq=250).data, data, rtol=1e-5)


def test_a_recording_goes_through_unchanged() -> None:
    recording = EEG.from_microvolts(noise(), ("Fz", "Cz"), 250.0)
    assert read_eeg(recording) is recording
    assert read_eeg(recording, ch_names=["cz"]).ch_names == ("Cz",)


# --- units -----------------------------------------------------------------------------------------------------------


def test_volts_taken_for_microvolts() -> None:
    with pytest.warns(UserWarning, match=r"unit: the array, given as 'uV', moves by [12][.\d]*e-05 µV.*V taken for uV"):
        read_eeg(noise() * 1e-6, ch_names=["Fz", "Cz"], unit="uV", sfreq=250)
    with (
        pytest.warns(
            UserWarning, match=r"given as 'V', moves by [12].*e\+07 µV.*1,000,000 times too large.*uV taken for V"
        ),
        pytest.raises(SignalError, match="values beyond 10 V, which no EEG amplifier delivers"),
    ):
        read_eeg(noise(), ch_names=["Fz", "Cz"], unit="V", sfreq=250)


@pytest.mark.parametrize("unit", ["", "xyz", "uv"])
def test_a_file_without_a_unit_is_not_guessed(write_edf, unit: str) -> None:
    data = noise(2, 500)
    path = write_edf(data, ["Fz", "Cz"], unit=unit)
    with pytest.raises(SignalError, match=rf"a\.edf: its header gives Fz, Cz the unit '{unit}'.*read_eeg\(path, unit="):
        read_eeg(path)
    np.testing.assert_allclose(read_eeg(path, unit="uV").data, data, atol=0.051)
    with pytest.raises(SignalError, match="unit: expected one of"):
        read_eeg(path, unit="µg")
    with pytest.raises(SignalError, match="unit: 'uV' was given, but the recording's own unit counts"):
        read_eeg(write_edf(data, ["Fz", "Cz"], name="b.edf"), unit="uV")


# --- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "ch_names, unit, sfreq not given"),
        ({"ch_names": ["Fz", "Cz"], "sfreq": 250}, "unit not given.*never guessed"),
        ({"unit": "uV", "sfreq": 250}, "needs ch_names, unit and sfreq; ch_names not given"),
        ({"ch_names": ["Fz", "Cz"], "unit": "volt", "sfreq": 250}, "unit: expected one of .*'volt'"),
        ({"ch_names": ["Fz", "Cz"], "unit": "uV", "sfreq": -1}, "sfreq: expected a positive rate.*-1"),
        ({"ch_names": ["Fz", "Cz"], "unit": "uV", "sfreq": float("nan")}, "sfreq: expected a positive rate"),
        ({"ch_names": ["Fz"], "unit": "uV", "sfreq": 250}, r"one name for each of the 2 channels.*got 1\. Name each"),
        ({"ch_names": ["Fz", "FZ"], "unit": "uV", "sfreq": 250}, "both the electrode Fz"),
        ({"ch_names": ["Fz", "Cx"], "unit": "uV", "sfreq": 250}, "'Cx' is not a name"),
    ],
)
def test_array_without_what_it_needs(given: dict, message: str) -> None:
    with pytest.raises((SignalError, ShapeError, UnknownNameError), match=message):
        read_eeg(noise(), **given)


@pytest.mark.parametrize(
    ("array", "error", "message"),
    [
        (np.zeros(100), ShapeError, r"expected \(channels, time\), got 1 axes of shape \(100,\).*None, :"),
        (np.zeros((2, 2, 2, 100)), ShapeError, "got 4 axes"),
        (np.zeros((2, 0)), SignalError, r"empty, of shape \(2, 0\)"),
        (np.zeros((0, 2, 100)), SignalError, r"empty, of shape \(0, 2, 100\)"),
        ([[1.0], [1.0, 2.0]], SignalError, "what was given is no array.*equal rows"),
        (np.zeros((2, 100), dtype=complex), SignalError, "real numbers, got dtype complex128"),
        (np.array([["a", "b"]]), SignalError, "real numbers"),
    ],
)
def test_wrong_arrays(array: np.ndarray, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        read_eeg(array, ch_names=["Fz", "Cz"], unit="uV", sfreq=100)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_named(value: float) -> None:
    data = noise()
    data[1, 100:111] = value
    with pytest.raises(SignalError, match=r"NaN or infinity in Cz \(11 samples, 1\.000 to 1\.100 s\)\. Cut"):
        read_eeg(data, ch_names=["Fz", "Cz"], unit="uV", sfreq=100)
    with pytest.raises(SignalError, match="Cz"):
        read_eeg(raw_of(data * 1e-6, ["Fz", "Cz"]))


def test_many_bad_channels_are_counted() -> None:
    names = preset("eegmat")
    with pytest.raises(SignalError, match=r"Fp1 .* F7 .*and 14 more channels"):
        read_eeg(np.full((19, 50), np.nan), ch_names=names, unit="uV", sfreq=100)


@pytest.mark.parametrize("part", [0.5, 0.999])
def test_edf_cut_in_the_middle(write_edf, part: float) -> None:
    path = write_edf(noise(2, 1000), ["Fz", "Cz"])
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(SignalError, match=r"a\.edf: the EDF header announces 10 data records .*cut in the middle"):
        read_eeg(path)


@pytest.mark.parametrize(
    ("length", "message"),
    [
        (0, "the file is empty"),
        (100, "needs at least 256 bytes and the file has 100"),
        (500, "header of 2 signals needs 768 bytes.*cut inside the header"),
    ],
)
def test_edf_header_cut(write_edf, length: int, message: str) -> None:
    path = write_edf(noise(), ["Fz", "Cz"])
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(SignalError, match=message):
        read_eeg(path)


def test_real_edf_cut_in_the_middle(real_data: Path, tmp_path: Path) -> None:
    whole = (real_data / "eegmat" / "Subject00_2.edf").read_bytes()
    (tmp_path / "cut.edf").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SignalError, match="cut in the middle"):
        read_eeg(tmp_path / "cut.edf")


def test_other_damaged_headers(write_edf) -> None:
    path = write_edf(noise(2, 300), ["Fz", "Cz"])
    whole = bytearray(path.read_bytes())
    for at, text, message in [
        (236, b"none    ", "number of data records reads b'none    '"),
        (236, b"0       ", "announces no data record"),
        (252, b"\xff\xff  ", "number of signals"),
    ]:
        damaged = bytearray(whole)
        damaged[at : at + len(text)] = text
        path.write_bytes(damaged)
        with pytest.raises(SignalError, match=message):
            read_eeg(path)
    whole[236:244] = b"-1      "
    path.write_bytes(whole)
    with pytest.warns(UserWarning, match="never closed; all 3 whole data records are read"):
        assert read_eeg(path).data.shape == (2, 300)


def test_bdf_counts_three_bytes(write_edf) -> None:
    path = write_edf(noise(2, 300), ["Fz", "Cz"], name="a.bdf")
    with pytest.raises(SignalError, match=r"the BDF header announces 3 data records and the file holds 2\.0"):
        read_eeg(path)


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no file"):
        read_eeg(tmp_path / "none.edf")
    (tmp_path / "a.fif").write_bytes(b"no fif at all, in any way whatever")
    with pytest.raises(SignalError, match=r"a\.fif: MNE could not read it"):
        read_eeg(tmp_path / "a.fif")
    (tmp_path / "a.xyz").write_bytes(b"1234")
    with pytest.raises(
        SignalError, match=r"a\.xyz: no reader of MNE takes files that end in '\.xyz'; it reads .*\.vhdr"
    ):
        read_eeg(tmp_path / "a.xyz")
    with pytest.raises(SignalError, match="cannot read a dict"):
        read_eeg({})
    assert {p.name for p in tmp_path.iterdir()} == {"a.fif", "a.xyz"}


def test_files_and_mne_objects_know_their_own_unit_and_rate() -> None:
    raw = raw_of(noise() * 1e-6, ["Fz", "Cz"])
    with pytest.raises(SignalError, match="unit: 'uV' was given, but the recording's own unit counts"):
        read_eeg(raw, unit="uV")
    with pytest.raises(SignalError, match="sfreq: 100 was given"):
        read_eeg(raw, sfreq=100)


def test_mne_channels() -> None:
    data = noise() * 1e-6
    with pytest.raises(SignalError, match=r"RawArray: it has no channel Pz; it has Fz, Cz"):
        read_eeg(raw_of(data, ["Fz", "Cz"]), ch_names=["Fz", "Pz"])
    with pytest.raises(SignalError, match="none of its channels is an EEG electrode of a known name: ch1, ch2"):
        read_eeg(raw_of(data, ["ch1", "ch2"]))
    with pytest.raises(UnknownNameError, match="'T3' and 'T7' are both the electrode T7"):
        read_eeg(raw_of(data, ["T3", "T7"]))
    raw = raw_of(data, ["Fz", "Cz"])
    raw.info["bads"] = ["Cz"]
    with pytest.warns(UserWarning, match="channels Cz are marked bad"):
        read_eeg(raw)


def test_pick() -> None:
    recording = EEG.from_microvolts(noise(3), ("Fz", "Cz", "Pz"), 250.0)
    picked = recording.pick(["PZ", "Fz"])
    np.testing.assert_array_equal(picked.data, recording.data[[2, 0]])
    assert picked.dropped == ("Cz",)
    with pytest.raises(SignalError, match=r"has no Oz, T7; it has Fz, Cz, Pz"):
        recording.pick(["Oz", "Fz", "T3"])
    with pytest.raises(SignalError, match="at least one"):
        recording.pick([])


# --- filters ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("old", "new"), [(250, 200), (160, 100), (256, 200), (500, 200), (512.5, 200)])
def test_resample(old: float, new: float) -> None:
    recording = EEG.from_microvolts(sine(10, old)[None], ("Cz",), old)
    result = resample(recording, new)
    assert result.sfreq == new
    assert result.data.shape == (1, round(recording.data.shape[1] * new / old))
    inner = slice(int(new), -int(new))
    np.testing.assert_allclose(result.data[0, inner], sine(10, new)[: result.data.shape[1]][inner], atol=0.05)
    fast = resample(EEG.from_microvolts(sine(0.6 * new, old)[None], ("Cz",), old), new)  # above the new half rate
    assert fast.data[0, inner].std() < 0.05 * 7


def test_resample_at_the_same_and_a_higher_rate() -> None:
    recording = EEG.from_microvolts(sine(10, 100)[None], ("Cz",), 100.0)
    assert resample(recording, 100.0) is recording
    with pytest.warns(UserWarning, match="100 Hz is raised to 200 Hz; it holds nothing above 50 Hz"):
        higher = resample(recording, 200.0)
    np.testing.assert_allclose(higher.data[0, 400:3600], sine(10, 200)[400:3600], atol=0.05)
    with pytest.raises(ConfigError, match="positive rate"):
        resample(recording, 0)


def test_band_pass_keeps_the_band_and_its_phase() -> None:
    data = np.stack([sine(f) for f in (0.1, 10, 60)])
    result = band_pass(EEG.from_microvolts(data, ("Fz", "Cz", "Pz"), 250.0), 1.0, 40.0).data[:, 1000:4000]
    np.testing.assert_allclose(result[1], data[1, 1000:4000], atol=0.1)
    assert np.abs(result[0]).max() < 0.5
    assert np.abs(result[2]).max() < 0.1


def test_filters_equal_scipys_response() -> None:
    scipy_signal = pytest.importorskip("scipy.signal")
    impulse = np.zeros((1, 5001))
    impulse[0, 2500] = 1000.0
    recording = EEG.from_microvolts(impulse, ("Cz",), 250.0)
    freqs, response = scipy_signal.freqz(band_pass(recording, 1.0, 40.0).data[0] / 1000, worN=4096, fs=250)
    assert np.abs(response[(freqs > 3) & (freqs < 38)]).min() > 0.98
    assert np.abs(response[(freqs > 55) | (freqs < 0.05)]).max() < 0.02
    freqs, response = scipy_signal.freqz(notch(recording, 50.0).data[0] / 1000, worN=8192, fs=250)
    for mains in (50, 100):
        assert np.abs(response[np.abs(freqs - mains) < 0.1]).max() < 0.1
    assert np.abs(response[np.abs(freqs - 40) < 5]).min() > 0.95


def test_band_pass_edges() -> None:
    recording = EEG.from_microvolts(noise(), ("Fz", "Cz"), 100.0)
    assert band_pass(recording, None, None) is recording
    assert band_pass(recording, None, 60.0) is recording
    assert notch(recording, 50.0) is recording
    for low, high in [(0.0, 30.0), (None, -1.0), (30.0, 10.0), (50.0, None)]:
        with pytest.raises(ConfigError, match="freq: expected"):
            band_pass(recording, low, high)
    with pytest.raises(ConfigError, match="notch: expected"):
        notch(recording, 0)


def test_filters_stay_inside_segments() -> None:
    data = noise(1, 2000)
    both = EEG.from_microvolts(data, ("Cz",), 100.0, ((0, 1000), (1000, 2000)))
    second = EEG.from_microvolts(data[:, 1000:], ("Cz",), 100.0)
    for function in (lambda r: band_pass(r, 2.0, 30.0), lambda r: resample(r, 50.0)):
        result = function(both)
        first, last = result.segments[1]
        np.testing.assert_allclose(result.data[:, first:last], function(second).data, rtol=1e-5, atol=1e-5)


# --- windows ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.9])
def test_windows_equal_a_slow_loop(overlap: float) -> None:
    data = noise(3, 1037)
    windows, starts = sliding_windows(data, 100.0, 2.0, overlap)
    step = round(200 * (1 - overlap))
    slow = [data[:, a : a + 200] for a in range(0, 1037 - 200 + 1, step)]
    np.testing.assert_array_equal(windows, np.stack(slow))
    np.testing.assert_allclose(starts, np.arange(len(slow)) * step / 100)
    windows[:] = 0  # a copy
    assert data.std() > 1


def test_windows_that_cannot_be() -> None:
    data = noise(2, 100)
    with pytest.raises(SignalError, match=r"1\.000 s long \(100 samples\) and one window needs 2 s \(200 samples\)"):
        sliding_windows(data, 100.0, 2.0)
    for overlap in (1.0, -0.1, 2.5):
        with pytest.raises(ConfigError, match="overlap: expected a part of a window"):
            sliding_windows(data, 100.0, 0.5, overlap)
    with pytest.raises(ConfigError, match="at least one sample"):
        sliding_windows(data, 100.0, 0.0)
    with pytest.raises(ShapeError, match="got 1 axes"):
        sliding_windows(data[0], 100.0, 0.5)


def test_windows_never_cross_segments() -> None:
    data = np.arange(1000.0)[None]
    recording = EEG.from_microvolts(data, ("Cz",), 100.0, ((0, 450), (450, 500), (500, 1000)))
    windows, starts = recording_windows(recording, 2.0, 0.0)
    np.testing.assert_allclose(starts, [0.0, 2.0, 5.0, 7.0])
    np.testing.assert_array_equal(windows[:, 0, 0], [0, 200, 500, 700])
    with pytest.raises(SignalError, match=r"5\.000 s long"):
        recording_windows(recording, 6.0, 0.0)
