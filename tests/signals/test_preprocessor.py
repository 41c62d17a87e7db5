"""From recordings to a model's inputs."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from evermodels.core.errors import ConfigError, SignalError
from evermodels.core.specs import EEGFeatures, EEGSpec, InputSpec, VideoSpec
from evermodels.functional import band_power
from evermodels.montage import preset
from evermodels.signals import EEG, Preprocessor, Video, band_pass, read_video, resample

pytest.importorskip("mne")
pytest.importorskip("av")

CHANNELS = EEGSpec(ch_names=("Cz", "T7"), sfreq=100.0)
VIDEO = VideoSpec(num_frames=4, size=(16, 16), face_crop=False)
BOTH = InputSpec(window_seconds=2.0, eeg=CHANNELS, video=VIDEO)
ARRAY = {"ch_names": ["EEG T3", "Fz", "CZ"], "unit": "uV", "sfreq": 100}


def noise(channels: int = 3, samples: int = 1000) -> np.ndarray:
    return 20 * np.random.default_rng(0).standard_normal((channels, samples))


def eeg(data: np.ndarray, **more) -> EEG:
    return EEG(data, **{**ARRAY, **more})


def cut(spec: InputSpec, recording: EEG, **more) -> torch.Tensor:
    return Preprocessor(spec)(eeg=recording, **more).tensors["eeg"]


def clip(count: int) -> np.ndarray:
    return np.arange(count, dtype=np.uint8)[:, None, None, None] * np.ones((1, 16, 16, 3), dtype=np.uint8)


def test_channels_by_name_and_windows() -> None:
    data = noise()
    windows = cut(BOTH, eeg(data), overlap=0.5)
    assert (windows.dtype, windows.shape) == (torch.float32, (9, 2, 200))
    np.testing.assert_allclose(windows[3], data[[2, 0], 300:500], rtol=1e-5)


def test_eeg_is_read_later_by_a_lag() -> None:
    data, spec = noise(), BOTH.replace(eeg=CHANNELS.replace(lag_seconds=0.3))
    clips = Video(clip(100), fps=10.0)
    with pytest.warns(
        UserWarning, match="video covers only 0.000 to 10.000 s"
    ):  # the first 0.3 s of EEG answer nothing
        both = Preprocessor(spec)(eeg=eeg(data), video=clips)
    np.testing.assert_allclose(both.starts, [1.7, 3.7, 5.7, 7.7])
    for k, start in enumerate(both.starts.tolist()):
        first = round(100 * (start + 0.3))
        np.testing.assert_allclose(both.tensors["eeg"][k], data[[2, 0], first : first + 200], rtol=1e-5)
    with pytest.warns(UserWarning):
        later = Preprocessor(BOTH)(eeg=eeg(data, start=-0.3), video=clips)
    assert torch.equal(both.tensors["video"], later.tensors["video"])
    with pytest.raises(ConfigError, match="lag_seconds: expected at most 60 s, got 300"):
        CHANNELS.replace(lag_seconds=300)


def test_order_of_the_recording_does_not_matter() -> None:
    data = noise()
    one = cut(BOTH, eeg(data))
    names = [ARRAY["ch_names"][i] for i in (2, 0, 1)]
    other = cut(BOTH, eeg(data[[2, 0, 1]], ch_names=names))
    torch.testing.assert_close(one, other)


def test_volts_and_microvolts_agree() -> None:
    data = noise()
    one = cut(BOTH, eeg(data))
    other = cut(BOTH, eeg(data * 1e-6, unit="V"))
    torch.testing.assert_close(one, other)
    with pytest.warns(UserWarning, match="V taken for uV"):
        eeg(data * 1e-6)


def test_rate_filters_reference_and_scale() -> None:
    spec = CHANNELS.replace(l_freq=1.0, h_freq=20.0, reference="average", sfreq=50.0)
    data = noise()
    windows = cut(InputSpec(window_seconds=2.0, eeg=spec), eeg(data))
    recording = band_pass(eeg(data).pick(["Cz", "T7"]), 1.0, 20.0)
    by_hand = resample(recording, 50.0).data
    by_hand = by_hand - by_hand.mean(axis=0)
    np.testing.assert_allclose(windows[1], by_hand[:, 100:200], atol=1e-3)
    assert windows.mean(dim=1).abs().max() < 1e-3
    scaled = cut(InputSpec(window_seconds=2.0, eeg=spec.replace(scale="zscore")), eeg(data))
    torch.testing.assert_close(scaled.mean(-1), torch.zeros(5, 2), atol=1e-5, rtol=0)
    torch.testing.assert_close(scaled.std(-1, correction=0), torch.ones(5, 2), atol=1e-4, rtol=0)


def test_notch_of_the_spec() -> None:
    time = np.arange(2000) / 250
    mains = 30 * np.sin(2 * np.pi * 50 * time)[None].repeat(2, 0)
    spec = EEGSpec(ch_names=("Cz", "T7"), sfreq=250.0, notch=50.0)
    windows = cut(InputSpec(window_seconds=2.0, eeg=spec), eeg(mains, ch_names=["Cz", "T7"], sfreq=250))
    assert windows[1:3].abs().max() < 1.0


def test_a_flat_channel_stays_finite() -> None:
    data = noise()
    data[2] = 5.0
    windows = cut(InputSpec(window_seconds=2.0, eeg=CHANNELS.replace(scale="zscore")), eeg(data))
    assert torch.isfinite(windows).all()
    assert (windows[:, 0] == 0).all()


def test_eegmat_file(real_data: Path) -> None:
    spec = InputSpec(window_seconds=5.0, eeg=EEGSpec(ch_names=preset("eegmat"), sfreq=200.0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        inputs = Preprocessor(spec)(eeg=real_data / "eegmat_original" / "Subject35_2.edf")
    assert inputs.tensors["eeg"].shape == (12, 19, 1000)
    assert set(inputs.dropped) == {"A2-A1", "ECG ECG"}
    assert inputs.starts.tolist() == [5.0 * k for k in range(12)]
    other = cut(spec, real_data / "eegmat" / "Subject35_2.edf")
    assert (inputs.tensors["eeg"] - other).std() < 0.2 * other.std()  # 500 -> 200 Hz and 250 -> 200 Hz


def test_video_is_normalised() -> None:
    spec = VIDEO.replace(mean=(0.5, 0.4, 0.3), std=(0.2, 0.25, 0.5))
    pictures = clip(8) * 20
    tensor = Preprocessor(InputSpec(video=spec))(video=Video(pictures, fps=8)).tensors["video"]
    assert (tensor.dtype, tensor.shape) == (torch.float32, (1, 4, 3, 16, 16))
    frames = read_video(pictures, 4)
    for colour in range(3):
        expected = (frames[..., colour] / 255 - spec.mean[colour]) / spec.std[colour]
        np.testing.assert_allclose(tensor[0, :, colour], expected, rtol=1e-5)


def test_both_modalities_share_their_windows(write_video) -> None:
    path = write_video([k / 10 for k in range(100)], size=(32, 32))
    inputs = Preprocessor(BOTH)(eeg=eeg(noise()), video=path, overlap=0.5)
    assert len(inputs) == 9
    assert {name: tuple(t.shape) for name, t in inputs.tensors.items()} == {
        "eeg": (9, 2, 200),
        "video": (9, 4, 3, 16, 16),
    }
    assert inputs.starts.tolist() == [float(k) for k in range(9)]
    frames = torch.from_numpy(read_video(path, 4, start=3.0, stop=5.0, size=(16, 16))).permute(0, 3, 1, 2)
    back = Preprocessor(BOTH).readers["video"].keep(inputs.tensors["video"][3:4])
    torch.testing.assert_close(torch.from_numpy(back[0]), frames)
    assert inputs.window_seconds == 2.0
    assert inputs.dropped == ("Fz",)


def test_video_shorter_than_the_eeg() -> None:
    preprocess = Preprocessor(BOTH)
    with pytest.warns(UserWarning, match=r"3 of 5 windows of eeg are left out.*0\.000 to 5\.000 s") as told:
        inputs = preprocess(eeg=eeg(noise()), video=Video(clip(50), fps=10))
    assert told[0].filename == __file__ and inputs.notes == (str(told[0].message),)
    assert inputs.starts.tolist() == [0.0, 2.0]
    with pytest.warns(UserWarning, match="left out"):
        inputs = preprocess(eeg=eeg(noise()), video=Video(clip(50), fps=10, start=4.0))
    assert inputs.starts.tolist() == [4.0, 6.0]
    torch.testing.assert_close(inputs.tensors["eeg"], preprocess(eeg=eeg(noise())).tensors["eeg"][2:4])
    alone = preprocess(video=Video(clip(50), fps=10))
    torch.testing.assert_close(inputs.tensors["video"], alone.tensors["video"])
    with pytest.raises(SignalError, match="cover none of the 5 windows of 2 s together"):
        preprocess(eeg=eeg(noise()), video=Video(clip(10), fps=10))


def test_one_modality_alone() -> None:
    inputs = Preprocessor(BOTH)(eeg=eeg(noise()))
    assert list(inputs.tensors) == ["eeg"]
    inputs = Preprocessor(BOTH)(video=Video(clip(50), fps=10), overlap=0.5)
    assert list(inputs.tensors) == ["video"]
    assert inputs.starts.tolist() == [0.0, 1.0, 2.0, 3.0]
    inputs = Preprocessor(InputSpec(video=VIDEO))(video=Video(clip(50), fps=10))
    assert (len(inputs), inputs.window_seconds) == (1, 5.0)
    with pytest.raises(SignalError, match="one window needs 2 s"):
        Preprocessor(BOTH)(video=Video(clip(10), fps=10))


def test_face_of_the_spec(real_data: Path) -> None:
    spec = InputSpec(video=VIDEO.replace(face_crop=True, margin=0.2, num_frames=2))
    video = real_data / "video" / "no_face.mp4"
    with pytest.raises(SignalError, match="no face was found"):
        Preprocessor(spec)(video=video)
    assert len(Preprocessor(spec, face=None)(video=video)) == 1
    assert len(Preprocessor(spec, face=lambda image: (0, 0, 50, 50))(video=video)) == 1
    assert Preprocessor(spec).readers["video"].face.margin == 0.2
    assert Preprocessor(BOTH).readers["video"].face is None


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda p: p(), ConfigError, "give at least one of eeg, video"),
        (lambda p: p(eeg=None), ConfigError, "give at least one of eeg, video"),
        (lambda p: p(eeg=eeg(noise(2), ch_names=["Cz", "Pz"])), SignalError, "no T7; it has Cz, Pz"),
        (lambda p: p(eeg=eeg(noise(3, 150))), SignalError, r"1\.500 s long .*one window needs 2 s"),
        (lambda p: p(eeg=eeg(noise()), overlap=1.0), ConfigError, "overlap: expected"),
        (lambda p: p(eeg=eeg(noise()), overlap="half"), ConfigError, "overlap: expected"),
        (lambda p: p(eeg=eeg(noise()), window_seconds=3.0), ConfigError, "the model's window of eeg is 2 s, got 3.0"),
        (lambda p: p(video=Video(clip(50), fps=10), overlap=1.0), ConfigError, "overlap: expected"),
        (lambda p: p(eeg=noise()), SignalError, r"array of shape .3, 1000. does not say its rate.*EEG\(array"),
        (lambda p: p(video=clip(50)), SignalError, r"video: an array .* does not say its rate.*Video\(array, fps=25\)"),
        (lambda p: p(video=torch.zeros(5, 8, 8, 3)), SignalError, "video: an array .* does not say its rate"),
        (lambda p: p(video=list(clip(50))), ConfigError, "fps: .* sequence of 50 pictures"),
        (lambda p: p(video=eeg(noise())), SignalError, "video: got a recording of eeg. Give it as eeg="),
        (lambda p: p(ege=eeg(noise())), ConfigError, "ege: no such modality or argument.*Did you mean"),
        (lambda p: p(audio="a.wav"), ConfigError, "audio: the model takes no audio, only eeg, video"),
        (lambda p: p(eeg=eeg(noise()), video=Video(clip(50), fps=10, start=10.0)), SignalError,
         r"eeg lasts from 0\.000 to 10\.000 s and video lasts from 10\.000 to 15\.000 s: they do not overlap.*--start"),
        (lambda p: eeg(noise(), start=float("nan")), ConfigError, "start: expected .* a finite number"),
        (lambda p: Video(clip(50), fps=10, start="1"), ConfigError, "start: expected .* a finite number"),
        (lambda p: p.stream(eeg=eeg(noise()), batch_size=0), ConfigError, "batch_size: expected"),
    ],
)  # fmt: skip
def test_bad_input(call, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(Preprocessor(BOTH))


def test_missing_channels_name_the_way_out(tmp_path: Path) -> None:
    mne = pytest.importorskip("mne")
    raw = mne.io.RawArray(noise(2) * 1e-6, mne.create_info(["EEG T3", "Pz"], 100.0, "eeg"), verbose="ERROR")
    raw.save(tmp_path / "two_raw.fif", verbose="ERROR")
    preprocess = Preprocessor(BOTH)
    for call in (
        lambda: preprocess(eeg=eeg(noise(2), ch_names=["T7", "Pz"])),
        lambda: preprocess(eeg=tmp_path / "two_raw.fif"),
        lambda: preprocess(eeg=raw),
    ):
        with pytest.raises(SignalError, match=r"no (channel )?Cz; it has T7, Pz\.") as caught:
            call()
        assert "evermodels.from_pretrained(name, ch_names=['T7', 'Pz'])" in str(caught.value)
        assert "--ch-names" in str(caught.value)


def test_a_modality_that_the_model_does_not_take() -> None:
    with pytest.raises(ConfigError, match="takes no video, only eeg"):
        Preprocessor(BOTH.replace(video=None))(eeg=eeg(noise()), video=Video(clip(50), fps=10))
    with pytest.raises(ConfigError, match="takes no eeg, only video"):
        Preprocessor(InputSpec(video=VIDEO))(eeg=eeg(noise()))
    with pytest.raises(ConfigError, match="expected an InputSpec, got NoneType"):
        Preprocessor(None)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="face: expected 'spec'"):
        Preprocessor(BOTH, face="haar")
    with pytest.raises(ConfigError, match=r"fase: no such option .* there is face. Did you mean 'face'"):
        Preprocessor(BOTH, fase=None)
    with pytest.raises(ConfigError, match="face: no such option for a model of eeg; there is none"):
        Preprocessor(BOTH.replace(video=None), face=None)


def test_what_a_notebook_shows_is_short() -> None:
    prepare = Preprocessor(BOTH)
    assert repr(prepare) == "<Preprocessor of eeg, video: windows of 2 s>"
    stream = prepare.stream(eeg=eeg(noise()))
    assert repr(stream).startswith(f"<Stream of {len(stream)} windows of") and "EEG(" in repr(stream)
    assert "Reader of eeg" in repr(prepare.readers["eeg"])
    inputs = prepare(eeg=eeg(noise()))
    for shown in (stream, inputs, prepare.readers["eeg"]):
        assert len(repr(shown)) < 160 and "tensor" not in repr(shown)


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys, evermodels.signals as s; s.Preprocessor, s.read_eeg, s.read_video, s.HaarFaceCrop; "
        "print([m for m in ('mne', 'av', 'cv2', 'PIL', 'timm') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("kind", ["differential_entropy", "power"])
def test_features_stand_for_the_signals(kind) -> None:
    features = {"kind": kind, "bands": [(4, 8), (8, 13), (13, 30)], "seconds": 0.5}
    spec = BOTH.replace(video=None, eeg={"l_freq": 1.0, "features": EEGFeatures.from_dict(features)})
    data = noise()
    got, signals = cut(spec, eeg(data)), cut(spec.replace(eeg={"features": None}), eeg(data))
    assert got.shape == (5, *spec.shape("eeg")) == (5, 4, 3, 2)
    for window, stretch in ((0, 0), (3, 2)):
        part = signals[window, :, 50 * stretch : 50 * (stretch + 1)]
        power = band_power(part, 100.0, features["bands"])
        want = power if kind == "power" else 0.5 * torch.log(2 * torch.pi * torch.e * power)
        torch.testing.assert_close(got[window, stretch], want)
