"""Files that are damaged, contradict themselves, or are of a kind that needs something: read rightly or refused."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from evermodels.core.errors import EvermodelsError, MissingExtraError, SignalError, UnknownNameError
from evermodels.signals import read_eeg

mne = pytest.importorskip("mne")

NAMES = ["Fz", "Cz"]


def noise(channels: int = 2, samples: int = 1000, std: float = 20.0) -> np.ndarray:
    return std * np.random.default_rng(0).standard_normal((channels, samples))


def patch(path: Path, at: int, text: str) -> Path:
    whole = bytearray(path.read_bytes())
    whole[at : at + len(text)] = text.encode("latin-1")
    path.write_bytes(whole)
    return path


# --- EDF: what its header says ---------------------------------------------------------------------------------------

RECORDS, SECONDS, SIGNALS = 236, 244, 252
PHYSICAL_MAX_OF_CZ = 256 + 2 * (16 + 80 + 8 + 8) + 8
DIGITAL_MAX_OF_CZ = PHYSICAL_MAX_OF_CZ + 32
SAMPLES_OF_CZ = 256 + 2 * 216 + 8


@pytest.mark.parametrize(
    ("at", "text", "message"),
    [
        (SECONDS, "0       ", "length of a data record reads b'0       '.*rate of its 100 samples a record is unknown"),
        (SECONDS, "-1      ", "length of a data record reads"),
        (SECONDS, "nan     ", "length of a data record reads"),
        (SECONDS, "1e7     ", "sfreq: a.edf, channel Fz, has 1e-05 Hz, and EEG is sampled at 20 to 50,000 Hz"),
        (SECONDS, "0.0001  ", "has 1e.06 Hz.*no EEG amplifier samples so fast"),
        (SIGNALS, "-5  ", "announces -5 signals"),
        (SIGNALS, "0   ", "announces 0 signals"),
        (SIGNALS, "1   ", "says that it has 768 bytes, and 1 signals need 512"),
        (SIGNALS, "9999", "cut inside the header"),
        (RECORDS, "-7      ", "announces -7 data records"),
        (RECORDS, "1e300   ", "cut in the middle"),
        (RECORDS, "inf     ", "number of data records reads b'inf     ', which is no number"),
        (SAMPLES_OF_CZ, "-100    ", "announces -100 samples in a data record for 'Cz'"),
        (SAMPLES_OF_CZ, "99999999", "cut in the middle"),
        (184, "99      ", "says that it has 99 bytes, and 2 signals need 768"),
    ],
)
def test_an_edf_header_that_cannot_be(write_edf, at: int, text: str, message: str) -> None:
    with pytest.raises(SignalError, match=message):
        read_eeg(patch(write_edf(noise(), NAMES), at, text))


def test_more_records_than_the_header_says_are_read_and_said(write_edf) -> None:
    data = noise(2, 2000)
    path = patch(write_edf(data, NAMES), RECORDS, "2       ")
    with pytest.warns(UserWarning, match="announces 2 data records and the file holds 20; all 20 whole data records"):
        recording = read_eeg(path)
    np.testing.assert_allclose(recording.data, data, atol=0.051)
    assert any("announces 2 data records" in note for note in recording.notes)


@pytest.mark.parametrize(
    ("at", "text", "why"),
    [
        (PHYSICAL_MAX_OF_CZ, "-3200   ", "physical minimum and maximum of -3200 both"),
        (DIGITAL_MAX_OF_CZ, "-32000  ", "digital minimum of -32000 and maximum of -32000"),
        (PHYSICAL_MAX_OF_CZ, "nan     ", "limits that are no numbers"),
    ],
)
def test_a_channel_without_a_scale_is_not_read(write_edf, at: int, text: str, why: str) -> None:
    data = noise()
    path = patch(write_edf(data, NAMES), at, text)
    with pytest.warns(UserWarning, match=f"channel Cz is left out, because its header gives it a? ?{why}"):
        recording = read_eeg(path)
    assert recording.ch_names == ("Fz",)
    assert "Cz" in recording.dropped
    np.testing.assert_allclose(recording.data, data[:1], atol=0.051)
    with pytest.raises(SignalError, match=f"channel Cz has a? ?{why}.*no scale"):
        read_eeg(path, ch_names=["Cz"])


def test_what_mne_warns_of_passes_once_and_as_ours(write_edf) -> None:
    path = patch(write_edf(noise(), NAMES), 168, "99.99.99")
    with pytest.warns(UserWarning) as caught:
        recording = read_eeg(path)
    ours = [str(w.message) for w in caught if w.category is UserWarning]
    assert ours == ["a.edf: Invalid measurement date encountered in the header."]
    assert recording.notes == tuple(ours)


# --- EDF+: annotations and pauses ------------------------------------------------------------------------------------


def write_edf_plus(path: Path, data: np.ndarray, texts: list[bytes], kind: str = "EDF+D", rate: int = 100) -> Path:
    """One-second records of µV, with one annotation signal of 60 bytes."""
    count = len(data) + 1

    def text(values: list[object], width: int) -> bytes:
        return b"".join(str(v).ljust(width).encode("ascii")[:width] for v in values)

    records = data.shape[1] // rate if len(data) else len(texts)
    samples = [rate] * len(data) + [30]
    head = text(["0"], 8) + text(["X X X X"], 80) + text(["Startdate X X X X"], 80) + text(["01.01.20", "00.00.00"], 8)
    head += text([256 * (count + 1)], 8) + text([kind], 44) + text([records, 1], 8) + text([count], 4)
    head += text([*NAMES[: len(data)], "EDF Annotations"], 16) + text([""] * count, 80)
    head += text([*["uV"] * len(data), ""], 8) + text([-3200] * count, 8) + text([3200] * count, 8)
    head += text([-32000] * count, 8) + text([32000] * count, 8) + text([""] * count, 80) + text(samples, 8)
    head += text([""] * count, 32)
    body = b""
    for k in range(records):
        body += np.rint(data[:, k * rate : (k + 1) * rate] * 10).astype("<i2").tobytes() + texts[k].ljust(60, b"\0")
    path.write_bytes(head + body)
    return path


def stamps(onsets: list[float], extra: dict[int, bytes] | None = None) -> list[bytes]:
    return [f"+{onset:g}\x14\x14\x00".encode() + (extra or {}).get(k, b"") for k, onset in enumerate(onsets)]


def test_the_pauses_of_an_interrupted_edf_are_never_bridged(tmp_path: Path) -> None:
    data = noise(2, 1000)
    path = write_edf_plus(tmp_path / "d.edf", data, stamps([0, 1, 2, 3, 60, 61, 62, 200.5, 201.5, 202.5]))
    with pytest.warns(UserWarning, match=r"d\.edf: the recording was paused 2 times, 193\.5 s in all"):
        recording = read_eeg(path)
    assert recording.segments == ((0, 400), (400, 700), (700, 1000))
    assert recording.onsets == (0.0, 60.0, 200.5)
    np.testing.assert_allclose(recording.data, data, atol=0.051)


def test_bad_stretches_of_an_interrupted_edf_are_found_by_true_time(tmp_path: Path) -> None:
    bad = b"+61\x151\x14BAD_move\x14\x00"
    path = write_edf_plus(tmp_path / "d.edf", noise(2, 600), stamps([0, 1, 2, 60, 61, 62], {3: bad}))
    with pytest.warns(UserWarning, match=r"1\.0 of 6\.0 s are left out"):
        recording = read_eeg(path)
    assert recording.segments == ((0, 300), (300, 400), (400, 500))
    assert recording.onsets == (0.0, 60.0, 62.0)


def test_a_continuous_edf_plus_is_one_stretch_whatever_its_rounding(tmp_path: Path) -> None:
    path = write_edf_plus(tmp_path / "c.edf", noise(2, 400), stamps([0.5, 1.5004, 2.5, 3.5]), kind="EDF+C")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_eeg(path).segments == ((0, 400),)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([b"\x00"] * 3, r"EDF\+D, a recording with pauses, and its records lack the time stamps"),
        ([*stamps([0, 1]), b"rubbish"], "lack the time stamps"),
        (stamps([5, 1, 9]), "time stamps of its records go back"),
        (stamps([0, 0, 0]), "go back"),
    ],
)
def test_an_interrupted_edf_that_does_not_say_where(tmp_path: Path, texts: list[bytes], message: str) -> None:
    with pytest.raises(SignalError, match=message):
        read_eeg(write_edf_plus(tmp_path / "d.edf", noise(2, 300), texts))


def test_annotations_alone_are_no_recording(tmp_path: Path) -> None:
    path = write_edf_plus(tmp_path / "only.edf", np.zeros((0, 300)), stamps([0, 1, 2]), kind="EDF+C")
    with pytest.raises(SignalError, match=r"annotations and no signal.*mne\.read_annotations"):
        read_eeg(path)


def test_channels_of_another_rate_do_not_raise_that_of_the_eeg(write_edf, tmp_path: Path) -> None:
    raw = write_edf(noise(2, 1000), ["Fz", "ECG"])
    whole = bytearray(raw.read_bytes())
    at = 256 + 2 * 216
    whole[at + 8 : at + 16] = b"400     "
    ecg = np.tile(np.zeros(400, dtype="<i2"), (10, 1))
    eeg = np.frombuffer(bytes(whole[768:]), dtype="<i2").reshape(10, 200)[:, :100]
    body = np.concatenate([eeg, ecg], axis=1).astype("<i2").tobytes()
    (tmp_path / "m.edf").write_bytes(bytes(whole[:768]) + body)
    recording = read_eeg(tmp_path / "m.edf")
    assert (recording.sfreq, recording.dropped) == (100.0, ("ECG",))
    np.testing.assert_allclose(recording.data, noise(2, 1000)[:1], atol=0.051)


# --- BrainVision -----------------------------------------------------------------------------------------------------


@pytest.fixture
def brainvision(tmp_path: Path) -> Callable[..., Path]:
    def write(data: str = "a.eeg", markers: str = "a.vmrk", more: str = "", last: int = 900) -> Path:
        (tmp_path / "a.eeg").write_bytes(np.rint(noise() * 10).astype("<i2").T.tobytes())
        (tmp_path / "a.vmrk").write_text(
            "Brain Vision Data Exchange Marker File, Version 1.0\n[Common Infos]\nDataFile=a.eeg\n[Marker Infos]\n"
            f"Mk1=New Segment,,1,1,0,20200101000000000000\nMk2=Stimulus,S  1,{last},1,0\n"
        )
        (tmp_path / "a.vhdr").write_text(
            "Brain Vision Data Exchange Header File Version 1.0\n[Common Infos]\n"
            f"DataFile={data}\nMarkerFile={markers}\nDataFormat=BINARY\nDataOrientation=MULTIPLEXED\n"
            f"NumberOfChannels=2\nSamplingInterval=10000\n{more}\n[Binary Infos]\nBinaryFormat=INT_16\n"
            "[Channel Infos]\nCh1=Fz,,0.1,µV\nCh2=Cz,,0.1,µV\n[Comment]\nanything = [goes\n",
            encoding="utf-8",
        )
        return tmp_path / "a.vhdr"

    return write


def test_brainvision_is_read_by_any_of_its_files(brainvision) -> None:
    path = brainvision()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        recording = read_eeg(path)
    np.testing.assert_allclose(recording.data, noise(), atol=0.051)
    for suffix in (".eeg", ".vmrk"):
        with pytest.warns(UserWarning, match=rf"a\{suffix}: read through its BrainVision header a\.vhdr"):
            np.testing.assert_array_equal(read_eeg(path.with_suffix(suffix)).data, recording.data)
    path.unlink()
    with pytest.raises(SignalError, match=r"a\.eeg: .* Give the \.vhdr file; there is none beside it"):
        read_eeg(path.with_suffix(".eeg"))


def test_brainvision_header_beside_belongs_to_another_file(brainvision) -> None:
    path = brainvision()
    other = path.with_suffix(".eeg").rename(path.with_name("b.eeg"))
    path.rename(path.with_name("b.vhdr"))
    with pytest.raises(SignalError, match=r"b\.vhdr beside it does not name this file"):
        read_eeg(other)
    with pytest.raises(SignalError, match=r"b\.vhdr: there is no a\.eeg \(DataFile\) beside it"):
        read_eeg(path.with_name("b.vhdr"))


@pytest.mark.parametrize(
    ("more", "cut", "message"),
    [
        ("", 2, r"holds 500 samples, and the last marker of its recording stands at sample 900"),
        ("DataPoints=1000", 2, r"announces 1000 samples \(DataPoints\) and the file holds 500"),
        ("", 1.0007, "no whole number of samples of 2 channels"),
    ],
)
def test_brainvision_data_cut(brainvision, more: str, cut: float, message: str) -> None:
    path = brainvision(more=more)
    data = path.with_suffix(".eeg")
    data.write_bytes(data.read_bytes()[: int(4000 / cut)])
    with pytest.raises(SignalError, match=message):
        read_eeg(path)


@pytest.mark.parametrize("name", ["../a.eeg", "/etc/passwd", "sub/a.eeg", "..", "..\\a.eeg", "C:\\a.eeg", ""])
@pytest.mark.parametrize("key", ["data", "markers"])
def test_brainvision_stays_in_its_folder(brainvision, name: str, key: str) -> None:
    if key == "markers" and not name:
        return  # a header without markers is usual
    with pytest.raises(SignalError, match="leads out of the header's folder and is not read"):
        read_eeg(brainvision(**{key: name}))


def test_brainvision_follows_no_link_out(brainvision, tmp_path: Path) -> None:
    path = brainvision(data="link.eeg")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    path.with_suffix(".eeg").rename(elsewhere / "a.eeg")
    (tmp_path / "link.eeg").symlink_to(elsewhere / "a.eeg")
    with pytest.raises(SignalError, match="leads out"):
        read_eeg(path)


def test_a_paused_brainvision_recording_is_not_bridged(brainvision) -> None:
    path = brainvision()
    markers = path.with_suffix(".vmrk")
    markers.write_text(markers.read_text() + "Mk3=New Segment,,501,1,0,20200101000100000000\n")
    assert read_eeg(path).segments == ((0, 500), (500, 1000))


# --- other kinds -----------------------------------------------------------------------------------------------------


def test_epochs_of_eeglab_and_of_fif_under_any_name(tmp_path: Path) -> None:
    scipy_io = pytest.importorskip("scipy.io")
    trials = noise(2, 600).reshape(2, 3, 200)
    kinds = ["calm", "joy", "calm"]
    events = np.array(
        [(k, 200 * i + 1, i + 1) for i, k in enumerate(kinds)], [("type", "O"), ("latency", "f8"), ("epoch", "f8")]
    )
    epoch = np.array(
        [(i + 1, k, 0.0) for i, k in enumerate(kinds)], [("event", "f8"), ("eventtype", "O"), ("eventlatency", "f8")]
    )
    places = np.array([(n,) for n in NAMES], [("labels", "O")])
    content = {
        "trials": 3.0,
        "nbchan": 2.0,
        "pnts": 200.0,
        "srate": 100.0,
        "xmin": 0.0,
        "xmax": 1.99,
        "chanlocs": places,
    }
    content |= {"data": trials.transpose(0, 2, 1), "event": events, "epoch": epoch, "icawinv": [], "icaweights": []}
    content |= {
        "icasphere": [],
        "ref": "common",
        "chaninfo": {"nosedir": "+X"},
        "setname": "x",
        "filename": "",
        "filepath": "",
    }
    scipy_io.savemat(tmp_path / "e.set", {"EEG": content}, appendmat=False)
    recording = read_eeg(tmp_path / "e.set")
    assert recording.segments == ((0, 200), (200, 400), (400, 600))
    assert recording.events == tuple(kinds)
    np.testing.assert_allclose(recording.data, trials.reshape(2, 600), rtol=1e-4)

    info = mne.create_info(NAMES, 100.0, "eeg")
    codes = np.array([[0, 0, 1], [200, 0, 2], [400, 0, 1]])
    epochs = mne.EpochsArray(1e-6 * trials.swapaxes(0, 1), info, codes, event_id={"calm": 1, "joy": 2}, verbose="ERROR")
    epochs.save(tmp_path / "any_name.fif", verbose="ERROR")
    for source in (epochs, tmp_path / "any_name.fif"):
        again = read_eeg(source)
        assert (again.segments, again.events) == (recording.segments, recording.events)
        np.testing.assert_allclose(again.data, recording.data, rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("a.mat", b"x", SignalError, r"read_raw_fieldtrip\(path, info.*scipy.io.loadmat"),
        ("a.xdf", b"x", SignalError, r"pyxdf.load_xdf\(path\).*time_series"),
        ("a.fdt", b"x", SignalError, r"give the \.set file"),
        ("a.csv", b"x", SignalError, "does not say its unit and rate"),
        ("a.edf.gz", b"x", SignalError, "Unpack it first"),
        ("a.cnt", b"RIFF" + b"x" * 99, MissingExtraError, "needs the package antio"),
        ("a.cnt", b"x" * 99, SignalError, "MNE could not read it"),
        ("a.raw", b"x" * 99, SignalError, "MNE could not read it"),
        ("a.nedf", b"x" * 99, (SignalError, MissingExtraError), "MNE could not read it|the package defusedxml"),
        ("a.dat", b"x" * 99, SignalError, "read_raw_curry: .*read_raw_bci2k: "),
        ("a.set", b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM" + b"x" * 99, MissingExtraError, "pymatreader and h5py"),
    ],
)
def test_other_kinds_get_the_true_cause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes, error: type[Exception], message: str
) -> None:
    for package in ("antio", "pymatreader"):
        monkeypatch.setitem(__import__("sys").modules, package, None)  # as if it were not installed
    (tmp_path / name).write_bytes(content)
    with pytest.raises(error, match=message):
        read_eeg(tmp_path / name)


def test_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SignalError, match=r"a folder is read only where it is one recording \(\.mff"):
        read_eeg(tmp_path)
    (tmp_path / "a.mff").mkdir()
    monkeypatch.setitem(__import__("sys").modules, "mffpy", None)
    with pytest.raises(MissingExtraError, match="needs the package mffpy"):
        read_eeg(tmp_path / "a.mff")


def test_flipped_bits_of_a_fif_are_read_or_refused(tmp_path: Path) -> None:
    info = mne.create_info(NAMES, 100.0, "eeg")
    mne.io.RawArray(noise(2, 200) * 1e-6, info, verbose="ERROR").save(tmp_path / "a_raw.fif", verbose="ERROR")
    whole = (tmp_path / "a_raw.fif").read_bytes()
    rng = np.random.default_rng(0)
    outcomes = set()
    for k in range(150):
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole) if k % 2 else 2000)] ^= 1 << int(rng.integers(8))
        (tmp_path / "b_raw.fif").write_bytes(damaged)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                outcomes.add(type(read_eeg(tmp_path / "b_raw.fif")).__name__)
            except EvermodelsError as error:
                outcomes.add(type(error).__name__)
    assert {"EEG", "SignalError"} <= outcomes


# --- names -----------------------------------------------------------------------------------------------------------


def test_connectors_of_biosemi_are_no_earlobes(write_edf) -> None:
    names = [f"A{k}" for k in range(1, 33)]
    message = "A1 and A2 are no earlobes here.*make_standard_montage\\('biosemi32'\\).*rename_channels"
    with pytest.raises(UnknownNameError, match=message):
        read_eeg(write_edf(noise(32), names))
    with pytest.raises(UnknownNameError, match="no earlobes"):
        read_eeg(noise(32), ch_names=names, unit="uV", sfreq=100)
    raw = mne.io.RawArray(noise(32) * 1e-6, mne.create_info(names, 100.0, "eeg"), verbose="ERROR")
    raw.rename_channels(dict(zip(raw.ch_names, mne.channels.make_standard_montage("biosemi32").ch_names, strict=True)))
    assert read_eeg(raw).ch_names[:4] == ("Fp1", "AF3", "F7", "F3")
    assert read_eeg(write_edf(noise(3), ["Cz", "A1", "A2"])).ch_names == ("Cz", "A1", "A2")


def test_most_channels_of_unknown_names_are_named(write_edf) -> None:
    names = ["C1", "F1", "I1", *(f"X{k}" for k in range(10))]
    with pytest.warns(
        UserWarning, match=r"10 of its 13 EEG channels are left out.*X0, X1.* and 2 more.*Only C1, F1, I1"
    ):
        recording = read_eeg(write_edf(noise(13), names))
    assert recording.ch_names == ("C1", "F1", "I1")
    assert "10 of its 13" in recording.notes[0]


def test_a_montage_stands_for_its_names() -> None:
    assert read_eeg(noise(14), ch_names="EPOC+", unit="uV", sfreq=128).ch_names[:2] == ("AF3", "F7")
    with pytest.raises(UnknownNameError, match=r"'EPOC2' does not exist\. Did you mean 'epoc'\?.*one of: deap, seed"):
        read_eeg(noise(14), ch_names="EPOC2", unit="uV", sfreq=128)
