"""A person's baseline: what it is compared with, what is left out, what a result cannot know without one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from evermodels import samples
from evermodels.core.errors import ConfigError, SignalError
from evermodels.core.specs import EEGSpec, InputSpec
from evermodels.signals import EEG, Preprocessor, Whitening

SFREQ = 100.0
NAMES = ("Fz", "Cz")
SPEC = InputSpec(window_seconds=5.0, eeg=EEGSpec(ch_names=NAMES, sfreq=SFREQ, whiten=True, baseline="rest"))


def samples_of(seconds: float, seed: int = 0, colour: float = 0.9) -> np.ndarray:
    x = 10 * np.random.default_rng(seed).standard_normal((2, round(seconds * SFREQ) + 1))
    return (x[:, 1:] + colour * x[:, :-1]).astype(np.float32)


def recording(data: np.ndarray, **more) -> EEG:
    return EEG.from_microvolts(data, NAMES, SFREQ, **more)


def noise(seconds: float, seed: int = 0, colour: float = 0.9) -> EEG:
    return recording(samples_of(seconds, seed, colour))


def cut(white: EEG) -> torch.Tensor:
    return torch.from_numpy(white.data.reshape(2, -1, 500).swapaxes(0, 1).copy())


def test_a_baseline_of_its_own_is_all_that_the_filters_see() -> None:
    rest, work = noise(60), noise(20, 1, 0.2)
    expected = cut(Whitening.fit(rest)(work))
    preprocessor = Preprocessor(SPEC)
    found = preprocessor(eeg=work, baseline=rest)
    torch.testing.assert_close(found.tensors["eeg"], expected)
    assert (found.against, found.notes) == ("baseline", ())
    for once in (preprocessor.fit_baseline(rest), preprocessor.fit_baseline([rest]), [rest]):
        torch.testing.assert_close(preprocessor(eeg=work, baseline=once).tensors["eeg"], expected)


def test_the_first_minute_of_the_recording_itself() -> None:
    rest, work = samples_of(60), samples_of(20, 1, 0.2)
    session = recording(np.concatenate([rest, work], axis=1))
    expected = cut(Whitening.fit(recording(rest))(session))
    found = Preprocessor(SPEC)(eeg=session, baseline=(0, 60), overlap=0.5)
    # No window that holds a second of the baseline is answered; the others keep their times.
    assert found.starts.tolist() == [60.0, 62.5, 65.0, 67.5, 70.0, 72.5, 75.0]
    torch.testing.assert_close(found.tensors["eeg"][::2], expected[12:])
    assert found.against == "baseline"
    middle = Preprocessor(SPEC)(eeg=session, baseline=(22, 48))
    assert middle.starts.tolist() == [0.0, 5.0, 10.0, 15.0, 50.0, 55.0, 60.0, 65.0, 70.0, 75.0]


def test_what_is_recognised_does_not_move_the_line() -> None:
    """The answer for a window must not depend on what else is in the recording, nor on its length."""
    session = np.concatenate([samples_of(60), samples_of(20, 1, 0.2), samples_of(60, 2, -0.5)], axis=1)
    preprocessor = Preprocessor(SPEC)
    short, long = (
        preprocessor(eeg=recording(data), baseline=(0, 60)).tensors["eeg"] for data in (session[:, :8500], session)
    )
    # The recording's mean is taken out before filtering, and with it a trace of the rest.
    torch.testing.assert_close(short[:3], long[:3], atol=0.5, rtol=0)
    torch.testing.assert_close(short[:3].std(-1), long[:3].std(-1), rtol=2e-3, atol=0)


def test_none_given_is_said_and_so_is_the_recording_itself(tmp_path) -> None:
    rest = noise(60)
    preprocessor = Preprocessor(SPEC)
    with pytest.warns(UserWarning, match=r"a minute of rest .* none was given.*--baseline") as told:
        found = preprocessor(eeg=rest)
    assert told[0].filename == __file__
    assert found.against == "itself" and "may be anything" in found.notes[0]
    with pytest.warns(UserWarning, match="the very recording"):
        assert preprocessor(eeg=rest, baseline=rest).against == "itself"
    with pytest.warns(UserWarning, match="the very recording"):
        preprocessor(eeg=rest, baseline=recording(rest.data.copy()))
    path = samples.path("eegmat_subject33_arithmetic.edf")
    linked = tmp_path / "other.edf"
    linked.symlink_to(path)
    spec = SPEC.replace(eeg=SPEC.eeg.replace(ch_names=("F3", "O2")))
    with pytest.warns(UserWarning, match="the very recording"):
        Preprocessor(spec)(eeg=path, baseline=str(linked))


def test_a_short_baseline_is_said() -> None:
    with pytest.warns(UserWarning, match="12 s long; below 20 s"):
        Preprocessor(SPEC)(eeg=noise(20), baseline=noise(12, 3))
    with pytest.warns(UserWarning, match="15 s long"):
        Preprocessor(SPEC)(eeg=noise(40), baseline=(0.0, 15.0))


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"baseline": [noise(20), noise(20, 1)]}, ConfigError, "one recording of rest, not with several"),
        ({"baseline": (0, 120)}, SignalError, "goes past the recording, which lasts from 0.0 to 60.0 s"),
        ({"baseline": (5, 12)}, SignalError, "are 7 s; at least 10 s"),
        ({"baseline": (0, 58)}, SignalError, "nothing is left to read beside the baseline"),
        ({"baseline": (20, 10)}, ConfigError, "start < stop"),
        ({"baseline": (0, float("nan"))}, ConfigError, "start < stop"),
        ({"baseline": (0, 10, 20)}, ConfigError, "expected \\(start, stop\\)"),
        ({"baseline": noise(9)}, SignalError, "9.0 s are too short"),
    ],
)
def test_what_is_refused(given, error, message) -> None:
    with pytest.raises(error, match=message):
        Preprocessor(SPEC)(eeg=noise(60), **given)


def test_a_model_of_another_kind_says_so() -> None:
    both = Preprocessor(SPEC.replace(eeg=SPEC.eeg.replace(baseline="")))
    with pytest.raises(ConfigError, match="recordings of all states together"):
        both(eeg=noise(60), baseline=noise(60, 1))
    plain = Preprocessor(SPEC.replace(eeg=SPEC.eeg.replace(baseline="", whiten=False)))
    with pytest.raises(ConfigError, match=r"baseline: .*whiten=False"):
        plain(eeg=noise(60), baseline=noise(60, 1))
    with pytest.raises(ConfigError, match=r"baseline: .*whiten=False"):
        plain.fit_baseline(noise(60, 1))
    with pytest.raises(ConfigError, match="one recording of rest, got 2"):
        Preprocessor(SPEC).fit_baseline([noise(60, 1), noise(60)])
    with pytest.raises(ConfigError, match="baseline"):
        SPEC.eeg.replace(whiten=False)


def test_seconds_of_a_baseline_are_on_the_shared_clock() -> None:
    session = recording(samples_of(80))
    later = session.changed(start=100.0)
    early, late = (Preprocessor(SPEC)(eeg=r, baseline=(r.start, r.start + 60)) for r in (session, later))
    torch.testing.assert_close(early.tensors["eeg"], late.tensors["eeg"])
    assert late.starts.tolist() == [160.0, 165.0, 170.0, 175.0]


def test_the_baseline_of_a_recording_in_pieces_stays_inside_them() -> None:
    whole = recording(samples_of(80), segments=((0, 3000), (3000, 8000)))
    found = Preprocessor(SPEC)(eeg=whole, baseline=(10, 50))
    alone = recording(whole.data[:, 1000:5000], segments=((0, 2000), (2000, 4000)))
    expected = Whitening.fit(alone)(whole)
    assert found.starts.tolist() == [0.0, 5.0, 50.0, 55.0, 60.0, 65.0, 70.0, 75.0]
    torch.testing.assert_close(found.tensors["eeg"][0], torch.from_numpy(expected.data[:, :500].copy()))


def test_equals_the_reader_of_eegmat(real_data) -> None:
    from evermodels.datasets import EEGMAT

    eegmat = EEGMAT(
        real_data / "eegmat", subjects=["33"], sfreq=SFREQ, whiten=True, baseline="rest", baseline_seconds=60
    )
    eeg = EEGSpec(ch_names=eegmat.ch_names, sfreq=SFREQ, whiten=True, baseline="rest")
    preprocessor = Preprocessor(InputSpec(window_seconds=5.0, eeg=eeg))
    found = preprocessor(eeg=eegmat.path("33", "rest"), baseline=(0, 60))
    np.testing.assert_array_equal(found.tensors["eeg"].numpy(), eegmat.windows("33", "rest"))
    assert found.starts[0] == 60.0
