"""What a recording holds and what a model would do with it; the command line's way to it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from evermodels.cli import main
from evermodels.core.errors import ConfigError, SignalError
from evermodels.core.specs import AudioSpec, EEGSpec, InputSpec, VideoSpec
from evermodels.signals import Audio, describe_recording, read_eeg

pytest.importorskip("mne")

SPEC = InputSpec(
    window_seconds=2.0,
    eeg=EEGSpec(ch_names=("Fz", "Pz", "Cz"), sfreq=80.0, l_freq=1.0, whiten=True, baseline="rest"),
)


def noise(channels: int = 3, samples: int = 1000) -> np.ndarray:
    return 20.0 * np.random.default_rng(0).standard_normal((channels, samples))


def test_a_file_in_words(write_edf) -> None:
    facts = describe_recording(write_edf(noise() + np.array([[0], [500], [0]]), ["EEG Fz", "Cz", "ECG"]), SPEC)
    assert facts["kind"] == "EEG, a.edf read as EDF"
    assert facts["channels"] == "2 of known names: Fz Cz"
    assert facts["left out"] == "1 of other names or kinds: ECG"
    assert facts["to paste"] == ["--ch-names Fz,Cz", "ch_names=['Fz', 'Cz']"]
    assert (facts["rate"], facts["length"], facts["unit"]) == ("100 Hz", "10.0 s", "µV, from 'uV' in the header")
    assert facts["offset"] == "Cz 500 µV"
    assert facts["magnitude"].startswith("20") or facts["magnitude"].startswith("19")
    assert facts["model uses"] == "2 of its 3 channels: Fz Cz"
    assert facts["model misses"].startswith("Pz: interpolated from the recording's with --ch-names auto")
    assert (facts["resampled"], facts["filters"]) == ("from 100 to 80 Hz", "l_freq 1 Hz")
    assert facts["windows"] == "5 of 2 s without overlap"
    assert facts["compared with"] == "a baseline of rest (--baseline)"
    assert "notes" not in facts


def test_trials_and_what_is_wrong_in_words() -> None:
    trials = noise(12, 300).reshape(4, 3, 300) * 1e-3
    with pytest.warns(UserWarning, match="1,000 times too small"):
        recording = read_eeg(trials, ch_names=["Fz", "Cz", "Oz"], unit="uV", sfreq=100, events=list("abaa"))
    facts = describe_recording(recording)
    assert facts["events"] == ["a: 3", "b: 1"]
    assert facts["stretches"].startswith("4 uninterrupted ones of 3.0 to 3.0 s")
    assert "1,000 times too small" in facts["notes"][0]


def test_a_video_in_words(write_video) -> None:
    facts = describe_recording(write_video([k / 10 for k in range(20)]))
    assert facts["kind"] == "video a.mp4"
    assert facts["size"].startswith("64 by 48 pixels")
    assert facts["length"] == "2.0 s"


def test_any_modality_in_words(write_video, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = InputSpec(window_seconds=0.5, video=VideoSpec(num_frames=4, size=(8, 8)), audio=AudioSpec(sfreq=8000.0))
    assert describe_recording(write_video([k / 10 for k in range(20)]), spec)["windows"] == "4 of 0.5 s, 4 frames each"
    sound = Audio(np.zeros(8000, "int16"), sfreq=8000)
    facts = describe_recording(sound, spec)
    assert (facts["kind"], facts["length"], facts["windows"]) == ("audio", "1.0 s", "2 of 0.5 s")
    assert "8000 Hz" in facts["holds"]
    table = tmp_path / "eye.csv"
    table.write_text("time,pupil\n" + "".join(f"{k / 60:.4f},3.5\n" for k in range(120)))
    with pytest.raises(
        SignalError, match=r"eye\.csv: nothing says what it is a recording of \(eeg or eye\).*modality='eye'"
    ):
        describe_recording(table)
    assert main(["info", str(table), "--modality", "eye", "--eye-unit", "time=s,pupil=mm"]) == 0
    assert "length  2.0 s" in capsys.readouterr().out
    with pytest.raises(SignalError, match="a ndarray: nothing says"):
        describe_recording(np.zeros(3))
    with pytest.raises(ConfigError, match=r"modality: expected one of .*Did you mean 'eye'"):
        describe_recording(table, modality="eyes")


def test_info_on_a_file(write_edf, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = write_edf(noise(2, 2000), ["Fz", "Bad\x1b[31m"])
    assert main(["info", str(path), "--model", "ever_tiny.quadrant"]) == 0
    out = capsys.readouterr().out
    assert "1 of known names: Fz" in out
    assert "1 of its 19 channels: Fz" in out
    assert "\x1b" not in out
    without = str(write_edf(noise(2, 2000), ["Fz", "Cz"], unit="", name="b.edf"))
    assert main(["info", without]) == 2
    assert "the unit '', which is no unit of voltage" in capsys.readouterr().err
    assert main(["info", without, "--unit", "uV"]) == 0
    assert "2 of known names" in capsys.readouterr().out
    assert main(["info", str(tmp_path / "none.edf")]) == 2
    assert "there is no file" in capsys.readouterr().err
    assert main(["info", "ever_tiny", "--model", "ever_tiny.quadrant"]) == 2
    assert "--model, --modality, --ch-names, --unit and the like go with a recording" in capsys.readouterr().err


def test_predict_takes_the_recordings_own_channels(write_edf, capsys: pytest.CaptureFixture[str]) -> None:
    names = "AF3 F7 F3 FC5 T7 P7 O1 O2 P8 T8 FC6 F4 F8 AF4".split()
    path = str(write_edf(noise(14, 2000), names))
    given = ["predict", "--model", "ever_tiny.quadrant", "--eeg", path, "--ch-names"]
    assert main([*given, "auto"]) == 0
    auto = capsys.readouterr().out
    assert "interpolated: " in auto
    assert main([*given, "EPOC+"]) == 0
    assert capsys.readouterr().out == auto
    assert main([*given, "epoc9"]) == 2
    assert "Did you mean 'epoc'? It is one of: deap" in capsys.readouterr().err
    assert main([*given[:3], "--video", path, "--ch-names", "auto"]) == 2
    assert "it takes the channels of --eeg" in capsys.readouterr().err
