"""The quadrant pairs: balance, determinism, the same pairing for everybody, and no leaks."""

from collections import Counter

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from evermodels.core.errors import ConfigError, DataError
from evermodels.core.specs import EEGSpec, InputSpec
from evermodels.datasets import CLASSES, EEGMAT, LondonFaces, QuadrantPairs, SubjectSplit, quadrant_split
from evermodels.datasets.augment import AmplitudeScale
from evermodels.datasets.quadrant_parts import QuadrantSettings

PARTS = ("train", "validation", "test")


@pytest.fixture
def make(eegmat, faces, split):
    def make(part, **options):
        return QuadrantPairs(eegmat, faces, part, split=split, **{"num_frames": 2, "size": (8, 8), **options})

    return make


def _same(a, b):
    return all(torch.equal(x, b[k]) if isinstance(x, torch.Tensor) else x == b[k] for k, x in a.items())


def test_item(make, eegmat):
    item = make("test", num_frames=3, size=(16, 12))[0]
    assert item["eeg"].shape == (19, 100)
    assert item["video"].shape == (3, 3, 16, 12)
    assert item["eeg"].dtype == item["video"].dtype == torch.float32
    assert item["label"] == 2 * item["arousal"] + item["valence"]
    assert item["eeg_subject"] in ("06", "07")
    assert item["face_id"] in ("007", "008")


def test_video_is_the_normalised_clip(make):
    pairs = make("test", mean=(0.5, 0.4, 0.3), std=(0.2, 0.25, 0.5))
    frames = torch.from_numpy(pairs.frames(3)).double() / 255
    expected = (frames - torch.tensor([0.5, 0.4, 0.3])) / torch.tensor([0.2, 0.25, 0.5])
    assert torch.allclose(pairs[3]["video"].double(), expected.permute(0, 3, 1, 2), atol=1e-5)


def test_normalising_is_the_arithmetic_bit_for_bit(make):
    mean, std = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
    levels = np.arange(256, dtype=np.uint8)
    frames = np.stack([np.random.default_rng(c).permutation(levels).reshape(2, 16, 8) for c in range(3)], axis=-1)
    # as it was worked out before it was looked up: a trained model's clips are to stay the same
    expected = frames * (1.0 / (255.0 * std)).astype(np.float32) - mean / std
    found = make("test", mean=tuple(mean.tolist()), std=tuple(std.tolist()))._normalised(frames)
    assert found.is_contiguous() and np.array_equal(found.numpy(), expected.transpose(0, 3, 1, 2))


@pytest.mark.parametrize("kept", ["eeg", "video"])
def test_what_a_model_does_not_take_is_not_made_and_changes_nothing(make, eegmat, faces, monkeypatch, kept):
    options = {"eeg_transform": AmplitudeScale(0.5), "blend": 0.5, "codec": 0.5, "box_noise": 0.02, "twice": True}
    whole = [make(part, train=part == "train", **options) for part in PARTS]
    alone = [make(part, train=part == "train", **options, modalities=[kept]) for part in PARTS]
    expected = [[pairs[i] for i in (0, 5)] for pairs in whole]

    def unwanted(*_, **__):
        raise AssertionError("made what nobody takes")

    monkeypatch.setattr(*((type(faces), "photo") if kept == "eeg" else (type(eegmat), "window")), unwanted)
    for pairs, both, items in zip(alone, whole, expected, strict=True):
        assert pairs.digest == both.digest
        for i, item in zip((0, 5), items, strict=True):
            gone = {"eeg", "video", *(("again",) if kept == "eeg" else ())} - {kept}
            found = pairs[i]
            assert found.keys() == item.keys() - gone
            again, there = (x.pop("again", {"video": torch.zeros(1)})["video"] for x in (found, dict(item)))
            assert _same(found, item) and (kept == "eeg" or torch.equal(again, there))
    with pytest.raises(ConfigError, match="modalities: expected some of eeg, video, got audio"):
        make("test", modalities=["audio"])


def test_the_eeg_is_the_persons_own_in_the_right_state(make):
    """The made-up level of every sample is 20 · person + 10 · state, whichever part, epoch and start."""
    for part, train in (("train", True), ("validation", False), ("test", False)):
        pairs = make(part, train=train)
        for i in range(len(pairs)):
            item = pairs[i]
            middle = item["eeg"][:, 10:-10].mean().item()
            assert abs(middle - (20 * int(item["eeg_subject"]) + 10 * (1 + item["arousal"]))) < 1.5


@pytest.mark.parametrize("part", PARTS)
def test_fixed_parts_are_balanced(make, part):
    pairs = make(part)
    people = {"train": 4, "validation": 2, "test": 2}[part]
    assert pairs.class_counts == (3 * people,) * 4
    # each person has as many of every class
    assert set(Counter((p.eeg_subject, p.label) for p in pairs.pairs).values()) == {3}
    # every arithmetic window once with each expression
    for valence in (0, 1):
        starts = [(p.eeg_subject, p.start) for p in pairs.pairs if p.label == 2 + valence]
        assert len(set(starts)) == len(starts) == 3 * people
        rest = [(p.eeg_subject, p.start) for p in pairs.pairs if p.label == valence]
        assert len(set(rest)) == len(rest)
        faces = Counter(p.face_id for p in pairs.pairs if p.valence == valence)
        assert set(faces) == set(pairs.people["face_id"])
        assert max(faces.values()) - min(faces.values()) <= 1


def test_nobody_is_in_two_parts(make):
    seen = [{(p.eeg_subject) for p in make(part).pairs} for part in PARTS]
    faces = [{(p.face_id) for p in make(part).pairs} for part in PARTS]
    train = make("train", train=True)
    for epoch in range(3):
        train.set_epoch(epoch)
        seen[0] |= {p.eeg_subject for p in train.pairs}
        faces[0] |= {p.face_id for p in train.pairs}
    for sets in (seen, faces):
        assert not sets[0] & sets[1] and not sets[0] & sets[2] and not sets[1] & sets[2]


def test_the_fixed_pairing_is_the_same_for_every_model(make, eegmat_folder, faces_folder, split):
    """Neither the training seed, nor the clip's size, nor another reader object changes it."""
    a = make("test", seed=0)
    b = make("test", seed=7, num_frames=4, size=(16, 16))
    other = QuadrantPairs(
        EEGMAT(eegmat_folder, sfreq=50.0, window_seconds=2.0),
        LondonFaces(faces_folder, crop=False),
        "test",
        split=split,
        num_frames=2,
        size=(8, 8),
    )
    assert a.pairs == b.pairs == other.pairs
    assert a.digest == b.digest == other.digest
    assert _same(a[5], other[5])
    assert make("test", pairing_seed=1).digest != a.digest
    # set_epoch and augmentation are for training
    c = make("test", eeg_transform=AmplitudeScale(1.0))
    c.set_epoch(4)
    assert all(_same(a[i], c[i]) for i in range(len(a)))


def test_training_items_depend_on_seed_epoch_and_index_alone(make):
    a, b = (make("train", train=True, seed=3, eeg_transform=AmplitudeScale(0.5)) for _ in range(2))
    b.set_epoch(2)
    _ = [b[i] for i in range(0, len(b), 5)]
    b.set_epoch(0)
    assert all(_same(a[i], b[i]) for i in (11, 0, 7))
    a.set_epoch(1)
    assert a.digest != b.digest
    assert make("train", train=True, seed=4).digest != b.digest


def test_epochs_are_balanced_and_differ(make):
    pairs = make("train", train=True, length=40)
    digests = set()
    for epoch in range(3):
        pairs.set_epoch(epoch)
        digests.add(pairs.digest)
        assert pairs.class_counts == (10, 10, 10, 10)
        for label in range(4):
            people = Counter(p.eeg_subject for p in pairs.pairs if p.label == label)
            assert max(people.values()) - min(people.values()) <= 1
            faces = Counter(p.face_id for p in pairs.pairs if p.label == label)
            assert max(faces.values()) - min(faces.values()) <= 1
    assert len(digests) == 3
    assert len(make("train", train=True)) == 4 * 4 * 3


def test_no_recording_length_leaks(make, eegmat):
    """Rest lasts twice as long, and neither counts, shapes nor who is drawn how often tell."""
    pairs = make("train", train=True, length=2000)
    items = pairs.pairs
    assert pairs.class_counts == (500,) * 4
    starts = {a: [p.start for p in items if p.arousal == a] for a in (0, 1)}
    assert max(starts[0]) > 450 and max(starts[1]) > 190
    assert min(starts[0]) < 10 and min(starts[1]) < 10
    # starts fall between the windows of the fixed grid too, and never beyond the recording
    assert len({s % 100 for s in starts[0]}) > 50
    for p in items:
        state = ("rest", "arithmetic")[p.arousal]
        assert 0 <= p.start <= eegmat.num_samples(p.eeg_subject, state) - 100
    assert {pairs[i]["eeg"].shape for i in range(8)} == {(19, 100)}


def test_a_transform_changes_the_eeg_alone(make):
    plain, changed = make("train", train=True), make("train", train=True, eeg_transform=AmplitudeScale(0.5))
    assert not torch.equal(plain[1]["eeg"], changed[1]["eeg"])
    assert torch.equal(plain[1]["video"], changed[1]["video"])


def test_default_collate_and_workers_that_live_on(make):
    pairs = make("train", train=True, length=8)
    direct = {}
    for epoch in (0, 1):
        pairs.set_epoch(epoch)
        direct[epoch] = [pairs[i] for i in range(8)]
    loader = DataLoader(pairs, batch_size=4, num_workers=1, persistent_workers=True)
    for epoch in (0, 1):
        pairs.set_epoch(epoch)
        batches = list(loader)
        assert batches[0]["eeg"].shape == (4, 19, 100)
        assert batches[0]["label"].dtype == torch.int64
        assert isinstance(batches[0]["eeg_subject"][0], str)
        for i in range(8):
            assert torch.equal(batches[i // 4]["eeg"][i % 4], direct[epoch][i]["eeg"])
            assert torch.equal(batches[i // 4]["video"][i % 4], direct[epoch][i]["video"])
    del loader


def test_classes():
    assert CLASSES == ("rest & neutral", "rest & smiling", "arithmetic & neutral", "arithmetic & smiling")
    assert QuadrantPairs.classes == CLASSES


def test_bad_input(make, eegmat, faces, split):
    with pytest.raises(ConfigError, match="part: expected one of train, validation, test, got 'dev'"):
        make("dev")
    with pytest.raises(ConfigError, match="train=True for 'test'"):
        make("test", train=True)
    for length, train in ((6, True), (0, True), (8, False)):
        with pytest.raises(ConfigError, match="length: expected a positive multiple of 4"):
            make("train", train=train, length=length)
    with pytest.raises(IndexError):
        make("test")[99]
    with pytest.raises(ConfigError, match="epoch"):
        make("train", train=True).set_epoch(-1)
    with pytest.raises(DataError, match="the 102 people"):
        QuadrantPairs(eegmat, faces, "test")
    elsewhere = {**split, "eeg_subject": SubjectSplit(("00",), ("01",), ("07", "33", "34"))}
    with pytest.raises(DataError, match="EEG of the part 'test' is missing for 33, 34"):
        QuadrantPairs(eegmat, faces, "test", split=elsewhere)
    with pytest.raises(ConfigError, match="split: expected one for each of eeg_subject, face_id, got eeg_subject"):
        QuadrantPairs(eegmat, faces, "test", split={"eeg_subject": split["eeg_subject"]})


def test_the_real_parts(real_data):
    eegmat, faces = EEGMAT(real_data / "eegmat"), LondonFaces(real_data / "faces")
    test = QuadrantPairs(eegmat, faces, "test")
    assert test.class_counts == (72, 72, 72, 72)
    assert {p.eeg_subject for p in test.pairs} == {str(i) for i in range(30, 36)}
    assert {p.face_id for p in test.pairs} == set(quadrant_split(faces.people)["face_id"].test)
    item = test[100]
    assert item["eeg"].shape == (19, 1000)
    assert item["video"].shape == (16, 3, 64, 64)
    assert np.isfinite(item["eeg"].numpy()).all()


def test_strength_changes_training_clips_alone(make):
    plain, changed = make("train", train=True), make("train", train=True, strength=3.0)
    assert torch.equal(plain[1]["eeg"], changed[1]["eeg"])
    assert not torch.equal(plain[1]["video"], changed[1]["video"])
    assert _same(make("test")[3], make("test", strength=3.0)[3])
    with pytest.raises(ConfigError, match="strength: expected a factor of at least 0, got -1"):
        make("train", train=True, strength=-1.0)


def test_four_training_items_in_a_row_are_matched(make):
    pairs = make("train", train=True, length=80, flip=True, strength=2.0)
    assert pairs.group == 4 and make("test").group == 1
    for first in range(0, 80, 4):
        four = pairs.pairs[first : first + 4]
        assert [p.label for p in four] == [0, 1, 2, 3]
        assert len({p.eeg_subject for p in four}) == 1
        for neutral, smiling in (four[:2], four[2:]):
            assert (neutral.face_id, neutral.key) == (smiling.face_id, smiling.key)
            assert neutral.start != smiling.start
    assert len({p.key for p in pairs.pairs}) == 40


def test_matched_clips_differ_in_the_expression_alone(make, faces, monkeypatch):
    """With one photograph for both expressions, the neutral and the smiling clip are one."""
    pairs = make("train", train=True, length=40, strength=2.0, blend=0.5)
    photo = type(faces).photo
    monkeypatch.setattr(type(faces), "photo", lambda self, person, _, **k: photo(self, person, "neutral", **k))
    for first in range(0, 40, 2):
        assert np.array_equal(pairs.frames(first), pairs.frames(first + 1))


def test_blended_people(make, eegmat):
    plain, blended = make("train", train=True, length=400), make("train", train=True, length=400, blend=0.25)
    partners = [p.partner for p in blended.pairs]
    weights = [0.0 if partner is None else partner.weight for partner in partners]
    assert 0.15 < np.mean([w > 0 for w in weights]) < 0.35 and max(weights) <= 1
    mixed = next(i for i, p in enumerate(blended.pairs) if p.partner and p.partner.face_id != p.face_id)
    for i in (mixed, weights.index(0.0)):
        assert blended.pairs[i][:5] == plain.pairs[i][:5]
        assert np.array_equal(blended.frames(i), plain.frames(i)) == (partners[i] is None)
        assert torch.equal(blended[i]["eeg"], plain[i]["eeg"]) == (partners[i] is None)
    pair, partner = blended.pairs[mixed], partners[mixed]
    state = ("rest", "arithmetic")[pair.arousal]
    other = eegmat.recording(partner.eeg_subject, state)[:, partner.start : partner.start + 100]
    expected = np.cos(t := np.arcsin(partner.weight**0.5)) * plain[mixed]["eeg"].numpy() + np.sin(t) * other
    assert np.allclose(blended[mixed]["eeg"].numpy(), expected, atol=1e-4)
    # a neutral clip and the next smiling one are blended from the same two faces
    for first in range(0, 400, 2):
        neutral, smiling = partners[first : first + 2]
        assert neutral == smiling or (neutral.face_id, neutral.weight) == (smiling.face_id, smiling.weight)
    assert plain.digest != blended.digest
    assert make("test", blend=0.25).digest == make("test").digest
    with pytest.raises(ConfigError, match="blend: expected a probability, got 2"):
        make("train", train=True, blend=2.0)


def test_codec_and_box_noise_change_training_clips_alone(make):
    plain = make("train", train=True)
    for options in ({"codec": 1.0}, {"box_noise": 0.05}):
        changed = make("train", train=True, **options)
        assert plain.digest == changed.digest
        assert torch.equal(plain[1]["eeg"], changed[1]["eeg"])
        assert not torch.equal(plain[1]["video"], changed[1]["video"])
        assert _same(changed[1], make("train", train=True, **options)[1])
        np.testing.assert_array_equal(changed.frames(1), make("train", train=True, **options).frames(1))
        assert _same(make("test")[3], make("test", **options)[3])
    for options in ({"codec": 1.5}, {"box_noise": -0.1}, {"box_noise": 1.0}):
        with pytest.raises(ConfigError, match="box_noise, codec: expected"):
            make("train", train=True, **options)


def test_a_training_clip_read_twice(make):
    options = {"codec": 1.0, "box_noise": 0.02}
    once, twice = (make("train", train=True, **options, twice=both) for both in (False, True))
    item = twice[1]
    again = item.pop("again")["video"]
    assert _same(item, once[1]), "the first reading stays as it was"
    apart = (again - item["video"]).abs().mean()
    other = (make("train", train=True)[1]["video"] - item["video"]).abs().mean()
    assert 0 < apart < other, "closer to the first reading than that is to the clip itself"
    assert torch.equal(again, twice[1]["again"]["video"])
    assert "again" not in once[1] and "again" not in make("test", twice=True)[0]
    with pytest.raises(ConfigError, match="twice: expected box_noise or codec above 0"):
        make("train", train=True, twice=True)


def test_a_lag_behind_a_clip_is_refused_where_no_clip_was_seen():
    spec = InputSpec(window_seconds=5.0, eeg=EEGSpec(ch_names=("Cz",), sfreq=100.0, lag_seconds=0.3))
    with pytest.raises(ConfigError, match=r"lag_seconds: expected 0, as these recordings answer to no clip, got 0\.3"):
        QuadrantSettings().parts(spec, data_root="nowhere")
