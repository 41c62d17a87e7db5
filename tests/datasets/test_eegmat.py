"""The EEGMAT reader, on made-up files and on the real ones."""

import numpy as np
import pytest

from evermodels.core.errors import ConfigError, DataError, SignalError
from evermodels.core.specs import EEGSpec, InputSpec
from evermodels.datasets import EEGMAT
from evermodels.signals import Preprocessor, read_eeg, resample


def test_windows_have_the_files_values(eegmat, eegmat_folder):
    assert eegmat.subjects == tuple(f"{i:02d}" for i in range(8))
    assert eegmat.ch_names[:7] == ("Fp1", "Fp2", "F3", "F4", "F7", "F8", "T7")
    windows = eegmat.windows("03", "arithmetic")
    assert windows.shape == (3, 19, 100)
    assert windows.dtype == np.float32
    time = np.arange(100, 200) / 50
    for channel, gain in ((0, 0.5), (18, 0.5 + 18 / 19)):
        expected = 5 * gain * np.sin(2 * np.pi * 10 * time) + 60 + 20
        assert np.abs(windows[1, channel, 10:-10] - expected[10:-10]).max() < 0.3
    assert eegmat.windows("03", "rest").shape == (6, 19, 100)


def test_recordings_are_kept_and_cannot_be_changed(eegmat):
    recording = eegmat.recording("00", "rest")
    assert recording is eegmat.recording("00", "rest")
    with pytest.raises(ValueError, match="read-only"):
        recording[0, 0] = 1.0
    windows = eegmat.windows("00", "rest")
    windows[:] = 0
    assert eegmat.windows("00", "rest").any()


def test_overlap_channels_and_reference(eegmat_folder):
    half = EEGMAT(eegmat_folder, sfreq=50.0, window_seconds=2.0, overlap=0.5)
    assert half.window_starts("00", "arithmetic").tolist() == [0, 50, 100, 150, 200]
    assert np.array_equal(half.windows("00", "arithmetic")[1, :, 50:], half.windows("00", "arithmetic")[2, :, :50])
    two = EEGMAT(eegmat_folder, ch_names=["EEG O2", "t4"], sfreq=50.0, window_seconds=2.0)
    assert two.ch_names == ("O2", "T8")
    full = EEGMAT(eegmat_folder, sfreq=50.0, window_seconds=2.0)
    rows = [full.ch_names.index("O2"), full.ch_names.index("T8")]
    assert np.array_equal(two.recording("01", "rest"), full.recording("01", "rest")[rows])
    average = EEGMAT(eegmat_folder, sfreq=50.0, window_seconds=2.0, reference="average")
    assert np.abs(average.recording("01", "rest").mean(0)).max() < 1e-4


def test_band_pass_takes_the_level_away(eegmat_folder):
    filtered = EEGMAT(eegmat_folder, sfreq=50.0, window_seconds=2.0, l_freq=5.0, h_freq=20.0)
    assert abs(filtered.recording("05", "rest")[:, 100:-100].mean()) < 0.5
    assert EEGMAT(eegmat_folder, sfreq=50.0, window_seconds=2.0).recording("05", "rest").mean() > 100


def test_the_published_files_with_ecg_are_read(tmp_path, writer):
    names = (*writer.EEGMAT_NAMES, "ECG ECG")
    data = np.repeat(np.linspace(-50, 50, 21)[:, None], 2000, axis=1) + 5 * np.sin(np.arange(2000) / 5)
    for state in (1, 2):
        writer.write_edf(tmp_path / f"Subject07_{state}.edf", data, names, 500)
    eegmat = EEGMAT(tmp_path, window_seconds=2.0)
    windows = eegmat.windows("07", "rest")
    assert windows.shape == (2, 19, 400)
    assert np.abs(windows.mean((0, 2)) - np.linspace(-50, 50, 21)[:19]).max() < 0.5


def test_info(eegmat, tmp_path, writer):
    assert eegmat.info["05"]["Age"] == "25"
    writer.write_eegmat(tmp_path, 1)
    table = tmp_path / "subject-info.csv"
    table.write_text("Subject,Age\nSubject09,20\n")
    with pytest.raises(DataError, match="no line for 00"):
        _ = EEGMAT(tmp_path).info
    table.unlink()
    with pytest.raises(DataError, match=r"lacks subject-info\.csv"):
        _ = EEGMAT(tmp_path).info


def test_missing_files_are_named(tmp_path, writer):
    with pytest.raises(DataError, match=r"is not a folder.*EVERMODELS_DATA"):
        EEGMAT(tmp_path / "none")
    with pytest.raises(DataError, match=r"holds no SubjectNN_1\.edf"):
        EEGMAT(tmp_path)
    writer.write_eegmat(tmp_path, 3)
    (tmp_path / "Subject01_2.edf").unlink()
    (tmp_path / "Subject02_1.edf").unlink()
    with pytest.raises(DataError, match=r"lacks Subject01_2\.edf, Subject02_1\.edf\."):
        EEGMAT(tmp_path)
    assert EEGMAT(tmp_path, subjects=["00"]).subjects == ("00",)
    assert EEGMAT(tmp_path, task="rest", subjects=["00", "01"]).task == ("rest",)
    with pytest.raises(DataError, match=r"lacks Subject09_1\.edf, Subject09_2\.edf"):
        EEGMAT(tmp_path, subjects=["00", "09"])
    (tmp_path / "Subject00_1.edf").write_bytes(b"")
    with pytest.raises(DataError, match=r"Subject00_1\.edf .* is empty"):
        EEGMAT(tmp_path, subjects=["00"])


def test_a_file_cut_in_the_middle(tmp_path, writer):
    writer.write_eegmat(tmp_path, 1)
    path = tmp_path / "Subject00_2.edf"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(SignalError, match=r"Subject00_2\.edf"):
        EEGMAT(tmp_path).recording("00", "arithmetic")


def test_a_channel_that_is_not_there(eegmat_folder):
    with pytest.raises(SignalError, match="Oz"):
        EEGMAT(eegmat_folder, ch_names=["Oz"]).recording("00", "rest")


def test_unknown_person_and_state(eegmat):
    with pytest.raises(DataError, match=r"subject: '99' is not there"):
        eegmat.windows("99", "rest")
    with pytest.raises(DataError, match=r"got 'arithmetics'. Did you mean 'arithmetic'"):
        eegmat.windows("00", "arithmetics")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"overlap": 1.0}, "overlap: expected"),
        ({"sfreq": 0.0}, "sfreq, window_seconds"),
        ({"window_seconds": -1.0}, "sfreq, window_seconds"),
        ({"task": ("rest", "sleep")}, "task: expected"),
        ({"reference": "Cz"}, "reference: expected"),
    ],
)
def test_impossible_values(eegmat_folder, values, message):
    with pytest.raises(ConfigError, match=message):
        EEGMAT(eegmat_folder, **values)


def test_a_window_longer_than_the_recording(eegmat_folder):
    with pytest.raises(DataError, match=r"Subject00_2\.edf lasts 6\.0 s, less than a window of 8 s"):
        EEGMAT(eegmat_folder, sfreq=50.0, window_seconds=8.0).windows("00", "arithmetic")


def test_the_real_recordings(real_data):
    eegmat = EEGMAT(real_data / "eegmat")
    assert len(eegmat.subjects) == 36
    assert eegmat.info["35"]["Count quality"] == "1"
    assert eegmat.windows("31", "rest").shape == (16, 19, 1000)
    assert len(eegmat.windows("00", "arithmetic")) == 12
    assert 3 < eegmat.recording("31", "rest").std() < 100


def test_the_published_version_agrees_with_the_resampled_one(real_data):
    ours = EEGMAT(real_data / "eegmat", subjects=["00"]).recording("00", "arithmetic")
    published = EEGMAT(real_data / "eegmat_original", subjects=["00"]).recording("00", "arithmetic")
    length = min(ours.shape[1], published.shape[1]) - 200
    for a, b in zip(ours[:, 200:length], published[:, 200:length], strict=True):
        assert np.corrcoef(a, b)[0, 1] > 0.99


FILTERS = [{"l_freq": 1.0, "h_freq": 45.0}, {"l_freq": 1.0, "notch": 20.0, "reference": "average"}]


@pytest.mark.parametrize("filters", FILTERS, ids=["band-pass", "notch and average"])
def test_windows_are_those_that_a_model_reads(real_data, filters):
    """One way from a recording to windows, filters in one order: noise of 500 Hz shows any other."""
    eegmat = EEGMAT(real_data / "eegmat_original", subjects=["35"], task="arithmetic", sfreq=100.0, **filters)
    spec = InputSpec(window_seconds=5.0, eeg=EEGSpec(ch_names=eegmat.ch_names, sfreq=100.0, **filters))
    read = Preprocessor(spec)(eeg=eegmat.path("35", "arithmetic"))
    assert np.array_equal(eegmat.windows("35", "arithmetic"), read.tensors["eeg"].numpy())


def test_made_up_windows_are_those_that_a_model_reads(eegmat_folder):
    eegmat = EEGMAT(eegmat_folder, sfreq=40.0, window_seconds=2.0, l_freq=1.0, h_freq=18.0)
    spec = InputSpec(window_seconds=2.0, eeg=EEGSpec(ch_names=eegmat.ch_names, sfreq=40.0, l_freq=1.0, h_freq=18.0))
    read = Preprocessor(spec)(eeg=eegmat.path("03", "rest"))
    assert np.array_equal(eegmat.windows("03", "rest"), read.tensors["eeg"].numpy())


def test_without_filters_nothing_is_done_but_resampling(eegmat_folder):
    eegmat = EEGMAT(eegmat_folder, sfreq=40.0, window_seconds=2.0)
    alone = resample(read_eeg(eegmat.path("03", "rest"), ch_names=eegmat.ch_names), 40.0)
    assert np.array_equal(eegmat.recording("03", "rest"), alone.data)
