"""Sound through the preprocessor, alone and beside other modalities."""

import numpy as np
import pytest
import torch

from evermodels.core.errors import SignalError
from evermodels.core.specs import AudioSpec, EEGSpec, InputSpec, VideoSpec
from evermodels.signals import EEG, Audio, Preprocessor, Video
from tests.signals.audio._sound import tone

SPEC = AudioSpec(n_mels=32)


def test_beside_eeg():
    eeg = EEG(np.random.default_rng(0).normal(0, 20, (1, 1000)), ch_names=["Cz"], sfreq=100, unit="uV")
    sound = tone(8.0, 16000)
    sound[32000:64000] = 0  # 4 to 6 s on the shared clock
    prepare = Preprocessor(InputSpec(window_seconds=2.0, eeg=EEGSpec(ch_names=("Cz",), sfreq=100.0), audio=SPEC))
    with pytest.warns(UserWarning, match="1 of 5 windows of eeg are left out|it is silent .* from eeg alone"):
        inputs = prepare(eeg=eeg, audio=Audio(sound, sfreq=16000, start=2.0))
    assert inputs.starts.tolist() == [2.0, 4.0, 6.0, 8.0]
    assert inputs.tensors["audio"].shape == (4, *SPEC.shape(2.0))
    assert inputs.present["audio"].tolist() == [True, False, True, True]
    assert inputs.quality["rms_dbfs"][1] == -150.0 and any("it is silent" in note for note in inputs.notes)
    with pytest.raises(SignalError, match=r"eeg lasts from 0.000 to 10.000 s and audio lasts from 50.000 to 58.000 s"):
        prepare(eeg=eeg, audio=Audio(sound, sfreq=16000, start=50.0))


def test_the_two_tracks_of_one_file(write_track):
    """A tone that begins with the 50th picture begins with the second window of both."""
    sound = np.concatenate([np.zeros(88200, "float32"), tone(2.0, 44100)])
    path = write_track(sound, pictures=100)
    spec = InputSpec(window_seconds=2.0, video=VideoSpec(num_frames=2, size=(8, 8), face_crop=False), audio=SPEC)
    with pytest.warns(UserWarning, match=r"in 1 of 2 windows \(at 0 s\) it is not read, since it is silent"):
        inputs = Preprocessor(spec)(video=path, audio=path)
    assert inputs.present["audio"].tolist() == [False, True]
    moved = Preprocessor(spec, silent_dbfs=-149)(video=Video(path, start=7.0), audio=Audio(path, start=7.0))
    torch.testing.assert_close(moved.tensors["audio"], inputs.tensors["audio"])


def test_sound_alone_is_streamed(write_sound):
    path = write_sound(tone(10.0, 16000))
    prepare = Preprocessor(InputSpec(window_seconds=1.0, audio=SPEC))
    parts = list(prepare.stream(audio=path, overlap=0.5, batch_size=4))
    assert [len(part) for part in parts] == [4, 4, 4, 4, 3]
    whole = prepare(audio=path, overlap=0.5)
    torch.testing.assert_close(torch.cat([part.tensors["audio"] for part in parts]), whole.tensors["audio"])
    with pytest.raises(SignalError, match=r"audio: it is silent \(-150 dBFS, below -70\) in any of 2 windows"):
        prepare(audio=Audio(np.zeros(32000, "int16"), sfreq=16000))
