"""Calibration to a person by flat spectra."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import signal

from evermodels import samples
from evermodels.core.errors import ConfigError, SignalError
from evermodels.core.specs import EEGSpec, InputSpec
from evermodels.signals import EEG, Preprocessor, Whitening, read_eeg, resample

pytest.importorskip("mne")

SFREQ = 100.0
NAMES = ("Fz", "Cz", "Oz")
SPEC = InputSpec(window_seconds=2.0, eeg=EEGSpec(ch_names=NAMES, sfreq=SFREQ, whiten=True))


def coloured(seconds: float = 60, seed: int = 0, colour: float = 0.6, level: float = 20.0) -> EEG:
    noise = np.random.default_rng(seed).standard_normal((3, round(seconds * SFREQ)))
    return EEG.from_microvolts(level * signal.lfilter([1], [1, -colour], noise), NAMES, SFREQ)


def slowly(recordings: list[EEG]) -> list[np.ndarray]:
    """The docstring's equations in loops, with SciPy's transforms and a direct convolution."""
    taps = 200
    window = signal.get_window("hann", taps)
    results = [np.empty(r.data.shape) for r in recordings]
    for c in range(len(NAMES)):
        logs = []
        for recording in recordings:
            x = recording.data[c].astype(np.float64)
            stretches = [x[a : a + taps] for a in range(0, len(x) - taps + 1, taps // 2)]
            logs.append(np.mean([2 * np.log(abs(np.fft.rfft((s - s.mean()) * window))) for s in stretches], axis=0))
        power = np.exp(np.mean(logs, axis=0))
        power[0], power[-1] = power[1], power[-2]
        power = np.maximum(power, np.median(power) / 100)
        gain = 10 * np.sqrt((window**2).sum() * np.exp(-0.5772156649015329) / power)
        cosines = [gain[k] * np.cos(2 * np.pi * k * np.arange(-100, 101) / taps) for k in range(101)]
        weights = np.full(101, 2 / taps)
        weights[[0, -1]] = 1 / taps
        kernel = (weights[:, None] * cosines).sum(0) * signal.get_window("hann", taps + 1, fftbins=False)
        for recording, result in zip(recordings, results, strict=True):
            x = recording.data[c].astype(np.float64)
            x = np.concatenate([x[99::-1], x, x[:-101:-1]]) - x.mean()
            result[c] = np.convolve(x, kernel, mode="valid")
    return results


def test_equals_the_equations_in_loops() -> None:
    recordings = [coloured(31, 0), coloured(14.5, 1, colour=-0.4)]
    whitening = Whitening.fit(recordings)
    for recording, expected in zip(recordings, slowly(recordings), strict=True):
        np.testing.assert_allclose(whitening(recording).data, expected, atol=1e-4 * np.abs(expected).max())


def test_the_spectrum_is_flat_and_white_noise_keeps_its_size() -> None:
    recording = coloured(600)
    frequency, before = signal.welch(recording.data, SFREQ, nperseg=200)
    _, after = signal.welch(Whitening.fit(recording)(recording).data, SFREQ, nperseg=200)
    inside = (frequency > 2) & (frequency < 48)
    assert np.ptp(10 * np.log10(before[:, inside]), axis=1).min() > 10  # dB
    assert np.ptp(10 * np.log10(after[:, inside]), axis=1).max() < 1
    white = EEG.from_microvolts(10 * np.random.default_rng(1).standard_normal((3, 60000)), NAMES, SFREQ)
    np.testing.assert_allclose(Whitening.fit(white)(white).data.std(1), 10, rtol=0.01)


def test_gain_and_offset_of_a_channel_do_not_matter() -> None:
    one = coloured()
    other = EEG.from_microvolts(one.data * [[0.2], [3.0], [1.0]] + [[100.0], [-7.0], [0.0]], NAMES, SFREQ)
    expected = Whitening.fit(one)(one).data
    np.testing.assert_allclose(Whitening.fit(other)(other).data, expected, atol=1e-3 * np.abs(expected).max())


def test_each_recording_counts_alike_however_long() -> None:
    rest, task = coloured(40, 0), coloured(20, 1, colour=0.2)
    twice = EEG.from_microvolts(
        np.concatenate([rest.data, rest.data], 1), NAMES, SFREQ, segments=((0, 4000), (4000, 8000))
    )
    np.testing.assert_allclose(Whitening.fit([twice, task]).kernels, Whitening.fit([rest, task]).kernels, atol=1e-9)
    assert Whitening.fit([rest, task]).seconds == 60


def test_what_differs_between_states_stays() -> None:
    rest, task = coloured(60, 0), coloured(60, 1)
    alpha = 12 * np.sin(2 * np.pi * 10 * np.arange(6000) / SFREQ)
    rest = EEG.from_microvolts(rest.data + alpha, NAMES, SFREQ)
    whitening = Whitening.fit([rest, task])

    def power(recording: EEG) -> float:
        frequency, density = signal.welch(whitening(recording).data, SFREQ, nperseg=200)
        return float(density[:, frequency == 10].mean())

    assert power(rest) > 4 * power(task)


def test_segments_are_filtered_apart() -> None:
    one, two = coloured(20, 0), coloured(30, 1)
    whitening = Whitening.fit([one, two])
    both = EEG.from_microvolts(
        np.concatenate([one.data, two.data], 1), NAMES, SFREQ, segments=((0, 2000), (2000, 5000))
    )
    np.testing.assert_array_equal(whitening(both).data, np.concatenate([whitening(r).data for r in (one, two)], 1))
    assert whitening(both).segments == both.segments


def test_artefacts_do_not_carry_it_away() -> None:
    recording = coloured()
    struck = recording.data.copy()
    struck[:, 1000:1100] += 5000
    expected = Whitening.fit(recording).kernels
    found = Whitening.fit(EEG.from_microvolts(struck, NAMES, SFREQ)).kernels
    assert np.abs(np.log(np.linalg.norm(found, axis=1) / np.linalg.norm(expected, axis=1))).max() < 0.3


def test_the_preprocessor_follows_the_spec() -> None:
    rest, task = coloured(40, 0), coloured(20, 1, colour=0.2)
    preprocessor = Preprocessor(SPEC)
    whitening = Whitening.fit([rest, task])
    expected = torch.from_numpy(whitening(task).data.reshape(3, 10, 200).swapaxes(0, 1).copy())
    for baseline in ([rest, task], preprocessor.fit_baseline([rest, task])):
        found = preprocessor(eeg=task, baseline=baseline)
        torch.testing.assert_close(found.tensors["eeg"], expected)
        assert found.against == "recordings"
    alone = torch.from_numpy(Whitening.fit(task)(task).data.reshape(3, 10, 200).swapaxes(0, 1).copy())
    with pytest.warns(UserWarning, match="has this recording alone"):  # naming it does not make it more
        torch.testing.assert_close(preprocessor(eeg=task, baseline=[task]).tensors["eeg"], alone)
    with pytest.warns(UserWarning, match="has this recording alone") as told:
        found = preprocessor(eeg=task)
    torch.testing.assert_close(found.tensors["eeg"], alone)
    assert told[0].filename == __file__ and found.against == "itself"


def test_files() -> None:
    paths = [samples.path(f"eegmat_subject33_{state}.edf") for state in ("rest", "arithmetic")]
    spec = InputSpec(window_seconds=5.0, eeg=EEGSpec(ch_names=("F3", "O2"), sfreq=SFREQ, whiten=True))
    recordings = [resample(read_eeg(path, ch_names=("F3", "O2")), SFREQ) for path in paths]
    expected = Whitening.fit(recordings)(recordings[1]).data[:, :500]
    found = Preprocessor(spec)(eeg=paths[1], baseline=[str(p) for p in paths]).tensors["eeg"]
    np.testing.assert_allclose(found[0], expected, atol=1e-4)


def test_equals_the_reader_of_eegmat(real_data) -> None:
    from evermodels.datasets import EEGMAT

    eegmat = EEGMAT(real_data / "eegmat", subjects=["33"], sfreq=SFREQ, whiten=True)
    spec = InputSpec(window_seconds=5.0, eeg=EEGSpec(ch_names=eegmat.ch_names, sfreq=SFREQ, whiten=True))
    paths = [eegmat.path("33", state) for state in ("rest", "arithmetic")]
    for path, state in zip(paths, ("rest", "arithmetic"), strict=True):
        windows = Preprocessor(spec)(eeg=path, baseline=paths).tensors["eeg"]
        np.testing.assert_array_equal(windows.numpy(), eegmat.windows("33", state))
    assert not eegmat.recording("33", "rest").flags.writeable
    alone = EEGMAT(real_data / "eegmat", subjects=["33"], sfreq=SFREQ, whiten=True, task="arithmetic")
    with pytest.warns(UserWarning, match="has this recording alone"):
        found = Preprocessor(spec)(eeg=paths[1], baseline=paths[1:]).tensors["eeg"]
    np.testing.assert_array_equal(found.numpy(), alone.windows("33", "arithmetic"))


@pytest.mark.parametrize(
    ("recordings", "error", "message"),
    [
        ([], ConfigError, "recordings: expected at least one"),
        (coloured(9.9), SignalError, "9.9 s are too short .* at least 10 s .* longer baseline"),
        ([coloured(), coloured(5)], SignalError, "5.0 s are too short"),
        ([coloured(), coloured().pick(NAMES[:2])], SignalError, "same channels and rate .* Fz, Cz at 100 Hz"),
        ([coloured(), resample(coloured(), 50.0)], SignalError, "same channels and rate .* at 50 Hz"),
        (
            EEG.from_microvolts(coloured().data, NAMES, SFREQ, tuple((a, a + 150) for a in range(0, 6000, 150))),
            SignalError,
            "uninterrupted stretch is 1.500 s.* continuous baseline",
        ),
        (EEG.from_microvolts(coloured().data * [[1], [0], [1]] + 5, NAMES, SFREQ), SignalError, "channel Cz is flat"),
    ],
)
def test_what_cannot_be_fitted(recordings, error, message) -> None:
    with pytest.raises(error, match=message):
        Whitening.fit(recordings)


def test_another_recording_is_refused() -> None:
    whitening = Whitening.fit(coloured())
    for other in (coloured().pick(("Cz", "Fz", "Oz")), resample(coloured(), 50.0)):
        with pytest.raises(SignalError, match="expected the channels Fz, Cz, Oz at 100 Hz"):
            whitening(other)


@pytest.mark.parametrize(
    ("baseline", "message"),
    [
        ("rest.edf", r"recordings of all states together.* got a str\. Give baseline=\[\.\.\.\]"),
        ([], "expected at least one"),
        ((0, 60), "got a tuple"),
        (7, "int"),
    ],
)
def test_bad_recordings_of_all_states(baseline, message) -> None:
    with pytest.raises(ConfigError, match=message):
        Preprocessor(SPEC)(eeg=coloured(), baseline=baseline)


def test_a_model_that_compares_with_nothing_says_so() -> None:
    plain = Preprocessor(SPEC.replace(eeg=SPEC.eeg.replace(whiten=False)))
    with pytest.raises(ConfigError, match="whiten=False"):
        plain(eeg=coloured(), baseline=[coloured()])
    with pytest.raises(ConfigError, match="whiten=False"):
        plain.fit_baseline([coloured()])
