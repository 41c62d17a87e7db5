"""Speech and eye movement beside EEG and faces: nothing else changes, and everybody comes as often in every class."""

from __future__ import annotations

import gzip
from collections import Counter

import numpy as np
import pytest
import soundfile
import torch

from evermodels.core.errors import ConfigError, DataError
from evermodels.core.specs import AudioSpec, EEGSpec, EyeSpec, InputSpec, VideoSpec
from evermodels.datasets import (
    EEGMAT,
    EmoDB,
    EyeWindows,
    LondonFaces,
    Pupil,
    QuadrantPairs,
    SubjectSplit,
    UtteranceWindows,
    quadrant_split,
)
from evermodels.datasets.augment_sound import SoundAugmentation
from evermodels.datasets.companions import EyeCompanion, SpeechCompanion
from evermodels.datasets.quadrant_parts import QuadrantSettings
from evermodels.training.batches import collate

SPEAKERS = SubjectSplit(("03", "08", "09"), ("10", "11"), ("12", "13"))
EYES = SubjectSplit(("P1", "P2", "P3", "P4"), ("P5", "P6"), ("P7", "P8"))
LEVELS = {"W": 0.1, "T": 0.2, "F": 0.4}  # amplitude by emotion
AUDIO = AudioSpec(n_mels=8, frame_seconds=0.05, hop_seconds=0.05)
EYE = EyeSpec(form="series", channels=("pupil",), sfreq=10.0)


@pytest.fixture(scope="session")
def folders(tmp_path_factory, eegmat_folder, faces_folder):
    """A data root: the loudness says the emotion, the pupil the condition."""
    root = tmp_path_factory.mktemp("root")
    (root / "eegmat").symlink_to(eegmat_folder)
    (root / "faces").symlink_to(faces_folder)
    (root / "emodb").mkdir()
    (root / "pupil").mkdir()
    tone = np.sin(2 * np.pi * 200 * np.arange(24000) / 16000)
    for speaker in SPEAKERS.subjects:
        for letter, level in LEVELS.items():
            for k, version in enumerate("ab"):
                name = f"{speaker}a01{letter}{version}.wav"
                soundfile.write(root / "emodb" / name, level * tone[: 16000 + 8000 * k], 16000)
    for person in EYES.subjects:
        for condition, pupil in (("control", 3), ("arithmetic", 5)):
            rows = [f"{i / 40},1,1,{pupil},{pupil}\n" for i in range(321)]
            with gzip.open(root / "pupil" / f"{person}_{condition}.csv.gz", "wt") as file:
                file.write("seconds,openness_left,openness_right,pupil_left_mm,pupil_right_mm\n" + "".join(rows))
    return root


@pytest.fixture(scope="session")
def beside(folders):
    speech, pupil = EmoDB(folders / "emodb"), Pupil(folders / "pupil")
    return (
        SpeechCompanion(speech, UtteranceWindows(speech, AUDIO, 2.0), split=SPEAKERS),
        EyeCompanion(pupil, EyeWindows(pupil, EYE, 2.0), split=EYES),
    )


@pytest.fixture
def make(eegmat, faces, split, beside):
    def make(part, companions=beside, **options):
        people = {**split, **{c.group: c.split for c in companions}}
        options = {"num_frames": 2, "size": (8, 8), "companions": companions, **options}
        return QuadrantPairs(eegmat, faces, part, split=people, **options)

    return make


@pytest.mark.parametrize("train", [False, True])
def test_eeg_and_faces_are_the_same_with_and_without(make, beside, train):
    options = {"train": True, "length": 32, "seed": 3} if train else {}
    part = "train" if train else "test"
    plain, whole = make(part, (), **options), make(part, **options)
    reverse = make(part, beside[::-1], **options)
    assert plain.digest != whole.digest and [p.others for p in plain.pairs] == [()] * len(plain)
    assert [p._replace(others=()) for p in whole.pairs] == plain.pairs
    assert [p.others[::-1] for p in reverse.pairs] == [p.others for p in whole.pairs]
    assert all(torch.equal(plain[i][m], whole[i][m]) for i in (0, 5, 11) for m in ("eeg", "video"))
    assert [p.others[:1] for p in make(part, beside[:1], **options).pairs] == [p.others[:1] for p in whole.pairs]


@pytest.mark.parametrize("part", ["validation", "test"])
def test_sound_and_eyes_are_of_the_class_and_of_the_parts_people(make, part):
    pairs = make(part)
    assert pairs.groups == ("eeg_subject", "face_id", "speaker", "eye_subject")
    assert pairs.people["speaker"] == SPEAKERS.part(part) and pairs.people["eye_subject"] == EYES.part(part)
    assert [f.modalities for f in pairs.factors] == [("eeg", "eye"), ("video", "audio")]
    seen = Counter()
    for i, pair in enumerate(pairs.pairs):
        item = pairs[i]
        assert item["speaker"] in SPEAKERS.part(part) and item["eye_subject"] in EYES.part(part)
        assert torch.allclose(item["eye"], torch.tensor(5.0 if item["arousal"] else 3.0))
        emotion = pair.others[0].what[5]
        assert (emotion == "F") == (item["valence"] == 1)
        seen[item["label"], "speaker", item["speaker"]] += 1
        seen[item["label"], "eye", item["eye_subject"]] += 1
    assert set(seen.values()) == {3}  # everybody as often in every class
    assert pairs.digest == make(part).digest != make(part, pairing_seed=1).digest


def test_what_follows_an_utterance_is_masked(make):
    pairs = make("test")
    batch = collate([pairs[i] for i in range(6)])
    assert batch["audio"].shape == (6, 40, 8) and batch["masks"]["audio"].shape == (6, 40)
    for i in range(6):
        long = pairs.pairs[i].others[0].what.endswith("b")
        assert batch["masks"]["audio"][i].sum() == (30 if long else 20)


def test_matched_items_share_speakers_and_eyes(make):
    pairs = make("train", train=True, length=48)
    for epoch in range(2):
        pairs.set_epoch(epoch)
        people = [tuple(o.person for o in p.others) for p in pairs.pairs]
        for i in range(0, 48, 4):
            assert len({eye for _, eye in people[i : i + 4]}) == 1
            assert len({speaker for speaker, _ in people[i : i + 2]}) == 1  # one for each state
        for label in range(4):
            speakers = Counter(people[i][0] for i in range(label, 48, 4))
            assert set(speakers.values()) == {4}
    other = make("train", train=True, length=48)
    other.set_epoch(1)
    assert [p.others for p in other.pairs] == [p.others for p in pairs.pairs]


def test_what_the_model_does_not_take_is_an_id_alone(make, beside):
    speech, eyes = beside
    ids = (SpeechCompanion(speech.speech, split=SPEAKERS), EyeCompanion(eyes.pupil, split=EYES))
    item, whole = make("test", ids)[4], make("test")[4]
    assert item.keys() == whole.keys() - {"audio", "eye", "masks"}
    assert all(item[k] == whole[k] for k in ("speaker", "eye_subject", "label"))


def test_congruence_is_arousal_xor_valence(make):
    pairs = make("test", label_rule="congruence")
    assert pairs.classes == ("congruent", "incongruent") and not pairs.factors and not pairs.scores
    assert pairs.class_counts == (len(pairs) // 2,) * 2 and pairs.pairs == make("test").pairs
    assert all(pairs[i]["label"] == (pairs[i]["arousal"] != pairs[i]["valence"]) for i in range(len(pairs)))
    # neither half tells it
    halves = Counter((pairs[i]["label"], pairs[i]["arousal"], pairs[i]["valence"]) for i in range(len(pairs)))
    assert set(halves.values()) == {len(pairs) // 4}
    with pytest.raises(ConfigError, match=r"label_rule: expected one of quadrant, congruence"):
        make("test", label_rule="xor")


def test_companions_that_cannot_be(folders, beside):
    speech = EmoDB(folders / "emodb")
    with pytest.raises(ConfigError, match="valence: expected emotions of low and others of high"):
        SpeechCompanion(speech, split=SPEAKERS, valence=(("anger",), ("anger",)))
    with pytest.raises(DataError, match="speech: 14, 15, 16 is missing"):
        SpeechCompanion(speech)
    with pytest.raises(DataError, match=r"pupil: P9, .* is missing"):
        EyeCompanion(beside[1].pupil)
    (folders / "emodb" / "13a01Fa.wav").rename(folders / "x")
    (folders / "emodb" / "13a01Fb.wav").rename(folders / "y")
    try:
        with pytest.raises(DataError, match="speaker 13 has no utterance of happiness"):
            SpeechCompanion(EmoDB(folders / "emodb"), split=SPEAKERS)
    finally:
        (folders / "x").rename(folders / "emodb" / "13a01Fa.wav")
        (folders / "y").rename(folders / "emodb" / "13a01Fb.wav")


@pytest.mark.filterwarnings("ignore:eeg. channels lie far from 0")  # the made-up level says whose it is
def test_settings_build_them_for_what_a_model_takes(folders, split):
    people = {**split, "speaker": SPEAKERS, "eye_subject": EYES}
    settings = QuadrantSettings(modalities=("eeg", "video", "audio", "eye"), label_rule="congruence", train_people=2)
    eeg, video = EEGSpec(("Fz", "Cz"), 50.0), VideoSpec(num_frames=2, size=(8, 8), face_crop=False)
    spec = InputSpec(window_seconds=2.0, eeg=eeg, video=video, audio=AUDIO, eye=EYE)
    parts = settings.parts(spec, data_root=folders, split=people)
    assert parts.classes == ("congruent", "incongruent") and parts.groups[2:] == ("speaker", "eye_subject")
    assert parts.people("train")["eeg_subject"] == ["00", "01"] and len(parts.people("test")["eeg_subject"]) == 2
    assert {"audio", "eye"} <= parts.train[0].keys() and {"audio", "eye"} <= parts.test[0].keys()
    alone = settings.parts(InputSpec(window_seconds=2.0, eeg=eeg), data_root=folders, split=people)
    assert [c.windows for c in alone.test.companions] == [None, None]
    assert {"eeg", "video"} & alone.train[0].keys() == {"eeg"} == {"eeg", "video"} & alone.test[0].keys()
    clips = settings.parts(InputSpec(window_seconds=2.0, video=video), data_root=folders, split=people)
    assert {"eeg", "video"} & clips.train[0].keys() == {"video"}
    assert alone.test.digest == parts.test.digest and parts.test.companions[1].windows is not None
    with pytest.raises(ConfigError, match=r"data\.modalities: the model takes audio and eye, and the pairs have"):
        QuadrantSettings().parts(spec, data_root=folders, split=split)
    with pytest.raises(ConfigError, match="modalities: expected eeg and video, and some of audio, eye"):
        QuadrantSettings(modalities=("eeg", "audio"))
    with pytest.raises(ConfigError, match=r"high_valence: expected some of anger.*not joy"):
        QuadrantSettings(high_valence=("joy",))
    with pytest.raises(ConfigError, match=r"train_people: expected at most 4, got 9"):
        settings.replace(train_people=9).parts(spec, data_root=folders, split=people)


def test_a_recipe_without_them_keeps_its_digest():
    plain = QuadrantSettings().to_dict()
    assert not {"modalities", "label_rule", "low_valence", "silent_dbfs", "train_people"} & plain.keys()
    changed = QuadrantSettings(label_rule="congruence").to_dict()
    assert changed["label_rule"] == "congruence" and QuadrantSettings.from_dict(changed).label_rule == "congruence"


def test_the_pairs_are_those_of_earlier_versions(real_data):
    """Digests that were stored before speech and eye movement could stand beside EEG and faces."""
    stored = {
        "validation": "147a378e725f0334700faa1c6996d082b47d560882a5584d56cebfa7dacf1dc0",
        "test": "45c4ba8bb2ed3b6d4143b91de7f291e5aed3060356fedbe418d713810e302201",
    }
    faces = LondonFaces(real_data / "faces", crop=False)
    people = quadrant_split(faces.people)["eeg_subject"]
    eegmat = EEGMAT(
        real_data / "eegmat", ch_names=("Cz",), baseline_seconds=60.0, subjects=people.validation + people.test
    )
    assert {part: QuadrantPairs(eegmat, faces, part).digest for part in stored} == stored


def test_speech_is_changed_in_training_alone_and_alike_for_matched_items(make, beside, monkeypatch):
    plain, eyes = beside
    change = SoundAugmentation(speed=0.2, noise=0.2, blend=0.5)
    speech = SpeechCompanion(plain.speech, plain.windows, split=SPEAKERS, augment=change)
    options = {"train": True, "length": 32, "seed": 3}
    changed, before = make("train", (speech, eyes), **options), make("train", **options)
    assert changed.pairs == before.pairs
    for name in ("eeg", "video", "eye"):
        assert all(torch.equal(changed[i][name], before[i][name]) for i in range(4))
    assert not any(torch.equal(changed[i]["audio"], before[i]["audio"]) for i in range(32))
    tests = (make("test", (speech, eyes)), make("test"))
    assert all(torch.equal(tests[0][i]["audio"], tests[1][i]["audio"]) for i in range(6))
    seen = []
    made = UtteranceWindows.changed
    monkeypatch.setattr(UtteranceWindows, "changed", lambda *args, keep: seen.append(args[1:]) or made(*args))
    items = [changed[i]["audio"] for i in range(32)]
    for i in range(0, 32, 2):  # the same change of the two that differ in the expression
        assert seen[i][1] == seen[i + 1][1] and (i % 4 or seen[i][1] != seen[i + 2][1])
    over = [(name, other) for name, _, other in seen if other]
    assert over and all(a[:2] != b[:2] and a[5] == b[5] and b[:2] in SPEAKERS.train for a, b in over)
    assert all(torch.equal(a, changed[i]["audio"]) for i, a in enumerate(items))  # nothing but the pair's key draws


@pytest.mark.filterwarnings("ignore:eeg. channels lie far from 0")
def test_changes_of_speech_come_from_the_recipe(folders, split):
    settings = QuadrantSettings(modalities=("eeg", "video", "audio"), augment={"sound": {"speed": 0.2}})
    spec = InputSpec(
        window_seconds=2.0,
        eeg=EEGSpec(("Cz",), 50.0),
        video=VideoSpec(num_frames=1, size=(8, 8), face_crop=False),
        audio=AUDIO,
    )
    people = {**split, "speaker": SPEAKERS}
    without = settings.replace(augment={"sound": {"speed": 0.0}})
    parts, plain = (s.parts(spec, data_root=folders, split=people) for s in (settings, without))
    assert torch.equal(parts.train[0]["eeg"], plain.train[0]["eeg"])
    assert not all(torch.equal(parts.train[i]["audio"], plain.train[i]["audio"]) for i in range(0, 12, 2))
    assert all(torch.equal(parts.validation[i]["audio"], plain.validation[i]["audio"]) for i in range(4))
