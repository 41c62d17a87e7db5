"""Data sets of protocols 5 and 6 and the workload pairs: parts, statistics of people, and the baselines of others."""

from __future__ import annotations

import gzip
import pickle
from collections import Counter

import numpy as np
import pytest
import soundfile
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import recall_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import evermodels as em
from evermodels.core.errors import ConfigError
from evermodels.core.specs import AudioSpec, EEGSpec, EyeSpec, InputSpec, VideoSpec
from evermodels.core.warning import LicenceWarning
from evermodels.datasets import CEAP, DataSettings, EmoDB, SubjectSplit, UtteranceWindows
from evermodels.training import Recipe, evaluate_checkpoint, predict

LETTERS = {"W": 0, "F": 1, "N": 2, "T": 3}
SOUND = InputSpec(window_seconds=1.0, audio=AudioSpec(n_mels=8))


@pytest.fixture(scope="session")
def root(tmp_path_factory, eegmat_folder):
    """A data root: speakers of different loudness, four videos of three people, pupils that say the condition."""
    root = tmp_path_factory.mktemp("root")
    (root / "eegmat").symlink_to(eegmat_folder)
    for name in ("emodb", "ceap", "pupil"):
        (root / name).mkdir()
    rng = np.random.default_rng(0)
    for k, speaker in enumerate(("03", "08", "09", "10", "11")):
        for letter in LETTERS:
            noise = np.clip(rng.normal(0, 0.05 * (k + 1), 12000 + 500 * k), -1, 1)
            soundfile.write(root / "emodb" / f"{speaker}a01{letter}a.flac", noise, 16000)
    ratings = ["person,video,order,valence,arousal,seconds"]
    for p in range(1, 8):
        fixed, moved = ["video,start_frame,end_frame,pitch,yaw"], ["video,id,pitch,yaw"]
        for v in range(1, 5):
            fixed += [f"V{v},{30 * k},{30 * k + 14},{p},{10 * v + k}" for k in range(4)]
            moved += [f"V{v},{k + 1},{p + v},{k % 7}" for k in range(20)]
            ratings.append(f"P{p},V{v},1,{5 + (v % 2)},{5.5 if p > 3 else 2},60")
        for name, lines in (("fixation", fixed), ("head", moved)):
            (root / "ceap" / f"P{p}_{name}.csv.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    (root / "ceap" / "selfreport.csv").write_text("\n".join(ratings))
    (root / "ceap" / "videos.csv").write_text("VideoID,FrameRate\n" + "".join(f"V{v},30\n" for v in range(1, 5)))
    for p in range(1, 9):
        for condition, pupil in (("control", 3), ("arithmetic", 5)):
            rows = [f"{i / 40},1,1,{pupil},{pupil}\n" for i in range(321)]
            header = "seconds,openness_left,openness_right,pupil_left_mm,pupil_right_mm\n"
            (root / "pupil" / f"P{p}_{condition}.csv").write_text(header + "".join(rows))
    return root


def settings(name, **values):
    return DataSettings.from_dict({"dataset": name, **values})


def test_one_speaker_is_left_out(root):
    tested = []
    for fold in range(5):
        parts = settings("emodb", fold=fold).parts(SOUND, data_root=root)
        people = [set(parts.people(part)["speaker"]) for part in ("train", "validation", "test")]
        assert [len(p) for p in people] == [2, 2, 1] and len(set.union(*people)) == 5
        tested += people[2]
        item = parts.test[0]
        assert item["audio"].shape == (98, 8) and item["masks"]["audio"].sum() < 98
        assert parts.classes == ("anger", "happiness", "neutral", "sadness") and parts.groups == ("speaker",)
        assert parts.class_counts() == [2, 2, 2, 2]
        for i, entry in enumerate(parts.test.entries):
            assert parts.test[i]["label"] == LETTERS[entry.key[5]]
    assert sorted(tested) == ["03", "08", "09", "10", "11"]


def test_a_model_reads_them_and_another_fold_is_refused(root, tmp_path):
    model = em.create_model(
        "single_audio",
        input_spec=SOUND,
        num_classes=4,
        readout="embedding",
        encoders={
            "audio": {
                "name": "ast_nano",
                "config": {"embed_dim": 16, "depth": 1, "num_heads": 2, "patch_size": 8, "stride": (8, 8)},
            }
        },
    )
    own = settings("emodb", fold=1)
    parts = own.parts(SOUND, data_root=root)
    with pytest.warns(UserWarning, match="masks: the model takes none of audio"):
        found = predict(model, parts.test, groups=parts.groups)
    assert found.groups["speaker"].tolist() == ["08"] * 4 and found.logits.shape == (4, 4)
    model.classes = parts.classes
    model.save_pretrained(tmp_path / "model", training=own.told())
    recipe = Recipe("speech", data=own)
    with pytest.warns(UserWarning, match="masks"):
        assert evaluate_checkpoint(tmp_path / "model", recipe, data_root=root)["samples"] == 4
    with pytest.raises(ConfigError, match=r"trained on fold 1 of this data set, so that people of fold 2 .*fold=1"):
        evaluate_checkpoint(tmp_path / "model", recipe.replace(data={"fold": 2}), data_root=root)
    with pytest.raises(ConfigError, match=r"trained on this data set with transductive=False\. Test it on data of"):
        evaluate_checkpoint(tmp_path / "model", recipe.replace(data={"speaker_statistics": True}), data_root=root)


@pytest.mark.filterwarnings("ignore::evermodels.core.warning.LicenceWarning")
def test_parts_can_be_sent_to_loading_processes(root):
    for name, spec, key in (("emodb", SOUND, "speaker_statistics"), ("ceap", GAZE, "person_statistics")):
        part = settings(name, **{key: True}).parts(spec, data_root=root).test
        sent = pickle.loads(pickle.dumps(part))
        modality = spec.modalities[0]
        assert torch.equal(sent[1][modality], part[1][modality])


def test_speaker_statistics_are_of_the_speakers_valid_frames(root):
    parts = settings("emodb", fold=4, speaker_statistics=True).parts(SOUND, data_root=root)
    valid = torch.cat([item["audio"][item["masks"]["audio"]] for item in (parts.test[i] for i in range(4))])
    assert torch.allclose(valid.mean(0), torch.zeros(8), atol=1e-4)
    assert torch.allclose(valid.std(0), torch.ones(8), atol=1e-4)
    plain = settings("emodb", fold=4).parts(SOUND, data_root=root)
    assert abs(plain.test[0]["audio"].mean()) > 1
    assert settings("emodb", speaker_statistics=True).told() == {"dataset": "emodb", "fold": 0, "transductive": True}
    waves = InputSpec(window_seconds=1.0, audio=AudioSpec(form="waveform"))
    with pytest.raises(ConfigError, match="speaker_statistics: they are of mel bands"):
        settings("emodb", speaker_statistics=True).parts(waves, data_root=root)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("emodb", {"fold": 5}, r"data\.fold: expected 0 to 4, one for each person, got 5"),
        ("emodb", {"emotions": ["anger", "joy"]}, r"emotions: expected at least two of anger"),
        ("emodb", {"n_validation": -1}, "n_validation: expected at least 0"),
        ("ceap", {"target": "dominance"}, "target"),
        ("ceap", {"video": "V9"}, r"data\.video: expected one of V1, V2, V3, V4"),
        ("workload", {"length": 3}, "length: expected a positive multiple of 2"),
        ("workload", {"augment": {"codec": 0.5}}, r"data\.augment\.codec: expected 0\.0; workload has no such change"),
    ],
)
@pytest.mark.filterwarnings("ignore::evermodels.core.warning.LicenceWarning")
def test_settings_that_cannot_be(root, name, values, message):
    spec = {"emodb": SOUND, "ceap": GAZE, "workload": BOTH}[name]
    with pytest.raises(ConfigError, match=message):
        settings(name, **values).parts(spec, data_root=root)


GAZE = InputSpec(
    window_seconds=2.0, eye=EyeSpec(features=("y_mean", "x_mean", "head_speed_mean"), seconds=1.0, sfreq=30.0)
)
BOTH = InputSpec(
    window_seconds=2.0,
    eeg=EEGSpec(("Fz", "Cz"), 50.0),
    eye=EyeSpec(form="series", channels=("pupil", "measured"), sfreq=10.0),
)


@pytest.mark.parametrize("name", ["emodb", "ceap", "workload"])
def test_a_model_of_something_else_is_refused(root, name):
    with pytest.raises(ConfigError, match="the model takes video"):
        settings(name).parts(InputSpec(video=VideoSpec(2, (8, 8))), data_root=root)


@pytest.mark.filterwarnings("ignore::evermodels.core.warning.LicenceWarning")
def test_one_person_and_one_video_are_left_out(root):
    parts = settings("ceap", fold=1, target="arousal", n_validation=2).parts(GAZE, data_root=root)
    assert parts.people("test") == {"person": ["P2"]} and [len(p) for p in parts[:3]] == [16, 8, 4]
    item = parts.test[0]
    assert item["eye"].shape == (2, 3) and item["label"] == 0 and item["person"] == "P2"
    assert item["eye"][:, 0].tolist() == [2.0, 2.0]  # the pitch of the made-up gaze is the person's number
    assert parts.classes == ("low arousal", "high arousal")
    without = settings("ceap", fold=1, n_validation=2, video="V3").parts(GAZE, data_root=root)
    assert [entry.key for entry in without.test.entries] == [("P2", "V3")]
    assert {entry.key[1] for entry in without.train.entries} == {"V1", "V2", "V4"}
    own = settings("ceap", fold=1, person_statistics=True).parts(GAZE, data_root=root)
    rows = torch.cat([own.test[i]["eye"] for i in range(4)])
    assert torch.allclose(rows.mean(0), torch.zeros(3), atol=1e-5) and rows[:, 1].std().item() == pytest.approx(1.0)


@pytest.mark.filterwarnings("ignore::evermodels.core.warning.LicenceWarning")
def test_gaze_shows_no_blinks_and_is_not_longer_than_the_video(root):
    blinks = InputSpec(window_seconds=2.0, eye=EyeSpec(features=("blink_frequency",), seconds=1.0))
    with pytest.raises(ConfigError, match="nothing shows blinks in CEAP-360VR"):
        settings("ceap").parts(blinks, data_root=root)
    long = InputSpec(window_seconds=30.0, eye=EyeSpec(features=("y_mean",)))
    with pytest.raises(ConfigError, match=r"windows of 30 s are longer than V1 of P1, 4\.0 s"):
        settings("ceap").parts(long, data_root=root).test[0]


@pytest.mark.filterwarnings("ignore:eeg. channels lie far from 0")  # the made-up level says whose it is
def test_workload_pairs(root):
    eeg = SubjectSplit(("00", "01", "02", "03"), ("04", "05"), ("06", "07"))
    people = {"eeg_subject": eeg, "eye_subject": SubjectSplit(("P1", "P2", "P3", "P4"), ("P5", "P6"), ("P7", "P8"))}
    parts = settings("workload").parts(BOTH, data_root=root, split=people)
    assert parts.classes == ("rest", "arithmetic") and parts.groups == ("eeg_subject", "eye_subject")
    for name in ("validation", "test"):
        part = parts.part(name)
        assert part.class_counts == (6, 6)
        for i in range(len(part)):
            item = part[i]
            level = 20 * int(item["eeg_subject"]) + 10 * (1 + item["label"])
            assert abs(item["eeg"][:, 10:-10].mean().item() - level) < 1.5
            assert torch.allclose(item["eye"][:, 0], torch.tensor(5.0 if item["label"] else 3.0))
        assert set(Counter((p.label, p.eye.person) for p in part.pairs).values()) == {3}
    train = parts.train
    assert train.group == 2 and len(train) == 24
    first = train.pairs
    assert all(
        a.eeg_subject == b.eeg_subject and a.eye.person == b.eye.person for a, b in zip(*[iter(first)] * 2, strict=True)
    )
    train.set_epoch(1)
    assert train.pairs != first
    train.set_epoch(0)
    assert train.pairs == first
    again = settings("workload").parts(InputSpec(window_seconds=2.0, eye=BOTH.eye), data_root=root, split=people)
    assert again.test.digest == parts.test.digest
    assert "eeg" not in again.test[0] and torch.equal(again.test[0]["eye"], parts.test[0]["eye"])


def left_out(x, y, person):
    """Mean over people of the balanced accuracy of logistic regression that was trained on the others."""
    scores = []
    for one in sorted(set(person)):
        test = person == one
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.05, max_iter=1000, class_weight="balanced"))
        scores.append(recall_score(y[test], model.fit(x[~test], y[~test]).predict(x[test]), average="macro"))
    return np.mean(scores)


def z(x, person):
    x = x.copy()
    for one in set(person):
        x[person == one] = (x[person == one] - x[person == one].mean(0)) / (x[person == one].std(0) + 1e-9)
    return x


def test_protocol_5_by_simple_statistics(real_data):
    """An independent script has 0.757 ± 0.092 of log-mel, and 0.863 ± 0.054 with the speaker's level taken out."""
    speech = EmoDB(real_data / "emodb")
    windows = UtteranceWindows(speech, AudioSpec(n_mels=24, hop_seconds=0.02), 5.0)
    utterances = list(speech.utterances.values())
    frames = [window[mask] for window, mask in (windows(u.name) for u in utterances)]
    x = np.stack([torch.cat([f.mean(0), f.std(0)]).numpy() for f in frames])
    y, person = np.array([u.emotion for u in utterances]), np.array([u.speaker for u in utterances])
    assert left_out(x, y, person) == pytest.approx(0.757, abs=0.06)
    assert left_out(z(x, person), y, person) == pytest.approx(0.863, abs=0.05)


def test_protocol_6_by_simple_statistics(real_data):
    """An independent script has 0.632 ± 0.137 (valence) and 0.701 ± 0.156 (arousal) of eye and head."""
    with pytest.warns(LicenceWarning):
        ceap = CEAP(real_data / "ceap")
    keys = sorted(ceap.ratings)
    rows = []
    for key in keys:
        eye = ceap.recording(*key)
        length, (right, up) = eye.fixations.duration, (eye.fixations.values[name] for name in ("x", "y"))
        steps = np.hypot((np.diff(right) + 180) % 360 - 180, np.diff(up))
        side, high = eye.columns["head_x"][::6], eye.columns["head_y"][::6]
        speed = np.hypot((np.diff(side) + 180) % 360 - 180, np.diff(high))
        row = [len(length), length.mean(), length.std(), length.max(), steps.mean(), steps.std(), up.mean(), up.std()]
        row += [high.mean(), high.std(), high.min(), high.max(), speed.mean(), speed.std(), np.median(speed)]
        for angle in (right, side):
            turn = np.radians(angle)
            row += [angle.mean(), angle.std(), np.abs(angle).mean(), np.cos(turn).mean(), np.sin(turn).mean()]
        rows.append(row)
    x, person = np.array(rows), np.array([p for p, _ in keys])
    for target, expected in (("valence", 0.632), ("arousal", 0.701)):
        y = np.array([getattr(ceap.ratings[key], target) > 5 for key in keys])
        assert left_out(x, y, person) == pytest.approx(expected, abs=0.06), target
