from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import evermodels as em
from evermodels import samples
from evermodels.core.errors import CheckpointError, ConfigError, SignalError
from evermodels.core.factors import Factor
from evermodels.recognizer import Recognition, Recognizer, describe
from evermodels.signals import EEG, Audio, Preprocessor, Video

CLASSES = ("rest & neutral", "rest & smiling", "arithmetic & neutral", "arithmetic & smiling")
REST = samples.path("eegmat_subject33_rest.edf")


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = em.create_model("ever_tiny")
    model.classes = CLASSES
    return model.eval()


@pytest.fixture(scope="module")
def frames():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (96, 64, 64, 3), dtype=np.uint8), 96 / 30


def test_result_equals_the_model_on_preprocessed_windows(model, frames):
    pictures, fps = frames
    result = Recognizer(model, batch_size=4, face=None).predict(eeg=REST, video=Video(pictures, fps=fps))
    inputs = Preprocessor(model.input_spec, face=None)(eeg=REST, video=Video(pictures, fps=fps))
    with torch.no_grad():
        expected = model(**inputs.tensors)
    assert len(result) == 6
    np.testing.assert_allclose(result.probabilities, expected.probabilities.numpy(), atol=1e-5)
    np.testing.assert_allclose(result.probabilities.sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(result.embeddings["eeg"], expected.embeddings["eeg"].numpy(), atol=1e-4)
    np.testing.assert_allclose(result.attention["channels"], expected.attention["channels"].numpy(), atol=1e-5)
    assert result.attention["adjacency_region"].shape == (6, 7, 7)
    assert result.attention["regions"].shape == (6, len(result.regions))
    assert result.starts.tolist() == [0, 5, 10, 15, 20, 25] and result.window_seconds == 5
    assert result.classes == CLASSES and list(result.regions) == list(model.regions)


def test_batch_size_does_not_change_the_result(model):
    one, many = (Recognizer(model, batch_size=n).predict(eeg=REST).probabilities for n in (1, 4))
    np.testing.assert_allclose(one, many, atol=1e-5)


def test_overlap_gives_more_windows(model):
    result = Recognizer(model).predict(eeg=REST, overlap=0.5)
    assert len(result) == 11 and result.starts[1] == 2.5


def test_either_modality_may_be_absent(model, frames):
    pictures, fps = frames
    recognizer = Recognizer(model, face=None)
    eeg, video = recognizer.predict(eeg=REST), recognizer.predict(video=Video(pictures, fps=fps))
    assert set(eeg.inputs) == {"eeg"} and set(video.inputs) == {"video"}
    assert len(eeg) == len(video) == 6


def test_kept_frames_are_those_of_the_surest_window(model, frames):
    pictures, fps = frames
    result = Recognizer(model, face=None).predict(eeg=REST, video=Video(pictures, fps=fps))
    assert result.shown == int(result.probabilities.max(1).argmax())
    assert result.inputs["video"].shape == (1, 16, 3, 64, 64) and result.inputs["video"].dtype == np.uint8
    clip = pictures[16 * result.shown : 16 * (result.shown + 1)].transpose(0, 3, 1, 2)
    assert int(np.abs(result.inputs["video"][0].astype(int) - clip).max()) == 0


def test_arrays_with_names_unit_and_rate(model):
    rng = np.random.default_rng(0)
    eeg = rng.normal(0, 10, (19, 2500))
    names = em.montage.preset("eegmat")
    order = rng.permutation(19)
    micro, volts, mixed = (
        Recognizer(model).predict(eeg=EEG(data, ch_names=channels, unit=unit, sfreq=250.0))
        for data, channels, unit in (
            (eeg, names, "uV"),
            (eeg * 1e-6, names, "V"),
            (eeg[order], [names[i] for i in order], "uV"),
        )
    )
    np.testing.assert_allclose(micro.probabilities, volts.probabilities, atol=1e-4)
    np.testing.assert_array_equal(micro.probabilities, mixed.probabilities)


def test_recordings_of_another_headset(model):
    epoc = em.montage.preset("epoc")
    eeg = np.random.default_rng(0).normal(0, 10, (14, 1250))
    recording = EEG(eeg, ch_names=epoc, unit="uV", sfreq=250.0)
    with pytest.raises(SignalError, match=r"from_pretrained\(name, ch_names=\['AF3', 'F7',"):
        Recognizer(model).predict(eeg=recording)
    adapted = em.create_model("ever_tiny")
    adapted.load_state_dict(model.state_dict())
    adapted.adapt_montage(epoc)
    result = Recognizer(adapted).predict(eeg=recording)
    assert result.inputs["eeg"].shape == (1, 14, 500) and result.attention["channels"].shape == (1, 19)
    assert result.input_spec.eeg.ch_names == epoc and result.ch_names == em.montage.preset("eegmat")
    assert result.regions == {name: tuple(row) for name, row in model.regions.items()}
    assert result.facts["interpolated"] == "9 of the model's 19 channels: Fp1, Fp2, C3, C4, P3, P4, Fz, Cz, Pz"
    # what the plain model says of the channels interpolated by hand
    full = em.montage.interpolation_matrix(epoc, model.config.ch_names) @ eeg
    whole = EEG(full, ch_names=model.config.ch_names, unit="uV", sfreq=250.0)
    by_hand = Recognizer(model).predict(eeg=whole)
    np.testing.assert_allclose(result.probabilities, by_hand.probabilities, atol=1e-4)
    assert "interpolated" not in by_hand.facts and by_hand.ch_names == model.config.ch_names


def test_a_model_that_compares_a_person_with_a_baseline():
    torch.manual_seed(0)
    model = em.create_model("ever_tiny", input_spec={"eeg": {"whiten": True, "baseline": "rest"}}).eval()
    recognizer = Recognizer(model)
    minute, work = (samples.path(f"eegmat_subject33_{name}.edf") for name in ("baseline", "arithmetic"))
    found = recognizer.predict(eeg=work, baseline=minute)
    assert (found.against, found.notes) == ("baseline", ()) and len(found) == 6
    again = recognizer.predict(eeg=work, baseline=recognizer.preprocessor.fit_baseline(minute))
    np.testing.assert_array_equal(again.probabilities, found.probabilities)
    expected = Preprocessor(model.input_spec)(eeg=work, baseline=minute).tensors["eeg"]
    np.testing.assert_array_equal(found.inputs["eeg"], expected.numpy())
    assert "Compared with a minute of the person's rest, recorded first" in found.facts["EEG"]
    first = recognizer.predict(eeg=minute, baseline=(0, 40))
    assert first.starts.tolist() == [40.0, 45.0, 50.0, 55.0]
    with pytest.warns(UserWarning, match="none was given"):
        alone = recognizer.predict(eeg=work)
    assert alone.against == "itself" and len(alone.notes) == 1
    model.provenance = {"without_baseline": "Over 36 people it was right in 0.8 of the windows."}
    with pytest.warns(UserWarning, match="very recording"):
        alone = recognizer.predict(eeg=work, baseline=work)
    assert alone.notes[1] == "Over 36 people it was right in 0.8 of the windows."
    with pytest.raises(ConfigError, match="baseline: it is for eeg, and there is none"):
        recognizer.predict(video=Video(np.zeros((16, 64, 64, 3), np.uint8), fps=16), baseline=minute)


def test_a_model_that_compares_a_person_with_all_states():
    torch.manual_seed(0)
    model = em.create_model("ever_tiny", input_spec={"eeg": {"whiten": True}}).eval()
    recognizer = Recognizer(model)
    files = [REST, samples.path("eegmat_subject33_arithmetic.edf")]
    fitted = recognizer.preprocessor.fit_baseline(files)
    both, again = (recognizer.predict(eeg=REST, baseline=c) for c in (files, fitted))
    with pytest.warns(UserWarning, match="this recording alone"):
        alone = recognizer.predict(eeg=REST, baseline=[REST])
    np.testing.assert_array_equal(both.probabilities, again.probabilities)
    assert np.abs(both.inputs["eeg"] - alone.inputs["eeg"]).max() > 1
    windows = Preprocessor(model.input_spec)(eeg=REST, baseline=files).tensors["eeg"]
    np.testing.assert_array_equal(both.inputs["eeg"], windows.numpy())
    assert "Compared with the person's recordings in all states" in both.facts["EEG"]
    with pytest.raises(ConfigError, match="baseline: it is for eeg"):
        recognizer.predict(video=Video(np.zeros((16, 64, 64, 3), np.uint8), fps=16), baseline=files)
    model.adapt_montage(em.montage.preset("eegmat")[:12])
    adapted = Recognizer(model).predict(eeg=REST, baseline=files)
    np.testing.assert_array_equal(adapted.inputs["eeg"], both.inputs["eeg"][:, :12])


FACTORS = (Factor("state", ("rest", "arithmetic"), ("eeg",)), Factor("expression", ("neutral", "smiling"), ("video",)))


@pytest.fixture
def quadrant(model):
    combined = em.create_model("ever_tiny")
    combined.load_state_dict(model.state_dict())
    combined.classes, combined.factors = CLASSES, FACTORS
    return combined.eval()


def test_a_model_of_combinations_answers_for_the_half_that_it_can_know(quadrant, frames):
    pictures, fps = frames
    recognizer = Recognizer(quadrant, face=None)
    eeg, video, both = (
        recognizer.predict(eeg=REST),
        recognizer.predict(video=Video(pictures, fps=fps)),
        recognizer.predict(eeg=REST, video=Video(pictures, fps=fps)),
    )
    assert eeg.top.label in FACTORS[0].values and "expression (neutral or smiling): not known" in eeg.summary()
    assert video.top.label in FACTORS[1].values and "state (rest or arithmetic): not known" in video.summary()
    assert both.top.label in CLASSES and both.gaps == () and both.factors == FACTORS
    np.testing.assert_allclose(eeg.marginals["state"][:, 1], eeg.probabilities[:, 2:].sum(1), atol=1e-6)
    assert eeg.present["eeg"].all() and not eeg.present["video"].any()


def test_the_bundled_checkpoint_declares_its_halves():
    model = em.from_pretrained("ever_tiny.quadrant")
    assert model.factors == FACTORS and model.classes == CLASSES


class Once:
    """A stream of one batch."""

    def __init__(self, inputs):
        self.inputs = inputs

    def __len__(self):
        return len(self.inputs)

    def __iter__(self):
        yield self.inputs


def test_windows_without_video_reach_the_model_as_absent(quadrant, frames, monkeypatch):
    pictures, fps = frames
    whole = Preprocessor(quadrant.input_spec, face=None)(eeg=REST, video=Video(pictures, fps=fps))
    here = torch.tensor([True, True, False, True, False, False])
    tensors = {**whole.tensors, "video": torch.where(here.view(-1, 1, 1, 1, 1), whole.tensors["video"], torch.nan)}
    recognizer = Recognizer(quadrant, batch_size=4, face=None)
    changed = replace(whole, tensors=tensors, present={"video": here})
    monkeypatch.setattr(recognizer.preprocessor, "stream", lambda **_: Once(changed))
    mixed = recognizer.predict(eeg=REST, video=pictures)
    alone = Recognizer(quadrant).predict(eeg=REST)
    np.testing.assert_allclose(mixed.probabilities[[2, 4, 5]], alone.probabilities[[2, 4, 5]], atol=1e-5)
    assert mixed.present["video"].tolist() == here.tolist() and here[mixed.shown]
    assert [top in CLASSES for top in mixed.tops] == here.tolist()
    assert mixed.gaps == ("expression (neutral or smiling): not known in 3 of 6 windows, no usable video there",)


def test_frames_without_a_face_and_silence_reach_the_model_as_masks(frames):
    class Blinking:
        """A finder that sees the face in three of four pictures."""

        def __call__(self, image):
            return None if image[0, 0, 0] % 4 == 0 else (4, 4, 40, 40)

    torch.manual_seed(0)
    model = em.create_model("trimodal_tiny", modalities=("video", "audio")).eval()
    pictures, fps = frames
    pictures = pictures.copy()
    pictures[:, 0, 0, 0] = np.arange(len(pictures)) % 4
    sound = np.random.default_rng(0).standard_normal(30 * 16000).astype(np.float32) * 0.01
    sound[:16000] = 0.0
    given = []
    model.register_forward_pre_hook(lambda _, __, named: given.append(named), with_kwargs=True)
    recognizer = Recognizer(model, batch_size=4, face=Blinking())
    result = recognizer.predict(video=Video(pictures, fps=fps), audio=Audio(sound, sfreq=16000))
    masks = [kw["masks"] for kw in given]
    assert 0.6 < torch.cat([mask["video"] for mask in masks]).float().mean() < 0.9
    silent = ~torch.cat([mask["audio"] for mask in masks if "audio" in mask])
    assert 95 < silent[0].sum() < 101 and silent[0, :95].all() and not silent[1:].any()
    inputs = recognizer.preprocessor(video=Video(pictures, fps=fps), audio=Audio(sound, sfreq=16000))
    with torch.no_grad():
        expected = model(**inputs.tensors, masks=inputs.masks)
        unmasked = model(**inputs.tensors)
    np.testing.assert_allclose(result.probabilities, expected.probabilities.numpy(), atol=1e-5)
    assert not np.allclose(result.probabilities, unmasked.probabilities.numpy(), atol=1e-5)


def test_an_encoder_with_a_head():
    torch.manual_seed(0)
    encoder = em.create_model("videomae_nano", num_classes=3)
    pictures = np.random.default_rng(0).integers(0, 256, (40, 64, 64, 3), dtype=np.uint8)
    found = Recognizer(encoder, face=None, batch_size=2).predict(video=Video(pictures, fps=10), window_seconds=1.0)
    clips = Preprocessor(encoder.input_spec, face=None)(video=Video(pictures, fps=10), window_seconds=1.0).tensors[
        "video"
    ]
    with torch.no_grad():
        np.testing.assert_allclose(found.probabilities, encoder.eval()(clips).softmax(1), atol=1e-5)
    assert len(found) == 4 and found.classes == ("class 0", "class 1", "class 2") and found.attention == {}
    with pytest.raises(ConfigError, match=r"videomae_nano has no classes .*\.reset_classifier"):
        Recognizer(em.create_model("videomae_nano"))
    spectrogram = em.create_model("audio_mamba_nano", num_classes=2)
    with pytest.raises(ConfigError, match="AudioMamba takes spectrogram, which is not made of recordings"):
        Recognizer(spectrogram)


def test_weights_that_overflow_give_no_answer(model):
    broken = em.create_model("ever_tiny")
    broken.load_state_dict(model.state_dict())
    weight = next(broken.fusion.region_gcn.parameters())
    with torch.no_grad():
        weight.fill_(3e38)
    with pytest.raises(CheckpointError, match=r"the window at 0 s and 5 more its numbers are not finite.*too large"):
        Recognizer(broken).predict(eeg=REST)
    with torch.no_grad():
        weight.fill_(torch.nan)
    with pytest.raises(CheckpointError, match=r"weights fusion\.region_gcn\.\w+ are not finite"):
        Recognizer(broken).predict(eeg=REST)


def test_values_that_overflow_are_named(model, monkeypatch):
    eeg = np.random.default_rng(0).normal(0, 10, (19, 2500)).astype(np.float32)
    recording = EEG(eeg, ch_names=em.montage.preset("eegmat"), unit="uV", sfreq=250.0)
    prepared = Preprocessor(model.input_spec)(eeg=recording)
    prepared.tensors["eeg"][1, 2, 100] = 1e30
    recognizer = Recognizer(model)
    monkeypatch.setattr(recognizer.preprocessor, "stream", lambda **_: Once(prepared))
    with pytest.raises(SignalError, match=r"eeg: in the window at 5 s .* values up to 1e\+30 in channel F3"):
        recognizer.predict(eeg=recording)


def test_table_summary_and_top_by_hand():
    result = Recognition("m", np.array([0.0, 2.0]), 4.0, np.array([[0.9, 0.1], [0.3, 0.7]]), ("calm", "tense"))
    assert result.to_table() == [
        {"start": 0.0, "stop": 4.0, "top": "calm", "p(calm)": 0.9, "p(tense)": 0.1},
        {"start": 2.0, "stop": 6.0, "top": "tense", "p(calm)": 0.3, "p(tense)": 0.7},
    ]
    assert result.top.label == "calm" and result.top.probability == pytest.approx(0.6)
    assert result.summary().splitlines()[1:] == [
        " 0.0- 4.0  0.90   0.10  calm",
        " 2.0- 6.0  0.30   0.70  tense",
        "     mean  0.60   0.40  calm",
    ]
    assert len(result) == 2 and "2 windows" in repr(result)


def test_frozen():
    result = Recognition("m", np.zeros(1), 1.0, np.ones((1, 1)), ("a",))
    with pytest.raises(AttributeError):
        result.classes = ("b",)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, ConfigError, "give at least one of eeg, video"),
        ({"eeg": REST, "overlap": 1.0}, ConfigError, "overlap"),
        ({"eeg": np.zeros((19, 2500))}, SignalError, r"does not say its rate.*EEG\(array, ch_names"),
        ({"video": []}, SignalError, "without a frame"),
        ({"audio": "a.wav"}, ConfigError, "audio: the model takes no audio, only eeg, video"),
        ({"eeg": REST, "window_seconds": 3.0}, ConfigError, "the model's window of eeg is 5 s, got 3.0"),
        ({"eeg": "nowhere.edf"}, FileNotFoundError, "nowhere.edf"),
    ],
)
def test_bad_recordings(model, arguments, error, message):
    with pytest.raises(error, match=message):
        Recognizer(model).predict(**arguments)


def test_bad_recognizers(model):
    with pytest.raises(ConfigError, match="batch_size: expected at least 1, got 0"):
        Recognizer(model, batch_size=0)
    with pytest.raises(ConfigError, match="device: 'warp' cannot be used"):
        Recognizer(model, device="warp")
    with pytest.raises(ConfigError, match="Linear has no input_spec"):
        Recognizer(torch.nn.Linear(1, 1))
    linear = torch.nn.Linear(1, 1)
    linear.input_spec = model.input_spec
    with pytest.raises(ConfigError, match=r"Linear\.forward takes no argument eeg, video, present"):
        Recognizer(linear)
    with pytest.raises(ConfigError, match="fase: no such option"):
        Recognizer(model, fase=None)
    without = em.create_model("ever_tiny", num_classes=0)
    with pytest.raises(ConfigError, match=r"has no classes \(num_classes=0\).*reset_classifier"):
        Recognizer(without)


def test_checkpoint_round_trip_and_facts(model, tmp_path):
    training = {
        "licence": "Apache-2.0",
        "datasets": ["EEGMAT", "faces"],
        "scores": {"UAR": {"value": 0.71, "low": 0.6, "high": 0.8}},
        "not_this": ["no emotion"],
    }
    model.save_pretrained(tmp_path / "mine", training=training)
    recognizer = Recognizer(tmp_path / "mine")
    assert recognizer.name == "mine" and str(tmp_path) not in repr(recognizer)
    expected = Recognizer(model).predict(eeg=REST)
    result = recognizer.predict(eeg=REST)
    np.testing.assert_array_equal(result.probabilities, expected.probabilities)
    facts = result.facts
    assert facts["scores"] == "UAR 0.710 [0.600, 0.800]" and facts["datasets"] == "EEGMAT, faces"
    assert facts["not_this"] == ["no emotion"] and facts["licence"] == "Apache-2.0"
    assert facts["parameters"] == f"{sum(p.numel() for p in model.parameters()):,}"
    assert expected.facts["weights"].startswith("random")


def test_describe_many_classes():
    encoder = em.create_model("videomae_nano", num_classes=400)
    encoder.classes = tuple(f"c{k}" for k in range(400))
    assert describe(encoder)["classes"].endswith("c18, c19 and 380 more")


def test_describe_an_encoder_without_recordings():
    facts = describe(em.create_model("videomae_nano"))
    assert facts["architecture"] == "videomae_nano" and "EEG" not in facts
