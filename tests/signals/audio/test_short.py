"""Sound that is shorter than a model's window: refused, or one window whose rest is left out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import evermodels as em
from evermodels.core.errors import SignalError
from evermodels.core.specs import AudioSpec, InputSpec
from evermodels.signals import Preprocessor
from evermodels.signals.audio import Audio, Reader
from tests.signals.audio._sound import tone

SPEC = AudioSpec(n_mels=16, frame_seconds=0.05, hop_seconds=0.02)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    sizes = {"example_frames": 16, "example_hop": 16, "widths": (2, 2, 3, 4), "hidden": (5,), "embed_dim": 6}
    audio = {"n_mels": 16, "frame_seconds": 0.05, "hop_seconds": 0.02}
    encoders = {"audio": {"name": "vggish_tiny", "config": sizes}}
    spec = {"window_seconds": 2.0, "audio": audio}
    return em.create_model("single_audio", input_spec=spec, encoders=encoders, num_classes=3, readout="statistics")


def padding() -> Reader:
    reader = Reader(SPEC, 2.0)
    reader.pad = True
    return reader


@pytest.mark.parametrize("sfreq", [16000, 44100])
def test_the_rest_of_the_window_is_masked_silence(sfreq):
    sound = tone(1.2, sfreq)
    reader = padding()
    prepared = reader.prepare(Audio(sound, sfreq=sfreq, start=7.0))
    assert (prepared.start, prepared.stop) == (7.0, 9.0)
    (window,) = reader.windows(prepared, [7.0], 2.0)
    (whole,) = reader.windows(Audio(np.pad(sound, (0, 2 * sfreq - len(sound))), sfreq=sfreq), [0.0], 2.0)
    assert torch.equal(window.tensor, whole.tensor)
    middles = 0.025 + 0.02 * np.arange(len(window.mask))
    assert window.mask.tolist() == (middles < 1.2).tolist()
    own = Reader(SPEC, 1.2)
    (short,) = own.windows(own.prepare(Audio(sound, sfreq=sfreq)), [0.0], 1.2)
    assert window.quality == pytest.approx(short.quality, nan_ok=True)  # of the sound, not of what follows it
    assert prepared.notes == (
        "Audio: 1.20 s are shorter than the model's window of 2 s; what the window holds beyond the sound is left out "
        "of the answer.",
    )


def test_a_model_that_reads_masks_answers_it(model):
    sound = tone(1.2, 16000)
    result = em.Recognizer(model).predict(audio=Audio(sound, sfreq=16000))
    assert len(result) == 1 and any("shorter than the model's window" in note for note in result.notes)
    (window,) = (reader := padding()).windows(reader.prepare(Audio(sound, sfreq=16000)), [0.0], 2.0)
    with torch.no_grad():
        want = model(audio=window.tensor[None], masks={"audio": window.mask[None]}).probabilities
    np.testing.assert_array_equal(result.probabilities, want.numpy())
    # What lies in the padding matters to nothing; a sound that is long enough is cut as ever.
    assert len(em.Recognizer(model).predict(audio=Audio(tone(5.0, 16000), sfreq=16000))) == 2


def test_what_is_refused(model):
    short = Audio(tone(1.2, 16000), sfreq=16000)
    with pytest.raises(SignalError, match=r"1\.200 s long and one window needs 2 s"):
        Preprocessor(InputSpec(window_seconds=2.0, audio=SPEC))(audio=short)
    with pytest.raises(SignalError, match=r"1\.200 s long and one window needs 2 s"):
        em.Recognizer(type(model)(model.config.replace(readout="embedding"))).predict(audio=short)
    with pytest.raises(SignalError, match=r"0\.400 s long, and the model's window 2 s\. Give at least 0\.5 s"):
        em.Recognizer(model).predict(audio=Audio(tone(0.4, 16000), sfreq=16000))
    silent = Audio(np.zeros(16000, "float32"), sfreq=16000)
    with pytest.raises(SignalError, match=r"audio: it is silent"):
        em.Recognizer(model).predict(audio=silent)
